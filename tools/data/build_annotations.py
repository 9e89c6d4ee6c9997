"""Build and check the annotation lists of a data set.

Examples::

    build_annotations.py hmdb51 testTrainMulti_7030_splits \
        --videos data/hmdb51/videos
    build_annotations.py ucf101 ucfTrainTestlist --videos data/ucf101/videos
    build_annotations.py kinetics400 data/kinetics400/videos_train \
        data/kinetics400/videos_val
    build_annotations.py kinetics400 train.csv val.csv --missing drop \
        --videos data/kinetics400/videos_train data/kinetics400/videos_val
    build_annotations.py folder my_videos --name mine --verify \
        --config configs/respike/mine.py
    build_annotations.py folder my_videos --name mine --train train.txt \
        --val val.txt --label-map classes.txt

Lists are written to ``--out`` (default ``data/<name>``), where the configs
look for them, unless something is wrong; then all that is wrong is printed.
``build_annotations.py folder --help`` tells the options of one's own videos.
"""
import sys
import warnings
from pathlib import Path

from respike_mmaction.annotations import (
    KINETICS_CLASSES,
    OFFICIAL_COUNTS,
    Lists,
    check_classes,
    find_problems,
    folder_lists,
    hmdb51_lists,
    kinetics_lists,
    left_out,
    read_label_map,
    sources_on_both_sides,
    split_folders,
    split_lists,
    ucf101_lists,
    verify_videos,
    with_other_suffixes,
    write_config,
    write_lists,
)
from respike_mmaction.annotations.training_config import KEY_BRANCHES
from respike_mmaction.command_line import make_parser
from respike_mmaction.datasets.annotation_file import UNLABELLED
from respike_mmaction.datasets.video_reader import DECODERS

SOURCES = dict(
    hmdb51='folder of the official lists',
    ucf101='folder of the official lists',
    kinetics400='for training and for validation, a folder of class folders, '
    "the authors' csv or MMAction2's list",
    folder='folder of class folders, or one with folders train, val (and '
    'test) of class folders')
SIDES = ('train', 'val', 'test')
CONFIG = ('key_branch', 'num_frames', 'stride', 'frame_interval', 'size',
          'flip_ratio', 'max_epochs', 'batch_size')


def common_options(parser, dataset):
    number = 2 if dataset == 'kinetics400' else 1
    parser.set_defaults(
        videos=[], label_map=None, config=None, train=None, val=None,
        test=None)
    parser.add_argument('source', nargs=number, help=SOURCES[dataset])
    if dataset != 'folder':
        parser.add_argument(
            '--videos', nargs=number,
            help='folder of the videos (kinetics400: of training and '
            'validation); without it the files are not looked for')
    if number == 2 or dataset == 'folder':
        parser.add_argument(
            '--label-map',
            help='file of class names, in the order of the labels (default: '
            'the names of the folders, in alphabetical order)')
    parser.add_argument(
        '--name', default=dataset,
        help='prefix of the lists (default: %(default)s)')
    parser.add_argument('--out', help='where to write (default: data/NAME)')
    parser.add_argument(
        '--missing', choices=('error', 'drop'), default='error',
        help='whether missing and unreadable videos are an error or dropped '
        '(default: %(default)s)')
    parser.add_argument(
        '--verify', action='store_true',
        help='decode all frames of all videos; can be stopped and goes on')
    parser.add_argument(
        '--decoder', choices=DECODERS, default='auto',
        help='of --verify; RESPIKE_DECODER is stronger (default: %(default)s)')
    parser.add_argument(
        '--num-workers', type=int, default=4,
        help='processes of --verify, and of the data loaders of --config '
        '(default: %(default)s)')


def folder_options(parser):
    split = parser.add_argument_group('how the videos are divided')
    split.add_argument(
        '--val-ratio', type=float, default=0.2,
        help='share of the validation videos (default: %(default)s)')
    split.add_argument('--seed', type=int, default=0,
                       help='of the split (default: %(default)s)')
    source = split.add_mutually_exclusive_group()
    source.add_argument(
        '--group', help='regular expression for the path below the class, '
        'without suffix; its first group is the source of a video, whose '
        'clips stay on one side (default: a subfolder, or the name without '
        'what counts its clips)')
    source.add_argument(
        '--groups', metavar='FILE',
        help='file with a line "path source" for every video instead')
    for side in SIDES:
        split.add_argument(
            f'--{side}', metavar='LIST',
            help='list with lines "path label" to check and take')
    config = parser.add_argument_group(
        'a config for tools/train.py, which holds each value once')
    config.add_argument('--config', metavar='FILE', help='where to write it')
    config.add_argument('--key-branch', choices=KEY_BRANCHES, default='r18',
                        help='ResNet of the key frames (default: %(default)s)')
    for name, default, text in (
            ('num-frames', 16, 'frames of a clip, a multiple of the stride'),
            ('stride', 4, 'frames of a group, the first its key frame'),
            ('frame-interval', 1, 'frames from one of a clip to the next'),
            ('size', 224, 'height and width of the frames'),
            ('flip-ratio', 0.5, 'share of mirrored training clips; 0 where '
             'left and right are classes'),
            ('max-epochs', 30, 'epochs of the training'),
            ('batch-size', 8, 'videos of a batch')):
        config.add_argument(f'--{name}', type=type(default), default=default,
                            help=f'{text} (default: %(default)s)')


def parse_args(args=None):
    parser = make_parser(__doc__)
    datasets = parser.add_subparsers(dest='dataset', required=True)
    for dataset, source in SOURCES.items():
        sub = datasets.add_parser(dataset, help=f'SOURCE: {source}')
        common_options(sub, dataset)
        if dataset == 'folder':
            folder_options(sub)
    args = parser.parse_args(args)
    if bool(args.train) != bool(args.val) or (args.test and not args.val):
        parser.error('--train LIST and --val LIST belong together')
    if args.train and (args.group or args.groups):
        parser.error('--group and --groups divide videos, lists are divided')
    args.out = args.out or f'data/{args.name}'
    return args


def build_folder(args):
    """Lists of one's own videos and the folder of the videos of each."""
    root = args.source[0]
    classes = args.label_map and read_label_map(args.label_map)
    given = {side: getattr(args, side) for side in SIDES
             if getattr(args, side)}
    folders = {} if given else split_folders(root)
    if folders and (args.group or args.groups):
        raise ValueError(f'{root} is divided by its folders '
                         f'({", ".join(folders.values())}): --group and '
                         '--groups divide class folders')
    roots = folders or dict.fromkeys(given or ('train', 'val'), root)
    if given or folders:
        lists = split_lists(given or folders, roots, classes)
        report('sources are on both sides (no error)',
               sources_on_both_sides(lists))
    else:
        lists = folder_lists(root, args.val_ratio, args.seed, args.group,
                             args.groups)
        if classes and classes != lists.classes:
            raise ValueError(f'{args.label_map}: {classes} are not the '
                             f'folders {lists.classes} in their order')
    check_classes(lists, root)
    if not given:
        for folder in {*roots.values()}:
            counts = left_out(Path(folder)).most_common()
            if counts:
                print(f'left out in {folder}: ' + ', '.join(
                    f'{number} {kind}' for kind, number in counts))
    return lists, roots


def build(args):
    """Return the lists and the folders of the training and test videos."""
    if args.dataset == 'folder':
        return build_folder(args)
    roots = dict(zip(('train', 'val'), args.videos * 2, strict=False))
    if args.dataset == 'hmdb51':
        return hmdb51_lists(args.source[0]), roots
    if args.dataset == 'ucf101':
        return ucf101_lists(args.source[0]), roots
    sources = dict(zip(('train', 'val'), args.source, strict=True))
    for split, source in sources.items():
        if Path(source).is_dir():
            roots.setdefault(split, source)
    classes = args.label_map and read_label_map(args.label_map)
    return kinetics_lists(sources, roots, classes), roots


def report(title, items, shown=20):
    """Print the first of a number of items."""
    if items:
        print(f'{len(items)} {title}:')
        print(''.join(f'  {item}\n' for item in sorted(items)[:shown]) +
              ('  ...' if len(items) > shown else ''))


def verify(args, lists, roots, unusable):
    """The (root, path) of videos whose frames cannot all be decoded."""
    videos = {str(Path(root) / video.path): (root, video.path)
              for split, videos in lists.splits.items()
              for video in videos
              if (root := roots[split.split('_')[0]],
                  video.path) not in unusable}
    Path(args.out).mkdir(parents=True, exist_ok=True)
    try:
        unreadable = verify_videos(
            videos, str(Path(args.out) / 'verified_videos.tsv'), args.decoder,
            args.num_workers)
    except KeyboardInterrupt:
        sys.exit('\nstopped; the same command goes on from here')
    print()
    report('unreadable videos',
           {f'{path}: {reason}' for path, reason in unreadable.items()})
    return {videos[path] for path in unreadable}


def main(args=None):
    args = parse_args(args)
    if args.config and Path(args.config).exists():
        sys.exit(f'{args.config} exists already: nothing was written')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', UserWarning)
        lists, roots = build(args)
    for warning in caught:
        print(warning.message)
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
        unusable |= verify(args, lists, roots, unusable)

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
    shown = ', '.join(lists.classes[:10])
    print(f'{len(lists.classes)} classes: {shown}'
          f'{" ..." if len(lists.classes) > 10 else ""}')
    for split, videos in lists.splits.items():
        classes = len({video.label for video in videos} - {UNLABELLED})
        text = f'{split}: {len(videos)} videos '
        text += f'of {classes} classes' if classes else 'without labels'
        if args.dataset == 'kinetics400':
            text += f' (officially {KINETICS_CLASSES})'
        print(text)
    if args.config:
        write_config(
            args.config, lists, args.name, args.out, roots,
            Path(__file__).parents[2] / 'configs',
            num_workers=args.num_workers,
            **{key: getattr(args, key) for key in CONFIG})
        print(args.config)
    print('\n'.join(write_lists(lists, args.name, args.out)))


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'{error}\nnothing was written')
