"""An index as plain files: a folder, or any web server, bucket or CDN that gives out such a folder.

Of a server's documents the last good one is kept, asked for again only if it changed (ETag), and used when the
server cannot be reached.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from hub import settings
from hub.errors import (
    HubError,
    IndexFormatError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    StorageError,
    TransferError,
    UsageError,
)
from hub.files import reading_errors, write_bytes
from hub.registry.index import (
    MAX_MODULE_BYTES,
    MAX_SEARCH_BYTES,
    File,
    Module,
    Summary,
    check_config,
    parse_search,
)
from hub.registry.notice import warn
from hub.registry.sources.progress import steps

if TYPE_CHECKING:
    from hub.registry.transport import Transport

SMALL_BYTES = 2**20
SMALL_AT_ONCE = 8
# Faults that pass, for which an older copy of a document will do; a wrong certificate or address is none of them.
PASSING = {"connect", "proxy", "tls", "cut", "stall", "slow", "wait"}

T = TypeVar("T")


class StaticSource:
    """The index at a folder or an http(s) URL. `transport` is the network, or a fake in tests."""

    def __init__(self, location: str, *, name: str = "", transport: Transport | None = None) -> None:
        self.needs_network = location.lower().startswith(("https://", "http://"))
        if "://" in location and not self.needs_network:
            raise UsageError(
                f"HUB_INDEX: expected an index folder or an https:// address, found {_printable(location)!r}",
                hint="give a folder by its path, a server by https://, several with blanks or commas between them",
            )
        self._location = location.rstrip("/") if self.needs_network else os.path.expanduser(location)
        self._transport = transport
        self.name = name or _printable(location)

    def address(self, path: str) -> str:
        """Give where a document of the index is: a URL or a path."""
        return f"{self._location}/{path}" if self.needs_network else str(Path(self._location, path))

    def search(self) -> list[Summary]:
        try:
            found = self._document(
                "search.json", MAX_SEARCH_BYTES, lambda data, where: parse_search(data, source=where)
            )
        except TransferError as fault:
            if not _may_be_missing(fault):
                raise
            found = None
        if found is None:
            self._check_config()
        return found or []

    def find(self, name: str) -> Module | None:
        try:
            found = self._document(
                f"modules/{name}.json",
                MAX_MODULE_BYTES,
                lambda data, where: Module.parse(data, name=name, source=where),
            )
        except TransferError as fault:
            # One that is listed is there, and a later index may have another module under its name.
            if not _may_be_missing(fault) or any(row.name == name for row in self.search()):
                raise
            found = None
        if found is None:
            self._check_config()
        return found

    def folder(self, name: str, version: str) -> Path:
        """Give the module folder inside an index folder, for the modules that need no installation."""
        return Path(self._location, "files", name, version)

    def fetch(
        self, name: str, version: str, files: Sequence[File], to: Path, *, advance: Callable[[int], object]
    ) -> Generator[tuple[File, Path], None, None]:
        if not self.needs_network:
            for file in files:
                yield file, self._copy(self.folder(name, version) / file.path, to / file.sha256)
                advance(file.size)
            return
        self._network()  # made here, so that all threads use one
        small = [file for file in files if file.size < SMALL_BYTES]
        # Many small files wait for the server one after the other, so several are asked for at once. Large ones
        # use several connections each, and in this thread Ctrl-C ends them.
        with closing(
            _side_by_side(lambda file: self._download(name, version, file, to, advance), small)
        ) as done:
            yield from done
        for file in files:
            if file.size >= SMALL_BYTES:
                yield file, self._download(name, version, file, to, advance)

    def _copy(self, path: Path, to: Path) -> Path:
        import shutil  # loads three compressors, which a listing has no use for

        with reading_errors(path):
            try:
                path.open("rb").close()  # else an error of copying may be one of either file
            except FileNotFoundError:
                raise IntegrityError(f"{path}: the index names this file, and it is not there") from None
        shutil.copyfile(path, to)
        return to

    def _download(
        self, name: str, version: str, file: File, to: Path, advance: Callable[[int], object]
    ) -> Path:
        from hub.registry import download

        fetched = download.fetch(
            [self.address(f"files/{name}/{version}/{file.path}")],
            to=to / file.sha256,
            partials=settings.home() / "tmp",
            sha256=file.sha256,
            size=file.size,
            transport=self._network(),
            progress=steps(advance),
            durable=False,
        )
        return fetched.path

    def _network(self) -> Transport:
        from hub.registry.transport import default_transport

        self._transport = (
            self._transport or default_transport()
        )  # one for all requests: connections stay open
        return self._transport

    def _check_config(self) -> None:
        """Say what is wrong with an index that lacks a document: nothing, when it is an index at all."""

        def check(data: bytes, where: str) -> bool:
            check_config(data, source=where)
            return True

        if self._document("config.json", MAX_MODULE_BYTES, check) is None:
            raise NotFoundError(
                f"{self.name}: expected an index, found no config.json there",
                hint="check HUB_INDEX; `hub publish FOLDER --to INDEX` makes an index",
            )

    def _document(self, path: str, most: int, parse: Callable[[bytes, str], T]) -> T | None:
        """Give a document of the index, None when there is none."""
        if not self.needs_network:
            data = _read_file(Path(self.address(path)), most)
            return None if data is None else parse(data, f"{self.name}/{path}")
        return self._remote_document(path, most, parse)

    def _remote_document(self, path: str, most: int, parse: Callable[[bytes, str], T]) -> T | None:
        from hub.registry import download
        from hub.registry.transport import TransferFault

        where = f"{self.name}/{path}"
        key = _digest(self._location.encode())[:16]
        kept = _Kept(settings.home() / "indexes" / key / path)
        try:
            reply = download.read(self.address(path), transport=self._network(), limit=most, etag=kept.etag)
        except (TransferFault, OfflineError) as fault:
            status, kind = getattr(fault, "status", None), getattr(fault, "kind", "connect")
            if status in (404, 410):
                kept.forget()
                return None
            if kind == "size":
                raise IndexFormatError(fault.message) from None
            if kept.body is None or not (kind in PASSING or (status or 0) >= 500 or status == 429):
                raise
            warn("%s; using the copy of %s", fault.message, kept.date)
            return parse(kept.body, where)
        if reply.not_modified and kept.body is not None:
            return parse(kept.body, where)
        value = parse(reply.body, where)  # before it is kept: what is damaged must not replace what was good
        kept.keep(reply.body, reply.etag or "")
        return value


def _may_be_missing(fault: TransferError) -> bool:
    """Say whether a server may mean that there is no such file: buckets answer 403 to those who may not list them."""
    return getattr(fault, "status", None) == 403


class _Kept:
    """The last good copy of a document: one line of JSON about it, then its bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.body: bytes | None = None
        self.etag: str | None = None
        self.date = ""
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            line, _, body = path.read_bytes().partition(b"\n")
            about = json.loads(line)
            if about["sha256"] == _digest(body):
                self.body, self.etag, self.date = body, about["etag"] or None, about["date"]

    def keep(self, body: bytes, etag: str) -> None:
        date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        about = {"etag": etag, "date": date, "sha256": _digest(body)}
        content = json.dumps(about).encode() + b"\n" + body
        with suppress(HubError, OSError):  # a cache that cannot be written costs the next one a transfer
            write_bytes(self._path, content)

    def forget(self) -> None:
        with suppress(OSError):
            self._path.unlink()


def _side_by_side(
    do: Callable[[File], Path], files: Sequence[File]
) -> Generator[tuple[File, Path], None, None]:
    """Give each file and what is done with it as soon as it is; nothing is waited for any more once it is closed.

    A pool of threads is joined when Python ends, so that after Ctrl-C a silent server would hold the process until its
    requests time out, over and over. These threads end with the process.
    """
    waiting: SimpleQueue[File] = SimpleQueue()
    done: SimpleQueue[tuple[File, Path | BaseException]] = SimpleQueue()
    over = threading.Event()

    def work() -> None:
        with suppress(Empty):
            while not over.is_set():
                file = waiting.get_nowait()
                try:
                    done.put((file, do(file)))
                except BaseException as problem:
                    done.put((file, problem))

    for file in files:
        waiting.put(file)
    for _ in range(min(SMALL_AT_ONCE, len(files))):
        threading.Thread(target=work, name="hub-small-files", daemon=True).start()
    try:
        for _ in files:
            file, result = done.get()
            if isinstance(result, BaseException):
                raise result
            yield file, result
    finally:
        over.set()


def _read_file(path: Path, most: int) -> bytes | None:
    try:
        size = path.stat().st_size
        if size > most:
            raise IndexFormatError(f"{path}: expected at most {most:,} bytes, found {size:,}")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error


def _printable(location: str) -> str:
    if "://" not in location:
        return os.path.abspath(os.path.expanduser(location))
    from hub.registry.credentials import redact

    return redact(location)


def _digest(data: bytes) -> str:
    import hashlib  # loads OpenSSL, which a listing of folders has no use for

    return hashlib.sha256(data).hexdigest()
