"""Frames a second of the training pipelines, beside a naive loop.

The naive loop is what a hand-written dataset does: open the video with
decord's default threads, read the sampled frames one by one
(``reader[i]``), crop and resize each with PIL. It samples, crops and resizes
the same as the pipeline it stands beside. 'in order' asks for the frames in
the order of the clip, 'random order' at random, where decord has to go back.

Contestants take turns, round by round, on the same videos, through the same
``DataLoader``; a figure is the median over the rounds. 'decode' is the
pipeline up to the decoding. CPU time is that of the worker processes, per
clip of 16 frames; the last columns compare it, which other processes on the
machine hardly disturb.

Videos are generated (340x256, h264 of 10 s, key frame every 250 frames as
x264 has it, textured and moving), or given with ``--videos``.
"""
import random
import statistics
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from mmaction.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import respike_mmaction  # noqa: F401  (registers the transforms)
from respike_mmaction.command_line import make_parser

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/_base_/datasets'
NUM_FRAMES = 16


def parse_args():
    parser = make_parser(__doc__)
    parser.add_argument('--datasets', nargs='+',
                        default=['hmdb51', 'kinetics400'])
    parser.add_argument('--workers', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--clips', type=int, default=24,
                        help='videos a round')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--gop', type=int, default=250)
    parser.add_argument('--videos', nargs='+', help='real videos instead')
    return parser.parse_args()


def generate(path, seed, gop, seconds=10, fps=30, size=(340, 256)):
    """Write a video of a moving disc on a moving texture."""
    rng = np.random.default_rng(seed)
    width, height = size
    texture = cv2.GaussianBlur(
        rng.integers(0, 256, (2 * height, 2 * width, 3), dtype=np.uint8),
        (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    with av.open(path, 'w') as container:
        stream = container.add_stream('libx264', rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = 'yuv420p'
        stream.gop_size = gop
        stream.options = dict(crf='23', preset='medium')
        for t in range(seconds * fps):
            x = int(40 * np.sin(t / 20) + width / 2)
            y = int(30 * np.cos(t / 17) + height / 2)
            image = texture[y:y + height, x:x + width].copy()
            centre = (int(width / 2 + 100 * np.sin(t / 9)),
                      int(height / 2 + 60 * np.cos(t / 7)))
            cv2.circle(image, centre, 30, (255, 0, 0), -1)
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class NaiveLoop:
    """decord frame by frame, PIL crop and resize."""

    def __init__(self, steps, shuffled, decode_only):
        self.sample = TRANSFORMS.build(
            next(s for s in steps if s['type'] == 'SampleFrames'))
        self.crop = TRANSFORMS.build(
            next(s for s in steps if 'Crop' in s['type']))
        self.short_side = next(
            (s['scale'][1] for s in steps
             if s['type'] == 'Resize' and s['scale'][0] == -1), None)
        self.shuffled = shuffled
        self.decode_only = decode_only

    def __call__(self, results):
        import decord
        reader = decord.VideoReader(results['filename'])
        results['total_frames'] = len(reader)
        indices = self.sample(results)['frame_inds'].tolist()
        if self.shuffled:
            random.shuffle(indices)
        images = [Image.fromarray(reader[i].asnumpy()) for i in indices]
        if self.decode_only:
            return torch.zeros(1)
        if self.short_side:
            scale = self.short_side / min(images[0].size)
            size = [round(side * scale) for side in images[0].size]
            images = [i.resize(size, Image.BILINEAR) for i in images]
        width, height = images[0].size
        box = self.crop(dict(img_shape=(height, width)))['crop_bbox']
        flip = random.random() < 0.5
        frames = []
        for image in images:
            image = image.crop(tuple(box)).resize((224, 224), Image.BILINEAR)
            if flip:
                image = image.transpose(Image.FLIP_LEFT_RIGHT)
            frames.append(np.asarray(image))
        return torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2))


class Pipeline:
    """Our pipeline, or its first part."""

    def __init__(self, steps, decoder, decode_only):
        steps = [dict(s, decoder=decoder) if s['type'] == 'VideoInit' else s
                 for s in steps]
        if decode_only:
            steps = steps[:[s['type'] for s in steps].index('VideoDecode') + 1]
        self.run = Compose([TRANSFORMS.build(s) for s in steps])
        self.decode_only = decode_only

    def __call__(self, results):
        data = self.run(results)
        return torch.zeros(1) if self.decode_only else data['inputs']


class Videos(Dataset):
    """Applies a contestant to videos; also returns the CPU time it took."""

    def __init__(self, paths, contestant):
        self.paths = paths
        self.contestant = contestant

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        start = time.process_time()
        data = self.contestant(dict(
            filename=self.paths[index], label=0, start_index=0,
            modality='RGB'))
        return data, time.process_time() - start


def seed_worker(worker_id):
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)
    cv2.setNumThreads(0)  # as MMEngine's runner does


def measure(paths, contestant, num_workers, seed):
    """One round: frames a second, and CPU seconds a clip.

    The clock starts at the first sample of every worker, so the start of the
    processes and their imports do not count.
    """
    loader = DataLoader(
        Videos(paths, contestant), batch_size=None, num_workers=num_workers,
        worker_init_fn=seed_worker,
        generator=torch.Generator().manual_seed(seed))
    cpu, times = [], []
    for _, seconds in loader:
        cpu.append(seconds)
        times.append(time.perf_counter())
    clips = len(paths) - num_workers
    wall = times[-1] - times[num_workers - 1]
    return clips * NUM_FRAMES / wall, statistics.mean(cpu[num_workers:])


def contestants(steps):
    """Name to (decode only, whole pipeline)."""
    both = (True, False)
    return {
        'naive, in order': [NaiveLoop(steps, False, d) for d in both],
        'naive, random order': [NaiveLoop(steps, True, d) for d in both],
        **{f'ours, {name}': [Pipeline(steps, name, d) for d in both]
           for name in our_decoders()},
    }


def our_decoders():
    """Those that load here."""
    found = ['decord', 'pyav']
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        print(f'without torchcodec: {str(error).splitlines()[0]}')
        return found
    return [*found, 'torchcodec']


def step_times(paths, steps, decoder):
    """CPU milliseconds a clip of each transform of our pipeline."""
    run = Pipeline(steps, decoder, False).run
    seconds = dict.fromkeys((type(t).__name__ for t in run.transforms), 0)
    for path in paths:
        data = dict(filename=path, label=0, start_index=0, modality='RGB')
        for transform in run.transforms:
            start = time.process_time()
            data = transform(data)
            seconds[type(transform).__name__] += time.process_time() - start
    return {n: 1000 * s / len(paths) for n, s in seconds.items()}


def print_table(name, num_workers, medians):
    """Frames a second (CPU ms a clip), and how many times naive's speed."""
    naive = [n for n, part in medians if n.startswith('naive')
             and part == 'pipeline']
    header = [f'{name}, {num_workers} worker(s)', 'decode', 'pipeline',
              *(f'CPU, of {n}' for n in naive)]
    print('\n| ' + ' | '.join(header) + ' |')
    print('|---' * len(header) + '|')
    for entry in (n for n, part in medians if part == 'pipeline'):
        cells = [f'{rate:.0f} ({1000 * cpu:.0f})' for rate, cpu in
                 (medians[entry, part] for part in ('decode', 'pipeline'))]
        own = medians[entry, 'pipeline'][1]
        cells += [f'{medians[n, "pipeline"][1] / own:.1f}x' for n in naive]
        print('| ' + ' | '.join([entry, *cells]) + ' |', flush=True)


def benchmark(name, paths, workers, rounds):
    steps = Config.fromfile(CONFIGS / f'{name}.py').train_pipeline
    entries = contestants(steps)
    for num_workers in workers:
        results = {}
        for seed in range(rounds):
            for entry, parts in entries.items():
                for part, contestant in zip(('decode', 'pipeline'), parts,
                                            strict=True):
                    results.setdefault((entry, part), []).append(
                        measure(paths, contestant, num_workers, seed))
        print_table(name, num_workers, {
            key: [statistics.median(column)
                  for column in zip(*rows, strict=True)]
            for key, rows in results.items()})
    for decoder in our_decoders():
        parts = ', '.join(
            f'{n} {ms:.1f}'
            for n, ms in step_times(paths, steps, decoder).items())
        print(f'CPU ms a clip by step, {decoder}: {parts}')


def main():
    args = parse_args()
    init_default_scope('mmaction')
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = args.videos
        if not paths:
            paths = [f'{folder}/{i}.mp4' for i in range(4)]
            for seed, path in enumerate(paths):
                generate(path, seed, args.gop)
        paths = (paths * args.clips)[:args.clips]
        for name in args.datasets:
            benchmark(name, paths, args.workers, args.rounds)


if __name__ == '__main__':
    main()
