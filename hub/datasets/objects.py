"""Any object with `__len__` and `__getitem__`: a list of pairs, a PaddleHub, paddle or torchvision dataset."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from hub.datasets.base import Origin, Problem, Rows, Sample, clean_label, some
from hub.datasets.kinds import PICTURES, Kind
from hub.datasets.tables import (
    LABEL_COLUMNS,
    Columns,
    LabelForm,
    find_column,
    find_input,
    note_columns,
    require_input,
    require_label,
)
from hub.datasets.texts import class_names, frame_records, has_columns, is_transformed
from hub.errors import DataError, InputError, UsageError

ANY = Columns()
NAMES = ("labels", "classes", "label_list")
"""Attributes in which datasets keep their class names."""


def read_object(source: Any, kind: Kind = PICTURES, columns: Columns = ANY) -> Rows:
    """Give one entry for every item, or row of a frame, after one pass over the object; its inputs are not kept.

    `columns` are those of a frame, where their names cannot be guessed.

    Raises UsageError for something that is no dataset, DataError where the object itself fails.
    """
    if isinstance(source, type) or not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        found = f"the class {source.__name__}" if isinstance(source, type) else type(source).__name__
        raise UsageError(f"data: expected a path or an object with __len__ and __getitem__, found {found}")
    numbers: list[int] = []
    rows = Rows(name=type(source).__name__, numbers=numbers, labels=names_of(source), kind=kind)
    if has_columns(source, columns) and (columns.are_named or not _gives_items_itself(source)):
        header = [*(source.column_names if hasattr(source, "column_names") else source.columns)]
        inputs = require_input(columns.input, kind, header, rows)
        label = require_label(columns.label, LABEL_COLUMNS, header, rows)
        if not inputs or label is None:
            return rows
        note_columns(rows, header, LABEL_COLUMNS, columns, (*inputs, label))
        rows.labels = class_names(source, label)
        source = Frame(source, inputs[0], label, columns.separator)
    rows.fetch = functools.partial(_input, source, kind)
    for i in range(len(source)):
        origin = Origin("", i)
        try:
            given, label = _pair(item_of(source, i), kind)
        except (OSError, InputError, Image.DecompressionBombError) as error:
            rows.problems.append(Problem("unreadable", origin, detail=str(error)))
            continue
        except TypeError as error:
            rows.problems.append(Problem("bad item", origin, detail=str(error)))
            continue
        raw = clean_label(label)
        if raw is None:
            detail = "expected a name, a class index, or a list of them without repeats"
            rows.problems.append(Problem("bad label", origin, repr(label), detail))
            continue
        rows.paths.append(str(given) if isinstance(given, Path) else None)
        rows.raw.append(raw)
        numbers.append(i)
    if not rows.labels and all(isinstance(raw, int) for raw in rows.raw):
        rows.taken = rows.taken or _note_names(getattr(source, "dataset", None))
    return rows


class Frame:
    """The rows of a frame as (input, label); what of its labels is text is read as in a table."""

    def __init__(self, frame: Any, given: str, label: str, separator: str | None) -> None:
        """Take a `datasets.Dataset`, whose items are its rows, or a pandas frame, whose items are its columns."""
        pandas = hasattr(frame, "iloc")
        self.rows = [record for _, record in frame_records(frame)[1]] if pandas else frame
        self.given, self.label = given, label
        if pandas:
            labels = [row[label] for row in self.rows]
        else:  # as they are stored: what makes the items of them may be costly, or fail
            labels = frame.with_format(None)[label] if _is_plain(frame) else []
        self.form = LabelForm.of(labels, separator)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        row = self.rows[i]
        try:
            return row[self.given], self.form.read(row[self.label])
        except ValueError as expected:
            raise TypeError(
                f"column {self.label!r}: expected {expected}, found {row[self.label]!r}"
            ) from None


def giver(source: Any) -> type:
    """Give the class, of those that an object's own is derived from, that gives its items; `object` for none."""
    return next((each for each in type(source).__mro__ if "__getitem__" in vars(each)), object)


def names_of(source: Any, usual: Sequence[str] = LABEL_COLUMNS) -> tuple[str, ...]:
    """Give the class names that the object lists, or what it is a part or a chain of; () where none are.

    A `datasets.Dataset` has them with the first of its columns that is among the `usual`. An attribute that holds a
    label for every sample is none.
    """
    for attribute in NAMES:
        names = getattr(source, attribute, None)
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            continue
        if names and len(set(names)) == len(names):
            return tuple(names)
    if hasattr(source, "column_names"):
        return class_names(source, find_column(usual, source.column_names))
    found = {names_of(part, usual) for part in _inside(source)}
    return found.pop() if len(found) == 1 else ()


def _gives_items_itself(source: Any) -> bool:
    """Say whether an object with columns is of the user's class, whose items may be others than its columns say."""
    return hasattr(source, "column_names") and giver(source).__module__.partition(".")[0] != "datasets"


def _is_plain(source: Any) -> bool:
    """Say whether an object with columns is a `datasets.Dataset` whose items are its rows as they are."""
    return not (_gives_items_itself(source) or is_transformed(source))


def _inside(source: Any) -> Any:
    """Give the datasets whose items paddle's and torch's Subset and ConcatDataset have unchanged; () for any other.

    One of the user's own, and one that is derived from these and gives its items itself, may give other labels.
    """
    by = giver(source)
    if by.__module__.partition(".")[0] not in ("paddle", "torch"):
        return ()
    if by.__name__ == "Subset":
        return [source.dataset]
    return source.datasets if by.__name__ == "ConcatDataset" else ()


def _note_names(inside: Any) -> str:
    """Give a note on the class names of a dataset in another one, whose numbers may mean others; "" for none."""
    names = names_of(inside)
    if not names:
        return ""
    return (
        f"classes: by number; the names in the {type(inside).__name__} inside ({some(names)}) are not taken, since "
        "its items may be changed: an attribute `classes` of your own names them"
    )


def _input(source: Any, kind: Kind, i: int) -> Any:
    """Give the input of an item that was read before. Raises InputError or DataError that names the item."""
    try:
        return _pair(item_of(source, i), kind)[0]
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{Origin('', i)}: {getattr(error, 'strerror', None) or error}") from error
    except TypeError as error:
        raise DataError(f"{Origin('', i)} of {type(source).__name__}, read again: {error}") from error


def item_of(source: Any, i: int) -> Any:
    """Give an item. Raises DataError where the object itself fails, but for files that cannot be read."""
    try:
        return source[i]
    except (OSError, InputError, Image.DecompressionBombError):
        raise
    except Exception as error:  # the user's own code: say which item it failed on, keep its traceback
        raise DataError(f"item {i} of {type(source).__name__}: {type(error).__name__}: {error}") from error


def _pair(item: Any, kind: Kind) -> tuple[Any, Any]:
    """Give the input and the label of an item as they are meant; raise TypeError for anything else."""
    if isinstance(item, Sample):
        given, label = item.input, item.label
    elif isinstance(item, Mapping):
        keys, label_key = find_input(kind, item), find_column(LABEL_COLUMNS, item)
        if not keys or label_key is None:
            usual = ", ".join(kind.columns[0]) if kind.is_pair else kind.word
            raise TypeError(f"expected the keys {usual} and label, found {', '.join(map(str, item))}")
        given, label = item[keys[0]] if len(keys) == 1 else tuple(item[key] for key in keys), item[label_key]
    elif kind.is_pair and isinstance(item, tuple | list) and len(item) == 3:
        given, label = item[:2], item[2]
    elif isinstance(item, tuple | list) and len(item) == 2:
        given, label = item
    else:
        wanted = f'({kind.word}, label) or {{"{kind.word}": …, "label": …}}'
        raise TypeError(f"expected {wanted}, found {_shown(item)}")
    taken = kind.take(given)
    if taken is None:
        raise TypeError(f"expected the {kind.word} as {kind.expected}, found {_shown(given)}")
    return taken, label


def _shown(value: Any) -> str:
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return type(value).__name__ + size
