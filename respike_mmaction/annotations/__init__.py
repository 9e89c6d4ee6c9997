"""Annotation lists and label maps from official files and folders.

A list is a sequence of :class:`Video`; what is built is checked by
:func:`find_problems` before it is written.
"""
from .folder import (
    check_classes,
    folder_lists,
    sources_on_both_sides,
    split_folders,
)
from .held import hold_out
from .label_map import read_label_map
from .lists import Lists, Video, left_out, write_lists
from .official import OFFICIAL_COUNTS, hmdb51_lists, ucf101_lists
from .problems import find_problems, with_other_suffixes
from .splits import KINETICS_CLASSES, kinetics_lists, split_lists
from .training_config import write_config
from .verify import verify_videos

__all__ = [
    'KINETICS_CLASSES', 'OFFICIAL_COUNTS', 'Lists', 'Video', 'check_classes',
    'find_problems', 'folder_lists', 'hmdb51_lists', 'hold_out',
    'kinetics_lists', 'left_out', 'read_label_map', 'sources_on_both_sides',
    'split_folders', 'split_lists', 'ucf101_lists', 'verify_videos',
    'with_other_suffixes', 'write_config', 'write_lists'
]
