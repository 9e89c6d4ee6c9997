"""Trained networks in other formats; imported by no training."""
from .nir_graph import to_nir

__all__ = ['to_nir']
