"""Spoken words from espeak-ng: the source that `speech_cnn` is pretrained on, and targets that it never heard.

espeak-ng (Debian package espeak-ng, 1.51 here) is a program of its own, called as one; nothing of it is kept.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from hub.errors import MissingDependencyError
from hub.transforms import audio

RATE = 16_000
SPOKEN_RATE = 22_050
SECONDS = 1.0

# Words of a hundred-odd concepts in languages whose sounds differ; never a number, and no German or Spanish.
SOURCE = {
    "en-us": """window garden yellow mountain river basket children thunder paper silver pocket winter music
        kitchen doctor purple castle finger bridge market summer honey turtle rocket blanket pepper island
        shadow candle feather bottle forest village engine hammer ladder mirror needle orange pillow
        student teacher tomato uncle valley wagon zebra apple breakfast chicken dragon elephant follow happy""",
    "fr-fr": "maison jardin fromage soleil chapeau bonjour rouge oiseau fleur pomme chemin lumière bateau papillon",
    "it": "casa finestra giardino formaggio strada ragazza montagna libro acqua cavallo farfalla gatto pioggia",
    "pl": "dom okno jabłko książka zima lato drzewo szkoła chleb kwiat rzeka miasto pies zeszyt",
    "fi": "talo ikkuna puutarha järvi metsä kirja koira kissa omena lumi kesä talvi poika tyttö",
    "tr": "ev pencere bahçe kitap kedi köpek elma deniz güneş yıldız çiçek kapı sokak ekmek",
    "sw": "nyumba dirisha kitabu paka mbwa tunda bahari jua nyota maua mlango barabara mkate chakula",
    "hi": "घर खिड़की किताब बिल्ली कुत्ता सेब समुद्र सूरज तारा फूल दरवाज़ा सड़क रोटी पानी",
    "ru": "дом окно книга кошка собака яблоко море солнце звезда цветок дверь улица хлеб вода",
}
TARGETS = {
    "german_digits": ("de", "null eins zwei drei vier fünf sechs sieben acht neun"),
    "spanish_digits": ("es", "cero uno dos tres cuatro cinco seis siete ocho nueve"),
}

_NAMES = """adam Alex Alicia Andrea Andy Annie antonio aunty belinda benjamin boris caleb david Denis Diogo ed edward
    edward2 Gene Gene2 gustave Henrique Hugo iven iven2 iven3 iven4 Jacky john kaukovalta Lee linda marcelo
    Marco Mario max Michael michel miguel Mike Nguyen pablo paul pedro quincy RicishayMax RicishayMax2 rob robert
    robosoft2 robosoft4 robosoft6 steph steph2 steph3 Tweaky zac anika AnxiousAndy f1 f2 f3 f4 f5 grandma grandpa
    klatt klatt2 klatt3 klatt4 m1 m2 m3 m4 m5 m6 m7 m8 norbert sandro shelby travis victor"""
VOICES = _NAMES.split()
"""Of espeak-ng's variants those that are voices of people, and a few robots."""


def _family(voice: str) -> str:
    """Give the name that variants of one voice share: steph2 is much like steph, but m2 is not like m1."""
    return voice if voice[1:].isdigit() else voice.rstrip("0123456789").lower()


_FAMILIES = sorted(set(map(_family, VOICES)))
TARGET_VOICES = [voice for voice in VOICES if _family(voice) in _FAMILIES[2::3]]
"""A third of the families, held out for the targets."""
SOURCE_VOICES = [voice for voice in VOICES if voice not in TARGET_VOICES]


@dataclass(frozen=True)
class Clips:
    """Spoken words: int16 samples [N, RATE × SECONDS], and of each clip the number of its word and its voice."""

    samples: NDArray[np.int16]
    targets: NDArray[np.int64]
    words: tuple[str, ...]
    voices: tuple[str, ...]


def source(each: int, *, seed: int) -> Clips:
    """Give `each` clips of every source word by source voices."""
    words = [(language, word) for language, text in SOURCE.items() for word in text.split()]
    return _spoken(words, SOURCE_VOICES, each, seed=seed)


def target(name: str, each: int, *, seed: int) -> Clips:
    """Give `each` clips of every word of a target by held-out voices, each voice once for each word."""
    language, text = TARGETS[name]
    return _spoken([(language, word) for word in text.split()], TARGET_VOICES, each, seed=seed)


def _spoken(words: Sequence[tuple[str, str]], voices: Sequence[str], each: int, *, seed: int) -> Clips:
    rng = np.random.default_rng(seed)
    jobs = []
    for number in range(len(words)):
        turns = -(-each // len(voices))
        chosen = np.concatenate([rng.permutation(len(voices)) for _ in range(turns)])[:each]
        for voice in chosen.tolist():
            jobs.append((number, voices[voice], *manner(rng)))

    def clip(job: tuple[int, str, int, int]) -> NDArray[np.int16]:
        number, voice, speed, pitch = job
        language, word = words[number]
        return speak(word, language, voice=voice, speed=speed, pitch=pitch)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each call waits for a process
        samples = list(pool.map(clip, jobs))
    return Clips(
        samples=np.stack(samples),
        targets=np.array([number for number, *_ in jobs], np.int64),
        words=tuple(f"{language} {word}" for language, word in words),
        voices=tuple(voice for _, voice, *_ in jobs),
    )


def manner(rng: np.random.Generator) -> tuple[int, int]:
    """Give a speed and a pitch for `speak`."""
    return int(rng.integers(120, 211)), int(rng.integers(25, 76))


def speak(word: str, language: str, *, voice: str, speed: int, pitch: int) -> NDArray[np.int16]:
    """Give one spoken word, int16 of SECONDS at RATE. `speed` is in words a minute, `pitch` from 0 to 99."""
    command = ["espeak-ng", "-v", f"{language}+{voice}", "-s", str(speed), "-p", str(pitch), "--stdout", word]
    try:
        output = subprocess.run(command, check=True, capture_output=True).stdout
    except FileNotFoundError:
        raise MissingDependencyError("espeak-ng is not installed", hint="apt-get install espeak-ng") from None
    samples = np.frombuffer(output[44:], "<i2").astype(np.float32) / 32768  # its header counts no samples
    samples = audio.trim_silence(soxr.resample(samples, SPOKEN_RATE, RATE, "HQ"), RATE, db=45)
    return np.rint(audio.clip(audio.level(samples, RATE), RATE, seconds=SECONDS) * 32767).astype(np.int16)


def digest(clips: Clips) -> str:
    """Give the sha256 of all samples: the same for the same espeak-ng, seed and number."""
    return hashlib.sha256(clips.samples.tobytes()).hexdigest()
