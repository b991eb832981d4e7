"""A small residual network for log-mel spectrograms [N, 1, frames, mels] of words and short sounds.

It is the network of the bundled sound module: the stem takes every second frame and band, so that a second of sound
takes a few milliseconds, and the weights fit a wheel. Any number of frames and bands from 16 on will do.
"""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.modules.archs.base import Backbone, FeatureSpec, Stage, register
from hub.modules.archs.small_resnet import _Block as Block
from hub.modules.map_layers import mean_of_map, mean_of_rows


@register("small_audio_cnn")
class SmallAudioCNN(Backbone):
    """Four residual stages of `width`, 2, 4 and 8 times `width` channels.

    The features are the means over time of the third map and of the fourth, and the maximum over time of the fourth,
    20 times `width` numbers, each part with a root mean square of 1.
    """

    input_channels = 1

    def __init__(self, *, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2D(1, width, 3, 2, padding=1, bias_attr=False), nn.BatchNorm2D(width), nn.ReLU()
        )
        channels = width
        for number in range(1, 5):
            wider = width * 2 ** (number - 1)
            self.add_sublayer(f"stage{number}", Block(channels, wider, stride=1 if number == 1 else 2))
            channels = wider
        self.feature_spec = FeatureSpec("pooled", (width * 20,))

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        return [(name, [self._sub_layers[name]]) for name in ("stem", "stage1", "stage2", "stage3", "stage4")]

    def stages(self) -> list[tuple[str, Stage]]:
        *first, (name, [last]) = self.layer_groups()
        return [*((each, layers[0]) for each, layers in first), (name, lambda x: _features(x, last(x)))]


def _features(third: Tensor, fourth: Tensor) -> Tensor:
    loudest = mean_of_rows(fourth).max(axis=1).reshape([-1, fourth.shape[1]])
    parts = [mean_of_map(third), mean_of_map(fourth), loudest]
    return paddle.concat([F.normalize(part, axis=1) * part.shape[1] ** 0.5 for part in parts], axis=1)
