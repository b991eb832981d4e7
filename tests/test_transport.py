"""Where a request may go and what it may carry: F21 to F25 of the fault plan; the transports without a network."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import json
import logging
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faultserver import FaultServer, Reply

from hub.errors import HubError, OfflineError, StorageError, TransferError, UsageError
from hub.registry.connections import leads_inside
from hub.registry.credentials import Credentials, is_loopback, origin, redact
from hub.registry.download import fetch, read
from hub.registry.retry import FAULTS, Clock, hint_for, may_retry
from hub.registry.transport import FileTransport, MemoryTransport, TransferFault, Transport, default_transport
from hub.registry.transport_http import CERTIFICATE_PROBLEMS, HttpTransport

BODY = bytes(range(256)) * 500
TOKEN = "TOKCANARY"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *map(str.upper, PROXIES), *AUTHORITIES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer({"/a": BODY}) as running:
        yield running


@pytest.fixture
def other() -> Iterator[FaultServer]:
    with FaultServer({"/a": BODY}) as running:
        yield running


class NoWait(Clock):
    def sleep(self, seconds: float) -> None:
        """Go on at once."""


def get(url: str, transport: Transport | None = None, *, allow_http: bool = False) -> bytes:
    return read(url, transport=transport or HttpTransport(), clock=NoWait(), allow_http=allow_http).body


def redirect(to: str, status: int = 302) -> Reply:
    return Reply(status=status, headers={"Location": to})


# --- F21: redirects ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_F21_redirect_on_one_origin_keeps_the_token(server: FaultServer, status: int) -> None:
    server.always("/old", redirect("/a", status))
    assert get(f"{server.url}/old", HttpTransport(credentials=Credentials({server.url: TOKEN}))) == BODY
    assert [seen.headers.get("authorization") for seen in server.log] == [f"Bearer {TOKEN}"] * 2


def test_F21_redirect_to_another_origin_loses_the_token(server: FaultServer, other: FaultServer) -> None:
    server.always("/old", redirect(f"{other.url}/a"))
    transport = HttpTransport(credentials=Credentials({server.url: TOKEN}))
    assert get(f"{server.url}/old", transport) == BODY
    assert get(f"{server.url.replace('//', '//user:pw@')}/old", transport) == BODY
    assert all("authorization" in seen.headers for seen in server.log)
    assert not any("authorization" in seen.headers or "cookie" in seen.headers for seen in other.log)


def test_F21_redirect_keeps_the_range(server: FaultServer, other: FaultServer) -> None:
    server.always("/old", redirect(f"{other.url}/a"))
    with HttpTransport().open(f"{server.url}/old", offset=5, stop=9, validator='"x"') as reply:
        assert reply.status == 200  # the validator is not that of the document
    with HttpTransport().open(f"{server.url}/old", offset=5, stop=9) as reply:
        assert b"".join(reply.chunks) == BODY[5:9]
        assert (reply.url, reply.span, reply.total) == (f"{other.url}/a", (5, 9), len(BODY))


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("file:///etc/passwd", "expected http://… or https://…"),
        ("ftp://127.0.0.1/a", "expected http://… or https://…"),
        ("data:text/plain,x", "expected http://… or https://…"),
        ("http://[::1", "not a URL"),
        ("http://127.0.0.1:99999/", "not a URL"),
        ("https://169.254.169.254/latest/meta-data", "private network"),
        ("https://[fe80::1]/", "private network"),
        ("https://0.0.0.0/", "private network"),
        ("https://0/", "private network"),
        ("http://example.com/a", "not encrypted"),
    ],
)
def test_F21_bad_targets_are_refused_at_once(server: FaultServer, target: str, says: str) -> None:
    server.always("/old", redirect(target))
    with pytest.raises(TransferError, match=says):
        get(f"{server.url}/old")
    assert len(server.log) == 1


@pytest.mark.parametrize("count", [10, 11])
def test_F21_ten_redirects_and_no_more(server: FaultServer, count: int) -> None:
    for number in range(count):
        server.always(f"/{number}", redirect(f"/{number + 1}" if number + 1 < count else "/a"))
    if count == 10:
        assert get(f"{server.url}/0") == BODY
    else:
        with pytest.raises(TransferError, match="at most 10 redirects"):
            get(f"{server.url}/0")
    assert len(server.log) == 11


def test_F21_body_of_a_redirect_is_not_read(server: FaultServer) -> None:
    server.script("/a", Reply(endless=True, code=302, headers={"Location": "/a"}))
    assert get(f"{server.url}/a") == BODY
    assert server.log[0].sent < 10 * 2**20


def test_F21_loop_ends(server: FaultServer) -> None:
    server.always("/loop", redirect("/loop"))
    with pytest.raises(TransferError, match="at most 10 redirects"):
        get(f"{server.url}/loop")


def test_F21_public_host_may_not_send_us_into_the_private_network(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)  # answers for every host
    for target in ("http://127.0.0.1:1/a", "http://localhost/a", "http://10.0.0.1/a", "http://2130706433/a"):
        server.always("/old", redirect(target))
        with pytest.raises(TransferError, match="private network"):
            get("http://models.example/old", allow_http=True)
    assert {seen.headers["host"] for seen in server.log} == {"models.example"}


@pytest.mark.parametrize(
    "host",
    [
        "%31%32%37.0.0.1", "127.0.0.1\\.models.example", "169.254.169.254\\x", "localhost%2e", "[fe80::1%25lo]",
        "[64:ff9b::a9fe:a9fe]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::ffff:10.0.0.1]", "localhost.", "127.0.0.1.",
        "0x7f.1", "local\u00adhost", "127.0.0.1\u00a0", "localhost\u0085",
    ],
)  # fmt: skip
def test_F21_no_spelling_of_an_address_leads_into_the_private_network(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.always("/old", redirect(f"http://{host}/a"))
    with pytest.raises(TransferError, match=r"private network|not a URL"):
        get("http://models.example/old", allow_http=True)
    assert {seen.headers["host"] for seen in server.log} == {"models.example"}


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("उदाहरण.परीक्षा", "xn--p1b6ci4b4b3a.xn--11b5bs3a9aj6g"),
        ("mü.example", "xn--m-eha.example"),
        ("mu\u0308.example", "xn--m-eha.example"),  # as macOS writes names
    ],
)
def test_a_host_may_be_written_in_any_script(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, host: str, asked: str
) -> None:
    monkeypatch.setenv("http_proxy", server.url)  # answers for every host
    assert get(f"http://{host}/a", allow_http=True) == BODY
    assert [seen.headers["host"] for seen in server.log] == [asked]


@pytest.mark.parametrize(
    ("here", "there", "inside"),
    [
        ("8.8.8.8", "9.9.9.9", False),
        ("8.8.8.8", "2606:4700::1111", False),
        ("8.8.8.8", "64:ff9b::808:808", False),
        ("8.8.8.8", "10.1.2.3", True),
        ("8.8.8.8", "127.0.0.1", True),
        ("8.8.8.8", "100.64.0.1", True),
        ("8.8.8.8", "fd00::1", True),
        ("8.8.8.8", "::ffff:192.168.0.1", True),
        ("10.0.0.1", "10.1.2.3", False),
        ("100.64.0.1", "100.64.0.2", False),
        ("10.0.0.1", "169.254.169.254", True),
        ("10.0.0.1", "fe80::1%eth0", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("models.example", "files.example", False),
        ("models.example", "127.0.0.1", True),
    ],
)
def test_F21_what_leads_inside(here: str, there: str, inside: bool) -> None:
    assert leads_inside(here, there) is inside


def test_F21_a_name_is_judged_by_the_address_that_answers(
    server: FaultServer, other: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)  # answers for models.example
    monkeypatch.setenv("no_proxy", "machine.localdomain")
    resolve, ours = socket.getaddrinfo, {"machine.localdomain": "127.0.0.1"}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest: resolve(ours.get(host, host), *rest))
    server.always("/old", redirect(f"http://machine.localdomain:{other.port}/a"))
    with pytest.raises(TransferError, match=r"private network \(http://machine.*, 127\.0\.0\.1\)"):
        get("http://models.example/old", allow_http=True)
    assert other.log == []


# --- servers that send, and nothing of the document -------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (OK + b"X-A: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"A: a\r\n"),
        (OK + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"")),
    ],
    ids=["header", "continue", "chunk extension", "trailer", "empty gzip"],
)
def test_a_server_that_sends_all_but_the_document_is_given_up(start: bytes, again: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(start)
                while not done.wait(0.01):
                    connection.sendall(again)

        done = threading.Event()
        pool.submit(serve)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a"
        try:
            with pytest.raises(TransferFault, match=r"no byte of the document in 0\.4 s") as caught:
                get(url, HttpTransport(read_timeout_s=0.2))
        finally:
            done.set()
    assert caught.value.kind == "slow"


# --- F22: encryption --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and what it signed: good (127.0.0.1 and hub.test), expired, early, other (another host). A
    second one, lax, which says less of itself than Python 3.13 asks for, and what that signed: frail. And self."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make certificates")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")
    run("req", "-x509", *key, "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority",
        "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    for name in ("self", "lax"):
        run("req", "-x509", *key, f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}",
            "-addext", "subjectAltName=IP:127.0.0.1")  # fmt: skip
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndir=.\ndatabase=index\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\n"
        "policy=p\nunique_subject=no\n[p]\ncommonName=supplied\n",
        encoding="utf-8",
    )
    (folder / "index").touch()
    (folder / "serial").write_text("01\n", encoding="utf-8")
    for authority, name, names, start, end in (
        ("ca", "good", "IP:127.0.0.1,DNS:hub.test", "20200101000000Z", "20480101000000Z"),
        ("ca", "expired", "IP:127.0.0.1", "20200101000000Z", "20210101000000Z"),
        ("ca", "early", "IP:127.0.0.1", "20470101000000Z", "20480101000000Z"),
        ("lax", "frail", "IP:127.0.0.1", "20200101000000Z", "20480101000000Z"),
        ("ca", "other", "DNS:other.test", "20200101000000Z", "20480101000000Z"),
    ):
        more = f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\n"
        (folder / "names").write_text(more, encoding="utf-8")
        run("req", *key, f"{name}.key", "-out", "request", "-subj", f"/CN={name}")
        run("ca", "-batch", "-config", "ca.cnf", "-cert", f"{authority}.pem", "-keyfile", f"{authority}.key",
            "-in", "request", "-startdate", start, "-enddate", end, "-extfile", "names", "-out", f"{name}.pem",
            "-notext")  # fmt: skip
    return folder


@pytest.fixture
def tls(certificates: Path) -> Callable[[str], ssl.SSLContext]:
    def context(name: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        return made

    return context


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_F22_private_authority_by_environment(
    certificates: Path, tls: Callable[[str], ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(certificates / "ca.pem"))
    with FaultServer({"/a": BODY}, tls=tls("good")) as server:
        assert get(f"{server.url}/a") == BODY


@pytest.mark.parametrize(
    ("name", "trusted", "says"),
    [
        ("expired", True, CERTIFICATE_PROBLEMS[10]),
        ("early", True, CERTIFICATE_PROBLEMS[9]),
        ("self", True, CERTIFICATE_PROBLEMS[18]),
        ("other", True, "another"),
        ("good", False, CERTIFICATE_PROBLEMS[20]),
    ],
)
def test_F22_bad_certificates_are_named_and_never_retried(
    certificates: Path,
    tls: Callable[[str], ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    trusted: bool,
    says: str,
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    slept: list[float] = []
    clock = Clock()
    clock.sleep = slept.append  # type: ignore[method-assign]
    with FaultServer({"/a": BODY}, tls=tls(name)) as server:
        with pytest.raises(TransferFault) as caught:
            read(f"{server.url}/a", transport=HttpTransport(), clock=clock)
        assert says in caught.value.message
        assert caught.value.kind == "certificate"
        assert not server.log
    assert not slept


@pytest.mark.skipif(sys.version_info < (3, 13), reason="an older Python takes it")
def test_F22_a_certificate_that_only_new_pythons_refuse_is_named(
    certificates: Path, tls: Callable[[str], ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "lax.pem"))
    with (
        FaultServer({"/a": BODY}, tls=tls("frail")) as server,
        pytest.raises(TransferFault, match=r"key usage extension, which Python 3\.13 and later insist on"),
    ):
        get(f"{server.url}/a")


def test_F22_redirect_from_https_to_http_is_refused(
    certificates: Path,
    tls: Callable[[str], ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    other: FaultServer,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    with FaultServer({}, tls=tls("good")) as server:
        server.always("/old", redirect(f"{other.url}/a"))
        with pytest.raises(TransferError, match="from https to http"):
            get(f"{server.url}/old", allow_http=True)
    assert not other.log


def test_F22_http_beyond_this_machine_needs_a_digest(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(TransferError, match="not encrypted"):
        get("http://models.example/a")
    monkeypatch.setenv("http_proxy", server.url)
    assert get("http://models.example/a", allow_http=True) == BODY
    with pytest.raises(TransferError, match="not encrypted"):
        fetch(["http://models.example/a"], to=tmp_path / "a", partials=tmp_path)


def test_F22_missing_certificate_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(TransferError, match=r"/nowhere/ca\.pem"):
        get("https://127.0.0.1:1/a")


def test_F22_plain_server_behind_https_is_an_error_of_the_connection(server: FaultServer) -> None:
    with pytest.raises(TransferFault) as caught:
        get(server.url.replace("http:", "https:") + "/a")
    assert caught.value.kind == "tls"


# --- F23: no network --------------------------------------------------------------------------------------------


def test_F23_offline_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_OFFLINE", "1")

    def no_sockets(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", no_sockets)
    monkeypatch.setattr(socket, "getaddrinfo", no_sockets)
    with pytest.raises(OfflineError, match="HUB_OFFLINE"):
        read("https://models.example/a")


def test_F23_unreachable_server_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a"
    with pytest.raises(TransferFault, match=r"no connection: Connection refused \(tried 5 times\)") as caught:
        get(url)
    assert caught.value.kind == "connect"
    assert "HTTPS_PROXY" in caught.value.hint


def test_F23_files_need_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUB_OFFLINE", "1")
    (tmp_path / "a b").write_bytes(BODY)
    assert read((tmp_path / "a b").as_uri()).body == BODY
    assert read(str(tmp_path / "a b")).body == BODY


# --- F24: proxies -----------------------------------------------------------------------------------------------


def test_F24_http_proxy_with_user_and_password(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url.replace("//", "//user:pw@"))
    assert get("http://models.example/a", allow_http=True) == BODY
    (seen,) = server.log
    assert seen.headers["host"] == "models.example"
    assert seen.headers["proxy-authorization"] == "Basic dXNlcjpwdw=="


def test_F24_https_proxy_is_a_tunnel_that_sees_no_token(
    certificates: Path, tls: Callable[[str], ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    with FaultServer({"/a": BODY}, tunnel=tls("good")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:pw@"))
        transport = HttpTransport(credentials=Credentials({"https://hub.test": TOKEN}))
        assert get("https://hub.test/a", transport) == BODY
        connect, request = proxy.log
    assert connect.method == "CONNECT"
    assert "proxy-authorization" in connect.headers
    assert "authorization" not in connect.headers
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert "proxy-authorization" not in request.headers


def test_F24_no_proxy(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert get(f"{server.url}/a") == BODY


def test_F24_broken_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://user:{TOKEN}@127.0.0.1:1")
    with pytest.raises(TransferFault, match=r"the proxy http://127\.0\.0\.1:1 does not connect") as caught:
        get("https://models.example/a")
    assert caught.value.kind == "proxy"
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (407, "tunnel", "put its user and password into HTTPS_PROXY"),
        (403, "forbidden", "ask whoever runs the proxy"),
        (400, "forbidden", "ask whoever runs the proxy"),
        (503, "proxy", "check HTTP_PROXY, HTTPS_PROXY"),
    ],
)
def test_F24_a_proxy_that_refuses_is_quoted(
    status: int, kind: str, advice: str, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.no_tunnel = status
    monkeypatch.setenv("https_proxy", server.url.replace("//", f"//user:{TOKEN}@"))
    with pytest.raises(TransferFault, match=f"the proxy {server.url} answered {status} ") as caught:
        get("https://models.example/a")
    assert caught.value.kind == kind
    assert hint_for(caught.value).startswith(advice)
    assert may_retry(caught.value) == (status == 503)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.skipif(importlib.util.find_spec("socks") is not None, reason="PySocks is not missing")
def test_F24_a_socks_proxy_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", f"socks5://user:{TOKEN}@127.0.0.1:1")
    with pytest.raises(TransferFault, match=r"all_proxy names the proxy socks5://127\.0\.0\.1:1, .* PySocks"):
        get("https://models.example/a")


# --- F25: tokens ------------------------------------------------------------------------------------------------


def test_F25_token_is_in_no_log_journal_traceback_or_foreign_request(
    server: FaultServer, other: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = BODY * 20
    server.documents["/a"] = body
    server.always("/away", redirect(f"{other.url}/a"))
    signed = f"?signature={TOKEN}"
    with_user = server.url.replace("//", f"//user:{TOKEN}@")
    texts: list[str] = []
    scripts = {
        "cut": [Reply(cut=2_000_000), Reply(status=403)],
        "reset": [Reply(reset=2_000_000), Reply(status=404)],
        "statuses": [Reply(status=500)] * 5,
        "wait": [Reply(status=503, headers={"Retry-After": "3600"})],
        "wrong_size": [Reply(body=b"x")],
        "junk": [Reply(headers={"Content-Encoding": "br"})],
        "private": [redirect(f"http://169.254.1.1/{signed}")],
        "scheme": [redirect(f"file:///etc/passwd{signed}")],
    }
    logging.getLogger("urllib3").setLevel(logging.INFO)  # its DEBUG lines quote every path, by design
    for case, replies in scripts.items():
        for url in (f"{server.url}/a", f"{server.url}/a{signed}", f"{with_user}/a", f"{with_user}/a{signed}"):
            server.script("/a", *replies)
            with pytest.raises(HubError) as caught:
                fetch(
                    [url],
                    to=tmp_path / case,
                    partials=tmp_path / f"{case}-partials",
                    size=len(body),
                    transport=HttpTransport(credentials=Credentials({server.url: TOKEN})),
                    clock=NoWait(),
                )
            texts.append("".join(traceback.format_exception(caught.value)))
    assert get(f"{server.url}/away", HttpTransport(credentials=Credentials({server.url: TOKEN}))) == BODY
    texts += [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.json")]
    texts += [str(path) for path in tmp_path.rglob("*")]
    texts.append(caplog.text)
    texts.append(str([(seen.path, seen.headers) for seen in other.log]))
    texts.append(repr(Credentials({server.url: TOKEN})))
    assert any("journal.json" in text for text in texts)
    assert [text for text in texts if TOKEN in text] == []
    assert all("authorization" in seen.headers for seen in server.log)


def test_F25_tokens_come_from_a_file_that_is_private(empty_home: Path, server: FaultServer) -> None:
    path = empty_home / "hub" / "credentials.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({server.url: TOKEN}), encoding="utf-8")
    path.chmod(0o640)
    with pytest.raises(StorageError, match=r"found mode 0640(.|\n)*chmod 600"):
        get(f"{server.url}/a")
    path.chmod(0o600)
    assert get(f"{server.url}/a") == BODY
    assert server.log[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "text", ["", "[]", f'["{TOKEN}"]', f'{{"https://x": {{"{TOKEN}": 1}}}}', f'{{"{TOKEN}": "x"}}']
)
def test_F25_damaged_credentials_are_refused_unquoted(empty_home: Path, text: str) -> None:
    path = empty_home / "hub" / "credentials.json"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(StorageError, match="expected") as caught:
        Credentials.load()
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("variable", "url", "sent"),
    [
        ("HUB_TOKEN_MODELS_EXAMPLE_COM", "https://models.example.com/a", True),
        ("HUB_TOKEN_MODELS_EXAMPLE_COM", "https://models.example.com:443/a", True),
        ("HUB_TOKEN_MODELS_EXAMPLE_COM", "https://MODELS.example.com/a", True),
        ("HUB_TOKEN_MODELS_EXAMPLE_COM", "https://models-example.com/a", False),
        ("HUB_TOKEN_MODELS__EXAMPLE_COM", "https://models-example.com/a", True),
        ("HUB_TOKEN_MODELS__EXAMPLE_COM", "https://models.example.com/a", False),
        ("HUB_TOKEN_MODELS_EXAMPLE_COM", "https://models.example.com:8443/a", False),
        ("HUB_TOKEN_MODELS_EXAMPLE_COM_8443", "https://models.example.com:8443/a", True),
        ("HUB_TOKEN_MODELS_EXAMPLE_COM", "http://models.example.com/a", False),
        ("HUB_TOKEN_MODELS_EXAMPLE_COM_80", "http://models.example.com/a", False),
        ("HUB_TOKEN_MODELS_EXAMPLE_COM", "https://models.example.com.evil.com/a", False),
        ("HUB_TOKEN_MODELS_EXAMPLE_COM", "https://evil.com/models.example.com", False),
        ("HUB_TOKEN_127_0_0_1_5000", "http://127.0.0.1:5000/a", True),
        ("HUB_TOKEN_A_B", "https://a_b/a", False),
    ],
)
def test_F25_a_variable_names_one_origin(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str, sent: bool
) -> None:
    monkeypatch.setenv(variable, TOKEN)
    assert Credentials().authorization(url) == (f"Bearer {TOKEN}" if sent else None)


def test_F25_netrc_is_not_read(
    server: FaultServer, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = empty_home / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {TOKEN}\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    assert get(f"{server.url}/a") == BODY
    assert "authorization" not in server.log[0].headers


# --- small things -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("https://a.b/c", "https://a.b/c"),
        ("https://user:pw@a.b/c", "https://a.b/c"),
        ("https://user:p@w@a.b/c", "https://a.b/c"),
        ("https://a.b/c?sig=1", "https://a.b/c?…"),
        ("https://a.b/c#frag", "https://a.b/c"),
        ("https://a.b?sig=1", "https://a.b?…"),
        ("https://user:pw@a.b?sig=1/2", "https://a.b?…"),
        ("https://user:pw@[::1", "https://[::1"),
        ("user:pw@a.b/c", "a.b/c"),
        ("/srv/models/a", "/srv/models/a"),
        ("https://user:p/w@a.b/c", "https://…"),
        ("https://a.b/name@1.0/c", "https://a.b/name@1.0/c"),
    ],
)
def test_redacted_urls_show_no_secret(url: str, printed: str) -> None:
    assert redact(url) == printed


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://A.b/c", "https://a.b:443"),
        ("http://a.b", "http://a.b:80"),
        ("https://u:p@a.b:1/c", "https://a.b:1"),
        ("https://[::1]/c", "https://[::1]:443"),
    ],
)
def test_origin(url: str, expected: str) -> None:
    assert origin(url) == expected


def test_origin_of_nonsense_is_refused() -> None:
    with pytest.raises(UsageError, match="not a URL"):
        origin("https://a:b/")


@pytest.mark.parametrize(
    "host", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "2130706433", "0x7f.1"]
)
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "localhost.evil.com", "::2", "", "8.8.8.8"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_file_and_memory_transports_answer_as_the_server_does(server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(BODY)
    url = f"{server.url}/a"
    places: list[tuple[Transport, str]] = [
        (HttpTransport(), url),
        (FileTransport(), str(tmp_path / "a")),
        (MemoryTransport({url: BODY}), url),
    ]
    questions = [{}, {"offset": 5}, {"offset": 5, "stop": 9}, {"stop": 10**9}, {"offset": len(BODY)}]
    for transport, place in places:
        with transport.open(place) as reply:
            tag = reply.validator
        assert tag is not None
        for question in [
            *questions,
            {"etag": tag},
            {"offset": 3, "validator": tag},
            {"offset": 3, "validator": '"-"'},
        ]:
            expected_question = {
                name: '"-"' if value == '"-"' else server_tag(server) if isinstance(value, str) else value
                for name, value in question.items()
            }
            with (
                transport.open(place, **question) as reply,
                HttpTransport().open(url, **expected_question) as expected,
            ):
                found = (reply.status, reply.total, reply.span, reply.not_modified, b"".join(reply.chunks))
                assert found == (
                    expected.status, expected.total, expected.span, expected.not_modified, b"".join(expected.chunks)
                ), (transport, question)  # fmt: skip
        with transport.open(f"{place}-absent") as reply:
            assert reply.status == 404


def server_tag(server: FaultServer) -> str:
    with HttpTransport().open(f"{server.url}/a") as reply:
        assert reply.validator is not None
        return reply.validator


def test_default_transport_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TransferFault, match="expected file:// or http:// or https://, found gopher://"):
        default_transport().open("gopher://x/a")


@pytest.mark.parametrize("value", ["12", "9" * 5000, "-1", "1_0", "", "x", "²"])
def test_lengths_that_lie_are_unknown(value: str) -> None:
    reply = MemoryTransport({"m://a": b""}).open("m://a")
    reply.headers = {"content-length": value}
    assert reply.length == (12 if value == "12" else None)


def test_every_kind_of_fault_says_what_to_do() -> None:
    assert all(hint for _, hint in FAULTS.values())
