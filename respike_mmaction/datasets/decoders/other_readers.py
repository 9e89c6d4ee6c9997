"""Frames by decord or torchcodec, for the files they are proven for.

PyAV opens every file first: its index says which frames the file has, and it
reads the files that the other decoder is not proven for.
"""
import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from mmengine.logging import print_log

from .pyav_reader import PyAVReader, checked_indices, stored_upright

# By the matrix of tests/stress/decoding_matrix.py.
_CONTAINERS = ('mov', 'matroska')
_CODECS = ('h264', 'hevc', 'vp8', 'vp9', 'av1')
_PIXELS = 'yuv420p'


@cache
def _tell(decoder: str, kind: str, reason: str) -> None:
    """Say once in a process why files of a kind are read by PyAV."""
    print_log(
        f'decoder={decoder!r}: {kind} files are read by PyAV where '
        f'{reason}',
        logger='current',
        level=logging.WARNING)


class _OtherReader:
    """What is common to the two; a subclass opens and reads.

    Args:
        path (str): The video.
        num_threads (int): Number of decoding threads. Defaults to 1.

    Attributes:
        decoder (str): The library that is used for this file.
        num_frames (int): Number of frames that can be asked for.
        fps (float): Average number of frames per second.

    Raises:
        ImportError: If the library cannot be imported.
        VideoReadError: If the video cannot be opened.
    """

    decoder: str
    advice: str

    def __init__(self, path: str, num_threads: int = 1) -> None:
        try:
            self._load()
        except (ImportError, OSError, RuntimeError) as error:
            raise ImportError(
                f'{self.decoder} cannot be loaded '
                f'({str(error).strip().splitlines()[0]}); {self.advice}, or '
                'decode with PyAV: set the environment variable '
                "RESPIKE_DECODER=pyav, or decoder='pyav' of VideoInit"
            ) from error
        self.path = path
        self._pyav = PyAVReader(path, num_threads)
        self.num_frames = self._pyav.num_frames
        self.fps = self._pyav.fps
        self._reader: Any = None
        reason = self._unproven()
        if not reason:
            try:
                self._reader = self._open(num_threads)
                reason = self._differs()
            except self._errors as error:
                reason = f'it says {type(error).__name__}'
        if reason:
            self._give_up(reason)

    def _load(self) -> None:
        """Import the library; set the errors that it raises."""
        raise NotImplementedError

    _errors: tuple[type[Exception], ...]

    def _open(self, num_threads: int) -> Any:
        raise NotImplementedError

    def _differs(self) -> str:
        """In what the open reader and the index differ; '' if in nothing."""
        raise NotImplementedError

    def _read(self, numbers: list[int]) -> np.ndarray | None:
        """Frames at increasing numbers, None if they are others."""
        raise NotImplementedError

    def _unproven(self) -> str:
        index = self._pyav.index
        if index.doubt:
            return index.doubt
        if not set(_CONTAINERS) & set(index.container.split(',')):
            return 'the container is another than MP4 and Matroska'
        if index.codec not in _CODECS:
            return f'the codec is {index.codec}'
        first = self._pyav.first_frame()
        if first.format.name != _PIXELS or first.interlaced_frame:
            return f'pixels are not progressive {_PIXELS}'
        if not stored_upright(first):
            return 'the display matrix turns them'
        self._shape = (first.height, first.width, 3)
        return ''

    def _give_up(self, reason: str) -> None:
        _tell(self.decoder, self._pyav.index.codec, reason)
        self._reader = None
        self.decoder = self._pyav.decoder  # from now on, for this file

    def get_frames(self,
                   indices: np.ndarray | Sequence[int]) -> list[np.ndarray]:
        """Return the frames at ``indices``; see :class:`PyAVReader`."""
        numbers = checked_indices(self.path, indices, self.num_frames)
        if self._reader is not None and numbers:
            needed, where = np.unique(numbers, return_inverse=True)
            try:
                frames = self._read(needed.tolist())
                if frames is not None and frames.shape[1:] == self._shape:
                    return [frames[i] for i in where.ravel()]
                self._give_up('its frames are others')
            except self._errors as error:
                self._give_up(f'it says {type(error).__name__}')
        return self._pyav.get_frames(numbers)

    def verify(self) -> None:
        """Decode every frame, keeping none; see :class:`PyAVReader`."""
        self._pyav.verify()

    def close(self) -> None:
        """Close the file; reading frames opens it again."""
        self._reader = None
        self._pyav.close()


class DecordReader(_OtherReader):
    """Frames by decord, bit by bit PyAV's; see :class:`_OtherReader`."""

    decoder = 'decord'
    advice = '"pip install decord"'

    def _load(self) -> None:
        import decord
        decord.logging.set_level(decord.logging.QUIET)
        # All that decord raises; it fails with bare asserts, too.
        self._errors = (decord.DECORDError, decord.DECORDLimitReachedError,
                        RuntimeError, AssertionError, ValueError, IndexError)

    def _open(self, num_threads: int) -> Any:
        from decord import VideoReader

        # As a path: decord crashes on damaged files that are read from
        # memory. fault_tol: an error instead of a copy of another frame. (0
        # would switch it off; the number is a share of the frames.)
        return VideoReader(self.path, num_threads=num_threads, fault_tol=1e-9)

    def _differs(self) -> str:
        keys = self._pyav.index.key_indices
        if len(self._reader) != self.num_frames:
            return 'it counts other frames'
        # It takes the number of a packet for that of its frame, and jumps to
        # wrong frames where a key frame is stored ahead of frames shown
        # before it (open groups of pictures).
        if list(self._reader.get_key_indices()) != keys or \
                len(keys) != len(self._pyav.index.starts):
            return 'groups of pictures are open'
        return ''

    def _read(self, numbers: list[int]) -> np.ndarray:
        # After a jump to the last key frame it may repeat frames at the end
        # of the file; reading the frame before it, too, avoids the jump.
        last_key = self._pyav.index.key_indices[-1]
        if numbers[-1] < last_key or last_key == 0:
            return self._reader.get_batch(numbers).asnumpy()
        asked = sorted({*numbers, last_key - 1})
        frames = self._reader.get_batch(asked).asnumpy()
        return frames[[asked.index(number) for number in numbers]]


class TorchCodecReader(_OtherReader):
    """Frames by torchcodec; see :class:`_OtherReader`.

    Its colours are converted by the FFmpeg that the system has, PyAV's by
    its own: they may differ by a grey level or two.
    """

    decoder = 'torchcodec'
    advice = ('"pip install torchcodec" of a version for this PyTorch, and '
              "FFmpeg's shared libraries")

    def _load(self) -> None:
        import torchcodec.decoders  # noqa: F401
        self._errors = (RuntimeError, ValueError, IndexError)

    def _open(self, num_threads: int) -> Any:
        from torchcodec.decoders import VideoDecoder
        return VideoDecoder(
            self.path,
            stream_index=self._pyav.stream_index,
            dimension_order='NHWC',
            num_ffmpeg_threads=num_threads,
            seek_mode='exact')

    def _differs(self) -> str:
        return ('' if len(self._reader) == self.num_frames else
                'it counts other frames')

    def _read(self, numbers: list[int]) -> np.ndarray | None:
        batch = self._reader.get_frames_at(numbers)
        seconds = self._pyav.seconds(numbers)
        if not np.allclose(batch.pts_seconds.numpy(), seconds, atol=1e-4):
            return None
        return batch.data.numpy()
