"""500 damaged videos for each decoder: read, or refused by name.

``python tests/stress/damaged_videos.py [NUMBER [FOLDER]]`` damages videos of
FOLDER (default: ones made here, of four codecs) and reads each in a forked
process, so that a decoder that crashes or hangs is counted, not fatal.
"""
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from respike_mmaction.datasets.video_reader import (
    DECODERS,
    VideoReadError,
    check_video_file,
    open_video,
)
from tests.videos import damage_many, write_video

LIMIT = 60  # seconds
STATUS = {0: 'read', 3: 'refused by name', 4: 'REFUSED WITHOUT NAME'}


def attempt(path, decoder):
    """In the child: all frames, or an error that names the file."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        check_video_file(str(path))
        reader = open_video(str(path), decoder=decoder)
        frames = reader.get_frames(np.arange(reader.num_frames))
        assert len(frames) == reader.num_frames
    except VideoReadError as error:
        os._exit(3 if str(path) in str(error) else 4)
    os._exit(0)


def outcome(path, decoder):
    process = multiprocessing.get_context('fork').Process(
        target=attempt, args=(path, decoder))
    process.start()
    process.join(LIMIT)
    if process.is_alive():
        process.kill()
        return 'HUNG'
    return STATUS.get(process.exitcode, f'CRASHED ({process.exitcode})')


def main():
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if len(sys.argv) > 2:
            sources = sorted(p for p in Path(sys.argv[2]).rglob('*')
                             if p.suffix in ('.avi', '.mp4', '.webm'))[:20]
        else:
            sources = [folder / f for f in ('a.mp4', 'b.avi', 'c.mkv')]
            for path, codec in zip(
                    sources, ('libx264', 'mpeg4', 'libx264'), strict=True):
                write_video(path, codec=codec)
        damaged = damage_many(sources, folder / 'damaged', number)
        for decoder in DECODERS[1:]:
            try:
                open_video(str(sources[0]), decoder=decoder)
            except ImportError as error:
                print(f'{decoder}: not run ({error})')
                continue
            counts = Counter(outcome(path, decoder)
                             for paths in damaged.values() for path in paths)
            print(f'{decoder}: {number} damaged videos: ' + ', '.join(
                f'{n} {what}' for what, n in sorted(counts.items())),
                  flush=True)


if __name__ == '__main__':
    main()
