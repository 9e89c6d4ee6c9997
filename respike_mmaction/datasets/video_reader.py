"""Reading frames of a video file: every frame asked for, or an error.

MMAction2's readers are not enough where damaged files are to be expected.
decord crashes the process on a truncated file read from memory, which is how
``DecordInit`` reads (measured: 85 of 300 damaged files, none of 1500 when it
opens the path). decord hands out copies of a neighbour for frames it cannot
decode, and ``PyAVDecode`` wraps round to the first frame.
"""
import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .decoders.file_check import VideoReadError, check_video_file, errors_named
from .decoders.other_readers import DecordReader, TorchCodecReader
from .decoders.pyav_reader import PyAVReader, rgb_array

__all__ = [
    'DECODERS', 'VideoReadError', 'VideoReader', 'check_video_file',
    'chosen_decoder', 'errors_named', 'open_video', 'rgb_array'
]


class VideoReader(Protocol):
    """What the readers have in common; they keep files open until closed.

    Attributes:
        decoder (str): The library that is used: ``'pyav'``, ``'decord'`` or
            ``'torchcodec'``.
        num_frames (int): Number of frames that can be asked for.
        fps (float): Average number of frames per second.
    """

    decoder: str
    num_frames: int
    fps: float

    def get_frames(self,
                   indices: np.ndarray | Sequence[int]) -> list[np.ndarray]:
        """Return the frames at ``indices``, in any order and number."""

    def verify(self) -> None:
        """Decode every frame, keeping none."""

    def close(self) -> None:
        """Close the file."""


DECODERS = ('auto', 'pyav', 'decord', 'torchcodec')


def chosen_decoder(decoder: str = 'auto') -> str:
    """The decoder that files are opened with now.

    Args:
        decoder (str): The config's choice, one of ``DECODERS``. The
            environment variable ``RESPIKE_DECODER``, where it is set, is
            stronger. Defaults to ``'auto'``.

    Returns:
        str: One of ``DECODERS``.

    Raises:
        ValueError: If one of the two is unknown.
    """
    variable = os.environ.get('RESPIKE_DECODER')
    for source, name in (('decoder', decoder),
                         ('the environment variable RESPIKE_DECODER',
                          variable or decoder)):
        if name not in DECODERS:
            raise ValueError(
                f'{source} must be one of {DECODERS}, but got {name!r}')
    return variable or decoder


def open_video(path: str,
               decoder: str = 'auto',
               num_threads: int = 1) -> VideoReader:
    """Check and open a video.

    Args:
        path (str): The video.
        decoder (str): ``'auto'`` (PyAV), ``'pyav'``, ``'decord'`` or
            ``'torchcodec'``; see :func:`chosen_decoder`. The last two read
            the files for which they are proven, PyAV the others. Defaults to
            ``'auto'``.
        num_threads (int): Number of decoding threads. Defaults to 1, which
            is best with several workers.

    Returns:
        VideoReader: The open video.

    Raises:
        ValueError: If the decoder is unknown.
        ImportError: If the decoder cannot be imported.
        VideoReadError: If the video cannot be opened.
    """
    decoder = chosen_decoder(decoder)
    check_video_file(path)
    if decoder == 'decord':
        return DecordReader(path, num_threads)
    if decoder == 'torchcodec':
        return TorchCodecReader(path, num_threads)
    return PyAVReader(path, num_threads)
