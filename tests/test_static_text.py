"""The table of vectors for texts: its mean, its neighbours, what of it is trained, and the module made of one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hub
from hub.errors import InputError, MissingDependencyError, SpecError
from hub.modules import archs, bundle, compiled
from hub.modules.archs import paddlenlp_models
from hub.modules.archs.static_text import StaticText, pack
from hub.modules.network import Network, infer

PIECES, WIDTH = 30, 8
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def table(**arguments: object) -> StaticText:
    """Give a small one whose weights and matrix are random too."""
    paddle.seed(0)
    backbone = archs.build("static_text", **{"pieces": PIECES, "width": WIDTH, **arguments})
    rng = np.random.default_rng(0)
    for parameter in backbone.parameters():
        parameter.set_value(rng.uniform(0.2, 1.5, parameter.shape).astype("float32"))
    return backbone


def texts(*lengths: int, seed: int = 0) -> Batch:
    """Give texts of these many pieces, padded to the longest with a piece that must not count."""
    rng, longest = np.random.default_rng(seed), max(lengths)
    ids = rng.integers(0, PIECES, (len(lengths), longest))
    mask = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.int64)
    return ids, np.zeros_like(ids), mask


def rows_of(backbone: StaticText) -> np.ndarray:
    """Give the table as numbers, by the definition: low half-bytes first, from -7.5 to 7.5, times the weight."""
    state = {name: value.numpy() for name, value in backbone.state_dict().items()}
    codes = np.concatenate([state["table.codes"] & 15, state["table.codes"] >> 4], axis=1)
    return (codes.astype(np.float64) - 7.5) * state["table.weight"]


@pytest.mark.parametrize("normalize", [True, False])
def test_features_are_the_weighted_mean_of_the_pieces(normalize: bool) -> None:
    backbone, batch = table(normalize=normalize), texts(5, 1, 3)
    means = [rows_of(backbone)[ids[mask > 0]].mean(axis=0) for ids, _, mask in zip(*batch, strict=True)]
    expected = np.array(means) @ backbone.projection.weight.numpy().astype(np.float64)
    if normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert backbone.feature_spec == archs.FeatureSpec("pooled", (WIDTH,))
    np.testing.assert_allclose(infer(backbone, batch), expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 3))
def test_neither_padding_nor_company_changes_a_text(lengths: list[int], window: int) -> None:
    for tokens in (False, True):
        backbone, batch = table(window=window), texts(*lengths)
        if tokens:
            backbone.per_token()
        together = infer(backbone, batch)
        for row, length in enumerate(lengths):
            [alone] = infer(backbone, tuple(part[row : row + 1, :length] for part in batch))
            found = together[row, :length] if tokens else together[row]
            np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)


def test_several_texts_a_sample_are_as_several_samples() -> None:
    for tokens in (False, True):
        backbone, batch = table(), texts(4, 2, 3, 4)
        if tokens:
            backbone.per_token()
        flat, pairs = infer(backbone, batch), infer(backbone, tuple(part.reshape(2, 2, -1) for part in batch))
        np.testing.assert_allclose(pairs.reshape(flat.shape), flat, rtol=1e-6)


@pytest.mark.parametrize("window", [0, 1, 2])
def test_a_piece_stands_between_its_neighbours(window: int) -> None:
    backbone, (ids, segments, mask) = table(window=window), texts(3)
    backbone.per_token()
    found = infer(backbone, (ids, segments, mask))[0]
    projected = rows_of(backbone)[ids[0]] @ backbone.projection.weight.numpy()
    units = projected / np.sqrt(np.square(projected).mean(axis=1, keepdims=True))
    padded = np.pad(units, ((window, window), (0, 0)))
    expected = np.concatenate([padded[start : start + 3] for start in range(2 * window + 1)], axis=1)
    assert backbone.feature_spec == archs.FeatureSpec("tokens", (None, (2 * window + 1) * WIDTH))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_what_is_packed_is_what_is_read() -> None:
    codes = np.random.default_rng(0).integers(0, 16, (PIECES, WIDTH))
    backbone = archs.build("static_text", pieces=PIECES, width=WIDTH)
    backbone.table.codes.set_value(pack(codes))
    np.testing.assert_array_equal(rows_of(backbone), codes - 7.5)


def test_weights_and_matrix_are_trained_and_the_table_is_not() -> None:
    backbone, batch = table(), tuple(map(paddle.to_tensor, texts(4, 5)))
    before = {name: value.numpy().copy() for name, value in backbone.state_dict().items()}
    optimizer = paddle.optimizer.Adam(0.01, parameters=backbone.parameters())
    (backbone.features(batch) * paddle.arange(WIDTH, dtype="float32")).sum().backward()
    optimizer.step()
    changed = {name for name, value in backbone.state_dict().items() if (value.numpy() != before[name]).any()}
    assert changed == {"table.weight", "projection.weight"}
    unused = np.setdiff1d(np.arange(PIECES), batch[0].numpy())
    np.testing.assert_array_equal(backbone.table.weight.numpy()[unused], before["table.weight"][unused])


def test_groups_hold_everything_once_and_stages_give_the_features() -> None:
    for tokens in (False, True):
        backbone, batch = table(), tuple(map(paddle.to_tensor, texts(4, 2)))
        if tokens:
            backbone.per_token()
        layers = [layer for _, group in backbone.layer_groups() for layer in group]
        owned = [id(parameter) for layer in layers for parameter in layer.parameters()]
        assert sorted(owned) == sorted(map(id, backbone.parameters()))
        network = Network(backbone, paddle.nn.Identity())
        begun = network.prefix(1)(batch)
        np.testing.assert_allclose(
            network.rest(1)(begun).numpy(), backbone.features(batch).numpy(), rtol=1e-6
        )


def test_the_compiled_network_takes_texts_of_any_length() -> None:
    for tokens in (False, True):
        backbone = table()
        if tokens:
            backbone.per_token()
        problems: list[str] = []
        run = compiled.forward(backbone, texts(4, 2), say=problems.append)
        for lengths in ((4, 2), (1,), (9, 3, 5)):
            batch = texts(*lengths)
            np.testing.assert_allclose(run(batch), infer(backbone, batch), rtol=1e-5, atol=1e-6)
        assert not problems


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pieces": 0}, "arch.pieces: expected a whole number from 1 to 16,777,216, found 0"),
        ({"width": 7}, "arch.width: expected an even number, found 7"),
        ({"width": "8"}, "arch.width: expected a whole number from 2 to 4,096, found '8'"),
        ({"window": True}, "arch.window: expected a whole number from 0 to 8, found True"),
        ({"normalize": 1}, "arch.normalize: expected true or false, found 1"),
    ],
)
def test_sizes_that_mean_nothing_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as problem:
        archs.build("static_text", **{"pieces": PIECES, "width": WIDTH, **arguments})
    assert message in str(problem.value)


def test_what_are_no_texts_is_refused() -> None:
    backbone, (ids, segments, mask) = table(), texts(4, 2)
    with pytest.raises(InputError, match=r"expected \(ids, segments, mask\), found Tensor"):
        backbone.features(paddle.to_tensor(ids))
    with pytest.raises(InputError, match=r"as \[N, L\] or \[N, K, L\], found"):
        backbone.features(tuple(map(paddle.to_tensor, (ids, segments, mask[:, :2]))))


# ---- the module that ships ----


@pytest.fixture(scope="module")
def module() -> hub.Module:
    pytest.importorskip("tokenizers")
    return hub.Module("sentences_static")


def test_the_bundled_module_is_small_and_gives_what_it_gave(module: hub.Module) -> None:
    assert module.folder is not None
    assert sum(path.stat().st_size for path in module.folder.rglob("*") if path.is_file()) <= 2_000_000
    assert module.verify().ok


def test_sentences_of_one_meaning_are_nearer_than_others(module: hub.Module) -> None:
    found = module.embed(
        [
            "The doctor gave the patient some medicine.", "A nurse treats a sick man in hospital.",
            "The striker scored twice in the final.", "Our team won the football match.",
            "My bank raised the interest on the loan.", "She borrowed money to pay her debts.",
        ]
    )  # fmt: skip
    cosines = found @ found.T - 2 * np.eye(len(found))
    assert cosines.argmax(axis=1).tolist() == [1, 0, 3, 2, 5, 4]


def test_few_texts_teach_it_words_that_it_was_not_shown(module: hub.Module, tmp_path: Path) -> None:
    praise = ["a wonderful film", "the meal was excellent", "what a lovely room", "I enjoyed this great book"]
    blame = ["a terrible film", "the meal was awful", "what a dirty room", "I hated this boring book"]
    rows = [*((text, "good") for text in praise), *((text, "bad") for text in blame)]
    tuned = hub.Module("sentences_static").finetune(
        rows, valid=False, output_dir=tmp_path / "run", progress=False
    )
    asked = [
        "the service was superb",
        "the service was dreadful",
        "a brilliant concert",
        "a disappointing concert",
    ]
    answers = [result["label"] for result in tuned.predict(asked)]
    assert answers == ["good", "bad", "good", "bad"]
    saved = tuned.save(tmp_path / "mine")
    assert bundle.load(saved).spec.weights[0].size < 2_000_000, "the table keeps its four bits"
    again = hub.Module(str(saved))
    assert [result["label"] for result in again.predict(asked)] == answers
    np.testing.assert_allclose(again.embed(asked), tuned.embed(asked), rtol=1e-5, atol=1e-6)


def test_without_paddlenlp_an_encoder_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["paddlenlp", *(name for name in sys.modules if name.startswith("paddlenlp."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match="built with paddlenlp") as caught:
        paddlenlp_models.build("bert")
    expected = "pip install paddlenlp==" if sys.version_info < (3, 13) else "Python 3.10 to 3.12"
    assert expected in (caught.value.hint or "")


def test_without_its_matrix_the_mean_of_the_vectors_is_left(module: hub.Module, tmp_path: Path) -> None:
    texts = [("good and warm", "yes"), ("bad and cold", "no")] * 8
    settings = {"epochs": 1, "strategy": "full", "output_dir": tmp_path, "progress": False}
    module.finetune(texts, drop_groups=1, valid=False, **settings)
    again = hub.Module(tmp_path / "best")
    assert [name for name, _ in again.network.backbone.layer_groups()] == ["embeddings"]
    assert again.predict("good and warm") == module.predict("good and warm")
