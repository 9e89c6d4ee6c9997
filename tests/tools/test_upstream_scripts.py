"""MMAction2's own scripts and APIs, unmodified, on our configs.

One small network is trained once, by ``train.py`` in a process of its own, and
everything else uses its checkpoint. The videos are real files.
"""
import json
import os
import re
import sys
from pathlib import Path

import mmaction
import numpy as np
import pytest
import torch
from decord import VideoReader
from mmaction.apis import (
    MMAction2Inferencer,
    inference_recognizer,
    init_recognizer,
)
from mmaction.registry import MODELS
from mmengine import load
from mmengine.config import Config

from respike_mmaction.checkpoints.published import PublishedModel, to_published
from tests import processes

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('upstream')]

UPSTREAM = Path(mmaction.__file__).parent / '.mim/tools'
CLASSES = ('left', 'right', 'up', 'down', 'clockwise', 'counter-clockwise',
           'growing', 'shrinking')
# the smallest network of the demo's config, on frames of 32 x 32, without
# anything random but the order of the videos
SMALL = [
    '--cfg-options', 'model.key_backbone.widen_factor=0.25',
    'train_dataloader.batch_size=4',
    'train_dataloader.dataset.pipeline.3.area_range=(1.0,1.0)',
    'train_dataloader.dataset.pipeline.3.aspect_ratio_range=(1.0,1.0)',
    # the model and all pipelines read them from there
    'clip.size=32', 'clip.stride=2', *[
        f'{phase}_dataloader.{option}' for phase in ('train', 'val', 'test')
        for option in ('num_workers=0', 'persistent_workers=False')
    ]
]


@pytest.fixture(scope='module')
def config(root):
    path, = (root / 'configs/respike').glob('*_motion8-rgb.py')
    return str(path)


@pytest.fixture(scope='module')
def place(root, tmp_path_factory):
    """A folder with ``data/motion8``, where a user would call the scripts."""
    place = tmp_path_factory.mktemp('place')
    run(place, root / 'tools/data/make_motion_videos.py', '--num-train', 1,
        '--num-val', 1, '--size', 32)
    return place


def run(cwd, *command, check=True, **env):
    """Run a script in a process of its own; return its output."""
    shell = str(command[0]).endswith('.sh')
    result = processes.run(
        ['bash' if shell else sys.executable, *command],
        check,
        cwd=cwd,
        # upstream's shell scripts call `python`
        env={
            **os.environ, 'PATH': os.pathsep.join(
                [str(Path(sys.executable).parent), os.environ['PATH']]),
            'OMP_NUM_THREADS': '1',
            **env
        })
    return result.stdout if check else result


@pytest.fixture(scope='module')
def checkpoint(place, config):
    """Two epochs of upstream's train.py."""
    run(place, UPSTREAM / 'train.py', config, '--work-dir', 'work', '--seed',
        0, *SMALL, 'train_cfg.max_epochs=2',
        'default_hooks.checkpoint.interval=1',
        'default_hooks.checkpoint.max_keep_ckpts=2',
        'train_cfg.val_interval=1')
    return place / 'work/epoch_2.pth'


@pytest.fixture(scope='module')
def predictions(place, config, checkpoint):
    """Scores of upstream's test.py --dump, (8, 8)."""
    out = run(place, UPSTREAM / 'test.py', config, checkpoint, '--work-dir',
              'work/test', '--dump', 'result.pkl', *SMALL)
    predictions = scores(place / 'result.pkl')
    top1 = (predictions.argmax(1) == torch.arange(8)).double().mean()
    assert f'acc/top1: {top1:.4f}' in out
    return predictions


def scores(dump):
    return torch.stack([s['pred_score'] for s in load(dump)])


def test_test_scores_with_a_converted_checkpoint(place, root, config):
    """Every key of it is loaded: MMEngine warns of any other."""
    published = PublishedModel(18, True, 32, 8).config(num_frames=8)
    cfg = Config.fromfile(config)
    cfg.model.key_backbone = published['key_backbone']
    cfg.model.backbone.depth = 18
    cfg.dump(place / 'converted.py')
    model = MODELS.build(published)
    model.cls_head.fc_cls.weight.data *= 10  # scores that differ
    torch.save(to_published(model.state_dict()).state_dict,
               place / 'theirs.pth')
    run(place, root / 'tools/convert/convert_respike_checkpoint.py',
        'theirs.pth', 'ours.pth', '--downsample')
    options = [o for o in SMALL if 'widen_factor' not in o]
    out = run(place, UPSTREAM / 'test.py', 'converted.py', 'ours.pth',
              '--work-dir', 'work/converted', '--dump', 'converted.pkl',
              *options)
    assert 'Load checkpoint from ours.pth' in out
    for warning in ('do not match', 'unexpected key', 'missing key',
                    'size mismatch'):
        assert warning not in out
    cfg.merge_from_dict({'clip.size': 32, 'clip.stride': 2})
    network = init_recognizer(cfg, device='cpu')
    network.load_state_dict(model.state_dict())
    found = scores(place / 'converted.pkl')
    for index in (0, 5):
        expected = inference_recognizer(network, video_of(place, index))
        torch.testing.assert_close(found[index], expected.pred_score)


def test_train_keeps_the_best_and_the_curves(checkpoint):
    work = checkpoint.parent
    best, = work.glob('best_acc_top1_epoch_*.pth')
    assert 'state_dict' in torch.load(best)
    assert list(work.glob('*/vis_data/events.out.tfevents.*'))
    scalars, = work.glob('*/vis_data/scalars.json')
    logged = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert sum('acc/top1' in line for line in logged) == 2


def test_dump_holds_probabilities_of_every_video(predictions):
    torch.testing.assert_close(predictions.sum(1), torch.ones(8))
    assert len(predictions.unique(dim=0)) == 8


def test_resumed_training_is_the_uninterrupted_one(place, config, checkpoint):
    """From the checkpoint of epoch 1 to the weights of epoch 2."""
    out = run(place, UPSTREAM / 'train.py', config, '--work-dir', 'resumed',
              '--seed', 0, '--resume', checkpoint.parent / 'epoch_1.pth',
              *SMALL, 'train_cfg.max_epochs=2')
    assert 'resumed epoch: 1' in out
    found = torch.load(place / 'resumed/epoch_2.pth')
    expected = torch.load(checkpoint)
    assert found['meta']['iter'] == expected['meta']['iter'] == 4
    torch.testing.assert_close(
        found['state_dict'], expected['state_dict'], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('ours', [False, True], ids=['upstream', 'ours'])
def test_two_processes(place, root, config, checkpoint, predictions, ours):
    """DDP on gloo: trains without unused parameters, scores every video."""
    scripts = root / 'tools' if ours else UPSTREAM
    # upstream's scripts split arguments at spaces and take no free port
    work = 'two processes' if ours else 'two_processes'
    env = {} if ours else {'PORT': str(processes.free_port())}
    out = run(place, scripts / 'dist_train.sh', config, 2, '--work-dir', work,
              *SMALL, 'train_cfg.max_epochs=2',
              'train_dataloader.batch_size=2', **env)
    assert 'Distributed launcher: pytorch' in out
    state = torch.load(place / work / 'epoch_2.pth')
    assert state['meta']['iter'] == 4  # 8 videos, 2 at a time in each of 2
    assert not Config.fromstring(state['meta']['cfg'], '.py').get(
        'find_unused_parameters', False)
    run(place, scripts / 'dist_test.sh', config, checkpoint, 2, '--work-dir',
        work + '/test', '--dump', f'{work}.pkl', *SMALL, **env)
    torch.testing.assert_close(scores(place / f'{work}.pkl'), predictions)


# what srun does for --ntasks=2 on one node
SRUN = """#!/usr/bin/env bash
echo "srun $*"
while [[ $1 == -* ]]; do
    case $1 in --ntasks=*) tasks=${1#*=} ;; -p) shift ;; esac
    shift
done
export SLURM_NTASKS=$tasks SLURM_NODELIST='node[1]'
for ((i = 0; i < tasks; i++)); do
    SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & started+=($!)
done
for process in "${started[@]}"; do wait "$process" || exit 1; done
"""
SCONTROL = """#!/usr/bin/env bash
[ "$*" = 'show hostname node[1]' ] && echo 127.0.0.1
"""


def test_slurm(place, root, config, checkpoint, predictions):
    """Our scripts under a stub of srun, in two processes, with --amp."""
    for name, script in dict(srun=SRUN, scontrol=SCONTROL).items():
        path = place / 'slurm' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    env = dict(
        GPUS='2', GPUS_PER_NODE='2', SRUN_ARGS='--time=5 --quiet',
        PATH=os.pathsep.join([str(place / 'slurm'),
                              str(Path(sys.executable).parent),
                              os.environ['PATH']]))
    out = run(place, root / 'tools/slurm_train.sh', 'part', 'job', config,
              '--work-dir', 'slurm work', '--amp', *SMALL,
              'train_cfg.max_epochs=1',
              'train_dataloader.batch_size=2', **env)
    assert ('srun -p part --job-name=job --gres=gpu:2 --ntasks=2 '
            '--ntasks-per-node=2 --cpus-per-task=5 --kill-on-bad-exit=1 '
            '--time=5 --quiet python') in out
    assert 'Distributed launcher: slurm' in out
    state = torch.load(place / 'slurm work/epoch_1.pth')
    assert state['meta']['iter'] == 2  # 8 videos, 2 at a time in each of 2
    assert "type='AmpOptimWrapper'" in state['meta']['cfg']
    assert all(value.dtype in (torch.float32, torch.int64)
               and value.isfinite().all()
               for value in state['state_dict'].values())
    run(place, root / 'tools/slurm_test.sh', 'part', 'job', config,
        checkpoint, '--work-dir', 'slurm work/test', '--dump', 'slurm.pkl',
        *SMALL, **env)
    torch.testing.assert_close(scores(place / 'slurm.pkl'), predictions)


def test_get_flops(place, config):
    """At least the products of all convolutions and linear layers."""
    out = run(place, UPSTREAM / 'analysis_tools/get_flops.py', config,
              '--shape', 8, 3, 64, 64)
    assert 'Input shape: (8, 3, 64, 64)' in out
    flops = float(re.search(r'Flops: ([\d.]+)G', out)[1]) * 1e9
    params = float(re.search(r'Params: ([\d.]+)M', out)[1]) * 1e6

    model = MODELS.build(Config.fromfile(config).model).eval()
    products = 0

    def count(module, inputs, output):
        nonlocal products
        weight = module.weight
        products += output.numel() * weight[0].numel()

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, 8, 3, 64, 64), stage='head')
    assert params == pytest.approx(
        sum(p.numel() for p in model.parameters()), rel=1e-3)
    # the rest: attention, normalisation, pooling
    assert products <= flops * 1.001
    assert flops < 1.2 * products


def test_browse_dataset(place, config):
    pytest.importorskip('moviepy')
    run(place, UPSTREAM / 'visualizations/browse_dataset.py', config,
        'browse', '--mode', 'pipeline', '--show-number', 2, '--label',
        'data/motion8/label_map.txt', '--cfg-options', 'clip.num_frames=4',
        'clip.stride=2', 'clip.size=32')
    videos = sorted((place / 'browse').rglob('*.mp4'))
    assert len(videos) == 2
    for video in videos:
        assert len(VideoReader(str(video))) == 4


def test_publish_model(place, root, checkpoint):
    run(place, root / 'tools/publish_model.py', checkpoint, 'published.pth')
    path, = place.glob('published_*-*.pth')
    published, state = torch.load(path), torch.load(checkpoint)
    assert 'optimizer' in state and 'message_hub' in state
    assert not {'optimizer', 'message_hub', 'param_schedulers'
                } & published.keys()
    assert published['state_dict'].keys() == state['state_dict'].keys()
    for name, weight in state['state_dict'].items():
        assert torch.equal(published['state_dict'][name], weight)


class Touch:
    """Pickles as a call of ``os.system``."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}', )


def test_publish_model_refuses_a_hostile_checkpoint(place, root):
    torch.save(dict(state_dict={}, meta=Touch(place / 'touched')),
               place / 'hostile.pth')
    result = run(place, root / 'tools/publish_model.py', 'hostile.pth',
                 'out.pth', check=False)
    assert result.returncode != 0
    assert 'UnpicklingError' in result.stdout
    assert not (place / 'touched').exists()
    assert not list(place.glob('out*'))


def test_wrapper_names_a_missing_script(place, root):
    result = run(place, root / 'tools/upstream.py', 'no_such.py', check=False)
    assert result.returncode != 0
    assert 'no_such.py is in neither' in result.stdout


def test_confusion_matrix(place, root, predictions):
    labels = place / 'data/motion8/label_map.txt'
    out = run(place, root / 'tools/analysis_tools/print_confusion_matrix.py',
              'result.pkl', labels)
    rows = [line.split() for line in out.splitlines()
            if line.split() and line.split()[0] in CLASSES]
    assert [row[0] for row in rows] == list(CLASSES)
    for i, row in enumerate(rows):
        expected = [0] * 8
        expected[int(predictions[i].argmax())] = 1
        assert [int(count) for count in row[1:]] == [*expected, 0, i]
    top1 = (predictions.argmax(1) == torch.arange(8)).double().mean()
    assert f'top-1 {top1:.1%}, top-5' in out and 'of 8 videos' in out


# The Python APIs, in this process


def video_of(place, index):
    return str(place / f'data/motion8/videos_val/{CLASSES[index]}/0000.mp4')


@pytest.fixture(scope='module')
def trained_config(checkpoint, config):
    """What train.py left beside the checkpoint: the options are in it."""
    return str(checkpoint.parent / Path(config).name)


def test_inference_recognizer(place, trained_config, checkpoint, predictions):
    model = init_recognizer(trained_config, str(checkpoint), device='cpu')
    for index in (0, 5):
        result = inference_recognizer(model, video_of(place, index))
        torch.testing.assert_close(result.pred_score, predictions[index])
        assert int(result.pred_label) == int(predictions[index].argmax())


def test_inferencer(place, trained_config, checkpoint, predictions):
    pytest.importorskip('moviepy')
    inferencer = MMAction2Inferencer(
        trained_config,
        str(checkpoint),
        device='cpu',
        label_file=str(place / 'data/motion8/label_map.txt'))
    out = place / 'inferencer'
    result = inferencer(video_of(place, 2), vid_out_dir=str(out))
    found, = result['predictions']
    expected = int(predictions[2].argmax())
    assert found['rec_labels'] == [[expected]]
    # the config's own steps decode: bit by bit what test.py gives
    steps = [type(step).__name__
             for step in inferencer.actionrecog_inferencer.pipeline.transforms]
    assert steps[1] == 'VideoInit' and 'VideoDecode' in steps
    np.testing.assert_allclose(
        found['rec_scores'][0], predictions[2], rtol=1e-5, atol=1e-7)
    assert len(list(out.glob('*.mp4'))) == 1
