"""Texts with numbers for a run: checked, split at random, and described by what their numbers lie between.

    prepare_numbers("reviews.csv", kind="rated texts")               # text, stars
    prepare_numbers("sts/", kind="rated pairs")                      # train.tsv, dev.tsv: two texts and a score
    prepare_numbers([("Fine soup.", 4.5), …], kind="rated texts")

What is read is described in hub.datasets.rated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hub.datasets.base import Dataset
from hub.datasets.kinds import Kind
from hub.datasets.prepare import Prepared, Probe, prepare, prepare_evaluation
from hub.datasets.rated import describe_parts
from hub.errors import DataError


class PreparedNumbers(Prepared):
    """Prepared samples, described by their numbers."""

    def describe(self) -> str:
        """Give the table of numbers, and the notes below it."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return "\n".join([describe_parts(parts), *self.notes])


def prepare_numbers(
    train: Any,
    *,
    kind: Kind | str,
    valid: Any = None,
    test: Any = None,
    on_bad: str = "raise",
    seed: int = 0,
    workers: int | None = None,
    probe: Probe | None = None,
    progress: bool = False,
) -> Prepared:
    """Load, check and split texts with numbers; `kind` is "rated texts" or "rated pairs".

    `valid` None takes the source's own part, or else a fifth of the samples, drawn at random; False goes without.
    Raises one DataError that lists every problem of every part, or with on_bad="skip" leaves those samples out; and
    one for numbers that are all the same, of which nothing can be learnt.
    """
    prepared = prepare(
        train, valid=valid, test=test, kind=kind, stratified=False, on_bad=on_bad, seed=seed, workers=workers,
        probe=probe, progress=progress,
    )  # fmt: skip
    numbers = prepared.train.targets()
    if numbers.min() == numbers.max():
        raise DataError(
            f"{prepared.train.name}: expected different numbers to learn from, "
            f"found {len(numbers)} times {numbers[0]:g}"
        )
    return PreparedNumbers(**vars(prepared))


def prepare_numbers_evaluation(
    data: Any,
    *,
    kind: Kind | str,
    labels: Sequence[str],
    on_bad: str = "raise",
    workers: int | None = None,
    probe: Probe | None = None,
    progress: bool = False,
) -> Dataset:
    """Give the test part of `data`, or else its validation part, or else all of it; `labels` names the number."""
    return prepare_evaluation(
        data,
        labels=labels,
        multi_label=False,
        kind=kind,
        on_bad=on_bad,
        workers=workers,
        probe=probe,
        progress=progress,
    )
