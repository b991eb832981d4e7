"""Bytes from the network, verified: `fetch` gives a file, `read` a small document.

    fetch → lock (one transfer for many processes) → partial (what arrived earlier) → each mirror in turn:
    transfer (ranges, retries, digest) → publish (fsync, read-only if it stays there, one rename)

Small files go from `read` to publish at once: a second transfer costs less than the lock and the journal.
A file appears under its final name only after its digest agrees. Locks and journals save work; nothing that is
promised depends on them.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hub.errors import HubError, IntegrityError, TransferError, UsageError
from hub.files import flush, put, sha256_of, storage_errors, write_bytes
from hub.registry.credentials import origin, redact
from hub.registry.notice import warn
from hub.registry.partial import Partial, claim
from hub.registry.retry import WRONG_BYTES, Attempts, Clock, Policy, hint_for, status_fault
from hub.registry.transfer import Digest, Engine, Progress, RateWatch, Transfer, Want
from hub.registry.transport import TransferFault, Transport, default_transport
from hub.registry.workspace import locked

log = logging.getLogger("hub.registry")


@dataclass(frozen=True)
class Fetched:
    """A verified file; `url` is where it came from, empty when it was here already."""

    path: Path
    sha256: str
    size: int
    url: str


@dataclass(frozen=True)
class Document:
    """A small answer; `not_modified` says that the one you have (`etag`) is still right, and `body` is empty."""

    body: bytes
    etag: str | None
    url: str
    not_modified: bool = False


def read(
    url: str,
    *,
    transport: Transport | None = None,
    limit: int = 5 * 2**20,
    etag: str | None = None,
    allow_http: bool = False,
    policy: Policy | None = None,
    clock: Clock | None = None,
) -> Document:
    """Give a small document whole, or nothing: with retries, at most `limit` bytes, only if it changed since `etag`.

    Raises:
        TransferFault: it is not available; `.status` is the server's answer (404, …) when there was one.
        OfflineError: HUB_OFFLINE=1 and the document is not on this machine.
    """
    engine = Engine(transport or default_transport(), policy or Policy(), clock or Clock())
    attempts = Attempts(engine.policy, engine.clock)
    while True:
        try:
            return _read_once(url, engine, limit=limit, etag=etag, allow_http=allow_http)
        except TransferFault as fault:
            attempts.wait_or_raise(fault)


def _read_once(url: str, engine: Engine, *, limit: int, etag: str | None, allow_http: bool) -> Document:
    with engine.transport.open(url, etag=etag, allow_http=allow_http) as reply:
        if reply.not_modified and etag:
            return Document(b"", etag, reply.url, not_modified=True)
        if reply.status != 200:
            raise status_fault(reply)
        body = bytearray()
        watch = RateWatch(engine, redact(reply.url))
        for chunk in reply.chunks:
            body += chunk
            if len(body) > limit:
                raise TransferFault("size", f"{redact(url)}: expected at most {limit:,} bytes, found more")
            watch.saw(len(chunk))
        return Document(bytes(body), reply.headers.get("etag"), reply.url)


def fetch(
    urls: Sequence[str],
    *,
    to: Path,
    partials: Path,
    sha256: str | None = None,
    size: int | None = None,
    md5: str | None = None,
    transport: Transport | None = None,
    progress: Progress | None = None,
    demoted: set[str] | None = None,
    durable: bool = True,
    policy: Policy | None = None,
    clock: Clock | None = None,
) -> Fetched:
    """Make the file appear at `to`, whole and with the right digest, from the first of `urls` that can give it.

    Args:
        urls: mirrors of one file, in order of preference.
        to: the final path; if `durable` its folder is made. With a known sha256, a file of the right size there is
            the answer, or where the size is not known one of the right bytes.
        partials: folder for what has arrived so far, on the same disk as `to`. Runs that share it share the work:
            one of them transfers, and the next one goes on where a killed one stopped.
        sha256: 64 hex digits. Without it, and without `md5`, the digest found is trusted and returned.
        progress: is called with the bytes that have arrived and the size (None while nobody has said it).
        durable: wait until the file is on the disk before it appears, read-only. False for a file in a temporary
            folder, whose way from there waits (as cache.publish does) or which is thrown away: it stays writable,
            since Windows flushes and removes no other, and the folder, which may be gone by then, is not made.
        demoted: origins that failed; they are asked last, and new ones are added. Pass one set to many calls.

    Raises:
        IntegrityError: a server has other bytes than promised, and no mirror has the right ones.
        TransferError: no mirror can be reached, or each refuses; OfflineError when HUB_OFFLINE=1.
        StorageError: no room, no permission, or another process holds the lock for ten minutes.
    """
    want = _checked(urls, sha256=sha256, size=size, md5=md5)
    engine = Engine(
        transport or default_transport(), policy or Policy(), clock or Clock(), progress, durable=durable
    )
    key = sha256 or "url-" + hashlib.sha256(urls[0].encode()).hexdigest()[:40]

    def present() -> Fetched | None:
        with suppress(OSError):  # what cannot be read is no answer
            if sha256 is None or not to.is_file():
                return None
            found = to.stat().st_size
            if found == size or (size is None and sha256_of(to) == sha256):
                return Fetched(to, sha256, found, "")
        return None

    if (found := present()) is not None:
        return found
    demoted = set() if demoted is None else demoted
    if size is not None and size <= engine.policy.small:
        return _from_mirrors(urls, demoted, lambda url: _fetch_small(url, to, want, engine))
    lock = partials / f"{key}.lock"
    with storage_errors(partials), locked(lock, timeout_s=engine.policy.lock_timeout_s):
        try:
            if (found := present()) is not None:
                return found
            with claim(partials, key, size=size) as partial:
                return _from_mirrors(urls, demoted, lambda url: _fetch_large(url, to, partial, want, engine))
        finally:
            with suppress(OSError):  # while it is held, so that whoever waits for it looks at `to` first
                lock.unlink()


def _checked(urls: Sequence[str], *, sha256: str | None, size: int | None, md5: str | None) -> Want:
    if isinstance(urls, str) or not urls:
        raise UsageError(f"urls: expected a list with at least one URL, found {urls!r}")
    for name, value, digits in (("sha256", sha256, 64), ("md5", md5, 32)):
        if value is not None and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
            raise UsageError(f"{name}: expected {digits} lower-case hex digits, found {value!r}")
    if size is not None and size < 0:
        raise UsageError(f"size: expected a number of bytes, found {size}")
    return Want(sha256=sha256, size=size, md5=md5)


def _from_mirrors(urls: Sequence[str], demoted: set[str], get: Callable[[str], Fetched]) -> Fetched:
    failures: list[TransferFault] = []
    for url in sorted(urls, key=lambda each: _origin(each) in demoted):
        if failures:
            warn("%s; asking the next mirror", failures[-1].message)
        try:
            return get(url)
        except TransferFault as fault:
            demoted.add(_origin(url))
            failures.append(fault)
    raise _failed(failures)


def _origin(url: str) -> str:
    return origin(url) if url.startswith(("http://", "https://")) else url


def _fetch_small(url: str, to: Path, want: Want, engine: Engine) -> Fetched:
    """Fetch a file that is not worth a journal, a lock or a thread."""
    size = want.size or 0
    document = read(
        url,
        transport=engine.transport,
        limit=size,
        allow_http=want.digest_known,
        policy=engine.policy,
        clock=engine.clock,
    )
    if len(document.body) != size:
        raise TransferFault("size", f"{redact(url)}: expected {size:,} bytes, found {len(document.body):,}")
    digest = Digest(md5=want.md5 is not None)
    digest.update(document.body)
    if (wrong := want.mismatch(digest.result())) is not None:
        raise TransferFault("digest", f"{redact(url)}: {wrong}")

    lasting = engine.durable
    write_bytes(to, document.body, mode=0o444 if lasting else 0o666, durable=lasting, parents=lasting)
    if engine.progress is not None:
        engine.progress(size, size)
    return Fetched(to, digest.result()["sha256"], size, redact(url))


def _fetch_large(url: str, to: Path, partial: Partial, want: Want, engine: Engine) -> Fetched:
    """Fetch what the partial lacks, and make it the file if its digests agree."""
    attempts = Attempts(engine.policy, engine.clock)
    if not want.digest_known:
        partial.doubt(redact(url), size=want.size)  # else bytes of two documents could never be told apart
    ranged = second_chance = True
    while True:
        try:
            found = Transfer(url, partial, want, engine, ranged=ranged).run()
        except TransferFault as fault:
            if fault.kind == "restart":
                attempts.wait_or_raise(fault)
            elif fault.kind != "range" or not ranged:
                raise
            else:
                log.info("%s; starting again without ranges", fault.message)
                ranged = False
            partial.restart(size=want.size)
            continue
        if (wrong := want.mismatch(found)) is None:
            size = partial.size or 0
            _publish(partial, to, durable=engine.durable)
            return Fetched(to, found["sha256"], size, redact(url))
        condemned = not (partial.mixed and second_chance)  # a mirror is condemned for what it sent in one go
        second_chance = False
        partial.restart(size=want.size)
        if condemned:
            raise TransferFault("digest", f"{redact(url)}: {wrong}")


def _publish(partial: Partial, to: Path, *, durable: bool) -> None:
    """Make a verified file appear under its final name, in one rename: if it is to last read-only and on the disk."""
    partial.close()
    if durable:
        flush(partial.data)
        partial.data.chmod(0o444)
        to.parent.mkdir(parents=True, exist_ok=True)
    put(partial.data, to)
    if durable:
        flush(to.parent)
    partial.discard()


def _failed(failures: list[TransferFault]) -> HubError:
    """Give the one error for all mirrors: wrong bytes weigh more than none."""
    worst = next((fault for fault in failures if fault.kind in WRONG_BYTES), failures[-1])
    message = worst.message
    if len(failures) > 1:
        lines = "\n".join(f"  - {fault.message}" for fault in failures)
        message = f"none of {len(failures)} mirrors has the file:\n{lines}"
    elif worst.kind not in WRONG_BYTES:
        return worst
    return (IntegrityError if worst.kind in WRONG_BYTES else TransferError)(message, hint=hint_for(worst))
