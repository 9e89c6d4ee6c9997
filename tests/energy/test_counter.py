"""Counts against unfolded inputs, the model zoo and another counter."""
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from respike_mmaction.apis import accelerate
from respike_mmaction.energy import Layer, OperationCounter
from respike_mmaction.energy.network import drop_values, without_pretrained
from respike_mmaction.energy.operations import LEFT_OUT
from respike_mmaction.models.neurons import LIFNeuron
from tests.energy.counting import count, total

UPSTREAM = Path(find_spec('mmaction').origin).parent / '.mim'


def test_a_map_for_a_neuron_alone_is_written_in_float32():
    """Against the spiking branch: what leaves BatchNorm could be bits."""
    model = nn.Sequential(
        nn.Conv2d(2, 4, 1, bias=False), nn.BatchNorm2d(4), LIFNeuron(),
        nn.Conv2d(4, 3, 1, bias=False)).eval()
    counter = count(model, torch.randn(1, 2, 6, 6))
    before, behind = (counter.layers[Layer(name)] for name in '03')
    assert before.activation_bytes == 4 * (2 + 4) * 36  # in and out
    assert before.spike_positions == 0
    # read as bits
    assert behind.spike_positions == 4 * 36
    assert behind.activation_bytes == 4 * 3 * 36
    assert any('written in float32' in text for text in LEFT_OUT)


def test_synaptic_operations_of_a_spiking_resnet():
    """All layers against their unfolded inputs, and a batch of two."""
    torch.manual_seed(3)
    model = MODELS.build(
        dict(type='SpikingResNet', base_channels=8, num_steps=2))
    x = 2 * torch.randn(2, 3, 64, 64)
    model.train()(x)  # moves the statistics, so that neurons fire
    model.eval()
    found = {}

    def keep(name):
        def hook(module, args, output):
            columns = F.unfold(args[0], module.kernel_size,
                               padding=module.padding, stride=module.stride)
            found[name] = int((columns != 0).sum()) * module.out_channels
        return hook

    handles = [
        module.register_forward_hook(keep(name))
        for name, module in model.named_modules()
        if re.search(r'layer\d\.\d\.conv', name)
    ]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    one = count(model, x)
    assert {
        layer.name: c.acs for layer, c in one.layers.items() if c.dense
    } == found
    assert len(found) == 16 and sum(found.values()) > 0
    two = count(model, torch.cat([x, x]))
    for field in ('macs', 'dense', 'acs', 'spikes', 'activation_bytes',
                  'membrane_bytes'):
        assert total(two, field) == 2 * total(one, field), field


class Probe(nn.Module):
    """A convolution behind something."""

    def __init__(self, before):
        super().__init__()
        self.neuron = LIFNeuron()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.before = before

    def forward(self, x):
        return self.conv(self.before(self.neuron, x))


def write_into(neuron, x):
    spikes = neuron(x)
    spikes[:, 0] = .5
    return spikes


@pytest.mark.parametrize('before, spike_driven', [
    (lambda neuron, x: neuron(x), True),
    (lambda neuron, x: neuron(x, return_v=True)[0], True),
    (lambda neuron, x: neuron(x).flatten(1).view(x.shape).clone(), True),
    (lambda neuron, x: F.pad(neuron(x), (1, 1)), True),
    (lambda neuron, x: torch.cat([neuron(x), neuron(-x)]), True),
    (lambda neuron, x: torch.stack([neuron(x), neuron(x)])[1], True),
    (lambda neuron, x: neuron(x)[:, torch.tensor([1, 0])], True),
    (lambda neuron, x: neuron(x).gather(2, torch.zeros_like(x).long()), True),
    (lambda neuron, x: torch.cat([neuron(x), x]), False),
    (lambda neuron, x: F.max_pool2d(neuron(x), 2), False),  # LEFT_OUT
    (lambda neuron, x: x, False),
    (lambda neuron, x: torch.zeros_like(x), False),  # an all-zero residual
    (lambda neuron, x: (x > 0).float(), False),  # 0 and 1, of no neuron
    (lambda neuron, x: neuron(x) + 1, False),
    (lambda neuron, x: F.pad(neuron(x), (1, 1), value=.5), False),
    (write_into, False),
])
def test_spikes_are_known_from_their_layer(before, spike_driven):
    model = Probe(before).eval()
    counter = count(model, torch.randn(1, 2, 6, 6))
    conv, = (c for layer, c in counter.layers.items() if layer.name == 'conv')
    assert bool(conv.dense) == spike_driven
    assert bool(conv.macs) != spike_driven


def test_autocast_keeps_spikes():
    model = Probe(lambda neuron, x: neuron(x)).eval()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        counter = count(model, 2 * torch.randn(1, 2, 6, 6))
    assert total(counter, 'acs') > 0 and total(counter, 'macs') == 0


@pytest.mark.parametrize('fail', [False, True])
def test_leaves_nothing_behind(fail):
    model = MODELS.build(
        dict(type='SpikingResNet', base_channels=8, num_steps=2)).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = model(x)
        try:
            with OperationCounter(model):
                counted = model(x)
                if fail:
                    model(x[:1])  # not a whole sequence
        except ValueError:
            assert fail
        assert torch.equal(counted, before)
        assert torch.equal(model(x), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks
                   for m in model.modules())


def test_leaves_nothing_behind_a_neuron_that_fails(monkeypatch):
    """The counter steps aside while a neuron runs, so it must return."""
    model = Probe(lambda neuron, x: neuron(x)).eval()
    x = torch.randn(1, 2, 6, 6)
    expected = total(count(model, x), 'dense')

    def fail():
        raise RuntimeError('out of decay')

    with monkeypatch.context() as patch, pytest.raises(
            RuntimeError, match='out of decay'):
        patch.setattr(model.neuron, 'decay', fail)
        count(model, x)
    assert not any(m._forward_hooks or m._forward_pre_hooks
                   for m in model.modules())
    assert _get_current_dispatch_mode() is None
    assert total(count(model, x), 'dense') == expected > 0


def test_refuses_training():
    with pytest.raises(ValueError, match='eval'):
        OperationCounter(nn.Conv2d(1, 1, 1))


@pytest.mark.parametrize('batch_first', [True, False])
def test_fused_attention(batch_first):
    model = nn.TransformerEncoderLayer(
        32, 4, 64, batch_first=batch_first).eval()
    counter = count(model, torch.randn(5, 5, 32))
    projections, scores = 4 * 32**2 * 25, 2 * 5 * 5 * 5 * 32
    assert total(counter, 'macs') == projections + scores + 2 * 25 * 32 * 64
    softmax = sum(c.operations['softmax'] for c in counter.layers.values())
    assert softmax == 5 * 5 * 4 * 25


def test_unknown_operators_are_named():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.cumsum(x, 0)

    assert count(Odd().eval(), torch.ones(3, 2)).unknown == {'cumsum': 6}


@pytest.mark.parametrize('name, shape', [
    # the inputs that the zoo's test protocols give a view
    ('tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb',
     (1, 25, 3, 224, 224)),
    ('tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb',
     (1, 8, 3, 224, 224)),
    ('slowonly/slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_'
     'kinetics400-rgb', (1, 1, 3, 8, 256, 256)),
])
def test_model_zoo(name, shape):
    """The zoo's FLOPs are MACs plus two operations an element of BatchNorm.

    Ours keep BatchNorm apart: it can be folded into the convolution. So MACs
    agree within 1 %, and together with BatchNorm within the zoo's rounding
    and its poolings.
    """
    metafile = UPSTREAM / 'configs/recognition' / name.split(
        '/')[0] / 'metafile.yml'
    entry = metafile.read_text().split(f'- Name: {name.split("/")[1]}\n')[1]
    zoo = float(re.search(r'FLOPs: ([\d.]+)G', entry)[1])
    cfg = Config.fromfile(UPSTREAM / f'configs/recognition/{name}.py')
    model = MODELS.build(without_pretrained(cfg.model))
    model.eval()
    drop_values(model)
    counter = count(model, torch.empty(shape, device='meta'), mode='predict',
                    data_samples=[ActionDataSample()])
    macs = total(counter, 'macs') / 1e9
    norms = sum(c.operations['batch norm'] for c in counter.layers.values())
    assert macs == pytest.approx(zoo, rel=.01)
    assert macs + norms / 1e9 == pytest.approx(zoo, rel=.001)
    assert not counter.unknown


def test_agrees_with_an_independent_counter():
    """MMEngine's, by tracing: it adds BatchNorm and the last pooling."""
    model = MODELS.build(dict(type='ResNet', depth=18))
    model.eval()
    counter = count(model, torch.randn(1, 3, 64, 64))
    norms = sum(c.operations['batch norm'] for c in counter.layers.values())
    theirs = get_model_complexity_info(model, (3, 64, 64), show_table=False,
                                       show_arch=False)
    assert total(counter, 'macs') + norms == theirs['flops']


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_gpu_counts_as_the_cpu_does():
    torch.manual_seed(0)
    model = MODELS.build(
        dict(type='SpikingResNet', base_channels=8, num_steps=2))
    x = 2 * torch.randn(2, 3, 64, 64)
    model.train()(x)
    model.eval()
    cpu = count(model.double(), x.double())
    gpu = count(model.cuda(), x.double().cuda())
    assert total(gpu, 'dense') == total(cpu, 'dense')
    assert total(gpu, 'macs') == total(cpu, 'macs')
    assert total(gpu, 'acs') == pytest.approx(total(cpu, 'acs'), rel=1e-3)


def test_networks_that_cannot_be_counted():
    model = MODELS.build(dict(type='SpikingResNet', depth=10,
                              base_channels=32))
    with pytest.raises(ValueError, match='call model.eval'):
        OperationCounter(model)
    with pytest.raises(ValueError, match='an accelerated SpikingResNet'):
        OperationCounter(accelerate(model.eval()))
