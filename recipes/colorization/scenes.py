"""Coloured scenes whose colours follow from their shapes and textures: skies, hills, grass, water, flowers, walls.

Nothing in them is taken from a photograph. Shapes and textures say what a thing is, and what it is says its colour, as
far as colour can be known: leaves are some green, a petal is any of a flower's colours but all petals of one flower
are alike.
"""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image

SIDE = 48

PETALS = ((0.0, 0.85), (0.03, 0.9), (0.08, 0.95), (0.14, 0.9), (0.92, 0.55), (0.8, 0.5))
"""Hue and saturation of flowers: red, scarlet, orange, yellow, pink, mauve."""


def scene(rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Give uint8 [side, side, 3]: a landscape, or a flower close by."""
    picture = _flower(rng, side) if rng.random() < 0.5 else _landscape(rng, side)
    light = rng.uniform(0.75, 1.15)
    grain = rng.normal(0, rng.uniform(0, 5), (side, side, 1))
    return np.rint((picture * 255 * light + grain).clip(0, 255)).astype(np.uint8)


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1)))


def _noise(rng: np.random.Generator, side: int, cells: int, *, stretch: int = 1) -> np.ndarray:
    """Give smooth noise from 0 to 1 with about `cells` bumps across, `stretch` times as wide as high."""
    small = rng.random((max(2, cells), max(2, cells // stretch))).astype(np.float32)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)).clip(0, 1)


def _textured(rng: np.random.Generator, colour: np.ndarray, texture: np.ndarray, depth: float) -> np.ndarray:
    return colour * (1 - depth + 2 * depth * texture[..., None])


def _leaves(rng: np.random.Generator, side: int) -> np.ndarray:
    """Give foliage: blotches, some blurred as out of focus, in dark greens."""
    cells = int(rng.integers(3, 20))
    texture = 0.6 * _noise(rng, side, cells) + 0.4 * _noise(rng, side, cells * 2)
    colour = _colour(rng.uniform(0.22, 0.38), rng.uniform(0.35, 0.8), rng.uniform(0.2, 0.6))
    return _textured(rng, colour, texture, rng.uniform(0.3, 0.8))


def _flower(rng: np.random.Generator, side: int) -> np.ndarray:
    picture = _leaves(rng, side)
    for _ in range(int(rng.integers(1, 4))):
        picture = _with_bloom(rng, picture, side)
    return picture


def _with_bloom(rng: np.random.Generator, picture: np.ndarray, side: int) -> np.ndarray:
    x0, y0 = rng.uniform(0, side, 2)
    radius = rng.uniform(0.15, 0.9) * side
    y, x = np.mgrid[0:side, 0:side]
    far = np.hypot(x - x0, (y - y0) * rng.uniform(0.8, 1.4)) / radius
    angle = np.arctan2(y - y0, x - x0)
    petals = int(rng.integers(5, 22))
    rows = rng.uniform(1, 4)
    # Petals are lobes around the middle; every ring of them is turned against the next.
    lobe = np.cos(petals * angle + np.pi * np.floor(far * rows) + rng.uniform(0, 6))
    edge = 0.8 + 0.2 * lobe
    hue, saturation = PETALS[rng.integers(len(PETALS))]
    shade = 0.45 + 0.4 * np.abs(lobe) + 0.3 * ((far * rows) % 1)
    colour = _colour(hue + rng.normal(0, 0.015), saturation + rng.normal(0, 0.08), rng.uniform(0.7, 1.0))
    bloom = colour * shade[..., None].clip(0, 1.1)
    heart = _colour(rng.uniform(0.07, 0.15), 0.8, rng.uniform(0.4, 0.9)) * _noise(rng, side, 24)[..., None]
    picture = np.where((far < edge)[..., None], bloom, picture)
    return np.where((far < rng.uniform(0, 0.25))[..., None], heart, picture)


def _landscape(rng: np.random.Generator, side: int) -> np.ndarray:
    height = np.linspace(0, 1, side)[:, None, None]
    top = _colour(rng.uniform(0.55, 0.62), rng.uniform(0.3, 0.75), rng.uniform(0.7, 0.95))
    low = _colour(rng.uniform(0.5, 0.6), rng.uniform(0.05, 0.3), rng.uniform(0.85, 1.0))
    picture = top * (1 - height) + low * height + np.zeros((side, side, 1))
    cloud = (_noise(rng, side, 5, stretch=2) * 2 - rng.uniform(0.6, 1.4)).clip(0, 1)[..., None]
    picture = picture * (1 - cloud) + rng.uniform(0.85, 1.0) * cloud
    horizon = rng.uniform(0.25, 0.65)
    grounds = (_hill, _grass, _water, _wall)
    for _ in range(int(rng.integers(1, 4))):
        ground = grounds[rng.integers(len(grounds))](rng, side)
        line = horizon + 0.15 * (_noise(rng, side, 4)[:1, :] - 0.5)
        below = (np.linspace(0, 1, side)[:, None] > line)[..., None]
        picture = np.where(below, ground, picture)
        horizon += rng.uniform(0.1, 0.3)
    return picture


def _hill(rng: np.random.Generator, side: int) -> np.ndarray:
    return _leaves(rng, side) * rng.uniform(0.8, 1.2)


def _grass(rng: np.random.Generator, side: int) -> np.ndarray:
    """Give upright blades."""
    texture = _noise(rng, side, side // 2).T * 0.5 + _noise(rng, side, 40, stretch=8).T * 0.5
    return _textured(rng, _colour(rng.uniform(0.2, 0.3), rng.uniform(0.5, 0.8), 0.55), texture, 0.5)


def _water(rng: np.random.Generator, side: int) -> np.ndarray:
    """Give ripples, wider than high."""
    texture = _noise(rng, side, 32, stretch=8)
    return _textured(rng, _colour(rng.uniform(0.52, 0.62), rng.uniform(0.3, 0.6), 0.6), texture, 0.3)


def _wall(rng: np.random.Generator, side: int) -> np.ndarray:
    """Give bricks between lines of mortar."""
    y, x = np.mgrid[0:side, 0:side]
    high = int(rng.integers(4, 9))
    row = y // high
    mortar = (y % high == 0) | ((x + row % 2 * high) % (2 * high) == 0)
    brick = _textured(
        rng, _colour(rng.uniform(0.01, 0.06), rng.uniform(0.45, 0.7), 0.6), _noise(rng, side, 16), 0.3
    )
    return np.where(mortar[..., None], 0.75, brick)
