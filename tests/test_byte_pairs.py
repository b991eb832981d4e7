"""RoBERTa's vocabulary without a tokenizer.json: the pieces are those of the libraries that trained it."""

from __future__ import annotations

import functools
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_text_tokenizer import CORPUS, ODD

import hub
from hub.cli.main import main
from hub.errors import InputError, SpecError
from hub.modules.spec import Named
from hub.modules.text_preprocessor import TextPreprocessor
from hub.registry import client
from hub.tasks.text_windows import windows
from hub.transforms.text import Tokenizer, Tokens
from hub.transforms.tokenizer_files import BYTE_SPECIAL

tokenizers = pytest.importorskip("tokenizers")

NAMES = ("vocab.json", "merges.txt")
WORDS = ["The", "dogs,", "", "underground", "New York", "我们"]


@functools.cache
def trained() -> tuple[bytes, bytes]:
    """Train 700 pieces on the texts that come with Python; gives vocab.json and merges.txt."""
    from pydoc_data.topics import topics

    lines = [line.strip() for text in topics.values() for line in text.split("\n")][:6000]
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(
        [*lines, *["我们在北京的花园里散步。", "café naïve Zürich"] * 20],
        vocab_size=700,
        special_tokens=[*BYTE_SPECIAL],
        show_progress=False,
    )
    model = json.loads(made._tokenizer.to_str())["model"]
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    text = "#version: 0.2\n" + "".join(f"{pair}\n" for pair in pairs)
    return json.dumps(model["vocab"], ensure_ascii=False).encode(), text.encode()


def made(vocabulary: bytes | None = None, merges: bytes | None = None, **options: Any) -> Tokenizer:
    files = dict(zip(NAMES, trained(), strict=True))
    files |= {name: data for name, data in zip(NAMES, (vocabulary, merges), strict=True) if data is not None}
    return Tokenizer.of(files, **{"max_length": 48, **options})


def written(folder: Path) -> list[str]:
    for name, data in zip(NAMES, trained(), strict=True):
        (folder / name).write_bytes(data)
    return [str(folder / name) for name in NAMES]


def theirs(library: str, folder: Path, **options: Any) -> Any:
    if library == "paddlenlp":
        pytest.importorskip("paddlenlp")
        kind = importlib.import_module("paddlenlp.transformers.roberta.tokenizer").RobertaBPETokenizer
    else:
        kind = pytest.importorskip("transformers").RobertaTokenizer  # the one in Python, not on our library
    return kind(*written(folder), **options)


# ---- what comes out ----


@pytest.mark.parametrize("library", ["paddlenlp", "transformers"])
def test_the_pieces_are_those_of_the_makers(library: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = [tuple(str(each) for each in rng.choice([*CORPUS, *ODD], 2)) for _ in range(60)]
    other, ours = theirs(library, tmp_path), made()
    for source in [*CORPUS, *ODD, *pairs]:
        texts = source if isinstance(source, tuple) else (source,)
        expected = other(*texts, truncation="longest_first", max_length=48)["input_ids"]
        assert ours.encode(source).ids.tolist() == expected, source


def test_a_gap_takes_the_space_before_it_as_in_transformers() -> None:
    """paddlenlp reads a gap in a text as the six letters that it is."""
    vocabulary = json.loads(trained()[0])
    assert made().encode("a <mask> b").ids.tolist() == [0, vocabulary["a"], 4, vocabulary["Ġb"], 2]
    assert made().encode("a<mask>b").ids.tolist() == [0, vocabulary["a"], 4, vocabulary["b"], 2]


def test_words_have_the_pieces_that_they_have_within_a_text(tmp_path: Path) -> None:
    tokens = made().encode(WORDS)
    within = made().encode(" " + " ".join(word for word in WORDS if word))
    assert [each for each in tokens.ids.tolist()] == within.ids.tolist()
    joined = " ".join(WORDS)
    found = {
        joined[start:stop]
        for (start, stop), word in zip(tokens.spans, tokens.words, strict=True)
        if word == 1
    }
    assert "".join(sorted(found, key="dogs,".index)) == "dogs,"
    for number, word in enumerate(WORDS):
        inside = tokens.spans[tokens.words == number]
        assert not word or joined[inside[:, 0].min() : inside[:, 1].max()].strip() == word
    try:
        other = theirs("transformers", tmp_path, add_prefix_space=True)
    except pytest.skip.Exception:
        return
    assert tokens.ids.tolist() == other(WORDS, is_split_into_words=True)["input_ids"]


def test_no_word_is_unknown_where_bytes_spell_it() -> None:
    assert made().unknown_words(["русский текст", "🙂"]) == (0, [])


def test_words_are_read_in_silence_by_a_vocabulary_with_gaps(capfd: pytest.CaptureFixture[str]) -> None:
    vocabulary = json.loads(trained()[0]) | {"far": 20_000_000}
    tokenizer = made(json.dumps(vocabulary).encode())
    assert tokenizer.encode(WORDS).ids.tolist() == made().encode(WORDS).ids.tolist()
    assert len(tokenizer.encode(["dog"] * 100)) == tokenizer.max_length
    assert capfd.readouterr() == ("", "")


def test_spans_leave_the_space_before_a_word_out() -> None:
    text = "The dogs, underground"
    tokens = made().encode(text)
    pieces = [text[start:stop] for start, stop in tokens.spans]
    assert "".join(pieces) == text.replace(" ", "")
    assert all(piece == piece.strip() for piece in pieces)
    assert tokens.segments.tolist() == [0] * len(tokens)
    assert made().segments == 1


def reader() -> TextPreprocessor:
    files = dict(zip(NAMES, trained(), strict=True))
    return TextPreprocessor([Named("tokenize", {"max_length": 48})], [], files)


@pytest.mark.parametrize(
    "text",
    ["ann Żuk saw", "in 東京 🙂 today", "7 ж 8", " Ω", "a\u3000\u3000 Щ", "ж " * 60, "\n\tж  \n ann\n"],
)
def test_words_of_a_text_are_found_where_the_space_before_them_is_a_piece_of_its_own(text: str) -> None:
    """So it is wherever no pair of bytes begins with the space, as before most that is rare in English."""
    found = [
        text[start:stop]
        for window in windows(text, reader().read(text), reader())
        for start, stop in window.places
    ]
    assert found == text.split()


@pytest.mark.parametrize("blank", [" ", "\n \t", "\u3000", " " * 500, [" ", ""], ["\n"]])
def test_a_text_of_spaces_is_none_though_they_have_pieces(blank: Any) -> None:
    first, nothing, last = reader().read_many(["ann", blank, "bob"])
    assert isinstance(nothing, InputError)
    assert str(nothing) == "expected a text, found one without a visible character"
    assert isinstance(first, Tokens)
    assert isinstance(last, Tokens)
    text = " " * 500 + "bob"
    assert len(list(windows(text, reader().read(text), reader()))) == 1


# ---- hostile and broken files ----


@pytest.mark.parametrize(
    ("vocabulary", "merges", "message"),
    [
        (b"[]", None, "vocab.json: expected a mapping, found list"),
        (b"{", None, "vocab.json: expected JSON:"),
        (b'{"a": 0}', None, "expected a vocabulary with <s>, <pad>, </s>, <unk>, found no <s>"),
        (b'{"<s>": 0, "<pad>": 0, "</s>": 2, "<unk>": 3}', b"", "the id 0 stands there twice"),
        (b'{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": "x"}', b"", "expected ids that are whole numbers from 0 on"),
        (b'{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "a": 5}', b"", "'a' stands twice"),
        (None, b"t h e\n", "merges.txt: expected two pieces a line, found 't h e'"),
        (None, b"the\n", "merges.txt: expected two pieces a line, found 'the'"),
        (None, b"\xff\n", "merges.txt: expected UTF-8 text, found the byte 0xff at position 0"),
        (None, "北 京\n".encode(), "expected a tokenizer, found what cannot be read as one"),
    ],
)  # fmt: skip
def test_files_that_make_no_tokenizer_say_what_was_expected(
    vocabulary: bytes | None, merges: bytes | None, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        made(vocabulary, merges)
    assert caught.value.message.startswith("vocab.json: ")
    assert message in caught.value.message


def test_a_vocabulary_alone_asks_for_its_pairs() -> None:
    with pytest.raises(SpecError) as caught:
        Tokenizer.of({"vocab.json": trained()[0]}, max_length=48)
    assert caught.value.message == "vocab.json: expected merges.txt beside it, found none"
    assert "name both" in caught.value.hint


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=60)
def test_files_with_other_bytes_are_read_or_refused_with_an_error_of_ours(name: str, data: Any) -> None:
    files = {each: bytearray(content) for each, content in zip(NAMES, trained(), strict=True)}
    for _ in range(data.draw(st.integers(1, 6))):
        files[name][data.draw(st.integers(0, len(files[name]) - 1))] = data.draw(st.integers(0, 255))
    try:
        tokenizer = made(bytes(files["vocab.json"]), bytes(files["merges.txt"]))
    except SpecError:
        return
    for source in ("the cat 我", ("the", "cat"), ["the", "cat"]):
        assert len(tokenizer.encode(source)) > 2


# ---- a whole encoder ----


def test_a_published_roberta_is_a_module_and_gives_what_transformers_gives(tmp_path: Path) -> None:
    pytest.importorskip("paddlenlp")
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tmp_path / "Tiny-RoBERTa"
    torch.manual_seed(0)
    config = transformers.RobertaConfig(
        vocab_size=700, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    network = transformers.RobertaModel(config, add_pooling_layer=False).eval()
    network.save_pretrained(folder, safe_serialization=True)
    tokenizer = theirs("transformers", folder)
    texts = ["The statement (9,9) is Café.", "我们 don't", "x " * 100]
    given = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
    with torch.no_grad():
        expected = network(**given).last_hidden_state[:, 0].numpy()
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    np.testing.assert_allclose(hub.Module(str(folder)).embed(texts), expected, atol=1e-4)
    assert main(["install", str(folder), "--quiet"]) == 0
    module = hub.Module("tiny-roberta")
    assert [file.file for file in module.spec.files] == [*NAMES]
    np.testing.assert_allclose(module.embed(texts), expected, atol=1e-4)
    module.save(tmp_path / "saved")
    assert np.array_equal(hub.Module(str(tmp_path / "saved")).embed(texts), module.embed(texts))
    assert client.verify_files(client.locate("tiny-roberta")) == []
    (folder / "tokenizer_config.json").write_text('{"add_prefix_space": true}', encoding="utf-8")
    with pytest.raises(SpecError, match=r"add_prefix_space: only False is done with vocab\.json, found True"):
        hub.Module(str(folder))
