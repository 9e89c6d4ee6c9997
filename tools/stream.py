"""Watch a stream: ``stream.py INPUT [CONFIG.py] CHECKPOINT``.

INPUT is the number of a camera, an address (rtsp://, http://), or a file,
which is played in real time. An answer after every frame; frames that the
network is not in time for are dropped and counted. Ctrl-C ends it.
"""
import sys
from pathlib import Path

import torch

from respike_mmaction.apis import FrameSource, LiveStream, Span, load_trained
from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.datasets.video_reader import VideoReadError

CONFIGS = '.py', '.json', '.yaml', '.yml'  # what MMEngine reads


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument('input', metavar='INPUT')
    parser.add_argument('words', nargs='+', metavar='[CONFIG.py] CHECKPOINT')
    parser.add_argument('--label-map', help='names of the classes, one a line '
                        '(default: those in the checkpoint or the config)')
    parser.add_argument('--interval', type=Span.parse, help='from frame to '
                        'frame, 0.04 (seconds) or 1f (frames of the source); '
                        'default: frame_interval of the test pipeline')
    parser.add_argument('--speed', type=float, default=1., help='of a file, '
                        'in units of real time; 0: as fast as possible, no '
                        'frame is dropped (default: 1)')
    parser.add_argument('--scene-cut', type=float, help='begin anew with a '
                        'frame that differs from the key frame by more grey '
                        'levels on average, such as 40 (default: never)')
    parser.add_argument('--accelerate', action='store_true',
                        help='int8 spikes, bfloat16 elsewhere, on a CPU')
    parser.add_argument('--every', type=float, default=1., help='seconds '
                        'from printed answer to printed answer (default: 1; '
                        '0: all)')
    parser.add_argument('--threads', type=int, help="PyTorch's")
    parser.add_argument('--device', default='cpu', help='default: cpu')
    args = parser.parse_args(argv)
    *configs, args.checkpoint = args.words
    if len(configs) > 1 or any(Path(name).suffix not in CONFIGS
                               for name in configs):
        parser.error('one INPUT, then [CONFIG.py] CHECKPOINT')
    args.config = configs[0] if configs else None
    return args


def watch(live, classes, every):
    """Print an answer now and then until the end; 1 if that is an error."""
    due = 0.
    try:
        for moment in live:
            if moment.seconds < due:
                continue
            due = moment.seconds + every
            score, label = moment.answer.scores[0].max(0)
            print(f'{moment.seconds:9.2f} s  {score:.3f}  {classes[label]}'
                  f"{'  (early)' if moment.early else ''}",
                  flush=True)
    except KeyboardInterrupt:
        print()
    except VideoReadError as error:
        print(f'stream.py: {error}', file=sys.stderr)
        return 1
    return 0


def report(live):
    frames, energy = live.frames, live.energy()
    print(f'{frames.read} frames read, one of {frames.spacing:g} is for the '
          f'network: {live.taken} answered, {frames.dropped} dropped; '
          f'{live.per_second:.1f} a second; {live.scene_cuts} scene cuts')
    print('frame      latency ms: p50     p95     p99  energy mJ')
    for kind in ('key', 'residual'):
        times = ''.join(f'{1000 * t:8.1f}' for t in live.latency(kind))
        print(f'{kind:18}{times}  {energy[kind]:9.4g}')
    print('energy: MACs and synaptic operations of the first clip in float32, '
          'horowitz_45nm (docs/energy.md)')


def main(argv=None):
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    network = load_trained(args.checkpoint, args.config, args.label_map,
                           args.device)
    with FrameSource(args.input) as source:
        live = LiveStream(
            network, source, interval=args.interval,
            speed=args.speed or None, scene_cut=args.scene_cut,
            accelerated=args.accelerate)
        status = watch(live, network.classes, args.every)
        report(live)
    return status


if __name__ == '__main__':
    run_tool(main, VideoReadError)
