"""JSON and YAML that a stranger wrote: read whole or refused, with the place of whatever is wrong in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from hub.errors import HubError, IndexFormatError, cut, did_you_mean
from hub.files import unique_keys
from hub.naming import A_PATH, A_TASK, A_VERSION, is_digest, is_safe_path, is_size, is_task, is_version
from hub.registry.reference import UNSEEN

SCHEMA = 1
MAX_DEPTH = 64
MAX_LINE = 1000
DAMAGED = "correct it if it is yours, else tell whoever made it"  # what to do where nothing better is known


def load_json(data: bytes, *, source: str, most: int) -> object:
    """Read JSON that a stranger wrote: one value per key, real numbers, bounded size and depth.

    Raises IndexFormatError with `source` and, where there is one, the line.
    """
    if len(data) > most:
        raise IndexFormatError(
            f"{source}: expected at most {most:,} bytes, found {len(data):,}", hint=DAMAGED
        )
    try:
        text = data.decode("utf-8-sig")  # editors on Windows put a mark first
        value = json.loads(text, object_pairs_hook=unique_keys, parse_constant=_refuse_constant)
    except UnicodeDecodeError as problem:
        raise IndexFormatError(
            f"{source}: expected UTF-8, found other bytes at {problem.start}", hint=DAMAGED
        ) from None
    except RecursionError:
        raise IndexFormatError(f"{source}: nested more than {MAX_DEPTH} deep", hint=DAMAGED) from None
    except json.JSONDecodeError as problem:
        marks = ("<<<<<<<", "=======", ">>>>>>>")
        if lines := [n for n, line in enumerate(text.splitlines(), 1) if line.startswith(marks)]:
            raise IndexFormatError(
                f"{source}, line {lines[0]}: expected JSON, found a merge conflict",
                hint="settle it between the <<<<<<< and >>>>>>>, and remove these lines",
            ) from None
        if text.lstrip().startswith("<"):
            raise IndexFormatError(
                f"{source}: expected JSON, found a web page",
                hint="a login page or a proxy may have answered; open the address in a browser",
            ) from None
        where = f"line {problem.lineno}, column {problem.colno}"
        at_end = problem.pos >= len(text.rstrip()) or problem.msg.startswith("Unterminated")
        cut = "; it may have been cut short" if at_end else ""
        raise IndexFormatError(
            f"{source}, {where}: expected JSON, but {problem.msg}{cut}", hint=DAMAGED
        ) from None
    except ValueError as problem:
        raise IndexFormatError(f"{source}: {problem}", hint=DAMAGED) from None
    _check_depth(value, source)
    return value


@dataclass(frozen=True)
class Place:
    """A value of a JSON or YAML file and where it stands, so that every complaint can say so."""

    value: object
    source: str
    where: str = ""
    error: type[HubError] = IndexFormatError

    def fail(self, expected: str, hint: str = "") -> HubError:
        """Give the error to raise: where, what was expected, what was found."""
        shown = cut(repr(self.value), 60)
        where = f" {self.where}:" if self.where else ""
        return self.error(f"{self.source}:{where} expected {expected}, found {shown}", hint=hint or DAMAGED)

    def __getitem__(self, key: str) -> Place:
        place = self.get(key)
        if place is None:
            keys = map(str, self.value) if isinstance(self.value, dict) else []  # YAML has others than texts
            where = f"{self.where}.{key}" if self.where else key
            raise self.error(f"{self.source}: {where}: missing", hint=did_you_mean(key, keys) or DAMAGED)
        return place

    def get(self, key: str) -> Place | None:
        if not isinstance(self.value, dict):
            raise self.fail("an object {…}")
        where = f"{self.where}.{key}" if self.where else key
        return replace(self, value=self.value[key], where=where) if key in self.value else None

    def items(self) -> list[Any]:
        if not isinstance(self.value, list):
            raise self.fail("a list […]")
        return self.value

    def each(self) -> list[Place]:
        return [replace(self, value=item, where=f"{self.where}[{n}]") for n, item in enumerate(self.items())]

    def version(self) -> str:
        if isinstance(self.value, int | float):  # YAML reads 1.10 as a number and loses its zero
            raise self.fail("a version in quotes, such as '1.2.0'")
        return self._text(is_version, A_VERSION)

    def task(self) -> str:
        return self._text(is_task, A_TASK)

    def line(self) -> str:
        return self._text(is_line, "one line of text")

    def path(self) -> str:
        return self._text(is_safe_path, A_PATH)

    def digest(self) -> str:
        return self._text(is_digest, "64 hex digits")

    def whole_number(self) -> int:
        if not is_size(self.value):
            raise self.fail("a whole number of at least 0")
        assert isinstance(self.value, int)
        return self.value

    def integer(self) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.fail("an integer")
        return self.value

    def _text(self, is_right: Callable[[object], bool], expected: str) -> str:
        if not is_right(self.value):
            raise self.fail(expected)
        return str(self.value)


def check_schema(top: Place) -> None:
    """Refuse a file that a newer hub wrote. Raises IndexFormatError with the line that upgrades."""
    schema = top["schema"]
    if schema.whole_number() > SCHEMA:
        raise schema.fail(f"at most {SCHEMA}, which this hub reads", hint="pip install -U hubtune")
    if schema.value != SCHEMA:
        raise schema.fail(str(SCHEMA))


def is_line(value: object) -> bool:
    # isprintable is quick and right for most; the pattern decides about the rest (a Chinese blank, say).
    return (
        isinstance(value, str)
        and len(value) <= MAX_LINE
        and (value.isprintable() or not UNSEEN.search(value))
    )


def are_lines(values: list[object]) -> bool:
    """Say whether all are lines: looked at as one text first, since there may be 100,000."""
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values):
        return False
    quick = max(map(len, texts), default=0) <= MAX_LINE and "".join(texts).isprintable()
    return quick or all(map(is_line, texts))


def one_line(text: str) -> str:
    """Give a text as a `line`: blanks for whatever a terminal must not see, one in a row, cut where it gets long."""
    return " ".join(UNSEEN.sub(" ", text).split())[:MAX_LINE]


def seen(text: str) -> str:
    """Give a text as a `line` that is else as it was, for a path may have two blanks in a row."""
    return UNSEEN.sub(" ", text)[:MAX_LINE]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"expected JSON, found {name}, which is no number in JSON")


def _check_depth(value: object, source: str) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict) or isinstance(child, list)  # noqa: SIM101 - half a million times: this is quicker
        ]
    if level:
        raise IndexFormatError(f"{source}: nested more than {MAX_DEPTH} deep", hint=DAMAGED)
