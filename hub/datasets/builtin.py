"""Published data sets by name: fetched once, checked, unpacked, and read by the same code as anybody's folder.

    module.finetune("ESC50")                               # a name stands wherever a path may
    train, valid, test = load("ESC50", kind="sounds")      # of hub.datasets
    folder = builtin.fetch("MiniCOCO")                     # the files themselves

A file or folder of that name in the working directory comes first, because data without ./ has always been a path, and
because a name must not turn into another set when there is a network.

They are PaddleHub's, from its servers, which publish no digests: the digest of the first download is kept and every
later one, on this machine, must have it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub import settings
from hub.datasets.kinds import KINDS
from hub.datasets.splits import Splits
from hub.errors import DataError, NotFoundError, UsageError, did_you_mean, one_of
from hub.files import dump_json, read_text, storage_errors, write_text
from hub.registry import download
from hub.registry.archive import Limits, unpack
from hub.registry.sources.progress import progress_bar, steps
from hub.registry.transfer import Progress
from hub.registry.transport import Transport
from hub.registry.workspace import locked, remove_file, temporary

_PADDLEHUB = "https://bj.bcebos.com/paddlehub-dataset"


@dataclass(frozen=True)
class BuiltIn:
    """Where a data set is, and what is in it."""

    url: str
    folder: str
    """The folder that its archive unpacks to."""
    about: str
    task: str
    """The task that it was published for."""
    inputs: str
    """What it holds, as tasks say what they learn from: a name of `KINDS`, or "masks" or "unlabelled"."""
    rate: int | None = None
    labels: tuple[str, ...] = ()
    """Class names, where the archive has only numbers."""


ESC50_LABELS = (
    "dog", "rooster", "pig", "cow", "frog", "cat", "hen", "insects", "sheep", "crow",
    "rain", "sea_waves", "crackling_fire", "crickets", "chirping_birds", "water_drops", "wind", "pouring_water",
    "toilet_flush", "thunderstorm",
    "crying_baby", "sneezing", "clapping", "breathing", "coughing", "footsteps", "laughing", "brushing_teeth",
    "snoring", "drinking_sipping",
    "door_wood_knock", "mouse_click", "keyboard_typing", "door_wood_creaks", "can_opening", "washing_machine",
    "vacuum_cleaner", "clock_alarm", "clock_tick", "glass_breaking",
    "helicopter", "chainsaw", "siren", "car_horn", "engine", "train", "church_bells", "airplane", "fireworks",
    "hand_saw",
)  # fmt: skip
"""In the order of ESC-50's own class numbers, under its own names."""

BUILT_IN = {
    "ESC50": BuiltIn(
        f"{_PADDLEHUB}/esc50.tar.gz", "esc50", "2,000 environmental sounds of 5 s, 50 classes",
        "audio_classification", "sounds", rate=44_100, labels=ESC50_LABELS,
    ),
    "Flowers": BuiltIn(
        f"{_PADDLEHUB}/flower_photos.tar.gz", "flower_photos", "3,670 photographs of 5 flowers",
        "image_classification", "pictures",
    ),
    "ChnSentiCorp": BuiltIn(
        f"{_PADDLEHUB}/chnsenticorp.tar.gz", "chnsenticorp",
        "12,000 Chinese reviews of hotels, books and computers: 0 is negative, 1 positive",
        "text_classification", "texts",
    ),
    "LCQMC": BuiltIn(
        f"{_PADDLEHUB}/lcqmc.tar.gz", "lcqmc", "260,000 pairs of Chinese questions: 1 where both mean the same",
        "text_matching", "pairs",
    ),
    "MSRA_NER": BuiltIn(
        f"{_PADDLEHUB}/msra_ner.tar.gz", "msra_ner",
        "28,000 Chinese sentences with people, places and organisations", "sequence_labeling", "tagged",
    ),
    "OpticDiscSeg": BuiltIn(
        "https://paddleseg.bj.bcebos.com/dataset/optic_disc_seg.zip", "optic_disc_seg",
        "retina pictures with masks of the optic disc", "semantic_segmentation", "masks",
        labels=("background", "optic_disc"),
    ),
    "Canvas": BuiltIn(
        "https://paddlehub.bj.bcebos.com/dygraph/datasets/canvas.tar.gz", "canvas", "1,593 paintings without labels",
        "colorization", "unlabelled",
    ),
    "MiniCOCO": BuiltIn(
        "https://paddlehub.bj.bcebos.com/dygraph/datasets/minicoco.tar.gz", "minicoco",
        "2,201 photographs, and 21 pictures of styles in its folder 21styles", "style_transfer", "unlabelled",
    ),
}  # fmt: skip
HELD = {
    "pictures": "pictures with labels", "sounds": "sounds", "texts": "texts", "pairs": "pairs of texts",
    "tagged": "tagged words", "rated texts": "texts with numbers", "rated pairs": "pairs of texts with numbers",
    "masks": "pictures with masks", "unlabelled": "pictures without labels",
}  # fmt: skip
"""What data sets hold, for messages."""
ALSO_FOR = {("pictures", "unlabelled")}
"""Pictures with labels serve where labels are not looked at."""
LOCK_TIMEOUT_S = 12 * 3600.0
"""How long to wait for another process, which may be fetching gigabytes."""
LIMITS = Limits(members=50_000)


def is_name(data: Any) -> bool:
    """Say whether data is the name of a published set: a str that is no file or folder here."""
    return isinstance(data, str) and data in BUILT_IN and not os.path.lexists(data)


def require_fit(data: Any, inputs: str) -> None:
    """Raise UsageError for the name of a set that a task which takes `inputs` cannot learn from.

    Raises DataError for a word that is no path, is like no path beside it, and is nearly the name of a set.
    """
    if is_name(data):
        fitting = [name for name in BUILT_IN if _fits(name, inputs)]
        if data not in fitting:
            by_name = f"by name there is {' and '.join(fitting)}; " if fitting else ""
            raise UsageError(
                f"{data} holds {HELD[BUILT_IN[data].inputs]}, the task learns from {HELD.get(inputs, inputs)}",
                hint=f"{by_name}hub.datasets.builtin.fetch({data!r}) gives the folder of {data}",
            )
    elif isinstance(data, str) and _is_word(data) and not os.path.lexists(data):
        meant = did_you_mean(data, BUILT_IN)
        if meant and not did_you_mean(data, os.listdir()):
            raise DataError(f"{data}: no such file or folder, and no published data set", hint=meant)


def resolve(data: Any, inputs: str, *, progress: bool = True) -> Any:
    """Give what a name stands for, for a task that takes `inputs`, and data of any other form as it is.

    Sets with labels become `Splits`, others a folder. Raises what `require_fit` raises, before anything is fetched,
    and what `fetch` raises.
    """
    if isinstance(data, str) and not data:  # which to pathlib is the working directory
        raise UsageError("data: expected a path or the name of a published set, found an empty text")
    require_fit(data, inputs)
    if not is_name(data):
        return data
    has_labels = BUILT_IN[data].inputs in KINDS
    return load_by_name(data, progress=progress) if has_labels else fetch(data, progress=progress)


def fetch(name: str, *, transport: Transport | None = None, progress: bool = True) -> Path:
    """Give the folder of a data set on this machine, downloaded when it is not there yet.

    `progress` draws a bar where a person looks at stderr. Raises UsageError for a name that there is not,
    IntegrityError for other bytes than the first time, TransferError or OfflineError when they are not available,
    UnsafeFileError for an archive that is hostile.
    """
    chosen = _named(name)
    folder, record = _places(name)
    root = folder.parent
    if is_here(name):
        return folder / chosen.folder
    with storage_errors(root), locked(root / f"{name.lower()}.lock", timeout_s=LOCK_TIMEOUT_S):
        if is_here(name):
            return folder / chosen.folder
        known = json.loads(read_text(record))["sha256"] if record.is_file() else None
        archive = root / "archives" / chosen.url.rpartition("/")[2]
        with _bar(name, drawn=progress) as advance:
            found = download.fetch(
                [chosen.url], to=archive, partials=root / "partial", sha256=known, transport=transport,
                progress=advance,
            )  # fmt: skip
        write_text(record, dump_json({"url": chosen.url, "sha256": found.sha256, "size": found.size}))
        unpack(archive, folder, limits=LIMITS, code="skip")
        _name_classes(folder / chosen.folder, chosen)
        remove_file(archive)
    return folder / chosen.folder


def _name_classes(folder: Path, chosen: BuiltIn) -> None:
    """Put the names of the classes beside masks whose archive has none: a folder of masks is read as it is."""
    from hub.datasets.mask_files import NAME_FILES  # it is built on what asks this file

    if chosen.inputs == "masks" and not any((folder / name).exists() for name in NAME_FILES):
        write_text(folder / NAME_FILES[0], "\n".join(chosen.labels))


@contextmanager
def _bar(name: str, *, drawn: bool) -> Iterator[Progress | None]:
    """Give what a download calls as bytes arrive: nobody knows the size before the server has said it."""
    with ExitStack() as stack:
        bar: Progress | None = None

        def advance(done: int, size: int | None) -> None:
            nonlocal bar
            if bar is None:
                bar = steps(stack.enter_context(progress_bar(name, size or 0)))
            bar(done, size)

        yield advance if drawn else None


def is_here(name: str) -> bool:
    """Say whether a data set is on this machine: it appears whole or not at all."""
    return _places(name)[0].is_dir()


def remove(name: str) -> None:
    """Remove the files of a data set from this machine; the record stays, for the next download to be compared with.

    Raises UsageError for a name that there is not, StorageError where nothing can be removed.
    """
    _named(name)
    folder, _ = _places(name)
    lock = folder.with_name(f"{folder.name}.lock")
    with storage_errors(folder), locked(lock, timeout_s=LOCK_TIMEOUT_S), temporary("rm") as work:
        if is_here(name):
            folder.rename(work / folder.name)  # in one step: it is there whole or not at all


def place_of(name: str) -> Path:
    """Give the folder of a data set in the cache. Raises NotFoundError for one that is not on this machine."""
    if not is_here(name):
        raise NotFoundError(
            f"{name} is not on this machine", hint="hub datasets shows which data sets are installed"
        )
    return _places(name)[0]


def size_of(name: str) -> int | None:
    """Give the bytes of a data set's archive, None where it was never fetched on this machine."""
    _, record = _places(name)
    return int(json.loads(read_text(record))["size"]) if record.is_file() else None


def load_by_name(name: str, *, transport: Transport | None = None, progress: bool = True) -> Splits:
    """Give the parts of a labelled data set. Raises what `fetch` and `load` raise, UsageError without labels."""
    from hub.datasets.sources import load  # which asks this file what a name stands for

    chosen = _named(name)
    if chosen.inputs not in KINDS:
        raise UsageError(
            f"{name} has no class labels", hint="fetch() gives its folder, for the task it is made for"
        )
    folder = fetch(name, transport=transport, progress=progress)
    splits = load(folder, KINDS[chosen.inputs], labels=chosen.labels or None, rate=chosen.rate)
    for part in splits:
        if part is not None:
            part.name = name
    return splits


def _named(name: str) -> BuiltIn:
    if name not in BUILT_IN:
        raise one_of("data set", name, BUILT_IN)
    return BUILT_IN[name]


def _places(name: str) -> tuple[Path, Path]:
    """Give where a data set is unpacked to, and the record of what was fetched."""
    root = settings.home() / "datasets"
    return root / name.lower(), root / f"{name.lower()}.json"


def _fits(name: str, inputs: str) -> bool:
    held = BUILT_IN[name].inputs
    return held == inputs or (held, inputs) in ALSO_FOR


def _is_word(text: str) -> bool:
    return text.replace("-", "").replace("_", "").isalnum()
