"""Colours against values that scikit-image 0.26.0 gave."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hub.errors import UsageError
from hub.tasks.picture_metrics import psnr, ssim
from hub.transforms import lab

TOLERANCE = 2e-4  # float32 of values up to 110

# (sRGB, skimage.color.rgb2lab of it)
FROM_RGB = [
    ((0, 0, 0), (0.00000, 0.00000, 0.00000)),
    ((255, 255, 255), (100.00000, -0.00245, 0.00465)),
    ((128, 128, 128), (53.58501, -0.00147, 0.00279)),
    ((255, 0, 0), (53.24059, 80.09231, 67.20275)),
    ((0, 255, 0), (87.73510, -86.18303, 83.17970)),
    ((0, 0, 255), (32.29567, 79.18559, -107.85730)),
    ((12, 3, 7), (1.43301, 2.93907, -0.67397)),
    ((200, 120, 40), (57.91229, 25.29522, 54.08278)),
    ((30, 90, 160), (38.06586, 7.12838, -43.32510)),
    ((250, 240, 10), (92.86950, -16.35436, 90.44394)),
    ((1, 1, 2), (0.29396, 0.13903, -0.37839)),
    ((77, 200, 199), (74.19380, -33.76596, -9.63560)),
]
# (Lab that no screen shows, skimage.color.lab2rgb of it)
TO_RGB = [
    ((50, 80, -80), (0.67714, 0.18919, 1.00000)),
    ((90, -60, 60), (0.52924, 0.99166, 0.40581)),
    ((20, 10, -100), (0.00000, 0.23994, 0.80269)),
]


@pytest.mark.parametrize(("rgb", "expected"), FROM_RGB)
def test_lab_is_that_of_scikit_image(rgb: tuple[int, ...], expected: tuple[float, ...]) -> None:
    assert lab.from_rgb(np.array(rgb, np.uint8)) == pytest.approx(expected, abs=TOLERANCE)
    assert lab.from_rgb(np.array(rgb) / 255) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize(("colour", "expected"), TO_RGB)
def test_what_no_screen_shows_is_clipped_as_scikit_image_does(
    colour: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    assert lab.to_rgb(np.array(colour, np.float32)) == pytest.approx(expected, abs=TOLERANCE)


@given(
    arrays(np.float32, (6, 1), elements=st.floats(0, 100, width=32)),
    arrays(np.float32, (6, 2), elements=st.floats(-110, 110, width=32)),
)
def test_what_no_screen_shows_keeps_its_lightness_and_hue(lightness: np.ndarray, ab: np.ndarray) -> None:
    wanted = np.concatenate([lightness, ab], axis=1)
    found = lab.from_rgb(lab.to_pixels(wanted))
    assert np.abs(found[:, 0] - wanted[:, 0]).max() < 1.2  # whole numbers of red, green and blue
    paler = lab.shown(wanted)
    assert np.array_equal(paler[:, 0], wanted[:, 0])
    assert np.abs(paler[:, 1] * ab[:, 1] - paler[:, 2] * ab[:, 0]).max() < 1e-2
    assert (np.abs(paler[:, 1:]) <= np.abs(ab)).all()
    # A little stronger, and it would be clipped.
    lowered = np.flatnonzero((paler[:, 1:] != ab).any(axis=1) & (np.abs(paler[:, 1:]).max(axis=1) > 1))
    stronger = paler[lowered] * np.array([1, 1.3, 1.3], np.float32)
    assert (lab.shown(stronger) != stronger).any(axis=1).all()


@given(arrays(np.uint8, (3, 4, 3), elements=st.integers(0, 255)))
def test_every_colour_comes_back(pixels: np.ndarray) -> None:
    assert np.array_equal(lab.to_pixels(lab.from_rgb(pixels)), pixels)


def test_a_whole_picture_is_as_in_scikit_image_where_it_is_installed() -> None:
    colour = pytest.importorskip("skimage.color")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    assert np.abs(lab.from_rgb(pixels) - colour.rgb2lab(pixels)).max() < TOLERANCE


def test_grey_is_what_has_no_colours_or_one_tint_all_over() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (20, 20, 1)), 3, axis=2).astype(np.uint8)
    noisy = (grey + rng.integers(-1, 2, grey.shape)).clip(0, 255).astype(np.uint8)
    dot = grey.copy()
    dot[5:9, 5:9] = (200, 30, 30)
    assert lab.is_grey(lab.from_rgb(grey))
    assert lab.is_grey(lab.from_rgb(noisy[2:3, 2:3].repeat(20, 0).repeat(20, 1)))
    assert not lab.is_grey(lab.from_rgb(dot))


def test_colours_are_read_as_css_writes_them() -> None:
    assert lab.ab_of("#ff0000") == pytest.approx((80.09231, 67.20275), abs=TOLERANCE)
    assert np.array_equal(lab.ab_of("red"), lab.ab_of("rgb(255, 0, 0)"))
    for wrong in ("reddish", "#12", 5):
        with pytest.raises(UsageError, match="expected a colour"):
            lab.ab_of(wrong)  # type: ignore[arg-type]


def test_colourfulness_is_the_formula_of_the_paper() -> None:
    grey = np.full((8, 8, 3), 90, np.uint8)
    assert lab.colourfulness(grey) == 0
    halves = np.zeros((2, 2, 3), np.uint8)
    halves[0], halves[1] = (255, 0, 0), (0, 0, 255)
    # rg is 255 and 0, yb is 127.5 and -255: deviations 127.5 and 191.25, means 127.5 and -63.75
    expected = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, 63.75)
    assert lab.colourfulness(halves) == pytest.approx(expected)


def test_likeness_is_that_of_scikit_image() -> None:
    y, x = np.mgrid[0:40, 0:48]
    first = np.stack([x * 5, y * 6, (x * y) % 256], -1).astype(np.uint8)
    second = np.stack([x * 5 + 10, y * 5, (x * y + 20) % 256], -1).clip(0, 255).astype(np.uint8)
    assert psnr(first, second) == pytest.approx(16.570665837312)
    # structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert ssim(first, second) == pytest.approx(0.8515287044297185, abs=1e-6)
    assert ssim(first, first) == pytest.approx(1)
    assert psnr(first, first) == 100
