"""From what a user hands to `finetune` or `evaluate` to data that has been checked and split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hub.datasets.base import Dataset, Sample
from hub.datasets.kinds import PICTURES, Kind
from hub.datasets.preflight import bar, check
from hub.datasets.sources import load, load_parts, part_for
from hub.datasets.splits import Splits, split, split_at_random

Probe = Callable[[Sample], object]


@dataclass(frozen=True)
class Prepared:
    """Data that every step of a run can rely on: all of it readable, every label known."""

    train: Dataset
    valid: Dataset | None
    test: Dataset | None
    notes: tuple[str, ...] = ()
    """What was done on the way that a user should know: samples left out, a validation part split off."""

    def describe(self) -> str:
        """Give the table of classes and counts, and the notes below it."""
        return "\n".join([Splits(self.train, self.valid, self.test).describe(), *self.notes])

    def relabelled(self, labels: Sequence[str]) -> Prepared:
        """Give the same samples with the labels in another order."""
        if tuple(labels) == self.train.labels:
            return self

        def changed(part: Dataset) -> Dataset:
            other = part.relabel(labels)
            other.name = part.name  # that of a published set is not its rows'
            return other

        valid, test = (None if part is None else changed(part) for part in (self.valid, self.test))
        return replace(self, train=changed(self.train), valid=valid, test=test)


def prepare(
    train: Any,
    *,
    valid: Any = None,
    test: Any = None,
    kind: Kind | str = PICTURES,
    multi_label: bool | None = None,
    stratified: bool = True,
    on_bad: str = "raise",
    seed: int = 0,
    workers: int | None = None,
    probe: Probe | None = None,
    progress: bool = False,
) -> Prepared:
    """Load, check and split the data of a run.

    `valid` None takes the validation part of `train`'s source, or else splits a fifth off, `stratified` or, where
    samples have no classes, at random; False goes without. `progress` draws a bar where a person looks at stderr.
    Raises DataError that lists every problem of every part.
    """
    source = load(train, kind=kind, multi_label=multi_label)
    labels, several = source.train.labels, source.train.multi_label
    own = {"valid": valid, "test": test}
    parts: dict[str, Dataset | None] = {"valid": source.valid, "test": source.test}
    for role, given in own.items():
        if given is False:
            parts[role] = None
        elif given is not None:
            # The source of a validation set may itself be split: a folder with train and valid in it.
            parts[role] = part_for(
                role, load_parts(given, kind, labels=labels or None, multi_label=several), given
            )
    with bar("checking", progress) as tell:
        checked = check(
            source.train, parts["valid"], parts["test"], probe=probe, on_bad=on_bad, workers=workers or None,
            progress=tell,
        )  # fmt: skip
    used = (source.train, parts["valid"], parts["test"])
    notes = list(dict.fromkeys(part.taken for part in used if part is not None and part.taken))
    notes += [str(checked)] if checked.dropped else []
    whole, chosen, tested = checked.splits
    assert whole is not None, "check gives back what it was given"
    if chosen is None and valid is not False:
        whole, chosen = (split if stratified else split_at_random)(whole, seed=seed)
        notes.append(
            f"no validation data was given: {len(chosen)} of {len(whole) + len(chosen)} samples were held out"
        )
    return Prepared(whole, chosen, tested, tuple(notes))


def prepare_evaluation(
    data: Any,
    *,
    labels: Sequence[str],
    multi_label: bool,
    kind: Kind | str = PICTURES,
    on_bad: str = "raise",
    workers: int | None = None,
    probe: Probe | None = None,
    progress: bool = False,
) -> Dataset:
    """Give the test part of `data`, or else its validation part, or else all of it, with `labels` as its classes."""
    parts = load_parts(data, kind, labels=labels, multi_label=multi_label)
    part = next(parts[role] for role in ("test", "valid", "train") if role in parts)
    with bar("checking", progress) as tell:
        [checked] = check(part, probe=probe, on_bad=on_bad, workers=workers or None, progress=tell).splits
    assert checked is not None, "check gives back what it was given"
    return checked
