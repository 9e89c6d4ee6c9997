"""Accelerated networks against the float ones they were made of."""
import copy
import io

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.registry import DefaultScope
from torch import nn

from respike_mmaction.apis import accelerate
from respike_mmaction.apis.accelerate import _fold_dense, _if_maps_stay
from respike_mmaction.models.backbones import SpikingResNet
from respike_mmaction.models.kernels import compiled, eager, plain
from respike_mmaction.models.layers.int8_spike_conv import (
    Int8SpikeConv2d,
    adds_shortcuts,
    why_not_int8,
)
from respike_mmaction.models.layers.packed import PackedConv2d, pack
from respike_mmaction.models.neurons import BaseNeuron, build_surrogate
from tests.models.recognizers import small_respike
from tests.scripts import load_script

needs_int8 = pytest.mark.skipif(
    bool(why_not_int8()), reason=f'no int8 here: {why_not_int8()}')


def trained(model):
    """Firing neurons and BatchNorms that do something."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, .8, 1.5)
            nn.init.normal_(module.bias, std=.5)
            nn.init.normal_(module.running_mean, std=.1)
            nn.init.uniform_(module.running_var, .5, 1.)
    return model.eval()


def recognizer(**kwargs):
    return trained(small_respike.build(**kwargs))


def scores(model, frames):
    with torch.no_grad():
        return model.extract_feat(frames, stage='head')[0]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16,
                                   torch.float64])
@pytest.mark.parametrize('reset', ['hard', 'soft'])
@pytest.mark.parametrize('shape', [(2, 3, 40), (1, 1, 7), (5, 2, 300)])
@pytest.mark.parametrize('quantized', [True, False])
def test_spikes_in_bytes_are_the_same(shape, reset, dtype, quantized,
                                      monkeypatch):
    if not quantized:  # a PyTorch without quantised tensors
        monkeypatch.setattr(eager, '_quantized_copies', lambda: False)
    monkeypatch.setattr(eager, '_PIECE', 250)
    monkeypatch.setattr(eager, '_GRAIN', 0)
    neuron = plain.Neuron(1., reset, build_surrogate())
    x, v = torch.randn(shape).to(dtype) * 2, torch.randn(shape[::2])
    v = v.to(plain.membrane_dtype(dtype))
    expected, v_expected = plain.forward(x, v, .25, neuron, True)
    for kernel in (eager, plain, compiled):
        found, v_found = kernel.forward(x, v, .25, neuron, True,
                                        as_bytes=True)
        assert found.dtype == torch.uint8 and found.shape == x.shape
        assert torch.equal(found.to(dtype), expected)
        assert torch.equal(v_found, v_expected)


@pytest.mark.parametrize('size', [(64, 96), (66, 64), (63, 61), (68, 70)])
def test_the_first_shortcut_reads_the_frames(size):
    """As stem, pooling and convolution one by one, in float64."""
    model = trained(SpikingResNet(depth=10, base_channels=8)).double()
    frames = torch.randn(3, 3, *size).double()
    block = accelerate(model, None, None).layer1[0]
    with torch.no_grad():
        pool, conv, norm = model.layer1[0].downsample
        x = model.bn1(model.conv1(frames))
        found = block.downsample.reduce(x, frames)
        torch.testing.assert_close(found, norm(conv(pool(x))))


@needs_int8
@pytest.mark.parametrize('spikes, bound', [('int8', 2e-2), ('int8x2', 1e-4)])
@pytest.mark.parametrize('backbone', [
    {}, dict(neuron=dict(type='ParametricLIFNeuron', reset='soft')),
    dict(stateless_stages=(1, ))], ids=str)
def test_scores(spikes, bound, backbone):
    model = recognizer(backbone=backbone)
    frames = torch.randn(2, 8, 3, 64, 64)
    fast = accelerate(model, spikes, dense=None)
    assert sum(isinstance(m, Int8SpikeConv2d) for m in fast.modules()) == 8
    expected, found = scores(model, frames), scores(fast, frames)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().mean() < bound * expected.std()


@needs_int8
def test_the_relu_twin_keeps_its_real_values():
    model = recognizer(backbone=dict(neuron=dict(type='ReLU')))
    frames = torch.randn(2, 8, 3, 64, 64)
    fast = accelerate(model, dense=None)
    assert not any(isinstance(m, Int8SpikeConv2d) for m in fast.modules())
    torch.testing.assert_close(
        scores(fast, frames), scores(model, frames), rtol=1e-3, atol=1e-4)


@needs_int8
@pytest.mark.parametrize('dense', ['bfloat16', 'bfloat16_keys'])
def test_bfloat16_beside(dense):
    model = recognizer()
    frames = torch.randn(2, 8, 3, 64, 64)
    fast = accelerate(model, dense=dense)
    expected, found = scores(model, frames), scores(fast, frames)
    assert 0 < (found - expected).abs().mean() < .1 * expected.std()
    # the model itself is as it was
    assert torch.equal(scores(model, frames), expected)
    assert not any(m.as_bytes for m in model.modules()
                   if isinstance(m, BaseNeuron))


@needs_int8
def test_bfloat16_keys_leave_the_spiking_branch_alone():
    """Equal bit for bit where no fusion brings in the keys."""
    model = recognizer(head=dict(fused_stages=()))
    frames = torch.randn(2, 8, 3, 64, 64)
    with torch.no_grad():
        (keys, expected), *_ = accelerate(model, dense=None).extract_feat(
            frames)
        (found_keys, found), *_ = accelerate(
            model, dense='bfloat16_keys').extract_feat(frames)
        (_, other), *_ = accelerate(model).extract_feat(frames)
    assert found_keys.dtype == torch.bfloat16 and keys.dtype == torch.float32
    assert torch.equal(found, expected)
    assert not torch.equal(other, expected)  # the default rounds it, too


@needs_int8
def test_state_goes_through():
    """Residual steps one by one give what all at once give."""
    fast = accelerate(recognizer())
    frames = torch.randn(1, 8, 3, 64, 64)
    with torch.no_grad():
        (_, expected), *_ = fast.extract_feat(frames)
        keys, residuals = (z.flatten(0, 1) for z in fast.split(frames))
        fuse = fast.cls_head.fuse_with(fast.key_maps(keys))
        state, outs = None, []
        for step in residuals.split(1, dim=1):
            out, state = fast.residual_steps(
                step, fuse, state=state, return_state=True)
            outs.append(out)
    found = torch.stack(outs, 1).flatten(0, 1)
    difference = (found - expected).float().abs()
    assert difference.mean() < 1e-2 * expected.float().std()


@needs_int8
def test_a_backbone_alone_and_in_an_upstream_recognizer():
    net = trained(SpikingResNet(depth=10, base_channels=16, num_steps=2))
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        expected, found = net(x), accelerate(net)(x).float()
    assert (found - expected).abs().mean() < .1 * expected.std()
    with DefaultScope.overwrite_default_scope('mmaction'):
        tsn = trained(MODELS.build(dict(
            type='Recognizer2D',
            backbone=dict(type='SpikingResNet', depth=10, base_channels=16),
            cls_head=dict(type='TSNHead', num_classes=5, in_channels=128,
                          average_clips='prob'))))
    fast = accelerate(tsn)
    frames = torch.randn(1, 3, 3, 64, 64)
    expected, found = (
        m(frames, mode='predict', data_samples=[sample()])[0].pred_score
        for m in (tsn, fast))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=.1, atol=.02)


@pytest.mark.parametrize('norm, joined', [('BN', 9), ('GN', 0)])
def test_relus_of_the_key_branch(norm, joined):
    """Behind a folded BatchNorm they are part of the convolution."""
    cfg = dict(type=norm, **(dict(num_groups=4) if norm == 'GN' else {}))
    keys = MODELS.build(dict(
        type='ResNet', depth=18, norm_cfg=cfg, out_indices=(0, 1, 2, 3)))
    trained(keys)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = keys(x)
        fast = _if_maps_stay(_fold_dense, keys, 1e-3)
        pairs = [*zip(fast(x), expected, strict=True)]
        fast = _if_maps_stay(pack, fast, 1e-3)
        pairs += [*zip(fast(x), expected, strict=True)]
    for found, map_ in pairs:
        torch.testing.assert_close(
            found, map_, rtol=1e-3, atol=1e-4 * map_.abs().max().item())
    assert sum('relu' in m.rest for m in fast.modules()
               if isinstance(m, PackedConv2d)) == joined


class OwnKeys(nn.Module):
    """A key branch that reads the weights of a layer itself."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        x = self.conv(x).permute(0, 2, 3, 1)
        return (F.linear(x, self.linear.weight).permute(0, 3, 1, 2), )


def test_a_key_branch_that_cannot_be_packed_stays(monkeypatch):
    said = []
    monkeypatch.setitem(accelerate.__globals__, 'print_log',
                        lambda line, *_: said.append(line))
    keys = OwnKeys().eval()
    assert _if_maps_stay(pack, keys, 1e-3) is keys
    assert len(said) == 1 and said[0].startswith(
        'accelerate: OwnKeys is not changed by pack (')

    def wrong(module):
        module.conv.weight.data += 1

    assert _if_maps_stay(wrong, keys, 1e-3) is keys
    assert said[1:] == ['accelerate: OwnKeys is not changed by wrong (its '
                        'maps would be others)']


def sample():
    from mmaction.structures import ActionDataSample
    return ActionDataSample()


def test_without_the_instructions(monkeypatch):
    """The float path, a line in the log that says why, no crash."""
    monkeypatch.setitem(accelerate.__globals__, 'why_not_int8',
                        lambda: 'no such instructions')
    said = []
    monkeypatch.setitem(accelerate.__globals__, 'print_log',
                        lambda line, *_: said.append(line))
    model = recognizer()
    frames = torch.randn(1, 8, 3, 64, 64)
    fast = accelerate(model, dense=None)
    torch.testing.assert_close(scores(fast, frames), scores(model, frames),
                               rtol=1e-4, atol=1e-4)
    assert said == ["accelerate: spikes='int8' is left out, no such "
                    'instructions']
    fast = accelerate(copy.deepcopy(model).double())
    assert 'float64' in said[1] and 'float64' in said[2]
    torch.testing.assert_close(
        scores(fast, frames.double()), scores(model, frames).double(),
        rtol=1e-4, atol=1e-4)


@needs_int8
def test_an_operator_that_cannot_add_does_not(monkeypatch):
    real = Int8SpikeConv2d.forward

    def convolves_alone(self, spikes, shortcut=None):
        if shortcut is not None:
            raise RuntimeError('no such operator')
        return real(self, spikes)

    model = recognizer()
    frames = torch.randn(2, 8, 3, 64, 64)
    expected = scores(accelerate(model), frames)
    monkeypatch.setattr(Int8SpikeConv2d, 'forward', convolves_alone)
    adds_shortcuts.cache_clear()
    fast = accelerate(model)
    adds_shortcuts.cache_clear()
    torch.testing.assert_close(scores(fast, frames), expected, rtol=.1,
                               atol=.1 * expected.std().item())


def test_saving_is_refused():
    model = recognizer()
    fast = accelerate(model, None, None)
    for call in (fast.state_dict, lambda: fast.load_state_dict({}),
                 lambda: torch.save(fast, io.BytesIO()),
                 lambda: accelerate(fast)):
        with pytest.raises((RuntimeError, ValueError),
                           match='the model that it was made of'):
            call()


def test_bad_requests():
    model = recognizer()
    with pytest.raises(ValueError, match="spikes='int4'.*'int8x2'"):
        accelerate(model, 'int4')
    with pytest.raises(ValueError, match="dense='float16'.*'bfloat16'"):
        accelerate(model, dense='float16')
    with pytest.raises(ValueError, match='Linear has no SpikingResNet'):
        accelerate(nn.Linear(2, 2))


def test_the_option_of_test_py(root, monkeypatch):
    """``--accelerate`` is a hook, beside the user's own options."""
    monkeypatch.syspath_prepend(str(root / 'tools'))
    tool = load_script('test')
    hook = 'default_hooks.accelerate.type=AccelerateHook'
    spikes = 'default_hooks.accelerate.spikes='
    assert tool.with_hook(['a.py', 'a.pth']) == ['a.py', 'a.pth']
    assert tool.with_hook(['a.py', 'a.pth', '--accelerate']) == [
        'a.py', 'a.pth', '--cfg-options', hook, f'{spikes}int8']
    assert tool.with_hook(
        ['a.py', '--accelerate', 'int8x2', 'a.pth', '--cfg-options', 'x=1']
    ) == ['a.py', 'a.pth', '--cfg-options', hook, f'{spikes}int8x2', 'x=1']


def test_the_hook_tests_the_fast_network():
    from types import SimpleNamespace

    from respike_mmaction.engine.hooks import AccelerateHook
    model = recognizer()
    runner = SimpleNamespace(model=model)
    hook = AccelerateHook(dense=None)
    hook.before_test(runner)
    assert runner.model is not model and not runner.model.training
    with pytest.raises(RuntimeError, match='neither saved nor loaded'):
        runner.model.state_dict()
    hook.after_test(runner)
    assert runner.model is model
