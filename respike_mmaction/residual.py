"""Key frames and residual frames: the one definition of the split.

Both the data transform (NumPy, ``uint8``) and the recognizer (tensors,
normalised) call :func:`split_clip`; nothing else computes a residual.
"""
from typing import TypeVar

import numpy as np
import torch

# the two inputs of ReSpike, as pipelines, preprocessor and model name them
BRANCHES = ('key_frames', 'residual_frames')

# the frame of its group that is subtracted from a frame
REFERENCES = ('key', 'previous')

Frames = TypeVar('Frames', np.ndarray, torch.Tensor)


def check_groups(num_frames: int, stride: int) -> int:
    """Number of groups a clip is cut into, after checking the two sizes.

    Args:
        num_frames (int): Frames T of a clip (16 in the paper).
        stride (int): Frames of a group: one key frame and ``stride - 1``
            residual frames (4 for HMDB-51 and UCF-101, 2 for Kinetics-400 in
            the paper).

    Returns:
        int: K = T / stride groups.

    Raises:
        ValueError: If the stride is below 2 or T is not divisible by it.
    """
    if not isinstance(stride, int) or stride < 2:
        raise ValueError(
            f'stride={stride!r} is not allowed: a group holds one key frame '
            'and at least one residual frame, so it is an integer >= 2')
    if not isinstance(num_frames, int) or num_frames < stride or \
            num_frames % stride:
        raise ValueError(
            f'num_frames={num_frames!r} is not allowed with stride={stride}: '
            'it is a positive multiple of the stride')
    return num_frames // stride


def check_reference(reference: str) -> str:
    """The frame that residuals are taken to, after checking its name.

    Args:
        reference (str): ``'key'`` (the paper's) or ``'previous'``.

    Returns:
        str: The same.

    Raises:
        ValueError: If it is neither.
    """
    if reference not in REFERENCES:
        raise ValueError(f'reference={reference!r} is not allowed: residuals '
                         f'are taken to one of {REFERENCES}')
    return reference


def split_clip(clip: Frames,
               stride: int,
               reference: str = 'key') -> tuple[Frames, Frames]:
    """Split clips into key frames and residual frames (paper, section 3).

    A clip is cut into K = T / stride groups of consecutive frames. The first
    frame of a group is its key frame x_key; every other frame x_t gives the
    residual frame r_t = x_t - x_key (to the key frame, not to its
    predecessor).

    Args:
        clip (np.ndarray | torch.Tensor): Frames, (..., T, C, H, W), of
            ``uint8``, signed integers or floats. ``uint8`` residuals are
            widened to ``int16``, which holds -255..255 exactly.
        stride (int): Frames of a group.
        reference (str): ``'key'``, or ``'previous'`` for residuals
            r_t = x_t - x_(t-1) of neighbours in a group, an ablation.
            Defaults to ``'key'``, the paper's.

    Returns:
        tuple: Key frames, (..., K, C, H, W), a view of ``clip``; and residual
        frames, (..., K, stride - 1, C, H, W).

    Raises:
        ValueError: If T is not divisible by the stride, stride < 2, the
            reference is unknown, or the frames are wider unsigned
            integers: their differences would wrap.
    """
    *lead, num_frames, channels, height, width = clip.shape
    num_groups = check_groups(int(num_frames), stride)  # a tensor in a trace
    groups = clip.reshape(*lead, num_groups, stride, channels, height, width)
    key_frames = groups[..., 0, :, :, :]  # (..., K, C, H, W)
    others = groups[..., 1:, :, :, :]
    subtracted = (groups[..., :1, :, :, :]
                  if check_reference(reference) == 'key' else
                  groups[..., :-1, :, :, :])
    if isinstance(clip, np.ndarray):
        if clip.dtype == np.uint8:
            return key_frames, np.subtract(
                others, subtracted, dtype=np.int16)
        if clip.dtype.kind not in 'if':
            raise ValueError(
                f'frames of dtype {clip.dtype} are not allowed: they are '
                'uint8, signed integers or floats')
    elif clip.dtype == torch.uint8:
        others = others.to(torch.int16)
        subtracted = subtracted.to(torch.int16)
    return key_frames, others - subtracted


def join_clip(key_frames: np.ndarray, residual_frames: np.ndarray,
              reference: str = 'key') -> np.ndarray:
    """The frames that :func:`split_clip` split.

    Args:
        key_frames (np.ndarray): (..., K, C, H, W), uint8.
        residual_frames (np.ndarray): (..., K, S, C, H, W), int16.
        reference (str): Of the split. Defaults to ``'key'``.

    Returns:
        np.ndarray: (..., K * (S + 1), C, H, W), uint8.
    """
    changes = residual_frames
    if check_reference(reference) == 'previous':
        changes = residual_frames.cumsum(-4)
    keys = key_frames[..., None, :, :, :]
    groups = np.concatenate([keys, keys + changes], axis=-4)
    *lead, num_groups, stride, channels, height, width = groups.shape
    return groups.reshape(*lead, num_groups * stride, channels, height,
                          width).astype(np.uint8)
