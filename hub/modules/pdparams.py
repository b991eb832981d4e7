"""Read paddle's .pdparams and .pdopt files without running anything that is in them.

Such a file is a pickle: a program, which `paddle.load` runs with all of Python within its reach. Here it runs on
a machine that can make nothing but arrays, numbers, text and plain containers of these. It knows the dozen names
that paddle 2.x and 3.x write, under numpy 1 and numpy 2, in protocols 2 to 4; a file that asks for any other, or
uses these in another way, is refused with UnsafeFileError.

Two types do not come back as they were saved: bfloat16, which paddle stores as uint16 (it has no other use for
that type), becomes float32, which holds every bfloat16 exactly; float8 is stored as int8, cannot be told apart
from it, and comes back as int8, as it does from `paddle.load`.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from io import BufferedReader, FileIO
from typing import Literal, TypeAlias, cast

import numpy as np

from hub.errors import StorageError, WeightsError
from hub.modules.stack_machine import LONG, LongBytes, LongText, StackMachine, shown

Leaf: TypeAlias = np.ndarray | np.generic | str | int | float | None
Tree: TypeAlias = "Leaf | list[Tree] | tuple[Tree, ...] | dict[str | int, Tree]"

MOST_DEPTH = 8  # containers within containers

_HINT = (
    "get these weights as safetensors; or, only if you trust whoever made the file, convert it yourself: "
    "safetensors.paddle.save_file(paddle.load(file), 'weights.safetensors')"
)
# Every name that a file may ask for, and what it stands for here. None of them is looked up or called.
_NAMES = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("numpy.core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy._core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
    ("__builtin__", "tuple"): "tuple",
    ("builtins", "tuple"): "tuple",
    ("__builtin__", "eval"): "eval",
    ("builtins", "eval"): "eval",
    ("collections", "OrderedDict"): "OrderedDict",
    ("ml_dtypes", "float8_e4m3fn"): "float8",  # these two where paddlenlp was imported when it was saved
    ("ml_dtypes", "float8_e5m2"): "float8",
}
_DTYPES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16"}


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Give the arrays of a state dict by name: in memory of their own, native byte order, bfloat16 as float32.

    Raises UnsafeFileError for a file that is no such pickle or asks for anything but arrays, WeightsError when
    it holds something beside or instead of named arrays, StorageError when it cannot be read.
    """
    tree = read_nested(path)
    hint = "hub.modules.pdparams.read_nested() gives all that the file holds"
    if not isinstance(tree, dict):
        raise WeightsError(f"{path}: expected arrays by name, found one {type(tree).__name__}", hint=hint)
    for name, value in tree.items():
        if not (isinstance(name, str) and isinstance(value, np.ndarray)):
            found = f"{type(value).__name__} under '{shown(str(name))}'"
            raise WeightsError(f"{path}: expected an array under every name, found {found}", hint=hint)
    return cast("dict[str, np.ndarray]", tree)


def read_nested(path: str | os.PathLike[str]) -> Tree:
    """Give all that a file of `paddle.save` holds: an optimizer's state, nested dicts, a single tensor.

    Tensors come as arrays, as `read` gives them; an OrderedDict comes as a dict. Raises what `read` raises for a
    file that cannot be trusted or read.
    """
    try:
        with BufferedReader(FileIO(path), LONG) as file:
            size = os.fstat(file.fileno()).st_size
            return _Reader(file, path=os.fspath(path), size=size, hint=_HINT).tree()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


@dataclass(eq=False)
class _Name:
    role: str


@dataclass(eq=False)
class _PickledDType:
    code: str
    dtype: np.dtype | None = None  # once its byte order is known


@dataclass(eq=False)
class _PickledArray:
    value: np.ndarray | None = None  # once its shape, type and data are known


class _Reader(StackMachine):
    """The machine with paddle's dozen names, and what it is allowed to make of them."""

    made_bytes = 0  # of byte strings and arrays
    nodes = 0  # of the result; a value that is named twice counts twice
    array_bytes = 0  # of the result, likewise

    def find(self, module: str, name: str) -> object:
        role = _NAMES.get((module, name))
        return _Name(role) if role else super().find(module, name)

    def call(self, function: object, arguments: tuple[object, ...]) -> object:
        role = function.role if isinstance(function, _Name) else type(function).__name__.strip("_")
        match role, arguments:
            case "reconstruct", (_Name(role="ndarray"), (0,), b"b" | "b"):
                return _PickledArray()
            case "dtype", (str(code), 0, 1) if code in _DTYPES:
                return _PickledDType(code)
            case "dtype", (_Name(role="float8"), 0, 1):
                return _PickledDType("i1")
            case "encode", (str() | LongText() as text, "latin1"):
                return self._encoded(text)
            case "bytes", ():
                return b""
            case "OrderedDict", ():
                return {}
            case "tuple", (
                tuple((str(), _PickledArray())) as pair,
            ):  # how a Tensor is saved: its name and its values
                return pair
            case "eval", ("data", {"data": _PickledArray() as array, **rest}) if not rest:
                # How a DenseTensor is saved: eval("data", {"data": array}) is the array. Nothing is evaluated.
                return array
            case "scalar", (_PickledDType(dtype=np.dtype() as dtype), bytes() | str() as data):
                return self._array(dtype, (), data)[()]
        self.refuse(f"calls {role} with arguments that no weights need")

    def build(self, target: object, state: object) -> None:
        match target, state:
            case _PickledDType(dtype=None), (3, "<" | ">" | "|" as order, None, None, None, -1, -1, 0):
                target.dtype = np.dtype(target.code).newbyteorder(order)
            case _PickledDType(code="i1", dtype=None), (3, "<", None, None, None, 1, 1, 64):  # of float8
                target.dtype = np.dtype("i1")
            case _PickledArray(value=None), (
                1,
                tuple(shape),
                _PickledDType(dtype=np.dtype() as dtype),
                0 | 1 as fortran,
                data,
            ):
                array = self._array(dtype, shape, data, order="F" if fortran else "C")
                target.value = widened(array) if array.dtype == np.uint16 else array
            case _:
                self.refuse(f"sets the state of {type(target).__name__.strip('_')} as no weights need")

    def _encoded(self, text: str | LongText) -> bytes | LongBytes:
        if isinstance(text, LongText):
            self._spend(text.latin1.size)
            return LongBytes(text.latin1)
        self._spend(len(text))
        return text.encode("latin1")

    def _array(
        self, dtype: np.dtype, shape: tuple[object, ...], data: object, *, order: Literal["C", "F"] = "C"
    ) -> np.ndarray:
        if isinstance(data, str):  # of Python 2
            data = data.encode("latin1")
        if not isinstance(data, bytes | LongBytes):
            self.refuse(f"fills an array with {type(data).__name__.strip('_')}")
        flat = data.data if isinstance(data, LongBytes) else np.frombuffer(data, np.uint8).copy()
        sizes = self._sizes(shape)
        if math.prod(sizes) * dtype.itemsize != flat.size:
            self.refuse(f"fills an array of shape {sizes} and type {dtype} with {flat.size:,} bytes")
        self._spend(flat.size)
        if dtype == np.bool_ and (flat > 1).any():
            self.refuse("a boolean that is neither true nor false")
        array = flat.view(dtype).reshape(sizes, order=order)
        return np.asarray(array, dtype.newbyteorder("="), order="C")

    def _sizes(self, shape: tuple[object, ...]) -> list[int]:
        sizes = [size for size in shape if type(size) is int and size >= 0]
        # an array without elements may say anything of its other axes, and somebody might believe it
        if len(sizes) != len(shape) or len(sizes) > 32 or math.prod(size or 1 for size in sizes) > 2**40:
            self.refuse("an array of an impossible shape")
        return sizes

    def _spend(self, count: int) -> None:
        """Count bytes that are made of bytes: the file can name one byte string again and again."""
        self.made_bytes += count
        if self.made_bytes > 2 * self.size:  # twice: protocol 2 makes bytes of text, then an array of these
            self.refuse(f"unfolds to more than twice its {self.size:,} bytes")

    def tree(self) -> Tree:
        tree = self._plain(self.run(), depth=0)
        return self._joined(tree) if isinstance(tree, dict) else tree

    def _plain(self, value: object, *, depth: int) -> Tree:
        """Give a value without our placeholders; an array that is named twice stays one array.

        A pickle can say "a list of two of these" of a list of two of those, forty times over: what it unfolds to
        is counted, because whoever walks over the result pays for that.
        """
        self.nodes += 1
        if depth > MOST_DEPTH or self.nodes > self.most_steps:
            self.refuse(f"unfolds to more than {MOST_DEPTH} levels or {self.most_steps:,} values")
        match value:
            case _PickledArray(value=np.ndarray() as array) | tuple(
                (str(), _PickledArray(value=np.ndarray() as array))
            ):
                self.array_bytes += array.nbytes
                if self.array_bytes > 8 * self.size:
                    self.refuse(f"unfolds to more than eight times its {self.size:,} bytes")
                return array
            case dict():
                return {key: self._plain(item, depth=depth + 1) for key, item in value.items()}
            case list():
                return [self._plain(item, depth=depth + 1) for item in value]
            case tuple():
                return tuple(self._plain(item, depth=depth + 1) for item in value)
            case None | bool() | int() | float() | str() | np.generic():
                return value
        self.refuse(f"found {type(value).__name__.strip('_')} where weights have arrays")

    def _joined(self, tree: dict[str | int, Tree]) -> Tree:
        """Drop paddle's table of parameter names and rejoin what protocols 2 and 3 split at 1 GiB."""
        tree.pop("StructuredToParameterName@@", None)
        splits = tree.pop("UnpackBigParamInfor@@", {})
        if not isinstance(splits, dict):
            self.refuse("a damaged table of split arrays")
        for name, split in splits.items():
            match split:
                case {"slices": [_, *_] as names, "OriginShape": tuple(shape)}:
                    parts = [tree.pop(part, None) for part in names if isinstance(part, str)]
                case _:
                    self.refuse(f"does not say how '{shown(str(name))}' was split")
            arrays = [part for part in parts if isinstance(part, np.ndarray) and part.ndim == 1]
            sizes = self._sizes(shape)
            whole = len(arrays) == len(names) and sum(len(array) for array in arrays) == math.prod(sizes)
            if not whole or len({array.dtype for array in arrays}) != 1:
                self.refuse(f"parts of '{shown(str(name))}' that do not fit together")
            tree[name] = np.concatenate(arrays).reshape(sizes)
        return tree


def widened(bfloat16: np.ndarray) -> np.ndarray:
    """Give the float32 of bfloat16 bits: these are its upper half."""
    wide = np.empty(bfloat16.shape, np.uint32)
    np.left_shift(
        bfloat16, 16, out=wide, dtype=np.uint32
    )  # in one pass, and an array even where there are no axes
    return wide.view(np.float32)
