"""Make the sounds that ship for the tutorial: `python recipes/speech/samples.py hub/datasets/spoken_digits`.

The ten Spanish digits by ten of the voices that `speech_cnn` never heard: five to learn from, the other five for
testing. Opus at 16 kHz, 2 to 3 kB each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile
import speak

from hub.transforms import audio

LANGUAGE, WORDS = speak.TARGETS["spanish_digits"]  # plain ASCII, as names of files in a wheel should be
VOICES = {
    "train": ("m2", "f2", "Lee", "victor", "steph"),
    "test": ("m8", "f5", "anika", "paul", "grandpa"),
}
SEED = 0


def make(folder: Path) -> None:
    """Write folder/train/<word>/<voice>.opus and folder/test/<word>/<voice>.opus."""
    rng = np.random.default_rng(SEED)
    for part, voices in VOICES.items():
        if heard := set(voices) - set(speak.TARGET_VOICES):
            raise SystemExit(f"{', '.join(heard)}: speech_cnn was pretrained on this voice")
        for word in WORDS.split():
            for voice in voices:
                speed, pitch = speak.manner(rng)
                spoken = speak.speak(word, LANGUAGE, voice=voice, speed=speed, pitch=pitch)
                path = folder / part / word / f"{voice.lower()}.opus"
                path.parent.mkdir(parents=True, exist_ok=True)
                samples = audio.trim_silence(spoken.astype(np.float32) / 32767, speak.RATE, db=45)
                soundfile.write(path, samples, speak.RATE, format="OGG", subtype="OPUS")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
