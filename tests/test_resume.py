"""A run that is killed, stopped, or broken off by an error goes on as if nothing had happened."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hub
from hub.errors import StorageError, TrainingError, UsageError
from hub.finetune import resume
from hub.finetune.callbacks import Callback
from hub.finetune.checkpoint import Checkpoints
from hub.finetune.early_stop import EarlyStop
from hub.modules import weights
from tests.pictures import folder, samples, tiny_module

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def rows_of(command: list[str]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *command],
        cwd=ROOT, capture_output=True, text=True, timeout=900, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_f08_f09_killed_at_64_moments_the_curve_and_the_weights_are_those_of_the_unbroken_run(
    tmp_path: Path,
) -> None:
    """Moments in a step, in an evaluation, and between any two steps of writing a checkpoint."""
    whole, *killed = rows_of(["tests.killed", str(tmp_path), "64"])
    assert len(killed) == 64
    for row in killed:
        for what in ("curve", "weights", "best"):
            assert row[what] == whole[what], f"killed at moment {row['moment']} of {whole['moments']}"


def run(place: Path, **options: Any) -> Any:
    settings = {"epochs": 3, "batch_size": 5, "strategy": "full", "seed": 3, "progress": False}
    return tiny_module().finetune(samples(6), output_dir=place, **{**settings, **options})


def state(module: Any) -> dict[str, np.ndarray]:
    return weights.state_of(module.network)


def equal(one: Any, other: Any) -> bool:
    a, b = state(one), state(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


class Break(Callback):
    """Raises after some steps: a user's own callback that fails."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
        if trainer.step == self.step:
            raise ZeroDivisionError("of the user's own")


@pytest.mark.parametrize("changes", [
    {"strategy": "full"}, {"strategy": "probe"}, {"strategy": "probe_then_full"}, {"strategy": "gradual"},
    {"freeze": 3}, {"freeze": 3, "cache": False, "workers": 2}, {"average": 0.9}, {"mixup": 0.2, "dropout": 0.3},
    {"sampler": "balanced", "accumulate": 2}, {"valid": False}, {"anchor": 0.01, "clip_norm": 0.5},
    {"early_stop": {"patience": 1}}, {"layer_decay": 0.7, "schedule": "one_cycle"},
], ids=str)  # fmt: skip
def test_a_callback_that_raises_leaves_a_checkpoint_from_which_the_run_is_the_same(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    unbroken = run(tmp_path / "whole", **changes)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[Break(4)], **changes)
    resumed = run(tmp_path / "run", resume=True, **changes)
    assert equal(resumed, unbroken)
    untimed = [{k: v for k, v in row.items() if k != "seconds"} for row in unbroken.run.history]
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in resumed.run.history] == untimed
    assert resumed.run.metrics == unbroken.run.metrics


class Halve(Callback):
    """Halves the learning rate after every epoch; the optimizer's own is the schedule's business."""

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        trainer.learning_rate *= np.float32(0.5)

    def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
        trainer.optimizer.set_lr(1.0)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_learning_rate_that_a_callback_changed_is_gone_on_with(tmp_path: Path, schedule: str) -> None:
    settings: dict[str, Any] = {"learning_rate": 0.008, "schedule": schedule, "valid": False}
    unbroken = run(tmp_path / "whole", callbacks=[Halve()], **settings)
    rates = [row["learning_rate"] for row in unbroken.run.history]
    if schedule == "constant":
        assert rates == pytest.approx([0.008, 0.004, 0.002]), "those that the steps were taken with"
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[Halve(), Break(6)], **settings)
    resumed = run(tmp_path / "run", resume=True, callbacks=[Halve()], **settings)
    assert [row["learning_rate"] for row in resumed.run.history] == rates
    assert equal(resumed, unbroken)


class Scale(Callback):
    """Changes the learning rate in hooks that a resumed run comes to a second time."""

    def __init__(self, *hooks: str) -> None:
        for hook in hooks:
            setattr(self, hook, self.halve)

    def halve(self, trainer: Any, *_: Any) -> None:
        trainer.learning_rate *= 0.5


class BreakOnce(Callback):
    def __init__(self, hook: str, step: int) -> None:
        self.step = step
        setattr(self, hook, self.come)

    def come(self, trainer: Any, *_: Any) -> None:
        if trainer.step == self.step:
            raise ZeroDivisionError("of the user's own")


@pytest.mark.parametrize("broken", [("on_step_end", 6), ("on_epoch_begin", 4), ("on_epoch_end", 8)], ids=str)
def test_a_rate_that_is_changed_at_a_beginning_is_changed_once(
    tmp_path: Path, broken: tuple[str, int]
) -> None:
    settings: dict[str, Any] = {"learning_rate": 0.008, "schedule": "constant", "valid": False}
    settings["callbacks"] = [Scale("on_train_begin", "on_epoch_begin")]
    unbroken = run(tmp_path / "whole", **settings)
    rates = [row["learning_rate"] for row in unbroken.run.history]
    assert rates == pytest.approx([0.002, 0.001, 0.0005])
    scale = settings.pop("callbacks")
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[*scale, BreakOnce(*broken)], **settings)
    at_beginning = BreakOnce("on_train_begin", broken[1])
    with pytest.raises(ZeroDivisionError):  # after the rate was scaled
        run(tmp_path / "run", resume=True, callbacks=[*scale, at_beginning], **settings)
    resumed = run(tmp_path / "run", resume=True, callbacks=scale, **settings)
    assert [row["learning_rate"] for row in resumed.run.history] == rates
    assert equal(resumed, unbroken)


def test_the_epoch_at_whose_end_a_callback_failed_is_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", valid=False, callbacks=[BreakOnce("on_epoch_end", 12)])
    resumed = run(tmp_path / "run", valid=False, resume=True)
    assert [row["epoch"] for row in json.loads((tmp_path / "run/history.json").read_text())] == [1, 2, 3]
    assert [row["epoch"] for row in resumed.run.history] == [1, 2, 3]


class Diary(Callback):
    """Notes what it is told of and after which step, over breaks as well."""

    def __init__(self) -> None:
        self.seen: list[list[Any]] = []

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]

    def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
        self.seen.append(["step", trainer.step])

    def on_evaluate_end(self, trainer: Any, row: dict[str, Any]) -> None:
        self.seen.append(["evaluated", trainer.step])

    def on_best(self, trainer: Any, row: dict[str, Any]) -> None:
        self.seen.append(["best", trainer.step])

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        self.seen.append(["epoch", trainer.step])


class Fail(Callback):
    """Raises whenever one hook is called."""

    def __init__(self, hook: str, error: BaseException) -> None:
        self.error = error
        setattr(self, hook, self.come)

    def come(self, *_: Any) -> None:
        raise self.error


@pytest.mark.parametrize("minutes", [5, 1e-9])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("hook", ["on_step_end", "on_evaluate_end", "on_best", "on_epoch_end"])
def test_what_has_happened_is_told_once_to_all_whichever_callback_raises(
    tmp_path: Path, hook: str, error: type[BaseException], minutes: float
) -> None:
    unbroken = Diary()
    run(tmp_path / "whole", callbacks=[unbroken])
    failing = [Diary(), Fail(hook, error()), Diary()]
    with pytest.raises(error):
        run(tmp_path / "run", callbacks=failing, checkpoint_minutes=minutes)
    before, behind = Diary(), Diary()
    run(tmp_path / "run", resume=True, callbacks=[before, behind])
    assert before.seen == unbroken.seen
    assert behind.seen == unbroken.seen


def test_a_run_ends_early_where_it_does_unbroken_though_a_callback_before_raised(tmp_path: Path) -> None:
    falls: dict[str, Any] = {"metric": "loss", "mode": "max", "patience": 1}  # as it is to do
    assert len(run(tmp_path / "whole", early_stop=falls).run.history) == 2
    steps = run(tmp_path / "one", epochs=1).run.steps
    callbacks = [BreakOnce("on_epoch_end", 2 * steps), EarlyStop(**falls)]
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=callbacks)
    assert len(run(tmp_path / "run", resume=True, callbacks=callbacks).run.history) == 2


def test_a_best_epoch_is_told_of_though_its_module_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoil(Callback):
        def on_evaluate_end(self, trainer: Any, row: dict[str, Any]) -> None:
            (tmp_path / "run" / "best").mkdir()
            (tmp_path / "run" / "best" / "notes.txt").write_text("mine", encoding="utf-8")

    monkeypatch.setattr("hub.finetune.callbacks.SECONDS", 0)
    unbroken, broken = Diary(), Diary()
    run(tmp_path / "whole", callbacks=[unbroken])
    with pytest.raises(StorageError):
        run(tmp_path / "run", callbacks=[Spoil(), broken])
    (tmp_path / "run" / "best" / "notes.txt").unlink()
    run(tmp_path / "run", resume=True, callbacks=[broken])
    assert broken.seen == unbroken.seen


def test_of_several_errors_the_first_is_raised_and_shows_the_others(tmp_path: Path) -> None:
    errors = [ZeroDivisionError("the first"), OSError("the second"), ValueError("the third")]
    with pytest.raises(ZeroDivisionError, match="the first") as caught:
        run(tmp_path / "run", callbacks=[Fail("on_epoch_end", error) for error in errors])
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.index("the third") < shown.index("the second") < shown.index("the first")


class LosesItsFolder(Callback):
    """Has the checkpoints made impossible, as a disk does that is gone, and fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
        shutil.rmtree(self.folder)
        self.folder.write_text("no folder")
        raise ZeroDivisionError("of the user's own")


def test_how_to_go_on_is_said_where_that_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "my run"
    with pytest.raises(ZeroDivisionError):
        run(place, callbacks=[Break(2)], progress=True)
    assert f"--output '{place}' --resume" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        run(place, callbacks=[LosesItsFolder(place / "checkpoints")], progress=True, resume=True)
    said = capsys.readouterr().err
    assert "no checkpoint was written" in said
    assert "stopped after step 3\n" in said


class Enough(Callback):
    """Asks for the end in the middle of an epoch."""

    def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
        if trainer.step == 5:
            trainer.stop = True


@pytest.mark.parametrize("broken", [5, 6])
def test_an_epoch_in_which_the_end_was_asked_for_is_trained_to_its_end(tmp_path: Path, broken: int) -> None:
    unbroken = run(tmp_path / "whole", callbacks=[Enough()])
    assert [row["epoch"] for row in unbroken.run.history] == [1, 2]
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[Enough(), Break(broken)])
    resumed = run(tmp_path / "run", resume=True, callbacks=[Enough()])
    assert [row["epoch"] for row in resumed.run.history] == [1, 2]
    assert equal(resumed, unbroken)


class Count(Callback):
    """Counts steps, over breaks as well."""

    def __init__(self) -> None:
        self.steps = 0

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]

    def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
        self.steps += 1


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"progress": True}), ({"progress": True}, {}), ({}, {"early_stop": 3}), ({"early_stop": 3}, {})],
    ids=str,
)
def test_each_callback_goes_on_from_its_own_state_whichever_others_there_are(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    first, second = [Count(), Count()], [Count(), Count()]
    first[1].steps = 100
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[*first, Break(4)], **before)
    done = run(tmp_path / "run", resume=True, callbacks=second, **after)
    assert [one.steps for one in second] == [done.run.steps, 100 + done.run.steps]


def test_a_state_that_no_callback_takes_back_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[Count(), Break(4)])
    run(tmp_path / "run", resume=True, progress=True)
    said = capsys.readouterr().err
    assert "callbacks has no Count any more: what it had counted is not taken up" in said
    assert "Break" not in said


def test_a_state_that_cannot_be_kept_names_the_callback(tmp_path: Path) -> None:
    odd = Count()
    odd.steps = np.int64(1)  # type: ignore[assignment]
    with pytest.raises(UsageError, match=r"Count\.state\(\): expected what JSON can hold"):
        run(tmp_path / "run", callbacks=[odd])


def test_checkpoints_at_epochs_ends_take_a_small_part_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch of 3 seconds, a checkpoint of one: each epoch's would be a third more time."""
    clock = 0.0
    saved: list[float] = []

    class Slow(Callback):
        def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
            nonlocal clock
            clock += 3.0

    save = Checkpoints.save

    def slow_save(self: Checkpoints, *given: Any, **named: Any) -> Any:
        nonlocal clock
        saved.append(clock)
        clock += 1.0
        return save(self, *given, **named)

    monkeypatch.setattr(resume, "time", SimpleNamespace(monotonic=lambda: clock))
    monkeypatch.setattr(Checkpoints, "save", slow_save)
    run(tmp_path / "run", epochs=22, callbacks=[Slow()])
    assert saved == [3.0, 25.0, 47.0, 69.0]  # the last is the end of the run


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    class Count(Callback):
        steps = 0

        def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
            Count.steps += 1

    first = run(tmp_path / "run")
    written = (tmp_path / "run" / "config.json").read_bytes()
    again = run(tmp_path / "run", resume=True, callbacks=[Count()], early_stop=1, workers=2)
    assert Count.steps == 0
    assert equal(first, again)
    assert again.run.metrics == first.run.metrics
    assert (tmp_path / "run" / "config.json").read_bytes() == written, "what it was trained with"


@pytest.mark.parametrize("early_stop", [1, 5, None])
def test_a_run_that_ended_early_says_so_again_and_is_not_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], early_stop: int | None
) -> None:
    settings = {"epochs": 8, "learning_rate": 1e-9, "progress": True}
    first = run(tmp_path / "run", early_stop=1, **settings)
    assert first.run.steps < 8 * 3
    written, card = (
        (first.run.folder / "config.json").read_bytes(),
        (first.run.best / "README.md").read_bytes(),
    )
    (reason,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("ended early: "))
    again = run(tmp_path / "run", early_stop=early_stop, resume=True, **settings)
    assert (again.run.steps, again.run.history) == (first.run.steps, first.run.history)
    assert (again.run.command, again.run.config) == (first.run.command, first.run.config)
    assert (again.run.folder / "config.json").read_bytes() == written
    assert (again.run.best / "README.md").read_bytes() == card
    said = capsys.readouterr().err
    last = first.run.history[-1]["epoch"]
    assert (
        f"the run ended early, after epoch {last} of 8: nothing is left to train, whatever early_stop is"
        in said
    )
    assert "going on" not in said
    assert "any more" not in said
    assert (reason in said) == (early_stop is not None)


def test_a_finished_run_whose_settings_were_removed_has_them_written_anew(tmp_path: Path) -> None:
    run(tmp_path / "run", epochs=1)
    for path in (tmp_path / "run").glob("*.json"):
        path.unlink()
    again = run(tmp_path / "run", epochs=1, resume=True)
    written = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert written["command"] == again.run.command
    assert written["seed"] == again.run.config["seed"] == 3


def test_resume_starts_where_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert equal(run(tmp_path / "a", resume=True), run(tmp_path / "b"))


def test_resume_without_a_folder_names_the_run_that_may_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="expected the folder of a run as output_dir, found none"):
        run(None, resume=True)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(ZeroDivisionError):
        run(None, callbacks=[Break(4)])
    (broken,) = (tmp_path / "runs").iterdir()
    run(tmp_path / "runs" / "finished")
    with pytest.raises(UsageError) as caught:
        run(None, resume=True)
    assert f"is 'runs/{broken.name}'" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 6}, "batch_size was 5 and is 6"),
        ({"epochs": 4}, "epochs was 3 and is 4"),
        ({"learning_rate": 0.1}, "learning_rate was 0.0005 and is 0.1"),
        ({"seed": 4}, "seed was 3 and is 4"),
        ({"freeze": 1}, "freeze was None and is 1"),
        ({"strategy": "gradual"}, "strategy was 'full' and is 'gradual'"),
        ({"cache": False}, "cache was True and is False"),
    ],
)
def test_f43_a_changed_setting_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[Break(4)])
    with pytest.raises(UsageError, match="cannot go on with this run") as caught:
        run(tmp_path / "run", resume=True, **changes)
    assert message in str(caught.value)


RESIZED = [{"grayscale": {}}, {"resize": {"size": 12}}, {"normalize": {"mean": [0.3], "std": [0.3]}}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "the weights that it begins with changed"),
        ({"preprocess": RESIZED}, "how inputs are read changed"),
        ({"augment": []}, "how inputs are read changed"),
    ],
)
def test_f43_another_module_is_told_from_the_one_that_the_run_began_with(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """Also where its network has the same shapes, and where a probe leaves all but the head out of the checkpoint."""
    settings = {"strategy": "probe", "epochs": 2, "output_dir": tmp_path / "run", "progress": False}
    with pytest.raises(ZeroDivisionError):
        tiny_module().finetune(samples(6), callbacks=[Break(1)], **settings)
    with pytest.raises(UsageError, match="cannot go on with this run") as caught:
        tiny_module(**changes).finetune(samples(6), resume=True, **settings)
    assert message in str(caught.value)
    tiny_module().finetune(samples(6), resume=True, **settings)


@pytest.mark.parametrize(
    "options", [{}, {"anchor": 1.0}, {"freeze": 2}, {"strategy": "probe"}, {"drop_groups": 1}], ids=str
)
def test_the_module_that_a_run_was_broken_off_with_goes_on_as_a_fresh_one_does(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """It has weights of the middle of the run by then; the pull of an anchor is to those of the beginning."""
    unbroken = run(tmp_path / "whole", learning_rate=0.01, **options)
    module = tiny_module()
    settings = {"epochs": 3, "batch_size": 5, "strategy": "full", "seed": 3, "progress": False} | options
    settings |= {"output_dir": tmp_path / "run", "learning_rate": 0.01}
    for step in (5, 7):
        with pytest.raises(ZeroDivisionError):
            module.finetune(samples(6), callbacks=[Break(step)], resume=True, **settings)
    assert equal(module.finetune(samples(6), resume=True, **settings), unbroken)
    assert equal(hub.Module(module.run.best), unbroken)
    assert equal(module.finetune(samples(6), resume=True, **settings), unbroken), "finished already"
    assert "\nhub.Module.create('tiny', …).finetune(" in module.run.command, "what it began with"


@pytest.mark.parametrize("lost", ["run", "run/checkpoints/step-*/record.json"])
def test_a_module_whose_run_is_gone_begins_anew_as_in_any_other_folder(tmp_path: Path, lost: str) -> None:
    """It has lost the groups that the run took off it, and loses as many again."""
    settings = {"epochs": 1, "batch_size": 5, "strategy": "full", "drop_groups": 1, "progress": False}
    module = tiny_module().finetune(samples(6), output_dir=tmp_path / "run", **settings)
    elsewhere = copy.deepcopy(module).finetune(samples(6), output_dir=tmp_path / "other", **settings)
    for path in tmp_path.glob(lost):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    module.finetune(samples(6), output_dir=tmp_path / "run", resume=True, **settings)
    assert module.spec.arch.arguments["drop_groups"] == 2
    assert equal(module, elsewhere)


@pytest.mark.parametrize("spelling", ["link", "link/../run", "other/../run"])
def test_a_run_is_known_by_any_spelling_of_its_folder(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    module, settings = tiny_module(), {"epochs": 2, "batch_size": 5, "strategy": "full", "drop_groups": 1}
    with pytest.raises(ZeroDivisionError):
        module.finetune(
            samples(6), output_dir=tmp_path / "run", callbacks=[Break(5)], progress=False, **settings
        )
    chosen = os.path.join(tmp_path, spelling)
    unbroken = tiny_module().finetune(samples(6), output_dir=tmp_path / "whole", progress=False, **settings)
    assert equal(
        module.finetune(samples(6), output_dir=chosen, resume=True, progress=False, **settings), unbroken
    )
    module.finetune(samples(6), output_dir=chosen, progress=False, **settings)
    assert "hub.Module(…).finetune(" in module.run.command, "its own module is replaced"


def test_a_checkpoint_that_says_nothing_of_weights_and_reading_is_gone_on_from(tmp_path: Path) -> None:
    """Those before 1.0 did not."""
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[Break(4)])
    newest = Checkpoints(tmp_path / "run" / "checkpoints").newest()
    assert newest is not None
    now = newest.record["identity"]
    for name in ("answers", "reading", "start"):
        before = {key: value for key, value in now.items() if key != name}
        old = replace(newest, record={**newest.record, "identity": before})
        assert resume.require_same(old, {**now, name: "another"}) == []
        with pytest.raises(UsageError, match="then, another now"):
            resume.require_same(newest, {**now, name: "another"})


def test_a_setting_that_a_checkpoint_does_not_know_was_the_usual_one(tmp_path: Path) -> None:
    """It came with a later version."""
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[Break(4)])
    newest = Checkpoints(tmp_path / "run" / "checkpoints").newest()
    assert newest is not None
    now = newest.record["identity"]
    before = {name: value for name, value in now["config"].items() if name != "views"}
    old = replace(newest, record={**newest.record, "identity": {**now, "config": before}})
    assert resume.require_same(old, now) == []
    with pytest.raises(UsageError, match="views was 1 and is 4"):
        resume.require_same(old, {**now, "config": {**now["config"], "views": 4}})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", ".owner")
    }


@pytest.mark.parametrize("changes", [{"seed": 4, "resume": True}, {}], ids=["another seed", "without resume"])
def test_a_refused_run_leaves_the_broken_one_and_the_module_as_they_were(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[Break(9)])
    before, module = contents(tmp_path / "run"), tiny_module()
    assert "best/weights.safetensors" in before
    weights_before = state(module)
    with pytest.raises(UsageError):
        module.finetune(
            samples(6), **{"epochs": 3, "batch_size": 5, "strategy": "full", "seed": 3, **changes},
            output_dir=tmp_path / "run", progress=False,
        )  # fmt: skip
    assert contents(tmp_path / "run") == before
    assert module.labels == ("this", "that")
    assert module.name == "tiny"
    assert all(np.array_equal(array, weights_before[name]) for name, array in state(module).items())


def test_a_run_that_fails_before_its_first_step_leaves_no_module_and_the_old_one_in_memory(
    tmp_path: Path,
) -> None:
    class Refuse(Callback):
        def on_train_begin(self, trainer: Any) -> None:
            raise ZeroDivisionError("of the user's own")

    module = tiny_module()
    with pytest.raises(ZeroDivisionError):
        module.finetune(
            samples(6), strategy="full", callbacks=[Refuse()], output_dir=tmp_path / "run", progress=False
        )
    assert not (tmp_path / "run" / "best").exists()
    assert (module.name, module.labels, module.run) == ("tiny", ("this", "that"), None)
    assert module.predict(samples(1)[0][0])[0]["label"] in ("this", "that")


def test_f43_changed_data_is_named(tmp_path: Path) -> None:
    place = folder(tmp_path / "data", 6)

    def train(**options: Any) -> Any:
        return tiny_module().finetune(
            place, epochs=2, batch_size=5, output_dir=tmp_path / "run", progress=False, **options
        )

    with pytest.raises(ZeroDivisionError):
        train(callbacks=[Break(3)])
    first, second, *_ = sorted((place / "dot").iterdir())
    first.write_bytes(second.read_bytes())
    with pytest.raises(UsageError, match=r"the data changed: .* then, .* now"):
        train(resume=True)
    more = folder(tmp_path / "data", 7)
    assert more == place
    with pytest.raises(UsageError, match=r"then, .* now"):
        train(resume=True)


def scenes(place: Path, *, other: bool) -> Path:
    """Pictures and masks in files; of `other` ones the last mask is that of the first picture."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (place / kind).mkdir(parents=True, exist_ok=True)
    for number in range(6):
        where = rng.integers(0, 24)
        picture, mask = rng.integers(0, 90, (32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
        picture[where : where + 8] += 90
        mask[where : where + 8] = 1
        if other and number == 5:
            mask = mask.T
        Image.fromarray(picture).save(place / "images" / f"{number}.png")
        Image.fromarray(mask).save(place / "masks" / f"{number}.png")
    (place / "labels.txt").write_text("ground\nbar\n", encoding="utf-8")
    return place


def drawn(place: Path, *, other: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same in memory."""
    scenes(place, other=other)
    return [
        tuple(np.asarray(Image.open(place / kind / f"{number}.png")) for kind in ("images", "masks"))  # type: ignore[misc]
        for number in range(6)
    ]


def sentences(place: Path, *, other: bool) -> list[tuple[list[str], list[str]]]:
    """Words with tags; of `other` ones two tags have changed places."""
    tags = ["B-X", "O", "B-X" if other else "B-Y", "B-Y" if other else "B-X"]
    return [(["some", "words", str(number), "more"], tags) for number in range(6)]


@pytest.mark.parametrize(
    ("name", "task", "data"),
    [
        ("signs_fpn", None, scenes),
        ("signs_fpn", None, drawn),
        ("sentences_static", "sequence_labeling", sentences),
    ],
)
def test_f43_other_masks_and_tags_for_the_same_inputs_are_noticed(
    tmp_path: Path, name: str, task: str | None, data: Any
) -> None:
    def train(*, other: bool = False, **options: Any) -> Any:
        return hub.Module(name, task=task).finetune(
            data(tmp_path / "data", other=other), valid=False, epochs=2, batch_size=3,
            output_dir=tmp_path / "run", progress=False, **options,
        )  # fmt: skip

    with pytest.raises(ZeroDivisionError):
        train(callbacks=[Break(1)])
    with pytest.raises(UsageError, match=r"the masks or tags of the data changed: train: .* then, .* now"):
        train(other=True, resume=True)
    train(resume=True)


def test_f43_another_teacher_of_the_same_name_is_noticed(tmp_path: Path) -> None:
    one, other = (run(tmp_path / str(seed), seed=seed, epochs=1) for seed in (1, 2))
    unbroken = run(tmp_path / "whole", teacher=one)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", teacher=one, callbacks=[Break(4)])
    with pytest.raises(
        UsageError, match=r"what is learnt from beside the data changed: teacher: .* then, .* now"
    ):
        run(tmp_path / "run", teacher=other, resume=True)
    shutil.copytree(one.run.best, tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    assert equal(run(tmp_path / "again", teacher=tmp_path / "elsewhere", resume=True), unbroken)
    assert equal(run(tmp_path / "run", teacher=one, resume=True), unbroken)


def test_a_run_that_was_broken_off_is_not_overwritten_by_mistake(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[Break(4)])
    with pytest.raises(UsageError, match="holds a run that was broken off") as caught:
        run(tmp_path / "run")
    assert "resume=True" in (caught.value.hint or "")


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", '{"model_type": "bert"}'),
        ("config.json", "no JSON"),
        pytest.param("config.json", "[" * 100_000, id="brackets"),
        ("metrics.json", '{"best_epoch": 1, "accuracy": 0.9}'),
        ("history.json", "[]"),
    ],
)
def test_files_that_are_no_runs_are_not_replaced(tmp_path: Path, name: str, text: str, resume: bool) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=f"{name}: expected .* of a run, found another"):
        run(tmp_path, resume=resume)
    assert (tmp_path / name).read_text(encoding="utf-8") == text
    assert not (tmp_path / "best").exists()


@pytest.mark.parametrize(
    ("place", "role"),
    [
        ("data", "train"),
        ("data/dot", "train"),
        ("link/dot", "train"),
        ("seen/dot", "valid"),
        ("seen", "test"),
    ],
)
def test_no_run_is_kept_in_a_folder_that_holds_data(tmp_path: Path, place: str, role: str) -> None:
    data, seen = folder(tmp_path / "data", 4), folder(tmp_path / "seen", 2, seed=1)
    (tmp_path / "link").symlink_to(data)
    (data / "dot" / "broken.png").write_text("no picture: the place is looked at before the data")
    before = sorted(tmp_path.rglob("*"))
    given = {"train": data, **({} if role == "train" else {role: str(seen)})}
    with pytest.raises(UsageError, match="expected a folder for a run, found one of the data in") as caught:
        tiny_module().finetune(**given, output_dir=tmp_path / place, progress=False)
    assert "choose a new folder as output_dir" in caught.value.hint
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_may_be_kept_beside_the_data_and_in_a_folder_around_it(tmp_path: Path) -> None:
    data = folder(tmp_path / "run" / "data", 4)
    for place in (tmp_path / "run", tmp_path / "run" / "data2"):
        settings = {"strategy": "probe", "epochs": 1, "progress": False}
        tiny_module().finetune(data, output_dir=place, **settings)
        assert (place / "metrics.json").is_file()


@pytest.mark.parametrize("layout", ["table", "parts", "classes"])
def test_a_run_that_is_kept_in_the_data_is_none_of_it_for_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    data = tmp_path / "data"
    for part, seed in (("train", 0), ("valid", 1)) if layout == "parts" else (("", 0),):
        folder(data / part, 4, seed=seed)
    if layout == "table":
        rows = [f"{path.relative_to(data)},{path.parent.name}" for path in sorted(data.rglob("*.png"))]
        (data / "train.csv").write_text("\n".join(["path,label", *rows]))
    monkeypatch.chdir(data)
    places = (None, "runs/second", "one", "some/day/two", "dot/three", "last")
    found = [
        tiny_module().finetune(".", output_dir=place, strategy="probe", epochs=1, progress=False).run.data
        for place in places
    ]
    assert len(set(found)) == 1


def test_a_finished_run_is_replaced_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, epochs=1, progress=True)
    assert "replaced" not in capsys.readouterr().err
    run(tmp_path, epochs=1, progress=True)
    assert f"{tmp_path}: the finished run that is there is replaced" in capsys.readouterr().err


def test_a_finished_run_that_is_replaced_leaves_its_module_until_there_is_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The new run may begin with that module, and go on from it in another process."""
    place, best = tmp_path / "run", tmp_path / "run" / "best"
    first = state(run(place, epochs=1))
    (place / "history.png").touch()  # what a version before 1.0 left there

    def again(module: Any, **options: Any) -> Any:
        settings = {"epochs": 2, "batch_size": 5, "strategy": "full", "learning_rate": 0.01}
        return module.finetune(samples(6), output_dir=place, **settings, **options)

    with pytest.raises(ZeroDivisionError):
        again(hub.Module(best), callbacks=[Break(2)])
    assert {path.name for path in place.iterdir()} == {"best", "checkpoints", "config.json"}
    assert {name: array.tolist() for name, array in state(hub.Module(best)).items()} == {
        name: array.tolist() for name, array in first.items()
    }
    assert f"no best epoch yet: {best} stays as it was" in capsys.readouterr().err
    resumed = again(hub.Module(best), resume=True)
    assert len(json.loads((place / "history.json").read_text(encoding="utf-8"))) == 2
    assert equal(hub.Module(best), resumed)
    assert not all(np.array_equal(array, first[name]) for name, array in state(resumed).items())


def test_a_folder_of_somebody_else_in_the_place_of_the_module_is_refused_before_the_first_step(
    tmp_path: Path,
) -> None:
    counter, notes = Count(), tmp_path / "run" / "best" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine", encoding="utf-8")
    with pytest.raises(StorageError, match="best: exists and is no module folder"):
        run(tmp_path / "run", callbacks=[counter])
    assert counter.steps == 0
    assert [path.name for path in (tmp_path / "run").rglob("*.*")] == ["notes.txt"]


def test_a_run_whose_module_could_not_be_written_in_the_end_is_not_finished(tmp_path: Path) -> None:
    class Spoil(Callback):
        def on_train_end(self, trainer: Any) -> None:
            (tmp_path / "run" / "best").mkdir()
            (tmp_path / "run" / "best" / "notes.txt").write_text("mine", encoding="utf-8")

    with pytest.raises(StorageError):
        run(tmp_path / "run", callbacks=[Spoil()])
    (tmp_path / "run" / "best" / "notes.txt").unlink()
    with pytest.raises(UsageError, match="broken off") as caught:
        run(tmp_path / "run")
    assert "resume=True" in caught.value.hint
    run(tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "best" / "module.yaml").is_file()


def test_f49_a_damaged_checkpoint_is_passed_over_and_the_one_before_it_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unbroken = run(tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", callbacks=[Break(9)])
    newest = Checkpoints(tmp_path / "run" / "checkpoints").newest()
    assert newest is not None
    damaged = newest.folder / "model.safetensors"
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(bytes(data))
    resumed = run(tmp_path / "run", resume=True, progress=True)
    assert equal(resumed, unbroken)
    assert f"passed over: {damaged}" in capsys.readouterr().err


def test_f50_a_second_trainer_on_one_folder_is_refused(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "run" / "checkpoints")
    other = "import sys, time\nfrom pathlib import Path\nfrom hub.finetune.checkpoint import Checkpoints\n"
    other += (
        "with Checkpoints(Path(sys.argv[1])).owned():\n    print('here', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", other, str(store.folder)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        with pytest.raises(StorageError, match=f"process {process.pid} on .* trains into this folder"):
            run(tmp_path / "run")
        process.kill()
    run(tmp_path / "run")  # what a killed owner held is free


def test_f45_a_loss_that_is_no_number_is_never_in_a_checkpoint(tmp_path: Path) -> None:
    class Poison(Callback):
        def on_step_end(self, trainer: Any, step: dict[str, Any]) -> None:
            if trainer.step == 5:
                bias = trainer.model.head.bias
                bias.set_value(np.full(bias.shape, np.inf, np.float32))

    for _ in range(2):  # the same every time
        with pytest.raises(TrainingError) as caught:
            run(tmp_path / "run", callbacks=[Poison()], resume=True, checkpoint_minutes=1e-9)
        assert "step 5" in str(caught.value)
        assert "head.bias" in str(caught.value)
        newest = Checkpoints(tmp_path / "run" / "checkpoints").newest()
        assert newest is not None
        assert newest.step == 4
        assert all(np.isfinite(array).all() for array in newest.load("model").values())


STOPPED = """
import os, signal, sys
from hub.finetune.callbacks import Callback
from tests.pictures import samples, tiny_module

class Signal(Callback):
    def on_step_end(self, trainer, step):
        if trainer.step == int(sys.argv[2]):
            for _ in range(int(sys.argv[4])):
                os.kill(os.getpid(), getattr(signal, sys.argv[3]))

tiny_module().finetune(samples(6), epochs=3, batch_size=5, strategy="full", seed=3, workers=2, output_dir=sys.argv[1],
                       callbacks=[Signal()])
"""


@pytest.mark.parametrize(
    ("name", "times", "step", "status"),
    [("SIGTERM", 1, 4, 143), ("SIGINT", 1, 7, -signal.SIGINT), ("SIGTERM", 2, 4, -signal.SIGTERM)],
)
def test_f47_a_signal_finishes_the_step_keeps_it_and_says_how_to_go_on(
    tmp_path: Path, python: str, name: str, times: int, step: int, status: int
) -> None:
    done = subprocess.run(
        [python, "-W", "ignore", "-c", STOPPED, str(tmp_path / "run"), str(step), name, str(times)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    newest = Checkpoints(tmp_path / "run" / "checkpoints").newest()
    if times > 1:  # the second one acts at once; the checkpoint of the last epoch is what there is
        return
    assert newest is not None
    assert newest.step == step
    assert "resume=True" in done.stderr
    assert f"--output {tmp_path / 'run'} --resume" in done.stderr
    assert hub.Module(tmp_path / "run" / "best").name == "tiny_finetuned"


class AfterTraining(Callback):
    """Does something when a network that is trained is put to use for the first time."""

    def __init__(self, do: Any) -> None:
        self.do = do

    def on_train_end(self, trainer: Any) -> None:
        def once(layer: Any, given: Any) -> None:
            hook.remove()
            self.do()

        hook = trainer.model.register_forward_pre_hook(once)


def fail() -> None:
    raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("happens", "raised"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGINT), KeyboardInterrupt),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), SystemExit),
        (fail, OSError),
    ],
    ids=["SIGINT", "SIGTERM", "error"],
)
@pytest.mark.parametrize("sets", [{}, {"valid": False, "test": samples(4, seed=9)}], ids=["valid", "test"])
def test_what_breaks_off_the_last_measuring_leaves_the_module_and_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], happens: Any, raised: Any, sets: dict[str, Any]
) -> None:
    with pytest.raises(raised):
        run(tmp_path / "run", callbacks=[AfterTraining(happens)], progress=True, **sets)
    assert "resume=True" in capsys.readouterr().err
    broken = hub.Module(tmp_path / "run" / "best")
    done = run(tmp_path / "run", resume=True, **sets)
    assert equal(broken, done)
    assert done.run.test_metrics or done.run.metrics
    assert (tmp_path / "run" / "metrics.json").is_file()


@pytest.mark.parametrize(("batch_size", "ends"), [("auto", True), (5, False)])
def test_f46_memory_that_runs_out_is_answered_with_smaller_parts_or_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: Any, ends: bool
) -> None:
    from hub.finetune.trainer import Trainer

    whole = run(tmp_path / "whole", batch_size=32 if ends else 5, strategy="probe")
    real = Trainer._forward_backward

    def full(self: Any, inputs: Any, targets: Any, size: int) -> float:
        if self.pieces < 4:
            raise MemoryError("ResourceExhaustedError: Fail to alloc memory")
        return real(self, inputs, targets, size)

    monkeypatch.setattr(Trainer, "_forward_backward", full)
    if not ends:
        with pytest.raises(
            TrainingError, match="memory ran out in epoch 1, step 1, with 5 samples"
        ) as caught:
            run(tmp_path / "run", batch_size=batch_size, strategy="probe")
        for advice in ("batch_size=2,", "accumulate=2", "strategy='probe'"):
            assert advice in (caught.value.hint or "")
        return
    parted = run(tmp_path / "run", batch_size=batch_size, strategy="probe")
    for one, other in zip(whole.run.history[1:], parted.run.history[1:], strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], abs=1e-6)
