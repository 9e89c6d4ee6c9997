"""Hooks."""
from .check_run_hook import CheckRunHook, check_every_run
from .firing_rate_hook import FiringRateHook
from .heartbeat_hook import HeartbeatHook
from .new_classifier_hook import NewClassifierHook
from .skipped_videos_hook import SkippedVideosHook

__all__ = [
    'CheckRunHook', 'FiringRateHook', 'HeartbeatHook', 'NewClassifierHook',
    'SkippedVideosHook', 'check_every_run'
]
