"""hub.lock: which modules a project uses, to the byte, so that another machine gets the same ones or none.

    {"schema": 1, "modules": [
      {"name", "version", "source", "files": [{"path", "sha256", "size"}, …]}, …]}

One version of each module, sorted, one fact a line, so that a change reads well in a diff. The digests decide;
`source` only says where the module came from, which is where it is looked for when no index has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from hub.errors import IntegrityError, NotFoundError, StorageError, TransferError
from hub.files import dump_json, write_text
from hub.naming import A_NAME, is_module_name
from hub.registry import resolve
from hub.registry.catalog.entry import WEIGHTS_FILE
from hub.registry.client import Located, located
from hub.registry.index import MAX_MODULE_BYTES, File, Module, Release, read_files
from hub.registry.install import install_release
from hub.registry.notice import warn
from hub.registry.origins import fetched, origin_of, release_of
from hub.registry.sources import BUNDLED, sources
from hub.registry.sources.base import Source
from hub.registry.sources.catalog import CatalogSource
from hub.registry.strict import SCHEMA, Place, check_schema, load_json
from hub.registry.workspace import locked as held

FILE_NAME = "hub.lock"
MAX_BYTES = 10 * MAX_MODULE_BYTES


@dataclass(frozen=True)
class Locked:
    """One module of a lock file: exactly this version with exactly these files."""

    name: str
    version: str
    source: str
    files: tuple[File, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "source": self.source,
            "files": [file.to_dict() for file in sorted(self.files, key=attrgetter("path"))],
        }


def read(path: Path) -> tuple[Locked, ...]:
    """Read a lock file. Raises NotFoundError without one, IndexFormatError with the place of what is wrong in it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(
            f"{path}: no such file", hint=f"hub install NAME --lock {path} makes it"
        ) from None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    top = Place(load_json(data, source=str(path), most=MAX_BYTES), str(path))
    check_schema(top)
    found: dict[str, Locked] = {}
    for place in top["modules"].each():
        locked = _locked(place)
        if locked.name in found:
            raise place["name"].fail("every module once")
        found[locked.name] = locked
    return tuple(found.values())


def write(path: Path, modules: Iterable[Locked]) -> None:
    """Write a lock file, whole or not at all; the same modules give the same bytes. Raises StorageError."""
    ordered = sorted(modules, key=attrgetter("name"))
    write_text(path, dump_json({"schema": SCHEMA, "modules": [module.to_dict() for module in ordered]}))


def add(path: Path, modules: Iterable[Located]) -> None:
    """Lock modules that are on this machine: what the file said about them before is replaced, the rest stays.

    Raises NotFoundError for a module that is not installed, IndexFormatError for a damaged file, StorageError.
    """
    new = [lock(module) for module in modules]
    path = Path(os.path.realpath(path))  # a link stays one
    beside = path.with_name(f".{path.name}.lock")
    with held(beside):  # else of two that read, add and write at once one would be lost
        try:
            before = read(path) if path.exists() else ()
            write(path, {module.name: module for module in [*before, *new]}.values())
        finally:
            with suppress(OSError):  # Windows removes no open file, but this one as it is released
                beside.unlink()


def lock(module: Located) -> Locked:
    """Give the lock of an installed or bundled module. Raises NotFoundError for a folder that is neither."""
    here = resolve.versions_here(module.name).get(module.version)
    if here is None or here.folder != module.folder:
        raise NotFoundError(
            f"{module.folder}: expected an installed module, found a folder of your own",
            hint="hub install it first",
        )
    return Locked(module.name, module.version, here.source, here.release.files)


def install_locked(module: Locked, *, lock_file: Path) -> Located:
    """Put exactly this module on this machine; without a network and a word when it is here already.

    What was changed here is put right. Any source will do that has the locked bytes: the bundled modules, the
    indexes of HUB_INDEX in order, the catalog, then the place that the lock names (hf://, git+https://,
    paddlehub://, an archive, a folder).
    Raises IntegrityError when what is here, or what every source has, are other bytes; NotFoundError when no source
    has this version; and what client.install raises. Nothing is visible before its digest agreed.
    """
    where = f"{lock_file}: {module.name} {module.version}"
    here = resolve.versions_here(module.name).get(module.version)
    if here:
        if set(here.release.files) != set(module.files):
            hint = f"hub uninstall {module.name}@{module.version}, then try again"
            if here.source == BUNDLED:
                hint = (
                    "it ships with hub: install the hub that it was locked with, or lock it again: "
                    f"hub install {module.name} --lock {lock_file}"
                )
            raise IntegrityError(
                f"{where} is on this machine with other files: {_differing(module, here.release.files)}",
                hint=hint,
            )
        if not here.wrong():
            return located(here)
    others, silent = [], None
    for source in sources():
        try:
            offer = source.find(module.name)
        except TransferError as error:  # the digests decide: another source may have the locked files
            silent = silent or error
            continue
        if offer is None or (release := _release(source, offer, module)) is None:
            continue
        if set(release.files) == set(module.files):
            if isinstance(source, CatalogSource):  # fetched, and refused if it is not the locked file
                offer = source.pin(module.name, weights=_weights(module), others=module.files)
            return _install(source, offer, release)
        others.append(f"{source.name} has other {_differing(module, release.files)}")
    if origin := origin_of(module.source):
        with fetched(origin) as folder:
            found = folder.module
            if locked := release_of(found, module.name, module.version, module.files):
                return _install(folder, found, locked)
            release = found.releases[0]
            same = (found.name, release.version) == (module.name, module.version)
            it_has = (
                f"other {_differing(module, release.files)}" if same else f"{found.name} {release.version}"
            )
            others.append(f"{folder.name} has {it_has}")
    if silent:
        raise silent
    if others:
        raise IntegrityError(
            f"{where}: expected the locked files, but {'; '.join(others)}",
            hint="if its publisher meant to change them, lock it again: "
            f"hub install {origin or module.name} --lock {lock_file}",
        )
    raise NotFoundError(
        f"{where}: no index has it; it came from {module.source}",
        hint="set HUB_INDEX to an index that has it, or hub install it from a file and try again",
    )


def _release(source: Source, offer: Module, module: Locked) -> Release | None:
    """Give what a source has under this version; of a checkpoint that was never here, what the lock says it is."""
    release = offer.release(module.version)
    weights = _weights(module)
    if release and isinstance(source, CatalogSource) and not release.files and weights:
        expected = source.expected(module.name, weights, module.files)
        return expected.release(module.version) if expected else None
    return release


def _weights(module: Locked) -> File | None:
    """Give the checkpoint of a module from the catalog."""
    return next((file for file in module.files if file.path == WEIGHTS_FILE), None)


def _install(source: Source, offer: Module, release: Release) -> Located:
    resolve.refuse_unmet(offer.name, release)
    if release.yanked:
        warn("%s %s was withdrawn: %s", offer.name, release.version, release.yanked)
    pinned = replace(offer, releases=(release,))
    record = install_release(source, pinned, release, reference=f"{offer.name}@{release.version}")
    return Located(record.name, record.version, record.folder, record.source, verified=True)


def _locked(place: Place) -> Locked:
    if not is_module_name(place["name"].value):
        raise place["name"].fail(A_NAME)
    return Locked(
        name=str(place["name"].value),
        version=place["version"].version(),
        source=place["source"].line(),
        files=read_files(place["files"]),
    )


def _differing(module: Locked, files: Sequence[File]) -> str:
    paths = sorted({file.path for file in {*module.files} ^ {*files}})
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
