"""The contract of a task, and the table in which tasks are found by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from paddle import Tensor, nn
from PIL import Image

from hub.errors import SpecError, did_you_mean
from hub.modules.archs import FeatureSpec

Loss = Callable[[Tensor, Tensor], Tensor]


class Meter(Protocol):
    """Metrics of a whole set, fed batch by batch in bounded memory."""

    def update(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """Take in what the network gave for a batch and what was right."""

    def merge(self, other: Any) -> None:
        """Take in what another meter of the same task has seen, as if this one had seen it."""

    def compute(self) -> dict[str, Any]:
        """Give the metrics of everything seen so far: plain numbers, lists and dicts that JSON can hold."""


class Task(Protocol):
    """One task for one set of labels."""

    name: str
    labels: tuple[str, ...]
    multi_label: bool
    default_metric: str
    """The metric by which the best epoch is chosen when none is asked for."""

    metrics: Mapping[str, bool]
    """The single numbers that `meter().compute()` has, and whether larger is better."""

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        """Give a fresh head from a backbone's features to this task's outputs."""

    def loss(self, *, class_weight: np.ndarray | None = None, label_smoothing: float = 0.0) -> Loss:
        """Give the training loss, a mean over the batch."""

    def class_weight(
        self, chosen: str | Mapping[str, float] | None, counts: Mapping[str, int]
    ) -> np.ndarray | None:
        """Give a weight for each label from "balanced" or {name: weight}; `counts` are those of training."""

    def meter(self) -> Meter:
        """Give an empty meter."""

    def decode(self, outputs: np.ndarray, *, top_k: int = 5) -> list[dict[str, Any]]:
        """Give for each row of outputs what `predict` returns: what `hub run --json` prints."""

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the picture with the answer drawn on."""


# name: (file, class); a task's file is imported when the task is asked for
_TASKS = {"image_classification": ("image_classification", "ImageClassification")}


def names() -> list[str]:
    """Give the name of every task, sorted."""
    return sorted(_TASKS)


def create(name: str, labels: Sequence[str], *, multi_label: bool = False) -> Task:
    """Give the task of this name for these labels. Raises SpecError for a task that this hub does not have."""
    if name not in _TASKS:
        hint = did_you_mean(name, _TASKS) or f"this hub has {', '.join(names())}"
        raise SpecError(f"task: no task is called {name!r}", hint=hint)
    file, attribute = _TASKS[name]
    task: Task = getattr(importlib.import_module(f"hub.tasks.{file}"), attribute)(
        labels, multi_label=multi_label
    )
    return task
