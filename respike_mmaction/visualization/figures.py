"""Figures that need no display."""
from types import ModuleType

__all__ = ['pyplot']


def pyplot() -> ModuleType:
    """Matplotlib's pyplot with the backend that draws into files."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    return plt
