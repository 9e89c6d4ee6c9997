"""Resident memory while an hour of a stream is answered.

``python tests/stress/stream_hour.py [FRAMES]`` writes a small video of that
many frames at 25 a second (default 90,000, an hour), answers each with a tiny
network, as fast as possible, prints resident memory and open files every
tenth of the way, and fails if the memory grows after the first fifth.
"""
import sys
import tempfile
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

from respike_mmaction.apis import FrameSource, LiveStream, load_trained
from tests.apis.networks import config, pipeline, write_checkpoint
from tests.stress.flat_memory import GROWTH, usage
from tests.videos import write_moving


def main():
    torch.set_num_threads(1)
    init_default_scope('mmaction')
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 90_000
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'long.mp4'
        write_moving(path, number)
        network = load_trained(write_checkpoint(Path(folder) / 'a.pth'),
                               config(pipeline()))
        with FrameSource(str(path)) as source:
            live = LiveStream(network, source, speed=None)
            print('frames answered  minutes of stream  resident MiB  files')
            for _ in live:
                if live.taken % (number // 10) == 0:
                    found.append(usage())
                    print(f'{live.taken:15}  {live.taken / 1500:17.1f}  '
                          f'{found[-1][0]:12.1f}  {found[-1][1]:5}',
                          flush=True)
    memory = [mib for mib, _ in found]
    growth = max(memory[2:]) - max(memory[:2])
    print(f'{live.taken} of {number} frames answered, {live.per_second:.0f} '
          f'a second; {growth:+.1f} MiB after the first fifth')
    return growth > GROWTH or live.taken != number


if __name__ == '__main__':
    sys.exit(main())
