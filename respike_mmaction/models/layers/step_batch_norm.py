"""BatchNorm over folded steps, with the batch statistics of every step."""
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .recompute import is_recomputing

STATISTICS = ('per_step', 'shared')


class StepBatchNorm2d(nn.BatchNorm2d):
    r"""BatchNorm2d over (B * S, C, H, W), step fastest.

    With ``statistics='per_step'`` training computes what
    :class:`torch.nn.BatchNorm2d` computes on the S steps one after another:
    step t is normalised by the mean and variance of its own (B, C, H, W),
    and the running statistics r move S times,

    .. math::
        r \leftarrow (1 - m)^S r + \sum_{t=1}^{S} m (1 - m)^{S - t} x_t ,

    with m the momentum and :math:`x_t` the mean or unbiased variance of
    step t. All steps are normalised at once, in the memory format of the
    input. In eval mode it is BatchNorm2d, and it has the same state_dict.
    A forward that activation checkpointing repeats in backward leaves the
    running statistics alone.

    Where others would replace the layer by :class:`torch.nn.SyncBatchNorm`
    (``sync_bn`` of MMEngine), :meth:`synchronize` keeps it: mean and variance
    of a step are then those of all processes.

    Args:
        num_features (int): Number of channels C.
        num_steps (int): Number of steps S. Defaults to 1.
        statistics (str): 'per_step' (the published training), or 'shared',
            one mean and variance over all steps, as in tdBN (Zheng et al.,
            AAAI 2021). Defaults to 'per_step'.
        **kwargs: Arguments of :class:`torch.nn.BatchNorm2d`.

    Raises:
        ValueError: If an argument is outside of its allowed values.
    """

    def __init__(self,
                 num_features: int,
                 num_steps: int = 1,
                 statistics: str = 'per_step',
                 **kwargs: Any) -> None:
        super().__init__(num_features, **kwargs)
        if statistics not in STATISTICS:
            raise ValueError(f'statistics must be one of {STATISTICS}, got '
                             f'{statistics!r}')
        if num_steps < 1:
            raise ValueError(f'num_steps must be at least 1, got '
                             f'{num_steps!r}')
        self.num_steps = num_steps
        self.statistics = statistics
        self.synchronized = False
        self.process_group: dist.ProcessGroup | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise.

        Args:
            x (Tensor): (B * S, C, H, W), step fastest, contiguous or
                channels_last.

        Returns:
            Tensor: Like ``x``.

        Raises:
            ValueError: If ``x`` has not this shape, or a single value per
                channel and step in training.
        """
        S = self.num_steps if self.statistics == 'per_step' else 1
        synchronized = self.training and self._num_processes() > 1
        recomputing = is_recomputing()
        if not (self.training or self.running_mean is None) or (
                S == 1 and not synchronized and not recomputing):
            return super().forward(x)
        self._check_input_dim(x)
        N, C, H, W = x.shape
        if N % S:
            raise ValueError(
                f'the batch of x must be a multiple of num_steps, got the '
                f'shape {tuple(x.shape)} and num_steps={S}')
        count: int | Tensor = N // S * H * W
        if count <= 1 and not synchronized:
            raise ValueError('training needs more than one value per channel '
                             f'and step, got the shape {tuple(x.shape)}')
        if synchronized:
            y, mean, var, count = _normalize_together(
                x, self.weight, self.bias, S, self.eps, self.process_group)
        elif S == 1:
            # on copies: checkpointing must see the same tensors saved again
            running_mean, running_var = (
                None if r is None else r.clone()
                for r in (self.running_mean, self.running_var))
            return F.batch_norm(x, running_mean, running_var, self.weight,
                                self.bias, True, 0., self.eps)
        else:
            y, mean, var = _normalize(x, self.weight, self.bias, S, self.eps)
        if self.training and self.track_running_stats and not recomputing:
            self._track(mean, var, count)
        return y

    def synchronize(self,
                    process_group: dist.ProcessGroup | None = None) -> None:
        """Take training statistics over all processes from now on.

        Every process gives batches of one size: activation checkpointing
        looks at it, and a reduction is a call of all processes.

        Args:
            process_group (ProcessGroup, optional): Those that take part.
                Defaults to None: all.
        """
        self.synchronized = True
        self.process_group = process_group

    def mean_over_processes(self, value: Tensor) -> Tensor:
        """Mean of a value over the processes that share statistics."""
        processes = self._num_processes()
        if processes > 1:
            value = value.clone()
            dist.all_reduce(value, group=self.process_group)
        return value / processes

    def _num_processes(self) -> int:
        if not (self.synchronized and dist.is_available()
                and dist.is_initialized()):
            return 1
        return dist.get_world_size(self.process_group)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: int | Tensor) -> None:
        """Move the running statistics by mean and biased var (S, C)."""
        S, m = len(mean), self.momentum
        if m is None:  # cumulative average over all batches
            tracked = float(self.num_batches_tracked or 0)
            keep, shares = tracked / (tracked + S), [1 / (tracked + S)] * S
        else:
            keep = (1 - m)**S
            shares = [m * (1 - m)**(S - 1 - t) for t in range(S)]
        assert self.running_mean is not None
        assert self.running_var is not None
        for running, steps, scale in ((self.running_mean, mean, 1.),
                                      (self.running_var, var,
                                       count / (count - 1))):
            running.mul_(keep)
            for share, step in zip(shares, steps, strict=True):
                running.add_((step * scale).to(running.dtype), alpha=share)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += S

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return (f'{super().extra_repr()}, num_steps={self.num_steps}, '
                f'statistics={self.statistics!r}, '
                f'synchronized={self.synchronized}')


def _normalize(x: Tensor, weight: Tensor | None, bias: Tensor | None,
               S: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise every step; also its mean and biased variance (S, C)."""
    N, C, H, W = x.shape
    if x.is_contiguous() or not x.is_contiguous(
            memory_format=torch.channels_last):
        # to BatchNorm the steps are so many channels more
        mean = x.new_zeros(S * C, dtype=_stat_dtype(x))
        var = torch.ones_like(mean)
        weight, bias = (None if p is None else p.to(mean.dtype).repeat(S)
                        for p in (weight, bias))
        y = F.batch_norm(
            x.reshape(N // S, S * C, H, W), mean, var, weight, bias, True,
            1.0, eps)
        count = N // S * H * W
        return (y.view(N, C, H, W), mean.view(S, C),
                var.view(S, C) * ((count - 1) / count))
    if x.device.type == 'cpu' and not torch.compiler.is_compiling():
        weight, bias = _affine(x, weight, bias)
        return _ChannelsLastNorm.apply(x, weight, bias, S, eps)
    # left to the compiler, or to CUDA's own kernels
    mean, var = _step_statistics(x, S)
    return _affine_steps(x, mean, var, weight, bias, eps), mean, var


def _step_statistics(x: Tensor, S: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (S, C) of x (B * S, C, H, W)."""
    z = x.to(_stat_dtype(x)).unflatten(0, (-1, S))  # (B, S, C, H, W)
    var, mean = torch.var_mean(z, (0, 3, 4), correction=0)
    return mean, var


def _affine(x: Tensor, weight: Tensor | None,
            bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight and bias (C), 1 and 0 where there are none."""
    C, dtype = x.shape[1], _stat_dtype(x)
    return (x.new_ones(C, dtype=dtype) if weight is None else weight,
            x.new_zeros(C, dtype=dtype) if bias is None else bias)


def _affine_steps(x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None,
                  bias: Tensor | None, eps: float) -> Tensor:
    """Normalise each step by its mean and variance (S, C)."""
    weight, bias = _affine(x, weight, bias)
    scale = weight * (var + eps).rsqrt()
    shift = bias - mean * scale
    z = x.to(mean.dtype).unflatten(0, (-1, len(mean)))  # (B, S, C, H, W)
    y = torch.addcmul(shift[..., None, None], z, scale[..., None, None])
    return y.flatten(0, 1).to(x.dtype)


def _normalize_together(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, S: int,
        eps: float, group: dist.ProcessGroup | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalise every step over all processes; also statistics and count.

    One reduction brings a table of every process's mean, variance and
    number of values, which are combined exactly (Chan et al., 1983).
    """
    mean, var = _step_statistics(x, S)
    count = mean.new_full((1, ), x.numel() // mean.numel())
    row = torch.cat((mean.flatten(), var.flatten(), count))
    rank, processes = dist.get_rank(group), dist.get_world_size(group)
    table = _SumOverProcesses.apply(
        F.pad(row[None], (0, 0, rank, processes - 1 - rank)), group)
    means, variances = table[:, :-1].view(processes, 2, *mean.shape).unbind(1)
    counts = table[:, -1].detach()
    share = (counts / counts.sum())[:, None, None]
    mean = (share * means).sum(0)
    var = (share * (variances + (means - mean).square())).sum(0)
    y = _affine_steps(x, mean, var, weight, bias, eps)
    return y, mean, var, counts.sum()


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over processes, and of its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor,
                group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        x = x.clone()
        dist.all_reduce(x, group=group)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad, group=ctx.group)
        return grad, None


def _stat_dtype(x: Tensor) -> torch.dtype:
    """Statistics of half precision are taken in float32."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _steps(x: Tensor, S: int) -> Tensor:
    """(B * S, C, H, W) in channels_last as (B, S, H * W, C), a view."""
    N, C, H, W = x.shape
    return x.permute(0, 2, 3, 1).view(N // S, S, H * W, C)


def _image_statistics(x: Tensor, S: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (S, C), image by image."""
    # left alone by a momentum of 0; the statistics are of their dtype
    none = x.new_zeros(x.shape[1], dtype=_stat_dtype(x))
    parts = [
        torch.batch_norm_update_stats(image, none, none, 0.)
        for image in x.split(1)
    ]
    means, variances = (
        torch.stack(z).unflatten(0, (-1, S))
        for z in zip(*parts, strict=True))  # (B, S, C)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square_().mean(0)


class _ChannelsLastNorm(torch.autograd.Function):
    """Per-step BatchNorm in channels_last on a CPU.

    The channels of a step are not contiguous over the batch, so that no
    BatchNorm kernel reads them at once. Each image is reduced on its own by
    PyTorch's kernels (which take channels_last images), and the images'
    statistics are combined exactly (Chan et al., 1983). What remains is one
    multiply-add a value, from vectors (S, C).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor,
                S: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        mean, var = _image_statistics(x, S)
        y = torch.empty_like(x)
        if x.dtype == mean.dtype:
            scale = weight * (var + eps).rsqrt()
            shift = torch.addcmul(bias, mean, scale, value=-1)
            for source, target in zip(_steps(x, S), _steps(y, S),
                                      strict=True):
                torch.addcmul(shift[:, None], source, scale[:, None],
                              out=target)
        else:  # that of eval mode casts on the way
            none = mean.new_empty(0)
            affine = weight.to(mean.dtype), bias.to(mean.dtype)
            for i, (image, target) in enumerate(
                    zip(x.split(1), y.split(1), strict=True)):
                torch.native_batch_norm(
                    image, *affine, mean[i % S], var[i % S], False, 0., eps,
                    out=(target, none, none))
        ctx.save_for_backward(x, weight, mean, var)
        ctx.args = S, eps
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple:
        x, weight, mean, var = ctx.saved_tensors
        S, eps = ctx.args
        dtype = mean.dtype
        grad = grad.contiguous(memory_format=torch.channels_last)
        # sums of g (x - mean) / std and of g, by the backward of eval mode
        sums = [
            torch.ops.aten.native_batch_norm_backward(
                g, image, None, mean[i % S], var[i % S], None, None, False,
                eps, [False, True, True])[1:]
            for i, (g, image) in enumerate(
                zip(grad.split(1), x.split(1), strict=True))
        ]
        grad_weight, grad_bias = (
            torch.stack(z).unflatten(0, (-1, S)).sum(0)
            for z in zip(*sums, strict=True))  # (S, C)
        # dx = scale (g - mean(g) - xhat mean(g xhat)), as a multiply-add
        count = x.numel() // (S * mean.shape[1])
        inverse = (var + eps).rsqrt()
        scale = weight * inverse
        slope = scale * inverse * grad_weight / -count
        shift = scale * grad_bias / -count - slope * mean
        grad_x = torch.empty_like(x)
        for source, g, target in zip(
                *(_steps(z, S) for z in (x, grad, grad_x)), strict=True):
            out = target if x.dtype == dtype else torch.empty_like(
                target, dtype=dtype)
            torch.addcmul(shift[:, None], source.to(dtype), slope[:, None],
                          out=out)
            out.addcmul_(g.to(dtype), scale[:, None])
            if out is not target:
                target.copy_(out)
        return (grad_x, grad_weight.sum(0).to(weight.dtype),
                grad_bias.sum(0).to(weight.dtype), None, None)
