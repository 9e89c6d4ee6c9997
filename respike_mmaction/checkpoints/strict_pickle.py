"""Pickle files, of which nothing is called but what makes plain values."""
import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch


def read_dump(path: str | Path) -> list[dict]:
    """Read the predictions that ``test.py --dump`` writes.

    Args:
        path (str | Path): The file.

    Returns:
        list[dict]: One of each video, with ``pred_score`` (C,) and
        ``gt_label``, tensors.

    Raises:
        ValueError: If the file holds anything else.
    """
    with open(path, 'rb') as file:
        samples = read_pickle(file, source=str(path))
    keys = 'pred_score', 'gt_label'
    if not isinstance(samples, list) or not samples or not all(
            isinstance(sample, dict)
            and all(isinstance(sample.get(key), torch.Tensor)
                    and sample[key].numel() for key in keys)
            and sample['pred_score'].shape == samples[0]['pred_score'].shape
            and sample['pred_score'].ndim == 1
            for sample in samples):
        raise ValueError(f'{path} is no dump of test.py: allowed is a list '
                         f'of dicts with tensors {keys}, of equal sizes')
    return samples


def read_pickle(file: BinaryIO, source: str = 'the pickle file',
                **kwargs: Any) -> Any:
    """Unpickle tensors, arrays and plain values; refuse all else.

    Python's own ``pickle.load`` calls whatever a file names.

    Args:
        file (BinaryIO): Where to read.
        source (str): Its name, for errors. Defaults to
            ``'the pickle file'``.
        **kwargs: Arguments of ``pickle.load``, such as ``encoding``.

    Returns:
        Any: The content.

    Raises:
        ValueError: If the file is damaged or names anything else.
    """
    try:
        return _Unpickler(file, **kwargs).load()
    except Exception as error:  # damaged ones raise whatever they hit upon
        raise ValueError(
            f'{source} is refused: {type(error).__name__}: {error}. Allowed '
            'is a pickle of tensors, numpy arrays and plain values (dict, '
            'list, tuple, set, str, numbers)') from error


def _load_from_bytes(content: bytes) -> Any:
    """A storage; ``torch.storage._load_from_bytes`` would run any pickle."""
    return torch.load(io.BytesIO(content), map_location='cpu',
                      weights_only=True)


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes; other codecs may unpack bombs."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'codec {encoding!r}')
    return text.encode(encoding)


def _no_bytes() -> bytes:
    """How protocol 2 writes b''; ``bytes`` itself takes a size."""
    return b''


def _allowed() -> dict[str, Any]:
    core = np._core if hasattr(np, '_core') else np.core  # numpy 2, numpy 1
    allowed = {
        '_codecs.encode': _encode,
        'collections.OrderedDict': OrderedDict,
        'numpy.dtype': np.dtype,
        'numpy.ndarray': np.ndarray,
        'torch.Size': torch.Size,
        'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
        'torch.device': torch.device,
        'torch.storage._load_from_bytes': _load_from_bytes,
    }
    for module in ('numpy.core', 'numpy._core'):
        for part, name in (('multiarray', '_reconstruct'),
                           ('multiarray', 'scalar'),
                           ('numeric', '_frombuffer')):
            allowed[f'{module}.{part}.{name}'] = getattr(
                getattr(core, part), name)
    for module in ('builtins', '__builtin__'):  # Python 3, Python 2
        allowed[f'{module}.bytes'] = _no_bytes
        for kind in (set, frozenset, complex):
            allowed[f'{module}.{kind.__name__}'] = kind
    return allowed


_ALLOWED = _allowed()


# The one in C makes room for whatever number of objects a file announces.
_Plain: Any = pickle._Unpickler


class _Unpickler(_Plain):
    """Finds what makes plain values."""

    dispatch = dict(_Plain.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        if f'{module}.{name}' in _ALLOWED:
            return _ALLOWED[f'{module}.{name}']
        if module == 'torch':  # torch.float32 ...
            found = getattr(torch, name, None)
            if isinstance(found, torch.dtype):
                return found
        raise pickle.UnpicklingError(f'{module}.{name}')

    def load_build(self) -> None:
        """Give an array or a dtype its state; functions have none."""
        owner = self.stack[-2]
        if not isinstance(owner, np.ndarray | np.dtype | OrderedDict):
            raise pickle.UnpicklingError(f'state of {type(owner).__name__}')
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build
