"""Everything hub keeps on disk, under settings.home(); the only writer of its blobs and modules.

    blobs/sha256/ab/<digest>     every file once, under the sha256 of its bytes, read-only
    modules/<name>/<version>/    a module folder: hard links to blobs (copies where the disk has no links)
      .hub.json                  what was put there, from where, and how to notice that it changed
    tmp/                         work in progress, never looked into by a reader
    locks/                       one writer at a time for each module

Two promises. A blob or a module is either absent or complete and verified: each appears in one rename, after its
bytes were hashed and flushed. And no promise leans on a lock: one that fails (some network disks) costs a second
transfer, never a wrong file. Reading writes nothing that it needs, so a read-only folder can be shared.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path

from hub import settings
from hub.errors import HubError, IndexFormatError, IntegrityError, StorageError
from hub.files import (
    dump_json,
    exchange,
    flush,
    is_unfinished,
    put,
    reading_errors,
    sha256_of,
    storage_errors,
    write_bytes,
)
from hub.naming import VERSION, is_digest, is_module_name
from hub.registry.index import MAX_MODULE_BYTES, File, Module, read_files, read_requires
from hub.registry.manifest import Manifest, problem
from hub.registry.notice import warn
from hub.registry.strict import DAMAGED, SCHEMA, Place, check_schema, load_json, seen
from hub.registry.workspace import remove_file

RECORD = ".hub.json"
MOST_ASKED = 20
"""References of one module that are remembered."""


@dataclass(frozen=True)
class Installed:
    """One installed version: the content of its .hub.json, and the folder where it is."""

    name: str
    version: str
    task: str
    summary: str
    license: str
    source: str
    """Where it came from: an index, or a folder or file of the user."""
    asked: Mapping[str, str]
    """The references that led to it, each with when it last did."""
    requires: Mapping[str, str]
    files: tuple[File, ...]
    folder: Path
    stamps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """mtime in ns and inode of each file: with the size, what changes when somebody edits it."""

    @property
    def reference(self) -> str:
        """What was asked for, the last time."""
        return max(self.asked, key=self.asked.__getitem__)

    @property
    def installed_at(self) -> str:
        """When that was."""
        return self.asked[self.reference]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def blob_path(digest: str) -> Path:
    """Give where the blob with this sha256 is, or would be."""
    if not is_digest(digest):
        raise IntegrityError(f"expected a sha256 of 64 hex digits, found {digest!r}")
    return settings.home() / "blobs" / "sha256" / digest[:2] / digest


def has_blob(file: File) -> bool:
    """Say whether the bytes of a file are here; they are hashed to be sure."""
    blob = blob_path(file.sha256)
    return not problem(blob.parent, replace(file, path=blob.name))


def publish(temporary: Path, digest: str) -> Path:
    """Make a file of the same disk a blob, the only way one appears; `temporary` is gone afterwards.

    Raises IntegrityError when its sha256 is another one, StorageError when it cannot be kept.
    """
    blob = blob_path(digest)
    with storage_errors(blob):
        try:
            found = sha256_of(temporary)
            if found != digest:
                raise IntegrityError(f"{temporary.name}: expected sha256 {digest}, found {found}")
            flush(temporary)
            temporary.chmod(0o444)
            blob.parent.mkdir(parents=True, exist_ok=True)
            put(temporary, blob)
            flush(blob.parent)
        finally:
            remove_file(temporary)
    return blob


def installed(name: str | None = None) -> list[Installed]:
    """Give every installed version, of one module or of all; a damaged record is left out, with a warning.

    Raises StorageError for a cache that cannot be read.
    """
    found = []
    modules = settings.home() / "modules"
    for each in listing(modules) if name is None else [name]:
        for version in listing(modules / each):
            try:
                module = read(each, version)
            except IntegrityError as error:
                warn("%s", error)
            else:
                found += [module] if module else []
    return found


def read(name: str, version: str) -> Installed | None:
    """Give the record of an installed version, None when it is not installed.

    Raises IntegrityError when the record is damaged or speaks of another module.
    """
    if not is_module_name(name) or not VERSION.fullmatch(version):
        return None
    folder = settings.home() / "modules" / name / version
    path = folder / RECORD
    try:
        data = path.read_bytes()
        return _parse_record(data, str(path), name=name, version=version, folder=folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (IndexFormatError, OSError) as error:
        why, hint = (error.message, error.hint) if isinstance(error, HubError) else (str(error), DAMAGED)
        again = f"move {folder} away and install the module again"
        raise IntegrityError(
            f"the record of an installed module cannot be read: {why}",
            hint=again if hint == DAMAGED else f"{hint}, or {again}",
        ) from None


def changed(module: Installed) -> list[str]:
    """Give what is wrong with the files of an installed module, quickly: only a file that was touched is read.

    A copied cache has new inodes everywhere; files that turn out right are stamped anew where that can be written.
    """
    stamps = {file.path: _stamp(module, file) for file in module.files}
    if stamps == module.stamps:
        return []
    touched = [file for file in module.files if stamps[file.path] != module.stamps.get(file.path)]
    found = [wrong for file in touched if (wrong := problem(module.folder, file))]
    if not found:
        with suppress(HubError, OSError):  # a read-only cache is hashed again the next time
            _write_record(module, stamps, parents=False)  # else one uninstalled meanwhile would be back
    return found


def add(module: Module, version: str, *, source: str, reference: str, work: Path) -> Installed:
    """Make a release visible, in one rename, from blobs that are all here.

    The same files standing there already are given back, and replaced when they are damaged.
    Raises FileNotFoundError when a blob was removed meanwhile, StorageError when something else is in the way,
    SpecError for a module.yaml that is none, IntegrityError for one that promises other bytes.
    """
    import shutil  # loads three compressors, which a listing has no use for

    release = module.release(version)
    assert release is not None, "the caller took the version from this module"
    target = settings.home() / "modules" / module.name / version
    replaced = read(module.name, version)
    staged = Installed(
        name=module.name,
        version=version,
        task=module.task,
        summary=module.summary,
        license=module.license,
        source=seen(source),
        # What is put right was not asked for anew: a branch that led to it may have gone on since.
        asked={seen(reference): _now()} | dict(replaced.asked if replaced else {}),
        requires=release.requires,
        files=release.files,
        folder=work / "module",
    )
    shutil.rmtree(staged.folder, ignore_errors=True)  # of an earlier try
    for file in staged.files:
        path = staged.folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        _link(blob_path(file.sha256), path)
    staged = _in_its_own_words(staged)
    _write_record(staged, {file.path: _stamp(staged, file) for file in staged.files})
    for path in (staged.folder, *staged.folder.rglob("*/")):
        flush(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        staged.folder.rename(target)
    except OSError:
        if not target.exists():
            raise
        _replace(staged, target, work / "replaced")
    flush(target.parent)
    there = read(module.name, version)
    if there is None:
        raise StorageError(f"{target}: another process removed it", hint="install it again")
    return there


def remember(name: str, version: str, *, reference: str) -> None:
    """Note that a reference led to an installed version just now; a cache that cannot be written stays as it is."""
    with suppress(HubError, OSError):
        if there := read(name, version):
            asked = sorted({**there.asked, seen(reference): _now()}.items(), key=itemgetter(1))
            again = replace(there, asked=dict(asked[-MOST_ASKED:]))
            _write_record(again, there.stamps, parents=False)  # else one uninstalled meanwhile would be back


def mark_used(folder: Path) -> None:
    """Note that a module was used now, as the mtime of its record; goes without in a cache that is read-only."""
    with suppress(OSError):
        os.utime(folder / RECORD)


def remove(module: Installed, work: Path) -> None:
    """Make a module vanish, in one rename, then free the blobs that no other module uses.

    Raises StorageError when somebody else's files are in its folder: only what hub put there is removed.
    """
    ours = {RECORD, *(file.path for file in module.files)}
    paths = (path for path in module.folder.rglob("*") if path.is_symlink() or not path.is_dir())
    found = {path.relative_to(module.folder).as_posix() for path in paths if not is_unfinished(path.name)}
    theirs = sorted(found - ours)
    if theirs:
        raise StorageError(
            f"{module.folder} holds files that hub did not put there: {', '.join(theirs[:5])}",
            hint="move them away, then uninstall again",
        )
    module.folder.rename(work / f"removed-{module.version}")
    with suppress(OSError):  # other versions of it are there
        module.folder.parent.rmdir()
    used = {file.sha256 for other in installed() for file in other.files}
    for digest in {file.sha256 for file in module.files} - used:
        remove_file(blob_path(digest))


def _now() -> str:
    """Give the time in UTC, so fine that of two installs one is the last."""
    seconds, rest = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09}Z"


def _in_its_own_words(staged: Installed) -> Installed:
    """Give a staged module with what its own module.yaml says of it: a page has the words of the newest release."""
    where = f"{staged.source}: {staged.name} {staged.version}"
    facts = Manifest.of_release(staged.folder, staged.name, staged.version, staged.files, where=where)
    return replace(staged, task=facts.task, summary=facts.summary, license=facts.license)


def _replace(staged: Installed, target: Path, aside: Path) -> None:
    """Put a staged module where a damaged copy of it stands; anything else that stands there stays."""
    there = read(staged.name, staged.version)
    if there is None or set(there.files) != set(staged.files):
        raise StorageError(
            f"{target} is in the way and is no copy of {staged.name} {staged.version} of {staged.source}",
            hint="move it away, or uninstall it",
        )
    if changed(there) and not exchange(staged.folder, target):
        target.rename(aside)
        staged.folder.rename(target)


def _parse_record(data: bytes, source: str, *, name: str, version: str, folder: Path) -> Installed:
    top = Place(load_json(data, source=source, most=MAX_MODULE_BYTES), source)
    check_schema(top)
    for key, expected in (("name", name), ("version", version)):
        if top[key].value != expected:
            raise top[key].fail(repr(expected))
    return Installed(
        name=name,
        version=version,
        task=top["task"].task(),
        summary=top["summary"].line(),
        license=top["license"].line(),
        source=top["source"].line(),
        asked=_read_asked(top),
        requires=read_requires(top["requires"]),
        files=read_files(top["files"]),
        folder=folder,
        stamps={
            place["path"].path(): (place["mtime_ns"].integer(), place["inode"].integer())
            for place in top["files"].each()
        },
    )


def _read_asked(top: Place) -> dict[str, str]:
    """Read which references led to a module; a record that an older hub wrote has the last one alone."""
    asked = {top["reference"].line(): top["installed_at"].line()}
    if place := top.get("asked"):
        if not isinstance(place.value, dict):
            raise place.fail("an object {…}")
        asked |= {replace(place, value=words).line(): place[words].line() for words in place.value}
    return asked


def _write_record(module: Installed, stamps: Mapping[str, tuple[int, int]], *, parents: bool = True) -> None:
    """Write .hub.json, with the stamps that the files had before their bytes were checked."""
    files = [
        {**file.to_dict(), "mtime_ns": stamps[file.path][0], "inode": stamps[file.path][1]}
        for file in module.files
    ]
    record = {
        "schema": SCHEMA,
        "name": module.name,
        "version": module.version,
        "task": module.task,
        "summary": module.summary,
        "license": module.license,
        "source": module.source,
        "reference": module.reference,
        "installed_at": module.installed_at,
        "asked": dict(module.asked),
        "requires": dict(module.requires),
        "files": files,
    }
    write_bytes(module.folder / RECORD, dump_json(record).encode(), parents=parents)


def _stamp(module: Installed, file: File) -> tuple[int, int]:
    """Give the stamp of a file as it is now, one that no file has when it is missing or has another size."""
    with suppress(OSError):
        found = (module.folder / file.path).lstat()
        if found.st_size == file.size:
            return found.st_mtime_ns, found.st_ino
    return 0, 0


def _link(blob: Path, path: Path) -> None:
    import shutil

    try:
        os.link(blob, path)
    except FileNotFoundError:
        raise
    except OSError:  # no hard links on this disk, or too many to this blob
        shutil.copyfile(blob, path)
        flush(path)
        path.chmod(0o444)


def listing(folder: Path) -> list[str]:
    """Give the names in a folder, none where there is no folder. Raises StorageError when it cannot be read."""
    with reading_errors(folder):
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
