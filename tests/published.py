"""Weights and input of the golden runs, made again from their two rules.

The rules are those of ``tests/data/README.md``.
"""
import json
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / 'data'
GOLDEN = ('resnet18_down1_s4_T8_96', 'resnet18_down0_s2_T4_96',
          'resnet50_down1_s2_T4_128')


def golden(name):
    """The recorded run."""
    return json.loads((DATA / f'{name}.json').read_text())


def _weight(name, shape):
    rs = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith('num_batches_tracked'):
        return np.zeros(shape, dtype=np.int64)
    if name.endswith('running_var'):
        return 0.5 + rs.rand(*shape)
    if name.endswith('running_mean'):
        return 0.1 * rs.randn(*shape)
    if len(shape) == 1:
        is_weight = name.endswith('weight')
        if name.startswith('ann_'):
            return (0.5 if is_weight else 0.0) + 0.1 * rs.randn(*shape)
        return (1.0 if is_weight else 0.2) + 0.2 * rs.randn(*shape)
    return rs.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))


def state_dict(run):
    """Published names and float64 tensors of a run."""
    return {
        name: torch.as_tensor(_weight(name, shape))
        for name, shape in run['state_dict_shapes'].items()
    }


def frames(run):
    """Normalised frames (batch, T, C, H, W), float64."""
    rs = np.random.RandomState(run['seed'])
    x = rs.randn(run['batch'], run['T'], 3, run['size'], run['size'])
    x[:, 1:] *= 0.5
    return torch.from_numpy(np.cumsum(x, axis=1))
