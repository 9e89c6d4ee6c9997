"""Checkpoints to hand on: weights, config, names of classes, and a hash."""
import hashlib
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from .config_text import config_of
from .files import PARTIAL, write_whole

# MMAction2's way to name what it publishes; torch.hub reads the hash, too
_PUBLISHED = re.compile(r'_\d{8}-([0-9a-f]{8})\.pth')
_MACHINE = 'work_dir', 'load_from', 'resume'  # of no use to others
_LONGEST_NAME = 200  # characters


def publish(checkpoint: str | Path,
            out: str | Path,
            config: Config | None = None,
            classes: Sequence[str] | None = None) -> Path:
    """Write what others need of a checkpoint, under a name with its hash.

    Of a run with ``EMAHook`` the averaged weights are published: that hook
    stores them as ``state_dict``, and those of the optimizer, which are left
    out here, as ``ema_state_dict``.

    Args:
        checkpoint (str | Path): Of a training.
        out (str | Path): ``NAME.pth``, of which ``NAME_DATE-HASH.pth`` is
            made.
        config (Config, optional): Its config. Defaults to None: the one in
            the checkpoint, read as data.
        classes (Sequence[str], optional): Names of the classes. Defaults to
            None: those in the checkpoint, if there are any.

    Returns:
        Path: The file that was written.

    Raises:
        ValueError: If the checkpoint has no weights or no config, a value is
            not finite, or the names are not those of the classes.
    """
    source = str(checkpoint)
    content = open_checkpoint(source)
    weights = content.get('state_dict')
    if not isinstance(weights, dict) or not weights or not all(
            isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError(f'{source} holds no weights: allowed is a checkpoint '
                         'of MMEngine, with tensors in `state_dict`')
    broken = [name for name, value in weights.items()
              if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(f'{source} is not published: {broken[:5]} are not '
                         'finite')
    config = config or config_of(content, source)
    values = {key: value for key, value in config.to_dict().items()
              if key not in _MACHINE}
    names = list(classes) if classes else class_names_of(content, source)
    number = (values.get('model') or {}).get('cls_head', {}).get('num_classes')
    if names and number not in (None, len(names)):
        raise ValueError(f'{len(names)} names of classes do not fit '
                         f'model.cls_head.num_classes={number}')
    meta: dict[str, Any] = dict(cfg=Config(values).pretty_text)
    if names:
        meta['dataset_meta'] = dict(classes=names)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f'{out.name}{PARTIAL}')  # the name holds the hash
    write_whole(lambda path: torch.save(
        dict(meta=meta, state_dict=weights), path), part)
    target = out.with_name(f'{out.name.removesuffix(".pth")}_'
                           f'{date.today():%Y%m%d}-{file_hash(part)}.pth')
    part.replace(target)
    return target


def open_checkpoint(path: str) -> dict:
    """Load a checkpoint, weights only, and check the hash in its name.

    Args:
        path (str): File, or what else MMEngine loads (``https://...``).

    Returns:
        dict: What it holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read without calling code, is no dict, or
            its name is a published one and holds another hash.
    """
    found = _PUBLISHED.search(Path(path).name)
    if found and Path(path).is_file() and file_hash(path) != found[1]:
        raise ValueError(f'{path} is damaged or was changed: its hash is '
                         f'{file_hash(path)}, its name says {found[1]}')
    try:
        content = CheckpointLoader.load_checkpoint(path, map_location='cpu',
                                                   logger='silent')
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged ones raise whatever they hit upon
        reason = str(error).strip().split('\n')[0][:200]
        raise ValueError(
            f'{path} is no checkpoint that can be read: allowed is a file of '
            'torch.save with tensors and plain values '
            f'({type(error).__name__}: {reason})') from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} is no checkpoint: it holds a '
                         f'{type(content).__name__}, allowed is a dict')
    return content


def class_names_of(content: dict, source: str) -> list[str]:
    """The names of classes in a checkpoint; empty where it holds none.

    Args:
        content (dict): What :func:`open_checkpoint` gives.
        source (str): Its name, for errors.

    Returns:
        list[str]: Names in the order of the labels.

    Raises:
        ValueError: If they are no printable texts.
    """
    meta = content.get('meta')
    dataset = meta.get('dataset_meta') if isinstance(meta, dict) else None
    names = dataset.get('classes') if isinstance(dataset, dict) else None
    if names is None:
        return []
    if not isinstance(names, list | tuple) or not all(
            isinstance(name, str) and name.isprintable()
            and 0 < len(name) < _LONGEST_NAME for name in names):
        raise ValueError(f'{source}: meta.dataset_meta.classes is refused: '
                         'allowed is a list of printable names')
    return list(names)


def file_hash(path: str | Path) -> str:
    """The first eight digits of the SHA-256 of a file.

    Args:
        path (str | Path): The file.

    Returns:
        str: Hexadecimal digits.
    """
    with open(path, 'rb') as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:8]
