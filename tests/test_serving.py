"""Modules in a process that does more: several threads, forks, workers, another state of paddle."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import hub
from hub.errors import UsageError
from hub.finetune.callbacks import Callback
from hub.modules import compiled, weights
from tests.pictures import samples, tiny_module

ROOT = Path(__file__).parents[1]
PICTURES = [array for array, _ in samples(3)]
TOGETHER = """
import os, sys, threading
import numpy as np
import hub
from hub.modules import compiled
from tests.pictures import tiny_module

before = [os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)]
layers = [tiny_module(seed).network.backbone for seed in range(3)]
example = np.random.default_rng(0).random((4, 1, 12, 12), np.float32)
start, found, problems = threading.Barrier(3), [], []

def work(layer):
    start.wait()
    found.append(compiled.forward(layer, example, say=problems.append).compiled is not None)

threads = [threading.Thread(target=work, args=[layer]) for layer in layers]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert found == [True] * 3, problems
assert before == [os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)]
print("both are there")
"""
FORK = """
import os, threading
import numpy as np
import hub
from hub.modules import kept
from tests.pictures import samples, tiny_module

kept.MUCH = 1
module = tiny_module()
pictures = [array for array, _ in samples(30)]
expected = [answer["label"] for answer in module.predict(pictures)]
assert module._answers_by._forward is not None
over = threading.Event()

def work():
    while not over.is_set():
        module.predict(pictures)

threads = [threading.Thread(target=work) for _ in range(3)]
[thread.start() for thread in threads]
children = []
for _ in range(8):
    child = os.fork()
    if not child:
        same = [answer["label"] for answer in module.predict(pictures)] == expected
        os._exit(0 if same and module._answers_by._forward.compiled is None else 3)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children], flush=True)
over.set()
[thread.join() for thread in threads]
"""
FORK_THEN_THREADS = """
import os, threading
from tests.pictures import samples, tiny_module

module = tiny_module()
pictures = [array for array, _ in samples(3)]
expected = module.predict(pictures)
child = os.fork()
if not child:
    same = []
    for _ in range(4):
        thread = threading.Thread(target=lambda: same.append(module.predict(pictures) == expected))
        thread.start()
        thread.join()
    same.append(module.predict(pictures) == expected)
    os._exit(0 if same == [True] * 5 else 3)
print(os.waitpid(child, 0)[1])
"""
FORK_WHILE_A_THREAD_COMPUTES = """
import os, threading
from paddle import nn
from tests.pictures import samples, tiny_module

class Slow(nn.Layer):
    def forward(self, x):
        begun.set()
        asked.wait()
        sum(range(5_000_000))
        over.append(1)
        return plain(x)

module, begun, asked, over = tiny_module(), threading.Event(), threading.Event(), []
pictures = [array for array, _ in samples(3)]
plain, module.network.head.forward = module.network.head.forward, Slow().forward
os.register_at_fork(before=asked.set)  # the last one registered is called first
thread = threading.Thread(target=module.predict, args=[pictures])
thread.start()
begun.wait()
child = os.fork()
if not child:
    os._exit(0 if over else 3)
thread.join()
print(os.waitpid(child, 0)[1])
"""
FORK_IN_A_TRACE = """
import os, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np, paddle
from paddle import nn
from hub.modules import compiled, forks
from tests.pictures import samples, tiny_module

forks.PATIENCE = 0.1  # the trace waits for the fork

class Slow(nn.Layer):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
    def forward(self, x):
        if not paddle.in_dynamic_mode():
            tracing.set()
            forked.wait()
        return self.inner(x)

module, tracing, forked = tiny_module(), threading.Event(), threading.Event()
pictures = [array for array, _ in samples(3)]
expected = module.predict(pictures)
example = np.random.default_rng(0).random((4, 1, 12, 12), np.float32)
layer = Slow(tiny_module().network.backbone)
other = threading.Thread(target=compiled.forward, args=[layer, example], kwargs={"say": print})
other.start()
tracing.wait()
child = os.fork()
if not child:
    try:
        with ThreadPoolExecutor(1) as thread:
            same = thread.submit(module.predict, pictures).result(60) == expected
        os._exit(0 if same else 3)
    finally:
        os._exit(4)
status = os.waitpid(child, 0)[1]
forked.set()
other.join()
print(status)
"""

FORK_WHILE_A_THREAD_ENDS = """
import _thread, os, threading, time
from hub.modules import forks
from tests.pictures import samples, tiny_module

module, ends = tiny_module(), threading.Event()
pictures = [array for array, _ in samples(3)]
thread = threading.Thread(target=module.predict, args=[pictures])
thread.start()
number = thread.native_id
thread.join()
noted = number in [each for _, each in forks._ended]

# A thread of other code, which lives on, is over for Python at the end of each call.
called = threading.Event()
def call():
    module.predict(pictures)
    called.set()
_thread.start_new_thread(lambda: (call(), time.sleep(60)), ())
called.wait()

# One at its end takes a moment: here one that lives stands for it.
slow = threading.Thread(target=lambda: (ends.wait(), time.sleep(0.3)))
slow.start()
forks._ended.append((time.monotonic(), slow.native_id))
ends.set()
child = os.fork()
if not child:
    os._exit(0)
print(noted, os.path.exists(f"/proc/self/task/{slow.native_id}"), os.waitpid(child, 0)[1])
"""


def said_by(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_networks_compiled_at_once_are_all_compiled_and_output_is_where_it_was() -> None:
    assert said_by(TOGETHER).splitlines()[-1] == "both are there"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_children_of_a_process_whose_threads_predict_answer_as_it_does() -> None:
    assert said_by(FORK).splitlines()[-1] == str([0] * 8)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_in_a_child_threads_answer_and_then_the_one_that_forked() -> None:
    assert said_by(FORK_THEN_THREADS).splitlines()[-1] == "0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_waits_until_other_threads_have_computed() -> None:
    assert said_by(FORK_WHILE_A_THREAD_COMPUTES).splitlines()[-1] == "0"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not tell its threads")
def test_a_fork_waits_until_threads_that_computed_have_ended() -> None:
    assert said_by(FORK_WHILE_A_THREAD_ENDS).splitlines()[-1] == "True False 0"


class Pictures(paddle.io.Dataset):  # type: ignore[misc]
    def __len__(self) -> int:
        return 12

    def __getitem__(self, n: int) -> tuple[np.ndarray, int]:
        return np.full((1, 12, 12), n / 12, np.float32), n % 2


class Broken(Callback):
    def on_step_end(self, trainer: Any, step: Any) -> None:
        if trainer.step == 1:
            raise ZeroDivisionError


class Meeting(nn.Layer):
    """A layer beside whose first trace another thread begins, which looks for paddle's mode then."""

    def __init__(self, inner: nn.Layer) -> None:
        super().__init__()
        self.inner = inner
        self.modes: list[bool] = []

    def forward(self, x: Any) -> Any:
        if not (paddle.in_dynamic_mode() or self.modes):
            self.later = ThreadPoolExecutor(1)
            self.later.submit(lambda: self.modes.append(paddle.in_dynamic_mode())).result(60)
        return self.inner(x)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_threads_of_a_child_answer_where_another_one_compiled_when_it_was_made() -> None:
    assert said_by(FORK_IN_A_TRACE).splitlines()[-1] == "0"


def test_a_thread_that_begins_while_another_one_compiles_does_what_others_do(tmp_path: Path) -> None:
    module = tiny_module()
    expected = module.predict(PICTURES)
    layer = Meeting(module.network.backbone)
    example = np.random.default_rng(0).random((4, 1, 12, 12), np.float32)
    assert compiled.forward(layer, example, say=print).compiled is not None
    assert layer.modes == [False]  # paddle's own way: it would stay so
    with layer.later as thread:
        answers = module.predict_each(
            PICTURES
        )  # asked for by another thread, as servers do that send them on
        assert thread.submit(list, answers).result(60) == expected
        assert thread.submit(module.predict, PICTURES).result(60) == expected
        thread.submit(tiny_module().finetune, samples(12), output_dir=tmp_path, progress=False).result(60)


def test_what_a_thread_makes_has_values_while_another_one_makes_layers_without(tmp_path: Path) -> None:
    def train() -> None:
        module = tiny_module()
        rate = paddle.optimizer.Adam(0.01, parameters=module.parameters())
        hub.Trainer(module, rate, checkpoint_dir=tmp_path / "trainer").train(
            Pictures(), epochs=1, batch_size=6
        )
        options: dict[str, Any] = {"epochs": 2, "strategy": "full", "average": 0.9, "progress": False}
        with pytest.raises(ZeroDivisionError):
            tiny_module().finetune(samples(12), output_dir=tmp_path / "run", callbacks=[Broken()], **options)
        tiny_module().finetune(samples(12), output_dir=tmp_path / "run", resume=True, **options)

    with ThreadPoolExecutor(1) as thread, paddle.LazyGuard():  # as loading a module does
        thread.submit(train).result(120)


def test_predicting_goes_on_while_another_thread_compiles_for_training(tmp_path: Path) -> None:
    module = tiny_module()
    expected = module.predict(PICTURES)
    training = tiny_module()
    layer = next(each for each in training.network.sublayers() if isinstance(each, nn.Conv2D))
    plain, asked = layer.forward, []

    def forward(x: Any) -> Any:
        if not paddle.in_dynamic_mode() and not asked:
            asked.append(thread.submit(module.predict, PICTURES))
            wait(asked, timeout=1)  # that it could fail while this is traced
        return plain(x)

    layer.forward = paddle.jit.not_to_static(forward)
    with ThreadPoolExecutor(1) as thread:
        training.finetune(
            samples(12), valid=False, epochs=1, strategy="full", to_static=True, cache=False, output_dir=tmp_path,
            progress=False,
        )  # fmt: skip
        assert asked[0].result(60) == expected


def test_a_module_is_a_layer_of_a_program_that_compiles() -> None:
    module = tiny_module()

    @paddle.jit.to_static(full_graph=True)
    def scores(x: Any) -> Any:
        return nn.functional.softmax(module.network(x))

    expected = nn.functional.softmax(module.network(paddle.ones([2, 1, 12, 12])))
    assert np.allclose(scores(paddle.ones([2, 1, 12, 12])).numpy(), expected.numpy(), atol=1e-6)


def test_modules_are_loaded_while_another_one_is_trained(tmp_path: Path) -> None:
    folder = tiny_module().save(tmp_path / "tiny")

    def trained(name: str) -> dict[str, np.ndarray]:
        module = tiny_module()
        module.finetune(
            samples(12), valid=False, epochs=4, batch_size=6, strategy="full", output_dir=tmp_path / name,
            progress=False, cache=False,
        )  # fmt: skip
        return weights.state_of(module.network)

    expected = trained("alone")
    over, begun = threading.Event(), threading.Event()

    def load() -> int:
        count = 0
        while not over.is_set():
            hub.Module(folder)
            count += 1
            begun.set()
        return count

    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(load)
        assert begun.wait(60)
        try:
            found = trained("beside")
        finally:
            over.set()
        assert loaded.result() > 1
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        assert array.shape == found[name].shape, name
        assert np.isfinite(found[name]).all(), name


def test_a_module_can_be_sent_to_a_worker(tmp_path: Path) -> None:
    module = hub.Module(tiny_module().save(tmp_path / "tiny"))
    other = ForkingPickler.loads(ForkingPickler.dumps(module))
    assert other.predict(PICTURES) == module.predict(PICTURES)


def test_a_module_is_in_float32_whatever_the_default_of_the_process(tmp_path: Path) -> None:
    folder = tiny_module().save(tmp_path / "tiny")
    expected = hub.Module(folder).predict(PICTURES)
    before = paddle.get_default_dtype()
    paddle.set_default_dtype("float64")
    try:
        module = hub.Module(folder)
        assert module.predict(PICTURES) == expected
        module.finetune(samples(4), valid=False, epochs=1, output_dir=tmp_path / "run", progress=False)
        assert {array.dtype for array in weights.state_of(module.network).values()} == {np.dtype("float32")}
        assert paddle.get_default_dtype() == "float64"
    finally:
        paddle.set_default_dtype(before)


def test_in_static_mode_loading_says_how_to_leave_it(tmp_path: Path) -> None:
    folder = tiny_module().save(tmp_path / "tiny")
    paddle.enable_static()
    try:
        with pytest.raises(UsageError, match="static mode") as caught:
            hub.Module(folder)
    finally:
        paddle.disable_static()
    assert "disable_static" in caught.value.hint
