"""Classification of anything that has a feature vector: the part that pictures, texts and sounds share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.errors import SpecError, UsageError, did_you_mean
from hub.modules.archs import FeatureSpec
from hub.tasks.base import Loss, Meter
from hub.tasks.classification_metrics import TOP_K, MultiLabelMeter, SingleLabelMeter

_METRICS = ("accuracy", "f1_macro", "f1_micro", "f1_weighted", "precision_macro", "recall_macro")


class Classification:
    """One label of several, or with `multi_label` any number of them."""

    def __init__(self, labels: Sequence[str], *, multi_label: bool = False) -> None:
        self.labels = tuple(labels)
        self.multi_label = multi_label
        self.default_metric = "f1_macro" if multi_label else "accuracy"
        self.metrics: Mapping[str, bool] = dict.fromkeys(_METRICS, True)
        if not multi_label:
            self.metrics |= {"balanced_accuracy": True}
            if len(self.labels) > TOP_K:
                self.metrics |= {f"top_{TOP_K}_accuracy": True}

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        """Give a linear layer from a pooled feature vector to one logit a label."""
        if feature_spec.kind != "pooled":
            raise SpecError(f"classification needs pooled features, found {feature_spec.kind} features")
        return nn.Linear(feature_spec.channels, len(self.labels))

    def loss(self, *, class_weight: np.ndarray | None = None, label_smoothing: float = 0.0) -> Loss:
        """Give the mean cross-entropy: softmax for one label, sigmoid for several.

        A class weight multiplies the loss of the samples of its class (several labels: of its positive cases),
        and the mean is over the weights, so that the scale of the loss stays. Label smoothing moves that share of
        each target to the uniform distribution (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567).
        """
        weight = None if class_weight is None else paddle.to_tensor(class_weight.astype(np.float32))
        return (
            self._sigmoid_loss(weight, label_smoothing)
            if self.multi_label
            else self._softmax_loss(weight, label_smoothing)
        )

    def _softmax_loss(self, weight: Tensor | None, smoothing: float) -> Loss:
        def loss(logits: Tensor, targets: Tensor) -> Tensor:
            if weight is None and not smoothing:
                return F.cross_entropy(logits, targets)
            log_p = F.log_softmax(logits, axis=1)
            own = paddle.take_along_axis(log_p, targets.unsqueeze(1), axis=1).squeeze(1)
            each = -(1 - smoothing) * own - smoothing * log_p.mean(axis=1)
            if weight is None:
                return each.mean()
            weights = paddle.gather(weight, targets)
            return (each * weights).sum() / weights.sum()

        return loss

    def _sigmoid_loss(self, weight: Tensor | None, smoothing: float) -> Loss:
        def loss(logits: Tensor, targets: Tensor) -> Tensor:
            soft = targets * (1 - smoothing) + smoothing / 2
            if weight is None:
                return F.binary_cross_entropy_with_logits(logits, soft)
            weights = 1 + targets * (weight - 1)
            each = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
            return (each * weights).sum() / weights.sum()

        return loss

    def class_weight(
        self, chosen: str | Mapping[str, float] | None, counts: Mapping[str, int]
    ) -> np.ndarray | None:
        """Give float64 [L] from "balanced" (mean count over own count, as scikit-learn) or {name: weight}.

        Names that are left out weigh 1. Raises UsageError for a name that is no label and a weight that is not
        above 0.
        """
        if chosen is None:
            return None
        if chosen == "balanced":
            each = np.array([max(1, counts[label]) for label in self.labels], np.float64)
            return each.sum() / (len(each) * each)
        if not isinstance(chosen, Mapping):
            raise UsageError(f"class_weight: expected 'balanced' or {{name: weight}}, found {chosen!r}")
        weights = dict.fromkeys(self.labels, 1.0)
        for label, value in chosen.items():
            if label not in weights:
                hint = did_you_mean(str(label), weights) or f"the classes are {', '.join(self.labels[:20])}"
                raise UsageError(f"class_weight: no class is called {label!r}", hint=hint)
            if not value > 0:
                raise UsageError(f"class_weight[{label!r}]: expected a number above 0, found {value!r}")
            weights[label] = float(value)
        return np.array([weights[label] for label in self.labels])

    def meter(self) -> Meter:
        meter: Meter = MultiLabelMeter(self.labels) if self.multi_label else SingleLabelMeter(self.labels)
        return meter

    def decode(self, outputs: np.ndarray, *, top_k: int = TOP_K) -> list[dict[str, Any]]:
        """Give for each row {"label", "score", "top": [{"label", "score"}, …]}, scores being probabilities.

        With several labels: {"labels": those with p > 0.5, "scores": {label: p}}.
        """
        logits = outputs.astype(np.float64)
        if self.multi_label:
            chances = 1 / (1 + np.exp(-logits))
            return [self._several(row) for row in chances]
        exponential = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances = exponential / exponential.sum(axis=1, keepdims=True)
        order = np.argsort(-chances, axis=1, kind="stable")[:, :top_k]
        results = []
        for row, best in zip(chances, order, strict=True):
            top = [{"label": self.labels[n], "score": round(float(row[n]), 6)} for n in best]
            results.append({**top[0], "top": top})
        return results

    def _several(self, chances: np.ndarray) -> dict[str, Any]:
        scores = {label: round(float(p), 6) for label, p in zip(self.labels, chances, strict=True)}
        return {"labels": [label for label, p in scores.items() if p > 0.5], "scores": scores}
