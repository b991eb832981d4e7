"""Fine-tuning: one loop (`trainer`), what it is given (`config`, `batches`), how it starts (`ridge`) and what
watches it (`callbacks`)."""

from __future__ import annotations

import importlib
import importlib.util


def __getattr__(name: str) -> object:
    """Give a file of this package that nobody has imported yet, as `hub.finetune.callbacks` is one."""
    if importlib.util.find_spec(f"hub.finetune.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"hub.finetune.{name}")
