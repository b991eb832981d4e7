"""Tables with a column of inputs and one of labels: CSV, TSV, JSON (a list of objects, or one a line), and frames.

The inputs are paths, or for texts the texts themselves. Tables of texts may also lack a header, as PaddleHub's do.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.datasets.base import Listed, Origin, Problem, RawLabel, Rows, clean_label
from hub.datasets.cells import DOCUMENT, SEPARATOR, is_bracketed, list_in
from hub.datasets.kinds import PAIRS, PICTURES, TAGGED, Kind
from hub.datasets.textfiles import read_text
from hub.errors import did_you_mean

WHOLE_JSON = ".json"
"""What holds one list of objects, or lines of them all the same."""
JSON = (".jsonl", ".ndjson", WHOLE_JSON)
SUFFIXES = (".csv", ".tsv", *JSON)
LABEL_COLUMNS = (
    "label", "labels", "class", "classes", "class_name", "stance", "target", "category", "tag", "tags",
    "sentiment", "intent", "emotion", "topic", "gold_label", "is_duplicate", "similarity", "relevance",
)  # fmt: skip
"""The names by which the label's column is found, the likelier first; case, blanks and hyphens do not matter."""

BROKEN_CELL = "a cell in quotes with a line break: save the table as .csv or .jsonl"
MOST_LINES = 1000
"""Lines in which the end of a cell in quotes is looked for."""
MOST_CELL = 1 << 24
"""Characters of a cell: csv by itself gives up after 131,072, and any number would let one open quote fill memory."""

_BLANKS = re.compile(" +")  # no other white space: some of it stands for words

Record = tuple[int, Mapping[str, Any]]
"""The number of a row and its cells by the names of their columns."""


@dataclass(frozen=True)
class Columns:
    """How a table is read: its column names where they cannot be guessed, and what separates several labels."""

    input: str | tuple[str, ...] | None = None
    label: str | None = None
    separator: str | None = None
    """None: a cell is one label."""
    encoding: str | None = None
    """None: UTF-8."""

    @property
    def are_named(self) -> bool:
        return self.input is not None or self.label is not None


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
    rows = Rows(name=str(path), file=str(path), kind=kind)
    header, records = read_records(path, columns, kind, rows, LABEL_COLUMNS)
    if header is not None:
        # JSON has lists of its own, but what pandas or `datasets` read from a table before is text there too
        is_json = path.suffix.lower() in JSON
        take(
            rows, header, records, columns, folder=folder or path.parent, extra=extra,
            lists=not is_json or columns.separator is not None, strict=not is_json,
        )  # fmt: skip
    return rows


def read_records(
    path: Path, columns: Columns, kind: Kind, rows: Rows, usual: Sequence[str], *, delimiter: str = ""
) -> tuple[list[str] | None, list[Record]]:
    """Give the header of a table and every row that has the right number of fields; the others become problems.

    `usual` are the likely names of the label's column, by which a header is told from a first row. Cells are separated
    by `delimiter`, or else by what is usual. The header is None where there is nothing to read.
    """
    rows.numbers = []
    text = read_text(path, rows.problems, encoding=columns.encoding, offer=kind.is_text)
    suffix = path.suffix.lower()
    if not text:
        return None, []
    if suffix in JSON:
        whole = suffix == WHOLE_JSON and not _are_lines(text)
        found = list((_records_of_list if whole else _json_records)(text, rows))
        return list(dict.fromkeys(name for _, record in found for name in record)) or None, found
    delimiter = delimiter or usual_delimiter(text.partition("\n")[0], suffix)
    is_csv = suffix == ".csv" and delimiter in ",;"
    lines = list((_csv_lines if is_csv else _plain_lines)(text, rows, delimiter))
    header = [name.strip() for name in lines[0][1]] if lines else []
    inputs, label = columns.input or find_input(kind, header), columns.label or find_column(usual, header)
    named = inputs or label
    used = {label, *((inputs,) if isinstance(inputs, str) else inputs)}
    # Any other may be there as often as it likes.
    repeated = sorted(name for name in used if header.count(name) > 1)
    bare = lines[1:] if is_numbered(header) else lines
    if (
        kind.is_text
        and not named
        and not (kind.is_rated and is_numbered(header))  # whose number need not occur twice
        and (names := _names_without_header(bare, kind))
    ):
        return names, _full_rows(names, bare, rows, delimiter)
    if repeated:
        detail = f"expected columns of different names, found {', '.join(header)}"
        rows.problems.append(Problem("bad table", Origin(rows.file, 1), repeated[0], detail))
        return None, []
    return header, _full_rows(header, lines[1:], rows, delimiter)


def take(
    rows: Rows,
    header: Sequence[str],
    records: Sequence[Record],
    columns: Columns,
    *,
    folder: Path | None = None,
    extra: Sequence[str] = (),
    lists: bool = True,
    strict: bool = True,
) -> None:
    """Put the samples of a table into `rows`, and a problem for every row that makes none.

    `lists` says whether labels may be lists as text, as they are where the whole column holds them, and `strict`
    whether one in brackets among them that cannot be read is a mistake, and not a name.
    """
    kind = rows.kind
    input_columns = require_input(columns.input, kind, header, rows)
    label_column = require_label(columns.label, LABEL_COLUMNS, header, rows)
    rows.numbers = numbers = []
    texts: dict[int, Any] = {}
    if not input_columns or label_column is None:
        return
    note_columns(rows, header, LABEL_COLUMNS, columns, (*input_columns, label_column))
    cells_of_labels = [record.get(label_column) for _, record in records] if lists else []
    form = LabelForm.of(cells_of_labels, columns.separator, strict=strict)
    for number, record in records:
        cells = _Cells(record, Origin(rows.file, number), form)
        given, label = [cells.text(column, kind) for column in input_columns], cells.label(label_column)
        rows.problems += cells.problems
        if cells.problems or label is None:
            continue
        if kind.is_text:
            rows.paths.append(None)
            texts[number] = kind.take(given[0] if len(given) == 1 else given)
        else:
            rows.paths.append(str((folder or Path()) / str(given[0])))
        rows.raw.append(label)
        numbers.append(number)
        for name in extra:
            rows.extra.setdefault(name, []).append(str(record.get(name, "")))
    rows.fetch = texts.__getitem__ if kind.is_text else None


# ---- columns ----


def usual_delimiter(first: str, suffix: str) -> str:
    """Give what separates the cells of a table with that first row, by how its file is called."""
    if suffix.lower() != ".csv":
        return "\t"
    return ";" if ";" in first and "," not in first else ","


def split_row(row: str, delimiter: str) -> list[str]:
    """Give the cells of a row, without quotes; [] for what is none."""
    cells = _parted(row, delimiter) if delimiter == " " else _quoted_cells(row, delimiter)
    return [cell.strip() for cell in cells]


def find_column(usual: Iterable[str], found: Iterable[Any]) -> Any:
    """Give the first of the usual names that is among those found, as it is written there, or None."""
    return next(_columns(usual, found), None)


def _columns(usual: Iterable[str], found: Iterable[Any]) -> Iterator[Any]:
    plain = _plain(found)
    return (plain[name] for name in usual if name in plain)


def find_input(kind: Kind, found: Iterable[Any]) -> tuple[Any, ...]:
    """Give the columns among those found that hold the inputs of this kind, two for pairs; () where there are none."""
    return next(_inputs(kind, found), ())


def _inputs(kind: Kind, found: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    plain = _plain(found)
    usual = [(each,) if isinstance(each, str) else each for each in kind.columns]
    if not kind.is_pair:  # half of a pair is no text
        halves = {name for pair in PAIRS.columns if plain.keys() >= set(pair) for name in pair}
        usual = [names for names in usual if names[0] not in halves]
    return (tuple(plain[name] for name in names) for names in usual if plain.keys() >= set(names))


def note_columns(
    rows: Rows, header: Sequence[Any], usual: Sequence[str], columns: Columns, taken: Sequence[Any]
) -> None:
    """Say in `rows` which columns were `taken`, the label's last, where nobody named them and others are likely."""
    others = [] if columns.input else [name for names in _inputs(rows.kind, header) for name in names]
    others += [] if columns.label else _columns(usual, header)
    others = [repr(name) for name in dict.fromkeys(others) if name not in taken]
    if others:
        *inputs, label = map(repr, taken)
        what = "text" if rows.kind.is_text else "path"
        found = f"{what}: {' and '.join(inputs)}, label: {label}"
        rows.taken = f"{found}; likely columns besides: {', '.join(others)}"


def _plain(found: Iterable[Any]) -> dict[str, Any]:
    return {str(name).strip().lower().replace(" ", "_").replace("-", "_"): name for name in found}


def require_input(
    given: str | tuple[str, ...] | None, kind: Kind, header: Sequence[str], rows: Rows
) -> tuple[str, ...]:
    """Give the columns of inputs, as they were given or as they are found; else () and a problem."""
    found = find_input(kind, header) if given is None else (given,) if isinstance(given, str) else given
    missing = [name for name in found if name not in header]
    if found and not missing:
        return found
    what = "text" if kind.is_text else "path"
    usual = [each if isinstance(each, str) else " and ".join(each) for each in kind.columns[:4]]
    _lacks(missing[0] if missing else None, what, usual, header, rows)
    return ()


def require_label(given: str | None, usual: Sequence[str], header: Sequence[str], rows: Rows) -> str | None:
    """Give the column of labels, as it was given or as it is found; else None and a problem."""
    column: str | None = find_column(usual, header) if given is None else given
    if column in header:
        return column
    _lacks(given, "label", usual[:4], header, rows)
    return None


def _lacks(given: str | None, what: str, usual: Sequence[str], header: Sequence[str], rows: Rows) -> None:
    names = [str(name) for name in header]  # pandas numbers columns that have none
    found = f"found {', '.join(names) or 'nothing'}"
    if given is None:
        ways = f"add a header, or name it: hub.datasets.Table(…, {what}_column=…), --{what}-column"
        detail = f"expected one named {', '.join(usual)} …; {found}; {ways}"
    else:
        detail = "; ".join(filter(None, [found, did_you_mean(given, names)]))
    row = 1 if rows.file else None
    rows.problems.append(
        Problem("missing column", Origin(rows.file or rows.name, row), given or what, detail)
    )


def is_numbered(header: Sequence[str]) -> bool:
    """Say whether a header is 0, 1, …, as pandas writes it above columns that have no names."""
    return bool(header) and list(header) == [str(number) for number in range(len(header))]


def _names_without_header(lines: Sequence[tuple[int, list[str]]], kind: Kind) -> list[str]:
    """Give names for the columns of a table whose first row is one like the others; [] for any other.

    The label is what stands at the end or at the beginning of the row and occurs again further down, which a header
    does not; where both do, what has fewer values.
    """
    *texts, _ = names = ["text_a", "text_b", "label"] if kind.is_pair else ["text", "label"]
    if lines and any(SEPARATOR in cell for cell in lines[0][1]):  # words and tags, as PaddleHub joins them
        return names
    full = [cells for _, cells in lines if len(cells) == len(names)]
    if not full or lines[0][1] is not full[0]:
        return []
    values = {end: {cells[end].strip() for cells in full[1:]} for end in (-1, 0)}
    ends = [end for end in values if full[0][end].strip() in values[end]]
    label = min(ends, key=lambda end: len(values[end]), default=None)
    return [] if label is None else names if label == -1 else ["label", *texts]


# ---- rows ----


_LIST = "a list such as ['a', 'b']"


@dataclass(frozen=True)
class LabelForm:
    """How a column has several labels in a cell."""

    separator: str | None
    are_lists: bool = False
    """Whether each cell is a list as text."""
    strict: bool = False
    """Whether what is in brackets, or no list among lists, is rather a mistake than a name."""

    @classmethod
    def of(cls, cells: Iterable[Any], separator: str | None, *, strict: bool = True) -> LabelForm:
        """Say how the `cells` that may hold lists as text are read: one in brackets makes no column of lists.

        Most of them do, where one lists several labels: the others are mistakes then.
        """
        texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
        joined = [cell.split(separator) for cell in texts if separator and separator in cell]
        if not texts or any(all(map(is_bracketed, parts)) for parts in joined):  # [Action]|[Drama]
            return cls(separator)
        found = [list_in(cell) for cell in texts if is_bracketed(cell)]
        longest = max((len(each) for each in found if each is not None), default=-1)
        are_lists = longest >= 0 and (
            len(found) == len(texts) or (longest > 1 and 2 * len(found) > len(texts))
        )
        return cls(separator, are_lists, strict)

    def read(self, cell: Any) -> Any:
        """Give the labels of a cell as a list, or what else it is. Raises ValueError that says what was expected."""
        if not isinstance(cell, str):
            return cell
        if self.are_lists and cell.strip():
            listed = list_in(cell)
            if listed is not None:
                return Listed(listed, cell)
            if self.strict:
                raise ValueError(f"{_LIST}; or save the table as .jsonl")
        if self.separator is None:
            return cell
        if self.strict and is_bracketed(cell):
            raise ValueError(
                f"labels separated by {self.separator!r}, or {_LIST} in every row; or save the table as .jsonl"
            )
        return [part for part in cell.split(self.separator) if part.strip()]


class _Cells:
    """One row of a table, with the problems of its cells."""

    def __init__(self, record: Mapping[str, Any], origin: Origin, form: LabelForm) -> None:
        self.record, self.origin, self.form = record, origin, form
        self.problems: list[Problem] = []

    def text(self, column: str, kind: Kind) -> str | None:
        value = self.record.get(column)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if kind.is_text:
            self._refuse("bad text", column, "a text")
        else:
            self._refuse("bad path", column, "the path of a file as text")
        return None

    def label(self, column: str) -> RawLabel | None:
        try:
            value = self.form.read(self.record.get(column))
        except ValueError as expected:
            self._refuse("bad label", column, str(expected))
            return None
        label = clean_label(value)
        if label is None:
            self._refuse("bad label", column, "a name, a class index, or a list of them without repeats")
        return label

    def _refuse(self, kind: str, column: str, expected: str) -> None:
        value = self.record.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            self.problems.append(Problem("missing value", self.origin, detail=f"column {column!r} is empty"))
        else:
            found = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            detail = f"column {column!r}: expected {expected}"
            self.problems.append(Problem(kind, self.origin, found, detail))


def _full_rows(
    header: list[str], lines: Iterable[tuple[int, list[str]]], rows: Rows, delimiter: str
) -> list[Record]:
    """Give every row that has the right number of fields; the others become problems."""
    records: list[Record] = []
    for number, cells in lines:
        origin = Origin(rows.file, number)
        if not any(cell.strip() for cell in cells):
            rows.problems.append(Problem("empty line", origin))
        elif len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
            trouble = "too few fields" if len(cells) < len(header) else "too many fields"
            expected = f"expected {len(header)}: {', '.join(header)}; found {len(cells)}"
            rows.problems.append(Problem(trouble, origin, delimiter.join(cells), expected))
        else:
            records.append((number, dict(zip(header, cells, strict=False))))
    return records


def _csv_lines(text: str, rows: Rows, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Give the number and the cells of every row, and the place where the table breaks off as a problem."""
    # strict: without it a quote that is never closed swallows the rest of the file in silence
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 1
    before = csv.field_size_limit(MOST_CELL)
    try:
        for cells in reader:
            yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        rows.problems.append(Problem("bad table", Origin(rows.file, reader.line_num), detail=str(error)))
    finally:
        csv.field_size_limit(before)


def _plain_lines(text: str, rows: Rows, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Give the number and the cells of every line, mostly separated by tabs.

    Quotes belong to the text, as in PaddleHub's files and Common Voice's, where many a sentence begins with one: read
    as CSV it would swallow the rows up to the next. A cell that is wholly in quotes, as spreadsheets write it, is
    taken out of them. One over several lines is a problem, but for a caption or the like that nobody learns from.
    Words with tabs or blanks between them may be quotes: only lists are taken out of them, unless the header is too.
    """
    lines = text.split("\n")
    header = _parted(lines[0], delimiter)
    full = len(header)
    is_csv = rows.kind is not TAGGED or delimiter in ",;" or all(cell != _unquoted(cell) for cell in header)
    past = 0
    for number, line in enumerate(lines, start=1):
        if number <= past:
            continue
        if is_csv and full > 1 and (past := _closing(lines, number, full - 1, delimiter)):
            whole = [] if rows.kind.is_text else _quoted_cells("\n".join(lines[number - 1 : past]), delimiter)
            if len(whole) == full:
                yield number, whole
            else:
                rows.problems.append(
                    Problem("broken cell", Origin(rows.file, number), line.strip(), BROKEN_CELL)
                )
            continue
        cells = _parted(line, delimiter)
        if rows.kind is TAGGED and cells[0].startswith(DOCUMENT):
            cells = []
        elif is_csv:
            whole = _quoted_cells(line, delimiter) if len(cells) > full else []  # with one inside of quotes
            cells = whole if len(whole) == full else list(map(_unquoted, cells))
        else:
            cells = list(map(_unquoted_list, cells))
        yield number, cells


def _parted(line: str, delimiter: str) -> list[str]:
    return _BLANKS.split(line.strip(" \r")) if delimiter == " " else line.rstrip("\r").split(delimiter)


def _quoted_cells(row: str, delimiter: str) -> list[str]:
    """Give the cells of a row as CSV has them; [] where it is none."""
    try:
        found = list(csv.reader(io.StringIO(row, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        return []
    return found[0] if len(found) == 1 else []


def _closing(lines: Sequence[str], number: int, full: int, delimiter: str) -> int:
    """Give the number of the line that ends the row which begins in this one with a cell in quotes, or 0.

    It is one if the lines between them have no cells of their own and both have together as many as a row.
    """
    last = lines[number - 1].rstrip("\r").rpartition(delimiter)[2]
    if not last.startswith('"') or last.count('"') % 2 == 0:
        return 0
    have = lines[number - 1].count(delimiter)
    for there in range(number, min(len(lines), number + MOST_LINES)):
        line = lines[there].rstrip("\r")
        if line.count('"') % 2:
            closes = line.partition(delimiter)[0].endswith('"') and have + line.count(delimiter) == full
            return there + 1 if closes else 0
        if delimiter in line:
            return 0
    return 0


def _unquoted(cell: str) -> str:
    inside = cell[1:-1].replace('""', "")
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inside
    return cell[1:-1].replace('""', '"') if whole else cell


def _unquoted_list(cell: str) -> str:
    inside = _unquoted(cell)
    return inside if inside != cell and list_in(inside) is not None else cell


def _are_lines(text: str) -> bool:
    """Say whether the first line is an object by itself, and not one that holds the list of them."""
    try:
        first = json.loads(text.partition("\n")[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and not any(map(_is_list_of_objects, first.values()))


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _records_of_list(text: str, rows: Rows) -> Iterator[Record]:
    """Give every item of a JSON list that is an object, counted from 1; the others become problems."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        rows.problems.append(Problem("bad JSON", Origin(rows.file), detail=str(error)))
        return
    if not isinstance(items, list):
        found = f"an object with {', '.join(items)}" if isinstance(items, dict) else type(items).__name__
        detail = f"expected a list of objects such as {_example(rows)}, found {found}"
        rows.problems.append(Problem("bad JSON", Origin(rows.file), detail=detail))
        return
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict):
            yield number, item
        else:
            detail = f"expected an object such as {_example(rows)}"
            rows.problems.append(Problem("bad JSON", Origin(rows.file, number), json.dumps(item), detail))


def _example(rows: Rows) -> str:
    return '{"text": …, "label": …}' if rows.kind.is_text else '{"path": …, "label": …}'


def _json_records(text: str, rows: Rows) -> Iterator[Record]:
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
            rows.problems.append(
                Problem("bad JSON", origin, line.strip(), f"expected an object such as {_example(rows)}")
            )
