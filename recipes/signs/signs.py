"""Pictures with masks to learn from: printed signs on textures and on crops of a photograph.

The source is letters, arrows, stars, chess pieces and other signs from the fonts that matplotlib ships, in any colour,
on drawn textures and on recoloured crops of scikit-learn's china.jpg. The target is scikit-learn's handwritten digits
on its flower.jpg. They share ink on busy grounds, and no character, no typeface and no photograph.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from sklearn.datasets import load_digits, load_sample_image

SIDE = 48
FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "STIXGeneral",
    "STIXGeneralItalic",
)
"""Typefaces of the letters; the other signs are those of the first."""

KINDS = (
    "AEGHKMRSTWXYaegkmrw",
    "←↑→↓↔↖↗↘↙➔➘➚➜➤➡⇐⇒⇧⇩➳➵",
    "★☆✦✧✩✫✭✯✰✴✶✷✸✹✽✾✿❀❁❃❇❉❋❄❅❆",
    "♔♕♖♗♘♙♚♛♜♝♞♟♠♡♢♣♤♥♦♧❤",
    "●○◉◎◐◒◔◕■□▲△◆◇▶◀▼◢◣",
    "✕✖✗✘✚✝✠♩♪♫♬♭♯♈♉♊♋♌♍♎♏♐♑♒♓♀♂♃♄♅♆♇✂✄✎✏✐✒⚒⚓⚔⚙⚖",
)
"""Letters, arrows, stars and flowers, pieces of games, shapes, other symbols: each is drawn as often as any other."""
LABELS = ("ground", "sign")
_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
Scene = tuple[np.ndarray, np.ndarray]
Part = Literal["train", "test"]


def source(rng: np.random.Generator) -> Scene:
    """Give a picture, uint8 [SIDE, SIDE, 3], with one to three signs, and uint8 [SIDE, SIDE] of numbers in LABELS."""
    picture = _recoloured(_photo("china.jpg", rng), rng) if rng.random() < 0.5 else _texture(rng)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        ink = _sign(int(rng.integers(len(KINDS))), rng)
        picture = _painted(picture, ink, rng)
        mask[ink > 0.5] = 1
    return _grained(picture, rng), mask


def target(rng: np.random.Generator, part: Part) -> Scene:
    """Give a picture with one handwritten digit, and a mask of 0 (ground) and 1 (ink).

    "train" has the first 900 digits on the left half of the photograph, "test" the others on the right half.
    """
    digits = handwritten()
    digits = digits[:900] if part == "train" else digits[900:]
    digit = digits[int(rng.integers(len(digits)))]
    size = int(rng.integers(24, 41))
    small = Image.fromarray((digit / 16 * 255).astype(np.uint8))
    canvas = Image.new("L", (SIDE, SIDE))
    left, top = (int(v) for v in rng.integers(0, SIDE - size + 1, 2))
    canvas.paste(small.resize((size, size), Image.Resampling.BICUBIC), (left, top))
    ink = ((np.asarray(canvas, np.float64) / 255 - 0.35) / 0.3).clip(0, 1)
    ground = _photo("flower.jpg", rng, columns=(0.0, 0.5) if part == "train" else (0.5, 1.0))
    return _grained(_painted(ground, ink, rng), rng), (ink > 0.5).astype(np.uint8)


@cache
def handwritten() -> np.ndarray:
    """Give the handwritten digits [N, 8, 8], from 0 to 16."""
    return np.asarray(load_digits().images)


@cache
def _sample(name: str) -> np.ndarray:
    return np.asarray(load_sample_image(name))


def _photo(name: str, rng: np.random.Generator, *, columns: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """Give a crop from between two shares of the photograph's width, float64 [SIDE, SIDE, 3]."""
    whole = _sample(name)
    left, right = (round(share * whole.shape[1]) for share in columns)
    photo = whole[:, left:right]
    side = int(rng.integers(SIDE, 4 * SIDE))
    y, x = (int(rng.integers(0, size - side + 1)) for size in photo.shape[:2])
    crop = Image.fromarray(np.ascontiguousarray(photo[y : y + side, x : x + side]))
    return np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64)


def _recoloured(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give the picture in other colours, darker or flatter: of one photograph, its colours would be learnt by heart."""
    channels = picture[..., rng.permutation(3)] / 255
    if rng.random() < 0.5:
        channels = 1 - channels
    tinted = channels ** rng.uniform(0.5, 2.5, 3) * rng.uniform(0.3, 1, 3) + rng.uniform(0, 0.3, 3)
    return tinted.clip(0, 1) * 255


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Give smooth noise of a random scale, bent stripes, or both, through three colours."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    scales = (3, 6, 12, 24)[int(rng.integers(0, 3)) :]
    field = np.sum([_noise(rng, cells) / (n + 1) for n, cells in enumerate(scales)], axis=0)
    if rng.random() < 0.5:
        angle = rng.uniform(0, np.pi)
        across = x * np.cos(angle) + y * np.sin(angle) + rng.uniform(0, 0.6) * _noise(rng, 4)
        field = field + rng.uniform(0.5, 2) * np.sin(2 * np.pi * rng.uniform(2, 12) * across)
    field = (field - field.min()) / (np.ptp(field) + 1e-9)
    colours = rng.uniform(0, 255, (3, 3))
    share = field[..., None] * 2
    low = colours[0] * (1 - share) + colours[1] * share
    high = colours[1] * (2 - share) + colours[2] * (share - 1)
    return np.where(share < 1, low, high)


def _noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    small = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)


def _sign(kind: int, rng: np.random.Generator) -> np.ndarray:
    """Give the coverage of each pixel, float from 0 to 1, by a turned, moved, thickened sign."""
    big = 3 * SIDE
    face = FACES[int(rng.integers(len(FACES)))] if kind == 0 else FACES[0]
    sign = KINDS[kind][int(rng.integers(len(KINDS[kind])))]
    canvas = Image.new("L", (big, big))
    middle = tuple(rng.uniform(0.25, 0.75, 2) * big)
    font = _font(face, int(rng.integers(60, 140)))
    ImageDraw.Draw(canvas).text(middle, sign, 255, font, anchor="mm", stroke_width=int(rng.integers(0, 4)))
    canvas = canvas.rotate(rng.uniform(-25, 25), Image.Resampling.BILINEAR, center=middle)
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64) / 255


@cache
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_FONTS / f"{face}.ttf", size)


def _painted(ground: np.ndarray, ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give the ground with ink of a colour that is not that of what it covers, a little uneven."""
    under = ground[ink > 0.5].mean(axis=0) if (ink > 0.5).any() else ground.mean(axis=(0, 1))
    colour = rng.uniform(0, 255, 3)
    while np.abs(colour - under).max() < 70:
        colour = rng.uniform(0, 255, 3)
    paint = colour + rng.uniform(0, 15) * _noise(rng, 6)[..., None]
    share = ink[..., None] * rng.uniform(0.75, 1)
    return ground * (1 - share) + paint * share


def _grained(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noisy = picture + rng.normal(0, rng.uniform(0, 8), picture.shape)
    pixels = Image.fromarray(np.rint(noisy.clip(0, 255)).astype(np.uint8))
    return np.asarray(pixels.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.6))))
