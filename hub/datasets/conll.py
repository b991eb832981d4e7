"""Files with a word a line, as of CoNLL's tasks: which columns are its words and its tags, and what is a sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from hub.datasets.base import Origin, Problem, Rows
from hub.datasets.cells import DOCUMENT
from hub.datasets.word_rows import Sentence
from hub.errors import cut

_SPACES = re.compile(" +")  # no other white space: some of it stands for words
_NO_TAGS = {"_", "SpaceAfter=No"}
"""What the last column of CoNLL-U has, which are no tags."""
_IOB = re.compile("O|[BIMELSU]-.+")
_PART = re.compile(r"\d+[-.]\d+")
"""The number of several words that are written as one, or of one that is not written at all, in CoNLL-U."""


@dataclass(frozen=True)
class _Form:
    """How the lines of a file are made: the number of columns, which are the word and its tag, and every tag."""

    width: int
    word: int
    tag: int
    tags: set[str]

    def passes_over(self, cells: Sequence[str], *, begun: bool) -> bool:
        """Say whether a line is a comment, which a sentence may have until its first word, or the number of a part."""
        is_row = len(cells) == self.width and cells[self.tag] in self.tags
        is_comment = cells[0].startswith("#") and not begun and not is_row
        return is_comment or (self.word > 0 and _PART.fullmatch(cells[0]) is not None)


def from_conll(text: str, rows: Rows) -> list[Sentence]:
    """Give the sentences of a text with a word a line; a line that is no word and tag is a problem.

    Lines have as many columns as most of them. The words are in the first, or in the second where the first numbers
    them; for the tags see `_tag_place`. A sentence may begin with comments: lines with # that do not end in a tag.
    """
    lines = [line.rstrip("\r\t ") for line in text.split("\n")] if text else []
    cells = [
        line.split("\t") if "\t" in line else _SPACES.split(line.strip(" ")) if line else [] for line in lines
    ]
    form = _form_of(cells, rows)
    if form is None:
        return []
    parts = groupby(enumerate(cells, start=1), lambda each: not each[1] or each[1][0].startswith(DOCUMENT))
    found = [_sentence(part, form, lines, rows) for is_between, part in parts if not is_between]
    sentences = [sentence for sentence in found if sentence is not None]
    if form.width > 2 and (name := _name_for_word(sentences)):
        detail = (
            f"expected the words in the first column, found {cut(name, 60)!r} on every line of a sentence; "
            "save the words and their tags alone, or with a header above the columns"
        )
        return _refused(rows, "word", detail)
    return sentences


def _form_of(cells: Sequence[Sequence[str]], rows: Rows) -> _Form | None:
    """Give the form of a file, None and a problem where it has no column of tags."""
    plain = [each for each in cells if each and not each[0].startswith(("#", DOCUMENT))]
    [(width, _)] = Counter(map(len, plain)).most_common(1) or [(2, 0)]
    if width < 2:
        _refused(
            rows, "tag", "expected a word, a tab or a space, and its tag on every line; found one column"
        )
        return None
    full = [each for each in plain if len(each) == width]
    word = 1 if width > 2 and _are_numbered(cells) else 0
    tag = _tag_place(full, numbered=word == 1)
    tags = {each[tag] for each in full}
    if tags and tags <= _NO_TAGS:
        where = "the last column" if tag == width - 1 else f"column {tag + 1}"
        _refused(rows, "tag", f"expected the tag in {where}, found {', '.join(sorted(tags))} on every line")
        return None
    return _Form(width, word, tag, tags)


def _sentence(
    part: Iterable[tuple[int, Sequence[str]]], form: _Form, lines: Sequence[str], rows: Rows
) -> Sentence | None:
    """Give the sentence of the lines between two breaks; None, and a problem for each line, where some are bad."""
    taken: list[tuple[int, Sequence[str]]] = []
    bad = False
    for number, cells in part:
        if form.passes_over(cells, begun=bool(taken)):
            continue
        if len(cells) == form.width:
            taken.append((number, cells))
            continue
        bad = True
        kind = "too few fields" if len(cells) < form.width else "too many fields"
        detail = f"expected {form.width}, as in most lines: a word … its tag; found {len(cells)}"
        rows.problems.append(Problem(kind, Origin(rows.file, number), lines[number - 1], detail))
    if bad or not taken:
        return None
    return taken[0][0], [cells[form.word] for _, cells in taken], [cells[form.tag] for _, cells in taken]


def _refused(rows: Rows, column: str, detail: str) -> list[Sentence]:
    rows.problems.append(Problem("missing column", Origin(rows.file, 1), column, detail))
    return []


def _tag_place(full: Sequence[Sequence[str]], *, numbered: bool) -> int:
    """Give the number of the column of tags: the last, but for two forms whose words are numbered.

    CoNLL-U has the part of speech in the fourth of ten columns, the number of another word in the seventh, and notes
    such as SpaceAfter=No in the last; CoNLL-X has a relation there. GermEval has the names inside of names in the last
    of four, and the names themselves before it.
    """
    last = len(full[0]) - 1 if full else 1
    cells = [each for each in full if not _PART.fullmatch(each[0])]
    if numbered and last == 9:
        notes = [each[9] for each in cells]
        heads = {each[6] for each in cells} - {"_"}
        of_words = heads and all(map(str.isdecimal, heads)) and not all(map(_IOB.fullmatch, notes))
        if of_words or any("=" in note for note in notes) or set(notes) == {"_"}:
            return 3
    names = numbered and last == 3 and all(_IOB.fullmatch(each[n]) for each in cells for n in (2, 3))
    return 2 if names else last


def _name_for_word(sentences: Sequence[Sentence]) -> str:
    """Give what most sentences have in the place of every word, as OntoNotes has the name of a file; else ""."""
    several = [words for _, words, _ in sentences if len(words) > 1]
    same = [words[0] for words in several if len(set(words)) == 1]
    return same[0] if 2 * len(same) > len(several) else ""


def _are_numbered(cells: Sequence[Sequence[str]]) -> bool:
    """Say whether lines begin with a number that counts them from 1 in every sentence, as in GermEval and CoNLL-U."""
    expected, count = 1, 0
    for each in cells:
        if not each:
            expected = 1
        elif each[0].isdecimal():
            if each[0] != str(expected):
                return False
            expected, count = expected + 1, count + 1
        elif not (each[0].startswith(("#", DOCUMENT)) or _PART.fullmatch(each[0])):
            return False
    return count > 0
