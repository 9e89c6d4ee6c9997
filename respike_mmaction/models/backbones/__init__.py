"""Spiking backbones."""
from .spiking_resnet import SpikingBasicBlock, SpikingResNet

__all__ = ['SpikingBasicBlock', 'SpikingResNet']
