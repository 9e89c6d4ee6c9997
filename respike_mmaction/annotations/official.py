"""Lists of HMDB-51, UCF-101 and Kinetics-400 from their official files."""
import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..datasets.annotation_file import read_annotations
from .lists import Lists, Video, class_folders, text_lines, videos_below

__all__ = [
    'KINETICS_CLASSES', 'OFFICIAL_COUNTS', 'hmdb51_lists', 'kinetics_lists',
    'ucf101_lists'
]

# number of training and test videos of splits 1, 2 and 3
OFFICIAL_COUNTS = dict(
    hmdb51=((3570, 1530), ) * 3,
    ucf101=((9537, 3783), (9586, 3734), (9624, 3696)))
# its videos vanish from YouTube, its classes do not
KINETICS_CLASSES = 400


def hmdb51_lists(annotations: str) -> Lists:
    """Read the splits of HMDB-51.

    Args:
        annotations (str): The folder ``testTrainMulti_7030_splits``; its
            files hold lines ``name value``, where value 1 is training, 2
            test and 0 neither.

    Returns:
        Lists: Labels in the alphabetical order of the classes, videos in the
        order of the files.

    Raises:
        ValueError: If a file is missing or a line is wrong.
    """
    folder = Path(annotations)
    pattern = re.compile(r'(.+)_test_split([123])\.txt')
    found = [m for m in map(pattern.fullmatch, sorted(
        path.name for path in folder.glob('*.txt'))) if m]
    classes = sorted({match[1] for match in found})
    if not classes:
        raise ValueError(f'{folder}: no files CLASS_test_split1.txt')
    splits = {}
    for split in (1, 2, 3):
        chosen = {'1': [], '2': [], '0': []}
        for label, name in enumerate(classes):
            path = folder / f'{name}_test_split{split}.txt'
            for where, line in text_lines(path):
                video, _, value = line.rpartition(' ')
                if value not in chosen or not video:
                    raise ValueError(f'{where}: {line!r} is not "name value" '
                                     'with a value of 0, 1 or 2')
                chosen[value].append(Video(f'{name}/{video.strip()}', label))
        splits[f'train_split_{split}'] = chosen['1']
        splits[f'val_split_{split}'] = chosen['2']
    return Lists(classes, splits)


def ucf101_lists(annotations: str) -> Lists:
    """Read the splits of UCF-101.

    Args:
        annotations (str): The folder ``ucfTrainTestlist`` with
            ``classInd.txt`` (labels from 1, ours are from 0),
            ``trainlist0*.txt`` and ``testlist0*.txt``.

    Returns:
        Lists: Videos in the order of the files.

    Raises:
        ValueError: If a file is missing or a line is wrong.
    """
    folder = Path(annotations)
    labels = {}
    for where, line in text_lines(folder / 'classInd.txt'):
        number, _, name = line.partition(' ')
        if number != str(len(labels) + 1) or not name:
            raise ValueError(f'{where}: {line!r} is not '
                             f'"{len(labels) + 1} class"')
        labels[name] = len(labels)
    splits = {}
    for split in (1, 2, 3):
        for ours, theirs in (('train', 'trainlist'), ('val', 'testlist')):
            videos = []
            for where, line in text_lines(folder / f'{theirs}0{split}.txt'):
                path, _, number = line.partition(' ')
                label = labels.get(path.split('/')[0])
                if label is None or (number and int(number) != label + 1):
                    raise ValueError(
                        f'{where}: {line!r} does not agree with '
                        f'{folder / "classInd.txt"}')
                videos.append(Video(path, label))
            splits[f'{ours}_split_{split}'] = videos
    return Lists(list(labels), splits)


def _from_folders(root: Path, paths: Iterable[str],
                  classes: Sequence[str]) -> list[Video]:
    # MMAction2 has users rename 'air drumming' to 'air_drumming'
    labels = {name.replace('_', ' '): i for i, name in enumerate(classes)}
    videos = []
    for path in paths:
        name = path.split('/')[0].replace('_', ' ')
        if name not in labels:
            raise ValueError(f'{root / path}: the folder is none of the '
                             f'{len(classes)} classes')
        videos.append(Video(path, labels[name]))
    return videos


def _from_csv(path: Path, root: Path | None,
              classes: Sequence[str]) -> list[Video]:
    """Rows ``label,youtube_id,time_start,time_end,...`` of the authors."""
    labels = {name: i for i, name in enumerate(classes)}
    # whatever the folder is called and the times are padded to
    files = {}
    for file in videos_below(root) if root else ():
        files[Path(file).stem[:11]] = file
    videos = []
    with open(path, newline='', encoding='utf-8') as stream:
        for number, row in enumerate(csv.DictReader(stream), 2):
            try:
                label = labels[row['label'].strip('"')]
                name = (f'{row["youtube_id"]}_{int(row["time_start"]):06d}_'
                        f'{int(row["time_end"]):06d}.mp4')
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f'{path}:{number}: not a row "label,youtube_id,'
                    f'time_start,time_end" of a known class '
                    f'({error})') from error
            videos.append(Video(
                files.get(row['youtube_id'], f'{row["label"]}/{name}'),
                label))
    return videos


def kinetics_lists(sources: dict[str, str],
                   roots: dict[str, str | None],
                   classes: Sequence[str] | None = None) -> Lists:
    """Build the lists of Kinetics-400.

    Args:
        sources (dict): For 'train' and 'val' a folder of class folders, one
            of the authors' csv files, or one of MMAction2's lists.
        roots (dict): For 'train' and 'val' the folder of the videos, or
            None. With a csv, videos are found there by their YouTube id.
        classes (Sequence[str], optional): The classes in the order of their
            labels, which is alphabetical. Defaults to what csv files or
            folders hold.

    Returns:
        Lists: ``train_list`` and ``val_list``.

    Raises:
        ValueError: If a source is missing or wrong, or the classes are not
            known.
    """
    names, trees = set(), {}
    for source in map(Path, sources.values()):
        if source.is_dir():
            trees[source] = class_folders(source)
            names |= {path.split('/')[0] for path in trees[source]}
        elif source.suffix == '.csv':
            with open(source, newline='', encoding='utf-8') as file:
                names |= {row.get('label', '')
                          for row in csv.DictReader(file)}
    classes = list(classes or sorted(n.replace('_', ' ') for n in names))
    if not classes:
        raise ValueError('lists of MMAction2 do not name the classes: a label '
                         'map is needed')
    splits = {}
    for split, source in sources.items():
        root = Path(roots[split]) if roots.get(split) else None
        if Path(source).is_dir():
            videos = _from_folders(Path(source), trees[Path(source)], classes)
        elif not Path(source).is_file():
            raise ValueError(f'{source}: no such file or folder')
        elif source.endswith('.csv'):
            videos = _from_csv(Path(source), root, classes)
        else:
            videos = [Video(s['filename'], s['label'])
                      for s in read_annotations(
                          source, num_classes=len(classes))]
        splits[f'{split}_list'] = videos
    return Lists(classes, splits)
