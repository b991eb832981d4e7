"""Where masks are: list files, folders of pictures and masks, VOC's lists, objects; hub.datasets.coco has outlines."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hub.datasets.base import Origin, Problem, Rows, Sample
from hub.datasets.coco import read_coco
from hub.datasets.folders import entries_of, files_below, is_folder
from hub.datasets.images import SUFFIXES
from hub.datasets.kinds import PICTURES as OF_PICTURES
from hub.datasets.mask import Mask, MaskPart, require_names
from hub.datasets.objects import item_of
from hub.datasets.sources import ROLES, records_of, roles_among
from hub.datasets.tables import find_column, find_input
from hub.datasets.textfiles import read_text
from hub.errors import DataError, UsageError, did_you_mean, if_url

PICTURES = ("images", "image", "img", "imgs", "jpegimages", "pictures")
MASKS = ("masks", "mask", "segmentationclass", "annotations", "annotation", "labels")
"""In this order: where VOC has masks, its annotations are boxes."""
MASK_COLUMNS = ("mask", "mask_path", "mask_name", "annotation", "segmentation", "label", "label_path")
"""The names of an item's mask, the likelier first, where an item has names."""
NAME_FILES = ("labels.txt", "label_list.txt", "class_names.txt", "classes.txt", "palette.txt")


def read(source: Any) -> tuple[dict[str, MaskPart], tuple[str, ...]]:
    """Give the parts of a source by role, and the class names that it lists."""
    if not isinstance(source, str | os.PathLike):
        names = () if hasattr(source, "iloc") else tuple(getattr(source, "labels", ()) or ())
        if names:
            require_names(names, "labels")
        return {"train": _from_object(source)}, names
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):  # unlike pathlib's, for a name that is too long it is False
        lists = {
            role: path / f"{name}{end}" for role, words in ROLES.items() for name in words
            for end in ("_list.txt", ".txt") if (path / f"{name}{end}").is_file()
        }  # fmt: skip
        if lists:
            parts = {role: _from_list(each) for role, each in lists.items()}
            return parts if "train" in parts else _unlisted(path, parts.values()) | parts, _names(path)
        return _from_folder(path)
    if not os.path.isfile(path):
        siblings = [entry.name for entry in os.scandir(path.parent)] if os.path.isdir(path.parent) else []
        raise DataError(
            f"{path}: no such file or folder{if_url(path)}", hint=did_you_mean(path.name, siblings)
        )
    if path.suffix.lower() == ".json":
        return read_coco(path)
    return {"train": _from_list(path)}, _names(path.parent)


def _names(folder: Path) -> tuple[str, ...]:
    """Give the class names in the file beside the data: one a line, what follows a comma or tab is not the name."""
    for name in NAME_FILES:
        if (folder / name).is_file():
            lines = _lines(folder / name).values()
            names = tuple(line.replace("\t", ",").split(",")[0].strip() for line in lines)
            require_names(names, folder / name)
            return names
    return ()


def _lines(path: Path) -> dict[int, str]:
    """Give the lines of a file that are not empty, by number. Raises DataError for one that cannot be read."""
    problems: list[Problem] = []
    lines = read_text(path, problems).splitlines()
    if problems:
        raise DataError(str(problems[0]))
    return {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}


def _from_list(path: Path) -> MaskPart:
    """Read "picture mask" a line, separated by a tab or by the last blank: names that have blanks need tabs."""
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


def _unlisted(folder: Path, listed: Iterable[MaskPart]) -> dict[str, MaskPart]:
    """Give the parts that the folders are, each with what is in none of the lists; {} where there are lists alone."""
    parts: dict[str, MaskPart] = {}
    with suppress(DataError):
        parts, _ = _from_folder(folder)
    real = cache(os.path.realpath)

    def place(path: str) -> str:
        return os.path.join(real(os.path.dirname(path)), os.path.basename(path))

    named = {
        place(each) for part in listed
        for each in (*filter(None, part.rows.paths), *(mask.file for mask in part.masks))
    }  # fmt: skip
    left = {}
    for role, whole in parts.items():
        kept = [k for k, path in enumerate(whole.rows.paths) if place(str(path)) not in named]
        rows = whole.rows.part(kept)
        rows.problems = [each for each in rows.problems if place(each.origin.file) not in named]
        if kept:
            left[role] = replace(whole, rows=rows, masks=[whole.masks[k] for k in kept])
    return left


def _from_folder(folder: Path) -> tuple[dict[str, MaskPart], tuple[str, ...]]:
    """Read images/ and masks/, each with train/ and valid/ in it, or both in train/ and valid/, or just both."""
    inside = _folders(folder)
    pictures, masks = (next((inside[n] for n in names if n in inside), None) for names in (PICTURES, MASKS))
    if pictures is not None and masks is not None:
        if lists := _voc_lists(inside):
            return _from_voc(lists, pictures, masks), _names(folder)
        return _by_roles(pictures, masks) or {"train": _paired(pictures, masks)}, _names(folder)
    parts: dict[str, MaskPart] = {}
    for role, place in roles_among(inside, [""]).items():
        below = _folders(place)
        own = [next((below[n] for n in names if n in below), None) for names in (PICTURES, MASKS)]
        if own[0] is not None and own[1] is not None:
            parts[role] = _paired(own[0], own[1])
    if not parts:
        found = ", ".join(sorted(inside)) or "no folder"
        raise DataError(
            f"{folder}: expected train_list.txt, or folders images and masks, found {found}",
            hint="put pictures in images/ and masks of the same names in masks/",
        )
    return parts, _names(folder)


def _by_roles(pictures: Path, masks: Path) -> dict[str, MaskPart]:
    """Pair the folders that are one part in both, by whichever names; a note counts the pictures elsewhere."""
    those, others = (roles_among(_folders(folder), [""]) for folder in (pictures, masks))
    parts = {role: _paired(those[role], others[role]) for role in those if role in others}
    if parts:
        names = [those[role].name for role in parts]
        every = _by_name(pictures, [])
        inside = tuple(f"{name}/" for name in names)
        left = sum(len(paths) for name, paths in every.items() if not name.startswith(inside))
        if left:
            count = sum(map(len, every.values()))
            note = f"{left:,} of {count:,} pictures are in none of {', '.join(names)}, and were left out"
            next(iter(parts.values())).notes = (note,)
    return parts


def is_folder_of_masks(folder: Path) -> bool:
    """Say whether a folder, or each of train/ and the like in it, has pictures and masks alone, or VOC's lists."""
    inside = _folders(folder)
    if _voc_lists(inside):
        return True
    parts = roles_among(inside, [""]).values()
    if parts and len(parts) == len(inside):
        return all(_is_pair(_folders(part)) for part in parts)
    return _is_pair(inside)


def _is_pair(names: Mapping[str, Path]) -> bool:
    return (
        len(names) == 2 and any(name in PICTURES for name in names) and any(name in MASKS for name in names)
    )


def _folders(folder: Path) -> dict[str, Path]:
    return {entry.name.lower(): Path(entry.path) for entry in entries_of(folder) if is_folder(entry)}


def _voc_lists(inside: Mapping[str, Path]) -> dict[str, Path]:
    """Give VOC's lists by role, ImageSets/Segmentation/train.txt and the like; none where those folders have none."""
    sets = inside.get("imagesets")
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
    problems: list[Problem] = []
    both = {"picture": pictures, "mask": masks}
    files = {what: (folder, _by_name(folder, problems)) for what, folder in both.items()}
    names = {role: _lines(path) for role, path in lists.items()}
    if lists["train"].stem == "trainval":
        others = set(names.get("valid", {}).values())
        names["train"] = {line: name for line, name in names["train"].items() if name not in others}
    if not files["mask"][1].keys() & set(names.get("test", {}).values()):
        names.pop("test", None)  # VOC keeps the masks of most years' tests to itself
    parts = {role: _listed(lists[role], lines, files) for role, lines in names.items()}
    parts["train"].rows.problems += problems
    every = files["picture"][1].keys()
    left = every - {name for lines in names.values() for name in lines.values()}
    if left:
        read = ", ".join(lists[role].name for role in names)
        note = f"{len(left):,} of {len(every):,} pictures are in none of {read}, and were left out"
        parts["train"].notes = (note,)
    return parts


Named = dict[str, list[Path]]
"""Pictures by their names below a folder, without suffix."""


def _by_name(folder: Path, problems: list[Problem]) -> Named:
    found: Named = defaultdict(list)
    for path in sorted(Path(entry.path) for entry in files_below(folder, problems)):
        if path.suffix.lower() in SUFFIXES:
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
    part = MaskPart(Rows(str(pictures)), [])
    by_name = _by_name(masks, part.rows.problems)
    for name, paths in _by_name(pictures, part.rows.problems).items():
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
    items = records_of(source)

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
