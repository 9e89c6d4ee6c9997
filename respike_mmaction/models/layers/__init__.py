"""Layers that the backbones and heads are made of."""
from .cross_attention import FusionBlock
from .recompute import recompute
from .step_batch_norm import StepBatchNorm2d, frozen_running_statistics

__all__ = [
    'FusionBlock', 'StepBatchNorm2d', 'frozen_running_statistics', 'recompute'
]
