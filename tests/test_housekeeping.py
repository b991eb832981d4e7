"""Housekeeping: what the cache holds is told truly, what is damaged is found, what is needed is never removed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultserver import FaultServer
from folders import module_folder, tree

from hub import settings
from hub.errors import NotFoundError, TransferError, UsageError
from hub.registry import cache, client, housekeeping, listing, owner, survey
from hub.registry.partial import claim
from hub.registry.workspace import working

DEAD = f"{owner.mark().partition('-')[0]}-{2**22 + 1}-5"  # a number that no process of this machine has
ELSEWHERE = "00000000-1-1"
OLD = 2 * survey.DAY_S
linux = pytest.mark.skipif(sys.platform != "linux", reason="uses what Linux has")


@pytest.fixture
def home() -> Path:
    return settings.home()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    for version in ("1.0.0", "1.1.0"):
        made = module_folder(folder / "made", version=version, weights=version.encode() * 20_000)
        client.publish(made, folder / "index")
    return folder / "index"


@pytest.fixture
def installed(published: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Path]]:
    """Two versions of glyphs, which share all but weights and module.yaml: version to folder."""
    monkeypatch.setenv("HUB_INDEX", str(published))
    yield {version: client.install(f"glyphs@{version}").folder for version in ("1.0.0", "1.1.0")}
    for name in ("modules", "blobs"):  # whatever a test removes, a module that stays is right
        assert (home / name).is_dir()


def disk_use(*paths: Path) -> int:
    """What du says: hard links once, folders too."""
    done = subprocess.run(
        ["du", "-sc", "--block-size=1", *map(str, paths)], capture_output=True, text=True, check=True
    )
    return int(done.stdout.splitlines()[-1].split()[0])


def rot(path: Path) -> None:
    """Change a byte the way a disk does: without a trace in the file's times."""
    before = path.stat()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    for each in [*path.rglob("*"), path]:
        os.utime(each, (then, then))


def orphan(home: Path, content: bytes = b"of no module") -> Path:
    path = home / "arrived"
    home.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return cache.publish(path, hashlib.sha256(content).hexdigest())


# ---- sizes ----


@linux
def test_sizes_are_what_the_disk_says(installed: dict[str, Path], home: Path) -> None:
    found = survey.survey()
    assert found.disk_bytes == disk_use(home)
    assert [(module.name, module.version, module.disk_bytes) for module in found.modules] == [
        ("glyphs", version, disk_use(folder)) for version, folder in installed.items()
    ]
    assert [module.shares_with for module in found.modules] == [("glyphs@1.1.0",), ("glyphs@1.0.0",)]
    assert [item.kind for item in found.remnants] == ["lock"]


@linux
@pytest.mark.parametrize("wanted", [[("glyphs", "1.0.0")], [("glyphs", "1.0")], [("glyphs", None)]])
def test_a_removal_frees_what_was_said(
    wanted: list[tuple[str, str | None]], installed: dict[str, Path], home: Path
) -> None:
    before, files = disk_use(home), tree(home)
    said = housekeeping.remove(wanted, dry_run=True)
    assert tree(home) == files
    done = housekeeping.remove(wanted)
    assert done == said
    assert before - disk_use(home) == done.frees_bytes > 100_000
    gone = {record.version for record in done.modules}
    assert gone == ({"1.0.0"} if wanted[0][1] else {"1.0.0", "1.1.0"})
    assert {version for version, folder in installed.items() if not folder.exists()} == gone
    assert {record.version for record in cache.installed("glyphs")} == {"1.0.0", "1.1.0"} - gone


def test_a_shared_file_is_not_freed_by_one_of_its_modules(installed: dict[str, Path]) -> None:
    one, other = survey.survey().modules
    both = housekeeping.remove([("glyphs", None)], dry_run=True).frees_bytes
    assert one.frees_bytes < one.disk_bytes
    assert one.frees_bytes + other.frees_bytes < both


@linux
def test_copies_count_as_often_as_they_are_there(
    installed: dict[str, Path], home: Path, tmp_path: Path
) -> None:
    """Where the disk has no hard links, or where a cache was copied without them."""
    weights = installed["1.0.0"] / "weights.safetensors"
    content = weights.read_bytes()
    before = next(module for module in survey.survey().modules if module.version == "1.0.0")
    weights.unlink()
    weights.write_bytes(content)
    os.sync()
    after = next(module for module in survey.survey().modules if module.version == "1.0.0")
    assert after.disk_bytes - before.disk_bytes == disk_use(weights)
    assert after.frees_bytes - before.frees_bytes == disk_use(weights)


@linux
def test_a_removal_frees_what_was_said_where_nothing_is_linked(
    installed: dict[str, Path], home: Path
) -> None:
    for path in [path for path in home.rglob("*") if path.is_file()]:
        content, mode = path.read_bytes(), path.stat().st_mode
        path.unlink()
        path.write_bytes(content)
        path.chmod(mode)
    os.sync()
    before = disk_use(home)
    frees_bytes = housekeeping.remove([("glyphs", "1.0.0")]).frees_bytes
    assert before - disk_use(home) == frees_bytes


def test_remove_takes_all_or_nothing(installed: dict[str, Path], home: Path) -> None:
    before = tree(home)
    with pytest.raises(NotFoundError, match="glyph is not installed") as caught:
        housekeeping.remove([("glyphs", "1.0.0"), ("glyph", None)])
    assert "did you mean 'glyphs'" in caught.value.hint
    bundled = next(record.name for record in listing.list_modules() if record.source == "bundled")
    with pytest.raises(UsageError, match="ships with hub"):
        housekeeping.remove([("glyphs", "1.0.0"), (bundled, None)])
    assert tree(home) == before


def test_an_empty_cache_is_looked_at_and_pruned_without_making_it(home: Path) -> None:
    assert survey.survey() == survey.Survey((), (), 0)
    assert housekeeping.verify() == housekeeping.Verified(0, [])
    assert housekeeping.prune(everything=True) == []
    assert not home.exists()


# ---- last use ----


def test_the_last_use_is_told(installed: dict[str, Path]) -> None:
    for folder in installed.values():
        os.utime(folder / cache.RECORD, (1000, 1000))
    assert {module.used_at for module in survey.survey().modules} == {1000}
    start = time.time() - 1
    client.locate("glyphs@1.0.0")
    used = {module.version: module.used_at for module in survey.survey().modules}
    assert used["1.0.0"] > start
    assert used["1.1.0"] == 1000
    cache.mark_used(installed["1.0.0"] / "nowhere")  # a bundled module has no record, and needs none


# ---- prune ----


def in_tmp(home: Path, name: str) -> Path:
    path = home / "tmp" / name
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "data").write_bytes(b"x" * 10_000)
    return path


def left_by_writer(home: Path) -> Path:
    path = home / "indexes" / "0123456789abcdef" / ".search.json.17-0123abcd.tmp"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    return path


@pytest.mark.parametrize(
    ("make", "seconds", "kind", "by_default", "with_all"),
    [
        (orphan, 0, "blob", False, True),
        (orphan, OLD, "blob", True, True),
        ("key.free-00000000.part", 0, "partial", False, True),
        ("key.free-00000000.part", OLD, "partial", True, True),
        ("key.{dead}-00000000.part", 0, "partial", False, True),
        ("key.{dead}-00000000.part", OLD, "partial", True, True),
        ("key.{elsewhere}-00000000.part", 0, "partial", False, False),
        ("key.{elsewhere}-00000000.part", OLD, "partial", True, True),
        ("key.{mine}-00000000.part", OLD, "partial", False, False),
        ("glyphs.{dead}-00000000", 0, "work", True, True),
        ("glyphs.{elsewhere}-00000000", 0, "work", False, False),
        ("glyphs.{elsewhere}-00000000", OLD, "work", True, True),
        ("glyphs.{mine}-00000000", OLD, "work", False, False),
        ("strange", 0, "leftover", False, False),
        ("strange", OLD, "leftover", True, True),
        (left_by_writer, 0, "leftover", False, False),
        (left_by_writer, OLD, "leftover", True, True),
    ],
)
@linux
def test_prune_removes_what_nobody_needs_and_nothing_else(
    make: object, seconds: float, kind: str, by_default: bool, with_all: bool, home: Path
) -> None:
    (home / "tmp").mkdir(parents=True)
    owners = {"mine": owner.mark(), "dead": DEAD, "elsewhere": ELSEWHERE}
    path = make(home) if callable(make) else in_tmp(home, str(make).format(**owners))
    age(path, seconds)
    for everything, goes in ((False, by_default), (True, with_all)):
        files = tree(home)
        said = housekeeping.prune(everything=everything, dry_run=True)
        assert tree(home) == files
        assert [(item.kind, item.path) for item in said] == ([(kind, path)] if goes else [])
        [item] = survey.survey().remnants
        assert (item.kind, item.path) == (kind, path)
    before = disk_use(home)
    removed = housekeeping.prune(everything=not by_default)
    assert path.exists() != (by_default or with_all)
    assert removed == said
    if removed:
        assert before - disk_use(home) == removed[0].frees_bytes


def test_prune_leaves_modules_and_index_copies_alone(installed: dict[str, Path], home: Path) -> None:
    kept = home / "indexes" / "0123456789abcdef" / "search.json"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"a copy")
    age(home, OLD)
    before = tree(home)
    assert {item.kind for item in housekeeping.prune(everything=True)} == {"lock"}
    after = tree(home)
    assert {path for path in before if path not in after} == {"locks/glyphs.lock"}
    assert client.verify_files(client.locate("glyphs@1.0.0")) == []


def test_blobs_stay_while_somebody_installs(home: Path) -> None:
    blob = orphan(home)
    age(blob, OLD)
    with working("glyphs"):
        assert housekeeping.prune(everything=True) == []
        assert blob.exists()
    assert [item.path for item in housekeeping.prune() if item.kind == "blob"] == [blob]


def test_a_lock_goes_unless_it_is_held(home: Path) -> None:
    with working("mine"), working("other"):
        pass
    with working("mine"):
        locks = {item.path.name for item in survey.survey().remnants if item.kind == "lock"}
        assert locks == {"mine.lock", "other.lock"}
        assert [item.path.name for item in housekeeping.prune()] == ["other.lock"]
        assert (home / "locks" / "mine.lock").exists()
    with working("other", timeout_s=1):  # it is made anew
        pass


def test_the_download_of_a_killed_process_goes_and_that_of_a_living_one_stays(home: Path) -> None:
    code = """
        import os, signal
        from hub import settings
        from hub.registry.partial import claim
        tmp = settings.home() / "tmp"
        tmp.mkdir(parents=True)
        with claim(tmp, "dead", size=100_000) as partial:
            gap = partial.take(None)
            partial.begin(gap, source="s", etag=None, size=None)
            partial.write(gap, bytes(50_000))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_child(code).returncode == -9
    with claim(home / "tmp", "alive", size=100_000) as partial:
        age(home / "tmp", OLD)
        [removed] = housekeeping.prune()
        assert removed.path.name.startswith("dead.")
        assert partial.data.is_file()
    assert [path.name for path in (home / "tmp").iterdir()] == []


def run_child(code: str) -> subprocess.CompletedProcess[str]:
    start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    return subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code)], capture_output=True, text=True
    )


# ---- verify ----


def test_a_sound_cache_has_no_findings_and_each_byte_is_read_once(
    installed: dict[str, Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_INDEX", "https://nowhere.invalid")
    opened = []
    sys.addaudithook(lambda event, details: opened.append(str(details[0])) if event == "open" else None)
    done = housekeeping.verify()
    assert done.findings == []
    weights = [path for path in opened if path.startswith(str(home)) and os.path.getsize(path) > 50_000]
    assert len(weights) == len(installed)
    blobs = [path for path in tree(home) if path.startswith("blobs/")]
    assert done.files == len(blobs) + 2 * 5


def test_rot_is_found_and_repaired_by_the_next_install(installed: dict[str, Path], home: Path) -> None:
    weights = installed["1.0.0"] / "weights.safetensors"
    expected = weights.read_bytes()
    rot(weights)
    client.locate("glyphs@1.0.0").folder.joinpath("module.yaml").read_bytes()  # the quick look sees nothing
    blob = cache.blob_path(hashlib.sha256(expected).hexdigest()).relative_to(home).as_posix()
    paths = ["modules/glyphs/1.0.0/weights.safetensors", blob]
    found = housekeeping.verify().findings
    assert [(finding.path, finding.removed) for finding in found] == [(path, False) for path in paths]
    assert all("changed, expected sha256" in finding.problem for finding in found)
    assert housekeeping.verify([("glyphs", "1.1.0")]).findings == []
    assert housekeeping.verify([("glyphs", "1.0")]).findings == found
    repaired = housekeeping.verify([("glyphs", "1.0.0")], repair=True).findings
    assert [(finding.path, finding.removed) for finding in repaired] == [(path, True) for path in paths]
    assert client.install("glyphs@1.0.0").folder == installed["1.0.0"]
    assert weights.read_bytes() == expected
    assert housekeeping.verify().findings == []


def test_a_damaged_file_beside_a_sound_blob_is_repaired_without_a_source(
    installed: dict[str, Path], monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    labels = installed["1.0.0"] / "labels.txt"
    expected = labels.read_bytes()
    labels.unlink()
    labels.write_bytes(b"z" * len(expected))
    assert [finding.removed for finding in housekeeping.verify(repair=True).findings] == [True]
    assert not labels.exists()
    client.install("glyphs@1.0.0")
    assert labels.read_bytes() == expected


@pytest.mark.parametrize(("offline", "refusal"), [("0", "answered 404"), ("1", "HUB_OFFLINE forbids")])
def test_an_index_repairs_what_is_gone_where_it_came_from(
    offline: str, refusal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = module_folder(tmp_path / "made")
    client.publish(made, tmp_path / "index")
    archive = Path(shutil.make_archive(str(tmp_path / "glyphs"), "zip", made))
    with FaultServer({"/glyphs.zip": archive.read_bytes()}) as server:
        folder = client.install(f"{server.url}/glyphs.zip").folder
        server.documents.clear()
        (folder / "labels.txt").unlink()
        monkeypatch.setenv("HUB_OFFLINE", offline)
        with pytest.raises(TransferError, match=refusal):
            client.install("glyphs")
        monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
        assert client.install("glyphs").source == str(tmp_path / "index")
    assert (folder / "labels.txt").read_bytes() == (made / "labels.txt").read_bytes()


def test_what_hub_did_not_put_there_is_told_and_stays(installed: dict[str, Path], home: Path) -> None:
    strange = [
        home / "blobs" / "sha256" / "notes",
        installed["1.0.0"] / ".notes",
        home / "modules" / "My Notes" / "1",
    ]
    strange[2].parent.mkdir()
    for path in strange:
        path.write_bytes(b"mine")
    record = installed["1.1.0"] / cache.RECORD
    record.write_bytes(b"{")
    found = housekeeping.verify(repair=True).findings
    assert sorted(finding.path for finding in found) == sorted(
        path.relative_to(home).as_posix() for path in [*strange, record.parent]
    )
    assert not any(finding.removed for finding in found)
    assert all(path.read_bytes() == b"mine" for path in strange)


@pytest.mark.parametrize("wanted", [("glyphs", "9.0.0"), ("glyph", None)])
def test_verify_refuses_what_is_not_installed(
    wanted: tuple[str, str | None], installed: dict[str, Path]
) -> None:
    with pytest.raises(NotFoundError, match="is not installed"):
        housekeeping.verify([wanted])


# ---- a cache that cannot be written ----


@linux
def test_a_read_only_cache_is_looked_at_and_never_cleaned() -> None:
    """As another user, where the tests run as root, since root may write anywhere."""
    code = """
        import os
        import filelock, secrets, socket, tempfile
        from pathlib import Path
        from folders import module_folder
        from hub.errors import StorageError
        from hub.registry import archive, cache, client, housekeeping, install, publish, survey

        with tempfile.TemporaryDirectory() as base:
            os.chmod(base, 0o755)
            os.environ["HUB_HOME"], os.environ["HUB_INDEX"] = f"{base}/home", f"{base}/index"
            client.publish(module_folder(Path(base, "made")), f"{base}/index")
            located = client.install("glyphs")
            before = survey.survey()
            for folder, folders, files in os.walk(base):
                os.chmod(folder, 0o555)
            root = os.getuid() == 0
            if root:
                os.seteuid(65534)
            assert survey.survey() == before
            assert housekeeping.verify().findings == []
            cache.mark_used(located.folder)
            for write in (
                lambda: housekeeping.prune(),
                lambda: housekeeping.prune(dry_run=True),
                lambda: housekeeping.remove([("glyphs", None)]),
                lambda: housekeeping.verify(repair=True),
            ):
                try:
                    write()
                except StorageError as error:
                    print(error.message.removeprefix(base))
            if root:
                os.seteuid(0)
            for folder, folders, files in os.walk(base):
                os.chmod(folder, 0o755)
    """
    done = run_child(code)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.splitlines() == ["/home: nothing can be removed from this cache: Permission denied"] * 4
    )
