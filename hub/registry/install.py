"""One release of one source into the cache: what is missing is fetched, every byte checked, then all of it shown."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hub import settings
from hub.errors import IntegrityError, OfflineError, StorageError
from hub.registry import cache
from hub.registry.index import File, Module, Release
from hub.registry.manifest import refuse_code
from hub.registry.sources.base import Source
from hub.registry.sources.progress import progress_bar
from hub.registry.workspace import check_space, working

TRIES = 3
OTHER_FILE = "the source has another file than it promised; nothing was installed"


def install_release(source: Source, module: Module, release: Release, *, reference: str) -> cache.Installed:
    """Give the installed release; what is here already, and right, is not fetched again.

    Raises IntegrityError when the source has other bytes than it promised, OfflineError when HUB_OFFLINE forbids to
    fetch what is missing, StorageError when another module of that name and version is installed.
    """
    name, version = module.name, release.version
    refuse_code(release.files, f"{source.name}: {name} {version}")
    with working(name) as work:
        there = cache.read(name, version)
        if there and set(there.files) != set(release.files):
            raise StorageError(
                f"{name} {version} is installed from {there.source}, with other files than {source.name} has",
                hint=f"raise the version in module.yaml, or hub uninstall {name}@{version} first",
            )
        if there and not cache.changed(there):
            return there
        for _ in range(TRIES):
            _fetch_missing(source, name, release, work)
            try:
                return cache.add(module, version, source=source.name, reference=reference, work=work)
            except FileNotFoundError:  # somebody uninstalled a module that shares a file with this one
                continue
        raise StorageError(f"{name} {version}: another process keeps removing its files", hint="try again")


def _fetch_missing(source: Source, name: str, release: Release, work: Path) -> None:
    missing = list({file.sha256: file for file in release.files if not cache.has_blob(file)}.values())
    if not missing:
        return
    if source.needs_network and settings.offline():
        listed = ", ".join(f"{file.path} ({file.size:,} bytes)" for file in missing)
        raise OfflineError(
            f"{name} {release.version}: HUB_OFFLINE forbids to fetch what is not on this machine: {listed}",
            hint=f"hub install {name}@{release.version} where there is a network, then copy {settings.home()} here",
        )
    check_space(sum(file.size for file in missing))
    with progress_bar(f"{name} {release.version}", sum(file.size for file in missing)) as advance:
        fetching = source.fetch(name, release.version, missing, work, advance=advance)
        with closing(fetching):
            for file, path in fetching:
                _keep(file, path, f"{source.name}: {name} {release.version}, {file.path}")


def _keep(file: File, path: Path, where: str) -> None:
    size = path.stat().st_size
    if size != file.size:
        raise IntegrityError(f"{where}: expected {file.size:,} bytes, found {size:,}", hint=OTHER_FILE)
    try:
        cache.publish(path, file.sha256)
    except IntegrityError as error:
        raise IntegrityError(f"{where}: {error.message}", hint=OTHER_FILE) from None
