"""Making layers and tracing them, which paddle can do for one thread at a time: how they are made is global in it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import paddle
from paddle.base import framework
from paddle.nn.initializer import lazy_init

from hub.errors import UsageError
from hub.modules.forks import computing

_alone = threading.RLock()


class _LazyInThisThread(threading.local, lazy_init.LazyInitHelper):
    """Whether new layers go without values, for each thread: paddle has one answer for all of them.

    While one thread loads a module, the layers and the optimizers that others make would break.
    """


lazy_init._lazy_init_helper = _LazyInThisThread()


@contextmanager
def building() -> Iterator[None]:
    """Have the block to this thread alone, with new layers in float32 whatever the default of the process is.

    Raises UsageError where paddle's static mode is on, in which no layer has values.
    """
    with computing(), _alone:
        leave_static_mode_of_traces()
        before = paddle.get_default_dtype()
        paddle.set_default_dtype("float32")
        try:
            yield
        finally:
            paddle.set_default_dtype(before)


def leave_static_mode_of_traces() -> None:
    """Put this thread into dynamic mode, where it is in static mode only because another one traced when it began.

    paddle keeps the mode for each thread; one that first looks for its mode finds that of the thread which last changed
    its own, which a trace does. Raises UsageError where static mode was asked for.
    """
    if paddle.in_dynamic_mode() or framework.global_var._in_to_static_mode_:  # a trace of this thread's own
        return
    with _alone:  # none of ours traces now
        tracer = framework._dygraph_tracer_
        if tracer is None:
            raise UsageError(
                "paddle is in its static mode, in which no module can be loaded or asked",
                hint="call paddle.disable_static() first",
            )
        framework.global_var._dygraph_tracer_ = tracer


def _renew() -> None:
    """Take a new lock in the child of a fork: a thread that held the old one is not there to let go of it.

    Nor does it end its trace: new threads of the child find the mode of the one that is left.
    """
    global _alone
    _alone = threading.RLock()
    framework._dygraph_tracer_ = framework.global_var._dygraph_tracer_


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
