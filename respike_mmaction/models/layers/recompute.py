"""Activation recomputation that leaves running statistics alone."""
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` and keep its inputs instead of what it computed.

    Backward runs it again, up to the last tensor that its gradient needs: in
    BatchNorm - neuron - convolution the convolution itself is not repeated.
    Without gradients, and under ``torch.compile`` (whose partitioner decides
    itself what to compute again), this is a plain call.

    Args:
        function (Callable): A function of tensors, free of side effects but
            for the running statistics of ``StepBatchNorm2d`` and of what
            :func:`freeze_when_recomputed` was given, which move once.
        *args: Its arguments.
        **kwargs: Options of :func:`torch.utils.checkpoint.checkpoint`, such
            as ``preserve_rng_state=False`` for a function without dropout.

    Returns:
        Tensor: What the function returns.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function(*args)
    return checkpoint(function, *args, use_reentrant=False, **kwargs)


def is_recomputing() -> bool:
    """Whether this thread is within backward.

    Layers are called there by activation checkpointing only, ours, that of
    MMAction2's backbones (``with_cp``) and of MMEngine alike.
    """
    # the same that torch.utils.checkpoint asks; a compiler repeats no call
    return (not torch.compiler.is_compiling()
            and torch._C._current_graph_task_id() != -1)


def freeze_when_recomputed(module: nn.Module) -> None:
    """Let no BatchNorm in a module move its statistics in a second forward.

    PyTorch's layers move them in each forward in training mode, in one that
    activation checkpointing repeats in backward, too.

    Args:
        module (nn.Module): The module; its layers get forward hooks.
    """
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.register_forward_pre_hook(_lay_statistics_aside)
            layer.register_forward_hook(_put_statistics_back,
                                        always_call=True)


def _lay_statistics_aside(layer: Any, _: Any) -> None:
    if layer.training and is_recomputing():
        layer._laid_aside = dict(layer._buffers)
        # copies: checkpointing must see the same tensors saved again
        layer._buffers.update({
            name: None if buffer is None else buffer.clone()
            for name, buffer in layer._buffers.items()
        })


def _put_statistics_back(layer: Any, *_: Any) -> None:
    if hasattr(layer, '_laid_aside'):
        layer._buffers.update(layer._laid_aside)
        del layer._laid_aside
