"""Names of classes, one a line in the order of their labels."""
from pathlib import Path

from ..datasets.annotation_file import shown

_LARGEST = 2**20  # bytes; Kinetics-700 needs 12 thousand


def read_label_map(path: str | Path,
                   num_classes: int | None = None) -> list[str]:
    """Read a label map.

    Args:
        path (str | Path): Text in UTF-8, a name on each line.
        num_classes (int, optional): How many there are to be. Defaults to
            None, any.

    Returns:
        list[str]: The names, of labels 0, 1 ...

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is larger than a label map, no text, has an
            empty line among the names, a name twice, or another number.
    """
    size = Path(path).stat().st_size
    if size > _LARGEST:
        raise ValueError(f'{path} is no label map: it has {size} bytes, '
                         f'allowed are {_LARGEST}')
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is no label map: allowed is text in UTF-8, '
                         f'but {error}') from error
    names = [line.strip() for line in text.rstrip().split('\n')]
    for line, name in enumerate(names, 1):
        if not name.isprintable() or not name:
            raise ValueError(f'{path}, line {line}: {shown(name)} is no name '
                             'of a class')
        if name in names[:line - 1]:
            raise ValueError(f'{path}, line {line}: {shown(name)} is the name '
                             f'of label {names.index(name)}, too')
    if num_classes not in (None, len(names)):
        raise ValueError(f'{path} names {len(names)} classes, but there are '
                         f'{num_classes}')
    return names
