"""What is known of streams between two frames: a value."""
from collections.abc import Callable
from typing import Any, TypedDict

import torch
from torch import Tensor
from torch.utils._pytree import tree_map


class StreamState(TypedDict):
    """All that is known of N streams; a plain value, never changed in place.

    Tensors and tuples of them only, so ``torch.load(weights_only=True)``
    reads what ``torch.save`` wrote. What depends on the size of frames is
    empty before the first one.

    Keys:
        position: Frames of the current group so far, (N, ); 0: the next one
            is a key frame.
        reference: What the next residual is taken to, (N, C, H, W) uint8.
        keys_values: Keys and values of the current key frame by stage, None
            where a stage is not fused.
        pooled_key: Its last map, pooled, (N, C').
        potentials: Membrane potentials; empty at rest.
        pooled_spikes: Pooled last spiking maps of the group, added up, (N, C).
        logits: Of the last K whole groups, newest last, (N, K, classes).
        groups: How many of these there are, (N, ).
    """

    position: Tensor
    reference: Tensor
    keys_values: Any
    pooled_key: Tensor
    potentials: tuple[Tensor, ...]
    pooled_spikes: Tensor
    logits: Tensor
    groups: Tensor


def map_streams(function: Callable, *trees: Any) -> Any:
    """Change every tensor of a state, or of a part of one.

    Args:
        function (Callable): Of a tensor with N streams in front.
        *trees: The state; with others of the same keys, each gives an
            argument. What is empty or None stays so.

    Returns:
        The tree of the results.
    """
    return tree_map(
        lambda x, *rest: x if x is None or not len(x) else
        function(x, *rest), *trees)


def put_streams(state: Any, rows: Tensor, new: Any,
                rest: float) -> Any:
    """A state with some of its streams replaced.

    Args:
        state (StreamState): Of N streams; is not changed.
        rows (Tensor): Which are replaced, (N, ) bool.
        new (StreamState): State of those.
        rest (float): The resting potential.

    Returns:
        StreamState: The new state.
    """

    def put(value: Tensor, old: Tensor | None = None) -> Tensor:
        if old is None or not len(old):
            old = value.new_full((len(rows), *value.shape[1:]), rest)
        old = old.clone()
        old[rows] = value
        return old

    merged = {}
    for name, value in new.items():
        old = state[name]
        if isinstance(value, tuple) and not value:  # potentials, at rest
            value = map_streams(lambda x: torch.full_like(x[rows], rest), old)
        unknown = isinstance(old, tuple) and not old
        merged[name] = map_streams(put, value, *([] if unknown else [old]))
    return merged
