"""Measures the operations of one video of a config, on real clips."""
import os
import sys
from collections import Counter
from dataclasses import replace

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from torch import nn

from ..models.layers.int8_spike_conv import TERMS
from ..models.neurons import BaseNeuron
from ..models.recognizers import ReSpikeRecognizer
from .clips import (
    is_correct,
    num_views,
    preprocess,
    read_videos,
    shapes,
    test_pipeline,
)
from .counter import Layer, OperationCounter
from .energy_models import ACCELERATED_MODELS, energy_models
from .network import drop_values, randomise, without_pretrained
from .operations import Count
from .summary import make_report

KEYS_AND_VALUES = ('once', 'per_step')


def measure(config: str,
            checkpoint: str | None = None,
            *,
            videos: int = 1,
            file: str | None = None,
            keys_and_values: str = 'once',
            spikes: str | None = None,
            extra_models: list[dict] | None = None,
            accuracy: float | None = None,
            seed: int = 0,
            device: str = 'cpu') -> dict:
    """Operations, traffic and energy of one video of a config.

    The test pipeline of the config gives the views; a network with spiking
    neurons is run on them, of any other only the shapes are.

    Args:
        config (str): File of the config, or ``mmaction::NAME`` of one of
            the installed MMAction2.
        checkpoint (str, optional): Weights, a file or URL; of no effect
            where only shapes are run. Defaults to None: random ones, whose
            BatchNorm statistics are those of the first view.
        videos (int): Videos of the test set, evenly spread, to average
            over. Defaults to 1.
        file (str, optional): Video to measure instead. Defaults to None.
        keys_and_values (str): ``'once'``: keys and values of cross-attention
            once a key frame, as this network computes them; ``'per_step'``:
            anew every step, as the published code does. Defaults to
            ``'once'``.
        spikes (str, optional): ``'int8'`` or ``'int8x2'``: charge what
            :func:`respike_mmaction.apis.accelerate` runs with it, by
            ``ACCELERATED_MODELS``, for ReSpike networks. Defaults to None,
            float32.
        extra_models (list[dict], optional): Energy models beside the
            built-in ones and ``energy_models`` of the config. Defaults to
            None.
        accuracy (float, optional): Top-1 accuracy in percent to keep with
            the figures. Defaults to None: that on the measured videos, if
            they are labelled, the weights are given and the network spikes.
        seed (int): Of random weights; set for all of PyTorch. Defaults to 0.
        device (str): Where to run. Defaults to ``'cpu'``.

    Returns:
        dict: The report, see :func:`respike_mmaction.energy.write_json`.

    Raises:
        ValueError: For a value that is not allowed.
        FileNotFoundError: If there is no such checkpoint or no video to
            measure.
    """
    if keys_and_values not in KEYS_AND_VALUES:
        raise ValueError(f'keys_and_values={keys_and_values!r} is not '
                         f'allowed: it is one of {KEYS_AND_VALUES}')
    if accuracy is not None and not 0 <= accuracy <= 100:
        raise ValueError(f'accuracy={accuracy!r} is not allowed: it is '
                         'between 0 and 100 %')
    if spikes not in (*TERMS, None):
        raise ValueError(f'spikes={spikes!r} is not allowed: it is one of '
                         f'{(*TERMS, None)}')
    if spikes and extra_models:
        raise ValueError('extra_models are not allowed with spikes: they do '
                         'not tell the energy of its number formats')
    check_exists(checkpoint)
    cfg = get_config(config) if '::' in config else Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    energies = energy_models([
        *cfg.get('energy_models', ()), *(extra_models or ())])
    clips = list(read_videos(cfg, videos, file))
    torch.manual_seed(seed)
    try:
        run = Run(cfg, checkpoint, device, clips, allow_shapes=True)
    except NotImplementedError:  # some network reads values on the way
        run = Run(cfg, checkpoint, device, clips, allow_shapes=False)
    model, layers, views = run.model, run.layers, run.views / len(clips)
    if keys_and_values == 'per_step':
        recompute_keys(model, layers)
    layers = {
        layer: of_layer.scaled(1 / len(clips))
        for layer, of_layer in layers.items()
    }
    add_parameters(model, layers, views)
    if spikes is not None:
        layers = {layer: accelerated(of_layer, TERMS[spikes])
                  for layer, of_layer in layers.items()}
        energies = ACCELERATED_MODELS

    accuracy_source = None if accuracy is None else 'given'
    if accuracy is None and run.correct is not None:
        accuracy = 100 * run.correct / len(clips)
        accuracy_source = f'{len(clips)} videos'
    return make_report(
        model,
        layers,
        energies,
        views,
        config=os.path.basename(config),
        weights=checkpoint or 'random',
        measured='shapes' if run.shapes else 'values',
        keys_and_values=keys_and_values,
        spikes=spikes,
        videos=[name for name, _ in clips],
        inputs=run.inputs,
        accuracy=accuracy,
        accuracy_source=accuracy_source,
        seed=seed,
        device=device,
        unknown=dict(run.unknown))


class Run:
    """Counts of several videos, added up.

    Args:
        cfg (Config): The config.
        checkpoint (str, optional): Weights.
        device (str): Where to run.
        clips (list[tuple[str, dict]]): Names and collated views.
        allow_shapes (bool): Whether a network without spiking neurons is run
            on shapes alone: its counts depend on nothing else.

    Attributes:
        model (nn.Module): The network.
        layers (dict[Layer, Count]): Counts of all videos, without weights.
        unknown (Counter): Operators that are not counted.
        views (int): Views of all videos.
        correct (int | None): Videos classified as labelled; None if that
            cannot be told.
        inputs (dict): Shapes of the inputs of the last video.
        shapes (bool): Whether shapes alone were run.
    """

    def __init__(self, cfg: Config, checkpoint: str | None, device: str,
                 clips: list[tuple[str, dict]], allow_shapes: bool) -> None:
        self.model = MODELS.build(without_pretrained(cfg.model)).to(device)
        spiking = any(isinstance(m, BaseNeuron) for m in self.model.modules())
        self.shapes = allow_shapes and not spiking
        if self.shapes:
            drop_values(self.model)
        elif checkpoint is None:
            randomise(self.model, clips[0][1], test_pipeline(cfg))
        else:
            load_checkpoint(
                self.model, checkpoint, map_location='cpu', strict=True)
        self.model.eval()
        self.layers: dict[Layer, Count] = {}
        self.unknown: Counter = Counter()
        self.views = 0
        trained = checkpoint is not None and not self.shapes
        self.correct = 0 if trained else None
        for number, (_, data) in enumerate(clips, 1):
            self._count(data, test_pipeline(cfg))
            if len(clips) > 1:
                print(f'\rmeasured: {number} of {len(clips)} videos',
                      end='' if number < len(clips) else '\n', flush=True,
                      file=sys.stderr)

    @torch.no_grad()
    def _count(self, data: dict, pipeline: list[dict]) -> None:
        inputs, samples = preprocess(self.model, data)
        self.views += num_views(self.model, inputs, pipeline)
        self.inputs = shapes(inputs)
        with OperationCounter(self.model) as counter:
            samples = self.model(inputs, samples, mode='predict')
        self.unknown += counter.unknown
        for layer, count in counter.layers.items():
            self.layers[layer] = self.layers.get(layer, Count()) + count
        if self.correct is not None:
            correct = is_correct(samples[0])
            self.correct = None if correct is None else self.correct + correct


def check_exists(checkpoint: str | None) -> None:
    """Refuse a file that is absent; where shapes are run it is not read."""
    if checkpoint and '://' not in checkpoint and \
            not os.path.isfile(checkpoint):
        raise FileNotFoundError(f'no checkpoint {checkpoint!r}')


def accelerated(count: Count, terms: int) -> Count:
    """A float32 count in the number formats of an accelerated network.

    Spike-driven layers hold ``terms`` bytes a weight and add as many integers
    a synaptic operation; all else is of two bytes, potentials of four.

    Args:
        count (Count): Of one layer.
        terms (int): Integers of a weight.

    Returns:
        Count: The same operations, other bytes.
    """
    spiking = count.spike_positions > 0
    return replace(
        count,
        acs=count.acs * terms,
        weight_bytes=count.weight_bytes * (terms if spiking else 2) / 4,
        spike_bytes=count.spike_bytes / 2,  # of the twin's maps
        activation_bytes=count.activation_bytes / 2)


def recompute_keys(model: nn.Module, layers: dict[Layer, Count]) -> None:
    """Charge keys and values of cross-attention once a step."""
    if not isinstance(model, ReSpikeRecognizer):
        return
    for layer in layers:
        if layer.name.endswith(('cross_attn.to_k', 'cross_attn.to_v')):
            layers[layer] = layers[layer].scaled(model.num_steps)


def add_parameters(model: nn.Module, layers: dict[Layer, Count],
                   views: float) -> None:
    """Add the parameters of every module, moved once a view."""
    first: dict[str, Layer] = {}
    for layer in layers:
        first.setdefault(layer.name, layer)
    seen = set()
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            if parameter in seen:
                continue
            seen.add(parameter)
            layer = first.setdefault(name, Layer(name))
            of_layer = layers.setdefault(layer, Count())
            of_layer.parameters += parameter.numel()
            of_layer.weight_bytes += views * parameter.numel(
            ) * parameter.element_size()
