"""`hub.Module`: a pretrained module that predicts, embeds, evaluates, is fine-tuned and saved.

This is where the two arms of the library meet: names become verified folders (registry), folders become networks
(modules), data becomes samples (datasets), and training is one call (finetune). No algorithm lives here.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import paddle
from paddle import nn
from PIL import Image

from hub import inputs, tasks
from hub.datasets import Dataset
from hub.datasets.prepare import prepare, prepare_evaluation
from hub.errors import InputError, SpecError, TrainingError, UsageError
from hub.files import storage_errors
from hub.finetune import run as finetuning
from hub.finetune.batches import Batches, PictureCache
from hub.finetune.callbacks import Callback
from hub.finetune.config import Config
from hub.finetune.run import Run, Sets
from hub.finetune.trainer import measure
from hub.modules import archs, bundle, card, devices, golden, weights
from hub.modules.bundle import Bundle
from hub.modules.network import Network, infer
from hub.modules.preprocessor import Preprocessor
from hub.modules.spec import Head, ModuleSpec
from hub.registry import client
from hub.tasks import Task
from hub.transforms import image


class Module:
    """A pretrained module in memory.

    `name`, `version`, `task` and `labels` say what it is; `spec` is the whole of its module.yaml; `folder` is where
    it was loaded from; `run` is what the last `finetune` did.
    """

    run: Run | None = None

    def __init__(self, name: str | Path, *, version: str | None = None, device: str | None = None) -> None:
        """Load a module by name ("resnet50"), reference ("resnet50>=1,<2") or folder ("./my_flowers").

        A name that is not on this machine yet is installed first. `device` is None (a GPU when there is one),
        "cpu", "gpu" or "gpu:N". Raises NotFoundError, IntegrityError, SpecError, WeightsError or DeviceError.
        """
        self.device, self._why_device = devices.choose(device)
        paddle.set_device(self.device)
        located = client.locate(f"{name}=={version}" if version else name)
        self._set(bundle.load(located.folder, check_digests=not located.verified))
        self.folder: Path | None = located.folder

    @classmethod
    def create(
        cls,
        name: str,
        *,
        task: str,
        arch: Mapping[str, Any],
        labels: Sequence[str],
        preprocess: Sequence[Mapping[str, Any]],
        augment: Sequence[Mapping[str, Any]] = (),
        multi_label: bool = False,
        license: str = "unknown",
        summary: str = "",
        seed: int = 0,
        device: str | None = None,
    ) -> Module:
        """Give a module with random weights, to be trained from scratch.

        `arch`, `preprocess` and `augment` are written as in module.yaml: arch={"name": "small_resnet", "width": 16}.
        """
        module = cls.__new__(cls)
        module.device, module._why_device = devices.choose(device)
        paddle.set_device(module.device)
        spec = ModuleSpec.create(
            name=name, task=task, arch=arch, preprocess=preprocess, augment=augment, license=license,
            summary=summary, head=Head(bundle.LABELS_FILE, multi_label),
        )  # fmt: skip
        paddle.seed(seed)
        backbone = archs.build(spec.arch.name, **spec.arch.arguments)
        head = tasks.create(task, labels, multi_label=multi_label).build_head(backbone.feature_spec)
        module._set(
            Bundle(
                spec=spec,
                labels=tuple(labels),
                backbone=backbone,
                head_state=weights.state_of(head),
                preprocessor=Preprocessor(spec.preprocess, spec.augment),
            )
        )
        module.folder = None
        return module

    def _set(self, loaded: Bundle) -> None:
        self._base = loaded
        self._task: Task | None = None
        head: nn.Layer = nn.Identity()
        if loaded.spec.head and loaded.head_state:
            self._task = tasks.create(
                loaded.spec.task, loaded.labels, multi_label=loaded.spec.head.multi_label
            )
            head = self._task.build_head(loaded.backbone.feature_spec)
            what = f"{loaded.spec.name}, head for {len(loaded.labels)} labels"
            weights.give(head, loaded.head_state, what=what)
        self.network = Network(loaded.backbone, head)
        self.network.eval()

    def _answering(self) -> Task:
        if self._task is None:
            raise SpecError(
                f"{self.name} has features and no head: it has no answers yet",
                hint="finetune() gives it your labels; embed() gives its features",
            )
        return self._task

    @property
    def spec(self) -> ModuleSpec:
        return self._base.spec

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def version(self) -> str:
        return self.spec.version

    @property
    def task(self) -> str:
        return self.spec.task

    @property
    def labels(self) -> tuple[str, ...]:
        return self._base.labels

    @property
    def preprocessor(self) -> Preprocessor:
        return self._base.preprocessor

    def __repr__(self) -> str:
        return f"<hub.Module {self.name} {self.version}: {self.task}, {len(self.labels)} labels, on {self.device}>"

    # ---- using it ----

    def predict(self, given: Any, *, batch_size: int = 32, top_k: int = 5) -> list[dict[str, Any]]:
        """Give one result for each input, in order.

        `given` is a path, a folder, a glob, a PIL image, an array, or a list of these. A result is
        {"input", "label", "score", "top": [{"label", "score"}, …]} with scores from 0 to 1 (several labels:
        {"input", "labels", "scores"}), or {"input", "error"} for an input that cannot be read.
        """
        if top_k < 1:
            raise UsageError(f"top_k: expected at least 1, found {top_k!r}")
        task = self._answering()
        results: list[dict[str, Any]] = []
        for names, readable, pictures in self._read(given, batch_size):
            decoded: Iterator[dict[str, Any]] = iter(())
            if pictures:
                outputs = infer(self.network, self.preprocessor.batch(pictures))
                decoded = iter(task.decode(outputs, top_k=top_k))
            for name, error in zip(names, readable, strict=True):
                results.append({"input": name, **({"error": error} if error else next(decoded))})
        return results

    def embed(self, given: Any, *, batch_size: int = 32) -> np.ndarray:
        """Give the backbone's features, float32 [N, D], for the inputs that `predict` takes.

        Raises InputError for an input that cannot be read: a row that is missing would shift all the others.
        """
        features = []
        for names, readable, pictures in self._read(given, batch_size):
            for name, error in zip(names, readable, strict=True):
                if error:
                    raise InputError(error if name in error else f"{name}: {error}")
            features.append(infer(self.network.backbone, self.preprocessor.batch(pictures)))
        size = self.network.backbone.feature_spec.channels
        return np.concatenate(features) if features else np.zeros((0, size), np.float32)

    def draw(self, given: Any, result: Mapping[str, Any]) -> Image.Image:
        """Give an input's picture with its result from `predict` drawn on."""
        return self._answering().draw(image.read(given), result)

    def _read(
        self, given: Any, batch_size: int
    ) -> Iterator[tuple[list[str], list[str | None], list[np.ndarray]]]:
        """Give for each batch: the inputs' names, what is wrong with each or None, and the pictures of the rest."""
        if batch_size < 1:
            raise UsageError(f"batch_size: expected at least 1, found {batch_size!r}")
        items = inputs.expand(given)
        for start in range(0, len(items), batch_size):
            names: list[str] = []
            problems: list[str | None] = []
            pictures: list[np.ndarray] = []
            for position, item in enumerate(items[start : start + batch_size], start):
                names.append(inputs.describe(item, position))
                try:
                    pictures.append(self.preprocessor.picture(item))
                    problems.append(None)
                except InputError as problem:
                    problems.append(str(problem))
            yield names, problems, pictures

    def evaluate(
        self, data: Any, *, batch_size: int = 32, on_bad: Literal["raise", "skip"] = "raise", workers: int = 0
    ) -> dict[str, Any]:
        """Give the task's metrics over a labelled set, for this module's labels.

        `data` is what `finetune` takes. A folder with train, valid and test parts is measured on its test part, or
        else its valid part. Raises DataError that lists every bad sample and every label that the module does not know.
        """
        task = self._answering()
        config = Config(batch_size=batch_size, workers=workers)
        pictures = PictureCache(self.preprocessor)
        chosen = prepare_evaluation(
            data, labels=self.labels, multi_label=task.multi_label, on_bad=on_bad, workers=workers,
            probe=pictures.picture,
        )  # fmt: skip
        metrics, loss = measure(self.network, task, _batches(chosen, pictures, config))
        return {**metrics, "loss": loss}

    # ---- making it yours ----

    def finetune(
        self,
        train: Any,
        *,
        valid: Any = None,
        test: Any = None,
        epochs: int | None = None,
        batch_size: int = 32,
        learning_rate: float | None = None,
        strategy: str = "probe_then_full",
        class_weight: str | Mapping[str, float] | None = None,
        label_smoothing: float = 0.0,
        weight_decay: float = 1e-4,
        layer_decay: float = 1.0,
        augment: bool = True,
        metric: str | None = None,
        multi_label: bool | None = None,
        on_bad: Literal["raise", "skip"] = "raise",
        seed: int = 0,
        device: str | None = None,
        workers: int = 0,
        output_dir: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> Module:
        """Train this module on your data and give it back with the weights of the best epoch.

        Args:
            train: a folder with a folder per class, a list file, a CSV/TSV/JSONL table, or any object with
                `__len__` and `__getitem__`. The classes come from it.
            valid: the same, to choose the best epoch by. None takes the source's own validation part, or else a
                fifth of `train`, stratified; False trains on everything.
            test: the same, measured once at the end into `run.test_metrics`.
            epochs: passes over the data; None gives small sets enough steps and large ones few epochs.
            learning_rate: the highest of a warm-up and cosine; None chooses by the size of the network.
            strategy: "probe_then_full", "probe" or "full" (see hub.finetune.config.STRATEGIES).
            class_weight: "balanced", or weights by class name, for the loss.
            layer_decay: each group of layers learns this many times slower than the next one towards the head.
            augment: whether the random steps of the module's module.yaml are applied while training.
            metric: chooses the best epoch; None is the task's own (accuracy; macro F1 for several labels).
            on_bad: "raise" lists every bad sample and stops; "skip" leaves bad samples out and says how many.
            seed: makes two runs on a CPU equal bit for bit, in any process and with any number of `workers`.
            workers: threads that read and prepare pictures ahead.
            output_dir: where history, settings and the best module go; None makes a folder in ./runs.
            progress: whether anything is printed (to stderr).

        Raises UsageError for an argument that cannot be meant and DataError for bad data, both before anything
        is trained; TrainingError when the loss is no longer a number. Ctrl-C leaves the best weights so far in
        the module and on disk, prints where, and raises KeyboardInterrupt.
        """
        config = Config(
            epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, strategy=strategy.replace("-", "_"),
            class_weight=class_weight, label_smoothing=label_smoothing, weight_decay=weight_decay,
            layer_decay=layer_decay, augment=augment, metric=metric, seed=seed, workers=workers,
        )  # fmt: skip
        say = _say if progress else _hush
        if device is not None:
            self._move(device)
        say(f"device: {self.device} ({self._why_device})")
        pictures = PictureCache(self.preprocessor)
        parts = prepare(
            train, valid=valid, test=test, multi_label=multi_label, on_bad=on_bad, seed=seed, workers=workers,
            probe=pictures.picture,
        )  # fmt: skip
        say(parts.describe())
        task = tasks.create(self.task, parts.train.labels, multi_label=parts.train.multi_label)
        sets = Sets(
            train=_batches(parts.train, pictures, config, seed=seed),
            in_order=_batches(parts.train, pictures, config),
            valid=None if parts.valid is None else _batches(parts.valid, pictures, config),
            test=None if parts.test is None else _batches(parts.test, pictures, config),
            counts=parts.train.counts(),
        )
        plan = finetuning.plan(config, task, self.network.backbone, sets)
        folder = _run_folder(output_dir, self.name)
        self._retask(task, seed=seed)
        self.run = run = Run(folder, data=parts.describe())
        try:
            finetuning.fit(
                self.network, plan, sets, run,
                save_best=lambda: self.save(run.best, name=self.name), callbacks=callbacks, progress=progress,
            )  # fmt: skip
        except (KeyboardInterrupt, TrainingError):
            self.save(run.best, name=self.name)
            say(f"stopped early; the best so far, of epoch {run.best_epoch}, is {run.best}")
            raise
        self.save(run.best, name=self.name)  # once more: its card now has the metrics
        say(run.summary())
        return self

    def save(self, folder: str | Path, *, name: str | None = None) -> Path:
        """Write this module as a folder that `hub.Module`, `hub run` and `hub install` take, and give its path.

        The folder appears whole or not at all. A module folder of that name is replaced; any other folder that
        holds something is refused with StorageError. `name` is the module's name in module.yaml; by default that
        of the folder for a fine-tuned module.
        """
        path = Path(folder).expanduser().absolute()
        if name is None:
            name = re.sub(r"[^a-z0-9_-]+", "_", path.name.lower()).strip("_-") if self.run else self.name
        spec = replace(self.spec, name=name[:64])
        text = self._base.card
        if self.run:
            text = card.write(
                spec,
                labels=self.labels,
                data=self.run.data,
                metrics=self.run.metrics,
                settings=self.run.config,
            )
        head_state = weights.state_of(self.network.head)
        picture = golden.test_card()
        return bundle.save(
            path,
            replace(self._base, spec=spec, head_state=head_state, card=text),
            golden=({"picture": picture}, golden.answer(self.network, self.preprocessor, picture)),
        )

    def verify(self) -> golden.Replay:
        """Replay the golden input that came with the module and give how far the output is from the stored one.

        Raises SpecError for a module that has no golden values, WeightsError when they are damaged.
        """
        if self.folder is None or self.spec.golden is None:
            raise SpecError(f"{self.name}: has no golden values to replay", hint="Module.save() writes them")
        given, expected = bundle.read_golden(self.folder, self.spec.golden)
        found = golden.answer(self.network, self.preprocessor, given["picture"])
        return golden.compare(found, expected, tolerance=self.spec.golden.rtol)

    def _move(self, device: str) -> None:
        self.device, self._why_device = devices.choose(device)
        paddle.set_device(self.device)
        self.network.to(self.device)

    def _retask(self, task: Task, *, seed: int) -> None:
        """Put a fresh head for other labels on the backbone; the module is then no longer the one that was loaded."""
        paddle.seed(seed)
        backbone = self._base.backbone
        self.network = Network(backbone, task.build_head(backbone.feature_spec))
        several = task.multi_label
        origin = self.spec.source.get("finetuned_from") or f"{self.name} {self.version}"
        spec = replace(
            self.spec,
            name=self.name if self.run else f"{self.name[:54]}_finetuned",
            version="1.0.0",
            head=Head(bundle.LABELS_FILE, several),
            golden=None,
            summary=f"{self.task.replace('_', ' ')} with {len(task.labels)} labels, fine-tuned from {origin}",
            source={"finetuned_from": origin},
        )
        self._task = task
        self._base = replace(self._base, spec=spec, labels=task.labels, head_state={})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _hush(text: str) -> None:
    """Take the place of `_say` where nothing is to be printed."""


def _batches(data: Dataset, pictures: PictureCache, config: Config, *, seed: int | None = None) -> Batches:
    targets = data.targets()
    return Batches(
        data, targets.astype(np.float32) if data.multi_label else targets, pictures,
        batch_size=config.batch_size, seed=seed, augment=config.augment, workers=config.workers,
    )  # fmt: skip


def _run_folder(chosen: str | Path | None, name: str) -> Path:
    """Make the folder of a run: the one that was asked for, or a new one in ./runs that nobody has."""
    if chosen is not None:
        folder = Path(chosen).expanduser().absolute()
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        folder = Path("runs").absolute() / (stem if number == 1 else f"{stem}-{number}")
        with storage_errors(folder):
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                continue
    raise AssertionError("count never ends")
