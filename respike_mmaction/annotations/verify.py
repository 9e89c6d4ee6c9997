"""Decoding every frame of many videos."""
import csv
import signal
import sys
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from mmengine.utils import ProgressBar

from ..datasets.video_reader import VideoReadError, chosen_decoder, open_video


def _verify(path: str, decoder: str) -> str:
    try:
        open_video(path, decoder).verify()
    except ImportError:
        raise
    except VideoReadError as error:
        return str(error).removeprefix(f'{path}: ')
    except Exception as error:  # one odd file must not end the work
        return f'{type(error).__name__}: {error}'
    return ''


def verify_videos(paths: Iterable[str],
                  state_file: str,
                  decoder: str = 'auto',
                  num_workers: int = 4) -> dict[str, str]:
    """Decode every frame of many videos, in parallel.

    Results go to a file at once, so a second run goes on where the first was
    stopped (by Ctrl-C, too); a file that has changed since, or was decoded
    by another decoder, is decoded again. A video that crashes the decoder is
    found, too.

    Args:
        paths (Iterable[str]): The videos.
        state_file (str): Where results are kept: path, size, time of
            change, decoder and reason ('' if readable), with tabs between.
        decoder (str): See :func:`open_video`. Defaults to 'auto'.
        num_workers (int): Number of processes. Defaults to 4.

    Returns:
        dict[str, str]: The unreadable videos and why.
    """
    decoder = chosen_decoder(decoder)

    def key(path: str) -> tuple[str, str, str, str]:
        try:
            status = Path(path).stat()
        except OSError:
            return path, '', '', decoder
        return path, str(status.st_size), str(status.st_mtime_ns), decoder

    keys = {path: key(path) for path in paths}
    known: dict[tuple[str, ...], str] = {}
    if Path(state_file).is_file():
        with open(state_file, newline='', encoding='utf-8') as file:
            known = {tuple(row[:4]): row[4]
                     for row in csv.reader(file, delimiter='\t')
                     if len(row) == 5}
    results = {path: known[k] for path, k in keys.items() if k in known}
    todo = [path for path in keys if path not in results]
    # a bar for a terminal; in a log file a line at each tenth
    progress = ProgressBar(len(keys)) if sys.stdout.isatty() else None
    if progress:
        progress.completed = len(results)
    print(f'{len(results)} of {len(keys)} videos were verified before')
    step = max(1, len(keys) // 10)

    with open(state_file, 'a', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, delimiter='\t')

        def keep(path: str, reason: str) -> None:
            results[path] = reason
            writer.writerow([*keys[path], reason])
            file.flush()
            if progress:
                progress.update()
            elif len(results) % step == 0:
                print(f'{len(results)} of {len(keys)} videos verified',
                      flush=True)

        with closing(_run_all(partial(_verify, decoder=decoder), todo,
                              num_workers)) as rows:
            for path, reason in rows:
                keep(path, reason)
    return {path: results[path] for path in keys if results[path]}


@contextmanager
def _pool(num_workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that leave Ctrl-C to us; what has not begun is given up."""
    pool = ProcessPoolExecutor(
        num_workers,
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _noted_interrupts() -> Iterator[list[bool]]:
    """Ctrl-C is noted, to be raised where no lock of the pool is held."""
    noted: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = signal.signal(signal.SIGINT, lambda *_: noted.append(True))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _in_turn(pool: ProcessPoolExecutor, verify: partial, todo: Sequence[str],
             waiting: int) -> Iterator[tuple[str, str]]:
    """Results as they come, with so many files in the pool's hands."""
    paths, futures = iter(todo), dict[Future, str]()
    with _noted_interrupts() as interrupts:
        while True:
            for path in islice(paths, waiting - len(futures)):
                futures[pool.submit(verify, path)] = path
            if not futures:
                return
            finished, _ = wait(futures, .5, FIRST_COMPLETED)
            if interrupts:
                raise KeyboardInterrupt
            for future in finished:
                yield futures.pop(future), future.result()


def _run_all(verify: partial, todo: Sequence[str],
             num_workers: int
             ) -> Generator[tuple[str, str], None, None]:
    """Yield results; where a process dies, try those left one by one."""
    done: set[str] = set()
    try:
        with _pool(num_workers) as pool:
            for path, reason in _in_turn(pool, verify, todo, 4 * num_workers):
                done.add(path)
                yield path, reason
    except BrokenProcessPool:
        left = [path for path in todo if path not in done]
        suspects, rest = left[:2 * num_workers], left[2 * num_workers:]
        for path in suspects:
            try:
                with _pool(1) as pool:
                    reason = pool.submit(verify, path).result()
            except BrokenProcessPool:
                reason = 'crashes the decoder'
            yield path, reason
        yield from _run_all(verify, rest, num_workers)
