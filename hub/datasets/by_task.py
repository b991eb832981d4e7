"""Which loader reads the data of a task: by what the task takes in, a name of `KINDS` or one of those below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from hub.datasets import builtin
from hub.datasets.base import Dataset
from hub.datasets.grouped import prepare_grouped, prepare_grouped_evaluation
from hub.datasets.kinds import KINDS
from hub.datasets.masks import prepare_masks, prepare_masks_evaluation
from hub.datasets.numbers import prepare_numbers, prepare_numbers_evaluation
from hub.datasets.prepare import Prepared, prepare, prepare_evaluation
from hub.datasets.sources import WITHOUT_LABELS
from hub.datasets.tagged import prepare_tagged, prepare_tagged_evaluation
from hub.datasets.told import Table
from hub.datasets.unlabelled import prepare_unlabelled, prepare_unlabelled_evaluation
from hub.errors import UsageError

_WITHOUT_CLASSES: dict[str, tuple[Callable[..., Prepared], Callable[..., Dataset]]] = {
    "masks": (prepare_masks, prepare_masks_evaluation),
    "tagged": (prepare_tagged, prepare_tagged_evaluation),
    "unlabelled": (
        prepare_unlabelled,
        lambda data, *, labels, **how: prepare_unlabelled_evaluation(data, **how),
    ),
    **{
        kind: (partial(prepare_numbers, kind=kind), partial(prepare_numbers_evaluation, kind=kind))
        for kind in ("rated texts", "rated pairs")
    },
}
"""The data whose samples have no classes of their own: how it is prepared for a training and for a measurement."""


def prepare_for(
    inputs: str,
    train: Any,
    *,
    multi_label: bool | None,
    valid: Any = None,
    test: Any = None,
    grouped: bool = False,
    progress: bool = True,
    **how: Any,
) -> Prepared:
    """Load, check and split the data of a run as `prepare` does, for a task that takes `inputs`.

    `grouped` data are several sets by name. Wherever data is given, the name of a published set will do; `progress`
    shows how it is fetched and how samples are checked.
    """
    without_classes = inputs in _WITHOUT_CLASSES
    if multi_label is not None and (without_classes or grouped):
        raise UsageError(f"multi_label={multi_label!r} means nothing here: it is for classification")
    asked = {"train": train, "valid": valid, "test": test}
    found = _resolved(inputs, asked, grouped=grouped, progress=progress)
    train = found.pop("train")
    how["progress"] = progress
    if grouped:
        parts = prepare_grouped(train, kind=KINDS[inputs], **found, **how)
    elif without_classes:
        parts = _WITHOUT_CLASSES[inputs][0](train, **found, **how)
    else:
        parts = prepare(train, kind=KINDS[inputs], multi_label=multi_label, **found, **how)
    for role, given in asked.items():
        part = getattr(parts, role)
        name = asked["train"] if given is None else given
        if part is not None and builtin.is_name(name):
            part.name = name  # reports say what was asked for, and not where it is kept
    return parts


def prepare_evaluation_for(
    inputs: str,
    data: Any,
    *,
    labels: Sequence[str],
    multi_label: bool,
    grouped: bool = False,
    progress: bool = True,
    **how: Any,
) -> Dataset:
    """Give the data that a module is measured on, for a task that takes `inputs`."""
    data = _resolved(inputs, {"data": data}, grouped=grouped, progress=progress)["data"]
    how["progress"] = progress
    if grouped:
        return prepare_grouped_evaluation(data, kind=KINDS[inputs], labels=labels, **how)
    if inputs not in _WITHOUT_CLASSES:
        return prepare_evaluation(data, kind=KINDS[inputs], labels=labels, multi_label=multi_label, **how)
    return _WITHOUT_CLASSES[inputs][1](data, labels=labels, **how)


def _resolved(
    inputs: str, asked: Mapping[str, Any], *, grouped: bool, progress: bool = True
) -> dict[str, Any]:
    """Give what was asked for with published sets in place of their names; all are checked before one is fetched."""

    def changed(data: Any, change: Callable[[Any], Any]) -> Any:
        if grouped and isinstance(data, Mapping):
            return {name: change(part) for name, part in data.items()}
        return change(data)

    def require_fit(part: Any) -> None:
        if isinstance(part, Table) and (inputs in WITHOUT_LABELS or builtin.is_name(part.path)):
            what = inputs if inputs in WITHOUT_LABELS else f"the published set {part.path}"
            raise UsageError(f"{next(iter(part.told), 'Table')}: means nothing for {what}")
        builtin.require_fit(part, inputs)

    for data in asked.values():
        changed(data, require_fit)
    return {
        role: changed(data, lambda part: builtin.resolve(part, inputs, progress=progress))
        for role, data in asked.items()
    }
