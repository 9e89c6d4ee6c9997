"""Draw what the two branches of a config see of a video."""
import argparse

from respike_mmaction.command_line import run_tool
from respike_mmaction.visualization import draw_split, read_split


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config with a ResidualFrameTransform')
    parser.add_argument('video')
    parser.add_argument('--out', default='split.png', help='PNG to write')
    parser.add_argument('--view', type=int, default=0)
    parser.add_argument('--groups', type=int, default=2,
                        help='groups of the view to draw, a row each')
    return parser.parse_args()


def main():
    args = parse_args()
    keys, residuals = read_split(args.config, args.video)
    draw_split(keys[args.view][:args.groups],
               residuals[args.view][:args.groups], args.out)
    print(f'written: {args.out}')


if __name__ == '__main__':
    run_tool(main)
