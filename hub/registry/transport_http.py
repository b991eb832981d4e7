"""The network: HTTP through requests, with every decision about where a request may go made here."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from unicodedata import normalize
from urllib.parse import urljoin, urlsplit

from hub import settings
from hub.errors import OfflineError, UsageError
from hub.registry.connections import WATCH, Watch, watched
from hub.registry.credentials import Credentials, is_loopback, origin, redact, without_userinfo
from hub.registry.transport import CHUNK, Response, TransferFault

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPConnectionPool
    from urllib3.response import BaseHTTPResponse

MAX_REDIRECTS = 10
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
SILENT_READS = 2  # so many read timeouts may pass without a byte of the document, whatever else arrives
HEADERS = {
    "User-Agent": "hubtune",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "keep-alive",
}
REDIRECTS = frozenset({301, 302, 303, 307, 308})
DECODED = frozenset({"gzip", "x-gzip", "deflate"})
_TUNNEL = re.compile(
    r"Tunnel connection failed: ([0-9]{3}\b.{0,60}).*"
)  # http.client's words, which has no other
# Of what is not ASCII, requests makes ASCII or an error, and the Watch judges that: a list of letters would lack marks.
_HOST = re.compile(r"(?:[\w.-]|[^\x00-\xa0\s])+|[0-9a-f:.]+")

# What OpenSSL says when it refuses a certificate (X509_V_ERR_*), in words a person can act on.
CERTIFICATE_PROBLEMS = {
    9: "the certificate is not valid yet: is the clock of this machine right?",
    10: "the certificate has expired (or the clock of this machine is wrong)",
    18: "the certificate is self-signed",
    19: "the certificate chain ends in a self-signed certificate that is not trusted here",
    20: "the certificate is signed by an authority that is not trusted here",
    21: "the certificate cannot be traced to an authority that is trusted here",
    62: "the certificate belongs to another host",
    64: "the certificate belongs to another IP address",
}
STRICT = range(80, 94)  # what is wrong by RFC 5280 alone, and refused from Python 3.13 on


class HttpTransport:
    """The network, through requests: proxies and private CAs by the standard environment variables.

    Redirects are followed by hand, since each hop decides anew what may be sent there: at most ten, http and https
    only, never from https down to http, never into a private network from outside it, and a token goes to its own
    origin only. HUB_OFFLINE=1 is asked before anything else. Safe to use from many threads.
    """

    def __init__(
        self,
        *,
        credentials: Credentials | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._credentials = credentials
        self._connect_timeout_s, self._read_timeout_s = connect_timeout_s, read_timeout_s
        self._adapter: HTTPAdapter | None = None
        self._sites: dict[tuple[str, str | bool], _Site] = {}

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
        if settings.offline():
            raise OfflineError(
                f"{redact(url)}: this needs the network, and HUB_OFFLINE forbids it",
                hint="unset HUB_OFFLINE, or run the same command where there is a network and copy HUB_HOME here",
            )
        headers = _range_headers(offset=offset, stop=stop, validator=validator, etag=etag)
        _check_destination(url, allow_http=allow_http)
        watch: Watch | None = None
        for _ in range(MAX_REDIRECTS + 1):
            reply, watch = self._send(url, headers, watch)
            location = reply.headers.get("location")
            if reply.status not in REDIRECTS or not location:
                return _response(reply, url, watch)
            reply.close()
            url = _redirected(url, location, allow_http=allow_http)
        raise TransferFault(
            "redirect", f"{redact(url)}: expected at most {MAX_REDIRECTS} redirects, found more"
        )

    def _send(
        self, url: str, headers: Mapping[str, str], after: Watch | None
    ) -> tuple[BaseHTTPResponse, Watch]:
        """Give the beginning of the answer, to a request `after` another one that was redirected here."""
        import requests  # here: `hub list` answers without it
        from requests.utils import requote_uri
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        try:
            site = self._site(url)
            watch = Watch(
                redact(url),
                host=site.host,
                proxied=site.proxied,
                limit_s=SILENT_READS * self._read_timeout_s,
                after=after,
            )
            WATCH.set(watch)
            parts = urlsplit(requote_uri(without_userinfo(url)))
            path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
            reply = site.pool.urlopen(
                "GET",
                site.before_path + path,
                headers={**site.headers, **headers},
                redirect=False,
                retries=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                timeout=Timeout(connect=self._connect_timeout_s, read=self._read_timeout_s),
            )
            return reply, watch
        except (requests.RequestException, HTTPError, ValueError, OSError) as problem:
            raise _fault(problem, url) from None  # the original quotes the URL with its query

    def _site(self, url: str) -> _Site:
        """Give the way to an origin, found once: requests takes longer over it than a small file takes to arrive."""
        key = (origin(url), _trusted_certificates())
        if key not in self._sites:
            self._sites[key] = self._find(url, key[1])
        return self._sites[key]

    def _find(self, url: str, verify: str | bool) -> _Site:
        """Let requests decide how an origin is reached: proxies, certificates, names that are not ASCII."""
        import requests
        from requests.adapters import HTTPAdapter
        from requests.utils import get_environ_proxies, select_proxy

        if self._credentials is None:
            self._credentials = Credentials.load()
        authorization = self._credentials.authorization(url)
        adapter = self._adapter = self._adapter or HTTPAdapter(pool_maxsize=32)
        parts = urlsplit(without_userinfo(url))
        netloc = normalize("NFC", parts.netloc)  # requests takes no other; macOS gives names decomposed
        request = requests.Request("GET", f"{parts.scheme}://{netloc}").prepare()
        place = request.url or url
        proxies = get_environ_proxies(url)
        # The stubs promise less than what every pool of requests is.
        pool = cast(
            "HTTPConnectionPool", adapter.get_connection_with_tls_context(request, verify, proxies=proxies)
        )
        adapter.cert_verify(pool, place, verify, None)
        pool.ConnectionCls = watched(type(pool).ConnectionCls)
        return _Site(
            pool=pool,
            host=urlsplit(place).hostname or "",
            proxied=select_proxy(place, proxies) is not None,
            before_path=adapter.request_url(request, proxies).removesuffix("/"),
            headers=HEADERS | ({"Authorization": authorization} if authorization else {}),
        )


@dataclass(frozen=True)
class _Site:
    """How to ask an origin: its connections, what stands before the path (a proxy wants the whole URL), its token."""

    pool: HTTPConnectionPool
    host: str  # as requests reads and writes it, which is not always as the URL does
    proxied: bool
    before_path: str
    headers: Mapping[str, str]


def _range_headers(
    *, offset: int, stop: int | None, validator: str | None, etag: str | None
) -> dict[str, str]:
    headers = {}
    if offset or stop is not None:
        headers["Range"] = f"bytes={offset}-{'' if stop is None else stop - 1}"
        if validator:
            headers["If-Range"] = validator
    if etag:
        headers["If-None-Match"] = etag
    return headers


def _trusted_certificates() -> str | bool:
    """Give the certificates to trust: requests knows the first two variables, the others are OpenSSL's own."""
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
    return next((os.environ[name] for name in names if os.environ.get(name)), True)


def _check_destination(url: str, *, allow_http: bool) -> None:
    """Refuse what is no web address, and unencrypted connections that could bring anything."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise TransferFault("url", f"{redact(url)}: not a URL") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise TransferFault("url", f"{redact(url)}: expected http://… or https://…, found something else")
    if not _HOST.fullmatch(host):  # http://a\@b, http://%31%32%37.0.0.1: two readers find two hosts there
        raise TransferFault(
            "url", f"{redact(url)}: not a URL: expected a host of letters, digits, dots and -"
        )
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise TransferFault("url", f"{redact(url)}: http is not encrypted and no digest is known; use https")


def _redirected(url: str, location: str, *, allow_http: bool) -> str:
    """Give where a redirect leads; refuse one that leaves encryption. The request's Watch judges the host."""
    try:
        target = urljoin(without_userinfo(url), location)
    except ValueError:
        raise TransferFault("url", f"{redact(url)}: redirects to what is not a URL") from None
    _check_destination(target, allow_http=allow_http)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http":
        raise TransferFault("redirect", f"{redact(url)}: redirects from https to http ({redact(target)})")
    return target


def _response(reply: BaseHTTPResponse, url: str, watch: Watch) -> Response:
    headers = {name.lower(): value for name, value in reply.headers.items()}

    def close() -> None:
        reply.close()  # also the connection, unless the body was read to its end
        reply.release_conn()

    response = Response(url=url, status=reply.status, headers=headers, chunks=iter(()), close=close)
    encoding = headers.get("content-encoding", "").strip().lower()
    if response.encoded and encoding not in DECODED:
        reply.close()
        raise TransferFault(
            "encoding", f"{redact(url)}: expected the plain bytes, found them in {encoding[:40]!r}"
        )
    response.chunks = _chunks(reply, url, watch, expected=response.length)
    return response


def _chunks(reply: BaseHTTPResponse, url: str, watch: Watch, *, expected: int | None) -> Iterator[bytes]:
    """Give the body as it arrives: read1 returns what is there, so that a slow server can be seen to be slow."""
    from urllib3.exceptions import HTTPError

    seen = 0
    try:
        watch.restart()
        while chunk := reply.read1(CHUNK, decode_content=expected is None):
            seen += len(chunk)
            yield chunk
            watch.restart()
    except (HTTPError, OSError) as problem:
        raise _fault(problem, url) from None
    if expected is not None and seen < expected:
        raise TransferFault(
            "cut", f"{redact(url)}: the connection ended after {seen:,} of {expected:,} bytes"
        )


def _fault(problem: Exception, url: str) -> TransferFault:
    """Give the fault that an exception of requests, urllib3 or the socket stands for, in our words."""
    import requests
    import urllib3.exceptions as lower

    causes = list(_causes(problem))
    where = redact(url)

    def any_of(*types: type[BaseException]) -> bool:
        return any(isinstance(cause, types) for cause in causes)

    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = CERTIFICATE_PROBLEMS.get(cause.verify_code, cause.verify_message)
            if cause.verify_code in STRICT:
                why += (
                    ", which Python 3.13 and later insist on: whoever made the certificate must make it anew"
                )
            return TransferFault("certificate", f"{where}: {why}")
    reason = next(
        (cause.strerror for cause in reversed(causes) if isinstance(cause, OSError) and cause.strerror), ""
    )
    reason = reason or (str(problem) if type(problem) is OSError else type(causes[-1]).__name__)
    if refused := next((found for cause in causes if (found := _TUNNEL.fullmatch(str(cause)))), None):
        kind = "tunnel" if refused[1].startswith("407") else "forbidden" if refused[1][0] == "4" else "proxy"
        return TransferFault(kind, f"{where}: the proxy {_proxy_of(url)} answered {refused[1]}")
    if any_of(requests.exceptions.InvalidSchema) and "SOCKS" in str(problem):
        says = f"{_proxy_variable(url)} names the proxy {_proxy_of(url)}"
        return TransferFault("setup", f"{where}: {says}, for which PySocks is missing: pip install PySocks")
    if any_of(requests.exceptions.ProxyError, lower.ProxyError):
        return TransferFault("proxy", f"{where}: the proxy {_proxy_of(url)} does not connect: {reason}")
    if any_of(ssl.SSLError):
        return TransferFault("tls", f"{where}: the encrypted connection failed: {reason}")
    if any_of(requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, lower.LocationParseError):
        return TransferFault("url", f"{where}: not a URL that can be opened")
    if any_of(lower.DecodeError):
        return TransferFault("encoding", f"{where}: the compressed answer is damaged")
    if any_of(requests.ConnectTimeout, lower.NewConnectionError, lower.ConnectTimeoutError):
        return TransferFault("connect", f"{where}: no connection: {reason}")
    if any_of(requests.ReadTimeout, lower.ReadTimeoutError, TimeoutError):
        return TransferFault("stall", f"{where}: the server stopped sending")
    if any_of(lower.IncompleteRead):
        return TransferFault("cut", f"{where}: the connection ended before the last byte")
    if any_of(requests.ConnectionError, lower.HTTPError, ConnectionError):
        return TransferFault("cut", f"{where}: the connection broke: {reason}")
    if any_of(OSError, UsageError) and not any_of(requests.RequestException):
        return TransferFault("setup", f"{where}: the request could not be made: {reason}")
    return TransferFault("setup", f"{where}: the request could not be made: {type(problem).__name__}")


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """Give the exception and all that it wraps: requests and urllib3 put the real one into args, or a cause."""
    seen: list[BaseException] = []
    queue: list[object] = [problem]
    while queue:
        found = queue.pop(0)
        if isinstance(found, BaseException) and found not in seen:
            seen.append(found)
            yield found
            queue += [*found.args, getattr(found, "reason", None), found.__cause__, found.__context__]


def _proxy_of(url: str) -> str:
    from requests.utils import get_environ_proxies, select_proxy

    return redact(select_proxy(url, get_environ_proxies(url)) or "(none)")


def _proxy_variable(url: str) -> str:
    """Give the variable that a proxy was taken from."""
    names = (f"{urlsplit(url).scheme}_proxy", "all_proxy")
    return next(
        (each for name in names for each in (name, name.upper()) if os.environ.get(each)), "a setting"
    )
