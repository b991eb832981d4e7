"""How much faster training is when what is frozen is computed once: a probe, and partial freezing.

    python benchmarks/frozen.py [--repeats 3] [--case "probe, mobilenet_v3_small"]

Trains `Module.finetune` on 1,000 pictures of 128×128 in files, 10 epochs, three ways, one after the other in every
repeat so that a machine that slows down slows all of them: without the cache (every epoch goes through the frozen
layers in paddle's eager mode), with it, and with it once more in the same home, as a second run finds it. Prints the
seconds of each, the median ratios and the accuracy of each on the validation set. The pictures are stripes in 10 hues.
The network has random weights, which cost the same time as pretrained ones, of a size that keeps signals alive from
layer to layer (He et al. 2015, https://arxiv.org/abs/1502.01852); its normalization has seen some of the pictures, so
that its features tell them apart.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES, SAMPLES, SIDE, EPOCHS = 10, 1000, 128, 10
CASES: dict[str, dict[str, Any]] = {
    "probe, mobilenet_v3_small": {"arch": {"name": "mobilenet_v3_small"}, "strategy": "probe"},
    "last stage of resnet18": {"arch": {"name": "resnet", "depth": 18}, "strategy": "full", "freeze": 4},
}


def draw(folder: Path) -> Path:
    """Write the pictures: stripes of any direction and width, in a hue near to that of the class, under noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    for number in range(SAMPLES):
        label = number % CLASSES
        angle, width = rng.uniform(0, np.pi), rng.uniform(3, 10)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / width + rng.uniform(0, 6))
        hue = 2 * np.pi * (label / CLASSES + rng.normal(0, 0.03))
        colour = 128 + 60 * np.cos(hue + np.array([0, 2, 4]) * np.pi / 3)
        picture = colour * (1 + 0.3 * wave[:, :, None]) + rng.normal(0, 30, (SIDE, SIDE, 3))
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path)
    return folder


def train(case: dict[str, Any], data: Path, output: Path, *, cache: bool, home: Path) -> tuple[float, float]:
    """Give (seconds, accuracy) of one run, loading the module not counted."""
    import hub

    os.environ["HUB_HOME"] = str(home)
    settings = dict(case)
    module = hub.Module.create(
        "bench",
        task="image_classification",
        arch=settings.pop("arch"),
        labels=[str(n) for n in range(CLASSES)],
        preprocess=[{"normalize": {"mean": [0.5], "std": [0.25]}}],
    )
    calibrate(module, data)
    started = time.perf_counter()
    module.finetune(
        data, epochs=EPOCHS, cache=cache, augment=False, output_dir=output, progress=False, **settings
    )
    assert module.run is not None
    return time.perf_counter() - started, module.run.metrics["accuracy"]


def calibrate(module: Any, data: Path) -> None:
    """Let random layers keep the size of signals, and their normalization take its statistics from 256 pictures."""
    import paddle

    rng = np.random.default_rng(0)
    for weight in module.network.backbone.parameters():
        if weight.ndim > 1:
            inputs = weight.shape[0] if weight.ndim == 2 else np.prod(weight.shape[1:])
            weight.set_value(rng.normal(0, np.sqrt(2 / inputs), weight.shape).astype(np.float32))

    files = np.random.default_rng(0).permutation(sorted(data.rglob("*.png")))[:256].tolist()
    module.network.train()
    with paddle.no_grad():
        for start in [*range(0, 256, 32)] * 6:  # each time the statistics move a tenth of the way
            read = [module.preprocessor.read(file) for file in files[start : start + 32]]
            module.network(paddle.to_tensor(module.preprocessor.batch(read)))
    module.network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data = draw(place / "data")
        for name in given.case:
            case = CASES[name]
            rows = []
            for _ in range(given.repeats):
                home = place / "home"
                shutil.rmtree(home, ignore_errors=True)
                ways = [
                    train(case, data, place / "run", cache=kept, home=home) for kept in (False, True, True)
                ]
                rows.append(ways)
                print(f"{name}: " + ", ".join(f"{seconds:.1f} s" for seconds, _ in ways), flush=True)
            seconds = np.array([[one for one, _ in ways] for ways in rows])
            accuracy = np.array([[one for _, one in ways] for ways in rows]).mean(axis=0)
            first, second = np.median(seconds[:, 0] / seconds[:, 1]), np.median(seconds[:, 1] / seconds[:, 2])
            print(f"{name}: {first:.1f} times faster with the cache, the second run {second:.1f} times more")
            print(
                f"{name}: accuracy {accuracy[0]:.3f} without, {accuracy[1]:.3f} and {accuracy[2]:.3f} with it"
            )


if __name__ == "__main__":
    main()
