"""Downloads over a bad network, onto a bad disk, killed at the worst moment: F01 to F20 and F34 of the fault plan.

In every case the file is either absent or has the right sha256, and the error says what happened.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from faultserver import SMALL_BUFFER, SMALL_RECEIVE_BUFFER, WITH_SMALL_BUFFERS, FaultServer, Reply
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from urllib3.connection import HTTPConnection

from hub.errors import IntegrityError, OfflineError, StorageError, TransferError, UsageError
from hub.registry import owner
from hub.registry.download import Fetched, fetch, read
from hub.registry.partial import Partial, claim
from hub.registry.retry import Clock, Policy
from hub.registry.transfer import Engine, Transfer, Want
from hub.registry.transport import Fault, MemoryTransport, Response, TransferFault, Transport
from hub.registry.transport_http import HttpTransport

MIB = 2**20
BODY = random.Random(1).randbytes(3 * MIB + 12_345)
DIGEST = hashlib.sha256(BODY).hexdigest()
LARGE = random.Random(2).randbytes(40 * MIB)
LARGE_DIGEST = hashlib.sha256(LARGE).hexdigest()


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which boot this is")
AT_ONCE = Policy(ramp_s=0)  # all connections from the first moment


class PatientClock(Clock):
    """Time that passes only by sleeping, and at once; jitter always asks for the longest wait."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def jitter(self) -> float:
        return 1.0


@dataclass
class Site:
    """A place to download to, and the server to download from."""

    server: FaultServer
    folder: Path
    clock: PatientClock

    @property
    def url(self) -> str:
        return f"{self.server.url}/model.bin"

    @property
    def to(self) -> Path:
        return self.folder / "blobs" / "model"

    @property
    def partials(self) -> Path:
        return self.folder / "partials"

    def fetch(self, *urls: str, **options: object) -> Fetched:
        keywords: dict = {"sha256": DIGEST, "size": len(BODY), "clock": self.clock}
        keywords |= {"transport": HttpTransport(), **options}
        return fetch(urls or [self.url], to=self.to, partials=self.partials, **keywords)

    def check_file(self, body: bytes = BODY) -> None:
        assert hashlib.sha256(self.to.read_bytes()).hexdigest() == hashlib.sha256(body).hexdigest()
        assert self.to.stat().st_mode & 0o777 == 0o444
        self.check_nothing_left()

    def check_nothing_installed(self) -> None:
        assert not self.to.exists()
        self.check_nothing_left()

    def check_nothing_left(self) -> None:
        left = [path for path in self.folder.rglob("*") if path.is_file() and path != self.to]
        assert not left, left


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    small = [*HTTPConnection.default_socket_options, SMALL_RECEIVE_BUFFER]
    monkeypatch.setattr(HTTPConnection, "default_socket_options", small)
    with FaultServer({"/model.bin": BODY}, send_buffer=SMALL_BUFFER) as server:
        yield Site(server, tmp_path, PatientClock())


def run_child(
    site: Site, *, body: bytes, digest: str, before: str = "", progress: str = "None"
) -> subprocess.Popen:
    """Start a process of its own that downloads; `before` is code that runs first."""
    arguments = {"to": str(site.to), "partials": str(site.partials), "sha256": digest, "size": len(body)}
    code = (
        f"import json, os, sys; from pathlib import Path\n{WITH_SMALL_BUFFERS}\n{before}\n"
        "from hub.registry.download import fetch\n"
        f"arguments = {arguments!r}\n"
        "for name in ('to', 'partials'): arguments[name] = Path(arguments[name])\n"
        f"print(fetch([{site.url!r}], progress={progress}, **arguments).url)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


OFFSETS = sorted(random.Random(11).sample(range(1, len(LARGE)), 20))


@pytest.mark.parametrize("offset", OFFSETS)
def test_F01_kill_resumes(site: Site, offset: int) -> None:
    site.server.documents["/model.bin"] = LARGE
    site.server.rate = 15e6  # a network slower than the client, so that little is under way when it dies
    started = threading.Event()
    child: list[subprocess.Popen] = []

    def kill() -> None:
        started.wait(10)
        child[0].kill()

    site.server.always("/model.bin", Reply(at=(offset, kill)))
    child.append(run_child(site, body=LARGE, digest=LARGE_DIGEST))
    started.set()
    assert child[0].wait() == -signal.SIGKILL
    assert not site.to.exists()
    site.server.rate = None
    site.server.always("/model.bin", Reply())
    site.fetch(sha256=LARGE_DIGEST, size=len(LARGE))
    site.check_file(LARGE)
    assert site.server.sent("/model.bin") - len(LARGE) <= MIB


def test_F01_kill_between_the_last_byte_and_the_rename(site: Site) -> None:
    child = run_child(
        site,
        body=BODY,
        digest=DIGEST,
        progress="lambda done, size: os.kill(os.getpid(), 9) if done == size else None",
    )
    assert child.wait() == -signal.SIGKILL
    assert not site.to.exists()
    sent = site.server.sent("/model.bin")
    site.fetch()
    site.check_file()
    assert site.server.sent("/model.bin") == sent == len(BODY)


@pytest.mark.parametrize("offset", random.Random(12).sample(range(len(BODY)), 20))
def test_F02_flipped_bit_is_refused(site: Site, offset: int) -> None:
    site.server.always("/model.bin", Reply(flip=offset))
    with pytest.raises(IntegrityError) as caught:
        site.fetch()
    found = bytearray(BODY)
    found[offset] ^= 1
    for part in (site.url, DIGEST, hashlib.sha256(found).hexdigest()):
        assert part in str(caught.value)
    site.check_nothing_installed()


@pytest.mark.parametrize(
    ("body", "says"),
    [(BODY[: 2 * MIB], f"expected {len(BODY):,} bytes, the server has {2 * MIB:,}"), (BODY[::-1], DIGEST)],
    ids=["truncated", "other_file_of_the_same_size"],
)
def test_F02_other_file_is_refused(site: Site, body: bytes, says: str) -> None:
    site.server.always("/model.bin", Reply(body=body))
    with pytest.raises(IntegrityError, match=says):
        site.fetch()
    site.check_nothing_installed()


def test_F02_wrong_bytes_from_an_earlier_run_do_not_condemn_the_mirror(site: Site) -> None:
    site.server.script("/model.bin", Reply(flip=1000, cut=MIB), *[Reply(status=404)])
    with pytest.raises(TransferError, match="404"):
        site.fetch()
    site.fetch()
    site.check_file()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_F10_disk_too_small_is_known_before_the_first_byte(site: Site, small_disk: Path) -> None:
    site.folder = small_disk
    with pytest.raises(StorageError, match=r"needs 3,\d{3},\d{3} bytes of disk, .* has \d,\d{3},\d{3}"):
        site.fetch()
    assert not site.server.log
    site.check_nothing_installed()


def test_F10_disk_too_small_is_known_from_the_headers(site: Site, small_disk: Path) -> None:
    site.folder = small_disk
    with pytest.raises(StorageError, match="needs 3,"):
        site.fetch(size=None)
    assert site.server.sent("/model.bin") < MIB  # what was under way
    site.check_nothing_installed()


def test_F10_disk_full_on_the_way(site: Site, small_disk: Path) -> None:
    site.folder = small_disk
    site.server.always("/model.bin", Reply(chunked=True))
    with pytest.raises(StorageError, match="full"):
        site.fetch(size=None)
    site.check_nothing_installed()
    site.server.documents["/model.bin"] = BODY[:MIB]  # what fits is still welcome
    site.fetch(sha256=hashlib.sha256(BODY[:MIB]).hexdigest(), size=None)
    site.check_file(BODY[:MIB])


def test_F10_file_larger_than_the_process_may_write(site: Site) -> None:
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({MIB}, {MIB}))"
    child = run_child(site, body=BODY, digest=DIGEST, before=limit)
    _, errors = child.communicate()
    assert child.returncode == 1
    assert "StorageError" in errors.splitlines()[-2]
    site.check_nothing_installed()


def test_F12_eight_processes_transfer_once(site: Site) -> None:
    site.server.rate = 20e6
    children = [run_child(site, body=BODY, digest=DIGEST) for _ in range(8)]
    outputs = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0] * 8, outputs
    assert sorted(out.strip() for out, _ in outputs) == [""] * 7 + [site.url]
    assert site.server.sent("/model.bin") == len(BODY)
    site.check_file()


CUT_OFFSETS = sorted(random.Random(13).sample(range(1, len(BODY)), 10))


def impatient() -> Transport:
    """Half a second without a byte is a stall, instead of 30."""
    return HttpTransport(read_timeout_s=0.5)


@pytest.mark.parametrize("offset", CUT_OFFSETS)
@pytest.mark.parametrize("kind", ["cut", "reset", "stall"])
def test_F13_break_resumes(site: Site, kind: str, offset: int) -> None:
    site.server.script("/model.bin", Reply(**{kind: offset}))
    site.fetch(transport=impatient())
    site.check_file()
    assert site.server.sent("/model.bin") - len(BODY) <= MIB
    assert len(site.clock.slept) == 1


@pytest.mark.parametrize("kind", ["cut", "reset", "stall"])
def test_F13_progress_resets_the_retry_counter(site: Site, kind: str) -> None:
    offsets = CUT_OFFSETS[:: 1 if kind == "cut" else 2]
    site.server.script("/model.bin", *[Reply(**{kind: offset}) for offset in offsets])
    site.fetch(transport=impatient())
    site.check_file()
    assert site.clock.slept == [0.5] * len(offsets)
    assert site.server.sent("/model.bin") - len(BODY) <= len(offsets) * MIB


def test_F13_a_stall_is_seen_when_reading_has_taken_too_long_whatever_connecting_may_take(site: Site) -> None:
    site.server.script("/model.bin", Reply(stall=1000))
    started = time.monotonic()
    site.fetch(transport=HttpTransport(connect_timeout_s=60, read_timeout_s=0.5))
    site.check_file()
    assert time.monotonic() - started < 30  # half a second and what a busy machine adds to it


def test_F13_without_progress_five_tries_are_enough(site: Site) -> None:
    site.server.always("/model.bin", Reply(status=502))
    with pytest.raises(TransferError, match=r"502 \(tried 5 times\)"):
        site.fetch()
    assert site.clock.slept == [0.5, 1.0, 2.0, 4.0]
    site.check_nothing_installed()


def test_F13_break_in_one_of_many_connections(site: Site) -> None:
    site.server.documents["/model.bin"] = LARGE
    site.server.always("/model.bin", Reply(cut=9 * MIB, reset=17 * MIB))
    site.server.script("/model.bin", Reply(), Reply(status=503))
    site.server.rate = 20e6  # else one connection may be done before a second one joins
    site.fetch(sha256=LARGE_DIGEST, size=len(LARGE), policy=AT_ONCE)
    site.check_file(LARGE)
    assert len(site.server.log) >= 5 + 2  # five blocks, two of them in two pieces
    assert {206} < {seen.status for seen in site.server.log}
    assert site.server.sent("/model.bin") - len(LARGE) <= 3 * MIB


def test_a_server_that_allows_one_connection_gets_one(site: Site) -> None:
    site.server.documents["/model.bin"] = LARGE
    site.server.most_at_once = 1
    site.server.rate = 20e6  # as above: a second connection has to be refused while the first one is at work
    # The first one is refused as well, until the server has noticed that its last answer was not read to the end:
    # so the pauses between the tries are real, and short.
    policy = replace(AT_ONCE, tries=100, backoff_s=0.01, backoff_cap_s=0.05)
    site.fetch(sha256=LARGE_DIGEST, size=len(LARGE), policy=policy, clock=Clock())
    site.check_file(LARGE)
    assert {seen.status for seen in site.server.log} == {200, 206, 429}


# Each far from the limit that makes a server fast, so that a busy machine does not change which it is.
@pytest.mark.parametrize(
    ("rate", "fast", "connections"), [(10e6, 40e6, 6), (None, 0.5e6, 1)], ids=["slow", "fast"]
)
def test_a_slow_server_gets_more_connections_and_a_fast_one_does_not(
    site: Site, rate: float | None, fast: float, connections: int
) -> None:
    site.server.documents["/model.bin"] = LARGE
    site.server.rate = rate
    busiest = 0

    def watch(done: int, size: int | None) -> None:
        nonlocal busiest
        busiest = max(busiest, site.server.at_once)

    site.fetch(sha256=LARGE_DIGEST, size=len(LARGE), progress=watch, policy=Policy(fast=fast, block=4 * MIB))
    site.check_file(LARGE)
    assert busiest >= 3 if connections > 1 else busiest == 1


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 524])
def test_F14_passing_trouble_is_survived(site: Site, status: int, times: int) -> None:
    trouble = [Reply(status=status)] * times
    site.server.script("/model.bin", *trouble)
    site.fetch()
    site.check_file()
    site.server.script("/model.bin", *trouble)
    assert read(site.url, transport=HttpTransport(), clock=site.clock).body == BODY
    assert len(site.clock.slept) == 2 * times
    assert sum(site.clock.slept) <= 20


@pytest.mark.parametrize(
    ("status", "hint"),
    [(400, "mirror"), (401, "token"), (403, "token"), (404, "address"), (410, "removed"), (451, "may not")],
)
def test_F14_final_answers_are_not_repeated(site: Site, status: int, hint: str) -> None:
    site.server.always("/model.bin", Reply(status=status))
    for ask in (site.fetch, lambda: read(site.url, transport=HttpTransport(), clock=site.clock)):
        site.server.log.clear()
        with pytest.raises(TransferError, match=f"{status}(.|\n)*{hint}") as caught:
            ask()
        assert caught.value.status == status
        assert len(site.server.log) == 1
    assert not site.clock.slept
    site.check_nothing_installed()


NOW = "Sat, 21 Nov 2026 12:00:00 GMT"  # what the server's clock says


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("1", 1),
        ("120", 120),
        ("Sat, 21 Nov 2026 12:01:00 GMT", 60),
        ("0", 0.5),
        ("-5", 0.5),
        ("soon", 0.5),
        ("1e3", 0.5),
        ("", 0.5),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.5),
        ("Mon, 99 Foo 2026 25:61:61 GMT", 0.5),
    ],
)
def test_F15_retry_after(site: Site, value: str, wait: float) -> None:
    site.server.script("/model.bin", Reply(status=503, headers={"Retry-After": value, "Date": NOW}))
    site.fetch()
    site.check_file()
    assert site.clock.slept == [wait]


@pytest.mark.parametrize("value", ["121", "3600", "999999999", "Sat, 21 Nov 2026 13:00:00 GMT"])
def test_F15_too_long_a_wait_is_refused_and_named(site: Site, value: str) -> None:
    site.server.always("/model.bin", Reply(status=429, headers={"Retry-After": value, "Date": NOW}))
    with pytest.raises(TransferError, match=r"429, and asks to wait [\d,]+ s"):
        site.fetch()
    site.server.documents["/other.bin"] = BODY
    site.fetch(site.url, f"{site.server.url}/other.bin")
    site.check_file()
    assert not site.clock.slept


MULTIPART = {"Content-Type": "multipart/byteranges; boundary=x", "Content-Range": ""}
RANGE_FAULTS = {
    "ignores_range": (Reply(ignore_range=True), True),
    "wrong_offset": (Reply(shift=1000), True),
    "wrong_total": (Reply(headers={"Content-Range": f"bytes {MIB}-{len(BODY)}/{len(BODY) + 1}"}), False),
    "other_unit": (Reply(headers={"Content-Range": "lines 1-2/3"}), True),
    "no_content_range": (Reply(headers={"Content-Range": ""}), True),
    "multipart": (Reply(headers=MULTIPART), True),
    "416": (Reply(status=416, headers={"Content-Range": f"bytes */{len(BODY)}"}), True),
    "416_other_size": (Reply(status=416, headers={"Content-Range": "bytes */17"}), True),
    "compressed_part": (Reply(gzip=True), True),
    "no_accept_ranges": (Reply(headers={"Accept-Ranges": "none"}), True),
}


@pytest.mark.parametrize(("fault", "survives"), RANGE_FAULTS.values(), ids=RANGE_FAULTS)
@pytest.mark.parametrize("known", [True, False], ids=["digest_known", "first_use"])
def test_F16_wrong_parts(site: Site, fault: Reply, survives: bool, known: bool) -> None:
    site.server.script("/model.bin", Reply(cut=MIB), fault)
    options = {} if known else {"sha256": None, "size": None}
    if survives:
        assert site.fetch(**options).sha256 == DIGEST
        site.check_file()
    else:
        with pytest.raises(IntegrityError, match=r"expected 3,\d+,\d+ bytes, the server has"):
            site.fetch(**options)
        assert not site.to.exists()
    assert site.server.log[1].headers["range"].startswith("bytes=")


def test_F16_wrong_offset_in_one_of_many_connections(site: Site) -> None:
    site.server.documents["/model.bin"] = LARGE
    site.server.script("/model.bin", Reply(), Reply(shift=5))
    site.fetch(sha256=LARGE_DIGEST, size=len(LARGE), policy=AT_ONCE)
    site.check_file(LARGE)


def test_F16_416_for_the_whole_file_is_no_empty_file(site: Site) -> None:
    site.server.always("/model.bin", Reply(status=416, headers={"Content-Range": "bytes */0"}))
    with pytest.raises(TransferError, match="the server answered 416"):
        site.fetch(sha256=None, size=None)
    site.check_nothing_installed()


@pytest.mark.parametrize("known", [True, False], ids=["digest_known", "first_use"])
def test_F16_the_end_of_a_part_is_not_taken_for_the_end_of_the_file(site: Site, known: bool) -> None:
    begins = Reply(chunked=True, cut=MIB)  # nobody has said how large the file is
    site.server.script("/model.bin", begins, Reply(most=MIB), Reply(most=MIB))
    site.fetch(sha256=DIGEST if known else None, size=None)
    site.check_file()
    assert site.server.sent("/model.bin") - len(BODY) <= MIB


def test_F16_a_part_that_nobody_asked_for_is_refused(site: Site) -> None:
    part = {"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}"}
    site.server.always("/model.bin", Reply(status=206, headers=part))
    with pytest.raises(TransferError, match="asked for the whole file, the server answered 206"):
        site.fetch()
    site.check_nothing_installed()


def test_F17_if_range_carries_the_strong_etag(site: Site) -> None:
    site.server.script("/model.bin", Reply(cut=MIB))
    site.fetch(sha256=None, size=None)
    tag = f'"{hashlib.sha256(BODY).hexdigest()[:20]}"'
    assert site.server.log[1].headers["if-range"] == tag
    assert site.server.log[1].status == 206
    site.check_file()


@pytest.mark.parametrize(
    "tag", ['W/"weak"', "", "unquoted", '"a" b"'], ids=["weak", "none", "unquoted", "junk"]
)
def test_F17_without_a_strong_etag_and_a_digest_the_file_starts_again(site: Site, tag: str) -> None:
    site.server.script("/model.bin", Reply(headers={"ETag": tag}, cut=MIB), Reply(headers={"ETag": tag}))
    site.fetch(sha256=None, size=None)
    site.check_file()
    assert [seen.headers.get("range") for seen in site.server.log] == [None, None]


@pytest.mark.parametrize("known", [True, False], ids=["digest_known", "first_use"])
def test_F17_file_replaced_between_cut_and_resume(site: Site, known: bool) -> None:
    site.server.script("/model.bin", Reply(cut=MIB, body=BODY[::-1]))
    found = site.fetch(**({} if known else {"sha256": None, "size": None}))
    assert found.sha256 == DIGEST
    assert [seen.status for seen in site.server.log] == [200, 200, 200]  # If-Range answered with the new file
    site.check_file()


def test_F17_file_replaced_under_one_etag_gets_a_second_chance_and_no_third(site: Site) -> None:
    same = {"ETag": '"same"'}
    broken = [Reply(cut=MIB, body=BODY[::-1], headers=same), Reply(headers=same)]
    site.server.script("/model.bin", *broken)
    site.fetch()
    site.check_file()
    site.to.unlink()
    site.server.log.clear()
    site.server.script("/model.bin", *broken, *broken)
    with pytest.raises(IntegrityError, match="expected sha256"):
        site.fetch()
    assert len(site.server.log) == 4
    site.check_nothing_installed()


def test_F17_file_replaced_between_two_runs(site: Site) -> None:
    site.server.script("/model.bin", Reply(cut=MIB, body=BODY[::-1]), Reply(status=404))
    options = {"sha256": None, "size": None}
    with pytest.raises(TransferError):
        site.fetch(**options)
    assert site.fetch(**options).sha256 == DIGEST
    site.check_file()


def interrupted(site: Site, at: int) -> None:
    """Download a part of a file of which no digest is known, in a process that is killed then."""

    def before(done: int, size: int | None) -> None:
        if done >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.fetch(sha256=None, progress=before)
    assert list(site.partials.glob("*.part"))
    site.server.log.clear()


@linux
def test_F17_without_a_digest_a_killed_download_goes_on_if_the_server_vouches_for_it(site: Site) -> None:
    interrupted(site, at=MIB)
    site.fetch(sha256=None)
    site.check_file()
    assert site.server.sent("/model.bin") <= len(BODY) - MIB
    assert all("if-range" in seen.headers for seen in site.server.log)


@linux
@pytest.mark.parametrize("replaced", [True, False])
def test_F17_without_a_digest_nothing_appears_that_the_server_has_not_just_vouched_for(
    site: Site, replaced: bool
) -> None:
    interrupted(site, at=len(BODY))  # after the last byte, and before the file appeared
    body = BODY[::-1] if replaced else BODY
    site.server.documents["/model.bin"] = body
    site.fetch(sha256=None)
    site.check_file(body)
    assert site.server.sent("/model.bin") >= (len(BODY) if replaced else 1)


@linux
def test_F17_without_a_digest_an_answer_without_an_etag_proves_nothing(site: Site) -> None:
    interrupted(site, at=MIB)
    site.server.documents["/model.bin"] = BODY[::-1]
    site.server.script("/model.bin", Reply(ignore_if_range=True, headers={"ETag": ""}))
    site.fetch(sha256=None)
    site.check_file(BODY[::-1])


@linux
def test_F17_without_a_digest_bytes_from_before_a_power_cut_are_not_trusted(site: Site) -> None:
    """The journal may have reached the disk, and the bytes it speaks of not."""
    interrupted(site, at=MIB)
    [left] = site.partials.glob("*.part")
    journal = left / "journal.json"
    record = {**json.loads(journal.read_bytes()), "boot": "another"}
    journal.write_bytes(json.dumps(record).encode())
    (left / "data").write_bytes(bytes((left / "data").stat().st_size))
    site.fetch(sha256=None)
    site.check_file()


@pytest.mark.parametrize("known", [True, False], ids=["digest_known", "first_use"])
def test_F17_server_that_ignores_if_range_is_found_out_by_its_etag(site: Site, known: bool) -> None:
    site.server.script("/model.bin", Reply(cut=MIB, body=BODY[::-1]), Reply(ignore_if_range=True))
    found = site.fetch(**({} if known else {"sha256": None, "size": None}))
    assert found.sha256 == DIGEST
    assert [seen.status for seen in site.server.log] == [200, 206, 200]
    site.check_file()


ENCODINGS = {
    "gzip": (Reply(gzip=True), True),
    "zstd": (Reply(headers={"Content-Encoding": "zstd"}), False),
    "identity": (Reply(headers={"Content-Encoding": "identity"}), True),
    "broken_gzip": (Reply(headers={"Content-Encoding": "gzip"}), False),
    "no_length": (Reply(headers={"Content-Length": ""}), True),
    "chunked": (Reply(chunked=True), True),
    "length_too_small": (Reply(headers={"Content-Length": str(len(BODY) - 1)}), False),
    "length_is_text": (Reply(headers={"Content-Length": "many", "Connection": "close"}), True),
    "one_byte_more": (Reply(extra=b"!"), False),
    "one_byte_more_without_length": (Reply(extra=b"!", headers={"Content-Length": ""}), False),
    "endless": (Reply(endless=True), False),
    "endless_chunked": (Reply(endless=True, chunked=True), False),
}


@pytest.mark.parametrize(("fault", "survives"), ENCODINGS.values(), ids=ENCODINGS)
def test_F18_odd_bodies(site: Site, fault: Reply, survives: bool) -> None:
    site.server.always("/model.bin", fault)
    if survives:
        site.fetch()
        site.check_file()
        return
    with pytest.raises((TransferError, IntegrityError)):
        site.fetch()
    assert site.server.sent("/model.bin") < len(BODY) + 8 * MIB  # endless bodies are left at once
    assert not site.to.exists()


def test_F18_without_length_a_cut_cannot_be_told_from_the_end_and_the_size_decides(site: Site) -> None:
    site.server.script("/model.bin", Reply(headers={"Content-Length": ""}, cut=MIB))
    site.fetch()
    site.check_file()
    assert len(site.server.log) == 2


def test_F18_endless_body_of_unknown_size_ends_at_the_limit(site: Site) -> None:
    site.server.always("/model.bin", Reply(endless=True))
    with pytest.raises(IntegrityError, match=r"expected 4,194,304 bytes, found more"):
        site.fetch(sha256=None, size=None, policy=Policy(unsized_limit=4 * MIB))


def test_F19_drip_fails_with_the_measured_rate_and_the_next_mirror_goes_on(site: Site) -> None:
    site.server.always("/model.bin", Reply(drip=(1, 0.01)))
    policy = Policy(rate_window_s=0.2, min_rate=1000)
    with pytest.raises(TransferError, match=r"\d+ bytes/s over 0 s, expected at least 1,000") as caught:
        site.fetch(policy=policy, clock=Clock())
    assert int(caught.value.message.split(": ")[-1].split()[0]) < 200
    site.server.documents["/good.bin"] = BODY
    site.fetch(site.url, f"{site.server.url}/good.bin", policy=policy, clock=Clock())
    site.check_file()


def test_F20_four_mirrors(site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/model.bin"
    site.server.documents |= {"/wrong": BODY[::-1], "/slow": BODY, "/good": BODY}
    site.server.always("/slow", Reply(drip=(1, 0.01)))
    urls = [dead, *(f"{site.server.url}/{name}" for name in ("wrong", "slow", "good"))]
    demoted: set[str] = set()
    clock = Clock()
    clock.sleep = site.clock.sleep  # type: ignore[method-assign]
    found = site.fetch(*urls, clock=clock, demoted=demoted, policy=Policy(rate_window_s=0.2, min_rate=1000))
    assert found.url == urls[3]
    assert dead.removesuffix("/model.bin") in demoted
    site.check_file()


def test_F20_demoted_mirrors_are_asked_last(site: Site) -> None:
    demoted: set[str] = set()
    with FaultServer({"/model.bin": BODY[::-1]}) as wrong:
        urls = [f"{wrong.url}/model.bin", site.url]
        for _ in range(2):
            site.fetch(*urls, demoted=demoted)
            site.check_file()
            site.to.unlink()
        assert len(wrong.log) == 1


def test_F20_all_mirrors_fail_and_each_says_why(site: Site) -> None:
    site.server.documents |= {"/wrong": BODY[::-1]}
    with pytest.raises(IntegrityError) as caught:
        site.fetch(f"{site.server.url}/absent", f"{site.server.url}/wrong")
    assert "none of 2 mirrors" in caught.value.message
    assert "/absent: the server answered 404" in caught.value.message
    assert "/wrong: expected sha256" in caught.value.message
    site.check_nothing_installed()


def test_F20_a_mirror_goes_on_where_another_one_stopped(site: Site) -> None:
    site.server.documents["/second"] = BODY
    site.server.script("/model.bin", Reply(cut=2 * MIB), Reply(status=404))
    site.fetch(site.url, f"{site.server.url}/second")
    site.check_file()
    assert site.server.sent("/second") <= len(BODY) - MIB


def test_F23_offline_asks_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="HUB_OFFLINE"):
        site.fetch()
    assert not site.server.log
    site.check_nothing_installed()


def test_F23_offline_finishes_what_has_arrived(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with claim_ready(site) as partial:
        gap = partial.take(None)
        assert gap is not None
        partial.write(gap, BODY[:MIB])
        partial.write(gap, BODY[MIB:])
    monkeypatch.setenv("HUB_OFFLINE", "1")
    site.fetch()
    site.check_file()


@contextlib.contextmanager
def claim_ready(site: Site) -> Iterator[Partial]:
    site.partials.mkdir(parents=True, exist_ok=True)
    with claim(site.partials, DIGEST, size=len(BODY)) as partial:
        yield partial


def test_F34_killed_lock_holder_is_followed_at_once(site: Site) -> None:
    site.server.script("/model.bin", Reply(stall=2 * MIB))
    child = run_child(site, body=BODY, digest=DIGEST)
    assert wait_until(lambda: site.server.sent("/model.bin") == 2 * MIB)
    taken_over: list[float] = []
    follower = threading.Thread(target=lambda: (site.fetch(), taken_over.append(time.monotonic())))
    follower.start()
    child.kill()
    child.wait()
    died = time.monotonic()
    follower.join(10)
    assert taken_over[0] - died < 2
    site.check_file()
    assert site.server.sent("/model.bin") - len(BODY) <= MIB


def wait_until(condition: Callable[[], bool]) -> bool:
    for _ in range(2000):
        if condition():
            return True
        time.sleep(0.005)
    return False


@pytest.mark.parametrize(
    "flock",
    ["lambda *_: None", "lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, 'no locks'))"],
    ids=["always_succeeds", "is_not_supported"],
)
def test_F34_broken_locks_cost_transfers_and_never_the_file(site: Site, flock: str) -> None:
    site.server.rate = 20e6
    before = f"import errno, fcntl; fcntl.flock = {flock}"
    children = [run_child(site, body=BODY, digest=DIGEST, before=before) for _ in range(3)]
    outputs = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0] * 3, outputs
    site.check_file()


def test_F34_lock_that_stays_taken_is_named(site: Site) -> None:
    import filelock

    site.partials.mkdir(parents=True)
    path = site.partials / f"{DIGEST}.lock"
    with (
        filelock.FileLock(path),
        pytest.raises(StorageError, match=f"{DIGEST}.lock(.|\n)*hint: "),
    ):
        fetch_in_thread(site, policy=Policy(lock_timeout_s=0.1))
    assert not site.server.log


def fetch_in_thread(site: Site, **options: object) -> None:
    """Fetch in another thread, since filelock knows when one thread waits for itself."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            site.fetch(**options)
        except BaseException as problem:
            failures.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize(
    ("mark", "adopted"),
    [
        ("free", True),
        (f"{owner.mark().split('-')[0]}-{2**22 + 1}-1", True),
        (f"{owner.mark().split('-')[0]}-{os.getppid()}-1", True),
        (owner.mark(), False),
        ("00000000-1-1", False),
    ],
    ids=["released", "dead_process", "number_given_again", "alive", "other_machine"],
)
def test_F34_partials_of_dead_owners_are_adopted(site: Site, mark: str, adopted: bool) -> None:
    with claim_ready(site) as partial:
        gap = partial.take(None)
        assert gap is not None
        partial.write(gap, BODY[: 2 * MIB])
    (left,) = site.partials.glob("*.part")
    left = left.rename(site.partials / f"{DIGEST}.{mark}-0123abcd.part")
    site.fetch()
    assert hashlib.sha256(site.to.read_bytes()).hexdigest() == DIGEST
    assert left.exists() != adopted
    assert site.server.sent("/model.bin") == len(BODY) - (2 * MIB if adopted else 0)


def test_F34_partial_of_another_machine_is_adopted_after_ten_minutes_of_silence(site: Site) -> None:
    with claim_ready(site) as partial:
        gap = partial.take(None)
        assert gap is not None
        partial.write(gap, BODY[: 2 * MIB])
    (left,) = site.partials.glob("*.part")
    left = left.rename(site.partials / f"{DIGEST}.00000000-1-1-0123abcd.part")
    os.utime(left / "data", (time.time() - 601, time.time() - 601))
    site.fetch()
    site.check_file()
    assert site.server.sent("/model.bin") == len(BODY) - 2 * MIB


JOURNALS = {
    "empty": b"",
    "truncated": b'{"schema": 1, "size": 3158073, "sou',
    "not_json": b"\x00" * 4096,
    "list": b"[]",
    "newer_schema": b'{"schema": 2, "size": 3158073, "source": "", "etag": null, "missing": []}',
    "claims_all_of_it": b'{"schema": 1, "size": 3158073, "source": "", "etag": null, "missing": []}',
    "claims_wrong_bytes": b'{"schema": 1, "size": 3158073, "source": "", "etag": null, "missing": [[9, 3158073]]}',
    "gap_outside": b'{"schema": 1, "size": 3158073, "source": "", "etag": null, "missing": [[0, 99999999]]}',
    "gap_backwards": b'{"schema": 1, "size": 3158073, "source": "", "etag": null, "missing": [[9, 3]]}',
    "gap_is_text": b'{"schema": 1, "size": 3158073, "source": "", "etag": null, "missing": [["a", "b"]]}',
    "deep": b"[" * 4000,
}


@pytest.mark.parametrize("journal", JOURNALS.values(), ids=JOURNALS)
@pytest.mark.parametrize(
    "data", [b"", bytes(1_500_000), bytes(len(BODY) + 5)], ids=["no_data", "half", "more"]
)
def test_a_damaged_partial_never_becomes_a_file(site: Site, journal: bytes, data: bytes) -> None:
    folder = site.partials / f"{DIGEST}.free-0123abcd.part"
    folder.mkdir(parents=True)
    (folder / "journal.json").write_bytes(journal)
    (folder / "data").write_bytes(data)
    site.fetch()
    site.check_file()


cuts = st.lists(
    st.one_of(
        st.integers(0, 20_000).map(lambda at: Fault(cut=at)),
        st.sampled_from([408, 429, 500, 503]).map(lambda status: Fault(status=status)),
    ),
    max_size=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 20_000),
    faults=cuts,
    known=st.booleans(),
    sized=st.booleans(),
    block=st.integers(100, 9_000),
    small=st.sampled_from([-1, 10_000]),
)
def test_whatever_goes_wrong_the_file_is_right_or_absent(
    tmp_path: Path, size: int, faults: list[Fault], known: bool, sized: bool, block: int, small: int
) -> None:
    body = random.Random(size).randbytes(size)
    digest = hashlib.sha256(body).hexdigest()
    web = MemoryTransport({"https://x/a": body}, faults={"https://x/a": faults})
    seen: list[int] = []
    to = tmp_path / f"{time.monotonic_ns()}"
    policy = Policy(block=block, parallel_from=5_000, connections=3, small=small, ramp_s=0)
    for _ in range(20):  # each run takes at least one fault off the list
        try:
            found = fetch(
                ["https://x/a"],
                to=to,
                partials=tmp_path / "partials",
                sha256=digest if known else None,
                size=size if sized else None,
                transport=web,
                policy=policy,
                clock=PatientClock(),
                progress=lambda done, total: seen.append(done),
            )
        except TransferError:
            assert not to.exists()
            continue
        assert found.sha256 == digest
        assert to.read_bytes() == body
        assert max(seen) == size
        return
    raise AssertionError("the faults are used up and the file is still not here")


SMALL = BODY[:20_000]
SMALL_FAULTS = {
    "none": (Reply(), ""),
    "cut": (Reply(cut=5_000), ""),
    "reset": (Reply(reset=5_000), ""),
    "status": (Reply(status=503), ""),
    "chunked": (Reply(chunked=True), ""),
    "gzip": (Reply(gzip=True), ""),
    "flip": (Reply(flip=5_000), "expected sha256 "),
    "shorter": (Reply(body=SMALL[:-1]), "expected 20,000 bytes, found 19,999"),
    "longer": (Reply(body=SMALL + b"!"), "expected at most 20,000 bytes, found more"),
    "endless": (Reply(endless=True), "expected at most 20,000 bytes, found more"),
    "other": (Reply(body=SMALL[::-1]), "expected sha256 "),
}


@pytest.mark.parametrize(("fault", "says"), SMALL_FAULTS.values(), ids=SMALL_FAULTS)
def test_small_files_are_right_or_absent_too(site: Site, fault: Reply, says: str) -> None:
    site.server.documents |= {"/model.bin": SMALL, "/good": SMALL}
    site.server.script("/model.bin", fault)
    options = {"sha256": hashlib.sha256(SMALL).hexdigest(), "size": len(SMALL)}
    seen: list[int] = []
    if says:
        with pytest.raises(IntegrityError, match=says):
            site.fetch(**options)
        site.check_nothing_installed()
        site.server.script("/model.bin", fault)
        assert site.fetch(site.url, f"{site.server.url}/good", **options).url.endswith("/good")
    else:
        site.fetch(**options, progress=lambda done, size: seen.append(done))
        assert seen == [len(SMALL)]
    site.check_file(SMALL)


def test_progress_never_exceeds_the_size(site: Site) -> None:
    seen: list[tuple[int, int | None]] = []
    site.server.script("/model.bin", Reply(cut=2 * MIB), Reply(cut=2 * MIB + 5))
    site.fetch(progress=lambda done, size: seen.append((done, size)))
    assert seen[-1] == (len(BODY), len(BODY))
    assert all(a <= b for (a, _), (b, _) in itertools.pairwise(seen))


def test_a_file_that_is_here_costs_no_request(site: Site) -> None:
    assert site.fetch().url == site.url
    assert site.fetch().url == ""
    assert len(site.server.log) == 1


def test_a_file_of_the_wrong_size_is_replaced(site: Site) -> None:
    site.to.parent.mkdir()
    site.to.write_bytes(BODY[:-1])
    site.fetch()
    site.check_file()


def test_where_nobody_knows_the_size_the_bytes_of_a_file_that_is_here_decide(site: Site) -> None:
    site.to.parent.mkdir()
    site.to.write_bytes(BODY[:-1])
    assert site.fetch(size=None).url == site.url
    site.check_file()
    assert site.fetch(size=None).url == ""
    assert len(site.server.log) == 1


@pytest.mark.parametrize("body", [BODY[:20_000], BODY], ids=["small", "large"])
def test_a_file_on_its_way_through_a_temporary_folder_stays_writable(site: Site, body: bytes) -> None:
    """Windows flushes, replaces and removes no read-only file, which is what happens to such a file next."""
    site.server.documents["/model.bin"] = body
    site.to.parent.mkdir()
    site.fetch(sha256=hashlib.sha256(body).hexdigest(), size=len(body), durable=False)
    assert site.to.read_bytes() == body
    assert site.to.stat().st_mode & 0o200


def test_an_md5_is_checked_when_it_is_all_there_is(site: Site) -> None:
    good, wrong = hashlib.md5(BODY).hexdigest(), "0" * 32
    with pytest.raises(IntegrityError, match=f"expected md5 {wrong}, found {good}"):
        site.fetch(sha256=None, md5=wrong)
    site.check_nothing_installed()
    assert site.fetch(sha256=None, md5=good).sha256 == DIGEST
    site.check_file()


def test_interrupting_keeps_what_has_arrived(site: Site) -> None:
    def interrupt(done: int, size: int | None) -> None:
        if done >= MIB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.fetch(progress=interrupt)
    before = site.server.sent("/model.bin")
    site.server.log.clear()
    site.fetch()
    site.check_file()
    assert before <= len(BODY)
    assert site.server.sent("/model.bin") <= len(BODY) - MIB


@pytest.mark.parametrize(
    "wrong",
    [
        {"urls": []},
        {"urls": "https://x/a"},
        {"sha256": "abc"},
        {"sha256": DIGEST.upper()},
        {"md5": "x"},
        {"size": -1},
    ],
    ids=str,
)
def test_arguments_that_cannot_be_meant_are_refused(tmp_path: Path, wrong: dict) -> None:
    arguments = {"urls": ["https://x/a"], **wrong}
    with pytest.raises(UsageError):
        fetch(
            arguments.pop("urls"),
            to=tmp_path / "a",
            partials=tmp_path,
            transport=MemoryTransport({}),
            **arguments,
        )


def test_read_gives_a_document_once_and_then_only_if_it_changed(site: Site) -> None:
    first = read(site.url, transport=HttpTransport())
    assert (first.body, first.not_modified) == (BODY, False)
    second = read(site.url, transport=HttpTransport(), etag=first.etag)
    assert (second.body, second.not_modified, second.etag) == (b"", True, first.etag)


@pytest.mark.parametrize(
    "fault", [Reply(), Reply(gzip=True), Reply(endless=True)], ids=["plain", "gzip", "endless"]
)
def test_read_stops_at_its_limit(site: Site, fault: Reply) -> None:
    site.server.documents["/model.bin"] = bytes(50 * MIB)
    site.server.always("/model.bin", fault)
    with pytest.raises(TransferError, match="expected at most 1,000 bytes, found more"):
        read(site.url, transport=HttpTransport(), limit=1000)
    assert site.server.sent("/model.bin") < 10 * MIB


def test_unwritable_folder_is_a_storage_error(site: Site) -> None:
    site.folder.joinpath("partials").write_text("a file stands where the folder should be", encoding="utf-8")
    with pytest.raises(StorageError, match="partials"):
        site.fetch()


def test_a_gap_that_is_shared_while_its_answer_is_under_way_is_still_answered(tmp_path: Path) -> None:
    """The answer then is longer than the gap, which is no fault of the server: once it cost all that had arrived."""
    web = MemoryTransport({"https://x/a": LARGE})
    partial = Partial(tmp_path / "a.0-0.part", size=len(LARGE))
    first = partial.take(None)
    assert first is not None
    partial.write(first, LARGE[:MIB])
    partial.give_back()

    class SharedMeanwhile:
        def open(self, url: str, **asked: Any) -> Response:
            reply = web.open(url, **asked)
            partial.share(4 * MIB)
            return reply

    want = Want(sha256=LARGE_DIGEST, size=len(LARGE))
    engine = Engine(SharedMeanwhile(), Policy(), PatientClock())
    found = Transfer("https://x/a", partial, want, engine, ranged=True).run()
    assert found["sha256"] == LARGE_DIGEST
    starts = [start for _, start in web.requests]
    assert starts[0] == MIB
    assert len(starts) == len(set(starts)) > 2


def test_connections_that_fail_all_at_once_leave_no_hole(tmp_path: Path) -> None:
    """Each gives its part back for the others to fetch, and the last one must know that there are no others."""

    class FailsTogether:
        def __init__(self) -> None:
            self.arrived, self.all_here = itertools.count(1), threading.Event()

        def meet(self) -> None:
            if next(self.arrived) == 3:
                self.all_here.set()
            assert self.all_here.wait(10)

        def open(self, url: str, *, offset: int = 0, **_: Any) -> Response:
            if offset == 0:
                return Response(url, 200, {"etag": '"tag"', "accept-ranges": "bytes"}, self.beginning())
            self.meet()
            return Response(url, 429, {}, iter(()))

        def beginning(self) -> Iterator[bytes]:
            yield BODY[:100_000]
            self.meet()
            raise TransferFault("cut", "the connection ended")

    policy = Policy(tries=1, connections=3, ramp_s=0.001, fast=1e12, parallel_from=0, block=MIB)
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads meet at every line
    try:
        for number in range(200):
            with pytest.raises(TransferError):
                fetch(
                    ["https://x/a"],
                    to=tmp_path / "a",
                    partials=tmp_path / str(number),
                    size=len(BODY),
                    transport=FailsTogether(),
                    policy=policy,
                )
    finally:
        sys.setswitchinterval(switching)
