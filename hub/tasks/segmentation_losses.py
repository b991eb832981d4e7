"""Losses of segmentation, from logits [N, L, H, W] and class numbers [N, H, W], in which IGNORED counts for nothing."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor
from paddle.nn import functional as F

from hub.tasks.base import Loss, WeightedMean
from hub.transforms.joint import IGNORED

LOSSES = {
    "cross_entropy": "every pixel counts the same, or by the weight of its class",
    "dice": "cross-entropy plus one minus the Dice overlap: for small things on much background",
    "lovasz": "cross-entropy plus the Lovász-softmax: follows the mean IoU itself",
}


def cross_entropy(weight: np.ndarray | None = None) -> Loss:
    """Give the mean over pixels that have a class, weighted by `weight` [L]; 0 where none has."""
    weights = None if weight is None else paddle.to_tensor(weight.astype(np.float32))

    def shares(targets: Tensor) -> Tensor:
        known = (targets != IGNORED).astype("float32")
        return (
            known
            if weights is None
            else known * weights.gather(_known(targets).flatten()).reshape(targets.shape)
        )

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        each = F.cross_entropy(logits, _known(targets).unsqueeze(1), axis=1, reduction="none").squeeze(1)
        share = shares(targets)
        return (each * share).sum() / share.sum().clip(min=1e-6)

    return WeightedMean(loss, lambda targets: shares(targets).sum())


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Give 1 - the mean over classes of 2·|A∩B| / (|A| + |B|) (Milletari et al. 2016, with the sum of shares below).

    Classes that neither the batch nor hardly any pixel of the answer has are left out.
    """
    known = (targets != IGNORED).unsqueeze(1).astype("float32")
    right = _one_hot(targets, logits.shape[1]) * known
    chances = F.softmax(logits, axis=1) * known
    both = (chances * right).sum(axis=[0, 2, 3])
    total = chances.sum(axis=[0, 2, 3]) + right.sum(axis=[0, 2, 3])
    present = (right.sum(axis=[0, 2, 3]) > 0).astype("float32")
    return ((1 - 2 * both / total.clip(min=1e-6)) * present).sum() / present.sum().clip(min=1)


def lovasz(logits: Tensor, targets: Tensor) -> Tensor:
    """Give the Lovász-softmax over the classes of the batch (Berman et al. 2018, https://arxiv.org/abs/1705.08790)."""
    count = logits.shape[1]
    flat = targets.flatten()
    places = paddle.nonzero(flat != IGNORED).flatten()
    if places.shape[0] == 0:
        return logits.sum() * 0
    chances = F.softmax(logits, axis=1).transpose([0, 2, 3, 1]).reshape([-1, count]).gather(places)
    wanted = flat.gather(places)
    losses = []
    for number in range(count):
        right = (wanted == number).astype("float32")
        if float(right.sum()) == 0:
            continue
        errors = (right - chances[:, number]).abs()
        order = paddle.argsort(errors, descending=True)
        losses.append((errors.gather(order) * _jaccard_steps(right.gather(order))).sum())
    return paddle.stack(losses).mean()


def _jaccard_steps(right: Tensor) -> Tensor:
    """Give by how much the Jaccard loss grows with each pixel that is wrong, the worst first: algorithm 1."""
    missed = right.sum() - right.cumsum()
    union = right.sum() + (1 - right).cumsum()
    jaccard = 1 - missed / union
    return paddle.concat([jaccard[:1], jaccard[1:] - jaccard[:-1]])


def _known(targets: Tensor) -> Tensor:
    """Give the class numbers, with 0 for what counts for nothing."""
    return paddle.where(targets == IGNORED, paddle.zeros_like(targets), targets)


def _one_hot(targets: Tensor, count: int) -> Tensor:
    return F.one_hot(_known(targets), count).transpose([0, 3, 1, 2])
