"""The gradients of steps that have not changed the weights yet, where the hooks of a script accumulate them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from paddle import Tensor, nn


def state_of(layer: nn.Layer) -> dict[str, np.ndarray]:
    """Give the gradients by the names of their parameters: whole ones, and for one that is zero an empty array.

    None and zero are not the same: where there is none, an optimizer leaves a parameter and its moments alone.
    Sparse ones, of rows of an embedding, are left out.
    """
    found = {}
    for name, parameter in layer.named_parameters():
        if parameter.grad is not None and parameter.grad.is_dense():
            array = parameter.grad.numpy()
            found[name] = array if array.any() else array.reshape(-1)[:0]
    return found


def give(layer: nn.Layer, state: Mapping[str, np.ndarray]) -> None:
    """Put back what `state_of` gave; other parameters have no gradient then, nor have those that are not trained."""
    for name, parameter in layer.named_parameters():
        parameter.clear_gradient(False)
        if name in state and not parameter.stop_gradient:
            # To paddle a gradient that was cleared stays so, whatever is put there, until a backward reaches it.
            (parameter * 0).sum().backward()
            if state[name].size:
                parameter.grad.set_value(state[name])


@contextmanager
def kept_if_it_fails(layer: nn.Layer, *, are_zero: bool) -> Iterator[None]:
    """See to it that a block that raises leaves the gradients as they were; where they `are_zero`, without copies."""
    before = [] if are_zero else [(each, _copy(each.grad)) for each in layer.parameters()]
    try:
        yield
    except BaseException:
        if are_zero:
            layer.clear_gradients()
        for parameter, gradient in before:
            if gradient is None:
                parameter.clear_gradient(False)
            else:
                parameter.grad = gradient
        raise


def _copy(gradient: Tensor | None) -> Tensor | None:
    return gradient.detach().clone() if gradient is not None and gradient.is_dense() else None
