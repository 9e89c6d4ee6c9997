"""Convert a checkpoint of the authors' ReSpike code to ours, or back."""
import argparse
from pathlib import Path

import torch
from mmengine.config import Config

import respike_mmaction
from respike_mmaction.checkpoints.published import (
    from_published,
    read_state_dict,
    to_published,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('input', help='checkpoint to read')
    parser.add_argument('output', help='checkpoint to write')
    parser.add_argument(
        '--reverse', action='store_true', help='from ours to theirs')
    parser.add_argument(
        '--downsample',
        action=argparse.BooleanOptionalAction,
        help='whether stages 1 and 2 are fused on the stage-3 grid; the '
        'default tells it from the values: an unused fusion1 is still zero')
    parser.add_argument(
        '--stride',
        type=int,
        default=4,
        help='frames of a group, for the printed config: 4 for HMDB-51 and '
        'UCF-101, 2 for Kinetics-400 (a checkpoint does not tell)')
    return parser.parse_args()


def report(conversion, stride: int, told: bool) -> None:
    """Print the account of every key and the config that fits.

    Args:
        conversion (Conversion): The account.
        stride (int): Frames of a group.
        told (bool): Whether ``downsample`` was told from the values.
    """
    for source, target in conversion.used.items():
        print(f'used     {source} -> {target}')
    for name in conversion.dropped:
        print(f'dropped  {name}')
    for name in conversion.made:
        print(f'missing  {name} (made anew)')
    model = conversion.model
    print(f'\n{len(conversion.used)} keys used, {len(conversion.dropped)} '
          f'dropped, {len(conversion.made)} missing and made anew')
    flag = '--no-downsample' if model.downsample else '--downsample'
    how = (f' (told from the values of fusion1.proj_out; {flag} overrules)'
           if told else '')
    print(f'ResNet-{model.depth} key frames, '
          f'downsample={model.downsample}{how}, base_channels='
          f'{model.base_channels}, '
          f'num_classes={model.num_classes}\n')
    print(Config(dict(model=model.config(stride))).pretty_text)


def convert(args: argparse.Namespace) -> None:
    state_dict = read_state_dict(args.input)
    if args.reverse:
        conversion = to_published(state_dict)
        content = conversion.state_dict
    else:
        conversion = from_published(state_dict, args.downsample)
        meta = dict(
            respike_mmaction_version=respike_mmaction.__version__,
            source=Path(args.input).name)
        content = dict(meta=meta, state_dict=conversion.state_dict)
    report(conversion, args.stride,
           told=not args.reverse and args.downsample is None)
    Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, args.output)
    print(f'written: {args.output}')


def main() -> None:
    try:
        convert(parse_args())
    except ValueError as error:
        raise SystemExit(error) from None


if __name__ == '__main__':
    main()
