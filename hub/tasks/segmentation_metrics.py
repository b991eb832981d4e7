"""Metrics of segmentation from one confusion matrix of pixels over the whole set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hub.transforms.joint import IGNORED


class PixelMeter:
    """Counts of pixels by right and found class; means over classes are over those that occur in either."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.confusion = np.zeros((len(labels), len(labels)), np.int64)

    def update(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """Take in logits [N, L, H, W] and class numbers [N, H, W]; pixels that are IGNORED are not counted."""
        known = targets != IGNORED
        count = len(self.labels)
        pairs = targets[known] * count + np.asarray(outputs).argmax(axis=1)[known]
        self.confusion = self.confusion + np.bincount(pairs, minlength=count**2).reshape(count, count)

    def compute(self) -> dict[str, Any]:
        """Give mIoU, mean Dice, pixel accuracy, IoU by class (None: it does not occur) and the matrix itself."""
        right, found = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        both = np.diag(self.confusion)
        there = right + found > 0
        iou = both[there] / (right + found - both)[there]
        dice = 2 * both[there] / (right + found)[there]
        each: dict[str, float | None] = dict.fromkeys(self.labels)
        each.update(zip(np.array(self.labels)[there].tolist(), iou.tolist(), strict=True))
        return {
            "miou": float(iou.mean()) if there.any() else 0.0,
            "dice": float(dice.mean()) if there.any() else 0.0,
            "pixel_accuracy": float(both.sum() / max(1, self.confusion.sum())),
            "iou": each,
            "pixels": int(self.confusion.sum()),
            "confusion": self.confusion.tolist(),
        }
