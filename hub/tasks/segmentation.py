"""Semantic segmentation: every pixel of a picture gets one of the labels.

A picture is answered at the size that preprocessing leaves it, large ones tile by tile, and the mask is brought to the
picture's own size. The steps of preprocessing may change colours and sizes, but not cut or turn: a mask has to fit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from paddle import Tensor, nn
from PIL import Image, ImageDraw

from hub.errors import InputError, SpecError, UsageError, one_of
from hub.modules.archs import FeatureSpec
from hub.modules.map_layers import Conv2D, interpolated
from hub.modules.preprocessor import Preprocessor
from hub.tasks import answer_card
from hub.tasks import segmentation_losses as losses
from hub.tasks.base import Arrays, Examples, Loss, Plain, Run, Sample, Sum, is_whole, require_in_place
from hub.tasks.losses import class_weights
from hub.tasks.segmentation_metrics import PixelMeter
from hub.transforms import image, joint
from hub.transforms.joint import IGNORED

MULTIPLE = 32
"""Sides are padded to multiples of this: the coarsest map of every encoder then has whole cells."""
TILE, OVERLAP = 512, 64
"""Pixels of a tile's side, and of what it shares with the next one."""
BAND = 1 << 22
"""Logits at full size that are looked at together: what is computed of them takes some times their 16 MB."""

Pair = tuple[np.ndarray, np.ndarray]


PLACES = {"task": "segmentation", "answers": "masks"}


class MaskedExamples(Examples):
    """Pictures with masks: `read` and `vary` give (uint8 [H, W, C], uint8 [H, W]).

    What `read` gives has its mask at the picture's own size, by which it is measured.
    """

    targets_from_items = True

    def __init__(self, preprocessor: Preprocessor) -> None:
        super().__init__(preprocessor)
        if preprocessor.augments:
            raise SpecError(
                "augment: segmentation varies pictures and masks together, and takes no steps here",
                hint="remove augment from module.yaml",
            )
        require_in_place(preprocessor, **PLACES)

    @property
    def varies(self) -> bool:
        """Whether `vary` changes anything: it always does."""
        return True

    def read(self, sample: Sample) -> Pair:
        """Give the picture after the fixed steps and its mask. Raises InputError for one of another size."""
        picture = np.asarray(self.preprocessor.read(sample.input))
        mask = joint.read_mask(sample.label)
        height, width = picture.shape[:2]
        if mask.shape != (height, width):  # preprocessing has a resize, or they never fitted
            own = image.read(sample.input).size
            if mask.shape != (own[1], own[0]):
                raise InputError(
                    f"the mask has {mask.shape[1]}×{mask.shape[0]} pixels, its picture {own[0]}×{own[1]}"
                )
        return picture, mask

    def vary(self, item: Pair, rng: np.random.Generator) -> Pair:
        """Give both scaled, cropped and mirrored in the same way, the picture lighter or darker."""
        return joint.random_variant(*_together(item), rng)

    def batch(self, items: Sequence[Pair], targets: np.ndarray) -> tuple[Arrays, Arrays]:
        """Give (float32 [N, C, H, W], int64 [N, H, W]) padded to the largest, with IGNORED in the masks."""
        pairs = [_together(item) for item in items]
        height, width = (_up(max(mask.shape[axis] for _, mask in pairs)) for axis in (0, 1))
        pictures = [_padded(picture, height, width) for picture, _ in pairs]
        masks = np.full((len(pairs), height, width), IGNORED, np.int64)
        for row, (_, mask) in zip(masks, pairs, strict=True):
            row[: mask.shape[0], : mask.shape[1]] = mask
        return self.preprocessor.batch(pictures), masks

    def whole(self, items: Sequence[Pair], targets: np.ndarray) -> tuple[Arrays, Arrays]:
        """Give float32 [1, C, h, w] for each picture, and uint8 [H, W] for each mask: nothing is padded."""
        pictures = [np.asarray(self.preprocessor.batch([picture])) for picture, _ in items]
        return tuple(pictures), tuple(mask for _, mask in items)


class PixelHead(nn.Layer):
    """A linear layer for every cell of a map, its logits enlarged to pixels: [N, L, H, W]."""

    def __init__(self, feature_spec: FeatureSpec, count: int) -> None:
        super().__init__()
        self.stride = feature_spec.stride
        small = nn.initializer.Normal(
            std=0.01
        )  # it begins with even shares, whatever the size of the features
        self.classify = Conv2D(feature_spec.channels, count, 1, weight_attr=small)

    def forward(self, features: Tensor) -> Tensor:
        logits = self.classify(features)
        if self.stride == 1:
            return logits
        return interpolated(logits, times=self.stride)


class SemanticSegmentation(Plain):
    """One label for every pixel; pixels that are 255 in a mask count for nothing."""

    inputs = "masks"
    name = "semantic_segmentation"
    default_metric = "miou"
    default_strategy = "probe_then_full"
    metrics: Mapping[str, bool] = {"miou": True, "dice": True, "pixel_accuracy": True}

    def __init__(self, labels: Sequence[str], *, multi_label: bool = False) -> None:
        if multi_label:
            raise UsageError("semantic_segmentation: a pixel has one label, found multi_label=True")
        if not 1 < len(labels) <= IGNORED:
            raise UsageError(f"semantic_segmentation: expected 2 to {IGNORED} labels, found {len(labels)}")
        self.labels = tuple(labels)

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        """Give a linear layer over the channels of a map. Raises SpecError for features that are no map."""
        if feature_spec.kind != "map":
            raise SpecError(
                f"arch: segmentation needs features with a layout, found {feature_spec.kind} ones",
                hint="put a pyramid on the network: arch {name: fpn, encoder: {name: …}}",
            )
        return PixelHead(feature_spec, len(self.labels))

    @staticmethod
    def examples(preprocessor: Preprocessor) -> MaskedExamples:
        """Give how pictures with masks become batches."""
        return MaskedExamples(preprocessor)

    def class_weight(
        self, chosen: str | Mapping[str, float] | None, counts: Mapping[str, int]
    ) -> np.ndarray | None:
        """Give float64 [L] from "balanced" or {name: weight}; `counts` are pixels.

        Balanced is 1 / sqrt(share), 1 in the mean over pixels: by the share itself a few pixels would rule everything.
        """
        return class_weights(self.labels, chosen, counts, power=0.5)

    def wanted(self, targets: np.ndarray) -> np.ndarray:
        """Give float64 [N, L] from class numbers [N, P]: the share of each label in the pixels that have one."""
        counts = np.stack([(targets == number).sum(axis=1) for number in range(len(self.labels))], axis=1)
        return counts / (targets != IGNORED).sum(axis=1, keepdims=True)

    def loss(self, kind: str = "cross_entropy", *, class_weight: np.ndarray | None = None) -> Loss:
        """Give the loss of this kind (hub.tasks.segmentation_losses.LOSSES). Raises UsageError for another."""
        if kind not in losses.LOSSES:
            raise one_of("loss", kind, losses.LOSSES)
        entropy = losses.cross_entropy(class_weight)
        overlap = {"dice": losses.dice, "lovasz": losses.lovasz}.get(kind)
        if overlap is None:
            return entropy
        return Sum(entropy, overlap)

    def meter(self) -> PixelMeter:
        """Give an empty meter."""
        return PixelMeter(self.labels)

    def measured(self, run: Run, inputs: Arrays, targets: Arrays) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Give (logits [N, L, rows, W], class numbers [N, rows, W]): what `answers` says of each picture by itself.

        Pictures of one size go together, as many as have the pixels of one tile; those whose masks have another size
        come one by one. Each comes in bands of rows: the logits of a whole picture at full size may not fit.
        """
        alike: dict[tuple[int, ...], list[Pair]] = defaultdict(list)
        for picture, mask in zip(inputs, targets, strict=True):
            alike[picture.shape[2:]].append((picture, mask))
        for (height, width), pairs in alike.items():
            most = max(1, TILE**2 // (height * width))
            for start in range(0, len(pairs), most):
                pictures, masks = zip(*pairs[start : start + most], strict=True)
                found = _logits(_Cut.of_batch(np.concatenate(pictures)), run, TILE, OVERLAP)
                if all(mask.shape == (height, width) for mask in masks):
                    given = [(found, np.stack(masks))]
                else:
                    given = [(logits[None], mask[None]) for logits, mask in zip(found, masks, strict=True)]
                for logits, numbers in given:
                    for rows, band in _bands(logits, (numbers.shape[2], numbers.shape[1])):
                        yield band, numbers[:, rows].astype(np.int64)

    def answers(
        self,
        sources: Sequence[Any],
        items: Sequence[Any],
        *,
        run: Run,
        preprocessor: Preprocessor,
        tile: int = TILE,
        overlap: int = OVERLAP,
    ) -> list[dict[str, Any]]:
        """Give {"mask": uint8 [H, W] of label numbers at the picture's own size, "areas": {label: share}}.

        A picture with a side above `tile` pixels is answered in tiles of that side, which share at least `overlap`
        pixels with their neighbours; there the answers fade into one another, so that no seam shows.
        """
        if not is_whole(tile) or tile < MULTIPLE or tile % MULTIPLE:
            raise UsageError(f"tile: expected a multiple of {MULTIPLE}, found {tile!r}")
        if not is_whole(overlap) or not 0 <= overlap <= tile // 2:
            raise UsageError(f"overlap: expected 0 to {tile // 2}, half a tile, found {overlap!r}")
        require_in_place(preprocessor, **PLACES)
        results = []
        for source, item in zip(sources, items, strict=True):
            logits = _logits(_Cut.of_picture(np.asarray(item), preprocessor), run, tile, overlap)
            mask = _at_size(logits, image.read(source).size)
            counts = np.bincount(mask.ravel(), minlength=len(self.labels))
            shares = (counts / mask.size).round(6).tolist()
            results.append({"mask": mask, "areas": dict(zip(self.labels, shares, strict=True))})
        return results

    def files(self, result: Mapping[str, Any]) -> dict[str, Image.Image]:
        """Give the mask as a picture with a palette, each pixel the number of its class."""
        return {"mask": palette_picture(result["mask"])}

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the picture with half-transparent colours of the labels, and a legend of those that occur.

        The labels are the result's own. A first one that is called background or ground is left as it is. Raises
        UsageError for the result of a picture of another size.
        """
        labels, colours = list(result["areas"]), palette()
        mask = np.asarray(result["mask"])
        if mask.shape != picture.size[::-1]:
            raise UsageError(
                f"draw: expected the result of this picture, {picture.width}×{picture.height}, "
                f"found a mask of {'×'.join(map(str, mask.shape[::-1]))}",
                hint="draw(picture, predict(picture)[0]), with the picture that was answered",
            )
        paint = Image.fromarray(colours[mask])
        ground = 0 if joint.is_ground(labels[0]) else -1
        where = Image.fromarray(np.where(mask == ground, 0, 140).astype(np.uint8))
        drawn = Image.composite(paint, picture.convert("RGB"), Image.new("L", picture.size))
        drawn = Image.composite(paint, drawn, where)
        size = max(12, min(picture.size) // 20)
        there = [number for number in np.unique(mask).tolist() if number != ground]
        card = Image.new("RGB", (drawn.width, drawn.height + round(size * 1.5) * len(there)), "white")
        card.paste(drawn)
        pen = ImageDraw.Draw(card)
        for row, number in enumerate(there):
            top = drawn.height + round(size * 1.5) * row
            pen.rectangle((4, top + 3, 4 + size, top + 3 + size), tuple(colours[number].tolist()))
            label = labels[number]
            place = (size + 10, top + 3 + size // 2)
            answer_card.write(
                pen, place, label, f"{result['areas'][label]:.1%}", size, drawn.width - size - 14
            )
        return card


def palette() -> np.ndarray:
    """Give uint8 [256, 3]: the colours of Pascal VOC, whose bits are those of the class number turned around."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((numbers >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def palette_picture(mask: np.ndarray) -> Image.Image:
    """Give a mask as a palette picture: its pixels are the label numbers, and viewers show colours."""
    picture = Image.fromarray(mask, "L")
    picture.putpalette(palette().tobytes())
    return picture


def _up(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE


def _together(pair: Pair) -> Pair:
    """Give a picture and its mask at the size of the picture."""
    picture, mask = pair
    return picture, joint.resized(mask, (picture.shape[1], picture.shape[0]))


def _padded(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    room = ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0))
    return np.pad(picture, room, mode="edge")


@dataclass(frozen=True)
class _Cut:
    """What is answered: its size, and how rows and columns of it become an input of the network, padded to cells."""

    height: int
    width: int
    part: Callable[[slice, slice], Arrays]

    @classmethod
    def of_picture(cls, picture: np.ndarray, preprocessor: Preprocessor) -> _Cut:
        """Take uint8 [H, W, C], which as a whole may be too large to be normalized at once."""

        def part(rows: slice, columns: slice) -> Arrays:
            cut = picture[rows, columns]
            return preprocessor.batch([_padded(cut, _up(cut.shape[0]), _up(cut.shape[1]))])

        return cls(picture.shape[0], picture.shape[1], part)

    @classmethod
    def of_batch(cls, pictures: np.ndarray) -> _Cut:
        """Take what `batch` gave, float32 [N, C, H, W]."""

        def part(rows: slice, columns: slice) -> Arrays:
            cut = pictures[:, :, rows, columns]
            room = [(0, _up(side) - side) for side in cut.shape[2:]]
            return np.pad(cut, [(0, 0), (0, 0), *room], mode="edge")

        return cls(pictures.shape[2], pictures.shape[3], part)


def _logits(given: _Cut, run: Run, tile: int, overlap: int) -> np.ndarray:
    """Give float32 [N, L, H, W] of pictures of one size, tile by tile where they are larger than one."""
    height, width = given.height, given.width
    if max(height, width) <= tile:
        return np.asarray(run(given.part(slice(height), slice(width)))[:, :, :height, :width])
    total, weights = None, np.zeros((height, width), np.float32)
    for top in _starts(height, tile, overlap):
        for left in _starts(width, tile, overlap):
            rows, columns = slice(top, min(top + tile, height)), slice(left, min(left + tile, width))
            weight = np.minimum.outer(_ramp(rows.stop - top, overlap), _ramp(columns.stop - left, overlap))
            found = run(given.part(rows, columns))[:, :, : weight.shape[0], : weight.shape[1]]
            if total is None:
                total = np.zeros((*found.shape[:2], height, width), np.float32)
            total[:, :, rows, columns] += found * weight
            weights[rows, columns] += weight
    assert total is not None, "a picture has at least one tile"
    total /= weights
    return total


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Give where tiles begin: each shares at least `overlap` with the next, and the last ends at the edge.

    They are spread evenly. All but the last begin at multiples of MULTIPLE, where the cells of the whole picture begin
    too, unless their steps have to be smaller.
    """
    if length <= tile:
        return [0]
    room, grid = length - tile, MULTIPLE if tile - overlap >= MULTIPLE else 1
    step = (tile - overlap) // grid * grid
    count = -(-room // step)
    return [-(-n * room // (count * grid)) * grid for n in range(count)] + [room]


def _ramp(length: int, overlap: int) -> np.ndarray:
    """Give the weight of each row of a tile: little at its edges, where the network saw less around it."""
    edge = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1
    return np.minimum(1.0, edge / max(1, overlap)).astype(np.float32)


def _bands(logits: np.ndarray, size: tuple[int, int]) -> Iterator[tuple[slice, np.ndarray]]:
    """Give rows, and float32 [N, L, rows, W] of logits at (width, height), from the top down."""
    (width, height), (tall, wide) = size, logits.shape[2:]
    step = max(1, BAND // (logits.shape[0] * logits.shape[1] * width))
    planes = []
    if (wide, tall) != size:
        planes = [Image.fromarray(each.astype(np.float32)) for each in logits.reshape(-1, tall, wide)]
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        if not planes:
            yield rows, logits[:, :, rows]
            continue
        # At the edges of the box, Pillow looks at what is beyond them.
        box, shape = (0, top * tall / height, wide, rows.stop * tall / height), (width, rows.stop - top)
        band = [np.asarray(each.resize(shape, Image.Resampling.BILINEAR, box=box)) for each in planes]
        yield rows, np.stack(band).reshape(*logits.shape[:2], -1, width)


def _at_size(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Give uint8 [H, W] of the best label at (width, height)."""
    mask = np.empty(size[::-1], np.uint8)
    for rows, band in _bands(logits, size):
        mask[rows] = band[0].argmax(axis=0)
    return mask
