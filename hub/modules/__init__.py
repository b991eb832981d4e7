"""From a folder of data to a network: spec, architectures, weights, preprocessing, golden values."""

from __future__ import annotations

import importlib
import importlib.util


def __getattr__(name: str) -> object:
    """Give a file of this package that nobody has imported yet, as `hub.modules.archs` is one."""
    if importlib.util.find_spec(f"hub.modules.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"hub.modules.{name}")
