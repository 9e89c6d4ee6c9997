"""The scan fused by torch.compile (inductor), compiled when first called."""
import functools
import types
from collections.abc import Callable

import torch
from torch import Tensor

from . import plain
from .plain import Neuron


@functools.cache
def _compile(make: Callable, constants: tuple, *key) -> Callable:
    """Compile ``make(*constants)``, once for each key.

    torch.compile gives up after eight versions of one code object; a copy
    for each key keeps that limit to what varies within a key.
    """
    function = make(*constants)
    copy = types.FunctionType(function.__code__.replace(),
                              function.__globals__, function.__name__, None,
                              function.__closure__)
    # threads: those of the call, not those of the first call's size.
    # fullgraph would raise where torch.compile steps aside, such as under
    # a counter of operations (a TorchDispatchMode)
    return torch.compile(copy, options={'cpp.dynamic_threads': True})


def _call(make: Callable, constants: tuple, *tensors: Tensor | None) -> tuple:
    """Run the compiled ``make(*constants)``; B and N are symbols in it."""
    # an expanded or permuted gradient would be compiled for anew
    tensors = [None if z is None else z.contiguous() for z in tensors]
    key = [None if z is None else (z.dtype, z.device.type) for z in tensors]
    run = _compile(make, constants, tensors[0].shape[1], *key)
    for z in tensors:
        if z is not None and z.ndim:
            torch._dynamo.maybe_mark_dynamic(z, 0)
            torch._dynamo.maybe_mark_dynamic(z, z.ndim - 1)
    return run(*tensors)


def _make_forward(decay: float | None, neuron: Neuron,
                  return_v: bool) -> Callable:
    def run(x: Tensor, v: Tensor | None, learnt: Tensor | None) -> tuple:
        return plain.forward(x, v, decay if learnt is None else learnt,
                             neuron, return_v)

    return run


def _make_backward(decay: float | None, neuron: Neuron) -> Callable:
    def run(x: Tensor, v: Tensor | None, grad: Tensor | None,
            grad_v: Tensor | None, learnt: Tensor | None) -> tuple:
        return plain.backward(x, v, grad, grad_v,
                              decay if learnt is None else learnt, neuron)

    return run


def forward(x: Tensor, v: Tensor | None, decay: float | Tensor | None,
            neuron: Neuron, return_v: bool) -> tuple[Tensor, Tensor | None]:
    """See :func:`.plain.forward`."""
    learnt = decay if isinstance(decay, Tensor) else None
    decay = None if learnt is not None else decay
    return _call(_make_forward, (decay, neuron, return_v), x, v, learnt)


def backward(x: Tensor, v: Tensor | None, grad: Tensor | None,
             grad_v: Tensor | None, decay: float | Tensor | None,
             neuron: Neuron) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """See :func:`.plain.backward`."""
    learnt = decay if isinstance(decay, Tensor) else None
    decay = None if learnt is not None else decay
    return _call(_make_backward, (decay, neuron), x, v, grad, grad_v, learnt)
