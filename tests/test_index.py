"""The index format: what is written is read back; what is damaged, hostile or too new is refused with its place."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import IndexFormatError
from hub.naming import is_module_name, is_safe_path
from hub.registry.index import (
    MAX_MODULE_BYTES,
    File,
    Module,
    Release,
    Summary,
    check_config,
    dump_search,
    parse_search,
)
from hub.registry.strict import MAX_DEPTH, is_line, load_json, one_line

DIGEST = "0123456789abcdef" * 4
PAGE: dict[str, Any] = {
    "schema": 1,
    "name": "glyphs",
    "task": "image_classification",
    "summary": "Small network for letters",
    "license": "Apache-2.0",
    "releases": [
        {
            "version": "1.0.0",
            "yanked": "wrong labels",
            "requires": {},
            "files": [{"path": "module.yaml", "sha256": DIGEST, "size": 0}],
        },
        {
            "version": "1.1.0",
            "yanked": False,
            "requires": {"hub": ">=1", "paddle": "<4,>=3.1"},
            "files": [
                {"path": "module.yaml", "sha256": DIGEST, "size": 300},
                {"path": "golden/input.npz", "sha256": DIGEST, "size": 12},
                {"path": "weights.safetensors", "sha256": DIGEST, "size": 10**12},
            ],
        },
    ],
}
ROW = ["glyphs", "1.1.0", "image_classification", "Small network", "Apache-2.0", 1000]


def parse(page: object) -> Module:
    return Module.parse(json.dumps(page).encode(), name="glyphs", source="index/modules/glyphs.json")


def changed(path: str, value: object) -> object:
    """Give PAGE with one value replaced; a path such as releases.1.files.0.path."""
    page = copy.deepcopy(PAGE)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = page
    for step in steps:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return page


def test_a_page_is_read_and_written_back() -> None:
    module = parse(PAGE)
    assert module.to_dict() == PAGE
    assert module.releases[0].yanked == "wrong labels"
    assert module.releases[1].size == 300 + 12 + 10**12
    assert module.row() == Summary(
        "glyphs",
        "1.1.0",
        "image_classification",
        "Small network for letters",
        "Apache-2.0",
        module.releases[1].size,
    )


def test_a_module_whose_releases_are_all_withdrawn_has_no_row() -> None:
    assert parse(changed("releases.1.yanked", "broken")).row() is None


def test_unknown_keys_are_room_for_later() -> None:
    assert parse(changed("homepage", "x")) == parse(PAGE)


REFUSED = [
    (
        "schema",
        2,
        "schema: expected at most 1, which this hub reads, found 2\n  hint: pip install -U hubtune",
    ),
    ("schema", 0, "schema: expected 1, found 0"),
    ("schema", True, "schema: expected a whole number"),
    ("schema", ..., "schema: missing"),
    ("name", "other", "name: expected 'glyphs', found 'other'"),
    ("summary", ..., "summary: missing"),
    ("summary", "a\nb", "summary: expected one line of text, found 'a\\nb'"),
    ("summary", "\x1b[2Jx", "summary: expected one line of text, found '\\x1b[2Jx'"),
    ("summary", "a\u202eb", "summary: expected one line of text, found 'a\\u202eb'"),
    ("summary", "\ud800", "summary: expected one line of text, found '\\ud800'"),
    ("license", ["MIT"], "license: expected one line of text, found ['MIT']"),
    ("task", "Image Classification", "task: expected a task such as image_classification"),
    ("releases", {}, "releases: expected a list […], found {}"),
    ("releases.0", [], "releases[0]: expected an object {…}, found []"),
    ("releases.0.version", "1.0.0-beta", "releases[0].version: expected a version by PEP 440"),
    ("releases.0.version", "../1", "releases[0].version: expected a version"),
    ("releases.0.version", 1.0, "releases[0].version: expected a version in quotes"),
    ("releases.1.version", "1.0", "releases[1].version: expected every version once, found '1.0'"),
    ("releases.0.yanked", True, "releases[0].yanked: expected false or the reason, found True"),
    ("releases.0.yanked", "", "releases[0].yanked: expected false or the reason, found ''"),
    ("releases.1.requires", [], "releases[1].requires: expected an object {…}, found []"),
    (
        "releases.1.requires",
        {"a b": ">=1"},
        "releases[1].requires: expected the name of a distribution, found 'a b'",
    ),
    ("releases.1.requires", {"hub": "new"}, "releases[1].requires.hub: expected versions by PEP 440"),
    ("releases.1.files", [], "releases[1].files: expected from 1 to 10,000 files, found []"),
    ("releases.1.files.0.path", "readme.md", "releases[1].files: expected a module.yaml among the files"),
    ("releases.1.files.2.sha256", "abc", "releases[1].files[2].sha256: expected 64 hex digits, found 'abc'"),
    ("releases.1.files.2.sha256", DIGEST.upper(), "releases[1].files[2].sha256: expected 64 hex digits"),
    (
        "releases.1.files.2.size",
        -1,
        "releases[1].files[2].size: expected a whole number of at least 0, found -1",
    ),
    ("releases.1.files.2.size", 1.5, "releases[1].files[2].size: expected a whole number"),
    ("releases.1.files.2.size", 10**30, "releases[1].files[2].size: expected a whole number"),
    ("releases.1.files.2.size", ..., "releases[1].files[2].size: missing"),
    (
        "releases.1.files.1.path",
        "../x",
        "releases[1].files[1].path: expected a path inside the module folder",
    ),
    ("releases.1.files.1.path", "C:\\x", "releases[1].files[1].path: expected a path inside"),
    ("releases.1.files.1.path", ".hub.json", "releases[1].files[1].path: expected a path inside"),
    (
        "releases.1.files.1.path",
        "Module.YAML",
        "expected no second file where module.yaml is, found 'Module.YAML'",
    ),
    ("releases.1.files.1.path", "module.yaml/x", "expected no second file where module.yaml is"),
]


@pytest.mark.parametrize(
    ("path", "value", "says"), REFUSED, ids=[f"{row[0]}={row[1]!r}"[:60] for row in REFUSED]
)
def test_what_is_wrong_is_said_with_its_place(path: str, value: object, says: str) -> None:
    with pytest.raises(IndexFormatError) as caught:
        parse(changed(path, value))
    assert says in str(caught.value)
    assert str(caught.value).startswith("index/modules/glyphs.json: ")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "expected JSON, but Expecting value; it may have been cut short"),
        (
            b'{"a": [1, 2',
            "line 1, column 12: expected JSON, but Expecting ',' delimiter; it may have been cut short",
        ),
        (b'{"a": "bc', "it may have been cut short"),
        (b'{"a":\n\n x}', "line 3, column 2: expected JSON, but Expecting value"),
        (b"<<<<<<< ours\n{}\n=======\n{}\n>>>>>>> theirs", "found a merge conflict"),
        (b'{"schema": 1,\n<<<<<<< ours\n"a": 1\n=======\n', "found a merge conflict"),
        (b"<!DOCTYPE html><html>", "expected JSON, found a web page\n  hint: a login page or a proxy"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice in one object"),
        (b'{"a": NaN}', "found NaN, which is no number in JSON"),
        (b"[Infinity]", "found Infinity"),
        (b'{"a": "\xff"}', "expected UTF-8, found other bytes at 7"),
        (b"1" * 5000, "Exceeds the limit"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested more than 64 deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested more than 64 deep"),
        (b" " * 101, "expected at most 100 bytes, found 101"),
    ],
)
def test_json_is_strict(data: bytes, says: str) -> None:
    most = 100 if data.isspace() else 10**7
    with pytest.raises(IndexFormatError) as caught:
        load_json(data, source="https://host/search.json", most=most)
    assert says in str(caught.value)
    assert str(caught.value).startswith("https://host/search.json")


def test_the_last_of_many_keys_is_found_to_stand_twice() -> None:
    data = json.dumps({f"{n:x}": 0 for n in range(90_000)})[:-1] + ', "15f8f": 0}'
    with pytest.raises(IndexFormatError, match="the key '15f8f' stands twice"):
        load_json(data.encode(), source="x", most=10**7)  # with a count for every key it takes minutes


def test_json_may_be_as_deep_as_the_limit() -> None:
    data = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert load_json(data, source="x", most=1000) == json.loads(data)


def test_a_page_may_not_be_huge() -> None:
    data = json.dumps(changed("summary", "x" * MAX_MODULE_BYTES)).encode()
    with pytest.raises(IndexFormatError, match="expected at most 5,000,000 bytes"):
        Module.parse(data, name="glyphs", source="x")


names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,10}", fullmatch=True).filter(is_module_name)
lines = st.text(max_size=30).map(one_line)
sizes = st.integers(0, 2**53 - 1)
versions = st.tuples(*[st.integers(0, 30)] * 3).map(lambda parts: ".".join(map(str, parts)))
paths = st.from_regex(r"[a-z0-9]{1,5}(/[a-z0-9]{1,5}){0,2}", fullmatch=True).filter(is_safe_path)
files = st.builds(File, paths, st.binary(min_size=32, max_size=32).map(bytes.hex), sizes)
# The paths get a number in front, so that none is in the way of another.
file_lists = st.lists(files, max_size=4).map(
    lambda found: (
        File("module.yaml", DIGEST, 1),
        *(File(f"f{n}/{file.path}", file.sha256, file.size) for n, file in enumerate(found)),
    )
)
releases = st.builds(
    Release, versions, file_lists, st.dictionaries(st.sampled_from(["hub", "paddle"]), st.just(">=1")), lines
)
modules = st.builds(
    Module,
    names,
    st.sampled_from(["image_classification", "text_matching"]),
    lines,
    lines,
    st.lists(releases, max_size=3, unique_by=lambda release: release.version).map(tuple),
)
rows = st.builds(Summary, names, versions, st.just("image_classification"), lines, lines, sizes)


@settings(max_examples=50)
@given(modules)
def test_every_module_round_trips(module: Module) -> None:
    data = json.dumps(module.to_dict()).encode()
    assert Module.parse(data, name=module.name, source="x") == module


@given(st.lists(rows, max_size=5, unique_by=lambda row: row.name))
def test_every_search_list_round_trips_in_order(found: list[Summary]) -> None:
    assert parse_search(dump_search(found).encode(), source="x") == sorted(found)


@given(st.data())
def test_a_damaged_page_is_refused_or_still_right(data: st.DataObject) -> None:
    page = bytearray(json.dumps(PAGE).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(page) - 1))
        page[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        module = Module.parse(bytes(page), name="glyphs", source="x")
    except IndexFormatError:
        return
    assert all(is_safe_path(file.path) for release in module.releases for file in release.files)
    assert is_line(module.summary)


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner))


@settings(max_examples=40)
@given(values)
def test_any_other_json_is_refused(value: object) -> None:
    for page in (value, {**PAGE, "releases": value}, changed("releases.1.files", value)):
        if page not in (PAGE, {**PAGE, "releases": []}):
            with pytest.raises(IndexFormatError):
                parse(page)


def search(
    rows: object, columns: object = ("name", "version", "task", "summary", "license", "size")
) -> list[Summary]:
    value = {"schema": 1, "columns": columns, "modules": rows}
    return parse_search(json.dumps(value).encode(), source="index/search.json")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        (0, "../x", "modules[1][0]: expected a module name, found '../x'"),
        (0, None, "modules[1][0]: expected a module name, found None"),
        (1, "1.0-beta", "modules[1][1]: expected a version"),
        (2, "Task", "modules[1][2]: expected a task"),
        (3, "\x1b]0;x\x07", "modules[1][3]: expected one line of text"),
        (3, ["x"], "modules[1][3]: expected one line of text, found ['x']"),
        (4, {"a": 1}, "modules[1][4]: expected one line of text"),
        (5, "1000", "modules[1][5]: expected a whole number"),
        (5, True, "modules[1][5]: expected a whole number"),
    ],
)
def test_a_wrong_row_of_the_search_list_is_said_with_its_place(column: int, value: object, says: str) -> None:
    row = [*ROW]
    row[column] = value  # type: ignore[call-overload]
    with pytest.raises(IndexFormatError) as caught:
        search([ROW, row])
    assert f"index/search.json: {says}" in str(caught.value)


@pytest.mark.parametrize("row", ["abcdef", 7, None, {}, ROW[:5], [*ROW, 1]], ids=repr)
def test_a_row_has_six_columns(row: object) -> None:
    with pytest.raises(IndexFormatError, match=r"modules\[1\]"):
        search([ROW, row])


def test_a_row_may_hold_any_language() -> None:
    row = [*ROW]
    row[3] = "小型网络\u3000手写字母 🇨🇳 é"  # with an ideographic blank, which Python does not call printable
    assert search([row]) == [Summary(*row)]  # type: ignore[arg-type]


def test_other_columns_are_refused() -> None:
    with pytest.raises(IndexFormatError, match=r"columns: expected \[\"name\""):
        search([], columns=["name"])


def test_a_newer_index_is_refused_with_the_line_that_upgrades() -> None:
    with pytest.raises(IndexFormatError, match="pip install -U hubtune"):
        check_config(b'{"schema": 2}', source="x")
    check_config(b'{"schema": 1, "mirrors": []}', source="x")
