"""Texts are cut by a SentencePiece model as ALBERT's makers do it, and files that are no such model are refused."""

from __future__ import annotations

import importlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoder_folders import spiece
from hypothesis import given, settings
from hypothesis import strategies as st

import hub
from hub.cli.main import main
from hub.errors import InputError, SpecError
from hub.modules import preprocessor
from hub.modules.spec import Named
from hub.modules.text_preprocessor import TextPreprocessor
from hub.registry import client
from hub.tasks.sequence_labeling import SequenceLabeling
from hub.transforms import sentencepiece_text
from hub.transforms.text import Tokenizer, Tokens

pytest.importorskip("tokenizers")
pytest.importorskip("sentencepiece")

CORPUS = [
    "A man is eating food.", "x", "  The   quick\tbrown\nfox  ", "the statement is executed " * 60,
    "Café résumé naïve — ÅNGSTRÖM!", "e\u0301 combining a\u0328 İstanbul ẞ ß", "ﬁne ﬀ Ⅻ ｆｕｌｌ ｗｉｄｔｈ",
    "``He said'' \"no\" “quotes” ‘x’ '\"–—…", "don't U.S.A. 3.14 (e-mail@x.org) http://a.b/c?d=e",
    "1,000,000 or 9,9 and 2, then 1,2, ok", "$5 €3 £2 −1", "🙂👍🏽 ok ❤️ 🇩🇪👨\u200d👩\u200d👧",
    "我们在北京的花园里散步。",
    "日本語のテキスト、カタカナ한국어", "zero\u200bwidth\u00a0nbsp\u2028line", "\x00nul\x07bell \ufffd",
    "русский текст ёЁ Й", "العربية שלום", "हिन्दी ไทย", "𠀀𠮷 𝒳 𝔘", "#hashtag @user _under_score ^~", "a" * 150,
]  # fmt: skip


def made(max_length: int = 512, data: bytes | None = None, **options: Any) -> Tokenizer:
    files = {"spiece.model": spiece() if data is None else data}
    return Tokenizer.of(files, max_length=max_length, **options)


def mixed(seed: int = 0, count: int = 200) -> list[str]:
    """Give texts of words and characters from all over the corpus."""
    rng = np.random.default_rng(seed)
    words = [word for text in CORPUS for word in text.split()]
    characters = [*"".join(CORPUS)]
    return [
        " ".join(rng.choice(words, 8)) if number % 2 else "".join(rng.choice(characters, 20))
        for number in range(count)
    ]


def pieces(tokens: Tokens) -> list[str]:
    return [["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", *PIECES][number] for number in tokens.ids]


def number(value: int) -> bytes:
    return (bytes([value & 127 | 128]) + number(value >> 7)) if value > 127 else bytes([value])


def field(place: int, value: int | float | bytes) -> bytes:
    """Give a field of a message of protocol buffers."""
    if isinstance(value, bytes):
        return number(place << 3 | 2) + number(len(value)) + value
    if isinstance(value, float):
        return number(place << 3 | 5) + struct.pack("<f", value)
    return number(place << 3) + number(value)


def piece(text: str | bytes, score: float = -1.0, kind: int = 1) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return field(1, field(1, data) + field(2, score) + field(3, kind))


SPECIAL = [piece("<pad>", 0.0, 3), piece("<unk>", 0.0, 2), piece("[CLS]", 0.0, 3), piece("[SEP]", 0.0, 3)]
SMALL = b"".join([*SPECIAL, piece("▁a"), piece("b", -2.0), piece("▁", -3.0)])
PIECES = [
    "▁the", "▁cat", "▁sat", "s", "▁c", "a", "f", "e", "▁", "(", ")", "9", ",", "▁New", "▁York", "▁on", "9,",
]  # fmt: skip
MODEL = b"".join([*SPECIAL, piece("[MASK]", 0.0, 3), *map(piece, PIECES)])


# ---- what comes out ----


def test_a_text_becomes_its_pieces_with_their_places() -> None:
    text = " The Café (9,9)\tsat 好好"
    tokens = made(data=MODEL, lowercase=True).encode(text)
    assert pieces(tokens) == [
        "[CLS]", "▁the", "▁c", "a", "f", "e", "▁", "(", "9", ",", "9", ")", "▁sat", "▁", "<unk>", "[SEP]",
    ]  # fmt: skip
    assert [text[start:stop] for start, stop in tokens.spans] == [
        "", "The", "C", "a", "f", "é", "(", "(", "9", ",", "9", ")", "sat", "好", "好好", "",
    ]  # fmt: skip
    assert tokens.words.tolist() == [-1, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 4, 4, -1]
    assert not tokens.segments.any()
    assert not tokens.cut


def test_words_that_are_mostly_unknown_are_counted() -> None:
    found = made(data=MODEL, lowercase=True).unknown_words(["The Café x 好好", "sat好 on 好 s"])
    assert found == (8, ["x", "好好", "好"])


def test_words_keep_their_numbers_and_their_places_in_the_joined_text() -> None:
    words = ["the", "cats", "", "(on", "New York", "\u0301", "9,9)"]
    joined = " ".join(words)
    tokenizer = made(data=MODEL)
    tokens = tokenizer.encode(words)
    assert pieces(tokens)[1:-1] == [
        "▁the", "▁cat", "s", "▁", "(", "<unk>", "▁New", "▁York", "▁", "9", ",", "9", ")"
    ]  # fmt: skip
    assert tokens.words[1:-1].tolist() == [0, 1, 1, 3, 3, 3, 4, 4, 6, 6, 6, 6, 6]
    assert [joined[start:stop] for start, stop in tokens.spans[1:-1]] == [
        "the", "cat", "s", "(", "(", "on", "New", "York", "9", "9", ",", "9", ")"
    ]  # fmt: skip
    assert tokens.ids.tolist() == tokenizer.encode(joined).ids.tolist()


def test_a_pair_has_two_segments_and_what_is_too_long_is_cut() -> None:
    tokens = made(data=MODEL).encode(("the cats", "sat"))
    assert pieces(tokens) == ["[CLS]", "▁the", "▁cat", "s", "[SEP]", "▁sat", "[SEP]"]
    assert tokens.segments.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert tokens.spans.tolist() == [[0, 0], [0, 3], [4, 7], [7, 8], [0, 0], [0, 3], [0, 0]]
    short = made(data=MODEL, max_length=5).encode(("the cats", "sat"))
    assert pieces(short) == ["[CLS]", "▁the", "[SEP]", "▁sat", "[SEP]"]
    assert (tokens.cut, short.cut) == (False, True)


def test_special_pieces_are_found_by_name() -> None:
    tokenizer = made(data=MODEL)
    assert (tokenizer.pad_id, tokenizer.ids, tokenizer.segments) == (0, 5 + len(PIECES), 2)
    assert pieces(tokenizer.encode("the [MASK]sat")) == ["[CLS]", "▁the", "[MASK]", "▁sat", "[SEP]"]


@pytest.mark.parametrize("source", ["", " \t\n", "\u200b", "\u0301", ("", " "), ["", " "], []])
def test_a_text_without_content_has_no_pieces(source: Any) -> None:
    steps = preprocessor.build([Named("tokenize", {"max_length": 9})], (), {"spiece.model": spiece()})
    with pytest.raises(InputError, match="expected a text, found"):
        steps.read(source)


def test_letters_and_accents_are_kept_where_it_is_said() -> None:
    """Unless it is said, letters are in lower case where all of the vocabulary is, and accents are dropped."""
    cased = spiece(capitals=True)
    for data, options, same in (
        (spiece(), {}, "cafe zurich"),
        (spiece(), {"lowercase": True}, "cafe zurich"),
        (spiece(), {"keep_accents": True}, "café zürich"),
        (cased, {}, "Cafe Zurich"),
        (cased, {"lowercase": True, "keep_accents": False}, "cafe zurich"),
        (cased, {"keep_accents": True}, "Café Zürich"),
    ):
        plain = made(data=data, lowercase=False, keep_accents=True)
        found = made(data=data, **options).encode("Café Zürich").ids.tolist()
        assert found == plain.encode(same).ids.tolist(), options


def test_accents_are_a_question_of_sentencepiece_alone() -> None:
    step = Named("tokenize", {"max_length": 9, "keep_accents": False})
    with pytest.raises(SpecError, match=r"keep_accents: only for spiece\.model, the tokenizer is vocab\.txt"):
        preprocessor.build([step], (), {"vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n"})
    with pytest.raises(
        SpecError, match=r"preprocess\.tokenize\.keep_accents: expected true or false, found 1"
    ):
        preprocessor.build([Named("tokenize", {"max_length": 9, "keep_accents": 1})], (), {})


# ---- against the libraries that made the encoders ----


def theirs(library: str, folder: Path, data: bytes, **options: Any) -> Any:
    path = folder / "spiece.model"
    path.write_bytes(data)
    if library == "paddlenlp":
        pytest.importorskip("paddlenlp")
        module = importlib.import_module("paddlenlp.transformers.albert.tokenizer")
        return module.AlbertEnglishTokenizer(str(path), **options)
    return getattr(pytest.importorskip("transformers"), library)(str(path), **options)


@pytest.mark.parametrize("library", ["paddlenlp", "AlbertTokenizer"])
@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("keep_accents", [True, False])
def test_the_pieces_are_those_of_the_makers(
    library: str, lowercase: bool, keep_accents: bool, tmp_path: Path
) -> None:
    data = spiece(capitals=not lowercase)
    other = theirs(library, tmp_path, data, do_lower_case=lowercase, keep_accents=keep_accents)
    ours = made(data=data, lowercase=lowercase, keep_accents=keep_accents, max_length=4096)
    for text in CORPUS + mixed() * (not keep_accents):
        assert ours.encode(text).ids.tolist() == other(text)["input_ids"], text
    for pair in zip(CORPUS, CORPUS[1:], strict=False):
        expected, found = other(*pair), ours.encode(pair)
        assert found.ids.tolist() == expected["input_ids"]
        assert found.segments.tolist() == expected["token_type_ids"]
    if library == "AlbertTokenizer":
        words = [word for text in CORPUS for word in text.split()]
        assert ours.encode(words).ids.tolist() == other(words, is_split_into_words=True)["input_ids"]


@pytest.mark.parametrize("max_length", [512, 24, 13])
def test_the_pieces_are_those_of_the_rust_tokenizer_of_transformers(max_length: int, tmp_path: Path) -> None:
    """Without symbols of the trainer's: before these and after them it adds a space. And it keeps one at the end."""
    data = spiece(symbols="")
    other = theirs("AlbertTokenizerFast", tmp_path, data)
    ours = made(data=data, max_length=max_length)
    texts = [text.strip() for text in CORPUS if not text.endswith("\ufffd")]
    for source in [*texts, *zip(texts, texts[1:], strict=False)]:
        given = source if isinstance(source, tuple) else (source,)
        expected = other(*given, truncation="longest_first", max_length=max_length)
        found = ours.encode(source)
        assert found.ids.tolist() == expected["input_ids"], source
        assert found.segments.tolist() == expected["token_type_ids"]


def test_a_text_in_which_no_word_has_a_place_has_no_entities_and_the_others_have_theirs() -> None:
    """Where a character before a word is dropped, the tokenizer says of the word that it stands in its place."""
    reader = TextPreprocessor([Named("tokenize", {"max_length": 12})], [], {"spiece.model": spiece()})
    texts = ["a man", "\x1ca", "a"]
    found = SequenceLabeling(["O", "B-X"]).answers(
        texts, list(map(reader.read, texts)), preprocessor=reader, words=True,
        run=lambda batch: np.eye(2)[np.ones_like(batch[0])],
    )  # fmt: skip
    assert [len(each["entities"]) for each in found] == [2, 0, 1]
    assert [len(each["words"]) for each in found] == [2, 0, 1]


# ---- files that were made by somebody else ----


def table(*nodes: int, texts: bytes = b"b\0") -> bytes:
    """Give a model with a table of characters: the nodes of its trie, and the texts behind it."""
    trie = np.zeros(256, "<u4")
    trie[: len(nodes)] = nodes
    return SMALL + field(3, field(2, struct.pack("<I", trie.nbytes) + trie.tobytes() + texts))


def test_a_model_with_the_least_in_it_is_read() -> None:
    for data in (SMALL, SMALL + field(9, b"further") + field(8, 1) + field(7, 1.0), table()):
        assert made(data=data, max_length=9).encode("a ab").ids.tolist() == [2, 4, 4, 5, 3]


def test_control_pieces_and_unused_ones_are_in_no_text() -> None:
    data = SMALL + piece("ab", 0.0, 3) + piece("bb", 0.0, 5) + piece("1,", 0.0) + piece("1") + piece(",")
    assert made(data=data, max_length=20).encode("aab bb1,").ids.tolist() == [2, 4, 1, 5, 6, 5, 5, 10, 11, 3]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "found one without pieces"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n", "found what is none or is damaged before byte"),
        (b"version https://git-lfs.github.com/spec/v1\n", "found what is none or is damaged"),
        (b"\x0a\xff\xff\xff\xff\x7f", "34,359,738,367 bytes should follow, 0 do"),
        (b"\xff" * 11, "it ends in a number, or has one of more than 64 bits"),
        (field(1, 5), "found what is none or is damaged"),
        (field(2, 5), "found what is none or is damaged"),
        (SMALL + field(3, field(2, 7)), "found what is none or is damaged"),
        (SMALL + piece(""), "a piece without a text"),
        (SMALL + field(1, field(1, 3)), "a piece without a text"),
        (SMALL + piece(b"\xff"), "a piece is not in UTF-8"),
        (SMALL + piece("x", float("nan")), "the score of a piece is nan"),
        (SMALL + piece("x", float("-inf")), "the score of a piece is -inf"),
        (SMALL + piece("b"), "the piece 'b' stands there twice"),
        (SMALL + piece("x", 0.0, 2), "expected one piece for unknown characters, found 2"),
        (SMALL.replace(SPECIAL[1], b""), "expected one piece for unknown characters, found 0"),
        (SMALL.replace(SPECIAL[2], b""), "expected pieces [CLS], [SEP] and <pad> as ALBERT has, found no [CLS]"),
        (SMALL.replace(SPECIAL[0], b""), "found no <pad>"),
        (SMALL + field(2, field(3, 2)), "expected a model of the type unigram, found another setting (2)"),
        (SMALL + field(2, field(22, 0)), "expected pieces that end where a word ends"),
        (SMALL + field(2, field(24, 1)), "expected a space before a word and not after it"),
        (SMALL + field(2, field(35, 1)), "expected unknown characters that are not cut into bytes"),
        (SMALL + field(3, field(3, 0)), "expected a space before the first word"),
        (SMALL + field(3, field(5, 0)), "expected spaces that are written ▁"),
        (SMALL + field(3, field(2, b"\1")), "the table of characters is not as long as it says"),
        (SMALL + field(3, field(2, struct.pack("<I", 2**32 - 4) + b"x\0")), "is not as long as it says"),
        (SMALL + field(3, field(2, struct.pack("<I", 6) + b"123456x\0")), "is not as long as it says"),
        (table(texts=b""), "is not as long as it says"),
        (table(texts=b"no end"), "is not as long as it says"),
        (table(texts=b"\xff\0"), "the table of characters is not in UTF-8"),
        (table(1 << 20), "the table of characters leads out of itself"),
        (table(0xFFFFFFFF), "the table of characters leads out of itself"),
        (table(0, 1 << 8 | 2 << 10, 0, 77), "the table of characters leads out of itself"),
        (table(0, 1 << 8 | 2 << 10, 0, 1, texts="é\0".encode()), "the table of characters leads out of itself"),
        (table(0, 1 << 8 | 2 << 10, texts=b"x" * 300 + b"\0"), "the table of characters leads out of itself"),
    ],
)  # fmt: skip
def test_a_hostile_model_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(SpecError, match=r"^spiece\.model: ") as caught:
        made(data=data)
    assert message in caught.value.message


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(SpecError, match="expected a model of the type unigram") as caught:
        made(data=spiece(model_type="bpe"))
    assert "tokenizer.json" in caught.value.hint


def require_read_or_refused(data: bytes) -> None:
    try:
        tokenizer = made(data=data, max_length=64)
    except SpecError as refused:
        if not refused.message.startswith("spiece.model: "):
            raise
        return
    for tokens in tokenizer.encode_many(CORPUS):
        assert (tokens.ids < tokenizer.ids).all()


def test_a_model_that_was_cut_off_is_refused_or_has_fewer_pieces() -> None:
    """Of a file that ends between two fields nothing says so; it is read when what must be there is there."""
    whole = spiece()
    for end in {*range(0, 200), *range(0, len(whole), 1999), *range(len(whole) - 20, len(whole))}:
        require_read_or_refused(whole[:end])
    with pytest.raises(SpecError, match="bytes should follow"):
        made(data=whole[: len(whole) // 2])


@given(st.sampled_from(["nmt_nfkc", "identity"]), st.data())
@settings(max_examples=150)
def test_a_model_with_other_bytes_is_read_or_refused_with_an_error_of_ours(rule: str, data: Any) -> None:
    changed = bytearray(spiece(normalization_rule_name=rule))
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    require_read_or_refused(bytes(changed))


# ---- a whole encoder ----


def test_a_published_albert_is_a_module_and_gives_what_transformers_gives(tmp_path: Path) -> None:
    pytest.importorskip("paddlenlp")
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tmp_path / "Tiny-ALBERT"
    (folder / "1_Pooling").mkdir(parents=True)
    for path, content in {
        "modules.json": [
            {"type": "sentence_transformers.models.Transformer", "path": ""},
            {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        ],
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
    }.items():
        (folder / path).write_text(json.dumps(content), encoding="utf-8")
    torch.manual_seed(0)
    config = transformers.AlbertConfig(
        vocab_size=len(sentencepiece_text.read(spiece()).pieces), embedding_size=8, hidden_size=16,
        num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, max_position_embeddings=64,
        initializer_range=0.3,
    )  # fmt: skip
    network = transformers.AlbertModel(config).eval()
    network.save_pretrained(folder, safe_serialization=True)
    tokenizer = theirs("AlbertTokenizer", folder, spiece())
    texts = ["The statement (9,9) is Café.", "我们 don't", "x " * 100]
    given = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
    with torch.no_grad():
        hidden = network(**given).last_hidden_state
    share = given["attention_mask"].unsqueeze(-1)
    expected = ((hidden * share).sum(1) / share.sum(1)).numpy()
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    np.testing.assert_allclose(hub.Module(str(folder)).embed(texts), expected, atol=1e-4)
    assert main(["install", str(folder), "--quiet"]) == 0
    module = hub.Module("tiny-albert")
    assert [file.file for file in module.spec.files] == ["spiece.model"]
    np.testing.assert_allclose(module.embed(texts), expected, atol=1e-4)
    module.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "spiece.model").read_bytes() == spiece()
    assert np.array_equal(hub.Module(str(tmp_path / "saved")).embed(texts), module.embed(texts))
    assert client.verify_files(client.locate("tiny-albert")) == []
    (folder / "tokenizer_config.json").write_text(
        '{"do_lower_case": false, "keep_accents": true, "tokenizer_class": "AlbertTokenizer"}',
        encoding="utf-8",
    )
    kept = theirs("AlbertTokenizer", folder, spiece(), do_lower_case=False, keep_accents=True)
    found = hub.Module(str(folder)).preprocessor.read(texts[0])
    assert found.ids.tolist() == kept(texts[0])["input_ids"] != given["input_ids"][0].tolist()
    for said, message in (
        (
            '{"tokenizer_class": "T5Tokenizer"}',
            "expected ALBERT's pieces for spiece.model, found 'T5Tokenizer'",
        ),
        ('{"remove_space": false}', "remove_space: only True is done with spiece.model, found False"),
    ):
        (folder / "tokenizer_config.json").write_text(said, encoding="utf-8")
        with pytest.raises(SpecError) as caught:
            hub.Module(str(folder))
        assert message in caught.value.message
