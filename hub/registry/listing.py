"""What is available by name, from where, and what of it is on this machine: `hub list`, `search` and `show`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hub.errors import BadReferenceError, NotFoundError, TransferError
from hub.registry import cache, resolve
from hub.registry.index import Module, Release, Summary
from hub.registry.reference import Reference, newest_first
from hub.registry.requirements import have_version
from hub.registry.sources import BUNDLED, sources
from hub.registry.sources.folder import FolderSource, module_folder


class Record(NamedTuple):
    """One module as `hub list` shows it: the version on this machine if there is one, else the newest available."""

    name: str
    version: str
    task: str
    source: str
    """Where it is or came from: "bundled", an index, a folder."""
    installed: bool
    """Whether it is on this machine; what is bundled always is."""
    summary: str
    license: str
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain values, for JSON."""
        return self._asdict()


def list_modules(task: str | None = None, *, installed_only: bool = False) -> list[Record]:
    """Give every module that is available by name, one record each, sorted by name.

    What the catalog only knows of, because its architecture is not built yet, is found by `search` and `show`.
    An index that cannot answer is left out, with a warning.
    """
    from hub.registry.catalog.entry import NOT_BUILT

    records = _records(task, installed_only=installed_only)
    return [record for record in records if record.installed or not record.summary.startswith(NOT_BUILT)]


def _records(
    task: str | None,
    *,
    installed_only: bool = False,
    matches: Callable[[Record | Summary], bool] = lambda row: True,
) -> list[Record]:
    """Give the records of a task that match, sorted by name: an index may have 100,000, and no others are made."""

    def wanted(row: Record | Summary) -> bool:
        return (task is None or row.task == task) and matches(row)

    installed = [
        record_of(here.module, here.release, source=here.source, installed=True)
        for name in {record.name for record in cache.installed()}
        if (here := resolve.here(Reference("name", name=name)))
    ]
    seen = {record.name for record in installed}
    records = list(filter(wanted, installed))
    for source in sources():
        local = source.name == BUNDLED
        if installed_only and not local:
            continue
        for row in resolve.rows(source):
            if row.name in seen:
                continue
            seen.add(row.name)
            if wanted(row):
                records.append(
                    Record(
                        name=row.name,
                        version=row.version,
                        task=row.task,
                        source=source.name,
                        installed=local,
                        summary=row.summary,
                        license=row.license,
                        size_bytes=row.size,
                    )
                )
    return sorted(records)


def search(query: str = "", *, task: str | None = None) -> list[Record]:
    """Give the modules that contain every word in name, task or summary; the best matches of a name come first."""
    words = query.lower().split()

    def matches(record: Record | Summary) -> bool:
        text = f"{record.name} {record.task} {record.summary}".lower()
        return all(word in text for word in words)

    def rank(record: Record) -> int:
        name = record.name
        return min((0 if name == word else 1 if name.startswith(word) else 2 for word in words), default=0)

    return sorted(_records(task, matches=matches), key=rank)


def show(text: str) -> dict[str, Any]:
    """Give all that is known of a module: its record, where it is, its requirements, releases and files.

    The files are those of the version on this machine, else of the newest one that will do. A module folder is one
    release, that of its module.yaml. Raises NotFoundError, SpecError for a folder that holds something else,
    IntegrityError when the files on this machine were changed.
    """
    reference = Reference.parse(text)
    if reference.kind == "folder":
        own = FolderSource(module_folder(reference.location))
        [release] = own.module.releases
        return _facts(own.module, release, {release.version: release}, folder=own.folder)
    if reference.kind != "name":
        raise BadReferenceError(
            f"expected a module name or ./folder, found {text!r}", hint="hub list shows the names"
        )
    here = resolve.here(reference)
    if here:
        here.check()
    offers: list[resolve.Offer] = []
    try:
        offers.extend(resolve.offers_of(reference.name))
    except (TransferError, NotFoundError):
        fitting = (resolve.fitting(module, reference, must_run=False) for _, module in offers)
        if here is None and not any(fitting):
            raise
    local = resolve.versions_here(reference.name)
    releases = {release.version: release for _, module in reversed(offers) for release in module.releases}
    for version, found in local.items():
        releases[version] = replace(found.release, yanked=resolve.withdrawn(found.release, offers))
    if here:
        return _facts(
            here.module, here.release, releases, source=here.source, folder=here.folder, installed=local
        )
    origin, module, release = resolve.pick(reference, offers, must_run=False)
    return _facts(module, release, releases, source=origin.name, installed=local)


def _facts(
    module: Module,
    release: Release,
    releases: Mapping[str, Release],
    *,
    source: str = "",
    folder: Path | None = None,
    installed: Collection[str] = (),
) -> dict[str, Any]:
    """Give what `show` gives of one release of a module, from its folder where no `source` is named."""
    is_here = release.version in installed
    return {
        **record_of(module, release, source=source or str(folder), installed=is_here).to_dict(),
        "folder": str(folder) if folder else None,
        "requires": [
            {"name": name, "needs": versions, "have": have_version(name)}
            for name, versions in release.requires.items()
        ],
        "releases": [
            {
                "version": version,
                "size_bytes": releases[version].size,
                "installed": version in installed,
                "yanked": releases[version].yanked or None,
            }
            for version in newest_first(releases, prereleases=True)
        ],
        "files": [
            {"path": file.path, "size_bytes": file.size, "sha256": file.sha256} for file in release.files
        ],
    }


def record_of(module: Module, release: Release, *, source: str, installed: bool) -> Record:
    """Give what is shown of one release of a module."""
    return Record(
        name=module.name,
        version=release.version,
        task=module.task,
        source=source,
        installed=installed,
        summary=module.summary,
        license=module.license,
        size_bytes=release.size,
    )
