"""Published data sets by name: what a name stands for wherever data is given, what is refused before a download."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hub
from hub import tasks
from hub.cli.main import main
from hub.datasets import builtin, load
from hub.datasets.by_task import prepare_evaluation_for, prepare_for
from hub.datasets.splits import Splits
from hub.errors import DataError, OfflineError, UsageError
from tests import pictures, sounds

Publish = Callable[..., Path]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def paint(path: Path, seed: int, side: int = 32) -> str:
    """Write a coloured picture that no other seed gives; give its name for a list file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (side // 8, side // 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return path.name


# ---- small archives of the published shapes ----


def esc50(folder: Path) -> None:
    folder.mkdir(parents=True)
    for part, each in (("train", 2), ("dev", 1)):
        waves, labels = zip(
            *((sounds.sound(label, n), k) for n in range(each) for k, label in enumerate(sounds.LABELS)),
            strict=True,
        )
        np.savez(folder / f"{part}.npz", waveforms=np.stack(waves), labels=np.array(labels))


def flowers(folder: Path) -> None:
    """Bars, dots and frames, in the place of flowers: 6 for training, 3 for validation, 9 for the test."""
    for seed, (part, each) in enumerate((("train", 2), ("validate", 1), ("test", 3)), 1):
        lines = []
        for number, (array, label) in enumerate(pictures.samples(each, seed=seed)):
            path = folder / label / f"{part}{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
            lines.append(f"{label}/{path.name} {pictures.LABELS.index(label)}")
        write(folder / f"{part}_list.txt", "\n".join(lines))
    write(folder / "label_list.txt", "\n".join(pictures.LABELS))


def tables(header: str, line: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for part, count in (("train", 6), ("dev", 4), ("test", 2)):
            rows = [header, *(line.format(n=n % 2, part=part, number=n) for n in range(count))]
            write(folder / f"{part}.tsv", "\n".join(rows) + "\n")

    return make


def optic_discs(folder: Path) -> None:
    number = 0
    for part, count in (("train", 4), ("val", 2), ("test", 1)):
        lines = []
        for _ in range(count):
            number += 1
            paint(folder / "JPEGImages" / f"H{number:04d}.jpg", number)
            mask = np.zeros((32, 32), np.uint8)
            mask[8 : 8 + number, 8:20] = 1
            (folder / "Annotations").mkdir(exist_ok=True)
            Image.fromarray(mask).save(folder / "Annotations" / f"H{number:04d}.png")
            lines.append(f"JPEGImages/H{number:04d}.jpg Annotations/H{number:04d}.png")
        write(folder / f"{part}_list.txt", "\n".join(lines))


def unlabelled(**counts: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for first, (part, count) in enumerate(counts.items()):
            for number in range(count):
                paint(folder / part / f"{number}.jpg", 100 * first + number)

    return make


SHAPES: dict[str, Callable[[Path], None]] = {
    "ESC50": esc50,
    "Flowers": flowers,
    "ChnSentiCorp": tables("label\ttext_a", "{n}\t第 {number} 间房 {part}"),
    "LCQMC": tables("text_a\ttext_b\tlabel", "你好 {part}\t您好 {number}\t{n}"),
    "MSRA_NER": tables("text_a\tlabel", "在\x02厦\x02门{number}{part}\tO\x02B-LOC\x02I-LOC"),
    "OpticDiscSeg": optic_discs,
    "Canvas": unlabelled(train=5, test=2),
    "MiniCOCO": unlabelled(**{"train": 5, "test": 2, "21styles": 3}),
}  # fmt: skip


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Put a small archive of the published shape where the data set is said to be; the working directory is empty."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def publish(*names: str) -> Path:
        for name in names:
            chosen = builtin.BUILT_IN[name]
            folder = tmp_path / "made" / chosen.folder
            SHAPES[name](folder)
            archive = tmp_path / "server" / chosen.url.rpartition("/")[2]
            archive.parent.mkdir(exist_ok=True)
            if archive.suffix == ".zip":
                with zipfile.ZipFile(archive, "w") as packed:
                    for path in sorted(folder.rglob("*")):
                        packed.write(path, path.relative_to(folder.parent))
            else:
                with tarfile.open(archive, "w:gz") as tar:
                    tar.add(folder, chosen.folder)
            monkeypatch.setitem(builtin.BUILT_IN, name, replace(chosen, url=archive.as_uri()))
        return work

    return publish


def sizes(*parts: Any) -> tuple[int | None, ...]:
    return tuple(None if part is None else len(part) for part in parts)


# ---- what a name stands for ----


def test_there_is_a_shape_for_every_name() -> None:
    assert set(SHAPES) == set(builtin.BUILT_IN)


@pytest.mark.parametrize(
    ("name", "parts", "measured"),
    [
        ("ESC50", (6, 3, None), 3),
        ("Flowers", (6, 3, 9), 9),
        ("ChnSentiCorp", (6, 4, 2), 2),
        ("LCQMC", (6, 4, 2), 2),
        ("MSRA_NER", (6, 4, 2), 2),
        ("OpticDiscSeg", (4, 2, 1), 1),
        ("Canvas", (4, 1, 2), 2),  # one of the five for training is held out
        ("MiniCOCO", (4, 1, 2), 2),  # its styles are no content
    ],
)
def test_a_name_gives_the_parts_as_published(
    published: Publish, name: str, parts: tuple[int | None, ...], measured: int
) -> None:
    published(name)
    inputs = builtin.BUILT_IN[name].inputs
    found = prepare_for(inputs, name, multi_label=None)
    assert sizes(found.train, found.valid, found.test) == parts
    assert f"{name}: " in found.describe().splitlines()[0], "the report says the name, not a folder"
    tested = prepare_evaluation_for(inputs, name, labels=found.train.labels, multi_label=False)
    assert len(tested) == measured
    if found.test is not None:
        assert [tested.origin(i) for i in range(len(tested))] == [
            found.test.origin(i) for i in range(len(tested))
        ]


def test_classes_have_the_names_that_are_published(published: Publish) -> None:
    published("ESC50", "Flowers", "OpticDiscSeg")
    assert prepare_for("masks", "OpticDiscSeg", multi_label=None).train.labels == ("background", "optic_disc")
    assert prepare_for("sounds", "ESC50", multi_label=None).train.labels == builtin.ESC50_LABELS
    found = prepare_for("pictures", "Flowers", multi_label=None)
    assert [found.train.labels[sample.label] for sample in found.train] == [*pictures.LABELS] * 2  # type: ignore[index]


def test_what_the_user_gives_goes_before_the_published_parts(published: Publish, tmp_path: Path) -> None:
    published("Flowers")
    mine = pictures.folder(tmp_path / "mine", 4, seed=9)
    found = prepare_for("pictures", "Flowers", multi_label=None, valid=mine, test=False)
    assert sizes(found.train, found.valid, found.test) == (6, 12, None)
    found = prepare_for("pictures", mine, multi_label=None, valid=False, test="Flowers")
    assert sizes(found.train, found.valid, found.test) == (12, None, 9)
    assert found.test is not None
    assert (found.train.name, found.test.name) == (str(mine), "Flowers")


def test_pictures_with_labels_serve_where_labels_are_not_looked_at(published: Publish) -> None:
    published("Flowers")
    found = prepare_for("unlabelled", "Flowers", multi_label=None)
    assert sizes(found.train, found.valid, found.test) == (6, 3, 9)


def test_a_name_may_be_one_of_several_sets(published: Publish, tmp_path: Path) -> None:
    published("Flowers")
    colours = [
        (Image.new("L", (16, 16), shade), "dark" if shade < 99 else "light") for shade in range(0, 200, 20)
    ]
    found = prepare_for("pictures", {"shape": "Flowers", "shade": colours}, multi_label=None, grouped=True)
    assert found.train.labels == ("shape/bar", "shape/dot", "shape/frame", "shade/dark", "shade/light")
    assert sizes(found.train, found.valid, found.test) == (6 + 8, 3 + 2, 9)
    assert "shape: Flowers" in found.describe()
    with pytest.raises(UsageError, match="ESC50 holds sounds"):
        prepare_for("pictures", {"shape": "Flowers", "noise": "ESC50"}, multi_label=None, grouped=True)


def test_load_takes_a_name_too(published: Publish) -> None:
    published("ESC50")
    found = load("ESC50", "sounds")
    assert isinstance(found, Splits)
    assert found.describe().startswith("ESC50: 9 samples, 50 classes")
    turned = load("ESC50", "sounds", labels=["cow", "pig", "dog", "rooster"]).train
    assert [turned.labels[sample.label] for sample in turned] == ["dog", "rooster", "pig"] * 2  # type: ignore[index]
    with pytest.raises(UsageError, match="ESC50 holds sounds, the task learns from texts"):
        load("ESC50", "texts")


# ---- what is no name ----


def test_a_folder_or_file_of_that_name_comes_first(published: Publish) -> None:
    work = published("Flowers", "ChnSentiCorp")
    pictures.folder(work / "Flowers", 3)
    write(work / "ChnSentiCorp", "not a table")
    assert load("Flowers").train.labels == pictures.LABELS
    assert len(load("Flowers").train) == 9
    with pytest.raises(DataError, match="ChnSentiCorp: a suffixless file is no dataset"):
        load("ChnSentiCorp", "texts")
    for path in (Path("LCQMC"), "./LCQMC", "LCQMC/"):
        with pytest.raises(DataError, match="no such file or folder"):
            load(path, "pairs")
    assert builtin.size_of("Flowers") is None, "nothing was fetched"


@pytest.mark.parametrize(
    ("inputs", "data", "message", "hint"),
    [
        ("pictures", "ESC50", "ESC50 holds sounds, the task learns from pictures with labels", "there is Flowers;"),
        ("masks", "Flowers", "Flowers holds pictures with labels, the task learns from pictures with masks",
         "there is OpticDiscSeg;"),
        ("pictures", "Canvas", "Canvas holds pictures without labels", "fetch('Canvas')"),
        ("texts", "LCQMC", "LCQMC holds pairs of texts, the task learns from texts", "there is ChnSentiCorp;"),
        ("boxes", "Flowers", "Flowers holds pictures with labels, the task learns from boxes", "hub.datasets.builtin"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("role", ["train", "valid", "test"])
def test_a_set_of_another_kind_is_refused_before_any_download(
    published: Publish, empty_home: Path, role: str, inputs: str, data: str, message: str, hint: str
) -> None:
    published()
    own = next((name for name, each in builtin.BUILT_IN.items() if each.inputs == inputs), data)
    given = {"train": own} | {role: data}
    with pytest.raises(UsageError, match=message) as caught:
        prepare_for(inputs, given.pop("train"), multi_label=None, **given)
    assert hint in caught.value.hint
    assert not (empty_home / "hub" / "datasets").exists()


@pytest.mark.parametrize(
    ("word", "hint"),
    [("esc50", "'ESC50'"), ("ESC-50", "'ESC50'"), ("Flower", "'Flowers'"), ("OpticDisc", "'OpticDiscSeg'")],
)
@pytest.mark.parametrize("inputs", ["sounds", "masks", "unlabelled", "tagged"])
def test_a_slip_is_told_from_a_path(published: Publish, inputs: str, word: str, hint: str) -> None:
    published()
    with pytest.raises(
        DataError, match=f"{word}: no such file or folder, and no published data set"
    ) as caught:
        prepare_for(inputs, word, multi_label=None)
    assert caught.value.hint == f"did you mean {hint}?"


def test_a_name_unlike_any_gets_the_usual_error_and_so_does_one_like_a_folder_here(
    published: Publish,
) -> None:
    work = published()
    with pytest.raises(DataError) as caught:
        prepare_for("pictures", "zebras", multi_label=None)
    assert caught.value.message == "zebras: no such file or folder"
    (work / "my_flowers").mkdir()
    with pytest.raises(DataError, match="flowers: no such file or folder") as caught:
        prepare_for("pictures", "flowers", multi_label=None)
    assert caught.value.hint == "did you mean 'my_flowers'?"


# ---- fetching ----


def test_without_a_network_it_says_so_and_what_is_here_is_used(
    published: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    published("Flowers")
    load("Flowers")
    monkeypatch.setenv("HUB_OFFLINE", "1")
    assert sizes(*load("Flowers")) == (6, 3, 9)
    with pytest.raises(
        OfflineError, match=r"esc50\.tar\.gz: this needs the network, and HUB_OFFLINE forbids it"
    ):
        load("ESC50", "sounds")


def test_an_archive_of_another_set_stays_where_it_is(published: Publish, empty_home: Path) -> None:
    published("Flowers")
    other = empty_home / "hub" / "datasets" / "archives" / "esc50.tar.gz"
    write(other, "of another process that is about to unpack it")
    builtin.fetch("Flowers")
    assert [path.name for path in other.parent.iterdir()] == ["esc50.tar.gz"]
    assert builtin.size_of("Flowers") == len(
        Path(builtin.BUILT_IN["Flowers"].url.partition("://")[2]).read_bytes()
    )


def test_hub_datasets_lists_them(
    published: Publish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published("Flowers")
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["datasets"]) == 0
    shown = capsys.readouterr()
    assert shown.err == f"{len(builtin.BUILT_IN)} data sets, 0 installed\n"
    lines = shown.out.splitlines()
    assert lines[0].split() == ["NAME", "TASK", "SIZE", "INSTALLED", "ABOUT"]
    assert [line.split()[0] for line in lines[1:]] == list(builtin.BUILT_IN)
    assert "Flowers       image_classification   -     no         3,670 photographs of 5 flowers" in lines
    builtin.fetch("Flowers")
    assert main(["datasets", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["Flowers"]["installed"]
    assert found["Flowers"]["size_bytes"] == builtin.size_of("Flowers") > 1000  # type: ignore[operator]
    assert (found["ESC50"]["installed"], found["ESC50"]["size_bytes"]) == (False, None)
    assert {each["task"] for each in found.values()} <= set(tasks.names())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("progress", "terminal"), [(True, True), (False, True), (True, False)])
def test_a_bar_is_drawn_where_a_person_looks(
    published: Publish, monkeypatch: pytest.MonkeyPatch, progress: bool, terminal: bool
) -> None:
    published("Flowers")
    screen = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    builtin.fetch("Flowers", progress=progress)
    drawn = screen.getvalue()
    assert ("Flowers: " in drawn) == (progress and terminal)
    assert bool(drawn) == (progress and terminal)


# ---- training and measuring ----


def test_a_module_learns_from_a_name_and_is_measured_on_its_test_part(
    published: Publish, tmp_path: Path
) -> None:
    published("Flowers")
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 6, "cache": False, "progress": False}
    module = pictures.tiny_module().finetune("Flowers", output_dir=tmp_path / "run", **settings)
    assert module.run is not None
    assert module.labels == pictures.LABELS
    assert "finetune('Flowers', epochs=1" in module.run.command
    assert module.run.data.startswith("Flowers: 18 samples, 3 classes")
    folder = builtin.fetch("Flowers")
    metrics = module.evaluate("Flowers")
    assert metrics == module.evaluate(folder / "test_list.txt")
    assert module.run.test_metrics is not None
    assert module.run.test_metrics["accuracy"] == metrics["accuracy"]
    again = pictures.tiny_module().finetune(folder, output_dir=tmp_path / "run", resume=True, **settings)
    assert again.run is not None
    assert again.run.history == module.run.history, "the same data by its path is the same run"


def test_masks_and_pictures_without_labels_are_learnt_by_name(published: Publish, tmp_path: Path) -> None:
    published("OpticDiscSeg", "Canvas", "MiniCOCO")
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 4, "progress": False}
    signs = hub.Module("signs_fpn").finetune("OpticDiscSeg", output_dir=tmp_path / "signs", **settings)
    assert signs.labels == ("background", "optic_disc")
    assert signs.evaluate("OpticDiscSeg")["loss"] > 0
    scenes = hub.Module("scenes_colorizer").finetune("Canvas", output_dir=tmp_path / "scenes", **settings)
    assert scenes.run is not None
    assert scenes.run.data.startswith(
        "Canvas: 4 pictures for train, 1 picture for valid, 2 pictures for test"
    )
    styles = sorted((builtin.fetch("MiniCOCO") / "21styles").iterdir())[:2]
    textures = hub.Module("textures_stylizer")
    textures.finetune("MiniCOCO", style=styles, output_dir=tmp_path / "textures", **settings)
    assert textures.evaluate("MiniCOCO")["total_loss"] > 0


def test_the_commands_take_a_name(
    published: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published("Flowers")
    start = str(pictures.tiny_module().save(tmp_path / "start"))
    line = ["finetune", start, "Flowers", "--epochs", "1", "--output", str(tmp_path / "run"), "--json"]
    assert main(line) == 0
    shown = capsys.readouterr()
    best = json.loads(shown.out)["module"]
    assert "Flowers: 18 samples, 3 classes" in shown.err
    assert main(["evaluate", best, "Flowers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["per_class"].keys() == set(pictures.LABELS)
    assert main(["evaluate", best, "ESC50"]) == 2
    assert "error: ESC50 holds sounds, the task learns from pictures with labels" in capsys.readouterr().err
