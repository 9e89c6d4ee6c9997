import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

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
