"""Ending a run whose metric no longer improves."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hub.errors import UsageError, one_of
from hub.finetune.callbacks import Callback
from hub.finetune.config import plain

if TYPE_CHECKING:
    from hub.finetune.trainer import Trainer

LARGER_IS_BETTER = {"max": True, "min": False}


class EarlyStop(Callback):
    """Ends the run after `patience` evaluated epochs in a row without improvement; `reason` then says why.

    An improvement is more than `min_delta` better than the best epoch before. `metric` is that of the run unless
    named; "loss" is the validation loss. Whether larger is better is known of each metric; `mode`, "max" or "min",
    overrules it. The best weights are kept and put back by the run itself.

    It counts anew from the trainer's history at each epoch, so a resumed run goes on counting where it stood. One that
    it has ended stays at its end, also with another patience.
    """

    def __init__(
        self, *, metric: str | None = None, patience: int = 5, min_delta: float = 0.0, mode: str | None = None
    ) -> None:
        """Raise UsageError for a value that means nothing."""
        patience, min_delta = plain(patience), plain(min_delta)
        if metric is not None and not isinstance(metric, str):
            raise UsageError(f"early_stop: metric: expected the name of a metric, found {metric!r}")
        if not isinstance(patience, int) or isinstance(patience, bool) or patience < 1:
            raise UsageError(
                f"early_stop: patience: expected a whole number of at least 1, found {patience!r}",
                hint="it is the number of epochs without improvement after which the run ends",
            )
        if (
            not isinstance(min_delta, int | float)
            or isinstance(min_delta, bool)
            or not 0 <= min_delta < math.inf
        ):
            raise UsageError(f"early_stop: min_delta: expected a number of at least 0, found {min_delta!r}")
        if mode is not None and mode not in LARGER_IS_BETTER:
            raise one_of("early_stop: mode", mode, LARGER_IS_BETTER)
        self.metric = None if metric is None else metric.removeprefix("valid_")
        self.patience, self.min_delta, self.mode = patience, min_delta, mode
        self.reason = ""

    @classmethod
    def of(cls, value: bool | int | Mapping[str, Any] | EarlyStop | None) -> EarlyStop | None:
        """Give what the argument `early_stop` of finetune means; None for None and False.

        True is the usual one, a whole number its patience, a mapping its arguments. Raises UsageError for anything
        else.
        """
        value = plain(value)
        if value is None or value is False:
            return None
        if value is True:
            return cls()
        if isinstance(value, EarlyStop):
            return value
        if isinstance(value, int):
            return cls(patience=value)
        if not isinstance(value, Mapping):
            raise UsageError(
                f"early_stop: expected True, False, a number of epochs or a dict of arguments, found {value!r}"
            )
        known = list(inspect.signature(cls).parameters)
        for name in value:
            if name not in known:
                raise one_of("early_stop: argument", name, known)
        return cls(**value)

    @property
    def told(self) -> dict[str, Any]:
        """The arguments that it was made with, as JSON can hold them."""
        return {
            "metric": self.metric, "patience": self.patience, "min_delta": self.min_delta, "mode": self.mode,
        }  # fmt: skip

    def check(self, *, metric: str, metrics: Mapping[str, bool], has_valid: bool) -> tuple[str, bool]:
        """Give the metric that is watched in such a run, and whether larger is better.

        `metric` is that of the run, `metrics` says of each whether larger is better. Raises UsageError for a metric
        that is not there and for a run without a validation set.
        """
        directions = {"loss": False, **metrics}
        watched = self.metric or metric
        if watched not in directions:
            raise one_of("early_stop: metric", watched, directions)
        if not has_valid:
            raise UsageError(
                f"early_stop watches {watched} on the validation set, and there is no validation set",
                hint="pass valid=, or leave early_stop out",
            )
        return watched, directions[watched] if self.mode is None else LARGER_IS_BETTER[self.mode]

    def state(self) -> dict[str, Any]:
        return {"reason": self.reason} if self.reason else {}

    def restore(self, state: dict[str, Any]) -> None:
        self.reason = state.get("reason", "")

    def on_train_begin(self, trainer: Trainer) -> None:
        if not trainer.stop:  # else it was restored, and says why that run has ended
            self.reason = ""
        self.watched, self.larger = self.check(
            metric=trainer.metric, metrics=trainer.metrics, has_valid=trainer.has_valid
        )

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        best, waited = self._look_back(trainer.history)
        if waited < self.patience:
            return
        key = f"valid_{self.watched}"
        if best is None:
            since = "was a number in none of them"
        else:
            change = "risen" if self.larger else "fallen"
            by = f" by more than {self.min_delta:g}" if self.min_delta else ""
            since = f"has not {change}{by} since epoch {best['epoch']}, where it was {best[key]:.4g}"
        self.reason = f"{self.watched} {since}: {waited} epoch{'s' if waited > 1 else ''} without improvement"
        trainer.stop = True

    def _look_back(self, history: Sequence[dict[str, Any]]) -> tuple[dict[str, Any] | None, int]:
        """Give the best epoch of the history, if any is a number, and how many were evaluated after it."""
        sign, key = (1 if self.larger else -1), f"valid_{self.watched}"
        best, score, waited = None, -math.inf, 0
        for row in history:
            if key not in row:
                continue  # not evaluated
            if sign * row[key] - score > self.min_delta:
                best, score, waited = row, sign * row[key], 0
            else:
                waited += 1
        return best, waited
