"""Pictures: every kind is read as a person sees it, bad ones are named, and steps do what they say."""

from __future__ import annotations

import inspect
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from hub.errors import InputError, SpecError
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Named
from hub.transforms import audio, image, joint, spectrogram

NORMALIZE = Named("normalize", {"mean": [0.5], "std": [0.25]})


def save(picture: Image.Image, path: Path, **options: object) -> Path:
    picture.save(path, **options)
    return path


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    deep = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    assert np.asarray(image.read(save(deep, tmp_path / "deep.png"))).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("largest", "becomes"),
    [
        (200, 200),
        (255, 255),
        (256, 16),
        (1023, 63),
        (3000, 187),
        (4095, 255),
        (4096, 16),
        (16_383, 63),
        (65_535, 255),
    ],
)
@pytest.mark.parametrize(("dtype", "suffix"), [("uint16", "png"), ("uint16", "tif"), ("int32", "tif")])
def test_greys_of_fewer_bits_than_their_file_keep_their_levels(
    tmp_path: Path, largest: int, becomes: int, dtype: str, suffix: str
) -> None:
    ramp = np.linspace(0, largest, 1000).reshape(20, 50).astype(dtype)
    read = np.asarray(image.read(save(Image.fromarray(ramp), tmp_path / f"ramp.{suffix}")))
    assert read.max() == becomes
    assert len(np.unique(read)) == becomes + 1


def test_pictures_of_one_depth_keep_their_brightness_to_each_other(tmp_path: Path) -> None:
    tiles = [np.array([[7, 500, brightest]], np.uint16) for brightest in (1000, 2500, 4095)]
    read = [image.read(save(Image.fromarray(tile), tmp_path / "tile.png")) for tile in tiles]
    assert [np.asarray(each)[0, 1] for each in read] == [500 >> 4] * 3


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    glass = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    glass.putpixel((1, 0), (10, 20, 30, 255))
    assert np.asarray(image.read(save(glass, tmp_path / "glass.png"))).tolist() == [[[255] * 3, [10, 20, 30]]]


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held a quarter turn to the left
    wide = Image.new("RGB", (8, 4), "red")
    assert image.read(save(wide, tmp_path / "turned.jpg", exif=exif)).size == (4, 8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_is_turned_once_as_its_exif_says(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8))
    path = save(noise, tmp_path / f"x.{suffix}", exif=exif)
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    read = image.read(path)
    assert (np.asarray(read) == expected).all()
    assert (np.asarray(image.read(read)) == expected).all()


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16"])
@pytest.mark.parametrize("orientation", [3, 5, 6, 7, 8])
def test_a_tiff_of_any_mode_is_turned_as_its_exif_says(
    tmp_path: Path, orientation: int, mode: str, compression: str | None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    black_and_white = np.random.default_rng(0).integers(0, 2, (8, 12)).astype(np.uint8) * 255
    given = Image.fromarray(black_and_white).convert("L" if mode == "I;16" else mode)
    given = Image.fromarray(black_and_white.astype(np.uint16) * 257) if mode == "I;16" else given
    path = save(given, tmp_path / "x.tif", exif=exif, compression=compression)
    upright = Image.fromarray(black_and_white)
    upright.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(upright))
    with Image.open(path) as opened:
        assert image.upright_size(opened) == expected.shape[::-1]
        for read in (image.read(path), image.read(opened)):
            assert np.array_equal(np.asarray(read.convert("L")) > 127, expected > 127)


def with_exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """Give EXIF of (tag, type, count, value of 4 bytes)."""
    packed = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + b"\0" * 4


TURNED = (0x0112, 3, 1, b"\x06\0\0\0")
ODD_EXIF = {
    "a resolution in words": with_exif(TURNED, (0x011A, 2, 4, b"72\0\0")),
    "a description that is a number": with_exif(TURNED, (0x010E, 5, 1, b"\x08\0\0\0")),
    "a negative width": with_exif((0x0100, 9, 1, b"\xff\xff\xff\xff"), TURNED),
    "two orientations": with_exif((0x0112, 3, 2, b"\x06\0\x06\0")),
    "a value beyond the end": with_exif(TURNED, (0x010E, 2, 5000, b"\0\0\xff\0")),
}


@pytest.mark.parametrize("name", ODD_EXIF)
def test_what_else_exif_says_does_not_matter(tmp_path: Path, name: str) -> None:
    path = save(Image.new("RGB", (24, 16), "blue"), tmp_path / "x.jpg", exif=ODD_EXIF[name])
    assert image.read(path).size == (16, 24)


def test_nobody_hears_of_odd_metadata(tmp_path: Path) -> None:
    for number, exif in enumerate(ODD_EXIF.values()):
        save(Image.new("RGB", (24, 16), "blue"), tmp_path / f"{number}.jpg", exif=exif)
    program = "import sys; from hub.transforms import image; [image.read(path) for path in sys.argv[1:]]"
    words = [sys.executable, "-c", program, *sorted(tmp_path.iterdir())]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.parametrize("exif", [b"Exif\0\0hello, this is no EXIF", b"Exif\0\0II*\0\x08", b"Exif\0\0"])
def test_a_picture_whose_exif_cannot_be_read_stays_as_it_is(tmp_path: Path, exif: bytes) -> None:
    path = save(Image.new("RGB", (24, 16), "blue"), tmp_path / "x.jpg", exif=exif)
    assert image.read(path).size == (24, 16)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16"])
def test_every_mode_becomes_grey_or_colour(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode in ("CMYK", "I;16") else "png"
    read = image.read(save(Image.new(mode, (5, 4)), tmp_path / f"x.{suffix}"))
    assert read.mode in ("L", "RGB")
    assert read.size == (5, 4)


def tiff_of_floats() -> bytes:
    """Three bands of 32-bit floating point, 1×1: Pillow reads one such band, and does not know three."""
    short, long = 3, 4
    tags = [
        (256, long, 1, 1), (257, long, 1, 1), (258, short, 3, 134), (259, short, 1, 1), (262, short, 1, 2),
        (273, long, 1, 146), (277, short, 1, 3), (278, long, 1, 1), (279, long, 1, 12), (339, short, 3, 140),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    header = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    return header + struct.pack("<3H3H3f", 32, 32, 32, 3, 3, 3, 0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a picture, found an empty file"),
        (b"hello world, this is text", "expected a picture, found 25 bytes that are none of PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "none of PNG"),
        (
            tiff_of_floats(),
            "expected a picture, found a TIFF of a form that cannot be read, or a damaged one",
        ),
        (b"MM\0*", "expected a picture, found a TIFF of a form"),
        (b"\x89PNG\r\n\x1a\n cut", "expected a picture, found a PNG of a form"),
        (b"\xff\xd8\xff\xd9", "expected a picture, found a JPEG of a form"),
    ],
    ids=["empty", "text", "postscript", "floats", "TIFF", "PNG", "JPEG"],
)
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        image.read(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_truncated_jpeg_is_refused(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    path = save(noise, tmp_path / "cut.jpg")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match="cannot be decoded"):
        image.read(path)


def test_a_picture_too_large_for_memory_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = save(Image.new("1", (10_000, 6_000)), tmp_path / "huge.png")
    for read in (image.read, joint.read_mask):
        with pytest.raises(InputError, match="10000×6000 pixels; at most 50,000,000") as caught:
            read(path)
        assert "cut it into parts; one that is decoded already, an array, may have more" in caught.value.hint
    assert image.read(np.zeros((6_000, 10_000), np.uint8)).size == (10_000, 6_000)
    assert joint.read_mask(np.zeros((6_000, 10_000), np.uint8)).shape == (6_000, 10_000)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0, 7, 255]], np.int32), [0, 7, 255]),
        (np.array([[0, 32768, 65535]], np.int32), [0, 128, 255]),
    ],
    ids=lambda given: str(given.dtype) if isinstance(given, np.ndarray) else "",
)
@pytest.mark.parametrize("as_file", [False, True])
def test_floating_point_and_32_bit_pictures_keep_their_shades(
    tmp_path: Path, array: np.ndarray, expected: list[int], as_file: bool
) -> None:
    given = Image.fromarray(array)
    assert np.asarray(image.read(save(given, tmp_path / "x.tif") if as_file else given)).tolist() == [
        expected
    ]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 2), 255, np.float32), "within 0 and 1, found 255 to 255"),
        (np.array([[-1, 5]], np.int32), "from 0 to 65535 as pixels, found -1 to 5"),
        (np.array([[0, 70_000]], np.int32), "from 0 to 65535 as pixels, found 0 to 70000"),
    ],
)
def test_a_file_whose_numbers_are_no_shades_is_named(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = save(Image.fromarray(array), tmp_path / "x.tif")
    with pytest.raises(InputError, match=re.escape(f"{path}: expected") + f".*{message}"):
        image.read(path)


def damaged(tmp_path: Path) -> Image.Image:
    path = save(Image.effect_noise((64, 64), 50), tmp_path / "cut.jpg")
    path.write_bytes(path.read_bytes()[:-400])
    return Image.open(path)


def closed(tmp_path: Path) -> Image.Image:
    picture = Image.open(save(Image.new("L", (4, 4)), tmp_path / "x.png"))
    picture.close()
    return picture


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (damaged, r"cut\.jpg: the picture cannot be decoded"),
        (closed, "cannot be decoded"),
        (lambda folder: Image.new("RGB", (0, 0)), "expected pixels, found a picture of 0×0"),
        (lambda folder: Image.new("RGB", (0, 5)), "found a picture of 0×5"),
    ],
    ids=["damaged", "closed", "0×0", "0×5"],
)
def test_a_picture_in_memory_that_cannot_be_read_is_an_error_of_its_own(
    tmp_path: Path, make: Callable[[Path], Image.Image], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        image.read(make(tmp_path))


@pytest.mark.parametrize(
    ("step", "arguments"),
    [
        ("pad_square", {}),
        ("resize", {"short": 128}),
        ("center_crop", {"size": 1000}),
        ("resize", {"size": 10_000}),
    ],
)
@pytest.mark.parametrize("size", [(60_000, 1), (2, 100_000)])
def test_a_step_that_would_make_a_picture_too_large_for_memory_is_refused(
    size: tuple[int, int], step: str, arguments: dict[str, int]
) -> None:
    with pytest.raises(InputError, match=rf"{size[0]}×{size[1]} pixels would become .* at most 50,000,000"):
        image.STEPS[step](Image.new("L", size), **arguments)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), "found shape"),
        (np.zeros(4, np.uint8), "found shape"),
        (np.zeros((0, 4), np.uint8), "found shape"),
        (np.full((4, 4), 255.0), "within 0 and 1, found 255 to 255"),
        (np.full((4, 4), np.nan), "within 0 and 1"),
        (np.zeros((4, 4), np.int32), "uint8 or floating-point pixels, found int32"),
    ],
)
def test_an_array_that_cannot_be_a_picture_says_why(array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        image.read(array)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_resizing_keeps_what_it_promises(width: int, height: int, wanted: int) -> None:
    picture = Image.new("L", (width, height))
    assert image.resize(picture, size=wanted).size == (wanted, wanted)
    assert min(image.resize(picture, short=wanted).size) == wanted
    assert max(image.resize(picture, long=wanted).size) == wanted
    assert image.center_crop(picture, size=wanted).size == (wanted, wanted)
    assert image.pad_square(picture).size == (max(width, height),) * 2


def test_ink_on_paper_is_inverted_and_chalk_on_a_board_is_not() -> None:
    paper = Image.new("L", (9, 9), 255)
    paper.paste(0, (3, 3, 6, 6))
    turned = image.invert_light_background(paper)
    assert turned.getpixel((0, 0)) == 0
    assert turned.getpixel((4, 4)) == 255
    assert image.invert_light_background(turned) is turned


@pytest.mark.parametrize("name", sorted(image.RANDOM_STEPS))
def test_random_steps_depend_on_the_seed_alone_and_keep_the_size(name: str) -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (20, 30, 3), np.uint8))
    arguments = {"degrees": 20, "translate": 0.1, "scale": 0.1, "shear": 5} if name == "random_affine" else {}
    step = image.RANDOM_STEPS[name]
    results = [
        np.asarray(step(picture, np.random.default_rng(seed), **arguments)) for seed in (5, 5, 6, 7, 8)
    ]
    assert (results[0] == results[1]).all()
    assert results[0].shape == (20, 30, 3)
    assert any((results[0] != other).any() for other in results[2:])


def test_random_affine_without_limits_changes_nothing() -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (16, 16), np.uint8))
    assert (np.asarray(image.random_affine(picture, np.random.default_rng(0))) == np.asarray(picture)).all()


def test_normalizing_a_batch_is_the_formula() -> None:
    preprocessor = PicturePreprocessor(
        [Named("rgb"), Named("normalize", {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]})]
    )
    array = np.random.default_rng(0).integers(0, 255, (6, 5, 3), np.uint8)
    batch = preprocessor.batch([preprocessor.read(array)] * 2)
    expected = (array / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    assert batch.shape == (2, 3, 6, 5)
    np.testing.assert_allclose(batch[1].transpose(1, 2, 0), expected, atol=1e-6)


def test_pictures_of_different_sizes_in_a_batch_say_which_step_is_missing() -> None:
    preprocessor = PicturePreprocessor([Named("grayscale"), NORMALIZE])
    with pytest.raises(InputError, match=r"resize: \{size: 224"):
        preprocessor.batch([np.zeros((4, 4, 1), np.uint8), np.zeros((5, 4, 1), np.uint8)])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([Named("resiez", {"size": 3}), NORMALIZE], "did you mean 'resize'"),
        (
            [Named("resize", {"sise": 3}), NORMALIZE],
            r"preprocess\.resize\.sise: resize takes no such argument",
        ),
        (
            [Named("resize", {"size": "3"}), NORMALIZE],
            r"preprocess\.resize\.size: expected a whole number from 1 to 4,096, found '3'",
        ),
        ([Named("resize"), NORMALIZE], r"resize: expected one of size, short and long, found none"),
        (
            [Named("resize", {"size": 3, "long": 4}), NORMALIZE],
            r"resize: expected one of size, short and long, found size, long",
        ),
        *[
            (
                [Named("resize", {"size": size}), NORMALIZE],
                r"preprocess\.resize\.size: expected a whole number",
            )
            for size in (-5, 0, 32.5, True, 30_000, 10**12, None)
        ],
        ([Named("center_crop"), NORMALIZE], r"preprocess\.center_crop\.size: missing"),
        ([Named("autocontrast", {"cutoff": 50}), NORMALIZE], "cutoff: expected a number from 0.0 to 49.0"),
        ([Named("autocontrast", {"cutoff": float("nan")}), NORMALIZE], "cutoff: expected a number"),
        (
            [Named("grayscale"), Named("normalize", {"mean": [0.5] * 3})],
            r"normalize\.mean: expected 1 numbers, found 3",
        ),
        ([Named("normalize", {"std": [0.5] * 2})], r"normalize\.std: expected 1 or 3 numbers, found 2"),
        ([Named("normalize", {"mean": [float("inf")]})], "expected a number for each channel"),
        ([NORMALIZE, Named("grayscale")], "expected the last step to be normalize, found 'grayscale'"),
        ([Named("normalize", {"std": [0]})], "expected numbers above 0"),
        ([Named("normalize", {"mean": "x"})], "expected a number for each channel, found 'x'"),
        ([Named("random_flip"), NORMALIZE], "no step is called 'random_flip'"),
    ],
)
def test_a_step_that_cannot_be_meant_is_refused(steps: list[Named], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        PicturePreprocessor(steps)


def test_a_grey_picture_under_three_means_is_named() -> None:
    steps = PicturePreprocessor([Named("normalize", {"mean": [0.5] * 3})])
    assert steps.batch([np.zeros((4, 4, 3), np.uint8)]).shape == (1, 3, 4, 4)
    with pytest.raises(InputError, match=r"pictures of 3 channels.*found grey ones\n.*rgb"):
        steps.batch([np.zeros((4, 4, 1), np.uint8)])


@pytest.mark.parametrize("last", [NORMALIZE, Named("normalize", {"mean": [0.5] * 3})])
def test_a_grey_picture_among_coloured_ones_is_named(last: Named) -> None:
    pictures = [np.zeros((4, 4, channels), np.uint8) for channels in (3, 1)]
    with pytest.raises(InputError, match=r"expected pictures of 3 channels.*found grey ones\n.*\{rgb"):
        PicturePreprocessor([last]).batch(pictures)


def test_a_line_is_not_blown_up_to_a_picture() -> None:
    with pytest.raises(InputError, match="at most 50,000,000 are taken"):
        image.resize(Image.new("L", (1_000_000, 1)), short=4096)


@pytest.mark.parametrize(
    ("steps", "bounds", "given"),
    [
        ({**image.STEPS, **image.RANDOM_STEPS}, image.BOUNDS, {"picture", "rng"}),
        ({**audio.STEPS, **audio.RANDOM_STEPS}, audio.BOUNDS, {"samples", "rate", "rng"}),
        (spectrogram.RANDOM_MASKS, spectrogram.BOUNDS, {"mel", "rng"}),
    ],
    ids=["pictures", "sounds", "masks"],
)
def test_every_argument_of_every_step_has_bounds(
    steps: dict[str, Any], bounds: dict[str, Any], given: set[str]
) -> None:
    for name, step in steps.items():
        parameters = {
            key: parameter
            for key, parameter in inspect.signature(step).parameters.items()
            if key not in given
        }
        assert parameters.keys() == bounds.get(name, {}).keys(), name
        for key, parameter in parameters.items():
            least, most = bounds[name][key]
            assert isinstance(least, int) == ("int" in str(parameter.annotation)), (name, key)
            assert parameter.default in (parameter.empty, None) or least <= parameter.default <= most
