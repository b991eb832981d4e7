"""Losses, metrics and answers of classification, against scikit-learn and plain formulas."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import metrics as reference
from sklearn.utils.class_weight import compute_class_weight

from hub import tasks
from hub.errors import SpecError, UsageError
from hub.modules.archs import FeatureSpec
from hub.tasks.image_classification import ImageClassification
from tests.meters import add

LABELS = [f"class {n}" for n in range(7)]

# float64 sums in another order
CLOSE = 1e-12


def single(seed: int, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets of an imbalanced set in which one label never occurs and one is never predicted."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(6, count, p=[0.5, 0.2, 0.15, 0.1, 0.04, 0.01])
    logits = rng.normal(size=(count, 7))
    logits[np.arange(count), targets] += 1.5
    logits[:, 2] -= 9
    return logits, targets


def in_uneven_batches(task: ImageClassification, outputs: np.ndarray, targets: np.ndarray) -> dict:
    """Measure in batches of different sizes over two meters that are merged, as two processes would."""
    meters = [task.meter(), task.meter()]
    for number, rows in enumerate(np.array_split(np.arange(len(outputs)), 13)):
        meters[number % 2].update(outputs[rows], targets[rows])
    add(meters[0], meters[1])
    return meters[0].compute()


@pytest.mark.parametrize("seed", range(3))
def test_single_label_metrics_equal_scikit_learn_on_the_whole_set(seed: int) -> None:
    logits, targets = single(seed)
    found = in_uneven_batches(ImageClassification(LABELS), logits, targets)
    predicted, all_labels = logits.argmax(axis=1), np.arange(7)
    expected = {"accuracy": reference.accuracy_score(targets, predicted)}
    expected["top_5_accuracy"] = reference.top_k_accuracy_score(targets, logits, k=5, labels=all_labels)
    occurring = [n for n in all_labels if (targets == n).any()]
    expected["balanced_accuracy"] = reference.recall_score(
        targets, predicted, labels=occurring, average="macro", zero_division=0
    )
    for mean in ("macro", "micro", "weighted"):
        expected[f"f1_{mean}"] = reference.f1_score(
            targets, predicted, labels=all_labels, average=mean, zero_division=0
        )
    for name in ("precision", "recall"):
        score = getattr(reference, f"{name}_score")
        expected[f"{name}_macro"] = score(
            targets, predicted, labels=all_labels, average="macro", zero_division=0
        )
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=CLOSE), name
    matrix = reference.confusion_matrix(targets, predicted, labels=all_labels)
    assert found["confusion_matrix"] == matrix.tolist()
    table = reference.precision_recall_fscore_support(targets, predicted, labels=all_labels, zero_division=0)
    for label, *row in zip(LABELS, *table, strict=True):
        assert list(found["per_class"][label].values()) == pytest.approx(row, abs=CLOSE)


@pytest.mark.parametrize("seed", range(3))
def test_multi_label_metrics_equal_scikit_learn_on_the_whole_set(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = (rng.random((300, 7)) < [0.5, 0.3, 0.1, 0.05, 0.0, 0.9, 0.2]).astype(np.float32)
    logits = rng.normal(size=(300, 7)) + 2 * targets - 1
    found = in_uneven_batches(ImageClassification(LABELS, multi_label=True), logits, targets)
    chosen = logits > 0
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(targets, chosen), abs=CLOSE)
    for mean in ("macro", "micro", "weighted"):
        expected = reference.f1_score(targets, chosen, average=mean, zero_division=0)
        assert found[f"f1_{mean}"] == pytest.approx(expected, abs=CLOSE)
    table = reference.precision_recall_fscore_support(targets, chosen, zero_division=0)
    for label, *row in zip(LABELS, *table, strict=True):
        assert list(found["per_class"][label].values()) == pytest.approx(row, abs=CLOSE)


@given(st.integers(1, 12), st.integers(2, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_the_cut_into_batches_never_matters(parts: int, labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    task = ImageClassification([str(n) for n in range(labels)])
    logits, targets = rng.integers(0, 3, (30, labels)).astype(float), rng.integers(0, labels, 30)
    whole, pieces = task.meter(), task.meter()
    whole.update(logits, targets)
    for rows in np.array_split(np.arange(30), parts):
        pieces.update(logits[rows], targets[rows])
    assert whole.compute() == pieces.compute()
    json.dumps(whole.compute(), allow_nan=False)


def numpy_loss(logits: np.ndarray, targets: np.ndarray, weight: np.ndarray, smoothing: float) -> float:
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    soft = np.eye(logits.shape[1])[targets] * (1 - smoothing) + smoothing / logits.shape[1]
    return float((-(soft * log_p).sum(axis=1) * weight[targets]).sum() / weight[targets].sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_the_formula(smoothing: float, weighted: bool) -> None:
    logits, targets = single(0, 50)
    weight = np.linspace(0.5, 3, 7) if weighted else None
    loss = ImageClassification(LABELS).loss(class_weight=weight, label_smoothing=smoothing)
    found = float(loss(paddle.to_tensor(logits.astype(np.float32)), paddle.to_tensor(targets)))
    expected = numpy_loss(logits, targets, np.ones(7) if weight is None else weight, smoothing)
    assert found == pytest.approx(expected, rel=1e-5)  # float32


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_multi_label_loss_is_the_formula(smoothing: float, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(20, 7)), (rng.random((20, 7)) < 0.3).astype(np.float32)
    weight = np.linspace(0.5, 3, 7) if weighted else None
    loss = ImageClassification(LABELS, multi_label=True).loss(class_weight=weight, label_smoothing=smoothing)
    found = float(loss(paddle.to_tensor(logits.astype(np.float32)), paddle.to_tensor(targets)))
    chance = 1 / (1 + np.exp(-logits))
    soft = targets * (1 - smoothing) + smoothing / 2
    each = -soft * np.log(chance) - (1 - soft) * np.log(1 - chance)
    weights = np.where(targets > 0, np.ones(7) if weight is None else weight, 1.0)
    assert found == pytest.approx(float((each * weights).sum() / weights.sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "focal_loss"}, "found 'focal_loss'\n  hint: did you mean 'focal'"),
        ({"kind": "logit_adjusted"}, "expected counts={label: number in training}, found none"),
        ({"focal_gamma": 1.0}, "focal_gamma=1.0 belongs to loss='focal', found loss='cross_entropy'"),
    ],
)
@pytest.mark.parametrize("multi_label", [False, True])
def test_a_loss_that_cannot_be_meant_is_refused(options: dict, message: str, multi_label: bool) -> None:
    with pytest.raises(UsageError) as caught:
        ImageClassification(LABELS, multi_label=multi_label).loss(**options)
    assert message in str(caught.value)


def test_logit_adjustment_of_several_labels_needs_the_size_of_the_training_set() -> None:
    counts = dict.fromkeys(LABELS, 5)
    with pytest.raises(UsageError, match="expected samples=, the size of the training set"):
        ImageClassification(LABELS, multi_label=True).loss(kind="logit_adjusted", counts=counts)


def test_balanced_weights_are_scikit_learns() -> None:
    _, targets = single(0)
    counts = {label: int((targets == n).sum()) for n, label in enumerate(LABELS[:6])}
    task = ImageClassification(LABELS[:6])
    expected = compute_class_weight("balanced", classes=np.arange(6), y=targets)
    np.testing.assert_allclose(task.class_weight("balanced", counts), expected)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"clas 3": 2.0}, "no class is called 'clas 3'\n  hint: did you mean 'class 3'"),
        ({"class 3": 0}, "class_weight['class 3']: expected a number above 0, found 0"),
        ("balance", "expected 'balanced' or {name: weight}, found 'balance'"),
    ],
)
def test_a_class_weight_that_cannot_be_meant_is_refused(chosen: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ImageClassification(LABELS).class_weight(chosen, {})  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_class_weights_by_name_leave_the_others_at_one() -> None:
    weights = ImageClassification(LABELS).class_weight({"class 3": 2.5}, {})
    assert weights is not None
    assert weights.tolist() == [1, 1, 1, 2.5, 1, 1, 1]


def test_answers_are_probabilities_in_order() -> None:
    [result] = ImageClassification(["a", "b", "c"]).decode(np.log([[0.2, 0.5, 0.3]]), top_k=2)
    assert result == {
        "label": "b",
        "score": 0.5,
        "top": [{"label": "b", "score": 0.5}, {"label": "c", "score": 0.3}],
    }


def test_several_labels_are_those_above_one_half() -> None:
    [result] = ImageClassification(["a", "b"], multi_label=True).decode(np.array([[2.0, -2.0]]))
    assert result["labels"] == ["a"]
    assert result["scores"] == pytest.approx({"a": 0.880797, "b": 0.119203})


def test_a_head_needs_pooled_features() -> None:
    task = ImageClassification(["a", "b"])
    assert task.build_head(FeatureSpec("pooled", (12,)))(paddle.zeros([3, 12])).shape == [3, 2]
    with pytest.raises(SpecError, match="found map features"):
        task.build_head(FeatureSpec("map", (12, None, None), 8))


def test_an_unknown_task_gets_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="did you mean 'image_classification'"):
        tasks.create("image_clasification", ["a", "b"])


def test_the_drawn_answer_keeps_the_picture_and_adds_a_strip() -> None:
    picture = Image.new("RGB", (400, 300), (1, 2, 3))
    task = ImageClassification(["cat", "dog"])
    [result] = task.decode(np.array([[3.0, 0.0]]))
    card = task.draw(picture, result)
    assert card.width == 400
    assert card.height > 300
    assert card.getpixel((200, 150)) == (1, 2, 3)
    assert len(np.unique(np.asarray(card)[300:].reshape(-1, 3), axis=0)) > 10, "nothing was written"
