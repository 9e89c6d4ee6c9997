"""Charts of energy reports."""
from collections.abc import Sequence
from pathlib import Path

from ..energy.report import label, percent
from .figures import pyplot

__all__ = ['draw_accuracy', 'draw_shares']


def draw_shares(report: dict, path: str | Path) -> None:
    """Chart the branches' shares, a bar for each energy model.

    Args:
        report (dict): Of :func:`respike_mmaction.energy.measure`.
        path (str | Path): Image to write, ``.png`` or ``.svg``.
    """
    plt = pyplot()
    names = list(report['energy'])
    branches = list(next(iter(report['energy'].values()))['mj_by_branch'])
    figure, axes = plt.subplots(figsize=(8, 1.2 + .5 * len(names)))
    left = [0.] * len(names)
    for branch in branches:
        shares = [
            percent(energy['mj_by_branch'][branch], energy['mj_per_video'])
            for energy in report['energy'].values()
        ]
        axes.barh(names, shares, left=left, label=branch)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel('% of the energy of a video by the model of the bar\n'
                    f'{label(report)}')
    axes.legend(loc='lower center', bbox_to_anchor=(.4, 1), frameon=False,
                ncols=len(branches))
    figure.savefig(path, dpi=100, bbox_inches='tight')
    plt.close(figure)


def draw_accuracy(reports: Sequence[dict], path: str | Path,
                  energy_model: str = 'horowitz_45nm') -> None:
    """Chart accuracy against energy a video, by one energy model.

    Args:
        reports (Sequence[dict]): Read from JSON files.
        path (str | Path): Image to write, ``.png`` or ``.svg``.
        energy_model (str): Name of the model. Defaults to
            ``'horowitz_45nm'``.

    Raises:
        ValueError: If a report has no accuracy or no such energy model, or
            the model is not the same in all of them.
    """
    points = []
    for report in reports:
        name = report['config']
        energy = report['energy'].get(energy_model)
        if energy is None:
            raise ValueError(
                f'{name} has no energy by {energy_model!r}: it has '
                f'{tuple(report["energy"])}')
        if energy['model'] != reports[0]['energy'][energy_model]['model']:
            raise ValueError(
                f'{energy_model!r} of {name} is not that of '
                f'{reports[0]["config"]}: their numbers do not compare')
        if report.get('accuracy') is None:
            raise ValueError(f'{name} has no accuracy: measure it with '
                             '--accuracy')
        points.append(
            (energy['mj_per_video'], report['accuracy'], label(report)))
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8, 5))
    for mj, accuracy, name in points:
        axes.scatter(mj, accuracy, label=name)
    axes.set_xscale('log')
    axes.set_xlabel(f'energy of a video by {energy_model} / mJ')
    axes.set_ylabel('top-1 accuracy / %')
    axes.legend(fontsize='small')
    figure.savefig(path, dpi=100, bbox_inches='tight')
    plt.close(figure)
