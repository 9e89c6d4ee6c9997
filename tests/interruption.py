"""Small runs that are interrupted, resumed and compared bit by bit."""
import itertools
import os
from collections.abc import Callable
from contextlib import ExitStack, chdir
from pathlib import Path
from unittest.mock import patch

import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from respike_mmaction.checkpoints import files
from tests.videos import write_video

MODEL = dict(
    type='ReSpikeRecognizer', stride=4, num_frames=8,
    key_backbone=dict(
        type='MobileNetV2', widen_factor=.25, out_indices=(1, 2, 4, 7)),
    backbone=dict(type='SpikingResNet', depth=10, base_channels=32,
                  neuron=dict(type='LIFNeuron', backend='torch')),
    cls_head=dict(
        type='CrossAttentionFusion', num_classes=3, average_clips='prob',
        dropout_ratio=.3),
    data_preprocessor=dict(
        type='ReSpikeDataPreprocessor', mean=[120] * 3, std=[60] * 3,
        blending=dict(type='MixupBlending', num_classes=3)))
NUMBERS = itertools.count()  # MMEngine keeps a hub for each name


def make_videos(folder: Path) -> None:
    """Ten for training, the last of which is missing, five for validation."""
    for i in range(14):
        write_video(folder / f'{i}.mp4', num_frames=12, size=(48, 40))
    for name, numbers in (('train', (*range(9), 99)), ('val', range(9, 14))):
        (folder / f'{name}.txt').write_text(
            ''.join(f'{i}.mp4 {i % 3}\n' for i in numbers))


def config(videos: Path, *, loop: str = 'epoch', every: int = 1,
           workers: int = 0, persistent: bool = False, amp: bool = False,
           sampler: str = 'DefaultSampler', length: int = 3,
           accumulate: int = 1) -> Config:
    """A run of 3 epochs of five iterations, all of whose parts are random.

    Args:
        videos: Folder of :func:`make_videos`.
        loop: Epochs or iterations: of the loop, and, behind a slash, of the
            checkpoints.
        every: Epochs or iterations between two checkpoints.
        workers: Of the data loader.
        persistent: Of the data loader.
        amp: Mixed precision.
        sampler: Of the data loader.
        length: Epochs, or five iterations.
        accumulate: Iterations before a step.
    """
    loop, _, saving = loop.partition('/')
    by_epoch = loop == 'epoch'
    data = dict(
        type='ResilientVideoDataset', data_prefix=dict(video=str(videos)),
        num_classes=3)
    loader = dict(num_workers=workers, persistent_workers=persistent)
    decode = [dict(type='VideoDecode')]
    pack = [dict(type='Resize', scale=(32, 32), keep_ratio=False),
            dict(type='FormatShape', input_format='NCHW'),
            dict(type='ResidualFrameTransform', stride=4, num_frames=8),
            dict(type='PackActionInputs',
                 collect_keys=('key_frames', 'residual_frames'))]
    sample = dict(type='SampleFrames', clip_len=8, num_clips=1)
    return Config(dict(
        default_scope='mmaction', work_dir='work', model=MODEL,
        experiment_name=f'run {next(NUMBERS)}',
        train_dataloader=dict(
            **loader, batch_size=2, sampler=dict(type=sampler),
            dataset=dict(
                data, ann_file=str(videos / 'train.txt'), max_skip_ratio=1.,
                pipeline=[dict(type='VideoInit'), sample, *decode,
                          dict(type='RandomResizedCrop'),
                          dict(type='Flip', flip_ratio=.5), *pack])),
        val_dataloader=dict(
            **loader, batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                data, ann_file=str(videos / 'val.txt'), test_mode=True,
                pipeline=[dict(type='VideoInit'),
                          dict(sample, test_mode=True), *decode, *pack])),
        train_cfg=(dict(by_epoch=True, max_epochs=length) if by_epoch else
                   dict(by_epoch=False, max_iters=5 * length,
                        val_interval=4)),
        val_cfg=dict(), val_evaluator=dict(type='VideoAccMetric'),
        optim_wrapper=dict(
            type='AmpOptimWrapper' if amp else 'OptimWrapper',
            accumulative_counts=accumulate,
            optimizer=dict(type='AdamW', lr=.003), clip_grad=dict(max_norm=5)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=.1, by_epoch=False, end=5),
            dict(type='StepLR', step_size=2 if by_epoch else 7,
                 by_epoch=by_epoch)],
        default_hooks=dict(
            resume=dict(type='ResumeHook'),
            finite_loss=dict(type='FiniteLossHook'),
            checkpoint=dict(
                type='AtomicCheckpointHook', interval=every,
                by_epoch=(saving or loop) == 'epoch', max_keep_ckpts=1,
                save_best='auto')),
        custom_hooks=[
            dict(type='EMAHook', momentum=.1, begin_iter=2),
            dict(type='FiringRateHook', interval=3),
            dict(type='SkippedVideosHook')],
        env_cfg=dict(mp_cfg=dict(), dist_cfg=dict(backend='gloo')),
        randomness=dict(seed=7), log_level='ERROR',
        visualizer=dict(type='ActionVisualizer', vis_backends=None)))


class Interrupted(BaseException):  # noqa: N818
    """In the place of a signal, for tests in one process."""


def give_up() -> None:
    raise Interrupted


def train(cfg: Config, folder: Path, resume: bool | str = False,
          point: str = '', number: int = 1, action: Callable = give_up
          ) -> Runner:
    """Train in ``folder``; interrupt by ``action`` at a point.

    Args:
        cfg: Of :func:`config`.
        folder: Where to be.
        resume: Whether to resume, or from which file.
        point: A stage of the hooks, at its beginning, or 'write', in the
            middle of writing a file, or 'rename', before a file is renamed.
        number: How often the point was met when it counts.
        action: What ends the run.
    """
    left = itertools.count(number - 1, -1)

    def call_hook(runner, name, **kwargs):
        if name == point and not next(left):
            action()
        return upstream['call_hook'](runner, name, **kwargs)

    def flush(path):
        if (point == 'write' and path.endswith(files.PARTIAL)
                and not next(left)):
            os.truncate(path, os.path.getsize(path) // 2)
            action()
        upstream['flush'](path)

    def replace(source, target):
        if point == 'rename' and not next(left):
            action()
        upstream['replace'](source, target)

    upstream = dict(call_hook=Runner.call_hook, flush=files._flush,
                    replace=os.replace)
    cfg.resume = bool(resume)
    cfg.load_from = resume if isinstance(resume, str) else None
    with ExitStack() as stack:
        stack.enter_context(chdir(folder))
        stack.enter_context(patch.object(Runner, 'call_hook', call_hook))
        stack.enter_context(patch.object(files, '_flush', flush))
        stack.enter_context(patch.object(os, 'replace', replace))
        runner = Runner.from_cfg(cfg)
        runner.train()
    return runner


TIMES = ('time', 'data_time', 'eta', 'memory', 'cfg', 'experiment_name')


def contents(work: Path) -> dict:
    """All that the checkpoints of a run hold, but the time of day."""
    found = {}
    for path in work.glob('*.pth'):
        checkpoint = torch.load(path)
        # with workers also those read ahead, so not the same twice
        del checkpoint['skipped_videos']
        for key in TIMES:
            checkpoint['meta'].pop(key, None)
            checkpoint['message_hub']['runtime_info'].pop(key, None)
        info = checkpoint['message_hub']['runtime_info']
        checkpoint['message_hub']['runtime_info'] = {
            key: value.replace(str(work), '') if isinstance(value, str)
            else value for key, value in info.items()}
        hub = checkpoint['message_hub']['log_scalars']
        checkpoint['message_hub']['log_scalars'] = {
            key: value for key, value in hub.items()
            if key.rpartition('/')[2] not in TIMES}
        found[path.name] = checkpoint
    found['last_checkpoint'] = (work / 'last_checkpoint').read_text().replace(
        str(work), '')
    return found


def differences(a, b, place: str = '') -> list[str]:
    """Where two values are not the same, bit by bit."""
    if type(a) is not type(b):
        return [f'{place}: {a!r:.80} and {b!r:.80}']
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [f'{place}: only in one {sorted(set(a) ^ set(b))}']
        return [found for key in a
                for found in differences(a[key], b[key], f'{place}/{key}')]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [f'{place}: {len(a)} and {len(b)}']
        return [found for i, pair in enumerate(zip(a, b, strict=True))
                for found in differences(*pair, f'{place}/{i}')]
    if isinstance(a, HistoryBuffer):
        return differences([x.tolist() for x in a.data],
                           [x.tolist() for x in b.data], place)
    if isinstance(a, torch.Tensor):
        same = torch.equal(a, b) and a.dtype == b.dtype
    else:
        same = a == b or (a != a and b != b)
    return [] if same else [f'{place}: {a!r:.80} and {b!r:.80}']
