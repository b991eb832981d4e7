"""Tags of words to spans and back: the schemes BIO, BIOES, IO and IOB1, and the best sequence that a scheme allows.

A tag is a prefix and a type: B-PER begins an entity, I-PER continues it, E-PER ends one, S-PER is one of a single
word, O is outside of all. M counts as I, L as E and U as S (BMES, BILOU); a prefix alone has the type "_", as in the
tags of word segmentation. In the scheme IO neighbouring words of the same type are one entity; its tags may be types
without prefixes, as parts of speech are. In IOB1 (CoNLL 2003 as published) I begins an entity, and B only one that
follows another of its type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hub.errors import UsageError, one_of

SCHEMES = ("BIO", "BIOES", "IO", "IOB1")
FREE = ("IO", "IOB1")
"""Schemes in which any tag may follow any other."""
OUTSIDE = -1
"""The tag number of a word that nothing was said about: it belongs to no span."""
LEAST_LOG, LEAST = -300.0, 1e-300
"""What a logit may be below the best of its word, and a sum of chances: without them some would be 0 by 0."""

Transitions = tuple[np.ndarray, np.ndarray, np.ndarray]
"""What a scheme allows: bool [L, L] from tag to tag, [L] to begin with and [L] to end with."""

_TAG = re.compile(r"([BIMELSU])(?:-(.+))?")
_BEGINS = re.compile(r"(?:b|B(?!-))[-_](.+)|(.+)[-_]B")
"""A tag for the first word of an entity that is not written as we read it: b-PER, B_PER, PER-B."""
_PREFIX = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}


class Span(NamedTuple):
    """An entity: the words from `start` up to `end`, which does not belong to it."""

    type: str
    start: int
    end: int


@dataclass(frozen=True)
class Scheme:
    """How tags make spans; `prefixes` and `types` are those of each tag by its number, "O" and "" outside."""

    name: str
    labels: tuple[str, ...]
    prefixes: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def entity_types(self) -> tuple[str, ...]:
        """The types of entities, sorted."""
        return tuple(sorted({kind for kind in self.types if kind}))

    def goes_on(self, before: int, tag: int) -> bool:
        """Say whether a word with `tag` belongs to the span of the word before it."""
        if before < 0 or tag < 0 or not self.types[tag] or self.types[before] != self.types[tag]:
            return False
        return self.prefixes[before] in "BI" and self.prefixes[tag] in "IE"

    def spans(self, tags: Iterable[int], *, strict: bool = False) -> list[Span]:
        """Give the spans of a sentence, as seqeval does by default and as conlleval does: every tag counts.

        With `strict`, spans that the scheme does not allow are left out (seqeval's mode="strict"): those that do not
        begin with B or S, and in BIOES those that do not end with E or S.
        """
        found: list[tuple[int, int]] = []
        numbers = list(tags)
        for place, tag in enumerate(numbers):
            if place and self.goes_on(numbers[place - 1], tag):
                found[-1] = found[-1][0], place + 1
            elif tag >= 0 and self.types[tag]:
                found.append((place, place + 1))
        return [
            Span(self.types[numbers[start]], start, end)
            for start, end in found
            if not strict or self._is_whole(numbers[start], numbers[end - 1], end - start)
        ]

    def _is_whole(self, first: int, last: int, length: int) -> bool:
        begin, end = self.prefixes[first], self.prefixes[last]
        if self.name == "BIOES":
            return begin == "S" if length == 1 else (begin, end) == ("B", "E")
        return self.name in FREE or begin == "B"

    def tags(self, spans: Iterable[Span], length: int) -> list[int]:
        """Give the tag of each of `length` words for spans that do not overlap: the inverse of `spans`.

        Raises UsageError for spans that overlap, and for what these labels have no tag for.
        """
        found = [OUTSIDE if "O" not in self.prefixes else self.prefixes.index("O")] * length
        before = Span("", 0, 0)
        for span in sorted(spans, key=lambda one: one.start):
            if not before.end <= span.start < span.end <= length:
                raise UsageError(f"spans: expected one after the other within {length} words, found {span}")
            apart = before.end < span.start or before.type != span.type
            for place in range(span.start, span.end):
                found[place] = self._number(self._prefix(span, place, apart), span.type)
            before = span
        return found

    def _prefix(self, span: Span, place: int, apart: bool) -> str:
        """Give the prefix of a word of a span; `apart` says whether no other span of its type ends where it begins."""
        if self.name == "BIOES" and place == span.end - 1:
            return "S" if place == span.start else "E"
        if place > span.start or self.name == "IO" or (self.name == "IOB1" and apart):
            return "I"
        return "B"

    def _number(self, prefix: str, kind: str) -> int:
        for number, pair in enumerate(zip(self.prefixes, self.types, strict=True)):
            if pair == (prefix, kind):
                return number
        raise UsageError(f"spans: expected a tag for {prefix}-{kind}, found {', '.join(self.labels[:20])}")

    def transitions(self) -> Transitions:
        """Give what the scheme allows."""
        count = len(self.labels)
        inside = np.array([prefix in "IE" for prefix in self.prefixes]) & (self.name not in FREE)
        goes_on = np.array([[self.goes_on(a, b) for b in range(count)] for a in range(count)])
        allowed = goes_on | ~inside[None, :]
        ends = np.ones(count, bool)
        if self.name == "BIOES":
            is_open = np.array([prefix in "BI" for prefix in self.prefixes])
            allowed &= goes_on | ~is_open[:, None]
            ends = ~is_open
        return allowed, ~inside, ends


def recognise(labels: Sequence[str], *, scheme: str | None = None) -> Scheme:
    """Give the scheme that the names of tags say: IO without any B, BIOES with E or S, else BIO or IOB1.

    It is IOB1 where a type has I and no B; tags that have no prefixes at all are types of their own (IO). Raises
    UsageError for tags that are no scheme, and when `scheme` is given and is another one.
    """
    if scheme is not None and scheme not in SCHEMES:
        raise one_of("scheme", scheme, SCHEMES)
    others = [label for label in labels if label != "O"]
    matches = {label: _TAG.fullmatch(label) for label in others}
    plain = [label for label, match in matches.items() if match is None]
    _require_prefixes_first(plain)
    if plain and any(label.startswith(("B-", "I-")) for label in others):
        raise UsageError(
            f"tags: expected O or a prefix and a type such as B-PER, found {plain[0]!r}",
            hint="rename the tag, or leave the prefixes off all of them",
        )
    prefixes, types = [], []
    for label in labels:
        match = matches.get(label)
        prefixes.append("O" if label == "O" else "I" if plain or match is None else _PREFIX[match[1]])
        types.append("" if label == "O" else label if plain or match is None else match[2] or "_")
    name = _name(prefixes, types)
    if scheme not in (None, name):
        raise UsageError(
            f"scheme: expected tags of {scheme}, found those of {name}: {', '.join(labels[:20])}",
            hint=f"scheme={name!r}, or leave it out: it follows from the tags",
        )
    return Scheme(name, tuple(labels), tuple(prefixes), tuple(types))


def _require_prefixes_first(plain: Sequence[str]) -> None:
    """Raise UsageError for tags that are types by their form and were not meant so: each word would be an entity."""
    for label in plain:
        if match := _BEGINS.fullmatch(label):
            raise UsageError(
                f"tags: expected O or a prefix and a type such as B-PER, found {label!r}",
                hint=f"write B-{match[1] or match[2]}, and all others like it",
            )
    if plain and all(label.isdecimal() for label in plain):
        raise UsageError(
            f"tags: expected names such as O and B-PER, found the numbers {', '.join(plain[:10])}",
            hint="put the names in label_list.txt beside the data, one a line in the order of the numbers",
        )


def _name(prefixes: Sequence[str], types: Sequence[str]) -> str:
    """Give the name of the scheme. Raises UsageError for a type whose tags could never make an entity."""
    each = {kind: {p for p, k in zip(prefixes, types, strict=True) if k == kind} for kind in types if kind}
    if not {"E", "S"} & set(prefixes):
        if "B" not in prefixes:
            return "IO"
        return "BIO" if all("B" in there for there in each.values()) else "IOB1"
    for kind, there in each.items():
        if "S" not in there and not {"B", "E"} <= there:
            found = ", ".join(f"{prefix}-{kind}" for prefix in sorted(there))
            raise UsageError(
                f"tags: expected S-{kind}, or B-{kind} and E-{kind}, as in BIOES, found {found}",
                hint="write B for the first word of every entity, E for the last, and S for one of a single word",
            )
    return "BIOES"


def best_tags(scores: np.ndarray, transitions: Transitions) -> np.ndarray:
    """Give the allowed sequence of tags int64 [n] with the largest sum of scores [n, L], by Viterbi's algorithm.

    Where the best tag of every word makes an allowed sequence it is that one, and nothing is searched. Scores are
    logarithms; logits do, since what they lack is the same for all tags of a word.
    """
    allowed, begins, ends = transitions
    own: np.ndarray = scores.argmax(axis=1)
    if not len(own) or (begins[own[0]] and ends[own[-1]] and allowed[own[:-1], own[1:]].all()):
        return own
    forbidden = np.where(allowed, 0.0, -np.inf)
    best = scores[0] + np.where(begins, 0.0, -np.inf)
    came_from = np.zeros(scores.shape, np.int64)
    for place in range(1, len(scores)):
        each = best[:, None] + forbidden
        came_from[place] = each.argmax(axis=0)
        best = each.max(axis=0) + scores[place]
    path = np.empty(len(scores), np.int64)
    path[-1] = (best + np.where(ends, 0.0, -np.inf)).argmax()
    for place in range(len(scores) - 1, 0, -1):
        path[place - 1] = came_from[place, path[place]]
    return path


def chances(scores: np.ndarray, transitions: Transitions) -> np.ndarray:
    """Give the chance of each tag for each word, float64 [n, L], among the sequences that are allowed.

    `scores` [n, L] are logits. Forward and backward as in Rabiner 1989, "A tutorial on hidden Markov models". Where no
    sequence is allowed, as for one word that can be no entity, the chances are those of the word by itself.
    """
    logits = scores.astype(np.float64)
    alone = np.exp(np.maximum(logits - logits.max(axis=1, keepdims=True), LEAST_LOG))
    alone /= alone.sum(axis=1, keepdims=True)
    allowed, begins, ends = (each.astype(np.float64) for each in transitions)
    if not len(logits) or allowed.all():
        return alone
    before, after = np.empty_like(alone), np.empty_like(alone)
    way, back = begins, ends
    for place, own in enumerate(alone):
        way = (way @ allowed if place else way) * own
        before[place] = way = way / max(way.sum(), LEAST)
    for place in range(len(alone) - 1, -1, -1):
        after[place] = back
        back = allowed @ (back * alone[place])
        back = back / max(back.sum(), LEAST)
    both = before * after
    total = both.sum(axis=1, keepdims=True)
    return np.where(total > LEAST, both / np.maximum(total, LEAST), alone)
