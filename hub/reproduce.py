"""The Python that does a run again: how its module is loaded, and what `finetune` was told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.datasets import Table
from hub.finetune.config import Config


@dataclass(frozen=True)
class Found:
    """What `hub.Module` finds a module by, and what else it has to be told for the same network."""

    place: str
    told: Mapping[str, Any] = field(default_factory=dict)


def loading(found: Found | None, name: str, *, replaced: Path) -> str:
    """Give the Python that loads a module, "…" for what cannot be written: made here, or going to be `replaced`."""
    if found is None:
        return f"hub.Module.create({name!r}, …)"
    if os.path.isabs(found.place) and os.path.realpath(found.place) == os.path.realpath(replaced):
        return "hub.Module(…)"
    words = [
        repr(found.place),
        *(f"{word}={value!r}" for word, value in found.told.items() if value is not None),
    ]
    return f"hub.Module({', '.join(words)})"


def finetuning(
    loaded: str, train: Any, valid: Any, test: Any, config: Config, options: Mapping[str, Any]
) -> str:
    """Give the lines of Python that do a run again with the module that `loaded` gives; data that is no path is "…"."""
    words = []
    for role, given in (("", train), ("valid=", valid), ("test=", test)):
        if given is not None:
            words.append(role + _shown(given))
    usual = Config().to_dict()
    words += [f"{key}={value!r}" for key, value in config.to_dict().items() if value != usual[key]]
    words += [f"{key}={value!r}" for key, value in options.items()]
    return f"import hub\n\n{loaded}.finetune({', '.join(words)})"


def _shown(given: Any) -> str:
    if isinstance(given, Mapping):
        return "{" + ", ".join(f"{name!r}: {_shown(part)}" for name, part in given.items()) + "}"
    if isinstance(given, Table):
        return repr(given)
    return repr(str(given)) if isinstance(given, str | Path) else "False" if given is False else "…"
