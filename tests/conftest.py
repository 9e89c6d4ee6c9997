"""Fixtures shared by the whole suite."""
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

import respike_mmaction  # noqa: F401  (registers everything)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Real videos, lists and weights; tests skip where they are absent.

    ``RESPIKE_SHARED_DATA`` names the folder; the default is ``shared/data``
    beside the checkout.
    """
    path = Path(
        os.environ.get('RESPIKE_SHARED_DATA', ROOT.parent / 'shared/data'))
    if not path.is_dir():
        pytest.skip(f'real data is absent: no folder {path}')
    return path


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random state."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Models build as they do from a config, whatever a run left behind.

    Before the fixtures of a test, so that those of a module build too.
    """
    init_default_scope('mmaction')
