"""`hub doctor` finds what is wrong: every fault is made for real, with files, variables and a server of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hub import settings
from hub.cli.main import main
from hub.cli.version import paddle_builds
from hub.errors import to_install

Found = dict[str, tuple[str, str, str]]
with_cpu_build = pytest.mark.skipif(
    "paddlepaddle-gpu" in paddle_builds(), reason="the CPU build is not the one here"
)


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str]):
    """Run `hub doctor --json` and give its exit code and {name: (status, found, hint)}, the worst of each name."""

    def run(*options: str) -> tuple[int, Found]:
        code = main(["doctor", "--json", *options])
        checks = json.loads(capsys.readouterr().out)
        worst = sorted(checks, key=lambda check: ["ok", "warn", "fail"].index(check["status"]))
        return code, {check["name"]: (check["status"], check["found"], check["hint"]) for check in worst}

    return run


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, object]]]:
    """An index server on loopback: its URL, and what it does: {"status": 200, "date", "body": text, "hang": event}."""
    does: dict[str, object] = {"status": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if isinstance(event := does.get("hang"), threading.Event):
                event.wait()
            self.send_response_only(int(str(does["status"])))
            self.send_header("Date", str(does.get("date") or self.date_time_string()))
            body = str(does.get("body", '{"schema": 1}')).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # after `hang` nobody waits any more
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}/index", does
    listening.shutdown()
    listening.server_close()


def distribution(folder: Path, name: str, version: str) -> None:
    """Make a package that pip would list."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )


def test_a_sound_machine_is_examined_in_under_five_seconds(
    examine, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.perf_counter()
    code, found = examine()
    assert time.perf_counter() - started < 5
    assert code == 0
    assert {"hub", "python", "numpy", "paddle", "home", "disk", "cache", "clock", *settings.VARIABLES} <= set(
        found
    )
    assert not [name for name, (status, _, _) in found.items() if status == "fail"]
    assert all(hint for status, _, hint in found.values() if status != "ok")
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["STATUS", "CHECK", "FOUND"]
    assert not settings.home().exists()


@pytest.mark.parametrize(
    ("variable", "value", "name", "status", "words"),
    [
        ("HUB_HOME", "{tmp}/file", "home", "fail", "is a file"),
        ("HUB_HOME", "{tmp}/file/below", "home", "fail", "is a file"),
        ("HUB_HOME", "/proc/hub", "home", "fail", "nothing can be written in /proc"),
        ("HUB_INDEX", "{tmp}/none", "index", "fail", "there is no index"),
        ("HUB_INDEX", "{tmp}", "index", "fail", "there is no index"),
        ("HUB_INDEX", "http://127.0.0.1:9/i", "index", "fail", "127.0.0.1:9"),
        ("HUB_INDEX", "gopher://x/i", "index", "fail", "gopher"),
        ("HUB_INDEX", "file://{tmp}", "index", "fail", "HUB_INDEX: expected an index folder or an https://"),
        ("HUB_OFFLINE", "maybe", "HUB_OFFLINE", "fail", "expected 0 or 1, found 'maybe'"),
        ("HUB_HOEM", "/x", "HUB_HOEM", "warn", "hub knows no such variable"),
        ("PATH", "{tmp}", "command", "warn", "not on PATH"),
    ],
)
def test_settings_that_are_wrong_are_found(
    variable: str,
    value: str,
    name: str,
    status: str,
    words: str,
    examine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    monkeypatch.setenv(variable, value.format(tmp=tmp_path))
    code, found = examine()
    assert found[name][0] == status
    assert words in found[name][1]
    assert found[name][2]
    assert code == (status == "fail")


def test_a_damaged_record_in_the_cache_is_found(examine) -> None:
    folder = settings.home() / "modules" / "some_module" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / ".hub.json").write_text("{", encoding="utf-8")
    code, found = examine()
    assert (code, found["cache"][0]) == (1, "fail")
    assert str(folder) in found["cache"][2]


def test_an_index_that_answers_is_fine(examine, server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_INDEX", server[0])
    assert examine()[1]["index"][:2] == ("ok", f"{server[0]}: answers")


def test_an_index_in_the_home_of_a_user_is_found_where_every_command_finds_it(
    examine, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_home / "index").mkdir()
    (empty_home / "index" / "config.json").write_text('{"schema": 1}', encoding="utf-8")
    monkeypatch.setenv("HUB_INDEX", "~/index")
    code, found = examine()
    assert (code, found["index"][0]) == (0, "ok")


@pytest.mark.parametrize(
    ("body", "words"),
    [("<html>log in</html>", "web page"), ('{"schema": 2}', "expected at most 1"), ("", "cut")],
)
def test_an_address_that_is_no_index_is_found(
    body: str, words: str, examine, server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_INDEX", server[0])
    server[1]["body"] = body
    code, found = examine()
    assert (code, found["index"][0]) == (1, "fail")
    assert words in found["index"][1]
    assert f"{server[0]}/config.json" in found["index"][1]


def test_tokens_are_listed_by_name_and_never_printed(examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_TOKEN_EXAMPLE_COM", "s3cr3t")
    _, found = examine()
    assert found["HUB_TOKEN_<HOST>"][:2] == ("ok", "HUB_TOKEN_EXAMPLE_COM")
    assert "s3cr3t" not in str(found)


def test_a_cache_that_cannot_be_looked_into_is_found(examine) -> None:
    settings.home().mkdir(parents=True)
    (settings.home() / "modules").symlink_to("modules")  # which root cannot look into either
    code, found = examine()
    assert (code, found["cache"][0]) == (1, "fail")
    assert str(settings.home() / "modules") in found["cache"][1]
    assert found["cache"][2]


def test_an_index_is_not_asked_when_offline(examine, server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_INDEX", server[0])
    monkeypatch.setenv("HUB_OFFLINE", "1")
    server[1]["status"] = 500
    code, found = examine()
    assert (code, found["index"][:2]) == (0, ("ok", f"{server[0]}: not asked, HUB_OFFLINE is set"))


@pytest.mark.parametrize(("status", "words"), [(404, "there is no index"), (503, "answers 503")])
def test_an_index_that_refuses_is_found(
    status, words, examine, server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_INDEX", server[0])
    server[1]["status"] = status
    code, found = examine()
    assert (code, found["index"][0]) == (1, "fail")
    assert words in found["index"][1]


def test_an_index_that_hangs_costs_less_than_five_seconds(
    examine, server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_INDEX", server[0])
    server[1]["hang"] = done = threading.Event()
    started = time.perf_counter()
    code, found = examine()
    done.set()
    assert time.perf_counter() - started < 5
    assert (code, found["index"][0]) == (1, "fail")


def test_a_clock_that_the_index_disagrees_with_is_found(
    examine, server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_INDEX", server[0])
    server[1]["date"] = "Sat, 01 Jan 2000 00:00:00 GMT"
    code, found = examine()
    assert (code, found["clock"][0]) == (0, "warn")
    assert "Sat, 01 Jan 2000 00:00:00 GMT at an index" in found["clock"][1]


def test_a_date_that_is_none_is_left_alone(examine, server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_INDEX", server[0])
    server[1]["date"] = "yesterday"
    assert examine()[1]["clock"][0] == "ok"


def test_linked_files_are_counted_once(examine) -> None:
    settings.home().mkdir(parents=True)
    (settings.home() / "a").write_bytes(bytes(5000))
    os.link(settings.home() / "a", settings.home() / "b")
    assert examine()[1]["cache"][1] == "0 modules; 5.0 kB in 1 files"


def test_data_sets_are_counted_beside_modules(examine) -> None:
    for name in ("esc50", "flowers", "archives"):
        (settings.home() / "datasets" / name).mkdir(parents=True)
    assert examine()[1]["cache"][1] == "0 modules, 2 data sets; 0 B in 0 files"


def test_another_command_of_this_name_is_found(
    examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / ("hub.exe" if os.name == "nt" else "hub")
    other.write_text("#!/bin/sh\n", encoding="utf-8")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    status, found, hint = examine()[1]["command"]
    assert (status, found) == ("warn", f"`hub` on PATH is {other}, not this installation's")
    assert "python -m hub" in hint


def test_passwords_are_not_printed(
    examine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "HUB_INDEX", "http://me:hunter2@127.0.0.1:9/a,http://me:hunter2@127.0.0.1:9/b?sig=hunter2"
    )
    code, found = examine()
    assert code == 1
    assert "127.0.0.1:9/a" in found["HUB_INDEX"][1]
    assert "hunter2" not in str(found)


def test_the_other_hub_of_pypi_is_found(examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path, "hub", "3.0.1")
    monkeypatch.syspath_prepend(tmp_path)
    code, found = examine()
    assert (code, found["name"][0]) == (1, "fail")
    assert "pip uninstall hub" in found["name"][2]


def test_two_builds_of_paddle_are_found(examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path, "paddlepaddle-gpu", "3.3.1")
    distribution(tmp_path, "paddlepaddle", "3.3.1")
    monkeypatch.syspath_prepend(tmp_path)
    code, found = examine()
    assert (code, found["paddle"][0]) == (1, "fail")
    assert "overwrite each other" in found["paddle"][1]


@pytest.mark.parametrize("name", [pytest.param("paddlepaddle", marks=with_cpu_build), "tqdm"])
def test_versions_that_were_not_tried_are_warned_about(
    name: str, examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, name, "0.1")
    monkeypatch.syspath_prepend(tmp_path)
    status, words, hint = examine()[1]["paddle" if name == "paddlepaddle" else name]
    assert status == "warn"
    assert "0.1, expected" in words
    assert hint.startswith(f"pip install '{name}<")


@with_cpu_build
@pytest.mark.skipif(os.name == "nt", reason="the fake program is a shell script")
def test_a_gpu_that_the_build_cannot_use_is_found(
    examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, "paddlepaddle", "3.3.1")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'Some GPU, 550.1'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    _, found = examine()
    assert found["nvidia"][:2] == ("ok", "Some GPU, 550.1")
    assert found["paddle"][0] == "warn"


def test_deep_computes_with_paddle(examine) -> None:
    code, found = examine("--deep")
    assert (code, found["deep"][0]) == (0, "ok")
    assert "computes on" in found["deep"][1]


def test_deep_finds_a_paddle_that_does_not_import(
    examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "paddle.py").write_text("raise ImportError('libblas.so.3: cannot open')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, found = examine("--deep")
    assert (code, found["deep"][:2]) == (1, ("fail", "ImportError: libblas.so.3: cannot open"))


def test_an_extra_that_is_not_whole_names_the_packages_that_it_lacks(
    examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, "matplotlib", "0.1")
    monkeypatch.syspath_prepend(tmp_path)
    assert examine()[1]["extra plot"] == (
        "warn", "matplotlib 0.1, expected <4,>=3.8", "pip install 'matplotlib<4,>=3.8'"
    )  # fmt: skip


def test_no_line_to_install_anything_has_our_own_name() -> None:
    """Nobody has that name on PyPI yet: whoever takes it first would be run by those who follow the line."""
    assert to_install("soxr", "matplotlib") == "pip install soxr 'matplotlib<4,>=3.8'"
    hub = Path(settings.__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in hub.rglob("*.py")]
    assert not [text for text in texts if re.search(r"pip install [^\n]*hubtune\[", text)]
