"""What the pages show can be done: their Python runs, their commands exist."""
import re
import runpy
import shlex
import sys

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS, TRANSFORMS
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from tests.apis.networks import MODEL
from tests.apis.test_stream import frames_of
from tests.conftest import ROOT
from tests.stress import command_blocks
from tests.stress.command_blocks import PAGES


def blocks(page, language):
    return re.findall(rf'```{language}\n(.*?)```', page.read_text(), re.S)


EXTENDING = blocks(ROOT / 'docs/extending.md', 'python')


def run_block(block):
    found = {'__name__': 'mine'}
    exec(block, found)
    assert len(block.strip().splitlines()) <= 32
    return found


def test_a_transform_of_ones_own():
    *_, cfg = run_block(EXTENDING[-1])['train_pipeline']
    results = dict(imgs=np.random.randint(0, 256, (800, 3, 2, 2), np.uint8))
    split = TRANSFORMS.build(dict(type='ResidualFrameTransform', stride=4,
                                  num_frames=8))(results)
    before = split['residual_frames'].copy()
    after = TRANSFORMS.build(cfg)(split)['residual_frames']
    still = (after == 0).all((2, 3, 4, 5))
    assert 20 < still.sum() < 60  # of 200 groups
    np.testing.assert_array_equal(after[~still], before[~still])


@pytest.mark.parametrize('block', EXTENDING[:-1])
def test_a_part_of_ones_own_learns(block):
    found = run_block(block)
    model = MODELS.build(Config._merge_a_into_b(found['model'], MODEL))
    sample = ActionDataSample().set_gt_label(1)
    data = model.data_preprocessor(
        dict(inputs=[frames_of(8, size=64)[0]], data_samples=[sample]), True)
    loss = model.train()(**data, mode='loss')['loss_cls']
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert torch.isfinite(loss) and len(gradients) > 20
    stem = model.backbone.conv1.weight.grad
    assert stem is not None and stem.abs().sum() > 0


def commands():
    """Every ``python tools/...`` of a page: the script and its options."""
    found = {}
    for page in PAGES:
        for block in blocks(page, 'bash'):
            for line in block.replace('\\\n', ' ').splitlines():
                words = shlex.split(line, comments=True)
                for i, word in enumerate(words):
                    if word.startswith('tools/') and word.endswith('.py'):
                        options = [w.partition('=')[0] for w in words[i + 1:]
                                   if w.startswith('--')]
                        found.setdefault(word, set()).update(options)
    return found


COMMANDS = commands()


def test_the_pages_show_commands():
    assert len(COMMANDS) > 15


@pytest.mark.parametrize('script', sorted(COMMANDS))
def test_commands_exist_with_their_options(script, capsys, monkeypatch):
    assert (ROOT / script).is_file()
    if script == 'tools/upstream.py':
        return  # options of another's script
    monkeypatch.setattr(sys, 'argv', [script, '--help'])
    monkeypatch.syspath_prepend(str((ROOT / script).parent))
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / script), run_name='__main__')
    text = capsys.readouterr().out
    assert 'usage:' in text
    for option in COMMANDS[script]:
        assert re.search(rf'{option}\b', text), option


def test_what_is_not_run_is_shown():
    """``tests/stress/command_blocks.py`` runs all commands but these."""
    shown = [command for _, command in command_blocks.commands()]
    assert len(shown) > 30
    for pattern in command_blocks.WHY_NOT:
        assert any(re.search(pattern, command) for command in shown), pattern
    for pattern, old, _ in command_blocks.CHANGES:
        assert any(re.search(pattern, command) and re.search(old, command)
                   for command in shown), pattern


def test_shell_scripts_of_the_pages_exist():
    for page in PAGES:
        for block in blocks(page, 'bash'):
            for script in re.findall(r'bash (tools/\S+\.sh)', block):
                assert (ROOT / script).is_file()


def test_readme_is_short():
    assert len((ROOT / 'README.md').read_text().split()) <= 800
