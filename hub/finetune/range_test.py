"""The learning-rate range test: one short sweep from a tiny rate to a huge one, and the rate that it speaks for.

After Smith 2017, "Cyclical Learning Rates for Training Neural Networks" (https://arxiv.org/abs/1506.01186).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hub.errors import TrainingError, UsageError
from hub.finetune import curves
from hub.tasks.base import is_number, is_whole

SMOOTHING = 0.8
LAG = 4  # steps by which the smoothed curve is late: SMOOTHING / (1 - SMOOTHING)
FIRST = 5  # losses whose mean is the level from which the loss falls; explosion is judged after them
EXPLOSION = 4.0  # times the best smoothed loss
LEAST_FALL = 2.5  # standard deviations of the losses around the smoothed curve: once in 500 sweeps of noise
LEAST_STEPS = 20


@dataclass(frozen=True)
class RangeTest:
    """What a sweep gave: a loss for each learning rate, smoothed, and the rate to train with."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float
    limit: float | None = None
    """The rate at which the loss exploded; None if it never did."""

    def plot(self, path: str | Path) -> None:
        """Draw the losses over the rates into a PNG, the suggestion marked. Raises MissingDependencyError."""
        figure = curves.new_figure(7, 3.6)
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, ".", color="#9ecae1", label="loss of a batch")
        axes.plot(self.rates, self.smoothed, color="#1f77b4", label="smoothed")
        axes.axvline(self.suggestion, color="#2ca02c", label=f"suggestion: {self.suggestion:.2g}")
        if self.limit is not None:
            axes.axvline(self.limit, color="#d62728", linestyle="--", label=f"exploded at {self.limit:.2g}")
        lowest = _lowest(self.smoothed)
        bottom, top = min(self.losses), max(self.losses[: lowest + 1])
        axes.set_ylim(
            bottom - 0.1 * (top - bottom), top + 0.5 * (top - bottom)
        )  # not up to where it exploded
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("training loss")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper")
        curves.save(figure, Path(path))


def range_test(
    step: Callable[[float], float], *, low: float = 1e-6, high: float = 1.0, steps: int = 60
) -> RangeTest:
    """Give the losses of a sweep over learning rates from `low` to `high`, and the rate they suggest.

    `step(learning_rate)` trains one batch at this rate and gives its loss from before the update. It changes the
    model: keep the weights and the optimizer's state before, and put them back after.

    The rates grow by a fixed factor. The sweep ends when the loss is not a number or its smoothed value (bias-corrected
    exponential mean, 0.8) is over 4 times the best. The suggestion is the rate at which half of the whole fall is
    done: the smoothed curve passes the middle between the mean of the first 5 losses and its minimum, 4 steps
    after the losses do. It is at most a tenth of the rate that ended the sweep. The middle lies where the fall is
    steepest, and unlike the steepest slope it does not follow the noise.

    Raises UsageError for arguments that make no sweep, and TrainingError when there is nothing to suggest: the
    loss is no number from the start, explodes before it falls, or falls no further than its noise.
    """
    _check(step, low, high, steps)
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    mean, limit = 0.0, None
    for number, rate in enumerate(float(each) for each in np.geomspace(low, high, steps)):
        loss = float(step(rate))
        if not math.isfinite(loss):
            limit = rate
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        rates.append(rate)
        losses.append(loss)
        smoothed.append(mean / (1 - SMOOTHING ** (number + 1)))
        best = min(smoothed)
        if number >= FIRST and smoothed[-1] > best + (EXPLOSION - 1) * abs(best):
            limit = rate
            break
    suggestion = _suggest(rates, losses, smoothed, low=low, limit=limit)
    return RangeTest(tuple(rates), tuple(losses), tuple(smoothed), suggestion, limit)


def _check(step: object, low: object, high: object, steps: object) -> None:
    if not callable(step):
        raise UsageError(f"step: expected a function from a learning rate to a loss, found {step!r}")
    for name, value in (("low", low), ("high", high)):
        if not is_number(value) or not value > 0:  # type: ignore[operator]
            raise UsageError(f"{name}: expected a learning rate above 0, found {value!r}")
    if not low < high:  # type: ignore[operator]
        raise UsageError(f"expected low < high, found low={low!r} and high={high!r}")
    if not is_whole(steps) or steps < LEAST_STEPS:  # type: ignore[operator]
        raise UsageError(f"steps: expected a whole number of at least {LEAST_STEPS}, found {steps!r}")


def _suggest(
    rates: list[float], losses: list[float], smoothed: list[float], *, low: float, limit: float | None
) -> float:
    if len(losses) <= FIRST:
        raise TrainingError(
            f"the loss is not finite at learning rate {limit:.3g}, step {len(losses) + 1} of the range test",
            hint=f"try low={low / 1000:.3g}; if it is the same there, the loss or the data are at fault",
        )
    lowest = _lowest(smoothed)
    start = float(np.mean(losses[:FIRST]))
    fall = start - smoothed[lowest]
    noise = float(np.std(np.subtract(losses, smoothed)[: lowest + 1]))
    if fall <= max(LEAST_FALL * noise, 1e-6 * abs(start)):
        if limit is not None:
            raise TrainingError(
                f"the loss exploded at learning rate {limit:.3g} before it fell",
                hint=f"try low={low / 1000:.3g}",
            )
        raise TrainingError(
            f"between the learning rates {rates[0]:.3g} and {rates[-1]:.3g} the loss fell by {max(fall, 0.0):.3g}, "
            f"which its noise from batch to batch ({noise:.3g}) explains",
            hint="try a larger high=, more steps, or larger batches",
        )
    middle = max((number for number in range(lowest + 1) if smoothed[number] >= start - fall / 2), default=0)
    suggestion = rates[max(0, middle - LAG)]
    return suggestion if limit is None else min(suggestion, limit / 10)


def _lowest(smoothed: list[float] | tuple[float, ...]) -> int:
    """Give where the smoothed curve is lowest, after the first losses."""
    return FIRST + int(np.argmin(smoothed[FIRST:]))
