"""`hub.Trainer`: PaddleHub's face on our loop, with its argument names and its hooks.

    checkpoint_dir/
        epoch_N/model.safetensors       every `save_interval` epochs, and of the last epoch
        best_model/model.safetensors    of the best evaluation
        checkpoints/                    the whole state of the run, hub.finetune.checkpoint: what it goes on from
        visualization/                  curves for VisualDL

The loop, the order of samples, checkpoints and the exchange between processes are those of `Module.finetune`. Here is
only what PaddleHub's scripts see of them.
"""

from __future__ import annotations

import inspect
import math
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.io import IterableDataset
from paddle.optimizer import Optimizer
from paddle.optimizer.lr import LRScheduler

from hub.datasets import Dataset, Splits
from hub.errors import TrainingError, UsageError, WeightsError, one_of
from hub.files import write_file
from hub.finetune import distributed, resume, sampling
from hub.finetune import trainer as loop
from hub.finetune.batches import Batches
from hub.finetune.checkpoint import Checkpoints
from hub.finetune.config import plain
from hub.finetune.scalars import Scalars
from hub.module import Module
from hub.modules import devices, weights
from hub.paddlehub_face import in_our_names
from hub.tasks.base import is_whole
from hub.trainer import gradients
from hub.trainer.pdopt import give_pdopt, parameters_of
from hub.trainer.samples import Collated, Ours, require_trainable
from hub.trainer.steps import Best, Log, Loop, Saver

LOWER_IS_BETTER = {"loss", "error", "gap", "perplexity", "mae", "mse", "rmse", "wer", "cer"}
"""Words in the name of a metric that is best when it is small."""


class Trainer:
    """Trains a module, or any layer with `training_step(batch, batch_idx)`, in PaddleHub's words.

    The model's `training_step` gives {"loss": scalar Tensor, "metrics": {name: number}} ("metrics" may be left out),
    its `validation_step` the same. Derive from this to change a hook: `training_step`, `validation_step`,
    `optimizer_step`, `learning_rate_step`, `optimizer_zero_grad`, `save_model`, `load_model`, `_compare_metrics`.
    """

    def __init__(
        self,
        model: nn.Layer | Module,
        optimizer: Optimizer,
        use_gpu: bool = False,
        use_vdl: bool | None = None,
        checkpoint_dir: str | Path | None = None,
        compare_metrics: Callable[[dict[str, float], dict[str, float]], bool] | None = None,
        **unknown: Any,
    ) -> None:
        """Load the newest checkpoint of `checkpoint_dir`, if it has one; `train` goes on from there.

        Args:
            use_gpu: compute on the GPU; False is the CPU, as in PaddleHub.
            use_vdl: write curves for VisualDL; None does where visualdl is installed.
            checkpoint_dir: None makes a new folder ckpt_<time>.
            compare_metrics: says of (old, new) whether new is better; both are the metrics of an evaluation, then
                "loss". None is `_compare_metrics`.

        Raises UsageError for an argument that cannot be meant, DeviceError without a GPU, WeightsError for a
        checkpoint of another network, MissingDependencyError for use_vdl=True without visualdl.
        """
        _refuse_unknown(Trainer.__init__, unknown)
        if not isinstance(model, nn.Layer | Module):
            raise UsageError(
                f"model: expected a hub.Module or a paddle.nn.Layer, found {type(model).__name__}"
            )
        if isinstance(model, Module):
            require_trainable(model)
        self.layer: nn.Layer = model.network if isinstance(model, Module) else model
        _require_parameters(optimizer, self.layer)
        devices.choose("gpu" if use_gpu else "cpu")  # says why there is none
        self.layer.to(
            paddle.set_device("gpu" if use_gpu else "cpu")
        )  # of several processes, each its own GPU
        self.model, self.optimizer = model, optimizer
        scheduled = isinstance(optimizer._learning_rate, LRScheduler)
        self._rate = None if scheduled else float(optimizer.get_lr())  # as the script has it
        self.is_pretrained = isinstance(model, Module)
        self.group = distributed.group()
        self.nranks, self.local_rank = self.group.size, self.group.rank
        if checkpoint_dir is None and self.nranks > 1:
            raise UsageError("checkpoint_dir: expected a folder that all processes share, found none")
        self.checkpoint_dir = str(checkpoint_dir) if checkpoint_dir else f"ckpt_{time.time()}"
        self.folder = Path(os.path.expanduser(self.checkpoint_dir)).absolute()
        self.compare_metrics = compare_metrics or self._compare_metrics
        self._scalars = None
        if use_vdl or (use_vdl is None and find_spec("visualdl")):
            self._scalars = Scalars(self.folder / "visualization")
        self.may_accumulate = type(self).optimizer_zero_grad is not Trainer.optimizer_zero_grad
        self._loop = Loop(self)
        self.best = Best(self)
        self._loop.callbacks = [self.best]
        self.store = Checkpoints(self.folder / "checkpoints", say=self.say)
        self._resumed = self._load_checkpoint()
        self._identity: dict[str, Any] = {}
        """Of what was trained last in this process."""
        self.group.same_start(self.layer)

    @property
    def current_epoch(self) -> int:
        return self._loop.epoch

    @property
    def best_metrics(self) -> dict[str, float]:
        """The metrics, and then the loss, of the best evaluation so far; empty before the first."""
        return dict(self.best.metrics)

    # ---- what scripts call ----

    def train(
        self,
        train_dataset: Any,
        epochs: int = 1,
        batch_size: int = 1,
        num_workers: int = 0,
        eval_dataset: Any = None,
        log_interval: int = 10,
        save_interval: int = 10,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        *,
        seed: int = 0,
        **unknown: Any,
    ) -> list[dict[str, Any]]:
        """Train up to epoch `epochs`, counted from the beginning of the run, and give a row for each epoch.

        Args:
            train_dataset: anything with `__len__` and `__getitem__`; or, for a hub.Module, a dataset of hub.datasets.
            batch_size: samples in a step, for each process.
            num_workers: threads that read ahead.
            eval_dataset: evaluated after every epoch; the best is kept in best_model. What an earlier run left there
                is evaluated first.
            log_interval: steps between two lines of the log.
            save_interval: epochs between two folders epoch_N; the last epoch always gets one.
            collate_fn: makes a batch of a list of samples; None stacks each field.
            seed: of the order of the samples.

        A resumed run keeps the learning rate that it had come to, unless the script has another one now.
        Where epoch `epochs` is reached already, nothing is trained and a line says so.

        Raises UsageError before the first step for what cannot be meant, also for a run in `checkpoint_dir`, or an
        epoch that this trainer has begun, with another batch size, seed or number of samples; TrainingError when the
        loss is no longer a number.
        Ctrl-C and SIGTERM finish the step and write a checkpoint first.
        """
        _refuse_unknown(Trainer.train, unknown)
        for name, value in (
            ("epochs", epochs), ("log_interval", log_interval), ("save_interval", save_interval)
        ):  # fmt: skip
            _require_count(name, value, least=1)
        # JSON, in which checkpoints are written, has no numbers of numpy's.
        epochs, batch_size, seed = plain(epochs), plain(batch_size), plain(seed)
        self._require_step("training_step")
        read = partial(self._batches, batch_size=batch_size, num_workers=num_workers, collate_fn=collate_fn)
        train = read("train_dataset", train_dataset, seed=seed)
        valid = None
        if eval_dataset is not None:
            self._require_step("validation_step")
            valid = read("eval_dataset", eval_dataset)
            if isinstance(self.model, Module):  # which knows what it takes: better now than after an epoch
                valid.source.take(np.zeros(1, np.int64), 0)
        identity = {
            "config": {"batch_size": batch_size, "seed": seed},
            "labels": list(self.model.labels) if isinstance(self.model, Module) else [],
            "data": {"train": train.count, "valid": valid.count if valid else None},
            "network": {name: list(tensor.shape) for name, tensor in self.layer.state_dict().items()},
            "ranks": self.nranks,
            "rate": self._rate,  # not compared: another one is used
        }
        if self._resumed is not None:
            for warning in resume.require_same(self._resumed, identity):
                self.say(warning)
            self._heed_rate(self._resumed.record["identity"].get("rate"))
            resume.restore_random(self._resumed.record, self.group.rank)
            self._resumed = None
        elif self._loop.step == 0:
            self._loop.step = self._loop.epoch * train.steps  # after epochs of PaddleHub's
        elif not self._loop.between_epochs():
            resume.require_equal(self.folder, self._identity, identity)
        self._identity = identity
        if self._loop.epoch > epochs or (self._loop.epoch == epochs and self._loop.between_epochs()):
            self.say(f"epoch {self._loop.epoch} is reached already: nothing to train")
            return self._loop.history
        saver = Saver(self, save_interval, identity)
        self._loop.callbacks = [self.best, Log(self, log_interval), saver]
        if self._scalars is not None:
            self._loop.callbacks.insert(1, self._scalars)
        with self.store.owned() if self.group.first else nullcontext():
            if valid is not None and not self.best.metrics:
                self._measure_best(valid)
            self._fit(train, valid, epochs, saver)
        return self._loop.history

    def evaluate(
        self,
        eval_dataset: Any,
        batch_size: int = 1,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        **unknown: Any,
    ) -> dict[str, Any]:
        """Give {"loss": mean, "metrics": {name: mean}} over all samples, in every process.

        "loss" is left out when `validation_step` gives none. Raises UsageError for a set without samples.
        """
        _refuse_unknown(Trainer.evaluate, unknown)
        self._require_step("validation_step")
        data = self._batches(
            "eval_dataset",
            eval_dataset,
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=collate_fn,
        )
        loss, metrics = self._loop.measure(data)
        return {**({} if loss is None else {"loss": loss}), "metrics": metrics}

    # ---- hooks ----

    def training_step(self, batch: Any, batch_idx: int) -> tuple[Tensor, Mapping[str, Any]]:
        """Go forward and backward through a batch and give (loss, metrics); the gradients are left behind."""
        result = cast(Any, self.model).training_step(batch, batch_idx)
        if not isinstance(result, Mapping) or result.get("loss") is None:
            found = sorted(result) if isinstance(result, Mapping) else type(result).__name__
            raise UsageError(
                f"{type(self.model).__name__}.training_step: expected a dict with 'loss', found {found}"
            )
        loss: Tensor = result["loss"]
        loss.backward()
        return loss, result.get("metrics") or {}

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Give {"loss": …, "metrics": …} of a batch; the layer predicts, and keeps no gradients."""
        result: dict[str, Any] = cast(Any, self.model).validation_step(batch, batch_idx)
        return result

    def optimizer_step(self, epoch_idx: int, batch_idx: int, optimizer: Optimizer, loss: Tensor) -> None:
        """Change the weights by the gradients, and then the learning rate. Epochs count from 1, batches from 0."""
        optimizer.step()
        self.learning_rate_step(epoch_idx, batch_idx, optimizer._learning_rate, loss)

    def learning_rate_step(
        self, epoch_idx: int, batch_idx: int, learning_rate: float | LRScheduler, loss: Tensor
    ) -> None:
        """Take a step of the schedule, where the learning rate has one."""
        if isinstance(learning_rate, LRScheduler):
            learning_rate.step()

    def optimizer_zero_grad(self, epoch_idx: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Forget the gradients."""
        self.layer.clear_gradients()

    def save_model(self, save_dir: str) -> None:
        """Write the weights as model.safetensors; what PaddleHub left in the folder is replaced by it."""
        folder = Path(save_dir)
        write_file(
            folder / "model.safetensors", lambda path: weights.save(path, weights.state_of(self.layer))
        )
        for name in ("model.pdparams", "model.pdopt"):
            (folder / name).unlink(missing_ok=True)

    def load_model(self, load_dir: str) -> None:
        """Read model.safetensors, or PaddleHub's model.pdparams and model.pdopt; nothing that is in them ever runs.

        Raises WeightsError, and TrainingError for the optimizer, when names or shapes do not agree.
        """
        folder = Path(load_dir)
        path = _weights_file(folder)
        order = self._load_weights(path)
        if path.suffix == ".pdparams":
            if (folder / "model.pdopt").is_file():
                give_pdopt(self.optimizer, folder / "model.pdopt", self.layer, order=order)
            else:
                self.say(f"{folder}: no model.pdopt: the optimizer starts afresh")

    def _load_weights(self, path: Path) -> list[str] | None:
        """Read weights alone, and give the order that they have in the file where it may be another than ours."""
        found = weights.load(path)
        state = in_our_names(self.model.network, found) if isinstance(self.model, Module) else found
        weights.give(self.layer, state, what=str(path))
        return None if state is found else list(state)

    def _compare_metrics(self, old: dict[str, float], new: dict[str, float]) -> bool:
        """Say whether `new` is better: by its first entry, and where that is equal by the loss.

        Larger is better, but for names with one of the words in LOWER_IS_BETTER.
        """
        name = next(iter(new))
        if math.isnan(old.get(name, math.nan)):
            return not math.isnan(new[name])
        sign = -1 if LOWER_IS_BETTER & set(re.split(r"[\W_]+", name.lower())) else 1
        before, now = ((sign * each[name], -each.get("loss", 0.0)) for each in (old, new))
        return now > before

    # ---- inside ----

    def _load_checkpoint(self) -> Any:
        """Put back where the run of this folder stands, and give its checkpoint; None where it has none of ours."""
        folders = {
            int(path.name[6:]): path
            for path in self.folder.glob("epoch_*")
            if re.fullmatch(r"[0-9]+", path.name[6:])
        }
        checkpoint = self.store.newest()
        if folders:
            number = max(folders)
            self.load_model(str(folders[number]))
            self._loop.epoch, self._loop.history[:] = number, [{"epoch": number}]
        if checkpoint is not None:
            resume.go_on(self._loop, self.best, checkpoint)
            if "gradients" in checkpoint.groups:
                gradients.give(self.layer, checkpoint.load("gradients"))
            self.say(f"loaded {checkpoint.folder}: after step {self._loop.step}, epoch {self._loop.epoch}")
        elif folders:
            self.say(f"loaded {folders[number]}")
            if (self.folder / "metrics.pkl").is_file():
                self.say("metrics.pkl is not read, a pickle can run code: best_model is measured anew")
        return checkpoint

    def _measure_best(self, valid: Batches) -> None:
        """Let the weights that best_model has, of which nothing is known, be the mark that new ones have to pass."""
        path = _weights_file(self.folder / "best_model")
        if not path.is_file():
            return
        now = weights.state_of(self.layer)
        try:
            self._load_weights(path)
            loss, metrics = self._loop.measure(valid)
        except WeightsError as problem:
            raise WeightsError(
                problem.message,
                hint=f"move {path.parent} away, or choose another checkpoint_dir: a better model would replace it",
            ) from None
        finally:
            weights.give(self.layer, now, what="the weights of before")
        self.best.metrics = {**metrics, **({} if loss is None else {"loss": loss})}
        said = " ".join(f"{name}={value:.4f}" for name, value in self.best.metrics.items())
        self.say(f"{path}: {said}; it stays until an evaluation is better")

    def _module_by_itself(self) -> Module | None:
        """Give the module where its own steps take the batches, and not those of a class derived from this."""
        kind = type(self)
        own = (kind.training_step, kind.validation_step) == (Trainer.training_step, Trainer.validation_step)
        return self.model if own and isinstance(self.model, Module) else None

    def _heed_rate(self, before: float | None) -> None:
        """Take the script's learning rate where it is another than `before`, that of the script that began the run."""
        if self._rate is not None and before is not None and self._rate != before:
            self.optimizer.set_lr(self._rate)
            self.say(f"learning rate: {self._rate:g}, as the script says now; it was {before:g}")

    def _batches(
        self,
        name: str,
        dataset: Any,
        *,
        batch_size: int,
        num_workers: int,
        collate_fn: Callable[[list[Any]], Any] | None,
        seed: int | None = None,
    ) -> Batches:
        """Give the batches of a dataset, shuffled when there is a seed."""
        _require_count("batch_size", batch_size, least=1)
        _require_count("num_workers", num_workers, least=0)
        _require_dataset(name, dataset)
        count = len(dataset)
        if count == 0:
            raise UsageError(f"{name}: expected at least one sample, found none")
        order = None if seed is None else lambda epoch: sampling.shuffled_order(count, seed=seed, epoch=epoch)
        source: Any
        if isinstance(dataset, Dataset) and collate_fn is None:
            source = Ours.of(self.model, dataset, name=name, seed=seed)
        else:
            source = Collated(dataset, collate_fn, name=name, module=self._module_by_itself())
        return Batches(
            source,
            batch_size=batch_size * self.nranks,
            order=order,
            workers=num_workers,
            part=self.group.part,
        )

    def _fit(self, train: Batches, valid: Batches | None, epochs: int, saver: Saver) -> None:
        begun, self._loop.in_step = self._loop.step, False
        try:
            self._loop.fit(train, valid, epochs=epochs)
        except loop.Interrupted as request:
            saver.save(self._loop)
            self.say(f"stopped by {request} after step {self._loop.step}; the same script goes on from there")
            raise request.as_raised() from None
        except TrainingError:
            raise  # the weights may be worthless; the checkpoint before them is kept
        except Exception:
            if self._loop.step > begun and not self._loop.in_step:
                saver.save(self._loop)
                self.say(
                    f"stopped after step {self._loop.step}; once that is mended, the script goes on from there"
                )
            raise
        finally:
            self.layer.eval()

    def _require_step(self, name: str) -> None:
        if getattr(type(self), name) is getattr(Trainer, name) and not callable(
            getattr(self.model, name, None)
        ):
            raise UsageError(
                f"{type(self.model).__name__}: expected a method {name}(batch, batch_idx), found none",
                hint="leave eval_dataset out, or write it" if name == "validation_step" else "",
            )

    def say(self, text: str) -> None:
        """Print a line to stderr, in one process of several."""
        if self.group.first:
            print(text, file=sys.stderr, flush=True)


def _weights_file(folder: Path) -> Path:
    """Give the file of weights in a folder that `save_model` wrote, here or in PaddleHub."""
    ours = folder / "model.safetensors"
    return ours if ours.is_file() else folder / "model.pdparams"


def _refuse_unknown(function: Callable[..., Any], unknown: Mapping[str, Any]) -> None:
    known = [name for name in inspect.signature(function).parameters if name not in ("self", "unknown")]
    for name in unknown:
        raise one_of(f"argument of hub.{function.__qualname__.removesuffix('.__init__')}", name, known)


def _require_dataset(name: str, dataset: Any) -> None:
    """Raise UsageError for what has no samples by number."""
    if isinstance(dataset, str | os.PathLike):
        raise UsageError(
            f"{name}: expected a dataset, found the path {str(dataset)!r}",
            hint=f"train, valid, test = hub.datasets.load({str(dataset)!r})",
        )
    if isinstance(dataset, Splits):
        hint = "pass one of them: .train, .valid or .test"
        raise UsageError(f"{name}: expected a dataset, found Splits with several", hint=hint)
    by_number = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if not by_number or isinstance(dataset, IterableDataset):  # which has both, and both raise
        raise UsageError(
            f"{name}: expected a dataset with __len__ and __getitem__, found {type(dataset).__name__}"
        )


def _require_count(name: str, value: Any, *, least: int) -> None:
    if not is_whole(value) or value < least:
        raise UsageError(f"{name}: expected a whole number of at least {least}, found {value!r}")


def _require_parameters(optimizer: Optimizer, layer: nn.Layer) -> None:
    """Raise UsageError for an optimizer of another network, which would train nothing and say nothing."""
    if not isinstance(optimizer, Optimizer):
        raise UsageError(f"optimizer: expected a paddle.optimizer, found {type(optimizer).__name__}")
    own = {id(parameter) for parameter in layer.parameters()}
    strange = [parameter.name for parameter in parameters_of(optimizer) if id(parameter) not in own]
    if strange:
        raise UsageError(
            f"optimizer: has parameters that the model does not have: {', '.join(strange[:5])}",
            hint="pass parameters=model.parameters(), of the model as it is now",
        )
