"""Networks that guess colours from lightness and from hints.

The input is a tuple: lightness [N, 1, H, W] as L/100 - 0.5, and hints [N, 3, H, W]: a/110, b/110 (0 where nothing is
known) and 0.5 where a colour is given, -0.5 elsewhere. The output is a tuple too: for every fourth pixel the logits of
529 colour bins [N, 529, H/4, W/4], and for every pixel a/110 and b/110 [N, 2, H, W]. H and W are multiples of 8.
"""

from __future__ import annotations

from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.errors import InputError
from hub.modules.archs.base import Backbone, FeatureSpec, Stage, register
from hub.modules.map_layers import Conv2D, enlarged

BINS = 23 * 23
"""A grid of a and b from -110 to 110 in steps of 10."""
MULTIPLE = 8


class Colorizer(Backbone):
    """What both networks share: what they take and give."""

    input_channels = 4
    feature_spec = FeatureSpec("map", (2, None, None))

    def check(self, x: Any) -> None:
        if not isinstance(x, tuple | list) or len(x) != 2 or x[0].shape[1] != 1 or x[1].shape[1] != 3:
            raise InputError("expected lightness [N, 1, H, W] and hints [N, 3, H, W], found another input")
        # While it is traced, nobody knows the size.
        if paddle.in_dynamic_mode() and any(side % MULTIPLE for side in x[0].shape[2:]):
            raise InputError(f"expected sides that are multiples of {MULTIPLE}, found {list(x[0].shape[2:])}")


def _convs(*channels: int, dilation: int = 1) -> list[nn.Layer]:
    layers: list[nn.Layer] = []
    for before, after in zip(channels[:-1], channels[1:], strict=True):
        layers += [Conv2D(before, after, 3, padding=dilation, dilation=dilation), nn.ReLU()]
    return [*layers, nn.BatchNorm2D(channels[-1])]


def _up(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2DTranspose(channels_in, channels_out, 4, stride=2, padding=1))


def _half(x: Tensor) -> Tensor:
    return x[:, :, ::2, ::2]


@register("user_guided_colorization")
class UserGuidedColorization(Colorizer):
    """The network of Zhang et al. 2017 (https://arxiv.org/abs/1705.02999), 34 million parameters.

    Parameters are called as in the weights that PaddleHub published.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model1 = nn.Sequential(*_convs(4, 64, 64))
        self.model2 = nn.Sequential(*_convs(64, 128, 128))
        self.model3 = nn.Sequential(*_convs(128, 256, 256, 256))
        self.model4 = nn.Sequential(*_convs(256, 512, 512, 512))
        self.model5 = nn.Sequential(*_convs(512, 512, 512, 512, dilation=2))
        self.model6 = nn.Sequential(*_convs(512, 512, 512, 512, dilation=2))
        self.model7 = nn.Sequential(*_convs(512, 512, 512, 512))
        self.model8up = _up(512, 256)
        self.model3short8 = nn.Sequential(Conv2D(256, 256, 3, padding=1))
        self.model8 = nn.Sequential(nn.ReLU(), *_convs(256, 256, 256))
        self.model9up = _up(256, 128)
        self.model2short9 = nn.Sequential(Conv2D(128, 128, 3, padding=1))
        self.model9 = nn.Sequential(nn.ReLU(), *_convs(128, 128))
        self.model10up = _up(128, 128)
        self.model1short10 = nn.Sequential(Conv2D(64, 128, 3, padding=1))
        self.model10 = nn.Sequential(nn.ReLU(), Conv2D(128, 128, 3, padding=1), nn.LeakyReLU(0.2))
        self.model_class = nn.Sequential(Conv2D(256, BINS, 1))
        self.model_out = nn.Sequential(Conv2D(128, 2, 1), nn.Tanh())

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        return [
            ("conv1", [self.model1]),
            ("conv2", [self.model2]),
            ("conv3", [self.model3]),
            *((f"conv{n}", [getattr(self, f"model{n}")]) for n in range(4, 8)),
            ("conv8", [self.model8up, self.model3short8, self.model8]),
            ("conv9", [self.model9up, self.model2short9, self.model9]),
            ("conv10", [self.model10up, self.model1short10, self.model10, self.model_class, self.model_out]),
        ]

    def stages(self) -> list[tuple[str, Stage]]:
        """Give the stages; what the decoder needs of the encoder is handed on, the newest last."""
        middle: list[tuple[str, Stage]] = [
            (f"conv{n}", _on_last(getattr(self, f"model{n}"))) for n in range(5, 8)
        ]
        return [
            ("conv1", lambda x: (self.model1(paddle.concat(list(x), axis=1)),)),
            ("conv2", lambda x: (*x, self.model2(_half(x[-1])))),
            ("conv3", lambda x: (*x, self.model3(_half(x[-1])))),
            ("conv4", lambda x: (*x, self.model4(_half(x[-1])))),
            *middle,
            ("conv8", lambda x: (*x[:2], self.model8(self.model8up(x[3]) + self.model3short8(x[2])))),
            ("conv9", lambda x: (x[0], x[2], self.model9(self.model9up(x[2]) + self.model2short9(x[1])))),
            ("conv10", self._answer),
        ]

    def _answer(self, x: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        first, eighth, ninth = x
        last = self.model10(self.model10up(ninth) + self.model1short10(first))
        return self.model_class(eighth), self.model_out(last)


def _on_last(layer: nn.Layer) -> Stage:
    return lambda x: (*x[:-1], layer(x[-1]))


@register("small_colorizer")
class SmallColorizer(Colorizer):
    """The same shape at a fraction of the size: three scales down, three up, shortcuts between them.

    `width` 24 makes 430,000 parameters, which colour a picture of 128×128 in some 30 ms on one core.
    """

    def __init__(self, *, width: int = 24) -> None:
        super().__init__()
        w = width
        self.down1 = nn.Sequential(*_convs(4, w, w))
        self.down2 = nn.Sequential(*_convs(w, 2 * w, 2 * w))
        self.down3 = nn.Sequential(*_convs(2 * w, 4 * w, 4 * w))
        self.down4 = nn.Sequential(*_convs(4 * w, 4 * w, 4 * w, dilation=2))
        self.up3 = nn.Sequential(Conv2D(8 * w, 4 * w, 1), *_convs(4 * w, 2 * w))
        self.classes = Conv2D(2 * w, BINS, 1)
        self.up2 = nn.Sequential(Conv2D(4 * w, 2 * w, 1), *_convs(2 * w, w))
        self.up1 = nn.Sequential(Conv2D(2 * w, w, 1), *_convs(w, w))
        self.colours = Conv2D(w, 2, 1)

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        return [
            *((f"down{n}", [getattr(self, f"down{n}")]) for n in range(1, 5)),
            ("up3", [self.up3]),
            ("up2", [self.up2]),
            ("up1", [self.up1, self.classes, self.colours]),
        ]

    def stages(self) -> list[tuple[str, Stage]]:
        return [
            ("down1", lambda x: (self.down1(paddle.concat(list(x), axis=1)),)),
            ("down2", lambda x: (*x, self.down2(F.avg_pool2d(x[-1], 2)))),
            ("down3", lambda x: (*x, self.down3(F.avg_pool2d(x[-1], 2)))),
            ("down4", lambda x: (*x, self.down4(F.avg_pool2d(x[-1], 2)))),
            ("up3", lambda x: (*x[:2], self.up3(_joined(x[2], x[3])))),
            ("up2", lambda x: (x[0], x[2], self.up2(_joined(x[1], x[2])))),
            ("up1", self._answer),
        ]

    def _answer(self, x: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        first, third, second = x
        return self.classes(third), F.tanh(self.colours(self.up1(_joined(first, second))))


def _joined(skip: Tensor, below: Tensor) -> Tensor:
    return paddle.concat([skip, enlarged(below)], axis=1)
