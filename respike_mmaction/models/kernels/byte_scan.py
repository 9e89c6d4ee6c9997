"""The scan of an accelerated network, as one loop that writes bytes.

PyTorch's compiler writes the loop: 8 seconds once on a machine, less than 2
once in a process, since it keeps what it wrote. Where there is no C++
compiler the eager scan runs.
"""
import functools
from collections.abc import Callable
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from . import eager, plain
from .plain import Neuron, membrane_dtype


def forward(x: Tensor, v: Tensor | None, decay: float | Tensor | None,
            neuron: Neuron, return_v: bool, as_bytes: bool = True
            ) -> tuple[Tensor, Tensor | None]:
    """See :func:`.plain.forward`; inference on a CPU, spikes in bytes."""
    assert as_bytes
    if isinstance(decay, Tensor):
        decay = decay.item()
    run = _program(decay, neuron.threshold, neuron.reset, return_v,
                   x.shape[1], x.dtype, v is None)
    if run is None:
        return eager.forward(x, v, decay, neuron, return_v, as_bytes=True)
    return run(x, v)


@functools.cache
def _program(decay: float | None, threshold: float, reset: str,
             return_v: bool, num_steps: int, dtype: torch.dtype,
             at_rest: bool) -> Callable | None:
    """The loop, which was right on a small input; None, and a line, if not."""

    def scan(x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor | None]:
        spikes = []
        for x_t in x.unbind(1):
            h = plain.charge(x_t.to(membrane_dtype(dtype)), v, decay)
            fires = h >= threshold
            # from numbers the compiler makes bytes many at a time, from
            # truth values one by one
            spikes.append(torch.where(fires, 1., 0.).to(torch.uint8))
            v = torch.where(fires, 0. if reset == 'hard' else h - threshold,
                            h)
        return torch.stack(spikes, 1), v if return_v else None

    # a loop needs no pool of compiling processes
    run = torch.compile(scan, dynamic=True, options=dict(compile_threads=1))
    random = torch.Generator().manual_seed(0)
    x = torch.randn((2, num_steps, 67), generator=random).to(dtype) * 2
    v = None if at_rest else torch.randn((2, 67), generator=random).to(
        membrane_dtype(dtype))
    neuron = Neuron(threshold, reset, None)  # type: ignore[arg-type]
    try:
        expected = eager.forward(x, v, decay, neuron, return_v, True)
        pairs: Any = zip(run(x, v), expected, strict=True)
        if all(a is b is None or torch.equal(a, b) for a, b in pairs):
            return run
        _say('its spikes differ')
    except Exception as error:  # no C++ compiler, or one that fails
        line, *_ = str(error).splitlines() or ['']
        _say(f'{type(error).__name__}: {line}')
    return None


@functools.cache
def _say(reason: str) -> None:
    print_log('accelerate: neurons are not compiled, which takes them twice '
              f'as long ({reason})', 'current')
