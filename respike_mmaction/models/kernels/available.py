"""Which kernels this machine can run."""
import functools
import importlib.util
import os
import shutil
import sys
import warnings

import torch


@functools.cache
def find_compiler() -> str | None:
    """Path of the C++ compiler that inductor would call, or None."""
    default = 'clang++' if sys.platform == 'darwin' else 'g++'
    return shutil.which(os.environ.get('CXX', default))


@functools.cache
def has_triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec('triton') is not None


def require_compile(device: torch.device) -> None:
    """Check that ``backend='compile'`` can run on a device.

    Args:
        device (torch.device): Where the tensors are.

    Raises:
        RuntimeError: If inductor lacks its compiler there.
    """
    if device.type == 'cpu' and find_compiler() is None:
        raise RuntimeError(
            "backend='compile' needs a C++ compiler on a CPU, and there is "
            'none: install g++, name one in the environment variable CXX, '
            "or use backend='torch' or 'auto'")
    if device.type == 'cuda' and not has_triton():
        raise RuntimeError(
            "backend='compile' needs the package triton on CUDA, and it is "
            "not installed: use backend='torch' or 'auto'")


def in_triton(surrogate: object) -> bool:
    """Whether the Triton kernels know a surrogate (all of ours)."""
    return type(surrogate) in _surrogates()


def _surrogates() -> tuple[type, ...]:
    from ..neurons import surrogates  # which import this package
    return (surrogates.ATan, surrogates.Sigmoid,
            surrogates.PiecewiseQuadratic, surrogates.Rectangular)


def require_triton(device: torch.device, surrogate: object) -> None:
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
            " use 'torch', 'compile' or 'auto'")
    if not in_triton(surrogate):
        names = ', '.join(cls.__name__ for cls in _surrogates())
        raise ValueError(f"backend='triton' knows the surrogates {names}, "
                         f'got {surrogate!r}')


@functools.cache
def compile_works() -> bool:
    """Whether torch.compile works on the CPU; tried once, on a sum."""
    return find_compiler() is not None and _try(
        'torch.compile', lambda: torch.compile(lambda x: x + x)
        (torch.zeros(64)))


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
