"""One URL into one partial: how many connections, what they ask for, how fast they must be, the digest on the way."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO

from hub.errors import StorageError
from hub.registry.credentials import redact
from hub.registry.partial import ANNOUNCE_BYTES, Gap, LostGapError, Partial
from hub.registry.retry import Attempts, Clock, Policy, may_retry, status_fault
from hub.registry.transport import CHUNK, Response, TransferFault, Transport

WRITE_BYTES = 64 * 1024  # a killed process loses at most this and one chunk per connection
HASH_BYTES = 2**20
SYNC_BYTES = 128 * 2**20
CROWDED = frozenset({"status", "wait", "connect", "cut", "stall", "tls"})
Progress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Want:
    """What is known about a file before it is here; None for what is not."""

    sha256: str | None = None
    size: int | None = None
    md5: str | None = None

    @property
    def digest_known(self) -> bool:
        return self.sha256 is not None or self.md5 is not None

    def mismatch(self, found: dict[str, str]) -> str | None:
        """Give what is wrong with these digests, None when nothing is."""
        for name, expected in (("sha256", self.sha256), ("md5", self.md5)):
            if expected is not None and found[name] != expected:
                return f"expected {name} {expected}, found {found[name]}"
        return None


@dataclass(frozen=True)
class Engine:
    """What every transfer of one fetch shares."""

    transport: Transport
    policy: Policy
    clock: Clock
    progress: Progress | None = None
    durable: bool = True


class Digest:
    """The digests of a growing file, computed behind the prefix that is complete."""

    def __init__(self, *, md5: bool) -> None:
        self._hashes = {"sha256": hashlib.sha256()}
        if md5:
            self._hashes["md5"] = hashlib.md5(usedforsecurity=False)
        self.position = 0

    def follow(self, file: FileIO, upto: int) -> None:
        """Go on to byte `upto` of the file."""
        buffer = memoryview(bytearray(min(HASH_BYTES, max(0, upto - self.position))))
        file.seek(self.position)
        while self.position < upto:
            count = file.readinto(buffer[: upto - self.position])
            if not count:
                raise OSError(
                    f"{file.name}: ends at byte {self.position}, before the end of what was written"
                )
            self.update(buffer[:count])

    def update(self, data: bytes | memoryview) -> None:
        for each in self._hashes.values():
            each.update(data)
        self.position += len(data)

    def result(self) -> dict[str, str]:
        return {name: each.hexdigest() for name, each in self._hashes.items()}


class Transfer:
    """Fills the gaps of a partial from one URL, by one connection or several."""

    def __init__(self, url: str, partial: Partial, want: Want, engine: Engine, *, ranged: bool) -> None:
        self._url = url
        self._source = redact(url)
        self._partial = partial
        self._want = want
        self._engine = engine
        self._ranged = ranged
        self._connections, self._most = 0, engine.policy.connections
        self._block: int | None = (
            None  # how much one request asks for; all that is missing, while there is one
        )
        self._parts = False  # the server has shown that it can send parts
        self._over = False
        self._failure: BaseException | None = None

    def run(self) -> dict[str, str]:
        """Fetch what is missing and give the digests of the whole file.

        Raises:
            TransferFault: this URL does not give the file; what has arrived stays in the partial.
            StorageError: the disk has no room for it.
        """
        partial, digest = self._partial, Digest(md5=self._want.md5 is not None)
        if partial.size is not None:
            self._check_space()
        with FileIO(partial.data) as file:
            self._lead(digest, file)
            digest.follow(file, partial.prefix)
        if digest.position != partial.size:  # a hole would have a digest too
            raise TransferFault("cut", f"{self._source}: ended at byte {digest.position:,} of {partial.size}")
        self._report()
        return digest.result()

    def _lead(self, digest: Digest, file: FileIO) -> None:
        """Let threads download; this one hashes and syncs behind them, reports, and hears of their end."""
        partial = self._partial
        ramp, synced = Ramp(self._engine.policy, partial.done), 0
        self._hire()

        def news() -> bool:
            grown = partial.prefix - digest.position >= ANNOUNCE_BYTES
            return grown or not self._connections or self._failure is not None

        try:
            while self._connections and self._failure is None:
                with partial.changed:
                    partial.changed.wait_for(news, timeout=ramp.interval_s)
                self._hire_more(ramp)
                digest.follow(file, partial.prefix)
                if self._engine.durable and digest.position - synced >= SYNC_BYTES:
                    synced = digest.position
                    partial.sync()  # a little now and then, so that the end need not wait for the whole file
                self._report()
        finally:
            with partial.changed:  # also on Ctrl-C: from here on no thread can write, whenever it wakes up
                self._over = True
                partial.give_back()
        if self._failure is not None:
            raise self._failure

    def _hire(self) -> None:
        """Let one more connection work, if there is something for it to do."""
        gap = self._partial.take(self._block)
        if gap is not None:
            with self._partial.changed:
                self._connections += 1
            threading.Thread(target=self._work, args=(gap,), name="hub-download", daemon=True).start()

    def _hire_more(self, ramp: Ramp) -> None:
        size, policy = self._partial.size or 0, self._engine.policy
        if size <= policy.parallel_from or not (self._parts and self._resumable):
            return
        for _ in range(ramp.more(self._partial.done, free=self._most - self._connections)):
            if self._block is None:  # so far one connection fills all there is
                self._block = min(max(policy.block, size // 32), 8 * policy.block)
                self._partial.share(max(self._block, 4 * CHUNK))  # more than that thread may hold unwritten
            self._hire()

    def _work(self, first: Gap) -> None:
        gap: Gap | None = first
        while gap is not None:
            problem: BaseException | None = None
            try:
                self._fill(gap)
            except BaseException as caught:
                problem = caught
            with self._partial.changed:  # in one step: else a gap is left to a connection that has just ended
                gap = self._after(gap, problem)
                if gap is None:
                    self._connections -= 1
                    self._partial.changed.notify_all()

    def _after(self, gap: Gap, problem: BaseException | None) -> Gap | None:
        """Give the gap that a connection fills next, None when it ends; a failure goes to the thread that leads."""
        if problem is None:
            return None if self._over else self._partial.take(self._block)
        # One connection too many for the server is no failure while another one goes on.
        if isinstance(problem, TransferFault) and problem.kind in CROWDED and self._connections > 1:
            gap.taken = False
            self._most = self._connections - 1
        elif not isinstance(problem, LostGapError):
            self._failure = self._failure or problem
        return None

    def _fill(self, gap: Gap) -> None:
        """Fetch one gap, trying again as the table in retry.py says."""
        attempts = Attempts(self._engine.policy, self._engine.clock)
        while True:
            before = gap.start
            try:
                with self._ask(gap) as reply:
                    if reply.status == 416:
                        self._partial.finish(gap)
                    else:
                        self._copy(reply, gap)
                return
            except TransferFault as fault:
                if gap.start > before:
                    self._partial.mixed = True
                if gap.start - before >= self._engine.policy.min_rate:
                    attempts.progressed()
                if gap.start > 0 and not self._resumable and may_retry(fault):
                    raise TransferFault("restart", fault.message, status=fault.status) from fault
                attempts.wait_or_raise(fault)

    @property
    def _resumable(self) -> bool:
        return self._ranged and (self._want.digest_known or self._partial.etag is not None)

    def _ask(self, gap: Gap) -> Response:
        """Give an answer whose body begins at gap.start; status 416 when nothing is missing after all."""
        partial = self._partial
        asked = Gap(gap.start, gap.stop)  # the gap itself may be cut before the answer is here
        within = asked.stop is not None and asked.stop != partial.size
        reply = self._engine.transport.open(
            self._url,
            offset=asked.start,
            stop=asked.stop if within else None,
            validator=partial.etag if partial.source == self._source else None,
            allow_http=self._want.digest_known,
        )
        try:
            if reply.status == 416 and partial.size is None and reply.total == asked.start > 0:
                return reply
            self._check(reply, asked, part=within or asked.start > 0)
            if partial.size is None and reply.total is not None:
                self._check_space(reply.total)
            partial.begin(gap, source=self._source, etag=reply.validator, size=reply.total)
            accepts = reply.headers.get("accept-ranges", "").strip().lower() == "bytes"
            self._parts = self._parts or accepts or reply.status == 206
            return reply
        except BaseException:
            reply.close()
            raise

    def _check(self, reply: Response, asked: Gap, *, part: bool) -> None:
        """Refuse an answer that is not the part of the document that was asked for."""
        partial, where = self._partial, redact(reply.url)
        if reply.status not in {200, 206} and not (part and reply.status == 416):
            raise status_fault(reply)
        if (reply.status == 206) != part:
            wanted = "a part" if part else "the whole file"
            raise TransferFault("range", f"{where}: asked for {wanted}, the server answered {reply.status}")
        if part and reply.encoded:
            raise TransferFault("range", f"{where}: expected a part of the plain bytes, found it compressed")
        if partial.size is not None and reply.total not in {None, partial.size}:
            raise TransferFault(
                "size", f"{where}: expected {partial.size:,} bytes, the server has {reply.total:,}"
            )
        if not part:
            return
        stop = partial.size if asked.stop is None else asked.stop
        if reply.span is None or reply.span[0] != asked.start or stop not in {None, reply.span[1]}:
            found = reply.headers.get("content-range", "no Content-Range")[:60]
            raise TransferFault(
                "range", f"{where}: expected the bytes from {asked.start:,} to {stop}, found {found}"
            )
        unsaid = reply.validator is None and self._want.digest_known
        if partial.source == self._source and not unsaid and reply.validator != partial.etag:
            raise TransferFault("range", f"{where}: the file may have changed since the first part arrived")

    def _copy(self, reply: Response, gap: Gap) -> None:
        """Write the body into the gap, and stop at its end: at the first byte too many if the file ends there."""
        watch = RateWatch(self._engine, redact(reply.url))
        pieces: list[bytes] = []
        pending = 0
        try:
            for chunk in reply.chunks:
                room = self._room(gap) - pending
                pieces.append(chunk[:room])
                pending += len(pieces[-1])
                if len(chunk) >= room and gap.stop != self._partial.size:
                    return  # the rest of this body belongs to another connection
                if len(chunk) > room:
                    end = gap.start + pending
                    raise TransferFault("size", f"{redact(reply.url)}: expected {end:,} bytes, found more")
                watch.saw(len(chunk))
                if pending >= WRITE_BYTES:
                    pending = self._flush(gap, pieces)
        finally:
            self._flush(gap, pieces)
        if gap.stop is None and reply.status == 200:
            self._partial.finish(gap)
        elif gap.stop is None or gap.start < gap.stop:  # a part of a file of unknown size may end before it
            size = "unknown" if gap.stop is None else f"{gap.stop:,}"
            raise TransferFault(
                "cut", f"{redact(reply.url)}: the connection ended at byte {gap.start:,} of {size}"
            )

    def _flush(self, gap: Gap, pieces: list[bytes]) -> int:
        """Write the pieces and forget them; gives 0, which is how many bytes then wait."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if data:
            self._partial.write(gap, data)
        return 0

    def _room(self, gap: Gap) -> int:
        return (self._engine.policy.unsized_limit if gap.stop is None else gap.stop) - gap.start

    def _check_space(self, size: int | None = None) -> None:
        left = (size or self._partial.size or 0) - self._partial.done
        need = left + min(left // 20, 64 * 2**20)
        free = shutil.disk_usage(self._partial.folder).free
        if need > free:
            raise StorageError(
                f"{self._source}: needs {need:,} bytes of disk, {self._partial.folder.parent} has {free:,}",
                hint="free some space (`hub cache prune`), or set HUB_HOME to a folder on a larger disk",
            )

    def _report(self) -> None:
        if self._engine.progress is not None:
            self._engine.progress(self._partial.done, self._partial.size)


class Ramp:
    """Says when one more connection may help: while what there is stays below `fast`, one per interval."""

    def __init__(self, policy: Policy, done: int) -> None:
        self._policy = policy
        self._done, self._since = done, time.monotonic()
        self.interval_s = policy.ramp_s or 0.1

    def more(self, done: int, *, free: int) -> int:
        elapsed = time.monotonic() - self._since
        if elapsed < self._policy.ramp_s or free <= 0:
            return 0
        if not self._policy.ramp_s:
            return free
        rate = (done - self._done) / elapsed
        self._done, self._since = done, time.monotonic()
        return 1 if rate < self._policy.fast else 0


class RateWatch:
    """Notices a server that drips: fewer than `min_rate` bytes a second over a whole window."""

    def __init__(self, engine: Engine, where: str) -> None:
        self._policy, self._clock, self._where = engine.policy, engine.clock, where
        self._since = self._clock.now()
        self._bytes = 0

    def saw(self, count: int) -> None:
        self._bytes += count
        elapsed = self._clock.now() - self._since
        if elapsed < self._policy.rate_window_s:
            return
        rate = self._bytes / elapsed
        if rate < self._policy.min_rate:
            raise TransferFault(
                "slow",
                f"{self._where}: {rate:,.0f} bytes/s over {elapsed:.0f} s, expected at least "
                f"{self._policy.min_rate:,.0f}",
            )
        self._since, self._bytes = self._clock.now(), 0
