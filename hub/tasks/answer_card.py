"""An input's picture with the answer of a classification below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw, ImageFont

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
    font = ImageFont.load_default(size)
    line, width = round(size * 1.5), max(picture.width, MIN_SIDE)
    card = Image.new("RGB", (width, picture.height + line * len(rows) + size), "white")
    card.paste(picture, ((width - picture.width) // 2, 0))
    pen = ImageDraw.Draw(card)
    for number, (label, score) in enumerate(rows):
        top = picture.height + size // 2 + number * line
        pen.rectangle((0, top, round(width * score), top + line - 3), fill=COLOUR)
        pen.text((size // 2, top + line // 2), f"{label}  {score:.1%}", "black", font, anchor="lm")
    return card
