"""Texts with numbers for a run: checked, parted at random, and described by what their numbers lie between.

    prepare_numbers("reviews.csv", kind="rated texts")               # text, stars
    prepare_numbers("sts/", kind="rated pairs")                      # train.tsv, dev.tsv: two texts and a score
    prepare_numbers([("Fine soup.", 4.5), …], kind="rated texts")

What is read is described in hub.datasets.rated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hub.datasets.base import Dataset
from hub.datasets.kinds import Kind
from hub.datasets.prepare import Prepared, Probe, prepare, prepare_evaluation
from hub.datasets.rated import describe_parts
from hub.datasets.sources import load
from hub.errors import DataError

HELD_OUT = 0.2


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
) -> Prepared:
    """Load, check and split texts with numbers; `kind` is "rated texts" or "rated pairs".

    `valid` None takes the source's own part, or else a fifth of the samples, drawn at random; False goes without.
    Raises one DataError that lists every problem of every part, or with on_bad="skip" leaves those samples out; and
    one for numbers that are all the same, of which nothing can be learnt.
    """
    source = load(train, kind)
    hold_out = valid is None and source.valid is None
    prepared = prepare(
        source, valid=False if hold_out else valid, test=test, kind=kind, on_bad=on_bad, seed=seed, workers=workers,
        probe=probe,
    )  # fmt: skip
    whole, chosen, notes = prepared.train, prepared.valid, list(prepared.notes)
    if hold_out:
        whole, chosen = _split(whole, seed=seed)
        count = len(whole) + len(chosen)
        notes.append(f"no validation data was given: {len(chosen)} of {count} samples were held out")
    numbers = whole.targets()
    if numbers.min() == numbers.max():
        raise DataError(
            f"{whole.name}: expected different numbers to learn from, found {len(whole)} times {numbers[0]:g}"
        )
    return PreparedNumbers(whole, chosen, prepared.test, tuple(notes))


def prepare_numbers_evaluation(
    data: Any,
    *,
    kind: Kind | str,
    labels: Sequence[str],
    on_bad: str = "raise",
    workers: int | None = None,
    probe: Probe | None = None,
) -> Dataset:
    """Give the test part of `data`, or else its validation part, or else all of it; `labels` names the number."""
    return prepare_evaluation(
        data, labels=labels, multi_label=False, kind=kind, on_bad=on_bad, workers=workers, probe=probe
    )


def _split(whole: Dataset, *, seed: int) -> tuple[Dataset, Dataset]:
    if len(whole) < 2:
        raise DataError(
            f"{whole.name}: one {whole.kind.word} alone cannot be split",
            hint="add samples, pass valid=… with data of its own, or valid=False to train on everything",
        )
    order = np.random.RandomState(seed).permutation(len(whole))  # a stream that no version of numpy changes
    held = max(1, round(HELD_OUT * len(whole)))
    return whole.select(np.sort(order[held:])), whole.select(np.sort(order[:held]))
