"""Any object with `__len__` and `__getitem__`: a list of pairs, a PaddleHub, paddle or torchvision dataset."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hub.datasets.base import Origin, Problem, Rows, Sample, clean_label
from hub.datasets.tables import LABEL_COLUMNS, PATH_COLUMNS, find_column
from hub.errors import DataError, InputError, UsageError

NAMES = ("labels", "classes", "label_list")
"""Attributes in which datasets keep their class names."""


def read_object(source: Any) -> Rows:
    """Give one entry for every item, after one pass over the object; its images are not kept.

    Raises UsageError for something that is no dataset, DataError where the object itself fails.
    """
    if isinstance(source, type) or not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        found = f"the class {source.__name__}" if isinstance(source, type) else type(source).__name__
        raise UsageError(f"data: expected a path or an object with __len__ and __getitem__, found {found}")
    numbers: list[int] = []
    fetch = functools.partial(_image, source)
    rows = Rows(name=type(source).__name__, numbers=numbers, fetch=fetch, labels=_names(source))
    for i in range(len(source)):
        origin = Origin("", i)
        try:
            image, label = _pair(_item(source, i))
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
        rows.paths.append(str(image) if isinstance(image, Path) else None)
        rows.raw.append(raw)
        numbers.append(i)
    return rows


def _names(source: Any) -> tuple[str, ...]:
    """Give the class names that the object lists; an attribute that holds a label for every sample is none."""
    for attribute in NAMES:
        names = getattr(source, attribute, None)
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            continue
        if names and len(set(names)) == len(names):
            return tuple(names)
    return ()


def _image(source: Any, i: int) -> Image.Image | np.ndarray:
    return _pair(_item(source, i))[0]


def _item(source: Any, i: int) -> Any:
    try:
        return source[i]
    except (OSError, InputError, Image.DecompressionBombError):
        raise
    except Exception as error:  # the user's own code: say which item it failed on, keep its traceback
        raise DataError(f"item {i} of {type(source).__name__}: {type(error).__name__}: {error}") from error


def _pair(item: Any) -> tuple[Any, Any]:
    """Give the image and the label of an item as they are meant; raise TypeError for anything else."""
    if isinstance(item, Sample):
        image, label = item.input, item.label
    elif isinstance(item, Mapping):
        image_key, label_key = find_column(PATH_COLUMNS, item), find_column(LABEL_COLUMNS, item)
        if image_key is None or label_key is None:
            raise TypeError(f"expected the keys image and label, found {', '.join(map(str, item))}")
        image, label = item[image_key], item[label_key]
    elif isinstance(item, tuple | list) and len(item) == 2:
        image, label = item
    else:
        raise TypeError(f'expected (image, label) or {{"image": …, "label": …}}, found {_shown(item)}')
    if isinstance(image, str | os.PathLike):
        return Path(image), label
    if isinstance(image, Image.Image):
        return image, label
    if hasattr(image, "__array__"):
        return np.asarray(image), label
    raise TypeError(f"expected the image as a path, a PIL image or an array, found {_shown(image)}")


def _shown(value: Any) -> str:
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return type(value).__name__ + size
