"""From a network and data to a trained network: the strategies, and the record of what was done."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from hub._version import __version__
from hub.errors import UsageError, one_of
from hub.files import dump_json, write_text
from hub.finetune import ridge
from hub.finetune.batches import ArrayBatches, Batches
from hub.finetune.callbacks import Callback, KeepBest, Progress, WriteHistory
from hub.finetune.config import Config
from hub.finetune.schedules import warmup_cosine
from hub.finetune.trainer import Data, Trainer, measure
from hub.modules.archs import Backbone
from hub.modules.network import Network, infer
from hub.tasks import Task

SMALL_NETWORK = 3_000_000  # parameters
LEAST_STEPS, LEAST_EPOCHS, MOST_EPOCHS = 120, 5, 40
LOGIT_SCALES = (2.0, 4.0, 8.0, 16.0, 32.0)


@dataclass
class Run:
    """What a fine-tuning did. `metrics` are those of the best epoch on the validation set, {} without one."""

    folder: Path
    data: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    test_metrics: dict[str, Any] | None = None
    best_epoch: int = 0
    interrupted: bool = False

    @property
    def best(self) -> Path:
        """The module folder of the best epoch."""
        return self.folder / "best"

    def summary(self) -> str:
        """Give two lines: the best epoch with its metric, and where everything is."""
        metric = self.config["metric"]
        score = f", {metric} {self.metrics[metric]:.4f} on the validation set" if self.metrics else ""
        if self.test_metrics:
            score += f", {self.test_metrics[metric]:.4f} on the test set"
        return f"best: epoch {self.best_epoch}{score}\nmodule: {self.best}"


@dataclass(frozen=True)
class Sets:
    """The batches of one run. `in_order` is the training set in its own order, without random variants."""

    train: Batches
    in_order: Batches
    valid: Batches | None
    test: Batches | None
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Plan:
    """The settings with everything filled in that was left to be chosen, checked against task and data."""

    config: Config
    task: Task
    metric: str
    class_weight: np.ndarray | None


def plan(config: Config, task: Task, backbone: Backbone, sets: Sets) -> Plan:
    """Choose what was left open. Raises UsageError before anything is touched."""
    metric = config.metric or task.default_metric
    if metric not in task.metrics:
        raise one_of("metric", metric, task.metrics)
    if config.metric and sets.valid is None:
        raise UsageError(
            f"metric={metric!r} is to choose the best epoch, but there is no validation set",
            hint="pass valid=, or leave metric out",
        )
    size = sum(parameter.size for parameter in backbone.parameters())
    learning_rate = config.learning_rate or (
        1e-3 if config.strategy == "probe" else 5e-4 if size < SMALL_NETWORK else 1e-4
    )
    # Small sets need enough steps, large ones few epochs.
    epochs = config.epochs or min(MOST_EPOCHS, max(LEAST_EPOCHS, -(-LEAST_STEPS // sets.train.steps)))
    return Plan(
        config=replace(config, learning_rate=learning_rate, epochs=epochs),
        task=task,
        metric=metric,
        class_weight=task.class_weight(config.class_weight, sets.counts),
    )


def fit(
    network: Network,
    plan: Plan,
    sets: Sets,
    run: Run,
    *,
    save_best: Callable[[], object],
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> None:
    """Train `network` by the plan, leave its best weights in it, and write down in `run` what happened.

    KeyboardInterrupt and every error restore the best weights before they go on to the caller.
    """
    config, task = plan.config, plan.task
    run.config = {**config.to_dict(), "metric": plan.metric, **_environment(network)}
    write_text(run.folder / "config.json", dump_json(run.config))
    paddle.seed(config.seed)

    train: Data = sets.train
    valid: Data | None = sets.valid
    features: np.ndarray | None = None
    if config.strategy != "full":
        features = _features(network, sets.in_order)
        _fit_head(network, task, features, sets.in_order.targets)
    if config.strategy == "probe" and features is not None:
        train = ArrayBatches(features, sets.train.targets, batch_size=config.batch_size, seed=config.seed)
        if sets.valid:
            valid = ArrayBatches(
                _features(network, sets.valid), sets.valid.targets, batch_size=256, seed=None
            )
    keeper = KeepBest(plan.metric, larger_is_better=task.metrics[plan.metric], save=save_best)
    watchers = [keeper, WriteHistory(run.folder), *callbacks]
    if progress:
        watchers.append(Progress(plan.metric, train.count))
    trainer = Trainer(
        network.head if config.strategy == "probe" else network,
        task,
        optimizer=_optimizer(network, config),
        loss=task.loss(class_weight=plan.class_weight, label_smoothing=config.label_smoothing),
        schedule=warmup_cosine,
        callbacks=watchers,
    )
    run.history = trainer.history
    try:
        if features is not None:
            _offer_start(trainer, keeper, valid)
        trainer.fit(train, valid, epochs=config.epochs or 1)
    except KeyboardInterrupt:
        run.interrupted = True
        raise
    finally:
        keeper.restore(trainer)
        network.eval()
        run.best_epoch = keeper.epoch
    run.metrics = measure(network, task, sets.valid)[0] if sets.valid else {}
    run.test_metrics = measure(network, task, sets.test)[0] if sets.test else None
    record = {"best_epoch": run.best_epoch, "valid": run.metrics, "test": run.test_metrics}
    write_text(run.folder / "metrics.json", dump_json(record))


def _offer_start(trainer: Trainer, keeper: KeepBest, valid: Data | None) -> None:
    """Write the closed-form head down as epoch 0, so that training only ever replaces it by something better."""
    row = {"epoch": 0, **(trainer.evaluate(valid) if valid else {})}
    trainer.history.append(row)
    keeper.offer(trainer, row)


def _features(network: Network, data: Batches) -> np.ndarray:
    return np.concatenate([infer(network.backbone, inputs) for inputs, _ in data.epoch()])


def _fit_head(network: Network, task: Task, features: np.ndarray, targets: np.ndarray) -> None:
    """Set the head to the ridge solution, scaled so that its left-out predictions are best calibrated."""
    several = targets.ndim == 2
    wanted = targets if several else np.eye(len(task.labels))[targets]
    head = ridge.fit(features, wanted)
    # A ridge prediction lies between 0 and 1: as a logit it needs a scale, and for a sigmoid a middle of 0.
    middle = 0.5 if several else 0.0
    loss, right = task.loss(), paddle.to_tensor(targets)

    def left_out_loss(scale: float) -> float:
        return float(loss(paddle.to_tensor((scale * (head.left_out - middle)).astype(np.float32)), right))

    scale = min(LOGIT_SCALES, key=left_out_loss)
    network.head.weight.set_value((scale * head.weight).astype(np.float32))
    network.head.bias.set_value((scale * (head.bias - middle)).astype(np.float32))


def _optimizer(network: Network, config: Config) -> paddle.optimizer.Optimizer:
    """AdamW; no decay on biases and norms; each group back from the head learns `layer_decay` times slower."""
    assert config.learning_rate is not None
    groups = network.layer_groups()
    if config.strategy == "probe":
        groups = groups[-1:]
    parameters = []
    decayed: set[str] = set()
    for distance, (_, layers) in enumerate(reversed(groups)):
        members = [parameter for layer in layers for parameter in layer.parameters() if parameter.trainable]
        if members:
            parameters.append({"params": members, "learning_rate": config.layer_decay**distance})
        decayed |= {parameter.name for parameter in members if len(parameter.shape) > 1}
    return paddle.optimizer.AdamW(
        config.learning_rate,
        parameters=parameters,
        weight_decay=config.weight_decay,
        apply_decay_param_fun=decayed.__contains__,
    )


def _environment(network: Network) -> dict[str, Any]:
    return {
        "hub": __version__,
        "paddle": paddle.__version__,
        "python": platform.python_version(),
        "device": paddle.get_device(),
        "parameters": int(sum(parameter.size for parameter in network.parameters())),
    }
