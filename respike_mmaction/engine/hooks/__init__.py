"""Hooks."""
from .accelerate_hook import AccelerateHook
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .check_run_hook import CheckRunHook
from .finite_loss_hook import FiniteLossHook
from .firing_rate_hook import FiringRateHook
from .heartbeat_hook import HeartbeatHook
from .int8_weights_hook import Int8WeightsHook
from .new_classifier_hook import NewClassifierHook
from .resume_hook import ResumeHook
from .skipped_videos_hook import SkippedVideosHook

__all__ = [
    'AccelerateHook', 'AtomicCheckpointHook', 'CheckRunHook', 'FiniteLossHook',
    'FiringRateHook', 'HeartbeatHook', 'Int8WeightsHook', 'NewClassifierHook',
    'ResumeHook', 'SkippedVideosHook'
]
