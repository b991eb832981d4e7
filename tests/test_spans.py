"""Tags to spans and back: schemes by their names, seqeval's spans, and the best sequence that a scheme allows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import UsageError
from hub.tasks.spans import OUTSIDE, Scheme, Span, best_tags, chances, recognise

BIO = ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")
BIOES = ("O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("LOC", "PER")))
IO = ("O", "I-LOC", "I-PER")
IOB1 = ("O", "B-LOC", "I-LOC", "I-PER")
SETS = {"BIO": BIO, "BIOES": BIOES, "IO": IO, "IOB1": IOB1}
STRICT = {"BIO": "IOB2", "BIOES": "IOBES"}
"""The schemes that have a strict mode, by seqeval's names."""


@pytest.mark.parametrize(
    ("labels", "name", "types"),
    [
        (BIO, "BIO", ("LOC", "PER")),
        (BIOES, "BIOES", ("LOC", "PER")),
        (IO, "IO", ("LOC", "PER")),
        (IOB1, "IOB1", ("LOC", "PER")),
        (("B-PER", "O"), "BIO", ("PER",)),
        (("B-LOC", "E-LOC", "O", "S-LOC", "B-PER", "S-PER"), "BIOES", ("LOC", "PER")),
        (("LOC", "O", "PER"), "IO", ("LOC", "PER")),
        (("NOUN", "VERB", "X"), "IO", ("NOUN", "VERB", "X")),
        (("E-mail", "O", "PER"), "IO", ("E-mail", "PER")),
        (("B", "M", "E", "S"), "BIOES", ("_",)),
        (("B-A-1", "I-A-1", "L-A-1", "O", "U-A-1"), "BIOES", ("A-1",)),
    ],
)
def test_a_scheme_follows_from_the_names(labels: tuple[str, ...], name: str, types: tuple[str, ...]) -> None:
    found = recognise(labels)
    assert (found.name, found.entity_types) == (name, types)
    assert recognise(labels, scheme=name) == found


@pytest.mark.parametrize(
    ("labels", "scheme", "said"),
    [
        (
            ("B-LOC", "E-LOC", "I-PER", "O"),
            None,
            "expected S-PER, or B-PER and E-PER, as in BIOES, found I-PER",
        ),
        (("E-LOC", "I-LOC", "O"), None, "found E-LOC, I-LOC"),
        (("B-LOC", "I-LOC", "PERSON", "O"), None, "found 'PERSON'"),
        (("O", "PER-B", "PER-I"), None, "found 'PER-B'.*\n.*write B-PER, and all"),
        (("B_A", "I_A", "O"), None, "found 'B_A'"),
        (("O", "b-per", "i-per"), None, "found 'b-per'.*\n.*write B-per"),
        (("0", "1", "2"), None, "such as O and B-PER, found the numbers 0, 1, 2.*\n.*label_list.txt"),
        (BIO, "BIOES", "expected tags of BIOES, found those of BIO"),
        (BIO, "BIOE", "expected one of BIO, BIOES, IO, IOB1, found .BIOE."),
    ],
)
def test_tags_that_are_no_scheme_are_refused(labels: tuple[str, ...], scheme: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recognise(labels, scheme=scheme)


def words(text: str, scheme: Scheme) -> list[int]:
    return [scheme.labels.index(tag) for tag in text.split()]


@pytest.mark.parametrize(
    ("labels", "tags", "spans", "strict"),
    [
        (BIO, "B-PER I-PER O B-LOC", "PER:0-2 LOC:3-4", "PER:0-2 LOC:3-4"),
        (BIO, "B-PER B-PER I-LOC", "PER:0-1 PER:1-2 LOC:2-3", "PER:0-1 PER:1-2"),
        (BIO, "O I-PER I-PER", "PER:1-3", ""),
        (BIO, "O O", "", ""),
        (BIOES, "B-PER I-PER E-PER S-LOC", "PER:0-3 LOC:3-4", "PER:0-3 LOC:3-4"),
        (BIOES, "B-PER I-PER O E-LOC", "PER:0-2 LOC:3-4", ""),
        (BIOES, "S-PER E-PER", "PER:0-1 PER:1-2", "PER:0-1"),
        (IOB1, "I-LOC I-LOC B-LOC I-PER", "LOC:0-2 LOC:2-3 PER:3-4", "LOC:0-2 LOC:2-3 PER:3-4"),
        (IO, "I-PER I-PER I-LOC O I-LOC", "PER:0-2 LOC:2-3 LOC:4-5", "PER:0-2 LOC:2-3 LOC:4-5"),
    ],
)
def test_spans_of_tags(labels: tuple[str, ...], tags: str, spans: str, strict: str) -> None:
    scheme = recognise(labels)

    def shown(found: list[Span]) -> str:
        return " ".join(f"{span.type}:{span.start}-{span.end}" for span in found)

    assert shown(scheme.spans(words(tags, scheme))) == spans
    assert shown(scheme.spans(words(tags, scheme), strict=True)) == strict


def test_words_that_nothing_was_said_about_are_in_no_span() -> None:
    scheme = recognise(BIO)
    assert scheme.spans([1, OUTSIDE, 3]) == [Span("LOC", 0, 1), Span("LOC", 2, 3)]


@st.composite
def sentences(draw: st.DrawFn) -> tuple[Scheme, list[int]]:
    scheme = recognise(SETS[draw(st.sampled_from(sorted(SETS)))])
    return scheme, draw(st.lists(st.integers(0, len(scheme.labels) - 1), max_size=9))


@given(sentences())
@settings(max_examples=400)
def test_spans_are_those_of_seqeval(case: tuple[Scheme, list[int]]) -> None:
    metrics = pytest.importorskip("seqeval.metrics.sequence_labeling")
    schemes = pytest.importorskip("seqeval.scheme")
    scheme, tags = case
    names = [scheme.labels[tag] for tag in tags]
    theirs = [Span(kind, start, end + 1) for kind, start, end in metrics.get_entities(names)]
    assert scheme.spans(tags) == theirs
    if scheme.name in STRICT:
        kind = getattr(schemes, STRICT[scheme.name])
        strict = schemes.Tokens(names, kind).entities
        assert scheme.spans(tags, strict=True) == [Span(one.tag, one.start, one.end) for one in strict]


@given(sentences())
@settings(max_examples=200)
def test_spans_become_tags_and_the_same_spans_again(case: tuple[Scheme, list[int]]) -> None:
    scheme, tags = case
    spans = scheme.spans(tags)
    if scheme.name == "IOB1":  # it has no tag for the second of two neighbours of type PER
        spans = [a for a, b in itertools.pairwise([*spans, Span("", 99, 99)]) if a[0] != b[0] or a[2] < b[1]]
    again = scheme.tags(spans, len(tags))
    assert scheme.spans(again, strict=True) == spans
    allowed, begins, ends = scheme.transitions()
    assert not again or (begins[again[0]] and ends[again[-1]])
    assert all(allowed[a, b] for a, b in itertools.pairwise(again))


@pytest.mark.parametrize(
    ("labels", "spans", "said"),
    [
        (BIO, [Span("PER", 0, 2), Span("LOC", 1, 3)], "one after the other within 3 words"),
        (BIO, [Span("PER", 2, 4)], "within 3 words"),
        (BIO, [Span("ORG", 0, 1)], "a tag for B-ORG"),
        (("B-PER", "O"), [Span("PER", 0, 2)], "a tag for I-PER"),
        (IOB1, [Span("PER", 0, 1), Span("PER", 1, 2)], "a tag for B-PER"),
    ],
)
def test_spans_without_tags_are_refused(labels: tuple[str, ...], spans: list[Span], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recognise(labels).tags(spans, 3)


# ---- the best allowed sequence ----


def allowed_paths(
    scheme: Scheme, length: int, *, from_the_start: bool = True, to_the_end: bool = True
) -> list[tuple[int, ...]]:
    """Give every sequence of so many tags that the scheme allows, by trying all."""
    allowed, begins, ends = scheme.transitions()
    return [
        path
        for path in itertools.product(range(len(scheme.labels)), repeat=length)
        if (begins[path[0]] or not from_the_start)
        and (ends[path[-1]] or not to_the_end)
        and all(allowed[a, b] for a, b in itertools.pairwise(path))
    ]


@pytest.mark.parametrize("name", sorted(SETS))
@pytest.mark.parametrize("seed", range(12))
def test_the_best_sequence_is_the_best_of_all_that_are_allowed(name: str, seed: int) -> None:
    scheme, rng = recognise(SETS[name]), np.random.default_rng(seed)
    scores = rng.normal(size=(4, len(scheme.labels)))
    best = max(allowed_paths(scheme, 4), key=lambda path: float(scores[np.arange(4), path].sum()))
    found = best_tags(scores, scheme.transitions())
    assert tuple(found.tolist()) == best
    assert scheme.spans(found) == scheme.spans(found, strict=True)


def test_an_inside_without_a_beginning_is_repaired_by_what_is_likely() -> None:
    scheme = recognise(("O", "B-PER", "I-PER"))
    scores = np.log(np.array([[0.5, 0.4, 0.1], [0.1, 0.1, 0.8]]))
    assert best_tags(scores, scheme.transitions()).tolist() == [1, 2]
    scores = np.log(np.array([[0.9, 0.05, 0.05], [0.3, 0.2, 0.5]]))
    assert best_tags(scores, scheme.transitions()).tolist() == [0, 0]
    assert best_tags(np.zeros((0, 3)), scheme.transitions()).tolist() == []


@pytest.mark.parametrize("name", SETS)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([0.5, 5.0, 50.0]))
@settings(max_examples=30)
def test_chances_are_shares_of_all_allowed_sequences(name: str, seed: int, size: float) -> None:
    scheme = recognise(SETS[name])
    scores = np.random.default_rng(seed).normal(size=(3, len(scheme.labels))) * size
    expected, best = np.zeros(scores.shape), scores.max(axis=1).sum()
    for path in allowed_paths(scheme, 3):
        expected[np.arange(3), path] += np.exp(scores[np.arange(3), path].sum() - best)
    found = chances(scores, scheme.transitions())
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), atol=1e-9)


def test_chances_have_a_value_for_any_scores_and_where_nothing_is_allowed() -> None:
    scheme = recognise(BIOES)
    scores = np.random.default_rng(0).normal(size=(2000, len(BIOES))) * 1e4
    found = chances(scores, scheme.transitions())
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    alone = recognise(("B-PER", "E-PER"))  # no entity is one word long
    np.testing.assert_allclose(chances(np.log([[0.7, 0.3]]), alone.transitions()), [[0.7, 0.3]])
    assert chances(np.zeros((0, len(BIOES))), scheme.transitions()).shape == (0, len(BIOES))
