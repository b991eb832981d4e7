"""Sequence labeling: every word of a text gets a tag, and tags make entities with a type and a place in the text.

The tag of a word is learnt and read at its first piece. Texts of any length are learnt, measured and answered whole:
what is longer than the network takes goes through it in windows that share words, and each word counts in one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import Tensor, nn
from PIL import Image

from hub.errors import InputError, SpecError, UsageError
from hub.modules.archs import Backbone, FeatureSpec
from hub.modules.preprocessor import Preprocessor
from hub.tasks import answer_card, tag_sequences
from hub.tasks.base import Arrays, Distance, Examples, Loss, Plain, Run, Sample, WeightedMean
from hub.tasks.classification import FOCAL_GAMMA, Classification
from hub.tasks.losses import class_weights
from hub.tasks.sequence_labeling_metrics import IGNORED, OPEN, SpanMeter, tagged
from hub.tasks.spans import FREE, Span, best_tags, chances, recognise
from hub.tasks.text_classification import OfTexts, TextExamples, of_texts
from hub.tasks.text_windows import Window, windows
from hub.transforms.text import Tokens

AT_ONCE = 32
MOST_DRAWN = 12


class TaggedWindow(NamedTuple):
    """What the network takes at once of a text: pieces, a label for each, and which of the words is its first."""

    tokens: Tokens
    labels: np.ndarray
    start: int


class TaggedExamples(TextExamples):
    """Words with tags: `read` gives the TaggedWindows of a text, `batch` a row for each."""

    targets_from_items = True

    def read(self, sample: Sample) -> list[TaggedWindow]:
        """Give the pieces of each window of the words, and for each piece a label: OPEN at edges within the text.

        Raises InputError where there is not a tag for every word.
        """
        words = sample.input
        if not isinstance(words, list) or len(words) != len(sample.label):
            found = f"{len(words)} words" if isinstance(words, list) else type(words).__name__
            raise InputError(
                f"expected a list of words with a tag for each, found {found}, {len(sample.label)} tags"
            )
        tags = np.asarray(sample.label, np.int64)
        item = []
        for window in windows(words, self.preprocessor.read(words), of_texts(self.preprocessor)):
            labels = np.full(len(window.tokens), IGNORED, np.int64)
            labels[window.pieces] = tags[window.start + window.tokens.words[window.pieces]]
            item.append(TaggedWindow(window.tokens, labels, window.start))
        for one, following in pairwise(item):
            one.labels[-1] = following.labels[0] = (
                OPEN  # the pieces at the edges of a window are special ones
            )
        return item

    def length(self, item: Any) -> int | None:
        """Give the number of pieces in all windows."""
        return sum(len(window.tokens) for window in item)

    def cut(self, item: Any) -> int:
        """Give 0: all of a text is read."""
        return 0

    def batch(self, items: Sequence[Any], targets: np.ndarray) -> tuple[Arrays, Arrays]:
        """Give ((ids, segments, mask), labels), each int64 [N, L]: a row for each window of the texts, in order."""
        rows = [window for item in items for window in item]
        inputs = self.preprocessor.batch([row.tokens for row in rows])
        return inputs, _padded([row.labels for row in rows], IGNORED)


class SequenceLabeling(OfTexts, Plain):
    """A tag for every word, and the entities that the tags make by their scheme (hub.tasks.spans)."""

    inputs = "tagged"
    name = "sequence_labeling"
    default_metric = "f1"
    # Turc et al. 2019 (arXiv:1908.08962) tried up to this for compact encoders; measured in docs/fine_tuning.md.
    compact_rate = 3e-4
    metrics: Mapping[str, bool] = dict.fromkeys(
        ("f1", "precision", "recall", "f1_strict", "token_accuracy"), True
    )

    def __init__(
        self, labels: Sequence[str], *, multi_label: bool = False, scheme: str | None = None
    ) -> None:
        """Take the tags. Their names say the scheme; a `scheme` is what they are expected to be.

        Raises UsageError for tags that are no scheme, or another one (hub.tasks.spans.recognise).
        """
        if multi_label:
            raise UsageError(f"{self.name}: a word has one tag, found multi_label=True")
        if len(labels) < 2:
            raise UsageError(f"{self.name}: expected two tags or more, found {', '.join(labels) or 'none'}")
        self.labels = tuple(labels)
        self.scheme = recognise(self.labels, scheme=scheme)
        self._transitions = self.scheme.transitions()

    def attach(self, backbone: Backbone) -> None:
        """Let the backbone give a feature for each piece. Raises SpecError for one that cannot."""
        per_token = getattr(backbone, "per_token", None)
        if per_token is None:
            raise SpecError(
                f"arch: {self.name} needs a network with a feature for every piece of a text, "
                f"found {type(backbone).__name__}"
            )
        per_token()

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        """Give a linear layer from the feature of a piece to a logit for each tag. Raises SpecError for others."""
        if feature_spec.kind != "tokens":
            raise SpecError(f"arch: {self.name} needs features of pieces, found {feature_spec.kind} ones")
        return nn.Linear(feature_spec.channels, len(self.labels))

    @staticmethod
    def examples(preprocessor: Preprocessor) -> Examples:
        """Give how tagged words become batches. Raises SpecError for a module that does not read texts."""
        return TaggedExamples(preprocessor)

    def class_weight(
        self, chosen: str | Mapping[str, float] | None, counts: Mapping[str, int]
    ) -> np.ndarray | None:
        """Give float64 [L] from "balanced" or {tag: weight}; `counts` are words.

        Balanced is 1 / sqrt(share), 1 in the mean over words: by the share itself a few words would rule everything.
        """
        return class_weights(self.labels, chosen, counts, power=0.5)

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
        """Give the loss of Classification of this kind, a mean over the words of a batch.

        Cross entropy with nothing more said is that of the whole sequence among those that the scheme allows
        (hub.tasks.tag_sequences). The others, weights and smoothing are for each word by itself. Raises UsageError as
        there.
        """
        each = Classification(self.labels).loss(
            kind=kind, class_weight=class_weight, label_smoothing=label_smoothing, focal_gamma=focal_gamma,
            counts=counts, samples=samples,
        )  # fmt: skip
        plain = kind == "cross_entropy" and class_weight is None and not label_smoothing
        if plain and self.scheme.name not in FREE:
            return WeightedMean(self._of_sequences, lambda targets: (targets >= 0).astype("float32").sum())

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            # Paddle's own ignore_index divides by all pieces when it is below 0, and not by those that count.
            places, labels = _counted(targets)
            if not len(places):
                return outputs.sum() * 0
            return each(paddle.gather(outputs.reshape([-1, outputs.shape[2]]), places), labels)

        def weight(targets: Tensor) -> Tensor:
            places, labels = _counted(targets)
            if not len(places) or not isinstance(each, WeightedMean):
                return paddle.to_tensor(float(len(places)))
            return each.weight(labels)

        return WeightedMean(loss, weight)

    def _of_sequences(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return tag_sequences.loss(outputs, targets, self._transitions, goes_on=OPEN)

    def from_teacher(self, distance: Distance) -> Loss:
        """Give the distance from a teacher's answers, a mean over the words that it answered for."""

        def loss(outputs: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
            places = paddle.nonzero(_answered(targets[1]).flatten()).flatten()
            if not len(places):
                return outputs.sum() * 0
            student, teacher = (
                paddle.gather(each.reshape([-1, each.shape[2]]), places) for each in (outputs, targets[1])
            )
            return distance(student, teacher)

        return WeightedMean(loss, lambda targets: _answered(targets[1]).astype("float32").sum())

    def lessons(
        self, run: Run, inputs: Arrays, items: Sequence[Any], own: Iterable[Any]
    ) -> Sequence[np.ndarray]:
        """Give a row for each word that the student reads, NaN where its teacher has no piece of it."""
        logits, found = iter(_in_parts(run, inputs)), []
        for theirs, ours in zip(items, own, strict=True):
            said, read = _word_numbers(theirs), _word_numbers(ours)
            words = np.full((1 + max([0, *said, *read]), len(self.labels)), np.nan, np.float32)
            words[said] = np.concatenate([next(logits)[: len(row.labels)][row.labels >= 0] for row in theirs])
            found.append(words[read])
        return found

    def taught(self, lessons: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
        """Give float32 [windows, L, K]: what was said of a word stands where its label does, elsewhere NaN."""
        found = np.full((*targets.shape, len(self.labels)), np.nan, np.float32)
        if lessons:
            found[targets >= 0] = np.concatenate(lessons)
        return found

    def meter(self) -> SpanMeter:
        """Give an empty meter."""
        return SpanMeter(self.scheme)

    def measured(self, run: Run, inputs: Arrays, targets: Arrays) -> Iterator[tuple[Any, Arrays]]:
        """Give the logits and the labels of whole texts, as `answers` has them: of windows, those of their words."""
        assert isinstance(targets, np.ndarray)
        first = np.flatnonzero(targets[:, 0] != OPEN)
        if len(first) == len(targets):
            yield run(inputs), targets
            return
        logits = [rows[own >= 0] for rows, own in zip(_in_parts(run, inputs), targets, strict=True)]
        labels = [own[own >= 0] for own in targets]
        texts = [slice(start, end) for start, end in pairwise([*first.tolist(), len(targets)])]
        whole = [[np.concatenate(each[text]) for text in texts] for each in (logits, labels)]
        yield _padded(whole[0], 0), _padded(whole[1], IGNORED)

    def misses(self, outputs: np.ndarray, targets: np.ndarray) -> list[tuple[int, str, str, float]]:
        """Give (row, expected, found, score) of the entity that each text is most surely wrong about."""
        rows = []
        for row, (logits, labels) in enumerate(zip(outputs, targets, strict=True)):
            right, tags, sure = tagged(logits, labels, self._transitions)
            expected, found = self.scheme.spans(right.tolist()), self.scheme.spans(tags.tolist())
            wrong = []
            for span in {*expected} ^ {*found}:
                others = [each for each in (expected if span in found else found) if _overlap(each, span)]
                names = _named([span]), _named(others)
                one, other = names[::-1] if span in found else names
                wrong.append((float(sure[span.start : span.end].mean()), one, other))
            if wrong:
                score, one, other = max(wrong)
                rows.append((row, one, other, score))
        return rows

    def answers(
        self,
        sources: Sequence[Any],
        items: Sequence[Any],
        *,
        run: Run,
        preprocessor: Preprocessor,
        words: bool = False,
    ) -> list[dict[str, Any]]:
        """Give {"entities": [{"type", "text", "start", "end", "score"}, …]} for each text.

        Places are characters of the text as it was given; words that were given as a list stand in it with single
        spaces between them. The score is the mean chance of the entity's tags. With `words` there is also "words":
        [{"text", "start", "end", "tag", "score"}, …]; of words of which the tokenizer leaves nothing the score is 0 and
        the tag "O", or None where there is no such tag. Longer texts than the network takes are read in windows.
        Raises UsageError for an option that cannot be meant.
        """
        if not isinstance(words, bool):
            raise UsageError(f"words: expected true or false, found {words!r}")
        reader = of_texts(preprocessor)
        given = [each.read_text(encoding="utf-8-sig") if isinstance(each, Path) else each for each in sources]
        cut = [list(windows(one, item, reader)) for one, item in zip(given, items, strict=True)]
        logits = _logits([window for each in cut for window in each], run, reader)
        return [self._answer(one, each, logits, words) for one, each in zip(given, cut, strict=True)]

    def _answer(
        self, source: str | list[str], cut: Sequence[Window], logits: Iterator[np.ndarray], words: bool
    ) -> dict[str, Any]:
        text = OfTexts.show(source)
        # Without a window where no word has a place, as some tokenizers have it behind control characters.
        scores = np.concatenate([np.zeros((0, len(self.labels)), np.float32), *(next(logits) for _ in cut)])
        places = np.concatenate([np.zeros((0, 2), np.int64), *(window.places for window in cut)])
        tags = best_tags(scores, self._transitions)
        sure = chances(scores, self._transitions)[np.arange(len(tags)), tags]

        def entry(first: int, end: int, **what: str) -> dict[str, Any]:
            start, stop = int(places[first, 0]), int(places[end - 1, 1])
            score = round(float(sure[first:end].mean()), 6)
            return {**what, "text": text[start:stop], "start": start, "end": stop, "score": score}

        found = [entry(span.start, span.end, type=span.type) for span in self.scheme.spans(tags)]
        result: dict[str, Any] = {"entities": found}
        if words:
            each = [entry(n, n + 1, tag=self.labels[tag]) for n, tag in enumerate(tags.tolist())]
            result["words"] = each if isinstance(source, str) else self._for_every(source, each)
        return result

    def _for_every(self, given: Sequence[str], found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Give an entry for each word of a list: those of which the tokenizer left nothing are outside of all."""
        begins = np.cumsum([0, *(len(word) + 1 for word in given)])
        outside = "O" if "O" in self.labels else None
        entries = [
            {"tag": outside, "text": word, "start": int(at), "end": int(at) + len(word), "score": 0.0}
            for word, at in zip(given, begins, strict=False)
        ]
        for entry in found:
            entries[int(np.searchsorted(begins, entry["start"], "right")) - 1] = entry
        return entries

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the picture of the text over a strip with a bar for each entity."""
        rows = [(f"{each['type']}: {each['text'][:40]}", each["score"]) for each in result["entities"]]
        return answer_card.draw(picture, rows[:MOST_DRAWN])


def _in_parts(run: Run, inputs: Arrays) -> Iterator[np.ndarray]:
    """Give the network's outputs row by row; long texts have many, and not all go through it together."""
    for start in range(0, len(inputs[0]), AT_ONCE):
        yield from run(tuple(array[start : start + AT_ONCE] for array in inputs))


def _padded(rows: Sequence[np.ndarray], filling: int) -> np.ndarray:
    """Give rows in one array, filled up to the longest."""
    found = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), filling, rows[0].dtype)
    for row, own in zip(found, rows, strict=True):
        row[: len(own)] = own
    return found


def _counted(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Give which of the flattened pieces speak for a word, and their labels."""
    labels = targets.flatten()
    places = paddle.nonzero(labels >= 0).flatten()
    return places, paddle.gather(labels, places) if len(places) else labels


def _word_numbers(item: Sequence[TaggedWindow]) -> list[int]:
    """Give which words of a text its windows speak for, in order."""
    return [int(n) for row in item for n in row.start + row.tokens.words[row.labels >= 0]]


def _answered(answers: Tensor) -> Tensor:
    """Say of each piece whether it speaks for a word that a teacher answered for."""
    return ~paddle.isnan(answers[..., 0])


def _logits(cut: Sequence[Window], run: Run, preprocessor: Preprocessor) -> Iterator[np.ndarray]:
    """Give float [words, K] for each window, in order; windows of like length go through the network together."""
    order = sorted(range(len(cut)), key=lambda number: len(cut[number].tokens))
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(order), AT_ONCE):
        some = order[start : start + AT_ONCE]
        outputs = run(preprocessor.batch([cut[number].tokens for number in some]))
        for number, rows in zip(some, outputs, strict=True):
            found[number] = rows[cut[number].pieces]
    return (found[number] for number in range(len(cut)))


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def _named(spans: Sequence[Span]) -> str:
    """Give spans as a person counts words: from 1 on, the last one included."""
    return (
        ", ".join(
            f"{span.type} (word {span.start + 1})"
            if span.end == span.start + 1
            else f"{span.type} (words {span.start + 1} to {span.end})"
            for span in spans
        )
        or "no entity"
    )
