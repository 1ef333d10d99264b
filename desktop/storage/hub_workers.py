"""Works through a list in a few threads; the first problem ends them all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def work_through(
    items: Iterable[T], work: Callable[[T], object], threads: int, end_others: Callable[[], None] | None = None
) -> None:
    """Call `work` for each item and return when all are done.

    When one call raises, no further item is begun, `end_others` is called so that waiting calls end, and what was
    raised first is raised here. The threads are daemons, unlike an executor's: a hub that stalls must not hold up the
    end of the program.
    """
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    problems: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def run() -> None:
        while problems.empty():
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                work(item)
            except BaseException as problem:
                problems.put(problem)
                if end_others is not None:
                    end_others()

    workers = [
        threading.Thread(target=run, name="hub-worker", daemon=True) for _ in range(min(threads, waiting.qsize()))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if not problems.empty():
        raise problems.get()
