"""The scan of :mod:`.plain` as loops that PyTorch's compiler writes.

On a CPU, where the eager scan is a dozen passes over the data, one is left.
The price is up to 20 seconds once on a machine and 4 once in a process: the
compiler keeps what it wrote. Where there is no C++ compiler the eager scan
runs.
"""
import functools
from collections.abc import Callable
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from . import eager, plain
from .available import compare
from .plain import Neuron, membrane_dtype


def forward(x: Tensor, v: Tensor | None, decay: float | Tensor | None,
            neuron: Neuron, return_v: bool, as_bytes: bool = False
            ) -> tuple[Tensor, Tensor | None]:
    """See :func:`.plain.forward`."""
    neuron = neuron._replace(surrogate=None)  # type: ignore[arg-type]
    return _run('forward', dict(x=x, v=v, decay=decay), neuron=neuron,
                return_v=return_v, as_bytes=as_bytes)


def backward(x: Tensor, v: Tensor | None, grad: Tensor | None,
             grad_v: Tensor | None, decay: float | Tensor | None,
             neuron: Neuron) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """See :func:`.plain.backward`."""
    return _run('backward', dict(
        x=x, v=v, grad=grad, grad_v=grad_v, decay=decay), neuron=neuron)


def _run(name: str, inputs: dict, **settings: Any) -> tuple:
    """``forward`` or ``backward`` by its program, or eager without one."""
    tensors = {k: z for k, z in inputs.items() if isinstance(z, Tensor)}
    numbers = {k: z for k, z in inputs.items() if k not in tensors}
    program = _program(
        name, inputs['x'].shape[1], inputs['x'].dtype, tuple(tensors),
        **numbers, **settings)
    if program is None:
        return getattr(eager, name)(**inputs, **settings)
    return program(**tensors)


@functools.cache
def _program(name: str, num_steps: int, dtype: torch.dtype,
             tensors: tuple[str, ...], **constants: Any) -> Callable | None:
    """The loop, which was right on a small input; None, and a line, if not.

    Args:
        name (str): Function of :mod:`.plain`.
        num_steps (int): Number of steps.
        dtype (torch.dtype): That of the neuron's input.
        tensors (tuple[str]): Arguments that are tensors.
        **constants: The others, which become part of the program.
    """

    def scan(**inputs: Tensor) -> tuple:
        return getattr(plain, name)(**inputs, **constants)

    # the compiler keeps eight programs of a code object, then none
    scan.__code__ = scan.__code__.replace()
    # a loop needs no pool of compiling processes
    run = torch.compile(scan, dynamic=True, options=dict(compile_threads=1))
    if constants.get('as_bytes'):
        run = _writing_bytes(run)
    inputs = _example(num_steps, dtype, tensors)
    try:
        reason = compare(
            run(**inputs), getattr(eager, name)(**inputs, **constants),
            dtype, gradients=name == 'backward')
    except Exception as error:  # no C++ compiler, or one that fails
        line, *_ = str(error).splitlines() or ['']
        reason = f'{type(error).__name__}: {line}'
    if reason:
        _say(reason)
    return None if reason else run


def _writing_bytes(scan: Callable) -> Callable:
    """``scan`` with a place for its bytes, which it would stack in a pass."""

    def run(x: Tensor, **inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        spikes = torch.empty(x.shape, dtype=torch.uint8, device=x.device)
        _, v = scan(x=x, out=spikes.unbind(1), **inputs)
        return spikes, v

    return run


def _example(num_steps: int, dtype: torch.dtype, tensors: tuple[str, ...]
             ) -> dict[str, Tensor]:
    """Small inputs of a program."""
    random = torch.Generator().manual_seed(0)
    wide = membrane_dtype(dtype)
    shapes = dict(x=(2, num_steps, 67), v=(2, 67), decay=())
    shapes.update(grad=shapes['x'], grad_v=shapes['v'])
    inputs = {k: torch.randn(shapes[k], generator=random) * 2
              for k in tensors}
    if 'decay' in inputs:
        inputs['decay'].sigmoid_()
    return {k: z.to(dtype if k in ('x', 'grad') else wide)
            for k, z in inputs.items()}


@functools.cache
def _say(reason: str) -> None:
    print_log('neurons are not compiled, which takes them several times as '
              f'long ({reason})', 'current')
