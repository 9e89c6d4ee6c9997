"""Synaptic operations against brute force: every product is looked at."""
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from respike_mmaction.energy import OperationCounter
from respike_mmaction.energy.fan_out import matmul_synaptic_operations
from respike_mmaction.models.neurons import LIFNeuron


def spikes_like(*shape, rate=.3):
    return (torch.rand(shape) < rate).float()


def counted(layer, spikes):
    """What the counter says of a layer behind a neuron with these spikes."""
    # H = .75 X: fires at 2, not at 0
    model = nn.Sequential(LIFNeuron(tau=4 / 3), layer).eval()
    with torch.no_grad(), OperationCounter(model) as counter:
        model(2 * spikes)
    count, = (c for c in counter.layers.values() if c.dense)
    assert count.spikes == spikes.sum()
    return count


def unfolded(layer, spikes):
    """Non-zero products of a 2D convolution: its columns, counted."""
    columns = F.unfold(spikes, layer.kernel_size, layer.dilation,
                       layer.padding, layer.stride)
    per_group = columns.view(len(spikes), layer.groups, -1,
                             columns.shape[-1])
    products = (per_group != 0).sum((0, 2, 3))
    return int(products.sum()) * layer.out_channels // layer.groups


def walked(layer, spikes):
    """Non-zero products of any convolution, position by position."""
    with torch.no_grad():
        out_shape = layer(spikes).shape[2:]
    near, far = (spikes.shape[2:], out_shape)
    if isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d)):
        near, far = far, near  # far reaches near through the taps
    total = 0
    taps = itertools.product(*map(range, layer.kernel_size))
    for place, tap in itertools.product(
            itertools.product(*map(range, far)), taps):
        hit = tuple(
            p * layer.stride[a] + t * layer.dilation[a] - layer.padding[a]
            for a, (p, t) in enumerate(zip(place, tap, strict=True)))
        if all(0 <= h < n for h, n in zip(hit, near, strict=True)):
            source = place if layer.transposed else hit
            total += int(spikes[(..., *source)].sum())
    return total * layer.out_channels // layer.groups


@pytest.mark.parametrize('kwargs', [
    dict(kernel_size=3),
    dict(kernel_size=3, padding=1),
    dict(kernel_size=3, stride=2, padding=1),
    dict(kernel_size=3, stride=(2, 3), padding=(2, 0)),
    dict(kernel_size=(1, 5), padding=(0, 2), groups=2),
    dict(kernel_size=3, padding=1, groups=4, stride=2),
    dict(kernel_size=3, dilation=2, padding=2),
    dict(kernel_size=2, stride=3),  # positions that nothing reads
    dict(kernel_size=1),
], ids=str)
@pytest.mark.parametrize('size', [(7, 9), (8, 8)])
def test_convolution_equals_unfold(kwargs, size):
    layer = nn.Conv2d(4, 8, bias=False, **kwargs)
    spikes = spikes_like(2, 4, *size)
    count = counted(layer, spikes)
    assert count.acs == unfolded(layer, spikes) == walked(layer, spikes)
    assert 0 < count.acs < count.dense
    assert count.rate_acs == pytest.approx(
        count.dense * spikes.mean().item())


@pytest.mark.parametrize('layer, shape', [
    (nn.Conv1d(2, 4, 3, stride=2, padding=1), (2, 2, 9)),
    (nn.Conv3d(2, 4, (3, 2, 3), stride=(1, 2, 2), padding=(1, 0, 1)),
     (1, 2, 4, 5, 6)),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2),
     (2, 4, 4, 5)),
    (nn.ConvTranspose1d(2, 3, 4, dilation=2), (1, 2, 5)),
], ids=lambda x: type(x).__name__)
def test_other_convolutions_equal_brute_force(layer, shape):
    spikes = spikes_like(*shape)
    assert counted(layer, spikes).acs == walked(layer, spikes)


@pytest.mark.parametrize('mode', ['reflect', 'replicate'])
def test_padding_with_values_makes_new_spikes_count(mode):
    layer = nn.Conv2d(2, 3, 3, padding=1, padding_mode=mode)
    spikes = spikes_like(1, 2, 5, 5)
    padded = F.pad(spikes, (1, 1, 1, 1), mode=mode)
    model = nn.Sequential(LIFNeuron(), layer).eval()
    with torch.no_grad(), OperationCounter(model) as counter:
        model(2 * spikes)
    count, = (c for c in counter.layers.values() if c.dense)
    assert count.acs == int(F.unfold(padded, 3).sum()) * 3


def test_every_position_firing_costs_all_but_the_padding():
    layer = nn.Conv2d(3, 5, 3, padding=1, bias=False)
    count = counted(layer, torch.ones(1, 3, 4, 4))
    # 3 x 3 taps; 2 fewer rows or columns of taps along each border
    assert count.acs == 3 * 5 * (3 * 4 - 2)**2
    assert count.dense == 3 * 5 * (3 * 4)**2


def test_linear_layer():
    spikes = spikes_like(6, 10)
    count = counted(nn.Linear(10, 7), spikes)
    assert count.acs == int(spikes.sum()) * 7
    assert count.dense == 6 * 10 * 7


def test_product_of_spikes_with_spikes():
    left, right = spikes_like(3, 4, 5), spikes_like(3, 5, 6)
    meeting = (left[..., None] * right[:, None]).sum()
    assert matmul_synaptic_operations(left, right, True, True) == meeting
    assert matmul_synaptic_operations(
        left, right, False, True) == int(right.sum()) * 4
