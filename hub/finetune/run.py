"""From a network and data to a trained network: what the settings come to, and the record of what was done."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import platform
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import paddle
from paddle import nn

from hub import tasks
from hub._version import __version__
from hub.errors import TrainingError, UsageError, one_of
from hub.files import dump_json, write_text
from hub.finetune import (
    closed_form,
    distributed,
    freezing,
    mixing,
    optimizer,
    regularize,
    resume,
    sampling,
    schedules,
)  # fmt: skip
from hub.finetune.batches import Batch, Batches, Read, Source, Stored
from hub.finetune.callbacks import Callback, KeepBest, Progress, WriteHistory
from hub.finetune.checkpoint import Checkpoints
from hub.finetune.config import Config
from hub.finetune.distributed import Group
from hub.finetune.early_stop import EarlyStop
from hub.finetune.features import Features
from hub.finetune.freezing import Frozen
from hub.finetune.precision import Precision
from hub.finetune.range_test import RangeTest
from hub.finetune.range_test import range_test as measure_rates
from hub.finetune.trainer import Interrupted, Trainer, measure
from hub.finetune.worst import Miss, Worst
from hub.modules.archs import Backbone
from hub.modules.network import Network
from hub.tasks import Task
from hub.tasks.base import Loss

if TYPE_CHECKING:
    from hub.finetune.report import Mistake

SMALL_NETWORK = 3_000_000  # parameters
LEAST_STEPS, LEAST_EPOCHS, MOST_EPOCHS = 120, 5, 40
LOSS_SETTINGS = ("loss", "class_weight", "label_smoothing", "focal_gamma")


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
    task: str = ""
    labels: tuple[str, ...] = ()
    misses: list[Miss] = field(default_factory=list)
    """The surest wrong answers on the validation set."""
    samples: Any = None
    """The validation set, in which `misses` are counted."""
    command: str = ""
    """What to write to do it again."""

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

    def report(self, path: str | Path) -> Path:
        """Write the run as one HTML page that needs nothing else, and give its path."""
        from hub.finetune import report

        return report.write(
            Path(path),
            report.Report(
                title=self.folder.name, task=self.task, data=self.data, config=self.config, history=self.history,
                metrics=self.metrics, test_metrics=self.test_metrics, best_epoch=self.best_epoch,
                labels=self.labels, mistakes=[self._mistake(miss) for miss in self.misses],
                environment=self.config["environment"],
                command=self.config["command"],
            ),
        )  # fmt: skip

    def _mistake(self, miss: Miss) -> Mistake:
        from hub.finetune.report import Mistake

        sample, kind = self.samples[miss.index], tasks.kind(self.task)
        shown = kind.show(sample.input) if hasattr(kind, "show") else sample.input
        return Mistake(str(sample.origin), miss.expected, miss.found, miss.score, shown)


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


@dataclass(frozen=True)
class Plan:
    """The settings with everything filled in that was left to be chosen, checked against task, network and data."""

    config: Config
    task: Task
    metric: str
    frozen: Frozen
    loss: Loss
    early_stop: EarlyStop | None = None

    @property
    def closed_form(self) -> bool:
        return self.config.strategy in ("probe", "probe_then_full")


def plan(
    config: Config, task: Task, backbone: Backbone, sets: Sets, *, early_stop: Any = None, ranks: int = 1
) -> Plan:
    """Choose what was left open. Raises UsageError before anything is touched."""
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
    frozen = freezing.choose(
        Network(backbone, task.build_head(backbone.feature_spec)),
        "backbone" if strategy == "probe" else config.freeze,
    )
    size = sum(parameter.size for parameter in backbone.parameters())
    learning_rate = config.learning_rate or (
        1e-3 if strategy == "probe" else 5e-4 if size < SMALL_NETWORK else 1e-4
    )
    Precision(config.precision)
    distributed.require_shares(len(sets.train), ranks)
    # Small sets need enough steps, large ones few epochs.
    steps = -(-len(sets.train) // (config.step_size * ranks))
    epochs = config.epochs or min(MOST_EPOCHS, max(LEAST_EPOCHS, -(-LEAST_STEPS // steps)))
    chosen = replace(config, strategy=strategy, learning_rate=learning_rate, epochs=epochs)
    return Plan(chosen, task, metric, frozen, _loss(chosen, task, sets), stopper)


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
    share = config.teacher_weight
    learn = partial(
        regularize.distillation_loss, temperature=config.temperature, multi_label=task.multi_label
    )

    def with_teacher(outputs: Any, targets: Any) -> Any:
        labels, answers = targets
        return (1 - share) * own(outputs, labels) + share * learn(outputs, answers)

    return with_teacher


def fit(
    network: Network,
    plan: Plan,
    sets: Sets,
    run: Run,
    store: Checkpoints,
    *,
    save_best: Callable[[], object],
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    resuming: bool = False,
    group: Group | None = None,
    features: Features,
    teacher_answers: np.ndarray | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Train `network` by the plan, leave its best weights in it, and write down in `run` what happened.

    With `resuming`, go on from the newest checkpoint of the run's folder, if it has one. KeyboardInterrupt (and
    SystemExit after SIGTERM) and every error restore the best weights before they go on to the caller.
    """
    config, task, group = plan.config, plan.task, group or Group()
    assert config.epochs is not None, "plan() fills it in"
    identity = {
        "config": config.to_dict(),
        "labels": list(sets.labels),
        "data": sets.identity(),
        "network": {name: list(tensor.shape) for name, tensor in network.state_dict().items()},
        "ranks": group.size,
    }
    checkpoint = store.newest() if resuming else None
    if checkpoint is not None:
        for warning in resume.require_same(checkpoint, identity):
            say(warning)
    _record(run, plan, network, group)

    paddle.seed(config.seed)
    freezing.apply(network, plan.frozen)
    trained, total = freezing.count(network)
    say(f"training {trained:,} of {total:,} parameters")
    fit_head = plan.closed_form and closed_form.can_fit(network.head, task)
    if fit_head and checkpoint is None:
        whole = features.of(network, len(network.layer_groups()) - 1, sets.train)[0]
        assert isinstance(whole, np.ndarray), "a pooled feature is one array"
        closed_form.fit_head(network.head, task, whole, sets.train.targets)
    cut = _cut(network, plan, sets, features, say)
    model: nn.Layer = network.rest(cut) if cut else network
    train = _training_batches(network, plan, sets, features, cut, teacher_answers, group)
    valid = _batches(network, sets.valid, features, cut, config, group)

    keeper = KeepBest(plan.metric, larger_is_better=task.metrics[plan.metric], save=_first(group, save_best))
    trainer = _trainer(network, model, plan, group)
    checkpointer = resume.Checkpointer(store, keeper, identity, minutes=config.checkpoint_minutes, say=say)
    own: list[Callback] = [keeper]
    if plan.early_stop:
        own.append(plan.early_stop)
    if config.strategy == "gradual" or (plan.closed_form and config.strategy != "probe" and not fit_head):
        own.append(freezing.Unfreeze(network, plan.frozen, gradual=config.strategy == "gradual"))
    if group.first:
        own.append(WriteHistory(run.folder))
        if progress:
            own.append(Progress(plan.metric, train.count))
    trainer.callbacks = [*own, *callbacks, checkpointer]
    run.history = trainer.history
    if checkpoint is not None:
        resume.go_on(trainer, keeper, checkpoint)
        say(f"going on after step {trainer.step} (epoch {trainer.epoch} of {config.epochs})")
    try:
        if fit_head and checkpoint is None:
            _offer_start(trainer, keeper, valid)
        trainer.fit(train, valid, epochs=config.epochs)
    except Interrupted as request:
        run.interrupted = True
        checkpointer.save(trainer)
        say(f"stopped by {request} after step {trainer.step}; go on with {_how_to_resume(run)}")
        if request.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise KeyboardInterrupt from None
    except KeyboardInterrupt:  # the second Ctrl-C, or one outside the main thread: at once
        run.interrupted = True
        raise
    except TrainingError:
        raise  # the weights may be worthless; the checkpoint before them is kept
    except Exception:
        checkpointer.save(trainer)
        say(f"stopped after step {trainer.step}; once that is mended, go on with {_how_to_resume(run)}")
        raise
    finally:
        keeper.put_back(trainer)
        if config.to_static:
            model.forward.rollback()  # what was compiled for training is not what predicts
        freezing.apply(network, Frozen())
        network.eval()
        run.best_epoch = keeper.epoch
    worst = Worst(task)
    run.metrics = measure(model, task, valid, group=group, worst=worst)[0] if valid else {}
    run.misses = worst.misses() if group.size == 1 else []  # a share of the samples is counted otherwise
    test = _batches(network, sets.test, features, 0, config, group)
    run.test_metrics = measure(network, task, test, group=group)[0] if test else None
    if group.first:
        record = {"best_epoch": run.best_epoch, "valid": run.metrics, "test": run.test_metrics}
        write_text(run.folder / "metrics.json", dump_json(record))


def range_test(network: Network, plan: Plan, sets: Sets, *, low: float, high: float, steps: int) -> RangeTest:
    """Train the network with rates from `low` to `high`, one a step, and give the losses and a suggestion.

    The network is of no use afterwards. Raises what hub.finetune.range_test.range_test raises.
    """
    freezing.apply(network, plan.frozen)
    trainer = _trainer(network, network, plan, Group())
    trainer.schedule, trainer.total_steps = (lambda position: 1.0), 1
    train = _training_batches(network, plan, sets, None, 0, None, Group())
    trainer.train_mode(-(-train.count // train.steps))
    batches = (
        (batch, size)
        for epoch in itertools.count(1)
        for batch, size in zip(train.epoch(epoch), train.sizes, strict=True)
    )

    def step(rate: float) -> float:
        trainer.learning_rate = rate
        (inputs, targets), size = next(batches)
        return trainer.train_step(inputs, targets, size)

    return measure_rates(step, low=low, high=high, steps=steps)


def _cut(network: Network, plan: Plan, sets: Sets, features: Features, say: Callable[[str], None]) -> int:
    """Give before which group training begins on features that are computed once; 0 for none."""
    config, cut = plan.config, plan.frozen.groups
    if not cut or not config.cache or config.mixup or config.cutmix:
        return 0
    if not features.fits(network, cut, sets.train, views=config.views):
        say("the features of the frozen part would be too large to keep: they are computed at every step")
        return 0
    if (
        config.augment
        and sets.train.items.examples.varies
        and config.views == 1
        and cut < len(network.stages()) - 1
    ):
        say("the frozen part sees each sample once, without random variants (views=4 keeps four of each)")
    return cut


def _trainer(network: Network, model: nn.Layer, plan: Plan, group: Group) -> Trainer:
    config = plan.config
    assert config.learning_rate is not None
    trained = {id(parameter) for parameter in model.parameters()}
    groups = [
        (name, [layer for layer in layers if any(id(each) in trained for each in layer.parameters())])
        for name, layers in network.layer_groups()
    ]
    penalty = None
    if config.anchor:
        start = {name: each.clone().detach() for name, each in network.backbone.named_parameters()}
        penalty = partial(regularize.anchor_penalty, network.backbone, start, config.anchor)
    group.same_start(model)
    return Trainer(
        paddle.jit.to_static(model) if config.to_static else model,
        plan.task,
        optimizer=optimizer.build(groups, config, config.learning_rate),
        loss=plan.loss,
        schedule=schedules.by_name(
            config.schedule, **({} if config.warmup is None else {"warmup": config.warmup})
        ),
        metric=plan.metric,
        penalty=penalty,
        average=regularize.WeightAverage(model, config.average) if config.average else None,
        precision=Precision(config.precision),
        group=group,
        pieces=config.accumulate,
        split_when_full=config.batch_size == "auto",
    )


def _training_batches(
    network: Network,
    plan: Plan,
    sets: Sets,
    features: Features | None,
    cut: int,
    teacher_answers: np.ndarray | None,
    group: Group,
) -> Batches:
    config, task, targets = plan.config, plan.task, sets.train.targets
    varied = Read(sets.train.samples, sets.train.items, targets, seed=config.seed if config.augment else None)
    source: Source = varied
    if cut and features is not None:
        views = config.views if config.augment and varied.items.examples.varies else 1
        variants = features.of(network, cut, sets.train if views == 1 else varied, views=views)
        source = Stored(variants, targets)

    def order(epoch: int) -> np.ndarray:
        if config.sampler == "balanced":
            return sampling.balanced_order(targets, seed=config.seed, epoch=epoch)
        return sampling.shuffled_order(len(targets), seed=config.seed, epoch=epoch)

    def finish(batch: Batch, indices: np.ndarray, epoch: int) -> Batch:
        inputs, labels = batch
        if teacher_answers is not None:
            return inputs, (labels, teacher_answers[indices])  # type: ignore[return-value]
        if config.mixup or config.cutmix:
            assert isinstance(labels, np.ndarray), "plan() refuses mixing for other tasks"
            soft = labels if labels.ndim == 2 else mixing.one_hot(labels, len(task.labels))
            rng = np.random.default_rng((config.seed, epoch, int(indices[0]), len(indices)))
            return mixing.mix(inputs, soft, rng=rng, mixup=config.mixup, cutmix=config.cutmix)
        return batch

    return Batches(
        source, batch_size=config.step_size * group.size, order=order, workers=config.workers, part=group.part,
        finish=finish,
    )  # fmt: skip


def _batches(
    network: Network,
    source: Read | None,
    features: Features,
    cut: int,
    config: Config,
    group: Group,
) -> Batches | None:
    """Give a set in its own order, as it is evaluated; None for none."""
    if source is None:
        return None
    given: Source = Stored(features.of(network, cut, source)[:1], source.targets) if cut else source
    size = max(config.step_size // config.accumulate, 256 if cut else 1)
    return Batches(given, batch_size=size * group.size, workers=config.workers, part=group.part)


def _offer_start(trainer: Trainer, keeper: KeepBest, valid: Batches | None) -> None:
    """Write the closed-form head down as epoch 0, so that training only ever replaces it by something better."""
    row = {"epoch": 0, **(trainer.evaluate(valid) if valid else {})}
    trainer.history.append(row)
    keeper.offer(trainer, row)


def _first(group: Group, save: Callable[[], object]) -> Callable[[], object]:
    return save if group.first else lambda: None


def _how_to_resume(run: Run) -> str:
    return f"output_dir={str(run.folder)!r}, resume=True (hub finetune … --output {run.folder} --resume)"


def _record(run: Run, plan: Plan, network: Network, group: Group) -> None:
    run.labels, run.task = plan.task.labels, plan.task.name
    environment = {
        "hub": __version__, "paddle": paddle.__version__, "python": platform.python_version(),
        "device": paddle.get_device(), "machine": platform.machine(), "processes": str(group.size),
    }  # fmt: skip
    run.config = {
        **plan.config.to_dict(), "metric": plan.metric, "environment": environment,
        "parameters": freezing.count(network)[1],
        "command": run.command,
    }  # fmt: skip
    if group.first:
        write_text(run.folder / "config.json", dump_json(run.config))


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
