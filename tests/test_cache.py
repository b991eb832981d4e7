"""The cache: a blob or a module is absent or right, whatever is killed, full, locked or changed meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest
from folders import WEIGHTS, file_of, module_folder, tree

from hub import settings
from hub.errors import IntegrityError, StorageError
from hub.files import sha256_of
from hub.registry import cache, client, housekeeping, listing, owner
from hub.registry.index import File
from hub.registry.workspace import temporary, working

DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
linux = pytest.mark.skipif(sys.platform != "linux", reason="uses what Linux has")


@pytest.fixture
def home() -> Path:
    return settings.home()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    for version in ("1.0.0", "1.1.0"):
        made = module_folder(folder / "made", version=version, weights=WEIGHTS + version.encode())
        client.publish(made, folder / "index")
    return folder / "index"


@pytest.fixture
def index(published: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with glyphs 1.0.0 and 1.1.0, which share their labels."""
    monkeypatch.setenv("HUB_INDEX", str(published))
    return published


def temporary_file(home: Path, content: bytes = WEIGHTS) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    path = home / "arrived"
    path.write_bytes(content)
    return path


def read_only(path: Path) -> bool:
    return path.stat().st_mode & 0o222 == 0


# ---- blobs ----


def test_a_blob_appears_under_its_digest_read_only_and_the_temporary_file_goes(home: Path) -> None:
    arrived = temporary_file(home)
    blob = cache.publish(arrived, DIGEST)
    assert blob == home / "blobs" / "sha256" / DIGEST[:2] / DIGEST
    assert blob.read_bytes() == WEIGHTS
    assert read_only(blob)
    assert not arrived.exists()
    assert cache.has_blob(File("any", DIGEST, len(WEIGHTS)))


def test_wrong_bytes_never_become_a_blob(home: Path) -> None:
    arrived = temporary_file(home, b"other bytes")
    found = hashlib.sha256(b"other bytes").hexdigest()
    with pytest.raises(IntegrityError, match=f"expected sha256 {DIGEST}, found {found}"):
        cache.publish(arrived, DIGEST)
    assert tree(home) == {}


def test_a_damaged_blob_is_not_there_and_is_replaced(home: Path) -> None:
    blob = cache.publish(temporary_file(home), DIGEST)
    blob.chmod(0o644)
    blob.write_bytes(b"WEIGHTS")
    assert not cache.has_blob(file_of("x", WEIGHTS))
    cache.publish(temporary_file(home), DIGEST)
    assert cache.has_blob(file_of("x", WEIGHTS))


@pytest.mark.parametrize("digest", ["", "../../x", "A" * 64, DIGEST[:-1], DIGEST + "\n"])
def test_what_is_no_digest_becomes_no_path(digest: str) -> None:
    with pytest.raises(IntegrityError, match="64 hex digits"):
        cache.blob_path(digest)


# ---- modules ----


def test_an_installed_module_is_the_published_folder(index: Path, home: Path) -> None:
    located = client.install("glyphs")
    assert located.folder == home / "modules" / "glyphs" / "1.1.0"
    there = tree(located.folder)
    record = json.loads(there.pop(".hub.json"))
    assert there == tree(index / "files" / "glyphs" / "1.1.0")
    assert {key: record[key] for key in ("schema", "name", "version", "task", "source", "reference")} == {
        "schema": 1,
        "name": "glyphs",
        "version": "1.1.0",
        "task": "image_classification",
        "source": str(index),
        "reference": "glyphs",
    }
    for file in record["files"]:
        path = located.folder / file["path"]
        assert (file["size"], file["sha256"]) == (
            path.stat().st_size,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        assert (file["mtime_ns"], file["inode"]) == (path.stat().st_mtime_ns, path.stat().st_ino)
        assert read_only(path)
        assert path.samefile(cache.blob_path(file["sha256"]))
    assert list((home / "tmp").iterdir()) == []


def test_two_versions_share_what_is_equal(index: Path) -> None:
    first, second = client.install("glyphs@1.0.0"), client.install("glyphs@1.1.0")
    assert (first.folder / "labels.txt").samefile(second.folder / "labels.txt")
    assert not (first.folder / "weights.safetensors").samefile(second.folder / "weights.safetensors")


def test_a_disk_without_hard_links_gets_copies(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)  # what FAT and some network disks answer
    located = client.install("glyphs")
    path = located.folder / "weights.safetensors"
    assert path.stat().st_nlink == 1
    assert read_only(path)
    assert client.verify_files(located) == []
    assert client.locate("glyphs") == located


def test_uninstalling_frees_only_what_nobody_else_uses(index: Path, home: Path) -> None:
    client.install("glyphs@1.0.0")
    kept = client.install("glyphs@1.1.0")
    before = tree(kept.folder)
    assert [gone.version for gone in client.uninstall("glyphs", "1.0.0")] == ["1.0.0"]
    assert not (home / "modules" / "glyphs" / "1.0.0").exists()
    assert tree(kept.folder) == before
    blobs = {path.name for path in (home / "blobs").rglob("*") if path.is_file()}
    assert blobs == {file["sha256"] for file in json.loads(before[".hub.json"])["files"]}
    client.uninstall("glyphs")
    assert [path for path in home.rglob("*") if path.is_file() and path.parent.name != "locks"] == []
    assert not (home / "modules" / "glyphs").exists()


def test_a_file_of_the_user_keeps_a_module_from_being_uninstalled(index: Path) -> None:
    located = client.install("glyphs")
    (located.folder / "notes.txt").write_text("mine", encoding="utf-8")
    (located.folder / "golden" / ".mine").write_text("mine", encoding="utf-8")
    before = tree(located.folder)
    with pytest.raises(StorageError, match=r"files that hub did not put there: golden/\.mine, notes\.txt"):
        client.uninstall("glyphs")
    assert tree(located.folder) == before


def test_what_stands_in_the_way_is_not_touched(index: Path, home: Path) -> None:
    stranger = home / "modules" / "glyphs" / "1.1.0"
    stranger.mkdir(parents=True)
    (stranger / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(StorageError, match="is in the way"):
        client.install("glyphs")
    assert tree(stranger) == {"thesis.txt": b"mine"}
    assert list((home / "tmp").iterdir()) == []


# ---- changes in place ----


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_file_changed_in_place_is_noticed_at_the_next_load_and_put_right_by_install(index: Path) -> None:
    located = client.install("glyphs")
    path = located.folder / "weights.safetensors"
    right = path.read_bytes()
    overwrite(path, bytes(reversed(right)))  # of the same size
    with pytest.raises(IntegrityError, match=r"weights\.safetensors: changed, expected sha256") as caught:
        client.locate("glyphs")
    assert "hub install glyphs@1.1.0" in caught.value.hint
    assert client.install("glyphs") == located
    assert path.read_bytes() == right
    assert client.locate("glyphs") == located


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "weights.safetensors: missing"),
        (lambda path: overwrite(path, b""), "weights.safetensors: changed, expected 12 bytes, found 0"),
        (lambda path: (path.unlink(), path.symlink_to(__file__)), "weights.safetensors: missing"),
        (lambda path: (path.unlink(), path.mkdir()), "weights.safetensors: missing"),
    ],
    ids=["removed", "emptied", "a link", "a folder"],
)
def test_every_damage_is_named(index: Path, damage: object, says: str) -> None:
    located = client.install("glyphs")
    damage(located.folder / "weights.safetensors")  # type: ignore[operator]
    with pytest.raises(IntegrityError, match=says):
        client.locate("glyphs")
    assert client.verify_files(located) == [says]


def test_a_touched_or_copied_file_is_hashed_once_and_stamped_anew(index: Path) -> None:
    located = client.install("glyphs")
    path = located.folder / "weights.safetensors"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    [record] = cache.installed()
    assert cache.changed(record) == []
    [again] = cache.installed()
    assert again.stamps["weights.safetensors"] == (path.stat().st_mtime_ns, path.stat().st_ino)
    assert again.stamps["labels.txt"] == record.stamps["labels.txt"]


def test_a_module_that_is_uninstalled_while_it_is_looked_at_stays_away(index: Path, home: Path) -> None:
    located = client.install("glyphs")
    [record] = cache.installed()
    for file in record.files:
        os.utime(located.folder / file.path, (1, 1))  # as after a copy of the cache
    hashed: list[str] = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code is sha256_of.__code__:
            hashed.append(str(frame.f_locals["path"]))
            if len(hashed) == len(record.files):  # what another process may do at this moment
                client.uninstall("glyphs")

    sys.setprofile(watch)
    try:
        cache.changed(record)
    finally:
        sys.setprofile(None)
    assert len(hashed) == len(record.files)
    assert not located.folder.exists()
    assert client.install("glyphs").folder == located.folder
    assert cache.changed(record) == []


@linux
def test_what_a_killed_reader_left_is_no_file_of_the_user(index: Path, home: Path) -> None:
    located = client.install("glyphs")
    os.utime(located.folder / "labels.txt", (1, 1))
    code = """
        import os, signal, sys
        from hub.registry import cache
        [record] = cache.installed()
        def die(event, arguments):
            if event == "os.rename":
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(die)
        cache.changed(record)
    """
    assert run_child(code).returncode == -9
    assert len(list(located.folder.glob("*.tmp"))) == 1
    assert housekeeping.verify().findings == []
    client.uninstall("glyphs")
    assert not located.folder.exists()


def test_an_untouched_file_is_not_read_again(index: Path) -> None:
    """What locate() trusts is size, mtime and inode: bytes changed behind all three are for verify_files to find."""
    located = client.install("glyphs")
    path = located.folder / "weights.safetensors"
    seen = path.stat()
    overwrite(path, bytes(reversed(path.read_bytes())))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert client.locate("glyphs") == located
    assert len(client.verify_files(located)) == 1


RECORD_DAMAGES = {
    "empty": b"",
    "cut": b'{"schema": 1, "name": "gly',
    "binary": b"\x00\xff",
    "other name": b'{"schema": 1, "name": "other", "version": "1.1.0"}',
    "newer": b'{"schema": 2, "name": "glyphs", "version": "1.1.0"}',
}


@pytest.mark.parametrize("content", RECORD_DAMAGES.values(), ids=RECORD_DAMAGES)
def test_a_damaged_record_hides_one_module_and_says_so(
    index: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    located = client.install("glyphs@1.1.0")
    other = client.install("glyphs@1.0.0")
    overwrite(located.folder / ".hub.json", content)
    assert [record.version for record in cache.installed()] == ["1.0.0"]
    assert str(located.folder) in caplog.text
    with pytest.raises(IntegrityError, match="record of an installed module"):
        cache.read("glyphs", "1.1.0")
    assert client.locate("glyphs") == other
    with pytest.raises(IntegrityError, match="record of an installed module") as caught:
        client.install("glyphs@1.1.0")
    assert f"move {located.folder} away" in caught.value.hint


def test_a_record_that_an_older_hub_wrote_is_read(index: Path) -> None:
    located = client.install("glyphs")
    record = json.loads((located.folder / ".hub.json").read_bytes())
    assert record.pop("asked") == {"glyphs": record["installed_at"]}
    overwrite(located.folder / ".hub.json", json.dumps(record).encode())
    assert client.locate("glyphs") == located
    [found] = cache.installed()
    assert found.asked == {"glyphs": record["installed_at"]}


def test_the_last_references_are_remembered_and_no_more(index: Path) -> None:
    client.install("glyphs@1.1.0")
    for number in (*range(30), 10, 30):
        cache.remember("glyphs", "1.1.0", reference=f"git+https://host/glyphs@{number}")
    [found] = cache.installed()
    assert set(found.asked) == {f"git+https://host/glyphs@{number}" for number in (10, *range(12, 31))}
    assert found.reference == "git+https://host/glyphs@30"


def test_a_crafted_record_reaches_no_file_outside(index: Path, tmp_path: Path) -> None:
    located = client.install("glyphs")
    record = json.loads((located.folder / ".hub.json").read_text(encoding="utf-8"))
    record["files"][0]["path"] = "../../../../victim.txt"
    overwrite(located.folder / ".hub.json", json.dumps(record).encode())
    assert cache.installed() == []


# ---- killed, full, locked ----

CHILD = """
import os, signal, sys
from hub.registry import client, install, publish, archive
import filelock, secrets, socket

def go(home, verb, kill_at):
    os.environ["HUB_HOME"] = home
    seen = 0
    def count(event, arguments):
        nonlocal seen
        if event in {"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.chmod"}:
            if any(isinstance(a, (str, bytes)) and home in os.fsdecode(a) for a in arguments):
                seen += 1
                if seen == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    getattr(client, verb)("glyphs")
    return seen

base, verb = sys.argv[1:]
step = 0
while True:
    step += 1
    child = os.fork()
    if child == 0:
        go(f"{base}/{step}", verb, step)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(step)
"""


def run_child(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True
    )


def check_home(home: Path, expected: dict[str, bytes]) -> bool:
    """Check that everything visible is right; say whether the module is there."""
    for path in (home / "blobs").rglob("*"):
        assert path.is_dir() or hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    folder = home / "modules" / "glyphs" / "1.1.0"
    if not folder.exists():
        return False
    there = tree(folder)
    assert json.loads(there.pop(".hub.json"))["version"] == "1.1.0"
    assert there == expected
    return True


@linux
@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_killed_at_any_step_a_module_is_absent_or_right_and_the_next_run_finishes(
    verb: str, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is killed before its first, second, … change of the disk, until one comes through."""
    expected = tree(index / "files" / "glyphs" / "1.1.0")
    homes = tmp_path / "homes"
    if verb == "uninstall":
        monkeypatch.setenv("HUB_HOME", str(tmp_path / "template"))
        client.install("glyphs")
        for step in range(1, 200):
            shutil.copytree(tmp_path / "template", homes / str(step))
    else:
        homes.mkdir()
    done = run_child(CHILD, str(homes), verb)
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert 10 < steps < 200
    seen = set()
    for step in range(1, steps):
        home = homes / str(step)
        there = check_home(home, expected)
        seen.add(there)
        if step % 4:
            continue
        monkeypatch.setenv("HUB_HOME", str(home))
        if verb == "install" or not there:
            client.install("glyphs")
            assert check_home(home, expected)
        client.uninstall("glyphs")
        assert not check_home(home, expected)
        assert {path.parent.name for path in home.rglob("*") if path.is_file()} == {"locks"}
        assert list((home / "tmp").iterdir()) == []
    assert seen == {False, True}


@linux
def test_a_full_disk_leaves_nothing_behind(
    index: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit stands for a disk that fills up after the space was checked."""
    before = client.install("glyphs@1.0.0")
    large = module_folder(tmp_path / "made", version="2.0.0", weights=os.urandom(300_000))
    client.publish(large, tmp_path / "index")
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
    seen = tree(home)
    code = """
        import resource
        from hub.errors import StorageError
        from hub.registry import client
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            client.install("glyphs@2.0.0")
        except StorageError as error:
            print(error)
    """
    done = run_child(code)
    assert "File too large" in done.stdout, done.stderr
    assert str(home) in done.stdout
    left = {path: content for path, content in tree(home).items() if path not in seen}
    assert {path.split("/")[0] for path in left} <= {"blobs"}, "what was complete stays for the next try"
    assert not (home / "modules" / "glyphs" / "2.0.0").exists()
    assert list((home / "tmp").iterdir()) == []
    assert client.verify_files(before) == []
    client.install("glyphs@2.0.0")


def test_too_little_space_is_refused_before_a_byte_is_written(
    index: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match=r"needs 1,000,[0-9]{3} bytes of disk space, has 1,000") as caught:
        client.install("glyphs")
    assert "HUB_HOME" in caught.value.hint
    assert not (home / "blobs").exists()
    assert list((home / "tmp").iterdir()) == []


@linux
def test_a_home_that_cannot_be_written_serves_readers_and_refuses_writers(tmp_path: Path) -> None:
    """As another user, where the tests run as root, since root may write anywhere."""
    code = """
        import os, stat, sys, tempfile
        from pathlib import Path
        # The other user may not be able to read this checkout or Python's own files: all is imported before.
        import difflib, filelock, hashlib, secrets, shutil, socket
        from folders import module_folder
        from hub.errors import StorageError
        from hub.registry import archive, client, housekeeping, install, listing, publish, sources
        from hub.registry.catalog import entry

        with tempfile.TemporaryDirectory() as base:
            os.chmod(base, 0o755)
            sources.BUNDLED_FOLDER = entry.FOLDER = Path(base, "nothing")
            os.environ["HUB_HOME"], os.environ["HUB_INDEX"] = f"{base}/home", f"{base}/index"
            for name in ("glyphs", "other"):
                client.publish(module_folder(Path(base, name), name=name), os.environ["HUB_INDEX"])
            located = client.install("glyphs")
            assert client.locate("glyphs") == located
            for folder, folders, files in os.walk(base):
                os.chmod(folder, 0o555)
            root = os.getuid() == 0
            if root:
                os.seteuid(65534)
            assert client.locate("glyphs") == located
            assert client.verify_files(located) == []
            installed = {record.name: record.installed for record in listing.list_modules()}
            assert (installed["glyphs"], installed["other"]) == (True, False)
            for write in (lambda: client.install("other"), lambda: client.uninstall("glyphs")):
                try:
                    write()
                except StorageError as error:
                    print("refused:", error.message.replace(base, ""))
            if root:
                os.seteuid(0)
            for folder, folders, files in os.walk(base):
                os.chmod(folder, 0o755)
    """
    done = run_child(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{textwrap.dedent(code)}"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused: /home/locks/") == 2, done.stdout


LIARS = """
import fcntl, os, sys
fcntl.flock = lambda *arguments: None  # some network disks say yes to everybody
from hub.registry import client, install
import filelock

children = []
for _ in range(6):
    child = os.fork()
    if child == 0:
        for _ in range(3):
            client.install("glyphs")
            assert client.locate("glyphs").version == "1.1.0"
        os._exit(0)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


@linux
def test_locks_that_lie_cost_no_correctness(index: Path, home: Path) -> None:
    done = run_child(LIARS)
    assert done.returncode == 0, done.stderr
    assert check_home(home, tree(index / "files" / "glyphs" / "1.1.0"))
    assert list((home / "tmp").iterdir()) == []


def test_a_lock_that_stays_taken_is_named_in_time(home: Path) -> None:
    taken, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with working("glyphs"):
            taken.set()
            leave.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert taken.wait(10)
        with (
            pytest.raises(StorageError, match=r"glyphs\.lock: another process has held this lock"),
            working("glyphs", timeout_s=0.05),
        ):
            pytest.fail("two writers at once")
        with working("other", timeout_s=0.05):
            pass
    finally:
        leave.set()
        holder.join()
    with working("glyphs", timeout_s=1):
        pass


def test_a_lock_goes_with_its_process(home: Path) -> None:
    code = """
        import os, signal
        from hub.registry.workspace import working
        with working("glyphs"):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_child(code).returncode == -9
    assert len(list((home / "tmp").iterdir())) == 1
    with working("glyphs", timeout_s=1) as work:
        assert list((home / "tmp").iterdir()) == [work]
    assert list((home / "tmp").iterdir()) == []


def test_what_lives_and_what_can_go_on_is_not_swept(home: Path) -> None:
    tmp = home / "tmp"
    ours, elsewhere = owner.mark(), "00000000-1-1"
    partial = f"{DIGEST}.{elsewhere}-00000000.part"
    names = [f"glyphs.{ours}-00000000", f"glyphs.{elsewhere}-00000000", partial, "strange"]
    for name in names:
        (tmp / name).mkdir(parents=True)
    old = tmp / f"glyphs.{elsewhere}-00000001"
    old.mkdir()
    os.utime(old, (0, 0))
    with temporary("other"):
        pass
    assert sorted(path.name for path in tmp.iterdir()) == sorted(names)


def test_a_thread_that_still_writes_leaves_nothing_behind(home: Path) -> None:
    def write(folder: Path) -> None:
        with suppress(OSError):
            for number in range(100_000):
                (folder / str(number)).write_bytes(b"late")
                begun.set()

    for _ in range(20):
        begun = threading.Event()
        with temporary("glyphs") as folder:
            writer = threading.Thread(target=write, args=[folder])
            writer.start()
            assert begun.wait(60)
        writer.join(60)
        assert list((home / "tmp").iterdir()) == []


@linux
def test_what_lives_in_another_container_of_the_same_name_is_not_swept(home: Path) -> None:
    """Process numbers mean nothing there: number 1 here is another process than number 1 there."""
    code = """
        import sys
        from hub.registry.workspace import temporary
        with temporary("theirs") as work:
            print(work, flush=True)
            sys.stdin.read()
    """
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this user cannot make a container")
    with subprocess.Popen(
        [*command, sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout
        assert other.stdin
        theirs = Path(other.stdout.readline().strip())
        with temporary("ours"):
            assert theirs.is_dir()
        other.stdin.close()
    assert not theirs.exists()


def test_an_owner_is_this_very_process() -> None:
    machine, number, began = owner.mark().split("-")
    assert number == str(os.getpid())
    if sys.platform == "linux":
        assert owner.is_gone(owner.mark()) is False
        assert owner.is_gone(f"{machine}-{number}-{int(began) + 1}") is True, (
            "the number was given away again"
        )
        assert owner.is_gone(f"{machine}-{2**22 + 1}-5") is True
    assert owner.is_gone(f"00000000-{number}-{began}") is None
    assert owner.is_gone("nonsense") is None


def test_a_lock_on_a_disk_without_locks_is_done_without(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = """
        import errno, fcntl
        def flock(*arguments):
            raise OSError(errno.ENOLCK, "No locks available")
        fcntl.flock = flock
        from hub.registry.workspace import working
        with working("glyphs") as work:
            print(work.is_dir())
    """
    done = run_child(code)
    assert done.stdout == "True\n"
    assert "this disk has no locks" in done.stderr


def test_looking_around_writes_nothing(index: Path, home: Path) -> None:
    listing.list_modules()
    listing.search("glyphs")
    listing.show("glyphs")
    assert not home.exists()
