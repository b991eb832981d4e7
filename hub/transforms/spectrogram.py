"""Log-mel spectrograms: computed as librosa does, masked at random for training, shown as pictures.

`RANDOM_MASKS` is the table of names that module.yaml may use under `augment`, after the steps of `audio`: a mask takes
a spectrogram [frames, mels] and a numpy generator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import fft

from hub.errors import SpecError

PANNS = {"rate": 32_000, "window": 1024, "hop": 320, "mels": 64, "low": 50.0, "high": 14_000.0}
"""The settings of the published PANNs (Kong et al. 2020, https://arxiv.org/abs/1912.10211)."""
AT_ONCE = 1024
"""Frames that are transformed together: bounds the memory for hours of sound."""


def log_mel(
    samples: np.ndarray,
    *,
    rate: int,
    window: int,
    hop: int,
    mels: int,
    low: float,
    high: float,
    amin: float = 1e-10,
) -> np.ndarray:
    """Give the log-mel spectrogram, float32 [frames, mels] in dB, of samples float32 [N] at `rate`.

    As librosa computes it: power_to_db(melspectrogram(..., pad_mode="reflect"), ref=1.0, amin=amin, top_db=None):
    frames of `window` samples every `hop`, centred, the ends mirrored; a periodic Hann window; Slaney's mel bands from
    `low` to `high` Hz, each of area 1. There are 1 + N // hop frames.
    """
    if len(samples) < 2:  # nothing to mirror
        samples = np.pad(samples, (0, 2 - len(samples)))
    padded = _mirrored(np.asarray(samples, np.float32), window // 2)
    bands, hann = mel_bands(rate, window, mels, float(low), float(high)), _hann(window)
    rows = []
    for start in range(0, len(padded) - window + 1, AT_ONCE * hop):
        # In float64: beside a loud tone float32 would drown what is 80 dB below it.
        some = padded[start : start + (AT_ONCE - 1) * hop + window].astype(np.float64)
        spectrum = fft.rfft(_frames(some, window, hop) * hann, axis=1, overwrite_x=True)
        parts = spectrum.view(np.float64)
        np.square(parts, out=parts)
        power = (spectrum.real + spectrum.imag).astype(np.float32)
        rows.append(10 * np.log10(np.maximum(np.float32(amin), power @ bands.T)))
    return np.concatenate(rows)


def _mirrored(samples: np.ndarray, by: int) -> np.ndarray:
    """Give samples with so many more before and behind, mirrored at the ends, as np.pad does it for any shape."""
    count = len(samples)
    if count <= by:  # mirrored more than once
        return np.pad(samples, by, mode="reflect")
    padded = np.empty(count + 2 * by, samples.dtype)
    padded[by : by + count] = samples
    padded[:by] = samples[by:0:-1]
    padded[by + count :] = samples[-2 : -2 - by : -1]
    return padded


def _frames(samples: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Give a view [frames, window] of the samples, a frame every `hop`."""
    count, step = 1 + (len(samples) - window) // hop, samples.strides[0]
    return np.ndarray((count, window), samples.dtype, samples, strides=(hop * step, step))


@lru_cache(maxsize=8)
def _hann(window: int) -> np.ndarray:
    """Give the periodic Hann window: one sample longer than is used, as is right for spectra."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window))


@lru_cache(maxsize=8)
def mel_bands(rate: int, window: int, mels: int, low: float, high: float) -> np.ndarray:
    """Give float32 [mels, window // 2 + 1]: triangles on Slaney's mel scale (Auditory Toolbox, 1998), of area 1.

    Raises SpecError for a range that is none, and for so many bands that one would be empty.
    """
    if not 0 <= low < high <= rate / 2:
        raise SpecError(f"log_mel: expected 0 <= low < high <= {rate / 2:g} Hz, found {low:g} and {high:g}")
    edges = _from_mel(np.linspace(_to_mel(low), _to_mel(high), mels + 2))
    pitch = np.arange(window // 2 + 1) * (rate / window)
    below, above = (
        (pitch - edges[:-2, None]) / np.diff(edges)[:-1, None],
        (edges[2:, None] - pitch) / np.diff(edges)[1:, None],
    )
    bands = np.maximum(0, np.minimum(below, above)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    if not bands.any(axis=1).all():
        raise SpecError(
            f"log_mel: {mels} bands are too many for a window of {window} samples: some would be empty"
        )
    return bands.astype(np.float32)


_LINEAR, _BREAK = 200 / 3, 1000.0  # Hz a mel below the break, where the scale turns logarithmic
_STEP = np.log(6.4) / 27


def _to_mel(hertz: float) -> float:
    if hertz < _BREAK:
        return hertz / _LINEAR
    return float(_BREAK / _LINEAR + np.log(hertz / _BREAK) / _STEP)


def _from_mel(mel: np.ndarray) -> np.ndarray:
    corner = _BREAK / _LINEAR
    return np.where(mel < corner, mel * _LINEAR, _BREAK * np.exp(_STEP * (mel - corner)))


def mask_spectrogram(
    mel: np.ndarray, rng: np.random.Generator, *, times: int = 1, frames: float = 0.1, bands: float = 0.1
) -> np.ndarray:
    """Give the spectrogram with its mean in the place of `times` stretches of time and as many of pitch.

    Each is up to the share `frames` or `bands` of the whole, uniform (SpecAugment without warping, Park et al. 2019,
    https://arxiv.org/abs/1904.08779).
    """
    masked, mean = mel.copy(), mel.mean()
    for _ in range(times):
        for axis, share in ((0, frames), (1, bands)):
            size = int(rng.integers(0, round(share * mel.shape[axis]) + 1))
            start = int(rng.integers(0, mel.shape[axis] - size + 1))
            masked[(slice(None),) * axis + (slice(start, start + size),)] = mean
    return masked


RANDOM_MASKS: Mapping[str, Callable[..., np.ndarray]] = {mask_spectrogram.__name__: mask_spectrogram}
BOUNDS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "mask_spectrogram": {"times": (0, 100), "frames": (0.0, 1.0), "bands": (0.0, 1.0)},
}
"""The least and the most of each argument of a mask; whole numbers where both are."""
MOST = {"rate": 768_000, "window": 1 << 16, "hop": 1 << 20, "mels": 1024}
"""Of the whole numbers that `log_mel` takes."""

SHOWN_DB = 70.0
_COLOURS = np.array(
    [(12, 8, 38), (70, 15, 95), (150, 40, 90), (225, 95, 45), (250, 175, 50), (250, 250, 190)]
)


def picture(mel: np.ndarray, *, width: int = 640, height: int = 192) -> Image.Image:
    """Give the spectrogram as a picture: time to the right, pitch upwards, the loudest SHOWN_DB from dark to light."""
    share = ((mel.T[::-1] - mel.max()) / SHOWN_DB + 1).clip(0, 1)
    places = np.linspace(0, 1, len(_COLOURS))
    colours = np.stack([np.interp(share, places, channel) for channel in _COLOURS.T], axis=2)
    image = Image.fromarray(np.rint(colours).astype(np.uint8))
    return image.resize((width, height), Image.Resampling.BILINEAR)
