"""Foreign .pdparams: everything that paddle writes is read as paddle reads it, and nothing else is read at all."""

from __future__ import annotations

import pickle
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from hostile import paddle26, pickles, watch
from hostile.mutants import mutants, overwrite
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hub.errors import StorageError, UnsafeFileError, WeightsError
from hub.modules import pdparams
from hub.modules.stack_machine import _INSTRUCTIONS, LONG

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track")  # paddle's BatchNorm

SECONDS = 1.0  # for any refusal
MEMORY_MIB = 100  # for the whole process that refused them all
MUTANTS = 20_000


def assert_same(found: object, expected: object) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray | np.generic):
        assert isinstance(found, np.ndarray | np.generic)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()
    elif isinstance(expected, dict):
        assert list(found) == list(expected)  # type: ignore[call-overload]
        for key in expected:
            assert_same(found[key], expected[key])  # type: ignore[index]
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)  # type: ignore[arg-type]
        for one, other in zip(found, expected, strict=True):  # type: ignore[call-overload]
            assert_same(one, other)
    else:
        assert found == expected


# Hostile files


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pickles")


def written(folder: Path, files: dict[str, bytes]) -> dict[str, Path]:
    paths = {name: folder / f"{number}.pdparams" for number, name in enumerate(files)}
    for name, path in paths.items():
        path.write_bytes(files[name])
    return paths


@pytest.fixture(scope="module")
def watched(place: Path) -> tuple[dict[str, dict], float]:
    """Read the whole corpus in one process that is watched."""
    files = {name: data for name, (data, _) in pickles.ALL.items()}
    paths = written(place, {"harmless": pickles.state_dict(w=pickles.array()), **files})
    reports, memory = watch.watch("pdparams", list(paths.values()), cwd=place)
    return {name: reports[path.name] for name, path in paths.items()}, memory


@pytest.mark.parametrize("name", pickles.ALL)
def test_a_hostile_file_is_refused(name: str, watched: tuple[dict[str, dict], float]) -> None:
    report = watched[0][name]
    assert report["error"] == "UnsafeFileError"
    assert pickles.ALL[name][1] in report["message"]
    assert f"{report['file']}: byte " in report["message"]
    assert "hint: get these weights as safetensors" in report["message"]
    assert report["message"].isprintable() or report["message"].replace("\n", "").isprintable()
    assert report["events"] == []
    assert report["seconds"] < SECONDS


def test_the_corpus_ran_nothing_and_took_little_memory(
    place: Path, watched: tuple[dict[str, dict], float]
) -> None:
    assert len(pickles.ALL) >= 100
    assert watched[0]["harmless"]["error"] is None
    assert not (place / pickles.CANARY).exists()
    assert watched[1] < MEMORY_MIB


def test_the_hostile_files_are_live_ammunition(tmp_path: Path) -> None:
    """Python's own unpickler runs every one of them: the watch sees it, and the canary is there."""
    paths = written(tmp_path, {"harmless": pickles.pickled(pickles.NONE), **pickles.RUNS_CODE})
    reports, _ = watch.watch("pickle", list(paths.values()), cwd=tmp_path)
    del paths["harmless"]
    silent = [name for name, path in paths.items() if pickles.CANARY not in str(reports[path.name]["events"])]
    assert silent == []
    assert (tmp_path / pickles.CANARY).exists()


# Files of paddle


@pytest.fixture(scope="module")
def paddle():
    return pytest.importorskip("paddle")


def as_paddle_reads(path: Path, paddle) -> object:
    def plain(value: object) -> object:
        if isinstance(value, paddle.Tensor):
            if value.dtype in (paddle.float8_e4m3fn, paddle.float8_e5m2):
                return value.numpy().view("int8")  # which they are already, unless paddlenlp was imported
            return value.astype("float32").numpy() if value.dtype == paddle.bfloat16 else value.numpy()
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(plain(item) for item in value)
        return value

    return plain(paddle.load(str(path)))


TYPES = (
    "float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool", "complex64",
    "complex128", "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip


def network_and_optimizer(paddle):
    network = paddle.nn.Sequential(paddle.nn.Linear(3, 2), paddle.nn.BatchNorm1D(2))
    schedule = paddle.optimizer.lr.StepDecay(0.1, 3)
    optimizer = paddle.optimizer.AdamW(schedule, parameters=network.parameters())
    network(paddle.ones([4, 3])).sum().backward()
    optimizer.step()
    schedule.step()
    return network, optimizer


def dense(paddle, values: np.ndarray):
    tensor = paddle.base.core.DenseTensor()
    tensor.set(values, paddle.CPUPlace())
    return tensor


SAVED = {
    "a state dict": lambda paddle: network_and_optimizer(paddle)[0].state_dict(),
    "an optimizer's state": lambda paddle: network_and_optimizer(paddle)[1].state_dict(),
    "every type": lambda paddle: {name: paddle.to_tensor([[1, 0, 3]]).astype(name) for name in TYPES},
    "every type, nested": lambda paddle: {"model": {name: paddle.ones([2]).astype(name) for name in TYPES}},
    "no axes": lambda paddle: {name: paddle.to_tensor(1.5).astype(name) for name in TYPES},
    "no elements": lambda paddle: {name: paddle.zeros([0, 3]).astype(name) for name in TYPES[:6]},
    "nested, with plain values": lambda paddle: {
        "model": network_and_optimizer(paddle)[0].state_dict(),
        "epoch": 3, "big": 2**80, "below": -(2**40), "lr": 0.1, "name": "größe", "best": None, "on": True,
        "steps": [1, 2.5, "x", paddle.ones([2])], "pair": (1, paddle.zeros([1])), "empty": {},
    },
    "a tensor": lambda paddle: paddle.arange(6).reshape([2, 3]),
    "a bfloat16 without axes": lambda paddle: paddle.to_tensor(-1.5, dtype="bfloat16"),
    "a list of tensors": lambda paddle: [paddle.ones([2]), paddle.zeros([1], "int64")],
    "a dense tensor": lambda paddle: [dense(paddle, np.arange(4, dtype=np.float32)), {"a": dense(paddle, np.eye(2))}],
    "numpy arrays": lambda paddle: {"a": np.arange(5), "f": np.asfortranarray(np.arange(6.0).reshape(2, 3))},
    "numpy numbers": lambda paddle: {"accuracy": np.float64(0.5), "step": np.int64(3), "nested": [paddle.ones([1])]},
    "a long array": lambda paddle: {"w": paddle.rand([300, 500]), "b": paddle.ones([LONG + 1], "uint8")},
    "one array twice": lambda paddle: (lambda w: {"a": {"b": w, "c": w}})(np.ones(3, np.float32)),
    "2,500 names": lambda paddle: {f"layer.{i}.weight": paddle.full([2], i) for i in range(2500)},
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("name", SAVED)
def test_a_file_of_paddle_is_read_as_paddle_reads_it(
    name: str, protocol: int, tmp_path: Path, paddle
) -> None:
    path = tmp_path / "saved.pdparams"
    paddle.save(SAVED[name](paddle), str(path), protocol=protocol)
    assert_same(pdparams.read_nested(path), as_paddle_reads(path, paddle))


@pytest.mark.parametrize("name", paddle26.FILES)
def test_a_file_of_paddle_2_6_under_numpy_1_is_read(name: str, tmp_path: Path, paddle) -> None:
    path = tmp_path / "old.pdparams"
    path.write_bytes(paddle26.FILES[name])
    assert_same(pdparams.read_nested(path), as_paddle_reads(path, paddle))
    if name.startswith("state"):
        assert_same(pdparams.read(path), paddle26.STATE)


@pytest.mark.parametrize("shape", [(4, 3), (12,), (2, 2, 3)])
def test_arrays_that_were_split_at_1_gib_are_rejoined(shape: tuple[int, ...], tmp_path: Path, paddle) -> None:
    values = np.arange(12, dtype=np.float32)
    split = {"w": {"OriginShape": shape, "slices": ["w@@.0", "w@@.1", "w@@.2"]}}
    parts = {"w@@.0": values[:5], "w@@.1": values[5:10], "w@@.2": values[10:]}
    path = tmp_path / "split.pdparams"
    path.write_bytes(pickle.dumps({"b": values[:1], **parts, "UnpackBigParamInfor@@": split}, protocol=2))
    assert_same(pdparams.read_nested(path), as_paddle_reads(path, paddle))
    assert_same(pdparams.read(path)["w"], values.reshape(shape))


def test_a_file_of_python_2_is_read(tmp_path: Path) -> None:
    """Python 2 had one type for text and bytes, and no word on which of them a string was."""

    def string(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    values = np.array([1.5, -2.0], "<f4")
    program = (
        b"\x80\x02}" + string(b"w") + b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85"
        + string(b"b") + b"tR(K\x01\x8a\x01\x02\x85cnumpy\ndtype\n(" + string(b"f4") + b"K\x00K\x01tR(K\x03"
        + string(b"<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + string(values.tobytes()) + b"tbs."
    )  # fmt: skip
    path = tmp_path / "python2.pdparams"
    path.write_bytes(program)
    assert_same(pickle.loads(program, encoding="latin1"), {"w": values})  # noqa: S301 - our own program
    assert_same(pdparams.read(path), {"w": values})


def test_every_bfloat16_becomes_the_same_float32(tmp_path: Path) -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    path = tmp_path / "bf16.pdparams"
    path.write_bytes(pickle.dumps({"w": bits}, protocol=4))
    found = pdparams.read(path)["w"]
    assert found.dtype == np.float32
    assert np.array_equal(found.view(np.uint32), bits.astype(np.uint32) << 16)


def test_the_arrays_do_not_depend_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w.pdparams"
    values = {"short": np.arange(9, dtype=np.int64), "long": np.arange(LONG, dtype=np.float32)}
    path.write_bytes(pickle.dumps(values, protocol=4))
    found = pdparams.read(path)
    path.write_bytes(b"")  # what paddle.save does to a file that it writes anew
    assert_same(found, values)
    for array in found.values():
        array += 1
        assert array.flags.aligned


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"model": {"w": np.ones(1)}}, "found dict under 'model'"),
        ({"w": np.ones(1), "epoch": 3}, "found int under 'epoch'"),
        ({3: np.ones(1)}, "found ndarray under '3'"),
        (("w", np.ones(1)), "found one ndarray"),
        ([np.ones(1)], "found one list"),
    ],
)
def test_read_takes_named_arrays_only(value: object, says: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pdparams"
    path.write_bytes(pickle.dumps(value, protocol=4))
    with pytest.raises(WeightsError, match=says) as caught:
        pdparams.read(path)
    assert "read_nested" in caught.value.hint


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read_is_a_storage_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        pdparams.read(tmp_path / name)


def test_reading_needs_no_paddle(python: str) -> None:
    code = "import sys, hub.modules.pdparams; print('paddle' in sys.modules)"
    assert (
        subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    )


# Any file


def leaves() -> st.SearchStrategy:
    types = st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<i8", ">i2", "|i1", "|u1", "|b1", "<c8", "<u4"])
    shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    array = types.flatmap(lambda kind: arrays.arrays(kind, shapes))
    return st.one_of(array, array, st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=20))


KEYS = st.text(max_size=12).filter(lambda key: "@@" not in key)
TREES = st.recursive(
    leaves(),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


def native(value: object) -> object:
    if isinstance(value, np.ndarray):
        return np.asarray(value, value.dtype.newbyteorder("="), order="C")
    if isinstance(value, dict):
        return {key: native(item) for key, item in value.items()}
    return [native(item) for item in value] if isinstance(value, list) else value


@given(tree=TREES, protocol=st.sampled_from([2, 3, 4]))
@settings(max_examples=300)
def test_what_pickle_writes_is_what_we_read(tree: object, protocol: int, place: Path) -> None:
    path = place / "tree"
    overwrite(path, pickle.dumps({"tree": tree}, protocol=protocol))
    found = pdparams.read_nested(path)["tree"]
    assert pickle.dumps(found) == pickle.dumps(native(tree))  # also for NaN


CODES = sorted(_INSTRUCTIONS)
PIECES = st.one_of(
    st.sampled_from(CODES).flatmap(lambda code: st.binary(max_size=9).map(lambda operand: code + operand)),
    st.sampled_from(
        [*CODES, pickles.array(), pickles.dtype(), pickles.EVAL, pickles.mapping({"w": pickles.NONE})]
    ),
    st.sampled_from(list(pdparams._NAMES)).map(lambda asked: pickles.name(*asked)),
)


@given(
    pieces=st.lists(PIECES, max_size=60), protocol=st.sampled_from([pickles.PROTOCOL_2, pickles.PROTOCOL_4])
)
@settings(max_examples=400)
def test_any_program_gives_plain_values_or_is_refused(
    pieces: list[bytes], protocol: bytes, place: Path
) -> None:
    path = place / "program"
    overwrite(path, protocol + b"".join(pieces) + pickles.STOP)
    try:
        value = pdparams.read_nested(path)
    except UnsafeFileError:
        return
    assert isinstance(value, np.ndarray | np.generic | str | int | float | list | tuple | dict | None)


def test_20_000_mutants_are_read_or_refused(place: Path) -> None:
    files = {
        "a": np.arange(4, dtype=np.float32),
        "LR": {"last_lr": 0.1, "last_epoch": 3},
        "t": ("x", np.ones(2, "u2")),
    }
    originals = [
        *paddle26.FILES.values(),
        *(pickle.dumps(files, protocol=protocol) for protocol in (2, 3, 4)),
    ]
    path = place / "mutant"

    def read() -> tuple[float, bool]:
        before = time.process_time()
        try:
            pdparams.read_nested(path)
        except UnsafeFileError:
            return time.process_time() - before, True
        return time.process_time() - before, False

    refused, slowest, start = 0, 0.0, time.process_time()
    for mutant in mutants(originals, count=MUTANTS, seed=3):
        overwrite(path, mutant)
        took, was_refused = read()
        refused += was_refused
        if took >= 0.05:  # what is slow is so each time; a collection of garbage is not
            took = min(read()[0] for _ in range(3))
        slowest = max(slowest, took)
    assert MUTANTS // 2 < refused < MUTANTS  # some mutations only change a weight
    assert slowest < 0.05
    assert time.process_time() - start < 20
