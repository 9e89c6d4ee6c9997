"""The end of a distributed run in which a process answers no more."""
import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from threading import Event, Thread
from typing import TypeVar

from mmaction.registry import HOOKS
from mmengine.dist import barrier, get_dist_info
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch.distributed import PrefixStore, Store
from torch.distributed.distributed_c10d import _get_default_store

from ...daemon import in_daemon

T = TypeVar('T')


@HOOKS.register_module()
class HeartbeatHook(Hook):
    """End all processes of a run when one of them is stopped.

    A process that ends, by an error or a signal, is noticed by torchrun and
    srun, which end the others. One that is stopped (SIGSTOP, a frozen
    machine) is not: the others wait for it in the next collective, for half
    an hour by default. Here each process counts on, in the store that joined
    them, and one whose count stands still ends the run, with its name. That
    is not a limit on anything a process does: a thread counts, so reading,
    saving and compiling may take as long as they like.

    Does nothing in a run of one process.

    Args:
        interval (float): Seconds between two counts. Defaults to 5.
        missed (int): Counts missed in a row after which a process is given
            up. Not time is measured, so that a whole run may be suspended
            and go on. Defaults to 4.

    Raises:
        ValueError: If an argument is not positive.
    """

    def __init__(self, interval: float = 5., missed: int = 4) -> None:
        if interval <= 0 or missed <= 0:
            raise ValueError('interval and missed must be positive, but got '
                             f'interval={interval}, missed={missed}')
        self.interval = interval
        self.missed = missed
        self._runs = 0
        self._stop = Event()
        self._thread: Thread | None = None

    def before_run(self, runner: Runner) -> None:
        """Begin to count (all ranks).

        Args:
            runner (Runner): Not used.
        """
        if get_dist_info()[1] == 1:
            return
        self._runs += 1
        self._stop.clear()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def after_run(self, runner: Runner) -> None:
        """Count no more (all ranks).

        Args:
            runner (Runner): Not used.
        """
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        barrier()  # the store lives as long as the process that made it

    def _watch(self) -> None:
        """End this process if need be: its main thread may wait for ever."""
        try:
            self._count(self._answer(self._join))
        except RuntimeError as error:
            if not self._stop.is_set():
                print_log(f'Rank {get_dist_info()[0]} ends, because {error}',
                          'current', logging.ERROR)
                os._exit(1)

    def _join(self) -> Store:
        """A connection to the store in which this rank counts from now on."""
        store = _get_default_store()
        if hasattr(store, 'clone'):
            store = store.clone()  # a connection of its own
        store = PrefixStore(f'heartbeat/{self._runs}', store)
        rank = get_dist_info()[0]
        store.set(f'{rank} is', f'{socket.gethostname()}, {os.getpid()}')
        store.add(str(rank), 1)  # from now on it is missed
        return store

    def _count(self, store: Store) -> None:
        rank, world_size = get_dist_info()
        counts = [0] * world_size
        missed = [0] * world_size
        while not self._stop.wait(self.interval):
            found = self._answer(lambda: [
                store.add(str(other), int(other == rank))
                for other in range(world_size)
            ])
            for other, count in enumerate(found):
                # who has not begun is not missed
                still = count > 0 and count == counts[other]
                missed[other] = missed[other] + 1 if still else 0
                if missed[other] == self.missed:
                    name = store.get(f'{other} is').decode()
                    raise RuntimeError(
                        f'rank {other} (host and process: {name}) gives no '
                        'sign of life: it was stopped, or its machine is '
                        'gone')
            counts = found

    def _answer(self, ask: Callable[[], T]) -> T:
        """What the store answers, if it does in time.

        Its host may be the one that is stopped, at any time, the first
        connection included: no answer, and no error.
        """
        answer = in_daemon(ask)
        for _ in range(self.missed):
            with suppress(FutureTimeoutError):
                return answer.result(self.interval)
        raise RuntimeError('the store that joins all ranks gives no answer: '
                           'rank 0, or what started it, was stopped')
