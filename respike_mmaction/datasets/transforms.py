"""Data transforms."""
import zlib

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from ..residual import BRANCHES, check_groups, check_reference, split_clip


@TRANSFORMS.register_module()
class ResidualFrameTransform(BaseTransform):
    """Split clips into key frames and residual frames (paper, section 3).

    Comes after ``FormatShape(input_format='NCHW')`` and before the packing.
    Works on raw pixels: the mean cancels in a residual, so residual frames
    are later divided by the standard deviation only.

    Required Keys:

    - imgs (V * num_frames, C, H, W), ``uint8``, the frames of a view together

    Added Keys (``keep='both'``):

    - key_frames (V, K, C, H, W), ``uint8``
    - residual_frames (V, K, S, C, H, W), ``int16``

    Removed Keys (``keep='both'``):

    - imgs

    Modified Keys (``keep='key'`` or ``'residual'``):

    - imgs (V * K, C, H, W) or (V * K * S, C, H, W), for a stock recognizer
    - clip_len, num_clips, input_shape

    V is the number of views (clips x crops), K = num_frames / stride the
    number of groups and S = stride - 1 the number of residual steps.

    Args:
        stride (int): Frames of a group. Defaults to 4, the paper's value for
            HMDB-51 and UCF-101 (2 for Kinetics-400).
        num_frames (int): Frames T of a view. Defaults to 16, the paper's.
        keep (str): ``'both'`` for ReSpike; ``'key'`` or ``'residual'`` put
            that half into ``imgs``, for any 2D recognizer; ``'all'`` leaves
            the frames as they are, for recognizers that read, or split,
            plain frames. Defaults to ``'both'``.
        reference (str): What residuals are taken to, see
            :func:`respike_mmaction.residual.split_clip`. Defaults to
            ``'key'``, the paper's.

    Raises:
        ValueError: If the sizes do not fit one another, ``keep`` is unknown,
            or the frames that come in are not whole views in NCHW.
    """

    KEEP = ('both', 'key', 'residual', 'all')

    def __init__(self,
                 stride: int = 4,
                 num_frames: int = 16,
                 keep: str = 'both',
                 reference: str = 'key') -> None:
        self.num_groups = check_groups(num_frames, stride)
        if keep not in self.KEEP:
            raise ValueError(
                f'keep={keep!r} is not allowed: it is one of {self.KEEP}')
        self.stride = stride
        self.num_frames = num_frames
        self.keep = keep
        self.reference = check_reference(reference)

    def transform(self, results: dict) -> dict:
        """Split ``results['imgs']``.

        Args:
            results (dict): What the pipeline holds so far.

        Returns:
            dict: The same, with the keys named above.
        """
        views = self._views(results)
        if self.keep == 'all':
            return results
        key_frames, residual_frames = split_clip(
            views, self.stride, self.reference)
        if self.keep == 'both':
            del results['imgs']  # two copies of the frames would travel
            results.update(
                zip(BRANCHES, (key_frames, residual_frames), strict=True))
            return results

        kept = key_frames if self.keep == 'key' else residual_frames
        imgs = np.ascontiguousarray(kept.reshape(-1, *kept.shape[-3:]))
        results['imgs'] = imgs
        results['input_shape'] = imgs.shape
        # what is left of a view is a sequence of single frames, as in TSN
        results['clip_len'] = 1
        results['num_clips'] = len(imgs) // len(views)
        return results

    def _views(self, results: dict) -> np.ndarray:
        """``imgs`` as (V, num_frames, C, H, W)."""
        where = f' of {results["filename"]}' if 'filename' in results else ''
        if 'imgs' not in results:
            raise ValueError(
                'ResidualFrameTransform found no `imgs`: it comes after the '
                "decoding and FormatShape(input_format='NCHW')")
        imgs = results['imgs']
        if not isinstance(imgs, np.ndarray) or imgs.ndim != 4:
            shape = getattr(imgs, 'shape', type(imgs).__name__)
            raise ValueError(
                f'ResidualFrameTransform got `imgs` of shape {shape}{where}: '
                'it takes (V * num_frames, C, H, W), as '
                "FormatShape(input_format='NCHW') leaves them")
        if len(imgs) == 0 or len(imgs) % self.num_frames:
            raise ValueError(
                f'ResidualFrameTransform got {len(imgs)} frames{where}: it '
                f'takes a multiple of num_frames={self.num_frames}; set '
                'clip_len (or num_clips) of the frame sampling to it')
        return imgs.reshape(-1, self.num_frames, *imgs.shape[1:])

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(stride={self.stride}, '
                f'num_frames={self.num_frames}, keep={self.keep!r}, '
                f'reference={self.reference!r})')


@TRANSFORMS.register_module()
class GroupFrameOrder(BaseTransform):
    """Change the order of the frames of every group behind its key frame.

    For ablations: key frames stay in their places, so that only what the
    spiking branch reads is changed. Comes before
    :class:`ResidualFrameTransform`, with the same sizes.

    Modified Keys:

    - imgs (V * num_frames, C, H, W)

    Args:
        order (str): ``'given'``; ``'reversed'``; ``'shuffled'``, drawn anew
            for every group; or ``'frozen'``, all frames equal to their key
            frame, which leaves no motion. Defaults to ``'given'``.
        stride (int): Frames of a group. Defaults to 4.
        test_mode (bool): Draw by the name of the video, the same each time.
            Defaults to False.

    Raises:
        ValueError: If the order is unknown, or the frames that come in are
            not whole groups.
    """

    ORDERS = ('given', 'reversed', 'shuffled', 'frozen')

    def __init__(self,
                 order: str = 'given',
                 stride: int = 4,
                 test_mode: bool = False) -> None:
        if order not in self.ORDERS:
            raise ValueError(
                f'order={order!r} is not allowed: it is one of {self.ORDERS}')
        check_groups(stride, stride)
        self.order = order
        self.stride = stride
        self.test_mode = test_mode

    def transform(self, results: dict) -> dict:
        """Reorder ``results['imgs']``.

        Args:
            results (dict): What the pipeline holds so far.

        Returns:
            dict: The same.
        """
        num_frames = len(results['imgs'])
        if num_frames % self.stride:
            raise ValueError(
                f'GroupFrameOrder got {num_frames} frames of '
                f'{results.get("filename", "a clip")}: it takes a multiple '
                f'of stride={self.stride}')
        if self.order == 'given':
            return results
        index = np.arange(num_frames).reshape(-1, self.stride)
        if self.order == 'reversed':
            index[:, 1:] = index[:, :0:-1].copy()
        elif self.order == 'frozen':
            index[:] = index[:, :1]
        else:
            name = str(results.get('filename', '')).encode()
            rng = np.random.default_rng(
                zlib.crc32(name) if self.test_mode else
                np.random.randint(2**31))  # the worker's seed is its own
            index[:, 1:] = rng.permuted(index[:, 1:], axis=1)
        results['imgs'] = results['imgs'][index.ravel()]
        return results

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(order={self.order!r}, '
                f'stride={self.stride}, test_mode={self.test_mode})')
