"""DeepLabV3+ on ResNet-vd (Chen et al. 2018, https://arxiv.org/abs/1802.02611), named as in PaddleSeg's networks.

The last stages of the encoder do not halve the picture but look at cells further apart; the context of each cell is
then gathered at several distances, enlarged, and joined with the fine map of the first stage. The last convolution,
which gives the classes, is the task's head.

Names, shapes and values are those of PaddleSeg's code; its published checkpoints could not be fetched to be compared.
"""

from __future__ import annotations

from typing import Any

import paddle
from paddle import Tensor, nn

from hub.errors import SpecError
from hub.modules.archs.base import Backbone, FeatureSpec, Stage, register, require_pictures
from hub.modules.archs.resnet_vd import ConvNorm, ResNetVDLayers
from hub.modules.map_layers import interpolated

DEPTHS = (50, 101)
RATES = {8: ((1, 1, 2, 4), (1, 12, 24, 36)), 16: ((1, 1, 1, 2), (1, 6, 12, 18))}
"""Pixels for each cell of the last map: (dilation of each stage, of each branch that gathers context)."""
GRID = (1, 2, 4)
"""By how much the three blocks of the last stage look further yet, as PaddleSeg's checkpoints were trained."""
SMALLEST = 32


class _Separable(nn.Layer):
    """A 3×3 convolution of each channel for itself, and a 1×1 of all (its published name has the typing error)."""

    def __init__(self, channels_in: int, channels: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.depthwise_conv = ConvNorm(
            channels_in, channels_in, 3, dilation=dilation, groups=channels_in, bias=True, relu=False
        )
        self.piontwise_conv = ConvNorm(channels_in, channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.piontwise_conv(self.depthwise_conv(x))


class _Context(nn.Layer):
    """What is around each cell, at several distances and in the whole picture."""

    def __init__(self, channels_in: int, channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        first, *wider = rates
        assert first == 1, "the first branch looks at the cell alone"
        self.aspp_blocks = nn.LayerList(
            [
                ConvNorm(channels_in, channels, bias=True),
                *(_Separable(channels_in, channels, dilation=rate) for rate in wider),
            ]
        )
        self.global_avg_pool = nn.Sequential(nn.AdaptiveAvgPool2D(1), ConvNorm(channels_in, channels))
        self.conv_bn_relu = ConvNorm(channels * (len(rates) + 1), channels, bias=True)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [block(x) for block in self.aspp_blocks]
        whole = self.global_avg_pool(x).expand_as(seen[0])
        return self.dropout(self.conv_bn_relu(paddle.concat([*seen, whole], axis=1)))


class _Decoder(nn.Layer):
    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv_bn_relu1 = ConvNorm(channels_in, 48, bias=True)
        self.conv_bn_relu2 = _Separable(48 + channels, channels)
        self.conv_bn_relu3 = _Separable(channels, channels)

    def forward(self, context: Tensor, fine: Tensor) -> Tensor:
        fine = self.conv_bn_relu1(fine)
        context = interpolated(context, like=fine)
        return self.conv_bn_relu3(self.conv_bn_relu2(paddle.concat([context, fine], axis=1)))


class _Head(nn.Layer):
    def __init__(self, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.aspp = _Context(2048, 256, rates)
        self.decoder = _Decoder(256, 256)


@register("deeplabv3p")
class DeepLabV3Plus(Backbone):
    """DeepLabV3+ on ResNet-50-vd or 101-vd, with one cell of its last map for 8 or 16 pixels."""

    published_head = ("head.decoder.conv.",)

    def __init__(self, *, depth: int = 50, stride: int = 8) -> None:
        super().__init__()
        for name, value, allowed in (("depth", depth, DEPTHS), ("stride", stride, RATES)):
            if value not in allowed:
                choices = " or ".join(map(str, allowed))
                raise SpecError(f"arch.{name}: expected {choices}, found {value!r}")
        dilations, rates = RATES[stride]
        self.backbone = ResNetVDLayers(depth, dilations=dilations, grid=GRID)
        self.head = _Head(rates)
        self.feature_spec = FeatureSpec("map", (256, None, None), 4)

    def check(self, x: Tensor) -> None:
        """Raise InputError for anything but pictures of SMALLEST pixels a side and more."""
        require_pictures(x, smallest=SMALLEST)

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        return [*self.backbone.groups(), ("context", [self.head.aspp]), ("decoder", [self.head.decoder])]

    def stages(self) -> list[tuple[str, Stage]]:
        def run(group: str, layers: list[nn.Layer]) -> Stage:
            def stage(given: Any) -> Any:
                fine, x = given if isinstance(given, tuple) else (None, given)
                for layer in layers:
                    x = layer(x)
                if group == "stage1":
                    fine = x
                return x if fine is None else (fine, x)

            return stage

        return [
            *((name, run(name, layers)) for name, layers in self.backbone.groups()),
            ("context", lambda maps: (maps[0], self.head.aspp(maps[1]))),
            ("decoder", lambda maps: self.head.decoder(maps[1], maps[0])),
        ]
