"""A run as one self-contained web page: how good the module is, what to look at, and how to do it again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from PIL import Image

from hub.errors import UsageError, cut
from hub.files import write_text
from hub.finetune import charts, report_findings, report_page
from hub.finetune.markup import Child, named, node, number, percent, shown
from hub.finetune.report_page import label, setting, table

Row = Mapping[str, Any]

MOST_MISTAKES = 24
MOST_CLASSES_DRAWN = 40  # a larger confusion matrix is a list of its most confused pairs
MOST_CLASSES = 1_000  # rows of the per-class table
MOST_PAIRS = 20
MOST_EPOCHS = 200  # points of a curve and rows of the history
MOST_CHARTS = 6
TEXT_LENGTH = 600  # characters of a sample
DATA_LENGTH = 20_000  # characters of the data summary, and of the command
AUDIO_BYTES = 1_800_000  # of all mistakes together, before base64 makes it a third more


@dataclass(frozen=True)
class Audio:
    """A sound: float32 [N] from -1 to 1, at `rate` Hz."""

    samples: np.ndarray
    rate: int

    def __post_init__(self) -> None:
        if np.ndim(self.samples) != 1 or self.rate < 1:
            shape = list(np.shape(self.samples))
            raise UsageError(
                f"Audio: expected samples [N] and a rate of 1 or more, found {shape} at {self.rate}"
            )


@dataclass(frozen=True)
class Mistake:
    """One sample that the model got wrong.

    `origin` is the file (and row) it came from, `score` what the model gave to what it found, from 0 to 1. `sample`
    is a PIL image, a uint8 picture as an array, a text, or an Audio.
    """

    origin: str
    expected: str
    found: str
    score: float
    sample: Any


@dataclass(frozen=True)
class Report:
    """Everything that the page says. `metrics` are those of the best epoch on the validation set, {} without one.

    `data` is the data summary, several lines; `mistakes` stand with the worst first; `command` is what to run to do
    it again.
    """

    title: str
    task: str
    data: str
    config: Row
    history: Sequence[Row]
    metrics: Row
    test_metrics: Row | None
    best_epoch: int
    labels: Sequence[str]
    mistakes: Sequence[Mistake]
    environment: Mapping[str, str]
    command: str

    def __post_init__(self) -> None:
        """Raise UsageError for a confusion matrix that does not belong to the labels."""
        matrix = self.detailed.get("confusion_matrix")
        wanted = (len(self.labels), len(self.labels))
        if matrix is not None and np.shape(matrix) != wanted:
            raise UsageError(f"confusion_matrix: expected {wanted} for the labels, found {np.shape(matrix)}")

    @property
    def measured_on(self) -> str:
        """The set that the classes and what was confused are measured on: the test set where there is no other."""
        return "validation" if self.metrics or not self.test_metrics else "test"

    @property
    def detailed(self) -> Row:
        """The metrics of that set."""
        return self.metrics or self.test_metrics or {}


def write(path: str | Path, report: Report) -> Path:
    """Write the page as one file, whole or not at all, and give its path. The same report gives the same bytes.

    Raises StorageError when it cannot be written, and UsageError for a sample that is nothing that can be shown.
    """
    path = Path(path)
    write_text(path, render(report))
    return path


def render(report: Report) -> str:
    """Give the page as HTML that loads nothing and runs nothing."""
    sections = [
        ("look", "What to look at", _findings(report)),
        ("metrics", "Metrics", _metrics(report)),
        ("curves", "Curves", _curves(report)),
        ("confusion", "Confusion", _confusion(report)),
        ("classes", "Classes", _classes(report)),
        ("mistakes", "Worst mistakes", _mistakes(report)),
        ("data", "Data", [node("pre", cut(report.data, DATA_LENGTH))]),
        ("config", "Configuration", [_settings("Every setting of the run", report.config)]),
        ("environment", "Environment", [_settings("Where it ran", report.environment)]),
        ("again", "How to reproduce", [node("pre", node("code", cut(report.command, DATA_LENGTH)))]),
    ]
    title = cut(report.title, 2 * report_page.LABEL_LENGTH)
    present = [(name, heading, content) for name, heading, content in sections if content]
    links = [node("li", node("a", heading, href=f"#{name}")) for name, heading, _ in present]
    return report_page.page(
        title,
        node(
            "header",
            node("h1", title),
            node("p", named(report.task), class_="dim"),
            *(node("p", line, class_="answer") for line in report_findings.answer(report)),
            node("nav", node("ul", *links), aria_label="Contents"),
        ),
        node(
            "main",
            *(node("section", node("h2", heading), *content, id=name) for name, heading, content in present),
        ),
    )


def _findings(report: Report) -> list[Element]:
    items = []
    for one in report_findings.findings(report):
        kind = "warning" if one.warning else "note"
        items.append(node("li", node("strong", f"{kind.capitalize()}: "), one.text, class_=kind))
    return [node("ul", *items, class_="findings")]


def _metrics(report: Report) -> list[Element]:
    sets = {"validation": report.metrics, "test": report.test_metrics or {}}
    sets = {name: metrics for name, metrics in sets.items() if metrics}
    names = dict.fromkeys(
        name for metrics in sets.values() for name, value in metrics.items() if number(value) is not None
    )
    rows: list[list[Any]] = []
    intervals = [report_findings.interval(report.task, metrics) for metrics in sets.values()]
    for name in names:
        rows.append([named(name), *(metrics.get(name) for metrics in sets.values())])
        if name == "accuracy" and any(intervals):
            rows.append(["95 % interval of accuracy", *map(_interval, intervals)])
    if not rows:
        return []
    content = [table("On whole sets", ["metric", *sets], rows, kind="numbers")]
    if any(intervals):
        content.append(node("p", report_findings.WILSON_SOURCE, class_="dim"))
    return content


def _interval(limits: tuple[float, float] | None) -> Element:
    return node("td", f"{percent(limits[0])} to {percent(limits[1])}" if limits else "–", class_="number")


def _curves(report: Report) -> list[Element]:
    every = -(-len(report.history) // MOST_EPOCHS)
    last = len(report.history) - 1
    rows = [
        row
        for n, row in enumerate(report.history)
        if n % every == 0 or n == last or row.get("epoch") == report.best_epoch
    ]
    if not rows:
        return []
    best = report.best_epoch if report.metrics else None
    span = int(rows[0]["epoch"]), int(rows[-1]["epoch"])
    figures = [
        charts.figure(caption, lines, span=span, best=best) for caption, lines in charts.of_history(rows)
    ]
    # The last row has every column; the first, before any step, may have only a few.
    names = dict.fromkeys(name for row in reversed(rows) for name in row if name != "epoch")
    caption = "The history" + (f": every {every} epochs, the best and the last" if every > 1 else "")
    cells = ([_epoch(row, best), *(row.get(name) for name in names)] for row in rows)
    more = len(figures) - MOST_CHARTS
    rest = [node("p", f"The table has {more} more that are not drawn.", class_="dim")] if more > 0 else []
    return [
        node("div", *figures[:MOST_CHARTS], class_="grid"),
        *rest,
        table(caption, ["epoch", *map(named, names)], cells, kind="numbers"),
    ]


def _epoch(row: Row, best: int | None) -> str:
    return f"{row['epoch']:,} (best)" if row["epoch"] == best else f"{row['epoch']:,}"


def _confusion(report: Report) -> list[Element]:
    if report.detailed.get("confusion_matrix") is None:
        return []
    matrix = np.asarray(report.detailed["confusion_matrix"])
    total = matrix.sum(axis=1)
    rows = [
        [
            label(pair.expected),
            label(pair.found),
            pair.count,
            node("td", percent(pair.share), class_="number"),
        ]
        for pair in report_findings.confused(report)[:MOST_PAIRS]
    ]
    head = ["expected", "found", "samples", "of that class"]
    pairs = table("The most confused pairs", head, rows) if rows else node("p", "Nothing was confused.")
    if len(report.labels) > MOST_CLASSES_DRAWN:
        why = f"With {len(report.labels):,} classes the matrix would be unreadable: these are its largest mistakes."
        return [node("p", why, class_="dim"), pairs]
    lines = []
    for n, name in enumerate(report.labels):
        cells = (_matrix_cell(int(count), int(total[n]), n == m) for m, count in enumerate(matrix[n]))
        lines.append([label(name), *cells])
    corner = node("span", "expected ↓ found →")
    caption = (
        f"The {report.measured_on} set. Rows: what was right. Columns: what the model found. "
        "The darker, the larger the share of the row."
    )
    drawn = table(caption, [corner, *map(label, report.labels)], lines, kind="matrix")
    return [node("div", drawn, pairs, class_="beside")]


def _matrix_cell(count: int, total: int, right: bool) -> Element:
    if not count:
        return node("td", "0" if right else "·", class_="none")
    shade = math.sqrt(count / total)  # the root, so that a few mistakes in a large class are seen too
    return node("td", f"{count:,}", class_="right" if right else "wrong", style=f"--shade: {shade:.2f}")


def _classes(report: Report) -> list[Element]:
    per_class: Mapping[str, Row] = report.detailed.get("per_class") or {}
    if not per_class:
        return []
    names = dict.fromkeys(name for row in per_class.values() for name in row)
    order = report_findings.weakest(per_class)
    rows = (
        [label(name), *(per_class[name].get(column) for column in names)] for name in order[:MOST_CLASSES]
    )
    caption = f"The {report.measured_on} set, the weakest class first" + (
        f"; the best {len(order) - MOST_CLASSES:,} are left out" if len(order) > MOST_CLASSES else ""
    )
    return [table(caption, ["class", *map(named, names)], rows, kind="numbers")]


def _mistakes(report: Report) -> list[Element]:
    shown = report.mistakes[:MOST_MISTAKES]
    if not shown:
        return []
    said = "Of the samples that the model got wrong, those where it was surest"
    if len(report.mistakes) > len(shown):
        said += f": {len(shown)} of {len(report.mistakes):,}"
    wide = " wide" if any(isinstance(one.sample, str) for one in shown) else ""
    most_bytes = AUDIO_BYTES // len(shown)
    cards = [
        node("li", *_sample(one, most_bytes), *_facts(one), class_="card", id=f"mistake-{n}")
        for n, one in enumerate(shown, 1)
    ]
    return [node("p", said + ".", class_="dim"), node("ul", *cards, class_=f"cards{wide}")]


def _facts(mistake: Mistake) -> list[Element]:
    facts: dict[str, Child] = {
        "expected": label(mistake.expected),
        "found": label(mistake.found),
        "score": shown(float(mistake.score)),
    }
    parts = (part for name, value in facts.items() for part in (node("dt", name), node("dd", value)))
    origin = node("bdi", cut(mistake.origin, 2 * report_page.LABEL_LENGTH))
    return [node("dl", *parts), node("p", origin)]


def _sample(mistake: Mistake, most_bytes: int) -> list[Element]:
    sample = mistake.sample
    name = (
        f"{cut(mistake.origin, report_page.LABEL_LENGTH)}: expected {mistake.expected}, found {mistake.found}"
    )
    name = cut(name, 3 * report_page.LABEL_LENGTH)
    if isinstance(sample, str):
        rest = len(sample) - TEXT_LENGTH
        more = [node("p", f"… and {rest:,} more characters")] if rest > 0 else []
        return [node("blockquote", node("bdi", sample[:TEXT_LENGTH])), *more]
    if isinstance(sample, Audio):
        return report_page.sound(sample.samples, sample.rate, name=name, most_bytes=most_bytes)
    if isinstance(sample, Image.Image):
        return [report_page.thumbnail(sample, alt=name)]
    found = type(sample).__name__
    if isinstance(sample, np.ndarray):
        if sample.dtype == np.uint8 and (
            sample.ndim == 2 or (sample.ndim == 3 and sample.shape[2] in (1, 3, 4))
        ):
            return [report_page.thumbnail(sample, alt=name)]
        found = f"an array {list(sample.shape)} of {sample.dtype}"
    raise UsageError(
        f"{mistake.origin}: expected a sample to show (a PIL image, a uint8 array [H, W] or [H, W, 1, 3 or 4], "
        f"a text or an Audio), found {found}"
    )


def _settings(caption: str, values: Row) -> Element:
    rows = ([named(name), node("td", setting(value))] for name, value in values.items())
    return table(caption, ["setting", "value"], rows, kind="settings")
