"""Work that may hang, in a thread that nobody has to wait for."""
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar('T')


def in_daemon(function: Callable[[], T]) -> Future[T]:
    """Begin a call; unlike an executor's, its thread ends with the process.

    Args:
        function (Callable): What may hang.

    Returns:
        Future: Its result or error.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future
