"""Classification of anything that has a feature vector: the part that pictures, texts and sounds share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from hub.errors import SpecError, UsageError, one_of
from hub.modules.archs import FeatureSpec
from hub.modules.preprocessor import Preprocessor
from hub.tasks import losses
from hub.tasks.base import Distance, Examples, Loss, Meter, Plain, Run, is_whole
from hub.tasks.classification_metrics import TOP_K, MultiLabelMeter, SingleLabelMeter

_METRICS = ("accuracy", "f1_macro", "f1_micro", "f1_weighted", "precision_macro", "recall_macro")
FOCAL_GAMMA = 2.0


class Decoded:
    """How a task answers that looks at each row of the network's outputs by itself."""

    def decode(self, outputs: np.ndarray, *, top_k: int = TOP_K) -> list[dict[str, Any]]:
        """Give for each row what `predict` returns for it."""
        raise NotImplementedError

    def answers(
        self,
        sources: Sequence[Any],
        items: Sequence[Any],
        *,
        run: Run,
        preprocessor: Preprocessor,
        top_k: int = TOP_K,
    ) -> list[dict[str, Any]]:
        """Give what `decode` makes of the network's outputs for these inputs."""
        if not is_whole(top_k) or top_k < 1:
            raise UsageError(f"top_k: expected at least 1, found {top_k!r}")
        return self.decode(run(preprocessor.batch(items)), top_k=top_k) if items else []


class Classification(Decoded, Plain):
    """One label of several, or with `multi_label` any number of them."""

    default_strategy = "probe_then_full"

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

    def loss(
        self,
        *,
        kind: str = "cross_entropy",
        class_weight: np.ndarray | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = FOCAL_GAMMA,
        counts: Mapping[str, int] | None = None,
        samples: int | None = None,
    ) -> Loss:
        """Give the mean loss of a batch, of a kind that hub.tasks.losses.LOSSES has.

        "focal" multiplies the loss of a sample by (1 - p)**focal_gamma, p being the chance that its label got (Lin
        et al. 2017, https://arxiv.org/abs/1708.02002, with the class weight in the place of their α).
        "logit_adjusted" adds the log of each label's share of the training set to its logit, so that without it, in
        prediction, all labels are equally likely beforehand (Menon et al. 2021, https://arxiv.org/abs/2007.07314,
        τ = 1). It needs `counts`, the number of training samples of each label, and for several labels `samples`,
        the size of the training set; the other kinds need neither.

        A class weight multiplies the loss of the samples of its class (several labels: of its positive cases),
        and the mean is over the weights, so that the scale of the loss stays. Label smoothing moves that share of
        each target to the uniform distribution (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567).

        For one label, targets are class numbers [N] or shares float32 [N, L] that mixing or a teacher made: then the
        loss is the mixture of its classes' losses by these shares, whatever the kind.

        Raises UsageError for another kind, and for what does not go with it or is missing.
        """
        if kind not in losses.LOSSES:
            raise one_of("loss", kind, losses.LOSSES)
        if kind != "focal" and focal_gamma != FOCAL_GAMMA:
            raise UsageError(f"focal_gamma={focal_gamma!r} belongs to loss='focal', found loss={kind!r}")
        offset = None
        if kind == "logit_adjusted":
            offset = losses.log_prior(self.labels, counts, multi_label=self.multi_label, samples=samples)
        build = losses.sigmoid_loss if self.multi_label else losses.softmax_loss
        return build(
            weight=_float32(class_weight),
            smoothing=label_smoothing,
            gamma=focal_gamma if kind == "focal" else None,
            offset=_float32(offset),
        )

    def class_weight(
        self, chosen: str | Mapping[str, float] | None, counts: Mapping[str, int]
    ) -> np.ndarray | None:
        """Give float64 [L] from "balanced" (mean count over own count, as scikit-learn) or {name: weight}.

        Names that are left out weigh 1. Raises UsageError for a name that is no label and a weight that is not
        above 0.
        """
        return losses.class_weights(self.labels, chosen, counts)

    def from_teacher(self, distance: Distance) -> Loss:
        """Give the distance from a teacher's answers."""
        return lambda outputs, targets: distance(outputs, targets[1])

    @staticmethod
    def examples(preprocessor: Preprocessor) -> Examples:
        return Examples(preprocessor)

    def wanted(self, targets: np.ndarray) -> np.ndarray:
        """Give what a linear head is fitted to in closed form: 0 and 1, float64 [N, L]."""
        wanted = targets if self.multi_label else targets[:, None] == np.arange(len(self.labels))
        return wanted.astype(np.float64)

    def misses(self, outputs: np.ndarray, targets: np.ndarray) -> list[tuple[int, str, str, float]]:
        """Give (row, expected, found, score) of every wrong answer; of several labels, the one most surely wrong."""
        logits = outputs.astype(np.float64)
        rows: list[tuple[int, str, str, float]] = []
        if not self.multi_label:
            chances = _softmax(logits)
            for row in np.flatnonzero(logits.argmax(axis=1) != targets).tolist():
                found = int(chances[row].argmax())
                rows.append((row, self.labels[targets[row]], self.labels[found], float(chances[row, found])))
            return rows
        chances, right = 1 / (1 + np.exp(-logits)), targets > 0.5
        surely = np.where((chances > 0.5) != right, np.maximum(chances, 1 - chances), 0.0)
        for row in np.flatnonzero(surely.any(axis=1)).tolist():
            worst = int(surely[row].argmax())
            label, there = self.labels[worst], bool(right[row, worst])
            expected, found_ = (label, f"not {label}") if there else (f"not {label}", label)
            rows.append((row, expected, found_, float(surely[row, worst])))
        return rows

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
        chances = _softmax(logits)
        order = np.argsort(-chances, axis=1, kind="stable")[:, :top_k]
        results = []
        for row, best in zip(chances, order, strict=True):
            top = [{"label": self.labels[n], "score": round(float(row[n]), 6)} for n in best]
            results.append({**top[0], "top": top})
        return results

    def _several(self, chances: np.ndarray) -> dict[str, Any]:
        scores = {label: round(float(p), 6) for label, p in zip(self.labels, chances, strict=True)}
        return {"labels": [label for label, p in scores.items() if p > 0.5], "scores": scores}


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponential = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = exponential / exponential.sum(axis=1, keepdims=True)
    return shares


def _float32(values: np.ndarray | None) -> Tensor | None:
    return None if values is None else paddle.to_tensor(values.astype(np.float32))
