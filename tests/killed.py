"""A training that is killed: in a fork of a process that has imported everything, so that 64 of them take a minute.

    python -m tests.killed FOLDER

trains in FOLDER over and over, killed by SIGKILL at one moment more each time, and resumed to the end after each
kill. Prints one line of JSON a kill: the moment, the digest of the final weights and the loss curve; the first line is
the run that nobody killed. `moments` counts everything between two of which a process can die: steps, evaluations and
every step of writing a checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from hub.finetune import checkpoint
from hub.finetune.callbacks import Callback
from hub.modules import weights
from tests.pictures import samples, tiny_module

SETTINGS: dict[str, Any] = {
    "epochs": 3, "batch_size": 5, "strategy": "full", "dropout": 0.2, "average": 0.9, "seed": 3, "progress": False,
    "checkpoint_minutes": 1e-9,
}  # fmt: skip


class Die(Callback):
    """Kills the process at the n-th moment."""

    def __init__(self, moment: int | None) -> None:
        self.moment, self.seen = moment, 0

    def tick(self, *_: object) -> None:
        if self.seen == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen += 1

    on_train_begin = on_epoch_begin = on_step_end = on_evaluate_begin = on_evaluate_end = tick
    on_best = on_epoch_end = on_train_end = tick


def train(folder: Path, moment: int | None, **changes: Any) -> dict[str, Any]:
    """Train or go on, and give what must be equal; die at a moment if one is given."""
    die = Die(moment)
    checkpoint.failpoint = die.tick
    module = tiny_module().finetune(
        samples(6), output_dir=folder, resume=True, callbacks=[die], **SETTINGS | changes
    )
    digest = hashlib.sha256()
    for name, array in sorted(weights.state_of(module.network).items()):
        digest.update(name.encode() + array.tobytes())
    curve = [
        {key: value.hex() for key, value in row.items() if isinstance(value, float) and key != "seconds"}
        for row in module.run.history
    ]
    return {"moments": die.seen, "weights": digest.hexdigest(), "curve": curve, "best": module.run.best_epoch}


def in_fork(folder: Path, moment: int | None, **changes: Any) -> dict[str, Any] | None:
    """Run `train` in a fork and give what it gives, or None when it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            result = train(folder, moment, **changes)
            os.write(writer, json.dumps(result).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    return json.loads(text)


def kills(folder: Path, count: int) -> Iterator[dict[str, Any]]:
    """Give the run that nobody killed, and then one for each of `count` moments spread over the whole run."""
    whole = in_fork(folder / "whole", None)
    assert whole is not None
    yield {"moment": None, **whole}
    for number in range(count):
        moment = number * whole["moments"] // count
        place = folder / str(moment)
        assert in_fork(place, moment) is None, "it was to be killed"
        done = in_fork(place, None)
        assert done is not None
        yield {"moment": moment, **done}


if __name__ == "__main__":
    for row in kills(Path(sys.argv[1]), int(sys.argv[2])):
        print(json.dumps(row), flush=True)
