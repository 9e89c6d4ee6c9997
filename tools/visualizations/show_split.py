"""Draw what the two branches of a config see of a video."""
import argparse

import matplotlib
import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config with a ResidualFrameTransform')
    parser.add_argument('video')
    parser.add_argument('--out', default='split.png', help='PNG to write')
    parser.add_argument('--view', type=int, default=0)
    parser.add_argument('--groups', type=int, default=2,
                        help='groups of the view to draw, a row each')
    return parser.parse_args()


def split(config, video):
    """Key frames (V, K, C, H, W) and residual frames (V, K, S, C, H, W)."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    inputs = Compose(cfg.test_pipeline)(
        dict(filename=video, label=-1, start_index=0, modality='RGB'))
    if 'key_frames' not in inputs['inputs']:
        raise ValueError(f'{config}: its test_pipeline gives no key_frames; '
                         'show_split.py takes one with '
                         'ResidualFrameTransform')
    return tuple(inputs['inputs'][key].numpy()
                 for key in ('key_frames', 'residual_frames'))


def draw(keys, residuals, path):
    """A row a group: its key frame, then its residuals around mid-grey."""
    steps = residuals.shape[1]
    figure, axes = plt.subplots(
        len(keys), steps + 1, squeeze=False,
        figsize=(1.8 * (steps + 1), 1.95 * len(keys)))
    for row, key, group in zip(axes, keys, residuals, strict=True):
        row[0].imshow(key.transpose(1, 2, 0))
        row[0].set_title('key frame', fontsize=9)
        for t, (axis, residual) in enumerate(
                zip(row[1:], group, strict=True), start=1):
            grey = np.clip(residual.transpose(1, 2, 0) / 2 + 127.5, 0, 255)
            axis.imshow(grey.astype(np.uint8))
            axis.set_title(f'residual, step {t}', fontsize=9)
        for axis in row:
            axis.axis('off')
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main():
    args = parse_args()
    keys, residuals = split(args.config, args.video)
    draw(keys[args.view][:args.groups], residuals[args.view][:args.groups],
         args.out)
    print(f'written: {args.out}')


if __name__ == '__main__':
    main()
