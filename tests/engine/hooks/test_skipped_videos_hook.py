"""What the processes of a distributed run skip is known to all."""
import os
import tempfile
from types import SimpleNamespace

import pytest
from mmaction.registry import DATASETS, HOOKS
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from respike_mmaction.datasets.video_reader import VideoReadError
from tests.processes import run_ranks
from tests.videos import write_video


@pytest.fixture
def ann_file(tmp_path):
    """Four videos, of which 1 and 3 are missing."""
    pytest.importorskip('decord')
    for i in (0, 2):
        write_video(tmp_path / f'{i}.mp4', num_frames=4)
    path = tmp_path / 'list.txt'
    path.write_text(''.join(f'{tmp_path}/{i}.mp4 0\n' for i in range(4)))
    return path


def build(ann_file, **kwargs):
    init_default_scope('mmaction')
    pipeline = [dict(type='VideoInit'),
                dict(type='SampleFrames', clip_len=1, num_clips=2),
                dict(type='VideoDecode'),
                dict(type='FormatShape', input_format='NCHW'),
                dict(type='PackActionInputs')]
    return DATASETS.build(
        dict(type='ResilientVideoDataset', ann_file=str(ann_file),
             pipeline=pipeline, max_skip_ratio=1., **kwargs))


def runner(dataset, folder, mode='train'):
    logger = MMLogger.get_instance(
        folder.name + mode, log_file=str(folder / f'{mode}.log'))
    return SimpleNamespace(
        **{f'{mode}_dataloader': SimpleNamespace(dataset=dataset)},
        epoch=4, log_dir=str(folder), logger=logger)


def test_report_through_wrappers(ann_file, tmp_path):
    """Of all datasets in ConcatDataset, and of the one in RepeatDataset."""
    one, other = build(ann_file), build(ann_file)
    one._rand_another = lambda: 0  # a good one takes the place of a bad one
    dataset = ConcatDataset([one, other])
    hook = HOOKS.build(dict(type='SkippedVideosHook'))
    run = runner(dataset, tmp_path)
    hook.after_train_epoch(run)
    one[1]
    hook.after_train_epoch(run)
    one[3]
    hook.after_train(runner(RepeatDataset(one, 2), tmp_path))
    log = (tmp_path / 'train.log').read_text()
    assert 'train: 0 of 4 videos skipped after epoch 5' in log
    assert 'train: 1 of 4 videos skipped after epoch 5, all named in ' in log
    assert 'train: 2 of 4 videos skipped in the whole training' in log
    assert one.skipped_videos() == [f'{tmp_path}/1.mp4', f'{tmp_path}/3.mp4']


def test_log_is_kept_short(ann_file, tmp_path):
    dataset = build(ann_file)
    dataset[1], dataset[3]
    hook = HOOKS.build(dict(type='SkippedVideosHook', max_names=1))
    hook.after_train(runner(dataset, tmp_path))
    log = (tmp_path / 'train.log').read_text()
    assert 'and 1 more' in log and '3.mp4' not in log
    lines = (tmp_path / 'skipped_videos_train.txt').read_text().splitlines()
    assert lines == [f'{tmp_path}/{i}.mp4: No such file or directory'
                     for i in (1, 3)]


@pytest.mark.parametrize('mode', ['val', 'test'])
def test_report_of_wrong_answers(ann_file, tmp_path, mode):
    dataset = build(ann_file, test_mode=True, on_error='count_wrong')
    dataset[3]
    hook = HOOKS.build(dict(type='SkippedVideosHook'))
    getattr(hook, f'after_{mode}_epoch')(runner(dataset, tmp_path, mode))
    assert (f'{mode}: 1 of 4 videos skipped counted as wrong answers'
            in (tmp_path / f'{mode}.log').read_text())


def skip_one(rank, folder, ann_file):
    dataset = build(ann_file)
    dataset[(1, 3)[rank]]  # each rank meets another one
    hook = HOOKS.build(dict(type='SkippedVideosHook'))
    (folder / str(rank)).mkdir()
    hook.after_train_epoch(runner(dataset, folder / str(rank)))
    assert len(dataset.skipped_videos()) == 2


@pytest.mark.slow
def test_ranks_share_what_they_skipped(ann_file, tmp_path):
    run_ranks(skip_one, tmp_path, str(ann_file))
    report = tmp_path / '0/skipped_videos_train.txt'
    assert report.read_text().splitlines() == [
        f'{tmp_path}/{i}.mp4: No such file or directory' for i in (1, 3)]
    assert '2 of 4 videos skipped' in (tmp_path / '0/train.log').read_text()
    assert not (tmp_path / '1/skipped_videos_train.txt').exists()


@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_reasons_come_from_workers(ann_file, tmp_path, context):
    """A spawned process has no logger, whatever ours is."""
    (tmp_path / '3.mp4').touch()
    dataset = build(ann_file)
    dataset.full_init()
    loader = DataLoader(
        dataset, batch_size=None, num_workers=2, persistent_workers=True,
        multiprocessing_context=context)
    hook = HOOKS.build(dict(type='SkippedVideosHook'))
    run = runner(dataset, tmp_path)
    for _ in range(2):
        assert len(list(loader)) == 4
        hook.after_train_epoch(run)
        report = (tmp_path / 'skipped_videos_train.txt').read_text()
        assert report.splitlines() == [
            f'{tmp_path}/1.mp4: No such file or directory',
            f'{tmp_path}/3.mp4: the file is empty']
    assert '3.mp4: the file is empty' in (tmp_path / 'train.log').read_text()


def test_raise_is_still_an_error(ann_file):
    with pytest.raises(VideoReadError, match='3.mp4'):
        build(ann_file, test_mode=True)[3]


def test_scratch_of_earlier_versions_goes(ann_file, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    old = [tmp_path / f'skipped_videos_{name}'
           for name in ('ab_12xyz', 'test.txt', 'longer_than_that')]
    for path in (*old, tmp_path / 'skipped_videos_a8y23n1q'):
        path.touch()
    for path in old:
        os.utime(path, (1e9, 1e9))
    (tmp_path / 'skipped_videos_abcdefgh').mkdir()
    hook = HOOKS.build(dict(type='SkippedVideosHook'))
    run = runner(build(ann_file), tmp_path)
    run.hooks = [hook]
    hook.before_run(run)
    assert {path.name for path in tmp_path.glob('skipped_videos_*')} == {
        'skipped_videos_test.txt', 'skipped_videos_longer_than_that',
        'skipped_videos_a8y23n1q', 'skipped_videos_abcdefgh'}


def test_of_two_hooks_one_reports(ann_file, tmp_path):
    """A recipe's and the one that a child config of earlier versions adds."""
    hooks = [HOOKS.build(dict(type='SkippedVideosHook')) for _ in range(2)]
    run = runner(build(ann_file), tmp_path)
    run.hooks = hooks
    for hook in hooks:
        hook.before_run(run)
        hook.after_train(run)
    log = (tmp_path / 'train.log').read_text()
    assert log.count('videos skipped in the whole training') == 1
    assert [hook.reports for hook in hooks] == [False, True]
