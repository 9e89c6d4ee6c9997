"""Checkpoints of which one is whole, whenever a run is ended."""
import os
import shutil
from collections import deque
from pathlib import Path
from typing import Any

from mmaction.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ...checkpoints.files import PARTIAL


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, without a moment at which files are lost.

    A file is written beside its place, flushed and renamed (everything that
    MMEngine writes is, once the plugin is imported). What it replaces is
    removed when it is complete, and ``last_checkpoint`` written before that.
    A run that does not resume moves the checkpoints of an earlier one in its
    folder to ``before_TIME``, instead of writing over them.

    Args:
        **kwargs: Arguments of :class:`mmengine.hooks.CheckpointHook`.
    """

    keep_ckpt_ids: deque
    last_ckpt: str | None
    best_ckpt_path: str | None
    best_ckpt_path_dict: dict

    def before_train(self, runner: Runner) -> None:
        """Tidy up after a run that was ended.

        Args:
            runner (Runner): The runner, its checkpoint loaded.
        """
        super().before_train(runner)
        hub = runner.message_hub.runtime_info
        self.last_ckpt = hub.get('last_ckpt', self.last_ckpt)
        if not is_main_process() or not isinstance(self.file_backend,
                                                   LocalBackend):
            return
        folder = Path(self.out_dir)
        for path in folder.glob(f'*{PARTIAL}'):
            path.unlink()
        self._remove_obsolete(runner)
        if runner.iter == 0:
            self._set_aside(runner, folder)

    def _set_aside(self, runner: Runner, folder: Path) -> None:
        pattern = self.filename_tmpl.format('*')
        found = [path for path in (*folder.glob(pattern),
                                   *folder.glob(f'best_*_{pattern}'))
                 if path.is_file()]
        pointer = Path(runner.work_dir) / 'last_checkpoint'
        if not found:
            return
        place = folder / f'before_{runner.timestamp}'
        while place.exists():  # another run of this second
            place = place.with_name(f'{place.name}_')
        place.mkdir()
        for path in (*found, *([pointer] if pointer.is_file() else [])):
            shutil.move(path, place / path.name)
        runner.logger.warning(
            f'{len(found)} checkpoints of an earlier run in {folder} are '
            f'moved to {place} (to go on with that run: --resume)')

    # What is to be removed stands in the checkpoint that replaces it, so
    # that a run ended in between removes it when it is resumed.
    def _remove_obsolete(self, runner: Runner) -> None:
        hub = runner.message_hub.runtime_info
        kept = {self.filename_tmpl.format(step)
                for step in hub.get('keep_ckpt_ids', [])}
        kept |= {os.path.basename(path) for key, path in hub.items()
                 if key.startswith('best_ckpt') and path}
        names = map(os.path.basename, hub.get('obsolete_ckpts', []))
        for name in set(names) - kept:
            path = self.file_backend.join_path(self.out_dir, name)
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):  # of deepspeed
                self.file_backend.rmtree(path)

    def _save_checkpoint_with_step(self, runner: Runner, step: int,
                                   meta: dict) -> None:
        hub = runner.message_hub
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids
                                        or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                oldest = self.keep_ckpt_ids.popleft()
                hub.update_info('obsolete_ckpts',
                                [self.filename_tmpl.format(oldest)])
            self.keep_ckpt_ids.append(step)
            hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args)
        if is_main_process():
            LocalBackend().put(
                str(self.last_ckpt).encode(),
                os.path.join(runner.work_dir, 'last_checkpoint'))
            self._remove_obsolete(runner)

    def _best(self) -> dict[str, str | None]:
        """The best checkpoint by each metric."""
        if not self.save_best:
            return {}
        if len(self.key_indicators) == 1:
            return {'': self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best(self, paths: dict[str, str | None]) -> None:
        if '' in paths:
            self.best_ckpt_path = paths['']
        else:
            self.best_ckpt_path_dict = paths

    def _save_best_checkpoint(self, runner: Runner, metrics: Any) -> None:
        old = self._best()
        if not old:
            return
        runner.message_hub.update_info(
            'obsolete_ckpts',
            [os.path.basename(path) for path in old.values() if path])
        self._set_best(dict.fromkeys(old))  # upstream removes no old one
        super()._save_best_checkpoint(runner, metrics)
        new = self._best()
        self._set_best({key: new.get(key) or old[key] for key in old})
        if is_main_process():
            self._remove_obsolete(runner)
