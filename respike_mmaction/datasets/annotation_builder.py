"""Annotation lists of HMDB-51, UCF-101, Kinetics-400 and any other folder.

A list is a sequence of :class:`Video`; what is built is checked by
:func:`find_problems` before it is written.
"""
import csv
import random
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from mmengine.utils import ProgressBar

from .annotation_file import read_annotations
from .video_reader import VideoReadError, open_video

__all__ = [
    'OFFICIAL_COUNTS', 'Lists', 'Video', 'find_problems', 'folder_lists',
    'hmdb51_lists', 'kinetics_lists', 'ucf101_lists', 'verify_videos',
    'write_lists'
]

SUFFIXES = ('.avi', '.mkv', '.mov', '.mp4', '.mpg', '.webm', '.wmv')

# number of training and test videos of splits 1, 2 and 3
OFFICIAL_COUNTS = dict(
    hmdb51=((3570, 1530), ) * 3,
    ucf101=((9537, 3783), (9586, 3734), (9624, 3696)))


class Video(NamedTuple):
    """A line of a list: path below the folder of the videos, and label."""

    path: str
    label: int


class Lists(NamedTuple):
    """What is written: classes in the order of their labels, and splits.

    ``splits`` maps 'train_split_1' and so on to the videos.
    """

    classes: list[str]
    splits: dict[str, list[Video]]


def _lines(path: Path) -> Iterable[tuple[str, str]]:
    """The lines that are not blank, each with 'file:number' for errors."""
    if not path.is_file():
        raise ValueError(f'{path}: no such file')
    for number, line in enumerate(path.read_text().split('\n'), 1):
        if line.strip():
            yield f'{path}:{number}', line.strip()


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
            for where, line in _lines(path):
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
    for where, line in _lines(folder / 'classInd.txt'):
        number, _, name = line.partition(' ')
        if number != str(len(labels) + 1) or not name:
            raise ValueError(f'{where}: {line!r} is not '
                             f'"{len(labels) + 1} class"')
        labels[name] = len(labels)
    splits = {}
    for split in (1, 2, 3):
        for ours, theirs in (('train', 'trainlist'), ('val', 'testlist')):
            videos = []
            for where, line in _lines(folder / f'{theirs}0{split}.txt'):
                path, _, number = line.partition(' ')
                label = labels.get(path.split('/')[0])
                if label is None or (number and int(number) != label + 1):
                    raise ValueError(
                        f'{where}: {line!r} does not agree with '
                        f'{folder / "classInd.txt"}')
                videos.append(Video(path, label))
            splits[f'{ours}_split_{split}'] = videos
    return Lists(list(labels), splits)


def _tree(root: Path) -> list[str]:
    """Videos in the class folders below a root, as 'class/file'."""
    if not root.is_dir():
        raise ValueError(f'{root}: no such folder')
    return sorted(path.relative_to(root).as_posix()
                  for path in root.glob('*/**/*')
                  if path.suffix.lower() in SUFFIXES)


def _from_folders(root: Path, classes: Sequence[str]) -> list[Video]:
    # MMAction2 has users rename 'air drumming' to 'air_drumming'
    labels = {name.replace('_', ' '): i for i, name in enumerate(classes)}
    videos = []
    for path in _tree(root):
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
    for file in _tree(root) if root else ():
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
    names = set()
    for source in map(Path, sources.values()):
        if source.is_dir():
            names |= {p.name for p in source.iterdir() if p.is_dir()}
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
            videos = _from_folders(Path(source), classes)
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


# A name without the number at its end.
GROUP = r'(.*?)[_\- ]?[a-zA-Z]?\d*'


def folder_lists(root: str,
                 val_ratio: float = 0.2,
                 seed: int = 0,
                 group: str = GROUP) -> Lists:
    """Split any tree ``root/class/video``.

    Every class is divided in the same ratio, and clips of one source stay on
    one side. The same files and seed give the same split, also when another
    class is added.

    Args:
        root (str): The folder of the class folders.
        val_ratio (float): Share of the validation videos. Defaults to 0.2.
        seed (int): Seed of the split. Defaults to 0.
        group (str): Regular expression for the whole of a file's name
            without suffix; its first group is the source. The default cuts
            off a number at the end: 'v_Punch_g01_c05' is of 'v_Punch_g01'.
            A class of one source by the default is divided video by video,
            with a warning.

    Returns:
        Lists: ``train_list`` and ``val_list``, sorted by path.

    Raises:
        ValueError: If there are no videos, the ratio is not in (0, 1), or
            the expression does not match a name.
    """
    if not 0 < val_ratio < 1:
        raise ValueError(f'val_ratio must be in (0, 1), but got {val_ratio}')
    sources = defaultdict(lambda: defaultdict(list))
    for path in _tree(Path(root)):
        match = re.fullmatch(group, Path(path).stem)
        if match is None or not match.groups():
            raise ValueError(f'{path}: the expression {group!r} gives no '
                             'source')
        sources[path.split('/')[0]][match[1]].append(path)
    if not sources:
        raise ValueError(f'{root}: no class folders with videos '
                         f'({", ".join(SUFFIXES)})')
    classes = sorted(sources)
    train, val, alone = [], [], []
    for label, name in enumerate(classes):
        groups = sorted(sources[name].values())
        if group == GROUP and len(groups) == 1 < len(groups[0]):
            # names such as 0001.mp4 or punch_0001.mp4 tell no sources apart
            groups = [[path] for path in groups[0]]
            alone.append(name)
        random.Random(f'{seed} {name}').shuffle(groups)
        sizes = list(accumulate(map(len, groups)))
        # The first sources are for validation, as many as come nearest to
        # the ratio; one at least on each side, if there are two.
        num_val = min(
            range(1, len(groups)),
            key=lambda k: abs(sizes[k - 1] - val_ratio * sizes[-1]),
            default=0)
        for i, paths in enumerate(groups):
            side = val if i < num_val else train
            side.extend(Video(path, label) for path in paths)
    if alone:
        warnings.warn(
            f'the names of the videos of {", ".join(alone)} tell of one '
            'source only: they are divided one by one; give the expression '
            'of the source if several clips are of one',
            stacklevel=2)
    return Lists(classes, dict(train_list=sorted(train), val_list=sorted(val)))


def _file_name(video: Video) -> str:
    return Path(video.path).name


def find_problems(lists: Lists,
                  roots: dict[str, str | None],
                  counts: Sequence[tuple[int, int]] | None = None
                  ) -> tuple[list[str], set[tuple[str, str]]]:
    """Check lists before they are written.

    Args:
        lists (Lists): The lists.
        roots (dict): For 'train' and 'val' the folder of the videos, or None
            if the files are not to be looked for.
        counts (Sequence, optional): Numbers of training and test videos of
            each split. Defaults to None.

    Returns:
        tuple: Problems that make the lists wrong (duplicates, a video in
        training and test, numbers that are not the official ones), and the
        (root, path) of the videos that are missing.
    """
    problems = []
    missing = set()
    for name, videos in lists.splits.items():
        for path, n in Counter(video.path for video in videos).items():
            if n > 1:
                problems.append(f'{name}: {path} is listed {n} times')
        root = roots.get(name.split('_')[0])
        if root is not None:
            missing |= {(root, video.path) for video in videos
                        if not (Path(root) / video.path).is_file()}
        if name.startswith('train'):
            other = name.replace('train', 'val', 1)
            # Kinetics has a folder for each: there the name has to do
            shared = roots.get('train') == roots.get('val')
            key = attrgetter('path') if shared else _file_name
            tested = set(map(key, lists.splits[other]))
            problems += [f'{video.path} is in {name} and in {other}'
                         for video in videos if key(video) in tested]
    for i, numbers in enumerate(counts or (), 1):
        for part, number in zip(('train', 'val'), numbers, strict=True):
            found = len(lists.splits[f'{part}_split_{i}'])
            if found != number:
                problems.append(f'{part}_split_{i}: {found} videos, '
                                f'officially {number}')
    return problems, missing


def _verify(path: str, decoder: str) -> str:
    try:
        open_video(path, decoder).verify()
    except VideoReadError as error:
        return str(error).removeprefix(f'{path}: ')
    return ''


def verify_videos(paths: Iterable[str],
                  state_file: str,
                  decoder: str = 'decord',
                  num_workers: int = 4) -> dict[str, str]:
    """Decode every frame of many videos, in parallel.

    Results go to a file at once, so a second run goes on where the first was
    stopped; a file that has changed since is decoded again. A video that
    crashes the decoder is found, too.

    Args:
        paths (Iterable[str]): The videos.
        state_file (str): Where results are kept: path, size, time of change
            and reason ('' if readable), with tabs between.
        decoder (str): 'decord' or 'pyav'. Defaults to 'decord'.
        num_workers (int): Number of processes. Defaults to 4.

    Returns:
        dict[str, str]: The unreadable videos and why.
    """

    def key(path: str) -> tuple[str, str, str]:
        try:
            status = Path(path).stat()
        except OSError:
            return path, '', ''
        return path, str(status.st_size), str(status.st_mtime_ns)

    keys = {path: key(path) for path in paths}
    known = {}
    if Path(state_file).is_file():
        with open(state_file, newline='', encoding='utf-8') as file:
            known = {tuple(row[:3]): row[3]
                     for row in csv.reader(file, delimiter='\t')
                     if len(row) == 4}
    results = {path: known[k] for path, k in keys.items() if k in known}
    todo = [path for path in keys if path not in results]
    progress = ProgressBar(len(keys))
    progress.completed = len(results)

    with open(state_file, 'a', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, delimiter='\t')

        def keep(path: str, reason: str) -> None:
            results[path] = reason
            writer.writerow([*keys[path], reason])
            file.flush()
            progress.update()

        for path, reason in _run_all(
                partial(_verify, decoder=decoder), todo, num_workers):
            keep(path, reason)
    return {path: results[path] for path in keys if results[path]}


def _run_all(verify: partial, todo: Sequence[str],
             num_workers: int) -> Iterable[tuple[str, str]]:
    """Yield results; where a process dies, try those left one by one."""
    done = set()
    try:
        with ProcessPoolExecutor(num_workers) as pool:
            futures = {pool.submit(verify, path): path for path in todo}
            for future in as_completed(futures):
                reason = future.result()
                done.add(futures[future])
                yield futures[future], reason
    except BrokenProcessPool:
        left = [path for path in todo if path not in done]
        suspects, rest = left[:2 * num_workers], left[2 * num_workers:]
        for path in suspects:
            try:
                with ProcessPoolExecutor(1) as pool:
                    reason = pool.submit(verify, path).result()
            except BrokenProcessPool:
                reason = 'crashes the decoder'
            yield path, reason
        yield from _run_all(verify, rest, num_workers)


def write_lists(lists: Lists, name: str, out_dir: str) -> list[str]:
    """Write lists and label map where the configs look for them.

    Args:
        lists (Lists): The lists.
        name (str): Name of the data set, the files' prefix.
        out_dir (str): The folder.

    Returns:
        list[str]: The files.
    """
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {'label_map.txt': lists.classes}
    for split, videos in lists.splits.items():
        texts[f'{name}_{split}_videos.txt'] = [
            f'{video.path} {video.label}' for video in videos]
    for file, lines in texts.items():
        (folder / file).write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return [str(folder / file) for file in texts]
