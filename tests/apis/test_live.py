"""Frames that come as they come: dropped, paced, counted; what is reported."""
import math
import runpy
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose

from respike_mmaction.apis import (
    FrameSource,
    LiveFrames,
    LiveStream,
    Source,
    Span,
    energy_per_frame,
    load_trained,
    predict_sources,
)
from respike_mmaction.apis import live_frames as live_module
from respike_mmaction.apis.live_frames import (
    frame_transform,
    sampled_interval,
)
from respike_mmaction.datasets.video_reader import VideoReadError
from respike_mmaction.energy import ENERGY_MODELS, Count, OperationCounter
from tests.apis.networks import (
    CLASSES,
    MODEL,
    config,
    pipeline,
    write_checkpoint,
)
from tests.apis.serving import served
from tests.apis.test_stream import build, close, frames_of
from tests.conftest import ROOT
from tests.videos import write_video

EACH = Span(frames=1)


class Numbers:
    """A source whose frames are numbers; ``ended`` when all were given."""

    def __init__(self, number, fps=25., live=True, error=None):
        self.name, self.fps = 'numbers', fps
        self.num_frames = None if live else number
        self.error, self.ended = error, threading.Event()
        self._numbers = range(number)

    def __iter__(self):
        yield from self._numbers
        self.ended.set()
        if self.error:
            raise self.error

    def rgb(self, number):
        return np.full((1, 1, 3), number)


def taken(frames):
    return [int(frame.max()) for frame in frames]


@pytest.mark.parametrize('size', [1, 2, 5])
def test_a_full_queue_drops_the_oldest_and_counts(size):
    source = Numbers(20)
    with LiveFrames(source, EACH, queue_size=size) as frames:
        source.ended.wait(10)  # nobody takes any in the meantime
        assert taken(frames) == list(range(20 - size, 20))
    assert (frames.read, frames.dropped) == (20, 20 - size)


def test_a_file_as_fast_as_possible_loses_nothing():
    with LiveFrames(Numbers(50, live=False), EACH, speed=None) as frames:
        assert taken(frames) == list(range(50))
    assert (frames.read, frames.dropped) == (50, 0)


@pytest.mark.parametrize('interval, fps, expected', [
    (Span(frames=3), 0., [0, 3, 6, 9]),
    (Span(seconds=.1), 25., [0, 3, 5, 8, 10]),  # each 2.5th
    (Span(seconds=.02), 25., list(range(11)))])  # a camera that is slower
def test_the_interval_is_kept_without_drift(interval, fps, expected):
    source = Numbers(11, fps, live=False)
    with LiveFrames(source, interval, speed=None) as frames:
        assert taken(frames) == expected


def test_a_file_is_played_at_its_speed(monkeypatch):
    """On a clock that only waiting moves on."""
    clock, shown = [100.], []
    monkeypatch.setattr(live_module, 'time',
                        SimpleNamespace(monotonic=lambda: clock[0]))
    source = Numbers(6, fps=20., live=False)
    frames = LiveFrames(source, Span(frames=2), speed=2., queue_size=6)
    monkeypatch.setattr(
        frames._stop, 'wait',
        lambda s: clock.__setitem__(0, clock[0] + s))
    rgb = source.rgb

    def timed(number):
        shown.append((number, round(clock[0] - 100, 6)))
        return rgb(number)

    monkeypatch.setattr(source, 'rgb', timed)
    with frames:
        source.ended.wait(10)
        assert taken(frames) == [0, 2, 4]
    assert shown == [(0, 0.), (2, .05), (4, .1)]


def test_errors_and_early_ends_do_not_hang():
    source = Numbers(3, live=False, error=VideoReadError('numbers: broken'))
    found = []
    with pytest.raises(VideoReadError, match='broken'), \
            LiveFrames(source, EACH, speed=None) as frames:
        found.extend(int(frame.max()) for frame in frames)
    with LiveFrames(Numbers(10**9, live=False), EACH, speed=None) as frames:
        assert int(next(iter(frames)).max()) == 0
    assert not frames._thread.is_alive()


def test_sources_without_a_frame_rate_and_wrong_numbers():
    with pytest.raises(VideoReadError, match='no frames a second'):
        LiveFrames(Numbers(3, fps=0.), Span(seconds=1.))
    with pytest.raises(VideoReadError, match='as fast as possible'):
        LiveFrames(Numbers(3, fps=0., live=False), EACH)
    for wrong in (dict(speed=0), dict(speed=-1), dict(queue_size=0)):
        with pytest.raises(ValueError, match='positive'):
            LiveFrames(Numbers(3), EACH, **wrong)
    with pytest.raises(ValueError, match='positive'):
        LiveFrames(Numbers(3), Span())


# the config


def recipe(word):
    path, = (ROOT / 'configs/respike').glob(f'respike_{word}.py')
    return Config.fromfile(path).test_pipeline


def test_intervals_of_the_recipes():
    hmdb = recipe('imagenet-pretrained-r18-sr18_1xb32-16x1x1-s4-100e_'
                  'hmdb51-rgb')
    assert sampled_interval(hmdb, 16) == Span(frames=1)
    assert sampled_interval(recipe('mobilenetv2-sr10_1xb16-*'), 8) == \
        Span(frames=2)
    kinetics = recipe('imagenet-pretrained-r50-sr18_8xb16-1x1x16-s2-100e_'
                      'kinetics400-rgb')
    with pytest.raises(ValueError, match='whole video.*0.625 seconds'):
        sampled_interval(kinetics, 16)
    steps = [dict(type='SampleFrames', clip_len=8, frame_interval=3,
                  target_fps=30)]
    assert sampled_interval(steps, 8) == Span(seconds=.1)


def test_a_frame_becomes_what_the_pipeline_makes_of_it():
    steps = recipe('imagenet-pretrained-r18-sr18_1xb32-16x1x1-s4-100e_'
                   'hmdb51-rgb')
    images = list(np.random.default_rng(0).integers(
        0, 256, (16, 60, 80, 3), dtype=np.uint8))
    found = torch.stack([frame_transform(steps)(x) for x in images], 1)
    at = [step['type'] for step in steps].index('VideoDecode')
    expected = Compose(steps[at + 1:])(dict(
        imgs=images, clip_len=16, num_clips=1, original_shape=(60, 80),
        img_shape=(60, 80), modality='RGB'))['inputs']
    assert torch.equal(found[0, ::4], expected['key_frames'][0])
    assert torch.equal(
        found[0, 1].int() - found[0, 0].int(),
        expected['residual_frames'][0, 0, 0].int())


@pytest.mark.parametrize('steps, message', [
    ([dict(type='VideoDecode')], 'fit a stream: it has.*FormatShape'),
    ([dict(type='VideoDecode'), dict(type='FormatShape', input_format='NCHW'),
      dict(type='GroupFrameOrder')], 'GroupFrameOrder.*frame by frame')])
def test_pipelines_that_do_not_fit(steps, message):
    with pytest.raises(ValueError, match=message):
        frame_transform(steps)


def test_a_frame_with_several_views():
    steps = [dict(type='VideoDecode'), dict(type='ThreeCrop', crop_size=32),
             dict(type='FormatShape', input_format='NCHW')]
    with pytest.raises(ValueError, match='3 views of a frame.*CenterCrop'):
        frame_transform(steps)(np.zeros((32, 48, 3), np.uint8))


# the network


def trained(tmp_path, **kwargs):
    steps = [step if step['type'] != 'SampleFrames' else
             dict(step, num_clips=1) for step in pipeline()]
    return load_trained(write_checkpoint(tmp_path / 'a.pth'),
                        config(steps), **kwargs)


def as_windows(network, path):
    """Scores of the clips that end with every group, by the pipeline."""
    return torch.stack([torch.from_numpy(answer.scores) for answer in
                        predict_sources(network, [Source(str(path))],
                                        window=Span(frames=8),
                                        hop=Span(frames=4))])


def check_video(network, path, number):
    network.model.double()
    with FrameSource(str(path)) as source:
        live = LiveStream(network, source, speed=None)
        moments = [moment for moment, _ in zip(
            live, range(number), strict=False)]
    scores = torch.cat([m.answer.scores for m in moments])
    ends = [i for i, m in enumerate(moments) if m.answer.complete[0]]
    assert ends == list(range(7, number, 4))
    close(scores[ends], as_windows(network, path)[:len(ends)])
    assert [m.early for m in moments] == [i < 7 for i in range(number)]
    return live, moments


def test_a_video_is_answered_as_its_windows_are(tmp_path):
    write_video(tmp_path / 'a.mp4', 22, size=(48, 32))
    live, moments = check_video(trained(tmp_path), tmp_path / 'a.mp4', 22)
    assert live.taken == live.frames.read == 22 and not live.frames.dropped
    assert [m.kind for m in moments] == [
        'key' if i % 4 == 0 else 'residual' for i in range(22)]
    for kind in ('key', 'residual'):
        times = [m.latency for m in moments if m.kind == kind]
        assert live.latency(kind) == pytest.approx(
            tuple(np.percentile(times, (50, 95, 99))))
    assert 0 < live.energy()['residual'] < math.inf
    assert live.scene_cuts == 0 < live.per_second


def test_a_real_video(tmp_path, shared_data):
    path = sorted((shared_data / 'videos/hmdb51').glob('*.avi'))[0]
    check_video(trained(tmp_path), path, 20)


def test_an_http_stream(tmp_path):
    """No frame is lost uncounted."""
    write_video(tmp_path / 'a.mp4', 30, size=(32, 32))
    with served(tmp_path) as address, \
            FrameSource(f'{address}/a.mp4') as source:
        live = LiveStream(trained(tmp_path), source)
        assert sum(1 for _ in live) == live.taken > 0
    assert live.taken + live.frames.dropped == live.frames.read == 30


def test_the_example_of_the_docs(tmp_path, monkeypatch, capsys):
    text = (ROOT / 'docs/streaming.md').read_text()
    code = text.split('```python\n')[1].split('```')[0]
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / 'CHECKPOINT')
    config().dump(tmp_path / 'CONFIG.py')
    exec(code, dict(frames=frames_of(12, 2).unbind(1)))
    assert capsys.readouterr().out.count('tensor') == 2 * 2


def test_energy_of_frames_adds_up_to_that_of_a_clip():
    """But for the classifier, which answers every frame."""
    model, frames = build(), frames_of(8, 2)
    energy = ENERGY_MODELS[0]
    found = energy_per_frame(model, frames)
    data = model.data_preprocessor(
        dict(inputs=list(frames), data_samples=None))['inputs']
    with torch.no_grad(), OperationCounter(model) as counter:
        model.extract_feat(data, 'head')
    clip = energy.compute(sum(counter.layers.values(), Count()))
    classifier = model.cls_head.fc_cls.weight.numel() * energy.pj_per_mac
    expected = clip / 2 + (8 - 2) * classifier / 1e9
    assert 2 * found['key'] + 6 * found['residual'] == pytest.approx(expected)
    assert found['residual'] != pytest.approx(found['key'], rel=.01)
    assert math.isnan(energy_per_frame(model, frames[:, :1])['residual'])


def run_tool(monkeypatch, *words):
    monkeypatch.setattr(sys, 'argv', ['stream.py', *map(str, words)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / 'tools/stream.py'), run_name='__main__')
    return end.value.code


def test_the_command(tmp_path, monkeypatch, capsys):
    write_video(tmp_path / 'a.mp4', 10, size=(32, 32))
    steps = [step if step['type'] != 'SampleFrames' else
             dict(step, num_clips=1) for step in pipeline()]
    config(steps).dump(tmp_path / 'a.py')
    checkpoint = write_checkpoint(tmp_path / 'a.pth')
    (tmp_path / 'names.txt').write_text('\n'.join(CLASSES))
    assert run_tool(
        monkeypatch, tmp_path / 'a.mp4', tmp_path / 'a.py', checkpoint,
        '--speed', 0, '--every', 0, '--label-map', tmp_path / 'names.txt',
        '--accelerate', '--scene-cut', 200) == 0
    lines = capsys.readouterr().out.splitlines()
    answers = [line for line in lines
               if any(name in line for name in CLASSES)]
    assert len(answers) == 10
    assert [line.endswith('(early)') for line in answers] == \
        7 * [True] + 3 * [False]
    assert '10 answered, 0 dropped' in '\n'.join(lines)
    rows = {line.split()[0]: line.split()[1:] for line in lines[-3:]}
    for kind in ('key', 'residual'):
        p50, p95, p99, energy = map(float, rows[kind])
        assert p50 <= p95 <= p99 and energy > 0


def test_the_command_names_what_is_wrong(tmp_path, monkeypatch):
    checkpoint = write_checkpoint(tmp_path / 'a.pth')
    write_video(tmp_path / 'a.mp4', 10, size=(32, 32))
    assert 'b.mp4' in run_tool(monkeypatch, tmp_path / 'b.mp4', checkpoint)
    assert 'not allowed' in run_tool(monkeypatch, tmp_path / 'a.mp4',
                                     checkpoint, '--speed', -1)
    other = dict(MODEL, num_frames=16)
    Config(dict(config().to_dict(), model=other)).dump(tmp_path / 'o.py')
    assert 'interval' in run_tool(monkeypatch, tmp_path / 'a.mp4',
                                  tmp_path / 'o.py', checkpoint)
