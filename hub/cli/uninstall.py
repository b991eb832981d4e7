"""`hub uninstall`: installed modules away from this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hub.cli.install import print_located
from hub.errors import UsageError

if TYPE_CHECKING:
    from hub.registry.client import Located


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="a name (all its versions) or name@version")


def run(arguments: argparse.Namespace) -> int:
    """Remove one after the other; what is removed before a failure is printed."""
    from hub.registry.client import uninstall
    from hub.registry.reference import Reference

    done: list[Located] = []
    try:
        for reference in map(Reference.parse, arguments.names):
            exact = reference.exact_version
            if reference.kind != "name" or (reference.versions and exact is None):
                raise UsageError(f"hub uninstall: expected NAME or NAME@VERSION, found {str(reference)!r}")
            done.extend(uninstall(reference.name, exact))
    finally:
        print_located(done, as_json=arguments.json)
    return 0
