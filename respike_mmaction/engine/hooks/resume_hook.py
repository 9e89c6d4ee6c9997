"""A training that was stopped ends as if it had not been."""
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import DataLoader

from ...datasets.seeded_batches import SeededBatches, seed_cpu
from ...datasets.wrapped import resilient_datasets
from ..unwrapped import model_of

# What is random in a run: its seeds begin with its seed and one of these.
_TRAIN_DATA, _VAL_DATA, _TRAIN_ITER, _VAL_EPOCH = range(4)


class _Advanced(_InfiniteDataloaderIterator):
    """Batches of an iteration-based loop, which first asks for those done."""

    def __init__(self, loader: DataLoader, epoch: int, done: int) -> None:
        super().__init__(loader)
        self._epoch = epoch
        self._done = done

    def __next__(self) -> Any:
        if self._done:
            self._done -= 1
            return {}
        return super().__next__()


def _sampler(loader: DataLoader) -> Any:
    """The sampler that takes seeds and epochs, as MMEngine finds it."""
    if hasattr(loader.sampler, 'set_epoch'):
        return loader.sampler
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)


@HOOKS.register_module()
class ResumeHook(Hook):
    """Make a resumed training equal, bit by bit, to one without a stop.

    MMEngine saves weights, optimizer, schedules and its message hub. With
    this hook

    * what is random depends on the seed of the run, the epoch and the place
      of a video in it, and in the model on the iteration and the rank: there
      is no random state that a stop could lose;
    * batches that were done in the epoch, or by an iteration-based loop, are
      left out without reading them;
    * a validation that was due after the checkpoint is made up for;
    * the videos skipped so far, the seed of the sampler and gradients that
      wait for a later step (``accumulative_counts``) are saved and restored.

    So a config needs ``default_hooks = dict(resume=dict(type='ResumeHook'))``
    from the beginning of a training.
    """

    priority = 'LOWEST'  # behind CheckpointHook, which a validation needs

    def __init__(self) -> None:
        self._gradients: dict[str, torch.Tensor] = {}

    # saving and loading
    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Add what MMEngine does not save.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What is going to be saved.
        """
        loader = runner.train_loop.dataloader
        checkpoint['skipped_videos'] = [
            dataset.skipped_state()
            for dataset in resilient_datasets(loader.dataset)]
        if 'optimizer' not in checkpoint:
            return
        checkpoint['gradients'] = {
            name: parameter.grad.cpu()
            for name, parameter in model_of(runner).named_parameters()
            if parameter.grad is not None}
        if checkpoint['gradients'] and get_dist_info()[1] > 1:
            runner.logger.warning(
                'saved between two steps of accumulative_counts: gradients '
                'of rank 0 alone, so a run resumed from here is not equal '
                'to one without a stop')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take it back, if the run is resumed.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What was saved.
        """
        if not runner._resume:
            return
        self._gradients = checkpoint.get('gradients', {})
        datasets = resilient_datasets(runner.train_loop.dataloader.dataset)
        for dataset, state in zip(datasets,
                                  checkpoint.get('skipped_videos', []),
                                  strict=False):
            dataset.load_skipped_state(state)

    # the place in the training
    def before_train(self, runner: Runner) -> None:
        """Go to the place of the checkpoint, or to the beginning.

        Args:
            runner (Runner): The runner, its checkpoint loaded.
        """
        loop, hub = runner.train_loop, runner.message_hub.runtime_info
        sampler = _sampler(loop.dataloader)
        if hasattr(sampler, 'seed'):
            sampler.seed = hub.get('sampler_seed', sampler.seed)
            runner.message_hub.update_info('sampler_seed', sampler.seed)
        batches = SeededBatches.install(loop.dataloader,
                                        (runner.seed, _TRAIN_DATA))
        length = len(loop.dataloader)
        if isinstance(loop, IterBasedTrainLoop):
            self._advance(loop, batches, sampler)
        elif hub.get('epoch_length', length) == length:
            done, run_iter = loop.iter - loop.epoch * length, loop.run_iter
            batches.done = done
            if done:
                loop.run_iter = lambda i, batch: run_iter(i + done, batch)
        else:
            runner.logger.warning(
                f'an epoch had {hub["epoch_length"]} iterations and has '
                f'{length} now: the run goes on at the beginning of one')
        runner.message_hub.update_info('epoch_length', length)
        for name, parameter in model_of(runner).named_parameters():
            if name in self._gradients:
                parameter.grad = self._gradients[name].to(parameter)
        self._gradients = {}
        self._validate_if_due(runner)

    @staticmethod
    def _advance(loop: IterBasedTrainLoop, batches: SeededBatches,
                 sampler: Any) -> None:
        """Replace the iterator that the loop was made with."""
        if isinstance(sampler, InfiniteSampler):
            batches.done = loop.iter
            sampler.indices = sampler._indices_of_rank()  # those read ahead
        else:
            batches.epoch, batches.done = divmod(loop.iter,
                                                 len(loop.dataloader))
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(batches.epoch)
        loop.dataloader_iterator = None  # ends its workers
        loop.dataloader_iterator = _Advanced(loop.dataloader, batches.epoch,
                                             loop.iter)

    @staticmethod
    def _validate_if_due(runner: Runner) -> None:
        """Validate what was saved, and not validated, before the stop."""
        loop = runner.train_loop
        if not runner._resume or runner.val_loop is None or not loop.iter:
            return
        hub = runner.message_hub
        if hub.runtime_info.get('validated') == loop.iter:
            return
        loop._decide_current_val_interval()
        if isinstance(loop, IterBasedTrainLoop):
            done, end, epoch = loop.iter, loop.max_iters, loop.epoch
        elif loop.iter == loop.epoch * len(loop.dataloader):
            done, end, epoch = loop.epoch, loop.max_epochs, loop.epoch - 1
        else:
            return  # in an epoch
        if done >= loop.val_begin and (done % loop.val_interval == 0
                                       or done == end):
            runner.logger.info('Validation that was due at the stop')
            # what stood there after the last iteration
            hub.update_info_dict(dict(epoch=epoch, iter=loop.iter - 1))
            runner.val_loop.run()

    # what is random
    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the data of an epoch.

        Args:
            runner (Runner): The runner.
        """
        loop = runner.train_loop
        if not isinstance(loop, IterBasedTrainLoop):
            loop.dataloader.batch_sampler.epoch = runner.epoch
            return
        # DistSamplerSeedHook has set that of the loop, which is always 0
        sampler = _sampler(loop.dataloader)
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(loop.dataloader_iterator._epoch)

    def after_train_epoch(self, runner: Runner) -> None:
        """Count the next epoch from its beginning.

        Args:
            runner (Runner): The runner.
        """
        vars(runner.train_loop).pop('run_iter', None)

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Seed what is random in the model.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Not used.
            data_batch (Any): Not used.
        """
        self._seed(runner, _TRAIN_ITER)

    def before_val_epoch(self, runner: Runner) -> None:
        """Seed a validation, which a checkpoint saved behind it counts.

        Args:
            runner (Runner): The runner.
        """
        loader = runner.val_dataloader
        if not isinstance(loader.batch_sampler, SeededBatches):
            SeededBatches.install(loader, (runner.seed, _VAL_DATA))
        loader.batch_sampler.epoch = self._seed(runner, _VAL_EPOCH)
        runner.message_hub.update_info('validated', runner.iter)

    @staticmethod
    def _seed(runner: Runner, what: int) -> int:
        key = (runner.seed, what, get_dist_info()[0], runner.iter)
        seed_cpu(*key)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(torch.initial_seed())
        return runner.iter
