"""Results of runs, side by side."""
import json

import pytest

from respike_mmaction.apis import (
    ablation_table,
    gather_runs,
)

MODEL = dict(name='m', pj_per_mac=1)


def write_run(root, name, seed, accuracy, *, views=1, rate=None, mj=2.):
    run = root / name / f'seed_{seed}'
    run.mkdir(parents=True)
    (run / 'result.json').write_text(json.dumps(dict(
        name=name, seed=seed, accuracy=accuracy, seconds=60 * (seed + 1))))
    (run / 'energy.json').write_text(json.dumps(dict(
        config='x.py', weights='w', measured='values', accuracy=accuracy,
        keys_and_values='once', views_per_video=views,
        total=dict(macs=4e9, acs=2e9, parameters=3e6, firing_rate=rate),
        energy=dict(m=dict(model=MODEL, mj_per_video=views * mj,
                           mj_per_view=mj)))))
    return run


def test_mean_and_deviation_over_seeds(tmp_path):
    runs = [write_run(tmp_path, 'a', 0, 70., views=2, rate=.1, mj=1.),
            write_run(tmp_path, 'b', 0, 50.),
            write_run(tmp_path, 'a', 1, 74., views=2, rate=.2, mj=3.)]
    a, b = gather_runs(runs)
    assert (a['config'], b['config']) == ('a', 'b')
    assert a['accuracy'] == 72 and a['accuracies'] == {'0': 70, '1': 74}
    # sqrt((2**2 + 2**2) / (2 - 1))
    assert a['accuracy_deviation'] == pytest.approx(8**.5)
    assert a['accuracy_source'] == '2 seeds'
    assert b['accuracy_deviation'] is None and b['firing_rate'] is None
    assert a['firing_rate'] == pytest.approx(15)
    assert (a['parameters'], a['macs'], a['acs']) == (3, 2, 1)  # of a view
    assert a['minutes'] == 1.5
    assert a['energy']['m'] == dict(
        model=MODEL, mj_per_video=4, mj_per_view=2)
    lines = ablation_table([a, b]).splitlines()
    assert len({line.count('|') for line in lines}) == 1
    assert lines[2].startswith('| a | 72.0 | 2.8 | 0: 70.0, 1: 74.0 | 3.00 |')
    assert lines[3].startswith('| b | 50.0 |  | 0: 50.0 |')
