"""Exact synaptic operations: every spike times its true fan-out."""
import torch
from torch import Tensor


def _axis_fan_out(size: int, out_size: int, kernel: int, stride: int,
                  padding: int, dilation: int, transposed: bool) -> Tensor:
    """Output positions that each input position reaches along one axis.

    Input i reaches output o of a convolution through tap k if
    i = o stride + k dilation - padding; of a transposed one if
    o = i stride + k dilation - padding. Gives (size, ), int64.
    """
    far, near = (size, out_size) if transposed else (out_size, size)
    taps = torch.arange(kernel) * dilation - padding
    reached = torch.arange(far)[:, None] * stride + taps  # (far, kernel)
    inside = (reached >= 0) & (reached < near)
    if transposed:
        return inside.sum(1)
    return torch.bincount(reached[inside], minlength=size)


def convolution_synaptic_operations(spikes: Tensor, weight: Tensor,
                                    out_shape: torch.Size, stride: list[int],
                                    padding: list[int], dilation: list[int],
                                    transposed: bool, groups: int) -> int:
    """Accumulations that spikes cause in a convolution of 1 to 3 axes.

    The fan-out of a spike is the product of its fan-outs along the axes
    (smaller at the borders and between strides) and the output channels of
    its group.

    Args:
        spikes (Tensor): Input, (B, C, ...), zero where no spike is.
        weight (Tensor): (C_out, C / groups, ...), or (C, C_out / groups, ...)
            if transposed.
        out_shape (torch.Size): Shape of the output.
        stride (list[int]): Stride along each axis, or one for all.
        padding (list[int]): Padding, likewise.
        dilation (list[int]): Dilation, likewise.
        transposed (bool): Whether the convolution is a transposed one.
        groups (int): Groups of channels.

    Returns:
        int: Number of accumulations.
    """
    axes = spikes.ndim - 2
    # whole numbers in float64 are exact up to 2^53
    reached = (spikes != 0).sum((0, 1)).double()
    for axis in range(axes - 1, -1, -1):  # the last axis of what is left
        step, pad, spread = (values[axis % len(values)]
                             for values in (stride, padding, dilation))
        fan_out = _axis_fan_out(spikes.shape[2 + axis], out_shape[2 + axis],
                               weight.shape[2 + axis], step, pad, spread,
                               transposed)
        reached = reached @ fan_out.to(reached)
    channels = weight.shape[1] if transposed else weight.shape[0] // groups
    return int(reached.item()) * channels


def matmul_synaptic_operations(left: Tensor, right: Tensor,
                               left_spikes: bool, right_spikes: bool) -> int:
    """Accumulations of (..., n, k) @ (..., k, m) with spikes on a side.

    Args:
        left (Tensor): (..., n, k).
        right (Tensor): (..., k, m).
        left_spikes (bool): Whether the left factor is spikes.
        right_spikes (bool): Whether the right factor is spikes. With spikes
            on both sides only meeting spikes count.

    Returns:
        int: Number of accumulations.
    """

    def active(x: Tensor, axis: int, is_spikes: bool) -> Tensor:
        if is_spikes:
            return (x != 0).sum(axis).double()
        shape = list(x.shape)
        size = shape.pop(axis)
        return x.new_full(shape, size, dtype=torch.float64)

    rows = active(left, -2, left_spikes)  # (..., k)
    columns = active(right, -1, right_spikes)  # (..., k)
    return int((rows * columns).sum().item())
