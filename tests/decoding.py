"""Videos of many containers, codecs and structures, and what is right.

Right is what PyAV gives when it decodes a file from its start, in order.
"""
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

FRAMES, RATE = 40, 25


class Case(NamedTuple):
    """A file of the matrix; see :func:`write_case`."""
    container: str
    codec: str
    structure: str = 'plain'

    def __str__(self):
        return '-'.join(self)


# Suffix and format of a container, and options of its muxer
CONTAINERS = {
    'mp4': ('.mp4', 'mp4', {}),
    'fragmented': ('.mp4', 'mp4',
                   {'movflags': 'frag_keyframe+empty_moov+default_base_moof'}),
    'cut': ('.mp4', 'mp4', {'avoid_negative_ts': 'disabled'}),
    'mov': ('.mov', 'mov', {}),
    'avi': ('.avi', 'avi', {}),
    'mkv': ('.mkv', 'matroska', {}),
    'webm': ('.webm', 'webm', {}),
    'piped mkv': ('.mkv', 'matroska', {}),  # no duration, no index
    'piped webm': ('.webm', 'webm', {}),
    'piped flv': ('.flv', 'flv', {}),
    'flv': ('.flv', 'flv', {}),
    'ts': ('.ts', 'mpegts', {}),
    'mpg': ('.mpg', 'mpeg', {}),
    'wmv': ('.wmv', 'asf', {}),
    '3gp': ('.3gp', '3gp', {}),
    'gif': ('.gif', 'gif', {}),
    'h264': ('.h264', 'h264', {}),
    'hevc': ('.hevc', 'hevc', {}),
    'nut': ('.nut', 'nut', {}),
}
CODECS = {
    'h264': 'libx264', 'hevc': 'libx265', 'vp8': 'libvpx',
    'vp9': 'libvpx-vp9', 'av1': 'libsvtav1', 'mpeg1': 'mpeg1video',
    'mpeg2': 'mpeg2video', 'prores': 'prores_ks'
}
PIXELS = {'mjpeg': 'yuvj420p', 'gif': 'rgb8', 'prores': 'yuv422p10le',
          'qtrle': 'rgb24', 'huffyuv': 'yuv422p'}
INSIDE = {
    'mp4': ('h264', 'hevc', 'mpeg4', 'av1', 'mpeg2'),
    'fragmented': ('h264', 'hevc'),
    'cut': ('h264', 'hevc', 'mpeg4'),
    'mov': ('h264', 'prores', 'mjpeg', 'qtrle'),
    'avi': ('h264', 'mpeg4', 'mjpeg', 'msmpeg4', 'huffyuv'),
    'mkv': ('h264', 'hevc', 'vp8', 'vp9', 'av1', 'mpeg2', 'mpeg4', 'ffv1'),
    'webm': ('vp8', 'vp9', 'av1'),
    'piped mkv': ('h264', 'vp9'),
    'piped webm': ('vp8', 'vp9'),
    'piped flv': ('h264', ),
    'flv': ('flv', 'h264'),
    'ts': ('h264', 'hevc', 'mpeg2'),
    'mpg': ('mpeg1', 'mpeg2'),
    'wmv': ('wmv1', 'wmv2', 'msmpeg4'),
    '3gp': ('h263', 'h264', 'mpeg4'),
    'gif': ('gif', ),
    'h264': ('h264', ),
    'hevc': ('hevc', ),
    'nut': ('h264', 'mpeg4'),
}
STRUCTURES = {
    'h264': ('plain', 'B-frames', 'open', 'interlaced', 'gray', '10 bit',
             'odd', 'variable'),
    'hevc': ('plain', 'B-frames', 'open', '10 bit'),
    'mpeg2': ('plain', 'B-frames', 'interlaced'),
    'mpeg4': ('plain', 'B-frames'),
    'vp9': ('plain', 'alpha', 'odd', 'variable'),
}


def every_case():
    """All cases whose codec this PyAV can write."""
    return [
        Case(container, codec, structure)
        for container, codecs in INSIDE.items() for codec in codecs
        for structure in STRUCTURES.get(codec, ('plain', ))
        if CODECS.get(codec, codec) in av.codecs_available
        and not (structure == 'alpha' and 'web' not in container)
    ]


def pictures(size, number=FRAMES):
    """A texture that moves, with a stripe of noise of its own a frame."""
    rng = np.random.default_rng(0)
    width, height = size
    canvas = rng.integers(0, 256, (height // 8 + 20, width // 8 + 60, 3),
                          dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    for i in range(number):
        image = canvas[i:i + height, 3 * i:3 * i + width].copy()
        image[:6] = rng.integers(0, 256, (1, width, 3))
        yield image


class _Pipe:
    """A file that cannot be gone back in, as a pipe or a browser's."""

    def __init__(self, file):
        self.file = file

    def write(self, data):
        return self.file.write(data)


def _options(codec, structure):
    options = {'g': '8'}
    bframes = 2 if structure in ('B-frames', 'open') else 0
    if codec == 'h264':
        parameters = ['scenecut=0']
        if structure == 'open':
            parameters.append('open-gop=1')
        if structure == 'interlaced':
            parameters.append('tff=1')
        options['x264-params'] = ':'.join(parameters)
    elif codec == 'hevc':
        options['x265-params'] = ('log-level=none:keyint=8:open-gop='
                                  f'{int(structure == "open")}')
    elif structure == 'interlaced':
        options.update(flags='+ildct+ilme')
    return options, bframes


def write_case(folder, case):
    """Write the video of a case.

    Returns:
        Path: The file; None if its encoder or muxer does not take it.
    """
    container, codec, structure = case
    suffix, name, mux = CONTAINERS[container]
    path = Path(folder) / f'{str(case).replace(" ", "_")}{suffix}'
    size = (63, 49) if structure == 'odd' else (64, 48)
    if codec == 'h263':
        size = 176, 144
    options, bframes = _options(codec, structure)
    pixels = {'gray': 'gray', '10 bit': 'yuv420p10le', 'alpha': 'yuva420p'
              }.get(structure, PIXELS.get(codec, 'yuv420p'))
    if structure == 'odd':
        pixels = 'yuv444p'
    try:
        with open(path, 'wb') as file:
            target = _Pipe(file) if container.startswith('piped') else file
            with av.open(target, 'w', format=name, options=mux) as out:
                stream = out.add_stream(CODECS.get(codec, codec), rate=RATE)
                stream.width, stream.height = size
                stream.pix_fmt = pixels
                stream.codec_context.max_b_frames = bframes
                stream.options = options
                for packet in _packets(stream, size, structure):
                    if container != 'cut' or _cut(packet):
                        out.mux(packet)
    except (av.FFmpegError, ValueError):
        path.unlink(missing_ok=True)
        return None
    return path


def _packets(stream, size, structure):
    for i, image in enumerate(pictures(size)):
        frame = av.VideoFrame.from_ndarray(image, format='rgb24')
        if structure == 'variable':  # some frames are shown three times
            frame.pts, frame.time_base = i + 2 * (i // 5), Fraction(1, RATE)
        yield from stream.encode(frame)
    yield from stream.encode()


def _cut(packet):
    """Start between two key frames, at frame 12: the rest is not shown."""
    if packet.pts is None:  # the end of the stream
        return False
    start = int(12 / RATE / packet.time_base)
    first = int(8 / RATE / packet.time_base)  # the key frame before
    if packet.pts < first:
        return False
    packet.pts -= start
    packet.dts -= start
    return True


def in_order(path):
    """Frames of a file, decoded from its start, as PyAV shows them."""
    with av.open(str(path), metadata_errors='ignore') as container:
        stream = container.streams.best('video')
        return [frame.to_ndarray(format='rgb24')
                for frame in container.decode(stream)]


def wrong_frames(reader, right, rng, requests=4, tolerance=0):
    """Number of frames asked for, and of those that are others."""
    asked = wrong = 0
    wishes = [rng.integers(0, len(right), rng.integers(1, 9))
              for _ in range(requests - 1)]
    for indices in (*wishes, np.arange(len(right))[::-1]):
        for i, frame in zip(indices, reader.get_frames(indices),
                            strict=True):
            asked += 1
            wrong += frame.shape != right[i].shape or np.abs(
                np.int16(frame) - right[i]).max() > tolerance
    return asked, wrong
