"""Runs killed at random places and resumed, compared with those that were not.

``python tests/stress/resume_matrix.py [SEED [STOPS]]`` trains each of ten
small configs once without a stop and STOPS times (3) with one: ``kill -9`` of
the process group, in an iteration, at an epoch's end or in the middle of
writing a file. Weights, EMA, optimizer, schedules, metrics, message hub, best
checkpoint and names of all files have to be equal, bit by bit. The processes
are forked from this one, which imports everything once.
"""
import os
import random
import re
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import torch

import respike_mmaction  # noqa: F401
from tests.interruption import (
    config,
    contents,
    differences,
    make_videos,
    train,
)

INFINITE = dict(loop='iter', every=4, sampler='InfiniteSampler')
SETTINGS = [
    (1, dict(accumulate=2)),
    (1, dict(workers=2, amp=True)),
    (2, dict(workers=2, persistent=True)),
    (2, dict(amp=True)),
    (1, dict(loop='epoch/iter', every=4, amp=True)),
    (1, dict(loop='epoch/iter', every=3, workers=2, persistent=True)),
    (1, dict(INFINITE, workers=2, persistent=True, amp=True)),
    (2, dict(INFINITE, workers=2)),
    (2, dict(loop='iter', every=3)),
    (1, dict(loop='iter', every=4, workers=2)),
]
POINTS = {'before_train_iter': 9, 'after_train_iter': 9,
          'after_train_epoch': 2, 'before_val': 2, 'after_val_epoch': 2,
          'before_train_epoch': 2, 'write': 6, 'rename': 6}
ONE_EPOCH = {'after_train_epoch': 1, 'before_train_epoch': 1}


def kill():
    os.killpg(0, signal.SIGKILL)


def rank_of(rank, world_size, store, cfg, folder, **kwargs):
    """One process of a run, forked; never returns."""
    output = os.open(folder / f'output{rank}',
                     os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    status = 1
    try:
        if world_size > 1:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            cfg.launcher = 'pytorch'
            # they meet at a file: a port found free may be taken
            cfg.env_cfg.dist_cfg.update(
                init_method=f'file://{store}', rank=rank,
                world_size=world_size)
        if rank:
            kwargs.pop('point', None)
        train(cfg, folder, action=kill, **kwargs)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def run(world_size, settings, videos, folder, **kwargs):
    """Train in a group of processes; return how its leader ended."""
    folder.mkdir(exist_ok=True)
    leader = os.fork()
    if not leader:
        os.setsid()
        cfg = config(videos, **settings)
        store = folder / f'store {os.getpid()}'
        ranks = []
        for rank in range(world_size):
            ranks.append(os.fork())
            if not ranks[-1]:
                rank_of(rank, world_size, store, cfg, folder, **kwargs)
        failed = any(os.waitpid(pid, 0)[1] for pid in ranks)
        os._exit(failed)
    return os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1])


def resume(world_size, settings, videos, folder):
    """As the user is told to."""
    if run(world_size, settings, videos, folder, resume=True) == 0:
        return 'resumed'
    named = re.search(r'`--resume (\S+)` goes on from it',
                      (folder / 'output0').read_text())
    if named and run(world_size, settings, videos, folder,
                     resume=named[1]) == 0:
        return 'resumed from the file named'
    return 'no end'


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    stops = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    rng = random.Random(seed)
    torch.set_num_threads(1)
    lost = tries = 0
    print('| processes | run | stop | resumption | differences |')
    print('|---|---|---|---|---|')
    for world_size, settings in SETTINGS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_videos(folder)
            status = run(world_size, settings, folder, folder / 'whole')
            assert status == 0, (folder / 'whole/output0').read_text()
            expected = contents(folder / 'whole/work')
            # of each kind of point one, then any
            points = POINTS | (ONE_EPOCH if settings.get('loop') == 'iter'
                               else {})
            for stop in range(stops):
                point = rng.choice(
                    [('before_train_iter', 'after_train_iter'),
                     ('write', 'rename'), tuple(points)][min(stop, 2)])
                number = rng.randint(1, points[point])
                place = folder / f'stopped{stop}'
                status = run(world_size, settings, folder, place,
                             point=point, number=number)
                how = resume(world_size, settings, folder, place)
                found = (differences(expected, contents(place / 'work'))
                         if how.startswith('resumed') else ['no end'])
                tries += 1
                failed = bool(found or not how.startswith('resumed')
                              or status != -signal.SIGKILL)
                lost += failed
                if not how.startswith('resumed'):
                    print((place / 'output0').read_text(), file=sys.stderr)
                print(f'| {world_size} | {settings} | {point} {number} '
                      f'({status}) | {how} | {len(found)} {found[:2]} |',
                      flush=True)
    print(f'{tries} stops, {tries - lost} bit-equal, {lost} lost')
    raise SystemExit(lost > 0)


if __name__ == '__main__':
    main()
