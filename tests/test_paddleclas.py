"""ResNet-vd as PaddleClas publishes it: names, shapes and values, and the contract of archs.

The tables were made by PaddleClas's own code (paddleclas 2.6.0, ppcls/arch/backbone: legendary_models/resnet.py and
model_zoo/resnext_vd.py, with 7 classes) on paddle 3.3.1. Its published checkpoints could not be fetched.
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
# arguments: (tensors, numbers in them, digest of all names and shapes), then with the weights of `filled` and the
# pictures of `noise` the mean and the deviation of the logits, the first of the first picture, the last of the second
PUBLISHED: list[tuple[dict[str, Any], tuple[int, int, str], list[float]]] = [
    ({"depth": 18}, (117, 11_213_415, "09a9e1ce1a644cba"), [-4.70954, 8.8553, 6.76462, -9.38645]),
    ({"depth": 50}, (277, 23_594_855, "2dd57b9179018434"), [28.7551, 126.888, -194.648, -5.06556]),
    (
        {"depth": 50, "width": 4, "groups": 32},
        (277, 23_081_831, "eb49b3f6e9e9295d"),
        [17.5481, 118.986, -57.7151, 14.0589],
    ),
    ({"depth": 200}, (1027, 72_898_407, "d60f16aa53318334"), [6374.1, 191750.0, -422820.0, 119672.0]),
]
# Bytes with 1,000 classes, of networks that PaddleHub's own code built.
SIZES = [
    ({"depth": 34}, 87_353_632),
    ({"depth": 101}, 178_695_456),
    ({"depth": 152}, 241_454_368),
    ({"depth": 101, "width": 4, "groups": 64}, 334_710_048),
    ({"depth": 152, "width": 4, "groups": 32}, 240_680_224),
]


def shapes_of(backbone: Backbone, classes: int) -> dict[str, list[int]]:
    """Give the shapes of the whole network under its names here, which PaddleClas's ResNeXt has too."""
    shapes = {name: list(tensor.shape) for name, tensor in backbone.state_dict().items()}
    return shapes | {"out.weight": [backbone.feature_spec.channels, classes], "out.bias": [classes]}


def as_in_paddleclas(name: str, depth: int) -> str:
    """Give the name that a tensor has in PaddleClas's ResNet."""
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


@pytest.mark.parametrize(("arguments", "layout", "values"), PUBLISHED, ids=str)
def test_a_published_state_fits_and_computes_what_the_published_code_does(
    arguments: dict[str, Any], layout: tuple[int, int, str], values: list[float]
) -> None:
    backbone = archs.build("resnet_vd", **arguments)
    shapes = shapes_of(backbone, CLASSES)
    if "groups" not in arguments:
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
    ("arguments", "said"),
    [
        ({"depth": 20}, "arch.depth: expected one of 18, 34, 50, 101, 152, 200, found 20"),
        ({"depth": 18, "width": 4, "groups": 32}, "expected 64 and 1 for depth 18, found 4 and 32"),
        ({"width": 8}, "expected 64 and 1 or 4 and 32 or 4 and 64 for depth 50, found 8 and 1"),
    ],
)
def test_arguments_that_no_checkpoint_has_are_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        archs.build("resnet_vd", **arguments)


def test_it_can_be_the_encoder_of_a_pyramid() -> None:
    pyramid = archs.build("fpn", encoder={"name": "resnet_vd", "depth": 18}, channels=8)
    pyramid.eval()
    assert pyramid(paddle.zeros([1, 3, 64, 96])).shape == [1, 8, 16, 24]
