"""Texts through the whole library: a module is fine-tuned, answers, searches, is saved, loaded and run by a command."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import hub
import hub.finetune.callbacks
from hub import training
from hub.cli.main import main
from hub.errors import InputError, SpecError, UsageError
from hub.finetune.config import Config
from hub.modules import bundle, weights
from hub.modules.network import Network

pytest.importorskip("paddlenlp")
pytest.importorskip("tokenizers")

PIECES = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "bird", "sat", "ran", "flew", "##s", "on", "mat", ".",
    "我", "们", "花", "园",
]  # fmt: skip
ARCH: dict[str, Any] = {
    "name": "bert", "vocab_size": len(PIECES), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 16, "pooling": "mean",
}  # fmt: skip
ANIMALS = ["cat", "dog", "bird"]


def encoder() -> hub.Module:
    """An encoder of random weights, without a head: 1,500 parameters."""
    return hub.Module.create(
        "tiny_words", task="text_classification", arch=ARCH, preprocess=[{"tokenize": {"max_length": 12}}],
        files={"vocab.txt": "".join(f"{piece}\n" for piece in PIECES).encode()},
    )  # fmt: skip


def turned(task: str, folder: Path) -> hub.Module:
    return hub.Module(encoder().save(folder), task=task)


def texts(count: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        animal = ANIMALS[number % 3]
        words = [animal, *rng.choice(["the", "sat", "ran", "on", "mat", "."], rng.integers(1, 8))]
        found.append((" ".join(rng.permutation(words)), animal))
    return found


def tagged(count: int) -> list[tuple[list[str], list[str]]]:
    return [
        (text.split(), ["B-ANIMAL" if word in ANIMALS else "O" for word in text.split()])
        for text, _ in texts(count)
    ]


def pairs(count: int) -> list[tuple[tuple[str, str], str]]:
    both = list(zip(texts(count), texts(count, seed=1)[1:] + texts(1), strict=True))
    return [((a, b), "same" if one == other else "different") for (a, one), (b, other) in both] + [
        ((a, a), "same") for a, _ in texts(count)
    ]


DATA = {
    "text_classification": texts, "sequence_labeling": tagged, "text_matching": pairs, "siamese_matching": pairs,
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "epochs": 8,
    "batch_size": 8,
    "learning_rate": 0.02,
    "strategy": "full",
    "progress": False,
}


@pytest.mark.parametrize(("task", "metric", "least"), [
    ("text_classification", "accuracy", 0.95), ("sequence_labeling", "f1", 0.95), ("text_matching", "accuracy", 0.7),
    ("siamese_matching", "accuracy", 0.7),
])  # fmt: skip
def test_every_task_learns_is_saved_and_answers_the_same_again(
    tmp_path: Path, task: str, metric: str, least: float
) -> None:
    module = turned(task, tmp_path / "tiny")
    data = DATA[task](48)
    settings = (
        {**SETTINGS, "epochs": 30} if task == "text_matching" else SETTINGS
    )  # what is equal is hard to see
    module.finetune(data, valid=data, output_dir=tmp_path / "run", **settings)
    assert module.run is not None
    assert module.run.metrics[metric] >= least
    assert module.run.report(tmp_path / "report.html").stat().st_size > 10_000
    again = hub.Module(module.save(tmp_path / "mine"))
    assert (again.task, again.labels) == (task, module.labels)
    assert again.verify().ok
    given = [one for one, _ in data[:20]]
    first, second = module.predict(given), again.predict(given)
    assert [one["input"] for one in first] == [list(one) if isinstance(one, tuple) else one for one in given]
    assert first == second
    assert again.evaluate(data)[metric] == pytest.approx(module.run.metrics[metric])


@pytest.mark.parametrize("task", ["text_matching", "siamese_matching"])
@pytest.mark.parametrize("chosen", [None, "duplicate", "original"])
def test_which_pairs_match_is_said_and_kept(tmp_path: Path, task: str, chosen: str | None) -> None:
    names = {"same": "duplicate", "different": "original"}
    data = [(given, names[label]) for given, label in pairs(24)]
    module = turned(task, tmp_path / "tiny")
    settings = {**SETTINGS, "epochs": 1, **({} if chosen is None else {"match": chosen})}
    module.finetune(data, valid=data, output_dir=tmp_path / "run", **settings)
    match = chosen or "duplicate"  # whose texts are alike
    assert module.run is not None
    assert f"pairs labelled '{match}' count as matches" in module.run.data
    again = hub.Module(module.save(tmp_path / "mine"))
    assert again.labels[-1] == match
    metrics = again.evaluate(data)
    assert metrics == module.evaluate(data)
    assert metrics["f1"] == metrics["per_class"][match]["f1"]
    [result] = again.predict([("the cat sat", "the cat sat")])
    if task == "siamese_matching":
        assert result["similarity"] == pytest.approx(1, abs=1e-5)
    else:
        chance = result["score"] if result["label"] == match else 1 - result["score"]
        assert result["similarity"] == pytest.approx(chance, abs=1e-5)


@pytest.mark.parametrize("match", ["foo", "bar"])
def test_what_a_module_knows_to_match_it_goes_on_with(tmp_path: Path, match: str) -> None:
    """Neither the names nor the texts of the data say it."""
    texts_of = [f"the {animal}" for animal in ANIMALS]
    data = [((a, b), label) for a in texts_of for b in texts_of for label in ("foo", "bar")]
    settings = {**SETTINGS, "epochs": 1, "valid": False, "output_dir": tmp_path / "run"}
    module = turned("siamese_matching", tmp_path / "tiny")
    with pytest.raises(UsageError, match="neither the names 'bar' and 'foo' nor the texts"):
        module.finetune(data, **settings)
    module.finetune(data, match=match, **settings)
    again = hub.Module(module.save(tmp_path / "mine"))
    assert again.finetune(data, **settings).labels[-1] == match
    other = "bar" if match == "foo" else "foo"
    assert again.finetune(data, match=other, **settings).labels[-1] == other


def test_entities_are_found_where_they_are_written(tmp_path: Path) -> None:
    module = turned("sequence_labeling", tmp_path / "tiny")
    module.finetune(tagged(48), valid=False, output_dir=tmp_path / "run", **SETTINGS)
    text = "The  cat sat on the mat."
    [result] = module.predict(text)
    assert [(each["type"], text[each["start"] : each["end"]]) for each in result["entities"]] == [
        ("ANIMAL", "cat")
    ]


@pytest.mark.parametrize("strategy", ["probe", "probe_then_full", "gradual"])
def test_strategies_work_on_texts_and_a_run_goes_on(tmp_path: Path, strategy: str) -> None:
    settings = {**SETTINGS, "strategy": strategy, "epochs": 3, "seed": 1}
    whole = turned("text_classification", tmp_path / "tiny").finetune(
        texts(30), output_dir=tmp_path / "whole", **settings
    )

    class Break(hub.finetune.callbacks.Callback):
        def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
            if trainer.step == 5:
                raise ZeroDivisionError

    def part(**more: Any) -> hub.Module:
        module = turned("text_classification", tmp_path / "tiny")
        return module.finetune(texts(30), output_dir=tmp_path / "run", **settings, **more)

    with pytest.raises(ZeroDivisionError):
        part(callbacks=[Break()])
    found, expected = (weights.state_of(one.network) for one in (part(resume=True), whole))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("task", ["text_classification", "sequence_labeling", "siamese_matching"])
def test_a_student_learns_what_its_teacher_says_and_not_what_the_labels_say(
    tmp_path: Path, task: str
) -> None:
    data = DATA[task](48)
    settings = {**SETTINGS, "valid": False, "epochs": 12}
    teacher = turned(task, tmp_path / "tiny").finetune(data, output_dir=tmp_path / "teacher", **settings)
    labels = [label for _, label in data]
    wrong = [tags[::-1] for tags in labels] if task == "sequence_labeling" else labels[1:] + labels[:1]
    student = turned(task, tmp_path / "tiny").finetune(
        [(given, label) for (given, _), label in zip(data, wrong, strict=True)],
        teacher=teacher, teacher_weight=1.0, temperature=2.0, output_dir=tmp_path / "run", **settings,
    )  # fmt: skip
    found, expected = (
        [
            one.get("label") or [each["start"] for each in one["entities"]]
            for one in module.predict([a for a, _ in data])
        ]
        for module in (student, teacher)
    )
    assert np.mean([one == other for one, other in zip(found, expected, strict=True)]) > 0.9


@pytest.mark.parametrize("long", [False, True])
def test_a_teacher_of_tags_may_take_words_apart_in_another_way(tmp_path: Path, long: bool) -> None:
    """Its pieces are letters, so that it reads a text in other windows than the student."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*PIECES[:4], ".", *letters, *(f"##{each}" for each in letters)]
    large = hub.Module.create(
        "letters", task="sequence_labeling", preprocess=[{"tokenize": {"max_length": 24}}],
        arch={**ARCH, "vocab_size": len(pieces), "max_position_embeddings": 32},
        files={"vocab.txt": "".join(f"{piece}\n" for piece in pieces).encode()},
    )  # fmt: skip
    data, settings = documents(16) if long else tagged(48), {**SETTINGS, "valid": False}
    teacher = large.finetune(data, output_dir=tmp_path / "teacher", **{**settings, "epochs": 16})
    expected = teacher.evaluate(data)["f1"]
    wrong = [(words, tags[::-1]) for words, tags in data]
    student = turned("sequence_labeling", tmp_path / "tiny").finetune(
        wrong, teacher=teacher, teacher_weight=1.0, temperature=2.0, output_dir=tmp_path / "run", **settings
    )
    assert expected > 0.6
    assert student.evaluate(data)["f1"] > 0.9 * expected


class Full(hub.finetune.callbacks.Callback):
    """A machine whose memory is full from so many rows on."""

    def __init__(self, most: int) -> None:
        self.most = most

    def on_train_begin(self, trainer: Any) -> None:
        def refuse(_: Any, given: Any) -> None:
            if len(given[0][0]) > self.most:
                raise MemoryError

        trainer.model.register_forward_pre_hook(refuse)


class Gradients(hub.finetune.callbacks.Callback):
    """Those of the first step, times what AdamW begins its mean of them with."""

    def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
        if trainer.step == 1:
            state = trainer.optimizer.state_dict().items()
            self.found = [value.numpy() for name, value in state if "moment1" in name]


@pytest.mark.parametrize(("whole", "parts", "most"), [
    ({}, {"max_tokens": 30}, None), ({}, {"batch_size": 4, "accumulate": 2}, None),
    ({"batch_size": 32}, {"batch_size": "auto"}, 9),
], ids=["max_tokens", "accumulate", "auto"])  # fmt: skip
@pytest.mark.parametrize(("task", "data"), [
    ("text_classification", texts), ("sequence_labeling", tagged),
    ("sequence_labeling", lambda count: documents(count)),
], ids=["texts", "tagged", "documents"])  # fmt: skip
def test_a_teacher_is_the_same_in_parts(
    tmp_path: Path, task: str, data: Any, whole: dict[str, Any], parts: dict[str, Any], most: int | None
) -> None:
    given, settings = data(24), {**SETTINGS, "valid": False, "epochs": 2, "learning_rate": 1e-3}
    teacher = turned(task, tmp_path / "tiny").finetune(given, output_dir=tmp_path / "teacher", **settings)

    def taught(name: str, *callbacks: Any, **more: Any) -> tuple[list[np.ndarray], list[float]]:
        gradients = Gradients()
        student = turned(task, tmp_path / "tiny").finetune(
            given, teacher=teacher, output_dir=tmp_path / name, callbacks=[gradients, *callbacks],
            **{**settings, **more},
        )  # fmt: skip
        assert student.run is not None
        return gradients.found, [row["train_loss"] for row in student.run.history]

    (expected, losses), (found, again) = (
        taught("whole", max_tokens=1 << 20, **whole),
        taught("parts", *([] if most is None else [Full(most)]), **parts),
    )
    assert again == pytest.approx(losses, rel=1e-4)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-6)


def test_what_a_teacher_says_takes_no_more_memory_where_one_text_is_much_longer_than_the_others(
    tmp_path: Path,
) -> None:
    data = [*tagged(40), (["the", "cat"] * 1000, ["O", "B-ANIMAL"] * 1000)]
    settings = {**SETTINGS, "valid": False, "epochs": 1}
    teacher = turned("sequence_labeling", tmp_path / "tiny").finetune(
        tagged(8), output_dir=tmp_path / "run", **settings
    )
    base = bundle.load(tmp_path / "run" / "best")
    answers = training.teacher_answers(teacher, training.prepare(base, Config(epochs=1), data, valid=False))
    assert sum(each.nbytes for each in answers) == 4 * len(teacher.labels) * sum(
        len(words) for words, _ in data
    )


def test_a_teacher_of_another_task_is_refused(tmp_path: Path) -> None:
    data, settings = pairs(12), {**SETTINGS, "epochs": 1}
    teacher = turned("text_matching", tmp_path / "tiny").finetune(
        data, output_dir=tmp_path / "teacher", **settings
    )
    with pytest.raises(UsageError, match=r"teacher tiny_words.*: expected a module for siamese_matching"):
        turned("siamese_matching", tmp_path / "tiny").finetune(
            data, teacher=teacher, output_dir=tmp_path / "run", **settings
        )
    assert not (tmp_path / "run").exists()


def test_an_encoder_without_its_last_layer_is_saved_and_loaded_as_such(tmp_path: Path) -> None:
    module = turned("text_classification", tmp_path / "tiny")
    module.finetune(texts(30), drop_groups=1, output_dir=tmp_path / "run", **SETTINGS)
    again = hub.Module(tmp_path / "run" / "best")
    assert len(again.network.backbone.layer_groups()) == 2
    given = [text for text, _ in texts(9)]
    assert again.predict(given) == module.predict(given)
    alone, padded = again.embed(["the cat"]), again.embed(["the cat", "the cat sat on the mat ."])
    np.testing.assert_allclose(alone[0], padded[0], atol=1e-5)


def test_many_texts_are_answered_as_one_by_one_whatever_their_order(tmp_path: Path) -> None:
    """More than are sorted by length together, and more than are answered without compiling."""
    module = turned("text_classification", tmp_path / "tiny")
    module.finetune(texts(30), output_dir=tmp_path / "run", **{**SETTINGS, "epochs": 1})
    given = [text for text, _ in texts(450)]
    given[7] = ""
    several = module.predict(given, batch_size=4)
    assert [result["input"] for result in several] == given
    assert "error" in several[7]
    for number in (0, 8, 201, 449):
        [alone] = module.predict(given[number])
        assert several[number]["label"] == alone["label"]
        assert several[number]["score"] == pytest.approx(alone["score"], abs=1e-4)
    del given[7]
    vectors = module.embed(given)
    np.testing.assert_allclose(vectors[[0, 200]], module.embed([given[0], given[200]]), atol=1e-4)


def test_the_range_test_takes_what_the_task_takes() -> None:
    module = hub.Module.create(
        "tiny_pairs", task="text_matching", arch=ARCH, preprocess=[{"tokenize": {"max_length": 12}}],
        files={"vocab.txt": "".join(f"{piece}\n" for piece in PIECES).encode()},
    )  # fmt: skip
    cats, dogs = (("the cat sat", "the cat ran"), "b"), (("the dog sat", "a bird flew"), "a")
    data = [cats, dogs] * 16
    with pytest.raises(UsageError, match="match: expected one of"):
        module.range_test(data, match="c", progress=False)
    assert module.range_test(data, match="a", progress=False, steps=30, low=1e-4).suggestion > 0


def test_a_search_gives_the_nearest_first_and_takes_vectors_too(tmp_path: Path) -> None:
    module = encoder()
    corpus = [text for text, _ in texts(20)]
    [found] = module.search(corpus[4], corpus, top_k=3)
    assert found[0] == {"index": 4, "score": pytest.approx(1.0, abs=1e-5), "text": corpus[4]}
    assert [each["score"] for each in found] == sorted((each["score"] for each in found), reverse=True)
    vectors = module.embed(corpus)
    near = vectors @ vectors[4] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[4])
    assert [each["index"] for each in found] == np.argsort(-near, kind="stable")[:3].tolist()
    again = module.search([corpus[4]], vectors, top_k=3)
    assert [each["index"] for each in again[0]] == [each["index"] for each in found]
    assert "text" not in again[0][0]
    siamese = turned("siamese_matching", tmp_path / "tiny")
    assert siamese.search(corpus[4], corpus[:2], top_k=9)[0][0]["text"] in corpus[:2]


def test_a_search_takes_texts_as_texts_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dog.txt").write_text("the cat\nthe cat sat\nthe bird\n", encoding="utf-8")
    module, corpus = encoder(), ["dog.txt", "the cat", "a bird"]
    for given in (corpus, tuple(corpus), np.array(corpus), np.array(corpus, dtype=object)):
        [found] = module.search("the cat", given)
        assert found[0]["text"] == corpus[found[0]["index"]] == "the cat"
        assert len(found) == 3
    assert len(module.search("dog.txt", corpus)) == 1
    for wrong, said in [
        ("the cat", "found str"),
        ({"the cat": 1}, "found dict"),
        (Path("dog.txt"), "found Posix"),
        ([Path("dog.txt")], "found list with Posix"),
        (["the cat", None], "found list with NoneType"),
        ([["the", "cat"]], "found list with list"),
        (pytest.importorskip("pandas").DataFrame({"text": corpus}), "found DataFrame"),
    ]:
        with pytest.raises(UsageError, match=f"corpus: expected a sequence of texts, {said}"):
            module.search("the cat", wrong)
    with pytest.raises(UsageError, match="queries: expected a sequence of texts, found list with int"):
        module.search([1], corpus)  # type: ignore[list-item]


def test_a_search_after_training_does_not_find_the_old_vectors(tmp_path: Path) -> None:
    module, corpus = encoder(), [text for text, _ in texts(20)]
    before = module.search("the cat sat", corpus, top_k=20)[0]
    module.finetune(texts(30), output_dir=tmp_path / "run", **SETTINGS)
    after = {each["index"]: each["score"] for each in module.search("the cat sat", corpus, top_k=20)[0]}
    assert any(abs(after[each["index"]] - each["score"]) > 1e-3 for each in before)


def by_a_trainer(module: hub.Module, folder: Path) -> None:
    optimizer = paddle.optimizer.Adam(0.05, parameters=module.parameters())
    hub.Trainer(module, optimizer, checkpoint_dir=str(folder)).train(
        hub.datasets.load(texts(30), kind="texts").train, epochs=1, batch_size=8
    )


def by_a_loop(module: hub.Module, folder: Path) -> None:
    with paddle.no_grad():
        for parameter in module.parameters():
            parameter.set_value(parameter * 2.0)


@pytest.mark.parametrize("change", [by_a_trainer, by_a_loop])
def test_a_search_finds_what_the_weights_of_now_find(tmp_path: Path, change: Any) -> None:
    module = hub.Module(encoder().save(tmp_path / "tiny"), label_list=ANIMALS)
    corpus = [text for text, _ in texts(20)]
    before = module.search("the cat sat", corpus)
    change(module, tmp_path / "run")
    after = module.search("the cat sat", corpus)
    assert after != before
    module.save(tmp_path / "changed")
    assert after == hub.Module(tmp_path / "changed").search("the cat sat", corpus)


def test_a_corpus_is_embedded_once() -> None:
    module, corpus = encoder(), [text for text, _ in texts(20)]
    counts: list[int] = []
    module.network.backbone.register_forward_pre_hook(lambda _, given: counts.append(len(given[0][0])))
    for _ in range(2):
        module.search(["the dog", "the cat"], corpus)
    assert sum(counts) == len(corpus) + 2 + 2


def test_an_encoder_becomes_any_task_on_texts_by_either_name(tmp_path: Path) -> None:
    folder = encoder().save(tmp_path / "tiny")
    for name, task in {
        "seq-cls": "text_classification", "token-cls": "sequence_labeling", "text-matching": "siamese_matching",
        "text_matching": "text_matching",
    }.items():  # fmt: skip
        assert hub.Module(folder, task=name).task == task
    with pytest.raises(UsageError, match="did you mean 'sequence_labeling'"):
        hub.Module(folder, task="sequence_labelling")
    with pytest.raises(UsageError, match="expected one of"):
        hub.Module(folder, task="image_classification")
    with pytest.raises(SpecError, match="no head"):
        hub.Module(folder).predict("a cat")


@pytest.mark.parametrize("task", ["text_classification", "sequence_labeling", "siamese_matching"])
def test_long_texts_go_through_in_parts_that_make_the_same_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    passes: list[int] = []
    forward = Network.forward

    def watched(self: Network, given: Any) -> Any:
        if self.training:
            passes.append(int(np.prod(given[0].shape)))
        return forward(self, given)

    monkeypatch.setattr(Network, "forward", watched)
    states = []
    for most in (4096, 40):
        passes.clear()
        module = turned(task, tmp_path / "tiny")
        settings = {**SETTINGS, "epochs": 1, "batch_size": 12, "max_tokens": most}
        module.finetune(DATA[task](24), valid=False, output_dir=tmp_path / str(most), **settings)
        states.append(weights.state_of(module.network))
        assert (
            max(passes) > 40 if most > 40 else max(passes) <= 48
        )  # of 12 texts in parts one has one text more
    assert len(passes) > 4
    whole, parts = states
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, atol=2e-4, err_msg=name)


def test_what_is_no_pair_is_an_error_of_its_own(tmp_path: Path) -> None:
    module = turned("text_matching", tmp_path / "tiny")
    module.finetune(pairs(12), valid=False, output_dir=tmp_path / "run", **{**SETTINGS, "epochs": 1})
    results = module.predict([("a cat", "a dog"), "a cat", "a cat\ta dog"])
    assert ["error" in result for result in results] == [False, True, False]
    assert "two texts" in results[1]["error"]
    assert results[0]["label"] == results[2]["label"]


def test_a_text_that_is_none_is_refused_by_embed() -> None:
    with pytest.raises(InputError, match="empty"):
        encoder().embed(["a cat", ""])


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_the_command_reads_texts_from_its_line_a_file_and_stdin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder().save(tmp_path / "tiny")
    table = tmp_path / "train.tsv"
    table.write_text("text\tlabel\n" + "".join(f"{a}\t{b}\n" for a, b in texts(48)), encoding="utf-8")
    run(["finetune", str(tmp_path / "tiny"), str(table), "--epochs", "10", "--batch-size", "8", "--learning-rate",
         "0.02", "--strategy", "full", "--output", str(tmp_path / "run")], capsys)  # fmt: skip
    best = str(tmp_path / "run" / "best")
    [one] = json.loads(
        run(
            ["run", best, "the cat sat on the mat, a longer text than sixty characters, 我们", "--json"],
            capsys,
        )
    )
    assert one["label"] == "cat"
    assert one["input"].endswith("我们")
    lines = tmp_path / "lines.txt"
    lines.write_text("a dog\n\nthe bird flew\n", encoding="utf-8")
    assert [each["label"] for each in json.loads(run(["run", best, str(lines), "--json"], capsys))] == [
        "dog",
        "bird",
    ]
    monkeypatch.setattr(
        "sys.stdin", io.TextIOWrapper(io.BytesIO("我们 cat\ndog\n".encode()), encoding="utf-8")
    )
    shown = run(["run", best, "-", "--save", str(tmp_path / "cards")], capsys)
    assert "我们 cat" in shown
    assert sorted(path.name for path in (tmp_path / "cards").iterdir()) == ["1.png", "2.png"]
    assert "accuracy" in run(["evaluate", best, str(table)], capsys)


def test_the_command_takes_files_of_texts_and_no_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = turned("text_classification", tmp_path / "tiny")
    module.finetune(texts(12), valid=False, output_dir=tmp_path / "run", **{**SETTINGS, "epochs": 1})
    mine = str(module.save(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("empty").mkdir()
    Path("in/a.txt").write_text("the cat\nin/b.txt\n", encoding="utf-8")
    Path("in/b.txt").write_text("the dog\n", encoding="utf-8")
    Path("in/._b.txt").write_text("what macOS leaves", encoding="utf-8")
    Path("note").write_text("a bird", encoding="utf-8")
    Path("table.tsv").write_text("text\tlabel\na\tcat\n", encoding="utf-8")

    def asked(*words: str) -> list[str]:
        return [each["input"] for each in json.loads(run(["run", mine, *words, "--json"], capsys))]

    several = ["the cat", "in/b.txt", "the dog"]
    assert asked("in") == asked("in/*.txt") == asked("in/a.txt", "in/b.txt") == several
    assert asked("is it a cat?", "x" * 5000) == ["is it a cat?", "x" * 5000]
    for word in ("note", "table.tsv", "lins.txt", "gone/*.txt", "gone.csv", "empty", "tab*"):
        assert main(["run", mine, word]) != 0
        assert "expected a" in capsys.readouterr().err

    def piped(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    piped("\ufeffthe cat\r\n\r\nin/a.txt\r\n我们".encode())
    assert asked("-") == ["the cat", "in/a.txt", "我们"]
    piped("很好\n".encode("gbk"))
    assert main(["run", mine, "-"]) != 0
    assert "stdin, row 1: expected UTF-8; it looks like GBK" in capsys.readouterr().err


def longer(given: Any) -> Any:
    """Give a text, the words of one or a pair with more words than a module of 12 pieces reads."""
    if isinstance(given, tuple):
        return given[0], longer(given[1])
    return given + ["sat"] * 20 if isinstance(given, list) else given + " sat" * 20


@pytest.mark.parametrize("task", DATA)
def test_it_is_said_how_many_texts_are_on_both_sides(task: str, tmp_path: Path) -> None:
    def marked(part: str, given: Any) -> Any:
        if isinstance(given, tuple):
            return f"{part} {given[0]}", given[1]
        return [part, *given] if isinstance(given, list) else f"{part} {given}"

    def of(part: str) -> list[Any]:
        tags = ["O"] if task == "sequence_labeling" else []
        return [
            (marked(f"{part}{n}", one), tags + label if tags else label)
            for n, (one, label) in enumerate(data)
        ]

    data = DATA[task](12)
    module = turned(task, tmp_path / "m")
    settings = {**SETTINGS, "epochs": 1}
    module.finetune(
        of("a"), valid=[*of("b"), *of("a")[:2]], test=of("c"), output_dir=tmp_path / "run", **settings
    )
    assert module.run is not None
    said = [line for line in module.run.data.splitlines() if "also in" in line]
    assert said == [f"validation: 2 of {len(data) + 2} texts are also in training"]


@pytest.mark.parametrize("task", DATA)
def test_it_is_said_how_many_texts_were_cut(task: str, tmp_path: Path) -> None:
    data = DATA[task](12)
    if "matching" in task:  # both are to fit where they are read as one
        data = [(tuple(" ".join(text.split()[:4]) for text in given), label) for given, label in data]
    tags = task == "sequence_labeling"
    long = [(longer(given), label + ["O"] * 20 if tags else label) for given, label in data[:3]]
    module = turned(task, tmp_path / "m")
    module.finetune(
        [*long, *data[3:]], valid=data, test=[*data, *long], output_dir=tmp_path / "run",
        **{**SETTINGS, "epochs": 1},
    )  # fmt: skip
    assert module.run is not None
    said = [line for line in module.run.data.splitlines() if "longer" in line]
    if tags:  # a tag for every word: nothing is cut
        assert said == []
        assert "cut" not in module.evaluate([*data, *long])
        return
    assert said == [
        f"training: 3 of {len(data)} texts are longer than 12 pieces, and were cut there",
        f"test: 3 of {len(data) + 3} texts are longer than 12 pieces, and were cut there",
    ]
    assert module.evaluate([*data, *long])["cut"] == 3
    assert "cut" not in module.evaluate(data)


@pytest.mark.parametrize("task", DATA)
@pytest.mark.parametrize(("every", "said"), [(1, "100%"), (2, "50%"), (4, "")])
def test_it_is_said_where_the_tokenizer_does_not_know_the_words(
    task: str, every: int, said: str, tmp_path: Path
) -> None:
    words = ["собака" if n % every == 0 else "cat" for n in range(8)]
    text: Any = words if task == "sequence_labeling" else " ".join(words)
    if "matching" in task:
        text = (text, text)
    labels = [["O"] * 8, ["B-ANIMAL"] * 8] if task == "sequence_labeling" else ["same", "different"]
    data = [(text, label) for label in labels] * 4
    module = turned(task, tmp_path / "m")
    module.finetune(data, valid=data, output_dir=tmp_path / "run", **{**SETTINGS, "epochs": 1})
    assert module.run is not None
    found = [line for line in module.run.data.splitlines() if "unknown" in line]
    assert found == [
        f"training: {said} of the words are unknown to the tokenizer, such as 'собака': "
        "is this module for texts like yours?"
    ] * bool(said)


def documents(count: int) -> list[tuple[list[str], list[str]]]:
    """Give texts of some thirty words in which animals are named behind the first 12 pieces."""
    every, found = tagged(4 * count), []
    for number in range(count):
        some = [(["the", "mat"] * 7, ["O"] * 14), *every[4 * number : 4 * number + 4]]
        found.append(
            ([word for words, _ in some for word in words], [tag for _, tags in some for tag in tags])
        )
    return found


@pytest.mark.parametrize("settings", [{}, {"class_weight": "balanced"}], ids=["sequences", "words"])
def test_what_stands_far_behind_in_a_text_is_learnt_and_found(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    data = documents(16)
    module = turned("sequence_labeling", tmp_path / "tiny")
    module.finetune(data, valid=data[:9], output_dir=tmp_path / "run", workers=2, **{**SETTINGS, **settings})
    assert module.run is not None
    assert module.run.metrics["f1"] >= 0.95
    assert module.run.metrics["words"] == sum(len(words) for words, _ in data[:9])
    assert module.run.report(tmp_path / "report.html").stat().st_size > 10_000
    metrics = module.evaluate(data[:9], batch_size=2, workers=1)
    assert metrics["f1"] == module.run.metrics["f1"]
    found = module.predict([words for words, _ in data[:9]], words=True)
    right = [word["tag"] == tag for one, (_, tags) in zip(found, data, strict=False)
             for word, tag in zip(one["words"], tags, strict=True)]  # fmt: skip
    assert metrics["token_accuracy"] == pytest.approx(np.mean(right))


def test_a_run_on_long_texts_goes_on_and_goes_through_in_parts(tmp_path: Path) -> None:
    data = documents(6) + tagged(12)
    settings = {**SETTINGS, "epochs": 3, "valid": False}

    def run(name: str, **more: Any) -> weights.State:
        module = turned("sequence_labeling", tmp_path / "tiny")
        module.finetune(data, output_dir=tmp_path / name, **settings, **more)
        return weights.state_of(module.network)

    class Break(hub.finetune.callbacks.Callback):
        def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
            if trainer.step == 5:
                raise ZeroDivisionError

    whole = run("whole")
    with pytest.raises(ZeroDivisionError):
        run("run", callbacks=[Break()])
    found = run("run", resume=True)
    assert all(np.array_equal(found[name], whole[name]) for name in whole)
    parts = run("parts", max_tokens=40)
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, atol=2e-3, err_msg=name)
