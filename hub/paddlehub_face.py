"""What PaddleHub's scripts ask of a module beside its own methods: labels by argument, and steps for `hub.Trainer`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from paddle import Tensor

from hub import tasks
from hub.errors import UsageError, WeightsError, one_of
from hub.finetune.config import Config
from hub.modules import weights
from hub.modules.archs import Backbone
from hub.modules.bundle import Bundle, require_labels
from hub.modules.network import Network
from hub.tasks import Task

TASKS = {
    "seq-cls": "text_classification",
    "sequence_classification": "text_classification",
    "token-cls": "sequence_labeling",
    "text-matching": "siamese_matching",
    "sound-cls": "audio_classification",
}
"""PaddleHub's names of tasks, and ours."""

OF_TWO = ("seq-cls", "sequence_classification", "text-matching")
"""PaddleHub's tasks that have two classes unless it is told otherwise."""

_PANNS = re.compile(r"cnn(6|10|14)\.")


SAME = {
    "directory": "name",
    "num_class": "num_classes",
    "class_dim": "num_classes",
    "pretrained": "load_checkpoint",
}
"""Arguments of PaddleHub's modules, and ours that means the same."""

MEANINGLESS = {
    "source": 'hub.Module("git+https://host/repository@branch#subdirectory=folder") takes a module folder from git',
    "branch": 'hub.Module("git+https://host/repository@branch") takes a module folder from git',
    "update": "hub install NAME fetches the newest version",
    "ignore_env_mismatch": "leave it out: a module holds no code that could need another environment",
    "suffix": "leave it out, and write tags with the prefix first: B-PER, I-PER, O",
}
"""Arguments of PaddleHub's that nothing here corresponds to, and what to do instead."""


class PaddleHubFace:
    """The methods of PaddleHub's fine-tunable modules, on our network and task."""

    _base: Bundle

    if TYPE_CHECKING:

        @property
        def network(self) -> Network: ...

        def _answering(self) -> Task: ...

        def _retask(self, task: Task, backbone: Backbone, config: Config) -> None: ...

    def _become(
        self,
        *,
        task: str | None,
        label_list: Sequence[str] | None,
        label_map: Mapping[Any, str] | None,
        num_classes: int | None,
        load_checkpoint: str | Path | None,
    ) -> None:
        """Take the labels and the weights that PaddleHub's arguments ask for. A fresh head is the same every time."""
        own = self._base.spec.task
        labels = chosen_labels(label_list, label_map, num_classes)
        if labels is None and task in OF_TWO and not self._base.labels:
            labels = ("0", "1")
        if labels is not None and labels != self._base.labels:
            fresh = tasks.create(own, labels)
            fresh.attach(self._base.backbone)
            self._retask(fresh, self._base.backbone, Config())
            self.network.eval()
        if load_checkpoint is not None:
            path = checkpoint_file(load_checkpoint)
            self.set_state_dict(weights.load(path), what=str(path))

    def parameters(self) -> list[Tensor]:
        """Give the parameters of backbone and head, for an optimizer."""
        parameters: list[Tensor] = self.network.parameters()
        return parameters

    def train(self) -> None:
        """Put the network into training: dropout, and batch statistics."""
        self.network.train()

    def eval(self) -> None:
        """Put the network into prediction, as it is after loading."""
        self.network.eval()

    def state_dict(self) -> dict[str, Tensor]:
        """Give parameters and buffers by name."""
        state: dict[str, Tensor] = self.network.state_dict()
        return state

    def set_state_dict(self, state: Mapping[str, Any], *, what: str = "state") -> None:
        """Take parameters and buffers, also by PaddleHub's names. Raises WeightsError unless all of them fit."""
        arrays = {name: np.asarray(value) for name, value in state.items()}
        weights.give(self.network, in_our_names(self.network, arrays), what=what)

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> dict[str, Any]:
        """Give {"loss": mean loss, "metrics": …} of a batch [inputs, targets], as `hub.Trainer` wants it.

        The metric is "acc", the share of right answers, where an answer is one label of several.
        """
        inputs, targets = batch[0], batch[1]
        task = self._answering()
        outputs = self.network(inputs)
        if "accuracy" not in task.metrics or task.multi_label:
            return {"loss": task.loss()(outputs, targets), "metrics": {}}
        targets = targets.flatten().astype("int64")  # PaddleHub's datasets give [N] or [N, 1]
        found = [each.numpy() for each in outputs] if isinstance(outputs, tuple) else outputs.numpy()
        wrong = cast(Any, task).misses(found, targets.numpy())
        return {"loss": task.loss()(outputs, targets), "metrics": {"acc": 1 - len(wrong) / len(targets)}}

    def validation_step(self, batch: Sequence[Any], batch_idx: int) -> dict[str, Any]:
        """Give the same as `training_step`; the trainer has switched to prediction."""
        return self.training_step(batch, batch_idx)


def in_our_names(network: Network, state: weights.State) -> weights.State:
    """Give a state that PaddleHub wrote for a pretrained module under the names of our network, in the same order.

    There the classifier stands among the layers of the published network, or beside it (the PANNs). Any other state is
    given as it is.
    """
    own = network.state_dict().keys()
    if not own.isdisjoint(state):
        return state
    if any(_PANNS.match(name) for name in state):
        body = {_PANNS.sub("", name): array for name, array in state.items() if _PANNS.match(name)}
        head = {name[3:]: array for name, array in state.items() if name.startswith("fc.")}
        body = {name: array for name, array in body.items() if not name.startswith("fc_audioset.")}
    else:
        try:
            body, found = network.backbone.from_published(state)
        except WeightsError:  # has another classifier: what differs is said where the state is given
            return state
        head = found or {}
    ours = {f"backbone.{name}": array for name, array in body.items()}
    ours |= {f"head.{name}": array for name, array in head.items()}
    return state if own.isdisjoint(ours) else ours


def our_arguments(given: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Give our arguments `own`, with those of PaddleHub's that mean the same.

    Raises UsageError for any other argument, but for those of PaddleHub's that have their default, and for one that was
    given in both ways.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in SAME and value is None:
            continue
        if name in SAME:
            if own[SAME[name]] is not None or SAME[name] in found:
                raise UsageError(f"{name} means {SAME[name]} here: expected one of them, found both")
            found[SAME[name]] = Path(value) if name == "directory" else value
        elif name not in MEANINGLESS:
            raise one_of("argument of hub.Module", name, own)
        elif value is not None and value is not False:
            raise UsageError(f"{name}: means nothing here, found {value!r}", hint=MEANINGLESS[name])
    return {**own, **found}


def turned(loaded: Bundle, task: str | None) -> Bundle:
    """Give the module for another task on the same inputs, without a head: an encoder of texts does several.

    Raises UsageError for a task that this module cannot be turned to.
    """
    own = loaded.spec.task
    wanted = own if task is None else TASKS.get(task, task)
    if wanted == own:
        return loaded
    possible = [name for name in tasks.names() if _on_texts(name)] if _on_texts(own) else [own]
    if wanted not in possible:
        raise one_of(
            "task", str(task), [*possible, *(name for name, ours in TASKS.items() if ours in possible)]
        )
    spec = replace(loaded.spec, task=wanted, head=None, golden=None)
    return replace(loaded, spec=spec, labels=(), head_state={})


def _on_texts(task: str) -> bool:
    return tasks.kind(task).inputs in ("texts", "pairs", "tagged", "rated texts", "rated pairs")


def chosen_labels(
    label_list: Sequence[str] | None,
    label_map: Mapping[Any, str] | None,
    num_classes: int | None,
) -> tuple[str, ...] | None:
    """Give the labels that were asked for, None when none were.

    Without names `num_classes` makes "0", "1", …. Raises UsageError for a map whose numbers do not count from 0, for
    no names, two that are equal or one of several lines, and for arguments that contradict each other.
    """
    found: dict[str, tuple[str, ...]] = {}
    if label_list is not None:
        if isinstance(label_list, str):
            raise UsageError(f"label_list: expected a list of class names, found {label_list!r}")
        found["label_list"] = tuple(map(str, label_list))
    if label_map is not None:
        keys = list(label_map)
        if all(isinstance(key, str) and key.isdecimal() for key in keys):  # JSON has no other keys
            keys = [int(key) for key in keys]
        if set(keys) != set(range(len(keys))):
            raise UsageError(
                f"label_map: expected the keys 0 to {len(keys) - 1}, found {sorted(map(str, keys))[:10]}"
            )
        by_number = dict(zip(keys, label_map.values(), strict=True))
        found["label_map"] = tuple(str(by_number[number]) for number in range(len(keys)))
    if num_classes is not None:
        if isinstance(num_classes, bool) or not isinstance(num_classes, Integral) or num_classes < 2:
            raise UsageError(f"num_classes: expected 2 or more, found {num_classes!r}")
        for name, labels in found.items():
            if len(labels) != num_classes:
                raise UsageError(f"num_classes={num_classes} and {name} with {len(labels)} names contradict")
        found.setdefault("num_classes", tuple(map(str, range(num_classes))))
    if {"label_list", "label_map"} <= set(found) and found["label_list"] != found["label_map"]:
        raise UsageError("label_list and label_map contradict each other", hint="pass one of them")
    for name, labels in found.items():
        if not labels:
            raise UsageError(f"{name}: expected the names of classes, found none")
        require_labels(labels, name)
    return next(iter(found.values()), None)


def checkpoint_file(path: str | Path) -> Path:
    """Give the file of a checkpoint; for a .pdparams that is not there, the .safetensors that is there instead.

    PaddleHub's scripts name best_model/model.pdparams, and `hub.Trainer` writes best_model/model.safetensors.
    Raises UsageError for what is no path.
    """
    if not isinstance(path, str | Path):
        raise UsageError(
            f"load_checkpoint: expected the path of a checkpoint, found {path!r}",
            hint="leave it out for the weights that the module comes with",
        )
    path = Path(os.path.expanduser(path))
    ours = path.with_suffix(".safetensors")
    there = os.path.isfile  # unlike Path, False for what is too long to be a name
    return ours if path.suffix == ".pdparams" and not there(path) and there(ours) else path
