"""A run that can be killed anywhere: what a checkpoint holds, when it is written, and how a run goes on from it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from hub._version import __version__
from hub.errors import StorageError, TrainingError, UsageError
from hub.finetune import optimizer_state, random_state
from hub.finetune.callbacks import Callback, KeepBest
from hub.finetune.checkpoint import Checkpoint, Checkpoints
from hub.finetune.config import Config
from hub.finetune.trainer import Trainer
from hub.modules import weights

# What may differ between a run and its continuation: it changes how fast the result comes, never the result.
FREE = {"workers", "checkpoint_minutes"}
COMPARED = {
    "labels": "the labels",
    "data": "the data",
    "answers": "the masks or tags of the data",
    "sources": "what is learnt from beside the data",
    "reading": "how inputs are read",
    "network": "the network",
    "start": "the weights that it begins with",
    "ranks": "the number of processes",
}
"""What else must be equal, where the checkpoint says anything of it."""

EPOCH_SECONDS = 2
"""Epochs that are shorter do not each get a checkpoint: it would take longer than to train them again."""

SHARE = 0.05
"""Of the time that training takes, so much may go into the checkpoints at epochs' ends."""


class Checkpointer(Callback):
    """Writes a checkpoint at epochs' ends and every few minutes in between; it stands last among the callbacks."""

    def __init__(
        self,
        store: Checkpoints,
        keeper: KeepBest,
        identity: Mapping[str, Any],
        *,
        minutes: float,
        say: Callable[[str], None],
    ) -> None:
        self.store, self.keeper, self.identity = store, keeper, dict(identity)
        self.seconds, self.say = minutes * 60, say
        self.written, self.took = time.monotonic(), 0.0

    def on_train_begin(self, trainer: Trainer) -> None:
        self.written = time.monotonic()

    def on_step_end(self, trainer: Trainer, step: dict[str, Any]) -> None:
        if trainer.group.any(time.monotonic() - self.written > self.seconds):
            self.save(trainer)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        last = trainer.stop or trainer.epoch == trainer.epochs
        pause = min(self.seconds, max(EPOCH_SECONDS, self.took / SHARE))
        if trainer.group.any(last or time.monotonic() - self.written > pause):
            self.save(trainer)

    def groups_of(self, trainer: Trainer) -> dict[str, dict[str, np.ndarray]]:
        """Give what the model itself has to keep, arrays by group and name."""
        return {"model": weights.state_of(trainer.model)}

    def save(self, trainer: Trainer, *, alone: bool = False) -> bool:
        """Write where the run stands. A full disk is said and does not end the run: the one before it is still there.

        Of several processes all have to come here, for each has random generators of its own; `alone` is for one
        that fails while the others go on: on going on, all will have the generators of that one. Raises
        TrainingError when a weight is not finite: such a checkpoint would be worth nothing.
        """
        began = time.monotonic()
        groups = self.groups_of(trainer)
        _require_finite(groups["model"], trainer)
        groups["optimizer"], numbers = optimizer_state.to_arrays(trainer.optimizer, _names(trainer))
        if trainer.average:
            groups["average"] = trainer.average.state()
        unchanged: set[str] = set()
        if trainer.penalty:
            groups["anchor"] = trainer.penalty.state()
            unchanged.add("anchor")
        if self.keeper.weights:
            groups["best"] = self.keeper.weights
            if not self.keeper.is_new:
                unchanged.add("best")
        own = random_state.capture()
        record = {
            "identity": self.identity,
            "machine": _machine(),
            "position": trainer.position(),
            "optimizer": numbers,
            "random": [own] if alone else trainer.group.gather(own),
            "callbacks": [[type(one).__name__, _state_of(one)] for one in trainer.callbacks],
        }
        try:
            if trainer.group.first:
                self.store.save(trainer.step, groups, record, unchanged=unchanged)
        except StorageError as problem:
            self.say(f"no checkpoint was written: {problem}")
            return False
        finally:
            self.written = time.monotonic()
            self.took = self.written - began
        self.keeper.is_new = False
        return True


def is_over(checkpoint: Checkpoint, *, epochs: int) -> bool:
    """Say whether nothing is left to train: the last epoch is complete, or one after which the run was to end."""
    at = checkpoint.record["position"]
    complete = at["batch"] == 0 and bool(at["history"]) and at["history"][-1]["epoch"] == at["epoch"]
    return complete and (at["stop"] or at["epoch"] == epochs)


def go_on(trainer: Trainer, keeper: KeepBest, checkpoint: Checkpoint) -> list[str]:
    """Put everything back as it was when the checkpoint was written; give the callbacks that are not there any more.

    The first callback of a type has the state of the first of that type, the second that of the second: others may have
    come or gone, with `progress` for one.
    """
    record = checkpoint.record
    weights.give(trainer.model, checkpoint.load("model"), what=f"{checkpoint.folder}, model")
    optimizer_state.from_arrays(
        trainer.optimizer, checkpoint.load("optimizer"), record["optimizer"], _names(trainer)
    )
    if trainer.average:
        trainer.average.restore(checkpoint.load("average"))
    if trainer.penalty and "anchor" in checkpoint.groups:
        trainer.penalty.restore(checkpoint.load("anchor"))
    if "best" in checkpoint.groups:
        keeper.weights = {name: np.array(array) for name, array in checkpoint.load("best").items()}
        keeper.before = {}
    there, gone = list(trainer.callbacks), []
    for name, state in record["callbacks"]:
        owner = next((one for one in there if type(one).__name__ == name), None)
        if owner is not None:
            there.remove(owner)
            owner.restore(state)
        elif state:
            gone.append(name)
    trainer.go_to(record["position"])
    restore_random(record, trainer.group.rank)
    return gone


def restore_random(record: Mapping[str, Any], rank: int) -> None:
    """Put back the random generators that the process of this rank had."""
    states = record["random"]
    random_state.restore(states[rank if rank < len(states) else 0])


def require_same(checkpoint: Checkpoint, identity: Mapping[str, Any]) -> list[str]:
    """Raise UsageError as `require_equal` does; give warnings."""
    require_equal(checkpoint.folder, checkpoint.record["identity"], identity)
    was, now = checkpoint.record["machine"], _machine()
    return [
        f"{name} was {was.get(name)} and is {now[name]}: the result may differ in the last digits"
        for name in now
        if was.get(name) != now[name]
    ]


def require_equal(place: Path, before: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raise UsageError that names every setting that is not the one the run in `place` began with.

    A source, such as a teacher or a style, is compared by what it is, wherever it may be by now. A setting that a
    later version has added was what it is by default.
    """
    differences, usual = [], Config().to_dict()
    sources, old = identity.get("sources", {}), before.get("sources", {})
    moved = {name for name in sources if sources[name] == old.get(name)}
    for name in sorted({*before["config"], *identity["config"]} - FREE - moved):
        was, now = before["config"].get(name, usual.get(name)), identity["config"].get(name)
        if was != now:
            differences.append(f"{name} was {was!r} and is {now!r}")
    for name, what in COMPARED.items():
        if name in before and before[name] != identity.get(name):
            differences.append(f"{what} changed: {_difference(before[name], identity.get(name))}")
    if differences:
        raise UsageError(
            f"{place}: cannot go on with this run:\n  " + "\n  ".join(differences),
            hint="call it as it was called before, or start a new run in another folder",
        )


def _difference(was: object, now: object) -> str:
    if isinstance(was, Sequence) and isinstance(now, Sequence) and not isinstance(was, str):
        gone, new = [x for x in was if x not in now], [x for x in now if x not in was]
        parts = [
            f"{word} {', '.join(map(str, some[:5]))}"
            for word, some in (("without", gone), ("with", new))
            if some
        ]
        return "; ".join(parts) or "another order"
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        return ", ".join(
            f"{key}: {was.get(key)} then, {now.get(key)} now"
            for key in {**now, **was}
            if was.get(key) != now.get(key)
        )
    return f"{was} then, {now} now"


def _names(trainer: Trainer) -> dict[str, str]:
    """Give structural name to paddle's own name of every parameter."""
    return {name: parameter.name for name, parameter in trainer.model.named_parameters()}


def _require_finite(state: Mapping[str, np.ndarray], trainer: Trainer) -> None:
    bad = [name for name, array in state.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if bad:
        raise TrainingError(
            f"weights are no longer finite after step {trainer.step} (epoch {trainer.epoch}), "
            f"at learning rate {trainer.rate:.3g}: {', '.join(bad[:5])}",
            hint=f"try learning_rate={trainer.learning_rate / 10:.3g}, or clip_norm=1",
        )


def _state_of(callback: Callback) -> dict[str, Any]:
    """Give the state of a callback. Raises UsageError for one that JSON cannot hold."""
    state = callback.state()
    try:
        json.dumps(state, allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise UsageError(
            f"{type(callback).__name__}.state(): expected what JSON can hold, found {state!r}: {problem}",
            hint="give plain numbers, texts, lists and dicts: float(x) for a number of numpy",
        ) from problem
    return state


def _machine() -> dict[str, str]:
    """Give what decides the last digits of a sum."""
    return {
        "hub": __version__,
        "paddle": paddle.__version__,
        "python": platform.python_version(),
        "device": paddle.get_device(),
        "kernels": os.environ.get("MKL_DEBUG_CPU_TYPE", "MKL's own choice"),
        "threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
    }
