# ruff: noqa: ANN001, ANN202  (arguments of Triton functions are untyped)
"""The scan in Triton for CUDA: forward and backward, each one pass.

A program runs all steps of a block of neurons in registers: it reads the
input once, and in backward the gradient once, and writes the result once.
Imported when first used.
"""
import contextlib

import torch
import triton
import triton.language as tl
from torch import Tensor

from .plain import Neuron, membrane_dtype


@triton.jit
def _charge(x, v, decay, LEAK: tl.constexpr):
    if LEAK:
        h = x - decay * (x - v)
    else:
        h = v + x
    return h


@triton.jit
def _reset(h, THRESHOLD: tl.constexpr, HARD: tl.constexpr):
    if HARD:
        v = tl.where(h >= THRESHOLD, 0.0, h)
    else:
        v = tl.where(h >= THRESHOLD, h - THRESHOLD, h)
    return v


@triton.jit
def _derivative(u, KIND: tl.constexpr, ALPHA: tl.constexpr):
    if KIND == 'ATan':
        z = u * (1.5707963267948966 * ALPHA)
        d = ALPHA / 2 / (1 + z * z)
    elif KIND == 'Sigmoid':
        g = 1 / (1 + tl.exp(-u * ALPHA))
        d = ALPHA * (g * (1 - g))
    elif KIND == 'PiecewiseQuadratic':
        d = tl.maximum(ALPHA - ALPHA * ALPHA * tl.abs(u), 0.0)
    else:
        d = tl.where(tl.abs(u) < 0.5 / ALPHA,
                     tl.full(u.shape, ALPHA, u.dtype), 0.0)
    return d


@triton.jit
def _block(N, BLOCK: tl.constexpr):
    """Sample, offsets of a block of its neurons, and which of them exist."""
    blocks = tl.cdiv(N, BLOCK)
    b = (tl.program_id(0) // blocks).to(tl.int64)
    n = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    return b, n, n < N


@triton.jit
def _load_v(v, at, exists, like):
    if v is None:
        value = tl.zeros_like(like)
    else:
        value = tl.load(v + at, exists, 0.0)
    return value


@triton.jit
def _load_decay(decay, like, DECAY: tl.constexpr):
    if decay is None:
        value = tl.full(like.shape, DECAY, like.dtype)
    else:
        value = tl.zeros_like(like) + tl.load(decay).to(like.dtype)
    return value


@triton.jit
def _forward(x, v, decay, spikes, v_last, N, S: tl.constexpr,
             LEAK: tl.constexpr, DECAY: tl.constexpr,
             THRESHOLD: tl.constexpr, HARD: tl.constexpr,
             DTYPE: tl.constexpr, BLOCK: tl.constexpr):
    b, n, exists = _block(N, BLOCK)
    at = b * S * N + n
    zero = tl.zeros((BLOCK, ), DTYPE)
    factor = _load_decay(decay, zero, DECAY)
    potential = _load_v(v, b * N + n, exists, zero)
    for t in tl.static_range(S):
        x_t = tl.load(x + at + t * N, exists, 0.0).to(DTYPE)
        h = _charge(x_t, potential, factor, LEAK)
        s = tl.where(h >= THRESHOLD, 1.0, 0.0)
        tl.store(spikes + at + t * N, s.to(spikes.dtype.element_ty), exists)
        potential = _reset(h, THRESHOLD, HARD)
    if v_last is not None:
        tl.store(v_last + b * N + n, potential, exists)


@triton.jit
def _backward(x, v, grad, grad_v, decay, grad_x, grad_v0, grad_decay, N,
              S: tl.constexpr, LEAK: tl.constexpr, DECAY: tl.constexpr,
              THRESHOLD: tl.constexpr, HARD: tl.constexpr,
              KIND: tl.constexpr, ALPHA: tl.constexpr, DTYPE: tl.constexpr,
              BLOCK: tl.constexpr):
    b, n, exists = _block(N, BLOCK)
    at = b * S * N + n
    zero = tl.zeros((BLOCK, ), DTYPE)
    factor = _load_decay(decay, zero, DECAY)
    potential = _load_v(v, b * N + n, exists, zero)
    # the potentials once more, kept in registers
    hs = ()
    drives = ()  # dH / d decay
    for t in tl.static_range(S):
        x_t = tl.load(x + at + t * N, exists, 0.0).to(DTYPE)
        h = _charge(x_t, potential, factor, LEAK)
        if decay is not None:
            drives = drives + (potential - x_t, )  # type: ignore
        hs = hs + (h, )  # type: ignore
        potential = _reset(h, THRESHOLD, HARD)
    flow = _load_v(grad_v, b * N + n, exists, zero)
    total = zero
    for i in tl.static_range(S):
        h = hs[S - 1 - i]
        if HARD:
            flow = tl.where(h >= THRESHOLD, 0.0, flow)
        if grad is not None:
            g = tl.load(grad + at + (S - 1 - i) * N, exists, 0.0).to(DTYPE)
            flow += g * _derivative(h - THRESHOLD, KIND, ALPHA)
        if decay is not None:
            total += flow * drives[S - 1 - i]
        grad_x_t = flow
        if LEAK:
            grad_x_t = (1 - factor) * flow
            flow = factor * flow
        tl.store(grad_x + at + (S - 1 - i) * N,
                 grad_x_t.to(grad_x.dtype.element_ty), exists)
    if grad_v0 is not None:
        tl.store(grad_v0 + b * N + n, flow, exists)
    if decay is not None:
        tl.store(grad_decay + tl.program_id(0), tl.sum(total, 0))


def _options(x: Tensor, decay: float | Tensor | None,
             neuron: Neuron) -> tuple[int, dict]:
    """Number of programs, and the constants of both kernels."""
    B, S, N = x.shape
    # 8 neurons a thread, less when a thread must hold many steps
    block = 1024 if S <= 8 else 512 if S <= 16 else 256
    constants = dict(
        N=N,
        S=S,
        LEAK=decay is not None,
        DECAY=decay if isinstance(decay, float) else 0.0,
        THRESHOLD=neuron.threshold,
        HARD=neuron.reset == 'hard',
        DTYPE=tl.float64 if x.dtype == torch.float64 else tl.float32,
        BLOCK=block,
        num_warps=4,
        # products and sums are rounded one by one, as elsewhere
        enable_fp_fusion=False)
    return B * triton.cdiv(N, block), constants


def _on(x: Tensor) -> contextlib.AbstractContextManager:
    """Triton launches on the current device: make it that of x."""
    return torch.cuda.device(
        x.device) if x.is_cuda else contextlib.nullcontext()


def forward(x: Tensor, v: Tensor | None, decay: float | Tensor | None,
            neuron: Neuron, return_v: bool) -> tuple[Tensor, Tensor | None]:
    """See :func:`.plain.forward`."""
    x = x.contiguous()
    spikes = torch.empty_like(x)
    v_last = x.new_empty(
        x.shape[::2], dtype=membrane_dtype(x.dtype)) if return_v else None
    programs, constants = _options(x, decay, neuron)
    learnt = decay if isinstance(decay, Tensor) else None
    if programs:
        with _on(x):
            _forward[(programs, )](x, _contiguous(v), learnt, spikes, v_last,
                                   **constants)
    return spikes, v_last


def backward(x: Tensor, v: Tensor | None, grad: Tensor | None,
             grad_v: Tensor | None, decay: float | Tensor | None,
             neuron: Neuron) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """See :func:`.plain.backward`."""
    x, v, grad, grad_v = (  # type: ignore[assignment]
        _contiguous(z) for z in (x, v, grad, grad_v))
    grad_x = torch.empty_like(x)
    grad_v0 = None if v is None else torch.empty_like(v)
    programs, constants = _options(x, decay, neuron)
    learnt = decay if isinstance(decay, Tensor) else None
    parts = None if learnt is None else x.new_empty(
        programs, dtype=membrane_dtype(x.dtype))
    if programs:
        with _on(x):
            _backward[(programs, )](
                x, v, grad, grad_v, learnt, grad_x, grad_v0, parts,
                KIND=type(neuron.surrogate).__name__,
                ALPHA=float(neuron.surrogate.alpha), **constants)
    return grad_x, grad_v0, None if parts is None else parts.sum()


def _contiguous(z: Tensor | None) -> Tensor | None:
    return None if z is None else z.contiguous()
