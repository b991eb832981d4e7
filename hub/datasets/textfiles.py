"""Reading text that people have saved in all sorts of encodings."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from hub.datasets.base import Origin, Problem

MOST_PER_NUL = 10
"""A file with more bytes for each NUL is not UTF-16: Latin letters, digits, tabs and line breaks have one each."""

SEEN = 1 << 16
"""Bytes by which an encoding is guessed."""

WESTERN = bytes(range(0xC0, 0x100)) + "€…‘’“”•–—\u00a0£«°»".encode("cp1252")
"""What texts in cp1252 have beyond ASCII: its letters, and a few signs."""


def read_text(
    path: Path, problems: list[Problem], *, encoding: str | None = None, offer: bool = False
) -> str:
    """Give the text of a UTF-8 file without byte order mark and without empty lines at its end.

    A file in another encoding gives an empty text and a problem that names the first line that is not UTF-8, unless
    `encoding` says which; `offer` says in that problem that the caller may.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        problems.append(Problem("bad table", Origin(str(path)), detail=error.strerror or str(error)))
        return ""
    return decode(data, str(path), problems, encoding=encoding, offer=offer)


def decode(
    data: bytes, name: str, problems: list[Problem], *, encoding: str | None = None, offer: bool = False
) -> str:
    """Give the text of what was read from a file of that name, as `read_text` does."""
    try:
        marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        # of Latin letters every second byte is a NUL; a stray one is none of the encoding
        if encoding is None and (marked or data.count(0) * MOST_PER_NUL > len(data)):
            raise UnicodeDecodeError("utf-8", data, 0, 1, "UTF-16")
        text = data.decode(encoding or "utf-8-sig")
        return text.removeprefix("\ufeff").rstrip("\r\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.append(
            Problem("wrong encoding", Origin(name, line), detail=_advice(data, error, encoding, offer))
        )
        return ""


def _advice(data: bytes, error: UnicodeDecodeError, encoding: str | None, offer: bool) -> str:
    if encoding is not None:
        return f"expected {encoding}, as encoding= says"
    guess = "UTF-16" if error.reason == "UTF-16" else _guess(data, error.start)
    found = f"it looks like {guess}; " if guess else ""
    other = f', or load(…, encoding="{guess.lower() or "…"}")' if offer else ""
    return f"expected UTF-8; {found}save the file as UTF-8{other}"


def _guess(data: bytes, start: int) -> str:
    """Name what the text from `start` on looks like, or give ""; nearly any bytes can be decoded as either of two.

    In Western languages letters beyond ASCII stand alone between others; those of Mac OS Roman are mostly other bytes
    than cp1252's. In GBK each character has two such bytes, but for rare ones; in Big5 many have only one.
    """
    runs = re.findall(rb"[\x80-\xff]+", data[start : start + SEEN])
    if 2 * sum(len(run) % 2 == 0 for run in runs) > len(runs):
        name, codec = "GBK", "gb18030"
    elif 2 * sum(run in WESTERN for run in runs if len(run) == 1) >= len(runs) and data[:start].isascii():
        name, codec = "cp1252", "cp1252"
    else:
        return ""  # another encoding, or UTF-8 with a few letters of something else
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return ""
    return name
