"""Pictures of letters: which letters and fonts there are, and how one glyph becomes many pictures.

Fonts are the DejaVu and STIX faces that matplotlib ships, so the same pictures come out on every machine. A glyph
is kept as a signed distance field (positive inside the ink): position, stroke width and softness of a picture
are then one look-up in it. All randomness comes from the generator that the caller passes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # comes with matplotlib
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt  # comes with scikit-learn

Floats = NDArray[np.floating[Any]]

SIDE = 32  # pixels of a picture
FIELD = 48  # pixels of a distance field
INK = 36  # the longer side of the glyph in it; the rest is margin
STEPS = 16  # a field is stored in 1/STEPS field pixels

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SOURCE_FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
)
TARGET_FACES = (
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "DejaVuSans-BoldOblique",
)
"""Faces for measuring transfer: pretraining never sees them."""

TARGET_LETTERS = tuple(map(chr, (*range(0x531, 0x557), *range(0x561, 0x587), *range(0x10D0, 0x10F1))))
"""38 Armenian capitals, 38 Armenian small letters and 33 Georgian letters, for measuring transfer."""

HELD_OUT_SCRIPTS = ("ARMENIAN", "GEORGIAN")
DRAWN_AS_DIGITS = ("TONE TWO", "TONE FIVE", "TWO WITH STROKE")  # Ƨ Ƽ ƻ: letters by name, digits by look
LEAST_FACES = 7
"""A letter is used when at least this many faces draw it: otherwise the font would give the letter away."""


@dataclass(frozen=True)
class Warp:
    """How far pictures of one glyph differ: each value is drawn uniformly per picture, lengths in pixels."""

    degrees: float = 15.0
    shear: float = 0.3
    aspect: float = 0.25  # height over width, as ± a natural logarithm
    scale: tuple[float, float] = (0.62, 1.02)  # longer side of the ink, as a share of the picture
    shift: float = 0.5  # as a share of the free room
    bend: float = 0.07  # deviation of a smooth random displacement, as a share of half the picture
    stroke: tuple[float, float] = (-0.4, 2.2)  # added on both sides of every stroke
    unevenness: float = 0.4  # deviation of a smooth random change of the stroke
    softness: tuple[float, float] = (0.6, 1.6)  # width of the edge between ink and ground
    resolution: int = 7  # 60 % of the pictures go through a grid of this to SIDE pixels
    contrast: float = 0.5  # the least
    ground: float = 0.25  # the brightest corner of an uneven ground, in half of the pictures
    noise: float = 0.12  # the largest deviation


SOURCE_WARP = Warp()
TARGET_WARP = Warp(
    degrees=10.0, shear=0.2, aspect=0.15, scale=(0.7, 1.0), bend=0.05, stroke=(-0.3, 1.2), unevenness=0.2,
    softness=(0.6, 1.4), resolution=12, contrast=0.6, ground=0.2,
)  # fmt: skip


@dataclass(frozen=True)
class Glyphs:
    """Distance fields, int8 [N, FIELD, FIELD]; the letter of each as a place in `letters`; the face of each."""

    fields: NDArray[np.int8]
    targets: NDArray[np.int64]
    letters: tuple[str, ...]
    faces: tuple[str, ...]


def source_glyphs() -> Glyphs:
    """Give every glyph that pretraining uses: letters of the source faces, none of the held-out scripts, no digit.

    A letter with a decomposition (é, Ǆ) is left out: its base letter is there. So is one that looks the same as
    an earlier one in any of its faces (Latin A, Greek Α): the two could not be told apart.
    """
    drawn_by: dict[str, list[str]] = {}
    for face in SOURCE_FACES:
        for code in TTFont(FONTS / f"{face}.ttf").getBestCmap():
            if _is_source_letter(chr(code)):
                drawn_by.setdefault(chr(code), []).append(face)
    return _draw_all(
        {letter: faces for letter, faces in sorted(drawn_by.items()) if len(faces) >= LEAST_FACES}
    )


def target_glyphs() -> Glyphs:
    """Give the letters of the held-out scripts in the held-out faces."""
    return _draw_all(dict.fromkeys(TARGET_LETTERS, TARGET_FACES))


def _is_source_letter(letter: str) -> bool:
    name = unicodedata.name(letter, "")
    return (
        unicodedata.category(letter) in ("Lu", "Ll", "Lo")
        and not unicodedata.decomposition(letter)
        and not name.startswith(HELD_OUT_SCRIPTS)
        and not any(word in name for word in DRAWN_AS_DIGITS)
    )


def _draw_all(faces_of: Mapping[str, Iterable[str]]) -> Glyphs:
    letters: list[str] = []
    rows: list[tuple[NDArray[np.int8], int, str]] = []
    seen: set[tuple[str, bytes]] = set()
    for letter, faces in faces_of.items():
        drawn = {face: draw(letter, face) for face in faces}
        looks = {(face, field.tobytes()) for face, field in drawn.items()}
        if looks & seen:
            continue
        seen |= looks
        rows += [(field, len(letters), face) for face, field in drawn.items()]
        letters.append(letter)
    fields, targets, used = zip(*rows, strict=True)
    return Glyphs(np.stack(fields), np.array(targets), tuple(letters), used)


def draw(letter: str, face: str) -> NDArray[np.int8]:
    """Give the distance field of a letter in a face, its longer side INK field pixels, in the middle."""
    left, top, right, bottom = _font(face, 100.0).getbbox(letter)
    size = 100.0 * 2 * INK / max(right - left, bottom - top)
    font = _font(face, size)
    left, top, right, bottom = font.getbbox(letter)
    canvas = Image.new("L", (2 * FIELD, 2 * FIELD))
    middle = (FIELD - (left + right) / 2, FIELD - (top + bottom) / 2)
    ImageDraw.Draw(canvas).text(middle, letter, fill=255, font=font)
    ink = np.asarray(canvas) > 127
    distance = distance_transform_edt(ink) - distance_transform_edt(~ink)
    distance = distance.reshape(FIELD, 2, FIELD, 2).mean(axis=(1, 3)) / 2
    return np.rint(STEPS * distance).clip(-127, 127).astype(np.int8)


def _font(face: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / f"{face}.ttf", size, layout_engine=ImageFont.Layout.BASIC)


def pictures(fields: NDArray[np.int8], rng: np.random.Generator, warp: Warp) -> NDArray[np.uint8]:
    """Give one random picture [N, SIDE, SIDE] for each field, ink lighter than the ground."""
    count = len(fields)

    def uniform(low: float, high: float, *shape: int) -> Floats:
        """One number a picture, which broadcasts over its pixels."""
        return rng.uniform(low, high, (count, *(shape or (1, 1)))).astype(np.float32)

    def smooth(deviation: float) -> Floats:
        knots = rng.normal(0, deviation, (count, 4, 4)).astype(np.float32)
        return np.einsum("ia,nab,jb->nij", _cubic(4), knots, _cubic(4))

    scale = uniform(*warp.scale)
    distance = _look_up(fields, *_positions(uniform, smooth, scale, warp))
    distance *= scale * (SIDE / INK)  # from field pixels to picture pixels
    distance += uniform(*warp.stroke) + smooth(warp.unevenness)
    ink = (0.5 + distance / uniform(*warp.softness)).clip(0, 1)

    uneven = uniform(0, warp.ground, 2, 2) * (uniform(0, 1) < 0.5)
    ground = np.einsum("ia,nab,jb->nij", _cubic(2), uneven, _cubic(2))
    light = ground + (1 - ground) * ink * uniform(warp.contrast, 1)
    sides = np.where(rng.random(count) < 0.6, rng.integers(warp.resolution, SIDE + 1, count), SIDE)
    blur = np.stack([_through_grid(int(side)) for side in sides])
    light = blur @ light @ blur.transpose(0, 2, 1)
    light += uniform(0, warp.noise) * rng.normal(size=light.shape).astype(np.float32)
    return np.rint(255 * light.clip(0, 1)).astype(np.uint8)


def _positions(
    uniform: Callable[..., Floats],
    smooth: Callable[[float], Floats],
    scale: Floats,
    warp: Warp,
) -> tuple[Floats, Floats]:
    """Give for every pixel of every picture its place (x, y) in the field, in field pixels."""
    turn = np.deg2rad(uniform(-warp.degrees, warp.degrees))
    slant = uniform(-warp.shear, warp.shear)
    stretch = np.exp(uniform(-warp.aspect, warp.aspect) / 2)
    room = warp.shift * np.maximum(0.08, 1 - scale)
    axis = (np.arange(SIDE, dtype=np.float32) + 0.5) * 2 / SIDE - 1  # -1 to 1 across the picture
    x = axis[None, None, :] - room * uniform(-1, 1) + smooth(warp.bend)
    y = axis[None, :, None] - room * uniform(-1, 1) + smooth(warp.bend)
    cos, sin = np.cos(turn), np.sin(turn)
    zoom = INK / FIELD / scale
    x, y = (
        (cos * x + (sin + slant * cos) * y) * zoom / stretch,
        (-sin * x + (cos - slant * sin) * y) * zoom * stretch,
    )
    half = np.float32(FIELD / 2)
    return (x + 1) * half - 0.5, (y + 1) * half - 0.5


def _look_up(fields: NDArray[np.int8], x: Floats, y: Floats) -> Floats:
    """Give the fields' distances, in field pixels, between their pixels by bilinear interpolation."""
    x, y = x.clip(0, FIELD - 1.001), y.clip(0, FIELD - 1.001)
    column, row = x.astype(np.int64), y.astype(np.int64)
    right, down = x - column, y - row
    flat = fields.reshape(-1)
    corner = np.arange(len(fields))[:, None, None] * FIELD**2 + row * FIELD + column
    upper = flat[corner] * (1 - right) + flat[corner + 1] * right
    lower = flat[corner + FIELD] * (1 - right) + flat[corner + FIELD + 1] * right
    return ((upper * (1 - down) + lower * down) / STEPS).astype(np.float32)


@cache
def _cubic(knots: int) -> Floats:
    """Give the matrix [SIDE, knots] that puts a smooth curve through so many values."""
    rows = (Image.fromarray(row[None]) for row in np.eye(knots, dtype=np.float32))
    return np.stack([np.asarray(row.resize((SIDE, 1), Image.Resampling.BICUBIC))[0] for row in rows], axis=1)


@cache
def _through_grid(side: int) -> Floats:
    """Give the matrix [SIDE, SIDE] that averages SIDE pixels into `side` and interpolates them back."""
    rows = (Image.fromarray(row[None]) for row in np.eye(SIDE, dtype=np.float32))
    small = (row.resize((side, 1), Image.Resampling.BOX) for row in rows)
    back = (row.resize((SIDE, 1), Image.Resampling.BILINEAR) for row in small)
    return np.stack([np.asarray(row)[0] for row in back], axis=1)


def target_pictures(
    *, per_letter: int = 40, seed: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.int64], Sequence[str]]:
    """Give (pictures, targets, letters): the benchmark for letters of scripts and faces never seen in pretraining."""
    glyphs, rng = target_glyphs(), np.random.default_rng(seed)
    own = [np.flatnonzero(glyphs.targets == number) for number in range(len(glyphs.letters))]
    chosen = np.concatenate([rng.choice(places, per_letter) for places in own])
    return pictures(glyphs.fields[chosen], rng, TARGET_WARP), glyphs.targets[chosen], glyphs.letters
