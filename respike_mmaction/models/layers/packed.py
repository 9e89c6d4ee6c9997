"""Dense layers whose weights lie as oneDNN reads them."""
import functools
import itertools
from typing import Any

import torch
from mmcv import cnn
from torch import Tensor, nn

from .cross_attention import GEGLUFeedForward

# mmcv's differ from PyTorch's for empty inputs alone
CONV, LINEAR = (nn.Conv2d, cnn.Conv2d), (nn.Linear, cnn.Linear)


class PackedConv2d(nn.Module):
    """Convolution with its weights packed once, and a ReLU on the way out.

    PyTorch packs them in every call; the sums are the same. How they lie
    best depends on the map, so they are packed when its shape changes.

    Args:
        conv (nn.Conv2d): The convolution, float32 or bfloat16, on a CPU.
        relu (bool): Whether a ReLU follows. Defaults to False.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        super().__init__()
        self.plain = conv.weight.detach()
        self.geometry = ([*conv.padding], [*conv.stride], [*conv.dilation],
                         conv.groups)
        bias = None if conv.bias is None else conv.bias.detach()
        self.rest: Any = (bias, *self.geometry, 'relu' if relu else 'none',
                          [], '')
        self.shape: Any = None

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        if x.shape != self.shape:
            self.shape = x.shape
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(
                self.plain, *self.geometry, [*x.shape])
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, *self.rest)


class PackedLinear(nn.Module):
    """Linear layer with its weights packed once, and what follows it.

    Args:
        linear (nn.Linear): The layer, float32 or bfloat16, on a CPU.
        follows (str): ``'none'`` or ``'gelu'``. Defaults to ``'none'``.
    """

    def __init__(self, linear: nn.Linear, follows: str = 'none') -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(
            linear.weight.detach(), None)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.follows = follows

    def forward(self, x: Tensor, factor: Tensor | None = None) -> Tensor:
        """Apply to (..., C); ``factor`` (..., C') multiplies the output."""
        if factor is not None:
            return torch.ops.mkldnn._linear_pointwise.binary(
                x, factor, self.weight, self.bias, 'mul')
        return torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, self.follows, [], 'none')


class PackedGEGLU(nn.Module):
    """A :class:`GEGLUFeedForward` whose products hand on what they made.

    Args:
        ffn (GEGLUFeedForward): The layer, float32 or bfloat16, on a CPU.
    """

    def __init__(self, ffn: GEGLUFeedForward) -> None:
        super().__init__()
        value, gate = _halves(ffn.proj_in)
        self.gate = PackedLinear(gate, 'gelu')
        self.value = PackedLinear(value)
        self.proj_out = PackedLinear(ffn.proj_out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to (..., C)."""
        return self.proj_out(self.value(x, self.gate(x)))


def _halves(linear: nn.Linear) -> list[nn.Linear]:
    """Two layers, the first and the second half of a layer's outputs."""
    found = []
    for weight, bias in zip(linear.weight.detach().chunk(2),
                            linear.bias.detach().chunk(2), strict=True):
        half = nn.Linear(weight.shape[1], weight.shape[0])
        half.weight, half.bias = nn.Parameter(weight), nn.Parameter(bias)
        found.append(half.requires_grad_(False))
    return found


def pack(module: nn.Module) -> None:
    """Pack every dense layer in a module, a ReLU behind it included.

    A ReLU is behind a convolution where both are neighbours in an
    ``nn.Sequential``.

    Args:
        module (nn.Module): Changed in place.
    """
    layers: Any = [*module.named_children(), ('', None)]
    for (name, layer), (after, activation) in itertools.pairwise(layers):
        if type(layer) is GEGLUFeedForward:
            setattr(module, name, PackedGEGLU(layer))
        elif type(layer) in LINEAR:
            setattr(module, name, PackedLinear(layer))
        elif type(layer) in CONV and layer.padding_mode == 'zeros':
            relu = (type(activation) is nn.ReLU
                    and isinstance(module, nn.Sequential))
            setattr(module, name, PackedConv2d(layer, relu))
            if relu:
                setattr(module, after, nn.Identity())
        else:
            pack(layer)


@functools.cache
def why_not_packed(dtype: torch.dtype) -> str:
    """Why dense layers cannot be packed here, or ''.

    Small ones are compared with their own layers, once.
    """
    conv = nn.Conv2d(3, 8, 3, 2, 1).to(dtype)
    ffn = GEGLUFeedForward(8).to(dtype)
    x = torch.linspace(-1, 1, 2 * 3 * 8 * 9).view(2, 3, 8, 9).to(dtype)
    with torch.no_grad():
        maps = conv(x)
        tokens = maps.flatten(2).transpose(1, 2)
        try:
            found = PackedConv2d(conv, True)(x), PackedGEGLU(ffn)(tokens)
        except Exception as error:  # of another PyTorch's operators
            line, *_ = str(error).splitlines() or ['']
            return f'oneDNN refused ({type(error).__name__}: {line})'
        for one, expected in zip(found, (maps.relu(), ffn(tokens)),
                                 strict=True):
            difference = (one - expected).abs().max().item()
            if difference > 1e-2:
                return f'a packed layer is off by {difference:.3g}'
    return ''
