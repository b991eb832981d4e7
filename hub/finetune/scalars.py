"""The numbers of a run, written for VisualDL or TensorBoard while it trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.errors import MissingDependencyError, one_of
from hub.files import storage_errors
from hub.finetune.callbacks import Callback

if TYPE_CHECKING:
    from hub.finetune.trainer import Trainer

PACKAGES = {"visualdl": "visualdl", "tensorboard": "tensorboardX"}
"""The package that writes for each tool; tensorboardX writes TensorBoard's files without TensorFlow."""


class Scalars(Callback):
    """Writes "train/loss" and "train/learning_rate" at every step, and "valid/<metric>" at every epoch's end.

    Look at them with `visualdl --logdir FOLDER` or `tensorboard --logdir FOLDER`. All of them are drawn over the
    steps done, so that they lie above each other. A run that is resumed in the same folder adds to its curves; what
    it does again after its last checkpoint replaces the first in TensorBoard and is there twice in VisualDL. Of
    several processes the first writes.
    """

    def __init__(self, folder: str | Path, *, tool: str = "visualdl") -> None:
        """Raise UsageError for an unknown tool, and MissingDependencyError where its package is not installed."""
        if tool not in PACKAGES:
            raise one_of("tool", tool, PACKAGES)
        self.folder, self.tool = Path(folder), tool
        self._open: Callable[..., Any]
        try:
            if tool == "visualdl":
                from visualdl import LogWriter as Writer
            else:
                from tensorboardX import SummaryWriter as Writer
        except ImportError as problem:
            package = PACKAGES[tool]
            raise MissingDependencyError(
                f"writing scalars for {tool} needs {package}: {problem}", hint=f"pip install {package}"
            ) from problem
        self._open = Writer
        self._writer: Any = None

    def on_train_begin(self, trainer: Trainer) -> None:
        if trainer.group.first:
            with storage_errors(self.folder):
                options: dict[str, Any] = {"logdir": str(self.folder)}
                if self.tool == "tensorboard" and trainer.step:
                    # steps after the last checkpoint come again: TensorBoard forgets those it has
                    options["purge_step"] = trainer.step + 1
                self._writer = self._open(**options)

    def on_step_end(self, trainer: Trainer, step: dict[str, Any]) -> None:
        self._write("train/loss", step["loss"], trainer)
        self._write("train/learning_rate", trainer.rate, trainer)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        for key, value in row.items():
            if key.startswith("valid_") and isinstance(value, int | float):
                self._write(f"valid/{key.removeprefix('valid_')}", value, trainer)
        if self._writer is not None:
            self._writer.flush()  # it would wait for two minutes, and a run that is killed lose them

    def on_train_end(self, trainer: Trainer) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, tag: str, value: float, trainer: Trainer) -> None:
        if self._writer is not None:
            self._writer.add_scalar(tag, value, trainer.step)
