"""Audio classification: a sound gives one label, or several; with a timeline, labels for each stretch of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from hub.errors import SpecError, UsageError
from hub.modules.preprocessor import Preprocessor
from hub.modules.sound_preprocessor import SoundPreprocessor
from hub.tasks import answer_card
from hub.tasks.base import Examples, Run
from hub.tasks.classification import TOP_K, Classification
from hub.transforms import audio, spectrogram

WINDOW = 1.0
"""Seconds of a stretch of the timeline for a network that takes sounds of any length."""
AT_ONCE = 32
MOST_STRETCHES = 100_000
SHOWN = {"rate": 16_000, "window": 512, "hop": 160, "mels": 64, "low": 50.0, "high": 8000.0}


class AudioClassification(Classification):
    """One label of a clip, or with `multi_label` any number of tags."""

    name = "audio_classification"
    inputs = "sounds"

    @staticmethod
    def examples(preprocessor: Preprocessor) -> Examples:
        return Examples(_of_sounds(preprocessor))

    def answers(
        self,
        sources: Sequence[Any],
        items: Sequence[Any],
        *,
        run: Run,
        preprocessor: Preprocessor,
        top_k: int = TOP_K,
        timeline: bool = False,
        step: float | None = None,
    ) -> list[dict[str, Any]]:
        """Give what `decode` makes of each sound; with `timeline` also what it makes of each stretch of it.

        "timeline" is then [{"start", "end", "label", "score"}, …] in seconds, or for several labels [{"start", "end",
        "labels", "scores"}, …]. A stretch is as long as the sounds that the module was made for, a new one begins every
        `step` seconds, by default half a stretch. Raises UsageError for options that cannot be meant.
        """
        if not isinstance(timeline, bool):
            raise UsageError(f"timeline: expected true or false, found {timeline!r}")
        if step is not None:
            if not isinstance(step, int | float) or isinstance(step, bool) or not 0 < step < math.inf:
                raise UsageError(f"step: expected seconds above 0, found {step!r}")
            if not timeline:
                raise UsageError("step: belongs to timeline=True, found timeline=False")
        results = super().answers(sources, items, run=run, preprocessor=preprocessor, top_k=top_k)
        if timeline:
            for source, result in zip(sources, results, strict=True):
                result["timeline"] = self._timeline(source, step, run, _of_sounds(preprocessor))
        return results

    def _timeline(
        self, source: Any, step: float | None, run: Run, preprocessor: SoundPreprocessor
    ) -> list[dict[str, Any]]:
        samples, rate = preprocessor.whole(source), preprocessor.rate
        length = round((preprocessor.seconds or WINDOW) * rate)
        stride = max(1, round((length / rate / 2 if step is None else step) * rate))
        # Until one reaches the end; with a step longer than a stretch the next would begin behind it.
        count = min(1 + max(0, -(-(len(samples) - length) // stride)), -(-len(samples) // stride))
        if count > MOST_STRETCHES:
            raise UsageError(
                f"step: would make {count:,} stretches of {len(samples) / rate:,.0f} s; at most {MOST_STRETCHES:,}"
            )
        found: list[dict[str, Any]] = []
        for first in range(0, count, AT_ONCE):
            starts = range(first * stride, min(count, first + AT_ONCE) * stride, stride)
            stretches = [samples[start : start + length] for start in starts]
            if preprocessor.seconds is None:  # else its own steps make each as long, as they do a whole sound
                stretches = [np.pad(each, (0, length - len(each))) for each in stretches]
            items = [preprocessor.prepared(each) for each in stretches]
            found += self.decode(run(preprocessor.batch(items)), top_k=1)
        for number, answer in enumerate(found):
            answer.pop("top", None)
            start, end = number * stride, min(len(samples), number * stride + length)
            found[number] = {"start": round(start / rate, 3), "end": round(end / rate, 3), **answer}
        return found

    def draw(self, picture: Image.Image, result: Mapping[str, Any]) -> Image.Image:
        """Give the spectrogram over the timeline, where there is one, and over the best labels as bars."""
        if result.get("timeline"):
            picture = _with_timeline(picture.convert("RGB"), result["timeline"])
        return answer_card.draw(picture, answer_card.best_rows(result))

    @staticmethod
    def show(source: Any) -> Image.Image:
        """Give a sound as a person looks at it: its spectrogram up to 8 kHz."""
        mel = spectrogram.log_mel(audio.read(source, rate=16_000), **SHOWN)  # type: ignore[arg-type]
        return spectrogram.picture(mel)


def _of_sounds(preprocessor: Preprocessor) -> SoundPreprocessor:
    if not isinstance(preprocessor, SoundPreprocessor):
        raise SpecError(
            "preprocess: audio classification needs steps for sounds, found steps for pictures",
            hint="the last step has to be log_mel",
        )
    return preprocessor


def _with_timeline(picture: Image.Image, timeline: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Give the spectrogram over a strip that says, from left to right, what is heard and how surely.

    Stretches overlap: each has the part of the strip around its middle. The surer, the darker; a label stands in the
    middle of each run of stretches that have it, where there is room for it.
    """
    font, height = ImageFont.load_default(14), 24
    whole = Image.new("RGB", (picture.width, picture.height + height), "white")
    whole.paste(picture, (0, 0))
    pen, scale = ImageDraw.Draw(whole), picture.width / (timeline[-1]["end"] or 1.0)  # less than 1 ms is 0.0
    middles = [(each["start"] + each["end"]) / 2 * scale for each in timeline]
    edges = [0.0, *((left + right) / 2 for left, right in pairwise(middles)), float(picture.width)]
    said = [_said(each) for each in timeline]
    for (_, score), left, right in zip(said, edges[:-1], edges[1:], strict=True):
        shade = tuple(round(255 - (255 - full) * score) for full in ImageColor.getrgb(answer_card.COLOUR))
        pen.rectangle((left, picture.height, right, whole.height), fill=shade)
    for label, run in groupby(range(len(said)), key=lambda number: said[number][0]):
        first, *others = run
        left, right = edges[first], edges[(others or [first])[-1] + 1]
        if font.getlength(label) <= right - left:
            place = ((left + right) / 2, picture.height + height // 2)
            pen.text(place, label, "black", font, anchor="mm")
    return whole


def _said(stretch: Mapping[str, Any]) -> tuple[str, float]:
    """Give what a stretch is said to be, and how surely."""
    if "label" in stretch:
        return stretch["label"], stretch["score"]
    labels = stretch["labels"]
    return ", ".join(labels), max((stretch["scores"][label] for label in labels), default=0.0)
