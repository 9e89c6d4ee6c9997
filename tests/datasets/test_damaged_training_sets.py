"""Whole trainings on damaged videos: what is used, named and counted."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmaction.registry import HOOKS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tests.datasets.resilient import PIPELINE, annotate
from tests.processes import run
from tests.videos import damage_many

pytestmark = pytest.mark.usefixtures('setting')


@HOOKS.register_module()
class CollectFilenamesHook(Hook):
    """The videos that were trained on."""

    used = None

    def before_train(self, runner):
        CollectFilenamesHook.used = set()

    def after_train_iter(self, runner, batch_idx, data_batch, outputs=None):
        self.used.update(s.filename for s in data_batch['data_samples'])


def train(work_dir, dataset, epochs=1, batch_size=10, num_workers=2):
    """A small stock recognizer under MMEngine's runner."""
    runner = Runner.from_cfg(Config(dict(
        default_scope='mmaction',
        work_dir=str(work_dir),
        experiment_name=work_dir.name,
        randomness=dict(seed=0),
        model=dict(
            type='Recognizer2D',
            backbone=dict(type='ResNet', depth=18, norm_eval=False),
            cls_head=dict(
                type='TSNHead', num_classes=3, in_channels=512,
                average_clips='prob'),
            data_preprocessor=dict(type='ActionDataPreprocessor')),
        train_dataloader=dict(
            batch_size=batch_size,
            num_workers=num_workers,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dataset),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.001)),
        default_hooks=dict(checkpoint=None),
        custom_hooks=[
            dict(type='SkippedVideosHook'),
            dict(type='CollectFilenamesHook')
        ])))
    runner.train()
    return (Path(runner.log_dir) / f'{runner.timestamp}.log').read_text()


# Which files FFmpeg cannot decode a single frame of; in a process of its own,
# as files like these have crashed decoders.
UNDECODABLE = """
import av, sys
for path in sys.argv[1:]:
    try:
        with av.open(path, metadata_errors='ignore') as container:
            next(container.decode(video=0))
    except Exception:
        print(path, flush=True)
"""


def must_be_named(damaged):
    """All but flipped bits for certain; of those, what has no frame left."""
    certain = [str(path) for kind, paths in damaged.items()
               if kind != 'bits_flipped' for path in paths]
    # PyAV 17 does crash on some: then what it found before counts
    undecodable = run([sys.executable, '-c', UNDECODABLE,
                       *damaged['bits_flipped']],
                      check=False, stderr=subprocess.DEVNULL).stdout
    return {*certain, *undecodable.splitlines()}


def check_training(tmp_path, good, number):
    damaged = damage_many(good, tmp_path / 'damaged', number)
    os.mkfifo(tmp_path / 'damaged/fifo.mp4')
    damaged['other'] = [tmp_path / 'damaged/fifo.mp4',
                        tmp_path / 'damaged/missing.mp4']
    bad = [path for paths in damaged.values() for path in paths]
    dataset = dict(
        type='ResilientVideoDataset',
        ann_file=annotate(tmp_path, [*good, *bad]),
        num_classes=3,
        pipeline=PIPELINE,
        max_skip_ratio=1.)
    log = train(tmp_path / 'work', dataset)

    report = next((tmp_path / 'work').glob('*/skipped_videos_train.txt'))
    reasons = dict(line.split(': ', 1)
                   for line in report.read_text().splitlines())
    named = set(reasons)
    used = CollectFilenamesHook.used
    every = {str(p) for p in [*good, *bad]}

    assert {str(path) for path in good} <= used
    assert not named & {str(path) for path in good}
    assert all(reasons.values())
    assert must_be_named(damaged) <= named
    assert named | used == every  # each is accounted for
    for path in named:  # once, with a reason
        assert log.count(f'unreadable video: {path}: ') == 1, path
    assert (f'train: {len(named)} of {len(every)} videos skipped after '
            'epoch 1' in log)
    assert 'videos skipped in the whole training' in log


def test_training_set_with_200_damaged_videos(tmp_path, good):
    check_training(tmp_path, good, 200)


def test_training_set_with_200_damaged_real_videos(tmp_path, shared_data):
    good = [p for p in sorted((shared_data / 'videos').rglob('*.*'))
            if p.suffix in ('.mp4', '.avi', '.mkv', '.webm')
            and p.stat().st_size < 500_000
            and p.stem not in ('decord_corrupted', 'torchcodec_av1_video')]
    assert len(good) >= 20
    check_training(tmp_path, good, 200)


def test_stop_reaches_the_user_through_workers(tmp_path, good):
    paths = [*good, *(tmp_path / f'missing{i}.mp4' for i in range(20))]
    dataset = dict(
        type='ResilientVideoDataset',
        ann_file=annotate(tmp_path, paths),
        pipeline=PIPELINE)
    with pytest.raises(RuntimeError, match='videos tried so far cannot be'):
        train(tmp_path / 'work', dataset, batch_size=2)
