"""A picture and its mask together: reading masks, and random steps that move both by the same amount.

A mask is uint8 [H, W] of class numbers; IGNORED marks pixels that have no class. Masks are never interpolated: a pixel
between class 1 and class 3 is not of class 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from hub.errors import InputError
from hub.transforms import image

IGNORED = 255
GROUNDS = ("background", "ground")
"""Names of a first label that stands for everything else, and is not painted."""


def is_ground(label: str) -> bool:
    """Say whether a first label of this name stands for everything else."""
    return label.lower().strip("_") in GROUNDS


def read_mask(source: Any) -> np.ndarray:
    """Give uint8 [H, W] of class numbers from a path, a PIL picture, or anything that numpy takes as an array.

    A palette picture gives its indices, not its colours. Raises InputError for what holds no class numbers.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        try:
            with Image.open(path, formats=image.FORMATS) as opened:
                if opened.width * opened.height > image.MAX_PIXELS:
                    raise InputError(
                        f"{path}: a mask of {opened.width}×{opened.height} pixels; "
                        f"at most {image.MAX_PIXELS:,} are read",
                        hint=image.TOO_LARGE,
                    )
                image.load(opened)
                return _numbers(np.asarray(opened), str(path))
        except FileNotFoundError:
            raise InputError(f"{path}: no such mask") from None
        except (OSError, SyntaxError, ValueError, EOFError) as problem:  # what Pillow's decoders raise
            raise InputError(f"{path}: the mask cannot be decoded: {problem}") from problem
    return _numbers(np.asarray(source), "mask")


def _numbers(array: np.ndarray, where: str) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] in (3, 4) and (array[..., :3] == array[..., :1]).all():
        array = array[..., 0]  # a grey mask that was saved in colour
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2:
        raise InputError(
            f"{where}: expected a mask of class numbers [H, W], found colours {list(array.shape)}",
            hint="save masks as grey or palette PNG whose pixel values are the class numbers",
        )
    if array.dtype.kind not in "bui":
        raise InputError(f"{where}: expected whole numbers in a mask, found {array.dtype}")
    if array.size and (array.min() < 0 or array.max() > IGNORED):
        raise InputError(
            f"{where}: expected class numbers from 0 to 255, found {array.min()} to {array.max()}"
        )
    return array.astype(np.uint8)


def resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Give a mask at (width, height): every pixel takes the class of the nearest one."""
    if (mask.shape[1], mask.shape[0]) == size:
        return mask
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def random_variant(
    picture: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
    *,
    scale: tuple[float, float] = (0.75, 1.5),
    side: int = 256,
    flip: float = 0.5,
    brightness: float = 0.15,
    contrast: float = 0.2,
) -> tuple[np.ndarray, np.ndarray]:
    """Give both scaled, cropped to at most `side` pixels each way, mirrored, and the picture lighter or darker.

    `picture` is uint8 [H, W, C]. What comes in from outside is the picture's edge, and IGNORED in the mask. The result
    has the size of the picture, but no more than `side`.
    """
    height, width = mask.shape
    factor = float(np.exp(rng.uniform(*np.log(scale))))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    grey = picture.shape[2] == 1
    scaled = Image.fromarray(picture[..., 0] if grey else picture).resize(size, Image.Resampling.BILINEAR)
    truth = Image.fromarray(resized(mask, size))
    if rng.random() < flip:
        scaled, truth = ImageOps.mirror(scaled), ImageOps.mirror(truth)
    scaled = image.random_brightness(scaled, rng, brightness=brightness, contrast=contrast)
    wanted = (min(side, width), min(side, height))
    left, top = (int(rng.integers(0, abs(have - want) + 1)) for have, want in zip(size, wanted, strict=True))
    pixels, numbers = np.asarray(scaled), np.asarray(truth)
    rows, columns = _places(size[1], wanted[1], top), _places(size[0], wanted[0], left)
    pixels = pixels[np.ix_(rows.clip(0, size[1] - 1), columns.clip(0, size[0] - 1))]
    inside = ((rows >= 0) & (rows < size[1]))[:, None] & ((columns >= 0) & (columns < size[0]))
    numbers = np.where(
        inside, numbers[np.ix_(rows.clip(0, size[1] - 1), columns.clip(0, size[0] - 1))], IGNORED
    )
    return (pixels[:, :, None] if grey else pixels), numbers.astype(np.uint8)


def _places(have: int, want: int, offset: int) -> np.ndarray:
    """Give which of `have` places stand in each of `want`: a part of them, or all with some outside."""
    return np.arange(want) + (offset if have >= want else -offset)
