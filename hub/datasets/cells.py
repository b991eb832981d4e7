"""Lists that were written into one cell of a table, as PaddleHub, pandas and `datasets.Dataset.to_csv` do."""

from __future__ import annotations

import ast
import json
import re

SEPARATOR = "\x02"
"""What PaddleHub has between the words of a cell, and between their tags."""
DOCUMENT = "-DOCSTART-"
"""What stands for a word between the documents of CoNLL's files."""
_ESCAPE = r"\\[\\'\"bfnrtuUx/]"
_ITEM = re.compile(
    rf"\s*('(?:[^'\\]|{_ESCAPE})*'|\"(?:[^\"\\]|{_ESCAPE})*\"|-?[0-9]{{1,18}})(?:\s*,|(?=[\s\]]))"
)
"""A text or a whole number, and the comma behind it; numpy puts blanks and line breaks in the place of commas."""


def is_bracketed(cell: str) -> bool:
    """Say whether a cell looks like a list, whether or not it can be read as one."""
    return cell.strip().startswith("[") and cell.strip().endswith("]")


def list_in(cell: str) -> list[str | int] | None:
    """Give the list of texts and whole numbers that a cell holds as Python, JSON or numpy write it, else None.

    >>> list_in("['EU', \\"it's\\"]"), list_in("[3 0 7]"), list_in("[PER]")
    (['EU', "it's"], [3, 0, 7], None)
    """
    if not is_bracketed(cell):
        return None
    written, place = cell.strip(), 1
    found: list[str | int] = []
    while match := _ITEM.match(written, place):
        item = _value(match[1])
        if item is None:
            return None
        found.append(item)
        place = match.end()
    return found if written[place:].strip() == "]" else None


def _value(item: str) -> str | int | None:
    if item[0] not in "'\"":
        return int(item)
    if "\\" not in item:
        return item[1:-1]
    try:
        value: str = json.loads(item)  # which has an emoji as two escapes
    except ValueError:
        try:
            value = ast.literal_eval(item)
        except (ValueError, SyntaxError):
            return None
    return value
