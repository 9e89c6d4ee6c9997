"""Several networks side by side."""
from collections.abc import Sequence
from pathlib import Path

from .figures import pyplot


def draw_comparison(names: Sequence[str],
                    quantities: dict[str, Sequence[float | None]],
                    path: str | Path) -> None:
    """Draw a panel for each quantity with a bar for each network.

    Args:
        names (Sequence[str]): Of the networks.
        quantities (dict[str, Sequence[float | None]]): By heading, the
            values of the networks; None where one is not known.
        path (str | Path): ``NAME.png``, or another format of Matplotlib.
    """
    plt = pyplot()
    figure, axes = plt.subplots(
        1, len(quantities), sharey=True, squeeze=False, layout='constrained',
        figsize=(3 + 2.1 * len(quantities), 1.2 + .4 * len(names)))
    for axis, (heading, values) in zip(axes[0], quantities.items(),
                                       strict=True):
        bars = axis.barh(range(len(names)), [value or 0 for value in values],
                         color=[f'C{i % 10}' for i in range(len(names))])
        axis.bar_label(bars, ['?' if value is None else f'{value:.3g}'
                              for value in values], padding=2, fontsize=8)
        axis.margins(x=.3)
        axis.set_xlabel(heading, fontsize=9)
        axis.tick_params(axis='x', labelsize=7)
    axes[0, 0].set_yticks(range(len(names)),
                          [name.replace('$', r'\$') for name in names])
    axes[0, 0].invert_yaxis()
    figure.savefig(path, dpi=100)
    plt.close(figure)
