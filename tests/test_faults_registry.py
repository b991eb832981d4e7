"""Faults of the index, the cache and the machine, and the table of the whole fault plan (fault_plan.py)."""

from __future__ import annotations

import ast
import errno
import functools
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_plan import PARTLY, PLAN, SCOPE, page
from faultserver import FaultServer, Reply
from folders import module_folder, tree
from hostile import archives

from hub import settings
from hub.cli.main import main
from hub.errors import HubError, IndexFormatError, IntegrityError, NotFoundError, StorageError
from hub.naming import is_module_name
from hub.registry import cache, client, housekeeping, listing, sources, survey
from hub.registry.catalog import entry
from hub.registry.sources.static import SMALL_BYTES

Environment = pytest.MonkeyPatch
HERE = Path(__file__).parent
MOST_LINES = 12
WEIGHTS = bytes(range(256)) * (SMALL_BYTES // 256 + 1)  # large enough for a connection of its own
linux = pytest.mark.skipif(sys.platform != "linux", reason="uses what Linux has")


@pytest.fixture(autouse=True)
def nothing_shipped(tmp_path: Path, monkeypatch: Environment) -> None:
    monkeypatch.setattr(sources, "BUNDLED_FOLDER", tmp_path / "nothing bundled")
    monkeypatch.setattr(entry, "FOLDER", tmp_path / "no catalog")


@pytest.fixture
def home() -> Path:
    return settings.home()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: Environment) -> Path:
    """An index folder with glyphs 1.0.0 and 1.1.0, the only one that is searched."""
    for version in ("1.0.0", "1.1.0"):
        made = module_folder(tmp_path / "made", version=version, weights=WEIGHTS + version.encode())
        client.publish(made, tmp_path / "index")
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
    return tmp_path / "index"


@pytest.fixture
def server(index: Path, monkeypatch: Environment) -> Iterator[FaultServer]:
    """The same index on a server."""
    with FaultServer({f"/hub/{path}": content for path, content in tree(index).items()}) as running:
        monkeypatch.setenv("HUB_INDEX", f"{running.url}/hub")
        yield running


def run_child(code: str, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True, text=True, **more,  # type: ignore[call-overload]
    )  # fmt: skip


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


# ---- the plan ----


@functools.cache
def functions(path: Path) -> frozenset[str]:
    parsed = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in parsed.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("case", SCOPE)
def test_every_case_of_the_plan_names_tests_that_exist(case: str) -> None:
    title, names = PLAN[case]
    assert title
    assert names, f"{case} has no test"
    for name in names:
        file, _, function = name.partition("::")
        assert function in functions(HERE.parent / file), name


def test_every_test_of_a_case_is_in_the_plan() -> None:
    """A test that bears the number of a case counts for it."""
    for path in sorted(HERE.glob("test_*.py")):
        for name in functions(path):
            numbered = re.match(r"test_(F[0-9]{2})_", name)
            if numbered and numbered[1] in SCOPE:
                assert f"tests/{path.name}::{name}" in PLAN[numbered[1]][1]


def test_the_plan_names_no_other_cases_and_at_least_60_tests() -> None:
    assert tuple(PLAN) == SCOPE
    assert set(PARTLY) <= set(SCOPE)
    assert len({name for _, names in PLAN.values() for name in names}) >= 60


def test_the_page_of_the_faults_is_what_the_plan_gives() -> None:
    path = HERE.parent / "docs" / "reference" / "faults.md"
    assert path.read_text(encoding="utf-8") == page(), "python tests/fault_plan.py > docs/reference/faults.md"


# ---- F12: some come, some go ----


@linux
def test_F12_installing_uninstalling_and_pruning_at_once_leaves_one_state_or_the_other(
    server: FaultServer, home: Path
) -> None:
    code = """
        import itertools, os, sys
        from hub.errors import HubError, NotFoundError, StorageError
        from hub.registry import client, housekeeping

        def come(n):
            assert not client.verify_files(client.install(f"glyphs@1.{n % 2}.0"))

        def go(n):
            client.uninstall("glyphs", f"1.{n % 2}.0")

        def tidy(n):
            housekeeping.prune(everything=True)

        def work(act, first):
            for n in range(first, first + 13):
                try:
                    act(n)
                except HubError as error:
                    busy = act is come and type(error) is StorageError and "another process" in str(error)
                    if not (busy or (act is go and type(error) is NotFoundError)):
                        raise

        children = []
        for first, act in enumerate([come] * 4 + [go] * 4 + [tidy]):
            child = os.fork()
            if child == 0:
                try:
                    work(act, first)
                except BaseException:
                    import traceback
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            children.append(child)
        sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
    """
    done = run_child(code, timeout=120)
    assert done.returncode == 0, done.stderr
    assert housekeeping.verify().findings == []
    assert [path for path in tree(home) if path.startswith("tmp/")] == []
    assert client.install("glyphs").version == "1.1.0"


# ---- F26: answers of an index ----

DEEP = b'{"schema": 1, "name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BAD_ANSWERS = {
    "nested 100,000 deep": (Reply(body=DEEP), "nested more than 64 deep"),
    "a key twice": (Reply(body=b'{"schema": 1, "schema": 1}'), "'schema' stands twice"),
    "NaN": (Reply(body=b'{"schema": NaN}'), "NaN, which is no number"),
    "minus infinity": (Reply(body=b'{"schema": -Infinity}'), "-Infinity, which is no number"),
    "a number of 5,000 digits": (Reply(body=b'{"schema": ' + b"9" * 5000 + b"}"), ""),
    "not UTF-8": (Reply(body=b'{"schema": "\xff"}'), "expected UTF-8"),
    "a list": (Reply(body=b"[]"), "expected an object"),
    "endless": (Reply(body=b'{"schema": 1}' * 1000, endless=True), "at most 5,000,000 bytes"),
    "1 GB": (Reply(body=None), "at most 5,000,000 bytes"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_F26_bad_answer_is_refused_and_the_last_good_one_kept(
    name: str, server: FaultServer, tmp_path: Path, monkeypatch: Environment
) -> None:
    reply, says = BAD_ANSWERS[name]
    path = "/hub/modules/glyphs.json"
    good = listing.show("glyphs")
    if name == "1 GB":
        with (tmp_path / "large").open("wb") as file:
            file.truncate(10**9)
        server.documents[path] = tmp_path / "large"
    server.always(path, reply)
    before, peak = server.sent(path), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(IndexFormatError) as caught:
        listing.show("glyphs")
    assert says in caught.value.message
    assert f"{server.url}/hub/modules/glyphs.json" in caught.value.message
    assert len(str(caught.value)) < 1000
    assert len(str(caught.value).splitlines()) <= MOST_LINES
    assert server.sent(path) - before < 8_000_000, "what was under way when the client went away"
    if sys.platform == "linux":  # in KiB
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100 * 1024
    monkeypatch.setenv("HUB_OFFLINE", "1")
    assert listing.show("glyphs") == good


def swap_digests(page: dict, first: int, second: int) -> None:
    files = page["releases"][0]["files"]
    files[first]["sha256"], files[second]["sha256"] = files[second]["sha256"], files[first]["sha256"]
    files[first]["size"], files[second]["size"] = files[second]["size"], files[first]["size"]


def swap_releases(page: dict) -> None:
    one, other = page["releases"]
    one["files"], other["files"] = other["files"], one["files"]


SWAPS = {
    "two files": lambda page: swap_digests(page, 0, -1),
    "two files of a length": lambda page: (
        swap_digests(page, 0, 0) or page["releases"][0]["files"][0].update(sha256="0" * 64)
    ),
    "two releases": swap_releases,
}


@pytest.mark.parametrize("name", SWAPS)
def test_F26_swapped_entries_install_nothing_and_leave_what_is_installed(
    name: str, server: FaultServer, home: Path
) -> None:
    """A page is well-formed and speaks of other bytes than there are: mix and match."""
    good = server.documents["/hub/modules/glyphs.json"]
    assert isinstance(good, bytes)
    older = client.install("glyphs@1.0.0")
    page = json.loads(good)
    SWAPS[name](page)
    wrong = page["releases"][0]["version"]
    server.documents["/hub/modules/glyphs.json"] = json.dumps(page).encode()
    if wrong == "1.0.0":
        client.uninstall("glyphs", "1.0.0")
    before = [record.version for record in cache.installed()]
    for version in {wrong, "1.1.0"} if name == "two releases" else {wrong}:
        with pytest.raises(IntegrityError, match=f"/glyphs/{version}/") as caught:
            client.install(f"glyphs@{version}")
        assert caught.value.hint
    assert [record.version for record in cache.installed()] == before
    assert housekeeping.verify().findings == []
    server.documents["/hub/modules/glyphs.json"] = good
    assert client.install("glyphs@1.0.0") == older
    assert client.install("glyphs").version == "1.1.0"


def test_F26_swapped_pages_are_refused_and_the_last_good_one_kept(
    server: FaultServer, index: Path, tmp_path: Path, monkeypatch: Environment
) -> None:
    client.publish(module_folder(tmp_path / "nets", name="nets"), index)
    pages = [f"/hub/modules/{name}.json" for name in ("glyphs", "nets")]
    server.documents |= {f"/hub/{path}": content for path, content in tree(index).items()}
    good = [listing.show("glyphs"), listing.show("nets")]
    first, second = (server.documents[page] for page in pages)
    server.documents |= {pages[0]: second, pages[1]: first}
    for name in ("glyphs", "nets"):
        with pytest.raises(IndexFormatError, match=f"name: expected '{name}'"):
            client.install(name)
    monkeypatch.setenv("HUB_OFFLINE", "1")
    assert [listing.show("glyphs"), listing.show("nets")] == good


def test_F26_a_module_yaml_that_is_a_list_is_refused(
    server: FaultServer, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An index may promise any bytes, and keep its promise."""
    page, wrong = json.loads(server.documents["/hub/modules/glyphs.json"]), b"[]"  # type: ignore[arg-type]
    [file] = [file for file in page["releases"][-1]["files"] if file["path"] == "module.yaml"]
    file |= {"size": len(wrong), "sha256": hashlib.sha256(wrong).hexdigest()}
    version = page["releases"][-1]["version"]
    server.documents["/hub/modules/glyphs.json"] = json.dumps(page).encode()
    server.documents[f"/hub/files/glyphs/{version}/module.yaml"] = wrong
    assert main(["install", f"glyphs@{version}"]) == 1
    assert f"glyphs {version}: module.yaml: expected an object {{…}}, found []" in capsys.readouterr().err
    assert not (home / "modules" / "glyphs").exists()


# ---- F30: names that are nearly right ----


def misspelt(name: str) -> set[str]:
    """Every name at distance one, by a letter left out, doubled, changed or swapped, and some at distance two."""
    near = set()
    for i in range(len(name)):
        near |= {name[:i] + name[i + 1 :], name[:i] + name[i] + name[i:], name[:i] + "x" + name[i + 1 :]}
        near.add(name[:i] + name[i + 1 : i + 2] + name[i] + name[i + 2 :])
    far = {each[:-1] for each in near} | {each[1:] for each in near}
    return {each for each in near | far if each != name and is_module_name(each)}


def test_F30_a_misspelt_name_is_answered_with_the_right_one_and_never_installed(
    index: Path, home: Path, tmp_path: Path, monkeypatch: Environment
) -> None:
    names = misspelt("glyphs")
    assert len(names) > 50
    monkeypatch.chdir(tmp_path)
    for name in names:
        for verb in (client.install, client.locate, listing.show):
            with pytest.raises(NotFoundError, match=re.escape(repr(name))) as caught:
                verb(name)
            assert "did you mean 'glyphs'?" in caught.value.hint
    assert not (home / "modules").exists()
    module_folder(tmp_path / "glyhps", name="impostor")  # a folder of the misspelt name is offered, not taken
    with pytest.raises(NotFoundError) as caught:
        client.install("glyhps")
    assert "did you mean 'glyphs'?" in caught.value.hint
    assert "./glyhps" in caught.value.hint
    assert not (home / "modules").exists()


# ---- F31: every kind of file of the cache, damaged in every way ----


def one(home: Path, pattern: str) -> Path:
    return sorted(path for path in home.glob(pattern) if path.is_file())[0]


CACHE_FILES = {  # kind: where, and whether `hub cache verify` must list it
    "blob": ("blobs/sha256/*/*", True),
    "weights": ("modules/glyphs/1.1.0/weights.safetensors", True),
    "module.yaml": ("modules/glyphs/1.1.0/module.yaml", True),
    "record": ("modules/glyphs/1.1.0/.hub.json", True),
    "index copy": ("indexes/*/modules/glyphs.json", False),
    "lock": ("locks/glyphs.lock", False),
}
DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: overwrite(path, b""),
    "truncated": lambda path: overwrite(path, path.read_bytes()[: path.stat().st_size // 2]),
    "garbage": lambda path: overwrite(path, os.urandom(max(1, path.stat().st_size))),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a dangling link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "a loop": lambda path: (path.unlink(), path.symlink_to(path.name)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", CACHE_FILES)
def test_F31_damage_is_listed_and_repaired_or_explained(
    kind: str, damage: str, server: FaultServer, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """main() raises whatever is no HubError, so to come back from it is to have shown no traceback."""
    located = client.install("glyphs")
    pattern, must_list = CACHE_FILES[kind]
    path = one(home, pattern)
    DAMAGES[damage](path)
    if kind == "lock" and damage in ("empty", "truncated"):
        assert path.stat().st_size == 0  # that is how a lock looks
    code = main(["cache", "verify"])
    listed = capsys.readouterr().out
    place = (path.parent if kind == "record" else path).relative_to(home).as_posix()
    gone = kind == "blob" and damage in ("missing", "a folder")  # its module has the bytes
    assert (code, place in listed) == ((1, True) if must_list and not gone else (0, False)), listed
    for line in ("list", "cache ls", "search glyphs", "install glyphs", "install glyphs@1.1.0", "doctor"):
        code = main(line.split())
        shown = capsys.readouterr().err
        assert code == 0 or "hint: " in shown or line == "doctor", f"{line}: {shown}"
        assert len(shown.splitlines()) <= MOST_LINES, f"{line}: {shown}"
    refusal = None
    try:
        assert client.install("glyphs") == located
    except HubError as error:
        refusal = error
    if refusal:
        assert str(path) in refusal.message or str(path.parent) in str(refusal), refusal
        assert "move" in refusal.hint or "HUB_HOME" in refusal.hint or "remove" in refusal.hint, refusal
        return
    assert housekeeping.verify().findings == [] or kind == "blob"
    assert (located.folder / "weights.safetensors").read_bytes() == WEIGHTS + b"1.1.0"


@pytest.mark.parametrize("damage", DAMAGES)
def test_F31_show_of_a_damaged_module_says_how_to_repair_it(
    damage: str, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGES[damage](client.install("glyphs").folder / "module.yaml")
    assert main(["show", "glyphs"]) == 1
    assert "hub install glyphs@1.1.0" in capsys.readouterr().err


# ---- F32, F40: a module that somebody uses ----

READER = """
import hashlib, mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
    print(hashlib.sha256(view[: len(view) // 2]).hexdigest(), flush=True)
    sys.stdin.readline()
    print(hashlib.sha256(view).hexdigest(), flush=True)
"""


class Reader:
    """Another process that has a file mapped, and reads the most of it when it is asked to."""

    def __init__(self, path: Path) -> None:
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert len(self.process.stdout.readline()) == 65

    def check(self) -> None:
        out, _ = self.process.communicate("go on\n", timeout=30)
        assert self.process.returncode == 0, "killed by SIGBUS" if self.process.returncode == -7 else out
        assert out.strip() == self.digest


def disk_use(home: Path) -> int:
    seen = {path.lstat().st_ino: path.lstat().st_blocks * 512 for path in [home, *home.rglob("*")]}
    return sum(seen.values())


@linux
def test_F32_uninstall_and_prune_leave_the_process_that_uses_the_module_alone(
    index: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = Reader(client.install("glyphs").folder / "weights.safetensors")
    before = disk_use(home)
    assert main(["cache", "rm", "glyphs", "--json"]) == 0
    assert main(["cache", "prune", "--all", "--json"]) == 0
    decode = json.JSONDecoder().raw_decode
    out = capsys.readouterr().out
    first, end = decode(out)
    second, _ = decode(out[end:].lstrip())
    assert before - disk_use(home) == first["frees_bytes"] + second["frees_bytes"]
    assert cache.installed() == []
    reader.check()


@linux
@pytest.mark.parametrize("how", ["removed by hand", "another release", "damaged", "repaired"])
def test_F40_a_file_in_use_is_only_ever_renamed_over(
    how: str, index: Path, home: Path, tmp_path: Path, monkeypatch: Environment
) -> None:
    located = client.install("glyphs@1.1.0")
    path = located.folder / "weights.safetensors"
    reader, inode = Reader(path), path.stat().st_ino
    if how == "removed by hand":
        path.unlink()
    elif how == "another release":
        client.uninstall("glyphs", "1.1.0")
        client.publish(module_folder(tmp_path / "other", version="1.1.0"), tmp_path / "other_index")
        monkeypatch.setenv("HUB_INDEX", str(tmp_path / "other_index"))
    else:  # by somebody who replaces it in one step, with other bytes
        (tmp_path / "new").write_bytes(bytes(path.stat().st_size))
        (tmp_path / "new").replace(path)
        if how == "repaired":
            housekeeping.verify(repair=True)
    client.install("glyphs@1.1.0")
    assert client.verify_files(client.locate("glyphs@1.1.0")) == []
    if how == "another release":
        assert path.stat().st_ino != inode
    reader.check()


@linux
def test_F40_no_visible_file_is_ever_opened_for_writing(index: Path, home: Path) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from hub.registry import client, housekeeping
        home, wrong = os.environ["HUB_HOME"], []
        public = (f"{home}/blobs/", f"{home}/modules/")

        def watch(event, arguments):
            if event == "os.truncate" and str(arguments[0]).startswith(public):
                wrong.append(f"{event} {arguments[0]}")
            if event == "open" and str(arguments[0]).startswith(public):
                path, mode, flags = arguments
                if flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC) and os.path.exists(path):
                    wrong.append(f"open {path} {mode} {flags:o}")

        sys.addaudithook(watch)
        for _ in range(2):
            located = client.install("glyphs")
            weights = located.folder / "weights.safetensors"
            weights.unlink()
            weights.symlink_to("/dev/null")
            housekeeping.verify(repair=True)
            client.install("glyphs")
            client.install("glyphs@1.0.0")
            client.locate("glyphs")
            housekeeping.prune(everything=True)
            client.uninstall("glyphs")
        print(*wrong, sep="\\n")
    """
    done = run_child(code)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


# ---- F33 ----


@pytest.mark.parametrize("kept", ["nothing", "size", "size and time"])
def test_F33_a_blob_that_was_exchanged_is_refused_at_the_next_load(kept: str, index: Path) -> None:
    located = client.install("glyphs")
    path = located.folder / "weights.safetensors"
    seen = path.stat()
    wrong = path.with_name("wrong")
    wrong.write_bytes(b"x" * (seen.st_size if kept.startswith("size") else 10))
    if kept == "size and time":
        os.utime(wrong, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    wrong.replace(path)
    with pytest.raises(IntegrityError, match=r"weights\.safetensors: changed, expected") as caught:
        client.locate("glyphs")
    assert "hub install glyphs@1.1.0" in caught.value.hint
    assert client.install("glyphs") == located
    assert path.read_bytes() == WEIGHTS + b"1.1.0"


# ---- F38: odd places ----

ODD_HOMES = {
    "any script": "données 数据 🐼 ñ",  # the ñ in two letters
    "blanks and quotes": """ a 'b' "c" $(id) ;&| %s {x} \\ # ? * """,
    "a line feed": "a\nb",
    "not UTF-8": os.fsdecode(b"\xff\xfe"),
    "240 characters": "/".join(["d" * 60] * 4),
    "1,500 characters": "/".join(["d" * 250] * 6),
    "like an option": "--home",
}


@linux
@pytest.mark.parametrize("name", ODD_HOMES)
def test_F38_a_home_of_any_name_works(
    name: str, index: Path, tmp_path: Path, monkeypatch: Environment, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "odd" / ODD_HOMES[name]
    monkeypatch.setenv("HUB_HOME", str(place))
    for line in ("install glyphs", "list", "show glyphs", "cache ls", "cache verify", "cache prune --all",
                 "install glyphs@1.0.0", "uninstall glyphs"):  # fmt: skip
        assert main(line.split()) == 0, capfd.readouterr().err
        assert main([*line.split(), "--json"]) == (line == "uninstall glyphs")
    assert place.is_dir()
    assert not (place / "modules" / "glyphs").exists()


@linux
def test_F38_a_cache_on_another_device_works(index: Path, monkeypatch: Environment) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or os.stat(other).st_dev == index.stat().st_dev or not os.access(other, os.W_OK):
        pytest.skip("there is no other device to write to")
    place = other / f"hub-test-{os.getpid()}"
    monkeypatch.setenv("HUB_HOME", str(place))
    try:
        located = client.install("glyphs")
        assert located.folder.is_relative_to(place)
        assert housekeeping.verify().findings == []
        client.uninstall("glyphs")
    finally:
        shutil.rmtree(place)


@linux
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_F38_under_any_umask_nobody_else_may_write_what_is_installed(
    umask: int, index: Path, home: Path
) -> None:
    before = os.umask(umask)
    try:
        located = client.install("glyphs")
        assert housekeeping.verify().findings == []
    finally:
        os.umask(before)
    blobs = [path for path in (home / "blobs").rglob("*") if path.is_file()]
    files = [path for path in located.folder.rglob("*") if path.is_file() and path.name != cache.RECORD]
    assert len(blobs) == len(files) == 5
    assert [path for path in blobs + files if path.stat().st_mode & 0o222] == []


BROKEN = {errno.EIO: "Input/output error", errno.ESTALE: "Stale file handle", errno.EXDEV: "cross-device"}


@pytest.mark.parametrize("number", BROKEN)
def test_F38_a_disk_that_does_not_rename_is_one_clear_error_and_leaves_nothing(
    number: int, index: Path, home: Path, monkeypatch: Environment
) -> None:
    def replace(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, replace)
    with pytest.raises(StorageError, match=BROKEN[number]) as caught:
        client.install("glyphs")
    assert str(home) in caught.value.message
    assert caught.value.hint
    assert {path.split("/")[0] for path in tree(home)} <= {"locks"}
    monkeypatch.undo()


@linux
def test_F38_a_user_without_a_home_gets_an_answer(tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "XDG_"))}
    variables.pop("HOME", None)
    for more in ({}, {"HOME": "/proc/nowhere"}, {"HUB_HOME": "/proc/x"}):
        for line in ("list", "cache ls", "install ./none/"):
            done = subprocess.run(
                [sys.executable, "-m", "hub", *line.split()],
                env=variables | more, cwd=tmp_path, capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode in (0, 1, 2), done.stderr
            assert "Traceback" not in done.stderr, f"{more} {line}: {done.stderr[-500:]}"


def test_F38_a_home_of_a_user_who_does_not_exist_is_a_usage_error(
    monkeypatch: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUB_HOME", "~nobody_of_this_name/x")
    assert main(["list"]) in (1, 2)
    assert "HUB_HOME" in capsys.readouterr().err


# ---- F67: many at once ----


@linux
def test_F67_sixteen_threads_and_their_forks_transfer_a_module_once(server: FaultServer) -> None:
    code = """
        import os, sys, threading
        from hub.registry import client
        found, start = set(), threading.Barrier(16)

        def load():
            start.wait()
            found.add(client.locate("glyphs").folder)

        def all_at_once():
            threads = [threading.Thread(target=load) for _ in range(16)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            return len(found) == 1

        assert all_at_once()
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                os._exit(0 if all_at_once() and client.locate("glyphs@1.0.0") else 1)
            children.append(child)
        sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
    """
    done = run_child(code, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for version in ("1.0.0", "1.1.0"):
        assert server.sent(f"/hub/files/glyphs/{version}/weights.safetensors") == len(WEIGHTS) + 5
    assert len([seen for seen in server.log if "/files/" in seen.path]) == 5 + 2, (
        "what two releases share, once"
    )
    assert housekeeping.verify().findings == []


# ---- F68: caches of other versions of hub ----


def newer_record(folder: Path) -> None:
    path = folder / cache.RECORD
    record = json.loads(path.read_text(encoding="utf-8"))
    overwrite(path, json.dumps({**record, "schema": 2, "chunks": [1, 2]}).encode())


def test_F68_what_a_newer_hub_installed_is_left_alone_and_refused_clearly(
    index: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    located = client.install("glyphs@1.1.0")
    newer_record(located.folder)
    for bucket in ("blobs-v2/ab/x", "modules-v2/glyphs/2.0.0/.hub.json", "state.sqlite"):
        (home / bucket).parent.mkdir(parents=True, exist_ok=True)
        (home / bucket).write_bytes(b"of a newer hub")
    theirs = ("modules/glyphs/1.1.0/", "blobs-v2/", "modules-v2/", "state.sqlite")
    before = {path: content for path, content in tree(home).items() if path.startswith(theirs)}
    lines = ("list", "show glyphs", "install glyphs@1.0.0", "install glyphs", "install glyphs@1.1.0", "cache ls",
             "uninstall glyphs@1.1.0", "uninstall glyphs", "cache rm glyphs@1.1.0", "cache verify --repair",
             "cache prune --all", "doctor")  # fmt: skip
    for line in lines:
        code = main(line.split())
        shown = capsys.readouterr()
        after = {path: content for path, content in tree(home).items() if path.startswith(theirs)}
        assert after == before, line
        if line == "install glyphs@1.1.0":
            assert code == 1
            assert "pip install -U hubtune" in shown.err
        if line == "doctor":
            assert code == 1
            assert "pip install -U hubtune" in shown.out


def test_F68_what_an_older_hub_left_does_no_harm(index: Path, home: Path) -> None:
    left = {
        "cache.json": b'{"version": 0}',
        "tmp/glyphs-1.0.0.incomplete": b"half",
        "tmp/0a1b.part": b"half",
        "locks/modules.lock": b"4711",
        "modules/glyphs/index.json": b"{}",
        "modules/old_style.tar.gz": b"x",
        "indexes/search.json": b"not even JSON",
        "blobs/md5/ab": b"x",
    }
    for path, content in left.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(content)
    located = client.install("glyphs")
    assert client.locate("glyphs") == located
    assert [record.name for record in listing.list_modules(installed_only=True)] == ["glyphs"]
    assert [module.name for module in survey.survey().modules] == ["glyphs"]
    housekeeping.verify()
    housekeeping.prune()
    client.uninstall("glyphs")
    after = tree(home)
    assert {path for path in left if path not in after} <= {"locks/modules.lock"}, "a lock that nobody holds"


# ---- F70: what an error says ----

SECRET = "CANARY-OF-A-PASSWORD"
PAGE, FILE = "/hub/modules/glyphs.json", "/hub/files/glyphs/1.1.0/weights.safetensors"


class Site:
    """What a fault of the table below may need."""

    def __init__(self, server: FaultServer, folder: Path) -> None:
        self.server, self.folder, self.home = server, folder, settings.home()

    def answer(self, path: str, **fault: object) -> None:
        self.server.always(path, Reply(**fault))  # type: ignore[arg-type]

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def installed(self, file: str, damage: str) -> None:
        DAMAGES[damage](client.install("glyphs").folder / file)

    def module(self, **more: str) -> Path:
        return module_folder(self.folder / "module", **more)


def redirect(to: str) -> dict[str, object]:
    return {"status": 302, "headers": {"Location": to}}


def leave_home_to_a_file(site: Site) -> None:
    site.home.parent.mkdir(exist_ok=True)
    site.home.write_bytes(b"")


def switch_off(site: Site) -> None:
    os.environ["HUB_OFFLINE"] = "1"  # undone with what the fixture of the test set


Fault = tuple[Callable[[Site], object], str, str]
# fault: how it comes about, the command that meets it ({} is a folder), which file, URL or name the message must give
FAULTS: dict[str, Fault] = {
    "401": (lambda s: s.answer(FILE, status=401), "install glyphs", FILE),
    "403": (lambda s: s.answer(PAGE, status=403), "install glyphs", PAGE),
    "404 of a file": (lambda s: s.answer(FILE, status=404), "install glyphs", FILE),
    "410": (lambda s: s.answer(FILE, status=410), "install glyphs", FILE),
    "451": (lambda s: s.answer(FILE, status=451), "install glyphs", FILE),
    "Retry-After of an hour": (
        lambda s: s.answer(FILE, status=503, headers={"Retry-After": "3600"}), "install glyphs", FILE,
    ),
    "a login page": (lambda s: s.answer(PAGE, body=b"<html>log in"), "install glyphs", PAGE),
    "a cut page": (lambda s: s.answer(PAGE, body=b'{"schema": 1, "na'), "show glyphs", PAGE),
    "a newer page": (lambda s: s.answer(PAGE, body=b'{"schema": 2}'), "show glyphs", PAGE),
    "a deep page": (lambda s: s.answer(PAGE, body=DEEP), "install glyphs", PAGE),
    "one bit": (lambda s: s.answer(FILE, flip=1000), "install glyphs", "weights.safetensors"),
    "another file": (lambda s: s.answer(FILE, body=b"other"), "install glyphs", "weights.safetensors"),
    "a circle": (lambda s: s.answer(FILE, **redirect(FILE)), "install glyphs", FILE),
    "to a file": (lambda s: s.answer(FILE, **redirect("file:///etc/passwd")), "install glyphs", "file:"),
    "to the cloud's own": (
        lambda s: s.answer(FILE, **redirect("http://169.254.169.254/x")), "install glyphs", "169.254.169.254",
    ),
    "offline": (switch_off, "install glyphs", "glyphs"),
    "no such index": (lambda s: s.server.documents.clear(), "install glyphs", "/hub"),
    "misspelt": (lambda s: None, "install glyhps", "glyhps"),
    "no such version": (lambda s: None, "install glyphs@9.9", "glyphs"),
    "no version": (lambda s: None, "install glyphs@one", "one"),
    "hostile": (lambda s: None, "install ../glyphs", "glyphs"),
    "not installed": (lambda s: None, "uninstall glyphs", "glyphs"),
    "weights changed": (lambda s: s.installed("weights.safetensors", "garbage"), "show glyphs", "weights.safetensors"),
    "weights gone": (lambda s: s.installed("weights.safetensors", "missing"), "export glyphs --to {}/x.tgz", "weights"),
    "record damaged": (lambda s: s.installed(cache.RECORD, "garbage"), "install glyphs@1.1.0", cache.RECORD),
    "a file for a home": (leave_home_to_a_file, "install glyphs", "hub"),
    "somebody's file": (
        lambda s: (client.install("glyphs").folder / "mine").write_text("x"), "uninstall glyphs", "mine",
    ),
    "no archive": (lambda s: None, "install {}/x.zip", "x.zip"),
    "an empty archive": (lambda s: s.file("x.zip", b""), "install {}/x.zip", "x.zip"),
    "an archive that leaves": (
        lambda s: s.file("x.tar", archives.tar(archives.entry(b"../x"))), "install {}/x.tar", "x.tar",
    ),
    "an archive of something": (
        lambda s: s.file("x.tar", archives.tar(archives.entry(b"a.txt"))), "install {}/x.tar", "x.tar",
    ),
    "no module folder": (lambda s: None, "install {}/", "module.yaml"),
    "a card that does not fit": (
        lambda s: s.file("module/module.yaml", b"name: A\nversion: 1.10"), "install {}/module/", "module.yaml",
    ),
    "an ending of no archive": (lambda s: None, "export glyphs --to {}/x.rar", "x.rar"),
    "an option of another": (lambda s: None, "install glyphs --top-k 3", "--top-k"),
    "no lock file": (lambda s: None, "install --locked --lock {}/none.lock", "none.lock"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_F70_an_error_says_what_where_and_what_to_do_in_few_lines(
    name: str,
    server: FaultServer,
    tmp_path: Path,
    monkeypatch: Environment,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The address of the index carries a password, which no message may repeat."""
    monkeypatch.setenv("HUB_OFFLINE", "0")
    place = server.url.removeprefix("http://")
    monkeypatch.setenv("HUB_INDEX", f"http://user:{SECRET}@{place}/hub")
    (tmp_path / "work").mkdir()
    happen, line, names = FAULTS[name]
    happen(Site(server, tmp_path / "work"))
    capsys.readouterr()
    code = main([word.replace("{}", str(tmp_path / "work")) for word in line.split()])
    out, said = capsys.readouterr()
    lines = said.splitlines()
    assert code in (1, 2), said
    assert (len([each for each in lines if each.startswith("error: ")]), lines[-1][:6]) == (1, "hint: "), said
    assert len(lines) <= MOST_LINES
    assert len(said) < 1500, said
    assert names in said
    assert SECRET not in said + out
    assert "Traceback" not in said
    assert not (tmp_path / "x").exists()
