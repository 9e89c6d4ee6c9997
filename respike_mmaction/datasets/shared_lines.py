"""Lines that several processes write."""
import os
from multiprocessing import reduction
from tempfile import TemporaryFile
from typing import Any


class SharedLines:
    """Lines that this process and its workers append to one file.

    The file has no name, so nothing is left of it however they end. Workers
    get it as they get any open file, whether forked or spawned.
    """

    def __init__(self, handle: int | None = None) -> None:
        # open as long as this object is
        self._file = (TemporaryFile() if handle is None  # noqa: SIM115
                      else os.fdopen(handle, 'r+b'))

    def append(self, line: str) -> None:
        """Write a line, whole beside those of others."""
        os.write(self._file.fileno(), f'{line}\n'.encode())

    def read(self) -> list[str]:
        """All lines so far."""
        handle = self._file.fileno()  # pread: they share the position
        return os.pread(handle, os.fstat(handle).st_size,
                        0).decode().splitlines()

    def __reduce__(self) -> tuple:
        return _received, (reduction.DupFd(self._file.fileno()), )

    def __deepcopy__(self, memo: dict) -> 'SharedLines':
        return self


def _received(handle: Any) -> SharedLines:
    return SharedLines(handle.detach())
