"""Which kernels this machine can run."""
import functools
import importlib.util
import os
import warnings

import torch

from ..surrogates import SURROGATES, Surrogate


@functools.cache
def has_triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec('triton') is not None


def in_triton(surrogate: Surrogate) -> bool:
    """Whether the Triton kernels know a surrogate (all of ours)."""
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
    if not in_triton(surrogate):
        names = ', '.join(cls.__name__ for cls in SURROGATES)
        raise ValueError(f"backend='triton' knows the surrogates {names}, "
                         f'got {surrogate!r}')


@functools.cache
def triton_works(index: int) -> bool:
    """Whether Triton works on a CUDA device; tried once, on a small scan.

    Args:
        index (int): Index of the device.
    """
    def scan() -> None:
        from . import triton_scan
        from .plain import Neuron
        x = torch.zeros(1, 1, 64, device=f'cuda:{index}')
        triton_scan.forward(x, None, None, Neuron(1., 'hard', None), False)
        torch.cuda.synchronize(index)

    return has_triton() and _try('Triton', scan)


def _try(name: str, call: object) -> bool:
    try:
        call()
    except Exception as error:
        warnings.warn(
            f'{name} does not work here, neurons use plain PyTorch instead '
            f'({type(error).__name__}: {error})',
            stacklevel=4)
        return False
    return True
