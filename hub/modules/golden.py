"""Golden values: an input and what a module made of it when it was saved, replayed to see that it still does.

The picture, the sound and the text are made up, never taken from anybody's data: gradients, a disc, a rising tone and
noise; capitals, accents, numbers, Chinese and a word in no vocabulary. Every step of the preprocessing and every
channel has something to get wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hub.modules.network import Network, infer
from hub.modules.preprocessor import Preprocessor

SIDE = 96
RATE = 16_000
WORDS = "A café on the 42nd floor , 花园 by the river ; Zqxjvk !"
SECOND = "The garden is near the water, they say."


@dataclass(frozen=True)
class Replay:
    """How far today's output is from the stored one, relative to the largest stored value."""

    max_error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.max_error <= self.tolerance

    def __str__(self) -> str:
        verdict = "as when it was made" if self.ok else "NOT as when it was made"
        return f"{verdict}: largest difference {self.max_error:.1e}, allowed {self.tolerance:.1e}"


def test_card() -> np.ndarray:
    """Give the picture, uint8 [SIDE, SIDE, 3], the same on every machine."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    noise = np.random.Generator(np.random.PCG64(0)).integers(0, 40, (SIDE, SIDE, 3))
    disc = ((x - 60) ** 2 + (y - 40) ** 2 < 20**2)[:, :, None] * np.array([90, -60, 40])
    card = np.stack([x * 2, y * 2, (x + y)], axis=2) + disc + noise
    return card.clip(0, 255).astype(np.uint8)


def test_sound() -> np.ndarray:
    """Give a second of sound, float32 [RATE]: a rising tone under noise, the same on every machine."""
    time = np.arange(RATE) / RATE
    noise = np.random.Generator(np.random.PCG64(0)).normal(0, 0.02, RATE)
    return (0.4 * np.sin(2 * np.pi * (200 + 900 * time) * time) + noise).astype(np.float32)


def example(inputs: str) -> dict[str, np.ndarray]:
    """Give the input to be stored for a task that takes `inputs`, as arrays."""
    inputs = inputs.removeprefix("rated ")  # texts and pairs as such
    if inputs == "sounds":
        return {"samples": test_sound(), "rate": np.array([RATE], np.int64)}
    if inputs == "texts":
        return {"text": _bytes(WORDS)}
    if inputs == "pairs":
        return {"text": _bytes(WORDS), "second": _bytes(SECOND)}
    if inputs == "tagged":
        return {"words": _bytes(WORDS)}
    return {"picture": test_card()}


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8"), np.uint8)


def _source(given: Mapping[str, np.ndarray]) -> Any:
    """Give the stored input as a module takes it."""
    if "samples" in given:
        return given["samples"], int(given["rate"][0])
    if "picture" in given:
        return given["picture"]
    texts = {name: array.tobytes().decode("utf-8") for name, array in given.items()}
    if "words" in texts:
        return texts["words"].split(" ")
    return (texts["text"], texts["second"]) if "second" in texts else texts["text"]


def answer(
    network: Network,
    preprocessor: Preprocessor,
    given: Mapping[str, np.ndarray],
    answers: Callable[..., object] | None = None,
) -> dict[str, np.ndarray]:
    """Give what the network puts out for a stored input: {"output": array}, of several the last one, under its number.

    `answers` is that of the module's task, which knows what the network takes; without one the input is a batch alone.
    """
    source = _source(given)
    item = preprocessor.read(source)
    if answers is None:
        return {"output": infer(network, preprocessor.batch([item]))}
    seen: list[Any] = []

    def run(batch: Any) -> Any:
        seen.append(infer(network, batch))
        return seen[-1]

    answers([source], [item], run=run, preprocessor=preprocessor)
    outputs = seen[0]
    if isinstance(outputs, tuple):
        return {f"output{len(outputs) - 1}": outputs[-1]}  # what the others lead to, and often the smallest
    return {"output": outputs}


def compare(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], *, tolerance: float
) -> Replay:
    """Compare what the network gives now with what was stored."""
    error = 0.0
    for name, values in expected.items():
        if name not in found or found[name].shape != values.shape:
            return Replay(float("inf"), tolerance)
        difference = np.abs(found[name] - values).max() / max(float(np.abs(values).max()), 1e-12)
        error = max(error, float(difference) if np.isfinite(difference) else float("inf"))
    return Replay(error, tolerance)
