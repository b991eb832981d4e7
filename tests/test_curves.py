"""The picture of a run: which metrics it shows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hub.errors import UsageError
from hub.finetune import curves

LINES = (
    (31, 119, 180),
    (255, 127, 14),
    (44, 160, 44),
    (214, 39, 40),
)  # the first colours of matplotlib, in order


def history(*names: str) -> list[dict[str, Any]]:
    """Give four epochs in which each metric has a curve of its own."""
    return [
        {
            "epoch": epoch, "train_loss": 1 / epoch, "valid_loss": 1.2 / epoch, "valid_confusion": [[1, 2]],
            **{f"valid_{name}": epoch / (9 - place) for place, name in enumerate(names)}, "seconds": 1.0,
        }
        for epoch in range(1, 5)
    ]  # fmt: skip


def lines_drawn(path: Path) -> int:
    """Give how many curves the metrics panel has, by their colours."""
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    panel = picture[:, picture.shape[1] // 2 :]
    return sum(bool((np.abs(panel - colour).sum(axis=2) < 10).sum() > 50) for colour in LINES)


@pytest.mark.parametrize(
    ("names", "metrics", "drawn"),
    [
        (["miou"], None, 1),
        (["accuracy", "f1_macro"], None, 2),
        (["a", "b", "c", "d", "e"], None, curves.MOST_METRICS),
        (["a", "b", "c", "d", "e"], ["e", "valid_b"], 2),
        (["a", "b", "c", "d", "e"], [], 0),
        ([], None, 0),
    ],
)
def test_the_panel_shows_the_metrics_asked_for_or_the_first_few(
    names: list[str], metrics: list[str] | None, drawn: int, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    assert curves.plot(history(*names), tmp_path / "history.png", metrics=metrics)
    assert lines_drawn(tmp_path / "history.png") == drawn


@pytest.mark.parametrize("name", ["acuracy", "loss", "confusion"])
def test_what_is_no_single_number_of_the_history_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"metrics: expected one of accuracy, found '{name}'"):
        curves.plot(history("accuracy"), tmp_path / "history.png", metrics=[name])


def test_without_matplotlib_nothing_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not curves.plot(history("accuracy"), tmp_path / "history.png")
    assert not list(tmp_path.iterdir())


def test_a_run_without_epochs_has_no_picture(tmp_path: Path) -> None:
    assert not curves.plot([], tmp_path / "history.png")
