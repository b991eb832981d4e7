"""The store of features: a hit only for the same content, and a miss for anything that is not whole."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hub.finetune import feature_store
from hub.finetune.feature_store import FeatureStore, Rows


class Counted:
    """Computes rows from the sample's number and remembers which were asked for."""

    def __init__(self, samples: list[str]) -> None:
        self.samples, self.asked = samples, []

    def __call__(self, indices: np.ndarray) -> Rows:
        self.asked += [self.samples[i] for i in indices.tolist()]
        values = np.array([float(self.samples[i]) for i in indices.tolist()], np.float32)
        return np.repeat(values[:, None], 3, axis=1), values[:, None, None] * np.ones((1, 2, 2), np.float32)


def ask(store: FeatureStore, samples: list[str], key: str = "k") -> tuple[Rows, list[str]]:
    compute = Counted(samples)
    rows = store.rows(key, samples, compute)
    for array in rows:
        assert [float(row.flat[0]) for row in array] == [float(sample) for sample in samples]
    return rows, compute.asked


@pytest.mark.parametrize(
    ("then", "asked"),
    [
        (["1", "2", "3"], []),
        (["3", "1"], []),
        (["2", "2", "2"], []),
        (["1", "4", "3"], ["4"]),
        (["5", "6"], ["5", "6"]),
    ],
)
def test_only_what_is_new_is_computed(tmp_path: Path, then: list[str], asked: list[str]) -> None:
    assert ask(FeatureStore(tmp_path), ["1", "2", "3"])[1] == ["1", "2", "3"]
    assert ask(FeatureStore(tmp_path), then)[1] == asked
    assert ask(FeatureStore(tmp_path), [*then, "1"])[1] == [], "nothing that was there is lost"


def test_a_set_is_kept_although_an_older_one_leaves_no_room_for_it(tmp_path: Path) -> None:
    """Each row takes 28 bytes, and ten of them are kept."""
    first, second = [str(n) for n in range(8)], [str(n) for n in range(100, 105)]
    assert ask(FeatureStore(tmp_path, limit=280), first)[1] == first
    assert ask(FeatureStore(tmp_path, limit=280), second)[1] == second
    assert ask(FeatureStore(tmp_path, limit=280), second)[1] == []
    assert ask(FeatureStore(tmp_path, limit=280), first)[1] == first[:3], (
        "what there was room for is still there"
    )
    assert ask(FeatureStore(tmp_path, limit=280), first)[1] == []
    many = [str(n) for n in range(200, 211)]
    assert ask(FeatureStore(tmp_path, limit=280), many)[1] == many, "which is too large to be kept"
    assert ask(FeatureStore(tmp_path, limit=280), first)[1] == [], "and has driven nothing out"


def test_a_part_of_an_entry_is_mapped_from_its_file(tmp_path: Path) -> None:
    for samples in (["1", "2", "3"], ["4", "5"]):
        ask(FeatureStore(tmp_path), samples)
    for samples in (["1", "2", "3"], ["4", "5"]):
        rows, asked = ask(FeatureStore(tmp_path), samples)
        assert not asked
        assert all(isinstance(array, np.memmap) for array in rows)


@pytest.mark.parametrize("kept", [True, False])
def test_a_few_new_rows_take_little_memory_beside_many_old_ones(
    tmp_path: Path, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "BLOCK", 1 << 20)

    def compute(indices: np.ndarray) -> Rows:
        return (np.ones((len(indices), 1 << 16), np.float32),)  # 256 KB each

    old = [f"old {n}" for n in range(100)]
    FeatureStore(tmp_path).rows("k", old, compute)
    store = FeatureStore(tmp_path, limit=feature_store.LIMIT if kept else 0)
    tracemalloc.start()
    rows = store.rows("k", ["new 1", old[3], "new 2"], compute)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows[0].shape == (3, 1 << 16)
    assert peak < 5 << 20, "the old ones are 25 MB"


def test_another_way_of_computing_is_another_entry(tmp_path: Path) -> None:
    ask(FeatureStore(tmp_path), ["1"], "a")
    assert ask(FeatureStore(tmp_path), ["1"], "b")[1] == ["1"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda entry: flip(entry / "rows-0.npy"),
    "a cut file": lambda entry: (entry / "rows-1.npy").write_bytes((entry / "rows-1.npy").read_bytes()[:-5]),
    "a missing file": lambda entry: (entry / "rows-0.npy").unlink(),
    "no index": lambda entry: (entry / "index.json").unlink(),
    "an empty index": lambda entry: (entry / "index.json").write_text(""),
    "an index that is a list": lambda entry: (entry / "index.json").write_text("[]"),
    "an index of brackets": lambda entry: (entry / "index.json").write_text("[" * 100_000),
    "an index of a later schema": lambda entry: (entry / "index.json").write_text('{"schema": 2}'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_computed_again(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    ask(FeatureStore(tmp_path), ["1", "2"])
    damage(tmp_path / "k")
    assert FeatureStore(tmp_path).readable("another") == set()
    assert ask(FeatureStore(tmp_path), ["1", "2"])[1] == ["1", "2"]
    assert ask(FeatureStore(tmp_path), ["1", "2"])[1] == []


def test_the_least_recently_used_entries_go(tmp_path: Path) -> None:
    samples = [str(n) for n in range(100)]
    one = sum(path.stat().st_size for path in _made(tmp_path / "x", samples).iterdir())
    store = FeatureStore(tmp_path / "s", limit=3 * one)
    for key in "abc":
        ask(store, samples, key)
    ask(store, samples, "a")  # now b is the one that was used least recently
    import os

    for age, key in enumerate("bca"):
        os.utime(tmp_path / "s" / key / "index.json", (1000 + age, 1000 + age))
    ask(store, samples, "d")
    assert not (tmp_path / "s" / "b").exists()
    assert ask(store, samples, "a")[1] == []


def _made(folder: Path, samples: list[str]) -> Path:
    ask(FeatureStore(folder), samples)
    return folder / "k"


def test_without_room_or_a_folder_nothing_is_kept_and_all_is_right(tmp_path: Path) -> None:
    for store in (FeatureStore(None), FeatureStore(tmp_path, limit=10)):
        assert ask(store, ["1", "2"])[1] == ["1", "2"]
        assert ask(store, ["1", "2"])[1] == ["1", "2"]
    assert not list(tmp_path.iterdir())


def test_which_samples_were_read_before_is_known_by_preprocessing(tmp_path: Path) -> None:
    FeatureStore(tmp_path).rows("k", ["1", "2"], Counted(["1", "2"]), about="resize")
    assert FeatureStore(tmp_path).readable("resize") == {"1", "2"}
    assert FeatureStore(tmp_path).readable("crop") == set()
    assert FeatureStore(None).readable("resize") == set()


def test_what_was_computed_is_mapped_from_its_file_at_once(tmp_path: Path) -> None:
    rows, _ = ask(FeatureStore(tmp_path), ["1", "2", "3"])
    assert all(isinstance(array, np.memmap) for array in rows)


def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / ".a.1-2.tmp", tmp_path / ".b.1-2.tmp"
    for left in (old, new):
        left.mkdir()
        (left / "rows-0.npy").write_bytes(b"half")
    os.utime(old, (0, 0))
    ask(FeatureStore(tmp_path), ["1"])
    assert not old.exists()
    assert new.exists()
