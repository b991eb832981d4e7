"""Checkpoints: whole or not at all, whatever kills, damages or fills; the newest whole one is found, bit for bit."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import socket
import struct
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from hub.errors import HubError, NotFoundError, StorageError, UnsafeFileError, UsageError
from hub.files import sha256_of
from hub.finetune import checkpoint
from hub.finetune.checkpoint import Checkpoint, Checkpoints, size_of

Damage = Callable[[Path], object]


def contents(step: int) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """What these tests save at a step: all of it follows from the number, but the best weights, which stay."""
    draw = np.random.default_rng(step)
    groups = {
        "model": {"w": draw.normal(size=(40, 3)), "b": draw.normal(size=3).astype(np.float32)},
        "optimizer": {"moment1/w": draw.normal(size=(40, 3))},
        "best": {"w": np.arange(500, dtype=np.float32)},
    }
    return groups, {"step": step, "loss": math.nan, "best": -math.inf, "rng": [2**64 - 1, 0.1 + 0.2]}


def save(store: Checkpoints, step: int) -> Path:
    return store.save(step, *contents(step), unchanged={"best"})


def agrees(found: Checkpoint | None, step: int) -> bool:
    """Whether this is what was saved at the step, to the last bit."""
    if found is None or found.step != step:
        return False
    groups, record = contents(step)
    same = all(
        found.load(group)[name].tobytes() == array.tobytes()
        for group, named in groups.items()
        for name, array in named.items()
    )
    return same and found.groups == tuple(sorted(groups)) and repr(found.record) == repr(record)


def folders(store: Checkpoints) -> list[str]:
    """Everything that is there, but for the lock."""
    return sorted(path.name for path in store.folder.iterdir() if path.name != ".lock")


def in_child(action: Callable[[], object]) -> int:
    """Run something in a child and give its exit code, negative for a signal. It knows what this process knows."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(moment: int) -> None:
    """Have this process killed at the n-th moment of a save."""
    seen = 0

    def tick(_: str) -> None:
        nonlocal seen
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    checkpoint.failpoint = tick


def moments(store: Checkpoints, step: int) -> list[str]:
    """Save, and give what there is to die at."""
    found: list[str] = []
    checkpoint.failpoint, before = found.append, checkpoint.failpoint
    try:
        save(store, step)
    finally:
        checkpoint.failpoint = before
    return found


# --- what is saved comes back --------------------------------------------------------------------


@st.composite
def any_array(draw: st.DrawFn) -> np.ndarray:
    shape = draw(arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    kind = np.dtype(draw(st.sampled_from(sorted(checkpoint.DTYPES))))
    if draw(st.booleans()):
        kind = kind.newbyteorder(draw(st.sampled_from("<>")))
    array = draw(arrays_of.arrays(kind, shape))
    match draw(st.sampled_from(["C", "F", "transposed", "every other", "backwards", "read-only"])):
        case "F":
            array = np.asarray(array, order="F")
        case "transposed":
            array = array.T
        case "every other" if array.ndim:
            array = array[::2]
        case "backwards" if array.ndim:
            array = array[..., ::-1]
        case "read-only":
            array.flags.writeable = False
    return array


@settings(max_examples=60)
@given(
    named=st.dictionaries(
        st.text(max_size=9).filter(lambda name: name != "__metadata__"), any_array(), max_size=4
    )
)
def test_arrays_of_every_type_shape_and_order_come_back(named: dict[str, np.ndarray]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Checkpoints(Path(folder)).save(1, {"model": named, "none": {}}, {})
        found = Checkpoints(Path(folder)).newest()
        assert found is not None
        assert found.load("none") == {}
        loaded = found.load("model")
        assert loaded.keys() == named.keys()
        for name, array in named.items():
            here = loaded[name]
            assert (here.shape, here.dtype) == (array.shape, array.dtype.newbyteorder("="))
            assert here.tobytes() == array.astype(here.dtype).tobytes()
            here[...] = 0  # memory of its own


def test_a_checkpoint_says_what_it_has(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "run" / "checkpoints")
    assert store.newest() is None
    folder = save(store, 120)
    assert folder == store.folder / "step-000000120"
    found = store.newest()
    assert found is not None
    assert agrees(found, 120)
    assert found.folder == folder
    assert not any(path.stat().st_mode & 0o022 for path in folder.iterdir())
    with pytest.raises(NotFoundError, match="did you mean 'model'"):
        found.load("modle")


def test_the_size_is_known_before(tmp_path: Path) -> None:
    groups, _ = contents(1)
    groups["empty"] = {}
    groups["model"] |= {f"name {number} \N{SNOWMAN}": np.zeros([0, 7]) for number in range(300)}
    folder = Checkpoints(tmp_path).save(1, groups, {})
    taken = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert taken <= size_of(groups) <= 2 * taken + 40_000


REFUSED: list[tuple[str, Callable[[Checkpoints], object]]] = [
    ("found complex128", lambda store: store.save(1, {"model": {"w": np.zeros(2, complex)}}, {})),
    ("found object", lambda store: store.save(1, {"model": {"w": np.array([None])}}, {})),
    ("__metadata__", lambda store: store.save(1, {"model": {"__metadata__": np.zeros(1)}}, {})),
    ("'../model'", lambda store: store.save(1, {"../model": {}}, {})),
    ("found -1", lambda store: store.save(-1, {}, {})),
    (
        "expected some of model, found best",
        lambda store: store.save(1, {"model": {}}, {}, unchanged={"best"}),
    ),
    ("what JSON can hold.*float32", lambda store: store.save(1, {}, {"loss": np.float32(1)})),
    ("what JSON can hold.*set", lambda store: store.save(1, {}, {"classes": {1}})),
    ("expected at least 1", lambda store: Checkpoints(store.folder, keep=0)),
]


@pytest.mark.parametrize(("says", "act"), REFUSED, ids=[says for says, _ in REFUSED])
def test_what_could_not_be_read_back_is_refused(
    tmp_path: Path, says: str, act: Callable[[Checkpoints], Any]
) -> None:
    with pytest.raises(UsageError, match=says):
        act(Checkpoints(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_paddle_is_not_imported(python: str) -> None:
    script = "import sys, hub.finetune.checkpoint; sys.exit('paddle' in sys.modules)"
    assert subprocess.run([python, "-c", script], check=False).returncode == 0


# --- order and rotation --------------------------------------------------------------------------


def test_the_newest_is_the_one_of_the_last_step_whatever_the_clock_says(tmp_path: Path) -> None:
    steps = [0, 9, 10, 999_999, 1_000_000, 999_999_999, 10**9, 10**12]
    store = Checkpoints(tmp_path, keep=3)
    for number, step in enumerate(steps):
        folder = save(store, step)
        for path in [*folder.iterdir(), folder]:
            os.utime(path, (10**9 - number, 10**9 - number))  # a clock that runs backwards
        assert agrees(Checkpoints(tmp_path).newest(), step)
        assert folders(store) == sorted(f"step-{each:09d}" for each in steps[max(0, number - 2) : number + 1])


def test_the_same_step_again_supersedes_it_and_both_are_whole(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    for number in range(12):
        store.save(5, {"model": {"w": np.full(3, number)}}, {"number": number})
        found = Checkpoints(tmp_path).newest()
        assert found is not None
        assert found.record == {"number": number}
        assert found.load("model")["w"].tolist() == [number] * 3
    assert folders(store) == ["step-000000005-10", "step-000000005-11"]


def test_checkpoints_of_a_run_that_was_given_up_go_when_the_new_one_has_its_own(tmp_path: Path) -> None:
    save(Checkpoints(tmp_path), 700)
    save(Checkpoints(tmp_path), 800)
    store = Checkpoints(tmp_path)
    save(store, 10)
    assert folders(store) == ["step-000000010"]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_best_weights_that_stay_are_written_as_often_as_checkpoints_are_kept(
    tmp_path: Path, keep: int
) -> None:
    store = Checkpoints(tmp_path, keep=keep)
    numbers = [(save(store, step) / "best.safetensors").stat().st_ino for step in range(7)]
    assert len(set(numbers)) == keep
    assert numbers == [numbers[step % keep] for step in range(7)]
    kept = [path.stat() for path in tmp_path.glob("*/best.safetensors")]
    assert [each.st_nlink for each in kept] == [1] * keep  # so that a damaged one is not the other, too
    assert agrees(Checkpoints(tmp_path).newest(), 6)


def test_unchanged_means_as_in_the_checkpoint_that_was_opened(tmp_path: Path) -> None:
    for step in range(1, 4):
        save(Checkpoints(tmp_path), step)
    store = Checkpoints(tmp_path)
    store.newest()
    before = (tmp_path / "step-000000002" / "best.safetensors").stat().st_ino
    assert (save(store, 4) / "best.safetensors").stat().st_ino == before


def other_best(store: Checkpoints) -> None:
    groups, record = contents(5)
    store.save(5, {**groups, "best": {"w": np.zeros(500, np.float32)}}, record)
    store.save(6, {**groups, "best": {"w": np.ones(500, np.float32)}}, record)


UNLINKED: dict[str, Callable[[Checkpoints, pytest.MonkeyPatch], object]] = {
    "the older ones have another content": lambda store, patch: other_best(store),
    "the older one is damaged": lambda store, patch: [
        flip(path, at=-1) for path in store.folder.glob("*/best.safetensors")
    ],
    "the older one is gone": lambda store, patch: [
        path.unlink() for path in store.folder.glob("*/best.safetensors")
    ],
    "the disk has no links": lambda store, patch: patch.setattr(os, "link", refuse_link),
}


def refuse_link(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("why", UNLINKED)
def test_unchanged_groups_are_written_where_there_is_nothing_to_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    store = Checkpoints(tmp_path)
    for step in range(1, 4):
        save(store, step)
    UNLINKED[why](store, monkeypatch)
    if why.endswith("another content"):
        groups, record = contents(7)
        store.save(7, {**groups, "best": {"w": np.ones(500, np.float32)}}, record, unchanged={"best"})
        found = Checkpoints(tmp_path).newest()
        assert found is not None
        assert found.load("best")["w"].tolist() == [1.0] * 500
    else:
        save(store, 7)
        assert agrees(Checkpoints(tmp_path).newest(), 7)


# --- kills ---------------------------------------------------------------------------------------


def test_a_save_can_die_between_any_two_of_its_steps(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    for step in range(1, 4):
        save(store, step)
    assert moments(store, 4) == [
        "owned", "folder made", "best.safetensors linked", "model.safetensors written", "optimizer.safetensors written",
        "before the manifest", "after the manifest", "before the rename", "renamed", "moved aside", "removed",
    ]  # fmt: skip


def test_killed_at_every_moment_of_a_save_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    def started(folder: Path) -> Checkpoints:
        store = Checkpoints(folder)
        for step in range(1, 4):
            save(store, step)
        return store

    names = moments(started(tmp_path / "whole"), 4)
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        started(folder)

        def end(folder: Path = folder, number: int = number) -> None:
            store = Checkpoints(folder)
            store.newest()
            die_at(number)
            save(store, 4)

        assert in_child(end) == -signal.SIGKILL, name
        before = folders(Checkpoints(folder))
        said: list[str] = []
        store = Checkpoints(folder, say=said.append)
        assert agrees(store.newest(), 4 if number >= names.index("renamed") else 3), name
        assert said == [], name
        assert folders(store) == before, "a reader changes nothing"
        save(store, 5)
        left = [f"step-{step:09d}" for step in ((4, 5) if number >= names.index("renamed") else (3, 5))]
        assert folders(store) == left, name
        assert agrees(Checkpoints(folder).newest(), 5), name


def test_a_run_of_nothing_but_kills_gets_on(tmp_path: Path) -> None:
    step, killed = 0, 0
    for moment in [*range(14), *range(14), *range(14)]:

        def go_on(moment: int = moment) -> None:
            store = Checkpoints(tmp_path)
            found = store.newest()
            die_at(moment)
            save(store, found.step + 1 if found else 1)

        killed += in_child(go_on) == -signal.SIGKILL
        found = Checkpoints(tmp_path).newest()
        assert found is None or agrees(found, found.step)
        now = found.step if found else 0
        assert step <= now <= step + 1
        step = now
    assert killed > 25
    assert step > 9


# --- damage --------------------------------------------------------------------------------------


def flip(path: Path, *, at: int) -> None:
    """Turn one bit of a file over, in place, as a disk does."""
    with path.open("r+b") as file:
        file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def resize(path: Path, by: int) -> None:
    os.truncate(path, path.stat().st_size + by)


def replace_by_link(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("elsewhere")))


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)  # whoever opens it waits for ever


DAMAGES: dict[str, Damage] = {
    "first bit": lambda path: flip(path, at=0),
    "a bit in the middle": lambda path: flip(path, at=path.stat().st_size // 2),
    "last bit": lambda path: flip(path, at=-2),
    "missing": Path.unlink,
    "empty": lambda path: os.truncate(path, 0),
    "cut": lambda path: resize(path, -3),
    "longer": lambda path: resize(path, 1),
    "a folder": replace_by_folder,
    "a link": replace_by_link,
    "a pipe": replace_by_pipe,
    "JSON of something else": lambda path: path.write_text("[1]"),
    "deep JSON": lambda path: path.write_text("[" * 99_999),
}
NAMES = ["model.safetensors", "optimizer.safetensors", "best.safetensors", "record.json", "manifest.json"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_told_of_passed_over_and_gone_after_the_next_save(
    tmp_path: Path, name: str, damage: str
) -> None:
    store = Checkpoints(tmp_path)
    for step in range(1, 6):
        save(store, step)
    DAMAGES[damage](tmp_path / "step-000000005" / name)
    said: list[str] = []
    store = Checkpoints(tmp_path, say=said.append)
    assert agrees(store.newest(), 4)
    assert len(said) == 1
    where = "" if name == "manifest.json" else name  # a promise that is wrong looks like a file that is wrong
    assert str(tmp_path / "step-000000005" / where) in said[0]
    save(store, 5)
    assert folders(store) == ["step-000000004", "step-000000005-1"]
    assert agrees(Checkpoints(tmp_path).newest(), 5)


def test_with_nothing_whole_there_is_no_checkpoint_and_each_is_named(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=3)
    for step in range(3):
        flip(save(store, step) / "record.json", at=4)
    said: list[str] = []
    store = Checkpoints(tmp_path, say=said.append)
    assert store.newest() is None
    assert ["step-00000000" in each for each in said] == [True] * 3
    assert len(folders(store)) == 3, "a reader removes nothing"


@settings(max_examples=150)
@given(data=st.data())
def test_no_bit_of_a_checkpoint_can_turn_unseen(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Checkpoints(Path(folder), say=lambda text: None)
        for step in range(2):
            save(store, step)
        path = Path(folder) / "step-000000001" / data.draw(st.sampled_from(NAMES))
        content = bytearray(path.read_bytes())
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        found = store.newest()
        assert agrees(found, 0) or (
            agrees(found, 1) and path.name == "manifest.json"
        )  # a blank made a newline


def forge(folder: Path, name: str, content: bytes) -> None:
    """Put a file into a checkpoint as if it had been saved there."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"size": len(content), "sha256": sha256_of(folder / name)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_forged_file_is_checked_before_anything_maps_it(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    header = json.dumps({"w": {"dtype": "F32", "shape": [10**6], "data_offsets": [0, 4 * 10**6]}}).encode()
    forge(save(store, 1), "model.safetensors", struct.pack("<Q", len(header)) + header + b"....")
    found = store.newest()
    assert found is not None
    with pytest.raises(UnsafeFileError, match="cut short"):
        found.load("model")


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, say=lambda text: None)
    save(store, 1)
    forge(save(store, 2), "../stolen.safetensors", b"")
    assert agrees(store.newest(), 1)


def test_other_things_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    for name in ("step-5", "step-000000005-0", "step-000000005-x", "step-0000000005", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000000007").write_text("a file")
    before = {path.name for path in tmp_path.iterdir()}
    store = Checkpoints(tmp_path)
    for step in range(1, 4):
        save(store, step)
    assert agrees(store.newest(), 3)
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == before | {
        "step-000000002",
        "step-000000003",
    }


# --- a full disk ---------------------------------------------------------------------------------


def test_too_little_space_is_known_before_the_first_byte(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    save(store, 1)
    huge = np.broadcast_to(np.float32(0), (10**15,))  # four bytes that pass for 4 PB
    with pytest.raises(
        StorageError, match=r"needs 4,2\d\d,\d{3},\d{3},\d{3},\d{3} bytes of disk space, has [\d,]+"
    ):
        store.save(2, {"model": {"w": huge}}, {})
    assert folders(store) == ["step-000000001"]
    assert agrees(store.newest(), 1)
    save(store, 3)
    assert agrees(store.newest(), 3)


def test_a_disk_that_fills_up_at_any_byte_leaves_what_was_there(tmp_path: Path) -> None:
    """The limit on the size of a file stands for the disk: whichever file is the first above it fails to be written."""
    store = Checkpoints(tmp_path)
    for step in range(1, 3):
        save(store, step)
    sizes = sorted(path.stat().st_size for path in (tmp_path / "step-000000002").iterdir())
    limits = sorted({0, 1, *sizes, *(size - 1 for size in sizes)} - {sizes[-1]})
    for limit in limits:

        def fill(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with pytest.raises(StorageError, match="File too large"):
                save(Checkpoints(tmp_path), 3)

        assert in_child(fill) == 0, limit
        assert folders(store) == ["step-000000001", "step-000000002"], limit
        assert agrees(store.newest(), 2), limit
    save(store, 3)
    assert agrees(store.newest(), 3)


# --- one owner -----------------------------------------------------------------------------------


@contextmanager
def another_owner(folder: Path, *, with_worker: bool = False) -> Iterator[tuple[int, int]]:
    """A process that owns the folder until the block ends, and its idle worker, which outlives it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with Checkpoints(folder).owned():
                worker = os.fork() if with_worker else os.getpid()
                if worker:
                    os.write(writer, struct.pack("q", worker))
                while True:
                    signal.pause()
        finally:
            os._exit(1)
    (worker,) = struct.unpack("q", os.read(reader, 8))
    os.close(reader)
    os.close(writer)
    try:
        yield child, worker
    finally:
        for pid in {child, worker}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        with suppress(ChildProcessError):  # the test has done it
            os.waitpid(child, 0)


@pytest.mark.parametrize("with_worker", [False, True])
def test_a_second_trainer_is_refused_until_the_first_one_is_gone(tmp_path: Path, with_worker: bool) -> None:
    store = Checkpoints(tmp_path)
    save(store, 1)
    with another_owner(tmp_path, with_worker=with_worker) as (owner, worker):
        with (
            pytest.raises(StorageError, match=f"process {owner} on {socket.gethostname()}"),
            store.owned(wait_s=0),
        ):
            pytest.fail("two trainers in one folder")
        assert agrees(store.newest(), 1), "reading needs no lock"
        os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)
        if with_worker:
            os.kill(worker, 0)  # it is alive, and a copy of the owner
        with store.owned(wait_s=0):
            save(store, 2)
    assert agrees(store.newest(), 2)


def test_a_save_without_the_folder_in_hand_is_refused_too(tmp_path: Path) -> None:
    with another_owner(tmp_path) as (owner, _), pytest.raises(StorageError, match=f"process {owner} on"):
        save(Checkpoints(tmp_path), 1)
    assert list(tmp_path.glob("step-*")) == []


def test_one_process_cannot_own_a_folder_twice_but_may_ask_twice(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    with store.owned():
        with store.owned():
            save(store, 1)
        with (
            pytest.raises(StorageError, match=f"process {os.getpid()} on"),
            Checkpoints(tmp_path).owned(wait_s=0),
        ):
            pytest.fail("two trainers in one folder")
        save(store, 2)
    assert folders(store) == ["step-000000001", "step-000000002"]
    with Checkpoints(tmp_path).owned(wait_s=0):
        assert ".owner" in folders(store)


def test_errors_of_the_owner_free_the_folder(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="mine"), Checkpoints(tmp_path).owned():
        raise HubError("mine")
    with Checkpoints(tmp_path).owned(wait_s=0):
        pass


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/checkpoints"):
        save(Checkpoints(tmp_path / "file" / "checkpoints"), 1)
