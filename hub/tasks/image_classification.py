"""Image classification: a picture gives one label, or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from hub.tasks import answer_card
from hub.tasks.classification import Classification
from hub.transforms import image


class ImageClassification(Classification):
    name = "image_classification"
    inputs = "pictures"

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the picture, enlarged when it is tiny, over a strip with the best labels as bars."""
        return answer_card.draw(picture, answer_card.best_rows(result))

    @staticmethod
    def show(source: Any) -> Image.Image:
        """Give an input as a person looks at it."""
        return image.read(source)
