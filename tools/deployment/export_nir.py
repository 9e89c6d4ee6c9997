"""Write the spiking branch of a trained network as NIR graphs.

``export_nir.py CONFIG CHECKPOINT [--video FILE]``: with a video, the graphs
are read back, run in every installed simulator, and compared.
"""
import argparse
from pathlib import Path

from export_onnx import size_of
from mmaction.utils import get_str_type
from mmengine.config import Config
from mmengine.dataset import Compose

from respike_mmaction.apis import load_trained
from respike_mmaction.apis.trained import predict_batch
from respike_mmaction.command_line import run_tool
from respike_mmaction.deployment import to_nir
from respike_mmaction.deployment.extras import require
from respike_mmaction.deployment.nir_simulators import (
    SIMULATORS,
    compare,
    record,
)
from respike_mmaction.models import ReSpikeRecognizer, SpikingResNet


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Write the spiking branch of a trained network as NIR. '
        'Of a ReSpike network each stage is a graph of its own: attention, '
        'key branch and classifier stay on the host.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='trained weights')
    parser.add_argument(
        '--image_size', type=int, nargs='+', metavar='N',
        help="height and width of a frame, or one number (default: the "
        "config's clip.size, or 224)")
    parser.add_argument(
        '--output_file', default='respike.nir',
        help='file to write; NAME_stage1.nir to NAME_stage4.nir for a '
        'ReSpike network (default: respike.nir)')
    parser.add_argument(
        '--video', nargs='+', default=[],
        help='real videos on which the graphs are compared with the network '
        'in every simulator that is installed')
    return parser.parse_args(argv)


def run_video(network, video):
    """Give the network a video, through the test pipeline of its config."""
    predict_batch(network.model, [Compose(network.pipeline)(
        dict(filename=str(video), label=-1, start_index=0, modality='RGB'))])


def compare_on(network, graphs, by_stage, videos):
    for simulator in SIMULATORS:
        layers, worst = {}, 0.
        try:
            for video in videos:
                recordings = record(network.model.backbone,
                                    lambda v=video: run_video(network, v),
                                    by_stage)
                for graph, recording in zip(graphs, recordings, strict=True):
                    agreements, difference = compare(graph, recording,
                                                     simulator)
                    worst = max(worst, difference)
                    for a in agreements:
                        layers.setdefault(a.name, []).append(a)
        except (ImportError, ValueError) as error:
            print(f'{simulator}: not run ({error})')
            continue
        print(f'{simulator}: maps differ by {worst:.1e} of their largest')
        print(f'  {"layer":20} {"firing rate":>12} {"different spikes":>18}')
        rows = {name: [sum(a) for a in zip(*[b[1:] for b in found],
                                           strict=True)]
                for name, found in layers.items()}
        rows['all'] = [sum(row) for row in zip(*rows.values(), strict=True)]
        for name, (spikes, positions, different) in rows.items():
            print(f'  {name:20} {spikes / positions:12.2%} '
                  f'{different:>8} of {positions}')


def main(argv=None):
    args = parse_args(argv)
    nir = require('nir', 'nir')
    cfg = Config.fromfile(args.config)
    network = load_trained(args.checkpoint, cfg)
    model = network.model
    if not isinstance(model.backbone, SpikingResNet):
        raise SystemExit(
            f'{args.config}: its backbone {get_str_type(type(model.backbone))}'
            ' cannot be exported to NIR; it takes a SpikingResNet')
    by_stage = isinstance(model, ReSpikeRecognizer)
    graphs = to_nir(model.backbone, size_of(args, cfg), by_stage)
    output = Path(args.output_file)
    output.parent.mkdir(parents=True, exist_ok=True)
    paths = [output]
    if by_stage:
        print('Each stage is a graph; fusion, key branch and classifier have '
              'no NIR nodes and stay on the host, between them')
        paths = [output.with_name(f'{output.stem}_stage{i}{output.suffix}')
                 for i in range(1, 5)]
    for path, graph in zip(paths, graphs, strict=True):
        nir.write(path, graph)
        print(f'written: {path} ({path.stat().st_size / 2**20:.1f} MiB)')
    if args.video:
        compare_on(network, [nir.read(path) for path in paths], by_stage,
                   args.video)


if __name__ == '__main__':
    run_tool(main)
