"""Colorization: from colour pictures to a network that colours, and from a grey picture to a coloured one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from PIL import Image

import hub
from hub import tasks
from hub.errors import InputError, SpecError, UsageError
from hub.modules import archs
from hub.modules.network import Network, infer
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Named
from hub.tasks import colorization
from hub.transforms import lab
from tests.meters import add

SIDE = 32
PREPROCESSOR = PicturePreprocessor([Named("rgb"), Named("resize", {"size": SIDE}), Named("normalize")])


def picture(seed: int, side: int = SIDE) -> np.ndarray:
    """Red above blue, brighter to the right: colour follows from the place."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((side, side, 3))
    pixels[: side // 2] = (200, 60, 50)
    pixels[side // 2 :] = (40, 80, 190)
    return (
        (pixels * np.linspace(0.6, 1, side)[None, :, None] + rng.normal(0, 4, (side, side, 1)))
        .clip(0, 255)
        .astype(np.uint8)
    )


def sample(given: Any) -> Any:
    return SimpleNamespace(input=given, label=0)


def network(seed: int = 0) -> Network:
    paddle.seed(seed)
    backbone = archs.build("small_colorizer", width=4)
    return Network(backbone, colorization.Colorization().build_head(backbone.feature_spec))


def answers(net: Network, sources: list[Any], alone: bool = True, **options: Any) -> list[dict[str, Any]]:
    items = [PREPROCESSOR.read(source) for source in sources]
    task = colorization.Colorization()
    return task.answers(
        sources,
        items,
        run=lambda batch: infer(task.answering(net) if alone else net, batch),
        preprocessor=PREPROCESSOR,
        **options,
    )


def test_the_whole_network_gives_the_same_pictures() -> None:
    alone, whole = (answers(network(), [picture(0)], alone)[0]["picture"] for alone in (True, False))
    np.testing.assert_array_equal(alone, whole)


def test_a_network_of_ones_own_that_gives_both_is_asked_for_the_second() -> None:
    class Own(nn.Layer):
        backbone = None

        def forward(self, x: Any) -> Any:
            return x[0], 2 * x[0]

    given = np.ones((1, 1, 4, 4), np.float32)
    assert infer(colorization.Colorization().answering(Own()), (given, given)).max() == 2


# ---- networks ----

# Shapes of user_guided.pdparams, from PaddleHub's user_guided_colorization (convolutions [out, in, k, k],
# transposed ones [in, out, k, k]); biases and the four arrays of each batch norm follow from them.
PUBLISHED = {
    "model1.0": (64, 4, 3, 3), "model1.2": (64, 64, 3, 3), "model2.0": (128, 64, 3, 3), "model2.2": (128, 128, 3, 3),
    "model3.0": (256, 128, 3, 3), "model3.2": (256, 256, 3, 3), "model3.4": (256, 256, 3, 3),
    "model4.0": (512, 256, 3, 3), "model4.2": (512, 512, 3, 3), "model4.4": (512, 512, 3, 3),
    "model5.0": (512, 512, 3, 3), "model5.2": (512, 512, 3, 3), "model5.4": (512, 512, 3, 3),
    "model6.0": (512, 512, 3, 3), "model6.2": (512, 512, 3, 3), "model6.4": (512, 512, 3, 3),
    "model7.0": (512, 512, 3, 3), "model7.2": (512, 512, 3, 3), "model7.4": (512, 512, 3, 3),
    "model8up.0": (512, 256, 4, 4), "model3short8.0": (256, 256, 3, 3), "model8.1": (256, 256, 3, 3),
    "model8.3": (256, 256, 3, 3), "model9up.0": (256, 128, 4, 4), "model2short9.0": (128, 128, 3, 3),
    "model9.1": (128, 128, 3, 3), "model10up.0": (128, 128, 4, 4), "model1short10.0": (128, 64, 3, 3),
    "model10.1": (128, 128, 3, 3), "model_class.0": (529, 256, 1, 1), "model_out.0": (2, 128, 1, 1),
}  # fmt: skip
NORMS = {
    "model1.4": 64, "model2.4": 128, "model3.6": 256, "model4.6": 512, "model5.6": 512, "model6.6": 512,
    "model7.6": 512, "model8.5": 256, "model9.3": 128,
}  # fmt: skip


def test_the_user_guided_network_has_the_published_names_and_shapes() -> None:
    with paddle.LazyGuard():
        net = archs.build("user_guided_colorization")
    expected: dict[str, list[int]] = {}
    for name, shape in PUBLISHED.items():
        out = shape[1] if name.endswith("up.0") else shape[0]
        expected |= {f"{name}.weight": list(shape), f"{name}.bias": [out]}
    for name, width in NORMS.items():
        expected |= {f"{name}.{part}": [width] for part in ("weight", "bias", "_mean", "_variance")}
    assert {name: list(array.shape) for name, array in net.state_dict().items()} == expected
    assert 34.1e6 < sum(parameter.size for parameter in net.parameters()) < 34.3e6  # PaddleHub says 34.2 M


@pytest.mark.parametrize("name", ["small_colorizer", "user_guided_colorization"])
def test_stages_make_a_whole_and_groups_hold_every_parameter_once(name: str) -> None:
    net = archs.build(name, **({"width": 4} if name == "small_colorizer" else {}))
    grouped = [id(p) for _, layers in net.layer_groups() for layer in layers for p in layer.parameters()]
    assert sorted(grouped) == sorted(id(parameter) for parameter in net.parameters())
    assert [group for group, _ in net.layer_groups()] == [stage for stage, _ in net.stages()]
    logits, ab = infer(net, (np.zeros((1, 1, 16, 24), np.float32), np.zeros((1, 3, 16, 24), np.float32)))
    assert logits.shape == (1, 529, 4, 6)
    assert ab.shape == (1, 2, 16, 24)
    assert np.abs(ab).max() <= 1


def test_sides_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        infer(network(), (np.zeros((1, 1, 12, 16), np.float32), np.zeros((1, 3, 12, 16), np.float32)))
    with pytest.raises(InputError, match="lightness"):
        infer(network(), np.zeros((1, 3, 16, 16), np.float32))


# ---- examples and loss ----


def test_a_batch_is_lightness_and_hints_with_the_colours_as_targets() -> None:
    examples = tasks.kind("colorization").examples(PREPROCESSOR)
    item = examples.read(sample(picture(0)))
    (lightness, hints), colours = examples.batch([item], np.zeros(1, np.int64))
    assert colours[0].transpose(1, 2, 0) == pytest.approx(lab.from_rgb(item), abs=1e-4)
    assert lightness[0, 0] == pytest.approx(colours[0, 0] / 100 - 0.5, abs=1e-6)
    assert (hints[:, :2] == 0).all()
    assert (hints[:, 2] == -0.5).all()


def test_training_hints_are_colours_of_the_picture_and_follow_from_the_seed() -> None:
    examples = colorization.ColourExamples(PREPROCESSOR)
    item = examples.read(sample(picture(0)))
    counts, distances = [], []
    for seed in range(200):
        hinted = examples.vary(item, np.random.default_rng(seed))
        known = hinted.hints[..., 2] == 1
        counts.append(known.any())
        assert (hinted.hints[~known] == 0).all()
        distances.append(np.abs(hinted.hints[..., :2] - hinted.lab[..., 1:])[known])
    assert 0.8 < np.mean(counts) < 0.95  # one in eight has none
    assert np.median(np.concatenate(distances)) < 5  # a patch's mean is near what is there
    again = examples.vary(item, np.random.default_rng(3))
    assert np.array_equal(again.hints, examples.vary(item, np.random.default_rng(3)).hints)


def test_a_greyscale_picture_is_no_example() -> None:
    examples = colorization.ColourExamples(PREPROCESSOR)
    with pytest.raises(colorization.GreyscaleError, match="greyscale"):
        examples.read(sample(Image.fromarray(picture(0)).convert("L")))


def test_bins_are_the_grid_of_the_paper() -> None:
    ab = np.array([[-110.0, -110.0], [0.0, 4.9], [110.0, 110.0], [12.0, -14.0], [300, -300]], np.float32)
    found = colorization.bins_of(paddle.to_tensor(ab.reshape(5, 2, 1, 1))).numpy().ravel()
    assert found.tolist() == [0, 11 * 23 + 11, 528, 12 * 23 + 10, 22 * 23]


def test_the_loss_is_huber_and_a_share_of_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (2, 529, 2, 2)).astype(np.float32)
    guess = rng.uniform(-0.5, 0.5, (2, 2, 8, 8)).astype(np.float32)
    right = np.concatenate([np.full((2, 1, 8, 8), 50), rng.uniform(-60, 60, (2, 2, 8, 8))], 1).astype(
        np.float32
    )
    for weights in (None, colorization.rebalancing()):
        found = colorization.Colorization().loss(class_weight=weights)(
            (paddle.to_tensor(logits), paddle.to_tensor(guess)), paddle.to_tensor(right)
        )
        error, d = np.abs(guess - right[:, 1:] / 110), colorization.HUBER
        huber = np.where(error < d, error**2 / 2, d * error - d * d / 2).mean() / d
        places = np.rint((right[:, 1:, ::4, ::4] + 110) / 10).astype(int)
        bins = places[:, 0] * 23 + places[:, 1]
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        each = -np.take_along_axis(log_p, bins[:, None], 1)[:, 0]
        each = each * (1 if weights is None else weights[bins])
        assert float(found) == pytest.approx(huber + colorization.CLASS_SHARE * each.mean(), rel=1e-4)


def test_rebalancing_weighs_strong_colours_more_and_is_one_in_the_mean() -> None:
    weights = colorization.rebalancing()
    assert weights[11 * 23 + 11] < 1 < weights[0]
    task = colorization.Colorization()
    assert np.array_equal(task.class_weight("balanced", {}), weights)  # type: ignore[arg-type]
    assert task.class_weight(None, {}) is None
    with pytest.raises(UsageError, match="balanced"):
        task.class_weight({"red": 2.0}, {})


def test_it_learns_colours_from_the_place() -> None:
    task, net = colorization.Colorization(), network()
    examples = task.examples(PREPROCESSOR)
    items = [examples.read(sample(picture(seed))) for seed in range(4)]
    given, targets = examples.batch(items, np.zeros(4, np.int64))
    before, after = task.meter(), task.meter()
    before.update(infer(net, given), targets)
    optimizer, loss = paddle.optimizer.Adam(5e-3, parameters=net.parameters()), task.loss()
    x = tuple(map(paddle.to_tensor, given))
    net.train()
    for _ in range(60):
        loss(net(x), paddle.to_tensor(targets)).backward()
        optimizer.step()
        optimizer.clear_grad()
    after.update(infer(net, given), targets)
    assert (
        after.compute()["psnr_ab"] > max(before.compute()["psnr_ab"], before.compute()["psnr_ab_of_grey"]) + 5
    )


# ---- metrics ----


def test_metrics_are_means_over_the_whole_set_however_it_is_cut() -> None:
    rng = np.random.default_rng(0)
    colours = np.stack([lab.from_rgb(picture(n)) for n in range(5)]).transpose(0, 3, 1, 2)
    outputs = (
        np.zeros((5, 529, 8, 8), np.float32),
        rng.uniform(-0.5, 0.5, (5, 2, SIDE, SIDE)).astype(np.float32),
    )
    whole, first, second = (colorization.ColourMeter() for _ in range(3))
    whole.update(outputs, colours)
    first.update((outputs[0][:2], outputs[1][:2]), colours[:2])
    second.update((outputs[0][2:], outputs[1][2:]), colours[2:])
    add(first, second)
    assert first.compute() == pytest.approx(whole.compute())
    perfect = colorization.ColourMeter()
    perfect.update((outputs[0], colours[:, 1:] / 110), colours)
    found = perfect.compute()
    assert found["psnr"] == 100
    assert found["ssim"] == pytest.approx(1)
    assert found["colourfulness"] == pytest.approx(found["true_colourfulness"])


# ---- answers ----


def test_the_result_has_the_size_and_the_lightness_of_the_picture() -> None:
    grey = Image.fromarray(picture(1, 50)).convert("L").resize((61, 50))
    [result] = answers(network(), [grey])
    assert result["picture"].shape == (50, 61, 3)
    assert result["picture"].dtype == np.uint8
    found = lab.from_rgb(result["picture"])[..., 0]
    expected = lab.from_rgb(np.asarray(grey.convert("RGB")))[..., 0]
    assert np.abs(found - expected).max() < 1  # whole numbers of red, green and blue
    [strong] = answers(network(), [grey], hints=[(30, 25, "blue")], radius=9)
    assert np.abs(lab.from_rgb(strong["picture"])[..., 0] - expected).max() < 1
    assert answers(network(), [], hints=[(1, 1, "red")]) == []


@pytest.mark.parametrize("steps", [[], [Named("resize", {"short": 20})]], ids=["as they are", "short"])
def test_pictures_of_any_sizes_are_answered_together_as_alone(steps: list[Named]) -> None:
    module = hub.Module.create(
        "any", task="colorization", arch={"name": "small_colorizer", "width": 4},
        preprocess=[{"rgb": {}}, *({step.name: step.arguments} for step in steps), {"normalize": {}}],
    )  # fmt: skip
    sizes = [(32, 24), (9, 7), (50, 41), (1, 1), (32, 24)]
    pictures = [Image.fromarray(picture(n, 64)).resize(size) for n, size in enumerate(sizes)]
    together = module.predict(pictures)
    for size, given, found in zip(sizes, pictures, together, strict=True):
        assert found["picture"].shape == (size[1], size[0], 3)
        [alone] = module.predict(given)
        assert np.abs(found["picture"].astype(int) - alone["picture"]).max() <= 1


@pytest.mark.parametrize(
    "step", [Named("center_crop", {"size": 32}), Named("pad_square")], ids=lambda one: one.name
)
def test_steps_that_would_move_colours_off_their_pictures_are_refused(step: Named) -> None:
    preprocessor = PicturePreprocessor([Named("rgb"), step, Named("normalize")])
    said = f"colorization cannot have {step.name}: colours would no longer lie on their pictures"
    with pytest.raises(SpecError, match=said):
        colorization.ColourExamples(preprocessor)
    with pytest.raises(SpecError, match=said):
        colorization.Colorization().answers([], [], run=lambda x: x, preprocessor=preprocessor)


def test_a_hint_changes_the_colours_and_the_colours_of_the_input_do_not() -> None:
    net, colourful = network(), picture(2)
    grey = lab.to_pixels(lab.from_rgb(colourful) * np.array([1, 0, 0], np.float32))
    [plain] = answers(net, [grey])
    [from_colours] = answers(net, [colourful])
    difference = np.abs(plain["picture"].astype(int) - from_colours["picture"])
    assert difference.mean() < 1  # the lightness of 8-bit grey is rounded
    [hinted] = answers(net, [grey], hints=[(10, 20, "#ff0000")])
    assert not np.array_equal(hinted["picture"], plain["picture"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hints": [(1, 2)]}, "expected"),
        ({"hints": [(1, 2, "reddish")]}, "expected a colour"),
        ({"hints": [(99, 2, "red")]}, "outside of a picture of 32×32"),
        ({"hints": [(-1, 2, "red")]}, "outside"),
        ({"hints": [(1, 2, (255, 0, 0))]}, "expected a colour such as"),
        ({"hints": None}, "hints: expected a list of"),
        ({"hints": "red"}, "hints: expected a list of"),
        ({"hints": (1, 2, "red")}, "hints: expected"),
        ({"radius": -1}, "radius"),
        ({"radius": 2.5, "hints": [(1, 2, "red")]}, "radius: expected a whole number of pixels.*found 2.5"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        answers(network(), [picture(0)], **options)


def test_it_has_no_labels() -> None:
    assert tasks.create("colorization", ()).labels == ()
    with pytest.raises(UsageError, match="no labels"):
        tasks.create("colorization", ["red"])
    with pytest.raises(SpecError):
        archs.build("small_colorizer", widht=3)
