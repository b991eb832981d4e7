"""SIGINT and SIGTERM while training: the step is finished, the run is kept, and then the signal has its way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HELD = (signal.SIGINT, signal.SIGTERM)


class Held:
    """The signal that has come, or None."""

    signal: signal.Signals | None = None


@contextmanager
def held() -> Iterator[Held]:
    """Note SIGINT and SIGTERM for as long as the block runs; a second one acts at once, as if not held.

    Only the main thread can do this; in another one signals act as they always do.
    """
    note = Held()
    if threading.current_thread() is not threading.main_thread():
        yield note
        return
    before = {number: signal.getsignal(number) for number in HELD}

    def come(number: int, frame: FrameType | None) -> None:
        if note.signal is not None:
            restore()
            signal.raise_signal(number)
        note.signal = signal.Signals(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in HELD:
        signal.signal(number, come)
    try:
        yield note
    finally:
        restore()
