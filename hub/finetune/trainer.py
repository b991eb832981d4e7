"""The training loop.

One epoch is: every batch forward, loss, backward, step; then an evaluation; then a row of history. Whatever else
happens (the progress bar, keeping the best weights, writing files) is a callback.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import paddle
from paddle import Tensor, nn

from hub.errors import TrainingError
from hub.finetune.batches import Batch
from hub.finetune.callbacks import Callback
from hub.modules.network import NORMS, infer
from hub.tasks import Task
from hub.tasks.base import Loss

Row = dict[str, Any]

# Batch statistics of fewer samples than this are worse than the ones that the pretrained network brings.
SMALLEST_BATCH_FOR_STATISTICS = 8


class Data(Protocol):
    """Batches by epoch: `Batches` or `ArrayBatches`."""

    count: int
    steps: int

    def epoch(self, number: int = 0) -> Iterator[Batch]: ...


class Trainer:
    """Trains `model` on batches and evaluates it at every epoch; `history` has a row for each."""

    def __init__(
        self,
        model: nn.Layer,
        task: Task,
        *,
        optimizer: paddle.optimizer.Optimizer,
        loss: Loss,
        schedule: Callable[[float], float],
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.model, self.task, self.optimizer, self.loss = model, task, optimizer, loss
        self.schedule, self.callbacks = schedule, callbacks
        self.learning_rate = optimizer.get_lr()
        self.history: list[Row] = []
        self.epochs = self.epoch = self.step = 0
        self.stop = False
        """Set by a callback to end the run after this epoch."""

    def fit(self, train: Data, valid: Data | None, *, epochs: int) -> list[Row]:
        """Train for `epochs` epochs and give the history: one row an epoch.

        Raises TrainingError when the loss stops being a number.
        """
        self.epochs, self.total_steps = epochs, epochs * train.steps
        self._notify("on_train_begin")
        for self.epoch in range(1, epochs + 1):
            self._notify("on_epoch_begin")
            started = time.perf_counter()
            row = {"epoch": self.epoch, **self._train_epoch(train)}
            if valid is not None:
                row |= self.evaluate(valid)
            row["seconds"] = round(time.perf_counter() - started, 3)
            self.history.append(row)
            self._notify("on_epoch_end", row)
            if self.stop:
                break
        self._notify("on_train_end")
        return self.history

    def _train_epoch(self, data: Data) -> Row:
        loss_sum = 0.0
        self._train_mode(-(-data.count // data.steps))
        for inputs, targets in data.epoch(self.epoch):
            self.optimizer.set_lr(self.learning_rate * self.schedule(self.step / self.total_steps))
            loss = self.loss(self.model(paddle.to_tensor(inputs)), paddle.to_tensor(targets))
            loss.backward()
            self.optimizer.step()
            self.optimizer.clear_grad()
            self.step += 1
            value = self._finite(loss)
            loss_sum += value * len(inputs)
            self._notify("on_step_end", {"loss": value, "count": len(inputs)})
        return {"train_loss": loss_sum / data.count, "learning_rate": self.optimizer.get_lr()}

    def evaluate(self, data: Data) -> Row:
        """Give {"valid_loss": plain mean loss, "valid_<metric>": …} over the whole set."""
        self._notify("on_evaluate_begin")
        metrics, loss = measure(self.model, self.task, data)
        row = {"valid_loss": loss, **{f"valid_{name}": metrics[name] for name in self.task.metrics}}
        self._notify("on_evaluate_end", row)
        return row

    def _train_mode(self, batch_size: int) -> None:
        self.model.train()
        if batch_size < SMALLEST_BATCH_FOR_STATISTICS:
            for layer in self.model.sublayers():
                if isinstance(layer, NORMS):
                    layer.eval()

    def _finite(self, loss: Tensor) -> float:
        value = float(loss)
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} in epoch {self.epoch}, step {self.step}, "
                f"at learning rate {self.optimizer.get_lr():.3g}",
                hint=f"try learning_rate={self.learning_rate / 10:.3g}",
            )
        return value

    def _notify(self, hook: str, row: Row | None = None) -> None:
        for callback in self.callbacks:
            method = getattr(callback, hook)
            method(self) if row is None else method(self, row)


def measure(model: nn.Layer, task: Task, data: Data) -> tuple[Row, float]:
    """Give (every metric of the task, mean loss) of a model over a whole set."""
    meter, loss, loss_sum = task.meter(), task.loss(), 0.0
    for inputs, targets in data.epoch():
        outputs = infer(model, inputs)
        meter.update(outputs, targets)
        loss_sum += float(loss(paddle.to_tensor(outputs), paddle.to_tensor(targets))) * len(inputs)
    return meter.compute(), loss_sum / data.count
