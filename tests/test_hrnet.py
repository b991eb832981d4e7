"""The published segmentation networks: PaddleSeg's names, shapes and values, and the contract of archs.

The tables were made by PaddleSeg's own code (paddleseg/models: fcn.py, ocrnet.py, deeplab.py, and backbones/hrnet.py,
resnet_vd.py, as of 18 October 2024, commit d7975e7) on paddle 3.3.1. Its published checkpoints could not be fetched.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import paddle
import pytest

from hub.errors import InputError, SpecError
from hub.modules import archs
from hub.modules.archs import Backbone
from hub.modules.network import Network, infer
from hub.tasks.segmentation import SemanticSegmentation

# name, arguments, classes: (tensors, numbers in them, digest of all names and shapes) of PaddleSeg's network
PUBLISHED: list[tuple[str, dict[str, Any], int, tuple[int, int, str]]] = [
    ("fcn_hrnet", {}, 21, (1533, 9_676_137, "f63c2146b7b9f4f7")),
    ("fcn_hrnet", {"width": 30}, 19, (1533, 26_079_595, "4e6f502d22e8e627")),
    ("fcn_hrnet", {"width": 48}, 19, (1533, 65_944_915, "1985770e579ee413")),
    ("ocrnet_hrnet", {}, 21, (1583, 12_124_798, "1e1f7655694915bf")),
    ("deeplabv3p", {}, 21, (360, 26_794_757, "e97b49e791d2fb43")),
    ("deeplabv3p", {"depth": 101}, 21, (615, 45_839_109, "aa4ff90fa77f9a62")),
]
# With the weights of `filled` and the picture of `noise`: mean and deviation of what PaddleSeg's network hands to its
# last convolution, and the mean over channels in two places. DeepLab's are those with multi_grid 1, 2, 4, as in its
# configurations.
VALUES: list[tuple[str, dict[str, Any], list[float]]] = [
    ("fcn_hrnet", {}, [9599.76, 13809.5, 12424.0, 5585.46]),
    ("ocrnet_hrnet", {}, [6636.63, 10368.8, 7766.74, 4622.83]),
    ("deeplabv3p", {}, [0.873474, 1.27697, 1.05845, 0.480436]),
    ("deeplabv3p", {"stride": 16}, [0.872244, 1.26733, 1.00097, 0.510705]),
]

HRNET = {
    "backbone.conv_layer1_1._conv.weight": [64, 3, 3, 3],
    "backbone.conv_layer1_2._batch_norm._mean": [64],
    "backbone.la1.bb_layer2_1.conv_down._conv.weight": [256, 64, 1, 1],
    "backbone.la1.bb_layer2_4.conv3._batch_norm._variance": [256],
    "backbone.tr1.transition_tr1_layer_1._conv.weight": [18, 256, 3, 3],
    "backbone.tr1.transition_tr1_layer_2._conv.weight": [36, 256, 3, 3],
    "backbone.tr2.transition_tr2_layer_3._conv.weight": [72, 36, 3, 3],
    "backbone.tr3.transition_tr3_layer_4._batch_norm.bias": [144],
    "backbone.st2.stage_st2_1.branches_func.bb_st2_1_branch_layer_2_4.conv2._conv.weight": [36, 36, 3, 3],
    "backbone.st2.stage_st2_1.fuse_func.residual_st2_1_layer_1_2._conv.weight": [18, 36, 1, 1],
    "backbone.st3.stage_st3_4.fuse_func.residual_st3_4_layer_3_1_1._conv.weight": [18, 18, 3, 3],
    "backbone.st3.stage_st3_4.fuse_func.residual_st3_4_layer_3_1_2._conv.weight": [72, 18, 3, 3],
    "backbone.st4.stage_st4_3.branches_func.bb_st4_3_branch_layer_4_4.conv1._batch_norm.weight": [144],
    "backbone.st4.stage_st4_3.fuse_func.residual_st4_3_layer_4_1_3._conv.weight": [144, 18, 3, 3],
}
LAYOUT = {
    "fcn_hrnet": HRNET | {"head.conv_1._conv.weight": [270, 270, 1, 1], "head.conv_1._conv.bias": [270]},
    "ocrnet_hrnet": HRNET
    | {
        "head.conv3x3_ocr._conv.weight": [512, 270, 3, 3],
        "head.aux_head.0._conv.bias": [270],
        "head.aux_head.1.weight": [21, 270, 1, 1],
        "head.spatial_ocr.attention_block.f_pixel.1._conv.weight": [256, 256, 1, 1],
        "head.spatial_ocr.attention_block.f_object.0._conv.weight": [256, 512, 1, 1],
        "head.spatial_ocr.attention_block.f_down._batch_norm._mean": [256],
        "head.spatial_ocr.attention_block.f_up._conv.weight": [512, 256, 1, 1],
        "head.spatial_ocr.conv1x1.0._conv.weight": [512, 1024, 1, 1],
    },
    "deeplabv3p": {
        "backbone.conv1_1._conv.weight": [32, 3, 3, 3],
        "backbone.conv1_3._batch_norm._mean": [64],
        "backbone.bb_0_0.short._conv.weight": [256, 64, 1, 1],
        "backbone.bb_2_5.conv1._conv.weight": [256, 256, 3, 3],
        "backbone.bb_3_2.conv2._batch_norm._variance": [2048],
        "head.aspp.aspp_blocks.0._conv.bias": [256],
        "head.aspp.aspp_blocks.3.depthwise_conv._conv.weight": [2048, 1, 3, 3],
        "head.aspp.aspp_blocks.3.piontwise_conv._conv.weight": [256, 2048, 1, 1],
        "head.aspp.global_avg_pool.1._conv.weight": [256, 2048, 1, 1],
        "head.aspp.conv_bn_relu._conv.weight": [256, 1280, 1, 1],
        "head.decoder.conv_bn_relu1._conv.weight": [48, 256, 1, 1],
        "head.decoder.conv_bn_relu2.depthwise_conv._conv.weight": [304, 1, 3, 3],
        "head.decoder.conv_bn_relu3.piontwise_conv._batch_norm.weight": [256],
    },
}


def build(name: str, **arguments: Any) -> Backbone:
    paddle.seed(0)
    backbone = archs.build(name, **arguments)
    backbone.eval()
    return backbone


def filled(backbone: Backbone) -> Backbone:
    """Fill the network with random numbers, in the order of their names."""
    rng, state = np.random.default_rng(0), {}
    for name, tensor in sorted(backbone.state_dict().items()):
        shape = tensor.shape
        if name.endswith("_variance"):
            array = rng.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            array = rng.normal(0, (1.2 / np.prod(shape[1:])) ** 0.5, shape)
        else:
            array = rng.normal(1 if name.endswith("norm.weight") else 0, 0.1, shape)
        state[name] = array.astype(np.float32)
    backbone.set_state_dict(state)
    return backbone


@pytest.mark.parametrize("name", LAYOUT)
def test_names_and_shapes_are_the_published_ones(name: str) -> None:
    with paddle.LazyGuard():
        state = archs.build(name).state_dict()
    for key, shape in LAYOUT[name].items():
        assert list(state[key].shape) == shape, key


@pytest.mark.parametrize(("name", "arguments", "classes", "published"), PUBLISHED)
def test_with_its_last_convolution_a_network_is_the_whole_published_one(
    name: str, arguments: dict[str, Any], classes: int, published: tuple[int, int, str]
) -> None:
    with paddle.LazyGuard():
        backbone = archs.build(name, **arguments)
    shapes = {key: list(tensor.shape) for key, tensor in backbone.state_dict().items()}
    [last] = backbone.published_head
    assert not [key for key in shapes if key.startswith(last)]
    shapes |= {f"{last}weight": [classes, backbone.feature_spec.channels, 1, 1], f"{last}bias": [classes]}
    listed = "".join(f"{key} {shapes[key]}\n" for key in sorted(shapes))
    numbers = sum(int(np.prod(shape)) for shape in shapes.values())
    assert (len(shapes), numbers, hashlib.sha256(listed.encode()).hexdigest()[:16]) == published


@pytest.mark.parametrize(("name", "arguments", "expected"), VALUES)
def test_a_network_computes_what_the_published_code_does(
    name: str, arguments: dict[str, Any], expected: list[float]
) -> None:
    noise = np.random.default_rng(1).normal(size=(1, 3, 64, 96)).astype(np.float32)
    found = infer(filled(build(name, **arguments)), noise).astype(np.float64)
    spots = [found.mean(), found.std(), found[0, :, 5, 7].mean(), found[0, :, -1, -1].mean()]
    assert spots == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", LAYOUT)
def test_stages_are_the_network_and_every_parameter_is_in_one_group(name: str) -> None:
    backbone = build(name)
    network = Network(backbone, SemanticSegmentation(["a", "b"]).build_head(backbone.feature_spec))
    network.eval()
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype(np.float32)
    whole = infer(network, x)
    assert whole.shape == (1, 2, 64, 96)
    assert [n for n, _ in network.stages()] == [n for n, _ in network.layer_groups()]
    for cut in range(1, len(network.stages())):
        assert np.array_equal(infer(network.rest(cut), infer(network.prefix(cut), x)), whole), cut
    grouped = [id(p) for _, layers in network.layer_groups() for layer in layers for p in layer.parameters()]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())


def test_an_odd_size_is_answered_at_its_own_size() -> None:
    features = build("ocrnet_hrnet")(paddle.zeros([1, 3, 65, 50]))
    assert features.shape == [1, 512, 17, 13]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("fcn_hrnet", {"width": 20}, "arch.width: expected one of 18"),
        ("ocrnet_hrnet", {"regions": 1}, "arch.regions"),
        ("deeplabv3p", {"depth": 18}, "arch.depth: expected 50 or 101"),
        ("deeplabv3p", {"stride": 4}, "arch.stride: expected 8 or 16"),
    ],
)
def test_arguments_that_no_checkpoint_has_are_refused(
    name: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        archs.build(name, **arguments)


def test_pictures_that_are_too_small_are_refused() -> None:
    with pytest.raises(InputError, match="at least 32×32"):
        build("fcn_hrnet")(paddle.zeros([1, 3, 31, 64]))
