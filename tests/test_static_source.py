"""An index on a server and in a folder: the same answers, kept copies, and what happens when the server misbehaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faultserver import FaultServer, Reply
from folders import large_index, module_folder, tree

from hub import settings
from hub.errors import (
    IndexFormatError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    StorageError,
    TransferError,
    UsageError,
)
from hub.registry import client, listing, lockfile, sources
from hub.registry.catalog import entry
from hub.registry.sources.base import Source
from hub.registry.sources.folder import FolderSource
from hub.registry.sources.static import SMALL_BYTES, StaticSource
from hub.registry.transport import MemoryTransport

Environment = pytest.MonkeyPatch
WEIGHTS = bytes(range(256)) * (SMALL_BYTES // 256 + 1)  # large enough for a connection of its own


@pytest.fixture(autouse=True)
def nothing_shipped(tmp_path: Path, monkeypatch: Environment) -> None:
    monkeypatch.setattr(sources, "BUNDLED_FOLDER", tmp_path / "nothing bundled")
    monkeypatch.setattr(entry, "FOLDER", tmp_path / "no catalog")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index folder with glyphs 1.0.0."""
    client.publish(module_folder(tmp_path / "made", weights=WEIGHTS), tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def server(folder: Path, monkeypatch: Environment) -> Iterator[FaultServer]:
    """The same index on a server, and the only one that is searched."""
    documents = {f"/hub/{path}": content for path, content in tree(folder).items()}
    with FaultServer(documents) as running:
        monkeypatch.setenv("HUB_INDEX", f"{running.url}/hub/")
        yield running


def memory(folder: Path) -> MemoryTransport:
    return MemoryTransport({f"https://host/{path}": content for path, content in tree(folder).items()})


@pytest.mark.parametrize("kind", ["folder", "server", "module folder"])
def test_every_source_keeps_the_contract(kind: str, folder: Path, tmp_path: Path) -> None:
    source: Source
    if kind == "folder":
        source = StaticSource(str(folder))
    elif kind == "server":
        source = StaticSource("https://host/", transport=memory(folder))
    else:
        source = FolderSource(tmp_path / "made")
    [row] = source.search()
    assert row[:5] == ("glyphs", "1.0.0", "image_classification", "Small network for letters", "Apache-2.0")
    module = source.find("glyphs")
    assert module is not None
    assert module.row() == row
    assert source.find("nothing") is None
    [release] = module.releases
    arrived: list[int] = []
    to = tmp_path / "to"
    to.mkdir()
    got = {
        file: path.read_bytes()
        for file, path in source.fetch("glyphs", "1.0.0", release.files, to, advance=arrived.append)
    }
    assert {file.path: content for file, content in got.items()} == tree(tmp_path / "made")
    assert sum(arrived) == release.size
    assert set(got) == set(release.files)


def test_a_server_is_installed_from_and_named_without_its_password(
    server: FaultServer, folder: Path, monkeypatch: Environment
) -> None:
    monkeypatch.setenv("HUB_INDEX", f"{server.url.replace('http://', 'HTTP://user:secret@')}/hub")
    located = client.install("glyphs")
    assert {path: content for path, content in tree(located.folder).items() if path != ".hub.json"} == tree(
        folder / "files/glyphs/1.0.0"
    )
    assert located.source == f"{server.url.replace('http', 'HTTP')}/hub"
    assert all(
        "secret" not in content.decode("utf-8", "replace") for content in tree(settings.home()).values()
    )
    assert listing.list_modules()[0].source == located.source


@pytest.mark.parametrize("scheme", ["ftp", "s3", "HTTPS+x"])
def test_another_scheme_is_refused_without_its_password(scheme: str) -> None:
    with pytest.raises(UsageError, match=r"expected an index folder or an https:// address") as caught:
        StaticSource(f"{scheme}://user:secret@host/index?signature=secret")
    assert "secret" not in str(caught.value)
    assert f"{scheme}://host/index" in str(caught.value)


def test_what_is_kept_is_asked_for_again_only_if_it_changed(server: FaultServer) -> None:
    first = listing.list_modules()
    assert listing.list_modules() == first
    assert [seen.status for seen in server.asked("/hub/search.json")] == [200, 304]
    assert listing.show("glyphs") == listing.show("glyphs")
    assert [seen.status for seen in server.asked("/hub/modules/glyphs.json")] == [200, 304]


def test_many_processes_and_threads_transfer_a_module_once(server: FaultServer) -> None:
    code = """
        from concurrent.futures import ThreadPoolExecutor
        from hub.registry import client
        with ThreadPoolExecutor(4) as pool:
            found = set(pool.map(client.locate, ["glyphs"] * 4))
        assert len(found) == 1, found
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in running:
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
    assert len([seen for seen in server.log if "/files/" in seen.path]) == 5
    assert server.sent("/hub/files/glyphs/1.0.0/weights.safetensors") == len(WEIGHTS)


def test_a_killed_download_goes_on_where_it_stopped(server: FaultServer) -> None:
    path = "/hub/files/glyphs/1.0.0/weights.safetensors"
    most = len(WEIGHTS) * 3 // 4
    child = subprocess.Popen(
        [sys.executable, "-c", "from hub.registry import client; client.install('glyphs')"]
    )
    server.script(path, Reply(at=(most, child.kill), drip=(128 * 1024, 0.002)))
    assert child.wait(60) == -9
    assert not (settings.home() / "modules").exists()
    client.install("glyphs")
    assert server.sent(path) < len(WEIGHTS) * 3 // 2
    assert [path for path in tree(settings.home()) if path.startswith("tmp/")] == []


def test_what_arrives_after_an_install_has_failed_is_kept_nowhere(server: FaultServer) -> None:
    files, failed = "/hub/files/glyphs/1.0.0", threading.Event()
    server.script(f"{files}/labels.txt", Reply(flip=0))
    server.script(f"{files}/README.md", Reply(at=(1, lambda: failed.wait(60) and None)))
    with pytest.raises(IntegrityError, match=r"labels\.txt"):
        client.install("glyphs")
    failed.set()
    for thread in threading.enumerate():
        if thread.name == "hub-small-files":
            thread.join(60)
    assert server.sent(f"{files}/README.md")
    assert list((settings.home() / "tmp").iterdir()) == []


def test_an_installed_module_asks_no_server(server: FaultServer) -> None:
    located = client.install("glyphs")
    server.log.clear()
    assert client.locate("glyphs") == located
    assert client.install("glyphs@1.0.0") == located
    assert server.log == []


def test_without_a_network_the_kept_copy_serves(
    server: FaultServer, monkeypatch: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    before = listing.list_modules(), listing.show("glyphs")
    monkeypatch.setenv("HUB_OFFLINE", "1")
    server.log.clear()
    assert (listing.list_modules(), listing.show("glyphs")) == before
    assert server.log == []
    assert "using the copy of 20" in caplog.text


def test_offline_lists_what_is_missing_and_the_command_to_run(
    server: FaultServer, monkeypatch: Environment
) -> None:
    listing.show("glyphs")
    monkeypatch.setenv("HUB_OFFLINE", "1")
    server.log.clear()
    with pytest.raises(OfflineError) as caught:
        client.install("glyphs")
    for path in ("README.md", "labels.txt", "golden/input.npz", "module.yaml", "weights.safetensors"):
        assert f"{path} (" in caught.value.message
    assert "hub install glyphs@1.0.0 where there is a network" in caught.value.hint
    assert server.log == []
    assert not (settings.home() / "blobs").exists()


def test_offline_without_a_copy_says_so(server: FaultServer, monkeypatch: Environment) -> None:
    monkeypatch.setenv("HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="HUB_OFFLINE"):
        client.locate("glyphs")
    assert listing.list_modules() == []
    assert server.log == []


def test_offline_half_a_module_lists_the_other_half(server: FaultServer, monkeypatch: Environment) -> None:
    server.script("/hub/files/glyphs/1.0.0/weights.safetensors", Reply(status=404))
    with pytest.raises(TransferError):
        client.install("glyphs")
    monkeypatch.setenv("HUB_OFFLINE", "1")
    with pytest.raises(OfflineError) as caught:
        client.install("glyphs")
    assert "weights.safetensors (" in caught.value.message
    assert "labels.txt" not in caught.value.message
    monkeypatch.delenv("HUB_OFFLINE")
    server.log.clear()
    client.install("glyphs")
    assert [seen.path for seen in server.log if "/files/" in seen.path] == [
        "/hub/files/glyphs/1.0.0/weights.safetensors"
    ]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(body=b"<html>Please log in</html>"), "a web page"),
        (Reply(body=b'{"schema": 1, "columns"'), "cut short"),
        (Reply(body=b'{"schema": 2}'), "pip install -U hubtune"),
        (Reply(body=b""), "cut short"),
    ],
    ids=["html", "cut", "newer", "empty"],
)
def test_a_damaged_answer_is_refused_and_does_not_replace_the_kept_copy(
    reply: Reply, says: str, server: FaultServer, monkeypatch: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    before = listing.list_modules()
    page = listing.show("glyphs")
    server.script("/hub/search.json", reply)
    assert listing.list_modules() == []
    assert says in caplog.text
    server.script("/hub/modules/glyphs.json", reply)
    with pytest.raises(IndexFormatError, match=says.split()[0]):
        client.locate("glyphs")
    monkeypatch.setenv("HUB_OFFLINE", "1")
    assert listing.list_modules() == before
    assert listing.show("glyphs") == page


def test_a_huge_answer_is_refused(server: FaultServer, monkeypatch: Environment) -> None:
    server.documents["/hub/modules/glyphs.json"] = b" " * 5_000_001
    with pytest.raises(IndexFormatError, match="at most 5,000,000 bytes"):
        client.locate("glyphs")


@pytest.mark.parametrize("reply", [Reply(flip=100), Reply(body=b"shorter"), Reply(body=WEIGHTS + b"x")])
def test_other_bytes_than_promised_are_refused_and_leave_nothing(
    reply: Reply, server: FaultServer, folder: Path
) -> None:
    server.always("/hub/files/glyphs/1.0.0/weights.safetensors", reply)
    with pytest.raises(IntegrityError, match=r"weights\.safetensors"):
        client.install("glyphs")
    assert not (settings.home() / "modules").exists()
    left = {path for path in tree(settings.home()) if not path.startswith(("blobs/", "locks/", "indexes/"))}
    assert left == set()


def test_a_page_of_another_module_is_refused(server: FaultServer) -> None:
    server.documents["/hub/modules/other.json"] = server.documents["/hub/modules/glyphs.json"]
    with pytest.raises(IndexFormatError, match="name: expected 'other', found 'glyphs'"):
        client.locate("other")


@pytest.mark.parametrize(
    "damage", [lambda kept: kept[:-10], lambda kept: b"[" * 100_000, lambda kept: b"[]\n" + kept]
)
def test_a_damaged_copy_is_fetched_again(server: FaultServer, damage: Callable[[bytes], bytes]) -> None:
    before = listing.list_modules()
    for path in (settings.home() / "indexes").rglob("search.json"):
        path.write_bytes(damage(path.read_bytes()))
    assert listing.list_modules() == before
    assert [seen.status for seen in server.asked("/hub/search.json")] == [200, 200]


def test_a_removed_module_is_gone_also_from_the_copies(server: FaultServer, monkeypatch: Environment) -> None:
    listing.show("glyphs")
    del server.documents["/hub/modules/glyphs.json"]
    with pytest.raises(NotFoundError):
        listing.show("glyphs")
    monkeypatch.setenv("HUB_OFFLINE", "1")
    with pytest.raises(OfflineError):
        listing.show("glyphs")


def test_a_server_or_folder_that_is_no_index_says_so(
    server: FaultServer, tmp_path: Path, monkeypatch: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    for location in (f"{server.url}/elsewhere", str(tmp_path / "nowhere"), str(tmp_path / "made")):
        monkeypatch.setenv("HUB_INDEX", location)
        with pytest.raises(NotFoundError, match=r"expected an index, found no config\.json"):
            client.locate("glyphs")
        caplog.clear()
        assert listing.list_modules() == []
        assert location in caplog.text
    monkeypatch.setenv("HUB_INDEX", "ftp://host/index")
    with pytest.raises(UsageError, match="an index folder or an https:// address"):
        listing.list_modules()


def test_the_first_index_that_has_a_version_is_taken_and_a_silent_one_is_not_passed_over(
    server: FaultServer, folder: Path, tmp_path: Path, monkeypatch: Environment
) -> None:
    client.publish(module_folder(tmp_path / "other", version="9.0", weights=b"other"), tmp_path / "second")
    monkeypatch.setenv("HUB_INDEX", f"{folder} {tmp_path / 'second'}")
    assert client.locate("glyphs").version == "1.0.0"
    assert client.locate("glyphs@9.0").source == str(tmp_path / "second")
    client.uninstall("glyphs")
    monkeypatch.setenv("HUB_INDEX", f"{server.url}/hub,{tmp_path / 'second'}")
    server.always("/hub/modules/glyphs.json", Reply(status=403))
    with pytest.raises(TransferError, match="403"):
        client.locate("glyphs")


def test_a_silent_index_that_is_not_needed_is_not_asked(
    server: FaultServer, folder: Path, tmp_path: Path, monkeypatch: Environment
) -> None:
    monkeypatch.setenv("HUB_INDEX", f"{folder} {server.url}/hub")
    server.always("/hub/modules/glyphs.json", Reply(status=403))
    assert listing.show("glyphs")["source"] == str(folder)
    assert client.install("glyphs").source == str(folder)
    with pytest.raises(TransferError, match="403"):
        client.install("glyphs@9.0")
    lockfile.add(tmp_path / "hub.lock", [client.locate("glyphs")])
    [locked] = lockfile.read(tmp_path / "hub.lock")
    client.uninstall("glyphs")
    for order in (f"{folder} {server.url}/hub", f"{server.url}/hub {folder}"):  # here the digests decide
        monkeypatch.setenv("HUB_INDEX", order)
        assert lockfile.install_locked(locked, lock_file=tmp_path / "hub.lock").source == str(folder)
        client.uninstall("glyphs")
    monkeypatch.setenv("HUB_INDEX", f"{server.url}/hub")
    with pytest.raises(TransferError, match="403"):
        lockfile.install_locked(locked, lock_file=tmp_path / "hub.lock")


def test_a_bucket_that_refuses_what_it_does_not_have_is_passed_over(
    server: FaultServer, tmp_path: Path, monkeypatch: Environment
) -> None:
    client.publish(module_folder(tmp_path / "other", name="other"), tmp_path / "second")
    monkeypatch.setenv("HUB_INDEX", f"{server.url}/hub,{tmp_path / 'second'}")
    server.always("/hub/modules/other.json", Reply(status=403))
    assert client.install("other").source == str(tmp_path / "second")
    assert client.install("glyphs").source == f"{server.url}/hub"
    client.uninstall("other")
    server.always("/hub/search.json", Reply(status=403))
    assert client.install("other").source == str(tmp_path / "second")
    server.always("/hub/config.json", Reply(status=403))
    with pytest.raises(TransferError, match="403"):
        client.locate("another")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no permissions of this kind")
def test_a_file_of_an_index_folder_that_cannot_be_read_is_named(
    folder: Path, monkeypatch: Environment
) -> None:
    monkeypatch.setenv("HUB_INDEX", str(folder))
    path = folder / "files" / "glyphs" / "1.0.0" / "labels.txt"
    path.unlink()
    path.symlink_to(path)  # which root cannot read either
    with pytest.raises(StorageError) as caught:
        client.install("glyphs")
    assert str(path) in caught.value.message
    assert str(settings.home()) not in caught.value.message


def test_bundled_modules_are_used_where_they_are(
    folder: Path, tmp_path: Path, monkeypatch: Environment
) -> None:
    monkeypatch.setattr(sources, "BUNDLED_FOLDER", folder)
    client.publish(module_folder(tmp_path / "newer", version="2.0", weights=b"new"), tmp_path / "index2")
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index2"))
    located = client.locate("glyphs")
    assert (located.folder, located.source) == (folder / "files" / "glyphs" / "1.0.0", "bundled")
    assert client.install("glyphs") == located, "an index cannot take over the name of a bundled module"
    assert client.verify_files(located) == []
    [record] = listing.list_modules(installed_only=True)
    assert (record.source, record.installed) == ("bundled", True)
    assert not settings.home().exists()
    with pytest.raises(UsageError, match="ships with hub"):
        client.uninstall("glyphs")
    with pytest.raises(StorageError, match=r"glyphs 1\.0\.0 ships with hub, with other files"):
        client.install(f"{module_folder(tmp_path / 'mine', weights=b'mine')}/")
    assert client.locate("glyphs@2.0").source == str(tmp_path / "index2")
    assert client.locate("glyphs").version == "2.0"
    [record] = listing.list_modules()
    assert (record.version, record.source) == ("2.0", str(tmp_path / "index2"))


def test_a_url_of_an_archive_is_installed(folder: Path, tmp_path: Path) -> None:
    import hashlib
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for path, content in tree(tmp_path / "made").items():
            file.writestr(path, content)
    body = (tmp_path / "x.zip").read_bytes()
    with FaultServer({"/x.zip": body}) as server:
        url = f"{server.url}/x.zip#sha256={hashlib.sha256(body).hexdigest()}"
        located = client.install(url)
        assert (located.name, located.source) == ("glyphs", url)
        client.uninstall("glyphs")
        with pytest.raises(IntegrityError):
            client.install(f"{server.url}/x.zip#sha256={'0' * 64}")
    assert not (settings.home() / "modules" / "glyphs").exists()


# ---- 100,000 modules ----

LARGE = """
import contextlib, json, sys, time
from hub.registry import listing
from hub.errors import NotFoundError
verb, argument = sys.argv[1:]
started = time.process_time()
if verb == "miss":
    with contextlib.suppress(NotFoundError):
        listing.show(argument)
    found = 1
else:
    found = len(getattr(listing, verb)(*[argument] if argument else []))
peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))  # ru_maxrss is the parent's too
print(json.dumps({"found": found, "seconds": time.process_time() - started, "mb": int(peak.split()[1]) / 1024}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_index_of_100_000_modules_answers_in_a_second_and_200_mb(
    tmp_path: Path, monkeypatch: Environment
) -> None:
    """The best of three, in processor time: other work on the machine must not count."""
    monkeypatch.setenv("HUB_INDEX", str(large_index(tmp_path / "large", modules=100_000)))
    for verb, argument, found in (
        ("list_modules", "", 100_000),
        ("search", "net09999 photos", 10),
        ("show", "net099999_photos", 12),
        ("miss", "net99999_photo", 1),
    ):
        for _ in range(3):  # a busy machine slows processor time too
            done = subprocess.run(
                [sys.executable, "-c", LARGE, verb, argument], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            result = json.loads(done.stdout)
            assert result["found"] >= found  # the bundled modules are there too
            assert result["mb"] < 200, f"{verb}: {result}"
            if result["seconds"] < 1:
                break
        else:
            pytest.fail(f"{verb}: {result}")


@pytest.mark.parametrize(
    "typo", ["nwt004999_photos", "net04999_photos", "net004999_phptos", "net004999_photo", "et004999_photos"]
)
def test_a_typo_is_found_among_thousands_of_names_alike(
    typo: str, tmp_path: Path, monkeypatch: Environment
) -> None:
    monkeypatch.setenv("HUB_INDEX", str(large_index(tmp_path / "large", modules=10_000)))
    with pytest.raises(NotFoundError) as caught:
        listing.show(typo)
    assert "'net004999_photos'" in caught.value.hint
