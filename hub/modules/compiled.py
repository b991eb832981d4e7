"""A layer compiled for computing many features or answers: on a CPU by paddle's inference engine with oneDNN.

In float32, equal but for rounding, and several times faster than paddle's eager mode: `python benchmarks/frozen.py`
trains with both. Compiling costs a second or more. In bfloat16, where that is asked for, again twice as fast, with
values that are off by some percent of the largest.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import inference, nn
from paddle.static import InputSpec

from hub.modules.building import building
from hub.modules.forks import beside_threads, computing
from hub.modules.network import infer, predicting

TOLERANCE = {"fp32": 1e-4, "bf16": 0.15}
"""Of the largest value: what the compiled layer may differ from the layer by. bfloat16 keeps 8 bits of a number, which
adds up to 0.5 to 7 % over the networks that were looked at; what is wrong is off by more than either."""

Batch = np.ndarray | tuple[np.ndarray, ...]
Run = Callable[[Any], Any]
Form = Sequence[tuple[tuple[int | None, ...], str]]
"""Of each array the sizes of its axes, None for those that vary, and its type: a tuple for a tuple of arrays."""


@dataclass(frozen=True)
class Forward:
    """Puts batches through a layer: those of one form through what was compiled for it. Safe to use from many threads.

    Where nothing could be compiled, there is no form, and all go through the layer itself.
    """

    plain: Run
    compiled: Run | None = None
    form: Form = ()
    varies: bool = False
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, batch: Batch) -> bool:
        """Say whether this is the fastest way for a batch: another one could be compiled for those of its form."""
        return self.compiled is None or _form(batch, self.varies) == self.form

    def __call__(self, batch: Batch) -> Any:
        """Give what the layer makes of a batch."""
        if self.compiled is None or not self.takes(batch):
            return self.plain(batch)
        with computing(), self._one_at_a_time:  # the engine holds inputs and outputs of one run
            return self.compiled(batch)


def forward(
    layer: nn.Layer,
    example: Batch,
    *,
    say: Callable[[str], None],
    any_size: bool = False,
    precision: str = "fp32",
) -> Forward:
    """Give the fastest way to put batches through the layer as it predicts.

    `example` is a first batch, an array or a tuple of them: the compiled layer must give for it what the layer itself
    gives. The number of samples may differ from one batch to the next, and of whole numbers, which stand for pieces of
    texts, the last axis; with `any_size` the sides of pictures as well, where the layer can be traced without knowing
    them (it is then tried with a corner of the example, in two sizes). Other batches are put through the layer itself.
    `precision` is one of devices.PRECISIONS, "bf16" for CPUs alone; what goes in and comes out is float32 all the
    same. Where compiling fails, or changes the values, all batches are put through the layer, and `say` is told why.
    """
    plain = partial(infer, layer)
    if beside_threads():
        say("not compiled, which takes longer: this process was forked from one that had other threads")
        return Forward(plain)
    first = tuple(each[:2] for each in example) if isinstance(example, tuple) else example[:2]
    problem = ""
    for varies, by_source in product((True, False) if any_size else (False,), (False, True)):
        trials = [_corner(first), _larger(_corner(first))] if varies else [first, _shorter(first)]
        form = _form(example, varies)
        try:
            ways = _on_gpu if paddle.get_device() != "cpu" else partial(_on_cpu, precision=precision)
            with building(), failed_traces_forgotten():
                for compiled in ways(layer, form, by_source):
                    problem = _problem(layer, compiled, trials, TOLERANCE[precision])
                    if not problem:
                        return Forward(plain, compiled, form, varies)
        except Exception as error:  # the tracer raises whatever what it cannot follow made it raise
            problem = _last_line(error)
    say(f"not compiled, which takes longer: {problem}")
    return Forward(plain)


def _problem(layer: nn.Layer, compiled: Run, trials: Sequence[Batch], tolerance: float) -> str:
    """Give why the compiled layer cannot take the layer's place; "" where it can."""
    for batch in trials:
        try:
            with _quiet():  # the first run prints
                found = compiled(batch)
        except Exception as error:  # the engine raises its own
            return _last_line(error)
        difference = _difference(infer(layer, batch), found)
        if not difference <= tolerance:  # NaN is not
            return f"compiled, it would differ by {difference:.1e}"
    return ""


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:200]


def _form(batch: Batch, any_size: bool = False) -> Form:
    """Give for each array the sizes of its axes, None for those that vary, and its type."""
    form = []
    for array in batch if isinstance(batch, tuple) else (batch,):
        sizes: list[int | None] = list(array.shape)
        sizes[0] = None
        if array.dtype.kind == "i":
            sizes[-1] = None
        if any_size and array.ndim == 4:
            sizes[2:] = [None, None]
        form.append((tuple(sizes), str(array.dtype)))
    return tuple(form) if isinstance(batch, tuple) else form


def _corner(batch: Batch) -> Batch:
    """Give the batch with a corner of its pictures, where they are large: trying takes longer than compiling."""
    if isinstance(batch, tuple):
        return tuple(np.asarray(_corner(each)) for each in batch)
    return batch[:, :, :128, :128] if batch.ndim == 4 else batch


def _shorter(batch: Batch) -> Batch:
    """Give the batch with texts that lack their last piece: to see whether the compiled layer takes any length."""
    if isinstance(batch, tuple):
        return tuple(np.asarray(_shorter(each)) for each in batch)
    return batch[..., :-1] if batch.dtype.kind == "i" and batch.ndim > 1 and batch.shape[-1] > 1 else batch


def _larger(batch: Batch) -> Batch:
    """Give the batch with larger pictures, of another shape: to see whether the compiled layer takes any."""
    if isinstance(batch, tuple):
        return tuple(np.asarray(_larger(each)) for each in batch)
    return np.pad(batch, ((0, 0), (0, 0), (0, 32), (0, 64)), mode="edge") if batch.ndim == 4 else batch


@paddle.jit.not_to_static
def _as_it_is(layer: nn.Layer, x: Any) -> Any:
    return layer(x)


class _Call(nn.Layer):
    """Another layer, to be traced in its place: tracing leaves its mark on what it is given, also when it fails."""

    def __init__(self, inner: nn.Layer, *, by_source: bool) -> None:
        super().__init__()
        self.inner, self.by_source = inner, by_source

    def forward(self, x: Any) -> Any:
        outputs = self.inner(x) if self.by_source else _as_it_is(self.inner, x)
        if isinstance(
            outputs, tuple
        ):  # what is handed through would have the name of the input, which is refused
            outputs = tuple(paddle.assign(each) for each in outputs)
        return outputs


def _traced(layer: nn.Layer, form: Form, *, by_source: bool) -> nn.Layer:
    """Give the layer to be traced for batches of this form when it is first used, and not before.

    By running it once, which takes half the time; or by its source, which follows also what depends on sizes that are
    not known. By its bytecode, which is paddle 3.3.1's own choice, this fails, at times with a segmentation fault.
    """
    specs = tuple(InputSpec(list(sizes), dtype, f"x{n}") for n, (sizes, dtype) in enumerate(form))
    spec = specs if isinstance(form, tuple) else specs[0]
    call = _Call(layer, by_source=by_source)
    traced: nn.Layer = paddle.jit.to_static(call, input_spec=[spec], full_graph=True)
    return traced


@contextmanager
def failed_traces_forgotten() -> Iterator[None]:
    """Have paddle forget what it noted of a trace that failed.

    paddle 3.3.1 does so for traces that succeed alone. It finds its notes by the address of the program, which a later
    one may get, and then hands out values of the one that is gone: the process ends.
    """
    try:
        from paddle.jit.dy2static import parameter_recorder as notes
    except ImportError:  # paddle 3.1
        from paddle.jit.pir_dy2static import parameter_recorder as notes

    books = (
        notes._global_parameter_recorder.params_dict,
        notes._global_parameter_recorder.tensor2value,
        notes._global_inplace_map.params_dict,
    )
    before = [set(book) for book in books]
    try:
        yield
    finally:  # also where the failure was caught on its way; of a trace that succeeded nothing is left
        for book, known in zip(books, before, strict=True):
            for program in set(book) - known:
                del book[program]


def _on_gpu(layer: nn.Layer, form: Form, by_source: bool) -> Iterator[Run]:
    traced = _traced(layer, form, by_source=by_source)
    yield lambda batch: infer(traced, batch)


def _on_cpu(layer: nn.Layer, form: Form, by_source: bool, precision: str = "fp32") -> Iterator[Run]:
    """Give the ways to compile the layer, the fastest first: the next is tried where one fails."""
    with tempfile.TemporaryDirectory(prefix="hub-compiled-") as folder:
        path = str(Path(folder, "layer"))
        traced = _traced(layer, form, by_source=by_source)
        with predicting(traced), _quiet():
            # Pruning fails where an input is not looked at.
            paddle.jit.save(traced, path, skip_prune_program=True)
        # With paddle 3.3.1 a convolution fused with a leaky activation ends the process.
        program = Path(f"{path}.json").read_text(encoding="utf-8")
        faulty = ["conv_activation_onednn_fuse_pass"] if "leaky_relu" in program else []
        # oneDNN has no form of interpolating a map, and raises where one is placed there.
        placed: list[list[str]] = [] if "bilinear_interp" in program else [[]]
        for left_out in (*placed, ["onednn_placement_pass"]):
            with _quiet():
                predictor = _predictor(path, form, left_out=[*faulty, *left_out], precision=precision)
            yield partial(_predicted, predictor)


def _predictor(path: str, form: Form, *, left_out: Sequence[str], precision: str) -> inference.Predictor:
    config = inference.Config(f"{path}.json", f"{path}.pdiparams")
    config.disable_gpu()
    config.disable_glog_info()
    config.enable_mkldnn()
    if any(None in sizes[1:] for sizes, _ in form):
        config.set_mkldnn_cache_capacity(0)  # else it keeps megabytes for every length
    config.set_cpu_math_library_num_threads(_threads())
    for name in left_out:
        config.delete_pass(name)
    if precision == "bf16":
        config.enable_mkldnn_bfloat16()
    return inference.create_predictor(config)


def _predicted(predictor: inference.Predictor, batch: Batch) -> Any:
    there = set(predictor.get_input_names())  # the compiler drops what the layer does not look at
    for number, array in enumerate(batch if isinstance(batch, tuple) else (batch,)):
        if f"x{number}" in there:
            handle = predictor.get_input_handle(f"x{number}")
            handle.reshape(array.shape)
            handle.copy_from_cpu(np.ascontiguousarray(array))
    predictor.run()
    outputs = tuple(predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names())
    return outputs if len(outputs) > 1 else outputs[0]


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
