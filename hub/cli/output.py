"""Everything a command prints: data on stdout, talk on stderr, and the one place for tables, JSON and sizes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from hub.errors import StorageError

GAP = "  "


class ClosedOutput(Exception):
    """The reader of stdout went away, as `| head` does: there is nobody left to print for."""


def write(text: str, *, end: str = "\n") -> None:
    """Print data on stdout.

    Raises ClosedOutput when its reader has gone, StorageError when it cannot take more (a full disk).
    """
    if sys.stdout is None:  # started with stdout closed: `hub list >&-`
        return
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), end=end, flush=True)
    except OSError as error:
        _send_nowhere(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise ClosedOutput from None
        raise StorageError(f"stdout could not be written: {error.strerror}") from error


class Talk:
    """A stream in the place of stderr: what cannot be delivered (a reader that has gone, a full disk) is dropped.

    Work and its result must not be lost because nobody listens to what is said meanwhile.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._deliver(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._deliver(self._stream.flush)

    def _deliver(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError:
            _send_nowhere(self._stream)


def _send_nowhere(stream: TextIO) -> None:
    """Put the null device in the place of a stream, which Python flushes once more when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def say(text: str) -> None:
    """Print talk on stderr: what a person wants to know and a program does not.

    What moves a cursor or hides a line is shown as its escape: paths and names in messages come from strangers.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    print(text, file=sys.stderr)


def write_json(value: object) -> None:
    """Print a value as JSON with sorted keys, readable by any program in any locale."""
    write(_json(value))


class JsonList:
    """A list that is printed as `write_json` does it, but value by value: `with JsonList() as found: found.add(1)`.

    Whatever ends the block also ends the list, so that what is printed is JSON; where that comes before the first value
    nothing is printed.
    """

    def __init__(self) -> None:
        self._begun = False

    def __enter__(self) -> JsonList:
        return self

    def add(self, value: object) -> None:
        inner = _json(value).replace("\n", "\n  ")
        write(f"{',' if self._begun else '['}\n  {inner}", end="")
        self._begun = True

    def __exit__(self, problem: object, *_: object) -> None:
        if self._begun:
            write("\n]")
        elif problem is None:
            write("[]")


def _json(value: object) -> str:
    import json

    plain_text = (sys.stdout.encoding or "utf-8").lower().replace("-", "") != "utf8" if sys.stdout else True
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=plain_text, allow_nan=False)


def table(
    rows: Iterable[Sequence[object]],
    columns: Sequence[str],
    *,
    cut: str | None = None,
    above: list[int] | None = None,
) -> str:
    """Give an aligned table under a heading; numbers to the right.

    The column `cut` is shortened until a row fits the terminal (COLUMNS, else its width); every other cell stays
    whole, and so does the table when stdout is no terminal. For a table that is printed in parts `above` has the widths
    of the part before, an empty list for the first, and takes those of this one; only the first has a heading.
    """
    values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
    cells = [[title, *_cells(column)] for title, column in zip(columns, values, strict=True)]
    # A table may have 100,000 rows: what can be said once for a column is not asked of every cell. In a plain one
    # every character takes one terminal cell, as str pads, also after … was put at the end of some.
    plain = ["".join(column).isascii() for column in cells]
    widths = [
        max(map(len if ascii_ else text_width, column)) for column, ascii_ in zip(cells, plain, strict=True)
    ]
    if above:
        widths = list(map(max, widths, above))
    room = terminal_width()
    if cut is not None and room:
        where = columns.index(cut)
        left = room - (sum(widths) - widths[where] + len(GAP) * (len(columns) - 1))
        widths[where] = min(widths[where], max(left, len(cut)))
        cells[where] = [_shorten(text, widths[where]) for text in cells[where]]
    layout = []
    for i, width in enumerate(widths):
        right = bool(values[i]) and all(map(_is_number, values[i]))
        layout.append(f"%{'' if right else '-'}{width}s" if plain[i] else "%s")
        if not plain[i]:
            cells[i] = [_aligned(text, width, right) for text in cells[i]]
    line = GAP.join(layout)
    lines = [(line % row).rstrip() for row in zip(*cells, strict=True)]
    if above is not None:
        lines = lines[1:] if above else lines
        above[:] = widths
    return "\n".join(lines)


def _aligned(text: str, width: int, right: bool) -> str:
    width -= text_width(text) - len(text)  # str pads by characters, not by cells
    return text.rjust(width) if right else text.ljust(width)


def terminal_width() -> int:
    """Give the cells in a line of the terminal (COLUMNS, else what it says of itself), 0 when there is none."""
    with contextlib.suppress(ValueError):
        return int(os.environ.get("COLUMNS", ""))
    with contextlib.suppress(OSError, ValueError):  # no terminal
        return os.get_terminal_size(1).columns
    return 0


def human_size(size_bytes: int | None) -> str:
    """Give a size as people say it: "987 B", "1.9 MB"; "-" when it is not known.

    >>> human_size(1_930_000)
    '1.9 MB'
    """
    if size_bytes is None:
        return "-"
    size, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.95 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cells(values: Iterable[object]) -> list[str]:
    texts = [value if isinstance(value, str) else _cell(value) for value in values]
    return texts if "".join(texts).isprintable() else list(map(printable, texts))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value)


def printable(text: str) -> str:
    """Give a text on one line, blanks for what moves a cursor or hides a line: names and labels come from strangers."""
    return "".join(character if character.isprintable() else " " for character in text)


def text_width(text: str) -> int:
    """Give the terminal cells that a text takes: two for 猫, none for a combining accent."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def _shorten(text: str, width: int) -> str:
    if text_width(text) <= width:
        return text
    if text.isascii():
        text = text[: width - 1]
    while text and text_width(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"
