"""A residual network for small pictures, after He et al. 2015 (https://arxiv.org/abs/1512.03385), four stages deep.

It is the network of the bundled image module: no stem pooling, so that 28 to 64 pixels are enough, and few
enough channels that the weights fit a wheel. Its features are those of the last two stages, each brought to the
same length: a vector of one stage alone, or of unequal lengths, separated new classes less well
(recipes/README.md has the numbers).
"""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.errors import InputError
from hub.modules.archs.base import Backbone, FeatureSpec, Stage, register
from hub.modules.map_layers import mean_of_map


class _Block(nn.Layer):
    """Two 3×3 convolutions around a shortcut, which is projected where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(channels_in, channels_out, 3, stride, padding=1, bias_attr=False)
        self.norm1 = nn.BatchNorm2D(channels_out)
        self.conv2 = nn.Conv2D(channels_out, channels_out, 3, padding=1, bias_attr=False)
        self.norm2 = nn.BatchNorm2D(channels_out)
        self.shortcut: nn.Layer = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2D(channels_in, channels_out, 1, stride, bias_attr=False),
                nn.BatchNorm2D(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


@register("small_resnet")
class SmallResNet(Backbone):
    """Four residual stages of `width`, 2, 4 and 8 times `width` channels.

    The features are the mean of the third map and the mean of the fourth, 12 times `width` numbers; the root mean
    square of either part is 1, whatever the contrast of the picture.
    """

    def __init__(self, *, width: int = 16, in_channels: int = 1, depth: int = 1) -> None:
        super().__init__()
        self.input_channels = in_channels
        self.stem = nn.Sequential(
            nn.Conv2D(in_channels, width, 3, padding=1, bias_attr=False), nn.BatchNorm2D(width), nn.ReLU()
        )
        channels = width
        stages = nn.LayerList()
        for number in range(4):
            wider = width * 2**number
            blocks = [_Block(channels, wider, stride=1 if number == 0 else 2)]
            blocks += [_Block(wider, wider, stride=1) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
            channels = wider
        self.add_sublayer("stages", stages)  # its name in the weights, which `stages()` has in Python
        self.feature_spec = FeatureSpec("pooled", (width * 4 + width * 8,))

    def check(self, x: Tensor) -> None:
        """Raise InputError for anything but [N, C, H, W] with the channels that it was built for."""
        if paddle.in_dynamic_mode() and (x.ndim != 4 or x.shape[1] != self.input_channels):
            raise InputError(f"expected pictures as [N, {self.input_channels}, H, W], found {list(x.shape)}")

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        return [("stem", [self.stem]), *((f"stage{n}", [stage]) for n, stage in enumerate(self._stages(), 1))]

    def _stages(self) -> list[nn.Layer]:
        return list(self._sub_layers["stages"])

    def stages(self) -> list[tuple[str, Stage]]:
        first, second, third, fourth = self._stages()
        return [
            ("stem", self.stem),
            ("stage1", first),
            ("stage2", second),
            ("stage3", third),
            ("stage4", lambda x: _features(x, fourth(x))),
        ]


def _features(*maps: Tensor) -> Tensor:
    means = [mean_of_map(x) for x in maps]
    return paddle.concat([F.normalize(mean, axis=1) * mean.shape[1] ** 0.5 for mean in means], axis=1)
