"""Checkpoints of the authors' code (arXiv 2409.01564), to ours and back.

Every parameter of ours has one published name, so the mapping is written
once, from ours to theirs, and read in both directions.
"""
import pickle
import re
from dataclasses import dataclass, field

import torch
from mmaction.registry import MODELS
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..models.layers import FusionBlock
from ..state_dict import Differences, compare
from .files import check_whole

StateDict = dict[str, Tensor]

# (pattern of our name, the published one), tried in this order.
_NAMES = [(re.compile(pattern), published) for pattern, published in (
    (r'key_backbone\.conv1\.conv\.', 'ann_layer0.0.'),
    (r'key_backbone\.conv1\.bn\.', 'ann_layer0.1.'),
    (r'key_backbone\.layer(\d\.\d+)\.conv(\d)\.conv\.',
     r'ann_layer\1.conv\2.'),
    (r'key_backbone\.layer(\d\.\d+)\.conv(\d)\.bn\.', r'ann_layer\1.bn\2.'),
    (r'key_backbone\.layer(\d\.\d+)\.downsample\.conv\.',
     r'ann_layer\1.downsample.0.'),
    (r'key_backbone\.layer(\d\.\d+)\.downsample\.bn\.',
     r'ann_layer\1.downsample.1.'),
    (r'backbone\.layer(\d\.\d+)\.downsample\.',
     r'snn_backbone.layer\1.shortcut.'),
    (r'backbone\.', 'snn_backbone.'),
    (r'cls_head\.fc_cls\.', 'fc.'),
    (r'cls_head\.fusions\.stage(\d)\.block\.(norm\d\.)',
     r'snn_backbone.fusion\1.transformer_blocks.0.\2'),
    (r'cls_head\.fusions\.stage(\d)\.block\.self_attn\.(to_[qkv]\.)',
     r'snn_backbone.fusion\1.transformer_blocks.0.attn1.\2'),
    (r'cls_head\.fusions\.stage(\d)\.block\.cross_attn\.(to_[qkv]\.)',
     r'snn_backbone.fusion\1.transformer_blocks.0.attn2.\2'),
    (r'cls_head\.fusions\.stage(\d)\.block\.self_attn\.to_out\.',
     r'snn_backbone.fusion\1.transformer_blocks.0.attn1.to_out.0.'),
    (r'cls_head\.fusions\.stage(\d)\.block\.cross_attn\.to_out\.',
     r'snn_backbone.fusion\1.transformer_blocks.0.attn2.to_out.0.'),
    (r'cls_head\.fusions\.stage(\d)\.block\.ffn\.proj_in\.',
     r'snn_backbone.fusion\1.transformer_blocks.0.ff.net.0.proj.'),
    (r'cls_head\.fusions\.stage(\d)\.block\.ffn\.proj_out\.',
     r'snn_backbone.fusion\1.transformer_blocks.0.ff.net.2.'),
    (r'cls_head\.fusions\.stage(\d)\.', r'snn_backbone.fusion\1.'),
)]
_UNUSED_FUSION = 'snn_backbone.fusion1.'
_PROJECTION = re.compile(r'snn_backbone\.fusion\d\.proj_(in|out)\.weight$')


def published_name(name: str) -> str:
    """Published name of one of our parameters.

    Args:
        name (str): Name in the ``state_dict`` of :class:`ReSpikeRecognizer`.

    Returns:
        str: Its name in the ``state_dict`` of the authors' code.

    Raises:
        ValueError: If the published network has no such parameter.
    """
    for pattern, published in _NAMES:
        if pattern.match(name):
            return pattern.sub(published, name, count=1)
    raise ValueError(f'{name!r} has no published counterpart')


@dataclass(frozen=True)
class PublishedModel:
    """What the shapes of a published ``state_dict`` tell of its network.

    Args:
        depth (int): Depth of the key-frame ResNet, 18 or 50.
        downsample (bool): Whether stages 1 and 2 are fused on the stage-3
            grid. The shapes do not tell, the values do: without it fusion 1
            is never used and its last projection is still zero.
        base_channels (int): Width of the first spiking stage.
        num_classes (int): Number of classes.
    """

    depth: int
    downsample: bool
    base_channels: int
    num_classes: int

    @classmethod
    def detect(cls,
               state_dict: StateDict,
               downsample: bool | None = None) -> 'PublishedModel':
        """Read the network off its ``state_dict``.

        Args:
            state_dict (dict): Published names and tensors.
            downsample (bool, optional): Overrules what the values tell.
                Defaults to None.

        Returns:
            PublishedModel: What it is.

        Raises:
            ValueError: If this is no such ``state_dict``.
        """
        blocks = len({
            name.split('.')[1]
            for name in state_dict if name.startswith('ann_layer3.')
        })
        bottleneck = 'ann_layer1.0.conv3.weight' in state_dict
        depth = {(2, False): 18, (6, True): 50}.get((blocks, bottleneck))
        needed = 'snn_backbone.conv1.weight', 'fc.weight'
        missing = [name for name in needed if name not in state_dict]
        if depth is None or missing:
            raise ValueError(
                'this is no state_dict of the published ReSpike: it has '
                f'{blocks} {"bottleneck" if bottleneck else "basic"} blocks '
                'in ann_layer3 (ResNet-18: 2 basic, ResNet-50: 6 bottleneck)'
                f' and lacks {missing}; the first names are '
                f'{list(state_dict)[:4]}')
        if downsample is None:
            last = state_dict.get(f'{_UNUSED_FUSION}proj_out.weight')
            downsample = last is not None and bool(last.any())
        return cls(depth, downsample,
                   state_dict['snn_backbone.conv1.weight'].shape[0],
                   state_dict['fc.weight'].shape[0])

    def config(self, stride: int = 4, num_frames: int = 16) -> dict:
        """Model config that fits.

        Args:
            stride (int): Frames of a group; not in a checkpoint. Defaults to
                4 (the paper's; 2 for Kinetics-400).
            num_frames (int): Frames of a view. Defaults to 16 (the paper's).

        Returns:
            dict: Config of a :class:`ReSpikeRecognizer`.
        """
        return dict(
            type='ReSpikeRecognizer',
            stride=stride,
            num_frames=num_frames,
            key_backbone=dict(
                type='ResNet',
                depth=self.depth,
                out_indices=(0, 1, 2, 3),
                norm_eval=False),
            backbone=dict(
                type='SpikingResNet',
                depth=18,
                base_channels=self.base_channels),
            cls_head=dict(
                type='CrossAttentionFusion',
                num_classes=self.num_classes,
                downsample=self.downsample,
                average_clips='prob'))


@dataclass
class Conversion:
    """A converted ``state_dict`` and the account of every key.

    Args:
        model (PublishedModel): The network.
        state_dict (dict): The converted names and tensors.
        used (dict): Name on the other side of every name that was read.
        dropped (list[str]): Names left out, with good reason.
        made (list[str]): Names that the source lacks and that were made.
    """

    model: PublishedModel
    state_dict: StateDict
    used: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)


def read_state_dict(path: str) -> StateDict:
    """Load a ``state_dict``, bare or under ``state_dict`` or ``model``.

    Nothing but tensors and plain containers is unpickled, and a ``module.``
    prefix of a distributed run is taken off.

    Args:
        path (str): File written by ``torch.save``.

    Returns:
        dict: Names and tensors.

    Raises:
        ValueError: If the file holds no such thing.
    """
    try:
        check_whole(path)
        content = torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, KeyError,
            ValueError, IndexError) as error:
        raise ValueError(
            f'{path}: this is no checkpoint that can be read; allowed is a '
            'file of torch.save that holds nothing but tensors and plain '
            'containers (dict, list, str, numbers)') from error
    for key in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(
            isinstance(k, str) and isinstance(v, Tensor)
            for k, v in content.items()):
        keys = list(content)[:5] if isinstance(content, dict) else []
        raise ValueError(
            f'{path}: found no state_dict (names to tensors), neither bare '
            f'nor under "state_dict" or "model"; it is a '
            f'{type(content).__name__} {keys}')
    return {name.removeprefix('module.'): v for name, v in content.items()}


def from_published(state_dict: StateDict,
                   downsample: bool | None = None) -> Conversion:
    """Convert a published ``state_dict`` to ours.

    Args:
        state_dict (dict): Published names and tensors.
        downsample (bool, optional): Overrules the detection. Defaults to
            None.

    Returns:
        Conversion: Ours, with the account of every key.

    Raises:
        ValueError: If a weight is missing, unknown, of another shape or not
            finite.
    """
    published = PublishedModel.detect(state_dict, downsample)
    with DefaultScope.overwrite_default_scope('mmaction'):
        ours = MODELS.build(published.config()).state_dict()
    names = {published_name(name): name for name in ours}
    # fusion 1 is made like fusion 2, but has no use without downsampling
    unused = set() if published.downsample else {
        name.replace('.fusion2.', '.fusion1.') for name in names
    } - names.keys()
    _refuse(compare(
        {name: _linear(name, value) for name, value in state_dict.items()
         if name not in unused},
        {theirs: ours[name] for theirs, name in names.items()}))
    result = Conversion(published, {})
    for theirs, name in names.items():
        if theirs in state_dict:
            result.state_dict[name] = _linear(theirs, state_dict[theirs])
            result.used[theirs] = name
        else:  # the counter of batches, of PyTorch < 0.4.1
            result.state_dict[name] = ours[name]
            result.made.append(name)
    result.dropped = sorted(unused & state_dict.keys())
    return result


def _linear(name: str, value: Tensor) -> Tensor:
    """A 1x1 convolution that is a linear layer of ours."""
    one = _PROJECTION.match(name) and value.shape[2:] == (1, 1)
    return value.flatten(1) if one else value


def to_published(state_dict: StateDict) -> Conversion:
    """Convert our ``state_dict`` to the published names and shapes.

    Args:
        state_dict (dict): Of a :class:`ReSpikeRecognizer` with a ResNet.

    Returns:
        Conversion: The published one, with the account of every key. Without
        downsampling, the fusion that the published code has but never uses
        is made anew.

    Raises:
        ValueError: If a key has no published counterpart, is missing or of
            another shape.
    """
    converted: StateDict = {}
    used: dict[str, str] = {}
    dropped: list[str] = []
    made: list[str] = []
    problems: list[str] = []
    for name, value in state_dict.items():
        if name.startswith('data_preprocessor.'):
            dropped.append(name)
            continue
        try:
            target = published_name(name)
        except ValueError as error:
            problems.append(str(error))
            continue
        if _PROJECTION.match(target):
            value = value[..., None, None]
        converted[target] = value
        used[name] = target
    _refuse(problems)
    downsample = any(
        name.startswith('cls_head.fusions.stage1.') for name in state_dict)
    # what cannot be read back is none of the published network
    back = from_published(converted, downsample)
    _refuse([
        f'unexplained or missing: {name}'
        for name in sorted(back.state_dict.keys() ^ used.keys())
    ])
    if not downsample:
        unused = _fresh_fusion(converted)
        converted.update(unused)
        made.extend(unused)
    return Conversion(back.model, converted, used, dropped, made)


def _fresh_fusion(state_dict: StateDict) -> StateDict:
    """Published fusion 1, untrained, of the widths of a ``state_dict``."""
    stem = state_dict['snn_backbone.conv1.weight']
    last = 'conv3' if 'ann_layer1.0.conv3.weight' in state_dict else 'conv2'
    key_channels = state_dict[f'ann_layer1.0.{last}.weight'].shape[0]
    fusion: nn.Module = FusionBlock(len(stem), key_channels).to(stem.dtype)
    fresh = {
        published_name(f'cls_head.fusions.stage1.{name}'): value
        for name, value in fusion.state_dict().items()
    }
    return {
        name: v[:, :, None, None] if _PROJECTION.match(name) else v
        for name, v in fresh.items()
    }


def _refuse(problems: Differences | list[str]) -> None:
    if problems:
        what = (problems if isinstance(problems, Differences) else
                '\n  '.join(problems))
        raise ValueError(
            f'the weights do not fit; nothing was converted:\n  {what}')
