"""A folder per class: every image below `flowers/rose/` is a rose."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hub.datasets.base import Origin, Problem, Rows
from hub.datasets.images import SUFFIXES
from hub.datasets.summary import list_suffixes, several
from hub.errors import DataError

LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "@eadir"})
"""What macOS, Windows and network disks leave in folders, besides hidden files."""


def is_litter(name: str) -> bool:
    """Say whether a file or folder is none of the user's: hidden, or left there by an operating system."""
    return name.startswith(".") or name.lower() in LITTER


def read_folder(folder: Path) -> Rows:
    """Give every image below the class folders in `folder`, sorted by class and path.

    Raises DataError where there is nothing to read: no images, or images but no class folders.
    """
    rows = Rows(name=str(folder))
    loose: list[str] = []
    ignored: Counter[str] = Counter()
    classes = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if is_litter(entry.name):
            continue
        if entry.is_dir():
            classes.append(entry)
        elif _suffix(entry.name) in SUFFIXES:
            loose.append(entry.path)
        else:
            ignored[_suffix(entry.name)] += 1
    for entry in classes:
        images, others = _images_below(entry.path, rows.problems)
        rows.paths += images
        rows.raw += [entry.name] * len(images)
        ignored += others
        if not images:
            found = f"found {list_suffixes(others)}" if others else "the folder is empty"
            rows.problems.append(
                Problem("empty class", Origin(entry.path), entry.name, f"no images; {found}")
            )
    rows.ignored = dict(ignored)
    if not rows.paths:
        raise _nothing_to_read(folder, loose, classes=len(classes), ignored=ignored)
    detail = "expected the image inside a folder named after its class"
    rows.problems += [Problem("no class", Origin(path), detail=detail) for path in loose]
    return rows


def _images_below(top: str, problems: list[Problem]) -> tuple[list[str], Counter[str]]:
    """Give the images at any depth below a folder, sorted, and the suffixes of all other files, counted."""
    images, others = [], Counter[str]()
    for entry in _files_below(top, problems):
        if _suffix(entry.name) in SUFFIXES:
            images.append(entry.path)
        else:
            others[_suffix(entry.name)] += 1
    return sorted(images), others


def _files_below(top: str, problems: list[Problem]) -> Iterator[os.DirEntry[str]]:
    pending, seen = [top], {os.path.realpath(top)}
    while pending:
        folder = pending.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            problems.append(Problem("unreadable", Origin(folder), detail=error.strerror or str(error)))
            continue
        for entry in entries:
            if is_litter(entry.name):
                continue
            if not entry.is_dir():
                yield entry
                continue
            real = os.path.realpath(entry.path)  # links may form a circle
            if real not in seen:
                seen.add(real)
                pending.append(entry.path)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _nothing_to_read(folder: Path, loose: list[str], *, classes: int, ignored: Counter[str]) -> DataError:
    hint = "expected a folder for each class with its images inside: flowers/rose/1.jpg, flowers/tulip/1.jpg"
    if loose:
        found = f"{several(len(loose), 'image')} but no class folders with images"
    else:
        kinds = [several(classes, "folder")] if classes else []
        kinds += [list_suffixes(ignored)] if ignored else []
        found = f"{', '.join(kinds)}, no images" if kinds else "the folder is empty"
    return DataError(f"{folder}: {found}", hint=hint)
