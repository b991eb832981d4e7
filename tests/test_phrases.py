"""Made sentences: two parts with other words, the same for the same seed, and files that are read as they are meant."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hub.datasets import load, phrases
from hub.errors import UsageError

MAKERS = [phrases.reviews, phrases.named, phrases.questions]
EXPORTS = [
    (phrases.export_reviews, "train.tsv", "texts", 64),
    (phrases.export_named, "train.conll", "tagged", 150),
    (phrases.export_questions, "train.tsv", "pairs", 100),
]


@pytest.mark.parametrize("language", phrases.LANGUAGES)
@pytest.mark.parametrize("make", MAKERS)
def test_the_same_seed_gives_the_same_sentences(make: Callable[..., Any], language: str) -> None:
    first, again, other = (make(20, part="train", language=language, seed=seed) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("language", phrases.LANGUAGES)
def test_no_name_of_one_part_is_in_the_other(language: str) -> None:
    blank = " " if language == "en" else ""
    train, test = (_names(phrases.named(300, part=p, language=language), blank) for p in phrases.PARTS)
    assert len(train) > 20
    assert len(test) > 20
    assert not train & test


def test_no_word_that_decides_a_review_of_one_part_is_in_the_other() -> None:
    judged = {
        word
        for listed in (phrases.LANGUAGES["en"].good, phrases.LANGUAGES["en"].bad)
        for word in _split(listed)
    }
    train, test = (
        {word for text, _ in phrases.reviews(200, part=part) for word in text.replace(",", "").split()}
        & judged
        for part in phrases.PARTS
    )
    assert len(train) > 30
    assert len(test) > 30
    assert not train & test


@pytest.mark.parametrize("language", phrases.LANGUAGES)
def test_every_name_begins_with_b(language: str) -> None:
    for words, tags in phrases.named(100, part="test", language=language):
        assert len(words) == len(tags)
        for before, tag in pairwise(["O", *tags]):
            assert not tag.startswith("I-") or before[2:] == tag[2:]


def test_half_of_the_questions_ask_the_same() -> None:
    labels = [label for _, label in phrases.questions(30, part="train")]
    assert sorted(set(labels)) == ["different", "same"]
    assert labels.count("same") == 30


@pytest.mark.parametrize(("export", "name", "kind", "count"), EXPORTS)
@pytest.mark.parametrize("language", phrases.LANGUAGES)
def test_what_is_exported_is_read_without_a_complaint(
    export: Callable[..., Path], name: str, kind: str, count: int, language: str, tmp_path: Path
) -> None:
    data = load(export(tmp_path / "made", language=language) / name, kind).train
    assert len(data) == count
    assert not data.problems


@pytest.mark.parametrize("wrong", [{"part": "valid"}, {"part": "train", "language": "fr"}])
def test_a_part_or_language_that_there_is_not_is_named(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"valid|fr"):
        phrases.reviews(1, **wrong)


def _split(listed: str) -> list[str]:
    return listed.replace("\n", "|").split("|")


def _names(sentences: list[phrases.Tagged], blank: str) -> set[str]:
    found: set[str] = set()
    for words, tags in sentences:
        spelled: list[str] = []
        for word, tag in [*zip(words, tags, strict=True), ("", "O")]:
            if not tag.startswith("I-") and spelled:
                found.add(blank.join(spelled))
                spelled = []
            if tag != "O":
                spelled.append(word)
    return found
