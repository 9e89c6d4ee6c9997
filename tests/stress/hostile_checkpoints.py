"""Every hostile checkpoint at every entry that loads one.

``python tests/stress/hostile_checkpoints.py [ENTRY ...]``: each is tried in a
process of its own (forked, so Linux), and what became of it is counted. The
small network here has no published counterpart, so the converter refuses its
own checkpoint, too, after reading it.
"""
import multiprocessing
import os
import runpy
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import torch
from mmaction.apis import inference_recognizer, init_recognizer
from mmaction.apis.inferencers import ActionRecogInferencer
from mmengine.config import Config
from mmengine.runner import Runner

from respike_mmaction.energy import measure
from tests.checkpoints import hostile
from tests.checkpoints.test_config_text import MODEL, PIPELINE
from tests.conftest import ROOT
from tests.videos import write_video

LIMIT = 120  # seconds


def config(folder):
    data = dict(
        type='VideoDataset', ann_file=str(folder / 'list.txt'),
        data_prefix=dict(video=str(folder)), pipeline=PIPELINE)
    loader = dict(batch_size=2, dataset=dict(data, test_mode=True),
                  sampler=dict(type='DefaultSampler', shuffle=False))
    cfg = Config(dict(
        default_scope='mmaction', model=MODEL, work_dir=str(folder / 'work'),
        train_dataloader=dict(loader, dataset=data), val_dataloader=loader,
        test_dataloader=loader, test_pipeline=PIPELINE,
        train_cfg=dict(by_epoch=True, max_epochs=2), val_cfg=dict(),
        test_cfg=dict(), val_evaluator=dict(type='VideoAccMetric'),
        test_evaluator=dict(type='VideoAccMetric'), log_level='ERROR',
        visualizer=dict(type='ActionVisualizer', vis_backends=None),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)),
        default_hooks=dict(checkpoint=dict(
            type='CheckpointHook', interval=1, save_best='acc/top1'))))
    cfg.dump(folder / 'config.py')
    return cfg


def script(name, *args):
    sys.argv = [name, *map(str, args)]
    sys.path.insert(0, str(ROOT / 'tools'))
    runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')


def train(folder, path, resume):
    cfg = Config.fromfile(folder / 'config.py')
    cfg.load_from, cfg.resume = str(path), resume
    cfg.work_dir = tempfile.mkdtemp(dir=folder)
    Runner.from_cfg(cfg).train()


def test(folder, path):
    cfg = Config.fromfile(folder / 'config.py')
    cfg.load_from = str(path)
    Runner.from_cfg(cfg).test()


ENTRIES = {
    'resume': lambda folder, path: train(folder, path, True),
    'load_from': lambda folder, path: train(folder, path, False),
    'test': test,
    'convert': lambda folder, path: script(
        'convert/convert_respike_checkpoint.py', path, folder / 'out.pth'),
    'convert back': lambda folder, path: script(
        'convert/convert_respike_checkpoint.py', path, folder / 'out.pth',
        '--reverse'),
    'energy': lambda folder, path: measure(
        str(folder / 'config.py'), str(path)),
    'publish': lambda folder, path: script(
        'publish_model.py', path, folder / 'published.pth'),
    'predict': lambda folder, path: script(
        'predict.py', folder / 'a.mp4', folder / 'config.py', path),
    'predict without config': lambda folder, path: script(
        'predict.py', folder / 'a.mp4', path),
    'stream': lambda folder, path: script(
        'stream.py', folder / 'a.mp4', folder / 'config.py', path, '--speed',
        '0'),
    'export NIR': lambda folder, path: script(
        'deployment/export_nir.py', folder / 'config.py', path,
        '--image_size', 32, 32, '--output_file', folder / 'out.nir'),
    'export ONNX': lambda folder, path: script(
        'deployment/export_onnx.py', folder / 'config.py', path,
        '--image_size', 32, '--format', 'torchscript', '--output_file',
        folder / 'out.pt'),
    'see': lambda folder, path: script(
        'visualizations/vis_respike.py', folder / 'a.mp4',
        folder / 'config.py', path, '--out-dir', folder / 'see'),
    'inference': lambda folder, path: inference_recognizer(
        init_recognizer(str(folder / 'config.py'), str(path), device='cpu'),
        str(folder / 'a.mp4')),
    'inferencer': lambda folder, path: ActionRecogInferencer(
        None, str(path), device='cpu')(str(folder / 'a.mp4')),
}


def attempt(entry, folder, path):
    """In the child: status 0 if it was loaded, 3 if it was refused."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.stdout = sys.stderr = open('output.txt', 'w')  # noqa: SIM115
    try:
        ENTRIES[entry](folder, path)
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and not error.code:
            os._exit(0)
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(3)
    os._exit(0)


def outcome(entry, folder, path):
    process = multiprocessing.get_context('fork').Process(
        target=attempt, args=(entry, folder, path))
    process.start()
    process.join(LIMIT)
    if process.is_alive():
        process.kill()
        return 'HUNG'
    if (folder / 'touched').exists():
        (folder / 'touched').unlink()
        return 'EXECUTED'
    if not (folder / 'of somebody else').is_dir():
        (folder / 'of somebody else').mkdir()
        return 'DELETED'
    return {0: 'loaded', 3: 'refused'}.get(process.exitcode, 'CRASHED')


def main():
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    try:
        for name in 'abcd':
            write_video(folder / f'{name}.mp4', num_frames=8, size=(32, 32))
        (folder / 'list.txt').write_text(''.join(
            f'{name}.mp4 {i % 3}\n' for i, name in enumerate('abcd')))
        Runner.from_cfg(config(folder)).train()
        good = torch.load(folder / 'work/epoch_1.pth')
        paths = hostile.write(good, folder / 'touched', folder)
        good_path = folder / 'work/epoch_1.pth'
        for entry in sys.argv[1:] or ENTRIES:
            own = outcome(entry, folder, good_path)
            found = {kind: outcome(entry, folder, path)
                     for kind, path in paths.items()}
            counts = Counter(found.values())
            print(f'{entry:12} own checkpoint: {own}; of {len(paths)} hostile '
                  'ones: ' + ', '.join(f'{n} {what}' for what, n
                                       in sorted(counts.items())),
                  [kind for kind, what in found.items() if what.isupper()],
                  flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == '__main__':
    main()
