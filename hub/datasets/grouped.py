"""Several labelled sets as one: each answers a question of its own about the same kind of input.

The labels become "flower/rose", "flower/tulip", "colour/red": what stands before the first "/" names the set. A sample
keeps its input, its origin and its one label; it says nothing about the other questions.
"""

from __future__ import annotations

import dataclasses
import operator
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from hub.contents import digest_of
from hub.datasets.base import Dataset, Origin, Problem, Sample
from hub.datasets.kinds import PICTURES, Kind, kind_of
from hub.datasets.preflight import SHOWN, identity
from hub.datasets.prepare import Prepared, Probe, prepare, prepare_evaluation
from hub.datasets.sources import ROLES, load
from hub.datasets.splits import Splits, split
from hub.datasets.summary import count_kinds
from hub.errors import DataError, UsageError, one_of

MARK = "/"
RESERVED = frozenset({"input", "error", "cut", "mean", *(name for names in ROLES.values() for name in names)})
"""What no set can be called: keys of a result, the name of the metric over all, and the parts of one set."""

Sets = Mapping[str, Dataset]


class GroupedDataset(Dataset):
    """The samples of several sets, one set after the other, with the joint labels."""

    def __init__(self, parts: Sets, labels: Sequence[str] | None = None) -> None:
        """Join sets by name. `labels` are the joint ones of a module; None takes those of the sets."""
        own = {name: [f"{name}{MARK}{label}" for label in part.labels] for name, part in parts.items()}
        self._names, self._parts = tuple(parts), tuple(parts.values())
        self.name = ", ".join(f"{name}: {part.name}" for name, part in parts.items())
        self.labels = tuple(labels or (label for names in own.values() for label in names))
        self.multi_label = False
        self.problems = tuple(problem for part in self._parts for problem in part.problems)
        self.ignored = _ignored(self._parts)
        numbers = {label: number for number, label in enumerate(self.labels)}
        tables = [np.array([numbers[label] for label in names], np.int64) for names in own.values()]
        pairs = list(zip(tables, self._parts, strict=True))
        self._targets = np.concatenate([table[part.targets()] for table, part in pairs])
        self._index = np.concatenate(
            [
                np.stack([np.full(len(part), n), np.arange(len(part))], axis=1)
                for n, part in enumerate(self._parts)
            ]
        )  # [N, 2]: which set, and which of its samples

    def __getitem__(self, i: int) -> Sample:
        i = operator.index(i)
        part, inner = self._at(i)
        return dataclasses.replace(part[inner], label=int(self._targets[i]))

    def __repr__(self) -> str:
        return f"<GroupedDataset {self.name}: {len(self)} samples, {len(self.labels)} labels>"

    @property
    def kind(self) -> Kind:
        """What the inputs are."""
        return self._parts[0].kind

    @property
    def taken(self) -> str:
        """What was taken of each set where others could be meant; else nothing."""
        own = zip(self._names, self._parts, strict=True)
        return "; ".join(f"{name}: {part.taken}" for name, part in own if part.taken)

    def origin(self, i: int) -> Origin:
        """Give where sample `i` came from, without reading it."""
        part, inner = self._at(i)
        return part.origin(inner)

    def path(self, i: int) -> str | None:
        """Give the file of sample `i`, or None where its input is in memory."""
        part, inner = self._at(i)
        return part.path(inner)

    def relabel(self, labels: Sequence[str] | None = None, *, multi_label: bool | None = None) -> Dataset:
        """Raise UsageError: each set has labels of its own."""
        raise UsageError(f"{self.name}: expected one set, found several", hint="relabel each of them")

    def _at(self, i: int) -> tuple[Dataset, int]:
        number, inner = self._index[i].tolist()
        return self._parts[number], inner


def is_grouped(data: Any) -> bool:
    """Say whether data are several sets by name, and not one set or the parts of one: {"train": …, "test": …}."""
    return isinstance(data, Mapping) and not any(name in data for name in ROLES["train"])


def prepare_grouped(
    sets: Mapping[str, Any],
    *,
    kind: Kind | str = PICTURES,
    valid: Any = None,
    test: Any = None,
    on_bad: str = "raise",
    seed: int = 0,
    workers: int | None = None,
    probe: Probe | None = None,
    progress: bool = False,
) -> Prepared:
    """Load, check and split the sets of a run as `prepare` does each of them, and join them.

    `valid` and `test` are {name: data} for all sets or for some; `valid` False goes without. Of the sets that have no
    validation data a fifth is held out, all together: an input that is in several of them is held out of all or of
    none, because a network that has learnt one answer about an input knows it when it is asked another. For the same
    reason a file of one set's training part must not be in the validation or test part of another.

    Raises UsageError for names that cannot be meant, and DataError that lists the problems of every set.
    """
    kind = kind_of(kind)
    _require_names(sets)
    given_valid, given_test = _by_name("valid", valid, sets), _by_name("test", test, sets)
    parts: dict[str, dict[str, Dataset]] = {role: {} for role in ROLES}
    notes: list[str] = []
    to_split: dict[str, Dataset] = {}
    failures: dict[str, DataError] = {}
    for name, data in sets.items():
        with _naming(name, failures):
            source = _single_label(load(data, kind=kind))
            own = given_valid.get(name)
            alone = own is None and source.valid is None
            found = prepare(
                source, valid=False if alone else own, test=given_test.get(name), kind=kind, on_bad=on_bad,
                seed=seed, workers=workers, probe=probe, progress=progress,
            )  # fmt: skip
            notes += [f"{name}: {note}" for note in found.notes]
            for role, part in (("train", found.train), ("valid", found.valid), ("test", found.test)):
                if part is not None:
                    parts[role][name] = part
            if alone:
                to_split[name] = found.train
    _raise(failures)
    if to_split:
        held = 0
        for name, (train, chosen) in _split(to_split, seed=seed).items():
            parts["train"][name], parts["valid"][name] = train, chosen
            held += len(chosen)
        notes.append(
            f"no validation data was given for {', '.join(to_split)}: {held} of "
            f"{sum(map(len, to_split.values()))} samples were held out"
        )
    notes += _without_leaks(parts, on_bad=on_bad)
    return _joined(parts, list(sets), tuple(notes))


def prepare_grouped_evaluation(
    sets: Mapping[str, Any],
    *,
    labels: Sequence[str],
    kind: Kind | str = PICTURES,
    on_bad: str = "raise",
    workers: int | None = None,
    probe: Probe | None = None,
    progress: bool = False,
) -> GroupedDataset:
    """Give for each set what `prepare_evaluation` gives, joined, with the joint `labels` of a module as its classes.

    Questions that `sets` leaves out are not measured. Raises UsageError for a set that answers none of the questions.
    """
    own: dict[str, list[str]] = {}
    for label in labels:
        name, _, rest = label.partition(MARK)
        own.setdefault(name, []).append(rest)
    _require_sets(sets, own)
    for name in sets:
        if name not in own:
            raise one_of("a set", name, own)
    parts: dict[str, Dataset] = {}
    failures: dict[str, DataError] = {}
    for name, data in sets.items():
        with _naming(name, failures):
            parts[name] = prepare_evaluation(
                data,
                labels=own[name],
                multi_label=False,
                kind=kind,
                on_bad=on_bad,
                workers=workers,
                probe=probe,
                progress=progress,
            )
    _raise(failures)
    return GroupedDataset(parts, labels)


# ---- names ----


def _require_names(sets: Mapping[str, Any]) -> None:
    _require_sets(sets, ("flower", "colour"))
    for name in sets:
        if not isinstance(name, str) or not name or name != " ".join(name.split()) or MARK in name:
            raise UsageError(f"name of a set: expected a word without {MARK!r}, found {name!r}")
        if name.lower() in RESERVED:
            taken = ", ".join(sorted(RESERVED))
            raise UsageError(
                f"name of a set: {name!r} means something else already", hint=f"not free: {taken}"
            )


def _require_sets(sets: Any, names: Sequence[str] | Mapping[str, object]) -> None:
    if not isinstance(sets, Mapping) or not sets:
        found = "none" if isinstance(sets, Mapping) else type(sets).__name__
        wanted = "{" + ", ".join(f'"{name}": …' for name in names) + "}"
        raise UsageError(f"expected sets by name, {wanted}, found {found}")


def _by_name(role: str, given: Any, sets: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the part of each set that was given for a role. Raises UsageError for another shape or name."""
    if given is None or given is False:
        return {} if given is None else dict.fromkeys(sets, False)
    if not isinstance(given, Mapping):
        raise UsageError(
            f"{role}: expected {{name: data}} for {', '.join(sets)}, found {type(given).__name__}"
        )
    for name, part in given.items():
        if name not in sets:
            raise one_of(role, name, sets)
        if role == "valid" and part is False:
            raise UsageError(
                f"valid[{name!r}]: expected data: the best epoch is chosen by all questions, found False",
                hint="leave it out, and a fifth is held out; or pass valid=False for all sets",
            )
    return given


def _single_label(source: Splits) -> Splits:
    if source.train.multi_label:
        raise DataError("expected one label for each sample, found several", hint="a set for each question")
    return source


@contextmanager
def _naming(name: str, failures: dict[str, DataError]) -> Iterator[None]:
    """Say whose an error is, and keep a DataError for later, so that the problems of all sets are told at once."""
    try:
        yield
    except DataError as problem:
        failures[name] = problem
    except UsageError as problem:
        raise UsageError(f"{name}: {problem.message}", hint=problem.hint) from None


def _raise(failures: Mapping[str, DataError]) -> None:
    if failures:
        lines = [f"{name}: {problem.message}" for name, problem in failures.items()]
        hints = dict.fromkeys(problem.hint for problem in failures.values() if problem.hint)
        raise DataError("\n".join(lines), hint="; ".join(hints))


# ---- splitting ----


class _Inputs(Dataset):
    """The inputs of several sets, each once, with the joint labels that it has: what is split."""

    def __init__(self, whole: GroupedDataset) -> None:
        rows: dict[Any, int] = {}
        self.rows = np.array(
            [rows.setdefault(_key(whole, i), len(rows)) for i in range(len(whole))], np.int64
        )
        self._kind, self.name, self.labels = whole.kind, whole.name, whole.labels
        self.multi_label, self.problems, self.ignored = True, (), {}
        self._index = np.arange(len(rows))
        self._targets = np.zeros((len(rows), len(self.labels)), np.uint8)
        self._targets[self.rows, whole.targets()] = 1

    @property
    def kind(self) -> Kind:
        return self._kind


def _key(whole: GroupedDataset, i: int) -> Any:
    """Give what two samples of one input have in common: a file, a text, or what is in memory."""
    path = whole.path(i)
    if path is not None:
        return identity(path)
    given = whole[i].input
    return given if whole.kind.is_text else digest_of(given)


def _split(sets: Sets, *, seed: int) -> dict[str, tuple[Dataset, Dataset]]:
    """Give (train, valid) of each set: of every class the same fraction, and no input on both sides."""
    inputs = _Inputs(GroupedDataset(sets))
    _, chosen = split(inputs, seed=seed)
    held = np.isin(inputs.rows, chosen._index)
    found, start = {}, 0
    for name, part in sets.items():
        own = held[start : start + len(part)]
        found[name] = part.select(np.flatnonzero(~own)), part.select(np.flatnonzero(own))
        start += len(part)
    return found


def _without_leaks(parts: dict[str, dict[str, Dataset]], *, on_bad: str) -> list[str]:
    """Take out of `parts`, with on_bad="skip", what an earlier role of another set has; give notes on it.

    Raises DataError otherwise, and where nothing is left of a set. Within a set `check` has looked already.
    """
    seen: dict[Hashable, tuple[str, str, Origin]] = {}
    problems: list[Problem] = []
    for role, sets in parts.items():
        for name, part in sets.items():
            kept = []
            for i in range(len(part)):
                path = part.path(i)
                if path is None:
                    kept.append(i)
                    continue
                earlier, other, origin = seen.setdefault(identity(path), (role, name, part.origin(i)))
                if earlier == role:
                    kept.append(i)
                    continue
                also = f"in {name}, {role}, and as {origin} in {other}, {earlier}"
                problems.append(Problem("leak", part.origin(i), detail=also))
            if len(kept) < len(part):
                sets[name] = part.select(kept)
                if not kept:
                    problems.append(
                        Problem("no samples", Origin(part.name), detail=f"{name}, {role}: all were leaks")
                    )
    if problems and (on_bad == "raise" or any(problem.structural for problem in problems)):
        lines = [
            f"the sets have {len(problems):,} problems together:",
            *(f"  {each}" for each in problems[:SHOWN]),
        ]
        lines += [f"  … and {len(problems) - SHOWN:,} more"] if len(problems) > SHOWN else []
        raise DataError(
            "\n".join(lines),
            hint="split the sets alike: a file is for training in all of them, or in none"
            + ('; or leave these out: on_bad="skip", --on-bad skip' if on_bad == "raise" else ""),
        )
    return [f"left out: {count_kinds(problems)} from one set into another"] if problems else []


def _joined(parts: Mapping[str, Sets], names: Sequence[str], notes: tuple[str, ...]) -> Prepared:
    """Give one dataset for each role, all with the labels of training."""
    labels = GroupedDataset(parts["train"]).labels
    ignored = _ignored([part for sets in parts.values() for part in sets.values()])

    def join(sets: Sets) -> GroupedDataset:
        whole = GroupedDataset({name: sets[name] for name in names if name in sets}, labels)
        whole.ignored = ignored  # one object for all roles, so that it is counted once
        return whole

    valid, test = (join(parts[role]) if parts[role] else None for role in ("valid", "test"))
    return Prepared(join(parts["train"]), valid, test, notes)


def _ignored(parts: Sequence[Dataset]) -> dict[str, int]:
    """Give the files that were passed over; the parts of one source share an object, which counts once."""
    total: Counter[str] = Counter()
    for each in {id(part.ignored): part.ignored for part in parts}.values():
        total.update(each)
    return dict(total)
