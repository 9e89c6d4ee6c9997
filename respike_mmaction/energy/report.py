"""Shows reports: text, JSON and CSV; charts are in visualization."""
import csv
import json
from collections.abc import Sequence
from pathlib import Path

KINDS = ('macs', 'dense', 'acs', 'rate_acs', 'spikes', 'spike_positions',
         'spike_bytes', 'activation_bytes', 'membrane_bytes', 'parameters',
         'weight_bytes')
# by which a report is known
REPORT_KEYS = {'config', 'weights', 'measured', 'keys_and_values', 'accuracy',
               'energy'}
TABLE = (
    # heading, field, unit
    ('params M', 'parameters', 1e6),
    ('MAC G', 'macs', 1e9),
    ('dense G', 'dense', 1e9),
    ('AC G', 'acs', 1e9),
    ('rate x dense G', 'rate_acs', 1e9),
    ('weights MB', 'weight_bytes', 1e6),
    ('maps MB', 'activation_bytes', 1e6),
    ('membrane MB', 'membrane_bytes', 1e6),
    ('spike maps Mbit', 'spike_positions', 1e6),
)
UNITS = """\
MAC: multiply-accumulates of real-valued inputs. dense: those of spike-driven
layers if every position fired. AC: synaptic operations that spikes caused.
rate x dense: the usual estimate of AC. other: scalar operations of norms,
softmax, GELU, pooling, interpolation, neurons, ... All of one video."""


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        '  '.join(
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip() for row in rows
    ]


def percent(part: float, whole: float) -> float:
    """Share of a part in percent; NaN of nothing."""
    return 100 * part / whole if whole else float('nan')


def _row(names: Sequence[str], count: dict, factor: float = 1) -> list[str]:
    rate = count['firing_rate']
    return [
        *names, *(f'{count[key] * (1 if key == "parameters" else factor) / unit:.3f}'  # noqa: E501
                  for _, key, unit in TABLE),
        f'{sum(count["operations"].values()) * factor / 1e6:.1f}',
        '' if rate is None else f'{100 * rate:.2f}'
    ]


def format_report(report: dict) -> str:
    """The report as text: counts, then energy for each model by itself.

    Args:
        report (dict): Of :func:`respike_mmaction.energy.measure`.

    Returns:
        str: Several tables.
    """
    views, total = report['views_per_video'], report['total']
    lines = [
        f'config   {report["config"]}',
        f'weights  {_weights(report)}',
        f'top-1    {_accuracy(report)}',
        f'videos   {len(report["videos"])}: {", ".join(report["videos"][:5])}',
        f'input    {report["inputs"]} of the last video',
        f'views    {views:g} a video',
        f'K and V  of cross-attention {report["keys_and_values"]}',
        f'formats  {_formats(report)}',
        '',
        *_lines([
            ['branch', 'stage', 'part', *(head for head, *_ in TABLE),
             'other M', 'rate %'],
            *(_row([group[key] for key in ('branch', 'stage', 'part')], group)
              for group in report['groups']),
            *(_row([branch['branch'], 'all', ''], branch)
              for branch in report['branches']),
            _row(['per video', '', ''], total),
            _row(['per view', '', ''], total, 1 / views),
        ]),
        '', UNITS, '',
        'Other operations: ' + ', '.join(
            f'{name} {number / 1e6:.1f} M'
            for name, number in sorted(total['operations'].items())),
    ]
    for name, energy in report['energy'].items():
        lines += ['', *_energy_lines(name, energy)]
    if report.get('break_even'):
        lines += ['', *_break_even_lines(report['break_even'])]
    lines += ['', 'Left out:', *(f'- {what}' for what in report['left_out']),
              '', meaning(report)]
    return '\n'.join(lines)


def _break_even_lines(rows: Sequence[dict]) -> list[str]:
    models = list(rows[0]['break_even'])
    return [
        'Break-even: the firing rate in % below which a layer, with the '
        'neurons before it,',
        'is cheaper than its dense twin / its twin in eight bits; ! where it '
        'is not.',
        *_lines([
            ['layer', '', '', 'rate %', *models],
            *([row['layer'], '', '', f'{100 * row["firing_rate"]:.1f}',
               *(' / '.join(_limit(row['firing_rate'], limit)
                            for limit in row['break_even'][model].values())
                 for model in models)] for row in rows)
        ])
    ]


def _limit(rate: float, limit: float | None) -> str:
    if limit is None:
        return '-'
    return f'{100 * limit:.0f}{"!" if rate > limit else ""}'


def meaning(report: dict) -> str:
    """One sentence: where the energy goes, and whether spikes pay.

    Args:
        report (dict): Of :func:`respike_mmaction.energy.measure`.

    Returns:
        str: By the first energy model of the report.
    """
    name, energy = next(iter(report['energy'].items()))
    whole = energy['mj_per_video']
    branch, most = max(energy['mj_by_branch'].items(), key=lambda b: b[1])
    text = (f'In short: {energy["mj_per_view"]:.2f} mJ a view by {name}, '
            f'{percent(most, whole):.0f} % of it in the {branch}')
    if 'spiking_branch' not in energy:
        return f'{text}; nothing of it is spent on spikes.'
    loses = [model for model, e in report['energy'].items()
             if e['spiking_branch']['loses']]
    spiking = energy['spiking_branch']
    text += (f'; the spiking branch takes {percent(spiking["mj"], whole):.0f}'
             f' % and {_verdict(spiking["mj"], spiking["mj_as_dense"])} '
             'against its dense twin')
    return text + (f', but loses by {", ".join(loses)}.' if loses and
                   name not in loses else '.')


def _weights(report: dict) -> str:
    if report['measured'] == 'shapes':
        return ('not read: without spiking neurons the counts depend on '
                'shapes alone')
    if report['weights'] == 'random':
        return ('RANDOM, with BatchNorm statistics of the first view: the '
                'firing rates are not those of a trained network')
    return report['weights']


def _formats(report: dict) -> str:
    if report.get('spikes'):
        return (f'accelerated: spikes with {report["spikes"]} weights, all '
                'else bfloat16')
    return 'float32'


def _accuracy(report: dict) -> str:
    if report['accuracy'] is None:
        return 'not known'
    return f'{report["accuracy"]:.2f} % ({report["accuracy_source"]})'


def label(report: dict) -> str:
    """Name in a chart: the config, and what makes its figures special."""
    label = [report['config']]
    if report['measured'] == 'values' and report['weights'] == 'random':
        label.append('RANDOM weights')
    if report['keys_and_values'] == 'per_step':
        label.append('K and V per_step')
    if report.get('spikes'):
        label.append(f'accelerated, {report["spikes"]}')
    return ', '.join(label)


def _energy_lines(name: str, energy: dict) -> list[str]:
    model = energy['model']
    whole = energy['mj_per_video']
    lines = [
        f'Energy by {name} ({model["technology"]}, {model["precision"]})',
        f'  {model["source"]}',
        f'  covers {model["covers"]}',
        f'  {whole:.2f} mJ a video, {energy["mj_per_view"]:.2f} mJ a view; '
        f'compute {energy["mj_compute"]:.2f}, '
        f'memory {energy["mj_memory"]:.2f} mJ',
        '  ' + ', '.join(f'{branch} {mj:.2f} mJ ({percent(mj, whole):.1f} %)'
                         for branch, mj in energy['mj_by_branch'].items()),
    ]
    if 'spiking_branch' in energy:
        lines += _spiking_lines(energy['spiking_branch'])
    return lines


def _spiking_lines(spiking: dict) -> list[str]:
    """Whether the spiking branch pays, in all and by its memory alone."""
    mj, mj_as_dense = spiking['mj'], spiking['mj_as_dense']
    lines = [
        f'  spiking branch {_verdict(mj, mj_as_dense)}: {mj:.2f} mJ against '
        f'{mj_as_dense:.2f} mJ of the same layers with real-valued inputs '
        f'({percent(mj, mj_as_dense):.1f} %)'
    ]
    mj, mj_as_dense = spiking['mj_memory'], spiking['mj_memory_as_dense']
    if mj_as_dense:
        lines.append(f'  memory alone: {mj:.2f} against {mj_as_dense:.2f} mJ '
                     f'({_verdict(mj, mj_as_dense)})')
    return lines


def _verdict(mj: float, mj_as_dense: float) -> str:
    return 'LOSES' if mj > mj_as_dense else 'wins'


def write_json(report: dict, path: str | Path) -> None:
    """Write all of a report; :func:`read_json` reads it again."""
    Path(path).write_text(json.dumps(report, indent=1) + '\n')


def read_json(path: str | Path) -> dict:
    """Read a report.

    Args:
        path (str | Path): File of :func:`write_json`.

    Returns:
        dict: The report.

    Raises:
        ValueError: If the file holds anything else.
    """
    try:
        report = json.loads(Path(path).read_text())
    except (ValueError, RecursionError):  # no text, no JSON, too deep
        report = None
    if not isinstance(report, dict) or not REPORT_KEYS.issubset(report):
        raise ValueError(f'{str(path)!r} is not a report: get_energy.py '
                         'writes them as NAME.json')
    return report


def write_csv(report: dict, path: str | Path) -> None:
    """Write one line for each layer, counts of one video."""
    classes = sorted(report['total']['operations'])
    with open(path, 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['layer', 'after', 'branch', 'stage', 'part', *KINDS,
                         'firing_rate', *classes])
        for layer in report['layers']:
            writer.writerow([
                *(layer[key] for key in ('name', 'after', 'branch', 'stage',
                                         'part', *KINDS, 'firing_rate')),
                *(layer['operations'].get(name, 0) for name in classes)
            ])
