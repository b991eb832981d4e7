"""Pretrained modules by name, and fine-tuning on your own data, on PaddlePaddle.

    import hub

    module = hub.Module(name="glyphs_cnn")
    module.finetune("my_pictures/")
    module.predict(["a.png", "b.png"])
    module.save("my_module")

The names below load on first use, so that `import hub` costs milliseconds and never imports paddle.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import TYPE_CHECKING

from hub._version import __version__ as __version__
from hub.paddlehub_names import OldImports, missing

if TYPE_CHECKING:  # `as` says to a strict type checker that users may import the name from here
    from hub import datasets as datasets
    from hub import errors as errors
    from hub import finetune as finetune
    from hub import modules as modules
    from hub import tasks as tasks
    from hub import transforms as transforms
    from hub.module import Module as Module
    from hub.registry.client import install as install
    from hub.registry.listing import list_modules as list_modules
    from hub.registry.listing import search as search
    from hub.trainer import Trainer as Trainer

    load = Module

_SITE = os.path.dirname(os.path.dirname(__file__))
if any(name.startswith("hub-") and name.endswith(".dist-info") for name in os.listdir(_SITE)):
    warnings.warn(
        "PyPI's package `hub` is another project of the same import name and overwrites files of this one: "
        "pip uninstall hub, then in a checkout of this one: pip install --force-reinstall --no-deps .",
        stacklevel=2,
    )

# paddle says the one on every machine without a compiler cache, which it does not need, and the other at every
# training step of every BatchNorm: nothing in either that a user could do.
warnings.filterwarnings("ignore", message="No ccache found")
warnings.filterwarnings("ignore", message="When training, we now always track global mean and variance")
# Of what is odd in a picture's metadata, and of sizes that are refused anyway. Behind all filters: who asks for
# warnings still has them.
warnings.filterwarnings("ignore", module=r"PIL\.", append=True)

sys.meta_path.append(OldImports)

# name: (module, attribute); the attribute None stands for the module itself
_LAZY: dict[str, tuple[str, str | None]] = {
    "Module": ("hub.module", "Module"),
    "Trainer": ("hub.trainer", "Trainer"),
    "datasets": ("hub.datasets", None),
    "errors": ("hub.errors", None),
    "finetune": ("hub.finetune", None),
    "install": ("hub.registry.client", "install"),
    "list_modules": ("hub.registry.listing", "list_modules"),
    "load": ("hub.module", "Module"),
    "modules": ("hub.modules", None),
    "search": ("hub.registry.listing", "search"),
    "tasks": ("hub.tasks", None),
    "transforms": ("hub.transforms", None),
}

__all__ = [*sorted(_LAZY), "__version__"]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise missing("hub", name)
    path, attribute = _LAZY[name]
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != "paddle":  # the one dependency that pip is not told to bring, see pyproject.toml
            raise
        from hub.errors import no_paddle

        raise no_paddle() from error
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
