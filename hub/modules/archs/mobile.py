"""The small networks of PaddleClas, made for phones and processors, under the names that their published weights have.

They are a stem and blocks that look at each channel on its own and then mix the channels; the later ones have a wide
layer on the mean of the last map. MobileNet V1 to V3 differ from those of `paddle.vision.models`: V1 in its names, V2
and V3 also in what they compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.modules.archs.base import register
from hub.modules.archs.vision import Chain, check_scale, numbered
from hub.modules.map_layers import Conv2D

_ACTIVATIONS = {"relu": F.relu, "relu6": F.relu6, "hardswish": F.hardswish}
WIDE = 1280
"""The numbers that the classifiers of MobileNet V3 and PP-LCNet get, at any scale."""


class ConvNorm(nn.Layer):
    """A convolution that keeps the size (or halves it), its normalisation and what `act` names."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        act: str | None = "relu",
        names: tuple[str, str] = ("conv", "bn"),
    ) -> None:
        super().__init__()
        convolution = Conv2D(
            channels_in, channels, kernel, stride, padding=kernel // 2, groups=groups, bias_attr=False
        )
        for name, layer in zip(names, (convolution, nn.BatchNorm2D(channels)), strict=True):
            self.add_sublayer(name, layer)
        self._names, self._act = names, act

    def forward(self, x: Tensor) -> Tensor:
        for name in self._names:
            x = self._sub_layers[name](x)
        return x if self._act is None else _ACTIVATIONS[self._act](x)


class _Gate(nn.Layer):
    """How much of each channel goes on, by the means of all: squeeze and excitation, https://arxiv.org/abs/1709.01507."""

    def __init__(self, channels: int, *, slope: float) -> None:
        super().__init__()
        self.conv1 = Conv2D(channels, channels // 4, 1)
        self.conv2 = Conv2D(channels // 4, channels, 1)
        self._slope = slope

    def forward(self, x: Tensor) -> Tensor:
        means = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.conv2(F.relu(self.conv1(means))), slope=self._slope)


class _Block(nn.Layer):
    """Layers one after the other, and with `adds` what came in on top."""

    def __init__(self, *, adds: bool = False, **layers: nn.Layer) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_sublayer(name, layer)
        self._order, self._adds = tuple(layers), adds

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for name in self._order:
            out = self._sub_layers[name](out)
        return x + out if self._adds else out


def _divisible(channels: float) -> int:
    """Round channels to a multiple of 8: at least 8, and not below nine tenths of what they were."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found if found >= 0.9 * channels else found + 8


def _with_wide_layer(network: nn.Layer, groups: Mapping[str, Sequence[str]], channels: int) -> Chain:
    """Put the wide layer and the classifier behind a network that ends in a map of that many channels."""
    network.avg_pool = nn.AdaptiveAvgPool2D(1)
    network.last_conv = Conv2D(channels, WIDE, 1, bias_attr=False)
    network.hardswish = nn.Hardswish()
    network.fc = nn.Linear(WIDE, 1)
    last, steps = list(groups.items())[-1]
    return Chain(
        network,
        {**groups, last: (*steps, "avg_pool"), "fc": ("last_conv", "hardswish", "flatten")},
        head="fc",
        head_scale=0.8,  # before it is a dropout of 0.2 of paddle's old kind, which scales when it predicts
    )


# ---- MobileNet ----

V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""Channels and stride of each block of MobileNet V1."""


@register("clas_mobilenet_v1")
def clas_mobilenet_v1(*, scale: float = 1.0) -> Chain:
    """MobileNet V1 (https://arxiv.org/abs/1704.04861); a group for each resolution."""
    check_scale(scale)
    network = nn.Layer()
    before = int(32 * scale)
    network.conv = ConvNorm(3, before, 3, stride=2)
    network.blocks = nn.Sequential()
    for number, (channels, stride) in enumerate(V1_BLOCKS):
        after = int(channels * scale)
        block = _Block(
            depthwise_conv=ConvNorm(before, before, 3, stride=stride, groups=before),
            pointwise_conv=ConvNorm(before, after),
        )
        network.blocks.add_sublayer(str(number), block)
        before = after
    network.avg_pool = nn.AdaptiveAvgPool2D(1)
    network.fc = nn.Linear(before, 1)
    return Chain(
        network,
        {
            "stem": ("conv", "blocks.0"),
            "stage2": numbered("blocks", 1, 3),
            "stage3": numbered("blocks", 3, 5),
            "stage4": numbered("blocks", 5, 11),
            "stage5": (*numbered("blocks", 11, 13), "avg_pool", "flatten"),
        },
        head="fc",
    )


V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""By how much the blocks of each stage of MobileNet V2 are wider inside, their channels, count and first stride."""


@register("clas_mobilenet_v2")
def clas_mobilenet_v2(*, scale: float = 1.0) -> Chain:
    """MobileNet V2 (https://arxiv.org/abs/1801.04381), whose first block has a layer more than paddle's."""
    check_scale(scale)
    norm = partial(ConvNorm, names=("_conv", "_batch_norm"))
    network = nn.Layer()
    before = int(32 * scale)
    network.conv1 = norm(3, before, 3, stride=2, act="relu6")
    for number, (factor, channels, count, first) in enumerate(V2_STAGES, 2):
        blocks = {}
        for n in range(1, count + 1):
            inside, after, stride = before * factor, int(channels * scale), first if n == 1 else 1
            blocks["_first_block" if n == 1 else f"conv{number}_{n}"] = _Block(
                adds=n > 1,
                _expand_conv=norm(before, inside, act="relu6"),
                _bottleneck_conv=norm(inside, inside, 3, stride=stride, groups=inside, act="relu6"),
                _linear_conv=norm(inside, after, act=None),
            )
            before = after
        network.add_sublayer(f"conv{number}", _Block(**blocks))
    wide = int(1280 * max(1.0, scale))
    network.conv9 = norm(before, wide, act="relu6")
    network.pool2d_avg = nn.AdaptiveAvgPool2D(1)
    network.out = nn.Linear(wide, 1)
    return Chain(
        network,
        {
            "stem": ("conv1", "conv2"),
            "stage2": ("conv3",),
            "stage3": ("conv4",),
            "stage4": ("conv5", "conv6"),
            "stage5": ("conv7", "conv8"),
            "last": ("conv9", "pool2d_avg", "flatten"),
        },
        head="out",
    )


V3_BLOCKS = {
    "small": (
        (3, 16, 16, True, "relu", 2), (3, 72, 24, False, "relu", 2), (3, 88, 24, False, "relu", 1),
        (5, 96, 40, True, "hardswish", 2), (5, 240, 40, True, "hardswish", 1), (5, 240, 40, True, "hardswish", 1),
        (5, 120, 48, True, "hardswish", 1), (5, 144, 48, True, "hardswish", 1),
        (5, 288, 96, True, "hardswish", 2), (5, 576, 96, True, "hardswish", 1), (5, 576, 96, True, "hardswish", 1),
    ),
    "large": (
        (3, 16, 16, False, "relu", 1), (3, 64, 24, False, "relu", 2), (3, 72, 24, False, "relu", 1),
        (5, 72, 40, True, "relu", 2), (5, 120, 40, True, "relu", 1), (5, 120, 40, True, "relu", 1),
        (3, 240, 80, False, "hardswish", 2), (3, 200, 80, False, "hardswish", 1), (3, 184, 80, False, "hardswish", 1),
        (3, 184, 80, False, "hardswish", 1), (3, 480, 112, True, "hardswish", 1), (3, 672, 112, True, "hardswish", 1),
        (5, 672, 160, True, "hardswish", 2), (5, 960, 160, True, "hardswish", 1), (5, 960, 160, True, "hardswish", 1),
    ),
}  # fmt: skip
"""Kernel, channels inside and after, whether gated, activation and stride of each block of MobileNet V3."""


@register("clas_mobilenet_v3_small")
def clas_mobilenet_v3_small(*, scale: float = 1.0) -> Chain:
    """MobileNet V3 small (https://arxiv.org/abs/1905.02244), up to its wide layer."""
    return _mobilenet_v3("small", scale, cuts=(0, 1, 3, 8, 11), channels=576)


@register("clas_mobilenet_v3_large")
def clas_mobilenet_v3_large(*, scale: float = 1.0) -> Chain:
    """MobileNet V3 large (https://arxiv.org/abs/1905.02244), up to its wide layer."""
    return _mobilenet_v3("large", scale, cuts=(0, 1, 3, 6, 12, 15), channels=960)


def _mobilenet_v3(size: str, scale: float, *, cuts: Sequence[int], channels: int) -> Chain:
    """Build MobileNet V3 with steeper gates than paddle's; `cuts` are where the blocks of one resolution end."""
    check_scale(scale)
    network = nn.Layer()
    before = _divisible(16 * scale)
    network.conv = ConvNorm(3, before, 3, stride=2, act="hardswish")
    network.blocks = nn.Sequential()
    for number, (kernel, inside, after, gated, act, stride) in enumerate(V3_BLOCKS[size]):
        inside, after = _divisible(inside * scale), _divisible(after * scale)
        block = _Block(
            adds=stride == 1 and before == after,
            expand_conv=ConvNorm(before, inside, act=act),
            bottleneck_conv=ConvNorm(inside, inside, kernel, stride=stride, groups=inside, act=act),
            **({"mid_se": _Gate(inside, slope=0.2)} if gated else {}),
            linear_conv=ConvNorm(inside, after, act=None),
        )
        network.blocks.add_sublayer(str(number), block)
        before = after
    last = _divisible(channels * scale)
    network.last_second_conv = ConvNorm(before, last, act="hardswish")
    stages = {f"stage{n}": numbered("blocks", *cut) for n, cut in enumerate(pairwise(cuts), 1)}
    return _with_wide_layer(network, {"stem": ("conv",), **stages, "last": ("last_second_conv",)}, last)


# ---- PP-LCNet ----

LC_STAGES = {
    "blocks2": ((3, 32, 1, False),),
    "blocks3": ((3, 64, 2, False), (3, 64, 1, False)),
    "blocks4": ((3, 128, 2, False), (3, 128, 1, False)),
    "blocks5": ((3, 256, 2, False), *[(5, 256, 1, False)] * 5),
    "blocks6": ((5, 512, 2, True), (5, 512, 1, True)),
}
"""Kernel, channels, stride and whether gated of each block of PP-LCNet."""


@register("pp_lcnet")
def pp_lcnet(*, scale: float = 1.0) -> Chain:
    """PP-LCNet (https://arxiv.org/abs/2109.15099), made for what oneDNN is fast in, up to its wide layer."""
    check_scale(scale)
    network = nn.Layer()
    before = _divisible(16 * scale)
    network.conv1 = ConvNorm(3, before, 3, stride=2, act="hardswish")
    for name, blocks in LC_STAGES.items():
        stage = nn.Sequential()
        for number, (kernel, channels, stride, gated) in enumerate(blocks):
            after = _divisible(channels * scale)
            block = _Block(
                dw_conv=ConvNorm(before, before, kernel, stride=stride, groups=before, act="hardswish"),
                **({"se": _Gate(before, slope=1 / 6)} if gated else {}),
                pw_conv=ConvNorm(before, after, act="hardswish"),
            )
            stage.add_sublayer(str(number), block)
            before = after
        network.add_sublayer(name, stage)
    stages = {f"stage{name[-1]}": (name,) for name in LC_STAGES}
    return _with_wide_layer(network, {"stem": ("conv1",), **stages}, before)
