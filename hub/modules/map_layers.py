"""Layers over maps [N, C, H, W] with the values of paddle's, in forms that its kernels for CPUs are fast in.

On a GPU they are paddle's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F


class Conv2D(nn.Conv2D):
    """paddle's convolution over maps [N, C, H, W], with a bias that is added quickly.

    paddle adds it as [1, C, 1, 1], which its kernel takes many times as long for as for [C, 1, 1] where N is not 1. A
    compiler looks for paddle's own form. `attributes` are weight_attr and bias_attr.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        *,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        **attributes: Any,
    ) -> None:
        self._how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        super().__init__(channels_in, channels, kernel, **self._how, **attributes)

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None or not (_on_cpu() and paddle.in_dynamic_mode()):
            return super().forward(x)
        return F.conv2d(x, self.weight, None, **self._how) + self.bias.reshape([-1, 1, 1])


def _on_cpu() -> bool:
    return bool(paddle.get_device() == "cpu")


def sides(x: Tensor) -> Any:
    """Give [height, width] of maps: numbers, and tensors where a network is traced for maps of any size."""
    shape = x.shape if paddle.in_dynamic_mode() else paddle.shape(x)
    return [shape[2], shape[3]]


def mean_of_map(x: Tensor) -> Tensor:
    """Give the mean of each channel, [N, C] of [N, C, H, W].

    Flat: over two axes oneDNN, which keeps channels last, has nothing but its reference kernel.
    """
    return x.flatten(2).mean(axis=2)


def mean_of_rows(x: Tensor) -> Tensor:
    """Give the mean of each row of each channel, [N·C, H] of [N, C, H, W]: flat for the same reason."""
    return x.flatten(0, 1).mean(axis=2)


def mirrored(x: Tensor, width: int) -> Tensor:
    """Give maps with a border of so many cells, in which they are mirrored without the outermost cell.

    As F.pad(x, [width] * 4, mode="reflect") gives them, which takes twice as long.
    """
    if not _on_cpu():
        return F.pad(x, [width] * 4, mode="reflect")
    for axis in (2, 3):
        before = paddle.slice(x, [axis], [1], [width + 1])
        after = paddle.slice(x, [axis], [-width - 1], [-1])
        if width > 1:
            before, after = before.flip(axis), after.flip(axis)
        x = paddle.concat([before, x, after], axis)
    return x


def enlarged(x: Tensor, times: int = 2) -> Tensor:
    """Give maps so many times as high and wide, each cell a square of cells.

    As F.interpolate(x, scale_factor=times, mode="nearest") gives them, which takes four times as long, there and back.
    """
    if not _on_cpu():
        return F.interpolate(x, scale_factor=times, mode="nearest")
    height, width = sides(x)
    rows = x.flatten(0, 2).unsqueeze(2).expand([-1, -1, times]).flatten(1, 2)
    squares = rows.unsqueeze(1).expand([-1, times, -1])
    return squares.reshape([-1, x.shape[1], height * times, width * times])


def interpolated(x: Tensor, *, like: Tensor | None = None, times: int = 1) -> Tensor:
    """Give maps of the height and width of other ones, or so many times as high and wide, bilinearly.

    As F.interpolate(x, size, mode="bilinear") gives them, but for rounding, and as products of matrices: that takes a
    third of the time, there and back. A row of the matrix says what of each cell is in a new one: 1 minus
    its distance, and nothing from a distance of 1 on; the outermost cells go on beyond their middles. A compiler looks
    for paddle's own form.
    """
    new_height, new_width = (side * times for side in sides(x if like is None else like))
    if not (_on_cpu() and paddle.in_dynamic_mode()):
        return F.interpolate(x, [new_height, new_width], mode="bilinear")
    height, width = sides(x)
    across, down = _shares(width, new_width), _shares(height, new_height)
    return paddle.matmul(down.astype(x.dtype), paddle.matmul(x, across.astype(x.dtype), transpose_y=True))


def _shares(cells: int, new_cells: int) -> Tensor:
    """Give how much of each cell of a line is in each of the new ones, [new_cells, cells]."""
    middles = ((np.arange(new_cells) + 0.5) * cells / new_cells - 0.5).clip(0, cells - 1)
    distance = np.abs(middles[:, None] - np.arange(cells))
    return paddle.to_tensor(np.maximum(1 - distance, 0).astype(np.float32))
