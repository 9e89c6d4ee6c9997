"""Configs, weights and inputs that the recognizer refuses, and why."""
import pytest
import torch
from mmaction.registry import MODELS

from tests.models.recognizers.small_respike import (
    build,
    clip,
    config,
    packed,
    step,
)


def test_too_small_frames_are_refused():
    model = build()
    with pytest.raises(ValueError, match='40 x 31.*at least 32'):
        model(torch.zeros(1, 8, 3, 40, 31))


@pytest.mark.parametrize('kwargs, message', [
    (dict(num_frames=10), 'num_frames=10 is not allowed with stride=4'),
    (dict(stride=1), 'stride=1 is not allowed'),
    (dict(backbone=dict(num_steps=2)), 'num_steps=2.*stride=4.*3'),
    (dict(head=dict(in_channels=512)), r'in_channels=512 .*together 1536'),
    (dict(head=dict(key_channels=(1, 2))), r'key_channels=\(1, 2\)'),
    (dict(head=dict(key_channels=(16, 24, 32, 64))),
     r'key_channels=\(16, 24, 32, 64\).*\(8, 8, 16, 1280\)'),
    (dict(head=dict(spiking_channels=(64, 128, 256, 512))),
     r'spiking_channels=\(64, 128, .*\(32, 64, 128, 256\)'),
    (dict(head=dict(spiking_channels=None)), 'spiking_channels=None'),
    (dict(backbone=dict(base_channels=16)),
     r'spiking_channels=\(16, .*multiple of 32'),
    (dict(backbone=dict(base_channels=8), head=dict(downsample=False)),
     r'spiking_channels=\(8, .*multiple of 32'),
    (dict(head=dict(head_channels=0)), 'head_channels=0.*positive integer'),
    (dict(head=dict(num_classes=None)), 'num_classes=None.*positive integer'),
    # what clip_feature_extraction.py and the like put there
    (dict(head=dict(type='FeatureHead')),
     r"FeatureHead is not .*cls_head\.fusions.*mode='tensor'"),
    (dict(keys=dict(type='ResNet', depth=18)),
     r'ResNet returns 1 map\(s\).*out_indices'),
    (dict(keys=dict(type='ResNetTSM', depth=18, num_segments=8,
                    out_indices=(0, 1, 2, 3))),
     'num_segments=8.* 2 key frames'),
    (dict(keys=dict(type='ResNetTSM', depth=18, num_segments=2,
                    temporal_pool=True, out_indices=(0, 1, 2, 3))),
     r'ResNetTSM returns a map of shape \(1, .*2 key frames'),
    (dict(keys=dict(type='ResNet3d', depth=18, pretrained=None,
                    inflate=((0, 0), ) * 4, out_indices=(0, 1, 2, 3))),
     r'ResNet3d does not read frames of shape \(2, 3, 64, 64\)'),
    (dict(backbone=dict(out_indices=(0, 3))),
     r'out_indices=\(0, 3\) of the spiking backbone'),
    (dict(test_cfg=dict(max_testing_views=0)), 'max_testing_views=0'),
    (dict(test_cfg=dict(max_testing_views=-1)), 'max_testing_views=-1'),
    (dict(test_cfg=dict(max_testing_views='all')), "max_testing_views='all'"),
    (dict(backbone=dict(neuron=dict(type='Izhikevich'))),
     'Izhikevich.*LIFNeuron|LIFNeuron.*Izhikevich'),
    (dict(backbone=dict(neuron=dict(type='LIFNeuron',
                                    surrogate=dict(type='Step')))),
     'Step.*ATan|ATan.*Step'),
])
def test_refused_when_built(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_inputs_that_do_not_fit_are_refused():
    model = build()
    data = model.data_preprocessor(packed([clip(1)]), False)
    inputs = data['inputs']
    with pytest.raises(ValueError, match="no 'key_frames'.*PackActionInputs"):
        model(dict(residual_frames=inputs['residual_frames']))
    with pytest.raises(ValueError, match='residual_frames of shape.*stride=4'):
        model(dict(inputs,
                   residual_frames=inputs['residual_frames'][:, :, :, :2]))
    with pytest.raises(ValueError, match='key_frames of shape.*num_frames=8'):
        model(dict(inputs, key_frames=inputs['key_frames'][:, :, :1]))
    with pytest.raises(ValueError, match=r'key_frames of shape \(2, 3, 48'):
        model(dict(inputs, key_frames=inputs['key_frames'][0, 0]))
    with pytest.raises(ValueError, match=r'\(1, 12, 3, 48, 48\).*=8'):
        model(torch.zeros(1, 12, 3, 48, 48))
    with pytest.raises(ValueError, match='2 views of 1 videos in training'):
        step(model, [clip(2)])


def test_pretrained_weights_that_do_not_fit_are_refused(tmp_path):
    keys = dict(type='ResNet', depth=18, out_indices=(0, 1, 2, 3))
    path = tmp_path / 'weights.pth'
    torch.save({'conv1.weight': torch.zeros(64, 3, 3, 3)}, path)
    model = MODELS.build(config(keys=dict(keys, pretrained=str(path))))
    with pytest.raises(ValueError, match=f'{path}.*conv1.weight'):
        model.init_weights()


def test_parts_that_blend_apart_are_refused():
    """Each of two preprocessors would draw another video for its branch."""
    mixup = dict(type='MixupBlending', num_classes=5)
    for branch in ('key_frames', 'residual_frames'):
        cfg = config()
        cfg['data_preprocessor']['preprocessors'][branch]['blending'] = mixup
        with pytest.raises(
                ValueError,
                match=f'MixupBlending of MultiModalDataPreprocessor.'
                f'preprocessors.{branch}.*ReSpikeDataPreprocessor'):
            MODELS.build(cfg)


def test_a_stage_that_there_is_not_cannot_be_fused():
    with pytest.raises(ValueError, match=r'fused_stages=\(4,\).*0, 1, 2, 3'):
        build(head=dict(fused_stages=(4, )))
