"""`hub export`: one file that is the same for the same module, and that installs where there is no network."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from encoder_folders import encoder_folder
from folders import module_folder, tree

from hub import settings
from hub.cli.main import main
from hub.errors import HubError, IntegrityError, UnsafeFileError, UsageError
from hub.registry import client, listing, owner
from hub.registry.export import PAGE, export

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    client.publish(module_folder(tmp_path / "made"), tmp_path / "index")
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
    return tmp_path / "index"


def forget_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Become a machine that was never connected to anything."""
    shutil.rmtree(settings.home(), ignore_errors=True)
    monkeypatch.delenv("HUB_INDEX", raising=False)
    monkeypatch.setenv("HUB_OFFLINE", "1")


def content(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


def repack(file: Path, changes: dict[str, bytes | None]) -> None:
    """Write an export again with some of its files changed, added or (None) left out."""
    files = {**content(file), **changes}
    with gzip.open(file, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in files.items():
            if data is not None:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def test_an_export_installs_where_there_is_nothing(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    file = tmp_path / "out" / "glyphs.tar.gz"
    assert main(["export", "glyphs", "--to", str(file), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "name": "glyphs",
        "version": "1.0.0",
        "file": str(file),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "size_bytes": file.stat().st_size,
    }
    assert "hub install ./glyphs.tar.gz" in shown.err
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    forget_everything(monkeypatch)
    monkeypatch.chdir(file.parent)
    assert main(["install", "./glyphs.tar.gz"]) == 0
    located = client.locate("glyphs")
    there = tree(located.folder)
    assert {path: data for path, data in there.items() if path != ".hub.json"} == tree(
        index / "files" / "glyphs" / "1.0.0"
    )
    assert client.verify_files(located) == []


def test_the_same_module_gives_the_same_bytes_wherever_it_is(index: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / ".DS_Store").write_bytes(b"junk")
    (made / "__pycache__").mkdir()
    (made / "__pycache__" / "x.pyc").write_bytes(b"junk")
    digests = {export(reference, tmp_path / "a.tar.gz").sha256 for reference in ("glyphs", made, f"{made}/")}
    page = index / "modules" / "glyphs.json"  # as another program might have written it
    value = json.loads(page.read_bytes())
    value["releases"][0]["files"].reverse()
    page.write_text(json.dumps(value), encoding="utf-8")
    for again in ("glyphs", made):  # another source, another time
        shutil.rmtree(settings.home())
        client.install(again)
        digests.add(export("glyphs@1.0.0", tmp_path / "other" / "b.tgz").sha256)
    assert len(digests) == 1
    names = set(content(tmp_path / "a.tar.gz"))
    assert names == {PAGE, *tree(index / "files" / "glyphs" / "1.0.0")}


KILLED = """
import os, signal, sys
from hub.registry import archive
from hub.registry.export import export
pack = archive.pack
def killed(folder, to):
    pack(folder, to)
    os.kill(os.getpid(), signal.SIGKILL)
archive.pack = killed
export(sys.argv[1], sys.argv[2])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there nobody knows who has ended")
def test_what_a_killed_export_left_goes_with_the_next_one(tmp_path: Path) -> None:
    to = tmp_path / "out" / "a.tar.gz"
    folder = module_folder(tmp_path / "made")
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(to)], check=False)
        assert done.returncode == -signal.SIGKILL
    assert not to.exists()
    assert len(list(to.parent.iterdir())) == 1, "what the first left went with the second"
    others = to.parent / f".{to.name}.{owner.mark()}-at_work"  # of a process that lives
    others.mkdir()
    export(folder, to)
    assert sorted(path.name for path in to.parent.iterdir()) == sorted([to.name, others.name])


def test_a_bundled_module_can_be_exported(tmp_path: Path) -> None:
    record = next(record for record in listing.list_modules() if record.source == "bundled")
    done = export(record.name, tmp_path / "bundled.tar.gz")
    assert (done.name, done.version) == (record.name, record.version)
    files = content(done.file)
    folder = client.locate(record.name).folder
    page = files.pop(PAGE)
    assert files == tree(folder)
    assert json.loads(page)["name"] == record.name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels.txt": b"c\nd\n"}, "is not what was exported: labels.txt: changed, expected sha256"),
        ({"labels.txt": None}, "is not what was exported: labels.txt: missing"),
        ({"more.txt": b"x"}, "is not what was exported: more.txt: extra"),
        ({PAGE: b"{"}, r"\.module\.json, line 1.*cut short"),
        ({PAGE: b'{"schema": 9}'}, "expected at most 1, which this hub reads, found 9"),
    ],
)
def test_a_changed_export_is_refused_and_leaves_nothing(
    changes: dict[str, bytes | None],
    message: str,
    index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = export("glyphs", tmp_path / "glyphs.tar.gz").file
    repack(file, changes)
    forget_everything(monkeypatch)
    with pytest.raises(IntegrityError, match=message) as caught:
        client.install(file)
    assert str(file) in caught.value.message
    assert listing.list_modules(installed_only=True) == [
        record for record in listing.list_modules() if record.source == "bundled"
    ]
    assert list((settings.home() / "tmp").iterdir()) == []


def test_an_archive_without_a_page_installs_as_before(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = export("glyphs", tmp_path / "glyphs.tar.gz").file
    repack(file, {PAGE: None, "labels.txt": b"c\nd\n"})
    forget_everything(monkeypatch)
    assert client.install(file).name == "glyphs"


def test_a_damaged_module_is_not_handed_on(index: Path, tmp_path: Path) -> None:
    labels = client.install("glyphs").folder / "labels.txt"
    before = labels.stat()
    labels.chmod(0o644)
    labels.write_bytes(b"c\nd\n")
    os.utime(labels, ns=(before.st_atime_ns, before.st_mtime_ns))  # which the quick look does not see
    with pytest.raises(IntegrityError, match=r"labels\.txt: changed"):
        export("glyphs", tmp_path / "glyphs.tar.gz")
    made = tmp_path / "made"
    (made / "weights.safetensors").write_bytes(b"others!")
    with pytest.raises(IntegrityError, match=r"weights\.safetensors: changed"):
        export(made, tmp_path / "glyphs.tar.gz")
    assert not (tmp_path / "glyphs.tar.gz").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("out.zip", "write out.zip.tar.gz"),
        ("q.tar.bz2", "write q.tar.gz"),
        ("q.tar", "write q.tar.gz"),
        ("q.tbz2", "write q.tar.gz"),
        ("", "NAME.tar.gz"),
        ("glyphs", "glyphs.tar.gz"),
    ],
)
def test_a_file_that_install_would_not_take_is_refused(
    name: str, hint: str, index: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"expected a file that ends in \.tar\.gz or \.tgz") as caught:
        export("glyphs", tmp_path / name)
    assert hint in caught.value.hint


def test_a_url_is_no_file_to_export_to(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    assert main(["export", "glyphs", "--to", "https://host/glyphs.tar.gz"]) == 2
    with pytest.raises(UsageError, match=r"expected a file, found https://host/x\.tar\.gz") as caught:
        export("glyphs", "https://user:secret@host/x.tar.gz")
    assert "secret" not in str(caught.value)
    assert tree(tmp_path) == before


def test_code_and_links_are_refused(tmp_path: Path) -> None:
    made = module_folder(tmp_path / "made")
    (made / "run.py").write_text("print()", encoding="utf-8")
    with pytest.raises(UnsafeFileError, match=r"this is code: run\.py"):
        export(made, tmp_path / "glyphs.tar.gz")
    (made / "run.py").unlink()
    (made / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(UnsafeFileError, match="found a link"):
        export(made, tmp_path / "glyphs.tar.gz")


def test_an_encoder_of_others_is_exported_once_it_is_installed(tmp_path: Path) -> None:
    folder = encoder_folder(tmp_path / "encoder")
    with pytest.raises(UsageError, match=r"expected a module folder, found an encoder") as caught:
        export(folder, tmp_path / "x.tar.gz")
    assert str(folder) in caught.value.message
    assert caught.value.hint == f"hub install {folder}/, which makes one, then hub export encoder"
    client.install(f"{folder}/")
    assert export("encoder", tmp_path / "x.tar.gz").name == "encoder"


def test_an_unknown_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="no module is called 'nonsense'"):
        export("nonsense", tmp_path / "x.tar.gz")
