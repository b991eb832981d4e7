"""What predict takes as texts, pairs and words, and what stands for them in results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hub.datasets import KINDS
from hub.errors import InputError
from hub.inputs import describe, expand

WORDS = [["EU", "rejects"], ["Peter"]]
GIVEN: list[tuple[str, Any, list[Any]]] = [
    ("texts", "a text", ["a text"]),
    ("texts", "no/such/file.txt", ["no/such/file.txt"]),
    ("texts", "x" * 300 + ".txt", ["x" * 300 + ".txt"]),
    ("texts", "*.txt", ["*.txt"]),
    ("texts", ["a", "b"], ["a", "b"]),
    ("texts", ("a", "b"), ["a", "b"]),
    ("texts", np.array(["a", "b"]), ["a", "b"]),
    ("texts", (text for text in "ab"), ["a", "b"]),
    ("texts", [], []),
    ("texts", Path("gone.txt"), [Path("gone.txt")]),
    ("texts", 7, [7]),
    ("texts", {"text": "a"}, [{"text": "a"}]),
    ("pairs", ("a", "b"), [("a", "b")]),
    ("pairs", ["a", "b"], [("a", "b")]),
    ("pairs", [("a", "b"), ["c", "d"]], [("a", "b"), ("c", "d")]),
    ("pairs", ["a", "b", "c"], ["a", "b", "c"]),
    ("tagged", "EU rejects", ["EU rejects"]),
    ("tagged", ["EU rejects", "Peter"], ["EU rejects", "Peter"]),
    ("tagged", WORDS, WORDS),
    ("tagged", [("EU", "rejects"), np.array(["Peter"])], WORDS),
    ("tagged", ["EU rejects", ["Peter"]], ["EU rejects", ["Peter"]]),
]


@pytest.mark.parametrize(("kind", "given", "wanted"), GIVEN)
def test_a_str_is_a_text_and_a_list_is_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, given: Any, wanted: list[Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("a file that is called like a text", encoding="utf-8")
    found = expand(given, KINDS[kind])
    assert found == wanted
    assert [type(each) for each in found] == [str if type(each) is np.str_ else type(each) for each in wanted]


@pytest.mark.parametrize("kind", ["texts", "tagged"])
def test_a_file_has_a_text_a_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "reviews.txt"
    path.write_bytes("\ufeffgood\r\n\r\n  bad, really \r\n\u3000\r\n不好".encode())
    wanted = ["good", "bad, really", "不好"]
    assert expand(path, KINDS[kind]) == wanted
    assert expand(str(path), KINDS[kind]) == wanted
    assert expand(["first", path, str(path)], KINDS[kind]) == ["first", *wanted, *wanted]


def test_a_file_of_pairs_has_a_tab_in_each_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("a b\tc\n\nd\te\n", encoding="utf-8")
    assert expand(path, KINDS["pairs"]) == [("a b", "c"), ("d", "e")]
    path.write_text("a b\tc\n\nd e\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"pairs\.tsv, line 3: expected two texts with a tab between them, found 'd e'"
    ):
        expand(path, KINDS["pairs"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n \n", "expected a text a line, found none"),
        ("好\n不好".encode("gbk"), "line 1: expected UTF-8; it looks like GBK; save the file as UTF-8"),
    ],
)
def test_a_file_without_texts_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        expand(path, KINDS["texts"])
    with pytest.raises(InputError, match="a directory"):
        expand(tmp_path, KINDS["texts"])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("texts", "a.tsv"),
        ("texts", "a.csv"),
        ("tagged", "a.jsonl"),
        ("pairs", "a.csv"),
        ("rated texts", "a.TSV"),
    ],
)
def test_a_table_is_no_file_of_texts(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    path.write_text("text\tlabel\nfine\tgood\n", encoding="utf-8")
    with pytest.raises(InputError, match="a line, found a table") as caught:
        expand(path, KINDS[kind])
    assert "evaluate()" in str(caught.value)


@pytest.mark.parametrize("given", [[("a", "good"), ("b", "bad")], [["a", "good"]], [("a", 1)]])
def test_texts_with_their_labels_are_no_texts(given: Any) -> None:
    with pytest.raises(InputError, match="expected texts, found"):
        expand(given, KINDS["texts"])


def test_a_line_that_is_called_like_a_file_stays_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a.txt\nb\n", encoding="utf-8")
    once = expand("a.txt", KINDS["texts"])
    assert once == expand(once, KINDS["texts"]) == ["a.txt", "b"]


def test_a_frame_is_no_list_of_its_column_names() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", "b"]})
    assert expand(frame["text"], KINDS["texts"]) == ["a", "b"]
    [found] = expand(frame, KINDS["texts"])
    assert found is frame


def test_the_beginning_of_a_text_stands_for_it() -> None:
    texts = KINDS["texts"]
    assert describe("a" * 60, 0, texts) == "a" * 60
    assert describe("a" * 61, 0, texts) == "a" * 60 + "…"
    assert describe(("one", "two"), 0, KINDS["pairs"]) == "one | two"
    assert describe(["EU", "rejects"], 0, KINDS["tagged"]) == "EU rejects"
    assert describe(Path("gone.txt"), 0, texts) == "gone.txt"
    assert describe(7, 3, texts) == describe([], 3, texts) == "input 3"
    assert describe("a/" * 60, 0) == "a/" * 60, "a path stands there whole"
