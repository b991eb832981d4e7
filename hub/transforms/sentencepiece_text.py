"""A SentencePiece model (spiece.model) as ALBERT uses it, made into a tokenizer of the Rust library `tokenizers`.

The file is a message of protocol buffers (sentencepiece_model.proto in google/sentencepiece). Of its fields only those
are read that decide about the pieces of a text; it was written by somebody else, and is checked before it is used.
"""

from __future__ import annotations

import math
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from hub.errors import SpecError

FILE = "spiece.model"
CLS, SEP, MASK, PAD = "[CLS]", "[SEP]", "[MASK]", "<pad>"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = range(1, 5)
"""Types of pieces; of the further ones, unused and bytes, none stands in a text."""
LONGEST_REPLACEMENT = 256
"""Bytes that the table of characters may write for one of them; Unicode's longest are 33."""
LAST_COMBINING = 0x1E94A
"""No character after it has a combining class, in Unicode 16."""

_SETTINGS = {  # message, field, what it is when the file says nothing, what it must be, what that means
    (2, 3): (1, 1, "a model of the type unigram"),
    (2, 22): (1, 1, "pieces that end where a word ends"),
    (2, 24): (0, 0, "a space before a word and not after it"),
    (2, 35): (0, 0, "unknown characters that are not cut into bytes"),
    (3, 3): (1, 1, "a space before the first word"),
    (3, 5): (1, 1, "spaces that are written ▁"),
}


@dataclass(frozen=True)
class Model:
    """What a file says: the pieces with their scores (logarithms of chances) and types, and the table of characters."""

    pieces: list[str]
    scores: list[float]
    kinds: list[int]
    characters: bytes
    """For `tokenizers.normalizers.Precompiled`; empty when characters stay as they are."""

    @property
    def has_capitals(self) -> bool:
        pieces = (p for p, kind in zip(self.pieces, self.kinds, strict=True) if kind == NORMAL)
        return any(piece != piece.lower() for piece in pieces)


def read(data: bytes) -> Model:
    """Read a file's content. Raises SpecError for what is no such model, is damaged, or cannot be followed here."""
    pieces = []
    said: dict[tuple[int, int], object] = {}
    for number, value in _fields(data):
        if number == 1:
            pieces.append(_piece(_message(value)))
        elif number in (2, 3):
            for field, inner in _fields(_message(value)):
                said[number, field] = inner
    if not pieces:
        raise SpecError("expected a SentencePiece model, found one without pieces")
    for place, (usual, needed, what) in _SETTINGS.items():
        if (found := said.get(place, usual)) != needed:
            raise SpecError(f"expected {what}, found another setting ({found!r:.20})", hint=_HINT)
    texts, scores, kinds = (list(column) for column in zip(*pieces, strict=True))
    [(twice, count)] = Counter(texts).most_common(1)
    if count > 1:
        raise SpecError(f"the piece {twice!r:.60} stands there twice")
    if kinds.count(UNKNOWN) != 1:
        raise SpecError(f"expected one piece for unknown characters, found {kinds.count(UNKNOWN)}")
    for name in (CLS, SEP, PAD):
        if name not in texts:
            raise SpecError(
                f"expected pieces {CLS}, {SEP} and {PAD} as ALBERT has, found no {name}", hint=_HINT
            )
    if characters := _message(said.get((3, 2), b"")):
        _require_characters(characters)
    return Model(texts, scores, kinds, characters)


def build(tokenizers: ModuleType, model: Model, *, lowercase: bool, keep_accents: bool) -> Any:
    """Give the `tokenizers.Tokenizer` that cuts texts as AlbertTokenizer does, with [CLS] and [SEP] around them."""
    unknown = model.kinds.index(UNKNOWN)
    names = {CLS, SEP, MASK, PAD, model.pieces[unknown]}
    vocabulary = []
    for piece, score, kind in zip(model.pieces, model.scores, model.kinds, strict=True):
        stands_in_texts = kind in (NORMAL, USER_DEFINED) and not _is_digit_and_comma(piece)
        # No word has a space in it, so that such a piece keeps its number and is never found.
        vocabulary.append((piece if stands_in_texts or piece in names else f"{piece} ", score))
    normalizers, pre_tokenizers = tokenizers.normalizers, tokenizers.pre_tokenizers
    rust = tokenizers.Tokenizer(tokenizers.models.Unigram(vocabulary, unknown, byte_fallback=False))
    steps = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not keep_accents:
        steps += [normalizers.NFKD(), normalizers.Replace(tokenizers.Regex(_combining()), "")]
    if lowercase:
        steps.append(normalizers.Lowercase())
    if model.characters:
        steps.append(normalizers.Precompiled(model.characters))
    rust.normalizer = normalizers.Sequence(steps)
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    ids = {piece: number for number, piece in enumerate(model.pieces)}
    rust.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{CLS}:0 $A:0 {SEP}:0",
        pair=f"{CLS}:0 $A:0 {SEP}:0 $B:1 {SEP}:1",
        special_tokens=[(CLS, ids[CLS]), (SEP, ids[SEP])],
    )
    rust.add_special_tokens([piece for piece in model.pieces if piece in names])
    return rust


def _is_digit_and_comma(piece: str) -> bool:
    """Say whether ALBERT takes the comma off this piece: "9,9" is 9 and a comma and 9."""
    return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


def _combining() -> str:
    """Give the regular expression of the characters that ALBERT drops; the library's StripAccents drops more."""
    return "[" + "".join(filter(unicodedata.combining, map(chr, range(LAST_COMBINING + 1)))) + "]"


# ---- the file ----

_HINT = "with a tokenizer.json it can be done: transformers writes one"
_NOT_ONE = "expected a SentencePiece model, found what is none or is damaged"


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Give number and value of the fields of a message: a whole number, or the bytes of anything else."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _whole(data, position)
        kind = tag & 7
        if kind == 0:
            value, position = _whole(data, position)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, position = _whole(data, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise SpecError(f"{_NOT_ONE} before byte {position:,}")
        if position + size > end:
            raise SpecError(f"{_NOT_ONE}: {size:,} bytes should follow, {end - position:,} do")
        yield tag >> 3, data[position : position + size]
        position += size


def _whole(data: bytes, position: int) -> tuple[int, int]:
    """Read a whole number, seven bits a byte, and give it with the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise SpecError(f"{_NOT_ONE}: it ends in a number, or has one of more than 64 bits")


def _message(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise SpecError(_NOT_ONE)
    return value


def _piece(data: bytes) -> tuple[str, float, int]:
    fields = dict(_fields(data))
    text, score, kind = fields.get(1), fields.get(2), fields.get(3, NORMAL)
    if not isinstance(text, bytes) or not text or not isinstance(kind, int):
        raise SpecError(f"{_NOT_ONE}: a piece without a text")
    number = struct.unpack("<f", score)[0] if isinstance(score, bytes) and len(score) == 4 else 0.0
    if not math.isfinite(number):
        raise SpecError(f"{_NOT_ONE}: the score of a piece is {number}")
    try:
        return text.decode(), number, kind
    except UnicodeDecodeError:
        raise SpecError(f"{_NOT_ONE}: a piece is not in UTF-8") from None


def _require_characters(data: bytes) -> None:
    """Raise SpecError unless each way through the table of characters stays in it.

    The table is the size in bytes of a double-array trie (github.com/s-yata/darts-clone), the trie in 32 bits a node,
    and the texts that its leaves name by their place, each with a zero after it. The library looks without checking.
    """
    size = int.from_bytes(data[:4], "little")
    if not 0 < size < len(data) - 4 or size % 4 or data[-1]:
        raise SpecError(f"{_NOT_ONE}: the table of characters is not as long as it says")
    nodes = np.frombuffer(data[4 : 4 + size], "<u4").astype(np.int64)
    texts = np.frombuffer(data[4 + size :], np.uint8)
    try:
        texts.tobytes().decode()
    except UnicodeDecodeError:
        raise SpecError(f"{_NOT_ONE}: the table of characters is not in UTF-8") from None
    inner = nodes >> 31 == 0
    inner[0] = True
    below = np.arange(len(nodes)) ^ ((nodes >> 10) << ((nodes & 512) >> 6))
    good = not (inner & ((below | 255) >= len(nodes))).any()
    if good:
        starts = nodes[below[inner & (nodes >> 8 & 1 == 1)]] & 0x7FFFFFFF
        good = not (starts >= len(texts)).any() and not (texts[starts] & 0xC0 == 0x80).any()
    if good:
        ends = np.flatnonzero(texts == 0)
        good = (ends[np.searchsorted(ends, starts)] - starts).max(initial=0) <= LONGEST_REPLACEMENT
    if not good:
        raise SpecError(f"{_NOT_ONE}: the table of characters leads out of itself")
