"""Style transfer: a picture gives the same scene in the manner of another picture.

It learns on any pictures as content and on one or more pictures as styles. What counts as content and as style is
measured on the maps of a feature network that is not trained (Johnson et al. 2016, https://arxiv.org/abs/1603.08155):
content is the deepest map itself, style the Gram matrix of every map.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from PIL import Image

from hub.errors import InputError, SpecError, UsageError
from hub.modules import bundle, weights
from hub.modules.archs import Backbone, FeatureSpec
from hub.modules.archs.style import MULTIPLE, SLOTS, STYLE_SIDE, Stylizer, gram
from hub.modules.preprocessor import PicturePreprocessor, Preprocessor
from hub.tasks.base import Arrays, Examples, Loss, Plain, Run, is_number, is_whole
from hub.transforms import image

CONTENT_WEIGHT, STYLE_WEIGHT, SMOOTH_WEIGHT = 1.0, 4.0, 0.1
LONGEST = 1024
"""Pictures are painted at most this long; the result is enlarged to the size of the input."""

Maps = Callable[[Tensor], list[Tensor]]


class ContentExamples(Examples):
    """Pictures become content, each with a number that says which of the styles it is for."""

    targets_from_items = True

    @property
    def varies(self) -> bool:
        """Whether `vary` changes anything: it always draws a style."""
        return True

    def vary(self, item: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """Give a random variant for a random style."""
        return super().vary(item, rng), int(rng.integers(1 << 30))

    def batch(self, items: Sequence[Any], targets: np.ndarray) -> tuple[Arrays, Arrays]:
        """Give ((content, number of the style), the same). Without `vary` that is the sample's own."""
        varied = [
            one if isinstance(one, tuple) else (one, int(row))
            for one, row in zip(items, targets, strict=True)
        ]
        content = self.preprocessor.batch([picture for picture, _ in varied])
        assert isinstance(content, np.ndarray), "pictures make one array"
        given = content, np.array([number for _, number in varied], np.int64)
        return given, given


class StyleTransfer(Plain):
    """Paint in one or more styles. It has no labels; `labels` and `multi_label` are there as in every task."""

    inputs = "unlabelled"
    name = "style_transfer"
    has_labels = False
    labels: tuple[str, ...] = ()
    default_metric = "total_loss"
    metrics: Mapping[str, bool] = {"total_loss": False, "style_loss": False, "content_loss": False}

    def __init__(
        self,
        labels: Sequence[str] = (),
        *,
        multi_label: bool = False,
        style: Any = None,
        features: Any = None,
        content_weight: float = CONTENT_WEIGHT,
        style_weight: float = STYLE_WEIGHT,
        smooth_weight: float = SMOOTH_WEIGHT,
    ) -> None:
        """Take the settings of a fine-tuning.

        Args:
            style: one picture or a list of up to four; None keeps the styles that the module has.
            features: the network on whose maps the losses are measured: a hub.Module of pictures, its folder, or a
                backbone with its preprocessing; None takes the module's own encoder as it was before training.
            content_weight: how much of the scene is to be kept.
            style_weight: how strongly it is painted.
            smooth_weight: how much noise between neighbouring pixels counts.

        Raises UsageError for what cannot be meant, SpecError for a folder that is no module's.
        """
        if labels or multi_label:
            raise UsageError(f"{self.name} has no labels, found {', '.join(labels) or 'multi_label=True'}")
        for name, value in (
            ("content_weight", content_weight), ("style_weight", style_weight), ("smooth_weight", smooth_weight),
        ):  # fmt: skip
            if not is_number(value) or value < 0:
                raise UsageError(f"{name}: expected a number from 0 on, found {value!r}")
        self.weights = content_weight, style_weight, smooth_weight
        self.styles = None if style is None else [style_picture(each) for each in _several(style)]
        self.features = None if features is None else _measuring(features)
        self._backbone: Stylizer | None = None
        self._maps: Maps | None = None
        self._wanted: list[Tensor] = []

    def attach(self, backbone: Backbone) -> None:
        """Take the network that is to be trained or used: it keeps the styles, and its encoder may measure.

        Raises SpecError for a network that does not paint.
        """
        if not isinstance(backbone, Stylizer):
            raise SpecError(
                f"style_transfer needs a network that keeps styles, found {type(backbone).__name__}"
            )
        self._backbone = backbone
        # The encoder as it is now: before training, and before a checkpoint is put back.
        self._maps, self._wanted = self._feature_maps(backbone), []

    def begin(self) -> None:
        """Keep the styles that were asked for in the network."""
        if self.styles is not None:
            assert self._backbone is not None, "it was attached"
            self._backbone.keep(self.styles)

    def sources(self) -> dict[str, str]:
        """Give digests of the pictures that were given as style, and of the network that measures."""
        found = {}
        if self.styles is not None:
            found["style"] = hashlib.sha256(np.stack(self.styles).tobytes()).hexdigest()[:16]
        if self.features is not None:
            ends = b"".join(np.asarray(end).tobytes() for end in _ends(*self.features))
            found["features"] = f"{weights.digest(self.features[0])} {hashlib.sha256(ends).hexdigest()[:16]}"
        return found

    def build_head(self, feature_spec: FeatureSpec) -> nn.Layer:
        """Give a layer without parameters: the network itself ends in a picture."""
        return nn.Identity()

    @staticmethod
    def examples(preprocessor: Preprocessor) -> ContentExamples:
        """Give how pictures become batches."""
        return ContentExamples(preprocessor)

    # ---- losses ----

    def loss(self) -> Loss:
        """Give the weighted sum of the losses. It raises UsageError when no style is there to be learnt."""
        if self._backbone is not None:
            self._measure()

        def loss(outputs: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
            return self.losses(outputs, targets)[0]

        return loss

    def losses(self, painted: Tensor, targets: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Give (total, style, content) of a batch, each a mean over it."""
        maps_of, wanted = self._measure()
        content, which = targets
        content_weight, style_weight, smooth_weight = self.weights
        found = maps_of(painted)
        with paddle.no_grad():
            kept = maps_of(content)[-1]
        number = which % wanted[0].shape[0]
        content_loss = (((found[-1] - kept) ** 2).mean([1, 2, 3]) / (kept**2).mean([1, 2, 3])).mean()
        style_loss = sum(
            (((gram(x) - y.gather(number)) ** 2).sum([1, 2]) / (y.gather(number) ** 2).sum([1, 2])).mean()
            for x, y in zip(found, wanted, strict=True)
        ) / len(found)
        smooth = (painted[:, :, 1:] - painted[:, :, :-1]).abs().mean() + (
            painted[..., 1:] - painted[..., :-1]
        ).abs().mean()
        total = content_weight * content_loss + style_weight * style_loss + smooth_weight * smooth
        return total, style_loss, content_loss

    def _measure(self) -> tuple[Maps, list[Tensor]]:
        """Give the feature network and the Gram matrices of the styles, made when they are first needed."""
        backbone = self._backbone
        if backbone is None or (self.styles is None and not int(backbone.kept)):
            raise UsageError(
                "style: expected a picture to learn the style of, found none",
                hint='finetune("pictures/", style="painting.jpg")',
            )
        if self._maps is None:
            raise UsageError(
                f"features: {type(backbone).__name__} has no encoder to measure with",
                hint="name the folder of a module of pictures: features='./vgg16'",
            )
        if not self._wanted:
            kept = backbone.styles[: int(backbone.kept)]
            if self.styles is not None:  # what `begin` puts in their place
                kept = paddle.to_tensor(np.stack(self.styles).transpose(0, 3, 1, 2))
            with paddle.no_grad():
                self._wanted = [gram(x) for x in self._maps(kept.astype("float32") / 255)]
        return self._maps, self._wanted

    def _feature_maps(self, backbone: Stylizer) -> Maps | None:
        if self.features is not None:
            return feature_maps(*self.features)
        own = getattr(backbone, "encoder", None)
        if own is None:
            return None
        fixed = copy.deepcopy(own)
        fixed.eval()
        for parameter in fixed.parameters():
            parameter.stop_gradient = True
        found: Maps = fixed
        return found

    def meter(self) -> StyleMeter:
        """Give an empty meter."""
        return StyleMeter(self)

    def measured(self, run: Run, inputs: Arrays, targets: Arrays) -> Iterator[tuple[Any, Arrays]]:
        """Give each picture in every style there is: metrics do not hang on which picture has which."""
        content = inputs[0]
        for style in range(self._measure()[1][0].shape[0]):
            given = content, np.full(len(content), style, np.int64)
            yield run(given), given

    # ---- answers ----

    def answers(
        self,
        sources: Sequence[Any],
        items: Sequence[Any],
        *,
        run: Run,
        preprocessor: Preprocessor,
        style: Any = 0,
        strength: float = 1.0,
        longest: int = LONGEST,
    ) -> list[dict[str, Any]]:
        """Give {"picture": uint8 [H, W, 3]} for each input, at its own size.

        `style` is the number of a style that the module keeps, or any picture. `strength` from 0 to 1 mixes the
        painting with the input. Inputs longer than `longest` pixels are painted at that size and then enlarged, so
        that memory is bounded. Raises UsageError for an option that means nothing.
        """
        if not is_number(strength) or not 0 <= strength <= 1:
            raise UsageError(f"strength: expected a number from 0 to 1, found {strength!r}")
        if not is_whole(longest) or longest < MULTIPLE:
            raise UsageError(
                f"longest: expected a whole number, at least {MULTIPLE} pixels, found {longest!r}"
            )
        chosen = self._chosen(style)
        return [
            {"picture": _painted(image.read(source).convert("RGB"), chosen, run, strength, longest)}
            for source in sources
        ]

    def _chosen(self, style: Any) -> np.ndarray:
        """Give what the network takes for a style: its number, or its picture."""
        if not is_whole(style):
            return style_picture(style)[None].transpose(0, 3, 1, 2).astype(np.float32) / 255
        count = 1 if self._backbone is None else int(self._backbone.kept)
        if not 0 <= style < count:
            raise UsageError(
                f"style: expected a picture or a number from 0 to {count - 1}, found {style}",
                hint="this module keeps no style: pass style='painting.jpg'" if not count else "",
            )
        return np.array([style], np.int64)

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the painted picture."""
        return Image.fromarray(result["picture"])


def feature_maps(backbone: Backbone, preprocessor: Preprocessor) -> Maps:
    """Give what takes pixels from 0 to 1 to the maps of a backbone's stages, with its own normalisation.

    Raises SpecError for a network that has no maps. The backbone is put into its predicting state and never trained.
    """
    channels = backbone.input_channels
    low, high = _ends(backbone, preprocessor)
    shift, scale = paddle.to_tensor(low), paddle.to_tensor(high - low)  # type: ignore[operator]
    backbone.eval()

    def maps(pixels: Tensor) -> list[Tensor]:
        x = pixels if channels == 3 else pixels.mean(axis=1, keepdim=True)
        x, found = x * scale + shift, []
        for _, stage in backbone.stages():
            x = stage(x)
            if isinstance(x, Tensor) and x.ndim == 4:
                found.append(x)
        if not found:
            raise SpecError(f"features: {type(backbone).__name__} has no maps to measure styles on")
        return found

    return maps


def _ends(backbone: Backbone, preprocessor: Preprocessor) -> list[Arrays]:
    """Give what the preprocessor makes of black and of white, which says how it normalizes."""
    shape = (1, 1, backbone.input_channels)
    return [preprocessor.batch([np.full(shape, value, np.uint8)]) for value in (0, 255)]


def _measuring(features: Any) -> tuple[Backbone, PicturePreprocessor]:
    """Give the network to measure with. Raises UsageError for what is none of pictures, SpecError for no folder."""
    if isinstance(features, str | Path):
        folder = Path(os.path.expanduser(features))
        if not os.path.isdir(folder):  # unlike Path, False for what is too long to be a name
            raise SpecError(
                f"features: expected a module folder, found none at {folder}",
                hint=f"a module that has a name: features=hub.Module({str(features)!r})",
            )
        found = bundle.load(folder)
        pair: Any = found.backbone, found.preprocessor
    elif hasattr(features, "network"):  # a hub.Module, which this layer does not know
        pair = features.network.backbone, features.preprocessor
    else:
        pair = features
    match pair:
        case Backbone() as backbone, PicturePreprocessor() as preprocessor:
            return backbone, preprocessor
    what = (
        f"the {features.task} module {features.name}"
        if hasattr(features, "network")
        else f"{features!r:.100}"
    )
    raise UsageError(
        f"features: expected a module of pictures, found {what}", hint="features=hub.Module('glyphs_cnn')"
    )


def style_picture(source: Any) -> np.ndarray:
    """Give uint8 [STYLE_SIDE, STYLE_SIDE, 3]: the middle of a style picture. Raises InputError or UsageError."""
    try:
        picture = image.resize(image.read(source).convert("RGB"), short=STYLE_SIDE)
    except InputError as problem:
        raise UsageError(f"style: {problem.message}", hint=problem.hint) from None
    return np.asarray(image.center_crop(picture, size=STYLE_SIDE))


def _several(style: Any) -> list[Any]:
    if not isinstance(style, list | tuple):
        return [style]
    if not 1 <= len(style) <= SLOTS:
        raise UsageError(f"style: expected 1 to {SLOTS} pictures, found {len(style)}")
    return list(style)


def _painted(picture: Image.Image, style: np.ndarray, run: Run, strength: float, longest: int) -> np.ndarray:
    """Give a picture painted at its own size: mirrored at the border up to a whole number of cells, then cut."""
    small = picture if max(picture.size) <= longest else image.resize(picture, long=longest)
    pixels = np.asarray(small)
    height, width = (max(size, 4 * MULTIPLE) for size in pixels.shape[:2])  # what mirroring needs
    missing = [
        (0, -(-size // MULTIPLE) * MULTIPLE - own)
        for size, own in zip((height, width), pixels.shape[:2], strict=True)
    ]
    padded = np.pad(pixels, [*missing, (0, 0)], mode="symmetric")
    content = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32) / 255
    found = run((content, style))[0].transpose(1, 2, 0)[: pixels.shape[0], : pixels.shape[1]]
    painting = Image.fromarray(np.rint(found.clip(0, 1) * 255).astype(np.uint8))
    if painting.size != picture.size:
        painting = painting.resize(picture.size, Image.Resampling.BICUBIC)
    return np.asarray(Image.blend(picture, painting, strength))


class StyleMeter:
    """Means of the losses over all pictures, each in every style."""

    def __init__(self, task: StyleTransfer) -> None:
        self._task = task
        self.count, self.painted = 0, 0
        self.sums = np.zeros(3)

    def update(self, outputs: np.ndarray, targets: tuple[np.ndarray, np.ndarray]) -> None:
        """Take in a painted batch and (content, number of the style), as arrays."""
        with paddle.no_grad():
            given = tuple(map(paddle.to_tensor, targets))
            losses = self._task.losses(paddle.to_tensor(outputs), given)
        self.count += int((targets[1] == 0).sum())
        self.painted += len(outputs)
        self.sums = self.sums + np.array([float(loss) for loss in losses]) * len(outputs)

    def compute(self) -> dict[str, Any]:
        """Give the means."""
        names = ("total_loss", "style_loss", "content_loss")
        return {
            "count": self.count,
            **dict(zip(names, (self.sums / max(1, self.painted)).tolist(), strict=True)),
        }
