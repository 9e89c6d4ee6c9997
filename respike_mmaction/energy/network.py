"""The network that is measured: no downloads, shapes alone, random weights."""
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..models.backbones.key_backbone import package_of
from .clips import first_view, num_views, preprocess


def without_pretrained(cfg: Any) -> Any:
    """A copy of a model config that loads and downloads nothing."""
    if isinstance(cfg, dict):
        return ConfigDict({
            key: without_pretrained(value)
            for key, value in {**cfg, **_nothing_loaded(cfg)}.items()
            if not (key == 'init_cfg' and 'Pretrained' in str(value))
        })
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(without_pretrained(value) for value in cfg)
    return cfg


def _nothing_loaded(cfg: dict) -> dict:
    """Those of the entries that name weights, so that they name none."""
    nothing: dict[str, Any] = {}
    if isinstance(cfg.get('pretrained'), str):
        nothing['pretrained'] = None
    elif cfg.get('pretrained') is True:  # of timm and torchvision
        nothing['pretrained'] = False
    if package_of(cfg.get('type')) == 'torchvision' and 'weights' in cfg:
        nothing['weights'] = None
    return nothing


def drop_values(model: nn.Module) -> None:
    """Keep only the shapes of all parts but the preprocessor."""
    for name, child in model.named_children():
        if name != 'data_preprocessor':
            child.to('meta')


@torch.no_grad()
def randomise(model: BaseModel, data: dict, pipeline: list[dict]) -> None:
    """Give a network random weights and the BatchNorm statistics of a view.

    With means of 0 and variances of 1 an untrained spiking network would
    fall silent after a few layers.

    Args:
        model (BaseModel): The network.
        data (dict): The collated views of a video; the first one is run.
        pipeline (list[dict]): The test pipeline.
    """
    for module in model.modules():
        if getattr(module, 'pretrained2d', False):
            module.pretrained2d = False  # else it wants a file
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')  # not a line for every parameter
    model.init_weights()
    logger.setLevel(level)

    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    inputs, _ = preprocess(model, data)
    inputs = first_view(inputs, num_views(model, inputs, pipeline))
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all steps, not the last one
    model(inputs, mode='tensor')
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
