"""Sequence labeling: labels of pieces, the loss, seqeval's metrics, entities with their places, long texts."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import tasks
from hub.datasets import Sample
from hub.errors import InputError, SpecError, UsageError
from hub.finetune.batches import Batches, ItemCache, Read
from hub.finetune.plan import usual_rate
from hub.finetune.trainer import measure
from hub.finetune.worst import Worst
from hub.modules import archs
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Named
from hub.modules.text_preprocessor import TextPreprocessor
from hub.tasks.base import WeightedMean
from hub.tasks.sequence_labeling import SequenceLabeling
from hub.tasks.sequence_labeling_metrics import IGNORED, OPEN, SpanMeter
from hub.tasks.spans import best_tags, recognise
from hub.tasks.text_windows import first_pieces, windows
from tests import small_texts
from tests.small_texts import added_up, answers, network_for, reader, train
from tests.test_spans import BIO, SETS, STRICT, allowed_paths

SENTENCES = [
    ("ann lee went to york .", "B-PER I-PER O O B-LOC O"),
    ("in new york , bob waits .", "O B-LOC I-LOC O B-PER O O"),
    ("bob sees ann lee", "B-PER O B-PER I-PER"),
    ("nobody is here .", "O O O O"),
    ("york is near new york", "B-LOC O O B-LOC I-LOC"),
]


def samples() -> list[Sample]:
    return [Sample(text.split(), tuple(map(BIO.index, tags.split()))) for text, tags in SENTENCES]


@pytest.fixture(params=[False, True], ids=["plain", "tokenizers"])
def library(request: pytest.FixtureRequest) -> bool:
    if request.param:
        pytest.importorskip("tokenizers")
    return bool(request.param)


@pytest.fixture(scope="module")
def trained() -> tuple[SequenceLabeling, Any]:
    task = SequenceLabeling(BIO)
    network = network_for(task)
    examples = task.examples(reader(False))
    train(network, task, examples.batch([examples.read(one) for one in samples()], np.zeros(5)), steps=120)
    return task, network


# ---- labels of pieces ----


def test_the_first_piece_of_a_word_has_its_label_and_the_rest_counts_for_nothing(library: bool) -> None:
    examples = SequenceLabeling.examples(reader(library))
    [(tokens, labels, _)] = item = examples.read(Sample(["ann", "u.s.", "!"], (2, 1, 0)))
    assert labels.tolist() == [IGNORED, 2, IGNORED, IGNORED, 1, *[IGNORED] * 3, 0, IGNORED]
    assert (labels.dtype, len(tokens), examples.length(item)) == (np.int64, 10, 10)
    short = examples.read(Sample(["a"], (2,)))
    (ids, segments, mask), targets = examples.batch([item, short], np.zeros(2))
    assert ids.shape == segments.shape == mask.shape == targets.shape == (2, 10)
    assert targets[1].tolist() == [IGNORED, 2, *[IGNORED] * 8]
    assert mask[1].tolist() == [1] * 3 + [0] * 7


@pytest.mark.parametrize("max_length", [6, 8, 12, 31])
def test_every_word_of_a_longer_text_has_its_label_in_one_of_its_rows(library: bool, max_length: int) -> None:
    examples = SequenceLabeling.examples(reader(library, max_length))
    words = ["ann", "lee", "went", "to", "new", "york", ".", "bob", "is", "here", "!"]
    tags = (2, 4, 0, 0, 1, 3, 0, 2, 0, 1, 0)
    long, short = examples.read(Sample(words, tags)), examples.read(Sample(["bob"], (2,)))
    (ids, _, mask), targets = examples.batch([short, long, short], np.zeros(3))
    assert targets.shape == ids.shape == (len(long) + 2, max_length)
    assert len(long) > 1
    assert targets[targets >= 0].tolist() == [2, *tags, 2]
    # marked are the edges at which the text goes on
    last = mask.sum(axis=1) - 1
    assert (targets[:, 0] == OPEN).tolist() == [False, False, *[True] * (len(long) - 1), False]
    assert (targets[np.arange(len(ids)), last] == OPEN).tolist() == [
        False, *[True] * (len(long) - 1), False, False,
    ]  # fmt: skip
    assert (targets == OPEN).sum() == 2 * (len(long) - 1)
    assert examples.length(long) == mask.sum() - 2 * len("bob") - 4
    assert examples.cut(long) == 0


@pytest.mark.parametrize(
    ("words", "tags", "said"),
    [(["a", "b"], (0,), "found 2 words, 1 tags"), ("a b", (0, 0), "a list of words .* found str, 2 tags")],
)
def test_words_without_a_tag_for_each_are_refused(words: Any, tags: tuple[int, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SequenceLabeling.examples(reader(False)).read(Sample(words, tags))


def test_what_is_no_module_of_texts_is_refused() -> None:
    with pytest.raises(SpecError, match="needs the step tokenize"):
        SequenceLabeling.examples(PicturePreprocessor([Named("normalize")]))
    with pytest.raises(SpecError, match="a feature for every piece of a text, found SmallResNet"):
        SequenceLabeling(BIO).attach(archs.build("small_resnet", width=4))
    with pytest.raises(SpecError, match="found pooled ones"):
        SequenceLabeling(BIO).build_head(small_texts.PieceNetwork().feature_spec)


# ---- the task ----


def test_the_task_is_found_by_name_and_its_scheme_follows_from_the_tags() -> None:
    task = tasks.create("sequence_labeling", BIO, scheme="BIO")
    assert isinstance(task, SequenceLabeling)
    assert task.scheme == tasks.create("sequence_labeling", BIO).scheme  # type: ignore[attr-defined]
    assert tasks.options("sequence_labeling") == ["scheme"]
    with pytest.raises(UsageError, match="expected tags of BIOES"):
        tasks.create("sequence_labeling", BIO, scheme="BIOES")
    with pytest.raises(UsageError, match="a word has one tag"):
        tasks.create("sequence_labeling", BIO, multi_label=True)
    with pytest.raises(UsageError, match="two tags or more, found O"):
        tasks.create("sequence_labeling", ["O"])


def random_batch(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(4, 7, len(BIO))).astype(np.float32)
    labels = rng.integers(0, len(BIO), (4, 7))
    labels[rng.random(labels.shape) < 0.4] = IGNORED
    return logits, labels


IO = ("O", "I-LOC", "I-PER", "I-ORG", "I-EVENT")


@pytest.mark.parametrize(("tags", "weight"), [(BIO, np.array([0.2, 1, 2, 3, 4.0])), (IO, None)])
def test_the_loss_is_the_weighted_mean_over_words(tags: Sequence[str], weight: np.ndarray | None) -> None:
    logits, labels = random_batch()
    labels[0, 0] = labels[1, 6] = OPEN
    loss = SequenceLabeling(tags).loss(class_weight=weight)
    found = loss(paddle.to_tensor(logits), paddle.to_tensor(labels))
    known = labels >= 0
    words, right = logits[known].astype(np.float64), labels[known]
    costs = np.log(np.exp(words).sum(axis=1)) - words[np.arange(len(right)), right]
    wanted = np.average(costs, weights=None if weight is None else weight[right])
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    # parts of a batch add up by their shares
    assert isinstance(loss, WeightedMean)
    shares = [float(loss.weight(paddle.to_tensor(part))) for part in (labels[:1], labels[1:])]
    parts = [
        float(loss(paddle.to_tensor(logits[part]), paddle.to_tensor(labels[part])))
        for part in (slice(1), slice(1, 4))
    ]
    assert np.average(parts, weights=shares) == pytest.approx(wanted, rel=1e-5)
    assert float(loss.weight(paddle.full([2, 3], IGNORED, "int64"))) == 0


@pytest.mark.parametrize("tags", [BIO, ("O", "B-PER", "I-PER", "E-PER", "S-PER")], ids=["BIO", "BIOES"])
@pytest.mark.parametrize("seed", range(6))
def test_the_loss_of_a_text_is_that_of_its_tags_among_all_that_are_allowed(
    tags: Sequence[str], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = random_batch(seed)
    task = SequenceLabeling(tags)
    labels[1, 0] = labels[2, 5] = OPEN  # where the text goes on in another row, any tag may begin or end
    edges: list[dict[str, bool]] = [{}, {"from_the_start": False}, {"to_the_end": False}, {}]
    for own, edge in zip(labels[:3], edges, strict=False):  # the fourth has tags as they come
        places = np.flatnonzero(own >= 0)
        own[places] = rng.permutation(allowed_paths(task.scheme, len(places), **edge))[0]
    costs, count = 0.0, 0
    for scores, own, edge in zip(logits.astype(np.float64), labels, edges, strict=True):
        places = np.flatnonzero(own >= 0)
        right = tuple(own[places].tolist())
        among = allowed_paths(task.scheme, len(places), **edge)
        if right not in among:  # every word by itself
            among = list(itertools.product(range(len(tags)), repeat=len(places)))
        costs += np.logaddexp.reduce([scores[places, path].sum() for path in among])
        costs -= scores[places, right].sum()
        count += len(places)
    loss, given = task.loss(), paddle.to_tensor(logits, stop_gradient=False)
    found = loss(given, paddle.to_tensor(labels))
    found.backward()
    assert float(found) == pytest.approx(costs / count, rel=1e-5)
    assert isinstance(loss, WeightedMean)
    assert float(loss.weight(paddle.to_tensor(labels))) == count
    np.testing.assert_allclose(
        given.grad.numpy().sum(axis=2), 0, atol=1e-6
    )  # what one tag gains the others lose


def test_texts_of_one_word_have_the_tags_that_may_stand_alone() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, len(BIO))).astype(np.float32)
    labels = np.array([[IGNORED, 1, IGNORED], [IGNORED, 0, IGNORED]])  # B-LOC and O
    found = SequenceLabeling(BIO).loss()(paddle.to_tensor(logits), paddle.to_tensor(labels))
    scores = logits[:, 1, :3].astype(np.float64)  # O, B-LOC and B-PER
    costs = np.logaddexp.reduce(scores, axis=1) - scores[[0, 1], [1, 0]]
    assert float(found) == pytest.approx(costs.mean(), rel=1e-5)


def test_pieces_that_count_for_nothing_have_no_gradient_and_a_batch_of_them_costs_nothing() -> None:
    logits, labels = random_batch()
    given = paddle.to_tensor(logits, stop_gradient=False)
    loss = SequenceLabeling(BIO).loss()
    loss(given, paddle.to_tensor(labels)).backward()
    gradient = np.abs(given.grad.numpy()).sum(axis=2)
    assert gradient[labels == IGNORED].max() == 0
    assert gradient[labels != IGNORED].min() > 0
    assert float(loss(given, paddle.full([4, 7], IGNORED, "int64"))) == 0


def test_a_teacher_is_heeded_word_by_word() -> None:
    logits, labels = random_batch()
    labels[0, -1] = labels[1, 0] = OPEN  # one text in two rows
    own = [logits[[0, 1]][labels[[0, 1]] >= 0], *(logits[row][labels[row] >= 0] for row in (2, 3))]
    counts = [len(words) for words in own]
    lessons = [np.random.default_rng(len(words)).normal(size=words.shape).astype(np.float32) for words in own]
    counts[1] -= 1  # of which the teacher read less
    lessons[1][-1] = np.nan
    task = SequenceLabeling(BIO)
    answers = task.taught(lessons, labels)
    assert len(task.taught([], labels[:0])) == 0
    loss = task.from_teacher(lambda student, teacher: ((student - teacher) ** 2).mean())
    given, targets = paddle.to_tensor(logits), tuple(map(paddle.to_tensor, (labels, answers)))
    heeded = np.concatenate([words[:count] for words, count in zip(own, counts, strict=True)])
    said = np.concatenate([row[:count] for row, count in zip(lessons, counts, strict=True)])
    assert float(loss(given, targets)) == pytest.approx(((heeded - said) ** 2).mean(), rel=1e-5)
    assert isinstance(loss, WeightedMean)
    assert float(loss.weight(targets)) == sum(counts)
    parts = [[each[rows] for each in (given, *targets)] for rows in (slice(0, 1), slice(1, 4))]
    each = [float(loss(one, own)) * float(loss.weight(own)) for one, *own in parts]
    assert sum(each) / sum(counts) == pytest.approx(float(loss(given, targets)), rel=1e-5)
    nothing = targets[0], paddle.full_like(targets[1], np.nan)
    assert float(loss(given, nothing)) == 0


def test_balanced_weights_favour_rare_tags_and_keep_the_scale() -> None:
    counts = dict(zip(BIO, (900, 50, 30, 15, 5), strict=True))
    weights = SequenceLabeling(BIO).class_weight("balanced", counts)
    assert weights is not None
    assert weights.tolist() == sorted(weights)
    assert (weights * list(counts.values())).sum() == pytest.approx(1000)
    assert weights[4] / weights[0] == pytest.approx((900 / 5) ** 0.5)
    assert SequenceLabeling(BIO).class_weight({"B-PER": 3}, counts).tolist() == [1, 1, 3, 1, 1]  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="no class is called 'B-PERS'"):
        SequenceLabeling(BIO).class_weight({"B-PERS": 3}, counts)


# ---- metrics ----


@st.composite
def tagged_sets(draw: st.DrawFn) -> tuple[str, list[tuple[list[int], list[int]]]]:
    name = draw(st.sampled_from(sorted(SETS)))
    tag = st.integers(0, len(SETS[name]) - 1)
    return name, draw(st.lists(st.lists(st.tuples(tag, tag), min_size=1, max_size=7), min_size=1, max_size=6))


@given(tagged_sets())
@settings(max_examples=150)
def test_metrics_over_batches_and_processes_are_those_of_seqeval(case: tuple[str, Any]) -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    schemes = pytest.importorskip("seqeval.scheme")
    name, rows = case
    scheme = recognise(SETS[name])
    meters = [SpanMeter(scheme), SpanMeter(scheme)]
    right, found = [], []
    for number, row in enumerate(rows):
        labels = np.array([one for one, _ in row])
        logits = np.eye(len(scheme.labels))[[other for _, other in row]] * 2 + np.linspace(
            0, 0.1, len(scheme.labels)
        )
        meters[number % 2].update(logits[None], labels[None])
        right.append([scheme.labels[tag] for tag in labels])
        found.append([scheme.labels[tag] for tag in best_tags(logits, scheme.transitions())])
    ours = added_up(*meters)
    for key in ("precision", "recall", "f1"):
        assert ours[key] == pytest.approx(getattr(metrics, f"{key}_score")(right, found, zero_division=0))
    each = metrics.classification_report(right, found, output_dict=True, zero_division=0)
    for kind in scheme.entity_types:
        theirs = each.get(kind, {"f1-score": 0.0, "support": 0})
        assert ours["per_class"][kind]["f1"] == pytest.approx(theirs["f1-score"])
        assert ours["per_class"][kind]["count"] == theirs["support"]
    if name in STRICT:
        kind = getattr(schemes, STRICT[name])
        strict = metrics.f1_score(right, found, mode="strict", scheme=kind, zero_division=0)
        assert ours["f1_strict"] == pytest.approx(strict)
    assert ours["token_accuracy"] == pytest.approx(metrics.accuracy_score(right, found))


def test_misses_name_what_was_expected_and_found() -> None:
    task = SequenceLabeling(BIO)
    labels = np.array([[IGNORED, 2, 4, 0, 1], [IGNORED, 0, 0, IGNORED, 0], [IGNORED, 2, 0, 0, 0]])
    found = np.array([[0, 1, 3, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    logits = np.eye(len(BIO))[found] * 4
    rows = task.misses(logits, labels)
    assert [row[:3] for row in rows] == [
        (0, "PER (words 1 to 2)", "LOC (words 1 to 2)"),
        (2, "PER (word 1)", "no entity"),
    ]
    paths = allowed_paths(task.scheme, 4)
    shares = np.exp([logits[0, np.arange(1, 5), path].sum() for path in paths])
    each = [shares[[path[n] == tag for path in paths]].sum() / shares.sum() for n, tag in ((0, 1), (1, 3))]
    assert rows[0][3] == pytest.approx(np.mean(each))


# ---- answers ----


def test_entities_have_their_type_text_and_place(
    trained: tuple[SequenceLabeling, Any], library: bool
) -> None:
    task, network = trained
    text = "Ann Lee  went to New York."
    [result] = answers(task, network, reader(library), [text])
    assert [(each["type"], each["text"]) for each in result["entities"]] == [
        ("PER", "Ann Lee"),
        ("LOC", "New York"),
    ]
    for each in result["entities"]:
        assert text[each["start"] : each["end"]] == each["text"]
        assert 0.5 < each["score"] <= 1
    assert set(result) == {"entities"}


def test_words_that_are_given_as_a_list_stand_in_the_text_with_single_spaces(
    trained: tuple[SequenceLabeling, Any], library: bool
) -> None:
    task, network = trained
    given = ["bob", "sees", "ann", "lee"]
    [result] = answers(task, network, reader(library), [given], words=True)
    assert [(each["text"], each["start"], each["end"]) for each in result["entities"]] == [
        ("bob", 0, 3), ("ann lee", 9, 16),
    ]  # fmt: skip
    assert [each["text"] for each in result["words"]] == given
    assert [each["tag"] for each in result["words"]] == ["B-PER", "O", "B-PER", "I-PER"]


def test_every_word_of_a_list_has_a_tag_whatever_the_tokenizer_leaves_of_it(
    trained: tuple[SequenceLabeling, Any], library: bool
) -> None:
    task, network = trained
    given = ["\u3000", "bob", " ", "sees", "", "ann"]
    [result] = answers(task, network, reader(library), [given], words=True)
    joined = " ".join(given)
    assert [joined[each["start"] : each["end"]] for each in result["words"]] == given
    assert [each["tag"] for each in result["words"]] == ["O", "B-PER", "O", "O", "O", "B-PER"]
    assert [bool(each["score"]) for each in result["words"]] == [False, True, False, True, False, True]


TOGETHER = [
    ("Yesterday O'Brien left the U.S. again", "Yesterday | O'Brien | left | the | U.S. | again"),
    ("Coca-Cola's rock’n’roll, AT&T!", "Coca-Cola's | rock’n’roll | , | AT&T | !"),
    ('(Ann Lee), "Bob".', '( | Ann | Lee | ) | , | " | Bob | " | .'),
    ("1,000.50 at 10:30, 3-4, or 5", "1,000.50 | at | 10:30 | , | 3-4 | , | or | 5"),
    (
        "He left.Ann came - bob@x.org waits...",
        "He | left | . | Ann | came | - | bob@x.org | waits | . | . | .",
    ),
    ("the U.S.-based U.S.A e.g. St.-Denis Inc.", "the | U.S.-based | U.S.A | e.g. | St.-Denis | Inc | ."),
    ("张-三在York、上海。", "张 | - | 三 | 在 | York | 、 | 上 | 海 | 。"),
    ("Lima\u0301 हिन्दू is Ange\u0301lique\u0301.", "Lima\u0301 | हिन्दू | is | Ange\u0301lique\u0301 | ."),
    ("so--Ann and/or 'Bob' _x", "so--Ann | and/or | ' | Bob | ' | _ | x"),
]


@pytest.mark.parametrize(("text", "words"), TOGETHER)
@pytest.mark.parametrize("max_length", [500, 16])
def test_words_of_a_text_are_those_that_data_has_with_tags(text: str, words: str, max_length: int) -> None:
    pytest.importorskip("tokenizers")
    found = reader(True, max_length)
    cut = windows(text, found.tokenizer.encode(text), found)
    places = np.concatenate([window.places for window in cut])
    assert " | ".join(text[start:end] for start, end in places) == words


def test_a_file_is_read_and_other_things_are_refused(
    trained: tuple[SequenceLabeling, Any], tmp_path: Any
) -> None:
    task, network = trained
    path = tmp_path / "a.txt"
    path.write_text("bob sees ann lee", encoding="utf-8")
    assert answers(task, network, reader(False), [path]) == answers(
        task, network, reader(False), ["bob sees ann lee"]
    )
    with pytest.raises(InputError, match="a text or a list of words, found tuple"):
        answers(task, network, reader(False), [("a", "b")])
    with pytest.raises(UsageError, match="words: expected true or false, found 1"):
        answers(task, network, reader(False), [], words=1)


def test_an_answer_never_has_an_impossible_sequence(trained: tuple[SequenceLabeling, Any]) -> None:
    task, _ = trained
    network = network_for(task, seed=3)  # untrained: its best tags are anything
    [result] = answers(
        task, network, reader(False, 512), ["ann went to lee in new york near bob ! " * 8], words=True
    )
    tags = [BIO.index(each["tag"]) for each in result["words"]]
    assert len(set(tags)) > 2
    allowed = task.scheme.transitions()[0]
    assert all(allowed[a, b] for a, b in zip(tags, tags[1:], strict=False))


def test_the_answer_is_drawn_below_the_text(trained: tuple[SequenceLabeling, Any]) -> None:
    task, network = trained
    text = "bob sees ann lee"
    [result] = answers(task, network, reader(False), [text])
    plain = task.picture(text)
    assert task.draw(plain, result).height > plain.height
    assert task.show(["bob", "sees"]) == "bob sees"


# ---- texts of any length ----

WORDS = st.text(alphabet="ab, 张三!", min_size=0, max_size=90)


@given(WORDS, st.integers(5, 20), st.booleans())
@settings(max_examples=300)
def test_windows_have_every_word_once_and_in_order(text: str, max_length: int, split: bool) -> None:
    found = reader(False, max_length)
    source: Any = text.split() if split else text
    whole = reader(False, 500).tokenizer.encode(source)
    pieces = first_pieces(whole)
    lengths = np.diff([*pieces, len(whole) - 1])
    if not len(pieces) or lengths.max() > max_length - 3:
        return  # a word that fills a window alone is cut: see below
    cut = list(windows(source, found.tokenizer.encode(source), found))
    places = np.concatenate([window.places for window in cut]).tolist()
    assert [start for start, _ in places] == whole.spans[pieces, 0].tolist()
    joined = text if not split else " ".join(source)
    assert all(joined[start:end].strip() for start, end in places)
    assert (len(cut) > 1) == (len(whole) > max_length)


@pytest.mark.parametrize(
    ("source", "starts"),
    [
        (["a" * 40, "b", "c"], [0, 41, 43]),
        (["", "a" * 9, ""], [1]),
        ("b " + "a" * 20, None),
        (" " * 200 + "b", [200]),
        ("b" + " " * 500 + "b", [0, 501]),
    ],
)
def test_words_longer_than_a_window_do_not_stop_the_rest(source: Any, starts: list[int] | None) -> None:
    found = reader(False, 6)
    places = [
        int(start)
        for window in windows(source, found.tokenizer.encode(source), found)
        for start, _ in window.places
    ]
    assert places == sorted(set(places))
    if starts is not None:
        assert places == starts


def test_a_long_text_is_answered_as_its_sentences_are(
    trained: tuple[SequenceLabeling, Any], library: bool
) -> None:
    task, network = trained
    text = "ann lee went to york . in new york , bob waits . " * 40
    whole, cut = (
        answers(task, network, found, [text, "bob"], words=True)
        for found in (reader(library, 4096), reader(library, 32))
    )
    assert len(whole[0]["entities"]) == 160
    strip = lambda rows: [{key: each[key] for key in ("text", "start", "end")} for each in rows]  # noqa: E731
    assert strip(cut[0]["words"]) == strip(whole[0]["words"])
    # the network looks one piece back, and every word is answered away from the edge of its window
    assert cut[0]["entities"] == whole[0]["entities"]
    assert cut[1] == whole[1]
    given = text.split()
    [by_words] = answers(task, network, reader(library, 32), [given])
    assert [each["text"] for each in by_words["entities"]] == [each["text"] for each in whole[0]["entities"]]


@pytest.mark.parametrize("max_length", [6, 12, 25])
def test_a_word_is_answered_by_the_window_with_most_around_it(max_length: int) -> None:
    found, text = reader(False, max_length), ["a"] * 60
    cut = list(windows(text, found.tokenizer.encode(text), found))
    assert len(cut) > 2
    reach = [(window.start, window.start + int(window.tokens.words.max())) for window in cut]

    def around(word: int, window: int) -> float:
        first, last = reach[window]
        before, behind = word - first if first else np.inf, last - word if last < 59 else np.inf
        return float(min(before, behind))

    for number, window in enumerate(cut):
        for word in (window.places[:, 0] // 2).tolist():
            assert around(word, number) == max(around(word, other) for other in range(len(cut)))


def alone(network: Any) -> Any:
    """Give the network without what it sees of the piece before."""
    found = copy.deepcopy(network)
    weight = found.backbone.mix.weight.numpy()
    weight[len(weight) // 2 :] = 0
    found.backbone.mix.weight.set_value(weight)
    return found


def measured(
    task: SequenceLabeling, network: Any, given: Sequence[Sample], *, max_length: int, batch_size: int = 32
) -> tuple[dict[str, Any], list[Any]]:
    """Give the metrics, the loss and what the network is wrong about."""
    items = ItemCache(task.examples(reader(False, max_length)))
    source = Read(given, items, np.zeros(len(given), np.int64), whole=True)
    worst = Worst(task)
    metrics, loss = measure(network, task, Batches(source, batch_size=batch_size), worst=worst)
    return {**metrics, "loss": loss}, worst.misses()


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_long_text_is_measured_as_if_it_were_read_at_once(
    trained: tuple[SequenceLabeling, Any], batch_size: int
) -> None:
    task, network = trained
    each = samples()
    each[1] = Sample(each[1].input, (4, *each[1].label[1:]))  # something to be wrong about
    long = [
        Sample(one.input * count, one.label * count)
        for one, count in zip(each, (1, 9, 70, 1, 5), strict=True)
    ]
    (metrics, misses), (wanted, wrong) = (
        measured(task, network, long, max_length=most, batch_size=batch_size) for most in (48, 4096)
    )
    assert metrics.pop("loss") == pytest.approx(wanted.pop("loss"), rel=1e-4)
    assert metrics == wanted
    assert metrics["words"] == sum(len(one.input) for one in long)
    assert [(miss.index, miss.expected, miss.found) for miss in misses] == [
        (miss.index, miss.expected, miss.found) for miss in wrong
    ]
    assert misses


def test_a_long_text_is_measured_as_its_sentences_are_by_a_network_that_looks_at_words(
    trained: tuple[SequenceLabeling, Any],
) -> None:
    task, network = trained[0], alone(trained[1])
    parts = [one for number in range(40) for one in samples()[: 1 + number % 5]]
    for one in parts:
        one.input.append(".")
    each = [Sample(one.input, (*one.label, 0)) for one in parts]
    joined = Sample(
        [word for one in each for word in one.input], tuple(tag for one in each for tag in one.label)
    )
    found, wanted = (measured(task, network, given, max_length=32)[0] for given in ([joined], each))
    for name in (
        "f1",
        "precision",
        "recall",
        "f1_strict",
        "token_accuracy",
        "per_class",
        "entities",
        "words",
    ):
        assert found[name] == wanted[name], name
    assert 0 < found["f1"] < 1
    text = " ".join(joined.input)
    [whole] = answers(task, network, reader(False, 32), [joined.input], words=True)
    by_part = answers(task, network, reader(False, 32), [one.input for one in each], words=True)
    tags = [word["tag"] for one in by_part for word in one["words"]]
    assert [word["tag"] for word in whole["words"]] == tags
    names = [(entity["type"], entity["text"]) for one in by_part for entity in one["entities"]]
    assert [(entity["type"], text[entity["start"] : entity["end"]]) for entity in whole["entities"]] == names


def test_what_is_measured_of_a_long_text_is_what_is_answered(trained: tuple[SequenceLabeling, Any]) -> None:
    task = trained[0]
    network = network_for(task, seed=3)  # untrained: its best tags are anything, and seldom allowed
    words = ["ann", "went", "to", "lee", "in", "new", "york", "near", "bob", "!"] * 20
    [result] = answers(task, network, reader(False, 24), [words], words=True)
    right = tuple(BIO.index(each["tag"]) for each in result["words"])
    assert len(set(right)) > 2
    metrics, misses = measured(task, network, [Sample(words, right)], max_length=24)
    assert (metrics["f1"], metrics["f1_strict"], metrics["token_accuracy"], misses) == (1, 1, 1, [])


def test_characters_that_become_several_words_do_not_stop_the_windows() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    found = reader(True, 6)
    found.tokenizer._rust.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.NFKC(), found.tokenizer._rust.normalizer]
    )
    text = "\ufdfa" * 30  # eighteen letters and three spaces each
    cut = list(windows(text, found.tokenizer.encode(text), found))
    assert isinstance(found, TextPreprocessor)
    assert 1 < len(cut) < 200


@pytest.mark.parametrize(
    ("strategy", "parameters", "rate"),
    [
        ("probe", 22_000_000, 1e-3),
        ("full", 1_000_000, 5e-4),
        ("full", 22_000_000, 3e-4),
        ("probe_then_full", 22_000_000, 3e-4),
        ("full", 110_000_000, 1e-4),
    ],
)
def test_a_compact_encoder_learns_faster_by_default(strategy: str, parameters: int, rate: float) -> None:
    assert usual_rate(SequenceLabeling(["O", "B-PER", "I-PER"]), strategy, parameters) == rate
