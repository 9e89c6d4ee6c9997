"""Scores over time by hand, and what is drawn of them."""
import csv

import av
import numpy as np
import pytest
from PIL import Image

from respike_mmaction.apis import (
    FrameSource,
    Prediction,
    Segment,
    Timeline,
    write_scores,
    write_segments,
)
from respike_mmaction.visualization import annotate_video, draw_timeline
from tests.videos import write_video

CLASSES = ['wave', 'jump $', 'fall']


@pytest.fixture
def timeline():
    """Windows of 2 s every second: centres at 1, 2, 3, 4."""
    scores = [[.7, .2, .1], [.5, .3, .2], [.1, .8, .1], [.4, .3, .3]]
    return Timeline.of([
        Prediction('a', scores=np.array(s), start=float(i), end=i + 2.)
        for i, s in enumerate(scores)] + [Prediction('a', error='no')])


def test_every_moment_has_the_nearest_window(timeline):
    np.testing.assert_allclose(timeline.edges, [0, 1.5, 2.5, 3.5, 5])
    assert [timeline.at(t) for t in (0, 1.4, 1.6, 3, 4.9, 9)] == [
        0, 0, 1, 2, 3, 3]


def test_segments(timeline):
    assert timeline.segments() == [
        Segment(0, 2.5, 0, pytest.approx(.6)),
        Segment(2.5, 3.5, 1, pytest.approx(.8)),
        Segment(3.5, 5, 0, pytest.approx(.4))]
    assert timeline.segments(.6) == [
        Segment(0, 1.5, 0, pytest.approx(.7)),
        Segment(2.5, 3.5, 1, pytest.approx(.8))]


def test_files(timeline, tmp_path):
    write_scores(timeline, CLASSES, tmp_path / 'a.csv')
    write_segments(timeline.segments(), CLASSES, tmp_path / 'b.csv')
    with open(tmp_path / 'a.csv') as file:
        rows = list(csv.DictReader(file))
    assert [float(row['jump $']) for row in rows] == [.2, .3, .8, .3]
    assert [float(row['start']) for row in rows] == [0, 1, 2, 3]
    with open(tmp_path / 'b.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['class'] for row in rows] == ['wave', 'jump $', 'wave']


def test_without_times_there_is_no_timeline():
    with pytest.raises(ValueError, match='a.mp4'):
        Timeline.of([Prediction('a.mp4', scores=np.ones(2))])


def test_picture(timeline, tmp_path, monkeypatch):
    """A band of each class, in their colours; the answers written in."""
    import matplotlib.figure
    figures = []
    upstream = matplotlib.figure.Figure.savefig

    def savefig(figure, *args, **kwargs):
        figures.append(figure)
        upstream(figure, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, 'savefig', savefig)
    draw_timeline(timeline, CLASSES, tmp_path / 'a.png', 'A $')
    upper, lower = figures[0].axes[:2]
    assert [t.get_text() for t in upper.texts] == [
        'wave\n0.60', 'jump \\$\n0.80', 'wave\n0.40']
    assert [t.get_text() for t in lower.get_yticklabels()] == [
        'jump \\$', 'wave', 'fall']
    np.testing.assert_array_equal(
        lower.collections[0].get_array(), timeline.scores[:, [1, 0, 2]].T)
    assert Image.open(tmp_path / 'a.png').size[0] == 900


def test_annotated_video(tmp_path):
    """The text changes with the answer; odd sides lose a row."""
    write_video(tmp_path / 'a.mp4', 20, size=(96, 64))
    timeline = Timeline(np.array([[0., 1.], [1., 2.]]),
                        np.array([[.9, .1], [.1, .9]]))
    with FrameSource(str(tmp_path / 'a.mp4')) as frames:
        annotate_video(frames, timeline, ['W', 'illicit'],
                       tmp_path / 'b.mp4')
    with av.open(str(tmp_path / 'b.mp4')) as container:
        images = [frame.to_ndarray(format='rgb24')[:20, :60].astype(float)
                  for frame in container.decode(video=0)]
    assert len(images) == 20
    steps = [np.abs(b - a).mean() for a, b in zip(images, images[1:],
                                                  strict=False)]
    assert np.argmax(steps) == 9  # of frame 9 to frame 10, at one second
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.mp4', 'b.mp4']
    with FrameSource(str(tmp_path / 'a.mp4')) as frames, \
            pytest.raises(ValueError, match='b.nothing is no name'):
        annotate_video(frames, timeline, ['W', 'X'], tmp_path / 'b.nothing')
