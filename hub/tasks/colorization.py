"""Colorization: a grey picture gives a coloured one, with the colours of some points named by whoever asks.

A network guesses the two colour planes a and b; the lightness of the result is that of the picture itself, at its own
size, so that nothing of it is lost. It learns on colour pictures, whose colours it is to find again: from lightness
alone, or from that and the colours of a few points (Zhang et al. 2017, https://arxiv.org/abs/1705.02999).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from PIL import Image

from hub.errors import InputError, UsageError, one_of
from hub.modules.archs import FeatureSpec
from hub.modules.archs.colorization import MULTIPLE
from hub.modules.preprocessor import Preprocessor
from hub.tasks.base import Arrays, Examples, Loss, Plain, Run, Sample, is_whole, require_in_place
from hub.tasks.picture_metrics import psnr, ssim
from hub.transforms import image, lab

REACH, STEP = 110, 10
SIDE_BINS = 2 * REACH // STEP + 1
HUBER = 0.05
"""Errors of a/110 and b/110 beyond this count linearly, so that a few strong colours do not rule the mean."""
CLASS_SHARE = 0.02
"""Of the cross-entropy in the loss: about as much as the regression has at the end of a training."""
STOP = 1 / 8
"""A training picture shows n hints with probability (1 - STOP)ⁿ · STOP: none in one of eight, seven in the mean."""
LARGEST_PATCH = 9
ROWS = 64
"""Rows of a picture that are coloured at once."""


PLACES = {"task": "colorization", "answers": "colours"}


class GreyscaleError(InputError):
    """A training picture without colours."""

    kind = "greyscale"


@dataclass(frozen=True)
class Hinted:
    """A picture as L, a, b [H, W, 3], with what is shown of its colours: a, b and 1 where they are known."""

    lab: np.ndarray
    hints: np.ndarray


class ColourExamples(Examples):
    """Colour pictures become lightness and hints, with the colours to be found as targets."""

    targets_from_items = True

    def __init__(self, preprocessor: Preprocessor) -> None:
        super().__init__(preprocessor)
        require_in_place(preprocessor, **PLACES)

    @property
    def varies(self) -> bool:
        """Whether `vary` changes anything: it always draws hints."""
        return True

    def read(self, sample: Sample) -> np.ndarray:
        """Give the picture as `preprocessor.read` does. Raises GreyscaleError for one without colours."""
        picture = super().read(sample)
        colours = np.asarray(picture)
        if colours.shape[2] != 3:
            raise InputError(f"expected three channels after preprocessing, found {colours.shape[2]}")
        if lab.is_grey(lab.from_rgb(colours)):
            raise GreyscaleError("a greyscale picture, from which no colours can be learnt")
        return colours

    def vary(self, item: np.ndarray, rng: np.random.Generator) -> Hinted:
        """Give a random variant with the mean colours of some random patches as hints."""
        colours = lab.from_rgb(super().vary(item, rng))
        return Hinted(colours, _random_hints(colours, rng))

    def batch(self, items: Sequence[Any], targets: np.ndarray) -> tuple[Arrays, Arrays]:
        """Give ((lightness, hints), L a b). A picture that was not varied has no hints."""
        hinted = [one if isinstance(one, Hinted) else without_hints(lab.from_rgb(one)) for one in items]
        shapes = {one.lab.shape for one in hinted}
        if len(shapes) > 1:
            raise InputError(
                f"expected pictures of one size, found {sorted(shapes)}",
                hint="add {resize: {size: 128}} to preprocess in module.yaml",
            )
        colours = np.stack([one.lab for one in hinted]).transpose(0, 3, 1, 2)
        return network_input(hinted), np.ascontiguousarray(colours)


def without_hints(colours: np.ndarray) -> Hinted:
    """Give a picture of which no colour is known."""
    return Hinted(colours, np.zeros_like(colours))


def network_input(hinted: Sequence[Hinted]) -> tuple[np.ndarray, np.ndarray]:
    """Give what hub.modules.archs.colorization takes."""
    lightness = np.stack([one.lab[:, :, :1] for one in hinted]) / 100 - 0.5
    hints = np.stack([one.hints for one in hinted])
    known = hints[..., 2:] - 0.5
    hints = np.concatenate([hints[..., :2] / REACH, known], axis=-1)
    first, second = (
        np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32) for x in (lightness, hints)
    )
    return first, second


def _random_hints(colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give the mean colours of square patches, most of them near the middle, as the paper draws them."""
    hints = np.zeros_like(colours)
    height, width = colours.shape[:2]
    for _ in range(rng.geometric(STOP) - 1):
        side = int(rng.integers(1, min(LARGEST_PATCH, height, width) + 1))
        top, left = (
            int(np.clip(rng.normal((size - side) / 2, (size - side) / 4 + 1e-6), 0, size - side))
            for size in (height, width)
        )
        patch = (slice(top, top + side), slice(left, left + side))
        hints[patch] = [*colours[patch][..., 1:].reshape(-1, 2).mean(axis=0), 1]
    return hints


class Colorization(Plain):
    """Colours for grey pictures. It has no labels; `labels` and `multi_label` are there as in every task."""

    inputs = "unlabelled"
    name = "colorization"
    has_labels = False
    labels: tuple[str, ...] = ()
    default_metric = "psnr_ab"
    metrics: Mapping[str, bool] = {"psnr_ab": True, "psnr": True, "ssim": True, "colourfulness": True}

    def __init__(self, labels: Sequence[str] = (), *, multi_label: bool = False) -> None:
        if labels or multi_label:
            raise UsageError(f"{self.name} has no labels, found {', '.join(labels) or 'multi_label=True'}")

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        """Give a layer without parameters: the network itself ends in colours, pretrained ones."""
        return nn.Identity()

    @staticmethod
    def examples(preprocessor: Preprocessor) -> ColourExamples:
        """Give how colour pictures become batches."""
        return ColourExamples(preprocessor)

    def class_weight(
        self, chosen: str | Mapping[str, float] | None, counts: Mapping[str, int]
    ) -> np.ndarray | None:
        """Give a weight for each colour bin from "balanced": rare, strong colours count more."""
        if chosen is None:
            return None
        if chosen != "balanced":
            raise one_of(f"class_weight for {self.name}", chosen, ["balanced"])
        return rebalancing()

    def loss(self, *, class_weight: np.ndarray | None = None) -> Loss:
        """Give the Huber loss of the colours plus a share of the cross-entropy of their bins, as in the paper."""
        weights = paddle.to_tensor(
            np.ones(SIDE_BINS**2, np.float32) if class_weight is None else class_weight
        )

        def loss(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
            logits, guess = outputs
            wanted = targets[:, 1:]
            # Paddle's is error²/2 within delta and delta·error - delta²/2 beyond it
            regression = F.smooth_l1_loss(guess, wanted / REACH, delta=HUBER) / HUBER
            stride = wanted.shape[2] // logits.shape[2]
            bins = bins_of(wanted[:, :, ::stride, ::stride])
            logits = logits.transpose([0, 2, 3, 1]).reshape([-1, SIDE_BINS**2])
            each = F.cross_entropy(logits, bins.flatten(), reduction="none").flatten()
            return regression + CLASS_SHARE * (each * weights.gather(bins.flatten())).mean()

        return loss

    def answering(self, network: nn.Layer) -> nn.Layer:
        """Give a layer for the colours alone."""
        return _Colours(network)

    def meter(self) -> ColourMeter:
        """Give an empty meter."""
        return ColourMeter()

    def answers(
        self,
        sources: Sequence[Any],
        items: Sequence[Any],
        *,
        run: Run,
        preprocessor: Preprocessor,
        hints: Sequence[tuple[float, float, str]] = (),
        radius: int | None = None,
    ) -> list[dict[str, Any]]:
        """Give {"picture": uint8 [H, W, 3], "colourfulness"} for each input, at its own size.

        `hints` are (x, y, colour) in the picture's own pixels from the top left, the colour as in CSS; with several
        pictures they hold for each. A hint colours a square of 2 · `radius` + 1 pixels of what the network sees
        (None: a thirtieth of its side), and the network decides how far it reaches. Raises UsageError for a hint that
        is not of this form or lies outside of a picture.
        """
        if isinstance(hints, str) or not isinstance(hints, Sequence):
            raise UsageError(f"hints: expected a list of (x, y, colour), found {hints!r}")
        require_in_place(preprocessor, **PLACES)
        points = [_point(hint) for hint in hints]
        if radius is not None and (not is_whole(radius) or radius < 0):
            raise UsageError(f"radius: expected a whole number of pixels from 0 on, found {radius!r}")
        if not sources:
            return []
        full = [image.read(source).convert("RGB") for source in sources]
        hinted = [
            _with_points(lab.from_rgb(item), picture.size, points, radius)
            for item, picture in zip(items, full, strict=True)
        ]
        results = []
        for picture, guess in zip(full, _guesses(hinted, run), strict=True):
            coloured = _coloured(picture, guess * REACH)
            results.append({"picture": coloured, "colourfulness": round(lab.colourfulness(coloured), 2)})
        return results

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the coloured picture."""
        return Image.fromarray(result["picture"])


class _Colours(nn.Layer):
    """The second of what the network gives. Compiled, it does not compute the first, which only training needs."""

    def __init__(self, network: nn.Layer) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Tensor:
        return self.network(x)[1]


def bins_of(ab: Tensor) -> Tensor:
    """Give the number of the bin, int64 [N, H, W], for colours [N, 2, H, W]."""
    places = ((ab + REACH) / STEP).round().clip(0, SIDE_BINS - 1).astype("int64")
    return places[:, 0] * SIDE_BINS + places[:, 1]


def rebalancing() -> np.ndarray:
    """Give float32 [529]: the weight of each bin, 1 in the mean over natural colours.

    As Zhang et al. 2016 (https://arxiv.org/abs/1603.08511, section 2.2): the inverse of the natural share of a bin,
    mixed half and half with an even one. That share is taken as exp(-chroma / 12), a fair likeness of photographs,
    in place of counts over ImageNet.
    """
    steps = np.arange(SIDE_BINS) * STEP - REACH
    share = np.exp(-np.hypot(*np.meshgrid(steps, steps, indexing="ij")) / 12).ravel()
    share /= share.sum()
    weights = 1 / (0.5 * share + 0.5 / SIDE_BINS**2)
    return (weights / (weights * share).sum()).astype(np.float32)


def _point(hint: Any) -> tuple[float, float, np.ndarray]:
    try:
        x, y, colour = hint
        return float(x), float(y), lab.ab_of(colour)
    except (TypeError, ValueError) as problem:
        raise UsageError(
            f"hints: expected (x, y, colour), such as (12, 40, '#c04030'), found {hint!r}"
        ) from problem


def _with_points(
    colours: np.ndarray,
    size: tuple[int, int],
    points: Sequence[tuple[float, float, np.ndarray]],
    radius: int | None,
) -> Hinted:
    """Give the small picture with hints that were placed on the one of this size."""
    grey = colours * np.array([1, 0, 0], np.float32)
    hinted = without_hints(grey)
    height, width = colours.shape[:2]
    reach = max(1, round(min(height, width) / 60)) if radius is None else radius
    for x, y, ab in points:
        if not (0 <= x < size[0] and 0 <= y < size[1]):
            raise UsageError(f"hints: ({x:g}, {y:g}) is outside of a picture of {size[0]}×{size[1]} pixels")
        column, row = int(x * width / size[0]), int(y * height / size[1])
        rows = slice(max(0, row - reach), row + reach + 1)
        columns = slice(max(0, column - reach), column + reach + 1)
        hinted.hints[rows, columns] = [*ab, 1]
    return hinted


def _guesses(hinted: Sequence[Hinted], run: Run) -> list[np.ndarray]:
    """Give what the network finds for each, float32 [2, h, w]: those of one size together, padded to whole cells."""
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, one in enumerate(hinted):
        alike[one.lab.shape[:2]].append(place)
    guesses: dict[int, np.ndarray] = {}
    for (height, width), places in alike.items():
        room = [(0, 0), (0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE)]
        given = network_input([hinted[place] for place in places])
        found = run(tuple(np.pad(each, room, mode="edge") for each in given))
        # Golden values are those of the whole network, with the classes of colours before the colours.
        found = found[-1] if isinstance(found, tuple) else found
        guesses |= zip(places, found[:, :, :height, :width], strict=True)
    return [guesses[place] for place in range(len(hinted))]


def _coloured(picture: Image.Image, ab: np.ndarray) -> np.ndarray:
    """Give uint8 [H, W, 3]: the picture's own lightness with colours [2, h, w] stretched to its size."""
    planes = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize(picture.size, Image.Resampling.BILINEAR))
        for plane in ab
    ]
    coloured = np.empty_like(np.asarray(picture))
    for top in range(
        0, picture.height, ROWS
    ):  # in double precision the whole would take many times its own memory
        rows = slice(top, min(top + ROWS, picture.height))
        lightness = lab.from_rgb(np.asarray(picture.crop((0, top, picture.width, rows.stop))))[..., 0]
        coloured[rows] = lab.to_pixels(np.stack([lightness, *(plane[rows] for plane in planes)], axis=-1))
    return coloured


class ColourMeter:
    """Means over pictures of how near the colours are to the right ones.

    `psnr_ab` is that of the colour planes in dB, 20 log10(110 / rms); the rest is of the whole picture in sRGB.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums = np.zeros(6)

    def update(self, outputs: Any, targets: np.ndarray) -> None:
        """Take in (logits, a b) of a batch and the right L a b, both as arrays."""
        for guess, right in zip(outputs[1] * REACH, targets, strict=True):
            truth = right.transpose(1, 2, 0)
            found = np.concatenate([truth[..., :1], guess.transpose(1, 2, 0)], axis=-1)
            pixels, wanted = lab.to_pixels(found), lab.to_pixels(truth)
            self.count += 1
            self.sums += [
                psnr(found[..., 1:], truth[..., 1:], peak=REACH),
                psnr(pixels, wanted),
                ssim(pixels, wanted),
                lab.colourfulness(pixels),
                lab.colourfulness(wanted),
                psnr(np.zeros_like(truth[..., 1:]), truth[..., 1:], peak=REACH),
            ]

    def compute(self) -> dict[str, Any]:
        """Give the metrics, with the colourfulness of the right pictures and the psnr_ab of leaving all grey."""
        names = ("psnr_ab", "psnr", "ssim", "colourfulness", "true_colourfulness", "psnr_ab_of_grey")
        means = self.sums / max(1, self.count)
        return {"count": self.count, **dict(zip(names, means.tolist(), strict=True))}
