"""One network in every runtime: ``compare_exports.py CONFIG CHECKPOINT``.

Writes it in each format, runs it beside the network itself on the same
clips in turn, and prints differences, file sizes and speed.
"""
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from export_onnx import SUFFIXES, clips_of, size_of
from mmengine.config import Config

from respike_mmaction.apis import accelerate, load_trained
from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.deployment import (
    ClipProgram,
    export_clips,
    scores_of_clips,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] /
                       'analysis_tools'))
from measure import machine, print_table  # noqa: E402


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--videos', nargs='+', default=[],
                        help='default: random frames')
    parser.add_argument('--image_size', type=int, nargs='+', metavar='N',
                        help="default: the config's")
    parser.add_argument('--threads', type=int, default=1, help='default: 1')
    parser.add_argument('--rounds', type=int, default=5, help='default: 5')
    return parser.parse_args(argv)


class Runtime:
    """A way to run the network, with the times it took.

    Args:
        name (str): In the table.
        scores (Callable): From clips (1, T, 3, H, W) uint8 to scores.
        megabytes (float, optional): Size of its file.
    """

    def __init__(self, name, scores, megabytes=None):
        self.name = name
        self.scores = scores
        self.size = '' if megabytes is None else f'{megabytes:.1f}'
        self.found, self.seconds = [], []

    def run(self, clip, first):
        wall = time.perf_counter()
        scores = self.scores(clip)
        if first:
            self.found.append(scores)
        else:
            self.seconds.append(time.perf_counter() - wall)


def openvino(path, threads):
    """The ONNX file in OpenVINO, in float32."""
    import openvino as ov
    model = ov.Core().compile_model(str(path), 'CPU', {
        'INFERENCE_PRECISION_HINT': 'f32',
        'INFERENCE_NUM_THREADS': threads})
    return lambda clips: torch.from_numpy(model([clips.numpy()])[0])


def runtimes(network, size, folder, threads):
    """Everything that can be run here, the network itself first."""
    model = network.model
    torch_version = torch.__version__.partition('+')[0]
    yield Runtime(f'eager, PyTorch {torch_version}', ClipProgram(model, True))
    fast = accelerate(model)

    def accelerated(clips):
        data = fast.data_preprocessor(
            dict(inputs=list(clips), data_samples=None))['inputs']
        return fast.cls_head.average_clip(
            fast.extract_feat(data, 'head')[0])

    yield Runtime('eager, accelerated', accelerated)
    for kind, name in dict(
            torchscript='TorchScript', pt2='torch.export',
            aoti='AOTInductor',
            onnx=f'onnxruntime {version("onnxruntime")}').items():
        path = folder / f'{kind}{SUFFIXES[kind]}'
        export_clips(model, path, size, kind, preprocess=True)
        yield Runtime(name, scores_of_clips(path, kind, model, True),
                      path.stat().st_size / 2**20)
    if find_spec('openvino'):
        yield Runtime(f'OpenVINO {version("openvino")}',
                      openvino(path, threads), path.stat().st_size / 2**20)


@torch.no_grad()
def main(argv=None):
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    cfg = Config.fromfile(args.config)
    network = load_trained(args.checkpoint, cfg)
    size = size_of(args, cfg)
    clips = clips_of(args, network, size)
    with tempfile.TemporaryDirectory() as folder:
        found = list(runtimes(network, size, Path(folder), args.threads))
        for number in range(args.rounds + 1):
            for clip in clips.split(1):
                for runtime in found:
                    runtime.run(clip, first=number == 0)
    expected = torch.cat(found[0].found)
    rows = []
    for runtime in found:
        scores = torch.cat(runtime.found).float()
        rows.append([
            runtime.name,
            f'{(scores - expected).abs().max():.1e}',
            int((scores.argmax(1) != expected.argmax(1)).sum()),
            runtime.size, f'{1000 * statistics.median(runtime.seconds):.2f}'])
    print(f'{len(clips)} clips one by one, {args.rounds} rounds in turn, '
          f'{machine("cpu")}\n')
    print_table(['runtime', 'largest score difference', 'answers changed',
                 'file / MiB', 'ms a clip'], rows)


if __name__ == '__main__':
    run_tool(main, ImportError)
