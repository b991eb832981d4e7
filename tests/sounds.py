"""Small sounds that are easy to tell apart, and a module small enough to train in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

LABELS = ("buzz", "hiss", "rise")
RATE = 8_000
SECONDS = 0.4


def sound(label: str, seed: int) -> np.ndarray:
    """A noisy sound, float32 [3200] at 8 kHz: a low buzz, a hiss, or a tone that rises."""
    rng = np.random.default_rng((seed, LABELS.index(label)))
    time = np.arange(round(SECONDS * RATE)) / RATE
    noise = rng.normal(0, 0.02, len(time))
    if label == "buzz":
        wave = np.sign(np.sin(2 * np.pi * rng.uniform(90, 140) * time)) * 0.3
    elif label == "hiss":
        wave = rng.normal(0, 0.2, len(time))
    else:
        wave = 0.5 * np.sin(2 * np.pi * (rng.uniform(400, 600) + 2500 * time) * time)
    return np.asarray(wave + noise, np.float32)


def samples(each: int, *, seed: int = 0) -> list[tuple[tuple[np.ndarray, int], str]]:
    """`each` sounds of every label, as the simplest dataset there is: a list of ((array, rate), name)."""
    return [((sound(label, seed * 1000 + n), RATE), label) for n in range(each) for label in LABELS]


def write(path: Path, array: np.ndarray, rate: int = RATE, **how: Any) -> Path:
    """Write a sound in the format that the suffix says."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, array, rate, **how)
    return path


def folder(path: Path, each: int, *, seed: int = 0, suffix: str = ".wav") -> Path:
    """The same as a folder of files for each class."""
    for number, ((array, rate), label) in enumerate(samples(each, seed=seed)):
        write(path / label / f"{number:03d}{suffix}", array, rate)
    return path


PREPROCESS = [
    {"clip": {"seconds": SECONDS}},
    {"level": {}},
    {"log_mel": {
        "rate": RATE, "window": 256, "hop": 100, "mels": 20, "low": 50, "high": 4000, "amin": 1e-6,
        "mean": -30, "std": 20,
    }},
]  # fmt: skip


def tiny_module(seed: int = 0, **changes: Any) -> Any:
    """A module with random weights, 5,000 parameters."""
    import hub

    settings: dict[str, Any] = {
        "task": "audio_classification",
        "arch": {"name": "small_audio_cnn", "width": 2},
        "labels": ["this", "that"],
        "preprocess": PREPROCESS,
        "augment": [{"random_shift": {"seconds": 0.05}}, {"mask_spectrogram": {}}],
        "license": "Apache-2.0",
    }
    return hub.Module.create("tiny", seed=seed, **(settings | changes))
