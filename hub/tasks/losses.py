"""Losses of classification, as plain functions of (logits, targets): softmax for one label, sigmoid for several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import paddle
from paddle import Tensor
from paddle.nn import functional as F

from hub.errors import UsageError, did_you_mean
from hub.tasks.base import Loss, WeightedMean

LOSSES = {
    "cross_entropy": "every sample counts the same, or by the weight of its class",
    "focal": "samples count less the better they are known already: for many easy ones and few hard ones",
    "logit_adjusted": "rare labels must win by more in training: for balanced metrics on unbalanced data",
}

# 1 - p is kept above this: its powers below 1 have no finite slope at 0.
LEAST_DOUBT = 1e-12


def softmax_loss(
    *,
    weight: Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float | None = None,
    offset: Tensor | None = None,
) -> Loss:
    """Give the loss for one label of L: from logits [N, L] and class numbers [N], or soft targets float [N, L].

    The loss of a class is -log p, with `gamma` -(1 - p)**gamma log p, of the softmax after adding `offset` [L] to
    the logits. `smoothing` moves that share of a target to the mean over all classes. A soft target is a mixture:
    its loss is the sum of its classes' losses, each by its share times `weight` [L], and the mean is over those.
    """

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        soft = targets.ndim == 2
        if offset is not None:
            logits = logits + offset
        if weight is None and not smoothing and gamma is None and not soft:
            return F.cross_entropy(logits, targets)
        each = -F.log_softmax(logits, axis=1)
        if gamma is not None:
            each = each * (-paddle.expm1(-each)).clip(min=LEAST_DOUBT) ** gamma
        if soft:
            own, share = each, targets if weight is None else targets * weight
        else:
            own = paddle.take_along_axis(each, targets.unsqueeze(1), axis=1)
            share = None if weight is None else paddle.gather(weight, targets).unsqueeze(1)
        if smoothing:
            own = (1 - smoothing) * own + smoothing * each.mean(axis=1, keepdim=True)
        return own.mean() if share is None else (own * share).sum() / share.sum()

    if weight is None:
        return loss

    def weights(targets: Tensor) -> Tensor:
        return (targets * weight if targets.ndim == 2 else paddle.gather(weight, targets)).sum()

    return WeightedMean(loss, weights)


def sigmoid_loss(
    *,
    weight: Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float | None = None,
    offset: Tensor | None = None,
) -> Loss:
    """Give the loss for any number of labels: from logits [N, L] and targets float [N, L] between 0 and 1.

    Each label is a yes or no of its own, with -log p for yes and -log(1 - p) for no, with `gamma` times
    (1 - p)**gamma and p**gamma. `weight` [L] is that of a label's yes; `smoothing` moves targets towards 1/2.
    """

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        if offset is not None:
            logits = logits + offset
        soft = targets * (1 - smoothing) + smoothing / 2
        if gamma is not None:
            yes, no = F.log_sigmoid(logits), F.log_sigmoid(-logits)
            each = -soft * paddle.exp(gamma * no) * yes - (1 - soft) * paddle.exp(gamma * yes) * no
        elif weight is None:
            return F.binary_cross_entropy_with_logits(logits, soft)
        else:
            each = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
        if weight is None:
            return each.mean()
        weights = 1 + targets * (weight - 1)
        return (each * weights).sum() / weights.sum()

    return loss if weight is None else WeightedMean(loss, lambda targets: (1 + targets * (weight - 1)).sum())


def class_weights(
    labels: Sequence[str],
    chosen: str | Mapping[str, float] | None,
    counts: Mapping[str, int],
    *,
    power: float = 1.0,
) -> np.ndarray | None:
    """Give float64 [L] from "balanced" or {name: weight}, None for None.

    Balanced is 1 / share**power, 1 in the mean over what is counted; a label without any counts as one. Raises
    UsageError for other weights.
    """
    if chosen is None:
        return None
    if isinstance(chosen, Mapping):
        return _named_weights(labels, chosen)
    if chosen != "balanced":
        raise UsageError(f"class_weight: expected 'balanced' or {{name: weight}}, found {chosen!r}")
    share = np.array([max(1, counts[label]) for label in labels], np.float64)
    share /= share.sum()
    weights: np.ndarray = share**-power
    return weights / (share * weights).sum()


def _named_weights(labels: Sequence[str], chosen: Mapping[str, float]) -> np.ndarray:
    """Give float64 [L] from {name: weight}; names that are left out weigh 1. Raises UsageError for other names."""
    weights = dict.fromkeys(labels, 1.0)
    for label, value in chosen.items():
        if label not in weights:
            hint = did_you_mean(str(label), weights) or f"the classes are {', '.join(labels[:20])}"
            raise UsageError(f"class_weight: no class is called {label!r}", hint=hint)
        if not isinstance(value, Real) or not 0 < value < math.inf:
            raise UsageError(f"class_weight[{label!r}]: expected a number above 0, found {value!r}")
        weights[label] = float(value)
    return np.array([weights[label] for label in labels])


def log_prior(
    labels: Sequence[str], counts: Mapping[str, int] | None, *, multi_label: bool, samples: int | None
) -> np.ndarray:
    """Give what logit adjustment adds, float64 [L]: for one label log(share), for several log(share / (1 - share)).

    The share is that of the training samples with the label, a label without any counting as one. Raises UsageError
    without `counts`, and for several labels without `samples`, since those counts do not add up to it.
    """
    if counts is None:
        raise UsageError("loss='logit_adjusted': expected counts={label: number in training}, found none")
    own = np.array([max(1, counts[label]) for label in labels], np.float64)
    if not multi_label:
        return np.log(own / own.sum())
    if samples is None:
        raise UsageError(
            "loss='logit_adjusted' for several labels: expected samples=, the size of the training set"
        )
    return np.log(own / np.maximum(1, samples - own))
