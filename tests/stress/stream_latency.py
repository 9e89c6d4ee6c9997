"""Latency of key and of residual frames, of docs/streaming.md.

``python tests/stress/stream_latency.py [CONFIG] [--size 112] [--threads 1]``:
the network of a config with random weights (its speed does not depend on
them), in float32 and accelerated, frame by frame in turn, so that what else
the machine does meets both. Prints milliseconds of a step, frame in, answer
out.
"""
import argparse
import time

import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from respike_mmaction.apis import (
    StreamingRecognizer,
    accelerate,
    energy_per_frame,
)
from respike_mmaction.energy.network import randomise, without_pretrained
from tests.apis.test_stream import frames_of
from tests.conftest import ROOT

CONFIG = ROOT / ('configs/respike/respike_imagenet-pretrained-r18-sr18_1xb32-'
                 '16x1x1-s4-100e_hmdb51-rgb.py')


def network(config, frames):
    cfg = Config.fromfile(config)
    init_default_scope('mmaction')
    torch.manual_seed(0)
    model = MODELS.build(without_pretrained(cfg.model))
    clip = frames[0, :model.num_frames]
    randomise(model, dict(inputs=[clip], data_samples=None),
              cfg.test_pipeline)
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', default=CONFIG)
    parser.add_argument('--size', type=int, default=112)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--frames', type=int, default=400)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    frames = frames_of(16, size=args.size)
    model = network(args.config, frames)
    streams = {'float32': StreamingRecognizer(model),
               'accelerated': StreamingRecognizer(accelerate(model))}
    states = dict.fromkeys(streams)
    found = {(name, kind): [] for name in streams for kind in (True, False)}
    for number in range(args.frames + 2 * model.stride):
        for name, stream in streams.items():
            start = time.perf_counter()
            _, states[name] = stream.step(frames[:, number % 16],
                                          states[name])
            if number >= 2 * model.stride:  # warm
                found[name, number % model.stride == 0].append(
                    1000 * (time.perf_counter() - start))
    print(f'{args.size} x {args.size}, {args.threads} thread(s), '
          f'{args.frames} frames; ms: p50, p95, p99')
    for (name, is_key), times in found.items():
        print(f'{name:12} {"key" if is_key else "residual":9}', *(
            f'{t:7.1f}' for t in np.percentile(times, (50, 95, 99))))
    energy = energy_per_frame(model, frames)
    print('mJ a frame, horowitz_45nm:', *(
        f'{kind} {value:.3g}' for kind, value in energy.items()))


if __name__ == '__main__':
    main()
