"""Videos made for tests: every frame tells its number, files can be damaged.
"""
import random
from pathlib import Path

import av
import numpy as np

LEVELS = 5  # of grey between two numbers; more than a codec is off


def write_video(path, num_frames=24, size=(64, 48), codec='libx264', gop=12,
                bframes=2, fps=10, options=None, pixels='yuv420p'):
    """Write frames of grey level ``10 + 5 * number`` on a fixed texture."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    texture = np.random.default_rng(0).integers(
        0, 3, (height, width, 3), dtype=np.uint8)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.gop_size = gop
        stream.codec_context.max_b_frames = bframes
        stream.options = options or {}
        if codec == 'mpeg4':  # its default leaves small changes out
            stream.codec_context.qmax = 2
        for number in range(num_frames):
            image = texture + np.uint8(10 + LEVELS * number)
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_moving(path, num_frames, size=(32, 32), repeat=1, fps=25):
    """Write noise that moves one pixel a frame; quick for many frames."""
    noise = np.random.default_rng(0).integers(
        0, 256, (*size, 3), dtype=np.uint8)
    noise = noise.repeat(repeat, 0).repeat(repeat, 1)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=fps)
        stream.height, stream.width = noise.shape[:2]
        stream.pix_fmt = 'yuv420p'
        stream.options = dict(preset='ultrafast')
        for number in range(num_frames):
            image = np.roll(noise, number, axis=1)
            container.mux(stream.encode(
                av.VideoFrame.from_ndarray(image, format='rgb24')))
        container.mux(stream.encode())


def frame_number(image):
    """Read the number off a frame of :func:`write_video`."""
    return round((float(image.mean()) - 11) / LEVELS)


def truncated(data, rng):
    return data[:rng.randrange(1, len(data) * 98 // 100)]


def bits_flipped(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice((1, 10, 100, 1000))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def damage_many(sources, folder, number, seed=0):
    """Make ``number`` damaged variants of videos, of five kinds.

    Returns:
        dict: Kind of damage to the list of paths.
    """
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    damaged = {}
    kinds = ('truncated', 'bits_flipped', 'truncated', 'bits_flipped',
             'truncated', 'bits_flipped', 'no_bytes', 'text', 'directory')
    for i in range(number):
        kind = kinds[i % len(kinds)]
        source = rng.choice(sources)
        path = folder / f'{kind} {i}{source.suffix}'
        if kind == 'directory':
            path.mkdir()
        elif kind == 'no_bytes':
            path.touch()
        elif kind == 'text':
            path = path.with_suffix('.mp4')
            path.write_text('This is not a video.\n' * rng.randrange(1, 500))
        else:
            damage = {'truncated': truncated, 'bits_flipped': bits_flipped}
            path.write_bytes(damage[kind](source.read_bytes(), rng))
        damaged.setdefault(kind, []).append(path)
    return damaged
