"""The verbs: what a name, a version, a folder or an archive becomes, and what is said when it becomes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faultserver import FaultServer
from folders import module_folder, tree

import hub
from hub import settings
from hub.errors import (
    BadReferenceError,
    HubError,
    IntegrityError,
    MissingDependencyError,
    NotFoundError,
    OfflineError,
    SpecError,
    StorageError,
    UnsafeFileError,
)
from hub.registry import client, listing, requirements, sources
from hub.registry.catalog import entry

Environment = pytest.MonkeyPatch
WEIGHTS_OF_GLYPHS = "files/glyphs/1.0.0/weights.safetensors"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with glyphs 1.0.0, 1.2.0, 1.10.0 and 2.0.0rc1, and voices 0.1.0 of another task."""
    folder = tmp_path_factory.mktemp("published")
    for version in ("1.0.0", "1.2.0", "1.10.0", "2.0.0rc1"):
        made = module_folder(folder / "made", version=version, weights=f"glyphs {version}".encode())
        client.publish(made, folder / "index")
    voices = module_folder(
        folder / "made",
        name="voices",
        version="0.1.0",
        task="audio_classification",
        summary="Who says glyphs?",
    )
    client.publish(voices, folder / "index")
    return folder / "index"


@pytest.fixture
def index(published: Path, monkeypatch: Environment) -> Path:
    """The index, searched, and not to be changed."""
    monkeypatch.setenv("HUB_INDEX", str(published))
    return published


@pytest.fixture
def own_index(published: Path, tmp_path: Path, monkeypatch: Environment) -> Path:
    """A copy of it, searched, to be changed."""
    shutil.copytree(published, tmp_path / "index")
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
    return tmp_path / "index"


@pytest.fixture
def no_bundled(tmp_path: Path, monkeypatch: Environment) -> None:
    monkeypatch.setattr(sources, "BUNDLED_FOLDER", tmp_path / "nothing bundled")
    monkeypatch.setattr(entry, "FOLDER", tmp_path / "no catalog")


pytestmark = pytest.mark.usefixtures("no_bundled")


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file of an index by hand."""
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


# ---- which version ----


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("glyphs", "1.10.0"),
        ("glyphs@1.2.0", "1.2.0"),
        ("glyphs@1.2", "1.2.0"),
        ("glyphs<1.10", "1.2.0"),
        ("glyphs~=1.0", "1.10.0"),
        ("glyphs>=2.0.0rc1", "2.0.0rc1"),
        ("glyphs@2.0.0rc1", "2.0.0rc1"),
    ],
)
def test_a_reference_gets_the_newest_version_that_will_do(index: Path, reference: str, version: str) -> None:
    located = client.locate(reference)
    assert (located.name, located.version, located.source, located.verified) == (
        "glyphs",
        version,
        str(index),
        True,
    )
    assert (located.folder / "weights.safetensors").read_bytes() == f"glyphs {version}".encode()


def test_what_is_here_comes_first_and_install_brings_the_newest(index: Path) -> None:
    old = client.install("glyphs@1.0.0")
    assert client.locate("glyphs") == old
    assert client.locate("glyphs>=1.1").version == "1.10.0"
    assert client.install("glyphs").version == "1.10.0"
    assert client.locate("glyphs").version == "1.10.0"
    assert client.locate("glyphs@1.0.0") == old


def test_an_installed_version_needs_no_index(index: Path, monkeypatch: Environment) -> None:
    located = client.install("glyphs@1.0.0")
    monkeypatch.setenv("HUB_INDEX", str(index / "gone"))
    assert client.locate("glyphs") == located
    assert client.install("glyphs@1.0.0") == located
    assert client.install("glyphs") == located
    assert listing.show("glyphs")["folder"] == str(located.folder)
    monkeypatch.setenv("HUB_INDEX", f"{index} {index / 'gone'}")
    assert listing.show("voices")["source"] == str(index)


def test_a_withdrawn_version_is_had_only_by_its_number(
    own_index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(
        own_index / "modules/glyphs.json",
        lambda page: page["releases"][2].update(yanked="labels are swapped"),
    )
    assert client.install("glyphs").version == "1.2.0"
    with pytest.raises(NotFoundError, match=r"glyphs 1\.10\.0 was withdrawn: labels are swapped") as caught:
        client.install("glyphs>1.2,<2")
    assert "glyphs@1.10.0 installs it all the same" in caught.value.hint
    assert client.install("glyphs@1.10.0").version == "1.10.0"
    assert "labels are swapped" in caplog.text


def test_a_version_that_was_withdrawn_after_it_was_installed_says_so(
    own_index: Path, monkeypatch: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    located = client.install("glyphs@1.10.0")
    edit(own_index / "modules/glyphs.json", lambda page: page["releases"][2].update(yanked="labels swapped"))
    assert {each["version"]: each["yanked"] for each in listing.show("glyphs")["releases"]} == {
        "2.0.0rc1": None, "1.10.0": "labels swapped", "1.2.0": None, "1.0.0": None,
    }  # fmt: skip
    assert client.install("glyphs") == located
    assert "glyphs 1.10.0 is installed and was withdrawn: labels swapped" in caplog.text
    caplog.clear()
    client.publish(module_folder(own_index.parent / "old", version="1.0.0"), own_index.parent / "first")
    monkeypatch.setenv("HUB_INDEX", f"{own_index.parent / 'first'} {own_index}")
    assert client.install("glyphs") == located  # newer than what the first index has
    assert "glyphs 1.10.0 is installed and was withdrawn: labels swapped" in caplog.text
    caplog.clear()
    client.uninstall("glyphs")
    client.install(module_folder(own_index.parent / "made", version="1.10.0", weights=b"of my own"))
    client.install("glyphs")
    assert caplog.text == ""  # what the index has withdrawn are other files


@pytest.mark.parametrize(
    "spoil", [shutil.rmtree, lambda index: (index / "modules/glyphs.json").write_text("no")]
)
def test_an_index_that_is_asked_for_news_alone_may_be_gone_or_damaged(
    spoil: Callable[[Path], object],
    own_index: Path,
    monkeypatch: Environment,
    caplog: pytest.LogCaptureFixture,
) -> None:
    located = client.install("glyphs@1.10.0")
    client.publish(module_folder(own_index.parent / "old", version="1.0.0"), own_index.parent / "first")
    monkeypatch.setenv("HUB_INDEX", f"{own_index.parent / 'first'} {own_index}")
    spoil(own_index)
    assert client.install("glyphs") == located
    assert caplog.text == ""


@pytest.mark.parametrize("reference", ["glyphs@3.0", "glyphs>=3"])
def test_an_unknown_version_lists_the_known_ones(index: Path, reference: str) -> None:
    with pytest.raises(NotFoundError, match="no such version") as caught:
        client.locate(reference)
    assert "1.10.0, 1.2.0, 1.0.0" in caught.value.hint


def test_a_release_for_another_hub_or_paddle_is_passed_over_or_refused(
    own_index: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    client.publish(module_folder(made, version="3.0.0", requires="{paddle: '>=99', hub: '>=1'}"), own_index)
    have = requirements.have_version("paddle")
    assert client.install("glyphs").version == ("1.10.0" if have else "3.0.0")
    if have:
        with pytest.raises(MissingDependencyError) as caught:
            client.install("glyphs@3.0.0")
        assert caught.value.message == f"glyphs 3.0.0 needs paddle >=99, this machine has {have}"
    client.publish(module_folder(made, version="4.0.0", requires="{hub: '>=99'}"), own_index)
    with pytest.raises(MissingDependencyError, match="needs hub >=99, this machine has") as caught:
        client.install("glyphs@4.0.0")
    assert "pip install -U hubtune" in caught.value.hint
    [need] = listing.show("glyphs@4.0.0")["requires"]
    assert need == {"name": "hub", "needs": ">=99", "have": hub.__version__}


def test_what_is_here_will_do_where_an_index_has_only_what_this_machine_cannot_run(
    tmp_path: Path, monkeypatch: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    located = client.install(module_folder(tmp_path / "made"))
    newer = module_folder(tmp_path / "newer", version="2.0.0", requires="{hub: '>=99'}")
    client.publish(newer, tmp_path / "index")
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
    assert client.install("glyphs") == located
    assert "glyphs 2.0.0 needs hub >=99" in caplog.text
    assert "glyphs 1.0.0 is installed" in caplog.text
    with pytest.raises(MissingDependencyError):
        client.install("glyphs>=2")


def test_what_is_not_installed_is_no_reason_to_refuse() -> None:
    assert requirements.have_version("no-such-distribution") is None
    assert requirements.unmet({"no-such-distribution": ">=99", "packaging": ">=1"}) == []
    assert requirements.unmet({"packaging": "<1"})[0].startswith("needs packaging <1, this machine has ")


# ---- names that are not there ----


def test_an_unknown_name_gets_a_suggestion_and_what_was_searched(index: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.locate("glyph")
    assert f"no module is called 'glyph' (searched: {index})" in caught.value.message
    assert "did you mean 'glyphs'?" in caught.value.hint


def test_another_version_of_what_only_this_machine_has_is_no_typo(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    located = client.install(module_folder(tmp_path / "made", name="my_digits"))
    with pytest.raises(NotFoundError, match=r"my_digits@2\.0\.0: no such version \(searched: ") as caught:
        client.install("my_digits@2.0.0")
    assert caught.value.hint == "my_digits 1.0.0 is installed"
    assert client.install("my_digits") == located
    assert "no index has my_digits (searched: " in caplog.text


def test_a_folder_of_an_unknown_name_is_offered(
    index: Path, tmp_path: Path, monkeypatch: Environment
) -> None:
    monkeypatch.chdir(tmp_path)
    module_folder(tmp_path / "mine", name="mine")
    with pytest.raises(NotFoundError, match=r"for the folder of that name write \./mine"):
        client.locate("mine")
    assert client.locate("./mine").folder == tmp_path / "mine"


def test_a_name_wins_over_a_folder(index: Path, tmp_path: Path, monkeypatch: Environment) -> None:
    monkeypatch.chdir(tmp_path)
    module_folder(tmp_path / "glyphs", name="impostor")
    assert client.locate("glyphs").name == "glyphs"
    assert client.locate("./glyphs").name == "impostor"
    assert client.locate(Path("glyphs")).name == "impostor"


HOSTILE = ["../x", "x/../../y", "CON", "x\0", "a" * 300, "\u202ex", "-rf", "$(id)", "%2e%2e", "x\n", "é"]
VERBS: dict[str, Callable[[str], object]] = {
    "locate": client.locate,
    "install": client.install,
    "show": listing.show,
    "uninstall": client.uninstall,
    "uninstall version": lambda text: client.uninstall("glyphs", text),
}


@pytest.fixture(scope="module")
def touched() -> list[str]:
    """What this process does to the disk from now on; the hook cannot be taken off, so there is one for all tests."""
    seen: list[str] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in {"open", "os.mkdir", "os.rename", "os.remove", "os.listdir", "os.scandir"}:
            seen.append(str(arguments[0]))

    sys.addaudithook(watch)
    return seen


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_hostile_name_touches_nothing(text: str, verb: str, index: Path, touched: list[str]) -> None:
    touched.clear()
    with pytest.raises(BadReferenceError):
        VERBS[verb](text)
    packages = ("site-packages", f"{os.sep}lib{os.sep}python", str(Path(hub.__file__).parent))
    assert [path for path in touched if not any(package in path for package in packages)] == []


# ---- folders and archives ----


def test_a_folder_is_located_as_it_is(tmp_path: Path) -> None:
    folder = module_folder(tmp_path / "my module", name="mine", version="0.1")
    located = client.locate(str(folder))
    assert located == client.Located("mine", "0.1", folder, str(folder), verified=False)
    assert client.verify_files(located) == []
    (folder / "weights.safetensors").write_bytes(b"WEIGHTS")
    assert [problem.split(":")[0] for problem in client.verify_files(located)] == ["weights.safetensors"]
    assert not settings.home().exists()


def test_a_folder_can_be_installed_under_its_name(tmp_path: Path) -> None:
    folder = module_folder(tmp_path / "made", name="mine", version="0.1")
    for hidden in (".git/config", "__pycache__/x.pyc", ".DS_Store"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"x")
    located = client.install(f"{folder}/")
    assert (located.name, located.version, located.source) == ("mine", "0.1", str(folder))
    assert set(tree(located.folder)) == {
        ".hub.json", "README.md", "golden/input.npz", "labels.txt", "module.yaml", "weights.safetensors",
    }  # fmt: skip
    assert client.locate("mine") == located
    assert [record.name for record in listing.list_modules(installed_only=True)] == ["mine"]
    assert client.install(f"{folder}/") == located
    module_folder(folder, name="mine", version="0.1", weights=b"other")
    with pytest.raises(StorageError, match=r"mine 0\.1 is installed from .*, with other files"):
        client.install(f"{folder}/")
    assert client.verify_files(located) == []


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (
            lambda folder: (folder / "module.yaml").unlink(),
            NotFoundError,
            "expected a module folder with a module.yaml",
        ),
        (lambda folder: (folder / "module.yaml").write_text("name: ["), SpecError, "module.yaml, line"),
        (
            lambda folder: (folder / "module.yaml").write_text("name: ../x\n"),
            SpecError,
            "name: expected a module name",
        ),
        (
            lambda folder: (folder / "module.yaml").write_text("5: x\nnane: m\n"),
            SpecError,
            "module.yaml: name: missing\n.*did you mean 'nane'",
        ),
        (
            lambda folder: (folder / "train.py").touch(),
            UnsafeFileError,
            "a module is data, this is code: train.py",
        ),
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), UnsafeFileError, "link or a device"),
        (lambda folder: (folder / "golden" / "up").symlink_to(".."), UnsafeFileError, "link or a device"),
        (lambda folder: os.mkfifo(folder / "pipe"), UnsafeFileError, "link or a device"),
        (lambda folder: (folder / "a b.txt").touch(), SpecError, "plain letters"),
        (
            lambda folder: (folder / "weights.safetensors").write_bytes(b"WEIGHTS"),
            IntegrityError,
            r"made: weights\.safetensors: changed, expected sha256 .* \(as module\.yaml says\)",
        ),
        (
            lambda folder: (folder / "weights.safetensors").unlink(),
            IntegrityError,
            r"made: weights\.safetensors: missing \(as module\.yaml says\)",
        ),
    ],
)
def test_a_folder_that_is_no_module_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], error: type[HubError], says: str
) -> None:
    folder = module_folder(tmp_path / "made")
    spoil(folder)
    with pytest.raises(error, match=says):
        client.install(f"{folder}/")
    assert not (settings.home() / "modules").exists()


def test_an_archive_with_other_weights_than_it_promises_is_refused(tmp_path: Path) -> None:
    folder = module_folder(tmp_path / "made")
    (folder / "weights.safetensors").write_bytes(b"WEIGHTS")
    archive = shutil.make_archive(str(tmp_path / "packed"), "gztar", folder.parent, folder.name)
    with pytest.raises(IntegrityError, match=r"packed\.tar\.gz: weights\.safetensors: changed"):
        client.install(archive)
    assert not (settings.home() / "modules").exists()


def test_a_page_that_promises_other_weights_than_the_module_is_refused(
    tmp_path: Path, monkeypatch: Environment
) -> None:
    made = module_folder(tmp_path / "made")
    client.publish(made, tmp_path / "index")
    weights, page = (tmp_path / "index" / path for path in (WEIGHTS_OF_GLYPHS, "modules/glyphs.json"))
    before, after = (hashlib.sha256(content).hexdigest() for content in (b"weights", b"WEIGHTS"))
    weights.write_bytes(b"WEIGHTS")
    page.write_text(page.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
    with pytest.raises(IntegrityError, match=r"index: glyphs 1\.0\.0: weights\.safetensors: changed"):
        client.install("glyphs")
    assert not (settings.home() / "modules" / "glyphs").exists()


def test_an_older_release_is_described_in_its_own_words(tmp_path: Path, monkeypatch: Environment) -> None:
    """A page has the words of the newest release."""
    for version, licence in (("1.0.0", "MIT"), ("2.0.0", "GPL-3.0")):
        made = module_folder(tmp_path / "made", version=version, summary=f"As of {version}")
        facts = (made / "module.yaml").read_text(encoding="utf-8").replace("Apache-2.0", licence)
        (made / "module.yaml").write_text(facts, encoding="utf-8")
        client.publish(made, tmp_path / "index")
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
    client.install("glyphs@1.0.0")
    [record] = listing.list_modules(installed_only=True)
    assert (record.license, record.summary) == ("MIT", "As of 1.0.0")


def test_yaml_that_loses_digits_is_refused(tmp_path: Path) -> None:
    folder = module_folder(tmp_path / "made")
    text = (folder / "module.yaml").read_text(encoding="utf-8").replace("'1.0.0'", "1.10")
    (folder / "module.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(
        SpecError, match=r"version: expected a version in quotes, such as '1\.2\.0', found 1\.1"
    ):
        client.locate(str(folder))


@pytest.mark.parametrize("top", ["", "glyphs/"])
def test_an_archive_is_installed(tmp_path: Path, top: str) -> None:
    folder = module_folder(tmp_path / "made", version="3.0")
    archive = tmp_path / "glyphs.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path, content in tree(folder).items():
            file.writestr(top + path, content)
    located = client.install(str(archive))
    assert (located.name, located.version, located.source) == ("glyphs", "3.0", str(archive))
    assert {path: content for path, content in tree(located.folder).items() if path != ".hub.json"} == tree(
        folder
    )
    assert list((settings.home() / "tmp").iterdir()) == []


def test_what_a_signed_url_proves_is_kept_nowhere(tmp_path: Path) -> None:
    archive = tmp_path / "glyphs.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path, content in tree(module_folder(tmp_path / "made")).items():
            file.writestr(path, content)
    body = archive.read_bytes()
    with FaultServer({"/glyphs.zip": body}) as server:
        url, digest = f"{server.url}/glyphs.zip", f"#sha256={hashlib.sha256(body).hexdigest()}"
        located = client.install(f"{url}?signature=S3CRET{digest}")
    assert located.source == f"{url}?…{digest}"
    assert [path for path, content in tree(settings.home()).items() if b"S3CRET" in content] == []


def test_the_folder_of_a_run_is_told_from_its_module(tmp_path: Path) -> None:
    module_folder(tmp_path / "run" / "best")
    for ask in (client.install, client.locate):
        with pytest.raises(NotFoundError, match="which has none") as caught:
            ask(str(tmp_path / "run"))
        assert caught.value.hint == f"{tmp_path / 'run' / 'best'} is one"


def test_a_folder_whose_name_is_misspelt_is_told_from_those_beside_it(tmp_path: Path) -> None:
    module_folder(tmp_path / "best")
    (tmp_path / "bet").mkdir()
    (tmp_path / "bets.txt").touch()
    with pytest.raises(NotFoundError, match="which is no folder") as caught:
        client.locate(f"{tmp_path}/bets")
    assert caught.value.hint == f"did you mean '{tmp_path}/best'?", "what would work, as it has to be written"


def test_an_archive_of_another_kind_is_told_which_there_are(tmp_path: Path) -> None:
    (tmp_path / "m.tar.xz").write_bytes(b"x")
    with pytest.raises(NotFoundError, match="which is no folder") as caught:
        client.install(f"{tmp_path}/m.tar.xz")
    assert caught.value.hint == "an archive ends in .tar.gz, .tgz, .tar.bz2, .tbz2, .tar, .zip, .hub"


def test_an_archive_without_a_module_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("holiday.jpg", b"x")
    with pytest.raises(NotFoundError, match=r"an archive without module\.yaml"):
        client.install(str(tmp_path / "x.zip"))
    with pytest.raises(NotFoundError, match="no such file"):
        client.install(str(tmp_path / "y.zip"))
    assert list((settings.home() / "tmp").iterdir()) == []


@pytest.mark.parametrize("text", ["hf://org/name", "git+https://host/repository", "paddlehub://lac"])
def test_a_source_that_needs_the_network_is_refused_offline(text: str, monkeypatch: Environment) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="HUB_OFFLINE forbids it"):
        client.install(text)


# ---- list, search, show ----


def test_list_gives_one_record_for_each_name(index: Path) -> None:
    assert [(r.name, r.version, r.installed, r.source) for r in listing.list_modules()] == [
        ("glyphs", "1.10.0", False, str(index)),
        ("voices", "0.1.0", False, str(index)),
    ]
    client.install("glyphs@1.0.0")
    [glyphs, _] = listing.list_modules()
    assert (glyphs.version, glyphs.installed) == ("1.0.0", True)
    assert listing.list_modules(installed_only=True) == [glyphs]
    assert [record.name for record in listing.list_modules("audio_classification")] == ["voices"]
    assert listing.list_modules("telepathy") == []
    assert glyphs.to_dict() == {
        "name": "glyphs",
        "version": "1.0.0",
        "task": "image_classification",
        "source": str(index),
        "installed": True,
        "summary": "Small network for letters",
        "license": "Apache-2.0",
        "size_bytes": sum(len(content) for content in tree(index / "files/glyphs/1.0.0").values()),
    }
    assert json.dumps(glyphs.to_dict())


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["glyphs", "voices"]),
        ("glyphs", ["glyphs", "voices"]),
        ("GLYPHS", ["glyphs", "voices"]),
        ("glyphs says", ["voices"]),
        ("voi", ["voices"]),
        ("audio", ["voices"]),
        ("letters network", ["glyphs"]),
        ("zebra", []),
    ],
)
def test_search_needs_every_word_and_names_come_first(index: Path, query: str, found: list[str]) -> None:
    assert [record.name for record in listing.search(query)] == found


def test_search_puts_the_exact_name_before_its_beginnings(tmp_path: Path, monkeypatch: Environment) -> None:
    for name in ("a_resnet", "resnet50", "resnet", "zoo"):
        client.publish(module_folder(tmp_path / name, name=name, summary="like resnet"), tmp_path / "index")
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
    assert [record.name for record in listing.search("resnet")] == ["resnet", "resnet50", "a_resnet", "zoo"]
    assert hub.search("resnet") == listing.search("resnet")
    assert hub.list_modules() == listing.list_modules()


def test_show_gives_releases_and_files_of_what_would_load(index: Path) -> None:
    before = listing.show("glyphs")
    assert (before["version"], before["installed"], before["folder"]) == ("1.10.0", False, None)
    located = client.install("glyphs@1.0.0")
    after = listing.show("glyphs")
    assert (after["version"], after["installed"], after["folder"]) == ("1.0.0", True, str(located.folder))
    assert [(r["version"], r["installed"]) for r in after["releases"]] == [
        ("2.0.0rc1", False),
        ("1.10.0", False),
        ("1.2.0", False),
        ("1.0.0", True),
    ]
    assert after["files"][-1] == {
        "path": "weights.safetensors",
        "size_bytes": len(b"glyphs 1.0.0"),
        "sha256": hashlib.sha256(b"glyphs 1.0.0").hexdigest(),
    }
    assert listing.show("glyphs@1.2.0")["version"] == "1.2.0"
    assert json.dumps(after)
    with pytest.raises(NotFoundError):
        listing.show("nothing")
    with pytest.raises(BadReferenceError, match="expected a module name"):
        listing.show("hf://org/glyphs")


def test_uninstall_names_what_is_not_there(index: Path) -> None:
    client.install("glyphs@1.0.0")
    with pytest.raises(NotFoundError, match="glyph is not installed") as caught:
        client.uninstall("glyph")
    assert "did you mean 'glyphs'?" in caught.value.hint
    with pytest.raises(NotFoundError, match="glyphs 9 is not installed"):
        client.uninstall("glyphs", "9")
    [gone] = client.uninstall("glyphs", "1.0")
    assert gone.version == "1.0.0"


def test_uninstalling_a_name_removes_every_version(index: Path) -> None:
    for version in ("1.0.0", "2.0.0rc1", "1.10.0"):
        client.install(f"glyphs@{version}")
    assert [gone.version for gone in client.uninstall("glyphs")] == ["2.0.0rc1", "1.10.0", "1.0.0"]
    assert listing.list_modules(installed_only=True) == []
