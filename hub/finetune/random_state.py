"""The state of every random generator that a training draws from, as JSON, and back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
from paddle.base.core import GeneratorState

from hub.errors import TrainingError


def capture() -> dict[str, Any]:
    """Give the states of python's random, numpy's global generator and paddle's (CPU and every GPU) as JSON holds them.

    Raises TrainingError when somebody has put another kind of generator in the place of numpy's global one.
    """
    version, words, gauss = random.getstate()
    theirs: Any = np.random.get_state(legacy=False)
    if theirs["bit_generator"] != "MT19937":
        raise TrainingError(f"numpy's global generator: expected MT19937, found {theirs['bit_generator']}")
    return {
        "python": [version, _packed(words[:-1]), words[-1], gauss],
        "numpy": [
            _packed(theirs["state"]["key"]),
            theirs["state"]["pos"],
            theirs["has_gauss"],
            theirs["gauss"],
        ],
        "paddle": {device: [_plain(state) for state in states] for device, states in _of_paddle().items()},
    }


def restore(state: Mapping[str, Any]) -> None:
    """Put all generators where they were when `state` was captured, in this process or another.

    The GPUs are left as they are where there are more or fewer of them than there were.
    Raises TrainingError, and changes nothing, for anything that `capture` cannot have given.
    """
    try:
        version, words, position, gauss = state["python"]
        ours = (version, (*_unpacked(words), position), gauss)
        random.Random().setstate(ours)
        theirs = ("MT19937", _unpacked(state["numpy"][0]), *state["numpy"][1:])
        np.random.RandomState().set_state(theirs)
        revived = {
            device: [_revived(each) for each in state["paddle"].get(device, ())] for device in _devices()
        }
        if len(revived["cpu"]) != 1:
            raise ValueError(f"expected one generator of the CPU, found {len(revived['cpu'])}")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as problem:
        raise TrainingError(
            f"the state of the random generators cannot be restored: {type(problem).__name__}: {problem}",
            hint="use an older checkpoint, or start the run again",
        ) from problem
    random.setstate(ours)
    np.random.set_state(theirs)
    for device, states in revived.items():
        if len(states) == len(paddle.get_rng_state(device)):
            paddle.set_rng_state(states, device)


@contextmanager
def paddles_kept() -> Iterator[None]:
    """Leave paddle's generators as they are, whatever is drawn in the block or in the function that this decorates."""
    states = _of_paddle()
    try:
        yield
    finally:
        _give_paddle(states)


@contextmanager
def kept_if_it_fails() -> Iterator[None]:
    """See to it that a block that raises has drawn nothing: when it is tried again, it draws the same."""
    pythons, numpys, paddles = random.getstate(), np.random.get_state(legacy=False), _of_paddle()
    try:
        yield
    except BaseException:
        random.setstate(pythons)
        np.random.set_state(numpys)
        _give_paddle(paddles)
        raise


def _of_paddle() -> dict[str, list[GeneratorState]]:
    return {device: paddle.get_rng_state(device) for device in _devices()}


def _give_paddle(states: Mapping[str, list[GeneratorState]]) -> None:
    for device, state in states.items():
        paddle.set_rng_state(state, device)


def _devices() -> list[str]:
    return ["cpu", "gpu"] if paddle.is_compiled_with_cuda() else ["cpu"]


def _packed(words: Sequence[int] | np.ndarray) -> str:
    return np.asarray(words, "<u4").tobytes().hex()


def _unpacked(text: str) -> list[int]:
    words: list[int] = np.frombuffer(bytes.fromhex(text), "<u4").tolist()
    return words


def _plain(state: GeneratorState) -> list[Any]:
    """Give [device, seed, offset, engine]; paddle has the engine's text as a list of bytes."""
    device, seed, offset, engine = state.__getstate__()
    return [device, seed, offset, bytes(engine).decode("ascii")]


def _revived(plain: Sequence[Any]) -> GeneratorState:
    """Give a state again. It has to be a new object: on one that is in use `__setstate__` does nothing, silently."""
    device, seed, offset, engine = plain
    signed = seed - 2**64 if seed >= 2**63 else seed  # it gives the seed without a sign and takes it with one
    state = GeneratorState.__new__(GeneratorState)
    state.__setstate__((device, signed, offset, list(engine.encode("ascii"))))
    if _plain(state) != list(plain):  # paddle takes any text, and draws whatever follows
        raise ValueError(f"no state of an std::mt19937_64: {engine[:40]!r}")
    return state
