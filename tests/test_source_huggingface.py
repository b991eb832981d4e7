"""Modules on the Hugging Face Hub, against a server on this machine that answers as the Hub's API does."""

from __future__ import annotations

import hashlib
import http.server
import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from encoder_folders import BELONGS, encoder_folder
from folders import module_folder, tree
from locking import check_lock

from hub.errors import (
    BadReferenceError,
    HubError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    SpecError,
    TransferError,
    UnsafeFileError,
)
from hub.registry import client
from hub.registry.manifest import Manifest
from hub.registry.reference import Reference
from hub.registry.sources import huggingface
from hub.registry.sources.fetched import Fetched

pytest.importorskip("huggingface_hub")

FIRST, SECOND = "1" * 40, "2" * 40
ALWAYS = {"private": False, "gated": False, "downloads": 0, "likes": 0, "tags": []}  # older libraries insist


class HubServer:
    """Repositories by name, with files by commit and commits by revision; files over 100 bytes are large ones."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}  # commit to files
        self.revisions = {"main": FIRST}
        self.sent: dict[str, bytes] = {}  # what is really sent for a path, where it is not what is listed
        self.errors: dict[str, tuple[int, str]] = {}  # what a path answers with: status, X-Error-Code
        self.token = ""  # when set, only who has it is answered
        self.cut = 0  # where the next large file ends early
        self.page: bytes | None = None  # what the API answers with, when it is not the API
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        # The Hub sends large files from another host, which must not see the token.
        self._servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
        self.url = f"http://127.0.0.1:{self._servers[0].server_address[1]}"
        self.store = f"http://localhost:{self._servers[1].server_address[1]}"
        for each in self._servers:
            each.daemon_threads = True
            threading.Thread(target=each.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        for each in self._servers:
            each.shutdown()
            each.server_close()

    @property
    def asked(self) -> list[str]:
        return [path for _, path, _ in self.requests]

    def offer(self, folder: Path, commit: str = FIRST) -> dict[str, bytes]:
        self.files[commit] = tree(folder)
        return self.files[commit]


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Stay quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        if path.startswith("/store/"):
            _, _, commit, name = path.split("/", 3)
            self.store(self.content(commit, name))
        elif self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.answer(401, code="RepoNotFound")
        elif path in self.hub.errors:
            status, code = self.hub.errors[path]
            self.answer(status, code=code)
        elif path.startswith("/api/models/org/glyphs"):
            self.model_info(path)
        elif path.startswith("/org/glyphs/resolve/"):
            self.resolve(path)
        else:
            self.answer(401, code="RepoNotFound")  # as the Hub answers, so that private names do not leak

    def model_info(self, path: str) -> None:
        if self.hub.page is not None:
            self.answer(200, self.hub.page)
            return
        revision = path.partition("/revision/")[2] or "main"
        commit = self.hub.revisions.get(revision, revision)
        if commit not in self.hub.files:
            self.answer(404, code="RevisionNotFound")
            return
        siblings = []
        for name, content in self.hub.files[commit].items():
            facts: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": _git_id(content)}
            if len(content) > 100:
                digest = hashlib.sha256(content).hexdigest()
                facts["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            siblings.append(facts)
        body = {"_id": "1", "id": "org/glyphs", "modelId": "org/glyphs", "sha": commit, "siblings": siblings}
        body |= ALWAYS
        self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def resolve(self, path: str) -> None:
        commit, name = path.removeprefix("/org/glyphs/resolve/").split("/", 1)
        listed = self.hub.files.get(commit, {}).get(name)
        if listed is None:
            self.answer(404, code="EntryNotFound")
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_git_id(listed)}"', "Accept-Ranges": "bytes"}
        if len(listed) <= 100:
            self.answer(200, self.content(commit, name), headers)
            return
        digest, size = hashlib.sha256(listed).hexdigest(), len(self.content(commit, name))
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(size)}
        self.answer(302, b"", headers | {"Location": f"{self.hub.store}/store/{commit}/{name}"})

    def store(self, body: bytes) -> None:
        """Send a large file, or the rest of it; once only a part, when the Hub is told to."""
        start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        headers = {"ETag": f'"{_git_id(body)}"', "Content-Length": str(len(body) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        stop = len(body)
        if 0 < self.hub.cut < stop:
            stop, self.hub.cut = self.hub.cut, 0
        self.answer(206 if start else 200, body[start:stop], headers)
        self.close_connection = stop < len(body)

    def content(self, commit: str, name: str) -> bytes:
        return self.hub.sent.get(name, self.hub.files[commit][name])

    def answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, code: str = ""
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    running = HubServer()
    monkeypatch.setenv("HF_ENDPOINT", running.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield running
    running.close()


def fetch(work: Path, text: str = "hf://org/glyphs", **options: int) -> Fetched:
    work.mkdir(exist_ok=True)
    return huggingface.fetch(Reference.parse(text), work, **options)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def test_every_kind_of_revision_gives_the_module_of_its_commit(server: HubServer, tmp_path: Path) -> None:
    server.offer(module_folder(tmp_path / "1.0", weights=b"large" * 100_000))
    server.offer(module_folder(tmp_path / "2.0", version="2.0.0"), SECOND)
    server.revisions = {"main": SECOND, "v1": FIRST, "refs/pr/3": SECOND}
    for revision, commit, version in [
        ("", SECOND, "2.0.0"), ("@main", SECOND, "2.0.0"), ("@refs/pr/3", SECOND, "2.0.0"),
        ("@v1", FIRST, "1.0.0"), (f"@{FIRST}", FIRST, "1.0.0"),
    ]:  # fmt: skip
        work = tmp_path / f"work{len(server.requests)}"
        found = fetch(work, f"hf://org/glyphs{revision}")
        assert found.origin == f"hf://org/glyphs@{commit}"
        assert Manifest.read(found.folder).version == version
        assert found.folder.is_relative_to(work)
        assert all(server.files[commit][path] == content for path, content in tree(found.folder).items())
        assert client.install(found.folder).version == version


def test_the_recorded_origin_gives_the_same_bytes_when_the_branch_has_moved(
    server: HubServer, tmp_path: Path
) -> None:
    server.offer(module_folder(tmp_path / "1.0"))
    found = fetch(tmp_path / "a")
    server.offer(module_folder(tmp_path / "2.0", version="2.0.0"), SECOND)
    server.revisions["main"] = SECOND
    again = fetch(tmp_path / "b", found.origin)
    assert (again.origin, tree(again.folder)) == (found.origin, tree(found.folder))


def test_a_lock_brings_the_same_bytes_or_none(
    server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.offer(module_folder(tmp_path / "glyphs"))
    check_lock("hf://org/glyphs", tmp_path, capsys)


def test_a_large_file_goes_on_where_it_was_cut(server: HubServer, tmp_path: Path, work: Path) -> None:
    folder = module_folder(tmp_path / "glyphs", weights=random.Random(1).randbytes(3 * 2**20))
    server.offer(folder)
    server.cut = 2**20 + 77
    assert (fetch(work).folder / "weights.safetensors").read_bytes() == (
        folder / "weights.safetensors"
    ).read_bytes()
    asked = [headers.get("range") for _, path, headers in server.requests if path.startswith("/store/")]
    assert asked[-2:] == [None, f"bytes={2**20 + 77}-"]


def test_only_the_files_that_module_yaml_names_and_the_cards_are_transferred(
    server: HubServer, tmp_path: Path, work: Path
) -> None:
    files = server.offer(module_folder(tmp_path / "glyphs"))
    files["module.yaml"] += b"head: {labels: labels.txt}\ngolden: {input: golden/input.npz}\n"
    files |= {"pytorch_model.bin": b"x" * 1000, "modeling.py": b"x", ".gitattributes": b"x", "LICENSE": b"x"}
    wanted = {
        "LICENSE", "README.md", "golden/input.npz", "labels.txt", "module.yaml", "weights.safetensors",
    }  # fmt: skip
    assert set(tree(fetch(work).folder)) == wanted
    asked = {path.split("/", 5)[-1] for path in server.asked if "/resolve/" in path}
    assert asked == wanted
    assert not any(path.is_symlink() for path in work.rglob("*"))


def test_the_token_is_the_librarys_and_reaches_its_endpoint_alone(
    server: HubServer, tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.offer(module_folder(tmp_path / "glyphs"))
    server.token = "hf_secret"
    with pytest.raises(NotFoundError, match="no such model repository, or a private one") as caught:
        fetch(tmp_path / "without")
    assert "HF_TOKEN" in caught.value.hint
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = fetch(work)
    assert not any(b"hf_secret" in path.read_bytes() for path in work.rglob("*") if path.is_file())
    assert "hf_secret" not in found.origin
    stored = [headers for _, path, headers in server.requests if path.startswith("/store/")]
    assert stored
    assert not any("authorization" in headers for headers in stored)


@pytest.mark.parametrize(
    ("path", "answer", "error", "message"),
    [
        ("/api/models/org/glyphs", (403, "GatedRepo"), NotFoundError, "a gated repository"),
        ("/api/models/org/glyphs", (404, "RepoNotFound"), NotFoundError, "no such model repository"),
        ("/api/models/org/glyphs", (401, "RepoNotFound"), NotFoundError, "no such model repository"),
        ("/api/models/org/glyphs", (401, ""), TransferError, "refuses the token"),
        ("/api/models/org/glyphs", (403, ""), TransferError, "refuses the token"),
        ("/api/models/org/glyphs", (500, ""), TransferError, "answered with status 500"),
        (f"/org/glyphs/resolve/{FIRST}/labels.txt", (404, "EntryNotFound"), IntegrityError, "does not have"),
        (f"/org/glyphs/resolve/{FIRST}/labels.txt", (403, "GatedRepo"), NotFoundError, "a gated repository"),
    ],
)
def test_refusals_of_the_hub_are_said_in_our_words(
    server: HubServer,
    tmp_path: Path,
    work: Path,
    path: str,
    answer: tuple[int, str],
    error: type[HubError],
    message: str,
) -> None:
    files = server.offer(module_folder(tmp_path / "glyphs"))
    files["module.yaml"] += b"head: {labels: labels.txt}\n"
    server.errors[path] = answer
    with pytest.raises(error, match=message) as caught:
        fetch(work)
    assert caught.value.hint


def test_an_unknown_revision_is_named(server: HubServer, tmp_path: Path, work: Path) -> None:
    server.offer(module_folder(tmp_path / "glyphs"))
    with pytest.raises(NotFoundError, match="no branch, tag or commit 'v9'"):
        fetch(work, "hf://org/glyphs@v9")


def test_a_repository_without_module_yaml_is_named_with_what_it_has(server: HubServer, work: Path) -> None:
    server.files[FIRST] = {"config.json": b"{}", "notes.md": b"x", "\x1b[2J": b"x"}
    with pytest.raises(NotFoundError, match=r"expected a module\.yaml, found \?\[2J, config\.json, notes"):
        fetch(work)
    assert not any("/resolve/" in path for path in server.asked)


def test_an_encoder_is_fetched_with_only_what_belongs_to_it(server: HubServer, tmp_path: Path) -> None:
    files = server.offer(encoder_folder(tmp_path / "encoder"))
    located = client.install("hf://org/glyphs@main")
    assert (located.name, located.version, located.source) == ("glyphs", "1.0.0", f"hf://org/glyphs@{FIRST}")
    assert {path: content for path, content in tree(located.folder).items() if path in files} == {
        path: files[path] for path in BELONGS
    }
    got = {path.partition(f"{FIRST}/")[2] for path in server.asked if FIRST in path} - {""}
    assert got == BELONGS, "nothing else was asked for"


def test_what_was_installed_by_these_words_is_used_without_asking_again(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.offer(encoder_folder(tmp_path / "encoder"))
    located = client.locate("hf://org/glyphs")
    asked = len(server.requests)
    monkeypatch.setenv("HUB_OFFLINE", "1")
    assert client.locate("hf://org/glyphs") == located
    assert len(server.requests) == asked
    with pytest.raises(OfflineError):
        client.locate("hf://org/glyphs@main")
    monkeypatch.delenv("HUB_OFFLINE")
    assert client.install("hf://org/glyphs") == located
    assert len(server.requests) > asked


@pytest.mark.parametrize(
    ("missing", "model_type", "error", "message"),
    [
        (("model.safetensors", "model_state.pdparams"), "bert", NotFoundError, "expected the weights in"),
        (("tokenizer.json", "vocab.txt"), "bert", NotFoundError, "expected a tokenizer in"),
        ((), "gpt2", SpecError, "expected a model_type of"),
    ],
)
def test_an_encoder_that_cannot_be_loaded_is_refused_before_its_weights_are_fetched(
    server: HubServer,
    tmp_path: Path,
    missing: tuple[str, ...],
    model_type: str,
    error: type[HubError],
    message: str,
) -> None:
    files = server.offer(encoder_folder(tmp_path / "encoder", model_type=model_type))
    for name in missing:
        del files[name]
    with pytest.raises(error, match=message) as caught:
        client.install("hf://org/glyphs")
    assert f"hf://org/glyphs@{FIRST}" in caught.value.message
    assert {path.rpartition("/")[2] for path in server.asked if "/resolve/" in path} <= {"config.json"}


def test_weights_of_an_encoder_that_are_not_the_listed_ones_are_refused(
    server: HubServer, tmp_path: Path
) -> None:
    files = server.offer(encoder_folder(tmp_path / "encoder"))
    server.sent["model.safetensors"] = files["model.safetensors"][:-1] + b"!"
    with pytest.raises(IntegrityError, match=r"model\.safetensors: expected sha256"):
        client.install("hf://org/glyphs")


@pytest.mark.parametrize("name", ["weights.safetensors", "README.md"])
@pytest.mark.parametrize("size", [7, 500])
def test_bytes_that_are_not_the_listed_ones_are_refused(
    server: HubServer, tmp_path: Path, work: Path, name: str, size: int
) -> None:
    files = server.offer(module_folder(tmp_path / "glyphs", weights=b"w" * size))
    files["README.md"] = b"r" * size
    server.sent[name] = files[name][:-1] + b"!"
    with pytest.raises(IntegrityError, match=rf"{name}: expected (sha256|git id) [0-9a-f]+, found"):
        fetch(work)


def test_weights_that_module_yaml_does_not_promise_are_refused(
    server: HubServer, tmp_path: Path, work: Path
) -> None:
    files = server.offer(module_folder(tmp_path / "glyphs"))
    files["weights.safetensors"] = b"wEights"
    with pytest.raises(IntegrityError, match=r"not what its module\.yaml promises: weights\.safetensors"):
        fetch(work)


@pytest.mark.parametrize("name", ["../../escaped.txt", "/etc/escaped.txt", "a\\b.txt", "con.txt", ".hidden"])
def test_files_with_hostile_names_are_refused_before_they_are_asked_for(
    server: HubServer, tmp_path: Path, work: Path, name: str
) -> None:
    files = server.offer(module_folder(tmp_path / "glyphs"))
    files["module.yaml"] += f"head: {{labels: {json.dumps(name)}}}\n".encode()
    files[name] = b"x"
    with pytest.raises(UnsafeFileError, match="no safe path"):
        fetch(work)
    assert not any(name in path for path in server.asked)


def test_code_and_files_that_are_one_on_some_systems_are_refused(
    server: HubServer, tmp_path: Path, work: Path
) -> None:
    files = server.offer(module_folder(tmp_path / "glyphs"))
    plain = files["module.yaml"]
    files |= {"module.yaml": plain + b"head: {labels: labels.pkl}\n", "labels.pkl": b"x"}
    with pytest.raises(UnsafeFileError, match=r"this is code: labels\.pkl"):
        fetch(tmp_path / "1")
    files |= {"module.yaml": plain + b"head: {labels: Labels.txt, more: labels.txt}\n", "Labels.txt": b"x"}
    with pytest.raises(UnsafeFileError, match="one on some systems"):
        fetch(tmp_path / "2")


def test_a_module_that_is_too_large_is_refused_before_it_is_asked_for(
    server: HubServer, tmp_path: Path, work: Path
) -> None:
    server.offer(module_folder(tmp_path / "glyphs", weights=bytes(100_000)))
    with pytest.raises(UnsafeFileError, match="expected at most 99,999 bytes"):
        fetch(work, most_bytes=99_999)
    assert not any(path.endswith("weights.safetensors") for path in server.asked)


def test_no_request_is_made_when_the_network_is_switched_off(
    server: HubServer, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="hf://org/glyphs"):
        fetch(work)
    assert server.requests == []


def test_a_hub_that_is_not_there_is_a_transfer_error(server: HubServer, work: Path) -> None:
    server.close()
    with pytest.raises(TransferError, match="the transfer from the Hugging Face Hub failed"):
        fetch(work)


@pytest.mark.parametrize(
    "page", [b"<html>log in</html>", b"[]", b"{}", b'{"id": "org/glyphs", "siblings": 7}']
)
def test_an_answer_that_is_not_the_hubs_is_refused(server: HubServer, work: Path, page: bytes) -> None:
    server.page = page
    with pytest.raises(TransferError, match="does not answer as the Hugging Face Hub does"):
        fetch(work)


@pytest.mark.parametrize("size", [-1, "7", None, 1e300])
def test_a_listing_with_sizes_that_are_none_leaves_nothing_to_install(
    server: HubServer, work: Path, size: object
) -> None:
    siblings = [{"rfilename": "module.yaml", "size": size, "blobId": "0"}, {"rfilename": 7, "size": size}]
    server.page = json.dumps({"id": "org/glyphs", "sha": FIRST, "siblings": siblings, **ALWAYS}).encode()
    with pytest.raises(NotFoundError, match=r"expected a module\.yaml, found nothing"):
        fetch(work)


def test_an_answer_without_a_commit_is_refused(server: HubServer, work: Path) -> None:
    page = {"id": "org/glyphs", "sha": "main", "siblings": [], **ALWAYS}
    server.page = json.dumps(page).encode()
    with pytest.raises(IntegrityError, match="expected a commit of 40 hex digits, found 'main'"):
        fetch(work)


@pytest.mark.parametrize(
    ("name", "revision"),
    [("org/gly--phs", ""), ("../x", ""), ("a/b/c", ""), ("org/x", "-v"), ("org/x", "..")],
)
def test_hostile_references_are_refused_even_when_made_by_hand(
    server: HubServer, tmp_path: Path, name: str, revision: str
) -> None:
    with pytest.raises(BadReferenceError):
        huggingface.fetch(Reference("hf", name=name, revision=revision), tmp_path)
    assert server.requests == []


def test_the_library_stays_quiet_and_its_switches_are_left_as_they_were(
    server: HubServer, tmp_path: Path, work: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled

    server.offer(module_folder(tmp_path / "glyphs", weights=bytes(1_000_000)))
    before = are_progress_bars_disabled()
    fetch(work)
    assert capfd.readouterr() == ("", "")
    assert are_progress_bars_disabled() == before
    assert all(path.startswith(("/api/models/org/glyphs", "/org/glyphs", "/store")) for path in server.asked)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ("sys.modules['huggingface_hub'] = None", "MissingDependencyError pip install 'huggingface_hub<"),
        ("os.environ['HF_HUB_OFFLINE'] = '1'", "OfflineError unset HF_HUB_OFFLINE"),
    ],
)
def test_a_missing_library_and_its_own_offline_switch_are_said(
    server: HubServer, tmp_path: Path, prepare: str, message: str
) -> None:
    program = f"""if True:
        import os, sys, pathlib
        {prepare}
        from hub.errors import HubError
        from hub.registry.reference import Reference
        from hub.registry.sources import huggingface
        try:
            huggingface.fetch(Reference.parse("hf://org/glyphs"), pathlib.Path({str(tmp_path)!r}))
        except HubError as error:
            print(type(error).__name__, error.hint)"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(message)
    assert server.requests == []
