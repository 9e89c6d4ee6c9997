"""Transforms and datasets."""
from .loading import VideoDecode, VideoInit
from .resilient_video_dataset import ResilientVideoDataset
from .transforms import ResidualFrameTransform

__all__ = [
    'ResidualFrameTransform', 'ResilientVideoDataset', 'VideoDecode',
    'VideoInit'
]
