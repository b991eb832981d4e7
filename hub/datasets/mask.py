"""What a mask is: a grey or palette picture whose pixel values are class numbers; 255 marks pixels without a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from hub.datasets.base import Rows
from hub.errors import DataError
from hub.files import is_line
from hub.transforms.image import MAX_PIXELS, form_of, load, unidentified, upright_size

IGNORED = 255
FORMATS = ("PNG", "BMP", "GIF", "TIFF")
"""Those that keep numbers as they are; JPEG would blur them."""


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
                return upright_size(opened) if isinstance(opened, TiffImageFile) else opened.size
        if isinstance(self.source, Polygons):
            return self.source.size
        height, width = self.values().shape
        return width, height

    def values(self) -> np.ndarray:
        """Give what is written in the mask, uint8 [H, W]. Raises OSError or ValueError for one that cannot be read."""
        return self.read()[0]

    def read(self) -> tuple[np.ndarray, list[int]]:
        """Give `values` and the palette, red, green and blue of 0, then of 1 and so on; [] for a grey mask."""
        source, palette = self.source, []
        if (
            isinstance(source, Path | Polygons)
            and (width := self.size[0]) * (height := self.size[1]) > MAX_PIXELS
        ):
            raise ValueError(f"{width}×{height} pixels; at most {MAX_PIXELS:,} are read")
        if isinstance(source, Path):
            with _opened(source) as opened:
                load(opened)
                source, palette = np.asarray(opened), _palette(opened)
        elif isinstance(source, Image.Image):
            palette = _palette(source)
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
        return array.astype(np.uint8), palette

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


def _palette(picture: Image.Image) -> list[int]:
    return (picture.getpalette() or []) if picture.mode == "P" else []


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


def require_names(names: Sequence[str], where: object) -> None:
    """Raise DataError for class names that a module could not keep: too few or many, or two that are the same."""
    repeated = [each for each, count in Counter(names).items() if count > 1]
    broken = [each for each in names if not is_line(each)]
    if repeated or broken or not 1 < len(names) <= IGNORED:
        found = f"{repeated[0]!r} twice" if repeated else repr(broken[0]) if broken else f"{len(names)}"
        raise DataError(
            f"{where}: expected 2 to {IGNORED} class names, each once and in one line, found {found}"
        )
