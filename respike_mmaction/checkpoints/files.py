"""Checkpoint files: written whole or not at all, and known when damaged."""
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PARTIAL = '.partial'  # what a file is called until it is complete


def write_whole(write: Callable[[str], Any], path: str | Path) -> None:
    """Write a file beside its place and put it there when it is on the disk.

    Whatever ends the process, ``path`` holds all of the old content or all
    of the new one.

    Args:
        write (Callable[[str], Any]): Writes the content to the path given.
        path (str | Path): The place.

    Raises:
        OSError: If the content cannot be written; ``path`` is as it was.
    """
    path = os.path.realpath(path)  # through a link, as writing does
    partial = f'{path}.{os.getpid()}{PARTIAL}'
    try:
        write(partial)
        _flush(partial)
        os.replace(partial, path)
    except OSError as error:
        Path(partial).unlink(missing_ok=True)
        raise OSError(
            error.errno, f'{error.strerror}; nothing is saved, and the files '
            'saved before are untouched', path) from error
    if os.name == 'posix':
        _flush(os.path.dirname(path))


def _flush(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def damage(path: str | Path) -> str:
    """Say what is wrong with a file of ``torch.save``.

    Such a file is a zip archive with a CRC-32 of each of its records, which
    ``torch.load`` does not look at.

    Args:
        path (str | Path): The file.

    Returns:
        str: What is wrong; empty if the file is whole.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(record.compress_type != zipfile.ZIP_STORED
                   for record in archive.infolist()):
                return 'its records are compressed'  # may be bombs
            name = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError,
            NotImplementedError, RuntimeError) as error:
        return str(error) or type(error).__name__
    return f'the checksum of its record {name} is another' if name else ''


def check_whole(path: str | Path) -> None:
    """Refuse a damaged checkpoint.

    Files in the format of torch < 1.6 have no checksums and pass.

    Args:
        path (str | Path): The file.

    Raises:
        ValueError: If the file is empty, torn, or a checksum in it is wrong.
    """
    with open(path, 'rb') as file:
        start = file.read(4)
    found = 'it is empty' if not start else ''
    if start.startswith(b'PK'):
        found = damage(path)
    if found:
        raise ValueError(f'the checkpoint {path} is damaged: {found}')


def newest_whole(paths: Iterable[Path]) -> Path | None:
    """Find the checkpoint that was written last and is whole.

    Args:
        paths (Iterable[Path]): The checkpoints.

    Returns:
        Path | None: The newest that is whole, if there is one.
    """
    newest = sorted(paths, key=lambda p: p.stat().st_mtime_ns, reverse=True)
    return next((path for path in newest if not damage(path)), None)
