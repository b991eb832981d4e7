"""What `hub.Trainer` adds to the loop: steps and evaluations by its hooks, its log, its folders."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import paddle
from paddle import Tensor

from hub.errors import UsageError
from hub.finetune import trainer as loop
from hub.finetune.callbacks import Callback, KeepBest
from hub.finetune.resume import Checkpointer
from hub.modules.network import predicting
from hub.tasks import Task
from hub.trainer import gradients

if TYPE_CHECKING:
    from hub.trainer.face import Trainer

CHECKPOINT_MINUTES = 5.0


class Loop(loop.Trainer):
    """Our loop, whose steps are the hooks of a `hub.Trainer`."""

    def __init__(self, face: Trainer) -> None:
        # Loss, schedule and metrics are the model's own business here: the methods that use ours are below.
        super().__init__(
            face.layer,
            cast(Task, SimpleNamespace(default_metric="loss", metrics={})),
            optimizer=face.optimizer,
            loss=_never,
            schedule=_never,
            group=face.group,
        )
        self.face = face
        self.metrics_now: dict[str, float] = {}
        """The metrics of the last step, over all processes."""
        self.in_step = False
        """Whether a hook is at work: what it has done to the weights is then half a step."""
        if not face.is_pretrained:
            self.train_mode = lambda _: face.layer.train()

    def train_step(self, inputs: Any, targets: Any, size: int) -> float:
        """Take a step by the hooks and give the mean loss over all processes; `targets` is the size of our share."""
        self.in_step = True
        with gradients.kept_if_it_fails(self.model, are_zero=not self.face.may_accumulate):
            mean = self._hooks(inputs, targets, size)
        self.in_step = False
        return mean

    def _hooks(self, inputs: Any, targets: Any, size: int) -> float:
        share = targets / size
        self.rate = float(self.optimizer.get_lr())
        loss, metrics = self.face.training_step(tensors(inputs), self.batch)
        names = ["loss", *sorted(metrics)]
        own = np.array([number("loss", loss), *(number(name, metrics[name]) for name in names[1:])])
        values = self.group.sum(own * share if targets else np.zeros(len(own)))
        if not math.isfinite(values[0]):
            raise self._not_finite(float(values[0]), tuple(arrays(inputs)))
        if self.group.size > 1:
            self._average_gradients(share)
        self.face.optimizer_step(self.epoch, self.batch, self.optimizer, loss)
        self.face.optimizer_zero_grad(self.epoch, self.batch, self.optimizer)
        self._same_statistics()
        self.metrics_now = dict(zip(names[1:], values[1:].tolist(), strict=True))
        return float(values[0])

    def _average_gradients(self, share: float) -> None:
        """Give every process the mean over the whole step.

        A hook that leaves gradients of earlier steps in place loses nothing: those are equal in all processes, and
        the mean of equals is what they were.
        """
        trained = [parameter for parameter in self.model.parameters() if parameter.trainable]
        for parameter in trained:
            if parameter.grad is not None:
                parameter.grad.set_value(parameter.grad * share)
        self.group.sum_gradients(trained)

    def evaluation(self, data: loop.Data) -> loop.Row:
        """Give {"valid_loss": …, "valid_<metric>": …}."""
        self.notify("on_evaluate_begin")
        loss, metrics = self.measure(data)
        row = {f"valid_{name}": value for name, value in metrics.items()}
        if loss is not None:
            row["valid_loss"] = loss
        return row

    def measure(self, data: loop.Data) -> tuple[float | None, dict[str, float]]:
        """Give (loss, metrics): means over all samples of what `validation_step` gives."""
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        self._same_statistics()  # a hook may measure in a step
        with predicting(self.model):
            for batch_idx, (batch, count) in enumerate(cast(Any, data.epoch())):
                result = self.face.validation_step(tensors(batch), batch_idx)
                for name, value in _values(result, self.face.model).items():
                    sums[name] = sums.get(name, 0.0) + (number(name, value) * count if count else 0.0)
                    counts[name] = counts.get(name, 0.0) + count
                if not self.in_step:  # a hook may measure: the step is finished first
                    self._heed_signals()
        names = list(sums)
        total = self.group.sum(np.array([(sums[name], counts[name]) for name in names]))
        means = {name: float(value / count) for name, (value, count) in zip(names, total, strict=True)}
        loss = means.pop("", None)
        return loss, means


class Best(KeepBest):
    """Has `save_model` write best_model after the first evaluation and each that `compare_metrics` calls better."""

    def __init__(self, face: Trainer) -> None:
        super().__init__("loss", larger_is_better=False, save=lambda: None)
        self.face = face
        self.metrics: dict[str, float] = {}

    def state(self) -> dict[str, Any]:
        return {"metrics": {name: repr(value) for name, value in self.metrics.items()}, "epoch": self.epoch}

    def restore(self, state: dict[str, Any]) -> None:
        self.metrics = {name: float(value) for name, value in state["metrics"].items()}
        self.epoch = state["epoch"]

    def offer(self, trainer: loop.Trainer, row: loop.Row) -> None:
        """Compare the row's evaluation, if it has one, with the best so far."""
        new = {name[6:]: row[name] for name in row if name.startswith("valid_") and name != "valid_loss"}
        if "valid_loss" in row:
            new["loss"] = row["valid_loss"]
        if not new or (self.metrics and not self.face.compare_metrics(self.metrics, new)):
            return
        if trainer.group.first:  # before it counts: a hook or a full disk may keep it from being there
            self.face.save_model(str(self.face.folder / "best_model"))
        self.metrics, self.epoch = new, row["epoch"]
        trainer.notify("on_best", row)


class Saver(Checkpointer):
    """Writes checkpoints, and has `save_model` write epoch_N every few epochs and at the end."""

    def __init__(self, face: Trainer, interval: int, identity: Mapping[str, Any]) -> None:
        super().__init__(face.store, face.best, identity, minutes=CHECKPOINT_MINUTES, say=face.say)
        self.face, self.interval = face, interval

    def groups_of(self, trainer: loop.Trainer) -> dict[str, dict[str, np.ndarray]]:
        return {**super().groups_of(trainer), "gradients": gradients.state_of(self.face.layer)}

    def on_epoch_end(self, trainer: loop.Trainer, row: loop.Row) -> None:
        last = trainer.stop or trainer.epoch == trainer.epochs
        if not last and trainer.epoch % self.interval:
            super().on_epoch_end(trainer, row)
            return
        if trainer.group.first:
            self.face.save_model(str(self.face.folder / f"epoch_{trainer.epoch}"))
        self.save(trainer)


class Log(Callback):
    """Says every few steps, and after every epoch, how far the run has come."""

    def __init__(self, face: Trainer, interval: int) -> None:
        self.face, self.interval = face, interval

    def on_train_begin(self, trainer: loop.Trainer) -> None:
        self.begun, self.first_step = time.monotonic(), trainer.step

    def on_epoch_begin(self, trainer: loop.Trainer) -> None:
        self._start_over()

    def on_step_end(self, trainer: loop.Trainer, step: loop.Row) -> None:
        self.samples += step["count"]
        self.steps += 1
        for name, value in {"loss": step["loss"], **cast(Loop, trainer).metrics_now}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * step["count"]
        if trainer.batch % self.interval:
            return
        now = time.monotonic()
        left = remaining(trainer.step - self.first_step, trainer.total_steps - trainer.step, now - self.begun)
        means = " ".join(f"{name}={total / self.samples:.4f}" for name, total in self.sums.items())
        self.face.say(
            f"Epoch={trainer.epoch}/{trainer.epochs}, Step={trainer.batch}/{trainer.total_steps // trainer.epochs} "
            f"{means} lr={trainer.rate:.6f} step/sec={self.steps / (now - self.since):.2f} | ETA {left}"
        )
        self._start_over()

    def on_epoch_end(self, trainer: loop.Trainer, row: loop.Row) -> None:
        parts = [f"{name[6:]}={row[name]:.4f}" for name in row if name.startswith("valid_")]
        parts = [f"train loss={row['train_loss']:.4f}", *(["[Evaluation]", *parts] if parts else [])]
        self.face.say(f"Epoch={trainer.epoch}/{trainer.epochs} {' '.join(parts)}")

    def _start_over(self) -> None:
        self.samples, self.steps, self.sums = 0, 0, dict[str, float]()
        self.since = time.monotonic()


def remaining(done: int, left: int, seconds: float) -> str:
    """Give how long the steps that are left will take, from the time that the ones done have taken, as h:mm:ss.

    >>> remaining(done=10, left=30, seconds=20.0)
    '0:01:00'
    """
    return str(timedelta(seconds=round(left * seconds / done)))


def tensors(batch: Any) -> Any:
    """Give a batch with every array as a tensor, whatever it is nested in; what is no number stays as it is."""
    if isinstance(batch, np.ndarray):
        return paddle.to_tensor(batch) if batch.dtype.kind in "biufc" else batch
    if isinstance(batch, Mapping):
        return {name: tensors(value) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(map(tensors, batch)) if type(batch) in (list, tuple) else list(map(tensors, batch))
    return batch


def arrays(batch: Any) -> list[np.ndarray]:
    """Give every array of a batch, whatever it is nested in."""
    if isinstance(batch, np.ndarray | Tensor):
        return [np.asarray(batch)]
    inner: Sequence[Any] = ()
    if isinstance(batch, Mapping):
        inner = list(batch.values())
    elif isinstance(batch, list | tuple):
        inner = batch
    return [array for each in inner for array in arrays(each)]


def number(name: str, value: Any) -> float:
    """Give a loss or a metric as a number. Raises UsageError for what is not a single one."""
    try:
        return float(np.asarray(value).item())
    except (TypeError, ValueError):
        raise UsageError(f"{name}: expected one number, found {value!r:.200}") from None


def _values(result: Any, model: Any) -> dict[str, Any]:
    """Give what a validation step found by name; the loss is named "", so that a metric may be called loss."""
    if not isinstance(result, Mapping) or not (result.get("metrics") or result.get("loss") is not None):
        found = sorted(result) if isinstance(result, Mapping) else type(result).__name__
        raise UsageError(
            f"{type(model).__name__}.validation_step: expected a dict with 'loss', 'metrics' or both, found {found}"
        )
    loss = {} if result.get("loss") is None else {"": result["loss"]}
    return {**loss, **(result.get("metrics") or {})}


def _never(*_: Any) -> Any:
    raise AssertionError("the steps of hub.Trainer have losses and schedules of their own")
