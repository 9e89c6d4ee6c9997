"""Every config in configs/respike: its name is true and it tests a video."""
import copy
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.optim import OptimWrapper, build_optim_wrapper

CONFIGS = sorted(  # raw frames: tests/configs/test_rawframes.py
    path for path in (Path(__file__).parents[1] /
                      'configs/respike').glob('*.py')
    if not path.stem.endswith('rawframes'))


@pytest.fixture(scope='module', params=CONFIGS, ids=lambda path: path.stem)
def config(request):
    return Config.fromfile(request.param)


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """40 frames of a wandering texture."""
    path = tmp_path_factory.mktemp('videos') / 'a.mp4'
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(
        rng.integers(0, 256, (140, 200, 3), dtype=np.uint8), (0, 0), 3)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 25,
                             (128, 96))
    for t in range(40):
        writer.write(texture[t:t + 96, t:t + 128])
    writer.release()
    return str(path)


def train_settings(config):
    return config.train_dataloader.batch_size, config.train_cfg.max_epochs


def test_name_tells_the_truth(config):
    name = Path(config.filename).stem
    gpus, batch = map(int, re.search(r'_(\d+)xb(\d+)-', name).groups())
    epochs = int(re.search(r'-(\d+)e[_-]', name)[1])
    assert train_settings(config) == (batch, epochs)
    assert config.auto_scale_lr.base_batch_size == gpus * batch
    clip_len, interval, clips = map(
        int, re.search(r'-(\d+)x(\d+)x(\d+)-', name).groups())
    sampling = next(t for t in config.train_pipeline
                    if t.type in ('SampleFrames', 'UniformSample'))
    assert sampling.get('clip_len', 1) == clip_len
    assert sampling.get('frame_interval', 1) == interval
    assert sampling.get('num_clips', 1) == clips
    stride = re.search(r'-s(\d)-', name)
    if stride:
        strides = {t.stride for p in ('train', 'val', 'test')
                   for t in config[f'{p}_pipeline']
                   if t.type == 'ResidualFrameTransform'}
        assert strides <= {int(stride[1])}  # none: split on the device
        assert config.model.get('stride', int(stride[1])) == int(stride[1])


def test_dataloaders_use_the_pipelines_and_the_resilient_dataset(config):
    for phase in ('train', 'val', 'test'):
        dataset = config[f'{phase}_dataloader'].dataset
        assert dataset.type == 'ResilientVideoDataset'
        assert dataset.pipeline == config[f'{phase}_pipeline']
        assert dataset.num_classes == config.model.cls_head.num_classes
    assert config.default_scope == 'mmaction'
    assert 'respike_mmaction' in config.custom_imports['imports']


def without_weights(model):
    model = model.to_dict()
    for part in ('backbone', 'key_backbone'):
        model.get(part, {}).pop('pretrained', None)
    return model


def small(inputs):
    """The middle 64 x 64 pixels: the parts fit or do not at any size."""
    if isinstance(inputs, dict):
        return {k: small(v) for k, v in inputs.items()}
    if isinstance(inputs, list):
        return [small(v) for v in inputs]
    h, w = inputs.shape[-2:]
    a, b = (h - 64) // 2, (w - 64) // 2
    return inputs[..., a:a + 64, b:b + 64]


def item(pipeline, video, label=0):
    return Compose(pipeline)(
        dict(filename=video, label=label, start_index=0, modality='RGB'))


def batch(pipeline, video, label):
    """A batch of one video, as the data loader gives it."""
    data = pseudo_collate([item(pipeline, video, label)])
    return dict(data, inputs=small(data['inputs']))


def views_of(inputs, views):
    """The inputs of every view by itself."""
    if not isinstance(inputs, dict):
        return [inputs]
    return [{k: [x[i:i + 1] for x in v] for k, v in inputs.items()}
            for i in range(views)]


def crops(config):
    return Path(config.filename).stem.endswith('crops')


def test_a_test_step(config, video):
    """Real frames through the test pipeline and the model of full size."""
    views = 30 if crops(config) else 1
    model = MODELS.build(without_weights(config.model))
    model.eval()
    data = batch(config.test_pipeline, video, 0)
    frames = data['inputs']
    if isinstance(frames, dict):
        assert {len(v) for v in frames['key_frames']} == {views}
    model.test_cfg = dict(max_testing_views=8)
    if model.__class__.__name__ != 'ReSpikeRecognizer':
        model.test_cfg = None
    with torch.no_grad():
        sample, = model.test_step(data)
        one_by_one = [
            model.test_step(dict(data, inputs=view))[0].pred_score
            for view in views_of(frames, views)
        ]
    num_classes = config.model.cls_head.num_classes
    assert sample.pred_score.shape == (num_classes, )
    torch.testing.assert_close(sample.pred_score.sum(), torch.tensor(1.))
    assert len(one_by_one) == views
    if views > 1:  # the views differ by more than the bound below
        assert torch.stack(one_by_one).std(0).max() > 1e-4
    torch.testing.assert_close(
        sample.pred_score, torch.stack(one_by_one).mean(0), rtol=1e-3,
        atol=1e-5)


def test_amp_goes_off_by_one_option(config):
    changed = Config(dict(optim_wrapper=config.optim_wrapper.to_dict()))
    changed.merge_from_dict({'optim_wrapper.type': 'OptimWrapper'})
    model = torch.nn.Linear(1, 1)
    built = build_optim_wrapper(model, changed.optim_wrapper)
    assert type(built) is OptimWrapper
    built.update_params(model(torch.ones(1, 1)).sum())


def test_a_clip_is_written_once(config, video):
    """Frames, groups, size and classes change in one place for all parts."""
    config = copy.deepcopy(config)
    spread = 'frame_interval' not in config.clip  # over the video
    config.merge_from_dict({
        'clip.num_frames': 12, 'clip.stride': 3, 'clip.size': 64,
        'num_classes': 7, 'data_root': 'elsewhere/',
        **({'clip.short_side': 72} if spread else {'clip.frame_interval': 3})})
    model = config.model
    assert model.cls_head.num_classes == 7
    if model.type == 'ReSpikeRecognizer':
        assert (model.stride, model.num_frames) == (3, 12)
        assert model.data_preprocessor.get('num_frames', 12) == 12
    elif model.backbone.type == 'SpikingResNet':
        assert model.backbone.num_steps == 12
    for phase in ('train', 'val', 'test'):
        dataset = config[f'{phase}_dataloader'].dataset
        assert dataset.num_classes == 7
        assert dataset.ann_file.startswith('elsewhere/')
        assert dataset.data_prefix.video.startswith('elsewhere/')
        assert dataset.pipeline == config[f'{phase}_pipeline']
        sampling = dataset.pipeline[1]
        assert sampling.get('frame_interval', 1) == (1 if spread else 3)
        inputs = item(dataset.pipeline, video)['inputs']
        if phase == 'test' and crops(config):
            views, size = 30, 72 if spread else 64
        else:
            views, size = 1, 64
        if isinstance(inputs, dict):
            assert inputs['key_frames'].shape == (views, 4, 3, size, size)
            assert inputs['residual_frames'].shape == (
                views, 4, 2, 3, size, size)
        else:  # all frames, or the residual ones
            number = 8 if 'residual-' in config.filename else 12
            assert inputs.shape == (number, 3, size, size)
