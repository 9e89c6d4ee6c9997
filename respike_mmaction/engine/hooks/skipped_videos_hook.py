"""Report of the videos that could not be read."""
import os
import os.path as osp
import re
import tempfile
import time
from contextlib import suppress

from mmaction.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...datasets.wrapped import resilient_datasets


@HOOKS.register_module()
class SkippedVideosHook(Hook):
    """Say which videos were skipped, and why, every epoch and at the end.

    For every :class:`ResilientVideoDataset` of the run, over all ranks and
    worker processes. Lines ``path: reason`` of all are written to
    ``skipped_videos_<mode>.txt`` beside the log; the log itself holds up to
    ``max_names`` an epoch.

    Args:
        max_names (int): Number of names in the log. Defaults to 100.
    """

    priority = 'LOW'

    def __init__(self, max_names: int = 100) -> None:
        self.max_names = max_names
        self.reports = True

    def before_run(self, runner: Runner) -> None:
        """Of several such hooks the last reports (a recipe has one)."""
        hooks = [hook for hook in runner.hooks if type(hook) is type(self)]
        self.reports = hooks[-1] is self
        if self.reports and is_main_process():
            _remove_old_scratch()

    def after_train_epoch(self, runner: Runner) -> None:
        """Report on the training set so far (all ranks)."""
        self._report(runner, 'train', f'after epoch {runner.epoch + 1}')

    def after_train(self, runner: Runner) -> None:
        """Report on the training set at the end (all ranks)."""
        self._report(runner, 'train', 'in the whole training')

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: dict | None = None) -> None:
        """Report on the validation set (all ranks)."""
        self._report(runner, 'val', 'counted as wrong answers')

    def after_test_epoch(self,
                         runner: Runner,
                         metrics: dict | None = None) -> None:
        """Report on the test set (all ranks)."""
        self._report(runner, 'test', 'counted as wrong answers')

    def _report(self, runner: Runner, mode: str, when: str) -> None:
        if not self.reports:
            return
        loader = getattr(runner, f'{mode}_dataloader')
        for dataset in resilient_datasets(loader.dataset):
            dataset.share_skipped()
            names = dataset.skipped_reasons()
            if not is_main_process():
                continue
            text = f'{mode}: {len(names)} of {len(dataset)} videos skipped'
            if not names:
                runner.logger.info(f'{text} {when}')
                continue
            path = osp.join(runner.log_dir, f'skipped_videos_{mode}.txt')
            with open(path, 'w', encoding='utf-8') as file:
                file.writelines(f'{name}\n' for name in names)
            shown = names[:self.max_names]
            more = len(names) - len(shown)
            runner.logger.warning('\n  '.join([
                f'{text} {when}, all named in {path}:', *shown,
                *([f'and {more} more'] if more else [])
            ]))


def _remove_old_scratch() -> None:
    """What earlier versions left in the temporary folder when killed.

    A run of theirs may still go on: what changed in the last week stays.
    """
    with os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if re.fullmatch(r'skipped_videos_\w{8}', entry.name):
                with suppress(OSError):  # of another user
                    info = entry.stat(follow_symlinks=False)
                    if (info.st_uid == os.getuid() and entry.is_file(
                            follow_symlinks=False)
                            and info.st_mtime < time.time() - 7 * 86400):
                        os.unlink(entry)
