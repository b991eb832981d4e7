"""Networks that paint a picture in the style of another.

The input is content alone, pixels from 0 to 1 [N, 3, H, W], painted in the first style that the network keeps; or a
tuple of content and which kept style each is for, int64 [N] (counted round and round); or of content and pictures of
the styles [N, 3, h, w]. The output is pixels [N, 3, H, W] from 0 to 1, MSG-Net's here and there a
little beyond. Sides of content are multiples of 4.

The styles that a network keeps are pictures, buffers among its weights: with one that is fine-tuned they travel along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.errors import InputError, UsageError
from hub.modules.archs.base import Backbone, FeatureSpec, Stage, register
from hub.modules.map_layers import Conv2D, enlarged, mean_of_map, mirrored, sides

SLOTS = 4
STYLE_SIDE = 128
MULTIPLE = 4
TINY = 1e-5


class Stylizer(Backbone):
    """What both networks share: kept styles, and what they take and give."""

    feature_spec = FeatureSpec("map", (3, None, None))
    styles: Tensor
    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("styles", paddle.zeros([SLOTS, 3, STYLE_SIDE, STYLE_SIDE], "uint8"))
        self.register_buffer("kept", paddle.zeros([], "int64"))

    def keep(self, pictures: Sequence[np.ndarray]) -> None:
        """Keep styles, uint8 [STYLE_SIDE, STYLE_SIDE, 3] each, in the place of those it had. Raises UsageError."""
        if not 1 <= len(pictures) <= SLOTS:
            raise UsageError(f"style: expected 1 to {SLOTS} pictures, found {len(pictures)}")
        whole = np.zeros([SLOTS, 3, STYLE_SIDE, STYLE_SIDE], np.uint8)
        whole[: len(pictures)] = np.stack(pictures).transpose(0, 3, 1, 2)
        self.styles.set_value(whole)
        self.kept.set_value(np.array(len(pictures)))

    def check(self, x: Any) -> None:
        content = x[0] if isinstance(x, tuple | list) else x
        if content.ndim != 4 or content.shape[1] != 3:
            raise InputError(f"expected pictures [N, 3, H, W], found {list(content.shape)}")
        # While it is traced, nobody knows the size.
        if paddle.in_dynamic_mode() and any(side % MULTIPLE for side in content.shape[2:]):
            raise InputError(
                f"expected sides that are multiples of {MULTIPLE}, found {list(content.shape[2:])}"
            )

    def content_and_style(self, x: Any) -> tuple[Tensor, Tensor]:
        """Give content and a style picture for each."""
        content, style = x if isinstance(x, tuple | list) else (x, paddle.zeros([x.shape[0]], "int64"))
        if style.ndim == 1:
            number = style % paddle.clip(self.kept, min=1)
            style = self.styles.astype("float32").gather(number) / 255
        return content, style


# ---- the small one ----


class _Encoder(nn.Layer):
    """Three scales of 2 · width, 4 · width and, at a quarter of the size, 4 · width channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.scale1 = nn.Sequential(_Conv(3, w), nn.ReLU(), _Conv(w, w), nn.ReLU())
        self.scale2 = nn.Sequential(_Conv(w, 2 * w, stride=2), nn.ReLU(), _Conv(2 * w, 2 * w), nn.ReLU())
        self.scale3 = nn.Sequential(_Conv(2 * w, 4 * w, stride=2), nn.ReLU(), _Conv(4 * w, 4 * w), nn.ReLU())

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        x = x * 2 - 1
        for scale in (self.scale1, self.scale2, self.scale3):
            x = scale(x)
            maps.append(x)
        return maps


class _Conv(nn.Layer):
    """A 3×3 convolution whose border is mirrored: zeros would frame the painting."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = Conv2D(channels_in, channels_out, 3, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(mirrored(x, 1))


class _Block(nn.Layer):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _Conv(channels, channels), _Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


@register("small_stylizer")
class SmallStylizer(Stylizer):
    """Adaptive instance normalisation (Huang and Belongie 2017, https://arxiv.org/abs/1703.06868) at two scales.

    An encoder looks at content and style; content's features get the mean and deviation that style's have, channel by
    channel; a decoder paints from them. `width` 24 makes 490,000 parameters.
    """

    def __init__(self, *, width: int = 24, blocks: int = 2) -> None:
        super().__init__()
        w = width
        self.encoder = _Encoder(w)
        self.deep = nn.Sequential(*(_Block(4 * w) for _ in range(blocks)), _Conv(4 * w, 2 * w), nn.ReLU())
        self.middle = nn.Sequential(_Conv(4 * w, 2 * w), nn.ReLU(), _Conv(2 * w, w), nn.ReLU())
        self.fine = nn.Sequential(_Conv(w, w), nn.ReLU(), _Conv(w, 3))

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        return [("encoder", [self.encoder, _Buffers(self)]), ("decoder", [self.deep, self.middle, self.fine])]

    def stages(self) -> list[tuple[str, Stage]]:
        return [("encoder", self._encode), ("decoder", self._decode)]

    def _encode(self, x: Any) -> tuple[Tensor, ...]:
        content, style = self.content_and_style(x)
        _, second, third = self.encoder(content)
        _, second_wanted, third_wanted = self.encoder(style)
        return _renormalized(second, second_wanted), _renormalized(third, third_wanted)

    def _decode(self, maps: tuple[Tensor, Tensor]) -> Tensor:
        second, third = maps
        x = enlarged(self.deep(third))
        x = enlarged(self.middle(paddle.concat([x, second], axis=1)))
        return F.sigmoid(self.fine(x))


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Give mean and deviation of each channel, [N, C, 1, 1]."""
    mean = mean_of_map(x).unsqueeze([2, 3])
    return mean, (mean_of_map((x - mean).square()) + TINY).sqrt().unsqueeze([2, 3])


def _renormalized(content: Tensor, style: Tensor) -> Tensor:
    mean, deviation = moments(content)
    wanted_mean, wanted_deviation = moments(style)
    return (content - mean) / deviation * wanted_deviation + wanted_mean


class _Buffers(nn.Layer):
    """The kept styles as a layer of their own, so that every buffer is in a group."""

    def __init__(self, owner: Stylizer) -> None:
        super().__init__()
        self.register_buffer("styles", owner.styles)
        self.register_buffer("kept", owner.kept)


# ---- MSG-Net ----


class _ConvLayer(nn.Layer):
    """Mirrored border, then a convolution; `upsample` enlarges first."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, upsample: int = 1
    ) -> None:
        super().__init__()
        self.pad, self.upsample = kernel // 2, upsample
        self.conv2d = Conv2D(channels_in, channels_out, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        if self.upsample > 1:
            x = enlarged(x, self.upsample)
        if self.pad:
            x = mirrored(x, self.pad)
        return self.conv2d(x)


class _Bottleneck(nn.Layer):
    """A residual block with the activation first, which may halve or double the size."""

    def __init__(
        self, channels: int, planes: int, *, stride: int = 1, change: bool = False, upsample: int = 1
    ) -> None:
        super().__init__()
        wide = planes * 4
        self.residual_layer: nn.Layer = nn.Identity()
        if upsample > 1:
            self.residual_layer = _ConvLayer(channels, wide, 1, upsample=upsample)
        elif change:
            self.residual_layer = Conv2D(channels, wide, 1, stride)
        self.conv_block = nn.Sequential(
            nn.InstanceNorm2D(channels), nn.ReLU(), Conv2D(channels, planes, 1),
            nn.InstanceNorm2D(planes), nn.ReLU(), _ConvLayer(planes, planes, 3, stride, upsample),
            nn.InstanceNorm2D(planes), nn.ReLU(), Conv2D(planes, wide, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.residual_layer(x) + self.conv_block(x)


class _Inspiration(nn.Layer):
    """Turns content's features by a learnt matrix times the Gram matrix of style's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = self.create_parameter(
            [1, channels, channels], default_initializer=nn.initializer.Uniform(0, 0.02)
        )

    def forward(self, x: Tensor, gram: Tensor) -> Tensor:
        mixed = paddle.matmul(self.weight, gram).transpose([0, 2, 1])
        return paddle.bmm(mixed, x.flatten(2)).reshape([-1, x.shape[1], *sides(x)])


@register("msgnet")
class MSGNet(Stylizer):
    """MSG-Net (Zhang and Dana 2017, https://arxiv.org/abs/1703.06953): the style enters as a Gram matrix.

    Parameters are called as in the weights that PaddleHub published, less those that stand in them twice
    (`from_published`). They take and give pixels from 0 to 255, blue first.
    """

    def __init__(self, *, ngf: int = 128, n_blocks: int = 6) -> None:
        super().__init__()
        wide = ngf * 4
        down = [
            _ConvLayer(3, 64, 7), nn.InstanceNorm2D(64), nn.ReLU(), _Bottleneck(64, 32, stride=2, change=True),
            _Bottleneck(128, ngf, stride=2, change=True),
        ]  # fmt: skip
        up = [
            *(_Bottleneck(wide, ngf) for _ in range(n_blocks)), _Bottleneck(wide, 32, upsample=2),
            _Bottleneck(128, 16, upsample=2), nn.InstanceNorm2D(64), nn.ReLU(), _ConvLayer(64, 3, 7),
        ]  # fmt: skip
        self.model = nn.Sequential(*down, _Inspiration(wide), *up)
        self._cut = len(down)

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        layers, cut = list(self.model), self._cut
        return [
            ("encoder", [*layers[:cut], _Buffers(self)]),
            ("style", [layers[cut]]),
            ("decoder", layers[cut + 1 :]),
        ]

    def stages(self) -> list[tuple[str, Stage]]:
        return [
            ("encoder", self._encode),
            ("style", lambda x: self.model[self._cut](*x)),
            ("decoder", self._decode),
        ]

    def _encode(self, x: Any) -> tuple[Tensor, Tensor]:
        content, style = (self._down(picture[:, ::-1] * 255) for picture in self.content_and_style(x))
        return content, gram(style)

    def _down(self, x: Tensor) -> Tensor:
        for layer in list(self.model)[: self._cut]:
            x = layer(x)
        return x

    def _decode(self, x: Tensor) -> Tensor:
        for layer in list(self.model)[self._cut + 1 :]:
            x = layer(x)
        return x[:, ::-1] / 255  # not clipped: what is beyond black or white still has to learn

    def from_published(
        self, state: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
        """Give the state without the encoder and the style matrix that stand in it a second time; there is no head.

        Its instance norms were trained without scale and bias: what stands there is replaced by 1 and 0, as PaddleHub
        does. The styles that it was trained on are no part of it: it comes with none, `keep` your own.
        """
        kept = {name: array for name, array in state.items() if not name.startswith(("model1.", "ins."))}
        for scale in [name for name in kept if name.endswith(".scale")]:
            bias = scale.removesuffix("scale") + "bias"
            kept |= {scale: np.ones_like(kept[scale]), bias: np.zeros_like(kept[scale])}
        fresh = Stylizer()
        return kept | {"styles": fresh.styles.numpy(), "kept": fresh.kept.numpy()}, None


def gram(maps: Tensor) -> Tensor:
    """Give the Gram matrix of the channels, [N, C, C], over the number of all values of a map."""
    height, width = sides(maps)
    flat = maps.flatten(2)
    values = maps.shape[1] * height * width
    return paddle.bmm(flat, flat.transpose([0, 2, 1])) / (
        values if paddle.in_dynamic_mode() else values.astype(flat.dtype)
    )
