"""hub.modules.map_layers against paddle's own: the same values and gradients, also where the sizes are not known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import paddle
import pytest
from paddle import Tensor, nn
from paddle.nn import functional as F

from hub.modules import compiled, map_layers

Function = Callable[[Tensor], Tensor]

PAIRS: dict[str, tuple[Function, Function]] = {
    "mean of a map": (map_layers.mean_of_map, lambda x: x.mean(axis=[2, 3])),
    "mean of rows": (map_layers.mean_of_rows, lambda x: x.mean(axis=3).flatten(0, 1)),
    "mirrored by 1": (lambda x: map_layers.mirrored(x, 1), lambda x: F.pad(x, [1] * 4, mode="reflect")),
    "mirrored by 4": (lambda x: map_layers.mirrored(x, 4), lambda x: F.pad(x, [4] * 4, mode="reflect")),
    "enlarged": (map_layers.enlarged, lambda x: F.interpolate(x, scale_factor=2, mode="nearest")),
    "interpolated, three times": (
        lambda x: map_layers.interpolated(x, times=3),
        lambda x: F.interpolate(x, scale_factor=3, mode="bilinear"),
    ),
    "interpolated like others": (
        lambda x: map_layers.interpolated(x, like=paddle.zeros([1, 1, 12, 5])),
        lambda x: F.interpolate(x, [12, 5], mode="bilinear"),
    ),
    "three times": (
        lambda x: map_layers.enlarged(x, 3),
        lambda x: F.interpolate(x, scale_factor=3, mode="nearest"),
    ),
}


def maps(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def value_and_gradient(of: Function, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give what a function makes of maps, and the gradient of the sum of its squares."""
    x = paddle.to_tensor(array, stop_gradient=False)
    y = of(x)
    y.square().sum().backward()
    return y.numpy(), x.grad.numpy()


@pytest.mark.parametrize("device", ["cpu", "gpu:0"])
@pytest.mark.parametrize("name", PAIRS)
def test_the_values_and_gradients_are_those_of_paddle(
    name: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paddle, "get_device", lambda: device)
    ours, theirs = (value_and_gradient(each, maps(3, 5, 7, 9)) for each in PAIRS[name])
    for found, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())


class Applied(nn.Layer):
    """A function after a convolution, whose maps a compiled layer keeps in another order."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.conv, self.function = map_layers.Conv2D(3, 16, 3, padding=1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(F.relu(self.conv(x)))


@pytest.mark.parametrize("name", PAIRS)
def test_they_can_be_compiled_for_maps_of_any_size(name: str) -> None:
    said: list[str] = []
    layer = Applied(PAIRS[name][0])
    fast = compiled.forward(layer, maps(2, 3, 16, 24), say=said.append, any_size=True)
    assert not said, said
    for shape in ((2, 3, 16, 24), (1, 3, 20, 12), (4, 3, 32, 32)):
        wanted = layer(paddle.to_tensor(maps(*shape))).numpy()
        np.testing.assert_allclose(fast(maps(*shape)), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{}, {"padding": 1}, {"stride": 2, "padding": "SAME"}, {"padding": 2, "dilation": 2}, {"groups": 2}],
    ids=str,
)
@pytest.mark.parametrize("count", [1, 3])
def test_a_convolution_has_the_values_gradients_and_names_of_paddles(options: dict, count: int) -> None:
    ours, theirs = map_layers.Conv2D(4, 6, 3, **options), nn.Conv2D(4, 6, 3, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.set_state_dict(ours.state_dict())
    (found, gradient), (wanted, right) = (
        value_and_gradient(each, maps(count, 4, 9, 8)) for each in (ours, theirs)
    )
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(gradient, right, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.bias.grad.numpy(), theirs.bias.grad.numpy(), rtol=1e-5, atol=1e-5)
