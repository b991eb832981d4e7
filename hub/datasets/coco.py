"""Masks from outlines in COCO's form: polygons or run lengths in JSON, and where its pictures are."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hub.datasets.base import Origin, Problem, Rows
from hub.datasets.mask import IGNORED, Mask, MaskPart, Polygons, Shape, require_names
from hub.errors import DataError

FARTHEST = 1e7
"""Pixels from the corner of a picture beyond which no polygon has a point."""
CROWDS = {"0": False, "false": False, "1": True, "1.0": True, "true": True}
"""What `iscrowd` may be, in small letters: some programs write it as text."""


def read_coco(path: Path) -> tuple[dict[str, MaskPart], tuple[str, ...]]:
    """Read outlines in COCO's form: class 0 is what none covers, the categories follow in order of their id.

    A category called background, or _background_, is class 0 itself. A picture with an annotation that cannot be drawn
    is left out, with a problem: without that object its mask would be wrong.
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
        for each in sorted(data["annotations"], key=lambda each: not CROWDS.get(_crowd_of(each))):
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
    require_names(names, path)
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
        if str(each["name"]).lower().strip("_") == "background":
            numbers[str(each["id"])] = 0
        else:
            numbers[str(each["id"])] = len(names)
            names.append(str(each["name"]))
    if len(numbers) < len(listed):
        raise ValueError("expected another id for every category")
    return numbers, tuple(names)


def _crowd_of(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("iscrowd") or 0).strip().lower()


def _shapes(annotation: Mapping[str, Any], numbers: Mapping[str, int], size: tuple[int, int]) -> list[Shape]:
    """Give what an annotation covers: its polygons, or its run lengths. Raises KeyError, TypeError or ValueError.

    A crowd is marked as pixels without a class: such a region is drawn around many things.
    """
    category = str(annotation["category_id"])
    if category not in numbers:
        raise ValueError(f"no category has the id {category}")
    crowd = _crowd_of(annotation)
    if crowd not in CROWDS:
        raise ValueError(f"expected 0 or 1 for iscrowd, found {annotation['iscrowd']!r}")
    number = IGNORED if CROWDS[crowd] else numbers[category]
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
