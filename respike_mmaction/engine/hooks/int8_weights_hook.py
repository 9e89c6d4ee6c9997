"""Training for inference in eight bits."""
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from ...models.layers.int8_spike_conv import round_to_int8
from ...models.layers.spiking_block import spiking_blocks
from ..unwrapped import model_of

KEPT = 'unrounded_weights'  # in a checkpoint


@HOOKS.register_module()
class Int8WeightsHook(Hook):
    r"""Train with weights of eight bits where spikes are convolved.

    Whoever runs the network computes with rounded weights (see
    :class:`~respike_mmaction.models.layers.int8_spike_conv.Int8SpikeConv2d`),
    of training, validation and checkpoints alike. Gradients are added to the
    weights before rounding, which the hook keeps (the straight-through
    estimator of BinaryConnect, arXiv 1511.00363):

    .. math::
        W \leftarrow W - \eta \, \nabla L(\mathrm{round}(W))

    A network trained like this has the same spikes after
    ``accelerate(spikes='int8')``, but for what float32 sums differ by, where
    another one loses answers that were close calls. A BatchNorm behind the
    convolution scales whole output channels, which takes no weight off its
    grid.

    ``default_hooks = dict(int8_weights=dict(type='Int8WeightsHook'))``
    """

    def __init__(self) -> None:
        self._unrounded: dict[str, Tensor] = {}
        self._loaded: dict[str, Tensor] = {}
        self._weights: dict[str, nn.Parameter] = {}
        self._handles: list[Any] = []

    def before_run(self, runner: Runner) -> None:
        """Refuse what takes weights off their grid.

        Args:
            runner (Runner): The runner.

        Raises:
            ValueError: If the run averages weights, or has no spikes.
        """
        model = model_of(runner)
        if not spiking_blocks(model):
            raise ValueError(
                f'Int8WeightsHook: {type(model).__name__} convolves no '
                'spikes; it takes networks with a SpikingResNet of spiking '
                'neurons (default_hooks.int8_weights=None removes the hook)')
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise ValueError(
                'Int8WeightsHook and EMAHook do not go together: an average '
                'of rounded weights is not rounded; leave one of them out')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the weights before rounding, if the run is resumed.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What was saved.
        """
        if runner._resume:
            self._loaded = checkpoint.get(KEPT, {})

    @torch.no_grad()
    def before_train(self, runner: Runner) -> None:
        """Round, and stand on both sides of the optimizer.

        Args:
            runner (Runner): The runner, its checkpoint loaded.
        """
        self._weights = {
            f'{name}.conv{i}.weight': getattr(block, f'conv{i}').weight
            for name, block in spiking_blocks(model_of(runner)).items()
            for i in '12'}
        self._unrounded = {
            name: self._loaded.get(name, weight).to(weight, copy=True)
            for name, weight in self._weights.items()}
        self._loaded = {}
        self._round()
        while self._handles:  # of an earlier training: each counts once
            self._handles.pop().remove()
        wrappers: Any = runner.optim_wrapper
        for wrapper in getattr(wrappers, 'optim_wrappers',
                               {'': wrappers}).values():
            optimizer = wrapper.optimizer
            self._handles += [
                optimizer.register_step_pre_hook(self._restore),
                optimizer.register_step_post_hook(self._keep_and_round)]

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Add the weights before rounding to what a training resumes from.

        Args:
            runner (Runner): Not used.
            checkpoint (dict): What is going to be saved.
        """
        if 'optimizer' in checkpoint:
            checkpoint[KEPT] = {
                name: weight.cpu()
                for name, weight in self._unrounded.items()}

    @torch.no_grad()
    def _restore(self, *_: Any) -> None:
        for name, weight in self._weights.items():
            weight.copy_(self._unrounded[name])

    @torch.no_grad()
    def _keep_and_round(self, *_: Any) -> None:
        for name, weight in self._weights.items():
            self._unrounded[name].copy_(weight)
        self._round()

    def _round(self) -> None:
        for name, weight in self._weights.items():
            weight.copy_(round_to_int8(self._unrounded[name]))
