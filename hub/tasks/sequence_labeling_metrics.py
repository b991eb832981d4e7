"""Metrics of sequence labeling from counts of entities over the whole set."""

from __future__ import annotations

from typing import Any

import numpy as np

from hub.tasks.spans import Scheme, Transitions, best_tags, chances

IGNORED = -100
"""The label of a piece that counts for nothing: special ones, and all but the first of a word."""
OPEN = -101
"""The label of the special piece at an edge where the text goes on in the row before, or in the next one."""


class SpanMeter:
    """Precision, recall and F1 of entities over a whole set: equal to those of seqeval on the same tags.

    The tags are those that `predict` gives: the best that the scheme allows. `f1` counts every span, as seqeval does by
    default and as conlleval does; `f1_strict` leaves out those that the scheme does not allow, as mode="strict" does:
    in what is found there are none, in the data there may be.
    """

    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme
        self._types = scheme.entity_types
        self._transitions = scheme.transitions()
        # [default or strict, type]
        self.right, self.found, self.both = (np.zeros((2, len(self._types)), np.int64) for _ in range(3))
        self.words = self.words_right = self.texts = 0

    def update(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """Take in logits [N, L, K] and labels [N, L] of whole texts."""
        for logits, labels in zip(outputs, targets, strict=True):
            right, tags, _ = tagged(logits, labels, self._transitions)
            self.texts += 1
            self.words += len(right)
            self.words_right += int((right == tags).sum())
            for strict in (False, True):
                expected = set(self.scheme.spans(right.tolist(), strict=strict))
                found = set(self.scheme.spans(tags.tolist(), strict=strict))
                for counts, spans in (
                    (self.right, expected), (self.found, found), (self.both, expected & found),
                ):  # fmt: skip
                    for span in spans:
                        counts[int(strict), self._types.index(span.type)] += 1

    def compute(self) -> dict[str, Any]:
        """Give precision, recall and F1 over all entities, strict F1, those by type, and the share of right tags."""
        plain, strict = (_rates(*(c[n].sum() for c in (self.both, self.found, self.right))) for n in (0, 1))
        each = {
            kind: {
                **_rates(self.both[0, n], self.found[0, n], self.right[0, n]),
                "count": int(self.right[0, n]),
            }
            for n, kind in enumerate(self._types)
        }
        return {
            **plain,
            "f1_strict": strict["f1"],
            "token_accuracy": self.words_right / self.words if self.words else 0.0,
            "per_class": each,
            "entities": int(self.right[0].sum()),
            "words": self.words,
            "count": self.texts,
        }


def _rates(both: Any, found: Any, right: Any) -> dict[str, float]:
    return {
        "precision": float(both / found) if found else 0.0,
        "recall": float(both / right) if right else 0.0,
        "f1": float(2 * both / (found + right)) if found + right else 0.0,
    }


def tagged(
    logits: np.ndarray, labels: np.ndarray, transitions: Transitions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give for each word of a text, from logits [L, K] and labels [L]: the right tag, the one found and its chance."""
    words = np.flatnonzero(labels >= 0)
    found = best_tags(logits[words], transitions)
    sure = chances(logits[words], transitions)[np.arange(len(words)), found]
    return labels[words], found, sure
