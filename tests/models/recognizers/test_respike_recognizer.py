import copy

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.dataset import Compose

from tests.models.recognizers.small_respike import (
    MEAN,
    STD,
    awaken,
    build,
    clip,
    config,
    packed,
    scores,
    step,
)


@pytest.mark.parametrize('stride', [2, 4])
@pytest.mark.parametrize('downsample', [True, False])
def test_both_ways_of_splitting_agree(stride, downsample):
    """uint8 split in the pipeline, float split on the device: float64."""
    model = build(stride=stride, head=dict(downsample=downsample)).double()
    model.eval()
    frames = clip(2)
    by_pipeline = scores(model, [frames], stride=stride)[0]
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1)
                 for v in (MEAN, STD))
    x = (torch.from_numpy(frames) - mean) / std
    with torch.no_grad():
        sample, = model(x[None], [ActionDataSample()], mode='predict')
    torch.testing.assert_close(sample.pred_score, by_pipeline, rtol=1e-9,
                               atol=1e-12)


def spikes_of(model):
    """List that fills with the spikes of every neuron layer."""
    found = []
    for name, module in model.backbone.named_modules():
        if name.rpartition('.')[2].startswith('neuron'):
            module.register_forward_hook(
                lambda m, args, out: found.append(out.clone()))
    return found


def test_both_ways_agree_in_float32_on_a_real_video(shared_data):
    """Within 1e-4 on the logits where no spike flips, and hardly any does."""
    pipeline = Compose([
        dict(type='DecordInit'),
        dict(type='SampleFrames', clip_len=4, num_clips=12, test_mode=True),
        dict(type='DecordDecode'),
        dict(type='Resize', scale=(-1, 32)),
        dict(type='CenterCrop', crop_size=32),
        dict(type='FormatShape', input_format='NCHW')
    ])
    video = shared_data / 'videos/ucf101/v_BaseballPitch_g01_c01.avi'
    frames = pipeline(dict(filename=str(video), start_index=0,
                           modality='RGB', label=0))['imgs']
    model = build(num_frames=4)
    data = model.data_preprocessor(packed([frames], num_frames=4), False)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.9
    with torch.no_grad():  # running statistics as after training
        for _ in range(3):
            model.extract_feat(data['inputs'])
    model.eval()
    spikes = spikes_of(model)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    x = (torch.from_numpy(frames) - mean) / std
    logits, fired = [], []
    for inputs in (data['inputs'], x[None]):
        with torch.no_grad():
            logits.append(model.extract_feat(inputs, stage='head')[0])
        fired.append([s.reshape(12, -1) for s in spikes])
        spikes.clear()
    flips = sum((a != b).sum(1) for a, b in zip(*fired, strict=True))
    total = sum(s.shape[1] for s in fired[0])
    assert flips.sum() < 5e-3 * 12 * total  # one flip makes others
    same = flips == 0
    assert same.sum() > 6
    assert (logits[0] - logits[1])[same].abs().max() < 1e-4


def test_residual_of_a_still_clip_is_zero():
    model = build()
    still = np.repeat(clip(1)[:1], 8, axis=0)
    data = model.data_preprocessor(packed([still]), False)
    assert not data['inputs']['residual_frames'].any()


@pytest.mark.parametrize('size', [
    (96, 96), (100, 132), (33, 57), (32, 320), (112, 112), (130, 96)])
@pytest.mark.parametrize('downsample', [True, False])
def test_sizes_that_the_stride_does_not_divide(size, downsample):
    """Neither the memory format nor the batch changes a number."""
    def build_one(**kwargs):
        return build(num_frames=4, head=dict(downsample=downsample),
                     **kwargs).double()
    model, last = build_one(), build_one(channels_last=True)
    last.load_state_dict(model.state_dict())
    videos = [clip(1, 4, size), clip(1, 4, size, seed=1)]
    losses = [step(m, videos, num_frames=4) for m in (model, last)]
    torch.testing.assert_close(*losses, rtol=1e-11, atol=0)
    for a, b in zip(model.parameters(), last.parameters(), strict=True):
        assert a.grad.isfinite().all()
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-7, atol=1e-10)
    together, by_last = (
        scores(m.eval(), videos, num_frames=4) for m in (model, last))
    alone = torch.cat(
        [scores(model, [video], num_frames=4) for video in videos])
    torch.testing.assert_close(by_last, together, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(alone, together, rtol=1e-11, atol=1e-13)


def test_the_two_branches_keep_the_same_grid():
    """The maps that are fused have one size at every stage, for any input."""
    keys = dict(type='ResNet', depth=18, out_indices=(0, 1, 2, 3))
    key_net = MODELS.build(keys)
    key_net.eval()
    net = MODELS.build(dict(type='SpikingResNet', depth=10, base_channels=4,
                            out_indices=(0, 1, 2, 3))).eval()
    for size in ((32, 33), (47, 61), (97, 66)):
        x = torch.zeros(1, 3, *size)
        with torch.no_grad():
            for a, b in zip(key_net(x), net(x), strict=True):
                assert a.shape[2:] == b.shape[2:]


def test_a_score_depends_on_no_neighbour_in_the_batch():
    """float64, bit for bit up to the sum order of the kernels."""
    model = build().double().eval()
    videos = [clip(3, seed=s) for s in range(4)]
    together = scores(model, videos)
    for i, video in enumerate(videos):
        alone = scores(model, [video])[0]
        torch.testing.assert_close(alone, together[i], rtol=1e-11,
                                   atol=1e-13)
        other = scores(model, [videos[3 - i], video])[1]
        torch.testing.assert_close(other, alone, rtol=1e-11, atol=1e-13)
    assert (together[0] - together[1]).abs().max() > 1e-6


@pytest.mark.parametrize('average_clips', ['prob', 'score'])
def test_logits_over_groups_then_clips_over_views(average_clips):
    """Written out: pool, classify each group, mean, then average views."""
    model = build(head=dict()).double().eval()
    model.cls_head.average_clips = average_clips
    frames = clip(3)
    data = model.data_preprocessor(packed([frames]), False)
    with torch.no_grad():
        keys, maps = model(data['inputs'])
        groups = torch.cat((
            keys.mean((2, 3)),
            maps.reshape(3 * 2, 3, *maps.shape[1:]).mean((1, 3, 4))), 1)
        logits = model.cls_head.fc_cls(groups).view(3, 2, 5).mean(1)
    expected = (logits.softmax(1) if average_clips == 'prob'
                else logits).mean(0)
    torch.testing.assert_close(scores(model, [frames])[0], expected,
                               rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize('views', [1, 2, 100])
def test_views_at_a_time_bound_memory_not_scores(views):
    model = build().double().eval()
    videos = [clip(5), clip(5, seed=1)]
    expected = scores(model, videos)
    model.test_cfg = dict(max_testing_views=views)
    seen = []
    model.key_backbone.register_forward_hook(
        lambda m, args, out: seen.append(len(args[0]) // 2))
    torch.testing.assert_close(scores(model, videos), expected, rtol=1e-11,
                               atol=1e-13)
    assert max(seen) <= views and sum(seen) == 10


@pytest.mark.parametrize('kwargs', [
    dict(), dict(head=dict(downsample=False)), dict(stride=2),
    dict(head=dict(with_cp=True), backbone=dict(with_cp=True)),
    dict(keys=dict(type='ResNetTSM', depth=18, num_segments=2,
                   out_indices=(0, 1, 2, 3)))
])
@pytest.mark.parametrize('dtype', [None, torch.bfloat16, torch.float16])
def test_every_parameter_gets_a_gradient_under_autocast(kwargs, dtype):
    """So DDP needs no find_unused_parameters, and AMP loses no Linear."""
    model = build(**kwargs)
    videos = [clip(1), clip(1, seed=1)]
    with torch.autocast('cpu', dtype, enabled=dtype is not None):
        loss = step(model, videos, stride=model.stride)
    assert loss.isfinite()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name
        assert p.grad.dtype == torch.float32
        if 'cls_head' in name and 'weight' in name:
            assert p.grad.any(), name


def test_untrained_fusion_gets_gradients_behind_its_zero():
    model = MODELS.build(config())
    step(model, [clip(1), clip(1, seed=1)])
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_scores_are_close(dtype):
    model = build().eval()
    videos = [clip(2), clip(2, seed=1) // 4]
    head = model.cls_head
    torch.nn.init.normal_(head.fc_cls.weight, std=0.4)
    head.average_clips = 'score'  # the logits, to be centred at zero
    head.fc_cls.bias.data -= scores(model, videos).mean(0)
    head.average_clips = 'prob'
    full = scores(model, videos)
    assert (full[0] - full[1]).abs().max() > 0.1  # the bound can fail
    with torch.autocast('cpu', dtype):
        half = scores(model, videos)
    bound = 1e-2 if dtype == torch.float16 else 5e-2
    assert (half.float() - full).abs().max() < bound


def test_activation_checkpointing_changes_no_number():
    videos = [clip(1), clip(1, seed=1)]
    plain = build().double()
    cp = build(head=dict(with_cp=True),
               backbone=dict(with_cp=True)).double()
    cp.load_state_dict(plain.state_dict())
    losses = [step(model, videos) for model in (plain, cp)]
    torch.testing.assert_close(*losses, rtol=1e-12, atol=0)
    for a, b in zip(plain.parameters(), cp.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-8, atol=1e-12)
    for a, b in zip(plain.buffers(), cp.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_channels_last_changes_no_number():
    videos = [clip(1), clip(1, seed=1)]
    plain = build().double()
    last = build(channels_last=True).double()
    last.load_state_dict(plain.state_dict())
    weight = last.backbone.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    formats = []
    for module in last.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda m, args, out: formats.append(
                out.is_contiguous(memory_format=torch.channels_last)))
    losses = [step(model, videos) for model in (plain, last)]
    assert formats and all(formats)
    torch.testing.assert_close(*losses, rtol=1e-11, atol=0)
    for a, b in zip(plain.parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-7, atol=1e-11)
    for a, b in zip(plain.buffers(), last.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-14)


def test_a_stage_that_is_not_fused_may_have_any_width():
    model = build(backbone=dict(base_channels=16),
                  head=dict(downsample=False))
    assert model.cls_head.fusions.keys() == {'stage2', 'stage3', 'stage4'}
    step(model, [clip(1), clip(1, seed=1)])
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_channels_written_out_as_a_list_are_taken():
    model = build(head=dict(key_channels=[8, 8, 16, 1280],
                            spiking_channels=[32, 64, 128, 256]))
    assert model.cls_head.in_channels == 1280 + 256


def test_a_config_can_be_built_twice():
    cfg = config()
    before = copy.deepcopy(cfg)
    MODELS.build(cfg)
    assert cfg == before
    MODELS.build(cfg)


def test_key_backbone_keeps_its_mode_and_statistics_when_probed():
    model = build()
    assert model.key_backbone.training
    bn = next(m for m in model.key_backbone.modules()
              if isinstance(m, torch.nn.BatchNorm2d))
    assert bn.num_batches_tracked == 0


def test_loss_of_blended_videos():
    """The cross-entropy with the soft labels, of the blended frames."""
    cfg = dict(config(), data_preprocessor=dict(
        type='ReSpikeDataPreprocessor', mean=MEAN, std=STD,
        blending=dict(type='MixupBlending', num_classes=5, alpha=1.)))
    model = MODELS.build(cfg).eval()
    awaken(model)
    data = model.data_preprocessor(
        packed([clip(1, seed=seed) for seed in range(2)]), True)
    labels = torch.stack([s.gt_label for s in data['data_samples']])
    assert labels.shape == (2, 5) and (labels[:, 0] * labels[:, 1] > 0).all()
    losses = model(**data, mode='loss')
    logits = model.extract_feat(data['inputs'], stage='head')[0]
    torch.testing.assert_close(
        losses['loss_cls'],
        -(labels * logits.log_softmax(-1)).sum(-1).mean())


def test_one_preprocessor_does_what_two_do():
    """MultiModalDataPreprocessor of earlier configs keeps working."""
    cfg = config()
    model = MODELS.build(cfg)
    one = MODELS.build(dict(type='ReSpikeDataPreprocessor', mean=MEAN,
                            std=STD))
    data = packed([clip(2, seed=seed) for seed in range(2)])
    expected = model.data_preprocessor(copy.deepcopy(data), True)['inputs']
    inputs = one(data, True)['inputs']
    assert set(inputs) == set(expected)
    for name, value in expected.items():
        assert torch.equal(inputs[name], value)


@pytest.mark.parametrize('stages', [(), (3, ), (2, 3), (1, 3)])
def test_only_the_stages_asked_for_are_fused(stages):
    model = build(head=dict(fused_stages=stages)).eval()
    assert list(model.cls_head.fusions) == [f'stage{i + 1}' for i in stages]
    frames = torch.randn(1, 8, 3, 48, 48)
    keys, residuals = model.split(frames)
    with torch.no_grad():
        _, maps = model.extract_feat(frames)[0]
        key_maps = model.key_maps(keys.flatten(0, 1))
        given = model.cls_head.fuse_with(key_maps)
        expected = model.backbone(
            residuals.flatten(0, 2),
            lambda i, x: given(i, x) if i in stages else x)
        alone = model.backbone(residuals.flatten(0, 2))
    assert torch.equal(maps, expected)
    assert torch.equal(maps, alone) == (not stages)


def test_split_on_the_device_takes_the_reference():
    model = build(reference='previous')
    frames = torch.randn(1, 8, 3, 48, 48)
    _, residuals = model.split(frames)
    for t in (1, 2, 3):
        assert torch.equal(residuals[0, 1, t - 1],
                           frames[0, 4 + t] - frames[0, 3 + t])
    with pytest.raises(ValueError, match="reference='next'"):
        build(reference='next')
