"""Sounds: reading them safely, fixed steps for every sound, random ones for training.

`STEPS` and `RANDOM_STEPS` are the tables of names that module.yaml may use under `preprocess` and `augment`. A step
takes float32 samples [N] and their rate in Hz and gives samples; a random step takes a numpy generator as well.

soundfile, soxr and librosa (the audio extra) are imported when a sound is read, and not before.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hub.errors import InputError, MissingDependencyError, if_url, to_install

DECODED = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64", ".rf64"}
)
"""What soundfile decodes by itself."""
SUFFIXES = DECODED | {".m4a", ".aac", ".wma"}
"""The rest goes through librosa, which needs a decoder such as ffmpeg on the machine."""

MAX_SECONDS = 24 * 3600
MAX_SAMPLES = 1 << 28
"""A sound is held in memory as float32: 1 GiB at most, 4.6 hours at 16 kHz."""
MAX_CHANNELS = 64
RATES = (1_000, 768_000)
BLOCK = 1 << 20
"""Samples, of all channels, decoded or squared at a time: a header that lies about its length costs nothing."""
UNKNOWN = (1 << 63) - 1
"""The frames that libsndfile gives a FLAC whose header does not say how many there are."""
STREAMED = 0x7FFF0000
"""Programs that do not know yet how long a WAV will be promise so many bytes, or more."""

_NOTE_CUT = re.compile(r"^ *(?:data|Data Size|SSND|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.M)
"""What libsndfile notes of WAV, AU, AIFF, W64 and RF64; "RIFF", the size of a whole WAV, is often wrong."""
LOUDEST = 16
"""A sample of floating point may be that much: files that were mixed too loudly go beyond 1, and can be read."""
_HINT_16_BIT = "divide by 32768 what was read as 16-bit integers"
CANCELLED = 1e-4
"""The mean of loud channels of opposite polarity is less than this of them: what 16-bit rounding leaves."""

Samples = np.ndarray
Sound = tuple[np.ndarray, int]
"""(samples, rate in Hz)"""


def in_memory(given: Any) -> Sound | None:
    """Give a sound that is no file, as (array, rate), or None for what is none.

    It may be (rate, array), as scipy gives it, or {"array": …, "sampling_rate": …}, as Hugging Face's datasets do.
    """
    if isinstance(given, Mapping) and {"array", "sampling_rate"} <= set(given):
        given = np.asarray(given["array"]), given["sampling_rate"]
    if not isinstance(given, tuple) or len(given) != 2:
        return None
    array, rate = reversed(given) if _is_rate(given[0]) else given
    return (np.asarray(array), int(rate)) if hasattr(array, "__array__") and _is_rate(rate) else None


def _is_rate(given: Any) -> bool:
    if isinstance(given, float | np.floating):
        return given.is_integer()
    return isinstance(given, int | np.integer) and not isinstance(given, bool)


def read(source: Any, *, rate: int) -> Samples:
    """Give float32 samples [N] from −1 to 1, mono, at `rate` Hz, from a path or what `in_memory` takes.

    Channels are averaged and the rate is converted with soxr's best quality. Arrays are [N], [channels, N] or
    [N, channels], of integers of at most 32 bits (their whole range is −1 to 1) or of floating point from −1 to 1.
    Raises InputError that names the file and what is wrong with it: not a sound, damaged, cut short, without samples,
    all zeros, not finite, beyond ±LOUDEST, or longer than MAX_SECONDS or MAX_SAMPLES. Raises MissingDependencyError
    without the audio extra.
    """
    if sound := in_memory(source):
        return _whole(_resampled(_mono(iter([_from_array(sound[0])])), _checked_rate(sound[1]), rate))
    if not isinstance(source, str | Path):
        raise InputError(f"expected a path or (array, rate), found {type(source).__name__}")
    path = Path(source)
    try:
        if path.suffix.lower() in SUFFIXES - DECODED:
            return _whole(_with_librosa(path, rate))
        with _opened(path) as file:
            _require_sane(file)
            return _whole(_resampled(_mono(_blocks(file)), file.samplerate, rate))
    except InputError as problem:
        raise InputError(f"{path}: {problem.message}", hint=problem.hint) from None


def _opened(path: Path) -> Any:
    soundfile = _extra("soundfile")
    if not os.path.exists(path):  # unlike Path, False for what is too long to be a name
        raise InputError(f"no such file{if_url(path)}")
    if path.is_dir():
        raise InputError("expected a sound, found a folder")
    try:
        # Bytes, because a path need not be text in UTF-8, as which soundfile would write it.
        return soundfile.SoundFile(str(path) if os.name == "nt" else os.fsencode(path))
    except (  # TypeError: a .raw without a format
        soundfile.LibsndfileError, TypeError, OSError, UnicodeError,
    ) as problem:  # fmt: skip
        size = path.stat().st_size
        found = "an empty file" if size == 0 else f"{size:,} bytes that cannot be decoded"
        raise InputError(
            f"expected a sound ({', '.join(sorted(DECODED))}), found {found}: "
            f"{getattr(problem, 'error_string', problem)}"
        ) from None


def _require_sane(file: Any) -> None:
    _checked_rate(file.samplerate)
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise InputError(f"expected 1 to {MAX_CHANNELS} channels, found {file.channels}")
    if file.frames == 0:  # Ogg says in its last page how long it is
        raise InputError("the sound has no samples" + ", or its end is missing" * (file.format == "OGG"))
    promised = _promised(file)
    if promised > MAX_SECONDS * file.samplerate:
        raise InputError(
            f"its header promises {promised / file.samplerate / 3600:,.1f} hours; at most 24 are read"
        )


def _promised(file: Any) -> float:
    """Give how many samples a file's header promises, 0 where it says nothing about it, as that of a stream.

    Of files without compression libsndfile gives the samples that are there, and the promise in its notes alone.
    """
    if file.frames == UNKNOWN:
        return 0
    found = _NOTE_CUT.search(file.extra_info)
    if found is None or int(found[1]) >= STREAMED:
        return int(file.frames)
    return float(file.frames * int(found[1]) / max(1, int(found[2])))


def _checked_rate(rate: int) -> int:
    low, high = RATES
    if not low <= rate <= high:
        raise InputError(f"expected a sample rate of {low:,} to {high:,} Hz, found {rate:,}")
    return rate


def _blocks(file: Any) -> Iterator[Samples]:
    """Give samples [N, channels], block by block. Raises InputError for a file that ends long before it should."""
    soundfile = _extra("soundfile")
    size, count, promised = max(1, BLOCK // file.channels), 0, _promised(file)
    if file.frames == UNKNOWN:
        # Else soundfile sets the position after each block, which fails at an end that libsndfile does not know.
        file.seekable = lambda: False
    try:
        while len(block := file.read(size, dtype="float32", always_2d=True)):
            count += len(block)
            yield block
    except (soundfile.LibsndfileError, RuntimeError) as problem:
        raise InputError(f"the sound is damaged after {count / file.samplerate:.2f} s: {problem}") from None
    # Formats that do not store their length are estimated by the decoder, so a little less is no fault.
    if count < 0.9 * promised:
        there, all_of_it = count / file.samplerate, promised / file.samplerate
        raise InputError(f"the sound is cut short: {there:.2f} s of {all_of_it:.2f} s are there")


def _mono(blocks: Iterator[np.ndarray]) -> Iterator[Samples]:
    """Give the mean of the channels. Raises InputError for samples that are none, and where nothing is left of them."""
    heard = left = 0.0
    for block in blocks:
        peak = _peak(block)
        if block.shape[1] == 1:
            yield block[:, 0]
            continue
        mono = block.mean(axis=1, dtype=np.float32)
        heard = max(heard, peak)
        left = max(left, float(np.abs(mono).max(initial=0)))
        yield mono
    if left < CANCELLED * heard:
        raise InputError(
            f"the channels cancel each other: up to {heard:.2g} in one, up to {left:.2g} in their mean",
            hint="one of them has the wrong polarity; give one alone",
        )


def _peak(samples: np.ndarray) -> float:
    """Give how far samples of floating point go. Raises InputError where that is no loudness."""
    peak = float(np.abs(samples).max(initial=0))
    if not peak < math.inf:  # NaN is not either
        raise InputError("the sound has samples that are no numbers (NaN or infinity)")
    if peak > LOUDEST:
        raise InputError(
            f"expected floating-point samples from -1 to 1, found up to {peak:g}", hint=_HINT_16_BIT
        )
    return peak


def _from_array(array: Any) -> np.ndarray:
    """Give samples [N, channels] of an array of any shape that samples may have."""
    array = np.asarray(array)
    if not array.size:  # nor channels to take the mean of
        raise InputError("the sound has no samples")
    if array.ndim == 2 and min(array.shape) <= MAX_CHANNELS:
        return _scaled(array if np.argmin(array.shape) == 1 else array.T)
    if array.ndim != 1:
        raise InputError(
            f"expected samples of shape [N], [channels, N] or [N, channels], found {array.shape}"
        )
    return _scaled(array)[:, None]


def _scaled(array: np.ndarray) -> Samples:
    if array.dtype.kind in "iu" and array.dtype.itemsize > 4:  # no sound has them: they came of smaller ones
        raise InputError(
            f"expected integers of 8 to 32 bits, or floating point, found {array.dtype}", hint=_HINT_16_BIT
        )
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        middle = 0 if limits.min < 0 else (limits.max + 1) // 2
        return ((array.astype(np.float64) - middle) / (middle - limits.min)).astype(np.float32)
    if array.dtype.kind != "f":
        raise InputError(f"expected integers or floating point, found {array.dtype}")
    if array.itemsize > 4:
        _peak(array)  # before what is too large for float32 becomes infinite
    return array.astype(np.float32, copy=False)


def _resampled(blocks: Iterator[Samples], rate: int, wanted: int) -> Iterator[Samples]:
    """Give the blocks at another rate; what soxr keeps back comes with the last one."""
    if rate == wanted:
        yield from blocks
        return
    stream = _extra("soxr").ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _with_librosa(path: Path, rate: int) -> Iterator[Samples]:
    if not os.path.isfile(path):
        raise InputError(f"no such file{if_url(path)}")
    librosa = _extra("librosa")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # that soundfile could not, and that audioread will be gone one day
            samples, found = librosa.load(path, sr=None, mono=False, duration=MAX_SAMPLES / rate + 1)
    except (
        Exception
    ) as problem:  # its decoders are programs and libraries of their own, with errors of their own
        raise InputError(
            f"no decoder for {path.suffix} on this machine: {type(problem).__name__} {problem}".rstrip(),
            hint="install ffmpeg, or convert the file to .wav or .flac",
        ) from None
    mono = _mono(iter([np.atleast_2d(samples).T]))
    yield from _resampled(mono, _checked_rate(int(found)), rate)


def _whole(blocks: Iterator[Samples]) -> Samples:
    """Put blocks together. Raises InputError for what is too long, empty or silent."""
    whole, count = bytearray(), 0
    for block in blocks:
        count += len(block)
        if count > MAX_SAMPLES:
            raise InputError(
                f"the sound has more than the {MAX_SAMPLES:,} samples that are read", hint="cut it into parts"
            )
        # Moved as a whole, by the operating system where it is long: newer numpy copies what is resized.
        whole.extend(np.ascontiguousarray(block, np.float32).view(np.uint8))
    if not count:
        raise InputError("the sound has no samples")
    samples: Samples = np.ndarray(count, np.float32, whole)  # its base, not frombuffer's, says what it takes
    if not samples.any():
        raise InputError(
            "the sound is silent: every sample is 0",
            hint="a recording of silence has noise; this one is empty",
        )
    return samples


def _extra(name: str) -> ModuleType:
    try:
        if name == "librosa":
            import librosa

            return librosa
        if name == "soxr":
            import soxr

            return soxr
        import soundfile

        return soundfile
    except (ImportError, OSError) as problem:  # OSError: soundfile without its library
        raise MissingDependencyError(
            f"sounds are read with {name}, which cannot be imported: {problem}",
            hint=to_install("librosa", "soundfile"),
        ) from None


# ---- fixed steps ----


def clip(samples: Samples, rate: int, *, seconds: float) -> Samples:
    """Give that many seconds: of a longer sound the loudest stretch, of a shorter one all of it amid silence."""
    length = max(1, round(seconds * rate))
    if len(samples) <= length:
        padded = np.zeros(length, samples.dtype)
        first = (length - len(samples)) // 2
        padded[first : first + len(samples)] = samples
        return padded
    step = max(1, rate // 100)  # a start every 10 ms
    starts = np.append(np.arange(0, len(samples) - length, step), len(samples) - length)
    before, with_it = _energies(samples, starts, starts + length)
    start = int(starts[np.argmax(with_it - before)])
    return samples[start : start + length].copy()  # a view would hold the rest as well


def _energies(samples: Samples, *ends: np.ndarray) -> list[np.ndarray]:
    """Give the sum of the squares before each of these places, which ascend; block by block, as it is in float64."""
    found, total = [np.zeros(len(each)) for each in ends], 0.0
    for first in range(0, len(samples), BLOCK):
        sums = np.square(samples[first : first + BLOCK], dtype=np.float64)
        sums[0] += total
        np.cumsum(sums, out=sums)
        for places, energies in zip(ends, found, strict=True):
            here = slice(*np.searchsorted(places, (first + 1, first + len(sums) + 1)))
            energies[here] = sums[places[here] - first - 1]
        total = sums[-1]
    return found


def trim_silence(samples: Samples, rate: int, *, db: float = 40.0) -> Samples:
    """Give the sound without what is quieter, before and after, than its loudest 20 ms by more than `db`."""
    size = max(1, rate // 50)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    if not len(frames):
        return samples
    some = max(1, BLOCK // size)
    power = np.concatenate([
        np.square(frames[first : first + some], dtype=np.float64).mean(axis=1)
        for first in range(0, len(frames), some)
    ])  # fmt: skip
    loud = np.flatnonzero(power >= power.max() * 10 ** (-db / 10))
    return samples[loud[0] * size : (loud[-1] + 1) * size].copy()


def level(samples: Samples, rate: int, *, peak: float = 0.9) -> Samples:
    """Give the sound with its largest sample at ±`peak`."""
    return samples * np.float32(peak / max(float(np.abs(samples).max()), 1e-9))


# ---- random steps: used while training, never while predicting ----


def random_shift(samples: Samples, rate: int, rng: np.random.Generator, *, seconds: float = 0.1) -> Samples:
    """Give the sound moved by up to ±`seconds`; what leaves it is lost, what comes in is silence."""
    by = round(rng.uniform(-seconds, seconds) * rate)
    moved = np.zeros_like(samples)
    if by >= 0:
        moved[by:] = samples[: len(samples) - by]
    else:
        moved[:by] = samples[-by:]
    return moved


def random_noise(
    samples: Samples, rate: int, rng: np.random.Generator, *, low: float = 10.0, high: float = 40.0
) -> Samples:
    """Give the sound with white noise, `low` to `high` dB below its own mean power."""
    power = float(np.square(samples, dtype=np.float64).mean())
    deviation = (power * 10 ** (-rng.uniform(low, high) / 10)) ** 0.5
    return samples + rng.standard_normal(len(samples), np.float32) * np.float32(deviation)


def random_gain(samples: Samples, rate: int, rng: np.random.Generator, *, db: float = 6.0) -> Samples:
    """Give the sound up to ±`db` louder."""
    return samples * np.float32(10 ** (rng.uniform(-db, db) / 20))


STEPS: Mapping[str, Callable[..., Samples]] = {s.__name__: s for s in (clip, trim_silence, level)}
RANDOM_STEPS: Mapping[str, Callable[..., Samples]] = {
    step.__name__: step for step in (random_shift, random_noise, random_gain)
}
BOUNDS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "clip": {"seconds": (0.001, 600.0)},
    "trim_silence": {"db": (0.0, 200.0)},
    "level": {"peak": (0.0, 1.0)},
    "random_shift": {"seconds": (0.0, 600.0)},
    "random_noise": {"low": (-100.0, 200.0), "high": (-100.0, 200.0)},
    "random_gain": {"db": (0.0, 100.0)},
}
"""The least and the most of each argument of a step; whole numbers where both are."""
