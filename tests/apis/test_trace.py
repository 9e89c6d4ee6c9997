"""What a trace holds is what the network does, seen another way."""
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS

from respike_mmaction.apis import (
    energy_per_frame,
    grad_cam,
    load_trained,
    read_clip,
    trace_clip,
)
from respike_mmaction.models.neurons import BaseNeuron
from respike_mmaction.residual import join_clip, split_clip
from tests.apis.networks import MODEL, write_checkpoint
from tests.apis.test_stream import build, clip_logits, frames_of
from tests.videos import frame_number, write_video

LENGTH, STRIDE = 8, 4


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return build(cls_head=dict(MODEL['cls_head'], average_clips='score'))


@pytest.fixture(scope='module')
def frames():
    return frames_of(LENGTH, size=64)


@pytest.fixture(scope='module')
def trace(model, frames):
    return trace_clip(model, frames)


@torch.no_grad()
def seen_at_once(model, frames):
    """Spikes of each neuron, (frame, C, h, w), in a forward of the clip."""
    found, handles = {}, []
    for name, module in model.named_modules():
        if isinstance(module, BaseNeuron):
            handles.append(module.register_forward_hook(
                lambda _, args, out, name=name: found.update({name: out})))
    clip_logits(model, frames)
    for handle in handles:
        handle.remove()
    return found


def test_the_answer_at_the_end_is_that_of_the_clip(model, frames, trace):
    np.testing.assert_allclose(
        trace.scores[-1], clip_logits(model, frames)[0].numpy(), rtol=1e-9,
        atol=1e-9)


def test_rates_are_those_of_a_forward_of_the_clip(model, frames, trace):
    spikes = seen_at_once(model, frames)
    assert set(trace.rates) == set(spikes) and spikes
    residual = trace.steps > 0
    for name, rate in trace.rates.items():
        assert np.isnan(rate[~residual]).all()
        np.testing.assert_allclose(
            rate[residual], spikes[name].mean((1, 2, 3)).numpy(), rtol=1e-6)


def test_maps_follow_their_formula(model, frames, trace):
    """Summed here step by step, as it is written."""
    gamma = .5
    spikes = seen_at_once(model, frames)
    last = [name for name in spikes if '.layer3.' in name][-1]
    steps = spikes[last].unflatten(0, (-1, STRIDE - 1)).numpy()
    assert last in trace.last_layers and len(trace.last_layers) == 4
    assert set(trace.maps) == set(spikes)
    found = trace.maps[last].reshape(-1, STRIDE, *steps.shape[-2:])
    assert not found[:, 0].any()
    assert steps.any()
    for group, maps in zip(steps, found[:, 1:], strict=True):
        for t, map_ in enumerate(maps):
            earlier = sum(np.exp(-gamma * (t - u)) * group[u]
                          for u in range(t))
            np.testing.assert_allclose(
                map_, (group[t] * (1 + earlier)).mean(0), rtol=1e-5)
    assert trace.kind_of_maps == 'spiking activation map'


def test_one_step_a_group_is_a_rate_map():
    found = trace_clip(build(stride=2, num_frames=4), frames_of(4, size=64))
    assert found.kind_of_maps == 'firing rate map'
    first = found.last_layers[0]
    assert 0 < found.maps[first][1].max() <= 1
    assert found.maps[first][1].mean() == pytest.approx(found.rates[first][1])


def test_attention_is_that_of_the_fusion(model, frames, trace):
    """Attending with the weights gives what the layer gives."""
    stage = 'stage3'
    attention = model.cls_head.fusions[stage].block.cross_attn
    kept = []
    handle = attention.register_forward_hook(
        lambda _, args, out: kept.append((args, out)))
    with torch.no_grad():
        clip_logits(model, frames)
    handle.remove()
    (x, (keys, values)), out = kept[0]
    weights = attention.weights(x, keys)
    again = attention.to_out((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(again, out, rtol=1e-9, atol=1e-9)
    found = trace.attention[stage]
    length = found.grid[0] * found.grid[1]
    residual = np.flatnonzero(trace.steps)
    expected = weights.mean(1).reshape(len(residual), length, -1)
    np.testing.assert_allclose(found.weights[residual],
                               expected.detach().numpy(), atol=1e-9)
    assert found.weights.shape[2] == found.key_grid[0] * found.key_grid[1]


def test_energy_is_that_of_the_stream(model, frames, trace):
    expected = energy_per_frame(model, frames)
    keys = trace.steps == 0
    assert trace.energy[keys].mean() == pytest.approx(expected['key'])
    assert trace.energy[~keys].mean() == pytest.approx(expected['residual'])


def test_frames_and_residuals(frames, trace):
    np.testing.assert_array_equal(
        trace.frames, frames[0].permute(0, 2, 3, 1).numpy())
    moved = trace.frames[6].astype(int) - trace.frames[4]
    np.testing.assert_array_equal(trace.residuals[6], moved)
    row, column = trace.moving_position(6)
    assert abs(moved).sum(-1)[row, column] == abs(moved).sum(-1).max()


@pytest.mark.parametrize('reference', ['key', 'previous'])
def test_joining_undoes_the_split(reference):
    clip = np.random.default_rng(0).integers(
        0, 256, (2, 12, 3, 4, 5), dtype=np.uint8)
    again = join_clip(*split_clip(clip, 4, reference), reference)
    np.testing.assert_array_equal(again, clip)
    assert again.dtype == np.uint8


def test_the_view_of_a_video(tmp_path):
    video = tmp_path / 'video.mp4'
    write_video(video, num_frames=24)
    network = load_trained(write_checkpoint(tmp_path / 'checkpoint.pth'))
    numbers = [[frame_number(image) for image in
                read_clip(network, video, view)[0].numpy()]
               for view in range(2)]
    assert [n - view[0] for view in numbers for n in view] == [
        *range(LENGTH)] * 2
    assert numbers[0] != numbers[1]
    with pytest.raises(ValueError, match='view=2 .* views 0 to 1'):
        read_clip(network, video, 2)


def test_others_are_refused():
    other = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match='Linear is not allowed'):
        trace_clip(other, frames_of(LENGTH))


def test_cams_follow_the_evidence(model, frames):
    """A class whose weights are zero but for one channel of one branch."""
    cams = grad_cam(model, frames, label=1)
    assert [sorted(maps) for maps in cams] == [[*range(LENGTH)]] * 4
    assert all(np.isfinite(cam).all() and (cam >= 0).all()
               for maps in cams for cam in maps.values())
    assert any(maps[1].max() > 0 for maps in cams)
    changed = MODELS.build(MODEL)
    changed.load_state_dict(model.state_dict())
    changed.double().eval()
    fc = changed.cls_head.fc_cls
    channels = changed.backbone.out_channels[-1]
    with torch.no_grad():
        fc.weight[1] = 0
        fc.weight[1, 0] = 1  # of the key branch
        key, _ = grad_input(changed, frames)
        expected = changed.key_maps(key)[-1][:, 0].relu()
    cams = grad_cam(changed, frames, label=1)
    expected /= expected[0].numel() * len(expected)  # mean pooling
    np.testing.assert_allclose(
        np.stack([cams[3][0], cams[3][4]]), expected.numpy(), rtol=1e-9)
    with torch.no_grad():
        fc.weight[1] = 0
        fc.weight[1, -channels] = 1  # of the spiking branch
    assert not grad_cam(changed, frames, label=1)[3][0].any()
    with pytest.raises(ValueError, match='label=9 .* 0 to '):
        grad_cam(changed, frames, label=9)


def grad_input(model, frames):
    data = model.data_preprocessor(
        dict(inputs=list(frames), data_samples=None))['inputs']
    key, residual = model.split(data)
    return key.flatten(0, 1), residual
