"""`check`: one pass over everything that finds all problems before the first step of training."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from hub.datasets.base import Dataset, Origin, Problem, Sample
from hub.datasets.summary import count_kinds
from hub.errors import DataError, InputError, UsageError, one_of

SHOWN = 5
"""How many problems the error spells out before it only counts."""
CHUNK = 16
"""How many samples a thread takes at a time."""
Bad = dict[int, Problem]
"""The problem of every bad sample of one dataset, by the sample's index."""


@dataclass(frozen=True)
class Checked:
    """What `check` gives back: datasets without problems, and what was left out to get there."""

    splits: tuple[Dataset | None, ...]
    """In the order in which they were given, None where None was given."""
    dropped: tuple[Problem, ...] = ()

    def counts(self) -> dict[str, int]:
        """Give the number of dropped problems of every kind, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.dropped).most_common())

    def __str__(self) -> str:
        return f"left out: {count_kinds(self.dropped)}" if self.dropped else "no problems"


def check(
    *splits: Dataset | None,
    probe: Callable[[Sample], object] | None = None,
    on_bad: str = "raise",
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Checked:
    """Read every sample once; give datasets without problems, or raise one DataError that counts them all.

    Args:
        splits: train, valid and test, in this order. A file of one must not be in a later one.
        probe: Reads one sample and raises InputError or OSError if it is bad; called from several threads, once
            for every sample whose file is there. By default it decodes the input.
        on_bad: "raise", or "skip" to drop bad samples. What is wrong with a dataset as a whole is always raised.
        workers: Number of threads; by default one for every processor, at most 8.
        progress: Called with the number of samples read so far and their total.
    """
    if on_bad not in ("raise", "skip"):
        raise one_of("on_bad", on_bad, ("raise", "skip"))
    if workers is not None and workers < 1:
        raise UsageError(f"workers: expected at least 1, found {workers}")
    names = [*("train", "valid", "test"), *(f"split {number}" for number in range(4, len(splits) + 1))]
    given = {name: each for name, each in zip(names, splits, strict=False) if each is not None}
    if not given:
        raise UsageError("check: expected at least one dataset, found none")
    bad = _examine(
        given,
        probe or next(iter(given.values())).kind.decode,
        workers or min(8, os.cpu_count() or 1),
        progress,
    )
    _find_repeats(given, bad)
    kept = {name: _without(dataset, bad[name]) for name, dataset in given.items()}
    problems = _whole_problems(given, given if on_bad == "raise" else kept) + _sample_problems(given, bad)
    if problems and (on_bad == "raise" or any(problem.structural for problem in problems)):
        raise _error(problems)
    return Checked(tuple(kept.get(name) for name in names[: len(splits)]), tuple(problems))


@contextmanager
def bar(title: str, progress: bool) -> Iterator[Callable[[int, int], object]]:
    """Give what to call with the number of samples that were read and their total: where a person looks at stderr and
    wants to see `progress` it draws a bar, else nothing."""
    if not progress or sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from tqdm import tqdm  # 15 ms that `hub datasets` does not need

    with tqdm(desc=title, unit=" samples", leave=False) as drawn:

        def tell(done: int, total: int) -> None:
            drawn.total = total
            drawn.update(done - drawn.n)

        yield tell


def _examine(
    given: Mapping[str, Dataset],
    probe: Callable[[Sample], object],
    workers: int,
    progress: Callable[[int, int], object] | None,
) -> dict[str, Bad]:
    """Read every sample in a pool of threads; give the bad ones of every split, in the order of the samples."""
    bad: dict[str, Bad] = {name: {} for name in given}
    one_at_a_time = threading.Lock()  # a user's object need not be safe to call from several threads

    def examine(chunk: tuple[str, range]) -> list[Problem | None]:
        name, indices = chunk
        return [_examine_one(given[name], i, probe, one_at_a_time) for i in indices]

    chunks = [
        (name, range(start, min(start + CHUNK, len(dataset))))
        for name, dataset in given.items()
        for start in range(0, len(dataset), CHUNK)
    ]
    done, total = 0, sum(map(len, given.values()))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="hub-check")
    try:
        for (name, indices), found in zip(chunks, pool.map(examine, chunks), strict=True):
            bad[name].update({i: each for i, each in zip(indices, found, strict=True) if each is not None})
            done += len(indices)
            if progress is not None:
                progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, or an error in the probe, nothing more is read
    return bad


def _examine_one(
    dataset: Dataset, i: int, probe: Callable[[Sample], object], one_at_a_time: threading.Lock
) -> Problem | None:
    path = dataset.path(i)
    if path is not None and (trouble := _file_trouble(path)):
        return _sample_problem(dataset, i, *trouble)
    try:
        with one_at_a_time:
            sample = dataset[i]
        probe(sample)
    except InputError as error:
        return _sample_problem(
            dataset, i, "unreadable", error.message.removeprefix(f"{path or dataset.origin(i)}: ")
        )
    except (OSError, Image.DecompressionBombError) as error:
        return _sample_problem(dataset, i, "unreadable", getattr(error, "strerror", None) or str(error))
    return None


def _sample_problem(dataset: Dataset, i: int, kind: str, detail: str) -> Problem:
    origin = dataset.origin(i)
    return Problem(kind, origin, None if origin.row is None else dataset.path(i), detail)


def _file_trouble(path: str) -> tuple[str, str] | None:
    """Give the kind and detail of what keeps a path from being read at all."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "missing file", ""
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        return "unreadable", getattr(error, "strerror", None) or str(error)
    if not stat.S_ISREG(status.st_mode):
        return "unreadable", "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
    return None if status.st_size else ("empty file", "0 bytes")


def identity(path: str) -> Hashable:
    """Give what all paths of one file have in common, links included; of a path that is no file, the path itself."""
    with suppress(OSError, ValueError):
        status = os.stat(path)
        if (
            status.st_ino
        ):  # 0 where a system has no such numbers; size and time, lest a network disk repeats one
            return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return os.path.normcase(os.path.abspath(path))


def _find_repeats(given: Mapping[str, Dataset], bad: Mapping[str, Bad]) -> None:
    """Add a problem for every file that is there twice: in one split, or as a leak from one into a later one."""
    targets = {name: dataset.targets() for name, dataset in given.items()}
    seen: dict[Hashable, tuple[str, int]] = {}
    for name, dataset in given.items():
        for i in range(len(dataset)):
            path = dataset.path(i)
            if path is None:
                continue
            earlier, j = seen.setdefault(identity(path), (name, i))
            if (earlier, j) == (name, i):
                continue
            also = f"the same file as {given[earlier].origin(j)}"
            if earlier != name:
                bad[name].setdefault(i, _sample_problem(dataset, i, "leak", f"{also}, which is in {earlier}"))
            elif np.array_equal(targets[name][i], targets[name][j]):
                bad[name].setdefault(i, _sample_problem(dataset, i, "duplicate", also))
            else:  # nobody knows which of the two labels is right
                back = f"the same file as {dataset.origin(i)}"
                bad[name].setdefault(i, _sample_problem(dataset, i, "conflicting labels", also))
                bad[name].setdefault(j, _sample_problem(dataset, j, "conflicting labels", back))


def _without(dataset: Dataset, bad: Bad) -> Dataset:
    kept = dataset.select([i for i in range(len(dataset)) if i not in bad]) if bad else dataset
    return kept.settled()


def _whole_problems(before: Mapping[str, Dataset], after: Mapping[str, Dataset]) -> list[Problem]:
    """Give what is wrong with the datasets as they were given, and with what skipping left of them."""
    problems = []
    for name, dataset in before.items():
        if not len(after[name]) and not any(problem.structural for problem in dataset.problems):
            detail = f"all {len(dataset)} were bad" if len(dataset) else ""
            problems.append(Problem("no samples", Origin(dataset.name), detail=detail))
    name, dataset = next(iter(before.items()))  # train: the others need not have every class
    if len(dataset.labels) == 1 and not (dataset.multi_label or dataset.kind.is_rated):
        problems.append(
            Problem("one class only", Origin(dataset.name), dataset.labels[0], "at least two are needed")
        )
    left = after[name].counts()
    for label, count in dataset.counts().items():
        if count and not left[label] and len(after[name]):
            detail = f"all its {count} samples were bad"
            problems.append(Problem("lost class", Origin(dataset.name), label, detail))
    return problems


def _sample_problems(given: Mapping[str, Dataset], bad: Mapping[str, Bad]) -> list[Problem]:
    """Give all other problems, split by split, each by file and row."""
    problems: list[Problem] = []
    reported: set[int] = set()
    for name, dataset in given.items():
        own = [problem for problem in dataset.problems if id(problem) not in reported]
        reported.update(map(id, own))  # the parts of one dataset all carry its problems
        own += bad[name].values()
        own.sort(key=lambda problem: (problem.origin.file, problem.origin.row or 0))
        many = len(given) > 1
        problems += [replace(each, split=name) if many and not each.origin.file else each for each in own]
    return problems


def _error(problems: Sequence[Problem]) -> DataError:
    ordered = sorted(problems, key=lambda problem: not problem.structural)
    lines = [f"the data has {'a problem' if len(problems) == 1 else f'{len(problems):,} problems'}:"]
    lines += [f"  {problem}" for problem in ordered[:SHOWN]]
    if len(problems) > SHOWN:
        lines += [f"  … and {len(problems) - SHOWN:,} more", f"  in all: {count_kinds(problems)}"]
    structural = list(dict.fromkeys(problem.kind for problem in problems if problem.structural))
    if structural:
        hint = f'mend the data; on_bad="skip" cannot help with {", ".join(structural)}'
    else:
        hint = 'mend the data, or go on without the bad samples: on_bad="skip", --on-bad skip'
    return DataError("\n".join(lines), hint=hint)
