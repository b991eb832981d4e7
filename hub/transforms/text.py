"""Texts to numbers: the tokenizer of a module, from its files, on the Rust library `tokenizers`.

What is in these files is checked before it is used (tokenizer_files.py), and nothing in it can run.
`tokenizers` (the text extra) is imported when a tokenizer is made, and not before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from types import ModuleType
from typing import Any

import numpy as np

from hub.errors import InputError, MissingDependencyError, SpecError, to_install
from hub.transforms import sentencepiece_text, tokenizer_files

FILES = ("tokenizer.json", "vocab.txt", "vocab.json", sentencepiece_text.FILE)
"""What a tokenizer is made from; the first that is there."""
BESIDE = {"vocab.json": ("merges.txt",)}
"""What is read with one of them: which pairs of bytes, and of what comes of them, become one piece."""

PADS = ("[PAD]", "<pad>")
PROBE = "a\U00013000"
"""A letter and an Egyptian hieroglyph: what is in every vocabulary, and what is in hardly any."""
LONGEST = 1 << 16
"""Pieces of a text at most, whatever module.yaml says."""

Source = str | tuple[str, str] | list[str]
"""A text, a pair of texts, or the words of a text."""


@dataclass(frozen=True, eq=False, slots=True)
class Tokens:
    """A text as its network takes it: L pieces, the special ones included.

    `ids` int32 [L]; `segments` int8 [L], 0, and 1 for the second text of a pair where the network tells them apart;
    `spans` int32 [L, 2], from which character to which (of words: of the words joined by single spaces; of a pair:
    of its own text), (0, 0) for special pieces; `words` int32 [L], the number of the word (of a pair: in its own
    text), -1 for special pieces. `cut` says whether the text was longer than the tokenizer's `max_length`.
    """

    ids: np.ndarray
    segments: np.ndarray
    spans: np.ndarray
    words: np.ndarray
    cut: bool

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer:
    """Texts to pieces. `pad_id` fills up a batch, `max_length` cuts a text (of a pair the longer one first).

    `ids` is one more than the highest id that a piece can have, `segments` the number of segments that pairs have.
    """

    def __init__(self, rust: Any, *, max_length: int, described: bytes = b"") -> None:
        """Take over a `tokenizers.Tokenizer`; `of` makes one from files. Raises SpecError for one that will not do.

        `described` is the tokenizer.json that it was made from, if it was.
        """
        special = rust.num_special_tokens_to_add(True)
        if not special + 2 <= max_length <= LONGEST:
            raise SpecError(
                f"max_length: expected {special + 2} to {LONGEST:,} pieces, found {max_length}",
                hint=f"a pair has {special} special pieces and two texts",
            )
        self._rust = _cutting(rust, max_length)
        self._described = described
        self.max_length = max_length
        vocabulary = rust.get_vocab(with_added_tokens=True)
        pads = [vocabulary[name] for name in PADS if name in vocabulary]
        if not pads:
            raise SpecError(f"expected a piece {' or '.join(PADS)} to fill up batches with, found neither")
        self.pad_id: int = pads[0]
        self.ids: int = max(vocabulary.values()) + 1
        with tokenizer_files.accepted():
            single, pair = rust.encode(PROBE), rust.encode(PROBE, PROBE)
        self.segments: int = max(pair.type_ids, default=0) + 1
        marks = single.special_tokens_mask
        if not (marks and marks[0] and marks[-1]):
            raise SpecError("expected special pieces around a text, such as [CLS] and [SEP], found none")
        if unknown := {*single.ids, *pair.ids}.difference(vocabulary.values()):
            raise SpecError(
                f"expected special pieces of the vocabulary around a text, found the id {min(unknown)}"
            )

    @classmethod
    def of(
        cls,
        files: Mapping[str, bytes],
        *,
        max_length: int,
        lowercase: bool | None = None,
        keep_accents: bool | None = None,
    ) -> Tokenizer:
        """Make the tokenizer of tokenizer.json; BERT's word-pieces over vocab.txt; RoBERTa's pairs of bytes over
        vocab.json and merges.txt; or ALBERT's over spiece.model.

        `lowercase` (for BERT's it also strips accents) overrides what tokenizer.json says. Without one, None means:
        unless the vocabulary itself has capitals. `keep_accents` is for spiece.model, where accents are stripped
        otherwise. Raises SpecError that names the file and what is wrong with it, MissingDependencyError without the
        text extra.
        """
        name = next((name for name in FILES if name in files), None)
        if name is None:
            found = ", ".join(files) or "no files"
            raise SpecError(
                f"expected {', '.join(FILES[:-1])} or {FILES[-1]} for the step tokenize, found {found}",
                hint="name it under files: in module.yaml",
            )
        if keep_accents is not None and name != sentencepiece_text.FILE:
            raise SpecError(f"keep_accents: only for {sentencepiece_text.FILE}, the tokenizer is {name}")
        try:
            rust, described = tokenizer_files.build(
                _extra(), name, files, lowercase=lowercase, keep_accents=bool(keep_accents)
            )
            return cls(rust, max_length=max_length, described=described)
        except SpecError as problem:
            where = "" if problem.message.startswith("max_length") else f"{name}: "
            raise SpecError(f"{where}{problem.message}", hint=problem.hint) from None

    def encode(self, source: Source) -> Tokens:
        """Give the pieces of a text, a pair of texts or a list of words. Raises InputError for anything else."""
        return self.encode_many([source])[0]

    def encode_many(self, sources: Sequence[Source]) -> list[Tokens]:
        """Give the pieces of many texts, in order, computed side by side. Raises InputError that says which is none."""
        for number, source in enumerate(sources):
            _require_text(source, f"text {number}: " if len(sources) > 1 else "")
        found: dict[int, Tokens] = {}
        for split in (False, True):
            chosen = [number for number, source in enumerate(sources) if isinstance(source, list) is split]
            given = [sources[number] for number in chosen]
            rust = self._for_words if split and given else self._rust
            encodings = rust.encode_batch(given, is_pretokenized=split) if given else []
            for number, encoding in zip(chosen, encodings, strict=True):
                found[number] = _tokens(encoding, sources[number])
        return [found[number] for number in range(len(sources))]

    def unknown_words(self, texts: Sequence[str]) -> tuple[int, list[str]]:
        """Give how many words the texts have, and those of which half the characters or more have no piece.

        (0, []) where none is ever unknown, as with pieces of bytes.
        """
        count: int = 0
        unknown: list[str] = []
        if self._unknown_id is None:
            return count, unknown
        for text, tokens in zip(texts, self.encode_many(texts), strict=True):
            inside = tokens.words >= 0
            words, spans = tokens.words[inside], tokens.spans[inside]
            lengths = spans[:, 1] - spans[:, 0]
            missing = np.bincount(words, lengths * (tokens.ids[inside] == self._unknown_id))
            lost = (missing > 0) & (2 * missing >= np.bincount(words, lengths))
            numbers, first = np.unique(words, return_index=True)
            each = zip(pairwise([*first, len(words)]), lost[numbers], strict=True)
            unknown += [
                text[spans[start, 0] : spans[end - 1, 1]] for (start, end), is_lost in each if is_lost
            ]
            count += len(numbers)
        return count, unknown

    @cached_property
    def _unknown_id(self) -> int | None:
        model = self._rust.model
        if hasattr(model, "unk_token"):
            return None if model.unk_token is None else self._rust.token_to_id(model.unk_token)
        # Unigram knows its piece by number, and says it nowhere else.
        return json.loads(self._described or self._rust.to_str())["model"].get("unk_id")

    @cached_property
    def _for_words(self) -> Any:
        """The tokenizer for lists of words. Pieces of bytes contain the space before a word: in a list each has one."""
        if getattr(self._rust.pre_tokenizer, "add_prefix_space", None) is not False:
            return self._rust
        # The library's own `to_str` talks about every id that is not there.
        content = json.loads(self._described)
        content["pre_tokenizer"]["add_prefix_space"] = True
        after = content.get("post_processor") or {}
        if "add_prefix_space" in after:  # else it would count the added space as a character of the word
            after["add_prefix_space"] = True
        words = type(self._rust).from_str(json.dumps(content))
        words.normalizer = self._rust.normalizer  # which may have been told about lower case
        return _cutting(words, self.max_length)


def _cutting(rust: Any, max_length: int) -> Any:
    """Give the tokenizer, which cuts what is too long and fills up nothing, whatever its file says."""
    rust.no_padding()
    rust.enable_truncation(max_length, strategy="longest_first")
    return rust


def _extra() -> ModuleType:
    try:
        import tokenizers
    except ImportError as problem:
        raise MissingDependencyError(
            f"texts are read with tokenizers, which cannot be imported: {problem}",
            hint=to_install("tokenizers"),
        ) from None
    return tokenizers


def _require_text(source: object, where: str) -> None:
    if isinstance(source, str):
        parts: Iterable[object] = (source,)
    elif (isinstance(source, tuple) and len(source) == 2) or isinstance(source, list):
        parts = source
    else:
        raise InputError(
            f"{where}expected a text, a pair of texts or a list of words, found {type(source).__name__}"
        )
    for part in parts:
        if not isinstance(part, str):
            raise InputError(f"{where}expected a text, found {type(part).__name__} {part!r:.40}")
        try:
            part.encode()
        except UnicodeEncodeError as problem:
            raise InputError(
                f"{where}expected a text, found half a character (a lone surrogate) at position {problem.start}"
            ) from None


def _tokens(encoding: Any, source: Source) -> Tokens:
    ids = np.array(encoding.ids, np.int32)
    spans = np.fromiter(chain.from_iterable(encoding.offsets), np.int32, 2 * len(ids)).reshape(-1, 2)
    words = np.array([-1 if word is None else word for word in encoding.word_ids], np.int32)
    if isinstance(source, list) and source:  # the library counts from the start of each word
        starts = np.cumsum([0, *(len(word) + 1 for word in source[:-1])], dtype=np.int32)
        inside = words >= 0
        spans[inside] += starts[words[inside], None]
    return Tokens(ids, np.array(encoding.type_ids, np.int8), spans, words, cut=bool(encoding.overflowing))
