"""Room to work in: a folder of one's own, a lock, space on the disk, clear words when the disk refuses."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hub import settings
from hub.errors import StorageError
from hub.files import storage_errors
from hub.registry import owner
from hub.registry.notice import warn

LOCK_TIMEOUT_S = 600.0
ABANDONED_S = 24 * 3600.0

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_FOLDER = re.compile(r"[a-z0-9_-]+\.(?P<owner>[0-9a-f]+-[0-9]+-[0-9]+)-[0-9a-f]{8}")


@contextmanager
def working(name: str, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[Path]:
    """Give an empty folder for work on one module, alone among all processes; it is gone afterwards.

    Raises StorageError when the lock stays taken, and for anything that the disk refuses inside the block.
    """
    with locked(settings.home() / "locks" / f"{name}.lock", timeout_s=timeout_s), temporary(name) as folder:
        yield folder


@contextmanager
def temporary(name: str) -> Iterator[Path]:
    """Give an empty folder under tmp/ that is gone afterwards; what killed processes left of theirs goes first.

    Raises StorageError for anything that the disk refuses inside the block.
    """
    import secrets

    tmp = settings.home() / "tmp"
    folder, gone = (tmp / f"{name}.{owner.mark()}-{secrets.token_hex(4)}" for _ in range(2))
    with storage_errors(settings.home()):
        try:
            folder.mkdir(parents=True)
            for left in tmp.iterdir():
                if _is_abandoned(left):
                    _remove_tree(left)
            yield folder
        finally:
            # A thread whose file comes late finds no folder; it could put one into what is being emptied.
            with suppress(OSError):
                folder.rename(gone)
            _remove_tree(gone)
            _remove_tree(folder)


def check_space(need: int) -> None:
    """Raise StorageError unless the disk has room for `need` more bytes and a margin of 5 % and 1 MB."""
    import shutil  # loads three compressors, which a listing has no use for

    place = settings.home()
    while not place.exists():
        place = place.parent
    need, have = need + need // 20 + 1_000_000, shutil.disk_usage(place).free
    if need > have:
        raise StorageError(
            f"{settings.home()}: needs {need:,} bytes of disk space, has {have:,}",
            hint="free some space, or set HUB_HOME to a folder on another disk",
        )


def remove_file(path: Path) -> None:
    """Remove a file that may be read-only and may be gone already."""
    with suppress(FileNotFoundError):
        if os.name == "nt":
            path.chmod(0o666)  # Windows removes no read-only file
        path.unlink()


def _remove_tree(folder: Path) -> None:
    import shutil

    if os.name == "nt":
        for path in folder.rglob("*"):
            path.chmod(0o666)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(path: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold a lock that goes with the process; go on without it where the disk knows none. Raises StorageError."""
    from filelock import FileLock, Timeout  # 50 ms that a listing does not need

    lock = FileLock(path)
    patience = min(timeout_s, 5.0)
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            warn("waiting for another process at work on the same module (%s)", path)
            lock.acquire(timeout=timeout_s - patience)
    except Timeout:
        raise StorageError(
            f"{path}: another process has held this lock for {timeout_s:.0f} s",
            hint="wait for it or end it; if there is no such process on any machine, remove the file",
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise StorageError(
                f"{path}: {error.strerror}",
                hint="let your user write there, or choose another folder; HUB_HOME moves the cache",
            ) from error
        warn("%s: this disk has no locks, so two processes may fetch the same file", path)
    try:
        yield
    finally:
        lock.release()


def _is_abandoned(folder: Path) -> bool:
    """Say whether nobody works in a folder of tmp/ any more: its process has ended, or it is a day old."""
    found = _FOLDER.fullmatch(folder.name)
    if found is None:
        return False  # a download that can go on
    gone = owner.is_gone(found["owner"])
    if gone is None:
        with suppress(FileNotFoundError):
            return time.time() - folder.stat().st_mtime > ABANDONED_S
    return bool(gone)
