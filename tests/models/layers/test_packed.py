"""Packed layers give what their layers give, in float64."""
import copy

import pytest
import torch
from mmcv import cnn
from torch import nn

from respike_mmaction.models.layers import packed
from respike_mmaction.models.layers.cross_attention import GEGLUFeedForward
from respike_mmaction.models.layers.packed import pack, why_not_packed

BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
REASON = ''.join(map(why_not_packed, BOUNDS))
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


def compare(module, *inputs, dtype):
    """Pack and compare with the same in float64; gives the packed one."""
    module = module.to(dtype).eval()
    reference, fast = copy.deepcopy(module).double(), copy.deepcopy(module)
    pack(fast)
    with torch.no_grad():
        for x in inputs:
            x = x.to(dtype)
            expected = reference(x.double())
            found = fast(x)
            assert found.dtype == dtype
            error = (found.double() - expected).abs().max()
            assert error <= BOUNDS[dtype] * expected.abs().max()
    return fast


@pytest.mark.parametrize('dtype', BOUNDS)
@pytest.mark.parametrize('conv', [
    nn.Conv2d(16, 24, 3, 2, 1), nn.Conv2d(16, 8, 1, bias=False),
    nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=4),
    cnn.Conv2d(16, 8, (3, 1), padding=(1, 0))], ids=str)
def test_convolutions(conv, dtype):
    """Maps of several shapes, one after another, in both formats."""
    x = torch.randn(3, 16, 9, 7)
    maps = (x, x[:1], torch.randn(2, 16, 20, 20), x,
            x.to(memory_format=torch.channels_last))
    fast = compare(nn.Sequential(conv, nn.ReLU()), *maps, dtype=dtype)
    assert [type(m) for m in fast] == [packed.PackedConv2d, nn.Identity]
    fast = compare(nn.Sequential(conv, nn.ReLU6()), *maps, dtype=dtype)
    assert type(fast[1]) is nn.ReLU6


@pytest.mark.parametrize('dtype', BOUNDS)
def test_layers_over_tokens(dtype):
    tokens = torch.randn(2, 5, 24)
    for layer in (nn.Linear(24, 7), cnn.Linear(24, 7, bias=False),
                  GEGLUFeedForward(24)):
        fast = compare(nn.Sequential(layer), tokens, dtype=dtype)
        assert type(fast[0]).__module__ == packed.__name__


def test_what_is_left_alone():
    class Own(nn.Conv2d):

        def forward(self, x):
            return super().forward(x) * 2

    layers = nn.Sequential(nn.Conv2d(3, 3, 3, padding_mode='reflect',
                                     padding=1), Own(3, 3, 1),
                           nn.Conv1d(3, 3, 1), nn.BatchNorm2d(3))
    types = [type(layer) for layer in layers]
    pack(layers)
    assert [type(layer) for layer in layers] == types


def test_a_pytorch_without_the_operators(monkeypatch):
    def refuse(*args):
        raise RuntimeError('no such operator')

    monkeypatch.setattr(packed, 'PackedLinear', refuse)
    why_not_packed.cache_clear()
    assert why_not_packed(torch.float32) == (
        'oneDNN refused (RuntimeError: no such operator)')
    why_not_packed.cache_clear()
