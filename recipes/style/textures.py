"""Textures to learn styles from: strokes, dots, stripes, tiles, waves, marble and more, in colours drawn with them.

Nothing in them is taken from a picture. `KINDS` are the classes that the encoder learns to tell apart before it
measures styles; a kind is known by its texture, never by its colours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 48
Palette = np.ndarray


def texture(kind: str, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Give uint8 [side, side, 3] of a kind."""
    palette = _palette(rng)
    pixels = KINDS[kind](rng, side, palette)
    grain = rng.normal(0, rng.uniform(0, 6), (side, side, 1))
    return np.rint((pixels + grain).clip(0, 255)).astype(np.uint8)


def _palette(rng: np.random.Generator) -> Palette:
    """Give four colours, float [4, 3] from 0 to 255, that are not all alike."""
    return rng.uniform(0, 255, (1, 3)) * 0.4 + rng.uniform(0, 255, (4, 3)) * 0.6


def _noise(rng: np.random.Generator, side: int, cells: int) -> np.ndarray:
    small = rng.random((cells + 2, cells + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


def _levels(field: np.ndarray, palette: Palette) -> np.ndarray:
    """Give colours for a field from 0 to 1: flat steps through the palette."""
    return palette[(field.clip(0, 0.999) * len(palette)).astype(int)]


def _blend(field: np.ndarray, palette: Palette) -> np.ndarray:
    share = field.clip(0, 1)[..., None]
    return palette[0] * (1 - share) + palette[1] * share


def _wave(rng: np.random.Generator, side: int, *, bend: float) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side] / side
    angle = rng.uniform(0, np.pi)
    across = x * np.cos(angle) + y * np.sin(angle) + bend * _noise(rng, side, 4)
    return 0.5 + 0.5 * np.sin(2 * np.pi * across * rng.uniform(5, 14) * side / 64)


def _drawn(
    rng: np.random.Generator,
    side: int,
    palette: Palette,
    draw: Callable[[ImageDraw.ImageDraw, str], None],
    count: int,
) -> np.ndarray:
    picture = Image.new("RGB", (side, side), _css(palette[0]))
    pen = ImageDraw.Draw(picture)
    for _ in range(count * side * side // (64 * 64)):
        draw(pen, _css(palette[rng.integers(1, len(palette))] + rng.normal(0, 12, 3)))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.5)), np.float64)


def _css(colour: np.ndarray) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in colour.clip(0, 255))


def _stripes(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    return _levels(_wave(rng, side, bend=0), palette[:2])


def _waves(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    return _blend(_wave(rng, side, bend=0.5), palette)


def _marble(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    return _blend(np.abs(2 * _wave(rng, side, bend=1.5) - 1) ** 0.5, palette)


def _plaid(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    return (_blend(_wave(rng, side, bend=0), palette[:2]) + _blend(_wave(rng, side, bend=0), palette[2:])) / 2


def _blots(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    return _levels(_noise(rng, side, int(rng.integers(8, 16)) * side // 64), palette)


def _clouds(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    return _blend(sum(_noise(rng, side, 4 * 2**n * side // 64) / 2**n for n in range(4)) / 1.9, palette)


def _speckles(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    return _levels(rng.random((side, side)), palette)


def _dots(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    def draw(pen: ImageDraw.ImageDraw, colour: str) -> None:
        x, y, radius = *rng.uniform(0, side, 2), rng.uniform(1.5, 4)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), colour)

    return _drawn(rng, side, palette, draw, 110)


def _strokes(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    angle = rng.uniform(0, np.pi)

    def draw(pen: ImageDraw.ImageDraw, colour: str) -> None:
        x, y, turn = *rng.uniform(0, side, 2), angle + rng.normal(0, 0.4)
        length = rng.uniform(5, 14)
        pen.line(
            (x, y, x + length * np.cos(turn), y + length * np.sin(turn)),
            colour,
            width=int(rng.integers(1, 4)),
        )

    return _drawn(rng, side, palette, draw, 220)


def _curls(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    def draw(pen: ImageDraw.ImageDraw, colour: str) -> None:
        x, y, radius, start = *rng.uniform(0, side, 2), rng.uniform(3, 9), rng.uniform(0, 360)
        pen.arc((x - radius, y - radius, x + radius, y + radius), start, start + 220, colour, width=2)

    return _drawn(rng, side, palette, draw, 90)


def _shards(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    def draw(pen: ImageDraw.ImageDraw, colour: str) -> None:
        middle = rng.uniform(0, side, 2)
        pen.polygon([tuple(middle + rng.normal(0, 7, 2)) for _ in range(3)], colour)

    return _drawn(rng, side, palette, draw, 90)


def _tiles(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    size = int(rng.integers(4, 11))
    y, x = np.mgrid[0:side, 0:side]
    cells = rng.integers(1, len(palette), (side // size + 1, side // size + 1))
    joint = (y % size == 0) | (x % size == 0)
    return np.where(joint[..., None], palette[0], palette[cells[y // size, x // size]])


def _weave(rng: np.random.Generator, side: int, palette: Palette) -> np.ndarray:
    size = int(rng.integers(4, 9))
    y, x = np.mgrid[0:side, 0:side]
    over = (y // size + x // size) % 2 == 0
    shade = np.where(over, np.sin(np.pi * (x % size) / size), np.sin(np.pi * (y % size) / size))[..., None]
    return np.where(over[..., None], palette[0], palette[1]) * (0.4 + 0.6 * shade)


KINDS: dict[str, Callable[[np.random.Generator, int, Palette], np.ndarray]] = {
    "stripes": _stripes, "waves": _waves, "marble": _marble, "plaid": _plaid, "blots": _blots, "clouds": _clouds,
    "speckles": _speckles, "dots": _dots, "strokes": _strokes, "curls": _curls, "shards": _shards, "tiles": _tiles,
    "weave": _weave,
}  # fmt: skip
