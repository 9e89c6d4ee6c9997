import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from respike_mmaction.residual import split_clip

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def build(**kwargs):
    return MODELS.build(dict(type='ReSpikeDataPreprocessor', mean=MEAN,
                             std=STD, **kwargs))


def batch(num_frames, value=None):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (num_frames, 3, 4, 4), dtype=np.uint8)
    if value is not None:
        frames[:] = value
    return dict(inputs=[torch.from_numpy(frames)],
                data_samples=[ActionDataSample()])


def test_default_is_the_channel_wise_normalisation():
    data = batch(16)
    frames = data['inputs'][0].double()
    out = build()(data)['inputs'][0]
    for c in range(3):
        torch.testing.assert_close(
            out[:, c].double(), (frames[:, c] - MEAN[c]) / STD[c],
            rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('views', [1, 3])
def test_published_fault_goes_by_frame_index(views):
    data = batch(16 * views)
    frames = data['inputs'][0].double()
    out = build(published_kinetics_normalization=True)(data)['inputs'][0]
    assert out.shape == frames.shape
    for view in range(views):
        for t in range(16):
            raw = frames[16 * view + t] / 255
            if t < 15:
                raw = (raw - MEAN[t % 3] / 255) / (STD[t % 3] / 255)
            torch.testing.assert_close(
                out[16 * view + t].double(), raw, rtol=1e-5, atol=1e-6)


def test_published_fault_gives_residuals_to_a_still_clip():
    still = batch(16, value=100)
    frames = build()(still)['inputs'][0]
    assert not (frames[1::2] - frames[::2]).any()
    still = batch(16, value=100)
    frames = build(published_kinetics_normalization=True)(still)['inputs'][0]
    assert (frames[1::2] - frames[::2]).abs().min() > 0.01


def test_three_channels_only():
    with pytest.raises(ValueError, match=r'mean=\[0\.0\].*three channels'):
        MODELS.build(dict(type='ReSpikeDataPreprocessor', mean=[0.],
                          std=[1.]))


@pytest.mark.parametrize('num_frames', [0, 2.5])
def test_num_frames_that_make_no_sense(num_frames):
    with pytest.raises(ValueError, match=f'num_frames={num_frames} is not'):
        build(num_frames=num_frames)


@pytest.mark.parametrize('frames', [0, 20])
def test_published_fault_takes_whole_views(frames):
    model = build(published_kinetics_normalization=True)
    with pytest.raises(ValueError, match=f'got {frames} frames.*=16'):
        model(batch(frames))


# Both branches ---------------------------------------------------------------


def clips(videos=4, views=2, frames=8, size=(12, 10)):
    """Plain frames of every video, (views * frames, C, H, W) uint8."""
    rng = np.random.default_rng(0)
    return [
        torch.from_numpy(rng.integers(
            0, 256, (views * frames, 3, *size), dtype=np.uint8))
        for _ in range(videos)
    ]


def branches(videos, stride=4, frames=8):
    """What ResidualFrameTransform and the collation make of them."""
    parts = [split_clip(x.unflatten(0, (-1, frames)), stride) for x in videos]
    keys, residuals = zip(*parts, strict=True)
    return dict(key_frames=list(keys), residual_frames=list(residuals))


def forward(model, inputs, training=True):
    samples = [ActionDataSample().set_gt_label(i % 3) for i in range(4)]
    torch.manual_seed(3)
    np.random.seed(3)
    out = model(dict(inputs=inputs, data_samples=samples), training)
    return out['inputs'], torch.stack(
        [sample.gt_label for sample in out['data_samples']])


@pytest.mark.parametrize('to_rgb', [False, True])
def test_residuals_are_divided_only(to_rgb):
    videos = clips()
    out, _ = forward(build(to_rgb=to_rgb).double(), branches(videos))
    order = [2, 1, 0] if to_rgb else [0, 1, 2]
    frames = torch.stack(videos).unflatten(1, (2, 2, 4)).double()
    frames = frames[:, :, :, :, order]  # (N, V, K, 1+S, C, H, W)
    mean, std = (torch.tensor(v).double().view(-1, 1, 1) for v in (MEAN, STD))
    torch.testing.assert_close(
        out['key_frames'], (frames[:, :, :, 0] - mean) / std, rtol=1e-7,
        atol=1e-7)  # mean and std are kept in float32
    torch.testing.assert_close(
        out['residual_frames'],
        (frames[:, :, :, 1:] - frames[:, :, :, :1]) / std, rtol=1e-7,
        atol=1e-7)


BLENDINGS = dict(
    mixup=dict(type='MixupBlending', num_classes=3, alpha=1.),
    cutmix=dict(type='CutmixBlending', num_classes=3, alpha=1.),
    either=dict(
        type='RandomBatchAugment',
        augments=[dict(type='MixupBlending', num_classes=3, alpha=1.),
                  dict(type='CutmixBlending', num_classes=3, alpha=1.)]))


@pytest.mark.parametrize('name', BLENDINGS)
@pytest.mark.parametrize('stride', [2, 4])
def test_blending_equals_blending_before_the_split(name, stride):
    """One draw for key frames, residual frames and label of a sample."""
    videos = clips()
    model = build(blending=BLENDINGS[name]).double()
    frames, labels = forward(model, [x.clone() for x in videos])
    keys, residuals = split_clip(frames.unflatten(1, (-1, 8)), stride)
    plain = forward(model, videos, training=False)[0]
    assert not torch.equal(frames, plain)  # something was blended
    assert labels.shape == (4, 3) and ((labels > 0) & (labels < 1)).any()

    out, branch_labels = forward(model, branches(videos, stride))
    for ours, expected in ((out['key_frames'], keys),
                           (out['residual_frames'], residuals)):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-9)
    assert torch.equal(branch_labels, labels)


def test_cutmix_boxes_are_those_of_the_key_frames():
    videos = clips()
    model = build(blending=BLENDINGS['cutmix'])
    blended, _ = forward(model, branches(videos))
    alone, _ = forward(model, branches(videos), training=False)
    boxes = [(blended[name] != alone[name]).flatten(1, -3).any(1)
             for name in ('key_frames', 'residual_frames')]  # (N, H, W)
    assert boxes[0].any() and not boxes[0].all()
    assert torch.equal(*boxes)


def test_no_blending_in_a_test():
    model = build(blending=BLENDINGS['mixup'])
    out, labels = forward(model, branches(clips()), training=False)
    expected, _ = forward(build(), branches(clips()))
    for name, value in expected.items():
        assert torch.equal(out[name], value)
    assert labels.shape == (4, 1)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16,
                                   torch.bfloat16, torch.float64])
def test_dtype_is_that_of_the_model(dtype):
    """As ActionDataPreprocessor, for both kinds of input."""
    videos = clips()
    model = build().to(dtype)
    stock = MODELS.build(dict(type='ActionDataPreprocessor', mean=MEAN,
                              std=STD)).to(dtype)
    expected, _ = forward(stock, videos)
    assert expected.dtype == dtype
    assert torch.equal(forward(model, videos)[0], expected)
    out, _ = forward(model, branches(videos))
    assert {x.dtype for x in out.values()} == {dtype}
    assert torch.equal(out['key_frames'],
                       expected.unflatten(1, (2, 2, 4))[:, :, :, 0])


@pytest.mark.parametrize('drop, extra', [('key_frames', None),
                                         ('residual_frames', None),
                                         (None, 'flow')])
def test_other_inputs_are_named(drop, extra):
    inputs = branches(clips())
    inputs.pop(drop, None)
    if extra:
        inputs[extra] = inputs['key_frames']
    with pytest.raises(ValueError, match='got the inputs .*collect_keys'):
        forward(build(), inputs)


def test_published_fault_takes_plain_frames():
    model = build(published_kinetics_normalization=True)
    with pytest.raises(ValueError, match='takes plain frames'):
        forward(model, branches(clips(), frames=16, stride=4))


def test_frames_are_nchw():
    with pytest.raises(ValueError, match="format_shape='NCTHW' is not"):
        build(format_shape='NCTHW')


def test_checkpoints_hold_nothing_of_it():
    for published in (False, True):
        model = build(published_kinetics_normalization=published)
        assert not model.state_dict()


def test_two_preprocessors_in_one():
    """As a child of an earlier recipe would merge them into it."""
    with pytest.raises(ValueError, match='preprocessors is not allowed.*once'):
        build(preprocessors=dict(key_frames=dict(mean=MEAN)))
