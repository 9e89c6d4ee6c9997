"""Convolutions of spikes in eight bits against float64."""
import copy

import pytest
import torch
from torch import nn

from respike_mmaction.models.layers import int8_spike_conv
from respike_mmaction.models.layers.int8_spike_conv import (
    Int8SpikeConv2d,
    round_weights,
    why_not_int8,
)

needs_int8 = pytest.mark.skipif(
    bool(why_not_int8()), reason=f'no int8 here: {why_not_int8()}')


@pytest.mark.parametrize('terms, share', [(1, 1 / 254), (2, 1 / 254 / 254)])
def test_rounded_weights_are_off_by_half_a_step(terms, share):
    weight = torch.randn(8, 4, 3, 3) * torch.logspace(-3, 3, 8)[
        :, None, None, None]
    weight[3] = 0
    found = round_weights(weight, terms)
    total = sum(integers.double() * scale.double()[:, None, None, None]
                for integers, scale in found)
    largest = weight.abs().amax((1, 2, 3)).double()
    off = (total - weight.double()).abs().amax((1, 2, 3))
    assert (off <= largest * share * 1.01 + 1e-12).all()
    assert (off[largest > 0] > largest[largest > 0] * share / 100).all()
    assert all(i.dtype == torch.int8 and i.abs().max() <= 127
               for i, _ in found)


@needs_int8
@pytest.mark.parametrize('terms', [1, 2])
@pytest.mark.parametrize('conv', [
    nn.Conv2d(16, 24, 3, 2, 1), nn.Conv2d(16, 8, 3, padding=1, bias=False),
    nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=2)], ids=str)
def test_sums_are_exact(conv, terms):
    """What is left is the rounding of weights, computed here in float64."""
    spikes = torch.rand(3, 16, 9, 7) < .3
    found = Int8SpikeConv2d(conv, terms)(spikes.to(torch.uint8))
    rounded = copy.deepcopy(conv).double()
    with torch.no_grad():
        rounded.weight.copy_(sum(
            i.double() * s.double()[:, None, None, None]
            for i, s in round_weights(conv.weight, terms)))
        expected = rounded(spikes.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


@needs_int8
@pytest.mark.parametrize('terms', [1, 2])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_convolution_adds_its_shortcut(terms, dtype):
    """Before the sum is rounded."""
    conv = nn.Conv2d(16, 24, 3, 2, 1)
    spikes = (torch.rand(2, 16, 9, 7) < .3).to(torch.uint8)
    fast = Int8SpikeConv2d(conv, terms, dtype)
    alone = Int8SpikeConv2d(conv, terms)(spikes)
    shortcut = torch.randn_like(alone).to(dtype)
    found = fast(spikes, shortcut.clone())
    assert found.dtype == dtype
    torch.testing.assert_close(
        found.double(), alone.double() + shortcut.double(),
        rtol=torch.finfo(dtype).eps, atol=1e-5)


def test_an_operator_that_errs_is_found(monkeypatch):
    why_not_int8.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability',
                        lambda: 'AVX2')
    real = int8_spike_conv.round_weights
    monkeypatch.setattr(
        int8_spike_conv, 'round_weights',
        lambda w, n: [(i, s * 1.1) for i, s in real(w, n)])
    assert 'off by' in why_not_int8() or 'refused' in why_not_int8()
    why_not_int8.cache_clear()


def test_a_cpu_without_wide_instructions_is_told(monkeypatch):
    why_not_int8.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability',
                        lambda: 'DEFAULT')
    assert 'neither AVX2 nor AVX512 (it is DEFAULT)' in why_not_int8()
    why_not_int8.cache_clear()


@needs_int8
@pytest.mark.parametrize('terms', [1, 2])
@pytest.mark.parametrize('sign', [-1, 1])
def test_the_largest_sums_have_room(terms, sign):
    """Every weight 127 steps, every input a spike."""
    conv = nn.Conv2d(512, 16, 3, bias=False)
    nn.init.constant_(conv.weight, sign * .5)
    spikes = torch.ones(1, 512, 3, 3, dtype=torch.uint8)
    found = Int8SpikeConv2d(conv, terms)(spikes)
    torch.testing.assert_close(
        found, torch.full((1, 16, 1, 1), sign * .5 * 512 * 9))
