"""Forks of a process that computes: the child has its memory as it was then, and none of its threads but one.

What another thread was in the middle of stays half done for good: a new thread of the child may crash or wait for ever.
So a fork waits until no other thread computes, and no thread begins to before it is over; and the child of a process
that had other threads compiles nothing.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paddle

PATIENCE = 5.0
"""Seconds for which a fork waits: what a thread computes may itself wait for the one that forks."""


_ended: deque[tuple[float, int]] = deque(maxlen=1000)
"""When the last threads that had computed came to their end in Python, and the system's numbers of them."""


class _End:
    """Is there as long as its thread is, for Python: for one that Python has not started, a call."""

    def __init__(self) -> None:
        thread = threading.current_thread()
        self.number = None if isinstance(thread, threading._DummyThread) else thread.native_id

    def __del__(self, ended: deque[tuple[float, int]] = _ended) -> None:
        if self.number is not None:
            ended.append((time.monotonic(), self.number))


class _Own(threading.local):
    def __init__(self) -> None:
        self.depth = 0
        """How many blocks of `computing` this thread is in."""
        self.end = _End()


class _Gate:
    def __init__(self, inside: int = 0) -> None:
        self.turn = threading.Condition()
        self.inside = inside
        """Threads that compute."""
        self.forks = 0
        """Forks that wait, or happen."""
        self.crowded = False
        """Whether the process that forks has other threads."""


_own, _gate = _Own(), _Gate()
_had_threads = False


@contextmanager
def computing() -> Iterator[None]:
    """Begin and end the block where no other thread forks the process."""
    if not _own.depth:
        with _gate.turn:
            _gate.turn.wait_for(lambda: not _gate.forks)
            _gate.inside += 1
    _own.depth += 1
    try:
        yield
    finally:
        _own.depth -= 1
        if not _own.depth:
            with _gate.turn:
                _gate.inside -= 1
                _gate.turn.notify_all()


def beside_threads() -> bool:
    """Say whether this process was forked from one that had other threads.

    To compile begins and ends hundreds of threads. In such a child about one time in a hundred two of them got the same
    stack (glibc 2.36, paddle 3.3.1), which ends the process.
    """
    return _had_threads


def _wait() -> None:
    _gate.turn.acquire()  # until the fork is over
    _gate.forks += 1
    until = time.monotonic() + PATIENCE
    _gate.turn.wait_for(lambda: _gate.inside == bool(_own.depth), PATIENCE)
    while _any_ends() and time.monotonic() < until:
        time.sleep(0.001)
    _gate.crowded = len(sys._current_frames()) > 1


def _any_ends() -> bool:
    """Say whether a thread that had computed is over in Python and still there in the system.

    paddle clears up behind it then, with locks of its own, which a child would find locked.
    """
    since = time.monotonic() - PATIENCE  # later its number may be that of another one
    return any(when > since and os.path.exists(f"/proc/self/task/{number}") for when, number in [*_ended])


def _go_on() -> None:
    _gate.forks -= 1
    _gate.turn.notify_all()
    _gate.turn.release()


def _begin_anew() -> None:
    """Open the gate in the child, and have OpenMP know its one thread.

    libiomp5 forgets all threads in a child, and takes the next that computes for the first. Where that is a new one,
    the thread that was there before crashes as soon as it computes.
    """
    global _gate, _had_threads
    _had_threads = _had_threads or _gate.crowded
    _gate = _Gate(inside=bool(_own.depth))
    if _openmp:
        _openmp.omp_get_max_threads()


_path = Path(paddle.__file__).with_name("libs") / "libiomp5.so"  # paddle's own for Linux on x86
_openmp = ctypes.CDLL(str(_path)) if _path.exists() else None
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait, after_in_parent=_go_on, after_in_child=_begin_anew)
