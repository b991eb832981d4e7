"""`load`: from whatever the user has to training, validation and test data with labels in common."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hub.datasets import builtin, tables, words
from hub.datasets.base import Dataset, Rows
from hub.datasets.folders import entries_of, is_folder, is_litter, listed, part_by_lists, read_folder
from hub.datasets.kinds import PICTURES, RATED_TEXTS, SOUNDS, TAGGED, TEXTS, Kind, kind_of
from hub.datasets.lists import read_list
from hub.datasets.objects import read_object
from hub.datasets.rated import RatedDataset, read_rated_object, read_rated_table
from hub.datasets.sounds import TEST_FOLD, is_esc50, read_arrays, read_esc50
from hub.datasets.splits import Splits
from hub.datasets.tables import Columns, read_table
from hub.datasets.texts import TextRows, has_columns, is_frame, read_frame
from hub.datasets.told import Table
from hub.datasets.words import TaggedDataset, read_tagged, read_tagged_object
from hub.errors import DataError, UsageError, did_you_mean, if_url

ROLES = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "validate", "dev"),
    "test": ("test", "testing"),
}
"""The names under which the parts of a data set are found, as folders, list files and tables."""
_NAMES = "|".join(name for names in ROLES.values() for name in names)
_LIKE_A_PART = re.compile(rf"(?:.*[\W\d_])?({_NAMES})|({_NAMES})[\W\d_].*", re.DOTALL)
"""seg_train, test1, train-images: what people call parts besides."""
WITHOUT_LABELS = ("masks", "unlabelled")
"""The data that `load` reads besides `KINDS`: no sample has a label, but a mask or nothing."""
T = TypeVar("T")
LIST_SUFFIXES = (".txt", ".lst", ".list")
ARRAYS = ".npz"
OF_PANDAS = {
    ".xlsx": "read_excel",
    ".xls": "read_excel",
    ".parquet": "read_parquet",
    ".feather": "read_feather",
}
"""Tables that pandas reads, by which function."""
PACKED = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".tar", ".7z", ".rar", ".zst")
TEXT_TABLE = ".txt"
"""What PaddleHub's users call tables of texts with tabs in them."""


def load(
    source: Any,
    kind: Kind | str | None = None,
    *,
    labels: Sequence[str] | None = None,
    multi_label: bool | None = None,
    path_column: str | None = None,
    text_column: str | tuple[str, str] | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    encoding: str | None = None,
    fold: int | None = None,
    rate: int | None = None,
) -> Splits:
    """Give the splits of a path, of an object with `__len__` and `__getitem__`, or of what `load` gave before.

    A path that is no file or folder may be the name of a published set, such as "ESC50" (hub.datasets.builtin). An
    object may also be a pandas frame or a `datasets.Dataset`, or a mapping of "train", "valid" and "test" to
    any of these.

    `labels` fixes the class list, for example to a module's; a label that is not in it becomes a problem of the
    dataset, and so does a label of valid or test that train does not have. `multi_label` None means: where a
    sample has a list of labels. In a multi-label table a cell holds labels separated by `label_separator`, which is
    "|" unless it is given; an empty cell is a sample without labels.

    `kind` says what the data are: "pictures", "masks" (pictures with one each), "unlabelled" (pictures alone, for
    colorization and styles), "sounds", "texts", "pairs" (of texts), "tagged" (words with a tag for each), "rated texts"
    or "rated pairs" (with a number for each). Without one, a folder that has images/ and masks/ and no other folder, or
    VOC's ImageSets/Segmentation/, is masks, a dataset is what it is, and anything else is pictures. For sounds, `fold`
    is the one of ESC-50's five that becomes the test part, by default the last, and `rate` the sample rate of an .npz
    file that does not say it. For texts, `text_column` (two of them for pairs) and `label_column` are the columns of a
    table where their names cannot be guessed, and `encoding` that of files that are not UTF-8.

    Raises DataError only where nothing can be read at all; every other problem waits in `Dataset.problems` for
    `check`. Raises UsageError for arguments that do not fit the source.
    """
    parts = load_parts(
        source, kind, labels=labels, multi_label=multi_label, path_column=path_column, text_column=text_column,
        label_column=label_column, label_separator=label_separator, encoding=encoding, fold=fold, rate=rate,
    )  # fmt: skip
    require_train(parts, source)
    return Splits(parts.pop("train"), **parts)


def load_parts(
    source: Any,
    kind: Kind | str | None = None,
    *,
    labels: Sequence[str] | None = None,
    multi_label: bool | None = None,
    path_column: str | None = None,
    text_column: str | tuple[str, str] | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    encoding: str | None = None,
    fold: int | None = None,
    rate: int | None = None,
) -> dict[str, Dataset]:
    """Give what `load` gives by role, also where nothing is for training: that can be measured on."""
    options = {
        "path_column": path_column, "text_column": text_column, "label_column": label_column,
        "label_separator": label_separator,
    }  # fmt: skip
    given = [option for option, value in options.items() if value is not None]
    if isinstance(source, Table):
        _refuse_options(given, repr(source))
        several = True if source.label_separator is not None else multi_label
        told: dict[str, Any] = {**source.told, "multi_label": several, "fold": fold, "rate": rate}
        return load_parts(source.path, kind, labels=labels, **told)
    for option in ("path_column", "label_column", "label_separator"):
        if not isinstance(options[option], str | None):
            raise UsageError(f"{option}: expected a text, found {options[option]!r}")
    if label_separator is not None and not (multi_label and label_separator):
        raise UsageError("label_separator: expected some text, together with multi_label=True")
    if not isinstance(kind, Kind | str | None):
        raise UsageError(f"kind: expected a name such as {PICTURES.name!r}, found {type(kind).__name__}")
    kind = _kind_seen(source) if kind is None else kind
    if kind in WITHOUT_LABELS:
        more = {"multi_label": multi_label, "encoding": encoding, "fold": fold, "rate": rate}
        given += [option for option, value in more.items() if value is not None]
        return _load_without_labels(source, str(kind), labels, given).parts()
    kind = kind_of(kind, WITHOUT_LABELS)
    _require_options_of(kind, path_column=path_column, text_column=text_column, encoding=encoding)
    separator = (label_separator or "|") if multi_label else None
    columns = Columns(path_column or text_column, label_column, separator, encoding)
    of_sounds = _OfSounds(fold, rate)
    source = builtin.resolve(source, kind.name)
    paths = source.values() if isinstance(source, Mapping) else (source,)
    if encoding is not None and not all(isinstance(path, str | os.PathLike) for path in paths):
        raise UsageError(f"encoding: only files have one, found {type(source).__name__}")
    if isinstance(source, Dataset | Splits):
        _refuse_options(given, "a dataset that is already loaded")
        of_sounds.refuse_unused()
        loaded = _of_kind(source, kind)
        known = labels is None and multi_label is None
        return (loaded if known else _relabel(loaded, labels, multi_label)).parts()
    rows = _read(source, kind, columns, given, of_sounds)
    of_sounds.refuse_unused()
    return _sets(rows, kind, labels=labels, multi_label=multi_label, encoding=encoding)


def _read(
    source: Any, kind: Kind, columns: Columns, given: list[str], of_sounds: _OfSounds
) -> dict[str, Rows]:
    """Give what is in a path, in an object, or in each part of a mapping, by role."""
    if isinstance(source, str | os.PathLike):
        return _read_path(Path(os.path.expanduser(source)), kind, columns, given, of_sounds)
    rows = {}
    for role, part in parts_in(source).items():
        if isinstance(require_path(part, role), str | os.PathLike):
            path = Path(os.path.expanduser(part))
            rows[role] = part_for(role, _read_path(path, kind, columns, given, of_sounds), part)
        else:
            rows[role] = _read_object(part, kind, columns, given)
    return rows


def _sets(
    rows: dict[str, Rows],
    kind: Kind,
    *,
    labels: Sequence[str] | None,
    multi_label: bool | None,
    encoding: str | None,
) -> dict[str, Dataset]:
    """Give the datasets of what was read; the labels of the training part, or else of the first, are those of all."""
    make = TaggedDataset if kind is TAGGED else RatedDataset if kind.is_rated else Dataset
    if kind in (TEXTS, RATED_TEXTS):
        rows = {role: TextRows(**vars(part), encoding=encoding) for role, part in rows.items()}
    first = "train" if "train" in rows else next(iter(rows))
    train = make(rows[first], labels=labels, multi_label=multi_label)
    shared = labels or train.labels or None
    others = {
        role: make(part, labels=shared, multi_label=train.multi_label)
        for role, part in rows.items()
        if role != first
    }
    return {first: train, **others}


def _of_kind(loaded: Dataset | Splits, kind: Kind) -> Splits:
    """Give what is loaded as parts. Raises UsageError where it is of another kind."""
    parts = Splits(loaded) if isinstance(loaded, Dataset) else loaded
    if parts.train.holds != kind.name:
        raise UsageError(
            f"kind: expected {kind.name}, found a dataset of {parts.train.holds}",
            hint=f'what is loaded keeps its kind: load("data/", kind="{kind.name}") reads the data as another',
        )
    return parts


def _kind_seen(source: Any) -> str:
    """Give the kind of data that nobody has named."""
    from hub.datasets.mask_files import is_folder_of_masks  # which is built on this file

    source = source.train if isinstance(source, Splits) else source
    if isinstance(source, Dataset):
        return source.holds
    if isinstance(source, str | os.PathLike) and source != "":
        folder = Path(os.path.expanduser(source))  # pathlib's raises for a user that there is not
        with suppress(OSError):  # a folder that cannot be read is one for whoever reads it
            if folder.is_dir() and is_folder_of_masks(folder):
                return "masks"
    return PICTURES.name


def _load_without_labels(source: Any, kind: str, labels: Sequence[str] | None, given: list[str]) -> Splits:
    """Give masks, or pictures alone. Raises UsageError for the options `given`, which are for other data."""
    from hub.datasets.masks import load_masks  # these are built on this file
    from hub.datasets.unlabelled import load_unlabelled

    given = given if labels is None or kind == "masks" else ["labels", *given]
    if given:
        raise UsageError(f"{given[0]}: means nothing for kind={kind!r}")
    source = builtin.resolve(source, kind)
    return load_masks(source, labels=labels) if kind == "masks" else load_unlabelled(source)


def parts_in(source: Any) -> dict[str, Any]:
    """Give the parts of a mapping that names them, such as a `datasets.DatasetDict`; any other object is train."""
    if not isinstance(source, Mapping):
        return {"train": source}
    found = {role: source[name] for role, names in ROLES.items() for name in names[::-1] if name in source}
    return found or {"train": source}


def require_path(source: Any, role: str) -> Any:
    """Give the data of a part. Raises UsageError for an empty text, which to pathlib is the working directory."""
    if isinstance(source, str) and not source:
        raise UsageError(f"{role}: expected a path, found an empty text")
    return source


def records_of(source: Any) -> Any:
    """Give the rows of a pandas frame as a list of mappings, and any other object as it is."""
    return source.to_dict("records") if hasattr(source, "iloc") and hasattr(source, "columns") else source


def _read_object(source: Any, kind: Kind, columns: Columns, given: list[str]) -> Rows:
    by_columns = has_columns(source, columns)
    if kind.is_text and by_columns and kind is not TAGGED and not kind.is_rated:
        return read_frame(source, columns, kind)
    if not is_frame(source):
        _refuse_options(given, type(source).__name__)
    if kind.is_rated:
        return read_rated_object(source, columns, kind, is_frame=by_columns)
    return read_tagged_object(source, columns) if kind is TAGGED else read_object(source, kind, columns)


def _require_options_of(kind: Kind, *, path_column: Any, text_column: Any, encoding: str | None) -> None:
    """Raise UsageError for an option of another kind, and for an encoding that there is not."""
    for option, value in (("text_column", text_column), ("encoding", encoding)):
        if value is not None and not kind.is_text:
            raise UsageError(f"{option}: belongs to texts, found kind={kind.name!r}")
    if path_column is not None and kind.is_text:
        raise UsageError("path_column: the texts are in the table itself", hint="pass text_column=")
    if text_column is not None and kind.is_pair == isinstance(text_column, str):
        wanted = "two names" if kind.is_pair else "one name"
        raise UsageError(f"text_column: expected {wanted} for {kind.name}, found {text_column!r}")
    if encoding is not None:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise UsageError(
                f"encoding: expected one such as gb18030 or utf-16, found {encoding!r}"
            ) from None


def _relabel(splits: Splits, labels: Sequence[str] | None, multi_label: bool | None) -> Splits:
    parts = [
        None if part is None else part.relabel(labels or splits.train.labels, multi_label=multi_label)
        for part in splits
    ]
    assert parts[0] is not None
    return Splits(parts[0], *parts[1:])


def _refuse_options(given: list[str], found: str) -> None:
    if given:
        raise UsageError(f"{given[0]}: only tables (.csv .tsv .jsonl .json) have columns, found {found}")


@dataclass
class _OfSounds:
    """The options that only some sources of sounds take; what nobody has taken in the end was of no use."""

    fold: int | None
    rate: int | None
    taken: set[str] = field(default_factory=set)

    def take(self, name: str) -> Any:
        self.taken.add(name)
        return getattr(self, name)

    def refuse_unused(self) -> None:
        if self.fold is not None and "fold" not in self.taken:
            raise UsageError("fold: only ESC-50's layout (meta/esc50.csv beside audio/) has folds")
        if self.rate is not None and "rate" not in self.taken:
            raise UsageError("rate: only .npz files of sounds need it; other sounds say their own")


def _read_path(
    path: Path, kind: Kind, columns: Columns, given: list[str], of_sounds: _OfSounds
) -> dict[str, Rows]:
    try:
        if path.is_dir():
            form, parts = _parts_of(path, kind)
        else:
            form, parts = _form_of(path, kind), {"train": path}
        if form not in ("table", "file of tagged words"):
            _refuse_options(given, f"{path}, a {form}")
        if form == "folder of ESC-50":
            fold = of_sounds.take("fold")
            return read_esc50(path, fold=TEST_FOLD if fold is None else fold)
        if form == "folder with lists":
            return part_by_lists(read_folder(parts.pop("train"), kind), parts)
        rate = of_sounds.take("rate") if form == "file of arrays" else None
        readers: dict[str, Callable[[Path], Rows]] = {
            "file of tagged words": lambda part: read_tagged(part, columns),
            "folder": lambda part: read_folder(part, kind),
            "list": lambda part: read_list(part, kind),
            "table": lambda part: (read_rated_table if kind.is_rated else read_table)(part, columns, kind),
            "file of arrays": lambda part: read_arrays(part, rate=rate),
        }
        rows = {role: readers[form](part) for role, part in parts.items()}
        if len(parts) > 1 and form == "folder":
            for each in rows.values():
                each.taken = left_out(path, parts)
        return rows
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _form_of(path: Path, kind: Kind) -> str:
    """Say how a file is read: as a "list", a "table" or a "file of arrays"."""
    if not path.exists():
        raise _missing(path)
    suffix = path.suffix.lower()
    if kind is TAGGED:
        return "file of tagged words"
    if suffix in tables.SUFFIXES or (kind.is_text and suffix == TEXT_TABLE):
        return "table"
    if suffix in LIST_SUFFIXES and not kind.is_text:
        return "list"
    if suffix == ARRAYS and kind is SOUNDS:
        return "file of arrays"
    hint = "expected a folder with a folder per class, a list file (.txt) or a table (.csv .tsv .jsonl .json)"
    hint = "expected a table (.csv .tsv .jsonl .json .txt)" if kind.is_text else hint
    if reader := OF_PANDAS.get(suffix):
        hint = f"save it as .csv; or in Python pass pandas.{reader}({path.name!r})"
    if suffix in PACKED:
        hint = "unpack it, and pass what was in it"
    if kind.is_text and suffix in words.OWN_SUFFIXES:
        hint = "words with tags are for the task sequence_labeling (--task sequence_labeling)"
    raise DataError(f"{path}: a {suffix or 'suffixless'} file is no dataset", hint=hint)


def _parts_of(folder: Path, kind: Kind) -> tuple[str, dict[str, Path]]:
    """Say how a folder is read and which of its entries are train, valid and test."""
    entries = listed(folder)
    files = {entry.name.lower(): Path(entry.path) for entry in entries if os.path.isfile(entry.path)}
    if kind is SOUNDS and is_esc50(folder):
        return "folder of ESC-50", {}
    usual = [each for each in tables.SUFFIXES if each != tables.WHOLE_JSON]
    forms = [
        ("list", [] if kind.is_text else ["_list.txt"]),
        ("table", [*usual, TEXT_TABLE] if kind.is_text else usual),
        ("file of arrays", [ARRAYS] if kind is SOUNDS else []),
    ]
    if kind is TAGGED:
        forms = [("file of tagged words", list(words.SUFFIXES))]
    if kind.is_text:  # beside pictures, and beside other tables, a .json says something else
        forms.append((forms[-1][0] if kind is TAGGED else "table", [tables.WHOLE_JSON]))
    for form, endings in forms:
        found = roles_among(files, endings)
        if "train" in found or (found and kind.is_text and not any(map(is_folder, entries))):
            return form, found
    if not kind.suffixes:
        seen = ", ".join(sorted(files)[:10]) or "no file"
        raise DataError(f"{folder}: expected train.tsv, train.txt or the like, found {seen}")
    if found := part_folders(folder):
        return "folder", found
    lists = roles_among(files, ["_list.txt"])
    return "folder with lists" if lists else "folder", {**lists, "train": folder}


def part_folders(folder: Path) -> dict[str, Path]:
    """Give the folders in a folder that are its parts, by role; {} where they are something else, such as classes.

    A single one named for a part may be a class among others: bus, car, train; and so may several of which none is for
    training, unless each folder has the same ones in it: dev, prod, test. Beside train and test what has a like name is
    left out: train_extra. Raises DataError where several are named for parts, but not so that it is clear which is
    which: train and test1.
    """
    folders = {entry.name.lower(): Path(entry.path) for entry in entries_of(folder) if is_folder(entry)}
    found = roles_among(folders, [""])
    alike = {name: role for name in folders if (role := _role_like(name)) is not None}
    if {"train", "test"} <= found.keys():
        return found
    if len(alike) == len(found):
        if (
            "train" not in found
            and len(folders) > len(found)
            and not _have_the_same_classes(folders.values())
        ):
            return {}
        if len(found) > 1 or (len(folders) == 1 and "train" in found):
            return found
    several = len(set(alike.values())) > 1 or (found and len(alike) == len(folders) > 1)
    if several and 2 * len(alike) >= len(folders):
        names = sorted(folders[name].name for name in alike)
        raise DataError(
            f"{folder}: {', '.join(names[:-1])} and {names[-1]}: are these parts or classes?",
            hint="call folders of parts train, valid and test, and move what is none of them elsewhere; "
            "classes of such names can be said in a list file or a table",
        )
    return {}


def _have_the_same_classes(folders: Iterable[Path]) -> bool:
    """Say whether there are several folders, each with folders of the same names in it."""
    inside = [frozenset(entry.name for entry in entries_of(each) if is_folder(entry)) for each in folders]
    return len(inside) > 1 and len(set(inside)) == 1 and bool(inside[0])


def left_out(folder: Path, parts: Mapping[str, Path]) -> str:
    """Give a note on the folders beside those of the parts, "" where there are none."""
    names = {path.name for path in parts.values()}
    others = sorted(
        entry.name for entry in entries_of(folder) if is_folder(entry) and entry.name not in names
    )
    return f"{', '.join(others)} beside {', '.join(sorted(names))}: left out" if others else ""


def _role_like(name: str) -> str | None:
    """Give the role that a name in small letters begins or ends with, next to a blank, a mark or a digit."""
    match = _LIKE_A_PART.fullmatch(name)
    word = match and (match[1] or match[2])
    return next((role for role, names in ROLES.items() if word in names), None)


def require_train(parts: Mapping[str, Any], source: object) -> None:
    """Raise DataError for parts by role of which none is to be learnt from."""
    if "train" not in parts:
        where = source if isinstance(source, str | os.PathLike) else type(source).__name__
        raise DataError(
            f"{where}: expected a part called train, found {' and '.join(parts)} alone",
            hint="add train, or give the data of one part by itself",
        )


def part_for(role: str, parts: Mapping[str, T], source: object) -> T:
    """Give the part of a role from data given for it, or else all of the data. Raises DataError for others alone."""
    if role not in parts:
        require_train(parts, source)
    return parts[role if role in parts else "train"]


def roles_among(among: Mapping[str, Path], endings: Iterable[str]) -> dict[str, Path]:
    """Give those of files or folders, by name in small letters, that are parts, by role.

    Raises DataError for two of one role.
    """
    found: dict[str, Path] = {}
    for role, names in ROLES.items():
        paths = [among[name + ending] for ending in endings for name in names if name + ending in among]
        if len(paths) > 1:
            both = " and ".join(path.name for path in paths)
            raise DataError(f"{paths[0].parent}: {both} are both {role} data", hint="keep one of them")
        if paths:
            found[role] = paths[0]
    return found


def _missing(path: Path) -> DataError:
    """Give the error for a path that does not exist: the deepest folder that does, and the nearest name in it."""
    if advice := if_url(path):
        hint = "hub datasets lists the sets that are fetched by their names"
        return DataError(f"{path}: no such file or folder{advice}", hint=hint)
    wanted = path
    while not wanted.parent.is_dir():
        wanted = wanted.parent
    siblings = sorted(entry.name for entry in os.scandir(wanted.parent) if not is_litter(entry.name))
    if wanted != path:
        return DataError(
            f"{path}: there is no {wanted.name!r} in {wanted.parent}", hint=_nearest(wanted, siblings)
        )
    return DataError(f"{path}: no such file or folder", hint=_nearest(wanted, siblings))


def _nearest(wanted: Path, siblings: list[str]) -> str:
    place = wanted.parent.absolute()
    listed = ", ".join(siblings[:10]) + (" …" if len(siblings) > 10 else "")
    return did_you_mean(wanted.name, siblings) or f"{place} has: {listed or 'nothing'}"
