"""The networks for sounds keep the contract of hub.modules.archs, and the published ones their names and shapes."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from hub.errors import InputError, WeightsError
from hub.modules import archs, weights
from hub.modules.network import Network, infer

NAMES = ("panns_cnn6", "panns_cnn10", "small_audio_cnn")


def published(blocks: int, kernel: int) -> dict[str, list[int]]:
    """Names and shapes of PaddleSpeech's checkpoints: paddlespeech/cls/models/panns/panns.py, release 1.4.

    Its blocks have conv1 and bn1, with 3×3 kernels conv2 and bn2 as well; bn0 is over the 64 bands; fc1 and the
    classifier fc_audioset follow.
    """

    def norm(name: str, size: int) -> dict[str, list[int]]:
        return {f"{name}.{part}": [size] for part in ("weight", "bias", "_mean", "_variance")}

    shapes = norm("bn0", 64)
    channels_in = 1
    for number in range(1, blocks + 1):
        channels = 32 * 2**number
        for part in (1,) if kernel == 5 else (1, 2):
            name = f"conv_block{number}"
            shapes[f"{name}.conv{part}.weight"] = [
                channels,
                channels_in if part == 1 else channels,
                kernel,
                kernel,
            ]
            shapes |= norm(f"{name}.bn{part}", channels)
        channels_in = channels
    shapes |= {"fc1.weight": [channels_in, channels_in], "fc1.bias": [channels_in]}
    return shapes | {"fc_audioset.weight": [channels_in, 527], "fc_audioset.bias": [527]}


# The bytes of the published files: what the shapes above come to, and some ten thousand of names.
SIZES = {"panns_cnn6": 19_368_272, "panns_cnn10": 20_903_248, "panns_cnn14": 323_120_464}


@pytest.mark.parametrize(
    ("name", "blocks", "kernel"), [("panns_cnn6", 4, 5), ("panns_cnn10", 4, 3), ("panns_cnn14", 6, 3)]
)
def test_names_and_shapes_are_the_published_ones_without_the_classifier(
    name: str, blocks: int, kernel: int
) -> None:
    shapes = published(blocks, kernel)
    stored = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    assert 0 < SIZES[name] - stored < 60_000, "the table has all that the file has"
    with paddle.LazyGuard():
        backbone = archs.build(name)
    expected = {key: shape for key, shape in shapes.items() if not key.startswith(backbone.published_head)}
    assert {key: list(tensor.shape) for key, tensor in backbone.state_dict().items()} == expected


def test_a_published_state_is_a_network_and_its_tags() -> None:
    rng = np.random.default_rng(0)
    state = {name: rng.random(shape, np.float32) for name, shape in published(4, 5).items()}
    backbone = archs.build("panns_cnn6")
    body, head = backbone.from_published(state)
    weights.give(backbone, body, what="test")
    assert head is not None
    assert np.array_equal(head["weight"], state["fc_audioset.weight"])
    assert np.array_equal(head["bias"], state["fc_audioset.bias"])
    assert body | {f"fc_audioset.{name}": array for name, array in head.items()} == state

    renamed = {name.replace("bn0.", "bn_0."): array for name, array in state.items()}
    with pytest.raises(WeightsError, match=r"missing bn0\.weight \(64,\)"):
        weights.give(backbone, backbone.from_published(renamed)[0], what="test")
    renamed = {name.replace("fc_audioset", "fc_tags"): array for name, array in state.items()}
    with pytest.raises(WeightsError, match=r"fc_audioset\.weight"):
        backbone.from_published(renamed)


@pytest.fixture(scope="module", params=NAMES)
def backbone(request: pytest.FixtureRequest) -> archs.Backbone:
    paddle.seed(1)
    built = archs.build(request.param)
    built.eval()
    return built


def noise(count: int, frames: int, mels: int = 64) -> np.ndarray:
    return np.random.default_rng(frames).normal(size=(count, 1, frames, mels)).astype(np.float32)


@pytest.mark.parametrize("frames", [16, 101, 150])
def test_feature_spec_is_true_of_sounds_of_any_length(backbone: archs.Backbone, frames: int) -> None:
    found = infer(backbone, noise(2, frames))
    assert found.shape == (2, *backbone.feature_spec.shape)
    assert np.isfinite(found).all()
    assert not np.allclose(found[0], found[1], rtol=1e-3)
    np.testing.assert_allclose(infer(backbone, noise(2, frames)[:1]), found[:1], rtol=1e-3, atol=1e-4)


def test_every_parameter_and_buffer_is_in_exactly_one_group(backbone: archs.Backbone) -> None:
    counted: Counter[int] = Counter()
    for _, layers in backbone.layer_groups():
        counted.update({id(tensor) for layer in layers for tensor in [*layer.parameters(), *layer.buffers()]})
    assert counted == Counter(id(tensor) for tensor in [*backbone.parameters(), *backbone.buffers()])


def test_any_cut_gives_two_parts_that_are_the_network(backbone: archs.Backbone) -> None:
    network = Network(backbone, nn.Linear(backbone.feature_spec.channels, 3))
    network.eval()
    x = noise(2, 64)
    whole = infer(network, x)
    stages = [name for name, _ in network.stages()]
    assert stages == [name for name, _ in network.layer_groups()]
    for cut in range(1, len(stages)):
        assert np.array_equal(infer(network.rest(cut), infer(network.prefix(cut), x)), whole), stages[cut]


def test_a_cnn_computes_what_the_published_code_does() -> None:
    """Written out as PaddleSpeech's forward has it, for CNN10: pooling by 2, max and mean over time, ReLU of fc1."""
    paddle.seed(3)
    backbone: Any = archs.build("panns_cnn10")
    backbone.eval()
    state = backbone.state_dict()
    x = paddle.to_tensor(noise(2, 70))

    def norm(value: paddle.Tensor, name: str) -> paddle.Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"] for part in ("_mean", "_variance", "weight", "bias")
        )
        return nn.functional.batch_norm(value, mean, variance, weight, bias, training=False)

    for name in [key for key in state if key.endswith("_mean")]:  # so that the normalisations do something
        state[name].set_value(paddle.normal(0, 0.5, state[name].shape))
    y = norm(x.transpose([0, 3, 2, 1]), "bn0").transpose([0, 3, 2, 1])
    for number in range(1, 5):
        for part in (1, 2):
            weight = state[f"conv_block{number}.conv{part}.weight"]
            y = nn.functional.relu(
                norm(nn.functional.conv2d(y, weight, padding=1), f"conv_block{number}.bn{part}")
            )
        y = nn.functional.avg_pool2d(y, 2)
    y = y.mean(axis=3)
    y = y.max(axis=2) + y.mean(axis=2)
    expected = nn.functional.relu(y @ state["fc1.weight"] + state["fc1.bias"])
    np.testing.assert_allclose(infer(backbone, x.numpy()), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_without_its_last_group_it_gives_what_the_one_before_left(backbone: archs.Backbone) -> None:
    short = archs.shortened(backbone, 1)
    found = infer(short, noise(2, 64))
    assert found.shape == (2, short.feature_spec.channels)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 100, 40), r"as \[N, 1, frames, 64\], found \[1, 1, 100, 40\]"),
        ((1, 3, 100, 64), r"as \[N, 1, frames, 64\]"),
        ((1, 100, 64), r"as \[N, 1, frames, 64\]"),
        ((1, 1, 15, 64), "at least 16 frames, found 15"),
    ],
)
def test_other_spectrograms_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        archs.build("panns_cnn6").features(paddle.zeros(shape))


def test_dropout_is_for_training_only() -> None:
    backbone = archs.build("panns_cnn6")
    x = noise(1, 32)
    backbone.train()
    with paddle.no_grad():
        first, second = (backbone.features(paddle.to_tensor(x)).numpy() for _ in range(2))
    assert not np.array_equal(first, second)
    still = archs.build("panns_cnn6", dropout=0.0)
    weights.give(still, weights.state_of(backbone), what="the same architecture")
    still.eval()
    backbone.eval()
    assert np.array_equal(infer(still, x), infer(backbone, x))


def test_the_networks_can_be_traced_for_any_number_and_length_of_sounds(backbone: archs.Backbone) -> None:
    spec = [paddle.static.InputSpec([None, 1, None, 64], "float32")]
    traced = paddle.jit.to_static(copy.deepcopy(backbone), input_spec=spec, full_graph=True)
    for count, frames in ((1, 50), (3, 80)):
        x = noise(count, frames)
        np.testing.assert_allclose(
            traced(paddle.to_tensor(x)).numpy(), infer(backbone, x), rtol=1e-4, atol=1e-5
        )
