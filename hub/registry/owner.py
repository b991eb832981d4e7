"""Who works on something in a shared folder, written into its name, so that what a dead process left can be found."""

from __future__ import annotations

import os
from pathlib import Path


def mark() -> str:
    """Give the mark of this process: a digest of where its number means it, the number, and when it began."""
    import hashlib  # here and below: what a listing does not need

    where = hashlib.sha256("\n".join(_where()).encode()).hexdigest()[:8]
    return f"{where}-{os.getpid()}-{_beginning(os.getpid()) or 0}"


def is_gone(other: str) -> bool | None:
    """Say whether the process with this mark has ended; None where nobody here can know.

    That is for another machine or container, for this machine before it was started again, and on Windows.
    """
    where, _, rest = other.partition("-")
    number, _, began = rest.partition("-")
    if where != mark().partition("-")[0] or not number.isdecimal() or os.name == "nt":
        return None
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # a process of another user; no number of a process
        return False
    begins = _beginning(int(number))
    return begins is not None and began not in ("0", begins)  # a later process that was given the same number


def boot() -> str:
    """Give what changes whenever this machine starts, empty outside Linux."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _where() -> tuple[str, str, str]:
    """Give the machine's name, the boot, and the space of process numbers: containers may share the first two."""
    import socket

    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbers = ""
    return socket.gethostname(), boot(), numbers


def _beginning(number: int) -> str | None:
    """Give when a process began, in ticks since boot (proc(5), field 22 of stat); None outside Linux."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
