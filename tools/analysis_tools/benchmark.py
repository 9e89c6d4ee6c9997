"""Time and memory of a ReSpike config against its ReLU floor, in one run.

The floor is the same network with every neuron replaced by a ReLU: dense
work that no spiking layer can go below. Both run in turn, so that the
ratio holds on a noisy machine. Freed memory is kept for the next step (see
MALLOC_MMAP_MAX_ in docs/performance.md) unless --default-malloc is given.
"""
import argparse
import itertools
import json
import resource
import sys
from pathlib import Path

import numpy as np
import torch
from measure import (
    Logits,
    SpikingBranch,
    StageTimes,
    Variant,
    build,
    clips,
    interleaved,
    keep_freed_memory,
    kept_activations,
    load_model_config,
    machine,
    peak_live_bytes,
    print_table,
    quantised_floor,
    rss_in_fresh_process,
    to_floor,
)
from mmcv.cnn import fuse_conv_bn
from mmengine.config import Config

from respike_mmaction.apis import accelerate
from respike_mmaction.command_line import make_parser
from respike_mmaction.visualization import draw_comparison, draw_fits

MIB = 2**20
ACCELERATED = {
    'bf16': (None, 'bfloat16'),
    'int8': ('int8', None),
    'int8x2': ('int8x2', None),
    'int8 + bf16': ('int8', 'bfloat16'),
    'int8 + bf16 keys': ('int8', 'bfloat16_keys'),
    'int8x2 + bf16': ('int8x2', 'bfloat16'),
}


def parse_args():
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config with a ReSpikeRecognizer')
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[1])
    parser.add_argument(
        '--steps', type=int, nargs='+',
        help='residual steps S of a group, stride - 1 (default: the '
        "config's)")
    parser.add_argument(
        '--num-frames', type=int, nargs='+',
        help="frames T of a clip (default: the config's)")
    parser.add_argument(
        '--size', type=int, nargs='+',
        help="height and width of a frame (default: the config's, or 224)")
    parser.add_argument(
        '--rounds', type=int, default=5, help='timed rounds; medians count')
    parser.add_argument('--passes', nargs='+', default=['forward', 'train'],
                        choices=['forward', 'train'])
    parser.add_argument('--amp', choices=['fp16', 'bf16'])
    parser.add_argument(
        '--compile', action='store_true', help='torch.compile both networks')
    parser.add_argument(
        '--channels-last', action=argparse.BooleanOptionalAction,
        help="default: the config's")
    parser.add_argument(
        '--backend', default='auto',
        help='kernel of the neurons: auto, torch or triton')
    parser.add_argument(
        '--fuse', action='store_true',
        help='also fold BatchNorm into the convolutions (forward only)')
    parser.add_argument(
        '--branch', choices=['both', 'spiking'], default='both',
        help='spiking: the spiking branch alone, without key frames')
    parser.add_argument(
        '--by-stage', action='store_true',
        help='also CPU time by stage (forward, both branches)')
    parser.add_argument(
        '--accelerate', action='store_true', help='forward only: also '
        'bfloat16, spikes in eight bits (one and two terms) and both, and '
        'the floor in bfloat16')
    parser.add_argument('--device', default='cuda' if
                        torch.cuda.is_available() else 'cpu')
    parser.add_argument('--threads', type=int, help='CPU threads')
    parser.add_argument(
        '--default-malloc', action='store_true',
        help='leave the allocator as it is')
    parser.add_argument(
        '--no-memory', action='store_true', help='skip the memory figures')
    parser.add_argument('--out', help='JSON file; a plot goes beside it')
    parser.add_argument('--rss-of', help=argparse.SUPPRESS)
    return parser.parse_args()


def variants(args, x, stride):
    """The config's network, its floor and, if asked for, the folded one."""
    config = load_model_config(
        args.config, num_frames=x.shape[1], stride=stride,
        channels_last=args.channels_last)
    config['backbone'].setdefault('neuron', dict(type='LIFNeuron'))
    config['backbone']['neuron']['backend'] = args.backend
    num_steps = config.get('stride', 4) - 1
    config['backbone']['num_steps'] = num_steps

    def variant(name, model, **kwargs):
        times = StageTimes(model) if args.by_stage else None
        model = (Logits if args.branch == 'both' else SpikingBranch)(model)
        if args.compile:
            model = torch.compile(model)
        found = Variant(name, model, amp=args.amp, **kwargs)
        found.stage_times = times
        return found

    found = [
        variant('respike', build(config, args.device)),
        variant('floor', to_floor(build(config, args.device)),
                context=kept_activations)
    ]
    if args.accelerate:
        net = build(config, args.device).eval()
        floor = to_floor(build(config, args.device)).bfloat16()
        found.append(variant('floor bf16', floor, dtype=torch.bfloat16))
        twin = quantised_floor(to_floor(build(config)).eval(), x)
        found.append(variant('floor int8', twin))
        for name, options in ACCELERATED.items():
            found.append(variant(name, accelerate(net, *options)))
    if args.fuse:
        folded = fuse_conv_bn(build(config, args.device).eval())
        found.append(variant('folded', folded))
    return found


def defaults(args):
    """T and S of the config, where the command line names none."""
    config = load_model_config(args.config)
    if config['type'] != 'ReSpikeRecognizer':
        raise ValueError(f'{args.config}: its model is a {config["type"]}; '
                         'benchmark.py takes a ReSpikeRecognizer')
    clip = Config.fromfile(args.config).get('clip') or {}
    return (args.num_frames or [config.get('num_frames', 16)],
            args.steps or [config.get('stride', 4) - 1],
            args.size or [clip.get('size', 224)])


def measure(args, batch_size, num_frames, num_steps, size):
    """Rows of one setting."""
    x = clips(batch_size, num_frames, size, args.device)
    nets = variants(args, x, num_steps + 1)
    rows = []
    for kind in args.passes:
        running = [n for n in nets if kind == 'forward'
                   or n.name in ('respike', 'floor')]
        times = interleaved(running, kind, x, args.rounds)
        for net in running:
            row = dict(
                batch_size=batch_size, num_frames=num_frames,
                num_steps=num_steps, size=size, network=net.name,
                kind=kind, **times[net.name])
            row['cpu_over_floor'] = row['cpu_s'] / times['floor']['cpu_s']
            row['wall_over_floor'] = row['wall_s'] / times['floor']['wall_s']
            if net.stage_times and kind == 'forward':
                row['stages'] = net.stage_times.medians()
            row['times_faster'] = {
                name: times[name]['cpu_s'] / row['cpu_s']
                for name in ('floor', 'floor bf16') if name in times}
            if not args.no_memory:
                row['live_mib'] = peak_live_bytes(net, kind, x) / MIB
                if args.device == 'cpu':
                    row['rss_mib'] = rss(args, row) / MIB
            rows.append(row)
    return rows


def rss(args, row):
    """Peak resident memory of a fresh process that runs one network."""
    command = [args.config, '--rss-of', row['network'], '--batch-sizes',
               row['batch_size'], '--num-frames', row['num_frames'],
               '--steps', row['num_steps'], '--size', row['size'],
               '--passes', row['kind'], '--backend', args.backend,
               '--threads', torch.get_num_threads(), '--device', 'cpu']
    if args.channels_last is not None:
        command.append('--channels-last' if args.channels_last else
                       '--no-channels-last')
    command += ['--amp', args.amp] if args.amp else []
    command += ['--compile'] if args.compile else []
    command += ['--fuse'] if args.fuse else []
    command += ['--accelerate'] if args.accelerate else []
    command += ['--branch', args.branch]
    return rss_in_fresh_process([str(c) for c in command])


def print_rss(args):
    """The fresh process: build one network, run it twice, tell the peak."""
    x = clips(args.batch_sizes[0], args.num_frames[0], args.size[0])
    nets = variants(args, x, args.steps[0] + 1)
    net = next(n for n in nets if n.name == args.rss_of)
    for _ in range(2):
        net.step(args.passes[0], x)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def linear_fits(rows):
    """How straight cost is against T, batch and area: slope and R^2."""
    axes = dict(num_frames='T', batch_size='batch', size='area')
    fits = []
    for key, label in axes.items():
        for net, kind in sorted({(r['network'], r['kind']) for r in rows}):
            others = [k for k in (*axes, 'num_steps') if k != key]
            mine = [r for r in rows if (r['network'], r['kind']) ==
                    (net, kind)]
            groups = {}
            for r in mine:
                groups.setdefault(tuple(r[k] for k in others), []).append(r)
            for fixed, group in groups.items():
                values = np.array([r[key] for r in group], float)
                if len(set(values)) < 3:
                    continue
                x = values**2 if key == 'size' else values
                y = np.array([r['cpu_s'] for r in group])
                slope, start = np.polyfit(x, y, 1)
                rest = y - (slope * x + start)
                r2 = 1 - (rest**2).sum() / ((y - y.mean())**2).sum()
                fits.append(dict(
                    against=label, network=net, kind=kind,
                    fixed=dict(zip(others, fixed, strict=True)),
                    slope=slope, intercept=start, r2=r2,
                    points=[[a, b] for a, b in zip(x, y, strict=True)]))
    return fits


def report(rows):
    """Print the table."""
    header = ['batch', 'T', 'S', 'size', 'pass', 'network', 'clips/s',
              'CPU s', 'wall s', 'CPU / floor', 'wall / floor',
              'x floor bf16', 'live MiB', 'RSS MiB']
    print_table(header, [[
        r['batch_size'], r['num_frames'], r['num_steps'], r['size'],
        r['kind'], r['network'], f'{r["clips_per_s"]:.2f}',
        f'{r["cpu_s"]:.3f}', f'{r["wall_s"]:.3f}',
        f'{r["cpu_over_floor"]:.3f}', f'{r["wall_over_floor"]:.3f}',
        f'{r["times_faster"]["floor bf16"]:.2f}'
        if 'floor bf16' in r['times_faster'] else '-',
        f'{r["live_mib"]:.0f}' if 'live_mib' in r else '-',
        f'{r["rss_mib"]:.0f}' if 'rss_mib' in r else '-'
    ] for r in rows])


def report_stages(rows):
    """Print CPU milliseconds by stage, a column a network."""
    rows = [r for r in rows if 'stages' in r]
    for _, group in itertools.groupby(rows, lambda r: [
            r[k] for k in ('batch_size', 'num_frames', 'num_steps', 'size')]):
        group = list(group)
        print('\nCPU ms by stage')
        print_table(['part', *(r['network'] for r in group)], [
            [part, *(f'{1000 * r["stages"][part]:.1f}'
                     if part in r['stages'] else '-' for r in group)]
            for part in group[0]['stages']])


def draw(rows, fits, path):
    """Lines where a size varies, else bars, a panel a pass."""
    if fits:
        return draw_fits(fits, path)
    by_pass = {kind: [r for r in rows if r['kind'] == kind]
               for kind in dict.fromkeys(r['kind'] for r in rows)}
    names = [r['network'] for r in max(by_pass.values(), key=len)]
    draw_comparison(names, {
        f'{kind}, CPU ms': [next((
            1000 * r['cpu_s'] for r in found if r['network'] == name), None)
            for name in names]
        for kind, found in by_pass.items()}, path)


def fuse_difference(args):
    """Largest difference of the logits that folding makes."""
    config = load_model_config(args.config)
    x = clips(1, config.get('num_frames', 16), args.size[0], args.device)
    with torch.no_grad():
        plain = Logits(build(config, args.device)).eval()
        expected = plain(x)
        folded = Logits(fuse_conv_bn(build(config, args.device).eval()))
        return (folded.eval()(x) - expected).abs().max().item()


def main():
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.rss_of:
        print_rss(args)
        return
    if not args.default_malloc:
        keep_freed_memory()
    all_frames, all_steps, args.size = defaults(args)
    rows = []
    for setting in itertools.product(args.batch_sizes, all_frames, all_steps,
                                     args.size):
        rows += measure(args, *setting)
        print(f'measured batch {setting[0]}, T {setting[1]}, '
              f'S {setting[2]}, size {setting[3]}', file=sys.stderr)
    print(f'{Path(args.config).name}\n{machine(args.device)}, median of '
          f'{args.rounds} interleaved rounds\n')
    report(rows)
    report_stages(rows)
    fits = linear_fits(rows)
    for fit in fits:
        print(f'{fit["network"]} {fit["kind"]}: CPU seconds against '
              f'{fit["against"]} are a line with R^2 = {fit["r2"]:.5f}')
    result = dict(config=args.config, machine=machine(args.device),
                  rows=rows, fits=fits)
    if args.fuse:
        result['fuse_difference'] = fuse_difference(args)
        print('largest difference of the logits after folding BatchNorm: '
              f'{result["fuse_difference"]:.1e}')
    if args.out:
        out = Path(args.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1))
        print(f'written: {out}')
        draw(rows, fits, out.with_suffix('.png'))
        print(f'written: {out.with_suffix(".png")}')


if __name__ == '__main__':
    main()
