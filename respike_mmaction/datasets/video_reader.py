"""Reading frames of a video file: every frame asked for, or an error.

MMAction2's readers are not enough where damaged files are to be expected.
decord crashes the process on a truncated file read from memory, which is how
``DecordInit`` reads (measured: 85 of 300 damaged files, none of 1500 when it
opens the path). decord hands out copies of a neighbour for frames it cannot
decode, and ``PyAVDecode`` wraps round to the first frame.
"""
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

__all__ = [
    'DECODERS', 'DecordReader', 'PyAVReader', 'VideoReadError',
    'check_video_file', 'chosen_decoder', 'errors_named', 'open_video',
    'rgb_array'
]


class VideoReadError(RuntimeError):
    """A video file that cannot be read; the message names it and says why."""


class VideoReader(Protocol):
    """What the readers of this module have in common.

    Attributes:
        num_frames (int): Number of frames that can be asked for.
        fps (float): Average number of frames per second.
    """

    num_frames: int
    fps: float

    def get_frames(self, indices: np.ndarray) -> list[np.ndarray]:
        """Return the frames at ``indices``, in any order and number."""

    def verify(self) -> None:
        """Decode every frame, keeping none."""


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
def errors_named(path: str, kinds: tuple) -> Iterator[None]:
    """Turn a decoder's error into one line that names the file."""
    try:
        yield
    except kinds as error:
        lines = str(error).strip().splitlines() or ['']
        # decord: '[12:49:02] /github/workspace/src/x.cc:731: the message'
        reason = re.sub(r'^(\[[\d:]+\] \S+\.(cc|h):\d+: )+', '', lines[0])
        raise VideoReadError(
            f'{path}: {type(error).__name__}: {reason[:300]}') from error


class DecordReader:
    """Frames of a video by decord, with one ``get_batch``.

    Goes on to the key frame before a frame that is asked for only where PyAV
    can be imported and agrees about the key frames; else it decodes all
    frames up to the last one.

    Args:
        path (str): The video; passed on as a path, since decord crashes on
            damaged files that are read from memory.
        num_threads (int): Number of decoding threads. Defaults to 1, which
            is best with several workers.

    Raises:
        ImportError: If decord cannot be imported.
        VideoReadError: If the video cannot be opened.
    """

    def __init__(self, path: str, num_threads: int = 1):
        try:
            import decord
        except (ImportError, OSError) as error:
            raise ImportError(
                f'decord cannot be imported ({error}); "pip install decord", '
                'or decode with PyAV: set the environment variable '
                "RESPIKE_DECODER=pyav, or decoder='pyav' of VideoInit"
            ) from error
        decord.logging.set_level(decord.logging.QUIET)
        self.path = path
        # All that decord raises; it fails with bare asserts, too.
        self._errors = (decord.DECORDError, decord.DECORDLimitReachedError,
                        RuntimeError, AssertionError, ValueError, IndexError)
        # fault_tol: an error instead of a copy of another frame. (0 would
        # switch it off; the number is a share of the frames.)
        self._open = partial(
            decord.VideoReader,
            path,
            num_threads=num_threads,
            fault_tol=1e-9)
        with errors_named(path, self._errors):
            self._reader = self._open()
            self.num_frames = len(self._reader)
            last = self._reader.get_frame_timestamp([self.num_frames - 1])
            keys = list(self._reader.get_key_indices())
            self.fps = self._reader.get_avg_fps()
        # AVIs with packed B-frames (HMDB-51) have no timestamps. decord then
        # counts a packet too many, whose frame is a copy of the last one.
        has_times = last[0, 0] >= 0
        if not has_times and self.num_frames > 1:
            self.num_frames -= 1
        self._last_key = max(keys, default=0)
        self._jumps = has_times and self._knows(keys)

    def _knows(self, keys: list[int]) -> bool:
        """Whether decord is right about the places of the key frames.

        It takes the number of a packet for that of its frame. Where a key
        frame is stored ahead of frames shown before it (open groups of
        pictures, as x265 writes them), it jumps to wrong frames.
        """
        if keys == [0]:
            return True
        try:
            return PyAVReader(self.path).key_indices == keys
        except (ImportError, VideoReadError):
            return False

    def get_frames(self, indices: np.ndarray) -> list[np.ndarray]:
        """Return the frames at ``indices``.

        Args:
            indices (np.ndarray): Frame numbers from 0, in any order, also
                more than once. Each is decoded once, in the order of the
                file: going back would start from the last intra frame.

        Returns:
            list[np.ndarray]: Frames (H, W, 3), RGB, uint8.

        Raises:
            VideoReadError: If one of them cannot be decoded.
        """
        number = len(indices)
        # After a jump to the last key frame decord may repeat frames at the
        # end of the file; reading the frame before it, too, avoids the jump.
        if self._jumps and max(indices) >= self._last_key > 0:
            indices = np.append(indices, self._last_key - 1)
        needed, where = np.unique(indices, return_inverse=True)
        with errors_named(self.path, self._errors):
            if not self._jumps:
                frames = self._read_through(needed)
            else:
                try:
                    frames = self._reader.get_batch(needed).asnumpy()
                except self._errors:  # of a jump, it may be
                    self._reader = self._open()
                    frames = self._read_through(needed)
        return [frames[i] for i in where.ravel()[:number]]

    def verify(self) -> None:
        """Decode every frame of a video just opened, keeping none.

        Raises:
            VideoReadError: If one of them cannot be decoded.
        """
        with errors_named(self.path, self._errors):
            for _ in range(self.num_frames):
                self._reader.next()

    def _read_through(self, needed: np.ndarray) -> list[np.ndarray]:
        """Decode from the start, without a jump."""
        frames = []
        for index in range(needed[-1] + 1):
            frame = self._reader.next()
            if index in needed:
                frames.append(frame.asnumpy())
        if frames[0].shape[-1] != 3:
            raise RuntimeError('decord misreads frames of this small width')
        return frames


def rgb_array(frame: Any, reformatter: Any) -> np.ndarray:
    """Convert a frame of PyAV, four times faster than its ``to_ndarray``.

    Args:
        frame (av.VideoFrame): The frame.
        reformatter (VideoReformatter): Kept from frame to frame.

    Returns:
        np.ndarray: (H, W, 3), RGB, uint8, as the file says it is shown.
    """
    rgb = reformatter.reformat(frame, format='rgb24')
    plane = rgb.planes[0]
    image = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    image = image[:rgb.height, :rgb.width * 3]
    image = image.reshape(rgb.height, rgb.width, 3)
    if frame.rotation:
        return np.rot90(image, frame.rotation // 90)
    return image


class PyAVReader:
    """Frames of a video by PyAV, bit by bit those of :class:`DecordReader`.

    All but 10 bit, which the two convert differently, and MPEG-4, of which
    they may round the inverse transform differently.

    Groups of pictures without a frame that is asked for are left out, and in
    the others (h264) frames that no other frame refers to, for which decord
    has no switch. Both matter for samples spread over a long clip.

    Args:
        path (str): The video.
        num_threads (int): Number of decoding threads. Defaults to 1.

    Attributes:
        key_indices (list[int]): Numbers of the key frames in the order of
            the file; empty if the file holds no timestamps.

    Raises:
        ImportError: If PyAV cannot be imported.
        VideoReadError: If the video cannot be opened.
    """

    def __init__(self, path: str, num_threads: int = 1):
        try:
            import av
            from av.video.reformatter import VideoReformatter
        except ImportError as error:
            raise ImportError(f'PyAV cannot be imported ({error}); '
                              '"pip install av"') from error
        av.logging.set_level(av.logging.PANIC)
        self.path = path
        self._reformatter = VideoReformatter()
        self._errors = (av.FFmpegError, ValueError, IndexError)
        with errors_named(path, self._errors):
            # HMDB-51 has a file whose metadata is not UTF-8
            self._container = av.open(path, metadata_errors='ignore')
            stream = self._container.streams.best('video')
            if stream is None:
                raise ValueError('no video stream')
            self._codec = stream.codec_context
            if self._codec is None:
                raise ValueError('no decoder for its codec')
            self._codec.thread_count = num_threads
            self._codec.thread_type = 'AUTO' if num_threads != 1 else 'NONE'
            self.fps = float(stream.average_rate or 0)
            self._packets = [
                p for p in self._container.demux(stream) if p.size
            ]
        if not self._packets:
            raise VideoReadError(f'{path}: no frames')
        times = [p.pts for p in self._packets if not p.is_discard]
        if None in times or (self._container.format.name == 'avi'
                             and self._codec.has_b_frames):
            # An AVI holds no timestamps: its frames have to be counted. A
            # packet of one byte holds the place of a packed B-frame.
            self._index = {}
            self.num_frames = sum(p.size > 1 for p in self._packets)
        else:
            self._index = {time: i for i, time in enumerate(sorted(times))}
            self.num_frames = len(self._index)
        self.key_indices = [
            self._index[p.pts] for p in self._packets
            if p.is_keyframe and p.pts in self._index
        ]

    def _groups(self) -> list[tuple[int, int]]:
        """Where decoding can start: numbers of packet and frame.

        At key frames behind which no frame is shown before them: closed
        groups of pictures.
        """
        starts = [(0, 0)]
        shown = 0
        for number, packet in enumerate(self._packets):
            if (number > 0 and packet.is_keyframe
                    and self._index.get(packet.pts) == shown):
                starts.append((number, shown))
            shown += not packet.is_discard
        return starts

    def _runs(self, needed: set[int]) -> Iterator[tuple[list, set[int]]]:
        """Yield packets to decode on end, and the frames needed of them."""
        packets, wanted = [], set()
        bounds = [*self._groups(), (len(self._packets), self.num_frames)]
        for (start, first), (end, last) in pairwise(bounds):
            here = {i for i in needed if first <= i < last}
            if here:
                packets += self._packets[start:end]
                wanted |= here
            elif packets:
                yield packets, wanted
                packets, wanted = [], set()
        if packets:
            yield packets, wanted

    def _decode(self, needed: set[int]) -> Iterator[tuple[int, object]]:
        """Yield (index, frame), decoding as few frames as possible."""
        codec = self._codec
        # the decoder that drops single frames reliably when told to
        skipping = codec.name == 'h264' and self._index
        count = 0
        for packets, wanted in self._runs(needed):
            for packet in [*packets, None]:
                if skipping:
                    keep = (packet is None
                            or self._index.get(packet.pts) in wanted)
                    codec.skip_frame = 'DEFAULT' if keep else 'NONREF'
                for frame in codec.decode(packet):
                    index = (self._index.get(frame.pts, -1)
                             if self._index else count)
                    count += 1
                    wanted.discard(index)
                    yield index, frame
                if not wanted:
                    break
            codec.flush_buffers()

    def get_frames(self, indices: np.ndarray) -> list[np.ndarray]:
        """Return the frames at ``indices``; see :class:`DecordReader`.

        Can be called once.

        Args:
            indices (np.ndarray): Frame numbers from 0, in any order, also
                more than once.

        Returns:
            list[np.ndarray]: Frames (H, W, 3), RGB, uint8.

        Raises:
            VideoReadError: If one of them cannot be decoded.
        """
        needed = {int(i) for i in indices}
        images = {}
        with errors_named(self.path, self._errors):
            for index, frame in self._decode(needed):
                if index in needed and index not in images:
                    images[index] = rgb_array(frame, self._reformatter)
        if len(images) < len(needed):
            raise VideoReadError(
                f'{self.path}: {len(needed) - len(images)} of {len(needed)} '
                f'frames cannot be decoded, the first is frame '
                f'{min(needed - set(images))} of {self.num_frames}')
        return [images[int(i)] for i in indices]

    def verify(self) -> None:
        """Decode every frame of a video just opened, keeping none.

        Raises:
            VideoReadError: If one of them cannot be decoded.
        """
        with errors_named(self.path, self._errors):
            count = sum(1 for _ in self._decode(set(range(self.num_frames))))
        if count < self.num_frames:
            raise VideoReadError(f'{self.path}: {count} of '
                                 f'{self.num_frames} frames can be decoded')


DECODERS = ('auto', 'pyav', 'decord')
_READERS = dict(auto=PyAVReader, pyav=PyAVReader, decord=DecordReader)


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
        decoder (str): ``'auto'`` (PyAV), ``'pyav'`` or ``'decord'``; see
            :func:`chosen_decoder`. Defaults to ``'auto'``.
        num_threads (int): Number of decoding threads. Defaults to 1.

    Returns:
        VideoReader: The open video.

    Raises:
        ValueError: If the decoder is unknown.
        ImportError: If the decoder cannot be imported.
        VideoReadError: If the video cannot be opened.
    """
    decoder = chosen_decoder(decoder)
    check_video_file(path)
    return _READERS[decoder](path, num_threads)
