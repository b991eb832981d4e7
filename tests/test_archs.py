"""Every architecture keeps the contract of `archs.base`, and the published ones are exactly paddle's networks."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.vision import models

from hub.errors import InputError, SpecError, UsageError, WeightsError
from hub.modules import archs, weights
from hub.modules.archs.base import _FAMILIES
from hub.modules.archs.vision import Chain
from hub.modules.network import Network, infer

# The small variant of each, so that the contract runs in seconds; names that are not here take their defaults.
SMALL = {
    "small_resnet": {"width": 4},
    "resnet": {"depth": 18},
    "resnet_vd": {"depth": 18},
    "mobilenet_v1": {"scale": 0.25},
    "mobilenet_v2": {"scale": 0.25},
    "mobilenet_v3_small": {"scale": 0.25},
    "mobilenet_v3_large": {"scale": 0.25},
    "clas_mobilenet_v1": {"scale": 0.25},
    "clas_mobilenet_v2": {"scale": 0.25},
    "clas_mobilenet_v3_small": {"scale": 0.25},
    "clas_mobilenet_v3_large": {"scale": 0.25},
    "pp_lcnet": {"scale": 0.25},
    "vgg": {"depth": 11},
    "shufflenet_v2": {"scale": 0.25},
}
# The others take no plain pictures, or give maps: they are tested beside their tasks.
CASES = [
    (name, SMALL.get(name, {}))
    for name in archs.names()
    if _FAMILIES.get(name) in ("small_resnet", "vision", "resnet_vd", "mobile")
]
CASES += [("squeezenet", {"version": "1.0"}), ("resnet", {"depth": 50, "width": 4, "groups": 32})]

# What paddle.vision.models offers: function, its arguments → our name, our arguments.
PUBLISHED: dict[str, tuple[str, dict[str, object], str, dict[str, object]]] = {
    **{f"resnet{d}": (f"resnet{d}", {}, "resnet", {"depth": d}) for d in (18, 34, 50, 101, 152)},
    **{
        f"resnext{d}_{g}x4d": (f"resnext{d}_{g}x4d", {}, "resnet", {"depth": d, "width": 4, "groups": g})
        for d in (50, 101, 152)
        for g in (32, 64)
    },
    **{
        f"wide_resnet{d}_2": (f"wide_resnet{d}_2", {}, "resnet", {"depth": d, "width": 128})
        for d in (50, 101)
    },
    **{f"densenet{n}": (f"densenet{n}", {}, "densenet", {"layers": n}) for n in (121, 161, 169, 201, 264)},
    **{f"vgg{d}": (f"vgg{d}", {}, "vgg", {"depth": d}) for d in (11, 13, 16, 19)},
    **{
        f"vgg{d}_bn": (f"vgg{d}", {"batch_norm": True}, "vgg", {"depth": d, "batch_norm": True})
        for d in (11, 13, 16, 19)
    },
    **{
        f"shufflenet_v2_x{text}": (f"shufflenet_v2_x{text}", {}, "shufflenet_v2", {"scale": scale})
        for text, scale in [
            ("0_25", 0.25),
            ("0_33", 0.33),
            ("0_5", 0.5),
            ("1_0", 1.0),
            ("1_5", 1.5),
            ("2_0", 2.0),
        ]
    },
    "shufflenet_v2_swish": ("shufflenet_v2_swish", {}, "shufflenet_v2", {"act": "swish"}),
    **{
        f"{name}_{scale}": (name, {"scale": scale}, name, {"scale": scale})
        for name in ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large")
        for scale in (0.35, 1.0)
    },
    "squeezenet1_0": ("squeezenet1_0", {}, "squeezenet", {"version": "1.0"}),
    "squeezenet1_1": ("squeezenet1_1", {}, "squeezenet", {"version": "1.1"}),
    "inception_v3": ("inception_v3", {}, "inception_v3", {}),
    "googlenet": ("googlenet", {}, "googlenet", {}),
    "alexnet": ("alexnet", {}, "alexnet", {}),
}
# Those that are small enough to run here, and pixels: GoogLeNet's auxiliary heads and AlexNet take few sizes.
RUN = {
    "resnet18": 64, "resnet50": 64, "resnext50_32x4d": 64, "densenet121": 64, "vgg11": 40, "vgg11_bn": 40,
    **{name: 64 for name in PUBLISHED if name.startswith(("mobilenet", "shufflenet"))},
    "inception_v3": 107, "googlenet": 200, "alexnet": 224,
}  # fmt: skip
CLASSES = 7


def noise(*shape: int) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(sum(shape)).normal(size=shape).astype("float32"))


def calibrate(network: nn.Layer, x: paddle.Tensor) -> None:
    """Set running statistics to those of x: at their start values, signals vanish or explode in deep networks."""
    for layer in network.sublayers():
        if isinstance(layer, nn.BatchNorm | nn.BatchNorm2D):
            layer._momentum = 0.0
    network.train()
    network(x)
    network.eval()


@pytest.fixture(
    scope="module", params=CASES, ids=lambda case: "-".join(map(str, [case[0], *case[1].values()]))
)
def case(request: pytest.FixtureRequest) -> tuple[str, dict[str, object], archs.Backbone]:
    name, arguments = request.param
    paddle.seed(1)
    backbone = archs.build(name, **arguments)
    return name, arguments, backbone


@pytest.fixture
def backbone(case) -> archs.Backbone:
    backbone = case[2]
    calibrate(backbone, noise(4, backbone.input_channels, smallest(backbone) + 32, smallest(backbone) + 32))
    return backbone


def smallest(backbone: archs.Backbone) -> int:
    return backbone.smallest if isinstance(backbone, Chain) else 16


def test_the_same_seed_builds_the_same_weights(case):
    name, arguments, backbone = case
    paddle.seed(1)
    again = archs.build(name, **arguments).state_dict()
    assert all(bool((tensor == again[key]).all()) for key, tensor in backbone.state_dict().items())


def test_feature_spec_is_true_of_a_forward_pass(backbone):
    size = smallest(backbone)
    for height, width in [(size, size), (size + 9, size + 40)]:
        features = backbone.features(noise(2, backbone.input_channels, height, width))
        assert backbone.feature_spec.kind == "pooled"
        assert tuple(features.shape) == (2, *backbone.feature_spec.shape)
        assert features.dtype == paddle.float32
        assert bool(paddle.isfinite(features).all())


def test_features_are_the_same_twice_and_tell_pictures_apart(backbone):
    x = noise(2, backbone.input_channels, smallest(backbone) + 32, smallest(backbone) + 32)
    first = backbone.features(x)
    assert bool((first == backbone.features(x)).all())
    assert not paddle.allclose(first[0], first[1], rtol=1e-3)
    # A picture's features depend on no other picture of its batch; kernels may sum in another order.
    np.testing.assert_allclose(
        first[:1], backbone.features(x[:1]), rtol=1e-4, atol=1e-4 * float(first.abs().max())
    )


def test_every_parameter_and_buffer_is_in_exactly_one_group(backbone):
    counted: Counter[int] = Counter()
    for _, layers in backbone.layer_groups():
        counted.update({id(tensor) for layer in layers for tensor in [*layer.parameters(), *layer.buffers()]})
    assert counted == Counter(id(tensor) for tensor in [*backbone.parameters(), *backbone.buffers()])
    group_names = [name for name, _ in backbone.layer_groups()]
    assert len(set(group_names)) == len(group_names)


def test_no_layer_depends_on_a_later_group(backbone):
    x = noise(1, backbone.input_channels, smallest(backbone) + 32, smallest(backbone) + 32)
    seen: dict[tuple[str, int], paddle.Tensor] = {}
    hooks = [
        layer.register_forward_post_hook(lambda _, __, output, key=(name, number): seen.update({key: output}))
        for name, layers in backbone.layer_groups()
        for number, layer in enumerate(layers)
        if layer.parameters()
    ]
    features = backbone.features(x)
    before = dict(seen)
    earlier: set[str] = set()
    for name, layers in backbone.layer_groups():
        parameter = min((p for layer in layers for p in layer.parameters()), key=lambda p: p.size)
        original = parameter.numpy().copy()
        parameter.set_value(original + 1)
        moved = not bool((backbone.features(x) == features).all())
        parameter.set_value(original)
        assert moved, f"{name} has no influence on the features"
        for key, output in before.items():
            assert key[0] not in earlier or bool((seen[key] == output).all()), f"{key[0]} depends on {name}"
        earlier.add(name)
    for hook in hooks:
        hook.remove()
    assert {key[0] for key in before} == earlier


def test_a_lazily_built_backbone_takes_weights_by_name(case, backbone):
    name, arguments, _ = case
    with paddle.LazyGuard():
        lazy = archs.build(name, **arguments)
    lazy.set_state_dict(backbone.state_dict())
    lazy.eval()
    x = noise(1, backbone.input_channels, smallest(backbone) + 32, smallest(backbone) + 32)
    assert bool((lazy.features(x) == backbone.features(x)).all())


def test_an_unknown_argument_is_refused(case):
    with pytest.raises(SpecError, match=r"arch\.no_such: .* takes no such argument"):
        archs.build(case[0], no_such=1)


def test_every_window_fits_from_the_smallest_size_on_and_not_below(backbone):
    if not isinstance(backbone, Chain):
        pytest.skip("takes any size")

    class DoesNotFit(Exception):
        pass

    def pair(value: int | list[int]) -> list[int]:
        return [value, value] if isinstance(value, int) else list(value)

    def check(layer: nn.Layer, given: tuple[paddle.Tensor]) -> None:
        kernel = layer._kernel_size if isinstance(layer, nn.Conv2D) else getattr(layer, "ksize", None)
        padding = layer._padding if isinstance(layer, nn.Conv2D) else layer.padding
        sizes = zip(given[0].shape[2:], pair(kernel), pair(padding), strict=True)
        if any(size + 2 * pad < window for size, window, pad in sizes):
            raise DoesNotFit

    windowed = [
        lay for lay in backbone.sublayers() if isinstance(lay, nn.Conv2D | nn.MaxPool2D | nn.AvgPool2D)
    ]
    hooks = [layer.register_forward_pre_hook(check) for layer in windowed]
    size = backbone.smallest
    backbone.features(noise(1, 3, size, size))
    if size > 1:
        x = noise(1, 3, size - 1, size)
        with pytest.raises(InputError, match=f"of at least {size}×{size} pixels"):
            backbone.features(x)
        network = nn.Sequential(*(layer for _, layers in backbone.layer_groups() for layer in layers))
        with pytest.raises(DoesNotFit):
            network(x)
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("shape", [(1, 1, 224, 224), (3, 224, 224), (1, 224, 224, 3)])
def test_pictures_of_another_layout_are_refused(shape):
    with pytest.raises(InputError, match=r"expected pictures as \[N, 3, H, W\]"):
        archs.build("squeezenet").features(noise(*shape))


@pytest.mark.parametrize(
    ("name", "arguments", "hint"),
    [
        ("resnet", {"dept": 50}, "'depth'"),
        ("vgg", {"batchnorm": True}, "'batch_norm'"),
        ("densenet", {"layer": 121}, "'layers'"),
        ("mobilenet_v2", {"scales": 1.0}, "'scale'"),
        ("alexnet", {"depth": 8}, "no arguments"),
    ],
)
def test_a_misspelt_argument_is_corrected(name, arguments, hint):
    with pytest.raises(SpecError) as caught:
        archs.build(name, **arguments)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet", {"depth": 51}, "arch.depth: expected one of 18, 34, 50, 101, 152, found 51"),
        ("resnet", {"depth": "50"}, "arch.depth: expected one of 18, 34, 50, 101, 152, found '50'"),
        ("resnet", {"width": 0}, "arch.width: expected a whole number of at least 1, found 0"),
        ("resnet", {"groups": 32.0}, "arch.groups: expected a whole number of at least 1, found 32.0"),
        ("resnet", {"depth": 34, "width": 128}, "depth 34 has width 64 and groups 1, found width 128 and groups 1"),
        ("densenet", {"layers": 100}, "arch.layers: expected one of 121, 161, 169, 201, 264, found 100"),
        ("vgg", {"depth": 12}, "arch.depth: expected one of 11, 13, 16, 19, found 12"),
        ("vgg", {"batch_norm": "yes"}, "arch.batch_norm: expected one of True, False, found 'yes'"),
        ("shufflenet_v2", {"scale": 0.75}, "arch.scale: expected one of 0.25, 0.33, 0.5, 1.0, 1.5, 2.0, found 0.75"),
        ("shufflenet_v2", {"act": "swich"}, "arch.act: expected one of relu, swish, found 'swich'"),
        ("small_resnet", {"width": "16"}, "arch: small_resnet cannot be built from {width: '16'}: "),
        ("small_resnet", {"width": -1}, "arch: small_resnet cannot be built from {width: -1}: "),
        ("small_resnet", {"width": 10**15}, "arch: small_resnet cannot be built from {width: 1000000000000000}: "),
        ("small_resnet", {"depth": 1.5}, "arch: small_resnet cannot be built from {depth: 1.5}: "),
        ("small_audio_cnn", {"width": None}, "arch: small_audio_cnn cannot be built from {width: None}: "),
        ("squeezenet", {"version": 1.2}, "arch.version: expected one of 1.0, 1.1, found '1.2'"),
        *[
            (f"mobilenet_{version}", {"scale": scale}, "arch.scale: expected a number of at least 0.1, found")
            for version in ("v1", "v2", "v3_small", "v3_large")
            for scale in (0, -1.0, "1.0", True, float("nan"), float("inf"))
        ],
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_the_allowed_ones(name, arguments, message):
    with pytest.raises(SpecError) as caught:
        archs.build(name, **arguments)
    assert message in caught.value.message


def test_a_number_serves_as_squeezenets_version():
    assert (
        archs.build("squeezenet", version=1.0).state_dict().keys()
        == archs.build("squeezenet", version="1.0").state_dict().keys()
    )


def test_an_unknown_name_is_corrected():
    with pytest.raises(UsageError) as caught:
        archs.build("resnett")
    assert "'resnet'" in caught.value.hint


def test_all_that_paddle_offers_is_in_the_table():
    offered = {name for name in models.__all__ if name.islower()}
    assert {function for function, *_ in PUBLISHED.values()} == offered


@pytest.mark.parametrize("published", PUBLISHED)
def test_names_and_shapes_are_the_published_ones_without_the_classifier(published):
    function, function_arguments, name, arguments = PUBLISHED[published]
    with paddle.LazyGuard():
        theirs = getattr(models, function)(**function_arguments)
        ours = archs.build(name, **arguments)
    shapes = {key: tuple(tensor.shape) for key, tensor in theirs.state_dict().items()}
    body = {key: shape for key, shape in shapes.items() if not key.startswith(ours.published_head)}
    assert {key: tuple(tensor.shape) for key, tensor in ours.state_dict().items()} == body
    assert 1000 in shapes[ours.published_head[0] + "weight"]
    assert ours.feature_spec.channels in shapes[ours.published_head[0] + "weight"]
    for prefix in ours.published_head:
        assert any(key.startswith(prefix) for key in shapes), f"no published tensor under {prefix}"


@pytest.mark.parametrize("published", RUN)
def test_features_and_the_split_head_give_the_published_logits(published):
    function, function_arguments, name, arguments = PUBLISHED[published]
    paddle.seed(2)
    theirs = getattr(models, function)(num_classes=CLASSES, **function_arguments)
    x = noise(2, 3, RUN[published], RUN[published])
    calibrate(theirs, x)
    state = {key: tensor.numpy() for key, tensor in theirs.state_dict().items()}
    expected = theirs(x)
    if isinstance(expected, tuple):  # GoogLeNet: the main head, then the auxiliary ones
        expected = expected[0]
    del theirs
    with paddle.LazyGuard():
        ours = archs.build(name, **arguments)
    body, head = ours.from_published(state)
    assert body.keys() == ours.state_dict().keys()
    ours.set_state_dict(body)
    ours.eval()
    logits = ours.features(x).numpy() @ head["weight"] + head["bias"]
    scale = np.abs(expected.numpy()).max()
    assert scale > 1e-3, "the signal vanished: this run shows nothing"
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_squeezenets_features_are_the_mean_of_its_last_map_and_its_head_is_not_linear(version):
    paddle.seed(3)
    theirs = models.SqueezeNet(version, num_classes=CLASSES)
    theirs.eval()
    maps = []
    theirs._conv8.register_forward_post_hook(lambda _, __, output: maps.append(output))
    x = noise(2, 3, 64, 64)
    expected = theirs(x).numpy()
    state = {key: tensor.numpy() for key, tensor in theirs.state_dict().items()}
    with paddle.LazyGuard():
        ours = archs.build("squeezenet", version=version)
    body, head = ours.from_published(state)
    ours.set_state_dict(body)
    ours.eval()
    features = ours.features(x).numpy()
    np.testing.assert_allclose(features, maps[0].mean(axis=[2, 3]).numpy(), rtol=1e-5, atol=1e-6)
    assert head is None
    # 0.5 is its dropout, which scales when it predicts: what a linear head would give, without the ReLU.
    linear = 0.5 * features @ state["_conv9.weight"][:, :, 0, 0].T + state["_conv9.bias"]
    assert np.abs(linear - expected).max() > 0.1 * np.abs(expected).max()


def test_a_state_without_its_classifier_is_refused():
    with paddle.LazyGuard():
        ours = archs.build("mobilenet_v3_small")
    with pytest.raises(WeightsError, match=r"classifier\.3\.weight"):
        ours.from_published({name: np.zeros(1, "float32") for name in ours.state_dict()})


def test_a_state_is_taken_as_it_is_where_no_checkpoint_has_a_classifier():
    state = weights.state_of(archs.build("small_resnet", width=2))
    assert archs.build("small_resnet", width=2).from_published(state) == (state, None)


@pytest.mark.parametrize("name", ["mobilenet_v2", "googlenet"])
def test_a_backbone_can_be_traced_for_any_number_and_size_of_pictures(name):
    backbone = archs.build(name)
    calibrate(backbone, noise(4, 3, 96, 96))
    any_size = [paddle.static.InputSpec([None, 3, None, None], "float32")]
    traced = paddle.jit.to_static(copy.deepcopy(backbone), input_spec=any_size, full_graph=True)
    for shape in [(1, 3, 64, 96), (2, 3, 96, 64)]:
        np.testing.assert_allclose(traced(noise(*shape)), backbone(noise(*shape)), rtol=1e-4, atol=1e-5)


def test_a_layer_that_is_replaced_in_the_backbone_is_the_one_that_runs():
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(archs.build("resnet", depth=18))
    _, stem = converted.layer_groups()[0]
    assert isinstance(stem[1], nn.SyncBatchNorm)


CUT = [
    ("small_resnet", {"width": 2}),
    ("resnet", {"depth": 18}),
    ("mobilenet_v3_small", {"scale": 0.5}),
    ("resnet", {"depth": 50}),
    ("mobilenet_v1", {"scale": 0.25}),
    ("mobilenet_v2", {"scale": 0.25}),
    ("mobilenet_v3_large", {"scale": 0.35}),
    ("densenet", {}),
    ("vgg", {"depth": 11}),
    ("vgg", {"depth": 11, "batch_norm": True}),
    ("shufflenet_v2", {"scale": 0.25}),
    ("squeezenet", {}),
    ("squeezenet", {"version": "1.0"}),
    ("inception_v3", {}),
    ("googlenet", {}),
    ("alexnet", {}),
]


@pytest.mark.parametrize(
    ("name", "arguments"), CUT, ids=lambda value: value if isinstance(value, str) else ""
)
def test_any_cut_gives_two_parts_that_are_the_network(name: str, arguments: dict[str, Any]) -> None:
    backbone = archs.build(name, **arguments)
    network = Network(backbone, nn.Linear(backbone.feature_spec.channels, 3))
    network.eval()
    side = max(64, smallest(backbone))
    x = np.random.default_rng(0).normal(size=(2, backbone.input_channels, side, side)).astype(np.float32)
    whole = infer(network, x)
    names = [name for name, _ in network.stages()]
    assert names == [name for name, _ in network.layer_groups()]
    for cut in range(len(names) + 1):
        prefix, rest = network.prefix(cut), network.rest(cut)
        assert np.array_equal(infer(rest, infer(prefix, x)), whole), f"cut {cut} of {names}"
        own = {id(parameter) for parameter in rest.parameters()}
        assert not own & {id(parameter) for parameter in prefix.parameters()}
        assert len(own) + len(prefix.parameters()) == len(network.parameters())


@pytest.mark.parametrize(
    ("name", "arguments"), CUT[:3], ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_backbone_without_its_last_groups_is_what_comes_before_them(
    name: str, arguments: dict[str, Any]
) -> None:
    backbone = archs.build(name, **arguments)
    backbone.eval()
    short = archs.shortened(backbone, 1)
    x = np.random.default_rng(0).normal(size=(2, backbone.input_channels, 64, 64)).astype(np.float32)
    before = infer(Network(backbone, nn.Identity()).prefix(len(backbone.layer_groups()) - 1), x)
    maps = before if isinstance(before, tuple) else (before,)
    expected = np.concatenate([m.mean(axis=(2, 3)) if m.ndim == 4 else m for m in maps], axis=1)
    np.testing.assert_allclose(infer(short, x), expected, rtol=1e-4, atol=1e-5)
    assert short.feature_spec.shape == (expected.shape[1],)
    again = archs.build(name, drop_groups=1, drop_channels=expected.shape[1], **arguments)
    weights.give(again, weights.state_of(short), what="the same architecture")
    again.eval()
    assert np.array_equal(infer(again, x), infer(short, x))


def test_an_architecture_of_ones_own_is_found_once_it_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from hub.modules.archs import base

    monkeypatch.setattr(base, "_BUILDERS", dict(base._BUILDERS))
    with pytest.raises(UsageError, match="found 'mine'"):
        archs.build("mine")
    base.register("mine")(lambda *, width=2: archs.build("small_resnet", width=width))
    assert archs.build("mine", width=3).feature_spec.channels == 36
    assert "mine" in archs.names()


def test_an_architecture_of_ones_own_that_lacks_what_it_must_have_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hub.modules.archs import base

    monkeypatch.setattr(base, "_BUILDERS", dict(base._BUILDERS))

    @archs.register("bare")
    class Bare(archs.Backbone):
        pass

    for name, builder in {"bare": Bare, "layer": lambda: nn.Linear(4, 4)}.items():
        archs.register(name)(builder)
        with pytest.raises(SpecError, match=f"expected of {name} a Backbone with a feature_spec") as caught:
            archs.build(name)
        assert "FeatureSpec" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="register: 'resnet' is an architecture of the library's own"):
        archs.register("resnet")(Bare)


def test_pictures_of_other_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected pictures as \[N, 3, H, W\], found \[1, 1, 8, 8\]"):
        archs.build("small_resnet", width=2, in_channels=3).features(paddle.zeros([1, 1, 8, 8]))


def test_more_groups_are_taken_off_what_is_short_already() -> None:
    backbone = archs.build("panns_cnn6")
    backbone.eval()
    twice = archs.shortened(archs.shortened(backbone, 1), 1)
    x = noise(2, 1, 64, 64).numpy()
    np.testing.assert_allclose(infer(twice, x), infer(archs.shortened(backbone, 2), x), rtol=1e-5)


def test_dropping_too_many_groups_is_refused() -> None:
    with pytest.raises(SpecError, match="expected 1 to 4, found 5"):
        archs.shortened(archs.build("small_resnet", width=2), 5)
