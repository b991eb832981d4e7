"""References: what is a name, a path, a URL; what is refused; that nothing hostile gets through."""

from __future__ import annotations

import string
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.version import InvalidVersion, Version

from hub.errors import BadReferenceError
from hub.naming import NAME, VERSION, is_module_name, is_safe_path
from hub.registry.reference import Reference, module_name, module_version, newest, newest_first

DIGEST = "0123456789abcdef" * 4

ACCEPTED = [
    ("resnet50", Reference("name", name="resnet50"), "resnet50"),
    (" resnet50 ", Reference("name", name="resnet50"), "resnet50"),
    ("a" * 64, Reference("name", name="a" * 64), "a" * 64),
    ("con_1", Reference("name", name="con_1"), "con_1"),
    ("0-0", Reference("name", name="0-0"), "0-0"),
    ("glyphs@1.2.0", Reference("name", name="glyphs", versions="==1.2.0"), "glyphs@1.2.0"),
    ("glyphs @ 1.2", Reference("name", name="glyphs", versions="==1.2"), "glyphs@1.2"),
    ("glyphs@1.0-beta", Reference("name", name="glyphs", versions="==1.0b0"), "glyphs@1.0b0"),
    ("glyphs==1.2.0", Reference("name", name="glyphs", versions="==1.2.0"), "glyphs@1.2.0"),
    ("glyphs== 1.0-beta", Reference("name", name="glyphs", versions="==1.0b0"), "glyphs@1.0b0"),
    ("glyphs>=1,<2", Reference("name", name="glyphs", versions="<2,>=1"), "glyphs<2,>=1"),
    ("glyphs >= 1 , < 2", Reference("name", name="glyphs", versions="<2,>=1"), "glyphs<2,>=1"),
    ("glyphs~=1.4", Reference("name", name="glyphs", versions="~=1.4"), "glyphs~=1.4"),
    ("glyphs==1.*", Reference("name", name="glyphs", versions="==1.*"), "glyphs==1.*"),
    ("./glyphs", Reference("folder", location="./glyphs"), "./glyphs"),
    ("glyphs/", Reference("folder", location="glyphs/"), "glyphs/"),
    ("../glyphs/", Reference("folder", location="../glyphs/"), "../glyphs/"),
    ("./../glyphs", Reference("folder", location="./../glyphs"), "./../glyphs"),
    (".", Reference("folder", location="."), "."),
    ("..", Reference("folder", location=".."), ".."),
    ("~/glyphs", Reference("folder", location="~/glyphs"), "~/glyphs"),
    ("/models/花", Reference("folder", location="/models/花"), "/models/花"),
    (r"C:\models\glyphs", Reference("folder", location=r"C:\models\glyphs"), r"C:\models\glyphs"),
    (r".\glyphs", Reference("folder", location=r".\glyphs"), r".\glyphs"),
    ("./model.zip/", Reference("folder", location="./model.zip/"), "./model.zip/"),
    ("model.tar.gz", Reference("archive", location="model.tar.gz"), "model.tar.gz"),
    ("model.tar.bz2", Reference("archive", location="model.tar.bz2"), "model.tar.bz2"),
    ("a b/Model.ZIP", Reference("archive", location="a b/Model.ZIP"), "a b/Model.ZIP"),
    ("/x/model.hub", Reference("archive", location="/x/model.hub"), "/x/model.hub"),
    ("https://h/m.zip", Reference("url", location="https://h/m.zip"), "https://h/m.zip"),
    (
        f"https://h:8443/m.zip?x=1#sha256={DIGEST}",
        Reference("url", location=f"https://h:8443/m.zip?x=1#sha256={DIGEST}"),
        f"https://h:8443/m.zip?x=1#sha256={DIGEST}",
    ),
    ("hf://org/Name.v2", Reference("hf", name="org/Name.v2"), "hf://org/Name.v2"),
    (
        "hf://org/name@refs/pr/1",
        Reference("hf", name="org/name", revision="refs/pr/1"),
        "hf://org/name@refs/pr/1",
    ),
    ("git+https://h/o/r.git", Reference("git", location="https://h/o/r.git"), "git+https://h/o/r.git"),
    (
        "git+https://h/o/r@v1.0#subdirectory=models/a",
        Reference("git", location="https://h/o/r", revision="v1.0", subdirectory="models/a"),
        "git+https://h/o/r@v1.0#subdirectory=models/a",
    ),
    (
        "paddlehub://U2Net@1.1.0",
        Reference("paddlehub", name="U2Net", versions="==1.1.0"),
        "paddlehub://U2Net@1.1.0",
    ),
]

HOSTILE_NAMES = [
    "", " ", "../x", "..", "x/../../y", "x/y", r"..\x", r"x\y", "/etc/passwd", "CON", "con", "nul", "com1", "lpt9",
    "x\0", "x\n", "\x1b[2J", "\u202egnp.x", "\u200fx", "a" * 65, "a" * 300, "-rf", "--help", "_x", "$(id)", "`id`",
    "a;b", "a|b", "a b", "*", "x.", "x.y", "é", "ｒesnet", "рesnet", "\ud800", "https:", "%2e%2e", "x:y", "CON.txt",
    "aux",
]  # fmt: skip

REFUSED = [
    ("../x", "for a folder write ./../x"),
    ("models/glyphs", "for a folder write ./models/glyphs"),
    ("ResNet50", "did you mean 'resnet50'?"),
    ("ernie-3.0-base-zh", "did you mean 'ernie-3-0-base-zh'?"),
    ("glyphs@", "found ''"),
    ("glyphs@1.0+cpu", "found '1.0+cpu'"),
    ("glyphs@newest", "found 'newest'"),
    ("glyphs>=x", "name>=1,<2"),
    ("@1.0", "expected a module name"),
    ("-x.zip", "expected a module name"),
    ("ftp://h/x", "expected https://"),
    ("https://", "expected a host"),
    ("https://h:x/y", "expected a URL"),
    ("https://h/a b", "without blanks"),
    ("https://h/x.zip#sha256=abc", "64 hex digits"),
    ("hf://a/b/c", "hf://org/name"),
    ("hf://../x", "hf://org/name"),
    ("hf://a/b@../x", "a branch, tag or commit"),
    ("hf://a/b@-x", "a branch, tag or commit"),
    ("git+https://h", "git+https://host/repository"),
    ("git+https://h/r@", "a branch, tag or commit"),
    ("git+https://h/r@--upload-pack=x", "a branch, tag or commit"),
    ("git+https://h/r#subdirectory=../x", "#subdirectory="),
    ("git+https://h/r#egg=x", "#subdirectory="),
    ("git+ssh://h/r", "expected https://"),
    ("paddlehub://", "paddlehub://name"),
    ("x" * 5000, "expected a module name"),
]


@pytest.mark.parametrize(("text", "reference", "canonical"), ACCEPTED, ids=[row[0][:40] for row in ACCEPTED])
def test_reads_and_writes_back(text: str, reference: Reference, canonical: str) -> None:
    assert Reference.parse(text) == reference
    assert str(reference) == canonical
    assert Reference.parse(canonical) == reference


@pytest.mark.parametrize(("text", "says"), REFUSED, ids=[row[0][:40] for row in REFUSED])
def test_refuses_and_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(BadReferenceError) as caught:
        Reference.parse(text)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", HOSTILE_NAMES, ids=ascii)
def test_a_hostile_text_is_no_name(text: str) -> None:
    assert not is_module_name(text)
    with pytest.raises(BadReferenceError) as caught:
        module_name(text)
    assert str(caught.value).isprintable() or "\n  hint: " in str(caught.value)
    if text.startswith("/") or text == "..":  # nothing hostile where a path is meant
        assert Reference.parse(text).kind == "folder"
    else:
        with pytest.raises(BadReferenceError):
            Reference.parse(text)


@pytest.mark.parametrize(
    "text", ["https://u:secret@h/x.zip", "git+https://u:secret@h/r", "https://u:secret@h/a b"]
)
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadReferenceError) as caught:
        Reference.parse(text)
    assert "secret" not in str(caught.value)


LIKELY = st.sampled_from(string.ascii_letters + string.digits + "@=<>!~,.:/\\#+-_ %*[]?")


@given(st.text(LIKELY, max_size=60) | st.text())
@example("git+https://h/r@a@b")
@example("git+https://[::1/r")
def test_any_text_is_refused_or_round_trips(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except BadReferenceError:
        return
    assert Reference.parse(str(reference)) == reference
    if reference.kind == "name":
        assert NAME.fullmatch(reference.name)
        assert not PureWindowsPath(reference.name).is_reserved()
    assert is_safe_path(reference.subdirectory or "x")
    assert not reference.revision.startswith("-")


VERSION_PARTS = st.sampled_from(
    ["0", "1", "10", "01", ".", "a", "b1", "rc", ".post", ".dev", "!", "+x", "-", "v"]
)


@given(st.lists(VERSION_PARTS, max_size=9).map("".join))
def test_a_version_matches_exactly_when_it_is_in_normal_form(text: str) -> None:
    try:
        normal = str(Version(text)) == text and Version(text).local is None and len(text) <= 64
    except InvalidVersion:
        normal = False
    assert bool(VERSION.fullmatch(text)) == normal


@pytest.mark.parametrize("text", ["", "x", "1.0+local", "1..0", "../1", "1.0\0", "1" * 65])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(BadReferenceError):
        module_version(text)


@pytest.mark.parametrize(
    ("within", "best"),
    [
        ("", "2.0"),
        ("<2", "1.10"),
        ("==1.9.*", "1.9"),
        (">=2.1a1", "2.1rc1"),
        ("==2.0.0", "2.0"),
        (">3", None),
    ],
)
def test_newest_is_by_pep_440_and_a_prerelease_only_when_asked_for(within: str, best: str | None) -> None:
    versions = ["1.9", "2.0", "1.10", "2.1rc1"]
    assert newest(versions, within=within) == best
    assert newest_first(versions) == ["2.0", "1.10", "1.9"]


def test_newest_of_prereleases_only_is_one() -> None:
    assert newest(["1.0a1", "1.0b1"]) == "1.0b1"
    assert newest([]) is None


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("weights.safetensors", True), ("golden/in.npz", True), ("a-b_c+d.e", True), ("console.txt", True),
        ("", False), (".", False), ("..", False), ("../x", False), ("a/../b", False), ("a//b", False), ("/a", False),
        ("a/", False), ("./a", False), (r"a\b", False), ("C:x", False), ("a:b", False), (".hidden", False),
        ("a/.git/x", False), ("-rf", False), ("con", False), ("a/NUL.txt", False), ("Com1.tar.gz", False),
        ("a.", False), ("a ", False), ("a\0", False), ("a\n", False), ("ünï", False), ("x" * 129, False),
        ("a/" * 16 + "a", False), ("/".join(["a" * 60] * 5), False), (None, False), (3, False), (["a"], False),
    ],
)  # fmt: skip
def test_safe_paths(path: object, safe: bool) -> None:
    assert is_safe_path(path) is safe


@given(
    st.lists(st.text(st.sampled_from("ab.A- \\:/~$%é\0\u202e"), max_size=5), max_size=4).map("/".join)
    | st.text()
)
def test_a_safe_path_stays_inside_by_the_rules_of_every_system(path: str) -> None:
    if not is_safe_path(path):
        return
    for kind in (PurePosixPath, PureWindowsPath):
        seen = kind(path)
        assert seen.as_posix() == path
        assert (seen.is_absolute(), seen.drive, seen.root) == (False, "", "")
        assert ".." not in seen.parts
    assert not PureWindowsPath(path).is_reserved()
    assert all(part == part.strip(" .") for part in path.split("/"))
