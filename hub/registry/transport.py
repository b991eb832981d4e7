"""The one seam to the network: nothing else in the library opens a connection.

A transport answers one request; it never retries and never writes a file (download.py does both). HttpTransport in
transport_http.py is the network, FileTransport a folder, MemoryTransport a fake for tests, yours included;
default_transport() picks one of the first two by the scheme of each URL.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hub.errors import StorageError, TransferError
from hub.registry.credentials import redact

CHUNK = 128 * 1024
_NUMBER = r"[0-9]{1,18}"
_CONTENT_RANGE = re.compile(rf"bytes (?:({_NUMBER})-({_NUMBER})|\*)/({_NUMBER}|\*)")
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{0,200}"')


class TransferFault(TransferError):
    """One attempt that failed. `kind` names a row of retry.FAULTS; `status` is there when a server answered."""

    def __init__(
        self, kind: str, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass
class Response:
    """One answer: `url` after redirects, header names in lower case, the body in pieces of at most CHUNK bytes."""

    url: str
    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]
    close: Callable[[], None] = lambda: None

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def not_modified(self) -> bool:
        return self.status == 304

    @property
    def encoded(self) -> bool:
        return self.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}

    @property
    def length(self) -> int | None:
        """How many bytes this body has, None when the server does not say or compresses it."""
        value = self.headers.get("content-length", "").strip()
        return int(value) if re.fullmatch(_NUMBER, value) and not self.encoded else None

    @property
    def span(self) -> tuple[int, int] | None:
        """First byte and one past the last byte of a partial answer, None when it does not say."""
        match = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", "").strip().lower())
        return (int(match[1]), int(match[2]) + 1) if match and match[1] else None

    @property
    def total(self) -> int | None:
        """How many bytes the whole document has, whichever part of it this is."""
        if self.status not in {206, 416}:
            return self.length if self.status == 200 else None
        match = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", "").strip().lower())
        return int(match[3]) if match and match[3] != "*" else None

    @property
    def validator(self) -> str | None:
        """The ETag if it is a strong one: only that proves that two parts belong to one document (RFC 9110 §8.8.1)."""
        tag = self.headers.get("etag", "").strip()
        return tag if _STRONG_ETAG.fullmatch(tag) else None


class Transport(Protocol):
    """Answers one GET. Raises TransferFault when no answer comes; every status is an answer."""

    def open(
        self,
        url: str,
        *,
        offset: int = 0,
        stop: int | None = None,
        validator: str | None = None,
        etag: str | None = None,
        allow_http: bool = False,
    ) -> Response:
        """Ask for the bytes from `offset` up to, not including, `stop`.

        Args:
            validator: the part is only wanted if the document still has this strong ETag (If-Range).
            etag: the document is only wanted if it no longer has this ETag (If-None-Match).
            allow_http: the caller knows the digest, so that an unencrypted connection can do no harm.
        """
        ...


class SchemeTransport:
    """Hands each URL to the transport of its scheme; text without a scheme is the path of a file."""

    def __init__(self, by_scheme: Mapping[str, Transport]) -> None:
        self._by_scheme = by_scheme

    def open(
        self,
        url: str,
        *,
        offset: int = 0,
        stop: int | None = None,
        validator: str | None = None,
        etag: str | None = None,
        allow_http: bool = False,
    ) -> Response:
        scheme, mark, _ = url.partition("://")
        chosen = self._by_scheme.get(scheme.lower() if mark else "file")
        if chosen is None:
            known = " or ".join(f"{name}://" for name in sorted(self._by_scheme))
            raise TransferFault("url", f"{redact(url)}: expected {known}, found {scheme[:20]}://")
        return chosen.open(
            url, offset=offset, stop=stop, validator=validator, etag=etag, allow_http=allow_http
        )


def default_transport() -> Transport:
    """Give the transport for http, https and files, with the tokens of this user."""
    from hub.registry.transport_http import HttpTransport  # it builds on this file

    http = HttpTransport()
    return SchemeTransport({"http": http, "https": http, "file": FileTransport()})


class FileTransport:
    """Files as if a server sent them: `file://` URLs and plain paths."""

    def open(
        self,
        url: str,
        *,
        offset: int = 0,
        stop: int | None = None,
        validator: str | None = None,
        etag: str | None = None,
        allow_http: bool = False,
    ) -> Response:
        path = Path(url)
        if "://" in url:
            from urllib.request import url2pathname  # 20 ms that a download over the network does not need

            path = Path(url2pathname(url.partition("://")[2]))
        try:
            file = path.open("rb")
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return Response(url, 404, {}, iter(()))
        except OSError as problem:
            raise StorageError(f"{path}: cannot be read: {problem.strerror}") from problem
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'

        def pieces(start: int, end: int) -> Iterator[bytes]:
            file.seek(start)
            while start < end and (piece := file.read(min(CHUNK, end - start))):
                start += len(piece)
                yield piece

        return _answer(
            url, tag, status.st_size, pieces, file.close,
            offset=offset, stop=stop, validator=validator, etag=etag,
        )  # fmt: skip


@dataclass
class Fault:
    """What MemoryTransport does instead of answering well: another status, or a body that ends early."""

    status: int | None = None
    cut: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class MemoryTransport:
    """A server made of a dict, for tests: ranges, ETags and, in the order given, faults.

    >>> web = MemoryTransport({"https://x/a": b"abcdef"}, faults={"https://x/a": [Fault(status=503)]})
    >>> web.open("https://x/a").status, b"".join(web.open("https://x/a", offset=4).chunks)
    (503, b'ef')
    >>> web.requests
    [('https://x/a', 0), ('https://x/a', 4)]
    """

    def __init__(
        self, documents: Mapping[str, bytes], *, faults: Mapping[str, Sequence[Fault]] | None = None
    ) -> None:
        self.documents = dict(documents)
        self.faults = {url: list(queue) for url, queue in (faults or {}).items()}
        self.requests: list[tuple[str, int]] = []

    def open(
        self,
        url: str,
        *,
        offset: int = 0,
        stop: int | None = None,
        validator: str | None = None,
        etag: str | None = None,
        allow_http: bool = False,
    ) -> Response:
        self.requests.append((url, offset))
        queue = self.faults.get(url)
        fault = queue.pop(0) if queue else Fault()
        body = self.documents.get(url)
        if fault.status is not None or body is None:
            return Response(url, fault.status or 404, fault.headers, iter(()))
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'

        def pieces(start: int, end: int) -> Iterator[bytes]:
            last = end if fault.cut is None else min(end, fault.cut)
            for at in range(start, last, CHUNK):
                yield body[at : min(at + CHUNK, last)]
            if last < end:
                raise TransferFault("cut", f"{url}: the connection ended after {last:,} bytes")

        return _answer(
            url,
            tag,
            len(body),
            pieces,
            lambda: None,
            offset=offset,
            stop=stop,
            validator=validator,
            etag=etag,
        )


def _answer(
    url: str,
    tag: str,
    size: int,
    pieces: Callable[[int, int], Iterator[bytes]],
    close: Callable[[], None],
    *,
    offset: int,
    stop: int | None,
    validator: str | None,
    etag: str | None,
) -> Response:
    """Give what an HTTP server answers for a document of `size` bytes (RFC 9110 §13 and §14)."""
    headers = {"etag": tag, "accept-ranges": "bytes"}
    ranged = (offset > 0 or stop is not None) and validator in {None, tag}
    if etag == tag:
        return Response(url, 304, headers, iter(()), close)
    if not ranged:
        return Response(url, 200, {**headers, "content-length": str(size)}, pieces(0, size), close)
    if offset >= size:
        return Response(url, 416, {**headers, "content-range": f"bytes */{size}"}, iter(()), close)
    end = min(size if stop is None else stop, size)
    headers |= {"content-length": str(end - offset), "content-range": f"bytes {offset}-{end - 1}/{size}"}
    return Response(url, 206, headers, pieces(offset, end), close)
