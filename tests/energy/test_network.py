"""Random weights, and nothing that is downloaded."""
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from respike_mmaction.energy.network import randomise, without_pretrained


@pytest.mark.parametrize('statistics', ['per_step', 'shared'])
def test_random_weights_have_the_statistics_of_all_steps(statistics):
    steps, views = 3, 2
    model = MODELS.build(dict(
        type='Recognizer2D',
        backbone=dict(type='SpikingResNet', depth=10, base_channels=8,
                      num_steps=steps, norm_statistics=statistics),
        cls_head=dict(type='TSNHead', num_classes=2, in_channels=64),
        data_preprocessor=dict(type='ActionDataPreprocessor')))
    found = []
    norm = model.backbone.bn1
    handle = norm.register_forward_pre_hook(
        lambda module, args: found.append(args[0].double()))
    frames = torch.randn(steps * views, 3, 64, 64)
    # steps and views that differ
    frames *= torch.arange(1, 1 + steps * views).view(-1, 1, 1, 1)
    data = dict(inputs=[frames], data_samples=[ActionDataSample()])
    randomise(model, data, [dict(type='SampleFrames', num_clips=steps)])
    handle.remove()
    x, = found
    assert len(x) == steps  # one view
    assert torch.allclose(norm.running_mean.double(), x.mean((0, 2, 3)),
                          atol=1e-5)
    axes = (2, 3) if statistics == 'per_step' else (0, 2, 3)
    var = x.var(axes)  # (S, C) or (C, )
    var = var.mean(0) if statistics == 'per_step' else var
    assert torch.allclose(norm.running_var.double(), var, rtol=1e-4)
    assert norm.momentum == .1


def test_nothing_is_downloaded():
    cfg = Config(dict(model=dict(
        pretrained='a', backbone=dict(
            pretrained='https://a', depth=3, parts=[dict(pretrained='b')]),
        neck=dict(init_cfg=dict(type='Pretrained', checkpoint='c')),
        head=dict(init_cfg=dict(type='Kaiming')))))
    model = without_pretrained(cfg.model)
    assert model.backbone == dict(
        pretrained=None, depth=3, parts=[dict(pretrained=None)])
    assert model.pretrained is None and 'init_cfg' not in model.neck
    assert model.head.init_cfg.type == 'Kaiming'
    assert cfg.model.backbone.pretrained == 'https://a'  # left as it was


@pytest.mark.parametrize('backbone, expected', [
    (dict(type='timm.resnet18', pretrained=True), dict(pretrained=False)),
    (dict(type='torchvision.resnet18', weights='DEFAULT'),
     dict(weights=None))])
def test_nothing_is_downloaded_by_other_packages(backbone, expected):
    cfg = Config(dict(model=dict(key_backbone=backbone)))
    assert without_pretrained(cfg.model).key_backbone == dict(
        backbone, **expected)
