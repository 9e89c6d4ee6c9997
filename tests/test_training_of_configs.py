"""Every config of ours trains, validates and saves by upstream's train.py."""
import json
import runpy
import shutil
import sys
from pathlib import Path

import mmaction
import pytest
import torch
from mmengine.config import Config

from tests.scripts import load_script

TRAIN = Path(mmaction.__file__).parent / '.mim/tools/train.py'
ROOT = Path(__file__).resolve().parents[1]
# those of other test protocols train as their base does
CONFIGS = sorted(path for path in (ROOT / 'configs/respike').glob('*.py')
                 if not path.stem.endswith(('crops', 'rawframes')))

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """Folder of sixteen small videos with annotation lists."""
    tool = load_script('data/make_motion_videos')
    out = tmp_path_factory.mktemp('videos')
    tool.make_dataset(
        out, num_train=1, num_val=1, size=64, frames=16, seed=0, workers=1)
    for split, count in (('train', 4), ('val', 2)):
        path = out / f'motion8_{split}_list_videos.txt'
        lines = path.read_text().splitlines(keepends=True)
        path.write_text(''.join(lines[:count]))
    return out


def shrink(cfg, videos):
    """Four small videos in batches of two, one epoch, no downloads."""
    for phase in ('train', 'val', 'test'):
        loader = cfg[f'{phase}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        dataset = loader.dataset
        split = 'train' if phase == 'train' else 'val'
        dataset.ann_file = str(videos / f'motion8_{split}_list_videos.txt')
        dataset.data_prefix = dict(video=str(videos))
        if 'metainfo' in dataset:
            classes = [f'class {i}' for i in range(dataset.num_classes)]
            dataset.metainfo = dict(classes=classes)
    cfg.merge_from_dict({'clip.size': 64, 'clip.short_side': 72})
    shrink_model(cfg.model)
    cfg.load_from = None
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.env_cfg.mp_cfg = dict()  # leave this process as it is


def shrink_model(model):
    for part in (model.get('key_backbone', {}), model.backbone):
        if 'pretrained' in part:
            part.pretrained = None
        if part.get('type') == 'ResNetTSM':
            part.pretrained2d = False
        if part.get('depth') == 50:
            part.depth = 18
    if model.backbone.type == 'SpikingResNet':
        neuron = model.backbone.get('neuron', dict(type='LIFNeuron'))
        model.backbone.update(
            depth=10,
            base_channels=32,
            neuron=dict(neuron, backend='torch'))  # nothing to compile for
    if model.cls_head.type == 'TSNHead':
        model.cls_head.in_channels = (
            256 if model.backbone.type == 'SpikingResNet' else 512)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_trains(path, videos, tmp_path, monkeypatch):
    cfg = Config.fromfile(path)
    assert not cfg.get('find_unused_parameters', False)
    shrink(cfg, videos)
    small, work = tmp_path / path.name, tmp_path / 'work'
    # MMEngine lays out the config's text with yapf, for seconds, at every
    # start and checkpoint
    monkeypatch.setattr('mmengine.config.config.FormatCode',
                        lambda text, **kwargs: (text, True))
    cfg.dump(small)
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr(
        sys, 'argv',
        ['train.py', str(small), '--work-dir',
         str(work), '--seed', '0'])
    runpy.run_path(str(TRAIN), run_name='__main__')

    state = torch.load(work / 'epoch_1.pth')
    assert state['meta']['iter'] == 2
    assert all(torch.isfinite(w).all() for w in state['state_dict'].values())
    # an optimizer keeps state of what had a gradient: nothing goes unused,
    # so DDP runs with find_unused_parameters=False
    trained = state['optimizer']['state'].keys()
    given = [p for g in state['optimizer']['param_groups']
             for p in g['params']]
    assert set(given) == set(trained)
    assert list(work.glob('best_acc_top1_epoch_1.pth'))
    scalars, = work.glob('*/vis_data/scalars.json')
    logged = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert any('acc/top1' in line for line in logged)
    shutil.rmtree(work)  # checkpoints add up


def test_configs_are_found():
    assert len(CONFIGS) >= 9
