"""What a dataset is: samples by index, class labels, and for every sample the file and row it came from.

A source (a folder, a list file, a table, a user's object) reads itself into `Rows`: labels as they were written,
problems beside them. `Dataset` gives those labels numbers. Nothing in this file opens an input.
"""

from __future__ import annotations

import copy
import dataclasses
import operator
import unicodedata
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hub.datasets.kinds import PICTURES, Kind
from hub.datasets.summary import summarize
from hub.errors import UsageError, cut, did_you_mean
from hub.files import is_line

if TYPE_CHECKING:
    from hub.datasets.preflight import Checked

RawLabel: TypeAlias = "str | int | tuple[str | int, ...]"
"""A label as its source wrote it: a name, a class index, or for multi-label several of them."""


class Listed(tuple[str | int, ...]):
    """The labels of a `cell` that holds a list as text, but a single name where a class is called like the cell."""

    cell: str

    def __new__(cls, labels: Sequence[str | int], cell: str = "") -> Listed:
        self = super().__new__(cls, labels)
        self.cell = cell.strip()
        return self


STRUCTURAL = frozenset(
    {
        "no samples",
        "one class only",
        "lost class",
        "wrong encoding",
        "missing column",
        "bad table",
        "bad label list",
    }
)
"""The kinds of problem that belong to a whole dataset: leaving samples out cannot mend them."""


@dataclass(frozen=True)
class Origin:
    """Where a sample came from: a file, a row of a file (its line number), or an item of a user's object.

    >>> print(Origin("train.csv", 17), "|", Origin("rose/1.jpg"), "|", Origin("", 17))
    train.csv, row 17 | rose/1.jpg | item 17
    """

    file: str = ""
    row: int | None = None

    def __str__(self) -> str:
        if not self.file:
            return f"item {self.row}"
        return self.file if self.row is None else f"{self.file}, row {self.row}"


@dataclass(frozen=True, eq=False)
class Sample:
    """One input with its class: an index into `labels`, or for multi-label a tuple of them."""

    input: Any
    """A path, or what its kind has in memory: a PIL image, an array, (array, rate)."""
    label: int | tuple[int, ...]
    origin: Origin = Origin()


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a dataset, ready to be read by a person."""

    kind: str
    origin: Origin
    value: str | None = None
    detail: str = ""
    known: tuple[str, ...] = ()
    """The names that would have been right; printed with the nearest one."""
    split: str = ""
    """The split that an item of a user's object belongs to, where several were checked."""

    @property
    def structural(self) -> bool:
        """Say whether the problem stays when samples are left out."""
        return self.kind in STRUCTURAL

    def __str__(self) -> str:
        place = f"{self.split}, {self.origin}" if self.split else str(self.origin)
        value = f" {cut(self.value, 200)!r}" if self.value is not None else ""
        known = f"known: {some(self.known)}" if self.known else ""
        nearest = did_you_mean(self.value or "", self.known)
        detail = "; ".join(part for part in (self.detail, known, nearest) if part)
        return f"{place}: {self.kind}{value}" + (f" ({detail})" if detail else "")


def some(names: Sequence[str]) -> str:
    """Give the first ten of the names, and how many more there are."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


@dataclass
class Rows:
    """What a source found, before labels have numbers. `paths`, `raw` and `numbers` have one entry per sample.

    `raw` is empty where samples have masks, or nothing, in the place of labels.
    """

    name: str
    """What the dataset is called in messages: the path as it was given, or the type of the user's object."""
    file: str = ""
    """The table that `numbers` counts the rows of; empty for a folder and for a user's object."""
    paths: list[str | None] = field(default_factory=list)
    """Text, because 50,000 Path objects take 14 MB more; None where `fetch` gives the input."""
    raw: list[RawLabel] = field(default_factory=list)
    numbers: list[int] | None = None
    """Row or item numbers; None where every path is its own origin."""
    fetch: Callable[[int], Any] | None = None
    """Give the input of an item number that has no path."""
    labels: tuple[str, ...] = ()
    """The class names that the source itself lists, in its order, which integer labels count from 0."""
    problems: list[Problem] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    """Suffix to number of files that were passed over."""
    kind: Kind = PICTURES
    """What the inputs are."""
    extra: dict[str, list[str]] = field(default_factory=dict)
    """Further columns of a table, by name, one entry per sample."""
    taken: str = ""
    """The columns or folders that were taken, where others could be meant."""

    def part(self, chosen: Sequence[int]) -> Rows:
        """Give the entries at `chosen` alone, with the problems of all."""
        return dataclasses.replace(
            self,
            paths=[self.paths[k] for k in chosen],
            raw=[self.raw[k] for k in chosen if self.raw],
            numbers=None if self.numbers is None else [self.numbers[k] for k in chosen],
            extra={name: [column[k] for k in chosen] for name, column in self.extra.items()},
        )

    def origin(self, k: int) -> Origin:
        """Give where entry `k` came from."""
        return Origin(self.paths[k] or "") if self.numbers is None else Origin(self.file, self.numbers[k])

    def input(self, k: int) -> Any:
        """Give the input of entry `k`: its path, or what the user's object holds."""
        path = self.paths[k]
        if path is not None:
            return Path(path)
        assert self.fetch is not None, "an entry has a path or can be fetched"
        assert self.numbers is not None, "an entry that can be fetched has a number"
        return self.fetch(self.numbers[k])


class Dataset:
    """Samples by index, with class names, counts and the problems found so far.

    Made by `hub.datasets.load`. Rows that could not be understood are no samples; they are in `problems`, which
    `check` reports together with the inputs that cannot be read.
    """

    name: str
    labels: tuple[str, ...]
    """Class names; `Sample.label` counts them from 0. Sorted, unless the source or the caller gave an order."""
    multi_label: bool
    problems: tuple[Problem, ...]
    """What is known to be wrong, for `check` to report."""
    has_classes = True
    """Whether a sample has a class, or several, and not a mask, tags, a number or nothing."""
    ignored: dict[str, int]
    """The files that a folder holds besides its inputs: suffix to number."""

    def __init__(
        self, rows: Rows, *, labels: Sequence[str] | None = None, multi_label: bool | None = None
    ) -> None:
        """Give the labels of `rows` numbers: by the class list `labels`, else the source's own, else as found.

        `multi_label` None means: if any row has several labels, and they are not one-hot vectors of two classes.
        """
        self._rows = rows
        self.name, self.ignored = rows.name, rows.ignored
        many = any(isinstance(raw, tuple) for raw in rows.raw) and not all(map(_is_one_hot, rows.raw))
        self.multi_label = many if multi_label is None else multi_label
        numbering = _Numbering(rows, labels)
        self.labels, self._counted = numbering.labels, tuple(numbering.counted or ())
        kept, numbers, problems = numbering.apply(multi_label=self.multi_label)
        self._index = np.array(kept, dtype=np.int64)
        if self.multi_label:
            self._targets = np.zeros((len(kept), len(self.labels)), dtype=np.uint8)
            for i, positions in enumerate(numbers):
                self._targets[i, list(positions)] = 1
        else:
            self._targets = np.array([positions[0] for positions in numbers], dtype=np.int64)
        self.problems = (*rows.problems, *broken_names(rows), *problems)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, i: int) -> Sample:
        i = operator.index(i)
        target = self._targets[i]
        label = tuple(np.flatnonzero(target).tolist()) if self.multi_label else int(target)
        return Sample(self._rows.input(int(self._index[i])), label, self.origin(i))

    @property
    def kind(self) -> Kind:
        """What the inputs are."""
        return self._rows.kind

    @property
    def holds(self) -> str:
        """What samples are made of, as `load` calls it: the name of `kind` where they have labels."""
        return self.kind.name

    @property
    def taken(self) -> str:
        """The columns of a table, or the folders, that were taken, where others could be meant; else nothing."""
        return self._rows.taken

    def __repr__(self) -> str:
        return f"<Dataset {self.name}: {len(self)} samples, {len(self.labels)} classes>"

    def origin(self, i: int) -> Origin:
        """Give where sample `i` came from, without reading it."""
        return self._rows.origin(int(self._index[i]))

    def path(self, i: int) -> str | None:
        """Give the file of sample `i`, or None where a user's object holds the input itself."""
        return self._rows.paths[int(self._index[i])]

    def targets(self) -> np.ndarray:
        """Give all labels as numbers: int64 of shape [N], or for multi-label 0 and 1 as uint8 of shape [N, L]."""
        return self._targets.copy()

    def counts(self) -> dict[str, int]:
        """Give the number of samples of every class, in the order of `labels`, zeros included."""
        if self.multi_label:
            numbers = self._targets.sum(axis=0, dtype=np.int64)
        else:
            numbers = np.bincount(self._targets, minlength=len(self.labels))
        return dict(zip(self.labels, numbers.tolist(), strict=True))

    def describe(self) -> str:
        """Give a small table for a person: the classes and how many samples each has."""
        return summarize(self.name, {"samples": self})

    def select(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """Give the samples at `indices`, in that order. Labels and known problems stay as they are."""
        chosen = np.asarray(indices)
        chosen = chosen if chosen.size else chosen.astype(np.int64)
        part = copy.copy(self)
        part._index, part._targets = self._index[chosen], self._targets[chosen]
        return part

    def settled(self) -> Dataset:
        """Give the same samples without known problems, after the bad ones were left out."""
        clean = copy.copy(self)
        clean.problems = ()
        return clean

    def relabel(self, labels: Sequence[str] | None = None, *, multi_label: bool | None = None) -> Dataset:
        """Give the same samples numbered by another class list; those it does not know become problems."""
        chosen = dataclasses.replace(
            self._rows.part(self._index.tolist()), problems=list(self.problems), labels=self._counted
        )
        multi_label = self.multi_label if multi_label is None else multi_label
        return Dataset(chosen, labels=self.labels if labels is None else labels, multi_label=multi_label)

    def check(self, **options: Any) -> Checked:
        """Find every problem in one pass, as `hub.datasets.check` does for several splits at once."""
        from hub.datasets.preflight import check

        return check(self, **options)


class _Numbering:
    """The one place where labels get numbers.

    A name stands for itself. An integer counts from 0 in the source's own class names if it has any, else in the
    class list that the caller gave, unless those names are themselves integers; else the integer is the name.
    """

    def __init__(self, rows: Rows, labels: Sequence[str] | None) -> None:
        if labels is not None:
            _require_class_list(labels)
        self.rows = rows
        known = set(map(_composed, rows.labels if labels is None else labels))
        self.raws = [_as_several(raw, known) for raw in rows.raw]
        self.counted: Sequence[str] | None = rows.labels or None
        if labels is not None and self.counted is None and not all(name.isdecimal() for name in labels):
            self.counted = labels
        found = {raw for several in self.raws for raw in several}
        self.names = {raw: self._name(raw) for raw in found}
        self.labels = tuple(labels) if labels is not None else rows.labels or self._sorted_names()
        positions = {_composed(name): number for number, name in enumerate(self.labels)}
        self.numbers = {raw: positions.get(name) for raw, name in self.names.items() if name is not None}

    def _name(self, raw: str | int) -> str | None:
        if isinstance(raw, str):
            return _composed(raw) if is_line(raw) else None
        if self.counted is not None:
            return _composed(self.counted[raw]) if 0 <= raw < len(self.counted) else None
        return str(raw) if raw >= 0 else None

    def _sorted_names(self) -> tuple[str, ...]:
        if all(isinstance(raw, int) for raw in self.names):
            return tuple(str(raw) for raw in sorted(self.names) if self.names[raw] is not None)
        return tuple(sorted({name for name in self.names.values() if name is not None}))

    def apply(self, *, multi_label: bool) -> tuple[list[int], list[tuple[int, ...]], list[Problem]]:
        """Give the entries whose labels have numbers, those numbers, and a problem for every other entry."""
        kept, numbers, problems = [], [], []
        for k, raws in enumerate(self.raws):
            found = [self.numbers.get(raw) for raw in raws]
            positions = tuple(number for number in found if number is not None)
            if len(positions) < len(raws):
                problems.append(self._unknown(k, raws[found.index(None)]))
            elif not multi_label and len(raws) != 1:
                problems.append(_several(self.rows.origin(k), raws))
            else:
                kept.append(k)
                numbers.append(positions)
        return kept, numbers, problems

    def _unknown(self, k: int, raw: str | int) -> Problem:
        origin = self.rows.origin(k)
        if self.names[raw] is not None:
            return Problem("unknown label", origin, str(raw), known=self.labels)
        if isinstance(raw, str):
            return Problem("bad label", origin, raw, ONE_LINE)
        if self.counted is None:
            return Problem("label out of range", origin, str(raw), "class numbers start at 0")
        last = len(self.counted) - 1
        return Problem("label out of range", origin, str(raw), f"expected 0 to {last}: {some(self.counted)}")


def _as_several(raw: RawLabel, known: Container[str]) -> tuple[str | int, ...]:
    """Give the labels of a row: of a cell such as [1] the name, where that is `known` as one."""
    if isinstance(raw, Listed) and _composed(raw.cell) in known:
        return (raw.cell,)
    return raw if isinstance(raw, tuple) else (raw,)


def _several(origin: Origin, raws: tuple[str | int, ...]) -> Problem:
    """Give the problem of a row with several labels where each is to have one."""
    several = "pass multi_label=True where a sample may have several"
    if _is_one_hot(raws):
        detail = f"it looks like a one-hot vector: pass the class index; {several}"
        return Problem("bad label", origin, str(list(raws)), detail)
    return Problem("several labels", origin, str(list(raws)), f"expected one label; {several}")


def _is_one_hot(raw: RawLabel) -> bool:
    """Say whether a label is [0, 1] or [1, 0]: as names of classes every sample would have both.

    Longer vectors repeat their zeros, by which `clean_label` knows them.
    """
    return isinstance(raw, tuple) and (set(raw) == {0, 1} or set(raw) == {"false", "true"})


ONE_LINE = "expected a name in one line of UTF-8: it becomes a line of labels.txt"


def broken_names(rows: Rows) -> list[Problem]:
    """Give a problem for each class name that a source lists and that is not one line."""
    origin = Origin(rows.file or rows.name)
    return [Problem("bad label list", origin, name, ONE_LINE) for name in rows.labels if not is_line(name)]


def _composed(name: str) -> str:
    """Give the name in composed Unicode: archives made on macOS hold é as two characters, Linux writes one."""
    return unicodedata.normalize("NFC", name)


def _require_class_list(labels: Sequence[str]) -> None:
    if isinstance(labels, str) or not labels or not all(isinstance(name, str) and name for name in labels):
        raise UsageError(f"labels: expected a list of class names, found {labels!r}")
    repeated = sorted({name for name in labels if list(labels).count(name) > 1})
    if repeated:
        raise UsageError(f"labels: expected every name once, found {some(repeated)} more than once")
    broken = [name for name in labels if not is_line(name)]
    if broken:
        raise UsageError(f"labels: expected every name in one line of UTF-8, found {broken[0]!r}")


def clean_label(value: Any) -> RawLabel | None:
    """Give a label as a name, a class index or a tuple of them; None for what cannot be one.

    Takes numpy's scalars and arrays and any tensor with `tolist`; an array of one element is one label. Repeats
    are refused: they are the mark of a 0/1 vector, which must not be read as the classes 0 and 1.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
    if isinstance(value, list | tuple):
        several = [clean_label(each) for each in value]
        flat = tuple(each for each in several if isinstance(each, str | int))
        if len(set(flat)) < len(several):
            return None
        return Listed(flat, value.cell) if isinstance(value, Listed) else flat
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value.strip() or None
    return value if isinstance(value, int) else None
