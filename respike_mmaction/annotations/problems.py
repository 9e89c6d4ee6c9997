"""What can be wrong with lists, found before they are written."""
import filecmp
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import ne
from pathlib import Path

from .folder import KINETICS_NAME
from .lists import Lists, Video, videos_below


def _leaks(train: Sequence[Video], val: Sequence[Video],
           *folders: str | None) -> Iterator[str]:
    """Paths of the training videos that are for validation, too."""
    if folders[0] == folders[1]:
        paths = {video.path for video in val}
        yield from (v.path for v in train if v.path in paths)
        return
    # Kinetics has a folder for each. There a YouTube id and times tell a
    # video in any class; other files of one path are one if they are equal.
    tested = {_kinetics_name(v.path) or v.path: v.path for v in val}
    for video in train:
        name = _kinetics_name(video.path)
        other = tested.get(name or video.path)
        if other is None:
            continue
        one, two = (Path(folder or '', path) for folder, path in zip(
            folders, (video.path, other), strict=True))
        if name or (one.is_file() and two.is_file()
                    and filecmp.cmp(one, two, shallow=False)):
            yield video.path


def _kinetics_name(path: str) -> str | None:
    stem = Path(path).stem
    return stem if KINETICS_NAME.fullmatch(stem) else None


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
                    for path in videos_below(Path(root))}
             for root in {*roots.values()} if root is not None}
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
        roots (dict): For 'train', 'val' (and 'test') the folder of the
            videos, or None if the files are not to be looked for.
        counts (Sequence, optional): Numbers of training and test videos of
            each split. Defaults to None.

    Returns:
        tuple: Problems that make the lists wrong (duplicates, a video in
        training and test, numbers that are not the official ones), and the
        (root, path) of the videos that are missing.
    """
    problems: list[str] = []
    missing: set[tuple[str, str]] = set()
    for name, videos in lists.splits.items():
        for path, n in Counter(video.path for video in videos).items():
            if n > 1:
                problems.append(f'{name}: {path} is listed {n} times')
        root = roots.get(name.split('_')[0])
        if root is not None:
            missing |= {(root, video.path) for video in videos
                        if not (Path(root) / video.path).is_file()}
        side = name.split('_')[0]
        other = name.replace(side, 'train', 1)
        if other != name:
            problems += [
                f'{path} is in {other} and in {name}' for path in _leaks(
                    lists.splits[other], videos, roots.get('train'), root)]
    for i, numbers in enumerate(counts or (), 1):
        for part, number in zip(('train', 'val'), numbers, strict=True):
            found = len(lists.splits[f'{part}_split_{i}'])
            if found != number:
                problems.append(f'{part}_split_{i}: {found} videos, '
                                f'officially {number}')
    return problems, missing
