"""What module.yaml says, as frozen values: read once, checked at the edge, written back the same.

    schema: 1
    name: glyphs_cnn
    version: 1.0.0
    task: image_classification
    summary: Small residual network pretrained on rendered letters
    arch: {name: small_resnet, width: 16, in_channels: 1}
    weights: [{file: weights.safetensors, sha256: …, size: …}]
    files: [{file: tokenizer.json, sha256: …, size: …}]
    head: {labels: labels.txt, multi_label: false}
    preprocess: [{grayscale: {}}, {resize: {size: 32}}, {normalize: {mean: [0.5], std: [0.25]}}]
    augment: [{random_affine: {degrees: 10}}]
    golden: {input: golden/input.safetensors, output: golden/output.safetensors, rtol: 1.0e-4}
    license: Apache-2.0
    source: {trained_on: …, recipe: recipes/…, metrics: {…}}
    requires: {hub: ">=1", paddle: ">=3.1"}

Everything here is data. Names point at registered architectures, transforms and tasks, never at code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from hub.errors import SpecError, did_you_mean
from hub.files import read_yaml
from hub.naming import (
    A_NAME,
    A_PATH,
    A_TASK,
    A_VERSION,
    is_digest,
    is_module_name,
    is_safe_path,
    is_size,
    is_task,
    is_version,
)

SCHEMA = 1
FILE_NAME = "module.yaml"

T = TypeVar("T")


@dataclass(frozen=True)
class File:
    """A file of the module folder with the bytes that it must have."""

    file: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Named:
    """A registered thing and its arguments: an architecture, or one step of the preprocessing."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Head:
    """Where the class names stand, one a line, and whether several of them may hold at once."""

    labels: str
    multi_label: bool = False


@dataclass(frozen=True)
class Golden:
    """An input and the output that it gave when the module was made, to be replayed within `rtol`."""

    input: str
    output: str
    rtol: float


@dataclass(frozen=True)
class ModuleSpec:
    """The whole of module.yaml."""

    name: str
    version: str
    task: str
    arch: Named
    weights: tuple[File, ...]
    license: str
    files: tuple[File, ...] = ()
    """What the preprocessing reads besides: a tokenizer's files, such as tokenizer.json or vocab.txt."""
    head: Head | None = None
    preprocess: tuple[Named, ...] = ()
    augment: tuple[Named, ...] = ()
    golden: Golden | None = None
    summary: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    requires: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        *,
        name: str,
        task: str,
        arch: Mapping[str, Any],
        preprocess: Sequence[Mapping[str, Any]],
        license: str,
        head: Head | None,
        augment: Sequence[Mapping[str, Any]] = (),
        files: Mapping[str, bytes] = MappingProxyType({}),
        summary: str = "",
    ) -> ModuleSpec:
        """Give the spec of a module that has never been saved: its weights are still to be written.

        `files` are what the preprocessing reads besides, by name.
        """
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "name": name,
            "version": "1.0.0",
            "task": task,
            "arch": dict(arch),
            "weights": [{"file": "weights.safetensors", "sha256": "0" * 64, "size": 0}],
            "preprocess": [dict(step) for step in preprocess],
            "augment": [dict(step) for step in augment],
            "license": license,
        }
        if files:
            data["files"] = [
                {"file": name, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
                for name, content in files.items()
            ]
        if head:
            data["head"] = {"labels": head.labels, "multi_label": head.multi_label}
        return cls.parse(data | ({"summary": summary} if summary else {}))

    @classmethod
    def read(cls, folder: Path) -> ModuleSpec:
        """Read folder/module.yaml. Raises SpecError with the place in the file and what was expected there."""
        path = folder / FILE_NAME
        if not path.is_file():
            raise SpecError(
                f"{folder}: expected a module folder, found no {FILE_NAME}",
                hint="a module folder is what Module.save() writes and what `hub install` puts in the cache",
            )
        try:
            return cls.parse(read_yaml(path))
        except SpecError as problem:
            where = "" if str(path) in problem.message else f"{path}: "
            raise SpecError(f"{where}{problem.message}", hint=problem.hint) from None

    @classmethod
    def parse(cls, data: object) -> ModuleSpec:
        """Check the parsed YAML and give the frozen value."""
        top = _Place("", data).mapping(
            required=("schema", "name", "version", "task", "arch", "weights", "license"),
            optional=("files", "head", "preprocess", "augment", "golden", "summary", "source", "requires"),
        )
        schema = top["schema"].whole_number()
        if schema > SCHEMA:
            raise SpecError(
                f"schema: this hub reads module.yaml up to schema {SCHEMA}, found {schema}",
                hint="pip install -U hubtune",
            )
        return cls(
            name=top["name"].that(is_module_name, A_NAME),
            version=top["version"].version(),
            task=top["task"].that(is_task, A_TASK),
            arch=_arch(top["arch"]),
            weights=top["weights"].each(_file, at_least=1),
            license=top["license"].text(),
            files=top["files"].each(_file) if "files" in top else (),
            head=_head(top["head"]) if "head" in top else None,
            preprocess=top["preprocess"].each(_step) if "preprocess" in top else (),
            augment=top["augment"].each(_step) if "augment" in top else (),
            golden=_golden(top["golden"]) if "golden" in top else None,
            summary=top["summary"].text() if "summary" in top else "",
            source=top["source"].plain_mapping() if "source" in top else {},
            requires=_requires(top["requires"]) if "requires" in top else {},
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the plain mapping that `parse` reads back to an equal value."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "task": self.task,
        }
        if self.summary:
            data["summary"] = self.summary
        data["arch"] = {"name": self.arch.name, **self.arch.arguments}
        for key, files in (("weights", self.weights), ("files", self.files)):
            if files:
                data[key] = [{"file": f.file, "sha256": f.sha256, "size": f.size} for f in files]
        if self.head:
            data["head"] = {"labels": self.head.labels, "multi_label": self.head.multi_label}
        for key, steps in (("preprocess", self.preprocess), ("augment", self.augment)):
            if steps:
                data[key] = [{step.name: dict(step.arguments)} for step in steps]
        if self.golden:
            data["golden"] = {
                "input": self.golden.input,
                "output": self.golden.output,
                "rtol": self.golden.rtol,
            }
        data["license"] = self.license
        if self.source:
            data["source"] = dict(self.source)
        if self.requires:
            data["requires"] = dict(self.requires)
        return data

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=110)


@dataclass(frozen=True)
class _Place:
    """A value and where in module.yaml it stands, so that every complaint can say so."""

    where: str
    value: object

    def fail(self, expected: str) -> SpecError:
        shown = repr(self.value)
        return SpecError(f"{self.where or FILE_NAME}: expected {expected}, found {shown[:60]}")

    def mapping(self, required: Sequence[str] = (), optional: Sequence[str] = ()) -> dict[str, _Place]:
        places = self.any_mapping()
        for key in required:
            if key not in places:
                raise SpecError(f"{self._join(key)}: missing", hint=did_you_mean(key, places))
        for key in places:
            if key not in required and key not in optional:
                known = (*required, *optional)
                hint = did_you_mean(key, known) or f"allowed here: {', '.join(known)}"
                raise SpecError(f"{self._join(key)}: unknown key", hint=hint)
        return places

    def any_mapping(self) -> dict[str, _Place]:
        if not isinstance(self.value, dict) or not all(isinstance(key, str) for key in self.value):
            raise self.fail("a mapping")
        return {key: _Place(self._join(key), value) for key, value in self.value.items()}

    def plain_mapping(self) -> dict[str, Any]:
        return {key: place.value for key, place in self.any_mapping().items()}

    def each(self, read: Callable[[_Place], T], at_least: int = 0) -> tuple[T, ...]:
        if not isinstance(self.value, list) or len(self.value) < at_least:
            raise self.fail("a list" + (f" of at least {at_least}" if at_least else ""))
        return tuple(read(_Place(f"{self.where}[{n}]", item)) for n, item in enumerate(self.value))

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.fail("a text")
        return self.value

    def that(self, is_right: Callable[[object], bool], meaning: str) -> str:
        if not is_right(self.value):
            raise self.fail(meaning)
        return str(self.value)

    def whole_number(self) -> int:
        if not is_size(self.value):
            raise self.fail("a whole number of at least 0")
        assert isinstance(self.value, int)
        return self.value

    def fraction(self) -> float:
        if not isinstance(self.value, int | float) or isinstance(self.value, bool) or not 0 <= self.value < 1:
            raise self.fail("a number from 0 up to 1, such as 1.0e-4 (YAML reads 1e-4 as a text)")
        return float(self.value)

    def true_or_false(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.fail("true or false")
        return self.value

    def version(self) -> str:
        # YAML reads `version: 1.0` as a number and would lose the zero of 1.10: only a text is sure.
        meaning = A_VERSION if isinstance(self.value, str) else 'a version in quotes, such as "1.0.0"'
        return self.that(is_version, meaning)

    def file_name(self) -> str:
        return self.that(is_safe_path, A_PATH)

    def _join(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key


def _file(place: _Place) -> File:
    parts = place.mapping(required=("file", "sha256", "size"))
    return File(
        file=parts["file"].file_name(),
        sha256=parts["sha256"].that(is_digest, "64 hex digits"),
        size=parts["size"].whole_number(),
    )


def _arch(place: _Place) -> Named:
    parts = place.any_mapping()
    if "name" not in parts:
        raise SpecError(f"{place.where}.name: missing", hint=did_you_mean("name", parts))
    return Named(parts.pop("name").text(), {key: part.value for key, part in parts.items()})


def _step(place: _Place) -> Named:
    parts = place.any_mapping()
    if len(parts) != 1:
        raise place.fail("one step with its arguments, such as {resize: {size: 32}}")
    [(name, arguments)] = parts.items()
    return Named(name, arguments.plain_mapping())


def _head(place: _Place) -> Head:
    parts = place.mapping(required=("labels",), optional=("multi_label",))
    multi_label = parts["multi_label"].true_or_false() if "multi_label" in parts else False
    return Head(parts["labels"].file_name(), multi_label)


def _golden(place: _Place) -> Golden:
    parts = place.mapping(required=("input", "output", "rtol"))
    return Golden(parts["input"].file_name(), parts["output"].file_name(), parts["rtol"].fraction())


def _requires(place: _Place) -> dict[str, str]:
    def specifier(part: _Place) -> str:
        try:
            return str(SpecifierSet(part.text()))
        except InvalidSpecifier:
            raise part.fail('versions such as ">=3.1,<4"') from None

    return {name: specifier(part) for name, part in place.mapping(optional=("hub", "paddle")).items()}
