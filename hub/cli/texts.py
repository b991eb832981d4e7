"""What a word of the command line stands for where texts are asked for."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from hub.datasets.base import Problem
from hub.datasets.folders import files_below
from hub.datasets.tables import SUFFIXES as TABLES
from hub.datasets.textfiles import decode
from hub.datasets.texts import Text
from hub.errors import UsageError


def texts_of(word: str | bytes) -> list[str | Path]:
    """Give the texts on stdin, or for a word the files that it names, or the text that it is.

    Raises UsageError for what has the name of a file and is none with a text a line: a name would be answered for.
    """
    if isinstance(word, bytes):
        problems: list[Problem] = []
        lines = decode(word, "stdin", problems).split("\n")
        if problems:
            raise UsageError(f"{problems[0].origin}: {problems[0].detail}")
        return [Text(line.strip()) for line in lines if line.strip()]
    path = Path(word)
    if os.path.isdir(word):
        unread: list[Problem] = []
        files = [Path(entry.path) for entry in files_below(path, unread) if os.path.isfile(entry.path)]
        if unread:
            raise UsageError(str(unread[0]))
        found = sorted(each for each in files if each.suffix.lower() == ".txt")
        if not found:
            raise UsageError(f"{word}: expected a folder with .txt files, found none")
        return list(found)
    files = [path] if os.path.exists(word) else sorted(map(Path, glob.glob(word, recursive=True)))
    strange = [each for each in files if each.suffix.lower() not in (".txt", *TABLES)]
    if strange or (not files and path.suffix.lower() in (".txt", *TABLES)):
        what = f"found {strange[0]}" if strange else "there is none of that name"
        raise UsageError(
            f"{word}: expected a .txt file with a text a line; {what}",
            hint="a text that is called like a file goes in by stdin, with - in its place",
        )
    return list(files) or [word]
