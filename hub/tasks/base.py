"""The contract of a task, and the table in which tasks are found by name."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np
from paddle import Tensor, nn
from PIL import Image

from hub.errors import SpecError, UsageError, did_you_mean
from hub.modules.archs import Backbone, FeatureSpec
from hub.modules.preprocessor import Preprocessor

Loss = Callable[[Any, Any], Tensor]
"""From (outputs, targets) of a batch to a scalar."""

Distance = Callable[[Tensor, Tensor], Tensor]
"""From the logits of a student and of its teacher, [N, L] each, to a scalar: a mean over the rows."""


class WeightedMean:
    """A loss that is a mean over weights; `weight(targets)` is their sum, so that a step may be cut into parts."""

    def __init__(self, loss: Loss, weight: Callable[[Any], Tensor]) -> None:
        self.loss, self.weight = loss, weight

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        return self.loss(outputs, targets)


class Sum:
    """A loss that is the sum of others: a step that is cut into parts cuts each of them by its own weights."""

    def __init__(self, *terms: Loss) -> None:
        self.terms = terms

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        first, *others = (term(outputs, targets) for term in self.terms)
        return sum(others, first)


def terms_of(loss: Loss) -> tuple[Loss, ...]:
    """Give the losses that a loss is the sum of: most are a single one."""
    return loss.terms if isinstance(loss, Sum) else (loss,)


def weights_of(loss: Loss, targets: Any, count: int) -> np.ndarray:
    """Give for each of `terms_of(loss)` what `count` samples weigh in it, float64: their number, if nothing else."""
    return np.array(
        [float(one.weight(targets)) if isinstance(one, WeightedMean) else count for one in terms_of(loss)],
        np.float64,
    )


Arrays = np.ndarray | tuple[np.ndarray, ...]
Run = Callable[[Arrays], Any]
"""From a batch of inputs to a network's outputs as arrays."""


def is_whole(value: object) -> bool:
    """Say whether an option is a whole number, of numpy too; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Say whether an option is a finite number; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def require_in_place(preprocessor: Preprocessor, *, task: str, answers: str) -> None:
    """Raise SpecError for steps that cut or pad: what the network finds is only made larger or smaller again."""
    moved = sorted({"center_crop", "pad_square"} & set(getattr(preprocessor, "steps", ())))
    if moved:
        raise SpecError(
            f"preprocess: {task} cannot have {moved[0]}: {answers} would no longer lie on their pictures",
            hint="resize: {size: …} keeps both together",
        )


class Sample(Protocol):
    """What a dataset gives for an index."""

    @property
    def input(self) -> Any: ...

    @property
    def label(self) -> Any: ...


class Examples:
    """How labelled samples become batches. Here: the input alone is read, and the dataset has numbered its label."""

    targets_from_items = False
    """Whether `batch` makes the targets from what was read, in place of the dataset's numbers."""

    def __init__(self, preprocessor: Preprocessor) -> None:
        self.preprocessor = preprocessor

    @property
    def varies(self) -> bool:
        """Whether `vary` changes anything."""
        return self.preprocessor.augments

    def read(self, sample: Sample) -> Any:
        """Give what the fixed steps of preprocessing make of a sample: it may be kept. Raises InputError."""
        return self.preprocessor.read(sample.input)

    def length(self, item: Any) -> int | None:
        """Give how long an item is, where a batch is padded to its longest; None where all have one size."""
        return None

    def cut(self, item: Any) -> int:
        """Give how many pieces were read of an item that has more; 0 where all of it was."""
        return 0

    def vary(self, item: Any, rng: np.random.Generator) -> Any:
        """Give a random variant of what `read` gave."""
        return self.preprocessor.augmented(item, rng)

    def batch(self, items: Sequence[Any], targets: np.ndarray) -> tuple[Arrays, Arrays]:
        """Give (inputs, targets) for the network and the loss.

        Where the loss is a WeightedMean, a sample may have several rows, one behind the other: each has its weight.
        """
        return self.preprocessor.batch(items), targets

    def whole(self, items: Sequence[Any], targets: np.ndarray) -> tuple[Arrays, Arrays]:
        """Give (inputs, targets) for the task's `measured`: by default the batch of a training."""
        return self.batch(items, targets)


class Meter(Protocol):
    """Metrics of a whole set, fed batch by batch in bounded memory.

    What it counts are its attributes that are numbers or arrays: over several processes each of them is added up.
    """

    def update(self, outputs: Any, targets: Any) -> None:
        """Take in what the network gave for a batch and what was right."""

    def compute(self) -> dict[str, Any]:
        """Give the metrics of everything seen so far: plain numbers, lists and dicts that JSON can hold."""


class Plain:
    """What most tasks have in common; each may say otherwise."""

    name: str
    labels: tuple[str, ...]
    inputs = "pictures"
    """What its data is made of: a name that hub.datasets.by_task knows."""

    has_labels = True
    grouped = False
    """Whether its data are several sets by name, each with a question of its own."""

    of_numbers = False
    """Whether it predicts a number in the place of classes: then `scale_to(targets)` is told those of the training."""

    multi_label = False
    default_strategy = "full"
    compact_rate = 1e-4

    def attach(self, backbone: Backbone) -> None:
        """Take the backbone that is to be used or trained, and leave it as it is."""

    def begin(self) -> None:
        """Put into the backbone what a training begins with, for a task that keeps something in it."""

    def answering(self, network: nn.Layer) -> nn.Layer:
        """Give the network: `answers` looks at all that it gives."""
        return network

    def measured(self, run: Run, inputs: Arrays, targets: Arrays) -> Iterator[tuple[Any, Arrays]]:
        """Give what the network finds in the batch, and its targets."""
        yield run(inputs), targets

    def class_weight(
        self, chosen: str | Mapping[str, float] | None, counts: Mapping[str, int]
    ) -> np.ndarray | None:
        """Give None: there are no classes. Raises UsageError where weights are asked for."""
        if chosen is not None:
            raise UsageError(f"class_weight={chosen!r} means nothing for {self.name}")
        return None

    def notes(self) -> list[str]:
        """Say what it took from the data that a person should know, a line each."""
        return []

    def sources(self) -> dict[str, str]:
        """Give nothing: it learns from its data alone."""
        return {}

    def lessons(
        self, run: Run, inputs: Arrays, items: Sequence[Any], own: Iterable[Any]
    ) -> Sequence[np.ndarray]:
        """Give what the teacher's network finds: a row for each sample."""
        return run(inputs)

    def taught(self, lessons: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
        """Give the lessons in one array [N, L]."""
        return np.array(lessons, np.float32).reshape(-1, len(self.labels))

    def files(self, result: Mapping[str, Any]) -> dict[str, Image.Image]:
        """Give what of a result is kept as a picture of its own, by name."""
        return {}


class Task(Protocol):
    """One task for one set of labels. `Plain` has what most of them share.

    Six methods are optional. `in_order(data, labels, known, **options)`, of the class, gives the labels of the training
    data in the order that the task needs, where the module has those that are `known`. `scale_to(targets)` takes note
    of the numbers of the training, float64 [N], before the head is built (`of_numbers`). `wanted(targets)` gives the
    real numbers [N, L] that a linear head is fitted to in closed form, NaN where a sample says nothing of a label; of a
    head on maps a cell is a sample, and `targets` are the class numbers of its pixels [N, P]. `from_teacher(distance)`
    gives the Loss of a student, for the targets (its own, `taught`), where what a teacher says of a sample holds for
    its random variants too. `misses(outputs, targets)` gives (row, expected, found, score) of each wrong answer, for
    the report, and then `show(source)` an input as a person looks at it: a picture, a text or a report.Audio.
    """

    name: str
    inputs: str
    has_labels: bool
    grouped: bool
    of_numbers: bool
    labels: tuple[str, ...]
    multi_label: bool
    default_metric: str
    """The metric by which the best epoch is chosen when none is asked for."""

    default_strategy: str
    """How it is fine-tuned when nothing is said: a name of hub.finetune.config.STRATEGIES."""

    compact_rate: float
    """The learning rate of a backbone with 3 to 50 million parameters when none is asked for."""

    metrics: Mapping[str, bool]
    """The single numbers that `meter().compute()` has, and whether larger is better."""

    def attach(self, backbone: Backbone) -> None:
        """Take the backbone that is to be used or trained, before the head is built; its weights stay as they are."""

    def begin(self) -> None:
        """Put into the attached backbone what a training begins with: nothing can be refused any more."""

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        """Give a fresh head from a backbone's features to this task's outputs."""

    def loss(self, *args: Any, **options: Any) -> Loss:
        """Give the loss, a mean over the batch (a WeightedMean where samples differ in weight, a Sum where terms differ
        in it): without options the one that is evaluated.

        The options are keywords, those of Classification.loss that mean something for this task; what its signature
        does not have is refused before a run begins.
        """

    def class_weight(
        self, chosen: str | Mapping[str, float] | None, counts: Mapping[str, int]
    ) -> np.ndarray | None:
        """Give a weight for each label from "balanced" or {name: weight}; `counts` are those of training."""

    def __init__(self, labels: Sequence[str], *, multi_label: bool = False) -> None: ...

    @staticmethod
    def examples(preprocessor: Preprocessor) -> Examples:
        """Give how this task's samples become batches."""

    def notes(self) -> list[str]:
        """Say what it took from the data that a person should know, a line each."""

    def sources(self) -> dict[str, str]:
        """Give by name a digest of each option that it learns from beside the data, such as a picture."""

    def lessons(
        self, run: Run, inputs: Arrays, items: Sequence[Any], own: Iterable[Any]
    ) -> Sequence[np.ndarray]:
        """Give what a student is to learn of each sample: logits float32 [L], or [n, L] of what it has n of.

        `run` is a teacher's network, `inputs` its samples, which it read as `items` and the student as `own`.
        """

    def taught(self, lessons: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
        """Give the `lessons` of a batch with a row for each of its own: where a step is cut, both are cut alike."""

    def meter(self) -> Meter:
        """Give an empty meter."""

    def measured(self, run: Run, inputs: Arrays, targets: Arrays) -> Iterator[tuple[Any, Arrays]]:
        """Give (outputs, targets) for the meter and the loss, once or more often, of what `Examples.whole` gave."""

    def answering(self, network: nn.Layer) -> nn.Layer:
        """Give what `answers` has to run: the network, or a layer that leaves out what answers do not need."""

    def answers(
        self, sources: Sequence[Any], items: Sequence[Any], *, run: Run, preprocessor: Preprocessor
    ) -> list[dict[str, Any]]:
        """Give for each input what `predict` returns for it.

        `sources` are the inputs as they were given, `items` what `preprocessor.read` made of them, and `run` gives the
        network's outputs for a batch. Further keyword arguments are options of `Module.predict` for this task; without
        any input they are checked all the same. Raises UsageError for one that means nothing. What a result holds can
        be JSON, but for arrays (a mask, a picture), which `hub run` writes to files.
        """

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the picture with the answer drawn on."""

    def files(self, result: Mapping[str, Any]) -> dict[str, Image.Image]:
        """Give what of a result is kept as a picture of its own, by name."""


# name: (file, class); a task's file is imported when the task is asked for
_TASKS = {
    "image_classification": ("image_classification", "ImageClassification"),
    "audio_classification": ("audio_classification", "AudioClassification"),
    "semantic_segmentation": ("segmentation", "SemanticSegmentation"),
    "colorization": ("colorization", "Colorization"),
    "style_transfer": ("style_transfer", "StyleTransfer"),
    "text_classification": ("text_classification", "TextClassification"),
    "sequence_labeling": ("sequence_labeling", "SequenceLabeling"),
    "text_matching": ("text_matching", "TextMatching"),
    "siamese_matching": ("text_matching", "SiameseMatching"),
    "text_regression": ("text_regression", "TextRegression"),
    "text_similarity": ("text_regression", "TextSimilarity"),
    "multi_task_image_classification": ("multi_task", "MultiTaskImageClassification"),
    "multi_task_audio_classification": ("multi_task", "MultiTaskAudioClassification"),
    "multi_task_text_classification": ("multi_task", "MultiTaskTextClassification"),
}


def names() -> list[str]:
    """Give the name of every task, sorted."""
    return sorted(_TASKS)


def kind(name: str) -> type[Task]:
    """Give the class of a task. Raises SpecError for a task that this hub does not have."""
    if name not in _TASKS:
        hint = did_you_mean(name, _TASKS) or f"this hub has {', '.join(names())}"
        raise SpecError(f"task: no task is called {name!r}", hint=hint)
    file, attribute = _TASKS[name]
    found: type[Task] = getattr(importlib.import_module(f"hub.tasks.{file}"), attribute)
    return found


def options(name: str) -> list[str]:
    """Give what a task takes beside its labels, as keywords of `Module.finetune`: a style, a weight."""
    return [
        each for each in inspect.signature(kind(name)).parameters if each not in ("labels", "multi_label")
    ]


def create(name: str, labels: Sequence[str], *, multi_label: bool = False, **settings: Any) -> Task:
    """Give the task of this name for these labels. Raises SpecError for a task that this hub does not have."""
    return kind(name)(labels, multi_label=multi_label, **settings)
