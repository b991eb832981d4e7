"""The argument parser that every command gets: two shared options, and errors of our own kind."""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hub.cli.output import write
from hub.errors import UsageError, did_you_mean, one_of

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


ALIKE = {"--output": "--save", "--save": "--output", "--lr": "--learning-rate"}
"""Options that one command has where another has the other, which is spelled nothing like it."""


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of printing and exiting, and knows what may have been meant."""

    def __init__(self, command: str, summary: str) -> None:
        super().__init__(
            prog=f"hub {command}", description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
        )
        self.add_argument("--json", action="store_true", help="print the data as JSON")
        self.add_argument("--quiet", action="store_true", help="print nothing on stderr but errors")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        # Intermixed, because `hub run NAME a.png --top-k 3 b.png` is what people write.
        self._words = sys.argv[1:] if args is None else args
        arguments, unknown = self.parse_known_intermixed_args(args, namespace)
        if unknown:
            raise self._takes_no(next((word for word in unknown if word.startswith("-")), unknown[0]))
        return arguments

    def error(self, message: str) -> NoReturn:
        # A misspelt option leaves others without what they need, which is not what is wrong.
        options = itertools.takewhile(lambda word: word != "--", self._words)
        for word in options:
            if _is_option(word) and word.partition("=")[0] not in self._option_string_actions:
                raise self._takes_no(word)
        raise UsageError(f"{self.prog}: {message}", hint=f"{self.prog} --help lists what it takes")

    def _takes_no(self, word: str) -> UsageError:
        found = word.partition("=")[0]
        kind = "option" if found.startswith("-") else "argument"
        hint = did_you_mean(ALIKE.get(found, found), self._option_string_actions, most=1)
        if not hint:
            hint = f"{self.prog} --help lists what it takes"
            if kind == "option" and not found.startswith("--"):
                hint += f"; a file of that name is ./{word}"
        return UsageError(f"{self.prog}: takes no {kind} {found!r}", hint=hint)

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        write(self.format_help().rstrip())


def _is_option(word: str) -> bool:
    return re.match(r"--?[a-zA-Z]", word) is not None


def choice(what: str, known: Iterable[str]) -> Callable[[str], str]:
    """Give an argument type that takes one of the known words and says which was meant otherwise."""
    words = list(known)

    def check(text: str) -> str:
        word = text.replace("-", "_")
        if word not in words:
            raise one_of(what, text, words)
        return word

    return check


def path(text: str) -> Path:
    """Give an argument as a path, and refuse an empty one, which to pathlib is the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, found an empty text")
    return Path(text)


def named(command: str, words: Iterable[str]) -> list[tuple[str, str | None]]:
    """Give the module and the version, None for all, of each NAME or NAME@VERSION. Raises UsageError for others."""
    from hub.registry.reference import Reference

    found = []
    for reference in map(Reference.parse, words):
        exact = reference.exact_version
        if reference.kind != "name" or (reference.versions and exact is None):
            raise UsageError(f"hub {command}: expected NAME or NAME@VERSION, found {str(reference)!r}")
        found.append((reference.name, exact))
    return found


def add_data(parser: argparse.ArgumentParser, name: str) -> None:
    """Let the parser take data, which `data_of` understands."""
    parser.add_argument(
        name, nargs="+", metavar="DATA",
        help="a folder with a folder per class, a list file, a table, or the name of a published set such as ESC50; "
        "for several questions QUESTION=DATA for each",
    )  # fmt: skip
    tables = parser.add_argument_group("tables whose columns have other names than usual")
    tables.add_argument("--path-column", metavar="NAME", help="the column of the files")
    tables.add_argument(
        "--text-column", action="append", metavar="NAME", help="that of the texts; for pairs give it twice"
    )
    tables.add_argument("--label-column", metavar="NAME", help="that of the labels")
    tables.add_argument("--label-separator", metavar="TEXT", help="what parts several labels in a cell")
    tables.add_argument("--encoding", metavar="NAME", help="of texts that are not UTF-8, such as gb18030")


def data_of(words: Sequence[str], arguments: argparse.Namespace) -> Any:
    """Give the data set that was named, or several by the names of their questions, as in shape=data/shapes.

    What `arguments` say of tables comes with it. Raises UsageError for several sets without names.
    """
    told = _told(arguments)

    def read(place: str) -> Any:
        if not told:
            return place
        from hub.datasets import Table  # numpy, which --help need not pay

        return Table(place, **told)

    if len(words) == 1 and ("=" not in words[0] or Path(words[0]).exists()):
        return read(words[0])
    sets: dict[str, Any] = {}
    for word in words:
        question, equals, place = word.partition("=")
        if not (question and equals and place) or question in sets:
            raise UsageError(
                f"DATA: expected one set, or QUESTION=DATA for each of several, found {word!r}",
                hint="hub finetune NAME shape=data/shapes tone=data/tones",
            )
        sets[question] = read(place)
    return sets


def _told(arguments: argparse.Namespace) -> dict[str, Any]:
    """Give what the options say of tables, as hub.datasets.Table takes it."""
    names = ("path_column", "text_column", "label_column", "label_separator", "encoding")
    told = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    texts = told.get("text_column", ())
    if len(texts) > 2:
        raise UsageError(f"--text-column: expected one, or two for pairs of texts, found {len(texts)}")
    return told | ({"text_column": texts[0] if len(texts) == 1 else tuple(texts)} if texts else {})


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --option, whose values are (name, value) pairs, for what a task takes and no flag has."""
    parser.add_argument(
        "--option", type=_option, action="append", default=[], metavar="NAME=VALUE", dest="options",
        help="what else this module's task takes; a value is JSON, or text",
    )  # fmt: skip


def options_for(
    command: str,
    method: Callable[..., Any],
    options: Iterable[tuple[str, Any]],
    *,
    others: Iterable[str] = (),
    idle: Iterable[str] = (),
) -> dict[str, Any]:
    """Give what --option says as arguments for a method that hands them on to the module's task.

    Raises UsageError for what the method takes itself, and for `others`: those have options of their own. So it does
    for what is `idle`, which would change nothing.
    """
    import inspect  # of which most commands have no need, and which takes its time

    lists = f"hub {command} --help lists what has an option of its own"
    hints = dict.fromkeys([*inspect.signature(method).parameters, *others], lists)
    hints |= {name: f"hub {command} has no use for {name}: leave it out" for name in idle}
    for name, _ in options:
        if name in hints:
            raise UsageError(
                f"--option: expected what the module's task takes, found {name}", hint=hints[name]
            )
    return dict(options)


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--option: expected NAME=VALUE, found {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add --precision, for commands that predict."""
    parser.add_argument(
        "--precision", type=choice("--precision", ("fp32", "bf16")), default="fp32", metavar="fp32|bf16",
        help="bf16: for many inputs about twice as fast on CPUs that have it, less exact (default fp32)",
    )  # fmt: skip
