"""ResNet-vd, the variant D of He et al. 2018 (https://arxiv.org/abs/1812.01187), named as in PaddleHub and PaddleSeg.

Three small convolutions take the place of the first large one, and shortcuts that halve take means over 2×2 first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.errors import SpecError
from hub.modules.archs.base import register
from hub.modules.archs.vision import Chain, check_choice
from hub.modules.map_layers import Conv2D

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 12, 48, 3),
}

_OF_PADDLECLAS = re.compile(r"^(stem|blocks)\.(\d+)\.((?:conv\d|short)\.)?(conv|bn)\.")
_LAYERS = {"conv": "_conv", "bn": "_batch_norm"}


class ConvNorm(nn.Layer):
    """A convolution and its normalisation, at the same size; with `halve` after a mean over 2×2, as in ResNet-D."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        relu: bool = True,
        halve: bool = False,
    ) -> None:
        super().__init__()
        self._conv = Conv2D(
            channels_in, channels, kernel, stride, padding=dilation * (kernel // 2), dilation=dilation,
            groups=groups, bias_attr=None if bias else False,
        )  # fmt: skip
        self._batch_norm = nn.BatchNorm2D(channels)
        self._relu, self._halve = relu, halve

    def forward(self, x: Tensor) -> Tensor:
        if self._halve:
            x = F.avg_pool2d(x, 2, 2, ceil_mode=True)
        x = self._batch_norm(self._conv(x))
        return F.relu(x) if self._relu else x


class _Block(nn.Layer):
    """Two or three convolutions, and their sum with what came in; the first of a stage projects that."""

    def __init__(self, convolutions: Sequence[ConvNorm], shortcut: ConvNorm | None) -> None:
        super().__init__()
        for number, layer in enumerate(convolutions):
            self.add_sublayer(f"conv{number}", layer)
        self._count, self._projects = len(convolutions), shortcut is not None
        if shortcut is not None:
            self.short = shortcut

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.short(x) if self._projects else x
        for number in range(self._count):
            x = self._sub_layers[f"conv{number}"](x)
        return F.relu(x + shortcut)


def _basic(channels_in: int, channels: int, stride: int) -> list[ConvNorm]:
    return [ConvNorm(channels_in, channels, 3, stride=stride), ConvNorm(channels, channels, 3, relu=False)]


def _bottleneck(
    channels_in: int, middle: int, channels: int, *, stride: int, dilation: int, groups: int
) -> list[ConvNorm]:
    return [
        ConvNorm(channels_in, middle),
        ConvNorm(middle, middle, 3, stride=stride, dilation=dilation, groups=groups),
        ConvNorm(middle, channels, relu=False),
    ]


class ResNetVDLayers(nn.Layer):
    """The network up to its last map, as a chain of parts.

    `dilations` are how far the cells that each stage looks at are apart; a stage that looks further than its neighbours
    does not halve the map. `grid` multiplies that, block by block, in the last stage. `width` is how many channels the
    3×3 convolutions have in the first stage, over all `groups`.
    """

    def __init__(
        self,
        depth: int,
        *,
        dilations: Sequence[int] = (1, 1, 1, 1),
        grid: Sequence[int] = (1, 1, 1),
        width: int = 64,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv1_1 = ConvNorm(3, 32, 3, stride=2)
        self.conv1_2 = ConvNorm(32, 32, 3)
        self.conv1_3 = ConvNorm(32, 64, 3)
        self.parts = {"stem": ["conv1_1", "conv1_2", "conv1_3", "pool2d_max"]}
        """The names of the layers of each part."""
        self.pool2d_max = nn.MaxPool2D(3, 2, padding=1)
        self.channels = 64
        for stage, (count, dilation) in enumerate(zip(BLOCKS[depth], dilations, strict=True)):
            names = [f"bb_{stage}_{block}" for block in range(count)]
            for block, name in enumerate(names):
                stride = 2 if block == 0 and stage > 0 and dilation == 1 else 1
                apart = dilation * grid[block] if stage == 3 else dilation
                middle, out = width * 2**stage, (256 if depth >= 50 else 64) * 2**stage
                if depth < 50:
                    layers = _basic(self.channels, out, stride)
                else:
                    layers = _bottleneck(
                        self.channels, middle, out, stride=stride, dilation=apart, groups=groups
                    )
                projects = ConvNorm(self.channels, out, relu=False, halve=stride == 2) if block == 0 else None
                self.add_sublayer(name, _Block(layers, projects))
                self.channels = out
            self.parts[f"stage{stage + 1}"] = names

    def groups(self) -> list[tuple[str, list[nn.Layer]]]:
        """Give the parts from the input on."""
        return [(part, [self._sub_layers[name] for name in names]) for part, names in self.parts.items()]


@register("resnet_vd")
class ResNetVD(Chain):
    """ResNet-vd; with groups 32 or 64 and width 4 ResNeXt-vd 32x4d or 64x4d.

    Published states may have PaddleHub's names, as here, or those of PaddleClas.
    """

    def __init__(self, *, depth: int = 50, width: int = 64, groups: int = 1) -> None:
        check_choice("depth", depth, tuple(BLOCKS))
        known = [(64, 1)] if depth < 50 else [(64, 1), (4, 32), (4, 64)]
        if (width, groups) not in known:
            expected = " or ".join(f"{w} and {g}" for w, g in known)
            raise SpecError(
                f"arch.width, arch.groups: expected {expected} for depth {depth}, found {width!r} and {groups!r}"
            )
        network = ResNetVDLayers(depth, width=width * groups, groups=groups)
        network.pool2d_avg = nn.AdaptiveAvgPool2D(1)
        network.out = nn.Linear(network.channels, 1)
        parts = network.parts | {"stage4": [*network.parts["stage4"], "pool2d_avg", "flatten"]}
        super().__init__(network, parts, head="out")
        self._depth = depth

    def from_published(
        self, state: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
        """Split a published state as `Backbone` does, whichever of the two ways its parts are named."""
        if not any(name.startswith("stem.") for name in state):
            return super().from_published(state)
        blocks = [f"bb_{stage}_{n}" for stage, count in enumerate(BLOCKS[self._depth]) for n in range(count)]
        first = [f"conv1_{n}" for n in (1, 2, 3)]

        def ours(theirs: re.Match[str]) -> str:
            part, number, convolution, layer = theirs.groups()
            name = (first if part == "stem" else blocks)[int(number)]
            return f"{name}.{convolution or ''}{_LAYERS[layer]}."

        renamed = {
            re.sub(r"^fc\.", "out.", _OF_PADDLECLAS.sub(ours, name)): array for name, array in state.items()
        }
        return super().from_published(renamed)
