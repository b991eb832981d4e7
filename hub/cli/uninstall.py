"""`hub uninstall`: installed modules away from this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hub.cli.install import print_located
from hub.cli.parser import named

if TYPE_CHECKING:
    from hub.registry.client import Located


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="a name (all its versions) or name@version")


def run(arguments: argparse.Namespace) -> int:
    """Remove one after the other; what is removed before a failure is printed."""
    from hub.registry.client import uninstall

    done: list[Located] = []
    try:
        for name, version in named("uninstall", arguments.names):
            done.extend(uninstall(name, version))
    finally:
        print_located(done, as_json=arguments.json)
    return 0
