"""Pictures without labels: any folder of them, with all its folders, a list of paths, pictures or arrays, a frame."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hub.datasets.base import Dataset, Rows, Sample
from hub.datasets.folders import files_below
from hub.datasets.images import SUFFIXES
from hub.datasets.kinds import PICTURES
from hub.datasets.objects import item_of
from hub.datasets.preflight import bar, check
from hub.datasets.prepare import Prepared, Probe
from hub.datasets.sources import (
    ROLES,
    left_out,
    part_folders,
    part_for,
    parts_in,
    records_of,
    require_path,
    require_train,
)
from hub.datasets.splits import Splits, split_at_random
from hub.datasets.summary import list_suffixes, several
from hub.datasets.tables import find_input
from hub.errors import DataError, UsageError, did_you_mean, if_url


class Pictures(Dataset):
    """Pictures by index. The label of each is its number, by which a run can tell one from another."""

    has_classes = False

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.name, self.ignored = rows.name, rows.ignored
        self.labels, self.multi_label = (), False
        self.problems = tuple(rows.problems)
        self._index = np.arange(len(rows.paths), dtype=np.int64)
        self._targets: np.ndarray = self._index.copy()

    def __repr__(self) -> str:
        return f"<Pictures {self.name}: {len(self)} pictures>"

    @property
    def holds(self) -> str:
        """What samples are made of, as `load` calls it."""
        return "unlabelled"

    def counts(self) -> dict[str, int]:
        """Give {}: there are no classes to count."""
        return {}

    def relabel(self, labels: Sequence[str] | None = None, *, multi_label: bool | None = None) -> Dataset:
        """Raise UsageError: there are no classes to number."""
        raise UsageError(f"{self.name}: expected a dataset with labels, found pictures alone")

    def describe(self) -> str:
        """Give a line for a person."""
        return _described(self.name, {"samples": self})

    def numbered(self, step: int) -> Pictures:
        """Give the same pictures with labels of their own (1), or with 0 for all: then a repeat is only a repeat."""
        changed = copy.copy(self)
        changed._targets = self._index * step
        return changed


def prepare_unlabelled(
    train: Any,
    *,
    valid: Any = None,
    test: Any = None,
    on_bad: str = "raise",
    seed: int = 0,
    workers: int | None = None,
    probe: Probe | None = None,
    progress: bool = False,
) -> Prepared:
    """Find, check and split the pictures of a run.

    `train` is a folder, a list file of paths (.txt), or a list of paths, PIL pictures and arrays. A folder that has
    train and valid or test folders in it is split as they say. `valid` None takes the source's own part, or else a
    fifth of the pictures; False goes without. Raises DataError that lists every picture that cannot be read or that
    `probe` refuses (a greyscale picture where colours are to be learnt), or with on_bad="skip" leaves them out.
    """
    parts = _parts(train)
    require_train(parts, train)
    for role, given in (("valid", valid), ("test", test)):
        if given is False:
            parts.pop(role, None)
        elif given is not None:
            parts[role] = part_for(role, _parts(given), given)
    checked, notes = _checked(parts, on_bad=on_bad, workers=workers, probe=probe, progress=progress)
    notes = [*filter(None, [parts["train"].taken]), *notes]
    whole: Dataset = checked["train"]
    chosen: Dataset | None = checked.get("valid")
    if chosen is None and valid is not False:
        whole, chosen = split_at_random(whole, seed=seed)
        notes.append(
            f"no validation data was given: {len(chosen)} of {len(whole) + len(chosen)} pictures were held out"
        )
    return PreparedPictures(whole, chosen, checked.get("test"), tuple(notes))


def prepare_unlabelled_evaluation(
    data: Any,
    *,
    on_bad: str = "raise",
    workers: int | None = None,
    probe: Probe | None = None,
    progress: bool = False,
) -> Pictures:
    """Give the test part of `data`, or else its validation part, or else all of it."""
    parts = _parts(data)
    part = next(parts[role] for role in ("test", "valid", "train") if role in parts)
    checked, _ = _checked({"train": part}, on_bad=on_bad, workers=workers, probe=probe, progress=progress)
    return checked["train"]


class PreparedPictures(Prepared):
    """Prepared pictures, described without classes."""

    def describe(self) -> str:
        """Give a line with the number of pictures of each part, and the notes below it."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return "\n".join([_described(self.train.name, parts), *self.notes])


def load_unlabelled(source: Any) -> Splits:
    """Give the pictures of a source by part, as `prepare_unlabelled` takes it. Raises DataError."""
    parts = _parts(source)
    require_train(parts, source)
    return Splits(parts.pop("train"), **parts)


def load_pictures(source: Any) -> Pictures:
    """Give the pictures of a folder (and of all folders in it), a list file, or a list. Raises DataError."""
    if isinstance(source, Pictures):
        return source
    if isinstance(source, Dataset):  # a labelled set serves as well: its labels are not looked at
        return _from_items(source.name, source)
    if isinstance(source, str | os.PathLike):
        path = Path(os.path.expanduser(source))
        return _from_list_file(path) if os.path.isfile(path) else _from_folder(path)
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")) or isinstance(source, np.ndarray):
        raise UsageError(
            f"expected a folder, a list file or a list of pictures, found {type(source).__name__}"
        )
    return _from_items(type(source).__name__, records_of(source))


def _parts(source: Any) -> dict[str, Pictures]:
    """Give the parts of a source: its own, those that folders of a folder are named for, or all of it as train."""
    if isinstance(source, Splits):
        return {role: load_pictures(part) for role, part in source.parts().items()}
    is_path = isinstance(source, str | os.PathLike)
    found = part_folders(path) if is_path and os.path.isdir(path := Path(os.path.expanduser(source))) else {}
    if len(found) > 1:
        parts = {role: load_pictures(part) for role, part in found.items()}
        next(iter(parts.values()))._rows.taken = left_out(path, found)
        return parts
    return {role: load_pictures(require_path(part, role)) for role, part in parts_in(source).items()}


def _from_folder(folder: Path) -> Pictures:
    if not os.path.isdir(folder):  # unlike Path, False for what is too long to be a name
        siblings = [entry.name for entry in os.scandir(folder.parent)] if os.path.isdir(folder.parent) else []
        raise DataError(
            f"{folder}: no such file or folder{if_url(folder)}",
            hint=did_you_mean(folder.name, siblings) or "expected a folder of pictures",
        )
    rows, ignored = Rows(str(folder)), Counter[str]()
    paths = [Path(entry.path) for entry in files_below(folder, rows.problems)]
    for path in sorted(paths, key=lambda path: (path.parent.parts, path.name)):
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            rows.paths.append(str(path))
        else:
            ignored[suffix] += 1
    rows.ignored = dict(ignored)
    if not rows.paths:
        found = f"found {list_suffixes(ignored)}" if ignored else "found no files"
        raise DataError(f"{folder}: expected pictures ({' '.join(sorted(SUFFIXES))}), {found}")
    return Pictures(rows)


def _from_list_file(path: Path) -> Pictures:
    """Read one path a line, relative to the file; what follows a tab, or as a label behind it, is no path.

    Raises DataError for a table, whose columns nobody has named.
    """
    if path.suffix.lower() in (".csv", ".tsv", ".json", ".jsonl"):
        raise DataError(
            f"{path}: expected a list of paths (.txt), found a table", hint="pass a list of its paths"
        )
    rows = Rows(str(path), file=str(path), numbers=[])
    assert rows.numbers is not None, "set one line above"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as problem:
        raise DataError(f"{path}: expected a list of paths as UTF-8 text: {problem}") from problem
    for number, line in enumerate(lines, 1):
        if text := line.split("\t")[0].strip():
            rows.paths.append(str(_listed(path.parent, text)))
            rows.numbers.append(number)
    if not rows.paths:
        raise DataError(f"{path}: expected one path a line, found no lines")
    return Pictures(rows)


def _listed(folder: Path, text: str) -> Path:
    """Give the path in a line: all of it, or what stands before its last word where that alone is a file."""
    whole, before = (folder / each for each in (text, text.rsplit(maxsplit=1)[0]))
    return before if os.path.isfile(before) and not os.path.isfile(whole) else whole


def _from_items(name: str, items: Any) -> Pictures:
    """Take a list of inputs, or of samples, (input, label) pairs and mappings of which nothing else is looked at."""

    def fetch(number: int) -> Image.Image | np.ndarray:
        return _input(items, number)

    rows = Rows(name, numbers=list(range(len(items))), fetch=fetch)
    for number in range(len(items)):
        given = _input(items, number)
        if not isinstance(given, str | os.PathLike | Image.Image | np.ndarray):
            raise DataError(
                f"item {number}: expected a path, a PIL picture or an array, found {type(given).__name__}"
            )
        rows.paths.append(os.fspath(given) if isinstance(given, str | os.PathLike) else None)
    if not rows.paths:
        raise DataError(f"{name}: expected pictures, found none")
    return Pictures(rows)


def _input(items: Any, number: int) -> Any:
    item = item_of(items, number)
    if isinstance(item, Sample):
        return item.input
    if isinstance(item, Mapping):
        found = find_input(PICTURES, item)
        if not found:
            raise DataError(f"item {number}: expected the key image, found {', '.join(map(str, item))}")
        return item[found[0]]
    return item[0] if isinstance(item, tuple) else item


def _checked(
    parts: dict[str, Pictures], *, on_bad: str, workers: int | None, probe: Probe | None, progress: bool
) -> tuple[dict[str, Pictures], list[str]]:
    """Give the parts without what cannot be used, and notes that say what that was."""
    kinds: dict[str, str] = {}  # origin to kind: dict writes from threads are safe
    look: Callable[[Sample], object] | None = None
    if probe is not None:

        def look(sample: Sample) -> object:
            try:
                return probe(sample)
            except Exception as problem:
                if kind := getattr(problem, "kind", None):
                    kinds[str(sample.origin)] = kind
                raise

    roles = [role for role in ROLES if role in parts]
    ordered = (parts[role].numbered(0) if role in parts else None for role in ROLES)
    try:
        with bar("checking", progress) as tell:
            checked = check(*ordered, probe=look, on_bad=on_bad, workers=workers or None, progress=tell)
    except DataError as problem:
        if not kinds:
            raise
        raise DataError(f"{problem.message}\n  {_counted(kinds)}", hint=problem.hint) from None
    notes = [str(checked)] if checked.dropped else []
    notes += [_counted(kinds)] if kinds else []
    found = dict(zip(ROLES, checked.splits, strict=True))
    return {role: _pictures(found[role]).numbered(1) for role in roles}, notes


def _pictures(part: Dataset | None) -> Pictures:
    assert isinstance(part, Pictures), "check gives back what it was given"
    return part


def _counted(kinds: dict[str, str]) -> str:
    counts = Counter(kinds.values())
    return "of these, " + ", ".join(f"{several(count, kind + ' picture')}" for kind, count in counts.items())


def _described(name: str, parts: dict[str, Any]) -> str:
    """Give "photos: 120 pictures for train, 30 for valid; ignored: 2 .txt files"."""
    counts = [(role, part) for role, part in parts.items() if part is not None]
    if len(counts) == 1:
        text = several(len(counts[0][1]), "picture")
    else:
        text = ", ".join(f"{several(len(part), 'picture')} for {role}" for role, part in counts)
    ignored: Counter[str] = Counter()
    for each in {id(part.ignored): part.ignored for _, part in counts}.values():
        ignored.update(each)
    return f"{name}: {text}" + (f"; ignored: {list_suffixes(ignored)}" if ignored else "")
