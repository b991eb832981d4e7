"""When to try again, when to ask the next mirror, how long to wait: all of it as data."""

from __future__ import annotations

import logging
import random
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from hub.registry.credentials import redact
from hub.registry.transport import Response, TransferFault

log = logging.getLogger("hub.registry")

# kind of fault: (may the same server be tried again?, what a person can do about it)
FAULTS: dict[str, tuple[bool, str]] = {
    "connect": (True, "check the network and the name of the server; behind a proxy, set HTTPS_PROXY"),
    "proxy": (True, "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"),
    "tunnel": (False, "put its user and password into HTTPS_PROXY, or name the host in NO_PROXY"),
    "forbidden": (False, "ask whoever runs the proxy to let this host through, or name the host in NO_PROXY"),
    "tls": (True, "check the network: something on the way breaks encrypted connections"),
    "cut": (True, "run the command again: it continues where it stopped"),
    "stall": (True, "run the command again: it continues where it stopped"),
    "slow": (False, "run the command again later, or add a faster mirror: it continues where it stopped"),
    "certificate": (False, "for a private authority set REQUESTS_CA_BUNDLE to its certificate"),
    "redirect": (False, "use the address where the file really is"),
    "url": (False, "correct the address"),
    "setup": (False, "correct what the message names"),
    "restart": (
        True,
        "run the command again; the server cannot continue a file, so it starts at the beginning",
    ),
    "encoding": (False, "the server must send the file as it is; use another mirror"),
    "range": (False, "the server or a proxy mixes up parts of files; use another mirror"),
    "size": (False, "the server has another file under this name; use another mirror"),
    "digest": (False, "the file was changed or damaged on the server; nothing was installed"),
    "wait": (False, "the server wants a pause: run the command again after it"),
}
# kinds that mean: bytes came, and they are not the ones that were promised
WRONG_BYTES = frozenset({"digest", "size"})

RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 527})
STATUS_HINTS = {
    401: "put a token for this server into HUB_HOME/credentials.json or its HUB_TOKEN_… variable",
    403: "the server gives it to nobody, or not for the token in use; ask whoever runs the server",
    404: "check the address, and that this version still exists",
    407: "put user and password of the proxy into HTTPS_PROXY",
    410: "the server has removed the file for good",
    429: "the server wants fewer requests: run the command again later",
    451: "the server may not give out this file here",
}


@dataclass(frozen=True)
class Policy:
    """The numbers of a transfer. The defaults suit a person on a bad line; tests scale them down."""

    tries: int = 5  # without a byte of progress between them
    backoff_s: float = 0.5
    backoff_cap_s: float = 30.0
    retry_after_cap_s: float = 120.0
    min_rate: float = 1024.0  # bytes per second, over each window
    rate_window_s: float = 60.0
    small: int = 2**20  # up to this size in one piece, in memory
    connections: int = 6  # at most
    fast: float = 200e6  # bytes per second; slower than that, another connection is tried
    ramp_s: float = 0.1  # between one more connection and the next
    parallel_from: int = 32 * 2**20  # above this size in blocks, over several connections
    block: int = 8 * 2**20
    unsized_limit: int = 16 * 2**30  # where nobody says how large the file is
    lock_timeout_s: float = 600.0


class Clock:
    """Time, replaceable: tests pass one that does not wait."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def jitter(self) -> float:
        return random.random()


class Attempts:
    """The tries of one request: waits before the next one, or raises the fault when there must be none."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._in_vain = 0
        self.total = 0

    def progressed(self) -> None:
        """Start counting again: bytes came, so the server is alive."""
        self._in_vain = 0

    def wait_or_raise(self, fault: TransferFault) -> None:
        """Sleep until the next try is due.

        Raises:
            TransferFault: a fault that trying again cannot cure, too many tries, or a server that asks for a
                longer pause than anybody would sit through.
        """
        self.total += 1
        self._in_vain += 1
        if not may_retry(fault) or self._in_vain >= self._policy.tries:
            raise self._explained(fault)
        wait = fault.retry_after_s
        if wait is not None and wait > self._policy.retry_after_cap_s:
            text = f"{fault.message}, and asks to wait {wait:,.0f} s"
            raise self._explained(TransferFault("wait", text, status=fault.status))
        if not wait:
            ceiling = min(self._policy.backoff_cap_s, self._policy.backoff_s * 2 ** (self._in_vain - 1))
            wait = ceiling * self._clock.jitter()
        log.info("%s; trying again in %.1f s", fault.message, wait)
        self._clock.sleep(wait)

    def _explained(self, fault: TransferFault) -> TransferFault:
        if self.total > 1:
            fault.message += f" (tried {self.total} times)"
        fault.hint = hint_for(fault)
        return fault


def may_retry(fault: TransferFault) -> bool:
    """Say whether the same server may well answer better the next time."""
    return fault.status in RETRY_STATUSES if fault.kind == "status" else FAULTS[fault.kind][0]


def hint_for(fault: TransferFault) -> str:
    """Give what a person can do about a fault."""
    if fault.kind == "status":
        return STATUS_HINTS.get(fault.status or 0, "run the command again later, or use another mirror")
    return FAULTS[fault.kind][1]


def status_fault(response: Response) -> TransferFault:
    """Give the fault for an answer that is no success."""
    return TransferFault(
        "status",
        f"{redact(response.url)}: the server answered {response.status}",
        status=response.status,
        retry_after_s=_retry_after_s(response),
    )


def _retry_after_s(response: Response) -> float | None:
    """Give the pause a server asks for, in seconds; None when it asks for none or for nonsense."""
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        until = parsedate_to_datetime(text).timestamp()
        return max(0.0, until - _date_of(response))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _date_of(response: Response) -> float:
    """Give the server's own clock, so that a wrong one here does not matter; ours when it does not tell."""
    try:
        return parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return time.time()
