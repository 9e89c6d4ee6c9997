"""A part of a training list held back, to choose settings on."""
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from .folder import guess_source, nearest_groups
from .lists import Video


def hold_out(videos: Sequence[Video],
             ratio: float = 0.25,
             group: str | None = None,
             seed: int = 0) -> tuple[list[Video], list[Video]]:
    r"""Divide a training list without dividing a recording or a person.

    What is chosen on the test list (a learning rate, the best epoch) makes
    its accuracy too good; the held part is for that. Groups are taken so
    that every class is held in about the same share.

    Args:
        videos (Sequence[Video]): The training list.
        ratio (float): Share of the held part. Defaults to 0.25.
        group (str, optional): Regular expression whose first group, where it
            is found in a path, is what stays together: ``'_s(\d+)_'`` for
            the subjects of MSR-Action3D. Defaults to None: the source that
            names of UCF-101, HMDB-51 and Kinetics tell.
        seed (int): Seed of the choice. Defaults to 0.

    Returns:
        tuple: The part to train on and the held one, in the given order.

    Raises:
        ValueError: If the ratio is not in (0, 1), a path tells no group, or
            a class is lacking in one of the parts.
    """
    if not 0 < ratio < 1:
        raise ValueError(f'ratio={ratio!r} is not allowed: it is in (0, 1)')
    groups: dict[str, list[str]] = defaultdict(list)
    for video in videos:
        # nearest_groups takes the class from the folder
        groups[_group(video.path, group)].append(
            f'{video.label}/{video.path}')
    parts = sorted(groups.values())
    random.Random(seed).shuffle(parts)
    held = nearest_groups(parts, ratio)
    fit, out = ([v for v in videos if (f'{v.label}/{v.path}' in held) == side]
                for side in (False, True))
    classes = {video.label for video in videos}
    for name, side in (('train on', fit), ('hold', out)):
        lacking = classes - {video.label for video in side}
        if lacking:
            raise ValueError(
                f'no video is left to {name} of the class(es) '
                f'{sorted(lacking)}: {len(parts)} groups are too few')
    return fit, out


def _group(path: str, expression: str | None) -> str:
    if expression is None:
        source, sure = guess_source(Path(path).stem)
        if not sure:
            raise ValueError(f'{path}: its name does not tell which videos '
                             'are of one recording or person: give the '
                             'expression of the group')
        return source
    match = re.search(expression, path)
    if match is None or match.lastindex is None:
        raise ValueError(f'{path}: the expression {expression!r} gives no '
                         'group')
    return match[1]
