"""Every drawing."""
from .cost import draw_fits
from .energy import draw_accuracy, draw_shares
from .split import draw_split, read_split
from .timeline import annotate_video, draw_timeline

__all__ = [
    'annotate_video', 'draw_accuracy', 'draw_fits', 'draw_shares',
    'draw_split', 'draw_timeline', 'read_split'
]
