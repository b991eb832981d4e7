"""The compiled form of a network, kept from one batch and one call to the next where that pays."""

from __future__ import annotations

import ctypes
import threading
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from hub.modules import compiled
from hub.modules.archs import FeatureSpec
from hub.modules.network import infer

MUCH = 4_000_000
"""Pixels (of a text: pieces times the length of their vectors) from which on compiling about pays: those of 80
photographs of 224×224, or of 700 texts of 15 pieces with vectors of 384. A network of less than 75 layers takes less
time to compile, and less is enough for it."""

MUCH_FOR_MAPS = 500_000
"""The same for a network of maps, which has more to compute for each: two tiles of 512×512, for one of 60 layers. One
of more takes longer to compile: ten tiles for HRNet."""

MOST_TIMES = 5

BYTES_A_PIXEL = 1000
"""Bytes of weights that are looked through in the time that compiling saves for a pixel."""

Batch = np.ndarray | tuple[np.ndarray, ...]


class Kept:
    """What was compiled of a layer, from one call to the next as long as it has the same weights.

    Weights may be changed by anybody at any time, so each call looks through all of them (a millisecond for 4 MB)
    before it uses what was compiled earlier. A call that has less to compute than that costs goes without. A copy has
    nothing compiled yet.
    """

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._forward: compiled.Forward | None = None
        self._mark: object = None
        self._seen = 0

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()

    def call(self, layer: nn.Layer, spec: FeatureSpec, count: int) -> Call:
        """Give the way through the layer for one call with so many inputs; `spec` is that of the backbone in it."""
        return Call(self, layer, spec, count)

    def forward(self, layer: nn.Layer, mark: object, batch: Batch, work: Work) -> compiled.Forward | None:
        """Give what was compiled for such batches of the layer with this mark; None where that does not pay yet."""
        with self._one_at_a_time:
            if mark != self._mark:
                self._forward, self._mark, self._seen = None, mark, 0
            if self._forward is not None and self._forward.takes(batch):
                return self._forward
            self._seen += work.batch
            if max(self._seen, work.call) < _enough(layer, of_maps=work.of_maps):
                return None
            self._seen = 0
            self._forward = compiled.forward(
                layer, batch, samples=compiled.LEAST_SAMPLES, say=lambda text: None, any_size=work.of_maps
            )
            return self._forward


@dataclass(frozen=True)
class Work:
    """How much there is to compute, in pixels: for a batch, and for the call that it is of as far as one can tell."""

    batch: int
    call: int
    of_maps: bool


class Call:
    """The way through a layer for the batches of one call."""

    def __init__(self, kept: Kept, layer: nn.Layer, spec: FeatureSpec, count: int) -> None:
        self._kept, self._layer, self._spec, self._count = kept, layer, spec, count
        self._forward: compiled.Forward | None = None
        self._mark: object = None
        self._done = 0

    def __call__(self, batch: Batch) -> Any:
        """Give what the layer makes of a batch."""
        if self._forward is None:
            work = self._work(batch)
            if self._mark is None and work.call * BYTES_A_PIXEL >= _size(self._layer):
                self._mark = _mark(self._layer)
            if self._mark is not None:
                self._forward = self._kept.forward(self._layer, self._mark, batch, work)
        return infer(self._layer, batch) if self._forward is None else self._forward(batch)

    def _work(self, batch: Batch) -> Work:
        first = batch[0] if isinstance(batch, tuple) else batch
        pixels = first.size * self._spec.channels if first.dtype.kind == "i" else first.size // first.shape[1]
        self._done += pixels
        # A large picture is many tiles, so that more may go in than there are inputs.
        call = max(self._done, self._count * pixels // len(first))
        return Work(pixels, call, self._spec.kind == "map")


def _enough(layer: nn.Layer, *, of_maps: bool) -> float:
    """Give the pixels from which on compiling the layer pays."""
    layers = len(layer.sublayers())
    return MUCH_FOR_MAPS * min(MOST_TIMES, max(1, layers / 60)) if of_maps else MUCH * min(1, layers / 75)


def _tensors(layer: nn.Layer) -> list[Tensor]:
    return [*layer.parameters(), *layer.buffers()]


def _size(layer: nn.Layer) -> int:
    """Give the bytes of the weights."""
    return sum(int(np.prod(each.shape)) * each.element_size() for each in _tensors(layer))


def _mark(layer: nn.Layer) -> object:
    """Give what changes where a layer, a weight or the device does."""
    device = paddle.get_device()
    # What was compiled for a GPU computes with the weights themselves.
    sums = [_checksum(each) for each in _tensors(layer)] if device == "cpu" else []
    return device, [(name, type(each)) for name, each in layer.named_sublayers()], sums


def _checksum(tensor: Tensor) -> int:
    if not tensor.is_contiguous():
        return zlib.crc32(tensor.numpy().tobytes())
    size = int(np.prod(tensor.shape)) * tensor.element_size()
    # In its place: a copy takes longer than the sum.
    return zlib.crc32((ctypes.c_ubyte * size).from_address(tensor.data_ptr())) if size else 0
