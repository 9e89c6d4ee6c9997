"""The clips that are measured: read, preprocessed, counted in views."""
import os
from collections.abc import Iterator
from typing import Any

import torch
from mmaction.models.recognizers import Recognizer2D
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import BaseModel
from torch import nn

from ..models.recognizers import ReSpikeRecognizer


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


def preprocess(model: BaseModel, data: dict) -> tuple[Any, list]:
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
        if transform['type'] == 'ResidualFrameTransform' and keep in (
                'key', 'residual'):
            stride = transform.get('stride', 4)
            frames = frames // stride * (1 if keep == 'key' else stride - 1)
    return frames


def shapes(inputs: Any) -> dict[str, list[int]]:
    """Shapes of the inputs of the last video."""
    if isinstance(inputs, torch.Tensor):
        inputs = dict(imgs=inputs)
    return {key: list(value.shape) for key, value in inputs.items()}
