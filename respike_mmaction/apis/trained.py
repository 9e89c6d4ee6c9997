"""A trained network with its test pipeline and the names of its classes."""
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope

from ..annotations import read_label_map
from ..checkpoints import config_of
from ..checkpoints.publish import class_names_of, open_checkpoint
from ..energy.clips import test_pipeline, test_set
from ..energy.network import without_pretrained
from ..engine.unwrapped import num_classes_of
from ..state_dict import compare


@dataclass(frozen=True)
class TrainedNetwork:
    """What a prediction needs.

    Attributes:
        model (BaseModel): In eval mode.
        pipeline (list[dict]): The transforms that test.py uses.
        classes (list[str]): Names; ``'class 3'`` where nothing tells them.
        identity (str): Of its weights and its pipeline, eight digits.
    """

    model: BaseModel
    pipeline: list[dict]
    classes: list[str]
    identity: str


def load_trained(checkpoint: str | Path,
                 config: str | Path | Config | None = None,
                 label_map: str | Path | None = None,
                 device: str = 'cpu') -> TrainedNetwork:
    """Build the network of a config with the weights of a checkpoint.

    Args:
        checkpoint (str | Path): Of a training, or a published one.
        config (str | Path | Config, optional): Of any recognizer of
            MMAction2. Defaults to None: the one in the checkpoint, read as
            data.
        label_map (str | Path, optional): Names of classes, one a line.
            Defaults to None: those in the checkpoint or the config.
        device (str): Where the network runs. Defaults to ``'cpu'``.

    Returns:
        TrainedNetwork: The network.

    Raises:
        ValueError: If the config is no recognizer's, the weights do not fit
            it, or names and classes differ in number.
    """
    source = str(checkpoint)
    content = open_checkpoint(source)
    if config is None:
        config = config_of(content, source)
    name = 'the config' if isinstance(config, Config) else str(config)
    cfg = config if isinstance(config, Config) else Config.fromfile(name)
    if not isinstance(cfg.get('model'), dict) or 'type' not in cfg.model:
        raise ValueError(f'{name} is no config of a recognizer: it has no '
                         '`model` with a `type`')
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    model = MODELS.build(without_pretrained(cfg.model))
    _load_weights(model, content, source, name)
    model.to(device).eval()
    number = num_classes_of(model)
    if number is None:
        raise ValueError(f'{name}: {cfg.model.type} is no recognizer: it has '
                         'no cls_head with num_classes')
    classes = _class_names(content, source, cfg, label_map, number)
    pipeline = test_pipeline(cfg)
    return TrainedNetwork(model, pipeline, classes,
                          _identity(model, cfg.model, pipeline))


def _identity(model: BaseModel, *configs: Any) -> str:
    digest = hashlib.sha256(repr(configs).encode())
    for value in model.state_dict().values():
        digest.update(value.cpu().contiguous().view(-1).view(
            torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:8]


def _load_weights(model: BaseModel, content: dict, source: str,
                  name: str) -> None:
    weights: Any = content.get('state_dict', content)
    if not isinstance(weights, dict):
        raise ValueError(f'{source} holds no weights in `state_dict`')
    weights = {str(key).removeprefix('module.'): value
               for key, value in weights.items()
               # constants of old checkpoints; the config has them
               if not str(key).startswith('data_preprocessor.')}
    expected = {key: value for key, value in model.state_dict().items()
                if not key.startswith('data_preprocessor.')}
    if found := compare(weights, expected):
        raise ValueError(f'the weights of {source} do not fit the model of '
                         f'{name}: {found}')
    model.load_state_dict(weights, strict=False)  # all but batch counters


def _class_names(content: dict, source: str, cfg: Config,
                 label_map: str | Path | None, number: int) -> list[str]:
    if label_map is not None:
        return read_label_map(label_map, number)
    names = class_names_of(content, source)
    found = (test_set(cfg).get('metainfo') or {}).get('classes')
    if not names and isinstance(found, str) and Path(found).is_file():
        return read_label_map(found, number)
    if not names and isinstance(found, list | tuple):
        names = [str(entry) for entry in found]
    if names and len(names) != number:
        raise ValueError(f'{source}: {len(names)} names of classes, but the '
                         f'network has {number}')
    return names or [f'class {label}' for label in range(number)]


def predict_batch(model: BaseModel, samples: list[dict]) -> list[torch.Tensor]:
    """Scores of samples of equal shapes, as test.py takes them.

    Args:
        model (BaseModel): The network.
        samples (list[dict]): What the pipeline gives of each.

    Returns:
        list[Tensor]: (C,) of each.

    Raises:
        ValueError: If the head gives a score for every view.
    """
    with torch.no_grad():
        answers = model.test_step(pseudo_collate(samples))
    scores = [answer.pred_score.cpu() for answer in answers]
    if scores[0].ndim != 1:
        raise ValueError(f'the head gives scores {tuple(scores[0].shape)}: '
                         "one answer a video needs cls_head.average_clips="
                         "'prob' or 'score'")
    return scores
