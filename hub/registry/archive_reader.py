"""What the readers of the two kinds of archives share: the member that they yield, and how they refuse.

Archives can be built so that two programs find different files in one and the same archive: a name given twice, a
size that two headers disagree on, a member that only one of two tables has, another archive before the beginning
or behind the end. The readers refuse an archive wherever that would be possible, and everything in it that is not
a regular file or a folder. What the names may be is not decided there (see archive.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hub.errors import IntegrityError, UnsafeFileError

HINT = "do not use it unless you know who made it; `tar czf` or `zip -r` of the folder gives a plain archive"
CHUNK = 64 * 1024  # small: a bomb makes a thousand times as much of each chunk that is read


@dataclass(frozen=True)
class Member:
    """A file or a folder; `chunks` has to be read to its end before the next member is asked for."""

    name: str
    is_folder: bool
    size: int
    chunks: Iterator[bytes]


class Reader:
    """An open archive that is called `path` in messages.

    `count` is called with the number of bytes that were unpacked since the last call, and may raise.
    """

    def __init__(self, path: Path, count: Callable[[int], None]) -> None:
        self._path = path
        self._count = count

    def refuse(self, why: str, member: str | bytes = "") -> NoReturn:
        """Raise UnsafeFileError: no ordinary program packs that."""
        raise UnsafeFileError(self._where(member) + why, hint=HINT)

    def damaged(self, why: str, member: str | bytes = "") -> NoReturn:
        """Raise IntegrityError: these are not the bytes that were packed."""
        raise IntegrityError(self._where(member) + why, hint="get the archive again")

    def _where(self, member: str | bytes) -> str:
        return f"{self._path}: member {member[:80]!a}: " if member else f"{self._path}: "
