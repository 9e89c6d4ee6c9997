"""Where numbers stop being finite in a network."""
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether tensors hold neither NaN nor infinity.

    The device is waited for once.

    Args:
        tensors (Iterable[Tensor]): Of any shapes and dtypes.

    Returns:
        bool: Whether all of them are finite.
    """
    floating = [x.detach() for x in tensors
                if x.is_floating_point() and x.numel()]
    if not floating:
        return True
    peaks = torch._foreach_norm(floating, float('inf'))
    dtype = reduce(torch.promote_types, {peak.dtype for peak in peaks})
    return bool(torch.stack([peak.to(peaks[0].device, dtype)
                             for peak in peaks]).isfinite().all())


def names_not_finite(tensors: Mapping[str, Any]) -> list[str]:
    """Name the tensors that hold NaN or infinity.

    Args:
        tensors (Mapping[str, Any]): Weights and buffers; other values are
            not looked at.

    Returns:
        list[str]: Their names, in order.
    """
    named = {name: x for name, x in tensors.items() if isinstance(x, Tensor)}
    if all_finite(named.values()):
        return []
    return [name for name, x in named.items() if not all_finite([x])]


def _tensors(value: Any) -> Iterator[Tensor]:
    """Those in lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)


class _FoundError(Exception):
    """Ends a forward pass that need not go on."""


def first_not_finite(model: nn.Module, inputs: Any,
                     loss: Callable[[], Tensor]) -> str:
    """Compute a loss once more, watching every layer.

    Args:
        model (nn.Module): The network.
        inputs (Any): What it reads: tensors, lists and dicts of them.
        loss (Callable[[], Tensor]): Computes the loss with it.

    Returns:
        str: The first of these that is not finite: the weights, the input,
        the output of a layer (from the first), the loss, the gradient of an
        output (from the last), that of a parameter; empty if all are finite.
    """
    names = names_not_finite(dict(model.named_parameters()))
    if names:
        return f'the weight {names[0]} (and {len(names) - 1} more)'
    if not all_finite(_tensors(inputs)):
        return 'the input of the network'
    found: list[str] = []

    def watch(name: str) -> Callable:

        def gradient(grad: Tensor) -> None:
            if not found and not all_finite([grad]):
                found.append(f'the gradient of the output of {name}')

        def output(module: nn.Module, args: tuple, value: Any) -> None:
            for x in _tensors(value):
                if not all_finite([x]):
                    found.append(f'the output of {name}')
                    raise _FoundError
                if x.requires_grad:
                    x.register_hook(gradient)

        return output

    handles = [module.register_forward_hook(watch(
        f'{name or "the network"} ({type(module).__name__})'))
        for name, module in model.named_modules()]
    model.zero_grad()
    try:
        # a compiled model does not call the hooks of its layers
        with torch.enable_grad(), torch.compiler.set_stance('force_eager'):
            value = loss()
            if not all_finite([value]):
                return 'the loss'
            value.backward()
    except _FoundError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    grads = {f'the gradient of {name}': parameter.grad
             for name, parameter in model.named_parameters()}
    return (found or names_not_finite(grads) or [''])[0]
