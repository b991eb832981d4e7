"""Check a .safetensors file before anybody maps it.

A mapped file that is shorter than its header says kills the process when the missing part is touched, tensors
that overlap can be changed through each other, and bytes that no tensor owns can be another file altogether. The
format forbids all of it, the library checks most of it; here the whole of the specification is checked, and the
message names the file and the tensor. Only the header is read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from hub.errors import StorageError, UnsafeFileError
from hub.files import unique_keys

MOST_HEADER_BYTES = 8 * 2**20  # room for 70,000 tensors; the format itself allows 100 MB of JSON

# bytes of one element, for the types whose elements are whole bytes
DTYPES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies: `start` and `end` count bytes from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class Header(NamedTuple):
    tensors: dict[str, TensorInfo]  # in the order in which they lie in the file
    metadata: dict[str, str]


def read_header(path: str | os.PathLike[str]) -> Header:
    """Give what a .safetensors file says of its tensors, after checking that the file is exactly that.

    The tensors follow one another without gap or overlap up to the last byte; every name and key occurs once.
    Raises UnsafeFileError for anything else, StorageError when the file cannot be read.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 10 or length > size - 8:
                _refuse(path, f"expected a header of {length:,} bytes, found a file of {size:,}")
            if length > MOST_HEADER_BYTES:
                _refuse(path, f"expected a header of at most {MOST_HEADER_BYTES:,} bytes, found {length:,}")
            text = file.read(length)
    except OSError as problem:
        raise StorageError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    entries = _parse(path, text)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse(path, "expected __metadata__ to map names to texts")
    tensors = {name: _tensor(path, name, entry, base=8 + length) for name, entry in entries.items()}
    tensors = dict(sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)))
    _check_tiling(path, tensors, start=8 + length, size=size)
    return Header(tensors, metadata)


def _parse(path: Path, text: bytes) -> dict[str, object]:
    if not text.startswith(b"{"):
        _refuse(path, f"expected a header that starts with '{{', found {text[:1].decode('latin1')!a}")
    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=unique_keys)
        json.dumps(entries, ensure_ascii=False).encode("utf-8")  # half a surrogate pair, written as \\ud800
    except (ValueError, RecursionError) as problem:
        _refuse(path, f"expected a header in JSON: {str(problem)[:80]!a}")
    return entries


def _tensor(path: Path, name: str, entry: object, *, base: int) -> TensorInfo:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, end], **rest} if not rest:
            if dtype not in DTYPES:
                _refuse(path, f"expected one of the types {', '.join(DTYPES)}, found {dtype[:80]!a}", name)
            for number in (*shape, start, end):
                if type(number) is not int or not 0 <= number < 2**62:
                    found = str(number) if isinstance(number, int) else f"a {type(number).__name__}"
                    _refuse(path, f"expected sizes and offsets, found {found[:80]!a}", name)
        case _:
            _refuse(path, "expected dtype, shape and data_offsets, and nothing else", name)
    # an axis of zero makes a tensor empty, whatever the others say: somebody may believe them
    if len(shape) > 32 or math.prod(axis or 1 for axis in shape) >= 2**62:
        _refuse(path, f"expected a possible shape, found {str(shape)[:80]}", name)
    needed = math.prod(shape) * DTYPES[dtype]
    if end - start != needed:
        _refuse(path, f"expected {needed:,} bytes for {dtype} {shape}, found {end - start:,}", name)
    return TensorInfo(dtype, tuple(shape), base + start, base + end)


def _check_tiling(path: Path, tensors: Mapping[str, TensorInfo], *, start: int, size: int) -> None:
    """Refuse overlaps, holes, and an end that is not the end of the file."""
    end, before = start, "the header"
    for name, tensor in tensors.items():
        if tensor.start != end:
            gap = "overlaps" if tensor.start < end else "leaves a hole after"
            _refuse(
                path, f"{gap} {before}: expected it to start at byte {end:,}, found {tensor.start:,}", name
            )
        end, before = tensor.end, f"tensor {name[:80]!a}"
    if end != size:
        what = "cut short" if size < end else "bytes that belong to no tensor"
        _refuse(path, f"{what}: expected {end:,} bytes, found {size:,}")


def _refuse(path: Path, why: str, tensor: str | None = None) -> NoReturn:
    where = f"{path}: " if tensor is None else f"{path}: tensor {tensor[:80]!a}: "
    raise UnsafeFileError(where + why, hint="get the file again from where it was published")
