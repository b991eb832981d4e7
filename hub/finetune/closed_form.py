"""The start of a head in closed form: a ridge solution on frozen features, scaled into logits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import paddle
from paddle import nn

from hub.finetune import ridge
from hub.tasks import Task

LOGIT_SCALES = (2.0, 4.0, 8.0, 16.0, 32.0)


def can_fit(head: nn.Layer, task: Task) -> bool:
    """Say whether this task's head is one linear layer that has a closed form."""
    return isinstance(head, nn.Linear) and hasattr(task, "wanted")


def fit_head(head: nn.Linear, task: Task, features: np.ndarray, targets: np.ndarray) -> None:
    """Set the head to the ridge solution, scaled so that its left-out predictions are best calibrated.

    Labels that other samples speak of (those whose `wanted` is a number) have a solution and a scale of their own.
    """
    wanted: np.ndarray = task.wanted(targets)  # type: ignore[attr-defined]  # can_fit() has looked
    weight, bias = np.zeros(head.weight.shape, np.float32), np.zeros(head.bias.shape, np.float32)
    # A ridge prediction lies between 0 and 1: as a logit it needs a scale, and for a sigmoid a middle of 0.
    middle = 0.5 if targets.ndim == 2 else 0.0
    loss = task.loss()
    for rows, columns in _blocks(~np.isnan(wanted)):
        solution = ridge.fit(features[rows], wanted[rows][:, columns])
        right = paddle.to_tensor(targets[rows])
        logits = np.zeros((len(solution.left_out), wanted.shape[1]), np.float32)

        def left_out_loss(scale: float) -> float:
            logits[:, columns] = scale * (solution.left_out - middle)  # noqa: B023
            return float(loss(paddle.to_tensor(logits), right))  # noqa: B023

        scale = min(LOGIT_SCALES, key=left_out_loss)
        weight[:, columns] = scale * solution.weight
        bias[columns] = scale * (solution.bias - middle)
    head.weight.set_value(weight)
    head.bias.set_value(bias)


def _blocks(known: np.ndarray) -> Iterator[tuple[np.ndarray | slice, np.ndarray | slice]]:
    """Give (rows, columns) of the labels that the same samples speak of; `known` [N, L] says which speak of which."""
    if known.all():
        yield slice(None), slice(None)  # nothing is copied
        return
    kinds, number = np.unique(known, axis=1, return_inverse=True)
    for n, rows in enumerate(kinds.T):
        yield np.flatnonzero(rows), np.flatnonzero(number.reshape(-1) == n)
