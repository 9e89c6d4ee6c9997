"""What the packets of a video tell about its frames, before decoding.

Frames are numbered in the order in which PyAV decodes the file from its
start. The packets tell that order, and where decoding can start, only for
some containers and codecs, and not for every file of these: where there is
a doubt, the frames have to be decoded in order.
"""
import re
from array import array
from collections.abc import Callable
from typing import Any

# Where each packet carries the time at which its frame is shown, and each
# makes one frame. AVI holds no times; MPEG-PS and MPEG-TS leave some out and
# may start anywhere, ASF's belong to other frames.
_CONTAINERS = ('mov', 'matroska', 'flv', 'avi')
_CODECS = ('h264', 'hevc', 'vp8', 'vp9', 'av1', 'mpeg4', 'mjpeg')

# A packed B-frame of MPEG-4 leaves a packet of one byte in its place; one of
# so few bytes may say that a frame is left out.
_TINY = 16

_NAL_START = re.compile(rb'\x00\x00\x01(.)', re.DOTALL)


def _nal_reader(codec: str, extradata: bytes
                ) -> Callable[[bytes], set[int]] | None:
    """How the types of a packet's NAL units are read (h264, hevc)."""
    if codec not in ('h264', 'hevc'):
        return None

    def kind(byte: int) -> int:
        return byte & 31 if codec == 'h264' else byte >> 1 & 63

    if extradata[:1] != b'\x01':  # start codes
        return lambda data: {kind(m[1][0]) for m in _NAL_START.finditer(data)}
    where = 4 if codec == 'h264' else 21
    width = (extradata[where] & 3) + 1 if len(extradata) > where else 4

    def prefixed(data: bytes) -> set[int]:
        found, at = set(), 0
        while at + width < len(data):
            found.add(kind(data[at + width]))
            at += width + int.from_bytes(data[at:at + width], 'big')
        return found

    return prefixed


def _is_hidden(codec: str, packet: Any) -> bool:
    """Whether the frame of a VP8 or VP9 packet is not shown."""
    data = memoryview(packet)
    if codec == 'vp8':
        return not data[0] >> 4 & 1
    if codec != 'vp9' or data[-1] & 0xe0 == 0xc0:  # frames put together
        return False
    shift = data[0] >> 4 & 3 == 3  # profile 3 has a bit more
    return not data[0] >> 3 - shift & 1 and not data[0] >> 1 - shift & 1


class PacketIndex:
    """Times, key frames and starting points of a video stream.

    Args:
        container (str): FFmpeg's name of the container.
        codec (str): FFmpeg's name of the codec.
        extradata (bytes): The codec's parameters, out of the container.
        field_order (int): FFmpeg's number of it, 1 if progressive.
        has_b_frames (bool): Whether the order of decoding is another one.

    Attributes:
        num_packets (int): Packets that are not empty.
        doubt (str): Why the packets do not tell the frames; ``''`` if they
            do. Complete after :meth:`close`, as are the following.
        counted (bool): Despite a doubt, the number of packets is that of
            the frames (MPEG-4 in AVI, as in HMDB-51 and UCF-101).
        times (list[int]): When the frames are shown, in their order; empty
            if in doubt.
        starts (list[tuple[int, int]]): Numbers of packet and frame at which
            decoding can start, the first (0, 0).
        key_indices (list[int]): Numbers of the key frames.
    """

    def __init__(self, container: str, codec: str, extradata: bytes,
                 field_order: int, has_b_frames: bool) -> None:
        self.num_packets = 0
        self.doubt = ''
        self.counted = 'avi' in container and codec == 'mpeg4'
        self.times: list[int] = []
        self.starts = [(0, 0)]
        self.key_indices: list[int] = []
        self.container, self.codec = container, codec
        self._nal_types = _nal_reader(codec, extradata)
        self._places = 0  # packets of one byte
        self._times, self._keys = array('q'), array('q')
        self._discarded = array('b')
        self._safe = array('b')  # of the key packets
        self._last_dts: int | None = None
        self._parameters_inside = False
        if not set(_CONTAINERS) & set(container.split(',')):
            self.doubt = f'the container {container} tells no times'
        elif codec not in _CODECS:
            self.doubt = f'the codec {codec} is not known to allow jumps'
        elif 'avi' in container and has_b_frames:
            self.doubt = 'AVI tells no times of B-frames'
        elif field_order > 1 or (codec == 'h264' and field_order != 1):
            self.doubt = 'a packet may hold half a frame (interlaced)'

    def add(self, packet: Any) -> None:
        """Take the next packet that is not empty, in the file's order.

        Args:
            packet (av.Packet): The packet.
        """
        self.num_packets += 1
        self._places += packet.size == 1
        if self.codec == 'mpeg4' and packet.size < _TINY:
            self.counted &= packet.size == 1
            self._suspect('frames may be left out')
        self.counted &= not packet.is_discard
        if self.doubt:
            return
        if packet.pts is None or packet.dts is None:
            return self._suspect('packets without a time')
        if self._last_dts is not None and packet.dts <= self._last_dts:
            return self._suspect('times go back')
        self._last_dts = packet.dts
        if packet.is_corrupt or packet.has_sidedata('new_extradata'):
            return self._suspect('other parameters, or losses, on the way')
        if _is_hidden(self.codec, packet):
            return self._suspect('frames that are not shown')
        if packet.is_keyframe:
            self._keys.append(len(self._times))
            self._safe.append(self._is_safe(packet))
        self._times.append(packet.pts)
        self._discarded.append(packet.is_discard)

    def _suspect(self, doubt: str) -> None:
        self.doubt = self.doubt or doubt

    def _is_safe(self, packet: Any) -> bool:
        """Whether nothing behind a key packet needs what is before it.

        But for the order, which the times tell. A recovery point of h264 may
        be flagged as a key frame, too; parameter sets that come with one key
        frame hold for later ones that come without.
        """
        if self._nal_types is None:
            return True
        types = self._nal_types(bytes(packet))
        if self.codec == 'h264':
            parameters, starts = bool({7, 8} & types), 5 in types
        else:
            parameters = bool({32, 33, 34} & types)
            starts = bool({19, 20, 21} & types)
            if {16, 17, 18} & types:  # frames behind a cut are left out
                self._suspect('a cut in the stream')
        self._parameters_inside |= parameters
        return starts and (parameters or not self._parameters_inside)

    def close(self) -> None:
        """Find times and starting points; after the last packet."""
        times, hidden = self._times, self._discarded
        shown = sorted(t for t, d in zip(times, hidden, strict=True) if not d)
        before = max((t for t, d in zip(times, hidden, strict=True) if d),
                     default=None)
        if not self.doubt:
            if not shown or not self._keys or self._keys[0] != 0:
                self._suspect('no key frame at its start')
            elif min(times) < times[0]:
                self._suspect('frames that need others before the start')
            elif len(set(shown)) < len(shown):
                self._suspect('frames of the same time')
            elif before is not None and before >= shown[0]:
                self._suspect('an edit list with several parts')
        if self.doubt:
            return
        self.times = shown
        numbers = {time: i for i, time in enumerate(shown)}
        self.key_indices = [numbers[times[k]] for k in self._keys
                            if times[k] in numbers]
        self._find_starts(numbers)

    def _find_starts(self, numbers: dict[int, int]) -> None:
        """Key frames with nothing shown before them behind, nor the reverse.

        These are those of closed groups of pictures.
        """
        earliest = array('q', self._times)  # here or further on
        for i in range(len(earliest) - 2, -1, -1):
            earliest[i] = min(earliest[i], earliest[i + 1])
        latest, at = self._times[0], 0
        for key, safe in zip(self._keys, self._safe, strict=True):
            latest = max([latest, *self._times[at:key]])
            at = key
            time = self._times[key]
            if key > 0 and safe and time in numbers and (
                    latest < time == earliest[key]):
                self.starts.append((key, numbers[time]))

    @property
    def num_frames(self) -> int:
        """Number of frames, unless it has to be found by decoding."""
        return len(self.times) or self.num_packets - self._places
