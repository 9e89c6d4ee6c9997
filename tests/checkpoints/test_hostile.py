"""No hostile checkpoint does harm where one is loaded in this process.

tests/stress/hostile_checkpoints.py tries them on every script as well.
"""
import sys
from pathlib import Path

import pytest
import torch
from mmaction.apis import init_recognizer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from respike_mmaction.apis import load_trained
from respike_mmaction.checkpoints import config_of, publish
from respike_mmaction.checkpoints.published import read_state_dict
from tests.checkpoints import hostile
from tests.checkpoints.test_config_text import MODEL, PIPELINE

ENTRIES = dict(
    init_recognizer=lambda path: init_recognizer(
        Config(dict(model=MODEL)), path, device='cpu'),
    load_checkpoint=lambda path: load_checkpoint(
        torch.nn.Linear(2, 1), path, map_location='cpu'),
    read_state_dict=read_state_dict,
    config_of=lambda path: config_of(torch.load(path)),
    predict=lambda path: load_trained(path, Config(dict(
        model=MODEL, test_pipeline=PIPELINE))),
    predict_without_config=load_trained,
    publish=lambda path: publish(path, Path(path).parent / 'out/a.pth'),
)


@pytest.fixture(scope='module')
def good():
    return dict(state_dict=MODELS.build(MODEL).state_dict(), meta={})


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('hostile')


@pytest.fixture(scope='module')
def paths(folder, good):
    return hostile.write(good, folder / 'touched', folder)


@pytest.mark.parametrize('entry', ENTRIES)
def test_nothing_is_called(entry, paths, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    refused = []
    for kind, path in paths.items():
        try:
            ENTRIES[entry](str(path))
        except Exception:
            refused.append(kind)
        assert not (folder / 'touched').exists(), kind
        assert 'evil' not in sys.modules, kind
    for kind in paths:
        if kind.startswith('pickle') or kind == 'half':
            assert kind in refused
    if entry == 'config_of':
        assert set(paths) - set(refused) == {'config custom_imports'}
    assert len(paths) >= 40


def test_the_converter_names_the_file(paths):
    for path in paths.values():
        try:
            read_state_dict(str(path))
        except ValueError as error:
            assert str(path) in str(error)
