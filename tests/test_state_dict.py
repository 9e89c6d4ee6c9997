"""Weights that do not fit are refused by name, unless a choice allows it."""
import copy

import pytest
import torch
from mmaction.apis import init_recognizer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from respike_mmaction.engine.hooks import NewClassifierHook
from respike_mmaction.state_dict import Differences, compare

SPIKING = dict(type='SpikingResNet', depth=10, base_channels=8)
OURS = dict(
    type='ReSpikeRecognizer', stride=2, num_frames=4,
    key_backbone=dict(type='MobileNetV2', widen_factor=.1,
                      out_indices=(1, 2, 4, 7)),
    backbone=dict(SPIKING, base_channels=32),
    cls_head=dict(type='CrossAttentionFusion', num_classes=3))
STOCK = dict(
    type='Recognizer2D', backbone=SPIKING,
    cls_head=dict(type='TSNHead', num_classes=3, in_channels=64))
WEIGHT = 'backbone.conv1.weight'


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmaction')


def nan(weights):
    weights[WEIGHT].view(-1)[5] = float('nan')


def infinite_mean(weights):
    weights['backbone.bn1.running_mean'][0] = float('inf')


def empty(weights):
    weights.clear()


def other_shape(weights):
    weights[WEIGHT] = torch.zeros(2, 3, 3, 3)


def no_tensor(weights):
    weights[WEIGHT] = 'a text'


def deeper(weights):
    weights['backbone.layer9.weight'] = torch.zeros(1)


FAULTS = [
    (empty, r'\d+ missing: .*backbone\.'),
    (lambda w: w.pop(WEIGHT), f'1 missing: {WEIGHT}'),
    (other_shape, rf'1 of another shape: {WEIGHT} \(2, 3, 3, 3\) instead of'),
    (no_tensor, f'1 of another shape: {WEIGHT} str instead of'),
    (deeper, '1 unknown: backbone.layer9.weight'),
    (nan, f'1 not finite: {WEIGHT}'),
    (infinite_mean, '1 not finite: backbone.bn1.running_mean'),
]


def spoilt(model, spoil):
    weights = copy.deepcopy(model.state_dict())
    spoil(weights)
    return weights


def test_compare():
    expected = nn.BatchNorm1d(2).state_dict()
    stored = dict(weight=torch.ones(3), bias=torch.tensor([1., -torch.inf]),
                  running_mean=torch.zeros(2), more=torch.zeros(1))
    found = compare(stored, expected)
    assert found == Differences(
        missing=['running_var'], unknown=['more'],
        shapes=dict(weight='(3,) instead of (2,)'), not_finite=['bias'])
    assert str(found) == (
        '1 missing: running_var; 1 unknown: more; 1 of another shape: weight '
        '(3,) instead of (2,); 1 not finite: bias')
    assert not compare(expected, expected)
    many = compare({}, {str(i): torch.zeros(1) for i in range(9)})
    assert str(many) == '9 missing: 0, 1, 2, 3, 4 ...'


@pytest.mark.parametrize('spoil, message', FAULTS)
@pytest.mark.parametrize('cfg', [OURS, STOCK], ids=['ours', 'stock'])
def test_inference_refuses_what_does_not_fit(cfg, spoil, message, tmp_path):
    model = MODELS.build(cfg)
    torch.save(dict(state_dict=spoilt(model, spoil)), tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=f'do not fit .*{message}'):
        init_recognizer(Config(dict(model=cfg)), str(tmp_path / 'w.pth'),
                        'cpu')
    torch.save(model.state_dict(), tmp_path / 'good.pth')
    loaded = init_recognizer(
        Config(dict(model=cfg)), str(tmp_path / 'good.pth'), 'cpu')
    assert torch.equal(loaded.state_dict()[WEIGHT],
                       model.state_dict()[WEIGHT])


@pytest.mark.parametrize('spoil, message', FAULTS)
def test_training_may_load_in_part_but_nothing_that_is_not_finite(
        spoil, message, tmp_path):
    model = MODELS.build(OURS)
    model.init_weights()
    torch.save(spoilt(model, spoil), tmp_path / 'w.pth')
    if 'not finite' in message:
        with pytest.raises(ValueError, match=message):
            load_checkpoint(model, str(tmp_path / 'w.pth'))
    elif spoil is not no_tensor:  # a wrong type, which MMEngine itself stops
        load_checkpoint(model, str(tmp_path / 'w.pth'))


def test_torch_leaves_the_choice_to_the_caller():
    model = MODELS.build(OURS)
    weights = model.state_dict()
    del weights[WEIGHT]
    assert model.load_state_dict(weights, strict=False).missing_keys == [
        WEIGHT]
    with pytest.raises(ValueError, match=WEIGHT):  # once more as before
        model.load_state_dict(weights)


def test_the_new_classifier_is_there_before_the_moving_average_loads():
    """EMAHook copies the network before init_weights: all must fit."""
    runner = Runner.__new__(Runner)
    runner._hooks = []
    for hook in (EMAHook(), NewClassifierHook()):
        runner.register_hook(hook)
    assert [type(hook) for hook in runner._hooks] == [
        NewClassifierHook, EMAHook]
    average = ExponentialMovingAverage(MODELS.build(STOCK))
    with pytest.raises(ValueError, match='missing'):
        load_state_dict(average.module, {})


@pytest.mark.parametrize('name, spoil, fault', [
    ('empty', empty, 'missing'), ('shape', other_shape, 'of another shape'),
    ('nan', nan, 'not finite')])
def test_a_test_run_refuses_what_does_not_fit(name, spoil, fault, tmp_path):
    """Runner.test, which test.py calls: no accuracy but an error."""
    data = dict(type='DefaultSampler', shuffle=False)
    runner = Runner(
        model=OURS, work_dir=str(tmp_path), default_scope='mmaction',
        test_dataloader=dict(dataset=[0], sampler=data, batch_size=1),
        test_cfg=dict(), test_evaluator=[], log_level='ERROR',
        load_from=str(tmp_path / 'w.pth'), experiment_name=name)
    torch.save(dict(state_dict=spoilt(runner.model, spoil)),
               tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=f'do not fit .*{fault}'):
        runner.test()
