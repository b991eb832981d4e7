"""Every loss of classification against its formula in float64, written out sample by sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from hub.tasks.image_classification import ImageClassification
from hub.tasks.losses import LOSSES

LABELS = ["a", "b", "c", "d"]
COUNTS = {"a": 50, "b": 20, "c": 4, "d": 0}
SAMPLES = 60
GAMMA = 1.5
WEIGHT = np.array([0.5, 1.0, 3.0, 2.0])

CLOSE = 1e-5  # float32 against float64

KINDS = sorted(LOSSES)
kinds = pytest.mark.parametrize("kind", KINDS)
weighted = pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
smoothed = pytest.mark.parametrize("smoothing", [0.0, 0.2])


def task_loss(kind: str, *, multi_label: bool = False, **options: object) -> Callable:
    if kind == "focal":
        options = {"focal_gamma": GAMMA, **options}
    task = ImageClassification(LABELS, multi_label=multi_label)
    return task.loss(kind=kind, counts=COUNTS, samples=SAMPLES, **options)  # type: ignore[arg-type]


def value_and_gradient(loss: Callable, logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    given = paddle.to_tensor(logits.astype(np.float32))
    given.stop_gradient = False
    value = loss(given, paddle.to_tensor(targets))
    assert value.shape == []
    value.backward()
    return float(value), given.grad.numpy()


def single(
    kind: str, logits: np.ndarray, soft: np.ndarray, weight: np.ndarray | None = None, smoothing: float = 0.0
) -> float:
    """The mean over samples and classes, each by its share of the target times its weight."""
    weight = np.ones(4) if weight is None else weight
    prior = np.array([50, 20, 4, 1]) / 75
    total = shares = 0.0
    for row, target in zip(logits, soft, strict=True):
        if kind == "logit_adjusted":
            row = row + np.log(prior)
        p = np.exp(row) / np.exp(row).sum()
        losses = -np.log(p) * ((1 - p) ** GAMMA if kind == "focal" else 1)
        for label in range(4):
            wanted = (1 - smoothing) * np.eye(4)[label] + smoothing / 4
            total += target[label] * weight[label] * (wanted @ losses)
            shares += target[label] * weight[label]
    return total / shares


def several(
    kind: str,
    logits: np.ndarray,
    targets: np.ndarray,
    weight: np.ndarray | None = None,
    smoothing: float = 0.0,
) -> float:
    """The mean over samples and labels; the weight of a label is that of its positive cases."""
    odds = np.array([50 / 10, 20 / 40, 4 / 56, 1 / 59])
    total = weights = 0.0
    for row, target in zip(logits, targets, strict=True):
        for label in range(4):
            logit = row[label] + (np.log(odds[label]) if kind == "logit_adjusted" else 0)
            p, wanted = 1 / (1 + np.exp(-logit)), target[label] * (1 - smoothing) + smoothing / 2
            yes, no = -np.log(p), -np.log(1 - p)
            if kind == "focal":
                yes, no = (1 - p) ** GAMMA * yes, p**GAMMA * no
            own = 1 + target[label] * ((1 if weight is None else weight[label]) - 1)
            total += own * (wanted * yes + (1 - wanted) * no)
            weights += own
    return total / weights


def batch(seed: int = 0, count: int = 30) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits with the targets of one label as numbers, as rows of 0 and 1, as mixtures; and of several labels."""
    rng = np.random.default_rng(seed)
    logits, numbers = 2 * rng.normal(size=(count, 4)), rng.integers(0, 4, count)
    return logits, {
        "numbers": numbers,
        "one-hot": np.eye(4, dtype=np.float32)[numbers],
        "mixtures": rng.dirichlet(np.ones(4), count).astype(np.float32),
        "several": (rng.random((count, 4)) < 0.4).astype(np.float32),
    }


@kinds
@weighted
@smoothed
@pytest.mark.parametrize("form", ["numbers", "one-hot", "mixtures"])
def test_the_loss_of_one_label_is_the_formula(
    kind: str, form: str, weight: np.ndarray | None, smoothing: float
) -> None:
    logits, targets = batch()
    loss = task_loss(kind, class_weight=weight, label_smoothing=smoothing)
    found, _ = value_and_gradient(loss, logits, targets[form])
    soft = np.eye(4)[targets[form]] if form == "numbers" else targets[form]
    assert found == pytest.approx(single(kind, logits, soft, weight, smoothing), rel=CLOSE)


@kinds
@weighted
@smoothed
def test_the_loss_of_several_labels_is_the_formula(
    kind: str, weight: np.ndarray | None, smoothing: float
) -> None:
    logits, targets = batch()
    loss = task_loss(kind, multi_label=True, class_weight=weight, label_smoothing=smoothing)
    found, _ = value_and_gradient(loss, logits, targets["several"])
    assert found == pytest.approx(several(kind, logits, targets["several"], weight, smoothing), rel=CLOSE)


@kinds
@pytest.mark.parametrize("form", ["numbers", "mixtures", "several"])
def test_the_gradient_is_the_slope_of_the_formula(kind: str, form: str) -> None:
    logits, targets = batch(count=6)
    formula = several if form == "several" else single
    right = np.eye(4)[targets[form]] if form == "numbers" else targets[form]
    slope, step = np.zeros_like(logits), 1e-6
    for place in np.ndindex(logits.shape):
        change = np.zeros_like(logits)
        change[place] = step
        ends = [formula(kind, logits + sign * change, right, WEIGHT, 0.1) for sign in (1, -1)]
        slope[place] = (ends[0] - ends[1]) / (2 * step)
    loss = task_loss(kind, multi_label=form == "several", class_weight=WEIGHT, label_smoothing=0.1)
    _, gradient = value_and_gradient(loss, logits, targets[form])
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-7)


@kinds
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("form", ["numbers", "mixtures", "several"])
def test_extreme_logits_give_finite_losses_and_gradients(kind: str, gamma: float, form: str) -> None:
    options = {"focal_gamma": gamma} if kind == "focal" else {}
    logits, targets = batch()
    logits = np.where(logits > 0, 1e4, -1e4)
    loss = task_loss(kind, multi_label=form == "several", label_smoothing=0.1, **options)
    value, gradient = value_and_gradient(loss, logits, targets[form])
    assert np.isfinite(value)
    assert value > 10  # paddle cuts log-probabilities on a CPU at -64
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("form", ["numbers", "mixtures", "several"])
def test_focal_loss_of_gamma_0_is_cross_entropy(form: str) -> None:
    logits, targets = batch()
    several_labels = form == "several"
    focal, _ = value_and_gradient(
        task_loss("focal", multi_label=several_labels, focal_gamma=0.0), logits, targets[form]
    )
    plain, _ = value_and_gradient(
        task_loss("cross_entropy", multi_label=several_labels), logits, targets[form]
    )
    assert focal == pytest.approx(plain, rel=CLOSE)


def test_the_plain_losses_are_paddles_to_the_last_bit() -> None:
    logits, targets = batch()
    given = paddle.to_tensor(logits.astype(np.float32))
    for form, loss, paddles in (
        ("numbers", ImageClassification(LABELS).loss(), F.cross_entropy),
        ("several", ImageClassification(LABELS, multi_label=True).loss(), F.binary_cross_entropy_with_logits),
    ):
        right = paddle.to_tensor(targets[form])
        assert float(loss(given, right)) == float(paddles(given, right))


@kinds
def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses(kind: str) -> None:
    logits, _ = batch(count=1)
    loss = task_loss(kind)
    apart = [value_and_gradient(loss, logits, np.array([label]))[0] for label in (0, 2)]
    mixed, _ = value_and_gradient(loss, logits, np.array([[0.3, 0, 0.7, 0]], np.float32))
    assert mixed == pytest.approx(0.3 * apart[0] + 0.7 * apart[1], rel=CLOSE)


@pytest.mark.parametrize("multi_label", [False, True])
def test_adjusted_logits_of_a_network_that_knows_nothing_stay_equal(multi_label: bool) -> None:
    """Plain cross-entropy pulls such a network towards frequent labels; here the frequency is in the loss already."""
    labels, counts = ["often", "rarely"], {"often": 45, "rarely": 15}
    targets = np.repeat([0, 1], [45, 15])
    if multi_label:
        targets = np.stack([targets == 0, targets == 1], axis=1).astype(np.float32)
    pulls = {}
    for kind in ("cross_entropy", "logit_adjusted"):
        task = ImageClassification(labels, multi_label=multi_label)
        loss = task.loss(kind=kind, counts=counts, samples=60)
        _, gradient = value_and_gradient(loss, np.zeros((60, 2)), targets)
        pulls[kind] = np.abs(gradient.sum(axis=0))
    assert pulls["cross_entropy"].min() > 0.1
    assert pulls["logit_adjusted"].max() < 1e-6
