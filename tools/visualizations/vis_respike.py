"""Show what a ReSpike network sees of a video: a picture and a page.

``vis_respike.py VIDEO [CONFIG] CHECKPOINT`` writes ``NAME.png`` and
``NAME.html``, which opens without a network: frames, residual frames, spikes
and firing rates of each stage and step, where positions attend in the key
frame, the answer and the energy of every frame.
"""
from pathlib import Path

from respike_mmaction.apis import load_trained, read_clip, trace_clip
from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.models.recognizers import ReSpikeRecognizer
from respike_mmaction.visualization import draw_trace, write_page


def add_input(parser, folder):
    """What this tool and vis_cam.py have in common."""
    parser.add_argument('video')
    parser.add_argument('config', nargs='?',
                        help='default: the one in the checkpoint')
    parser.add_argument('checkpoint')
    parser.add_argument('--label', help='name of the true class')
    parser.add_argument('--label-map', help='names of the classes, one a line '
                        '(default: those in the checkpoint or the config)')
    parser.add_argument('--view', type=int, default=0, help='which view of '
                        'the test pipeline (default: 0)')
    parser.add_argument('--out-dir', type=Path, default=folder,
                        help=f'default: {folder}')


def read_input(args):
    """The network, the number of the label and the frames of the view."""
    network = load_trained(args.checkpoint, args.config, args.label_map)
    if not isinstance(network.model, ReSpikeRecognizer):
        raise ValueError(
            f'{args.config or args.checkpoint} is of a '
            f'{type(network.model).__name__}: allowed is a ReSpikeRecognizer')
    if args.label is not None and args.label not in network.classes:
        raise ValueError(f'--label {args.label!r} is not allowed: classes '
                         f'are {network.classes}')
    label = args.label and network.classes.index(args.label)
    if not Path(args.video).is_file():
        raise FileNotFoundError(f'no video {args.video!r}')
    return network, label, read_clip(network, args.video, args.view)


def out_path(args, suffix):
    args.out_dir.mkdir(parents=True, exist_ok=True)
    return args.out_dir / (Path(args.video).stem + suffix)


def title_of(args, answer):
    true = f', but it is {args.label}' if args.label not in (
        None, answer) else ''
    return f'{Path(args.video).name}: {answer}{true}'


def parse_args(argv=None):
    parser = make_parser(__doc__)
    add_input(parser, 'work_dirs/vis_respike')
    parser.add_argument('--stage', help='whose attention the picture shows '
                        '(default: stage3, or the last that is fused)')
    parser.add_argument('--position', type=int, nargs=2,
                        metavar=('ROW', 'COLUMN'), help='pixel whose '
                        'attention the picture shows (default: the one that '
                        'changed most; in the page click any)')
    parser.add_argument('--layers', nargs='+', default=[], help='of neurons, '
                        'whose spikes the picture shows (default: the last '
                        'of each stage; the page has all)')
    return parser.parse_intermixed_args(argv)


def main(argv=None):
    args = parse_args(argv)
    network, _, frames = read_input(args)
    trace = trace_clip(network.model, frames)
    title = title_of(args, network.classes[trace.scores[-1].argmax()])
    picture, page = out_path(args, '.png'), out_path(args, '.html')
    draw_trace(trace, network.classes, picture, title, args.stage,
               args.position and tuple(args.position), args.layers)
    write_page(trace, network.classes, page, title, args.label)
    print(f'{title}\nspikes are shown as: {trace.kind_of_maps}')
    print(f'written: {picture}\nwritten: {page}')


if __name__ == '__main__':
    run_tool(main)
