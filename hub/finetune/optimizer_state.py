"""The state of an optimizer as arrays by the model's own parameter names.

paddle keys it by global names such as linear_2.w_0, which count the layers that a process ever built: the same model
has others in another process. Here a moment is "moment1/head.weight" wherever the model is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import paddle
from paddle import Tensor
from paddle import optimizer as optimizers
from paddle.optimizer import Optimizer
from paddle.optimizer.lr import LRScheduler

from hub.errors import TrainingError

# Those whose whole state is in their tensors; LBFGS for one keeps a history of its own.
KINDS = (
    optimizers.SGD, optimizers.Momentum, optimizers.Adam, optimizers.AdamW, optimizers.Adamax, optimizers.Adagrad,
    optimizers.Adadelta, optimizers.RMSProp, optimizers.Lamb, optimizers.NAdam, optimizers.RAdam,
)  # fmt: skip
MASTER = "master"
SHOWN = 5


def to_arrays(optimizer: Optimizer, names: Mapping[str, str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Give (arrays, record): every tensor that the optimizer keeps, copied, and what else it takes to go on.

    Arrays are named "moment1/head.weight"; the float32 copy that a half-precision parameter is trained in is
    "master/head.weight". bfloat16 comes as uint16.

    Args:
        names: the model's name of every parameter to paddle's, {name: parameter.name}.

    Raises TrainingError for an optimizer of another kind than KINDS and for state of a parameter outside `names`.
    """
    _require_kind(optimizer)
    arrays = {key: tensor.numpy() for key, tensor in _tensors(optimizer, names).items()}
    record: dict[str, Any] = {
        "kind": type(optimizer).__name__,
        "learning_rate": float(optimizer.get_lr()),
        "parameters": sorted({key.partition("/")[2] for key in arrays}),
    }
    if isinstance(optimizer._learning_rate, LRScheduler):
        record["schedule"] = optimizer._learning_rate.state_dict()
    return arrays, record


def from_arrays(
    optimizer: Optimizer,
    arrays: Mapping[str, np.ndarray],
    record: Mapping[str, Any],
    names: Mapping[str, str],
) -> None:
    """Give an optimizer the state that `to_arrays` gave, so that its next step is the one that would have followed.

    Raises TrainingError, and gives it nothing, when the kind, an entry, a shape or a type is not what this optimizer
    has for these parameters; the message lists the differences.
    """
    _require_kind(optimizer)
    problems = []
    if record["kind"] != type(optimizer).__name__:
        problems.append(f"expected the state of {type(optimizer).__name__}, found that of {record['kind']}")
    if ("schedule" in record) != isinstance(optimizer._learning_rate, LRScheduler):
        problems.append("expected a learning-rate scheduler on both sides or on none")
    known = {parameter.name: parameter for parameter in _parameters(optimizer)}
    unknown = [name for name in record["parameters"] if names.get(name) not in known]
    problems += [f"unexpected {name}: the optimizer has no such parameter" for name in unknown]
    if not problems:
        block = paddle.base.framework.default_main_program().global_block()
        optimizer._create_accumulators(block, [known[names[name]] for name in record["parameters"]])
        tensors = _tensors(optimizer, names)
        problems = list(_differences(tensors, arrays))
    if problems:
        rest = f"\n  … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise TrainingError(
            "the optimizer's state does not fit:\n  " + "\n  ".join(problems[:SHOWN]) + rest,
            hint="go on with the settings that the run began with",
        )
    for key, tensor in tensors.items():
        tensor.set_value(np.asarray(arrays[key]))
    if "schedule" in record:
        optimizer._learning_rate.set_state_dict(dict(record["schedule"]))
    else:
        optimizer.set_lr(record["learning_rate"])


def _differences(tensors: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    for key in sorted({*tensors, *arrays}):
        if key not in arrays:
            yield f"missing {key}"
        elif key not in tensors:
            yield f"unexpected {key}"
        else:
            wanted, found = tensors[key].numpy(), arrays[key]
            if (wanted.shape, wanted.dtype) != (found.shape, found.dtype):
                yield f"{key}: expected {wanted.shape} {wanted.dtype}, found {found.shape} {found.dtype}"


def _tensors(optimizer: Optimizer, names: Mapping[str, str]) -> dict[str, Tensor]:
    """Give every tensor of the optimizer's state by its name in our sense, in the order of the names."""
    ours = {theirs: name for name, theirs in names.items()}
    masters = dict(optimizer._master_weights)
    # Moments of a parameter with a master copy go by the copy's name.
    ours |= {master.name: ours[theirs] for theirs, master in masters.items() if theirs in ours}
    kept = {MASTER: masters, **optimizer._accumulators}
    strange = sorted({theirs for by_name in kept.values() for theirs in by_name if theirs not in ours})
    if strange:
        raise TrainingError(
            f"the optimizer keeps the state of parameters that the model does not have: {', '.join(strange[:SHOWN])}"
        )
    found = {
        f"{kind}/{ours[theirs]}": tensor
        for kind, by_name in kept.items()
        for theirs, tensor in by_name.items()
    }
    return dict(sorted(found.items()))


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    """Give all parameters, whether they were given as a list or in groups."""
    given = optimizer._param_groups
    return [each for group in given for each in (group["params"] if isinstance(group, dict) else [group])]


def _require_kind(optimizer: Optimizer) -> None:
    if not isinstance(optimizer, KINDS):
        raise TrainingError(
            f"the state of a {type(optimizer).__name__} cannot be kept in a checkpoint",
            hint=f"use one of {', '.join(kind.__name__ for kind in KINDS)}",
        )
