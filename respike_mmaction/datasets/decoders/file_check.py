"""What no decoder should be let near, and errors that name the file."""
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class VideoReadError(RuntimeError):
    """A video file that cannot be read; the message names it and says why."""


def _riff_end(file: BinaryIO) -> int:
    """End of the last RIFF chunk of an AVI file (OpenDML has several)."""
    end = 0
    while True:
        file.seek(end)
        header = file.read(8)
        size = int.from_bytes(header[4:], 'little')
        if header[:4] != b'RIFF' or size in (0, 2**32 - 1):
            return end
        end += 8 + size


def _iso_end(file: BinaryIO) -> int:
    """End of the last box of an ISO base media file (mp4, mov)."""
    end = 0
    while True:
        file.seek(end)
        header = file.read(16)
        size = int.from_bytes(header[:4], 'big')
        if size == 1:  # the size did not fit into 32 bits
            size = int.from_bytes(header[8:16], 'big')
        if size < 8 or not header[4:8].isalnum():  # 0: "up to the end"
            return end
        end += size


def _ebml_end(file: BinaryIO) -> int:
    """End of the Segment of a Matroska file (mkv, webm)."""

    def size_here() -> int | None:
        first = file.read(1)
        length = 9 - first[0].bit_length() if first and first[0] else 9
        if length > 8:
            return None
        value = int.from_bytes(first + file.read(length - 1), 'big')
        value ^= 1 << 7 * length  # the marker of the length
        return None if value == (1 << 7 * length) - 1 else value  # unknown

    file.seek(4)
    header = size_here()
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(4) != b'\x18\x53\x80\x67':
        return 0
    segment = size_here()
    return 0 if segment is None else file.tell() + segment


# How FFmpeg knows HLS and concat files, whatever their names; it skips an ID3
# tag, with which no file of videos begins.
_PLAYLISTS = b'#EXTM3U', b'ffconcat', b'ID3'


def check_video_file(path: str) -> None:
    """Refuse what no decoder should be let near: it could block or crash.

    A file is refused if it is missing, not a regular file (opening a FIFO
    blocks for ever), empty, a playlist, which makes decoders open other
    files, or shorter than its container says (mp4, mov, avi, mkv, webm).
    Costs a few microseconds.

    Args:
        path (str): The video.

    Raises:
        VideoReadError: Naming the file and the reason.
    """
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise VideoReadError(f'{path}: not a regular file')
        if status.st_size == 0:
            raise VideoReadError(f'{path}: the file is empty')
        with open(path, 'rb') as file:
            head = file.read(12)
            if head.startswith(_PLAYLISTS):
                raise VideoReadError(
                    f'{path}: a playlist, which names other files')
            if head[:4] == b'RIFF' and head[8:] == b'AVI ':
                end = _riff_end(file)
            elif head[:4] == b'\x1a\x45\xdf\xa3':
                end = _ebml_end(file)
            elif head[4:8] in (b'ftyp', b'moov', b'mdat', b'free', b'wide'):
                end = _iso_end(file)
            else:
                end = 0
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or str(error)
        raise VideoReadError(f'{path}: {reason}') from error
    if end > status.st_size:
        raise VideoReadError(
            f'{path}: truncated, the container says {end} bytes and the '
            f'file has {status.st_size}')


@contextmanager
def errors_named(path: str,
                 kinds: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn a decoder's error into one line that names the file."""
    try:
        yield
    except kinds as error:
        lines = str(error).strip().splitlines() or ['']
        # decord: '[12:49:02] /github/workspace/src/x.cc:731: the message'
        reason = re.sub(r'^(\[[\d:]+\] \S+\.(cc|h):\d+: )+', '', lines[0])
        raise VideoReadError(
            f'{path}: {type(error).__name__}: {reason[:300]}') from error
