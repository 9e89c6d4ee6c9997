"""Checkpoints: what is read out of them, and how."""
from .config_text import config_of, read_config_text
from .files import check_whole
from .publish import publish
from .strict_pickle import read_dump, read_pickle

__all__ = [
    'check_whole', 'config_of', 'publish', 'read_config_text', 'read_dump',
    'read_pickle'
]
