"""Compares a kernel with the plain one; runs as a script for Triton.

``TRITON_INTERPRET=1 python agreement.py`` runs the Triton kernels in
Triton's interpreter, which must be on before Triton is imported.
"""
import itertools

import torch

from respike_mmaction.models.kernels import plain
from respike_mmaction.models.kernels.plain import Neuron, membrane_dtype
from respike_mmaction.models.neurons import build_surrogate

SURROGATES = ('ATan', 'Sigmoid', 'PiecewiseQuadratic', 'Rectangular')
TOLERANCE = {
    torch.float64: dict(rtol=1e-12, atol=1e-12),
    torch.float32: dict(rtol=2e-5, atol=2e-5),
    torch.bfloat16: dict(rtol=2e-2, atol=2e-2),
    torch.float16: dict(rtol=2e-3, atol=2e-3),
}


def cases(steps=(1, 2, 5), stride=11):
    """Every value of every argument, with every other one now and then.

    ``stride`` is prime to the number of values of each argument.
    """
    everything = list(
        itertools.product(steps, TOLERANCE, ('hard', 'soft'), SURROGATES,
                          (.25, .5, .8, None, 'learnt'), (False, True),
                          ('spikes', 'potential', 'both')))
    return everything[::stride]


def agree(kernel, S, dtype, reset, surrogate, decay, has_v, grads,
          device='cpu', B=3, N=37):
    """Assert equal spikes and potentials, and gradients to rounding."""
    wide = membrane_dtype(dtype)
    draw = dict(device=device, dtype=wide)
    x = (torch.randn(B, S, N, **draw) * 1.5).to(dtype)
    v = torch.randn(B, N, **draw) if has_v else None
    if decay == 'learnt':
        decay = torch.tensor(0.3, **draw)
    neuron = Neuron(0.9, reset,
                    build_surrogate(dict(type=surrogate, alpha=1.3)))
    out = kernel.forward(x, v, decay, neuron, True)
    expected = plain.forward(x, v, decay, neuron, True)
    for a, b in zip(out, expected, strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b), 'forward'
    assert kernel.forward(x, v, decay, neuron, False)[1] is None
    grad = None if grads == 'potential' else torch.randn(
        B, S, N, **draw).to(dtype)
    grad_v = None if grads == 'spikes' else torch.randn(B, N, **draw)
    out = kernel.backward(x, v, grad, grad_v, decay, neuron)
    expected = plain.backward(x, v, grad, grad_v, decay, neuron)
    names = ['x'] + ['v'] * has_v + ['decay'] * isinstance(
        decay, torch.Tensor)
    for name, a, b in zip(('x', 'v', 'decay'), out, expected, strict=True):
        if name in names:
            assert a.dtype == b.dtype, name
            torch.testing.assert_close(a, b, **TOLERANCE[a.dtype])


if __name__ == '__main__':
    from respike_mmaction.models.kernels import triton_scan
    torch.manual_seed(0)
    tried = cases(stride=61)
    for case in tried:
        agree(triton_scan, *case)
    agree(triton_scan, 17, torch.float32, 'hard', 'ATan', .25, True, 'both')
    agree(triton_scan, 3, torch.float32, 'hard', 'ATan', .25, True, 'both',
          N=2100)  # several blocks of a sample
    print(f'{len(tried) + 2} cases agree')
