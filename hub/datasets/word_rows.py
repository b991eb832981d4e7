"""Tables with a word in each row: which of their rows are one sentence."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from typing import Any

from hub.datasets.base import Origin, Problem, Rows
from hub.datasets.cells import DOCUMENT, SEPARATOR, is_bracketed
from hub.datasets.tables import Record, find_column

SENTENCE_COLUMNS = (
    "sentence_id", "sentence_#", "sentence_idx", "sentence_index", "sentence_number", "sent_id", "sentence", "sent",
)  # fmt: skip
"""The names by which the column is found that says which sentence a word is of, the likelier first."""
DOCUMENT_COLUMNS = (
    "document_id", "doc_id", "document_#", "doc_#", "document_idx", "doc_idx", "document_index", "doc_index",
    "document_number", "document", "doc",
)  # fmt: skip
"""And by which the one that says which document it is of: the sentences of each may be numbered anew."""
NUMBER_COLUMNS = (
    "token_id", "word_id", "token_#", "word_#", "token_idx", "word_idx", "token_index", "word_index", "token_number",
    "word_number",
)  # fmt: skip
"""And by which the one that numbers the words of a sentence."""
EXPECTED = (
    "expected a column such as sentence_id, or an empty row between sentences, or whole sentences in rows"
)

Sentence = tuple[int, Any, Any]
"""The number of a row or an item, its words and its tags, as they were found."""


def sentence_column(header: Sequence[str], words: str, tags: str) -> Any:
    """Give the column that says which sentence a word is of, None where there is none."""
    return find_column(SENTENCE_COLUMNS, (name for name in header if name not in (words, tags)))


def join_rows(
    header: Sequence[str], records: Sequence[Record], words: str, tags: str, rows: Rows
) -> list[Sentence] | None:
    """Give the sentences of a table with one tag in every row, None for any other table.

    A sentence begins behind an empty row, where the column of sentences or that of documents says another, and where
    the words are numbered anew; only its first row need say of which sentence and document it is. A sentence with a
    bad row is none. Where nothing says how sentences begin, that is a problem.
    """
    full = [each for each in records if not _is_between(each[1], words, tags)]
    if len(full) < 2 or not all(_is_one_tag(record.get(tags)) for _, record in full):
        return None
    sentence = sentence_column(header, words, tags)
    texts = sum(not _is_one(record.get(words)) for _, record in full)
    if texts and (sentence is None or 2 * texts > len(full)):
        return None
    others = [name for name in header if name not in (words, tags)]
    gaps = _gaps(records, full, rows)
    begun = _begun(full, find_column(NUMBER_COLUMNS, others), pieces=sentence is not None)
    if sentence is None and not gaps and not begun[-1]:
        return _refused(rows, f"found one word in every row; {EXPECTED}")
    documents = _filled(full, find_column(DOCUMENT_COLUMNS, others))
    between = [bisect(gaps, number) for number, _ in full]
    places = list(zip(between, documents, _filled(full, sentence), begun, strict=True))
    together = [
        [row for _, row in part] for _, part in groupby(zip(places, full, strict=True), itemgetter(0))
    ]
    if texts and len(together) == len(full):  # of which each has a class
        return None
    rows.problems = [problem for problem in rows.problems if problem.kind != "empty line"]
    alone = sum(len(part) == 1 for part in together)
    if len(set(places)) < len(together) and 2 * alone > len(together):
        return _refused(rows, f"found rows in any order; expected those of one {sentence!r} together")
    return [
        (part[0][0], [_word(each.get(words)) for _, each in part], [each.get(tags) for _, each in part])
        for part in _without_bad(together, rows)
    ]


def _gaps(records: Sequence[Record], full: Sequence[Record], rows: Rows) -> list[int]:
    """Give the numbers of the rows that part sentences, in order: of empty lines, and of rows without a word."""
    empty = {problem.origin.row or 0 for problem in rows.problems if problem.kind == "empty line"}
    return sorted(empty | ({number for number, _ in records} - {number for number, _ in full}))


def _without_bad(together: Iterable[list[Record]], rows: Rows) -> Iterator[list[Record]]:
    """Give the sentences of which no row, and none beside them, has a problem: it may be the one that is missing."""
    bad = {problem.origin.row or 0 for problem in rows.problems}
    for part in together:
        if bad.isdisjoint(range(part[0][0] - 1, part[-1][0] + 2)):
            yield part


def _filled(full: Sequence[Record], column: Any) -> list[str]:
    """Give the cells of a column as text, an empty one as that above it."""
    filled: list[str] = []
    for _, record in full:
        cell = _text(record.get(column))
        filled.append(cell if cell.strip() or not filled else filled[-1])
    return filled


def _begun(full: Sequence[Record], column: Any, *, pieces: bool) -> list[int]:
    """Give for every word how often the numbers of words have begun anew; 0 where they count nothing.

    With `pieces` a number that comes twice running is that of one word, in its pieces.
    Numbers of a vocabulary fall too, but not always to the smallest.
    """
    cells = [_text(record.get(column)).strip() for _, record in full]
    numbers = [int(cell) if cell.isdecimal() and len(cell) < 10 else -1 for cell in cells]
    falls = [after < before + (not pieces) for before, after in pairwise(numbers)]
    smallest = min(numbers)
    counts = smallest >= 0 and all(n == smallest for n, fell in zip(numbers[1:], falls, strict=True) if fell)
    return list(accumulate([0, *falls])) if counts else [0] * len(full)


def _text(cell: Any) -> str:
    """Give a cell as text; it may be the list of a sentence's words."""
    cell = cell.tolist() if hasattr(cell, "tolist") else cell
    return "".join(map(str, cell)) if isinstance(cell, list | tuple) else "" if cell is None else str(cell)


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
