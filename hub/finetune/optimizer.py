"""The optimizer of a run: AdamW with a rate for each group of layers, and no decay where it does harm."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import nn

from hub.finetune.config import Config

Groups = Sequence[tuple[str, list[nn.Layer]]]


def build(groups: Groups, config: Config, learning_rate: float) -> paddle.optimizer.Optimizer:
    """Give AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101) over the groups' parameters.

    Biases and norms are not decayed; each group back from the head learns `layer_decay` times slower than the one
    after it. The gradient of all of them together is clipped to `clip_norm`. Frozen parameters are left out, unless
    they are to be opened later (strategy "gradual").
    """
    parameters = []
    for distance, (_, layers) in enumerate(reversed(groups)):
        members = [parameter for layer in layers for parameter in layer.parameters() if parameter.trainable]
        for parameter in members:  # one list, not paddle's groups: of those each would be clipped on its own
            parameter.optimize_attr["learning_rate"] = config.layer_decay**distance
        parameters += members
    decayed = {parameter.name for parameter in parameters if len(parameter.shape) > 1}
    clip = None if config.clip_norm is None else paddle.nn.ClipGradByGlobalNorm(config.clip_norm)
    return paddle.optimizer.AdamW(
        learning_rate,
        parameters=parameters,
        weight_decay=config.weight_decay,
        apply_decay_param_fun=decayed.__contains__,
        grad_clip=clip,
    )
