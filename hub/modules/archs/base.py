"""The contract that every architecture keeps, and the table in which they are found by name.

A backbone turns a batch into features and knows four things about itself: what the features look like
(`feature_spec`), which of its parts follow which (`layer_groups`) and how each of them is run (`stages`), and under
which name published checkpoints keep the classifier that it leaves out (`published_head`). Heads, freezing,
layer-wise learning rates, feature caching and weight conversion need nothing else, for every architecture.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import paddle
from paddle import Tensor, nn

from hub.errors import InputError, SpecError, UsageError, WeightsError, did_you_mean, one_of
from hub.modules.map_layers import mean_of_map

Stage = Callable[[Any], Any]


@dataclass(frozen=True)
class FeatureSpec:
    """What `features(x)` returns, without the batch axis.

    kind "pooled": shape (C,); kind "map": shape (C, H, W), H and W None where they follow the input, one cell
    for every `stride` input pixels; kind "tokens": shape (L, C), L None.
    """

    kind: Literal["pooled", "map", "tokens"]
    shape: tuple[int | None, ...]
    stride: int = 1

    @property
    def channels(self) -> int:
        size = self.shape[-1] if self.kind == "tokens" else self.shape[0]
        assert size is not None, "the channel axis is always known"
        return size


class Backbone(nn.Layer):
    """An architecture without its task head."""

    feature_spec: FeatureSpec
    input_channels: int = 3
    published_head: tuple[str, ...] = ()
    """Prefixes under which published checkpoints keep the classifier, for example ("fc.",)."""

    def features(self, x: Any) -> Tensor:
        """Give the features of a batch; their shape is `feature_spec`'s behind the batch axis. Raises InputError."""
        self.check(x)
        for _, stage in self.stages():
            x = stage(x)
        return x

    def check(self, x: Any) -> None:
        """Raise InputError for a batch that the network cannot take."""

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        """Give the parts from the input to the head, as (name, layers).

        Every parameter and buffer belongs to exactly one group; a layer never depends on a later group.
        """
        raise NotImplementedError(f"{type(self).__name__} must define layer_groups()")

    def stages(self) -> list[tuple[str, Stage]]:
        """Give how each group is run: from what the one before gave to what the next one takes, the last to features.

        What is between two stages is a tensor, or a tuple of them. Unless an architecture says otherwise, the layers of
        a group are called one after the other.
        """
        return [(name, partial(_in_turn, layers)) for name, layers in self.layer_groups()]

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch axis, for when one is needed to see what comes out."""
        return self.input_channels, 96, 96

    def example(self) -> Any:
        """Give a batch of one input, to see what comes out."""
        return paddle.zeros([1, *self.example_shape])

    def pooled(self, x: Any) -> Tensor:
        """Give what a group leaves as a vector for each sample, for a network whose later groups are taken off."""
        if isinstance(x, tuple):
            return paddle.concat([self.pooled(one) for one in x], axis=1)
        return mean_of_map(x) if x.ndim == 4 else x

    def from_published(
        self, state: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
        """Split a published state into this network's and that of a linear head, {"weight": [C, K], "bias": [K]}.

        `features(x) @ weight + bias` are then the published network's logits. The head of a network that gives a map
        is a convolution, {"classify.weight": [K, C, 1, 1], "classify.bias": [K]}. It is None where the published
        network has none, or none that is linear. Raises WeightsError where the classifier is missing.
        """
        body = {name: array for name, array in state.items() if not name.startswith(self.published_head)}
        if not self.published_head:
            return body, None
        layer = "classify." if self.feature_spec.kind == "map" else ""
        head = {f"{layer}{part}": self.published_head[0] + part for part in ("weight", "bias")}
        for name in head.values():
            if name not in state:
                hint = did_you_mean(name, state)
                raise WeightsError(f"expected the classifier as {name}, found none", hint=hint)
        return body, {part: state[name] for part, name in head.items()}

    def forward(self, x: Any) -> Tensor:
        return self.features(x)


def _in_turn(layers: Sequence[nn.Layer], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


# Each family's file registers its names when it is imported; this table says which file that is, so that a
# name is found without importing the others.
_FAMILIES = {
    "small_resnet": "small_resnet",
    "resnet": "vision",
    "resnet_vd": "resnet_vd",
    "mobilenet_v1": "vision",
    "mobilenet_v2": "vision",
    "mobilenet_v3_small": "vision",
    "mobilenet_v3_large": "vision",
    "clas_mobilenet_v1": "mobile",
    "clas_mobilenet_v2": "mobile",
    "clas_mobilenet_v3_small": "mobile",
    "clas_mobilenet_v3_large": "mobile",
    "pp_lcnet": "mobile",
    "densenet": "vision",
    "vgg": "vision",
    "shufflenet_v2": "vision",
    "squeezenet": "vision",
    "inception_v3": "vision",
    "googlenet": "vision",
    "alexnet": "vision",
    "panns_cnn6": "panns",
    "panns_cnn10": "panns",
    "panns_cnn14": "panns",
    "small_audio_cnn": "small_audio",
    "fpn": "segmentation",
    "deeplabv3p": "deeplab",
    "fcn_hrnet": "hrnet",
    "ocrnet_hrnet": "hrnet",
    "user_guided_colorization": "colorization",
    "small_colorizer": "colorization",
    "msgnet": "style",
    "small_stylizer": "style",
    "bert": "text_encoder",
    "ernie": "text_encoder",
    "roberta": "text_encoder",
    "electra": "text_encoder",
    "albert": "text_encoder",
    "distilbert": "text_encoder",
    "static_text": "static_text",
}
_LIBRARIES = {"hub", "paddle", "paddlenlp"}
"""Packages whose code changes with a version."""

_BUILDERS: dict[str, Callable[..., Backbone]] = {}
# How Python and paddle refuse an argument that an architecture does not check itself: a text for a number, a width of
# -1 or 10**15.
_REFUSALS = (TypeError, ValueError, AssertionError, ArithmeticError, LookupError, RuntimeError, MemoryError)


def require_whole(key: str, value: object, least: int, most: int | None = None) -> None:
    """Raise SpecError unless an argument of an architecture is a whole number from `least` to `most`."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or value < least
        or (most is not None and value > most)
    ):
        wanted = f"of at least {least}" if most is None else f"from {least} to {most:,}"
        raise SpecError(f"arch.{key}: expected a whole number {wanted}, found {value!r:.60}")


def require_pictures(x: Tensor, *, smallest: int) -> None:
    """Raise InputError for anything but [N, 3, H, W], and for pictures of fewer than `smallest` pixels a side."""
    if not paddle.in_dynamic_mode():  # while it is traced, sizes are unknown
        return
    if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < smallest:
        wanted = f"[N, 3, H, W] of at least {smallest}×{smallest} pixels"
        raise InputError(f"expected pictures as {wanted}, found {list(x.shape)}")


def register(name: str) -> Callable[[Callable[..., Backbone]], Callable[..., Backbone]]:
    """Register a backbone class or a function that builds one under the name that module.yaml uses.

    Yours too: a module of it can be loaded by whoever has registered it before. What its frozen groups give is then
    kept for one run alone: the next one could not know that your code has changed in between. Raises UsageError for a
    name that the library's own has.
    """

    def remember(builder: Callable[..., Backbone]) -> Callable[..., Backbone]:
        if name in _FAMILIES and getattr(builder, "__module__", "") != f"hub.modules.archs.{_FAMILIES[name]}":
            raise UsageError(
                f"register: {name!r} is an architecture of the library's own", hint="choose another name"
            )
        _BUILDERS[name] = builder
        return builder

    return remember


def names() -> list[str]:
    """Give the name of every architecture, sorted: those here, and those that were registered elsewhere."""
    return sorted({*_FAMILIES, *_BUILDERS})


def is_ours(name: str, backbone: nn.Layer) -> bool:
    """Say whether name, arguments and weights tell what a backbone computes: no code in it is the user's own."""
    layers = backbone.sublayers(include_self=True)
    return name in _FAMILIES and {type(each).__module__.partition(".")[0] for each in layers} <= _LIBRARIES


class Shortened(Backbone):
    """A backbone without its last groups: what the last one left gives, averaged to a vector where it is a map.

    Early layers see textures and edges, late ones the kinds of thing they were trained on: for targets unlike those,
    fewer groups can be worth more.
    """

    def __init__(self, backbone: Backbone, drop: int, channels: int) -> None:
        super().__init__()
        groups = backbone.layer_groups()
        if not 0 < drop < len(groups):
            raise SpecError(
                f"drop_groups: expected 1 to {len(groups) - 1}, found {drop}",
                hint=f"the groups are {', '.join(name for name, _ in groups)}",
            )
        self.input_channels = backbone.input_channels
        self.feature_spec = FeatureSpec("pooled", (channels,))
        for name, layers in groups[:-drop]:
            self.add_sublayer(name, nn.LayerList(layers))
        self._kept = [name for name, _ in groups[:-drop]]
        self._run = backbone.stages()[:-drop]
        # Not the backbone itself: its last groups would be parameters of this one.
        self._refuse, self._pool, self._example = backbone.check, backbone.pooled, backbone.example

    def check(self, x: Any) -> None:
        self._refuse(x)

    def example(self) -> Any:
        return self._example()

    def pooled(self, x: Any) -> Tensor:
        return self._pool(x)

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        return [(name, list(self._sub_layers[name])) for name in self._kept]

    def stages(self) -> list[tuple[str, Stage]]:
        *first, (name, last) = self._run
        return [*first, (name, lambda x: self.pooled(last(x)))]


def shortened(backbone: Backbone, drop: int) -> Backbone:
    """Give a backbone without its last `drop` groups, with the same weights. Raises SpecError for too many."""
    if drop == 0:
        return backbone
    short = Shortened(backbone, drop, channels=1)
    short.eval()
    with paddle.no_grad():
        found = short.features(backbone.example())
    short.feature_spec = FeatureSpec("pooled", (found.shape[1],))
    return short


def build(name: str, *, drop_groups: int = 0, drop_channels: int = 0, **arguments: object) -> Backbone:
    """Build an architecture from its name and arguments, with fresh random weights.

    With `drop_groups` it comes without its last groups; `drop_channels` is then the length of its features. Raises
    UsageError for a name that no family has, SpecError for arguments that the architecture does not take, and for an
    architecture of the user's own without a feature_spec.
    """
    if name in _FAMILIES:
        importlib.import_module(f"hub.modules.archs.{_FAMILIES[name]}")
    elif name not in _BUILDERS:
        raise one_of("arch.name", name, names())
    builder = _BUILDERS[name]
    allowed = inspect.signature(builder).parameters
    for argument in arguments:
        if argument not in allowed:
            hint = did_you_mean(argument, allowed) or f"it takes {', '.join(allowed) or 'no arguments'}"
            raise SpecError(f"arch.{argument}: {name} takes no such argument", hint=hint)
    try:
        backbone = builder(**arguments)
    except _REFUSALS as problem:
        given = ", ".join(f"{key}: {value!r:.60}" for key, value in arguments.items())
        why = " ".join(str(problem).split())[-200:] or type(problem).__name__
        raise SpecError(f"arch: {name} cannot be built from {{{given}}}: {why}") from problem
    if not isinstance(getattr(backbone, "feature_spec", None), FeatureSpec):
        raise SpecError(
            f"arch: expected of {name} a Backbone with a feature_spec, found {type(backbone).__name__} without one",
            hint='set self.feature_spec = FeatureSpec("pooled", (channels,)) in __init__',
        )
    return Shortened(backbone, drop_groups, drop_channels) if drop_groups else backbone
