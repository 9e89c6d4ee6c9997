"""Layers that the backbones and heads are made of."""
from .average_pool import average_pool
from .cross_attention import FusionBlock
from .recompute import recompute
from .step_batch_norm import StepBatchNorm2d, frozen_running_statistics

__all__ = [
    'FusionBlock', 'StepBatchNorm2d', 'average_pool',
    'frozen_running_statistics', 'recompute'
]
