"""Convolution of spikes in eight bits, by PyTorch's operators of oneDNN."""
import copy
import functools

import torch
from torch import Tensor, nn

TERMS = {'int8': 1, 'int8x2': 2}


class Int8SpikeConv2d(nn.Module):
    r"""Convolution whose inputs are 0 or 1 and whose weights are integers.

    Spikes are exact in eight bits, so that there is nothing to calibrate;
    only the weights are rounded, each output channel o by a scale of its own,

    .. math::
        W_o \approx \sum_i s_{o,i} Q_{o,i}, \quad
        Q_{o,i} \in \{-127, ..., 127\}, \quad
        s_{o,i} = \max |R_{o,i}| / 127

    with :math:`R_{o,0} = W_o` and :math:`R_{o,i}` what the terms before leave.
    Sums are exact, in 32 bits. One term is off by at most
    :math:`s_{o,0} / 2` a weight, two by :math:`s_{o,0} / 508`.

    Args:
        conv (nn.Conv2d): The convolution, with BatchNorm folded into it.
        terms (int): Integers a weight. Defaults to 1.
        dtype (torch.dtype): Of the output. Defaults to ``torch.float32``.
    """

    def __init__(self,
                 conv: nn.Conv2d,
                 terms: int = 1,
                 dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self.geometry = [
            [*conv.stride], [*conv.padding], [*conv.dilation], conv.groups
        ]
        self.kernel_size = conv.kernel_size
        self.in_channels = conv.in_channels
        self.out_channels = conv.out_channels
        self.bias = None if conv.bias is None else conv.bias.detach().float()
        self.zero_points = torch.zeros(conv.out_channels, dtype=torch.int64)
        self.terms = [(torch.ops.onednn.qconv_prepack(
            weight, scale, 1., 0, *self.geometry, None), scale)
                      for weight, scale in round_weights(conv.weight, terms)]

    def forward(self, spikes: Tensor, shortcut: Tensor | None = None
                ) -> Tensor:
        """Convolve.

        Args:
            spikes (Tensor): 0 or 1, (N, C, H, W), ``uint8``.
            shortcut (Tensor, optional): Added to the output before that is
                rounded, and overwritten. Defaults to None.

        Returns:
            Tensor: (N, C', H', W'), in ``dtype``, channels_last.
        """
        spikes = spikes.contiguous(memory_format=torch.channels_last)
        # what a later term is added to is kept in full
        dtype = self.dtype if len(self.terms) == 1 else torch.float32
        rest = (*self.geometry, 1., 0, dtype)
        out, bias = shortcut, self.bias
        for weight, scale in self.terms:
            scales = (spikes, 1., 0, weight, scale, self.zero_points)
            if out is None:
                out = torch.ops.onednn.qconv_pointwise(
                    *scales, bias, *rest, 'none', [], '')
            else:
                out = torch.ops.onednn.qconv2d_pointwise.binary(
                    *scales, out.to(dtype), bias, *rest, 1., 0, 'sum', 1.,
                    'none', [], '')
            bias = None
        assert out is not None  # there is a term
        return out.to(self.dtype)

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return (f'{self.in_channels}, {self.out_channels}, '
                f'kernel_size={self.kernel_size}, terms={len(self.terms)}, '
                f'dtype={self.dtype}')


def round_weights(weight: Tensor, terms: int) -> list[tuple[Tensor, Tensor]]:
    """Integers and scales of :class:`Int8SpikeConv2d`.

    Args:
        weight (Tensor): (C', C, h, w).
        terms (int): Integers a weight.

    Returns:
        list[tuple[Tensor]]: For each term ``int8`` (C', C, h, w) and
        ``float32`` (C').
    """
    rest, found = weight.detach().float(), []
    for _ in range(terms):
        scale = rest.abs().amax((1, 2, 3)).clamp_min(1e-12) / 127
        steps = scale[:, None, None, None]
        integers = torch.round(rest / steps).clamp_(-127, 127)
        rest = rest - integers * steps
        found.append((integers.to(torch.int8), scale))
    return found


def round_to_int8(weight: Tensor) -> Tensor:
    """The weights that one term stands for.

    Args:
        weight (Tensor): (C', C, h, w).

    Returns:
        Tensor: Like ``weight``, multiples of each channel's scale.
    """
    (integers, scale), = round_weights(weight, 1)
    return (integers * scale[:, None, None, None]).to(weight.dtype)


@functools.cache
def why_not_int8() -> str:
    """Why this machine has no :class:`Int8SpikeConv2d`, or ''.

    Its instructions are asked for, and a small convolution is compared with
    the same in float64, once.
    """
    if not torch.backends.mkldnn.is_available():
        return 'PyTorch was built without oneDNN'
    # without VNNI pairs of products are added in 16 bits, where those of two
    # spikes, 254 at most, have room
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in ('AVX2', 'AVX512'):
        return f'the CPU has neither AVX2 nor AVX512 (it is {capability})'
    conv, spikes = _example()
    try:
        found = Int8SpikeConv2d(conv, 2)(spikes.to(torch.uint8)).double()
    except Exception as error:  # an operator of another PyTorch
        return f'oneDNN refused ({type(error).__name__}: {error})'
    expected = copy.deepcopy(conv).double()(spikes.double())
    difference = (found - expected).abs().max().item()
    if difference > 1e-3:
        return f'its convolution is off by {difference:.3g}'
    return ''


@functools.cache
def adds_shortcuts(dtype: torch.dtype) -> bool:
    """Whether this machine adds shortcuts on the way out, and rightly.

    A small convolution is compared with the same and an addition, once.

    Args:
        dtype (torch.dtype): Of the shortcut and the output.

    Returns:
        bool: False where PyTorch's operator refuses or errs.
    """
    conv, spikes = _example()
    fast, spikes = Int8SpikeConv2d(conv, 1, dtype), spikes.to(torch.uint8)
    alone = fast(spikes)
    shortcut = torch.linspace(-1, 1, alone.numel()).view_as(alone).to(dtype)
    try:
        found = fast(spikes, shortcut.clone())
    except Exception:  # an operator of another PyTorch
        return False
    return torch.allclose(found, alone + shortcut, rtol=1e-2, atol=1e-2)


def _example() -> tuple[nn.Conv2d, Tensor]:
    """A small convolution, and spikes."""
    spikes = (torch.arange(2 * 16 * 25) % 7 < 2).view(2, 16, 5, 5)
    return nn.Conv2d(16, 8, 3, padding=1), spikes
