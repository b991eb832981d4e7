"""What a user calls a module by, parsed once into a frozen value; every other file trusts what comes out of here.

    name              resnet50            the newest version of any source
    name@version      resnet50@1.2.0      exactly that version
    name and range    resnet50>=1,<2      the newest in a range (PEP 440)
    folder            ./my_flowers  /models/my_flowers  ../my_flowers/  C:\\models\\my_flowers
    archive           my_flowers.tar.gz (.tgz, .tar.bz2, .tbz2, .tar, .zip, .hub)
    url               https://host/my_flowers.zip  https://host/my_flowers.zip#sha256=<64 hex digits>
    hf                hf://org/name@revision
    git               git+https://host/repository@revision#subdirectory=folder
    paddlehub         paddlehub://name@version

A plain name is always a name, also where a folder of that name stands. Nothing here touches the file system, and
a name that could be a path, an option or a command is refused before anything else sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from hub.errors import BadReferenceError, UsageError
from hub.naming import A_NAME, VERSION, is_module_name, is_safe_path

Kind = Literal["name", "folder", "archive", "url", "hf", "git", "paddlehub"]

# Control characters, marks that turn the direction of text, halves of surrogate pairs: they make a text look like
# another one, and some of them move the cursor of a terminal.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
FORMS = "a module is NAME, NAME@1.2.0, ./FOLDER, FILE.zip, or a URL: https, hf, git+https, paddlehub"

ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar", ".zip", ".hub")
_FOLDER_START = r"\.{1,2}[/\\]?\Z|\.[/\\]|[/\\]|~[/\\]|[A-Za-z]:[/\\]"
_NAMED = r"(?P<name>[^@<>=!~\s]*)\s*(@\s*(?P<version>.*)|(?P<range>[<>=!~].*))?"
_FOREIGN_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REVISION = r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}"


@dataclass(frozen=True)
class Reference:
    """One way to say which module; `kind` says which other fields count, `str()` parses back to an equal value."""

    kind: Kind
    name: str = ""
    """Kinds name and paddlehub: the module's name. Kind hf: "org/name"."""
    versions: str = ""
    """Kinds name and paddlehub: the PEP 440 versions that will do, empty for any."""
    location: str = ""
    """Kinds folder and archive: the path as written. Kinds url and git: the URL."""
    revision: str = ""
    """Kinds hf and git: branch, tag or commit, empty for the default branch."""
    subdirectory: str = ""
    """Kind git: where in the repository the module folder is."""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference. Raises BadReferenceError, which says how the thing that was probably meant is written."""
        if not isinstance(text, str) or not text.strip() or len(text) > 4096 or UNSEEN.search(text):
            raise _bad(text, "expected a module name, a path or a URL without control characters")
        text = text.strip()
        scheme, separator, rest = text.partition("://")
        if separator:
            return _parse_url(text, scheme, rest)
        if text.endswith(("/", "\\")) or re.match(_FOLDER_START, text):
            path_kind: Kind = "archive" if text.lower().endswith(ARCHIVES) else "folder"
            return cls(path_kind, location=text)
        if text.lower().endswith(ARCHIVES) and not text.startswith("-"):
            return cls("archive", location=text)
        name, versions = _parse_named(text, text)
        return cls("name", name=module_name(name), versions=versions)

    def __str__(self) -> str:
        if self.kind in ("folder", "archive", "url"):
            return self.location
        if self.kind in ("hf", "git"):
            start = f"hf://{self.name}" if self.kind == "hf" else f"git+{self.location}"
            revision = f"@{self.revision}" if self.revision else ""
            return start + revision + (f"#subdirectory={self.subdirectory}" if self.subdirectory else "")
        exact = self.exact_version
        versions = f"@{exact}" if exact else self.versions
        return ("paddlehub://" if self.kind == "paddlehub" else "") + self.name + versions

    @property
    def exact_version(self) -> str | None:
        """The one version that will do, or None when there is a range or no wish."""
        exact = self.versions.removeprefix("==")
        return exact if exact != self.versions and VERSION.fullmatch(exact) else None


def with_version(name: str | Path, version: str | None) -> str | Path:
    """Give a name with its version as one reference, "resnet50==1.2.0"; without a version give back the name.

    Raises UsageError for what has no versions, or one already.
    """
    if version is None or version == "":
        return name
    if not isinstance(version, str):
        raise UsageError(f"version: expected a text such as '1.0.0', found {version!r}")
    reference = Reference.parse(str(name.absolute()) if isinstance(name, Path) else name)
    if reference.kind not in ("name", "paddlehub"):
        raise UsageError(
            f"version: expected a name with it, found the {reference.kind} {name}", hint="leave version out"
        )
    if reference.versions:
        raise UsageError(f"version: expected it once, found {name} and {version!r}")
    found = re.fullmatch(r"={0,2}\s*([^<>=!~].*)", version.strip())
    return f"{name}=={found[1]}" if found else f"{name}{version.strip()}"


def newest_first(versions: Iterable[str], *, within: str = "", prereleases: bool | None = None) -> list[str]:
    """Give the versions `within` a PEP 440 range.

    `prereleases` None means: only when the range names one, or when nothing else is there.
    """
    from packaging.specifiers import SpecifierSet  # 20 ms that a listing does not need
    from packaging.version import Version

    return sorted(SpecifierSet(within).filter(versions, prereleases=prereleases), key=Version, reverse=True)


def newest(versions: Iterable[str], *, within: str = "") -> str | None:
    """Give the first of `newest_first`, None when there is none."""
    return next(iter(newest_first(versions, within=within)), None)


def module_name(text: str) -> str:
    """Give back a module name; raise BadReferenceError for anything else, before it can become a path."""
    if is_module_name(text):
        return text
    hint = ""
    plain = (
        text.lower().replace(".", "-") if isinstance(text, str) else ""
    )  # the catalog's, of ernie-3.0-base-zh
    if is_module_name(plain):
        hint = f"did you mean {plain!r}?"
    elif isinstance(text, str) and re.search(r"[/\\]", text) and not UNSEEN.search(text):
        hint = f"for a folder write ./{text}"
    raise _bad(text, f"expected {A_NAME}", hint)


def module_version(text: str) -> str:
    """Give a version in PEP 440's normal form ("1.0-beta" becomes "1.0b0"); raise BadReferenceError for any other."""
    from packaging.version import InvalidVersion, Version

    try:
        version = str(Version(text)) if isinstance(text, str) else ""
    except InvalidVersion:
        version = ""
    if not VERSION.fullmatch(version):
        raise _bad(text, "expected a version by PEP 440 without a local part, such as 1.2.0")
    return version


def _parse_named(text: str, whole: str) -> tuple[str, str]:
    """Split "name@1.2" or "name>=1,<2" into the name as written and the normal form of the versions."""
    found = re.fullmatch(_NAMED, text)
    if found is None:
        return text, ""
    if found["version"] is not None:
        return found["name"], f"=={module_version(found['version'].strip())}"
    if found["range"] is None:
        return found["name"], ""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        versions = str(SpecifierSet(found["range"]))
    except InvalidSpecifier:
        raise _bad(whole, "expected versions by PEP 440, such as name>=1,<2") from None
    if exact := re.fullmatch(r"==([^=,*]+)", versions):
        versions = f"=={module_version(exact[1])}"
    return found["name"], versions


def _parse_url(text: str, scheme: str, rest: str) -> Reference:
    if re.search(r"\s", text):
        raise _bad(text, "expected a URL without blanks")
    if scheme == "hf":
        name, at, revision = rest.partition("@")
        parts = name.split("/")
        if len(parts) > 2 or not all(re.fullmatch(_FOREIGN_NAME, part) for part in parts):
            raise _bad(text, "expected hf://org/name or hf://org/name@revision")
        return Reference("hf", name=name, revision=_revision(revision, text) if at else "")
    if scheme == "paddlehub":
        name, versions = _parse_named(rest, text)
        if not re.fullmatch(_FOREIGN_NAME, name):
            raise _bad(text, "expected paddlehub://name or paddlehub://name@version")
        return Reference("paddlehub", name=name, versions=versions)
    if scheme in ("git+https", "git+http"):
        return _parse_git(text)
    if scheme in ("https", "http"):
        _check_host(text, text)
        _, hash_mark, fragment = text.partition("#")
        if hash_mark and not re.fullmatch(r"sha256=[0-9a-f]{64}", fragment):
            raise _bad(text, "expected nothing or #sha256=<64 hex digits> behind the URL")
        return Reference("url", location=text)
    raise _bad(text, "expected https://, hf://, git+https:// or paddlehub:// before the rest")


def _parse_git(text: str) -> Reference:
    url, hash_mark, fragment = text.removeprefix("git+").partition("#")
    _check_host(url, text)
    split = urlsplit(url)
    path, at, revision = split.path.rpartition("@") if "@" in split.path else (split.path, "", "")
    subdirectory = fragment.removeprefix("subdirectory=")
    if hash_mark and (subdirectory == fragment or not is_safe_path(subdirectory)):
        raise _bad(text, "expected #subdirectory=folder/in/the/repository behind the URL")
    if split.query or not path.strip("/"):
        raise _bad(text, "expected git+https://host/repository")
    return Reference(
        "git",
        location=f"{split.scheme}://{split.netloc}{path}",
        revision=_revision(revision, text) if at else "",
        subdirectory=subdirectory,
    )


def _check_host(url: str, text: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises for a port that is no number
    except ValueError as problem:
        raise _bad(text, f"expected a URL, but {problem}") from None
    if not host:
        raise _bad(text, "expected a host in the URL")
    if "@" in parts.netloc:
        raise BadReferenceError(
            f"{parts.scheme}://…@{host}: a URL must not carry a user name or a password",
            hint="it would end up in logs and records",
        )


def _revision(revision: str, text: str) -> str:
    if not re.fullmatch(_REVISION, revision) or ".." in revision:
        raise _bad(text, "expected a branch, tag or commit behind the @")
    return revision


def _bad(text: object, expected: str, hint: str = "") -> BadReferenceError:
    shown = re.sub(r"//[^/]*@", "//…@", repr(text))  # a password must not reach a log
    return BadReferenceError(
        f"{expected}, found {shown if len(shown) <= 80 else shown[:80] + '…'}", hint=hint or FORMS
    )
