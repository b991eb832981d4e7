"""Whether what the cache holds is right, and how to get rid of what nobody needs: `hub cache verify | prune | rm`.

Verifying writes nothing and opens no connection.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hub import settings
from hub.errors import IntegrityError, StorageError
from hub.files import is_unfinished
from hub.naming import is_digest
from hub.registry import cache, resolve
from hub.registry.client import uninstall
from hub.registry.index import File
from hub.registry.manifest import problem
from hub.registry.survey import Remnant, blobs, files_below, measure, paths_of, survey
from hub.registry.workspace import remove_file, temporary


class Finding(NamedTuple):
    """Something that is not as it should be: where, relative to the cache, and what."""

    path: str
    problem: str
    removed: bool = False


class Verified(NamedTuple):
    """What `verify` read, and what it found."""

    files: int
    findings: list[Finding]


class Removed(NamedTuple):
    """Modules that are gone, or would be, and the bytes that this gives back."""

    modules: list[cache.Installed]
    frees_bytes: int


def verify(wanted: Sequence[tuple[str, str | None]] = (), *, repair: bool = False) -> Verified:
    """Read every byte of these modules (name, version or None), or of the whole cache, without a network.

    `repair` removes damaged blobs and damaged files of modules, so that the next install brings the right ones; what
    hub did not put there stays. Raises NotFoundError for a module that is not installed, StorageError where nothing
    can be removed.
    """
    if repair:
        _refuse_read_only()
    modules = settings.home() / "modules"
    versions = [
        (name, version) for name in cache.listing(modules) for version in cache.listing(modules / name)
    ]
    chosen = [] if wanted else versions
    for name, version in wanted:
        found = resolve.matching([there for other, there in versions if other == name], version)
        if not found:
            hint = "hub cache ls lists what is; hub verify also checks bundled modules"
            raise resolve.not_installed(name, version, {other for other, _ in versions}, hint)
        chosen += [(name, there) for there in found if (name, there) not in chosen]
    check = _Check(repair=repair)
    digests = [file.sha256 for name, version in chosen for file in check.module(name, version)]
    check.blobs(blobs() if not wanted else [cache.blob_path(digest) for digest in sorted(set(digests))])
    return Verified(check.files, check.findings)


def prune(*, everything: bool = False, dry_run: bool = False) -> list[Remnant]:
    """Remove what no module and no living process needs, and give what was removed, or would be.

    Blobs, partial downloads and features go when nobody touched them for a day, or all of them with `everything`; the
    work of dead processes and locks that nobody holds always. While an install is under way, blobs stay: they may be
    its own. A training that has features open keeps them.
    Raises StorageError where nothing can be removed.
    """
    if not settings.home().is_dir():
        return []
    _refuse_read_only()
    useless = [item for item in survey().remnants if item.is_useless(everything=everything)]
    if dry_run:
        return [item for item in useless if item.kind != "lock" or _is_free(item.path)]
    with temporary("prune") as work:
        return [item for number, item in enumerate(useless) if _discard(item, work / str(number))]


def remove(wanted: Sequence[tuple[str, str | None]], *, dry_run: bool = False) -> Removed:
    """Uninstall modules (name, version or None for all versions), and give what this frees; all of them or none.

    Raises what client.uninstall raises: NotFoundError, UsageError for a bundled one, StorageError.
    """
    found = {record.folder: record for name, version in wanted for record in resolve.removable(name, version)}
    if found:
        _refuse_read_only()
    chosen = list(found.values())
    _, frees_bytes = measure(paths_of(chosen, cache.installed()))
    for record in [] if dry_run else chosen:
        uninstall(record.name, record.version)
    return Removed(chosen, frees_bytes)


class _Check:
    """Hashes files, each once however many names it has, and notes what is wrong."""

    def __init__(self, *, repair: bool) -> None:
        self.files = 0
        self.findings: list[Finding] = []
        self._repair = repair
        self._right: set[tuple[int, int, str]] = set()

    def module(self, name: str, version: str) -> tuple[File, ...]:
        """Check the files of an installed version, and give what they should be."""
        folder = settings.home() / "modules" / name / version
        try:
            record = cache.read(name, version)
        except IntegrityError as error:
            self._note(folder, error.message)
            return ()
        if record is None:
            self._note(folder, "extra, hub did not put it there")
            return ()
        for file in record.files:
            self._file(folder, file)
        ours = {folder / cache.RECORD, *(folder / file.path for file in record.files)}
        for path in sorted(set(files_below(folder)) - ours):
            if not is_unfinished(path.name):
                self._note(path, "extra, hub did not put it there")
        return record.files

    def blobs(self, paths: Iterable[Path]) -> None:
        """Check blobs, each against its own name."""
        for path in paths:
            if not is_digest(path.name) or path != cache.blob_path(path.name):
                self._note(path, "extra, hub did not put it there")
                continue
            with suppress(FileNotFoundError):  # a module that has its files can do without
                self._file(path.parent, File(path.name, path.name, path.lstat().st_size))

    def _file(self, folder: Path, file: File) -> None:
        path = folder / file.path
        self.files += 1
        inode = None
        with suppress(OSError):
            status = path.lstat()
            inode = (status.st_dev, status.st_ino, file.sha256)
        if inode in self._right:
            return
        if wrong := problem(folder, file):
            # What may not even be read is not known to be damaged, and a link is somebody else's.
            removable = path.is_file() and not path.is_symlink() and os.access(path, os.R_OK)
            if self._repair and removable:
                remove_file(path)
            self._note(path, wrong.removeprefix(f"{file.path}: "), removed=self._repair and removable)
        elif inode:
            self._right.add(inode)

    def _note(self, path: Path, wrong: str, *, removed: bool = False) -> None:
        self.findings.append(Finding(path.relative_to(settings.home()).as_posix(), wrong, removed))


def _discard(item: Remnant, to: Path) -> bool:
    """Remove a remnant, and say whether it is gone: not when somebody has taken it meanwhile."""
    if item.kind == "lock":
        return _is_free(item.path, remove=True)
    try:
        item.path.rename(to)  # in one step, so that whoever goes on with a download has all of it or nothing
    except FileNotFoundError:
        return item.kind == "work"  # dead work goes whenever a folder in tmp/ is made, so also just now
    except PermissionError:
        if os.name != "nt":
            raise
        return False  # Windows moves nothing that is open
    return True


def _is_free(path: Path, *, remove: bool = False) -> bool:
    """Say whether nobody holds a lock, and remove it then, while it is ours."""
    from filelock import FileLock

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except OSError:  # held (filelock's Timeout is one), another user's, or a disk without locks
        return False
    try:
        if remove:
            with suppress(PermissionError):  # Windows removes no open file, and this one when it is released
                remove_file(path)
    finally:
        lock.release()
    return True


def _refuse_read_only() -> None:
    """Raise StorageError where nothing can be removed."""
    import tempfile

    home = settings.home()
    try:
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise StorageError(
            f"{home}: nothing can be removed from this cache: {error.strerror}",
            hint="run this as its owner, where it can be written; hub cache ls and hub cache verify work here too",
        ) from error
