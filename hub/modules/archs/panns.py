"""PANNs: convolutional networks pretrained on AudioSet (Kong et al. 2020, https://arxiv.org/abs/1912.10211).

They take log-mel spectrograms [N, 1, frames, 64] made with `hub.transforms.spectrogram.PANNS`. Names and shapes of the
parameters are those of PaddleSpeech's published checkpoints.
"""

from __future__ import annotations

from functools import partial

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.errors import InputError
from hub.modules.archs.base import Backbone, FeatureSpec, Stage, register
from hub.modules.map_layers import mean_of_rows

MELS = 64


class _Block(nn.Layer):
    """One 5×5 or two 3×3 convolutions, then the mean of every `pool` × `pool` cells."""

    def __init__(
        self, channels_in: int, channels_out: int, *, kernel: int, pool: int, dropout: float
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(channels_in, channels_out, kernel, padding=kernel // 2, bias_attr=False)
        self.bn1 = nn.BatchNorm2D(channels_out)
        self.double = kernel == 3
        if self.double:
            self.conv2 = nn.Conv2D(channels_out, channels_out, kernel, padding=1, bias_attr=False)
            self.bn2 = nn.BatchNorm2D(channels_out)
        self.pool, self.dropout = pool, nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        if self.double:
            x = F.relu(self.bn2(self.conv2(x)))
        if self.pool > 1:
            x = F.avg_pool2d(x, self.pool)
        return self.dropout(x)


class Panns(Backbone):
    """Blocks of twice as many channels each, the maximum and mean over time, and one layer on top."""

    input_channels = 1
    published_head = ("fc_audioset.",)
    example_shape = (1, 96, MELS)
    """Of an input, where one is needed to see what comes out."""

    def __init__(self, *, blocks: int, kernel: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2D(MELS)
        channels = [1, *(64 * 2**number for number in range(blocks))]
        for number in range(1, blocks + 1):
            pool = 1 if number == 6 else 2  # the sixth keeps what the fifth has left
            block = _Block(*channels[number - 1 : number + 1], kernel=kernel, pool=pool, dropout=dropout)
            self.add_sublayer(f"conv_block{number}", block)
        self.fc1 = nn.Linear(channels[-1], channels[-1])
        self.dropout = nn.Dropout(2.5 * dropout)
        self.blocks = blocks
        self.smallest = 2 ** min(blocks, 5)
        """Frames that leave one cell after the last pooling."""
        self.feature_spec = FeatureSpec("pooled", (channels[-1],))

    def check(self, x: Tensor) -> None:
        """Raise InputError for anything but spectrograms of 64 bands and enough frames."""
        if x.ndim != 4 or x.shape[1] != 1 or x.shape[3] != MELS:
            raise InputError(f"expected spectrograms as [N, 1, frames, {MELS}], found {list(x.shape)}")
        if paddle.in_dynamic_mode() and x.shape[2] < self.smallest:  # while it is traced, nobody knows
            raise InputError(
                f"expected sounds of at least {self.smallest} frames, found {x.shape[2]}",
                hint="add a step such as {clip: {seconds: 1}} to preprocess in module.yaml",
            )

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        layers: dict[str, nn.Layer] = self._sub_layers
        names = [f"conv_block{number}" for number in range(1, self.blocks + 1)]
        groups = [(name, [layers[name]]) for name in names]
        return [
            (names[0], [layers["bn0"], *groups[0][1]]),
            *groups[1:],
            ("fc1", [layers["fc1"], layers["dropout"]]),
        ]

    def stages(self) -> list[tuple[str, Stage]]:
        first, *others = self.layer_groups()
        normalize, block = first[1]

        def begin(x: Tensor) -> Tensor:
            return block(normalize(x.transpose([0, 3, 2, 1])).transpose([0, 3, 2, 1]))

        middle = [(name, layers[0]) for name, layers in others[:-1]]
        return [(first[0], begin), *middle, ("fc1", partial(_top, *others[-1][1]))]


def _top(layer: nn.Layer, dropout: nn.Layer, x: Tensor) -> Tensor:
    rows = mean_of_rows(x)
    x = (rows.max(axis=1) + rows.mean(axis=1)).reshape([-1, x.shape[1]])
    return dropout(F.relu(layer(dropout(x))))


@register("panns_cnn6")
def cnn6(*, dropout: float = 0.2) -> Panns:
    """Four 5×5 convolutions, 4.8 million parameters, 512 features."""
    return Panns(blocks=4, kernel=5, dropout=dropout)


@register("panns_cnn10")
def cnn10(*, dropout: float = 0.2) -> Panns:
    """Eight 3×3 convolutions, 5.2 million parameters, 512 features."""
    return Panns(blocks=4, kernel=3, dropout=dropout)


@register("panns_cnn14")
def cnn14(*, dropout: float = 0.2) -> Panns:
    """Twelve 3×3 convolutions, 80 million parameters, 2048 features."""
    return Panns(blocks=6, kernel=3, dropout=dropout)
