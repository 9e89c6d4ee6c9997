"""Room for a plugin where MMEngine, MMAction2 and PyTorch leave none.

As in :mod:`respike_mmaction.compat`, each is one small function, which may
run twice and does nothing where there is room.
"""
import copy
import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .compat import _replace


def apply() -> None:
    """Run them all; a second call changes nothing."""
    mend_default_hooks()
    mend_torn_files()
    mend_damaged_checkpoints()
    mend_unreachable_weights()
    mend_tsm_constructor()
    mend_sync_batchnorm()
    mend_inferencer_steps()
    mend_config_scope()


def mend_default_hooks() -> None:
    """Give every runner a ``CheckRunHook``; let a config remove any hook.

    MMEngine documents ``default_hooks.NAME=None`` and asserts unless the hook
    is one of its own six.
    """
    from mmengine.runner import Runner
    own = ('runtime_info', 'timer', 'sampler_seed', 'logger',
           'param_scheduler', 'checkpoint')

    def make(upstream: Callable) -> Callable:

        def register_default_hooks(self: Any,
                                   hooks: dict | None = None) -> None:
            from .engine.hooks import CheckRunHook
            hooks = {'check_run': CheckRunHook(), **(hooks or {})}
            upstream(self, {name: hook for name, hook in hooks.items()
                            if hook is not None or name in own})

        return register_default_hooks

    _replace(Runner, 'register_default_hooks', make)


def mend_torn_files() -> None:
    """Let files, checkpoints among them, be written whole or not at all."""
    from mmengine.fileio import LocalBackend

    def make(upstream: Callable) -> Callable:

        def put(self: Any, obj: bytes, filepath: Any) -> None:
            from .checkpoints.files import write_whole
            if os.path.exists(filepath) and not os.path.isfile(filepath):
                return upstream(self, obj, filepath)  # a pipe, /dev/null
            write_whole(lambda path: upstream(self, obj, path), filepath)

        return put

    _replace(LocalBackend, 'put', make)


def mend_damaged_checkpoints() -> None:
    """Look at the checksums in a checkpoint, which ``torch.load`` does not."""
    from mmengine.runner.checkpoint import CheckpointLoader

    def make(upstream: Callable) -> Callable:

        def load_from_local(filename: str, map_location: Any) -> Any:
            from .checkpoints import check_whole
            path = os.path.expanduser(filename)
            if os.path.isfile(path):
                check_whole(path)
            return upstream(filename, map_location)

        return load_from_local

    loader = SimpleNamespace(local=CheckpointLoader._schemes[''])
    _replace(loader, 'local', make)
    CheckpointLoader._schemes[''] = loader.local


def mend_unreachable_weights() -> None:
    """Name the options that take a file where a URL cannot be reached."""
    from mmengine.runner import checkpoint

    def make(upstream: Callable) -> Callable:

        def load_url(url: str, *args: Any, **kwargs: Any) -> dict:
            try:
                return upstream(url, *args, **kwargs)
            except OSError as error:  # URLError, HTTPError, TimeoutError
                raise OSError(
                    f'the weights {url} cannot be fetched ({error}): fetch '
                    'them on another machine and give the file by the option '
                    'that gives the URL, such as `--cfg-options '
                    'model.key_backbone.pretrained=FILE` (of Recognizer2D '
                    'model.backbone.pretrained, of a whole network '
                    'load_from)') from error

        return load_url

    _replace(checkpoint, 'load_url', make)


def mend_tsm_constructor() -> None:
    """Let TSM's optimizer constructor treat LayerNorm as the other norms."""
    from mmaction.engine.optimizers import tsm_optim_wrapper_constructor
    from torch.nn import LayerNorm
    norms = tsm_optim_wrapper_constructor._BatchNorm
    if not isinstance(norms, tuple):  # isinstance() takes tuples of tuples
        tsm_optim_wrapper_constructor._BatchNorm = (norms, LayerNorm)


def mend_sync_batchnorm() -> None:
    """Ask a BatchNorm that can synchronise itself to, instead of replacing it.

    MMEngine's ``sync_bn`` and PyTorch put a plain SyncBatchNorm in the place
    of every subclass of BatchNorm, whatever it computes.
    """
    from mmengine import model
    from mmengine._strategy import distributed
    from mmengine.model import utils
    from mmengine.runner import runner
    from torch.nn import SyncBatchNorm

    def make_mmengine(upstream: Callable) -> Callable:

        def convert_sync_batchnorm(module: Any, *args: Any,
                                   **kwargs: Any) -> Any:
            return _synchronize(
                module, lambda: upstream(module, *args, **kwargs))

        return convert_sync_batchnorm

    def make_torch(upstream: Callable) -> Callable:

        def convert_sync_batchnorm(cls: type, module: Any,
                                   process_group: Any = None) -> Any:
            return _synchronize(
                module, lambda: upstream(cls, module, process_group),
                process_group)

        return convert_sync_batchnorm

    name = 'convert_sync_batchnorm'
    _replace(SyncBatchNorm, name, make_torch)
    _replace(utils, name, make_mmengine)
    for importer in (model, runner, distributed):
        setattr(importer, name, utils.convert_sync_batchnorm)


def _synchronize(module: Any, upstream: Callable,
                 process_group: Any = None) -> Any:
    if hasattr(module, 'synchronize'):
        module.synchronize(process_group)
        return module
    converted = upstream()
    if converted is not module:  # another layer: forward hooks go along
        converted.__dict__.update(
            (name, value) for name, value in vars(module).items()
            if name.startswith('_forward_'))
    return converted


def mend_inferencer_steps() -> None:
    """Let the inferencer open and decode videos as the config says.

    ``ActionRecogInferencer`` puts decord's steps in the place of whatever
    steps a config has; scores were up to 0.17 off those of ``test.py``.
    """
    from mmaction.apis.inferencers import ActionRecogInferencer
    from mmaction.registry import TRANSFORMS
    from mmengine.logging import print_log

    def make(upstream: Callable) -> Callable:

        def _init_pipeline(self: Any, cfg: Any) -> Any:
            steps = copy.deepcopy(
                list(cfg.test_dataloader.dataset.pipeline))
            pipeline = upstream(self, cfg)
            own = {kind: [s for s in steps if str(s['type']).endswith(kind)]
                   for kind in ('VideoInit', 'VideoDecode')}
            if self.input_format != 'video' or not all(own.values()):
                return pipeline
            for i, step in enumerate(pipeline.transforms):
                kind = type(step).__name__.replace('Decord', 'Video')
                if kind in own:
                    pipeline.transforms[i] = TRANSFORMS.build(own[kind][0])
            if any(s['type'] in ('ThreeCrop', 'TenCrop') for s in steps):
                print_log(
                    'MMAction2Inferencer looks at the centre of each clip '
                    'instead of three or ten crops: its scores are not those '
                    'of test.py', 'current')
            return pipeline

        return _init_pipeline

    _replace(ActionRecogInferencer, '_init_pipeline', make)


SCOPE = 'respike_mmaction::'


def _config_path(name: str) -> str:
    """File of one of our configs, in a wheel or a checkout."""
    package = Path(__file__).resolve().parent
    folders = [package / '.mim/configs', package.parent / 'configs']
    configs = next((f for f in folders if f.is_dir()), folders[0])
    path = configs / name.removeprefix(SCOPE)
    if path.suffix != '.py':
        path = path.with_name(f'{path.name}.py')
    if not path.is_file():
        known = [p.relative_to(configs).as_posix()
                 for p in configs.glob('respike/**/*.py')]
        near = get_close_matches(name.removeprefix(SCOPE), known, cutoff=.3)
        raise FileNotFoundError(f'{name!r} is none of the {len(known)} '
                                f'configs in {configs}: near are {near}')
    return str(path)


def mend_config_scope() -> None:
    """Let ``_base_`` and ``get_config`` find ``respike_mmaction::...``.

    MMEngine looks up configs of OpenMMLab's own packages alone. Ours need no
    scope of their own: their ``default_scope`` is ``mmaction``.
    """
    from mmengine import hub
    from mmengine.config import Config
    if getattr(Config._get_cfg_path, '_mended', False):
        return
    of_base, of_hub = Config._get_cfg_path, hub.get_config

    def _get_cfg_path(cfg_path: str, filename: str) -> tuple:
        if cfg_path.startswith(SCOPE):
            return _config_path(cfg_path), None
        return of_base(cfg_path, filename)

    def get_config(cfg_path: str, pretrained: bool = False) -> Config:
        if cfg_path.startswith(SCOPE):
            return Config.fromfile(_config_path(cfg_path))
        return of_hub(cfg_path, pretrained)

    mended: Any = _get_cfg_path
    mended._mended = True
    setattr(Config, '_get_cfg_path', staticmethod(mended))  # noqa: B010
    setattr(hub, 'get_config', get_config)  # noqa: B010
