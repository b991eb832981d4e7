"""The files of a tokenizer, which are hostile until they were looked at: their bytes to one of `tokenizers`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from hub.errors import SpecError
from hub.files import unique_keys
from hub.transforms import sentencepiece_text

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BYTE_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
MODELS = ("WordPiece", "BPE", "Unigram", "WordLevel")
LONGEST_WORD = 100
"""Characters of a word that word-piece still looks at; a longer one is unknown, as in BERT's own code."""


def build(
    tokenizers: ModuleType,
    name: str,
    files: Mapping[str, bytes],
    *,
    lowercase: bool | None,
    keep_accents: bool,
) -> tuple[Any, bytes]:
    """Give the `tokenizers.Tokenizer` that the file `name` stands for, and its tokenizer.json, empty if it has none.

    Raises SpecError that says what is wrong with the file.
    """
    data = files[name]
    if name == sentencepiece_text.FILE:
        return _from_sentencepiece(tokenizers, data, lowercase, keep_accents), b""
    if name == "vocab.txt":
        return _from_vocabulary(tokenizers, data, lowercase), b""
    described = _from_byte_pairs(data, files.get("merges.txt")) if name == "vocab.json" else data
    return _from_json(tokenizers, described, lowercase), described


def _from_json(tokenizers: ModuleType, data: bytes, lowercase: bool | None) -> Any:
    content = _json(data)
    model = content.get("model")
    kind = model.get("type", "WordPiece") if isinstance(model, dict) else None
    if not isinstance(model, dict) or kind not in MODELS:
        raise SpecError(f"model.type: expected one of {', '.join(MODELS)}, found {kind!r}")
    _require_vocabulary(model, content.get("added_tokens"))
    with accepted():
        rust = tokenizers.Tokenizer.from_buffer(data)
    if lowercase is not None:
        if not isinstance(rust.normalizer, tokenizers.normalizers.BertNormalizer):
            raise SpecError(
                "lowercase: only a tokenizer with a BertNormalizer can be told to, this has another"
            )
        rust.normalizer.lowercase = lowercase
    return rust


@contextmanager
def accepted() -> Iterator[None]:
    """Raise SpecError when the library refuses a tokenizer, or breaks over it."""
    try:
        yield
    except BaseException as problem:  # a panic of the library is no Exception
        if isinstance(problem, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise SpecError(f"expected a tokenizer, found what cannot be read as one: {problem!s:.200}") from None


def _json(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as problem:
        raise SpecError(f"expected JSON: {problem!s:.200}") from None
    if not isinstance(content, dict):
        raise SpecError(f"expected a mapping, found {type(content).__name__}")
    return content


def _require_vocabulary(model: Mapping[str, Any], added: object) -> None:
    """Raise SpecError unless every piece has an id of its own, and the piece for unknown ones is there."""
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, list):  # Unigram: (piece, score), numbered from 0
        pieces: list[Any] = [piece[0] if isinstance(piece, list) and piece else None for piece in vocabulary]
        ids: list[Any] = list(range(len(pieces)))
    elif isinstance(vocabulary, dict):
        pieces, ids = list(vocabulary), list(vocabulary.values())
    else:
        raise SpecError(f"model.vocab: expected a mapping or a list, found {type(vocabulary).__name__}")
    if not all(isinstance(piece, str) for piece in pieces):
        raise SpecError("model.vocab: expected pieces that are texts")
    if not all(isinstance(each, int) and not isinstance(each, bool) and 0 <= each < 2**31 for each in ids):
        raise SpecError("model.vocab: expected ids that are whole numbers from 0 on")
    known = dict(zip(pieces, ids, strict=True))
    for entry in added if isinstance(added, list) else []:
        content, number = (entry.get("content"), entry.get("id")) if isinstance(entry, dict) else (None, None)
        if not isinstance(content, str) or not isinstance(number, int):
            raise SpecError(f"added_tokens: expected an id and a content, found {entry!r:.60}")
        if content not in known:
            pieces.append(content)
            ids.append(number)
            known[content] = number
    _require_distinct(pieces, "piece")
    _require_distinct(ids, "id")
    unknown = model.get("unk_token")
    needed = model.get("type", "WordPiece") in ("WordPiece", "WordLevel")
    if needed and not (isinstance(unknown, str) and isinstance(vocabulary, dict) and unknown in vocabulary):
        raise SpecError(f"expected the piece for unknown words, {unknown!r}, in the vocabulary, found none")


def _require_distinct(values: Sequence[Any], what: str) -> None:
    if len(set(values)) < len(values):
        seen: set[Any] = set()
        for value in values:
            if value in seen:
                raise SpecError(f"the {what} {value!r:.60} stands there twice")
            seen.add(value)


def _from_vocabulary(tokenizers: ModuleType, data: bytes, lowercase: bool | None) -> Any:
    lines = [line.removesuffix("\r") for line in _utf8(data).split("\n")]  # U+2028 and others are pieces
    pieces = lines[:-1] if lines[-1] == "" else lines
    _require_distinct(pieces, "piece")
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    for name in SPECIAL[:4]:
        if name not in vocabulary:
            raise SpecError(f"expected a vocabulary with {', '.join(SPECIAL[:4])}, found no {name}")
    if lowercase is None:
        lowercase = not any(piece != piece.lower() for piece in pieces if not _is_special(piece))
    model = tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
    rust = tokenizers.Tokenizer(model)
    rust.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
    rust.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    rust.post_processor = tokenizers.processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    rust.add_special_tokens([name for name in SPECIAL if name in vocabulary])
    return rust


def _utf8(data: bytes, where: str = "") -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise SpecError(
            f"{where}expected UTF-8 text, found the byte {data[problem.start]:#04x} at position {problem.start:,}"
        ) from None


def _from_byte_pairs(data: bytes, merges: bytes | None) -> bytes:
    """Give the tokenizer.json that the two files of RoBERTa stand for."""
    if merges is None:
        raise SpecError(
            "expected merges.txt beside it, found none", hint="name both under files: in module.yaml"
        )
    vocabulary = _json(data)
    for name in BYTE_SPECIAL[:4]:
        if name not in vocabulary:
            raise SpecError(f"expected a vocabulary with {', '.join(BYTE_SPECIAL[:4])}, found no {name}")
    lines = [line.removesuffix("\r") for line in _utf8(merges, "merges.txt: ").split("\n")]
    pairs = [line for number, line in enumerate(lines) if line and not (number == 0 and line[0] == "#")]
    wrong = next((line for line in pairs if len(line.split(" ")) != 2), None)
    if wrong is not None:
        raise SpecError(f"merges.txt: expected two pieces a line, found {wrong!r:.60}")
    sign = {"single_word": False, "rstrip": False, "normalized": False, "special": True}
    around = {"trim_offsets": True, "add_prefix_space": False}
    content = {
        "version": "1.0",
        "added_tokens": [
            # The space before a gap in a text belongs to the gap, as it did when RoBERTa was trained.
            {"id": vocabulary[name], "content": name, "lstrip": name == "<mask>", **sign}
            for name in BYTE_SPECIAL
            if name in vocabulary
        ],
        "pre_tokenizer": {"type": "ByteLevel", "use_regex": True, **around},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["</s>", vocabulary["</s>"]],
            "cls": ["<s>", vocabulary["<s>"]],
            **around,
        },
        "model": {"type": "BPE", "vocab": vocabulary, "merges": pairs},
    }
    return json.dumps(content).encode()


def _from_sentencepiece(
    tokenizers: ModuleType, data: bytes, lowercase: bool | None, keep_accents: bool
) -> Any:
    model = sentencepiece_text.read(data)
    lowercase = not model.has_capitals if lowercase is None else lowercase
    with accepted():
        rust = sentencepiece_text.build(tokenizers, model, lowercase=lowercase, keep_accents=keep_accents)
    return rust


def _is_special(piece: str) -> bool:
    return piece.startswith(("[", "<")) and piece.endswith(("]", ">"))
