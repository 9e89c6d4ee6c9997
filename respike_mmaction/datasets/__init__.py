"""Transforms and datasets."""
from .loading import VideoDecode, VideoInit
from .resilient_video_dataset import ResilientVideoDataset
from .transforms import GroupFrameOrder, ResidualFrameTransform

__all__ = [
    'GroupFrameOrder', 'ResidualFrameTransform', 'ResilientVideoDataset',
    'VideoDecode', 'VideoInit'
]
