"""From what a user hands to `finetune` to a training that is ready to begin: read, checked, and nothing changed yet."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hub import tasks
from hub.datasets import Dataset, Sample
from hub.datasets.by_task import prepare_for
from hub.datasets.grouped import is_grouped
from hub.datasets.kinds import KINDS
from hub.datasets.prepare import Prepared
from hub.errors import UsageError
from hub.finetune import plan as planning
from hub.finetune.batches import ItemCache, Read
from hub.finetune.config import Config
from hub.finetune.feature_store import FeatureStore
from hub.finetune.plan import Plan, Sets
from hub.modules import archs, weights
from hub.modules.archs import Backbone
from hub.modules.bundle import Bundle
from hub.modules.network import infer
from hub.modules.spec import ModuleSpec
from hub.modules.text_preprocessor import TextPreprocessor
from hub.tasks import Task
from hub.tasks.text_classification import OfTexts

LOOKED_AT = 1000
"""So many texts of the training, from all over it, are looked at for words that the tokenizer does not know."""
MOST_UNKNOWN = 1 / 3
TAUGHT_AT_ONCE = 32
"""Samples that a teacher answers for in one batch."""
MULTI_TASK = "multi_task_"
"""How the name of a task begins that answers several questions of the task whose name follows."""


def task_for(task: str, train: Any) -> str:
    """Give the task that the data asks a module for: several sets by name are several questions.

    Raises UsageError for a task that cannot have several.
    """
    single = task.removeprefix(MULTI_TASK)
    if not is_grouped(train):
        return single
    if MULTI_TASK + single not in tasks.names():
        several = [name.removeprefix(MULTI_TASK) for name in tasks.names() if name.startswith(MULTI_TASK)]
        raise UsageError(
            f"{task}: expected one set, found several by name: {', '.join(map(str, train))}",
            hint=f"several sets are for {', '.join(several)}",
        )
    return MULTI_TASK + single


@dataclass(frozen=True)
class Job:
    """A training that is ready to begin."""

    task: Task
    backbone: Backbone
    sets: Sets
    plan: Plan
    data: str
    """The table of classes and counts, for a person."""
    reading: str
    """A digest of how inputs are read and varied."""
    dropped: int
    """How many groups of layers the backbone has lost here."""


def prepare(
    base: Bundle,
    config: Config,
    train: Any,
    *,
    valid: Any = None,
    test: Any = None,
    multi_label: bool | None = None,
    on_bad: str = "raise",
    options: Mapping[str, Any] | None = None,
    early_stop: Any = None,
    store: FeatureStore | None = None,
    ranks: int = 1,
    without: int = 0,
    progress: bool = True,
) -> Job:
    """Read and check the data, and fit settings, task and network to it.

    `options` are those of the task; what a `store` of features knows was read before without a complaint, and is not
    read again; `without` is how many of the groups that are to be dropped `base` has lost before, in the run that is
    to be gone on with; `progress` shows how a published set is fetched and how samples are checked. Raises DataError
    for bad data and UsageError for a setting that cannot be meant.
    """
    name = task_for(base.spec.task, train)
    kind = tasks.kind(name)
    examples = kind.examples(base.preprocessor)
    items = ItemCache(examples, of_file=store.digests.of) if store else ItemCache(examples)
    known = store.readable(reading(base.spec)) if store else ()

    def probe(sample: Sample) -> object:
        seen = known and isinstance(sample.input, Path) and items.digest(sample.input) in known
        return None if seen else items.item(sample)

    parts = prepare_for(
        kind.inputs, train, grouped=kind.grouped, valid=valid, test=test, multi_label=multi_label, on_bad=on_bad,
        seed=config.seed, workers=config.workers, probe=probe, progress=progress,
    )  # fmt: skip
    if hasattr(kind, "in_order"):
        own = base.labels if base.spec.task == name else ()
        parts = parts.relabelled(kind.in_order(parts.train, parts.train.labels, known=own, **(options or {})))
    task = tasks.create(name, parts.train.labels, multi_label=parts.train.multi_label, **(options or {}))
    sets = Sets(
        read(parts.train, items, progress=progress),
        None if parts.valid is None else read(parts.valid, items, whole=True, progress=progress),
        None if parts.test is None else read(parts.test, items, whole=True, progress=progress),
        labels=task.labels,
        counts=parts.train.counts(),
    )
    dropped = max(0, config.drop_groups - without)
    backbone = archs.shortened(base.backbone, dropped)
    task.attach(backbone)
    plan = planning.plan(config, task, backbone, sets, options=options, early_stop=early_stop, ranks=ranks)
    varied = hashlib.sha256(f"{_steps(base.spec)} {base.spec.augment}".encode()).hexdigest()
    of_texts = kind.inputs in KINDS and KINDS[kind.inputs].is_text and not kind.grouped
    said = [
        parts.describe(),
        *task.notes(),
        *_cut(sets),
        *_unknown(sets),
        *(_repeated(parts) if of_texts else ()),
    ]
    return Job(task, backbone, sets, plan, "\n".join(said), varied[:16], dropped)


def _cut(sets: Sets) -> Iterator[str]:
    """Give a line for each set of which some samples are longer than what is read of them."""
    for name, given in (("training", sets.train), ("validation", sets.valid), ("test", sets.test)):
        count, pieces = (0, 0) if given is None else given.cut()
        if given is not None and count:
            yield f"{name}: {count:,} of {len(given):,} texts are longer than {pieces} pieces, and were cut there"


def _unknown(sets: Sets) -> Iterator[str]:
    """Give a line where the tokenizer lacks many words of the training: to the network all of them are the same."""
    preprocessor, samples = sets.train.items.examples.preprocessor, sets.train.samples
    if not isinstance(preprocessor, TextPreprocessor):
        return
    some = np.unique(np.linspace(0, len(samples) - 1, LOOKED_AT).astype(int))
    texts = [OfTexts.show(samples[index].input) for index in some.tolist()]
    count, unknown = preprocessor.tokenizer.unknown_words(texts)
    if len(unknown) > MOST_UNKNOWN * count:
        [(word, _)] = Counter(unknown).most_common(1)
        yield (
            f"training: {len(unknown) / count:.0%} of the words are unknown to the tokenizer, such as {word!r:.60}: "
            "is this module for texts like yours?"
        )


def _repeated(parts: Prepared) -> Iterator[str]:
    """Give a line for each set of which some texts are those of the training: what they measure is its memory."""
    if parts.valid is None and parts.test is None:
        return
    trained = set(_inputs(parts.train))
    for name, part in (("validation", parts.valid), ("test", parts.test)):
        count = 0 if part is None else sum(each in trained for each in _inputs(part))
        if part is not None and count:
            yield f"{name}: {count:,} of {len(part):,} texts are also in training"


def _inputs(part: Dataset) -> Iterator[Any]:
    """Give the texts of a set, pairs and words as something that can be looked up."""
    for i in range(len(part)):
        given = part[i].input
        yield tuple(given) if isinstance(given, list) else given


def read(data: Dataset, items: ItemCache, *, whole: bool = False, progress: bool = False) -> Read:
    """Give a dataset as a source of batches, to be trained on or, `whole`, to be measured on."""
    targets = data.targets()
    targets = targets.astype(np.float32) if data.multi_label else targets
    return Read(data, items, targets, whole=whole, progress=progress)


def reading(spec: ModuleSpec) -> str:
    """Give a digest of how a module reads its inputs."""
    return hashlib.sha256(f"{spec.task} {_steps(spec)}".encode()).hexdigest()


def _steps(spec: ModuleSpec) -> str:
    return f"{spec.preprocess} {[file.sha256 for file in spec.files]}"


def teacher_answers(teacher: Any, job: Job) -> list[np.ndarray]:
    """Give what a `hub.Module` teaches of every training sample, without random variants: float32 [L].

    Of tagged words it is [words, L], NaN where there is no answer. Raises UsageError for a teacher of another task or
    with other labels.
    """
    if (teacher.task, _has_several(teacher)) != (job.task.name, job.task.multi_label):
        found = f"{teacher.task}, multi_label={_has_several(teacher)}"
        raise UsageError(
            f"teacher {teacher.name}: expected a module for {job.task.name}, multi_label={job.task.multi_label}, "
            f"found one for {found}",
            hint="fine-tune the teacher on the same data first, and pass the module that comes of it",
        )
    if teacher.labels != job.task.labels:
        raise UsageError(
            f"teacher {teacher.name}: expected the labels {', '.join(job.task.labels[:10])}, "
            f"found {', '.join(teacher.labels[:10])}",
            hint="fine-tune the teacher on the same data first, and pass the module that comes of it",
        )
    train, examples = job.sets.train, job.task.examples(teacher.preprocessor)
    rows: list[np.ndarray] = []
    for indices in np.array_split(np.arange(len(train)), -(-len(train) // TAUGHT_AT_ONCE)):
        samples = [train.samples[index] for index in indices.tolist()]
        read = [examples.read(sample) for sample in samples]
        given = examples.batch(read, train.targets[indices])[0]
        own = map(train.items.item, samples)
        rows.extend(job.task.lessons(partial(infer, teacher.network), given, read, own))
    return rows


def teacher_digest(teacher: Any) -> str:
    """Give what tells a teacher from any other: a digest of its weights and one of how it reads."""
    return f"{weights.digest(teacher.network)} {reading(teacher.spec)[:16]}"


def _has_several(module: Any) -> bool:
    return module.spec.head is not None and bool(module.spec.head.multi_label)
