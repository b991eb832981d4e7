"""The image networks of `paddle.vision.models` as backbones, under the names that their published weights have.

Each is a chain: a table says which of the network's layers run, in which order, and which of them make a group.
What the table does not name (the classifier, the dropout before it, auxiliary heads) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import pairwise

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.vision import models

from hub.errors import InputError, SpecError, did_you_mean
from hub.modules.archs.base import Backbone, FeatureSpec, register, require_whole

# Layers without weights, for steps that the networks take in their forward and do not hold as layers.
_PLAIN_STEPS = {"relu": nn.ReLU, "flatten": nn.Flatten}


class Chain(Backbone):
    """A published network without its classifier; features are what the classifier would get, [N, C].

    `groups` names the layers of each group in the order in which they run: "layer1", "features.3". `head` is the
    published classifier and `left_out` other published layers that are no part of the features.
    """

    smallest: int
    """The least height and width: below it some window would not fit its input."""
    head_scale: float | None
    """By how much the published network scales features before its classifier; None: its logits are not linear."""

    def __init__(
        self,
        network: nn.Layer,
        groups: Mapping[str, Sequence[str]],
        *,
        head: str,
        left_out: Sequence[str] = (),
        head_scale: float | None = 1.0,
        smallest: int = 1,
    ) -> None:
        super().__init__()
        self.smallest = smallest
        self.head_scale = head_scale
        self.published_head = tuple(f"{name}." for name in (head, *left_out))
        classifier = _layer_at(network, head)
        channels = classifier.weight.shape[1 if isinstance(classifier, nn.Conv2D) else 0]
        self.feature_spec = FeatureSpec("pooled", (channels,))
        self._groups = {name: tuple(steps) for name, steps in groups.items()}
        self._adopt(network)

    def _adopt(self, network: nn.Layer) -> None:
        """Take over the layers that are steps, under the names that they have in the network."""
        inner: dict[str, set[str]] = {}
        for steps in self._groups.values():
            for step in steps:
                outer, _, name = step.partition(".")
                inner.setdefault(outer, set()).add(name)
        children = dict(network.named_children())
        for outer, names in inner.items():
            layer = children[outer] if outer in children else _PLAIN_STEPS[outer]()
            if names != {""}:
                for name, _ in list(layer.named_children()):
                    if name not in names:
                        delattr(layer, name)
            self.add_sublayer(outer, layer)

    def check(self, x: Tensor) -> None:
        """Raise InputError for anything but [N, 3, H, W], and for pictures below `smallest` pixels."""
        if paddle.in_dynamic_mode():  # while it is traced for to_static, sizes are unknown
            _check_pictures(x, self.smallest)

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        """Give the groups; their layers, called one after the other, are the network.

        A layer without weights, such as a pooling, may be in several.
        """
        return [(name, [_layer_at(self, step) for step in steps]) for name, steps in self._groups.items()]

    def from_published(
        self, state: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
        """Split a published state as `Backbone` does; a factor before the published classifier goes into its weight.

        The head is None for SqueezeNet, which has a ReLU between its classifier (a 1×1 convolution) and its pooling: no
        linear head gives its logits.
        """
        body, head = super().from_published(state)
        if self.head_scale is None or head is None:
            return body, None
        return body, head | {"weight": head["weight"] * head["weight"].dtype.type(self.head_scale)}


@register("resnet")
def resnet(*, depth: int = 50, width: int = 64, groups: int = 1) -> Chain:
    """ResNet; with width 4 and groups 32 or 64 ResNeXt 32x4d or 64x4d, with width 128 Wide ResNet.

    https://arxiv.org/abs/1512.03385, https://arxiv.org/abs/1611.05431, https://arxiv.org/abs/1605.07146
    """
    check_choice("depth", depth, (18, 34, 50, 101, 152))
    require_whole("width", width, 1)
    require_whole("groups", groups, 1)
    if depth < 50 and (width, groups) != (64, 1):
        found = f"width {width} and groups {groups}"
        raise SpecError(f"arch.width, arch.groups: depth {depth} has width 64 and groups 1, found {found}")
    return Chain(
        getattr(models, f"resnet{depth}")(width=width, groups=groups, num_classes=1),
        {
            "stem": ("conv1", "bn1", "relu", "maxpool"),
            "layer1": ("layer1",),
            "layer2": ("layer2",),
            "layer3": ("layer3",),
            "layer4": ("layer4", "avgpool", "flatten"),
        },
        head="fc",
    )


@register("mobilenet_v1")
def mobilenet_v1(*, scale: float = 1.0) -> Chain:
    """MobileNet V1 (https://arxiv.org/abs/1704.04861); a group for each resolution."""
    check_scale(scale)
    return Chain(
        models.MobileNetV1(scale=scale, num_classes=1),
        {
            "stem": ("conv1", "conv2_1"),
            "stage2": ("conv2_2", "conv3_1"),
            "stage3": ("conv3_2", "conv4_1"),
            "stage4": ("conv4_2", *(f"conv5_{n}" for n in range(1, 6))),
            "stage5": ("conv5_6", "conv6", "pool2d_avg", "flatten"),
        },
        head="fc",
    )


@register("mobilenet_v2")
def mobilenet_v2(*, scale: float = 1.0) -> Chain:
    """MobileNet V2 (https://arxiv.org/abs/1801.04381); a group for each resolution."""
    check_scale(scale)
    return Chain(
        models.MobileNetV2(scale=scale, num_classes=1),
        {
            "stem": numbered("features", 0, 2),
            "stage2": numbered("features", 2, 4),
            "stage3": numbered("features", 4, 7),
            "stage4": numbered("features", 7, 14),
            "stage5": numbered("features", 14, 18),
            "last": ("features.18", "pool2d_avg", "flatten"),
        },
        head="classifier.1",
    )


def _mobilenet_v3(network: nn.Layer, cuts: Sequence[int]) -> Chain:
    stages = {f"stage{n}": numbered("blocks", first, end) for n, (first, end) in enumerate(pairwise(cuts), 1)}
    return Chain(
        network,
        {
            "stem": ("conv",),
            **stages,
            "last": ("lastconv", "avgpool", "flatten"),
            "fc": ("classifier.0", "classifier.1"),
        },
        head="classifier.3",
    )


@register("mobilenet_v3_small")
def mobilenet_v3_small(*, scale: float = 1.0) -> Chain:
    """MobileNet V3 small (https://arxiv.org/abs/1905.02244), up to its first fully connected layer."""
    check_scale(scale)
    return _mobilenet_v3(models.MobileNetV3Small(scale=scale, num_classes=1), (0, 1, 3, 8, 11))


@register("mobilenet_v3_large")
def mobilenet_v3_large(*, scale: float = 1.0) -> Chain:
    """MobileNet V3 large (https://arxiv.org/abs/1905.02244), up to its first fully connected layer."""
    check_scale(scale)
    return _mobilenet_v3(models.MobileNetV3Large(scale=scale, num_classes=1), (0, 1, 3, 6, 12, 15))


@register("densenet")
def densenet(*, layers: int = 121) -> Chain:
    """DenseNet (https://arxiv.org/abs/1608.06993), from 29 pixels; a group is a block and the transition after it."""
    check_choice("layers", layers, (121, 161, 169, 201, 264))
    return Chain(
        models.DenseNet(layers=layers, num_classes=1),
        {
            "stem": ("conv1_func", "pool2d_max"),
            "block1": ("db_conv_2", "tr_conv2_blk"),
            "block2": ("db_conv_3", "tr_conv3_blk"),
            "block3": ("db_conv_4", "tr_conv4_blk"),
            "block4": ("db_conv_5", "batch_norm", "pool2d_avg", "flatten"),
        },
        head="out",
        smallest=29,
    )


@register("vgg")
def vgg(*, depth: int = 16, batch_norm: bool = False) -> Chain:
    """VGG (https://arxiv.org/abs/1409.1556) up to its second fully connected layer (4096), from 32 pixels."""
    check_choice("depth", depth, (11, 13, 16, 19))
    check_choice("batch_norm", batch_norm, (True, False))
    network = getattr(models, f"vgg{depth}")(batch_norm=batch_norm, num_classes=1)
    blocks: list[list[str]] = [[]]
    for name, layer in network.features.named_children():
        blocks[-1].append(f"features.{name}")
        if isinstance(layer, nn.MaxPool2D):
            blocks.append([])
    return Chain(
        network,
        {
            **{f"block{n}": block for n, block in enumerate(blocks[:-1], 1)},
            "fc1": ("avgpool", "flatten", *numbered("classifier", 0, 3)),
            "fc2": numbered("classifier", 3, 5),
        },
        head="classifier.6",
        smallest=32,
    )


@register("shufflenet_v2")
def shufflenet_v2(*, scale: float = 1.0, act: str = "relu") -> Chain:
    """ShuffleNet V2 (https://arxiv.org/abs/1807.11164)."""
    check_choice("scale", scale, (0.25, 0.33, 0.5, 1.0, 1.5, 2.0))
    check_choice("act", act, ("relu", "swish"))
    return Chain(
        models.ShuffleNetV2(scale=scale, act=act, num_classes=1),
        {
            "stem": ("_conv1", "_max_pool"),
            "stage2": tuple(f"2_{n}" for n in range(1, 5)),
            "stage3": tuple(f"3_{n}" for n in range(1, 9)),
            "stage4": tuple(f"4_{n}" for n in range(1, 5)),
            "last": ("_last_conv", "_pool2d_avg", "flatten"),
        },
        head="_fc",
    )


@register("squeezenet")
def squeezenet(*, version: str | float = "1.1") -> Chain:
    """SqueezeNet (https://arxiv.org/abs/1602.07360): the mean of its last map; from 35 (1.0) or 29 (1.1) pixels."""
    version = str(version)  # module.yaml may hold 1.1, a number
    check_choice("version", version, ("1.0", "1.1"))
    first = ("_conv", "relu", "_pool")
    if version == "1.0":
        groups = {
            "stem": first,
            "fire2_4": ("_conv1", "_conv2", "_conv3", "_pool"),
            "fire5_8": ("_conv4", "_conv5", "_conv6", "_conv7", "_pool"),
            "fire9": ("_conv8", "_avg_pool", "flatten"),
        }
    else:
        groups = {
            "stem": first,
            "fire2_3": ("_conv1", "_conv2", "_pool"),
            "fire4_5": ("_conv3", "_conv4", "_pool"),
            "fire6_9": ("_conv5", "_conv6", "_conv7", "_conv8", "_avg_pool", "flatten"),
        }
    return Chain(
        models.SqueezeNet(version, num_classes=1),
        groups,
        head="_conv9",
        head_scale=None,
        smallest=35 if version == "1.0" else 29,
    )


@register("inception_v3")
def inception_v3() -> Chain:
    """Inception V3 (https://arxiv.org/abs/1512.00567), from 75 pixels; a group for each resolution."""
    return Chain(
        models.InceptionV3(num_classes=1),
        {
            "stem": ("inception_stem",),
            "inception_a": numbered("inception_block_list", 0, 3),
            "inception_b_c": numbered("inception_block_list", 3, 8),
            "inception_d_e": (*numbered("inception_block_list", 8, 11), "avg_pool", "flatten"),
        },
        head="fc",
        head_scale=0.8,  # its dropout of 0.2 scales when it predicts, not when it trains
        smallest=75,
    )


@register("googlenet")
def googlenet() -> Chain:
    """GoogLeNet (https://arxiv.org/abs/1409.4842) without its two auxiliary heads, from 61 pixels."""
    return Chain(
        models.GoogLeNet(num_classes=1),
        {
            "stem": ("_conv", "_pool", "_conv_1", "_conv_2", "_pool"),
            "inception3": ("_ince3a", "_ince3b", "_pool"),
            "inception4": (*(f"_ince4{letter}" for letter in "abcde"), "_pool"),
            "inception5": ("_ince5a", "_ince5b", "_pool_5", "flatten"),
        },
        head="_fc_out",
        left_out=("_conv_o1", "_fc_o1", "_out1", "_conv_o2", "_fc_o2", "_out2"),
        head_scale=0.6,  # as in inception_v3, for a dropout of 0.4
        smallest=61,
    )


@register("alexnet")
def alexnet() -> Chain:
    """AlexNet (https://arxiv.org/abs/1404.5997) up to its second fully connected layer (4096), from 63 pixels.

    The last map is averaged to 6×6, which it is at the published 224 pixels: other sizes work as well.
    """
    network = models.AlexNet(num_classes=1)
    network.add_sublayer("_grid", nn.AdaptiveAvgPool2D(6))
    return Chain(
        network,
        {
            "conv1": ("_conv1",),
            "conv2": ("_conv2",),
            "conv3": ("_conv3", "relu"),
            "conv4": ("_conv4", "relu"),
            "conv5": ("_conv5",),
            "fc6": ("_grid", "flatten", "_drop1", "_fc6", "relu"),
            "fc7": ("_drop2", "_fc7", "relu"),
        },
        head="_fc8",
        smallest=63,
    )


def _layer_at(layer: nn.Layer, path: str) -> nn.Layer:
    # Not getattr: VGG and MobileNet V2 hold a layer called "features", which is our method.
    return reduce(lambda parent, name: parent._sub_layers[name], path.split("."), layer)


def numbered(name: str, first: int, end: int) -> tuple[str, ...]:
    """Give the steps of a chain from `first` up to `end`, which are numbered within a layer."""
    return tuple(f"{name}.{number}" for number in range(first, end))


def _check_pictures(x: Tensor, smallest: int) -> None:
    # paddle's CPU kernels write past their memory, and may end the process, where a window does not fit.
    if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < smallest:
        raise InputError(
            f"expected pictures as [N, 3, H, W] of at least {smallest}×{smallest} pixels, found {list(x.shape)}",
            hint="let preprocess in module.yaml resize the pictures",
        )


def check_choice(argument: str, value: object, allowed: Sequence[object]) -> None:
    """Raise SpecError for an argument of an architecture that is not one of those it can have."""
    if value not in allowed:
        choices = ", ".join(str(choice) for choice in allowed)
        hint = did_you_mean(str(value), map(str, allowed))
        raise SpecError(f"arch.{argument}: expected one of {choices}, found {value!r}", hint=hint)


def check_scale(scale: object) -> None:
    """Raise SpecError for a factor on all channels that is none."""
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0.1 <= scale < math.inf:
        raise SpecError(f"arch.scale: expected a number of at least 0.1, found {scale!r}")
