"""The neuron's scan over its steps: one autograd node, several kernels."""
import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..surrogates import Surrogate
from . import available, compiled, eager, plain
from .plain import Neuron, membrane_dtype

BACKENDS = ('auto', 'torch', 'triton')

# Elements of a map from which a training on a CPU compiles its neurons: a
# program costs seconds, and saves a millisecond a call at this size.
COMPILE_FROM = 2**18


def spike_scan(x: Tensor,
               num_steps: int,
               *,
               decay: float | Tensor | None,
               threshold: float,
               reset: str,
               surrogate: Surrogate,
               v: Tensor | None = None,
               return_v: bool = False,
               as_bytes: bool = False,
               backend: str = 'auto') -> Any:
    r"""Charge, fire and reset, step after step, as one autograd node.

    .. math::
        H_t = \lambda V_{t-1} + (1 - \lambda) X_t, \quad
        S_t = [H_t \ge v_{threshold}], \quad
        V_t = (1 - S_t) H_t \;\text{(hard) or}\;
              H_t - v_{threshold} S_t \;\text{(soft)}

    The resting potential is 0. The reset is detached. The node keeps ``x``
    (and ``v``) for backward and nothing else: potentials and spikes are
    made again from it. All backends round alike, so that their spikes are
    equal bit for bit in float32 and float64.

    Args:
        x (Tensor): Input (B * S, ...), step fastest, floating point, of any
            memory format. Half precision is computed in float32.
        num_steps (int): Number of steps S.
        decay (float | Tensor, optional): :math:`\lambda`, a number or a
            scalar tensor, which then gets its gradient; None for no leak,
            :math:`H_t = V_{t-1} + X_t`.
        threshold (float): Firing threshold.
        reset (str): 'hard' or 'soft'.
        surrogate (Surrogate): Surrogate gradient.
        v (Tensor, optional): Potential before the first step (B, ...).
            Defaults to None, 0.
        return_v (bool): Also return the potential after the last step.
            Defaults to False.
        as_bytes (bool): Give spikes as ``uint8``, for convolutions in eight
            bits, without a gradient. Defaults to False.
        backend (str): 'torch', eager PyTorch; 'triton', CUDA only; 'auto',
            on CUDA 'triton' where it works, on a CPU :mod:`.compiled` for
            bytes and for large maps (``COMPILE_FROM``) in training, else
            'torch'. Within a compiled or exported model the scan is always
            fused with its neighbours. Defaults to 'auto'.

    Returns:
        Tensor | tuple[Tensor, Tensor]: Spikes, 0 or 1, of the shape, dtype
        and memory format of ``x``; with ``return_v`` also the potential
        after the last step (B, ...), float32 for half precision inputs.

    Raises:
        TypeError: If ``x`` is not a floating point tensor.
        ValueError: If shapes do not fit or a name is unknown.
        RuntimeError: If a forced backend is not available.
    """
    if not x.is_floating_point():
        raise TypeError(f'x must be a floating point tensor, got {x.dtype}')
    if num_steps < 1 or x.shape[0] % num_steps:
        raise ValueError(
            f'the batch of x must be a multiple of num_steps, got the shape '
            f'{tuple(x.shape)} and num_steps={num_steps!r}')
    if v is not None:
        shape = (x.shape[0] // num_steps, *x.shape[1:])
        if tuple(v.shape) != shape:
            raise ValueError(f'v must have the shape {shape}, got '
                             f'{tuple(v.shape)}')
        v = v.to(membrane_dtype(x.dtype))
    # a trace, such as get_flops.py's, is of the forward
    trains = not as_bytes and torch.is_grad_enabled() and (
        not torch.jit.is_tracing()) and any(
            isinstance(z, Tensor) and z.requires_grad for z in (x, v, decay))
    args = (x, v, decay, _Fold(x, num_steps),
            Neuron(threshold, reset, surrogate), return_v,
            _choose(backend, x, surrogate, as_bytes, trains))
    if trains:
        spikes, v_last = _SpikeScan.apply(*args)
    else:
        spikes, v_last = _forward(*args, as_bytes)
    return (spikes, v_last) if return_v else spikes


class _Fold:
    """Between (B * S, ...), or (B, ...), and (B, S, N), or (B, N).

    N runs as the memory of ``x`` does, so that folding is a view in every
    memory format.
    """

    def __init__(self, x: Tensor, num_steps: int) -> None:
        axes = range(1, x.ndim)
        strides: Any = x.stride()
        self.order = [0, *sorted(axes, key=lambda axis: -strides[axis])]
        self.back = [self.order.index(axis) for axis in range(x.ndim)]
        self.shape = [x.shape[axis] for axis in self.order[1:]]
        self.folded = (x.shape[0] // num_steps, num_steps,
                       math.prod(self.shape))

    def steps(self, z: Tensor | None) -> Tensor | None:
        return None if z is None else z.permute(self.order).reshape(
            self.folded)

    def potential(self, v: Tensor | None) -> Tensor | None:
        return None if v is None else v.permute(self.order).reshape(
            self.folded[::2])

    def unfold(self, z: Tensor | None) -> Any:
        """Of steps or a potential."""
        if z is None:
            return None
        z = z.reshape(math.prod(z.shape[:-1]), *self.shape)
        # autograd adds gradients in place, but not into a view
        return z.permute(self.back).detach()


def _forward(x: Tensor, v: Tensor | None, decay: float | Tensor | None,
             fold: _Fold, neuron: Neuron, return_v: bool,
             kernel: ModuleType, as_bytes: bool = False
             ) -> tuple[Tensor, Tensor | None]:
    kwargs = dict(as_bytes=True) if as_bytes else {}  # unknown to Triton's
    spikes, v_last = kernel.forward(
        fold.steps(x), fold.potential(v), decay, neuron, return_v, **kwargs)
    return fold.unfold(spikes), fold.unfold(v_last)


def _choose(backend: str, x: Tensor, surrogate: Surrogate, as_bytes: bool,
            trains: bool) -> ModuleType:
    """The module whose forward and backward do the work."""
    if backend not in BACKENDS:
        raise ValueError(
            f'backend must be one of {BACKENDS}, got {backend!r}')
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return plain
    if backend == 'auto' and x.device.type == 'cpu':
        pays = as_bytes or trains and (
            x.numel() >= COMPILE_FROM and available.is_known(surrogate))
        return compiled if pays else eager
    if as_bytes:
        return eager
    if backend == 'triton':
        available.require_triton(x.device, surrogate)
    elif not (backend == 'auto' and x.device.type == 'cuda'
              and available.is_known(surrogate)
              and available.triton_works(x.device.index)):
        return eager
    from . import triton_scan  # imports Triton
    return triton_scan


class _SpikeScan(torch.autograd.Function):
    """Keeps its input only, and makes the potentials again in backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor | None,
                decay: float | Tensor | None, fold: _Fold, neuron: Neuron,
                return_v: bool,
                kernel: ModuleType) -> tuple[Tensor, Tensor | None]:
        learnt = isinstance(decay, Tensor)
        ctx.save_for_backward(x, v, decay if learnt else None)
        ctx.set_materialize_grads(False)
        ctx.decay = None if learnt else decay
        ctx.fold, ctx.neuron, ctx.kernel = fold, neuron, kernel
        return _forward(x, v, decay, fold, neuron, return_v, kernel)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None,
                 grad_v: Tensor | None) -> tuple:
        x, v, decay = ctx.saved_tensors
        fold = ctx.fold
        grad_x, grad_v, grad_decay = ctx.kernel.backward(
            fold.steps(x), fold.potential(v), fold.steps(grad),
            fold.potential(grad_v), ctx.decay if decay is None else decay,
            ctx.neuron)
        if grad_decay is not None:
            grad_decay = grad_decay.to(decay.dtype)
        grad_v = None if v is None else fold.unfold(grad_v)
        return (fold.unfold(grad_x), grad_v, grad_decay, *[None] * 4)
