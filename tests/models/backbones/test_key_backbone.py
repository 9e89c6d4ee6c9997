"""Key branches of other packages; the real ones where they load."""
import sys
from types import ModuleType

import pytest
import torch
from mmaction.registry import MODELS
from torch import nn

from respike_mmaction.models.backbones.key_backbone import (
    TorchvisionMaps,
    build_key_backbone,
)


def recognizer(**key_backbone):
    return MODELS.build(dict(
        type='ReSpikeRecognizer',
        stride=4,
        num_frames=8,
        key_backbone=key_backbone,
        backbone=dict(type='SpikingResNet', depth=10, base_channels=32),
        cls_head=dict(type='CrossAttentionFusion', num_classes=4)))


def loaded(package):
    try:
        return pytest.importorskip(package)
    except RuntimeError as error:  # torchvision without its operators
        pytest.skip(f'{package} does not load: {error}')


def check(model, channels):
    """It has these channels, answers and learns."""
    frames = torch.rand(2, 8, 3, 64, 64)
    scores = model.extract_feat(frames, stage='head')[0]
    assert scores.shape == (2, 4) and scores.isfinite().all()
    scores.sum().backward()
    assert all(p.grad is not None for p in model.key_backbone.parameters())
    assert model._key_channels() == channels


class Maps(nn.Module):
    """Four maps, as a network of timm returns them with features_only."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Conv2d(3 * 2**i, 3 * 2**(i + 1), 3, 4 if i == 0 else 2, 1)
            for i in range(4))

    def forward(self, x):
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


@pytest.fixture
def timm(monkeypatch):
    """A timm that knows one network, and what it was asked for."""
    module = ModuleType('timm')

    def create_model(name, **options):
        if name != 'four_maps':
            raise RuntimeError(f'Unknown model ({name})')
        module.asked = options
        return Maps()

    module.create_model = create_model
    monkeypatch.setitem(sys.modules, 'timm', module)
    return module


def test_timm_is_asked_for_its_last_four_maps(timm):
    model = recognizer(type='timm.four_maps', pretrained=True)
    assert timm.asked == dict(
        features_only=True, out_indices=(-4, -3, -2, -1), pretrained=True)
    before = model.key_backbone.stages[0].weight.clone()
    model.init_weights()  # what timm loaded stays
    assert torch.equal(model.key_backbone.stages[0].weight, before)
    check(model, (6, 12, 24, 48))


def test_an_unknown_network_is_named(timm):
    with pytest.raises(ValueError, match=r"'timm\.five_maps'.*Unknown model"):
        recognizer(type='timm.five_maps')


@pytest.mark.parametrize('package', ['timm', 'torchvision'])
def test_an_absent_package_is_named(package, monkeypatch):
    for name in (package, f'{package}.models'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f'needs {package}'):
        build_key_backbone(dict(type=f'{package}.resnet18'))


def test_maps_in_the_order_of_the_nodes():
    class Body(nn.Module):
        def forward(self, x):
            return dict(a=x, b=x + 1)

    a, b = TorchvisionMaps(Body())(torch.zeros(2))
    assert a.sum() == 0 and b.sum() == 2


@pytest.mark.parametrize('name, channels', [
    ('resnet18', (64, 128, 256, 512)),
    ('mobilenetv2_100', (24, 32, 96, 320))])
def test_real_networks_of_timm(name, channels):
    loaded('timm')
    check(recognizer(type=f'timm.{name}'), channels)


@pytest.mark.parametrize('options, channels', [
    (dict(type='torchvision.resnet18'), (64, 128, 256, 512)),
    (dict(type='torchvision.mobilenet_v2', return_nodes=[
        'features.3', 'features.6', 'features.13', 'features.17']),
     (24, 32, 96, 320))])
def test_real_networks_of_torchvision(options, channels):
    loaded('torchvision')
    check(recognizer(**options), channels)


def test_a_node_that_there_is_not_is_named():
    loaded('torchvision')
    with pytest.raises(ValueError, match='no_layer'):
        recognizer(type='torchvision.resnet18', return_nodes=['no_layer'])
