import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from respike_mmaction.models.layers import StepBatchNorm2d

FORMATS = [torch.contiguous_format, torch.channels_last]


def one_after_another(norm, x, num_steps):
    """The definition: BatchNorm2d sees one step at a time."""
    steps = [norm(x[t::num_steps]) for t in range(num_steps)]
    return torch.stack(steps, 1).flatten(0, 1)


def pair(num_steps, dtype=torch.float64, **kwargs):
    """Our layer and torch's, with equal random parameters."""
    norm = StepBatchNorm2d(5, num_steps, **kwargs).to(dtype)
    kwargs.pop('statistics', None)
    reference = nn.BatchNorm2d(5, **kwargs).to(dtype)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    reference.load_state_dict(norm.state_dict())
    return norm, reference


def inputs(num_steps, memory_format, dtype=torch.float64, mean=1.):
    x = torch.randn(4 * num_steps, 5, 6, 7, dtype=torch.float64) * 3 + mean
    # steps differ, or a mistaken step would go unseen
    x = x * torch.arange(1., 4 * num_steps + 1)[:, None, None, None]
    return x.to(dtype).contiguous(memory_format=memory_format)


def compare(norm, reference, num_steps, x, tolerance):
    x, y = (x.clone().requires_grad_() for _ in range(2))
    out = norm(x)
    expected = one_after_another(reference, y, num_steps)
    grad = torch.randn_like(expected)
    out.backward(grad)
    expected.backward(grad)
    assert out.dtype == expected.dtype and out.stride() == x.stride()
    pairs = [(out, expected), (x.grad, y.grad)]
    pairs += [(a.grad, b.grad) for a, b in zip(
        norm.parameters(), reference.parameters(), strict=True)]
    pairs += list(zip(norm.buffers(), reference.buffers(), strict=True))
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('num_steps', [1, 2, 3, 15])
@pytest.mark.parametrize('kwargs', [
    dict(), dict(momentum=0.37, eps=1e-3), dict(momentum=None),
    dict(affine=False), dict(track_running_stats=False)
], ids=str)
def test_equals_the_steps_one_after_another(num_steps, memory_format, kwargs):
    norm, reference = pair(num_steps, **kwargs)
    for _ in range(2):  # running statistics from a start that is not 0 and 1
        norm.zero_grad()
        reference.zero_grad()
        compare(norm, reference, num_steps, inputs(num_steps, memory_format),
                1e-12)
    norm.eval()
    reference.eval()
    x = inputs(num_steps, memory_format)
    if norm.track_running_stats:
        torch.testing.assert_close(norm(x), reference(x))


@pytest.mark.parametrize('memory_format', FORMATS)
def test_float32_with_a_mean_far_from_zero(memory_format):
    """Variances are of centred values: no cancellation."""
    norm, reference = pair(3, torch.float32)
    x = inputs(3, memory_format, torch.float32, mean=300.)
    y = one_after_another(reference.double(), x.double(), 3)
    out = norm(x)
    assert (out - y).abs().max() < 2e-4 * y.abs().max()
    torch.testing.assert_close(
        norm.running_var.double(), reference.running_var, rtol=1e-4, atol=0)


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_input_has_float32_statistics(dtype, memory_format):
    norm, reference = pair(3, torch.float32)
    x = torch.randn(12, 5, 6, 7).to(dtype).contiguous(
        memory_format=memory_format)
    out, expected = norm(x), one_after_another(reference, x, 3)
    assert out.dtype == dtype and out.stride() == x.stride()
    torch.testing.assert_close(out, expected)
    assert norm.running_mean.dtype == torch.float32
    torch.testing.assert_close(norm.running_mean, reference.running_mean)
    torch.testing.assert_close(norm.running_var, reference.running_var)


@pytest.mark.parametrize('memory_format', FORMATS)
def test_half_precision_gradients(memory_format):
    """As near to the exact gradient as bfloat16 values allow."""
    norm, reference = pair(3, torch.float32)
    x = torch.randn(12, 5, 6, 7).to(torch.bfloat16)
    g = torch.randn_like(x)
    y = x.double().requires_grad_()
    x = x.contiguous(memory_format=memory_format).requires_grad_()
    one_after_another(reference.double(), y, 3).backward(g.double())
    norm(x).backward(g)
    torch.testing.assert_close(x.grad.double(), y.grad, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(
        norm.weight.grad.double(), reference.weight.grad, rtol=1e-4,
        atol=1e-4)


@pytest.mark.parametrize('memory_format', FORMATS)
def test_gradcheck(memory_format):
    norm, _ = pair(2, momentum=0.)
    x = torch.randn(6, 5, 2, 3, dtype=torch.float64).contiguous(
        memory_format=memory_format).requires_grad_()

    def function(x, weight, bias):
        return torch.func.functional_call(
            norm, dict(weight=weight, bias=bias), (x, ))

    assert torch.autograd.gradcheck(
        function, (x, norm.weight, norm.bias), atol=1e-6)


@pytest.mark.parametrize('num_steps', [1, 3])
def test_shared_statistics_are_torchs_own(num_steps):
    norm, reference = pair(num_steps, statistics='shared')
    x = inputs(num_steps, torch.channels_last)
    assert torch.equal(norm(x), reference(x))
    for a, b in zip(norm.buffers(), reference.buffers(), strict=True):
        assert torch.equal(a, b)


def test_per_step_and_shared_differ():
    x = inputs(3, torch.contiguous_format)
    per_step = StepBatchNorm2d(5, 3).double()(x)
    shared = StepBatchNorm2d(5, 3, 'shared').double()(x)
    assert (per_step - shared).abs().max() > 0.1


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('num_steps, statistics', [
    (1, 'per_step'), (3, 'per_step'), (3, 'shared')])
@pytest.mark.parametrize('use_reentrant', [False, True])
def test_any_checkpointing_moves_statistics_once(num_steps, statistics,
                                                 memory_format,
                                                 use_reentrant):
    norm, _ = pair(num_steps, statistics=statistics)
    plain = copy.deepcopy(norm)
    x = inputs(num_steps, memory_format).requires_grad_()
    y = x.detach().clone().requires_grad_()
    plain(x).square().sum().backward()
    checkpoint(norm, y, use_reentrant=use_reentrant).square().sum().backward()
    assert torch.equal(y.grad, x.grad)
    for a, b in zip(norm.buffers(), plain.buffers(), strict=True):
        assert torch.equal(a, b)
    norm(y)  # and moves them again after backward
    assert norm.num_batches_tracked == 2 * plain.num_batches_tracked > 0


def test_without_running_statistics_eval_is_per_step():
    norm, reference = pair(3, track_running_stats=False)
    norm.eval()
    reference.eval()
    x = inputs(3, torch.contiguous_format)
    torch.testing.assert_close(
        norm(x), one_after_another(reference, x, 3), rtol=1e-12, atol=1e-12)


def test_state_dict_is_that_of_batch_norm():
    norm, reference = pair(3)
    assert norm.state_dict().keys() == reference.state_dict().keys()


@pytest.mark.parametrize('kwargs, words', [
    (dict(statistics='step'), "'per_step', 'shared'.*'step'"),
    (dict(num_steps=0), 'at least 1, got 0')])
def test_bad_arguments(kwargs, words):
    with pytest.raises(ValueError, match=words):
        StepBatchNorm2d(5, **kwargs)


@pytest.mark.parametrize('shape, words', [
    ((4, 5, 2, 2), r'multiple of num_steps.*\(4, 5, 2, 2\).*num_steps=3'),
    ((3, 5, 1, 1), 'more than one value'), ((3, 5, 2), 'expected 4D')])
def test_bad_inputs(shape, words):
    with pytest.raises(ValueError, match=words):
        StepBatchNorm2d(5, 3)(torch.randn(shape))


@pytest.mark.parametrize('memory_format', FORMATS)
def test_under_torch_compile(memory_format):
    """Traced without a graph break; aot_eager needs no C++ compiler."""
    norm, reference = pair(3)
    compiled = torch.compile(norm, fullgraph=True, backend='aot_eager')
    x = inputs(3, memory_format)
    out = compiled(x)
    torch.testing.assert_close(
        out, one_after_another(reference, x, 3), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm.running_var, reference.running_var,
                               rtol=1e-12, atol=1e-12)
