"""Segmentation from files to masks: finetune, save, load, predict and the command line, on a network small enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image
from sklearn.metrics import jaccard_score

import hub
from hub.cli.main import main
from hub.datasets import Sample
from hub.finetune import closed_form, ridge
from hub.finetune.batches import ItemCache, Read
from hub.modules import weights
from hub.modules.archs import Backbone, FeatureSpec
from hub.modules.network import Network, infer
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Named
from hub.tasks.segmentation import SemanticSegmentation
from hub.transforms.joint import IGNORED

LABELS = ("ground", "disc", "bar")
ROLES = {"train": 12, "valid": 4, "test": 4}


def scene(seed: int, *, width: int = 40, height: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """A red disc and a blue bar on grey noise, uint8 [height, width, 3], and the mask of them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    mask = np.zeros((height, width), np.uint8)
    left = int(rng.integers(0, width - 6))
    mask[:, left : left + 5] = 2
    mask[(y - rng.integers(8, height - 8)) ** 2 + (x - rng.integers(8, width - 8)) ** 2 < 49] = 1
    colours = np.array([[110, 110, 110], [200, 40, 40], [40, 40, 200]])
    picture = colours[mask] + rng.normal(0, 15, (height, width, 3))
    return picture.clip(0, 255).astype(np.uint8), mask


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three splits of images/ and masks/, with the names of the classes; one mask has a stripe without a class."""
    root = tmp_path_factory.mktemp("data")
    for offset, (role, count) in enumerate(ROLES.items()):
        for number in range(count):
            picture, mask = scene(100 * offset + number)
            if role == "train" and number == 0:
                mask[:3] = IGNORED
            for kind, array in (("images", picture), ("masks", mask)):
                path = root / role / kind / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (root / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    return root


def created(**changes: Any) -> hub.Module:
    settings: dict[str, Any] = {
        "task": "semantic_segmentation",
        "arch": {"name": "fpn", "encoder": {"name": "small_resnet", "width": 8, "in_channels": 3}, "channels": 16},
        "labels": ["this", "that"],
        "preprocess": [{"rgb": {}}, {"normalize": {"mean": [0.5] * 3, "std": [0.25] * 3}}],
        "license": "Apache-2.0",
    }  # fmt: skip
    return hub.Module.create("tiny", **(settings | changes))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> hub.Module:
    out = tmp_path_factory.mktemp("run")
    return created().finetune(
        data, epochs=14, batch_size=2, learning_rate=0.01, output_dir=out, progress=False
    )


@pytest.fixture(scope="module")
def folder(trained: hub.Module, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(trained.save(tmp_path_factory.mktemp("made") / "scenes"))


def test_a_small_network_learns_masks_from_a_few_pictures(trained: hub.Module) -> None:
    assert trained.labels == LABELS
    assert trained.run is not None
    assert trained.run.metrics["miou"] > 0.8
    assert trained.run.test_metrics["miou"] > 0.8


@pytest.mark.parametrize(
    "settings", [{"strategy": "probe"}, {"freeze": "backbone"}, {"freeze": 2}], ids=lambda one: str(one)
)
def test_what_is_frozen_stays_bit_for_bit_and_the_rest_learns(
    settings: dict[str, Any], data: Path, tmp_path: Path
) -> None:
    module = created()
    before = {name: weights.state_of(layer) for name, layer in parts(module)}
    module.finetune(data, epochs=2, batch_size=4, output_dir=tmp_path / "run", progress=False, **settings)
    changed = {
        name
        for name, layer in parts(module)
        if any((array != before[name][key]).any() for key, array in weights.state_of(layer).items())
    }
    every = {name for name, _ in parts(module)}
    kept = {name for name, _ in parts(module)[:2]} if settings.get("freeze") == 2 else every
    assert changed == every - kept
    assert module.run is not None
    assert len(module.run.history) >= 2
    assert module.run.history[-1]["train_loss"] > 0


def parts(module: hub.Module) -> list[tuple[str, nn.Layer]]:
    return [(name, nn.LayerList(layers)) for name, layers in module.network.backbone.layer_groups() if layers]


@pytest.mark.parametrize("augment", [True, False])
def test_epoch_zero_is_the_head_in_closed_form(augment: bool, data: Path, tmp_path: Path) -> None:
    paddle.seed(0)
    module = created().finetune(
        data, strategy="probe", augment=augment, epochs=1, learning_rate=1e-6, output_dir=tmp_path / "run",
        progress=False,
    )  # fmt: skip
    row = module.run.history[0]
    assert row["epoch"] == 0
    assert "train_loss" not in row
    assert row["valid_miou"] > 0.4  # on random features; everything is ground: 0.25


def test_without_a_word_about_it_training_begins_in_closed_form(trained: hub.Module) -> None:
    assert trained.run.config["strategy"] == "probe_then_full"
    assert trained.run.history[0]["epoch"] == 0


# ---- the closed form of a head on maps ----


class Blocks(Backbone):
    """The mean colour of every 4×4 pixels."""

    feature_spec = FeatureSpec("map", (3, None, None), 4)

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        return [("mean", [nn.AvgPool2D(4)])]


def coloured(seed: int, *, known: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of 4×4 pixels in the colours of their classes, uint8 [24, 36, 3], and their mask."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 3, (6, 9)).repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)
    colours = np.eye(3, dtype=np.uint8) * 200
    mask = numbers.copy() if known else np.full_like(numbers, IGNORED)
    mask[:4, :20] = IGNORED
    mask[10, 7] = IGNORED  # one pixel of a block
    return colours[numbers], mask


def fitted(pairs: list[tuple[np.ndarray, np.ndarray]], *, seed: int = 0) -> Network:
    task = SemanticSegmentation(("red", "green", "blue"))
    paddle.seed(0)
    network = Network(Blocks(), task.build_head(Blocks.feature_spec))
    samples = [Sample(picture, mask) for picture, mask in pairs]
    read = Read(samples, ItemCache(task.examples(PICTURES)), np.zeros(len(pairs), np.int64))
    assert closed_form.can_fit(network.head, task)
    closed_form.fit_pixel_head(network, task, read, seed=seed)
    return network


PICTURES = PicturePreprocessor([Named("rgb"), Named("normalize")])


def test_every_cell_is_fitted_to_the_labels_of_its_own_block() -> None:
    network = fitted([coloured(n) for n in range(3)])
    picture, mask = coloured(9)
    logits = infer(network.head.classify, infer(network.backbone, PICTURES.batch([picture])))[0]
    found = logits.argmax(axis=0).repeat(4, axis=0).repeat(4, axis=1)
    assert (found == mask)[mask != IGNORED].all()


def test_a_head_without_any_known_pixel_is_left_as_it_is() -> None:
    left = fitted([coloured(0, known=False)]).head.classify
    fresh = fitted([coloured(1, known=False)]).head.classify
    assert np.array_equal(left.weight.numpy(), fresh.weight.numpy())
    assert not left.bias.numpy().any()


def test_a_sample_of_cells_follows_from_the_seed_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [coloured(n) for n in range(4)]
    monkeypatch.setattr(closed_form, "CELLS", 12)
    seen: list[int] = []
    fit = ridge.fit
    monkeypatch.setattr(ridge, "fit", lambda x, y: seen.append(len(x)) or fit(x, y))
    one, same, other = (fitted(pairs, seed=seed).head.classify.weight.numpy() for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert seen == [12, 12, 12]


SIZES = [(40, 32), (70, 50), (33, 81), (40, 32), (600, 530)]
"""Two alike, and one of more than a tile."""


@pytest.mark.parametrize("steps", [[], [{"resize": {"short": 24}}]], ids=["as they are", "made smaller"])
def test_metrics_are_those_of_the_masks_that_predict_gives(trained: hub.Module, steps: list[Any]) -> None:
    scenes = [scene(n, width=width, height=height) for n, (width, height) in enumerate(SIZES)]
    normalize = {"normalize": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    module = created(labels=LABELS, preprocess=[{"rgb": {}}, *steps, normalize])
    module.network.set_state_dict(trained.network.state_dict())
    found = np.concatenate([each["mask"].ravel() for each in module.predict([each for each, _ in scenes])])
    right = np.concatenate([mask.ravel() for _, mask in scenes])
    alone, together = module.evaluate(scenes, batch_size=1), module.evaluate(scenes, batch_size=5)
    assert alone["miou"] == pytest.approx(jaccard_score(right, found, average="macro"), abs=1e-9)
    assert alone["confusion"] == together["confusion"]
    assert alone["pixels"] == right.size
    assert alone["loss"] == pytest.approx(together["loss"], rel=1e-4)


def test_a_saved_module_answers_the_same_and_verifies(trained: hub.Module, folder: str) -> None:
    again = hub.Module(folder)
    picture, _ = scene(999, width=70, height=50)
    assert np.array_equal(again.predict(picture)[0]["mask"], trained.predict(picture)[0]["mask"])
    assert again.verify().ok


def test_areas_add_up_and_a_picture_is_answered_at_its_own_size(trained: hub.Module) -> None:
    result = trained.predict(scene(5, width=51, height=37)[0])[0]
    assert result["mask"].shape == (37, 51)
    assert sum(result["areas"].values()) == pytest.approx(1, abs=1e-5)
    assert result["areas"]["bar"] == pytest.approx((result["mask"] == 2).mean(), abs=1e-6)


def test_the_command_line_goes_from_files_to_masks(
    data: Path, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", folder, str(data), "--epochs", "1", "--output", "run"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "./run/best", str(data), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["iou"]) == set(LABELS)
    assert main(["run", "./run/best", str(data / "test" / "images"), "--save", "out"]) == 0
    masks = sorted(Path("out").glob("*mask*.png"))
    assert len(masks) == ROLES["test"]
    with Image.open(masks[0]) as mask:
        assert (mask.mode, mask.size) == ("P", (40, 32))
        assert int(np.asarray(mask).max()) < len(LABELS)


@pytest.mark.parametrize("names", [("x", "x-mask"), ("x-mask", "x")])
def test_files_of_one_result_have_one_number(
    names: tuple[str, str], data: Path, folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    for name in names:
        (tmp_path / f"{name}.png").write_bytes((data / "test" / "images" / "0.png").read_bytes())
    inputs = [str(tmp_path / f"{name}.png") for name in names]
    assert main(["run", folder, *inputs, "--save", str(tmp_path / "out"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [(Path(each["saved"]).name, Path(each["mask"]).name) for each in results] == {
        "x": [("x.png", "x-mask.png"), ("x-mask-2.png", "x-mask-2-mask.png")],
        "x-mask": [("x-mask.png", "x-mask-mask.png"), ("x-2.png", "x-2-mask.png")],
    }[names[0]]


def test_the_bundled_module_finds_writing_on_a_photograph_that_it_has_never_seen() -> None:
    picture = load_sample_image("flower.jpg")[:56, 500:556].copy()
    digit = Image.fromarray(np.uint8(load_digits().images[3] * 15)).resize((40, 40), Image.Resampling.BICUBIC)
    ink = np.pad(np.asarray(digit) > 110, 8)
    picture[ink] = (220, 80, 180)
    found = hub.Module("signs_fpn").predict(picture)[0]["mask"]
    assert jaccard_score(ink.ravel(), found.ravel() == 1) > 0.7


@pytest.mark.parametrize("name", ["fcn_hrnet", "ocrnet_hrnet", "deeplabv3p"])
def test_published_networks_train_and_come_back_from_their_folder(name: str, tmp_path: Path) -> None:
    pairs = [scene(n, width=32) for n in range(2)]
    module = created(arch={"name": name}).finetune(
        pairs, valid=False, epochs=1, batch_size=2, output_dir=tmp_path / "run", progress=False
    )
    saved = module.save(tmp_path / "saved")
    mask = module.predict(pairs[0][0])[0]["mask"]
    assert mask.shape == (32, 32)
    assert np.array_equal(hub.Module(str(saved)).predict(pairs[0][0])[0]["mask"], mask)
