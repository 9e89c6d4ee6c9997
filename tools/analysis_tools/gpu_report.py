"""Training speed and memory of the published recipes on this GPU.

For each recipe: the recognizer eager, in channels_last and compiled, its
ReLU floor, and the same network run step by step, all in turn in one run.
"""
import json
from pathlib import Path

import torch
from measure import (
    Logits,
    Variant,
    build,
    clips,
    interleaved,
    kept_activations,
    load_model_config,
    machine,
    peak_live_bytes,
    print_table,
    to_floor,
)
from step_by_step import StepByStep

from respike_mmaction.command_line import make_parser

ROOT = Path(__file__).resolve().parents[2]
RECIPES = dict(
    kinetics400=('respike_imagenet-pretrained-r50-sr18_8xb16-1x1x16-s2-100e_'
                 'kinetics400-rgb.py', 16),
    hmdb51=('respike_imagenet-pretrained-r50-sr18_1xb32-16x1x1-s4-100e_'
            'hmdb51-rgb.py', 32))


def parse_args():
    parser = make_parser(__doc__)
    parser.add_argument('--recipes', nargs='+', choices=RECIPES,
                        default=list(RECIPES))
    parser.add_argument('--amp', nargs='+', choices=['fp16', 'bf16'],
                        default=['fp16', 'bf16'])
    parser.add_argument('--batch-size', type=int,
                        help="default: the recipe's")
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument('--no-compile', action='store_true')
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--out', help='JSON file')
    return parser.parse_args()


def variants(config, args, amp):
    """The networks that are compared, all with the same weights."""
    def plain(**kwargs):
        return build(dict(config, **kwargs), args.device)

    found = [
        Variant('eager', Logits(plain(channels_last=False)), amp=amp),
        Variant('channels_last', Logits(plain(channels_last=True)), amp=amp),
        Variant('floor', Logits(to_floor(plain(channels_last=True))),
                context=kept_activations, amp=amp),
        Variant('step by step', StepByStep(plain(channels_last=False)),
                context=kept_activations, amp=amp),
    ]
    if not args.no_compile:
        for last in (False, True):
            name = 'compiled' + (' channels_last' if last else '')
            model = torch.compile(Logits(plain(channels_last=last)))
            found.append(Variant(name, model, amp=amp))
    return found


def measure(args, recipe, amp):
    """One row a variant."""
    file, batch_size = RECIPES[recipe]
    config = load_model_config(ROOT / 'configs/respike' / file)
    x = clips(args.batch_size or batch_size, 16, args.size, args.device)
    nets = variants(config, args, amp)
    times = interleaved(nets, 'train', x, args.rounds, warmup=3)
    return [
        dict(
            recipe=recipe, batch_size=len(x), amp=amp, network=net.name,
            **times[net.name],
            over_floor=times[net.name]['wall_s'] / times['floor']['wall_s'],
            times_step_by_step=times['step by step']['wall_s'] /
            times[net.name]['wall_s'],
            peak_mib=peak_live_bytes(net, 'train', x) / 2**20)
        for net in nets
    ]


def main():
    args = parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise SystemExit('gpu_report.py needs a CUDA device (--device cpu '
                         'runs it slowly, to try it out)')
    torch.backends.cudnn.benchmark = True
    rows = [row for recipe in args.recipes for amp in args.amp
            for row in measure(args, recipe, amp)]
    print(f'{machine(args.device)}: training steps, {args.size} x '
          f'{args.size}, median of {args.rounds} interleaved rounds\n')
    print_table(
        ['recipe', 'batch', 'AMP', 'network', 'clips/s', 'time / floor',
         'x step by step', 'peak MiB'],
        [[r['recipe'], r['batch_size'], r['amp'], r['network'],
          f'{r["clips_per_s"]:.1f}', f'{r["over_floor"]:.2f}',
          f'{r["times_step_by_step"]:.2f}', f'{r["peak_mib"]:.0f}']
         for r in rows])
    if args.out:
        Path(args.out).write_text(json.dumps(
            dict(machine=machine(args.device), rows=rows), indent=1))


if __name__ == '__main__':
    main()
