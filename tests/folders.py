"""Module folders and index folders made of a few bytes: all that the registry needs, no network, no paddle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from hub.registry.index import File, Module, Release, Summary, dump_search

WEIGHTS = b"weights"


def module_folder(
    folder: Path,
    *,
    name: str = "glyphs",
    version: str = "1.0.0",
    weights: bytes = WEIGHTS,
    task: str = "image_classification",
    summary: str = "Small network for letters",
    requires: str = "{}",
) -> Path:
    """Write a module folder as Module.save() lays it out; files that are there are written over."""
    (folder / "golden").mkdir(parents=True, exist_ok=True)
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "labels.txt").write_text("a\nb\n", encoding="utf-8")
    (folder / "golden" / "input.npz").write_bytes(b"golden input")
    (folder / "README.md").write_text("# Glyphs\n", encoding="utf-8")
    digest = hashlib.sha256(weights).hexdigest()
    (folder / "module.yaml").write_text(
        f"schema: 1\nname: {name}\nversion: '{version}'\ntask: {task}\nsummary: {summary}\n"
        f"arch: {{name: small_resnet}}\nlicense: Apache-2.0\nrequires: {requires}\n"
        f"weights: [{{file: weights.safetensors, sha256: {digest}, size: {len(weights)}}}]\n",
        encoding="utf-8",
    )
    return folder


def file_of(path: str, content: bytes) -> File:
    """Give what an index says about a file with this content."""
    return File(path, hashlib.sha256(content).hexdigest(), len(content))


def large_index(folder: Path, *, modules: int) -> Path:
    """Write an index of many modules, with the page of the last one."""
    rows = [
        Summary(
            f"net{n:06d}_photos",
            "1.0.0",
            "image_classification",
            f"Network number {n} for photos",
            "MIT",
            10**6,
        )
        for n in range(modules)
    ]
    last = rows[-1]
    release = Release("1.0.0", (file_of("module.yaml", b"x"),))
    page = Module(last.name, last.task, last.summary, last.license, (release,)).to_dict()
    (folder / "modules").mkdir(parents=True)
    (folder / "config.json").write_text('{"schema": 1}', encoding="utf-8")
    (folder / "search.json").write_text(dump_search(rows), encoding="utf-8")
    (folder / "modules" / f"{last.name}.json").write_text(json.dumps(page), encoding="utf-8")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Give every file below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
