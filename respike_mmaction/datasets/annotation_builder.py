"""Annotation lists of HMDB-51, UCF-101, Kinetics-400 and any other folder.

A list is a sequence of :class:`Video`; what is built is checked by
:func:`find_problems` before it is written.
"""
import csv
import filecmp
import random
import re
import signal
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from functools import partial
from operator import ne
from pathlib import Path
from typing import NamedTuple

from mmengine.utils import ProgressBar

from .annotation_file import read_annotations
from .video_reader import VideoReadError, open_video

__all__ = [
    'KINETICS_CLASSES', 'OFFICIAL_COUNTS', 'Lists', 'Video', 'find_problems',
    'folder_lists', 'hmdb51_lists', 'kinetics_lists', 'ucf101_lists',
    'verify_videos', 'with_other_suffixes', 'write_lists'
]

SUFFIXES = ('.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg',
            '.webm', '.wmv')

# number of training and test videos of splits 1, 2 and 3
OFFICIAL_COUNTS = dict(
    hmdb51=((3570, 1530), ) * 3,
    ucf101=((9537, 3783), (9586, 3734), (9624, 3696)))
# its videos vanish from YouTube, its classes do not
KINETICS_CLASSES = 400


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


def _videos_below(root: Path) -> list[str]:
    """Videos anywhere below a root, as paths from there."""
    if not root.is_dir():
        raise ValueError(f'{root}: no such folder')
    paths = (path.relative_to(root) for path in root.rglob('*')
             if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path.as_posix() for path in paths
                  if not any(part.startswith('.') for part in path.parts))


def _tree(root: Path) -> list[str]:
    """Videos in the class folders below a root, as 'class/file'."""
    return [path for path in _videos_below(root) if '/' in path]


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
    for file in _videos_below(root) if root else ():
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
            trees[source] = _tree(source)
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


# What tells the source in a name: of HMDB-51, of Kinetics (the YouTube id),
# of UCF-101 and any other, the name without the number at its end.
_HMDB = re.compile(
    r'(.+)_[fhlu]_[cn]m_np\d+_(?:ba|fr|le|ri)_(?:goo|med|bad)_\d+')
_KINETICS = re.compile(r'([\w-]{11})_\d{6}_\d{6}')
_NUMBERED = re.compile(r'(.*?)[_\- ]?[a-zA-Z]?\d*')


def _guess_source(name: str) -> str:
    """Source of a video by its path below the class, without suffix."""
    if '/' in name:
        return name.split('/')[0]
    return next(match[1] for pattern in (_HMDB, _KINETICS, _NUMBERED)
                if (match := pattern.fullmatch(name)))


def _sources(paths: Iterable[str],
             group: str | None) -> dict[str, dict[str, list[str]]]:
    """Paths of each source, of all classes together or (guessed) of each."""
    sources = defaultdict(lambda: defaultdict(list))
    for path in paths:
        folder, _, name = path.partition('/')
        name = name.removesuffix(Path(name).suffix)
        if group is None:
            sources[folder][_guess_source(name)].append(path)
            continue
        match = re.fullmatch(group, name)
        if match is None or match.lastindex is None:
            raise ValueError(f'{path}: the expression {group!r} gives no '
                             'source')
        sources[''][match[1]].append(path)
    return sources


def _for_validation(groups: list[list[str]], val_ratio: float) -> set[str]:
    """Choose whole groups, as many as come nearest to the ratio.

    A group is taken if that brings its classes nearer to their share; of
    every class something is left on both sides, if that is possible.
    """
    sizes = Counter(path.split('/')[0] for paths in groups for path in paths)
    chosen = Counter()

    def distance(name: str, number: int) -> float:
        if number in (0, sizes[name]):
            return len(groups) * sizes.total()**2  # worse than anything else
        return (number - val_ratio * sizes[name])**2

    val = set()
    for paths in groups:
        more = Counter(path.split('/')[0] for path in paths)
        if sum(distance(c, chosen[c] + n) - distance(c, chosen[c])
               for c, n in more.items()) < 0:
            chosen += more
            val.update(paths)
    return val


def folder_lists(root: str,
                 val_ratio: float = 0.2,
                 seed: int = 0,
                 group: str | None = None) -> Lists:
    """Split any tree ``root/class/video`` or ``root/class/source/video``.

    Every class is divided in the same ratio, and clips of one source stay on
    one side. The same files and seed give the same split; without ``group``
    also when another class is added.

    Args:
        root (str): The folder of the class folders.
        val_ratio (float): Share of the validation videos. Defaults to 0.2.
        seed (int): Seed of the split. Defaults to 0.
        group (str, optional): Regular expression for the whole of a video's
            path below the class folder, without suffix; its first group is
            the source, which may have videos in several classes. By default
            a folder below the class is a source; a name in the way of
            HMDB-51, UCF-101 or Kinetics tells it; of any other name a number
            at the end is cut off. A class of one source by that is divided
            video by video, with a warning.

    Returns:
        Lists: ``train_list`` and ``val_list``, sorted by path.

    Raises:
        ValueError: If there are no videos, the ratio is not in (0, 1), the
            expression does not match a name, or a class cannot be divided.
    """
    if not 0 < val_ratio < 1:
        raise ValueError(f'val_ratio must be in (0, 1), but got {val_ratio}')
    paths = _tree(Path(root))
    if not paths:
        raise ValueError(f'{root}: no class folders with videos '
                         f'({", ".join(SUFFIXES)})')
    chosen, alone = set(), []
    for name, sources in _sources(paths, group).items():
        groups = sorted(sources.values())
        if group is None and len(groups) == 1 < len(groups[0]):
            # names such as 0001.mp4 or punch_0001.mp4 tell no sources apart
            groups = [[path] for path in groups[0]]
            alone.append(name)
        random.Random(f'{seed} {name}').shuffle(groups)
        chosen |= _for_validation(groups, val_ratio)
    if alone:
        warnings.warn(
            f'the names of the videos of {", ".join(alone)} tell of one '
            'source only: they are divided one by one; give the expression '
            'of the source if several clips are of one',
            stacklevel=2)

    classes = sorted({path.split('/')[0] for path in paths})
    videos = [Video(path, classes.index(path.split('/')[0]))
              for path in paths]
    val = [video for video in videos if video.path in chosen]
    train = [video for video in videos if video.path not in chosen]
    for side, part in (('training', train), ('validation', val)):
        lacking = set(range(len(classes))) - {v.label for v in part}
        if lacking:
            names = ', '.join(classes[label] for label in sorted(lacking))
            raise ValueError(
                f'{root}: no video for {side} of {names}: too few sources'
                + (f' by {group!r}' if group else ''))
    return Lists(classes, dict(train_list=train, val_list=val))


def _leaks(train: Sequence[Video], val: Sequence[Video],
           roots: dict[str, str | None]) -> Iterator[str]:
    """Paths of the training videos that are for validation, too."""
    folders = roots.get('train'), roots.get('val')
    if folders[0] == folders[1]:
        tested = {video.path for video in val}
        yield from (v.path for v in train if v.path in tested)
        return
    # Kinetics has a folder for each. There a YouTube id and times tell a
    # video in any class; other files of one path are one if they are equal.
    tested = {_kinetics_name(v.path) or v.path: v.path for v in val}
    for video in train:
        name = _kinetics_name(video.path)
        other = tested.get(name or video.path)
        if other is not None and (name or _equal(
                Path(folders[0] or '', video.path),
                Path(folders[1] or '', other))):
            yield video.path


def _kinetics_name(path: str) -> str | None:
    stem = Path(path).stem
    return stem if _KINETICS.fullmatch(stem) else None


def _equal(one: Path, other: Path) -> bool:
    return (one.is_file() and other.is_file()
            and filecmp.cmp(one, other, shallow=False))


def with_other_suffixes(lists: Lists,
                        roots: dict[str, str | None]) -> tuple[Lists, int]:
    """Take a file of another suffix where the listed one is missing.

    People convert UCF-101 to mp4; the official lists say avi.

    Args:
        lists (Lists): The lists.
        roots (dict): As of :func:`find_problems`.

    Returns:
        tuple: The lists, and how many videos were found so.
    """
    found = 0
    files = {root: {path.rsplit('.', 1)[0]: path
                    for path in _videos_below(Path(root))}
             for root in {*roots.values()} - {None}}
    splits = {}
    for split, videos in lists.splits.items():
        root = roots.get(split.split('_')[0])
        splits[split] = [
            video if root is None or (Path(root) / video.path).is_file() else
            video._replace(path=files[root].get(
                video.path.rsplit('.', 1)[0], video.path))
            for video in videos
        ]
        found += sum(map(ne, videos, splits[split]))
    return Lists(lists.classes, splits), found


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
            problems += [
                f'{path} is in {name} and in {other}'
                for path in _leaks(videos, lists.splits[other], roots)]
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
    except ImportError:
        raise
    except VideoReadError as error:
        return str(error).removeprefix(f'{path}: ')
    except Exception as error:  # one odd file must not end the work
        return f'{type(error).__name__}: {error}'
    return ''


def verify_videos(paths: Iterable[str],
                  state_file: str,
                  decoder: str = 'decord',
                  num_workers: int = 4) -> dict[str, str]:
    """Decode every frame of many videos, in parallel.

    Results go to a file at once, so a second run goes on where the first was
    stopped (by Ctrl-C, too); a file that has changed since, or was decoded
    by another decoder, is decoded again. A video that crashes the decoder is
    found, too.

    Args:
        paths (Iterable[str]): The videos.
        state_file (str): Where results are kept: path, size, time of
            change, decoder and reason ('' if readable), with tabs between.
        decoder (str): 'decord' or 'pyav'. Defaults to 'decord'.
        num_workers (int): Number of processes. Defaults to 4.

    Returns:
        dict[str, str]: The unreadable videos and why.
    """

    def key(path: str) -> tuple[str, str, str, str]:
        try:
            status = Path(path).stat()
        except OSError:
            return path, '', '', decoder
        return path, str(status.st_size), str(status.st_mtime_ns), decoder

    keys = {path: key(path) for path in paths}
    known = {}
    if Path(state_file).is_file():
        with open(state_file, newline='', encoding='utf-8') as file:
            known = {tuple(row[:4]): row[4]
                     for row in csv.reader(file, delimiter='\t')
                     if len(row) == 5}
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

        with closing(_run_all(partial(_verify, decoder=decoder), todo,
                              num_workers)) as rows:
            for path, reason in rows:
                keep(path, reason)
    return {path: results[path] for path in keys if results[path]}


@contextmanager
def _pool(num_workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that leave Ctrl-C to us; what has not begun is given up."""
    pool = ProcessPoolExecutor(
        num_workers,
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _run_all(verify: partial, todo: Sequence[str],
             num_workers: int) -> Iterator[tuple[str, str]]:
    """Yield results; where a process dies, try those left one by one."""
    done = set()
    try:
        with _pool(num_workers) as pool:
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
                with _pool(1) as pool:
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
