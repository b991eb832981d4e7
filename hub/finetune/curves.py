"""The history of a run as a picture, and what the other pictures of fine-tuning are drawn with."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hub.errors import MissingDependencyError, one_of, to_install
from hub.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = {"train_loss": "#1f77b4", "valid_loss": "#ff7f0e"}
MOST_METRICS = 3
TICKS = 6
"""On an axis at most: half of the time of drawing goes into their numbers."""


def can_draw() -> bool:
    """Say whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def new_figure(
    width: float, height: float, *, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """Give an empty figure of this size in inches, apart from pyplot. Raises MissingDependencyError."""
    if not can_draw():
        raise MissingDependencyError(
            "drawing needs matplotlib, which is not installed", hint=to_install("matplotlib")
        )
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # paddle's handler would print its every remark
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, whole or not at all. Raises StorageError."""
    # Pressed less than usual: in half the time, and a tenth larger.
    pressed = {"compress_level": 3}
    write_file(path, lambda file: figure.savefig(file, format="png", dpi=110, pil_kwargs=pressed))


def plot(history: Sequence[dict[str, Any]], path: Path, *, metrics: Sequence[str] | None = None) -> bool:
    """Draw loss and metrics over the epochs into a PNG; give False, and draw nothing, without matplotlib.

    `metrics` names those to draw; by default the first few of the history. Raises UsageError for one that is not in
    the history.
    """
    chosen = _chosen(history, metrics)
    if not history or not can_draw():
        return False
    figure = new_figure(9, 3.6, layout=None)  # finding the margins takes longer than all the rest
    figure.subplots_adjust(left=0.06, right=0.985, bottom=0.14, top=0.91, wspace=0.14)
    left, right = figure.subplots(1, 2)
    for key, colour in INK.items():
        _draw(left, history, key, label=key.replace("_", " "), color=colour)
    for place, name in enumerate(chosen):  # the first on top: accuracy and micro F1, for two, are equal
        _draw(right, history, f"valid_{name}", label=name.replace("_", " "), zorder=3 - 0.01 * place)
    left.set_title("loss", y=1.0)
    right.set_title("validation metrics", y=1.0)
    epochs = [row["epoch"] for row in history]
    for axes, missing in ((left, "no losses"), (right, "no validation metrics")):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1, nbins=TICKS)
        axes.yaxis.get_major_locator().set_params(nbins=TICKS, min_n_ticks=4)
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        else:
            axes.text(0.5, 0.5, missing, ha="center", va="center", transform=axes.transAxes)
    save(figure, path)
    return True


def _chosen(history: Sequence[dict[str, Any]], metrics: Sequence[str] | None) -> list[str]:
    """Give the names of the metrics to draw, without "valid_"."""
    known = [
        key.removeprefix("valid_")
        for key, value in {key: value for row in history for key, value in row.items()}.items()
        if key.startswith("valid_") and key != "valid_loss" and isinstance(value, int | float)
    ]
    if metrics is None:
        return known[:MOST_METRICS]
    names = [name.removeprefix("valid_") for name in metrics]
    for name in names:
        if name not in known:
            raise one_of("metrics", name, known)
    return names


def _draw(axes: Any, history: Sequence[dict[str, Any]], key: str, **style: Any) -> None:
    points = [(row["epoch"], row[key]) for row in history if key in row]
    if points:
        axes.plot(*zip(*points, strict=True), marker=".", **style)
