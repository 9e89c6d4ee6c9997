"""Rules of a run: its model and its pipelines cut the same clips.

Each rule looks at a built runner and yields one sentence a fault, which names
both places that disagree as their path in the config.
"""
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from mmaction.datasets.transforms import (
    PackActionInputs,
    SampleFrames,
    UniformSample,
)
from mmaction.models.data_preprocessors import (
    ActionDataPreprocessor,
    MultiModalDataPreprocessor,
)
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.runner import Runner

from ..config_references import outdated
from ..datasets import ResidualFrameTransform
from ..models import ReSpikeDataPreprocessor, ReSpikeRecognizer, SpikingResNet
from ..residual import BRANCHES
from .unwrapped import model_of, num_classes_of

# path, such as 'train_dataloader.dataset.pipeline', and transforms
Pipeline = tuple[str, Sequence]


def _pipelines(runner: Runner) -> Iterator[Pipeline]:
    """Pipelines of the data loaders that the runner has or will build."""
    for phase in ('train', 'val', 'test'):
        name = f'{phase}_dataloader'
        yield from _pipelines_below(getattr(runner, f'_{name}'), name)


def _pipelines_below(node: Any, path: str) -> Iterator[Pipeline]:
    if isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _pipelines_below(value, f'{path}[{i}]')
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == 'pipeline' and isinstance(value, list | tuple):
                yield f'{path}.{key}', value
            else:
                yield from _pipelines_below(value, f'{path}.{key}')


def _steps_of(pipeline: Pipeline,
              *kinds: type) -> Iterator[tuple[str, BaseTransform]]:
    """Transforms of some kinds, built, each behind its path."""
    path, steps = pipeline
    for i, step in enumerate(steps):
        kind = step.get('type') if isinstance(step, dict) else None
        cls = TRANSFORMS.get(kind) if isinstance(kind, str) else kind
        if isinstance(cls, type) and issubclass(cls, kinds):
            yield f'{path}[{i}]', TRANSFORMS.build(step)


def _splits(pipeline: Pipeline) -> bool:
    """Whether a pipeline ends in key frames and residual frames."""
    return any(split.keep == 'both'
               for _, split in _steps_of(pipeline, ResidualFrameTransform))


# Rules: each yields one sentence a fault, naming both places -----------------


def groups_differ(runner: Runner) -> Iterator[str]:
    """The model and the split cut clips into the same groups."""
    model = model_of(runner)
    if not isinstance(model, ReSpikeRecognizer):
        return
    for pipeline in _pipelines(runner):
        for path, split in _steps_of(pipeline, ResidualFrameTransform):
            for name in ('stride', 'num_frames', 'reference'):
                ours, theirs = getattr(model, name), getattr(split, name)
                if ours != theirs:
                    yield (f'model.{name}={ours} and {path}.{name}={theirs} '
                           'differ')
            if split.keep not in ('both', 'all'):  # all: split in the model
                yield (f"model.type='ReSpikeRecognizer' and {path}.keep="
                       f"{split.keep!r} do not fit: it takes 'both' or 'all'")


def frames_differ(runner: Runner) -> Iterator[str]:
    """As many frames are sampled as the split or the model takes."""
    model = model_of(runner)
    backbone = getattr(model, 'backbone', None)
    if isinstance(model, ReSpikeRecognizer):
        taken = [('model.num_frames', model.num_frames)]
    elif isinstance(backbone, SpikingResNet):
        taken = [('model.backbone.num_steps', backbone.num_steps)]
    else:
        taken = []
    for pipeline in _pipelines(runner):
        one_view = (pipeline[0].startswith('train_')
                    and isinstance(model, ReSpikeRecognizer))
        takers = [
            (f'{path}.num_frames', split.num_frames)
            for path, split in _steps_of(pipeline, ResidualFrameTransform)
        ] or taken
        for path, sampling in _steps_of(pipeline, SampleFrames, UniformSample):
            frames = sampling.clip_len * sampling.num_clips
            if sampling.test_mode and getattr(sampling, 'twice_sample', False):
                frames *= 2
            for name, number in takers:
                if frames % number or (one_view and frames != number):
                    yield (f'{path}.clip_len * num_clips={frames} and '
                           f'{name}={number} do not fit: '
                           f'{"one view" if one_view else "whole views"} of '
                           f'{number} frames')


def inputs_differ(runner: Runner) -> Iterator[str]:
    """What the split makes is packed, and the preprocessor takes it."""
    model = model_of(runner)
    for pipeline in _pipelines(runner):
        path, splits = pipeline[0], _splits(pipeline)
        made = ('ResidualFrameTransform' if splits else
                "no ResidualFrameTransform(keep='both')")
        for place, pack in _steps_of(pipeline, PackActionInputs):
            packed = set(BRANCHES) & set(pack.collect_keys or ())
            if packed != (set(BRANCHES) if splits else set()):
                yield (f'{place}.collect_keys={pack.collect_keys} and {made} '
                       f'in {path} do not fit: they are {BRANCHES} with it')
        if isinstance(model, ReSpikeRecognizer) and _takes_split(
                model.data_preprocessor) not in (None, splits):
            yield (f'model.data_preprocessor='
                   f'{_name(model.data_preprocessor)} and {made} in {path} do '
                   'not fit: ReSpikeDataPreprocessor takes either')


def _takes_split(preprocessor: Any) -> bool | None:
    """True for both branches only, False for plain frames, None for either."""
    if isinstance(preprocessor, ReSpikeDataPreprocessor):
        return (False if preprocessor.published_kinetics_normalization else
                None)
    if isinstance(preprocessor, MultiModalDataPreprocessor):
        return True
    return False if isinstance(preprocessor, ActionDataPreprocessor) else None


def _name(preprocessor: Any) -> str:
    name = type(preprocessor).__name__
    return (f'{name}(published_kinetics_normalization=True)' if getattr(
        preprocessor, 'published_kinetics_normalization', False) else name)


def classes_differ(runner: Runner) -> Iterator[str]:
    """Blended labels have as many classes as the head."""
    model = model_of(runner)
    classes = num_classes_of(model)
    place = 'model.data_preprocessor.blending'
    blending = getattr(getattr(model, 'data_preprocessor', None), 'blending',
                       None)
    parts = {f'{place}.augments[{i}]': part for i, part in enumerate(
        getattr(blending, 'augments', ()))} or {place: blending}
    for path, part in parts.items():
        number = getattr(part, 'num_classes', classes)
        if number != classes:
            yield (f'{path}.num_classes={number} and '
                   f'model.cls_head.num_classes={classes} differ')


def references_differ(runner: Runner) -> Iterator[str]:
    """Every reference has the value of its source."""
    for path, text, value in outdated(runner.cfg):
        yield (f'{path}={value!r} was {text!r}, which has changed '
               "since: use Config.merge_from_dict({'NAME': value})")


def inference_differs(runner: Runner) -> Iterator[str]:
    """A remark: inference takes ``test_pipeline``, test.py the dataloader's.

    Both are right configs, but the scores of a video are others.
    """
    ours = runner.cfg.get('test_pipeline')
    for path, theirs in _pipelines(runner):
        if ours is None or not path.startswith('test_'):
            continue
        for i, (one, other) in enumerate(zip_longest(ours, theirs)):
            if one != other:
                yield (f'test_pipeline[{i}]={one} and {path}[{i}]={other} '
                       'differ: inference on a file takes the first, test.py '
                       'the second, so their scores do')
                break


RULES = (groups_differ, frames_differ, inputs_differ, classes_differ,
         references_differ)
