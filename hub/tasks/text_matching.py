"""Text matching: do two texts belong together?

Two tasks for the same data, pairs of texts of two classes. `text_matching` reads both texts at once, as one sequence,
and is the more exact one. `siamese_matching` makes a vector of each text by itself and compares the two: its vectors
can be kept, so that a query is compared with a million texts in the time of one (hub.tasks.nearest).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from PIL import Image

from hub.errors import InputError, SpecError, UsageError, one_of
from hub.modules.archs import FeatureSpec
from hub.modules.preprocessor import Preprocessor
from hub.tasks import answer_card
from hub.tasks.base import Arrays, Distance, Examples, Loss, Run, Sample, WeightedMean
from hub.tasks.classification import FOCAL_GAMMA, Classification
from hub.tasks.losses import LOSSES
from hub.tasks.text_classification import OfTexts, TextExamples, mark_cut
from hub.tasks.text_matching_metrics import PairMeter, SiameseMeter
from hub.transforms.text import Tokens

CONTRASTIVE_SCALE = 20.0
"""What cosines are multiplied with in the contrastive loss: the value of sentence-transformers."""
_NEGATIVE = re.compile(
    r"(0|-1|no|non|not|false|negative|neg|different|diff|differs?|dissimilar|distinct|unrelated|unlike|unequal|mismatch"
    r"|contradict(ion|s|ory)?)([^a-z]|$)"
)
"""How the names begin of pairs that do not match."""
_NEGATING = ("un", "dis", "mis", "in", "im", "ir", "non", "non-", "non_", "不", "非")
"""And what stands before the name of those that do."""
MOST_COMPARED = 10_000
"""Pairs that are looked at where the names do not say which of them match."""
SURE = 3.0
"""Standard errors by which the texts of one class have to be more alike than those of the other."""


class TextMatching(OfTexts, Classification):
    """Whether two texts match, read together as one sequence."""

    name = "text_matching"
    inputs = "pairs"

    def __init__(self, labels: Sequence[str], *, multi_label: bool = False, match: object = None) -> None:
        """Take two labels. The one that means a match is the last, unless by its name it is the one that does not.

        Of ("0", "1") it is "1", of ("different", "same") "same", of ("match", "no_match") "match". `match` is what it
        is expected to be: `in_order` puts it last, and their order is what a module keeps. Raises UsageError where it
        is not one of two labels, or the one whose name says the opposite.
        """
        if multi_label or len(labels) != 2:
            found = "multi_label=True" if multi_label else f"{len(labels)}: {', '.join(labels[:10])}"
            raise UsageError(f"{self.name}: expected two labels, such as 0 and 1, found {found}")
        super().__init__(labels)
        self.positive = 0 if _says_no(*self.labels) == [False, True] else 1
        expected = self.labels[self.positive]
        if match is not None and _of_labels(match, self.labels) != expected:
            raise UsageError(
                f"match: expected {expected!r}, found {str(match)!r}, which by its name does not match",
                hint="leave match out, or give the labels other names: same and different",
            )
        self.metrics = {**self.metrics, "f1": True, "auc": True}

    @classmethod
    def in_order(
        cls, data: Sequence[Sample], labels: Sequence[str], *, known: Sequence[str] = (), match: object = None
    ) -> tuple[str, ...]:
        """Give the labels of training data in the order in which this task takes them.

        Where the names do not say which of two is a match, it is `match`; without it the last of those that the module
        has already, where they are `known` to be the same two, or else the one whose pairs have more letters in common.
        Raises UsageError where they do not differ in that, or `match` is none of the labels.
        """
        if len(labels) != 2:
            return tuple(labels)
        chosen = None if match is None else _of_labels(match, labels)
        if sum(_says_no(*labels)) == 1:
            return tuple(labels)
        if chosen is None:
            chosen = known[-1] if set(known) == set(labels) else _more_alike(data, labels)
        if chosen is None:
            raise UsageError(
                f"{cls.name}: neither the names {labels[0]!r} and {labels[1]!r} nor the texts say which pairs match",
                hint=f"say it: match={labels[-1]!r}",
            )
        return tuple(sorted(labels, key=lambda label: label == chosen))

    def notes(self) -> list[str]:
        """Say which pairs count as matches."""
        return [f"pairs labelled {self.labels[self.positive]!r} count as matches"]

    @staticmethod
    def examples(preprocessor: Preprocessor) -> Examples:
        """Give how pairs become batches. Raises SpecError for a module that does not read texts."""
        return TextExamples(preprocessor)

    def meter(self) -> PairMeter:
        """Give an empty meter."""
        return PairMeter(self.labels, match=self.labels[self.positive])

    def answers(  # type: ignore[override]  # of two labels there is no top_k
        self, sources: Sequence[Any], items: Sequence[Any], *, run: Run, preprocessor: Preprocessor
    ) -> list[dict[str, Any]]:
        """Give {"label", "score", "similarity"} for each pair, with "cut": true where not all of it was read.

        The score is the chance of the label. The similarity is the chance of a match, and in siamese matching the
        cosine, from -1 to 1. An input that is no pair of texts gives {"error"}.
        """
        results: list[dict[str, Any]] = [{} for _ in sources]
        good: list[int] = []
        given = []
        for number, (source, item) in enumerate(zip(sources, items, strict=True)):
            try:
                given.append(self._read(source, item, preprocessor))
                good.append(number)
            except InputError as problem:
                results[number] = {"error": str(problem)}
        if good:
            for number, result in zip(good, self._compared(given, run, preprocessor), strict=True):
                results[number] = result
        return results

    def _read(self, source: Any, item: Any, preprocessor: Preprocessor) -> Any:
        """Give what the network takes for a pair, before it is put into a batch. Raises InputError for no pair."""
        require_pair(source)
        return item

    def _compared(self, given: Sequence[Any], run: Run, preprocessor: Preprocessor) -> list[dict[str, Any]]:
        results = self.decode(run(preprocessor.batch(given)))
        for result, item in zip(results, given, strict=True):
            matches = result["label"] == self.labels[self.positive]
            result["similarity"] = result["score"] if matches else round(1 - result["score"], 6)
            mark_cut(result, item)
        return results

    def decode(self, outputs: np.ndarray, *, top_k: int = 1) -> list[dict[str, Any]]:
        """Give {"label", "score"} for each row."""
        rows = super().decode(outputs, top_k=top_k)
        return [{"label": row["label"], "score": row["score"]} for row in rows]

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the picture of the texts over a strip with the label as a bar."""
        return answer_card.draw(picture, [(result["label"], result["score"])])


def _says_no(first: str, second: str) -> list[bool]:
    """Say of each of two labels whether its name is that of pairs that do not match."""
    names = first.lower(), second.lower()
    return [
        _NEGATIVE.match(name) is not None or name in [before + other for before in _NEGATING]
        for name, other in zip(names, reversed(names), strict=True)
    ]


def _of_labels(match: object, labels: Sequence[str]) -> str:
    if str(match) not in labels:  # the command line makes a number of 1
        raise one_of("match", str(match), labels)
    return str(match)


def _more_alike(data: Sequence[Sample], labels: Sequence[str]) -> str | None:
    """Give the label whose pairs surely have more letters in common, or None."""
    shares: list[list[float]] = [[], []]
    for i in range(0, len(data), max(1, len(data) // MOST_COMPARED)):
        shares[data[i].label].append(_in_common(*data[i].input))
    if min(map(len, shares)) < 2:
        return None
    first, second = (np.array(each) for each in shares)
    apart = first.mean() - second.mean()
    error = np.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    return labels[0 if apart > 0 else 1] if abs(apart) > SURE * error else None


def _in_common(first: str, second: str) -> float:
    """Give the share of three letters in a row that two texts have in common, of all that one of them has."""
    one, other = (
        {text[k : k + 3] for k in range(max(1, len(text) - 2))} for text in (first.lower(), second.lower())
    )
    return len(one & other) / len(one | other)


def require_pair(source: Any) -> tuple[str, str]:
    """Give the two texts of a pair. Raises InputError for anything else, and where one of them is empty."""
    if not isinstance(source, tuple) or len(source) != 2:
        raise InputError(f"expected a pair of texts, found {type(source).__name__} {str(source)[:40]!r}")
    for which, text in zip(("first", "second"), source, strict=True):
        if not text.strip():
            raise InputError(f"expected two texts, found none in the {which} place")
    return source


class PairExamples(TextExamples):
    """Pairs whose texts are read by themselves: `read` gives two Tokens, `batch` arrays [N, 2, L]."""

    def read(self, sample: Sample) -> tuple[Tokens, Tokens]:
        """Give the Tokens of both texts. Raises InputError."""
        first, second = require_pair(sample.input)
        return self.preprocessor.read(first), self.preprocessor.read(second)

    def length(self, item: Any) -> int | None:
        """Give the number of pieces of the longer text."""
        return max(map(len, item))

    def cut(self, item: Any) -> int:
        """Give how many pieces a text may have where one of these has more, else 0."""
        return max(map(super().cut, item))

    def batch(self, items: Sequence[Any], targets: np.ndarray) -> tuple[Arrays, Arrays]:
        """Give ((ids, segments, mask), targets), each of the three [N, 2, L]."""
        return pairs(self.preprocessor, items), targets


def pairs(preprocessor: Preprocessor, items: Sequence[Any]) -> Arrays:
    """Give (ids, segments, mask) [N, 2, L] for pairs of Tokens, all padded to the longest of the batch."""
    flat = preprocessor.batch([tokens for pair in items for tokens in pair])
    return tuple(array.reshape(len(items), 2, -1) for array in flat)


class CosineHead(nn.Layer):
    """From features [N, 2, C] to (logits [N, 2], vectors [N, 2, C] of length 1).

    The logit of a match is scale · cosine + bias; both are learnt, and begin where a cosine of 0.5 is undecided. The
    parameters are these numbers over 100: they have to move by whole units while weights move by thousandths.
    """

    def __init__(self, positive: int) -> None:
        super().__init__()
        self.sign = 1.0 if positive == 1 else -1.0
        for name, start in (("scale", 0.1), ("bias", -0.05)):
            parameter = self.create_parameter([1], default_initializer=nn.initializer.Constant(start))
            self.add_parameter(name, parameter)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        vectors = F.normalize(features, axis=-1)
        cosine = (vectors[:, 0] * vectors[:, 1]).sum(axis=-1, keepdim=True)
        half = 50 * (self.scale * cosine + self.bias) * self.sign
        return paddle.concat([-half, half], axis=1), vectors


class SiameseMatching(TextMatching):
    """Whether two texts match, by the cosine of the vectors that each of them has by itself."""

    name = "siamese_matching"
    default_strategy = "full"

    @staticmethod
    def examples(preprocessor: Preprocessor) -> PairExamples:
        """Give how pairs become batches. Raises SpecError for a module that does not read texts."""
        return PairExamples(preprocessor)

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        """Give the comparison of two vectors. Raises SpecError for features that are no vectors."""
        if feature_spec.kind != "pooled":
            raise SpecError(f"{self.name} needs pooled features, found {feature_spec.kind} features")
        return CosineHead(self.positive)

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
        """Give the loss of Classification of this kind, or for "contrastive" cross entropy plus that of `contrast`.

        Cross entropy fits the threshold, which the contrastive loss knows nothing of. Raises UsageError as there.
        """
        if kind not in (*LOSSES, "contrastive"):
            raise one_of("loss", kind, (*LOSSES, "contrastive"))
        contrastive = kind == "contrastive"
        each = super().loss(
            kind="cross_entropy" if contrastive else kind, class_weight=class_weight,
            label_smoothing=label_smoothing, focal_gamma=focal_gamma, counts=counts, samples=samples,
        )  # fmt: skip
        positive = self.positive

        def loss(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
            logits, vectors = outputs
            own = each(logits, targets)
            return own + contrast(vectors, targets == positive) if contrastive else own

        return WeightedMean(loss, each.weight) if isinstance(each, WeightedMean) else loss

    def from_teacher(self, distance: Distance) -> Loss:
        """Give the distance from a teacher's answers."""
        each = super().from_teacher(distance)
        return lambda outputs, targets: each(outputs[0], targets)

    def lessons(
        self, run: Run, inputs: Arrays, items: Sequence[Any], own: Iterable[Any]
    ) -> Sequence[np.ndarray]:
        """Give the logits, without the vectors."""
        return run(inputs)[0]

    def meter(self) -> PairMeter:
        """Give an empty meter."""
        return SiameseMeter(self.labels, match=self.labels[self.positive])

    def misses(self, outputs: Any, targets: np.ndarray) -> list[tuple[int, str, str, float]]:
        """Give (row, expected, found, score) of every wrong answer."""
        return super().misses(outputs[0], targets)

    def _read(self, source: Any, item: Any, preprocessor: Preprocessor) -> tuple[Tokens, Tokens]:
        first, second = require_pair(source)
        return preprocessor.read(first), preprocessor.read(second)

    def _compared(self, given: Sequence[Any], run: Run, preprocessor: Preprocessor) -> list[dict[str, Any]]:
        logits, vectors = run(pairs(preprocessor, given))
        results = self.decode(logits)
        for result, (first, second), both in zip(results, vectors, given, strict=True):
            result["similarity"] = round(float(first @ second), 6)
            mark_cut(result, *both)
        return results


def contrast(vectors: Tensor, matches: Tensor) -> Tensor:
    """Give the multiple negatives ranking loss of vectors [N, 2, C] of length 1, a mean over the matching pairs.

    For every matching pair (a_i, b_i) it is -log(exp(s cos(a_i, b_i)) / Σ_j exp(s cos(a_i, b_j))), j over all pairs of
    the batch: the second texts of the others, matching or not, are the wrong answers (Henderson et al. 2017,
    https://arxiv.org/abs/1705.00652, §4.4; s = 20 as in sentence-transformers). 0 for a batch without a match.
    """
    first, second = vectors[:, 0], vectors[:, 1]
    scores = CONTRASTIVE_SCALE * paddle.matmul(first, second, transpose_y=True)
    each = F.cross_entropy(scores, paddle.arange(len(scores)), reduction="none").flatten()
    share = matches.astype(each.dtype)
    return (each * share).sum() / share.sum().clip(min=1)
