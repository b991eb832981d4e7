"""`hub finetune`: a module trained on your own data, as Module.finetune does it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from hub.cli.evaluate import metric_table
from hub.cli.loading import load_paddle
from hub.cli.output import say, write, write_json
from hub.cli.parser import add_data, add_options, choice, data_of, options_for
from hub.errors import TrainingError, UsageError
from hub.files import read_text, storage_errors


def class_weight(text: str) -> str | dict[str, float]:
    """Give "balanced" or {name: weight} from "cat=2,dog=0.5"; class names may hold = and commas."""
    if text == "balanced":
        return text
    found = list(re.finditer(r"(.+?)=([^=,]+)(?:,(?=.)|$)", text))  # a comma parts only behind a number
    try:
        weights = {match[1]: float(match[2]) for match in found}
    except ValueError:
        weights = {}
    if not weights or "".join(match[0] for match in found) != text:
        raise UsageError(f"--class-weight: expected 'balanced' or name=number,…, found {text!r}")
    return weights


def early_stop(text: str) -> int | dict[str, float | str]:
    """Give a number of epochs, or the arguments of EarlyStop from "patience=5,min_delta=0.01,metric=f1_macro"."""
    if text.isdecimal():
        return int(text)
    arguments: dict[str, float | str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--early-stop: expected a number of epochs or name=value,…, found {text!r}")
        number = re.fullmatch(r"\d+", value)
        arguments[name] = (
            int(value) if number else float(value) if re.fullmatch(r"[\d.e-]+", value) else value
        )
    return arguments


def count_or_name(text: str) -> int | str:
    """Give a number as one, below zero too so that it is refused as a number, and any other word as it is."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def _option(metavar: str | None, kind: Callable[[str], Any] | None, text: str) -> dict[str, Any]:
    return {"metavar": metavar, "type": kind or str, "help": text}


def _data(text: str) -> dict[str, Any]:
    return {"metavar": "DATA", "action": "append", "help": f"{text}; for several questions once for each"}


def _switch(text: str) -> dict[str, Any]:
    return {"action": argparse.BooleanOptionalAction, "help": text}


def _choice(name: str, words: Sequence[str], text: str) -> dict[str, Any]:
    flag = "--" + name.replace("_", "-")
    return {"type": choice(flag, words), "metavar": "|".join(words), "help": text}


# The parameters of Module.finetune and the fields of Config, and how the command line takes them. What is not given
# is not passed on, so that the defaults stand in one place.
OPTIONS: dict[str, dict[str, Any]] = {
    "valid": _data(
        "data that chooses the best epoch, or none to train on everything (default: a part of DATA)"
    ),
    "test": _data("data that measures the result"),
    "epochs": _option("N", int, "passes over the data (default: by its size)"),
    "batch_size": _option(
        "N|auto", count_or_name, "samples in a step; auto: as many of 32 as fit (default 32)"
    ),
    "learning_rate": _option(
        "X", float, "the highest learning rate (default: by the size of the network and the task)"
    ),
    "strategy": _choice(
        "strategy",
        ("probe_then_full", "probe", "full", "gradual"),
        "head first and then all, head only, all at once, or group by group (default: the task's)",
    ),
    "freeze": _option("N|backbone|PATTERN", count_or_name, "what is never trained (default: nothing)"),
    "class_weight": _option("balanced|NAME=X,…", class_weight, "how much a class counts in the loss"),
    "metric": _option("NAME", None, "the metric that chooses the best epoch (default: the task's)"),
    "early_stop": _option(
        "N|NAME=X,…", early_stop, "end after N epochs without a better metric (default: never)"
    ),
    "multi_label": _switch("whether a sample may have several labels (default: as the data has them)"),
    "on_bad": _choice("on_bad", ("raise", "skip"), "what a sample that cannot be read does (default raise)"),
    "seed": _option("N", int, "the same seed gives the same result on a CPU (default 0)"),
    "device": _option("NAME", None, "cpu, gpu or gpu:1 (default: the best one there is)"),
    "workers": _option("N", int, "threads that read the data ahead (default 0)"),
    "output_dir": _option("DIR", None, "where the run is kept (default: a new folder in runs/)"),
    "resume": {
        "action": "store_true",
        "help": "go on from the newest checkpoint in --output, if there is one",
    },
}
# The fields of Config that are not parameters of their own.
MORE: dict[str, dict[str, Any]] = {
    "augment": _switch("whether the module's random variants of the data are trained on"),
    "drop_groups": _option("N", int, "take the last N groups of layers off the backbone (default 0)"),
    "loss": _choice(
        "loss",
        ("cross_entropy", "focal", "logit_adjusted", "dice", "lovasz", "contrastive"),
        "the loss (default cross_entropy); which there are depends on the task",
    ),
    "focal_gamma": _option("X", float, "how much the focal loss looks away from easy samples (default 2)"),
    "sampler": _choice(
        "sampler",
        ("shuffle", "balanced"),
        "which samples come; balanced: small classes as often as large ones (default shuffle)",
    ),
    "label_smoothing": _option("X", float, "the share of a target that goes to all classes (default 0)"),
    "dropout": _option("X", float, "the share of features that are left out in training (default 0)"),
    "weight_decay": _option("X", float, "AdamW's weight decay (default 0.0001)"),
    "layer_decay": _option(
        "X", float, "how much slower each group of layers learns than the next one to the head (default 1)"
    ),
    "anchor": _option("X", float, "strength of the pull back to the pretrained weights, L2-SP (default 0)"),
    "average": _option(
        "X", float, "decay of a moving average of the weights, which is kept (default 0: none)"
    ),
    "mixup": _option("X", float, "alpha of mixup (default 0: off)"),
    "cutmix": _option("X", float, "alpha of CutMix (default 0: off)"),
    "teacher": _option("NAME", None, "a larger module with the same labels to learn from"),
    "teacher_weight": _option("X", float, "its weight against the labels (default 0.7)"),
    "temperature": _option("X", float, "how soft its answers are made (default 4)"),
    "schedule": _choice(
        "schedule",
        ("cosine", "linear", "one_cycle", "polynomial", "constant"),
        "the learning rate's (default cosine)",
    ),
    "warmup": _option(
        "X", float, "the share of the run in which the learning rate rises (default: the schedule's)"
    ),
    "clip_norm": _option("X", float, "the largest norm of a step's gradient (default: any)"),
    "accumulate": _option("N", int, "batches that make one step (default 1)"),
    "max_tokens": _option(
        "N", int, "pieces of texts that go through at once; longer batches go in parts (default 4096)"
    ),
    "precision": _choice("precision", ("fp32", "fp16", "bf16"), "mixed precision, on a GPU (default fp32)"),
    "to_static": _switch("whether the network is compiled before training"),
    "cache": _switch("whether features of what is frozen are computed once and kept (default: yes)"),
    "views": _option("N", int, "random variants of a sample whose features are kept (default 1: as it is)"),
    "checkpoint_minutes": _option("X", float, "time between checkpoints within an epoch (default 10)"),
}
CHATTER = re.compile(r"[IWE]\d{4} [\d:.]+ |FLAGS\(name=|=====|launch |\s+warnings\.warn|.*UserWarning")

PATIENCE = 300
"""Seconds in which processes that are asked to end can finish a step and write a checkpoint."""

SECONDS_TO_END = 40
"""In which paddle's launcher ends its processes by force: it waits for 30."""

FLAGS = {"output_dir": "--output"}  # the others are their names: batch_size is --batch-size


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a module name, name@version or ./folder")
    add_data(parser, "train")
    parser.add_argument(
        "--task", metavar="NAME", help="what an encoder of texts learns (default: what it does)"
    )
    add_options(parser)
    often, more = parser.add_argument_group("training"), parser.add_argument_group("more about training")
    for group, options in ((often, OPTIONS), (more, MORE)):
        for name, how in options.items():
            flag = FLAGS.get(name, "--" + name.replace("_", "-"))
            group.add_argument(flag, dest=name, default=argparse.SUPPRESS, **how)
    many = parser.add_argument_group("several processes")
    many.add_argument(
        "--nproc", type=int, default=1, metavar="N", help="processes on this machine (default 1)"
    )
    many.add_argument("--nnodes", type=int, default=1, metavar="N", help="machines (default 1)")
    many.add_argument("--master", metavar="HOST:PORT", help="the first machine, the same on all of them")


def run(arguments: argparse.Namespace) -> int:
    """Train, then print the metrics of the best epoch and where the module is."""
    if (arguments.nproc > 1 or arguments.nnodes > 1) and "PADDLE_TRAINERS_NUM" not in os.environ:
        folder = _launch(arguments)
        metrics = json.loads(read_text(folder / "metrics.json"))
        history = json.loads(read_text(folder / "history.json"))
        best_epoch, valid, test = metrics["best_epoch"], metrics["valid"], metrics["test"]
    else:
        load_paddle()
        from hub.module import Module

        chosen = {name: getattr(arguments, name) for name in (*OPTIONS, *MORE) if hasattr(arguments, name)}
        chosen |= options_for("finetune", Module.finetune, arguments.options, others=MORE)
        for role in {"valid", "test"} & set(chosen):
            chosen[role] = False if chosen[role] == ["none"] else data_of(chosen[role], arguments)
        module = Module(arguments.name, device=chosen.get("device"), task=arguments.task)
        record = module.finetune(data_of(arguments.train, arguments), **chosen).run
        assert record is not None, "finetune leaves a record of what it did"
        folder, history, best_epoch = record.folder, record.history, record.best_epoch
        valid, test = record.metrics, record.test_metrics
    best = folder / "best"
    if "PADDLE_TRAINERS_NUM" in os.environ:
        return 0  # the process that launched this one prints
    if arguments.json:
        write_json(
            {
                "module": str(best), "run": str(folder), "best_epoch": best_epoch, "metrics": valid,
                "test_metrics": test, "history": history,
            }
        )  # fmt: skip
    else:
        write(f"{metric_table({'valid': valid, 'test': test})}\n\nmodule  {best}")
    say(f"use it: hub run {shlex.quote(str(best))} INPUT…")
    return 0


def _launch(arguments: argparse.Namespace) -> Path:
    """Run the same command in several processes and give the folder of the run.

    Raises UsageError for a folder that the processes could not share or that is one of the data, and TrainingError when
    one of them fails.

    What the processes print goes to stderr; their logs are kept in the run's folder. SIGINT and SIGTERM are handed to
    each of them once, and awaited; a second one ends them at once.
    """
    if arguments.nnodes > 1 and not arguments.master:
        raise UsageError("--nnodes needs --master: expected the first machine's address and port, found none")
    words = list(arguments.command_line)
    output = getattr(arguments, "output_dir", None)
    if output is None:
        if getattr(arguments, "resume", False):
            raise UsageError("--resume: expected the folder of a run as --output, found none")
        if arguments.nnodes > 1:
            raise UsageError("--nnodes needs --output: a folder that all machines share")
        output = f"runs/{Path(arguments.name).name}-{time.strftime('%Y%m%d-%H%M%S')}"
        words += ["--output", output]
    elif not output:
        raise UsageError(
            "--output: expected a path, found an empty text", hint="leave it out for a new folder"
        )
    else:
        from hub.datasets.folders import require_no_data  # numpy, which --help need not pay

        roles = [getattr(arguments, role, None) for role in ("train", "valid", "test")]
        require_no_data(
            output, *(data_of(given, arguments) for given in roles if given and given != ["none"])
        )
    folder = Path(os.path.expanduser(output)).absolute()
    command = [
        sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", str(arguments.nproc),
        "--log_dir", str(folder / "logs"),
    ]  # fmt: skip
    if arguments.nnodes > 1:
        command += ["--nnodes", str(arguments.nnodes), "--master", arguments.master]
    if getattr(arguments, "device", None) in (None, "cpu") and not _has_gpu():
        command += ["--backend", "gloo"]
    command += [str(Path(__file__).parents[1] / "launched.py"), *words]
    with storage_errors(folder):
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        said = (folder / "logs" / "launch.log").open("w", encoding="utf-8")
    log = _Log(folder / "logs" / "workerlog.0")
    with said:
        # In a session of its own it is not told to end by Ctrl-C: it would not wait for the others.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True, bufsize=0
        )
        before = signal.signal(signal.SIGTERM, _exit)
        try:
            _follow(log, process)
        except (KeyboardInterrupt, SystemExit) as request:
            asked = signal.SIGINT if isinstance(request, KeyboardInterrupt) else signal.SIGTERM
            _tell(process, bytes([asked] * arguments.nproc))
            _follow(log, process, until=time.monotonic() + PATIENCE)
            raise
        finally:
            _end(process)
            signal.signal(signal.SIGTERM, before)
    if status := process.wait():
        raise TrainingError(
            f"one of {arguments.nproc * arguments.nnodes} processes failed with status {status}",
            hint=f"what each of them said is in {folder / 'logs'}",
        )
    return folder


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _tell(process: subprocess.Popen[bytes], signals: bytes) -> None:
    """Hand a signal to each of the processes, as launched.py reads it: they finish the step and keep the run."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # all of them are gone
        process.stdin.write(signals)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave no process behind: those that still run see that their stdin is closed."""
    assert process.stdin is not None
    process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()


def _follow(log: _Log, process: subprocess.Popen[bytes], until: float = math.inf) -> None:
    """Say what the first process writes, for as long as any of them runs."""
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
        for line in log.lines():
            say(line)
    for line in log.lines(last=True):
        say(line)


class _Log:
    """What a process writes, without what paddle says of its own insides."""

    def __init__(self, path: Path) -> None:
        """Begin at the end of what an earlier run has left there: paddle's launcher appends."""
        self.path, self.position = path, path.stat().st_size if path.is_file() else 0

    def lines(self, *, last: bool = False) -> Iterator[str]:
        """Give the whole lines that are new; the `last` one need not be whole."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as log:
            log.seek(self.position)
            data = log.read()
        whole = data if last else data[: data.rfind(b"\n") + 1]
        self.position += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            if line and not CHATTER.match(line):
                yield line


def _has_gpu() -> bool:
    return importlib.util.find_spec("paddle") is not None and any(Path("/dev").glob("nvidia[0-9]*"))
