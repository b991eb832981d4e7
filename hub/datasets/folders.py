"""A folder per class: every input below `flowers/rose/` is a rose."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from hub.datasets.base import Origin, Problem, Rows
from hub.datasets.kinds import KINDS, PICTURES, SOUNDS, Kind
from hub.datasets.summary import list_suffixes, several
from hub.datasets.textfiles import read_text
from hub.datasets.told import Table
from hub.errors import DataError, UsageError
from hub.files import run_record

LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "@eadir"})
"""What macOS, Windows and network disks leave in folders, besides hidden files."""
NO_CLASS = "_background_noise_"
"""Of Speech Commands: minutes of noise to mix with its words."""

BEGUN = frozenset({"logs", "checkpoints"})
"""What is in the folder of a run before its config.json: the first where several processes begin it."""


def is_litter(name: str) -> bool:
    """Say whether a file or folder is none of the user's: hidden, or left there by an operating system."""
    return name.startswith(".") or name.lower() in LITTER


def listed(folder: str | Path) -> list[os.DirEntry[str]]:
    """Give what a folder holds that is no litter, in no order."""
    return [entry for entry in os.scandir(folder) if not is_litter(entry.name)]


def entries_of(folder: str | Path) -> list[os.DirEntry[str]]:
    """Give what a folder of data holds, in no order: no litter, and no runs of who trained in it."""
    return [entry for entry in listed(folder) if not (is_folder(entry) and holds_runs(entry.path))]


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def holds_runs(folder: str | Path) -> bool:
    """Say whether a folder is that of a run, or holds nothing but such folders, as ./runs does.

    One with data in it, beside what runs write, is that of a class: nothing of it is left out.
    """
    with suppress(OSError, RecursionError):  # whoever reads it says so
        if run_record(folder) is not None:
            return not any(map(_is_beside_a_run, listed(folder)))
        entries = (entry for entry in os.scandir(folder) if not is_litter(entry.name))
        first = next(entries, None)  # of a class it will do
        return first is not None and _is_of_a_run(first) and all(map(_is_of_a_run, entries))
    return False


def _is_of_a_run(entry: os.DirEntry[str]) -> bool:
    """Say whether this is a folder of a run, or what a run begins with: below one of that name may be data."""
    return entry.is_dir() and (
        (entry.name in BEGUN and not _holds_data(entry.path)) or holds_runs(entry.path)
    )


def _is_beside_a_run(entry: os.DirEntry[str]) -> bool:
    """Say whether something in the folder of a run is data, and no module, which may have a picture or texts in it."""
    if not entry.is_dir():
        return _suffix(entry.name) in _of_data()
    is_module = entry.name == "best" or os.path.lexists(os.path.join(entry.path, "module.yaml"))
    return not is_module and _holds_data(entry.path) and not holds_runs(entry.path)


def _holds_data(folder: str) -> bool:
    return any(_suffix(name) in _of_data() for _, _, names in os.walk(folder) for name in names)


@cache
def _of_data() -> frozenset[str]:
    return frozenset(suffix for kind in KINDS.values() for suffix in kind.suffixes)


def require_no_data(place: str | Path, *sources: Any) -> None:
    """Raise UsageError for a folder of a run that is one of the `sources` of data, or one in it that holds something.

    Other folders in the data may hold runs: they are no part of it. `sources` are what data is given as.
    """
    where = Path(os.path.realpath(os.path.expanduser(place)))
    for source in sources:
        if isinstance(source, Table):
            source = source.path
        if isinstance(source, Mapping):
            require_no_data(place, *source.values())
        elif isinstance(source, str | os.PathLike) and source and os.path.isdir(os.path.expanduser(source)):
            data = Path(os.path.realpath(os.path.expanduser(source)))
            inside = where != data and where.is_relative_to(data)
            if where == data or (
                inside and where.is_dir() and any(where.iterdir()) and not holds_runs(where)
            ):
                raise UsageError(
                    f"{place}: expected a folder for a run, found one of the data in {data}",
                    hint="choose a new folder as output_dir (--output)",
                )


def read_folder(folder: Path, kind: Kind = PICTURES) -> Rows:
    """Give every file of the kind below the class folders in `folder`, sorted by class and path.

    Raises DataError where there is nothing to read: no such files, or files but no class folders.
    """
    rows = Rows(name=str(folder), kind=kind)
    loose: list[str] = []
    ignored: Counter[str] = Counter()
    classes = []
    for entry in sorted(entries_of(folder), key=lambda entry: entry.name):
        if kind is SOUNDS and entry.name == NO_CLASS and is_folder(entry):
            ignored.update(f"{NO_CLASS} {_suffix(each.name)}" for each in files_below(entry.path, []))
        elif is_folder(entry):
            classes.append(entry)
        elif _suffix(entry.name) in kind.suffixes:
            loose.append(entry.path)
        else:
            ignored[_suffix(entry.name)] += 1
    for entry in classes:
        inputs, others = _inputs_below(entry.path, kind, rows.problems)
        name = os.fsencode(entry.name).decode("utf-8", "surrogateescape")  # the same in every locale
        rows.paths += inputs
        rows.raw += [name] * len(inputs)
        ignored += others
        if not inputs:
            found = f"found {list_suffixes(others)}" if others else "the folder is empty"
            rows.problems.append(
                Problem("empty class", Origin(entry.path), name, f"no {kind.word}s; {found}")
            )
    rows.ignored = dict(ignored)
    if not rows.paths:
        raise _nothing_to_read(folder, kind, loose, classes=len(classes), ignored=ignored)
    if kind.is_text:  # a README.txt beside the classes is none of theirs
        rows.ignored = dict(ignored + Counter(map(_suffix, loose)))
    else:
        detail = f"expected the {kind.word} inside a folder named after its class"
        rows.problems += [Problem("no class", Origin(path), detail=detail) for path in loose]
    return rows


def part_by_lists(rows: Rows, lists: Mapping[str, Path]) -> dict[str, Rows]:
    """Give the parts of a folder of classes: files of it that are in a list are that part, and all others train.

    A list beside the classes has a path a line, as in Speech Commands, which may have a class number behind it. A line
    that names no file of a class is a problem.
    """
    numbers = {os.path.normpath(path): k for k, path in enumerate(rows.paths) if path is not None}
    chosen: dict[str, list[int]] = {role: [] for role in lists}
    for role, path in lists.items():
        for number, line in enumerate(read_text(path, rows.problems).splitlines(), 1):
            text = line.strip()
            tried = (os.path.normpath(path.parent / each) for each in (text, *text.rsplit(maxsplit=1)[:1]))
            k = next((numbers[each] for each in tried if each in numbers), None)
            if k is not None:
                chosen[role].append(k)
            elif text:
                detail = f"expected a file of a class in {path.parent}"
                rows.problems.append(Problem("missing file", Origin(str(path), number), text, detail))
    listed = {k for found in chosen.values() for k in found}
    train = [k for k in range(len(rows.paths)) if k not in listed]
    return {role: rows.part(found) for role, found in {"train": train, **chosen}.items()}


def _inputs_below(top: str, kind: Kind, problems: list[Problem]) -> tuple[list[str], Counter[str]]:
    """Give the files of the kind at any depth below a folder, sorted, and all other files' suffixes, counted."""
    inputs, others = [], Counter[str]()
    for entry in files_below(top, problems):
        if _suffix(entry.name) in kind.suffixes:
            inputs.append(entry.path)
        else:
            others[_suffix(entry.name)] += 1
    return sorted(inputs), others


def files_below(top: str | Path, problems: list[Problem]) -> Iterator[os.DirEntry[str]]:
    """Give every file of the user's in a folder and all folders in it, linked ones included, in no certain order.

    What links lead to inside of the folder is found where it is. A folder that cannot be read becomes a problem.
    """
    pending, seen = deque([os.fspath(top)]), set[str]()
    while pending:
        folder = pending.pop()
        real = os.path.realpath(folder)
        if real in seen:  # links may form a circle
            continue
        seen.add(real)
        try:
            entries = entries_of(folder)
        except OSError as error:
            problems.append(Problem("unreadable", Origin(folder), detail=error.strerror or str(error)))
            continue
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not is_folder(entry):
                yield entry
            elif entry.is_symlink():
                pending.appendleft(entry.path)  # after all that are no links
            else:
                pending.append(entry.path)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _nothing_to_read(
    folder: Path, kind: Kind, loose: list[str], *, classes: int, ignored: Counter[str]
) -> DataError:
    hint = f"expected a folder for each class with its {kind.word}s inside: {kind.example}"
    if loose:
        found = f"{several(len(loose), kind.word)} but no class folders with {kind.word}s"
    else:
        kinds = [several(classes, "folder")] if classes else []
        kinds += [list_suffixes(ignored)] if ignored else []
        found = f"{', '.join(kinds)}, no {kind.word}s" if kinds else "the folder is empty"
    return DataError(f"{folder}: {found}", hint=hint)
