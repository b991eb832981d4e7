"""The step for texts: what is read and kept are pieces, what the network takes are their numbers, segments and mask."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hub.errors import InputError, SpecError
from hub.modules.preprocessor import refuse_unknown
from hub.modules.spec import Named
from hub.transforms.text import Source, Tokenizer, Tokens

LAST = "tokenize"
SWITCHES = ("lowercase", "keep_accents")
"""Its arguments that are true, false, or left to the tokenizer."""
MOST_BYTES = 1 << 24
"""Of a text file that `read` takes."""

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(ids, segments, mask), each int64 [N, L]."""


class TextPreprocessor:
    """`read` gives Tokens, `batch` (ids, segments, mask) as long as the longest of them.

    `max_length` of the step tokenize is the number of pieces at which a text is cut; `lowercase` and `keep_accents`
    override the tokenizer's own choice. It comes from `files`: see `Tokenizer.of`.
    """

    augments = False

    def __init__(
        self, preprocess: Sequence[Named], augment: Sequence[Named], files: Mapping[str, bytes]
    ) -> None:
        """Make the tokenizer. Raises SpecError for other steps or arguments, and for files that make none."""
        if [step.name for step in preprocess] != [LAST]:
            found = ", ".join(step.name for step in preprocess)
            raise SpecError(f"preprocess: expected the one step {LAST}, found {found}")
        if augment:
            raise SpecError(f"augment: there are no random steps for texts, found {augment[0].name}")
        [step] = preprocess
        refuse_unknown(step, {"max_length", *SWITCHES}, "preprocess")
        longest = step.arguments.get("max_length")
        if isinstance(longest, bool) or not isinstance(longest, int):
            raise SpecError(f"preprocess.{LAST}.max_length: expected a whole number, found {longest!r}")
        switches = {name: step.arguments.get(name) for name in SWITCHES}
        for name, switch in switches.items():
            if switch is not None and not isinstance(switch, bool):
                raise SpecError(f"preprocess.{LAST}.{name}: expected true or false, found {switch!r}")
        self.tokenizer = Tokenizer.of(files, max_length=longest, **switches)

    def read(self, source: Any) -> Tokens:
        """Give the pieces of a text, a pair of texts, a list of words, or a Path to a UTF-8 .txt file.

        Raises InputError for anything else, and for a text of which no piece but of spaces is left.
        """
        [found] = self.read_many([source])
        if isinstance(found, InputError):
            raise found
        return found

    def read_many(self, sources: Sequence[Any]) -> list[Tokens | InputError]:
        """Give for each source what `read` gives or raises; many are read side by side, several times as fast."""
        try:
            given: list[Source] = [_text_of(one) if isinstance(one, Path) else one for one in sources]
            tokens = self.tokenizer.encode_many(given)
        except InputError as problem:
            if len(sources) == 1:
                return [problem]
            return [found for one in sources for found in self.read_many([one])]
        return [
            found if _is_read(one, found) else InputError(f"expected a text, found {_nothing(one)}")
            for one, found in zip(given, tokens, strict=True)
        ]

    def augmented(self, item: Tokens, rng: np.random.Generator) -> Tokens:
        """Give the item itself."""
        return item

    def batch(self, items: Sequence[Tokens]) -> Batch:
        """Give (ids, segments, mask), int64 [N, L], filled up with pad_id, 0 and 0 to the longest of the items."""
        shape = len(items), max(map(len, items), default=0)
        ids = np.full(shape, self.tokenizer.pad_id, np.int64)
        segments, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, item in enumerate(items):
            ids[row, : len(item)], segments[row, : len(item)], mask[row, : len(item)] = (
                item.ids,
                item.segments,
                1,
            )
        return ids, segments, mask

    def picture(self, source: Any) -> Image.Image:
        """Raise InputError: a text has no picture."""
        raise InputError("a text has no picture to draw on")


def _is_read(source: Source, tokens: Tokens) -> bool:
    """Say whether a tokenizer leaves something of a source: a space, which some have a piece for, is nothing."""
    return bool((tokens.words >= 0).any()) and any(part.strip() for part in source)


def _nothing(source: Source) -> str:
    return "one without a visible character" if source else "an empty one"


def _text_of(path: Path) -> str:
    if not os.path.isfile(path):  # unlike Path, False for what is too long to be a name
        raise InputError(f"{path}: no such text file")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise InputError(f"{path}: expected a text of at most {MOST_BYTES:,} bytes, found {size:,}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InputError(
            f"{path}: expected UTF-8 text, found the byte {problem.object[problem.start]:#04x} at position "
            f"{problem.start:,}",
            hint="save it as UTF-8",
        ) from None
