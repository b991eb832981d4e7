"""What the settings come to for one task, network and set of data: chosen and checked before anything is touched."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hub.contents import digest_of
from hub.errors import UsageError, one_of
from hub.finetune import distributed, freezing, mixing, regularize
from hub.finetune.batches import FIRST, ItemCache, Read
from hub.finetune.config import Config, plain
from hub.finetune.early_stop import EarlyStop
from hub.finetune.freezing import Frozen
from hub.finetune.precision import Precision
from hub.modules.archs import Backbone
from hub.modules.building import building
from hub.modules.network import Network
from hub.tasks import Task
from hub.tasks.base import Examples, Loss, Sum, WeightedMean

SMALL_NETWORK, COMPACT_NETWORK = 3_000_000, 50_000_000  # parameters
LEAST_STEPS, LEAST_EPOCHS, MOST_EPOCHS = 120, 5, 40
LOSS_SETTINGS = ("loss", "class_weight", "label_smoothing", "focal_gamma")
CLASS_SETTINGS = ("sampler", "mixup", "cutmix")
"""What means something only where a sample has a class, or several."""
TEACHER_SETTINGS = ("teacher", "teacher_weight", "temperature")


@dataclass(frozen=True)
class Sets:
    """The samples of one run. `train` is in its own order, without random variants."""

    train: Read
    valid: Read | None
    test: Read | None
    labels: tuple[str, ...]
    counts: Mapping[str, int]

    def identity(self) -> dict[str, str]:
        """Give for each set how many samples it has and a digest of their contents and labels."""
        return {
            name: f"{len(part)} samples, {_digest([*part.keys(), part.targets.tobytes().hex()])}"
            for name, part in (("train", self.train), ("valid", self.valid), ("test", self.test))
            if part is not None
        }

    def answers(self) -> dict[str, str]:
        """Give for each set a digest of what its samples teach, where that is more than a number each."""
        return {
            name: _digest([_of_label(part.samples[index].label, part.items) for index in range(len(part))])
            for name, part in (("train", self.train), ("valid", self.valid), ("test", self.test))
            if part is not None and part.items.examples.targets_from_items
        }


@dataclass(frozen=True)
class Plan:
    """The settings with everything filled in that was left to be chosen, checked against task, network and data."""

    config: Config
    task: Task
    metric: str
    frozen: Frozen
    loss: Loss
    shapes: Mapping[str, Sequence[int]]
    """Of every parameter of the network that is to be trained, by name."""
    early_stop: EarlyStop | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the task was told beside its labels, as JSON can hold it."""

    @property
    def told(self) -> dict[str, Any]:
        """Everything that the run was told, as JSON can hold it."""
        return {**self.config.to_dict(), **self.options}

    @property
    def closed_form(self) -> bool:
        return self.config.strategy in ("probe", "probe_then_full")

    def identity(
        self, sets: Sets, *, ranks: int, reading: str, start: str, teacher: str = ""
    ) -> dict[str, Any]:
        """Give what decides the result of a run: a checkpoint of another one is not gone on from.

        `reading` is a digest of how inputs are read and varied, `start` of the weights that the run begins with, and
        `teacher` of the module that teaches, where there is one.
        """
        return {
            "config": self.told,
            "labels": list(sets.labels),
            "data": sets.identity(),
            "network": {name: list(shape) for name, shape in self.shapes.items()},
            "ranks": ranks,
            "answers": sets.answers(),
            "sources": {**self.task.sources(), **({"teacher": teacher} if teacher else {})},
            "reading": reading,
            "start": start,
        }


def plan(
    config: Config,
    task: Task,
    backbone: Backbone,
    sets: Sets,
    *,
    options: Mapping[str, Any] | None = None,
    early_stop: Any = None,
    ranks: int = 1,
) -> Plan:
    """Choose what was left open. `options` are the task's own. Raises UsageError before anything is touched."""
    metric = config.metric or task.default_metric
    if metric not in task.metrics:
        raise one_of("metric", metric, task.metrics)
    if config.metric and sets.valid is None:
        raise UsageError(
            f"metric={metric!r} is to choose the best epoch, but there is no validation set",
            hint="pass valid=, or leave metric out",
        )
    stopper = EarlyStop.of(early_stop)
    if stopper is not None:
        stopper.check(metric=metric, metrics=task.metrics, has_valid=sets.valid is not None)
    strategy = config.strategy or task.default_strategy
    _refuse_others(config, task, sets)
    if task.of_numbers:
        task.scale_to(sets.train.targets)  # type: ignore[attr-defined]
    with building():
        network = Network(backbone, task.build_head(backbone.feature_spec))
    if strategy == "probe" and not network.head.parameters():
        raise UsageError(
            f"strategy='probe' trains the head alone, and {task.name} has no head to train",
            hint="strategy='full' trains the network; freeze=1 keeps its first group of layers as it is",
        )
    frozen = freezing.choose(network, "backbone" if strategy == "probe" else config.freeze)
    _refuse_idle(config, frozen, sets.train.items.examples)
    size = sum(parameter.size for parameter in backbone.parameters())
    learning_rate = config.learning_rate or usual_rate(task, strategy, size)
    Precision(config.precision)
    distributed.require_shares(len(sets.train), ranks)
    # Small sets need enough steps, large ones few epochs.
    steps = -(-len(sets.train) // (config.step_size * ranks))
    epochs = config.epochs or min(MOST_EPOCHS, max(LEAST_EPOCHS, -(-LEAST_STEPS // steps)))
    chosen = replace(config, strategy=strategy, learning_rate=learning_rate, epochs=epochs)
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    told = {name: _plain(value) for name, value in (options or {}).items()}
    return Plan(chosen, task, metric, frozen, _loss(chosen, task, sets), shapes, stopper, told)


def usual_rate(task: Task, strategy: str, size: int) -> float:
    """Give the highest learning rate for a backbone of so many parameters, where none is asked for."""
    if strategy == "probe":
        return 1e-3
    if size < SMALL_NETWORK:
        return 5e-4
    return task.compact_rate if size < COMPACT_NETWORK else 1e-4


def _refuse_others(config: Config, task: Task, sets: Sets) -> None:
    """Raise UsageError for a setting that is for other tasks."""
    has_class = not (task.of_numbers or sets.train.items.examples.targets_from_items)
    for names, fits, what in (
        (CLASS_SETTINGS, has_class, "tasks in which a sample has a class"),
        (TEACHER_SETTINGS, hasattr(task, "from_teacher"), "classification, matching and tagged words"),
    ):
        for name in names:
            value = getattr(config, name)
            if value != getattr(Config, name) and not fits:
                raise UsageError(f"{name}={value!r} means nothing for {task.name}", hint=f"it is for {what}")
    if config.mixup or config.cutmix:  # the first sample says it of all
        mixing.mixable(sets.train.take(FIRST, 0)[0], cutmix=bool(config.cutmix))


def _refuse_idle(config: Config, frozen: Frozen, examples: Examples) -> None:
    """Raise UsageError for a setting that would do nothing without another one."""
    for name in TEACHER_SETTINGS:
        value = getattr(config, name)
        if value != getattr(Config, name) and config.teacher is None:
            raise UsageError(f"{name}={value!r} belongs to teacher, found teacher=None")
    if config.views == 1:
        return
    belongs = f"views={config.views!r} belongs to features that are kept"
    if not frozen.groups:
        raise UsageError(
            f"{belongs}, and nothing is frozen from the input on",
            hint="freeze='backbone' or a number of groups, or leave views out: each epoch varies samples anew",
        )
    if examples.targets_from_items:  # a mask, or the colours of a picture
        raise UsageError(
            f"{belongs}, and none are where answers are made with the sample", hint="leave views out"
        )
    for name in ("mixup", "cutmix"):
        if getattr(config, name):
            raise UsageError(f"{belongs}, found {name}={getattr(config, name)!r}, which mixes samples anew")
    if not config.cache:
        raise UsageError(f"{belongs}, found cache=False")
    if not (config.augment and examples.varies):
        found = "the module has no augment steps" if config.augment else "augment=False"
        raise UsageError(
            f"views={config.views!r} keeps random variants of a sample, and {found}: each would be the same",
            hint="leave views out",
        )


def _plain(value: Any) -> Any:
    """Give what stands for an option in JSON: itself, of a picture or array its digest, of anything else its kind.

    What a module learns from beside the data, `Task.sources` tells apart.
    """
    value = plain(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    seen = hasattr(value, "__array__") or hasattr(value, "__array_interface__")
    return f"{type(value).__name__} {digest_of(value)[:16]}" if seen else type(value).__name__


def _loss(config: Config, task: Task, sets: Sets) -> Loss:
    """Give the training loss. Raises UsageError for a setting that means nothing for this task."""
    options: dict[str, Any] = {}
    takes = inspect.signature(task.loss).parameters
    for name in LOSS_SETTINGS:
        value, usual = getattr(config, name), getattr(Config, name)
        argument = "kind" if name == "loss" else name
        if value == usual:
            continue
        if argument not in takes:
            raise UsageError(f"{name}={value!r} means nothing for {task.name}")
        options[argument] = task.class_weight(value, sets.counts) if name == "class_weight" else value
    if config.loss == "logit_adjusted":
        options |= {"counts": sets.counts, "samples": len(sets.train)}
    own = task.loss(**options)
    if config.teacher is None:
        return own
    distance = partial(
        regularize.distillation_loss, temperature=config.temperature, multi_label=task.multi_label
    )
    from_teacher = task.from_teacher(distance)  # type: ignore[attr-defined]
    return Sum(
        _share(1 - config.teacher_weight, own, lambda targets: targets[0]),
        _share(config.teacher_weight, from_teacher, lambda targets: targets),
    )


def _share(share: float, loss: Loss, of: Callable[[Any], Any]) -> Loss:
    """Give so much of a loss, for what `of` gives of the targets."""

    def part(outputs: Any, targets: Any) -> Any:
        return share * loss(outputs, of(targets))

    if isinstance(loss, WeightedMean):
        weight = loss.weight
        return WeightedMean(part, lambda targets: weight(of(targets)))
    return part


def _of_label(label: Any, items: ItemCache) -> str:
    """Give a digest of a mask, of its file's bytes where it has one, or of the numbers of tags."""
    if file := getattr(label, "file", ""):
        return f"{items.digest(Path(file))} {label.table}"
    return digest_of(np.asarray(label))


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
