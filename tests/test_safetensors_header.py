"""The header of a .safetensors file: exactly the specification, before anybody maps the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hostile import safetensors_files, watch
from hostile.mutants import mutants, overwrite
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hub.errors import StorageError, UnsafeFileError
from hub.modules.safetensors_header import DTYPES, TensorInfo, read_header

SECONDS = 1.0
MEMORY_MIB = 200
NUMPY = {"b1": "BOOL", "u1": "U8", "i1": "I8", "<u2": "U16", "<i2": "I16", "<f2": "F16", "<u4": "U32", "<i4": "I32",
         "<f4": "F32", "<u8": "U64", "<i8": "I64", "<f8": "F64", "<c8": "C64"}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("headers")


@pytest.fixture(scope="module")
def watched(place: Path) -> tuple[dict[str, dict], float]:
    """Read all the hostile headers in one process that is watched."""
    paths = {name: place / f"{number}.safetensors" for number, name in enumerate(safetensors_files.HOSTILE)}
    for name, path in paths.items():
        path.write_bytes(safetensors_files.HOSTILE[name][0])
    harmless = place / "harmless.safetensors"
    harmless.write_bytes(safetensors_files.PLAIN["metadata"])
    reports, memory = watch.watch("header", [harmless, *paths.values()], cwd=place)
    return {name: reports[path.name] for name, path in paths.items()}, memory


@pytest.mark.parametrize("name", safetensors_files.HOSTILE)
def test_a_header_that_lies_is_refused(
    name: str, place: Path, watched: tuple[dict[str, dict], float]
) -> None:
    report = watched[0][name]
    assert report["error"] == "UnsafeFileError", report["message"]
    assert safetensors_files.HOSTILE[name][1] in report["message"]
    assert report["message"].startswith(f"{place / report['file']}: ")
    assert "\n  hint: " in report["message"]
    assert report["message"].replace("\n", "").isprintable()
    assert report["events"] == []
    assert report["seconds"] < SECONDS


def test_the_corpus_took_little_memory(watched: tuple[dict[str, dict], float]) -> None:
    assert len(safetensors_files.HOSTILE) >= 50
    assert watched[1] < MEMORY_MIB


@pytest.mark.parametrize("name", safetensors_files.PLAIN)
def test_a_plain_file_is_taken_as_the_library_takes_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    path.write_bytes(safetensors_files.PLAIN[name])
    with safetensors.safe_open(path, "np") as library:
        assert set(read_header(path).tensors) == set(library.keys())
        assert read_header(path).metadata == (library.metadata() or {})


def test_the_header_says_where_each_tensor_lies(tmp_path: Path) -> None:
    path = tmp_path / "two.safetensors"
    header = (
        b'{"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},'
        b'"a":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]}}'
    )
    path.write_bytes(safetensors_files.packed(header, b"aaaabbbb"))
    start = 8 + len(header)
    assert list(read_header(path).tensors.items()) == [
        ("a", TensorInfo("F16", (1, 2), start, start + 4)),
        ("b", TensorInfo("F32", (1,), start + 4, start + 8)),
    ]


# not empty: the library (0.8.0) writes no JSON when it has neither tensors nor metadata
METADATA = st.dictionaries(st.text(max_size=5), st.text(max_size=5), min_size=1, max_size=3)
STATES = st.dictionaries(
    st.text(min_size=1, max_size=9).filter(lambda name: name != "__metadata__"),
    st.sampled_from(list(NUMPY)).flatmap(
        lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=5,
)


@given(
    state=STATES,
    metadata=st.one_of(st.none(), METADATA),
)
@settings(max_examples=200)
def test_what_the_library_writes_is_what_the_header_says(
    state: dict[str, np.ndarray], metadata: dict[str, str] | None, place: Path
) -> None:
    path = place / "any.safetensors"
    data = safetensors.numpy.save(state, metadata)
    overwrite(path, data)
    header = read_header(path)
    assert header.metadata == (metadata or {})
    assert set(header.tensors) == set(state)
    for name, tensor in header.tensors.items():
        kind = NUMPY[state[name].dtype.str.lstrip("|")]
        assert (tensor.dtype, tensor.shape) == (kind, state[name].shape)
        assert data[tensor.start : tensor.end] == state[name].tobytes()


def test_every_type_of_paddle_is_known(tmp_path: Path) -> None:
    paddle = pytest.importorskip("paddle")
    from safetensors.paddle import save_file

    names = [
        "float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool",
        "complex64", "float8_e4m3fn", "float8_e5m2",
    ]  # fmt: skip
    path = tmp_path / "types.safetensors"
    save_file({name: paddle.ones([3]).astype(name) for name in names}, path)
    for name, tensor in read_header(path).tensors.items():
        assert tensor.shape == (3,)
        assert tensor.end - tensor.start == 3 * DTYPES[tensor.dtype], name


def test_4_000_mutants_are_taken_or_refused(place: Path) -> None:
    state = {
        "a": np.arange(4, dtype=np.float32),
        "b.weight": np.ones((2, 3), np.float16),
        "z": np.zeros((0, 2)),
    }
    originals = [safetensors.numpy.save(state, {"format": "pd"}), *safetensors_files.PLAIN.values()]
    path = place / "mutant.safetensors"
    refused = 0
    for mutant in mutants(originals, count=4_000, seed=5):
        overwrite(path, mutant)
        try:
            header = read_header(path)
        except UnsafeFileError:
            refused += 1
            continue
        assert max((tensor.end for tensor in header.tensors.values()), default=0) <= len(mutant)
    assert 2_000 < refused < 4_000


@pytest.mark.parametrize("name", ["missing.safetensors", "."])
def test_a_file_that_cannot_be_read_is_a_storage_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_header(tmp_path / name)
