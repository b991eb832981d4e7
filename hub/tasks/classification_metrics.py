"""Classification metrics of a whole set, fed batch by batch, equal to scikit-learn's on the same set.

Definitions: precision, recall and F1 of a class, their macro, micro and weighted means, as in
sklearn.metrics.precision_recall_fscore_support with zero_division=0; macro means run over all labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

TOP_K = 5


def _precision_recall_f1(
    true_positive: np.ndarray, predicted: np.ndarray, actual: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.divide(a, b, out=np.zeros(np.shape(a)), where=b != 0)

    return (
        ratio(true_positive, predicted),
        ratio(true_positive, actual),
        ratio(2.0 * true_positive, predicted + actual),
    )


def _summary(
    labels: Sequence[str], true_positive: np.ndarray, predicted: np.ndarray, actual: np.ndarray
) -> dict[str, Any]:
    precision, recall, f1 = _precision_recall_f1(true_positive, predicted, actual)
    total = actual.sum()
    _, _, micro = _precision_recall_f1(
        np.array([true_positive.sum()]), np.array([predicted.sum()]), np.array([total])
    )
    return {
        "f1_macro": float(f1.mean()),
        "f1_micro": float(micro[0]),
        "f1_weighted": float((f1 * actual).sum() / total) if total else 0.0,
        "precision_macro": float(precision.mean()),
        "recall_macro": float(recall.mean()),
        "per_class": {
            label: {
                "precision": float(precision[n]),
                "recall": float(recall[n]),
                "f1": float(f1[n]),
                "count": int(actual[n]),
            }
            for n, label in enumerate(labels)
        },
    }


class SingleLabelMeter:
    """Metrics where exactly one label holds; keeps the confusion matrix and two counters."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.confusion = np.zeros((len(labels), len(labels)), np.int64)
        self.in_top_k = 0

    def update(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """outputs: logits [N, L]; targets: class indices [N]."""
        np.add.at(self.confusion, (targets, outputs.argmax(axis=1)), 1)
        # The rank of the right label counts those strictly above it, and equal ones that stand before it, which
        # is how a stable sort would place it.
        own = np.take_along_axis(outputs, targets[:, None], axis=1)
        before = np.arange(outputs.shape[1])[None, :] < targets[:, None]
        rank = ((outputs > own) | ((outputs == own) & before)).sum(axis=1)
        self.in_top_k += int((rank < TOP_K).sum())

    def compute(self) -> dict[str, Any]:
        """Give accuracy, top_5_accuracy (with more than 5 labels), balanced_accuracy (the mean recall of the
        classes that occur), F1, per_class and confusion_matrix (rows: right label, columns: predicted)."""
        hits, actual = np.diag(self.confusion), self.confusion.sum(axis=1)
        total, occurs = int(actual.sum()), actual > 0
        metrics: dict[str, Any] = {"accuracy": float(hits.sum() / total) if total else 0.0}
        if len(self.labels) > TOP_K:
            metrics[f"top_{TOP_K}_accuracy"] = self.in_top_k / total if total else 0.0
        metrics["balanced_accuracy"] = float((hits[occurs] / actual[occurs]).mean()) if total else 0.0
        metrics |= _summary(self.labels, hits, self.confusion.sum(axis=0), actual)
        metrics["confusion_matrix"] = self.confusion.tolist()
        metrics["count"] = total
        return metrics


class MultiLabelMeter:
    """Metrics where any number of labels hold; a label is predicted when its logit is above 0 (p > 0.5)."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.true_positive, self.predicted, self.actual = (np.zeros(len(labels), np.int64) for _ in range(3))
        self.all_right = 0
        self.count = 0

    def update(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """outputs: logits [N, L]; targets: 0 or 1 [N, L]."""
        chosen, right = outputs > 0, targets > 0.5
        self.true_positive += (chosen & right).sum(axis=0)
        self.predicted += chosen.sum(axis=0)
        self.actual += right.sum(axis=0)
        self.all_right += int((chosen == right).all(axis=1).sum())
        self.count += len(outputs)

    def compute(self) -> dict[str, Any]:
        """Give accuracy (the share of rows with every label right), F1 and per_class."""
        return {
            "accuracy": self.all_right / self.count if self.count else 0.0,
            **_summary(self.labels, self.true_positive, self.predicted, self.actual),
            "count": self.count,
        }
