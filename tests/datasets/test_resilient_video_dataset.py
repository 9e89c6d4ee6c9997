"""A dataset with damaged videos among others, and what becomes of each."""
import os
import signal
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from mmaction.datasets import VideoDataset
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from respike_mmaction.datasets import ResilientVideoDataset
from respike_mmaction.datasets.unreadable_video_sample import (
    UnreadableVideoSample,
)
from respike_mmaction.datasets.video_reader import VideoReadError
from tests.conftest import ROOT
from tests.datasets.resilient import (
    PIPELINE,
    TEST_PIPELINE,
    annotate,
    build,
    filename,
)
from tests.processes import run
from tests.videos import damage_many, frame_number, write_video

pytestmark = pytest.mark.usefixtures('setting')


def test_replacement_is_reproducible(tmp_path, good):
    paths = [*good, *(tmp_path / f'missing{i}.mp4' for i in range(6))]
    ann_file = annotate(tmp_path, paths)

    def draw(seed):
        dataset = build(ann_file, max_skip_ratio=1.)
        np.random.seed(seed)
        samples = [dataset[i] for i in range(len(paths))]
        return [(filename(data), list(map(frame_number,
                                          data['inputs'].numpy())))
                for data in samples]

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)
    assert {name for name, _ in draw(0)} <= {str(path) for path in good}


def test_training_stops_when_too_many_fail(tmp_path, good):
    paths = [*good * 10, *(tmp_path / f'missing{i}.mp4' for i in range(40))]
    dataset = build(annotate(tmp_path, paths), max_skip_ratio=0.1)
    with pytest.raises(RuntimeError, match=(
            'list.txt: 11 of 71 videos tried so far cannot be read, more '
            r'than max_skip_ratio=0.1; the last one: .*missing\d+.mp4: No '
            'such file')):
        for i in range(len(paths)):
            dataset[i]
    assert len(dataset.skipped_videos()) == 11


def test_what_was_skipped_before_a_stop_is_known(tmp_path, good):
    """And counted with the videos that were tried then."""
    paths = [*good, *(tmp_path / f'missing {i}.mp4' for i in range(44))]
    ann_file = annotate(tmp_path, paths * 10)
    before = build(ann_file, max_skip_ratio=.1)
    before.full_init()
    before._status.fill_(1)  # all the others were good
    for i in range(10, 40):
        before._status[i] = 2
        before._reported.append(f'[{i}, "{paths[i]}: is gone"]')
    after = build(ann_file, max_skip_ratio=.1)
    after.load_skipped_state(before.skipped_state())
    assert after.skipped_videos() == [str(path) for path in paths[10:40]]
    assert after.skipped_reasons() == [
        f'{path}: is gone' for path in paths[10:40]]
    after[6]  # the 31st, of 500
    other = build(annotate(tmp_path, paths))
    other.load_skipped_state(before.skipped_state())  # another list
    assert other.skipped_videos() == []


def test_nothing_readable_ends(tmp_path):
    paths = [tmp_path / f'missing{i}.mp4' for i in range(5)]
    dataset = build(annotate(tmp_path, paths), max_skip_ratio=1.)
    with pytest.raises(VideoReadError, match='no readable video in 1001'):
        dataset[0]


KILLED = """
import os, signal, sys
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader
from tests.datasets.resilient import build
init_default_scope('mmaction')
dataset = build(sys.argv[1], test_mode=True, on_error='count_wrong')
len(list(DataLoader(dataset, batch_size=None, num_workers=1)))
assert len(dataset.skipped_videos()) == 1
dataset.share_skipped()
assert len(dataset.skipped_reasons()) == 1
os.kill(os.getpid(), getattr(signal, sys.argv[2]))
"""


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGKILL'])
def test_nothing_is_left_behind(tmp_path, good, name):
    ann_file = annotate(tmp_path, [*good, tmp_path / 'missing.mp4'])
    # workers put sockets there, whose paths have 107 characters at most
    with TemporaryDirectory() as scratch:
        result = run([sys.executable, '-c', KILLED, ann_file, name],
                     check=False, cwd=ROOT,
                     env={**os.environ, 'TMPDIR': scratch})
        assert result.returncode == -getattr(signal, name), result.stdout
        assert not os.listdir(scratch)


def test_video_that_does_not_end_is_given_up(tmp_path, good):
    """A decoder that hangs: the worker goes on without it."""
    release = threading.Event()

    class HangingDecode(BaseTransform):

        def transform(self, results):
            if 'good 2' in results['filename']:
                release.wait()
            return results

    dataset = build(
        annotate(tmp_path, good),
        pipeline=[*PIPELINE[:3], HangingDecode(), *PIPELINE[3:]],
        decode_timeout=0.5,
        max_skip_ratio=1.)
    threads = threading.active_count()
    try:
        for _ in range(3):
            assert filename(dataset[2]) != str(good[2])
        assert threading.active_count() <= threads + 2  # tried once
        assert dataset.skipped_videos() == [str(good[2])]
    finally:
        release.set()


def test_file_system_that_hangs_is_given_up(tmp_path, good, monkeypatch):
    """The check of the file, too, is within the time allowed."""
    release = threading.Event()

    def hanging(path):
        if 'good 2' in path:
            release.wait()

    monkeypatch.setattr('respike_mmaction.datasets.resilient_video_dataset.'
                        'check_video_file', hanging)
    dataset = build(annotate(tmp_path, good), decode_timeout=0.5,
                    max_skip_ratio=1.)
    try:
        assert filename(dataset[2]) != str(good[2])
        assert dataset.skipped_videos() == [str(good[2])]
    finally:
        release.set()


def test_mistake_in_the_config_is_not_swallowed(tmp_path, good):
    pipeline = [*PIPELINE[:-1], dict(type='ThreeCrop', crop_size=500),
                PIPELINE[-1]]
    dataset = build(annotate(tmp_path, good), pipeline=pipeline)
    with pytest.raises(Exception) as error:
        dataset[0]
    assert not isinstance(error.value, VideoReadError)
    assert dataset.skipped_videos() == []


def test_works_with_upstream_decoding(tmp_path, good):
    """DecordInit, which crashes on truncated files, never sees them."""
    damaged = damage_many(good, tmp_path / 'damaged', 27)['truncated']
    renamed = dict(VideoInit='DecordInit', VideoDecode='DecordDecode')
    pipeline = [dict(step, type=renamed.get(step['type'], step['type']))
                for step in PIPELINE]
    dataset = build(
        annotate(tmp_path, [*damaged, *good]), pipeline=pipeline,
        max_skip_ratio=1.)
    for i in range(len(dataset)):
        assert filename(dataset[i]) in {str(path) for path in good}
    assert dataset.skipped_videos() == [str(path) for path in damaged]


def test_is_videodataset_where_nothing_is_wrong(tmp_path, good):
    ann_file = annotate(tmp_path, [path.name for path in good])
    prefix = dict(video=str(good[0].parent))
    # the file names hold spaces, which upstream cannot read
    plain = tmp_path / 'plain'
    plain.mkdir()
    for path in good:
        (plain / path.name.replace(' ', '_')).write_bytes(path.read_bytes())
    plain_file = tmp_path / 'plain.txt'
    plain_file.write_text(Path(ann_file).read_text().replace('good ', 'good_'))
    ours = build(ann_file, data_prefix=prefix, test_mode=True)
    theirs = VideoDataset(
        str(plain_file), [TRANSFORMS.build(s) for s in TEST_PIPELINE],
        data_prefix=dict(video=str(plain)), test_mode=True)
    assert len(ours) == len(theirs)
    for i in range(len(ours)):
        assert torch.equal(ours[i]['inputs'], theirs[i]['inputs'])
        assert torch.equal(ours[i]['data_samples'].gt_label,
                           theirs[i]['data_samples'].gt_label)


def test_test_mode_raises_and_names_the_file(tmp_path, good):
    paths = [good[0], tmp_path / 'missing.mp4', good[1]]
    dataset = build(annotate(tmp_path, paths), test_mode=True)
    assert filename(dataset[0]) == str(good[0])
    with pytest.raises(VideoReadError, match='missing.mp4: No such file'):
        dataset[1]


def test_test_mode_counts_wrong(tmp_path, good):
    paths = [good[0], tmp_path / 'missing.mp4', good[1]]
    dataset = build(
        annotate(tmp_path, paths), test_mode=True, on_error='count_wrong')
    data = dataset[1]
    sample = data['data_samples']
    assert isinstance(sample, UnreadableVideoSample)
    assert sample.gt_label.tolist() == [1]
    assert sample.filename == str(paths[1])
    assert data['inputs'].shape == dataset[0]['inputs'].shape
    assert dataset.skipped_videos() == [str(paths[1])]
    # whatever a model says, also after a copy to another device
    sample = sample.to('cpu')
    sample.set_pred_score(torch.tensor([0., 1., 0.]))
    sample.set_pred_label(torch.tensor([1]))
    assert sample.pred_score.argmax() != 1
    assert sample.pred_score.argsort()[0] == 1  # the last of all
    assert sample.pred_label.tolist() == [-1]


def test_counts_wrong_with_several_labels(tmp_path, good):
    path = tmp_path / 'list.txt'
    path.write_text('missing.mp4 0 2\n'
                    + ''.join(f'{p}\n' for p in ['x.mp4 1']))
    folder = tmp_path / 'videos'
    folder.mkdir()
    (folder / 'x.mp4').write_bytes(good[0].read_bytes())
    dataset = build(
        str(path), test_mode=True, on_error='count_wrong', multi_class=True,
        num_classes=3, data_prefix=dict(video=str(folder)))
    sample = dataset[0]['data_samples']
    sample.set_pred_score(torch.tensor([1., 0., 1.]))
    assert sample.pred_score.tolist() == [-1, 0, -1]


def test_no_video_readable_in_test_mode(tmp_path):
    dataset = build(
        annotate(tmp_path, [tmp_path / 'a.mp4', tmp_path / 'b.mp4']),
        test_mode=True, on_error='count_wrong')
    with pytest.raises(VideoReadError, match='no video can be read'):
        dataset[0]


@pytest.mark.parametrize('argument, value', [
    ('on_error', 'ignore'), ('max_skip_ratio', 1.5), ('max_skip_ratio', -1),
    ('decode_timeout', 0)
])
def test_wrong_arguments(tmp_path, good, argument, value):
    with pytest.raises(ValueError, match=f'{argument}.*{value}'):
        ResilientVideoDataset(
            annotate(tmp_path, good), PIPELINE, **{argument: value})


def test_several_labels_need_the_number_of_classes(tmp_path, good):
    with pytest.raises(ValueError, match='num_classes=None.*multi_class'):
        ResilientVideoDataset(
            annotate(tmp_path, good), PIPELINE, multi_class=True)


def test_label_out_of_range(tmp_path, good):
    with pytest.raises(ValueError, match='list.txt:3: .*label 2 is out of'):
        build(annotate(tmp_path, good), num_classes=2)


def test_clip_shorter_than_the_sample_starts_again(tmp_path):
    """MMAction2's documented choice; the published code repeats frame 0."""
    write_video(tmp_path / 'short.mp4', num_frames=10)
    pipeline = [dict(PIPELINE[0]),
                dict(type='SampleFrames', clip_len=16, test_mode=True),
                *PIPELINE[2:]]
    dataset = build(annotate(tmp_path, [tmp_path / 'short.mp4']),
                    pipeline=pipeline, test_mode=True)
    frames = dataset[0]['inputs'].numpy()
    assert [frame_number(f) for f in frames] == [*range(10), *range(6)]
