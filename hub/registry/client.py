"""The verbs of the registry: from a name to a verified folder.

    locate                        the folder of a module, installed first when it is not here: what hub.Module calls
    install, uninstall            a release into the cache, and out of it
    verify_files                  every byte of a module against what was promised
    publish                       a module folder into an index folder

A module is always a plain folder. The modules that ship with hub are one index like any other, named "bundled", first
in line and used where they are; then come the indexes of HUB_INDEX, in order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hub.errors import HubError, MissingDependencyError, NotFoundError, StorageError, TransferError
from hub.naming import encoder_name_of
from hub.registry import cache, foreign_encoders, origins, resolve
from hub.registry.index import Module, Release
from hub.registry.listing import Record, record_of
from hub.registry.manifest import Manifest, problem, problems
from hub.registry.notice import warn
from hub.registry.reference import Reference, newest
from hub.registry.resolve import Here
from hub.registry.sources import BUNDLED
from hub.registry.sources.base import Source
from hub.registry.sources.catalog import CatalogSource
from hub.registry.sources.folder import FolderSource, existing, module_folder
from hub.registry.workspace import temporary, working

REMEMBERED = ("hf", "git", "paddlehub")  # kinds of references that are not asked for again


@dataclass(frozen=True)
class Located:
    """A module folder on this machine. `verified` says that its bytes are known to be the promised ones."""

    name: str
    version: str
    folder: Path
    source: str
    verified: bool = False


def locate(text: str | Path) -> Located:
    """Give the folder of a module; what is on this machine and will do comes before anything newer elsewhere.

    A folder is given as it is. A reference to hf://, git+https:// or paddlehub:// that was installed before is not
    asked for again: `install` does that. Raises NotFoundError for a name or version that nobody knows, IntegrityError
    for an installed module whose files were changed, MissingDependencyError for another hub or paddle than it needs.
    """
    reference = _reference(text)
    if reference.kind == "folder":
        folder = module_folder(reference.location)
        if foreign_encoders.is_published_folder(folder):
            return Located(encoder_name_of(folder), foreign_encoders.VERSION, folder, source=str(folder))
        facts = Manifest.read(folder)
        return Located(facts.name, facts.version, folder, source=str(folder))
    here = resolve.here(reference) if reference.kind == "name" else _asked_before(reference)
    if here is None:
        return install(text)
    here.check()
    cache.mark_used(here.folder)
    return located(here)


def install(text: str | Path) -> Located:
    """Put a module on this machine: the newest release of a name that will do, or what any other reference gives.

    A bundled module is used where it is. Raises what `locate` raises, and TransferError or OfflineError when it
    cannot be fetched, IntegrityError when the source has other bytes than it promised, StorageError for the disk.
    """
    reference = _reference(text)
    if reference.kind == "name":
        return _install_by_name(reference)
    if reference.kind == "folder":
        return _install_folder(module_folder(reference.location), reference)
    return _install_from_afar(reference)


def uninstall(name: str, version: str | None = None) -> list[Located]:
    """Remove one version of a module, or all of them, and the bytes that no other module uses; give what was removed.

    Raises NotFoundError when it is not installed, UsageError for a bundled one.
    """
    records = resolve.removable(name, version)
    with working(name) as work:
        for record in records:
            if cache.read(name, record.version):  # unless another process was faster
                cache.remove(record, work)
    return [Located(name, record.version, record.folder, record.source) for record in records]


def located(here: Here) -> Located:
    """Give the folder of what is on this machine. Raises MissingDependencyError where it cannot run."""
    resolve.refuse_unmet(here.module.name, here.release)
    installed = here.record is not None
    return Located(here.module.name, here.release.version, here.folder, here.source, verified=installed)


def verify_files(located: Located) -> list[str]:
    """Give what is wrong with a module's files: missing, changed, extra. Every byte is read.

    An installed or bundled module is compared with what its index promised, a folder with its own module.yaml; of what
    others published and is not installed, nothing is promised.
    """
    found = resolve.versions_here(located.name).get(located.version)
    if found and found.folder == located.folder:
        return problems(found.folder, found.release.files)
    if foreign_encoders.is_published_folder(located.folder):
        return []
    facts = Manifest.read(located.folder)
    return [wrong for file in facts.weights if (wrong := problem(located.folder, file))]


def publish(folder: str | Path, index: str | Path) -> Record:
    """Add a module folder to an index folder, which is made when it is empty; see registry/publish.py.

    Raises SpecError, IntegrityError or UsageError for a module that must not be published as it is.
    """
    from hub.registry import publish as publishing

    module, release = publishing.publish(existing(str(folder)), str(index))
    return record_of(module, release, source=str(index), installed=False)


def _install_by_name(reference: Reference) -> Located:
    here = resolve.here(reference)
    if here and here.wrong():  # put right what is here before anything newer
        return _put_right(here)
    if here and reference.exact_version:
        return located(here)
    try:
        offers = resolve.known(reference)
        source, module, release = resolve.pick(reference, offers)
    except (TransferError, NotFoundError, MissingDependencyError) as error:
        if here is None:
            raise
        warn("%s; %s %s is installed", error.message, reference.name, here.release.version)
        return located(here)
    if here:
        both = [here.release.version, release.version]
        if newest(both, within=reference.versions) == here.release.version:
            if why := resolve.withdrawn(here.release, [*offers, *resolve.offers_of_origin(here, offers)]):
                warn("%s %s is installed and was withdrawn: %s", reference.name, here.release.version, why)
            return located(here)
    return _install(source, module, release, reference)


def _put_right(here: Here) -> Located:
    """Install once more what was changed, from where it came, else from an index.

    Raises what the place says that it came from, which an index may outlive, and IntegrityError when there is none.
    """
    reference = Reference("name", name=here.module.name, versions=f"=={here.release.version}")
    refusal: HubError | None = None
    try:
        if again := _from_its_origin(here):
            return again
    except HubError as error:
        refusal = error
    try:
        offer = resolve.pick(reference, resolve.known(reference))
        return _install(*offer, reference)
    except HubError as error:
        if refusal:
            raise refusal from None
        if isinstance(error, TransferError | NotFoundError):
            here.check()
        raise


def _from_its_origin(here: Here) -> Located | None:
    """Install once more what came from an archive, a folder or by a reference; None when that place has other files."""
    from hub.registry.install import install_release

    origin = origins.origin_of(here.source)
    if origin is None or here.record is None:
        return None
    with origins.fetched(origin) as folder:
        release = origins.release_of(
            folder.module, here.module.name, here.release.version, here.release.files
        )
        if release is None:
            return None
        resolve.refuse_unmet(here.module.name, release)
        record = install_release(folder, folder.module, release, reference=here.record.reference)
    return Located(record.name, record.version, record.folder, record.source, verified=True)


def _install_folder(folder: Path, reference: Reference, *, origin: str = "") -> Located:
    source = FolderSource(folder, name=origin)
    source.require_promised()
    [release] = source.module.releases
    name, version = source.module.name, release.version
    resolve.refuse_unmet(name, release)
    here = resolve.versions_here(name).get(version)
    if here and here.source == BUNDLED and set(here.release.files) != set(release.files):
        raise StorageError(
            f"{name} {version} ships with hub, with other files than {source.name} has",
            hint="raise the version in module.yaml, or give the module another name",
        )
    return _install(source, source.module, release, reference)


def _install_from_afar(reference: Reference) -> Located:
    """Install the module folder that an archive, a URL, a repository or a server holds."""
    from hub.registry.sources import afar

    if reference.kind == "archive":
        reference = replace(reference, location=str(existing(reference.location)))
    with temporary(reference.kind) as work:
        fetched = afar.fetch(reference, work)
        located = _install_folder(fetched.folder, reference, origin=fetched.origin)
    if reference.kind in REMEMBERED:
        before = _asked_before(reference)
        if before is None or before.folder != located.folder:  # it was here by other words, or was older
            cache.remember(located.name, located.version, reference=str(reference))
    return located


def _install(source: Source, module: Module, release: Release, reference: Reference) -> Located:
    from hub.registry.install import install_release

    if isinstance(source, CatalogSource):  # what a checkpoint must be is known from its first use on
        module = source.pin(module.name)
        [release] = module.releases
    words = str(reference)
    if reference.kind == "url":  # nothing asks there again, and a signature in it is nobody else's business
        from hub.registry.credentials import redact

        words = redact(words)
    record = install_release(source, module, release, reference=words)
    return Located(record.name, record.version, record.folder, record.source, verified=True)


def _asked_before(reference: Reference) -> Here | None:
    """Give what is on this machine because of the same words, or came from there; a branch may have moved since."""
    if reference.kind not in REMEMBERED:
        return None
    words = str(reference)
    found = {
        record.asked.get(words, record.installed_at): record
        for record in cache.installed()
        if words in record.asked or words == record.source
    }
    if not found:
        return None
    last = found[max(found)]
    return resolve.versions_here(last.name).get(last.version)


def _reference(text: str | Path) -> Reference:
    """Parse a text; a Path is always a folder or an archive, also where a text of the same letters is a name."""
    return Reference.parse(f"{text.absolute()}" if isinstance(text, Path) else text)
