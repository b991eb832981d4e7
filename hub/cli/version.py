"""`hub version`: the versions that a bug report needs, read without importing anything heavy."""

from __future__ import annotations

import argparse
import platform
from importlib import metadata

import hub
from hub.cli.output import write, write_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Take nothing but the shared options."""


def run(arguments: argparse.Namespace) -> int:
    """Print the versions of hub, Python and paddle."""
    versions = {"hub": hub.__version__, "python": platform.python_version(), **paddle_builds()}
    if arguments.json:
        write_json(versions)
    else:
        write("\n".join(f"{name} {version}" for name, version in versions.items()))
    return 0


def paddle_builds() -> dict[str, str]:
    """Give the installed paddle distributions and their versions: none, one, or two that overwrite each other."""
    found = {}
    for name in ("paddlepaddle", "paddlepaddle-gpu"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
