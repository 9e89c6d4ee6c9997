"""A trained network made fast for inference on a CPU."""
import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..models.backbones import SpikingBasicBlock, SpikingResNet
from ..models.layers.int8_spike_conv import (
    TERMS,
    Int8SpikeConv2d,
    adds_shortcuts,
    why_not_int8,
)
from ..models.layers.packed import pack, why_not_packed
from ..models.layers.spiking_block import Downsample, spiking_blocks

SPIKES = (*TERMS, None)
DENSE = ('bfloat16', 'bfloat16_keys', None)


def accelerate(model: nn.Module,
               spikes: str | None = 'int8',
               dense: str | None = 'bfloat16') -> nn.Module:
    """A copy of a trained network for fast inference on a CPU.

    BatchNorm is folded into the convolutions; the 3x3 convolutions of spikes
    run in eight bits (:class:`Int8SpikeConv2d`), fed by neurons that write
    bytes, those of ``backend='auto'`` in a loop that PyTorch compiles at the
    first call (8 seconds once, then 2 in a process); all else that is dense
    (stem, shortcuts, key branch, fusion) runs in bfloat16, with weights
    packed once (:mod:`..models.layers.packed`). Membrane potentials stay
    float32, and so does the classifier. Where the machine cannot do one of
    these, that part stays as it is, and one line of the log says why.

    Rounding changes spikes, and those change others, layer after layer: what
    it costs a network is measured by ``accelerated_scores.py``. Eight bits
    cost nothing after a training with ``Int8WeightsHook``; what bfloat16
    costs is what it moves in the spiking branch, which ``'bfloat16_keys'``
    leaves alone.

    Args:
        model (nn.Module): :class:`ReSpikeRecognizer`, an MMAction2 recognizer
            with :class:`SpikingResNet` as its backbone, or the backbone
            alone. It is not changed.
        spikes (str, optional): ``'int8'``, one integer a weight;
            ``'int8x2'``, two, 15 bits in twice the time; None, the
            convolutions of spikes stay as they are. Defaults to ``'int8'``.
        dense (str, optional): ``'bfloat16'``; ``'bfloat16_keys'``, in key
            branch and fusion alone; or None for float32. Defaults to
            ``'bfloat16'``.

    Returns:
        nn.Module: The copy, in eval mode. It cannot be trained or saved:
        save the model that it was made of.

    Raises:
        ValueError: For other values, a model without a spiking network, or
            one that is accelerated already.
    """
    for name, value, allowed in (('spikes', spikes, SPIKES),
                                 ('dense', dense, DENSE)):
        if value not in allowed:
            raise ValueError(f'{name}={value!r} is not allowed: it is one of '
                             f'{allowed}')
    _check_model(model)
    spikes, dense = _possible(model, spikes, dense)
    fast: Any = copy.deepcopy(model).eval().requires_grad_(False)
    fast = fast.to(memory_format=torch.channels_last)
    everywhere = dense == 'bfloat16'
    if hasattr(fast, 'channels_last'):  # in one pass with the cast below
        fast.channels_last = not everywhere
    dtype = torch.bfloat16 if everywhere else torch.float32
    for backbone in _spiking(fast):
        fold_spiking(backbone)
        _shorten(backbone)
        if spikes:
            _convolve_in_bytes(backbone, TERMS[spikes], dtype)
    if hasattr(fast, 'key_backbone'):
        fast.key_backbone = _if_maps_stay(
            _fold_dense, fast.key_backbone, 1e-3)
    if dense:
        _to_bfloat16(fast, everywhere)
    _pack_dense(fast)
    refusal = _Refusal()
    fast.register_state_dict_pre_hook(refusal)
    fast.register_load_state_dict_pre_hook(refusal)
    return fast


def is_accelerated(model: nn.Module) -> bool:
    """Whether a network, or one in it, was made by :func:`accelerate`."""
    return any(isinstance(hook, _Refusal) for module in model.modules()
               for hook in module._state_dict_pre_hooks.values())


def _spiking(model: nn.Module) -> list[SpikingResNet]:
    return [m for m in model.modules() if isinstance(m, SpikingResNet)]


def _check_model(model: nn.Module) -> None:
    found = _spiking(model)
    if not found:
        raise ValueError(
            f'{type(model).__name__} has no SpikingResNet: accelerate takes '
            'networks with one')
    if is_accelerated(model):
        raise ValueError(f'this {type(model).__name__} is accelerated '
                         'already: give the model that it was made of')


def _possible(model: nn.Module, spikes: str | None,
              dense: str | None) -> tuple[str | None, str | None]:
    """What of the request this machine can do; the rest is logged."""
    parameter = next(model.parameters())
    device, no_bfloat16 = parameter.device.type, ''
    if device != 'cpu':
        reason = no_bfloat16 = f'not available on {device} yet'
    elif parameter.dtype != torch.float32:
        reason = no_bfloat16 = f'the model is {parameter.dtype}, not float32'
    else:
        reason = why_not_int8()
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            no_bfloat16 = 'the CPU has no instructions for it'
    if spikes and reason:
        print_log(f'accelerate: spikes={spikes!r} is left out, {reason}',
                  'current')
        spikes = None
    if dense and no_bfloat16:
        print_log(f'accelerate: dense={dense!r} is left out, {no_bfloat16}',
                  'current')
        dense = None
    return spikes, dense


# folding
def fold_spiking(backbone: SpikingResNet) -> None:
    """Fold every BatchNorm of a spiking network into its convolution.

    Args:
        backbone (SpikingResNet): In eval mode; changed in place.
    """

    def fold(parent: nn.Module, conv: str, norm: str) -> None:
        setattr(parent, conv, fuse_conv_bn_eval(
            getattr(parent, conv), getattr(parent, norm)))
        setattr(parent, norm, nn.Identity())

    fold(backbone, 'conv1', 'bn1')
    for block in _blocks(backbone):
        fold(block, 'conv1', 'bn1')
        fold(block, 'conv2', 'bn2')
        if block.downsample is not None:
            fold(block.downsample, '1', '2')


class _OfFrames(Downsample):
    """The first block's shortcut, straight from the frames.

    Stem, pooling and the 1x1 convolution are linear, together a 5x5
    convolution, which spares reading the network's largest map once more.
    Where that has an odd side, the last windows of the pooling are smaller,
    and the layers run one by one.

    Args:
        stem (nn.Conv2d): 3x3, stride 2, its BatchNorm folded into it.
        downsample (Downsample): Likewise.
    """

    def __init__(self, stem: Any, downsample: Any) -> None:
        super().__init__(*downsample)
        conv = downsample[1]
        mix = conv.weight.flatten(1).double()
        pooled = sum(F.pad(stem.weight.double(), (j, 2 - j, i, 2 - i))
                     for i in (0, 2) for j in (0, 2)) / 4
        whole: Any = nn.Conv2d(stem.in_channels, conv.out_channels, 5,
                               stride=4, padding=1).to(stem.weight)
        whole.weight.copy_(torch.einsum('om,mcij->ocij', mix, pooled))
        whole.bias.copy_(mix @ stem.bias.double() + conv.bias)
        self.whole = whole.requires_grad_(False)

    def reduce(self, x: Tensor, source: Tensor) -> Tensor:
        """From the stem's map ``x`` and the frames that it is made of."""
        if x.shape[-2] % 2 or x.shape[-1] % 2:
            return super().reduce(x, source)
        return self.whole(source)


@torch.no_grad()
def _shorten(backbone: Any) -> None:
    """Let the first block run the stem, and its shortcut read the frames."""
    stem, block = backbone.conv1, backbone.layer1[0]
    backbone.conv1, backbone.bn1 = nn.Identity(), stem
    block.downsample = _OfFrames(stem, block.downsample)


def _blocks(backbone: SpikingResNet) -> list[SpikingBasicBlock]:
    return [m for m in backbone.modules() if isinstance(m, SpikingBasicBlock)]


def _fold_dense(backbone: nn.Module) -> None:
    """Fold every BatchNorm of a key branch, and put ReLUs behind it.

    Which convolution a BatchNorm follows is guessed from the order of the
    layers.
    """
    fuse_conv_bn(backbone)
    for module in backbone.modules():
        if (isinstance(module, ConvModule) and module.with_activation
                and module.order[-1] == 'act'
                and type(module.activate) is nn.ReLU
                and not (module.with_norm
                         and type(module.norm) is not nn.Identity)):
            module.conv = nn.Sequential(module.conv, module.activate)
            module.activate = nn.Identity()


@torch.no_grad()
def _if_maps_stay(change: Callable, backbone: nn.Module,
                  tolerance: float) -> nn.Module:
    """A changed key branch, or the same where its maps would be others.

    What a backbone of any package does with its layers is not known; whether
    a change is right is seen in the maps.
    """
    parameter = next(backbone.parameters())
    frames = torch.rand(getattr(backbone, 'num_segments', 1), 3, 64, 64,
                        device=parameter.device, dtype=parameter.dtype)
    try:
        changed = copy.deepcopy(backbone)
        change(changed)
        pairs = zip(changed(frames), backbone(frames), strict=True)
        if all(torch.allclose(a, b, rtol=tolerance,
                              atol=tolerance * b.abs().max())
               for a, b in pairs):
            return changed
        reason = 'its maps would be others'
    except Exception as error:  # of whatever backbone this is
        line, *_ = str(error).splitlines() or ['']
        reason = f'{type(error).__name__}: {line}'
    print_log(f'accelerate: {type(backbone).__name__} is not changed by '
              f'{change.__name__.strip("_")} ({reason})', 'current')
    return backbone


# number formats
def _convolve_in_bytes(backbone: SpikingResNet, terms: int,
                       dtype: torch.dtype) -> None:
    block: Any
    for block in spiking_blocks(backbone).values():
        for index in '12':
            conv = getattr(block, f'conv{index}')
            setattr(block, f'conv{index}', Int8SpikeConv2d(conv, terms, dtype))
            getattr(block, f'neuron{index}').as_bytes = True
        # the second one adds the shortcut on the way out, where that is
        # faster than an addition of its own
        if terms == 1 and dtype == torch.bfloat16 and adds_shortcuts(dtype):
            block.join, block.conv2 = block.conv2, nn.Identity()


def _to_bfloat16(model: Any, everywhere: bool) -> None:
    """Dense parts in bfloat16; heads get float32 again."""
    branches = _spiking(model) if everywhere else []
    if hasattr(model, 'key_backbone'):
        branches.append(model.key_backbone)
    for part in branches:
        part.bfloat16()
        part.register_forward_pre_hook(_cast_to(torch.bfloat16))
    if hasattr(model, 'cls_head'):
        model.cls_head.register_forward_pre_hook(_cast_to(torch.float32))
    for fusion in _fusions(model):
        fusion.bfloat16()
        for module in fusion.modules():
            if isinstance(module, nn.GroupNorm):
                # PyTorch's of bfloat16 takes seven times as long
                module.float()
                module.register_forward_pre_hook(_cast_to(torch.float32))
                module.register_forward_hook(
                    lambda module, args, out: out.bfloat16())


def _fusions(model: Any) -> list[nn.Module]:
    return [*getattr(getattr(model, 'cls_head', None), 'fusions', {}).values()]


def _pack_dense(model: Any) -> None:
    weight = next(_spiking(model)[0].parameters())
    if (weight.device.type != 'cpu'
            or weight.dtype not in (torch.float32, torch.bfloat16)):
        return  # which is said of all other parts, too
    reasons = {why_not_packed(p.dtype) for p in model.parameters()}
    if reasons != {''}:
        print_log('accelerate: dense layers are not packed, '
                  f'{max(reasons)}', 'current')
        return
    for part in (*_spiking(model), *_fusions(model)):
        pack(part)
    if hasattr(model, 'key_backbone'):
        model.key_backbone = _if_maps_stay(pack, model.key_backbone, 3e-2)


def _cast_to(dtype: torch.dtype) -> Callable:

    def cast(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            value = value.to(dtype)  # one after the other takes half the time
            return value.contiguous(memory_format=torch.channels_last
                                    if value.ndim == 4 else
                                    torch.contiguous_format)
        if isinstance(value, tuple | list):
            return type(value)(map(cast, value))
        return value

    return lambda module, args: cast(args)


# saving
class _Refusal:
    """Hook that refuses to save or load an accelerated model."""

    def __call__(self, *_: Any) -> None:
        raise RuntimeError(self.message)

    message = ('an accelerated model holds packed weights and is neither '
               'saved nor loaded: save the model that it was made of, load '
               'its checkpoint and accelerate it again')

    def __reduce__(self) -> Any:  # torch.save(model), pickle, deepcopy
        raise RuntimeError(self.message)
