"""The windows in which a text of any length goes through a network, and the words that each of them speaks for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hub.errors import InputError
from hub.modules.text_preprocessor import TextPreprocessor
from hub.transforms.text import Tokens

SHARED = 4
"""One of so many words of a window is in the next one again: words at an edge lack what is around them."""
CHARACTERS = 6
"""Of a long text, so many for each piece of a window are looked at: words of most languages have fewer."""
AHEAD = 100
"""Characters behind what was read that are looked at, for a word that was cut in the middle."""
# Letters and digits of scripts that put spaces between words.
_LETTER = r"[^\W_\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_SPELLED = rf"(?<!{_LETTER})(?:{_LETTER}\.){{2,}}{_LETTER}?(?!{_LETTER})"
_JOINT = r"(?:\.?[-‐‑'’&/@_+]{1,2}|\.(?=[a-z\d])|(?<=\d)[,:](?=\d))"
_TOGETHER = re.compile(rf"(?:{_SPELLED}|{_LETTER}+)(?:{_JOINT}{_LETTER}+)*")
"""What is one word in tagged data and several to most tokenizers: O'Brien, Coca-Cola, U.S., 1,000."""


@dataclass(frozen=True)
class Window:
    """A part of a text that begins at the character `start` of it, or of a list at that word: its pieces, which of them
    speak for a word that this window answers, and where in the text these words are [n, 2]."""

    start: int
    tokens: Tokens
    pieces: np.ndarray
    places: np.ndarray


def windows(source: str | list[str], tokens: Tokens, preprocessor: TextPreprocessor) -> Iterator[Window]:
    """Give a text in windows that have every word of it once; `tokens` is what was read of its beginning.

    Each shares words with the next; of these the first half is answered by the one and the rest by the other.
    """
    if not isinstance(source, str | list):
        raise InputError(f"expected a text or a list of words, found {type(source).__name__}")
    split = isinstance(source, list)
    step = preprocessor.tokenizer.max_length * (1 if split else CHARACTERS)
    # where in the text each word of a list begins
    begins = np.cumsum([0, *(len(word) + 1 for word in source)] if split else [0])
    start, done, more = 0, 0, tokens.cut
    while True:
        if isinstance(source, list):
            pieces = first_pieces(tokens)
            places = _places(tokens, pieces) + begins[start]
        else:
            read = source[start : start + int(tokens.spans.max(initial=0)) + AHEAD]
            pieces = words_of_text(tokens, read)
            places = _trimmed(_places(tokens, pieces), read) + start
        count = len(pieces)
        again = count - (max(1, count // SHARED) if count > 1 else 0)  # where the next one begins
        until = (again + count) // 2 if more else count
        own = places[:until, 0] >= done
        if own.any():
            yield Window(start, tokens, pieces[:until][own], places[:until][own])
        if not more:
            return
        done = int(places[until, 0] if until < count else places[-1, 1]) if count else done
        if not count:
            onward = start + (step if split else int(tokens.spans.max(initial=0)) or step)
        elif split:
            onward = start + int(tokens.words[pieces[again]] if again < count else tokens.words.max() + 1)
        else:
            onward = int(places[again, 0] if again < count else places[-1, 1])
        start = max(start + 1, onward)
        tokens = preprocessor.tokenizer.encode(source[start : start + step])
        more = tokens.cut or start + step < len(source)


def _places(tokens: Tokens, pieces: np.ndarray) -> np.ndarray:
    """Give from which to which character every word goes, int64 [words, 2]."""
    if not len(pieces):
        return np.zeros((0, 2), np.int64)
    ends = np.maximum.reduceat(tokens.spans[:, 1], pieces)  # special pieces end at 0
    return np.stack([tokens.spans[pieces, 0], ends], axis=1).astype(np.int64)


def _trimmed(places: np.ndarray, text: str) -> np.ndarray:
    """Give places without space at their ends, which some tokenizers have as pieces, and with all of a last letter.

    Where accents are stripped, those that stand behind their letter belong to no piece.
    """
    found = []
    for start, end in places.tolist():
        while end < len(text) and unicodedata.category(text[end]).startswith("M"):
            end += 1
        part = text[start:end]
        found.append((start + len(part) - len(part.lstrip()), start + len(part.rstrip())))
    return np.array(found, np.int64).reshape(-1, 2)


def first_pieces(tokens: Tokens) -> np.ndarray:
    """Give the place of the first piece of every word, int64 [words]."""
    before = np.concatenate([[-1], tokens.words[:-1]])
    return np.flatnonzero((tokens.words >= 0) & (tokens.words != before))


def words_of_text(tokens: Tokens, text: str) -> np.ndarray:
    """Give the place of the first piece of every word of a text that nobody has cut into words, int64 [words].

    What stands together as one word in tagged data is one here: only its first piece has learnt a tag.
    """
    pieces = first_pieces(tokens)
    places = _places(tokens, pieces)  # of the whole word: its first piece may be the space before it
    starts = places[:, 0]
    bounds = np.array([match.span() for match in _TOGETHER.finditer(text)], np.int64).reshape(-1, 2)
    if len(bounds):
        last = np.searchsorted(bounds[:, 0], starts, "left") - 1  # the last that begins before the piece
        within = (last >= 0) & (starts < bounds[last, 1])
    else:
        within = np.zeros(len(pieces), bool)
    visible = np.array([bool(text[start:end].strip()) for start, end in places.tolist()], bool)
    return pieces[visible & ~within]
