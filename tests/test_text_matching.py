"""Text matching: pairs as one sequence and apart, losses, metrics against scikit-learn, search."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    label_ranking_average_precision_score,
    roc_auc_score,
)
from sklearn.neighbors import NearestNeighbors

from hub import tasks
from hub.datasets import Sample
from hub.errors import SpecError, UsageError
from hub.modules.archs import FeatureSpec
from hub.modules.network import infer
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Named
from hub.tasks.base import WeightedMean
from hub.tasks.nearest import nearest
from hub.tasks.ranking_metrics import mean_average_precision, mean_reciprocal_rank, recall_at
from hub.tasks.text_matching import CosineHead, SiameseMatching, TextMatching, contrast
from hub.tasks.text_matching_metrics import PairMeter
from tests.small_texts import added_up, answers, network_for, reader, train

PAIRS = [
    (("new york", "york, the new one"), 1),
    (("ann lee", "lee, ann"), 1),
    (("bob waits", "waiting bob"), 1),
    (("new york", "waiting bob"), 0),
    (("ann lee", "york, the new one"), 0),
    (("bob waits", "lee, ann"), 0),
]
TASKS = {"text_matching": TextMatching, "siamese_matching": SiameseMatching}


@pytest.fixture(params=[False, True], ids=["plain", "tokenizers"])
def library(request: pytest.FixtureRequest) -> bool:
    if request.param:
        pytest.importorskip("tokenizers")
    return bool(request.param)


def batch_of(task: TextMatching, library: bool = False) -> Any:
    examples = task.examples(reader(library))
    return examples.batch(
        [examples.read(Sample(*pair)) for pair in PAIRS], np.array([label for _, label in PAIRS])
    )


# ---- the tasks ----


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (("0", "1"), "1"),
        (("different", "same"), "same"),
        (("match", "no_match"), "match"),
        (("duplicate", "not duplicate"), "duplicate"),
        (("related", "unrelated"), "related"),
        (("no", "yes"), "yes"),
        (("-1", "1"), "1"),
        (("False", "True"), "True"),
        (("normal", "similar"), "similar"),
        (("correct", "incorrect"), "correct"),
        (("information", "other"), "other"),
        (("contradiction", "entailment"), "entailment"),
        (("不同", "相同"), "相同"),
        (("相似", "不相似"), "相似"),
    ],
)
def test_the_label_of_a_match_follows_from_the_names(name: str, labels: tuple[str, str], match: str) -> None:
    task = tasks.create(name, labels)
    assert type(task) is TASKS[name]
    assert task.labels[task.positive] == match


def test_where_names_do_not_say_it_a_match_is_what_is_asked_for_or_more_alike() -> None:
    alike = [Sample((f"the green house {n}", f"a green house {n}"), 0) for n in range(6)]
    apart = [Sample((f"the green house {n}", f"somebody sings {n}"), 1) for n in range(6)]
    for kind in TASKS.values():
        assert kind.in_order(alike + apart, ("duplicate", "original")) == ("original", "duplicate")
        assert kind.in_order(alike + apart, ("gleich", "verschieden")) == ("verschieden", "gleich")
        assert kind.in_order(alike + apart, ("1", "2")) == ("2", "1")
        assert kind.in_order(alike + apart, ("1", "2"), match=2) == ("1", "2")
        assert kind.in_order(alike + apart, ("0", "1")) == ("0", "1"), "the names say it"
        with pytest.raises(UsageError, match="neither the names 'a' and 'b' nor the texts say") as caught:
            kind.in_order(alike[:3] + [Sample(each.input, 1) for each in alike[:3]], ("a", "b"))
        assert "match='b'" in str(caught.value)
        with pytest.raises(UsageError, match="match: expected one of"):
            kind.in_order(alike, ("a", "b"), match="c")
        with pytest.raises(UsageError, match="match: expected '1', found '0'"):
            kind(("0", "1"), match="0")


@pytest.mark.parametrize("kind", TASKS.values())
def test_what_cannot_be_meant_is_refused(kind: type[TextMatching]) -> None:
    with pytest.raises(UsageError, match="expected two labels, such as 0 and 1, found 3: a, b, c"):
        kind(("a", "b", "c"))
    with pytest.raises(UsageError, match="found multi_label=True"):
        kind(("a", "b"), multi_label=True)
    with pytest.raises(SpecError, match="needs the step tokenize"):
        kind.examples(PicturePreprocessor([Named("normalize")]))
    with pytest.raises(SpecError, match="found tokens features"):
        kind(("a", "b")).build_head(FeatureSpec("tokens", (None, 4)))
    with pytest.raises(UsageError, match="loss: expected one of"):
        kind(("a", "b")).loss(kind="contrastiv")


def test_the_contrastive_loss_belongs_to_vectors() -> None:
    with pytest.raises(UsageError, match="found 'contrastive'"):
        TextMatching(("0", "1")).loss(kind="contrastive")


def test_pairs_are_one_sequence_or_two(library: bool) -> None:
    (ids, segments, mask), targets = batch_of(TextMatching(("0", "1")), library)
    assert ids.shape == segments.shape == mask.shape == (6, ids.shape[1])
    assert set(np.unique(segments)) == {0, 1}
    (ids, segments, mask), targets = batch_of(SiameseMatching(("0", "1")), library)
    assert ids.shape == segments.shape == mask.shape == (6, 2, ids.shape[2])
    assert set(np.unique(segments)) == {0}
    assert mask[0].sum(axis=1).tolist() == [len("newyork") + 2, len("york,thenewone") + 2]
    examples = SiameseMatching.examples(reader(library))
    assert examples.length(examples.read(Sample(*PAIRS[0]))) == len("york,thenewone") + 2
    assert targets.tolist() == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("labels", [("0", "1"), ("match", "no_match")])
@pytest.mark.parametrize(
    ("name", "loss"), [("text_matching", "cross_entropy"), ("siamese_matching", "cross_entropy"),
                       ("siamese_matching", "contrastive"), ("siamese_matching", "focal")],
)  # fmt: skip
def test_pairs_are_learnt_and_answered(name: str, loss: str, labels: tuple[str, str], library: bool) -> None:
    task = TASKS[name](labels)
    inputs, targets = batch_of(task, library)
    if labels[0] == "match":
        targets = 1 - targets
    network = network_for(task)
    train(network, task, (inputs, targets), steps=150, kind=loss)
    results = answers(task, network, reader(library), [pair for pair, _ in PAIRS])
    assert [result["label"] for result in results] == [labels[target] for target in targets]
    assert [set(result) for result in results] == [{"label", "score", "similarity"}] * 6
    similar = [result["similarity"] for result in results]
    assert min(similar[:3]) > max(similar[3:])
    drawn = task.picture(PAIRS[0][0])
    assert task.draw(drawn, results[0]).height > drawn.height
    found = task.meter()
    found.update(infer(network, inputs), targets)
    assert found.compute()["accuracy"] == 1.0
    assert task.misses(infer(network, inputs), targets) == []
    assert len(task.misses(infer(network, inputs), 1 - targets)) == 6


@pytest.mark.parametrize("kind", TASKS.values())
def test_an_answer_says_that_a_text_was_cut(kind: type[TextMatching], library: bool) -> None:
    task = kind(("0", "1"))
    short, long = answers(
        task, network_for(task), reader(library, 9), [("a", "b"), ("a", "a much longer text")]
    )
    assert "cut" not in short
    assert long["cut"] is True


@pytest.mark.parametrize("kind", TASKS.values())
def test_what_is_no_pair_has_an_error_and_the_rest_its_answers(kind: type[TextMatching]) -> None:
    task = kind(("0", "1"))
    results = answers(task, network_for(task), reader(False), ["ab", ("a", "b"), ("a", " "), ["a", "b"]])
    assert [result.get("error") for result in results] == [
        "expected a pair of texts, found str 'ab'",
        None,
        "expected two texts, found none in the second place",
        "expected a pair of texts, found list \"['a', 'b']\"",
    ]
    assert results[1] == answers(task, network_for(task), reader(False), [("a", "b")])[0]


def test_the_similarity_of_siamese_answers_is_the_cosine_of_what_embed_gives() -> None:
    task, found = SiameseMatching(("0", "1")), reader(False)
    network = network_for(task)
    [result] = answers(task, network, found, [("ann", "bob waits")])
    first, second = (
        infer(network.backbone, found.batch([found.read(text)]))[0] for text in ("ann", "bob waits")
    )
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert result["similarity"] == pytest.approx(float(cosine), abs=1e-5)


# ---- head and losses ----


@pytest.mark.parametrize("positive", [0, 1])
def test_the_head_begins_undecided_at_a_cosine_of_one_half(positive: int) -> None:
    head = CosineHead(positive)
    angles = np.array([0.0, np.pi / 3, np.pi / 2])
    second = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 7
    features = np.stack([np.tile([3.0, 0.0], (3, 1)), second], axis=1).astype(np.float32)
    logits, vectors = head(paddle.to_tensor(features))
    match = logits.numpy()[:, positive] - logits.numpy()[:, 1 - positive]
    assert match == pytest.approx([5, 0, -5], abs=1e-4)
    assert np.linalg.norm(vectors.numpy(), axis=2) == pytest.approx(np.ones((3, 2)))


def test_the_contrastive_loss_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 2, 8))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    matches = np.array([True, False, True, True, False])
    scores = 20 * vectors[:, 0] @ vectors[:, 1].T
    wanted = np.mean([np.log(np.exp(scores[i]).sum()) - scores[i, i] for i in np.flatnonzero(matches)])
    given = paddle.to_tensor(vectors.astype(np.float32))
    assert float(contrast(given, paddle.to_tensor(matches))) == pytest.approx(wanted, rel=1e-4)
    assert float(contrast(given, paddle.to_tensor(np.zeros(5, bool)))) == 0


def test_parts_of_a_batch_add_up_by_the_weights_of_their_classes() -> None:
    loss = SiameseMatching(("0", "1")).loss(class_weight=np.array([1.0, 3.0]))
    assert isinstance(loss, WeightedMean)
    rng = np.random.default_rng(0)
    logits, vectors, right = rng.normal(size=(5, 2)), rng.normal(size=(5, 2, 4)), np.array([0, 1, 1, 0, 1])

    def value(rows: slice) -> tuple[float, float]:
        given = tuple(paddle.to_tensor(each[rows].astype(np.float32)) for each in (logits, vectors))
        return float(loss(given, paddle.to_tensor(right[rows]))), float(
            loss.weight(paddle.to_tensor(right[rows]))
        )

    parts, shares = zip(*(value(rows) for rows in (slice(2), slice(2, 5))), strict=True)
    assert value(slice(5)) == (pytest.approx(np.average(parts, weights=shares), rel=1e-5), 11.0)


# ---- metrics ----


def test_metrics_over_batches_and_processes_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    right = rng.integers(0, 2, 400)
    logits = rng.normal(size=(400, 2)) * 3
    logits[np.arange(400), right] += 1
    logits[:100] = logits[:100].round()  # with ties
    task = TextMatching(("0", "1"))
    first, second = task.meter(), task.meter()
    first.update(logits[:150], right[:150])
    second.update(logits[150:], right[150:])
    found = added_up(first, second)
    score = logits[:, 1] - logits[:, 0]
    assert found["auc"] == pytest.approx(roc_auc_score(right, score), abs=2e-5)
    assert found["f1"] == pytest.approx(f1_score(right, logits.argmax(axis=1)))
    assert found["accuracy"] == pytest.approx(accuracy_score(right, logits.argmax(axis=1)))
    assert set(task.metrics) <= set(found)


def test_the_match_may_be_the_first_label() -> None:
    rng = np.random.default_rng(1)
    right, logits = rng.integers(0, 2, 100), rng.normal(size=(100, 2)) * 10
    meter = TextMatching(("match", "no_match")).meter()
    meter.update(logits, right)
    assert meter.compute()["auc"] == pytest.approx(
        roc_auc_score(right == 0, logits[:, 0] - logits[:, 1]), abs=1e-4
    )
    assert meter.compute()["f1"] == pytest.approx(f1_score(right == 0, logits.argmax(axis=1) == 0))


def test_one_class_alone_has_no_order() -> None:
    meter = PairMeter(("0", "1"), match="1")
    meter.update(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1, 1]))
    assert meter.compute()["auc"] == 0.5


def random_ranking(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    relevant = rng.random((30, 12)) < 0.25
    relevant[np.arange(30), rng.integers(0, 12, 30)] = True
    return rng.normal(size=(30, 12)).round(1), relevant  # with ties


def test_mean_average_precision_is_that_of_scikit_learn() -> None:
    scores, relevant = random_ranking()
    each = [average_precision_score(row, score) for row, score in zip(relevant, scores, strict=True)]
    assert mean_average_precision(scores, relevant) == pytest.approx(np.mean(each))
    assert mean_average_precision(scores, relevant) == pytest.approx(
        label_ranking_average_precision_score(relevant, scores)
    )


def test_ranks_by_hand() -> None:
    scores = np.array([[0.9, 0.5, 0.1, 0.0], [0.2, 0.9, 0.8, 0.7]])
    relevant = np.array([[0, 1, 0, 1], [1, 0, 0, 0]])
    assert mean_reciprocal_rank(scores, relevant) == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert [recall_at(scores, relevant, k=k) for k in (1, 2, 4, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert mean_average_precision(scores, relevant) == pytest.approx(((1 / 2 + 2 / 4) / 2 + 1 / 4) / 2)


def test_equal_scores_do_not_look_good() -> None:
    scores, relevant = np.zeros((3, 10)), np.eye(10, dtype=bool)[:3]
    assert mean_reciprocal_rank(scores, relevant) == pytest.approx(0.1)
    assert recall_at(scores, relevant, k=5) == 0


@pytest.mark.parametrize(
    ("scores", "relevant", "said"),
    [
        (np.zeros((2, 3)), np.array([[1, 0, 0], [0, 0, 0]]), "found none for query 1"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "found no queries"),
        (np.zeros((2, 3)), np.zeros((3, 2)), r"found \(2, 3\) and \(3, 2\)"),
    ],
)
def test_rankings_that_mean_nothing_are_refused(scores: np.ndarray, relevant: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        mean_reciprocal_rank(scores, relevant)
    with pytest.raises(UsageError, match="k: expected at least 1, found 0"):
        recall_at(np.ones((1, 1)), np.ones((1, 1)), k=0)


# ---- search ----


def test_the_nearest_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    queries, corpus = rng.normal(size=(7, 16)), rng.normal(size=(200, 16))
    rows, cosines = nearest(queries, corpus, 5)
    distances, theirs = (
        NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute").fit(corpus).kneighbors(queries)
    )
    assert rows.tolist() == theirs.tolist()
    assert cosines == pytest.approx(1 - distances, abs=1e-5)
    assert (rows.dtype, cosines.dtype) == (np.int64, np.float32)


def test_of_equal_ones_the_earlier_is_nearer_and_zeros_are_near_to_nothing() -> None:
    corpus = np.array([[0, 0], [1, 1], [2, 2], [1, 0], [5, 5], [-1, -1]])
    rows, cosines = nearest(np.array([3.0, 3.0]), corpus, 2)
    assert rows.tolist() == [[1, 2]]
    rows, cosines = nearest(np.array([[3.0, 3.0], [0, 0]]), corpus, 99)
    assert rows[0].tolist() == [1, 2, 4, 3, 0, 5]
    assert cosines[0] == pytest.approx([1, 1, 1, 0.5**0.5, 0, -1], abs=1e-6)
    assert rows[1].tolist() == [0, 1, 2, 3, 4, 5]
    assert nearest(np.ones((2, 3)), np.zeros((0, 3)), 4)[0].shape == (2, 0)
    rng = np.random.default_rng(0)
    several = rng.normal(size=(40, 384))
    corpus = np.concatenate([several, several, several, rng.normal(size=(7, 384))])
    rows, _ = nearest(rng.normal(size=(30, 384)) + several[:30], corpus, 90)
    for near in rows.tolist():
        for number in range(40):
            of_one = [row for row in near if row < 120 and row % 40 == number]
            assert of_one == sorted(of_one)


@pytest.mark.parametrize(
    ("queries", "corpus", "top_k", "said"),
    [
        (np.ones((2, 3)), np.ones((5, 4)), 1, r"found \(2, 3\) and \(5, 4\)"),
        (np.ones((2, 2, 3)), np.ones((5, 3)), 1, r"found \(2, 2, 3\)"),
        (np.ones((2, 3)), np.ones((5, 3)), 0, "top_k: expected at least 1, found 0"),
        (np.ones((2, 3)), np.ones((5, 3)), 2.0, "top_k: expected at least 1, found 2.0"),
    ],
)
def test_a_search_that_means_nothing_is_refused(queries: Any, corpus: Any, top_k: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        nearest(queries, corpus, top_k)
