"""Mends that let MMEngine open files of others without doing as they say.

MMEngine executes the config text in a checkpoint, unpickles any ``.pkl`` file
and deletes the path that a checkpoint names as the best one so far.
Checkpoints themselves are read by ``torch.load``, which stays strict: see
``compat.mend_torch_load``.
"""
import os
from collections.abc import Callable
from typing import Any

from mmengine.config import Config
from mmengine.fileio import PickleHandler
from mmengine.hooks import CheckpointHook

from .compat import _replace


def apply() -> None:
    """Run every mend; a second call changes nothing."""
    mend_pickle_files()
    mend_config_text()
    mend_best_checkpoint()


def mend_pickle_files() -> None:
    """Read dumps and annotations in .pkl files without calling any code."""
    def make(upstream: Callable) -> Callable:

        def load_from_fileobj(self: Any, file: Any, **kwargs: Any) -> Any:
            from .checkpoints import read_pickle
            return read_pickle(file, **kwargs)

        return load_from_fileobj

    _replace(PickleHandler, 'load_from_fileobj', make)


def mend_config_text() -> None:
    """Read the config in a checkpoint as data (resuming, inferencers)."""
    def make(upstream: Callable) -> Callable:

        def fromstring(cfg_str: str, file_format: str) -> Config:
            from .checkpoints import read_config_text
            if file_format != '.py':
                return upstream(cfg_str, file_format)
            return read_config_text(cfg_str)

        return fromstring

    _replace(Config, 'fromstring', make)


def mend_best_checkpoint() -> None:
    """Delete no "previous best checkpoint" outside of the work directory."""
    def make(upstream: Callable) -> Callable:

        def before_train(self: Any, runner: Any) -> None:
            upstream(self, runner)

            folder = os.path.realpath(self.out_dir)

            def own(path: str | None) -> str | None:
                if path and os.path.dirname(os.path.realpath(path)) == folder:
                    return path
                if path:
                    runner.logger.warning(
                        f'{path!r}, the best checkpoint so far by the one '
                        f'that is resumed, is not in {folder}: left alone')
                return None

            if hasattr(self, 'best_ckpt_path'):
                self.best_ckpt_path = own(self.best_ckpt_path)
            if hasattr(self, 'best_ckpt_path_dict'):
                self.best_ckpt_path_dict = {
                    key: own(path)
                    for key, path in self.best_ckpt_path_dict.items()}

        return before_train

    _replace(CheckpointHook, 'before_train', make)
