"""paddlenlp's transformers by name, imported when one is asked for, and without the noise that paddlenlp makes."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from hub.errors import MissingDependencyError, to_install

CLASSES = {
    "bert": "BertModel",
    "ernie": "ErnieModel",
    "roberta": "RobertaModel",
    "electra": "ElectraModel",
    "albert": "AlbertModel",
    "distilbert": "DistilBertModel",
}


def build(name: str, **configuration: Any) -> Any:
    """Give paddlenlp's model of an architecture, its weights not initialised as paddlenlp would.

    Raises MissingDependencyError where paddlenlp cannot be imported.
    """
    model = _model(name)
    with _module("model_utils").no_init_weights():
        return model(model.config_class(**configuration))


def names_of(name: str, **configuration: Any) -> dict[str, tuple[str, bool]]:
    """Give how transformers' parameters are called here: {theirs: (ours, whether it is transposed)}.

    Raises MissingDependencyError where paddlenlp cannot be imported.
    """
    model = _model(
        "bert" if name == "ernie" else name
    )  # paddlenlp has no table for ERNIE, whose names are BERT's
    config = model.config_class(**configuration, architectures=[model.__name__])
    names = {
        each.source_name: (each.target_name, each.action == "transpose")
        for each in model._get_name_mappings(config)
    }
    if name == "ernie":
        names["embeddings.task_type_embeddings.weight"] = ("embeddings.task_type_embeddings.weight", False)
    return names


def _model(name: str) -> Any:
    kind = CLASSES[name]
    return getattr(_module(f"{name}.modeling"), kind)


def _module(name: str) -> ModuleType:
    try:
        with contextlib.nullcontext() if "paddlenlp" in sys.modules else _quietly():
            return importlib.import_module(f"paddlenlp.transformers.{name}")
    except ImportError as problem:
        raise MissingDependencyError(
            f"text encoders are built with paddlenlp, which cannot be imported: {problem}",
            hint=_to_get(),
        ) from None


def _to_get() -> str:
    if sys.version_info >= (3, 13):
        return "use Python 3.10 to 3.12: paddlenlp pins a numpy that newer ones have no wheels of"
    return to_install("paddlenlp", "aistudio-sdk", "pyarrow", "tokenizers")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Import paddlenlp in the block without what it prints, logs, reports and does to the process.

    It sets variables of the environment, and makes folders in the user's home: here in one that vanishes, unless
    PPNLP_HOME says where.
    """
    environment, nowhere = dict(os.environ), io.StringIO()
    with (
        tempfile.TemporaryDirectory(prefix="hub-paddlenlp-") as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        os.environ.setdefault("PPNLP_HOME", folder)
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(environment)
            logging.getLogger("PaddleNLP").setLevel(logging.ERROR)
