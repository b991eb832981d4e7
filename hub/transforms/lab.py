"""Colours as lightness and two colour planes: sRGB to CIE L*a*b* and back, in numpy.

White is D65, the observer the 2° one; the matrix and the constants are those of scikit-image, so that its values are
ours to rounding. L is from 0 to 100; a (green to red) and b (blue to yellow) of a colour that a screen can show stay
within ±110.
"""

from __future__ import annotations

import numpy as np
from PIL import ImageColor

from hub.errors import UsageError

_TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_FROM_XYZ = np.linalg.inv(_TO_XYZ)
_WHITE = np.array([0.95047, 1.0, 1.08883])

HALVINGS, ROUNDING = 12, 1e-4
"""How near to the strongest colour that can be shown is looked for, and the light by which float32 may miss it."""

GREY = 4.0
"""A picture in which hardly a pixel is further than this from grey has no colours to learn (in a, b; a scan's noise and
JPEG stay below it)."""


def from_rgb(rgb: np.ndarray) -> np.ndarray:
    """Give float32 [..., 3] of L, a, b for uint8 colours, or floating-point ones from 0 to 1, of the same shape."""
    colour = rgb / 255.0 if rgb.dtype == np.uint8 else rgb.astype(np.float64)
    linear = np.where(colour > 0.04045, ((colour + 0.055) / 1.055) ** 2.4, colour / 12.92)
    xyz = linear @ _TO_XYZ.T / _WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def to_rgb(lab: np.ndarray) -> np.ndarray:
    """Give float32 [..., 3] of red, green and blue from 0 to 1; what a screen cannot show is clipped."""
    linear = _linear(lab.astype(np.float64))
    above = np.maximum(linear, 0.0031308) ** (1 / 2.4) * 1.055 - 0.055
    return np.where(linear > 0.0031308, above, linear * 12.92).clip(0, 1).astype(np.float32)


def to_pixels(lab: np.ndarray) -> np.ndarray:
    """Give uint8 [..., 3] for L, a, b; a colour that a screen cannot show is paler, of the same lightness and hue."""
    return np.rint(to_rgb(shown(lab)) * 255).astype(np.uint8)


def shown(lab: np.ndarray) -> np.ndarray:
    """Give L, a, b of the same shape, where a and b are made smaller until a screen can show the colour."""
    outside = ~_can_be_shown(lab.astype(np.float64))
    if not outside.any():
        return lab
    colours = lab[outside].astype(np.float64)
    low, high = np.zeros((len(colours), 1)), np.ones((len(colours), 1))  # grey can be shown
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fits = _can_be_shown(colours * np.concatenate([np.ones_like(middle), middle, middle], axis=1))[
            :, None
        ]
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    found = lab.copy()
    found[outside, 1:] = colours[:, 1:] * low
    return found


def _can_be_shown(lab: np.ndarray) -> np.ndarray:
    linear = _linear(lab)
    return np.asarray(((linear > -ROUNDING) & (linear < 1 + ROUNDING)).all(axis=-1))


def _linear(lab: np.ndarray) -> np.ndarray:
    """Give light of red, green and blue, within 0 and 1 for what a screen can show."""
    lightness, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
    y = (lightness + 16) / 116
    f = np.stack([y + a / 500, y, np.maximum(y - b / 200, 0)], axis=-1)
    xyz = np.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787) * _WHITE
    return np.asarray(xyz @ _FROM_XYZ.T)


def is_grey(lab: np.ndarray) -> bool:
    """Say whether a picture has no colours, or only a tint that all of it shares (a sepia print)."""
    ab = lab[..., 1:].reshape(-1, 2)
    return bool(np.percentile(np.abs(ab - np.median(ab, axis=0)).max(axis=1), 99) < GREY)


def ab_of(colour: str) -> np.ndarray:
    """Give float32 (a, b) of a colour as CSS writes it: "#c04030", "red". Raises UsageError for another text."""
    try:
        red, green, blue = ImageColor.getrgb(colour)[:3]
    except (ValueError, TypeError, AttributeError) as problem:  # the last one where it is no text
        raise UsageError(f"expected a colour such as '#c04030' or 'red', found {colour!r}") from problem
    return from_rgb(np.array([red, green, blue], np.uint8))[1:]


def colourfulness(rgb: np.ndarray) -> float:
    """Give M³ of Hasler and Süsstrunk 2003 ("Measuring colourfulness in natural images") for uint8 [H, W, 3].

    0 is grey; they call 15 slightly, 45 averagely, 82 highly and 109 extremely colourful.
    """
    sums, squares = np.zeros(2), np.zeros(2)
    for top in range(0, len(rgb), 64):  # some rows at a time: the whole would take many times its own memory
        red, green, blue = rgb[top : top + 64].reshape(-1, 3).astype(np.int64).T
        for n, opposed in enumerate((red - green, red + green - 2 * blue)):
            sums[n] += opposed.sum()
            squares[n] += (opposed**2).sum()
    means = sums / rgb[..., 0].size / (1, 2)
    variances = squares / rgb[..., 0].size / (1, 4) - means**2
    return float(np.sqrt(variances.clip(0).sum()) + 0.3 * np.hypot(*means))
