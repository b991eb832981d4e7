"""A module folder to a network and back: `load` and `save` are inverse functions."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import paddle

from hub.errors import IntegrityError, SpecError, StorageError, UsageError, WeightsError
from hub.files import is_line, read_text, sha256_of, staged_folder, write_text
from hub.modules import archs, huggingface, preprocessor, weights
from hub.modules.archs import Backbone
from hub.modules.building import building
from hub.modules.preprocessor import Preprocessor
from hub.modules.spec import FILE_NAME, File, Golden, Head, ModuleSpec, Named

WEIGHTS_FILE = "weights.safetensors"
LABELS_FILE = "labels.txt"
CARD_FILE = "README.md"
MOST_FILE_BYTES = 1 << 26
"""Of each file that the preprocessing reads."""

# A replay on the machine that wrote the golden values differs by rounding; another CPU adds its own order of
# sums. Wrong weights or another preprocessing differ in the first digit.
GOLDEN_RTOL = 1e-3


@dataclass(frozen=True)
class Bundle:
    """A module in memory. `head_state` has the names that the task's head gives its parameters."""

    spec: ModuleSpec
    labels: tuple[str, ...]
    backbone: Backbone
    head_state: weights.State
    preprocessor: Preprocessor
    card: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What the preprocessing reads besides, by name: a tokenizer's files, such as tokenizer.json or vocab.txt."""


def load(folder: Path, *, check_digests: bool = True) -> Bundle:
    """Build the network that the folder describes, with the folder's weights in it.

    A folder without module.yaml may be a text encoder in Hugging Face's layout. `check_digests=False` trusts the
    bytes: for a folder that the registry has just verified.
    Raises SpecError, IntegrityError or WeightsError, each with the file and the place in it.
    """
    published = not (folder / FILE_NAME).is_file() and huggingface.is_published(folder)
    spec = huggingface.read(folder) if published else ModuleSpec.read(folder)
    if spec.arch.name == huggingface.AS_PUBLISHED:
        spec = huggingface.completed(spec, folder)
    if check_digests and not published:  # nothing was promised about the bytes of what others published
        for file in (*spec.weights, *spec.files):
            check_file(folder, file)
    files = {file.file: _read_bytes(folder / file.file) for file in spec.files}
    state: dict[str, np.ndarray] = {}
    for file in spec.weights:
        state.update(weights.load(folder / file.file))
    with building(), paddle.LazyGuard():  # skips the random initialisation that the weights would overwrite
        backbone = archs.build(spec.arch.name, **spec.arch.arguments)
    backbone_state, head_state = _split(state, spec, backbone, folder)
    weights.give(backbone, backbone_state, what=str(folder / spec.weights[0].file))
    for parameter in backbone.parameters():  # what would have made it, and cannot be sent to another process
        parameter._init_func = parameter._init_op_creator = None
    labels = _read_labels(folder, spec.head) if spec.head else ()
    steps = preprocessor.build(spec.preprocess, spec.augment, files)
    require_fit(backbone, steps)
    card = folder / CARD_FILE
    return Bundle(
        spec=spec,
        labels=labels,
        backbone=backbone,
        head_state=head_state,
        preprocessor=steps,
        card=read_text(card) if card.is_file() else "",
        files=files,
    )


def require_fit(backbone: Backbone, steps: Preprocessor) -> None:
    """Raise SpecError unless the network takes every piece that the tokenizer may give, and as many as it may give."""
    tokenizer = getattr(steps, "tokenizer", None)
    if tokenizer is None:
        return
    limits = (
        ("pieces", tokenizer.ids, getattr(backbone, "pieces", None), "rows of the embeddings"),
        ("segments", tokenizer.segments, getattr(backbone, "segments", None), "segments"),
        ("max_length", tokenizer.max_length, getattr(backbone, "longest", None), "positions"),
    )
    for what, found, most, of in limits:
        if most and found > most:
            raise SpecError(
                f"tokenizer: {what}: the network has {most:,} {of}, the tokenizer gives up to {found:,}"
            )


def relearned(
    bundle: Bundle,
    backbone: Backbone,
    *,
    name: str,
    task: str,
    labels: tuple[str, ...],
    multi_label: bool,
    dropped: int,
) -> Bundle:
    """Give the bundle as it is with a fresh head, which learns: without the golden values and the card it had.

    `dropped` is how many groups of layers the backbone has lost since it was the bundle's.
    """
    spec = bundle.spec
    with_labels = f" with {len(labels)} labels" if len(labels) > 1 else ""
    origin = spec.source.get("finetuned_from") or f"{spec.name} {spec.version}"
    arch = spec.arch
    if dropped:
        without = {
            "drop_groups": arch.arguments.get("drop_groups", 0) + dropped,
            "drop_channels": backbone.feature_spec.channels,
        }
        arch = Named(arch.name, {**arch.arguments, **without})
    spec = replace(
        spec,
        arch=arch,
        task=task,
        name=name,
        version="1.0.0",
        head=Head(LABELS_FILE, multi_label) if labels else None,
        golden=None,
        summary=f"{task.replace('_', ' ')}{with_labels}, fine-tuned from {origin}",
        source={"finetuned_from": origin},
    )
    return replace(bundle, spec=spec, backbone=backbone, labels=labels, head_state={}, card="")


def check_file(folder: Path, file: File) -> None:
    """Raise IntegrityError unless the file has the size and the sha256 that module.yaml promises."""
    path = folder / file.file
    if not path.is_file():
        raise IntegrityError(f"{path}: module.yaml names this file, but it is not there")
    size = path.stat().st_size
    if size != file.size:
        raise IntegrityError(f"{path}: expected {file.size:,} bytes, found {size:,}", hint=_again(folder))
    digest = sha256_of(path)
    if digest != file.sha256:
        raise IntegrityError(f"{path}: expected sha256 {file.sha256}, found {digest}", hint=_again(folder))


def require_replaceable(folder: Path) -> None:
    """Raise StorageError for a folder that holds something and is no module."""
    if (
        os.path.exists(folder)
        and not (folder / FILE_NAME).is_file()
        and (folder.is_file() or any(folder.iterdir()))
    ):
        raise StorageError(f"{folder}: exists and is no module folder", hint="choose a new folder")


def save(
    folder: Path,
    bundle: Bundle,
    *,
    golden: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]] | None = None,
) -> Path:
    """Write a module folder in one step: it appears whole or not at all.

    A folder that is a module already is replaced; any other that holds something is refused (StorageError).
    `golden` is (input, output), stored beside the weights and named in module.yaml. Gives the folder. Raises UsageError
    for labels that could not be read back.
    """
    require_labels(bundle.labels)
    require_replaceable(folder)
    with staged_folder(folder) as staging:
        state = {f"backbone.{name}": array for name, array in weights.state_of(bundle.backbone).items()}
        state |= {f"head.{name}": array for name, array in bundle.head_state.items()}
        weights.save(staging / WEIGHTS_FILE, state)
        for name, content in bundle.files.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        spec = replace(
            bundle.spec,
            weights=(_described(staging, WEIGHTS_FILE),),
            files=tuple(_described(staging, name) for name in bundle.files),
            golden=None,
        )
        if spec.head:
            spec = replace(spec, head=replace(spec.head, labels=LABELS_FILE))
            write_text(staging / LABELS_FILE, "".join(f"{label}\n" for label in bundle.labels))
        if golden:
            spec = replace(spec, golden=_write_golden(staging, *golden))
        write_text(staging / FILE_NAME, spec.to_yaml())
        if bundle.card:
            write_text(staging / CARD_FILE, bundle.card)
    return folder


def _described(folder: Path, name: str) -> File:
    return File(name, sha256_of(folder / name), (folder / name).stat().st_size)


def _read_bytes(path: Path) -> bytes:
    size = path.stat().st_size if path.is_file() else None
    if size is None or size > MOST_FILE_BYTES:
        found = "none" if size is None else f"{size:,} bytes"
        raise SpecError(f"{path}: expected a file of at most {MOST_FILE_BYTES:,} bytes, found {found}")
    return path.read_bytes()


def read_golden(folder: Path, golden: Golden) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give the stored (input, output)."""
    return weights.load(folder / golden.input), weights.load(folder / golden.output)


def _write_golden(
    folder: Path, given: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> Golden:
    golden = Golden("golden/input.safetensors", "golden/output.safetensors", GOLDEN_RTOL)
    (folder / "golden").mkdir()
    weights.save(folder / golden.input, given)
    weights.save(folder / golden.output, expected)
    return golden


def _split(
    state: Mapping[str, np.ndarray], spec: ModuleSpec, backbone: Backbone, folder: Path
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give (backbone, head) from our own layout, or from that of a checkpoint as it was published."""
    ours = all(name.startswith(("backbone.", "head.")) for name in state)
    if spec.arch.name in huggingface.ARCHITECTURES and not ours:
        return dict(huggingface.backbone_state(spec.arch, state)), {}
    if spec.weights[0].file.endswith(".pdparams"):
        body, head = backbone.from_published(state)
        return body, head or {}
    parts: dict[str, dict[str, np.ndarray]] = {"backbone": {}, "head": {}}
    for name, array in state.items():
        part, _, rest = name.partition(".")
        if part not in parts or not rest:
            raise WeightsError(f"{folder}: expected tensors called backbone.… and head.…, found {name!r}")
        parts[part][rest] = array
    return parts["backbone"], parts["head"]


def require_labels(labels: Sequence[str], what: str = "labels") -> None:
    """Raise UsageError for names of classes that labels.txt cannot hold: each is a line of its own, and stands once."""
    broken = next((label for label in labels if not is_line(label)), None)
    repeated = next((label for label, count in Counter(labels).items() if count > 1), None)
    if broken is not None or repeated is not None:
        found = repr(broken) if broken is not None else f"{repeated!r} twice"
        raise UsageError(f"{what}: expected names of one line of UTF-8, each once, found {found}")


def _read_labels(folder: Path, head: Head) -> tuple[str, ...]:
    text = read_text(folder / head.labels)
    labels = tuple(text.removesuffix("\n").split("\n")) if text else ()
    if not labels or "" in labels:
        found = "an empty line" if labels else "no lines"
        raise SpecError(f"{folder / head.labels}: expected one class name a line, found {found}")
    try:
        require_labels(labels, str(folder / head.labels))
    except UsageError as error:
        raise SpecError(error.message) from None
    return labels


def _again(folder: Path) -> str:
    return f"the file was changed or damaged after {folder.name} was made: install or copy the module again"
