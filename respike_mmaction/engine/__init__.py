"""Hooks and metrics."""
from . import hooks
from .video_acc_metric import VideoAccMetric

__all__ = ['VideoAccMetric', 'hooks']
