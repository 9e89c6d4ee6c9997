"""Results of trainings of several configs and seeds, put side by side."""
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev

from ..energy import read_json

# heading, field of a row, decimals
_COLUMNS = (('parameters / M', 'parameters', 2), ('MAC / G', 'macs', 3),
            ('SynOp / G', 'acs', 3), ('firing rate / %', 'firing_rate', 1),
            ('minutes', 'minutes', 1))


def gather_runs(runs: Iterable[Path]) -> list[dict]:
    """One row for each config, averaged over its seeds.

    Args:
        runs (Iterable[Path]): Folders ``NAME/seed_N`` with ``result.json``
            (``name``, ``seed``, ``accuracy``, ``seconds``) and the energy
            report ``energy.json`` of the trained network.

    Returns:
        list[dict]: Rows in the order of the names: energy reports, in so far
        as a chart takes them, with ``accuracy`` the mean over
        ``accuracies`` (by seed), ``accuracy_deviation`` their sample
        standard deviation (None for one seed); ``parameters``, ``macs`` and
        ``acs`` of a view; ``firing_rate`` in percent, None without spikes;
        and ``minutes`` of a training.
    """
    by_name: dict[str, list[tuple[dict, dict]]] = {}
    for run in runs:
        result = json.loads((run / 'result.json').read_text())
        by_name.setdefault(result['name'], []).append(
            (result, read_json(run / 'energy.json')))
    return [_row(name, *zip(*entries, strict=True))
            for name, entries in by_name.items()]


def _row(name: str, results: Sequence[dict], reports: Sequence[dict]) -> dict:
    accuracies = {str(r['seed']): r['accuracy'] for r in results}
    values = [*accuracies.values()]
    rates = [r['total']['firing_rate'] for r in reports]
    count = len(values)
    return dict(
        config=name,
        weights='trained',
        measured=reports[0]['measured'],
        keys_and_values=reports[0]['keys_and_values'],
        accuracy=mean(values),
        accuracy_deviation=stdev(values) if count > 1 else None,
        accuracy_source='1 seed' if count == 1 else f'{count} seeds',
        accuracies=accuracies,
        parameters=reports[0]['total']['parameters'] / 1e6,
        macs=mean(_of_view(r, 'macs') for r in reports) / 1e9,
        acs=mean(_of_view(r, 'acs') for r in reports) / 1e9,
        firing_rate=None if None in rates else 100 * mean(rates),
        minutes=mean(r['seconds'] for r in results) / 60,
        energy={
            model: dict(
                model=energy['model'],
                **{key: mean(r['energy'][model][key] for r in reports)
                   for key in ('mj_per_video', 'mj_per_view')})
            for model, energy in reports[0]['energy'].items()
        })


def _of_view(report: dict, kind: str) -> float:
    return report['total'][kind] / report['views_per_video']


def ablation_table(rows: Sequence[dict]) -> str:
    """The rows as a table in Markdown.

    Args:
        rows (Sequence[dict]): Of :func:`gather_runs`.

    Returns:
        str: Counts and energy are of one view.
    """
    models = list(rows[0]['energy']) if rows else []
    head = ['config', 'top-1 / %', 'deviation', 'by seed',
            *(heading for heading, *_ in _COLUMNS),
            *(f'mJ {model}' for model in models)]
    lines = [head, ['---', *['---:'] * (len(head) - 1)]]
    for row in rows:
        lines.append([
            row['config'], f'{row["accuracy"]:.1f}',
            _number(row['accuracy_deviation'], 1),
            ', '.join(f'{seed}: {value:.1f}'
                      for seed, value in row['accuracies'].items()),
            *(_number(row[key], digits) for _, key, digits in _COLUMNS),
            *(f'{row["energy"][model]["mj_per_view"]:.2f}'
              for model in models)
        ])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines) + '\n'


def _number(value: float | None, digits: int) -> str:
    return '' if value is None else f'{value:.{digits}f}'
