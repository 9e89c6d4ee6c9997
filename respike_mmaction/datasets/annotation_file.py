"""Annotation files of videos: lines of ``path label``."""
import os.path as osp
import re
from pathlib import Path

__all__ = ['read_annotations']

# 'v.mp4 120': the beginning of a line 'path frames label'
_WITH_NUMBER = re.compile(r'.+\.[a-zA-Z][a-zA-Z0-9]{1,3}\s+\d+')


def read_annotations(ann_file: str,
                     prefix: str | None = '',
                     delimiter: str = ' ',
                     num_classes: int | None = None,
                     multi_class: bool = False) -> list[dict]:
    """Read the annotation file of a video dataset.

    The label is what stands behind the last delimiter, so a path may hold
    spaces. Blank lines, CRLF and a byte order mark are accepted.

    Args:
        ann_file (str): The file.
        prefix (str, optional): Folder of the videos. Defaults to ''.
        delimiter (str): Between path and label. Defaults to ' '.
        num_classes (int, optional): Number of classes; a label has to be
            smaller. Defaults to None, which only asks for labels >= 0.
        multi_class (bool): Whether a line holds any number of labels, as in
            MMAction2; then a path holds no delimiter. Defaults to False.

    Returns:
        list[dict]: ``filename`` (str) and ``label`` (int; a list of them
        with ``multi_class``) of each line.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is wrong, naming the file, the line and what is
            wrong, or if no line holds a video.
    """
    samples = []
    try:
        text = Path(ann_file).read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{ann_file}: not UTF-8 text ({error})') from None
    for number, line in enumerate(text.split('\n'), 1):
        line = line.strip()
        if not line:
            continue
        where = f'{ann_file}:{number}: {line!r}'
        parts = (line.split(delimiter) if multi_class else
                 line.rsplit(delimiter, 1))
        path, labels = parts[0].rstrip(), parts[1:]
        if not path or not labels:
            raise ValueError(f'{where}: no label; a line is '
                             f'"path{delimiter}label"')
        if not multi_class and _WITH_NUMBER.fullmatch(path):
            raise ValueError(f'{where}: a number between path and label; a '
                             f'line is "path{delimiter}label" (several '
                             'labels: multi_class=True)')
        try:
            labels = [int(label) for label in labels]
        except ValueError:
            raise ValueError(f'{where}: the label {labels[-1]!r} is not an '
                             'integer (is the label missing?)') from None
        for label in labels:
            if label < 0 or (num_classes is not None and label >= num_classes):
                top = '' if num_classes is None else f' to {num_classes - 1}'
                raise ValueError(f'{where}: the label {label} is out of '
                                 f'range, labels are 0{top}')
        if prefix:
            path = osp.join(prefix, path)
        samples.append(
            dict(filename=path, label=labels if multi_class else labels[0]))
    if not samples:
        raise ValueError(f'{ann_file}: holds no video')
    return samples
