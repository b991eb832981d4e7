"""Sentences as lists of words with a tag for each word: CoNLL files, tables, JSON lines, frames and objects.

EU       B-ORG          a word a line, its tag in the last column, an empty line between sentences
rejects  O

sentence_id,words,labels  a word a row: a column says which sentence it is of, or an empty row parts them
0,EU,B-ORG

text_a \\t label         PaddleHub's tables: words joined by \\x02 (or spaces), and tags likewise
{"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]}      or numbers, with the names in label_list.txt
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hub.datasets.base import ONE_LINE, Dataset, Origin, Problem, Rows, Sample, broken_names
from hub.datasets.cells import SEPARATOR, is_bracketed, list_in
from hub.datasets.conll import from_conll
from hub.datasets.kinds import TAGGED
from hub.datasets.lists import read_names
from hub.datasets.objects import item_of, names_of
from hub.datasets.summary import several
from hub.datasets.tables import (
    JSON,
    Columns,
    Record,
    find_column,
    find_input,
    note_columns,
    read_records,
    require_input,
    require_label,
    split_row,
    usual_delimiter,
)
from hub.datasets.textfiles import read_text
from hub.datasets.texts import class_names, frame_records, has_columns
from hub.datasets.word_rows import Sentence, join_rows, sentence_column
from hub.errors import UsageError, cut
from hub.files import is_line

OWN_SUFFIXES = (".conll", ".bio", ".iob", ".bmes")
"""Of files that hold nothing but words with tags."""
SUFFIXES = (".jsonl", ".ndjson", ".tsv", ".csv", *OWN_SUFFIXES, ".txt")
TAG_COLUMNS = ("tags", "ner_tags", "labels", "label", "ner", "tag", "pos_tags", "pos")
"""The names by which the column of tags is found, the likelier first."""
OUTSIDE = "O"
MOST_SHOWN = 20
SCHEMES = ("BI", "BIES", "BMES", "BILU")
_TAG = re.compile(r"([BIMELSU])((?:-.+)?)")


def whole_scheme(tags: set[str]) -> set[str]:
    """Give the tags with those that their scheme has besides: I-X where some sentences have B-X and none of them I-X.

    What is measured or read later may have them. Unchanged are tags without a B or an S, and IOB1, where B-X is rare.
    """
    matches = [_TAG.fullmatch(tag) for tag in tags if tag != OUTSIDE]
    parts = [(match[1], match[2]) for match in matches if match]
    letters, kinds = {letter for letter, _ in parts}, {kind for _, kind in parts}
    scheme = next((scheme for scheme in SCHEMES if letters <= set(scheme)), "")
    begun = {kind for letter, kind in parts if letter in "BSU"}
    if None in matches or begun != kinds:
        return tags
    return tags | {f"{letter}{kind}" for letter in scheme for kind in kinds}


def _other_middles(tags: Sequence[str]) -> dict[str, str]:
    """Give for M-X the I-X that it is where tags are BIES, and the other way round where they are BMES.

    Some sentences that have no middle of an entity do not say which of both they are.
    """
    parts = [(match[1], match[2]) for match in map(_TAG.fullmatch, tags) if match]
    letters = {letter for letter, _ in parts}
    if "E" not in letters or {"I", "M"} <= letters:
        return {}
    other = {"I": "M", "M": "I"}
    return {other[letter] + kind: letter + kind for letter, kind in parts if letter in other}


class TaggedDataset(Dataset):
    """Sentences by index: the input of a sample is its words, the label the number of each word's tag in `labels`.

    `targets()` is 0 for every sentence: it has no class of its own. `counts()` is of words.
    """

    has_classes = False

    def __init__(
        self, rows: Rows, *, labels: Sequence[str] | None = None, multi_label: bool | None = None
    ) -> None:
        """Give the tags of `rows` numbers: by `labels`, or else "O" first and the others sorted.

        Where the source lists no tags, those of a scheme are made whole (`whole_scheme`).
        """
        if multi_label:
            raise UsageError("multi_label: a word has one tag")
        self._rows = rows
        self.name, self.ignored, self.multi_label = rows.name, rows.ignored, False
        sentences: list[tuple[str, ...]] = rows.raw  # type: ignore[assignment]
        found = set(rows.labels) or whole_scheme({tag for tags in sentences for tag in tags})
        whole = {tag for tag in found if rows.labels or is_line(tag)}
        self.labels = tuple(labels or sorted(whole, key=lambda tag: (tag != OUTSIDE, tag)))
        number = {tag: n for n, tag in enumerate(self.labels)}
        number |= {tag: number[own] for tag, own in _other_middles(self.labels).items()}
        self._tags = [tuple(number.get(tag, -1) for tag in tags) for tags in sentences]
        unknown = {k: tags.index(-1) for k, tags in enumerate(self._tags) if -1 in tags}
        self._index = np.array([k for k in range(len(sentences)) if k not in unknown], dtype=np.int64)
        self._targets: np.ndarray = np.zeros(len(self._index), np.int64)
        self.problems = (
            *rows.problems,
            *broken_names(rows),
            *(self._unknown(rows.origin(k), sentences[k][place]) for k, place in unknown.items()),
        )

    def _unknown(self, origin: Origin, tag: str) -> Problem:
        if not is_line(tag):
            return Problem("bad tag", origin, tag, ONE_LINE)
        return Problem("unknown tag", origin, tag, known=self.labels)

    def __getitem__(self, i: int) -> Sample:
        k = int(self._index[i])
        return Sample(self._rows.input(k), self._tags[k], self._rows.origin(k))

    def __repr__(self) -> str:
        return f"<TaggedDataset {self.name}: {len(self)} sentences, {len(self.labels)} tags>"

    def counts(self) -> dict[str, int]:
        """Give the number of words of every tag, in the order of `labels`, zeros included."""
        numbers = Counter(number for k in self._index.tolist() for number in self._tags[k])
        return {label: numbers[n] for n, label in enumerate(self.labels)}

    def describe(self) -> str:
        """Give a line for a person: sentences, words, and how often each tag is there."""
        counts = {tag: count for tag, count in self.counts().items() if count}
        shown = ", ".join(f"{tag} {count:,}" for tag, count in list(counts.items())[:MOST_SHOWN])
        more = f" and {len(counts) - MOST_SHOWN} more" if len(counts) > MOST_SHOWN else ""
        size = f"{several(len(self), 'sentence')}, {several(sum(counts.values()), 'word')}"
        return f"{self.name}: {size}; tags: {shown}{more}"

    def relabel(
        self, labels: Sequence[str] | None = None, *, multi_label: bool | None = None
    ) -> TaggedDataset:
        """Give the same sentences numbered by another list of tags; those it does not know become problems."""
        chosen = dataclasses.replace(self._rows.part(self._index.tolist()), problems=list(self.problems))
        return TaggedDataset(
            chosen, labels=self.labels if labels is None else labels, multi_label=multi_label
        )


# ---- reading ----


def read_tagged(path: Path, columns: Columns) -> Rows:
    """Give the sentences of a file; rows are the lines at which they begin."""
    rows = Rows(name=str(path), file=str(path), kind=TAGGED)
    is_json = path.suffix.lower() in JSON
    delimiter = "" if is_json else _delimiter(path, columns)
    if is_json or delimiter:
        header, records = read_records(path, columns, TAGGED, rows, TAG_COLUMNS, delimiter=delimiter)
        sentences = [] if header is None else _from_table(header, records, columns, rows)
    else:
        text = read_text(path, rows.problems, encoding=columns.encoding, offer=True)
        sentences = from_conll(text, rows)
    numbered = any(_is_number(tag) for _, _, tags in sentences if isinstance(tags, list) for tag in tags[:1])
    _fill(rows, sentences, read_names(path.parent, rows.problems) if numbered else ())
    return rows


def read_tagged_object(source: Any, columns: Columns) -> Rows:
    """Give the sentences of a frame, or of any object with (words, tags) or {"tokens": …, "tags": …} as items."""
    rows = Rows(name=type(source).__name__, kind=TAGGED)
    if has_columns(source, columns):
        header, records = frame_records(source)
        names = class_names(source, columns.label or find_column(TAG_COLUMNS, header))
        _fill(rows, _from_table(header, records, columns, rows), names)
        return rows
    if isinstance(source, str | type) or not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise UsageError(f"data: expected a path or (words, tags) pairs, found {type(source).__name__}")
    sentences: list[Sentence] = []
    for number in range(len(source)):
        item = item_of(source, number)
        found = _pair(item)
        if found is None:
            detail = f'expected (words, tags) or {{"tokens": …, "tags": …}}, found {type(item).__name__}'
            rows.problems.append(Problem("bad item", Origin("", number), detail=detail))
        else:
            sentences.append((number, *found))
    _fill(rows, sentences, names_of(source, TAG_COLUMNS))
    return rows


def _pair(item: Any) -> tuple[Any, Any] | None:
    if isinstance(item, Sample):
        return item.input, item.label
    if isinstance(item, Mapping):
        words, tags = find_input(TAGGED, item), find_column(TAG_COLUMNS, item)
        return (item[words[0]], item[tags]) if words and tags is not None else None
    return (item[0], item[1]) if isinstance(item, tuple | list) and len(item) == 2 else None


def _delimiter(path: Path, columns: Columns) -> str:
    """Give what separates the columns of a file if they have names, or if its words are joined; else ""."""
    text = read_text(path, [], encoding=columns.encoding)
    first = text.partition("\n")[0]
    delimiters = "\t,;" if first.startswith("#") else "\t,; "  # "# text = …" is a comment of CoNLL-U
    found = next((each for each in delimiters if _is_header(split_row(first, each), columns)), "")
    is_table = SEPARATOR in text or columns.input or columns.label
    return found or (usual_delimiter(first, path.suffix) if is_table else "")


def _is_header(cells: Sequence[str], columns: Columns) -> bool:
    words = (columns.input,) if isinstance(columns.input, str) else columns.input or find_input(TAGGED, cells)
    tags = columns.label or find_column(TAG_COLUMNS, cells)
    return bool(words) and {*words, tags} <= set(cells)


def _from_table(
    header: Sequence[str], records: Sequence[Record], columns: Columns, rows: Rows
) -> list[Sentence]:
    words = require_input(columns.input, TAGGED, header, rows)
    tags = require_label(columns.label, TAG_COLUMNS, header, rows)
    if not words or tags is None:
        return []
    joined = join_rows(header, records, words[0], tags, rows)
    used = None if joined is None else sentence_column(header, words[0], tags)
    others = [name for name in header if name != used]
    note_columns(rows, others, TAG_COLUMNS, columns, (words[0], tags))
    if joined is not None:
        return joined
    return [
        (number, _words_in(record.get(words[0])), _tags_in(record.get(tags))) for number, record in records
    ]


def _words_in(cell: Any) -> Any:
    listed = list_in(cell) if isinstance(cell, str) else None
    # "[ 1 ]" is a sentence of three words
    return listed if listed is not None and all(isinstance(word, str) for word in listed) else _parted(cell)


def _tags_in(cell: Any) -> Any:
    """Give the tags of a cell; a list that cannot be read stays a text, as no tag begins with a bracket."""
    if not isinstance(cell, str) or SEPARATOR in cell or not is_bracketed(cell):
        return _parted(cell)
    listed = list_in(cell)
    return cell if listed is None else listed


def _parted(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    return cell.split(SEPARATOR) if SEPARATOR in cell else cell.split()


def _fill(rows: Rows, sentences: Iterable[Sentence], names: Sequence[str]) -> None:
    """Put sentences into `rows` with their tags by name, and a problem for each that makes no sample."""
    rows.numbers = numbers = []
    kept: dict[int, list[str]] = {}
    for number, words, given in sentences:
        taken, origin = TAGGED.take(words), Origin(rows.file, number)
        tags = given.tolist() if hasattr(given, "tolist") else given
        if taken is None:
            detail = f"expected words as a list of texts, found {type(words).__name__}"
            rows.problems.append(Problem("bad words", origin, _shown(words), detail))
        elif not isinstance(tags, list | tuple):
            listed = isinstance(tags, str) and is_bracketed(tags)
            found = "a list as text: save it as .jsonl" if listed else type(tags).__name__
            detail = f"expected a list with a tag for each word, found {found}"
            rows.problems.append(Problem("bad tags", origin, _shown(tags), detail))
        elif len(taken) != len(tags):
            detail = f"{several(len(taken), 'word')}, {several(len(tags), 'tag')}"
            rows.problems.append(Problem("length mismatch", origin, _shown(" ".join(taken)), detail))
        elif not any(word.strip() for word in taken):
            rows.problems.append(Problem("empty sentence", origin))
        elif not all(named := [_name(tag, names) for tag in tags]):
            bad = next(tag for tag, name in zip(tags, named, strict=True) if not name)
            detail = f"expected 0 to {len(names) - 1}" if names else "expected the name of a tag"
            rows.problems.append(Problem("unknown tag", origin, str(bad), detail, tuple(names)))
        else:
            kept[number] = taken
            rows.paths.append(None)
            rows.raw.append(tuple(map(str, named)))
            numbers.append(number)
            rows.labels = tuple(names) if _is_number(tags[0]) else rows.labels
    rows.fetch = kept.__getitem__


def _name(tag: Any, names: Sequence[str]) -> str | None:
    """Give a tag as a name; a number counts the names, or is the name where there are none."""
    if isinstance(tag, str):
        return sys.intern(str(tag).strip())  # the same few for a million words
    if not _is_number(tag):
        return None
    if names:
        return names[tag] if 0 <= tag < len(names) else None
    return str(tag) if tag >= 0 else None


def _is_number(tag: Any) -> bool:
    return isinstance(tag, int | np.integer) and not isinstance(tag, bool)


def _shown(value: Any) -> str:
    return cut(str(value), 60)
