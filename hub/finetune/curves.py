"""What the pictures that are asked for are drawn with: schedules, and the losses of a learning-rate range test."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from hub.errors import MissingDependencyError, to_install
from hub.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """Give an empty figure of this size in inches, apart from pyplot. Raises MissingDependencyError."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "drawing needs matplotlib, which is not installed", hint=to_install("matplotlib")
        )
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # paddle's handler would print its every remark
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, whole or not at all. Raises StorageError."""
    write_file(path, lambda file: figure.savefig(file, format="png", dpi=110))
