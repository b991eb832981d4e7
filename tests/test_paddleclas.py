"""The networks that PaddleClas publishes: names, shapes and values of ResNet-vd, MobileNet V1 to V3 and PP-LCNet.

The tables were made by PaddleClas's own code (paddleclas 2.6.0, ppcls/arch/backbone: legendary_models/{resnet,
mobilenet_v1,mobilenet_v3,pp_lcnet}.py and model_zoo/{resnext_vd,mobilenet_v2}.py, with 7 classes) on paddle 3.3.1. Its
published checkpoints could not be fetched.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import paddle
import pytest

from hub.errors import SpecError
from hub.modules import archs, weights
from hub.modules.archs import Backbone
from hub.modules.archs.resnet_vd import BLOCKS
from hub.modules.network import infer

CLASSES = 7
# architecture, its arguments, (tensors, numbers in them, digest of all names and shapes), then with the weights of
# `filled` and pictures of noise the mean and the deviation of the logits, the first of the first picture, the last of
# the second
PUBLISHED: list[tuple[str, dict[str, Any], tuple[int, int, str], list[float]]] = [
    ("resnet_vd", {"depth": 18}, (117, 11_213_415, "09a9e1ce1a644cba"), [-4.70954, 8.8553, 6.76462, -9.38645]),
    ("resnet_vd", {"depth": 50}, (277, 23_594_855, "2dd57b9179018434"), [28.7551, 126.888, -194.648, -5.06556]),
    ("resnet_vd", {"depth": 50, "width": 4, "groups": 32}, (277, 23_081_831, "eb49b3f6e9e9295d"),
     [17.5481, 118.986, -57.7151, 14.0589]),
    ("resnet_vd", {"depth": 200}, (1027, 72_898_407, "d60f16aa53318334"), [6374.1, 191750.0, -422820.0, 119672.0]),
    ("clas_mobilenet_v1", {}, (137, 3_236_039, "0edeab32f20f554a"), [-0.709491, 2.46199, -1.75622, -0.219116]),
    ("clas_mobilenet_v1", {"scale": 0.25}, (137, 220_343, "ec455bff5a018e3e"),
     [0.170861, 0.783466, 0.490479, 0.47022]),
    ("clas_mobilenet_v2", {}, (267, 2_268_103, "5fd435e26896d1fc"), [5.08739, 6.05406, 6.60777, 12.7903]),
    ("clas_mobilenet_v2", {"scale": 0.25}, (267, 255_823, "6fd2cd879a325d67"), [0.204398, 4.66985, 2.02734, 5.30057]),
    ("clas_mobilenet_v2", {"scale": 1.5}, (267, 4_996_423, "97e73382cb9f97ee"),
     [-0.236153, 5.3871, 5.26947, -4.59428]),
    ("clas_mobilenet_v3_small", {}, (214, 1_680_069, "353dca2c55df34c5"),
     [-0.55838, 0.618658, -1.32261, -0.320523]),
    ("clas_mobilenet_v3_small", {"scale": 0.35}, (214, 398_193, "ef1299a5acc92a6d"),
     [-0.178003, 0.787721, -0.145394, 0.577427]),
    ("clas_mobilenet_v3_large", {}, (270, 4_232_605, "58ff823d12f2ec27"),
     [0.482837, 0.980761, 0.694133, 1.11338]),
    ("clas_mobilenet_v3_large", {"scale": 1.25}, (270, 6_201_915, "97de9fcee21865fc"),
     [0.843417, 0.308176, 0.271455, 1.13935]),
    ("pp_lcnet", {}, (146, 1_691_431, "c3c7ec58492adfbc"), [-0.190458, 0.345512, 0.0630757, -0.193494]),
    ("pp_lcnet", {"scale": 0.25}, (146, 251_903, "eccf4c09e9d7889c"), [-0.142112, 0.629434, 0.737757, -0.442479]),
    ("pp_lcnet", {"scale": 0.35}, (146, 374_897, "2a21c4b9f1443378"), [0.218011, 0.615757, 0.184013, 1.12093]),
    ("pp_lcnet", {"scale": 2.5}, (146, 7_772_887, "e1a81fba42f86c94"), [-0.0866861, 0.408257, -0.043071, 0.252117]),
]  # fmt: skip
# Bytes with 1,000 classes, of ResNets that PaddleHub's own code built.
SIZES = [
    ({"depth": 34}, 87_353_632),
    ({"depth": 101}, 178_695_456),
    ({"depth": 152}, 241_454_368),
    ({"depth": 101, "width": 4, "groups": 64}, 334_710_048),
    ({"depth": 152, "width": 4, "groups": 32}, 240_680_224),
]


def shapes_of(backbone: Backbone, classes: int) -> dict[str, list[int]]:
    """Give the shapes of the whole network under its names here, which are PaddleClas's except for ResNet-vd."""
    shapes = {name: list(tensor.shape) for name, tensor in backbone.state_dict().items()}
    [head] = backbone.published_head
    return shapes | {f"{head}weight": [backbone.feature_spec.channels, classes], f"{head}bias": [classes]}


def as_in_paddleclas(name: str, depth: int) -> str:
    """Give the name that a tensor of ResNet-vd has in PaddleClas's."""
    name = name.replace("._conv.", ".conv.").replace("._batch_norm.", ".bn.")
    if stem := re.match(r"conv1_(\d)", name):
        return f"stem.{int(stem[1]) - 1}{name[stem.end() :]}"
    if block := re.match(r"bb_(\d)_(\d+)", name):
        return f"blocks.{sum(BLOCKS[depth][: int(block[1])]) + int(block[2])}{name[block.end() :]}"
    return name.replace("out.", "fc.")


def filled(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Give random numbers, in the order of the names."""
    rng, state = np.random.default_rng(0), {}
    for name, shape in sorted(shapes.items()):
        if name.endswith("_variance"):
            array = rng.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            array = rng.normal(0, (1.2 / np.prod(shape[1:])) ** 0.5, shape)
        else:
            array = rng.normal(1 if name.endswith(("norm.weight", "bn.weight")) else 0, 0.1, shape)
        state[name] = array.astype(np.float32)
    return state


@pytest.mark.parametrize(("name", "arguments", "layout", "values"), PUBLISHED, ids=str)
def test_a_published_state_fits_and_computes_what_the_published_code_does(
    name: str, arguments: dict[str, Any], layout: tuple[int, int, str], values: list[float]
) -> None:
    backbone = archs.build(name, **arguments)
    shapes = shapes_of(backbone, CLASSES)
    if name == "resnet_vd" and "groups" not in arguments:
        shapes = {as_in_paddleclas(name, arguments["depth"]): shape for name, shape in shapes.items()}
    listed = "".join(f"{name} {shapes[name]}\n" for name in sorted(shapes))
    numbers = sum(int(np.prod(shape)) for shape in shapes.values())
    assert (len(shapes), numbers, hashlib.sha256(listed.encode()).hexdigest()[:16]) == layout

    body, head = backbone.from_published(filled(shapes))
    weights.give(backbone, body, what="published")
    backbone.eval()
    noise = np.random.default_rng(1).normal(size=(2, 3, 97, 70)).astype(np.float32)
    assert head is not None
    logits = (infer(backbone, noise) @ head["weight"] + head["bias"]).astype(np.float64)
    spots = [logits.mean(), logits.std(), logits[0, 0], logits[1, -1]]
    assert spots == pytest.approx(values, rel=1e-3, abs=1e-3 * logits.std())


@pytest.mark.parametrize(("arguments", "size"), SIZES, ids=str)
def test_the_others_are_as_large_as_those_of_paddlehub(arguments: dict[str, Any], size: int) -> None:
    with paddle.LazyGuard():
        backbone = archs.build("resnet_vd", **arguments)
    assert 4 * sum(int(np.prod(shape)) for shape in shapes_of(backbone, 1000).values()) == size


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("resnet_vd", {"depth": 20}, "arch.depth: expected one of 18, 34, 50, 101, 152, 200, found 20"),
        (
            "resnet_vd",
            {"depth": 18, "width": 4, "groups": 32},
            "expected 64 and 1 for depth 18, found 4 and 32",
        ),
        ("resnet_vd", {"width": 8}, "expected 64 and 1 or 4 and 32 or 4 and 64 for depth 50, found 8 and 1"),
        ("pp_lcnet", {"scale": "x1"}, "arch.scale: expected a number of at least 0.1, found 'x1'"),
    ],
)
def test_arguments_that_no_checkpoint_has_are_refused(
    name: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        archs.build(name, **arguments)


@pytest.mark.parametrize(
    "encoder",
    [
        {"name": "resnet_vd", "depth": 18},
        *({"name": f"clas_mobilenet_v{n}", "scale": 0.25} for n in ("1", "2", "3_small", "3_large")),
        {"name": "pp_lcnet", "scale": 0.25},
    ],
    ids=lambda encoder: encoder["name"],
)
def test_it_can_be_the_encoder_of_a_pyramid(encoder: dict[str, Any]) -> None:
    pyramid = archs.build("fpn", encoder=encoder, channels=8)
    pyramid.eval()
    assert pyramid(paddle.zeros([1, 3, 64, 96])).shape == [1, 8, 16, 24]
