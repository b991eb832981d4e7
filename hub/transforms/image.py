"""Pictures: reading them safely, fixed steps for every picture, random ones for training.

`STEPS` and `RANDOM_STEPS` are the tables of names that module.yaml may use under `preprocess` and `augment`.
A step takes a PIL picture and gives one; a random step takes a numpy generator as well, so that the same seed
gives the same picture. Geometry and colour are Pillow's; only what Pillow lacks is computed here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from hub.errors import InputError, if_url

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""The only formats that are ever handed to a decoder: Pillow knows some forty, each a target."""

MAX_PIXELS = 50_000_000
"""A picture of more pixels is refused before it is decoded: at three bytes each it would take 150 MB."""
TOO_LARGE = "make it smaller or cut it into parts; one that is decoded already, an array, may have more"

DEPTHS = (8, 12, 16)
"""Bits that a grey is taken to have: a file of 16 or 32 does not say how many of its own it uses.

Each more of them would be one more limit at which two pictures of one data set are scaled apart; greys of 10 or 14 bits
keep 64 levels or more as they are.
"""

Picture = Image.Image

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of each EXIF orientation upright. Pillow's exif_transpose also writes all of the EXIF anew, and
fails where a single value of it is odd."""
_ON_ITS_SIDE = {_TURNS[number] for number in (5, 6, 7, 8)}
_SAYING_ORIENTATION = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")


def read(source: str | Path | Picture | np.ndarray) -> Picture:
    """Give a picture in mode L or RGB, upright, from a path, a PIL picture or an array.

    Arrays are H×W, H×W×1, H×W×3 or H×W×4; uint8 from 0 to 255 or floating point from 0 to 1, as pictures of mode F
    are. Transparency is laid on white, CMYK and palettes become RGB, the EXIF rotation is applied. Greys of 16 and 32
    bits are scaled to 8 from the fewest bits of DEPTHS that hold the largest of them: in every picture whose largest is
    from 256 to 4095, 4095 is white. Raises InputError that names the file and what is wrong.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if not isinstance(source, str | Path | Image.Image):
        raise InputError(f"expected a path, a PIL image or an array, found {type(source).__name__}")
    try:
        if isinstance(source, Image.Image):  # it may be a file that is yet to be decoded
            path = Path(getattr(source, "filename", "") or "the picture")
            return _plain(source)
        path = Path(source)
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise InputError(f"{width}×{height} pixels; at most {MAX_PIXELS:,} are read", hint=TOO_LARGE)
            return _plain(picture)
    except InputError as problem:
        raise InputError(f"{path}: {problem.message}", hint=problem.hint) from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{if_url(path)}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: expected a picture, found a folder") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: expected a picture, found {unidentified(path)}") from None
    except Image.DecompressionBombError as problem:
        raise InputError(f"{path}: {problem}") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        MemoryError,
    ) as problem:  # what Pillow's decoders raise
        raise InputError(f"{path}: the picture cannot be decoded: {problem}") from problem


def unidentified(path: Path) -> str:
    """Say what a file is that Pillow does not know as one of FORMATS, such as "an empty file". Raises OSError."""
    size = path.stat().st_size
    form = form_of(path)
    if form is not None:
        return f"a {form} of a form that cannot be read, or a damaged one"
    return "an empty file" if size == 0 else f"{size:,} bytes that are none of {', '.join(FORMATS)}"


def form_of(path: Path) -> str | None:
    """Give the one of FORMATS that a file begins as, whether or not the rest can be read. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(16)
    Image.init()
    known = ((name, Image.OPEN[name][1]) for name in FORMATS if name in Image.OPEN)
    return next((name for name, begins in known if begins is not None and begins(head)), None)


def _from_array(array: np.ndarray) -> Picture:
    shape = array.shape
    if len(shape) == 3 and shape[2] == 1:
        array = array[:, :, 0]
    if 0 in shape or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(f"expected an array of H×W, H×W×1, H×W×3 or H×W×4, found shape {shape}")
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):  # false for NaN too
            raise InputError(f"expected a floating-point picture within 0 and 1, found {low:g} to {high:g}")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise InputError(f"expected uint8 or floating-point pixels, found {array.dtype}")
    return _plain(Image.fromarray(np.ascontiguousarray(array)))


def _plain(picture: Picture) -> Picture:
    """Give the picture upright and in mode L or RGB."""
    if 0 in picture.size:
        raise InputError(f"expected pixels, found a picture of {picture.width}×{picture.height}")
    load(picture)
    turn = _TURNS.get(orientation(picture))
    plain = _grey_or_colour(picture)
    if turn is None:
        return plain
    turned = plain.transpose(turn)
    for name in _SAYING_ORIENTATION:  # else whoever reads the result would turn it again
        turned.info.pop(name, None)
    return turned


def load(picture: Picture) -> None:
    """Decode a picture that may be an open file. A TIFF turns itself then, and forgets how it was to be turned."""
    if not isinstance(picture, TiffImageFile):
        picture.load()
        return
    name, picture.filename = picture.filename, ""
    # From a file with a name Pillow maps uncompressed rows into memory, and takes them to be as long as they are once
    # turned: what comes out is askew.
    try:
        picture.load()
    finally:
        picture.filename = name


def upright_size(picture: Picture) -> tuple[int, int]:
    """Give (width, height) of a picture as `read` gives it, for which nothing is decoded."""
    width, height = picture.size
    if _TURNS.get(orientation(picture)) not in _ON_ITS_SIDE:
        return width, height
    if isinstance(picture, TiffImageFile):  # whose size some versions of Pillow turn already
        width, height = picture.tag_v2[IMAGEWIDTH], picture.tag_v2[IMAGELENGTH]
    return height, width


def orientation(picture: Picture) -> int:
    """Give the EXIF orientation, 2 to 8 for one that is to be turned; 1 where nothing that can be read says it.

    Of EXIF no more is read than this: what cameras and editors write there is often wrong, and never about the pixels.
    """
    try:
        found = picture.getexif().get(0x0112)
    except (SyntaxError, ValueError, struct.error):  # what Pillow raises for what is no EXIF
        return 1
    return found if isinstance(found, int) else 1


def _grey_or_colour(picture: Picture) -> Picture:
    """Give a picture of its own in mode L or RGB."""
    if picture.mode == "F":
        return _from_array(np.asarray(picture))
    if picture.mode.startswith("I"):
        return _from_integers(np.asarray(picture))
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if picture.mode in ("L", "RGB"):
        return picture.copy()
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _from_integers(array: np.ndarray) -> Picture:
    """Take what Pillow would clip to 8 bits where a viewer scales it, by the least of DEPTHS that holds all of it."""
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise InputError(f"expected whole numbers from 0 to 65535 as pixels, found {low} to {high}")
    depth = next(depth for depth in DEPTHS if high < 1 << depth)
    return Image.fromarray((array >> (depth - DEPTHS[0])).astype(np.uint8))


# ---- fixed steps ----


def grayscale(picture: Picture) -> Picture:
    """Give the luma (ITU-R 601) of the picture."""
    return picture.convert("L")


def rgb(picture: Picture) -> Picture:
    """Give three channels, the same three times for a grey picture."""
    return picture.convert("RGB")


def resize(
    picture: Picture, *, size: int | None = None, short: int | None = None, long: int | None = None
) -> Picture:
    """Give the picture at size×size, or with its short or its long side that many pixels (aspect kept)."""
    if (size is not None) + (short is not None) + (long is not None) != 1:
        raise ValueError("resize takes one of size, short and long")
    if size is not None:
        wanted = (size, size)
    else:
        scale = short / min(picture.size) if short is not None else long / max(picture.size)  # type: ignore[operator]
        wanted = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    _require_room(picture, *wanted)
    return picture if picture.size == wanted else picture.resize(wanted, Image.Resampling.BILINEAR)


def center_crop(picture: Picture, *, size: int) -> Picture:
    """Give the size×size middle of the picture, which is enlarged first when it is smaller."""
    if min(picture.size) < size:
        picture = resize(picture, short=size)
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return picture.crop((left, top, left + size, top + size))


def pad_square(picture: Picture) -> Picture:
    """Give a square picture: the shorter side is padded evenly with the median colour of the border."""
    if picture.width == picture.height:
        return picture
    side = max(picture.size)
    _require_room(picture, side, side)
    square = Image.new(picture.mode, (side, side), _border_colour(picture))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def _require_room(picture: Picture, width: int, height: int) -> None:
    """Refuse a long thin picture of few pixels that would become one of more than are read."""
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{picture.width}×{picture.height} pixels would become {width}×{height}; at most {MAX_PIXELS:,} are taken"
        )


def invert_light_background(picture: Picture) -> Picture:
    """Give ink that is lighter than its ground: inverts a picture whose border is brighter than its mean."""
    grey = np.asarray(picture.convert("L"))
    return ImageChops.invert(picture) if np.median(_border(grey)) > grey.mean() else picture


def autocontrast(picture: Picture, *, cutoff: float = 0.0) -> Picture:
    """Give the picture stretched so that its darkest and lightest pixels (less cutoff %) are black and white."""
    return ImageOps.autocontrast(picture, cutoff=cutoff)


def _border(grey: np.ndarray) -> np.ndarray:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _border_colour(picture: Picture) -> Any:
    array = np.asarray(picture)
    colour = np.median(_border(array), axis=0).astype(int)
    return int(colour) if array.ndim == 2 else tuple(int(value) for value in colour)


# ---- random steps: used while training, never while predicting ----


def random_affine(
    picture: Picture,
    rng: np.random.Generator,
    *,
    degrees: float = 0.0,
    translate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
) -> Picture:
    """Give the picture rotated by up to ±degrees, moved by up to ±translate of its side, scaled by 1 ± scale and
    sheared by up to ±shear degrees, all uniform; what comes in from outside has the border's colour."""
    angle, slant = (math.radians(rng.uniform(-limit, limit)) for limit in (degrees, shear))
    zoom = 1 + rng.uniform(-scale, scale)
    shift_x, shift_y = (rng.uniform(-translate, translate) * side for side in picture.size)
    # PIL wants the map from output to input pixels: the inverse, around the centre.
    cos, sin, tan = math.cos(angle) / zoom, math.sin(angle) / zoom, math.tan(slant)
    a, b, d, e = cos, sin + cos * tan, -sin, cos - sin * tan
    centre_x, centre_y = picture.width / 2, picture.height / 2
    c = centre_x - a * (centre_x + shift_x) - b * (centre_y + shift_y)
    f = centre_y - d * (centre_x + shift_x) - e * (centre_y + shift_y)
    return picture.transform(
        picture.size,
        Image.Transform.AFFINE,
        (a, b, c, d, e, f),
        Image.Resampling.BILINEAR,
        fillcolor=_border_colour(picture),
    )


def random_flip(picture: Picture, rng: np.random.Generator, *, probability: float = 0.5) -> Picture:
    """Give the picture mirrored left to right with this probability."""
    return ImageOps.mirror(picture) if rng.random() < probability else picture


def random_resized_crop(picture: Picture, rng: np.random.Generator, *, scale: float = 0.6) -> Picture:
    """Give a random part of at least `scale` of the area, aspect 3:4 to 4:3, at the size of the whole.

    After Szegedy et al. 2015 (https://arxiv.org/abs/1409.4842), section 6.
    """
    width, height = picture.size
    area = rng.uniform(scale, 1.0) * width * height
    aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
    w, h = min(width, round(math.sqrt(area * aspect))), min(height, round(math.sqrt(area / aspect)))
    left, top = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
    box = (int(left), int(top), int(left) + w, int(top) + h)
    return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)


def random_brightness(
    picture: Picture, rng: np.random.Generator, *, brightness: float = 0.2, contrast: float = 0.2
) -> Picture:
    """Give the picture with its contrast times 1 ± contrast and its brightness moved by up to ±brightness."""
    gain, shift = 1 + rng.uniform(-contrast, contrast), 255 * rng.uniform(-brightness, brightness)
    table = (np.arange(256) - 127.5) * gain + 127.5 + shift
    return picture.point([int(value) for value in table.clip(0, 255)] * len(picture.getbands()))


def random_blur(picture: Picture, rng: np.random.Generator, *, radius: float = 1.0) -> Picture:
    """Give the picture blurred by a Gaussian of a random radius from 0 up to `radius` pixels."""
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, radius)))


STEPS: Mapping[str, Callable[..., Picture]] = {
    step.__name__: step
    for step in (grayscale, rgb, resize, center_crop, pad_square, invert_light_background, autocontrast)
}
RANDOM_STEPS: Mapping[str, Callable[..., Picture]] = {
    step.__name__: step
    for step in (random_affine, random_flip, random_resized_crop, random_brightness, random_blur)
}
MAX_SIDE = 4096
"""Of what `resize` and `center_crop` make."""
BOUNDS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "resize": {"size": (1, MAX_SIDE), "short": (1, MAX_SIDE), "long": (1, MAX_SIDE)},
    "center_crop": {"size": (1, MAX_SIDE)},
    "autocontrast": {"cutoff": (0.0, 49.0)},
    "random_affine": {
        "degrees": (0.0, 360.0), "translate": (0.0, 1.0), "scale": (0.0, 0.9), "shear": (0.0, 80.0)
    },
    "random_flip": {"probability": (0.0, 1.0)},
    "random_resized_crop": {"scale": (0.01, 1.0)},
    "random_brightness": {"brightness": (0.0, 1.0), "contrast": (0.0, 1.0)},
    "random_blur": {"radius": (0.0, 100.0)},
}  # fmt: skip
"""The least and the most of each argument of a step; whole numbers where both are."""
