"""Counts of the published network against formulas written out here."""
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from torch import nn

from respike_mmaction.energy import Count, grouping
from respike_mmaction.energy.network import without_pretrained
from tests.energy.counting import count, total


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
def respike():
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
