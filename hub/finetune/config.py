"""Everything that a run was told, as one frozen value, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hub.errors import UsageError, one_of

STRATEGIES = {
    "probe": "train the head alone; the backbone stays bit for bit what it was",
    "full": "train everything from the start, with a fresh head",
    "probe_then_full": "fit the head in closed form on frozen features, then train everything",
}


@dataclass(frozen=True)
class Config:
    """The settings of one run; None means "chosen from the data", and the run records what was chosen."""

    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    strategy: str = "probe_then_full"
    class_weight: str | Mapping[str, float] | None = None
    label_smoothing: float = 0.0
    weight_decay: float = 1e-4
    layer_decay: float = 1.0
    augment: bool = True
    metric: str | None = None
    seed: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        """Raise UsageError that names the argument, what was given and what is allowed."""
        if self.strategy not in STRATEGIES:
            raise one_of("strategy", self.strategy, STRATEGIES)
        if self.epochs is not None:
            _whole("epochs", self.epochs, least=1)
        _whole("batch_size", self.batch_size, least=1)
        _whole("workers", self.workers, least=0)
        _whole("seed", self.seed, least=0)
        if self.learning_rate is not None:
            _number("learning_rate", self.learning_rate, above=0.0, most=10.0)
        _number("label_smoothing", self.label_smoothing, least=0.0, below=1.0)
        _number("weight_decay", self.weight_decay, least=0.0, below=1.0)
        _number("layer_decay", self.layer_decay, above=0.0, most=1.0)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as JSON can hold them."""
        data = asdict(self)
        if isinstance(self.class_weight, Mapping):
            data["class_weight"] = dict(self.class_weight)
        return data


def _whole(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name}: expected a whole number of at least {least}, found {value!r}")


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
