"""Views of a video under the test protocols of MMAction2."""
import pytest
import torch
from mmaction.models.recognizers import Recognizer2D, Recognizer3D
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from respike_mmaction.energy.clips import first_view, is_correct, num_views
from respike_mmaction.energy.clips import test_pipeline as pipeline_of


@pytest.mark.parametrize('pipeline, frames, views', [
    # TSN: 25 segments, ten crops
    ([dict(type='SampleFrames', clip_len=1, num_clips=25)], 250, 10),
    # TSM: 8 segments, sampled twice, three crops
    ([dict(type='SampleFrames', clip_len=1, num_clips=8)], 48, 6),
    # C2D: ten clips of 8 frames, three crops
    ([dict(type='SampleFrames', clip_len=8, num_clips=10)], 240, 30),
    # key or residual frames of 16, three crops
    ([dict(type='SampleFrames', clip_len=1, num_clips=16),
      dict(type='ResidualFrameTransform', stride=4, keep='residual')], 36, 3),
    ([dict(type='SampleFrames', clip_len=16, num_clips=1),
      dict(type='ResidualFrameTransform', stride=2, keep='key')], 24, 3),
    # nothing is known: one view
    ([dict(type='Resize')], 5, 1),
])
def test_views_of_2d_recognizers(pipeline, frames, views):
    model = Recognizer2D.__new__(Recognizer2D)
    inputs = torch.empty(1, frames, 3, 1, 1)
    assert num_views(model, inputs, pipeline) == views


def test_views_of_3d_recognizers():
    model = Recognizer3D.__new__(Recognizer3D)
    assert num_views(model, torch.empty(1, 30, 3, 8, 2, 2), []) == 30


def test_first_view():
    keys, residuals = torch.rand(1, 3, 4, 1), torch.rand(1, 3, 4, 2, 1)
    one = first_view(dict(key_frames=keys, residual_frames=residuals), 3)
    assert torch.equal(one['key_frames'], keys[:, :1])
    assert torch.equal(one['residual_frames'], residuals[:, :1])
    frames = torch.rand(1, 24, 1)
    assert torch.equal(first_view(frames, 3), frames[:, :8])


def test_pipeline_inside_of_a_wrapper():
    inner = dict(type='VideoDataset', pipeline=[dict(type='A')])
    dataset = dict(type='RepeatDataset', dataset=inner)
    cfg = Config(dict(test_dataloader=dict(dataset=dataset)))
    assert pipeline_of(cfg)[0]['type'] == 'A'
    with pytest.raises(ValueError, match='no test pipeline'):
        pipeline_of(Config(dict(model=1)))


@pytest.mark.parametrize('label, prediction, correct', [
    ([2], [2], True), ([2], [1], False), ([-1], [1], None), (None, [1], None)])
def test_is_correct(label, prediction, correct):
    sample = ActionDataSample().set_pred_label(prediction)
    if label is not None:
        sample.set_gt_label(label)
    assert is_correct(sample) is correct
