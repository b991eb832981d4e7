"""A backbone with a task head, and how a batch goes through it."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor, nn

from hub.modules.archs import Backbone

NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.BatchNorm, nn.SyncBatchNorm)


class Network(nn.Layer):
    """What a module computes: `head(backbone.features(x))`."""

    def __init__(self, backbone: Backbone, head: nn.Layer) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone.features(x))

    def layer_groups(self) -> list[tuple[str, list[nn.Layer]]]:
        """Give the backbone's groups and then the head."""
        return [*self.backbone.layer_groups(), ("head", [self.head])]


def infer(layer: nn.Layer, batch: np.ndarray) -> np.ndarray:
    """Give what the layer computes for a batch as it will when it predicts: no dropout, fixed statistics."""
    was_training = layer.training
    layer.eval()
    try:
        with paddle.no_grad():
            return np.asarray(layer(paddle.to_tensor(batch)).numpy())
    finally:
        if was_training:
            layer.train()
