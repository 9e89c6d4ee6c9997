"""Networks trained with weights of eight bits, which eight bits then keep."""
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from torch import nn

from respike_mmaction.apis import accelerate
from respike_mmaction.engine.hooks import Int8WeightsHook
from respike_mmaction.models.backbones import SpikingResNet
from respike_mmaction.models.layers.int8_spike_conv import why_not_int8
from respike_mmaction.models.neurons import BaseNeuron
from tests.interruption import (
    MODEL,
    Interrupted,
    config,
    contents,
    differences,
    make_videos,
    train,
)


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('videos')
    make_videos(folder)
    return folder


def rounded_run(videos, **settings):
    cfg = config(videos, **settings)
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks
                        if hook.type != 'EMAHook']
    cfg.default_hooks.int8_weights = dict(type='Int8WeightsHook')
    return cfg


def off_grid(weight):
    """Distance of weights from 255 levels of their channel, in levels."""
    levels = 127 * weight.double() / weight.double().abs().amax(
        (1, 2, 3), keepdim=True)
    return (levels - levels.round()).abs().max().item()


def runner_of(model):
    """What the hook asks a runner for."""
    optimizer = torch.optim.SGD(model.parameters(), lr=.1)
    return SimpleNamespace(model=model, optim_wrapper=OptimWrapper(optimizer))


def firing(model):
    """BatchNorms that do something, and neurons that fire."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, .8, 1.5)
            nn.init.normal_(module.bias, std=.5)
            nn.init.uniform_(module.running_var, .2, .5)
    return model.eval()


def spikes_of(model, frames):
    """Those of every layer."""
    found = []
    hooks = [module.register_forward_hook(
                 lambda _, args, out: found.append(out.bool()))
             for module in model.modules() if isinstance(module, BaseNeuron)]
    with torch.no_grad():
        model(frames)
    for hook in hooks:
        hook.remove()
    return found


def test_small_steps_add_up():
    """Each is lost in rounding; by hand W - n * 0.1 * grad, then rounded."""
    model = SpikingResNet(depth=10, base_channels=8, num_steps=1)
    weight = model.layer1[0].conv2.weight
    first = weight.detach().clone()
    runner = runner_of(model)
    Int8WeightsHook().before_train(runner)
    rounded = weight.detach().clone()
    level = first.abs().amax() / 127
    assert 0 < (rounded - first).abs().max() <= level / 2
    gradient = level * torch.rand_like(first)  # a tenth of a level at most
    for _ in range(20):
        weight.grad = gradient.clone()
        runner.optim_wrapper.optimizer.step()
    expected = first.double() - 20 * .1 * gradient.double()
    levels = expected.abs().amax((1, 2, 3), keepdim=True) / 127
    assert ((weight - expected).abs() <= levels * .5001).all()
    assert off_grid(weight.detach()) < 1e-4
    assert (weight != rounded).float().mean() > .5
    stem = model.conv1.weight.detach()
    assert off_grid(stem) > .1  # it sees no spikes


def test_weights_stay_rounded_and_a_stop_loses_nothing(videos, tmp_path):
    found = []
    for name in 'ab':
        (tmp_path / name).mkdir()
        cfg = rounded_run(videos, length=2)
        if name == 'b':
            with pytest.raises(Interrupted):
                train(rounded_run(videos, length=2), tmp_path / name,
                      point='before_train_iter', number=8)
        runner = train(cfg, tmp_path / name, resume=name == 'b')
        found.append(contents(tmp_path / name / 'work'))
    assert not differences(*found)
    weights = runner.model.backbone.state_dict()
    assert all(off_grid(weight) < 1e-4 for name, weight in weights.items()
               if name.startswith('layer') and '.conv' in name)
    assert off_grid(weights['conv1.weight']) > .1


def test_a_second_training_rounds_once_a_step():
    """Twice a step would keep rounded weights, and lose small steps."""
    model = SpikingResNet(depth=10, base_channels=8, num_steps=1)
    weight = model.layer1[0].conv2.weight
    runner, hook = runner_of(model), Int8WeightsHook()
    hook.before_train(runner)
    hook.before_train(runner)
    rounded = weight.detach().clone()
    gradient = torch.full_like(rounded, rounded.abs().amax().item() / 127)
    for _ in range(20):  # two levels in all, a tenth of one each
        weight.grad = gradient.clone()
        runner.optim_wrapper.optimizer.step()
    assert torch.allclose(weight, rounded - 2 * gradient,
                          atol=.51 * gradient[0, 0, 0, 0].item())


@pytest.mark.skipif(bool(why_not_int8()), reason=f'{why_not_int8()}')
def test_nothing_is_lost_in_eight_bits():
    """Spike by spike, which without the hook is not so."""
    frames = torch.randn(6, 3, 64, 64)
    shares = []
    for hook in (Int8WeightsHook(), Hook()):
        torch.manual_seed(0)
        model = firing(SpikingResNet(depth=18, base_channels=16, num_steps=3))
        hook.before_train(runner_of(model))
        before = spikes_of(model, frames)
        after = spikes_of(accelerate(model, 'int8', None), frames)
        assert all(spikes.any() for spikes in before)
        shares.append(max(
            (a != b).float().mean().item()
            for a, b in zip(before, after, strict=True)))
    assert shares[0] < 1e-4
    assert shares[1] > .01


def test_averages_and_twins_are_refused(videos, tmp_path):
    averaged = config(videos)
    averaged.default_hooks.int8_weights = dict(type='Int8WeightsHook')
    with pytest.raises(ValueError, match='EMAHook'):
        train(averaged, tmp_path)
    twin = rounded_run(videos)
    twin.model = {**MODEL, 'backbone': {
        **MODEL['backbone'], 'neuron': dict(type='ReLU')}}
    with pytest.raises(ValueError, match='ReSpikeRecognizer convolves no spi'):
        train(twin, tmp_path)
