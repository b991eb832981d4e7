"""A compiled layer gives what the layer gives, says when it cannot, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from hub.finetune import random_state
from hub.modules import archs, compiled
from hub.modules.network import Network, infer

ROOT = Path(__file__).parents[1]


def prefix(name: str, groups: int, **arguments: object) -> nn.Layer:
    backbone = archs.build(name, **arguments)
    return Network(backbone, nn.Identity()).prefix(groups)


@pytest.mark.parametrize(
    ("name", "arguments", "groups"),
    [
        ("small_resnet", {"width": 4, "in_channels": 3}, 5),
        ("small_resnet", {"width": 4, "in_channels": 3}, 2),
        ("mobilenet_v3_small", {"scale": 0.5}, 7),
        ("resnet", {"depth": 18}, 3),
    ],
)
def test_the_values_are_those_of_the_layer_for_any_batch(
    name: str, arguments: dict[str, object], groups: int
) -> None:
    layer = prefix(name, groups, **arguments)
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(8, 3, 64, 64)).astype(np.float32)
    said: list[str] = []
    run = compiled.forward(layer, batch, samples=1000, say=said.append)
    assert not said
    for size in (8, 1, 5):
        expected, found = infer(layer, batch[:size]), run(batch[:size])
        assert np.abs(expected - found).max() <= 1e-4 * np.abs(expected).max()


def test_a_few_samples_are_not_worth_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_on_cpu", None)
    layer = nn.Linear(3, 2)
    batch = np.ones((4, 3), np.float32)
    run = compiled.forward(layer, batch, samples=10, say=pytest.fail)
    assert np.array_equal(run(batch), infer(layer, batch))


class Listed(nn.Layer):
    """Asks for its input as Python numbers, which nothing that traces can give."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.to_tensor(
            np.asarray([[2 * value for value in row] for row in x.numpy().tolist()], np.float32)
        )


def test_what_cannot_be_compiled_is_said_and_computed_all_the_same() -> None:
    batch = np.arange(12, dtype=np.float32).reshape(4, 3)
    said: list[str] = []
    run = compiled.forward(Listed(), batch, samples=1000, say=said.append)
    assert np.array_equal(run(batch), 2 * batch)
    assert len(said) == 1
    assert said[0].startswith("not compiled, which takes longer: ")


def test_a_compiler_that_changes_values_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_on_cpu", lambda layer, example: lambda batch: 1.01 * infer(layer, batch))
    layer, batch = nn.Linear(3, 2), np.ones((4, 3), np.float32)
    said: list[str] = []
    run = compiled.forward(layer, batch, samples=1000, say=said.append)
    assert np.array_equal(run(batch), infer(layer, batch))
    assert said == ["not compiled, which takes longer: compiled, it would differ by 1.0e-02"]


def test_nothing_is_left_behind_or_printed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    layer = prefix("mobilenet_v3_small", 3, scale=0.5)
    batch = np.zeros((2, 3, 64, 64), np.float32)
    before = random_state.capture()
    compiled.forward(layer, batch, samples=1000, say=pytest.fail)(batch)
    assert random_state.capture() == before
    assert paddle.in_dynamic_mode()
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_it_works_with_stdout_closed(python: str) -> None:
    code = (
        "import numpy as np, paddle; from hub.modules import compiled\n"
        "layer = paddle.nn.Linear(3, 2); batch = np.ones((4, 3), np.float32)\n"
        "compiled.forward(layer, batch, samples=1000, say=print)(batch)"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "{python}" -W ignore -c "$0" >&-', code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
