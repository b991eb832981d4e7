"""The table of commands, and what every command shares: help, exit codes, the printing of errors.

Exit codes: 0 done, 1 failed and the message says why, 2 wrong usage, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TextIO, cast

from hub.cli.output import ClosedOutput, Talk, say, write
from hub.errors import HubError, StorageError, UsageError, no_paddle, one_of

# The command `a-b` is the module hub.cli.a_b, imported only when somebody asks for it.
COMMANDS = {
    "search": "find modules by words in their name, task and summary",
    "list": "list the modules that are available and those that are here",
    "datasets": "list the published data sets that finetune and evaluate take by name",
    "show": "print what is known about a module and how to use it",
    "install": "fetch modules, check every byte and keep them",
    "uninstall": "remove installed modules",
    "verify": "check a module's files and replay its golden example",
    "run": "predict: files, folders or globs in, labels and scores out",
    "finetune": "train a module on your own data and save the result",
    "range-test": "try learning rates on your own data and suggest one",
    "evaluate": "measure a module on labelled data",
    "publish": "check a module folder and add it to an index folder",
    "export": "pack a module into one file for a machine without a network",
    "cache": "show, verify and clean what is kept on this machine",
    "index": "check an index folder before others use it",
    "doctor": "check this machine: packages, device, cache, indexes, settings",
    "version": "print the versions of hub, Python and paddle",
}
# What PaddleHub's command line calls by other names, or has and we have not.
FROM_PADDLEHUB = {
    "serving": "there is no server in hub; hub.Module(NAME).predict answers inside one of your own",
    "download": "`hub install NAME` fetches a module, `hub export NAME --to FILE` packs it for another machine",
    "clear": "`hub cache prune` frees what no module needs",
    "config": "settings are variables: `hub doctor` shows them",
    "convert": "a network becomes a module when it is saved: see docs/module_folders.md",
    "autofinetune": "`hub finetune` chooses the settings, `hub range-test` tries learning rates",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code.

    Every HubError ends here as "error: …" and "hint: …"; anything else is a bug and keeps its traceback.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if sys.stderr is None:  # started with stderr closed: print and tqdm would put the talk among the data
        with _silence():
            return main(words)
    with contextlib.redirect_stderr(cast("TextIO", Talk(sys.stderr))):
        return _run(words)


def _run(words: list[str]) -> int:
    try:
        return _dispatch(words)
    except HubError as error:
        return _report(error)
    except ModuleNotFoundError as error:
        if error.name != "paddle":  # the one dependency that pip is not told to bring, see pyproject.toml
            raise
        return _report(no_paddle())
    except FileNotFoundError:
        try:
            os.getcwd()
        except FileNotFoundError:
            hint = "cd to a folder that is there, and try again"
            return _report(StorageError("the working directory has been removed", hint=hint))
        raise
    except ClosedOutput:
        return 0
    except KeyboardInterrupt:
        say("interrupted")
        return 130


def _report(error: HubError) -> int:
    say(f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")
    return error.exit_code


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"]:  # `hub help run` is `hub run --help`
        words = [*words[1:2], "--help"]
    if not words:
        say(_help())
        return UsageError.exit_code
    name, *rest = words
    if name in {"-h", "--help"}:
        write(_help())
        return 0
    if name in {"-V", "--version"}:
        name = "version"
    if name not in COMMANDS:
        error = one_of("command", name, COMMANDS)
        error.hint = FROM_PADDLEHUB.get(name) or error.hint or "`hub --help` says what each does"
        if name.startswith("-") and rest and rest[0] in COMMANDS:
            error.hint = f"options follow the command: hub {rest[0]} {name}"
        raise error

    from hub.cli.parser import Parser  # argparse costs as much as the rest of `hub --help`

    command = importlib.import_module(f"hub.cli.{name.replace('-', '_')}")
    parser = Parser(name, COMMANDS[name])
    command.configure(parser)
    try:
        arguments = parser.parse_args(rest)
    except SystemExit:  # --help was printed; wrong usage raises UsageError
        return 0
    arguments.command_line = words  # for a command that runs itself again in other processes
    warnings.filterwarnings("ignore", module=r"paddle\.")  # of its insides: nothing that a user could act on
    with _silence() if arguments.quiet else contextlib.nullcontext():
        return int(command.run(arguments))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Send talk, progress bars and warnings nowhere; errors are printed outside and stay."""
    from pathlib import Path

    with (  # which takes any name, as stderr does
        Path(os.devnull).open("w", encoding="utf-8", errors="backslashreplace") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _help() -> str:
    lines = [f"  {name:<10} {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: hub COMMAND …",
            "",
            "Pretrained modules by name, and fine-tuning on your own data.",
            "",
            *lines,
            "",
            "`hub COMMAND --help` tells the rest. Every command takes --json (data for programs) and --quiet.",
        ]
    )
