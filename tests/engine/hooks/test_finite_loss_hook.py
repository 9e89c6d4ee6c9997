"""A training with numbers that are none stops, and says where they begin."""
import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from respike_mmaction.engine.non_finite import all_finite, names_not_finite
from tests.interruption import NUMBERS, config, make_videos, train


class Log(nn.Module):

    def forward(self, x):
        return x.log()


class Root(nn.Module):

    def forward(self, x):
        return x.sqrt()


@MODELS.register_module()
class Fragile(BaseModel):
    """Sum, then a function that takes few numbers."""

    def __init__(self, last):
        super().__init__()
        self.scale = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.scale.weight)
        self.norm = nn.BatchNorm1d(2, affine=False)
        self.last = dict(log=Log, root=Root, none=nn.Identity)[last]()

    def forward(self, inputs, data_samples=None, mode='loss'):
        if mode == 'predict':
            return data_samples
        x = self.scale(torch.stack(inputs))
        return dict(loss=self.last(x).sum() + 0 * self.norm(x).sum())


@DATASETS.register_module()
class Numbers(Dataset):
    """Ones, but for sample 5."""

    def __init__(self, other):
        self.other = other

    def __len__(self):
        return 8

    def __getitem__(self, index):
        sample = ActionDataSample(metainfo=dict(filename=f'{index}.mp4'))
        value = self.other if index == 5 else 1.
        return dict(inputs=torch.full((2, ), value), data_samples=sample)


@METRICS.register_module()
class Always(BaseMetric):

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return dict(acc=1.)


def runner(folder, last, other, hooks=(), lr=.001, max_skipped=16):
    loader = dict(dataset=dict(type='Numbers', other=other), batch_size=2,
                  sampler=dict(type='DefaultSampler', shuffle=False))
    return Runner.from_cfg(Config(dict(
        work_dir=str(folder), experiment_name=f'run {next(NUMBERS)}',
        model=dict(type='Fragile', last=last), train_dataloader=loader,
        val_dataloader=loader, val_cfg=dict(), val_evaluator=dict(
            type='Always'),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr)),
        default_hooks=dict(
            finite_loss=dict(type='mmaction.FiniteLossHook',
                             max_skipped=max_skipped),
            checkpoint=dict(type='CheckpointHook', interval=1,
                            save_best='acc')),
        custom_hooks=list(hooks), env_cfg=dict(mp_cfg=dict()),
        log_level='ERROR')))


@pytest.mark.parametrize('last, other, message', [
    ('log', 0., r'loss is -inf; .* is the output of last \(Log\)'),
    ('log', -1., r'loss is nan; .* is the output of last \(Log\)'),
    ('root', 0., r'the gradient is not finite; .* is the gradient of the '
                 r'output of scale \(Linear\)'),
    ('none', float('inf'), 'the input of the network'),
], ids=['infinite', 'not a number', 'gradient', 'input'])
def test_the_layer_and_the_videos_are_named(tmp_path, last, other, message):
    run = runner(tmp_path, last, other)
    with pytest.raises(FloatingPointError, match=message) as caught:
        run.train()
    assert 'iteration 3: ' in str(caught.value)
    assert str(caught.value).splitlines()[1:] == ['  4.mp4', '  5.mp4']
    assert not list(tmp_path.glob('*.pth'))
    # no step was taken with it
    assert all_finite(run.model.parameters())


@HOOKS.register_module()
class OverflowHook(Hook):
    """Makes a weight too large in the third iteration."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2:
            runner.model.backbone.conv1.weight.data.fill_(3e38)


@pytest.mark.parametrize('amp', [False, True])
def test_a_layer_of_respike_is_named(tmp_path, amp):
    make_videos(tmp_path)
    cfg = config(tmp_path, amp=amp)
    cfg.custom_hooks.append(dict(type='mmengine.OverflowHook'))
    with pytest.raises(FloatingPointError,
                       match=r'output of backbone.conv1 \(Conv2d\)') as caught:
        train(cfg, tmp_path)
    names = str(caught.value).splitlines()[1:]
    assert len(names) == 2
    for name in names:
        assert name.startswith(f'  {tmp_path}/') and name.endswith('.mp4')


def test_a_weight_that_is_lost_is_named(tmp_path):
    run = runner(tmp_path, 'none', 1.)
    run.model.scale.weight.data[0, 0] = float('nan')
    with pytest.raises(FloatingPointError, match='weight scale.weight'):
        run.train()


def test_infinite_statistics_are_an_error(tmp_path):
    run = runner(tmp_path, 'none', 1.)
    run.model.norm.running_var[1] = float('inf')
    with pytest.raises(FloatingPointError, match='norm.running_var'):
        run.train()
    assert not list(tmp_path.glob('*.pth'))
    run.model.norm.running_var[1] = 1.
    run.val()
    run.model.norm.running_mean[0] = float('nan')
    with pytest.raises(FloatingPointError, match='norm.running_mean'):
        run.val()


@pytest.mark.parametrize('max_skipped, error', [(0, True), (1, False)])
def test_loss_scaling_may_leave_batches_out(tmp_path, max_skipped, error):
    run = runner(tmp_path, 'root', 0., max_skipped=max_skipped)
    run.optim_wrapper = run.build_optim_wrapper(
        dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=.001)))
    scaler = torch.amp.GradScaler('cpu', init_scale=4.)
    run.optim_wrapper.loss_scaler = scaler
    if error:
        with pytest.raises(FloatingPointError, match='5.mp4'):
            run.train()
        return
    run.train()  # one of four batches, not in a row
    assert run.message_hub.get_info('batches_skipped') == 0
    assert scaler.get_scale() == 1.  # halved twice
    assert all_finite(run.model.state_dict().values())


def test_a_row_of_skipped_batches_has_an_end(tmp_path):
    run = runner(tmp_path, 'log', 1., max_skipped=2)
    run.model.scale.weight.data.fill_(-1)
    run.optim_wrapper = run.build_optim_wrapper(
        dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=.001)))
    run.optim_wrapper.loss_scaler = torch.amp.GradScaler('cpu')
    run.model.norm.track_running_stats = False
    with pytest.raises(FloatingPointError,
                       match='iteration 3, after 2 batches left out'):
        run.train()


def test_settings_that_are_none():
    with pytest.raises(ValueError, match='max_skipped=-1 is not allowed'):
        HOOKS.build(dict(type='mmaction.FiniteLossHook', max_skipped=-1))


def test_kinds_of_tensors():
    tensors = dict(
        a=torch.ones(3), b=torch.tensor([1, 2]), c=torch.empty(0),
        d=torch.full((2, ), 1e300, dtype=torch.float64), e='text',
        f=torch.tensor(65000., dtype=torch.float16))
    assert names_not_finite(tensors) == []
    tensors['f'] = tensors['f'] * 2
    assert names_not_finite(tensors) == ['f']
