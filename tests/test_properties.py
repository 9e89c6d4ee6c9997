"""Properties that hold for any sizes and values, on drawn examples.

Derandomized: every run draws the same examples.
"""
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from respike_mmaction.datasets import ResidualFrameTransform
from respike_mmaction.models.layers.step_batch_norm import StepBatchNorm2d
from respike_mmaction.models.neurons import LIFNeuron
from tests.models.neurons.reference import scan

examples = settings(
    max_examples=25, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow,
                           HealthCheck.function_scoped_fixture])
few = settings(examples, max_examples=6)
sizes = st.integers(1, 4)
seeds = st.integers(0, 2**32 - 1)
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@examples
@given(views=sizes, groups=sizes, stride=st.integers(2, 6), height=sizes,
       width=sizes, seed=seeds)
def test_keys_and_residuals_give_the_frames_back(
        views, groups, stride, height, width, seed):
    frames = np.random.default_rng(seed).integers(
        0, 256, (views * groups * stride, 3, height, width), np.uint8)
    found = ResidualFrameTransform(stride, groups * stride)(
        dict(imgs=frames.copy()))
    keys, residuals = found['key_frames'], found['residual_frames']
    assert keys.shape == (views, groups, 3, height, width)
    assert residuals.shape == (views, groups, stride - 1, 3, height, width)
    others = keys[:, :, None].astype(int) + residuals
    back = np.concatenate([keys[:, :, None], others], axis=2)
    np.testing.assert_array_equal(back.reshape(frames.shape), frames)


@examples
@given(steps=st.integers(1, 6), batch=sizes, tau=st.floats(1.01, 4),
       threshold=st.floats(.25, 2), v_reset=st.floats(-1, .125),
       reset=st.sampled_from(['hard', 'soft']), cut=st.integers(0, 6),
       seed=seeds)
def test_neurons_are_the_scalar_ones_in_one_go_or_in_two(
        steps, batch, tau, threshold, v_reset, reset, cut, seed):
    neuron = LIFNeuron(tau, v_threshold=threshold, v_reset=v_reset,
                       reset=reset, backend='torch')
    x = 2 * torch.randn(batch, steps, generator=torch.Generator(
    ).manual_seed(seed), dtype=torch.float64)
    spikes, v = neuron(x.flatten(), num_steps=steps, return_v=True)
    for i in range(batch):
        hs, expected, last = scan(x[i].tolist(), v_reset, tau, threshold,
                                  v_reset, reset)
        if min(abs(h - threshold) for h in hs) < 1e-9:
            continue  # on the threshold, where the last bit decides
        assert spikes.view(batch, steps)[i].tolist() == expected
        assert float(v[i]) == pytest.approx(last, abs=1e-9)
    if 0 < cut < steps:
        first, v_cut = neuron(x[:, :cut].flatten(), num_steps=cut,
                              return_v=True)
        second, v_two = neuron(x[:, cut:].flatten(), v_cut,
                               num_steps=steps - cut, return_v=True)
        two = torch.cat([first.view(batch, -1), second.view(batch, -1)], 1)
        assert torch.equal(two.flatten(), spikes)
        torch.testing.assert_close(v_two, v)


@examples
@given(steps=sizes, batch=st.integers(2, 4), channels=sizes, size=sizes,
       momentum=st.floats(.01, 1), seed=seeds)
def test_batch_norm_is_that_of_the_steps_one_after_another(
        steps, batch, channels, size, momentum, seed):
    x = torch.randn(batch, steps, channels, size, size, generator=(
        torch.Generator().manual_seed(seed)), dtype=torch.float64)
    ours = StepBatchNorm2d(channels, steps, momentum=momentum).double()
    theirs = torch.nn.BatchNorm2d(channels, momentum=momentum).double()
    found = ours(x.flatten(0, 1))
    expected = torch.stack([theirs(x[:, t]) for t in range(steps)], 1)
    torch.testing.assert_close(found, expected.flatten(0, 1))
    for name in ('running_mean', 'running_var'):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))
    torch.testing.assert_close(ours.eval()(x.flatten(0, 1)),
                               theirs.eval()(x.flatten(0, 1)))


@examples
@given(videos=sizes, views=sizes, groups=sizes, stride=st.integers(2, 5),
       size=sizes, to_rgb=st.booleans(), seed=seeds)
def test_both_inputs_are_normalised_as_the_frames_are(
        videos, views, groups, stride, size, to_rgb, seed):
    """Splitting before or after the preprocessor gives equal inputs."""
    preprocessor = MODELS.build(dict(
        type='ReSpikeDataPreprocessor', mean=MEAN, std=STD, to_rgb=to_rgb))
    frames = np.random.default_rng(seed).integers(
        0, 256, (videos, views * groups * stride, 3, size, size), np.uint8)
    samples = [ActionDataSample() for _ in range(videos)]
    split = ResidualFrameTransform(stride, groups * stride)
    parts = [split(dict(imgs=f)) for f in frames]
    found = preprocessor(dict(
        inputs={name: [torch.from_numpy(p[name]) for p in parts]
                for name in ('key_frames', 'residual_frames')},
        data_samples=samples))['inputs']
    plain = preprocessor(dict(
        inputs=[torch.from_numpy(f) for f in frames],
        data_samples=samples))['inputs']
    plain = plain.view(videos, views, groups, stride, 3, size, size)
    torch.testing.assert_close(found['key_frames'], plain[:, :, :, 0])
    torch.testing.assert_close(
        found['residual_frames'], plain[:, :, :, 1:] - plain[:, :, :, :1],
        rtol=1e-5, atol=1e-5)


@pytest.fixture(scope='module')
def recognizers():
    """One network for each stride, with equal weights."""
    made = {}
    for stride in (2, 4):
        torch.manual_seed(0)
        made[stride] = MODELS.build(dict(
            type='ReSpikeRecognizer', stride=stride, num_frames=4,
            key_backbone=dict(type='MobileNetV2', widen_factor=.25,
                              out_indices=(1, 2, 4, 7)),
            backbone=dict(type='SpikingResNet', depth=10, base_channels=32,
                          neuron=dict(type='LIFNeuron', backend='torch')),
            cls_head=dict(type='CrossAttentionFusion', num_classes=3,
                          average_clips='prob'))).double().eval()
    return made


@few
@given(stride=st.sampled_from([2, 4]), videos=st.integers(1, 3),
       views=st.integers(1, 2), height=st.sampled_from([32, 40, 64]),
       width=st.sampled_from([32, 56]), seed=seeds)
def test_a_video_is_scored_alone_whatever_is_beside_it(
        recognizers, stride, videos, views, height, width, seed):
    """Of any size and number; its views are averaged in any order."""
    x = torch.randn(videos, views, 4, 3, height, width, generator=(
        torch.Generator().manual_seed(seed)), dtype=torch.float64)

    def scores(x):
        samples = [ActionDataSample() for _ in x]
        found = recognizers[stride](x.flatten(1, 2), data_samples=samples,
                                    mode='predict')
        return torch.stack([s.pred_score for s in found])

    with torch.no_grad():
        together = scores(x)
        torch.testing.assert_close(together.sum(1),
                                   torch.ones(videos, dtype=torch.float64))
        alone = torch.cat([scores(x[i:i + 1].flip(1))
                           for i in range(videos)])
    torch.testing.assert_close(together, alone)
