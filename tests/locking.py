"""Lock a module, forget it, and install it by its lock: the same bytes, or nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from folders import tree

from hub import settings
from hub.cli.main import main
from hub.registry import cache


def check_lock(reference: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that what `reference` leads to can be locked, and that the lock decides what is installed."""
    lock = folder / "hub.lock"
    assert main(["install", reference, "--lock", str(lock), "--quiet"]) == 0
    [before] = cache.installed()
    content = tree(before.folder)
    del content[cache.RECORD]
    shutil.rmtree(settings.home())

    assert main(["install", "--locked", "--lock", str(lock), "--quiet"]) == 0
    [again] = cache.installed()
    assert {path: (again.folder / path).read_bytes() for path in content} == content
    assert again.source == before.source
    shutil.rmtree(settings.home())

    value = json.loads(lock.read_text(encoding="utf-8"))
    locked = next(file for file in value["modules"][0]["files"] if file["path"] == "weights.safetensors")
    locked["sha256"] = "0" * 64
    lock.write_text(json.dumps(value), encoding="utf-8")
    capsys.readouterr()
    assert main(["install", "--locked", "--lock", str(lock), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "expected the locked files, but" in said
    assert "has other weights.safetensors" in said
    assert cache.installed() == []
    assert not (settings.home() / "blobs").exists()
