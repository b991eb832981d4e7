"""What `paddle.distributed.launch` starts in each process of `hub finetune --nproc N`: the same command line again.

Their stdin is a pipe from the `hub` that was called. It hands a signal to each of them as one byte, because paddle's
launcher would repeat it after a second and kill after four. When the pipe is closed, nobody waits any longer.
"""

import atexit
import os
import select
import signal
import sys
import threading
import time

# The folder of a script that is started is searched first, and the names in this one are the package's own.
sys.path.pop(0)

from hub.cli.main import main

PATIENCE = 300
"""Seconds for finishing a step and writing a checkpoint after the `hub` that was called has been killed."""


def heed() -> None:
    """Act on what comes through stdin, until this process ends."""
    told = os.read(0, 1)
    signal.pthread_kill(threading.main_thread().ident or 0, told[0] if told else signal.SIGTERM)
    if told:
        # Until nobody can write any more. Not by reading: the next byte is for another one of them.
        hung_up = select.poll()
        hung_up.register(0, 0)
        hung_up.poll()
    else:
        time.sleep(PATIENCE)
    os._exit(128 + signal.SIGTERM)  # whatever holds the main thread up


def leave(code: int) -> None:
    """End this process when Python has cleaned up, and before paddle's libraries do.

    The first of the processes keeps the store by which they find each other. On a busy machine it was aborted (SIGABRT)
    at its very end in five of some seventy runs, with all its work done, and the whole run was said to have failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run() -> int:
    try:
        return main()
    except SystemExit as request:
        return request.code if isinstance(request.code, int) else 1


if __name__ == "__main__":
    threading.Thread(target=heed, daemon=True).start()
    ended = 1
    atexit.register(lambda: leave(ended))  # the first that is registered is the last that is called
    ended = run()
