"""Processes that end with the test that started them, come what may."""
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

TIMEOUT = 300  # seconds; on a quiet machine none takes a minute


def run(command: list, check: bool = True, stderr: int = subprocess.STDOUT,
        **kwargs) -> subprocess.CompletedProcess:
    """``subprocess.run``, whose timeout ends grandchildren as well.

    Those of a shell script or of a launcher would otherwise hold the pipe
    open that the test reads.
    """
    with subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE,
            stderr=stderr, text=True, start_new_session=True,
            **kwargs) as process:
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert not check or process.returncode == 0, output[-5000:]
    return subprocess.CompletedProcess(command, process.returncode, output)


def free_port() -> int:
    """A port that nobody uses, now."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def run_ranks(target: Callable, folder: Path, *args) -> None:
    """Call ``target(rank, folder, *args)`` in two processes joined by gloo.

    They meet at a file: a port found free may be taken a moment later.
    """
    ranks = mp.spawn(_rank, (target, folder, args), nprocs=2, join=False)
    end = time.monotonic() + TIMEOUT
    try:
        while not ranks.join(timeout=1):
            if time.monotonic() > end:
                raise TimeoutError(f'{target.__name__} did not end')
    finally:
        for process in ranks.processes:
            process.kill()


def _rank(rank: int, target: Callable, folder: Path, args: tuple) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=2,
        timeout=timedelta(seconds=TIMEOUT / 2))
    target(rank, folder, *args)
    dist.barrier()
    dist.destroy_process_group()
