"""Mends that let MMAction2 1.2.0, as PyPI ships it, run on a current stack.

Each mend is one small function that names the break it answers. It edits no
file, may run twice, and does nothing where the break is already gone. Two
breaks are met by declared dependencies instead, because a plugin is imported
too late for them: ``mmaction.utils`` needs ``importlib_metadata``, and
MMEngine needs ``pkg_resources`` (``setuptools<82``) for every
``_base_ = 'mmaction::...'``.
"""
import atexit
import importlib.metadata
import logging
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from inspect import ismethod
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

__all__ = ['apply']


def apply() -> None:
    """Run every mend; a second call changes nothing.

    Raises:
        ImportError: If MMCV is absent or MMAction2 refuses its version.
    """
    silence_known_warnings()
    require_mmcv()
    from . import extension_points, untrusted  # which need MMEngine
    mend_missing_drn()
    mend_torch_load()
    untrusted.apply()
    mend_numpy_names()
    mend_color_jitter()
    mend_imgaug()
    mend_gloo_init()
    mend_ddp_device_ids()
    mend_cpu_amp()
    mend_bfloat16_scores()
    extension_points.apply()


def silence_known_warnings() -> None:
    """Leave out warnings of which a user can do nothing, at every start.

    mmcv-lite has no compiled operators, and no network here needs one;
    MMEngine imports ``pkg_resources`` for ``_base_ = 'mmaction::...'``, and
    the constraints pin the setuptools that still has it.
    """
    for message in ('Fail to import ``MultiScaleDeformableAttention``',
                    'pkg_resources is deprecated as an API'):
        warnings.filterwarnings('ignore', message)


def _replace(owner: Any, name: str, make: Callable) -> None:
    """Set ``owner.name`` to ``make(upstream's)``, once."""
    upstream = getattr(owner, name)
    if not hasattr(upstream, '_mended'):
        of_class = ismethod(upstream)
        mended: Any = wraps(upstream)(
            make(upstream.__func__ if of_class else upstream))
        mended._mended = True
        setattr(owner, name, classmethod(mended) if of_class else mended)


def _has_accelerator() -> bool:
    from mmengine.device import get_device
    return get_device() != 'cpu'


# MMCV ----------------------------------------------------------------------


def require_mmcv() -> None:
    """Say plainly which MMCV is missing, refused or installed twice.

    MMAction2 itself answers with a bare ``AssertionError`` or a missing
    module.

    Raises:
        ImportError: If neither mmcv-lite nor mmcv is installed, or MMAction2
            refuses the version of MMCV or MMEngine that it finds.
    """
    advice = ('Install with `pip install "mmengine==0.10.7" '
              '"mmcv-lite==2.1.0"` (or "mmcv==2.1.0" for its compiled '
              'operators, never both).')
    try:
        import mmaction  # noqa: F401  (asserts the versions)
    except AssertionError as error:  # names the version and the range
        raise ImportError(f'{error} {advice}') from error
    except ModuleNotFoundError as error:
        if error.name not in ('mmcv', 'mmengine'):
            raise
        raise ImportError(
            f'MMAction2 needs {error.name}, which is not installed. {advice}'
        ) from error
    if _is_installed('mmcv') and _is_installed('mmcv-lite'):
        warnings.warn(
            'mmcv and mmcv-lite are both installed and overwrite each '
            "other's files: run `pip uninstall mmcv mmcv-lite`, then "
            'install one of them.',
            stacklevel=2)
    elif _is_installed('mmcv') and not find_spec('mmcv._ext'):
        warnings.warn(
            'mmcv is installed without its compiled operators, as a wheel '
            'that was built without MMCV_WITH_OPS=1: models of MMAction2 '
            'that need them stop. Build them as docs/compatibility.md says, '
            'or install mmcv-lite, which serves ReSpike.',
            stacklevel=2)


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


# open-mmlab/mmaction2#2714: the release lacks mmaction/models/localizers/drn,
# which mmaction/models/localizers/__init__.py imports. -----------------------


class _DrnFinder(MetaPathFinder, Loader):
    """Finds a stand-in for the package that the release left out."""

    package = 'mmaction.models.localizers.drn'

    def find_spec(self,
                  fullname: str,
                  path: Any = None,
                  target: Any = None) -> ModuleSpec | None:
        if fullname == self.package:
            return ModuleSpec(fullname, self, is_package=True)
        if fullname == f'{self.package}.drn':
            return ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        return None  # the ordinary module

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == self.package:
            return
        from mmaction.registry import MODELS

        class DRN:
            """Stand-in for the localizer missing from the release."""

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                raise ImportError(
                    'DRN is missing from the PyPI release of mmaction2 '
                    '(open-mmlab/mmaction2#2714); install mmaction2 from '
                    'source to use it.')

        DRN.__module__ = module.__name__
        MODELS.register_module(name='DRN', module=DRN)
        setattr(module, 'DRN', DRN)  # noqa: B010


def mend_missing_drn() -> None:
    """Stand in for the missing package; a real one is always found first."""
    if not any(isinstance(finder, _DrnFinder) for finder in sys.meta_path):
        sys.meta_path.append(_DrnFinder())  # last: a source install wins


# open-mmlab/mmengine#1655: torch>=2.6 loads with weights_only=True, and
# MMEngine's checkpoints hold numpy values and HistoryBuffer, whose pickled
# state names its own methods as getattr(HistoryBuffer, 'min'). ---------------


def _history_buffer_method(owner: Any, name: str) -> Callable:
    """Answer the pickled getattr() for these four methods, nothing else."""
    from mmengine.logging import HistoryBuffer
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    raise UnpicklingError(f'refused getattr({owner!r}, {name!r})')


def mend_torch_load() -> None:
    """Allow what MMEngine pickles; ``weights_only`` stays on."""
    import numpy as np
    import torch
    from mmengine.logging import HistoryBuffer
    from mmengine.utils import digit_version
    if digit_version(torch.__version__) < digit_version('2.6.0'):
        return  # weights_only is off by default there
    core = np._core if hasattr(np, '_core') else np.core  # numpy 2, numpy 1
    safe = [
        HistoryBuffer, np.ndarray, np.dtype,
        (_history_buffer_method, 'builtins.getattr')
    ]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        safe += [(core.multiarray._reconstruct, f'{module}._reconstruct'),
                 (core.multiarray.scalar, f'{module}.scalar')]
    safe += {type(np.dtype(code)) for code in '?bBhHiIlLqQefd'}
    torch.serialization.add_safe_globals(safe)


# numpy 2 ---------------------------------------------------------------------


def mend_numpy_names() -> None:
    """Restore the names dropped by numpy 2 that mmaction still uses.

    ``Inf`` in the pose transforms, ``NAN`` in the AVA metric, ``trapz`` in the
    ActivityNet metric and ``in1d`` in the retrieval metric.
    """
    import numpy as np

    def in1d(ar1: Any, ar2: Any, *args: Any,
                 **kwargs: Any) -> np.ndarray:
        return np.isin(np.ravel(ar1), ar2, *args, **kwargs)

    names = {'Inf': np.inf, 'NAN': np.nan, 'in1d': in1d}
    if hasattr(np, 'trapezoid'):
        names['trapz'] = np.trapezoid
    for name, value in names.items():
        if not hasattr(np, name):
            setattr(np, name, value)


def mend_color_jitter() -> None:
    """Shift the hue without ``uint8 + negative int``, an error in numpy 2."""
    import cv2
    import numpy as np
    from mmaction.datasets.transforms import ColorJitter
    try:
        ColorJitter.adjust_hue(np.zeros((1, 1, 3), np.uint8), -0.1)
        return
    except OverflowError:
        pass

    def adjust_hue(img: np.ndarray, factor: float) -> np.ndarray:
        img = np.clip(img, 0, 255).astype(np.uint8)
        hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
        hue = hsv[..., 0].astype(np.int16) + int(factor * 255)
        hsv[..., 0] = hue % 180
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)

    ColorJitter.adjust_hue = staticmethod(adjust_hue)


def mend_imgaug() -> None:
    """Undo ``numpy.bool = bool``, which ImgAug leaves behind for everyone."""
    import numpy as np
    from mmaction.datasets.transforms import ImgAug
    if not hasattr(np, 'bool'):
        return  # numpy 1.24 to 1.26 has no name to protect

    def make(upstream: Callable) -> Callable:

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            numpy_bool = np.bool
            try:
                upstream(self, *args, **kwargs)
            finally:
                setattr(np, 'bool', numpy_bool)  # noqa: B010

        return init

    _replace(ImgAug, '__init__', make)


# A machine without accelerator -----------------------------------------------


def mend_gloo_init() -> None:
    """Start gloo without ``torch.cuda.set_device``, and leave it in time.

    MMEngine calls that, and never leaves: a thread of gloo that drops its
    last tensor while the interpreter ends aborts a process whose work is
    done (pytorch/pytorch#190489).
    """
    import torch
    import torch.distributed as dist
    from mmengine.dist import utils
    if _has_accelerator():
        return

    def make(upstream: Callable) -> Callable:

        def init_dist(backend: str, *args: Any, **kwargs: Any) -> None:
            if backend == 'nccl':
                raise RuntimeError(
                    "backend 'nccl' needs a CUDA device and this machine has "
                    'none; train on CPUs with `--cfg-options '
                    'env_cfg.dist_cfg.backend=gloo`.')
            set_device = torch.cuda.set_device
            torch.cuda.set_device = lambda device: None
            try:
                upstream(backend, *args, **kwargs)
            finally:
                torch.cuda.set_device = set_device
            atexit.register(leave)

        return init_dist

    def leave() -> None:
        if dist.is_initialized():
            dist.destroy_process_group()

    for launcher in ('pytorch', 'slurm', 'mpi'):
        _replace(utils, f'_init_dist_{launcher}', make)


def mend_ddp_device_ids() -> None:
    """Drop ``device_ids=[LOCAL_RANK]``, which DDP refuses on CPU modules."""
    from mmengine.model import MMDistributedDataParallel
    if _has_accelerator():
        return

    def make(upstream: Callable) -> Callable:

        def init(self: Any, module: Any, *args: Any,
                 **kwargs: Any) -> None:
            kwargs['device_ids'] = None
            upstream(self, module, *args, **kwargs)

        return init

    _replace(MMDistributedDataParallel, '__init__', make)


def mend_cpu_amp() -> None:
    """Let ``AmpOptimWrapper`` and ``--amp`` start without an accelerator.

    MMEngine asserts a GPU, though its own ``autocast`` knows the CPU, where it
    permits bfloat16 only. bfloat16 has float32's range, so no loss scaling.
    """
    import torch
    from mmengine.logging import print_log
    from mmengine.optim import AmpOptimWrapper, OptimWrapper
    if _has_accelerator():
        return

    def make(upstream: Callable) -> Callable:

        def init(self: Any,
                 loss_scale: Any = 'dynamic',
                 dtype: Any = None,
                 use_fsdp: bool = False,
                 **kwargs: Any) -> None:
            OptimWrapper.__init__(self, **kwargs)
            self._scale_update_param = None
            self.loss_scaler = torch.amp.GradScaler('cpu', enabled=False)
            self.cast_dtype = torch.bfloat16
            slow = '' if torch.ops.mkldnn._is_mkldnn_bf16_supported() else (
                ' This CPU has no instructions for it, which makes it several '
                'times slower than float32: leave --amp out.')
            print_log(
                'No accelerator: mixed precision runs as bfloat16 on the CPU, '
                f'without loss scaling (configured: dtype={dtype}, '
                f'loss_scale={loss_scale}).{slow}',
                logger='current',
                level=logging.WARNING if slow else logging.INFO)

        return init

    _replace(AmpOptimWrapper, '__init__', make)
    # No scaler, no scaler state: a GPU run can resume from this checkpoint.
    AmpOptimWrapper.state_dict = OptimWrapper.state_dict


def mend_bfloat16_scores() -> None:
    """Give loss and prediction of any head float32 scores for bfloat16 ones.

    ``BaseHead`` takes the top-k accuracy and ``AccMetric`` keeps the scores
    in NumPy, which has no bfloat16.
    """
    from mmaction.models.heads import BaseHead, OmniHead, RGBPoseHead

    def make(upstream: Callable) -> Callable:

        def by_feat(self: Any, cls_scores: Any, data_samples: Any) -> Any:
            return upstream(self, _without_bfloat16(cls_scores), data_samples)

        return by_feat

    for head in (BaseHead, OmniHead, RGBPoseHead):
        for name in ('loss_by_feat', 'predict_by_feat'):
            if name in vars(head):
                _replace(head, name, make)


def _without_bfloat16(scores: Any) -> Any:
    import torch
    if isinstance(scores, dict):  # of RGBPoseHead
        return {name: _without_bfloat16(x) for name, x in scores.items()}
    return scores.float() if scores.dtype == torch.bfloat16 else scores
