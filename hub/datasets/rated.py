"""Texts and pairs of texts with a number each: tables, JSON lines, frames, objects, folders.

text,stars            the column of numbers has a usual name, or is the only one beside the texts
Fine soup,4.5

Great tea\\t5          tables separated by tabs may lack a header, as PaddleHub's do
{"text_a": "A man runs.", "text_b": "Someone runs.", "score": 4.2}
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hub.datasets.base import Dataset, Problem, Rows, Sample
from hub.datasets.kinds import Kind
from hub.datasets.objects import read_object
from hub.datasets.summary import several
from hub.datasets.tables import (
    JSON,
    Columns,
    Record,
    find_column,
    find_input,
    is_numbered,
    note_columns,
    read_records,
    require_input,
    require_label,
    take,
)
from hub.datasets.texts import frame_records
from hub.errors import UsageError

NUMBER_COLUMNS = (
    "score", "stars", "rating", "similarity", "similarity_score", "relatedness_score", "relatedness", "relevance",
    "scores", "ratings", "grade", "points", "intensity", "label", "labels", "target", "y",
    "value", "number", "price", "age",  # which are as often there for something else
)  # fmt: skip
"""The names by which the column of numbers is found, the likelier first; case, blanks and hyphens do not matter."""
NAME = "score"
"""What is predicted, where the data does not name it."""
LARGEST = 1e30
"""Numbers are below this, so that their squares are finite too."""
EXPECTED = "expected a finite number, such as 4.5, with a point and without a unit"


class RatedDataset(Dataset):
    """Texts or pairs by index, each with a number as its `label`. `labels` is one: the name of that number.

    `targets()` is float64 [N], and `counts()` how many there are.
    """

    has_classes = False

    def __init__(
        self, rows: Rows, *, labels: Sequence[str] | None = None, multi_label: bool | None = None
    ) -> None:
        """Take what `rows` has as text for numbers; what is none becomes a problem. `labels` is a name for them."""
        if multi_label:
            raise UsageError("multi_label: a text has one number here")
        if labels is not None and len(labels) != 1:
            raise UsageError(f"labels: expected one, the name of the number, found {len(labels)}")
        self._rows = rows
        self.name, self.ignored, self.multi_label = rows.name, rows.ignored, False
        # A column's name may go over several lines, and a label may not.
        self.labels = tuple(labels or [" ".join(name.split()) for name in rows.labels] or (NAME,))
        numbers = [number_in(str(raw)) for raw in rows.raw]
        self._index = np.array([k for k, number in enumerate(numbers) if number is not None], np.int64)
        self._targets = np.array([number for number in numbers if number is not None], np.float64)
        bad = (k for k, number in enumerate(numbers) if number is None)
        self.problems = (
            *rows.problems,
            *(Problem("bad number", rows.origin(k), str(rows.raw[k]), EXPECTED) for k in bad),
        )

    def __getitem__(self, i: int) -> Sample:
        return Sample(self._rows.input(int(self._index[i])), float(self._targets[i]), self.origin(i))  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"<RatedDataset {self.name}: {several(len(self), 'sample')}, {self.labels[0]}>"

    def counts(self) -> dict[str, int]:
        """Give how many samples there are, under the name of their number."""
        return {self.labels[0]: len(self)}

    def describe(self) -> str:
        """Give a small table for a person: how many numbers, and between what."""
        return describe_parts({"samples": self})

    def relabel(
        self, labels: Sequence[str] | None = None, *, multi_label: bool | None = None
    ) -> RatedDataset:
        """Give the same samples, their number under another name."""
        chosen = dataclasses.replace(self._rows.part(self._index.tolist()), problems=list(self.problems))
        return RatedDataset(chosen, labels=labels or self.labels, multi_label=multi_label)


def describe_parts(parts: Mapping[str, Dataset | None]) -> str:
    """Give a table with a line for each part: how many numbers it has, the least, their mean, the largest."""
    there = {role: part for role, part in parts.items() if part is not None}
    first = next(iter(there.values()))
    lines = [f"{first.name}: {several(sum(map(len, there.values())), 'sample')}, {first.labels[0]}"]
    lines.append(f"  {'':8}{'count':>9}{'least':>12}{'mean':>12}{'largest':>12}")
    for role, part in there.items():
        numbers = part.targets()
        found = (numbers.min(), numbers.mean(), numbers.max()) if len(numbers) else ()
        lines.append(f"  {role:8}{len(part):>9,}" + "".join(f"{number:>12.5g}" for number in found))
    return "\n".join(lines)


def number_in(text: str) -> float | None:
    """Give the finite number that is written there, None for anything else."""
    try:
        number = float(text) if "_" not in text else math.nan  # Python's 1_000 is nobody else's number
    except ValueError:
        return None
    return number if abs(number) < LARGEST else None


# ---- reading ----


def read_rated_table(path: Path, columns: Columns, kind: Kind) -> Rows:
    """Give the samples of a table; rows are line numbers. Without a header the number is what stands at an end."""
    rows = Rows(name=str(path), file=str(path), kind=kind)
    header, records = read_records(path, columns, kind, rows, NUMBER_COLUMNS)
    if header is not None:
        if path.suffix.lower() not in JSON and not (columns.input or columns.label):
            header, records = _headed(header, records, kind)
        _take(rows, header, records, columns)
    return rows


def read_rated_object(source: Any, columns: Columns, kind: Kind, *, is_frame: bool) -> Rows:
    """Give a sample for every row of a frame, or every item of an object: (text, number), or a mapping with both.

    Rows count from 0. Raises UsageError for what is no dataset, DataError where the object itself fails.
    """
    if is_frame:
        rows = Rows(name=type(source).__name__, kind=kind)
        _take(rows, *frame_records(source), columns)
        return rows
    has_items = hasattr(source, "__len__") and hasattr(source, "__getitem__")
    given = RatedItems(source, kind) if has_items and not isinstance(source, type) else source
    rows = read_object(given, kind)
    rows.name = type(source).__name__
    if isinstance(given, RatedItems) and given.named:
        rows.labels = (given.named,)
    return rows


class RatedItems:
    """The items of an object with their numbers as text, as tables have them."""

    def __init__(self, source: Any, kind: Kind) -> None:
        self.source, self.kind = source, kind
        self.named: str | None = None
        """The key of the numbers, where items are mappings."""

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> Any:
        item = self.source[i]
        if isinstance(item, Sample):
            return item.input, _written(item.label)
        if isinstance(item, Mapping):
            key = _number_column(item, find_input(self.kind, item))
            if key is None:
                return item
            self.named = self.named or str(key)
            return {
                **{name: value for name, value in item.items() if name != key},
                "label": _written(item[key]),
            }
        if isinstance(item, tuple | list) and len(item) in (2, 3):
            return (*item[:-1], _written(item[-1]))
        return item


def _headed(header: list[str], records: list[Record], kind: Kind) -> tuple[list[str], list[Record]]:
    """Give names to the columns of a table whose first row is one like the others: it has a number at one end."""
    texts = ["text_a", "text_b"] if kind.is_pair else ["text"]
    rows = [(number, list(record.values())) for number, record in records]
    if not is_numbered(header) and not (
        rows and rows[0][0] == 1
    ):  # else names were given by what occurs again, which a number need not
        if find_input(kind, header) or find_column(NUMBER_COLUMNS, header) or len(set(header)) < len(header):
            return header, records
        rows = [(1, list(header)), *rows]
    first: list[str] = rows[0][1] if rows else []
    if len(first) != len(texts) + 1:
        return header, records
    if number_in(first[-1]) is not None:
        names = [*texts, NAME]
    elif number_in(first[0]) is not None:
        names = [NAME, *texts]
    else:
        return header, records
    return names, [(number, dict(zip(names, cells, strict=True))) for number, cells in rows]


def _take(rows: Rows, header: Sequence[str], records: Sequence[Record], columns: Columns) -> None:
    """Put the samples of a table into `rows`, and a problem for every row that makes none."""
    given = columns.input
    inputs = find_input(rows.kind, header) if given is None else (given,) if isinstance(given, str) else given
    column = columns.label or _number_column(header, inputs)
    if require_label(column, NUMBER_COLUMNS, header, rows) is None:
        require_input(given, rows.kind, header, rows)
        rows.numbers = []
        return
    assert column is not None, "require_label has found it"
    rows.labels = (str(column),)
    note_columns(rows, header, NUMBER_COLUMNS, columns, (*inputs, column))
    written = [(number, {**record, column: _cell(record.get(column))}) for number, record in records]
    take(rows, header, written, dataclasses.replace(columns, input=inputs or None, label=column))


def _number_column(found: Any, inputs: Sequence[Any]) -> Any:
    """Give the column of numbers: one with a usual name, or the only one beside the inputs; else None."""
    others = [name for name in found if name not in inputs]
    usual = find_column(NUMBER_COLUMNS, others)
    return others[0] if usual is None and inputs and len(others) == 1 else usual


def _cell(value: Any) -> str | None:
    """Give the text of a cell, None for an empty one."""
    return None if value is None or (isinstance(value, str) and not value.strip()) else _written(value)


def _written(value: Any) -> str:
    """Give any value as text: a number of numpy or of a tensor too; what is no number stays visible as such."""
    value = value.tolist() if hasattr(value, "tolist") else value
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) and value.strip() else str(value) if value != "" else "''"
