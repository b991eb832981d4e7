"""Training, validation and test data that belong together, and how to part one from another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hub.datasets.base import Dataset
from hub.datasets.summary import summarize
from hub.errors import DataError, UsageError


class Splits(NamedTuple):
    """The parts of one source; they share the labels of `train`. None: the source has no such part."""

    train: Dataset
    valid: Dataset | None = None
    test: Dataset | None = None

    def parts(self) -> dict[str, Dataset]:
        """Give the parts that there are, by role."""
        return {role: part for role, part in self._asdict().items() if part is not None}

    def describe(self) -> str:
        """Give one table for a person: the classes, with a column of counts for every part; else a line for each."""
        if not self.train.has_classes:
            return "\n".join(f"{role}: {part.describe()}" for role, part in self.parts().items())
        return summarize(self.train.name, self.parts())


ATTEMPTS = 20
"""How many orders are tried for a multi-label set whose labels hang together."""


def split(dataset: Dataset, fraction: float = 0.2, *, seed: int) -> tuple[Dataset, Dataset]:
    """Part a dataset into (train, valid): of every class the same fraction, and at least one sample on each side.

    Classes are dealt out from the rarest to the most common: of those of its samples that no rarer class has
    dealt yet, a class sends as many to valid as its share still lacks. With one label per sample this is plain
    stratification; with several it is iterative stratification (Sechidis et al. 2011) for two parts. Samples without
    classes, such as masks, are split at random.
    scikit-learn's splitters do not fit here: they may leave a small class out of one side.

    Raises DataError for a class with a single sample, which cannot be on both sides.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"fraction: expected a number between 0 and 1, found {fraction!r}")
    if not len(dataset):
        raise DataError(f"{dataset.name}: no samples to split")
    if not dataset.has_classes:
        return split_at_random(dataset, fraction, seed=seed)
    alone = [label for label, count in dataset.counts().items() if count == 1]
    if alone:
        raise DataError(
            f"{dataset.name}: {_classes(alone)} only one sample, which cannot be split",
            hint=_ways_out(dataset),
        )
    random = np.random.RandomState(seed)  # unlike default_rng, its stream never changes with numpy's version
    for _ in range(ATTEMPTS):
        order = random.permutation(len(dataset))
        in_valid, one_sided = _deal(dataset, order, fraction)
        if not one_sided:
            return dataset.select(np.sort(order[~in_valid])), dataset.select(np.sort(order[in_valid]))
    raise DataError(
        f"{dataset.name}: {_classes(one_sided)} samples on one side only of every split",
        hint=_ways_out(dataset),
    )


def split_at_random(dataset: Dataset, fraction: float = 0.2, *, seed: int) -> tuple[Dataset, Dataset]:
    """Part a dataset whose samples have no classes into (train, valid). Raises DataError for a single sample."""
    if len(dataset) < 2:
        raise DataError(
            f"{dataset.name}: one {dataset.kind.word} alone cannot be split", hint=_ways_out(dataset)
        )
    order = np.random.RandomState(seed).permutation(len(dataset))  # as above
    held = max(1, round(fraction * len(dataset)))
    return dataset.select(np.sort(order[held:])), dataset.select(np.sort(order[:held]))


def _deal(dataset: Dataset, order: np.ndarray, fraction: float) -> tuple[np.ndarray, list[str]]:
    """Say which places of `order` go to valid, and which classes are on one side only."""
    targets = dataset.targets()[order]
    columns = (
        targets.T if dataset.multi_label else (targets == number for number in range(len(dataset.labels)))
    )
    places = [np.flatnonzero(column) for column in columns]
    in_valid, dealt = np.zeros(len(order), dtype=bool), np.zeros(len(order), dtype=bool)

    def send(own: np.ndarray) -> None:
        free = own[~dealt[own]]
        share = min(max(round(fraction * len(own)), 1), len(own) - 1)
        in_valid[free[: max(share - int(in_valid[own].sum()), 0)]] = True
        dealt[own] = True

    for own in sorted(places, key=len):
        send(own)
    send(np.flatnonzero(~dealt))  # samples of a multi-label set that have no label
    one_sided = [
        label
        for label, own in zip(dataset.labels, places, strict=True)
        if len(own) and in_valid[own].any() == in_valid[own].all()
    ]
    return in_valid, one_sided


def _ways_out(dataset: Dataset) -> str:
    word = dataset.kind.word
    return f"add {word}s, pass valid=… with data of its own, or valid=False to train on everything"


def _classes(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10]) + (" …" if len(names) > 10 else "")
    return f"class {shown} has" if len(names) == 1 else f"{len(names)} classes ({shown}) have"
