"""A layer compiled for computing many features or answers: on a CPU by paddle's inference engine with oneDNN.

In float32, equal but for rounding, and several times faster than paddle's eager mode: `python benchmarks/frozen.py`
trains with both. Compiling costs a second or more.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import inference, nn
from paddle.static import InputSpec

from hub.modules.network import infer, predicting

TOLERANCE = 1e-4
"""Of the largest value: what the compiled layer may differ from the layer by."""

LEAST_SAMPLES = 64
"""Compiling is not worth its second for fewer."""

Batch = np.ndarray | tuple[np.ndarray, ...]
Forward = Callable[[Any], Any]


def forward(layer: nn.Layer, example: Batch, *, samples: int, say: Callable[[str], None]) -> Forward:
    """Give the fastest way to put batches through the layer as it predicts, for about so many samples.

    `example` is a first batch, an array or a tuple of them: the compiled layer must give for it what the layer itself
    gives. The number of samples may differ from one batch to the next, and of whole numbers, which stand for pieces of
    texts, the last axis. Where compiling fails, or changes the values, the layer itself is used and `say` is told why.
    """
    plain: Forward = lambda batch: infer(layer, batch)  # noqa: E731 - one of two ways, side by side
    if samples < LEAST_SAMPLES:
        return plain
    first = tuple(each[:2] for each in example) if isinstance(example, tuple) else example[:2]
    try:
        with _quiet():  # the first run prints, too
            compiled = _on_gpu(layer, example) if paddle.get_device() != "cpu" else _on_cpu(layer, example)
            found = compiled(first)
        expected = infer(layer, first)
    except Exception as problem:  # the tracer raises whatever what it cannot follow made it raise
        lines = str(problem).strip().splitlines() or [type(problem).__name__]
        say(f"not compiled, which takes longer: {lines[-1][:200]}")
        return plain
    difference = _difference(expected, found)
    if not difference <= TOLERANCE:  # NaN is not
        say(f"not compiled, which takes longer: compiled, it would differ by {difference:.1e}")
        return plain
    traced = _form(example)
    return lambda batch: (compiled if _form(batch) == traced else plain)(batch)


def _form(batch: Batch) -> list[tuple[tuple[int | None, ...], str]]:
    """Give for each array the sizes of its axes, None for those that vary, and its type."""
    form = []
    for array in batch if isinstance(batch, tuple) else (batch,):
        sizes: list[int | None] = list(array.shape)
        sizes[0] = None
        if array.dtype.kind == "i":
            sizes[-1] = None
        form.append((tuple(sizes), str(array.dtype)))
    return form


class _Call(nn.Layer):
    """Another layer, to be traced in its place: tracing leaves its mark on what it is given, also when it fails."""

    def __init__(self, inner: nn.Layer) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        outputs = self.inner(x)
        if isinstance(
            outputs, tuple
        ):  # what is handed through would have the name of the input, which is refused
            outputs = tuple(paddle.assign(each) for each in outputs)
        return outputs


def _traced(layer: nn.Layer, example: Batch) -> nn.Layer:
    """Give the layer to be traced for batches like the example when it is first used, and not before.

    By its source (full_graph): by its bytecode, which is paddle 3.3.1's own choice, this fails, at times with a
    segmentation fault.
    """
    specs = tuple(InputSpec(list(sizes), dtype, f"x{n}") for n, (sizes, dtype) in enumerate(_form(example)))
    spec = specs if isinstance(example, tuple) else specs[0]
    traced: nn.Layer = paddle.jit.to_static(_Call(layer), input_spec=[spec], full_graph=True)
    return traced


def _on_gpu(layer: nn.Layer, example: Batch) -> Forward:
    traced = _traced(layer, example)
    return lambda batch: infer(traced, batch)


def _on_cpu(layer: nn.Layer, example: Batch) -> Forward:
    traced = _traced(layer, example)
    with tempfile.TemporaryDirectory(prefix="hub-compiled-") as folder, predicting(traced):
        path = str(Path(folder, "layer"))
        paddle.jit.save(
            traced, path, skip_prune_program=True
        )  # pruning fails where an input is not looked at
        config = inference.Config(f"{path}.json", f"{path}.pdiparams")
        config.disable_gpu()
        config.disable_glog_info()
        config.enable_mkldnn()
        if any(None in sizes[1:] for sizes, _ in _form(example)):
            config.set_mkldnn_cache_capacity(0)  # else it keeps megabytes for every length
        config.set_cpu_math_library_num_threads(_threads())
        predictor = inference.create_predictor(config)
    given = {name: predictor.get_input_handle(name) for name in predictor.get_input_names()}
    wanted = [predictor.get_output_handle(name) for name in predictor.get_output_names()]

    def run(batch: Batch) -> Any:
        arrays = batch if isinstance(batch, tuple) else (batch,)
        for number, array in enumerate(arrays):
            if handle := given.get(f"x{number}"):  # the compiler drops what the layer does not look at
                handle.reshape(array.shape)
                handle.copy_from_cpu(np.ascontiguousarray(array))
        predictor.run()
        outputs = tuple(each.copy_to_cpu() for each in wanted)
        return outputs if len(outputs) > 1 else outputs[0]

    return run


def _threads() -> int:
    """Give the threads to compute with: what OMP_NUM_THREADS says ("4", or "4,2" by depth), else one a core."""
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if said.isdigit() and int(said):
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _difference(expected: Any, found: Any) -> float:
    """Give the largest difference, relative to the largest value, over one array or a tuple of them."""
    if not isinstance(expected, tuple):
        expected, found = (expected,), (found,)
    if [each.shape for each in expected] != [each.shape for each in found]:
        return float("inf")
    return max(
        (
            float(np.abs(one - other).max(initial=0.0)) / max(float(np.abs(one).max(initial=0.0)), 1e-12)
            for one, other in zip(expected, found, strict=True)
        ),
        key=lambda value: (value != value, value),  # NaN is the worst
        default=0.0,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Send what paddle's C++ part prints while it compiles nowhere: remarks on its own insides, some on stdout."""
    with ExitStack() as stack:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            if stream is not None:
                stream.flush()
            try:
                kept = os.dup(number)
            except OSError:  # started without it
                continue
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
        if os.name == "posix":
            stack.callback(
                ctypes.CDLL(None).fflush, None
            )  # C keeps what it prints, and would print it afterwards
        yield
