"""What acceleration changes: ``accelerated_scores.py CONFIG CHECKPOINT``.

Answers, scores and spikes of a trained network on the videos of its test set,
against those of the same network in float32: by mode, and by layer.
"""

import numpy as np
import torch
from benchmark import ACCELERATED
from measure import machine, print_table
from mmengine.config import Config
from rich.progress import track

from respike_mmaction.apis import accelerate, load_trained
from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.energy.clips import read_videos
from respike_mmaction.models.neurons import BaseNeuron


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--videos', type=int, default=50, help='of the test '
                        'set, evenly spread (default: 50)')
    parser.add_argument('--modes', nargs='+', choices=ACCELERATED,
                        default=[*ACCELERATED])
    return parser.parse_args(argv)


class Spikes:
    """The spikes of every layer in the latest forward.

    Args:
        model (nn.Module): The network, accelerated or not.
    """

    def __init__(self, model):
        self.layers = {}
        for name, module in model.named_modules():
            if isinstance(module, BaseNeuron):
                module.register_forward_hook(
                    lambda _, args, out, name=name: self._keep(name, out))

    def _keep(self, name, out):
        spikes = out[0] if isinstance(out, tuple) else out
        self.layers[name] = spikes != 0


class Comparison:
    """One mode against the network itself.

    Args:
        model (nn.Module): Accelerated.
    """

    def __init__(self, model):
        self.model = model
        self.spikes = Spikes(model)
        self.changed = self.right = 0
        self.differences = []
        self.unequal, self.positions = {}, {}

    def add(self, data, expected, spikes):
        """Compare the answer for a video, and the spikes behind it."""
        sample, = self.model.test_step(data)
        scores = sample.pred_score
        self.changed += int(scores.argmax() != expected.pred_score.argmax())
        self.right += int(scores.argmax() == expected.gt_label)
        self.differences.append(
            (scores - expected.pred_score).abs().mean().item())
        for name, found in self.spikes.layers.items():
            unequal = (found != spikes[name]).sum().item()
            self.unequal[name] = self.unequal.get(name, 0) + unequal
            self.positions[name] = self.positions.get(
                name, 0) + found.numel()

    def agreement(self, name):
        """Positions with the same spike, in percent."""
        return 100 * (1 - self.unequal[name] / self.positions[name])


@torch.no_grad()
def compare(model, videos, modes):
    """A :class:`Comparison` of each mode; right answers without any."""
    found = {mode: Comparison(accelerate(model, *ACCELERATED[mode]))
             for mode in modes}
    spikes, right = Spikes(model), 0
    for data in track(videos, 'comparing', transient=True):
        sample, = model.test_step(data)
        for comparison in found.values():
            comparison.add(data, sample, spikes.layers)
        right += int(sample.pred_score.argmax() == sample.gt_label)
    return found, right


def main(argv=None):
    args = parse_args(argv)
    model = load_trained(args.checkpoint, args.config).model
    videos = [data for _, data in read_videos(
        Config.fromfile(args.config), args.videos, None)]
    found, right = compare(model, videos, args.modes)
    print(f'{len(videos)} videos, {right} answered rightly in float32, '
          f'{machine("cpu")}\n')
    print_table(
        ['mode', 'right', 'answers changed', 'mean score difference',
         'of the worst video'],
        [[mode, c.right, c.changed, f'{np.mean(c.differences):.6f}',
          f'{np.max(c.differences):.6f}'] for mode, c in found.items()])
    print('\npositions with the same spike / %')
    layers = next(iter(found.values())).unequal
    print_table(['layer', *found], [
        [name, *(f'{c.agreement(name):.4f}' for c in found.values())]
        for name in layers])


if __name__ == '__main__':
    run_tool(main)
