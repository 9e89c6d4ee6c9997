"""What happens in a network, frame by frame, while it watches a clip."""
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from torch import Tensor

from ..models.neurons import BaseNeuron
from ..models.recognizers import ReSpikeRecognizer
from ..residual import BRANCHES, join_clip, split_clip
from .live_stream import ENERGY, counted_steps
from .trained import TrainedNetwork


@dataclass(frozen=True)
class Attention:
    """Where the positions of a spiking map attend in their key frame.

    Attributes:
        weights (np.ndarray): (T, L, M), softmax over the M positions of the
            key map, averaged over heads; zero for key frames.
        grid (tuple[int]): Height and width of the L positions.
        key_grid (tuple[int]): Those of the M positions.
    """

    weights: np.ndarray
    grid: tuple[int, int]
    key_grid: tuple[int, int]


@dataclass(frozen=True)
class Trace:
    """A clip of T frames as a network saw it.

    Key frames have no spikes: their maps are zero, their rates nan.

    Attributes:
        frames (np.ndarray): (T, H, W, 3), uint8.
        residuals (np.ndarray): (T, H, W, 3), int16; zero for key frames.
        steps (np.ndarray): Step of each frame in its group, 0 for key
            frames, (T, ).
        scores (np.ndarray): The answer after each frame, (T, C).
        energy (np.ndarray): mJ of each frame, (T, ).
        energy_model (str): By which model.
        rates (dict[str, np.ndarray]): Firing rate of each layer of neurons,
            (T, ).
        maps (dict[str, np.ndarray]): Spikes of each layer of neurons, (T, h,
            w): see :func:`trace_clip`.
        attention (dict[str, Attention]): Of each fused stage.
    """

    frames: np.ndarray
    residuals: np.ndarray
    steps: np.ndarray
    scores: np.ndarray
    energy: np.ndarray
    energy_model: str
    rates: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]
    attention: dict[str, Attention]

    @property
    def kind_of_maps(self) -> str:
        """What ``maps`` are: there is a time to weigh with several steps."""
        return ('spiking activation map' if self.steps.max() > 1 else
                'firing rate map')

    @property
    def last_layers(self) -> list[str]:
        """The last layer of neurons of each stage."""
        return [*{stage_of(name): name for name in self.maps}.values()]

    @property
    def rates_of_stages(self) -> dict[str, np.ndarray]:
        """Firing rate of each stage, (T, ), the mean over its layers."""
        layers: dict[str, list[np.ndarray]] = {}
        for name, rate in self.rates.items():
            layers.setdefault(stage_of(name), []).append(rate)
        return {stage: np.mean(found, 0) for stage, found in layers.items()}

    def moving_position(self, frame: int) -> tuple[int, int]:
        """Row and column of the pixel that changed most in a frame."""
        change = np.abs(self.residuals[frame]).sum(-1)
        row, column = np.unravel_index(change.argmax(), change.shape)
        return int(row), int(column)


def stage_of(layer: str) -> str:
    """``'stage2'`` of ``'backbone.layer2.0.neuron1'``; else ``'stem'``."""
    for part in layer.split('.'):
        if part.startswith('layer'):
            return part.replace('layer', 'stage')
    return 'stem'


def read_clip(network: TrainedNetwork, video: str | Path,
              view: int = 0) -> Tensor:
    """Frames of one view of a video, as the test pipeline makes them.

    Args:
        network (TrainedNetwork): Of a :class:`ReSpikeRecognizer`.
        video (str | Path): A file.
        view (int): Which view. Defaults to 0.

    Returns:
        Tensor: (1, T, C, H, W), uint8.

    Raises:
        ValueError: If the video has no such view.
    """
    model: Any = network.model
    sample = Compose(network.pipeline)(dict(
        filename=str(video), label=-1, start_index=0, modality='RGB'))
    inputs = sample['inputs']
    if isinstance(inputs, dict):
        keys, residuals = (inputs[name].numpy() for name in BRANCHES)
        # of the step that splits; the model's is that of plain frames
        reference = next((step['reference'] for step in network.pipeline
                          if 'reference' in step), 'key')
        clips = join_clip(keys, residuals, reference)
    else:
        clips = inputs.numpy().reshape(
            -1, model.num_frames, *inputs.shape[-3:])
    if not 0 <= view < len(clips):
        raise ValueError(f'view={view!r} is not allowed: {video} has the '
                         f'views 0 to {len(clips) - 1}')
    return torch.from_numpy(clips[view:view + 1])


def trace_clip(model: Any, frames: Tensor, gamma: float = .5) -> Trace:
    """Watch a network watch a clip, frame by frame, as a stream.

    With spikes S_c(t) of channel c at step t, the map of a layer is the
    spiking activation map (arXiv 2103.14441),

        M(t) = mean over c of
            S_c(t) (1 + sum over t' < t of exp(-gamma (t - t')) S_c(t')),

    in which a spike weighs more the sooner it follows others of its neuron;
    at the first step, and with one step a group, it is the firing rate.

    Args:
        model (ReSpikeRecognizer): In eval mode, not accelerated.
        frames (Tensor): (1, T, C, H, W) uint8.
        gamma (float): Decay of earlier spikes a step. Defaults to 0.5.

    Returns:
        Trace: What was seen.

    Raises:
        ValueError: If the network is no :class:`ReSpikeRecognizer`, or
            answers only whole clips.
    """
    if not isinstance(model, ReSpikeRecognizer):
        raise ValueError(f'{type(model).__name__} is not allowed: a '
                         'ReSpikeRecognizer is traced')
    record = _Record(model)
    scores, energies = [], []
    with ExitStack() as hooks:
        record.hook(hooks)
        for answer, _, energy in counted_steps(model, frames):
            scores.append(answer.scores[0].double().cpu().numpy())
            energies.append(energy)
            record.end_frame()
    clip = frames[0].numpy()
    _, residuals = split_clip(clip, model.stride, model.reference)
    groups = np.concatenate([np.zeros_like(residuals[:, :1]), residuals], 1)
    return Trace(
        frames=clip.transpose(0, 2, 3, 1),
        residuals=groups.reshape(clip.shape).transpose(0, 2, 3, 1),
        steps=np.arange(len(clip)) % model.stride,
        scores=np.stack(scores),
        energy=np.array(energies),
        energy_model=ENERGY.name,
        rates={name: np.array([
            np.nan if spikes is None else spikes.float().mean().item()
            for spikes in steps]) for name, steps in record.spikes.items()},
        maps={name: _activation_maps(steps, gamma)
              for name, steps in record.spikes.items()},
        attention=record.attention())


def _activation_maps(steps: list[Tensor | None],
                     gamma: float) -> np.ndarray:
    """(T, h, w) of the spikes (C, h, w) of each frame, None for a key's."""
    found: list[Tensor | None] = []
    trace: Tensor | None = None  # of the spikes before
    for spikes in steps:
        if spikes is None:  # a new group
            trace = None
            found.append(None)
            continue
        earlier = torch.zeros_like(spikes) if trace is None else trace
        found.append((spikes * (1 + earlier)).mean(0))
        trace = (earlier + spikes) * np.exp(-gamma)
    empty = torch.zeros_like(next(x for x in found if x is not None))
    return torch.stack([empty if x is None else x for x in found]).numpy()


class _Record:
    """Spikes and attention of the frames of a stream.

    Hooks keep references and compute nothing: it would be counted.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.spikes: dict[str, list[Tensor | None]] = {
            name: [] for name, module in model.named_modules()
            if isinstance(module, BaseNeuron)}
        self._now: dict[str, Any] = {}
        self._grids: dict[str, tuple] = {}
        self._key_grids: dict[str, tuple] = {}
        self._weights: dict[str, list[Tensor | None]] = {
            stage: [] for stage in model.cls_head.fusions}

    def hook(self, hooks: ExitStack) -> None:
        """Watch the neurons, the key branch and the fusions."""
        modules = dict(self.model.named_modules())

        def keep(name: str, value: Any) -> None:
            self._now[name] = value

        for name in self.spikes:
            hooks.callback(modules[name].register_forward_hook(
                lambda _, args, out, name=name: keep(
                    name, out[0] if isinstance(out, tuple) else out)).remove)
        hooks.callback(self.model.key_backbone.register_forward_hook(
            lambda _, args, maps: keep('key maps', maps)).remove)
        for stage, fusion in self.model.cls_head.fusions.items():
            hooks.callback(fusion.register_forward_pre_hook(
                lambda _, args, stage=stage: keep(
                    f'{stage} grid', tuple(args[0].shape[-2:]))).remove)
            hooks.callback(
                fusion.block.cross_attn.register_forward_pre_hook(
                    lambda _, args, stage=stage: keep(stage, args)).remove)

    @torch.no_grad()
    def end_frame(self) -> None:
        """Take what the hooks kept of a frame."""
        now, self._now = self._now, {}
        for name, steps in self.spikes.items():
            steps.append(now[name][0].float().cpu() if name in now else None)
        for stage, weights in self._weights.items():
            if 'key maps' in now:
                index = int(stage.removeprefix('stage')) - 1
                self._key_grids[stage] = tuple(self.model.cls_head.pool(
                    index, now['key maps'][index]).shape[-2:])
            if stage not in now:
                weights.append(None)
                continue
            x, (keys, _) = now[stage]
            attention = self.model.cls_head.fusions[stage].block.cross_attn
            weights.append(attention.weights(x, keys)[0].mean(0).cpu())
            self._grids[stage] = now[f'{stage} grid']

    def attention(self) -> dict[str, Attention]:
        """Of each fused stage."""
        found = {}
        for stage, frames in self._weights.items():
            empty = torch.zeros_like(next(x for x in frames if x is not None))
            weights = torch.stack([
                empty if x is None else x for x in frames])
            found[stage] = Attention(weights.numpy(), self._grids[stage],
                                     self._key_grids[stage])
        return found
