import json
import pickle
import runpy

import pytest
import torch


@pytest.fixture(scope='module')
def tool(root):
    return runpy.run_path(str(root / 'tools/analysis_tools/plot_run.py'))


@pytest.fixture
def work_dir(tmp_path):
    path = tmp_path / 'run/20260101_000000/vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(r) for r in [
        dict(loss=1., lr=.1, top1_acc=.5, step=5, epoch=1),
        {'val/firing_rate/layer1': .2, 'val/firing_rate/layer2': .3,
         'step': 1},
        {'acc/top1': .5, 'step': 1}]))
    return tmp_path / 'run'


def test_pictures_go_beside_the_log(tool, work_dir, tmp_path, capsys):
    torch.save([dict(pred_score=torch.tensor([.1, .9]),
                     gt_label=torch.tensor([1]))], tmp_path / 'dump.pkl')
    (tmp_path / 'map.txt').write_text('still\nmoves\n')
    with pytest.raises(ValueError, match='dump.pkl'):
        tool['main']([str(work_dir), '--dump', str(tmp_path / 'dump.pkl')])
    (tmp_path / 'dump.pkl').write_bytes(pickle.dumps([
        dict(pred_score=torch.tensor([.1, .9]), gt_label=torch.tensor([1]))]))
    tool['main']([str(work_dir), '--dump', str(tmp_path / 'dump.pkl'),
                  '--label-map', str(tmp_path / 'map.txt')])
    folder = work_dir / '20260101_000000'
    names = ['confusion_matrix.png', 'curves.png', 'firing_rates.png']
    assert sorted(p.name for p in folder.glob('*.png')) == names
    printed = capsys.readouterr().out
    assert all(f'written: {folder / name}' in printed for name in names)


def test_folder_without_a_training(tool, tmp_path):
    with pytest.raises(ValueError, match='holds no training'):
        tool['main']([str(tmp_path)])


def test_rates_of_validation_before_those_of_training(tool):
    records = [{'at': 5, 'train/firing_rate/a': .1},
               {'at': 5, 'val/firing_rate/a': .2}]
    assert tool['firing_rates'](records) == ({'a': ([5], [.2])}, 'val')
    assert tool['firing_rates'](records[:1]) == ({'a': ([5], [.1])}, 'train')
    assert tool['firing_rates']([dict(at=5)]) == ({}, None)
