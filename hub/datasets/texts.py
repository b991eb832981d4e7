"""Texts that are in files of their own, and tables that are in memory: pandas frames and Hugging Face datasets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.datasets.base import Problem, Rows
from hub.datasets.kinds import Kind
from hub.datasets.tables import LABEL_COLUMNS, Columns, Record, find_column, take
from hub.datasets.textfiles import read_text
from hub.errors import InputError, UsageError


@dataclass
class TextRows(Rows):
    """Rows whose paths are text files: an input is what its file says, read whenever it is asked for."""

    encoding: str | None = None

    def input(self, k: int) -> Any:
        """Give the text of entry `k`. Raises InputError for a file that is no text."""
        given = super().input(k)
        return read_file(given, encoding=self.encoding) if isinstance(given, Path) else given


def read_file(path: Path, *, encoding: str | None = None) -> str:
    """Give the text of a file. Raises InputError for one that cannot be read, or is in another encoding."""
    problems: list[Problem] = []
    text = read_text(path, problems, encoding=encoding)
    for problem in problems:
        line = f"line {problem.origin.row}: " if problem.origin.row else ""
        raise InputError(f"{path}: {line}{problem.detail}")
    return text


class Text(str):
    """A text that is one even where a file has that name."""

    __slots__ = ()


def several_texts(given: Any, what: str) -> list[str]:
    """Give a sequence of texts as such. Raises UsageError for anything else, such as one text, a table or numbers."""
    many = (
        isinstance(given, Iterable) and not isinstance(given, str | Mapping) and not hasattr(given, "columns")
    )
    found = list(given) if many else []
    strange = [each for each in found if not isinstance(each, str)]
    if not many or strange:
        inside = f" with {type(strange[0]).__name__} {str(strange[0])[:40]!r}" if strange else ""
        raise UsageError(f"{what}: expected a sequence of texts, found {type(given).__name__}{inside}")
    return [Text(each) for each in found]


def is_frame(source: Any) -> bool:
    """Say whether an object is a table with columns: a pandas DataFrame, or a `datasets.Dataset` or the like."""
    return hasattr(source, "column_names") or (hasattr(source, "columns") and hasattr(source, "iloc"))


def is_transformed(source: Any) -> bool:
    """Say whether an object is a `datasets.Dataset` whose items a function makes, in columns of its own."""
    form = getattr(source, "format", None) if hasattr(source, "column_names") else None
    return isinstance(form, Mapping) and form.get("type") == "custom"


def has_columns(source: Any, columns: Columns) -> bool:
    """Say whether an object is read by its columns: where they are named, and else where its items are made of them."""
    return is_frame(source) and (columns.are_named or not is_transformed(source))


def read_frame(source: Any, columns: Columns, kind: Kind) -> Rows:
    """Give one sample for every row of a frame; rows count from 0. A value that is missing is a problem."""
    rows = Rows(name=type(source).__name__, kind=kind)
    header, records = frame_records(source)
    label = columns.label or find_column(LABEL_COLUMNS, header)
    rows.labels = class_names(source, label)
    take(rows, header, records, columns)
    return rows


def frame_records(source: Any) -> tuple[list[str], list[Record]]:
    """Give the names of a frame's columns, and its rows."""
    if hasattr(source, "column_names"):
        header = list(source.column_names)
        values = [list(source[name]) for name in header]
    else:
        header = list(source.columns)
        if len(set(header)) < len(header):
            raise UsageError(
                f"data: expected columns of different names, found {', '.join(map(str, header))}"
            )
        whole = source.convert_dtypes().astype(object)  # 1.0 beside a missing value is the class number 1
        whole = whole.where(whole.notna(), None)
        values = [whole[name].tolist() for name in header]
    found = [dict(zip(header, row, strict=True)) for row in zip(*values, strict=True)]
    return header, list(enumerate(found))


def class_names(source: Any, column: Any) -> tuple[str, ...]:
    """Give the names that the numbers in a column of a `datasets.Dataset` stand for; () where it says none."""
    if not hasattr(source, "column_names"):
        return ()
    feature = (getattr(source, "features", None) or {}).get(column)
    feature = getattr(feature, "feature", feature)  # of a list: what its elements are
    return tuple(getattr(feature, "names", None) or ())
