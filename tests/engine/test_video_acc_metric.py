"""Numbers by video and by class against a count by hand and upstream's."""
import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.evaluation import AccMetric, ConfusionMatrix
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.runner import Runner

from respike_mmaction.datasets.resilient_video_dataset import (
    UnreadableVideoSample,
)
from respike_mmaction.engine import VideoAccMetric
from tests.videos import write_video


def sample(label, score, unreadable=False):
    kind = UnreadableVideoSample if unreadable else ActionDataSample
    data_sample = kind()
    data_sample.set_gt_label(label)
    data_sample.set_pred_score(torch.tensor(score))
    if unreadable:
        data_sample.set_metainfo(dict(unreadable=True))
    return data_sample.to_dict()


def evaluate(metric, samples, batch=3):
    for i in range(0, len(samples), batch):
        metric.process(None, samples[i:i + batch])
    return metric.evaluate(len(samples))


@pytest.fixture
def readable():
    rng = np.random.default_rng(0)
    labels = [*range(7), *rng.integers(0, 7, 40).tolist()]
    return [sample(label, rng.random(7).tolist()) for label in labels]


def test_equals_upstream_where_all_is_readable(readable, tmp_path):
    ours = evaluate(
        VideoAccMetric(class_report=True, report_dir=str(tmp_path)), readable)
    assert ours == evaluate(AccMetric(), readable)

    with open(tmp_path / 'confusion_matrix.csv', newline='') as file:
        header, *rows = csv.reader(file)
    assert header == ['true class', *map(str, range(7)), 'unreadable']
    matrix = np.array([row[1:] for row in rows], dtype=int)
    expected = ConfusionMatrix.calculate(
        torch.stack([s['pred_score'] for s in readable]),
        [int(s['gt_label']) for s in readable])
    np.testing.assert_array_equal(matrix[:, :7], expected)
    assert matrix[:, 7].sum() == 0

    with open(tmp_path / 'class_accuracy.csv', newline='') as file:
        classes = list(csv.DictReader(file))
    accuracies = [float(row['accuracy']) for row in classes]
    assert np.mean(accuracies) == pytest.approx(ours['acc/mean1'], abs=1e-4)
    assert sum(int(row['videos']) for row in classes) == len(readable)


def test_unreadable_videos_are_wrong(tmp_path):
    """Three classes: top-5 would be 100 % of anything else."""
    samples = [
        sample(0, [.8, .1, .1]),
        sample(1, [.1, .8, .1]),
        sample(1, [.1, .8, .1], unreadable=True),
        sample(0, [.8, .1, .1], unreadable=True),
        sample(2, [.1, .8, .1]),
    ]
    metric = VideoAccMetric(class_report=True, report_dir=str(tmp_path))
    metric.dataset_meta = dict(classes=['run', 'sit', 'fly, high'])
    result = evaluate(metric, samples)
    assert result['acc/top1'] == pytest.approx(2 / 5)
    assert result['acc/top5'] == pytest.approx(3 / 5)
    assert result['acc/mean1'] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    with open(tmp_path / 'confusion_matrix.csv', newline='') as file:
        rows = list(csv.reader(file))
    assert rows == [['true class', 'run', 'sit', 'fly, high', 'unreadable'],
                    ['run', '1', '0', '0', '1'], ['sit', '0', '1', '0', '1'],
                    ['fly, high', '0', '1', '0', '0']]


def test_only_unreadable_videos():
    samples = [sample(1, [0., 1.], unreadable=True)] * 4
    assert evaluate(VideoAccMetric(), samples) == {
        'acc/top1': 0, 'acc/top5': 0, 'acc/mean1': 0}


def test_class_without_video_and_label_map_that_is_missing(tmp_path):
    metric = VideoAccMetric(class_report=True, report_dir=str(tmp_path))
    metric.dataset_meta = dict(classes='data/hmdb51/label_map.txt')
    evaluate(metric, [sample(1, [.1, .8])])
    with open(tmp_path / 'class_accuracy.csv', newline='') as file:
        rows = [row[1:] for row in csv.reader(file)]
    assert rows[1:] == [['0', '0', '0', ''], ['1', '1', '1', '1.0000']]


def test_test_run_with_a_missing_video(tmp_path):
    """As test.py runs it: the video stays in every denominator."""
    pytest.importorskip('decord')
    for i in range(5):
        write_video(tmp_path / f'{i}.mp4', num_frames=4)
    (tmp_path / '3.mp4').unlink()
    (tmp_path / 'list.txt').write_text(
        ''.join(f'{tmp_path}/{i}.mp4 {i % 2}\n' for i in range(5)))
    (tmp_path / 'map.txt').write_text('run\nsit\n')
    runner = Runner.from_cfg(Config(dict(
        default_scope='mmaction',
        work_dir=str(tmp_path / 'work'),
        model=dict(
            type='Recognizer2D',
            backbone=dict(type='ResNet', depth=18, norm_eval=False),
            cls_head=dict(
                type='TSNHead', num_classes=2, in_channels=512,
                average_clips='prob'),
            data_preprocessor=dict(type='ActionDataPreprocessor')),
        test_dataloader=dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='ResilientVideoDataset',
                ann_file=str(tmp_path / 'list.txt'),
                metainfo=dict(classes=str(tmp_path / 'map.txt')),
                on_error='count_wrong',
                test_mode=True,
                pipeline=[
                    dict(type='VideoInit'),
                    dict(type='SampleFrames', clip_len=1, num_clips=2,
                         test_mode=True),
                    dict(type='VideoDecode'),
                    dict(type='FormatShape', input_format='NCHW'),
                    dict(type='PackActionInputs')
                ])),
        test_cfg=dict(type='TestLoop'),
        test_evaluator=dict(type='VideoAccMetric', class_report=True),
        custom_hooks=[dict(type='SkippedVideosHook')])))
    # a model that gives class 1 to every video
    classifier = runner.model.cls_head.fc_cls
    with torch.no_grad():
        classifier.weight.zero_()
        classifier.bias.copy_(torch.tensor([0., 1.]))
    metrics = runner.test()
    assert metrics['acc/top1'] == pytest.approx(1 / 5)  # not 2 / 5
    assert metrics['acc/top5'] == pytest.approx(4 / 5)
    folder = Path(runner.log_dir)
    with open(folder / 'confusion_matrix.csv', newline='') as file:
        assert list(csv.reader(file)) == [
            ['true class', 'run', 'sit', 'unreadable'],
            ['run', '0', '3', '0'], ['sit', '0', '1', '1']]
    with open(folder / 'class_accuracy.csv', newline='') as file:
        assert [row[1:] for row in csv.reader(file)][1:] == [
            ['run', '3', '0', '0.0000'], ['sit', '2', '1', '0.5000']]
    assert (folder / 'skipped_videos_test.txt').read_text() == (
        f'{tmp_path}/3.mp4: No such file or directory\n')
