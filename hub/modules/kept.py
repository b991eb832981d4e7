"""The compiled form of a network, kept from one batch and one call to the next where that pays.

What is kept of a network is good as long as its `mark` is the same.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from hub.errors import UsageError
from hub.modules import compiled, weights
from hub.modules.archs import FeatureSpec
from hub.modules.forks import computing
from hub.modules.network import infer

MUCH = 4_000_000
"""Pixels (of a text: pieces times the length of their vectors) from which on compiling about pays: those of 80
photographs of 224×224, or of 700 texts of 15 pieces with vectors of 384; for a network of less than 75 layers less."""

MUCH_FOR_MAPS = 500_000
"""The same for a network of maps, which has more to compute for each: two tiles of 512×512, for one of more than 60
layers more. For the thousand of OCRNet and FCN on HRNet, 35 tiles, about as many as compiling makes up for."""

BYTES_A_PIXEL = 1000
"""Bytes of weights that are looked through in the time that compiling saves for a pixel."""

Batch = np.ndarray | tuple[np.ndarray, ...]


@dataclass(frozen=True)
class _Wanted:
    """What a call wants to go through."""

    layer: nn.Layer
    of_maps: bool
    precision: str

    @property
    def always(self) -> bool:
        """Whether it must be compiled: only compiled layers have other precisions."""
        return self.precision != "fp32"


class Kept:
    """What was compiled of a layer, from one call to the next as long as it has the same weights.

    Weights may be changed by anybody at any time, so each call looks through all of them (a millisecond for 4 MB)
    before it uses what was compiled earlier. A call that has less to compute than that costs goes without, unless it
    asks for a precision that only compiled layers have. A copy has nothing compiled yet.
    """

    def __init__(self) -> None:
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._forward: compiled.Forward | None = None
        self._mark: object = None
        self._seen = 0

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()

    def run(
        self, layer: nn.Layer, spec: FeatureSpec, count: int, *, precision: str = "fp32"
    ) -> Callable[[Batch], Any]:
        """Give the way through the layer for a call with so many inputs; `spec` is that of the backbone in it.

        Calling it raises UsageError where the layer cannot be compiled for a `precision` other than "fp32".
        """
        wanted = _Wanted(layer, spec.kind == "map", precision)
        forward: compiled.Forward | None = None
        mark: object = None
        done = 0

        @computing()
        def run(batch: Batch) -> Any:
            nonlocal forward, mark, done
            if forward is None or (wanted.always and not forward.takes(batch)):
                first = batch[0] if isinstance(batch, tuple) else batch
                pixels = (
                    first.size * spec.channels if first.dtype.kind == "i" else first.size // first.shape[1]
                )
                done += pixels
                # A large picture is many tiles, so that more may go in than there are inputs.
                expected = max(done, count * pixels // len(first))
                if mark is None and (wanted.always or expected * BYTES_A_PIXEL >= weights.size_of(layer)):
                    mark = precision, _mark(layer)
                if mark is not None:
                    forward = self._forward_for(batch, wanted, mark, pixels, expected)
            return infer(layer, batch) if forward is None else forward(batch)

        return run

    def _forward_for(
        self, batch: Batch, wanted: _Wanted, mark: object, pixels: int, expected: int
    ) -> compiled.Forward | None:
        """Give what was compiled for such batches of a layer with this mark; None where that does not pay yet."""
        with self._one_at_a_time:
            if mark != self._mark:
                self._forward, self._mark, self._seen = None, mark, 0
            if self._forward is not None and self._forward.takes(batch):
                return self._forward
            self._seen += pixels
            if not wanted.always and max(self._seen, expected) < _enough(wanted.layer, wanted.of_maps):
                return None
            self._seen = 0
            problems: list[str] = []
            found = compiled.forward(
                wanted.layer, batch, say=problems.append, any_size=wanted.of_maps, precision=wanted.precision
            )
            if problems and wanted.always:
                raise UsageError(
                    f"precision={wanted.precision!r}: this network is not available in it ({problems[-1]})",
                    hint="leave precision out",
                )
            self._forward = found
            return found


_ALL: weakref.WeakSet[Kept] = weakref.WeakSet()


def _begin_anew() -> None:
    """Forget all that was compiled, in the child of a fork: other threads may have been at it, and are not there."""
    for each in list(_ALL):
        each._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _enough(layer: nn.Layer, of_maps: bool) -> float:
    """Give the pixels from which on compiling the layer pays: it takes longer the more layers there are."""
    layers = len(layer.sublayers())
    return MUCH_FOR_MAPS * max(1, layers / 60) if of_maps else MUCH * min(1, layers / 75)


def _tensors(layer: nn.Layer) -> list[Tensor]:
    return [*layer.parameters(), *layer.buffers()]


def mark(layer: nn.Layer) -> object:
    """Give what changes where a layer or a weight does."""
    return _layers(layer), [_checksum(each) for each in _tensors(layer)]


def _mark(layer: nn.Layer) -> object:
    """Give what changes where what was compiled of a layer is no longer right, and where the device does."""
    device = paddle.get_device()
    # What was compiled for a GPU computes with the weights themselves.
    return device, mark(layer) if device == "cpu" else _layers(layer)


def _layers(layer: nn.Layer) -> list[tuple[str, type[nn.Layer]]]:
    return [(name, type(each)) for name, each in layer.named_sublayers()]


def _checksum(tensor: Tensor) -> int:
    if not (tensor.is_contiguous() and tensor.place.is_cpu_place()):
        return zlib.crc32(tensor.numpy().tobytes())
    size = int(np.prod(tensor.shape)) * tensor.element_size()
    # In its place: a copy takes longer than the sum.
    return zlib.crc32((ctypes.c_ubyte * size).from_address(tensor.data_ptr())) if size else 0
