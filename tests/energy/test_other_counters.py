"""The counts of NeuroBench and SpikingJelly 2: equal, or why not."""
import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from torch import nn

from respike_mmaction.energy import OperationCounter
from respike_mmaction.models.neurons import LIFNeuron

CONVOLUTIONS = [
    dict(kernel_size=3),
    dict(kernel_size=3, padding=1),
    dict(kernel_size=3, padding=1, stride=2),
    dict(kernel_size=5, padding=2, dilation=2, groups=4),
    dict(kernel_size=(1, 3), padding=(0, 1), stride=(2, 1), groups=2),
]


class Spiking(nn.Module):
    """Spikes of random inputs through a layer."""

    def __init__(self, layer):
        super().__init__()
        self.neuron = LIFNeuron(backend='torch')
        self.layer = layer

    def forward(self, x):
        return self.layer(self.neuron(x, num_steps=3))


def layers():
    for options in CONVOLUTIONS:
        yield Spiking(nn.Conv2d(8, 12, **options)), torch.randn(6, 8, 11, 9)
    yield (Spiking(nn.ConvTranspose2d(8, 12, 3, 2, 1, groups=2)),
           torch.randn(6, 8, 11, 9))
    yield Spiking(nn.Conv1d(8, 12, 3, padding=1)), torch.randn(6, 8, 20)
    yield Spiking(nn.Linear(30, 12)), 2 * torch.randn(6, 30)


def network():
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='SpikingResNet', depth=10, base_channels=8, num_steps=3)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -.5, 1.5)  # spikes everywhere
    return model, torch.randn(6, 3, 40, 40)


@torch.no_grad()
def ours(model, x):
    with OperationCounter(model.eval()) as counter:
        model(x)
    return counter.layers


@torch.no_grad()
def neurobench(model, x):
    """Operations and whether they are of spikes, by layer."""
    utils = pytest.importorskip('neurobench.metrics.utils.layers',
                                reason='NeuroBench is absent')
    inputs = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda module, args, name=name: inputs.update(
                {name: (module, args[0])}))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)]
    model(x)
    for hook in hooks:
        hook.remove()
    return {
        name: (*utils.single_layer_MACs(value, module),
               utils.single_layer_MACs(value, module, total=True)[0])
        for name, (module, value) in inputs.items()}


@torch.no_grad()
def spikingjelly(model, x):
    """Synaptic operations in all."""
    counters = pytest.importorskip(
        'spikingjelly.activation_based.op_counter',
        reason='SpikingJelly 2 is absent')
    counter = counters.SynOpCounter()
    with counters.DispatchCounterMode([counter]):
        model(x)
    return counter.get_total()


def test_neurobench_counts_the_same_in_every_layer():
    torch.manual_seed(0)
    for model, x in layers():
        if isinstance(model.layer, nn.ConvTranspose2d):
            continue  # NeuroBench knows none
        (count, ) = (c for c in ours(model, x).values() if c.dense)
        theirs, spiking, dense = neurobench(model, x)['layer']
        assert spiking and count.acs == theirs > 0
        # it leaves out products with padding, which FLOP counters have
        padded = any(getattr(model.layer, 'padding', (0, )))
        assert (count.dense > dense) if padded else (count.dense == dense)


def test_neurobench_counts_the_same_in_a_network():
    model, x = network()
    found = {layer.name: c for layer, c in ours(model, x).items()}
    theirs = neurobench(model, x)
    for name, (operations, spiking, _) in theirs.items():
        count = found[name]
        assert spiking == bool(count.dense), name
        if spiking:
            assert count.acs == operations, name
        else:  # it leaves out padding, and inputs that happen to be zero
            assert operations <= count.macs, name
    assert sum(bool(c.acs) for c in found.values()) >= 8


def test_spikingjelly_counts_the_same_in_every_layer():
    torch.manual_seed(0)
    for model, x in layers():
        count = sum(c.acs for c in ours(model, x).values())
        assert count == spikingjelly(model, x) > 0


def test_spikingjelly_counts_the_same_in_a_network():
    model, x = network()
    assert sum(c.acs for c in ours(model, x).values()) == spikingjelly(
        model, x)


def test_values_that_look_like_spikes_are_none_here():
    """A picture in black and white; theirs look at values to decide."""
    layer = nn.Conv2d(3, 4, 3)
    x = (torch.rand(1, 3, 8, 8) < .5).float()
    (count, ) = ours(nn.Sequential(layer), x).values()
    assert count.acs == 0 and count.macs == 4 * 27 * 36
    assert neurobench(nn.Sequential(layer), x)['0'][1]
    assert spikingjelly(nn.Sequential(layer), x) > 0


def test_arithmetic_on_spikes_makes_real_values_in_all():
    model = Spiking(nn.Linear(30, 12))
    x = 2 * torch.randn(6, 30)
    found = neurobench(model, x)['layer']
    assert found[1]  # so far one of ones

    class Doubled(nn.Module):

        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return self.inner.layer(2 * self.inner.neuron(x, num_steps=3))

    doubled = Doubled()
    # arithmetic on spikes makes real values, here as there
    assert sum(c.acs for c in ours(doubled, x).values()) == 0
    assert not neurobench(doubled, x)['inner.layer'][1]
    assert spikingjelly(doubled, x) == 0


def test_functional_products_are_counted_here():
    """NeuroBench sees modules alone; attention is none."""

    class Functional(nn.Module):

        def __init__(self):
            super().__init__()
            self.neuron = LIFNeuron(backend='torch')
            self.weight = nn.Parameter(torch.randn(12, 30))

        def forward(self, x):
            x = F.linear(self.neuron(x, num_steps=3), self.weight)
            return F.scaled_dot_product_attention(*[x[None]] * 3)

    model, x = Functional(), 2 * torch.randn(6, 30)
    counts = ours(model, x).values()
    assert sum(c.acs for c in counts) == spikingjelly(model, x) > 0
    assert sum(c.macs for c in counts) == 2 * 6 * 6 * 12  # QK and PV
    assert neurobench(model, x) == {}
