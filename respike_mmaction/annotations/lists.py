"""Lists of videos and the files that hold them."""
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

# of the files that are taken for videos: the containers that PyAV reads
SUFFIXES = ('.3g2', '.3gp', '.asf', '.avi', '.f4v', '.flv', '.gif', '.h264',
            '.hevc', '.m2ts', '.m2v', '.m4v', '.mjpeg', '.mkv', '.mov', '.mp4',
            '.mpeg', '.mpg', '.mts', '.mxf', '.nut', '.ogg', '.ogv', '.ts',
            '.vob', '.webm', '.wmv')


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


def text_lines(path: Path) -> Iterable[tuple[str, str]]:
    """The lines that are not blank, each with 'file:number' for errors."""
    if not path.is_file():
        raise ValueError(f'{path}: no such file')
    try:
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: not UTF-8 text ({error})') from None
    for number, line in enumerate(text.split('\n'), 1):
        if line.strip():
            yield f'{path}:{number}', line.strip()


def _files_below(root: Path) -> Iterator[Path]:
    """Files below a root that are not hidden, as paths from there."""
    if not root.is_dir():
        raise ValueError(f'{root}: no such folder')
    for path in sorted(root.rglob('*')):
        below = path.relative_to(root)
        if path.is_file() and not any(
                part.startswith('.') for part in below.parts):
            yield below


def videos_below(root: Path) -> list[str]:
    """Videos anywhere below a root, as paths from there."""
    return sorted(path.as_posix() for path in _files_below(root)
                  if path.suffix.lower() in SUFFIXES)


def class_folders(root: Path) -> list[str]:
    """Videos in the class folders below a root, as 'class/file'."""
    return [path for path in videos_below(root) if '/' in path]


def left_out(root: Path) -> Counter[str]:
    """Count the files below a root that no list takes, by their suffix.

    Args:
        root (Path): The folder of the class folders.

    Returns:
        Counter: Of '.txt' and so on; '.mp4 in no class folder' for a video at
        the root itself.
    """
    counts: Counter[str] = Counter()
    for path in _files_below(root):
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            counts[suffix or 'without suffix'] += 1
        elif len(path.parts) == 1:
            counts[f'{suffix} in no class folder'] += 1
    return counts


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
