"""Hooks and metrics."""
from . import hooks
from .answers import Answer, labelled_results, read_answers, wrong_answers
from .video_acc_metric import VideoAccMetric

__all__ = [
    'Answer', 'VideoAccMetric', 'hooks', 'labelled_results', 'read_answers',
    'wrong_answers'
]
