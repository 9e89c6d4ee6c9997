"""A picture of what the two branches see of a video."""
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from ..residual import BRANCHES
from .figures import pyplot


def read_split(config: str, video: str) -> tuple[np.ndarray, np.ndarray]:
    """Key and residual frames that the test pipeline of a config gives.

    Args:
        config (str): File of a config with a ``ResidualFrameTransform``.
        video (str): Video file.

    Returns:
        tuple[np.ndarray]: (V, K, C, H, W) uint8 and (V, K, S, C, H, W) int16.

    Raises:
        ValueError: If the test pipeline does not split the frames.
    """
    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    inputs = Compose(cfg.test_pipeline)(
        dict(filename=video, label=-1, start_index=0, modality='RGB'))
    if not set(BRANCHES) <= set(inputs['inputs']):
        raise ValueError(f'{config}: its test_pipeline gives no key_frames; '
                         'show_split.py takes one with '
                         'ResidualFrameTransform')
    keys, residuals = (inputs['inputs'][key].numpy() for key in BRANCHES)
    return keys, residuals


def around_grey(residual: np.ndarray) -> np.ndarray:
    """A residual as an image: no change is mid-grey.

    Args:
        residual (np.ndarray): int16, any shape.

    Returns:
        np.ndarray: uint8.
    """
    return np.clip(residual / 2 + 127.5, 0, 255).astype(np.uint8)


def draw_split(keys: np.ndarray, residuals: np.ndarray,
               path: str | Path) -> None:
    """Draw a row a group: its key frame, then its residuals around mid-grey.

    Args:
        keys (np.ndarray): Key frames (K, C, H, W), uint8.
        residuals (np.ndarray): Residual frames (K, S, C, H, W), int16.
        path (str | Path): Image to write, ``.png`` or ``.svg``.
    """
    steps = residuals.shape[1]
    plt = pyplot()
    figure, axes = plt.subplots(
        len(keys), steps + 1, squeeze=False,
        figsize=(1.8 * (steps + 1), 1.95 * len(keys)))
    for row, key, group in zip(axes, keys, residuals, strict=True):
        row[0].imshow(key.transpose(1, 2, 0))
        row[0].set_title('key frame', fontsize=9)
        for t, (axis, residual) in enumerate(
                zip(row[1:], group, strict=True), start=1):
            axis.imshow(around_grey(residual.transpose(1, 2, 0)))
            axis.set_title(f'residual, step {t}', fontsize=9)
        for axis in row:
            axis.axis('off')
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
