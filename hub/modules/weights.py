"""Weights: read safely, given to a network strictly, written as safetensors.

A state is a plain mapping from parameter name to array. Nothing here is lenient: a name that is missing, a
name that nobody asked for and a wrong shape are each an error that shows both sides.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from hub.errors import WeightsError, did_you_mean
from hub.modules import pdparams, safetensors_writer
from hub.modules.safetensors_header import TensorInfo, read_header

State = Mapping[str, np.ndarray]

SHOWN = 5
NUMPY_TYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip


def load(path: str | Path) -> dict[str, np.ndarray]:
    """Give the arrays of a .safetensors or a .pdparams file; nothing that is in it ever runs.

    Arrays of a .safetensors file are views of the mapped file and read-only. bfloat16, which numpy does not have,
    becomes float32, which holds every bfloat16 exactly.
    Raises WeightsError for a file that is missing or of an unknown kind, UnsafeFileError for a damaged or hostile one.
    """
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path, False for what is too long to be a name
        raise WeightsError(f"{path}: no such weights file")
    if path.suffix == ".pdparams":
        return pdparams.read(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: expected a .safetensors or .pdparams file")
    tensors = read_header(path).tensors
    mapped = np.asarray(np.memmap(path, np.uint8, mode="r"))
    return {
        name: _view(mapped[tensor.start : tensor.end], tensor, path, name) for name, tensor in tensors.items()
    }


def _view(data: np.ndarray, tensor: TensorInfo, path: Path, name: str) -> np.ndarray:
    if tensor.dtype == "BF16":
        return pdparams.widened(data.view("<u2")).reshape(tensor.shape)
    if tensor.dtype not in NUMPY_TYPES:
        raise WeightsError(f"{path}: tensor {name!r}: numpy has no type for {tensor.dtype}")
    return data.view(NUMPY_TYPES[tensor.dtype]).reshape(tensor.shape)


def save(path: Path, state: State) -> None:
    """Write arrays as a .safetensors file. Raises OSError when the disk is full or the path not writable."""
    safetensors_writer.write(path, state)


def state_of(layer: nn.Layer) -> dict[str, np.ndarray]:
    """Give copies of a layer's parameters and buffers by name."""
    return {name: np.array(tensor.numpy()) for name, tensor in layer.state_dict().items()}


def size_of(layer: nn.Layer) -> int:
    """Give the bytes that a layer's parameters and buffers take."""
    return sum(int(tensor.size) * tensor.element_size() for tensor in layer.state_dict().values())


def digest(layer: nn.Layer) -> str:
    """Give what tells a layer from any other: a digest of its parameters and buffers, with their names."""
    found = hashlib.sha256()
    for name, tensor in sorted(layer.state_dict().items()):
        array = tensor.numpy()
        found.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return found.hexdigest()[:16]


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
    kinds = {name: str(tensor.dtype).removeprefix("paddle.") for name, tensor in layer.state_dict().items()}
    layer.set_state_dict({name: _as(array, kinds[name]) for name, array in state.items()})


def _as(array: np.ndarray, kind: str) -> np.ndarray:
    """Give the array as the parameter's own type: checkpoints in half precision fit networks in single."""
    if array.dtype.kind != "f" or kind == str(array.dtype) or not kind.startswith("float"):
        return array
    return array.astype(kind)


def _likely_cause(
    missing: list[str], unexpected: list[str], wanted: Mapping[str, Any], found: Mapping[str, Any]
) -> str:
    if missing and len(missing) == len(unexpected):
        strangers = [name for name in found if name not in wanted]
        return did_you_mean(next(name for name in wanted if name not in found), strangers, most=1)
    return "compare arch in module.yaml with the network that the weights were trained in"
