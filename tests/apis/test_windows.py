"""Scores over time: the windows of files and of streams."""
import numpy as np
import pytest
from mmengine.dataset import Compose

from respike_mmaction.apis import (
    FrameSource,
    Source,
    Span,
    load_trained,
    predict,
    predict_sources,
)
from respike_mmaction.apis.windows import read_windows
from respike_mmaction.datasets.decoders.pyav_reader import PyAVReader
from respike_mmaction.datasets.video_reader import open_video
from tests.apis.networks import double, pipeline
from tests.apis.serving import served
from tests.videos import write_video


def test_a_stream_is_cut_into_windows(folder, checkpoint):
    with served(folder) as address:
        found = list(predict(f'{address}/long.mp4', checkpoint,
                             window=Span(frames=12)))
        bad, = predict(f'{address}/none.mp4', checkpoint)
    # 30 frames: the last six are no whole window of a stream
    assert [(p.start, p.end) for p in found] == [(0, 1.2), (1.2, 2.4)]
    files = list(predict(folder / 'long.mp4', checkpoint,
                         window=Span(frames=12)))
    for one, other in zip(found, files, strict=False):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
    assert '404' in bad.error or 'HTTP' in bad.error


def test_a_stream_shorter_than_its_window_is_named(folder, checkpoint):
    prediction, = predict(f'file://{folder}/short.mp4', checkpoint)
    assert 'ended after 5 frames' in prediction.error


def test_one_window_is_the_video(folder, checkpoint):
    network = double(load_trained(checkpoint))
    sources = [Source(str(folder / name))
               for name in ('long.mp4', 'short.mp4')]
    whole = list(predict_sources(network, sources))
    over_time = list(predict_sources(network, sources,
                                     window=Span(frames=30)))
    for one, other in zip(whole, over_time, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, rtol=0,
                                   atol=1e-9)


@pytest.mark.parametrize('batch_size', [1, 3])
def test_windows_are_those_of_the_reader(folder, checkpoint, batch_size):
    """Each is what the pipeline makes of these frames of the file."""
    network = double(load_trained(checkpoint))
    path = str(folder / 'long.mp4')
    found = list(predict_sources(
        network, [Source(path)], window=Span(frames=9), hop=Span(.5),
        batch_size=batch_size))
    starts = [0, 5, 10, 15, 20, 21]  # hop 5; the last ends with the video
    assert [round(p.start * 10) for p in found] == starts
    assert [round(p.end * 10) for p in found] == [s + 9 for s in starts]
    rest = Compose(network.pipeline[3:])
    sampling = Compose(network.pipeline[1:2])
    for start, prediction in zip(starts, found, strict=True):
        data = sampling(dict(total_frames=9, start_index=0, avg_fps=10.,
                             filename=path, label=-1))
        data['imgs'] = open_video(path).get_frames(
            start + data['frame_inds'])
        data['img_shape'] = data['original_shape'] = (32, 32)
        sample = rest(data)
        expected = network.model.test_step(dict(
            inputs=[sample['inputs']],
            data_samples=[sample['data_samples']]))[0].pred_score.detach()
        np.testing.assert_allclose(prediction.scores, expected.numpy(),
                                   rtol=0, atol=1e-9)


def test_few_frames_are_held(tmp_path):
    """A frame lives from its decoding to the end of its last window."""
    write_video(tmp_path / 'long.mp4', 48, size=(32, 32))
    steps = pipeline()
    held, most = set(), 0

    class Counting(FrameSource):
        def rgb(self, frame):
            nonlocal most
            image = super().rgb(frame).view(Watched)
            held.add(id(image))
            most = max(most, len(held))
            return image

    class Watched(np.ndarray):
        def __del__(self):
            held.discard(id(self))

    steps[1]['num_clips'] = 1  # 8 frames of each window
    with Counting(str(tmp_path / 'long.mp4')) as source:
        count = sum(1 for _ in read_windows(
            source, steps, Span(frames=10), Span(frames=5)))
    assert count == 9  # one more ends with the last frame
    assert 8 <= most <= 10  # an open window and half of the next


def test_a_broken_tail_is_named_after_the_answers(folder, checkpoint,
                                                  monkeypatch):
    scan = PyAVReader._scan

    def promises_more(self):
        scan(self)
        self.num_frames += 10

    monkeypatch.setattr(PyAVReader, '_scan', promises_more)
    found = list(predict(folder / 'long.mp4', checkpoint,
                         window=Span(frames=20)))
    assert found[0].scores is not None and found[-1].scores is None
    assert '30 of 40 frames' in found[-1].error


@pytest.mark.parametrize('text', ['', '0', '0f', '-1', '1.5f', '1e3', 'two'])
def test_no_length(text):
    with pytest.raises(ValueError, match='is no length'):
        Span.parse(text)


@pytest.mark.parametrize('span', [Span(), Span(-1.), Span(1., -3)])
def test_a_length_that_is_not_positive(span, folder, checkpoint):
    with pytest.raises(ValueError, match='longer than 0'):
        list(predict(folder / 'long.mp4', checkpoint, window=span))


def test_lengths():
    assert Span.parse('2.5') == Span.parse('2.5s') == Span(seconds=2.5)
    assert Span.parse('64f') == Span(frames=64)
