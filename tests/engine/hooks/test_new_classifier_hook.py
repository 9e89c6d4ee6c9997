"""Fine-tuning: all weights but the classifier's, or an error."""
import logging
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import HOOKS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from tests.test_training_of_configs import (
    shrink,
    shrink_model,
    videos,  # noqa: F401  (a fixture)
)


def network(num_classes, width=4):
    model = nn.Module()
    model.backbone = nn.Conv2d(3, width, 3)
    model.cls_head = nn.Module()
    model.cls_head.fusion = nn.Linear(width, width)
    model.cls_head.fc_cls = nn.Linear(width, num_classes)
    return model


def load(model, weights, caplog, plain=False):
    logger = logging.getLogger('classifier')
    caplog.set_level(logging.INFO, 'classifier')
    runner = SimpleNamespace(model=model, logger=logger, _load_from='old.pth')
    checkpoint = weights if plain else dict(state_dict=weights)
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


def test_plain_weights(caplog):
    old, new = network(7), network(3)
    load(new, old.state_dict(), caplog, plain=True)
    assert torch.equal(new.backbone.weight, old.backbone.weight)
    assert 'made anew: 3 classes, the checkpoint has 7' in caplog.text


@pytest.mark.parametrize('weights', [
    network(7).backbone.state_dict(), {}, dict(model={}, epoch=3)
], ids=['backbone', 'nothing', 'nested'])
def test_checkpoint_without_classifier(caplog, weights):
    with pytest.raises(ValueError, match=(
            "checkpoint old.pth has no weights 'cls_head.fc_cls.weight'")):
        load(network(3), weights, caplog)


def test_classifier_of_another_name(caplog):
    model = network(3)
    model.cls_head.fc = model.cls_head.fc_cls
    del model.cls_head.fc_cls
    with pytest.raises(ValueError, match=(
            "the model has no weights 'cls_head.fc_cls.weight'")):
        load(model, network(7).state_dict(), caplog)


@pytest.mark.slow
def test_fine_tuning(videos, root, tmp_path):  # noqa: F811
    """The configs: Kinetics weights, a classifier of 51, one epoch at lr 0."""
    configs = root / 'configs/respike'
    old = Config.fromfile(next(configs.glob('*100e_kinetics400-rgb.py')))
    shrink_model(old.model)
    init_default_scope('mmaction')
    weights = MODELS.build(old.model).state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'kinetics.pth')

    cfg = Config.fromfile(next(configs.glob(
        'respike_kinetics400-pretrained*_hmdb51-rgb.py')))
    shrink(cfg, videos)
    cfg.load_from = str(tmp_path / 'kinetics.pth')
    cfg.optim_wrapper.optimizer.update(lr=0., weight_decay=0.)
    cfg.work_dir = str(tmp_path / 'work')
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint.pop('save_best')
    runner = Runner.from_cfg(cfg)
    runner.train()
    tuned = dict(runner.model.named_parameters())
    assert tuned['cls_head.fc_cls.weight'].shape[0] == 51
    assert weights['cls_head.fc_cls.weight'].shape[0] == 400
    for name, value in tuned.items():
        if not name.startswith('cls_head.fc_cls.'):
            assert torch.equal(value, weights[name]), name
    log, = (tmp_path / 'work').glob('*/*.log')
    assert ('cls_head.fc_cls is made anew: 51 classes, the checkpoint has 400'
            in log.read_text())


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
