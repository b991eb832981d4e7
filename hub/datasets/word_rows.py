"""Tables with a word in each row: which of their rows are one sentence."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from typing import Any

from hub.datasets.base import Origin, Problem, Rows
from hub.datasets.cells import SEPARATOR, is_bracketed
from hub.datasets.tables import Record, find_column

SENTENCE_COLUMNS = (
    "sentence_id", "sentence_#", "sentence_idx", "sentence_index", "sentence_number", "sent_id", "sentence", "sent",
)  # fmt: skip
"""The names by which the column is found that says which sentence a word is of, the likelier first."""
DOCUMENT = "-DOCSTART-"
"""What stands for a word between the documents of CoNLL's files."""
EXPECTED = (
    "expected a column such as sentence_id, or an empty row between sentences, or whole sentences in rows"
)

Sentence = tuple[int, Any, Any]
"""The number of a row or an item, its words and its tags, as they were found."""


def join_rows(
    header: Sequence[str], records: Sequence[Record], words: str, tags: str, rows: Rows
) -> list[Sentence] | None:
    """Give the sentences of a table with one tag in every row, None for any other table.

    A sentence begins behind an empty row, and where the column of sentences says another; only the first row of one
    need say it. A sentence with a bad row is none. Where nothing says how sentences begin, that is a problem.
    """
    full = [each for each in records if not _is_between(each[1], words, tags)]
    if len(full) < 2 or not all(_is_one_tag(record.get(tags)) for _, record in full):
        return None
    column = find_column(SENTENCE_COLUMNS, (name for name in header if name not in (words, tags)))
    if column is None and not all(_is_one(record.get(words)) for _, record in full):
        return None
    empty = {problem.origin.row or 0 for problem in rows.problems if problem.kind == "empty line"}
    empty |= {number for number, _ in records} - {number for number, _ in full}
    if column is None and not empty:
        return _refused(rows, f"found one word in every row; {EXPECTED}")
    rows.problems = [problem for problem in rows.problems if problem.kind != "empty line"]
    gaps = sorted(empty)
    parts: list[list[Record]] = []
    places: list[tuple[int, str]] = []
    named = ""
    for number, record in full:
        found = record.get(column)
        named = named if _is_blank(found) else str(found)  # it may be the list of the sentence's words
        if not places or places[-1] != (bisect(gaps, number), named):
            places.append((bisect(gaps, number), named))
            parts.append([])
        parts[-1].append((number, record))
    if len(set(places)) < len(places) and 2 * sum(len(part) == 1 for part in parts) > len(parts):
        return _refused(rows, f"found rows in any order; expected those of one {column!r} together")
    bad = {problem.origin.row or 0 for problem in rows.problems}
    return [
        (part[0][0], [_word(each.get(words)) for _, each in part], [each.get(tags) for _, each in part])
        for part in parts
        if not bad.intersection(range(part[0][0] - 1, part[-1][0] + 2))
    ]


def _refused(rows: Rows, detail: str) -> list[Sentence]:
    origin = Origin(rows.file or rows.name, 1 if rows.file else None)
    rows.problems.append(Problem("missing column", origin, SENTENCE_COLUMNS[0], detail))
    return []


def _is_blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _is_between(record: Any, words: str, tags: str) -> bool:
    """Say whether a row stands between two sentences."""
    word = record.get(words)  # a list or an array, where the row is a whole sentence
    return (isinstance(word, str) and word == DOCUMENT) or (_is_blank(word) and _is_blank(record.get(tags)))


def _is_one(cell: Any) -> bool:
    return not isinstance(cell, str) or (SEPARATOR not in cell and " " not in cell.strip(" "))


def _is_one_tag(cell: Any) -> bool:
    """Say whether a cell has one tag, a number or a text, or lacks it."""
    if isinstance(cell, str):
        return _is_one(cell) and not is_bracketed(cell)
    return not hasattr(cell, "__len__")


def _word(cell: Any) -> Any:
    return cell.strip(" ") if isinstance(cell, str) else cell
