"""From a reference to one release: what is here, what the sources offer, and why there is none."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hub import settings
from hub.errors import (
    HubError,
    IntegrityError,
    MissingDependencyError,
    NotFoundError,
    UsageError,
    did_you_mean,
)
from hub.naming import is_version
from hub.registry import cache
from hub.registry.index import Module, Release, Summary
from hub.registry.notice import warn
from hub.registry.reference import Reference, module_name, module_version, newest, newest_first
from hub.registry.requirements import unmet
from hub.registry.sources import BUNDLED, bundled, sources
from hub.registry.sources.base import Source

Offer = tuple[Source, Module]
FEW = 1000  # difflib compares this many names in a blink, and 100,000 in seconds


@dataclass(frozen=True)
class Here:
    """A version on this machine: bundled, or installed and then with its record."""

    module: Module
    release: Release
    folder: Path
    source: str
    record: cache.Installed | None = None

    def wrong(self) -> list[str]:
        """Give what happened to its files since it was installed, quickly."""
        return cache.changed(self.record) if self.record else []

    def check(self) -> None:
        """Raise IntegrityError when something did."""
        if wrong := self.wrong():
            name = f"{self.module.name}@{self.release.version}"
            raise IntegrityError(
                f"{name} was changed in {self.folder}: {'; '.join(wrong[:3])}",
                hint=f"hub install {name} puts it right, if {self.source} still has these files; "
                f"hub uninstall {name} removes it",
            )


def here(reference: Reference) -> Here | None:
    """Give the newest version on this machine that will do, whatever state its files are in."""
    found = versions_here(reference.name)
    exact = reference.exact_version or ""  # as it is written, where 1.0 and 1.0.0 are both here
    return found.get(exact) or found.get(newest(found, within=reference.versions) or "")


def versions_here(name: str) -> dict[str, Here]:
    """Give every version of a module on this machine; an installed one counts before the same one bundled."""
    found: dict[str, Here] = {}
    source = bundled()
    if source and (module := source.find(name)):
        for release in module.releases:
            found[release.version] = Here(module, release, source.folder(name, release.version), BUNDLED)
    for record in cache.installed(name):
        release = Release(record.version, record.files, record.requires)
        module = Module(name, record.task, record.summary, record.license, (release,))
        found[record.version] = Here(module, release, record.folder, record.source, record)
    return found


def removable(name: str, version: str | None) -> list[cache.Installed]:
    """Give the records of the versions meant, the newest first.

    Raises NotFoundError when none is installed, UsageError for a bundled one.
    """
    name, version = module_name(name), version and module_version(version)  # before the disk is looked at
    records = {record.version: record for record in cache.installed(name)}
    if found := matching(newest_first(records, prereleases=True), version):
        return [records[each] for each in found]
    if matching(versions_here(name), version):
        raise UsageError(
            f"{name} ships with hub and cannot be uninstalled", hint="it takes no room in the cache"
        )
    raise not_installed(name, version, {record.name for record in cache.installed()})


def matching(versions: Iterable[str], wanted: str | None) -> list[str]:
    """Give the versions meant: all of them, or the one that by PEP 440 is `wanted`, as 1.0 is 1.0.0."""
    versions = list(versions)
    if not wanted:
        return versions
    if module_version(wanted) in versions:
        return [module_version(wanted)]
    return newest_first(filter(is_version, versions), within=f"=={module_version(wanted)}", prereleases=True)


def not_installed(
    name: str, version: str | None, known: Iterable[str], hint: str = "hub cache ls lists what is"
) -> NotFoundError:
    """Give the error to raise where none of the versions meant is installed; `known` are the names that are."""
    what = f"{name} {version}" if version else name
    return NotFoundError(f"{what} is not installed", hint=did_you_mean(name, known) or hint)


def offers_of(name: str) -> Iterator[Offer]:
    """Give every source that knows a module, in order; each is asked when it is its turn.

    A source that cannot answer raises its error and is not passed over: a later one may have another module under
    this name.
    """
    for source in sources():
        if module := source.find(name):
            yield source, module


def offers_of_origin(here: Here, asked: Sequence[Offer]) -> list[Offer]:
    """Give what the source that a module came from offers now, unless it was `asked`; nothing where it cannot say."""
    if here.source in [source.name for source, _ in asked]:
        return []
    with suppress(HubError):  # silent, gone or damaged: nothing but a warning is wanted of it
        for source in sources():
            if source.name == here.source and (module := source.find(here.module.name)):
                return [(source, module)]
    return []


def known(reference: Reference) -> list[Offer]:
    """Give the sources that know a module up to the first with a release that will do; none behind it is asked."""
    found = []
    for source, module in offers_of(reference.name):
        found.append((source, module))
        if fitting(module, reference):
            break
    return found


def pick(
    reference: Reference, offers: Sequence[Offer], *, must_run: bool = True
) -> tuple[Source, Module, Release]:
    """Give the newest release that will do, of the first of the sources that has one.

    `must_run` leaves out releases that need another hub or paddle than this machine has.
    Raises NotFoundError for an unknown name or version, MissingDependencyError when only those are left.
    """
    for source, module in offers:
        if release := fitting(module, reference, must_run=must_run):
            if release.yanked:
                warn("%s %s was withdrawn: %s", module.name, release.version, release.yanked)
            return source, module, release
    if not offers:
        raise _only_here(reference) or unknown(reference.name)
    raise _refusal(reference, [release for _, module in offers for release in module.releases])


def withdrawn(release: Release, offers: Sequence[Offer]) -> str:
    """Give why a source has withdrawn this release, with these files, since it was installed; "" when none has."""
    same = (module.release(release.version) for _, module in offers)
    return next((each.yanked for each in same if each and set(each.files) == set(release.files)), "")


def refuse_unmet(name: str, release: Release) -> None:
    """Raise MissingDependencyError when a release needs another hub or paddle than this machine has."""
    if broken := unmet(release.requires):
        upgrade = "pip install -U hubtune" if "hub" in release.requires else "install what it needs"
        raise MissingDependencyError(
            f"{name} {release.version} {' and '.join(broken)}",
            hint=f"{upgrade}, or choose another release: `hub show {name}` lists them",
        )


def unknown(name: str) -> NotFoundError:
    """Give the error for a name that no source knows: what was searched, what may have been meant."""
    asked = sources()
    names = {row.name for source in asked for row in rows(source)}
    names |= {record.name for record in cache.installed()}
    hints = [did_you_mean(name, _like(name, names))]
    if Path(name).is_dir():
        hints.append(f"for the folder of that name write ./{name}")
    return NotFoundError(
        f"no module is called {name!r} {_searched(asked)}",
        hint="; ".join(filter(None, hints)) or "`hub list` shows every module, HUB_INDEX names more indexes",
    )


def _only_here(reference: Reference) -> NotFoundError | None:
    """Give the error for a module that is on this machine and that no source knows; None for any other."""
    found = newest_first(versions_here(reference.name), prereleases=True)
    if not found:
        return None
    return NotFoundError(
        f"{reference}: no such version {_searched(sources())}" if reference.versions
        else f"no index has {reference} {_searched(sources())}",
        hint=f"{reference.name} {', '.join(found[:8])} is installed",
    )  # fmt: skip


def _searched(asked: Sequence[Source]) -> str:
    return f"(searched: {', '.join(source.name for source in asked) or 'nothing, HUB_INDEX is not set'})"


def _like(name: str, names: set[str]) -> set[str]:
    """Give the few names that begin or end most like this one: a typo leaves the longer half of a name as it was."""
    if len(names) <= FEW:
        return names
    ends = {other[::-1] for other in names}
    return _beside(name, names) | {other[::-1] for other in _beside(name[::-1], ends)}


def _beside(name: str, names: set[str]) -> set[str]:
    """Give the names that stand next to this one where all are sorted."""
    in_order = sorted(names)
    place = bisect(in_order, name)
    return set(in_order[max(0, place - FEW // 4) : place + FEW // 4])


def rows(source: Source) -> list[Summary]:
    """Give what a source offers; nothing, and a warning, when it cannot answer. Raises UsageError for HUB_OFFLINE."""
    settings.offline()  # what cannot be meant there is no matter of this source
    try:
        return source.search()
    except HubError as error:
        warn("%s is left out: %s", source.name, error)
        return []


def fitting(module: Module, reference: Reference, *, must_run: bool = True) -> Release | None:
    """Give the newest release that will do; a withdrawn one only when exactly it is asked for."""
    by_version = {release.version: release for release in module.releases}
    offered = [v for v, release in by_version.items() if not release.yanked or reference.exact_version]
    for version in newest_first(offered, within=reference.versions):
        release = by_version[version]
        if must_run and unmet(release.requires):
            continue
        return release
    return None


def _refusal(reference: Reference, releases: Iterable[Release]) -> HubError:
    """Give why none of these releases will do: another hub or paddle, withdrawn, or no such version."""
    by_version = {release.version: release for release in releases}
    name = reference.name
    offered = [v for v, release in by_version.items() if not release.yanked or reference.exact_version]
    if version := newest(offered, within=reference.versions):
        try:
            refuse_unmet(name, by_version[version])
        except MissingDependencyError as error:
            return error
    if version := newest(by_version, within=reference.versions):
        return NotFoundError(
            f"{name} {version} was withdrawn: {by_version[version].yanked}",
            hint=f"{name}@{version} installs it all the same",
        )
    return NotFoundError(
        f"{reference}: no such version",
        hint=f"{name} has {', '.join(newest_first(by_version, prereleases=True)[:8]) or 'no release'}",
    )
