"""One checkpoint of the catalog, and the module folder that is made around it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from hub.registry.index import File, Summary, parse_search
from hub.registry.manifest import FILE_NAME

FOLDER = Path(__file__).parent
SEARCH = "search.json"
TABLES = (
    "paddle_vision.json",
    "paddlehub.json",
    "paddlenlp.json",
    "paddleseg.json",
    "paddleclas.json",
)

# The version of every module that is made here. Raise it whenever `texts` writes something else: an installed module
# of the same version must have the same files.
VERSION = "1.0.0"
REQUIRES = {"hub": ">=1", "paddle": ">=3.1"}
WEIGHTS_FILE = "weights.pdparams"
LABELS_FILE = "labels.txt"
CARD_FILE = "README.md"
NOT_BUILT = "not installable yet"


@dataclass(frozen=True)
class Entry:
    """What the tables say about one checkpoint."""

    name: str
    task: str
    summary: str
    license: str
    arch: Mapping[str, Any]
    """Name and arguments of the architecture: hub's when `built`, else the publisher's own."""
    origin: str
    """Who published it, under which name."""
    built: bool = False
    """Whether hub has the architecture and there is an address, so that the checkpoint can be installed."""
    url: str = ""
    """Where the checkpoint is; empty when no public address is known."""
    md5: str = ""
    """What the publisher says of the file; empty when it says nothing."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Where what the preprocessing reads is, by the name of the file here: a vocabulary."""
    size: int = 0
    """Bytes of the parameters, a little less than the file; 0 when unknown."""
    preprocess: Sequence[Mapping[str, Any]] = ()
    labels: str = ""
    """The file beside the tables with the classes; empty for a checkpoint without a usable classifier."""
    multi_label: bool = False
    """Whether several of the labels may hold at once."""
    trained_on: str = ""
    note: str = ""
    """A sentence for the card."""
    aliases: tuple[str, ...] = ()
    alias_of: str = ""
    """The name in the tables, when this entry was asked for by one of the other names."""

    @classmethod
    def read(cls, name: str) -> Entry | None:
        """Give the entry with this name or alias, None when there is none."""
        for table in TABLES:
            if entry := _read_table(FOLDER / table).get(name):
                return entry
        return None

    @property
    def checkpoint(self) -> str:
        """The name of the file's entry, which is the same for every alias."""
        return self.alias_of or self.name

    @property
    def line(self) -> str:
        """One line for listings: it says first when the checkpoint cannot be used yet."""
        text = self.summary if self.built else f"{NOT_BUILT}: {self.summary}"
        return f"{text}; the same as {self.alias_of}" if self.alias_of else text

    @property
    def addresses(self) -> dict[str, str]:
        """Where everything is that is downloaded, by path in the module folder."""
        return {WEIGHTS_FILE: self.url, **self.files}

    def texts(self, fetched: Iterable[File]) -> dict[str, bytes]:
        """Give the files of the module folder beside those of `addresses`, by path."""
        files = {FILE_NAME: self._module_yaml({file.path: file for file in fetched}), CARD_FILE: self._card()}
        if self.labels:
            files[LABELS_FILE] = (FOLDER / self.labels).read_text(encoding="utf-8")
        return {path: text.encode() for path, text in files.items()}

    def _module_yaml(self, fetched: Mapping[str, File]) -> str:
        import yaml  # 20 ms that a listing does not need

        def described(path: str) -> dict[str, Any]:
            return {"file": path, "sha256": fetched[path].sha256, "size": fetched[path].size}

        spec: dict[str, Any] = {
            "schema": 1,
            "name": self.name,
            "version": VERSION,
            "task": self.task,
            "summary": self.line,
            "arch": dict(self.arch),
            "weights": [described(WEIGHTS_FILE)],
        }
        if self.files:
            spec["files"] = [described(path) for path in self.files]
        if self.labels:
            spec["head"] = {"labels": LABELS_FILE} | ({"multi_label": True} if self.multi_label else {})
        spec |= {
            "preprocess": [dict(step) for step in self.preprocess],
            "license": self.license,
            "source": {"trained_on": self.trained_on, "published_as": self.origin, "url": self.url},
            "requires": REQUIRES,
        }
        return yaml.safe_dump(spec, sort_keys=False, allow_unicode=True, width=110)

    def _card(self) -> str:
        name, *arguments = self.arch.values()
        network = f"{name} ({', '.join(map(str, arguments))})" if arguments else str(name)
        facts = {
            "network": network,
            "trained on": self.trained_on,
            "published as": self.origin,
            "file": self.url,
            **dict(self.files),
            "md5 by its publisher": self.md5 or "not stated",
            "licence": self.license,
        }
        rows = "".join(f"| {key} | {value} |\n" for key, value in facts.items())
        kinds = {"audio_classification": "my_sounds/", "text_classification": "my_texts.csv"}
        data = kinds.get(self.task, "my_pictures/")
        return (
            f"""# {self.name}

{self.line}.

hub made this folder from its catalog. The weights are the publisher's file as it was downloaded; hub reads it with a
reader that runs nothing.

    import hub
    hub.Module("{self.name}").finetune("{data}")

| | |
| --- | --- |
{rows}
## Metrics

Not measured by hub.

## Limits

It knows what it was trained on; for anything else, fine-tune it and measure.
{self.note}""".rstrip()
            + "\n"
        )


def rows() -> list[Summary]:
    """Give one row for every name in the catalog."""
    path = FOLDER / SEARCH
    return parse_search(path.read_bytes(), source=str(path))


def parse(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Entry]:
    """Give the entries of a table by every name that they have."""
    found = {}
    for name, facts in table.items():
        entry = Entry(name=name, **{**facts, "aliases": tuple(facts.get("aliases", ()))})
        found[name] = entry
        found |= {alias: replace(entry, name=alias, alias_of=name) for alias in entry.aliases}
    return found


@cache
def _read_table(path: Path) -> dict[str, Entry]:
    return parse(json.loads(path.read_text(encoding="utf-8")))
