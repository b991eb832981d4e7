"""Kinds of data: which files are its inputs, how they are called, recognised and decoded.

A task says by name what it learns from (`Task.inputs`: "pictures", "sounds", "texts", "pairs", "tagged", "rated texts"
or "rated pairs"), and `KINDS` has the rest, so that folders, lists, tables and objects are read by the same code for
all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hub.datasets.images import SUFFIXES, decode_image
from hub.errors import InputError, one_of
from hub.transforms import audio

if TYPE_CHECKING:
    from hub.datasets.base import Sample

_FILES = ("file", "filename", "file_name", "file_path", "filepath")


@dataclass(frozen=True)
class Kind:
    """What a dataset has to know about its inputs."""

    name: str
    """By which tasks and `KINDS` know it."""
    word: str
    """One of them, in messages and as the key of an item."""
    suffixes: frozenset[str]
    """The files that are taken from folders, in small letters."""
    columns: tuple[str | tuple[str, str], ...]
    """The names by which a table's column of inputs is found, the likelier first; for pairs its two columns."""
    example: str
    """Two files of a folder per class, for hints."""
    expected: str
    """What an input may be, for messages."""
    in_memory: Callable[[Any], Any]
    """Give an input that is no path, in the form in which samples hold it, or None for what is no input."""
    decode: Callable[[Sample], object]
    """Read a sample to its end. Raises InputError."""
    is_text: bool = False
    """Whether the data itself holds the inputs: a str is one, and not the path of one."""
    is_rated: bool = False
    """Whether a sample has a number in the place of a class."""

    @property
    def is_pair(self) -> bool:
        """Whether an input is two texts, in two columns of a table."""
        return isinstance(self.columns[0], tuple)

    def take(self, given: Any) -> Any:
        """Give an input as samples hold it: a Path, or what is in memory; None for what is no input."""
        if isinstance(given, os.PathLike) and self.suffixes:
            return Path(given)
        if isinstance(given, str) and not self.is_text:
            return Path(given)
        return self.in_memory(given)


def _picture(given: Any) -> Image.Image | np.ndarray | None:
    if isinstance(given, Image.Image):
        return given
    return np.asarray(given) if hasattr(given, "__array__") else None


def _decode_sound(sample: Sample) -> None:
    audio.read(sample.input, rate=16_000)


def _text(given: Any) -> str | None:
    return str(given) if isinstance(given, str) else None


def _two_texts(given: Any) -> tuple[str, str] | None:
    """Take (a, b), which JSON has as a list."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        return None
    return (str(given[0]), str(given[1])) if all(isinstance(each, str) for each in given) else None


def _words(given: Any) -> list[str] | None:
    given = given.tolist() if hasattr(given, "tolist") else given
    if not isinstance(given, tuple | list) or not all(isinstance(word, str) for word in given):
        return None
    return [str(word) for word in given]


def _read_text(sample: Sample) -> None:
    parts = [sample.input] if isinstance(sample.input, str) else sample.input
    if not any(part.strip() for part in parts):
        raise InputError("the text is empty")


def _read_pair(sample: Sample) -> None:
    for word, text in zip(("first", "second"), sample.input, strict=True):
        if not text.strip():
            raise InputError(f"the {word} text is empty")


PICTURES = Kind(
    name="pictures",
    word="image",
    suffixes=SUFFIXES,
    columns=("path", "image", "image_path", "image_name", "img", "img_path", "img_name", *_FILES),
    example="flowers/rose/1.jpg, flowers/tulip/1.jpg",
    expected="a path, a PIL image or an array",
    in_memory=_picture,
    decode=decode_image,
)
SOUNDS = Kind(
    name="sounds",
    word="sound",
    suffixes=audio.SUFFIXES,
    columns=("path", "sound", "audio", "audio_path", "audio_file", "wav", "wav_path", "clip", *_FILES),
    example="sounds/dog/1.wav, sounds/rain/1.wav",
    expected="a path or (array, rate)",
    in_memory=audio.in_memory,
    decode=_decode_sound,
)
_TEXT = (
    "text", "text_a", "sentence", "content", "review", "comment", "review_text", "reviewtext", "review_body",
    "comment_text", "full_text", "query", "document", "message", "body",
)  # fmt: skip
TEXTS = Kind(
    name="texts",
    word="text",
    suffixes=frozenset({".txt"}),
    columns=(*_TEXT, "question", "utterance", "tweet", "title", "headline"),
    example="reviews/good/1.txt, reviews/bad/1.txt",
    expected="a str, or a Path to a .txt file",
    in_memory=_text,
    decode=_read_text,
    is_text=True,
)
PAIRS = Kind(
    name="pairs",
    word="pair",
    suffixes=frozenset(),
    columns=(
        ("text_a", "text_b"), ("sentence1", "sentence2"), ("sentence_a", "sentence_b"), ("text1", "text2"),
        ("question1", "question2"), ("query", "title"), ("query", "passage"), ("query", "document"),
        ("query", "answer"), ("question", "answer"), ("question", "sentence"), ("premise", "hypothesis"),
        ("anchor", "positive"), ("q1", "q2"),
    ),
    example="",
    expected="two texts: (str, str)",
    in_memory=_two_texts,
    decode=_read_pair,
    is_text=True,
)  # fmt: skip
TAGGED = Kind(
    name="tagged",
    word="sentence",
    suffixes=frozenset(),
    columns=("tokens", "words", "token", "word", "text_a", "text", "sentence", "chars", "characters"),
    example="",
    expected="words: list[str]",
    in_memory=_words,
    decode=_read_text,
    is_text=True,
)
RATED_TEXTS = replace(TEXTS, name="rated texts", is_rated=True)
RATED_PAIRS = replace(PAIRS, name="rated pairs", is_rated=True)
KINDS = {kind.name: kind for kind in (PICTURES, SOUNDS, TEXTS, PAIRS, TAGGED, RATED_TEXTS, RATED_PAIRS)}


def kind_of(given: Kind | str, others: Iterable[str] = ()) -> Kind:
    """Give the kind of that name. Raises UsageError for a name that there is not; `others` would have been right."""
    if isinstance(given, Kind):
        return given
    if given not in KINDS:
        raise one_of("kind", given, [*KINDS, *others])
    return KINDS[given]
