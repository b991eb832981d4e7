"""What a module needs of this machine: versions of hub, of paddle, of any other distribution."""

from __future__ import annotations

from collections.abc import Mapping

from hub._version import __version__


def unmet(requires: Mapping[str, str]) -> list[str]:
    """Give the requirements that this machine breaks, as "needs paddle >=3.4, this machine has 3.3.1".

    What is not installed breaks nothing: a module may be installed before paddle is, or for another machine.
    """
    found = []
    for name, versions in requires.items():
        from packaging.specifiers import SpecifierSet

        have = have_version(name)
        if have is not None and not SpecifierSet(versions).contains(have, prereleases=True):
            found.append(f"needs {name} {versions}, this machine has {have}")
    return found


def have_version(name: str) -> str | None:
    """Give the version of hub, paddle or another distribution on this machine, None when it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    if name == "hub":
        return __version__
    for distribution in ("paddlepaddle", "paddlepaddle-gpu") if name == "paddle" else (name,):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None
