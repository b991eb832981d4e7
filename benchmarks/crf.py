"""What fine-tuning for named entities gains from learning sequences of tags, and what learnt transitions add to that.

    python benchmarks/crf.py [--module FOLDER] [--seeds 5] [--shots 8 16 64]

The examples, the module and the score are those of `names` in text_quality.py, and so are the defaults of finetune. All
answer with the best sequence of tags that the scheme allows, and learn

    each word   its tag by itself: finetune(class_weight={"O": 1.0})
    sequence    the right one among those that the scheme allows: finetune's default
    at 1e-4     the same, at the rate that is the default for larger encoders
    learnt      the same, and a score for each pair of tags and for both ends, as in a conditional random field over a
                network (Lample et al. 2016, arXiv:1603.01360), which moves as fast as the other weights
    fast        the same, and it moves thirty times as fast

Prints mean and standard deviation over the seeds, in per cent of F1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from text_quality import Learn, Samples, minilm, names, options, print_table, tuned

from hub.modules.archs import FeatureSpec
from hub.tasks import sequence_labeling
from hub.tasks.base import Loss, WeightedMean
from hub.tasks.sequence_labeling_metrics import SpanMeter
from hub.tasks.spans import Scheme

FORBIDDEN = -1e4


class Field(nn.Layer):
    """A linear layer to a score for each tag; scores for pairs of tags [L, L], to begin with and to end with [L]."""

    def __init__(self, channels: int, scheme: Scheme, speed: float) -> None:
        super().__init__()
        self.tags = nn.Linear(channels, len(scheme.labels))
        self.speed = speed
        self.moves, self.begins, self.ends = (
            self.create_parameter(allowed.shape, default_initializer=nn.initializer.Constant(0.0))
            for allowed in scheme.transitions()
        )
        self.forbidden = [
            np.where(allowed, 0, FORBIDDEN).astype("float32") for allowed in scheme.transitions()
        ]

    def forward(self, features: Tensor) -> Tensor:
        return self.tags(features)

    def scores(self) -> list[Tensor]:
        """Give the scores of pairs, beginnings and ends; Adam's steps have one size, so `speed` is that of learning."""
        learnt = (self.moves, self.begins, self.ends)
        return [
            self.speed * each + paddle.to_tensor(never)
            for each, never in zip(learnt, self.forbidden, strict=True)
        ]

    def loss(self, words: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """Give minus the logarithm of the chance of these tags [N, W], summed over the texts; `words` is [N, W, L]."""
        moves, begins, ends = self.scores()
        all_ways = begins + words[:, 0]
        way = paddle.gather(begins, tags[:, 0]) + _of(words[:, 0], tags[:, 0])
        last = tags[:, 0]
        for place in range(1, words.shape[1]):
            going = (lengths > place).astype("float32")
            on = paddle.logsumexp(all_ways.unsqueeze(2) + moves, axis=1) + words[:, place]
            all_ways = paddle.where(going.unsqueeze(1) > 0, on, all_ways)
            step = paddle.gather_nd(moves, paddle.stack([last, tags[:, place]], axis=1))
            way = way + going * (step + _of(words[:, place], tags[:, place]))
            last = paddle.where(going > 0, tags[:, place], last)
        return (paddle.logsumexp(all_ways + ends, axis=1) - way - paddle.gather(ends, last)).sum()

    def best(self, words: np.ndarray) -> np.ndarray:
        """Give the tags of the most likely way through the words [W, L], by Viterbi's algorithm."""
        moves, begins, ends = (each.numpy() for each in self.scores())
        ways, back = begins + words[0], []
        for row in words[1:]:
            each = ways[:, None] + moves
            back.append(each.argmax(axis=0))
            ways = each.max(axis=0) + row
        path = [int((ways + ends).argmax())]
        for came_from in reversed(back):
            path.append(int(came_from[path[-1]]))
        return np.array(path[::-1])


def _of(scores: Tensor, tags: Tensor) -> Tensor:
    return paddle.take_along_axis(scores, tags.unsqueeze(1), axis=1).squeeze(1)


class FieldMeter(SpanMeter):
    """The same counts over what the field finds."""

    def __init__(self, field: Field, scheme: Scheme) -> None:
        super().__init__(scheme)
        self._field = field

    def update(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        found = np.zeros(outputs.shape)
        for row, logits, labels in zip(found, outputs, targets, strict=True):
            places = np.flatnonzero(labels >= 0)
            row[places, self._field.best(logits[places])] = 1.0
        super().update(found, targets)


class FieldLabeling(sequence_labeling.SequenceLabeling):
    """Sequence labeling by a field."""

    speed = 1.0

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        self.field = Field(feature_spec.channels, self.scheme, self.speed)
        return self.field

    def loss(self, *args: Any, **options: Any) -> Loss:
        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            labels = targets[:, : outputs.shape[1]].numpy()
            lengths = (labels >= 0).sum(axis=1)
            words = np.zeros((len(labels), max(1, lengths.max())), np.int64)
            tags = words.copy()
            for row, own in enumerate(labels):
                places = np.flatnonzero(own >= 0)
                words[row, : len(places)], tags[row, : len(places)] = places, own[places]
            index = paddle.to_tensor(words).unsqueeze(2).expand([-1, -1, outputs.shape[2]])
            seen = paddle.take_along_axis(outputs, index, axis=1)
            total = self.field.loss(seen, paddle.to_tensor(tags), paddle.to_tensor(lengths))
            return total / float(lengths.sum())

        return WeightedMean(loss, lambda targets: (targets >= 0).astype("float32").sum())

    def meter(self) -> SpanMeter:
        return FieldMeter(self.field, self.scheme)


def with_field(folder: Path, *, speed: float) -> Learn:
    """Give how the module learns names by a field."""

    def learn(train: Samples, test: Samples, seed: int) -> list[float]:
        ours = sequence_labeling.SequenceLabeling
        chosen = type("FieldLabeling", (FieldLabeling,), {"speed": speed})
        sequence_labeling.SequenceLabeling = chosen  # type: ignore[misc,assignment]
        try:
            return tuned(folder, "sequence_labeling")(train, test, seed)
        finally:
            sequence_labeling.SequenceLabeling = ours  # type: ignore[misc]

    return learn


def main() -> None:
    given = options(__doc__).parse_args()
    folder = given.module or minilm()
    methods = {
        "each word": tuned(folder, "sequence_labeling", class_weight={"O": 1.0}),
        "sequence": tuned(folder, "sequence_labeling"),
        "at 1e-4": tuned(folder, "sequence_labeling", learning_rate=1e-4),
        "learnt": with_field(folder, speed=1.0),
        "fast": with_field(folder, speed=30.0),
    }
    print_table("examples", [("names", names, methods)], given.shots, given.seeds)


if __name__ == "__main__":
    main()
