"""Hooks and metrics."""
from . import hooks
from .answers import Answer, read_answers, wrong_answers
from .video_acc_metric import VideoAccMetric

__all__ = [
    'Answer', 'VideoAccMetric', 'hooks', 'read_answers', 'wrong_answers'
]
