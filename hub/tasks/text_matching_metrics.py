"""Metrics of text matching: those of classification, and how well scores tell the pairs that match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hub.tasks.classification_metrics import SingleLabelMeter


class PairMeter(SingleLabelMeter):
    """Metrics of classification, and F1 of the matches and the area under the ROC curve.

    The area needs the order of all scores. Kept are counts of them in 2^17 steps, whose width is 0.0001 for an
    undecided logit and grows with its size; two scores in one step count as equal. So it needs little memory, adds up
    over processes, and differs from that of the scores themselves by half the share of pairs that meet in a step.
    """

    STEPS = 1 << 17

    def __init__(self, labels: Sequence[str], *, match: str) -> None:
        super().__init__(labels)
        self.match = match
        self.scores = np.zeros((2, self.STEPS), np.int64)

    def update(self, outputs: Any, targets: np.ndarray) -> None:
        """outputs: logits [N, 2]; targets: class indices [N]."""
        super().update(outputs, targets)
        positive = self.labels.index(self.match)
        score = outputs[:, positive].astype(np.float64) - outputs[:, 1 - positive]
        step = ((0.5 + np.arctan(score / 4) / np.pi) * self.STEPS).astype(np.int64)
        np.add.at(self.scores, ((targets == positive).astype(np.int64), step.clip(0, self.STEPS - 1)), 1)

    def compute(self) -> dict[str, Any]:
        """Give what classification has, "f1" of the matches, and "auc", 0.5 where one of the classes is missing."""
        metrics = super().compute()
        metrics["f1"] = metrics["per_class"][self.match]["f1"]
        rest, matches = self.scores
        pairs_of = int(rest.sum()) * int(matches.sum())
        below = rest.cumsum() - rest / 2
        metrics["auc"] = float((matches * below).sum() / pairs_of) if pairs_of else 0.5
        return metrics


class SiameseMeter(PairMeter):
    """The same for outputs that have vectors beside the logits."""

    def update(self, outputs: Any, targets: np.ndarray) -> None:
        """outputs: (logits [N, 2], vectors); targets: class indices [N]."""
        super().update(outputs[0], targets)
