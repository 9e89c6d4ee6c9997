"""Runs every command that README and docs show, on videos made for it.

``python tests/stress/command_blocks.py [WORD ...]``: a copy of the checkout
in a temporary folder, eight classes of small videos, and the commands of all
pages in their order (those with a WORD alone; the README's train and publish
what the others use), by bash. Some minutes. What cannot run here is named with
its reason.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

from respike_mmaction.checkpoints.published import PublishedModel, to_published
from tests.conftest import ROOT
from tests.models.test_pretrained import torchvision_weights

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
TINY = ('clip.size=64 train_dataloader.num_workers=0 '
        'train_dataloader.persistent_workers=False '
        'val_dataloader.num_workers=0 val_dataloader.persistent_workers=False '
        'test_dataloader.num_workers=0 '
        'test_dataloader.persistent_workers=False')
ONE_EPOCH = f'{TINY} train_cfg.max_epochs=1'

# what a command is, and why it is not run here
WHY_NOT = {
    r'tools/demo\.sh': 'run whole, and timed, whenever it changes',
    r'tools/check\.sh': 'what CI runs',
    r'mmcv==|mmcv-lite$|setuptools==|mmcv\.ops': 'mmcv with its operators '
    'takes a quarter of an hour: done once',
    r'^pip install': 'the first step of tools/check.sh',
    r'(predict|stream)\.py 0 ': 'there is no camera',
    r'build_annotations\.py (hmdb51|ucf101|kinetics400)':
    'tests/annotations run them on the official lists',
}
# what a command is, and what makes it small or fits it to the place
CHANGES = (
    (r'train\.py configs/respike/mine\.py', '$',
     f' --cfg-options {ONE_EPOCH}'),
    (r'train\.py CONFIG ', '$', f' {ONE_EPOCH} --work-dir work_dirs/wide'),
    (r'test\.py CONFIG CHECKPOINT', '$', f' {TINY} --work-dir work_dirs/t'),
    (r'test\.py configs/respike/mine\.py', '$', f' --cfg-options {TINY}'),
    (r'dist_train\.sh', 'mine.py 8', f'mine.py 2 --work-dir work_dirs/two '
     f'--cfg-options {ONE_EPOCH} env_cfg.dist_cfg.backend=gloo'),
    (r'small/respike\.py', r'data_root=\S+ split=\S+ clip.size=64 '
     'max_epochs=30', 'clip.size=32 max_epochs=1'),
    (r'ablate\.py .*--vary', r'--cfg-options .*held.txt',
     '--cfg-options max_epochs=1 clip.size=32'),
    (r'ablate\.py .*as1$', '$', ' --cfg-options max_epochs=1 clip.size=32'),
    (r'split_list\.py data', r'(?<= )data/\S+', 'AS1_train.txt'),
    (r'--factor', r'ann_file_train=\S+ ann_file_val=\S+', 'max_epochs=1'),
    (r'--factor', 'clip.size=64', 'clip.size=32'),
    (r'--factor', r'--factor key_rate.*(?=--out)', ''),  # four runs
    (r'RESNET18=weights', r'weights\.pth', 'resnet18-f37072fd.pth'),
    (r'split=AS1', '--seeds 0 1 2', '--seeds 0'),
    (r'split=AS1', 'split=AS1', 'max_epochs=1 clip.size=32'),
    (r'vis_cam', 'clockwise', 'class4'),
    (r'SMALL_DATA=', 'msr_action3d', 'motion8'),
    (r'compare_exports\.py', r'\*\.mp4', 'a.mp4 b.mp4'),
    # what the README's commands wrote under the same names
    (r'folder my_videos', '^',
     'rm -rf data/mine configs/respike/mine.py && '),
    (r'publish_model\.py work_dirs', '^', 'rm -f mine_*.pth && '),
    (r'\[CHECKPOINT\]', r'\[CHECKPOINT\].*', 'CHECKPOINT --videos 1'),
    (r'DATE-HASH', r'mine_DATE-HASH\.pth', '$(ls mine_*.pth)'),
    (r'(?<!ls )mine_\*\.pth', r'mine_\*\.pth', '$(ls mine_*.pth)'),
    (r'CONFIG\.py', r'CONFIG\.py', 'CONFIG'),
    (r'\bCONFIG\b', r'\bCONFIG\b', 'work_dirs/mine/mine.py'),
    (r'\bCHECKPOINT\b', r'\bCHECKPOINT\b', 'best.pth'),
)


def commands():
    """Page and command, continued lines joined, comments left out."""
    found = []
    for page in PAGES:
        for block in re.findall(r'```bash\n(.*?)```', page.read_text(), re.S):
            for line in block.replace('\\\n', ' ').splitlines():
                line = re.sub(r'\s*(^|\s)#.*', '', line).strip()
                if line:
                    found.append((page.relative_to(ROOT).as_posix(), line))
    return found


def reason(command):
    """Why a command is not run, or None."""
    return next((why for pattern, why in WHY_NOT.items()
                 if re.search(pattern, command)), None)


def fitted(command):
    """The command as it is run here."""
    for pattern, old, new in CHANGES:
        if re.search(pattern, command):
            command = re.sub(old, new.replace('\\', r'\\'), command, count=1)
    return command


def prepare(place):
    """The checkout, videos, lists, ImageNet weights of the right shapes."""
    for name in ('tools', 'configs', 'respike_mmaction', 'requirements'):
        shutil.copytree(ROOT / name, place / name, ignore=(
            shutil.ignore_patterns('__pycache__')))
    shell(place, 'python tools/data/make_motion_videos.py --num-train 2 '
          '--num-val 1 --size 64')
    motion8 = place / 'data/motion8'
    for line in (motion8 / 'motion8_train_list_videos.txt').read_text(
    ).splitlines():
        path, label = line.rsplit(maxsplit=1)
        target = place / f'videos/class{label}/{Path(path).name}'
        target.parent.mkdir(parents=True, exist_ok=True)
        source = next(motion8.rglob(Path(path).name))
        shutil.copy(source, target)
    shutil.copytree(place / 'videos', place / 'my_videos')
    clip = next((place / 'videos').rglob('*.mp4'))
    (place / 'folder').mkdir()
    for name in ('clip.mp4', 'long.mp4', 'a.mp4', 'b.mp4', 'more.avi',
                 'folder/c.mp4', 'folder/d.mp4'):
        shutil.copy(clip, place / name)
    names = [path.relative_to(place / 'videos').as_posix()
             for path in (place / 'videos').rglob('*.mp4')]
    (place / 'list.txt').write_text(''.join(f'{n} 1\n' for n in names[:3]))
    (place / 'AS1_train.txt').write_text(''.join(
        f'a01_s{i:02}_e01.mp4 0\n' for i in range(10)))
    init_default_scope('mmaction')
    hub = place / 'hub/checkpoints'
    hub.mkdir(parents=True)
    torchvision_weights(hub / 'resnet18-f37072fd.pth')
    shutil.copy(hub / 'resnet18-f37072fd.pth', place)
    published = MODELS.build(
        PublishedModel(18, True, 32, 8).config(num_frames=8))
    torch.save(to_published(published.state_dict()).state_dict,
               place / 'theirs.pth')


def shell(place, command):
    """Run it by bash as a user would; its output when it fails."""
    env = {**os.environ, 'PYTHONPATH': str(place), 'TORCH_HOME': str(place),
           'SMALL_DATA': 'motion8',
           'RESNET18': str(place / 'resnet18-f37072fd.pth'),
           'OMP_NUM_THREADS': '1', 'PATH': os.pathsep.join(
               [str(Path(sys.executable).parent), os.environ['PATH']])}
    result = subprocess.run(
        ['bash', '-c', command], cwd=place, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900)
    if result.returncode:
        raise RuntimeError(f'{command}\n{result.stdout[-3000:]}')


def after(place, command):
    """Files that the next commands of the page speak of."""
    if 'train.py configs/respike/mine.py' in command:
        best, = (place / 'work_dirs/mine').glob('best_acc_top1_*.pth')
        for name in ('best.pth', 'a.pth', 'b.pth', 'work_dirs/mine/best.pth'):
            shutil.copy(best, place / name)
        for name in ('a.py', 'b.py'):
            shutil.copy(place / 'work_dirs/mine/mine.py', place / name)
        shutil.copy(place / 'data/mine/label_map.txt', place)
    if 'publish_model.py' in command:
        assert len([*place.glob('mine_*.pth')]) == 1


def main():
    words = sys.argv[1:]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        prepare(place)
        for page, command in commands():
            if words and not any(word in f'{page} {command}'
                                 for word in words):
                continue
            why = reason(command)
            if why:
                print(f'{page}: {command}: not run: {why}', flush=True)
                continue
            try:
                shell(place, fitted(command))
                after(place, command)
            except (RuntimeError, AssertionError, OSError, ValueError,
                    subprocess.TimeoutExpired) as error:
                failed += 1
                print(f'{page}: {command}: FAILED\n{error}', flush=True)
            else:
                print(f'{page}: {command}: done', flush=True)
    sys.exit(f'{failed} failed' if failed else 0)


if __name__ == '__main__':
    main()
