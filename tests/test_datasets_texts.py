"""Texts and pairs of them from tables with and without header, folders, objects and frames, and what is wrong."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hub
from hub.datasets import KINDS, Dataset, Sample, Table, builtin, check, load, prepare, prepare_evaluation
from hub.datasets.by_task import prepare_evaluation_for, prepare_for
from hub.datasets.sources import load_parts
from hub.errors import DataError, InputError, UsageError
from hub.registry.transport import MemoryTransport
from tests.test_datasets_sounds import archive_of

TEXTS, PAIRS = KINDS["texts"], KINDS["pairs"]


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def rows(dataset: Dataset | None) -> list[tuple[Any, str]]:
    assert dataset is not None
    return [(sample.input, dataset.labels[sample.label]) for sample in dataset]  # type: ignore[index]


def problems(dataset: Dataset | None) -> list[str]:
    assert dataset is not None
    return [str(problem) for problem in dataset.problems]


GOOD = [("房间很大", "1"), ("不好", "0"), ("fine, really", "1")]

# ---- tables ----

TABLES = {
    "PaddleHub's, label first": ("a.tsv", "label\ttext_a\n1\t房间很大\n0\t不好\n1\tfine, really\n"),
    "text first": ("a.tsv", "text_a\tlabel\n房间很大\t1\n不好\t0\nfine, really\t1"),
    "with numbers": ("a.tsv", "qid\tlabel\ttext_a\n7\t1\t房间很大\n8\t0\t不好\n9\t1\tfine, really\n"),
    "called .txt": ("a.txt", "label\ttext_a\n1\t房间很大\n0\t不好\n1\tfine, really\n"),
    "without header": ("a.tsv", "房间很大\t1\n不好\t0\nfine, really\t1\n"),
    "without header, label first": ("a.txt", "1\t房间很大\n0\t不好\n1\tfine, really\n"),
    "csv": ("a.csv", 'Review,Sentiment\n房间很大,1\n不好,0\n"fine, really",1\n'),
    "csv without header": ("a.csv", '房间很大,1\n不好,0\n"fine, really",1\n'),
    "csv of a frame without names": ("a.csv", '0,1\n房间很大,1\n不好,0\n"fine, really",1\n'),
    "tsv of a frame without names": ("a.tsv", "0\t1\n1\t房间很大\n0\t不好\n1\tfine, really\n"),
    "semicolons": ("a.csv", "text;label\n房间很大;1\n不好;0\nfine, really;1\n"),
    "jsonl": ("a.jsonl", "".join(json.dumps({"sentence": t, "label": label}) + "\n" for t, label in GOOD)),
    "a json list": ("a.json", json.dumps([{"sentence": t, "label": label} for t, label in GOOD], indent=1)),
    "lines called json": (
        "a.json",
        "".join(json.dumps({"sentence": t, "label": label}) + "\n" for t, label in GOOD),
    ),
    "windows": ("a.tsv", "\ufefflabel\ttext_a\r\n1\t房间很大\r\n0\t不好\r\n1\tfine, really\r\n\r\n"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_hold_texts_and_labels(tmp_path: Path, name: str) -> None:
    file, content = TABLES[name]
    train, valid, test = load(write(tmp_path / file, content), "texts")
    assert rows(train) == GOOD
    assert problems(train) == []
    assert (valid, test, train.labels, train.kind) == (None, None, ("0", "1"), TEXTS)
    assert train.path(0) is None
    check(train)


def test_the_parts_of_a_folder_share_their_labels(tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        write(tmp_path / f"{name}.tsv", f"label\ttext_a\nbad\tone {name}\ngood\ttwo {name}\n")
    splits = load(tmp_path, TEXTS)
    assert [rows(each)[1] for each in splits] == [
        (f"two {name}", "good") for name in ("train", "dev", "test")
    ]
    assert str(splits.test.origin(1)) == f"{tmp_path / 'test.tsv'}, row 3"  # type: ignore[union-attr]
    assert [len(each) for each in prepare(tmp_path, kind="texts").train.check().splits if each] == [2]


@pytest.mark.parametrize("kind", ["texts", "tagged", "pairs", "rated texts"])
def test_tables_without_one_to_learn_from_are_parts_to_measure_on(tmp_path: Path, kind: str) -> None:
    header, line = {
        "texts": ("label\ttext_a", "bad\ta {}\n\ngood\tb"),
        "tagged": ("tokens\ttags", "['a', '{}']\t['O', 'X']"),
        "pairs": ("text_a\ttext_b\tlabel", "a\t{}\tbad"),
        "rated texts": ("text_a\tscore", "a {}\t0.5\nb\t0.25"),
    }[kind]
    for name in ("dev", "test"):
        write(tmp_path / f"{name}.tsv", f"{header}\n{line.format(name)}\n")
    assert "test" in str(load_parts(tmp_path, kind)["test"][0].input)
    with pytest.raises(DataError, match="expected a part called train, found valid and test alone"):
        load(tmp_path, kind)


def test_the_parts_of_a_folder_may_be_called_json_and_other_tables_come_first(tmp_path: Path) -> None:
    line = json.dumps({"text": "a", "label": "x"}) + "\n"
    for name in ("train.json", "dev.json"):
        write(tmp_path / name, line * 2)
    train, valid, _ = load(tmp_path, TEXTS)
    assert (rows(train), rows(valid)) == ([("a", "x")] * 2, [("a", "x")] * 2)
    write(tmp_path / "train.csv", "text,label\nb,y\n")
    train, valid, _ = load(tmp_path, TEXTS)
    assert (rows(train), valid) == ([("b", "y")], None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.xlsx", "save it as .csv; or in Python pass pandas.read_excel('a.xlsx')"),
        ("a.parquet", "save it as .csv; or in Python pass pandas.read_parquet('a.parquet')"),
        ("a.csv.gz", "unpack it, and pass what was in it"),
    ],
)
def test_what_others_read_is_said(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(DataError, match=f"a {Path(name).suffix} file is no dataset") as caught:
        load(write(tmp_path / name, "PK"), TEXTS)
    assert caught.value.hint == said


def test_a_quoted_line_break_in_a_tsv_is_one_problem(tmp_path: Path) -> None:
    content = 'label\ttext_a\n1\tfine\n0\t"bad\n\nreally ""so"""\n1\t"good\n0\tno\n'
    train = load(write(tmp_path / "a.tsv", content), TEXTS).train
    assert [text for text, _ in rows(train)] == ["fine", '"good', "no"]
    [problem] = problems(train)
    assert "row 3: broken cell" in problem
    assert "save the table as .csv or .jsonl" in problem
    content = 'text_a\tlabel\nfine\t1\n"bad\nreally"\t0\nno\t0\n'
    train = load(write(tmp_path / "b.tsv", content), TEXTS).train
    assert [text for text, _ in rows(train)] == ["fine", "no"]
    assert len(problems(train)) == 1


def test_a_long_cell_is_read_and_a_repeated_column_is_refused(tmp_path: Path) -> None:
    train = load(write(tmp_path / "a.csv", f"text,label\n{'x' * 200_000},a\ny,b\n"), TEXTS).train
    assert [len(text) for text, _ in rows(train)] == [200_000, 1]
    [problem] = problems(load(write(tmp_path / "b.csv", "text,label,label\nx,a,b\n"), TEXTS).train)
    assert "bad table 'label' (expected columns of different names, found text, label, label)" in problem


@pytest.mark.parametrize(
    "table", ["id,text,label,id\n0,x,a,0\n1,y,b,1\n", "text,label,note,note\nx,a,,\ny,b,,\n"]
)
def test_a_repeated_column_that_nobody_asks_for_does_not_matter(tmp_path: Path, table: str) -> None:
    train = load(write(tmp_path / "a.csv", table), TEXTS).train
    assert problems(train) == []
    assert rows(train) == [("x", "a"), ("y", "b")]


def test_a_frame_whose_columns_have_numbers_says_which_it_lacks() -> None:
    frame = pytest.importorskip("pandas").DataFrame([["x", "a"], ["y", "b"]])
    assert any(
        "expected one named text" in each and "found 0, 1" in each
        for each in problems(load(frame, TEXTS).train)
    )


def test_a_stray_nul_is_not_utf_16(tmp_path: Path) -> None:
    train = load(
        write(tmp_path / "a.tsv", "text\tlabel\n" + "a long text\ta\n" * 20 + "b\0b\tb\n"), TEXTS
    ).train
    assert (len(train), problems(train)) == (21, [])


def test_a_quote_in_a_review_swallows_nothing(tmp_path: Path) -> None:
    content = 'label\ttext_a\n1\t"好"的酒店\n0\t"说是海景\n1\t很好"\n0\t"in ""quotes"""\n1\tok\n'
    train = load(write(tmp_path / "a.tsv", content), TEXTS).train
    assert [text for text, _ in rows(train)] == ['"好"的酒店', '"说是海景', '很好"', 'in "quotes"', "ok"]
    assert problems(train) == []


def test_a_tab_in_quotes_parts_no_cells(tmp_path: Path) -> None:
    content = 'text\tlabel\tnote\n"a\tb ""c"""\tx\t\n"open\ty\t\nshut"\tz\t\n"d\te\tf\tx\n'
    train = load(write(tmp_path / "a.tsv", content), TEXTS).train
    assert rows(train) == [('a\tb "c"', "x"), ('"open', "y"), ('shut"', "z")]
    assert [line.partition(": ")[2][:15] for line in problems(train)] == ["too many fields"]


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0\t\n\r\x02\ufeff", exclude_categories=["Cs"])).filter(
            lambda text: text.strip() and not text.strip().startswith('"')
        ),
        min_size=1,
    )
)
def test_any_text_comes_out_of_a_tsv_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    content = "text_a\tlabel\n" + "".join(f"{text}\tx\n" for text in texts)
    train = load(write(tmp_path_factory.mktemp("t") / "a.tsv", content), TEXTS).train
    assert [sample.input for sample in train] == [text.strip() for text in texts]


def test_columns_can_be_named_and_several_labels_parted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "label,text,words,topics\nx,y,goals,sport|news\nx,y,votes,news\n")
    train = load(path, TEXTS, text_column="words", label_column="topics", multi_label=True).train
    assert [(sample.input, sample.label) for sample in train] == [("goals", (0, 1)), ("votes", (0,))]
    assert train.labels == ("news", "sport")
    path = write(tmp_path / "a.jsonl", '{"text": "a", "labels": ["p", "q"]}\n{"text": "b", "labels": []}\n')
    assert load(path, TEXTS).train.targets().tolist() == [[1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("first", "second", "empty"),
    [("['p', 'q']", "['p']", "[]"), ('["p", "q"]', '["p"]', "[]"), ("['p' 'q']", "['p']", "[]")],
)
@pytest.mark.parametrize("multi_label", [True, None])
def test_labels_may_be_a_list_as_text(
    tmp_path: Path, first: str, second: str, empty: str, multi_label: bool | None
) -> None:
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "labels"), ("a", first), ("b", second), ("c", empty)])
    train = load(tmp_path / "a.csv", TEXTS, multi_label=multi_label).train
    assert problems(train) == []
    assert (train.labels, train.targets().tolist()) == (("p", "q"), [[1, 1], [1, 0], [0, 0]])


def test_a_label_in_brackets_is_a_name_but_no_list_of_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\na,[p]\nb,q\nc,[p]\n")
    assert rows(load(path, TEXTS).train) == [("a", "[p]"), ("b", "q"), ("c", "[p]")]
    several = problems(load(path, TEXTS, multi_label=True).train)
    assert len(several) == 2
    assert "row 2: bad label '[p]' (column 'label': expected labels separated by '|', or a list" in several[0]
    one_hot = problems(load(write(tmp_path / "b.csv", 'text,label\na,"[0, 1]"\nb,"[1, 0]"\n'), TEXTS).train)
    assert "it looks like a one-hot vector: pass the class index" in one_hot[0]


@pytest.mark.parametrize(
    ("name", "content", "multi_label", "wanted"),
    [
        ("a.csv", "text,label\na,x\nb,[2]\nc,x\nd,[2]\n", None, [("a", "x"), ("b", "[2]"), ("c", "x"), ("d", "[2]")]),
        ("a.jsonl", '{"text": "a", "label": "[1]"}\n{"text": "b", "label": "[2]"}\n', None,
         [("a", "[1]"), ("b", "[2]")]),
        ("a.jsonl", '{"text": "a", "label": "[\'x\', \'y\']"}\n{"text": "b", "label": "[]"}\n', True,
         [("a", "x y"), ("b", "")]),
        ("a.jsonl", '{"text": "a", "label": "[U]"}\n{"text": "b", "label": ["x", "y"]}\n{"text": "c", "label": "x|z"}',
         True, [("a", "[U]"), ("b", "x y"), ("c", "x z")]),
        ("a.csv", "text,label\na,[x]|[y]\nb,[y]\n", True, [("a", "[x] [y]"), ("b", "[y]")]),
        ("a.csv", "text,label\na,['x']\nb,\n", True, [("a", "x"), ("b", "")]),
        ("a.csv", "text,label\na,['x' 'y']\nb,\"['y']\"\n", None, [("a", "x y"), ("b", "y")]),
    ],
)  # fmt: skip
def test_labels_are_lists_where_the_whole_column_holds_lists(
    tmp_path: Path, name: str, content: str, multi_label: bool | None, wanted: list[tuple[str, str]]
) -> None:
    train = load(write(tmp_path / name, content), TEXTS, multi_label=multi_label).train
    assert problems(train) == []
    given = [each.label if train.multi_label else [each.label] for each in train]
    found = [" ".join(train.labels[n] for n in each) for each in given]  # type: ignore[union-attr]
    assert [(each.input, names) for each, names in zip(train, found, strict=True)] == wanted


@pytest.mark.parametrize("frames", [False, True])
def test_what_is_a_name_in_training_is_one_wherever_every_cell_is_in_brackets(
    tmp_path: Path, frames: bool
) -> None:
    write(tmp_path / "train.csv", "text,label\na,[1]\nb,[2]\nc,x\n")
    write(tmp_path / "valid.csv", "text,label\nd,[1]\ne, [2]\n")
    parts: Any = tmp_path
    if frames:
        read = pytest.importorskip("pandas").read_csv
        parts = {name: read(tmp_path / f"{name}.csv") for name in ("train", "valid")}
    found = load(parts, TEXTS)
    assert found.valid is not None
    assert (found.train.multi_label, found.valid.problems) == (False, ())
    assert rows(found.valid) == [("d", "[1]"), ("e", "[2]")]


def test_a_list_of_labels_that_cannot_be_read_is_a_problem_among_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\na,['x']\nb,[0 ... 1]\nc,\"['x', 'y']\"\nd,['y']\n")
    train = load(path, TEXTS).train
    assert (train.multi_label, train.labels, len(train)) == (True, ("x", "y"), 3)
    [problem] = problems(train)
    assert "row 3: bad label '[0 ... 1]' (column 'label': expected a list such as ['a', 'b']" in problem


def test_a_label_that_is_no_list_among_lists_of_several_is_a_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\na,['x']\nb,x\nc,\"['x', 'y']\"\nd,['y']\n")
    train = load(path, TEXTS).train
    assert (train.multi_label, train.labels, len(train)) == (True, ("x", "y"), 3)
    assert "row 3: bad label 'x'" in problems(train)[0]


def test_a_header_with_unknown_names_is_no_row(tmp_path: Path) -> None:
    train = load(write(tmp_path / "a.tsv", "etikett\tsatz\ngut\tx\nschlecht\ty\ngut\tz\n"), TEXTS).train
    assert len(train) == 0
    assert (
        "row 1: missing column 'text' (expected one named text, text_a, sentence, content"
        in problems(train)[0]
    )
    assert "found etikett, satz; add a header, or name it" in problems(train)[0]
    assert "missing column 'label'" in problems(train)[1]


CHOICES = [
    ("Age,Title,Review Text,Rating,Class Name", "33,Great,Love it,5,Dresses", ("Love it", "Dresses")),
    ("ID,Tweet,Target,Stance", "1,dear lord,Atheism,AGAINST", ("dear lord", "AGAINST")),
    (
        "product_title,review_headline,review_body,Target,title",
        "Cup,Nice,Nice cup,pos,x",
        ("Nice cup", "pos"),
    ),
    ("id,title,comment_text,topic,label", "1,Re,so rude,sport,toxic", ("so rude", "toxic")),
]


@pytest.mark.parametrize(("header", "row", "wanted"), CHOICES)
def test_of_several_likely_columns_the_likeliest_is_taken(
    tmp_path: Path, header: str, row: str, wanted: tuple[str, str]
) -> None:
    assert rows(load(write(tmp_path / "a.csv", f"{header}\n{row}\n"), TEXTS).train) == [wanted]


NOTES = [
    ("texts", "id,title,text,label", "text: 'text', label: 'label'; likely columns besides: 'title'"),
    ("texts", "tweet,Class Name,topic,n", "text: 'tweet', label: 'Class Name'; likely columns besides: 'topic'"),
    ("texts", "text,label,n,m", ""),
    ("pairs", "text_a,text_b,label,n", ""),
    ("pairs", "query,title,answer,label",
     "text: 'query' and 'title', label: 'label'; likely columns besides: 'answer'"),
    ("rated texts", "text,stars,price,n", "text: 'text', label: 'stars'; likely columns besides: 'price'"),
    ("tagged", "tokens,ner_tags,pos_tags,n",
     "text: 'tokens', label: 'ner_tags'; likely columns besides: 'pos_tags'"),
    ("pictures", "file,label,tag,n", "path: 'file', label: 'label'; likely columns besides: 'tag'"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "header", "note"), NOTES)
def test_a_table_says_which_of_several_likely_columns_was_taken(
    tmp_path: Path, kind: str, header: str, note: str
) -> None:
    path = write(tmp_path / "a.csv", f"{header}\n1,2,3,4\n5,6,7,8\n")
    assert load(path, kind).train.taken == note
    if kind in ("texts", "rated texts"):
        option = {"text_column": note.split("'")[1], "label_column": note.split("'")[3]} if note else {}
        assert load(path, kind, **option).train.taken == "", "it was said"


@pytest.mark.parametrize(
    ("kind", "taken", "other"), [("texts", "labels", "tags"), ("tagged", "tags", "labels")]
)
def test_a_run_says_once_which_columns_it_took(tmp_path: Path, kind: str, taken: str, other: str) -> None:
    content = "tags,text,labels\n" + "".join(f"{n % 2} {n},{n} x,{n % 2}\n" for n in range(10))
    path = write(tmp_path / "a.csv", content)
    prepared = prepare_for(kind, path, multi_label=None, test=str(path), on_bad="skip")
    note = f"text: 'text', label: '{taken}'; likely columns besides: '{other}'"
    assert prepared.describe().count(note) == 1


@pytest.mark.parametrize(
    "others", [{}, {"valid": GOOD}, {"test": GOOD}, {"valid": GOOD, "on_bad": "skip"}], ids=str
)
def test_what_is_wrong_with_training_data_is_said_whatever_else_is_given(
    tmp_path: Path, others: dict[str, Any]
) -> None:
    path = write(tmp_path / "a.csv", 'text,label\n"",good\n"",bad\n')
    with pytest.raises(DataError) as caught:
        prepare(path, kind="texts", **others)
    assert f"{path}, row 3: missing value (column 'text' is empty)" in caught.value.message


def test_half_of_a_pair_is_no_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "text_a\ttext_b\tlabel\na\tb\t1\nc\td\t0\n")
    assert "missing column 'text'" in problems(load(path, TEXTS).train)[0]
    assert rows(load(path, TEXTS, text_column="text_b").train) == [("b", "1"), ("d", "0")]


# ---- what is wrong, with file, row and value ----


def test_every_problem_of_all_parts_is_found_in_one_pass(tmp_path: Path) -> None:
    write(tmp_path / "train.tsv", "label\ttext_a\n1\tgood\n\n0\t  \n0\tbad\n1\n\tno label\n1\ta\tb\n")
    write(
        tmp_path / "dev.jsonl",
        '{"text": 7, "label": "1"}\n{"text": "x", "label": "2"}\n{"text": "y"\n{"text": "w", "label": 1}',
    )
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, kind=TEXTS)
    assert "the data has 8 problems" in caught.value.message
    train, valid, _ = load(tmp_path, TEXTS)
    folder = tmp_path
    assert problems(train) == [
        f"{folder}/train.tsv, row 3: empty line",
        f"{folder}/train.tsv, row 6: too few fields '1' (expected 2: label, text_a; found 1)",
        f"{folder}/train.tsv, row 8: too many fields '1\\ta\\tb' (expected 2: label, text_a; found 3)",
        f"{folder}/train.tsv, row 4: missing value (column 'text_a' is empty)",
        f"{folder}/train.tsv, row 7: missing value (column 'label' is empty)",
    ]
    assert problems(valid)[1] == f"{folder}/dev.jsonl, row 1: bad text '7' (column 'text': expected a text)"
    assert problems(valid)[2] == f"{folder}/dev.jsonl, row 2: unknown label '2' (known: 0, 1)"
    assert problems(valid)[0].startswith(f"{folder}/dev.jsonl, row 3: bad JSON")
    prepared = prepare(tmp_path, kind=TEXTS, valid=False, on_bad="skip")
    assert rows(prepared.train) == [("good", "1"), ("bad", "0")]


def test_another_encoding_is_named_with_its_line_or_read_when_it_is_said(tmp_path: Path) -> None:
    content = "label\ttext_a\n1\tgood\n0\t不好\n"
    path = write(tmp_path / "a.tsv", content.encode("gbk"))
    with pytest.raises(DataError) as caught:
        prepare(path, kind=TEXTS)
    wrong = "a.tsv, row 3: wrong encoding (expected UTF-8; it looks like GBK; save the file as UTF-8, or "
    assert f'{wrong}load(…, encoding="gbk"))' in caught.value.message
    assert rows(load(path, TEXTS, encoding="gbk").train) == [("good", "1"), ("不好", "0")]
    assert "wrong encoding (expected ascii" in problems(load(path, TEXTS, encoding="ascii").train)[0]
    path = write(tmp_path / "b.tsv", content.encode("utf-16"))
    assert 'encoding="utf-16"' in problems(load(path, TEXTS).train)[0]
    assert len(load(path, TEXTS, encoding="utf-16").train) == 2


GERMAN = "text,label\nDas Essen war köstlich und schön,gut\nFür mich zu laut,schlecht\n"
GUESSES = [
    (GERMAN, "cp1252", "it looks like cp1252; "),
    (GERMAN + "Über 20 €,gut\n", "cp1252", "it looks like cp1252; "),
    ("text,label\nCa, c’est très bien aimé,1\nÀ éviter,0\n", "cp1252", "it looks like cp1252; "),
    ("text,label\n房间很大,1\n不好,0\n", "gb18030", "it looks like GBK; "),
    ("text,label\n朱镕基,1\n不好 ok,0\n", "gbk", "it looks like GBK; "),
    ("text,label\n20 °C,warm\n« 5 £ »,cheap\n", "cp1252", "it looks like cp1252; "),
    ("text,label\nпривет вам,1\nмир,0\n", "cp1251", ""),
    ("text,label\n你好,1\n不好,0\n", "big5", ""),
    ("text,label\n房間很大,1\n服務也不錯 ok,0\n", "big5", ""),
    (GERMAN, "mac_roman", ""),
    ("text,label\nCafé au goût amer,1\nétait bon,0\n", "mac_roman", ""),
]


@pytest.mark.parametrize(("content", "encoding", "guess"), GUESSES)
def test_an_encoding_is_named_only_if_the_text_looks_like_it(
    tmp_path: Path, content: str, encoding: str, guess: str
) -> None:
    path = write(tmp_path / "a.csv", content.encode(encoding))
    mixed = write(tmp_path / "b.csv", content.encode("utf-8") + "é,1\n".encode("cp1252"))
    assert "(expected UTF-8; save the file as UTF-8, or" in problems(load(mixed, TEXTS).train)[0]
    [problem] = problems(load(path, TEXTS).train)
    named = guess.removeprefix("it looks like ").rstrip("; ").lower()
    option = f'load(…, encoding="{named or "…"}")'
    assert f"(expected UTF-8; {guess}save the file as UTF-8, or {option})" in problem
    if named:
        assert rows(load(path, TEXTS, encoding=named).train) == rows(
            load(path, TEXTS, encoding=encoding).train
        )


OPTIONS = [
    ("texts", {"encoding": "klingon"}, "encoding: expected one such as gb18030"),
    ("pictures", {"encoding": "gbk"}, "encoding: belongs to texts, found kind='pictures'"),
    ("pictures", {"text_column": "a"}, "text_column: belongs to texts"),
    ("texts", {"path_column": "a"}, "path_column: the texts are in the table itself"),
    ("texts", {"text_column": ("a", "b")}, "text_column: expected one name for texts"),
    ("pairs", {"text_column": "a"}, "text_column: expected two names for pairs"),
]


@pytest.mark.parametrize(("kind", "options", "message"), OPTIONS)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, kind: str, options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(write(tmp_path / "a.csv", "text,label\na,b\n"), kind, **options)
    if "encoding" in options:
        with pytest.raises(UsageError, match="encoding"):
            load([("a", "b")], kind, **options)


def test_a_table_says_its_columns_wherever_data_is_given(tmp_path: Path) -> None:
    one = write(tmp_path / "a.csv", "kind,words\nx,a\ny,b\nx,c\ny,d\n")
    other = write(tmp_path / "b.csv", "kind,words\nx,e\n")
    train, test = (Table(path, text_column="words", label_column="kind") for path in (one, other))
    assert rows(load(train, TEXTS).train) == [("a", "x"), ("b", "y"), ("c", "x"), ("d", "y")]
    found = prepare(train, test=test, valid=False, kind=TEXTS)
    assert (len(found.train), rows(found.test)) == (4, [("e", "x")])
    assert rows(prepare_evaluation(test, labels=("x", "y"), multi_label=False, kind=TEXTS)) == [("e", "x")]
    several = Table(
        write(tmp_path / "c.csv", "kind,words\nx;y,a\ny,b\n".encode("utf-16")),
        text_column="words", label_column="kind", label_separator=";", encoding="utf-16",
    )  # fmt: skip
    assert load(several, TEXTS).train.targets().tolist() == [[1, 1], [0, 1]]
    assert eval(repr(several), {"hub": hub}) == dataclasses.replace(several, path=str(several.path))


@pytest.mark.parametrize(
    ("told", "options", "message"),
    [
        ({"text_column": "words"}, {"label_column": "kind"}, r"label_column: .* found hub.datasets.Table\("),
        ({"label_column": 7}, {}, "label_column: expected a text, found 7"),
        ({"path_column": "words"}, {}, "path_column: the texts are in the table itself"),
    ],
)
def test_what_a_table_cannot_say_is_refused(tmp_path: Path, told: Any, options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(Table(write(tmp_path / "a.csv", "kind,words\nx,a\n"), **told), TEXTS, **options)


@pytest.mark.parametrize(
    ("inputs", "place"), [("masks", "data/"), ("unlabelled", "data/"), ("texts", "ChnSentiCorp")]
)
def test_what_has_no_columns_is_no_table(inputs: str, place: str) -> None:
    with pytest.raises(UsageError, match="label_column: means nothing for"):
        prepare_for(inputs, Table(place, label_column="kind"), multi_label=None)


# ---- folders ----


def test_a_folder_per_class_of_text_files_gives_their_texts(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write(tmp_path / part / "pos" / "1.txt", f"\ufeffgood {part}\nreally\n")
        write(tmp_path / part / "neg" / "2.txt", f"bad {part}")
        write(tmp_path / part / "urls_pos.txt", "http://…")
    write(tmp_path / "README.txt", "what this is")
    train, valid, test = load(tmp_path, TEXTS)
    assert valid is None
    assert rows(train) == [("bad train", "neg"), ("good train\nreally", "pos")]
    assert rows(test) == [("bad test", "neg"), ("good test\nreally", "pos")]
    assert train.ignored == {".txt": 1}
    assert str(train.origin(0)) == str(tmp_path / "train" / "neg" / "2.txt")
    check(train, test)


def test_bad_text_files_are_named_and_can_be_left_out(tmp_path: Path) -> None:
    for name, content in (
        ("a/1", "ok"),
        ("b/1", "fine"),
        ("a/2", " \n"),
        ("b/2", ""),
        ("b/3", "不好".encode("gbk")),
    ):
        write(tmp_path / f"{name}.txt", content)
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, kind=TEXTS)
    for said in (
        f"{tmp_path}/a/2.txt: unreadable (the text is empty)",
        f"{tmp_path}/b/2.txt: empty file (0 bytes)",
        f"{tmp_path}/b/3.txt: unreadable (line 1: expected UTF-8; it looks like GBK",
    ):
        assert said in caught.value.message
    assert len(prepare(tmp_path, kind=TEXTS, on_bad="skip", valid=False).train) == 2
    assert rows(load(tmp_path, TEXTS, encoding="gbk").train)[-1] == ("不好", "b")


def test_folders_without_texts_say_what_was_expected(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.md", "x")
    with pytest.raises(DataError, match=r"1 folder, 1 \.md file, no texts") as caught:
        load(tmp_path, TEXTS)
    assert "reviews/good/1.txt" in caught.value.hint
    with pytest.raises(DataError, match=r"expected train\.tsv, train\.txt or the like, found no file"):
        load(tmp_path, PAIRS)
    with pytest.raises(DataError, match=r"a \.md file is no dataset"):
        load(tmp_path / "a" / "1.md", TEXTS)
    write(tmp_path / "names.conll", "Rosa B-PER")
    with pytest.raises(DataError, match=r"a \.conll file is no dataset") as caught:
        load(tmp_path / "names.conll", TEXTS)
    assert "task sequence_labeling" in caught.value.hint


# ---- objects and frames ----


class Labelled(list[Any]):
    label_list = ("negative", "positive")


def test_objects_give_texts_that_are_never_paths(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "from a file")
    data = [
        (str(path), "a"),
        (path, "b"),
        Sample("s", "a"),
        {"review": "r", "sentiment": "b"},
        (np.str_("n"), "a"),
    ]
    train = load(data, TEXTS).train
    assert rows(train) == [(str(path), "a"), ("from a file", "b"), ("s", "a"), ("r", "b"), ("n", "a")]
    assert type(train[4].input) is str
    assert load(Labelled([("x", 1), ("y", 0)]), TEXTS).train.labels == ("negative", "positive")


def test_items_that_are_no_text_are_problems() -> None:
    with pytest.raises(DataError) as caught:
        check(load([(7, "a"), ("x", "a"), ("", "b"), ("y", "b"), ("lonely",), ("z", 0.5)], TEXTS).train)
    for said in (
        "item 0: bad item (expected the text as a str, or a Path to a .txt file, found int)",
        "item 2: unreadable (the text is empty)",
        "item 4: bad item (expected (text, label)",
        "item 5: bad label '0.5'",
    ):
        assert said in caught.value.message


def test_a_mapping_of_parts_is_train_valid_and_test() -> None:
    data = {"train": [("x", "a"), ("y", "b")], "validation": [("z", "a")], "unsupervised": [("u", "a")]}
    train, valid, test = load(data, TEXTS)
    assert (rows(train), rows(valid), test) == ([("x", "a"), ("y", "b")], [("z", "a")], None)


@pytest.mark.parametrize("kind", ["texts", "rated texts", "tagged"])
def test_texts_may_be_in_columns_that_a_function_makes(kind: str) -> None:
    datasets = pytest.importorskip("datasets")
    cells, label, wanted = {
        "texts": (["x", "y"], "label", "a"),
        "rated texts": (["x", "y"], "score", 0.5),
        "tagged": ([["x"], ["y"]], "tags", ["O"]),
    }[kind]
    text = "tokens" if kind == "tagged" else "text"
    stored = datasets.Dataset.from_dict({"foo": cells})
    made = stored.with_transform(lambda batch: {text: batch["foo"], label: [wanted] * len(batch["foo"])})
    found = load(made, kind).train
    assert ([sample.input for sample in found], problems(found)) == (cells, [])


def test_what_hands_out_columns_of_a_dataset_is_a_table_of_texts() -> None:
    whole = pytest.importorskip("datasets").Dataset.from_dict({"foo": ["x", "y"], "bar": ["p|q", "q"]})

    class Wrapped:
        def __len__(self) -> int:
            return len(whole)

        def __getitem__(self, which: Any) -> Any:
            return whole[which]

        def __getattr__(self, name: str) -> Any:
            return getattr(whole, name)

    train = load(Wrapped(), TEXTS, text_column="foo", label_column="bar", multi_label=True).train
    assert (train.labels, train.targets().tolist()) == (("p", "q"), [[1, 1], [0, 1]])


def test_pandas_frames_are_tables() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": [1, 2, 3, 4], "text": ["a", None, "c", "d"], "label": [0, 1, 1, None]})
    train = load(frame, TEXTS).train
    assert rows(train) == [("a", "0"), ("c", "1")]
    assert problems(train) == [
        "item 1: missing value (column 'text' is empty)",
        "item 3: missing value (column 'label' is empty)",
    ]
    frame = pandas.DataFrame({"body": ["a", "b"], "text": ["x", "y"], "kind": ["p", "q"]}, index=[7, 7])
    assert rows(load(frame, TEXTS, text_column="body", label_column="kind").train) == [("a", "p"), ("b", "q")]
    assert "DataFrame: missing column 'label'" in problems(load(frame, TEXTS).train)[0]
    with pytest.raises(UsageError, match="columns of different names"):
        load(pandas.DataFrame([["a", "b"]], columns=["text", "text"]), TEXTS)


def test_hugging_face_datasets_are_tables_with_class_names() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    made = datasets.Dataset.from_dict({"sentence": ["x", "y"], "label": [1, 0]}, features=features)
    train, valid, _ = load(datasets.DatasetDict(train=made, validation=made), TEXTS)
    assert rows(train) == rows(valid) == [("x", "good"), ("y", "bad")]
    hidden = datasets.Dataset.from_dict({"sentence": ["x", "y"], "label": [-1, 0]}, features=features)
    assert "item 0: label out of range '-1' (expected 0 to 1: bad, good)" in problems(
        load(hidden, TEXTS).train
    )


# ---- pairs ----

SAME = [(("a b", "c"), "1"), (("d", "e"), "0"), (("f", "g"), "1")]
PAIR_TABLES = {
    "PaddleHub's": ("a.tsv", "text_a\ttext_b\tlabel\na b\tc\t1\nd\te\t0\nf\tg\t1\n"),
    "without header": ("a.tsv", "a b\tc\t1\nd\te\t0\nf\tg\t1\n"),
    "of a frame without names": ("a.csv", "0,1,2\na b,c,1\nd,e,0\nf,g,1\n"),
    "label first, without header": ("a.txt", "1\ta b\tc\n0\td\te\n1\tf\tg\n"),
    "questions": ("a.csv", "id,question1,question2,is_duplicate\n1,a b,c,1\n2,d,e,0\n3,f,g,1\n"),
    "the first text behind the second": ("a.csv", "title,query,label\nc,a b,1\ne,d,0\ng,f,1\n"),
    "jsonl": ("a.jsonl", "".join(
        json.dumps({"sentence1": a, "sentence2": b, "label": int(label)}) + "\n" for (a, b), label in SAME
    )),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIR_TABLES)
def test_tables_hold_pairs(tmp_path: Path, name: str) -> None:
    file, content = PAIR_TABLES[name]
    train = load(write(tmp_path / file, content), "pairs").train
    assert rows(train) == SAME
    assert problems(train) == []
    check(train)


def test_pairs_of_objects_and_of_named_columns(tmp_path: Path) -> None:
    data = [(("a b", "c"), 1), ["d", "e", 0], {"premise": "f", "hypothesis": "g", "label": 1}]
    assert rows(load(data, PAIRS).train) == SAME
    path = write(tmp_path / "a.csv", "u,v,label\nc,a b,1\ne,d,0\ng,f,1\n")
    assert rows(load(path, PAIRS, text_column=("v", "u")).train) == SAME
    with pytest.raises(DataError) as caught:
        check(load([*data, ("lonely", 1), (("x", " "), 0), {"text": "x", "label": 0}], PAIRS).train)
    for said in (
        "item 3: bad item (expected the pair as two texts: (str, str), found str)",
        "item 4: unreadable (the second text is empty)",
        "item 5: bad item (expected the keys text_a, text_b and label, found text, label)",
    ):
        assert said in caught.value.message
    said = problems(load(write(tmp_path / "b.csv", "text,label\na,b\n"), PAIRS).train)[0]
    assert "expected one named text_a and text_b, sentence1 and sentence2" in said


# ---- for a run ----


def test_tasks_get_their_data_by_what_they_take(tmp_path: Path) -> None:
    texts = [(f"text {n}", "ab"[n % 2]) for n in range(10)]
    assert rows(prepare_for("texts", texts, multi_label=None, valid=False).train) == texts
    pairs = [((text, text), label) for text, label in texts]
    prepared = prepare_for("pairs", pairs, multi_label=None)
    assert (len(prepared.train), len(prepared.valid or [])) == (8, 2)
    found = prepare_evaluation_for("pairs", pairs, labels=("b", "a"), multi_label=False)
    assert rows(found) == pairs
    assert (
        len(prepare_for("unlabelled", [np.zeros((4, 4, 3), np.uint8)], multi_label=None, valid=False).train)
        == 1
    )
    with pytest.raises(UsageError, match="multi_label=True means nothing here"):
        prepare_for("unlabelled", [], multi_label=True)
    with pytest.raises(UsageError, match="expected texts, found a dataset of pairs"):
        prepare(load(pairs, PAIRS), kind=TEXTS)


def test_what_a_network_cannot_take_is_a_problem_of_its_row(tmp_path: Path) -> None:
    def probe(sample: Sample) -> None:
        if "?" in sample.input:
            raise InputError("a question")

    path = write(tmp_path / "a.tsv", "text\tlabel\nx\ta\ny?\ta\nz\tb\n")
    with pytest.raises(DataError, match=r"a\.tsv, row 3: unreadable \(a question\)"):
        prepare_evaluation(path, kind=TEXTS, labels=("a", "b"), multi_label=False, probe=probe)


# ---- by name ----


@pytest.mark.parametrize(
    ("name", "header", "line", "first"),
    [
        ("ChnSentiCorp", "label\ttext_a", "{n}\t第 {n} 间房", ("第 0 间房", "0")),
        ("LCQMC", "text_a\ttext_b\tlabel", "你好\t您好 {n}\t{n}", (("你好", "您好 0"), "0")),
    ],
)
def test_published_texts_are_fetched_once(
    tmp_path: Path, empty_home: Path, name: str, header: str, line: str, first: Any
) -> None:
    chosen = builtin.BUILT_IN[name]
    for part in ("train", "dev", "test"):
        lines = [header, *(line.format(n=n) for n in (0, 1))]
        write(tmp_path / chosen.folder / f"{part}.tsv", "\n".join(lines) + "\n")
    web = MemoryTransport({chosen.url: archive_of(tmp_path / chosen.folder, chosen.folder)})
    splits = builtin.load_by_name(name, transport=web)
    assert [rows(each)[0] for each in splits] == [first] * 3
    assert [problems(each) for each in splits] == [[]] * 3
    count = len(web.requests)
    builtin.load_by_name(name, transport=web)
    assert len(web.requests) == count
