"""`hub range-test`: the learning rate to begin with, tried on the first steps of a training that is thrown away."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from hub.cli.finetune import MORE, OPTIONS
from hub.cli.loading import load_paddle
from hub.cli.output import say, write, write_json
from hub.cli.parser import add_data, add_options, data_of, options_for, path

WHOLE_RUNS = {
    "teacher", "teacher_weight", "temperature", "average", "schedule", "warmup", "cache", "views", "checkpoint_minutes",
}  # fmt: skip
"""Options of finetune that mean nothing in a sweep."""
SHARED = (
    "strategy", "batch_size", "freeze", "class_weight", "multi_label", "on_bad", "seed", "workers", "device",
    *(name for name in MORE if name not in WHOLE_RUNS),
)  # fmt: skip
"""Options of finetune that this command takes as well: what a step depends on."""
FLAGS = OPTIONS | MORE
FLAGS["strategy"] = FLAGS["strategy"] | {
    "help": "probe tries the head only, the others all at once (default full)"
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a module name, name@version or ./folder")
    add_data(parser, "data")
    _add_own(parser)
    parser.add_argument(
        "--task", metavar="NAME", help="what an encoder of texts learns (default: what it does)"
    )
    add_options(parser)
    for name in SHARED:
        parser.add_argument(
            "--" + name.replace("_", "-"), dest=name, default=argparse.SUPPRESS, **FLAGS[name]
        )


def _add_own(parser: argparse.ArgumentParser) -> None:
    """Let the parser take what finetune does not."""
    parser.add_argument("--plot", type=path, metavar="FILE", help="draw the losses over the rates into a PNG")
    parser.add_argument("--low", type=float, default=1e-6, metavar="X", help="the first rate (default 1e-6)")
    parser.add_argument("--high", type=float, default=1.0, metavar="X", help="the last rate (default 1)")
    parser.add_argument(
        "--steps", type=int, default=60, metavar="N", help="how many, at least 20 (default 60)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the rate that the losses speak for, and the one at which they exploded."""
    load_paddle()
    from hub.module import Module

    chosen: dict[str, Any] = {name: getattr(arguments, name) for name in SHARED if hasattr(arguments, name)}
    chosen |= options_for(
        "range-test",
        Module.range_test,
        arguments.options,
        others=(*SHARED, "task", "plot", "json"),
        idle={*FLAGS, "output"} - {*SHARED},
    )
    module = Module(arguments.name, device=chosen.pop("device", None), task=arguments.task)
    chosen |= {name: getattr(arguments, name) for name in ("low", "high", "steps")}
    found = module.range_test(data_of(arguments.data, arguments), **chosen)
    if arguments.plot:
        found.plot(arguments.plot)
    if arguments.json:
        write_json(
            {
                "suggestion": found.suggestion, "limit": found.limit, "rates": found.rates, "losses": found.losses,
                "smoothed": found.smoothed,
            }
        )  # fmt: skip
    else:
        exploded = "" if found.limit is None else f"\nexploded at    {found.limit:.2g}"
        write(f"learning rate  {found.suggestion:.2g}{exploded}")
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--json", action="store_true")
    _add_own(own)
    _, words = own.parse_known_args(arguments.command_line[1:])
    say(f"use it: hub finetune {shlex.join([*words, '--learning-rate', f'{found.suggestion:.2g}'])}")
    return 0
