"""Where masks are: list files, folders of pictures and masks, VOC's lists, polygons in JSON, objects.

A mask is a grey or palette picture whose pixel values are class numbers; 255 marks pixels without a class.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from hub.datasets.base import Origin, Problem, Rows, Sample
from hub.datasets.folders import is_litter
from hub.datasets.images import SUFFIXES
from hub.datasets.kinds import PICTURES as OF_PICTURES
from hub.datasets.objects import item_of
from hub.datasets.sources import ROLES
from hub.datasets.tables import find_column, find_input
from hub.datasets.textfiles import read_text
from hub.errors import DataError, UsageError, did_you_mean
from hub.files import is_line
from hub.transforms.image import MAX_PIXELS, form_of, unidentified

IGNORED = 255
FORMATS = ("PNG", "BMP", "GIF", "TIFF")
"""Those that keep numbers as they are; JPEG would blur them."""

FARTHEST = 1e7
"""Pixels from the corner of a picture beyond which no polygon has a point."""
PICTURES = ("images", "image", "img", "imgs", "jpegimages", "pictures")
MASKS = ("masks", "mask", "segmentationclass", "annotations", "annotation", "labels")
"""In this order: where VOC has masks, its annotations are boxes."""
MASK_COLUMNS = ("mask", "mask_path", "mask_name", "annotation", "segmentation", "label", "label_path")
"""The names of an item's mask, the likelier first, where an item has names."""
NAME_FILES = ("labels.txt", "label_list.txt", "class_names.txt", "classes.txt", "palette.txt")


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

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), for which nothing is decoded or drawn. Raises what `values` raises."""
        if isinstance(self.source, Path):
            with _opened(self.source) as opened:
                return opened.size
        if isinstance(self.source, Polygons):
            return self.source.size
        height, width = self.values().shape
        return width, height

    def values(self) -> np.ndarray:
        """Give what is written in the mask, uint8 [H, W]. Raises OSError or ValueError for one that cannot be read."""
        source = self.source
        if (
            isinstance(source, Path | Polygons)
            and (width := self.size[0]) * (height := self.size[1]) > MAX_PIXELS
        ):
            raise ValueError(f"{width}×{height} pixels; at most {MAX_PIXELS:,} are read")
        if isinstance(source, Path):
            with _opened(source) as opened:
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


def _opened(path: Path) -> Image.Image:
    """Open a mask. Raises OSError, or ValueError for one in a form that masks are not read from."""
    try:
        return Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        form = form_of(path)
        found = unidentified(path)
        if form not in (None, *FORMATS):
            found = f"a {form}, which may change values: save masks as PNG"
        raise ValueError(f"expected one of {', '.join(FORMATS)}, found {found}") from None


Shape = tuple[int, np.ndarray]
"""A class number and what has it: corners [N, 2] of a polygon, or run lengths [N]."""


@dataclass(frozen=True, eq=False)
class Polygons:
    """Shapes of one picture of (width, height), the later ones on top."""

    size: tuple[int, int]
    shapes: tuple[Shape, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        width, height = self.size
        mask = np.zeros((height, width), np.uint8)
        for number, where in self.shapes:
            if where.ndim == 2:
                _fill(mask, where, number)
            else:
                inside = np.zeros(mask.size, bool)
                inside[: where.sum()] = np.repeat(np.arange(len(where)) % 2 == 1, where)
                mask[inside.reshape(width, height).T] = number  # COCO counts down the columns
        return mask if dtype is None else mask.astype(dtype)


def _fill(mask: np.ndarray, corners: np.ndarray, number: int) -> None:
    """Give a number to the pixels whose middles lie inside of a polygon; pixel 0 is from 0 to 1.

    So a square of side 24 has 24² pixels, and two that share an edge share none. In each row, pixels between the first
    and the second side are inside, then those between the third and the fourth, and so on.
    """
    height, width = mask.shape
    after = np.roll(corners, -1, axis=0)
    down = (corners[:, 1] <= after[:, 1])[:, None]  # a side is the same for the polygons on both sides of it
    (x, y), (end_x, end_y) = np.where(down, corners, after).T, np.where(down, after, corners).T
    first, last = (np.ceil(edge - 0.5).clip(0, height).astype(np.int64) for edge in (y, end_y))
    counts = last - first  # of rows whose middles a side crosses
    side = np.repeat(np.arange(len(x)), counts)
    rows = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + first[side]
    if not len(rows):
        return
    crossing = x[side] + (rows + 0.5 - y[side]) * (end_x - x)[side] / (end_y - y)[side]
    columns = np.ceil(crossing - 0.5).clip(0, width).astype(np.int64)
    top, left, right = rows.min(), columns.min(), columns.max()
    passed = np.zeros((rows.max() - top + 1, right - left + 1), bool)
    np.logical_xor.at(passed, (rows - top, columns - left), True)
    inside = np.logical_xor.accumulate(passed, axis=1)[:, :-1]
    mask[top : top + len(passed), left:right][inside] = number


@dataclass
class MaskPart:
    """What a source holds of one split: pictures, masks, and names if it lists any."""

    rows: Rows
    masks: list[Mask]
    strange: Mapping[int, str] = field(default_factory=dict)
    """The names of numbers that stand for classes which nobody asked for."""
    notes: tuple[str, ...] = ()
    """What a user should know of how the source was read."""


def read(source: Any) -> tuple[dict[str, MaskPart], tuple[str, ...]]:
    """Give the parts of a source by role, and the class names that it lists."""
    if not isinstance(source, str | os.PathLike):
        names = tuple(getattr(source, "labels", ()) or ())
        if names:
            _require_names(names, "labels")
        return {"train": _from_object(source)}, names
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):  # unlike pathlib's, for a name that is too long it is False
        lists = {
            role: path / f"{name}{end}" for role, words in ROLES.items() for name in words
            for end in ("_list.txt", ".txt") if (path / f"{name}{end}").is_file()
        }  # fmt: skip
        if "train" in lists:
            return {role: _from_list(each) for role, each in lists.items()}, _names(path)
        return _from_folder(path)
    if not os.path.isfile(path):
        siblings = [entry.name for entry in os.scandir(path.parent)] if os.path.isdir(path.parent) else []
        raise DataError(f"{path}: no such file or folder", hint=did_you_mean(path.name, siblings))
    if path.suffix.lower() == ".json":
        return _from_coco(path)
    return {"train": _from_list(path)}, _names(path.parent)


def _names(folder: Path) -> tuple[str, ...]:
    """Give the class names in the file beside the data: one a line, what follows a comma or tab is not the name."""
    for name in NAME_FILES:
        if (folder / name).is_file():
            lines = _lines(folder / name).values()
            names = tuple(line.replace("\t", ",").split(",")[0].strip() for line in lines)
            _require_names(names, folder / name)
            return names
    return ()


def _lines(path: Path) -> dict[int, str]:
    """Give the lines of a file that are not empty, by number. Raises DataError for one that cannot be read."""
    problems: list[Problem] = []
    lines = read_text(path, problems).splitlines()
    if problems:
        raise DataError(str(problems[0]))
    return {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}


def _require_names(names: Sequence[str], where: object) -> None:
    """Raise DataError for class names that a module could not keep: too few or many, or two that are the same."""
    repeated = [each for each, count in Counter(names).items() if count > 1]
    broken = [each for each in names if not is_line(each)]
    if repeated or broken or not 1 < len(names) <= IGNORED:
        found = f"{repeated[0]!r} twice" if repeated else repr(broken[0]) if broken else f"{len(names)}"
        raise DataError(
            f"{where}: expected 2 to {IGNORED} class names, each once and in one line, found {found}"
        )


def _from_list(path: Path) -> MaskPart:
    """Read "picture mask" a line, parted by a tab or by the last blank: names that have blanks need tabs."""
    numbers: list[int] = []
    part = MaskPart(Rows(str(path), file=str(path), numbers=numbers), [])
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


def _from_folder(folder: Path) -> tuple[dict[str, MaskPart], tuple[str, ...]]:
    """Read images/ and masks/, each with train/ and valid/ in it, or both in train/ and valid/, or just both."""
    inside = _folders(folder)
    parts: dict[str, MaskPart] = {}
    pictures, masks = (next((inside[n] for n in names if n in inside), None) for names in (PICTURES, MASKS))
    if pictures is not None and masks is not None:
        if lists := _voc_lists(folder):
            return _from_voc(lists, pictures, masks), _names(folder)
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


def is_folder_of_masks(folder: Path) -> bool:
    """Say whether a folder, or each of train/ and the like in it, has pictures and masks alone, or VOC's lists."""
    if _voc_lists(folder):
        return True
    inside = _folders(folder)
    parts = [inside[name] for _, name in _role_folders(folder)]
    if parts and len(parts) == len(inside):
        return all(map(_is_pair, parts))
    return _is_pair(folder)


def _is_pair(folder: Path) -> bool:
    names = [name for name in _folders(folder) if not is_litter(name)]
    return (
        len(names) == 2 and any(name in PICTURES for name in names) and any(name in MASKS for name in names)
    )


def _folders(folder: Path) -> dict[str, Path]:
    return {entry.name.lower(): Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()}


def _role_folders(folder: Path) -> Iterator[tuple[str, str]]:
    inside = _folders(folder)
    for role, names in ROLES.items():
        for name in names:
            if name in inside:
                yield role, name
                break


def _voc_lists(folder: Path) -> dict[str, Path]:
    """Give VOC's lists by role, ImageSets/Segmentation/train.txt and the like; none where that folder has none."""
    sets = _folders(folder).get("imagesets")
    lists = None if sets is None else _folders(sets).get("segmentation")
    if lists is None:
        return {}
    words = ROLES | {"train": (*ROLES["train"], "trainval")}
    return {
        role: path for role, names in words.items() for name in names[::-1]
        if (path := lists / f"{name}.txt").is_file()
    }  # fmt: skip


def _from_voc(lists: Mapping[str, Path], pictures: Path, masks: Path) -> dict[str, MaskPart]:
    """Take the parts from VOC's lists; pictures in none of them, of which most have no mask, are left out with a note.

    Raises DataError where none is to be learnt from.
    """
    if "train" not in lists:
        found = ", ".join(path.name for path in lists.values())
        folder = next(iter(lists.values())).parent
        raise DataError(f"{folder}: expected train.txt or trainval.txt, found {found}")
    files = {"picture": (pictures, _by_name(pictures)), "mask": (masks, _by_name(masks))}
    names = {role: _lines(path) for role, path in lists.items()}
    if lists["train"].stem == "trainval":
        others = set(names.get("valid", {}).values())
        names["train"] = {line: name for line, name in names["train"].items() if name not in others}
    if not files["mask"][1].keys() & set(names.get("test", {}).values()):
        names.pop("test", None)  # VOC keeps the masks of most years' tests to itself
    parts = {role: _listed(lists[role], lines, files) for role, lines in names.items()}
    every = files["picture"][1].keys()
    left = every - {name for lines in names.values() for name in lines.values()}
    if left:
        read = ", ".join(lists[role].name for role in names)
        note = f"{len(left):,} of {len(every):,} pictures are in none of {read}, and were left out"
        parts["train"].notes = (note,)
    return parts


Named = dict[str, list[Path]]
"""Pictures by their names below a folder, without suffix."""


def _by_name(folder: Path) -> Named:
    found: Named = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not is_litter(path.name):
            found[path.relative_to(folder).with_suffix("").as_posix()].append(path)
    return found


def _listed(path: Path, names: Mapping[int, str], files: Mapping[str, tuple[Path, Named]]) -> MaskPart:
    """Give the picture and the mask of each name; one that has not one of both is a problem of its line."""
    numbers: list[int] = []
    part = MaskPart(Rows(str(path), file=str(path), numbers=numbers), [])
    for number, name in names.items():
        found = {what: by_name.get(name, []) for what, (_, by_name) in files.items()}
        wrong = next((what for what in files if len(found[what]) != 1), None)
        if wrong is None:
            numbers.append(number)
            part.rows.paths.append(str(found["picture"][0]))
            part.masks.append(Mask(found["mask"][0]))
        else:
            origin = Origin(str(path), number)
            part.rows.problems.append(_not_one(wrong, found[wrong], origin, name, files[wrong][0]))
    return part


def _not_one(what: str, found: Sequence[Path], origin: Origin, name: str | None, folder: Path) -> Problem:
    """Give the problem of a picture or a mask that is missing, or there several times."""
    if not found:
        return Problem(f"missing {what}", origin, name, f"none of this name in {folder}")
    return Problem(f"several {what}s", origin, name, f"several: {', '.join(path.name for path in found)}")


def _paired(pictures: Path, masks: Path) -> MaskPart:
    """Match pictures and masks by name without suffix; what has no partner is a problem."""
    by_name = _by_name(masks)
    part = MaskPart(Rows(str(pictures)), [])
    for name, paths in _by_name(pictures).items():
        for path in paths:
            found = by_name.pop(name, [])
            if len(found) == 1:
                part.rows.paths.append(str(path))
                part.masks.append(Mask(found[0]))
            else:
                part.rows.problems.append(_not_one("mask", found, Origin(str(path)), None, masks))
    for left in by_name.values():
        part.rows.problems += [_not_one("picture", [], Origin(str(path)), None, pictures) for path in left]
    return part


def _from_object(source: Any) -> MaskPart:
    """Take items (picture, mask) or {"image": …, "mask": …}, each a path, a PIL picture or an array.

    Those of a pandas frame are its rows.
    """
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")) or isinstance(source, np.ndarray):
        raise UsageError(f"expected a path or (picture, mask) pairs, found {type(source).__name__}")
    items = source.to_dict("records") if hasattr(source, "iloc") and hasattr(source, "columns") else source

    def pair(number: int) -> tuple[Any, Any]:
        return _pair(item_of(items, number), number)

    part = MaskPart(
        Rows(type(source).__name__, numbers=list(range(len(source))), fetch=lambda n: pair(n)[0]), []
    )
    for number in range(len(source)):
        picture, mask = pair(number)
        part.rows.paths.append(os.fspath(picture) if isinstance(picture, str | os.PathLike) else None)
        part.masks.append(Mask(Path(mask) if isinstance(mask, str | os.PathLike) else mask))
    return part


def _pair(item: Any, number: int) -> tuple[Any, Any]:
    if isinstance(item, Sample):
        return item.input, item.label
    if isinstance(item, Mapping):
        picture, mask = find_input(OF_PICTURES, item), find_column(MASK_COLUMNS, item)
        if not picture or mask is None:
            found = ", ".join(map(str, item))
            raise DataError(f"item {number}: expected the keys image and mask, found {found}")
        return item[picture[0]], item[mask]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"item {number}: expected (picture, mask), found {type(item).__name__}")
    return item[0], item[1]


def _from_coco(path: Path) -> tuple[dict[str, MaskPart], tuple[str, ...]]:
    """Read outlines in COCO's form: class 0 is what none covers, the categories follow in order of their id.

    A category called background is class 0 itself. A picture with an annotation that cannot be drawn is left out, with
    a problem: without that object its mask would be wrong.
    """
    part = MaskPart(Rows(str(path)), [])
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        numbers, names = _categories(data["categories"])
        images = {str(each["id"]): each for each in data["images"]}  # "3" is meant to be 3
        if len(images) < len(data["images"]):
            raise ValueError("expected another id for every picture")
        shapes: dict[str, list[Shape]] = {key: [] for key in images}
        bad: set[str] = set()
        # A crowd is drawn around many things: what is known of one of them lies above it.
        for each in sorted(data["annotations"], key=lambda each: not each.get("iscrowd")):
            key = str(each["image_id"])
            try:
                shapes[key] += _shapes(each, numbers, _size(images[key]))
            except (KeyError, TypeError, ValueError, OverflowError) as problem:
                bad.add(key)
                where = (
                    f"of {images[key]['file_name']}: {_said(problem)}" if key in images else "of no picture"
                )
                part.rows.problems.append(
                    Problem("bad annotation", Origin(str(path)), str(each.get("id")), where)
                )
        places = _places_of_pictures(path)
        for key, each in images.items():
            name = each["file_name"]
            picture = next((place / name for place in places if os.path.isfile(place / name)), None)
            if picture is None:
                looked = f"looked in {', '.join(map(str, places))}"
                part.rows.problems.append(Problem("missing picture", Origin(str(path)), name, looked))
            elif key not in bad:
                part.rows.paths.append(str(picture))
                part.masks.append(Mask(Polygons(_size(each), tuple(shapes[key]))))
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        OSError,
        RecursionError,
    ) as problem:
        raise DataError(
            f"{path}: expected COCO's images, annotations and categories: {_said(problem)}"
        ) from problem
    _require_names(names, path)
    return {"train": part}, names


def _said(problem: Exception) -> str:
    return f"there is no {problem}" if isinstance(problem, KeyError) else str(problem)


def _size(picture: Mapping[str, Any]) -> tuple[int, int]:
    return int(picture["width"]), int(picture["height"])


def _places_of_pictures(path: Path) -> list[Path]:
    """Give where the pictures of a file in COCO's form may be: beside it, or where COCO and CVAT have them.

    COCO itself has annotations/instances_train2017.json and train2017/.
    """
    beside, above = path.parent, Path(os.path.abspath(path)).parent.parent
    part = path.stem.rsplit("_", 1)[-1]
    return [beside, beside / "images", above / part, above / "images" / part, above / "images", above]


def _categories(listed: list[dict[str, Any]]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Give the class number of each category's id, and the names of the classes."""
    names, numbers = ["background"], dict[str, int]()
    for each in sorted(listed, key=lambda each: each["id"]):
        if str(each["name"]).lower() == "background":
            numbers[str(each["id"])] = 0
        else:
            numbers[str(each["id"])] = len(names)
            names.append(str(each["name"]))
    if len(numbers) < len(listed):
        raise ValueError("expected another id for every category")
    return numbers, tuple(names)


def _shapes(annotation: Mapping[str, Any], numbers: Mapping[str, int], size: tuple[int, int]) -> list[Shape]:
    """Give what an annotation covers: its polygons, or its run lengths. Raises KeyError, TypeError or ValueError.

    A crowd is marked as pixels without a class: such a region is drawn around many things.
    """
    category = str(annotation["category_id"])
    if category not in numbers:
        raise ValueError(f"no category has the id {category}")
    number = IGNORED if annotation.get("iscrowd") else numbers[category]
    outline = annotation["segmentation"]
    if isinstance(outline, Mapping):
        counts = outline["counts"]
        if isinstance(counts, str):
            raise ValueError("expected polygons or a list of run lengths, found compressed ones")
        runs = np.array(counts, np.int64)
        area = size[0] * size[1]
        fits = runs.ndim == 1 and ((runs >= 0) & (runs <= area)).all() and runs.sum() <= area
        if not fits or tuple(outline["size"]) != size[::-1]:  # its height comes first
            raise ValueError(f"expected run lengths of a picture of {size[0]}×{size[1]} pixels")
        return [(number, runs)]
    if not outline:
        raise ValueError("expected polygons, found none")
    shapes: list[Shape] = []
    for points in outline:
        corners = np.array(points, np.float64)
        if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2:
            raise ValueError("expected polygons of three points at least, x and y of each")
        if not (np.abs(corners) < FARTHEST).all():  # false for NaN too
            raise ValueError("expected points on the picture, found others")
        shapes.append((number, corners.reshape(-1, 2)))
    return shapes
