"""What is trained and what stays bit for bit as it is: by groups of layers, by name, and by epoch.

Frozen means three things: no gradient, no weight decay, and no moving statistics of a normalization layer, which
`train()` would otherwise go on changing.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paddle import Tensor, nn

from hub.errors import UsageError, did_you_mean
from hub.finetune.callbacks import Callback
from hub.modules.network import NORMS, Network

if TYPE_CHECKING:
    from hub.finetune.trainer import Trainer

# Batch statistics of fewer samples than this are worse than the ones that the pretrained network brings.
SMALLEST_BATCH_FOR_STATISTICS = 8

Freeze = str | int | Sequence[str] | None


@dataclass(frozen=True)
class Frozen:
    """Names of the parameters that are not trained, and how many groups from the input on are frozen whole."""

    names: frozenset[str] = frozenset()
    groups: int = 0


def choose(network: Network, freeze: Freeze) -> Frozen:
    """Give what `freeze` means for this network.

    None freezes nothing, a number that many groups from the input on, "backbone" all but the head; any other text
    (or several) is a pattern of parameter names such as "backbone.stages.0.*". Raises UsageError, with the nearest
    names, for what matches nothing and for what leaves nothing to train.
    """
    groups = _members(network)
    everything = [name for _, names in groups for name in names]
    if freeze is None:
        return Frozen()
    if isinstance(freeze, bool | float):
        raise UsageError(
            f"freeze: expected a number of groups, 'backbone' or a pattern of names, found {freeze!r}"
        )
    if isinstance(freeze, int):
        if not 0 <= freeze < len(groups):
            order = ", ".join(name for name, _ in groups)
            raise UsageError(
                f"freeze: expected 0 to {len(groups) - 1} groups, found {freeze}",
                hint=f"from the input on they are {order}; the last one is always trained",
            )
        names = {name for _, members in groups[:freeze] for name in members}
    elif freeze == "backbone":
        names = {name for _, members in groups[:-1] for name in members}
    else:
        names = set()
        for pattern in [freeze] if isinstance(freeze, str) else freeze:
            names |= _matching(pattern, everything, [name for name, _ in groups])
    if names == set(everything):
        raise UsageError(
            f"freeze={freeze!r} leaves nothing to train: it matches all {len(everything)} parameters",
            hint="freeze='backbone' trains the head alone"
            if groups[-1][1]
            else "this task has no head to train: freeze a number of groups, such as freeze=1",
        )
    whole = 0
    while whole < len(groups) - 1 and set(groups[whole][1]) <= names:
        whole += 1
    return Frozen(frozenset(names), whole)


def _matching(pattern: str, names: Sequence[str], groups: Sequence[str]) -> set[str]:
    found = {
        name
        for name in names
        if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, pattern + ".*")
    }
    if not found:
        prefixes = {
            ".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)
        }
        near = did_you_mean(pattern, [*prefixes, "backbone"])
        raise UsageError(
            f"freeze={pattern!r} matches no parameter",
            hint=near or f"names look like {names[0]!r}; groups are counted: {', '.join(groups)}",
        )
    return found


def _members(network: Network) -> list[tuple[str, list[str]]]:
    """Give the groups with the names of their parameters."""
    names = {id(parameter): name for name, parameter in learnt(network)}
    return [
        (group, [names[id(each)] for layer in layers for each in layer.parameters() if id(each) in names])
        for group, layers in network.layer_groups()
    ]


def learnt(network: nn.Layer) -> list[tuple[str, Tensor]]:
    """Give the parameters that a gradient can change, by name: paddle counts moving statistics among the others."""
    moving = {
        id(tensor)
        for layer in network.sublayers(include_self=True)
        if isinstance(layer, NORMS)
        for tensor in (layer._mean, layer._variance)
    }
    return [(name, each) for name, each in network.named_parameters() if id(each) not in moving]


def statistics(model: nn.Layer) -> list[Tensor]:
    """Give what a step may change without a gradient: moving statistics, and the buffers that are saved.

    Other buffers may have another size in each process. Layers that predict count too: one process may have put into
    that mode, for want of memory, what trains in another.
    """
    by_gradient = {id(parameter) for _, parameter in learnt(model)}
    return [tensor for tensor in model.state_dict().values() if id(tensor) not in by_gradient]


def apply(network: Network, frozen: Frozen) -> None:
    """Mark the parameters of the network as trained or not."""
    for name, parameter in learnt(network):
        parameter.trainable = name not in frozen.names


@contextmanager
def unmarked_after(network: Network) -> Iterator[None]:
    """Let parameters be marked in the block as training needs it; however it ends, they are as they were before.

    Who trains the network next would else go on with what is frozen, with rates of groups, or with a step's gradients.
    """
    before = [(each, each.trainable, each.optimize_attr["learning_rate"]) for each in network.parameters()]
    try:
        yield
    finally:
        for parameter, trainable, rate in before:
            parameter.trainable = trainable
            parameter.optimize_attr["learning_rate"] = rate
            parameter.grad = None


def opened(network: Network, frozen: Frozen, groups: int) -> Frozen:
    """Give the same with all but the last `groups` groups frozen as well: a step of gradual unfreezing."""
    members = _members(network)
    closed = {name for _, names in members[: len(members) - groups] for name in names}
    return Frozen(frozen.names | closed, max(frozen.groups, len(members) - groups))


def train_mode(model: nn.Layer, batch_size: int) -> None:
    """Put the model into training, but what is frozen predicts, and so does normalization where the batch is small.

    A layer whose parameters are all frozen gives what it gives when it predicts: nothing in it is left out at random.
    """
    model.train()
    trained = {id(parameter): bool(parameter.trainable) for _, parameter in learnt(model)}
    for layer in model.sublayers(include_self=True):
        own = [trained[id(parameter)] for parameter in layer.parameters() if id(parameter) in trained]
        if own and not any(own):
            layer.eval()  # with all that is in it, such as a dropout
        if isinstance(layer, NORMS):
            scale = layer.weight
            if batch_size < SMALLEST_BATCH_FOR_STATISTICS or (scale is not None and not scale.trainable):
                layer.eval()


def count(network: nn.Layer) -> tuple[int, int]:
    """Give how many numbers are trained, and how many there are."""
    sizes = [(int(parameter.size), bool(parameter.trainable)) for _, parameter in learnt(network)]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


class Unfreeze(Callback):
    """Opens the network for training from the head backwards, as the epochs go.

    gradual: one group after the other, all of them by the middle of the run (Howard & Ruder 2018,
    https://arxiv.org/abs/1801.06146). Otherwise the head alone for the first third, then everything.
    """

    def __init__(self, network: Network, frozen: Frozen, *, gradual: bool) -> None:
        self.network, self.frozen, self.gradual = network, frozen, gradual

    def open_groups(self, epoch: int, epochs: int) -> int:
        """Give how many groups, counted from the head, are trained in an epoch."""
        members = _members(self.network)
        empty = 0 if members[-1][1] else 1  # the head of a network that ends in a picture
        total = len(members) - empty
        if self.gradual:
            return empty + min(total, 1 + (epoch - 1) * total // max(1, epochs // 2))
        return empty + (1 if epoch <= -(-epochs // 3) and epochs > 1 else total)

    def on_epoch_begin(self, trainer: Trainer) -> None:
        groups = self.open_groups(trainer.epoch, trainer.epochs)
        apply(self.network, opened(self.network, self.frozen, groups))

    def on_train_end(self, trainer: Trainer) -> None:
        apply(self.network, self.frozen)
