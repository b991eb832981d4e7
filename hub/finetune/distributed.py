"""Data-parallel training: every process goes through its share of a step, and all take the same step.

Started by `paddle.distributed.launch` (which `hub finetune --nproc N` calls). A step of N processes with batch size b
is the step of one process with batch size N·b: the losses are means over the whole step and the gradients are added
over all processes, whatever the sizes of the shares. The exception are batch statistics, which each process takes of
its own share; after each step all of them have the mean of the moving statistics. With b = 1, and samples that cannot
be dealt out evenly, some steps have a sample or more above N: none leaves a process without.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle import distributed as dist

from hub.errors import UsageError


class Group:
    """The processes of one run, seen from one of them; a run of one process is a group of one."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    @property
    def part(self) -> tuple[int, int]:
        return self.rank, self.size

    def sum(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Give the sum of each value over all processes, float64."""
        array = np.asarray(values, np.float64)
        if self.size == 1:
            return array
        tensor = paddle.to_tensor(np.atleast_1d(array))
        dist.all_reduce(tensor)
        return tensor.numpy().reshape(array.shape)

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Add up the gradients of all processes, in one message for each dtype."""
        by_dtype: dict[Any, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is None:  # this process had no sample that reaches it; others may have had
                parameter.grad = paddle.zeros_like(parameter)
            by_dtype.setdefault(parameter.grad.dtype, []).append(parameter)
        for members in by_dtype.values():
            message = paddle.concat([parameter.grad.flatten() for parameter in members])
            dist.all_reduce(message)
            start = 0
            for parameter in members:
                end = start + parameter.grad.size
                parameter.grad.set_value(message[start:end].reshape(parameter.shape))
                start = end

    def same_start(self, model: nn.Layer) -> None:
        """Give every process the parameters and buffers of the first."""
        self.same_as_first(model.state_dict().values())

    def same_as_first(self, tensors: Iterable[Tensor]) -> None:
        """Give every process what the first has in these."""
        if self.size == 1:
            return
        for tensor in tensors:
            dist.broadcast(tensor, src=0)

    @paddle.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Give every process the mean of each tensor over all of them, in one message.

        What is equal everywhere stays so to the last bit: a sum of equal float32 is exact in float64.
        """
        if self.size == 1 or not tensors:
            return
        message = paddle.concat([tensor.flatten().astype("float64") for tensor in tensors])
        dist.all_reduce(message)
        means = paddle.split(message / self.size, [tensor.size for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.set_value(mean.reshape(tensor.shape).astype(tensor.dtype))

    def sum_counts(self, counter: Any) -> None:
        """Add up over all processes every attribute of `counter` that is a number or an array: a meter's counts.

        Lists become those of all processes, one behind the other.
        """
        if self.size == 1:
            return
        for name, value in vars(counter).items():
            if isinstance(value, np.ndarray):
                setattr(counter, name, self.sum(value).astype(value.dtype))
            elif isinstance(value, int | float) and not isinstance(value, bool):
                setattr(counter, name, type(value)(self.sum([value])[0]))
            elif isinstance(value, list):
                setattr(counter, name, [each for part in self.gather(value) for each in part])

    def any(self, flag: bool) -> bool:
        """Say whether it is so for any of the processes."""
        return flag if self.size == 1 else bool(self.sum([float(flag)])[0])

    def gather(self, value: Any) -> list[Any]:
        """Give what each process has, in their order."""
        if self.size == 1:
            return [value]
        found: list[Any] = []
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            dist.barrier()


def group() -> Group:
    """Give the group that this process was launched in, connected; a group of one where nobody launched it."""
    size = int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
    if size == 1:
        return Group()
    if not dist.is_initialized():
        dist.init_parallel_env()
        # One that is connected may fail at once, by a path that does not exist, and be gone before another one of them
        # is connected: that one would wait for it for five seconds and end with gloo's TIMEOUT in place of the error.
        dist.barrier()
    return Group(dist.get_rank(), dist.get_world_size())


def require_shares(samples: int, ranks: int) -> None:
    """Raise UsageError unless every process can have a sample of every step."""
    if samples < ranks:
        raise UsageError(f"expected at least a sample for each of {ranks} processes, found {samples}")
