"""What one does with a trained network; imported by no training."""
from .accelerate import accelerate

__all__ = ['accelerate']
