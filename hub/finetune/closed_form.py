"""The start of a head in closed form: a ridge solution on frozen features, scaled into logits."""

from __future__ import annotations

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
    """Set the head to the ridge solution, scaled so that its left-out predictions are best calibrated."""
    solution = ridge.fit(features, task.wanted(targets))  # type: ignore[attr-defined]  # can_fit() has looked
    # A ridge prediction lies between 0 and 1: as a logit it needs a scale, and for a sigmoid a middle of 0.
    middle = 0.5 if targets.ndim == 2 else 0.0
    loss, right = task.loss(), paddle.to_tensor(targets)

    def left_out_loss(scale: float) -> float:
        return float(loss(paddle.to_tensor((scale * (solution.left_out - middle)).astype(np.float32)), right))

    scale = min(LOGIT_SCALES, key=left_out_loss)
    head.weight.set_value((scale * solution.weight).astype(np.float32))
    head.bias.set_value((scale * (solution.bias - middle)).astype(np.float32))
