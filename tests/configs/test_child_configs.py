"""Configs that users derive from ours, as they were and as they can be."""
import copy

import pytest
import torch
from mmaction.apis import inference_recognizer, init_recognizer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner

from tests.videos import write_video

# a child of an earlier version of the demo: everything typed again
LITERAL = """
model = dict(
    stride=2,
    cls_head=dict(num_classes=5),
    data_preprocessor=dict(
        type='MultiModalDataPreprocessor',
        preprocessors=dict(
            key_frames=dict(
                type='ActionDataPreprocessor', mean=[120., 120., 120.],
                std=[50., 50., 50.]),
            residual_frames=dict(
                type='ActionDataPreprocessor', mean=[0., 0., 0.],
                std=[50., 50., 50.]))))
pipeline = [
    dict(type='VideoInit', decoder='{{$RESPIKE_DECODER:auto}}'),
    dict(type='SampleFrames', clip_len=8, frame_interval=1, num_clips=1),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='ResidualFrameTransform', stride=2, num_frames=8),
    dict(
        type='PackActionInputs',
        collect_keys=('key_frames', 'residual_frames'))
]
data = dict(
    ann_file='FOLDER/list.txt', data_prefix=dict(video='FOLDER'),
    num_classes=5, pipeline=pipeline)
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = val_dataloader
test_pipeline = pipeline
train_cfg = dict(max_epochs=1, val_interval=1)
param_scheduler = None
custom_hooks = [dict(type='SkippedVideosHook')]
"""

# the same by the values that stand once in it
LINKED = """
clip = dict(stride=2, frame_interval=1, size=32)
num_classes = 5
ann_file_train = ann_file_val = 'FOLDER/list.txt'
data_prefix = dict(video='FOLDER')
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
"""


@pytest.fixture()
def child(root, tmp_path, monkeypatch):
    """Write a child of the demo's config for a folder with two videos."""
    monkeypatch.setattr('mmengine.config.config.FormatCode',
                        lambda text, **kwargs: (text, True))  # slow
    for i in range(2):
        write_video(tmp_path / f'{i}.mp4', num_frames=12, size=(48, 32))
    (tmp_path / 'list.txt').write_text('0.mp4 0\n1.mp4 4\n')
    base, = (root / 'configs/respike').glob('*_motion8-rgb.py')

    def write(text):
        path = tmp_path / 'child.py'
        path.write_text(f"_base_ = '{base}'\n" +
                        text.replace('FOLDER', str(tmp_path)))
        return path

    return write


def test_a_child_of_earlier_versions_trains(child, tmp_path):
    """Its literals win, the recipe's clip (stride 4) is not asked."""
    cfg = Config.fromfile(child(LITERAL))
    assert cfg.clip.stride == 4 and cfg.model.stride == 2
    cfg.work_dir = str(tmp_path / 'work')
    cfg.visualizer = dict(type='Visualizer', vis_backends=[])
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 1
    frames = torch.zeros(1, 1, 4, 3, 32, 32, dtype=torch.uint8)
    inputs = runner.model.data_preprocessor(
        dict(inputs=dict(key_frames=[frames[0]],
                         residual_frames=[frames.unsqueeze(3).int()[0]]),
             data_samples=[]))['inputs']
    assert (inputs['key_frames'] == -120 / 50).all()  # its own mean and std
    log, = (tmp_path / 'work').glob('*/*.log')
    assert log.read_text().count('skipped after epoch 1') == 1


@pytest.mark.parametrize('dumped', [False, True])
def test_a_linked_child_predicts(child, tmp_path, dumped):
    path = child(LINKED)
    if dumped:
        path = tmp_path / 'dumped.py'
        Config.fromfile(tmp_path / 'child.py').dump(path)
    model = init_recognizer(str(path), device='cpu')
    assert (model.stride, model.num_groups) == (2, 4)
    assert model.cls_head.num_classes == 5
    seen = []
    model.key_backbone.register_forward_pre_hook(
        lambda module, args: seen.append(tuple(args[0].shape)))
    result = inference_recognizer(model, str(tmp_path / '0.mp4'))
    assert seen == [(4, 3, 32, 32)] and result.pred_score.shape == (5, )


def test_a_linked_child_is_what_the_literal_one_says(child):
    linked = Config.fromfile(child(LINKED))
    literal = Config.fromfile(child(LITERAL))
    for phase in ('train', 'val', 'test'):
        ours, theirs = (cfg[f'{phase}_dataloader'].dataset
                        for cfg in (linked, literal))
        assert ours.ann_file == theirs.ann_file
        assert ours.data_prefix == theirs.data_prefix
        assert ours.num_classes == theirs.num_classes == 5
        steps = {step.type: dict(step) for step in ours.pipeline}
        for step in theirs.pipeline:
            step = dict(step)
            step.pop('decoder', None)
            if phase == 'train' or step['type'] != 'SampleFrames':
                assert steps[step['type']] == step
    assert linked.model.stride == literal.model.stride


def test_one_stride_for_a_key_branch_that_counts_frames(root):
    """ResNetTSM gets its num_segments from the recognizer."""
    path, = (root / 'configs/respike').glob('*tsm-r50*kinetics400-rgb.py')
    cfg = Config.fromfile(path).model
    cfg.key_backbone.update(depth=18, pretrained=None, pretrained2d=False)
    cfg.backbone.update(depth=10, base_channels=32)
    for stride in (2, 4):
        model = MODELS.build(dict(copy.deepcopy(cfg), stride=stride))
        assert model.key_backbone.num_segments == 16 // stride
