"""The frames of every container, codec and structure, by each decoder.

``python tests/stress/decoding_matrix.py`` writes some 190 small videos, asks
for frames in four random orders each, and compares them with those of
decoding in order with PyAV. Prints a table; exits with 1 if a frame is
wrong. Decoders that do not load are left out.
"""
import sys
import tempfile
from collections import Counter
from pathlib import Path

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from respike_mmaction.datasets.video_reader import (  # noqa: E402
    DECODERS,
    VideoReadError,
    open_video,
)
from tests.decoding import (  # noqa: E402
    every_case,
    in_order,
    write_case,
    wrong_frames,
)


def look(path, right, decoder, seed, counts):
    """Compare one file by one decoder."""
    counts['files'] += 1
    try:
        reader = open_video(str(path), decoder)
        counts[f'by {reader.decoder}'] += 1
        if reader.num_frames != len(right):
            counts['wrong'] += 1
            print(f'{decoder}: {path.name} has {len(right)} frames, not '
                  f'{reader.num_frames}')
            return
        # torchcodec's FFmpeg converts colours in its own way
        asked, wrong = wrong_frames(
            reader, right, np.random.default_rng(seed),
            tolerance=3 if decoder == 'torchcodec' else 0)
        reader.close()
    except VideoReadError as error:
        counts['refused'] += 1
        print(f'{decoder}: {error}')
        return
    counts['frames'] += asked
    counts['wrong'] += wrong
    if wrong:
        print(f'{decoder}: {path.name}: {wrong} of {asked} frames are others')


def main():
    av.logging.set_level(av.logging.PANIC)
    totals = {name: Counter() for name in DECODERS if name != 'auto'}
    with tempfile.TemporaryDirectory() as folder:
        for seed, case in enumerate(every_case()):
            path = write_case(folder, case)
            if path is None:
                print(f'cannot be written here: {case}')
                continue
            right = in_order(path)
            for decoder in list(totals):
                try:
                    look(path, right, decoder, seed, totals[decoder])
                except ImportError as error:
                    print(f'left out: {error}')
                    del totals[decoder]
            path.unlink()
    print('\n| decoder | files | by itself | by PyAV | refused | frames asked '
          'for | wrong |\n|---|---|---|---|---|---|---|')
    for name, n in totals.items():
        print(f'| {name} | {n["files"]} | {n[f"by {name}"]} | '
              f'{n["by pyav"]} | {n["refused"]} | {n["frames"]} | '
              f'{n["wrong"]} |')
    return int(any(n['wrong'] for n in totals.values()))


if __name__ == '__main__':
    sys.exit(main())
