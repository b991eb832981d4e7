"""Image classification: a picture gives one label, or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from hub.tasks.classification import Classification

MIN_SIDE = 240


class ImageClassification(Classification):
    name = "image_classification"

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the picture, enlarged when it is tiny, over a strip with the best labels as bars."""
        picture = picture.convert("RGB")
        if max(picture.size) < MIN_SIDE:
            factor = -(-MIN_SIDE // max(picture.size))
            picture = picture.resize(
                (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
            )
        rows = self._rows(result)
        size = max(12, min(picture.size) // 18)
        font = ImageFont.load_default(size)
        line, width = round(size * 1.5), max(picture.width, MIN_SIDE)
        card = Image.new("RGB", (width, picture.height + line * len(rows) + size), "white")
        card.paste(picture, ((width - picture.width) // 2, 0))
        pen = ImageDraw.Draw(card)
        for number, (label, score) in enumerate(rows):
            top = picture.height + size // 2 + number * line
            pen.rectangle((0, top, round(width * score), top + line - 3), fill="#9fc5e8")
            pen.text((size // 2, top + line // 2), f"{label}  {score:.1%}", "black", font, anchor="lm")
        return card

    def _rows(self, result: Mapping[str, Any]) -> list[tuple[str, float]]:
        if self.multi_label:
            best = sorted(result["scores"].items(), key=lambda item: -item[1])
            return best[: max(3, len(result["labels"]))]
        return [(entry["label"], entry["score"]) for entry in result["top"][:3]]
