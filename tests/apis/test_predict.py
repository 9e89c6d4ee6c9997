"""predict.py answers as test.py does, and goes on where files are bad."""
import csv
import io
import json
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner

from respike_mmaction.apis import (
    expand,
    load_trained,
    predict,
    predict_sources,
)
from respike_mmaction.apis.answer_files import AnswerFile, looked_at
from respike_mmaction.datasets.video_reader import open_video
from respike_mmaction.engine import read_answers
from tests import processes
from tests.apis.networks import (
    CLASSES,
    config,
    double,
    pipeline,
    write_checkpoint,
)
from tests.conftest import ROOT

DECODERS = {
    'PyAV': ('VideoInit', 'VideoDecode', dict(decoder='pyav')),
    'decord': ('VideoInit', 'VideoDecode', dict(decoder='decord')),
    'PyAV of MMAction2': ('PyAVInit', 'PyAVDecode', {}),
    'decord of MMAction2': ('DecordInit', 'DecordDecode', {}),
    'OpenCV of MMAction2': ('OpenCVInit', 'OpenCVDecode', {}),
}


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
