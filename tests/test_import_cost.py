"""What must stay light stays light: looking around costs neither paddle nor a second."""

from __future__ import annotations

import ast
import statistics
import subprocess
import time
from pathlib import Path

import pytest

import hub

HEAVY = (
    "paddle",
    "requests",
    "PIL",
    "sklearn",
    "numpy",
    "yaml",
    "packaging",
    "tqdm",
    "safetensors",
    "argparse",
)
RUNS = 9
MOST_TIMES = 8  # the promise: this many times `python -c pass`


def run(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *arguments], capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        ("import hub", HEAVY),
        ("from hub.cli.main import main; main(['--help'])", HEAVY),
        ("from hub.cli.main import main; main(['list'])", ("paddle", "requests", "PIL", "sklearn", "numpy")),
        (
            "from hub.cli.main import main; main(['search', 'x'])",
            ("paddle", "requests", "PIL", "sklearn", "numpy"),
        ),
        (
            "from hub.cli.main import main; main(['run', '--help'])",
            ("paddle", "requests", "PIL", "sklearn", "numpy"),
        ),
        (
            "from hub.cli.main import main; main(['finetune', '--help'])",
            ("paddle", "requests", "PIL", "sklearn", "numpy"),
        ),
        ("from hub.cli.main import main; main(['doctor'])", ("paddle", "PIL", "sklearn", "numpy")),
    ],
)
def test_heavy_packages_stay_unimported(code: str, banned: tuple[str, ...], python: str) -> None:
    found = run(python, "-c", f"{code}; import sys; print([m for m in {banned!r} if m in sys.modules])")
    assert found.stdout.splitlines()[-1] == "[]"


def test_a_command_imports_no_other_command(python: str) -> None:
    code = "from hub.cli.main import main; main(['version']); import sys; print(*sorted(sys.modules))"
    loaded = {m for m in run(python, "-c", code).stdout.splitlines()[-1].split() if m.startswith("hub.cli.")}
    assert loaded == {"hub.cli.main", "hub.cli.output", "hub.cli.parser", "hub.cli.version"}


@pytest.mark.parametrize("arguments", [("--help",), ("list",)], ids=" ".join)
def test_looking_around_is_quick(arguments: tuple[str, ...], python: str) -> None:
    def seconds(*command: str) -> float:
        started = time.perf_counter()
        run(python, *command)
        return time.perf_counter() - started

    seconds("-m", "hub", *arguments)  # writes the .pyc files
    pairs = [(seconds("-c", "pass"), seconds("-m", "hub", *arguments)) for _ in range(RUNS)]
    nothing, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    assert ours < MOST_TIMES * nothing, f"{ours * 1000:.0f} ms against {nothing * 1000:.0f} ms for `pass`"


def test_every_public_name_is_exported_to_a_strict_type_checker() -> None:
    source = Path(hub.__file__).read_text(encoding="utf-8")
    [block] = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.If) and "TYPE" in ast.unparse(node.test)
    ]
    exported = {
        alias.asname for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assigned = {
        ast.unparse(target) for node in block.body if isinstance(node, ast.Assign) for target in node.targets
    }
    assert exported | assigned == set(hub.__all__) - {"__version__"}
    assert "import __version__ as __version__" in source
