"""What a prediction looks at: files, folders, lists, cameras, streams."""
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ..annotations.lists import SUFFIXES
from ..datasets.annotation_file import UNLABELLED, read_annotations
from ..datasets.decoders.pyav_reader import PyAVReader
from ..datasets.video_reader import (
    VideoReadError,
    check_video_file,
    errors_named,
    rgb_array,
)

_CAMERA = re.compile(r'\d{1,3}')
_ADDRESS = re.compile(r'[a-z][a-z0-9+.-]+://', re.IGNORECASE)
_LISTS = '.txt', '.csv', '.lst'
_ERRORS = (av.FFmpegError, OSError, ValueError, IndexError)
_PATIENCE = 10.  # seconds to wait for a stream to open and for each read


class Source(NamedTuple):
    """One video, camera or stream.

    Attributes:
        name (str): Path, number of a camera or address.
        label (int): The true class, -1 where no list tells it.
    """

    name: str
    label: int = UNLABELLED


def is_live(name: str) -> bool:
    """Whether a name is the number of a camera or the address of a stream.

    Args:
        name (str): What a user gave.

    Returns:
        bool: False for files, also for one that is named like a number.
    """
    return bool(_ADDRESS.match(name)) or (
        bool(_CAMERA.fullmatch(name)) and not os.path.exists(name))


def expand(inputs: Sequence[str | Path],
           root: str | Path | None = None) -> list[Source]:
    """The videos that a user's words name, in their order.

    Args:
        inputs (Sequence[str | Path]): Files; folders, of which every video
            below is taken, sorted; lists (``.txt``, ``.csv``, ``.lst``) with
            lines ``path`` or ``path label``; numbers of cameras; addresses.
        root (str | Path, optional): Folder of the paths in lists. Defaults to
            None: that of the list.

    Returns:
        list[Source]: Each name once.

    Raises:
        ValueError: If a folder holds no video, a list is wrong, or nothing is
            named.
    """
    found: dict[str, Source] = {}
    for name in map(str, inputs):
        if is_live(name):
            sources = [Source(name)]
        elif os.path.isdir(name):
            sources = [Source(str(path)) for path in sorted(
                Path(name).rglob('*')) if path.suffix.lower() in SUFFIXES]
            if not sources:
                raise ValueError(f'{name}: no video in this folder (allowed '
                                 f'suffixes: {", ".join(SUFFIXES)})')
        elif Path(name).suffix.lower() in _LISTS:
            # before every path, so no line of a list is an address
            folder = Path(name).parent if root is None else Path(root)
            sources = [Source(line['filename'], line['label'])
                       for line in read_annotations(name, str(folder),
                                                    unlabelled=True)]
        else:
            sources = [Source(name)]
        for source in sources:
            found.setdefault(source.name, source)
    if not found:
        raise ValueError('no input: name a video, a folder, a list, a camera '
                         'or a stream')
    return list(found.values())


class FrameSource:
    """The frames of a file, a camera or a stream, one after the other.

    The memory is that of one frame. The frames of a file are those of
    :class:`PyAVReader`, each of them or an error.

    Args:
        name (str): Path, number of a camera, or address.

    Attributes:
        fps (float): Frames a second, on average; 0 if nothing tells it.
        num_frames (int, optional): Of a file; None: live.

    Raises:
        VideoReadError: If it cannot be opened.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_frames: int | None = None
        self._file: PyAVReader | None = None
        self._reformatter = VideoReformatter()
        if not is_live(name):
            check_video_file(name)
            self._file = PyAVReader(name)
            self.num_frames, self.fps = self._file.num_frames, self._file.fps
            return
        with errors_named(name, _ERRORS):
            self._container = _open(name)
            self._stream = self._container.streams.best('video')
            if self._stream is None or self._stream.codec_context is None:
                self._container.close()
                raise ValueError('no video stream that can be decoded')
            self._stream.thread_type = 'NONE'
            self.fps = float(self._stream.average_rate
                             or self._stream.guessed_rate or 0)

    def __iter__(self) -> Iterator[Any]:
        """Yield frames of PyAV; :meth:`rgb` makes arrays of them.

        Raises:
            VideoReadError: If decoding fails, or a file has fewer frames than
                it says.
        """
        if self._file is not None:
            yield from self._file.frames()
            return
        with errors_named(self.name, _ERRORS):
            yield from self._container.decode(self._stream)

    def rgb(self, frame: Any) -> np.ndarray:
        """Convert one of the frames.

        Args:
            frame (av.VideoFrame): The frame.

        Returns:
            np.ndarray: (H, W, 3), RGB, uint8.

        Raises:
            VideoReadError: If it cannot be converted.
        """
        with errors_named(self.name, _ERRORS):
            return rgb_array(frame, self._reformatter).copy()

    def close(self) -> None:
        """Close the file or leave the camera."""
        (self._file or self._container).close()

    def __enter__(self) -> 'FrameSource':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _open(name: str) -> Any:
    if _ADDRESS.match(name):
        return av.open(name, metadata_errors='ignore',
                       timeout=(_PATIENCE, _PATIENCE))
    # the one rule for cameras: FFmpeg's input device of the system
    if sys.platform.startswith('linux'):
        return av.open(f'/dev/video{name}', format='v4l2')
    if sys.platform == 'darwin':
        return av.open(name, format='avfoundation',
                       options=dict(framerate='30'))
    raise VideoReadError(
        f'camera {name}: numbers are known on Linux and macOS; give the '
        'address of a stream (rtsp://..., http://...)')
