"""Many small downloads at once, by as many threads as help.

A thread that waits for a far server costs nothing, so several help. Near the server each one keeps the interpreter
busy, and eight that take turns at it need about twice the processor time of one, and no less time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future
    from queue import SimpleQueue

AT_MOST = 8
LOOK_S = 0.02  # how often it is decided whether one more thread would help
BUSY = 0.5  # the part of that time which the process spends computing, from which on it would not

Job = TypeVar("Job")
Result = TypeVar("Result")


def as_they_end(
    work: Callable[[Job], Result], jobs: Iterable[Job], *, at_most: int = AT_MOST
) -> Generator[tuple[Job, Result], None, None]:
    """Give each job with `work(job)`, in the order in which they end; this thread works too.

    The first exception is raised here. After it, and when the caller stops early, no other job begins.
    """
    from concurrent.futures import Future, ThreadPoolExecutor  # 15 ms that a listing has no use for
    from queue import SimpleQueue

    left = deque(jobs)
    ended: SimpleQueue[tuple[Job, Future[Result]]] = SimpleQueue()

    def end_one() -> None:
        try:
            job = left.popleft()
        except IndexError:  # another thread was faster
            return
        future: Future[Result] = Future()
        try:
            future.set_result(work(job))
        except BaseException as problem:
            future.set_exception(problem)
        ended.put((job, future))

    def helper() -> None:
        while left:
            end_one()

    missing, threads = len(left), 1
    with ThreadPoolExecutor(at_most) as pool:
        try:
            looked, computed = _times()
            while missing:
                end_one()
                while missing and (not left or not ended.empty()):
                    job, future = ended.get()
                    missing -= 1
                    yield job, future.result()
                now, processor = _times()
                if now - looked < LOOK_S:
                    continue
                if processor - computed < BUSY * (now - looked):
                    more = min(threads, at_most - threads, len(left))
                    threads += more
                    for _ in range(more):
                        pool.submit(helper)
                looked, computed = now, processor
        finally:
            left.clear()


def _times() -> tuple[float, float]:
    """Give the seconds of the clock, and those that this process has spent computing."""
    return time.perf_counter(), time.process_time()
