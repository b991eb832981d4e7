"""Learning-rate schedules: pure functions from the position in a run, 0 to 1, to a multiplier of the learning rate.

All rise in a straight line (`one_cycle`: along a cosine) over the first `warmup` of the run, and differ in what comes
after. Step s of n is at position s / n, so that the end of a curve is what a further step would get.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from pathlib import Path

from hub.errors import UsageError, one_of
from hub.finetune import curves

FIRST = 0.1  # of the warm-up: where a run begins that would begin at 0 and lose its first, perhaps only step


def warmup_cosine(position: float, *, warmup: float = 0.1, final: float = 0.01) -> float:
    """Give a straight rise to 1 over the first `warmup` of the run, then half a cosine down to `final`.

    After Loshchilov & Hutter 2017 (https://arxiv.org/abs/1608.03983), without restarts.
    """
    if position < warmup:
        return position / warmup
    fall = (position - warmup) / (1 - warmup)
    return final + (1 - final) * (1 + math.cos(math.pi * min(fall, 1.0))) / 2


def warmup_linear(position: float, *, warmup: float = 0.1, final: float = 0.0) -> float:
    """Give a straight rise to 1 over the first `warmup` of the run, then a straight fall to `final`.

    As BERT is fine-tuned (Devlin et al. 2019, https://arxiv.org/abs/1810.04805); with final=1/32 it is the slanted
    triangle of Howard & Ruder 2018 (https://arxiv.org/abs/1801.06146).
    """
    return polynomial(position, warmup=warmup, power=1.0, final=final)


def one_cycle(position: float, *, warmup: float = 0.3, start: float = 0.04, final: float = 0.0001) -> float:
    """Give half a cosine from `start` up to 1 over the first `warmup` of the run, then half a cosine down to `final`.

    After Smith & Topin 2018 (https://arxiv.org/abs/1708.07120), with cosines for straight lines as fastai draws it.
    Only the learning rate cycles: AdamW's momentum stays what it is.
    """
    if position < warmup:
        return start + (1 - start) * (1 - math.cos(math.pi * position / warmup)) / 2
    return warmup_cosine(position, warmup=warmup, final=final)


def polynomial(position: float, *, warmup: float = 0.1, power: float = 0.9, final: float = 0.0) -> float:
    """Give a straight rise to 1 over the first `warmup` of the run, then (1 - x) ** power down to `final`.

    The "poly" policy of segmentation networks, power 0.9 (Chen et al. 2017, https://arxiv.org/abs/1606.00915).
    """
    if position < warmup:
        return position / warmup
    fall = (position - warmup) / (1 - warmup)
    return final + (1 - final) * (1 - min(fall, 1.0)) ** power


def constant(position: float, *, warmup: float = 0.1) -> float:
    """Give a straight rise to 1 over the first `warmup` of the run, and 1 from there on.

    The warm-up is that of Goyal et al. 2017 (https://arxiv.org/abs/1706.02677).
    """
    return position / warmup if position < warmup else 1.0


SCHEDULES: dict[str, Callable[..., float]] = {
    "cosine": warmup_cosine,
    "linear": warmup_linear,
    "one_cycle": one_cycle,
    "polynomial": polynomial,
    "constant": constant,
}


def by_name(name: str, **arguments: float) -> Callable[[float], float]:
    """Give the schedule of this name with these arguments, for the steps of a run: it never begins at 0.

    A warm-up that would begin at 0 has from the start what it reaches after a tenth of its length. Raises UsageError
    for a name or an argument that does not exist, and for a value out of range.

    >>> schedule = by_name("linear", warmup=0.5)
    >>> [schedule(position) for position in (0.0, 0.25, 0.5, 0.75)]
    [0.1, 0.5, 1.0, 0.5]
    """
    if name not in SCHEDULES:
        raise one_of("schedule", name, SCHEDULES)
    function = SCHEDULES[name]
    takes = inspect.signature(function).parameters
    known = [each for each in takes if each != "position"]
    for argument, value in arguments.items():
        if argument not in known:
            raise one_of(f"argument of schedule {name!r}", argument, known)
        _check(f"{argument} of schedule {name!r}", value, most=10.0 if argument == "power" else 1.0)
    warmup = arguments.get("warmup", takes["warmup"].default)
    if warmup == 1:
        raise UsageError(
            f"warmup of schedule {name!r}: expected a number from 0 to below 1, found {warmup!r}"
        )
    first = 0.0 if function(0.0, **arguments) else FIRST * warmup
    return lambda position: function(max(position, first), **arguments)


def _check(what: str, value: object, *, most: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
        raise UsageError(f"{what}: expected a number from 0 to {most:g}, found {value!r}")


def plot(path: str | Path, *, names: Iterable[str] = tuple(SCHEDULES), warmup: float | None = None) -> None:
    """Draw schedules over the run into a PNG; without `warmup`, each with its own.

    Raises MissingDependencyError without matplotlib, UsageError for a name that is no schedule's.
    """
    arguments = {} if warmup is None else {"warmup": warmup}
    chosen = {name: by_name(name, **arguments) for name in names}
    positions = [number / 500 for number in range(501)]
    figure = curves.new_figure(7, 3.6)
    axes = figure.subplots()
    for name, schedule in chosen.items():
        axes.plot([100 * each for each in positions], [schedule(each) for each in positions], label=name)
    axes.set_xlabel("position in the run (%)")
    axes.set_ylabel("share of the learning rate")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    curves.save(figure, Path(path))
