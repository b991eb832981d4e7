"""Golden values: a picture and what a module made of it when it was saved, replayed to see that it still does.

The picture is drawn by a formula, never taken from anybody's data: gradients, a disc and noise, so that every
step of the preprocessing and every channel has something to get wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hub.modules.network import Network, infer
from hub.modules.preprocessor import Preprocessor

SIDE = 96


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


def answer(network: Network, preprocessor: Preprocessor, picture: np.ndarray) -> dict[str, np.ndarray]:
    """Give {"output": logits} for one picture."""
    return {"output": infer(network, preprocessor.batch([preprocessor.read(picture)]))}


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
