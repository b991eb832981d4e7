"""An input's picture with the answer of a classification below it."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image, ImageDraw, ImageFont

FONTS = (
    "DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "wqy-microhei.ttc", "PingFang.ttc",
    "Arial Unicode.ttf", "msyh.ttc", "arial.ttf",
)  # fmt: skip
"""Fonts of Linux, macOS and Windows with many signs, which Pillow looks for where the system keeps its fonts."""

MIN_SIDE = 240
COLOUR = "#9fc5e8"


def best_rows(result: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Give the (label, score) worth showing: the three best, or of several labels all that hold and three at least."""
    if "scores" in result:
        best = sorted(result["scores"].items(), key=lambda item: -item[1])
        return best[: max(3, len(result["labels"]))]
    return [(entry["label"], entry["score"]) for entry in result["top"][:3]]


def draw(picture: Image.Image, rows: list[tuple[str, float]]) -> Image.Image:
    """Give the picture, enlarged when it is tiny, over a strip with a bar for each score."""
    picture = picture.convert("RGB")
    if max(picture.size) < MIN_SIDE:
        factor = -(-MIN_SIDE // max(picture.size))
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    size = max(12, min(picture.size) // 18)
    line, width = round(size * 1.5), max(picture.width, MIN_SIDE)
    card = Image.new("RGB", (width, picture.height + line * len(rows) + size), "white")
    card.paste(picture, ((width - picture.width) // 2, 0))
    pen = ImageDraw.Draw(card)
    for number, (label, score) in enumerate(rows):
        top = picture.height + size // 2 + number * line
        pen.rectangle((0, top, round(width * score), top + line - 3), fill=COLOUR)
        write(pen, (size // 2, top + line // 2), label, f"{score:.1%}", size, width - size)
    return card


def write(
    pen: ImageDraw.ImageDraw, place: tuple[int, int], name: str, number: str, size: int, width: int
) -> None:
    """Write a name and its number from the middle of the left on, the name cut to so many pixels for both.

    What no font of this machine has stands there as "?".
    """
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    font = min(_fonts(name, size), key=lambda font: len(_missing(font, name)))
    missing = _missing(font, name)
    name = "".join("?" if sign in missing else sign for sign in name)
    shown = f"{name}  {number}"
    while font.getlength(shown) > width and name:
        name = name[:-1]
        shown = f"{name}...  {number}"
    pen.text(place, shown, "black", font, anchor="lm")


def _fonts(text: str, size: int) -> Iterator[ImageFont.FreeTypeFont]:
    """Give the fonts that are there: Pillow's own, which has little but ASCII, and those of the machine."""
    own = ImageFont.load_default(size)
    assert isinstance(own, ImageFont.FreeTypeFont), (
        "it has been one since Pillow 10.1, where there is FreeType"
    )
    yield own
    if text.isascii():
        return
    for name in FONTS:
        with contextlib.suppress(OSError):
            yield ImageFont.truetype(name, size)


def _missing(font: ImageFont.FreeTypeFont, text: str) -> set[str]:
    """Give the signs that a font draws as it does one that no font has."""
    box = bytes(font.getmask("\uffff"))
    return {sign for sign in set(text) if sign != " " and bytes(font.getmask(sign)) == box}
