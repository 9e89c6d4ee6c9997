"""Neurons against hand-computed values, scalar Python and SpikingJelly."""
import math
import sys
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS

from respike_mmaction.models.neurons import (
    SPIKING_NEURONS,
    BaseNeuron,
    IFNeuron,
    LIFNeuron,
    ParametricLIFNeuron,
    build_neuron,
    build_surrogate,
)

sys.path.insert(0, str(Path(__file__).parent))
from reference import SURROGATES, gradients, scan  # noqa: E402

ALPHAS = dict(ATan=2., Sigmoid=4., PiecewiseQuadratic=1., Rectangular=1.)
CONFIGS = [
    dict(type='LIFNeuron'),
    dict(type='LIFNeuron', tau=2.5, v_threshold=0.7, v_reset=-0.3),
    dict(type='IFNeuron', v_reset=0.1),
    dict(type='ParametricLIFNeuron', init_tau=1.7, v_reset=-0.2)
]


def potentials(neuron, x):
    """V after every step, from streaming one step at a time."""
    v, out = None, []
    for x_t in x:
        _, v = neuron(x_t[None], v, return_v=True)
        out.append(v.item())
    return out


def test_hand_computed_lif():
    """tau 4/3, threshold 1, hard reset: H = 0.25 V + 0.75 X.

    ====  =====  ========  =====  ========
    step  X      H         S      V
    ====  =====  ========  =====  ========
    1     1      0.75      0      0.75
    2     1      0.9375    0      0.9375
    3     1      0.984375  0      0.984375
    4     2      1.746...  1      0
    5     -1     -0.75     0      -0.75
    6     4      2.8125    1      0
    7     4/3    1         1      0
    8     0.5    0.375     0      0.375
    ====  =====  ========  =====  ========
    """
    x = torch.tensor([1, 1, 1, 2, -1, 4, 4 / 3, .5], dtype=torch.float64)
    spikes = [0, 0, 0, 1, 0, 1, 1, 0]
    after = [.75, .9375, .984375, 0, -.75, 0, 0, .375]
    neuron = LIFNeuron()
    assert neuron(x, num_steps=8).tolist() == spikes
    assert potentials(neuron, x) == after
    # the same in float32: all of it is exact, and so is fl(4 / 3)
    assert neuron(x.float(), num_steps=8).tolist() == spikes
    assert potentials(neuron, x.float()) == after


def test_hand_computed_soft_reset():
    """tau 2, threshold 1: H = (V + X) / 2; a spike takes 1 off H."""
    x = torch.tensor([3, 1, 2, -2, 6], dtype=torch.float64)
    # H: 1.5, 0.75, 1.375, -0.8125, 2.59375
    neuron = LIFNeuron(tau=2., reset='soft')
    assert neuron(x, num_steps=5).tolist() == [1, 0, 1, 0, 1]
    assert potentials(neuron, x) == [.5, .75, .375, -.8125, 1.59375]


def test_hand_computed_integrate_and_fire():
    """H = V + X, threshold 1, back to -0.5 (the value before, too)."""
    x = torch.tensor([1, .25, .25, 1.5, -1], dtype=torch.float64)
    # H: 0.5, 0.75, 1, 1, -1.5
    neuron = IFNeuron(v_reset=-.5)
    assert neuron(x, num_steps=5).tolist() == [0, 0, 1, 1, 0]
    assert potentials(neuron, x) == [.5, .75, -.5, -.5, -1.5]


def test_hand_computed_gradient():
    """Two steps of the paper's neuron, loss = S_1 + S_2.

    H = (0.75, 0.9375), no spike, so dH_2 = g'(-1/16), dH_1 = g'(-1/4) +
    0.25 dH_2 and dX = 0.75 dH, with g'(u) = 1 / (1 + (pi u)^2).
    """
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    LIFNeuron()(x, num_steps=2).sum().backward()
    second = 1 / (1 + (math.pi / 16)**2)
    first = 1 / (1 + (math.pi / 4)**2) + 0.25 * second
    assert x.grad.tolist() == pytest.approx([0.75 * first, 0.75 * second],
                                            rel=1e-15)


@pytest.mark.parametrize('x, fires', [
    (4 / 3, True), (math.nextafter(4 / 3, 0), False), (-4 / 3, False)])
def test_fires_at_the_threshold(x, fires):
    """S = [H >= threshold]: one step fires from X = 4 / 3 on (DESIGN 2)."""
    x = torch.tensor([x], dtype=torch.float64)
    assert LIFNeuron()(x).item() == fires
    # 0.25 V + 0.75 X = 1 exactly, with V = 1/4 and X = 5/4
    v = torch.tensor([.25], dtype=torch.float64)
    assert LIFNeuron()(v.new_tensor([1.25]), v).item() == 1
    assert LIFNeuron()(v.new_tensor([1.25 - 2**-40]), v).item() == 0


@pytest.mark.parametrize('surrogate', SURROGATES)
@pytest.mark.parametrize('reset', ['hard', 'soft'])
@pytest.mark.parametrize('cfg', CONFIGS, ids=lambda c: c['type'])
def test_scalar_python(cfg, reset, surrogate):
    """Every step count from 1 to 16, forward and all gradients."""
    alpha = 1.3
    neuron = build_neuron(
        dict(cfg, reset=reset, surrogate=dict(type=surrogate, alpha=alpha),
             backend='torch')).double()
    learnt = isinstance(neuron, ParametricLIFNeuron)
    tau = (1 / neuron.w.sigmoid().item() if learnt else getattr(
        neuron, 'tau', None))
    args = tau, neuron.v_threshold, neuron.v_reset, reset
    for T in range(1, 17):
        x = (torch.randn(2 * T, dtype=torch.float64) * 1.5).requires_grad_()
        v = torch.randn(2, dtype=torch.float64).requires_grad_()
        grad, grad_v = torch.randn(2 * T).double(), torch.randn(2).double()
        neuron.zero_grad()
        spikes, v_last = neuron(x, v, num_steps=T, return_v=True)
        ((spikes * grad).sum() + (v_last * grad_v).sum()).backward()
        total = 0.
        for b in range(2):
            at = slice(b * T, b * T + T)
            _, s, last = scan(x[at].tolist(), v[b].item(), *args)
            assert spikes[at].tolist() == s
            assert v_last[b].item() == pytest.approx(last, abs=1e-12)
            grad_x, grad_v0, rate = gradients(
                x[at].tolist(), v[b].item(), *args, surrogate, alpha,
                grad[at].tolist(), grad_v[b].item())
            assert x.grad[at].tolist() == pytest.approx(grad_x, abs=1e-12)
            assert v.grad[b].item() == pytest.approx(grad_v0, abs=1e-12)
            total += rate
        if learnt:  # d(1 / tau) / dw = sigmoid'(w)
            k = 1 / tau
            assert neuron.w.grad.item() == pytest.approx(
                total * k * (1 - k), abs=1e-11)


@pytest.mark.parametrize('cfg', CONFIGS, ids=lambda c: c['type'])
@pytest.mark.parametrize('reset', ['hard', 'soft'])
def test_gradcheck_of_the_potential(cfg, reset):
    """The last potential is smooth in x, v and w but where a spike flips.

    With the reset detached and the spikes locally constant, its gradient is
    the true one: finite differences, without any surrogate, must agree.
    """
    neuron = build_neuron(dict(cfg, reset=reset, backend='torch')).double()
    x = (torch.randn(10, 3, dtype=torch.float64) * 3).requires_grad_()
    v = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    parameters = dict(neuron.named_parameters())

    def last(x, v, *values):
        return torch.func.functional_call(
            neuron, dict(zip(parameters, values, strict=True)), (x, v),
            dict(num_steps=5, return_v=True))[1]

    assert neuron(x, v, num_steps=5).any()
    assert torch.autograd.gradcheck(last, (x, v, *parameters.values()))


@pytest.mark.parametrize('name', SURROGATES)
def test_surrogates(name):
    """Formula, defaults, area, and the in-place form of kernels."""
    surrogate = build_surrogate(dict(type=name))
    assert surrogate.alpha == ALPHAS[name]
    surrogate = build_surrogate(dict(type=name, alpha=1.7))
    u = torch.randn(200, dtype=torch.float64)
    expected = [SURROGATES[name](z, 1.7) for z in u.tolist()]
    assert surrogate.derivative(u).tolist() == pytest.approx(expected)
    grad, out = torch.randn_like(u), u.clone()
    surrogate.backward_(out, grad, 0.75)
    torch.testing.assert_close(out, 0.75 * grad * surrogate.derivative(u))
    # a smooth step from 0 to 1: its slope has an area of 1
    wide = torch.linspace(-2e3, 2e3, 4_000_001).double()
    area = torch.trapezoid(surrogate.derivative(wide), wide)
    assert area.item() == pytest.approx(1, abs=1e-3)


def spikingjelly():
    pytest.importorskip('spikingjelly', reason='SpikingJelly is absent')
    return pytest.importorskip('spikingjelly.activation_based')


@pytest.mark.parametrize('name', [
    'ATan', 'Sigmoid', 'PiecewiseQuadratic'])
@pytest.mark.parametrize('reset', ['hard', 'soft'])
@pytest.mark.parametrize('cfg', CONFIGS, ids=lambda c: c['type'])
def test_spikingjelly(cfg, reset, name):
    """Equal spikes, potentials and gradients, alpha meaning the same."""
    spikingjelly()
    from spikingjelly.activation_based import neuron as theirs
    from spikingjelly.activation_based import surrogate as surrogates
    cfg = dict(cfg, reset=reset, surrogate=dict(type=name, alpha=1.5))
    if reset == 'soft':  # their soft reset knows no resting potential
        cfg['v_reset'] = 0.
    ours = build_neuron(cfg).double()
    args = dict(
        v_threshold=ours.v_threshold,
        v_reset=None if reset == 'soft' else ours.v_reset,
        surrogate_function=getattr(surrogates, name)(alpha=1.5),
        detach_reset=True,
        step_mode='m')
    node = dict(
        LIFNeuron=lambda: theirs.LIFNode(tau=ours.tau, **args),
        IFNeuron=lambda: theirs.IFNode(**args),
        ParametricLIFNeuron=lambda: theirs.ParametricLIFNode(
            init_tau=cfg['init_tau'], **args))[cfg['type']]().double()
    x = (torch.randn(4, 7, 9, dtype=torch.float64) * 1.5).requires_grad_()
    y = x.detach().transpose(0, 1).clone().requires_grad_()  # (T, B, N)
    out, v = ours(x.flatten(0, 1), num_steps=7, return_v=True)
    expected = node(y)
    grad = torch.randn_like(expected)
    assert out.any()
    assert torch.equal(out.view(4, 7, 9).transpose(0, 1), expected)
    torch.testing.assert_close(v, node.v)
    expected.backward(grad)
    out.backward(grad.transpose(0, 1).reshape(28, 9))
    torch.testing.assert_close(x.grad.transpose(0, 1), y.grad)
    for a, b in zip(ours.parameters(), node.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, check_dtype=False)


@pytest.mark.parametrize('cfg', CONFIGS, ids=lambda c: c['type'])
def test_streaming_equals_one_call(cfg):
    neuron = build_neuron(dict(cfg, backend='torch')).double()
    x = torch.randn(2, 6, 5, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    whole, v = neuron(x.flatten(0, 1), num_steps=6, return_v=True)
    state, parts = None, []
    for t in range(6):
        s, state = neuron(y[:, t], state, return_v=True)
        parts.append(s)
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)
    torch.testing.assert_close(state, v, rtol=0, atol=1e-15)
    grad = torch.randn_like(whole)
    ((whole * grad).sum() + v.sum()).backward()
    first = [p.grad.clone() for p in neuron.parameters()]
    neuron.zero_grad()
    ((torch.stack(parts, 1).flatten(0, 1) * grad).sum() +
     state.sum()).backward()
    torch.testing.assert_close(x.grad, y.grad)
    for a, p in zip(first, neuron.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)


def test_nothing_is_kept_between_calls():
    neuron = LIFNeuron()
    x = torch.full((3, 4), 1.)
    first = neuron(x, num_steps=3)
    assert torch.equal(neuron(x, num_steps=3), first)
    assert not neuron.state_dict() and not list(neuron.buffers())


@pytest.mark.parametrize('shape, memory_format', [
    ((6, 4, 3, 5), torch.contiguous_format),
    ((6, 4, 3, 5), torch.channels_last),
    ((6, 4, 2, 3, 5), torch.channels_last_3d)])
def test_memory_format_is_kept(shape, memory_format):
    x = torch.randn(shape).contiguous(memory_format=memory_format)
    neuron = LIFNeuron(backend='torch')
    leaf = x.clone().requires_grad_()
    out, v = neuron(leaf, num_steps=3, return_v=True)
    assert out.stride() == x.stride()
    assert v.is_contiguous(memory_format=memory_format)
    expected = neuron(x.contiguous(), num_steps=3)
    assert torch.equal(out, expected)
    grad = torch.randn(shape)
    out.backward(grad)
    assert leaf.grad.stride() == x.stride()
    other = x.contiguous().requires_grad_()
    neuron(other, num_steps=3).backward(grad)
    assert torch.equal(leaf.grad, other.grad)


def test_any_strides():
    """Slices, transposes and expanded gradients are read right."""
    base = torch.randn(3, 8, 12)
    neuron = LIFNeuron(backend='torch')
    for x in (base[:, ::2, 1:], base.transpose(1, 2),
              base[:, :1].expand(3, 8, 12), base.transpose(0, 1)[:6]):
        assert torch.equal(
            neuron(x, num_steps=3), neuron(x.clone(
                memory_format=torch.contiguous_format), num_steps=3))
    x = base.clone().requires_grad_()
    neuron(x, num_steps=3).sum().backward()  # the gradient is expanded
    y = base.clone().requires_grad_()
    neuron(y, num_steps=3).backward(torch.ones_like(base))
    assert torch.equal(x.grad, y.grad)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    x = torch.randn(12, 50).to(dtype)
    neuron = LIFNeuron(backend='torch')
    half = x.clone().requires_grad_()
    full = x.float().requires_grad_()
    out, v = neuron(half, num_steps=12, return_v=True)
    expected, v_full = neuron(full, num_steps=12, return_v=True)
    assert out.dtype == dtype and v.dtype == torch.float32
    assert torch.equal(out.float(), expected) and torch.equal(v, v_full)
    grad = torch.randn(12, 50).to(dtype)
    out.backward(grad)
    expected.backward(grad.float())
    torch.testing.assert_close(half.grad, full.grad.to(dtype))


def test_build():
    for name in SPIKING_NEURONS:
        neuron = build_neuron(dict(type=name, v_threshold=2.))
        assert type(neuron) is MODELS.get(name)
        assert neuron.v_threshold == 2. and isinstance(neuron, BaseNeuron)
        assert 'v_threshold=2.0' in repr(neuron)
    assert LIFNeuron().tau == 4 / 3 and LIFNeuron().decay() == 0.25
    w = ParametricLIFNeuron(init_tau=3.).double().w
    assert 1 / w.sigmoid().item() == pytest.approx(3., rel=1e-6)


@pytest.mark.parametrize('cfg, words', [
    (dict(type='PLIF'), "'PLIF'.*LIFNeuron, IFNeuron, ParametricLIFNeuron"),
    (dict(type='ResNet'), "'ResNet'.*LIFNeuron"),
    (dict(tau=2.), 'None.*LIFNeuron'),
    (dict(type='LIFNeuron', tau=1.), 'tau must be .*greater than 1, got 1'),
    (dict(type='LIFNeuron', tau=math.inf), 'tau must be finite'),
    (dict(type='ParametricLIFNeuron', init_tau=.5), 'init_tau .* got 0.5'),
    (dict(type='IFNeuron', reset='none'), r"\('hard', 'soft'\).*'none'"),
    (dict(type='IFNeuron', backend='cupy'), "'triton'.*'cupy'"),
    (dict(type='IFNeuron', v_reset=1.), 'v_threshold must be greater'),
    (dict(type='IFNeuron', surrogate=dict(type='Tanh')),
     "'Tanh'.*ATan, Sigmoid, PiecewiseQuadratic, Rectangular"),
    (dict(type='IFNeuron', surrogate=dict(type='ATan', alpha=0)),
     'positive, got 0')])
def test_bad_arguments(cfg, words):
    with pytest.raises(ValueError, match=words):
        build_neuron(cfg)


def test_bad_types():
    with pytest.raises(TypeError, match='must be a dict'):
        build_neuron('LIFNeuron')
    with pytest.raises(TypeError, match='takes alpha only.*beta'):
        LIFNeuron(surrogate=dict(type='ATan', beta=2.))
    with pytest.raises(TypeError, match="got 'ATan'"):
        LIFNeuron(surrogate='ATan')
    with pytest.raises(TypeError, match='floating point.*int64'):
        LIFNeuron()(torch.ones(3, 2, dtype=torch.int64))


def test_bad_inputs():
    with pytest.raises(ValueError, match=r'\(4, 2\) and num_steps=3'):
        LIFNeuron()(torch.ones(4, 2), num_steps=3)
    with pytest.raises(ValueError, match='num_steps=0'):
        LIFNeuron()(torch.ones(4, 2), num_steps=0)
    with pytest.raises(ValueError, match=r'v must .* \(2, 2\), got \(4, 2\)'):
        LIFNeuron()(torch.ones(4, 2), torch.ones(4, 2), num_steps=2)


def test_second_derivative_is_refused():
    """The surrogate has none: silence would be a wrong gradient."""
    x = torch.randn(3, 2, requires_grad=True)
    grad, = torch.autograd.grad(
        LIFNeuron()(x, num_steps=3).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()
