"""The bytes of one download that have arrived so far: they survive the process and have one owner at a time.

A partial is a folder `<key>.<owner>.part` with `data` (the file, with holes) and `journal.json` (what is still missing,
and which document on which server it belongs to). The name says who owns it, so that taking over what a dead process
left behind is one atomic rename, and two processes never write to one file, also where locks lie. What the journal
promises is only a start: the digest of the whole file decides, or where none is known the ETag of its server (`doubt`).
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from hub.registry import owner

JOURNAL_BYTES = 4096  # one page: a killed process leaves the old journal or the new one
ANNOUNCE_BYTES = 16 * 2**20  # so much more without a hole, and whoever follows hears of it
ABANDONED_AFTER_S = 600.0  # an owner on another machine that has written nothing for so long is gone
FREE = "free"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LostGapError(Exception):
    """The gap is not yours any more: whoever leads the transfer has stopped it. No error, and no HubError."""


@dataclass(eq=False)
class Gap:
    """Bytes that are missing: from `start` up to `stop`, or to the end of a file of unknown size."""

    start: int
    stop: int | None
    taken: bool = False


class Partial:
    """A file in the making: several threads fill its gaps while another reads the prefix that is complete.

    Every change asks first whether the gap is still part of the file, so that a thread that was stopped and has not
    heard of it can do nothing, however late it wakes up.
    """

    def __init__(self, folder: Path, *, size: int | None) -> None:
        self.folder = folder
        self.changed = threading.Condition()
        self._file: FileIO | None = None
        self._journal: FileIO | None = None
        self._announced = 0
        found = _read_journal(folder)
        if found is None or (size is not None and found["size"] not in {size, None}):
            self.restart(size=size)
            return
        self.source: str = found["source"]
        self.etag: str | None = found["etag"]
        self._boot: str = found["boot"]
        self.size: int | None = size if found["size"] is None else found["size"]
        self._gaps = [Gap(start, self.size if stop is None else stop) for start, stop in found["missing"]]
        self.mixed = self.done > 0  # the file will not have come from one server in one go

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def done(self) -> int:
        """How many bytes have arrived."""
        with self.changed:
            if self.size is None:  # then there is one gap, open at its end
                return self._gaps[0].start
            return self.size - sum((gap.stop or 0) - gap.start for gap in self._gaps)

    @property
    def prefix(self) -> int:
        """How many bytes have arrived from the beginning, without a hole."""
        with self.changed:
            return self._gaps[0].start if self._gaps else self.size or 0

    def restart(self, *, size: int | None) -> None:
        """Forget every byte, into a new folder: what still writes into the old one harms nobody."""
        with self.changed:
            self.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = self.folder.with_name(_name(_key(self.folder)))
            self.folder.mkdir()
            self.data.touch()
            self.size, self.source, self.etag, self.mixed = size, "", None, False
            self._boot = owner.boot()
            self._gaps = [Gap(0, size)] if size != 0 else []
            self._announced = 0

    def doubt(self, source: str, *, size: int | None) -> None:
        """Keep only what the server of `source` can vouch for by its ETag, and leave it something to vouch for.

        For a file of which no digest is known. What was written before this machine went down may not have reached
        the disk when the journal did, and a file that is complete may have changed on the server since.
        """
        with self.changed:
            if self.etag is None or self.source != source or not self._boot or self._boot != owner.boot():
                self.restart(size=size)
            elif self.size and not self._gaps:
                self._gaps = [Gap(self.size - 1, self.size)]

    def take(self, most: int | None) -> Gap | None:
        """Give a gap that nobody fills, cut to `most` bytes; None when there is none."""
        with self.changed:
            gap = next((gap for gap in self._gaps if not gap.taken), None)
            if gap is not None:
                gap.taken = True
                self._cut(gap, most)
            return gap

    def share(self, most: int) -> None:
        """Leave the longest gap to whoever fills it only for `most` more bytes; the rest can be taken."""
        with self.changed:
            longest = max(self._gaps, key=lambda gap: (gap.stop or gap.start) - gap.start, default=None)
            if longest is not None:
                self._cut(longest, most)

    def _cut(self, gap: Gap, most: int | None) -> None:
        if most is not None and gap.stop is not None and gap.stop - gap.start > most:
            rest = Gap(gap.start + most, gap.stop)
            gap.stop = rest.start
            self._gaps.insert(self._gaps.index(gap) + 1, rest)

    def give_back(self) -> None:
        """Take all gaps away from whoever has them."""
        with self.changed:
            self._gaps = [Gap(gap.start, gap.stop) for gap in self._gaps]

    def begin(self, gap: Gap, *, source: str, etag: str | None, size: int | None) -> None:
        """Note which document the bytes from now on belong to, and how large it is if it says so."""
        with self._own(gap):
            self.mixed = self.mixed or (self.source not in {"", source} and self.done > 0)
            self.etag = etag or (self.etag if self.source == source else None)
            self.source = source
            if self.size is None and size is not None:
                self.size = gap.stop = size

    def write(self, gap: Gap, data: bytes) -> None:
        """Put bytes at the start of a gap, and then into the journal that they are there."""
        with self._own(gap):
            if self._file is None:
                self._file = self.data.open("rb+", buffering=0)
            self._file.seek(gap.start)
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            gap.start += len(data)
            if gap.start == gap.stop:
                self._gaps.remove(gap)
            self._write_journal()
            if self.prefix - self._announced >= ANNOUNCE_BYTES:  # waking a thread costs more than writing
                self._announced = self.prefix
                self.changed.notify_all()

    def finish(self, gap: Gap) -> None:
        """Close a gap without end: the file turned out to end here."""
        with self._own(gap):
            self.size = gap.start
            self._gaps.remove(gap)
            self._write_journal()
            self.changed.notify_all()

    def sync(self) -> None:
        """Wait until what has been written is on the disk; threads may go on writing meanwhile."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def discard(self) -> None:
        """Remove every trace."""
        with self.changed:
            self.close()
            self._gaps = []
            shutil.rmtree(self.folder, ignore_errors=True)

    def release(self) -> None:
        """Leave what has arrived to the next owner; nothing, when nothing has."""
        self.give_back()
        if not (self.folder / "journal.json").exists() or self.done == 0:
            self.discard()
            return
        free = self.folder.with_name(f"{_key(self.folder)}.{FREE}-{secrets.token_hex(4)}.part")
        with self.changed:
            self.close()
            with suppress(
                OSError
            ):  # then it keeps our process id, which dies with us: as good, a little later
                self.folder.rename(free)

    @contextmanager
    def _own(self, gap: Gap) -> Iterator[None]:
        with self.changed:
            if gap not in self._gaps:
                raise LostGapError
            yield

    def _write_journal(self) -> None:
        if self._journal is None:
            self._journal = FileIO(self.folder / "journal.json", "w", opener=_open_uncut)
        record = {
            "schema": 1,
            "size": self.size,
            "source": self.source,
            "etag": self.etag,
            "boot": self._boot,
            "missing": [[gap.start, gap.stop] for gap in self._gaps],
        }
        self._journal.seek(0)
        self._journal.write(json.dumps(record).encode().ljust(JOURNAL_BYTES))

    def close(self) -> None:
        """Close the files; the next write opens them again."""
        for file in (self._file, self._journal):
            if file is not None:
                file.close()
        self._file = self._journal = None


@contextmanager
def claim(partials: Path, key: str, *, size: int | None) -> Iterator[Partial]:
    """Give the partial of `key` to this process: what a dead or finished owner left of it, else an empty one."""
    own = partials / _name(key)
    for orphan in sorted(partials.glob(f"{key}.*.part")):
        if not _is_abandoned(orphan):
            continue
        if own.exists():
            shutil.rmtree(orphan, ignore_errors=True)
        else:
            with suppress(OSError):  # another process was faster
                orphan.rename(own)
    partial = Partial(own, size=size)
    try:
        yield partial
    except OSError as problem:
        if problem.errno in FULL:  # the disk needs the room more than the next run needs the bytes
            partial.discard()
        raise
    finally:
        partial.release()


def _read_journal(folder: Path) -> dict[str, Any] | None:
    """Give the journal if it makes sense, None when there is nothing to go on from."""
    try:
        with (folder / "journal.json").open("rb") as file:
            found: dict[str, Any] = json.loads(file.read(16 * JOURNAL_BYTES))
        length = (folder / "data").stat().st_size
        sound = (
            found["schema"] == 1
            and isinstance(found["source"], str)
            and isinstance(found["etag"], str | None)
            and isinstance(found.setdefault("boot", ""), str)
            and _covers(found["missing"], found["size"], length)
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if sound else None


def _covers(missing: list[list[int | None]], size: int | None, length: int) -> bool:
    """Say whether the gaps are in order, inside the file, and everything else of it is on the disk."""
    at = 0
    for start, stop in missing:
        end = stop if size is not None else None if stop is not None else start
        if type(start) is not int or type(end) is not int or not at <= start <= end:
            return False
        if at < start and length < start:
            return False
        at = end
    return len(missing) == 1 if size is None else at == size or at < size <= length


def _name(key: str) -> str:
    return f"{key}.{owner.mark()}-{secrets.token_hex(4)}.part"


def _key(folder: Path) -> str:
    return folder.name.split(".", 1)[0]


def _is_abandoned(folder: Path) -> bool:
    """Say whether nobody works here any more: known of processes of this machine, else after ten minutes of silence."""
    mark = folder.name.split(".", 1)[1].rpartition("-")[0]
    if mark == FREE:
        return True
    gone = owner.is_gone(mark)
    if gone is None and os.name == "nt":
        return True  # there the rename fails while the owner has the file open
    if gone is None:
        with suppress(OSError):
            return time.time() - (folder / "data").stat().st_mtime > ABANDONED_AFTER_S
    return bool(gone)


def _open_uncut(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_TRUNC, 0o644)
