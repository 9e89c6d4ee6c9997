r"""Hold back a part of a training list, to choose settings on.

``split_list.py AS1_train.txt --group '_s(\d+)_'`` writes
``AS1_train_fit.txt`` and ``AS1_train_held.txt``: train with
``--cfg-options ann_file_train=..._fit.txt ann_file_val=..._held.txt`` until
all is chosen, then once with the whole list and the test list.
"""
import sys
from pathlib import Path

from respike_mmaction.annotations import Video, hold_out
from respike_mmaction.command_line import make_parser
from respike_mmaction.datasets.annotation_file import read_annotations


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument('list', type=Path, help='lines "path label"')
    parser.add_argument('--held', type=float, default=.25,
                        help='share to hold back (default: 0.25)')
    parser.add_argument(
        '--group', help='regular expression: what its first group finds in a '
        'path stays together (default: the recordings that names of UCF-101, '
        'HMDB-51 and Kinetics tell)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out-dir', type=Path,
                        help='default: where the list is')
    args = parser.parse_args(argv)
    videos = [Video(sample['filename'], sample['label'])
              for sample in read_annotations(str(args.list))]
    parts = hold_out(videos, args.held, args.group, args.seed)
    folder = args.out_dir or args.list.parent
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(('fit', 'held'), parts, strict=True):
        path = folder / f'{args.list.stem}_{name}.txt'
        path.write_text(''.join(f'{v.path} {v.label}\n' for v in part))
        print(f'{path}: {len(part)} videos')


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'{error}\nnothing was written')
