"""What the cache holds and what it takes of the disk: `hub cache ls`.

Sizes are what the disk gave for the bytes: a file with several names (a blob and its module) counts once, and to
remove one name frees nothing while another is left. Looking writes nothing and opens no connection.
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

from hub import settings
from hub.files import is_unfinished, reading_errors
from hub.registry import cache, owner

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


def survey() -> Survey:
    """Give what is in the cache and what it takes; modules whose record is damaged are left out, with a warning.

    Raises StorageError for a cache that cannot be read.
    """
    records = cache.installed()
    with reading_errors(settings.home()):
        total, _ = measure(_tree(settings.home()))
        return Survey(tuple(_stored(record, records) for record in records), tuple(_remnants(records)), total)


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


def _stored(record: cache.Installed, records: Sequence[cache.Installed]) -> Stored:
    digests = {file.sha256 for file in record.files}
    disk_bytes, _ = measure([*_tree(record.folder), *map(cache.blob_path, digests)])
    _, frees_bytes = measure(paths_of([record], records))
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


def paths_of(chosen: Sequence[cache.Installed], records: Sequence[cache.Installed]) -> list[Path]:
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
        for path in files_below(home / folder):
            if is_unfinished(path.name):
                yield _remnant("leftover", path, gone=None)
    used = {file.sha256 for record in records for file in record.files}
    working = any(item.busy for item in in_tmp)
    for path in blobs():
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


def blobs() -> list[Path]:
    """Give all that is among the blobs, sorted."""
    return sorted(files_below(settings.home() / "blobs" / "sha256"))


def files_below(folder: Path) -> Iterator[Path]:
    """Give all below a folder that is no folder; links are not followed."""
    return (path for path in _tree(folder)[1:] if path.is_symlink() or not path.is_dir())


def _tree(path: Path) -> list[Path]:
    """Give a file or folder and all that is below it; links are not followed."""
    found = [path]
    for parent, folders, names in os.walk(path):
        found += [Path(parent, name) for name in [*folders, *names]]
    return found
