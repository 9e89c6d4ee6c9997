"""Write a trained ReSpike network for other runtimes.

``export_onnx.py CONFIG CHECKPOINT`` writes ONNX; ``--format pt2`` a
torch.export program, ``aoti`` one compiled by AOTInductor for this machine,
``torchscript`` a trace. What was written is read back and compared with the
network, on clips of ``--videos`` where they are given.
"""
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.config import Config

from respike_mmaction.apis import load_trained, read_clip
from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.deployment import (
    FORMATS,
    OPSETS,
    ClipProgram,
    export_clips,
    export_steps,
    normalised,
    run_steps,
    scores_of_clips,
)

SUFFIXES = dict(onnx='.onnx', pt2='.pt2', aoti='.pt2', torchscript='.pt')
TOLERANCE = 1e-3  # of a score; a spike at its threshold may fall either way


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='trained weights')
    parser.add_argument('--num_frames', type=int, help='of a clip, a multiple '
                        "of the stride (default: the config's)")
    parser.add_argument('--image_size', type=int, nargs='+', metavar='N',
                        help="height and width, or both in one (default: the "
                        "config's clip.size, or 224)")
    parser.add_argument('--device', default='cpu', help='on which the network '
                        'is written (default: cpu)')
    parser.add_argument('--output_file', type=Path, help='default: '
                        'respike.onnx, .pt2 or .pt')
    parser.add_argument('--format', choices=FORMATS, default='onnx')
    parser.add_argument('--opset', type=int, default=18,
                        help=f'{OPSETS[0]} to {OPSETS[-1]} (default: 18)')
    parser.add_argument('--dynamic', nargs='*', default=['batch'],
                        metavar='WHAT', help='batch, size (of frames), both, '
                        'or nothing (default: batch)')
    parser.add_argument('--step', action='store_true', help='two files, for '
                        'key and for residual frames of a stream: frame and '
                        'state in, scores and state out')
    parser.add_argument('--preprocess', action='store_true', help='uint8 '
                        'frames in, normalised by the file (steps always do)')
    parser.add_argument('--videos', nargs='+', default=[], help='to compare '
                        'on (default: random frames)')
    args = parser.parse_args(argv)
    args.output_file = args.output_file or Path(
        'respike' + SUFFIXES[args.format])
    if args.image_size and len(args.image_size) > 2:
        parser.error(f'--image_size {args.image_size}: one or two numbers')
    return args


def size_of(args, cfg):
    size = args.image_size or [(cfg.get('clip') or {}).get('size', 224)]
    return (size[0], size[-1])


def clips_of(args, network, size):
    """uint8 clips, (N, T, 3, H, W)."""
    model = network.model
    if not args.videos:
        return torch.randint(
            0, 256, (4, model.num_frames, 3, *size)).byte()
    found = []
    for video in args.videos:
        clip = read_clip(network, video)
        if clip.shape[1] != model.num_frames:
            raise ValueError(f'{video}: the pipeline gives {clip.shape[1]} '
                             f'frames, not --num_frames {model.num_frames}')
        if tuple(clip.shape[-2:]) != size:
            clip = F.interpolate(clip[0].float(), size, mode='bilinear',
                                 antialias=True).round().byte()[None]
        found.append(clip)
    return torch.cat(found)


@torch.no_grad()
def compare(written, program, clips, sizes):
    """Print and judge the difference of scores, in batches of sizes."""
    expected = torch.cat([program(clip) for clip in clips.split(1)])
    worst = changed = 0
    for size in sizes:
        found = torch.cat([written(part) for part in clips.split(size)])
        worst = max(worst, (found - expected).abs().max().item())
        changed = max(changed, int(
            (found.argmax(1) != expected.argmax(1)).sum()))
    print(f'{len(clips)} clips, in batches of {" and ".join(map(str, sizes))}'
          f': scores differ by {worst:.1e} at most, {changed} answers differ')
    if worst > TOLERANCE or changed:
        raise ValueError('what was written does not do what the network does')


def main(argv=None):
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    if args.num_frames:
        cfg.model.num_frames = args.num_frames
    network = load_trained(args.checkpoint, cfg, device=args.device)
    model, size = network.model, size_of(args, cfg)
    path, options = args.output_file, dict(
        kind=args.format, dynamic=args.dynamic, opset=args.opset)
    program = ClipProgram(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    if args.step:
        paths = export_steps(model, path, size, **options)
        written = run_steps(paths, args.format, model)
    else:
        export_clips(model, path, size, preprocess=args.preprocess, **options)
        paths = dict(clips=path)
        written = scores_of_clips(path, args.format, model, args.preprocess)
    for path in paths.values():
        print(f'written: {path} ({path.stat().st_size / 2**20:.1f} MiB)')
    compare(written, lambda clips: program(normalised(model, clips)),
            clips_of(args, network, size),
            (1, 3) if 'batch' in args.dynamic else (1, ))


if __name__ == '__main__':
    run_tool(main, ImportError)
