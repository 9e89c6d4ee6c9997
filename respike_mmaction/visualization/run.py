"""Pictures of a training: its curves, firing rates and confusions."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .figures import pyplot

Series = tuple[Sequence[int], Sequence[float]]
_WRITTEN = 24  # classes up to which numbers fit into the matrix


def draw_curves(panels: dict[str, dict[str, Series]], path: str | Path,
                epoch: float | None = None, title: str = '') -> None:
    """Draw scalars over the iterations, a panel each.

    Args:
        panels (dict[str, dict[str, Series]]): By the name of the panel and
            of the curve, iterations and values.
        path (str | Path): ``NAME.png``, or another format of Matplotlib.
        epoch (float, optional): Iterations of an epoch, for a second axis.
            Defaults to None.
        title (str): Above the picture. Defaults to ''.
    """
    plt = pyplot()
    figure, axes = plt.subplots(len(panels), figsize=(9, 2.6 * len(panels)),
                                sharex=True, squeeze=False,
                                layout='constrained')
    for axis, (name, curves) in zip(axes[:, 0], panels.items(), strict=True):
        for label, (at, values) in curves.items():
            axis.plot(at, values, '.-' if len(at) < 40 else '-', label=label)
        axis.set(ylabel=name)
        axis.grid(alpha=.3)
        axis.legend(fontsize=8, loc='center left', bbox_to_anchor=(1, .5),
                    frameon=False)
    _finish(figure, axes[:, 0], path, epoch, title)


def _finish(figure: Any, axes: Any, path: str | Path, epoch: float | None,
            title: str) -> None:
    axes[-1].set(xlabel='iteration')
    if epoch:
        above = axes[0].secondary_xaxis(
            'top', functions=(lambda x: x / epoch, lambda x: x * epoch))
        above.set_xlabel('epoch')
    figure.suptitle(title.replace('$', r'\$'))
    figure.savefig(path, dpi=90)
    pyplot().close(figure)


def draw_firing_rates(rates: dict[str, Series], path: str | Path,
                      epoch: float | None = None, title: str = '') -> None:
    """Draw the firing rate of each layer over the iterations.

    Args:
        rates (dict[str, Series]): By layer, from the first to the last.
        path (str | Path): ``NAME.png``, or another format of Matplotlib.
        epoch (float, optional): Iterations of an epoch. Defaults to None.
        title (str): Above the picture. Defaults to ''.
    """
    plt = pyplot()
    figure, axis = plt.subplots(
        figsize=(9, max(4, .17 * len(rates) + 1)), layout='constrained')
    colours = plt.get_cmap('viridis')(np.linspace(0, .95, len(rates)))
    for colour, (layer, (at, values)) in zip(colours, rates.items(),
                                             strict=True):
        axis.plot(at, 100 * np.array(values), '.-', color=colour, label=layer)
    axis.set(ylabel='firing rate / %', ylim=(0, None))
    axis.grid(alpha=.3)
    axis.legend(fontsize=7, loc='center left', bbox_to_anchor=(1, .5),
                frameon=False)
    _finish(figure, [axis], path, epoch, title)


def draw_confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str],
                   path: str | Path, title: str = '') -> None:
    """Draw how often each class was taken for which, in percent of it.

    Args:
        matrix (Sequence[Sequence[int]]): Videos by true and by predicted
            class, (C, C + 1), the last column the unreadable ones.
        classes (Sequence[str]): Names of the classes.
        path (str | Path): ``NAME.png``, or another format of Matplotlib.
        title (str): Above the picture. Defaults to ''.
    """
    counts = np.asarray(matrix)
    names = [*classes, 'unreadable']
    if not counts[:, -1].any():
        counts, names = counts[:, :-1], names[:-1]
    percent = 100 * counts / counts.sum(1, keepdims=True).clip(min=1)
    plt = pyplot()
    size = max(4., (.5 if len(classes) <= _WRITTEN else .14) * len(classes))
    figure, axis = plt.subplots(figsize=(size + 2.5, size + 1.5),
                                layout='constrained')
    image = axis.imshow(percent, cmap='Blues', vmin=0, vmax=100)
    fontsize = 9 if len(classes) <= _WRITTEN else 6
    names = [name.replace('$', r'\$') for name in names]
    axis.set_xticks(range(len(names)), names, rotation=45, ha='right',
                    rotation_mode='anchor', fontsize=fontsize)
    axis.set_yticks(range(len(classes)), names[:len(classes)],
                    fontsize=fontsize)
    axis.set(xlabel='predicted class', ylabel='true class',
             title=title.replace('$', r'\$'))
    if len(classes) <= _WRITTEN:
        for (row, column), value in np.ndenumerate(percent):
            if value:
                axis.text(column, row, f'{value:.0f}', ha='center',
                          va='center', fontsize=8,
                          color='white' if value > 50 else 'black')
    figure.colorbar(image, label='% of the videos of the true class',
                    shrink=.8)
    figure.savefig(path, dpi=100)
    plt.close(figure)
