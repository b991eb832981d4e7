"""From a network and a plan to a trained network: what of it is trained, on which batches, and how the run ends."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn
from tqdm import tqdm

from hub.errors import TrainingError
from hub.files import require_space
from hub.finetune import closed_form, freezing, mixing, optimizer, regularize, resume, sampling, schedules
from hub.finetune.batches import Batch, Batches, Read, Source, Stored
from hub.finetune.callbacks import Callback, KeepBest, Progress, WriteHistory
from hub.finetune.checkpoint import Checkpoint, Checkpoints
from hub.finetune.config import Config
from hub.finetune.distributed import Group
from hub.finetune.features import Features
from hub.finetune.plan import Plan, Sets
from hub.finetune.precision import Precision
from hub.finetune.range_test import RangeTest
from hub.finetune.range_test import range_test as measure_rates
from hub.finetune.run import Run, environment
from hub.finetune.trainer import Interrupted, Trainer
from hub.finetune.worst import Worst
from hub.modules import weights
from hub.modules.building import building
from hub.modules.compiled import failed_traces_forgotten
from hub.modules.network import Network


@dataclass(frozen=True)
class Store:
    """Where a run keeps its checkpoints, the one that it goes on from, and what must be equal to go on from it."""

    checkpoints: Checkpoints
    start: Checkpoint | None
    identity: dict[str, Any]


def fit(
    network: Network,
    plan: Plan,
    sets: Sets,
    run: Run,
    store: Store,
    *,
    save_best: Callable[[], object],
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    group: Group | None = None,
    features: Features,
    teacher_answers: Sequence[np.ndarray] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Train `network` by the plan, leave its best weights in it, and write down in `run` what happened.

    `save_best` writes the network as it is; it is called for the best weights now and then, and at the end, however
    the run ends. KeyboardInterrupt (and SystemExit after SIGTERM) and every error restore the best weights before
    they go on to the caller; where there are none yet (`run.begun`), those that it began with, and nothing is written.
    """
    config, task, group = plan.config, plan.task, group or Group()
    assert config.epochs is not None, "plan() fills it in"
    if group.first:  # now, and not when all is trained
        require_space(run.folder, weights.size_of(network), "the trained module")
    over = store.start is not None and resume.is_over(store.start, epochs=config.epochs)
    _record(run, plan, network, group, over=over)
    paddle.seed(config.seed)
    freezing.apply(network, plan.frozen)
    say("training {:,} of {:,} parameters".format(*freezing.count(network)))
    fit_head = plan.closed_form and closed_form.can_fit(network.head, task)
    if fit_head and store.start is None:
        closed_form.start(network, task, sets.train, features, seed=config.seed, augment=config.augment)
    cut = _cut(network, plan, sets, features, say)
    model: nn.Layer = network.rest(cut) if cut else network
    train = _training_batches(network, plan, sets, features, cut, teacher_answers, group)
    valid = _batches(network, sets.valid, features, cut, config, group)

    trainer = _trainer(network, model, plan, group)
    keeper = KeepBest(
        plan.metric, larger_is_better=task.metrics[plan.metric], save=save_best if group.first else _nothing
    )
    checkpointer = resume.Checkpointer(
        store.checkpoints, keeper, store.identity, minutes=config.checkpoint_minutes, say=say
    )
    own: list[Callback] = [keeper, *_planned(network, plan, fit_head)]
    if group.first and progress:
        own.append(Progress(plan.metric, train.count))
    # What is written has what the user's own put into the rows.
    writers = [WriteHistory(run.folder, keeper)] if group.first else []
    trainer.callbacks = [*own, *callbacks, *writers, checkpointer]
    run.history = trainer.history
    keeper.before = weights.state_of(trainer.model)
    with _ending(trainer, keeper, checkpointer, run, network, say):
        if store.start is not None:
            _say_where(trainer, config, resume.go_on(trainer, keeper, store.start), say)
        elif fit_head:
            _offer_start(trainer, keeper, valid)
        trainer.fit(train, valid, epochs=config.epochs)
        if plan.early_stop and plan.early_stop.reason:
            say(f"ended early: {plan.early_stop.reason}")

    worst = Worst(task, order=valid.order(0) if valid and valid.order else None)
    with _measuring(trainer, run, save_best if group.first else _nothing, say):
        run.metrics = trainer.metrics_of(model, valid, worst) if valid else {}
        run.misses = worst.misses() if group.size == 1 else []  # a share of the samples is counted otherwise
        test = _batches(network, sets.test, features, 0, config, group)
        run.test_metrics = trainer.metrics_of(network, test) if test else None
    if group.first:
        save_best()  # its card has the metrics
        run.write_metrics()  # the mark of a finished run comes last


def _say_where(trainer: Trainer, config: Config, gone: list[str], say: Callable[[str], None]) -> None:
    """Say where a run is gone on with, and which callbacks had counted something and are not there any more."""
    if trainer.stop and trainer.between_epochs() and trainer.epoch != config.epochs:
        say(
            f"the run ended early, after epoch {trainer.epoch} of {config.epochs}: nothing is left to train, "
            "whatever early_stop is"
        )
        return
    for name in gone:
        say(f"callbacks has no {name} any more: what it had counted is not taken up")
    say(f"going on after step {trainer.step} (epoch {trainer.epoch} of {config.epochs})")


def _planned(network: Network, plan: Plan, fit_head: bool) -> Iterator[Callback]:
    """Give the callbacks that stop a run early and open it for training bit by bit, where the plan has them."""
    strategy = plan.config.strategy
    if plan.early_stop:
        yield plan.early_stop
    if strategy == "gradual" or (strategy == "probe_then_full" and not fit_head):
        yield freezing.Unfreeze(network, plan.frozen, gradual=strategy == "gradual")


@contextmanager
def _ending(
    trainer: Trainer,
    keeper: KeepBest,
    checkpointer: resume.Checkpointer,
    run: Run,
    network: Network,
    say: Callable[[str], None],
) -> Iterator[None]:
    """See to it that, however the block ends, the network has the best weights and the disk what was learnt.

    Where the block breaks off before there are any, the network has the weights that it began with.
    """
    finished = stopped = False
    try:
        yield
        finished = True
    except Interrupted as request:
        run.interrupted = stopped = True
        on = checkpointer.save(trainer) or checkpointer.store.newest()
        how = f"; go on with {_how_to_resume(run)}" if on else ""
        say(f"stopped by {request} after step {trainer.step}{how}")
        raise request.as_raised() from None
    except KeyboardInterrupt:  # the second Ctrl-C, or one outside the main thread: at once
        run.interrupted = True
        raise
    except TrainingError:
        raise  # the weights may be worthless; the checkpoint before them is kept
    except Exception:
        if trainer.step:
            on = checkpointer.save(trainer, alone=True) or checkpointer.store.newest()
            how = f"; once that is mended, go on with {_how_to_resume(run)}" if on else ""
            say(f"stopped after step {trainer.step}{how}")
        raise
    finally:
        keeper.put_back(trainer)
        if hasattr(trainer.model.forward, "rollback"):
            trainer.model.forward.rollback()  # what was compiled for training is not what predicts
        network.eval()
        run.best_epoch, run.steps = keeper.epoch, trainer.step
        run.begun = finished or bool(keeper.weights)
        if not finished and keeper.weights and trainer.group.first:
            keeper.save()
            say(f"stopped early; the best so far, of epoch {run.best_epoch}, is {run.best}")
        elif not (finished or keeper.weights) and run.best.exists():  # the module of a run before
            say(f"no best epoch yet: {run.best} stays as it was")
        if stopped:  # the end of one process is the end of all, and the first may still be writing
            trainer.group.wait()


@contextmanager
def _measuring(
    trainer: Trainer, run: Run, save: Callable[[], object], say: Callable[[str], None]
) -> Iterator[None]:
    """See to it that, however the measuring of what was trained in full breaks off, the disk has it."""
    try:
        yield
    except BaseException as problem:
        run.interrupted = isinstance(problem, Interrupted | KeyboardInterrupt)
        save()
        say(f"trained, but not measured: {run.best}; go on with {_how_to_resume(run)}")
        if isinstance(problem, Interrupted):
            trainer.group.wait()  # the first process may still be writing
            raise problem.as_raised() from None
        raise


def range_test(
    network: Network, plan: Plan, sets: Sets, *, low: float, high: float, steps: int, progress: bool
) -> RangeTest:
    """Train the network with rates from `low` to `high`, one a step, and give the losses and a suggestion.

    The network is of no use afterwards. Raises what hub.finetune.range_test.range_test raises.
    """
    freezing.apply(network, plan.frozen)
    trainer = _trainer(network, network, plan, Group())
    trainer.schedule, trainer.total_steps = (lambda position: 1.0), 1
    train = _training_batches(network, plan, sets, None, 0, None, Group())
    trainer.train_mode(-(-train.count // (train.steps * trainer.pieces)))
    batches = (
        (batch, size)
        for epoch in itertools.count(1)
        for batch, size in zip(train.epoch(epoch), train.sizes, strict=True)
    )

    def step(rate: float) -> float:
        trainer.learning_rate = rate
        (inputs, targets), size = next(batches)
        loss = trainer.train_step(inputs, targets, size)
        bar.update()
        return loss

    with tqdm(total=steps, desc="trying rates", disable=None if progress else True, leave=False) as bar:
        return measure_rates(step, low=low, high=high, steps=steps)


def _cut(network: Network, plan: Plan, sets: Sets, features: Features, say: Callable[[str], None]) -> int:
    """Give before which group training begins on features that are computed once; 0 for none."""
    config, cut = plan.config, plan.frozen.groups
    if not cut or not config.cache or config.mixup or config.cutmix:
        return 0
    examples, spec = sets.train.items.examples, network.backbone.feature_spec
    pooled = cut == len(network.stages()) - 1 and spec.kind == "pooled"
    if examples.targets_from_items or (sets.train.lengths() is not None and not pooled):
        return 0  # features are kept as one row for each sample, beside the dataset's own numbers
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
    group.same_start(model)
    trainer = Trainer(
        model,
        plan.task,
        optimizer=optimizer.build(groups, config, config.learning_rate),
        loss=plan.loss,
        schedule=schedules.by_name(
            config.schedule, **({} if config.warmup is None else {"warmup": config.warmup})
        ),
        metric=plan.metric,
        penalty=regularize.Anchor(network.backbone, config.anchor) if config.anchor else None,
        average=regularize.WeightAverage(model, config.average) if config.average else None,
        precision=Precision(config.precision),
        group=group,
        pieces=config.accumulate,
        split_when_full=config.batch_size == "auto",
        # Contrast is between all pairs of a batch: in parts it would be another loss.
        max_tokens=None if config.loss == "contrastive" else config.max_tokens,
    )
    if config.to_static:
        trainer.train_mode = _compiling(model)
    return trainer


def _compiling(model: nn.Layer) -> Callable[[int], None]:
    """Give what puts the model into training and compiles it, anew whenever something else of it is frozen.

    It is traced as a whole: which parameters are trained, and what normalizes by moving statistics, stays as it was
    then. (paddle's other way, piece by piece, notices by itself, but cannot follow every stage of a network.)
    """
    compiled_for: list[bool] = []

    def begin(batch_size: int) -> None:
        freezing.train_mode(model, batch_size)
        modes = [part.training for part in model.sublayers()] + [
            each.trainable for each in model.parameters()
        ]
        if modes != compiled_for:
            if compiled_for:
                model.forward.rollback()
            paddle.jit.to_static(model, full_graph=True)
            model.forward = _Alone(model.forward, model.parameters())
            compiled_for[:] = modes

    return begin


class _Alone:
    """What `to_static` makes of a model's forward, for one thread at a time: it traces when it is first called.

    It does so again for a batch of another form. The backward pass is made with it, and traces nothing.
    """

    def __init__(self, compiled: Any, parameters: Sequence[Any]) -> None:
        self._compiled, self._parameters = compiled, parameters
        self.rollback = compiled.rollback

    def __call__(self, *args: Any) -> Any:
        before = [parameter.grad for parameter in self._parameters]
        with building(), failed_traces_forgotten():
            answers = self._compiled(*args)
        for parameter, gradient in zip(self._parameters, before, strict=True):
            if gradient is not None and parameter.grad is None:
                parameter.grad = (
                    gradient  # of the step's parts before this one: paddle drops it when it traces
                )
        return answers


def _training_batches(
    network: Network,
    plan: Plan,
    sets: Sets,
    features: Features | None,
    cut: int,
    teacher_answers: Sequence[np.ndarray] | None,
    group: Group,
) -> Batches:
    config, task, targets = plan.config, plan.task, sets.train.targets
    varied = Read(sets.train.samples, sets.train.items, targets, seed=config.seed if config.augment else None)
    source: Source = varied
    if cut and features is not None:
        views = config.views if config.augment and varied.items.examples.varies else 1
        variants = features.of(network, cut, sets.train if views == 1 else varied, views=views)
        source = Stored(variants, targets)

    lengths = None if cut else sets.train.lengths()
    batch_size = config.step_size * group.size

    def order(epoch: int) -> np.ndarray:
        if config.sampler == "balanced":
            drawn = sampling.balanced_order(targets, seed=config.seed, epoch=epoch)
        else:
            drawn = sampling.shuffled_order(len(targets), seed=config.seed, epoch=epoch)
        if lengths is None:
            return drawn
        rng = np.random.default_rng((config.seed, epoch, len(targets)))
        return sampling.by_length(drawn, lengths, steps=-(-len(drawn) // batch_size), rng=rng)

    def finish(batch: Batch, indices: np.ndarray, epoch: int) -> Batch:
        inputs, labels = batch
        if teacher_answers is not None:
            assert isinstance(labels, np.ndarray), "no task with a teacher has others"
            answers = task.taught([teacher_answers[index] for index in indices.tolist()], labels)
            return inputs, (labels, answers)
        if config.mixup or config.cutmix:
            assert isinstance(labels, np.ndarray), "plan() refuses mixing for other tasks"
            soft = labels if labels.ndim == 2 else mixing.one_hot(labels, len(task.labels))
            rng = np.random.default_rng((config.seed, epoch, int(indices[0]), len(indices)))
            return mixing.mix(inputs, soft, rng=rng, mixup=config.mixup, cutmix=config.cutmix)
        return batch

    return Batches(
        source, batch_size=batch_size, order=order, workers=config.workers, part=group.part,
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
    """Give a set as it is evaluated: in its own order, or by length where it is padded; None for none."""
    if source is None:
        return None
    given: Source = Stored(features.of(network, cut, source)[:1], source.targets) if cut else source
    size = max(config.step_size // config.accumulate, 256 if cut else 1)
    lengths = None if cut else source.lengths()
    return Batches(
        given, batch_size=size * group.size, workers=config.workers, part=group.part,
        order=None if lengths is None else lambda epoch: np.argsort(lengths, kind="stable"),
    )  # fmt: skip


def _offer_start(trainer: Trainer, keeper: KeepBest, valid: Batches | None) -> None:
    """Write the closed-form head down as epoch 0, so that training only ever replaces it by something better."""
    row = {"epoch": 0, **(trainer.evaluate(valid) if valid else {})}
    trainer.history.append(row)
    keeper.offer(trainer, row)


def _nothing() -> None:
    """Take the place of saving in the processes that do not write."""


def _how_to_resume(run: Run) -> str:
    folder = str(run.folder)
    return f"output_dir={folder!r}, resume=True (hub finetune … --output {shlex.quote(folder)} --resume)"


def _record(run: Run, plan: Plan, network: Network, group: Group, *, over: bool) -> None:
    """Write down what the run is told; of one that is `over`, what it was told when it was trained stays the record."""
    run.labels, run.task, run.environment = plan.task.labels, plan.task.name, environment(group.size)
    run.config = {
        **plan.told, "metric": plan.metric, "parameters": freezing.count(network)[1],
        "early_stop": plan.early_stop and plan.early_stop.told,
    }  # fmt: skip
    if not (over and run.recall_config()) and group.first:
        run.write_config()
