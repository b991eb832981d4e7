"""The tables of the catalog: well formed, what the recipe makes of them, and what paddle itself publishes."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import math
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import numpy as np
import paddle
import pytest
from paddle.vision import models

from hub import tasks
from hub.cli.main import main
from hub.modules import archs
from hub.modules import preprocessor as preprocessors
from hub.modules.preprocessor import PicturePreprocessor
from hub.modules.spec import ModuleSpec, Named
from hub.naming import is_module_name, is_task
from hub.registry import listing
from hub.registry.catalog import entry as catalog
from hub.registry.catalog.entry import Entry
from hub.registry.index import File
from hub.registry.strict import is_line

Environment = pytest.MonkeyPatch

RECIPE = Path(__file__).parents[1] / "recipes" / "catalog" / "generate.py"
SHIPPED = {name: json.loads((catalog.FOLDER / name).read_text(encoding="utf-8")) for name in catalog.TABLES}
ENTRIES = [entry for table in SHIPPED.values() for entry in catalog.parse(table).values()]
CHECKPOINTS = [entry for entry in ENTRIES if not entry.alias_of]
BUILT = [entry for entry in CHECKPOINTS if entry.built]
OF_PADDLE = [entry for entry in BUILT if entry.origin.startswith(models.__name__)]
OF_PADDLEHUB = [entry for entry in BUILT if entry.name in SHIPPED[catalog.TABLES[1]]]
OF_PADDLENLP = [entry for entry in BUILT if entry.name in SHIPPED[catalog.TABLES[2]]]
OF_PADDLESEG = [entry for entry in BUILT if entry.name in SHIPPED[catalog.TABLES[3]]]
OF_PADDLECLAS = [entry for entry in BUILT if entry.name in SHIPPED[catalog.TABLES[4]]]
OF_PICTURES = [entry for entry in BUILT if "normalize" in entry.preprocess[-1]]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The program that makes the tables."""
    spec = importlib.util.spec_from_file_location("catalog_generate", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(RECIPE.parent))  # as for a program that is run
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(RECIPE.parent))
    return module


# ---- the tables ----


@pytest.mark.parametrize("table", catalog.TABLES)
def test_entries_are_well_formed(table: str) -> None:
    for entry in catalog.parse(SHIPPED[table]).values():
        where = f"{table}: {entry.name}"
        assert is_module_name(entry.name), where
        assert is_task(entry.task), where
        assert is_line(entry.line), where
        assert is_line(entry.license), where
        assert all((entry.license, entry.origin, entry.arch["name"])), where
        for address in filter(None, entry.addresses.values()):
            url = urlsplit(address)
            assert (url.scheme, url.query, url.fragment) == ("https", "", ""), where
            assert str(url.hostname).endswith(".bcebos.com"), where
            assert url.path.endswith((".pdparams", ".safetensors", "vocab.txt", "spiece.model")), where
        if entry.md5:
            assert len(bytes.fromhex(entry.md5)) == 16, where
            assert entry.md5 == entry.md5.lower(), where
        if entry.built:
            assert entry.url.endswith(".pdparams"), where
            assert all((entry.size, entry.preprocess, entry.trained_on)), where
        if entry in OF_PADDLE:
            assert entry.md5, where


def test_a_name_an_address_and_a_digest_stand_once() -> None:
    for facts in (
        [e.name for e in ENTRIES],
        [e.url for e in CHECKPOINTS if e.url],
        [e.md5 for e in OF_PADDLE],
    ):
        assert len(set(facts)) == len(facts)


def test_the_listing_has_a_row_for_every_name() -> None:
    rows = [(row.name, row.task, row.summary, row.license, row.size) for row in catalog.rows()]
    assert rows == sorted((e.name, e.task, e.line, e.license, e.size) for e in ENTRIES)


def test_it_says_which_architectures_are_not_built() -> None:
    assert len(OF_PADDLE) == 36
    assert len(OF_PADDLENLP) == 119
    assert len(OF_PADDLESEG) == 12
    assert len(OF_PADDLECLAS) == 35
    assert {entry.name for entry in OF_PADDLEHUB} >= {"panns_cnn6", "panns_cnn10", "panns_cnn14"}
    assert {entry.arch["name"] for entry in BUILT} <= set(archs.names())
    for entry in ENTRIES:
        assert entry.line.startswith(catalog.NOT_BUILT) is not entry.built


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in catalog.FOLDER.iterdir() if path.is_file()) < 400_000


@pytest.mark.parametrize(
    ("file", "count", "known"),
    [
        (
            "imagenet.txt",
            1000,
            {
                0: "tench",
                134: "crane, bird",
                207: "golden retriever",
                281: "tabby",
                517: "crane, m",
                999: "toilet t",
            },
        ),
        ("voc.txt", 21, {0: "background", 1: "aeroplane", 8: "cat", 15: "person", 20: "tvmonitor"}),
        ("cityscapes.txt", 19, {0: "road", 6: "traffic light", 10: "sky", 11: "person", 18: "bicycle"}),
        ("audioset.txt", 527, {0: "Speech", 74: "Dog", 137: "Music", 500: "Silence", 526: "Field recording"}),
    ],
)
def test_the_labels_are_the_publishers_in_their_order(file: str, count: int, known: dict[int, str]) -> None:
    labels = (catalog.FOLDER / file).read_text(encoding="utf-8").splitlines()
    assert len(set(labels)) == len(labels) == count
    for number, beginning in known.items():
        assert labels[number].startswith(beginning)


def test_every_table_is_what_the_recipe_makes(generate: ModuleType) -> None:
    found = generate.tables(SHIPPED, None)  # the entries of paddlenlp as they are, see the next test
    for name, table in found.items():
        assert generate.dump(table) == (catalog.FOLDER / name).read_text(encoding="utf-8"), name
    entries = generate.entries_of(found)
    assert generate.search(entries) == (catalog.FOLDER / catalog.SEARCH).read_text(encoding="utf-8")
    assert generate.page(entries) == generate.PAGE.read_text(encoding="utf-8")


def test_the_entries_of_paddlenlp_are_what_its_tables_say(generate: ModuleType) -> None:
    try:
        package = metadata.distribution("paddlenlp")
    except metadata.PackageNotFoundError:
        pytest.skip("paddlenlp is not installed")
    if package.version != generate.PADDLENLP_VERSION:
        pytest.skip(f"paddlenlp is {package.version}, the table is of {generate.PADDLENLP_VERSION}")
    found = generate.tables({}, Path(str(package.locate_file("paddlenlp"))))
    assert found[generate.PADDLENLP] == SHIPPED[generate.PADDLENLP]


def test_only_literals_of_a_package_are_read(tmp_path: Path, generate: ModuleType) -> None:
    family = tmp_path / "transformers" / "bert"
    family.mkdir(parents=True)
    (family / "configuration.py").write_text(
        "raise RuntimeError('this file was run')\n"
        "A_PRETRAINED_INIT_CONFIGURATION = {'org/Bert-1.0': {'hidden_size': 8, 'eps': -1.5, 'name': 'x', 'y': f()}}\n"
        "A_PRETRAINED_RESOURCE_FILES_MAP = {'model_state': {'org/Bert-1.0': 'http://host/b.pdparams', **OTHERS,\n"
        "  'bert-same': 'https://host/b.pdparams', '__internal__/t': 'https://host/t.pdparams'}}\n"
        "OTHER = {'model_state': {'no-checkpoint': 'https://host/n.pdparams'}}\n",
        encoding="utf-8",
    )
    [(name, facts)] = generate.paddlenlp(tmp_path).items()
    assert (name, facts["url"], facts["aliases"]) == (
        "org-bert-1-0",
        "https://host/b.pdparams",
        ["bert-same"],
    )
    assert facts["arch"] == {"name": "bert", "hidden_size": 8, "eps": -1.5}


# ---- what paddle publishes ----


@pytest.mark.filterwarnings("ignore:Skip loading for")
@pytest.mark.parametrize("entry", OF_PADDLE, ids=lambda entry: entry.name)
def test_an_entry_is_the_network_that_paddle_publishes(entry: Entry, monkeypatch: Environment) -> None:
    module_name, _, function_name = entry.origin.rpartition(".")
    assert module_name == models.__name__
    function = getattr(models, function_name)

    asked = []
    module = sys.modules[function.__module__]
    monkeypatch.setattr(module, "get_weights_path_from_url", lambda *url_and_md5: asked.append(url_and_md5))
    monkeypatch.setattr(paddle, "load", lambda path: {})
    with paddle.LazyGuard():
        published = function(pretrained=True).state_dict()
        backbone = archs.build(**entry.arch)
    assert asked == [(entry.url, entry.md5)]
    shapes = {name: tuple(tensor.shape) for name, tensor in published.items()}
    assert sum(map(math.prod, shapes.values())) * 4 == entry.size

    state = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    body, head = backbone.from_published(state)
    assert {name: array.shape for name, array in body.items()} == {
        name: tuple(tensor.shape) for name, tensor in backbone.state_dict().items()
    }
    if head is None:
        assert not entry.labels
    else:
        labels = (catalog.FOLDER / entry.labels).read_text(encoding="utf-8").splitlines()
        assert head["weight"].shape == (backbone.feature_spec.channels, len(labels))
        assert head["bias"].shape == (len(labels),)


@pytest.mark.parametrize("entry", OF_PADDLE + OF_PADDLECLAS, ids=lambda entry: entry.name)
def test_pictures_are_prepared_as_for_imagenet(entry: Entry) -> None:
    from PIL import Image

    steps = [Named(name, arguments) for step in entry.preprocess for name, arguments in step.items()]
    preprocessor = PicturePreprocessor(steps)
    grey = Image.new("RGB", (500, 400), (124, 116, 104))  # the mean of ImageNet
    batch = preprocessor.batch([preprocessor.read(grey)])
    side = 299 if entry.name.startswith("inception") else 224
    assert batch.shape == (1, 3, side, side)
    assert np.abs(batch).max() < 0.01


@pytest.mark.parametrize("entry", OF_PICTURES, ids=lambda entry: entry.name)
def test_every_picture_is_taken_in_colour(entry: Entry) -> None:
    from PIL import Image

    steps = [Named(name, arguments) for step in entry.preprocess for name, arguments in step.items()]
    preprocessor = PicturePreprocessor(steps)
    items = [
        preprocessor.read(Image.new(mode, (40, 40)))
        for mode in ("RGB", "L", "LA", "1", "I;16", "RGBA", "CMYK")
    ]
    assert preprocessor.batch(items).shape[:2] == (len(items), 3)


# ---- the checkpoints and the names of PaddleHub ----


@pytest.mark.parametrize("entry", OF_PADDLEHUB + OF_PADDLESEG + OF_PADDLECLAS, ids=lambda entry: entry.name)
def test_an_entry_describes_a_module_whose_network_its_checkpoint_fits(entry: Entry, tmp_path: Path) -> None:
    for name, text in entry.texts([File(catalog.WEIGHTS_FILE, "0" * 64, entry.size)]).items():
        (tmp_path / name).write_bytes(text)
    spec = ModuleSpec.read(tmp_path)
    preprocessors.build(spec.preprocess, spec.augment)
    labels = (tmp_path / spec.head.labels).read_text(encoding="utf-8").splitlines() if spec.head else []
    task = tasks.create(spec.task, labels, multi_label=spec.head is not None and spec.head.multi_label)
    with paddle.LazyGuard():
        backbone = archs.build(spec.arch.name, **spec.arch.arguments)
        wanted = {
            name: tuple(tensor.shape)
            for name, tensor in task.build_head(backbone.feature_spec).state_dict().items()
        }
    own = {name: tuple(tensor.shape) for name, tensor in backbone.state_dict().items()}
    published = own | {
        f"{prefix}{name.split('.')[-1]}": wanted[name]
        for prefix in backbone.published_head
        for name in wanted
    }
    assert 0 <= entry.size - sum(map(math.prod, published.values())) * 4 < 60_000, (
        "names are the rest of the file"
    )
    state = {name: np.broadcast_to(np.float32(0), shape) for name, shape in published.items()}
    body, head = backbone.from_published(state)
    assert {name: array.shape for name, array in body.items()} == own
    assert {name: array.shape for name, array in (head or {}).items()} == wanted


def test_every_name_of_paddlehub_is_found() -> None:
    with RECIPE.with_name("paddlehub.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            entry = Entry.read(row["name"])
            assert entry is not None, row["name"]
            assert entry.checkpoint == (row["same_as"] or row["name"])


@pytest.mark.parametrize(
    ("name", "task", "built"),
    [
        ("resnet50_imagenet", "image_classification", True),
        ("shufflenet_v2_imagenet", "image_classification", True),
        ("resnet50_vd_imagenet_ssld", "image_classification", True),
        ("resnet50_vd_10w", "image_classification", False),
        ("ernie_tiny", "text", False),
        ("ernie_v2_eng_base", "text_classification", True),
        ("bert-base-chinese", "text_classification", True),
        ("rbt3", "text_classification", True),
        ("panns_cnn14", "audio_classification", True),
        ("user_guided_colorization_canvas", "colorization", True),
        ("ocrnet_hrnetw18_voc", "semantic_segmentation", True),
        ("deeplabv3p_resnet50_cityscapes", "semantic_segmentation", True),
        ("pspnet_resnet50_voc", "semantic_segmentation", False),
        ("msgnet", "style_transfer", False),
        ("user_guided_colorization", "colorization", False),
    ],
)
def test_hub_finds_what_users_of_paddlehub_ask_for(
    name: str, task: str, built: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listing.search(name)[0].name == name
    facts = listing.show(name)
    assert (facts["task"], facts["source"], facts["installed"]) == (task, "catalog", False)
    for command in ("show", "search"):
        assert main([command, name]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert name in printed
        assert (catalog.NOT_BUILT in printed) is not built
