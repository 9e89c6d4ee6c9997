"""predict.py answers as test.py does, and goes on where files are bad."""
import csv
import io
import json
import os
import runpy
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from av.format import ContainerFormat
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.runner import Runner

from respike_mmaction.apis import (
    FrameSource,
    Source,
    Span,
    expand,
    load_trained,
    predict,
    predict_sources,
)
from respike_mmaction.apis.answer_files import AnswerFile, looked_at
from respike_mmaction.apis.sources import is_live
from respike_mmaction.apis.windows import read_windows
from respike_mmaction.datasets.decoders.pyav_reader import PyAVReader
from respike_mmaction.datasets.video_reader import open_video
from respike_mmaction.engine import read_answers
from tests import processes
from tests.apis.networks import CLASSES, config, pipeline, write_checkpoint
from tests.conftest import ROOT
from tests.videos import write_video

DECODERS = {
    'PyAV': ('VideoInit', 'VideoDecode', dict(decoder='pyav')),
    'decord': ('VideoInit', 'VideoDecode', dict(decoder='decord')),
    'PyAV of MMAction2': ('PyAVInit', 'PyAVDecode', {}),
    'decord of MMAction2': ('DecordInit', 'DecordDecode', {}),
    'OpenCV of MMAction2': ('OpenCVInit', 'OpenCVDecode', {}),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Videos of 30, 19 and 5 frames, and two that cannot be read."""
    folder = tmp_path_factory.mktemp('videos')
    for name, frames in (('long', 30), ('a b', 19), ('short', 5)):
        write_video(folder / f'{name}.mp4', frames, size=(32, 32))
    (folder / 'empty.avi').touch()
    (folder / 'text.mp4').write_text('This is not a video.\n' * 9)
    (folder / 'notes.txt').write_text('a b.mp4 2\nlong.mp4 0\ntext.mp4 1\n')
    return folder


@pytest.fixture(scope='module')
def checkpoint(folder):
    return write_checkpoint(folder / 'weights.pth')


def double(network):
    network.model.double()
    return network


@pytest.mark.parametrize('decoder', DECODERS)
def test_the_answer_is_that_of_test_py(decoder, folder, checkpoint, tmp_path):
    opening, decoding, kwargs = DECODERS[decoder]
    steps = pipeline(dict(type=opening, **kwargs), dict(type=decoding))
    names = ['long.mp4', 'short.mp4', 'a_b.mp4']
    (folder / 'a_b.mp4').write_bytes((folder / 'a b.mp4').read_bytes())
    ann_file = tmp_path / 'list.txt'
    ann_file.write_text(''.join(f'{name} 1\n' for name in names))
    cfg = config(steps)
    cfg.merge_from_dict(dict(
        test_dataloader=dict(
            batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(ann_file=str(ann_file),
                         data_prefix=dict(video=str(folder)))),
        test_cfg=dict(), work_dir=str(tmp_path), log_level='ERROR',
        load_from=str(checkpoint),
        test_evaluator=[dict(type='AccMetric'), dict(
            type='DumpResults', out_file_path=str(tmp_path / 'dump.pkl'))]))
    runner = Runner.from_cfg(cfg)
    runner.model.double()
    runner.test()
    theirs = [answer.scores for answer in
              read_answers(tmp_path / 'dump.pkl')]
    ours = list(predict_sources(
        double(load_trained(checkpoint, cfg)),
        expand([folder / name for name in names]), batch_size=2))
    assert [p.error for p in ours] == [None] * 3
    assert ours[0].scores.dtype == np.float64
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.scores, other, rtol=0, atol=1e-9)
    assert np.abs(ours[0].scores - ours[1].scores).max() > 1e-4


def test_bad_files_are_named_and_the_rest_goes_on(folder, checkpoint):
    found = {os.path.basename(p.file): p for p in predict(
        folder, checkpoint, batch_size=2, num_workers=1)}
    (folder / 'a_b.mp4').unlink(missing_ok=True)
    assert {'long.mp4', 'a b.mp4', 'short.mp4', 'empty.avi', 'text.mp4'
            } <= set(found)
    for name, prediction in found.items():
        bad = name in ('empty.avi', 'text.mp4')
        assert (prediction.scores is None) == bad
        assert (name in (prediction.error or '')) == bad
        assert 'on_error' not in (prediction.error or '')
    alone = list(predict(folder / 'long.mp4', checkpoint))
    np.testing.assert_allclose(alone[0].scores, found['long.mp4'].scores,
                               atol=1e-6)


def test_the_answer_says_how_much_it_looked_at(folder, checkpoint):
    steps = pipeline()
    steps[1]['num_clips'] = 1
    prediction, = predict(folder / 'long.mp4', checkpoint, config(steps))
    # 8 of 30 frames, 11 .. 18, at 10 a second
    assert looked_at(prediction) == '8 frames, 1.1-1.9 of 3.0 s'


# Inputs ----------------------------------------------------------------------


def test_lists_with_and_without_labels(folder, tmp_path):
    sources = expand([folder / 'notes.txt'])
    assert [s.label for s in sources] == [2, 0, 1]
    assert sources[0].name == str(folder / 'a b.mp4')
    (tmp_path / 'bare.txt').write_text('x.mp4\ny.mp4\nx.mp4\n')
    assert expand([tmp_path / 'bare.txt'], 'root') == [
        Source('root/x.mp4'), Source('root/y.mp4')]


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=str(tmp_path)):
        expand([tmp_path])


def test_a_camera_that_is_absent_is_named(checkpoint):
    prediction, = predict('99', checkpoint)
    assert '99' in prediction.error


def test_the_number_of_a_camera(monkeypatch):
    """It is a device of Linux that PyAV knows."""
    opened = []
    monkeypatch.setattr('sys.platform', 'linux')
    monkeypatch.setattr('respike_mmaction.apis.sources.av.open',
                        lambda *args, **kwargs: opened.append((args, kwargs)))
    with pytest.raises(AttributeError):  # of the camera, None
        FrameSource('3')
    assert opened == [(('/dev/video3', ), dict(format='v4l2'))]


@pytest.mark.skipif(sys.platform != 'linux', reason='a device of Linux')
def test_pyav_knows_the_device():
    assert ContainerFormat('v4l2', 'r').name.startswith('v')


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def served(folder):
    """The address of a folder."""
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(
        Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_playlist_of_a_server_opens_no_file(checkpoint, tmp_path):
    write_video(tmp_path / 'a.ts', 30, size=(32, 32), gop=10)
    playlist = ('#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{}\n'
                '#EXT-X-ENDLIST\n')
    (tmp_path / 'own.m3u8').write_text(playlist.format('a.ts'))
    (tmp_path / 'file.m3u8').write_text(
        playlist.format(f'file://{tmp_path}/a.ts'))
    with served(tmp_path) as address:
        own, = predict(f'{address}/own.m3u8', checkpoint)
        other, = predict(f'{address}/file.m3u8', checkpoint)
    assert own.scores is not None and own.end == 2
    assert other.scores is None


def test_a_list_names_no_address(tmp_path):
    (tmp_path / 'a.txt').write_text('http://host/a.mp4\nfile:///a.mp4\n')
    for root in (None, '', tmp_path):
        assert not any(is_live(source.name)
                       for source in expand([tmp_path / 'a.txt'], root))


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


# Windows ---------------------------------------------------------------------


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


def test_the_frames_are_those_of_the_reader(shared_data):
    for name in ('codecs/torchcodec_h265_video.mp4', 'codecs/decord_video_90'
                 '.mov', 'hmdb51/TrumanShow_wave_f_nm_np1_fr_med_26.avi',
                 'codecs/decord_unordered.mov',
                 'ucf101/v_BenchPress_g01_c05.avi'):
        path = str(shared_data / 'videos' / name)
        reader = open_video(path, 'pyav')
        with FrameSource(path) as source:
            assert source.num_frames == reader.num_frames
            frames = [source.rgb(frame) for frame in source]
        theirs = reader.get_frames(np.arange(reader.num_frames))
        assert len(frames) == len(theirs)
        for one, other in zip(frames, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_few_frames_are_held(folder, tmp_path):
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


# Networks --------------------------------------------------------------------


def test_weights_that_do_not_fit_are_refused(checkpoint):
    cfg = config()
    cfg.model.cls_head.num_classes = 4
    with pytest.raises(ValueError, match='weights.pth do not fit.*fc_cls'):
        load_trained(checkpoint, cfg)


def test_a_config_that_is_none_of_a_recognizer_is_named(checkpoint):
    with pytest.raises(ValueError, match='no config of a recognizer'):
        load_trained(checkpoint, Config(dict(a=1)))


def test_a_recognizer_of_mmaction2(folder, tmp_path):
    model = dict(
        type='Recognizer2D', backbone=dict(type='ResNet', depth=18),
        cls_head=dict(type='TSNHead', num_classes=3, in_channels=512,
                      average_clips='prob'),
        data_preprocessor=dict(type='ActionDataPreprocessor',
                               mean=[0., 0, 0], std=[255., 255, 255]))
    cfg = config()
    cfg.model = model
    network = MODELS.build(model)
    torch.save(dict(state_dict=network.state_dict()), tmp_path / 'a.pth')
    found, = predict(folder / 'long.mp4', tmp_path / 'a.pth', cfg)
    assert found.scores.sum() == pytest.approx(1, abs=1e-5)
    weights = network.state_dict()
    del weights['cls_head.fc_cls.bias']
    torch.save(dict(state_dict=weights), tmp_path / 'b.pth')
    with pytest.raises(ValueError, match='fc_cls.bias'):
        load_trained(tmp_path / 'b.pth', cfg)


def test_names_of_classes(checkpoint, tmp_path):
    assert load_trained(checkpoint).classes == ['class 0', 'class 1',
                                                'class 2']
    named = write_checkpoint(tmp_path / 'a.pth',
                             dataset_meta=dict(classes=CLASSES))
    assert load_trained(named).classes == CLASSES
    labels = tmp_path / 'labels.txt'
    labels.write_text('a\nb\nc\n')
    assert load_trained(named, label_map=labels).classes == ['a', 'b', 'c']
    labels.write_text('a\nb\n')
    with pytest.raises(ValueError, match='2 classes'):
        load_trained(named, label_map=labels)


def test_no_training_imports_it():
    code = ('import sys, respike_mmaction; '
            'print([m for m in sys.modules if "respike_mmaction.apis" in m '
            'or "respike_mmaction.visualization" in m])')
    out = subprocess.run([sys.executable, '-W', 'ignore', '-c', code],
                         capture_output=True, text=True, check=True)
    assert out.stdout.strip().endswith('[]')


# The command -----------------------------------------------------------------


@pytest.fixture
def command(capsys):
    """The command in this process: status and output."""
    main = runpy.run_path(str(ROOT / 'tools/predict.py'))['main']

    def run(*args):
        capsys.readouterr()
        status = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return status, out + err

    return run


@pytest.mark.parametrize('suffix', ['csv', 'jsonl'])
def test_the_command_goes_on_where_it_was_stopped(suffix, folder, tmp_path,
                                                  command):
    checkpoint = write_checkpoint(tmp_path / 'a.pth',
                                  dataset_meta=dict(classes=CLASSES))
    out = tmp_path / f'answers.{suffix}'
    args = (folder / 'notes.txt', folder / 'short.mp4', checkpoint, '--out',
            out, '--top-k', '2')
    status, text = command(*args)
    assert status == 1  # text.mp4
    assert 'text.mp4' in text and 'CANNOT BE READ' in text
    assert 'top-1 accuracy' in text
    assert '4 of 4 videos' in text
    whole = out.read_text()
    rows = ([json.loads(line) for line in whole.splitlines()]
            if suffix == 'jsonl' else list(csv.DictReader(whole.splitlines())))
    assert [os.path.basename(row['file']) for row in rows] == [
        'a b.mp4', 'long.mp4', 'text.mp4', 'short.mp4']
    best = (rows[0]['top'][0] if suffix == 'jsonl' else dict(
        name=rows[0]['name1'], score=float(rows[0]['score1'])))
    expected, = predict(folder / 'a b.mp4', checkpoint)
    assert best['name'] == CLASSES[expected.scores.argmax()]
    assert best['score'] == pytest.approx(expected.scores.max(), abs=1e-6)
    # stopped in the middle of the last line
    out.write_text(whole[:-20])
    status, text = command(*args)
    assert status == 1  # one that the file holds cannot be read
    assert '3 videos are left out' in text
    assert '4 videos, 1 cannot be read' in text
    assert 'short.mp4' in text and 'long.mp4' not in text
    assert out.read_text() == whole
    with pytest.raises(ValueError, match="of the run .* this one is 'other'"):
        AnswerFile(out, CLASSES, 'other', 2)


def test_a_bar_on_a_terminal_and_lines_in_a_log(folder, checkpoint, command,
                                                monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    _, text = command(folder / 'long.mp4', folder / 'short.mp4', checkpoint)
    assert '1 of 2 videos\n' in text and '2 of 2 videos\n' in text
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setattr('sys.stderr', Terminal())
    _, text = command(folder / 'long.mp4', folder / 'short.mp4', checkpoint)
    assert 'of 2 videos' not in text + sys.stderr.getvalue()
    assert '100%' in sys.stderr.getvalue()


def test_a_file_of_somebody_else_is_left_alone(tmp_path):
    for name in ('a.csv', 'a.jsonl'):
        (tmp_path / name).write_text('{"file": 3}\n')
        with pytest.raises(ValueError, match=f'{name} holds no answers'):
            AnswerFile(tmp_path / name, CLASSES, 'run')
        assert (tmp_path / name).read_text() == '{"file": 3}\n'
    with pytest.raises(ValueError, match='suffix'):
        AnswerFile(tmp_path / 'a.xlsx', CLASSES, 'run')


def test_the_command_names_what_is_wrong(folder, checkpoint):
    result = processes.run([sys.executable, '-W', 'ignore',
                            ROOT / 'tools/predict.py', folder / 'long.mp4',
                            folder / 'none.pth'], check=False)
    assert result.returncode == 1 and 'Traceback' not in result.stdout
    assert 'none.pth' in result.stdout


def test_scores_over_time_by_the_command(folder, checkpoint, tmp_path,
                                         command):
    out = tmp_path / 'out'
    status, text = command(folder / 'long.mp4', checkpoint, '--window', '8f',
                           '--hop', '4f', '--timeline', out, '--annotate',
                           tmp_path / 'a.mp4')
    assert status == 0
    assert sorted(path.name for path in out.iterdir()) == [
        'long.scores.csv', 'long.scores.png', 'long.segments.csv']
    for path in [*out.iterdir(), tmp_path / 'a.mp4']:
        assert f'written: {path}' in text
    with open(out / 'long.scores.csv') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert open_video(str(tmp_path / 'a.mp4')).num_frames == 30
    assert {p.name for p in tmp_path.iterdir()} == {'out', 'a.mp4'}


def test_nothing_is_written_unasked(folder, checkpoint, tmp_path, command,
                                    monkeypatch):
    before = sorted(folder.rglob('*'))
    monkeypatch.chdir(tmp_path)
    command(folder / 'long.mp4', checkpoint, '--window', '8f')
    assert not list(tmp_path.iterdir())
    assert sorted(folder.rglob('*')) == before
