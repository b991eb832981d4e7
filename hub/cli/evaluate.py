"""`hub evaluate`: how good a module is on labelled data."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from hub.cli.loading import load_paddle
from hub.cli.output import say, table, terminal_width, text_width, write, write_json
from hub.cli.parser import add_data, add_precision, choice, data_of

MOST_CLASSES = 15
MOST_CONFUSIONS = 15


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a module name, name@version or ./folder")
    add_data(parser, "data")
    parser.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="samples at once (default 32)"
    )
    parser.add_argument("--device", help="cpu, gpu or gpu:1 (default: the best one there is)")
    add_precision(parser)
    parser.add_argument(
        "--on-bad", type=choice("--on-bad", ("raise", "skip")), default="raise", metavar="raise|skip",
        help="what a sample that cannot be read does (default raise)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="threads that read ahead (default 0)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the metrics, the classes and what was taken for what."""
    load_paddle()
    from hub.module import Module

    module = Module(arguments.name, device=arguments.device)
    metrics = module.evaluate(
        data_of(arguments.data, arguments),
        batch_size=arguments.batch_size,
        on_bad=arguments.on_bad,
        workers=arguments.workers,
        precision=arguments.precision,
    )
    if arguments.json:
        write_json(metrics)
    else:
        if taken := metrics.get("taken"):
            say(taken)
        write("\n\n".join([metric_table({"value": metrics}), *details(metrics)]))
    return 0


def metric_table(metrics: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Give the single numbers among the metrics, with a column for each set of them, as {"valid": …, "test": …}."""
    sets = {name: values for name, values in metrics.items() if values is not None}
    names = dict.fromkeys(
        name for values in sets.values() for name, value in values.items() if isinstance(value, int | float)
    )
    return table(
        [(name, *(values.get(name) for values in sets.values())) for name in names],
        ("METRIC", *map(str.upper, sets)),
    )


def details(metrics: Mapping[str, Any]) -> list[str]:
    """Give the table of classes and the confusion matrix, each cut where there are too many classes to read."""
    parts = []
    classes: Mapping[str, Mapping[str, Any]] = metrics.get("per_class", {})
    if classes:
        columns = list(next(iter(classes.values())))
        worst = sorted(classes, key=lambda name: classes[name]["f1"])[:MOST_CLASSES]
        shown = [name for name in classes if name in worst]
        rows = [(name, *(classes[name][column] for column in columns)) for name in shown]
        parts.append(table(rows, ("CLASS", *map(str.upper, columns))))
        if len(shown) < len(classes):
            parts[-1] += f"\n… the {len(shown)} lowest F1 of {len(classes)} classes; --json has them all"
    if "confusion_matrix" in metrics:
        parts.append(_confusion(list(classes), metrics["confusion_matrix"]))
    return parts


def _confusion(labels: list[str], matrix: list[list[int]]) -> str:
    """Give the matrix where it fits the terminal, else the most frequent confusions, one a line."""
    text = table(
        [(name, *row) for name, row in zip(labels, matrix, strict=True)], ("RIGHT \\ FOUND", *labels)
    )
    if len(labels) <= MOST_CLASSES and text_width(text.partition("\n")[0]) <= (terminal_width() or 100):
        return text
    confusions = sorted(
        (
            (-count, right, found)
            for right, row in zip(labels, matrix, strict=True)
            for found, count in zip(labels, row, strict=True)
            if count and right != found
        )
    )
    rows = [(right, found, -count) for count, right, found in confusions[:MOST_CONFUSIONS]]
    left = len(confusions) - len(rows)
    rest = f"\n… {left} rarer; --json has them all" if left else ""
    return table(rows, ("RIGHT", "FOUND", "TIMES")) + rest
