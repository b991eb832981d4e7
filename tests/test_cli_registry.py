"""`hub list | search | show | install | uninstall | publish` against an index folder with two tiny modules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faultserver import FaultServer, Reply

from hub.cli.list import print_records
from hub.cli.main import main
from hub.registry.listing import list_modules
from tests.pictures import tiny_module

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder with tiny_shapes 1.0.0 and other_shapes 1.0.0, published by the command itself."""
    path = tmp_path_factory.mktemp("index")
    for name in ("tiny_shapes", "other_shapes"):
        made = tiny_module(
            labels=[f"label {n:02d}" for n in range(12)], summary="Shapes 猫 " + "for tests " * 20 + "only"
        )
        made = card(made.save(path / "made" / name, name=name))
        assert main(["publish", str(made), "--to", str(path / "index")]) == 0
    return path / "index"


@pytest.fixture
def listed(index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HUB_INDEX", str(index))
    return index


def test_a_hub_offline_that_cannot_be_meant_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUB_OFFLINE", "yep")
    monkeypatch.setenv("HUB_INDEX", "https://models.example/index")
    assert main(["list"]) == 2
    assert capsys.readouterr().err == "error: HUB_OFFLINE: expected 0 or 1, found 'yep'\n"


def card(made: Path) -> Path:
    """Write what publishing asks for beside the weights."""
    (made / "README.md").write_text("# A tiny module for tests\n", encoding="utf-8")
    return made


# ---- publish ----


def test_publish_prints_the_record(index: Path, tmp_path: Path, capsys: Capture) -> None:
    made = card(tiny_module().save(tmp_path / "fresh"))
    assert main(["publish", str(made), "--to", str(tmp_path / "new"), "--json"]) == 0
    shown = capsys.readouterr()
    [record] = json.loads(shown.out)
    assert (record["name"], record["version"], record["source"]) == ("tiny", "1.0.0", str(tmp_path / "new"))
    assert f"tiny 1.0.0 is in {tmp_path / 'new'}" in shown.err


@pytest.mark.parametrize("fault", ["weights", "golden", "no module"])
def test_publish_refuses_a_module_that_is_not_what_it_says(
    fault: str, tmp_path: Path, capsys: Capture
) -> None:
    made = card(tiny_module().save(tmp_path / "made"))
    if fault == "weights":
        weights = made / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    elif fault == "golden":
        other = tiny_module(seed=1).save(tmp_path / "other")
        (made / "golden" / "output.safetensors").write_bytes(
            (other / "golden" / "output.safetensors").read_bytes()
        )
    else:
        (made / "module.yaml").unlink()
    assert main(["publish", str(made), "--to", str(tmp_path / "index")]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert str(made) in shown.err
    assert not (tmp_path / "index").exists()


def test_publish_to_a_url_makes_no_folder_of_that_name(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = card(tiny_module().save(tmp_path / "made"))
    monkeypatch.chdir(tmp_path)
    assert main(["publish", str(made), "--to", "http://host/index"]) == 2
    assert "expected an index folder, found http://host/index" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


# ---- list, search ----


def test_list_prints_a_row_for_each_module(
    listed: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["list"]) == 0
    shown = capsys.readouterr()
    heading, *rows = shown.out.splitlines()
    assert heading.split() == ["NAME", "VERSION", "TASK", "SIZE", "SOURCE", "INSTALLED", "SUMMARY"]
    records = list_modules()
    assert [row.split()[0] for row in rows] == [record.name for record in records]
    assert {"other_shapes", "tiny_shapes"} <= {record.name for record in records}
    ours = next(row for row in rows if row.startswith("tiny_shapes"))
    assert " no " in ours
    assert ours.endswith("…")
    installed = sum(record.installed for record in records)
    assert shown.err == f"{len(records)} modules, {installed} installed\n"


def test_list_shows_the_beginning_of_a_digest_on_a_terminal(
    listed: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    [record] = [each for each in list_modules() if each.name == "tiny_shapes"]
    whole = "https://host/shapes.tar.gz#sha256=" + "0123456789abcdef" * 4
    records = [record._replace(source=whole)]
    print_records(records, as_json=False)
    assert whole in capsys.readouterr().out  # for grep
    monkeypatch.setenv("COLUMNS", "120")
    print_records(records, as_json=False)
    assert "  https://host/shapes.tar.gz#sha256=0123456789ab…  " in capsys.readouterr().out


def test_list_as_json_is_the_records(listed: Path, capsys: Capture) -> None:
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [record.to_dict() for record in list_modules()]


def test_list_knows_what_is_installed(listed: Path, capsys: Capture) -> None:
    def names() -> set[str]:
        assert main(["list", "--installed", "--json"]) == 0
        return {record["name"] for record in json.loads(capsys.readouterr().out)}

    assert "tiny_shapes" not in names()
    assert main(["install", "tiny_shapes"]) == 0
    capsys.readouterr()
    assert "tiny_shapes" in names()
    assert main(["uninstall", "tiny_shapes"]) == 0
    capsys.readouterr()
    assert "tiny_shapes" not in names()


def test_list_of_a_task_that_nobody_has_is_empty(listed: Path, capsys: Capture) -> None:
    assert main(["list", "--task", "telepathy"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "0 modules, 0 installed\n")
    assert main(["list", "--task", "telepathy", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize("line", ["list", "search tiny"])
def test_a_misspelt_task_gets_the_right_one(listed: Path, line: str, capsys: Capture) -> None:
    assert main([*line.split(), "--task", "image_clasification"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (
        "",
        "0 modules, 0 installed\n'image_clasification' is no task of hub: did you mean 'image_classification'?\n",
    )


@pytest.mark.parametrize(
    "line", ["list --installed --task text_similarity", "search tiny --task audio_classification"]
)
def test_a_task_that_none_of_the_found_is_for_is_not_called_misspelt(
    listed: Path, line: str, capsys: Capture
) -> None:
    assert main(line.split()) == 0
    assert capsys.readouterr().err == "0 modules, 0 installed\n"


@pytest.mark.parametrize(
    ("line", "times"), [("list", 1), ("search tiny", 1), ("search telepathy", 1), ("list --installed", 0)]
)
def test_a_misspelt_task_asks_no_index_again(
    line: str, times: int, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer({}) as server:
        server.always("/search.json", Reply(status=403))
        monkeypatch.setenv("HUB_INDEX", f"{index},{server.url}")
        assert main([*line.split(), "--task", "image_clasification"]) == 0
        assert len(server.asked("/search.json")) == times


def test_search_needs_every_word(listed: Path, capsys: Capture) -> None:
    for words, names in ((["TINY", "shapes"], ["tiny_shapes"]), (["tiny", "nonsense"], [])):
        assert main(["search", *words, "--json"]) == 0
        assert [record["name"] for record in json.loads(capsys.readouterr().out)] == names


# ---- show ----


def test_show_prints_the_card(listed: Path, capsys: Capture) -> None:
    assert main(["show", "tiny_shapes"]) == 0
    before = capsys.readouterr().out
    assert before.startswith("tiny_shapes 1.0.0\n")
    assert "not here yet: hub install tiny_shapes" in before
    assert main(["install", "tiny_shapes", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["show", "tiny_shapes"]) == 0
    after = capsys.readouterr().out
    width = after.splitlines()[3].index("image_classification")
    facts = {line[:width].strip(): line[width:] for line in after.splitlines() if line}
    assert facts["task"] == "image_classification"
    assert facts["licence"] == "Apache-2.0"
    assert facts["releases"] == "1.0.0"
    assert facts["labels"].startswith("12: label 00, label 01, ")
    assert facts["labels"].endswith(", …")
    assert '    module = hub.Module("tiny_shapes")\n' in after
    assert "\t" not in after


def test_show_as_json_has_releases_files_and_labels(listed: Path, capsys: Capture) -> None:
    assert main(["install", "tiny_shapes", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["show", "tiny_shapes@1.0.0", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [release["version"] for release in facts["releases"]] == ["1.0.0"]
    assert "weights.safetensors" in {file["path"] for file in facts["files"]}
    assert len(facts["labels"]) == 12
    assert facts["installed"] is True


def test_show_of_a_folder_is_that_of_the_module_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    made = tiny_module().save(tmp_path / "my module", name="mine")
    monkeypatch.chdir(tmp_path)
    assert main(["show", "./my module"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("mine 1.0.0\n")
    assert "labels    2: this, that" in shown
    assert shown.count(str(made)) == 2, "where it is, and how to load it"
    assert f'    module = hub.Module("{made}")\n' in shown
    assert main(["show", "./my module", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["installed"], facts["source"], facts["folder"]) == (False, str(made), str(made))
    assert [release["version"] for release in facts["releases"]] == ["1.0.0"]
    assert "module.yaml" in {file["path"] for file in facts["files"]}
    assert main(["show", "./my_module"]) == 1
    assert f"did you mean '{made}'?" in capsys.readouterr().err


# ---- install, uninstall ----


def test_install_prints_where_the_modules_are(listed: Path, capsys: Capture) -> None:
    assert main(["install", "tiny_shapes", "other_shapes@1.0.0", "--json"]) == 0
    modules = json.loads(capsys.readouterr().out)
    assert [(module["name"], module["version"]) for module in modules] == [
        ("tiny_shapes", "1.0.0"), ("other_shapes", "1.0.0"),
    ]  # fmt: skip
    assert all((Path(module["folder"]) / "module.yaml").is_file() for module in modules)


def test_install_says_what_was_done_before_it_failed(listed: Path, capsys: Capture) -> None:
    assert main(["install", "other_shapes", "tiny_shape", "tiny_shapes"]) == 1
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()] == ["NAME", "other_shapes"]
    assert "no module is called 'tiny_shape'" in shown.err
    assert "hint: did you mean 'tiny_shapes'" in shown.err


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (["install", "Tiny_Shapes"], 2, "did you mean 'tiny_shapes'"),
        (["install", "./tiny_shapes"], 1, "which is no folder"),
        (["install", "tiny_shapes@9"], 1, "no such version"),
        (["show", "tiny_shape"], 1, "did you mean 'tiny_shapes'"),
        (["uninstall", "tiny_shapes"], 1, "tiny_shapes is not installed"),
        (["uninstall", "../tiny_shapes"], 2, "expected a module name"),
        (["uninstall", "tiny_shapes@one"], 2, "expected a version"),
        (["uninstall", "tiny_shapes>=1"], 2, "expected NAME or NAME@VERSION"),
        (["run", "tiny_shapes@9", "a.png"], 1, "no such version"),
    ],
)
def test_names_that_cannot_be_had(
    line: list[str], code: int, message: str, listed: Path, capsys: Capture
) -> None:
    assert main(line) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_uninstall_says_what_was_meant(listed: Path, capsys: Capture) -> None:
    assert main(["install", "tiny_shapes"]) == 0
    capsys.readouterr()
    assert main(["uninstall", "tiny_shape"]) == 1
    assert "hint: did you mean 'tiny_shapes'?" in capsys.readouterr().err


def test_uninstall_removes_nothing_where_a_name_is_none(listed: Path, capsys: Capture) -> None:
    assert main(["install", "tiny_shapes"]) == 0
    assert main(["uninstall", "tiny_shapes", "./other_shapes"]) == 2
    assert "expected NAME or NAME@VERSION, found './other_shapes'" in capsys.readouterr().err
    assert main(["uninstall", "tiny_shapes"]) == 0


def test_a_bundled_module_cannot_be_uninstalled(capsys: Capture) -> None:
    bundled = [record.name for record in list_modules() if record.source == "bundled"]
    assert bundled
    assert main(["uninstall", bundled[0]]) == 2
    assert f"{bundled[0]} ships with hub" in capsys.readouterr().err


def test_verify_finds_a_changed_file_of_an_installed_module(listed: Path, capsys: Capture) -> None:
    assert main(["install", "tiny_shapes", "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)[0]["folder"]) / "labels.txt"
    assert main(["verify", "tiny_shapes"]) == 0
    capsys.readouterr()
    path.chmod(0o644)
    path.write_text("other\n", encoding="utf-8")
    assert main(["verify", "tiny_shapes"]) == 1
    assert "labels.txt" in capsys.readouterr().out
