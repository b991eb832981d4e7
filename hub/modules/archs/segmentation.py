"""Networks that keep the picture's layout, for one answer a pixel: a pyramid over any encoder that has maps.

After Lin et al. 2017 (https://arxiv.org/abs/1612.03144): every map of the encoder gets the same number of channels, the
coarse ones are enlarged and added to the finer ones, and the finest sum is what a head looks at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddle import Tensor, nn

from hub.errors import InputError, one_of
from hub.modules.archs.base import Backbone, FeatureSpec, Stage, build, register, require_whole
from hub.modules.map_layers import Conv2D, interpolated

# encoder: (the first group whose map is used, pixels for each cell of it, groups that add no map)
_ENCODERS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "small_resnet": ("stage1", 1, ()),
    "resnet": ("layer1", 4, ()),
    "resnet_vd": ("stage1", 4, ()),
    "mobilenet_v1": ("stage2", 4, ()),
    "mobilenet_v2": ("stage2", 4, ("last",)),
    "mobilenet_v3_small": ("stage1", 4, ("last", "fc")),
    "mobilenet_v3_large": ("stage2", 4, ("last", "fc")),
    "clas_mobilenet_v1": ("stage2", 4, ()),
    "clas_mobilenet_v2": ("stage2", 4, ("last",)),
    "clas_mobilenet_v3_small": ("stage1", 4, ("last", "fc")),
    "clas_mobilenet_v3_large": ("stage2", 4, ("last", "fc")),
    "pp_lcnet": ("stage3", 4, ("fc",)),
}
_NO_MAP = (nn.AdaptiveAvgPool2D, nn.Flatten, nn.Linear)
"""Where the maps of an encoder end."""


class _Merge(nn.Layer):
    """Maps of falling size to one of the largest size."""

    def __init__(self, channels_in: list[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.LayerList([Conv2D(count, channels, 1) for count in channels_in])
        self.smooth = nn.Sequential(
            nn.Conv2D(channels, channels, 3, padding=1, bias_attr=False), nn.BatchNorm2D(channels), nn.ReLU()
        )

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        *finer, coarsest = [layer(maps[n]) for n, layer in enumerate(self.lateral)]  # zip() cannot be traced
        merged = coarsest
        for x in reversed(finer):
            merged = x + interpolated(merged, like=x)
        return self.smooth(merged)


@register("fpn")
class Pyramid(Backbone):
    """A feature pyramid over an encoder: arch {name: fpn, encoder: {name: resnet, depth: 18}, channels: 64}."""

    def __init__(self, *, encoder: Mapping[str, Any], channels: int = 64) -> None:
        super().__init__()
        arguments = dict(encoder) if isinstance(encoder, Mapping) else {}
        name = arguments.pop("name", None)
        if name not in _ENCODERS:
            raise one_of("arch.encoder.name", name, _ENCODERS)
        require_whole("channels", channels, 1)
        first, stride, unused = _ENCODERS[name]
        network = build(name, **arguments)
        self.input_channels = network.input_channels
        self.feature_spec = FeatureSpec("map", (channels, None, None), stride)
        self._encoder: list[str] = []
        for group, layers in network.layer_groups():
            if group in unused:
                continue
            end = next((n for n, layer in enumerate(layers) if isinstance(layer, _NO_MAP)), len(layers))
            self.add_sublayer(group, nn.LayerList(layers[:end]))
            self._encoder.append(group)
        self._mapped = self._encoder[self._encoder.index(first) :]
        self.pyramid = _Merge([_channels_of(self._sub_layers[group]) for group in self._mapped], channels)

    def check(self, x: Tensor) -> None:
        """Raise InputError for anything but [N, C, H, W]."""
        if x.ndim != 4 or x.shape[1] != self.input_channels:
            raise InputError(f"expected pictures [N, {self.input_channels}, H, W], found {list(x.shape)}")

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        groups: list[tuple[str, list[nn.Layer]]] = [
            (name, list(self._sub_layers[name])) for name in self._encoder
        ]
        return [*groups, ("pyramid", [self.pyramid])]

    def stages(self) -> list[tuple[str, Stage]]:
        return [*((name, self._stage(name)) for name in self._encoder), ("pyramid", self.pyramid)]

    def _stage(self, group: str) -> Stage:
        """Give how a group is run: the maps so far, finest first, and then its own."""

        def run(given: Any) -> Any:
            before = given if isinstance(given, tuple) else ()
            x = before[-1] if before else given
            for layer in self._sub_layers[group]:
                x = layer(x)
            return (*before, x) if group in self._mapped else x

        return run


def _channels_of(group: nn.Layer) -> int:
    """Give the channels that come out of a group: those of its last normalisation."""
    norms = [layer for layer in group.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    return int(norms[-1].weight.shape[0])
