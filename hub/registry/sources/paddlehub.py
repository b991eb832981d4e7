"""Modules on a server that speaks PaddleHub's protocol (HUB_PADDLEHUB_SERVER): JSON answers and archives.

    GET <server>/info?name=                     {"status": 0, "data": {"info": [release, …]}}
    GET <server>/search?word=&type=module       {"status": 0, "data": [release with a name, …]}
    release                                     {"version", "url", "paddle_version", "hub_version"}

The two ranges are texts "[min, max]". PaddleHub's own modules are Python programs, which hub does not run; a server of
this kind may just as well give out module folders, and those install. It knows no digests: what arrives over an
encrypted connection is checked against its own module.yaml.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

from hub import settings
from hub.errors import (
    BadReferenceError,
    IntegrityError,
    MissingDependencyError,
    NotFoundError,
    UnsafeFileError,
    UsageError,
    did_you_mean,
)
from hub.registry.credentials import is_loopback, redact
from hub.registry.manifest import FILE_NAME, Manifest
from hub.registry.reference import Reference, module_version, newest, newest_first
from hub.registry.requirements import have_version
from hub.registry.sources.fetched import Fetched, checked, complete, no_module, printable
from hub.registry.strict import Place, load_json

if TYPE_CHECKING:
    from hub.registry.archive import Limits
    from hub.registry.transport import Transport

VARIABLE = "HUB_PADDLEHUB_SERVER"
DEFAULT_SERVER = "https://paddlepaddle.org.cn/paddlehub"  # PaddleHub's own default, which was http
MAX_ANSWER_BYTES = 5_000_000
SPEAKS = "2.4.0"  # the last PaddleHub, whose protocol this is and which `hub_version` speaks of
_RANGE = re.compile(r"\s*\[?\s*([^,\[\]]*?)\s*,\s*([^,\[\]]*?)\s*\]?\s*")
_UNBOUNDED = {"", "-1.0.0", "99.0.0"}


@dataclass(frozen=True)
class _Offer:
    """One release as the server describes it."""

    name: str
    version: str
    url: str
    paddle: str
    hub: str

    def unmet(self) -> list[str]:
        """Give what this machine does not fulfil."""
        paddle = have_version("paddle")  # None when it is not installed, which forbids nothing
        wrong = [] if paddle is None or _is_within(paddle, self.paddle) else [
            f"needs paddle {self.paddle}, this machine has {paddle}"
        ]  # fmt: skip
        if not _is_within(SPEAKS, self.hub):
            wrong.append(f"needs PaddleHub {self.hub}, this hub stands for {SPEAKS}")
        return wrong


def fetch(
    reference: Reference, work: Path, *, transport: Transport | None = None, limits: Limits | None = None
) -> Fetched:
    """Put the module of paddlehub://name into a folder below `work`: the newest release that will do.

    Raises BadReferenceError, OfflineError, UsageError for a server that is no URL, NotFoundError for a name or version
    that the server does not have, MissingDependencyError when all releases need another paddle, IndexFormatError for
    answers that are not the protocol's, UnsafeFileError for a module that is a program, and what downloading and
    unpacking raise. `transport` is the network, or a fake in tests.
    """
    from hub.registry import download
    from hub.registry.archive import unpack

    reference = checked(reference, "paddlehub")
    offer = _pick(reference, _offers(reference.name, transport))
    origin = str(Reference("paddlehub", name=reference.name, versions=f"=={offer.version}"))
    name = PurePosixPath(urlsplit(offer.url).path).name
    archive = work / f"archive{''.join(PurePosixPath(name).suffixes[-1:])}"
    download.fetch(
        [offer.url], to=archive, partials=settings.home() / "tmp", transport=transport, durable=False
    )
    folder = work / "unpacked"
    unpack(archive, folder, limits=limits, code="keep")  # to say what it is; nothing here runs it
    archive.unlink()
    inside = list(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir():
        folder = inside[0]
    if not (folder / FILE_NAME).is_file():
        raise no_module_of_ours(folder, reference.name, origin)
    facts = Manifest.read(folder)
    if (facts.name, facts.version) != (reference.name.lower(), offer.version):
        raise IntegrityError(
            f"{origin}: the archive holds another module: {facts.name} {facts.version}",
            hint="tell whoever runs the server; nothing was installed",
        )
    return complete(folder, origin)


def server() -> str:
    """Give the address of the server (HUB_PADDLEHUB_SERVER), without a slash at its end."""
    address = os.environ.get(VARIABLE, "").strip() or DEFAULT_SERVER
    if not address.startswith(("https://", "http://")) or not urlsplit(address).netloc:
        raise UsageError(f"{VARIABLE}: expected an https:// address, found {redact(address)!r}")
    return address.rstrip("/")


def _offers(name: str, transport: Transport | None) -> list[_Offer]:
    """Give every release of a module. Raises NotFoundError with names that are close, for one that is unknown."""
    info = _ask("info", {"name": name}, transport)
    if info and (releases := info.get("info")):
        return [_offer(place, name) for place in releases.each()]
    # Some servers know only the search; it looks for a part of the name.
    found = _ask("search", {"word": name, "type": "module", "hub_version": SPEAKS}, transport)
    rows = found.each() if found else []
    same = [row for row in rows if row["name"].line().lower() == name.lower()]
    if not same:
        names = sorted({printable(row["name"].line()) for row in rows})
        raise NotFoundError(
            f"paddlehub://{name}: {redact(server())} has no module of that name",
            hint=did_you_mean(name, names) or f"{VARIABLE} names another server",
        )
    return [_offer(row, name) for row in same]


def _ask(what: str, parameters: dict[str, str], transport: Transport | None) -> Place | None:
    """Give the `data` of an answer, None when the server has none."""
    from hub.registry import download
    from hub.registry.transport import TransferFault

    where = f"{server()}/{what}"
    try:
        reply = download.read(f"{where}?{urlencode(parameters)}", transport=transport, limit=MAX_ANSWER_BYTES)
    except TransferFault as fault:
        if fault.status in (404, 410):
            return None
        raise
    source = redact(where)
    top = Place(load_json(reply.body, source=source, most=MAX_ANSWER_BYTES), source)
    if top["status"].integer() != 0:
        return None
    return top["data"] if top["data"].value else None


def _offer(place: Place, name: str) -> _Offer:
    def text(key: str) -> str:
        found = place.get(key)
        return found.line() if found and found.value is not None else ""

    url = _archive_address(place["url"])
    try:
        version = module_version(place["version"].line())
    except BadReferenceError:
        version = ""  # a version that nobody can ask for
    return _Offer(name, version, url, text("paddle_version"), text("hub_version"))


def _archive_address(place: Place) -> str:
    """Give the URL of an archive; a server must not make hub open its files or services, whatever it answers."""
    try:
        url = urljoin(f"{server()}/", place.line())
        host = urlsplit(url).hostname or ""
    except ValueError:
        raise place.fail("an https:// address") from None
    local = is_loopback(host) and is_loopback(urlsplit(server()).hostname or "")
    if not host or not url.startswith(("https://", "http://") if local else "https://"):
        raise place.fail("an https:// address")
    return url


def _pick(reference: Reference, offers: list[_Offer]) -> _Offer:
    """Give the newest release that will do; of the same one given twice, the first."""
    by_version = {offer.version: offer for offer in reversed(offers) if offer.version}
    for version in newest_first(by_version, within=reference.versions):
        if not by_version[version].unmet():
            return by_version[version]
    version = newest(by_version, within=reference.versions) or ""
    if version:
        raise MissingDependencyError(
            f"paddlehub://{reference.name}@{version}: {' and '.join(by_version[version].unmet())}",
            hint="install what it needs, or choose another version",
        )
    raise NotFoundError(
        f"{reference}: {redact(server())} has no such version",
        hint=f"it has {', '.join(newest_first(by_version, prereleases=True)[:8]) or 'no release'}",
    )


def _is_within(have: str, range_text: str) -> bool:
    """Say whether a version is in "[min, max]", both included; nothing, -1.0.0 and 99.0.0 bound nothing."""
    from packaging.version import InvalidVersion, Version

    if not range_text.strip():
        return True
    found = _RANGE.fullmatch(range_text)
    if found is None:
        return False  # what it means cannot be told; the message quotes it
    least, most = found.groups()
    try:
        low = least in _UNBOUNDED or Version(least) <= Version(have)
        return low and (most in _UNBOUNDED or Version(have) <= Version(most))
    except InvalidVersion:
        return False


def no_module_of_ours(folder: Path, name: str, origin: str) -> UnsafeFileError | NotFoundError:
    """Give the error for a folder without module.yaml: of PaddleHub's, what to install instead."""
    names = {path.relative_to(folder).as_posix(): 0 for path in folder.rglob("*") if path.is_file()}
    programs = [program for program in ("module.py", "module_desc.pb", "hubconf.py") if program in names]
    if not programs:
        return no_module(origin, names)
    return UnsafeFileError(
        f"{origin}: a PaddleHub module, which is a Python program ({programs[0]}); hub runs no code that it downloads",
        hint=_instead(name),
    )


def _instead(name: str) -> str:
    """Give what to install instead: the module of that name in the catalog, if it is there and can be loaded."""
    from hub.registry.catalog.entry import Entry

    spelled = name.lower()
    entries = [entry for each in (spelled, spelled.replace("-", "_")) if (entry := Entry.read(each))]
    if built := next((entry for entry in entries if entry.built), None):
        return f"hub install {built.name} gives its weights, from the catalog"
    if entries:
        return f"the catalog has {entries[0].name}, but this hub cannot build it yet; a newer one may"
    return "`hub search` may know a module for the same task"
