"""hub.Module on real files: one result per input, in a new process as well, and clear words for bad input."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from PIL import Image

import hub
from hub.errors import DataError, InputError, NotFoundError, SpecError, StorageError, UsageError, WeightsError
from hub.modules import bundle
from tests.pictures import LABELS, folder, samples, tiny_module


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module folder, trained for a moment."""
    path = tmp_path_factory.mktemp("made")
    module = tiny_module().finetune(
        samples(12), epochs=4, learning_rate=0.01, batch_size=8, output_dir=path / "run", progress=False
    )
    return module.save(path / "shapes")


def test_every_kind_of_input_gives_the_same_answer_in_order(made: Path, tmp_path: Path) -> None:
    pictures = folder(tmp_path / "p", 2)
    paths = sorted(pictures.rglob("*.png"))
    module = hub.Module(made)
    expected = [(r["label"], r["score"]) for r in module.predict(paths)]
    for given in (
        [str(path) for path in paths],
        [Image.open(path) for path in paths],
        [np.asarray(Image.open(path)) for path in paths],
        pictures,
        str(pictures / "*" / "*.png"),
        str(pictures / "**" / "*.png"),
    ):
        assert [(r["label"], r["score"]) for r in module.predict(given)] == expected
    assert module.predict(paths[0])[0]["input"] == str(paths[0])
    assert [len(r["top"]) for r in module.predict(paths, top_k=2)] == [2] * len(paths)
    assert [r["label"] for r in module.predict(paths, batch_size=1)] == [label for label, _ in expected]


def test_the_network_of_a_module_is_the_one_that_it_saves(made: Path, tmp_path: Path) -> None:
    module, other = hub.Module(made), tiny_module()
    with pytest.raises(UsageError, match="the one that its spec describes; it cannot be replaced"):
        module.network = other.network
    assert hub.Module(module.save(tmp_path / "saved")).embed(samples(1)[0][0]) == pytest.approx(
        module.embed(samples(1)[0][0])
    )


def test_a_bad_input_gets_an_error_in_its_place(made: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    Image.fromarray(samples(1)[0][0]).save(good)
    (tmp_path / "bad.png").write_bytes(b"text")
    given = [good, tmp_path / "bad.png", tmp_path / "none.png", np.zeros((3, 3, 7)), good, 5]
    results = hub.Module(made).predict(given, batch_size=2)
    assert [sorted(result) for result in results] == [
        ["input", "label", "score", "top"] if n in (0, 4) else ["error", "input"] for n in range(6)
    ]
    assert "none of PNG" in results[1]["error"]
    assert "no such file" in results[2]["error"]
    assert "found shape (3, 3, 7)" in results[3]["error"]
    assert "found int" in results[5]["error"]
    assert results[3]["input"] == "input 3"
    json.dumps(results)
    [refused] = hub.Module(made).predict(good.read_bytes())
    assert "found bytes" in refused["error"]


def test_folders_and_globs_are_their_pictures_without_what_systems_leave_there(
    made: Path, tmp_path: Path
) -> None:
    for place in (
        "b/2.png",
        "a/1.png",
        "a/.ipynb_checkpoints/1-checkpoint.png",
        "a/__MACOSX/._1.png",
        "._3.png",
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(samples(1)[0][0]).save(tmp_path / place)
    (tmp_path / "empty").mkdir()
    module = hub.Module(made)
    for given in (tmp_path, f"{tmp_path}/*", f"{tmp_path}/**/*"):
        assert [result["input"] for result in module.predict(given)] == [
            str(tmp_path / place) for place in ("a/1.png", "b/2.png")
        ]
    assert len(module.predict(f"{tmp_path}/*/*.png")) == 2
    with pytest.raises(InputError, match="no file matches"):
        module.predict(f"{tmp_path}/empt*")


def test_linked_folders_are_gone_through_as_for_training(made: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    Image.fromarray(samples(1)[0][0]).save(tmp_path / "far" / "1.png")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "link").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "near")
    for given in (tmp_path / "near", f"{tmp_path}/nea*"):
        [result] = hub.Module(made).predict(given)
        assert result["input"] == str(tmp_path / "near" / "link" / "1.png")


def test_answers_one_by_one_are_those_of_one_call_and_computed_when_they_are_asked_for(
    made: Path, tmp_path: Path
) -> None:
    paths = sorted(folder(tmp_path / "p", 2).rglob("*.png"))
    module = hub.Module(made)
    assert list(module.predict_each(paths, batch_size=4, top_k=2)) == module.predict(paths, top_k=2)
    late = tmp_path / "late.png"
    answers = module.predict_each([paths[0], late], batch_size=1)
    assert "label" in next(answers)
    paths[1].rename(late)
    assert "label" in next(answers)
    assert next(answers, None) is None


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"top_k": 0}, {"nonsense": 1}, {"precision": "fp8"}])
def test_arguments_of_answers_one_by_one_are_refused_at_once(made: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        hub.Module(made).predict_each([], **wrong)


class Cramped(nn.Layer):
    """A head with memory for so many inputs at once."""

    def __init__(self, head: nn.Layer, most: int) -> None:
        super().__init__()
        self.head, self.most = head, most

    def forward(self, features: paddle.Tensor) -> paddle.Tensor:
        if len(features) > self.most:
            raise MemoryError
        return self.head(features)


def test_inputs_for_which_memory_is_too_little_are_errors_in_their_place(made: Path) -> None:
    module = hub.Module(made)
    given = [picture for picture, _ in samples(3)]
    expected = [result["label"] for result in module.predict(given)]
    head = module.network.head
    module.network.head = Cramped(head, 1)
    assert [result["label"] for result in module.predict(given)] == expected
    module.network.head = Cramped(head, 0)
    error = "too large for the memory of this machine"
    assert module.predict(given) == [{"input": f"input {n}", "error": error} for n in range(len(given))]


def test_in_a_list_what_stands_for_nothing_is_an_error_in_its_place(made: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    picture = samples(1)[0][0]
    given = [tmp_path / "empty", picture, str(tmp_path / "no*.png"), picture]
    folder, first, glob, second = hub.Module(made).predict(given)
    assert first["top"] == second["top"]
    assert folder["input"] == str(given[0])
    assert "no pictures in this folder" in folder["error"]
    assert glob["input"] == given[2]
    assert "no file matches" in glob["error"]
    with pytest.raises(InputError, match="no pictures in this folder"):
        hub.Module(made).embed(given)


def test_a_folder_without_pictures_and_a_glob_without_matches_are_errors(made: Path, tmp_path: Path) -> None:
    module = hub.Module(made)
    with pytest.raises(InputError, match="no pictures in this folder"):
        module.predict(tmp_path)
    with pytest.raises(InputError, match="no file matches"):
        module.predict(str(tmp_path / "*.png"))
    with pytest.raises(UsageError, match="batch_size: expected at least 1, found 0"):
        module.predict([], batch_size=0)
    with pytest.raises(UsageError, match="batch_size: expected at least 1, found 'abc'"):
        module.predict([], batch_size="abc")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="top_k: expected at least 1, found 0"):
        module.predict([], top_k=0)
    assert module.predict([]) == []


def test_a_saved_folder_answers_the_same_in_a_new_process_from_its_path_alone(
    made: Path, tmp_path: Path, python: str
) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(samples(1)[0][0]).save(path)
    code = "import hub, json, sys; print(json.dumps(hub.Module(sys.argv[1]).predict(sys.argv[2])))"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code, str(made), str(path)],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert json.loads(done.stdout) == hub.Module(made).predict(path)


def test_features_are_one_row_an_input_and_never_shift(made: Path, tmp_path: Path) -> None:
    module = hub.Module(made)
    arrays = [array for array, _ in samples(3)]
    features = module.embed(arrays, batch_size=4)
    assert features.shape == (9, 24)
    assert features.dtype == np.float32
    # Another batch size is another order of sums.
    np.testing.assert_allclose(features[4], module.embed(arrays[4])[0], rtol=1e-4)
    with pytest.raises(InputError, match="no such file"):
        module.embed([arrays[0], tmp_path / "none.png"])


def test_evaluation_equals_counting_the_answers(made: Path, tmp_path: Path) -> None:
    module = hub.Module(made)
    held = samples(7, seed=4)
    answers = module.predict([array for array, _ in held])
    right = np.mean([answer["label"] == label for answer, (_, label) in zip(answers, held, strict=True)])
    metrics = module.evaluate(held)
    assert metrics["accuracy"] == pytest.approx(right)
    assert metrics["count"] == 21
    from_files = module.evaluate(folder(tmp_path / "d", 7, seed=4))
    assert from_files.pop("loss") == pytest.approx(
        metrics.pop("loss"), rel=1e-5
    )  # another order of float32 sums
    assert from_files == metrics


def test_a_label_that_the_module_does_not_know_is_named(made: Path) -> None:
    with pytest.raises(DataError, match="dott"):
        hub.Module(made).evaluate([(samples(1)[0][0], "dott"), (samples(1)[1][0], "bar")])


def test_saving_takes_the_folders_name_and_a_card_that_says_where_it_comes_from(made: Path) -> None:
    module = hub.Module(made)
    assert module.name == "shapes"
    assert module.labels == LABELS
    card = (made / "README.md").read_text(encoding="utf-8")
    for text in ("# shapes", "fine-tuned from tiny 1.0.0", "| accuracy |", "bar", "base module: Apache-2.0"):
        assert text in card
    assert module.verify().ok


def test_a_module_that_learns_something_else_does_not_keep_its_card_and_name(
    made: Path, tmp_path: Path
) -> None:
    module = hub.Module(made, label_list=["dog", "cat"])
    saved = module.save(tmp_path / "my_pets")
    assert hub.Module(saved).name == "my_pets"
    assert not (saved / "README.md").exists()
    assert hub.Module(hub.Module(made).save(tmp_path / "copy")).name == "shapes"


def fail_to_load(folder: Path) -> None:
    with pytest.raises(WeightsError):
        hub.Module(folder, num_classes=3, load_checkpoint="nowhere.safetensors")


DRAWING: dict[str, Callable[[Path], object]] = {
    "load": hub.Module,
    "load for other labels": lambda folder: hub.Module(folder, num_classes=3),
    "create": lambda folder: tiny_module(seed=3),
    "fail to load": fail_to_load,
    "range_test": lambda folder: hub.Module(folder).range_test(
        samples(8), steps=20, high=0.1, progress=False
    ),
}


@pytest.mark.parametrize("do", DRAWING.values(), ids=DRAWING)
def test_paddles_generator_goes_on_as_if_no_module_had_been_made(
    made: Path, do: Callable[[Path], object]
) -> None:
    """Else a callback that loads another module would change the dropout of the run."""
    paddle.seed(7)
    expected = paddle.rand([4]).numpy()
    paddle.seed(7)
    do(made)
    assert np.array_equal(paddle.rand([4]).numpy(), expected)


def test_a_name_that_was_chosen_stays_whatever_it_ends_in(made: Path, tmp_path: Path) -> None:
    trained = hub.Module(made, label_list=["dog", "cat"])
    named = trained.save(tmp_path / "named", name="flowers_finetuned")
    assert hub.Module(hub.Module(named).save(tmp_path / "backup")).name == "flowers_finetuned"
    assert hub.Module(trained.save(tmp_path / "pets")).name == "pets"


@pytest.mark.parametrize(
    ("folder", "name"), [("花", "module"), ("con", "module"), ("My Pets!", "my_pets"), ("x" * 80, "x" * 64)]
)
def test_a_module_is_loaded_again_whatever_folder_it_was_saved_in(
    made: Path, tmp_path: Path, folder: str, name: str
) -> None:
    trained = hub.Module(made, label_list=["dog", "cat"])
    assert hub.Module(trained.save(tmp_path / folder)).name == name


@pytest.mark.parametrize("name", ["", "con", "Großes X", "../x", "x" * 65])
def test_a_name_that_no_module_may_have_is_refused_and_nothing_written(
    made: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="name: expected a module name: up to 64 of a-z"):
        hub.Module(made).save(tmp_path / "x", name=name)
    assert not (tmp_path / "x").exists()


def test_the_best_of_a_run_keeps_its_name_when_it_is_loaded_and_saved(made: Path, tmp_path: Path) -> None:
    best = hub.Module(made.parent / "run" / "best")
    assert hub.Module(best.save(tmp_path / "copy")).name == best.name == "tiny_finetuned"


def test_a_module_that_got_labels_and_then_training_is_called_finetuned_once(
    made: Path, tmp_path: Path
) -> None:
    module = hub.Module(made, label_list=["dog", "cat"])
    module.finetune(samples(4), epochs=1, output_dir=tmp_path / "run", progress=False)
    assert module.name == "shapes_finetuned"


@pytest.mark.parametrize(
    "labels",
    [["a", "a"], ["a", ""], ["New\nYork", "b"], ["a", "b\u2028c"], ["a\x0b", "b"], ["caf\udce9", "b"]],
)
def test_labels_that_could_not_be_read_back_are_refused(labels: list[str]) -> None:
    arch, preprocess = {"name": "small_resnet", "width": 2}, [{"resize": {"size": 8}}, {"normalize": {}}]
    with pytest.raises(UsageError, match="labels: expected names of one line of UTF-8, each once, found"):
        hub.Module.create("x", task="image_classification", arch=arch, preprocess=preprocess, labels=labels)


def test_saving_over_something_else_is_refused(made: Path, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(StorageError, match="is no module folder"):
        hub.Module(made).save(tmp_path / "x")


def test_a_user_who_is_not_there_has_no_home(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="~nobody-at-all/x: no such weights file"):
        hub.Module(made, load_checkpoint="~nobody-at-all/x")
    hub.Module(made).save("~nobody-at-all/x")
    assert hub.Module(tmp_path / "~nobody-at-all" / "x").labels == hub.Module(made).labels


@pytest.mark.parametrize("name", ["A" * 300, "nul\0"])
def test_a_name_that_no_file_can_have_is_that_of_none(made: Path, tmp_path: Path, name: str) -> None:
    module = hub.Module(made)
    assert name in module.predict([str(tmp_path / name)])[0]["error"]
    assert name in module.predict(tmp_path / name)[0]["error"]
    with pytest.raises(StorageError):
        module.save(tmp_path / name)
    for file in (name, f"{name}.pdparams"):
        with pytest.raises(WeightsError, match="no such weights file"):
            hub.Module(made, load_checkpoint=tmp_path / file)


def test_a_module_that_was_never_saved_has_nothing_to_verify() -> None:
    with pytest.raises(SpecError, match="has no golden values to replay"):
        tiny_module().verify()


def test_a_path_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises((NotFoundError, SpecError), match="nowhere"):
        hub.Module(tmp_path / "nowhere")


def test_a_module_without_a_head_embeds_and_is_fine_tuned_but_does_not_answer(
    made: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "headless"
    loaded = bundle.load(made)
    bundle.save(folder, replace(loaded, spec=replace(loaded.spec, head=None), labels=(), head_state={}))
    module = hub.Module(folder)
    array = samples(1)[0][0]
    assert (module.embed(array) == hub.Module(made).embed(array)).all()
    for use in (module.predict, module.evaluate):
        with pytest.raises(SpecError, match="has features and no head"):
            use([array])
    module.finetune(samples(4), epochs=1, output_dir=tmp_path / "run", progress=False)
    assert module.predict(array)[0]["label"] in LABELS


def test_drawing_an_answer(made: Path) -> None:
    module = hub.Module(made)
    array = samples(1)[0][0]
    card = module.draw(array, module.predict(array)[0])
    assert card.width >= 240
    assert card.height > card.width


def test_import_hub_and_its_errors_leave_paddle_alone(python: str) -> None:
    code = "import sys, hub, hub.errors, hub.datasets, hub.transforms; print('paddle' in sys.modules); hub.nonsense"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"
    assert "module 'hub' has no attribute 'nonsense'" in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "datasets.load",
        "finetune.callbacks.Callback",
        "modules.archs.register",
        "tasks.names",
        "transforms.image",
    ],
)
def test_what_the_pages_name_is_there_after_import_hub(name: str, python: str) -> None:
    subprocess.run([python, "-c", f"import hub; hub.{name}"], check=True, timeout=60)


@pytest.mark.parametrize("name", ["finetune", "modules"])
def test_a_file_that_is_not_there_is_no_attribute(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'hub.{name}' has no attribute 'nonsense'"):
        getattr(getattr(hub, name), "nonsense")  # noqa: B009


def test_without_paddle_the_first_use_says_what_to_install(python: str) -> None:
    code = (
        "import sys; sys.modules['paddle'] = None\nimport hub\n"
        "try: hub.Module\nexcept hub.errors.HubError as error: print(error)"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60)
    assert "paddle is not installed" in done.stdout, done.stderr
    assert "pip install 'paddlepaddle<" in done.stdout


def test_the_other_project_called_hub_is_noticed(tmp_path: Path, python: str) -> None:
    (tmp_path / "hub").symlink_to(Path(hub.__file__).parent)
    (tmp_path / "hub-3.0.1.dist-info").mkdir()
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import hub"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0
    assert "PyPI's package `hub` is another project" in done.stderr


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])  # noqa: S301
def test_a_copy_answers_the_same(again: Any) -> None:
    module, given = tiny_module(), [array for array, _ in samples(2)]
    assert again(module).predict(given) == module.predict(given)
