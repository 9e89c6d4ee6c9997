"""Hook that watches the spiking neurons during training and validation."""
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from torch import Tensor

from ...models.neurons import BaseNeuron
from ..unwrapped import model_of


@HOOKS.register_module()
class FiringRateHook(Hook):
    """Firing rate and membrane potential of every layer of neurons.

    Every ``interval`` iterations of training, and in validation on the first
    of every ``val_interval`` batches, counts spikes and runs over the
    potentials H before the reset. Writes to every visualizer backend, for
    mode ``train`` or ``val`` and each layer:
    ``MODE/firing_rate/LAYER``, ``MODE/membrane_mean/LAYER``,
    ``MODE/membrane_std/LAYER`` and ``MODE/membrane_max/LAYER``. Warns when
    the dead or the saturated layers change.

    Between the intervals no module has a hook. Potentials are kept for one
    step of one layer at a time, the statistics of all layers and processes
    in one tensor, moved to the host once. What activation checkpointing runs
    again in backward is not counted twice. A compiled model runs eagerly
    while it is recorded.

    Args:
        interval (int): Iterations of training between two records. Defaults
            to 100.
        val_interval (int): Batches of validation between two records, whose
            statistics are pooled. Defaults to 10.
        dead (float): Firing rate below which a layer is dead. Defaults to
            0.001.
        saturated (float): Firing rate above which a layer is saturated.
            Defaults to 0.9.

    Raises:
        ValueError: If an argument is outside of its allowed values.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self,
                 interval: int = 100,
                 val_interval: int = 10,
                 dead: float = 0.001,
                 saturated: float = 0.9) -> None:
        for name, value in dict(
                interval=interval, val_interval=val_interval).items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'{name}={value!r} is not allowed: it is a '
                                 'positive integer')
        if not 0 <= dead < saturated <= 1:
            raise ValueError(
                f'dead={dead!r} and saturated={saturated!r} are not allowed: '
                '0 <= dead < saturated <= 1')
        self.interval = interval
        self.val_interval = val_interval
        self.dead = dead
        self.saturated = saturated
        self._handles: list = []
        self._eager = ExitStack()
        self._in_forward = False
        self._warned: dict = {}

    # when to record
    def before_run(self, runner: Any) -> None:
        """Find the neurons."""
        if not self._neurons(runner):
            runner.logger.warning(
                'FiringRateHook found no spiking neuron in the model')

    def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any
                          ) -> None:
        """Start to record, if it is time."""
        if self.every_n_train_iters(runner, self.interval):
            self._clear(runner)
            self._start(runner)

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any
                         ) -> None:
        """Stop and write."""
        if self._handles:
            self._stop()
            self._write(runner, 'train', runner.iter + 1)

    def before_val_epoch(self, runner: Any) -> None:
        """Forget what was before."""
        self._clear(runner)

    def before_val_iter(self, runner: Any, batch_idx: int, *args: Any,
                        **kwargs: Any) -> None:
        """Start to record, if it is time."""
        if batch_idx % self.val_interval == 0:
            self._start(runner)

    def after_val_iter(self, *args: Any, **kwargs: Any) -> None:
        """Stop."""
        self._stop()

    def after_val_epoch(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        """Write the statistics of all recorded batches."""
        self._write(runner, 'val', runner.iter)

    # how to record
    def _neurons(self, runner: Any) -> dict[str, BaseNeuron]:
        return {
            name: module
            for name, module in model_of(runner).named_modules()
            if isinstance(module, BaseNeuron)
        }

    def _clear(self, runner: Any) -> None:
        self._stop()
        model = model_of(runner)
        device = next(model.parameters()).device
        dtype = torch.float32 if device.type == 'mps' else torch.float64
        layers = len(self._neurons(runner))
        # spikes, positions, sum of H, sum of H^2; and the maximum of H
        self._sums = torch.zeros(layers, 4, dtype=dtype, device=device)
        self._peaks = self._sums.new_full((layers, 1), -torch.inf)

    def _start(self, runner: Any) -> None:
        self._stop()
        root = model_of(runner)

        def enter(*_: Any) -> None:
            self._in_forward = True

        def leave(*_: Any) -> None:  # what follows is backward
            self._in_forward = False

        # a compiled model does not call the hooks of its layers
        self._eager.enter_context(torch.compiler.set_stance('force_eager'))
        self._handles = [
            root.register_forward_pre_hook(enter),
            root.register_forward_hook(leave)
        ]
        for layer, neuron in enumerate(self._neurons(runner).values()):
            self._handles.append(
                neuron.register_forward_hook(
                    self._recorder(layer), with_kwargs=True))

    def _stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._eager.close()
        self._in_forward = False

    def _recorder(self, layer: int) -> Any:

        @torch.no_grad()
        def record(neuron: BaseNeuron, args: tuple, kwargs: dict,
                   output: Tensor | tuple) -> None:
            if not self._in_forward:
                return
            spikes = output[0] if isinstance(output, tuple) else output
            sums, peak = self._sums[layer], self._peaks[layer]  # views
            dtype = sums.dtype
            sums[0] += spikes.sum(dtype=dtype)
            sums[1] += spikes.numel()
            for h in neuron.potentials(*args, **kwargs):
                sums[2] += h.sum(dtype=dtype)
                sums[3] += h.square().sum(dtype=dtype)
                torch.maximum(peak, h.max().to(dtype), out=peak)

        return record

    # what to write
    def _write(self, runner: Any, mode: str, step: int) -> None:
        if not len(self._sums):
            return
        all_reduce(self._sums, 'sum')
        all_reduce(self._peaks, 'max')
        rows = torch.cat([self._sums, self._peaks], dim=1).tolist()
        scalars, rates = {}, {}
        for name, row in zip(self._neurons(runner), rows, strict=True):
            spikes, positions, total, squares, peak = row
            if not positions:  # the neuron was not called
                continue
            mean = total / positions
            std = max(squares / positions - mean**2, 0)**.5
            rates[name] = spikes / positions
            for key, value in dict(
                    firing_rate=rates[name],
                    membrane_mean=mean,
                    membrane_std=std,
                    membrane_max=peak).items():
                scalars[f'{mode}/{key}/{name}'] = value
        if not scalars:
            runner.logger.warning(
                f'FiringRateHook saw no neuron at work ({mode}): the model '
                'did not call any')
            return
        runner.visualizer.add_scalars(scalars, step=step)
        self._warn(runner, mode, rates)

    def _warn(self, runner: Any, mode: str, rates: dict[str, float]) -> None:
        found: dict[str, Sequence[str]] = {
            f'dead (firing rate < {self.dead:.2%})':
            [name for name, rate in rates.items() if rate < self.dead],
            f'saturated (firing rate > {self.saturated:.2%})':
            [name for name, rate in rates.items() if rate > self.saturated]
        }
        for what, names in found.items():
            if names and names != self._warned.get((mode, what)):
                runner.logger.warning(
                    f'{mode}: {len(names)} of {len(rates)} layers of neurons '
                    f'are {what}: {", ".join(names)}')
            self._warned[mode, what] = names
