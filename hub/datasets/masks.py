"""Pictures with masks: from list files, folders, polygons in JSON and palette pictures to checked data.

    prepare_masks("data/")                       # images/ and masks/ (or annotations/), with train/ and valid/ in them
    prepare_masks("data/")                       # train_list.txt: "img/a.jpg mask/a.png", labels.txt beside it
    prepare_masks("data/annotations.json")       # COCO: polygons, file names relative to the JSON or its images/
    prepare_masks([("a.jpg", "a.png"), …])       # any object with (picture, mask) items

A mask is a grey or palette picture whose pixel values are class numbers; 255 marks pixels without a class.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hub.datasets.base import Dataset, Origin, Problem, Rows, Sample
from hub.datasets.folders import is_litter
from hub.datasets.images import SUFFIXES
from hub.datasets.preflight import check
from hub.datasets.prepare import Prepared, Probe
from hub.datasets.sources import ROLES
from hub.datasets.textfiles import read_text
from hub.errors import DataError, UsageError, did_you_mean

IGNORED = 255
PICTURES = ("images", "image", "img", "imgs", "jpegimages", "pictures")
MASKS = ("masks", "mask", "annotations", "annotation", "segmentationclass", "labels")
NAME_FILES = ("labels.txt", "label_list.txt", "class_names.txt", "classes.txt", "palette.txt")
UPRIGHT = {5, 6, 7, 8}
"""EXIF orientations that swap width and height."""


@dataclass(frozen=True, eq=False)
class Mask:
    """Where the class numbers of a picture are, and which of ours each of them is. `np.asarray` reads it."""

    source: Any
    """A path, a PIL picture, an array, or Polygons."""
    table: tuple[int, ...] = tuple(range(256))
    """Our number for each value; the values that have none are as they were, and a problem."""

    @property
    def file(self) -> str:
        return str(self.source) if isinstance(self.source, Path) else ""

    def values(self) -> np.ndarray:
        """Give what is written in the mask, uint8 [H, W]. Raises OSError or ValueError for one that cannot be read."""
        source = self.source
        if isinstance(source, Path):
            with Image.open(source, formats=("PNG", "BMP", "GIF", "TIFF")) as opened:
                source = np.asarray(opened)
        array = np.asarray(source)
        if array.ndim == 3 and array.shape[2] in (3, 4) and (array[..., :3] == array[..., :1]).all():
            array = array[..., 0]  # a grey mask that was saved in colour
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        if array.ndim != 2:
            raise ValueError(
                f"expected grey or palette pixels that are class numbers, found colours {list(array.shape)}"
            )
        if array.dtype.kind not in "bui" or (array.size and (array.min() < 0 or array.max() > IGNORED)):
            raise ValueError(f"expected whole numbers from 0 to 255, found {array.dtype} up to {array.max()}")
        return array.astype(np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = np.array(self.table, np.uint8)[self.values()]
        return found if dtype is None else found.astype(dtype)


@dataclass(frozen=True, eq=False)
class Polygons:
    """Outlines of one picture: (class number, [x, y, x, y, …]), the later ones on top."""

    size: tuple[int, int]
    outlines: tuple[tuple[int, tuple[float, ...]], ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        canvas = Image.new("L", self.size, 0)
        pen = ImageDraw.Draw(canvas)
        for number, points in self.outlines:
            pen.polygon(list(points), fill=number)
        found = np.asarray(canvas)
        return found if dtype is None else found.astype(dtype)


@dataclass
class _Part:
    """What a source holds of one split: pictures, masks, and names if it lists any."""

    rows: Rows
    masks: list[Mask]


class Masks(Dataset):
    """Pictures with masks by index: `label` of a sample is an object that `np.asarray` makes class numbers of."""

    def __init__(self, part: _Part, labels: Sequence[str]) -> None:
        self._rows = part.rows
        self._masks = part.masks
        self.name, self.ignored = part.rows.name, part.rows.ignored
        self.labels, self.multi_label = tuple(labels), False
        self.problems = tuple(part.rows.problems)
        self._index = np.arange(len(part.masks), dtype=np.int64)
        first: dict[str, int] = {}  # the same mask file has the same number: then a repeat is only a repeat
        numbers = [first.setdefault(mask.file or f"item {n}", n) for n, mask in enumerate(part.masks)]
        self._targets = np.array(numbers, np.int64)
        self._pixels = np.zeros((len(part.masks), len(self.labels)), np.int64)

    def __getitem__(self, i: int) -> Sample:
        k = int(self._index[i])
        return Sample(self._rows.input(k), self._masks[k], self._rows.origin(k))  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"<Masks {self.name}: {len(self)} pictures, {len(self.labels)} classes>"

    def counts(self) -> dict[str, int]:
        """Give the number of pixels of every class."""
        return dict(zip(self.labels, self._pixels[self._index].sum(axis=0).tolist(), strict=True))

    def describe(self) -> str:
        """Give a line for a person: pictures, and the share of pixels that each class has."""
        counts = self.counts()
        total = max(1, sum(counts.values()))
        shares = ", ".join(f"{label} {count / total:.1%}" for label, count in counts.items())
        return f"{self.name}: {len(self)} pictures; pixels: {shares}"


class PreparedMasks(Prepared):
    """Prepared masks, described by shares of pixels."""

    def describe(self) -> str:
        """Give a line for each part, and the notes below."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        lines = [f"{role}: {part.describe()}" for role, part in parts.items() if part is not None]
        return "\n".join([*lines, *self.notes])


def prepare_masks(
    train: Any,
    *,
    valid: Any = None,
    test: Any = None,
    on_bad: str = "raise",
    seed: int = 0,
    workers: int | None = None,
    probe: Probe | None = None,
) -> Prepared:
    """Find, check and split pictures with masks.

    `valid` None takes the source's own part, or else a fifth of the pictures; False goes without. Raises one DataError
    that lists every problem of every part (a mask that is missing, of another size, unreadable, with a value that is
    no class), or with on_bad="skip" leaves those pictures out.
    """
    parts, names = _read(train)
    for role, given in (("valid", valid), ("test", test)):
        if given is False:
            parts.pop(role, None)
        elif given is not None:
            own, own_names = _read(given)
            part = own.get(role, own["train"])
            parts[role] = _renumbered(part, own_names, names) if own_names and names else part
    labels = names or _counted(parts["train"])
    checked, notes = _checked(parts, labels, on_bad=on_bad, workers=workers, probe=probe)
    whole, chosen = checked["train"], checked.get("valid")
    if chosen is None and valid is not False:
        if len(whole) < 2:
            raise DataError(
                f"{whole.name}: one picture alone cannot be split",
                hint="add pictures, pass valid=… with pictures of its own, or valid=False to train on everything",
            )
        order = np.random.RandomState(seed).permutation(
            len(whole)
        )  # a stream that no version of numpy changes
        held = max(1, round(0.2 * len(whole)))
        whole, chosen = whole.select(np.sort(order[held:])), whole.select(np.sort(order[:held]))
        notes.append(f"no validation data was given: {held} of {len(order)} pictures were held out")
    return PreparedMasks(whole, chosen, checked.get("test"), tuple(notes))


def prepare_masks_evaluation(
    data: Any,
    *,
    labels: Sequence[str],
    on_bad: str = "raise",
    workers: int | None = None,
    probe: Probe | None = None,
) -> Dataset:
    """Give the test part of `data`, or else its validation part, or else all of it, numbered by `labels`.

    Classes are told apart by their names where the data has names, else by their numbers.
    """
    parts, names = _read(data)
    part = next(parts[role] for role in ("test", "valid", "train") if role in parts)
    if names:
        part = _renumbered(part, names, labels)
    checked, _ = _checked({"train": part}, labels, on_bad=on_bad, workers=workers, probe=probe)
    return checked["train"]


# ---- checking ----


def _checked(
    parts: dict[str, _Part], labels: Sequence[str], *, on_bad: str, workers: int | None, probe: Probe | None
) -> tuple[dict[str, Dataset], list[str]]:
    """Give the parts without what cannot be used, and notes that say what that was."""
    found: dict[str, Dataset] = {}
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), thread_name_prefix="hub-masks") as pool:
        for role, part in parts.items():
            data = Masks(part, labels)
            troubles = list(pool.map(lambda i, data=data: _examine(data, i), range(len(data))))
            data.problems = (*data.problems, *(each for each in troubles if each is not None))
            found[role] = data.select([i for i, each in enumerate(troubles) if each is None])
    known = [problem for part in found.values() for problem in part.problems]
    present = [label for label, count in found["train"].counts().items() if count]
    if len(present) == 1 and not known:
        raise DataError(
            f"{found['train'].name}: expected pixels of two classes at least, found only {present[0]!r}",
            hint="255 marks pixels without a class: a mask of 0 and 255 should be saved as 0 and 1",
        )
    checked = check(*(found.get(role) for role in ROLES), probe=probe, on_bad=on_bad, workers=workers or None)
    notes = [str(checked)] if checked.dropped else []
    splits = dict(zip(ROLES, checked.splits, strict=True))
    return {role: part for role, part in splits.items() if part is not None}, notes


def _examine(data: Masks, i: int) -> Problem | None:
    """Read one mask, count its pixels, and give what is wrong with it."""
    mask, origin = data._masks[i], data.origin(i)
    where = mask.file or None
    if isinstance(mask.source, Path) and not mask.source.is_file():
        return Problem("missing mask", origin, where)
    try:
        values = mask.values()
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError) as problem:
        return Problem("unreadable mask", origin, where, str(problem).removeprefix(f"{where}: "))
    numbers = np.bincount(np.array(mask.table, np.uint8)[values].ravel(), minlength=256)
    raw = np.bincount(values.ravel(), minlength=256)
    last = len(data.labels) - 1
    bad = [v for v in range(IGNORED) if raw[v] and mask.table[v] > last]
    if bad:
        counted = ", ".join(f"{value} ({raw[value]:,} pixels)" for value in bad[:5])
        return Problem(
            "unknown class in mask", origin, where, f"found {counted}; expected 0 to {last}, or 255"
        )
    size = _size_of(data, i)
    if size is not None and size != (values.shape[1], values.shape[0]):
        sizes = f"the mask has {values.shape[1]}×{values.shape[0]} pixels, its picture {size[0]}×{size[1]}"
        return Problem("size of mask", origin, where, sizes)
    data._pixels[i] = numbers[: last + 1]
    return None


def _size_of(data: Masks, i: int) -> tuple[int, int] | None:
    """Give (width, height) of a picture as it stands upright; None where it cannot be read, which `check` reports."""
    try:
        given = data._rows.input(i)
        if isinstance(given, np.ndarray):
            return given.shape[1], given.shape[0]
        if isinstance(given, Image.Image):
            return given.size
        with Image.open(given) as opened:
            swapped = opened.getexif().get(0x0112) in UPRIGHT
            return opened.size[::-1] if swapped else opened.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _counted(part: _Part) -> tuple[str, ...]:
    """Give "0", "1", … up to the largest value of the masks that can be read."""
    largest = 0
    for mask in part.masks:
        try:
            values = mask.values()
        except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError):
            continue  # it is reported when all masks are examined
        largest = max(largest, int(values[values != IGNORED].max(initial=0)))
    return tuple(str(number) for number in range(largest + 1))


def _renumbered(part: _Part, names: Sequence[str], labels: Sequence[str]) -> _Part:
    """Give the part with its class numbers turned into those of `labels`, by name."""
    if tuple(names) == tuple(labels):
        return part
    table = [254] * IGNORED + [IGNORED]  # 254: no class of ours
    for number, name in enumerate(names):
        if name in labels:
            table[number] = list(labels).index(name)
    return _Part(part.rows, [Mask(mask.source, tuple(table)) for mask in part.masks])


# ---- reading ----


def _read(source: Any) -> tuple[dict[str, _Part], tuple[str, ...]]:
    """Give the parts of a source by role, and the class names that it lists."""
    if isinstance(source, Masks):
        return {"train": _Part(source._rows, source._masks)}, source.labels
    if not isinstance(source, str | os.PathLike):
        return {"train": _from_object(source)}, tuple(getattr(source, "labels", ()) or ())
    path = Path(source).expanduser()
    if path.is_dir():
        lists = {
            role: path / f"{name}{end}" for role, words in ROLES.items() for name in words
            for end in ("_list.txt", ".txt") if (path / f"{name}{end}").is_file()
        }  # fmt: skip
        if "train" in lists:
            return {role: _from_list(each) for role, each in lists.items()}, _names(path)
        return _from_folder(path)
    if not path.is_file():
        siblings = [entry.name for entry in os.scandir(path.parent)] if path.parent.is_dir() else []
        raise DataError(f"{path}: no such file or folder", hint=did_you_mean(path.name, siblings))
    if path.suffix.lower() == ".json":
        return _from_coco(path)
    return {"train": _from_list(path)}, _names(path.parent)


def _names(folder: Path) -> tuple[str, ...]:
    """Give the class names in the file beside the data: one a line, what follows a comma or tab is not the name."""
    for name in NAME_FILES:
        if (folder / name).is_file():
            problems: list[Problem] = []
            lines = read_text(folder / name, problems).splitlines()
            if problems:
                raise DataError(str(problems[0]))
            names = tuple(line.replace("\t", ",").split(",")[0].strip() for line in lines if line.strip())
            repeated = [each for each, count in Counter(names).items() if count > 1]
            if repeated or not 1 < len(names) <= IGNORED:
                found = f"{repeated[0]!r} twice" if repeated else f"{len(names)}"
                raise DataError(
                    f"{folder / name}: expected 2 to {IGNORED} class names, each once, found {found}"
                )
            return names
    return ()


def _from_list(path: Path) -> _Part:
    """Read "picture mask" a line, parted by a tab or by the space between two existing endings."""
    numbers: list[int] = []
    part = _Part(Rows(str(path), file=str(path), numbers=numbers), [])
    for number, line in enumerate(read_text(path, part.rows.problems).splitlines(), 1):
        if not line.strip():
            continue
        fields = line.strip().split("\t") if "\t" in line else line.rsplit(maxsplit=1)
        if len(fields) != 2:
            part.rows.problems.append(
                Problem("too few fields", Origin(str(path), number), line.strip(), "expected: picture mask")
            )
            continue
        picture, mask = (path.parent / field.strip() for field in fields)
        part.rows.paths.append(str(picture))
        numbers.append(number)
        part.masks.append(Mask(mask))
    return part


def _from_folder(folder: Path) -> tuple[dict[str, _Part], tuple[str, ...]]:
    """Read images/ and masks/, each with train/ and valid/ in it, or both in train/ and valid/, or just both."""
    inside = _folders(folder)
    parts: dict[str, _Part] = {}
    pictures, masks = (next((inside[n] for n in names if n in inside), None) for names in (PICTURES, MASKS))
    if pictures is not None and masks is not None:
        for role, name in _role_folders(pictures):
            other = _folders(masks).get(name)
            if other is not None:
                parts[role] = _paired(_folders(pictures)[name], other)
        return parts or {"train": _paired(pictures, masks)}, _names(folder)
    for role, name in _role_folders(folder):
        below = _folders(inside[name])
        own = [next((below[n] for n in names if n in below), None) for names in (PICTURES, MASKS)]
        if own[0] is not None and own[1] is not None:
            parts[role] = _paired(own[0], own[1])
    if "train" not in parts:
        found = ", ".join(sorted(inside)) or "no folder"
        raise DataError(
            f"{folder}: expected train_list.txt, or folders images and masks, found {found}",
            hint="put pictures in images/ and masks of the same names in masks/",
        )
    return parts, _names(folder)


def _folders(folder: Path) -> dict[str, Path]:
    return {entry.name.lower(): Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()}


def _role_folders(folder: Path) -> Iterator[tuple[str, str]]:
    inside = _folders(folder)
    for role, names in ROLES.items():
        for name in names:
            if name in inside:
                yield role, name
                break


def _paired(pictures: Path, masks: Path) -> _Part:
    """Match pictures and masks by name without suffix; what has no partner is a problem."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(masks.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not is_litter(path.name):
            by_name[str(path.relative_to(masks).with_suffix(""))].append(path)
    part = _Part(Rows(str(pictures)), [])
    for path in sorted(pictures.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or is_litter(path.name):
            continue
        found = by_name.pop(str(path.relative_to(pictures).with_suffix("")), [])
        if len(found) == 1:
            part.rows.paths.append(str(path))
            part.masks.append(Mask(found[0]))
        else:
            detail = (
                f"several: {', '.join(p.name for p in found)}" if found else f"none of this name in {masks}"
            )
            part.rows.problems.append(
                Problem("missing mask" if not found else "several masks", Origin(str(path)), None, detail)
            )
    for left in by_name.values():
        part.rows.problems += [
            Problem("missing picture", Origin(str(p)), None, f"none of this name in {pictures}") for p in left
        ]
    return part


def _from_object(source: Any) -> _Part:
    """Take items (picture, mask), each a path, a PIL picture or an array."""
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")) or isinstance(source, np.ndarray):
        raise UsageError(f"expected a path or (picture, mask) pairs, found {type(source).__name__}")

    def pair(number: int) -> tuple[Any, Any]:
        item = source[number]
        if isinstance(item, Sample):
            item = (item.input, item.label)
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"item {number}: expected (picture, mask), found {type(item).__name__}")
        return item[0], item[1]

    part = _Part(
        Rows(type(source).__name__, numbers=list(range(len(source))), fetch=lambda n: pair(n)[0]), []
    )
    for number in range(len(source)):
        picture, mask = pair(number)
        part.rows.paths.append(os.fspath(picture) if isinstance(picture, str | os.PathLike) else None)
        part.masks.append(Mask(Path(mask) if isinstance(mask, str | os.PathLike) else mask))
    return part


def _from_coco(path: Path) -> tuple[dict[str, _Part], tuple[str, ...]]:
    """Read polygons in COCO's form: class 0 is what no polygon covers, the categories follow in order of their id."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        categories = sorted(data["categories"], key=lambda each: each["id"])
        number = {each["id"]: n for n, each in enumerate(categories, 1)}
        outlines: dict[Any, list[tuple[int, tuple[float, ...]]]] = defaultdict(list)
        part = _Part(Rows(str(path)), [])
        for each in data["annotations"]:
            if not isinstance(each["segmentation"], list):
                detail = "expected polygons, found run lengths"
                part.rows.problems.append(
                    Problem("bad annotation", Origin(str(path)), str(each.get("id")), detail)
                )
                continue
            for points in each["segmentation"]:
                if len(points) < 6 or len(points) % 2 or each["category_id"] not in number:
                    detail = "expected three points at least and a known category"
                    part.rows.problems.append(
                        Problem("bad annotation", Origin(str(path)), str(each.get("id")), detail)
                    )
                    continue
                outlines[each["image_id"]].append((number[each["category_id"]], tuple(map(float, points))))
        for each in data["images"]:
            found = next(
                (
                    p
                    for p in (path.parent / each["file_name"], path.parent / "images" / each["file_name"])
                    if p.is_file()
                ),
                path.parent / each["file_name"],
            )
            part.rows.paths.append(str(found))
            size = (int(each["width"]), int(each["height"]))
            part.masks.append(Mask(Polygons(size, tuple(outlines[each["id"]]))))
    except (KeyError, TypeError, ValueError, OSError) as problem:
        raise DataError(
            f"{path}: expected COCO's images, annotations and categories: {problem!r}"
        ) from problem
    return {"train": part}, ("background", *(str(each["name"]) for each in categories))
