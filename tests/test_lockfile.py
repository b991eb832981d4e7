"""hub.lock: the same modules to the byte on another machine, or none, and no network for what is here."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faultserver import FaultServer
from folders import file_of, module_folder, tree
from hypothesis import given
from hypothesis import strategies as st
from locking import check_lock

from hub import settings
from hub.cli.main import main
from hub.errors import IndexFormatError, IntegrityError, NotFoundError, OfflineError
from hub.files import sha256_of
from hub.naming import is_module_name
from hub.registry import cache, client, listing, lockfile
from hub.registry.archive import pack
from hub.registry.catalog import entry as catalog
from hub.registry.index import File, dump_search
from hub.registry.lockfile import Locked
from hub.registry.sources.catalog import CatalogSource

Capture = pytest.CaptureFixture[str]
FILES = (file_of("labels.txt", b"a"), file_of("module.yaml", b"b"))
GOOD = {
    "schema": 1,
    "modules": [
        {"name": "glyphs", "version": "1.0.0", "source": "s", "files": [file.to_dict() for file in FILES]}
    ],
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    for name, version in (("glyphs", "1.0.0"), ("glyphs", "1.1.0"), ("other", "1.0.0")):
        made = module_folder(
            folder / "made", name=name, version=version, weights=f"{name} {version}".encode()
        )
        client.publish(made, folder / "index")
    return folder / "index"


@pytest.fixture
def index(published: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HUB_INDEX", str(published))
    monkeypatch.chdir(tmp_path)
    return published


@pytest.fixture
def locked(index: Path, tmp_path: Path) -> Path:
    """A lock of glyphs 1.0.0 and other 1.0.0, which are not here any more."""
    path = tmp_path / "hub.lock"
    assert main(["install", "other", "glyphs@1.0.0", "--lock", "hub.lock", "--quiet"]) == 0
    shutil.rmtree(settings.home())
    return path


def installed() -> list[tuple[str, str]]:
    return [(record.name, record.version) for record in cache.installed()]


# ---- the file ----


def test_the_file_is_sorted_whole_and_the_same_for_the_same_modules(tmp_path: Path) -> None:
    modules = [
        Locked("glyphs", "1.0.0", "elsewhere", FILES),
        Locked("abc", "2.0", "bundled", (file_of("module.yaml", b"c"),)),
    ]
    lockfile.write(tmp_path / "a", modules)
    turned = [Locked(m.name, m.version, m.source, m.files[::-1]) for m in modules[::-1]]
    lockfile.write(tmp_path / "b", turned)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert lockfile.read(tmp_path / "a") == tuple(modules[::-1])
    lines = (tmp_path / "a").read_text(encoding="utf-8").splitlines()
    assert sum("sha256" in line for line in lines) == 3, "a changed file is a changed line"


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}x", fullmatch=True).filter(is_module_name)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
locks = st.builds(
    lambda name, version, source, digest, size: Locked(name, version, source, (File("f", digest, size),)),
    names,
    st.sampled_from(["1.0.0", "2!1.0rc1", "0"]),
    st.text(st.characters(categories=["L", "N", "P"]), max_size=20),
    digests,
    st.integers(0, 2**53 - 1),
)


@given(modules=st.lists(locks, max_size=5, unique_by=lambda module: module.name))
def test_what_is_written_is_what_is_read(
    modules: list[Locked], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.lock"
    lockfile.write(path, modules)
    assert {module.name: module for module in lockfile.read(path)} == {m.name: m for m in modules}


def changed(*keys: str | int, to: Any) -> dict[str, Any]:
    value = json.loads(json.dumps(GOOD))
    *way, last = keys
    place = value
    for key in way:
        place = place[key]
    place[last] = to
    return dict(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (changed("schema", to=2), "schema: expected at most 1, which this hub reads, found 2"),
        (changed("modules", to={}), r"modules: expected a list \[…\], found {}"),
        (changed("modules", 0, "name", to="../x"), r"modules\[0\]\.name: expected a module name.*found '../x'"),
        (changed("modules", 0, "version", to="1.0-beta"), r"modules\[0\]\.version: expected a version by PEP 440"),
        (changed("modules", 0, "source", to="a\nb"), r"modules\[0\]\.source: expected one line"),
        (changed("modules", 0, "files", to=[]), r"modules\[0\]\.files: expected from 1 to"),
        (changed("modules", 0, "files", 1, "path", to="../x"), r"files\[1\]\.path: expected a path inside"),
        (changed("modules", 0, "files", 1, "path", to="LABELS.txt"), r"expected no second file"),
        (changed("modules", 0, "files", 0, "sha256", to="abc"), r"files\[0\]\.sha256: expected 64 hex digits"),
        (changed("modules", 0, "files", 0, "size", to=-1), r"files\[0\]\.size: expected a whole number"),
        (changed("modules", to=[*GOOD["modules"], *GOOD["modules"]]), r"modules\[1\]\.name: expected every module"),
        ({"schema": 1}, "modules: missing"),
        ([], r"expected an object {…}, found \[\]"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_lock_file_is_told_with_its_place(
    value: object, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "hub.lock"
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(IndexFormatError, match=message) as caught:
        lockfile.read(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"<<<<<<< ours\n"])
def test_what_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hub.lock"
    path.write_bytes(content)
    with pytest.raises(IndexFormatError, match=r"hub\.lock"):
        lockfile.read(path)


@pytest.mark.parametrize("mark", ["<<<<<<< ours", "=======", ">>>>>>> theirs"])
def test_a_merge_conflict_is_told_with_its_line_also_when_it_is_half_settled(
    mark: str, tmp_path: Path
) -> None:
    path = tmp_path / "hub.lock"
    path.write_text(f'{{"schema": 1, "modules": [\n{mark}\n]}}', encoding="utf-8")
    with pytest.raises(IndexFormatError, match=r"hub\.lock, line 2: expected JSON, found a merge conflict"):
        lockfile.read(path)


def test_the_mark_that_windows_editors_put_first_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "hub.lock"
    path.write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert lockfile.read(path) == (Locked("glyphs", "1.0.0", "s", FILES),)


# ---- hub install --lock ----


def test_install_with_a_lock_adds_and_replaces(index: Path, tmp_path: Path) -> None:
    path = tmp_path / "project.lock"
    assert main(["install", "glyphs@1.0.0", "--lock", str(path)]) == 0
    [glyphs] = lockfile.read(path)
    assert (glyphs.name, glyphs.version, glyphs.source) == ("glyphs", "1.0.0", str(index))
    assert {file.path: (file.sha256, file.size) for file in glyphs.files} == {
        name: (file_of(name, content).sha256, len(content))
        for name, content in tree(index / "files" / "glyphs" / "1.0.0").items()
    }
    assert main(["install", "other", "glyphs", "--lock", str(path)]) == 0
    assert [(module.name, module.version) for module in lockfile.read(path)] == [
        ("glyphs", "1.1.0"),
        ("other", "1.0.0"),
    ]


def test_a_bundled_module_can_be_locked(tmp_path: Path) -> None:
    name = next(record.name for record in listing.list_modules() if record.source == "bundled")
    path = str(tmp_path / "hub.lock")
    assert main(["install", name, "--lock", path]) == 0
    assert main(["install", "--locked", "--lock", path]) == 0
    [module] = lockfile.read(Path(path))
    assert (module.name, module.source) == (name, "bundled")


def test_a_lock_of_other_files_than_ship_with_hub_is_told_what_has_them(tmp_path: Path) -> None:
    path = tmp_path / "hub.lock"
    locked = lockfile.lock(client.locate("glyphs_cnn"))
    changed = replace(locked.files[0], sha256="0" * 64)
    with pytest.raises(IntegrityError, match=f"with other files: {changed.path}") as caught:
        lockfile.install_locked(replace(locked, files=(changed, *locked.files[1:])), lock_file=path)
    assert caught.value.hint.startswith(
        "it ships with hub: install the hub that it was locked with, or lock it again: "
    )


def test_two_that_lock_at_once_both_stand_in_the_file(index: Path, tmp_path: Path) -> None:
    modules = [client.install("glyphs"), client.install("other")]
    path = tmp_path / "project" / "hub.lock"
    together = threading.Barrier(len(modules))

    def add(module: client.Located) -> None:
        together.wait()
        lockfile.add(path, [module])

    for _ in range(20):
        with ThreadPoolExecutor() as pool:
            list(pool.map(add, modules))
        assert [module.name for module in lockfile.read(path)] == ["glyphs", "other"]
        assert [each.name for each in path.parent.iterdir()] == ["hub.lock"]
        path.unlink()


def test_a_failed_install_leaves_the_lock_as_it_was(locked: Path) -> None:
    before = locked.read_bytes()
    assert main(["install", "glyphs", "nonsense", "--lock", str(locked)]) == 1
    assert locked.read_bytes() == before


def test_a_damaged_lock_is_refused_before_anything_is_fetched(locked: Path, capsys: Capture) -> None:
    locked.write_text("{", encoding="utf-8")
    assert main(["install", "glyphs", "--lock", str(locked)]) == 1
    assert "cut short" in capsys.readouterr().err
    assert installed() == []
    assert locked.read_text(encoding="utf-8") == "{"


# ---- hub install --locked ----


def test_locked_installs_exactly_these(locked: Path, capsys: Capture) -> None:
    assert main(["install", "--locked"]) == 0
    assert installed() == [("glyphs", "1.0.0"), ("other", "1.0.0")]
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["glyphs", "1.0.0"],
        ["other", "1.0.0"],
    ]
    for module in lockfile.read(locked):
        assert set(cache.read(module.name, module.version).files) == set(module.files)


def test_other_bytes_at_the_source_are_refused_before_they_are_fetched(
    locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    made = module_folder(tmp_path / "made", version="1.0.0", weights=b"evil")
    client.publish(made, tmp_path / "evil")
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "evil"))
    assert main(["install", "--locked"]) == 1
    shown = capsys.readouterr().err
    assert "hub.lock: glyphs 1.0.0: expected the locked files" in shown
    assert "other module.yaml, weights.safetensors" in shown
    assert installed() == []
    assert not (settings.home() / "blobs").exists()


def test_the_digests_decide_which_of_several_sources_is_used(
    locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Path
) -> None:
    made = module_folder(tmp_path / "made", version="1.0.0", weights=b"another")
    client.publish(made, tmp_path / "first")
    monkeypatch.setenv("HUB_INDEX", f"{tmp_path / 'first'} {index}")
    assert main(["install", "--locked"]) == 0
    assert cache.read("glyphs", "1.0.0").source == str(index)


def test_other_files_on_this_machine_are_refused(locked: Path, tmp_path: Path) -> None:
    client.install(module_folder(tmp_path / "made", version="1.0.0", weights=b"of my own"))
    [glyphs, _] = lockfile.read(locked)
    with pytest.raises(
        IntegrityError, match=r"on this machine with other files: module.yaml, weights"
    ) as caught:
        lockfile.install_locked(glyphs, lock_file=locked)
    assert "hub uninstall glyphs@1.0.0" in caught.value.hint


def test_a_changed_file_is_put_right_and_not_given_out(locked: Path) -> None:
    assert main(["install", "--locked"]) == 0
    path = cache.read("glyphs", "1.0.0").folder / "labels.txt"
    path.unlink()
    path.write_text("changed", encoding="utf-8")
    assert main(["install", "--locked"]) == 0
    assert path.read_text(encoding="utf-8") == "a\nb\n"


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize("line", [["--locked"], ["glyphs@1.0.0"], ["glyphs"]], ids=" ".join)
def test_what_came_from_an_archive_is_put_right_from_there(
    line: list[str], repair: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    packed = tmp_path / "packed.tar.gz"
    pack(module_folder(tmp_path / "made"), packed)
    assert main(["install", "./packed.tar.gz", "--lock", "hub.lock"]) == 0
    record = cache.read("glyphs", "1.0.0")
    weights = record.folder / "weights.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"Weights")
    if repair:
        assert main(["cache", "verify", "--repair"]) == 1
    capsys.readouterr()
    moved = packed.rename(tmp_path / "moved.tar.gz")
    assert main(["install", *line]) == 1  # and where its source is gone, it says which that was
    assert str(packed) in capsys.readouterr().err
    moved.rename(packed)
    assert main(["install", *line]) == 0
    assert weights.read_bytes() == b"weights"
    assert cache.read("glyphs", "1.0.0").source == record.source


def test_a_changed_module_is_not_put_right_with_other_files(tmp_path: Path) -> None:
    made = module_folder(tmp_path / "made")
    client.install(made)
    record = cache.read("glyphs", "1.0.0")
    (record.folder / "labels.txt").unlink()
    module_folder(made, weights=b"trained since")
    with pytest.raises(IntegrityError, match=r"labels\.txt: missing") as caught:
        client.install("glyphs")
    assert f"{made} still has these files" in caught.value.hint


def test_what_no_index_has_is_told_with_where_it_came_from(
    locked: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HUB_INDEX")
    with pytest.raises(NotFoundError, match=f"no index has it; it came from {index}"):
        lockfile.install_locked(lockfile.read(locked)[0], lock_file=locked)


def test_a_module_from_a_folder_is_checked_against_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module_folder(tmp_path / "made")
    assert main(["install", "./made", "--lock", "hub.lock"]) == 0
    assert main(["install", "--locked"]) == 0
    [module] = lockfile.read(tmp_path / "hub.lock")
    assert module.source == str(tmp_path / "made")


def test_another_version_at_the_place_that_a_lock_names_is_told(tmp_path: Path, capsys: Capture) -> None:
    made, path = module_folder(tmp_path / "made"), tmp_path / "hub.lock"
    assert main(["install", str(made), "--lock", str(path)]) == 0
    path.write_text(path.read_text(encoding="utf-8").replace('"1.0.0"', '"9.9.9"'), encoding="utf-8")
    assert main(["install", "--locked", "--lock", str(path)]) == 1
    assert (
        f"glyphs 9.9.9: expected the locked files, but {made} has glyphs 1.0.0\n" in capsys.readouterr().err
    )


def test_a_folder_that_was_changed_since_is_told_by_its_lock_and_shown(
    tmp_path: Path, capsys: Capture
) -> None:
    made, path = module_folder(tmp_path / "made"), tmp_path / "hub.lock"
    assert main(["install", str(made), "--lock", str(path)]) == 0
    assert main(["uninstall", "glyphs"]) == 0
    (made / "weights.safetensors").write_bytes(b"WEIGHTS")
    assert main(["install", "--locked", "--lock", str(path)]) == 1
    said = f"glyphs 1.0.0: expected the locked files, but {made} has other weights.safetensors\n"
    assert said in capsys.readouterr().err
    assert listing.show(f"{made}/")["version"] == "1.0.0"


def test_a_lock_that_is_a_link_stays_one(index: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    Path("hub.lock").symlink_to(tmp_path / "shared" / "hub.lock")
    for name in ("glyphs", "other"):
        assert main(["install", name, "--lock", "hub.lock"]) == 0
    assert Path("hub.lock").is_symlink()
    assert [module.name for module in lockfile.read(tmp_path / "shared" / "hub.lock")] == ["glyphs", "other"]


def test_archives_of_the_web_and_of_this_machine_can_be_locked(tmp_path: Path, capsys: Capture) -> None:
    packed = tmp_path / "packed.tar.gz"
    pack(module_folder(tmp_path / "made"), packed)
    check_lock(str(packed), tmp_path, capsys)
    with FaultServer({"/glyphs.tar.gz": packed.read_bytes()}) as server:
        check_lock(f"{server.url}/glyphs.tar.gz", tmp_path, capsys)
        server.documents["/latest"] = packed.read_bytes()
        check_lock(f"{server.url}/latest#sha256={sha256_of(packed)}", tmp_path, capsys)


def test_a_place_with_two_blanks_in_a_row_is_found_again(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "two  blanks").mkdir()
    packed = tmp_path / "two  blanks" / "packed.tar.gz"
    pack(module_folder(tmp_path / "two  blanks" / "made"), packed)
    check_lock(str(packed), tmp_path, capsys)
    check_lock(f"{tmp_path}/two  blanks/made/", tmp_path, capsys)


def test_a_version_is_meant_as_it_is_written_where_its_other_spelling_is_here_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By PEP 440 1.0 is 1.0.0, and an index has only one of them; two folders may have both."""
    monkeypatch.chdir(tmp_path)
    long, short = (
        module_folder(tmp_path / version, version=version, weights=version.encode())
        for version in ("1.0.0", "1.0")
    )
    assert main(["install", str(long), "--lock", "hub.lock"]) == 0
    assert main(["install", str(short)]) == 0
    [locked] = lockfile.read(Path("hub.lock"))
    found = lockfile.install_locked(locked, lock_file=Path("hub.lock"))
    assert (found.folder / "weights.safetensors").read_bytes() == b"1.0.0"
    for version in ("1.0.0", "1.0"):
        assert client.locate(f"glyphs@{version}").folder.name == version
    assert main(["uninstall", "glyphs@1.0.0"]) == 0
    assert installed() == [("glyphs", "1.0")]
    assert client.locate("glyphs@1.0.0").folder.name == "1.0"


def test_a_folder_that_is_still_there_is_where_its_lock_leads(tmp_path: Path, capsys: Capture) -> None:
    check_lock(f"{module_folder(tmp_path / 'made')}/", tmp_path, capsys)


def test_an_index_that_gave_the_module_is_not_taken_for_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer({}) as server:
        module = Locked("glyphs", "1.0.0", f"{server.url}/index", FILES)
        with pytest.raises(NotFoundError, match=f"no index has it; it came from {server.url}/index"):
            lockfile.install_locked(module, lock_file=tmp_path / "hub.lock")
        assert server.log == []


# ---- checkpoints of the catalog, whose digest nobody knows before their first use ----

CHECKPOINT = b"weights of a publisher"


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A catalog of one checkpoint without an md5, on a server of this machine."""
    shipped, folder = catalog.FOLDER, tmp_path / "catalog"
    folder.mkdir()
    facts = json.loads((shipped / catalog.TABLES[0]).read_text(encoding="utf-8"))["alexnet_imagenet"]
    with FaultServer({"/net.pdparams": CHECKPOINT}) as server:
        table = {"net": {**facts, "url": f"{server.url}/net.pdparams", "md5": "", "labels": ""}}
        for name in catalog.TABLES:
            content = table if name == catalog.TABLES[0] else {}
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
        (folder / catalog.SEARCH).write_text(dump_search([]), encoding="utf-8")
        monkeypatch.setattr(catalog, "FOLDER", folder)
        catalog._read_table.cache_clear()
        yield server
    catalog._read_table.cache_clear()


def test_a_first_use_is_locked_and_no_other_checkpoint_will_do(
    publisher: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["install", "net", "--lock", "hub.lock"]) == 0
    shutil.rmtree(settings.home())
    publisher.documents["/net.pdparams"] = CHECKPOINT[::-1]
    assert main(["install", "--locked"]) == 1
    assert f"expected sha256 {hashlib.sha256(CHECKPOINT).hexdigest()}" in capsys.readouterr().err
    assert installed() == []
    left = [path for path in tree(settings.home()) if not path.endswith(".lock")]
    assert left == [], "neither a blob nor a first use"
    publisher.documents["/net.pdparams"] = CHECKPOINT
    assert main(["install", "--locked"]) == 0
    assert installed() == [("net", "1.0.0")]


def test_a_checkpoint_that_cannot_be_the_locked_one_is_not_asked_for(
    publisher: FaultServer, tmp_path: Path
) -> None:
    weights = file_of("weights.pdparams", CHECKPOINT)
    module = Locked("net", "1.0.0", "catalog", (*FILES, weights))
    with pytest.raises(IntegrityError, match=r"catalog has other README\.md, labels\.txt, module\.yaml"):
        lockfile.install_locked(module, lock_file=tmp_path / "hub.lock")
    assert publisher.log == []


def test_a_locked_checkpoint_is_not_asked_for_without_a_network(
    publisher: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_OFFLINE", "1")
    weights = file_of("weights.pdparams", CHECKPOINT)
    [release] = CatalogSource().expected("net", weights).releases
    module = Locked("net", "1.0.0", "catalog", release.files)
    with pytest.raises(OfflineError, match=r"net 1\.0\.0: HUB_OFFLINE forbids to fetch"):
        lockfile.install_locked(module, lock_file=tmp_path / "hub.lock")


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (["install"], 2, "the following arguments are required: REF"),
        (["install", "--locked", "glyphs"], 2, "takes no REF"),
        (["install", "--locked", "--lock", "absent.lock"], 1, "absent.lock: no such file"),
        (["install", "--lock", "hub.lock"], 2, "the following arguments are required: REF"),
        (["install", "glyphs", "--lock", ""], 2, "--lock: expected a path, found an empty text"),
        (["install", "--locked", "--lock="], 2, "--lock: expected a path, found an empty text"),
    ],
)
def test_wrong_use_is_told(line: list[str], code: int, message: str, index: Path, capsys: Capture) -> None:
    assert main(line) == code
    assert message in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="counts CPU time as Linux does")
def test_what_is_here_and_locked_needs_no_network_and_no_time(locked: Path, index: Path) -> None:
    assert main(["install", "--locked", "--quiet"]) == 0
    code = """
        import sys
        def hook(event, details):
            if event.startswith("socket.") and event != "socket.gethostname":
                raise SystemExit(f"{event} {details}")
        sys.addaudithook(hook)
        from hub.cli.main import main
        sys.exit(main(["install", "--locked", "--json"]))
    """
    environment = {**os.environ, "HUB_INDEX": "https://nowhere.invalid"}
    seconds = []
    for _ in range(3):  # the best of three: the first one may have to compile
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0, done.stderr
        assert [module["name"] for module in json.loads(done.stdout)] == ["glyphs", "other"]
    assert min(seconds) < 0.3
