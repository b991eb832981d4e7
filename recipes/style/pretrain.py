"""Pretrain the bundled style module: `python recipes/style/pretrain.py --output FOLDER`.

First the encoder learns to tell textures apart (textures.py draws them), for that is what styles are measured with;
then it stays as it is, and the decoder learns to paint crops of china.jpg, one of the two photographs that scikit-learn
ships, in the manner of textures, any number of them. The other photograph, flower.jpg, is never seen.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import textures
from paddle import nn
from paddle.nn import functional as F
from sklearn.datasets import load_sample_image

from hub import tasks
from hub.finetune.schedules import warmup_cosine
from hub.modules import archs, bundle, golden
from hub.modules.archs.style import STYLE_SIDE, gram
from hub.modules.network import Network
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import Head, ModuleSpec
from hub.tasks.style_transfer import CONTENT_WEIGHT, STYLE_WEIGHT

PREPROCESS: tuple[dict[str, dict[str, Any]], ...] = (
    {"rgb": {}},
    {"resize": {"size": 128}},
    {"normalize": {}},
)
AUGMENT: tuple[dict[str, dict[str, Any]], ...] = (
    {"random_flip": {}},
    {"random_resized_crop": {"scale": 0.3}},
)
ENCODER_STEPS, STEPS = 200, 300
ENCODER_BATCH, BATCH = 16, 6
LEARNING_RATE = 2e-3
RESTORE_WEIGHT = 20.0
KEPT = ("strokes", "waves", "shards", "tiles")


def tensor(pictures: list[np.ndarray]) -> paddle.Tensor:
    """Give pixels from 0 to 1, [N, 3, H, W]."""
    return paddle.to_tensor(np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 255)


def train_encoder(backbone: Any, channels: int, *, steps: int, seed: int) -> float:
    """Teach the encoder to tell textures apart from the Gram matrices of its maps; give its accuracy on new ones.

    At the same time the whole network learns to give a picture back whose style is its own: an encoder that only tells
    textures apart forgets the colours of even areas, and nothing can be painted from what it leaves.
    """
    encoder = backbone.encoder
    kinds = list(textures.KINDS)
    grams = sum(width * (width + 1) // 2 for width in (channels, 2 * channels, 4 * channels))
    classifier = nn.Linear(grams, len(kinds))
    optimizer = paddle.optimizer.Adam(
        LEARNING_RATE, parameters=[*backbone.parameters(), *classifier.parameters()]
    )
    photo, right = load_sample_image("china.jpg"), []
    for step in range(steps + 5):
        rng = np.random.default_rng((seed, step))
        targets = rng.integers(0, len(kinds), ENCODER_BATCH)
        pictures = tensor([textures.texture(kinds[k], rng) for k in targets])
        maps = encoder(pictures)
        logits = classifier(paddle.concat([_upper(gram(x)) for x in maps], axis=1))
        if step < steps:
            optimizer.set_lr(LEARNING_RATE * warmup_cosine(step / steps))
            again = tensor([_crop(photo, rng) for _ in range(ENCODER_BATCH // 2)])
            both = paddle.concat([pictures[::2], again])
            same = RESTORE_WEIGHT * (backbone((both, both)) - both).abs().mean()
            (F.cross_entropy(logits, paddle.to_tensor(targets)) + same).backward()
            optimizer.step()
            optimizer.clear_grad()
        else:
            right.append(float((logits.argmax(1).numpy() == targets).mean()))
    return float(np.mean(right))


def _upper(matrices: paddle.Tensor) -> paddle.Tensor:
    """Give the upper halves of Gram matrices, each of unit length: what matters is the pattern."""
    size = matrices.shape[1]
    places = np.flatnonzero(np.triu(np.ones((size, size))))
    return (
        F.normalize(matrices.reshape([-1, size * size]).index_select(paddle.to_tensor(places), axis=1)) * 10
    )


def train_decoder(backbone: Any, *, steps: int, seed: int, minutes: float) -> dict[str, float]:
    """Teach the decoder to paint photographs in the manner of textures; give the mean losses of the last tenth."""
    photo = load_sample_image("china.jpg")
    encoder = backbone.encoder
    for parameter in encoder.parameters():
        parameter.stop_gradient = True
    trained = [parameter for parameter in backbone.parameters() if not parameter.stop_gradient]
    optimizer = paddle.optimizer.Adam(
        LEARNING_RATE, parameters=trained, grad_clip=nn.ClipGradByGlobalNorm(1.0)
    )
    kinds, rows, started = list(textures.KINDS), [], time.perf_counter()
    for step in range(steps):
        if time.perf_counter() - started > 60 * minutes:
            raise SystemExit(f"{step} steps took more than {minutes} minutes; --steps takes fewer")
        rng = np.random.default_rng((seed, 1 << 20, step))
        content = tensor([_crop(photo, rng) for _ in range(BATCH)])
        style = tensor([textures.texture(kinds[rng.integers(len(kinds))], rng) for _ in range(BATCH)])
        found, kept, wanted = encoder(backbone((content, style))), encoder(content)[-1], encoder(style)
        content_loss = (((found[-1] - kept) ** 2).mean([1, 2, 3]) / (kept**2).mean([1, 2, 3])).mean()
        style_loss = sum(
            (((gram(x) - gram(y)) ** 2).sum([1, 2]) / ((gram(y) ** 2).sum([1, 2]) + 1e-12))
            .clip(max=25)
            .mean()
            for x, y in zip(found, wanted, strict=True)
        ) / len(found)
        loss = CONTENT_WEIGHT * content_loss + STYLE_WEIGHT * style_loss
        optimizer.set_lr(LEARNING_RATE * warmup_cosine(step / steps))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        rows.append((float(style_loss), float(content_loss)))
        if step % 50 == 0:
            print(f"step {step}: style {rows[-1][0]:.3f}, content {rows[-1][1]:.3f}", flush=True)
    style_mean, content_mean = np.mean(rows[-max(1, steps // 10) :], axis=0)
    return {"style_loss": round(float(style_mean), 3), "content_loss": round(float(content_mean), 3)}


def _crop(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    scale = int(rng.integers(1, 5))
    side = textures.SIDE * scale
    top, left = (int(rng.integers(0, size - side + 1)) for size in photo.shape[:2])
    return np.asarray(photo[top : top + side : scale, left : left + side : scale])


def pretrain(output: Path, *, encoder_steps: int, steps: int, width: int, seed: int, minutes: float) -> None:
    """Train and write the module folder. The same seed gives the same weights on the same machine."""
    started = time.perf_counter()
    spec = ModuleSpec.create(
        name="textures_stylizer",
        task="style_transfer",
        summary="Small network that paints pictures in the style of others, pretrained on drawn textures",
        arch={"name": "small_stylizer", "width": width},
        preprocess=PREPROCESS,
        augment=AUGMENT,
        license="Apache-2.0",
        head=Head(bundle.LABELS_FILE),
    )
    paddle.seed(seed)
    backbone: Any = archs.build(spec.arch.name, **spec.arch.arguments)
    accuracy = train_encoder(backbone, width, steps=encoder_steps, seed=seed)
    print(f"textures told apart: {accuracy:.3f}, {time.perf_counter() - started:.0f} s", flush=True)
    metrics = train_decoder(backbone, steps=steps, seed=seed, minutes=minutes)
    backbone.keep(
        [textures.texture(kind, np.random.default_rng((7, n)), STYLE_SIDE) for n, kind in enumerate(KEPT)]
    )
    backbone.eval()
    spec = replace(
        spec,
        head=None,
        source={
            "trained_on": f"{steps * BATCH:,} crops of scikit-learn's china.jpg in the style of drawn textures",
            "recipe": "recipes/style/pretrain.py",
            "metrics": {**metrics, "texture_accuracy": round(accuracy, 3)},
        },
    )
    preprocessor = PicturePreprocessor(spec.preprocess, spec.augment)
    task = tasks.create(spec.task, ())
    task.attach(backbone)
    given = golden.example(task.inputs)
    network = Network(backbone, task.build_head(backbone.feature_spec))
    bundle.save(
        output,
        bundle.Bundle(
            spec=spec, labels=(), backbone=backbone, head_state={}, preprocessor=preprocessor,
            card=(Path(__file__).parent / "card.md").read_text(encoding="utf-8"),
        ),
        golden=(given, golden.answer(network, preprocessor, given, task.answers)),
    )  # fmt: skip
    print(f"{output}: {metrics}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="the module folder to write")
    parser.add_argument("--encoder-steps", type=int, default=ENCODER_STEPS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20, help="give up when painting takes longer")
    given = parser.parse_args()
    pretrain(
        given.output, encoder_steps=given.encoder_steps, steps=given.steps, width=given.width, seed=given.seed,
        minutes=given.minutes,
    )  # fmt: skip
