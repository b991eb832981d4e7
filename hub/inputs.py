"""What a user may hand to predict: a path, folder or glob, a picture, array, sound or text, or a list of these."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hub.datasets.base import Problem
from hub.datasets.folders import files_below
from hub.datasets.kinds import PICTURES, TAGGED, Kind
from hub.datasets.tables import SUFFIXES as TABLES
from hub.datasets.texts import Text, read_file
from hub.errors import InputError, cut

MOST_SHOWN = 60
"""Characters of a text that stand for it."""


def expand(given: Any, kind: Kind = PICTURES) -> list[Any]:
    """Give one item for each input, in order: folders and globs become their files of the kind, sorted by name.

    A path that does not exist stays as it is: it becomes an error entry of its own. So does a folder without such
    files or a glob without matches in a list; where it is all that was given, it is an InputError.

    Of texts a str is a text, unless it ends in .txt and there is such a file: a file gives one input for each line,
    empty ones left out. A pair is a tuple of two str, or a str with a tab in the middle; where words are
    tagged, a list of str is several texts and a list of lists of words several sentences.
    """
    if isinstance(given, bytes | bytearray | memoryview):
        return [given]  # one input, which is refused: not as many as it has bytes
    if kind.is_text:
        return _expand_texts(given, kind)
    if isinstance(given, str | Path):
        return list(_expand_path(given, kind))
    several = isinstance(given, Iterable) and not hasattr(given, "__array__") and not hasattr(given, "read")
    if several and kind.in_memory(given) is None:
        return [
            item
            for one in given
            for item in (_expand_one(one, kind) if isinstance(one, str | Path) else [one])
        ]
    return [given]


def describe(given: Any, position: int, kind: Kind = PICTURES) -> str:
    """Give the text that stands for an input in results and messages: a path, or the beginning of a text."""
    if isinstance(given, list | tuple) and given and all(isinstance(part, str) for part in given):
        given = (" | " if kind.is_pair or isinstance(given, tuple) else " ").join(given)
    if isinstance(given, str) and kind.is_text:
        return cut(given, MOST_SHOWN)
    if isinstance(given, str | Path):
        return str(given)
    name = getattr(given, "filename", None)
    return str(name) if name else f"input {position}"


def _expand_one(given: str | Path, kind: Kind) -> list[Any]:
    """Give the files that one of several paths stands for, itself where there are none: the others have answers."""
    try:
        return _expand_path(given, kind)
    except InputError:
        if not given:
            raise
        return [given]


def _expand_path(given: str | Path, kind: Kind) -> list[str | Path]:
    if given == "":  # which to pathlib is the working directory
        raise InputError(f"{kind.name}: expected a path, found an empty text")
    path = Path(given)
    if os.path.isdir(path):  # unlike Path, False for what is too long to be a name
        found = _files(path, kind)
        if not found:
            raise InputError(f"{path}: no {kind.name} in this folder ({', '.join(sorted(kind.suffixes))})")
        return list(found)
    if not os.path.exists(path) and any(sign in str(given) for sign in "*?["):
        matches = sorted(Path(match) for match in glob.glob(str(given), recursive=True))
        found = [file for match in matches for file in (_files(match, kind) if match.is_dir() else [match])]
        if not found:
            raise InputError(f"{given}: no file matches")
        return list(dict.fromkeys(found))  # **/* has folders and what is in them
    return [given]


def _files(folder: Path, kind: Kind) -> list[Path]:
    """Give the files of the kind that are learnt from in a folder and all folders in it, linked ones included.

    A folder that cannot be read is among them, for the answer that says so.
    """
    problems: list[Problem] = []
    found = (Path(entry.path) for entry in files_below(folder, problems) if os.path.isfile(entry.path))
    files = [path for path in found if path.suffix.lower() in kind.suffixes]
    return sorted([*files, *(Path(problem.origin.file) for problem in problems)])


def _expand_texts(given: Any, kind: Kind) -> list[Any]:
    one = (
        isinstance(given, str | Path | Mapping)
        or not isinstance(given, Iterable)
        or hasattr(given, "columns")
    )
    if one or (kind is not TAGGED and kind.in_memory(given) is not None):
        given = [given]
    return [
        item for each in given for item in (_lines(each, kind) if _is_file(each) else [_taken(each, kind)])
    ]


def _taken(given: Any, kind: Kind) -> Any:
    """Give an input as a preprocessor reads it, where it is one: what is none it refuses by itself."""
    if kind.is_pair and isinstance(given, str) and given.count("\t") == 1:
        given = tuple(part.strip() for part in given.split("\t"))
    if isinstance(given, Text):
        return given
    if isinstance(given, list | tuple) and not kind.is_pair and kind is not TAGGED:
        # a tokenizer would read both as one
        raise InputError(
            f"expected texts, found {type(given).__name__} {str(given)[:60]}",
            hint="leave the labels out; evaluate() takes texts with their labels",
        )
    taken = kind.in_memory(given)
    return given if taken is None else taken


def _is_file(given: Any) -> bool:
    """Say whether an input is a file of texts: a Path, or a str that ends like one and is one."""
    if isinstance(given, str):
        return not isinstance(given, Text) and given.lower().endswith(".txt") and os.path.isfile(given)
    return isinstance(given, Path) and os.path.exists(given)


def _lines(given: str | Path, kind: Kind) -> list[Any]:
    """Give the inputs in a file, one a line. Raises InputError for a file without any, or a line that is no pair."""
    path = Path(given)
    if path.suffix.lower() in TABLES and not (kind.is_pair and path.suffix.lower() == ".tsv"):
        raise InputError(
            f"{path}: expected a file with {'two texts' if kind.is_pair else 'a text'} a line, found a table",
            hint="evaluate() takes a table with labels",
        )
    found = [
        (number, line.strip()) for number, line in enumerate(read_file(path).split("\n"), 1) if line.strip()
    ]
    if not found:
        raise InputError(f"{path}: expected a text a line, found none")
    if not kind.is_pair:
        return [Text(line) for _, line in found]
    pairs = [tuple(part.strip() for part in line.split("\t")) for _, line in found]
    for (number, line), pair in zip(found, pairs, strict=True):
        if len(pair) != 2:
            raise InputError(
                f"{path}, line {number}: expected two texts with a tab between them, found {line[:60]!r}"
            )
    return list(pairs)
