"""Several questions on one backbone: the loss of each, its metrics, its samples, and training from end to end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

import hub
from hub import tasks
from hub.datasets import load
from hub.datasets.grouped import GroupedDataset, prepare_grouped, prepare_grouped_evaluation
from hub.datasets.prepare import prepare
from hub.errors import DataError, SpecError, UsageError
from hub.finetune import closed_form
from hub.finetune.callbacks import Callback
from hub.finetune.regularize import distillation_loss
from hub.modules import weights
from hub.modules.archs import FeatureSpec
from hub.tasks.classification import Classification
from hub.tasks.multi_task import MultiTask, MultiTaskImageClassification
from tests import meters, small_texts
from tests.pictures import folder, picture, samples, tiny_module

LABELS = ("shape/bar", "shape/dot", "shape/frame", "tone/dark", "tone/light")
SHAPE, TONE = slice(0, 3), slice(3, 5)
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (40, 5)).astype(np.float32)
TARGETS = RNG.integers(0, 5, 40)
COUNTS = dict(zip(LABELS, np.bincount(TARGETS, minlength=5).tolist(), strict=True))


def task(**weights: float) -> MultiTask:
    return MultiTaskImageClassification(LABELS, task_weights=weights)


def of(part: slice) -> np.ndarray:
    return (part.start <= TARGETS) & (part.stop > TARGETS)


def value(loss: Any, logits: np.ndarray, targets: np.ndarray) -> float:
    return float(loss(paddle.to_tensor(logits), paddle.to_tensor(targets)))


# ---- the task ----


@pytest.mark.parametrize(
    "labels",
    [("rose", "tulip"), ("/rose", "a/b"), ("a/", "a/b"), ("a/x", "b/x", "a/y")],
    ids=["no question", "empty question", "empty label", "apart"],
)
def test_labels_that_name_no_questions_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match="labels: expected"):
        MultiTaskImageClassification(labels)


def test_what_stands_before_the_first_slash_names_the_question() -> None:
    made = tasks.create("multi_task_image_classification", ["a/x/1", "a/x/2", "b/y"])
    assert isinstance(made, MultiTask)
    assert {name: each.labels for name, each in made.questions.items()} == {"a": ("x/1", "x/2"), "b": ("y",)}
    with pytest.raises(SpecError, match="one answer"):
        tasks.create("multi_task_image_classification", LABELS, multi_label=True)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"tome": 1.0}, "did you mean 'tone'"),
        ({"tone": -1.0}, "0 or more, found -1.0"),
        ({"tone": float("nan")}, "found nan"),
        ({"tone": True}, "found True"),
        ({"tone": 0, "shape": 0}, "one above 0"),
        (0.5, r"expected \{name: weight\}"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MultiTaskImageClassification(LABELS, task_weights=weights)


def test_weights_may_be_numbers_of_numpy() -> None:
    weights = {"tone": np.float32(0.5), "shape": np.int64(2)}
    assert MultiTaskImageClassification(LABELS, task_weights=weights).task_weights == {
        "shape": 2,
        "tone": 0.5,
    }


@pytest.mark.parametrize("weight", [1.0, 0.5, 0.0])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kind": "focal", "focal_gamma": 1.5},
        {"label_smoothing": 0.2},
        {"kind": "logit_adjusted", "counts": COUNTS},
    ],
    ids=["plain", "focal", "smooth", "adjusted"],
)
def test_the_loss_is_that_of_each_question_alone(weight: float, options: dict[str, Any]) -> None:
    found = value(task(tone=weight).loss(**options), LOGITS, TARGETS)
    expected = 0.0
    for part, factor in ((SHAPE, 1.0), (TONE, weight)):
        own = of(part)
        alone = Classification(LABELS[part]).loss(**options)
        expected += factor * own.mean() * value(alone, LOGITS[own, part], TARGETS[own] - part.start)
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weight", [1.0, 0.5, 0.0])
def test_a_teacher_teaches_each_question_by_its_weight(weight: float) -> None:
    answers = LOGITS[::-1].copy()
    distance = functools.partial(distillation_loss, temperature=2.0)
    given, said = paddle.to_tensor(LOGITS, stop_gradient=False), paddle.to_tensor(answers)
    found = task(tone=weight).from_teacher(distance)(given, (None, said))  # type: ignore[attr-defined]
    shape, tone = (float(distance(given[:, part], said[:, part])) for part in (SHAPE, TONE))
    assert float(found) == pytest.approx((shape + weight * tone) / 2, rel=1e-5)
    found.backward()
    assert bool(given.grad[:, TONE].abs().sum() > 0) is bool(weight)


def test_class_weights_are_balanced_within_each_question() -> None:
    counts = dict(zip(LABELS, [10, 20, 30, 600, 200], strict=True))
    weights = task().class_weight("balanced", counts)
    assert weights is not None
    assert weights == pytest.approx([2.0, 1.0, 2 / 3, 2 / 3, 2.0])
    named = task().class_weight({"tone/light": 3.0}, counts)
    assert named is not None
    assert named.tolist() == [1, 1, 1, 1, 3]
    with pytest.raises(UsageError, match="did you mean 'tone/light'"):
        task().class_weight({"tone/ligt": 3.0}, counts)


def test_class_weights_weigh_as_in_one_question() -> None:
    weights, own = np.array([1.0, 2.0, 4.0, 1.0, 1.0]), of(SHAPE)
    found = value(task().loss(class_weight=weights), LOGITS[own], TARGETS[own])
    alone = Classification(LABELS[SHAPE]).loss(class_weight=weights[SHAPE])
    assert found == pytest.approx(value(alone, LOGITS[own, SHAPE], TARGETS[own]), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"kind": "focal"}], ids=str)
def test_a_mixture_of_two_samples_learns_both_their_questions(options: dict[str, Any]) -> None:
    loss, eye = task(tone=0.5).loss(**options), np.eye(5, dtype=np.float32)
    mixed = value(loss, LOGITS[:1], 0.3 * eye[[0]] + 0.7 * eye[[4]])
    apart = [value(loss, LOGITS[:1], np.array([target])) for target in (0, 4)]
    assert mixed == pytest.approx(0.3 * apart[0] + 0.7 * apart[1], rel=1e-5)


def test_the_loss_of_a_step_is_the_sum_of_its_parts_by_size() -> None:
    loss, order = task(tone=0.25).loss(), np.argsort(TARGETS)  # parts of one question each
    parts = [value(loss, LOGITS[rows], TARGETS[rows]) * len(rows) for rows in np.array_split(order, 7)]
    assert sum(parts) / len(order) == pytest.approx(value(loss, LOGITS, TARGETS), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"kind": "focal"}, {"label_smoothing": 0.3}], ids=str)
@pytest.mark.parametrize(("own", "other"), [(SHAPE, TONE), (TONE, SHAPE)], ids=["shape", "tone"])
def test_a_sample_leaves_the_rows_of_other_questions_untouched(
    own: slice, other: slice, options: dict[str, Any]
) -> None:
    paddle.seed(0)
    head = task().build_head(FeatureSpec("pooled", (8,)))
    features = paddle.to_tensor(RNG.normal(0, 1, (int(of(own).sum()), 8)).astype(np.float32))
    task().loss(**options)(head(features), paddle.to_tensor(TARGETS[of(own)])).backward()
    gradient = head.weight.grad.numpy()
    assert not gradient[:, other].any()
    assert not head.bias.grad.numpy()[other].any()
    assert (gradient[:, own] != 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "hinge"}, "focal"),
        ({"focal_gamma": 1.0}, "belongs to loss='focal'"),
        ({"kind": "logit_adjusted"}, "counts"),
    ],
)
def test_losses_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        task().loss(**options)


def test_metrics_are_those_of_scikit_learn_on_each_question() -> None:
    meter = task().meter()
    meter.update(LOGITS, TARGETS)
    found = meter.compute()
    accuracies = []
    for name, part in (("shape", SHAPE), ("tone", TONE)):
        right, guess = TARGETS[of(part)], part.start + LOGITS[of(part), part].argmax(axis=1)
        accuracies.append(accuracy_score(right, guess))
        assert found[f"{name}_accuracy"] == pytest.approx(accuracies[-1])
        assert found[f"{name}_f1_macro"] == pytest.approx(f1_score(right, guess, average="macro"))
    assert found["mean_accuracy"] == pytest.approx(np.mean(accuracies))
    assert set(task().metrics) <= set(found)
    assert task().default_metric in task().metrics
    assert np.sum(found["confusion_matrix"]) == found["count"] == 40
    assert set(found["per_class"]) == set(LABELS)


@given(st.integers(0, 40))
@settings(max_examples=15)
def test_the_counts_of_two_meters_add_up_to_those_of_one(cut: int) -> None:
    whole, first, second = (task().meter() for _ in range(3))
    whole.update(LOGITS, TARGETS)
    first.update(LOGITS[:cut], TARGETS[:cut])
    second.update(LOGITS[cut:], TARGETS[cut:])
    meters.add(first, second)
    assert first.compute() == whole.compute()


def test_a_question_without_samples_is_not_measured() -> None:
    meter = task().meter()
    meter.update(LOGITS[of(TONE)], TARGETS[of(TONE)])
    found = meter.compute()
    assert "shape_accuracy" not in found
    assert found["mean_accuracy"] == found["tone_accuracy"]
    assert list(found["per_class"]) == list(LABELS), "one for each row of the matrix"
    assert np.sum(found["confusion_matrix"], axis=1).tolist() == [
        each["count"] for each in found["per_class"].values()
    ]


def test_mistakes_are_those_in_the_own_question() -> None:
    rows = {row: (right, wrong) for row, right, wrong, _ in task().misses(LOGITS, TARGETS)}
    for row, target in enumerate(TARGETS.tolist()):
        part = SHAPE if target < 3 else TONE
        guess = part.start + int(LOGITS[row, part].argmax())
        assert rows.get(row) == (None if guess == target else (LABELS[target], LABELS[guess]))


def test_an_answer_has_every_question_with_scores_of_its_own() -> None:
    [answer] = task().decode(np.array([[0, 3, 1, 9, 9.5]], np.float32), top_k=2)
    assert (answer["shape"]["label"], answer["tone"]["label"]) == ("dot", "light")
    assert [len(each["top"]) for each in answer.values()] == [2, 2]
    assert sum(each["score"] for each in answer["tone"]["top"]) == pytest.approx(1, abs=1e-5)


def test_texts_are_answered_and_trained_as_any_other_input() -> None:
    labels = ("mood/bad", "mood/good", "about/film", "about/food")
    made = tasks.create("multi_task_text_classification", labels)
    network, reader = small_texts.network_for(made), small_texts.reader(False, max_length=12)
    said = [("bad film", 0), ("good film", 1), ("bad food", 0), ("good food", 1)]
    said += [("bad film", 2), ("good film", 2), ("bad food", 3), ("good food", 3)]
    examples = made.examples(reader)
    batch = examples.batch([reader.read(text) for text, _ in said], np.array([number for _, number in said]))
    small_texts.train(network, made, batch)
    texts = ["good film", "bad food", "good food and more of it"]
    found = small_texts.answers(made, network, reader, texts)
    assert [(each["mood"]["label"], each["about"]["label"]) for each in found[:2]] == [
        ("good", "film"),
        ("bad", "food"),
    ]
    assert [each.get("cut") for each in found] == [None, None, True]
    assert tasks.kind("multi_task_text_classification").show("a text") == "a text"  # type: ignore[attr-defined]


# ---- the data ----


def tones(each: int, *, seed: int = 0) -> list[tuple[np.ndarray, str]]:
    """Pictures of the same shapes, as they are or as negatives."""
    given = [array for array, _ in samples(each, seed=seed + 50)]
    return [(255 - array, "light") if n % 2 else (array, "dark") for n, array in enumerate(given)]


def alike(label: Any) -> list[tuple[np.ndarray, Any]]:
    """Four pictures with the same label."""
    return [(picture("dot", n), label) for n in range(4)]


def table(path: Path, rows: Mapping[Path, str]) -> Path:
    path.write_text(
        "path,label\n" + "".join(f"{file},{label}\n" for file, label in rows.items()), encoding="utf-8"
    )
    return path


def test_a_joined_set_knows_of_every_sample_what_its_own_set_knows(tmp_path: Path) -> None:
    shape, tone = load(folder(tmp_path / "shape", 2)).train, load(tones(2)).train
    joined = GroupedDataset({"shape": shape, "tone": tone})
    assert joined.labels == LABELS
    assert not joined.multi_label
    assert joined.targets().tolist() == [*shape.targets().tolist(), *(tone.targets() + 3).tolist()]
    assert joined.counts() == {
        "shape/bar": 2,
        "shape/dot": 2,
        "shape/frame": 2,
        "tone/dark": 3,
        "tone/light": 3,
    }
    part = joined.select([7, 0])
    assert (part[0].label, part[0].origin, part.path(0)) == (4, tone.origin(1), None)
    assert (part[1].label, part[1].input, part.path(1)) == (0, shape[0].input, shape.path(0))
    assert "shape/frame" in part.describe()
    assert part.kind is shape.kind
    with pytest.raises(UsageError, match="relabel each"):
        joined.relabel(["a"])


def test_sets_without_validation_data_are_split_so_that_every_class_is_on_both_sides() -> None:
    found = prepare_grouped({"shape": samples(10), "tone": tones(10)}, seed=3)
    assert found.valid is not None
    assert found.valid.counts() == {
        "shape/bar": 2,
        "shape/dot": 2,
        "shape/frame": 2,
        "tone/dark": 3,
        "tone/light": 3,
    }
    assert len(found.train) + len(found.valid) == 60
    assert found.train.labels == found.valid.labels
    assert "no validation data was given for shape, tone: 12 of 60" in found.describe()


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_file_in_two_sets_is_held_out_of_both_or_of_none(tmp_path: Path, seed: int, linked: bool) -> None:
    files = sorted(folder(tmp_path / "shape", 10).rglob("*.png"))
    if linked:
        links = [tmp_path / f"{n}.png" for n in range(len(files))]
        for link, file in zip(links, files, strict=True):
            link.symlink_to(file)
        files = links
    tone = table(tmp_path / "tone.csv", {file: "ab"[n % 2] for n, file in enumerate(files)})
    found = prepare_grouped({"shape": tmp_path / "shape", "tone": tone}, seed=seed)
    assert found.valid is not None
    sides = [{part[i].input.resolve() for i in range(len(part))} for part in (found.train, found.valid)]
    assert not sides[0] & sides[1]
    assert len(found.valid) == 2 * len(sides[1])  # each with both its labels
    assert all(found.valid.counts().values())


@pytest.mark.parametrize("given_as", [np.copy, Image.fromarray])
def test_a_picture_in_memory_is_held_out_of_both_sets_or_of_none(given_as: Callable[[Any], Any]) -> None:
    pictures = [array for array, _ in samples(10)]
    sets = {
        "shape": [(given_as(array), "ab"[n % 2]) for n, array in enumerate(pictures)],
        "tone": [(given_as(array), "xyz"[n % 3]) for n, array in enumerate(reversed(pictures))],
    }
    found = prepare_grouped(sets)
    assert found.valid is not None
    sides = [
        {np.asarray(part[i].input).tobytes() for i in range(len(part))} for part in (found.train, found.valid)
    ]
    assert not sides[0] & sides[1]
    assert len(sides[1]) * 2 == len(found.valid)


def test_joined_sets_say_which_columns_were_read_of_each(tmp_path: Path) -> None:
    for name in ("mood", "about"):
        lines = [f"text {name} {n},{'ab'[n % 2]},{n}" for n in range(10)]
        (tmp_path / f"{name}.csv").write_text(
            "\n".join([f"text,label,{'tag' if name == 'mood' else 'n'}", *lines])
        )
    sets = {name: tmp_path / f"{name}.csv" for name in ("mood", "about")}
    said = "mood: text: 'text', label: 'label'; likely columns besides: 'tag'"
    whole = prepare_grouped(sets, kind="texts").train
    assert whole.taken == said
    assert prepare_grouped_evaluation(sets, labels=whole.labels, kind="texts").taken == said
    assert said in prepare(whole, kind="texts", valid=False).notes


def test_a_text_in_two_sets_is_held_out_of_both_or_of_none() -> None:
    texts = [f"text number {n}" for n in range(40)]
    sets = {
        "mood": [(text, "ab"[n % 2]) for n, text in enumerate(texts)],
        "about": [(text, "xyz"[n % 3]) for n, text in enumerate(reversed(texts))],
    }
    found = prepare_grouped(sets, kind="texts")
    assert found.valid is not None
    sides = [{part[i].input for i in range(len(part))} for part in (found.train, found.valid)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) * 2 == len(found.valid)


def test_a_set_may_bring_its_own_validation_and_test_data() -> None:
    found = prepare_grouped(
        {"shape": samples(4), "tone": tones(10)},
        valid={"shape": samples(2, seed=1)}, test={"tone": tones(1, seed=2)},
    )  # fmt: skip
    assert found.valid is not None
    assert found.test is not None
    assert found.train.counts() == {
        "shape/bar": 4,
        "shape/dot": 4,
        "shape/frame": 4,
        "tone/dark": 12,
        "tone/light": 12,
    }
    assert found.valid.counts()["shape/bar"] == 2
    assert found.test.counts() == {
        "shape/bar": 0,
        "shape/dot": 0,
        "shape/frame": 0,
        "tone/dark": 2,
        "tone/light": 1,
    }
    assert prepare_grouped({"shape": samples(4), "tone": tones(4)}, valid=False).valid is None


def test_a_file_for_training_in_one_set_is_not_for_validation_in_another(tmp_path: Path) -> None:
    files = sorted(folder(tmp_path / "shape", 10).rglob("*.png"))
    sets = {"shape": tmp_path / "shape", "tone": tones(10)}
    leaking = {file: "dark" if n % 2 else "light" for n, file in enumerate(files[:4])}
    extra = sorted(folder(tmp_path / "more", 1, seed=9).rglob("*.png"))
    own = {"tone": table(tmp_path / "valid.csv", {**leaking, extra[0]: "dark"}), "shape": samples(3, seed=1)}
    with pytest.raises(DataError, match=r"4 problems together:\n.*leak .*in tone, valid") as refused:
        prepare_grouped(sets, valid=own)
    assert "on_bad" in refused.value.hint
    found = prepare_grouped(sets, valid=own, on_bad="skip")
    assert found.valid is not None
    assert found.valid.counts()["tone/dark"] == 1
    assert found.valid.counts()["tone/light"] == 0
    assert "4 × leak" in found.describe()
    with pytest.raises(DataError, match="no samples"):
        prepare_grouped(sets, valid={**own, "tone": table(tmp_path / "all.csv", leaking)}, on_bad="skip")


@pytest.mark.parametrize(
    ("sets", "more", "error", "message"),
    [
        ({"shape": samples(2), "tone": alike("dark")}, {}, DataError, "(?s)tone: .*one class only"),
        ({"a": alike("x"), "b": alike("y")}, {}, DataError, "(?s)a: .*b: "),
        ({"tags": alike(["x", "y"])}, {}, DataError, "tags: expected one label"),
        ({"a": samples(2), "b": [*tones(3), (picture("dot", 1), "grey")]}, {}, DataError, "b/grey"),
        ({"a/b": samples(2)}, {}, UsageError, "without '/', found 'a/b'"),
        ({" a": samples(2)}, {}, UsageError, "found ' a'"),
        ({3: samples(2)}, {}, UsageError, "found 3"),
        ({"mean": samples(2)}, {}, UsageError, "means something else"),
        ({"Valid": samples(2)}, {}, UsageError, "means something else"),
        ({}, {}, UsageError, "sets by name, .*found none"),
        ({"shape": 5}, {}, UsageError, "shape: "),
        ({"shape": samples(2)}, {"valid": samples(2)}, UsageError, r"valid: expected \{name: data\}"),
        ({"shape": samples(2)}, {"test": {"shap": samples(2)}}, UsageError, "did you mean 'shape'"),
        ({"shape": samples(2)}, {"valid": {"shape": False}}, UsageError, "all questions"),
    ],
)  # fmt: skip
def test_sets_that_cannot_be_meant_are_refused(
    sets: Any, more: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as refused:
        prepare_grouped(sets, **more)
    refused.match(message)


def test_what_is_measured_has_the_labels_of_the_module() -> None:
    found = prepare_grouped_evaluation({"tone": [(picture("dot", 0), "light")]}, labels=LABELS)
    assert found.labels == LABELS
    assert found.targets().tolist() == [4]
    for data, error, message in (
        ({"tome": samples(1)}, UsageError, "did you mean 'tone'"),
        ({"tone": [(picture("dot", 0), "grey")]}, DataError, "(?s)tone: .*unknown label 'grey'"),
        (samples(1), UsageError, r'\{"shape": …, "tone": …\}, found list'),
    ):
        with pytest.raises(error, match=message):
            prepare_grouped_evaluation(data, labels=LABELS)  # type: ignore[arg-type]


# ---- from end to end ----

SETS = {"shape": samples(16), "tone": tones(16)}
VALID = {"shape": samples(8, seed=1), "tone": tones(8, seed=1)}
USUAL: dict[str, Any] = {"epochs": 12, "learning_rate": 0.01, "progress": False}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny_module().finetune(
        SETS, valid=VALID, output_dir=tmp_path_factory.mktemp("run"), cache=False, **USUAL
    )


def test_one_backbone_learns_both_questions(trained: Any) -> None:
    assert trained.task == "multi_task_image_classification"
    assert trained.labels == LABELS
    assert "multi task image classification" in trained.spec.summary
    for name, data in VALID.items():
        right = [label for _, label in data]
        guess = [each[name]["label"] for each in trained.predict([array for array, _ in data])]
        accuracy = accuracy_score(right, guess)
        assert accuracy > 1.3 / len(set(right)), (name, accuracy)
        assert trained.run.metrics[f"{name}_accuracy"] == pytest.approx(accuracy)
        assert trained.run.metrics[f"{name}_f1_macro"] == pytest.approx(
            f1_score(right, guess, average="macro")
        )
    assert {f"valid_{name}" for name in ("shape_f1_macro", "tone_accuracy", "mean_accuracy")} <= set(
        trained.run.history[-1]
    )
    assert trained.evaluate(VALID)["mean_accuracy"] == trained.run.metrics["mean_accuracy"]
    assert trained.evaluate({"tone": VALID["tone"]})["tone_accuracy"] == trained.run.metrics["tone_accuracy"]


def test_a_run_that_was_broken_off_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    class Break(Callback):
        def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
            if trainer.step == 4:
                raise ZeroDivisionError

    def run(place: str, **options: Any) -> Any:
        settings = {**USUAL, "epochs": 2, "batch_size": 16, "sampler": "balanced", "dropout": 0.2, "seed": 3}
        return tiny_module().finetune(SETS, output_dir=tmp_path / place, **{**settings, **options})

    whole = run("whole")
    with pytest.raises(ZeroDivisionError):
        run("broken", callbacks=[Break()])
    resumed = run("broken", resume=True)
    assert resumed.run.metrics == whole.run.metrics
    states = [weights.state_of(each.network) for each in (whole, resumed)]
    assert all(np.array_equal(array, states[1][name]) for name, array in states[0].items())


def test_a_saved_module_gives_the_same_answers(trained: Any, tmp_path: Path) -> None:
    again = hub.Module(trained.save(tmp_path / "both"))
    pictures = [array for array, _ in VALID["shape"]]
    assert again.predict(pictures) == trained.predict(pictures)
    assert again.task == trained.task
    assert again.labels == LABELS
    assert again.verify().ok
    assert again.draw(pictures[0], again.predict(pictures[0])[0]).height > 16
    with pytest.raises(UsageError, match="sets by name"):
        again.evaluate(VALID["tone"])


def test_the_report_of_a_run_has_its_mistakes_and_both_questions(tmp_path: Path) -> None:
    module = tiny_module().finetune(
        SETS, valid=VALID, output_dir=tmp_path / "run", cache=False, **USUAL | {"epochs": 1}
    )
    page = module.run.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "tone accuracy" in page
    assert "shape/frame" in page
    assert "Worst mistakes" in page


def test_a_test_set_without_the_question_that_chooses_the_epoch_shows_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = tiny_module().finetune(
        SETS, valid=VALID, test={"tone": VALID["tone"]}, metric="shape_accuracy", output_dir=tmp_path / "run",
        cache=False, **USUAL | {"epochs": 1, "progress": True},
    )  # fmt: skip
    assert module.run is not None
    assert module.run.test_metrics is not None
    found, tested = module.run.metrics, module.run.test_metrics
    expected = (
        f"shape_accuracy {found['shape_accuracy']:.4f} on the validation set, "
        f"tone_accuracy {tested['tone_accuracy']:.4f}, tone_f1_macro {tested['tone_f1_macro']:.4f}, "
        f"mean_accuracy {tested['mean_accuracy']:.4f} on the test set"
    )
    assert expected in module.run.summary()
    assert expected in capsys.readouterr().err
    assert module.run.report(tmp_path / "report.html").is_file()


def test_a_question_of_weight_0_leaves_its_rows_of_the_head_as_they_were(tmp_path: Path) -> None:
    class Start(Callback):
        head: dict[str, np.ndarray]

        def on_train_begin(self, trainer: Any) -> None:
            self.head = {name: each.numpy().copy() for name, each in trainer.model.head.named_parameters()}

    start = Start()
    module = tiny_module().finetune(
        SETS, valid=False, output_dir=tmp_path / "run", cache=False, task_weights={"tone": np.float32(0)},
        weight_decay=0.0, strategy="full", callbacks=[start], **USUAL | {"epochs": 2},
    )  # fmt: skip
    assert module.run is not None
    assert module.run.config["task_weights"] == {"tone": 0}
    for name, parameter in module.network.head.named_parameters():
        before, after = start.head[name], parameter.numpy()
        assert np.array_equal(after[..., TONE], before[..., TONE])
        assert not np.isclose(after[..., SHAPE], before[..., SHAPE], rtol=0, atol=1e-5).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"task_weights": {"tome": 0.5}}, "did you mean 'tone'"),
        ({"metric": "accuracy"}, "shape_accuracy"),
        ({"multi_label": True}, "multi_label"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(
    more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        tiny_module().finetune(SETS, output_dir=tmp_path, progress=False, **more)


def test_one_set_makes_a_module_of_one_question_again(trained: Any, tmp_path: Path) -> None:
    module = hub.Module(trained.save(tmp_path / "both"))
    module.finetune(SETS["tone"], epochs=1, output_dir=tmp_path / "run", cache=False, progress=False)
    assert module.task == "image_classification"
    assert module.labels == ("dark", "light")


def test_the_files_of_one_folder_answer_two_questions_in_every_strategy(tmp_path: Path) -> None:
    files = sorted(folder(tmp_path / "shape", 8).rglob("*.png"))
    sets = {
        "shape": tmp_path / "shape",
        "half": table(tmp_path / "half.csv", {f: "ab"[n % 2] for n, f in enumerate(files)}),
    }
    for strategy in ("probe", "probe_then_full", "gradual", "full"):
        module = tiny_module().finetune(
            sets, strategy=strategy, epochs=2, sampler="balanced", class_weight="balanced", label_smoothing=0.1,
            output_dir=tmp_path / strategy, progress=False,
        )  # fmt: skip
        assert [*module.predict(files[0])[0]] == ["input", "shape", "half"]


def test_each_question_has_the_closed_form_of_its_own_samples() -> None:
    features = np.random.default_rng(1).normal(size=(len(TARGETS), 6)).astype(np.float32)
    features[:, :5] += np.eye(5, dtype=np.float32)[TARGETS]
    head = task().build_head(FeatureSpec("pooled", (6,)))
    closed_form.fit_head(head, task(), features, TARGETS)
    for part in (SHAPE, TONE):
        single = Classification(LABELS[part])
        alone = single.build_head(FeatureSpec("pooled", (6,)))
        closed_form.fit_head(alone, single, features[of(part)], TARGETS[of(part)] - part.start)
        np.testing.assert_allclose(head.weight.numpy()[:, part], alone.weight.numpy(), rtol=1e-6)
        np.testing.assert_allclose(head.bias.numpy()[part], alone.bias.numpy(), rtol=1e-6)
