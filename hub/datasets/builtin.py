"""Published data sets by name: fetched once, checked, unpacked, and read by the same code as anybody's folder.

    from hub.datasets import builtin

    train, valid, test = builtin.load_by_name("ESC50")   # or Flowers, ChnSentiCorp, LCQMC, MSRA_NER
    folder = builtin.fetch("Canvas")                      # those without class labels: a folder to hand on

They are PaddleHub's, from its servers, which publish no digests: the digest of the first download is kept and every
later one, on this machine, must have it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from hub import settings
from hub.datasets.kinds import KINDS
from hub.datasets.sources import load
from hub.datasets.splits import Splits
from hub.errors import UsageError, one_of
from hub.files import dump_json, read_text, storage_errors, write_text
from hub.registry import download
from hub.registry.archive import Limits, unpack
from hub.registry.transport import Transport
from hub.registry.workspace import locked

_PADDLEHUB = "https://bj.bcebos.com/paddlehub-dataset"


@dataclass(frozen=True)
class BuiltIn:
    """Where a data set is, and what is in it."""

    url: str
    folder: str
    """The folder that its archive unpacks to."""
    about: str
    kind: str | None = None
    """What its folders, lists, tables or arrays hold; None for data without class labels."""
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
        kind="sounds", rate=44_100, labels=ESC50_LABELS,
    ),
    "Flowers": BuiltIn(
        f"{_PADDLEHUB}/flower_photos.tar.gz", "flower_photos", "3,670 photographs of 5 flowers", kind="pictures"
    ),
    "ChnSentiCorp": BuiltIn(
        f"{_PADDLEHUB}/chnsenticorp.tar.gz", "chnsenticorp",
        "12,000 Chinese reviews of hotels, books and computers: 0 is negative, 1 positive", kind="texts",
    ),
    "LCQMC": BuiltIn(
        f"{_PADDLEHUB}/lcqmc.tar.gz", "lcqmc", "260,000 pairs of Chinese questions: 1 where both mean the same",
        kind="pairs",
    ),
    "MSRA_NER": BuiltIn(
        f"{_PADDLEHUB}/msra_ner.tar.gz", "msra_ner",
        "28,000 Chinese sentences with people, places and organisations", kind="tagged",
    ),
    "OpticDiscSeg": BuiltIn(
        "https://paddleseg.bj.bcebos.com/dataset/optic_disc_seg.zip", "optic_disc_seg",
        "retina pictures with masks of the optic disc",
    ),
    "Canvas": BuiltIn(
        "https://paddlehub.bj.bcebos.com/dygraph/datasets/canvas.tar.gz", "canvas", "1,593 paintings without labels"
    ),
    "MiniCOCO": BuiltIn(
        "https://paddlehub.bj.bcebos.com/dygraph/datasets/minicoco.tar.gz", "minicoco",
        "2,201 photographs and 21 pictures of styles",
    ),
}  # fmt: skip
LIMITS = Limits(members=50_000)


def fetch(name: str, *, transport: Transport | None = None) -> Path:
    """Give the folder of a data set on this machine, downloaded when it is not there yet.

    Raises UsageError for a name that there is not, IntegrityError for other bytes than the first time, TransferError
    or OfflineError when they cannot be had, UnsafeFileError for an archive that is hostile.
    """
    chosen = _named(name)
    root = settings.home() / "datasets"
    folder, record = root / name.lower(), root / f"{name.lower()}.json"
    with storage_errors(root), locked(root / f"{name.lower()}.lock"):
        if folder.is_dir():
            return folder / chosen.folder
        known = json.loads(read_text(record))["sha256"] if record.is_file() else None
        archive = root / "archives" / chosen.url.rpartition("/")[2]
        found = download.fetch(
            [chosen.url], to=archive, partials=root / "partial", sha256=known, transport=transport
        )
        write_text(record, dump_json({"url": chosen.url, "sha256": found.sha256, "size": found.size}))
        unpack(archive, folder, limits=LIMITS, code="skip")
        shutil.rmtree(archive.parent)
    return folder / chosen.folder


def load_by_name(name: str, *, transport: Transport | None = None) -> Splits:
    """Give the parts of a labelled data set. Raises what `fetch` and `load` raise, UsageError without labels."""
    chosen = _named(name)
    if chosen.kind is None:
        raise UsageError(
            f"{name} has no class labels", hint="fetch() gives its folder, for the task it is made for"
        )
    folder = fetch(name, transport=transport)
    return load(folder, KINDS[chosen.kind], labels=chosen.labels or None, rate=chosen.rate)


def _named(name: str) -> BuiltIn:
    if name not in BUILT_IN:
        raise one_of("data set", name, BUILT_IN)
    return BUILT_IN[name]
