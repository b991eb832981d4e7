"""Semantic segmentation: losses, metrics, the pyramid, joint variants, answers by tiles."""

from __future__ import annotations

import itertools

import numpy as np
import paddle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score

from hub import tasks
from hub.datasets import Sample
from hub.errors import HubError, InputError, SpecError, UsageError
from hub.modules import archs
from hub.modules.network import Network, infer
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Named
from hub.tasks.segmentation import (
    MaskedExamples,
    SemanticSegmentation,
    _bands,
    _starts,
    palette,
    palette_picture,
)
from hub.tasks.segmentation_losses import cross_entropy, dice, lovasz
from hub.tasks.segmentation_metrics import PixelMeter
from hub.transforms import joint
from tests.meters import add

LABELS = ("ground", "road", "tree")
ENCODERS = [
    {"name": "small_resnet", "width": 4, "in_channels": 3},
    {"name": "resnet", "depth": 18},
    {"name": "mobilenet_v1", "scale": 0.25},
    {"name": "mobilenet_v2", "scale": 0.25},
    {"name": "mobilenet_v3_small", "scale": 0.5},
    {"name": "mobilenet_v3_large", "scale": 0.35},
]


def random_masks(
    shape: tuple[int, ...], *, ignored: float = 0.2, count: int = 3, seed: int = 0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, count, shape)
    masks[rng.random(shape) < ignored] = joint.IGNORED
    return masks


def logits_of(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# ---- metrics ----


def test_metrics_over_batches_are_those_of_scikit_learn_over_the_whole_set() -> None:
    logits, masks = logits_of((6, 3, 8, 10)), random_masks((6, 8, 10))
    first, second = PixelMeter(LABELS), PixelMeter(LABELS)
    first.update(logits[:2], masks[:2])
    second.update(logits[2:], masks[2:])
    add(first, second)
    found = first.compute()
    known = masks != joint.IGNORED
    right, guess = masks[known], logits.argmax(axis=1)[known]
    assert found["miou"] == pytest.approx(jaccard_score(right, guess, average="macro"))
    assert found["dice"] == pytest.approx(f1_score(right, guess, average="macro"))
    assert list(found["iou"].values()) == pytest.approx(jaccard_score(right, guess, average=None).tolist())
    assert found["pixel_accuracy"] == pytest.approx((right == guess).mean())
    assert found["pixels"] == known.sum()


def test_a_class_that_occurs_nowhere_does_not_count() -> None:
    meter = PixelMeter(LABELS)
    masks = random_masks((1, 4, 4), count=2, ignored=0)
    meter.update(np.eye(3)[masks].transpose(0, 3, 1, 2), masks)
    assert meter.compute()["iou"] == {"ground": 1.0, "road": 1.0, "tree": None}
    assert meter.compute()["miou"] == 1.0


# ---- losses ----


@pytest.mark.parametrize("weight", [None, np.array([0.5, 1.0, 4.0])])
def test_cross_entropy_is_the_weighted_mean_over_known_pixels(weight: np.ndarray | None) -> None:
    logits, masks = logits_of((2, 3, 4, 5)), random_masks((2, 4, 5))
    found = cross_entropy(weight)(paddle.to_tensor(logits), paddle.to_tensor(masks))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total, weights = 0.0, 0.0
    for n, y, x in np.argwhere(masks != joint.IGNORED):
        share = 1.0 if weight is None else weight[masks[n, y, x]]
        total -= share * np.log(chances[n, masks[n, y, x], y, x])
        weights += share
    assert float(found) == pytest.approx(total / weights, rel=1e-5)


@pytest.mark.parametrize("kind", ["cross_entropy", "dice", "lovasz"])
def test_losses_ignore_255_and_give_no_gradient_there(kind: str) -> None:
    logits, masks = logits_of((1, 3, 4, 4)), random_masks((1, 4, 4))
    given = paddle.to_tensor(logits, stop_gradient=False)
    SemanticSegmentation(LABELS).loss(kind)(given, paddle.to_tensor(masks)).backward()
    ignored = (masks == joint.IGNORED)[0]
    gradient = np.abs(given.grad.numpy()[0]).sum(axis=0)
    assert gradient[ignored].max() == 0
    assert gradient[~ignored].min() > 0


@pytest.mark.parametrize("kind", ["cross_entropy", "dice", "lovasz"])
def test_a_batch_without_known_pixels_costs_nothing(kind: str) -> None:
    masks = paddle.full([1, 4, 4], joint.IGNORED, "int64")
    assert (
        float(SemanticSegmentation(LABELS).loss(kind)(paddle.to_tensor(logits_of((1, 3, 4, 4))), masks)) == 0
    )


def test_overlap_losses_of_certain_answers_are_one_minus_the_overlap() -> None:
    masks, guess = random_masks((1, 6, 6), ignored=0.1), random_masks((1, 6, 6), ignored=0, seed=3)
    logits = paddle.to_tensor(100 * np.eye(3, dtype=np.float32)[guess].transpose(0, 3, 1, 2))
    known = masks != joint.IGNORED
    wanted = 1 - f1_score(masks[known], guess[known], average="macro")
    assert float(dice(logits, paddle.to_tensor(masks))) == pytest.approx(wanted, abs=1e-5)
    wanted = 1 - jaccard_score(masks[known], guess[known], average="macro")
    assert float(lovasz(logits, paddle.to_tensor(masks))) == pytest.approx(wanted, abs=1e-5)


# ---- networks ----


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda each: each["name"])
def test_a_pyramid_answers_every_pixel_and_its_stages_are_its_features(encoder: dict[str, object]) -> None:
    paddle.seed(0)
    backbone = archs.build("fpn", encoder=encoder, channels=8)
    network = Network(backbone, SemanticSegmentation(LABELS).build_head(backbone.feature_spec))
    network.eval()
    x = paddle.randn([1, 3, 64, 96])
    assert network(x).shape == [1, 3, 64, 96]
    grouped = [id(p) for _, layers in network.layer_groups() for layer in layers for p in layer.parameters()]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())
    between = network.prefix(2)(x)
    assert np.array_equal(network.rest(2)(between).numpy(), network(x).numpy())


def test_a_pyramid_needs_an_encoder_with_maps() -> None:
    with pytest.raises(UsageError, match=r"arch.encoder.name: .*found 'resnet5'"):
        archs.build("fpn", encoder={"name": "resnet5"})
    pooled = archs.build("small_resnet", width=4).feature_spec
    with pytest.raises(SpecError, match="found pooled"):
        SemanticSegmentation(LABELS).build_head(pooled)


# ---- pictures and masks together ----


def test_a_variant_moves_picture_and_mask_alike_and_repeats_with_its_seed() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:45] = 1
    picture = np.repeat((mask * 200 + 20)[:, :, None], 3, axis=2)
    for seed in range(30):
        pixels, numbers = joint.random_variant(
            picture, mask, np.random.default_rng(seed), brightness=0, contrast=0
        )
        assert pixels.shape == (40, 60, 3)
        known = numbers != joint.IGNORED
        assert ((pixels[..., 0] > 120) == numbers)[known].mean() > 0.97
        again = joint.random_variant(picture, mask, np.random.default_rng(seed), brightness=0, contrast=0)
        assert np.array_equal(pixels, again[0])
        assert np.array_equal(numbers, again[1])


def test_variants_are_never_larger_than_asked_for() -> None:
    picture, mask = np.zeros((90, 30, 1), np.uint8), np.zeros((90, 30), np.uint8)
    pixels, numbers = joint.random_variant(picture, mask, np.random.default_rng(0), side=64)
    assert pixels.shape == (64, 30, 1)
    assert numbers.shape == (64, 30)


def test_pictures_of_different_sizes_make_one_batch_with_the_rest_ignored() -> None:
    examples = SemanticSegmentation.examples(PicturePreprocessor([Named("normalize")]))
    items = [(np.full((h, w, 3), 9, np.uint8), np.ones((h, w), np.uint8)) for h, w in ((20, 40), (33, 10))]
    pictures, masks = examples.batch(items, np.arange(2))
    assert pictures.shape == (2, 3, 64, 64)
    assert masks.shape == (2, 64, 64)
    assert (masks == 1).sum() == 20 * 40 + 33 * 10
    assert (masks != joint.IGNORED).sum() == (masks == 1).sum()


def test_a_mask_follows_a_resize_and_refuses_another_size() -> None:
    examples = SemanticSegmentation.examples(
        PicturePreprocessor([Named("resize", {"size": 16}), Named("normalize")])
    )
    picture, mask = np.zeros((32, 64, 3), np.uint8), random_masks((32, 64), ignored=0).astype(np.uint8)
    pictures, small = examples.batch([examples.read(Sample(picture, mask))], np.arange(1))
    assert pictures.shape == (1, 3, 32, 32)
    assert (small[:, :16, :16] != joint.IGNORED).all(), "padding alone has no class"
    assert (small != joint.IGNORED).sum() == 16 * 16
    varied, numbers = examples.vary(examples.read(Sample(picture, mask)), np.random.default_rng(0))
    assert varied.shape[:2] == numbers.shape == (16, 16)
    with pytest.raises(InputError, match="the mask has 60×32 pixels, its picture 64×32"):
        examples.read(Sample(picture, mask[:, :60]))


def test_augment_steps_are_refused() -> None:
    with pytest.raises(SpecError, match="augment"):
        SemanticSegmentation.examples(PicturePreprocessor([Named("normalize")], [Named("random_flip")]))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 4, 3), np.uint8) + np.array([1, 2, 3], np.uint8), "found colours"),
        (np.zeros((4, 4), np.float32), "whole numbers"),
        (np.full((4, 4), 300), "300"),
    ],
)
def test_what_is_no_mask_is_refused(array: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        joint.read_mask(array)


# ---- answers ----


def test_tiles_give_what_the_whole_picture_gives() -> None:
    paddle.seed(1)
    backbone = archs.build("fpn", encoder=ENCODERS[0], channels=8)
    task = SemanticSegmentation(LABELS)
    network = Network(backbone, task.build_head(backbone.feature_spec))
    network.eval()
    preprocessor = PicturePreprocessor([Named("rgb"), Named("normalize")])
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8))
    picture = small.resize((330, 250), Image.Resampling.BICUBIC)

    def answer(tile: int) -> dict[str, object]:
        items = [preprocessor.read(picture)]
        return task.answers(
            [picture], items, run=lambda x: infer(network, x), preprocessor=preprocessor, tile=tile
        )[0]

    whole, tiled = answer(512), answer(128)
    assert whole["mask"].shape == (250, 330)
    assert len(np.unique(whole["mask"])) > 1, "an answer of one class would agree with anything"
    assert (whole["mask"] == tiled["mask"]).mean() > 0.97
    assert sum(whole["areas"].values()) == pytest.approx(1, abs=1e-4)


@st.composite
def tilings(draw: st.DrawFn) -> tuple[int, int, int]:
    tile = 32 * draw(st.integers(1, 20))
    return draw(st.integers(1, 5000)), tile, draw(st.integers(0, tile // 2))


@given(tilings())
@example((1535, 512, 0))
@example((1505, 512, 8))
@example((961, 512, 64))
@example((33, 32, 1))
@settings(max_examples=300, deadline=None)
def test_tiles_cover_every_pixel_and_neighbours_share_what_was_asked_for(
    tiling: tuple[int, int, int],
) -> None:
    length, tile, overlap = tiling
    starts = _starts(length, tile, overlap)
    ends = [min(length, start + tile) for start in starts]
    assert (starts[0], ends[-1]) == (0, length)
    assert all(start < after for start, after in itertools.pairwise(starts))
    assert all(end - after >= overlap for end, after in zip(ends, starts[1:], strict=False))
    if tile - overlap >= 32:  # tiles of the network's own grid, no more than that takes
        assert all(start % 32 == 0 for start in starts[:-1])
        assert len(starts) == max(1, -(-(length - tile) // ((tile - overlap) // 32 * 32)) + 1)


@pytest.mark.parametrize("height", [1535, 1505, 1100])
@pytest.mark.parametrize("overlap", [0, 8, 64])
def test_tiles_answer_every_pixel(height: int, overlap: int) -> None:
    """By a network that gives each pixel the class that its colour is."""
    numbers = np.random.default_rng(0).integers(0, 3, (height, 40)).astype(np.uint8)
    preprocessor = PicturePreprocessor([Named("normalize")])
    result = SemanticSegmentation(LABELS).answers(
        [numbers], [numbers[:, :, None]], preprocessor=preprocessor, overlap=overlap,
        run=lambda given: -((255 * given - np.arange(3)[:, None, None]) ** 2),
    )[0]  # fmt: skip
    assert np.array_equal(result["mask"], numbers)


@pytest.mark.parametrize("steps", [[Named("resize", {"size": 24})], []], ids=["enlarged", "as large"])
def test_a_large_mask_is_measured_band_by_band_as_it_is_answered(steps: list[Named]) -> None:
    """By a network that likes each class best where the picture has another brightness."""
    labels = [str(n) for n in range(12)]
    task, centres = SemanticSegmentation(labels), np.linspace(0, 1, 12, dtype=np.float32)[:, None, None]
    preprocessor = PicturePreprocessor([*steps, Named("normalize")])
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 28), dtype=np.uint8))
    picture = noise.resize((1400, 1000), Image.Resampling.BICUBIC)
    truth = random_masks((1000, 1400), count=12).astype(np.uint8)

    def run(given: np.ndarray) -> np.ndarray:
        return -((given[:, :1] - centres) ** 2)

    examples = task.examples(preprocessor)
    inputs, targets = examples.whole([examples.read(Sample(picture, truth))], np.zeros(1))
    meter, sizes = task.meter(), []
    for logits, masks in task.measured(run, inputs, targets):
        meter.update(logits, masks)
        sizes.append(logits.size)
    assert max(sizes) < 12 * truth.size / 3, "all logits at full size may not fit into memory"
    found = task.answers([picture], [preprocessor.read(picture)], run=run, preprocessor=preprocessor)
    known = truth != joint.IGNORED
    wanted = confusion_matrix(truth[known], found[0]["mask"][known], labels=range(12))
    assert meter.compute()["confusion"] == wanted.tolist()


def test_logits_are_enlarged_in_bands_as_in_one_piece() -> None:
    logits = logits_of((2, 8, 40, 31))
    for width, height in ((1700, 1300), (31, 40), (17, 9), (3000, 40)):
        bands = list(_bands(logits, (width, height)))
        assert [row for rows, _ in bands for row in range(rows.start, rows.stop)] == list(range(height))
        whole = [
            np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
            for plane in logits.reshape(-1, 40, 31)
        ]
        found = np.concatenate([band for _, band in bands], axis=2)
        assert np.abs(found.reshape(-1, height, width) - np.stack(whole)).max() < 1e-4


@pytest.mark.parametrize(
    "options",
    [
        {"tile": 100},
        {"tile": 0},
        {"overlap": -1},
        {"tile": 64, "overlap": 60},
        {"tile": "big"},
        {"tile": 64.0},
        {"overlap": None},
        {"overlap": 8.5},
    ],
)
def test_tiles_that_mean_nothing_are_refused(options: dict[str, int]) -> None:
    preprocessor = PicturePreprocessor([Named("normalize")])
    with pytest.raises(UsageError):
        SemanticSegmentation(LABELS).answers([], [], run=lambda x: x, preprocessor=preprocessor, **options)


def test_a_mask_comes_back_at_the_pictures_own_size() -> None:
    task, preprocessor = (
        SemanticSegmentation(LABELS),
        PicturePreprocessor([Named("resize", {"size": 32}), Named("normalize")]),
    )
    picture = Image.fromarray(np.repeat(np.linspace(0, 255, 90).astype(np.uint8)[None], 50, axis=0)).convert(
        "RGB"
    )

    def bright(x: np.ndarray) -> np.ndarray:
        return np.stack([0.5 - x[:, 0], x[:, 0] - 0.5, np.full_like(x[:, 0], -9)], axis=1)

    [result] = task.answers([picture], [preprocessor.read(picture)], run=bright, preprocessor=preprocessor)
    assert result["mask"].shape == (50, 90)
    assert result["areas"]["road"] == pytest.approx(0.5, abs=0.03)
    drawn = task.draw(picture, result)
    assert drawn.height > 50, "a legend stands below"
    assert drawn.getpixel((5, 5)) == picture.getpixel((5, 5)), "the ground is not painted"


def test_a_first_class_that_is_a_thing_is_painted_and_named() -> None:
    picture, mask = Image.new("RGB", (80, 60), "white"), np.zeros((60, 80), np.uint8)
    for labels, painted in (
        (("road", "sky"), True),
        (("_background_", "sky"), False),
        (("Ground", "sky"), False),
    ):
        result = {"mask": mask, "areas": {labels[0]: 1.0, labels[1]: 0.0}}
        drawn = SemanticSegmentation(labels).draw(picture, result)
        assert (drawn.getpixel((5, 5)) != (255, 255, 255)) is painted
        assert (drawn.height > 60) is painted


def test_a_result_is_drawn_by_the_labels_that_it_has_and_on_its_own_picture() -> None:
    """The module may have learnt other ones since."""
    mask = np.repeat(np.arange(3, dtype=np.uint8)[:, None], 60, axis=1).repeat(10, axis=0)
    picture = Image.new("RGB", (60, 30))
    for labels in (("ground", "road", "tree"), ("a", "b", "c")):
        result = {"mask": mask, "areas": dict.fromkeys(labels, 1 / 3)}
        now = SemanticSegmentation(("sky", "sea")).draw(picture, result)
        assert np.array_equal(now, SemanticSegmentation(labels).draw(picture, result))
    with pytest.raises(UsageError, match="expected the result of this picture, 61×30, found a mask of 60×30"):
        SemanticSegmentation(LABELS).draw(Image.new("RGB", (61, 30)), result)


def written(label: str, width: int = 300) -> np.ndarray:
    """Give the legend of a picture that is all of one class."""
    result = {"mask": np.zeros((200, width), np.uint8), "areas": {label: 1.0}}
    drawn = SemanticSegmentation((label, "other")).draw(Image.new("RGB", (width, 200)), result)
    return np.asarray(drawn)[200:, 30:]


def test_a_name_is_cut_to_the_card_and_its_share_is_there() -> None:
    for label in ("a" * 300, "a b " * 80, "W" * 300):
        legend = written(label)
        assert (legend[:, -4:] == 255).all(), "nothing reaches the edge"
        assert (legend[:, 180:] < 128).any(), "the share stands at its end"


def test_names_of_other_signs_are_no_boxes() -> None:
    first, second, none = written("\u0159eka"), written("\u0161eka"), written("\uffff\ue123")
    assert np.array_equal(none, written("??"))
    assert np.array_equal(written("e\u0301"), written("\u00e9"))
    if not np.array_equal(first, written("?eka")):  # this machine has a font for them
        assert not np.array_equal(first, second)


def test_a_saved_mask_reads_back_as_its_numbers(tmp_path: object) -> None:
    mask = random_masks((7, 9), ignored=0.1).astype(np.uint8)
    picture = palette_picture(mask)
    picture.save(f"{tmp_path}/mask.png")
    assert np.array_equal(joint.read_mask(f"{tmp_path}/mask.png"), mask)
    assert palette()[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [("weird", "balanced"), ({"rode": 2.0}, "did you mean 'road'"), ({"road": 0}, "above 0")],
)
def test_class_weights_that_mean_nothing_are_refused(chosen: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        SemanticSegmentation(LABELS).class_weight(chosen, dict.fromkeys(LABELS, 5))  # type: ignore[arg-type]


def test_balanced_weights_favour_rare_classes_and_keep_the_scale() -> None:
    counts = {"ground": 900, "road": 90, "tree": 10}
    weights = SemanticSegmentation(LABELS).class_weight("balanced", counts)
    assert weights is not None
    assert weights[0] < weights[1] < weights[2]
    assert sum(w * n for w, n in zip(weights, counts.values(), strict=True)) == pytest.approx(1000)


def test_the_task_is_found_by_name() -> None:
    assert isinstance(tasks.create("semantic_segmentation", LABELS), SemanticSegmentation)
    with pytest.raises(HubError, match="one label"):
        tasks.create("semantic_segmentation", LABELS, multi_label=True)


@pytest.mark.parametrize(
    "step", [Named("center_crop", {"size": 32}), Named("pad_square")], ids=lambda step: step.name
)
def test_steps_that_would_move_masks_off_their_pictures_are_refused(step: Named) -> None:
    preprocessor = PicturePreprocessor([step, Named("normalize")])
    with pytest.raises(SpecError, match=f"cannot have {step.name}"):
        MaskedExamples(preprocessor)
    with pytest.raises(SpecError, match=f"cannot have {step.name}"):
        SemanticSegmentation(LABELS).answers([], [], run=lambda x: x, preprocessor=preprocessor)
