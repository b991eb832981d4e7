"""Several questions about one input, answered in one pass: a backbone with several heads side by side.

The labels of all questions are one list, "flower/rose", "flower/tulip", "colour/red": what stands before the first "/"
names the question, and the labels of a question stand together. A target is a number in that list, so that every sample
says which question it answers, and it teaches the others nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from PIL import Image

from hub.errors import SpecError, UsageError, one_of
from hub.modules.archs import FeatureSpec
from hub.modules.preprocessor import Preprocessor
from hub.tasks import answer_card, losses
from hub.tasks.audio_classification import AudioClassification
from hub.tasks.base import Distance, Examples, Loss, Meter, Plain, WeightedMean, is_number
from hub.tasks.classification import FOCAL_GAMMA, TOP_K, Classification, Decoded
from hub.tasks.classification_metrics import SingleLabelMeter
from hub.tasks.image_classification import ImageClassification
from hub.tasks.text_classification import CutMarked, TextClassification


class MultiTask(Decoded, Plain):
    """Several classifications of the same input."""

    single: ClassVar[type[Classification]]
    """The task of each question."""

    grouped = True
    """Its data are several sets by name."""

    default_metric = "mean_accuracy"
    default_strategy = "probe_then_full"

    def __init__(
        self,
        labels: Sequence[str],
        *,
        multi_label: bool = False,
        task_weights: Mapping[str, float] | None = None,
    ) -> None:
        """Take the joint labels, and what the loss of a question is multiplied by; one that is left out counts 1.

        Raises SpecError for labels that are not those of several questions, and UsageError for weights that cannot be
        meant.
        """
        if multi_label:
            raise SpecError("multi_label: each question has one answer here, found several labels at once")
        self.labels = tuple(labels)
        self.parts = _parts(self.labels)
        """The columns of each question."""
        self.questions = {
            name: self.single([label.partition("/")[2] for label in self.labels[part]])
            for name, part in self.parts.items()
        }
        self.task_weights = _weights(task_weights or {}, self.parts)
        self.metrics: Mapping[str, bool] = {
            **{f"{name}_{metric}": True for name in self.parts for metric in ("accuracy", "f1_macro")},
            self.default_metric: True,
        }

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        """Give a linear layer to one logit a label: the heads of all questions side by side."""
        return self.single(self.labels).build_head(feature_spec)

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
        """Give the mean over the batch of each sample's loss for its own question, times that question's weight.

        The options are those of Classification.loss, within each question: chances, the share that smoothing gives
        away and the shares of the training set are all among the labels of one question. Class weights multiply too,
        and the mean is over them; it is not over the weights of questions, which would lose them in a batch of one
        question. Targets are numbers [N], or shares float [N, L]: a mixture of two samples learns both their
        questions, each by its share. Raises UsageError as Classification.loss does.
        """
        if kind not in losses.LOSSES:
            raise one_of("loss", kind, losses.LOSSES)
        if kind != "focal" and focal_gamma != FOCAL_GAMMA:
            raise UsageError(f"focal_gamma={focal_gamma!r} belongs to loss='focal', found loss={kind!r}")
        offset = None
        if kind == "logit_adjusted":  # shares of all samples and of those of one question: the same softmax
            offset = _float32(losses.log_prior(self.labels, counts, multi_label=False, samples=samples))
        parts, count = list(self.parts.values()), len(self.labels)
        ones = np.ones(count)
        own_weight = _float32(ones if class_weight is None else class_weight)
        task_weight, spread = np.zeros(count), np.zeros((count, count))
        for name, part in self.parts.items():
            task_weight[part] = self.task_weights[name]
            spread[part, part] = 1 / (part.stop - part.start)
        factor = _float32(task_weight)
        smooth = _float32((1 - label_smoothing) * np.eye(count) + label_smoothing * spread)

        def shares_of(targets: Tensor) -> Tensor:
            shares = targets if targets.ndim == 2 else F.one_hot(targets, count)
            return shares.astype("float32") * own_weight

        def loss(logits: Tensor, targets: Tensor) -> Tensor:
            if offset is not None:
                logits = logits + offset
            each = -paddle.concat([F.log_softmax(logits[:, part], axis=1) for part in parts], axis=1)
            if kind == "focal":
                each = each * (-paddle.expm1(-each)).clip(min=losses.LEAST_DOUBT) ** focal_gamma
            shares = shares_of(targets)
            return (each * factor * (shares @ smooth)).sum() / shares.sum()

        return loss if class_weight is None else WeightedMean(loss, lambda targets: shares_of(targets).sum())

    def class_weight(
        self, chosen: str | Mapping[str, float] | None, counts: Mapping[str, int]
    ) -> np.ndarray | None:
        """Give float64 [L] as Classification.class_weight does; "balanced" balances within each question."""
        if chosen != "balanced":
            return self.single(self.labels).class_weight(chosen, counts)
        each = [
            self.single(self.labels[part]).class_weight("balanced", counts) for part in self.parts.values()
        ]
        return np.concatenate([weights for weights in each if weights is not None])

    def from_teacher(self, distance: Distance) -> Loss:
        """Give the distance from a teacher's answers to each question, times its weight, a mean over the questions."""
        weighed = [(part, self.task_weights[name]) for name, part in self.parts.items()]

        def loss(outputs: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
            first, *others = (
                weight * distance(outputs[:, part], targets[1][:, part]) for part, weight in weighed
            )
            return sum(others, first) / len(weighed)

        return loss

    @classmethod
    def examples(cls, preprocessor: Preprocessor) -> Examples:
        return cls.single.examples(preprocessor)

    @classmethod
    def show(cls, source: Any) -> Any:
        """Give an input as a person looks at it."""
        return cls.single.show(source)  # type: ignore[attr-defined]  # every classification of something has it

    def meter(self) -> Meter:
        return MultiTaskMeter(self.parts, self.labels)

    def wanted(self, targets: np.ndarray) -> np.ndarray:
        """Give what a linear head is fitted to in closed form: 0 and 1 for a sample's own question, NaN for others."""
        wanted = np.full((len(targets), len(self.labels)), np.nan)
        for part in self.parts.values():
            own = (targets >= part.start) & (targets < part.stop)
            wanted[own, part] = targets[own, None] == np.arange(part.start, part.stop)
        return wanted

    def misses(self, outputs: np.ndarray, targets: np.ndarray) -> list[tuple[int, str, str, float]]:
        """Give (row, expected, found, score) of every wrong answer to a sample's own question."""
        rows: list[tuple[int, str, str, float]] = []
        for name, part in self.parts.items():
            own = np.flatnonzero((targets >= part.start) & (targets < part.stop))
            found = self.questions[name].misses(outputs[own, part], targets[own] - part.start)
            rows += [
                (int(own[row]), f"{name}/{right}", f"{name}/{wrong}", p) for row, right, wrong, p in found
            ]
        return sorted(rows)

    def decode(self, outputs: np.ndarray, *, top_k: int = TOP_K) -> list[dict[str, Any]]:
        """Give for each row {question: {"label", "score", "top"}}, with `top_k` labels of each question.

        The scores of a question add up to 1.
        """
        each = {
            name: self.questions[name].decode(outputs[:, part], top_k=top_k)
            for name, part in self.parts.items()
        }
        return [dict(zip(each, answers, strict=True)) for answers in zip(*each.values(), strict=True)]

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the picture over a strip with the best label of each question as a bar."""
        best = [(f"{name}: {result[name]['label']}", result[name]["score"]) for name in self.parts]
        return answer_card.draw(picture, best)


class MultiTaskImageClassification(MultiTask):
    name = "multi_task_image_classification"
    inputs = "pictures"
    single = ImageClassification


class MultiTaskAudioClassification(MultiTask):
    name = "multi_task_audio_classification"
    inputs = "sounds"
    single = AudioClassification


class MultiTaskTextClassification(CutMarked, MultiTask):
    name = "multi_task_text_classification"
    inputs = "texts"
    single = TextClassification


class MultiTaskMeter:
    """Metrics of every question on the samples that answer it; keeps one confusion matrix, a block for each."""

    def __init__(self, parts: Mapping[str, slice], labels: Sequence[str]) -> None:
        self.parts, self.labels = dict(parts), tuple(labels)
        self.confusion = np.zeros((len(labels), len(labels)), np.int64)

    def update(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """outputs: logits [N, L], of which a row's own question counts; targets: numbers in the joint list [N]."""
        for part in self.parts.values():
            own = (targets >= part.start) & (targets < part.stop)
            np.add.at(self.confusion, (targets[own], part.start + outputs[own, part].argmax(axis=1)), 1)

    def compute(self) -> dict[str, Any]:
        """Give accuracy and macro F1 of each question that has samples, mean_accuracy over these questions, and by
        joint label per_class and confusion_matrix (rows: right label, columns: predicted)."""
        metrics: dict[str, Any] = {}
        per_class: dict[str, Any] = {}
        accuracies = []
        for name, part in self.parts.items():
            meter = SingleLabelMeter(self.labels[part])
            meter.confusion = self.confusion[part, part]
            found = meter.compute()
            if found["count"]:
                metrics |= {f"{name}_{metric}": found[metric] for metric in ("accuracy", "f1_macro")}
                accuracies.append(found["accuracy"])
            per_class |= found["per_class"]  # of every label, since confusion_matrix has them all
        return {
            **metrics,
            "mean_accuracy": float(np.mean(accuracies)) if accuracies else 0.0,
            "per_class": per_class,
            "confusion_matrix": self.confusion.tolist(),
            "count": int(self.confusion.sum()),
        }


def _parts(labels: Sequence[str]) -> dict[str, slice]:
    """Give the columns of each question. Raises SpecError for labels that are not those of several questions."""
    parts: dict[str, slice] = {}
    for number, label in enumerate(labels):
        question, slash, own = label.partition("/")
        if not (question and slash and own):
            raise SpecError(f"labels: expected question/label, such as colour/red, found {label!r}")
        start = parts[question].start if question in parts else number
        if question in parts and parts[question].stop != number:
            raise SpecError(f"labels: expected all labels of {question!r} together, found {label!r} apart")
        parts[question] = slice(start, number + 1)
    return parts


def _weights(given: Mapping[str, float], questions: Mapping[str, object]) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise UsageError(f"task_weights: expected {{name: weight}}, found {given!r}")
    weights = dict.fromkeys(questions, 1.0)
    for name, value in given.items():
        if name not in weights:
            raise one_of("task_weights", name, weights)
        if not is_number(value) or value < 0:
            raise UsageError(f"task_weights[{name!r}]: expected a number of 0 or more, found {value!r}")
        weights[name] = float(value)
    if not any(weights.values()):
        raise UsageError("task_weights: expected one above 0 at least, found 0 for every question")
    return weights


def _float32(values: np.ndarray) -> Tensor:
    return paddle.to_tensor(values.astype(np.float32))
