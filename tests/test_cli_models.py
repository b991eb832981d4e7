"""`hub run`, `finetune`, `evaluate`, `verify` on a tiny real module: what stands on stdout, and the exit codes."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image

from hub import tasks
from hub.cli import evaluate, finetune, range_test, run
from hub.cli.examples import LINES, example
from hub.cli.main import main
from hub.finetune.config import SAMPLERS, STRATEGIES, Config
from hub.finetune.precision import PRECISIONS
from hub.finetune.schedules import SCHEDULES
from hub.module import Module
from hub.tasks import losses, segmentation_losses
from tests import sounds
from tests.folders import tree
from tests.pictures import LABELS, folder, tiny_module


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A module folder for the three shapes, trained for a moment."""
    path = tmp_path_factory.mktemp("made")
    data = folder(path / "data", 8)
    module = tiny_module().finetune(
        data, epochs=4, learning_rate=0.01, batch_size=8, output_dir=path / "run", progress=False
    )
    return str(module.save(path / "shapes"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return folder(tmp_path / "pictures", 2, seed=5)


# ---- run ----


def test_run_prints_a_row_for_each_input_in_order(
    shapes: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = sorted(map(str, pictures.rglob("*.png")), reverse=True)
    assert main(["run", shapes, *paths, "--top-k", "2"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["INPUT", "LABEL", "SCORE", "RUNNERS-UP"]
    assert [row.split()[0] for row in rows] == paths
    assert all(row.split()[1] in LABELS and len(row.split()) == 5 for row in rows)


@pytest.mark.parametrize("kind", ["folder", "glob", "stdin"])
def test_run_takes_folders_globs_and_stdin_and_prints_what_predict_gives(
    kind: str,
    shapes: str,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = sorted(pictures.rglob("*.png"))
    listed = io.TextIOWrapper(io.BytesIO("\n".join(map(str, paths)).encode() + b"\n"))
    monkeypatch.setattr(sys, "stdin", listed)
    given = {"folder": str(pictures), "glob": str(pictures / "*" / "*.png"), "stdin": "-"}[kind]
    assert main(["run", shapes, given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == Module(shapes).predict(paths)


def test_run_with_a_bad_input_prints_its_error_in_its_row_and_fails(
    shapes: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(sorted(pictures.rglob("*.png"))[0])
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"text")
    assert main(["run", shapes, good, str(bad), str(tmp_path / "none.png")]) == 1
    shown = capsys.readouterr()
    _, first, second, third = shown.out.splitlines()
    assert "error" not in first
    assert second.split()[:4] == [str(bad), "-", "-", "error:"]
    assert "no such file" in third
    assert shown.err.endswith("2 of 3 inputs failed\n")
    (tmp_path / "empty").mkdir()
    assert main(["run", shapes, good, str(tmp_path / "empty"), str(tmp_path / "no*.png"), "--json"]) == 1
    assert ["error" in result for result in json.loads(capsys.readouterr().out)] == [False, True, True]
    assert main(["run", shapes, str(bad), "--json"]) == 1
    assert set(json.loads(capsys.readouterr().out)[0]) == {"input", "error"}


@pytest.mark.parametrize("module", ["glyphs_cnn", "speech_cnn"])
def test_a_url_as_input_is_said_not_to_be_fetched(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    if module == "speech_cnn":
        pytest.importorskip("soundfile")
    assert main(["run", module, "https://example.org/a"]) == 1
    assert "no such file; a URL is not fetched: download it first" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["glyphs_cnn", "signs_fpn", "scenes_colorizer"])
def test_a_url_as_data_is_said_not_to_be_fetched(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", module, "https://example.org/data.zip", "--epochs", "1"]) == 1
    assert "no such file or folder; a URL is not fetched: download it first" in capsys.readouterr().err


def test_run_of_many_inputs_prints_one_table(
    shapes: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = sorted(map(str, pictures.rglob("*.png"))) * 40
    assert main(["run", shapes, *paths]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["INPUT", "LABEL", "SCORE", "RUNNERS-UP"]
    assert [row.split()[0] for row in rows] == paths
    assert rows == rows[: len(paths) // 40] * 40


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_run_shows_a_person_how_far_it_is(
    shapes: str, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, drawn in (([], True), (["--quiet"], False)):
        monkeypatch.setattr(sys, "stderr", Terminal())
        assert main(["run", shapes, str(pictures), "--json", *options]) == 0
        assert len(json.loads(capsys.readouterr().out)) == 6
        assert isinstance(sys.stderr, Terminal)
        assert ("answering: " in sys.stderr.getvalue()) is drawn


INTERRUPTED = """
import os, signal, sys
from hub.cli.main import main
def watch(event, arguments):
    if event == "open" and str(arguments[0]).endswith("004.png"):
        os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(watch)
sys.exit(main(["run", "--batch-size", "2", *sys.argv[1:]]))
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal as a shell does")
@pytest.mark.parametrize("as_json", [True, False])
def test_run_that_is_interrupted_leaves_what_is_finished(
    as_json: bool, shapes: str, pictures: Path, tmp_path: Path, python: str
) -> None:
    paths = sorted(map(str, pictures.rglob("*.png")), key=os.path.basename)  # 000 to 005
    line = [python, "-c", INTERRUPTED, shapes, *paths, "--save", str(tmp_path / "out")]
    done = subprocess.run(
        [*line, *(["--json"] if as_json else [])],
        capture_output=True, text=True, env={**os.environ, "COLUMNS": ""},
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    said = ["4 of 6 inputs were answered", f"4 pictures saved in {tmp_path / 'out'}", "interrupted"]
    assert done.stderr.splitlines() == said
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["000", "001", "002", "003"]
    if as_json:
        results = [{k: v for k, v in result.items() if k != "saved"} for result in json.loads(done.stdout)]
        assert results == Module(shapes).predict(paths, batch_size=2)[:4]
    else:
        assert [row.split()[0] for row in done.stdout.splitlines()] == ["INPUT", *paths[:4]]


@pytest.mark.skipif(os.name != "posix", reason="pipes as a shell does")
def test_run_saves_every_picture_also_when_nobody_reads_on(
    shapes: str, pictures: Path, tmp_path: Path, python: str
) -> None:
    line = [python, "-m", "hub", "run", shapes, str(pictures), "--save", str(tmp_path / "out"), "--json"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 0
    assert len(list((tmp_path / "out").iterdir())) == len(list(pictures.rglob("*.png")))


def test_run_saves_pictures_and_never_overwrites(
    shapes: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = sorted(
        pictures.rglob("*.png")
    )  # bar/000, dot/001, frame/002, bar/003, …: give some the same name
    for path in paths:
        path.rename(path.with_name(f"same{'-b' if path.stem > '002' else ''}.png"))
    before = {path: path.read_bytes() for path in pictures.rglob("*.png")}
    out = pictures / "bar"
    assert main(["run", shapes, str(pictures), "--save", str(out), "--json"]) == 0
    saved = [Path(result["saved"]) for result in json.loads(capsys.readouterr().out)]
    assert len(set(saved)) == len(before)
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in saved} == {
        f"{stem}-{number}.png" for stem in ("same", "same-b") for number in (2, 3, 4)
    }
    for path in saved:
        with Image.open(path) as picture:
            assert picture.width >= 200  # tiny ones are drawn larger, with the labels below


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["run", "--output", "out"], "'--save'"), (["finetune", "--save=out"], "'--output'")],
)
def test_the_option_that_another_command_has_for_the_output_is_understood(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([words[0], "glyphs_cnn", "a.png", *words[1:]]) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_run_refuses_to_save_into_a_file(
    shapes: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert main(["run", shapes, str(pictures), "--save", str(tmp_path / "file")]) == 2
    assert "--save: expected a folder, found the file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["run", ""],
        ["run", "a.png", ""],
        ["run", "a.png", "--save", ""],
        ["evaluate", ""],
        ["finetune", "", "--output", "run"],
        ["finetune", ".", "--output", ""],
        ["range-test", ".", "--plot", ""],
    ],
)
def test_an_empty_text_is_not_the_working_directory(
    shapes: str, pictures: Path, words: list[str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(pictures)
    before = tree(pictures)
    assert main([words[0], shapes, *words[1:]]) != 0
    found = capsys.readouterr()
    assert "expected a path" in found.err
    assert "found an empty text" in found.err
    assert found.out == ""
    assert tree(pictures) == before


def test_run_refuses_a_folder_that_cannot_be_made_before_it_answers(
    shapes: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert main(["run", shapes, str(pictures), "--save", str(tmp_path / "file" / "below")]) == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert "hint: choose another folder" in found.err


def test_run_refuses_as_an_option_what_is_no_matter_of_the_task(
    shapes: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("self", "given", "batch_size", "precision"):
        assert main(["run", shapes, str(pictures), "--option", f"{name}=1"]) == 2
        shown = capsys.readouterr().err
        assert f"--option: expected what the module's task takes, found {name}" in shown
        assert "hub run --help" in shown


def test_run_prints_every_answer_when_a_picture_of_one_cannot_be_saved(
    shapes: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = pictures / f"{'x' * 245}.png"  # with what is added while it is written, the name is too long
    shutil.copy(next(pictures.rglob("*.png")), long)
    count = len(Module(shapes).predict(pictures))
    assert main(["run", shapes, str(pictures), "--save", str(tmp_path / "out"), "--json"]) == 1
    found = capsys.readouterr()
    results = json.loads(found.out)
    assert [result["input"] for result in results if "saved" not in result] == [str(long)]
    assert all("label" in result for result in results)
    assert f"{long}: not saved: " in found.err
    assert f"{count - 1} pictures saved" in found.err


def test_run_without_paths_on_stdin_is_wrong_usage(
    shapes: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    assert main(["run", shapes, "-"]) == 2
    assert "expected an input a line on stdin, found none" in capsys.readouterr().err


def test_run_of_an_unknown_module_fails_with_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "no_such_module_anywhere", "a.png"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "no_such_module_anywhere" in shown.err


def test_run_shows_every_label_that_holds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    module = tiny_module(labels=["a", "b", "c"], multi_label=True)
    made, pictures = module.save(tmp_path / "several"), folder(tmp_path / "p", 1)
    assert main(["run", str(made), str(pictures)]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    results = Module(made).predict(pictures)
    for row, result in zip(rows, results, strict=True):
        assert f"  {', '.join(result['labels']) or '(none)'}  " in row
        assert all(label in row for label in "abc")


def test_run_has_a_column_for_each_question(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ["top/dot", "top/bar", "tone/light", "tone/dark"]
    made = tiny_module(task="multi_task_image_classification", labels=labels).save(tmp_path / "two")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert main(["run", str(made), str(pictures), str(tmp_path / "broken.png")]) == 1
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["INPUT", "TOP", "TONE"]
    for row, result in zip(rows, Module(made).predict(pictures), strict=False):
        found = [f"{result[name]['label']} {result[name]['score']:.4f}" for name in ("top", "tone")]
        assert row.split()[1:] == " ".join(found).split()
    assert "error: " in rows[-1]
    assert "broken.png" in rows[-1]


def test_run_has_a_column_for_each_thing_known_of_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.linear_gradient("L").save("grey.png")
    assert main(["run", "signs_fpn", "grey.png"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["INPUT", "AREAS", "SAVED", "MASK"]
    areas = Module("signs_fpn").predict(["grey.png"])[0]["areas"]
    assert f"ground {areas['ground']:.1%}" in row
    assert [Path(word).is_file() for word in row.split()[-2:]] == [True, True]
    assert main(["run", "scenes_colorizer", "grey.png"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["INPUT", "COLOURFULNESS", "SAVED"]
    assert float(row.split()[1]) >= 0


@pytest.mark.parametrize("kind", ["pictures", "masks"])
def test_a_person_sees_that_data_are_checked(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "masks":
        name, data = "signs_fpn", tmp_path / "data"
        for number in range(6):
            for part, picture in (
                ("images", Image.linear_gradient("L")),
                ("masks", Image.new("L", (256, 256))),
            ):
                picture.paste(number % 2, (0, 0, 99, 99))
                (data / part).mkdir(parents=True, exist_ok=True)
                picture.save(data / part / f"{number}.png")
    else:
        name, data = str(tiny_module().save(tmp_path / "tiny")), folder(tmp_path / "data", 4)
    lines = [
        [
            "finetune",
            name,
            str(data),
            "--epochs",
            "1",
            "--strategy",
            "probe",
            "--output",
            str(tmp_path / "run"),
        ]
    ]
    lines.append(["evaluate", str(tmp_path / "run" / "best"), str(data)])
    for line in lines:
        said = []
        for options in ([], ["--quiet"]):
            monkeypatch.setattr(sys, "stderr", Terminal())
            assert main([*line, *options]) == 0
            assert isinstance(sys.stderr, Terminal)
            said.append(sys.stderr.getvalue())
        assert "checking: " in said[0]
        assert ("digests: " in said[0]) is (line[0] == "finetune")
        assert ("masks of train: " in said[0]) is (kind == "masks")
        assert said[1] == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    Module(name).finetune(
        str(data), epochs=1, strategy="probe", progress=False, output_dir=tmp_path / "silent"
    )
    assert isinstance(sys.stderr, Terminal)
    assert sys.stderr.getvalue() == ""


# ---- show ----


def write_what_examples_name() -> None:
    """Write small data under the names that the examples of `hub show` have."""
    rng = np.random.default_rng(0)
    for name in ("my_pictures", "new_pictures"):
        for path in folder(Path(name), 3).rglob("*.png"):
            with Image.open(path) as grey:
                Image.merge(
                    "RGB", [grey, grey.point(lambda value: value // 2), Image.new("L", grey.size)]
                ).save(path)
    for name in ("my_sounds", "new_sounds"):
        sounds.folder(Path(name), 3)
    for part in ("images", "masks"):
        Path("my_scenes", part).mkdir(parents=True)
    for number in range(5):
        mask = np.zeros((48, 64), np.uint8)
        mask[10:30, 5 * number : 5 * number + 20] = 1
        scene = (100 * mask[..., None] + rng.integers(0, 60, (48, 64, 3))).astype(np.uint8)
        Image.fromarray(scene).save(f"my_scenes/images/{number}.png")
        Image.fromarray(mask).save(f"my_scenes/masks/{number}.png")
    for name in ("new.png", "my_style.png"):
        Image.fromarray(scene).save(name)
    texts = [f"{label} {number},{label}" for number in range(6) for label in ("good", "bad")]
    Path("my_texts.csv").write_text("\n".join(["text,label", *texts]), encoding="utf-8")


@pytest.mark.parametrize(
    ("module", "made"),
    [
        ("glyphs_cnn", []),
        ("speech_cnn", []),
        ("sentences_static", []),
        ("signs_fpn", ["answer.png"]),
        ("scenes_colorizer", ["painted.png"]),
        ("textures_stylizer", ["painted.png"]),
    ],
)
def test_the_lines_that_show_ends_with_run(
    module: str, made: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    for library in {"speech_cnn": ["soundfile"], "sentences_static": ["tokenizers"]}.get(module, []):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    write_what_examples_name()
    assert main(["show", module]) == 0
    lines = [line[4:] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    exec("\n".join(lines), {})  # noqa: S102 - as the person who copies them
    assert Module("./my_module").name == "my_module"
    assert all(Path(name).is_file() for name in made)
    if module == "glyphs_cnn":
        accuracy, *rows = capsys.readouterr().out.splitlines()
        assert 0 <= float(accuracy) <= 1
        assert len(rows) == 9


def test_every_task_has_lines_to_start_from() -> None:
    assert set(LINES) == set(tasks.names())
    for task in LINES:
        compile(example(task, "name"), task, "exec")


# ---- evaluate ----


def test_evaluate_prints_metrics_classes_and_matrix(
    shapes: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", shapes, str(pictures), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert main(["evaluate", shapes, str(pictures)]) == 0
    numbers, classes, matrix = capsys.readouterr().out.strip().split("\n\n")
    assert f"accuracy{metrics['accuracy']:.4f}" in numbers.replace(" ", "")
    assert [line.split()[0] for line in classes.splitlines()] == ["CLASS", *LABELS]
    counts = [[int(cell) for cell in line.split()[1:]] for line in matrix.splitlines()[1:]]
    assert counts == metrics["confusion_matrix"]


def test_evaluate_says_which_of_several_likely_columns_was_read(
    shapes: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{path},{path.parent.name},x" for path in sorted(pictures.rglob("*.png"))]
    (tmp_path / "data.csv").write_text("\n".join(["path,label,category", *rows]), encoding="utf-8")
    assert main(["evaluate", shapes, str(tmp_path / "data.csv")]) == 0
    said = "path: 'path', label: 'label'; likely columns besides: 'category'"
    assert said in capsys.readouterr().err
    for data, found in ((tmp_path / "data.csv", said), (pictures, None)):
        assert main(["evaluate", shapes, str(data), "--json"]) == 0
        assert json.loads(capsys.readouterr().out).get("taken") == found


def test_evaluate_takes_one_of_several_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = [f"{question}/{label}" for question in ("top", "below") for label in LABELS]
    made = tiny_module(task="multi_task_image_classification", labels=labels).save(tmp_path / "two")
    data = folder(tmp_path / "data", 2)
    assert main(["evaluate", str(made), f"below={data}"]) == 0
    numbers, classes, matrix = capsys.readouterr().out.strip().split("\n\n")
    assert "below_accuracy" in numbers
    assert "top_accuracy" not in numbers
    for shown in (classes, matrix):
        assert [line.split()[0] for line in shown.splitlines()[1:]] == labels


def test_many_classes_are_cut_to_the_worst_and_the_most_confused() -> None:
    labels = [f"class {n:03d}" for n in range(120)]
    matrix = [[0] * 120 for _ in labels]
    for n in range(120):
        matrix[n][n] = 100 - n % 50
        matrix[n][(n + 1) % 120] = n % 50
    metrics = {
        "accuracy": 0.5,
        "per_class": {
            name: {"precision": 0.5, "recall": 0.5, "f1": n / 120, "count": 100}
            for n, name in enumerate(labels)
        },
        "confusion_matrix": matrix,
    }
    classes, confusions = evaluate.details(metrics)
    shown = [line[:9] for line in classes.splitlines()[1:-1]]
    assert shown == labels[: evaluate.MOST_CLASSES]
    assert classes.endswith("the 15 lowest F1 of 120 classes; --json has them all")
    assert confusions.splitlines()[1].split() == ["class", "049", "class", "050", "49"]
    assert len(confusions.splitlines()) == 1 + evaluate.MOST_CONFUSIONS + 1


def test_a_matrix_that_does_not_fit_the_terminal_becomes_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    per_class = {name: {"f1": 1.0} for name in ("a long class name", "another long class name")}
    metrics = {"per_class": per_class, "confusion_matrix": [[5, 1], [0, 4]]}
    monkeypatch.setenv("COLUMNS", "100")
    assert "RIGHT \\ FOUND" in evaluate.details(metrics)[1]
    monkeypatch.setenv("COLUMNS", "50")
    assert evaluate.details(metrics)[1].splitlines()[1].split()[-1] == "1"


# ---- range-test ----


def test_range_test_suggests_a_rate_draws_the_curve_and_keeps_nothing(
    shapes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = folder(tmp_path / "train", 6)
    before = tree(Path(shapes))
    line = [
        "range-test",
        shapes,
        str(train),
        "--batch-size",
        "6",
        "--low",
        "1e-5",
        "--seed",
        "3",
        "--loss",
        "focal",
    ]
    assert main([*line, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["rates"][0] == pytest.approx(1e-5)
    assert len(data["rates"]) == len(data["losses"]) == len(data["smoothed"]) <= 60
    assert 1e-5 < data["suggestion"] < 1
    pytest.importorskip("matplotlib")
    assert main([*line, "--plot", str(tmp_path / "rates.png")]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == f"learning rate  {data['suggestion']:.2g}"
    rest = f"--batch-size 6 --seed 3 --loss focal --learning-rate {data['suggestion']:.2g}"
    assert shown.err.splitlines()[-1] == f"use it: hub finetune {shapes} {train} {rest}"
    with Image.open(tmp_path / "rates.png") as picture:
        assert picture.width > picture.height > 300
    assert tree(Path(shapes)) == before
    assert main([*line, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("--steps 3", 2, "steps"),
        ("--strategy prob", 2, "did you mean 'probe'"),
        ("--low 1 --high 0.1", 2, "low"),
        ("--epochs 3", 2, "takes no option '--epochs'"),
        ("--freeze backbon", 2, "did you mean 'backbone'"),
        *(
            (f"--option {name}=1", 2, f"--option: expected what the module's task takes, found {name}")
            for name in ("self", "train", "low", "steps", "seed", "strategy", "dropout", "teacher", "test")
        ),
        *(
            (f"--option {name}=1", 2, f"hub range-test has no use for {name}: leave it out")
            for name in (
                "schedule",
                "warmup",
                "average",
                "views",
                "metric",
                "teacher",
                "epochs",
                "output_dir",
                "output",
            )
        ),
        *(
            (f"--option {name}=1", 2, "hub range-test --help lists what has an option of its own")
            for name in ("strategy", "seed", "dropout", "low", "task", "json")
        ),
        ("--option stile=red.png", 2, "range_test takes no argument 'stile'"),
    ],
)
def test_range_test_refuses_what_is_no_sweep(
    options: str, code: int, message: str, shapes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = folder(tmp_path / "train", 4)
    assert main(["range-test", shapes, str(train), *options.split()]) == code
    assert message in capsys.readouterr().err


def test_range_test_sweeps_the_head_alone_for_the_run_of_a_probe(
    shapes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(folder(tmp_path / "train", 6))
    # Rates at which a head alone learns, and at which a whole network has long exploded.
    assert main(["range-test", shapes, data, "--strategy", "probe", "--high", "10", "--json"]) == 0
    shown = capsys.readouterr()
    suggestion = json.loads(shown.out)["suggestion"]
    assert suggestion == Module(shapes).range_test(data, strategy="probe", high=10, progress=False).suggestion
    assert suggestion != Module(shapes).range_test(data, high=10, progress=False).suggestion
    rest = f"--strategy probe --learning-rate {suggestion:.2g}"
    assert shown.err.splitlines()[-1] == f"use it: hub finetune {shapes} {data} {rest}"


# ---- finetune ----


def test_the_options_are_those_of_module_finetune() -> None:
    parameters = dict(inspect.signature(Module.finetune).parameters)
    for name in (
        "self",
        "train",
        "callbacks",
        "progress",
        "more",
    ):  # the module, DATA, code, --quiet, and MORE
        del parameters[name]
    assert set(finetune.OPTIONS) == set(parameters)
    assert set(finetune.MORE) == {field.name for field in dataclasses.fields(Config)} - set(parameters)
    for name, parameter in parameters.items():
        default, told = parameter.default, finetune.OPTIONS[name]["help"]
        if isinstance(default, str | int | float) and not isinstance(default, bool):
            assert f"(default {default})" in told
    for field in dataclasses.fields(Config):
        default, told = field.default, finetune.MORE.get(field.name, {}).get("help")
        if told and isinstance(default, str | int | float) and not isinstance(default, bool):
            assert (
                f"(default {default:g}" in told
                if isinstance(default, float)
                else f"(default {default}" in told
            )


WORDS: dict[str, Any] = {
    "strategy": STRATEGIES,
    "sampler": SAMPLERS,
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
    "loss": {*losses.LOSSES, *segmentation_losses.LOSSES, "contrastive"},
    "on_bad": get_args(get_type_hints(Module.finetune)["on_bad"]),
}


def test_the_words_of_an_option_are_those_that_there_are() -> None:
    options = finetune.OPTIONS | finetune.MORE
    told = {name: how.get("metavar") or "" for name, how in options.items()}
    assert {name for name, words in told.items() if re.fullmatch("[a-z0-9_]+([|][a-z0-9_]+)+", words)} == set(
        WORDS
    )
    for name, words in WORDS.items():
        assert set(told[name].split("|")) == set(words), name
        assert [options[name]["type"](word) for word in words] == [*words]


@pytest.mark.parametrize(
    ("command", "method", "elsewhere"),
    [
        (run, Module.predict, {"given", "options"}),
        (evaluate, Module.evaluate, {"data"}),
        (
            range_test,
            Module.range_test,
            {"train", "progress", "settings", "multi_label", "on_bad", "seed", "workers"},
        ),
    ],
)
def test_options_have_the_defaults_of_the_method(
    command: ModuleType, method: Any, elsewhere: set[str]
) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    parameters = set(inspect.signature(method).parameters) - elsewhere - {"self"}
    assert {name: parser.get_default(name) for name in parameters} == {
        name: inspect.signature(method).parameters[name].default for name in parameters
    }


def test_finetune_takes_what_the_task_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for n in range(3):
        Path("content").mkdir(exist_ok=True)
        Image.effect_noise((64, 64), 50).convert("RGB").save(f"content/{n}.png")
    Image.new("RGB", (128, 128), "red").save("red.png")
    words = [
        "finetune",
        "textures_stylizer",
        "content",
        "--epochs",
        "1",
        "--output",
        "run",
        "--valid",
        "none",
    ]
    assert main([*words, "--option", "style=red.png", "--option", "style_weight=2"]) == 0
    painted = Module("./run/best").predict(Path("content/0.png"), style=0)[0]["picture"]
    other = Module("./run/best").predict(Path("content/0.png"), style="red.png")[0]["picture"]
    assert np.array_equal(painted, other), "the style that was named is the one that is kept"
    capsys.readouterr()
    assert main([*words, "--option", "epochs=2"]) == 2
    assert "expected what the module's task takes, found epochs" in capsys.readouterr().err
    assert main([*words, "--option", "stile=red.png"]) == 2
    assert "did you mean 'style'" in capsys.readouterr().err


def test_finetune_takes_the_parts_of_several_questions_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = str(tiny_module().save(tmp_path / "tiny"))
    for name, each in (("shape", 3), ("form", 3), ("more", 1), ("held", 2)):
        folder(tmp_path / name, each)
    words = ["finetune", made, "shape=shape", "form=form", "--strategy", "probe", "--epochs", "1", "--json"]
    parts = ["--valid", "shape=more", "--valid", "form=more", "--test", "form=held"]
    assert main([*words, *parts, "--option", 'task_weights={"form": 0.5}']) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"shape_accuracy", "form_accuracy"} <= set(found["metrics"])
    assert "form_accuracy" in found["test_metrics"]
    assert "shape_accuracy" not in found["test_metrics"]
    assert main([*words, "--valid", "more", "--valid", "held"]) == 2
    assert "expected one set, or QUESTION=DATA for each of several, found 'more'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("balanced", "balanced"),
        ("cat=2", {"cat": 2.0}),
        ("cat=2,dog=0.5", {"cat": 2.0, "dog": 0.5}),
        ("a=b=3", {"a=b": 3.0}),
        ("cats, big=2,dog=0.5", {"cats, big": 2.0, "dog": 0.5}),
    ],
)
def test_class_weights(text: str, weights: object) -> None:
    assert finetune.class_weight(text) == weights


def test_finetune_trains_saves_and_says_how_to_use_it(
    shapes: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = folder(tmp_path / "train", 6)
    options = f"--epochs 2 --batch-size 6 --learning-rate 0.01 --strategy full --seed 3 --no-augment --test {pictures}"
    line = ["finetune", shapes, str(train), *options.split(), "--output"]
    assert main([*line, str(tmp_path / "a"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["module"] == str(tmp_path / "a" / "best")
    assert [row["epoch"] for row in data["history"]][-1] == 2
    assert set(data["test_metrics"]["per_class"]) == set(LABELS)

    assert main([*line, str(tmp_path / "b")]) == 0
    shown = capsys.readouterr()
    heading, *rows = shown.out.splitlines()
    assert heading.split() == ["METRIC", "VALID", "TEST"]
    accuracy = next(row.split()[1:] for row in rows if row.startswith("accuracy "))
    assert [float(value) for value in accuracy] == pytest.approx(
        [data["metrics"]["accuracy"], data["test_metrics"]["accuracy"]], abs=1e-4
    )
    assert rows[-1].split() == ["module", str(tmp_path / "b" / "best")]
    assert f"hub run {tmp_path / 'b' / 'best'} " in shown.err
    assert main(["run", str(tmp_path / "b" / "best"), str(pictures)]) == 0


def test_finetune_turns_an_encoder_to_another_task_and_run_takes_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tokenizers")
    pairs = [("a red car", "a crimson car"), ("cold tea", "chilly tea"), ("cold tea", "a crimson car")] * 8
    rows = [f"{a}\t{b}\t{'different' if 'tea' in a and 'car' in b else 'same'}" for a, b in pairs]
    (tmp_path / "train.tsv").write_text("\n".join(["text_a\ttext_b\tlabel", *rows]), encoding="utf-8")
    line = f"finetune sentences_static {tmp_path}/train.tsv --epochs 1 --output {tmp_path}/run"
    assert main([*line.split(), "--task", "siamese_matching"]) == 0
    capsys.readouterr()
    assert main(["run", f"{tmp_path}/run/best", "cold tea\tchilly tea", "cold tea\ta car", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["similarity"] > second["similarity"]
    assert main(["finetune", "sentences_static", "x", "--task", "siamese"]) == 2
    assert "siamese_matching" in capsys.readouterr().err


def test_columns_can_be_named_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tokenizers")
    lines = [f"{'good' if n % 2 else 'bad'} thing {n},{'yes' if n % 2 else 'no'}" for n in range(40)]
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("\n".join(["remark,liked", *lines]), encoding="utf-8")
    train, test, best = tmp_path / "train.csv", tmp_path / "test.csv", tmp_path / "run" / "best"
    columns = ["--text-column", "remark", "--label-column", "liked"]
    line = f"finetune sentences_static {train} --test {test} --epochs 1 --output {tmp_path}/run --json"
    assert main([*line.split(), "--task", "text_classification"]) == 1
    assert "add a header, or name it: " in capsys.readouterr().err
    assert main([*line.split(), "--task", "text_classification", *columns]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["test_metrics"]["count"] == 40
    command = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))["command"]
    assert f"hub.datasets.Table('{train}', text_column='remark', label_column='liked')" in command
    assert main(["evaluate", str(best), str(test), *columns, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == told["test_metrics"]["accuracy"]
    assert main(["evaluate", str(best), str(test), *columns, *["--text-column", "x"] * 2]) == 2
    assert "--text-column: expected one, or two for pairs of texts, found 3" in capsys.readouterr().err


def test_finetune_is_quiet_when_told(shapes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = folder(tmp_path / "train", 4)
    line = [
        "finetune",
        shapes,
        str(train),
        "--epochs",
        "1",
        "--valid",
        "none",
        "--output",
        str(tmp_path / "a"),
    ]
    assert main([*line, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_finetune_goes_on_when_the_reader_of_its_talk_has_gone(
    shapes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    line = [
        "finetune",
        shapes,
        str(folder(tmp_path / "data", 4)),
        "--epochs",
        "2",
        "--strategy",
        "probe",
        "--json",
    ]
    with os.fdopen(writing, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        assert main([*line, "--output", str(tmp_path / "run")]) == 0
    assert json.loads(capsys.readouterr().out)


def test_finetune_takes_a_folder_whose_name_is_not_utf8(
    shapes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = folder(tmp_path / "d\udce9", 4), tmp_path / "run"
    line = ["finetune", shapes, str(data), "--epochs", "1", "--strategy", "probe", "--output", str(out)]
    assert main([*line, "--quiet"]) == 0
    assert r"d\udce9" in (out / "best" / "README.md").read_text(encoding="utf-8")
    assert json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("--epochs 0", 2, "epochs"),
        ("--metric acuracy", 2, "did you mean 'accuracy'"),
        ("--freeze -1", 2, "freeze: expected 0 to 5 groups, found -1"),
        ("--batch-size -1", 2, "batch_size: expected a whole number of at least 1 or 'auto', found -1"),
        ("--class-weight bra=2", 2, "did you mean 'bar'"),
        ("--device gpu", 1, "gpu"),
        ("--valid /no/such/folder", 1, "/no/such/folder"),
    ],
)
def test_finetune_refuses_before_training(
    options: str, code: int, message: str, shapes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = folder(tmp_path / "train", 4)
    assert main(["finetune", shapes, str(train), "--output", str(tmp_path / "o"), *options.split()]) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""
    assert not (tmp_path / "o" / "best").exists()


def test_ctrl_c_in_an_epoch_keeps_the_best_and_says_where(shapes: str, python: str, tmp_path: Path) -> None:
    train = folder(tmp_path / "train", 8)
    command = [python, "-m", "hub", "finetune", shapes, str(train), "--epochs", "100000", "--output"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "o")], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr
    seen = ""
    while "epoch   2/" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert str(tmp_path / "o" / "best") in err
    assert "Traceback" not in err
    assert len(Module(str(tmp_path / "o" / "best")).labels) == len(LABELS)


# ---- verify ----


def test_verify_passes_a_good_module_and_names_a_changed_file(
    shapes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(shapes, broken)
    weights = broken / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert main(["verify", shapes]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == [shapes, "ok"]
    assert main(["verify", shapes, str(broken), "--json"]) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["ok"], bad["ok"]) == (True, False)
    assert "weights.safetensors" in bad["found"]


def test_verify_names_a_module_that_is_not_there_among_others(
    shapes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tmp_path / "none"), shapes]) == 1
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == [str(tmp_path / "none"), "FAILED"]
    assert second.split()[:2] == [shapes, "ok"]
    assert main(["verify", shapes, "../none"]) == 2
    assert capsys.readouterr().out == ""


def test_without_paddle_the_command_says_what_to_install(python: str) -> None:
    start = "import sys; sys.modules['paddle'] = None; from hub.cli.main import main"
    code = f"{start}; sys.exit(main(['run', 'm', 'a.png']))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: paddle is not installed\nhint: pip install 'paddlepaddle<")
