"""Words with tags: from CoNLL files, PaddleHub's tables, JSON lines, objects and frames to data for a run."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.datasets import KINDS, Dataset, Sample, builtin, check, load
from hub.datasets.by_task import prepare_evaluation_for, prepare_for
from hub.datasets.tagged import odd_tags, prepare_tagged, prepare_tagged_evaluation
from hub.errors import DataError, InputError, UsageError
from hub.registry.transport import MemoryTransport
from tests.test_datasets_sounds import archive_of

TAGGED = KINDS["tagged"]
EU = (["EU", "rejects", "German", "lamb"], ["B-ORG", "O", "B-MISC", "O"])
PETER = (["Peter", "Blackburn"], ["B-PER", "I-PER"])
LABELS = ("O", "B-MISC", "B-ORG", "B-PER", "I-MISC", "I-ORG", "I-PER")


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def sentences(dataset: Dataset | None) -> list[tuple[list[str], list[str]]]:
    assert dataset is not None
    return [(each.input, [dataset.labels[n] for n in each.label]) for each in dataset]  # type: ignore[union-attr]


def problems(dataset: Dataset | None) -> list[str]:
    assert dataset is not None
    return [str(problem) for problem in dataset.problems]


def joined(words: list[str], tags: list[str], by: str = "\x02") -> str:
    return f"{by.join(words)}\t{by.join(tags)}\n"


# ---- files ----

CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC
lamb NN I-NP O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""
TABS = (
    "\n".join(f"{word}\t{tag}" for word, tag in zip(*EU, strict=True))
    + "\n\n\nPeter\tB-PER\nBlackburn\tI-PER"
)
COMMENTED = "# id 5d2e domain=en\n" + CONLL.partition("\n\n")[2].replace("\n\n", "\n\n# id 77 domain=en\n")
NUMBERED = "# source 1\n1\tEU\tB-ORG\n2\trejects\tO\n3-4\tGermanlamb\t_\n3\tGerman\tB-MISC\n4\tlamb\tO\n\n"
NUMBERED += "# source 2\n1\tPeter\tB-PER\n2\tBlackburn\tI-PER\n"
OBJECTS = [{"tokens": words, "ner_tags": tags} for words, tags in (EU, PETER)]
FILES = {
    "conll 2003": ("a.txt", CONLL, (3, 8)),
    "two columns with tabs": ("a.conll", TABS, (1, 7)),
    "a file with any name": ("eng.train", TABS, (1, 7)),
    "windows": ("a.txt", "\ufeff" + TABS.replace("\n", "\r\n"), (1, 7)),
    "comments": ("a.conll", COMMENTED, (2, 8)),
    "numbered": ("a.conll", NUMBERED, (2, 9)),
    "PaddleHub's": ("a.tsv", "text_a\tlabel\n" + joined(*EU) + joined(*PETER), (2, 3)),
    "PaddleHub's without header": ("a.tsv", joined(*EU) + joined(*PETER), (1, 2)),
    "label first": ("a.tsv", "label\ttext_a\n" + joined(*EU[::-1]) + joined(*PETER[::-1]), (2, 3)),
    "spaces in cells": ("a.csv", "tokens,tags\n" + (joined(*EU, " ") + joined(*PETER, " ")).replace("\t", ","), (2, 3)),
    "all in quotes": ("a.csv", '"tokens","tags"\n' + "".join(
        f'"{" ".join(words)}","{" ".join(tags)}"\n' for words, tags in (EU, PETER)), (2, 3)),
    "tabs and all in quotes": ("a.tsv", '"tokens"\t"tags"\r\n' + "".join(
        f'"{" ".join(words)}"\t"{" ".join(tags)}"\r\n' for words, tags in (EU, PETER)), (2, 3)),
    "lists in a text": ("a.txt", "tokens;tags\n" + "".join(
        f'"{json.dumps(words).replace(chr(34), chr(34) * 2)}";{tags}\n' for words, tags in (EU, PETER)), (2, 3)),
    "jsonl": ("a.jsonl", "".join(json.dumps(each) + "\n" for each in OBJECTS), (1, 2)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "whole"),
    [
        ("O B-X", "O B-X I-X"),
        ("B-X I-Y B-Y", "B-X I-X B-Y I-Y"),
        ("O S-X B-Y E-Y", "O B-X I-X E-X S-X B-Y I-Y E-Y S-Y"),
        ("O B-X M-X", "O B-X M-X E-X S-X"),
        ("O U-X", "O B-X I-X L-X U-X"),
        ("B S", "B I E S"),
        ("O I-X", "O I-X"),
        ("O I-X B-X I-Y", "O I-X B-X I-Y"),
        ("NOUN B", "NOUN B"),
        ("O", "O"),
    ],
)
def test_tags_that_a_few_sentences_lack_are_there_if_their_scheme_has_them(found: str, whole: str) -> None:
    assert load([(["a", "b"], ["O", tag]) for tag in found.split()], TAGGED).train.labels == tuple(
        sorted({"O", *whole.split()}, key=lambda tag: (tag != "O", tag))
    )


@pytest.mark.parametrize("last", ["_", "SpaceAfter=No"])
def test_a_last_column_that_says_nothing_is_no_tag(tmp_path: Path, last: str) -> None:
    path = write(tmp_path / "a.conllu.txt", f"1\tEU\tPROPN\t_\n2\tcame\tVERB\t{last}\n")
    [problem] = problems(load(path, "tagged").train)
    assert "missing column 'tag' (expected the tag in the last column, found " in problem


def _ten(*sentences: tuple[tuple[str, str], ...]) -> str:
    """Lines of ten columns: a running number, the word, a part of speech in the fourth, and a tag in the last."""
    lines = [
        "".join(f"{n}\t{word}\t_\tX\t_\t_\t_\t_\t_\t{tag}\n" for n, (word, tag) in enumerate(each, start=1))
        for each in sentences
    ]
    return "\n".join(lines)


UPOS = "# text = EU wo\n1-2\tEUwo\t_\t_\t_\t_\t_\t_\t_\t_\n"
UPOS += "1\tEU\tEU\tPROPN\tNNP\t_\t0\troot\t_\tSpaceAfter=No\n2\two\twill\tAUX\tMD\t_\t1\taux\t_\tCorrectForm=wo\n"
NAMES_IN_NAMES = "#\thttp://…\t[2009]\n1\tFC\tB-ORG\tO\n2\tBayern\tI-ORG\tB-LOC\n3\tkam\tO\tO\n"
ONTONOTES = (
    "#begin document (bc/cctv/00)\nbc/cctv/00\t0\t0\tEU\tNNP\t*\t-\nbc/cctv/00\t0\t1\tcame\tVBD\t*\t-\n"
)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (UPOS, [(["EU", "wo"], ["PROPN", "AUX"])]),
        (UPOS.replace("# text = EU wo", "# text = a word and its tag"), [(["EU", "wo"], ["PROPN", "AUX"])]),
        (UPOS.replace("SpaceAfter=No", "root").replace("CorrectForm=wo", "aux"),
         [(["EU", "wo"], ["PROPN", "AUX"])]),
        (UPOS.replace("SpaceAfter=No", "B-ORG").replace("CorrectForm=wo", "O"), [(["EU", "wo"], ["B-ORG", "O"])]),
        (_ten((("EU", "U-ORG"), ("came", "O")), (("Dam", "L-PER"),)),
         [(["EU", "came"], ["U-ORG", "O"]), (["Dam"], ["L-PER"])]),
        (_ten((("EU", "B"), ("came", "O"))), [(["EU", "came"], ["B", "O"])]),
        (_ten((("EU", "ORG"), ("came", "_"))), [(["EU", "came"], ["ORG", "_"])]),
        (_ten((("EU", "_"), ("came", "A=b|C"))), [(["EU", "came"], ["X", "X"])]),
        (NAMES_IN_NAMES.replace("B-ORG", "U-ORG").replace("I-ORG", "L-ORG"),
         [(["FC", "Bayern", "kam"], ["U-ORG", "L-ORG", "O"])]),
        (NAMES_IN_NAMES, [(["FC", "Bayern", "kam"], ["B-ORG", "I-ORG", "O"])]),
        (NAMES_IN_NAMES.replace("ORG\t", "ORG\tX\t").replace("kam\tO", "kam\tO\tX"),
         [(["FC", "Bayern", "kam"], ["O", "B-LOC", "O"])]),
    ],
)  # fmt: skip
def test_the_tags_of_published_forms_are_in_columns_of_their_own(
    tmp_path: Path, content: str, wanted: Any
) -> None:
    train = load(write(tmp_path / "a.conll", content), TAGGED).train
    assert problems(train) == []
    assert sentences(train) == wanted


def test_a_first_column_that_holds_no_words_is_refused(tmp_path: Path) -> None:
    content = ONTONOTES + "\n" + ONTONOTES.replace("00", "01")
    path = write(tmp_path / "a.gold_conll", content)
    [problem] = problems(load(path, TAGGED).train)
    assert (
        "missing column 'word' (expected the words in the first column, found 'bc/cctv/00' on every"
        in problem
    )
    lines = [line.partition("#")[0].split("\t")[3:5] for line in content.splitlines()]
    named = "word\ttag\n" + "\n".join("\t".join(cells) for cells in lines)
    assert (
        sentences(load(write(tmp_path / "b.tsv", named), TAGGED).train)
        == [(["EU", "came"], ["NNP", "VBD"])] * 2
    )


def test_numbers_that_are_words_stay_words(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "1\tCD\tO\n2\tCD\tB-X\n\n7\tCD\tO\n")
    assert sentences(load(path, "tagged").train) == [(["1", "2"], ["O", "B-X"]), (["7"], ["O"])]


@pytest.mark.parametrize("name", FILES)
def test_files_hold_words_and_tags(tmp_path: Path, name: str) -> None:
    file, content, lines = FILES[name]
    train, valid, test = load(write(tmp_path / file, content), "tagged")
    assert problems(train) == []
    assert sentences(train) == [EU, PETER]
    assert (train.labels, train.multi_label, valid, test) == (LABELS, False, None, None)
    assert [train.origin(n).row for n in range(2)] == list(lines)
    assert train.counts() == {
        "O": 2,
        "B-MISC": 1,
        "B-ORG": 1,
        "B-PER": 1,
        "I-MISC": 0,
        "I-ORG": 0,
        "I-PER": 1,
    }
    check(train)


LISTS = {
    "python": ("['EU', \"it's\"]", "['B-ORG', 'O']"),
    "json": ('["EU", "it\'s"]', '["B-ORG","O"]'),
    "numpy": ("['EU'\n \"it's\"]", "['B-ORG' 'O']"),
    "tags alone": ("EU it's", "['B-ORG', 'O']"),
    "words alone": ("['EU', \"it's\"]", "B-ORG O"),
    "numbers": ("['EU', \"it's\"]", "[1, 0]"),
    "numbers of numpy": ("['EU' \"it's\"]", "[1 0]"),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_as_text_are_lists(tmp_path: Path, name: str) -> None:
    write(tmp_path / "label_list.txt", "O\nB-ORG\nI-ORG\n")
    with (tmp_path / "train.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("tokens", "ner_tags"), LISTS[name]])
    train = load(tmp_path, TAGGED).train
    assert problems(train) == []
    assert sentences(train) == [(["EU", "it's"], ["B-ORG", "O"])]


def test_a_quote_in_a_list_of_a_tsv_is_a_word(tmp_path: Path) -> None:
    wanted = [(['"', "it's", '"'], ["O", "B-X", "O"]), (["a", "b"], ["O", "O"])]
    with (tmp_path / "a.tsv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([("tokens", "tags"), *wanted])
    assert sentences(load(tmp_path / "a.tsv", TAGGED).train) == wanted


@pytest.mark.parametrize("tags", ["['O' 'B", "[0. 1.]", "[0 1 ... 0]", "[O, B]", "['O''B']", "['O' B]"])
def test_a_list_as_text_that_cannot_be_read_is_a_problem(tmp_path: Path, tags: str) -> None:
    content = f'tokens,tags\na b,O B\nc d,"{tags.rstrip("]")}]"\n'
    train = load(write(tmp_path / "a.csv", content), TAGGED).train
    assert sentences(train) == [(["a", "b"], ["O", "B"])]
    [problem] = problems(train)
    assert "row 3: bad tags " in problem
    assert "expected a list with a tag for each word, found a list as text: save it as .jsonl" in problem


WORD_ROWS = [*zip(*EU, strict=True), *zip(*PETER, strict=True)]
OF_SENTENCE = [0, 0, 0, 0, 1, 1]
FIRST = {"EU": "Sentence: 1", "Peter": "Sentence: 2"}
WORD_TABLES = {
    "simpletransformers": ("a.csv", "sentence_id,words,labels\n" + "".join(
        f"{n},{w},{t}\n" for n, (w, t) in zip(OF_SENTENCE, WORD_ROWS, strict=True))),
    "named in the first row": ("a.csv", "Sentence #,Word,POS,Tag\n" + "".join(
        f"{FIRST.get(w, '')},{w},X,{t}\n" for w, t in WORD_ROWS)),
    "a header above CoNLL": ("a.tsv", "word\tpos\n" + TABS.replace("\n\n\n", "\n\n")),
    "a header above blanks": ("a.txt", "word pos chunk ner\n" + CONLL.partition("\n\n")[2]),
    "a header above documents": ("a.conll", "word\tner\n-DOCSTART-\tO\n\n" + TABS),
    "rows of a spreadsheet": ("a.csv", "token,tag\n" + TABS.replace("\t", ",").replace("\n\n\n", "\n,\n")),
    "tabs of a spreadsheet": ("a.tsv", "token\ttag\n" + TABS.replace("\n\n\n", "\n\t\n\t\n") + "\n\t\n"),
    "semicolons": ("a.csv", "token;tag\n" + TABS.replace("\t", ";").replace("\n\n\n", "\n;\n")),
    "no header": ("a.conll", TABS.replace("\n\n\n", "\n\t\n")),
    "numbers that begin anew in every document": ("a.csv", "doc_id,sent_id,word,tag\n" + "".join(
        f"{n},0,{w},{t}\n" for n, (w, t) in zip(OF_SENTENCE, WORD_ROWS, strict=True))),
    "a document named in the first row": ("a.csv", "Document,sent_id,word,tag\n" + "".join(
        f"{FIRST.get(w, '')},7,{w},{t}\n" for w, t in WORD_ROWS)),
    "words with numbers": ("a.tsv", "token_id\tword\ttag\n" + "".join(
        f"{n}\t{w}\t{t}\n" for n, (w, t) in zip([1, 2, 3, 4, 1, 2], WORD_ROWS, strict=True))),
    "pieces of words with numbers": ("a.csv", "sentence_id,word_id,token,tag\n" + "".join(
        f"{s},{n},{w},{t}\n" for s, n, (w, t) in zip(OF_SENTENCE, [1, 1, 2, 3, 1, 1], WORD_ROWS, strict=True))),
    "words with numbers in sentences": ("a.csv", "sent_id,Word #,word,tag\n" + "".join(
        f"0,{n},{w},{t}\n" for n, (w, t) in zip([0, 1, 2, 3, 0, 1], WORD_ROWS, strict=True))),
    "a header above blanks in another order": ("a.txt", "pos ner word\n" + "\n".join(
        "".join(f"X {t} {w}\r\n" for w, t in zip(*each, strict=True)) for each in (EU, PETER))),
    "a header above blanks and sentences": ("a.conll", "sentence_id  word  tag\n" + "".join(
        f"{n} {w}  {t}\n" for n, (w, t) in zip(OF_SENTENCE, WORD_ROWS, strict=True))),
    "a header above blanks and a bare document": ("a.txt", "word tag\n-DOCSTART-\n\n" + TABS.replace("\t", " ")),
    "commas in a text": ("a.txt", "word,tag\n" + TABS.replace("\t", ",").replace("\n\n\n", "\n\n")),
    "commas in quotes": ("a.conll", '"word","tag"\n' + "".join(
        f'"{w}","{t}"\n' if w else "\n" for w, t in [*WORD_ROWS[:4], ("", ""), *WORD_ROWS[4:]])),
    "words with numbers of a vocabulary": ("a.csv", "sent_id,word_id,word,tag\n" + "".join(
        f"{n},{i},{w},{t}\n" for n, i, (w, t) in zip(OF_SENTENCE, [7, 2, 5, 2, 9, 1], WORD_ROWS, strict=True))),
}  # fmt: skip


@pytest.mark.parametrize("name", WORD_TABLES)
def test_rows_with_a_word_each_are_put_together(tmp_path: Path, name: str) -> None:
    file, content = WORD_TABLES[name]
    train = load(write(tmp_path / file, content), TAGGED).train
    assert problems(train) == []
    assert sentences(train) == [EU, PETER]


def test_the_column_of_sentences_is_no_other_column_of_words(tmp_path: Path) -> None:
    rows = [{"sentence": "Yes.", "word": word, "tag": "O"} for word in ("Yes", ".")]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(each) + "\n" for each in rows))
    assert load(path, TAGGED).train.taken == ""


def test_quotes_and_commas_may_be_words_beside_commas(tmp_path: Path) -> None:
    """Whether or not they are written in quotes."""
    content = 'word,tag\n",O\nEU,B-ORG\n",O\n"""",O\n",",O\n'
    train = load(write(tmp_path / "a.conll", content + "\nx,O\n"), TAGGED).train
    assert sentences(train) == [(['"', "EU", '"', '"', ","], ["O", "B-ORG", "O", "O", "O"]), (["x"], ["O"])]


def test_texts_with_a_class_are_no_words(tmp_path: Path) -> None:
    for rows in ("0,I like it,pos\n1,bad,neg\n2,so,pos\n", "0,I like it,pos\n0,not at all,neg\n0,so,pos\n"):
        said = problems(load(write(tmp_path / "a.csv", "sentence_id,text,label\n" + rows), TAGGED).train)
        assert "row 2: length mismatch 'I like it' (3 words, 1 tag)" in said[0]
    of_one = "sentence_id,text,label\n0,New York,LOC\n0,is,O\n0,big,O\n"
    assert sentences(load(write(tmp_path / "b.csv", of_one), TAGGED).train)[0][0] == ["New York", "is", "big"]


def test_a_frame_with_a_word_in_each_row_is_put_together() -> None:
    pandas = pytest.importorskip("pandas")
    words, tags = zip(*WORD_ROWS, strict=True)
    frame = pandas.DataFrame({"sentence_id": OF_SENTENCE, "words": words, "labels": tags})
    assert sentences(load(frame, TAGGED).train) == [EU, PETER]
    twice = pandas.concat([frame, frame])
    assert sentences(load(twice, TAGGED).train) == [EU, PETER] * 2
    [problem] = problems(load(frame.iloc[[0, 4, 1, 5, 2, 3]], TAGGED).train)
    assert "found rows in any order; expected those of one 'sentence_id' together" in problem
    [problem] = problems(load(frame.drop(columns="sentence_id"), TAGGED).train)
    assert "found one word in every row; expected a column such as sentence_id" in problem
    frame["words"] = frame["words"].replace("lamb", None)
    train = load(frame, TAGGED).train
    assert sentences(train) == [PETER]
    assert problems(train)[0].startswith("item 0: bad words ")


def test_rows_may_repeat_the_list_of_words_that_they_are_of(tmp_path: Path) -> None:
    lines = [
        {"sentence": words, "word": word, "tag": tag}
        for words, tags in (EU, PETER)
        for word, tag in zip(words, tags, strict=True)
    ]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(each) + "\n" for each in lines))
    assert sentences(load(path, TAGGED).train) == [EU, PETER]


def test_a_word_in_every_row_and_nothing_between_sentences_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "words,labels\n" + "".join(f"{w},{t}\n" for w, t in WORD_ROWS))
    assert problems(load(path, TAGGED).train) == [
        f"{path}, row 1: missing column 'sentence_id' (found one word in every row; expected a column such as "
        "sentence_id, or an empty row between sentences, or whole sentences in rows)"
    ]
    with pytest.raises(DataError, match="missing column 'sentence_id'"):
        prepare_tagged(path, on_bad="skip")
    said = problems(load(write(tmp_path / "b.csv", "text,label\nso good,pos\nbad,neg\n"), TAGGED).train)
    assert said == [f"{tmp_path}/b.csv, row 2: length mismatch 'so good' (2 words, 1 tag)"]


def test_a_sentence_with_a_bad_row_is_none(tmp_path: Path) -> None:
    rows = "".join(f"{w}\t{t}\n" for w, t in WORD_ROWS[4:])
    path = write(tmp_path / "a.tsv", "word\ttag\nEU\tB-ORG\nrejects\n\n" + rows)
    train = load(path, TAGGED).train
    assert sentences(train) == [PETER]
    assert problems(train) == [f"{path}, row 3: too few fields 'rejects' (expected 2: word, tag; found 1)"]


def test_an_empty_row_between_whole_sentences_is_a_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "b.tsv", "tokens\ttags\n" + joined(*EU, " ") + "\n" + joined(*PETER, " "))
    train = load(path, TAGGED).train
    assert sentences(train) == [EU, PETER]
    assert problems(train) == [f"{path}, row 3: empty line"]


def test_an_empty_list_is_an_empty_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "tokens,tags\n['a'],['O']\n[],[]\n")
    assert problems(load(path, TAGGED).train) == [f"{path}, row 3: empty sentence"]


def test_words_in_brackets_are_words(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "tokens,tags\n[ 1 ],O O O\n[CLS] a [SEP],O B O\n")
    assert [words for words, _ in sentences(load(path, TAGGED).train)] == [
        ["[", "1", "]"],
        ["[CLS]", "a", "[SEP]"],
    ]


def test_words_may_be_quotes_hashes_and_blanks(tmp_path: Path) -> None:
    words, tags = ['"', "#", "a b", "\u3000", '"'], ["O", "O", "B-X", "O", "O"]
    for content in (
        "text_a\tlabel\n" + joined(words, tags),
        joined(words, tags),
        "".join(f"{w}\t{t}\n" for w, t in zip(words, tags, strict=True)),
    ):
        assert sentences(load(write(tmp_path / "a.tsv", content), TAGGED).train) == [(words, tags)]
    assert sentences(load(write(tmp_path / "a.txt", "# O\nx B-X\ny O\n"), TAGGED).train) == [
        (["#", "x", "y"], ["O", "B-X", "O"])
    ]


WORD = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(
    lambda word: word[0] not in "#-"
)
SENTENCE = st.lists(st.tuples(WORD, st.sampled_from(["O", "B-A", "I-A"])), min_size=2)


@given(st.lists(SENTENCE, min_size=1))
def test_every_form_gives_the_same_sentences(
    tmp_path_factory: pytest.TempPathFactory, given: list[list[tuple[str, str]]]
) -> None:
    wanted = [([word for word, _ in each], [tag for _, tag in each]) for each in given]
    folder = tmp_path_factory.mktemp("t")
    forms = {
        "a.txt": "\n".join("".join(f"{word} {tag}\n" for word, tag in each) for each in given),
        "b.tsv": "text_a\tlabel\n" + "".join(joined(*each) for each in wanted),
        "c.jsonl": "".join(json.dumps({"tokens": words, "tags": tags}) + "\n" for words, tags in wanted),
    }
    for name, content in forms.items():
        assert sentences(load(write(folder / name, content), TAGGED).train) == wanted, name
    assert sentences(load(wanted, TAGGED).train) == wanted


def test_numbers_count_the_names_in_label_list(tmp_path: Path) -> None:
    path = write(
        tmp_path / "train.jsonl",
        '{"tokens": ["a", "b"], "ner_tags": [2, 0]}\n{"tokens": ["c"], "ner_tags": [1]}\n',
    )
    assert load(path, TAGGED).train.labels == ("0", "1", "2"), "without names the numbers are the names"
    write(tmp_path / "label_list.txt", "O\nI-X\nB-X\nB-Y\n")
    train = load(tmp_path, TAGGED).train
    assert train.labels == ("O", "B-X", "B-Y", "I-X")
    assert sentences(train) == [(["a", "b"], ["B-X", "O"]), (["c"], ["I-X"])]
    write(tmp_path / "label_list.txt", "O\nI-X\n")
    assert problems(load(tmp_path, TAGGED).train) == [
        f"{tmp_path}/train.jsonl, row 1: unknown tag '2' (expected 0 to 1; known: O, I-X)"
    ]


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "id\tsatz\tkette\n1\t" + joined(*EU, " "))
    assert sentences(load(path, TAGGED, text_column="satz", label_column="kette").train) == [EU]
    said = problems(load(write(tmp_path / "a.jsonl", '{"tokens": ["a"], "kette": ["O"]}\n'), TAGGED).train)
    assert "row 1: missing column 'label' (expected one named tags, ner_tags, labels, label" in said[0]


# ---- objects ----


class Named(list[Any]):
    labels = ("O", "B-PER", "I-PER")


def test_objects_give_words_and_tags() -> None:
    assert sentences(load([EU, PETER], TAGGED).train) == [EU, PETER]
    assert sentences(load(OBJECTS, TAGGED).train) == [EU, PETER]
    arrays = [(np.array(words), np.array(tags)) for words, tags in (EU, PETER)]
    train = load(arrays, TAGGED).train
    assert sentences(train) == [EU, PETER]
    assert all(type(word) is str for word in train[0].input)
    numbered = Named([(PETER[0], np.array([1, 2])), Sample(["x"], (0,))])
    assert sentences(load(numbered, TAGGED).train) == [PETER, (["x"], ["O"])]
    again = load(train, TAGGED).train
    assert again is train
    with pytest.raises(UsageError, match=r"expected a path or \(words, tags\) pairs, found int"):
        load(7, TAGGED)
    with pytest.raises(DataError, match="item 0 of dict: KeyError"):
        load({"a": 1}, TAGGED)


def test_frames_give_words_and_tags() -> None:
    datasets = pytest.importorskip("datasets")
    names = ["O", "B-PER", "I-PER"]
    for listed in (datasets.Sequence, datasets.List):
        features = datasets.Features(
            {"id": datasets.Value("string"), "tokens": listed(datasets.Value("string")),
             "ner_tags": listed(datasets.ClassLabel(names=names))}
        )  # fmt: skip
        made = datasets.Dataset.from_dict(
            {"id": ["1", "2"], "tokens": [PETER[0], ["x"]], "ner_tags": [[1, 2], [0]]}, features=features
        )
        train, _, test = load(datasets.DatasetDict(train=made, test=made), TAGGED)
        assert sentences(train) == sentences(test) == [PETER, (["x"], ["O"])]
        assert train.labels == ("O", "B-PER", "I-PER")
        assert sentences(load(paddle.io.Subset(made, [1]), TAGGED).train) == [(["x"], ["O"])]


def test_cells_of_frames_may_be_arrays() -> None:
    pandas = pytest.importorskip("pandas")
    datasets = pytest.importorskip("datasets")
    cells = {"tokens": [PETER[0], ["x", "y"]], "ner_tags": [[1, 2], [0, 0]]}
    wanted = [(PETER[0], ["1", "2"]), (["x", "y"], ["0", "0"])]
    arrays = {name: [np.array(cell) for cell in column] for name, column in cells.items()}
    arrays["tokens"] = [cell.astype(object) for cell in arrays["tokens"]]
    assert sentences(load(pandas.DataFrame(arrays), TAGGED).train) == wanted
    made = datasets.Dataset.from_dict(cells)
    for form in ("numpy", "pandas"):
        assert sentences(load(made.with_format(form), TAGGED).train) == wanted, form


# ---- what is wrong, with file, row and value ----


def test_every_problem_is_named_with_its_row_and_value(tmp_path: Path) -> None:
    content = "a O\nb\n\nc O\nd x O\ne O\n\nf O\ng B-X\n"
    train = load(write(tmp_path / "a.txt", content), TAGGED).train
    assert problems(train) == [
        f"{tmp_path}/a.txt, row 2: too few fields 'b' (expected 2, as in most lines: a word … its tag; found 1)",
        f"{tmp_path}/a.txt, row 5: too many fields 'd x O' (expected 2, as in most lines: a word … its tag; found 3)",
    ]
    assert sentences(train) == [(["f", "g"], ["O", "B-X"])], "a sentence with a bad line is none"
    lines = [
        {"tokens": ["a", "b"], "tags": ["O"]}, {"tokens": "a b", "tags": ["O", "B-X"]}, {"tokens": 3, "tags": ["O"]},
        {"tokens": ["a"], "tags": "O"}, {"tokens": ["a"], "tags": 4}, {"tokens": [], "tags": []},
        {"tokens": ["a", "b"], "tags": ["O", ""]}, {"tokens": ["a"], "tags": [None]}, {"tokens": ["a"]},
        {"tokens": [" "], "tags": ["O"]},
    ]  # fmt: skip
    train = load(
        write(tmp_path / "b.jsonl", "".join(json.dumps(each) + "\n" for each in lines)), TAGGED
    ).train
    assert sentences(train) == [(["a", "b"], ["O", "B-X"]), (["a"], ["O"])]
    assert [line.removeprefix(f"{tmp_path}/b.jsonl, ") for line in problems(train)] == [
        "row 1: length mismatch 'a b' (2 words, 1 tag)",
        "row 3: bad words '3' (expected words as a list of texts, found int)",
        "row 5: bad tags '4' (expected a list with a tag for each word, found int)",
        "row 6: empty sentence",
        "row 7: unknown tag '' (expected the name of a tag)",
        "row 8: unknown tag 'None' (expected the name of a tag)",
        "row 9: bad tags 'None' (expected a list with a tag for each word, found NoneType)",
        "row 10: empty sentence",
    ]
    items = [EU, (["a"], ["O", "O"]), "no", (["b"], ["O"], 3)]
    assert problems(load(items, TAGGED).train) == [
        'item 2: bad item (expected (words, tags) or {"tokens": …, "tags": …}, found str)',
        'item 3: bad item (expected (words, tags) or {"tokens": …, "tags": …}, found tuple)',
        "item 1: length mismatch 'a' (1 word, 2 tags)",
    ]


def test_files_that_hold_no_tags_or_cannot_be_decoded(tmp_path: Path) -> None:
    said = problems(load(write(tmp_path / "a.txt", "EU\nrejects\n"), TAGGED).train)
    assert said == [
        f"{tmp_path}/a.txt, row 1: missing column 'tag' "
        "(expected a word, a tab or a space, and its tag on every line; found one column)"
    ]
    for content in ("", "\n\n", "# only a comment\n"):
        with pytest.raises(DataError, match="no samples"):
            check(load(write(tmp_path / "a.txt", content), TAGGED).train)
    path = write(tmp_path / "a.txt", "x O\n北 B-LOC\n京 I-LOC\n".encode("gbk"))
    assert problems(load(path, TAGGED).train)[0].startswith(
        f"{path}, row 2: wrong encoding (expected UTF-8; it looks like GBK"
    )
    assert sentences(load(path, TAGGED, encoding="gbk").train) == [
        (["x", "北", "京"], ["O", "B-LOC", "I-LOC"])
    ]
    with pytest.raises(DataError, match=r"expected train\.tsv, train\.txt or the like, found a\.txt"):
        load(tmp_path, TAGGED)


def test_tags_that_training_does_not_have_are_problems_of_the_other_parts(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", TABS)
    write(tmp_path / "dev.txt", "Ann B-PER\n\nin O\nRome B-LOC\n")
    with pytest.raises(DataError) as caught:
        prepare_tagged(tmp_path)
    assert (
        f"{tmp_path}/dev.txt, row 3: unknown tag 'B-LOC' (known: {', '.join(LABELS)}" in caught.value.message
    )
    parts = prepare_tagged(tmp_path, on_bad="skip")
    assert sentences(parts.valid) == [(["Ann"], ["B-PER"])]
    assert parts.notes == ("left out: 1 × unknown tag",)


@pytest.mark.parametrize("own", "IM")
@pytest.mark.parametrize("other", "IM")
def test_the_middle_of_an_entity_may_be_met_in_other_parts_first(own: str, other: str) -> None:
    """B, E and S alone may be of BIES or of BMES."""
    short = (["Ann", "New", "York"], ["S-PER", "B-LOC", "E-LOC"])
    long = (["Bank", "of", "Lima"], ["B-LOC", f"{other}-LOC", "E-LOC"])
    found = prepare_tagged([short] * 4, valid=[long])
    assert found.train.labels == tuple(f"{a}-{b}" for a in "BEIS" for b in ("LOC", "PER"))
    assert found.valid is not None
    assert sentences(found.valid) == [(long[0], ["B-LOC", "I-LOC", "E-LOC"])]
    known = [(long[0], ["B-LOC", f"{own}-LOC", "E-LOC"])] * 4
    found = prepare_tagged(known, valid=[long])
    assert sentences(found.valid) == [known[0]]


def test_middles_of_both_kinds_are_two() -> None:
    both = [(["a", "b", "c", "d"], ["B-X", "M-X", "I-X", "E-X"])] * 2
    assert load(both, TAGGED).train.labels == ("B-X", "E-X", "I-X", "M-X")


# ---- for a run ----

MANY = [([f"w{n}", "x"], ["B-A", "I-A" if n % 2 else "O"]) for n in range(9)] + [(["y"], ["B-RARE"])]


def test_a_fifth_is_held_out_whatever_tags_are_rare() -> None:
    first, again, other = (prepare_for("tagged", MANY, multi_label=None, seed=seed) for seed in (0, 0, 1))
    assert (len(first.train), len(first.valid or [])) == (8, 2)
    assert sentences(first.valid) == sentences(again.valid) != sentences(other.valid)
    assert sorted(sentences(first.train) + sentences(first.valid)) == sorted(MANY)
    assert "no validation data was given: 2 of 10 samples were held out" in first.describe()
    assert first.train.labels == ("O", "B-A", "B-RARE", "I-A", "I-RARE")
    with pytest.raises(DataError, match="one sentence alone cannot be split"):
        prepare_tagged(MANY[:1])
    with pytest.raises(UsageError, match="multi_label"):
        prepare_for("tagged", MANY, multi_label=True)


def test_parts_are_taken_given_or_left_out(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        write(tmp_path / f"{name}.conll", TABS)
    parts = prepare_tagged(tmp_path)
    assert [len(part or []) for part in (parts.train, parts.valid, parts.test)] == [2, 2, 2]
    parts = prepare_tagged(str(tmp_path / "train.conll"), valid=[PETER], test=False)
    assert (sentences(parts.valid), parts.test) == ([PETER], None)
    assert prepare_tagged(tmp_path, valid=False).valid is None
    assert prepare_tagged([EU, PETER], valid=False).describe() == (
        "train: list: 2 sentences, 6 words; tags: O 2, B-MISC 1, B-ORG 1, B-PER 1, I-PER 1"
    )


def test_evaluation_uses_the_tags_of_the_module(tmp_path: Path) -> None:
    labels = ("O", "I-PER", "B-PER")
    found = prepare_evaluation_for("tagged", [PETER], labels=labels, multi_label=False)
    assert found[0].label == (2, 1)
    assert found.labels == labels
    with pytest.raises(DataError, match=r"item 0: unknown tag 'B-ORG' \(known: O, I-PER, B-PER"):
        prepare_tagged_evaluation([EU], labels=labels)
    found = prepare_tagged_evaluation(load([PETER, PETER], TAGGED).train.select([1]), labels=labels)
    assert (len(found), found[0].label, found.targets().tolist()) == (1, (2, 1), [0])


def test_what_a_network_cannot_take_is_left_out_by_its_row(tmp_path: Path) -> None:
    def probe(sample: Sample) -> None:
        if "rejects" in sample.input:
            raise InputError("too rude")

    path = write(tmp_path / "a.txt", CONLL)
    with pytest.raises(DataError, match=r"a\.txt, row 3: unreadable \(too rude\)"):
        prepare_tagged(path, valid=False, probe=probe)
    other = write(tmp_path / "b.txt", CONLL + "\nUN NNP B-NP B-ORG\nand CC O O\nFrench JJ B-NP B-MISC\n")
    assert len(prepare_tagged(other, valid=False, probe=probe, on_bad="skip").train) == 2


def test_selected_sentences_keep_their_tags_and_counts() -> None:
    train = load(MANY, TAGGED).train
    part = train.select([9, 0])
    assert sentences(part) == [MANY[9], MANY[0]]
    assert part.counts() == {"O": 1, "B-A": 1, "B-RARE": 1, "I-A": 0, "I-RARE": 0}
    assert part.targets().dtype == np.int64
    assert len(train.select([])) == 0


ORDERS = [
    (["B-X", "I-X", "O", "B-Y"], ""),
    (["I-X", "O", "I-Y", "B-Y"], "I-X after the beginning (item 0); an entity begins there, as in IOB1"),
    (["B-X", "I-Y"], "I-Y after B-X (item 0); an entity begins there, as in IOB1"),
    (["B-X", "I-X", "E-X", "S-Y", "O"], ""),
    (["B-X", "M-X", "E-X", "S-Y", "B-Y", "E-Y"], ""),
    (["B-X", "O", "S-Y"], "O after B-X (item 0)"),
    (["S-Y", "B-X"], "the end after B-X (item 0)"),
    (["O", "E-X", "S-X"], "E-X after O (item 0)"),
    (["I-X", "O", "I-Y"], ""),
    (["NN", "VB", "B-X", "O", "I-X"], ""),
    (["B", "M", "E", "S"], ""),
    (["B", "S"], "S after B (item 0)"),
]


@pytest.mark.parametrize(("tags", "note"), ORDERS)
def test_tags_out_of_order_are_counted_in_a_note(tags: list[str], note: str) -> None:
    train = load([(["w"] * len(tags), tags), (["w"], ["O"])], TAGGED).train
    said = "train: 1 of 2 sentences have tags out of order, such as " + note
    assert odd_tags("train", train) == (said if note else "")
    notes = prepare_tagged(load([(["w"] * len(tags), tags), (["w"], ["O"])], TAGGED), valid=False).notes
    assert notes == ((said,) if note else ())


# ---- by name ----


def test_msra_ner_is_fetched_once(tmp_path: Path, empty_home: Path) -> None:
    chosen = builtin.BUILT_IN["MSRA_NER"]
    wanted = (list("海钓在厦门"), ["O", "O", "O", "B-LOC", "I-LOC"])
    for part in ("train", "dev", "test"):
        write(tmp_path / "msra_ner" / f"{part}.tsv", "text_a\tlabel\n" + joined(*wanted) * 2)
    web = MemoryTransport({chosen.url: archive_of(tmp_path / "msra_ner", "msra_ner")})
    splits = builtin.load_by_name("MSRA_NER", transport=web)
    assert [sentences(each) for each in splits] == [[wanted] * 2] * 3
    assert splits.train.labels == ("O", "B-LOC", "I-LOC")
    count = len(web.requests)
    builtin.load_by_name("MSRA_NER", transport=web)
    assert len(web.requests) == count
