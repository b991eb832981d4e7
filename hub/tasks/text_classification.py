"""Text classification: a text gives one label, or several. And what all tasks on texts share."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from hub.errors import SpecError
from hub.modules.preprocessor import Preprocessor
from hub.modules.text_preprocessor import TextPreprocessor
from hub.tasks import answer_card
from hub.tasks.base import Examples, Run
from hub.tasks.classification import TOP_K, Classification, Decoded
from hub.transforms.text import Tokens

COLUMNS, MOST_LINES = 64, 30
"""Of a text that is drawn."""


class TextExamples(Examples):
    """Texts, or pairs that are read as one sequence: `read` gives Tokens."""

    def __init__(self, preprocessor: Preprocessor) -> None:
        """Raise SpecError for a module that does not read texts."""
        super().__init__(of_texts(preprocessor))

    def length(self, item: Tokens) -> int | None:
        """Give the number of pieces."""
        return len(item)

    def cut(self, item: Tokens) -> int:
        """Give how many pieces a text may have where this one has more, else 0."""
        return len(item) if item.cut else 0


class OfTexts:
    """How a task on texts shows its inputs."""

    @staticmethod
    def show(source: Any) -> str:
        """Give a text, the words of one, a pair of texts or a text file as one text for a person."""
        if isinstance(source, tuple):
            return "\n".join(map(OfTexts.show, source))
        if isinstance(source, Path):
            return source.read_text(encoding="utf-8-sig", errors="replace")
        return source if isinstance(source, str) else " ".join(source)

    @staticmethod
    def picture(source: Any) -> Image.Image:
        """Give a picture of the text, its lines broken and the rest of a long one left out, to draw answers on."""
        text = OfTexts.show(source)
        lines: list[str] = []
        for line in text[: COLUMNS * MOST_LINES].splitlines() or [""]:
            lines += textwrap.wrap(line, COLUMNS) or [""]
        if len(lines) > MOST_LINES or len(text) > COLUMNS * MOST_LINES:
            lines = [*lines[: MOST_LINES - 1], "…"]
        font = ImageFont.load_default(16)
        width = max([answer_card.MIN_SIDE, *(round(font.getlength(line)) + 24 for line in lines)])
        card = Image.new("RGB", (width, 24 * len(lines) + 16), "white")
        pen = ImageDraw.Draw(card)
        for number, line in enumerate(lines):
            pen.text((12, 20 + 24 * number), line, "black", font, anchor="lm")
        return card


class CutMarked(OfTexts, Decoded):
    """Texts of which one that is long is read in part, and its answer says so."""

    def answers(
        self,
        sources: Sequence[Any],
        items: Sequence[Any],
        *,
        run: Run,
        preprocessor: Preprocessor,
        top_k: int = TOP_K,
    ) -> list[dict[str, Any]]:
        """Give what `decode` makes of each text, with "cut": true where only its beginning was read."""
        results = super().answers(sources, items, run=run, preprocessor=preprocessor, top_k=top_k)
        for result, item in zip(results, items, strict=True):
            mark_cut(result, item)
        return results


class TextClassification(CutMarked, Classification):
    """One label of a text, or with `multi_label` any number of them."""

    name = "text_classification"
    inputs = "texts"

    @staticmethod
    def examples(preprocessor: Preprocessor) -> Examples:
        """Give how texts become batches. Raises SpecError for a module that does not read texts."""
        return TextExamples(preprocessor)

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the picture of the text over a strip with the best labels as bars."""
        return answer_card.draw(picture, answer_card.best_rows(result))


def of_texts(preprocessor: Preprocessor) -> TextPreprocessor:
    """Give the preprocessor if it reads texts; raise SpecError otherwise."""
    if not isinstance(preprocessor, TextPreprocessor):
        raise SpecError(
            "preprocess: a task on texts needs the step tokenize, found steps for other inputs",
            hint="preprocess: [{tokenize: {max_length: 128}}]",
        )
    return preprocessor


def mark_cut(result: dict[str, Any], *items: Tokens) -> None:
    """Put "cut": true into the result where one of its texts was longer than what was read of it."""
    if any(item.cut for item in items):
        result["cut"] = True
