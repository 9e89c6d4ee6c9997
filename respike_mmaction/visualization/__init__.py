"""Every drawing."""
from .comparison import draw_comparison
from .cost import draw_fits
from .energy import draw_accuracy, draw_shares
from .run import draw_confusion, draw_curves, draw_firing_rates
from .split import draw_split, read_split
from .timeline import annotate_video, draw_timeline
from .trace import draw_cams, draw_trace, write_page

__all__ = [
    'annotate_video', 'draw_accuracy', 'draw_cams', 'draw_comparison',
    'draw_confusion', 'draw_curves', 'draw_firing_rates', 'draw_fits',
    'draw_shares', 'draw_split', 'draw_timeline', 'draw_trace', 'read_split',
    'write_page'
]
