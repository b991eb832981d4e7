"""PaddleHub's list files: "relative/path.jpg 3" on every line, the class names in label_list.txt beside them."""

from __future__ import annotations

import re
from pathlib import Path

from hub.datasets.base import Origin, Problem, Rows
from hub.datasets.kinds import PICTURES, Kind
from hub.datasets.textfiles import read_text

LABEL_LIST = "label_list.txt"


def read_list(path: Path, kind: Kind = PICTURES) -> Rows:
    """Give one sample for every line of a list file; paths are relative to its folder.

    The label is an integer that counts the lines of label_list.txt from 0; without that file the integer is the
    name. A path may contain spaces: the label is what follows the last one.
    """
    numbers: list[int] = []
    rows = Rows(name=str(path), file=str(path), numbers=numbers, kind=kind)
    rows.labels = read_names(path.parent, rows.problems)
    text = read_text(path, rows.problems)
    for number, line in enumerate(text.split("\n") if text else [], start=1):
        origin = Origin(rows.file, number)
        parts = line.rsplit(maxsplit=1)
        if not parts:
            rows.problems.append(Problem("empty line", origin))
        elif len(parts) == 1:
            rows.problems.append(Problem("too few fields", origin, line.strip(), "expected: path label"))
        elif not re.fullmatch(r"[+-]?[0-9]{1,9}", parts[1]):
            detail = f"expected the class number, which counts the lines of {LABEL_LIST} from 0"
            rows.problems.append(Problem("bad label", origin, parts[1], detail))
        else:
            rows.paths.append(str(path.parent / parts[0].strip()))
            rows.raw.append(int(parts[1]))
            numbers.append(number)
    return rows


def read_names(folder: Path, problems: list[Problem]) -> tuple[str, ...]:
    """Give the class names of a folder's label_list.txt, one a line; () without the file."""
    path = folder / LABEL_LIST
    if not path.exists():
        return ()
    text = read_text(path, problems)
    names = [line.strip() for line in text.split("\n")] if text else []
    for number, name in enumerate(names, start=1):
        origin = Origin(str(path), number)
        if not name:
            problems.append(
                Problem("bad label list", origin, detail="an empty line shifts every name below it")
            )
        elif names.index(name) < number - 1:
            detail = f"the same name is in row {names.index(name) + 1}"
            problems.append(Problem("bad label list", origin, name, detail))
    return tuple(names)
