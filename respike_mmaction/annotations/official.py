"""Lists of HMDB-51 and UCF-101 from their official files."""
import re
from pathlib import Path

from ..datasets.annotation_file import shown
from .lists import Lists, Video, text_lines

# number of training and test videos of splits 1, 2 and 3
OFFICIAL_COUNTS = dict(
    hmdb51=((3570, 1530), ) * 3,
    ucf101=((9537, 3783), (9586, 3734), (9624, 3696)))


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
        chosen: dict[str, list[Video]] = {'1': [], '2': [], '0': []}
        for label, name in enumerate(classes):
            path = folder / f'{name}_test_split{split}.txt'
            for where, line in text_lines(path):
                video, _, value = line.rpartition(' ')
                if value not in chosen or not video:
                    raise ValueError(f'{where}: {shown(line)} is not "name '
                                     'value" with a value of 0, 1 or 2')
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
    labels: dict[str, int] = {}
    for where, line in text_lines(folder / 'classInd.txt'):
        number, _, name = line.partition(' ')
        if number != str(len(labels) + 1) or not name:
            raise ValueError(f'{where}: {shown(line)} is not '
                             f'"{len(labels) + 1} class"')
        labels[name] = len(labels)
    splits = {}
    for split in (1, 2, 3):
        for ours, theirs in (('train', 'trainlist'), ('val', 'testlist')):
            videos = []
            for where, line in text_lines(folder / f'{theirs}0{split}.txt'):
                path, _, number = line.partition(' ')
                label = labels.get(path.split('/')[0])
                if label is None or (
                        number.strip() not in ('', str(label + 1))):
                    raise ValueError(
                        f'{where}: {shown(line)} does not agree with '
                        f'{folder / "classInd.txt"}')
                videos.append(Video(path, label))
            splits[f'{ours}_split_{split}'] = videos
    return Lists(list(labels), splits)
