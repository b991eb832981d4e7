"""The history of a run as a picture."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hub.files import write_file

INK = {"train_loss": "#1f77b4", "valid_loss": "#ff7f0e"}


def plot(history: Sequence[dict[str, Any]], path: Path) -> bool:
    """Draw loss and metrics over the epochs into a PNG; give False, and draw nothing, without matplotlib."""
    if not history or importlib.util.find_spec("matplotlib") is None:
        return False
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # paddle's handler would print its every remark
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for key, colour in INK.items():
        points = [(row["epoch"], row[key]) for row in history if key in row]
        if points:
            left.plot(*zip(*points, strict=True), marker=".", color=colour, label=key.replace("_", " "))
    for key in ("valid_accuracy", "valid_balanced_accuracy", "valid_f1_macro"):
        points = [(row["epoch"], row[key]) for row in history if key in row]
        if points:
            right.plot(
                *zip(*points, strict=True), marker=".", label=key.removeprefix("valid_").replace("_", " ")
            )
    left.set_title("loss")
    right.set_title("validation metrics")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        else:
            axes.text(0.5, 0.5, "no validation set", ha="center", va="center", transform=axes.transAxes)
    write_file(path, lambda temporary: figure.savefig(temporary, format="png", dpi=110))
    return True
