"""`hub finetune`: a module trained on your own data, as Module.finetune does it."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from hub.cli.evaluate import metric_table
from hub.cli.output import say, write, write_json
from hub.cli.parser import choice
from hub.errors import UsageError


def class_weight(text: str) -> str | dict[str, float]:
    """Give "balanced" or {name: weight} from "cat=2,dog=0.5"; class names may hold = but no comma."""
    if text == "balanced":
        return text
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            raise UsageError(f"--class-weight: expected 'balanced' or name=number,…, found {text!r}")
    return weights


# Module.finetune's parameters and how the command line takes them. What is not given is not passed on, so that
# the defaults stand in one place, the signature.
OPTIONS: dict[str, dict[str, Any]] = {
    "valid": {
        "type": lambda text: False if text == "none" else text,
        "metavar": "DATA",
        "help": "data that chooses the best epoch, or none to train on everything (default: a part of DATA)",
    },
    "test": {"metavar": "DATA", "help": "data that measures the result"},
    "epochs": {"type": int, "metavar": "N", "help": "passes over the data (default: by its size)"},
    "batch_size": {"type": int, "metavar": "N", "help": "samples in a step (default 32)"},
    "learning_rate": {
        "type": float,
        "metavar": "X",
        "help": "the highest learning rate (default: the task's)",
    },
    "strategy": {
        "type": choice("--strategy", ("probe_then_full", "probe", "full")),
        "metavar": "probe_then_full|probe|full",
        "help": "train the head first and then all, the head only, or all at once (default probe_then_full)",
    },
    "class_weight": {
        "type": class_weight,
        "metavar": "balanced|NAME=X,…",
        "help": "how much a class counts in the loss",
    },
    "weight_decay": {"type": float, "metavar": "X", "help": "AdamW's weight decay (default 0.0001)"},
    "layer_decay": {
        "type": float,
        "metavar": "X",
        "help": "how much slower each group of layers learns than the next one to the head (default 1)",
    },
    "augment": {
        "action": argparse.BooleanOptionalAction,
        "help": "whether the module's random variants of the data are trained on",
    },
    "metric": {"help": "the metric that chooses the best epoch (default: the task's)"},
    "label_smoothing": {
        "type": float,
        "metavar": "X",
        "help": "the share of a target that goes to all classes (default 0)",
    },
    "multi_label": {
        "action": argparse.BooleanOptionalAction,
        "help": "whether a sample may have several labels (default: as the data has them)",
    },
    "on_bad": {
        "type": choice("--on-bad", ("raise", "skip")),
        "metavar": "raise|skip",
        "help": "what a sample that cannot be read does (default raise)",
    },
    "seed": {"type": int, "metavar": "N", "help": "the same seed gives the same result on a CPU (default 0)"},
    "device": {"help": "cpu, gpu or gpu:1 (default: the best one there is)"},
    "workers": {"type": int, "metavar": "N", "help": "threads that read the data ahead (default 0)"},
    "output_dir": {"metavar": "DIR", "help": "where the run is kept (default: a new folder in runs/)"},
}
FLAGS = {"output_dir": "--output"}  # the others are their names: batch_size is --batch-size


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a module name, name@version or ./folder")
    parser.add_argument(
        "train", metavar="DATA", help="a folder with a folder per class, a list file or a table"
    )
    for name, how in OPTIONS.items():
        flag = FLAGS.get(name, "--" + name.replace("_", "-"))
        parser.add_argument(flag, dest=name, default=argparse.SUPPRESS, **how)


def run(arguments: argparse.Namespace) -> int:
    """Train, then print the metrics of the best epoch and where the module is."""
    from hub.module import Module

    chosen = {name: getattr(arguments, name) for name in OPTIONS if hasattr(arguments, name)}
    module = Module(arguments.name, device=chosen.get("device"))
    record = module.finetune(arguments.train, **chosen).run
    assert record is not None, "finetune leaves a record of what it did"
    if arguments.json:
        write_json(
            {
                "module": str(record.best),
                "run": str(record.folder),
                "best_epoch": record.best_epoch,
                "metrics": record.metrics,
                "test_metrics": record.test_metrics,
                "history": record.history,
            }
        )
    else:
        metrics = metric_table({"valid": record.metrics, "test": record.test_metrics})
        write(f"{metrics}\n\nmodule  {record.best}")
    say(f"use it: hub run {shlex.quote(str(record.best))} PICTURE…")
    return 0
