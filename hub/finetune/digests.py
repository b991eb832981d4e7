"""Digests of files, known again by their size and times: a second run need not read a set to see that it is the same.

As in git's index, a file counts as unchanged while its size, its inode and the times of its last change (of its
content, and of anything about it, which programs cannot set) are those of when it was read. One that was changed just
before is not written down: within a tick of the clock it could change once more.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from hub.errors import HubError
from hub.files import sha256_of, write_text

SETTLED_NS = 2 * 10**9
"""How long ago a file must have been changed to be written down; FAT keeps times to two seconds."""

MOST = 100_000
"""Files that are remembered, the last that were asked for: some 20 MB, read in less than half a second."""

SCHEMA = 1
Mark = tuple[int, int, int, int]


class Digests:
    """The sha256 of files, read or remembered in `book`; without one, every file is read."""

    def __init__(self, book: Path | None) -> None:
        self.book = book
        self._asked: dict[str, tuple[Mark, str]] = {}
        self._changed = False

    @cached_property
    def _known(self) -> dict[str, tuple[Mark, str]]:
        """What the book holds; it may be large, and many runs ask for no file."""
        return _entries(self.book) if self.book else {}

    def of(self, file: Path) -> str:
        """Give the sha256 of a file's bytes. Raises OSError for one that cannot be read."""
        if self.book is None:
            return sha256_of(file)
        name, mark = os.path.abspath(file), _mark(file)
        known = self._asked.get(name) or self._known.get(name)
        if known and known[0] == mark:
            self._asked[name] = known
            return known[1]
        digest = sha256_of(file)
        if _mark(file) == mark and time.time_ns() - max(mark[1:3]) > SETTLED_NS:
            self._asked[name] = mark, digest
            self._changed = True
        return digest

    def keep(self) -> None:
        """Write down what is new; that it cannot be kept harms nobody."""
        if self.book is None or not self._changed:
            return
        entries = {
            name: entry for name, entry in self._known.items() if name not in self._asked
        } | self._asked
        latest = list(entries.items())[-MOST:]
        content = {
            "schema": SCHEMA,
            "files": {name: [*mark, digest] for name, (mark, digest) in latest},
        }
        with suppress(HubError, OSError):
            self.book.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.book, json.dumps(content))  # in ASCII: a path need not be text
            self._changed = False


def _mark(file: Path) -> Mark:
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _entries(book: Path) -> dict[str, tuple[Mark, str]]:
    """Give what a book holds; nothing for one that is absent or damaged."""
    try:
        content = json.loads(book.read_bytes())
        if content["schema"] != SCHEMA:
            return {}
        return {
            str(name): ((int(size), int(changed), int(touched), int(inode)), str(digest))
            for name, (size, changed, touched, inode, digest) in content["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
