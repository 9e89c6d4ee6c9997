"""Lists of any folder of videos."""
import random
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from .lists import SUFFIXES, Lists, Video, class_folders

__all__ = ['folder_lists']


# What tells the source in a name: of HMDB-51, of Kinetics (the YouTube id),
# of UCF-101 and any other, the name without the number at its end.
_HMDB = re.compile(
    r'(.+)_[fhlu]_[cn]m_np\d+_(?:ba|fr|le|ri)_(?:goo|med|bad)_\d+')
KINETICS_NAME = re.compile(r'([\w-]{11})_\d{6}_\d{6}')
_NUMBERED = re.compile(r'(.*?)[_\- ]?[a-zA-Z]?\d*')


def _guess_source(name: str) -> str:
    """Source of a video by its path below the class, without suffix."""
    if '/' in name:
        return name.split('/')[0]
    return next(match[1] for pattern in (_HMDB, KINETICS_NAME, _NUMBERED)
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
    paths = class_folders(Path(root))
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
