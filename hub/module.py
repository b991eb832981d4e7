"""`hub.Module`: a pretrained module that predicts, embeds, evaluates, is fine-tuned and saved.

This is where the two arms of the library meet: names become verified folders (registry), folders become networks
(modules), data becomes samples (datasets), and training is one call (finetune). No algorithm lives here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import paddle
from paddle import nn
from PIL import Image

from hub import answering, run_folder, settings, tasks, training
from hub.datasets.by_task import prepare_evaluation_for
from hub.datasets.folders import require_no_data
from hub.datasets.summary import several
from hub.datasets.texts import several_texts
from hub.errors import SpecError, UsageError
from hub.finetune import distributed, freezing, random_state
from hub.finetune.batches import Batches, ItemCache
from hub.finetune.callbacks import Callback, require_callbacks
from hub.finetune.config import Config, flag
from hub.finetune.early_stop import EarlyStop
from hub.finetune.feature_store import FeatureStore
from hub.finetune.features import Features
from hub.finetune.fit import fit, range_test
from hub.finetune.range_test import RangeTest
from hub.finetune.run import Run
from hub.finetune.trainer import measure
from hub.modules import archs, bundle, card, devices, golden, preprocessor, weights
from hub.modules.archs import Backbone
from hub.modules.building import building, leave_static_mode_of_traces
from hub.modules.bundle import Bundle
from hub.modules.kept import Kept, mark
from hub.modules.network import Network
from hub.modules.preprocessor import Preprocessor
from hub.modules.spec import Head, ModuleSpec
from hub.naming import A_NAME, is_module_name, name_from
from hub.paddlehub_face import PaddleHubFace, our_arguments, turned
from hub.registry import client, sources
from hub.registry.reference import with_version
from hub.reproduce import Found, finetuning, loading
from hub.tasks import Task

FINETUNED = "_finetuned"
"""What is put behind a module's name when it learns something else, until somebody names it."""


class Module(PaddleHubFace):
    """A pretrained module in memory.

    `name`, `version`, `task` and `labels` say what it is; `spec` is the whole of its module.yaml; `folder` is where
    it was loaded from; `run` is what the last `finetune` did.

    Many threads may predict with it. While one of them fine-tunes it the others must not: let them have a
    `copy.deepcopy` of it.
    """

    run: Run | None = None
    _loaded: Found | None = None
    _unnamed: bool = False
    """Whether its name was made when it learned something else in this process, and nobody's choice."""
    _corpus: tuple[object, list[str], np.ndarray] | None = None
    """The texts that were searched last, with their vectors and the mark of the backbone that gave them."""

    @random_state.paddles_kept()
    def __init__(
        self,
        name: str | Path | None = None,
        *,
        version: str | None = None,
        device: str | None = None,
        task: str | None = None,
        label_list: Sequence[str] | None = None,
        label_map: Mapping[Any, str] | None = None,
        num_classes: int | None = None,
        load_checkpoint: str | Path | None = None,
        **paddlehub: Any,
    ) -> None:
        """Load a module by name ("resnet50"), reference ("resnet50>=1,<2") or folder ("./my_flowers").

        A name that is not on this machine yet is installed first; its `version` is one ("1.0.0") or a range (">=1.0").
        `device` is None (a GPU when there is one), "cpu", "gpu" or "gpu:N". Raises BadReferenceError for a name that is
        none, NotFoundError for one that nobody knows, TransferError or OfflineError where it cannot be fetched,
        IntegrityError, SpecError or WeightsError for a module that is damaged, MissingDependencyError where it needs
        another hub or paddle or a package that is not here, and DeviceError.

        `task` switches a text encoder to another task it supports: "text_classification", "sequence_labeling",
        "text_matching", "siamese_matching", "text_regression", "text_similarity". The rest is as in PaddleHub, for
        `hub.Trainer`: a fresh head for other labels (a list, {0: "cat", …}, or their number), and the weights of a
        checkpoint, .safetensors or .pdparams; `directory`, `num_class`, `class_dim` and `pretrained` are other words of
        its modules for `name`, `num_classes` and `load_checkpoint`. Raises UsageError for a `task` that the module does
        not do, for labels that contradict each other, and for any other argument.
        """
        asked = our_arguments(
            paddlehub,
            {
                "name": name, "version": version, "device": device, "task": task, "label_list": label_list,
                "label_map": label_map, "num_classes": num_classes, "load_checkpoint": load_checkpoint,
            },
        )  # fmt: skip
        self.device, self._why_device = devices.choose(device)
        paddle.set_device(self.device)
        if asked["name"] is None:
            raise UsageError(
                "name: expected a module's name or folder, found none", hint="hub list shows the names"
            )
        located = client.locate(with_version(asked["name"], version))
        loaded = bundle.load(located.folder, check_digests=not located.verified)
        self._set(turned(loaded, task))
        told = {} if self.task == loaded.spec.task else {"task": self.task}
        if asked["load_checkpoint"] is not None:  # it fits the head of these labels alone
            told |= {word: asked[word] for word in ("label_list", "label_map", "num_classes")}
            told["load_checkpoint"] = str(asked["load_checkpoint"])
        self.folder: Path | None = located.folder
        self._loaded = Found(_place(self.name, located.folder), told)
        self._become(
            task=task,
            label_list=label_list,
            label_map=label_map,
            num_classes=asked["num_classes"],
            load_checkpoint=asked["load_checkpoint"],
        )

    @classmethod
    @random_state.paddles_kept()
    def create(
        cls,
        name: str,
        *,
        task: str,
        arch: Mapping[str, Any],
        preprocess: Sequence[Mapping[str, Any]],
        labels: Sequence[str] = (),
        augment: Sequence[Mapping[str, Any]] = (),
        files: Mapping[str, bytes] | None = None,
        multi_label: bool = False,
        license: str = "unknown",
        summary: str = "",
        seed: int = 0,
        device: str | None = None,
    ) -> Module:
        """Give a module with random weights, to be trained from scratch.

        `arch`, `preprocess` and `augment` are written as in module.yaml: arch={"name": "small_resnet", "width": 16}.
        `files` are the contents of those that the preprocessing reads, by name: {"vocab.txt": b"…"} for texts. Without
        labels the module has features and no head. `multi_label` lets it give several labels at once; `license` and
        `summary` become lines of module.yaml; `seed` decides the weights; `device` is as in `hub.Module`.

        Raises UsageError for labels that are not names of one line, each once, SpecError for a task that there is not
        and for what module.yaml could not say, and DeviceError.
        """
        module = cls.__new__(cls)
        module.device, module._why_device = devices.choose(device)
        paddle.set_device(module.device)
        content = dict(files or {})
        bundle.require_labels(labels)
        has_head = tasks.kind(task).has_labels and bool(labels)
        spec = ModuleSpec.create(
            name=name, task=task, arch=arch, preprocess=preprocess, augment=augment, license=license, files=content,
            summary=summary, head=Head(bundle.LABELS_FILE, multi_label) if has_head else None,
        )  # fmt: skip
        head_state: weights.State = {}
        with building():
            paddle.seed(seed)
            backbone = archs.build(spec.arch.name, **spec.arch.arguments)
            if has_head:
                fresh = tasks.create(task, labels, multi_label=multi_label)
                fresh.attach(backbone)
                head_state = weights.state_of(fresh.build_head(backbone.feature_spec))
        steps = preprocessor.build(spec.preprocess, spec.augment, content)
        bundle.require_fit(backbone, steps)
        module._set(Bundle(spec, tuple(labels), backbone, head_state, steps, files=content))
        module.folder = None
        return module

    def _set(self, loaded: Bundle) -> None:
        self._base = loaded
        self._answers_by, self._vectors_by = Kept(), Kept()
        self._task: Task | None = None
        head: nn.Layer = nn.Identity()
        spec = loaded.spec
        if (spec.head and loaded.head_state) or not self._kind.has_labels:
            many = spec.head is not None and spec.head.multi_label
            self._task = tasks.create(spec.task, loaded.labels, multi_label=many)
            self._task.attach(loaded.backbone)
            with building():
                head = self._task.build_head(loaded.backbone.feature_spec)
            what = f"{spec.name}, head for {len(loaded.labels)} labels"
            weights.give(head, loaded.head_state, what=what)
        self._network = Network(loaded.backbone, head)
        self._network.eval()

    def _answers(self) -> Callable[..., object] | None:
        return None if self._task is None else self._task.answers

    @property
    def _kind(self) -> type[Task]:
        return tasks.kind(self.task)

    def _answering(self) -> Task:
        if self._task is None:
            raise SpecError(
                f"{self.name} has features and no head: it has no answers yet",
                hint="finetune() gives it your labels; embed() gives its features",
            )
        return self._task

    @property
    def network(self) -> Network:
        """The backbone with its head: a paddle layer, with parameters that may be changed.

        It cannot be replaced by assignment: the module would go on saving, and fine-tuning, the one that its `spec`
        describes. docs/from_paddlehub.md says where a network of your own goes.
        """
        leave_static_mode_of_traces()
        return self._network

    @network.setter
    def network(self, other: Any) -> None:
        raise UsageError(
            f"network: {self.name} saves and fine-tunes the one that its spec describes; it cannot be replaced",
            hint="give weights with module.network.set_state_dict(...); docs/from_paddlehub.md says where a network "
            "of your own goes",
        )

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
        labels = several(len(self.labels), "label")
        return f"<hub.Module {self.name} {self.version}: {self.task}, {labels}, on {self.device}>"

    # ---- using it ----

    def predict(
        self, given: Any, *, batch_size: int = 32, precision: str = "fp32", **options: Any
    ) -> list[dict[str, Any]]:
        """Give one result for each input, in order.

        `given` is a path, a folder, a glob, a PIL image, an array, or a list of these. For classification a result is
        {"input", "label", "score", "top": [{"label", "score"}, …]} with scores from 0 to 1 (several labels:
        {"input", "labels", "scores"}), and `top_k` (5) says how many; docs/reference/tasks.md has the results and
        options of every task. It is {"input", "error"} for an input that cannot be read.

        `precision` "bf16" is for many inputs on CPUs that compute bfloat16: about twice as fast, after a second or more
        of compiling, and scores differ in the second digit; `evaluate` says what that costs. Raises DeviceError where
        it is not available, UsageError for options that the task does not take.
        """
        return list(self.predict_each(given, batch_size=batch_size, precision=precision, **options))

    def predict_each(
        self, given: Any, *, batch_size: int = 32, precision: str = "fp32", **options: Any
    ) -> Iterator[dict[str, Any]]:
        """Give what `predict` gives and takes, result by result: for more inputs than memory has room for results.

        Each batch (of texts: 50 of them) is computed when its first result is asked for, and the module must not be
        fine-tuned before the last one. What `predict` raises for its arguments is raised at once.
        """
        devices.require_precision(precision, self.device)
        return answering.answers_of(
            self.network, self._answering(), self.preprocessor, given, batch_size=batch_size, options=options,
            kept=self._answers_by, precision=precision,
        )  # fmt: skip

    def expand(self, given: Any) -> list[Any]:
        """Give the inputs that `predict` makes of what it is given, in its order: a folder becomes its files."""
        return answering.expanded(given, self._kind.inputs)

    def embed(self, given: Any, *, batch_size: int = 32, precision: str = "fp32") -> np.ndarray:
        """Give the backbone's features, float32 [N, D], for the inputs that `predict` takes; `precision` as there.

        Raises InputError for an input that cannot be read: a row that is missing would shift all the others.
        """
        devices.require_precision(precision, self.device)
        return answering.embed(
            self.network.backbone, self._kind.inputs, self.preprocessor, given, batch_size=batch_size,
            kept=self._vectors_by, precision=precision,
        )  # fmt: skip

    def search(
        self, queries: str | Sequence[str], corpus: Sequence[str] | np.ndarray, *, top_k: int = 5
    ) -> list[list[dict[str, Any]]]:
        """Give for each query the nearest of a corpus, best first: {"index", "score", "text"}.

        The score is the cosine of the vectors that `embed` gives, from -1 to 1. `corpus` are texts, whose vectors are
        kept for the next search, or vectors that `embed` gave before: then there is no "text". For texts each search
        looks through the weights, to see that nobody has changed them (a millisecond for some 2 MB); for vectors it
        does not. A text is one even where a file has that name. Raises UsageError for queries and a corpus that are
        neither.
        """
        from hub.tasks.nearest import nearest

        texts: list[str] | None = None
        if isinstance(corpus, np.ndarray) and corpus.dtype.kind in "fiu":
            vectors = corpus
        else:
            texts = several_texts(corpus, "corpus")
            vectors = self._vectors_of(texts)
        asked = several_texts([queries] if isinstance(queries, str) else queries, "queries")
        rows, cosines = nearest(self.embed(asked), vectors, top_k)
        return [
            [
                {
                    "index": int(n),
                    "score": round(float(x), 6),
                    **({} if texts is None else {"text": texts[n]}),
                }
                for n, x in zip(near, cosine, strict=True)
            ]
            for near, cosine in zip(rows, cosines, strict=True)
        ]

    def _vectors_of(self, corpus: list[str]) -> np.ndarray:
        """Give the vectors of a corpus, kept from the last search as long as nobody has changed the weights."""
        # Nothing cheaper tells: set_value and paddle's optimizers write in place without counting a tensor's version.
        now = mark(self.network.backbone)
        if self._corpus is None or self._corpus[:2] != (now, corpus):
            self._corpus = now, corpus, self.embed(corpus)
        return self._corpus[2]

    def draw(self, given: Any, result: Mapping[str, Any]) -> Image.Image:
        """Give an input's picture (a sound's spectrogram, a text as written) with its result of `predict` on it."""
        task = self._answering()
        look = getattr(task, "picture", self.preprocessor.picture)
        return task.draw(look(given), result)

    def files(self, result: Mapping[str, Any]) -> dict[str, Image.Image]:
        """Give what of a result from `predict` is kept as a picture of its own, such as a mask, by name."""
        return self._answering().files(result)

    def evaluate(
        self,
        data: Any,
        *,
        batch_size: int = 32,
        on_bad: Literal["raise", "skip"] = "raise",
        workers: int = 0,
        precision: str = "fp32",
    ) -> dict[str, Any]:
        """Give the task's metrics over a labelled set, for this module's labels.

        `data` is what `finetune` takes. A folder with train, valid and test parts is measured on its test part, or
        else its valid part. "loss" is the mean loss, and "cut" counts the texts that are longer than what is read of
        one, where there are any. "taken" says which columns or folders were read, where others could be meant.

        `batch_size` samples are computed at once, and `workers` threads read ahead. `on_bad`
        "skip" leaves bad samples out. `precision` is as for `predict`. Raises DataError that lists every bad sample and
        every label that the module does not know, SpecError for a module without a head, UsageError for an argument
        that cannot be meant, and DeviceError for a precision that is not available.
        """
        devices.require_precision(precision, self.device)
        task = self._answering()
        config = Config(batch_size=batch_size, workers=workers)
        items = ItemCache(task.examples(self.preprocessor))
        chosen = prepare_evaluation_for(
            self._kind.inputs, data, labels=self.labels, multi_label=task.multi_label, on_bad=on_bad,
            workers=workers, probe=items.item, grouped=self._kind.grouped,
        )  # fmt: skip
        source = training.read(chosen, items, whole=True)
        shared = task.answering(self.network) is self.network
        run = (self._answers_by if shared else Kept()).run(
            self.network, self.network.backbone.feature_spec, len(source), precision=precision
        )
        metrics, loss = measure(
            self.network, task, Batches(source, batch_size=config.step_size, workers=workers), run=run
        )
        cut, _ = source.cut()
        more = {"cut": cut, "taken": chosen.taken}
        return {**metrics, "loss": loss, **{name: value for name, value in more.items() if value}}

    # ---- making it yours ----

    def finetune(
        self,
        train: Any,
        *,
        valid: Any = None,
        test: Any = None,
        epochs: int | None = None,
        batch_size: int | Literal["auto"] = 32,
        learning_rate: float | None = None,
        strategy: str | None = None,
        freeze: str | int | Sequence[str] | None = None,
        class_weight: str | Mapping[str, float] | None = None,
        metric: str | None = None,
        early_stop: bool | int | Mapping[str, Any] | EarlyStop | None = None,
        multi_label: bool | None = None,
        on_bad: Literal["raise", "skip"] = "raise",
        seed: int = 0,
        device: str | None = None,
        workers: int = 0,
        output_dir: str | Path | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        **more: Any,
    ) -> Module:
        """Train this module on your data and give it back with the weights of the best epoch.

        Args:
            train: a folder with a folder per class, a list file, a CSV/TSV/JSON table (or hub.datasets.Table, which
                names its columns), the name of a published set ("ESC50", see hub.datasets.builtin), or any object
                with `__len__` and `__getitem__`. The classes come from it. Several sets by name, {"flower": …,
                "colour": …}, are several questions for one classification module; `task_weights` {name: weight} says
                how much each counts, and `valid` and `test` are then by name too.
            valid: the same, to choose the best epoch by. None takes the source's own validation part, or else a
                fifth of `train`, stratified; False trains on everything.
            test: the same, measured once at the end into `run.test_metrics`.
            epochs: passes over the data; None gives small sets enough steps and large ones few epochs.
            batch_size: samples in a step; "auto" begins with 32 and goes through a step in halves, quarters …
                when memory runs out.
            learning_rate: the highest of the schedule; None chooses by the size of the network and the task.
            strategy: "probe_then_full", "probe", "full" or "gradual" (hub.finetune.config.STRATEGIES); None is
                the task's own.
            freeze: what is never trained: a number of groups of layers from the input on, "backbone", or a pattern
                of parameter names. What comes before the trained part is computed once and kept.
            class_weight: "balanced", or weights by class name, for the loss.
            metric: chooses the best epoch; None is the task's own (accuracy; macro F1 for several labels).
            early_stop: ends the run when the metric no longer improves: True, a number of epochs to wait, or the
                arguments of hub.finetune.early_stop.EarlyStop.
            multi_label: whether a sample may have several labels; None: where the data has them. For classification.
            on_bad: "raise" lists every bad sample and stops; "skip" leaves bad samples out and says how many.
            seed: makes two runs on a CPU equal bit for bit, in any process and with any number of `workers`.
            device: "cpu", "gpu" or "gpu:N", to move to before training; None stays where the module is.
            workers: threads that read and prepare samples ahead.
            output_dir: where history, settings, checkpoints and the best module go; None makes a folder in ./runs.
                Where that is in the folder of the data, the next run passes over it.
            resume: go on from the newest checkpoint in output_dir, to the same result as without a break; starts
                where there is none.
            callbacks: hub.finetune.callbacks.Callback, whose hooks the loop calls. One that raises ends the run.
            progress: whether anything is printed (to stderr).
            more: everything else there is: the fields of hub.finetune.config.Config, and what the task takes besides
                (docs/reference/tasks.md), such as a `style`.

        Raises UsageError for an argument that cannot be meant and DataError for bad data, both before anything
        is trained; TrainingError when the loss is no longer a number. Ctrl-C finishes the step, writes a
        checkpoint, leaves the best weights so far in the module and on disk, prints where, and raises
        KeyboardInterrupt; SIGTERM likewise, and raises SystemExit. However a run breaks off, as long as no epoch of it
        is complete the module stays what it was.
        """
        require_callbacks(callbacks)
        takes = tasks.options(training.task_for(self.task, train))
        options = {name: more.pop(name) for name in takes if name in more}
        teacher = more.get("teacher")
        if isinstance(teacher, Module):
            found = teacher._found_by()
            more["teacher"] = found.place if found else teacher.name
        config = Config.of(
            takes, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, strategy=strategy, freeze=freeze,
            class_weight=class_weight, metric=metric, seed=seed, workers=workers, **more,
        )  # fmt: skip
        if multi_label is not None:
            multi_label = flag("multi_label", multi_label)
        if output_dir:
            require_no_data(output_dir, train, valid, test)
        group = distributed.group()
        say = _say if progress and group.first else _hush
        if device is not None:
            self._move(device)
        say(f"device: {self.device} ({self._why_device})")
        keeps = config.cache and archs.is_ours(self.spec.arch.name, self._base.backbone)
        store = FeatureStore(settings.home() / "features" if keeps else None)
        about = training.reading(self.spec)
        last = run_folder.continued(self.run, output_dir, resuming=resume)
        job = training.prepare(
            self._base, config, train, valid=valid, test=test, multi_label=multi_label, on_bad=on_bad, options=options,
            early_stop=early_stop, store=store, ranks=group.size, without=last.config["drop_groups"] if last else 0,
            progress=progress and group.first,
        )  # fmt: skip
        say(job.data)
        features = Features(
            store, about=about, network=f"{self.spec.arch} {job.dropped}", variants=str(self.spec.augment),
            group=group, progress=progress and sys.stderr.isatty(), say=say,
        )  # fmt: skip
        answers, taught = None, ""
        if config.teacher is not None:
            teacher = teacher if isinstance(teacher, Module) else Module(config.teacher)
            answers, taught = training.teacher_answers(teacher, job), training.teacher_digest(teacher)
        others = {
            "early_stop": job.plan.early_stop and job.plan.early_stop.told,
            "multi_label": multi_label,
            "on_bad": None if on_bad == "raise" else on_bad,
        }
        with run_folder.opened(
            output_dir, self.name, job, resuming=resume, last=last, teacher=taught, group=group, say=say
        ) as (folder, kept):
            origin = (
                last.origin
                if last and kept.start
                else loading(self._found_by(), self.name, replaced=folder / "best")
            )
            command = finetuning(
                origin, train, valid, test, config,
                {**job.plan.options, **{name: value for name, value in others.items() if value is not None}},
            )  # fmt: skip
            run = Run(
                folder, data=job.data, samples=job.sets.valid and job.sets.valid.samples, command=command,
                start=kept.identity["start"], origin=origin,
            )  # fmt: skip
            with self._becoming(job, run):
                fit(
                    self.network, job.plan, job.sets, run, kept, save_best=lambda: self.save(run.best, name=self.name),
                    callbacks=callbacks, progress=progress, group=group, features=features, teacher_answers=answers,
                    say=say,
                )  # fmt: skip
        say(run.summary())
        return self

    @random_state.paddles_kept()
    def range_test(
        self,
        train: Any,
        *,
        low: float = 1e-6,
        high: float = 1.0,
        steps: int = 60,
        multi_label: bool | None = None,
        on_bad: Literal["raise", "skip"] = "raise",
        seed: int = 0,
        workers: int = 0,
        progress: bool = True,
        **settings: Any,
    ) -> RangeTest:
        """Try learning rates from `low` to `high` on the first steps of a training that is then thrown away.

        Gives the losses, a suggestion for `finetune(learning_rate=…)` and `plot(path)`; the module stays as it was.
        `low` is above 0, `high` above it, and `steps` at least 20. `settings` are those of hub.finetune.config.Config
        and what the task takes, as for `finetune`. Raises UsageError for others and for arguments that make no sweep,
        DataError for bad data, and TrainingError where nothing can be suggested.
        """
        takes = tasks.options(training.task_for(self.task, train))
        options = {name: settings.pop(name) for name in takes if name in settings}
        settings = {"strategy": "full", "seed": seed, "workers": workers, **settings}
        config = Config.of(takes, "range_test", **settings)
        if config.teacher is not None:
            raise UsageError("range_test takes no teacher", hint="leave it out to try the rates")
        if multi_label is not None:
            multi_label = flag("multi_label", multi_label)
        job = training.prepare(
            self._base, config, train, valid=False, multi_label=multi_label, on_bad=on_bad, options=options,
            progress=progress,
        )  # fmt: skip
        state = weights.state_of(self.network)
        try:
            with self._becoming(job):
                return range_test(
                    self.network, job.plan, job.sets, low=low, high=high, steps=steps, progress=progress
                )
        finally:
            weights.give(self.network, state, what=self.name)
            self.network.eval()

    def save(self, folder: str | Path, *, name: str | None = None) -> Path:
        """Write this module as a folder that `hub.Module`, `hub run` and `hub install` take, and give its path.

        The folder appears whole or not at all. A module folder of that name is replaced; any other folder that
        holds something is refused with StorageError. `name` is the module's name in module.yaml; by default that
        of the folder, in the letters that a name may have, for a module that was fine-tuned here. One that was loaded
        keeps its name, also the best of a run. Raises UsageError for a `name` that no module may have.
        """
        path = Path(os.path.expanduser(folder)).absolute()
        if name is None:
            name = name_from(path.name, otherwise="module") if self._unnamed else self.name
        elif not is_module_name(name):
            raise UsageError(f"name: expected {A_NAME}, found {name!r:.80}")
        spec = replace(self.spec, name=name)
        text = self._base.card
        if self.run:
            text = card.write(
                spec,
                inputs=self._kind.inputs,
                labels=self.labels,
                data=self.run.data,
                metrics=self.run.metrics,
                settings=self.run.config,
            )
        head_state = weights.state_of(self.network.head)
        given = golden.example(self._kind.inputs)
        return bundle.save(
            path,
            replace(self._base, spec=spec, head_state=head_state, card=text),
            golden=(
                given,
                golden.answer(self.network, self.preprocessor, given, self._answers()),
            ),
        )

    def verify(self) -> golden.Replay:
        """Replay the golden input that came with the module and give how far the output is from the stored one.

        Raises SpecError for a module that has no golden values, WeightsError when they are damaged.
        """
        if self.folder is None or self.spec.golden is None:
            raise SpecError(f"{self.name}: has no golden values to replay", hint="Module.save() writes them")
        given, expected = bundle.read_golden(self.folder, self.spec.golden)
        found = golden.answer(self.network, self.preprocessor, given, self._answers())
        return golden.compare(found, expected, tolerance=self.spec.golden.rtol)

    def _found_by(self) -> Found | None:
        """Give what `hub.Module` finds this module by: the best of its last run, or as it was loaded; None for none."""
        return Found(str(self.run.best)) if self.run else self._loaded

    def _move(self, device: str) -> None:
        self.device, self._why_device = devices.choose(device)
        paddle.set_device(self.device)
        self.network.to(self.device)

    @contextmanager
    def _becoming(self, job: training.Job, run: Run | None = None) -> Iterator[None]:
        """Be the module that the job trains; without a run, and where nothing came of it, be as before afterwards."""
        before = self._base, self._task, self._network, self.run, self._unnamed
        self._retask(job.task, job.backbone, job.plan.config, dropped=job.dropped)
        self.run = run
        try:
            with freezing.unmarked_after(self.network):
                yield
        finally:
            if run is None or not run.begun:
                self._base, self._task, self._network, self.run, self._unnamed = before
            devices.release_memory()

    def _retask(self, task: Task, backbone: Backbone, config: Config, *, dropped: int = 0) -> None:
        """Put a fresh head for other labels on the backbone that `task` is attached to.

        `dropped` is how many groups of layers it has lost since it was this module's.
        """
        with building():
            paddle.seed(config.seed)
            task.begin()
            head = task.build_head(backbone.feature_spec)
        self._network = Network(backbone, head, dropout=config.dropout)
        self._answers_by, self._vectors_by = Kept(), Kept()
        name = self.name if self._unnamed else f"{self.name[:54]}{FINETUNED}"
        self._base = bundle.relearned(
            self._base, backbone, name=name, task=task.name, labels=task.labels, multi_label=task.multi_label,
            dropped=dropped,
        )  # fmt: skip
        self._task, self._unnamed = task, True


def _place(name: str, folder: Path) -> str:
    """Give a name where that is found again wherever a run is done, and of a folder of the user's own its path."""
    known = (settings.home(), sources.BUNDLED_FOLDER)
    return name if any(map(folder.is_relative_to, known)) else str(folder)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _hush(text: str) -> None:
    """Take the place of `_say` where nothing is to be printed."""
