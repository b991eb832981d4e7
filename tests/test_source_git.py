"""Modules in git repositories, fetched over HTTP from git's own server program, which runs on this machine."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from encoder_folders import BELONGS, encoder_folder
from folders import module_folder, tree
from locking import check_lock

from hub.errors import (
    BadReferenceError,
    HubError,
    IntegrityError,
    MissingDependencyError,
    NotFoundError,
    OfflineError,
    TransferError,
    UnsafeFileError,
    UsageError,
)
from hub.registry import client, lockfile
from hub.registry.manifest import Manifest
from hub.registry.reference import Reference
from hub.registry.sources import git
from hub.registry.sources.fetched import Fetched

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 7\n"
AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "a"), ("EMAIL", "a@example.com"), ("DATE", "2024-01-01T00:00:00Z"))
}


class GitServer:
    """Serves the repositories below `root` as a host of git does: a thin shell around `git http-backend`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requests: list[tuple[str, str]] = []  # path, Authorization
        self.token = ""  # when set, only who has it is answered
        self.redirect = ""  # when set, every request is sent there
        self.stalls = False
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"git": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    git: GitServer

    def log_message(self, *args: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization", "")
        self.git.requests.append((self.path, authorization))
        if self.git.stalls:
            self.git.closing.wait(30)
        elif self.git.redirect:
            self.send_response(302)
            self.send_header("Location", self.git.redirect + self.path)
            self.end_headers()
        elif self.git.token and authorization != self.git.token:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
        else:
            self._run_backend()

    do_POST = do_GET

    def _run_backend(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        environment = os.environ | {
            "GIT_PROJECT_ROOT": str(self.git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        command = ["git", "-c", "safe.directory=*", "http-backend"]
        reply = subprocess.run(command, input=body, env=environment, capture_output=True, check=False).stdout
        head, _, content = reply.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


class Repository:
    """A bare repository that the server gives out, and the folder in which it is made."""

    def __init__(self, server: GitServer, name: str = "glyphs") -> None:
        self.server = server
        self.name = name
        self.bare = server.root / name
        self.folder = server.root.parent / f"{name}-working"
        self.run("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        self.run("init", "--quiet", "--initial-branch=main", str(self.folder))

    def run(self, *arguments: str, text: bytes = b"") -> str:
        where = self.folder if self.folder.exists() else self.server.root
        command = ["git", "-c", "commit.gpgsign=false", *arguments]
        done = subprocess.run(
            command, cwd=where, env=os.environ | AUTHOR, input=text, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    def put(self, mode: str, path: str, id: str) -> None:
        """Add an entry of any mode to the next commit."""
        self.run("update-index", "--add", "--cacheinfo", f"{mode},{id},{path}")

    def blob(self, content: bytes) -> str:
        return self.run("hash-object", "-w", "--stdin", text=content)

    def commit(self, *, add: bool = True) -> str:
        if add:
            self.run("add", "--all")
        self.run("commit", "--quiet", "--allow-empty", "--message=x")
        self.run("push", "--quiet", "--force", str(self.bare), "HEAD:main", "--tags")
        return self.run("rev-parse", "HEAD")

    def fetch(self, work: Path, revision: str = "", *, folder: str = "", **options: float) -> Fetched:
        """Fetch it, by a reference as a user writes one."""
        text = f"git+{self.server.url}/{self.name}"
        text += f"@{revision}" if revision else ""
        text += f"#subdirectory={folder}" if folder else ""
        work.mkdir()
        return git.fetch(Reference.parse(text), work, **options)  # type: ignore[arg-type]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    (tmp_path / "root").mkdir()
    running = GitServer(tmp_path / "root")
    yield running
    running.close()


@pytest.fixture
def repository(server: GitServer) -> Repository:
    return Repository(server)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def test_every_kind_of_revision_gives_the_module_of_its_commit(
    repository: Repository, tmp_path: Path
) -> None:
    module_folder(repository.folder)
    expected = tree(module_folder(tmp_path / "expected"))
    first = repository.commit()
    repository.run("tag", "v1")
    module_folder(repository.folder, version="2.0.0")
    second = repository.commit()
    repository.run("push", "--quiet", str(repository.bare), "HEAD:feature/x", "HEAD:plain")

    for number, (revision, commit, version) in enumerate(
        [
            ("", second, "2.0.0"),
            ("main", second, "2.0.0"),
            ("feature/x", second, "2.0.0"),
            ("v1", first, "1.0.0"),
            (first, first, "1.0.0"),
        ]
    ):
        found = repository.fetch(tmp_path / str(number), revision)
        assert found.origin == f"git+{repository.server.url}/glyphs@{commit}"
        assert Manifest.read(found.folder).version == version
        assert found.folder.is_relative_to(tmp_path / str(number))
    assert client.install(found.folder).version == "1.0.0"
    files = tree(found.folder)
    assert "golden/input.npz" not in files  # its module.yaml does not name it
    assert files == {path: content for path, content in expected.items() if path in files}
    assert {"module.yaml", "weights.safetensors", "README.md"} <= set(files)


def test_the_recorded_origin_gives_the_same_bytes_when_the_branch_has_moved(
    repository: Repository, tmp_path: Path
) -> None:
    module_folder(repository.folder / "models" / "glyphs")
    repository.commit()
    found = repository.fetch(tmp_path / "1", "main", folder="models/glyphs")
    module_folder(repository.folder / "models" / "glyphs", version="2.0.0")
    repository.commit()
    (tmp_path / "2").mkdir()
    again = git.fetch(Reference.parse(found.origin), tmp_path / "2")
    assert again.origin == found.origin
    assert tree(again.folder) == tree(found.folder)


def test_a_lock_brings_the_same_bytes_or_none(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module_folder(repository.folder)
    repository.commit()
    check_lock(f"git+{repository.server.url}/glyphs", tmp_path, capsys)


def test_what_was_installed_is_not_asked_for_again_by_any_words_that_led_to_it(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module_folder(repository.folder)
    commit = repository.commit()
    url = f"git+{repository.server.url}/glyphs"
    located = client.install(url)
    assert client.install(f"{url}@main") == located  # the same files by other words
    lockfile.add(tmp_path / "hub.lock", [located])
    (located.folder / "README.md").unlink()
    [locked] = lockfile.read(tmp_path / "hub.lock")
    assert lockfile.install_locked(locked, lock_file=tmp_path / "hub.lock") == located  # put right
    monkeypatch.setenv("HUB_OFFLINE", "1")
    for words in (url, f"{url}@main", f"{url}@{commit}"):
        assert client.locate(words) == located
    with pytest.raises(OfflineError):
        client.install(f"{url}@main")


def test_a_branch_that_went_back_is_followed(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"git+{repository.server.url}/glyphs"
    for version in ("1.0.0", "2.0.0"):
        module_folder(repository.folder, version=version)
        repository.commit()
        assert client.install(url).version == version
    module_folder(repository.folder, version="1.0.0")
    repository.commit()
    assert client.install(url).version == "1.0.0"
    monkeypatch.setenv("HUB_OFFLINE", "1")
    assert client.locate(url).version == "1.0.0"


def test_a_version_that_is_put_right_is_not_what_its_branch_leads_to(repository: Repository) -> None:
    """The branch has gone on since."""
    url = f"git+{repository.server.url}/glyphs"
    module_folder(repository.folder, version="1.0.0")
    repository.commit()
    old = client.install(url)
    module_folder(repository.folder, version="2.0.0")
    repository.commit()
    new = client.install(url)
    (old.folder / "README.md").unlink()
    assert client.install("glyphs@1.0.0") == old
    assert client.locate(url) == new


def test_a_branch_is_what_it_was_at_the_last_install(repository: Repository) -> None:
    """All within a second, and the same version under another name."""
    url = f"git+{repository.server.url}/glyphs"
    for name, version in [
        ("glyphs", "1.0.0"), ("glyphs", "2.0.0"), ("words", "2.0.0"), ("glyphs", "2.0.0"), ("words", "2.0.0"),
    ]:  # fmt: skip
        module_folder(repository.folder, name=name, version=version)
        repository.commit()
        for found in (client.install(url), client.locate(url)):
            assert (found.name, found.version) == (name, version)


def test_only_the_files_that_module_yaml_names_and_the_cards_are_taken(
    repository: Repository, work: Path
) -> None:
    module_folder(repository.folder)
    manifest = repository.folder / "module.yaml"
    manifest.write_text(manifest.read_text() + "head: {labels: labels.txt}\n")
    for other in ("train.py", "LICENSE", ".gitattributes", "pytorch_model.bin"):
        (repository.folder / other).write_text("x")
    repository.commit()
    found = repository.fetch(work)
    assert set(tree(found.folder)) == {
        "LICENSE", "README.md", "labels.txt", "module.yaml", "weights.safetensors",
    }  # fmt: skip


def test_an_encoder_is_taken_with_only_what_belongs_to_it(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder_folder(repository.folder / "models" / "My.Encoder")
    encoder_folder(repository.folder)
    commit = repository.commit()
    where = f"git+{repository.server.url}/glyphs"
    for reference, name in ((where, "glyphs"), (f"{where}#subdirectory=models/My.Encoder", "my_encoder")):
        located = client.locate(reference)
        assert (located.name, located.version) == (name, "1.0.0")
        assert located.source == str(replace(Reference.parse(reference), revision=commit))
        assert set(tree(located.folder)) == BELONGS | {"module.yaml", ".hub.json"}
        monkeypatch.setenv("HUB_OFFLINE", "1")
        assert client.locate(reference) == located
        monkeypatch.delenv("HUB_OFFLINE")


@pytest.mark.parametrize("path", ["config.json", "model.safetensors", "1_Pooling/config.json"])
def test_an_encoder_with_a_link_is_refused(repository: Repository, work: Path, path: str) -> None:
    encoder_folder(repository.folder)
    repository.run("add", "--all")
    repository.put("120000", path, repository.blob(b"/etc/passwd"))
    repository.commit(add=False)
    with pytest.raises(UnsafeFileError, match="expected a plain file, found a symbolic link"):
        repository.fetch(work)


def test_an_unknown_revision_is_answered_with_close_ones(repository: Repository, tmp_path: Path) -> None:
    module_folder(repository.folder)
    commit = repository.commit()
    for number, (revision, hint) in enumerate(
        [
            ("maim", "did you mean 'main'?"),
            ("zzz", "it has main"),
            (commit[:9], "write all 40 digits of a commit id"),
            ("0" * 40, "it has main"),
        ]
    ):
        with pytest.raises(NotFoundError, match=f"no branch, tag or commit '{revision}'") as caught:
            repository.fetch(tmp_path / str(number), revision)
        assert caught.value.hint == hint


def test_a_place_without_a_module_is_named_with_where_one_is(repository: Repository, tmp_path: Path) -> None:
    module_folder(repository.folder / "models" / "glyphs")
    (repository.folder / "setup.cfg").write_text("x")
    repository.commit()
    with pytest.raises(NotFoundError, match=r"expected a module\.yaml, found models/") as caught:
        repository.fetch(tmp_path / "1")
    assert caught.value.hint.endswith("#subdirectory=models/glyphs")
    with pytest.raises(NotFoundError, match="no folder 'model' in") as caught:
        repository.fetch(tmp_path / "2", folder="model")
    assert caught.value.hint == "modules are in models/glyphs"


def test_an_empty_and_a_missing_repository_are_told_apart(server: GitServer, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="an empty repository"):
        Repository(server).fetch(tmp_path / "1")
    (tmp_path / "2").mkdir()
    with pytest.raises(NotFoundError, match="no such repository"):
        git.fetch(Reference.parse(f"git+{server.url}/nothing"), tmp_path / "2")


def test_nothing_of_the_users_git_configuration_and_of_the_repository_runs(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module_folder(repository.folder)
    (repository.folder / ".gitattributes").write_text("* filter=evil\n")
    repository.commit()
    hooks, marker = tmp_path / "hooks", tmp_path / "it_ran"
    hooks.mkdir()
    for hook in ("post-checkout", "reference-transaction"):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (hooks / hook).chmod(0o755)
    config = Path(os.environ["HOME"]) / ".gitconfig"
    config.write_text(f'[core]\n hooksPath = {hooks}\n[filter "evil"]\n smudge = touch {marker} && cat\n')
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(hooks))

    plain = ["git", "clone", "--quiet", f"{repository.server.url}/glyphs", str(tmp_path / "plain")]
    subprocess.run(plain, check=True)
    assert marker.exists(), "a plain clone runs them, so that this test can fail"
    marker.unlink()
    repository.fetch(tmp_path / "work")
    assert not marker.exists()


@pytest.mark.parametrize("place", ["file", "environment"])
def test_configuration_cannot_send_git_to_another_server(
    repository: Repository, work: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    module_folder(repository.folder)
    repository.commit()
    if place == "file":
        rule = f'[url "http://127.0.0.1:1/"]\n insteadOf = {repository.server.url}/\n'
        (Path(os.environ["HOME"]) / ".gitconfig").write_text(rule)
    else:
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "url.http://127.0.0.1:1/.insteadOf")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"{repository.server.url}/")
    assert repository.fetch(work).origin.startswith(f"git+{repository.server.url}/glyphs@")


@pytest.mark.parametrize(
    ("mode", "path", "what"),
    [
        ("120000", "weights.safetensors", "a symbolic link"),
        ("120000", "module.yaml", "a symbolic link"),
        ("160000", "weights.safetensors", "a submodule"),
        ("120000", "golden", "a symbolic link"),  # module.yaml names golden/in.npz, which lies behind it
        ("160000", "golden", "a submodule"),
    ],
)
def test_links_and_submodules_that_a_module_needs_are_refused(
    repository: Repository, work: Path, mode: str, path: str, what: str
) -> None:
    module_folder(repository.folder)
    manifest = repository.folder / "module.yaml"
    manifest.write_text(manifest.read_text() + "golden: {input: golden/in.npz}\n")
    repository.run("add", "--all")
    repository.run("rm", "-r", "--quiet", "--cached", path)
    repository.put(mode, path, repository.blob(b"/etc/passwd") if mode == "120000" else "1" * 40)
    repository.commit(add=False)
    with pytest.raises(UnsafeFileError, match=f"{path}: expected a plain file, found {what}"):
        repository.fetch(work)


def test_links_and_submodules_beside_a_module_are_left_out(repository: Repository, work: Path) -> None:
    module_folder(repository.folder)
    repository.run("add", "--all")
    repository.put("120000", "other", repository.blob(b"/etc"))
    repository.put("160000", "vendor", "1" * 40)
    (repository.folder / ".gitmodules").write_text(
        '[submodule "v"]\n path = vendor\n url = http://127.0.0.1:1/\n'
    )
    repository.run("add", ".gitmodules")
    repository.commit(add=False)
    assert not any(path.is_symlink() for path in repository.fetch(work).folder.rglob("*"))


def test_a_pointer_of_git_lfs_is_refused_with_what_to_do(repository: Repository, work: Path) -> None:
    module_folder(repository.folder)
    (repository.folder / "weights.safetensors").write_bytes(POINTER)
    repository.commit()
    with pytest.raises(IntegrityError, match=r"weights\.safetensors: .* a pointer of Git LFS") as caught:
        repository.fetch(work)
    assert "git-lfs" in caught.value.hint


def test_damaged_weights_and_code_are_refused(repository: Repository, tmp_path: Path) -> None:
    module_folder(repository.folder)
    (repository.folder / "weights.safetensors").write_bytes(b"wEights")
    repository.commit()
    with pytest.raises(IntegrityError, match=r"weights\.safetensors: changed"):
        repository.fetch(tmp_path / "1")
    (repository.folder / "weights.safetensors").unlink()
    repository.commit()
    with pytest.raises(IntegrityError, match=r"weights\.safetensors: missing"):
        repository.fetch(tmp_path / "2")
    manifest = module_folder(repository.folder) / "module.yaml"
    manifest.write_text(manifest.read_text() + "head: {labels: labels.py}\n")
    (repository.folder / "labels.py").write_text("x")
    repository.commit()
    with pytest.raises(UnsafeFileError, match=r"this is code: labels\.py"):
        repository.fetch(tmp_path / "3")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("huge.bin", b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(40_000))),  # fills the store
        ("weights.safetensors", bytes(1_200_000)),  # packs to nothing, and is judged by the listing
    ],
)
def test_a_huge_repository_or_module_is_refused(
    repository: Repository, work: Path, name: str, content: bytes
) -> None:
    weights = content if name == "weights.safetensors" else b"weights"
    module_folder(repository.folder, weights=weights)
    (repository.folder / name).write_bytes(content)
    repository.commit()
    with pytest.raises(UnsafeFileError, match=r"1,000,000 bytes"):
        repository.fetch(work, most_bytes=1_000_000)
    assert not list(work.rglob("weights.safetensors"))


def test_trees_that_list_more_files_than_any_disk_holds_are_refused(
    repository: Repository, work: Path
) -> None:
    tree_id = repository.run("mktree", text=f"100644 blob {repository.blob(b'x')}\tf\n".encode())
    for _ in range(32):
        rows = "".join(f"040000 tree {tree_id}\t{name * 20}\n" for name in "ab")
        tree_id = repository.run("mktree", text=rows.encode())
    commit = repository.run("commit-tree", tree_id, "-m", "x")
    repository.run("push", "--quiet", str(repository.bare), f"{commit}:refs/heads/main")
    with pytest.raises(UnsafeFileError, match="takes more than"):
        repository.fetch(work)


def test_git_is_stopped_when_time_is_up(repository: Repository, work: Path) -> None:
    repository.server.stalls = True
    started = time.monotonic()
    with pytest.raises(TransferError, match="git took too long"):
        repository.fetch(work, timeout_s=0.5)
    assert time.monotonic() - started < 10


def test_no_connection_is_made_when_the_network_is_switched_off(
    repository: Repository, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"git\+http://127\.0\.0\.1"):
        repository.fetch(work)
    assert repository.server.requests == []


def test_a_server_that_is_not_there_is_a_transfer_error(server: GitServer, work: Path) -> None:
    repository = Repository(server)
    server.close()
    with pytest.raises(TransferError, match="git failed: unable to access"):
        repository.fetch(work)


def test_without_the_git_program_the_error_says_what_to_install(
    repository: Repository, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(work))
    with pytest.raises(MissingDependencyError, match="the program git") as caught:
        repository.fetch(work)
    assert "install git" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"location": "--upload-pack=touch it_ran"}, HubError),
        ({"location": "ext::sh -c 'touch it_ran'"}, HubError),
        ({"location": "ssh://git@127.0.0.1/x"}, HubError),
        ({"location": "file:///etc"}, HubError),
        ({"location": "/etc"}, HubError),
        ({"location": "http://git.example.com/x"}, BadReferenceError),  # not encrypted
        ({"location": "https://user:secret@127.0.0.1/x"}, BadReferenceError),
        ({"location": "https://127.0.0.1/x", "revision": "--upload-pack=touch it_ran"}, BadReferenceError),
        ({"location": "https://127.0.0.1/x", "revision": "main:refs/heads/other"}, BadReferenceError),
        ({"location": "https://127.0.0.1/x", "subdirectory": "../up"}, BadReferenceError),
        ({"location": "https://127.0.0.1/x", "subdirectory": "-x"}, BadReferenceError),
        ({"location": "https://127.0.0.1/x\x1b[2J"}, BadReferenceError),
    ],
)
def test_hostile_references_are_refused_even_when_made_by_hand(
    tmp_path: Path, fields: dict[str, str], error: type[HubError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        git.fetch(Reference("git", **fields), tmp_path)  # type: ignore[arg-type]
    assert not isinstance(caught.value, TransferError)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_reference_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="kind git"):
        git.fetch(Reference.parse("hf://org/name"), tmp_path)


def test_a_private_repository_opens_with_the_token_of_its_origin(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module_folder(repository.folder)
    repository.commit()
    server = repository.server
    server.token = "Basic " + base64.b64encode(b"x-access-token:secret").decode()
    with pytest.raises(TransferError, match="wants a login") as caught:
        repository.fetch(tmp_path / "1")
    assert "HUB_TOKEN_" in caught.value.hint
    monkeypatch.setenv(f"HUB_TOKEN_127_0_0_1_{server.port}", "secret")
    found = repository.fetch(tmp_path / "2")
    assert "secret" not in found.origin
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "2").rglob("*") if path.is_file())


def test_a_token_does_not_follow_a_redirect(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_root = tmp_path / "other"
    other_root.mkdir()
    other = GitServer(other_root)
    repository.server.redirect = other.url
    monkeypatch.setenv(f"HUB_TOKEN_127_0_0_1_{repository.server.port}", "secret")
    with pytest.raises(TransferError):
        repository.fetch(tmp_path / "work")
    other.close()
    assert repository.server.requests[0][1].startswith("Basic ")
    assert other.requests == []
