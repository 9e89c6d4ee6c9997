"""A published checkpoint is enough, and is what its name says."""
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.runner import Runner

from respike_mmaction.apis import load_trained, predict
from respike_mmaction.checkpoints import publish
from respike_mmaction.checkpoints.publish import file_hash
from tests.apis.networks import CLASSES, config, write_checkpoint
from tests.videos import write_video


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / 'weights.pth')


def test_it_is_enough_for_a_prediction(checkpoint, tmp_path):
    path = publish(checkpoint, tmp_path / 'out/mine.pth', classes=CLASSES)
    assert re.fullmatch(rf'mine_\d{{8}}-{file_hash(path)}\.pth', path.name)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    video = tmp_path / 'a.mp4'
    write_video(video, 12, size=(32, 32))
    ours, = predict(video, path)
    theirs, = predict(video, checkpoint, config())
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert load_trained(path).classes == CLASSES


def test_another_hash_than_in_the_name_is_refused(checkpoint, tmp_path):
    path = publish(checkpoint, tmp_path / 'mine.pth')
    content = torch.load(path)
    next(iter(content['state_dict'].values())).add_(1)
    torch.save(content, path)
    with pytest.raises(ValueError, match='its name says'):
        load_trained(path)


def test_nothing_of_the_machine_is_published(tmp_path):
    path = write_checkpoint(tmp_path / 'a.pth')
    cfg = config()
    cfg.update(work_dir='/home/me', load_from='/home/me/b.pth', resume=True)
    content = torch.load(publish(path, tmp_path / 'mine.pth', cfg))
    assert set(content) == {'meta', 'state_dict'}
    assert '/home/me' not in str(content['meta'])


def test_the_averaged_weights_are_published(tmp_path):
    """Those that validation saw, by the hook itself."""
    class Ones(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return torch.ones(2)

    from mmengine.model import BaseModel

    class Line(BaseModel):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(2, 1)

        def forward(self, inputs, mode='loss'):
            return dict(loss=self.line(inputs).sum())

    runner = Runner(
        Line(), str(tmp_path), train_dataloader=dict(
            dataset=Ones(), sampler=dict(type='DefaultSampler',
                                         shuffle=False), batch_size=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook')),
        custom_hooks=[dict(type='EMAHook', momentum=.5)],
        log_level='ERROR', experiment_name='ema', default_scope='mmaction')
    runner.train()
    hook, = (h for h in runner.hooks if isinstance(h, EMAHook))
    path = publish(tmp_path / 'epoch_1.pth', tmp_path / 'mine.pth',
                   Config(dict(model=dict(type='Line'))))
    weights = torch.load(path)['state_dict']
    averaged = hook.ema_model.module.line.weight
    assert torch.equal(weights['line.weight'], averaged)
    assert not torch.equal(averaged, runner.model.line.weight)
    assert set(weights) == {'line.weight', 'line.bias'}


def test_what_cannot_be_published_is_named(checkpoint, tmp_path):
    with pytest.raises(ValueError, match='2 names of classes'):
        publish(checkpoint, tmp_path / 'a.pth', classes=['a', 'b'])
    content = torch.load(checkpoint)
    torch.save(dict(state_dict=content['state_dict']), tmp_path / 'b.pth')
    with pytest.raises(ValueError, match='b.pth holds no config'):
        publish(tmp_path / 'b.pth', tmp_path / 'a.pth')
    content['state_dict']['cls_head.fc_cls.bias'][0] = float('nan')
    torch.save(content, tmp_path / 'c.pth')
    with pytest.raises(ValueError, match='fc_cls.bias.*not finite'):
        publish(tmp_path / 'c.pth', tmp_path / 'a.pth')
    torch.save(dict(meta={}), tmp_path / 'd.pth')
    with pytest.raises(ValueError, match='d.pth holds no weights'):
        publish(tmp_path / 'd.pth', tmp_path / 'a.pth')
    assert not list(tmp_path.glob('a*'))
