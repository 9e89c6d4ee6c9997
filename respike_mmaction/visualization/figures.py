"""Figures that need no display."""
from types import ModuleType


def pyplot() -> ModuleType:
    """Matplotlib's pyplot with the backend that draws into files."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    return plt
