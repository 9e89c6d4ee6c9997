"""Measures the operations of one video of a config, on real clips."""
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from mmaction.models.recognizers import Recognizer2D
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..models.neurons import BaseNeuron
from ..models.recognizers import ReSpikeRecognizer
from .counter import Layer, OperationCounter
from .energy_models import EnergyModel, energy_models
from .grouping import grouping
from .operations import LEFT_OUT, Count

KEYS_AND_VALUES = ('once', 'per_step')


def measure(config: str,
            checkpoint: str | None = None,
            *,
            videos: int = 1,
            file: str | None = None,
            keys_and_values: str = 'once',
            extra_models: list[dict] | None = None,
            accuracy: float | None = None,
            seed: int = 0,
            device: str = 'cpu') -> dict:
    """Operations, traffic and energy of one video of a config.

    The test pipeline of the config gives the views; a network with spiking
    neurons is run on them, of any other only the shapes are.

    Args:
        config (str): File of the config.
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
    check_exists(checkpoint)
    cfg = Config.fromfile(config)
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
        for _, data in clips:
            self._count(data, test_pipeline(cfg))

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


def test_set(cfg: Config) -> dict:
    """The dataset of test_dataloader; empty where there is none."""
    return (cfg.get('test_dataloader') or {}).get('dataset') or {}


def test_pipeline(cfg: Config) -> list[dict]:
    """The transforms of the test set of a config."""
    dataset = test_set(cfg)
    while 'pipeline' not in dataset and 'dataset' in dataset:
        dataset = dataset['dataset']
    pipeline = dataset.get('pipeline') or cfg.get('test_pipeline')
    if not pipeline:
        raise ValueError('the config has no test pipeline: neither '
                         'test_dataloader.dataset.pipeline nor test_pipeline')
    return pipeline


def read_videos(cfg: Config, number: int,
                file: str | None) -> Iterator[tuple[str, dict]]:
    """Names and collated views of videos.

    Args:
        cfg (Config): Config with a test set.
        number (int): Videos of the test set, evenly spread.
        file (str, optional): One video instead.

    Yields:
        tuple[str, dict]: Name of the video, and what its pipeline gives.

    Raises:
        ValueError: If the number is not positive, the set is empty or not in
            the config, or the pipeline reads no video files.
        FileNotFoundError: If there is no such file or test set.
    """
    if file is not None:
        if not os.path.isfile(file):
            raise FileNotFoundError(f'no video {file!r}')
        pipeline = test_pipeline(cfg)
        if any(t['type'] == 'RawFrameDecode' for t in pipeline):
            raise ValueError(
                'the test pipeline of the config reads folders of frames '
                f'(RawFrameDecode), not video files such as {file!r}')
        sample = Compose(pipeline)(
            dict(filename=file, label=-1, start_index=0, modality='RGB'))
        yield os.path.basename(file), pseudo_collate([sample])
        return
    if number < 1:
        raise ValueError(f'videos={number} is not allowed: at least 1')
    if not test_set(cfg):
        raise ValueError('the config has no test set (test_dataloader): name '
                         'a video with --input')
    try:
        dataset = DATASETS.build(test_set(cfg))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'the test set of the config is absent ({error}): name a video '
            'with --input') from error
    if not len(dataset):
        raise ValueError('the test set of the config is empty')
    number = min(number, len(dataset))
    for i in range(number):
        index = i * len(dataset) // number
        info = dataset.get_data_info(index)
        name = info.get('filename', info.get('frame_dir', str(index)))
        yield os.path.basename(str(name)), pseudo_collate([dataset[index]])


def without_pretrained(cfg: Any) -> Any:
    """A copy of a model config that loads and downloads nothing."""
    if isinstance(cfg, dict):
        return ConfigDict({
            key: None if key == 'pretrained' and isinstance(value, str) else
            without_pretrained(value)
            for key, value in cfg.items()
            if not (key == 'init_cfg' and 'Pretrained' in str(value))
        })
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(without_pretrained(value) for value in cfg)
    return cfg


def drop_values(model: nn.Module) -> None:
    """Keep only the shapes of all parts but the preprocessor."""
    for name, child in model.named_children():
        if name != 'data_preprocessor':
            child.to('meta')


@torch.no_grad()
def randomise(model: nn.Module, data: dict, pipeline: list[dict]) -> None:
    """Give a network random weights and the BatchNorm statistics of a view.

    With means of 0 and variances of 1 an untrained spiking network would
    fall silent after a few layers.

    Args:
        model (nn.Module): The network.
        data (dict): The collated views of a video; the first one is run.
        pipeline (list[dict]): The test pipeline.
    """
    for module in model.modules():
        if getattr(module, 'pretrained2d', False):
            module.pretrained2d = False  # else it wants a file
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')  # not a line for every parameter
    model.init_weights()
    logger.setLevel(level)

    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    inputs, _ = preprocess(model, data)
    inputs = first_view(inputs, num_views(model, inputs, pipeline))
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all steps, not the last one
    model(inputs, mode='tensor')
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def preprocess(model: nn.Module, data: dict) -> tuple[Any, list]:
    """Inputs on the device of the network, and their samples."""
    device = next(model.parameters()).device
    data = model.data_preprocessor(data, False)
    inputs = data['inputs']
    if isinstance(inputs, dict):
        inputs = {key: value.to(device) for key, value in inputs.items()}
    else:
        inputs = inputs.to(device)
    return inputs, data['data_samples']


def is_correct(sample: Any) -> bool | None:
    """Whether a prediction is its label; None without one."""
    label = sample.get('gt_label')
    if label is None or (label < 0).any():
        return None
    return bool(torch.isin(sample.pred_label.cpu(), label.cpu()).all())


def num_views(model: nn.Module, inputs: Any, pipeline: list[dict]) -> int:
    """Views (clips x crops) in a batch of one video.

    For 2D recognizers a view is one crop of a clip, or of all segments where
    a clip is a single frame, as in the FLOPs of MMAction2's model zoo.

    Args:
        model (nn.Module): The recognizer.
        inputs (Tensor | dict): Its inputs.
        pipeline (list[dict]): The test pipeline.

    Returns:
        int: Number of views.
    """
    if isinstance(model, ReSpikeRecognizer):
        return len(model.split(inputs)[0])
    if not isinstance(inputs, torch.Tensor):
        return 1
    if isinstance(model, Recognizer2D):
        frames = frames_per_view(pipeline) or inputs.shape[1]
        return max(1, inputs.shape[1] // frames)
    return inputs.shape[1]


def first_view(inputs: Any, views: int) -> Any:
    """One view of a batch of one video that holds so many."""
    if isinstance(inputs, dict):
        return {key: first_view(x, views) for key, x in inputs.items()}
    return inputs[:, :inputs.shape[1] // views]


def frames_per_view(pipeline: list[dict]) -> int:
    """Frames of a clip, or of all segments of one frame; 0: not known."""
    sampling = next((t for t in pipeline if 'num_clips' in t), {})
    frames = sampling.get('clip_len', 1)
    if frames == 1:
        frames = sampling.get('num_clips', 0)
    for transform in pipeline:
        keep = transform.get('keep', 'both')
        if transform['type'] == 'ResidualFrameTransform' and keep != 'both':
            stride = transform.get('stride', 4)
            frames = frames // stride * (1 if keep == 'key' else stride - 1)
    return frames


def shapes(inputs: Any) -> dict[str, list[int]]:
    """Shapes of the inputs of the last video."""
    if isinstance(inputs, torch.Tensor):
        inputs = dict(imgs=inputs)
    return {key: list(value.shape) for key, value in inputs.items()}


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
    first = {}
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


def make_report(model: nn.Module, layers: dict[Layer, Count],
                energies: tuple[EnergyModel, ...], views: float,
                **about: Any) -> dict:
    """Everything measured, as plain data.

    Args:
        model (nn.Module): The recognizer.
        layers (dict[Layer, Count]): Its layers, for one video.
        energies (tuple[EnergyModel]): Energy models.
        views (float): Views a video.
        **about: What was measured.

    Returns:
        dict: ``about``; the counts of a video in ``total``, ``branches``,
        ``groups`` and ``layers``; and ``energy`` by model.
    """
    group_of = grouping(model)
    groups: dict = {}
    for layer, of_layer in layers.items():
        group = group_of(layer)
        groups[group] = groups.get(group, Count()) + of_layer
    groups = dict(sorted(groups.items(), key=_order))
    branches: dict = {}
    for group, of_group in groups.items():
        branches[group.branch] = branches.get(group.branch,
                                              Count()) + of_group
    total = sum(branches.values(), Count())
    left_out = list(LEFT_OUT)
    unknown = about.pop('unknown')
    left_out += [
        f'operator {name} ({number} elements): not known to the counter'
        for name, number in sorted(unknown.items())
    ]
    return dict(
        about,
        views_per_video=views,
        left_out=left_out,
        total=_plain(total),
        branches=[
            dict(branch=branch, **_plain(of_branch))
            for branch, of_branch in branches.items()
        ],
        groups=[
            dict(group._asdict(), **_plain(of_group))
            for group, of_group in groups.items()
        ],
        layers=[
            dict(
                name=layer.name or type(model).__name__,
                after=layer.after,
                **group_of(layer)._asdict(),
                **_plain(of_layer)) for layer, of_layer in layers.items()
        ],
        energy={
            energy.name: _energy(energy, branches, views)
            for energy in energies
        })


def _plain(of_layer: Count) -> dict:
    rate = of_layer.firing_rate
    return dict(
        asdict(of_layer),
        operations=dict(of_layer.operations),
        firing_rate=None if rate != rate else rate)


def _order(item: tuple) -> tuple:
    branches = ('key branch', 'spiking branch', 'backbone', 'fusion', 'neck',
                'head')
    branch, stage, part = item[0]
    place = branches.index(branch) if branch in branches else len(branches)
    return place, branch, stage != 'stem', stage, part


def _energy(energy: EnergyModel, branches: dict[str, Count],
            views: float) -> dict:
    total = sum(branches.values(), Count())
    result = dict(
        model=asdict(energy),
        mj_per_video=energy.energy(total),
        mj_per_view=energy.energy(total) / views,
        mj_compute=energy.compute(total),
        mj_memory=energy.memory(total),
        mj_by_branch={
            branch: energy.energy(of_branch)
            for branch, of_branch in branches.items()
        })
    spiking = branches.get('spiking branch')
    if spiking:
        result['spiking_branch'] = _against_dense(energy, spiking)
    return result


def _against_dense(energy: EnergyModel, spiking: Count) -> dict:
    dense = spiking.as_dense()
    mj, mj_as_dense = energy.energy(spiking), energy.energy(dense)
    return dict(
        mj=mj,
        mj_as_dense=mj_as_dense,
        loses=mj > mj_as_dense,
        mj_compute=energy.compute(spiking),
        mj_compute_as_dense=energy.compute(dense),
        mj_memory=energy.memory(spiking),
        mj_memory_as_dense=energy.memory(dense))
