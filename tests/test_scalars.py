"""What VisualDL and TensorBoard get to read of a run. Both packages are optional: their tests are skipped without."""

from __future__ import annotations

import struct
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub.errors import MissingDependencyError, UsageError
from hub.finetune.scalars import PACKAGES, Scalars

Curves = dict[str, list[tuple[int, float]]]


def run(callback: Scalars, *, first_step: int = 0, epochs: int = 2, first: bool = True) -> None:
    """Call the hooks as a run of three steps an epoch does; step s has loss 1/s and learning rate s/1000."""
    trainer: Any = SimpleNamespace(step=first_step, group=SimpleNamespace(first=first))
    callback.on_train_begin(trainer)
    for epoch in range(first_step // 3 + 1, epochs + 1):
        for _ in range(3):
            trainer.step += 1
            trainer.rate = trainer.step / 1000
            callback.on_step_end(trainer, {"loss": 1 / trainer.step, "count": 8})
        callback.on_epoch_end(
            trainer,
            {
                "epoch": epoch,
                "train_loss": 1.0,
                "valid_loss": 0.5,
                "valid_accuracy": epoch / 10,
                "valid_table": [[1]],
            },
        )
    callback.on_train_end(trainer)


EXPECTED: Curves = {
    "train/loss": [(step, 1 / step) for step in range(1, 7)],
    "train/learning_rate": [(step, step / 1000) for step in range(1, 7)],
    "valid/loss": [(3, 0.5), (6, 0.5)],
    "valid/accuracy": [(3, 0.1), (6, 0.2)],
}


def read_visualdl(folder: Path) -> Curves:
    from visualdl import LogReader

    (file,) = folder.iterdir()
    reader = LogReader(file_path=str(file))
    return {
        tag: [(one.id, one.value) for one in reader.get_data("scalar", tag)]
        for tag in reader.get_tags()["scalar"]
    }


def read_tensorboard(folder: Path) -> Curves:
    """Read TFRecords: length (8 bytes), its checksum (4), an event, its checksum (4)."""
    from tensorboardX.proto.event_pb2 import Event

    curves: Curves = defaultdict(list)
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack_from("<Q", data)
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                curves[value.tag].append((event.step, value.simple_value))
    return dict(curves)


READERS = {"visualdl": read_visualdl, "tensorboard": read_tensorboard}


def assert_same(curves: Curves, expected: Curves) -> None:
    assert sorted(curves) == sorted(expected)
    for tag, points in expected.items():
        assert [step for step, _ in curves[tag]] == [step for step, _ in points]
        assert [value for _, value in curves[tag]] == pytest.approx([value for _, value in points])


@pytest.mark.parametrize("tool", sorted(PACKAGES))
def test_what_is_written_can_be_read_back(tool: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[tool])
    run(Scalars(tmp_path / "logs", tool=tool))
    assert_same(READERS[tool](tmp_path / "logs"), EXPECTED)


def test_an_epoch_that_is_over_is_on_the_disk_for_visualdl(tmp_path: Path) -> None:
    pytest.importorskip("visualdl")  # tensorboardX flushes only what its own thread has taken up by then
    callback = Scalars(tmp_path, tool="visualdl")
    callback.on_train_end = lambda trainer: None  # type: ignore[method-assign] - the run is killed before it
    run(callback)
    assert_same(read_visualdl(tmp_path), EXPECTED)


@pytest.mark.parametrize("tool", sorted(PACKAGES))
def test_of_several_processes_the_first_writes(tool: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[tool])
    run(Scalars(tmp_path / "logs", tool=tool), first=False)
    assert not (tmp_path / "logs").exists()


def test_tensorboard_is_told_from_where_a_resumed_run_repeats(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    run(Scalars(tmp_path, tool="tensorboard"), first_step=3)
    (file,) = tmp_path.iterdir()
    data, restarts = file.read_bytes(), []
    while data:
        (length,) = struct.unpack_from("<Q", data)
        event = Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
        if event.session_log.status == SessionLog.START:
            restarts.append(event.step)
    assert restarts == [4]


@pytest.mark.parametrize("tool", sorted(PACKAGES))
def test_a_missing_package_is_named_with_how_to_install_it(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = PACKAGES[tool]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=f"scalars for {tool} needs {package}") as caught:
        Scalars(tmp_path, tool=tool)
    assert caught.value.hint == f"pip install {package}"


def test_an_unknown_tool_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="tool: expected one of tensorboard, visualdl, found 'tensorbord'"
    ) as caught:
        Scalars(tmp_path, tool="tensorbord")
    assert caught.value.hint == "did you mean 'tensorboard'?"
