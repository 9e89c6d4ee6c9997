"""Charts of energy reports."""
from collections.abc import Sequence
from pathlib import Path

from ..energy.report import label, percent
from .figures import pyplot


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
    for i, energy in enumerate(report['energy'].values()):
        mj = energy['mj_per_video']
        axes.text(101, i, f'{mj:.3g} mJ' if mj < 100 else f'{mj:.0f} mJ',
                  va='center')
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel('% of the energy of a video by the model of the bar\n'
                    f'{label(report)}')
    axes.legend(loc='lower center', bbox_to_anchor=(.4, 1), frameon=False,
                ncols=len(branches))
    figure.savefig(path, dpi=100, bbox_inches='tight')
    plt.close(figure)


def _check_comparable(reports: Sequence[dict], energy_model: str) -> None:
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


def draw_accuracy(reports: Sequence[dict], path: str | Path,
                  energy_model: str = 'horowitz_45nm') -> None:
    """Chart accuracy against energy a video, by one energy model.

    Filled marks are accuracies of a whole test set, with the deviation over
    seeds where there is one; hollow ones are of the measured videos alone,
    and say how many. A network without an accuracy is a line at its energy.

    Args:
        reports (Sequence[dict]): Read from JSON files, or rows of
            :func:`respike_mmaction.apis.gather_runs`.
        path (str | Path): Image to write, ``.png`` or ``.svg``.
        energy_model (str): Name of the model. Defaults to
            ``'horowitz_45nm'``.

    Raises:
        ValueError: If a report has no such energy model, or the model is not
            the same in all of them.
    """
    _check_comparable(reports, energy_model)
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8, 5))
    for i, report in enumerate(reports):
        mj = report['energy'][energy_model]['mj_per_video']
        accuracy, name = report['accuracy'], f'{i + 1} {label(report)}'
        colour = f'C{i % 10}'
        if accuracy is None:
            axes.axvline(mj, color=colour, linestyle=':',
                         label=f'{name}, accuracy not known')
            continue
        source = report['accuracy_source']
        sampled = source.endswith(('video', 'videos'))
        axes.scatter(
            mj, accuracy, color=colour, marker='osD^v'[i // 10 % 5],
            facecolors='none' if sampled else colour,
            label=name if source == 'given' else f'{name}, {source}')
        deviation = report.get('accuracy_deviation')
        if deviation:
            axes.errorbar(mj, accuracy, deviation, color=colour, capsize=3)
        axes.annotate(str(i + 1), (mj, accuracy), (5, 5),
                      textcoords='offset points', fontsize='small')
    axes.set_xscale('log')
    for set_formatter in (axes.xaxis.set_major_formatter,
                          axes.xaxis.set_minor_formatter):
        # 2, 5, 20 mJ, not powers of ten alone
        set_formatter(plt.LogFormatter(minor_thresholds=(2, .5)))
    axes.set_xlabel(f'energy of a video by {energy_model} / mJ')
    axes.set_ylabel('top-1 accuracy / %')
    axes.grid(alpha=.3, which='both')
    axes.legend(fontsize='small', loc='center left', bbox_to_anchor=(1, .5),
                frameon=False)
    figure.savefig(path, dpi=100, bbox_inches='tight')
    plt.close(figure)
