"""Frames of a video by PyAV."""
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice, pairwise
from typing import Any, TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from .file_check import VideoReadError, errors_named
from .packet_index import PacketIndex

_ERRORS = (av.FFmpegError, ValueError, IndexError)
# Packets of a stream of up to so many bytes stay in memory between opening
# and decoding; those of a longer one are read from the file again.
_KEPT_BYTES = 8 * 2**20
_T = TypeVar('_T')


class _InconsistentError(Exception):
    """Frames are not those that the packets told."""


def checked_indices(path: str, indices: np.ndarray | Sequence[int],
                    num_frames: int) -> list[int]:
    """Frame numbers as a list of integers.

    Args:
        path (str): The video, for the message.
        indices (np.ndarray | Sequence[int]): Frame numbers from 0.
        num_frames (int): Number of frames of the video.

    Returns:
        list[int]: The numbers.

    Raises:
        IndexError: If there is no such frame.
    """
    numbers = [int(i) for i in np.ravel(np.asarray(indices))]
    for number in numbers:
        if not 0 <= number < num_frames:
            raise IndexError(f'{path}: there is no frame {number}, allowed '
                             f'are 0 to {num_frames - 1}')
    return numbers


def upright(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Turn and mirror a stored picture as a display matrix says.

    Args:
        image (np.ndarray): Picture (H, W, 3).
        matrix (np.ndarray | None): Display matrix of ISO/IEC 14496-12, nine
            numbers in rows: a stored point (x, y) is shown at
            (m0 x + m3 y, m1 x + m4 y). None: as it is.

    Returns:
        np.ndarray: Picture (H, W, 3) or (W, H, 3), a view.

    Raises:
        ValueError: If it is none of the eight turned and mirrored pictures.
    """
    if matrix is None or not matrix.any():
        return image
    across, up = (matrix[0], matrix[4]), (matrix[3], matrix[1])
    transposed = np.abs(up).min() > np.abs(across).max()
    if transposed:
        across, up = up, across
        image = image.swapaxes(0, 1)
    if np.abs(across).min() < 50 * np.abs(up).max():  # about one degree
        raise ValueError('its display matrix turns it by other than a '
                         f'quarter: {matrix.tolist()}')
    return image[::-1 if across[1] < 0 else 1, ::-1 if across[0] < 0 else 1]


def _matrix(frame: av.VideoFrame) -> np.ndarray | None:
    data: Any = frame.side_data.get('DISPLAYMATRIX')
    return None if data is None else np.frombuffer(bytes(data), np.int32)


def stored_upright(frame: av.VideoFrame) -> bool:
    """Whether a frame is shown as it is stored; a tilted one is not."""
    image = np.arange(4).reshape(2, 2, 1)
    with suppress(ValueError):
        return np.array_equal(upright(image, _matrix(frame)), image)
    return False


def rgb_array(frame: av.VideoFrame,
              reformatter: VideoReformatter) -> np.ndarray:
    """Convert a frame, four times faster than its ``to_ndarray``.

    Args:
        frame (av.VideoFrame): The frame.
        reformatter (VideoReformatter): Kept from frame to frame.

    Returns:
        np.ndarray: (H, W, 3), RGB, uint8, as a player shows it.

    Raises:
        ValueError: If its display matrix tilts it.
    """
    rgb = reformatter.reformat(frame, format='rgb24')
    plane = rgb.planes[0]
    image = np.frombuffer(memoryview(plane), np.uint8)
    image = image.reshape(-1, plane.line_size)[:, :rgb.width * 3]
    return upright(image[:rgb.height].reshape(rgb.height, rgb.width, 3),
                   _matrix(frame))


class PyAVReader:
    """Frames of a video by PyAV, those of decoding it from the start.

    Groups of pictures without a frame that is asked for are left out, and in
    the others (h264) frames that no other frame refers to. Both matter for
    samples spread over a long clip. Where the packets do not tell for sure
    which frames they make, all frames are decoded in order, and counted when
    the file is opened.

    Args:
        path (str): The video.
        num_threads (int): Number of decoding threads. Defaults to 1.

    Attributes:
        decoder (str): ``'pyav'``.
        num_frames (int): Number of frames that can be asked for.
        fps (float): Average number of frames per second.
        index (PacketIndex): What the packets tell about the frames.

    Raises:
        VideoReadError: If the video cannot be opened.
    """

    decoder = 'pyav'

    def __init__(self, path: str, num_threads: int = 1) -> None:
        self.path = path
        self._num_threads = num_threads
        self._container: InputContainer | None = None
        self._packets: list[av.Packet] | None = None
        self._reformatter = VideoReformatter()
        try:
            with errors_named(path, _ERRORS):
                self._open()
                self._scan()
        except BaseException:
            self.close()
            raise
        if self.num_frames == 0:
            self.close()
            raise VideoReadError(f'{path}: no frames')

    def _open(self) -> None:
        """Open the file, or open it again: the decoder starts anew."""
        self.close()
        # HMDB-51 has a file whose metadata is not UTF-8
        self._container = av.open(self.path, metadata_errors='ignore')
        stream = self._container.streams.best('video')
        if stream is None or stream.disposition & Disposition.attached_pic:
            raise ValueError('no video stream')
        if stream.codec_context is None:
            raise ValueError('no decoder for its codec')
        self._stream = stream
        self._codec: Any = stream.codec_context
        self._codec.thread_count = self._num_threads
        self._codec.thread_type = ('AUTO' if self._num_threads != 1
                                   else 'NONE')
        self._used = False

    def _scan(self) -> None:
        """Read all packets once; count the frames if these do not tell."""
        assert self._container is not None
        container, codec, stream = self._container, self._codec, self._stream
        self.index = PacketIndex(
            container.format.name, codec.name, codec.extradata or b'',
            codec.field_order, bool(codec.has_b_frames))
        self.fps = float(stream.average_rate or stream.guessed_rate or 0)
        size = 0
        packets: list[av.Packet] = []
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            self.index.add(packet)
            size += packet.size
            if size <= _KEPT_BYTES:
                packets.append(packet)
            else:
                packets.clear()
        self._packets = packets or None
        self.index.close()
        self._trusted = not self.index.doubt
        if self._trusted or self.index.counted:
            self.num_frames = self.index.num_frames
        else:
            self._packets = None  # the decoder has to start anew
            self.num_frames = self._count()

    def close(self) -> None:
        """Close the file; reading frames opens it again."""
        self._packets = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def __del__(self) -> None:
        # PyAV's containers are in cycles, which no reference count ends
        self.close()

    def _pass(self) -> Iterator[av.Packet]:
        """The packets from the first, for a decoder that may go on."""
        reusable = self._packets is not None and (
            self._trusted or not self._used)
        if not reusable:
            self._open()
        elif self._used:
            self._codec.flush_buffers()
        self._used = True
        self._codec.skip_frame = 'DEFAULT'
        if self._packets is not None:
            yield from self._packets
            return
        assert self._container is not None
        for packet in self._container.demux(self._stream):
            if packet.size:
                yield packet

    def _in_order(self) -> Iterator[av.VideoFrame]:
        """All frames. What comes before a key frame need not be decodable."""
        started = False
        for packet in self._pass():
            started |= packet.is_keyframe
            try:
                frames = self._codec.decode(packet)
            except av.FFmpegError:
                if started:
                    raise
                continue
            yield from frames
        yield from self._codec.decode(None)

    def _count(self) -> int:
        return sum(1 for _ in self._in_order())

    def _runs(self, needed: set[int]) -> Iterator[tuple[int, int, set[int]]]:
        """Packets to decode on end, from and to, and the frames needed."""
        start, wanted = 0, set[int]()
        bounds = [*self.index.starts,
                  (self.index.num_packets, self.num_frames)]
        for (first, shown), (_, end) in pairwise(bounds):
            here = {i for i in needed if shown <= i < end}
            if here and not wanted:
                start = first
            elif wanted and not here:
                yield start, first, wanted
                wanted = set()
            wanted |= here
        if wanted:
            yield start, self.index.num_packets, wanted

    def _by_times(self, needed: set[int]
                  ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield (index, frame), decoding as few frames as possible."""
        numbers: dict[int | None, int] = {
            time: i for i, time in enumerate(self.index.times)}
        # the decoder that drops single frames reliably when told to
        skipping = self._codec.name == 'h264'
        packets, at = self._pass(), 0
        run: Iterator[av.Packet] = iter(())
        for start, end, wanted in self._runs(needed):
            deque(run, maxlen=0)  # the rest of the last run
            run = islice(packets, start - at, end - at)
            if at:
                self._codec.flush_buffers()
            at, last = end, -1
            for packet in chain(run, [None]):
                if skipping:
                    keep = (packet is None
                            or numbers.get(packet.pts, -1) in wanted)
                    self._codec.skip_frame = 'DEFAULT' if keep else 'NONREF'
                for frame in self._codec.decode(packet):
                    number = numbers.get(frame.pts, -1)
                    if number <= last or (
                            last < 0 < start and not frame.key_frame):
                        raise _InconsistentError
                    last = number
                    wanted.discard(number)
                    yield number, frame
                if not wanted:
                    break
            if wanted:
                raise _InconsistentError

    def _collect(self, needed: set[int],
                 keep: Callable[[av.VideoFrame], _T]) -> dict[int, _T]:
        """What ``keep`` makes of each frame needed."""
        kept: dict[int, _T] = {}
        with errors_named(self.path, _ERRORS):
            if self._trusted:
                try:
                    for number, frame in self._by_times(needed):
                        if number in needed:
                            kept[number] = keep(frame)
                    return kept
                except (_InconsistentError, av.FFmpegError):
                    self._trusted = False
                    kept.clear()
                count = self._count()
                if count != self.num_frames:
                    raise ValueError(f'{count} frames can be decoded, and '
                                     f'the packets tell {self.num_frames}')
            last, number = max(needed, default=-1), -1
            for number, frame in enumerate(self._in_order()):
                if number in needed:
                    kept[number] = keep(frame)
                if number == last:
                    break
            if len(kept) < len(needed):
                raise ValueError(f'frame {number + 1} of {self.num_frames} '
                                 'cannot be decoded')
        return kept

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yield all frames in order, keeping none.

        Raises:
            VideoReadError: If one of them cannot be decoded.
        """
        number = 0
        with errors_named(self.path, _ERRORS):
            for frame in islice(self._in_order(), self.num_frames):
                number += 1
                yield frame
            if number < self.num_frames:
                raise ValueError(f'{number} of {self.num_frames} frames can '
                                 'be decoded')

    @property
    def stream_index(self) -> int:
        """Number of the video's stream in the file."""
        return self._stream.index

    def seconds(self, numbers: Sequence[int]) -> np.ndarray:
        """When frames are shown, of a file whose packets tell it."""
        times = np.array([self.index.times[i] for i in numbers])
        return times * float(self._stream.time_base or 1)

    def first_frame(self) -> av.VideoFrame:
        """The first frame as decoded.

        Returns:
            av.VideoFrame: The frame.

        Raises:
            VideoReadError: If it cannot be decoded.
        """
        return self._collect({0}, lambda frame: frame)[0]

    def get_frames(self,
                   indices: np.ndarray | Sequence[int]) -> list[np.ndarray]:
        """Return the frames at ``indices``, as often as called.

        Args:
            indices (np.ndarray | Sequence[int]): Frame numbers from 0, in
                any order, also more than once.

        Returns:
            list[np.ndarray]: Frames (H, W, 3), RGB, uint8, as a player shows
            them: turned and mirrored by the display matrix.

        Raises:
            IndexError: If there is no such frame.
            VideoReadError: If one of them cannot be decoded.
        """
        numbers = checked_indices(self.path, indices, self.num_frames)
        images = self._collect(
            set(numbers), lambda frame: rgb_array(frame, self._reformatter))
        return [images[number] for number in numbers]

    def verify(self) -> None:
        """Decode every frame, keeping none.

        Raises:
            VideoReadError: If one of them cannot be decoded.
        """
        self._collect(set(range(self.num_frames)), lambda frame: None)
