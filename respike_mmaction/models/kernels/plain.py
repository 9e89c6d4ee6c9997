r"""The scan written out with functions of PyTorch, a statement a formula.

It defines what every other kernel computes, and is the text that inductor
fuses (a model under ``torch.compile``) and that exporters write out.
"""
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..surrogates import Surrogate


class Neuron(NamedTuple):
    """What a kernel must know of a neuron besides its decay.

    Attributes:
        threshold (float): Firing threshold, above the resting potential 0.
        reset (str): 'hard' or 'soft'.
        surrogate (Surrogate): Surrogate gradient.
    """
    threshold: float
    reset: str
    surrogate: Surrogate


def membrane_dtype(dtype: torch.dtype) -> torch.dtype:
    """Dtype of the membrane potential: float32 for half precision inputs."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def charge(x: Tensor, v: Tensor | None,
           decay: float | Tensor | None) -> Tensor:
    """Potential H before the reset.

    ``H = X - decay (X - V)``, which is ``decay V + (1 - decay) X``, but with
    a rounding less; where ``decay`` is a power of two, as the paper's 0.25,
    the product is exact, and fused multiply-adds give the same bits.
    Without leak (None) ``H = V + X``.
    """
    if decay is None:
        return x if v is None else v + x
    return x - decay * (x if v is None else x - v)


def fire(h: Tensor, neuron: Neuron) -> tuple[Tensor, Tensor]:
    """Spikes (bool) of H, and the potential V after the reset."""
    s = h >= neuron.threshold
    if neuron.reset == 'hard':
        return s, torch.where(s, 0, h)
    return s, torch.where(s, h - neuron.threshold, h)


def potentials(x: Tensor, v: Tensor | None, decay: float | Tensor | None,
               neuron: Neuron) -> Iterator[Tensor]:
    """H of each step, (B, N) in the membrane's dtype; see :func:`forward`."""
    for x_t in x.unbind(1):
        h = charge(x_t.to(membrane_dtype(x.dtype)), v, decay)
        yield h
        v = fire(h, neuron)[1]


def forward(x: Tensor, v: Tensor | None, decay: float | Tensor | None,
            neuron: Neuron, return_v: bool, as_bytes: bool = False,
            out: Sequence[Tensor] | None = None
            ) -> tuple[Tensor | None, Tensor | None]:
    """Run all steps.

    Args:
        x (Tensor): Input (B, S, N).
        v (Tensor, optional): Potential before the first step (B, N), in the
            membrane's dtype, or None for 0.
        decay (float | Tensor, optional): Decay of the potential in a step
            (a scalar), or None for no leak.
        neuron (Neuron): Threshold, reset and surrogate gradient.
        return_v (bool): Whether the last potential is wanted.
        as_bytes (bool): Whether spikes are wanted as ``uint8``. Defaults to
            False.
        out (Sequence[Tensor], optional): Where the spikes of each step (B, N)
            are written, and not returned. Defaults to None.

    Returns:
        tuple[Tensor | None, Tensor | None]: Spikes (B, S, N) like ``x`` and,
        if wanted, the potential after the last step (B, N).
    """
    dtype = membrane_dtype(x.dtype)
    spikes = []
    for t, x_t in enumerate(x.unbind(1)):
        s, v = fire(charge(x_t.to(dtype), v, decay), neuron)
        s = _numbers(s, torch.uint8 if as_bytes else x.dtype)
        spikes.append(s if out is None else out[t].copy_(s))
    return (torch.stack(spikes, 1) if out is None else None,
            v if return_v else None)


def _numbers(s: Tensor, dtype: torch.dtype) -> Tensor:
    """Truth values as 0 and 1."""
    if torch.compiler.is_dynamo_compiling():
        # inductor makes bytes and bfloat16 of numbers many at a time, of
        # truth values one by one
        return torch.where(s, 1., 0.).to(dtype)
    return s.to(dtype)


def backward(x: Tensor, v: Tensor | None, grad: Tensor | None,
             grad_v: Tensor | None, decay: float | Tensor | None,
             neuron: Neuron) -> tuple[Tensor, Any, Any]:
    r"""Gradients of all inputs of :func:`forward`.

    .. math::
        dH_t &= dS_t\, g'(H_t - v_{threshold}) + dV_t (1 - S_t) \\
        dX_t &= (1 - \lambda)\, dH_t, \quad dV_{t-1} = \lambda\, dH_t, \quad
        d\lambda = \textstyle\sum dH_t (V_{t-1} - X_t)

    with :math:`\lambda` the decay; the factor :math:`1 - S_t` belongs to
    the hard reset only; without leak :math:`dX_t = dV_{t-1} = dH_t`.

    Args:
        x (Tensor): Input (B, S, N).
        v (Tensor, optional): Potential before the first step (B, N).
        grad (Tensor, optional): Gradient to the spikes (B, S, N).
        grad_v (Tensor, optional): Gradient to the last potential (B, N).
        decay (float | Tensor, optional): Decay of the potential.
        neuron (Neuron): Threshold, reset and surrogate gradient.

    Returns:
        tuple[Tensor, Tensor, Tensor | None]: Gradients to ``x`` (B, S, N),
        to ``v`` (B, N), and to ``decay`` (a scalar) if it is a tensor.
    """
    dtype = membrane_dtype(x.dtype)
    steps = []
    for x_t in x.to(dtype).unbind(1):
        h = charge(x_t, v, decay)
        s, after = fire(h, neuron)
        steps.append((x_t, v, h, s))
        v = after
    grad_x, grad_decay = [], []
    grad_h: Any
    keep: Any = decay
    for t in reversed(range(len(steps))):
        x_t, before, h, s = steps[t]
        if grad_v is not None and neuron.reset == 'hard':
            grad_v = torch.where(s, 0, grad_v)
        if grad is None:
            grad_h = grad_v
        else:
            grad_h = grad[:, t].to(dtype) * neuron.surrogate.derivative(
                h - neuron.threshold)
            if grad_v is not None:
                grad_h = grad_h + grad_v
        if isinstance(decay, Tensor):
            drive = -x_t if before is None else before - x_t
            grad_decay.append((grad_h * drive).sum())
        grad_v = grad_h if decay is None else keep * grad_h
        grad_x.append(
            (grad_h if decay is None else (1 - keep) * grad_h).to(x.dtype))
    return (torch.stack(grad_x[::-1], 1), grad_v,
            sum(grad_decay) if grad_decay else None)
