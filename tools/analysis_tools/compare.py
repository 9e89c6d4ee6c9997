"""Put trained networks side by side: ``compare.py CONFIG CHECKPOINT ...``.

One table and one picture of accuracy, parameters, MACs, synaptic operations,
energy, latency and speed, all measured here and in turn on the videos of each
config's test set. The networks may be any of MMAction2's.
"""
import statistics
import time
from pathlib import Path

import torch
from measure import machine, markdown
from mmengine.config import Config
from rich.progress import track

from respike_mmaction.apis import load_trained
from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.energy import measure
from respike_mmaction.energy.clips import is_correct, read_videos
from respike_mmaction.engine import labelled_results
from respike_mmaction.engine.video_acc_metric import VideoAccMetric
from respike_mmaction.visualization import draw_comparison


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument('networks', nargs='+', metavar='CONFIG CHECKPOINT')
    parser.add_argument('--videos', type=int, default=16, help='of each test '
                        'set, evenly spread (default: 16)')
    parser.add_argument('--dumps', nargs='+', default=[], metavar='PKL',
                        help='what test.py --dump wrote of each network: '
                        'accuracy of the whole test set')
    parser.add_argument('--rounds', type=int, default=3, help='times that '
                        'every video is run (default: 3)')
    parser.add_argument('--energy-model', default='horowitz_45nm',
                        help='default: horowitz_45nm')
    parser.add_argument('--threads', type=int, help="PyTorch's")
    parser.add_argument('--out-dir', type=Path, default='work_dirs/compare',
                        help='default: work_dirs/compare')
    args = parser.parse_args(argv)
    if len(args.networks) % 2:
        parser.error('every CONFIG is followed by its CHECKPOINT')
    args.networks = [*zip(args.networks[::2], args.networks[1::2],
                          strict=True)]
    if args.dumps and len(args.dumps) != len(args.networks):
        parser.error(f'{len(args.dumps)} --dumps of {len(args.networks)} '
                     'networks')
    if args.rounds < 1:
        parser.error(f'--rounds {args.rounds}: at least 1')
    return args


def names_of(networks):
    """The configs' names, with the checkpoint's where one is there twice."""
    stems = [Path(config).stem for config, _ in networks]
    return [stem if stems.count(stem) == 1 else
            f'{stem}, {Path(checkpoint).stem}'
            for stem, (_, checkpoint) in zip(stems, networks, strict=True)]


class Timed:
    """A network with its videos; times and answers of each.

    Args:
        config (str): File.
        checkpoint (str): File.
        videos (int): How many of its test set.
    """

    def __init__(self, config, checkpoint, videos):
        self.model = load_trained(checkpoint, config).model
        self.videos = [data for _, data in read_videos(
            Config.fromfile(config), videos, None)]
        self.seconds, self.correct = [], []

    @torch.no_grad()
    def run(self, timed):
        for data in self.videos:
            start = time.perf_counter()
            sample, = self.model.test_step(data)
            if timed:
                self.seconds.append(time.perf_counter() - start)
            else:
                self.correct.append(is_correct(sample))

    def accuracy(self):
        """In percent, None where labels are not known."""
        if None in self.correct:
            return None
        return 100 * sum(self.correct) / len(self.correct)


def row_of(config, checkpoint, network, dump, args):
    """Heading to value of one network."""
    report = measure(config, checkpoint, videos=args.videos)
    if args.energy_model not in report['energy']:
        raise ValueError(f'--energy-model {args.energy_model!r} is not '
                         f'allowed: {config} has {tuple(report["energy"])}')
    accuracy = network.accuracy()
    if dump:
        accuracy = 100 * VideoAccMetric().compute_metrics(
            labelled_results(dump))['top1']
    total, latency = report['total'], statistics.median(network.seconds)
    return {
        'top-1 / %': accuracy,
        'parameters / M': total['parameters'] / 1e6,
        'MAC / G': total['macs'] / 1e9,
        'SynOp / G': total['acs'] / 1e9,
        'mJ a video': report['energy'][args.energy_model]['mj_per_video'],
        'latency / ms': 1000 * latency,
        'videos / s': 1 / latency,
    }


def main(argv=None):
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    names = names_of(args.networks)
    timed = [Timed(*pair, args.videos) for pair in args.networks]
    for i in track(range(args.rounds + 1), 'timing', transient=True):
        for network in timed:  # in turn: the machine is the same to all
            network.run(timed=i > 0)
    rows = [row_of(*pair, network, dump, args) for pair, network, dump in zip(
        args.networks, timed, args.dumps or [None] * len(timed),
        strict=True)]
    found = markdown(['network', *rows[0]], [
        [name, *('' if value is None else f'{value:.4g}'
                 for value in row.values())]
        for name, row in zip(names, rows, strict=True)])
    print(f'{found}\naccuracy of '
          f'{"the dumps" if args.dumps else f"{args.videos} videos"}, energy '
          f'by {args.energy_model}, latency of one video with all its views, '
          f'median of {args.rounds} rounds, {machine("cpu")}')
    args.out_dir.mkdir(parents=True, exist_ok=True)
    (args.out_dir / 'compare.md').write_text(found + '\n')
    draw_comparison(names, {key: [row[key] for row in rows]
                            for key in rows[0]}, args.out_dir / 'compare.png')
    for name in ('compare.md', 'compare.png'):
        print(f'written: {args.out_dir / name}')


if __name__ == '__main__':
    run_tool(main)
