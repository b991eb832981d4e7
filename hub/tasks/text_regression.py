"""A number from texts: what a text is worth (`text_regression`), and how alike two texts are (`text_similarity`).

Networks give standardized numbers, (number - mean) / scale of those of the training, with mean and scale beside them:
these are part of the head and are saved with it, so that a module answers in the unit of its data. The loss is the mean
squared error of the standardized numbers, so that it and the learning rate do not depend on the unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from PIL import Image, ImageDraw, ImageFont

from hub.errors import InputError, SpecError, UsageError
from hub.modules.archs import FeatureSpec
from hub.modules.preprocessor import Preprocessor
from hub.tasks.base import Examples, Loss, Plain, Run
from hub.tasks.regression_metrics import METRICS, NumberMeter
from hub.tasks.text_classification import OfTexts, TextExamples, mark_cut
from hub.tasks.text_matching import PairExamples, pairs, require_pair

MISS = 0.5
"""An error of more than this share of the training numbers' standard deviation is one that the report shows."""
LINE = 40
"""Pixels of the strip with the answer below a text that is drawn."""


class TextRegression(OfTexts, Plain):
    """One number of a text: stars, a price, an age."""

    name = "text_regression"
    inputs = "rated texts"
    of_numbers = True
    default_strategy = "probe_then_full"
    default_metric = (
        "r2"  # correlations forgive numbers that are all too high, and an RMSE says little by itself
    )
    metrics: Mapping[str, bool] = METRICS

    def __init__(self, labels: Sequence[str], *, multi_label: bool = False) -> None:
        """Take one label, the name of the number. Raises UsageError for several."""
        if multi_label or len(labels) != 1:
            found = "multi_label=True" if multi_label else f"{len(labels)}: {', '.join(labels[:10])}"
            raise UsageError(
                f"{self.name}: expected one label, the name of the number, such as score, found {found}"
            )
        self.labels = tuple(labels)
        self.mean, self.scale = 0.0, 1.0
        self.least, self.most = 0.0, 1.0

    def scale_to(self, targets: np.ndarray) -> None:
        """Take note of mean and standard deviation, and of what the numbers [N] lie between, for the heads to come."""
        self.mean = float(np.float32(targets.mean()))
        self.scale = float(np.float32(targets.std())) or 1.0
        self.least, self.most = float(targets.min()), float(targets.max())

    @staticmethod
    def examples(preprocessor: Preprocessor) -> Examples:
        """Give how texts become batches. Raises SpecError for a module that does not read texts."""
        return TextExamples(preprocessor)

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        """Give a linear layer from a pooled feature vector to a number."""
        return NumberHead(self._channels(feature_spec), mean=self.mean, scale=self.scale)

    def _channels(self, feature_spec: FeatureSpec) -> int:
        if feature_spec.kind != "pooled":
            raise SpecError(f"{self.name} needs pooled features, found {feature_spec.kind} features")
        return feature_spec.channels

    def loss(self) -> Loss:
        """Give the mean squared error of the standardized numbers."""
        return squared_error

    def wanted(self, targets: np.ndarray) -> np.ndarray:
        """Give what a linear head is fitted to in closed form: standardized numbers, float64 [N, 1]."""
        return (targets.astype(np.float64)[:, None] - self.mean) / self.scale

    def meter(self) -> ScaledMeter:
        """Give an empty meter."""
        return ScaledMeter()

    def misses(self, outputs: Any, targets: np.ndarray) -> list[tuple[int, str, str, float]]:
        """Give (row, expected, found, score) of every large error; the score goes to 1 as the error grows."""
        wanted, found, _ = standardized(outputs, targets)
        errors = np.abs(found - wanted)
        numbers = values(outputs)
        return [
            (row, f"{targets[row]:.6g}", f"{numbers[row]:.6g}", float(errors[row] / (1 + errors[row])))
            for row in np.flatnonzero(errors > MISS).tolist()
        ]

    def answers(
        self, sources: Sequence[Any], items: Sequence[Any], *, run: Run, preprocessor: Preprocessor
    ) -> list[dict[str, Any]]:
        """Give {"value"} for each text, with "cut": true where only its beginning was read."""
        if not items:
            return []
        results: list[dict[str, Any]] = [{"value": each} for each in values(run(preprocessor.batch(items)))]
        for result, item in zip(results, items, strict=True):
            mark_cut(result, item)
        return results

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the picture of the text over a strip with the number."""
        card = Image.new("RGB", (picture.width, picture.height + LINE), "white")
        card.paste(picture.convert("RGB"), (0, 0))
        place = (12, picture.height + LINE // 2)
        said = f"{self.labels[0]}: {result['value']:.6g}"
        ImageDraw.Draw(card).text(place, said, "black", ImageFont.load_default(20), anchor="lm")
        return card


class TextSimilarity(TextRegression):
    """How alike two texts are, as a number that follows from the cosine of the vectors each of them has by itself.

    The vectors can be kept and searched, and for a search their order is what counts: hence Spearman's correlation, by
    which models of similarity are compared (Reimers et al. 2016, https://aclanthology.org/C16-1009).
    """

    name = "text_similarity"
    inputs = "rated pairs"
    default_strategy = "full"
    default_metric = "spearman"

    @staticmethod
    def examples(preprocessor: Preprocessor) -> Examples:
        """Give how pairs become batches. Raises SpecError for a module that does not read texts."""
        return PairExamples(preprocessor)

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        """Give the comparison of two vectors: to begin with, a cosine of 0 is the least number and 1 the largest."""
        self._channels(feature_spec)
        return SimilarityHead(mean=self.mean, scale=self.scale, least=self.least, most=self.most)

    def answers(
        self, sources: Sequence[Any], items: Sequence[Any], *, run: Run, preprocessor: Preprocessor
    ) -> list[dict[str, Any]]:
        """Give {"value", "similarity"} for each pair, with "cut": true where not all of it was read.

        The similarity is the cosine, from -1 to 1. An input that is no pair of texts gives {"error"}.
        """
        results: list[dict[str, Any]] = [{} for _ in sources]
        given: dict[int, Any] = {}
        for number, source in enumerate(sources):
            try:
                first, second = require_pair(source)
                given[number] = preprocessor.read(first), preprocessor.read(second)
            except InputError as problem:
                results[number] = {"error": str(problem)}
        if given:
            outputs = run(pairs(preprocessor, list(given.values())))
            found = zip(values(outputs), outputs[1][:, 0].tolist(), strict=True)
            for number, (value, cosine) in zip(given, found, strict=True):
                results[number] = {"value": value, "similarity": round(cosine, 6)}
                mark_cut(results[number], *given[number])
        return results


class NumberHead(nn.Linear):
    """From features [N, C] to (mean and scale [N, 2], standardized numbers [N, 1])."""

    def __init__(self, channels: int, *, mean: float, scale: float) -> None:
        super().__init__(channels, 1)
        self.register_buffer("units", paddle.to_tensor([mean, scale], dtype="float32"))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        numbers = super().forward(features)
        return _units(self.units, numbers), numbers


class SimilarityHead(nn.Layer):
    """From features [N, 2, C] to (mean and scale [N, 2], cosines [N, 1], standardized numbers [N, 1]).

    The numbers are slope · cosine + offset, both learnt. The parameters are these over 100, as in CosineHead: they have
    to move by tenths while weights move by thousandths.
    """

    def __init__(self, *, mean: float, scale: float, least: float, most: float) -> None:
        super().__init__()
        self.register_buffer("units", paddle.to_tensor([mean, scale], dtype="float32"))
        for name, start in (("slope", (most - least) / scale), ("offset", (least - mean) / scale)):
            begin = nn.initializer.Constant(start / 100)
            self.add_parameter(name, self.create_parameter([1], default_initializer=begin))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors = F.normalize(features, axis=-1)
        cosines = (vectors[:, 0] * vectors[:, 1]).sum(axis=-1, keepdim=True)
        numbers = 100 * (self.slope * cosines + self.offset)
        return _units(self.units, numbers), cosines, numbers


def _units(units: Tensor, numbers: Tensor) -> Tensor:
    """Give mean and scale for every number, [N, 2]: batches are cut into parts and put together again."""
    return paddle.zeros_like(numbers, dtype="float32") + units


def squared_error(outputs: Any, targets: Tensor) -> Tensor:
    """Give the mean squared error of standardized numbers; targets [N] are in the unit of the data."""
    mean, scale = (each.astype("float64") for each in outputs[0].unbind(axis=1))
    wanted = (
        targets.astype("float64") - mean
    ) / scale  # in float32 large numbers would lose their differences
    return F.mse_loss(outputs[-1][:, 0].astype("float32"), wanted.astype("float32"))


class ScaledMeter(NumberMeter):
    """A NumberMeter for what these networks give."""

    def update(self, outputs: Any, targets: np.ndarray) -> None:  # type: ignore[override]
        """outputs: (mean and scale, …, standardized numbers); targets: numbers [N] in the unit of the data."""
        wanted, found, units = standardized(outputs, targets)
        super().update(wanted, found, units[1])


def standardized(outputs: Any, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give (wanted [N], found [N], mean and scale [2, N]), float64."""
    units = outputs[0].astype(np.float64).T
    return (targets - units[0]) / units[1], outputs[-1][:, 0].astype(np.float64), units


def values(outputs: Any) -> list[float]:
    """Give the numbers in the unit of the data, rounded to a millionth of the scale or less."""
    mean, scale = outputs[0].astype(np.float64).T
    numbers = outputs[-1][:, 0] * scale + mean
    return [
        round(number, 6 - math.ceil(math.log10(one)))
        for number, one in zip(numbers.tolist(), scale.tolist(), strict=True)
    ]
