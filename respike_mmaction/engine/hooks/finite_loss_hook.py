"""The end of a training whose numbers are no numbers any more."""
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn

from ..non_finite import all_finite, first_not_finite, names_not_finite
from ..unwrapped import model_of

_NAMES = ('filename', 'img_path', 'frame_dir', 'video_id')


def _videos(batch: Any) -> list[str]:
    """Names of the videos of a batch, as far as its samples know them."""
    samples = batch.get('data_samples', []) if isinstance(batch, dict) else []
    names = []
    for sample in samples:
        found = [str(sample.get(key)) for key in _NAMES if sample.get(key)]
        names.append(found[0] if found else '(its sample has no filename)')
    return names


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop a training at a loss or a gradient that is NaN or infinite.

    Before the optimizer takes the step, so the weights are what they were.
    The error names the videos of the batch, and the first layer whose output
    or gradient is not finite: the batch is repeated, every layer watched.
    While all is well nothing is watched but the largest gradients. Weights
    and running statistics that are not finite are an error before they are
    validated or saved, so that none becomes the best checkpoint.

    Args:
        max_skipped (int): With AMP's loss scaling, which lowers the scale
            and leaves out the step: batches in a row that may be left out.
            Defaults to 16, in which the first scale of 2 ** 16 becomes 1.

    Raises:
        ValueError: If ``max_skipped`` is negative.
    """

    priority = 'LOW'  # behind EMAHook, whose weights are looked at, too

    def __init__(self, max_skipped: int = 16) -> None:
        if max_skipped < 0:
            raise ValueError(f'max_skipped={max_skipped} is not allowed for '
                             'FiniteLossHook: it is a number >= 0')
        self.max_skipped = max_skipped
        self._batch: Any = None
        self._inputs: Any = None
        self._state: Any = None

    # what a repetition of the batch needs: references, for an iteration
    def before_train(self, runner: Runner) -> None:
        """Look at what goes through the optimizer wrapper.

        Args:
            runner (Runner): The runner.
        """

        def keep(module: nn.Module, args: tuple, inputs: Any) -> None:
            if self._batch is not None:
                self._inputs = inputs
                self._state = (torch.get_rng_state(),
                               torch.cuda.get_rng_state()
                               if torch.cuda.is_available() else None)

        self._handle = model_of(
            runner).data_preprocessor.register_forward_hook(keep)
        self._wrappers = list(
            runner.optim_wrapper.values()
            if isinstance(runner.optim_wrapper, OptimWrapperDict) else
            [runner.optim_wrapper])
        for wrapper in self._wrappers:
            wrapper.backward = partial(self._backward, runner, wrapper,
                                       wrapper.backward)

    def after_train(self, runner: Runner) -> None:
        """Look no more.

        Args:
            runner (Runner): The runner.
        """
        self._handle.remove()
        for wrapper in self._wrappers:
            del wrapper.backward

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Remember the batch.

        Args:
            runner (Runner): Not used.
            batch_idx (int): Not used.
            data_batch (Any): The batch.
        """
        self._batch = data_batch

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Forget it.

        Args:
            runner (Runner): Not used.
            batch_idx (int): Not used.
            data_batch (Any): Not used.
            outputs (dict | None): Not used.
        """
        self._batch = self._inputs = self._state = None

    # what is looked at
    def _backward(self, runner: Runner, wrapper: OptimWrapper,
                  upstream: Callable, loss: Tensor, **kwargs: Any) -> None:
        upstream(loss, **kwargs)
        hub = runner.message_hub
        if all_finite([loss, *self._gradients(wrapper)]):
            if hub.runtime_info.get('batches_skipped'):
                hub.update_info('batches_skipped', 0)
            return
        skipped = hub.runtime_info.get('batches_skipped', 0)
        scaler = getattr(wrapper, 'loss_scaler', None)
        if (scaler is None or not scaler.is_enabled()
                or skipped >= self.max_skipped):
            self._stop(runner, wrapper, loss, skipped)
        self._refuse(dict(model_of(runner).named_buffers()))
        hub.update_info('batches_skipped', skipped + 1)

    @staticmethod
    def _gradients(wrapper: OptimWrapper) -> Iterator[Tensor]:
        for group in wrapper.optimizer.param_groups:
            for parameter in group['params']:
                if parameter.grad is not None:
                    yield parameter.grad

    def _stop(self, runner: Runner, wrapper: OptimWrapper, loss: Tensor,
              skipped: int) -> None:
        found = 'the gradient is not finite'
        if not all_finite([loss]):
            found = f'the loss is {loss.item()}'
        where = self._repeat(runner, wrapper)
        where = (f'the first that is not finite is {where}' if where else
                 'repeated, this batch gives finite numbers (those of '
                 'another process, or what was accumulated, are not)')
        after = f', after {skipped} batches left out' if skipped else ''
        raise FloatingPointError('\n  '.join([
            f'iteration {runner.iter + 1}{after}: {found}; {where}. No step '
            'was taken and nothing is saved. The videos of the batch:',
            *_videos(self._batch)]))

    def _repeat(self, runner: Runner, wrapper: OptimWrapper) -> str:
        model, inputs = model_of(runner), self._inputs
        if inputs is None:
            return ''
        states = torch.get_rng_state(), self._state
        torch.set_rng_state(self._state[0])
        if self._state[1] is not None:
            torch.cuda.set_rng_state(self._state[1])

        def loss() -> Tensor:
            with wrapper.optim_context(model):
                losses = model._run_forward(inputs, mode='loss')
            value = wrapper.scale_loss(model.parse_losses(losses)[0])
            scaler = getattr(wrapper, 'loss_scaler', None)
            return scaler.scale(value) if scaler is not None else value

        try:
            return first_not_finite(model, inputs, loss)
        finally:
            torch.set_rng_state(states[0])

    @staticmethod
    def _refuse(tensors: dict) -> None:
        names = names_not_finite(tensors)
        if names:
            more = f' and {len(names) - 1} more' if names[1:] else ''
            raise FloatingPointError(
                f'{names[0]}{more}: weights or running statistics that are '
                'not finite; they are neither validated nor saved')

    def before_val_epoch(self, runner: Runner) -> None:
        """Refuse to validate weights that are not finite, in a training.

        Args:
            runner (Runner): The runner.

        Raises:
            FloatingPointError: Naming the first.
        """
        self._refuse(model_of(runner).state_dict())

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Refuse to save them.

        Args:
            runner (Runner): Not used.
            checkpoint (dict): What is going to be saved.

        Raises:
            FloatingPointError: Naming the first.
        """
        for key in ('state_dict', 'ema_state_dict'):
            self._refuse(checkpoint.get(key, {}))
