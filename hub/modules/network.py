"""A backbone with a task head, and how a batch goes through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
from paddle import nn

from hub.modules.archs import Backbone
from hub.modules.archs.base import Stage
from hub.modules.forks import computing

NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.BatchNorm, nn.SyncBatchNorm)


class Network(nn.Layer):
    """What a module computes: `head(backbone.features(x))`, in training with some of the features left out."""

    def __init__(self, backbone: Backbone, head: nn.Layer, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        return self._answer(self.backbone.features(x))

    def _answer(self, features: Any) -> Any:
        return self.head(self.dropout(features) if self.dropout.p else features)

    def stages(self) -> list[tuple[str, Stage]]:
        """Give how each group is run, as the backbone does, and then the head."""
        return [*self.backbone.stages(), ("head", self._answer)]

    def prefix(self, count: int) -> nn.Layer:
        """Give the first `count` groups as a layer of their own, with the same parameters."""
        return Part(self, 0, count)

    def rest(self, start: int) -> nn.Layer:
        """Give the groups from `start` on as a layer of their own: it takes what `prefix(start)` gives."""
        return Part(self, start, len(self.stages()))

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        """Give the backbone's groups and then the head."""
        return [*self.backbone.layer_groups(), ("head", [self.head])]


class Part(nn.Layer):
    """Some groups of a network that follow one another; their parameters are those of the network."""

    def __init__(self, network: Network, start: int, stop: int) -> None:
        super().__init__()
        for name, layers in network.layer_groups()[start:stop]:
            self.add_sublayer(name, nn.LayerList(layers))
        if stop == len(network.stages()):
            self.add_sublayer("dropout", network.dropout)
        self._run = [stage for _, stage in network.stages()[start:stop]]
        self._check = network.backbone.check if start == 0 else None

    def forward(self, x: Any) -> Any:
        if self._check:
            self._check(x)
        for stage in self._run:
            x = stage(x)
        return x


@contextmanager
def predicting(layer: nn.Layer) -> Iterator[None]:
    """Let the layer predict in the block: no dropout, fixed statistics, no gradients; afterwards it is as it was.

    Each of its parts is: `layer.train()` would put back into training what the caller has frozen.
    """
    modes = [(each, each.training) for each in layer.sublayers(include_self=True)]
    layer.eval()
    try:
        with paddle.no_grad():
            yield
    finally:
        for each, training in modes:
            each.training = training


def infer(layer: nn.Layer, batch: np.ndarray | tuple[np.ndarray, ...]) -> Any:
    """Give what the layer computes for a batch as it will when it predicts: no dropout, fixed statistics.

    A tuple of arrays is handed over as a tuple of tensors; several outputs come back as a tuple of arrays.
    """
    with computing(), predicting(layer):
        given = tuple(map(paddle.to_tensor, batch)) if isinstance(batch, tuple) else paddle.to_tensor(batch)
        outputs = layer(given)
    if isinstance(outputs, tuple | list):
        return tuple(np.asarray(output.numpy()) for output in outputs)
    return np.asarray(outputs.numpy())
