"""Style transfer: networks, losses, and pictures of any size painted in the style of others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pictures
import pytest
from PIL import Image

import hub
from hub import tasks
from hub.errors import InputError, SpecError, UsageError, WeightsError
from hub.modules import archs, weights
from hub.modules.archs.style import SLOTS, gram
from hub.modules.network import Network, infer
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Named
from hub.tasks import style_transfer
from hub.tasks.style_transfer import StyleTransfer
from tests.meters import add

PREPROCESSOR = PicturePreprocessor([Named("rgb"), Named("resize", {"size": 32}), Named("normalize")])


def picture(seed: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def stripes(side: int = 64) -> np.ndarray:
    y = np.arange(side)[:, None, None] // 4 % 2
    return np.broadcast_to(np.where(y, (220, 40, 40), (240, 220, 60)), (side, side, 3)).astype(np.uint8)


def network(arch: str = "small_stylizer", seed: int = 0, **options: Any) -> tuple[Network, StyleTransfer]:
    paddle.seed(seed)
    backbone = archs.build(arch, **(options or {"width": 4, "blocks": 1}))
    task = StyleTransfer(style=[stripes(), picture(9)])
    task.attach(backbone)
    task.begin()
    return Network(backbone, task.build_head(backbone.feature_spec)), task


def answers(net: Network, task: StyleTransfer, sources: list[Any], **options: Any) -> list[dict[str, Any]]:
    return task.answers(
        sources, sources, run=lambda batch: infer(net, batch), preprocessor=PREPROCESSOR, **options
    )


# ---- networks ----

MSGNET = {"ngf": 4, "n_blocks": 2}


@pytest.mark.parametrize(
    ("arch", "options"), [("small_stylizer", {"width": 4, "blocks": 1}), ("msgnet", MSGNET)]
)
def test_groups_hold_every_parameter_once_and_stages_make_the_whole(
    arch: str, options: dict[str, int]
) -> None:
    net, _ = network(arch, **options)
    backbone: Any = net.backbone
    grouped = [id(p) for _, layers in backbone.layer_groups() for layer in layers for p in layer.parameters()]
    assert sorted(grouped) == sorted(id(parameter) for parameter in backbone.parameters())
    assert [group for group, _ in backbone.layer_groups()] == [stage for stage, _ in backbone.stages()]
    content = np.random.default_rng(0).random((2, 3, 16, 24)).astype(np.float32)
    numbered = infer(net, (content, np.array([0, 2])))  # 2 is 0 again: two are kept
    style = (
        np.stack([style_transfer.style_picture(stripes())] * 2).transpose(0, 3, 1, 2).astype(np.float32) / 255
    )
    assert numbered.shape == content.shape
    assert infer(net, content) == pytest.approx(numbered, abs=1e-5)
    assert infer(net, (content, style)) == pytest.approx(numbered, abs=1e-5)


def test_kept_styles_travel_with_the_weights(tmp_path: Path) -> None:
    net, _ = network()
    weights.save(tmp_path / "w.safetensors", weights.state_of(net.backbone))
    with paddle.LazyGuard():
        other = archs.build("small_stylizer", width=4, blocks=1)
    weights.give(other, weights.load(tmp_path / "w.safetensors"), what="test")
    content = np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32)
    given = content, np.array([0, 1])
    assert np.array_equal(infer(Network(other, paddle.nn.Identity()), given), infer(net, given))


# Shapes of the parameters in style_paddle.pdparams, from PaddleHub's msgnet: "model1." and "ins." repeat "model."
_BLOCK = {"0": 0, "2": (1, 0, 1), "3": 1, "5.conv2d": (1, 1, 3), "6": 1, "8": (2, 1, 1)}


def published_shapes() -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = {}

    def conv(name: str, out: int, wide: int, kernel: int) -> None:
        shapes.update({f"{name}.weight": [out, wide, kernel, kernel], f"{name}.bias": [out]})

    def norm(name: str, width: int) -> None:
        shapes.update({f"{name}.scale": [width], f"{name}.bias": [width]})

    def block(name: str, wide: int, planes: int, residual: str) -> None:
        sizes = (wide, planes, planes * 4)
        for place, what in _BLOCK.items():
            if isinstance(what, int):
                norm(f"{name}.conv_block.{place}", sizes[what])
            else:
                conv(f"{name}.conv_block.{place}", sizes[what[0]], sizes[what[1]], what[2])
        if residual:
            conv(f"{name}.{residual}", planes * 4, wide, 1)

    conv("model.0.conv2d", 64, 3, 7)
    norm("model.1", 64)
    block("model.3", 64, 32, "residual_layer")
    block("model.4", 128, 128, "residual_layer")
    shapes["model.5.weight"] = [1, 512, 512]
    for number in range(6, 12):
        block(f"model.{number}", 512, 128, "")
    block("model.12", 512, 32, "residual_layer.conv2d")
    block("model.13", 128, 16, "residual_layer.conv2d")
    norm("model.14", 64)
    conv("model.16.conv2d", 3, 64, 7)
    return shapes


def test_msgnet_has_the_published_names_and_shapes() -> None:
    net = archs.build("msgnet")
    own = {name: list(array.shape) for name, array in net.state_dict().items()}
    assert own.pop("styles") == [SLOTS, 3, 128, 128]
    assert own.pop("kept") == []
    assert own == published_shapes()


def test_msgnets_published_state_is_read_without_its_repeats() -> None:
    rng = np.random.default_rng(0)
    net = archs.build("msgnet", **MSGNET)
    own = {name: array for name, array in weights.state_of(net).items() if name.startswith("model.")}
    state = {name: rng.random(array.shape).astype(np.float32) for name, array in own.items()}
    doubled = state | {f"model1.{name.removeprefix('model.')}": array for name, array in state.items()}
    found, head = net.from_published(doubled | {"ins.weight": state["model.5.weight"]})
    weights.give(net, found, what="test")
    assert head is None
    assert (found["model.1.scale"] == 1).all()
    assert (found["model.1.bias"] == 0).all()
    assert np.array_equal(found["model.0.conv2d.bias"], state["model.0.conv2d.bias"])
    renamed, _ = net.from_published(state | {"model2.0.bias": np.zeros(1, np.float32)})
    with pytest.raises(WeightsError, match=r"unexpected model2\.0\.bias"):
        weights.give(net, renamed, what="test")


def test_sides_and_styles_that_do_not_fit_are_refused() -> None:
    net, _ = network()
    with pytest.raises(InputError, match="multiples of 4"):
        infer(net, np.zeros((1, 3, 10, 16), np.float32))
    with pytest.raises(InputError, match=r"N, 3, H, W"):
        infer(net, np.zeros((1, 1, 16, 16), np.float32))
    with pytest.raises(UsageError, match="1 to 4 pictures"):
        network()[0].backbone.keep([picture(0, 128)] * 5)


# ---- losses ----


def test_the_gram_matrix_is_the_product_of_the_channels() -> None:
    maps = np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float32)
    expected = np.einsum("nchw,ndhw->ncd", maps, maps) / (3 * 4 * 5)
    assert gram(paddle.to_tensor(maps)).numpy() == pytest.approx(expected, rel=1e-5)


def test_the_content_itself_has_no_content_loss_and_the_style_no_style_loss() -> None:
    _, task = network()
    content = paddle.to_tensor(np.random.default_rng(1).random((2, 3, 32, 32)).astype(np.float32))
    _, style_loss, content_loss = task.losses(content, (content, paddle.to_tensor([0, 1])))
    assert float(content_loss) == pytest.approx(0, abs=1e-6)
    assert float(style_loss) > 0.01
    styles = [style_transfer.style_picture(each) for each in (stripes(), picture(9))]
    painted = paddle.to_tensor(np.stack(styles).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    total, style_loss, _ = task.losses(painted, (painted, paddle.to_tensor([0, 1])))
    assert float(style_loss) == pytest.approx(0, abs=1e-5)
    assert float(total) == pytest.approx(0.1 * float(_roughness(painted)), rel=1e-3)


def _roughness(x: Any) -> Any:
    return (x[:, :, 1:] - x[:, :, :-1]).abs().mean() + (x[..., 1:] - x[..., :-1]).abs().mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_styles_are_measured_on_any_backbone_with_its_own_normalisation(channels: int) -> None:
    other = PicturePreprocessor([Named("normalize", {"mean": [0.5] * channels, "std": [0.25] * channels})])
    backbone = archs.build("small_resnet", width=4, in_channels=channels)
    pixels = picture(3)[None]
    maps = style_transfer.feature_maps(backbone, other)(
        paddle.to_tensor(pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    )
    assert [list(x.shape[1:]) for x in maps] == [[4, 32, 32], [4, 32, 32], [8, 16, 16], [16, 8, 8]]
    given = (
        other.batch([pixels[0]])
        if channels == 3
        else (pixels.mean(-1)[:, None].astype(np.float32) / 255 - 0.5) / 0.25
    )
    assert maps[0].numpy() == pytest.approx(infer(backbone.stem, given), abs=1e-4)
    task = StyleTransfer(style=stripes(), features=(backbone, other))
    task.attach(archs.build("msgnet", **MSGNET))
    task.loss()


def test_it_learns_a_style_and_the_measure_stays_as_it_was() -> None:
    net, task = network()
    examples = StyleTransfer.examples(PREPROCESSOR)
    items = [examples.read(SimpleNamespace(input=picture(n), label=n)) for n in range(4)]
    given, targets = examples.batch(items, np.arange(4))
    before = metrics(net, task, given, targets)
    optimizer, loss = paddle.optimizer.Adam(5e-3, parameters=net.parameters()), task.loss()
    x = tuple(map(paddle.to_tensor, given))
    for _ in range(40):
        loss(net(x), x).backward()
        optimizer.step()
        optimizer.clear_grad()
    after = metrics(net, task, given, targets)
    assert after["total_loss"] < 0.7 * before["total_loss"]
    assert metrics_of(task, given[0], targets) == pytest.approx(
        metrics_of(network()[1], given[0], targets), rel=1e-4
    )


def metrics(net: Network, task: StyleTransfer, given: Any, targets: Any) -> Mapping[str, float]:
    return metrics_of(task, infer(net, given), targets)


def metrics_of(task: StyleTransfer, painted: np.ndarray, targets: Any) -> Mapping[str, float]:
    meter = task.meter()
    meter.update(painted, targets)
    return meter.compute()


def test_metrics_are_means_over_the_whole_set_however_it_is_cut() -> None:
    _, task = network()
    painted = np.random.default_rng(0).random((5, 3, 16, 16)).astype(np.float32)
    content = painted[::-1].copy(), np.arange(5)
    whole, first, second = task.meter(), task.meter(), task.meter()
    whole.update(painted, content)
    first.update(painted[:2], (content[0][:2], content[1][:2]))
    second.update(painted[2:], (content[0][2:], content[1][2:]))
    add(first, second)
    assert first.compute() == pytest.approx(whole.compute(), rel=1e-4)


def test_every_picture_is_measured_in_every_style() -> None:
    """A set twice, or in another order, has the metrics of the set."""
    module = hub.Module("textures_stylizer")
    pictures = [picture(seed, 48) for seed in range(3)]
    found = module.evaluate(pictures)
    assert found["count"] == 3
    for other in (pictures[::-1], pictures * 2):
        again = module.evaluate(other)
        assert again["count"] == len(other)
        for name in StyleTransfer.metrics:
            assert again[name] == pytest.approx(found[name], rel=1e-4)
    alone = [module.evaluate([each])["total_loss"] for each in pictures]
    assert np.mean(alone) == pytest.approx(found["total_loss"], rel=1e-4)


def test_training_draws_a_style_for_a_sample_that_has_one_of_its_own_without() -> None:
    examples = StyleTransfer.examples(PREPROCESSOR)
    items = [PREPROCESSOR.read(picture(n)) for n in range(3)]
    (content, which), targets = examples.batch(items, np.array([4, 5, 6]))
    assert which.tolist() == [4, 5, 6]
    assert targets[0] is content
    varied = [examples.vary(item, np.random.default_rng(7)) for item in items]
    (_, drawn), _ = examples.batch(varied, np.array([4, 5, 6]))
    assert drawn.tolist() == [np.random.default_rng(7).integers(1 << 30)] * 3


# ---- answers ----


@pytest.mark.parametrize("size", [(32, 32), (37, 21), (5, 90), (1, 1)])
def test_a_picture_of_any_size_keeps_its_size(size: tuple[int, int]) -> None:
    net, task = network()
    given = Image.fromarray(picture(0, 100)).resize(size)
    [result] = answers(net, task, [given])
    assert result["picture"].shape == (size[1], size[0], 3)
    assert result["picture"].dtype == np.uint8
    [small] = answers(net, task, [given], longest=16)
    assert small["picture"].shape == result["picture"].shape


def test_strength_mixes_and_styles_differ() -> None:
    net, task = network()
    given = picture(0)
    [none], [half], [full] = (answers(net, task, [given], strength=s) for s in (0.0, 0.5, 1.0))
    assert np.array_equal(none["picture"], given)
    middle = (none["picture"].astype(int) + full["picture"]) / 2
    assert np.abs(half["picture"] - middle).max() <= 1
    [kept] = answers(net, task, [given], style=0)
    [second] = answers(net, task, [given], style=1)
    [other] = answers(net, task, [given], style=stripes())
    assert np.array_equal(kept["picture"], other["picture"])
    [first] = answers(net, task, [given], style=np.int64(0), strength=np.float32(1), longest=np.int32(512))
    assert np.array_equal(kept["picture"], first["picture"])
    assert not np.array_equal(kept["picture"], second["picture"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"strength": 2}, "strength"),
        ({"strength": "half"}, "strength: expected a number from 0 to 1, found 'half'"),
        ({"longest": "big"}, "longest: .*found 'big'"),
        ({"longest": 64.5}, "longest"),
        ({"style": None}, "style: expected a path"),
        ({"longest": 2}, "longest"),
        ({"style": 2}, "0 to 1, found 2"),
        ({"style": "nowhere.png"}, "style: nowhere.png: no such file"),
        ({"style": Image.new("L", (60_000, 1))}, "style: 60000×1 pixels would become"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], says: str) -> None:
    net, task = network()
    with pytest.raises(UsageError, match=says):
        answers(net, task, [], **options)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="no labels"):
        tasks.create("style_transfer", ["a"])
    for wrong in (-1, "4", float("inf"), float("nan"), None):
        with pytest.raises(UsageError, match="style_weight: expected a number from 0 on"):
            StyleTransfer(style_weight=wrong)  # type: ignore[arg-type]
    for none_or_many in ([], [stripes()] * (SLOTS + 1)):
        with pytest.raises(UsageError, match=f"style: expected 1 to {SLOTS} pictures"):
            StyleTransfer(style=none_or_many)
    with pytest.raises(UsageError, match="class_weight"):
        StyleTransfer().class_weight("balanced", {})
    with pytest.raises(SpecError, match="keeps styles"):
        StyleTransfer().attach(archs.build("small_resnet", width=2))
    bare = StyleTransfer()
    bare.attach(archs.build("small_stylizer", width=4))
    with pytest.raises(UsageError, match="expected a picture to learn"):
        bare.loss()
    other = StyleTransfer(style=stripes())
    other.attach(archs.build("msgnet", **MSGNET))
    with pytest.raises(UsageError, match="features"):
        other.loss()


def test_styles_are_measured_on_a_module_from_its_folder(tmp_path: Path) -> None:
    module = pictures.tiny_module()
    module.save(tmp_path / "tiny")
    tasks = [
        StyleTransfer(style=stripes(), features=features)
        for features in (str(tmp_path / "tiny"), module, (module.network.backbone, module.preprocessor))
    ]
    painted = np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32)
    found = []
    for task in tasks:
        task.attach(archs.build("msgnet", **MSGNET))
        found.append(metrics_of(task, painted, (painted[::-1].copy(), np.zeros(2, np.int64))))
    assert found[0] == pytest.approx(found[1])
    assert found[2] == pytest.approx(found[1])
    with pytest.raises(SpecError, match="expected a module folder"):
        StyleTransfer(features=tmp_path / "nowhere")
    with pytest.raises(SpecError, match="expected a module folder"):
        StyleTransfer(features="x" * 300)
    with pytest.raises(SpecError, match=r"features=hub.Module\('glyphs_cnn'\)"):
        StyleTransfer(features="glyphs_cnn")


def test_styles_are_measured_on_modules_of_pictures_alone(tmp_path: Path) -> None:
    of_sounds = hub.Module("speech_cnn")
    of_sounds.save(tmp_path / "sounds")
    for features in (of_sounds, tmp_path / "sounds", hub.Module("sentences_static"), 3, (1, 2), [picture(0)]):
        with pytest.raises(UsageError, match="features: expected a module of pictures, found"):
            StyleTransfer(features=features)


def test_the_measure_is_taken_when_the_network_is_handed_over() -> None:
    _, task = network()
    painted = np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32)
    content = painted[::-1].copy(), np.zeros(2, np.int64)
    expected = metrics_of(task, painted, content)
    later, other = network()
    for parameter in later.parameters():  # as a checkpoint does that is put back
        parameter.set_value(parameter * 1.5)
    assert metrics_of(other, painted, content) == pytest.approx(expected)


def test_a_run_with_another_style_is_not_gone_on_with(tmp_path: Path) -> None:
    """What the task was told counts as a setting, also where it is a picture in memory."""

    def train(**more: Any) -> Any:
        return hub.Module("textures_stylizer").finetune(
            [picture(n) for n in range(4)],
            epochs=1,
            batch_size=2,
            output_dir=tmp_path / "run",
            progress=False,
            **more,
        )

    module = train(style=stripes(), style_weight=2.0)
    assert module.run.config["style_weight"] == 2.0
    assert "style_weight=2.0" in module.run.command
    with pytest.raises(UsageError, match=r"style was 'ndarray [0-9a-f]{16}' and is 'ndarray [0-9a-f]{16}'"):
        train(style=picture(9), style_weight=2.0, resume=True)
    with pytest.raises(UsageError, match=r"style_weight was 2\.0 and is 4\.0"):
        train(style=stripes(), style_weight=4.0, resume=True)


def test_another_picture_or_network_in_the_same_place_is_noticed(tmp_path: Path) -> None:
    style, measure = tmp_path / "style.png", tmp_path / "measure"

    def train(*, resume: bool = True) -> None:
        hub.Module("textures_stylizer").finetune(
            [picture(n) for n in range(4)], epochs=1, batch_size=2, output_dir=tmp_path / "run", progress=False,
            style=str(style), features=measure, resume=resume,
        )  # fmt: skip

    Image.fromarray(stripes()).save(style)
    pictures.tiny_module().save(measure)
    train(resume=False)
    train()
    Image.fromarray(picture(9)).save(style)
    with pytest.raises(UsageError, match=r"learnt from beside the data changed: style: \w+ then, \w+ now\n"):
        train()
    Image.fromarray(stripes()).save(style)
    for change in (
        {"seed": 1},
        {
            "preprocess": [
                {"grayscale": {}},
                {"resize": {"size": 16}},
                {"normalize": {"mean": [0.4], "std": [0.1]}},
            ]
        },
    ):
        pictures.tiny_module(**change).save(measure)
        with pytest.raises(UsageError, match="learnt from beside the data changed: features: "):
            train()


def test_the_same_picture_and_network_in_another_place_are_gone_on_with(tmp_path: Path) -> None:
    def train(place: Path, **more: Any) -> Any:
        place.mkdir()
        Image.fromarray(stripes()).save(place / "style.png")
        measure = pictures.tiny_module().save(place / "measure")
        return hub.Module("textures_stylizer").finetune(
            [picture(n) for n in range(4)], epochs=1, batch_size=2, output_dir=tmp_path / "run", progress=False,
            style=[place / "style.png"], features=measure, **more,
        )  # fmt: skip

    first = train(tmp_path / "here")
    again = train(tmp_path / "there", resume=True)
    assert again.run.history == first.run.history
    with pytest.raises(UsageError, match="style_weight was None and is 1") as caught:
        train(tmp_path / "elsewhere", resume=True, style_weight=1)
    assert "elsewhere" not in str(caught.value)


def test_a_style_that_is_left_out_is_named(tmp_path: Path) -> None:
    settings = {"epochs": 1, "batch_size": 2, "output_dir": tmp_path / "run", "progress": False}
    content = [picture(n) for n in range(4)]
    hub.Module("textures_stylizer").finetune(content, style=stripes(), **settings)
    with pytest.raises(UsageError, match=r"beside the data changed: style: [0-9a-f]{16} then, None now"):
        hub.Module("textures_stylizer").finetune(content, resume=True, **settings)


def test_a_run_with_features_of_a_module_in_memory_is_gone_on_with(tmp_path: Path) -> None:
    saved = pictures.tiny_module().save(tmp_path / "measure")
    for resume in (False, True):
        module = hub.Module("textures_stylizer").finetune(
            [picture(n) for n in range(4)], epochs=1, batch_size=2, output_dir=tmp_path / "run", progress=False,
            style=stripes(), features=hub.Module(saved), resume=resume,
        )  # fmt: skip
    assert "features='Module'" in module.run.command
