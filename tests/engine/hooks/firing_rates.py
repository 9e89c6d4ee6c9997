"""A small spiking recognizer, its clips and what is recorded of it."""
import pytest
import torch
from mmaction.structures import ActionDataSample
from torch.utils.data import Dataset

STEPS = 3
NEURONS = [f'backbone.layer{i}.0.neuron{j}' for i in (1, 2, 3, 4)
           for j in (1, 2)]


class Frames(Dataset):
    """Three-frame clips of noise."""

    def __init__(self, length=8):
        generator = torch.Generator().manual_seed(7)
        self.clips = 2 * torch.randn(
            length, STEPS, 3, 64, 64, generator=generator)

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, i):
        sample = ActionDataSample().set_gt_label(i % 2)
        return dict(inputs=self.clips[i], data_samples=sample)


def recognizer(neuron=None, **backbone):
    neuron = neuron or dict(type='LIFNeuron', tau=4 / 3)
    return dict(
        type='Recognizer2D',
        backbone=dict(
            type='SpikingResNet',
            depth=10,
            base_channels=8,
            num_steps=STEPS,
            neuron=neuron,
            **backbone),
        cls_head=dict(
            type='TSNHead', num_classes=2, in_channels=64, dropout_ratio=0.,
            average_clips='prob'),
        data_preprocessor=dict(type='ActionDataPreprocessor'))


def potentials(x):
    """H of the paper's LIF neuron, from its text."""
    v, found = 0., []
    for x_t in x.view(-1, STEPS, *x.shape[1:]).unbind(1):
        h = v + (x_t - v) / (4 / 3)
        v = h * (h < 1)
        found.append(h)
    return torch.stack(found).double()


def check(line, mode, calls, rel=1e-4):
    """Scalars of a record against the calls of all neurons in order."""
    for i, name in enumerate(NEURONS):
        x, spikes = (torch.cat(both) for both in zip(
            *calls[i::len(NEURONS)], strict=True))
        h = potentials(x)
        expected = dict(
            firing_rate=spikes.double().mean(),
            membrane_mean=h.mean(),
            membrane_std=h.std(correction=0),
            membrane_max=h.max())
        for key, value in expected.items():
            assert line[f'{mode}/{key}/{name}'] == pytest.approx(
                value.item(), rel=rel, abs=1e-6), (name, key)
