"""From what a user has (a path, a picture, an array, a text) to what a network takes, as module.yaml says it.

The way has two halves. `read` reads one input and runs the fixed steps: it costs milliseconds and its result may be
kept. `batch` puts such results together. The last step in module.yaml says which kind of input a module takes.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from PIL import Image

from hub.errors import InputError, SpecError, did_you_mean
from hub.modules.spec import Named
from hub.transforms import image

NO_FILES: Mapping[str, bytes] = MappingProxyType({})


class Preprocessor(Protocol):
    """The steps of one module."""

    @property
    def augments(self) -> bool:
        """Whether `augmented` changes anything."""

    def read(self, source: Any) -> Any:
        """Give what the fixed steps make of one input. Raises InputError."""

    def augmented(self, item: Any, rng: np.random.Generator) -> Any:
        """Give a random variant of what `read` gave."""

    def batch(self, items: Sequence[Any]) -> np.ndarray | tuple[np.ndarray, ...]:
        """Give what the network takes for several results of `read`."""

    def picture(self, source: Any) -> Image.Image:
        """Give an input as a person can look at it, to draw answers on. Raises InputError."""


def build(
    preprocess: Sequence[Named], augment: Sequence[Named] = (), files: Mapping[str, bytes] = NO_FILES
) -> Preprocessor:
    """Give the preprocessor that these steps describe; `files` are those that the steps for texts read, by name.

    The last step says which kind it is. Raises SpecError for steps that make none.
    """
    last = preprocess[-1].name if preprocess else ""
    if last == "tokenize":
        from hub.modules.text_preprocessor import TextPreprocessor

        return TextPreprocessor(preprocess, augment, files)
    if files:
        raise SpecError(
            f"files: no step of preprocess reads {next(iter(files))}, which is for {{tokenize: …}}"
        )
    if last == "log_mel":
        from hub.modules.sound_preprocessor import SoundPreprocessor

        return SoundPreprocessor(preprocess, augment)
    return PicturePreprocessor(preprocess, augment)


class PicturePreprocessor:
    """The steps for pictures: `read` gives uint8 [height, width, channels], `batch` normalizes."""

    def __init__(self, preprocess: Sequence[Named], augment: Sequence[Named] = ()) -> None:
        """Look the steps up by name. Raises SpecError for an unknown step or argument; normalize comes last."""
        *fixed, last = preprocess or [Named("normalize")]
        if last.name != "normalize":
            raise SpecError(f"preprocess: expected the last step to be normalize, found {last.name!r}")
        self._mean = _channels(last, "mean", 0.0)
        self._std = _channels(last, "std", 1.0)
        refuse_unknown(last, {"mean", "std"}, "preprocess")
        self.steps = tuple(step.name for step in fixed)
        """The names of the fixed steps."""
        self._steps = [look_up(step, image.STEPS, image.BOUNDS, "preprocess", {"picture"}) for step in fixed]
        self._random = [
            look_up(step, image.RANDOM_STEPS, image.BOUNDS, "augment", {"picture", "rng"}) for step in augment
        ]
        for step in fixed:
            if step.name == "resize" and len(step.arguments) != 1:
                found = ", ".join(step.arguments) or "none"
                raise SpecError(f"preprocess.resize: expected one of size, short and long, found {found}")
        _require_channels(last, self.steps)

    @property
    def augments(self) -> bool:
        """Whether `augmented` changes anything."""
        return bool(self._random)

    def read(self, source: object) -> np.ndarray:
        """Give the uint8 picture [height, width, channels] after the fixed steps. Raises InputError."""
        picture = image.read(source)  # type: ignore[arg-type]  # it says what it expected
        for step in self._steps:
            picture = step(picture)
        array = np.asarray(picture)
        return array[:, :, None] if array.ndim == 2 else array

    def augmented(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Give a random variant of a picture from `read`, of the same shape."""
        if not self._random:
            return picture
        changed = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
        for step in self._random:
            changed = step(changed, rng)
        array = np.asarray(changed)
        return array[:, :, None] if array.ndim == 2 else array

    def batch(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Give float32 [N, channels, height, width]: pixels scaled to 0..1, less the mean, over the deviation."""
        shapes = {picture.shape for picture in pictures}
        channels = max(len(self._mean), len(self._std), *(shape[2] for shape in shapes))
        if any(shape[2] < channels for shape in shapes):
            raise InputError(
                f"expected pictures of {channels} channels, found grey ones",
                hint="convert them to RGB, or add {rgb: {}} to preprocess in module.yaml",
            )
        if len(shapes) > 1:
            raise InputError(
                f"expected pictures of one size in a batch, found {', '.join(map(str, sorted(shapes)))}",
                hint="add a step with a fixed size, such as {resize: {size: 224}}, to preprocess in module.yaml",
            )
        pixels = np.stack(pictures).astype(np.float32)
        pixels *= (1 / (255 * self._std)).astype(np.float32)
        pixels -= (self._mean / self._std).astype(np.float32)
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))

    def picture(self, source: Any) -> Image.Image:
        """Give the picture as it was read, before the steps. Raises InputError."""
        return image.read(source)


def look_up(
    step: Named,
    table: Mapping[str, Callable[..., Any]],
    bounds: Mapping[str, Mapping[str, tuple[float, float]]],
    where: str,
    given: set[str],
) -> Callable[..., Any]:
    """Give the step of that name with its arguments filled in, but for the `given` ones.

    Raises SpecError for an unknown step, an argument that it does not take, one that it needs and one out of bounds.
    """
    if step.name not in table:
        hint = did_you_mean(step.name, table) or f"there are {', '.join(sorted(table))}"
        raise SpecError(f"{where}: no step is called {step.name!r}", hint=hint)
    function, arguments = table[step.name], dict(step.arguments)
    parameters = inspect.signature(function).parameters
    refuse_unknown(step, set(parameters) - given, where)
    for key, value in arguments.items():
        least, most = bounds[step.name][key]
        whole = isinstance(least, int) and isinstance(most, int)
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not (right and least <= value <= most):
            what = f"a {'whole ' if whole else ''}number from {least:,} to {most:,}"
            raise SpecError(f"{where}.{step.name}.{key}: expected {what}, found {value!r:.60}")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given | set(arguments):
            raise SpecError(f"{where}.{step.name}.{key}: missing")
    return partial(function, **arguments)


def refuse_unknown(step: Named, allowed: set[str], where: str) -> None:
    """Raise SpecError for an argument that the step does not take."""
    for key in step.arguments:
        if key not in allowed:
            hint = did_you_mean(key, allowed) or f"it takes {', '.join(sorted(allowed)) or 'no arguments'}"
            raise SpecError(f"{where}.{step.name}.{key}: {step.name} takes no such argument", hint=hint)


def _require_channels(last: Named, steps: Sequence[str]) -> None:
    """Raise SpecError unless normalize has one number for all channels, or one for each that pictures can have."""
    colour = next((name for name in reversed(steps) if name in ("grayscale", "rgb")), "")
    fitting = [1] if colour == "grayscale" else [1, 3]
    for key in ("mean", "std"):
        value = last.arguments.get(key)
        if isinstance(value, list) and len(value) not in fitting:
            raise SpecError(
                f"preprocess.normalize.{key}: expected {' or '.join(map(str, fitting))} numbers, found {len(value)}",
                hint="pictures are grey behind {grayscale: {}}, and have three channels behind {rgb: {}}",
            )


def _channels(step: Named, key: str, default: float) -> np.ndarray:
    value = step.arguments.get(key, [default])
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(
        isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers
    ):
        raise SpecError(
            f"preprocess.normalize.{key}: expected a number for each channel, found {value!r:.60}"
        )
    if key == "std" and min(numbers) <= 0:
        raise SpecError(f"preprocess.normalize.std: expected numbers above 0, found {value!r:.60}")
    return np.asarray(numbers, np.float64)
