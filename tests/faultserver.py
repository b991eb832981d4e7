"""A web server that misbehaves on request, for the tests and the benchmarks.

    with FaultServer({"/model.bin": body}) as server:
        server.script("/model.bin", Reply(cut=1000), Reply(status=503, headers={"Retry-After": "1"}))
        ...                            # the first two requests go wrong, the third is served well
        server.sent("/model.bin")      # body bytes that left, over all requests
        server.log[0].headers["range"]

It does ranges, If-Range, If-None-Match and keep-alive as a real server does; with a certificate it speaks TLS; it also
works as an HTTP proxy (absolute URLs and CONNECT), answering for every host itself.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import re
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

PIECE = 64 * 1024
SMALL_BUFFER = 16 * 1024  # for a socket, at either end: what lies in one when its owner dies was sent in vain
SMALL_RECEIVE_BUFFER = (socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
# For the start of a client's code. By itself Linux lets the buffers of a slow client grow to megabytes, as on a busy
# machine, and how much a killed one had to ask for again would say more about the machine than about the client.
WITH_SMALL_BUFFERS = f"""
from urllib3.connection import HTTPConnection
HTTPConnection.default_socket_options += [{SMALL_RECEIVE_BUFFER}]
"""


@dataclass(frozen=True)
class Reply:
    """How to treat one request. Offsets count body bytes of the whole document, not of the part asked for."""

    status: int | None = None  # this status and no document
    headers: Mapping[str, str] = field(default_factory=dict)  # added; an empty value removes one
    cut: int | None = None  # close the connection at this offset
    reset: int | None = None  # the same with a TCP RST
    stall: int | None = None  # stop sending at this offset, without closing
    drip: tuple[int, float] | None = None  # that many bytes, then that many seconds of pause
    at: tuple[int, Callable[[], None]] | None = None  # call this at that offset
    body: bytes | None = None  # another document, with an ETag of its own
    flip: int | None = None  # change one bit at this offset
    extra: bytes = b""  # sent behind the document, and counted in Content-Length
    code: int | None = None  # this status in front of the document
    endless: bool = False  # no Content-Length, and the document over and over
    chunked: bool = False
    gzip: bool = False
    ignore_range: bool = False
    ignore_if_range: bool = False
    most: int | None = None  # a partial answer of so many bytes, which does not say how long the whole is
    shift: int = 0  # a partial answer whose Content-Range and bytes begin that much later


@dataclass
class Seen:
    """One request as the server saw it; `sent` counts the bytes of the body that left."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


class FaultServer:
    """Serves `documents` (bytes, or the path of a file) on 127.0.0.1; `rate` limits each connection, in bytes/s."""

    def __init__(
        self,
        documents: Mapping[str, bytes | Path] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        tunnel: ssl.SSLContext | None = None,
        rate: float | None = None,
        send_buffer: int | None = PIECE,
    ) -> None:
        self.documents: dict[str, bytes | Path] = dict(documents or {})
        self.headers: dict[str, str] = {}  # added to every answer
        self.log: list[Seen] = []
        self.rate = rate
        self.send_buffer = (
            send_buffer  # small: what the server has sent is what a client has, give or take little
        )
        self.most_at_once: int | None = None  # more requests at a time are answered with 429
        self.at_once = 0
        self.no_tunnel = 0  # the status that CONNECT is answered with
        self.closing = threading.Event()
        self._scripts: dict[str, list[Reply]] = {}
        self._always: dict[str, Reply] = {}
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"fault": self, "tunnel": tunnel})
        self._server = _Server(("127.0.0.1", 0), handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def script(self, path: str, *replies: Reply) -> None:
        """Treat the next GETs of `path` like this, one after the other."""
        with self._lock:
            self._scripts.setdefault(path, []).extend(replies)

    def always(self, path: str, reply: Reply) -> None:
        """Treat every GET of `path` like this, once its script is used up."""
        self._always[path] = reply

    def next_reply(self, path: str) -> Reply:
        with self._lock:
            queue = self._scripts.get(path)
            return queue.pop(0) if queue else self._always.get(path, Reply())

    @contextlib.contextmanager
    def counted(self) -> Iterator[int]:
        """Count a request while it is served; gives how many there are now."""
        with self._lock:
            self.at_once += 1
            count = self.at_once
        try:
            yield count
        finally:
            with self._lock:
                self.at_once -= 1

    def sent(self, path: str) -> int:
        return sum(seen.sent for seen in self.log if seen.path == path)

    def asked(self, path: str) -> list[Seen]:
        return [seen for seen in self.log if seen.path == path]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what half of the tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fault: FaultServer
    tunnel: ssl.SSLContext | None

    def setup(self) -> None:
        if self.fault.send_buffer is not None:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.fault.send_buffer)
        super().setup()

    def log_message(self, *args: object) -> None:
        """Stay quiet."""

    def do_CONNECT(self) -> None:
        """Be the proxy and the host behind it: from here on this connection is TLS with ourselves."""
        self.fault.log.append(Seen("CONNECT", self.path, _lower(self.headers)))
        if self.fault.no_tunnel:
            self.send_error(self.fault.no_tunnel)
            return
        self.send_response_only(200)
        self.end_headers()
        self.wfile.flush()
        assert self.tunnel is not None, "CONNECT needs FaultServer(tunnel=…)"
        self.connection = self.tunnel.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = parts.path
        seen = Seen(self.command, path, _lower(self.headers))
        self.fault.log.append(seen)
        reply = self.fault.next_reply(path) if self.command == "GET" else Reply()
        document = self.fault.documents.get(path) if reply.body is None else reply.body
        if document is None and reply.status is None:
            reply = Reply(status=404)
        if reply.status is not None:
            seen.status = reply.status
            self._head(reply.status, {"Content-Length": "0", **reply.headers})
            return
        assert document is not None
        with self.fault.counted() as count:
            if self.fault.most_at_once is not None and count > self.fault.most_at_once:
                seen.status = 429
                self._head(429, {"Content-Length": "0"})
            else:
                self._serve(document, reply, seen)

    def _serve(self, document: bytes | Path, reply: Reply, seen: Seen) -> None:
        if isinstance(document, Path):
            size, tag = document.stat().st_size, f'"{document.stat().st_mtime_ns:x}"'
        else:
            if reply.gzip:
                document = gzip.compress(document)
            size, tag = len(document), f'"{hashlib.sha256(document).hexdigest()[:20]}"'
        tag = reply.headers.get("ETag", tag)
        start, stop, status = 0, size, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", ""))
        if seen.headers.get("if-none-match") == tag:
            status, stop = 304, 0
        elif (
            asked
            and not reply.ignore_range
            and (reply.ignore_if_range or seen.headers.get("if-range", tag) == tag)
        ):
            start, stop = int(asked[1]) + reply.shift, min(size, int(asked[2] or size) + 1)
            status = 206 if start < size else 416
        if reply.most is not None and status == 206:
            stop = min(stop, start + reply.most)
        headers = {
            "ETag": tag,
            "Accept-Ranges": "bytes",
            "Content-Length": str(stop - start + len(reply.extra)),
        }
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size if reply.most is None else '*'}"
        elif status == 416:
            headers |= {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
            start = stop = 0
        if reply.gzip:
            headers["Content-Encoding"] = "gzip"
        if reply.endless or reply.chunked:
            headers["Content-Length"] = ""
        if reply.chunked:
            headers["Transfer-Encoding"] = "chunked"
        headers = {name: value for name, value in {**headers, **reply.headers}.items() if value}
        if "Content-Length" not in headers and not reply.chunked:
            headers["Connection"] = "close"
        seen.status = status = reply.code or status
        self._head(status, headers)
        if self.command == "GET" and status != 304:
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
                self._send_body(document, start, stop, reply, seen)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {**self.fault.headers, **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if headers.get("Connection") == "close":
            self.close_connection = True

    def _send_body(self, document: bytes | Path, start: int, stop: int, reply: Reply, seen: Seen) -> None:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(document.open("rb")) if isinstance(document, Path) else None
            if file is not None and reply == Reply() and not self.fault.rate:
                seen.sent += self.connection.sendfile(file, start, stop - start) if stop > start else 0
                return
            begun = time.monotonic()
            while True:
                for at, end in self._steps(start, stop, reply):
                    if file is not None:
                        file.seek(at)
                    piece = file.read(end - at) if file is not None else document[at:end]  # type: ignore[index]
                    if reply.flip is not None and at <= reply.flip < end:
                        piece = bytearray(piece)
                        piece[reply.flip - at] ^= 1
                    if not self._send(piece, end, reply, seen):
                        return
                    if self.fault.rate:
                        self.fault.closing.wait(begun + seen.sent / self.fault.rate - time.monotonic())
                if not reply.endless:
                    break
        if reply.extra:
            self.wfile.write(reply.extra)
            seen.sent += len(reply.extra)
        if reply.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _steps(self, start: int, stop: int, reply: Reply):
        """Cut the way into pieces that end where something is to happen."""
        piece = reply.drip[0] if reply.drip else PIECE
        marks = sorted(
            mark for mark in (reply.cut, reply.reset, reply.stall, reply.at and reply.at[0]) if mark
        )
        while start < stop:
            end = min([start + piece, stop, *(mark for mark in marks if mark > start)])
            yield start, end
            start = end

    def _send(self, piece: bytes, end: int, reply: Reply, seen: Seen) -> bool:
        """Send one piece and do what is due behind it; False when the connection is over."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if reply.chunked else piece)
        seen.sent += len(piece)
        if reply.at and end == reply.at[0]:
            reply.at[1]()
        if reply.stall == end:
            self._wait_for_the_client_to_leave()
        if end in {reply.cut, reply.reset, reply.stall}:
            if end == reply.reset:  # linger 0: closing sends RST
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            if end == reply.reset:
                self.connection.close()
            return False
        return not (reply.drip and self.fault.closing.wait(reply.drip[1]))

    def _wait_for_the_client_to_leave(self) -> None:
        while not self.fault.closing.is_set():
            if select.select([self.connection], [], [], 0.05)[0]:
                return


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
