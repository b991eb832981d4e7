"""Numbers from texts: how they are read and checked, heads and losses in any unit, metrics, and whole trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

import hub
from hub import tasks
from hub.cli.main import main
from hub.datasets import Sample, load
from hub.datasets.by_task import prepare_evaluation_for, prepare_for
from hub.errors import DataError, SpecError, UsageError
from hub.finetune import closed_form, ridge
from hub.modules.archs import FeatureSpec
from hub.modules.network import infer
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Named
from hub.tasks import regression_metrics
from hub.tasks.regression_metrics import NumberMeter
from hub.tasks.text_regression import NumberHead, SimilarityHead, TextRegression, TextSimilarity, values
from tests.meters import add
from tests.small_texts import answers, network_for, reader, train

RATED = [("fine soup", 4.5), ("cold, sad tea", -1.0), ("great", 5.0), ("so so", 3.25)]
PAIRS = [(("a man runs", "one runs"), 4.2), (("ann lee", "lee, ann"), 5.0), (("bob waits", "new york"), 0.0)]
KINDS: dict[str, Any] = {"rated texts": RATED, "rated pairs": PAIRS}


# ---- reading ----


def cells(sample: Any) -> list[str]:
    given, number = sample
    return [*((given,) if isinstance(given, str) else given), str(number)]


def written(folder: Path, form: str, samples: Any, number: str = "stars") -> Path:
    """Write samples as a table of this form: its suffix, with "bare" before it one without a header."""
    names = ["text", number] if len(cells(samples[0])) == 2 else ["text_a", "text_b", number]
    suffix = form.removeprefix("bare")
    path = folder / f"data{suffix}"
    if suffix == ".jsonl":
        lines = [json.dumps(dict(zip(names, [*cells(one)[:-1], one[1]], strict=True))) for one in samples]
    else:
        rows = [cells(one) for one in samples] if form != suffix else [names, *map(cells, samples)]
        lines = [
            "\t".join(row) if suffix != ".csv" else ",".join(f'"{cell}"' for cell in row) for row in rows
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def found_in(source: Any, kind: str, **options: Any) -> tuple[list[Any], tuple[str, ...]]:
    data = load(source, kind, **options).train
    assert data.problems == ()
    assert data.targets().dtype == np.float64
    assert data.counts() == {data.labels[0]: len(data)}
    return [(data[i].input, data[i].label) for i in range(len(data))], data.labels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [".csv", ".tsv", ".txt", ".jsonl", "bare.tsv", "bare.txt", "bare.csv"])
def test_tables_of_every_form_have_the_same_numbers(tmp_path: Path, form: str, kind: str) -> None:
    path = written(tmp_path, form, KINDS[kind])
    assert found_in(path, kind) == (KINDS[kind], ("score" if "bare" in form else "stars",))


@pytest.mark.parametrize("kind", KINDS)
def test_lists_mappings_and_arrays_have_the_same_numbers(kind: str) -> None:
    samples = KINDS[kind]
    names = ("text",) if kind == "rated texts" else ("sentence1", "sentence2")
    mappings = [dict(zip((*names, "rating"), [*cells(one)[:-1], one[1]], strict=True)) for one in samples]
    assert found_in(samples, kind) == (samples, ("score",))
    assert found_in(mappings, kind) == (samples, ("rating",))
    arrays = [(given, np.array([number])) for given, number in samples]
    assert found_in(arrays, kind) == (samples, ("score",))
    assert found_in([(given, str(number)) for given, number in samples], kind) == (samples, ("score",))
    if kind == "rated pairs":
        assert found_in([(*given, number) for given, number in samples], kind) == (samples, ("score",))


@pytest.mark.parametrize("kind", KINDS)
def test_frames_have_the_same_numbers(kind: str) -> None:
    pandas = pytest.importorskip("pandas")
    samples = KINDS[kind]
    names = ["text"] if kind == "rated texts" else ["text1", "text2"]
    frame = pandas.DataFrame(
        [[*cells(one)[:-1], one[1]] for one in samples], columns=[*names, "Similarity Score"]
    )
    assert found_in(frame, kind) == (samples, ("Similarity Score",))
    renamed = frame.rename(columns={"Similarity Score": "b"}).assign(a=1.5)
    assert found_in(renamed, kind, label_column="b") == (samples, ("b",))
    renamed.loc[1, "b"] = None
    [problem] = load(renamed, kind, label_column="b").train.problems
    assert str(problem) == "item 1: missing value (column 'b' is empty)"


def test_hugging_face_datasets_have_the_same_numbers() -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict(
        {
            "sentence": [text for text, _ in RATED],
            "id": [7, 8, 9, 10],
            "score": [number for _, number in RATED],
        }
    )
    parts = datasets.DatasetDict({"train": table, "validation": table})
    assert found_in(parts, "rated texts") == (RATED, ("score",))
    assert load(parts, "rated texts").valid is not None


def test_the_only_column_beside_the_texts_is_the_number(tmp_path: Path) -> None:
    assert found_in(written(tmp_path, ".csv", RATED, "Price in euros"), "rated texts")[1] == (
        "Price in euros",
    )
    path = tmp_path / "two.csv"
    path.write_text("text,length,width\na,1,2\nb,2,3\n", encoding="utf-8")
    [problem] = load(path, "rated texts").train.problems
    assert problem.kind == "missing column"
    assert (
        "found text, length, width; add a header, or name it: hub.datasets.Table(…, label_column=…)"
        in problem.detail
    )
    assert found_in(path, "rated texts", label_column="width")[0] == [("a", 2.0), ("b", 3.0)]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("number,text,label", "label"),
        ("label,text,age", "label"),
        ("price,text,target", "target"),
        ("label,text,stars", "stars"),
        ("id,text,price", "price"),
    ],
)
def test_of_several_likely_columns_of_numbers_the_likeliest_is_taken(
    tmp_path: Path, header: str, taken: str
) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n1,good,5\n2,bad,3\n", encoding="utf-8")
    numbers = (1.0, 2.0) if header.startswith(taken) else (5.0, 3.0)
    wanted = list(zip(("good", "bad"), numbers, strict=True))
    assert found_in(tmp_path / "a.csv", "rated texts") == (wanted, (taken,))


def test_a_columns_name_over_two_lines_is_a_label_in_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,"stars\n(1 to 5)"\nFine soup,4.5\nCold tea,2\n', encoding="utf-8")
    assert load(tmp_path / "a.csv", "rated texts").train.labels == ("stars (1 to 5)",)


def test_a_number_may_stand_first_and_a_text_may_occur_twice(tmp_path: Path) -> None:
    path = tmp_path / "data.tsv"
    path.write_text("1.5\tsoup\n2.25\tsoup\n3\ttea\n", encoding="utf-8")
    assert found_in(path, "rated texts")[0] == [("soup", 1.5), ("soup", 2.25), ("tea", 3.0)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_above_a_frame_without_names_are_no_sample(tmp_path: Path, kind: str) -> None:
    pandas = pytest.importorskip("pandas")
    samples = [*KINDS[kind], (KINDS[kind][0][0], 0.5)]
    frame = pandas.DataFrame([[*cells(one)[:-1], one[1]] for one in samples])
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert found_in(tmp_path / "a.csv", kind) == (samples, ("score",))
    frame[:0].to_csv(tmp_path / "b.csv", index=False)
    [*_, problem] = map(str, load(tmp_path / "b.csv", kind).train.problems)
    assert "missing column" in problem


def test_folders_named_by_numbers_are_texts_with_these(tmp_path: Path) -> None:
    for stars, text in (("1", "bad"), ("4.5", "good")):
        (tmp_path / stars).mkdir()
        (tmp_path / stars / "a.txt").write_text(text, encoding="utf-8")
    assert found_in(tmp_path, "rated texts") == ([("bad", 1.0), ("good", 4.5)], ("score",))


BAD = ["good", "4,5", "nan", "inf", "1_000", "1e31", "5 stars", "$3"]


def test_every_bad_number_is_reported_at_once_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "data.tsv"
    rows = [f"text\t{number}" for number in (*BAD, "", "7.5", "-1e3")]
    path.write_text("text\tprice\n" + "\n".join(rows) + "\n", encoding="utf-8")
    problems = list(map(str, load(path, "rated texts").train.problems))
    expected = "expected a finite number, such as 4.5, with a point and without a unit"
    assert sorted(problems) == sorted(
        [
            *(f"{path}, row {row}: bad number {number!r} ({expected})" for row, number in enumerate(BAD, 2)),
            f"{path}, row {len(BAD) + 2}: missing value (column 'price' is empty)",
        ]
    )
    with pytest.raises(DataError, match=rf"the data has {len(BAD) + 1} problems(.|\n)*1 × missing value"):
        prepare_for("rated texts", path, multi_label=None)
    prepared = prepare_for("rated texts", path, multi_label=None, valid=False, on_bad="skip")
    assert prepared.train.targets().tolist() == [7.5, -1000.0]
    assert "left out: 8 × bad number, 1 × missing value" in prepared.describe()


def test_items_that_are_no_numbers_are_reported_too() -> None:
    given: list[Any] = [
        ("a", 1.0),
        ("b", None),
        ("c", "x"),
        ("d", True),
        ("e", [1, 2]),
        ("f", ""),
        ("g", float("nan")),
    ]
    problems = load(given, "rated texts").train.problems
    assert [(each.origin.row, each.kind, each.value) for each in problems] == [
        (1, "bad number", "None"), (2, "bad number", "x"), (3, "bad number", "True"), (4, "bad number", "[1, 2]"),
        (5, "bad number", "''"), (6, "bad number", "nan"),
    ]  # fmt: skip
    [problem] = load([("a", "b", 1), (("a", "b"), 2)], "rated texts").train.problems[:1]
    assert problem.kind == "bad item"
    with pytest.raises(UsageError, match="found the class list"):
        load(list, "rated texts")


# ---- prepared for a run ----


def test_a_fifth_is_held_out_at_random_and_the_same_for_a_seed() -> None:
    data = [(f"text {n}", n / 7) for n in range(50)]

    def held_out(seed: int) -> list[float]:
        prepared = prepare_for("rated texts", data, multi_label=None, seed=seed)
        assert prepared.valid is not None
        both = [*prepared.train.targets(), *prepared.valid.targets()]
        assert sorted(both) == [number for _, number in data]
        assert "10 of 50 samples were held out" in prepared.describe()
        return prepared.valid.targets().tolist()

    assert len(held_out(0)) == 10
    assert held_out(0) == held_out(0) != held_out(1)


def test_parts_of_a_folder_are_described_by_their_numbers(tmp_path: Path) -> None:
    for part, samples in (("train", RATED), ("dev", RATED[:2]), ("test", RATED[1:])):
        written(tmp_path, ".tsv", samples).rename(tmp_path / f"{part}.tsv")
    lines = prepare_for("rated texts", tmp_path, multi_label=None).describe().splitlines()
    assert lines[0].endswith("train.tsv: 9 samples, stars")
    assert [line.split() for line in lines[1:]] == [
        ["count", "least", "mean", "largest"], ["train", "4", "-1", "2.9375", "5"], ["valid", "2", "-1", "1.75", "4.5"],
        ["test", "3", "-1", "2.4167", "5"],
    ]  # fmt: skip
    chosen = prepare_evaluation_for("rated texts", tmp_path, labels=["score"], multi_label=False)
    assert (len(chosen), chosen.labels) == (3, ("score",))
    again = prepare_evaluation_for("rated texts", load(RATED, "rated texts"), labels=["x"], multi_label=False)
    assert (again.labels, again.targets().tolist()) == (("x",), [number for _, number in RATED])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([("a", 2), ("b", 2.0), ("c", "2")], "expected different numbers to learn from, found 2 times 2"),
        ([("a", 2)], "one text alone cannot be split"),
        ([], "no samples"),
    ],
)
def test_data_of_which_nothing_can_be_learnt_is_refused(data: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        prepare_for("rated texts", data, multi_label=None)


def test_classes_are_no_numbers() -> None:
    with pytest.raises(UsageError, match="multi_label=False means nothing here"):
        prepare_for("rated texts", RATED, multi_label=False)
    with pytest.raises(UsageError, match="multi_label: a text has one number here"):
        load(RATED, "rated texts", multi_label=True)
    with pytest.raises(UsageError, match="expected rated texts, found a dataset of texts"):
        prepare_for("rated texts", load([("a", "x"), ("b", "y")], "texts"), multi_label=None)


# ---- the tasks ----


def fitted(task: TextRegression, targets: np.ndarray) -> TextRegression:
    task.scale_to(targets)
    return task


@pytest.mark.parametrize("name", ["text_regression", "text_similarity"])
def test_what_cannot_be_meant_is_refused(name: str) -> None:
    kind = tasks.kind(name)
    with pytest.raises(
        UsageError, match="expected one label, the name of the number, such as score, found 2: a, b"
    ):
        kind(("a", "b"))
    with pytest.raises(UsageError, match="found multi_label=True"):
        kind(("a",), multi_label=True)
    with pytest.raises(SpecError, match="needs the step tokenize"):
        kind.examples(PicturePreprocessor([Named("normalize")]))
    with pytest.raises(SpecError, match="needs pooled features, found tokens features"):
        kind(("a",)).build_head(FeatureSpec("tokens", (None, 4)))
    with pytest.raises(UsageError, match="class_weight='balanced' means nothing"):
        kind(("a",)).class_weight("balanced", {})


def batch_of(task: TextRegression, samples: Any) -> Any:
    examples = task.examples(reader(False))
    items = [examples.read(Sample(*one)) for one in samples]
    return examples.batch(items, np.array([number for _, number in samples]))


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e9])
@pytest.mark.parametrize("kind", [TextRegression, TextSimilarity])
def test_numbers_are_learnt_and_answered_in_the_unit_of_the_data(kind: Any, unit: float) -> None:
    samples = [
        (given, (number + 100) * unit) for given, number in (RATED if kind is TextRegression else PAIRS)
    ]
    targets = np.array([number for _, number in samples])
    task = fitted(kind(("score",)), targets)
    network = network_for(task)
    inputs, targets = batch_of(task, samples)
    least = train(network, task, (inputs, targets), steps=200)
    assert least < 1e-2
    results = answers(task, network, reader(False), [given for given, _ in samples])
    found = [result["value"] for result in results]
    assert found == pytest.approx(targets, abs=0.3 * targets.std())
    meter = task.meter()
    outputs = infer(network, inputs)
    meter.update(outputs, targets)
    metrics = meter.compute()
    rounding = 1e-5 * targets.std()
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean((found - targets) ** 2)), abs=rounding)
    assert metrics["r2"] > 0.98
    assert task.misses(outputs, targets) == []
    wrong = task.misses(outputs, targets[::-1])
    assert {row for row, *_ in wrong} == set(
        np.flatnonzero(np.abs(np.array(found) - targets[::-1]) > 0.5 * targets.std()).tolist()
    )
    row, expected, said, score = wrong[0]
    assert (float(expected), float(said)) == (
        pytest.approx(targets[::-1][row], rel=1e-5), pytest.approx(found[row], rel=1e-5)
    )  # fmt: skip
    assert 1 / 3 < score < 1


def test_large_numbers_that_are_near_to_one_another_keep_their_differences() -> None:
    targets = 1.7e9 + np.arange(5.0)
    task = fitted(TextRegression(("time",)), targets)
    head = task.build_head(FeatureSpec("pooled", (1,)))
    features = np.arange(5.0, dtype=np.float32)[:, None]
    closed_form.fit_head(head, task, features, targets)
    outputs = infer(head, features)
    assert values(outputs) == pytest.approx(targets, abs=0.05)
    given = tuple(map(paddle.to_tensor, outputs))
    loss = float(task.loss()(given, paddle.to_tensor(targets)))
    assert loss == pytest.approx(
        np.mean((np.array(values(outputs)) - targets) ** 2) / targets.var(), abs=1e-4
    )


def test_the_head_begins_with_the_ridge_solution() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 6)).astype(np.float32)
    targets = 30 + 7 * features @ rng.normal(size=6) + rng.normal(size=40)
    task = fitted(TextRegression(("price",)), targets)
    head = task.build_head(FeatureSpec("pooled", (6,)))
    assert closed_form.can_fit(head, task)
    closed_form.fit_head(head, task, features, targets)
    solution = ridge.fit(features, targets[:, None])
    expected = (features @ solution.weight + solution.bias)[:, 0]
    assert values(infer(head, features)) == pytest.approx(expected, abs=1e-3)
    assert not closed_form.can_fit(SimilarityHead(mean=0, scale=1, least=0, most=1), task)


def test_mean_and_scale_are_part_of_what_a_head_is_saved_as() -> None:
    state = NumberHead(3, mean=12.5, scale=4.0).state_dict()
    assert state["units"].tolist() == [12.5, 4.0]
    other = NumberHead(3, mean=0.0, scale=1.0)
    other.set_state_dict(state)
    assert infer(other, np.zeros((2, 3), np.float32))[0].tolist() == [[12.5, 4.0]] * 2


def test_a_similarity_begins_with_the_range_of_the_numbers() -> None:
    task = fitted(TextSimilarity(("score",)), np.array([1.0, 2.0, 5.0]))
    head = task.build_head(FeatureSpec("pooled", (2,)))
    angles = np.array([0.0, np.pi / 3, np.pi / 2])
    second = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 7
    features = np.stack([np.tile([3.0, 0.0], (3, 1)), second], axis=1).astype(np.float32)
    outputs = infer(head, features)
    assert outputs[1][:, 0] == pytest.approx([1, 0.5, 0], abs=1e-6)
    assert values(outputs) == pytest.approx([5, 3, 1], abs=1e-4)


def test_the_similarity_of_a_pair_is_the_cosine_of_what_embed_gives() -> None:
    task, found = TextSimilarity(("score",)), reader(False)
    network = network_for(task)
    [result] = answers(task, network, found, [("ann", "bob waits")])
    first, second = (
        infer(network.backbone, found.batch([found.read(one)]))[0] for one in ("ann", "bob waits")
    )
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert result["similarity"] == pytest.approx(float(cosine), abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "short", "long"),
    [(TextRegression, "a", "a much longer text"), (TextSimilarity, ("a", "b"), ("a", "a much longer text"))],
)
def test_an_answer_says_that_a_text_was_cut_and_can_be_drawn(kind: Any, short: Any, long: Any) -> None:
    task = kind(("stars",))
    whole, cut = answers(task, network_for(task), reader(False, 9), [short, long])
    assert "cut" not in whole
    assert cut["cut"] is True
    card = task.picture(short)
    drawn = task.draw(card, whole)
    assert drawn.height > card.height
    assert np.asarray(drawn)[card.height :].min() < 128


def test_what_is_no_pair_has_an_error_and_the_rest_its_answers() -> None:
    task = TextSimilarity(("score",))
    results = answers(task, network_for(task), reader(False), ["ab", ("a", "b"), ("a", " ")])
    assert [result.get("error") for result in results] == [
        "expected a pair of texts, found str 'ab'", None, "expected two texts, found none in the second place",
    ]  # fmt: skip
    assert results[1] == answers(task, network_for(task), reader(False), [("a", "b")])[0]


# ---- metrics ----


def spread(form: str, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=count), rng.normal(size=count)
    return {
        "bell": (x, x + noise),
        "nearly right": (x, x + 0.02 * noise),
        "levels": (np.round(x).clip(-2, 2), x + 0.5 * noise),
        "even, from 0 to 5": (2.5 + 1.25 * x, (2.5 + 1.25 * x + 0.3 * noise).clip(0, 5)),
        "dates": (1.7e9 + 1e5 * x, 1.7e9 + 1e5 * (x + noise)),
        "prices": (np.exp(x), np.exp(x + 0.3 * noise)),
        "steep prices": (np.exp(2 * x), np.exp(2 * x + 0.5 * noise)),
        "the wrong way round": (x, -x + 0.3 * noise),
    }[form]


@pytest.mark.parametrize(
    "form",
    [
        "bell",
        "nearly right",
        "levels",
        "even, from 0 to 5",
        "dates",
        "prices",
        "steep prices",
        "the wrong way round",
    ],
)
@pytest.mark.parametrize("kept", [0, 1 << 16])
def test_metrics_over_batches_and_processes_are_those_of_scipy_and_scikit_learn(
    form: str, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regression_metrics, "MOST_PAIRS", kept)
    right, found = spread(form)
    mean, scale = (
        right[:500].mean(),
        right[:500].std(),
    )  # those of the training are not quite those of the test
    first, second = NumberMeter(), NumberMeter()
    for meter, rows in ((first, slice(0, 7)), (first, slice(7, 2500)), (second, slice(2500, None))):
        x, y = ((each[rows] - mean) / scale for each in (right, found))
        meter.update(x, y, np.full(len(x), scale))
    add(first, second)
    metrics = first.compute()
    assert metrics["count"] == len(right)
    assert metrics["mae"] == pytest.approx(mean_absolute_error(right, found), rel=1e-9)
    assert metrics["rmse"] == pytest.approx(np.sqrt(mean_squared_error(right, found)), rel=1e-9)
    assert metrics["r2"] == pytest.approx(r2_score(right, found), abs=1e-6)
    assert metrics["pearson"] == pytest.approx(pearsonr(right, found)[0], abs=1e-6)
    precision = 1e-6 if kept else 5e-3 if form == "steep prices" else 2e-4
    assert metrics["spearman"] == pytest.approx(spearmanr(right, found)[0], abs=precision)
    assert set(metrics) == {"count", *TextRegression.metrics}


def test_numbers_near_to_one_another_have_an_order_too() -> None:
    rng = np.random.default_rng(0)
    right = 1e-6 * rng.normal(size=300)
    found = right + 1e-8 * rng.normal(size=300)
    meter = NumberMeter()
    meter.update(right, found, np.ones(300))
    assert meter.compute()["spearman"] == pytest.approx(spearmanr(right, found)[0], abs=1e-6)


@pytest.mark.parametrize(("unit", "shift"), [(1, 0), (100, 0), (1, 1000), (1e-9, -5)])
def test_the_order_of_numbers_is_the_same_in_any_unit(unit: float, shift: float) -> None:
    """Also where those of the training were others: a module of 0 to 1 is measured on grades of 0 to 100."""
    right, found = spread("levels")
    meter = NumberMeter()
    for row in range(700):  # batches of one
        meter.update(right[row : row + 1] * unit + shift, found[row : row + 1], np.ones(1))
    assert len(meter.pairs) < 300
    assert meter.compute()["spearman"] == pytest.approx(spearmanr(right[:700], found[:700])[0], abs=1e-6)


@pytest.mark.parametrize(
    ("right", "found"), [([], []), ([2.0], [3.0]), ([2.0, 2.0, 2.0], [1.0, 2.0, 4.0]), ([0.1] * 3, [0.7] * 3)]
)
def test_what_is_undefined_is_zero(right: list[float], found: list[float]) -> None:
    meter = NumberMeter()
    meter.update(np.array(right), np.array(found), np.ones(len(right)))
    metrics = meter.compute()
    assert [metrics[name] for name in ("r2", "pearson", "spearman")] == [0, 0, 0]
    assert metrics["mae"] == pytest.approx(np.abs(np.array(right) - found).mean() if right else 0)


# ---- whole trainings ----

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "bird", "sat", "ran", "on", "mat", "."]
ARCH: dict[str, Any] = {
    "name": "bert", "vocab_size": len(PIECES), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 16, "pooling": "mean",
}  # fmt: skip
WORTH = {"cat": 1000.0, "dog": 2500.0, "bird": 4000.0}
SETTINGS: dict[str, Any] = {"epochs": 8, "batch_size": 8, "learning_rate": 0.01, "progress": False}


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """An encoder of random weights, without a head."""
    pytest.importorskip("paddlenlp")
    pytest.importorskip("tokenizers")
    return hub.Module.create(
        "tiny_words", task="text_classification", arch=ARCH, preprocess=[{"tokenize": {"max_length": 12}}],
        files={"vocab.txt": "".join(f"{piece}\n" for piece in PIECES).encode()},
    ).save(tmp_path / "tiny")  # fmt: skip


def priced(count: int) -> list[tuple[str, float]]:
    rng = np.random.default_rng(0)
    animals = [list(WORTH)[number % 3] for number in range(count)]
    return [
        (" ".join(rng.permutation([animal, *rng.choice(["the", "sat", "on", "mat"], 3)])), WORTH[animal])
        for animal in animals
    ]


def alike(count: int) -> list[tuple[tuple[str, str], float]]:
    texts = priced(count)
    others = [*texts[1:], texts[0], *texts]
    return [
        ((a, b), 5 - abs(one - two) / 1000)
        for (a, one), (b, two) in zip([*texts, *texts], others, strict=True)
    ]


DATA: dict[str, Any] = {"text_regression": priced, "text_similarity": alike}


@pytest.mark.parametrize(
    ("task", "strategy", "metric", "least"),
    [
        ("text_regression", None, "r2", 0.95), ("text_regression", "probe", "r2", 0.6),
        ("text_regression", "full", "r2", 0.8), ("text_regression", "gradual", "r2", 0.3),
        ("text_similarity", None, "spearman", 0.6), ("text_similarity", "probe_then_full", "spearman", 0.5),
    ],
)  # fmt: skip
def test_a_module_learns_is_saved_and_answers_the_same_again(
    encoder: Path, tmp_path: Path, task: str, strategy: str | None, metric: str, least: float
) -> None:
    module, data = hub.Module(encoder, task=task), DATA[task](48)
    module.finetune(data, valid=data, output_dir=tmp_path / "run", strategy=strategy, **SETTINGS)
    assert module.run is not None
    assert module.run.config["metric"] == metric
    assert module.run.metrics[metric] >= least
    assert "largest" in module.run.data
    page = module.run.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert ("Worst mistakes" in page) == bool(module.run.misses)
    assert f"hub.Module({str(encoder)!r}, task={task!r}).finetune(" in module.run.command
    again = hub.Module(module.save(tmp_path / "mine"))
    assert (again.task, again.labels) == (task, ("score",))
    assert again.verify().ok
    given = [one for one, _ in data[:20]]
    first, second = module.predict(given), again.predict(given)
    assert first == second
    assert set(first[0]) == {"input", "value", *(["similarity"] if task == "text_similarity" else [])}
    metrics = again.evaluate(data)
    assert metrics[metric] == pytest.approx(module.run.metrics[metric])
    numbers = np.array([number for _, number in data])
    assert metrics["loss"] == pytest.approx(metrics["rmse"] ** 2 / numbers.var(), rel=1e-3)
    texts = [one if isinstance(one, str) else one[0] for one in given]
    [nearest] = again.search(texts[3], texts, top_k=1)[0]
    assert nearest["text"] == texts[3]


def test_a_run_that_was_broken_off_goes_on(encoder: Path, tmp_path: Path) -> None:
    class Break(hub.finetune.callbacks.Callback):
        def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
            if trainer.step == 5:
                raise ZeroDivisionError

    def part(folder: str, **more: Any) -> hub.Module:
        module = hub.Module(encoder, task="text_regression")
        return module.finetune(priced(30), output_dir=tmp_path / folder, **{**SETTINGS, "epochs": 3}, **more)

    with pytest.raises(ZeroDivisionError):
        part("run", callbacks=[Break()])
    found, expected = part("run", resume=True), part("whole")
    assert found.predict("the cat") == expected.predict("the cat")


@pytest.mark.parametrize(
    "settings",
    [
        {"class_weight": "balanced"}, {"label_smoothing": 0.1}, {"loss": "focal"}, {"sampler": "balanced"},
        {"mixup": 0.2}, {"cutmix": 0.2}, {"teacher": "self"}, {"temperature": 2.0}, {"teacher_weight": 0.2},
        {"multi_label": True}, {"metric": "accuracy"},
    ],
    ids=lambda settings: next(iter(settings)),
)  # fmt: skip
@pytest.mark.parametrize("task", DATA)
def test_settings_for_classes_are_refused_before_anything_happens(
    encoder: Path, tmp_path: Path, task: str, settings: dict[str, Any]
) -> None:
    module = hub.Module(encoder, task=task)
    if "teacher" in settings:
        settings = {"teacher": module}
    [name] = settings
    said = "metric: expected one of" if name == "metric" else f"{name}=.* means nothing"
    with pytest.raises(UsageError, match=said):
        module.finetune(DATA[task](12), output_dir=tmp_path / "run", **SETTINGS, **settings)
    assert not (tmp_path / "run").exists()
    assert (module.run, module.labels) == (None, ())


def test_the_command_trains_measures_and_answers(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = written(tmp_path, ".csv", priced(48), "price")
    module = hub.Module(encoder, task="text_regression")
    module.finetune(table, output_dir=tmp_path / "run", **SETTINGS)
    best = str(tmp_path / "run" / "best")
    assert module.labels == ("price",)
    assert main(["evaluate", best, str(table)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("r2", "rmse", "mae", "pearson", "spearman"))
    assert main(["run", best, "the cat sat", "--save", str(tmp_path / "cards")]) == 0
    [result] = module.predict("the cat sat")
    assert f"{result['value']:.4f}" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "cards").iterdir()] == ["1.png"]
    assert main(["finetune", best, str(table), "--epochs", "1", "--output", str(tmp_path / "again")]) == 0


@pytest.mark.parametrize("task", DATA)
def test_many_answers_are_those_of_one_by_one(encoder: Path, tmp_path: Path, task: str) -> None:
    """More than are answered without compiling, the last batch smaller than the others."""
    module, data = hub.Module(encoder, task=task), DATA[task](40)
    module.finetune(data, output_dir=tmp_path / "run", **{**SETTINGS, "epochs": 1})
    given = ([one for one, _ in data] * 10)[:299]
    many = module.predict(given, batch_size=8)
    spread = np.std([number for _, number in data])
    for number in (0, 17, 298):
        [alone] = module.predict([given[number]])
        assert many[number]["value"] == pytest.approx(alone["value"], abs=1e-4 * spread)


def test_an_encoder_is_turned_to_either_task(encoder: Path) -> None:
    for task in DATA:
        assert hub.Module(encoder, task=task).task == task
    module = hub.Module(encoder, task="text_regression", label_list=["stars"])
    assert set(module.predict("a cat")[0]) == {"input", "value"}
    with pytest.raises(UsageError, match="expected one label"):
        hub.Module(encoder, task="text_regression", label_list=["a", "b"])
