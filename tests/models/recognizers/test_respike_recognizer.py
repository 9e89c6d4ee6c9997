import copy

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS, TRANSFORMS
from mmaction.structures import ActionDataSample
from mmengine.dataset import Compose

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]

# the smallest four-stage key branch that upstream has
SMALL_KEYS = dict(
    type='MobileNetV2', widen_factor=0.1, out_indices=(1, 2, 4, 7))


def config(stride=4, num_frames=8, head=None, backbone=None, keys=None,
           **kwargs):
    return dict(
        type='ReSpikeRecognizer',
        stride=stride,
        num_frames=num_frames,
        key_backbone=keys or SMALL_KEYS,
        backbone={'type': 'SpikingResNet', 'depth': 10, 'base_channels': 32,
                  **(backbone or {})},
        cls_head={'type': 'CrossAttentionFusion', 'num_classes': 5,
                  'average_clips': 'prob', **(head or {})},
        data_preprocessor=dict(
            type='MultiModalDataPreprocessor',
            preprocessors=dict(
                key_frames=dict(type='ActionDataPreprocessor', mean=MEAN,
                                std=STD),
                residual_frames=dict(type='ActionDataPreprocessor',
                                     mean=[0.] * 3, std=STD))),
        **kwargs)


def build(**kwargs):
    model = MODELS.build(config(**kwargs))
    awaken(model)
    return model


def awaken(model):
    """Weights under which every part has a say in the scores."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
    for fusion in model.cls_head.fusions.values():
        torch.nn.init.normal_(fusion.proj_out.weight, std=0.1)


def clip(views, num_frames=8, size=(48, 48), seed=0):
    """A moving picture, (views * num_frames, C, H, W) uint8."""
    rng = np.random.default_rng(seed)
    h, w = size
    canvas = rng.integers(0, 256, (3, h + 64, w + 64), dtype=np.uint8)
    frames = []
    for _ in range(views):
        y, x = rng.integers(0, 32, 2)
        dy, dx = rng.integers(-2, 3, 2)
        for t in range(num_frames):
            a, b = y + 16 + t * dy, x + 16 + t * dx
            frames.append(canvas[:, a:a + h, b:b + w])
    return np.stack(frames)


def packed(videos, stride=4, num_frames=8):
    """A batch as the data loader gives it."""
    split = TRANSFORMS.build(dict(
        type='ResidualFrameTransform', stride=stride, num_frames=num_frames))
    pack = TRANSFORMS.build(dict(
        type='PackActionInputs',
        collect_keys=('key_frames', 'residual_frames')))
    items = [pack(split(dict(imgs=v, label=i % 5)))
             for i, v in enumerate(videos)]
    inputs = {key: [item['inputs'][key] for item in items]
              for key in ('key_frames', 'residual_frames')}
    return dict(inputs=inputs,
                data_samples=[item['data_samples'] for item in items])


def scores(model, videos, **kwargs):
    with torch.no_grad():
        samples = model.test_step(packed(videos, **kwargs))
    return torch.stack([s.pred_score for s in samples])


def step(model, videos, **kwargs):
    """Loss of a training step, after its backward."""
    data = model.data_preprocessor(packed(videos, **kwargs), True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    return loss


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


def test_pretrained_weights_that_do_not_fit_are_refused(tmp_path):
    keys = dict(type='ResNet', depth=18, out_indices=(0, 1, 2, 3))
    path = tmp_path / 'weights.pth'
    torch.save({'conv1.weight': torch.zeros(64, 3, 3, 3)}, path)
    model = MODELS.build(config(keys=dict(keys, pretrained=str(path))))
    with pytest.raises(ValueError, match=f'{path}.*conv1.weight'):
        model.init_weights()


def compiled(model, **kwargs):
    torch._dynamo.reset()
    return torch.compile(model, **kwargs)


def test_compile_traces_forward_without_a_graph_break():
    """aot_eager runs the traced graph without needing a C++ compiler."""
    model = build().double().eval()
    x = torch.from_numpy(clip(1)).double()[None] / 64 - 2
    with torch.no_grad():
        expected, _ = model.extract_feat(x, stage='head')
        call = compiled(lambda x: model.extract_feat(x, stage='head')[0],
                        backend='aot_eager', fullgraph=True)
        torch.testing.assert_close(call(x), expected, rtol=1e-9, atol=1e-12)


def test_compile_traces_backward_without_a_graph_break():
    plain = build().double()
    model = build().double()
    model.load_state_dict(plain.state_dict())
    x = torch.from_numpy(np.stack([clip(1), clip(1, seed=1)])).double()
    x = x / 64 - 2
    plain.extract_feat(x, stage='head')[0].square().sum().backward()
    call = compiled(lambda x: model.extract_feat(x, stage='head')[0],
                    backend='aot_eager', fullgraph=True)
    call(x).square().sum().backward()
    for (name, a), b in zip(plain.named_parameters(), model.parameters(),
                            strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-10,
                                   msg=name)
    for a, b in zip(plain.buffers(), model.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('neuron', [
    None, dict(type='ParametricLIFNeuron', reset='soft')])
@pytest.mark.parametrize('mode', ['tensor', 'loss'])
def test_a_compiled_model_gives_the_same(neuron, mode):
    """``torch.compile(model)`` itself, as MMEngine's ``compile=True``."""
    plain, model = (build(backbone=dict(neuron=neuron)).double()
                    for _ in range(2))
    model.load_state_dict(plain.state_dict())
    call = compiled(model, backend='aot_eager')
    videos = [clip(1), clip(1, seed=1)]
    found = []
    for network, forward in ((plain, plain), (model, call)):
        data = network.data_preprocessor(packed(videos), True)
        out = forward(**data, mode=mode)
        if mode == 'tensor':
            maps = out[0] if isinstance(out[0], tuple) else out
            total = sum(m.square().mean() for m in maps)
        else:
            total = out['loss_cls']
        total.backward()
        found.append(total)
    torch.testing.assert_close(*found, rtol=1e-9, atol=0)
    names = {name for name, p in plain.named_parameters()
             if p.grad is not None}
    assert any(name.endswith('neuron1.w') for name in names) == bool(neuron)
    for (name, a), b in zip(plain.named_parameters(), model.parameters(),
                            strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if name in names:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-9)


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


@pytest.mark.parametrize('neuron', [None, dict(type='ParametricLIFNeuron')])
def test_an_exported_program_takes_any_batch(neuron):
    """Sizes of tensors stay symbols: no batch is written into the program."""
    model = build(backbone=dict(neuron=neuron)).eval()

    class Scores(torch.nn.Module):

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model.extract_feat(x, stage='head')[0]

    frames = torch.randn(5, 8, 3, 48, 48)
    program = torch.export.export(
        Scores(), (frames[:2], ),
        dynamic_shapes=dict(x={0: torch.export.Dim('batch')}))
    for batch in (1, 2, 5):
        found = program.module()(frames[:batch])
        with torch.no_grad():
            expected = Scores()(frames[:batch])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


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


def test_a_stage_that_there_is_not_cannot_be_fused():
    with pytest.raises(ValueError, match=r'fused_stages=\(4,\).*0, 1, 2, 3'):
        build(head=dict(fused_stages=(4, )))


def test_split_on_the_device_takes_the_reference():
    model = build(reference='previous')
    frames = torch.randn(1, 8, 3, 48, 48)
    _, residuals = model.split(frames)
    for t in (1, 2, 3):
        assert torch.equal(residuals[0, 1, t - 1],
                           frames[0, 4 + t] - frames[0, 3 + t])
    with pytest.raises(ValueError, match="reference='next'"):
        build(reference='next')
