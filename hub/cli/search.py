"""`hub search`: modules by words."""

from __future__ import annotations

import argparse

from hub.cli.list import print_for_task, without_collecting


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="+", metavar="WORD", help="all of these must be found")
    parser.add_argument("--task", help="only modules for this task")


def run(arguments: argparse.Namespace) -> int:
    """Print one row for each module that matches."""
    from hub.registry.listing import search

    with without_collecting():
        print_for_task(search(" ".join(arguments.words)), arguments.task, as_json=arguments.json)
    return 0
