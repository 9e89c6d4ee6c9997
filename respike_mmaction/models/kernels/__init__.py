"""Kernels of the spiking neurons: one function, several backends."""
from .scan import BACKENDS, spike_scan

__all__ = ['BACKENDS', 'spike_scan']
