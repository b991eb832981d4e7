"""Module folders: saving and loading undo each other, and wrong weights are never taken for right ones."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
import safetensors.paddle

from hub.errors import IntegrityError, SpecError, StorageError, UnsafeFileError, WeightsError
from hub.modules import archs, bundle, golden, weights
from hub.modules.bundle import Bundle
from hub.modules.network import Network
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Head, ModuleSpec

SPEC = ModuleSpec.create(
    name="tiny",
    task="image_classification",
    arch={"name": "small_resnet", "width": 2},
    preprocess=[{"grayscale": {}}, {"resize": {"size": 16}}, {"normalize": {"mean": [0.5], "std": [0.5]}}],
    augment=[{"random_affine": {"degrees": 5}}],
    license="Apache-2.0",
    head=Head("labels.txt"),
)


def tiny(seed: int = 0) -> Bundle:
    paddle.seed(seed)
    backbone = archs.build("small_resnet", width=2)
    head = paddle.nn.Linear(24, 3)
    preprocessor = PicturePreprocessor(SPEC.preprocess, SPEC.augment)
    return Bundle(SPEC, ("a", "b", "ü 花"), backbone, weights.state_of(head), preprocessor, "# tiny\n")


def saved(folder: Path, *, seed: int = 0) -> Path:
    return bundle.save(folder, tiny(seed))


def test_loading_undoes_saving(tmp_path: Path) -> None:
    made = tiny()
    loaded = bundle.load(bundle.save(tmp_path / "m", made))
    assert loaded.labels == made.labels
    assert loaded.card == made.card
    assert replace(loaded.spec, weights=SPEC.weights) == SPEC
    for state, expected in (
        (weights.state_of(loaded.backbone), weights.state_of(made.backbone)),
        (loaded.head_state, made.head_state),
    ):
        assert state.keys() == expected.keys()
        assert all((state[name] == expected[name]).all() for name in expected)


def test_saving_undoes_loading(tmp_path: Path) -> None:
    first = saved(tmp_path / "first")
    second = bundle.save(tmp_path / "second", bundle.load(first))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)


def test_loading_never_initialises_at_random(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m")
    paddle.seed(7)
    expected = paddle.rand([3]).tolist()
    paddle.seed(7)
    bundle.load(folder)
    assert paddle.rand([3]).tolist() == expected, "loading has drawn random numbers"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "bytes, found"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "expected sha256"),
    ],
    ids=["cut short", "one bit"],
)
def test_changed_weights_are_refused(tmp_path: Path, damage, message: str) -> None:
    path = saved(tmp_path / "m") / bundle.WEIGHTS_FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(IntegrityError, match=message):
        bundle.load(tmp_path / "m")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    (saved(tmp_path / "m") / bundle.WEIGHTS_FILE).unlink()
    with pytest.raises(IntegrityError, match="names this file, but it is not there"):
        bundle.load(tmp_path / "m")


def rewrite(folder: Path, change) -> Path:
    """Change the weights and let module.yaml promise the changed ones."""
    path = folder / bundle.WEIGHTS_FILE
    state = weights.load(path)
    weights.save(path, change(dict(state)))
    spec = ModuleSpec.read(folder)
    promise = replace(spec.weights[0], sha256=bundle.sha256_of(path), size=path.stat().st_size)
    (folder / "module.yaml").write_text(replace(spec, weights=(promise,)).to_yaml(), encoding="utf-8")
    return folder


def without(state: dict, name: str) -> dict:
    return {key: value for key, value in state.items() if key != name}


NORM = "backbone.stem.1.weight"


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (lambda s: without(s, NORM), ["1 missing", "missing stem.1.weight (2,)"]),
        (lambda s: s | {"backbone.extra": np.zeros(3)}, ["1 unexpected", "unexpected extra (3,)"]),
        (lambda s: s | {NORM: np.zeros(5, np.float32)}, ["stem.1.weight: expected (2,), found (5,)"]),
        (lambda s: without(s, NORM) | {NORM + "s": s[NORM]}, ["did you mean 'stem.1.weights'"]),
        (
            lambda s: s | {"classifier.weight": np.zeros(3)},
            ["called backbone.… and head.…, found 'classifier.weight'"],
        ),
    ],
    ids=["missing", "unexpected", "shape", "renamed", "foreign"],
)
def test_weights_of_another_network_are_refused_with_both_shapes(tmp_path: Path, change, messages) -> None:
    folder = rewrite(saved(tmp_path / "m"), change)
    with pytest.raises(WeightsError) as caught:
        bundle.load(folder)
    for message in messages:
        assert message in str(caught.value)


def test_a_refused_state_leaves_the_layer_as_it_was() -> None:
    layer = paddle.nn.Linear(2, 2)
    before = weights.state_of(layer)
    with pytest.raises(WeightsError):
        weights.give(layer, {"weight": np.ones((2, 2), np.float32)}, what="test")
    assert all((weights.state_of(layer)[name] == before[name]).all() for name in before)


def test_another_architecture_in_module_yaml_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "m") / "module.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("width: 2", "width: 3"), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"expected \(3, 1, 3, 3\), found \(2, 1, 3, 3\)"):
        bundle.load(tmp_path / "m")


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    for name, error in (
        ("w.pdparams", UnsafeFileError),
        ("w.safetensors", UnsafeFileError),
        ("w.bin", WeightsError),
    ):
        path = tmp_path / name
        path.write_bytes(f"cos\nsystem\n(S'touch {tmp_path / 'ran'}'\ntR.".encode())
        with pytest.raises(error):
            weights.load(path)
    assert not (tmp_path / "ran").exists()


def test_weights_are_read_in_every_type_that_numpy_has(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    state = {
        name: rng.integers(0, 100, shape).astype(name)
        for name in ("bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8")
        for shape in [(3, 2)]
    } | {"scalar": np.float32(3.5)[None].reshape(()), "empty": np.zeros((0, 4), np.float32)}
    weights.save(tmp_path / "w.safetensors", state)
    found = weights.load(tmp_path / "w.safetensors")
    assert {k: (v.dtype, v.shape) for k, v in found.items()} == {
        k: (v.dtype, v.shape) for k, v in state.items()
    }
    assert all((found[name] == state[name]).all() for name in state)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_a_checkpoint_in_another_precision_fits_the_network(kind: str) -> None:
    one, other = (archs.build("small_resnet", width=2) for _ in range(2))
    state = {name: array.astype(kind) for name, array in weights.state_of(one).items()}
    weights.give(other, state, what="half")
    for name, array in weights.state_of(other).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, state[name].astype(np.float32))


def test_bfloat16_becomes_the_same_numbers_in_float32(tmp_path: Path) -> None:
    values = paddle.to_tensor([1.0, -2.5, 3.0e38, 1e-30]).astype("bfloat16")
    safetensors.paddle.save_file({"x": values}, tmp_path / "w.safetensors")
    paddle.save({"x": values}, str(tmp_path / "w.pdparams"))
    for file in ("w.safetensors", "w.pdparams"):
        found = weights.load(tmp_path / file)["x"]
        assert found.dtype == np.float32
        assert (found == values.astype("float32").numpy()).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n\nb\n", "an empty line"),
        ("a\nb\na\n", "'a' twice"),
        ("", "no lines"),
        ("a\nb\x0bc\n", r"names of one line of UTF-8, each once, found 'b\\x0bc'"),
        ("".join(f"{n % 99_999}\n" for n in range(100_000)), "'0' twice"),
    ],
    ids=["empty line", "twice", "none", "line break", "twice of many"],
)
def test_labels_that_cannot_be_told_apart_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (saved(tmp_path / "m") / "labels.txt").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=message):
        bundle.load(tmp_path / "m")


def test_a_folder_of_something_else_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(StorageError, match="exists and is no module folder"):
        saved(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "thesis.tex").read_text(encoding="utf-8") == "years of work"


def test_saving_twice_replaces_the_first(tmp_path: Path) -> None:
    saved(tmp_path / "m", seed=0)
    saved(tmp_path / "m", seed=1)
    state = weights.state_of(bundle.load(tmp_path / "m").backbone)
    assert (state["stem.0.weight"] == weights.state_of(tiny(1).backbone)["stem.0.weight"]).all()
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.test_module_folders import tiny
from hub.modules import bundle
from hub.errors import StorageError
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
made = tiny(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    bundle.save(Path(sys.argv[1]), made)
except (StorageError, OSError) as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk_leaves_the_old_module_whole(tmp_path: Path, python: str) -> None:
    folder = saved(tmp_path / "m")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", FULL_DISK, str(folder)], capture_output=True, text=True, timeout=120,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert "StorageError" in done.stdout, done.stdout + done.stderr
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_golden_values_notice_other_weights_and_other_preprocessing(tmp_path: Path) -> None:
    def network_of(loaded: Bundle) -> Network:
        head = paddle.nn.Linear(24, 3)
        weights.give(head, loaded.head_state, what="head")
        return Network(loaded.backbone, head)

    made = tiny()
    picture = golden.test_card()
    expected = golden.answer(network_of(made), made.preprocessor, {"picture": picture})
    folder = bundle.save(tmp_path / "m", made, golden=({"picture": picture}, expected))
    loaded = bundle.load(folder)
    assert loaded.spec.golden is not None
    given, stored = bundle.read_golden(folder, loaded.spec.golden)
    tolerance = loaded.spec.golden.rtol
    same = golden.answer(network_of(loaded), loaded.preprocessor, given)
    assert golden.compare(same, stored, tolerance=tolerance).ok
    other = golden.answer(network_of(tiny(1)), loaded.preprocessor, given)
    assert not golden.compare(other, stored, tolerance=tolerance).ok
    darker = golden.answer(network_of(loaded), loaded.preprocessor, {"picture": given["picture"] // 2})
    assert not golden.compare(darker, stored, tolerance=tolerance).ok
    assert not golden.compare({"output": np.full((1, 3), np.nan)}, stored, tolerance=tolerance).ok
