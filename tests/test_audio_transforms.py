"""Sounds are read as they are meant, in bounded memory, and their spectrograms are librosa's."""

from __future__ import annotations

import os
import re
import struct
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import InputError, MissingDependencyError, SpecError
from hub.transforms import audio, spectrogram
from tests import sounds

soundfile = pytest.importorskip("soundfile")

SMALL = {"rate": 16_000, "window": 512, "hop": 160, "mels": 40, "low": 50.0, "high": 7600.0}
RNG = np.random.default_rng(0)


# ---- spectrograms ----


TIME = np.arange(20_000) / 20_000
SIGNALS = {
    **{f"{length} of noise after silence": np.append(np.zeros(length // 2), RNG.normal(0, 0.1, length // 2))
       for length in (78, 5_000, 48_124)},
    "a tone": 0.5 * np.sin(2 * np.pi * 440 * TIME),
    "a rising tone": 0.9 * np.sin(2 * np.pi * (100 + 4000 * TIME) * TIME),
    "a loud tone over faint noise": 0.5 * np.sin(2 * np.pi * 440 * TIME) + RNG.normal(0, 1e-5, len(TIME)),
    "a step": np.repeat([0.0, 1.0], 10_000),
}  # fmt: skip


@pytest.mark.parametrize("how", [spectrogram.PANNS, SMALL], ids=["panns", "small"])
@pytest.mark.parametrize("signal", SIGNALS)
def test_log_mel_is_librosas(how: dict[str, float], signal: str) -> None:
    librosa = pytest.importorskip("librosa")
    samples = SIGNALS[signal].astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the window is longer than the sound
        power = librosa.feature.melspectrogram(
            y=samples, sr=how["rate"], n_fft=how["window"], hop_length=how["hop"], n_mels=how["mels"],
            fmin=how["low"], fmax=how["high"], pad_mode="reflect",
        )  # fmt: skip
    expected = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None).T
    found = spectrogram.log_mel(samples, **how)  # type: ignore[arg-type]
    assert found.shape == (1 + len(samples) // how["hop"], how["mels"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_one_sample_has_a_spectrogram() -> None:
    assert spectrogram.log_mel(np.ones(1, np.float32), **SMALL).shape == (1, 40)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"high": 9000.0}, "expected 0 <= low < high <= 8000 Hz, found 50 and 9000"),
        ({"low": 8000.0}, "found 8000 and 7600"),
        ({"mels": 300}, "300 bands are too many for a window of 512"),
    ],
)
def test_bands_that_cannot_be_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spectrogram.log_mel(np.ones(100, np.float32), **{**SMALL, **changes})  # type: ignore[arg-type]


def test_a_picture_shows_pitch_upwards_and_time_to_the_right() -> None:
    time = np.arange(16_000) / 16_000
    rising = np.sin(2 * np.pi * (300 + 2500 * time) * time).astype(np.float32)
    shown = np.asarray(spectrogram.picture(spectrogram.log_mel(rising, **SMALL)).convert("L"), int)  # type: ignore[arg-type]
    brightest = shown.argmax(axis=0)
    assert brightest[100] > brightest[300] > brightest[500], "rows count from the top"


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 40))
@settings(max_examples=40)
def test_masks_cover_no_more_than_their_share(seed: int, frames: int, mels: int) -> None:
    mel = np.random.default_rng(1).normal(size=(frames, mels)).astype(np.float32)
    masked = spectrogram.mask_spectrogram(mel, np.random.default_rng(seed), frames=0.2, bands=0.3)
    changed = masked != mel
    assert masked.shape == mel.shape
    assert changed.all(axis=1).sum() <= round(0.2 * frames) or changed.all(axis=0).any()
    assert changed.sum() <= round(0.2 * frames) * mels + round(0.3 * mels) * frames


# ---- reading ----

TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "how", "tolerance"),
    [
        ("pcm16.wav", {"subtype": "PCM_16"}, 1e-4),
        ("pcm24.wav", {"subtype": "PCM_24"}, 1e-6),
        ("unsigned8.wav", {"subtype": "PCM_U8"}, 0.01),
        ("float.wav", {"subtype": "FLOAT"}, 1e-7),
        ("ulaw.wav", {"subtype": "ULAW"}, 0.03),
        ("a.flac", {}, 1e-4),
        ("a.ogg", {}, 0.1),
        ("a.mp3", {}, 0.2),
        ("a.aiff", {}, 1e-4),
        ("WAV.WAV", {"format": "WAV"}, 1e-4),
    ],
)
def test_formats_are_read(tmp_path: Path, name: str, how: dict[str, str], tolerance: float) -> None:
    path = sounds.write(tmp_path / name, TONE, 8000, **how)
    found = audio.read(path, rate=8000)
    assert found.dtype == np.float32
    middle = slice(2000, 6000)
    if name.endswith("mp3"):  # which is delayed
        assert np.abs(np.fft.rfft(found[middle])).argmax() == 220
        assert abs(len(found) - 8000) < 2500
    else:
        assert len(found) == 8000
        np.testing.assert_allclose(found[middle], TONE[middle], atol=tolerance)


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_file_name_that_is_not_utf8_is_read_and_shown(tmp_path: Path) -> None:
    path = sounds.write(tmp_path / "a.wav", TONE, 8000)
    latin = path.rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    assert len(audio.read(latin, rate=8000)) == len(TONE)
    write_bytes(latin, b"just some text")
    with pytest.raises(InputError, match="14 bytes that cannot be decoded"):
        audio.read(latin, rate=8000)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_any_rate_becomes_the_one_asked_for(tmp_path: Path, rate: int) -> None:
    time = np.arange(rate) / rate
    path = sounds.write(tmp_path / "a.wav", (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), rate)
    found = audio.read(path, rate=16_000)
    assert abs(len(found) - 16_000) <= 1
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(found)) / 16_000)
    np.testing.assert_allclose(found[500:-500], expected[500:-500], atol=2e-3)


def test_blocks_are_resampled_without_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = RNG.normal(0, 0.1, 40_000).astype(np.float32)
    path = sounds.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    whole = audio.read(path, rate=16_000)
    monkeypatch.setattr(audio, "BLOCK", 700)
    np.testing.assert_allclose(audio.read(path, rate=16_000), whole, atol=1e-6)


def test_channels_are_averaged(tmp_path: Path) -> None:
    stereo = np.stack([TONE, -0.5 * TONE], axis=1)
    path = sounds.write(tmp_path / "a.wav", stereo, 8000, subtype="FLOAT")
    for given_ in (path, (stereo, 8000), (stereo.T, 8000)):
        np.testing.assert_allclose(audio.read(given_, rate=8000), 0.25 * TONE, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8", "float64"])
def test_arrays_of_any_type_are_scaled_to_one(dtype: str) -> None:
    array = TONE.astype(np.float64)
    if dtype != "float64":
        limits = np.iinfo(dtype)
        array = (array * 2 ** (limits.bits - 1) + (0 if limits.min else 128)).clip(limits.min, limits.max)
    np.testing.assert_allclose(audio.read((array.astype(dtype), 8000), rate=8000), TONE, atol=0.01)


@pytest.mark.parametrize(
    ("dtype", "subtype"), [("uint8", "PCM_U8"), ("int16", "PCM_16"), ("int32", "PCM_32")]
)
def test_integers_are_as_loud_as_in_a_file(tmp_path: Path, dtype: str, subtype: str) -> None:
    limits = np.iinfo(dtype)
    middle = 0 if limits.min else 128
    array = np.array([limits.min, middle, limits.max, middle + 100] * 100, dtype)
    path = tmp_path / "a.wav"
    sounds.write(
        path, (array.astype(np.float64) - middle) / (middle - int(limits.min)), 8000, subtype=subtype
    )
    np.testing.assert_allclose(audio.read((array, 8000), rate=8000), audio.read(path, rate=8000), atol=1e-7)


def flac_promising(path: Path, frames: int) -> Path:
    """A FLAC file whose header promises that many samples: 36 bits at byte 21.5."""
    sounds.write(path, TONE, 8000)
    data = bytearray(path.read_bytes())
    data[21] = (data[21] & 0xF0) | (frames >> 32)
    data[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
    path.write_bytes(data)
    return path


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def promising(path: Path, size: int) -> Path:
    """A WAV file whose header promises that many bytes of samples."""
    sounds.write(path, TONE, 8000)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000 - 36, 2 * len(TONE) + 2])
def test_a_wav_that_was_written_before_its_length_was_known_is_read(tmp_path: Path, size: int) -> None:
    assert len(audio.read(promising(tmp_path / "a.wav", size), rate=8000)) == len(TONE)


def test_a_flac_that_was_written_before_its_length_was_known_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = flac_promising(tmp_path / "a.flac", 0)
    whole = audio.read(path, rate=8000)
    np.testing.assert_allclose(whole, TONE, atol=1e-4)
    monkeypatch.setattr(audio, "BLOCK", 700)
    np.testing.assert_array_equal(audio.read(path, rate=8000), whole)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "no.wav", "no such file"),
        *(
            (lambda p, name=name: p / name, "no such file")
            for name in ("A" * 300, "nul\0", "A" * 300 + ".m4a")
        ),
        (lambda p: p, "found a folder"),
        (lambda p: write_bytes(p / "a.wav", b""), "found an empty file"),
        (lambda p: write_bytes(p / "a.wav", b"just some text"), "14 bytes that cannot be decoded"),
        (lambda p: write_bytes(p / "a.mp3", bytes(5000)), "cannot be decoded"),
        (lambda p: sounds.write(p / "a.wav", np.zeros(0), 8000), "the sound has no samples"),
        (lambda p: sounds.write(p / "a.wav", np.zeros(800), 8000), "silent: every sample is 0"),
        (lambda p: sounds.write(p / "a.wav", np.stack([TONE, -TONE], 1), 8000), "channels cancel each other"),
        (lambda p: sounds.write(p / "a.wav", np.full(9, np.nan), 8000, subtype="FLOAT"), "no numbers"),
        (lambda p: cut(sounds.write(p / "a.flac", TONE, 8000), 0.5), "damaged|cut short"),
        *(
            (
                lambda p, name=name, how=how: cut(sounds.write(p / name, TONE, 8000, **how), 0.5),
                r"cut short: 0\.\d\d s of (0.99|1\.\d\d) s",
            )
            for name, how in [
                ("a.wav", {}),
                ("u.wav", {"subtype": "ULAW"}),
                ("float.wav", {"subtype": "FLOAT"}),
                ("a.aiff", {}),
                ("a.au", {}),
                ("a.w64", {}),
                ("a.rf64", {}),
            ]
        ),
        (
            lambda p: cut(sounds.write(p / "a.ogg", np.tile(TONE, 5), 8000), 0.8),
            "no samples, or its end is missing",
        ),
        (lambda p: flac_promising(p / "a.flac", 2**36 - 1), "promises 2,386.1 hours; at most 24"),
        (lambda p: flac_promising(p / "a.flac", 8000 * 3600 * 20), "cut short: 1.00 s of 72000.00 s|damaged"),
        (
            lambda p: sounds.write(p / "a.wav", np.ones(9) / 2, 999),
            "sample rate of 1,000 to 768,000 Hz, found 999",
        ),
        *(
            (
                lambda p, given=given, how=how: sounds.write(p / "a.wav", given, 8000, subtype=how),
                message,
            )
            for given, how, message in [
                (TONE * 32768, "FLOAT", "from -1 to 1, found up to 1638"),
                (np.append(TONE, 3e38), "FLOAT", r"found up to 3e\+38"),
                (np.full((9, 2), 3e38), "FLOAT", r"found up to 3e\+38"),
                (np.full((9, 2), 1e300), "DOUBLE", "no numbers"),
                (np.array([[np.inf, -np.inf]] * 9), "FLOAT", "no numbers"),
            ]
        ),
        (  # librosa hands it to soundfile, which looks at the content
            lambda p: sounds.write(p / "a.wav", TONE * 32768, 8000, subtype="FLOAT").rename(p / "a.m4a"),
            "from -1 to 1, found up to 1638",
        ),
        (
            lambda p: write_bytes(p / "a.m4a", b"\0\0\0\x18ftypM4A nothing"),
            "no decoder for .m4a on this machine",
        ),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_what_is_no_sound_is_named(tmp_path: Path, make, message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        audio.read(path, rate=16_000)
    assert caught.value.message.startswith(f"{path}: ")


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "expected a path or .array, rate., found int"),
        ((TONE, 0), "expected a sample rate"),
        ((TONE[:0], 8000), "no samples"),
        ((np.zeros((2, 0), np.float32), 8000), "no samples"),
        ((np.zeros((0, 2), np.int16), 8000), "no samples"),
        ((np.stack([TONE, -TONE]), 8000), "channels cancel each other"),
        ((np.zeros((2, 100)), 8000), "silent: every sample is 0"),
        ((np.array([[0.1, np.inf]] * 2), 8000), "no numbers"),
        ((np.zeros((3, 3, 3)), 8000), r"found \(3, 3, 3\)"),
        ((np.array(["a"]), 8000), "expected integers or floating point"),
        (((TONE * 32767).astype("int64"), 8000), r"of 8 to 32 bits.* found int64\n.*divide by 32768"),
        (((TONE * 32767 + 32768).astype("uint64"), 8000), "of 8 to 32 bits.* found uint64"),
        ((TONE * 32768, 8000), "expected floating-point samples from -1 to 1, found up to 16"),
        ((np.array([0.1, np.inf]), 8000), "no numbers"),
        ((np.array([[3e38, 3e38]], np.float32).T, 8000), r"found up to 3e\+38"),
        ((np.full(9, 1e300), 8000), r"found up to 1e\+300"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_sound_in_memory_is_named(source: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        audio.read(source, rate=16_000)
    assert re.search(message, str(caught.value))


def test_a_file_that_was_made_a_little_too_loud_is_read(tmp_path: Path) -> None:
    path = sounds.write(tmp_path / "loud.wav", TONE * 3, 8000, subtype="FLOAT")
    assert np.abs(audio.read(path, rate=8000)).max() == pytest.approx(np.abs(TONE).max() * 3)


def test_a_header_that_lies_about_its_length_costs_no_memory(tmp_path: Path) -> None:
    path = flac_promising(tmp_path / "a.flac", 8000 * 3600 * 23)
    tracemalloc.start()
    with pytest.raises(InputError):
        audio.read(path, rate=8000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_more_samples_than_fit_in_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sounds.write(tmp_path / "a.wav", TONE, 8000)
    monkeypatch.setattr(audio, "MAX_SAMPLES", 7999)
    with pytest.raises(InputError, match="more than the 7,999 samples") as caught:
        audio.read(path, rate=8000)
    assert "cut it into parts" in caught.value.hint


@pytest.mark.parametrize("missing", ["soundfile", "soxr"])
def test_without_the_audio_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    path = sounds.write(tmp_path / "a.wav", TONE, 8000)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingDependencyError, match=missing) as caught:
        audio.read(path, rate=16_000)
    assert re.fullmatch(r"pip install 'librosa<\S+' 'soundfile<\S+'", caught.value.hint)


# ---- steps ----


def test_a_long_sound_is_cut_to_its_loudest_stretch_and_a_short_one_set_amid_silence() -> None:
    samples = np.full(10_000, 0.01, np.float32)
    samples[6_000:6_500] = 0.5
    found = audio.clip(samples, 1000, seconds=1.0)
    assert len(found) == 1000
    assert (found == 0.5).sum() == 500
    short = audio.clip(np.ones(500, np.float32), 1000, seconds=1.0)
    assert short.tolist() == [0] * 250 + [1] * 500 + [0] * 250
    assert len(audio.clip(np.ones(1, np.float32), 1000, seconds=0.0001)) == 1


@pytest.mark.parametrize("block", [1, 7, 100, 999, 1000, 1001, 1 << 20])
@pytest.mark.parametrize("count", [101, 999, 1000, 1001, 2000, 2345])
@pytest.mark.parametrize("length", [1, 37, 100])
def test_the_loudest_stretch_is_the_one_that_sums_of_all_squares_say(
    block: int, count: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "BLOCK", block)
    samples = np.random.default_rng((count, length)).normal(0, 0.1, count).astype(np.float32)
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    starts = [*range(0, count - length, 10), count - length]
    loudest = max(starts, key=lambda start: energy[start + length] - energy[start])
    found = audio.clip(samples, 1000, seconds=length / 1000)
    assert np.array_equal(found, samples[loudest : loudest + length])


@pytest.mark.parametrize("block", [1, 19, 20, 50, 61, 1 << 20])
def test_silence_is_found_block_by_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "BLOCK", block)
    samples = np.full(1015, 1e-5, np.float32)
    samples[130:500] = 0.5
    assert np.array_equal(audio.trim_silence(samples, 1000), samples[120:500])


@pytest.mark.parametrize("step", ["clip", "trim_silence"])
def test_a_long_recording_takes_little_more_memory_than_its_samples(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "BLOCK", 1 << 16)
    wave = np.random.default_rng(0).normal(0, 0.1, 3_000_000)
    wave[:2_000_000] *= 1e-4
    path = sounds.write(tmp_path / "long.wav", wave, 8000)
    arguments = {"clip": {"seconds": 1.0}}.get(step, {})
    audio.read(sounds.write(tmp_path / "short.wav", wave[-8000:], 8000), rate=8000)  # its libraries
    tracemalloc.start()
    audio.STEPS[step](audio.read(path, rate=8000), 8000, **arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * 4 * len(wave)


@pytest.mark.parametrize("step", audio.STEPS)
def test_a_step_lets_go_of_what_it_cuts_off(step: str) -> None:
    arguments = {"clip": {"seconds": 0.01}}.get(step, {})
    tracemalloc.start()
    sound = np.full(200_000, 1e-5, np.float32)
    sound[50_000:50_400] = 0.5
    found = audio.STEPS[step](sound, 8000, **arguments)
    del sound
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < found.nbytes + 10_000


def test_silence_before_and_after_is_trimmed() -> None:
    samples = np.full(16_000, 1e-5, np.float32)
    samples[4_000:8_000] = 0.5
    assert len(audio.trim_silence(samples, 16_000)) == pytest.approx(4_000, abs=640)
    assert len(audio.trim_silence(samples[:10], 16_000)) == 10


def test_level_brings_the_peak_to_where_it_is_asked_for() -> None:
    assert np.abs(audio.level(TONE, 8000, peak=0.7)).max() == pytest.approx(0.7)
    assert not audio.level(np.zeros(5, np.float32), 8000).any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_a_shift_moves_what_is_there_and_brings_in_silence(seed: int) -> None:
    samples = np.arange(1, 101, dtype=np.float32)
    moved = audio.random_shift(samples, 100, np.random.default_rng(seed), seconds=0.3)
    kept = moved[moved > 0]
    assert len(kept) >= 70
    assert (np.diff(kept) == 1).all()
    again = audio.random_shift(samples, 100, np.random.default_rng(seed), seconds=0.3)
    assert (moved == again).all()


def test_noise_is_as_loud_as_was_asked_for() -> None:
    noisy = audio.random_noise(TONE, 8000, np.random.default_rng(0), low=20, high=20)
    ratio = 10 * np.log10(np.mean(TONE**2) / np.mean((noisy - TONE) ** 2))
    assert ratio == pytest.approx(20, abs=0.3)


def test_gain_stays_within_its_limits() -> None:
    gains = [audio.random_gain(TONE, 8000, np.random.default_rng(n), db=6)[10] / TONE[10] for n in range(200)]
    assert 0.5 <= min(gains) < 0.6
    assert 1.8 < max(gains) <= 2.0
