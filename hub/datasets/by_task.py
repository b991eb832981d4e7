"""Which loader reads the data of a task: by what the task takes in, "pictures", "sounds", "masks" or "unlabelled"."""

from __future__ import annotations

import importlib
from typing import Any

from hub.datasets.base import Dataset
from hub.datasets.prepare import Prepared, prepare, prepare_evaluation
from hub.errors import UsageError


def prepare_for(inputs: str, train: Any, *, multi_label: bool | None, **how: Any) -> Prepared:
    """Load, check and split the data of a run as `prepare` does, for a task that takes `inputs`."""
    if inputs == "pictures":
        return prepare(train, multi_label=multi_label, **how)
    if inputs in ("masks", "unlabelled"):
        if multi_label is not None:
            raise UsageError(f"multi_label={multi_label!r} means nothing here: it is for classification")
        loader = importlib.import_module(f"hub.datasets.{inputs}")
        found: Prepared = getattr(loader, f"prepare_{inputs}")(train, **how)
        return found
    from hub.datasets.kinds import KINDS

    return prepare(train, multi_label=multi_label, kind=KINDS[inputs], **how)


def prepare_evaluation_for(inputs: str, data: Any, *, labels: Any, multi_label: bool, **how: Any) -> Dataset:
    """Give the data that a module is measured on, for a task that takes `inputs`."""
    if inputs == "pictures":
        return prepare_evaluation(data, labels=labels, multi_label=multi_label, **how)
    if inputs in ("masks", "unlabelled"):
        loader = importlib.import_module(f"hub.datasets.{inputs}")
        known = {"labels": labels} if labels else {}
        found: Dataset = getattr(loader, f"prepare_{inputs}_evaluation")(data, **known, **how)
        return found
    from hub.datasets.kinds import KINDS

    return prepare_evaluation(data, labels=labels, multi_label=multi_label, kind=KINDS[inputs], **how)
