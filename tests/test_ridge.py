"""The closed-form head, against scikit-learn and against really leaving each sample out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from hub.finetune import ridge


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
