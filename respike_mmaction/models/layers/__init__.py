"""Layers that the backbones and heads are made of."""
from .cross_attention import FusionBlock
from .recompute import freeze_when_recomputed, recompute
from .step_batch_norm import StepBatchNorm2d

__all__ = [
    'FusionBlock', 'StepBatchNorm2d', 'freeze_when_recomputed', 'recompute'
]
