"""What MMAction2's users do with lists: no labels, balance, repetition."""
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS
from mmengine.dataset import ClassBalancedDataset, RepeatDataset
from mmengine.evaluator import DumpResults, Evaluator
from mmengine.fileio import (
    BaseStorageBackend,
    FileClient,
    load,
    register_backend,
)
from mmengine.registry import init_default_scope

from respike_mmaction.datasets import ResilientVideoDataset
from respike_mmaction.datasets.video_reader import VideoReadError
from respike_mmaction.engine import VideoAccMetric
from tests.videos import write_video

PIPELINE = [
    dict(type='VideoInit'),
    dict(type='SampleFrames', clip_len=1, num_clips=2, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmaction')


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('videos') / 'a.mp4'
    write_video(path)
    return path


class Named(ResilientVideoDataset):
    """Samples are the names of the videos, which need not exist."""

    def _read(self, idx):
        return self.get_data_info(idx)['filename']


def build(tmp_path, text, cls=Named, **kwargs):
    path = tmp_path / 'list.txt'
    path.write_text(text)
    return cls(str(path), PIPELINE, **kwargs)


LONG_TAIL = ''.join([*(f'a{i}.mp4 0\n' for i in range(80)),
                     *(f'b{i}.mp4 1\n' for i in range(16)),
                     *(f'c{i}.mp4 4\n' for i in range(4))])


def drawn(dataset, epochs=40):
    assert len(dataset) == 100
    return Counter(dataset[i][0] for _ in range(epochs)
                   for i in range(len(dataset)))


@pytest.mark.parametrize('power, shares', [
    (0, (1 / 3, 1 / 3, 1 / 3)),
    (1, (.8, .16, .04)),
    (.5, np.sqrt([80, 16, 4]) / np.sqrt([80, 16, 4]).sum()),
])
def test_sample_by_class(tmp_path, power, shares):
    dataset = build(tmp_path, LONG_TAIL, sample_by_class=True, power=power)
    counts = drawn(dataset)
    for name, share in zip('abc', shares, strict=True):
        deviation = (4000 * share * (1 - share))**.5
        assert abs(counts[name] - 4000 * share) < 5 * deviation
    seen = {dataset[i] for i in range(100) for _ in range(20)}
    assert {f'c{i}.mp4' for i in range(4)} <= seen


def test_sample_by_class_is_reproducible_and_differs_between_ranks(tmp_path):
    dataset = build(tmp_path, LONG_TAIL, sample_by_class=True)

    def draw(indices):
        np.random.seed(3)
        return [dataset[i] for i in indices]

    assert draw(range(0, 20)) == draw(range(0, 20))
    assert draw(range(0, 20)) != draw(range(20, 40))


def test_sample_by_class_is_for_training_and_one_label(tmp_path):
    dataset = build(tmp_path, LONG_TAIL, sample_by_class=True, test_mode=True)
    assert [dataset.get_data_info(i)['filename'] for i in (0, 99)] == [
        'a0.mp4', 'c3.mp4']
    with pytest.raises(ValueError, match='sample_by_class=True.*multi_class'):
        build(tmp_path, 'a.mp4 1\n', sample_by_class=True, multi_class=True,
              num_classes=2)


def test_class_balanced_dataset(tmp_path):
    balanced = ClassBalancedDataset(
        build(tmp_path, LONG_TAIL), oversample_thr=.64)
    # a class of share f is repeated sqrt(.64 / f) times: 1, 2 and 4
    assert Counter(name[0] for name in balanced) == dict(a=80, b=32, c=16)


def test_class_balanced_dataset_of_several_labels(tmp_path):
    dataset = build(tmp_path, 'a.mp4 0 2\nb.mp4 1\n', multi_class=True,
                    num_classes=3)
    assert [dataset.get_cat_ids(i) for i in (0, 1)] == [[0, 2], [1]]


def test_repeat_dataset(tmp_path):
    repeated = RepeatDataset(build(tmp_path, 'a.mp4 0\nb.mp4 1\n'), times=3)
    assert [repeated[i] for i in range(len(repeated))] == [
        'a.mp4', 'b.mp4'] * 3


def test_list_without_labels_is_for_test_alone(tmp_path):
    assert len(build(tmp_path, 'a.mp4\nb.mp4\n', test_mode=True)) == 2
    with pytest.raises(ValueError, match="list.txt:1: 'a.mp4': no label"):
        build(tmp_path, 'a.mp4\nb.mp4\n')


@pytest.mark.parametrize('multi_class', [False, True])
@pytest.mark.parametrize('labelled', [False, True])
def test_dump_names_videos_and_those_that_were_not_read(
        tmp_path, video, multi_class, labelled):
    """Of a list with labels and of one without; both with a missing video."""
    (tmp_path / 'list.txt').write_text(
        ''.join(f'{name}{" 1" * labelled}\n'
                for name in (video.name, 'missing.mp4', video.name)))
    dataset = DATASETS.build(dict(
        type='ResilientVideoDataset', ann_file=str(tmp_path / 'list.txt'),
        data_prefix=dict(video=str(video.parent)), pipeline=PIPELINE,
        num_classes=3, multi_class=multi_class, test_mode=True,
        on_error='count_wrong'))
    dump = str(tmp_path / 'dump.pkl')
    evaluator = Evaluator([VideoAccMetric(report_dir=str(tmp_path)),
                           DumpResults(dump)])
    for i in range(3):
        sample = dataset[i]['data_samples']
        sample.set_pred_score(torch.tensor([.1, .7, .2]))
        sample.set_pred_label(torch.tensor([1]))
        evaluator.process([sample])
    metrics = evaluator.evaluate(3)
    if not labelled:
        assert metrics == {}
    elif multi_class:
        assert metrics == {'acc/mean_average_precision': pytest.approx(2 / 3)}
    else:
        assert metrics['acc/top1'] == pytest.approx(2 / 3)
    assert [(s['filename'], s['unreadable'], s['pred_label'].tolist(),
             s['pred_score'].argmax().item() == 1) for s in load(dump)] == [
        (str(video), False, [1], True),
        (str(video.parent / 'missing.mp4'), True, [-1], False),
        (str(video), False, [1], True)]


class Bucket(BaseStorageBackend):
    """An object store: files by their names, no paths."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def get(self, filepath):
        return (self.folder / filepath.removeprefix('s3://')).read_bytes()

    def get_text(self, filepath, encoding='utf-8'):
        return self.get(filepath).decode(encoding)


@pytest.mark.parametrize('steps', [
    ('VideoInit', 'VideoDecode'), ('PyAVInit', 'PyAVDecode')])
def test_videos_and_list_in_an_object_store(video, steps):
    register_backend('test_bucket', Bucket, force=True)
    FileClient.register_backend('test_bucket', Bucket, force=True)
    store = dict(folder=str(video.parent))
    (video.parent / 'list.txt').write_text('a.mp4 1\nhalf.mp4 0\nno.mp4 0\n')
    data = video.read_bytes()
    (video.parent / 'half.mp4').write_bytes(data[:len(data) // 2])
    pipeline = [dict(type=steps[0], io_backend='test_bucket', **store),
                PIPELINE[1], dict(type=steps[1]), *PIPELINE[3:]]
    dataset = ResilientVideoDataset(
        's3://list.txt', pipeline, data_prefix=dict(video='s3://'),
        backend_args=dict(backend='test_bucket', **store), test_mode=True)
    local = ResilientVideoDataset(
        str(video.parent / 'list.txt'), PIPELINE,
        data_prefix=dict(video=str(video.parent)), test_mode=True)
    assert dataset[0]['data_samples'].filename == 's3://a.mp4'
    assert torch.equal(dataset[0]['inputs'], local[0]['inputs'])
    for i, name in ((1, 'half.mp4'), (2, 'no.mp4')):
        with pytest.raises(VideoReadError, match=f'^s3://{name}: '):
            dataset[i]
