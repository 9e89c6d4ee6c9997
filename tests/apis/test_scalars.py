import json

import pytest

from respike_mmaction.apis import last_accuracy, read_scalars, series


def write(work_dir, name, records):
    path = work_dir / name / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(r) + '\n' for r in records))


def loss(step):
    return dict(loss=step / 10, step=step)


def test_a_resumed_run_takes_the_place_of_what_was_lost(tmp_path):
    """Stopped after iteration 30, resumed from the checkpoint of 20."""
    write(tmp_path, '1', [loss(10), loss(20), {'acc/top1': .5, 'step': 1},
                          loss(30)])
    write(tmp_path, '2', [loss(30), loss(40), {'acc/top1': .7, 'step': 2}])
    records = read_scalars(tmp_path)
    assert series(records, 'loss') == ([10, 20, 30, 40], [1., 2., 3., 4.])
    assert series(records, 'acc/top1') == ([20, 40], [.5, .7])
    assert series(records, 'lr') == ([], [])
    assert last_accuracy(tmp_path) == 70


def test_a_folder_without_a_training(tmp_path):
    with pytest.raises(ValueError, match='holds no training'):
        read_scalars(tmp_path)
    write(tmp_path, '1', [loss(10)])
    with pytest.raises(ValueError, match='holds no accuracy'):
        last_accuracy(tmp_path)
