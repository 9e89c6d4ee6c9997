"""Each extension point: what a plugin puts there is asked."""
import socket
import types

import pytest
import torch
from mmaction.engine.optimizers import tsm_optim_wrapper_constructor
from mmaction.registry import MODELS
from mmengine.model import convert_sync_batchnorm
from mmengine.runner import Runner, load_checkpoint, runner
from torch import nn

from respike_mmaction import extension_points
from respike_mmaction.models.layers import StepBatchNorm2d


def test_applying_twice_changes_nothing():

    def replaced():
        return (Runner.register_default_hooks, load_checkpoint,
                tsm_optim_wrapper_constructor._BatchNorm,
                nn.SyncBatchNorm.convert_sync_batchnorm,
                runner.convert_sync_batchnorm)

    before = replaced()
    extension_points.apply()
    assert replaced() == before


@pytest.mark.parametrize('name', ['timer', 'mine'])
def test_none_removes_any_default_hook(name):
    """MMEngine's own six only, without the mend; an assertion for others."""
    registered = []
    run = types.SimpleNamespace(register_hook=registered.append)
    hooks = dict(timer=dict(type='Timer'), mine=dict(type='Mine'),
                 check_run=None)
    Runner.register_default_hooks(run, hooks)
    assert {'Timer', 'Mine'} < {hook['type'] for hook in registered}
    number = len(registered)
    registered.clear()
    Runner.register_default_hooks(run, {**hooks, name: None})
    assert len(registered) == number - 1
    assert hooks[name]['type'] not in {hook['type'] for hook in registered}


@pytest.mark.parametrize('load', [
    lambda url: MODELS.build(
        dict(type='ResNet', depth=18, pretrained=url)).init_weights(),
    lambda url: MODELS.build(dict(
        type='MobileNetV2', widen_factor=0.1,
        init_cfg=dict(type='Pretrained', checkpoint=url))).init_weights(),
    lambda url: load_checkpoint(torch.nn.Linear(1, 1), url)
], ids=['ResNet', 'init_cfg', 'load_from'])
def test_weights_out_of_reach_name_the_option_for_a_file(load):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    url = f'http://127.0.0.1:{port}/resnet.pth'  # nobody listens
    with pytest.raises(OSError, match=(
            f'weights {url} cannot be fetched .*refused.*'
            'model.key_backbone.pretrained=FILE')):
        load(url)


@pytest.mark.parametrize('convert', [
    convert_sync_batchnorm, nn.SyncBatchNorm.convert_sync_batchnorm])
def test_a_batchnorm_that_synchronises_itself_stays(convert):
    ours, theirs = StepBatchNorm2d(4, 3), nn.BatchNorm2d(4)
    calls = []
    theirs.register_forward_hook(lambda *args: calls.append(args))
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Sequential(ours, theirs))
    assert 'synchronized=False' in repr(model)
    converted = convert(model)
    assert converted[1][0] is ours and ours.synchronized
    assert type(converted[1][1]) is nn.SyncBatchNorm
    converted(torch.randn(3, 4, 2, 2))  # without processes a plain BatchNorm
    assert len(calls) == 1  # hooks of the replaced one go along
    assert convert(StepBatchNorm2d(4)).synchronized
