"""A server that speaks PaddleHub's protocol: its newest fitting release installs if it is data, never a program."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faultserver import FaultServer, Reply
from folders import module_folder, tree
from locking import check_lock

from hub.errors import (
    HubError,
    IndexFormatError,
    IntegrityError,
    MissingDependencyError,
    NotFoundError,
    OfflineError,
    TransferError,
    UnsafeFileError,
    UsageError,
)
from hub.registry import client
from hub.registry.archive import Limits, pack
from hub.registry.manifest import Manifest
from hub.registry.reference import Reference
from hub.registry.sources import paddlehub
from hub.registry.transport import MemoryTransport

ANY = "[-1.0.0, 99.0.0]"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    with FaultServer() as running:
        monkeypatch.setenv("HUB_PADDLEHUB_SERVER", f"{running.url}/paddlehub/")
        yield running


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def release(version: str, *, paddle: str = ANY, hub: str = ANY, url: str = "") -> dict[str, str]:
    url = url or f"/files/glyphs_{version}.tar.gz"
    return {"version": version, "url": url, "paddle_version": paddle, "hub_version": hub}


def answer(server: FaultServer, what: str, data: object, *, status: int = 0) -> None:
    body = json.dumps({"status": status, "data": data}).encode()
    server.documents[f"/paddlehub/{what}"] = body


def offer(server: FaultServer, folder: Path, version: str = "1.0.0", *, archive: str = "") -> None:
    packed = folder.parent / "packed.tar.gz"
    pack(folder, packed)
    server.documents[archive or f"/files/glyphs_{version}.tar.gz"] = packed.read_bytes()


def fetch(text: str, work: Path) -> paddlehub.Fetched:
    return paddlehub.fetch(Reference.parse(text), work)


def test_a_module_folder_on_the_server_arrives_as_it_is(
    server: FaultServer, tmp_path: Path, work: Path
) -> None:
    (tmp_path / "packing").mkdir()
    folder = module_folder(tmp_path / "packing" / "glyphs")
    offer(server, tmp_path / "packing")  # one folder at the top, as PaddleHub packs
    answer(server, "info", {"info": [release("1.0.0")]})
    found = fetch("paddlehub://glyphs", work)
    assert tree(found.folder) == tree(folder)
    assert Manifest.read(found.folder).name == "glyphs"
    assert found.folder.is_relative_to(work)
    assert client.install(found.folder).version == "1.0.0"
    assert found.origin == "paddlehub://glyphs@1.0.0"
    assert Reference.parse(found.origin) == Reference.parse("paddlehub://glyphs==1.0.0")


def test_what_was_installed_is_not_asked_for_again(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, module_folder(tmp_path / "glyphs"))
    answer(server, "info", {"info": [release("1.0.0")]})
    located = client.install("paddlehub://glyphs")
    monkeypatch.setenv("HUB_OFFLINE", "1")
    server.log.clear()
    assert client.locate("paddlehub://glyphs") == located
    assert client.locate("paddlehub://glyphs@1.0.0") == located
    assert server.log == []


def test_a_lock_brings_the_same_bytes_or_none(
    server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(server, module_folder(tmp_path / "glyphs"))
    answer(server, "info", {"info": [release("1.0.0")]})
    check_lock("paddlehub://glyphs", tmp_path, capsys)


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("paddlehub://glyphs", "1.10.0"),  # not 1.9.0, which a server lists first
        ("paddlehub://glyphs@1.9", "1.9.0"),
        ("paddlehub://glyphs<1.10", "1.9.0"),
        ("paddlehub://glyphs>=2a1", "2.0rc1"),
        ("paddlehub://Glyphs", "1.10.0"),
    ],
)
def test_the_newest_release_of_the_range_that_this_machine_can_use_is_chosen(
    server: FaultServer, tmp_path: Path, work: Path, reference: str, version: str
) -> None:
    rows = [
        release("1.9.0"),
        release("1.10.0"),
        release("2.0rc1"),
        release("1.11.0", paddle="[1.8.0, 2.1.0]"),
    ]
    answer(server, "info", {"info": [*rows, release("1.12.0", hub="[99.0.1, 99.0.2]"), release("latest")]})
    for number, each in enumerate(("1.9.0", "1.10.0", "2.0rc1")):
        offer(server, module_folder(tmp_path / str(number) / "glyphs", version=each), each)
    assert Manifest.read(fetch(reference, work).folder).version == version


def test_a_server_that_knows_only_the_search_will_do(server: FaultServer, tmp_path: Path, work: Path) -> None:
    offer(server, module_folder(tmp_path / "glyphs"))
    rows = [{"name": "glyphs_large", **release("3.0.0")}, {"name": "GLYPHS", **release("1.0.0")}]
    answer(server, "search", rows)
    assert fetch("paddlehub://glyphs", work).origin == "paddlehub://glyphs@1.0.0"


def test_only_name_and_protocol_version_are_told_to_the_server(
    server: FaultServer, tmp_path: Path, work: Path
) -> None:
    offer(server, module_folder(tmp_path / "glyphs"))
    answer(server, "info", {"info": [release("1.0.0")]})
    fetch("paddlehub://glyphs", work)
    assert [seen.path for seen in server.log] == ["/paddlehub/info", "/files/glyphs_1.0.0.tar.gz"]
    assert not any("cookie" in seen.headers or "authorization" in seen.headers for seen in server.log)


@pytest.mark.parametrize(
    ("program", "name", "hint"),
    [
        ("module.py", "resnet50_vd_imagenet_ssld", "catalog"),
        ("module.py", "nobody_knows_this", "hub search"),
        ("module_desc.pb", "nobody_knows_this", "hub search"),
    ],
)
def test_a_module_that_is_a_program_is_refused_with_what_to_install_instead(
    server: FaultServer, tmp_path: Path, work: Path, program: str, name: str, hint: str
) -> None:
    marker = tmp_path / "it_ran"
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr(f"{name}/{program}", f"open({str(marker)!r}, 'w')")
        archive.writestr(f"{name}/label_list.txt", "a\n")
    server.documents["/files/it.zip"] = (tmp_path / "packed.zip").read_bytes()
    answer(server, "info", {"info": [release("1.0.0", url="/files/it.zip")]})
    with pytest.raises(UnsafeFileError, match=rf"Python program \({program}\)") as caught:
        fetch(f"paddlehub://{name}", work)
    assert hint in caught.value.hint
    assert not marker.exists()


def test_the_catalog_name_in_the_hint_is_one_that_installs(
    server: FaultServer, tmp_path: Path, work: Path
) -> None:
    from hub.registry.catalog.entry import NOT_BUILT, rows

    name = next(row.name for row in rows() if NOT_BUILT not in row.summary)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr(f"{name}/module.py", "")
    server.documents["/files/it.zip"] = (tmp_path / "packed.zip").read_bytes()
    answer(server, "info", {"info": [release("1.0.0", url="/files/it.zip")]})
    with pytest.raises(UnsafeFileError) as caught:
        fetch(f"paddlehub://{name.upper().replace('_', '-')}", work)
    assert f"hub install {name}" in caught.value.hint


def test_an_archive_without_a_module_is_named_with_what_it_has(
    server: FaultServer, tmp_path: Path, work: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(b"x")
    offer(server, folder)
    answer(server, "info", {"info": [release("1.0.0")]})
    with pytest.raises(NotFoundError, match=r"expected a module.yaml, found cat\.jpg"):
        fetch("paddlehub://glyphs", work)


def test_an_archive_with_another_module_in_it_is_refused(
    server: FaultServer, tmp_path: Path, work: Path
) -> None:
    offer(server, module_folder(tmp_path / "glyphs", name="other"))
    answer(server, "info", {"info": [release("1.0.0")]})
    with pytest.raises(IntegrityError, match=r"another module: other 1\.0\.0"):
        fetch("paddlehub://glyphs", work)


def test_damaged_weights_are_refused(server: FaultServer, tmp_path: Path, work: Path) -> None:
    folder = module_folder(tmp_path / "glyphs")
    (folder / "weights.safetensors").write_bytes(b"wEights")
    offer(server, folder)
    answer(server, "info", {"info": [release("1.0.0")]})
    with pytest.raises(IntegrityError, match=r"weights\.safetensors: changed"):
        fetch("paddlehub://glyphs", work)


def test_a_cut_archive_is_refused(server: FaultServer, tmp_path: Path, work: Path) -> None:
    offer(server, module_folder(tmp_path / "glyphs"))
    whole = server.documents["/files/glyphs_1.0.0.tar.gz"]
    assert isinstance(whole, bytes)
    server.documents["/files/glyphs_1.0.0.tar.gz"] = whole[: len(whole) // 2]
    answer(server, "info", {"info": [release("1.0.0")]})
    with pytest.raises(IntegrityError):
        fetch("paddlehub://glyphs", work)
    assert not (work / "unpacked").exists()


def test_a_large_archive_is_refused(server: FaultServer, tmp_path: Path, work: Path) -> None:
    offer(server, module_folder(tmp_path / "glyphs", weights=bytes(10_000)))
    answer(server, "info", {"info": [release("1.0.0")]})
    with pytest.raises(UnsafeFileError):
        paddlehub.fetch(Reference.parse("paddlehub://glyphs"), work, limits=Limits(member_bytes=9_999))


def test_members_that_leave_the_folder_are_refused(server: FaultServer, tmp_path: Path, work: Path) -> None:
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("../../escaped.txt", "x")
    server.documents["/files/it.zip"] = (tmp_path / "packed.zip").read_bytes()
    answer(server, "info", {"info": [release("1.0.0", url="/files/it.zip")]})
    with pytest.raises(UnsafeFileError, match="unsafe name"):
        fetch("paddlehub://glyphs", work)
    assert not list(tmp_path.rglob("escaped.txt"))


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("paddlehub://glyphs@9.9", NotFoundError, "it has 1.1.0, 1.0.0"),
        (
            "paddlehub://glyphs@1.1",
            MissingDependencyError,
            r"needs paddle \[1.8.0, 2.1.0\], this machine has",
        ),
        ("paddlehub://glyphs@1.0", MissingDependencyError, r"needs paddle 2 or more, this machine has"),
    ],
)
def test_a_version_that_cannot_be_had_is_named_with_the_reason(
    server: FaultServer, work: Path, reference: str, error: type[HubError], message: str
) -> None:
    rows = [release("1.0.0", paddle="2 or more"), release("1.1.0", paddle="[1.8.0, 2.1.0]")]
    answer(server, "info", {"info": rows})
    with pytest.raises(error, match=message):
        fetch(reference, work)


@pytest.mark.parametrize("status", [0, 1])
def test_an_unknown_name_is_answered_with_close_ones(server: FaultServer, work: Path, status: int) -> None:
    answer(server, "info", {}, status=status)
    answer(server, "search", [{"name": "glyphs", **release("1.0.0")}])
    with pytest.raises(NotFoundError, match="no module of that name") as caught:
        fetch("paddlehub://glyfs", work)
    assert caught.value.hint == "did you mean 'glyphs'?"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>log in</html>", "found a web page"),
        (b'{"status": 0, "data": {"info": [{"version"', "cut short"),
        (b'{"status": "ok", "data": {}}', "status: expected an integer"),
        (b'{"status": 0, "data": {"info": {"a": 1}}}', r"data\.info: expected a list"),
        (b'{"status": 0, "data": {"info": [{"version": "1.0"}]}}', r"data\.info\[0\]\.url: missing"),
        (b'{"status": 0, "data": {"info": [{"version": "1.0", "url": 7}]}}', r"url: expected one line"),
        (b'{"status": 0, "data": {"info": [{"version": "1", "url": "/\\u001b[2J"}]}}', "expected one line"),
        (b"[" * 100_000, "nested"),
        (b" " * 5_000_001, "expected at most 5,000,000 bytes"),
    ],
)
def test_an_answer_that_is_not_the_protocol_is_refused_with_the_place(
    server: FaultServer, work: Path, body: bytes, message: str
) -> None:
    server.documents["/paddlehub/info"] = body
    with pytest.raises((IndexFormatError, TransferError), match=message):
        fetch("paddlehub://glyphs", work)


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example.com/a.tar.gz",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.zip",
        "//[/a.zip",
        "C:\\a.zip",
        "https:///a.zip",
    ],
)
def test_archives_come_from_web_servers_over_encrypted_connections_only(
    server: FaultServer, work: Path, url: str
) -> None:
    answer(server, "info", {"info": [release("1.0.0", url=url)]})
    with pytest.raises(IndexFormatError, match=r"data\.info\[0\]\.url: expected an https:// address"):
        fetch("paddlehub://glyphs", work)


def test_a_distant_server_cannot_make_hub_open_a_service_of_this_machine(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_PADDLEHUB_SERVER", "https://modules.example.com")
    rows = {"status": 0, "data": {"info": [release("1.0.0", url="http://127.0.0.1:1/a.zip")]}}
    web = MemoryTransport({"https://modules.example.com/info?name=glyphs": json.dumps(rows).encode()})
    with pytest.raises(IndexFormatError, match="expected an https:// address"):
        paddlehub.fetch(Reference.parse("paddlehub://glyphs"), work, transport=web)


def test_no_request_is_made_when_the_network_is_switched_off(
    server: FaultServer, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="paddlehub://glyphs"):
        fetch("paddlehub://glyphs", work)
    assert server.log == []


def test_a_server_error_is_a_transfer_error(server: FaultServer, work: Path) -> None:
    server.always("/paddlehub/info", Reply(status=403))
    with pytest.raises(TransferError, match="403"):
        fetch("paddlehub://glyphs", work)


def test_a_server_that_is_no_url_is_refused(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_PADDLEHUB_SERVER", "/somewhere")
    with pytest.raises(UsageError, match="HUB_PADDLEHUB_SERVER: expected an https:// address"):
        fetch("paddlehub://glyphs", work)


@pytest.mark.parametrize("name", ["../x", "a b", "-x", "x\x1b[2J", ""])
def test_hostile_names_are_refused_even_in_a_reference_made_by_hand(
    server: FaultServer, work: Path, name: str
) -> None:
    with pytest.raises(HubError, match="expected"):
        paddlehub.fetch(Reference("paddlehub", name=name), work)
    assert server.log == []


@pytest.mark.parametrize("ask", [client.locate, client.install])
def test_a_module_of_paddlehub_is_told_from_ours(tmp_path: Path, ask: Callable[[Path], object]) -> None:
    (tmp_path / "resnet50_vd_imagenet_ssld").mkdir()
    (tmp_path / "resnet50_vd_imagenet_ssld" / "module.py").write_text("import os", encoding="utf-8")
    with pytest.raises(UnsafeFileError, match=r"a PaddleHub module, which is a Python program") as caught:
        ask(tmp_path / "resnet50_vd_imagenet_ssld")
    assert "hub install resnet50_vd_imagenet_ssld gives its weights" in caught.value.hint
