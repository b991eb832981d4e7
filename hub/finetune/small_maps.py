"""Convolutions over small maps as one matrix product for a whole batch, while a network is trained on a CPU.

There paddle computes a convolution picture by picture. Where a map has few places these products are thin, and in the
backward pass the gradient of the whole filter, megabytes of it, is read and written once for every picture. With the
patches of all pictures in one matrix (im2col: Chellapilla, Puri and Simard 2006, "High performance convolutional neural
networks for document processing") it is touched once. benchmarks/small_maps.py measures what that is worth.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

LEAST_WEIGHTS = 200
"""Of a filter, for each two places of the map that comes out: with fewer the matrix of patches costs what it saves."""
MOST_PLACES = 49
"""Of a map that comes out of a filter of one place, 7×7: there the matrix costs nothing, and nothing more is won."""
MOST_BYTES = 64 * 2**20
"""Of the matrix of patches, which is as many times the size of the map as the filter has places."""


@contextmanager
def as_products(network: nn.Layer) -> Iterator[None]:
    """Let the convolutions of the network compute small maps so in the block; other maps as before.

    What comes out differs in the last bits. Nothing changes on a GPU.
    """
    chosen = [
        layer
        for layer in network.sublayers(include_self=True)
        if paddle.get_device() == "cpu" and type(layer) is nn.Conv2D and _is_plain(layer)
    ]
    for layer in chosen:
        layer.forward = MethodType(_forward, layer)
    try:
        yield
    finally:
        for layer in chosen:
            del layer.forward


def _is_plain(layer: nn.Conv2D) -> bool:
    """Say whether it is one filter over all channels, without gaps, zeros around it, channels first."""
    return (
        layer._groups == 1
        and list(layer._dilation) == [1, 1]
        and layer._padding_mode == "zeros"
        and layer._padding_algorithm == "EXPLICIT"
        and len(layer._updated_padding) == 2
        and layer._data_format == "NCHW"
    )


def _forward(layer: nn.Conv2D, x: Tensor) -> Tensor:
    count, channels, *size = x.shape
    filters, _, *window = layer.weight.shape
    stride, padding = layer._stride, layer._updated_padding
    height, width = (
        (side + 2 * border - part) // step + 1
        for side, border, part, step in zip(size, padding, window, stride, strict=True)
    )
    patch, places = channels * window[0] * window[1], height * width
    is_point = window == [1, 1] and not any(padding)
    pays = places <= MOST_PLACES if is_point else filters * patch >= LEAST_WEIGHTS * places**2
    if not (min(height, width) > 0 and pays and 4 * count * places * patch <= MOST_BYTES):
        return type(layer).forward(layer, x)
    if is_point:
        rows = x[:, :, :: stride[0], :: stride[1]].transpose([0, 2, 3, 1])
    else:
        rows = F.unfold(x, window, strides=stride, paddings=padding).transpose([0, 2, 1])
    made = paddle.matmul(rows.reshape([-1, patch]), layer.weight.reshape([filters, patch]), transpose_y=True)
    if layer.bias is not None:
        made = made + layer.bias
    return made.reshape([count, height, width, filters]).transpose([0, 3, 1, 2])
