"""Weights: read safely, given to a network strictly, written as safetensors.

A state is a plain mapping from parameter name to array. Nothing here is lenient: a name that is missing, a
name that nobody asked for and a wrong shape are each an error that shows both sides.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from paddle import nn

from hub.errors import UnsafeFileError, WeightsError, did_you_mean

State = Mapping[str, np.ndarray]

SHOWN = 5


def load(path: str | Path) -> dict[str, np.ndarray]:
    """Give the arrays of a .safetensors file.

    Raises WeightsError for a file that is missing or damaged, UnsafeFileError for any other kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    if path.suffix != ".safetensors":
        raise UnsafeFileError(f"{path}: expected a .safetensors file")
    try:
        return safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as problem:
        raise WeightsError(f"{path}: damaged safetensors file: {problem}") from problem


def save(path: Path, state: State) -> None:
    """Write arrays as a .safetensors file. Raises OSError when the disk is full or the path not writable."""
    try:
        safetensors.numpy.save_file(
            {name: np.ascontiguousarray(array) for name, array in state.items()}, path
        )
    except safetensors.SafetensorError as problem:
        # The library wraps the system's error in a text; callers tell a full disk by its number.
        if number := re.search(r"\(os error (\d+)\)", str(problem)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from problem
        raise


def state_of(layer: nn.Layer) -> dict[str, np.ndarray]:
    """Give copies of a layer's parameters and buffers by name."""
    return {name: np.array(tensor.numpy()) for name, tensor in layer.state_dict().items()}


def give(layer: nn.Layer, state: State, *, what: str) -> None:
    """Put a state into a layer; every name and shape must agree.

    `layer` may have been built under paddle.LazyGuard: then nothing was ever initialised at random.
    Raises WeightsError that lists the first few differences with both shapes; the layer is then untouched.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()}
    found = {name: tuple(array.shape) for name, array in state.items()}
    missing = [f"missing {name} {wanted[name]}" for name in wanted if name not in found]
    unexpected = [f"unexpected {name} {found[name]}" for name in found if name not in wanted]
    wrong = [
        f"{name}: expected {wanted[name]}, found {found[name]}"
        for name in wanted
        if name in found and wanted[name] != found[name]
    ]
    problems = [*wrong, *missing, *unexpected]
    if problems:
        rest = f"\n  … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise WeightsError(
            f"{what}: the weights belong to another network: {len(wanted) - len(missing) - len(wrong)} of "
            f"{len(wanted)} tensors fit, {len(missing)} missing, {len(unexpected)} unexpected, "
            f"{len(wrong)} of another shape\n  " + "\n  ".join(problems[:SHOWN]) + rest,
            hint=_likely_cause(missing, unexpected, wanted, found),
        )
    layer.set_state_dict(dict(state))


def _likely_cause(
    missing: list[str], unexpected: list[str], wanted: Mapping[str, Any], found: Mapping[str, Any]
) -> str:
    if missing and len(missing) == len(unexpected):
        strangers = [name for name in found if name not in wanted]
        return did_you_mean(next(name for name in wanted if name not in found), strangers, most=1)
    return "compare arch in module.yaml with the network that the weights were trained in"
