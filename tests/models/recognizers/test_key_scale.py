"""Key frames at another resolution than the residual frames."""
import pytest
import torch
from mmaction.registry import MODELS

from respike_mmaction.apis import StreamingRecognizer
from tests.apis.networks import MODEL
from tests.apis.test_stream import build, clip_logits, frames_of


def test_half_is_the_mean_of_two_by_two():
    half, whole = build(key_scale=.5), build()
    half.load_state_dict(whole.state_dict())
    frames = torch.rand(2, 3, 64, 96).double()
    means = frames.unflatten(3, (48, 2)).unflatten(2, (32, 2)).mean((3, 5))
    with torch.no_grad():
        for found, expected in zip(half.key_maps(frames),
                                   whole.key_maps(means), strict=True):
            torch.testing.assert_close(found, expected)


def test_residual_frames_attend_to_a_smaller_grid():
    model = build(key_scale=.5)
    shapes = []
    attention = model.cls_head.fusions['stage3'].block.cross_attn
    attention.register_forward_hook(
        lambda _, args, out: shapes.append((args[0].shape[1],
                                            args[1][0].shape[2])))
    clip_logits(model, frames_of(8, size=64))
    assert shapes == [(3 * 4 * 4, 2 * 2)]


@pytest.mark.parametrize('scale', [0, -1, 1.5, float('nan')])
def test_scales_that_are_refused(scale):
    with pytest.raises(ValueError, match='key_scale=.*above 0 and at most 1'):
        MODELS.build(dict(MODEL, key_scale=scale))


def test_streams_of_smaller_keys_without_fusion():
    """As ReSpike-Lite: a whole group is answered as its clip is."""
    model = build(key_scale=.7, cls_head=dict(
        MODEL['cls_head'], fused_stages=()))
    frames = frames_of(8, size=64)
    answers, _ = StreamingRecognizer(model).forward_steps(frames)
    torch.testing.assert_close(answers.logits[:, -1],
                               clip_logits(model, frames))
