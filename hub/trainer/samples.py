"""What `hub.Trainer` trains on: a user's samples, or those of hub.datasets, as batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hub import tasks
from hub.datasets import Dataset
from hub.errors import UsageError
from hub.finetune.batches import ItemCache, Read
from hub.module import Module


class Collated:
    """Samples of a dataset, put together by a function: a source of `Batches`.

    A batch comes with the number of its samples. A process without a share of a step gets a sample all the same, which
    counts for nothing: so all processes go through the same layers and learn the same metrics' names.
    """

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any]) -> None:
        self.dataset, self.collate = dataset, collate

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, indices: np.ndarray, epoch: int) -> Any:
        samples = [self.dataset[index] for index in indices.tolist() or [0]]
        return self.collate(samples), len(indices)


class Ours:
    """Samples of hub.datasets as [inputs, targets], read as `Module.finetune` reads them; counted like `Collated`."""

    def __init__(self, read: Read) -> None:
        self.read = read

    @classmethod
    def of(cls, model: Any, dataset: Dataset, *, name: str, seed: int | None) -> Ours:
        """Give a dataset's samples as `model` takes them, with a seed as random variants.

        Raises UsageError, which calls the dataset `name`, for a model that is no hub.Module and for other labels, or
        several where the model gives one.
        """
        if not isinstance(model, Module):
            raise UsageError(
                f"{name}: only a hub.Module knows how samples of hub.datasets become batches",
                hint="pass collate_fn, which gets a list of samples with .input and .label",
            )
        if dataset.labels != model.labels:
            raise UsageError(
                f"{name}: expected the labels {', '.join(model.labels[:10])}, found {', '.join(dataset.labels[:10])}",
                hint=f"hub.Module(…, label_list={list(dataset.labels)[:10]})",
            )
        several = model.spec.head is not None and model.spec.head.multi_label
        if dataset.multi_label and not several:
            raise UsageError(
                f"{name}: its samples have several labels each, {model.name} gives one",
                hint="module.finetune(data, multi_label=True) makes a module that gives several",
            )
        if several and not dataset.multi_label:
            raise UsageError(
                f"{name}: its samples have one label each, {model.name} gives several",
                hint="load the data with multi_label=True",
            )
        items = ItemCache(tasks.kind(model.task).examples(model.preprocessor))
        targets = dataset.targets()
        return cls(
            Read(dataset, items, targets.astype(np.float32) if dataset.multi_label else targets, seed=seed)
        )

    def __len__(self) -> int:
        return len(self.read)

    def take(self, indices: np.ndarray, epoch: int) -> Any:
        batch = self.read.take(indices if len(indices) else np.zeros(1, np.int64), epoch)
        return list(batch), len(indices)


def require_trainable(module: Module) -> None:
    """Raise UsageError for a module whose training takes more than steps: a scale of its own, or several datasets."""
    kind = tasks.kind(module.task)
    if kind.of_numbers or kind.grouped:
        raise UsageError(
            f"model: hub.Trainer does not train {module.task}, found {module.name}",
            hint="module.finetune(data) does",
        )
    if kind.has_labels and not module.labels:
        raise UsageError(
            f"model: {module.name} has no labels to learn yet",
            hint="hub.Module(…, label_list=[…]), label_map={0: …} or num_classes=2",
        )
