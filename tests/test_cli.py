"""The command line as a whole: help, wrong usage, exit codes, closed pipes; and what output makes of values."""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hub
from hub.cli import main as cli
from hub.cli.main import COMMANDS, main
from hub.cli.output import JsonList, human_size, table, write_json
from hub.cli.parser import Parser

SHARED_FILES = {"__init__", "examples", "loading", "main", "output", "parser", "texts"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"usage: hub {name} ")
    assert "--json" in shown.out
    assert "--quiet" in shown.out
    assert shown.err == ""


def test_commands_and_files_are_the_same_set() -> None:
    files = {path.stem for path in Path(cli.__file__).parent.glob("*.py")} - SHARED_FILES
    assert files == {name.replace("-", "_") for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_has_help(name: str) -> None:
    parser = Parser(name, COMMANDS[name])
    importlib.import_module(f"hub.cli.{name.replace('-', '_')}").configure(parser)
    assert [action.dest for action in parser._actions if not action.help] == []


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and summary in shown for name, summary in COMMANDS.items())
    assert max(map(len, shown.splitlines())) <= 100


def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "run"]) == 0
    assert capsys.readouterr().out.startswith("usage: hub run ")


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("isntall x", "command: expected one of", "did you mean 'install' or 'uninstall'?"),
        ("frobnicate", "found 'frobnicate'", "`hub --help` says what each does"),
        ("--jsn", "command: expected one of", "`hub --help` says what each does"),
        ("serving start -m x", "found 'serving'", "there is no server in hub"),
        ("download x", "found 'download'", "`hub install NAME` fetches a module"),
        ("config", "found 'config'", "settings are variables: `hub doctor`"),
        ("list --instaled", "hub list: takes no option '--instaled'", "did you mean '--installed'?"),
        ("list --jso", "hub list: takes no option '--jso'", "did you mean '--json'?"),
        ("list --installed=yes", "ignored explicit argument 'yes'", "hub list --help"),
        ("list spare", "hub list: takes no argument 'spare'", "hub list --help"),
        ("search", "the following arguments are required: WORD", "hub search --help"),
        ("show", "the following arguments are required: REF", "hub show --help"),
        ("install", "the following arguments are required: REF", "hub install --help"),
        ("uninstall", "the following arguments are required: NAME", "hub uninstall --help"),
        ("verify", "the following arguments are required: NAME", "hub verify --help"),
        ("run", "the following arguments are required: NAME, INPUT", "hub run --help"),
        ("run m", "the following arguments are required: INPUT", "hub run --help"),
        ("run m a.png --topk 3", "hub run: takes no option '--topk'", "did you mean '--top-k'?"),
        ("run m a.png --top-k three", "argument --top-k: invalid int value: 'three'", "hub run --help"),
        ("finetune m", "the following arguments are required: DATA", "hub finetune --help"),
        ("finetune m d --epoch 3", "hub finetune: takes no option '--epoch'", "did you mean '--epochs'?"),
        ("finetune m d --strategy prob", "--strategy: expected one of", "did you mean 'probe'"),
        ("finetune m d --class-weight balnced", "--class-weight: expected 'balanced' or name=number", ""),
        ("finetune m d --class-weight cat=", "found 'cat='", ""),
        ("finetune m d --class-weight =2", "found '=2'", ""),
        ("evaluate m d --on-bad skipp", "--on-bad: expected one of raise, skip", "did you mean 'skip'?"),
        ("publish f", "the following arguments are required: --to", "hub publish --help"),
        (
            "run m -x.png",
            "hub run: takes no option '-x.png'",
            "hub run --help lists what it takes; a file of that",
        ),
        ("run m -x=1.png", "hub run: takes no option '-x'", "hub run --help"),
        ("run --top-k 3 --save -", "the following arguments are required: NAME, INPUT", "hub run --help"),
        ("export m --too x", "hub export: takes no option '--too'", "did you mean '--to'?"),
        ("export m -- --too x", "the following arguments are required: --to", "hub export --help"),
        ("finetune m d --lr 1", "hub finetune: takes no option '--lr'", "did you mean '--learning-rate'?"),
        ("cache", "hub cache: the following arguments are required: ACTION\n", "hub cache --help"),
        ("--json list", "found '--json'", "options follow the command: hub list --json"),
        ("-q run m x", "found '-q'", "options follow the command: hub run -q"),
        ("doctor --dep", "hub doctor: takes no option '--dep'", "did you mean '--deep'"),
    ],
)
def test_wrong_usage(line: str, message: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert message in shown.err
    assert f"\nhint: {hint}" in shown.err if hint else True
    assert shown.err.count(" range-test,") <= 1, "the choices stand there twice"
    assert "Traceback" not in shown.err


def test_no_command_shows_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("usage: hub COMMAND")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"hub {hub.__version__}"
    assert main(["--version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hub"] == hub.__version__


def test_options_stand_anywhere_among_inputs() -> None:
    parser = Parser("run", COMMANDS["run"])
    importlib.import_module("hub.cli.run").configure(parser)
    arguments = parser.parse_args(["m", "a.png", "--top-k", "3", "b.png", "--json", "-"])
    assert (arguments.inputs, arguments.top_k, arguments.json) == (["a.png", "b.png", "-"], 3, True)


def test_python_m_hub_is_the_same_command(python: str, tmp_path: Path) -> None:
    ours = subprocess.run([python, "-m", "hub", "version"], capture_output=True, text=True, cwd=tmp_path)
    assert (ours.returncode, ours.stdout.splitlines()[0]) == (0, f"hub {hub.__version__}")
    wrong = subprocess.run([python, "-m", "hub", "versoin"], capture_output=True, text=True, cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean 'version'" in wrong.stderr


@pytest.mark.parametrize("line", ["--help", "run --help", "version", "list --json"])
def test_a_closed_pipe_is_quiet(line: str, python: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [python, "-m", "hub", *line.split()]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_said(python: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [python, "-m", "hub", "version"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "error: stdout could not be written: No space left on device\n"


@pytest.mark.skipif(os.name != "posix", reason="closes a stream as a shell does")
@pytest.mark.parametrize(
    ("words", "code"), [("list --json", 0), ("list --jso", 2), ("cache verify --json", 0)]
)
def test_a_closed_stderr_takes_its_talk_with_it(words: str, code: int, python: str) -> None:
    line = f'exec "$0" -m hub {words} 2>&-'
    done = subprocess.run(["sh", "-c", line, python], stdout=subprocess.PIPE, text=True)
    assert done.returncode == code
    assert done.stdout == "" if code else json.loads(done.stdout) is not None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(("words", "code"), [("lst", 2), ("list --jso", 2), ("cache verify --json", 0)])
def test_talk_that_cannot_be_delivered_changes_no_exit_code(words: str, code: int, python: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([python, "-m", "hub", *words.split()], stdout=subprocess.PIPE, stderr=full)
    assert done.returncode == code
    assert done.stdout == b"" if code else json.loads(done.stdout) is not None


def test_a_closed_stdin_has_no_inputs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["run", "m", "-"]) == 2
    assert capsys.readouterr().err == "error: hub run: expected an input a line on stdin, found none\n"


@pytest.mark.skipif(os.name != "posix", reason="removes the folder that it is in")
def test_a_working_directory_that_was_removed_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HUB_HOME", "cache")
    (tmp_path / "here").rmdir()
    assert main(["cache", "ls"]) == 1
    assert capsys.readouterr().err.startswith("error: the working directory has been removed\nhint: cd to ")


def test_text_survives_a_locale_that_cannot_say_it(python: str) -> None:
    code = "from hub.cli.output import write, write_json; write('猫 é'); write_json({'label': '猫'})"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, env=environment, check=True)
    first, _, rest = done.stdout.partition("\n")
    assert first == r"\u732b \xe9"
    assert json.loads(rest) == {"label": "猫"}


def test_ctrl_c_gives_130_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(io.BytesIO):
        """Where `hub run m -` waits for its list of paths when the user presses Ctrl-C."""

        def read(self, size: int | None = -1) -> bytes:
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("the signal was lost")

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Waiting()))
    assert main(["run", "m", "-"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


WHILE_PADDLE_LOADS = """
import os, signal, sys
from hub.cli.main import main
loads = False
def watch(event, arguments):
    global loads
    if loads and event == sys.argv[2]:
        loads = False
        os.kill(os.getpid(), int(sys.argv[1]))
    loads = loads or event == "import" and arguments[0] == "paddle.base.libpaddle"
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(watch)
sys.exit(main(["run", "glyphs_cnn", "x.png"]))
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals as a shell does")
@pytest.mark.parametrize(
    ("number", "event", "code", "said"),
    [
        (signal.SIGINT, "object.__setattr__", 130, "interrupted\n"),  # from inside of its native code
        (signal.SIGTERM, "os.scandir", -signal.SIGTERM, ""),  # when it has put handlers of its own in place
    ],
)
def test_signals_while_paddle_is_imported_end_the_command(
    number: int, event: str, code: int, said: str, python: str
) -> None:
    line = [python, "-c", WHILE_PADDLE_LOADS, str(int(number)), event]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "no_such_file", "a command that nobody wrote")
    with pytest.raises(ModuleNotFoundError):
        main(["no_such_file"])


# ---- output ----


def test_table_aligns_numbers_right_and_text_left() -> None:
    text = table([("a", 1.5, 10), ("long name", 0.25, 9)], ("NAME", "SCORE", "TIMES"))
    assert text.splitlines() == [
        "NAME        SCORE  TIMES",
        "a          1.5000     10",
        "long name  0.2500      9",
    ]


def test_table_cuts_only_the_column_that_may_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    lines = table(
        [("a_long_name", "a summary that is long")], ("NAME", "SUMMARY"), cut="SUMMARY"
    ).splitlines()
    assert lines == ["NAME         SUMMARY", "a_long_name  a summary…"]


def test_table_stays_whole_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    summary = "words " * 60
    assert summary.strip() in table([("a", summary)], ("NAME", "SUMMARY"), cut="SUMMARY")


def test_a_table_in_parts_has_one_heading_and_its_columns_stay_where_they_are() -> None:
    widths: list[int] = []
    first = table([("a", 10), ("long name", 9)], ("NAME", "TIMES"), above=widths)
    second = table([("b", 8)], ("NAME", "TIMES"), above=widths)
    wider = table([("a longer name", 8)], ("NAME", "TIMES"), above=widths)
    assert f"{first}\n{second}\n{wider}".splitlines() == [
        "NAME       TIMES",
        "a             10",
        "long name      9",
        "b              8",
        "a longer name      8",
    ]


@pytest.mark.parametrize(
    "values", [[], [1], [{"b": "two\nlines, 猫", "a": [1.5, None]}, {}, [], {"c": {"d": [{}]}}]]
)
def test_json_that_is_printed_value_by_value_is_that_of_the_list(
    values: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(values)
    expected = capsys.readouterr().out
    with JsonList() as printed:
        for value in values:
            printed.add(value)
    assert capsys.readouterr().out == expected


def test_table_counts_the_cells_of_wide_characters() -> None:
    lines = table([("猫", 1), ("e\u0301", 2), ("ab", 3)], ("L", "N")).splitlines()
    assert lines == ["L   N", "猫  1", "e\u0301   2", "ab  3"]


@given(st.lists(st.tuples(st.text(max_size=30), st.floats() | st.none() | st.booleans()), max_size=5))
def test_table_has_a_line_for_each_row_and_no_control_characters(rows: list[tuple[str, object]]) -> None:
    lines = table(rows, ("NAME", "VALUE"), cut="NAME").split("\n")
    assert len(lines) == len(rows) + 1
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"),
        (1_930_000, "1.9 MB"), (25_600_000_000, "25.6 GB"), (3 * 10**15, "3000.0 TB"),
    ],
)  # fmt: skip
def test_human_size(size: int | None, text: str) -> None:
    assert human_size(size) == text


def test_json_is_sorted_and_stays_readable(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"b": 1, "a": "猫"})
    assert capsys.readouterr().out == '{\n  "a": "猫",\n  "b": 1\n}\n'
