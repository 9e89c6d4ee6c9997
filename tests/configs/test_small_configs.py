"""Configs for small data: each changes what its name says, and builds."""
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from respike_mmaction.models.kernels import scan
from respike_mmaction.models.neurons import BaseNeuron

ROOT = Path(__file__).resolve().parents[2]
SMALL = ROOT / 'configs/respike/small'

# what a config changes in respike.py
ALL = (0, 1, 2, 3)
SWITCHES = {
    'respike': {},
    'no-fusion': {'model.cls_head.fused_stages': ()},
    'fused-4': {'model.cls_head.fused_stages': (3, )},
    'fused-3-4': {'model.cls_head.fused_stages': (2, 3)},
    'fused-2-4': {'model.cls_head.fused_stages': (1, 2, 3)},
    'fused-1-4': {'model.cls_head.fused_stages': ALL},
    'reference-previous': {'model.reference': 'previous'},
    'stride-2': {'model.stride': 2},
    'stride-8': {'model.stride': 8},
    'stride-16': {'model.stride': 16},
    'recipe-plus': {'lr': 1e-3, 'max_epochs': 32,
                    'model.cls_head.branch_loss_weight': 1.,
                    'model.backbone.pretrained': 'resnet18.pth',
                    'model.backbone.norm_statistics': 'shared',
                    'optim_wrapper.paramwise_cfg.norm_decay_mult': 0},
    'late': {'model.cls_head.fused_stages': (),
             'model.cls_head.branch_loss_weight': 1.},
    'lite': {'max_epochs': 32, 'model.key_scale': .7,
             'model.cls_head.fused_stages': (),
             'model.cls_head.branch_loss_weight': 1.},
    'if': {'model.backbone.neuron.type': 'IFNeuron'},
    'parametric-lif': {'model.backbone.neuron.type': 'ParametricLIFNeuron'},
    'soft-reset': {'model.backbone.neuron.reset': 'soft'},
    'relu': {'model.backbone.neuron.type': 'ReLU'},
    'stateless-1': {'model.backbone.stateless_stages': (0, )},
    'stateless-2': {'model.backbone.stateless_stages': (1, )},
    'stateless-3': {'model.backbone.stateless_stages': (2, )},
    'stateless-4': {'model.backbone.stateless_stages': (3, )},
    'stateless': {'model.backbone.stateless_stages': ALL},
    'shuffled': {'frame_order': 'shuffled'},
    'reversed': {'frame_order': 'reversed'},
    'frozen': {'frame_order': 'frozen'},
    'shared-statistics': {'model.backbone.norm_statistics': 'shared'},
    'faithful': {'optim_wrapper.optimizer.type': 'SGD',
                 'optim_wrapper.optimizer.lr': 1e-4},
    'tsn': {'model.type': 'Recognizer2D', 'keep': 'all',
            'optim_wrapper.paramwise_cfg.norm_decay_mult': 0},
    'key-only': {'lr': 3e-3, 'max_epochs': 32, 'keep': 'key',
                 'model.type': 'Recognizer2D'},
    'tsm': {'model.backbone.type': 'ResNetTSM', 'keep': 'all'},
    'tsm-4': {'lr': 1e-3, 'max_epochs': 16, 'keep': 'all',
              'model.backbone.num_segments': 4},
    'spiking-rgb': {'model.backbone.num_steps': 16, 'keep': 'all'},
    'spiking-residual': {'model.backbone.num_steps': 3, 'keep': 'residual'},
    'spiking-residual-stateless': {
        'model.backbone.stateless_stages': ALL, 'keep': 'residual'},
}


def load(name, monkeypatch, data='msr_action3d'):
    monkeypatch.setenv('RESNET18', 'resnet18.pth')
    monkeypatch.setenv('SMALL_DATA', data)
    return Config.fromfile(SMALL / f'{name}.py')


def offline(model):
    """The model with random weights; its key branch had those asked for."""
    dense = model.get('key_backbone', model.backbone)
    if dense.type != 'SpikingResNet':
        assert dense.pretrained == 'resnet18.pth'
        dense.pretrained = None
    if model.backbone.get('pretrained'):  # of the spiking branch
        model.backbone.pretrained = None
    if dense.type == 'ResNetTSM':
        dense.pretrained2d = False
    return model


def test_every_config_is_known():
    assert sorted(SWITCHES) == sorted(p.stem for p in SMALL.glob('*.py'))


@pytest.mark.parametrize('name', SWITCHES)
def test_it_changes_what_it_says(name, monkeypatch):
    cfg = load(name, monkeypatch)
    init_default_scope('mmaction')
    for path, value in SWITCHES[name].items():
        assert cfg.get(path.split('.')[0]) is not None
        found = cfg
        for key in path.split('.'):
            found = found[key]
        found = tuple(found) if isinstance(found, list) else found
        assert found == value
    for phase in ('train', 'val', 'test'):
        steps = {step.type: step for step in cfg[f'{phase}_pipeline']}
        assert steps['GroupFrameOrder'].order == cfg.frame_order
        assert steps['ResidualFrameTransform'].keep == cfg.keep
        assert steps['ResidualFrameTransform'].stride == cfg.clip.stride
    model = MODELS.build(offline(cfg.model))
    neurons = [m for m in model.modules() if isinstance(m, BaseNeuron)]
    assert bool(neurons) == (
        name not in ('tsn', 'tsm', 'tsm-4', 'key-only', 'relu'))
    assert cfg.train_cfg.val_interval == cfg.max_epochs  # the test list once


@pytest.mark.parametrize('data, classes, split', [
    ('msr_action3d', 8, 'AS3'), ('ucf101_3cls', 3, '2'),
    ('motion8', 8, 'motion8')])
def test_sets_are_a_switch(data, classes, split, monkeypatch, shared_data):
    cfg = load('key-only', monkeypatch, data=data)
    root = shared_data / 'datasets' / Path(cfg.data_root).name
    cfg.merge_from_dict(dict(split=split, data_root=f'{root}/'))
    assert cfg.model.cls_head.num_classes == classes
    assert cfg.flip_ratio == (0 if data == 'motion8' else 0.5)
    for phase in ('train', 'test'):
        lines = Path(cfg[f'{phase}_dataloader'].dataset.ann_file)
        assert split in lines.name
        if data == 'motion8':
            continue
        labels = set()
        for line in lines.read_text().splitlines():
            path, label = line.split()
            assert (root / path).is_file()
            labels.add(int(label))
        assert labels == set(range(classes))


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """Eight small videos in the place of motion8."""
    tool = runpy.run_path(str(ROOT / 'tools/data/make_motion_videos.py'))
    out = tmp_path_factory.mktemp('motion8')
    tool['make_dataset'](out, 1, 1, 64, 16, seed=0, workers=1)
    for split in ('train', 'val'):
        path = out / f'motion8_{split}_list_videos.txt'
        path.write_text(''.join(path.read_text().splitlines(True)[:2]))
    return out


@pytest.mark.parametrize('name', [
    'stride-16', 'relu', 'tsm', 'spiking-residual'])
def test_it_trains_an_iteration(name, monkeypatch, tmp_path, videos):
    cfg = load(name, monkeypatch, data='motion8')
    cfg.merge_from_dict({
        'data_root': f'{videos}/', 'max_epochs': 1, 'clip.size': 64,
        'train_dataloader.batch_size': 2})
    offline(cfg.model)
    cfg.env_cfg.mp_cfg = {}
    # one iteration does not pay for a compilation
    monkeypatch.setattr(scan, 'COMPILE_FROM', 2**30)
    monkeypatch.setattr('mmengine.config.config.FormatCode',
                        lambda text, **kwargs: (text, True))
    cfg.dump(tmp_path / 'small.py')
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr(sys, 'argv', [
        'train.py', str(tmp_path / 'small.py'), '--work-dir',
        str(tmp_path / 'work'), '--seed', '0'])
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
    state = torch.load(tmp_path / 'work/epoch_1.pth')
    assert state['meta']['iter'] == 1 and 'optimizer' not in state
    assert all(torch.isfinite(w).all() for w in state['state_dict'].values())
