"""Which loader reads the data of a task: by what the task takes in, a name of `KINDS` or one of those below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hub.datasets.base import Dataset
from hub.datasets.grouped import prepare_grouped, prepare_grouped_evaluation
from hub.datasets.kinds import KINDS
from hub.datasets.masks import prepare_masks, prepare_masks_evaluation
from hub.datasets.prepare import Prepared, prepare, prepare_evaluation
from hub.datasets.tagged import prepare_tagged, prepare_tagged_evaluation
from hub.datasets.unlabelled import prepare_unlabelled, prepare_unlabelled_evaluation
from hub.errors import UsageError

_WITHOUT_CLASSES: dict[str, tuple[Callable[..., Prepared], Callable[..., Dataset]]] = {
    "masks": (prepare_masks, prepare_masks_evaluation),
    "tagged": (prepare_tagged, prepare_tagged_evaluation),
    "unlabelled": (
        prepare_unlabelled,
        lambda data, *, labels, **how: prepare_unlabelled_evaluation(data, **how),
    ),
}
"""The data whose samples have no classes of their own: how it is prepared for a training and for a measurement."""


def prepare_for(
    inputs: str, train: Any, *, multi_label: bool | None, grouped: bool = False, **how: Any
) -> Prepared:
    """Load, check and split the data of a run as `prepare` does, for a task that takes `inputs`.

    `grouped` data are several sets by name.
    """
    if inputs not in _WITHOUT_CLASSES and not grouped:
        return prepare(train, kind=KINDS[inputs], multi_label=multi_label, **how)
    if multi_label is not None:
        raise UsageError(f"multi_label={multi_label!r} means nothing here: it is for classification")
    if grouped:
        return prepare_grouped(train, kind=KINDS[inputs], **how)
    return _WITHOUT_CLASSES[inputs][0](train, **how)


def prepare_evaluation_for(
    inputs: str, data: Any, *, labels: Sequence[str], multi_label: bool, grouped: bool = False, **how: Any
) -> Dataset:
    """Give the data that a module is measured on, for a task that takes `inputs`."""
    if grouped:
        return prepare_grouped_evaluation(data, kind=KINDS[inputs], labels=labels, **how)
    if inputs not in _WITHOUT_CLASSES:
        return prepare_evaluation(data, kind=KINDS[inputs], labels=labels, multi_label=multi_label, **how)
    return _WITHOUT_CLASSES[inputs][1](data, labels=labels, **how)
