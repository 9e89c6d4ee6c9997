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

from respike_mmaction.datasets.unreadable_video_sample import (
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


def tagged(labels, score, unreadable=False):
    """A sample of several labels."""
    onehot = torch.zeros(len(score))
    onehot[labels] = 1
    return sample(onehot, score, unreadable)


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


def test_several_labels_by_hand(tmp_path):
    samples = [
        tagged([0, 1], [.9, .2, .1]),
        tagged([1], [.8, .7, .3]),
        tagged([0], [.7, .6, .2]),
    ]
    # class 0: found at ranks 1 and 3; class 1: at 1 and 3; class 2 has none
    by_class = [(1 + 2 / 3) / 2, (1 + 2 / 3) / 2]
    # videos: both at ranks 1 and 2, at 2, at 1
    by_video = [1, 1 / 2, 1]
    metric = VideoAccMetric(class_report=True, report_dir=str(tmp_path))
    metric.dataset_meta = dict(classes=['run', 'sit', 'fly'])
    assert evaluate(metric, samples) == {
        'acc/mean_average_precision': pytest.approx(np.mean(by_class))}
    with open(tmp_path / 'class_average_precision.csv', newline='') as file:
        assert list(csv.reader(file)) == [
            ['class', 'name', 'videos', 'unreadable', 'average precision'],
            ['0', 'run', '2', '0', '0.8333'],
            ['1', 'sit', '2', '0', '0.8333'], ['2', 'fly', '0', '0', '']]
    assert {p.name for p in tmp_path.iterdir()} == {
        'class_average_precision.csv'}
    both = ('mean_average_precision', 'mmit_mean_average_precision')
    ours = evaluate(VideoAccMetric(metric_list=both), samples)
    assert ours == evaluate(AccMetric(metric_list=both), samples)
    assert ours['acc/mmit_mean_average_precision'] == pytest.approx(
        np.mean(by_video))


def test_no_label_of_an_unreadable_video_is_found(tmp_path):
    samples = [
        tagged([0, 1], [.9, .2, .1]),
        tagged([1, 2], [.8, .7, .3], unreadable=True),
        tagged([0], [.7, .6, .2]),
    ]
    metric = VideoAccMetric(
        metric_list=('mean_average_precision', 'mmit_mean_average_precision'),
        class_report=True, report_dir=str(tmp_path))
    result = evaluate(metric, samples)
    # class 0: both found first; class 1: one of two, at rank 2; class 2: none
    assert result == {
        'acc/mean_average_precision': pytest.approx(
            np.mean([1, 1 / 2 / 2, 0])),
        'acc/mmit_mean_average_precision': pytest.approx(2 / 3)}
    with open(tmp_path / 'class_average_precision.csv', newline='') as file:
        assert [row[2:] for row in csv.reader(file)][1:] == [
            ['2', '0', '1.0000'], ['2', '1', '0.2500'], ['1', '1', '0.0000']]
    assert evaluate(VideoAccMetric(), samples[1:2] * 2) == {
        'acc/mean_average_precision': 0}


@pytest.mark.parametrize('metric_list, data, words', [
    ('top_k_accuracy', tagged([0], [.1, .2]),
     r"top_k_accuracy.*several labels.*'mean_average_precision'"),
    ('mean_average_precision', sample(0, [.1, .2]),
     "mean_average_precision.*one label.*'top_k_accuracy'"),
    (None, sample(0, [[.1, .2]]), r"\(1, 2\).*average_clips.*'prob'"),
])
def test_what_does_not_fit_is_refused_at_the_first_batch(
        metric_list, data, words):
    metric = VideoAccMetric(metric_list=metric_list)
    with pytest.raises(ValueError, match=words):
        metric.process(None, [data])


def test_several_labels_from_training_to_report(tmp_path):
    """As train.py and test.py run them."""
    pytest.importorskip('decord')
    for i in range(4):
        write_video(tmp_path / f'{i}.mp4', num_frames=4)
    (tmp_path / 'list.txt').write_text(
        '0.mp4 0 2\n1.mp4 1\n2.mp4 0 1 2\n3.mp4 2\n')

    def loader(test_mode):
        return dict(
            batch_size=2, num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='ResilientVideoDataset', num_classes=3, multi_class=True,
                ann_file=str(tmp_path / 'list.txt'), test_mode=test_mode,
                data_prefix=dict(video=str(tmp_path)),
                pipeline=[
                    dict(type='VideoInit'),
                    dict(type='SampleFrames', clip_len=4, num_clips=1),
                    dict(type='VideoDecode'),
                    dict(type='FormatShape', input_format='NCHW'),
                    dict(type='PackActionInputs')
                ]))

    runner = Runner.from_cfg(Config(dict(
        default_scope='mmaction',
        # a name that no runner of the same second has
        experiment_name='several labels',
        work_dir=str(tmp_path / 'work'),
        model=dict(
            type='ReSpikeRecognizer', stride=2, num_frames=4,
            key_backbone=dict(
                type='MobileNetV2', widen_factor=0.1,
                out_indices=(1, 2, 4, 7)),
            backbone=dict(
                type='SpikingResNet', depth=10, base_channels=32),
            cls_head=dict(
                type='CrossAttentionFusion', num_classes=3, multi_class=True,
                average_clips='prob',
                loss_cls=dict(type='BCELossWithLogits')),
            data_preprocessor=dict(
                type='ReSpikeDataPreprocessor', mean=[128.] * 3,
                std=[60.] * 3)),
        train_dataloader=loader(False),
        val_dataloader=loader(True),
        test_dataloader=loader(True),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        val_cfg=dict(),
        test_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        val_evaluator=dict(type='VideoAccMetric'),
        test_evaluator=dict(type='VideoAccMetric', class_report=True))))
    runner.train()
    metrics = runner.test()
    assert 0 < metrics['acc/mean_average_precision'] <= 1
    data = next(iter(runner.test_dataloader))
    with torch.no_grad():
        sample, _ = runner.model.test_step(data)
        inputs = runner.model.data_preprocessor(data, False)['inputs']
        logits, _ = runner.model.extract_feat(inputs, stage='head')
    torch.testing.assert_close(sample.pred_score, logits[0].sigmoid())
    with open(Path(runner.log_dir) / 'class_average_precision.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['videos'] for row in rows] == ['2', '2', '3']
    assert np.mean([float(row['average precision']) for row in rows]) == (
        pytest.approx(metrics['acc/mean_average_precision'], abs=1e-4))


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
