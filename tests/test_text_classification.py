"""Text classification: examples of texts, answers, cut texts, cards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hub import tasks
from hub.datasets import Sample
from hub.errors import SpecError, UsageError
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Named
from hub.tasks.text_classification import MOST_LINES, TextClassification
from tests.small_texts import answers, network_for, reader, train

TEXTS = ["a good film", "good, so good!", "bad, very bad", "a bad film", "good acting", "what a bad idea"]
RIGHT = np.array([1, 1, 0, 0, 1, 0])
LABELS = ("bad", "good")


@pytest.fixture(params=[False, True], ids=["plain", "tokenizers"])
def library(request: pytest.FixtureRequest) -> bool:
    if request.param:
        pytest.importorskip("tokenizers")
    return bool(request.param)


def test_texts_of_all_lengths_make_a_batch_that_is_learnt(library: bool) -> None:
    task, found = TextClassification(LABELS), reader(library)
    examples = task.examples(found)
    items = [examples.read(Sample(text, label)) for text, label in zip(TEXTS, RIGHT, strict=True)]
    assert [examples.length(item) for item in items] == [len(item) for item in items]
    batch = examples.batch(items, RIGHT)
    network = network_for(task)
    assert train(network, task, batch) < 0.1
    results = answers(task, network, found, TEXTS)
    assert [result["label"] for result in results] == [LABELS[label] for label in RIGHT]
    alone = [answers(task, network, found, [text])[0]["score"] for text in TEXTS]
    assert [result["score"] for result in results] == pytest.approx(alone, abs=1e-5), (
        "padding changes nothing"
    )
    assert set(results[0]) == {"label", "score", "top"}


def test_several_labels_and_pairs_are_answered_as_well(library: bool) -> None:
    task, found = TextClassification(("a", "b", "c"), multi_label=True), reader(library)
    [result] = answers(task, network_for(task), found, [("one text", "and another")])
    assert set(result["scores"]) == {"a", "b", "c"}
    assert task.show(("one text", "and another")) == "one text\nand another"


def test_an_answer_says_that_a_text_was_cut(library: bool) -> None:
    task = TextClassification(LABELS)
    short, long = answers(task, network_for(task), reader(library, 8), ["good", "good, good, good"])
    assert "cut" not in short
    assert long["cut"] is True


def test_the_closed_form_start_is_there() -> None:
    assert TextClassification(LABELS).wanted(RIGHT).tolist() == np.eye(2)[RIGHT].tolist()


def test_what_is_no_module_of_texts_and_what_means_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="needs the step tokenize"):
        TextClassification.examples(PicturePreprocessor([Named("normalize")]))
    task = tasks.create("text_classification", LABELS)
    assert isinstance(task, TextClassification)
    with pytest.raises(UsageError, match="top_k: expected at least 1, found 0"):
        answers(task, network_for(task), reader(False), [], top_k=0)


def test_a_text_is_shown_and_drawn_with_its_answer(tmp_path: Path) -> None:
    task = TextClassification(LABELS)
    path = tmp_path / "a.txt"
    path.write_text("\ufeffin a file", encoding="utf-8")
    assert [task.show(each) for each in ("as it is", ["two", "words"], path)] == [
        "as it is",
        "two words",
        "in a file",
    ]
    plain = task.picture("a good film")
    assert np.asarray(plain).min() < 128, "there are letters on it"
    [result] = answers(task, network_for(task), reader(False), ["a good film"])
    assert task.draw(plain, result).height > plain.height
    assert task.picture("word " * 20_000).size == task.picture("word " * 30_000).size
    assert task.picture("word " * 20_000).height == 24 * MOST_LINES + 16
    assert task.picture("").height == 40
    assert task.picture("a\n\nb").height == 24 * 3 + 16
