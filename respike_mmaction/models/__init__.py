"""Backbones, heads, recognizers, neurons and their kernels."""
from .backbones import SpikingResNet
from .data_preprocessors import ReSpikeDataPreprocessor
from .heads import CrossAttentionFusion
from .neurons import IFNeuron, LIFNeuron, ParametricLIFNeuron
from .recognizers import ReSpikeRecognizer

__all__ = [
    'CrossAttentionFusion', 'IFNeuron', 'LIFNeuron', 'ParametricLIFNeuron',
    'ReSpikeDataPreprocessor', 'ReSpikeRecognizer', 'SpikingResNet'
]
