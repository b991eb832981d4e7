"""Tables with a path and a label column: CSV, TSV, or JSONL (one JSON object on every line)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.datasets.base import Origin, Problem, RawLabel, Rows, clean_label
from hub.datasets.kinds import PICTURES, Kind
from hub.datasets.textfiles import read_text
from hub.errors import did_you_mean

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
LABEL_COLUMNS = ("label", "labels", "class", "classes", "class_name", "target", "category", "tag", "tags")
"""The names by which the label's column is found, the likelier first; case, blanks and hyphens do not matter."""


@dataclass(frozen=True)
class Columns:
    """How a table is read: its column names where they cannot be guessed, and what separates several labels."""

    path: str | None = None
    label: str | None = None
    separator: str | None = None
    """None: a cell is one label."""


def read_table(
    path: Path,
    columns: Columns,
    kind: Kind = PICTURES,
    *,
    folder: Path | None = None,
    extra: Sequence[str] = (),
) -> Rows:
    """Give one sample for every row; rows are line numbers, and the columns `extra` are kept as text.

    Relative paths count from `folder`, by default the table's own.
    """
    numbers: list[int] = []
    rows = Rows(name=str(path), file=str(path), numbers=numbers, kind=kind)
    text = read_text(path, rows.problems)
    if not text:
        return rows
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        records = list(_json_records(text, rows))
        header = list(dict.fromkeys(name for _, record in records for name in record))
        if not records:
            return rows
    else:
        header, records = _csv_records(text, rows, tabs=path.suffix.lower() == ".tsv")
    path_column = _require_column("path", columns.path, kind.columns, header, rows)
    label_column = _require_column("label", columns.label, LABEL_COLUMNS, header, rows)
    if path_column is None or label_column is None:
        return rows
    for number, record in records:
        cells = _Cells(record, Origin(rows.file, number), columns.separator)
        file, label = cells.path(path_column), cells.label(label_column)
        rows.problems += cells.problems
        if file is not None and label is not None:
            rows.paths.append(str((folder or path.parent) / file))
            rows.raw.append(label)
            numbers.append(number)
            for name in extra:
                rows.extra.setdefault(name, []).append(str(record.get(name, "")))
    return rows


def find_column(usual: Iterable[str], found: Iterable[Any]) -> Any:
    """Give the first of the usual names that is among those found, as it is written there, or None."""
    plain = {str(name).strip().lower().replace(" ", "_").replace("-", "_"): name for name in found}
    return next((plain[name] for name in usual if name in plain), None)


def _require_column(
    what: str, given: str | None, usual: Sequence[str], header: list[str], rows: Rows
) -> str | None:
    column = find_column(usual, header) if given is None else given
    if column in header:
        return column
    found = f"found {', '.join(header) or 'nothing'}"
    if given is None:
        detail = f"expected one named {', '.join(usual[:4])} …; {found}; add a header or pass {what}_column="
    else:
        detail = "; ".join(filter(None, [found, did_you_mean(given, header)]))
    rows.problems.append(Problem("missing column", Origin(rows.file, 1), given or what, detail))
    return None


class _Cells:
    """One row of a table, with the problems of its two cells."""

    def __init__(self, record: Mapping[str, Any], origin: Origin, separator: str | None) -> None:
        self.record, self.origin, self.separator = record, origin, separator
        self.problems: list[Problem] = []

    def path(self, column: str) -> str | None:
        value = self.record.get(column)
        if isinstance(value, str) and value.strip():
            return value.strip()
        self._refuse("bad path", column, "the path of a file as text")
        return None

    def label(self, column: str) -> RawLabel | None:
        value = self.record.get(column)
        if isinstance(value, str) and self.separator is not None:
            value = [part for part in value.split(self.separator) if part.strip()]
        label = clean_label(value)
        if label is None:
            self._refuse("bad label", column, "a name, a class index, or a list of them without repeats")
        return label

    def _refuse(self, kind: str, column: str, expected: str) -> None:
        value = self.record.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            self.problems.append(Problem("missing value", self.origin, detail=f"column {column!r} is empty"))
        else:
            found = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            detail = f"column {column!r}: expected {expected}"
            self.problems.append(Problem(kind, self.origin, found, detail))


def _csv_records(text: str, rows: Rows, *, tabs: bool) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Give the header and every row that has the right number of fields; the others become problems."""
    first = text.partition("\n")[0]
    delimiter = "\t" if tabs else ";" if ";" in first and "," not in first else ","
    # strict: without it a quote that is never closed swallows the rest of the file in silence
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    records = []
    try:
        header = [name.strip() for name in next(reader)]
        number = reader.line_num + 1
        for cells in reader:
            origin = Origin(rows.file, number)
            expected = f"expected {len(header)}: {', '.join(header)}; found {len(cells)}"
            if not any(cell.strip() for cell in cells):
                rows.problems.append(Problem("empty line", origin))
            elif len(cells) < len(header):
                rows.problems.append(Problem("too few fields", origin, delimiter.join(cells), expected))
            elif any(cell.strip() for cell in cells[len(header) :]):
                rows.problems.append(Problem("too many fields", origin, delimiter.join(cells), expected))
            else:
                records.append((number, dict(zip(header, cells, strict=False))))
            number = reader.line_num + 1
    except csv.Error as error:
        rows.problems.append(Problem("bad table", Origin(rows.file, reader.line_num), detail=str(error)))
    return header, records


def _json_records(text: str, rows: Rows) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give every line that is a JSON object; the others become problems."""
    for number, line in enumerate(text.split("\n"), start=1):
        origin = Origin(rows.file, number)
        if not line.strip():
            rows.problems.append(Problem("empty line", origin))
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            rows.problems.append(Problem("bad JSON", origin, line.strip(), str(error)))
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            detail = 'expected an object such as {"path": …, "label": …}'
            rows.problems.append(Problem("bad JSON", origin, line.strip(), detail))
