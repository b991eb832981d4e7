"""module.yaml: what is accepted, what is refused and in which words, and that reading undoes writing."""

from __future__ import annotations

import copy
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hub import plain_yaml
from hub.errors import SpecError
from hub.modules.spec import ModuleSpec
from hub.registry.manifest import Manifest

GOOD = {
    "schema": 1,
    "name": "flowers",
    "version": "1.2.0",
    "task": "image_classification",
    "arch": {"name": "resnet", "depth": 50},
    "weights": [{"file": "weights.safetensors", "sha256": "ab" * 32, "size": 100}],
    "files": [{"file": "vocab.txt", "sha256": "cd" * 32, "size": 7}],
    "head": {"labels": "labels.txt", "multi_label": False},
    "preprocess": [{"resize": {"short": 256}}, {"normalize": {"mean": [0.5], "std": [0.25]}}],
    "golden": {"input": "golden/input.safetensors", "output": "golden/output.safetensors", "rtol": 1e-4},
    "license": "Apache-2.0",
    "source": {"metrics": {"accuracy": 0.9}},
    "requires": {"paddle": ">=3.1"},
}


def changed(path: str, value: object) -> dict:
    """GOOD with one place changed ("weights.0.size") or, for the value `...`, removed."""
    data = copy.deepcopy(GOOD)
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: object = data
    for part in way:
        place = place[part]  # type: ignore[index]
    if value is ...:
        del place[last]  # type: ignore[attr-defined]
    else:
        place[last] = value  # type: ignore[index]
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("weights.0.sha256", "abc", "weights[0].sha256: expected 64 hex digits, found 'abc'"),
        ("weights.0.size", "100", "weights[0].size: expected a whole number of at least 0, found '100'"),
        ("weights.0.size", True, "weights[0].size: expected a whole number"),
        (
            "weights.0.file",
            "../x",
            "weights[0].file: expected a path inside the module folder, of plain letters, found '../x'",
        ),
        ("weights.0.file", "a/../../x", "weights[0].file: expected a path inside the module folder"),
        ("weights.0.file", "/etc/passwd", "weights[0].file: expected a path inside the module folder"),
        ("weights.0.file", "C:\\x", "weights[0].file: expected a path inside the module folder"),
        ("weights", [], "weights: expected a list of at least 1, found []"),
        ("weights", "w.safetensors", "weights: expected a list"),
        ("files.0.file", "../vocab.txt", "files[0].file: expected a path inside the module folder"),
        ("files.0.sha256", 3, "files[0].sha256: expected 64 hex digits, found 3"),
        ("files", {}, "files: expected a list, found {}"),
        ("name", "Bad Name", "name: expected a module name: up to 64 of a-z, 0-9, _ and -, no device name"),
        ("name", "../x", "name: expected a module name"),
        ("name", ..., "name: missing"),
        ("version", 1.0, 'version: expected a version in quotes, such as "1.0.0", found 1.0'),
        ("version", "one", "version: expected a version by PEP 440 in its normal form, such as 1.2.0, found"),
        ("task", 3, "task: expected a task such as image_classification, found 3"),
        ("arch", "resnet", "arch: expected a mapping, found 'resnet'"),
        ("arch", {"nam": "resnet"}, "arch.name: missing"),
        ("head.multi_label", "yes", "head.multi_label: expected true or false, found 'yes'"),
        ("head.label", "x", "head.label: unknown key"),
        ("preprocess.0", {"resize": {}, "crop": {}}, "preprocess[0]: expected one step with its arguments"),
        ("preprocess.0", {"resize": 5}, "preprocess[0].resize: expected a mapping, found 5"),
        ("golden.rtol", "1e-4", "golden.rtol: expected a number from 0 up to 1"),
        ("license", "", "license: expected a text, found ''"),
        ("requires.paddle", "three", 'requires.paddle: expected versions such as ">=3.1,<4", found'),
        ("requires.torch", ">=2", "requires.torch: unknown key"),
        ("schema", 2, "schema: this hub reads module.yaml up to schema 1, found 2"),
        ("licence", "MIT", "licence: unknown key"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(path: str, value: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        ModuleSpec.parse(changed(path, value))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("path", "value", "is_right"),
    [
        ("name", "con", False),
        ("name", "com1_net", True),
        ("version", "v1.0.0", False),
        ("version", "1.0+cpu", False),
        ("version", "1.0b1", True),
        ("version", "1.0-beta", False),
        ("task", "a" * 64, True),
        ("task", "a" * 70, False),
        ("weights.0.file", "we+ights.safetensors", True),
        ("weights.0.file", "con/x", False),
        ("weights.0.file", "x.", False),
        ("weights.0.file", "a/.x", False),
        ("weights.0.size", 1 << 60, False),
        ("weights", [], False),
        ("license", "", False),
        ("license", ..., False),
    ],
)
def test_what_is_loaded_and_what_is_installed_keep_the_same_rules(
    tmp_path: Path, path: str, value: object, is_right: bool
) -> None:
    data = changed(path, value)
    (tmp_path / "module.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    for read in (ModuleSpec.read, Manifest.read):
        if is_right:
            read(tmp_path)
            continue
        with pytest.raises(SpecError, match=path.split(".")[0]):
            read(tmp_path)


def test_keys_of_a_newer_hub_are_installed_and_not_loaded(tmp_path: Path) -> None:
    data = {**GOOD, "newer": 1, "requires": {"numpy": ">=2"}}
    (tmp_path / "module.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    assert Manifest.read(tmp_path).requires == {"numpy": ">=2"}
    with pytest.raises(SpecError, match="newer: unknown key"):
        ModuleSpec.read(tmp_path)


def test_a_misspelt_key_gets_the_right_one() -> None:
    with pytest.raises(SpecError, match="did you mean 'license'"):
        ModuleSpec.parse(changed("licence", "MIT"))


@pytest.mark.parametrize("value", [None, [], "text", 3, {1: 2}])
def test_a_file_that_is_no_mapping_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match=r"module\.yaml: expected a mapping"):
        ModuleSpec.parse(value)


def test_a_new_module_knows_its_files_by_their_digests() -> None:
    spec = ModuleSpec.create(
        name="m", task="text_classification", arch={"name": "bert"}, preprocess=[{"tokenize": {"max_length": 8}}],
        license="MIT", head=None, files={"vocab.txt": b"abc"},
    )  # fmt: skip
    [file] = spec.files
    assert (file.file, file.size) == ("vocab.txt", 3)
    assert file.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert ModuleSpec.parse(spec.to_dict()) == spec


def test_reading_undoes_writing() -> None:
    spec = ModuleSpec.parse(GOOD)
    assert ModuleSpec.parse(yaml.safe_load(spec.to_yaml())) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "line 1: expected"),
        ("a: 1\na: 2\n", "a key stands twice"),
        ("a: &x [1]\nb: *x\n", "aliases are not allowed"),
        ("a: " + "[" * 40 + "]" * 40, "nested more than 32 deep"),
        (
            "a: !!python/object/apply:os.system ['touch x']",
            "line 1: tags are not allowed, found tag:yaml.org",
        ),
        ("a: 1\nb: !!int abc", "line 2: tags are not allowed"),
        ("a: ! 1", "line 1: tags are not allowed"),
        ('a: "\\UFFFFFFFF"', "line 1: "),
        ("%YAML " + "1" * 5000 + ".1\n--- a", "line 1: "),
        ("a: [" + "[]," * 33_400 + "]", "expected at most 100,000 bytes, found 100,205"),
    ],
    ids=["cut short", "twice", "alias", "deep", "code", "tag", "empty tag", "escape", "version", "large"],
)
def test_hostile_yaml_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "module.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        ModuleSpec.read(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / "module.yaml") in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30", "2024-02-29", "0x_", "0x" + "f" * 9000, "0b1", "1_000", "017", "1" * 20, "1" * 5000,
        "1" + ":1" * 40_000, "1:1:1.5", "1" + ":1" * 3000 + ".5", "<<", "=", "1e4",
    ],
    ids=lambda text: text[:10],
)  # fmt: skip
def test_what_is_no_plain_number_is_a_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "module.yaml").write_text(f"{yaml.safe_dump(GOOD)}summary: {text}\n", encoding="utf-8")
    assert ModuleSpec.read(tmp_path).summary == text


@given(st.text("ab:-?[]{},&*!|>'\"%#@~<= \\\nUx0159_.+ey", max_size=40))
def test_any_text_is_yaml_or_refused_with_its_error(text: str) -> None:
    with suppress(yaml.YAMLError):
        plain_yaml.load(text)


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
))  # fmt: skip
def test_what_our_writer_writes_is_read_as_it_was(value: object) -> None:
    assert plain_yaml.load(yaml.safe_dump(value)) == value


def test_text_that_is_not_utf8_is_refused_with_the_byte(tmp_path: Path) -> None:
    (tmp_path / "module.yaml").write_bytes("name: 花".encode("gbk"))
    with pytest.raises(SpecError, match="expected UTF-8 text, found the byte 0xbb at position 6"):
        ModuleSpec.read(tmp_path)


def test_a_folder_without_module_yaml_says_what_a_module_folder_is(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"expected a module folder, found no module\.yaml"):
        ModuleSpec.read(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([*GOOD, "weights.0", "weights.0.file", "arch.name", "golden.input"]), json_values)
def test_any_value_anywhere_is_read_or_refused_with_a_spec_error(path: str, value: object) -> None:
    try:
        spec = ModuleSpec.parse(changed(path, value))
    except SpecError:
        return
    assert ModuleSpec.parse(spec.to_dict()) == spec
