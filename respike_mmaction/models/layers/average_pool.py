"""Average pooling that does not keep its input."""
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def average_pool(x: Tensor, size: int) -> Tensor:
    """Mean of every ``size`` x ``size`` window, as the paper's plain pooling.

    PyTorch keeps the pooled map for backward, of which it needs the shape
    alone; here nothing is kept. Where ``size`` does not divide the map, the
    last windows are smaller.

    Args:
        x (Tensor): Map, (N, C, H, W).
        size (int): Height, width and stride of a window.

    Returns:
        Tensor: (N, C, ceil(H / size), ceil(W / size)).
    """
    if torch.compiler.is_compiling():
        return _pool(x, size)  # a compiler decides itself what to keep
    return _AveragePool.apply(x, size)


def _pool(x: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(x, size, ceil_mode=True, count_include_pad=False)


class _AveragePool(torch.autograd.Function):

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, size: int) -> Tensor:
        channels_last = (not x.is_contiguous() and x.is_contiguous(
            memory_format=torch.channels_last))
        ctx.shape, ctx.size = x.shape, size
        ctx.memory_format = (torch.channels_last if channels_last else
                             torch.contiguous_format)
        return _pool(x, size)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        # never read
        x = torch.empty(ctx.shape, dtype=grad.dtype, device=grad.device,
                        memory_format=ctx.memory_format)
        return torch.ops.aten.avg_pool2d_backward(
            grad.contiguous(memory_format=ctx.memory_format), x,
            [ctx.size] * 2, [ctx.size] * 2, [0, 0], True, False, None), None
