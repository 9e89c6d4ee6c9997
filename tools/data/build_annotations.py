"""Build and check the annotation lists of a data set.

Examples::

    build_annotations.py hmdb51 testTrainMulti_7030_splits \
        --videos data/hmdb51/videos
    build_annotations.py ucf101 ucfTrainTestlist --videos data/ucf101/videos
    build_annotations.py kinetics400 data/kinetics400/videos_train \
        data/kinetics400/videos_val
    build_annotations.py kinetics400 train.csv val.csv --missing drop \
        --videos data/kinetics400/videos_train data/kinetics400/videos_val
    build_annotations.py folder my_videos --name mine --verify

Lists are written to ``--out`` (default ``data/<name>``), where the configs
look for them, unless something is wrong; then all that is wrong is printed.
"""
import argparse
import sys
from pathlib import Path

from respike_mmaction.annotations import (
    KINETICS_CLASSES,
    OFFICIAL_COUNTS,
    Lists,
    find_problems,
    folder_lists,
    hmdb51_lists,
    kinetics_lists,
    ucf101_lists,
    verify_videos,
    with_other_suffixes,
    write_lists,
)
from respike_mmaction.datasets.video_reader import DECODERS


def parse_args(args=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        'dataset', choices=('hmdb51', 'ucf101', 'kinetics400', 'folder'))
    parser.add_argument(
        'source', nargs='+',
        help='hmdb51, ucf101: folder of the official lists\n'
        'kinetics400: for training and for validation, a folder of class\n'
        "folders, the authors' csv or MMAction2's list\n"
        'folder: folder of class folders')
    parser.add_argument(
        '--videos', nargs='+', default=[],
        help='folder of the videos (kinetics400: of training and validation)'
        '\n; without it the files are not looked for')
    parser.add_argument('--out', help='where to write, default data/<name>')
    parser.add_argument('--name', help='prefix of the lists')
    parser.add_argument(
        '--label-map', help='file of class names, in the order of the labels')
    parser.add_argument(
        '--missing', choices=('error', 'drop'), default='error',
        help='whether missing and unreadable videos are an error or dropped')
    parser.add_argument(
        '--verify', action='store_true',
        help='decode all frames of all videos; can be stopped and goes on')
    parser.add_argument(
        '--decoder', choices=DECODERS,
        default='auto',
        help='of --verify; RESPIKE_DECODER is stronger')
    parser.add_argument('--num-workers', type=int, default=4)
    parser.add_argument('--val-ratio', type=float, default=0.2)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--group', help='folder: regular expression for the path below the\n'
        'class, without suffix; its first group is the source of a video;\n'
        'default: a subfolder, or the name without what counts its clips')
    args = parser.parse_args(args)
    number = 2 if args.dataset == 'kinetics400' else 1
    if len(args.source) != number:
        parser.error(f'{args.dataset} needs {number} source(s)')
    if len(args.videos) not in (0, number):
        parser.error(f'{args.dataset} needs {number} folder(s) of videos')
    return args


def build(args):
    """Return the lists and the folders of the training and test videos."""
    roots = dict(zip(('train', 'val'), args.videos * 2, strict=False))
    if args.dataset == 'hmdb51':
        return hmdb51_lists(args.source[0]), roots
    if args.dataset == 'ucf101':
        return ucf101_lists(args.source[0]), roots
    if args.dataset == 'folder':
        root = args.source[0]
        return folder_lists(root, args.val_ratio, args.seed,
                            args.group), dict(train=root, val=root)
    sources = dict(zip(('train', 'val'), args.source, strict=True))
    for split, source in sources.items():
        if Path(source).is_dir():
            roots.setdefault(split, source)
    classes = None
    if args.label_map:
        classes = Path(args.label_map).read_text().splitlines()
    return kinetics_lists(sources, roots, classes), roots


def report(title, items, shown=20):
    """Print the first of a number of items."""
    if items:
        print(f'{len(items)} {title}:')
        print(''.join(f'  {item}\n' for item in sorted(items)[:shown]) +
              ('  ...' if len(items) > shown else ''))


def main(args=None):
    args = parse_args(args)
    name = args.name or args.dataset
    out = args.out or f'data/{name}'
    lists, roots = build(args)
    counts = OFFICIAL_COUNTS.get(args.dataset)
    problems, unusable = find_problems(lists, roots, counts)
    if unusable:
        lists, found = with_other_suffixes(lists, roots)
        if found:
            print(f'{found} videos have another suffix, and are listed so')
            problems, unusable = find_problems(lists, roots, counts)
    report('problems', problems)
    report('missing videos', {path for _, path in unusable})
    if not roots:
        print('the files were not looked for (no --videos)')

    if args.verify and roots:
        videos = {str(Path(root) / video.path): (root, video.path)
                  for split, videos in lists.splits.items()
                  for video in videos
                  if (root := roots[split.split('_')[0]],
                      video.path) not in unusable}
        Path(out).mkdir(parents=True, exist_ok=True)
        try:
            unreadable = verify_videos(
                videos, str(Path(out) / 'verified_videos.tsv'), args.decoder,
                args.num_workers)
        except KeyboardInterrupt:
            sys.exit('\nstopped; the same command goes on from here')
        print()
        report('unreadable videos',
               {f'{path}: {reason}' for path, reason in unreadable.items()})
        unusable |= {videos[path] for path in unreadable}

    if problems or (unusable and args.missing == 'error'):
        sys.exit('nothing was written; --missing drop leaves out missing and '
                 'unreadable videos')
    lists = Lists(lists.classes, {
        split: [video for video in videos
                if (roots.get(split.split('_')[0]), video.path)
                not in unusable]
        for split, videos in lists.splits.items()
    })
    empty = [split for split, videos in lists.splits.items() if not videos]
    if empty:
        sys.exit(f'nothing was written; no video is left of '
                 f'{", ".join(empty)}: is {args.videos or args.source} the '
                 'folder of the videos?')
    for split, videos in lists.splits.items():
        classes = len({video.label for video in videos})
        text = f'{split}: {len(videos)} videos of {classes} classes'
        if args.dataset == 'kinetics400':
            text += f' (officially {KINETICS_CLASSES})'
        print(text)
    print('\n'.join(write_lists(lists, name, out)))


if __name__ == '__main__':
    main()
