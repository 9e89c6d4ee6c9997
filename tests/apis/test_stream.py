"""A stream is answered as clips of the same frames are.

The reference is clip inference: the network's own forward on whole clips, and
the test pipeline on windows of a video.
"""
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmaction.registry import MODELS
from torch import nn
from torch.utils._pytree import tree_leaves

from respike_mmaction.apis import StreamingRecognizer, accelerate
from tests.apis.networks import MODEL
from tests.models.recognizers.small_respike import awaken

EXACT = dict(rtol=1e-9, atol=1e-9)
STRIDE, GROUPS, LENGTH = 4, 2, 8  # of MODEL


def build(**kwargs):
    model = MODELS.build({**MODEL, **kwargs})
    awaken(model)
    with torch.no_grad():
        model.cls_head.fc_cls.weight.mul_(30)
    return model.double().eval()


@pytest.fixture(scope='module')
def model():
    return build()


def frames_of(number, streams=1, seed=0, size=32):
    """Textures that move, (streams, number, 3, size, size) uint8."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(streams):
        texture = rng.integers(0, 256, (3, size, size), dtype=np.uint8)
        shifts = rng.integers(-3, 4, (number, 2)).cumsum(0)
        found.append(np.stack([np.roll(texture, s, (1, 2)) for s in shifts]))
    return torch.from_numpy(np.stack(found))


@torch.no_grad()
def clip_logits(model, clips):
    """Clip inference, (N, classes), on clips (N, T, C, H, W)."""
    data = model.data_preprocessor(
        dict(inputs=list(clips), data_samples=None))['inputs']
    return model.extract_feat(data, 'head', test_mode=True)[0]


def close(found, expected):
    torch.testing.assert_close(found, expected, **EXACT)


@settings(max_examples=12, deadline=None)
@given(cuts=st.sets(st.integers(1, 18)), streams=st.integers(1, 2))
def test_whole_groups_equal_clips_for_any_chunking(model, cuts, streams):
    stream, frames = StreamingRecognizer(model), frames_of(19, streams)
    points = [0, *sorted(cuts), 19]
    state, answers = None, []
    for start, end in zip(points, points[1:], strict=False):
        answer, state = stream.forward_steps(frames[:, start:end], state)
        answers.append(answer)
    logits, scores, complete, scene_cut = (
        torch.cat(x, 1) for x in zip(*answers, strict=True))
    ends = [7, 11, 15]  # every stride frames from the delay on
    assert complete.nonzero()[:, 1].tolist() == ends * streams
    for end in ends:
        expected = clip_logits(model, frames[:, end + 1 - LENGTH:end + 1])
        close(logits[:, end], expected)
        close(scores[:, end], expected.softmax(-1))
    assert not scene_cut.any()
    whole, _ = StreamingRecognizer(model).forward_steps(frames)
    close(logits, whole.logits)
    assert (logits[:, 7] - logits[:, 11]).abs().max() > .1


def test_an_answer_in_between_is_the_mean_of_groups_so_far(model):
    """Written out with the branches' own maps, pooled by hand."""
    stream, frames = StreamingRecognizer(model), frames_of(12)
    answers, _ = stream.forward_steps(frames)
    data = model.data_preprocessor(
        dict(inputs=list(frames[:, :8]), data_samples=None))['inputs']
    with torch.no_grad():
        (keys, spikes), _ = model.extract_feat(data)
    keys = keys.mean((2, 3))
    spikes = spikes.mean((2, 3)).unflatten(0, (GROUPS, STRIDE - 1))

    def logits(group, steps):
        mean = spikes[group, :steps].mean(0) if steps else 0 * spikes[0, 0]
        return model.cls_head.fc_cls(torch.cat([keys[group], mean]))

    first = logits(0, 3)
    expected = [
        logits(0, 0), logits(0, 1), logits(0, 2), first, first,
        *((first + logits(1, steps)) / 2 for steps in (1, 2, 3))]
    close(answers.logits[0, :8], torch.stack(expected))
    close(answers.logits[0, 8], answers.logits[0, 7])  # a key frame


PREPROCESSOR = MODEL['data_preprocessor']
PARTS = dict(type='ActionDataPreprocessor', std=PREPROCESSOR['std'])
VARIANTS = dict(
    previous=dict(reference='previous'),
    plain=dict(data_preprocessor=dict(PARTS, mean=PREPROCESSOR['mean'])),
    two=dict(data_preprocessor=dict(
        type='MultiModalDataPreprocessor', preprocessors=dict(
            key_frames=dict(PARTS, mean=PREPROCESSOR['mean']),
            residual_frames=dict(PARTS, mean=[0., 0., 0.])))),
    bgr=dict(data_preprocessor=dict(PREPROCESSOR, to_rgb=True)),
    one_step=dict(stride=2, num_frames=2),
    neuron=dict(backbone=dict(MODEL['backbone'], stateless_stages=(1, ),
                              neuron=dict(type='LIFNeuron', v_reset=-.2))),
    all_stages=dict(cls_head=dict(MODEL['cls_head'], downsample=False)))


@pytest.mark.parametrize('name', VARIANTS)
def test_networks_of_other_kinds(name):
    model = build(**VARIANTS[name])
    if name == 'two':  # its clips are split ahead of it; the same values
        reference = build()
        reference.load_state_dict(model.state_dict(), strict=False)
    else:
        reference = model
    stream, frames = StreamingRecognizer(model), frames_of(12, 2)
    answers, _ = stream.forward_steps(frames)
    length = stream.receptive_field
    assert stream.delay == length - 1
    ends = answers.complete[0].nonzero().ravel().tolist()
    assert ends == list(range(length - 1, 12, model.stride))
    for end in ends:
        close(answers.logits[:, end], clip_logits(
            reference, frames[:, end + 1 - length:end + 1]))


def test_streams_out_of_step_are_answered_as_if_alone(model):
    """Reset at different frames, at rest where v_reset is not zero."""
    for net in (model, build(**VARIANTS['neuron']),
                build(**VARIANTS['all_stages'])):
        stream, frames = StreamingRecognizer(net), frames_of(17, 3)
        resets = {2: [1], 7: [0, 1], 12: [2]}
        state, together = None, []
        for number, frame in enumerate(frames.unbind(1)):
            if number in resets:
                rows = torch.zeros(3, dtype=torch.bool)
                rows[resets[number]] = True
                state = stream.reset(state, rows)
            answer, state = stream.step(frame, state)
            together.append(answer.logits)
        together = torch.stack(together, 1)
        for row in range(3):
            bounds = [0, *(n for n, rows in resets.items() if row in rows),
                      17]
            alone = [stream.forward_steps(frames[row:row + 1, a:b])[0].logits
                     for a, b in zip(bounds, bounds[1:], strict=False)]
            close(together[row:row + 1], torch.cat(alone, 1))


def test_reset_of_all_begins_anew(model):
    stream, frames = StreamingRecognizer(model), frames_of(9)
    first, state = stream.forward_steps(frames)
    again, _ = stream.forward_steps(frames, stream.reset(state))
    assert torch.equal(first.logits, again.logits)
    on, _ = stream.forward_steps(frames, state)
    assert not torch.allclose(first.logits, on.logits)


def test_scene_cuts_reset_their_stream_alone(model):
    """Off by default; the rule in grey levels, by hand."""
    frames = torch.full((2, 10, 3, 32, 32), 100, dtype=torch.uint8)
    frames[0, 6:] += 30  # in the middle of a group
    frames[1, 4] += 10  # a key frame, below the limit; the rest are 10 off
    frames += frames_of(10, 2) // 128  # a texture of one grey level
    cutting = StreamingRecognizer(model, scene_cut=20)
    answers, _ = cutting.forward_steps(frames)
    assert answers.scene_cut.nonzero().tolist() == [[0, 6]]
    parts = [StreamingRecognizer(model).forward_steps(x)[0].logits
             for x in (frames[:1, :6], frames[:1, 6:])]
    close(answers.logits[:1], torch.cat(parts, 1))
    plain, _ = StreamingRecognizer(model).forward_steps(frames)
    close(answers.logits[1], plain.logits[1])
    assert not plain.scene_cut.any()
    _, state = cutting.forward_steps(frames[:, :6])
    answer, _ = cutting.step(frames[:, 6], cutting.reset(
        state, torch.tensor([True, False])))  # it begins anyway
    assert not answer.scene_cut.any()
    assert (answers.logits[0, 6:] - plain.logits[0, 6:]).abs().max() > 1e-3


@pytest.mark.parametrize('before', [0, 1, 3, 6, 8])
def test_a_state_is_saved_and_goes_on(model, before):
    stream, frames = StreamingRecognizer(model), frames_of(14, 2)
    state = stream.init_state(2)
    if before:
        _, state = stream.forward_steps(frames[:, :before], state)
    file = io.BytesIO()
    torch.save(state, file)
    assert len(file.getvalue()) < 2e6
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    found, _ = stream.forward_steps(frames[:, before:], loaded)
    expected, _ = stream.forward_steps(frames)
    close(found.logits, expected.logits[:, before:])


def test_a_state_is_a_value(model):
    """A step changes neither the state that it gets nor its frames."""
    stream, frames = StreamingRecognizer(model), frames_of(7, 2)
    _, state = stream.forward_steps(frames[:, :6])
    state = stream.reset(state, torch.tensor([True, False]))
    before = [x.clone() for x in tree_leaves(state) if x is not None]
    found = [stream.step(frames[:, 6], state)[0].logits for _ in range(2)]
    assert torch.equal(*found)
    after = [x for x in tree_leaves(state) if x is not None]
    assert all(map(torch.equal, before, after))


def size_of(state):
    """Bytes of all that a state keeps alive, each storage once."""
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes()
                for x in tree_leaves(state) if x is not None}
    return sum(storages.values())


@pytest.mark.parametrize('reference, total', [('key', 500), ('previous', 40)])
def test_the_state_does_not_grow(reference, total):
    """The same in each group, and for any chunking."""
    model, frames = build(reference=reference), frames_of(100)
    stream, state, sizes = StreamingRecognizer(model), None, []
    for number in range(total):
        _, state = stream.step(frames[:, number % 100].clone(), state)
        sizes.append(size_of(state))
    assert sizes == sizes[:STRIDE] * (total // STRIDE)
    for number in range(1, 9):
        _, state = stream.forward_steps(frames[:, :number])
        assert size_of(state) <= 1.05 * sizes[number - 1]


def test_a_frame_costs_one_step_or_one_key_pass(model):
    """Frames that reach the first convolution of each branch."""
    seen = []
    first = next(m for m in model.key_backbone.modules()
                 if isinstance(m, nn.Conv2d))
    kv = model.cls_head.fusions['stage4'].block.cross_attn.to_k
    handles = [part.register_forward_hook(
        lambda module, args, out, name=name: seen.append((name, len(args[0])))
    ) for name, part in dict(key=first, spiking=model.backbone.conv1,
                             keys=kv).items()]
    stream, state = StreamingRecognizer(model), None
    for frame in frames_of(8).unbind(1):
        _, state = stream.step(frame, state)
    for handle in handles:
        handle.remove()
    assert seen == 2 * [('key', 1), ('keys', 1), *3 * [('spiking', 1)]]


@pytest.mark.parametrize('dense', ['bfloat16', 'bfloat16_keys'])
def test_an_accelerated_network_streams(dense):
    model = build().float()
    frames = frames_of(8, 2)
    expected, _ = StreamingRecognizer(model).forward_steps(frames)
    fast = StreamingRecognizer(accelerate(model, dense=dense))
    state, found = None, []
    for frame in frames.unbind(1):
        answer, state = fast.step(frame, state)
        found.append(answer.logits)
    file = io.BytesIO()
    torch.save(state, file)
    difference = torch.stack(found, 1) - expected.logits
    assert difference.abs().mean() < .1 * expected.logits.std()


REFUSED = dict(
    training=(lambda: build().train(), 'training mode'),
    shift=(lambda: build(key_backbone=dict(
        type='MobileNetV2TSM', widen_factor=.25, num_segments=2,
        out_indices=(1, 2, 4, 6))), 'MobileNetV2TSM.*before and behind'),
    published=(lambda: build(data_preprocessor=dict(
        PREPROCESSOR, published_kinetics_normalization=True, num_frames=8)),
        'published_kinetics_normalization'),
    other=(lambda: nn.Linear(1, 1), 'Linear.*ReSpikeRecognizer'))


@pytest.mark.parametrize('name', REFUSED)
def test_networks_that_cannot_stream(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        StreamingRecognizer(make())


def test_inputs_that_do_not_fit(model):
    stream, frames = StreamingRecognizer(model), frames_of(2)
    _, state = stream.forward_steps(frames)
    for wrong, message in (
            (frames[:, 0].float(), 'torch.float32'),
            (frames[0, 0], r'\(3, 1, 32, 32\)'),
            (frames[:, 0, :, :16], '16, 32.*at least 32'),
            (frames_of(1, 2)[:, 0], 'frames of 2 streams.*state of 1'),
            (frames_of(1, size=48)[:, 0], '48, 48.*32, 32')):
        with pytest.raises(ValueError, match=message):
            stream.step(wrong, state)
    with pytest.raises(ValueError, match='batch=0'):
        stream.init_state(0)
    with pytest.raises(ValueError, match='scene_cut=-1'):
        StreamingRecognizer(model, scene_cut=-1)
