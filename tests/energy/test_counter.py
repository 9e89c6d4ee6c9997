"""Counts against hand formulas, the model zoo and an independent counter."""
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

from respike_mmaction.energy import (
    Count,
    Layer,
    OperationCounter,
    grouping,
)
from respike_mmaction.energy.network import drop_values, without_pretrained
from respike_mmaction.energy.operations import LEFT_OUT
from respike_mmaction.models.neurons import LIFNeuron

UPSTREAM = Path(find_spec('mmaction').origin).parent / '.mim'


def count(model, *args, **kwargs):
    with torch.no_grad(), OperationCounter(model) as counter:
        model(*args, **kwargs)
    return counter


def total(counter, field, pattern=''):
    return sum(
        getattr(c, field) for layer, c in counter.layers.items()
        if re.search(pattern, layer.name))


def groups(model, counter):
    found = {}
    for layer, c in counter.layers.items():
        group = grouping(model)(layer)
        found[group] = found.get(group, Count()) + c
    return found


# ResNets, from the papers' tables
def resnet18_macs(size=224):
    macs, width, out = 3 * 64 * 49 * (size // 2)**2, 64, size // 4
    for stage, channels in enumerate((64, 128, 256, 512)):
        if stage:
            out //= 2
            macs += width * channels * out**2  # shortcut
        macs += (width + 3 * channels) * channels * 9 * out**2
        width = channels
    return macs


def resnet50_macs(size=224):
    macs, width, side = 3 * 64 * 49 * (size // 2)**2, 64, size // 4
    for stage, (channels, blocks) in enumerate(
            zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True)):
        out = side // 2 if stage else side
        macs += 4 * width * channels * out**2  # shortcut
        # the stride sits in the 3x3 convolution
        macs += width * channels * side**2
        macs += (9 + 4) * channels**2 * out**2
        macs += (blocks - 1) * (4 + 9 + 4) * channels**2 * out**2
        width, side = 4 * channels, out
    return macs


@pytest.mark.parametrize('depth, by_hand, known', [
    (18, resnet18_macs(), 1.814e9), (50, resnet50_macs(), 4.087e9)])
def test_key_branch(depth, by_hand, known):
    model = MODELS.build(dict(type='ResNet', depth=depth)).to('meta')
    model.eval()
    macs = total(count(model, torch.empty(2, 3, 224, 224, device='meta')),
                 'macs')
    assert macs == 2 * by_hand
    assert by_hand == pytest.approx(known, rel=1e-3)


# what a step of the spiking branch costs, 224 x 224
STEM = 3 * 64 * 9 * 112**2
SHORTCUTS = 64 * 64 * 56**2 + sum(
    c * 2 * c * (3584 // c // 2)**2 for c in (64, 128, 256))
SPIKING = 4 * 64 * 64 * 9 * 56**2 + sum(
    (c + 3 * 2 * c) * 2 * c * 9 * (3584 // c // 2)**2 for c in (64, 128, 256))


def fusion_macs(channels, key_channels, tokens):
    """Of a step: everything but K and V of the key frame, and these."""
    square = tokens * channels**2
    scores = 2 * tokens**2 * channels  # Q K^T and the sum of V
    projections = 2 * square
    self_attention = 4 * square + scores
    cross_attention = 2 * square + scores
    feed_forward = (8 + 4) * square
    keys_and_values = 2 * tokens * channels * key_channels
    return dict(
        projections=projections,
        self_attention=self_attention,
        cross_attention=cross_attention,
        feed_forward=feed_forward), keys_and_values


# stages 1 to 3 are fused on the 14 x 14 grid of stage 3
FUSIONS = [
    fusion_macs(64 * 2**i, 256 * 2**i, tokens)
    for i, tokens in enumerate((196, 196, 196, 49))
]


def test_known_figures():
    """The figures the project has been told, by the formulas above."""
    shared = sum(sum(parts.values()) for parts, _ in FUSIONS)
    keys_and_values = sum(kv for _, kv in FUSIONS)
    assert pytest.approx(21.7, abs=.05) == STEM / 1e6
    assert pytest.approx(32.1, abs=.05) == SHORTCUTS / 1e6
    assert pytest.approx(1.676, abs=.0005) == SPIKING / 1e9
    assert keys_and_values / 1e9 == pytest.approx(.238, abs=.0005)
    # 0.6678, told as "about 0.667"
    assert shared / 1e9 == pytest.approx(.667, abs=.001)
    assert (shared + keys_and_values) / 1e9 == pytest.approx(.905, abs=.0005)


@pytest.fixture(scope='module')
def respike(request):
    """The published network on a clip of one group, run once."""
    root = Path(__file__).resolve().parents[2]
    cfg = Config.fromfile(root / 'configs/_base_/models/respike_r50.py')
    cfg.model.num_frames = 4
    torch.manual_seed(0)
    model = MODELS.build(without_pretrained(cfg.model)).eval()
    for module in model.modules():  # so that there are spikes
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(.03)
    frames = torch.randn(1, 4, 3, 224, 224)
    return model, count(model, frames, mode='tensor')


def test_branches_of_the_published_network(respike):
    model, counter = respike
    found = groups(model, counter)

    def macs(branch, part=None, stage=None):
        return sum(c.macs for g, c in found.items()
                   if g.branch == branch and part in (None, g.part)
                   and stage in (None, g.stage))

    steps = 3
    assert macs('key branch') == resnet50_macs()
    assert macs('spiking branch', 'stem') == steps * STEM
    assert macs('spiking branch', 'shortcuts') == steps * SHORTCUTS
    assert macs('spiking branch', 'spiking convolutions') == 0
    spiking = [c for g, c in found.items() if g.branch == 'spiking branch']
    assert sum(c.dense for c in spiking) == steps * SPIKING
    assert 0 < sum(c.acs for c in spiking) < .9 * steps * SPIKING
    for i, (parts, keys_and_values) in enumerate(FUSIONS):
        for part, of_step in parts.items():
            shared = keys_and_values if part == 'cross_attention' else 0
            assert macs('fusion', part.replace('_', '-'),
                        f'stage {i + 1}') == \
                steps * of_step + shared, (i, part)
    names = {(g.stage, g.part): c.operations for g, c in found.items()
             if g.branch == 'fusion'}
    for i, (side, tokens) in enumerate(
            ((56, 196), (28, 196), (14, 196), (7, 49))):
        channels, stage = 64 * 2**i, f'stage {i + 1}'
        heads = channels // 32
        elements = steps * tokens * channels
        softmax = names[stage, 'self-attention']['softmax']
        assert softmax == 5 * steps * heads * tokens**2
        assert names[stage, 'cross-attention']['softmax'] == softmax
        assert names[stage, 'feed-forward']['GELU'] == 5 * 4 * elements
        assert names[stage, 'normalisation'] == {
            'group norm': 7 * elements, 'layer norm': 3 * 7 * elements}
        if i < 2:
            assert names[stage, 'resampling']['interpolation'] == \
                7 * steps * channels * side**2
    assert not counter.unknown


def test_membranes_and_maps_of_the_published_network(respike):
    """Bytes of maps, weights left out."""
    _, counter = respike
    name = 'backbone.layer1.0'
    layer = {c.name: v for c, v in counter.layers.items()}
    # 64 maps of 112 x 112: two steps keep a potential, written and read
    assert layer[f'{name}.neuron1'].membrane_bytes == 2 * 2 * 4 * 64 * 112**2
    conv = layer[f'{name}.conv1']
    assert conv.spike_positions == 3 * 64 * 112**2
    assert conv.activation_bytes == 4 * 3 * 64 * 56**2  # the output alone
    stem = layer['backbone.conv1']
    assert stem.activation_bytes == 4 * 3 * (3 * 224**2 + 64 * 112**2)
    fusion = 'cls_head.fusions.stage3.block'
    keys = layer[f'{fusion}.cross_attn.to_k']  # of one key frame
    assert keys.activation_bytes == 4 * 196 * (1024 + 256)
    # Q, K, V and the result
    attention = layer[f'{fusion}.self_attn']
    assert attention.activation_bytes == 4 * 4 * 3 * 196 * 256


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
