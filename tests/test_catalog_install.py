"""A checkpoint of the catalog becomes a module folder: downloaded, verified, remembered; or refused with nothing left.

The publisher is a server on this machine, with a real file that paddle wrote.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from faultserver import FaultServer
from folders import tree
from paddle.vision import models

import hub
from hub import settings
from hub.errors import HubError, IndexFormatError, IntegrityError, NotFoundError, OfflineError
from hub.modules import archs, pdparams, weights
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import ModuleSpec
from hub.registry import client, listing
from hub.registry.catalog import entry as catalog
from hub.registry.index import Summary, dump_search

Environment = pytest.MonkeyPatch

SHIPPED = catalog.FOLDER
MODEL = "shufflenet_v2_x0_25_imagenet"
NAME, ALIAS, UNPROVED, NOT_BUILT = (
    "little_net",
    "little_net_again",
    "little_net_without_md5",
    "net_of_tomorrow",
)


@dataclass
class Publisher:
    """A server with the checkpoint of a real network, and what the catalog says about it."""

    server: FaultServer
    folder: Path
    network: paddle.nn.Layer
    checkpoint: bytes
    path = "/models/shufflenet.pdparams"

    def write(self, **facts: Any) -> None:
        """Write the catalog anew with other facts about NAME."""
        usual = json.loads((SHIPPED / catalog.TABLES[0]).read_text(encoding="utf-8"))[MODEL]
        ours = {**usual, "url": self.server.url + self.path, "md5": hashlib.md5(self.checkpoint).hexdigest()}
        table = {
            NAME: {**ours, "aliases": [ALIAS], **facts},
            UNPROVED: {**ours, "md5": "", "url": f"{self.server.url}/other.pdparams"},
            NOT_BUILT: {**ours, "built": False, "arch": {"name": "of_tomorrow"}},
        }
        for name in catalog.TABLES:
            content = table if name == catalog.TABLES[0] else {}
            (self.folder / name).write_text(json.dumps(content), encoding="utf-8")
        entries = catalog.parse(table).values()
        rows = (Summary(e.name, catalog.VERSION, e.task, e.line, e.license, e.size) for e in entries)
        (self.folder / catalog.SEARCH).write_text(dump_search(rows), encoding="utf-8")
        catalog._read_table.cache_clear()

    def publish(self, name: str, entry: str, table: int, state: dict[str, paddle.Tensor]) -> None:
        """Publish a network under a name of its own, with what the shipped catalog says of an entry."""
        facts = json.loads((SHIPPED / catalog.TABLES[table]).read_text(encoding="utf-8"))[entry]
        path = self.folder / f"{name}.pdparams"
        paddle.save(state, str(path))
        self.server.documents[f"/{path.name}"] = path.read_bytes()
        content = {name: facts | {"url": f"{self.server.url}/{path.name}"}}
        (self.folder / catalog.TABLES[table]).write_text(json.dumps(content), encoding="utf-8")
        (self.folder / facts["labels"]).write_bytes((SHIPPED / facts["labels"]).read_bytes())
        catalog._read_table.cache_clear()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[paddle.nn.Layer, bytes]:
    """The smallest of the networks with random weights, and the file that paddle writes of it."""
    paddle.seed(7)
    network = models.shufflenet_v2_x0_25()
    network.eval()
    path = tmp_path_factory.mktemp("published") / "net.pdparams"
    paddle.save(network.state_dict(), str(path))
    return network, path.read_bytes()


@pytest.fixture
def publisher(
    tmp_path: Path, monkeypatch: Environment, published: tuple[paddle.nn.Layer, bytes]
) -> Iterator[Publisher]:
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / "imagenet.txt").write_bytes((SHIPPED / "imagenet.txt").read_bytes())
    monkeypatch.setattr(catalog, "FOLDER", folder)
    network, checkpoint = published
    documents = {Publisher.path: checkpoint, "/other.pdparams": checkpoint}
    with FaultServer(documents) as server:
        publisher = Publisher(server, folder, network, checkpoint)
        publisher.write()
        yield publisher
    catalog._read_table.cache_clear()


def left_at_home() -> dict[str, bytes]:
    """Give what is in HUB_HOME, locks left out."""
    home = settings.home()
    files = tree(home) if home.is_dir() else {}
    return {path: content for path, content in files.items() if not path.endswith(".lock")}


def test_a_checkpoint_becomes_a_module_folder(publisher: Publisher) -> None:
    about = listing.show(NAME)
    assert (about["files"], about["installed"]) == ([], False)
    assert 0 < about["size_bytes"] <= len(publisher.checkpoint)
    located = client.install(NAME)
    assert (located.name, located.version, located.source, located.verified) == (
        NAME,
        "1.0.0",
        "catalog",
        True,
    )
    files = tree(located.folder)
    assert set(files) == {".hub.json", "README.md", "labels.txt", "module.yaml", "weights.pdparams"}
    assert files["weights.pdparams"] == publisher.checkpoint
    assert publisher.server.url in files["README.md"].decode()
    assert client.verify_files(located) == []
    digest = hashlib.sha256(publisher.checkpoint).hexdigest()
    assert {file["path"]: file["sha256"] for file in listing.show(NAME)["files"]}[
        "weights.pdparams"
    ] == digest

    spec = ModuleSpec.read(located.folder)
    assert (spec.name, spec.version, spec.task, spec.license) == (
        NAME,
        "1.0.0",
        "image_classification",
        "Apache-2.0",
    )
    assert [(file.file, file.sha256, file.size) for file in spec.weights] == [
        ("weights.pdparams", digest, len(publisher.checkpoint))
    ]
    assert spec.source["url"] == publisher.server.url + publisher.path
    assert spec.head is not None
    labels = (located.folder / spec.head.labels).read_text(encoding="utf-8").splitlines()
    assert len(labels) == 1000
    PicturePreprocessor(spec.preprocess)


def test_the_folder_holds_the_network_that_was_published(publisher: Publisher) -> None:
    folder = client.install(NAME).folder
    spec = ModuleSpec.read(folder)
    backbone = archs.build(spec.arch.name, **spec.arch.arguments)
    body, head = backbone.from_published(pdparams.read(folder / spec.weights[0].file))
    weights.give(backbone, body, what="published")
    backbone.eval()
    pictures = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype("float32"))
    with paddle.no_grad():
        expected = publisher.network(pictures).numpy()
        features = backbone(pictures).numpy()
    assert head is not None
    np.testing.assert_allclose(features @ head["weight"] + head["bias"], expected, rtol=1e-4, atol=1e-5)


def test_an_installed_network_for_sounds_gives_the_tags_of_a_sound(publisher: Publisher) -> None:
    backbone, head = archs.build("panns_cnn6"), paddle.nn.Linear(512, 527)
    tags = {f"fc_audioset.{name}": tensor for name, tensor in head.state_dict().items()}
    publisher.publish("little_ear", "panns_cnn6", 1, backbone.state_dict() | tags)
    client.install("little_ear")
    module = hub.Module("little_ear")
    samples = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    [answer] = module.predict([(samples, 32_000)])
    preprocessor = module.preprocessor
    backbone.eval()
    with paddle.no_grad():
        batch = preprocessor.batch([preprocessor.read((samples, 32_000))])
        scores = paddle.nn.functional.sigmoid(head(backbone(paddle.to_tensor(batch))))[0].numpy()
    assert list(answer["scores"]) == list(module.labels)
    np.testing.assert_allclose(list(answer["scores"].values()), scores, rtol=1e-4, atol=1e-5)


def test_an_installed_network_for_scenes_gives_the_mask_of_a_picture(publisher: Publisher) -> None:
    paddle.seed(0)
    backbone, head = archs.build("fcn_hrnet"), paddle.nn.Conv2D(270, 21, 1)
    last = {f"head.cls.{name}": tensor for name, tensor in head.state_dict().items()}
    publisher.publish("little_eye", "fcn_hrnetw18_voc", 3, backbone.state_dict() | last)
    client.install("little_eye")
    module = hub.Module("little_eye")
    picture = np.random.default_rng(0).integers(0, 256, (384, 512, 3), np.uint8)
    [answer] = module.predict([picture])
    x = paddle.to_tensor((picture.astype("float32") / 255 - 0.5) / 0.5).transpose([2, 0, 1]).unsqueeze(0)
    backbone.eval()
    with paddle.no_grad():
        logits = paddle.nn.functional.interpolate(head(backbone(x)), [384, 512], mode="bilinear")[0].numpy()
    agree = answer["mask"] == logits.argmax(axis=0)
    assert agree.mean() > 0.999
    assert len(np.unique(answer["mask"])) > 1
    assert list(answer["areas"]) == list(module.labels)
    assert module.labels[15] == "person"


def test_what_is_here_is_not_asked_for_again(publisher: Publisher) -> None:
    located = client.install(NAME)
    asked = len(publisher.server.log)
    assert client.install(NAME) == client.install(f"{NAME}@1.0.0") == client.locate(NAME) == located
    assert len(publisher.server.log) == asked


def test_an_installed_checkpoint_can_be_published_for_a_closed_network(
    publisher: Publisher, tmp_path: Path, monkeypatch: Environment
) -> None:
    folder = client.install(NAME).folder
    client.publish(folder, tmp_path / "index")
    client.uninstall(NAME)
    monkeypatch.setenv("HUB_INDEX", str(tmp_path / "index"))
    monkeypatch.setenv("HUB_OFFLINE", "1")
    located = client.install(NAME)
    assert located.source == str(tmp_path / "index")
    assert (located.folder / "weights.pdparams").read_bytes() == publisher.checkpoint


def test_an_alias_is_a_module_of_its_own_with_the_same_file(
    publisher: Publisher, monkeypatch: Environment
) -> None:
    located = client.install(NAME)
    asked = len(publisher.server.log)
    monkeypatch.setenv("HUB_OFFLINE", "1")
    again = client.install(ALIAS)
    assert (again.name, len(publisher.server.log)) == (ALIAS, asked)
    assert (again.folder / "weights.pdparams").samefile(located.folder / "weights.pdparams")
    assert ModuleSpec.read(again.folder).name == ALIAS
    assert f"the same as {NAME}" in listing.show(ALIAS)["summary"]


def test_a_file_with_another_md5_is_refused_and_nothing_is_left(publisher: Publisher) -> None:
    publisher.write(md5="0" * 32)
    with pytest.raises(
        IntegrityError, match="expected md5 00000000000000000000000000000000, found"
    ) as caught:
        client.install(NAME)
    assert publisher.server.url in caught.value.message
    assert left_at_home() == {}
    publisher.write()
    assert client.install(NAME).name == NAME


def test_offline_says_what_is_missing_and_asks_nobody(publisher: Publisher, monkeypatch: Environment) -> None:
    monkeypatch.setenv("HUB_OFFLINE", "1")
    with pytest.raises(OfflineError) as caught:
        client.locate(NAME)
    assert "weights.pdparams" in caught.value.message
    assert publisher.server.url + publisher.path in caught.value.message
    assert f"hub install {NAME}" in caught.value.hint
    assert publisher.server.log == []
    assert left_at_home() == {}
    monkeypatch.delenv("HUB_OFFLINE")
    located = client.install(NAME)
    monkeypatch.setenv("HUB_OFFLINE", "1")
    assert client.locate(NAME) == located


def test_an_architecture_that_is_not_built_is_said_before_any_network(publisher: Publisher) -> None:
    for verb in (client.install, client.locate):
        with pytest.raises(NotFoundError, match=f"{NOT_BUILT}: not installable yet") as caught:
            verb(NOT_BUILT)
        assert "hub list --task image_classification" in caught.value.hint
    assert publisher.server.log == []
    assert left_at_home() == {}


def test_what_a_file_was_at_its_first_use_is_what_it_must_be(publisher: Publisher) -> None:
    first = tree(client.install(UNPROVED).folder)["weights.pdparams"]
    record = settings.home() / "catalog" / f"{UNPROVED}.json"
    assert json.loads(record.read_text(encoding="utf-8"))["sha256"] == hashlib.sha256(first).hexdigest()
    client.uninstall(UNPROVED)
    publisher.server.documents["/other.pdparams"] = first[:-1] + b"?"
    with pytest.raises(IntegrityError, match="expected sha256") as caught:
        client.install(UNPROVED)
    assert str(record) in caught.value.hint
    assert not (settings.home() / "modules" / UNPROVED).exists()
    record.unlink()
    assert tree(client.install(UNPROVED).folder)["weights.pdparams"] != first


def test_a_changed_module_is_put_right(publisher: Publisher) -> None:
    located = client.install(NAME)
    path = located.folder / "weights.pdparams"
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    with pytest.raises(IntegrityError, match="was changed"):
        client.locate(NAME)
    assert client.install(NAME) == located
    assert path.read_bytes() == publisher.checkpoint


def test_a_new_md5_in_the_catalog_replaces_the_first_use(publisher: Publisher) -> None:
    client.install(NAME)
    client.uninstall(NAME)
    changed = publisher.checkpoint[:-1] + b"?"
    publisher.server.documents[publisher.path] = changed
    publisher.write(md5=hashlib.md5(changed).hexdigest())
    assert tree(client.install(NAME).folder)["weights.pdparams"] == changed


def test_a_damaged_record_of_the_first_use_is_said(publisher: Publisher) -> None:
    client.install(NAME)
    record = settings.home() / "catalog" / f"{NAME}.json"
    record.write_text(
        record.read_text(encoding="utf-8").replace('"sha256": "', '"sha256": "x'), encoding="utf-8"
    )
    with pytest.raises(IndexFormatError, match="sha256: expected 64 hex digits") as caught:
        client.install(ALIAS)
    assert str(record) in caught.value.message


def test_two_at_once_cost_one_transfer(publisher: Publisher) -> None:
    start = threading.Barrier(2)
    results: list[object] = []

    def install() -> None:
        start.wait()
        with suppress(HubError):
            results.append(client.install(NAME))

    threads = [threading.Thread(target=install) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert results[0] == results[1]
    assert publisher.server.sent(publisher.path) == len(publisher.checkpoint)
