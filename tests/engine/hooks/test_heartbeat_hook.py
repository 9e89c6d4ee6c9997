"""A stopped process ends the run of the others; a busy one does not."""
import os
import signal
import time

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from respike_mmaction.engine.hooks import HeartbeatHook
from tests.processes import TIMEOUT, _rank, free_port


def work(rank, folder, address, stops, late):
    """Count, be busy for longer than others wait, then stop."""
    dist.barrier()  # the other may still be connecting
    dist.destroy_process_group()  # meet as torchrun does, not at a file
    dist.init_process_group('gloo', address, rank=rank, world_size=2)
    hook = HeartbeatHook(interval=.5, missed=10)
    for run in range(2):  # train() and test() of one runner
        hook.before_run(None)
        if run == rank == 1:
            time.sleep(6)
        dist.barrier()
        hook.after_run(None)
    (folder / str(rank)).touch()
    if rank == late:
        time.sleep(2)  # the other is stopped before it begins to count
    hook.before_run(None)
    if rank == stops:
        time.sleep(stops)  # rank 0 at once, before it counts again
        os.kill(os.getpid(), signal.SIGSTOP)
    dist.barrier()  # without end for the others


@pytest.mark.parametrize('stops, late', [(1, None), (0, None), (0, 1)])
def test_a_stopped_process_ends_the_others_a_busy_one_does_not(
        tmp_path, capfd, stops, late):
    """Rank 0 holds the store of this address: without it there is no answer.
    """
    ranks = mp.spawn(_rank, (work, tmp_path, (
        f'tcp://127.0.0.1:{free_port()}', stops, late)), nprocs=2, join=False)
    try:
        other = ranks.processes[1 - stops]
        other.join(TIMEOUT)
        assert other.exitcode == 1
        assert ranks.processes[stops].is_alive()
    finally:
        for process in ranks.processes:
            process.kill()
    assert (tmp_path / '0').exists() and (tmp_path / '1').exists()
    output, errors = capfd.readouterr()
    process = ranks.processes[1].pid
    reason = (f'rank 1 (host and process: {os.uname().nodename}, {process})'
              ' gives no sign of life' if stops else
              'the store that joins all ranks gives no answer: rank 0')
    assert f'Rank {1 - stops} ends, because {reason}' in output + errors


def test_one_process_is_left_alone():
    hook = HeartbeatHook()
    hook.before_run(None)
    assert hook._thread is None
    hook.after_run(None)


@pytest.mark.parametrize('name', ['interval', 'missed'])
def test_wrong_arguments(name):
    with pytest.raises(ValueError, match=f'{name}=0'):
        HeartbeatHook(**{name: 0})
