"""Puts the layers of a recognizer into branches, stages and parts."""
import re
from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from ..models.backbones import SpikingResNet
from .counter import Layer

FUSION_PARTS = {
    'norm': 'normalisation',
    'proj': 'projections',
    'self_attn': 'self-attention',
    'cross_attn': 'cross-attention',
    'ffn': 'feed-forward',
}


class Group(NamedTuple):
    """A row of the report."""

    branch: str
    stage: str = ''
    part: str = ''


def _stage(*names: str) -> str:
    for name in names:
        found = re.search(r'(?:layer|stage)(\d)', name)
        if found:
            return f'stage {found[1]}'
    return ''


def _spiking(layer: Layer, prefix: str) -> Group:
    """Parts of a :class:`SpikingResNet` and what runs between its stages."""
    name = layer.name[len(prefix):].lstrip('.')
    if not name:  # the fuse callable of CrossAttentionFusion
        return Group('fusion', _stage(layer.after), 'resampling')
    if not name.startswith('layer'):
        return Group('spiking branch', 'stem', 'stem')
    # a block's own operation is the addition of its shortcut
    shortcut = 'downsample' in name or name.count('.') == 1
    return Group('spiking branch', _stage(name),
                 'shortcuts' if shortcut else 'spiking convolutions')


def _fusion(name: str) -> Group:
    inner = name.split('.', 1)[-1].removeprefix('block.')
    part = next((part for start, part in FUSION_PARTS.items()
                 if inner.startswith(start)), 'residual additions')
    return Group('fusion', _stage(name), part)


def _plain(layer: Layer, branch: str) -> Group:
    stem = 'stem' if branch in ('key branch', 'backbone') else ''
    return Group(branch, _stage(layer.name, layer.after) or stem)


def grouping(model: nn.Module) -> Callable[[Layer], Group]:
    """The branches of a recognizer.

    Args:
        model (nn.Module): ``ReSpikeRecognizer`` (key branch, spiking branch,
            fusion, head), or any other (backbone, neck, head), whose stages
            are modules called ``layerN`` or ``stageN``.

    Returns:
        Callable: From a layer to its group.
    """
    spiking = [
        name for name, module in model.named_modules()
        if isinstance(module, SpikingResNet)
    ]

    def group(layer: Layer) -> Group:
        name = layer.name
        for prefix in spiking:
            if f'{name}.'.startswith(f'{prefix}.'):
                return _spiking(layer, prefix)
        if name.startswith('cls_head.fusions.'):
            return _fusion(name.removeprefix('cls_head.fusions.'))
        top = name.split('.')[0]
        branch = dict(
            key_backbone='key branch', cls_head='head').get(top, top)
        return _plain(layer, branch or 'head')

    return group
