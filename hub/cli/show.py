"""`hub show`: one module's card, from the registry and from its own module.yaml, with lines to start from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hub.cli.examples import example
from hub.cli.output import human_size, printable, write, write_json
from hub.errors import SpecError

FEW_LABELS = 8


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="REF", help="a module name, name@version or ./folder")


def run(arguments: argparse.Namespace) -> int:
    """Print the card."""
    from hub.registry.listing import show

    facts = show(arguments.reference)
    facts |= _inside(Path(facts["folder"])) if facts["folder"] else {"labels": None, "trained": {}}
    if arguments.json:
        write_json(facts)
        return 0
    # A folder of one's own is loaded by its path alone, which is also where it came from.
    start = example(facts["task"], facts["folder"] if facts["source"] == facts["folder"] else facts["name"])
    lines = [f"{facts['name']} {facts['version']}", printable(facts["summary"]), ""]
    rows = list(_rows(facts))
    width = max(len(name) for name, _ in rows) + 2
    lines += [f"{name:<{width}}{printable(value)}" for name, value in rows]
    if start and _can_be_had(facts):
        lines += ["", *(f"    {line}".rstrip() for line in start.splitlines())]
    write("\n".join(lines))
    return 0


def _rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "task", facts["task"]
    yield "licence", facts["license"]
    yield "size", human_size(facts["size_bytes"] or None)
    if facts["source"] != facts["folder"]:
        yield "source", facts["source"]
    if facts["folder"] or _can_be_had(facts):
        yield "folder", facts["folder"] or f"not here yet: hub install {facts['name']}"
    yield (
        "releases",
        ", ".join(
            release["version"] + (f" (withdrawn: {release['yanked']})" if release["yanked"] else "")
            for release in facts["releases"]
        ),
    )
    for need in facts["requires"]:
        yield "needs", f"{need['name']} {need['needs']} (here: {need['have'] or 'not installed'})"
    if facts["labels"]:
        shown = ", ".join(facts["labels"][:FEW_LABELS])
        yield "labels", f"{len(facts['labels'])}: {shown}{', …' * (len(facts['labels']) > FEW_LABELS)}"
    yield from _flat(facts["trained"])


def _can_be_had(facts: Mapping[str, Any]) -> bool:
    from hub.registry.catalog.entry import NOT_BUILT

    return not facts["summary"].startswith(NOT_BUILT)


def _flat(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give what module.yaml says of the module's making, a mapping in it as "accuracy 0.94, f1 0.93"."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {inner}" for key, inner in value.items())
        yield name.replace("_", " "), str(value)


def _inside(folder: Path) -> dict[str, Any]:
    """Give the labels and the making of a module that is on this machine, as its folder says."""
    from hub.files import read_text, read_yaml
    from hub.naming import is_safe_path

    if not (folder / "module.yaml").is_file():  # an encoder as others publish it
        return {"labels": None, "trained": {}}
    spec = read_yaml(folder / "module.yaml")
    if not isinstance(spec, Mapping):
        raise SpecError(
            f"{folder / 'module.yaml'}: expected a mapping, found {str(spec)[:60]!r}",
            hint=f"move {folder} away",
        )
    head, source = spec.get("head"), spec.get("source")
    file = head.get("labels") if isinstance(head, Mapping) else None
    labels = read_text(folder / file).splitlines() if isinstance(file, str) and is_safe_path(file) else None
    return {"labels": labels, "trained": source if isinstance(source, Mapping) else {}}
