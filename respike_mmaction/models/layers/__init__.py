"""Layers that the backbones and heads are made of."""
from .average_pool import average_pool
from .cross_attention import FusionBlock
from .recompute import freeze_when_recomputed, recompute
from .step_batch_norm import StepBatchNorm2d

__all__ = [
    'FusionBlock', 'StepBatchNorm2d', 'average_pool',
    'freeze_when_recomputed', 'recompute'
]
