"""Config texts are read as what executing them would give, or refused."""
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mmaction.apis import inference_recognizer, init_recognizer
from mmaction.apis.inferencers import ActionRecogInferencer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from respike_mmaction.checkpoints import config_of, read_config_text
from tests.conftest import ROOT
from tests.videos import write_video

UPSTREAM = Path(find_spec('mmaction').origin).parent / '.mim/configs'
CONFIGS = [
    *sorted((ROOT / 'configs/respike').glob('**/*.py')),
    # keys that are no names, a scope that is not installed
    *sorted(UPSTREAM.glob('recognition/t[in]n/*_sthv2-rgb.py')),
    *sorted(UPSTREAM.glob('recognition/timesformer/*.py')),
    *sorted(UPSTREAM.glob('recognition/tsn/custom_backbones/*.py')),
    *sorted(UPSTREAM.glob('detection/acrn/*_ava21-rgb.py')),
]
MODEL = dict(
    type='ReSpikeRecognizer', stride=4, num_frames=8,
    key_backbone=dict(
        type='MobileNetV2', widen_factor=.25, out_indices=(1, 2, 4, 6)),
    backbone=dict(type='SpikingResNet', depth=10, base_channels=32),
    cls_head=dict(
        type='CrossAttentionFusion', num_classes=3, average_clips='prob'))
PIPELINE = [
    dict(type='PyAVInit'),
    dict(type='SampleFrames', clip_len=8, num_clips=1, test_mode=True),
    dict(type='PyAVDecode'),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs')
]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_dumped_config_is_read_as_it_was(path):
    config = Config.fromfile(path)
    found = read_config_text(config.pretty_text)
    assert found.to_dict() == config.to_dict()
    assert found.pretty_text == config.pretty_text


REFUSED = {
    'call': 'import os\nos.system("touch {touched}")',
    'call in a value': 'a = open("{touched}", "w")',
    'call in a default': 'a = [__import__("os").system("touch {touched}")]',
    'function': 'def f(x=open("{touched}", "w")): pass',
    'comprehension': 'a = [open(x, "w") for x in ["{touched}"]]',
    'formatted': 'a = f"""{{open("{touched}", "w")}}"""',
    'decorated': '@exec\nclass A: pass',
    'keyword': 'a = dict(**dict(b=open("{touched}", "w")))',
    'base': "_base_ = '{folder}/evil.py'",
    'type that is a function': (
        "model = dict(type='os.system', command='touch {touched}')"),
    'type behind a module of ours': (
        "model = dict(type='respike_mmaction.compat.os.system',"
        "command='touch {touched}')"),
    'type deep inside': (
        "a = [dict(b=(1, dict(type='subprocess.check_output')))]"),
    'type that is a module': "model = dict(type='evil')",
    'type of a module to import': "model = dict(type='evil.ResNet')",
    'scope': "model = dict(type='ResNet', _scope_='evil')",
    'default scope': "default_scope = 'evil'",
    'reserved name': "filename = 'a.py'",
    'no name': 'a.b = 1',
    'two names': 'a = b = 1',
    'name': 'a = b',
    'arithmetic': 'a = 2 ** 999999999',
    'unhashable': 'a = {{[]: 1}}',
    'long number': 'a = ' + '9' * 5000,
    'deep': 'a = ' + '[' * 5000 + ']' * 5000,
    'deep signs': 'a = ' + '-' * 100000 + '1',
    'deep attributes': 'a = b' + '.c' * 100000,
    'long': '#' * 2**20 + '\na = 1',
    'references of references': "a0 = 'x'\n" + '\n'.join(
        f"a{i} = '${{{{a{i - 1}}}}}${{{{a{i - 1}}}}}'" for i in range(1, 99)),
    'zero byte': 'a = "\0"',
    'surrogate': 'a = "\ud800"',
    'no Python': 'a = (',
}


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module that must not be imported, and the file it would write."""
    touched = tmp_path / 'touched'
    for folder in (tmp_path, tmp_path / 'evil'):
        folder.mkdir(exist_ok=True)
    for name in ('evil.py', 'evil/__init__.py', 'evil/registry.py'):
        (tmp_path / name).write_text(f'open({str(touched)!r}, "w")')
    monkeypatch.syspath_prepend(tmp_path)
    yield touched
    assert not touched.exists()
    assert 'evil' not in sys.modules


@pytest.mark.parametrize('kind', REFUSED)
def test_anything_else_is_refused_by_name_and_not_executed(kind, evil):
    text = REFUSED[kind].format(touched=evil, folder=evil.parent)
    with pytest.raises(ValueError, match='^the one I found.* is refused'):
        read_config_text(text, 'the one I found')


def test_imports_in_it_are_not_made(evil):
    config = read_config_text("custom_imports = dict(imports=['evil'])")
    assert config.custom_imports.imports == ['evil']


def test_types_of_the_new_style_are_those_of_registered_classes():
    name = 'mmaction.models.ResNet'
    assert read_config_text(f'a = dict(type={name!r})').a.type == name
    with pytest.raises(ValueError, match=r'mmaction\.models\.nothing'):
        read_config_text('a = dict(type="mmaction.models.nothing")')


def test_where_the_config_is():
    meta = dict(cfg='a = 2', config='a = 3')
    hub = dict(runtime_info=dict(cfg='a = 1'))
    assert config_of(dict(meta=meta, message_hub=hub)).a == 1
    assert config_of(dict(meta=meta, message_hub=None)).a == 2
    assert config_of(dict(meta=dict(config='a = 3'))).a == 3
    with pytest.raises(ValueError, match=r'x\.pth, meta\.cfg is refused'):
        config_of(dict(meta=dict(cfg='a = b')), 'x.pth')
    for nothing in ({}, dict(meta=[]), dict(meta=dict(cfg=3)), []):
        with pytest.raises(ValueError, match='x.pth holds no config'):
            config_of(nothing, 'x.pth')


def test_json_is_read_as_ever():
    assert Config.fromstring('{"a": 1}', '.json').a == 1


# Those who read a config out of a checkpoint


def save_checkpoint(path, text, where):
    state = dict(state_dict=MODELS.build(MODEL).state_dict())
    if where == 'message_hub':
        state['message_hub'] = dict(runtime_info=dict(cfg=text))
    else:
        state['meta'] = dict(cfg=text)
    torch.save(state, path)


@pytest.mark.parametrize('where', ['meta', 'message_hub'])
def test_inferencer_without_a_model(tmp_path, where):
    config = Config(dict(
        default_scope='mmaction', model=MODEL,
        visualizer=dict(type='ActionVisualizer', vis_backends=None),
        test_dataloader=dict(dataset=dict(pipeline=PIPELINE))))
    save_checkpoint(tmp_path / 'a.pth', config.pretty_text, where)
    write_video(tmp_path / 'a.mp4')
    inferencer = ActionRecogInferencer(
        None, str(tmp_path / 'a.pth'), device='cpu')
    found = inferencer(str(tmp_path / 'a.mp4'), return_datasamples=True)
    config.test_pipeline = PIPELINE
    model = init_recognizer(config, str(tmp_path / 'a.pth'), device='cpu')
    expected = inference_recognizer(model, str(tmp_path / 'a.mp4'))
    torch.testing.assert_close(found['predictions'][0].pred_score,
                               expected.pred_score)


@pytest.mark.parametrize('where', ['meta', 'message_hub'])
@pytest.mark.parametrize('kind', ['call', 'type that is a function', 'base'])
def test_inferencer_refuses_code(tmp_path, where, kind, evil):
    text = REFUSED[kind].format(touched=evil, folder=evil.parent)
    save_checkpoint(tmp_path / 'a.pth', text, where)
    with pytest.raises(ValueError, match='is refused'):
        ActionRecogInferencer(None, str(tmp_path / 'a.pth'), device='cpu')


class Line(BaseModel):
    """One weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, mode='tensor'):
        return dict(loss=(self.weight - inputs).square().sum())


@pytest.fixture
def runner(tmp_path):
    """A training of one weight."""
    def make(name, **kwargs):
        return Runner(
            Line(), str(tmp_path / name),
            train_dataloader=dict(
                dataset=[torch.ones(1)] * 2, batch_size=1,
                sampler=dict(type='DefaultSampler', shuffle=False)),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            default_scope='mmaction',
            experiment_name=f'{tmp_path.name} {name}', **kwargs)
    return make


def test_resume_refuses_code(runner, tmp_path, evil):
    runner('first').train()
    state = torch.load(tmp_path / 'first/epoch_1.pth')
    state['meta']['config'] = 'gpu_ids = [0]'
    torch.save(state, tmp_path / 'own.pth')
    again = runner('own', load_from=str(tmp_path / 'own.pth'), resume=True)
    assert float(again.train().weight.detach()) > 0 and again.iter == 4
    state['meta']['config'] = REFUSED['call'].format(touched=evil)
    torch.save(state, tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match='is refused'):
        runner('evil', load_from=str(tmp_path / 'evil.pth'),
               resume=True).train()


@pytest.mark.parametrize('save_best', ['a', ['a', 'b']])
def test_no_best_checkpoint_of_others_is_deleted(runner, tmp_path, save_best):
    """MMEngine deletes what the resumed checkpoint names, even a folder."""
    folder = tmp_path / 'of somebody else'
    folder.mkdir()
    run = runner('work')
    own = str(tmp_path / 'work/best_b_epoch_1.pth')
    Path(own).touch()
    hub = run.message_hub
    hub.update_info('best_ckpt', str(folder))
    hub.update_info('best_ckpt_a', str(folder))
    hub.update_info('best_ckpt_b', own)
    hook = CheckpointHook(save_best=save_best, rule='greater')
    hook.before_train(run)
    hook.after_val_epoch(run, dict(a=1., b=1.))
    assert folder.is_dir()
    assert Path(own).exists() == (save_best == 'a')
    assert (tmp_path / 'work/best_a_epoch_0.pth').exists()
