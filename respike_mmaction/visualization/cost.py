"""Charts of the cost of a step."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .figures import pyplot


def draw_fits(fits: Sequence[dict], path: str | Path) -> None:
    """Draw cost against T, batch and area, each with its straight line.

    Args:
        fits (Sequence[dict]): Of ``benchmark.py``: ``against``, ``network``,
            ``kind``, ``points``, ``slope``, ``intercept`` (CPU seconds) and
            ``r2``.
        path (str | Path): Image to write, ``.png`` or ``.svg``.
    """
    plt = pyplot()
    labels = sorted({fit['against'] for fit in fits})
    figure, axes = plt.subplots(
        1, len(labels), figsize=(4.5 * len(labels), 3.6), squeeze=False)
    for axis, label in zip(axes[0], labels, strict=True):
        for fit in (f for f in fits if f['against'] == label):
            x, y = np.array(fit['points']).T
            line, = axis.plot(x, y, 'o')
            ends = np.array([0, x.max()])
            axis.plot(
                ends, fit['slope'] * ends + fit['intercept'],
                color=line.get_color(),
                label=f'{fit["network"]} {fit["kind"]}, '
                f'$R^2$ {fit["r2"]:.4f}')
        axis.set(xlabel=label, ylabel='CPU seconds a step', ylim=(0, None))
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
