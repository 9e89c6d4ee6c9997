import pytest
import torch
import torch.nn.functional as F

from respike_mmaction.models.layers import average_pool


def by_hand(x, size):
    """Means of windows, smaller ones at the far borders."""
    rows = [torch.stack([w.mean((2, 3)) for w in row.split(size, dim=3)], 2)
            for row in x.split(size, dim=2)]
    return torch.stack(rows, 2)


@pytest.mark.parametrize('size', [2, 4])
@pytest.mark.parametrize('shape', [(2, 3, 8, 12), (2, 3, 7, 13), (1, 3, 3, 5)])
@pytest.mark.parametrize('memory_format', [
    torch.contiguous_format, torch.channels_last])
def test_values_gradient_and_memory_format(shape, size, memory_format):
    x = torch.randn(shape, dtype=torch.float64).contiguous(
        memory_format=memory_format).requires_grad_()
    out = average_pool(x, size)
    expected = by_hand(x, size)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    assert out.is_contiguous(memory_format=memory_format)
    weight = torch.randn_like(out)
    grad, = torch.autograd.grad((out * weight).sum(), x)
    expected, = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-12)


def test_nothing_is_kept_for_backward():
    def kept(pool):
        found = []
        with torch.autograd.graph.saved_tensors_hooks(
                lambda t: found.append(t) or t, lambda t: t):
            pool(torch.randn(1, 3, 8, 8, requires_grad=True), 2)
        return found

    assert kept(F.avg_pool2d)  # PyTorch's keeps the map
    assert not kept(average_pool)
