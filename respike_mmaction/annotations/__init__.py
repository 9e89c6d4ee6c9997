"""Annotation lists and label maps from official files and folders.

A list is a sequence of :class:`Video`; what is built is checked by
:func:`find_problems` before it is written.
"""
from .folder import folder_lists
from .label_map import read_label_map
from .lists import Lists, Video, write_lists
from .official import (
    KINETICS_CLASSES,
    OFFICIAL_COUNTS,
    hmdb51_lists,
    kinetics_lists,
    ucf101_lists,
)
from .problems import find_problems, with_other_suffixes
from .verify import verify_videos

__all__ = [
    'KINETICS_CLASSES', 'OFFICIAL_COUNTS', 'Lists', 'Video', 'find_problems',
    'folder_lists', 'hmdb51_lists', 'kinetics_lists', 'ucf101_lists',
    'read_label_map', 'verify_videos', 'with_other_suffixes', 'write_lists'
]
