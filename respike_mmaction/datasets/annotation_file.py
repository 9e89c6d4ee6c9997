"""Annotation files of videos: lines of ``path label``."""
import os.path as osp
import re

from mmengine.fileio import get_text

UNLABELLED = -1  # label of a video whose class no list tells
_INTEGER = re.compile(r'-?[0-9]{1,18}')  # int() takes 1_0 and Arabic digits
_FILE = re.compile(r'.*\.(?=[0-9]*[a-zA-Z])[a-zA-Z0-9]{2,5}')


def shown(text: str, length: int = 140) -> str:
    """Quote the beginning of a text that may be of any length.

    Args:
        text (str): The text, a line of somebody's file.
        length (int): Characters at most. Defaults to 140.

    Returns:
        str: The text in quotes, with dots for what is left out.
    """
    return repr(text if len(text) <= length else f'{text[:length]}...')


def read_annotations(ann_file: str,
                     prefix: str | None = '',
                     delimiter: str = ' ',
                     num_classes: int | None = None,
                     multi_class: bool = False,
                     unlabelled: bool = False,
                     backend_args: dict | None = None) -> list[dict]:
    """Read the annotation file of a video dataset.

    The label is what stands behind the last delimiter, so a path may hold
    spaces. Blank lines, CRLF and a byte order mark are accepted.

    Args:
        ann_file (str): The file, on a disk or where MMEngine's file backends
            look (``s3://...``, ``http://...``).
        prefix (str, optional): Folder of the videos. Defaults to ''.
        delimiter (str): Between path and label. Defaults to ' '.
        num_classes (int, optional): Number of classes; a label has to be
            smaller. Defaults to None, which only asks for labels >= 0.
        multi_class (bool): Whether a line holds any number of labels, as in
            MMAction2; then a path holds no delimiter. Defaults to False.
        unlabelled (bool): Whether a file may hold paths without labels, on
            all of its lines or on none; MMAction2's ``path -1`` is such a
            line, too. Defaults to False.
        backend_args (dict, optional): Of MMEngine's file backend. Defaults to
            None, by the beginning of ``ann_file``.

    Returns:
        list[dict]: ``filename`` (str) and ``label`` (int, -1 without one; a
        list of int with ``multi_class``) of each line.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is wrong, naming the file, the line and the word
            that is wrong, or if no line holds a video.
    """
    try:
        text = get_text(ann_file, 'utf-8-sig', backend_args)
    except UnicodeDecodeError as error:
        raise ValueError(f'{ann_file}: not UTF-8 text ({error})') from None
    samples: list[dict] = []
    for number, line in enumerate(text.split('\n'), 1):
        line = line.strip()
        if not line:
            continue
        try:
            path, labels = _parse(line, delimiter, multi_class)
            _check_labels(labels, num_classes, unlabelled)
        except ValueError as error:
            raise ValueError(
                f'{ann_file}:{number}: {shown(line)}: {error}') from None
        if labels == [UNLABELLED]:
            labels = []
        if samples and bool(labels) != bool(samples[0]['label']):
            raise ValueError(
                f'{ann_file}:{number}: {shown(line)}: a line with'
                f'{"" if labels else "out"} a label, unlike those before')
        samples.append(
            dict(filename=osp.join(prefix, path) if prefix else path,
                 label=labels))
    if not samples:
        raise ValueError(f'{ann_file}: holds no video')
    if not multi_class:
        for sample in samples:
            sample['label'] = (sample['label'] or [UNLABELLED])[0]
    return samples


def _parse(line: str, delimiter: str,
           multi_class: bool) -> tuple[str, list[int]]:
    """Path and labels of a line."""
    split = line.split if multi_class else line.rsplit
    path, *words = [word.strip() for word in split(
        delimiter, -1 if multi_class else 1)]
    words = [word for word in words if word]
    if not path or (not words and _INTEGER.fullmatch(path)):
        raise ValueError('no path')
    if not multi_class and words:
        if _FILE.fullmatch(words[0]):
            return line, []  # a path with spaces
        number = path.rpartition(delimiter)[2].strip()
        if number != path and _INTEGER.fullmatch(number):
            raise ValueError(
                f'a number, {shown(number, 40)}, between path and label: '
                'three columns are a list of raw frames, "folder frames '
                f'label", for RawframeDataset; here a line is "path{delimiter}'
                'label" (several labels: multi_class=True)')
    for word in words:
        if not _INTEGER.fullmatch(word):
            raise ValueError(f'the label {shown(word, 40)} is not an integer '
                             'of plain digits')
    return path, [int(word) for word in words]


def _check_labels(labels: list[int], num_classes: int | None,
                  unlabelled: bool) -> None:
    if unlabelled and labels in ([], [UNLABELLED]):
        return
    if not labels:
        raise ValueError('no label behind the path')
    for label in labels:
        if label < 0 or (num_classes is not None and label >= num_classes):
            top = '' if num_classes is None else f' to {num_classes - 1}'
            raise ValueError(f'the label {label} is out of range, labels are '
                             f'0{top}')
