"""Resident memory while a long video is predicted over time.

``python tests/stress/long_video.py [MINUTES]`` writes a video of 320 x 240 and
that length (default 10; held as frames, 4 GB), cuts windows of two seconds
every second, and fails if the memory grows after the first fifth.
"""
import sys
import tempfile
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

from respike_mmaction.apis import Source, Span, load_trained, predict_sources
from tests.apis.networks import config, pipeline, write_checkpoint
from tests.stress.flat_memory import GROWTH, usage
from tests.videos import write_moving


def main():
    torch.set_num_threads(1)
    init_default_scope('mmaction')
    frames = round(float(sys.argv[1] if len(sys.argv) > 1 else 10) * 1800)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'long.mp4'
        write_moving(path, frames, (60, 80), repeat=4, fps=30)
        network = load_trained(write_checkpoint(Path(folder) / 'a.pth'),
                               config(pipeline()))
        memory = []
        for answer in predict_sources(
                network, [Source(str(path))], window=Span(2.), hop=Span(1.)):
            assert answer.error is None, answer.error
            memory.append(usage()[0])
    first = len(memory) // 5
    growth = max(memory[first:]) - max(memory[:first])
    print(f'{frames} frames, {len(memory)} windows, {memory[first]:.0f} MiB '
          f'resident, {growth:+.1f} MiB after the first fifth')
    return growth > GROWTH


if __name__ == '__main__':
    sys.exit(main())
