"""What the bundled sound module is worth on few labelled sounds: `python benchmarks/transfer_audio.py`.

Needs espeak-ng (apt-get install espeak-ng). The targets are Spanish and German digits in voices that pretraining never
heard; it heard no word of these languages, and no number in any. Of each word there is one sound from each of the
voices to learn from, and the test is 250 sounds of other voices; each seed draws the voices anew.

    scratch       the same network with random weights, everything trained
    probe         the pretrained backbone frozen, the head trained
    fine-tuned    finetune's defaults: the head in closed form first, then everything

All are `finetune` with its defaults and that strategy, so with the same epochs and batches. A fifth of the sounds is
held out to choose the epoch by; of one sound a word nothing can be (valid=False).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "speech"))

import speak

import hub

SHOTS, SEEDS, TEST = (1, 3, 10), (0, 1, 2), 250
METHODS = {"scratch": "full", "probe": "probe", "fine-tuned": None}

Samples = list[tuple[tuple[np.ndarray, int], str]]


def draw(clips: speak.Clips, shots: int, seed: int) -> tuple[Samples, Samples]:
    """Give (train, test): every word by `shots` voices, and TEST sounds of voices that no draw of this seed learns."""
    rng = np.random.default_rng(seed)
    voices = rng.permutation(sorted(set(clips.voices))).tolist()
    samples = [
        ((clips.samples[k], speak.RATE), clips.words[clips.targets[k]]) for k in range(len(clips.voices))
    ]
    by_voice = {voice: [k for k, each in enumerate(clips.voices) if each == voice] for voice in voices}
    train = [samples[k] for voice in voices[:shots] for k in by_voice[voice]]
    others = [k for voice in voices[max(SHOTS) :] for k in by_voice[voice]]
    return train, [samples[k] for k in rng.permutation(others)[:TEST].tolist()]


def measure(train: Samples, test: Samples, method: str, seed: int, name: str) -> float:
    """Give the test accuracy of one method."""
    module = hub.Module(name)
    if method == "scratch":
        spec = module.spec.to_dict()
        module = hub.Module.create(
            "scratch", task=module.task, arch=spec["arch"], labels=["a", "b"], preprocess=spec["preprocess"],
            augment=spec["augment"], seed=seed,
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        valid = False if len(train) == len({label for _, label in train}) else None
        module.finetune(
            train, valid=valid, strategy=METHODS[method], seed=seed, output_dir=folder, progress=False
        )
    return float(module.evaluate(test)["accuracy"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", default="speech_cnn", help="a name or a folder")
    name = parser.parse_args().module
    for target in speak.TARGETS:
        clips = speak.target(target, len(speak.TARGET_VOICES), seed=0)
        print(f"\n{target}: accuracy in %, mean ± deviation of {len(SEEDS)} seeds\n")
        print("| sounds a word | " + " | ".join(METHODS) + " |\n| --- |" + " ---: |" * len(METHODS))
        for shots in SHOTS:
            draws = [draw(clips, shots, seed) for seed in SEEDS]
            cells = []
            for method in METHODS:
                scores = [100 * measure(*draws[seed], method, seed, name) for seed in SEEDS]
                cells.append(f"{np.mean(scores):.1f} ± {np.std(scores, ddof=1):.1f}")
            print(f"| {shots} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
