"""Archives: what is unpacked is what was packed, below the folder that was named, or nothing at all."""

from __future__ import annotations

import io
import ntpath
import os
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hostile import archives, watch
from hostile.archives import DATA
from hostile.mutants import mutants, overwrite
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import HubError, StorageError, UnsafeFileError, UsageError
from hub.naming import is_safe_path
from hub.registry.archive import FREE_BYTES, Limits, is_code, pack, safe_relative_path, unpack

SECONDS = {"bomb": 2.0}  # of our own time, for one archive; 1 for all the others
MEMORY_MIB = 200  # for the process that tried to unpack them all


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder by its path: the bytes of files, None for the rest."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


# Hostile archives


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archives")


@pytest.fixture(scope="module")
def paths(place: Path) -> dict[str, Path]:
    found = {
        name: place / f"{number}{case.ending}" for number, (name, case) in enumerate(archives.ALL.items())
    }
    for name, path in found.items():
        path.write_bytes(archives.ALL[name].data)
    return found


@pytest.fixture(scope="module")
def watched(place: Path, paths: dict[str, Path]) -> tuple[dict[str, dict], float]:
    """Unpack all of them in one process that is watched."""
    harmless = place / "harmless.tar"
    harmless.write_bytes(archives.tar(archives.entry(b"a.txt")))
    reports, memory = watch.watch("archive", [harmless, *paths.values()], cwd=place)
    return {name: reports[path.name] for name, path in paths.items()}, memory


@pytest.mark.parametrize("name", archives.ALL)
def test_an_archive_is_taken_or_refused(
    name: str, place: Path, paths: dict[str, Path], watched: tuple[dict[str, dict], float]
) -> None:
    case, report = archives.ALL[name], watched[0][name]
    assert (report["error"] or "") == case.error, report["message"]
    assert report["seconds"] < SECONDS.get(name.split(":")[0], 1.0)
    for event in report["events"]:
        what, path, *more = event.split(" ")
        assert what in {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
        if what in {"open", "os.mkdir", "os.rename"}:
            assert path.startswith(f"{place}{os.sep}.{report['file']}.out.")
        if what == "os.rename":
            assert more[0] == f"{paths[name]}.out"
    if case.error:
        assert case.says in report["message"]
        assert report["message"].startswith(str(paths[name]))
        assert "\n  hint: " in report["message"]
        assert report["message"].replace("\n", "").isprintable()
        assert not Path(f"{paths[name]}.out").exists()


def test_the_corpus_left_nothing_behind(
    place: Path, paths: dict[str, Path], watched: tuple[dict[str, dict], float]
) -> None:
    assert len(archives.ALL) >= 200
    assert len([name for name, case in archives.ALL.items() if case.error]) >= 200
    taken = {f"{paths[name].name}.out" for name, case in archives.ALL.items() if not case.error}
    packed = {path.name for path in paths.values()} | {"harmless.tar", "harmless.tar.out"}
    assert {path.name for path in place.iterdir()} == packed | taken
    assert not list(place.parent.glob("evil*"))
    assert watched[1] < MEMORY_MIB


CONTENT: dict[str, dict[str, bytes | None]] = {
    "plain: ./ before every name": {"d": None, "d/a": DATA},
    "plain: a folder named twice": {"d": None, "d/a": DATA},
    "plain: setuid": {"a": DATA},
    "plain: git's global header": {"a": DATA},
    "plain: an empty zip": {},
    "plain: zeros, less than a bomb": {"a": bytes(20 * 2**20)},
    "plain: a zip in a zip": {"inner.bin": archives.zipped(archives.Zipped(b"../evil"))},
    "plain: any script": {"数据": None, "数据/größe 1.txt": DATA},
    "plain: a unicode name that is the name": {"a.txt": DATA},
    "plain: UTF-8 without its flag": {"größe.txt": DATA},
    "zip: accept normal_deflate": {"a.txt": bytes(9999)},
    "zip: accept subdir": {"d": None, "d/a.txt": DATA},
    "zip: accept a folder with empty compressed data": {"d": None, "d/a.txt": DATA},
    "zip: iffy nosubdir": {"d": None, "d/a.txt": DATA},
}


@pytest.mark.parametrize("name", [name for name, case in archives.ALL.items() if not case.error])
def test_a_plain_archive_is_unpacked(
    name: str, paths: dict[str, Path], watched: tuple[dict[str, dict], float]
) -> None:
    folder = Path(f"{paths[name]}.out")
    assert tree(folder) == CONTENT.get(name, {"a.txt": DATA})
    for path in folder.rglob("*"):
        mode = path.stat().st_mode
        assert path.is_dir() or not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | 0o111)


@pytest.mark.parametrize(
    "name", ["names: up in a tar", "names: up as a folder", "kinds: a file through a link"]
)
def test_the_hostile_archives_are_live_ammunition(name: str, tmp_path: Path) -> None:
    """Without its filter, tarfile writes outside the folder: the corpus does what it says."""
    (tmp_path / "in").mkdir()
    with tarfile.open(fileobj=io.BytesIO(archives.ALL[name].data)) as archive:
        for member in archive:
            archive.extract(member, tmp_path / "in", filter="fully_trusted")
    assert (tmp_path / "evil").exists()


# Any archive


PARTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp", "Cs"]), min_size=1, max_size=8
)
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def is_safe(text: str) -> bool:
    try:
        safe_relative_path(text)
    except UnsafeFileError:
        return False
    return True


def one_place_each(texts: dict[str, bytes]) -> bool:
    folded = [part.casefold() for part in texts]
    return len(set(folded)) == len(folded) and not any(
        other.startswith(text + "/") for text in folded for other in folded
    )


SAFE_PATHS = st.text("abcXYZ019_- é数", min_size=1, max_size=6).filter(is_safe)
FILES = st.dictionaries(
    st.lists(SAFE_PATHS, min_size=1, max_size=4).map("/".join), st.binary(max_size=3000), max_size=6
).filter(one_place_each)
TAR_FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
KINDS = [*((form, mode) for form in TAR_FORMATS for mode in ("", "gz", "bz2")), ("zip", "0"), ("zip", "8")]


def packed_by_python(files: dict[str, bytes], kind: tuple[str, str]) -> tuple[str, bytes]:
    stream = io.BytesIO()
    if kind[0] == "zip":
        with zipfile.ZipFile(stream, "w", int(kind[1])) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return ".zip", stream.getvalue()
    with tarfile.open(fileobj=stream, mode=f"w:{kind[1]}", format=TAR_FORMATS[kind[0]]) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode, info.uname = len(data), 1.5, 0o4755, "anybody"
            archive.addfile(info, io.BytesIO(data))
    return ".tar" + f".{kind[1]}" * bool(kind[1]), stream.getvalue()


@given(files=FILES, kind=st.sampled_from(KINDS))
@settings(max_examples=150)
def test_what_python_packs_is_what_we_unpack(
    files: dict[str, bytes], kind: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not files and kind[1] == "":
        return  # an empty tar is nothing but zeros: no archive that anybody can tell from an empty file
    folder = tmp_path_factory.mktemp("any")
    ending, data = packed_by_python(files, kind)
    (folder / f"x{ending}").write_bytes(data)
    found = unpack(folder / f"x{ending}", folder / "out", code="keep")
    assert {path: data for path, data in tree(folder / "out").items() if data is not None} == files
    assert sorted(path.relative_to(folder / "out").as_posix() for path in found) == sorted(files)


@pytest.mark.parametrize("seekable", [True, False])
def test_a_large_zip_that_was_written_to_a_pipe_is_unpacked(seekable: bool, tmp_path: Path) -> None:
    """Sizes then come after the data; a member of unknown size has the fields of large ones."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return seekable

        def seek(self, *arguments: int) -> int:
            if not seekable:
                raise io.UnsupportedOperation
            return super().seek(*arguments)

    stream = Pipe()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for large in (False, True):
            with archive.open(f"{large}.bin", "w", force_zip64=large) as member:
                member.write(DATA * 1000)
    (tmp_path / "x.zip").write_bytes(stream.getvalue())
    unpack(tmp_path / "x.zip", tmp_path / "out")
    assert tree(tmp_path / "out") == {"False.bin": DATA * 1000, "True.bin": DATA * 1000}


# by Python's own table; the function moved in 3.13
is_reserved = getattr(ntpath, "isreserved", lambda part: PureWindowsPath(part).is_reserved())


@given(text=st.one_of(PATHS, st.text(max_size=30), st.sampled_from(sorted(archives.HOSTILE_NAMES.values()))))
@settings(max_examples=500)
def test_a_safe_path_stays_below_its_folder_on_every_system(text: str) -> None:
    try:
        path = safe_relative_path(text)
    except UnsafeFileError:
        return
    assert str(path) == text
    for kind in (PurePosixPath, PureWindowsPath):
        seen = kind(text)
        assert not seen.is_absolute()
        assert not seen.drive
        assert not seen.root
        assert seen.parts == tuple(text.split("/"))
        assert ".." not in seen.parts
    assert not any(is_reserved(part) for part in path.parts)
    assert os.path.normpath(f"/folder/{text}") == f"/folder/{text}"


@pytest.mark.parametrize("text", archives.HOSTILE_NAMES.values(), ids=archives.HOSTILE_NAMES)
def test_a_hostile_name_is_no_safe_path(text: str) -> None:
    with pytest.raises(UnsafeFileError, match="unsafe path") as caught:
        safe_relative_path(text)
    assert caught.value.message.isprintable()


@given(text=st.one_of(PATHS, st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+/-]{0,60}", fullmatch=True)))
@settings(max_examples=300)
def test_what_an_index_may_name_can_be_unpacked(text: str) -> None:
    assert is_safe(text) or not is_safe_path(text)


def test_mutants_are_taken_or_refused_and_leave_nothing(tmp_path: Path) -> None:
    files = {"module.yaml": b"name: x\n", "d/weights.bin": bytes(range(256)) * 4}
    originals = [packed_by_python(files, kind)[1] for kind in KINDS if kind[1] != "bz2"]
    refused = 0
    for number, mutant in enumerate(mutants(originals, count=600, seed=7)):
        overwrite(tmp_path / "mutant", mutant)
        try:
            unpack(tmp_path / "mutant", tmp_path / str(number))
        except HubError:
            refused += 1
            assert not (tmp_path / str(number)).exists()
    assert 100 < refused < 600
    left = {path.name for path in tmp_path.iterdir()} - {"mutant"}
    assert len(left) == 600 - refused
    assert all(name.isdigit() for name in left)


# Limits, code, places


def three_files(folder: Path) -> Path:
    path = folder / "three.tar.gz"
    path.write_bytes(archives.tgz(*(archives.entry(name, bytes(1000)) for name in (b"a", b"b", b"d/c"))))
    return path


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(members=2), "more than 2 members"),
        (Limits(member_bytes=999), "1,000 bytes"),
        (Limits(total_bytes=2500), "unpack to more than 2,500"),
    ],
)
def test_a_limit_is_kept(limits: Limits, says: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeFileError, match=says):
        unpack(three_files(tmp_path), tmp_path / "out", limits=limits)
    assert [path.name for path in tmp_path.iterdir()] == ["three.tar.gz"]
    assert (
        len(unpack(three_files(tmp_path), tmp_path / "out", limits=Limits(members=3, member_bytes=1000))) == 3
    )


@pytest.mark.parametrize("code", ["skip", "keep"])
def test_code_is_left_out_or_kept_but_never_run(code: str, tmp_path: Path) -> None:
    path = tmp_path / "module.tar.gz"
    program = b"raise SystemExit('code ran')"
    names = [b"m/module.py", b"m/weights.bin", b"m/requirements.txt", b"m/sub/x.so"]
    path.write_bytes(archives.tgz(*(archives.entry(name, program) for name in names)))
    with pytest.raises(UnsafeFileError, match=r"this is code\n.*no switch"):
        unpack(path, tmp_path / "out")
    found = unpack(path, tmp_path / "out", code=code)  # type: ignore[arg-type]
    kept = [path.relative_to(tmp_path / "out").as_posix() for path in found]
    assert kept == (["m/weights.bin"] if code == "skip" else sorted(name.decode() for name in names))
    assert sorted(kept) == sorted(path for path, data in tree(tmp_path / "out").items() if data is not None)


def test_weights_labels_and_tokenizers_are_no_code() -> None:
    names = ["module.yaml", "weights.safetensors", "w.pdparams", "labels.txt", "vocab.txt", "tokenizer.json", "in.npz",
             "README.md", "LICENSE", "a.jpg", "b.wav", "c.csv", "inference.pdmodel"]  # fmt: skip
    assert [name for name in names if is_code(PurePosixPath(name))] == []


@pytest.mark.parametrize("there", ["a file", "a folder", "a link"])
def test_nothing_is_unpacked_over_what_is_there(there: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    if there == "a file":
        target.write_bytes(b"mine")
    elif there == "a folder":
        target.mkdir()
        (target / "mine").write_bytes(b"mine")
    else:
        target.symlink_to(tmp_path / "elsewhere")
    before = tree(tmp_path)
    archive = three_files(tmp_path)
    with pytest.raises(StorageError, match="does not exist yet"):
        unpack(archive, target)
    archive.unlink()
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("archive", "to"), [("missing.zip", "out"), (".", "out"), ("three.tar.gz", "no/folder")]
)
def test_a_place_that_cannot_be_used_is_a_storage_error(archive: str, to: str, tmp_path: Path) -> None:
    three_files(tmp_path)
    with pytest.raises(StorageError):
        unpack(tmp_path / archive, tmp_path / to)
    assert [path.name for path in tmp_path.iterdir()] == ["three.tar.gz"]


# Packing


def module_folder(folder: Path) -> Path:
    module = folder / "module"
    (module / "golden").mkdir(parents=True)
    (module / "module.yaml").write_text("name: x\n", encoding="utf-8")
    (module / "golden" / "größe.npz").write_bytes(bytes(range(256)))
    (module / "weights.safetensors").write_bytes(os.urandom(100_000))
    (module / "empty").mkdir()
    (module / ("long" * 50)).write_bytes(b"")
    return module


def test_what_is_packed_can_be_unpacked(tmp_path: Path) -> None:
    module = module_folder(tmp_path)
    pack(module, tmp_path / "m.tar.gz")
    unpack(tmp_path / "m.tar.gz", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(module)
    with tarfile.open(tmp_path / "m.tar.gz") as archive:  # and by others
        assert sorted(archive.getnames()) == sorted(tree(module))


def test_the_same_files_give_the_same_archive(tmp_path: Path) -> None:
    module = module_folder(tmp_path)
    pack(module, tmp_path / "one.tar.gz")
    for path in module.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    pack(module, tmp_path / "other name.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "other name.tar.gz").read_bytes()


def test_even_zeros_that_were_packed_can_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "weights.bin").write_bytes(bytes(FREE_BYTES + 2**20))
    pack(tmp_path / "module", tmp_path / "m.tar.gz")
    assert len(unpack(tmp_path / "m.tar.gz", tmp_path / "out")) == 1


@pytest.mark.parametrize("what", ["a link", "a link to a folder", "a pipe", "a name", "a clash"])
def test_what_could_not_be_unpacked_is_not_packed(what: str, tmp_path: Path) -> None:
    module = module_folder(tmp_path)
    if what == "a link":
        (module / "x").symlink_to("/etc/passwd")
    elif what == "a link to a folder":
        (module / "x").symlink_to("/etc")
    elif what == "a pipe":
        os.mkfifo(module / "x")
    elif what == "a name":
        (module / "x:y").write_bytes(b"")
    else:
        (module / "MODULE.yaml").write_bytes(b"")
    with pytest.raises(UnsafeFileError):
        pack(module, tmp_path / "m.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["module"]


def test_an_archive_cannot_hold_itself(tmp_path: Path) -> None:
    module = module_folder(tmp_path)
    with pytest.raises(UsageError, match="outside"):
        pack(module, module / "m.tar.gz")
    with pytest.raises(StorageError, match="no such folder"):
        pack(tmp_path / "missing", tmp_path / "m.tar.gz")
