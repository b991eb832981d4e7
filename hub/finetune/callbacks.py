"""What watches a run: eight hooks, and the callbacks that every run has."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from hub.errors import UsageError
from hub.files import dump_json, write_text
from hub.finetune import charts
from hub.modules import weights

if TYPE_CHECKING:
    from hub.finetune.trainer import Trainer


SECONDS = 60
"""Before the best module is written while training goes on, and between two such times; it always is at the end."""


class Callback:
    """Derive from this and define the hooks you need; `trainer` is the running Trainer.

    A callback may set `trainer.stop = True` to end the run after the epoch. One that raises ends it at once, with a
    checkpoint; the others are told of the step or epoch first. It may change `trainer.learning_rate`, the highest of
    the schedule, at any time; that of `trainer.optimizer` is set from it at every step. One that counts something over
    the epochs gives it in `state`, so that a resumed run goes on counting.
    """

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint is to keep of this callback, as JSON can hold it."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def on_train_begin(self, trainer: Trainer) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before the first batch of epoch `trainer.epoch`."""

    def on_step_end(self, trainer: Trainer, step: dict[str, Any]) -> None:
        """After a batch: step has its "loss" and its "count" of samples."""

    def on_evaluate_begin(self, trainer: Trainer) -> None:
        """Before the validation set is gone through."""

    def on_evaluate_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """After it: row has "valid_loss" and "valid_<metric>" for each metric of the task."""

    def on_best(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """After an epoch whose weights are the best so far."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """After the epoch's row of history is complete; what is put into it, as JSON can hold it, is kept with it.

        A float may be NaN or infinite: history.json has null for it.
        """

    def on_train_end(self, trainer: Trainer) -> None:
        """After the last epoch, also when a callback has stopped the run."""


def require_callbacks(given: object) -> None:
    """Raise UsageError unless these are callbacks, several of them or none."""
    wrong = (
        [each for each in given if not isinstance(each, Callback)] if isinstance(given, Sequence) else [given]
    )
    if wrong:
        hint = (
            "put it into a list"
            if isinstance(given, Callback)
            else "derive a class from it and pass [MyClass()]"
        )
        raise UsageError(
            f"callbacks: expected a list of hub.finetune.callbacks.Callback, found {wrong[0]!r}", hint=hint
        )


def tell(callbacks: Sequence[Callback], hook: str, trainer: Trainer, row: dict[str, Any]) -> list[Exception]:
    """Call a hook of every callback and give the errors. KeyboardInterrupt ends it at once: no state is kept then."""
    errors: list[Exception] = []
    for callback in callbacks:
        before = dict(row)
        try:
            getattr(callback, hook)(trainer, row)
        except Exception as problem:
            errors.append(problem)
        changed = [name for name in row if name not in before or row[name] is not before[name]]
        errors += _keep_to_json(row, changed, f"{type(callback).__name__}.{hook}")
    return errors


def raise_first(errors: Sequence[Exception]) -> None:
    """Raise the first of some errors, if there are any; its traceback shows the others above it."""
    if errors:
        try:
            raise_first(errors[1:])
        finally:
            raise errors[0]


def _keep_to_json(row: dict[str, Any], changed: Sequence[str], where: str) -> list[Exception]:
    """Have in a row what a checkpoint of it gives back; what JSON cannot hold is left out, with an error for each."""
    errors: list[Exception] = []
    for name in changed:
        try:
            row[name] = _as_json(name, row[name], where)
        except UsageError as problem:
            del row[name]
            errors.append(problem)
    return errors


def _as_json(name: str, value: Any, where: str) -> Any:
    """Give a plain number, or a copy of a list or dict; NaN stays. Raises UsageError for anything else."""
    if not isinstance(name, str):
        raise UsageError(f"{where}: row: expected a text as key, found {name!r}")
    try:
        return json.loads(json.dumps(value.item() if isinstance(value, np.generic) else value))
    except (TypeError, ValueError, RecursionError) as problem:
        raise UsageError(
            f"{where}: row[{name!r}]: expected what JSON can hold, found {value!r:.200}: {problem}",
            hint="give plain numbers, texts, lists and dicts: float(x) for a tensor",
        ) from problem


class Progress(Callback):
    """One line an epoch, and one bar for the whole run: loss, metric, samples a second, time left."""

    def __init__(self, metric: str, samples: int) -> None:
        self.metric, self.samples = metric, samples
        self.last = ""

    def on_train_begin(self, trainer: Trainer) -> None:
        self.bar = tqdm(
            total=trainer.epochs * self.samples,
            initial=max(0, trainer.epoch - 1) * self.samples,
            unit=" samples",
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
            leave=False,
            dynamic_ncols=True,
        )

    def on_epoch_begin(self, trainer: Trainer) -> None:
        self.bar.set_description(f"epoch {trainer.epoch}/{trainer.epochs}", refresh=False)

    def on_step_end(self, trainer: Trainer, step: dict[str, Any]) -> None:
        if not self.bar.disable:
            self.bar.set_postfix_str(f"loss {step['loss']:.3f}{self.last}", refresh=False)
            self.bar.update(step["count"])

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        key = f"valid_{self.metric}"
        self.last = f", {self.metric} {row[key]:.3f}" if key in row else ""
        parts = [f"epoch {row['epoch']:3d}/{trainer.epochs}", f"loss {row['train_loss']:.4f}"]
        if key in row:
            parts.append(f"valid loss {row['valid_loss']:.4f}, {self.metric} {row[key]:.4f}")
        parts.append(f"{row['seconds']:.1f} s")
        self.bar.write("  ".join(parts), file=sys.stderr)

    def on_train_end(self, trainer: Trainer) -> None:
        self.bar.close()


class KeepBest(Callback):
    """Keeps the weights of the best epoch, and calls `save` once a minute for the newest.

    The best is the largest (or smallest) `metric`; equal ones are told apart by the smaller validation loss.
    Without a validation set the newest weights are the best, and are not saved at every epoch. A run that breaks off
    before it has any gives the model back the weights that it began with.
    """

    def __init__(self, metric: str, *, larger_is_better: bool, save: Callable[[], object]) -> None:
        self.metric, self.sign, self.save = metric, 1 if larger_is_better else -1, save
        self.score = (-np.inf, -np.inf)
        self.epoch = 0
        self.weights: dict[str, np.ndarray] = {}
        self.before: dict[str, np.ndarray] = {}
        """The weights that the run began with, until there are others to keep: at no time are both in memory."""
        self.saved = time.monotonic()
        self.is_new = False
        """Whether the best weights are newer than those that a checkpoint has."""

    def state(self) -> dict[str, Any]:
        return {"score": [repr(float(value)) for value in self.score], "epoch": self.epoch}

    def restore(self, state: dict[str, Any]) -> None:
        first, second = map(float, state["score"])  # as text, because JSON has no -inf
        self.score, self.epoch = (first, second), state["epoch"]

    def offer(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Keep the model's weights if the row is the best so far; its loss must be a number."""
        key = f"valid_{self.metric}"
        if key in row and not np.isfinite(row["valid_loss"]):
            return  # weights that are no numbers may still have a metric: every answer is the first class
        score = (self.sign * row[key], -row["valid_loss"]) if key in row else self.score
        if score >= self.score:
            self.score, self.epoch, self.is_new = score, row["epoch"], True
            self.before = {}
            with trainer.averaged():
                self.weights = weights.state_of(trainer.model)
            trainer.notify("on_best", row)  # first: a full disk would leave it untold
            if key in row and time.monotonic() - self.saved > SECONDS:
                with trainer.averaged():
                    self.save()
                self.saved = time.monotonic()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        self.offer(trainer, row)

    def on_train_end(self, trainer: Trainer) -> None:
        self.before = {}  # what a whole run has learnt stays, even where no metric was a number

    def put_back(self, trainer: Trainer) -> None:
        """Put the best weights back into the model, or else those that it began with."""
        if kept := self.weights or self.before:
            weights.give(trainer.model, kept, what="best weights")


class WriteHistory(Callback):
    """Keeps history.json, and in the end its charts as history.svg, with the epoch that `keeper` has kept marked.

    A number of the history that is NaN or infinite is null in the file, as JSON has no other word for it.
    """

    def __init__(self, folder: Path, keeper: KeepBest) -> None:
        self.folder, self.keeper = folder, keeper

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        self._write(trainer)

    def on_train_end(self, trainer: Trainer) -> None:
        self._write(trainer)  # the disk may have been full at the end of the last epoch
        if trainer.history:
            chosen = f"valid_{self.keeper.metric}" in trainer.history[-1]
            picture = charts.picture(trainer.history, best=self.keeper.epoch if chosen else None)
            write_text(self.folder / "history.svg", picture)

    def _write(self, trainer: Trainer) -> None:
        write_text(self.folder / "history.json", dump_json(_finite(trainer.history)))


def _finite(value: Any) -> Any:
    """Give a value with None for every number in it that is not finite."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
