"""The catalog as a source of modules: checkpoints where their publishers put them, a module folder made around each.

Publishers name no sha256, so what a file must be is settled on its first use here: it is downloaded, checked against
the publisher's md5 where there is one, and its sha256 and size are written to catalog/<name>.json under
settings.home(). From then on the release is one like any other, and a file that has changed since is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hub import settings
from hub._version import __version__
from hub.errors import IntegrityError, NotFoundError, OfflineError
from hub.files import dump_json, reading_errors, write_text
from hub.registry import cache
from hub.registry.catalog import entry as catalog
from hub.registry.catalog.entry import NOT_BUILT, REQUIRES, VERSION, WEIGHTS_FILE, Entry
from hub.registry.index import MAX_MODULE_BYTES, File, Module, Release, Summary
from hub.registry.sources.progress import progress_bar, steps
from hub.registry.strict import Place, load_json
from hub.registry.workspace import check_space, working


@dataclass(frozen=True)
class Unseen(Release):
    """A release whose checkpoint was never downloaded here, so that its digest is not known and it has no files."""

    about: int = 0
    """Bytes of its parameters, 0 when unknown."""

    @property
    def size(self) -> int:
        return self.about


class CatalogSource:
    """The checkpoints of hub/registry/catalog."""

    name = "catalog"
    # Only a checkpoint needs it, and fetching one asks HUB_OFFLINE itself: an alias of what is here installs without.
    needs_network = False

    def search(self) -> list[Summary]:
        return catalog.rows()

    def find(self, name: str) -> Module | None:
        entry = Entry.read(name)
        return _module(entry, _first_use(entry)) if entry else None

    def expected(self, name: str, weights: File, others: Iterable[File] = ()) -> Module | None:
        """Give the module as it must be if its checkpoint and what else is downloaded are these files.

        None when the catalog does not have it, or when it has more files to download.
        """
        entry = Entry.read(name)
        known = {file.path: file for file in (weights, *others)}
        if entry is None or not known.keys() >= entry.addresses.keys():
            return None
        return _module(entry, [known[path] for path in entry.addresses])

    def pin(self, name: str, *, weights: File | None = None, others: Iterable[File] = ()) -> Module:
        """Give the module with the digest of every file; a checkpoint that was never here is downloaded for that.

        `weights` and `others` are what somebody else's first use found: any other file is refused then, and not
        remembered. Raises NotFoundError for one whose architecture is not built yet, OfflineError when HUB_OFFLINE
        forbids the download, IntegrityError when it is not that file, or not what the publisher's md5 says; nothing
        is left behind then.
        """
        entry = Entry.read(name)
        if entry is None:
            raise NotFoundError(f"the catalog has no {name!r}")
        if not entry.built:
            raise NotFoundError(
                f"{name}: {NOT_BUILT}: hub {__version__} lists this checkpoint but cannot load it",
                hint=f"a newer hub may (pip install -U hubtune); `hub list --task {entry.task}` shows the others",
            )
        known = {file.path: file for file in (*([weights] if weights else []), *others)}
        with working(f"catalog-{entry.checkpoint}") as work:
            found = _first_use(entry) or self._use_first(entry, work, known)
        return _module(entry, found)

    def fetch(
        self, name: str, version: str, files: Sequence[File], to: Path, *, advance: Callable[[int], object]
    ) -> Generator[tuple[File, Path], None, None]:
        entry = Entry.read(name)
        assert entry is not None, "find() gave the files"
        found = _first_use(entry)
        assert found is not None, "files are known only after pin()"
        texts = entry.texts(found)
        for file in files:
            path = to / file.sha256
            if file.path in texts:
                path.write_bytes(texts[file.path])
                advance(file.size)
            else:
                self._download(entry, file.path, path, advance, known=file)
            yield file, path

    def _use_first(self, entry: Entry, work: Path, known: Mapping[str, File]) -> list[File]:
        """Download a checkpoint, and what belongs to it, into the cache and write down what they are."""
        check_space(entry.size)
        total = sum(file.size for path, file in known.items() if path in entry.addresses) or entry.size
        found = []
        with progress_bar(f"{entry.name} {VERSION}", total) as advance:
            for path in sorted(entry.addresses, key=lambda path: path == WEIGHTS_FILE):  # what is small first
                found.append(self._download(entry, path, work / path, advance, known=known.get(path)))
        for file in found:
            cache.publish(work / file.path, file.sha256)
        _write_first_use(entry, found)
        return found

    def _download(
        self, entry: Entry, path: str, to: Path, advance: Callable[[int], object], *, known: File | None
    ) -> File:
        from hub.registry import download

        url = entry.addresses[path]
        if settings.offline():
            about = f" (about {entry.size:,} bytes)" if path == WEIGHTS_FILE else ""
            raise OfflineError(
                f"{entry.name} {VERSION}: HUB_OFFLINE forbids to fetch what is not on this machine: {path}{about} "
                f"from {url}",
                hint=f"hub install {entry.name} where there is a network, then copy {settings.home()} here",
            )
        try:
            fetched = download.fetch(
                [url],
                to=to,
                partials=settings.home() / "tmp",
                sha256=known.sha256 if known else None,
                size=known.size if known else None,
                md5=(entry.md5 if path == WEIGHTS_FILE else "") or None,
                progress=steps(advance),
                durable=False,
            )
        except IntegrityError as error:
            raise IntegrityError(error.message, hint=_hint(entry, error)) from None
        return File(path, fetched.sha256, fetched.size)


def _hint(entry: Entry, error: IntegrityError) -> str:
    if _first_use(entry) is None:  # then the publisher's md5 says so, or a lock file
        return error.hint
    return (
        f"{error.hint}; the file was another one at its first use here: if its publisher says why, "
        f"remove {_record(entry)} and install again"
    )


def _module(entry: Entry, fetched: Sequence[File] | None) -> Module:
    if fetched is None:
        release: Release = Unseen(VERSION, (), REQUIRES, about=entry.size)
    else:
        import hashlib  # loads OpenSSL, which a listing has no use for

        texts = entry.texts(fetched)
        files = (File(path, hashlib.sha256(text).hexdigest(), len(text)) for path, text in texts.items())
        release = Release(VERSION, tuple(sorted([*files, *fetched], key=lambda file: file.path)), REQUIRES)
    return Module(entry.name, entry.task, entry.line, entry.license, (release,))


def _record(entry: Entry) -> Path:
    return settings.home() / "catalog" / f"{entry.checkpoint}.json"


def _first_use(entry: Entry) -> list[File] | None:
    """Give what was downloaded at its first use here, None when it had none or the catalog names other files since.

    Raises IndexFormatError for a damaged record, StorageError for one that cannot be read.
    """
    path = _record(entry)
    with reading_errors(path):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    top = Place(load_json(data, source=str(path), most=MAX_MODULE_BYTES), str(path))
    if (top["url"].value, top["md5"].value) != (entry.url, entry.md5):
        return None
    places = {WEIGHTS_FILE: top}
    for name, url in entry.files.items():
        further = top.get("files")
        place = further.get(name) if further else None
        if place is None or place["url"].value != url:
            return None
        places[name] = place
    return [File(name, p["sha256"].digest(), p["size"].whole_number()) for name, p in places.items()]


def _write_first_use(entry: Entry, fetched: Iterable[File]) -> None:
    known = {file.path: {"sha256": file.sha256, "size": file.size} for file in fetched}
    record: dict[str, object] = {"url": entry.url, "md5": entry.md5, **known[WEIGHTS_FILE]}
    if entry.files:
        record["files"] = {name: {"url": url, **known[name]} for name, url in entry.files.items()}
    write_text(_record(entry), dump_json(record))
