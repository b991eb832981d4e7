"""Everything that a run was told, as one frozen value, checked before anything is touched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hub.errors import UsageError, did_you_mean, one_of
from hub.finetune.schedules import SCHEDULES

STRATEGIES = {
    "probe": "train the head alone; the backbone stays bit for bit what it was",
    "full": "train everything from the start, with a fresh head",
    "probe_then_full": "fit the head on frozen features, in closed form where it is linear; then train everything",
    "gradual": "train the head, then open one group of layers after the other, the last ones first",
}
SAMPLERS = {
    "shuffle": "every sample once an epoch, in random order",
    "balanced": "every class equally often: samples of small classes come again, large ones are cut",
}


@dataclass(frozen=True)
class Config:
    """The settings of one run; None means "chosen from the data", and the run records what was chosen.

    What `Module.finetune` takes beyond its own arguments:

    freeze: what is never trained: a number of groups of layers from the input on, "backbone", or patterns of
        parameter names.
    drop_groups: how many groups of layers to take off the backbone's end: for targets unlike what it was trained on,
        such as textures.
    loss: "cross_entropy", "focal" or "logit_adjusted" (hub.tasks.losses.LOSSES); focal_gamma belongs to "focal".
        Segmentation has "dice" and "lovasz" in place of the latter two, siamese matching "contrastive" beside them.
    sampler: "shuffle" or "balanced".
    label_smoothing, dropout: the share of a target that goes to all classes; of features that are left out.
    weight_decay: AdamW's; norms and biases are never decayed.
    layer_decay: each group of layers learns this many times slower than the next one towards the head.
    anchor: strength of the pull back to the pretrained weights (L2-SP).
    average: decay of the moving average of the weights, which is then what is evaluated and kept (EMA).
    mixup, cutmix: the alpha of each; 0 is off.
    teacher: a larger module for the same task and labels whose answers are learnt as well, with teacher_weight (0 to 1)
        against the labels, at this temperature.
    schedule: "cosine", "linear", "one_cycle", "polynomial" or "constant", after `warmup`, a share of the run
        (None: the schedule's own).
    clip_norm: the largest norm that the gradient of a step may have.
    accumulate: how many batches make one step.
    max_tokens: texts of a batch that are, padded, more pieces than this go through the network in parts whose
        gradients add up to the same step: memory is bounded however long they are.
    precision: "fp32"; on a GPU also "fp16" and "bf16".
    to_static: whether the model is compiled (paddle.jit.to_static).
    cache: whether the features of frozen groups are computed once and kept, also for the next run.
    views: random variants of each sample that are cached; 1 is the sample as it is.
    checkpoint_minutes: how often a checkpoint is written within an epoch; there are others at epochs' ends anyway.
    """

    epochs: int | None = None
    batch_size: int | Literal["auto"] = 32
    learning_rate: float | None = None
    strategy: str | None = None
    freeze: str | int | Sequence[str] | None = None
    drop_groups: int = 0
    loss: str = "cross_entropy"
    focal_gamma: float = 2.0
    class_weight: str | Mapping[str, float] | None = None
    sampler: str = "shuffle"
    label_smoothing: float = 0.0
    dropout: float = 0.0
    weight_decay: float = 1e-4
    layer_decay: float = 1.0
    anchor: float = 0.0
    average: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    teacher: Any = None
    teacher_weight: float = 0.7
    temperature: float = 4.0
    schedule: str = "cosine"
    warmup: float | None = None
    clip_norm: float | None = None
    accumulate: int = 1
    max_tokens: int = 4096
    precision: str = "fp32"
    to_static: bool = False
    augment: bool = True
    cache: bool = True
    views: int = 1
    metric: str | None = None
    seed: int = 0
    workers: int = 0
    checkpoint_minutes: float = 10.0

    @classmethod
    def of(cls, others: Sequence[str] = (), caller: str = "finetune", /, **settings: Any) -> Config:
        """Give the configuration of these settings. Raises UsageError for a name that is none, with the nearest.

        `others` are names that the caller takes elsewhere, to be named in the error.
        """
        names = [*(field.name for field in fields(cls)), *others]
        for name in settings:
            if name not in names:
                hint = did_you_mean(name, names) or f"there are {', '.join(names)}"
                raise UsageError(f"{caller} takes no argument {name!r}", hint=hint)
        return cls(**settings)

    def __post_init__(self) -> None:
        """Raise UsageError that names the argument, what was given and what is allowed."""
        for name, table in (("sampler", SAMPLERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in table:
                raise one_of(name, getattr(self, name), table)
        if self.strategy is not None:
            strategy = str(self.strategy).replace("-", "_")
            if strategy not in STRATEGIES:
                raise one_of("strategy", self.strategy, STRATEGIES)
            object.__setattr__(self, "strategy", strategy)
        for field in fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
        if self.epochs is not None:
            _whole("epochs", self.epochs, least=1)
        if self.batch_size != "auto":
            _whole("batch_size", self.batch_size, least=1, also=" or 'auto'")
        for name, least in (
            ("workers", 0), ("accumulate", 1), ("max_tokens", 1), ("views", 1), ("drop_groups", 0),
        ):  # fmt: skip
            _whole(name, getattr(self, name), least=least)
        _whole("seed", self.seed, least=0, below=2**32)
        if self.learning_rate is not None:
            _number("learning_rate", self.learning_rate, above=0.0, most=10.0)
        if self.clip_norm is not None:
            _number("clip_norm", self.clip_norm, above=0.0, below=math.inf)
        for name in ("label_smoothing", "dropout", "weight_decay", "average", "warmup"):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name), least=0.0, below=1.0)
        for name in ("anchor", "mixup", "cutmix", "focal_gamma"):
            _number(name, getattr(self, name), least=0.0, most=100.0)
        _number("layer_decay", self.layer_decay, above=0.0, most=1.0)
        _number("teacher_weight", self.teacher_weight, least=0.0, most=1.0)
        _number("temperature", self.temperature, above=0.0, most=100.0)
        _number("checkpoint_minutes", self.checkpoint_minutes, above=0.0, below=math.inf)
        for name in ("to_static", "augment", "cache"):
            flag(name, getattr(self, name))
        if not isinstance(self.class_weight, str | Mapping | None):
            raise UsageError(
                f"class_weight: expected 'balanced' or {{name: weight}}, found {type(self.class_weight).__name__}",
                hint="such as {'cat': 2, 'dog': 1}; of a pandas Series, dict(series)",
            )
        self._check_together()

    def _check_together(self) -> None:
        mixing = [name for name in ("mixup", "cutmix") if getattr(self, name)]
        if mixing and self.teacher is not None:
            raise UsageError(
                f"{mixing[0]} and teacher cannot be used together: the teacher answers for whole samples"
            )
        if mixing and self.strategy == "probe":
            raise UsageError(
                f"{mixing[0]} mixes samples, and strategy='probe' trains on features of whole ones"
            )
        if self.strategy == "probe" and self.freeze not in (None, "backbone"):
            raise UsageError(f"strategy='probe' freezes the whole backbone, found freeze={self.freeze!r}")

    @property
    def step_size(self) -> int:
        """Samples of one process in a step."""
        return (32 if self.batch_size == "auto" else self.batch_size) * self.accumulate

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as JSON can hold them."""
        data = asdict(replace(self, teacher=None))  # a loaded module is nothing to copy
        if self.freeze is not None and not isinstance(self.freeze, str | int):
            data["freeze"] = list(self.freeze)
        if self.teacher is not None:
            data["teacher"] = str(self.teacher if isinstance(self.teacher, str | Path) else self.teacher.name)
        return data


def plain(value: Any) -> Any:
    """Give numbers and truth values as Python's own: others are as good, but JSON cannot hold them.

    Those in a mapping too; anything else is given as it is.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {plain(name): plain(each) for name, each in value.items()}
    if isinstance(value, Real) and not isinstance(value, bool):
        return int(value) if isinstance(value, Integral) else float(value)
    return value


def flag(name: str, value: object) -> bool:
    """Give True or False, of numpy too, as Python's own. Raises UsageError for anything else."""
    found = plain(value)
    if not isinstance(found, bool):
        raise UsageError(f"{name}: expected True or False, found {value!r}")
    return found


def _whole(name: str, value: object, *, least: int, below: int | None = None, also: str = "") -> None:
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not fits or (below is not None and value >= below):  # type: ignore[operator]
        limit = "" if below is None else f" and below {below}"
        raise UsageError(f"{name}: expected a whole number of at least {least}{limit}{also}, found {value!r}")


def _number(
    name: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    limits = {"at least": least, "above": above, "at most": most, "below": below}
    inside = isinstance(value, int | float) and not isinstance(value, bool)
    inside = inside and (least is None or value >= least) and (above is None or value > above)  # type: ignore[operator]
    inside = inside and (most is None or value <= most) and (below is None or value < below)  # type: ignore[operator]
    if not inside:
        wanted = " and ".join(f"{word} {limit:g}" for word, limit in limits.items() if limit is not None)
        raise UsageError(f"{name}: expected a number {wanted}, found {value!r}")
