"""Activation recomputation that leaves running statistics alone."""
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from .step_batch_norm import frozen_running_statistics, kept_statistics


def _contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
    # the second pass through a BatchNorm sees the same batch once more
    statistics = []
    return kept_statistics(statistics), frozen_running_statistics(statistics)


def recompute(function: Callable[..., torch.Tensor], *args: torch.Tensor,
              **kwargs: Any) -> torch.Tensor:
    """Call ``function`` and keep its inputs instead of what it computed.

    Backward runs it again, up to the last tensor that its gradient needs: in
    BatchNorm - neuron - convolution the convolution itself is not repeated.
    Without gradients, and under ``torch.compile`` (whose partitioner decides
    itself what to compute again), this is a plain call.

    Args:
        function (Callable): A function of tensors, free of side effects but
            for the running statistics of BatchNorm layers, which move once.
        *args: Its arguments.
        **kwargs: Options of :func:`torch.utils.checkpoint.checkpoint`, such
            as ``preserve_rng_state=False`` for a function without dropout.

    Returns:
        Tensor: What the function returns.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function(*args)
    return checkpoint(
        function, *args, use_reentrant=False, context_fn=_contexts, **kwargs)
