"""The closed-form head, against scikit-learn and against really leaving each sample out."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from hub.finetune import closed_form, ridge
from hub.modules.archs import FeatureSpec
from hub.tasks.image_classification import ImageClassification


def problem(count: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, size)) * rng.uniform(0.1, 3, size) + 5
    labels = rng.integers(0, 3, count)
    features[:, :3] += 2 * np.eye(3)[labels]
    return features.astype(np.float32), np.eye(3)[labels]


@pytest.mark.parametrize(("count", "size"), [(40, 7), (12, 30), (20, 20)], ids=["tall", "wide", "square"])
def test_left_out_predictions_are_those_of_really_leaving_out(
    count: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, targets = problem(count, size)
    penalty = 0.3
    scale = ((features - features.mean(axis=0, dtype=np.float64)) ** 2).sum() / count
    monkeypatch.setattr(ridge, "PENALTIES", np.array([penalty / scale]))
    head = ridge.fit(features, targets)
    for i in range(count):
        others = np.arange(count) != i
        model = Ridge(alpha=penalty).fit(features[others].astype(np.float64), targets[others])
        np.testing.assert_allclose(
            head.left_out[i], model.predict(features[[i]].astype(np.float64))[0], atol=1e-6
        )
    model = Ridge(alpha=penalty).fit(features.astype(np.float64), targets)
    np.testing.assert_allclose(features @ head.weight + head.bias, model.predict(features), atol=1e-5)


def test_useless_features_do_not_look_useful() -> None:
    """With more features than samples and no floor under the penalty, noise would seem to predict everything."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 5
    head = ridge.fit(rng.normal(size=(60, 2048)), np.eye(5)[labels])
    assert (head.left_out.argmax(axis=1) == labels).mean() < 0.45


def test_constant_features_give_the_class_frequencies() -> None:
    targets = np.eye(2)[[0, 0, 0, 1]]
    head = ridge.fit(np.ones((4, 3)), targets)
    np.testing.assert_allclose(np.ones((1, 3)) @ head.weight + head.bias, [[0.75, 0.25]])


@pytest.mark.parametrize(
    ("count", "size", "labels"),
    [(150, 7, 3), (150, 7, 40), (12, 30, 4), (30, 90, 40)],
    ids=["tall", "tall, many labels", "wide", "wide, many labels"],
)
@pytest.mark.parametrize("block", [0, 1 << 22], ids=["in blocks", "at once"])
def test_the_penalty_is_the_one_that_leaving_out_prefers(
    count: int, size: int, labels: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ridge, "BLOCK", block)
    monkeypatch.setattr(ridge, "LEAST_ROWS", 8)
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, labels, count)
    features = rng.normal(size=(count, size))
    features[np.arange(count), numbers % size] += 2
    targets = np.eye(labels)[numbers]
    head = ridge.fit(features, targets)
    penalties = ridge.PENALTIES * features.var(axis=0).sum()
    model = RidgeCV(penalties).fit(features, targets)
    assert penalties[0] < model.alpha_ < penalties[-1]
    np.testing.assert_allclose(head.weight, model.coef_.T, atol=1e-9)
    np.testing.assert_allclose(head.bias, model.intercept_, atol=1e-9)
    rows = np.arange(count)[head.rows]
    assert len(np.unique(rows)) == (count if block else 8)
    for i, found in zip(rows, head.left_out, strict=True):
        others = np.arange(count) != i
        alone = Ridge(alpha=model.alpha_).fit(features[others], targets[others])
        np.testing.assert_allclose(found, alone.predict(features[[i]])[0], atol=1e-9)


@pytest.mark.parametrize(
    ("count", "size", "labels"),
    [(40, 7, 3), (12, 30, 3), (40, 7, 30)],
    ids=["tall", "wide", "many labels"],
)
@pytest.mark.parametrize("block", [0, 1 << 22], ids=["in blocks", "at once"])
def test_copies_of_a_sample_are_left_out_with_it(
    count: int, size: int, labels: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where their labels differ, and where they are copies but for the rounding of another batch."""
    monkeypatch.setattr(ridge, "BLOCK", block)
    monkeypatch.setattr(ridge, "LEAST_ROWS", 8)
    features, targets = problem(count, size)
    rng = np.random.default_rng(1)
    which = rng.permutation(np.repeat(np.arange(count), rng.integers(1, 5, count)))
    features = features[which].astype(np.float64)
    targets = np.hstack([targets[which], rng.normal(size=(count, labels))[which, : labels - 3]])
    features *= 1 + 1e-9 * rng.normal(size=features.shape)
    targets[::7] = targets[::7, ::-1]
    head = ridge.fit(features, targets)

    def without(penalty: float, one: int) -> np.ndarray:
        others = which != which[one]
        return Ridge(alpha=penalty).fit(features[others], targets[others]).predict(features[[one]])[0]

    def error(penalty: float) -> float:
        return sum(((without(penalty, one) - targets[one]) ** 2).sum() for one in range(len(which)))

    best = min(ridge.PENALTIES * features.var(axis=0).sum(), key=error)
    model = Ridge(alpha=best).fit(features, targets)
    np.testing.assert_allclose(head.weight, model.coef_.T, atol=1e-6)
    rows = np.arange(len(which))[head.rows]
    assert len(np.unique(rows)) == len(rows) >= (8 if block == 0 else len(which))
    for one, found in zip(rows, head.left_out, strict=True):
        np.testing.assert_allclose(found, without(best, one), atol=1e-4)


def test_a_head_of_many_labels_takes_no_memory_for_each_label_of_each_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ridge, "BLOCK", 1 << 16)
    labels = tuple(map(str, range(1000)))
    task = ImageClassification(labels)
    numbers = np.arange(5000) % len(labels)
    features = np.random.default_rng(0).normal(size=(len(numbers), 16)).astype(np.float32)
    head = task.build_head(FeatureSpec("pooled", (16,)))
    tracemalloc.start()
    closed_form.fit_head(head, task, features, numbers)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(numbers) * len(labels)
