"""`hub run`: predictions for files, folders, globs or texts, also one a line on stdin."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hub.cli.loading import load_paddle
from hub.cli.output import ClosedOutput, JsonList, say, table, write
from hub.cli.parser import add_options, add_precision, options_for, path
from hub.errors import HubError, UsageError
from hub.files import storage_errors, write_file

if TYPE_CHECKING:
    from tqdm import tqdm

    from hub.module import Module


TOGETHER = 100
"""Results whose rows are laid out together: those of fewer inputs are one table, printed when all are answered."""

RESULTS = Path("results")
"""Where pictures go that are themselves the answer, when nothing else is said."""


LABELLED = ("top", "labels", "entities", "start", "value", "similarity")
"""What results with one answer have one of; each fits the columns label, score and runners-up."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a module name, name@version or ./folder")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="a file, a folder, a glob, a text, or - for one of them a line on stdin",
    )
    parser.add_argument("--top-k", type=int, metavar="N", help="labels for each input (default 5)")
    add_options(parser)
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="inputs at once (default 32)")
    parser.add_argument("--device", help="cpu, gpu or gpu:1 (default: the best one there is)")
    add_precision(parser)
    parser.add_argument(
        "--save",
        metavar="DIR",
        type=path,
        help="write each picture with its answer drawn on (masks and pictures: results/)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one row for each input; 1 when an input failed, or the picture of one."""
    words = _read_stdin(arguments.inputs)
    if arguments.save and arguments.save.exists() and not arguments.save.is_dir():
        raise UsageError(f"--save: expected a folder, found the file {arguments.save}")
    from hub.cli.texts import texts_of

    load_paddle()
    from hub.module import Module

    module = Module(arguments.name, device=arguments.device)
    options = options_for("run", Module.predict, arguments.options)
    if arguments.top_k is not None:
        options["top_k"] = arguments.top_k
    of_texts = any(step.name == "tokenize" for step in module.spec.preprocess)
    inputs = [each for word in words for each in (texts_of(word) if of_texts else _paths(word))]
    if of_texts:
        sources = [source for each in inputs for source in module.expand(each)]  # two words are no pair
    else:
        sources = module.expand(inputs if len(inputs) > 1 else inputs[0])
    if arguments.save:
        with storage_errors(arguments.save):  # now, and not when everything is answered
            arguments.save.mkdir(parents=True, exist_ok=True)
    answers = module.predict_each(
        sources, batch_size=arguments.batch_size, precision=arguments.precision, **options
    )
    done = _Done(arguments.save)
    try:
        with JsonList() if arguments.json else _Table() as printed, _bar(len(sources)) as bar:
            for number, (source, result) in enumerate(zip(sources, answers, strict=True), 1):
                if "error" not in result and (trouble := done.save(module, source, result, number)):
                    with _beside(bar, sys.stderr):
                        say(trouble)
                with _beside(bar, sys.stdout):
                    done.print(printed, result)
                bar.update()
    except KeyboardInterrupt:
        say(f"{done.answered:,} of {len(sources):,} inputs were answered")
        raise
    finally:
        if done.answered:
            done.tell()
    return 1 if done.failed or done.unsaved else 0


class _Done:
    """How many inputs have their answers printed, and how many of these as pictures in which folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.answered = self.failed = self.saved = self.unsaved = 0

    def save(self, module: Module, source: Any, result: dict[str, Any], number: int) -> str:
        """Save the picture of an answer where that is asked for, or where it is one; give what went wrong, or ""."""
        if _has_arrays(result):
            self.folder = self.folder or RESULTS
        if not self.folder:
            return ""
        try:
            _save_all(module, source, result, self.folder / (_stem(source) or str(number)))
        except (HubError, OSError, ValueError, MemoryError) as problem:  # the answers are to be printed
            self.unsaved += 1
            return f"{_shown(result['input'])}: not saved: {problem}"
        self.saved += 1
        return ""

    def print(self, printed: JsonList | _Table, result: dict[str, Any]) -> None:
        try:
            printed.add(result)
        except ClosedOutput:
            if not self.folder:  # where there is one, the pictures are wanted also if nobody reads on
                raise
        self.answered += 1
        self.failed += "error" in result

    def tell(self) -> None:
        if self.folder:
            say(f"{self.saved} pictures saved in {self.folder}")
        if self.failed:
            say(f"{self.failed} of {self.answered} inputs failed")


def _bar(count: int) -> tqdm[Any]:
    """Give a bar that is drawn where a person looks at stderr."""
    from tqdm import tqdm

    return tqdm(total=count, desc="answering", unit=" inputs", disable=None, leave=False)


@contextlib.contextmanager
def _beside(bar: tqdm[Any], stream: TextIO | None) -> Iterator[None]:
    """Let the block print on a stream: the bar is taken off a terminal meanwhile."""
    if stream is None or not stream.isatty():
        yield
        return
    bar.clear()
    yield
    bar.refresh()


def _stem(source: object) -> str | None:
    """Give the name of an input that is a file, without its ending; None for a text."""
    if not isinstance(source, str | Path) or len(str(source)) > 4000 or not os.path.isfile(source):
        return None
    return Path(source).stem


def _read_stdin(words: list[str]) -> list[str | bytes]:
    """Give the words with what stdin has in the place of "-". Raises UsageError where that is nothing."""
    stdin = sys.stdin and sys.stdin.buffer  # None when it was closed: `hub run m - <&-`
    found = [(stdin.read() if stdin else b"") if word == "-" else word for word in words]
    if "-" in words and not any(each.strip() for each in found):
        raise UsageError("hub run: expected an input a line on stdin, found none")
    return found


def _paths(word: str | bytes) -> list[str]:
    """Give a word as it is, and of stdin its lines: as bytes, for a path need not be text in its encoding."""
    if isinstance(word, str):
        return [word]
    return [line for each in os.fsdecode(word).split("\n") if (line := each.removesuffix("\r"))]


def _shown(given: str | list[str]) -> str:
    """Give an input in one line: a path, a text, a pair of texts or the words of one."""
    text = given if isinstance(given, str) else (" | " if len(given) == 2 else " ").join(given)
    return " ".join(text.split())


class _Table:
    """The rows of results, printed some at a time: what is there so far is there if the rest never comes."""

    def __init__(self) -> None:
        self._waiting: list[Mapping[str, Any]] = []
        self._names: list[str] = []
        self._columns: tuple[str, ...] = ()
        self._widths: list[int] = []

    def __enter__(self) -> _Table:
        return self

    def add(self, result: Mapping[str, Any]) -> None:
        self._waiting.append(result)
        if len(self._waiting) == TOGETHER:
            self._print()

    def __exit__(self, problem: object, *_: object) -> None:
        if self._waiting or (problem is None and not self._columns):
            self._print()

    def _print(self) -> None:
        """Print what waits, under a heading where the columns are others than above."""
        results, self._waiting = self._waiting, []
        if self._names or any(map(_is_named, results)):
            found = (key for result in results for key in result if key not in ("input", "error"))
            self._names = list(dict.fromkeys([*self._names, *found]))
            rows = [_named_row(result, self._names) for result in results]
            columns = ("INPUT", *(name.upper() for name in self._names))
        else:
            rows = [row for result in results for row in _rows(result)]
            columns = ("INPUT", "LABEL", "SCORE", "RUNNERS-UP")
        if columns != self._columns:
            self._columns, self._widths = columns, []
        write(table(rows, columns, cut="INPUT", above=self._widths))


def _is_named(result: Mapping[str, Any]) -> bool:
    """Say whether a result's keys are of its own kind: a picture and what is known of it, or answers by question."""
    return "error" not in result and all(isinstance(result.get(key), Mapping | None) for key in LABELLED)


def _named_row(result: Mapping[str, Any], names: Sequence[str]) -> tuple[object, ...]:
    """Give an input with a cell for each key of its result; what went wrong is in the last one."""
    cells = [_named_cell(result.get(name)) for name in names]
    if "error" in result:
        cells[-1] = f"error: {result['error']}"
    return (_shown(result["input"]), *cells)


def _named_cell(value: object) -> object:
    """Give the label and score of a question, or shares by label, the largest first and none that shows as zero."""
    if not isinstance(value, Mapping):
        return value
    if "top" in value:
        return _scores(value["top"][:1])
    ranked = sorted(value.items(), key=lambda item: -item[1])
    return ", ".join(f"{label} {share:.1%}" for label, share in ranked if share >= 0.0005)


def _rows(result: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Give the line of a result, and one below it for each stretch of a timeline."""
    stretches = [
        (f"  {each['start']:.2f} to {each['end']:.2f} s", *_row(each)) for each in result.get("timeline", ())
    ]
    return [(_shown(result["input"]), *_row(result)), *stretches]


def _row(result: Mapping[str, Any]) -> tuple[object, object, object]:
    """Give the cells for one result: answer, score, what else was likely or what went wrong."""
    if "error" in result:
        return None, None, f"error: {result['error']}"
    if "top" in result:
        return result["label"], result["score"], _scores(result["top"][1:])
    if "scores" in result:
        ranked = sorted(result["scores"].items(), key=lambda item: -item[1])
        entries = [
            {"label": label, "score": score} for label, score in ranked if label not in result["labels"]
        ]
        return ", ".join(result["labels"]) or "(none)", None, _scores(entries)
    if "entities" in result:
        found = [f"{each['text']} ({each['type']})" for each in result["entities"]]
        return ", ".join(found) or "(none)", None, None
    if "start" in result:
        return result["label"], result["score"], None
    if "value" in result:
        near = f"similarity {result['similarity']:.4f}" if "similarity" in result else None
        return None, result["value"], near
    return result["label"], result["score"], f"similarity {result['similarity']:.4f}"


def _scores(entries: list[dict[str, Any]]) -> str:
    return ", ".join(f"{entry['label']} {entry['score']:.4f}" for entry in entries)


def _has_arrays(result: Mapping[str, Any]) -> bool:
    return any(hasattr(value, "shape") for value in result.values())


def _save_all(module: Module, source: Any, result: dict[str, Any], path: Path) -> None:
    """Write the picture with the answer and what else is a file; the result has their paths in place of arrays.

    They are path.png and path-mask.png, or path-2.png and path-2-mask.png and so on where one of them is taken:
    nothing is ever overwritten, and what belongs together has one number.
    """
    try:
        pictures = {"saved": module.draw(source, result), **module.files(result)}
    finally:
        for name in [name for name, value in result.items() if hasattr(value, "shape")]:
            del result[name]
    stems = itertools.chain(
        [path], (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    )
    for stem in stems:
        targets = {name: Path(f"{stem}{'' if name == 'saved' else f'-{name}'}.png") for name in pictures}
        if not any(target.exists() for target in targets.values()):
            break
    for name, picture in pictures.items():
        write_file(targets[name], lambda temporary, picture=picture: picture.save(temporary, "PNG"))  # type: ignore[misc]
        result[name] = str(targets[name])
