"""What a run's figures say in plain words: the answer in a line, and what a careful reader would point at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hub.errors import cut
from hub.finetune.markup import named, number, percent, shown

if TYPE_CHECKING:
    from hub.finetune.report import Report

Row = Mapping[str, Any]

Z95 = 1.959964  # the normal distribution has 95 % of its mass within this many standard deviations
WILSON_SOURCE = (
    "The interval is Wilson's for a share p of n independent samples, with z = 1.96: "
    "(p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n). "
    "E. B. Wilson, Journal of the American Statistical Association 22 (1927), pages 209 to 212."
)
FEW_SAMPLES = 5
WIDE = 0.15  # an interval of accuracy this wide hides what most changes of a setting do
RISE = 0.1  # of the lowest loss, and of its whole range: less is noise
IMBALANCE = 10  # the largest class to the smallest
SURE = 0.9  # the score from which a mistake makes one doubt the label


@dataclass(frozen=True)
class Finding:
    """A sentence or two; a warning where something is off."""

    text: str
    warning: bool = True


@dataclass(frozen=True)
class Confused:
    """How many samples of one class were taken for another, and their share of all of that class."""

    expected: str
    found: str
    count: int
    share: float


def wilson(share: float, count: int) -> tuple[float, float]:
    """Give the 95 % interval of a share of `count` samples (WILSON_SOURCE)."""
    middle = share + Z95**2 / (2 * count)
    half = Z95 * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    scale = 1 + Z95**2 / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def interval(task: str, metrics: Row | None) -> tuple[float, float] | None:
    """Give the 95 % interval of accuracy, or None where it has none.

    Pixels of a picture and words of a sentence are not independent, so only tasks with one answer a sample have one.
    """
    share, count = number((metrics or {}).get("accuracy")), number((metrics or {}).get("count"))
    if share is None or not count or not task.endswith(("classification", "matching")):
        return None
    return wilson(share, int(count))


def answer(report: Report) -> list[str]:
    """Give how good the module is: a line for the validation set, and one for the test set where there is one."""
    lines = []
    if report.metrics:
        lines.append(f"{_score(report, report.metrics, 'validation')} at epoch {report.best_epoch}.")
    if report.test_metrics:
        lines.append(f"{_score(report, report.test_metrics, 'test')}.")
    return lines or ["No validation set: nothing here says how good the module is on new data."]


def _score(report: Report, metrics: Row, name: str) -> str:
    chosen = str(report.config.get("metric", "accuracy"))
    if chosen not in metrics:
        chosen = next((key for key, value in metrics.items() if number(value) is not None), "count")
    count = number(metrics.get("count"))
    where = f" on {count:,.0f} {name} samples" if count else f" on the {name} set"
    limits = interval(report.task, metrics)
    certain = f" (95 % interval {percent(limits[0])} to {percent(limits[1])})" if limits else ""
    if chosen == "accuracy":
        return f"Accuracy {percent(metrics['accuracy'])}{certain}{where}"
    besides = f", accuracy {percent(metrics['accuracy'])}{certain}," if limits else ""
    return f"{named(chosen).capitalize()} {shown(metrics.get(chosen))}{besides}{where}"


def findings(report: Report) -> list[Finding]:
    """Give what to look at, warnings first; never nothing."""
    found = [
        *_of_the_curves(report),
        *_of_the_sets(report),
        *_of_the_classes(report),
        *_of_the_mistakes(report),
    ]
    if not any(one.warning for one in found):
        found.append(Finding("Nothing stands out in the curves, the sets or the classes.", warning=False))
    return sorted(found, key=lambda one: not one.warning)


def _of_the_curves(report: Report) -> Iterator[Finding]:
    trained = [row for row in report.history if row.get("epoch", 0) > 0]
    last = trained[-1]["epoch"] if trained else 0
    train = _curve(trained, "train_loss")
    training_falls = len(train) > 1 and train[-1][1] < train[0][1]
    if report.metrics:
        yield from _of_the_best_epoch(report.best_epoch, last)
    if len(train) > 1 and not training_falls:
        yield Finding(
            f"The training loss did not fall ({shown(train[0][1])} to {shown(train[-1][1])}): the learning rate "
            "may be far too large or too small, or the labels may not fit the samples."
        )
    if (rises := _rise(_curve(report.history, "valid_loss"))) is not None:
        why = (
            "while the training loss falls: overfitting. More data, augmentation or weight_decay may help"
            if training_falls
            else "and the training loss does not fall either: try a smaller learning_rate"
        )
        kept = f" The weights of epoch {report.best_epoch} were kept." if report.best_epoch < last else ""
        yield Finding(f"The validation loss rises from epoch {rises} on, {why}.{kept}")
    if lost := _not_finite(report.history):
        yield Finding(f"Not always a finite number: {', '.join(map(named, lost))}.")


def _of_the_best_epoch(best: int, last: int) -> Iterator[Finding]:
    if best == 0 and last > 0:
        yield Finding(
            "The start (epoch 0, a head fitted in closed form) is better than every epoch of training: "
            "try a smaller learning_rate, or strategy='probe', which is faster."
        )
    elif best == last > 1:
        yield Finding(f"The best epoch, {last}, is the last one: more epochs may help.")


def _rise(losses: Sequence[tuple[int, float]]) -> int | None:
    """Give the epoch from which on a loss rises by more than it scatters; None where it does not."""
    if len(losses) < 3:
        return None
    epoch, low = min(losses, key=lambda point: point[1])
    rise, scatter = losses[-1][1] - low, max(value for _, value in losses) - low
    later = sum(at > epoch for at, _ in losses)
    return epoch if later >= 2 and rise > RISE * low and rise > RISE * scatter else None


def _not_finite(history: Sequence[Row]) -> list[str]:
    """Give the names of the measurements that are not a finite number in some epoch."""
    return sorted(
        {
            name
            for row in history
            for name, value in row.items()
            if isinstance(value, float) and not math.isfinite(value)
        }
    )


def _curve(history: Sequence[Row], name: str) -> list[tuple[int, float]]:
    values = [(int(row["epoch"]), number(row.get(name))) for row in history]
    return [(epoch, value) for epoch, value in values if value is not None]


def _of_the_sets(report: Report) -> Iterator[Finding]:
    if not report.metrics:
        yield Finding(
            "Without a validation set the last epoch was kept, and overfitting cannot be seen here."
        )
        return
    limits, tested = interval(report.task, report.metrics), interval(report.task, report.test_metrics)
    if limits and limits[1] - limits[0] > WIDE:
        half = 50 * (limits[1] - limits[0])
        yield Finding(
            f"The validation set is small: {report.metrics['count']:,} samples leave the accuracy uncertain by about "
            f"{half:.0f} points either way. Smaller differences between runs mean nothing."
        )
    if limits and tested and (tested[1] < limits[0] or limits[1] < tested[0]):
        yield Finding(
            "Validation and test accuracy differ by more than chance explains: do both sets come from the same source?"
        )
    if report.test_metrics is None:
        yield Finding(
            "The epoch was chosen on the validation set, so its figures flatter a little; a test set would not.",
            warning=False,
        )
    if useless := no_better_than_one_answer(report.metrics, report.labels):
        yield Finding(useless)


def no_better_than_one_answer(metrics: Row, labels: Sequence[str]) -> str:
    """Give a sentence where one and the same answer to everything would be right as often; "" where it would not."""
    matrix, accuracy = metrics.get("confusion_matrix"), number(metrics.get("accuracy"))
    if matrix is None or accuracy is None or len(labels) < 2:
        return ""
    totals = np.asarray(matrix).sum(axis=1)
    if (totals > 0).sum() < 2 or accuracy > totals.max() / totals.sum():
        return ""
    usual, share = _quoted([labels[int(totals.argmax())]]), percent(totals.max() / totals.sum())
    return f"Always answering {usual} would be right {share} of the time: the module is no better than that."


def _of_the_classes(report: Report) -> Iterator[Finding]:
    per_class: Mapping[str, Row] = report.detailed.get("per_class") or {}
    counts = {name: int(row["count"]) for name, row in per_class.items() if "count" in row}
    absent = [name for name, count in counts.items() if count == 0]
    few = [name for name, count in counts.items() if 0 < count < FEW_SAMPLES]
    if absent:
        yield Finding(
            f"{_classes(absent, 'has', 'have')} no {report.measured_on} samples at all: {_quoted(absent)}."
        )
    if few:
        yield Finding(
            f"{_classes(few, 'has', 'have')} fewer than {FEW_SAMPLES} {report.measured_on} samples, which says little: "
            f"{_quoted(few)}."
        )
    missed = [name for name, row in per_class.items() if row.get("recall") == 0 and row.get("count", 1)]
    if missed:
        yield Finding(f"{_classes(missed, 'was', 'were')} never found: {_quoted(missed)}.")
    present = [count for count in counts.values() if count]
    if present and max(present) >= IMBALANCE * min(present) and not report.config.get("class_weight"):
        yield Finding(
            f"The largest class has {max(present) / min(present):.0f} times as many samples as the "
            "smallest: accuracy speaks for the large ones. class_weight='balanced' helps the small ones."
        )
    pairs = confused(report)
    if pairs:
        one = pairs[0]
        yield Finding(
            f"Most often confused: {_quoted([one.expected])} is taken for {_quoted([one.found])} in "
            f"{percent(one.share)} of its samples ({one.count:,}).",
            warning=False,
        )


def _of_the_mistakes(report: Report) -> Iterator[Finding]:
    sure = sum(one.score >= SURE for one in report.mistakes)
    if sure:
        yield Finding(
            f"{sure:,} of the mistakes below {'has' if sure == 1 else 'have'} a score of {SURE} or more: look first "
            "whether the labels are right.",
            warning=False,
        )


def confused(report: Report) -> list[Confused]:
    """Give every pair of classes that were confused, the most frequent first."""
    if report.detailed.get("confusion_matrix") is None:
        return []
    matrix = np.array(report.detailed["confusion_matrix"])
    totals = matrix.sum(axis=1)
    np.fill_diagonal(matrix, 0)
    rows, columns = matrix.nonzero()
    counts, shares = matrix[rows, columns], matrix[rows, columns] / totals[rows]
    order = np.argsort(-counts, kind="stable")
    return [
        Confused(report.labels[rows[n]], report.labels[columns[n]], int(counts[n]), float(shares[n]))
        for n in order
    ]


def weakest(per_class: Mapping[str, Row]) -> list[str]:
    """Give the classes, those with the lowest score first; the score is F1, else IoU, else the first column."""
    columns = list(dict.fromkeys(name for row in per_class.values() for name in row if name != "count"))
    score = next((name for name in ("f1", "iou", *columns) if name in columns), "count")
    heights = {name: number(row.get(score)) for name, row in per_class.items()}
    return sorted(per_class, key=lambda name: (heights[name] is None, heights[name] or 0.0))


def _classes(names: Sequence[str], one: str, several: str) -> str:
    return f"One class {one}" if len(names) == 1 else f"{len(names):,} classes {several}"


def _quoted(names: Sequence[str], most: int = 5) -> str:
    text = ", ".join(f"“{cut(name, 40)}”" for name in names[:most])
    return f"{text} and {len(names) - most:,} more" if len(names) > most else text
