"""Fine-tuning: all weights but the classifier's, or an error."""
import logging
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import HOOKS
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn


def network(num_classes, width=4):
    model = nn.Module()
    model.backbone = nn.Conv2d(3, width, 3)
    model.cls_head = nn.Module()
    model.cls_head.fusion = nn.Linear(width, width)
    model.cls_head.fc_cls = nn.Linear(width, num_classes)
    return model


def load(model, weights, caplog):
    logger = logging.getLogger('classifier')
    caplog.set_level(logging.INFO, 'classifier')
    runner = SimpleNamespace(model=model, logger=logger, _load_from='old.pth')
    checkpoint = dict(state_dict=weights)
    HOOKS.build(dict(type='NewClassifierHook')).after_load_checkpoint(
        runner, checkpoint)
    _load_checkpoint_to_model(model, checkpoint, strict=True)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_only_the_classifier_is_made_anew(caplog, prefix):
    old, new = network(7), network(3)
    fresh = {k: v.clone() for k, v in new.cls_head.fc_cls.state_dict().items()}
    load(new, {f'{prefix}{k}': v for k, v in old.state_dict().items()}, caplog)
    for name, value in new.state_dict().items():
        if 'fc_cls' in name:
            assert torch.equal(value, fresh[name.split('.')[-1]])
        else:
            assert torch.equal(value, old.state_dict()[name])
    assert ('cls_head.fc_cls is made anew: 3 classes, the checkpoint has 7'
            in caplog.text)


def test_classifier_of_the_same_size_is_loaded(caplog):
    old, new = network(3), network(3)
    load(new, old.state_dict(), caplog)
    assert torch.equal(new.cls_head.fc_cls.weight, old.cls_head.fc_cls.weight)
    assert 'anew' not in caplog.text


@pytest.mark.parametrize('change', ['width', 'missing', 'unknown'])
def test_other_differences_are_errors(caplog, change):
    new = network(3)
    weights = network(7, 5 if change == 'width' else 4).state_dict()
    if change == 'missing':
        del weights['backbone.bias']
    elif change == 'unknown':
        weights['backbone.extra'] = torch.zeros(1)
    name = dict(unknown='backbone.extra').get(change, 'backbone.bias')
    with pytest.raises(ValueError, match=f'old.pth differs.*{name}'):
        load(new, weights, caplog)
