"""Modules in a git repository: one revision of it is fetched, and the files are read out of git's own store.

Nothing is checked out. So no hook, filter, submodule or symbolic link of the repository is ever acted upon: git lists
what the commit holds (ls-tree) and prints the bytes of each file that is wanted (cat-file). Configuration of the user
or the machine does not count, and git may speak https only (http to this machine).
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hub.errors import (
    BadReferenceError,
    HubError,
    IntegrityError,
    MissingDependencyError,
    NotFoundError,
    TransferError,
    UnsafeFileError,
    did_you_mean,
)
from hub.naming import encoder_name
from hub.registry.credentials import Credentials, is_loopback
from hub.registry.reference import Reference
from hub.registry.sources.fetched import MOST_BYTES, Fetched, checked, collect, printable

TIMEOUT_S = 3600.0
MOST_TALK_BYTES = 50 * 2**20  # a few kilobytes of trees can list more files than any disk holds
_LFS = b"version https://git-lfs.github.com/spec/"
_LFS_MOST_BYTES = 1024  # by its specification
_UNFIT = {"120000": "a symbolic link", "160000": "a submodule"}
_OPTIONS = {
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
    "http.lowSpeedLimit": "1",  # bytes a second, for
    "http.lowSpeedTime": "60",  # so many seconds: a server that stopped sending
}


@dataclass(frozen=True)
class _Blob:
    """A file of a commit: git's id of its bytes and how many there are."""

    id: str
    size: int


def fetch(
    reference: Reference, work: Path, *, most_bytes: int = MOST_BYTES, timeout_s: float = TIMEOUT_S
) -> Fetched:
    """Put the module of git+https://host/repository@revision#subdirectory=folder into a folder below `work`.

    A revision is a branch, a tag or a whole commit id. Raises BadReferenceError, OfflineError, MissingDependencyError
    without git, NotFoundError for a repository, revision or module.yaml that is not there, TransferError when the
    server cannot be reached or is too slow, UnsafeFileError and IntegrityError as `collect` does, and for files that
    are links or live in Git LFS.
    """
    reference = checked(reference, "git")
    git = _Git(reference, work / "git", time.monotonic() + timeout_s)
    commit = git.fetch(most_bytes)
    origin = str(
        Reference("git", location=reference.location, revision=commit, subdirectory=reference.subdirectory)
    )
    blobs, unfit = git.files(commit, reference.subdirectory)
    named = reference.subdirectory or urlsplit(reference.location).path.rstrip("/")
    folder = work / "module" / encoder_name(named.rpartition("/")[2])

    def get(path: str) -> None:
        git.run("cat-file", "blob", blobs[path].id, output=folder / path)
        if blobs[path].size <= _LFS_MOST_BYTES and (folder / path).read_bytes().startswith(_LFS):
            raise IntegrityError(
                f"{origin}: {path}: expected the file, found a pointer of Git LFS to it",
                hint="clone it with git-lfs and hub install ./FOLDER; what is on Hugging Face has hf://org/name",
            )

    sizes = {path: blob.size for path, blob in blobs.items()}
    return collect(sizes, get, folder, origin=origin, unfit=unfit, most_bytes=most_bytes)


class _Git:
    """The git program at work in a bare repository of its own, until `deadline` (of time.monotonic)."""

    def __init__(self, reference: Reference, scratch: Path, deadline: float) -> None:
        program = shutil.which("git")
        if program is None:
            raise MissingDependencyError(
                f"{reference}: this needs the program git, which is not on the PATH",
                hint="install git from https://git-scm.com or with the package manager of this machine",
            )
        url = urlsplit(reference.location)
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            raise BadReferenceError(f"{reference}: http is not encrypted", hint="write git+https://")
        self._reference = reference
        self._where = f"git+{reference.location}"
        self._scratch = scratch
        self._deadline = deadline
        self._environment = _environment(reference.location, scratch)
        self._command = [program, *(part for item in _OPTIONS.items() for part in ("-c", "=".join(item)))]
        scratch.mkdir()
        self.run("init", "--quiet", "--bare", "--template=", str(scratch / "store"))

    def fetch(self, most_bytes: int) -> str:
        """Bring one revision here, without its history, and give its commit id."""
        revision = self._reference.revision or "HEAD"
        self.run(
            "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules",
            "--", self._reference.location, revision, most_bytes=most_bytes,
        )  # fmt: skip
        commit = self.run("rev-parse", "--verify", "FETCH_HEAD^{commit}").decode("ascii").strip()
        if re.fullmatch(r"[0-9a-f]{40,64}", commit) is None:
            raise IntegrityError(f"{self._where}: expected a commit id, found {printable(commit)!r}")
        return commit

    def files(self, commit: str, subdirectory: str) -> tuple[dict[str, _Blob], dict[str, str]]:
        """Give the plain files below a folder of a commit, and what the others are."""
        blobs, unfit = {}, {}
        prefix = f"{subdirectory}/" if subdirectory else ""
        homes = []
        for row in self.run("ls-tree", "-r", "-z", "-l", commit).split(b"\0")[:-1]:
            facts, _, name = row.partition(b"\t")
            mode, _, blob, size = facts.decode("ascii").split()
            path = name.decode("utf-8", errors="surrogateescape")
            if path.endswith("/module.yaml"):
                homes.append(path.removesuffix("/module.yaml"))
            if not path.startswith(prefix):
                continue
            if mode in _UNFIT or not size.isdigit():  # git prints BAD for bytes that it does not have
                unfit[path.removeprefix(prefix)] = _UNFIT.get(mode, "a damaged entry")
            else:
                blobs[path.removeprefix(prefix)] = _Blob(blob, int(size))
        if not (blobs or unfit) and prefix:
            folders = ", ".join(map(printable, homes[:8]))
            raise NotFoundError(
                f"{self._where}: no folder {subdirectory!r} in {commit[:12]}",
                hint=f"modules are in {folders}" if folders else "it holds no module at all",
            )
        return blobs, unfit

    def run(self, *arguments: str, output: Path | None = None, most_bytes: int = MOST_TALK_BYTES) -> bytes:
        """Run git with these arguments and give what it printed, or write that to `output`.

        Raises the error that its failure stands for, TransferError when time is up, UnsafeFileError when it makes
        more than `most_bytes` besides `output`.
        """
        printed, talk = output or self._scratch / "printed", self._scratch / "talk"
        before = _size_of(self._scratch)
        with printed.open("wb") as out, talk.open("wb") as err:
            process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                cwd=self._scratch, env=self._environment, start_new_session=True,
            )  # fmt: skip
            try:
                while not _has_ended(process):
                    self._check_time()
                    self._check_size(before, most_bytes)
            finally:
                _end(process)
        self._check_size(before, most_bytes)
        if process.returncode != 0:
            raise self._failure(talk.read_bytes().decode("utf-8", errors="replace"))
        return b"" if output else printed.read_bytes()

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise TransferError(
                f"{self._where}: git took too long and was stopped",
                hint="try again where the network is faster",
            )

    def _check_size(self, before: int, most: int) -> None:
        if _size_of(self._scratch) > before + most:
            raise UnsafeFileError(
                f"{self._where}: one revision of it takes more than {most:,} bytes",
                hint="put the module into a repository of its own",
            )

    def _failure(self, said: str) -> HubError:
        """Give the error that git's words stand for (LC_ALL=C, so they are English)."""
        if re.search(r"couldn't find remote ref|not our ref|no such remote ref|invalid refspec", said):
            return self._no_revision()
        if re.search(r"repository '[^']*' not found|not appear to be a git repository", said):
            return NotFoundError(f"{self._where}: no such repository", hint="check the address in a browser")
        if re.search(r"could not read Username|Authentication failed|error: 40[13]\b", said):
            return TransferError(
                f"{self._where}: no such repository, or one that wants a login",
                hint="check the address; a token goes into HUB_HOME/credentials.json or HUB_TOKEN_<HOST>",
            )
        lines = [line for line in said.splitlines() if line.startswith(("fatal:", "error:"))]
        why = printable(lines[-1].partition(":")[2].strip()) if lines else "it does not say why"
        return TransferError(f"{self._where}: git failed: {why}", hint="try again")

    def _no_revision(self) -> NotFoundError:
        revision = self._reference.revision
        names: list[str] = []
        with suppress(HubError):  # the list is only for the hint
            listed = self.run("ls-remote", "--heads", "--tags", "--refs", "--", self._reference.location)
            names = re.findall(r"\trefs/(?:heads|tags)/(.+)", listed.decode("utf-8", errors="replace"))
        if not revision:
            return NotFoundError(f"{self._where}: an empty repository, or one without a default branch")
        hint = did_you_mean(revision, names) or f"it has {', '.join(map(printable, names[:8])) or 'none'}"
        if re.fullmatch(r"[0-9a-f]{4,39}", revision):
            hint = "write all 40 digits of a commit id"
        return NotFoundError(f"{self._where}: no branch, tag or commit {revision!r}", hint=printable(hint))


def _environment(url: str, scratch: Path) -> dict[str, str]:
    """Give git an environment without the user's own settings of it; proxies and certificates stay."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    bundles = ("GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    bundle = next((os.environ[name] for name in bundles if os.environ.get(name)), "")
    environment = kept | {
        "LC_ALL": "C",
        "HOME": str(scratch),  # no ~/.netrc, whose passwords nobody meant for this
        "XDG_CONFIG_HOME": str(scratch),
        "GIT_DIR": str(scratch / "store"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",  # empty and not absent: else SSH_ASKPASS opens a window
        "GIT_ALLOW_PROTOCOL": "https:http" if url.startswith("http://") else "https",
        **({"GIT_SSL_CAINFO": bundle} if bundle else {}),
    }
    authorization = Credentials.load().authorization(url)
    if authorization:
        # Hosts of git take a token as the password of any user. In the environment, since everybody can read argv.
        pair = f"x-access-token:{authorization.removeprefix('Bearer ')}"
        header = "Authorization: Basic " + base64.b64encode(pair.encode()).decode("ascii")
        environment |= {
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": header,
            "GIT_CONFIG_KEY_1": "http.followRedirects",  # git would send the header to any host
            "GIT_CONFIG_VALUE_1": "false",
        }
    return environment


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and the programs that it started, if they still run."""
    if process.poll() is None:
        if os.name == "posix":
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


def _size_of(folder: Path) -> int:
    """Give the bytes below a folder in which git is at work, so that files come and go."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
