"""The scan for eager PyTorch: few operations, on pieces that stay in cache.

A piece of the neurons goes through all operations before the next one is
read, so that memory sees one pass where the operations are many.
``hardtanh_backward(g, h, -inf, threshold)``, which is g where h is below the
threshold and 0 elsewhere, is both the hard reset (g = h) and its derivative.
"""
import functools
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .plain import Neuron, membrane_dtype

# Elements of a piece over all steps: a few MiB, which the cache holds, and
# long enough to hide the dispatch of a dozen operations. PyTorch gives a
# thread no less than 2 ** 15 elements of a step.
_PIECE, _GRAIN = 2**20, 2**15


def _pieces(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of B and N that cut x (B, S, N) into pieces."""
    B, S, N = x.shape
    if x.device.type == 'cpu':
        size = max(_PIECE // S, _GRAIN * torch.get_num_threads())
    else:
        size = max(B * N, 1)  # a launch costs more than the cache gains
    rows = max(1, size // max(N, 1))
    columns = max(1, -(-N // max(1, round(N / size))))  # of equal length
    for b in range(0, B, rows):
        for n in range(0, N, columns):
            yield slice(b, b + rows), slice(n, n + columns)


def _is_exact(decay: float | Tensor | None) -> bool:
    """Whether products by ``decay`` are exact: it is a power of two."""
    return isinstance(decay, float) and math.frexp(decay)[0] == 0.5


def _charge(x: Tensor, v: Tensor | None, decay: float | Tensor | None,
            out: Tensor) -> None:
    """Out <- H, in the roundings of :func:`.plain.charge`; v is kept."""
    if x.dtype != out.dtype:
        x = x.to(out.dtype)
    if decay is None:
        out.copy_(x) if v is None else torch.add(v, x, out=out)
    elif _is_exact(decay) and decay <= 0.5:
        # one operation, rounded as above since the product is exact
        if v is None:
            torch.mul(x, 1 - decay, out=out)
        else:  # x - (x - v) * (1 - weight) for weights from 0.5 on
            torch.lerp(v, x, 1 - decay, out=out)
    else:
        difference = x if v is None else torch.sub(x, v, out=out)
        torch.mul(difference, decay, out=out)
        torch.sub(x, out, out=out)


def _mask(value: Tensor, h: Tensor, threshold: float, out: Tensor) -> None:
    """Out <- value where h is below the threshold, else 0."""
    torch.ops.aten.hardtanh_backward.grad_input(
        value, h, -math.inf, threshold, grad_input=out)


def _reset(h: Tensor, neuron: Neuron, out: Tensor) -> None:
    """Out <- V, the potential after the reset of H."""
    if neuron.reset == 'hard':
        _mask(h, h, neuron.threshold, out)
    else:
        torch.ge(h, neuron.threshold, out=out)
        torch.sub(h, out, alpha=neuron.threshold, out=out)


@functools.cache
def _quantized_copies() -> bool:
    """Whether floats can be copied into quantised tensors.

    Those are copied many at a time, into plain bytes one by one, but of
    float32 alone. PyTorch has announced, in a warning, that quantised tensors
    will go.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            _empty_quantized((1, )).copy_(torch.ones(1))
        except (AttributeError, RuntimeError):
            return False
    return True


def _empty_quantized(shape: Sequence[int]) -> Tensor:
    return torch._empty_affine_quantized(
        shape, scale=1., zero_point=0, dtype=torch.quint8)


def _empty_bytes(x: Tensor) -> Tensor:
    """Like ``x``, for spikes in bytes."""
    fits = x.device.type == 'cpu' and membrane_dtype(x.dtype) == torch.float32
    if fits and _quantized_copies():
        return _empty_quantized(x.shape)
    return torch.empty_like(x, dtype=torch.bool)


def _fire(h: Tensor, threshold: float, spikes: Tensor, spare: Tensor) -> None:
    """Spikes <- [H >= threshold], in their dtype."""
    if not spikes.is_quantized:
        torch.ge(h, threshold, out=spikes)
        return
    torch.ge(h, threshold, out=spare)
    for row, fired in zip(spikes, spare, strict=True):  # contiguous ones
        row.copy_(fired)


def forward(x: Tensor, v: Tensor | None, decay: float | Tensor | None,
            neuron: Neuron, return_v: bool, as_bytes: bool = False
            ) -> tuple[Tensor, Tensor | None]:
    """See :func:`.plain.forward`."""
    dtype = membrane_dtype(x.dtype)
    B, S, N = x.shape
    spikes = _empty_bytes(x) if as_bytes else torch.empty_like(x)
    v_last = x.new_empty(B, N, dtype=dtype) if return_v else None
    scratch = x.new_empty(0)
    for rows, columns in _pieces(x):
        x_p, s_p = x[rows, :, columns], spikes[rows, :, columns]
        if scratch.shape[1:] != x_p.shape[::2]:  # the last ones are smaller
            scratch = x.new_empty(3, *x_p.shape[::2], dtype=dtype)
        h, after, spare = scratch
        before = None if v is None else v[rows, columns]
        for t in range(S):
            _charge(x_p[:, t], before, decay, out=h)
            _fire(h, neuron.threshold, s_p[:, t], spare)
            if t + 1 < S or return_v:
                _reset(h, neuron, out=after)
                before = after
        if v_last is not None:
            v_last[rows, columns] = after
    if spikes.is_quantized:  # the same memory
        spikes = x.new_empty(0, dtype=torch.uint8).set_(
            spikes.untyped_storage()).view(x.shape)
    elif as_bytes:
        spikes = spikes.view(torch.uint8)
    return spikes, v_last


def backward(x: Tensor, v: Tensor | None, grad: Tensor | None,
             grad_v: Tensor | None, decay: float | Tensor | None,
             neuron: Neuron) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """See :func:`.plain.backward`."""
    dtype, S = membrane_dtype(x.dtype), x.shape[1]
    keep: Any = 1.0 if decay is None else decay
    # what the surrogate multiplies by on its way, to save a pass
    learnt = isinstance(decay, Tensor)
    gain: Any = 1.0 if decay is None or learnt else 1 - decay
    grad_x = torch.empty_like(x)
    grad_v0: Any = None if v is None else torch.empty_like(v)
    grad_decay: Any = x.new_zeros((), dtype=dtype) if learnt else None
    for rows, columns in _pieces(x):
        x_p, grad_x_p = (z[rows, :, columns].transpose(0, 1)
                         for z in (x, grad_x))  # (S, b, n)
        v_p = None if v is None else v[rows, columns]
        h = x.new_empty(x_p.shape, dtype=dtype)
        after = h.new_empty(h.shape[1:])
        # the potentials once more
        for t in range(S):
            _charge(x_p[t], after if t else v_p, decay, out=h[t])
            if t + 1 < S:
                _reset(h[t], neuron, out=after)
        # through the spikes, all steps at once
        grad_h = grad_x_p if x.dtype == dtype else torch.empty_like(h)
        if grad is None:
            grad_h.zero_()
        else:
            torch.sub(h, neuron.threshold, out=grad_h)
            neuron.surrogate.backward_(
                grad_h, grad[rows, :, columns].transpose(0, 1).to(dtype),
                gain)
        # through the potentials, from the last step to the first
        for t in reversed(range(S)):
            if t + 1 < S:
                flow, factor = grad_h[t + 1], keep
            elif grad_v is not None:
                flow, factor = grad_v[rows, columns], gain
            else:
                continue
            if neuron.reset == 'hard':
                _mask(flow, h[t], neuron.threshold, out=after)
                flow = after
            if isinstance(factor, Tensor):
                grad_h[t].addcmul_(flow, factor)
            else:
                grad_h[t].add_(flow, alpha=factor)
        if v is not None:
            torch.mul(grad_h[0], keep / gain, out=grad_v0[rows, columns])
        if learnt:
            for t in range(S):
                before = v_p
                if t:
                    _reset(h[t - 1], neuron, out=after)
                    before = after
                drive = -x_p[t] if before is None else before - x_p[t]
                grad_decay += (grad_h[t] * drive).sum()
            grad_h.mul_(1 - keep)
        if grad_h is not grad_x_p:
            grad_x_p.copy_(grad_h)
    return grad_x, grad_v0, grad_decay
