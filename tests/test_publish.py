"""Publishing: what gets into an index, what is refused, and that no reader ever sees half of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from folders import file_of, module_folder, tree

from hub.errors import IndexFormatError, IntegrityError, NotFoundError, SpecError, UnsafeFileError, UsageError
from hub.registry import client, listing
from hub.registry.index import Module, check_config, parse_search


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return module_folder(tmp_path / "made", requires="{paddle: '>=3.1'}")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def page(index: Path, name: str = "glyphs") -> Module:
    path = index / "modules" / f"{name}.json"
    return Module.parse(path.read_bytes(), name=name, source=str(path))


def check_index(index: Path) -> list[str]:
    """Check all that a reader can see of an index and give its modules with their versions."""
    check_config((index / "config.json").read_bytes(), source="config.json")
    search = index / "search.json"
    rows = parse_search(search.read_bytes(), source="search.json") if search.exists() else []
    found = []
    for path in sorted((index / "modules").glob("*.json")):
        module = page(index, path.stem)
        for release in module.releases:
            folder = index / "files" / module.name / release.version
            assert {file.path: file.size for file in release.files} == {
                k: len(v) for k, v in tree(folder).items()
            }
            found.append(f"{module.name}@{release.version}")
    assert {row.name for row in rows} <= {name.partition("@")[0] for name in found}
    return found


def test_publishing_makes_an_index_that_installs_the_same_folder(
    made: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = client.publish(made, index)
    assert (record.name, record.version, record.source, record.installed) == (
        "glyphs",
        "1.0.0",
        str(index),
        False,
    )
    assert check_index(index) == ["glyphs@1.0.0"]
    assert tree(index / "files/glyphs/1.0.0") == tree(made)
    assert page(index).releases[0].requires == {"paddle": ">=3.1"}
    monkeypatch.setenv("HUB_INDEX", str(index))
    installed = tree(client.install("glyphs").folder)
    assert {path: content for path, content in installed.items() if path != ".hub.json"} == tree(made)


def test_the_search_list_has_the_newest_stable_version_and_its_words(made: Path, index: Path) -> None:
    for version, summary in (("1.10.0", "ten"), ("1.9.0", "nine"), ("2.0rc1", "candidate")):
        client.publish(module_folder(made, version=version, summary=summary), index)
    [row] = parse_search((index / "search.json").read_bytes(), source="x")
    assert (row.version, row.summary) == ("1.10.0", "ten")
    assert check_index(index) == ["glyphs@1.10.0", "glyphs@1.9.0", "glyphs@2.0rc1"]


def test_the_same_bytes_again_change_nothing(made: Path, index: Path) -> None:
    client.publish(made, index)
    before = {path: path.stat().st_mtime_ns for path in (index / "files").rglob("*")}
    content = tree(index)
    client.publish(made, index)
    assert tree(index) == content
    assert {path: path.stat().st_mtime_ns for path in (index / "files").rglob("*")} == before


@pytest.mark.parametrize("version", ["1.0.0", "1.0"])
def test_other_bytes_under_a_published_version_are_refused(made: Path, index: Path, version: str) -> None:
    client.publish(made, index)
    before = tree(index)
    module_folder(made, version=version, weights=b"other")
    with pytest.raises(IntegrityError, match=r"glyphs 1\.0\.0 is published already") as caught:
        client.publish(made, index)
    assert "weights.safetensors" in caught.value.message
    assert "raise the version" in caught.value.hint
    assert tree(index) == before


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lambda m: (m / "README.md").unlink(), SpecError, "expected the module card, found no file"),
        (
            lambda m: (m / "README.md").write_text(""),
            SpecError,
            "expected the module card, found an empty file",
        ),
        (
            lambda m: rewrite(m, "Apache-2.0", "unknown"),
            SpecError,
            "the licence of the weights, found unknown",
        ),
        (
            lambda m: rewrite(m, "license: Apache-2.0", ""),
            SpecError,
            "the licence of the weights, found nothing",
        ),
        (
            lambda m: (m / "weights.safetensors").write_bytes(b"WEIGHTS"),
            IntegrityError,
            "weights.safetensors: changed",
        ),
        (lambda m: (m / "weights.safetensors").unlink(), IntegrityError, "weights.safetensors: missing"),
        (
            lambda m: rewrite(m, "file: weights", "file: ../weights"),
            SpecError,
            r"weights\[0\]\.file: expected a path",
        ),
        (
            lambda m: rewrite(m, "paddle: '>=3.1'", "paddle: new"),
            SpecError,
            r"requires\.paddle: expected versions",
        ),
        (lambda m: (m / "setup.py").touch(), UnsafeFileError, "this is code: setup.py"),
        (lambda m: (m / "passwd").symlink_to("/etc/passwd"), UnsafeFileError, "found a link"),
        (lambda m: (m / "module.yaml").unlink(), NotFoundError, "module.yaml"),
        (
            lambda m: (m / "Readme.md").touch(),
            SpecError,
            "every disk tells apart, found README.md and Readme.md",
        ),
        (
            lambda m: (m / "Golden").mkdir() or (m / "Golden" / "x").touch(),
            SpecError,
            r"found golden/input\.npz and Golden/x",
        ),
    ],
)
def test_what_is_not_fit_to_publish_is_refused_before_the_index_is_touched(
    made: Path, index: Path, spoil: object, error: type[Exception], says: str
) -> None:
    spoil(made)  # type: ignore[operator]
    with pytest.raises(error, match=says):
        client.publish(made, index)
    assert not index.exists()


def test_a_release_whose_folders_some_disk_confuses_is_still_had_from_an_index_of_before(
    made: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.publish(made, index)
    (index / "files" / "glyphs" / "1.0.0" / "Golden").mkdir()
    (index / "files" / "glyphs" / "1.0.0" / "Golden" / "x").write_bytes(b"x")
    path = index / "modules" / "glyphs.json"
    told = json.loads(path.read_bytes())
    told["releases"][0]["files"].append(file_of("Golden/x", b"x").to_dict())
    path.write_text(json.dumps(told), encoding="utf-8")
    rewrite(made, "version: '1.0.0'", "version: '1.0.1'")
    client.publish(made, index)
    monkeypatch.setenv("HUB_INDEX", str(index))
    assert client.install("glyphs").version == "1.0.1"
    located = client.install("glyphs@1.0.0")
    assert (located.folder / "Golden" / "x").is_file()
    assert client.verify_files(located) == []


def test_a_page_that_no_reader_would_take_is_not_written(
    made: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody could install even the releases that were there before."""
    client.publish(made, index)
    before = tree(index)
    page = (index / "modules" / "glyphs.json").stat().st_size
    monkeypatch.setattr("hub.registry.publish.MAX_MODULE_BYTES", page + 100)  # in place of 5 MB: 20,000 files
    rewrite(made, "version: '1.0.0'", "version: '1.0.1'")
    with pytest.raises(
        UsageError, match=r"glyphs: expected a page of at most .* found .*: 2 releases with 10 files"
    ):
        client.publish(made, index)
    assert tree(index) == before


def rewrite(folder: Path, old: str, new: str) -> None:
    path = folder / "module.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_where_no_index_can_be_is_refused(made: Path, index: Path) -> None:
    with pytest.raises(UsageError, match="expected an index folder, found https://host/x") as caught:
        client.publish(made, "https://user:secret@host/x")
    assert "secret" not in str(caught.value)
    with pytest.raises(UsageError, match="expected an index outside of the module folder"):
        client.publish(made, made / "index")
    index.mkdir()
    (index / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(
        NotFoundError, match=r"expected an index or an empty folder, found no config\.json but holiday"
    ):
        client.publish(made, index)
    assert tree(index) == {".lock": b"", "holiday.jpg": b"x"}
    (index / "config.json").write_text('{"schema": 2}', encoding="utf-8")
    with pytest.raises(IndexFormatError, match="pip install -U hubtune"):
        client.publish(made, index)


def test_a_lost_search_list_is_made_again(made: Path, index: Path) -> None:
    client.publish(made, index)
    client.publish(module_folder(made, name="other"), index)
    right = (index / "search.json").read_bytes()
    for damage in (lambda path: path.unlink(), lambda path: path.write_text("<html>")):
        damage(index / "search.json")
        client.publish(made, index)
        assert (index / "search.json").read_bytes() == right


def test_publishing_again_takes_what_was_withdrawn_out_of_the_search_list(
    made: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.publish(made, index)
    client.publish(module_folder(made, name="other"), index)
    page = index / "modules" / "other.json"
    before = page.read_text(encoding="utf-8")
    page.write_text(before.replace('"yanked": false', '"yanked": "labels swapped"'), encoding="utf-8")
    client.publish(index / "files" / "other" / "1.0.0", index)  # what is in the index will do for a folder
    monkeypatch.setenv("HUB_INDEX", str(index))
    assert [record.name for record in listing.list_modules() if record.source == str(index)] == ["glyphs"]
    with pytest.raises(NotFoundError, match="was withdrawn: labels swapped"):
        client.locate("other")
    page.write_text(before, encoding="utf-8")
    client.publish(index / "files" / "other" / "1.0.0", index)
    assert client.locate("other").source == str(index)


CHILD = """
import os, signal, sys
from hub.registry import client, publish, archive
import filelock, secrets, socket

def go(index, made, kill_at):
    seen = 0
    def count(event, arguments):
        nonlocal seen
        if event in {"open", "os.rename", "os.mkdir", "os.remove", "os.chmod"}:
            if any(isinstance(a, (str, bytes)) and index in os.fsdecode(a) for a in arguments):
                seen += 1
                if seen == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    client.publish(made, index)

base, made = sys.argv[1:]
for step in range(1, 500):
    child = os.fork()
    if child == 0:
        go(f"{base}/{step}", made, step)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(step)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_step_an_index_is_the_old_or_the_new_one(made: Path, tmp_path: Path) -> None:
    client.publish(made, tmp_path / "template")
    before = check_index(tmp_path / "template")
    for step in range(1, 200):
        shutil.copytree(tmp_path / "template", tmp_path / "killed" / str(step))
    module_folder(made, version="1.1.0", weights=b"new")
    command = [sys.executable, "-c", CHILD, str(tmp_path / "killed"), str(made)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert 20 < steps < 200
    seen = set()
    for step in range(1, steps):
        index = tmp_path / "killed" / str(step)
        found = check_index(index)
        seen.add(tuple(found))
        assert set(found) >= set(before)
        client.publish(made, index)
        assert check_index(index) == [*before, "glyphs@1.1.0"]
        assert [path.name for path in index.rglob(".*")] == [".lock"]
    assert seen == {tuple(before), (*before, "glyphs@1.1.0")}


def test_two_publishers_at_once_lose_nothing(tmp_path: Path, index: Path) -> None:
    names = [f"glyphs{n}" for n in range(4)]
    for name in names:
        module_folder(tmp_path / name, name=name)
    code = textwrap.dedent("""
        import sys
        from hub.registry import client
        for version in ("1.0.0", "1.0.0"):
            client.publish(sys.argv[1], sys.argv[2])
    """)
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / name), str(index)]) for name in names
    ]
    assert [process.wait(60) for process in running] == [0] * len(names)
    assert check_index(index) == [f"{name}@1.0.0" for name in names]
    rows = parse_search((index / "search.json").read_bytes(), source="x")
    assert [row.name for row in rows] == names
    assert json.loads((index / "config.json").read_text(encoding="utf-8")) == {"schema": 1}
