"""Mixed precision: float16 or bfloat16 where it is safe, float32 elsewhere, on a GPU.

Micikevicius et al. 2018 (https://arxiv.org/abs/1710.03740), by paddle.amp at level O1: parameters stay float32, and
for float16 the loss is scaled so that small gradients do not vanish.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import paddle
from paddle import Tensor

from hub.errors import UsageError, one_of

PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


class Precision:
    """How the forward pass, the backward pass and the step of an optimizer are run."""

    def __init__(self, name: str = "fp32") -> None:
        """Raise UsageError for an unknown name, and for mixed precision where there is no GPU."""
        if name not in PRECISIONS:
            raise one_of("precision", name, PRECISIONS)
        self.name = name
        if name != "fp32" and paddle.get_device() == "cpu":
            raise UsageError(
                f"precision={name!r}: expected a GPU, found the CPU, where paddle has no mixed precision",
                hint="leave precision out, or pass device='gpu'",
            )
        self.scaler = paddle.amp.GradScaler() if name == "fp16" else None

    def forward(self) -> AbstractContextManager[None]:
        """Give the context in which the model and its loss are computed."""
        if self.name == "fp32":
            return nullcontext()
        context: AbstractContextManager[None] = paddle.amp.auto_cast(dtype=PRECISIONS[self.name], level="O1")
        return context

    def backward(self, loss: Tensor) -> None:
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def step(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Take the step; float16 leaves it out, and scales less, where a gradient is not finite."""
        if self.scaler:
            self.scaler.step(optimizer)
            self.scaler.update()
        else:
            optimizer.step()

    def state(self) -> dict[str, float]:
        """Give the scaler's numbers, for a checkpoint."""
        if not self.scaler:
            return {}
        return {name: float(value) for name, value in self.scaler.state_dict().items()}

    def restore(self, state: dict[str, float]) -> None:
        if self.scaler and state:
            current = self.scaler.state_dict()
            self.scaler.load_state_dict(
                {
                    name: type(value)(state[name])
                    if isinstance(value, int | float)
                    else paddle.to_tensor([state[name]])
                    for name, value in current.items()
                }
            )
