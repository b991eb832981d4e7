"""`hub cache ls | verify | prune | rm` and `hub index check`: what they print and how they end."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from folders import module_folder, tree

from hub import settings
from hub.cli.main import main
from hub.registry import cache, client, survey

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with glyphs 1.0.0 and 1.1.0 and other 1.0.0."""
    for name, version in (("glyphs", "1.0.0"), ("glyphs", "1.1.0"), ("other", "1.0.0")):
        made = module_folder(tmp_path / "made", name=name, version=version, weights=version.encode() * 20_000)
        client.publish(made, tmp_path / "index")
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
    return tmp_path / "index"


@pytest.fixture
def orphan(index: Path) -> Path:
    """A blob of no module, beside glyphs 1.0.0 and 1.1.0."""
    client.install("glyphs@1.0.0")
    client.install("glyphs")
    arrived = settings.home() / "arrived"
    arrived.write_bytes(b"x" * 50_000)
    return cache.publish(arrived, hashlib.sha256(b"x" * 50_000).hexdigest())


def answer(capsys: Capture, *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def columns(text: str, heading: str) -> list[list[str]]:
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(heading))
    return [line.split() for line in lines[start + 1 :] if line]


# ---- cache ----


def test_features_and_data_sets_are_listed_and_old_features_pruned(empty_home: Path, capsys: Capture) -> None:
    home = settings.home()
    for name in ("features/old/rows-0.npy", "features/new/rows-0.npy", "datasets/esc50/meta.csv"):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_bytes(b"x" * 10_000)
        when = time.time() - (2 * survey.DAY_S if "new" not in name else 0)
        for path in (home / name, (home / name).parent):
            os.utime(path, (when, when))
    (home / "datasets" / "esc50.json").write_text("{}", encoding="utf-8")
    assert main(["cache", "ls"]) == 0
    shown = columns(capsys.readouterr().out, "OF NO MODULE")
    assert [row[:3] for row in shown] == [["data", "set", "1"], ["features", "2", "0"]]
    assert main(["cache", "prune"]) == 0
    assert [path.name for path in (home / "features").iterdir()] == ["new"]
    assert main(["cache", "prune", "--all"]) == 0
    assert list((home / "features").iterdir()) == []
    assert (home / "datasets" / "esc50" / "meta.csv").exists()


def test_what_an_interrupted_fetch_of_a_data_set_left_is_listed_and_pruned(
    empty_home: Path, capsys: Capture
) -> None:
    datasets = settings.home() / "datasets"
    for name in (
        "archives/esc50.tar.gz", "partial/0ab1.free-01234567.part/data", "partial/0ab1.lock", "esc50.lock",
        ".flowers.1-01234567.tmp/photo.jpg", ".flowers.json.1-01234567.tmp", "canvas/picture.jpg", "canvas.json",
    ):  # fmt: skip
        (datasets / name).parent.mkdir(parents=True, exist_ok=True)
        (datasets / name).write_bytes(b"x" * 10_000)
    for path in datasets.rglob("*"):
        os.utime(path, (86_400, 86_400))
    assert main(["cache", "ls"]) == 0
    shown = columns(capsys.readouterr().out, "OF NO MODULE")
    assert [row[:-3] for row in shown] == [
        ["data", "set", "1"], ["leftover", "3"], ["lock", "2"], ["partial", "1"]
    ]  # fmt: skip
    assert main(["cache", "prune"]) == 0
    left = {path.relative_to(datasets).as_posix() for path in datasets.rglob("*") if path.is_file()}
    assert left == {"canvas/picture.jpg", "canvas.json"}


def test_rm_takes_data_sets_beside_modules_all_or_none(orphan: Path, capsys: Capture) -> None:
    datasets = settings.home() / "datasets"
    (datasets / "esc50").mkdir(parents=True)
    (datasets / "esc50" / "meta.csv").write_bytes(b"x" * 50_000)
    (datasets / "esc50.json").write_text('{"size": 1}', encoding="utf-8")
    assert main(["cache", "rm", "ESC50", "glyphs", "Flowers"]) == 1
    assert "Flowers is not on this machine" in capsys.readouterr().err
    assert main(["cache", "rm", "esc50", "glyphs"]) == 2
    assert "did you mean 'ESC50'?" in capsys.readouterr().err
    planned = answer(capsys, "cache", "rm", "ESC50", "glyphs@1.0.0", "--dry-run")
    assert [(each["name"], each["version"]) for each in planned["removed"]] == [
        ("glyphs", "1.0.0"), ("ESC50", None)
    ]  # fmt: skip
    assert planned["removed"][1]["folder"] == str(datasets / "esc50")
    assert planned["frees_bytes"] > 150_000
    assert len(cache.installed()) == 2
    assert (datasets / "esc50" / "meta.csv").exists()
    assert main(["cache", "rm", "ESC50", "glyphs@1.0.0"]) == 0
    shown = capsys.readouterr()
    assert columns(shown.out, "NAME")[1][:2] == ["ESC50", "-"]
    assert shown.err.startswith("2 removed, which freed ")
    assert len(cache.installed()) == 1
    assert not (datasets / "esc50").exists()
    assert (datasets / "esc50.json").exists()  # what the next download is compared with


def test_ls_lists_modules_and_the_rest(orphan: Path, capsys: Capture) -> None:
    for version in ("1.0.0", "1.1.0"):
        os.utime(settings.home() / "modules" / "glyphs" / version / ".hub.json", (86_400, 86_400))
    capsys.readouterr()
    assert main(["cache", "ls"]) == 0
    shown = capsys.readouterr()
    rows = columns(shown.out.partition("\n\n")[0], "NAME")
    assert [(row[0], row[1], row[-2], row[-1]) for row in rows] == [
        ("glyphs", "1.0.0", "1970-01-02T00:00:00Z", "glyphs@1.1.0"),
        ("glyphs", "1.1.0", "1970-01-02T00:00:00Z", "glyphs@1.0.0"),
    ]
    assert [row[:3] for row in columns(shown.out, "OF NO MODULE")] == [["blob", "1", "0"], ["lock", "1", "0"]]
    assert shown.err.startswith(f"{settings.home()}: 2 modules, ")
    found = answer(capsys, "cache", "ls")
    assert found["home"] == str(settings.home())
    assert [module["used_at"] for module in found["modules"]] == ["1970-01-02T00:00:00Z"] * 2
    assert found["disk_bytes"] >= sum(module["frees_bytes"] for module in found["modules"])
    assert {item["kind"]: item["path"] for item in found["remnants"]}["blob"] == str(orphan)


def test_an_empty_cache_is_no_error(capsys: Capture) -> None:
    assert main(["cache", "ls"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"{settings.home()}: 0 modules, 0 B on disk\n")
    assert answer(capsys, "cache", "prune") == {"dry_run": False, "frees_bytes": 0, "removed": []}
    assert answer(capsys, "cache", "verify") == {"files": 0, "findings": []}


def test_verify_ends_with_1_until_it_is_repaired(orphan: Path, capsys: Capture) -> None:
    assert main(["cache", "verify"]) == 0
    assert "no problems" in capsys.readouterr().err
    orphan.chmod(0o644)
    orphan.write_bytes(b"y" * 50_000)
    place = orphan.relative_to(settings.home()).as_posix()
    assert main(["cache", "verify"]) == 1
    shown = capsys.readouterr()
    assert columns(shown.out, "PATH")[0][0] == place
    assert "1 problem\n" in shown.err
    assert answer(capsys, "cache", "verify", "glyphs", "glyphs@1.0.0")["findings"] == []
    [finding] = answer(capsys, "cache", "verify", "--repair", code=1)["findings"]
    assert (finding["path"], finding["removed"]) == (place, True)
    assert answer(capsys, "cache", "verify")["findings"] == []


def test_prune_says_what_it_frees(orphan: Path, capsys: Capture) -> None:
    assert main(["cache", "prune", "--all", "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert [row[0] for row in columns(shown.out, "KIND")] == ["lock", "blob"]
    assert shown.err.startswith("2 would be removed, which would free ")
    planned = answer(capsys, "cache", "prune", "--all", "--dry-run")
    assert orphan.exists()
    done = answer(capsys, "cache", "prune", "--all")
    for told in (planned, done):
        assert [
            row.pop("changed_at") for row in told["removed"]
        ]  # that of the lock is when it was last held: now
    assert {**planned, "dry_run": False} == done
    assert not orphan.exists()
    assert done["frees_bytes"] >= 50_000


def test_rm_says_what_it_frees(orphan: Path, capsys: Capture) -> None:
    planned = answer(capsys, "cache", "rm", "glyphs@1.0.0", "--dry-run")
    assert [(module["name"], module["version"]) for module in planned["removed"]] == [("glyphs", "1.0.0")]
    assert [record.version for record in cache.installed()] == ["1.0.0", "1.1.0"]
    assert main(["cache", "rm", "glyphs@1.0.0"]) == 0
    shown = capsys.readouterr()
    assert columns(shown.out, "NAME")[0][:2] == ["glyphs", "1.0.0"]
    assert shown.err.startswith("1 removed, which freed ")
    assert planned["frees_bytes"] > 100_000
    assert [record.version for record in cache.installed()] == ["1.1.0"]


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("cache", 2, "the following arguments are required: ACTION"),
        ("cache lst", 2, "action: expected one of ls, prune, rm, verify, found 'lst'"),
        ("cache ls glyphs", 2, "hub cache ls: takes no NAME"),
        ("cache ls --all", 2, "hub cache ls: takes no --all"),
        ("cache verify --dry-run", 2, "hub cache verify: takes no --dry-run"),
        ("cache prune glyphs", 2, "hub cache prune: takes no NAME"),
        ("cache prune --repair", 2, "hub cache prune: takes no --repair"),
        ("cache rm", 2, "expected NAME or NAME@VERSION, found nothing"),
        ("cache rm ./glyphs", 2, "expected NAME or NAME@VERSION, found './glyphs'"),
        ("cache rm glyphs>=1", 2, "expected NAME or NAME@VERSION"),
        ("cache rm nonsense", 1, "nonsense is not installed"),
        ("cache rm Flower", 2, "did you mean 'Flowers'?"),
        ("cache rm Glyphs", 2, "did you mean 'glyphs'?"),
        ("cache verify nonsense", 1, "nonsense is not installed"),
        ("cache verify ESC50", 2, "expected a module, found the data set ESC50\nhint: hub cache rm ESC50"),
        ("cache verify Glyphs", 2, "did you mean 'glyphs'?"),
        ("index", 2, "the following arguments are required"),
        ("index verify .", 2, "action: expected one of check, found 'verify'"),
        ("index check https://host/index", 2, "expected an index folder, found a URL"),
        ("index check no/such/folder", 1, "no folder"),
    ],
)
def test_wrong_use_is_told(line: str, code: int, message: str, capsys: Capture) -> None:
    assert main(line.split()) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""


# ---- index check ----


def test_a_sound_index_has_no_problem_and_stays_as_it_is(index: Path, capsys: Capture) -> None:
    before = tree(index)
    assert main(["index", "check", str(index)]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"{index}: no problems\n")
    assert answer(capsys, "index", "check", str(index)) == []
    assert tree(index) == before


def test_the_bundled_index_is_sound(capsys: Capture) -> None:
    from hub.registry.sources import BUNDLED_FOLDER

    assert main(["index", "check", str(BUNDLED_FOLDER)]) == 0, capsys.readouterr().out


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_every_problem_of_an_index_is_told_at_once(index: Path, capsys: Capture) -> None:
    edit(index / "config.json", "1", '"one"')
    edit(index / "search.json", '["glyphs", "1.1.0"', '["glyphs", "1.0.0"')
    edit(index / "search.json", '["other", "1.0.0"', '["others", "1.0.0"')
    first = index / "files" / "glyphs" / "1.0.0"
    (first / "labels.txt").unlink()
    (first / "golden" / "input.npz").write_bytes(b"GOLDEN INPUT")
    (index / "files" / "glyphs" / "1.1.0" / "README.md").write_bytes(b"# longer than it was\n")
    (first / "notes.txt").write_bytes(b"x")
    (first / ".hidden").write_bytes(b"x")
    (index / "files" / "gone" / "1.0.0").mkdir(parents=True)
    (index / "files" / "gone" / "1.0.0" / "module.yaml").write_bytes(b"x")
    (index / "link").symlink_to("/etc")
    found = answer(capsys, "index", "check", str(index), code=1)
    assert [(finding["path"], finding["problem"].split(", expected")[0]) for finding in found] == [
        ("config.json", "schema: expected a whole number of at least 0, found 'one'"),
        ("search.json", "glyphs: other than in modules/glyphs.json: version"),
        ("search.json", "other is missing"),
        ("search.json", "others stands in it, but there is no modules/others.json"),
        ("files/glyphs/1.0.0/golden/input.npz", "changed"),
        ("files/glyphs/1.0.0/labels.txt", "missing"),
        ("files/glyphs/1.1.0/README.md", "changed"),
        ("files/glyphs/1.0.0/.hidden", "extra, no page names it"),
        ("files/glyphs/1.0.0/notes.txt", "extra, no page names it"),
        ("files/gone/1.0.0/module.yaml", "extra, no page names it"),
        ("link", "extra, no page names it"),
    ]
    assert main(["index", "check", str(index)]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 1 + len(found)
    assert shown.err == f"{index}: 11 problems\n"


@pytest.mark.parametrize(
    ("path", "content", "problem"),
    [
        ("modules/other.json", b"{", "expected JSON"),
        ("modules/other.json", b'{"schema": 2}', "at most 1, which this hub reads"),
        ("modules/Bad Name.json", b"{}", "expected a module name"),
        ("search.json", b"<html>", "found a web page"),
        ("search.json", None, "missing"),
    ],
)
def test_a_damaged_document_is_one_problem(
    path: str, content: bytes | None, problem: str, index: Path, capsys: Capture
) -> None:
    if content is None:
        (index / path).unlink()
    else:
        (index / path).write_bytes(content)
    found = answer(capsys, "index", "check", str(index), code=1)
    ours = [finding for finding in found if finding["path"] == path]
    assert len(ours) == 1
    assert problem in ours[0]["problem"]
    assert found == ours


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("name: glyphs", "name: others", "expected glyphs 1.0.0, found others 1.0.0"),
        ("size: 100000", "size: 9", "weights.safetensors: changed, expected 9 bytes, found 100,000"),
        ("license: Apache-2.0", "license: ''", "module.yaml: license: expected the licence of the weights"),
    ],
)
def test_a_module_yaml_that_is_not_that_of_its_release_is_told(
    old: str, new: str, problem: str, index: Path, capsys: Capture
) -> None:
    """The page keeps its promise of these bytes: who wrote both by hand may still have mixed them up."""
    path, page = index / "files" / "glyphs" / "1.0.0" / "module.yaml", index / "modules" / "glyphs.json"
    edit(path, old, new)
    told = json.loads(page.read_bytes())
    [file] = [file for file in told["releases"][0]["files"] if file["path"] == "module.yaml"]
    file |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
    page.write_text(json.dumps(told), encoding="utf-8")
    [finding] = answer(capsys, "index", "check", str(index), code=1)
    assert finding["path"] == "files/glyphs/1.0.0"
    assert finding["problem"].startswith(problem)


def test_an_index_that_is_kept_in_git_or_shown_by_a_server_passes(index: Path, capsys: Capture) -> None:
    for path in (".git/HEAD", ".gitattributes", ".nojekyll", "index.html", "README.md"):
        (index / path).parent.mkdir(exist_ok=True)
        (index / path).write_text("x", encoding="utf-8")
    assert answer(capsys, "index", "check", str(index)) == []
    (index / "modules" / "index.html").write_text("x", encoding="utf-8")
    [finding] = answer(capsys, "index", "check", str(index), code=1)
    assert finding["path"] == "modules/index.html"


def test_a_withdrawn_module_must_leave_the_search_list(index: Path, capsys: Capture) -> None:
    edit(index / "modules" / "other.json", '"yanked": false', '"yanked": "broken"')
    [finding] = answer(capsys, "index", "check", str(index), code=1)
    assert finding == {
        "path": "search.json",
        "problem": "other stands in it, but every release of it is withdrawn",
    }
