"""Several processes train as one: two with batch size b take the steps of one with 2b, and measure the whole set."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hub.cli.main import main
from hub.finetune.checkpoint import Checkpoints
from hub.modules import weights
from tests.pictures import folder, tiny_module

ROOT = Path(__file__).parents[1]


def in_one_and_in_two(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], *, each: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what the command prints in one process, and in two with half the batch: `each` a process."""
    assert main([*line, "--batch-size", str(2 * each), "--output", str(tmp_path / "one")]) == 0
    one = json.loads(capsys.readouterr().out)
    return one, in_two([*line, "--batch-size", str(each)], tmp_path)


def in_two(line: list[str], tmp_path: Path) -> dict[str, Any]:
    """Give what the command prints in two processes."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "hub", *line, "--nproc", "2", "--output", str(tmp_path / "two")],
        cwd=ROOT, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    two: dict[str, Any] = json.loads(done.stdout)
    return two


def require_same(one: dict[str, Any], two: dict[str, Any], tmp_path: Path) -> None:
    """Two runs have the same history and the same weights, but for rounding."""
    for here, there in zip(one["history"], two["history"], strict=True):
        for name, value in here.items():
            if name != "seconds":
                assert there[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    first, second = (
        weights.load(tmp_path / name / "best" / "weights.safetensors") for name in ("one", "two")
    )
    for name, array in first.items():
        np.testing.assert_allclose(second[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "options",
    [
        # Steps of at most 6 samples: normalization is then by moving statistics, in one process as in two.
        ["--strategy", "full", "--learning-rate", "0.01"],
        ["--strategy", "full", "--learning-rate", "0.01", "--class-weight", "dot=1,bar=5"],
        ["--strategy", "probe"],
    ],
    ids=["full", "weighted", "probe"],
)
def test_two_processes_are_one_with_twice_the_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    module = tiny_module().save(tmp_path / "tiny")
    data, valid = folder(tmp_path / "data", 9), folder(tmp_path / "valid", 3, seed=5)
    for label in ("dot", "bar"):  # 7 to measure: the shares of two processes are uneven
        next((valid / label).iterdir()).unlink()
    test = folder(tmp_path / "test", 9, seed=6)
    line = [
        "finetune", str(module), str(data), "--valid", str(valid), "--test", str(test), "--epochs", "2", "--no-augment",
        *options, "--device", "cpu", "--json",
    ]  # fmt: skip
    one, two = in_one_and_in_two(line, tmp_path, capsys, each=3)
    require_same(one, two, tmp_path)
    assert two["metrics"]["count"] == 7
    assert two["metrics"]["confusion_matrix"] == one["metrics"]["confusion_matrix"]
    assert two["test_metrics"]["count"] == 27


@pytest.mark.parametrize("each", [1, 3])
def test_few_samples_are_trained_on_and_measured_by_two_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], each: int
) -> None:
    """Nine for steps of one a process, and a set of one sample to be measured."""
    module = tiny_module().save(tmp_path / "tiny")
    data, valid = folder(tmp_path / "data", 3), folder(tmp_path / "valid", 1, seed=5)
    for label in ("dot", "bar"):
        next((valid / label).iterdir()).unlink()
        (valid / label).rmdir()
    line = [
        "finetune", str(module), str(data), "--valid", str(valid), "--epochs", "2", "--no-augment", "--strategy",
        "full", "--learning-rate", "0.01", "--device", "cpu", "--json",
    ]  # fmt: skip
    one, two = in_one_and_in_two(line, tmp_path, capsys, each=each)
    assert two["metrics"]["count"] == 1
    if each > 1:
        require_same(one, two, tmp_path)
    assert main(["evaluate", two["module"], str(valid), "--device", "cpu", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    losses = [row["valid_loss"] for row in two["history"]]
    assert any(alone["loss"] == pytest.approx(loss, rel=1e-4) for loss in losses)
    assert alone["accuracy"] == two["metrics"]["accuracy"]


@pytest.mark.parametrize("options", [[], ["--average", "0.9"]], ids=["plain", "average"])
def test_what_two_processes_measure_is_the_module_that_is_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """Steps of 8 samples a process: each takes the statistics of its own for normalization, and they move."""
    module = tiny_module().save(tmp_path / "tiny")
    data, valid = folder(tmp_path / "data", 16), folder(tmp_path / "valid", 6, seed=5)
    line = [
        "finetune", str(module), str(data), "--valid", str(valid), "--epochs", "3", "--batch-size", "8", "--no-augment",
        "--strategy", "full", "--learning-rate", "0.01", *options, "--device", "cpu", "--json",
    ]  # fmt: skip
    two = in_two(line, tmp_path)
    assert main(["evaluate", two["module"], str(valid), "--device", "cpu", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    best = two["history"][two["best_epoch"] - 1]
    assert best["valid_loss"] == pytest.approx(alone["loss"], rel=1e-4)
    assert best["valid_accuracy"] == alone["accuracy"] == two["metrics"]["accuracy"]


def test_two_processes_learn_and_measure_long_texts_as_one_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.test_text_module import documents, encoder, tagged

    data = [*tagged(9), *documents(4)]
    lines = ["\n".join(map("\t".join, zip(words, tags, strict=True))) for words, tags in data]
    table = tmp_path / "train.conll"
    table.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    line = [
        "finetune", str(encoder().save(tmp_path / "tiny")), str(table), "--task", "sequence_labeling", "--valid",
        str(table), "--epochs", "2", "--strategy", "full", "--learning-rate", "0.01", "--device", "cpu", "--json",
    ]  # fmt: skip
    one, two = in_one_and_in_two(line, tmp_path, capsys, each=3)
    require_same(one, two, tmp_path)
    assert two["metrics"] == one["metrics"]
    assert two["metrics"]["words"] == sum(len(words) for words, _ in data)


def test_two_processes_answer_two_questions_as_one_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = tiny_module().save(tmp_path / "tiny")
    files = sorted(folder(tmp_path / "shape", 9).rglob("*.png"))
    rows = [f"{path},{'left' if number % 3 else 'right'}" for number, path in enumerate(files)]
    (tmp_path / "side.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    line = [
        "finetune", str(module), f"shape={tmp_path / 'shape'}", f"side={tmp_path / 'side.csv'}", "--epochs", "2",
        "--no-augment", "--strategy", "full", "--learning-rate", "0.01", "--device", "cpu", "--json",
    ]  # fmt: skip
    one, two = in_one_and_in_two(line, tmp_path, capsys, each=3)
    assert {"shape_accuracy", "side_accuracy"} <= set(one["metrics"])
    for here, there in zip(one["history"], two["history"], strict=True):
        assert there["train_loss"] == pytest.approx(here["train_loss"], rel=1e-4)
    assert main(["evaluate", one["module"], f"side={tmp_path / 'side.csv'}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["side_accuracy"] > 0
    assert main(["finetune", str(module), str(tmp_path / "shape"), str(tmp_path / "side.csv")]) == 2
    assert "QUESTION=DATA" in capsys.readouterr().err


def test_a_process_that_fails_ends_the_run_and_its_log_is_named(tmp_path: Path) -> None:
    module = tiny_module().save(tmp_path / "tiny")
    earlier = tmp_path / "run" / "logs" / "workerlog.0"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("of an earlier run\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "hub", "finetune", str(module), str(tmp_path / "nowhere"), "--nproc",
         "2", "--output", str(tmp_path / "run")],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        f"error: one of 2 processes failed with status 1\nhint: what each of them said is in {tmp_path}"
        in done.stderr
    )
    logs = "".join(
        path.read_text(encoding="utf-8") for path in (tmp_path / "run" / "logs").glob("workerlog.*")
    )
    assert "no such file or folder" in logs
    assert "no such file or folder" in done.stderr
    assert "of an earlier run" in logs
    assert "of an earlier run" not in done.stderr


JOINING = """
import os, select, sys
from paddle import distributed as paddles
from hub.finetune.distributed import group

met, gone_on = sys.argv[1:]
first = os.environ["PADDLE_TRAINER_ID"] == "0"
other = os.open(gone_on, os.O_RDWR)
connect = paddles.init_parallel_env

def connected():
    connect()
    os.close(os.open(met, os.O_RDONLY if first else os.O_WRONLY))  # opens when the other one is connected too
    assert not first or not select.select([other], [], [], 0.5)[0], "it went on alone"

paddles.init_parallel_env = connected
group()
os.write(other, b"!")
"""


def test_no_process_goes_on_before_all_are_connected(tmp_path: Path) -> None:
    """One that failed then left another one that was still connecting with an error of gloo's."""
    pipes = [tmp_path / "met", tmp_path / "gone on"]
    for pipe in pipes:
        os.mkfifo(pipe)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        places = [f"127.0.0.1:{free.getsockname()[1] + rank}" for rank in (0, 1)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", JOINING, *map(str, pipes)],
            cwd=ROOT, stderr=subprocess.PIPE, text=True, env={
                **os.environ, "PADDLE_TRAINER_ID": str(rank), "PADDLE_TRAINERS_NUM": "2",
                "PADDLE_TRAINER_ENDPOINTS": ",".join(places), "PADDLE_CURRENT_ENDPOINT": places[rank],
                "PADDLE_DISTRI_BACKEND": "gloo",
            },
        )
        for rank in (0, 1)
    ]  # fmt: skip
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nnodes", "2"], "--nnodes needs --master"),
        (["--nnodes", "2", "--master", "10.0.0.1:6170"], "--nnodes needs --output"),
        (["--nproc", "2", "--resume"], "--resume: expected the folder of a run as --output, found none"),
        (["--nproc", "2", "--output", ""], "--output: expected a path, found an empty text"),
        (["--nproc", "2", "--output", "."], ".: expected a folder for a run, found one of the data in"),
        (
            ["--nproc", "2", "--valid", "none", "--test", "..", "--output", ".."],
            "expected a folder for a run, found one of the data in",
        ),
    ],
)
def test_several_machines_need_to_know_of_each_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", "tiny", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    assert main(["finetune", "tiny", "data", "--nproc", "2", "--output", str(tmp_path / "run")]) == 1
    assert f"error: {tmp_path / 'run'}: Not a directory" in capsys.readouterr().err


def test_the_place_of_a_run_may_be_beside_the_tables_of_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train.csv", "run"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    assert main(["finetune", "tiny", str(tmp_path), "--nproc", "2", "--output", str(tmp_path / "run")]) == 1
    assert f"error: {tmp_path / 'run'}: Not a directory" in capsys.readouterr().err


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run" / "logs" / "launch.log").mkdir(parents=True)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["finetune", "tiny", "data", "--nproc", "2", "--output", str(tmp_path / "run")]) == 1
    assert f"error: {tmp_path / 'run'}: Is a directory" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


def started(tmp_path: Path) -> subprocess.Popen[str]:
    """Start a training in two processes that would go on for very long, and come back when an epoch is done."""
    module, data = tiny_module().save(tmp_path / "tiny"), folder(tmp_path / "data", 3)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "hub", "finetune", str(module), str(data), "--epochs", "100000",
         "--batch-size", "2", "--nproc", "2", "--device", "cpu", "--output", str(tmp_path / "run")],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("epoch"):
            return process
    raise AssertionError("".join(lines))


def working_for(process: subprocess.Popen[str], run: Path) -> list[int]:
    """Give a descriptor of each other process of a run: it can be read from when that process has ended."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            if str(run).encode() in words and int(place.name) != process.pid:
                found.append(os.pidfd_open(int(place.name)))
        except OSError:
            continue  # it has ended meanwhile
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_to_the_command_keeps_the_run_and_leaves_no_process_behind(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    process = started(tmp_path)
    others = working_for(process, tmp_path / "run")
    assert len(others) == 3, "paddle's launcher and two that train"
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == status, said
    for other in others:
        assert select.select([other], [], [], 120)[0], "it goes on as an orphan"
        os.close(other)
    log = (tmp_path / "run" / "logs" / "workerlog.0").read_text(encoding="utf-8")
    told = signal.SIGTERM if number == signal.SIGKILL else number
    for text in [log] if number == signal.SIGKILL else [log, said]:
        assert f"stopped by {told.name} after step" in text
        assert f"--output {tmp_path / 'run'} --resume" in text
    newest = Checkpoints(tmp_path / "run" / "checkpoints").newest()
    assert newest is not None
    assert f"after step {newest.step};" in log


STOPPED = """
import os, signal, sys
from hub.finetune.callbacks import Callback
from tests.pictures import samples, tiny_module

class Stop(Callback):
    def on_step_end(self, trainer, step):
        if trainer.step == int(sys.argv[2]) and trainer.group.rank == 1:
            signal.raise_signal(signal.SIGINT)

try:
    tiny_module().finetune(samples(int(sys.argv[3])), epochs=3, batch_size=int(sys.argv[4]), strategy="full",
                           dropout=0.4, average=0.5, seed=3, resume=True, output_dir=sys.argv[1], callbacks=[Stop()])
except KeyboardInterrupt:
    pass
"""


@pytest.mark.parametrize(("count", "size"), [(7, 3), (21, 12)], ids=["small", "with-moving-statistics"])
def test_a_signal_to_one_process_stops_all_and_they_go_on_as_if_nothing_had_happened(
    tmp_path: Path, count: int, size: int
) -> None:
    """Each has its own random generators: with uneven shares, dropout draws other numbers in each of them."""
    script = tmp_path / "train.py"
    script.write_text(STOPPED, encoding="utf-8")

    def train(folder: str, stop_at: int) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend",
             "gloo", "--log_dir", str(tmp_path / folder / "logs"), str(script), str(tmp_path / folder), str(stop_at),
             str(count), str(size)],
            cwd=ROOT, capture_output=True, text=True, timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        log = (tmp_path / folder / "logs" / "workerlog.0").read_text(encoding="utf-8")
        assert done.returncode == 0, log
        return log

    train("whole", -1)
    assert "stopped by SIGINT after step 4" in train("broken", 4)
    assert "going on after step 4 (epoch 2 of 3)" in train("broken", -1)
    curves = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("whole", "broken")]
    for row in (*curves[0], *curves[1]):
        del row["seconds"]
    assert curves[0] == curves[1]
    whole, broken = (
        weights.load(tmp_path / name / "best" / "weights.safetensors") for name in ("whole", "broken")
    )
    for name, array in whole.items():
        np.testing.assert_array_equal(broken[name], array, err_msg=name)
