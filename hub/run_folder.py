"""The folder of a run: whose it is, what is in it already, and what of that is gone on with."""

from __future__ import annotations

import itertools
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from hub.errors import UsageError
from hub.files import run_record, storage_errors
from hub.finetune import resume
from hub.finetune.checkpoint import Checkpoints
from hub.finetune.distributed import Group
from hub.finetune.fit import Store
from hub.finetune.run import Run
from hub.modules import weights
from hub.modules.bundle import require_replaceable
from hub.training import Job


def continued(last: Run | None, chosen: str | Path | None, *, resuming: bool) -> Run | None:
    """Give the run that a module was trained in `last` where that is the one to be gone on with, in `chosen`.

    The module then has the weights, and lacks the layers, of the middle of that run and not of its beginning. Where the
    folder has no checkpoint any more nothing is gone on with, and the module is what another run begins with.
    """
    if not resuming or last is None or not chosen:
        return None
    if os.path.realpath(last.folder) != os.path.realpath(_place(chosen)):
        return None
    checkpoints = Checkpoints(last.folder / "checkpoints", say=_nothing)  # `opened` says what is damaged
    return last if checkpoints.newest() else None


def _nothing(text: str) -> None:
    """Take the place of what tells a person something."""


@contextmanager
def opened(
    chosen: str | Path | None,
    name: str,
    job: Job,
    *,
    resuming: bool,
    last: Run | None,
    teacher: str,
    group: Group,
    say: Callable[[str], None],
) -> Iterator[tuple[Path, Store]]:
    """Give the folder of a run, for this process alone, and what it goes on from.

    `last` is what `continued` gives: the weights that it began with are the ones to compare. `teacher` is its
    `teacher_digest`, "" for none.

    Raises UsageError for a run that was broken off and is not to be gone on with, that was another one, or that is to
    be gone on with and not named, and for files of another kind that have the names of a run's; StorageError where
    best/ is no module. What is in the folder then stays as it is. What a finished run left there is removed, but for
    its module: this run may begin with it, and it is replaced by the first that this one has.
    """
    if resuming and chosen is None:
        raise UsageError("resume: expected the folder of a run as output_dir, found none", hint=_unfinished())
    folder = _folder(chosen, name, ranks=group.size)
    if group.first:
        _require_own(folder)
    require_replaceable(folder / "best")  # where the module is to be, in the end
    checkpoints = Checkpoints(folder / "checkpoints", say=say)
    with checkpoints.owned() if group.first else nullcontext():
        if group.first and not resuming:
            _require_finished(folder, checkpoints, say)
        start = checkpoints.newest() if resuming else None
        identity = job.plan.identity(
            job.sets, ranks=group.size, reading=job.reading,
            start=last.start if last and start else weights.digest(job.backbone), teacher=teacher,
        )  # fmt: skip
        for warning in resume.require_same(start, identity) if start else ():
            say(warning)
        yield folder, Store(checkpoints, start, identity)


def _require_own(folder: Path) -> None:
    """Raise UsageError where files have the names of a run's and are none, since they would be replaced."""
    found = [name for name in ("config.json", "metrics.json", "history.json") if (folder / name).exists()]
    if (
        found and run_record(folder) is None
    ):  # a run begins with writing it, so that the others are never without it
        raise UsageError(
            f"{folder / found[0]}: expected {found[0]} of a run, found another file, which would be replaced",
            hint="choose another output_dir, or move the file away",
        )


def _unfinished() -> str:
    """Give a hint at the newest run in ./runs that was broken off."""
    broken = [
        path.parent
        for path in Path("runs").glob("*/checkpoints")
        if not (path.parent / "metrics.json").is_file()
    ]
    if not broken:
        return "without resume=True it begins anew, in a new folder in runs"
    newest = max(broken, key=lambda folder: folder.stat().st_mtime)
    return (
        f"the newest run in runs that was broken off is {str(newest)!r} (--output {shlex.quote(str(newest))})"
    )


def _require_finished(folder: Path, checkpoints: Checkpoints, say: Callable[[str], None]) -> None:
    if checkpoints.newest() is not None and not (folder / "metrics.json").is_file():
        raise UsageError(
            f"{folder} holds a run that was broken off",
            hint="go on with resume=True, or choose another output_dir, or remove it",
        )
    if (folder / "metrics.json").is_file():
        say(f"{folder}: the finished run that is there is replaced")
    checkpoints.clear()
    for name in ("metrics.json", "history.json", "history.svg", "history.png"):  # the last: until 1.0
        (folder / name).unlink(missing_ok=True)


def _place(chosen: str | Path) -> Path:
    return Path(os.path.expanduser(chosen)).absolute()


def _folder(chosen: str | Path | None, name: str, *, ranks: int) -> Path:
    """Make the folder of a run: the one that was asked for, or a new one in ./runs that nobody has."""
    if chosen == "":  # which to pathlib is the working directory
        raise UsageError(
            "output_dir: expected a path, found an empty text", hint="leave it out for a new folder"
        )
    if chosen is not None:
        folder = _place(chosen)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder
    if ranks > 1:
        raise UsageError("output_dir: expected a folder that all processes share, found none")
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        folder = Path("runs").absolute() / (stem if number == 1 else f"{stem}-{number}")
        with storage_errors(folder):
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                continue
    raise AssertionError("count never ends")
