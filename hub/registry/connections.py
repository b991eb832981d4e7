"""The connections of urllib3 under watch: an answer must bring something, and a redirect must not lead inside."""

from __future__ import annotations

import io
import socket
import time
from contextvars import ContextVar
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any

from hub.registry.credentials import address, is_loopback
from hub.registry.transport import TransferFault

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from urllib3.connection import HTTPConnection

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address seen from a network that has only IPv6


class Watch:
    """One request as its connection sees it: whom it is sent to, and whether anything comes of it.

    A read timeout counts from one byte to the next, so that a server may send a header a byte at a time, or
    `100 Continue` over and over, and never a byte of the document. The watch gives the beginning of an answer, and
    then each piece of its body, `limit_s` in all.
    """

    def __init__(
        self, where: str, *, host: str, proxied: bool, limit_s: float, after: Watch | None = None
    ) -> None:
        """Raise TransferFault if the request `after` which this one comes was redirected to a host that is inside."""
        self._where, self._host, self._proxied, self._limit_s = where, host, proxied, limit_s
        self._after = after
        self._peer = ""
        if after and leads_inside(after._host, host):
            raise after._astray(where)
        self.restart()

    def restart(self) -> None:
        """Begin to count: something came, or something is asked for."""
        self._until = time.monotonic() + self._limit_s

    def check(self) -> None:
        """Raise TransferFault when nothing came for too long."""
        if time.monotonic() > self._until:
            raise TransferFault("slow", f"{self._where}: no byte of the document in {self._limit_s:g} s")

    def meet(self, peer: str) -> None:
        """Take note of the address at the other end; raise TransferFault if a redirect must not lead there."""
        if not self._proxied:  # a proxy's own address says nothing, and whom it asks it does not say
            self._peer = peer
            before = self._after
            if before and leads_inside(before._peer or before._host, peer):
                raise before._astray(f"{self._where}, {peer}")

    def _astray(self, there: str) -> TransferFault:
        return TransferFault("redirect", f"{self._where}: redirects into a private network ({there})")


WATCH: ContextVar[Watch] = ContextVar("watch")
"""The watch of the request that this thread is about to make."""


@cache
def watched(kind: type[HTTPConnection]) -> type[HTTPConnection]:
    """Give a class of connections that keep to the WATCH of each request."""

    def send(self: Any, data: Any) -> None:
        if self.sock is None:
            self.connect()
        WATCH.get().meet(self.sock.getpeername()[0])
        kind.send(self, data)

    return type(kind.__name__, (kind,), {"send": send, "response_class": staticmethod(_response)})


def leads_inside(here: str, there: str) -> bool:
    """Say whether a redirect between these hosts, each a name or an address, leads into a network from outside it.

    Addresses that mean one machine's surroundings (link-local: a cloud's metadata) are never the end of a redirect.
    """
    start, end = _behind(here), _behind(there)
    if not is_loopback(there.rstrip(".")) and (end is None or end.is_global):
        return False
    inside = is_loopback(here) or (start is not None and not start.is_global)
    return not inside or (end is not None and (end.is_link_local or end.is_unspecified))


def _behind(host: str) -> IPv4Address | IPv6Address | None:
    """Give the address that is reached, also through what translates IPv6 to IPv4 on the way."""
    found = address(host.rstrip("."))
    if isinstance(found, IPv6Address):
        return IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else found.sixtofour or found
    return found


def _response(sock: socket.socket, *arguments: Any, **options: Any) -> HTTPResponse:
    from http.client import HTTPResponse

    return HTTPResponse(_Source(sock), *arguments, **options)  # type: ignore[arg-type]  # all that it asks for


class _Source:
    """What http.client reads an answer from."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_WatchedFile(self._sock.makefile("rb", buffering=0), WATCH.get()))


class _WatchedFile(io.RawIOBase):
    """A socket's bytes: the watch is asked before each arrival is waited for."""

    def __init__(self, file: socket.SocketIO, watch: Watch) -> None:
        self._file, self._watch = file, watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._watch.check()
        return self._file.readinto(buffer)

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()
