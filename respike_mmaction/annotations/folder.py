"""Lists of any folder of videos, divided here or by its own folders."""
import random
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..datasets.annotation_file import shown
from .lists import SUFFIXES, Lists, Video, class_folders, text_lines

# What tells the source in a name: of HMDB-51, of Kinetics (the YouTube id),
# of UCF-101; of any other, the name without the number at its end.
_HMDB = re.compile(
    r'(.+)_[fhlu]_[cn]m_np\d+_(?:ba|fr|le|ri)_(?:goo|med|bad)_\d+')
KINETICS_NAME = re.compile(r'([\w-]{11})_\d{6}_\d{6}')
_UCF = re.compile(r'(v_\w+_g\d+)_c\d+')
_NUMBERED = re.compile(r'(.*?)[_\- ]?[a-zA-Z]?\d*')

_SIDE = re.compile(
    r'(?:.*[_-])?(?:(train)(?:ing)?|(val)(?:id|idation)?|(test)(?:ing)?)',
    re.IGNORECASE)

Sources = dict[str, dict[str, list[str]]]  # class, source, paths


def split_folders(root: str) -> dict[str, str]:
    """Find folders for training, validation and test in the place of classes.

    Args:
        root (str): The folder, with ``train`` and ``val`` or ``test`` in it,
            or names such as ``training`` and ``videos_val``.

    Returns:
        dict[str, str]: The folders of 'train', 'val' and, where there are
        three, 'test'; without one for validation the test folder is that.
        Empty if the folder is not divided so.

    Raises:
        ValueError: If there are class folders beside them, or two of a kind.
    """
    tops = {path.split('/')[0] for path in class_folders(Path(root))}
    sides: dict[str, str] = {}
    for top in sorted(tops):
        match = _SIDE.fullmatch(top)
        if match and match.lastindex:
            side = match[match.lastindex].lower()
            if side in sides:
                raise ValueError(f'{root}: {sides[side]} and {top} are both '
                                 f'for {side}')
            sides[side] = top
    if 'train' not in sides or len(sides) == 1:
        return {}
    others = tops - set(sides.values())
    if others and any(re.search('[_-]', top) for top in sides.values()):
        return {}  # classes such as 'train' and 'eye_test'
    if others:
        raise ValueError(
            f'{root}: {", ".join(sorted(others))} beside '
            f'{", ".join(sides.values())}: it holds either class folders, or '
            'folders for training, validation and test')
    if 'val' not in sides:
        sides['val'] = sides.pop('test')
    return {side: str(Path(root) / sides[side])
            for side in ('train', 'val', 'test') if side in sides}


def check_classes(lists: Lists, root: str) -> None:
    """Refuse lists that no classifier can learn from.

    Args:
        lists (Lists): The lists.
        root (str): Where they come from, for errors.

    Raises:
        ValueError: If there are not two classes, as in a folder one level too
            high, or a class has no video for training.
    """
    if len(lists.classes) < 2:
        name, = lists.classes
        raise ValueError(
            f'{root}: one class only, {name!r}; classes are the folders right '
            f'below: is it {Path(root) / name}?')
    lacking = {*range(len(lists.classes))} - {
        video.label for video in lists.splits['train_list']}
    if lacking:
        names = ', '.join(lists.classes[label] for label in sorted(lacking))
        raise ValueError(f'{root}: no video for training of {names}')


def sources_on_both_sides(lists: Lists) -> list[str]:
    """Find sources of training that are tested, too, where names tell them.

    Args:
        lists (Lists): Lists that others have divided.

    Returns:
        list[str]: The sources, as the names of HMDB-51, UCF-101 and Kinetics
        tell them.
    """
    of = {split: {source for video in videos
                  for source, sure in [guess_source(Path(video.path).stem)]
                  if sure}
          for split, videos in lists.splits.items()}
    return sorted(of.pop('train_list') & set().union(*of.values()))


def guess_source(name: str) -> tuple[str, bool]:
    """Source by a path below the class, and whether it is known to be."""
    if '/' in name:
        return name.split('/')[0], True
    for pattern in (_HMDB, KINETICS_NAME, _UCF):
        if match := pattern.fullmatch(name):
            return match[1], True
    match = _NUMBERED.fullmatch(name)
    return (match[1] if match else name), False


def _guess_sources(paths: Sequence[str]) -> Sources:
    """By the names; a warning where they do not tell recordings apart."""
    sources: Sources = defaultdict(lambda: defaultdict(list))
    known: Counter[str] = Counter()
    for path in paths:
        folder, _, name = path.partition('/')
        source, sure = guess_source(name.removesuffix(Path(name).suffix))
        sources[folder][source].append(path)
        known[folder] += sure
    nested = next((path for path in paths if path.count('/') > 1), None)
    if nested:
        warnings.warn(
            f'folders below the class folders, such as that of {nested}, are '
            'taken for sources of videos', stacklevel=3)
    blind = []
    for folder, found in sources.items():
        number = sum(map(len, found.values()))
        if len(found) == 1 < number:  # 0001.mp4, or punch_0001.mp4
            sources[folder] = {path: [path] for path in found.popitem()[1]}
        if known[folder] < number and len(sources[folder]) == number > 1:
            blind.append(folder)
    if blind:
        warnings.warn(
            f'the names of the videos of {", ".join(blind)} do not tell which '
            'are of one recording: they are divided one by one, and clips of '
            'one recording may be on both sides (an expression or a file of '
            'the sources keeps them together)', stacklevel=3)
    return sources


def _sources_by_expression(paths: Iterable[str], group: str) -> Sources:
    sources: Sources = {'': defaultdict(list)}
    for path in paths:
        name = path.partition('/')[2]
        match = re.fullmatch(group, name.removesuffix(Path(name).suffix))
        if match is None or match.lastindex is None:
            raise ValueError(f'{path}: the expression {group!r} gives no '
                             'source')
        sources[''][match[1]].append(path)
    return sources


def _sources_of_file(paths: Iterable[str], groups: str) -> Sources:
    of: dict[str, str] = {}
    for where, line in text_lines(Path(groups)):
        path, _, source = line.rpartition(' ')
        if not path or of.setdefault(path.strip(), source) != source:
            raise ValueError(f'{where}: not "path source", or a second source '
                             f'of a path: {shown(line)}')
    sources: Sources = {'': defaultdict(list)}
    for path in paths:
        if path not in of:
            raise ValueError(f'{path}: {groups} names no source of it')
        sources[''][of[path]].append(path)
    return sources


def nearest_groups(groups: list[list[str]], val_ratio: float) -> set[str]:
    """Choose whole groups, as many as come nearest to the ratio.

    A group is taken if that brings its classes nearer to their share; of
    every class something is left on both sides, if that is possible.
    """
    sizes = Counter(path.split('/')[0] for paths in groups for path in paths)
    chosen: Counter[str] = Counter()

    def distance(name: str, number: int) -> float:
        if number in (0, sizes[name]):  # worse than anything else
            return len(groups) * sum(sizes.values())**2
        return (number - val_ratio * sizes[name])**2

    val: set[str] = set()
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
                 group: str | None = None,
                 groups: str | None = None) -> Lists:
    """Split any tree ``root/class/video`` or ``root/class/source/video``.

    Every class is divided in the same ratio, and clips of one source stay on
    one side. The same files and seed give the same split; without ``group``
    and ``groups`` also when another class is added.

    Args:
        root (str): The folder of the class folders.
        val_ratio (float): Share of the validation videos. Defaults to 0.2.
        seed (int): Seed of the split. Defaults to 0.
        group (str, optional): Regular expression for the whole of a video's
            path below the class folder, without suffix; its first group is
            the source, which may have videos in several classes. By default
            a folder below the class is a source; a name in the way of
            HMDB-51, UCF-101 or Kinetics tells it; of any other name a number
            at the end is cut off. A class whose names do not tell sources is
            divided video by video, with a warning.
        groups (str, optional): File with a line ``path source`` for every
            video, in the place of ``group``.

    Returns:
        Lists: ``train_list`` and ``val_list``, sorted by path.

    Raises:
        ValueError: If there are no class folders with videos, the ratio is
            not in (0, 1), a video has no source by ``group`` or ``groups``,
            or a class cannot be divided.
    """
    if not 0 < val_ratio < 1:
        raise ValueError(f'val_ratio must be in (0, 1), but got {val_ratio}')
    paths = class_folders(Path(root))
    if not paths:
        raise ValueError(f'{root}: no class folders with videos '
                         f'({", ".join(SUFFIXES)})')
    if not groups and not group and all(
            path.count('/') > 2 for path in paths):
        raise ValueError(
            f'{root}: every video lies three folders below, as in '
            f'{paths[0]}: a folder too high? It is root/class/video or root/'
            'class/source/video, unless an expression or a file tells the '
            'sources')
    if groups:
        sources = _sources_of_file(paths, groups)
    elif group:
        sources = _sources_by_expression(paths, group)
    else:
        sources = _guess_sources(paths)
    chosen: set[str] = set()
    for name, found in sources.items():
        parts = sorted(found.values())
        random.Random(f'{seed} {name}').shuffle(parts)
        chosen |= nearest_groups(parts, val_ratio)

    classes = sorted({path.split('/')[0] for path in paths})
    videos = [Video(path, classes.index(path.split('/')[0]))
              for path in paths]
    val = [video for video in videos if video.path in chosen]
    train = [video for video in videos if video.path not in chosen]
    for side, part in (('training', train), ('validation', val)):
        lacking = set(range(len(classes))) - {v.label for v in part}
        if lacking:
            names = ', '.join(classes[label] for label in sorted(lacking))
            by = f' by {groups or repr(group)}' if groups or group else ''
            raise ValueError(f'{root}: no video for {side} of {names}: too '
                             f'few sources{by}')
    return Lists(classes, dict(train_list=train, val_list=val))
