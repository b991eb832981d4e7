"""Small maps are computed in another way while training on a CPU, and nobody can tell but by the time."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from hub.finetune import small_maps

pytestmark = pytest.mark.skipif(paddle.get_device() != "cpu", reason="for training on a CPU")


def conv(*sizes: Any, **options: Any) -> nn.Conv2D:
    paddle.seed(0)
    return nn.Conv2D(*sizes, **options)


def trained(layer: nn.Layer, shape: tuple[int, ...]) -> tuple[str, list[np.ndarray]]:
    """Give which operation came last, and what comes out with the gradients of the input and of every parameter."""
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32), stop_gradient=False)
    layer.clear_gradients()
    y = layer(x)
    (y * paddle.to_tensor(np.random.default_rng(1).normal(size=y.shape).astype(np.float32))).sum().backward()
    found = [y, x.grad, *(parameter.grad for parameter in layer.parameters())]
    return y.grad_fn.name(), [np.asarray(each.numpy()) for each in found]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (conv(6, 5, 3, padding=1), (3, 6, 7, 7)),
        (conv(6, 5, 3, padding=1, bias_attr=False), (2, 6, 4, 4)),
        (conv(6, 5, 3, stride=2, padding=1), (3, 6, 8, 9)),
        (conv(6, 5, (3, 1), stride=(2, 1), padding=(1, 0)), (2, 6, 5, 4)),
        (conv(6, 5, 4), (2, 6, 4, 4)),
        (conv(6, 5, 1), (3, 6, 7, 7)),
        (conv(6, 5, 1, stride=2), (3, 6, 8, 7)),
        (conv(6, 5, 1, padding=1), (1, 6, 2, 3)),
        (conv(1, 1, 5, padding=2), (1, 1, 1, 49)),
    ],
    ids=str,
)
def test_a_small_map_and_all_gradients_are_those_of_paddle(
    layer: nn.Conv2D, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_maps, "LEAST_WEIGHTS", 0)
    before, expected = trained(layer, shape)
    with small_maps.as_products(layer):
        within, found = trained(layer, shape)
    after, again = trained(layer, shape)
    assert before == after != within
    for one, other, third in zip(expected, found, again, strict=True):
        assert np.array_equal(one, third)
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (conv(6, 6, 3, padding=1, groups=2), (2, 6, 4, 4)),
        (conv(6, 6, 3, padding=1, groups=6), (2, 6, 4, 4)),
        (conv(6, 5, 3, padding=2, dilation=2), (2, 6, 4, 4)),
        (conv(6, 5, 3, padding=1, padding_mode="reflect"), (2, 6, 4, 4)),
        (conv(6, 5, 3, padding="SAME"), (2, 6, 4, 4)),
        (conv(6, 5, 3, padding=[1, 0, 1, 0]), (2, 6, 4, 4)),
        (conv(6, 5, 3, padding=1, data_format="NHWC"), (2, 4, 4, 6)),
        (conv(64, 5, 7, padding=3), (1024, 64, 7, 7)),
        (nn.Conv2DTranspose(6, 5, 2, stride=2), (2, 6, 2, 2)),
    ],
    ids=str,
)
def test_other_convolutions_are_left_to_paddle(
    layer: nn.Layer, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_maps, "LEAST_WEIGHTS", 0)
    before, expected = trained(layer, shape)
    with small_maps.as_products(layer):
        within, found = trained(layer, shape)
    assert within == before
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))


@pytest.mark.parametrize(
    ("layer", "side", "is_small"),
    [
        (conv(64, 64, 3, padding=1), 2, True),
        (conv(64, 64, 3, padding=1), 4, False),
        (conv(128, 128, 3, padding=1), 4, True),
        (conv(128, 128, 3, padding=1), 7, False),
        (conv(256, 256, 3, padding=1), 7, True),
        (conv(256, 256, 3, padding=1), 8, False),
        (conv(64, 128, 3, stride=2, padding=1), 7, True),
        (conv(8, 8, 1), 7, True),
        (conv(512, 512, 1), 8, False),
    ],
    ids=str,
)
def test_a_map_is_small_where_the_filter_is_large_beside_it(
    layer: nn.Conv2D, side: int, is_small: bool
) -> None:
    shape = (1, layer.weight.shape[1], side, side)
    before, _ = trained(layer, shape)
    with small_maps.as_products(layer):
        within, _ = trained(layer, shape)
    assert (within != before) is is_small


def test_a_network_is_as_before_also_when_training_ends_in_an_error() -> None:
    network = nn.Sequential(conv(3, 4, 3, padding=1), nn.ReLU(), nn.Sequential(conv(4, 4, 1)))

    def train() -> None:
        with small_maps.as_products(network):
            assert ["forward" in vars(layer) for layer in network.sublayers()] == [True, False, False, True]
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        train()
    assert not any("forward" in vars(layer) for layer in network.sublayers())
