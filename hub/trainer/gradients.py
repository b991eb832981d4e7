"""The gradients of steps that have not changed the weights yet, where the hooks of a script accumulate them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import paddle
from paddle import nn

ROWS = ".rows"


def state_of(layer: nn.Layer) -> dict[str, np.ndarray]:
    """Give the gradients by the names of their parameters: whole ones, and for one that is zero an empty array.

    None and zero are not the same: where there is none, an optimizer leaves a parameter and its moments alone.
    Of a sparse one, of an embedding, there are some rows alone, and under NAME.rows which ones these are.
    """
    found = {}
    for name, parameter in layer.named_parameters():
        gradient = parameter.grad
        if gradient is None:
            continue
        array = gradient.numpy()
        if gradient.is_selected_rows():
            found[name], found[name + ROWS] = array, np.array(gradient.rows(), np.int64)
        else:
            found[name] = array if array.any() else array.reshape(-1)[:0]
    return found


def give(layer: nn.Layer, state: Mapping[str, np.ndarray]) -> None:
    """Put back what `state_of` gave; other parameters have no gradient then, nor have those that are not trained."""
    for name, parameter in layer.named_parameters():
        parameter.clear_gradient(False)
        if name not in state or parameter.stop_gradient:
            continue
        # To paddle a gradient that was cleared stays so, whatever is put there, until a backward reaches it.
        if name + ROWS in state:
            rows = nn.functional.embedding(paddle.to_tensor(state[name + ROWS]), parameter, sparse=True)
            (rows * paddle.to_tensor(state[name])).sum().backward()
        else:
            (parameter * 0).sum().backward()
            if state[name].size:
                parameter.grad.set_value(state[name])


@contextmanager
def kept_if_it_fails(layer: nn.Layer, *, are_zero: bool) -> Iterator[None]:
    """See to it that a block that raises leaves the gradients as they were; where they `are_zero`, without copies."""
    before = {} if are_zero else state_of(layer)
    try:
        yield
    except BaseException:
        if are_zero:
            layer.clear_gradients()
        else:
            give(layer, before)
        raise
