"""The steps for sounds: what is read and kept are samples, what the network takes are log-mel spectrograms."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from hub.errors import InputError, SpecError
from hub.modules.preprocessor import look_up, refuse_unknown
from hub.modules.spec import Named
from hub.transforms import audio, spectrogram

LAST = "log_mel"
_SETTINGS = set(inspect.signature(spectrogram.log_mel).parameters) - {"samples"}


class SoundPreprocessor:
    """`read` gives float32 samples [N], `batch` float32 [B, 1, frames, mels].

    The last step, log_mel, names the rate at which every sound is read and the settings of the spectrogram; what it
    gives, less `mean` and over `std`, both in dB, goes into the network.
    """

    def __init__(self, preprocess: Sequence[Named], augment: Sequence[Named] = ()) -> None:
        """Look the steps up by name. Raises SpecError for an unknown step or argument; log_mel comes last."""
        *fixed, last = preprocess or [Named(LAST)]
        if last.name != LAST:
            raise SpecError(f"preprocess: expected the last step to be {LAST}, found {last.name!r}")
        refuse_unknown(last, _SETTINGS | {"mean", "std"}, "preprocess")
        settings = {name: _number(last, name) for name in last.arguments}
        missing = sorted(_SETTINGS - {"amin"} - set(settings))
        if missing:
            raise SpecError(f"preprocess.{LAST}: expected {', '.join(missing)}, found none")
        self._mean, self._std = settings.pop("mean", 0.0), settings.pop("std", 1.0)
        if not self._std > 0:
            raise SpecError(f"preprocess.{LAST}.std: expected a number above 0, found {self._std!r}")
        self._settings = settings
        self.rate = int(settings["rate"])
        spectrogram.mel_bands(self.rate, *(settings[name] for name in ("window", "mels", "low", "high")))
        given = {"samples", "rate"}
        self._steps = [look_up(step, audio.STEPS, audio.BOUNDS, "preprocess", given) for step in fixed]
        masks = [step for step in augment if step.name in spectrogram.RANDOM_MASKS]
        steps = [step for step in augment if step not in masks]
        self._random = [
            look_up(step, audio.RANDOM_STEPS, audio.BOUNDS, "augment", {*given, "rng"}) for step in steps
        ]
        self._masks = [
            look_up(step, spectrogram.RANDOM_MASKS, spectrogram.BOUNDS, "augment", {"mel", "rng"})
            for step in masks
        ]
        cuts = [step.arguments["seconds"] for step in fixed if step.name == "clip"]
        self.seconds: float | None = float(cuts[-1]) if cuts else None
        """The length that the network was made for, or None for any."""

    @property
    def augments(self) -> bool:
        """Whether `augmented` changes anything."""
        return bool(self._random or self._masks)

    def whole(self, source: Any) -> np.ndarray:
        """Give all of a sound, float32 [N] at `rate`, before the fixed steps. Raises InputError."""
        return audio.read(source, rate=self.rate)

    def read(self, source: Any) -> np.ndarray:
        """Give the sound, float32 [N] at `rate`, after the fixed steps. Raises InputError."""
        return self.prepared(self.whole(source))

    def prepared(self, samples: np.ndarray) -> np.ndarray:
        """Give what the fixed steps make of samples at `rate`."""
        for step in self._steps:
            samples = step(samples, self.rate)
        return samples

    def augmented(self, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Give a random variant of a sound from `read`: samples, or with masks their spectrogram [frames, mels]."""
        for step in self._random:
            samples = step(samples, self.rate, rng)
        if not self._masks:
            return samples
        mel = self.spectrogram(samples)
        for mask in self._masks:
            mel = mask(mel, rng)
        return mel

    def spectrogram(self, samples: np.ndarray) -> np.ndarray:
        """Give the log-mel spectrogram of samples, float32 [frames, mels] in dB."""
        return spectrogram.log_mel(samples, **self._settings)  # type: ignore[arg-type]  # checked above

    def batch(self, items: Sequence[np.ndarray]) -> np.ndarray:
        """Give float32 [B, 1, frames, mels]: the spectrograms less `mean`, over `std`."""
        mels = [item if item.ndim == 2 else self.spectrogram(item) for item in items]
        if len({len(mel) for mel in mels}) > 1:
            found = ", ".join(f"{len(item) / self.rate:.2f} s" for item in items[:5])
            raise InputError(
                f"expected sounds of one length in a batch, found {found}",
                hint="add a step such as {clip: {seconds: 1}} to preprocess in module.yaml",
            )
        return ((np.stack(mels)[:, None] - self._mean) / self._std).astype(np.float32)

    def picture(self, source: Any) -> Image.Image:
        """Give the spectrogram of the whole sound as a picture. Raises InputError."""
        return spectrogram.picture(self.spectrogram(self.whole(source)))


def _number(step: Named, name: str) -> float | int:
    value = step.arguments[name]
    whole = name in spectrogram.MOST
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise SpecError(
            f"preprocess.{step.name}.{name}: expected a {'whole ' if whole else ''}number, found {value!r}"
        )
    if whole and value < 1:
        raise SpecError(f"preprocess.{step.name}.{name}: expected at least 1, found {value!r}")
    if (whole and value > spectrogram.MOST[name]) or not math.isfinite(value):
        most = f"at most {spectrogram.MOST[name]:,}" if whole else "a finite number"
        raise SpecError(f"preprocess.{step.name}.{name}: expected {most}, found {value!r}")
    return value
