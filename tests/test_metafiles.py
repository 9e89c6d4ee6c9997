"""Configs are found by name, and the metafiles tell what is in them."""
import pytest
import yaml
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config

import respike_mmaction.extension_points as points
from respike_mmaction.energy.network import without_pretrained
from tests.scripts import load_script

DEMO = ('respike/respike_mobilenetv2-sr10_1xb16-8x2x1-s4-8e_motion8-rgb.py')


@pytest.fixture(scope='module')
def models(root):
    index = yaml.safe_load((root / 'model-index.yml').read_text())
    return [model for path in index['Import'] for model in
            yaml.safe_load((root / path).read_text())['Models']]


def test_every_config_has_an_entry(models, root):
    paths = [p.relative_to(root).as_posix() for folder in ('', 'small/')
             for p in (root / 'configs/respike').glob(f'{folder}*.py')]
    assert sorted(m['Config'] for m in models) == sorted(paths)
    assert len({m['Name'] for m in models}) == len(models)


def test_entries_are_those_of_the_configs(models, root, monkeypatch):
    monkeypatch.setenv('RESNET18', 'r18.pth')
    results = load_script('make_metafiles').results
    for model in models:
        cfg = Config.fromfile(root / model['Config'])
        number = sum(p.numel() for p in MODELS.build(
            without_pretrained(cfg.model)).parameters())
        found = model['Metadata']
        assert found['Parameters'] == f'{number / 1e6:.2f}M', model['Name']
        assert found['Epochs'] == cfg.train_cfg.max_epochs, model['Name']
        assert model['Results'] == results(
            model['Name'], found['Epochs']), model['Name']


def test_only_small_sets_were_trained_on(models):
    trained = [model['Name'] for model in models
               if model['Results'][0]['Metrics'] != 'not trained']
    assert {'recipe-plus', 'lite', 'key-only', 'faithful'} <= {*trained}
    assert not any('hmdb51' in n or 'kinetics' in n or 'ucf101-rgb' in n
                   for n in trained)


@pytest.mark.parametrize('ending', ['.py', ''])
def test_configs_of_ours_are_bases_by_name(root, tmp_path, ending):
    name = f'respike_mmaction::{DEMO.removesuffix(".py")}{ending}'
    (tmp_path / 'child.py').write_text(
        f"_base_ = '{name}'\ntrain_cfg = dict(max_epochs=3)\n")
    expected = Config.fromfile(root / 'configs' / DEMO)
    found = Config.fromfile(tmp_path / 'child.py')
    assert found.train_cfg.max_epochs == 3
    assert found.model == expected.model
    assert get_config(name).model == expected.model
    assert '_scope_' not in str(found.model)


def test_a_wrong_name_is_told_with_those_near(tmp_path):
    (tmp_path / 'child.py').write_text(
        "_base_ = 'respike_mmaction::respike/small/respikes.py'\n")
    with pytest.raises(FileNotFoundError, match='respikes.*near are '
                       r".*'respike/small/respike.py'"):
        Config.fromfile(tmp_path / 'child.py')


def test_bases_of_others_are_found_as_before(tmp_path):
    (tmp_path / 'child.py').write_text(
        "_base_ = 'mmaction::_base_/default_runtime.py'\n")
    assert Config.fromfile(tmp_path / 'child.py').default_scope == 'mmaction'
    points.mend_config_scope()  # a second time
    assert Config.fromfile(tmp_path / 'child.py').default_scope == 'mmaction'
