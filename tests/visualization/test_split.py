import sys

import cv2
import numpy as np

from tests.processes import run


def video(path, frames):
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'mp4v'), 25, (64, 64))
    for frame in frames:
        writer.write(frame)
    writer.release()


def test_picture_of_a_still_video_has_grey_residuals(root, tmp_path):
    rng = np.random.default_rng(0)
    texture = cv2.resize(
        rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), (64, 64))
    video(tmp_path / 'still.mp4', [texture] * 20)
    out = tmp_path / 'split.png'
    config, = (root / 'configs/respike').glob('*_motion8-rgb.py')
    run([sys.executable, root / 'tools/visualizations/show_split.py', config,
         tmp_path / 'still.mp4', '--out', out], cwd=root)
    picture = cv2.imread(str(out)).astype(int)
    half = picture.shape[1] // 4
    coloured = np.ptp(picture, axis=2) > 40
    assert coloured[:, :half].mean() > 0.2  # the key frames
    assert coloured[:, half:].mean() < 0.01
    grey = np.abs(picture[:, half:] - 127).max(axis=2) < 12
    assert grey.mean() > 0.5  # residuals around zero
