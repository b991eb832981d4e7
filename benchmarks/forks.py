"""How many children of a fork answer, where other threads of their parent predict: paddle has no locks for that.

    python benchmarks/forks.py [--children 200] [--patience 30]

A service loads a module, starts threads, and forks. Two kinds of parent: one whose three threads predict all the time,
and one whose threads predict once and end, others taking their place, so that one ends at the moment of many a fork. A
child predicts what its parent did; it counts as hung when it has no answer after `--patience` seconds. Each parent
forks eight times and is then replaced by a new process.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

STAYING, PASSING = "threads that stay", "threads that come and go"
EACH = 8  # children of one parent
RIGHT, WRONG, HUNG = "right", "wrong", "hung"


def parent(kind: str, patience: float) -> None:
    """Fork eight times beside such threads, and print a word for each child."""
    import hub
    from hub.modules import kept

    kept.MUCH = 1  # compile at once: a service has done so long ago
    module = hub.Module("glyphs_cnn")
    pictures = list(np.random.default_rng(0).integers(0, 256, (30, 28, 28), np.uint8))

    def answers() -> list[str]:
        return [answer["label"] for answer in module.predict(pictures)]

    expected = answers()
    over = threading.Event()

    def stay() -> None:
        while not over.is_set():
            answers()

    def replace() -> None:
        while not over.is_set():
            thread = threading.Thread(target=answers)
            thread.start()
            thread.join()

    work: Callable[[], None] = stay if kind == STAYING else replace
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(EACH):
        child = os.fork()
        if not child:
            os._exit(0 if answers() == expected else 3)
        children.append(child)
    over.set()
    for thread in threads:
        thread.join()
    until = time.monotonic() + patience
    for child in children:
        print(end_of(child, until), flush=True)


def end_of(child: int, until: float) -> str:
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return RIGHT if status == 0 else WRONG
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return HUNG


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--children", type=int, default=200, help="of each kind of parent (default 200)")
    parser.add_argument("--patience", type=float, default=30, help="seconds for an answer (default 30)")
    parser.add_argument("--parent", choices=(STAYING, PASSING), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.parent:
        parent(options.parent, options.patience)
        return
    print(f"{'':26}{'children':>10}{RIGHT:>8}{WRONG:>8}{HUNG:>8}")
    for kind in (STAYING, PASSING):
        found: Counter[str] = Counter()
        while sum(found.values()) < options.children:
            command = [sys.executable, __file__, "--parent", kind, "--patience", str(options.patience)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found.update(done.stdout.splitlines())
        print(f"{kind:26}{sum(found.values()):10}{found[RIGHT]:8}{found[WRONG]:8}{found[HUNG]:8}", flush=True)


if __name__ == "__main__":
    main()
