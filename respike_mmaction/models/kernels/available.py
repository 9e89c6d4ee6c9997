"""Which kernels this machine can run."""
import functools
import importlib.util
import itertools
import os
import warnings
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from ..surrogates import SURROGATES, Surrogate
from . import eager
from .plain import Neuron, membrane_dtype

# Rounding of gradients, in units of the largest.
TOLERANCE = {
    torch.float32: 1e-4,
    torch.float64: 1e-10,
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2
}
EXACT = (torch.float32, torch.float64)
_RESULTS = ('spikes', 'potential', 'gradient of x', 'gradient of V',
            'gradient of the decay')


@functools.cache
def has_triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec('triton') is not None


def is_known(surrogate: Surrogate) -> bool:
    """Whether Triton kernels and compiler know a surrogate (all of ours)."""
    return type(surrogate) in SURROGATES


def require_triton(device: torch.device, surrogate: Surrogate) -> None:
    """Check that ``backend='triton'`` can run on a device.

    Args:
        device (torch.device): Where the tensors are.
        surrogate (Surrogate): Surrogate gradient.

    Raises:
        ValueError: If the surrogate is not one of ours.
        RuntimeError: If Triton is missing, or the device is not CUDA (nor
            Triton's interpreter on).
    """
    if not has_triton():
        raise RuntimeError("backend='triton' needs the package triton, and "
                           "it is not installed: use 'torch' or 'auto'")
    if (device.type != 'cuda'
            and os.environ.get('TRITON_INTERPRET') != '1'):
        raise RuntimeError(
            f"backend='triton' needs a CUDA device, got tensors on {device}:"
            " use 'torch' or 'auto'")
    if not is_known(surrogate):
        names = ', '.join(cls.__name__ for cls in SURROGATES)
        raise ValueError(f"backend='triton' knows the surrogates {names}, "
                         f'got {surrogate!r}')


@functools.cache
def triton_works(index: int) -> bool:
    """Whether the Triton kernels are right on a CUDA device, proven once.

    A warning says what differs where they are not.

    Args:
        index (int): Index of the device.
    """
    if not has_triton():
        return False
    try:
        from . import triton_scan
        reason = difference(triton_scan, torch.device('cuda', index))
    except Exception as error:  # a driver, a compiler, a cache ...
        reason = f'{type(error).__name__}: {error}'
    if reason:
        warnings.warn(
            f'Triton does not work on cuda:{index}, neurons use plain '
            f'PyTorch instead ({reason})', stacklevel=3)
    return not reason


def difference(kernel: ModuleType, device: torch.device) -> str:
    """Where a kernel is not the eager one, by values, or ''.

    Spikes and potentials are equal bit for bit, gradients to rounding, for
    sizes below and beyond a block, all dtypes, resets, surrogates, and
    neurons with, without and with a learnt leak.

    Args:
        kernel (ModuleType): With ``forward`` and ``backward`` of
            :mod:`.plain`.
        device (torch.device): Where it is tried.

    Returns:
        str: The first difference, in words.
    """
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(device) * 1.5

    cases = itertools.product(
        ((3, 3, 37), (2, 1, 2500)), TOLERANCE, ('hard', 'soft'),
        (.25, None, torch.tensor(.3, device=device)))
    for number, ((B, S, N), dtype, reset, decay) in enumerate(cases):
        surrogate = SURROGATES[number % len(SURROGATES)]()
        neuron = Neuron(1., reset, surrogate)
        wide = membrane_dtype(dtype)
        x, grad = draw(B, S, N).to(dtype), draw(B, S, N).to(dtype)
        v, grad_v = draw(B, N).to(wide), draw(B, N).to(wide)
        if isinstance(decay, Tensor):
            decay = decay.to(wide)
        found, expected = (
            (*k.forward(x, v, decay, neuron, True),
             *k.backward(x, v, grad, grad_v, decay, neuron))
            for k in (kernel, eager))
        reason = compare(found, expected, dtype)
        if reason:
            return f'{reason}, {reset} reset, {surrogate}, shape {(B, S, N)}'
    return ''


def compare(found: Sequence, expected: Sequence, dtype: torch.dtype,
            gradients: bool = False) -> str:
    """The first of a kernel's results that is wrong, in words, or ''.

    Args:
        found (Sequence[Tensor | None]): Spikes and potential, then the
            gradients of input, potential and decay.
        expected (Sequence[Tensor | None]): Those of the eager kernel.
        dtype (torch.dtype): That of the neuron's input.
        gradients (bool): Whether gradients are all there is. Defaults to
            False.

    Returns:
        str: What differs and by how much.
    """
    names = _RESULTS[2:] if gradients else _RESULTS
    for name, a, b in zip(names, found, expected, strict=False):
        if b is None:
            continue
        exact = name in _RESULTS[:2] and dtype in EXACT
        bound = 0. if exact else TOLERANCE[dtype] * (
            1 + b.double().abs().max().item())
        off = (a.double() - b.double()).abs().max().item()
        if not off <= bound:  # NaN, too
            return (f'{name} of {dtype} off by {off:.3g}, at most '
                    f'{bound:.3g} is rounding')
    return ''
