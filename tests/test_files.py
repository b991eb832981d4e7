"""Files and folders that appear whole or not at all, whenever the process that writes them is killed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from folders import tree

from hub import files
from hub.errors import StorageError

linux = pytest.mark.skipif(sys.platform != "linux", reason="uses what Linux has")
OLD, NEW = {"weights": b"old", "labels": b"old"}, {"weights": b"new", "card": b"new"}

CHILD = """
import os, shutil, signal, sys
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from hub.files import staged_folder

def go(folder, kill_at):
    seen = 0
    def count(event, arguments):
        nonlocal seen
        if event in {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}:
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
    with staged_folder(folder) as staging:
        for name in ("weights", "card"):
            (staging / name).write_bytes(b"new")
        sys.addaudithook(count)

step = 0
while True:
    step += 1
    folder = Path(sys.argv[1], str(step), "saved")
    folder.mkdir(parents=True)
    for name in ("weights", "labels"):
        (folder / name).write_bytes(b"old")
    child = os.fork()
    if child == 0:
        go(folder, step)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(step)
"""


@linux
def test_killed_at_any_step_a_folder_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    """A process is killed before its first, second, … change of the disk, until one comes through."""
    if not exchanges(tmp_path):
        pytest.skip("this disk cannot let two folders change names in one step")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = [tree(tmp_path / str(step) / "saved") for step in range(1, int(done.stdout) + 1)]
    assert all(each in (OLD, NEW) for each in found), found
    assert found[0] == OLD
    assert found[-1] == NEW
    assert [path.name for path in (tmp_path / done.stdout.strip()).iterdir()] == ["saved"]


def exchanges(folder: Path) -> bool:
    for name in ("one", "other"):
        (folder / name).mkdir()
    return files.exchange(folder / "one", folder / "other")


@pytest.mark.parametrize(
    ("name", "message"), [("A" * 300, "File name too long"), ("nul\0", "no name has a NUL")]
)
def test_a_folder_of_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(StorageError, match=message), files.staged_folder(tmp_path / name):
        pass


@pytest.mark.parametrize("stands", [True, False])
def test_a_link_stays_one_and_its_folder_is_replaced(tmp_path: Path, stands: bool) -> None:
    """ln -s v1 latest: also where v1 is not there yet."""
    if stands:
        (tmp_path / "v1").mkdir()
        (tmp_path / "v1" / "weights").write_bytes(b"old")
    (tmp_path / "latest").symlink_to("v1")
    with files.staged_folder(tmp_path / "latest") as staging:
        (staging / "weights").write_bytes(b"new")
    assert (tmp_path / "latest").readlink() == Path("v1")
    assert tree(tmp_path / "v1") == {"weights": b"new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "v1"]


def test_a_folder_below_a_file_is_no_matter_of_free_space(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file") as caught:
        files.write_text(tmp_path / "file" / "below", "x")
    assert caught.value.hint == "choose another folder"
