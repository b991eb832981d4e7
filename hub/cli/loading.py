"""The import of the library that computes, which takes seconds."""

from __future__ import annotations

import importlib
import signal
import threading


def load_paddle() -> None:
    """Import what computes. A Ctrl-C or SIGTERM that comes meanwhile has its way when that is done, and then as ever.

    An exception in the middle of paddle's native code becomes paddle's tale of a damaged installation; and it takes
    SIGTERM for a fault of its own from then on, which it reports on stdout.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        importlib.import_module("hub.module")  # Windows, or a thread in which signals do not come
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        importlib.import_module("hub.module")
    finally:
        # In place of paddle's, of which Python knows nothing.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
