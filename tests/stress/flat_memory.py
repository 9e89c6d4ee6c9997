"""Memory and open files over 1,000 training iterations and 1,000 test videos.

``python tests/stress/flat_memory.py [NUMBER [DECODER]]`` prints resident
memory (MiB) and open files of the main process every tenth of the way, after
a garbage collection, and fails if either grows after the first fifth: memory
by more than 16 MiB.
"""
import gc
import os
import re
import sys
import tempfile
from pathlib import Path

from mmaction.registry import HOOKS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tests.checkpoints.test_config_text import MODEL
from tests.videos import write_video

GROWTH = 16  # MiB


def usage():
    gc.collect()  # PyAV's containers lie in cycles
    status = Path('/proc/self/status').read_text()
    kib = int(re.search(r'VmRSS:\s+(\d+) kB', status)[1])
    return kib / 1024, len(os.listdir('/proc/self/fd'))


@HOOKS.register_module()
class UsageHook(Hook):
    """Keeps resident memory and open files of every tenth of the way."""

    def __init__(self, number):
        self.number = number
        self.found = dict(train=[], test=[])

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        self._keep('train', batch_idx)

    def after_test_iter(self, runner, batch_idx, data_batch=None,
                        outputs=None):
        self._keep('test', batch_idx)

    def _keep(self, mode, index):
        if (index + 1) % (self.number // 10) == 0:
            self.found[mode].append(usage())


def config(folder, number, decoder):
    pipeline = [
        dict(type='VideoInit', decoder=decoder),
        dict(type='SampleFrames', clip_len=8, num_clips=1),
        dict(type='VideoDecode'),
        dict(type='Resize', scale=(32, 32), keep_ratio=False),
        dict(type='FormatShape', input_format='NCHW'),
        dict(type='ResidualFrameTransform', stride=4, num_frames=8),
        dict(type='PackActionInputs',
             collect_keys=('key_frames', 'residual_frames'))
    ]
    data = dict(
        type='ResilientVideoDataset', ann_file=str(folder / 'list.txt'),
        data_prefix=dict(video=str(folder)), pipeline=pipeline)
    test = [dict(step, test_mode=True) if step['type'] == 'SampleFrames'
            else step for step in pipeline]
    return Config(dict(
        default_scope='mmaction', work_dir=str(folder / 'work'),
        model=dict(MODEL, data_preprocessor=dict(
            type='ReSpikeDataPreprocessor', mean=[120] * 3, std=[60] * 3)),
        train_dataloader=dict(
            batch_size=2, dataset=data,
            sampler=dict(type='InfiniteSampler')),
        test_dataloader=dict(
            batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(data, pipeline=test, test_mode=True)),
        train_cfg=dict(by_epoch=False, max_iters=number), test_cfg=dict(),
        test_evaluator=dict(type='VideoAccMetric'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=.01)),
        visualizer=dict(type='ActionVisualizer', vis_backends=None),
        custom_hooks=[dict(type='UsageHook', number=number),
                      dict(type='FiringRateHook'),
                      dict(type='SkippedVideosHook')],
        log_level='ERROR'))


def main():
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    decoder = sys.argv[2] if len(sys.argv) > 2 else 'auto'
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for video in range(4):
            write_video(folder / f'{video}.mp4', size=(64, 64))
        (folder / 'list.txt').write_text(''.join(
            f'{i % 4}.mp4 {i % 3}\n' for i in range(number)))
        runner = Runner.from_cfg(config(folder, number, decoder))
        runner.train()
        runner.test()
    hook, = (hook for hook in runner.hooks if isinstance(hook, UsageHook))
    failed = False
    for mode, found in hook.found.items():
        memory, files = zip(*found, strict=True)
        print(f'{mode}, every {number // 10} of {number}: MiB '
              f'{[round(m) for m in memory]}, open files {list(files)}')
        failed |= (max(memory[2:]) - memory[1] > GROWTH
                   or max(files[2:]) > files[1])
    raise SystemExit(failed)


if __name__ == '__main__':
    main()
