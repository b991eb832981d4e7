"""From what a user hands to `predict` or `embed` to answers and vectors, batch by batch, in the order of the inputs."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hub import inputs
from hub.datasets.kinds import KINDS, PICTURES, Kind
from hub.errors import InputError, SpecError, UsageError, one_of
from hub.modules.archs import Backbone
from hub.modules.building import leave_static_mode_of_traces
from hub.modules.kept import Kept
from hub.modules.network import Network
from hub.modules.preprocessor import Preprocessor
from hub.modules.text_preprocessor import TextPreprocessor
from hub.tasks import Task
from hub.tasks.base import is_whole
from hub.transforms.text import Tokens

WINDOW = 50
"""Batches of texts that are read together and sorted by length, so that little is padded."""


TOO_LARGE = "too large for the memory of this machine"


@dataclass
class Input:
    """One input: where it stands among the others, what it is called, and what was read from it or went wrong."""

    position: int
    name: Any
    source: Any
    item: Any = None
    problem: str | None = None


def answers_of(
    network: Network,
    task: Task,
    preprocessor: Preprocessor,
    given: Any,
    *,
    batch_size: int,
    options: Mapping[str, Any],
    kept: Kept,
    precision: str = "fp32",
) -> Iterator[dict[str, Any]]:
    """Give the task's answer for each input, or {"input", "error"}, some batches at a time, as they are asked for.

    Raises UsageError at once for options that the task does not take.
    """
    fixed = inspect.signature(Task.answers).parameters
    takes = [name for name in inspect.signature(task.answers).parameters if name not in fixed]
    for name in options:
        if name not in takes:
            raise one_of(f"option of predict for {task.name}", name, takes)
    every = expanded(given, task.inputs)
    run = kept.run(task.answering(network), network.backbone.feature_spec, len(every), precision=precision)
    task.answers([], [], run=run, preprocessor=preprocessor, **options)  # refuses bad ones at once

    def answers(some: list[Input]) -> list[dict[str, Any]]:
        sources, items = [one.source for one in some], [one.item for one in some]
        return task.answers(sources, items, run=run, preprocessor=preprocessor, **options)

    def answered(window: list[Input]) -> list[dict[str, Any]]:
        leave_static_mode_of_traces()  # of the thread that asks, which may be a new one for every answer
        found: dict[int, dict[str, Any]] = {}
        for batch in _batches(window, batch_size):
            good = [one for one in batch if one.problem is None]
            found |= {one.position: answer for one, answer in _each_answer(good, answers)}
        return [{"input": one.name, **found.get(one.position, {"error": one.problem})} for one in window]

    windows = _windows(every, task.inputs, preprocessor, batch_size)
    return itertools.chain.from_iterable(map(answered, windows))


def _each_answer(
    batch: list[Input], answers: Callable[[list[Input]], list[dict[str, Any]]]
) -> Iterator[tuple[Input, dict[str, Any]]]:
    """Give the inputs with their answers. Where memory is too little for all at once, they are answered one by one."""
    try:
        yield from zip(batch, answers(batch) if batch else [], strict=True)
    except MemoryError:
        if len(batch) == 1:
            batch[0].problem = TOO_LARGE
            return
        for one in batch:
            yield from _each_answer([one], answers)


def embed(
    backbone: Backbone,
    kind: str,
    preprocessor: Preprocessor,
    given: Any,
    *,
    batch_size: int,
    kept: Kept,
    precision: str = "fp32",
) -> np.ndarray:
    """Give a row of features for each input, for a module that takes `kind`: of every text by itself.

    Raises InputError for an input that cannot be read.
    """
    kind = "texts" if KINDS.get(kind, PICTURES).is_text else kind
    if backbone.feature_spec.kind == "tokens":
        raise SpecError(
            "embed: this module gives a vector for every piece of a text, none for the whole of it"
        )
    every = expanded(given, kind)
    run = kept.run(backbone, backbone.feature_spec, len(every), precision=precision)
    rows: list[Any] = [None] * len(every)
    for window in _windows(every, kind, preprocessor, batch_size):
        for batch in _batches(window, batch_size):
            for one in batch:
                if one.problem is not None:  # a row that is missing would shift all the others
                    raise InputError(one.problem if one.name in one.problem else f"{one.name}: {one.problem}")
            for one, row in zip(batch, run(preprocessor.batch([one.item for one in batch])), strict=True):
                rows[one.position] = row
    return np.stack(rows) if rows else np.zeros((0, backbone.feature_spec.channels), np.float32)


def expanded(given: Any, kind: str) -> list[Any]:
    """Give one item for each input, in order, for a task that takes `kind`: a folder becomes its files."""
    return inputs.expand(given, KINDS.get(kind, PICTURES))


def _windows(
    every: list[Any], kind: str, preprocessor: Preprocessor, batch_size: int
) -> Iterator[list[Input]]:
    """Give the inputs in their order, so many at a time as are read together. Raises UsageError for a batch size."""
    if not is_whole(batch_size) or batch_size < 1:
        raise UsageError(f"batch_size: expected at least 1, found {batch_size!r}")
    of = KINDS.get(kind, PICTURES)
    step = batch_size * (WINDOW if of.is_text else 1)

    def window(start: int) -> list[Input]:
        found = [
            Input(position, _name(source, position, of), source)
            for position, source in enumerate(every[start : start + step], start)
        ]
        _read(found, of, preprocessor)
        return found

    return map(window, range(0, len(every), step))


def _batches(window: list[Input], batch_size: int) -> Iterator[list[Input]]:
    """Give what was read together in batches, texts of like length in one."""
    by_length = sorted(window, key=lambda one: len(one.item) if isinstance(one.item, Tokens) else 0)
    for first in range(0, len(by_length), batch_size):
        yield by_length[first : first + batch_size]


def _name(source: Any, position: int, kind: Kind) -> Any:
    """Give what stands for an input in its result: a path, or a text as it is (a list of two, or of its words)."""
    if kind.is_text and isinstance(source, str | list | tuple):
        return source if isinstance(source, str) else list(source)
    return inputs.describe(source, position, kind)


def _read(window: list[Input], kind: Kind, preprocessor: Preprocessor) -> None:
    """Put into each input what was read from it, or what is wrong with it."""
    if kind.is_pair:
        for one in window:
            if not isinstance(one.source, tuple):
                one.problem = "expected two texts: a pair of them, or a line with a tab in the middle"
    todo = [one for one in window if one.problem is None]
    if isinstance(preprocessor, TextPreprocessor):
        found: Iterable[Any] = preprocessor.read_many([one.source for one in todo])
    else:
        found = (_tried(preprocessor, one.source, kind) for one in todo)
    for one, item in zip(todo, found, strict=True):
        one.item, one.problem = (None, str(item)) if isinstance(item, InputError) else (item, None)


def _tried(preprocessor: Preprocessor, source: Any, kind: Kind) -> Any:
    try:
        return preprocessor.read(source)
    except InputError as problem:
        try:
            inputs.expand(source, kind)  # says why a folder or a glob in a list stands for nothing
        except InputError as reason:
            return reason
        return problem
    except MemoryError:
        return InputError(TOO_LARGE)
