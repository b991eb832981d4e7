"""What the cache holds and what of it nobody needs: `hub cache ls | verify | prune | rm`.

Sizes are what the disk gave for the bytes: a file with several names (a blob and its module) counts once, and to
remove one name frees nothing while another is left. Looking and verifying write nothing and open no connection.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from hub import settings
from hub.errors import IntegrityError, StorageError
from hub.files import is_unfinished, reading_errors
from hub.naming import is_digest
from hub.registry import cache, owner, resolve
from hub.registry.client import uninstall
from hub.registry.index import File
from hub.registry.manifest import problem
from hub.registry.workspace import remove_file, temporary

DAY_S = 24 * 3600.0

# The two kinds of folders in tmp/ carry their owner: NAME.OWNER-xxxxxxxx is work in progress (workspace.py), and
# KEY.OWNER-xxxxxxxx.part or KEY.free-xxxxxxxx.part a download that can go on (partial.py).
_OWNED = re.compile(r".+\.(?P<owner>free|[0-9a-f]+-[0-9]+-[0-9]+)-[0-9a-f]{8}(?P<part>\.part)?")


@dataclass(frozen=True)
class Stored:
    """An installed version and what it takes of the disk."""

    name: str
    version: str
    folder: Path
    disk_bytes: int
    frees_bytes: int
    """What its removal gives back: less than it takes, when other modules have files with the same bytes."""
    shares_with: tuple[str, ...]
    """These modules, as name@version."""
    used_at: float
    """When it was last used, else installed: seconds since 1970."""


@dataclass(frozen=True)
class Remnant:
    """Something in the cache that belongs to no module."""

    kind: str
    """blob: bytes of no module. partial: a download that can go on. work: of an install. features: of a training, which
    another one computes again. data set: a published one. lock. leftover: the rest."""
    path: Path
    disk_bytes: int
    frees_bytes: int
    changed_at: float
    busy: bool
    """Whether a process that lives, or may live on another machine, could be using it. A lock is asked when pruned."""

    def is_useless(self, *, everything: bool) -> bool:
        """Say whether to prune it. Blobs, downloads and features of the last day would save the next command work."""
        old = time.time() - self.changed_at > DAY_S
        return (
            self.kind != "data set" and not self.busy and (self.kind in ("work", "lock") or old or everything)
        )


@dataclass(frozen=True)
class Survey:
    """All that is in the cache; `disk_bytes` is what the whole of settings.home() takes."""

    modules: tuple[Stored, ...]
    remnants: tuple[Remnant, ...]
    disk_bytes: int


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


def survey() -> Survey:
    """Give what is in the cache and what it takes; modules whose record is damaged are left out, with a warning.

    Raises StorageError for a cache that cannot be read.
    """
    records = cache.installed()
    with reading_errors(settings.home()):
        total, _ = measure(_tree(settings.home()))
        return Survey(tuple(_stored(record, records) for record in records), tuple(_remnants(records)), total)


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
    check.blobs(_blobs() if not wanted else [cache.blob_path(digest) for digest in sorted(set(digests))])
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
    _, frees_bytes = measure(_paths(chosen, cache.installed()))
    for record in [] if dry_run else chosen:
        uninstall(record.name, record.version)
    return Removed(chosen, frees_bytes)


def measure(paths: Iterable[Path]) -> tuple[int, int]:
    """Give the bytes of the disk that files and folders take, and those that removing all of them would free."""
    found: dict[tuple[int, int], list[os.stat_result]] = {}
    for path in set(paths):
        with suppress(FileNotFoundError):  # another process was faster
            status = path.lstat()
            found.setdefault((status.st_dev, status.st_ino), []).append(status)
    takes = frees = 0
    for names in found.values():
        size = (
            512 * names[0].st_blocks if hasattr(names[0], "st_blocks") else names[0].st_size
        )  # Windows has none
        takes += size
        if stat.S_ISDIR(names[0].st_mode) or len(names) >= names[0].st_nlink:
            frees += size
    return takes, frees


def data_sets() -> list[Path]:
    """Give the folders of the published data sets that are here."""
    root = settings.home() / "datasets"
    names = (name for name in cache.listing(root) if name not in ("archives", "partial"))
    return [root / name for name in names if (root / name).is_dir() and not is_unfinished(name)]


def disk_bytes(folders: Iterable[Path]) -> int:
    """Give the bytes that removing these folders would free."""
    return measure(path for folder in folders for path in _tree(folder))[1]


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
        for path in sorted(set(_files(folder)) - ours):
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


def _stored(record: cache.Installed, records: Sequence[cache.Installed]) -> Stored:
    digests = {file.sha256 for file in record.files}
    disk_bytes, _ = measure([*_tree(record.folder), *map(cache.blob_path, digests)])
    _, frees_bytes = measure(_paths([record], records))
    sharing = (other for other in records if other is not record)
    return Stored(
        name=record.name,
        version=record.version,
        folder=record.folder,
        disk_bytes=disk_bytes,
        frees_bytes=frees_bytes,
        shares_with=tuple(
            f"{other.name}@{other.version}"
            for other in sharing
            if digests & {file.sha256 for file in other.files}
        ),
        used_at=_changed_at([record.folder / cache.RECORD]),
    )


def _paths(chosen: Sequence[cache.Installed], records: Sequence[cache.Installed]) -> list[Path]:
    """Give all that goes with these modules: their folders, and the blobs that no other module uses."""
    folders = {record.folder for record in chosen}
    others = {file.sha256 for other in records if other.folder not in folders for file in other.files}
    digests = {file.sha256 for record in chosen for file in record.files} - others
    parents = {folder.parent for folder in folders}
    emptied = [parent for parent in parents if {parent / name for name in cache.listing(parent)} <= folders]
    trees = (path for folder in folders for path in _tree(folder))
    return [*emptied, *trees, *map(cache.blob_path, digests)]


def _remnants(records: Sequence[cache.Installed]) -> Iterator[Remnant]:
    home = settings.home()
    in_tmp = [_owned(home / "tmp" / name) for name in cache.listing(home / "tmp")]
    yield from in_tmp
    for name in cache.listing(home / "locks"):
        yield _remnant("lock", home / "locks" / name)
    for name in cache.listing(home / "features"):
        if not is_unfinished(name):
            yield _remnant("features", home / "features" / name)
    yield from _of_datasets(home / "datasets")
    for folder in ("modules", "indexes", "catalog", "features"):
        for path in _files(home / folder):
            if is_unfinished(path.name):
                yield _remnant("leftover", path, gone=None)
    used = {file.sha256 for record in records for file in record.files}
    working = any(item.busy for item in in_tmp)
    for path in _blobs():
        if path.name not in used:
            yield replace(_remnant("blob", path), busy=working)


def _of_datasets(root: Path) -> Iterator[Remnant]:
    """Give the published sets, and what fetches of them have left behind. Records stay: they hold digests."""
    for name in cache.listing(root):
        if name.endswith(".lock"):
            yield _remnant("lock", root / name)
        elif is_unfinished(name):
            yield _remnant("leftover", root / name, gone=None)
    for folder in data_sets():
        yield _remnant("data set", folder)
    for name in cache.listing(root / "partial"):
        yield _owned(root / "partial" / name)
    for name in cache.listing(root / "archives"):
        yield _remnant("leftover", root / "archives" / name, gone=None)


def _owned(path: Path) -> Remnant:
    """Tell what something in tmp/, or among partial downloads, is by its name, which says whose it is."""
    if path.name.endswith(".lock"):
        return _remnant("lock", path)
    found = _OWNED.fullmatch(path.name)
    if found is None:
        return _remnant("leftover", path, gone=None)
    gone = True if found["owner"] == "free" else owner.is_gone(found["owner"])
    return _remnant("partial" if found["part"] else "work", path, gone=gone)


def _remnant(kind: str, path: Path, *, gone: bool | None = True) -> Remnant:
    """Describe a remnant whose owner is gone or not; None: nobody knows, and a day of silence decides."""
    paths = _tree(path)
    changed_at = _changed_at(paths)
    busy = not gone if gone is not None else time.time() - changed_at <= DAY_S
    return Remnant(kind, path, *measure(paths), changed_at, busy)


def _changed_at(paths: Iterable[Path]) -> float:
    """Give when the youngest of them was written, 0 when all are gone."""
    times = [0.0]
    for path in paths:
        with suppress(FileNotFoundError):  # another process was faster
            times.append(path.lstat().st_mtime)
    return max(times)


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


def _blobs() -> list[Path]:
    return sorted(_files(settings.home() / "blobs" / "sha256"))


def _files(folder: Path) -> Iterator[Path]:
    """Give all below a folder that is no folder; links are not followed."""
    return (path for path in _tree(folder)[1:] if path.is_symlink() or not path.is_dir())


def _tree(path: Path) -> list[Path]:
    """Give a file or folder and all that is below it; links are not followed."""
    found = [path]
    for parent, folders, names in os.walk(path):
        found += [Path(parent, name) for name in [*folders, *names]]
    return found
