"""What `hub.Trainer` trains on: a user's samples, or those of hub.datasets, as batches.

A user's samples are looked at as they are put together: what is wrong with one is said by its dataset and number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from paddle import Tensor
from paddle.io.dataloader.collate import default_collate_fn

from hub import tasks
from hub.datasets import Dataset, Sample
from hub.datasets.builtin import HELD
from hub.datasets.masks import Masks
from hub.datasets.unlabelled import load_pictures
from hub.errors import UsageError
from hub.finetune.batches import ItemCache, Read
from hub.module import Module
from hub.tasks import Task
from hub.transforms.joint import IGNORED

Where = Callable[[int], str]
"""Gives the dataset and number of the sample in a row of a batch, for messages."""

_READS = {
    "pictures": "hub.datasets.load([(path, label), …]) reads them as {0} does",
    "sounds": 'hub.datasets.load([(path, label), …], kind="sounds") reads them as {0} does',
    "texts": 'hub.datasets.load("train.tsv", kind="texts") reads them as {0} does',
    "pairs": 'hub.datasets.load("train.tsv", kind="pairs") reads them as {0} does',
    "tagged": 'hub.datasets.load("train.tsv", kind="tagged") reads them as {0} does',
    "masks": "float32 [{1}, height, width] with class numbers [height, width], "
    'or hub.datasets.load("data/", kind="masks")',
    "unlabelled": 'hub.datasets.unlabelled.load_pictures("pictures/") reads them as {0} does',
}
"""What a task takes in, and how its samples are had."""


_OF_CLASSES = ("pictures", "sounds", "texts", "pairs")
"""What tasks take in whose samples have a class each."""


class Collated:
    """Samples of a dataset, put together by a function: a source of `Batches`.

    A batch comes with the number of its samples. A process without a share of a step gets a sample all the same, which
    counts for nothing: so all processes go through the same layers and learn the same metrics' names.
    """

    def __init__(
        self,
        dataset: Any,
        collate: Callable[[list[Any]], Any] | None,
        *,
        name: str,
        module: Module | None = None,
    ) -> None:
        """Without `collate` each field is stacked; `name` is the dataset's, for messages.

        With a `module` a batch is [inputs, targets] as its task computes with them, and what it cannot take is refused.
        """
        self.dataset, self.collate, self.name, self.module = dataset, collate, name, module

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, indices: np.ndarray, epoch: int) -> Any:
        """Give (batch, number of samples). Raises UsageError that names the sample which does not fit."""
        chosen = indices.tolist() or [0]
        samples = [self.dataset[index] for index in chosen]

        def where(row: int) -> str:
            return f"{self.name}, sample {chosen[row] if row < len(chosen) else row}"

        batch = self.collate(samples) if self.collate else _stacked(samples, where)
        return batch if self.module is None else _fitted(batch, self.module, where), len(indices)


def _stacked(samples: list[Any], where: Where) -> Any:
    """Give every field of samples as an array of all, as paddle does."""
    try:
        return default_collate_fn(samples)
    except (ValueError, TypeError, RuntimeError) as problem:
        forms = [_form(sample) for sample in samples]
        odd = next((row for row, form in enumerate(forms) if form != forms[0]), None)
        if odd is None:
            found, hint = (
                f"expected arrays and numbers, found {forms[0]}",
                "np.asarray of it, or pass collate_fn",
            )
            raise UsageError(f"{where(0)}: {found}", hint=hint) from problem
        first = where(0).rpartition(", ")[2]
        raise UsageError(
            f"{where(odd)}: expected {forms[0]} as in {first}, found {forms[odd]}",
            hint="make all samples alike, such as pictures of one size, or pass collate_fn to put them together",
        ) from problem


def _fitted(batch: Any, module: Module, where: Where) -> Any:
    """Give a batch whose inputs and targets have the types that the module's task computes with.

    Raises UsageError for what can only be guessed: channels, a scale, names in the place of class numbers.
    """
    task = module._answering()
    reads = _READS[task.inputs].format(module.name, module.network.backbone.input_channels)
    if isinstance(batch, Mapping) or not isinstance(batch, list | tuple) or len(batch) < 2:
        raise UsageError(f"{where(0)}: expected (input, label), found {_form(batch, rows=True)}", hint=reads)
    inputs, targets, *more = batch
    if task.inputs in ("pictures", "sounds", "masks"):
        if task.inputs == "sounds" and getattr(inputs, "ndim", 0) == 3:
            inputs = inputs[:, None]  # PaddleHub's networks of sounds put the axis there themselves
        sides = "frames, bands" if task.inputs == "sounds" else "height, width"
        inputs = _maps(inputs, module.network.backbone.input_channels, sides, where, reads)
    elif not isinstance(inputs, list | tuple) or not all(
        isinstance(each, np.ndarray | Tensor) for each in inputs
    ):
        found = _form(inputs, rows=True)
        raise UsageError(
            f"{where(0)}: expected samples of hub.datasets for {task.name}, found {found}", hint=reads
        )
    if task.inputs == "masks":
        targets = _masks(targets, task, inputs.shape[2:], where)
    elif task.inputs in _OF_CLASSES and not task.multi_label:
        targets = _class_numbers(targets, task, where)
    return [tuple(inputs) if isinstance(inputs, list) else inputs, targets, *more]


def _maps(inputs: Any, channels: int, sides: str, where: Where, reads: str) -> Any:
    """Give float32 [N, C, H, W] of floating point numbers in any precision."""
    if not isinstance(inputs, np.ndarray | Tensor) or inputs.ndim != 4 or inputs.shape[1] != channels:
        last = list(getattr(inputs, "shape", ()))[3:] == [channels]
        raise UsageError(
            f"{where(0)}: expected an array [{channels}, {sides}], found {_form(inputs, rows=True)}",
            hint="channels come first: array.transpose(2, 0, 1)" if last else reads,
        )
    kind = str(inputs.dtype).removeprefix("paddle.")
    if "float" not in kind:
        raise UsageError(
            f"{where(0)}: expected float32 that is scaled as the module was trained, found {kind}", hint=reads
        )
    return inputs if kind == "float32" else inputs.astype("float32")


def _class_numbers(targets: Any, task: Task, where: Where) -> np.ndarray:
    """Give int64 [N] of whole numbers [N] or [N, 1] of any type."""
    given = np.asarray(targets)
    last = len(task.labels) - 1
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    expected = f"expected a class number from 0 to {last}, found"
    hint = f"the labels are {', '.join(task.labels[:10])}, counted from 0"
    if given.ndim != 1:
        raise UsageError(f"{where(0)}: {expected} {_form(given, rows=True)}", hint=hint)
    for row, value in enumerate(given.tolist()):
        if isinstance(value, str) or value not in range(last + 1):
            raise UsageError(f"{where(row)}: {expected} {value!r}", hint=hint)
    return given.astype(np.int64)


def _masks(targets: Any, task: Task, size: Any, where: Where) -> np.ndarray:
    """Give int64 [N, H, W] of whole numbers [N, H, W] or [N, 1, H, W] of any type."""
    given = np.asarray(targets)
    if given.ndim == 4 and given.shape[1] == 1:
        given = given[:, 0]
    if list(given.shape[1:]) != list(size):
        raise UsageError(
            f"{where(0)}: expected a mask {list(size)}, found {_form(given, rows=True)}",
            hint="a class number for every pixel",
        )
    known = np.isin(given, [*range(len(task.labels)), IGNORED])
    if not known.all():
        row = int(np.argwhere(~known)[0, 0])
        raise UsageError(
            f"{where(row)}: expected class numbers from 0 to {len(task.labels) - 1}, or {IGNORED} for none, "
            f"found {given[~known][0]}"
        )
    return given.astype(np.int64)


def _form(value: Any, *, rows: bool = False) -> str:
    """Say what a sample is made of; with `rows` what a sample of a batch is."""
    if isinstance(value, np.ndarray | Tensor):
        shape = list(value.shape)[int(rows) :]
        return f"an array {shape}" if shape else "a number"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_form(each, rows=rows)}" for key, each in value.items()) + "}"
    if rows and isinstance(value, list | tuple) and value and isinstance(value[0], str):
        return repr(value[0])
    if isinstance(value, list | tuple):
        return "(" + ", ".join(_form(each, rows=rows) for each in value) + ")"
    if isinstance(value, int | float | np.number):
        return "a number"
    return repr(value) if isinstance(value, str) else type(value).__name__


class _Renumbered:
    """The samples of a dataset, whose labels have other numbers: `numbers[old]`."""

    def __init__(self, dataset: Dataset, numbers: Sequence[int]) -> None:
        self.dataset, self.numbers = dataset, numbers

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        label: Any = sample.label
        if isinstance(label, tuple):  # of words, or several of one input
            label = tuple(self.numbers[number] for number in label)
        else:
            label = self.numbers[label]
        return replace(sample, label=label)


def _numbers(found: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """Give the class number of each label that was found, None where they are others.

    They are the same names in any order, or the numbers themselves, as PaddleHub's files have them.
    """
    if sorted(found) == sorted(labels):
        return [list(labels).index(name) for name in found]
    if any(name.isdecimal() for name in labels):
        return None
    numbers = [int(name) if name.isdecimal() else len(labels) for name in found]
    return numbers if max(numbers, default=0) < len(labels) else None


class Ours:
    """Samples of hub.datasets as [inputs, targets], read as `Module.finetune` reads them; counted like `Collated`."""

    def __init__(self, read: Read) -> None:
        self.read = read

    @classmethod
    def of(cls, model: Any, dataset: Dataset, *, name: str, seed: int | None) -> Ours:
        """Give a dataset's samples as `model` takes them, with a seed as random variants.

        Raises UsageError, which calls the dataset `name`, for a model that is no hub.Module, for data of another kind,
        for other labels, and for several where the model gives one.
        """
        if not isinstance(model, Module):
            raise UsageError(
                f"{name}: only a hub.Module knows how samples of hub.datasets become batches",
                hint="pass collate_fn, which gets a list of samples with .input and .label",
            )
        inputs = tasks.kind(model.task).inputs
        if inputs == "unlabelled":
            dataset = load_pictures(dataset)  # a labelled set serves as well
        if dataset.holds != inputs:
            raise UsageError(
                f"{name}: expected {HELD[inputs]}, from which {model.name} learns, found {HELD[dataset.holds]}",
                hint=f'hub.datasets.load(…, kind="{inputs}")',
            )
        numbers = _numbers(dataset.labels, model.labels)
        if numbers is None:
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
        if dataset.multi_label:
            own = np.zeros((len(targets), len(model.labels)), np.float32)
            own[:, numbers] = targets
            targets = own
        elif inputs in _OF_CLASSES:
            targets = np.asarray(numbers)[targets]
        samples: Any = dataset
        if numbers != list(range(len(numbers))):
            samples = (
                dataset.renumbered(numbers) if isinstance(dataset, Masks) else _Renumbered(dataset, numbers)
            )
        return cls(Read(samples, items, targets, seed=seed))

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
