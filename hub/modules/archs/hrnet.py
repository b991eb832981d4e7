"""HRNet with the heads of FCN and OCRNet, under the names that PaddleSeg's networks have.

HRNet keeps maps of four sizes side by side and lets them exchange what they see (Wang et al. 2019,
https://arxiv.org/abs/1908.07919). FCN puts one layer on all of them; OCRNet describes each pixel by the regions of the
picture that it belongs to (Yuan et al. 2019, https://arxiv.org/abs/1909.11065). The last convolution, which gives the
classes, is the task's head and no part of these networks.

Names, shapes and values are those of PaddleSeg's code; its published checkpoints could not be fetched to be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.errors import SpecError
from hub.modules.archs.base import Backbone, FeatureSpec, Stage, register, require_pictures, require_whole
from hub.modules.map_layers import Conv2D, interpolated

WIDTHS = (18, 30, 32, 40, 44, 48, 60, 64)
MODULES = {2: 1, 3: 4, 4: 3}
"""How many exchanges each stage has; stage n has maps of n sizes."""
BLOCKS = 4
SMALLEST = 32
Maps = tuple[Tensor, ...]


class ConvNorm(nn.Layer):
    """A convolution that keeps the size (or halves it), its normalisation, and a ReLU unless told otherwise."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        relu: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        # "SAME" pads a stride of 2 at the right and at the bottom only, as the published networks were trained
        self._conv = Conv2D(
            channels_in, channels, kernel, stride, padding="SAME", bias_attr=None if bias else False
        )
        self._batch_norm = nn.BatchNorm2D(channels)
        self._relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self._batch_norm(self._conv(x))
        return F.relu(x) if self._relu else x


class _Bottleneck(nn.Layer):
    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels_in, channels, 1)
        self.conv2 = ConvNorm(channels, channels, 3)
        self.conv3 = ConvNorm(channels, 4 * channels, 1, relu=False)
        self.projects = channels_in != 4 * channels
        if self.projects:
            self.conv_down = ConvNorm(channels_in, 4 * channels, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.conv_down(x) if self.projects else x
        return F.relu(self.conv3(self.conv2(self.conv1(x))) + shortcut)


class _Basic(nn.Layer):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, channels, 3)
        self.conv2 = ConvNorm(channels, channels, 3, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(self.conv1(x)) + x)


class _Transition(nn.Layer):
    """One size more than before: the last map halved, and others brought to the channels that they need."""

    def __init__(self, before: Sequence[int], after: Sequence[int], name: str) -> None:
        super().__init__()
        self._new = len(before)
        for n, channels in enumerate(after):
            if n >= len(before) or before[n] != channels:
                stride = 1 if n < len(before) else 2
                own = before[n] if n < len(before) else before[-1]
                self.add_sublayer(
                    f"transition_{name}_layer_{n + 1}", ConvNorm(own, channels, 3, stride=stride)
                )
        self._run = [self._sub_layers.get(f"transition_{name}_layer_{n + 1}") for n in range(len(after))]

    def forward(self, maps: Maps) -> Maps:
        given = [*maps, *[maps[-1]] * (len(self._run) - len(maps))]
        return tuple(x if layer is None else layer(x) for layer, x in zip(self._run, given))  # noqa: B905 - traced


class _Branches(nn.Layer):
    def __init__(self, channels: Sequence[int], name: str) -> None:
        super().__init__()
        self._name, self._count = name, len(channels)
        for n, width in enumerate(channels, 1):
            for block in range(1, BLOCKS + 1):
                self.add_sublayer(f"bb_{name}_branch_layer_{n}_{block}", _Basic(width))

    def forward(self, maps: Maps) -> Maps:
        out = []
        for n, x in enumerate(maps, 1):
            for block in range(1, BLOCKS + 1):
                x = self._sub_layers[f"bb_{self._name}_branch_layer_{n}_{block}"](x)
            out.append(x)
        return tuple(out)


class _Fuse(nn.Layer):
    """Every map becomes the sum of all, brought to its size and channels."""

    def __init__(self, channels: Sequence[int], name: str) -> None:
        super().__init__()
        self._name = f"residual_{name}_layer"
        for to in range(len(channels)):
            for source in range(len(channels)):
                if source > to:
                    layer = ConvNorm(channels[source], channels[to], 1, relu=False)
                    self.add_sublayer(f"{self._name}_{to + 1}_{source + 1}", layer)
                for step in range(1, to - source + 1):
                    last = step == to - source
                    width = channels[to] if last else channels[source]
                    layer = ConvNorm(channels[source], width, 3, stride=2, relu=not last)
                    self.add_sublayer(f"{self._name}_{to + 1}_{source + 1}_{step}", layer)

    def forward(self, maps: Maps) -> Maps:
        out = []
        for to, own in enumerate(maps):
            total = own
            for source, x in enumerate(maps):
                if source > to:
                    x = self._sub_layers[f"{self._name}_{to + 1}_{source + 1}"](x)
                    total = total + interpolated(x, like=own)
                elif source < to:
                    for step in range(1, to - source + 1):
                        x = self._sub_layers[f"{self._name}_{to + 1}_{source + 1}_{step}"](x)
                    total = total + x
            out.append(F.relu(total))
        return tuple(out)


class _Exchange(nn.Layer):
    def __init__(self, channels: Sequence[int], name: str) -> None:
        super().__init__()
        self.branches_func = _Branches(channels, name)
        self.fuse_func = _Fuse(channels, name)

    def forward(self, maps: Maps) -> Maps:
        return self.fuse_func(self.branches_func(maps))


class HRNet(nn.Layer):
    """The layers that FCN and OCRNet share, which come one after the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = [width * 2**n for n in range(4)]
        self.channels = sum(channels)
        self.conv_layer1_1 = ConvNorm(3, 64, 3, stride=2)
        self.conv_layer1_2 = ConvNorm(64, 64, 3, stride=2)
        blocks = [_Bottleneck(64 if n == 0 else 256, 64) for n in range(BLOCKS)]
        self.la1 = nn.Sequential(*((f"bb_layer2_{n}", block) for n, block in enumerate(blocks, 1)))
        before: Sequence[int] = [256]
        for stage, count in MODULES.items():
            after = channels[:stage]
            self.add_sublayer(f"tr{stage - 1}", _Transition(before, after, f"tr{stage - 1}"))
            exchanges = [
                (f"stage_st{stage}_{n}", _Exchange(after, f"st{stage}_{n}")) for n in range(1, count + 1)
            ]
            self.add_sublayer(f"st{stage}", nn.Sequential(*exchanges))
            before = after

    def groups(self) -> list[tuple[str, list[nn.Layer]]]:
        """Give the parts from the input on."""
        first = ["conv_layer1_1", "conv_layer1_2", "la1"]
        names = [("stem", first), *((f"stage{n}", [f"tr{n - 1}", f"st{n}"]) for n in MODULES)]
        return [(group, [self._sub_layers[name] for name in layers]) for group, layers in names]


class _Segmenter(Backbone):
    """HRNet and a head that ends in a map at a quarter of the picture's size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        if width not in WIDTHS:
            raise SpecError(f"arch.width: expected one of {', '.join(map(str, WIDTHS))}, found {width!r}")
        self.backbone = HRNet(width)

    def check(self, x: Tensor) -> None:
        """Raise InputError for anything but pictures of SMALLEST pixels a side and more."""
        require_pictures(x, smallest=SMALLEST)

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        return [*self.backbone.groups(), ("context", [self.head])]

    def stages(self) -> list[tuple[str, Stage]]:
        def run(layers: list[nn.Layer]) -> Stage:
            def stage(x: Any) -> Any:
                for layer in layers:
                    x = layer(x)
                return x

            return stage

        (stem, first), *rest = self.backbone.groups()
        begin = run(first)
        return [
            (stem, lambda x: (begin(x),)),
            *((name, run(layers)) for name, layers in rest),
            ("context", lambda maps: self.head(_joined(maps))),
        ]


def _joined(maps: Maps) -> Tensor:
    """Give all maps at the size of the first, their channels side by side."""
    first, *others = maps
    return paddle.concat([first, *(interpolated(x, like=first) for x in others)], axis=1)


class _FCNHead(nn.Layer):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_1 = ConvNorm(channels, channels, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_1(x)


@register("fcn_hrnet")
class FCNHRNet(_Segmenter):
    """FCN on HRNet; PaddleSeg publishes it with width 18 and 48."""

    published_head = ("head.cls.",)

    def __init__(self, *, width: int = 18) -> None:
        super().__init__(width)
        self.head = _FCNHead(self.backbone.channels)
        self.feature_spec = FeatureSpec("map", (self.backbone.channels, None, None), 4)


class _Attention(nn.Layer):
    """What each pixel takes from each region, by how alike the two are."""

    def __init__(self, channels: int, key: int) -> None:
        super().__init__()
        self.f_pixel = nn.Sequential(ConvNorm(channels, key, 1, bias=True), ConvNorm(key, key, 1, bias=True))
        self.f_object = nn.Sequential(ConvNorm(channels, key, 1, bias=True), ConvNorm(key, key, 1, bias=True))
        self.f_down = ConvNorm(channels, key, 1, bias=True)
        self.f_up = ConvNorm(key, channels, 1, bias=True)
        self._key = key

    def forward(self, pixels: Tensor, regions: Tensor) -> Tensor:
        asked = self.f_pixel(pixels).flatten(2).transpose([0, 2, 1])
        likeness = F.softmax(paddle.bmm(asked, self.f_object(regions).flatten(2)) * self._key**-0.5, axis=-1)
        taken = paddle.bmm(likeness, self.f_down(regions).flatten(2).transpose([0, 2, 1]))
        height, width = paddle.shape(pixels)[2], paddle.shape(pixels)[3]
        return self.f_up(taken.transpose([0, 2, 1]).reshape([-1, self._key, height, width]))


class _ObjectContext(nn.Layer):
    def __init__(self, channels: int, key: int) -> None:
        super().__init__()
        self.attention_block = _Attention(channels, key)
        self.conv1x1 = nn.Sequential(ConvNorm(2 * channels, channels, 1, bias=True), nn.Dropout2D(0.1))

    def forward(self, pixels: Tensor, regions: Tensor) -> Tensor:
        return self.conv1x1(paddle.concat([self.attention_block(pixels, regions), pixels], axis=1))


class _OCRHead(nn.Layer):
    def __init__(self, channels: int, regions: int) -> None:
        super().__init__()
        self.spatial_ocr = _ObjectContext(512, 256)
        self.conv3x3_ocr = ConvNorm(channels, 512, 3, bias=True)
        self.aux_head = nn.Sequential(
            ConvNorm(channels, channels, 1, bias=True), Conv2D(channels, regions, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.conv3x3_ocr(x)
        share = F.softmax(self.aux_head(x).flatten(2), axis=2)  # how each region spreads over the pixels
        # Not the other way round: what is transposed and then gets an axis cannot be compiled for bfloat16.
        regions = paddle.bmm(pixels.flatten(2), share.transpose([0, 2, 1]))
        return self.spatial_ocr(pixels, regions.unsqueeze(-1))


@register("ocrnet_hrnet")
class OCRNetHRNet(_Segmenter):
    """OCRNet on HRNet; `regions` is the number of classes that it was published with.

    The regions are found by a classifier of their own inside the network, to which PaddleSeg gives a second loss. Here
    it has none: with other classes in the head it goes on as a division of the picture into that many regions, learnt
    from the one loss that there is.
    """

    published_head = ("head.cls_head.",)

    def __init__(self, *, width: int = 18, regions: int = 21) -> None:
        super().__init__(width)
        require_whole("regions", regions, 2)
        self.head = _OCRHead(self.backbone.channels, regions)
        self.feature_spec = FeatureSpec("map", (512, None, None), 4)
