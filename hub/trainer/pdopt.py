"""PaddleHub's model.pdopt: the state of an optimizer, read without running anything that is in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn
from paddle.optimizer import Optimizer

from hub.errors import TrainingError
from hub.finetune import optimizer_state
from hub.modules import pdparams

# linear_1.w_0_moment1_0: paddle's own name of a parameter, what the optimizer keeps of it, a counter
_KEY = re.compile(r"(?P<parameter>[a-z0-9_]+\.(?P<role>[a-z]+)_\d+)_(?P<kind>\w+)_\d+", re.IGNORECASE)


def give_pdopt(
    optimizer: Optimizer, path: Path, layer: nn.Layer, *, order: Sequence[str] | None = None
) -> None:
    """Give an optimizer the state that a .pdopt file has.

    The file names parameters as the process did that wrote it: linear_1.w_0 is linear_7.w_0 in one that has built
    other layers before. What stays is their order, which is that of the optimizer's list, or `order` for a network that
    was built in another one. Raises TrainingError when number, kind, shape or type do not agree, UnsafeFileError for a
    hostile file.
    """
    hint = f"go on with a fresh optimizer: remove {path}"
    tree = pdparams.read_nested(path)
    saved = dict(tree) if isinstance(tree, dict) else {}
    schedule = saved.pop("LR_Scheduler", None)
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, value in saved.items():
        match = _KEY.fullmatch(str(key))
        if match is None or not isinstance(value, np.ndarray):
            raise TrainingError(
                f"{path}: expected the state of an optimizer by parameter, found {key!r}", hint=hint
            )
        found.setdefault(match["parameter"], {})[match["kind"]] = value
    ours = {parameter.name: name for name, parameter in layer.named_parameters()}
    trained = [
        parameter.name
        for parameter in parameters_of(optimizer)
        if not parameter.stop_gradient and parameter.name in ours
    ]
    if order is not None:
        trained.sort(key=lambda name: order.index(ours[name]))
    if found and len(found) != len(trained):
        raise TrainingError(
            f"{path}: expected the state of {len(trained)} trained parameters, found that of {len(found)}",
            hint=hint,
        )
    arrays: dict[str, np.ndarray] = {}
    for theirs, name in zip(found, trained, strict=False):
        arrays |= {f"{kind}/{ours[name]}": value for kind, value in found[theirs].items()}
    record: dict[str, Any] = {
        "kind": type(optimizer).__name__,
        "learning_rate": float(optimizer.get_lr()),
        "parameters": sorted({key.partition("/")[2] for key in arrays}),
    }
    if schedule is not None:
        record["schedule"] = schedule
    try:
        optimizer_state.from_arrays(
            optimizer, arrays, record, {name: theirs for theirs, name in ours.items()}
        )
    except TrainingError as problem:
        raise TrainingError(f"{path}: {problem.message}", hint=hint) from None


def parameters_of(optimizer: Optimizer) -> list[Any]:
    """Give every parameter that an optimizer changes, whether they were given as a list or in groups."""
    given = optimizer._param_groups
    return [each for group in given for each in (group["params"] if isinstance(group, dict) else [group])]
