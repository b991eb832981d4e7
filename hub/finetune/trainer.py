"""The training loop.

One epoch is: every batch forward, loss, backward, step; then an evaluation; then a row of history. Whatever else
happens (the progress bar, keeping the best weights, checkpoints, writing files) is a callback.

The loop can begin anywhere: `position` says where a run stands, and `fit` goes on from there.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

import numpy as np
import paddle
from paddle import nn

from hub.errors import TrainingError, UsageError
from hub.finetune import random_state, signals
from hub.finetune.batches import Batch, each, length
from hub.finetune.callbacks import Callback, raise_first, tell
from hub.finetune.distributed import Group
from hub.finetune.freezing import statistics, train_mode
from hub.finetune.precision import Precision
from hub.finetune.regularize import Anchor, WeightAverage
from hub.finetune.worst import Worst
from hub.modules.forks import computing
from hub.modules.network import infer
from hub.tasks import Task
from hub.tasks.base import Arrays, Loss, WeightedMean, terms_of, weights_of

Row = dict[str, Any]


class Data(Protocol):
    """Batches by epoch: `Batches`."""

    count: int
    steps: int
    sizes: list[int]

    def epoch(self, number: int = 0, *, start: int = 0) -> Iterator[Batch]: ...


class Interrupted(Exception):
    """A signal asks the run to end; the step that was under way is finished."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number

    def as_raised(self) -> BaseException:
        """Give what the signal raises where nobody holds it."""
        return SystemExit(128 + signal.SIGTERM) if self.signal == signal.SIGTERM else KeyboardInterrupt()


class Trainer:
    """Trains `model` on batches and evaluates it at every epoch; `history` has a row for each.

    `metric` is the one that chooses the best epoch, `metrics` says of each whether larger is better.
    """

    def __new__(cls, model: Any, task: Any = None, *_: Any, **settings: Any) -> Trainer:
        """Raise UsageError for what PaddleHub's trainer takes, which was under the name of this file."""
        if isinstance(task, paddle.optimizer.Optimizer):
            raise UsageError(
                "hub.finetune.trainer.Trainer is the loop inside; PaddleHub's is hub.Trainer",
                hint="from hub import Trainer",
            )
        return super().__new__(cls)

    def __init__(
        self,
        model: nn.Layer,
        task: Task,
        *,
        optimizer: paddle.optimizer.Optimizer,
        loss: Loss,
        schedule: Callable[[float], float],
        metric: str | None = None,
        callbacks: Sequence[Callback] = (),
        penalty: Anchor | None = None,
        average: WeightAverage | None = None,
        precision: Precision | None = None,
        group: Group | None = None,
        pieces: int = 1,
        split_when_full: bool = False,
        max_tokens: int | None = None,
    ) -> None:
        """`penalty` is added to the loss once a step; `average` are the weights that are evaluated and kept.

        A step goes through the model in `pieces` parts whose gradients add up to those of the whole step; with
        `split_when_full` there are twice as many whenever memory runs out, and with `max_tokens` as many more as long
        texts ask for.
        """
        self.model, self.task, self.optimizer, self.loss = model, task, optimizer, loss
        self.schedule, self.callbacks = schedule, callbacks
        self.metric, self.metrics = metric or task.default_metric, task.metrics
        self.penalty, self.average = penalty, average
        self.precision, self.group = precision or Precision(), group or Group()
        self.pieces, self.split_when_full, self.max_tokens = pieces, split_when_full, max_tokens
        self.learning_rate = optimizer.get_lr()
        self.rate = float(self.learning_rate)
        """What the last step was taken with."""
        self.history: list[Row] = []
        self.epochs = self.epoch = self.step = 0
        self.batch = 0
        """Steps of this epoch that are done."""
        self.loss_sum = 0.0
        self.has_valid = False
        self.stop = False
        """Set by a callback to end the run after this epoch."""
        self.train_mode: Callable[[int], None] = lambda batch_size: train_mode(model, batch_size)
        self._goes_on = False
        """Whether the rate is that of a run which has begun before."""
        self._held = signals.Held()

    # ---- where it stands ----

    def position(self) -> Row:
        """Give where the run stands, as JSON can hold it."""
        return {
            "epoch": self.epoch, "batch": self.batch, "step": self.step, "loss_sum": self.loss_sum,
            "stop": self.stop, "pieces": self.pieces, "history": self.history, "scaler": self.precision.state(),
            "learning_rate": float(self.learning_rate), "rate": self.rate,
        }  # fmt: skip

    def go_to(self, position: Mapping[str, Any]) -> None:
        """Stand where `position` says; weights, optimizer and random states are put back by the caller."""
        for name in ("epoch", "batch", "step", "loss_sum", "stop", "pieces"):
            setattr(self, name, position[name])
        # Checkpoints of versions before have none.
        self._goes_on = "learning_rate" in position
        self.learning_rate = position.get("learning_rate", self.learning_rate)
        self.rate = position.get("rate", self.rate)
        self.history[:] = position["history"]
        self.precision.restore(position["scaler"])

    def between_epochs(self) -> bool:
        """Say whether the epoch that it stands in is complete, or none has begun."""
        complete = self.batch == 0 and bool(self.history) and self.history[-1]["epoch"] == self.epoch
        return self.epoch == 0 or complete

    # ---- the loop ----

    def fit(self, train: Data, valid: Data | None, *, epochs: int) -> list[Row]:
        """Train up to epoch `epochs` and give the history: one row an epoch.

        Raises TrainingError when the loss stops being a number or memory runs out, and Interrupted after the step
        in which SIGINT or SIGTERM came.
        """
        self.epochs, self.total_steps = epochs, epochs * train.steps
        self.has_valid = valid is not None
        with self._signals_held():
            self._begin("on_train_begin", again=self._goes_on)
            if not self.between_epochs():
                self._epoch(train, valid)  # the one that it stands in, to its end
            while self.epoch < epochs and not self.stop:
                self.epoch += 1
                self._epoch(train, valid)
            self.notify("on_train_end")
        return self.history

    def _epoch(self, train: Data, valid: Data | None) -> None:
        self._begin("on_epoch_begin", again=self.batch > 0)
        started = time.perf_counter()
        row = {"epoch": self.epoch, **self._train_epoch(train)}
        errors: list[Exception] = []
        if valid is not None:
            found = self.evaluation(valid)
            # One that raises here ends the run behind the epoch: in it, the set would be gone through again.
            errors += tell(self.callbacks, "on_evaluate_end", self, found)
            row |= found
        row["seconds"] = round(time.perf_counter() - started, 3)
        self.history.append(row)
        self.batch, self.loss_sum = 0, 0.0
        raise_first([*errors, *tell(self.callbacks, "on_epoch_end", self, row)])

    def _begin(self, hook: str, *, again: bool) -> None:
        """Call a hook of a beginning. What it does to the learning rate it does once, however often a run goes on."""
        rate, done = self.learning_rate, False
        try:
            self.notify(hook)
            done = True
        finally:
            if again or not done:  # it was called before, or it will be called again
                self.learning_rate = rate

    def _train_epoch(self, data: Data) -> Row:
        self.train_mode(-(-data.count // (data.steps * self.group.size * self.pieces)))
        batches = iter(data.epoch(self.epoch, start=self.batch))
        while (loss := self._next_step(batches, data)) is not None:
            size = data.sizes[self.batch]
            self.step += 1
            self.batch += 1
            self.loss_sum += loss * size
            self.notify("on_step_end", {"loss": loss, "count": size})
            self._heed_signals()
        if self.group.size > 1:  # once an epoch: these may be large, such as a compressed table
            self.group.same_as_first(one for one in statistics(self.model) if not one.is_floating_point())
        return {"train_loss": self.loss_sum / data.count, "learning_rate": self.rate}

    def _next_step(self, batches: Iterator[Batch], data: Data) -> float | None:
        """Read a batch and take a step with it; None where none is left. One that fails has drawn nothing at random."""
        with random_state.kept_if_it_fails():
            for inputs, targets in batches:
                with computing():
                    return self.train_step(inputs, targets, data.sizes[self.batch])
        return None

    def train_step(self, inputs: Arrays, targets: Arrays, size: int) -> float:
        """Take one step on this process's share of `size` samples and give the mean loss over all of them."""
        self.rate = float(self.learning_rate) * self.schedule(self.step / self.total_steps)
        self.optimizer.set_lr(self.rate)
        loss = self._gradients(inputs, targets, size)
        if self.group.size > 1:
            self.group.sum_gradients([one for one in self.model.parameters() if one.trainable])
        self._same_statistics()
        self.precision.step(self.optimizer)
        self.optimizer.clear_grad()
        if self.average:
            self.average.update(self.model)
        return loss

    def _same_statistics(self) -> None:
        """Give all processes the mean of the moving statistics, so that all measure the model that is saved.

        After every step, as with the gradients: a run that is broken off in an epoch goes on to the same numbers.
        """
        if self.group.size > 1:
            self.group.average([one for one in statistics(self.model) if one.is_floating_point()])

    def _gradients(self, inputs: Arrays, targets: Arrays, size: int) -> float:
        """Leave the gradients of a step in the parameters and give its loss, over all processes."""
        terms = terms_of(self.loss)
        whole = np.full(len(terms), float(size))
        if any(
            isinstance(term, WeightedMean) for term in terms
        ):  # each part of the step has its share of these
            own = np.zeros(len(terms))
            if length(inputs):
                own = weights_of(self.loss, each(paddle.to_tensor, targets), length(inputs))
            whole = self.group.sum(own)
        while True:
            try:
                loss = self._forward_backward(inputs, targets, whole)
                break
            except (MemoryError, RuntimeError) as problem:
                if not _memory_ran_out(problem):
                    raise
                self.optimizer.clear_grad()
                if not self.split_when_full or self.pieces >= length(inputs):
                    raise self._out_of_memory(-(-size // self.group.size)) from problem
                self.pieces *= 2
        total = float(self.group.sum([loss])[0]) if self.group.size > 1 else loss
        if not math.isfinite(total):
            raise self._not_finite(total, inputs)
        return total

    def _forward_backward(self, inputs: Arrays, targets: Arrays, whole: np.ndarray) -> float:
        own, total = length(inputs), 0.0
        pieces = min(max(self.pieces, self._parts(inputs)), own)
        for part in np.array_split(np.arange(own), pieces) if pieces > 1 else [slice(None)]:
            x, y = (each(lambda array: paddle.to_tensor(array[part]), given) for given in (inputs, targets))  # noqa: B023
            with self.precision.forward():
                outputs = self.model(x)
                # Of each term its share of the mean over the whole step.
                shares = weights_of(self.loss, y, length(x)) / np.maximum(whole, 1e-6)
                first, *others = (
                    term(outputs, y) * share for term, share in zip(terms_of(self.loss), shares, strict=True)
                )
                loss = sum(others, first)
            value = float(loss)
            total += value
            if not math.isfinite(value):
                return value if self.group.size == 1 else total
            self.precision.backward(loss)
        if self.penalty:
            extra = self.penalty() / self.group.size
            total += float(extra)
            self.precision.backward(extra)
        return total

    def _parts(self, inputs: Arrays) -> int:
        """Give in how many parts a batch of texts keeps below `max_tokens`; 1 for other inputs."""
        ids = inputs[0] if isinstance(inputs, tuple) else inputs
        if self.max_tokens is None or ids.ndim < 2 or ids.dtype.kind != "i":
            return 1
        return -(-ids.size // self.max_tokens)

    def evaluate(self, data: Data) -> Row:
        """Give {"valid_loss": plain mean loss, "valid_<metric>": …} over the whole set."""
        row = self.evaluation(data)
        self.notify("on_evaluate_end", row)
        return row

    def evaluation(self, data: Data) -> Row:
        """Give what `evaluate` gives, before anybody is told of it."""
        self.notify("on_evaluate_begin")
        with self.averaged():
            metrics, loss = measure(self.model, self.task, data, group=self.group, between=self._heed_signals)
        return {"valid_loss": loss, **{f"valid_{name}": metrics[name] for name in self.metrics}}

    def metrics_of(self, model: nn.Layer, data: Data, worst: Worst | None = None) -> Row:
        """Give the metrics of a model over a whole set, after the run. Raises Interrupted as `fit` does."""
        with self._signals_held():
            metrics, _ = measure(
                model, self.task, data, group=self.group, worst=worst, between=self._heed_signals
            )
        return metrics

    def averaged(self) -> AbstractContextManager[object]:
        """Give a context in which the model has the weights that count: the averaged ones where there are such."""
        return self.average.swapped(self.model) if self.average else nullcontext()

    # ---- when it goes wrong ----

    @contextmanager
    def _signals_held(self) -> Iterator[None]:
        """Note signals while the block runs. One that has ended it is forgotten: the model may still be measured."""
        try:
            with signals.held() as self._held:
                yield
        finally:
            self._held = signals.Held()

    def _heed_signals(self) -> None:
        come = self._held.signal
        if self.group.size > 1:  # all of them stop at the same step, whichever of them was told
            counts = self.group.sum([float(come == number) for number in signals.HELD])
            come = next(
                (signal.Signals(n) for n, count in zip(signals.HELD, counts, strict=True) if count), None
            )
        if come is not None:
            raise Interrupted(come)

    def _not_finite(self, value: float, inputs: Arrays) -> TrainingError:
        named = [("the input", array) for array in (inputs if isinstance(inputs, tuple) else (inputs,))]
        named += [(name, parameter.numpy()) for name, parameter in self.model.state_dict().items()]
        bad = [name for name, array in named if array.dtype.kind == "f" and not np.isfinite(array).all()]
        where = (
            f"not finite before it: {', '.join(bad[:5])}" if bad else "the input and all weights are finite"
        )
        if len(bad) > 5:
            where += f" and {len(bad) - 5} more"
        return TrainingError(
            f"the loss became {value} in epoch {self.epoch}, step {self.step + 1}, "
            f"at learning rate {self.rate:.3g}; {where}",
            hint=f"try learning_rate={self.learning_rate / 10:.3g}",
        )

    def _out_of_memory(self, count: int) -> TrainingError:
        half = max(1, count // 2)
        return TrainingError(
            f"memory ran out in epoch {self.epoch}, step {self.step + 1}, with {count} samples a step "
            f"in {self.pieces} part{'s' if self.pieces > 1 else ''}",
            hint=f"try batch_size={half}, or batch_size={half} with accumulate={2 * self.pieces} for the same step, "
            "or strategy='probe', which keeps no activations of the backbone; batch_size='auto' finds what fits",
        )

    def notify(self, hook: str, row: Row | None = None) -> None:
        """Call a hook of every callback; `row` is that of a hook that tells what has happened.

        This is told to all before the first error is raised: a run that goes on then is behind it, and tells nobody
        again. The other hooks come again, and end at the first error.
        """
        if row is not None:
            raise_first(tell(self.callbacks, hook, self, row))
            return
        for callback in self.callbacks:
            getattr(callback, hook)(self)


def measure(
    model: nn.Layer,
    task: Task,
    data: Data,
    *,
    group: Group | None = None,
    worst: Worst | None = None,
    between: Callable[[], None] = lambda: None,
    run: Callable[[Any], Any] | None = None,
) -> tuple[Row, float]:
    """Give (every metric of the task, mean loss) of a model over a whole set.

    `worst` is shown every batch that this process goes through, and `between` is called after each. `run` is another
    way through the model, such as a compiled one.
    """
    group = group or Group()
    meter, loss = task.meter(), task.loss()
    sums = np.zeros((2, len(terms_of(loss))))
    for inputs, given in data.epoch():
        parts = task.measured(run or partial(infer, model), inputs, given) if length(inputs) else ()
        for outputs, targets in parts:
            meter.update(outputs, targets)
            if worst is not None:
                worst.update(outputs, targets)
            right = each(paddle.to_tensor, targets)
            answers = each(paddle.to_tensor, outputs)
            found = np.array([float(term(answers, right)) for term in terms_of(loss)])
            weight = weights_of(loss, right, length(targets))
            sums += np.stack([found * weight, weight])
        between()
    group.sum_counts(meter)
    loss_sums, weights = group.sum(sums)
    return meter.compute(), float((loss_sums / np.maximum(weights, 1e-6)).sum())


def _memory_ran_out(problem: BaseException) -> bool:
    """Say whether an error of paddle is about memory: MemoryError on a CPU, a RuntimeError with words on a GPU."""
    words = str(problem)
    return isinstance(problem, MemoryError) or "ResourceExhausted" in words or "ut of memory" in words
