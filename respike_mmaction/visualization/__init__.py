"""Every drawing."""
from .cost import draw_fits
from .energy import draw_accuracy, draw_shares
from .split import draw_split, read_split

__all__ = [
    'draw_accuracy', 'draw_fits', 'draw_shares', 'draw_split', 'read_split'
]
