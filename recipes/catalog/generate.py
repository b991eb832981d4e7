"""Make the catalog: `python recipes/catalog/generate.py [--paddlenlp WHEEL] [--paddleclas WHEEL]`.

Writes the tables of hub/registry/catalog and docs/reference/catalog.md from

    paddle.vision.models    the installed one: addresses and md5s of its ImageNet networks
    paddlehub.csv           beside this file: what the code and the documentation of PaddleHub's modules name;
                            `same_as` says which entry serves a name of PaddleHub's. OURS says more of those
                            whose networks hub has
    CLASSIFIERS, below      ResNet-vd, ResNeXt-vd, MobileNet and PP-LCNet of PaddleClas: addresses as in MODEL_URLS of
                            its ppcls/arch/backbone/{legendary_models/{resnet,mobilenet_v1,mobilenet_v3,pp_lcnet},
                            model_zoo/{resnext_vd,mobilenet_v2}}.py, and with "_ssld" in its list of models
    SEGMENTERS, below       the segmentation networks of PaddleSeg that hub has: addresses as in the tables of its
                            configs/{fcn,ocrnet,deeplabv3p}/README.md, preprocessing as in configs/_base_
    paddlenlp 3.0.0b4       a wheel (`pip download --no-deps paddlenlp==3.0.0b4`) or package folder, read, never run:
                            addresses and configurations of its checkpoints, and of encoders the vocabularies
    paddleclas 2.6.0        likewise: the names of ImageNet's classes

Without the last two, what was made of them before stays.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import math
import pkgutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paddle
from checkpoints import PADDLENLP_VERSION, Table, paddlenlp
from paddle.vision import models

from hub.modules import archs
from hub.registry.catalog import entry as catalog
from hub.registry.catalog.entry import Entry
from hub.registry.index import Summary, dump_search
from hub.transforms.spectrogram import PANNS

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reference" / "catalog.md"
VISION, PADDLEHUB, PADDLENLP, PADDLESEG, PADDLECLAS = catalog.TABLES
LABELS = "imagenet.txt"

# Every network in the tables of paddle.vision.models: key there → title, architecture and arguments here.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"resnet{d}": (f"ResNet-{d}", {"name": "resnet", "depth": d}) for d in (18, 34, 50, 101, 152)},
    **{
        f"resnext{d}_{g}x4d": (f"ResNeXt-{d} {g}x4d", {"name": "resnet", "depth": d, "width": 4, "groups": g})
        for d in (50, 101, 152)
        for g in (32, 64)
    },
    **{
        f"wide_resnet{d}_2": (f"Wide ResNet-{d}-2", {"name": "resnet", "depth": d, "width": 128})
        for d in (50, 101)
    },
    **{
        f"densenet{n}": (f"DenseNet-{n}", {"name": "densenet", "layers": n})
        for n in (121, 161, 169, 201, 264)
    },
    **{f"vgg{d}": (f"VGG-{d}", {"name": "vgg", "depth": d}) for d in (16, 19)},
    **{
        f"shufflenet_v2_x{str(s).replace('.', '_')}": (
            f"ShuffleNet V2 x{s}",
            {"name": "shufflenet_v2", "scale": s},
        )
        for s in (0.25, 0.33, 0.5, 1.0, 1.5, 2.0)
    },
    "shufflenet_v2_swish": ("ShuffleNet V2 with swish", {"name": "shufflenet_v2", "act": "swish"}),
    "squeezenet1_0": ("SqueezeNet 1.0", {"name": "squeezenet", "version": "1.0"}),
    "squeezenet1_1": ("SqueezeNet 1.1", {"name": "squeezenet", "version": "1.1"}),
    "mobilenetv1_1.0": ("MobileNet V1", {"name": "mobilenet_v1"}),
    "mobilenetv2_1.0": ("MobileNet V2", {"name": "mobilenet_v2"}),
    "mobilenet_v3_small_x1.0": ("MobileNet V3 small", {"name": "mobilenet_v3_small"}),
    "mobilenet_v3_large_x1.0": ("MobileNet V3 large", {"name": "mobilenet_v3_large"}),
    "inception_v3": ("Inception V3", {"name": "inception_v3"}),
    "googlenet": ("GoogLeNet", {"name": "googlenet"}),
    "alexnet": ("AlexNet", {"name": "alexnet"}),
}
# Where the function, and with it our name, is not the key of the table.
FUNCTIONS = {
    "mobilenetv1_1.0": "mobilenet_v1",
    "mobilenetv2_1.0": "mobilenet_v2",
    "mobilenet_v3_small_x1.0": "mobilenet_v3_small",
    "mobilenet_v3_large_x1.0": "mobilenet_v3_large",
}
SIZES = {"inception_v3": (320, 299)}  # the shorter side of the picture, the square cut from its middle
USUAL_SIZE = (256, 224)
NORMALIZE = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
TRAINED_ON = "ImageNet-1k (ILSVRC 2012), photos of 1,000 classes"
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}

TAGS = "audioset.txt"
# Of the entries in paddlehub.csv that have an address, those whose networks hub has.
OURS: dict[str, dict[str, Any]] = {
    **{
        f"panns_cnn{n}": {
            "summary": f"PANNs CNN{n} trained on AudioSet: tags for all that is heard",
            "arch": {"name": f"panns_cnn{n}"},
            "preprocess": [{"clip": {"seconds": 10}}, {"log_mel": PANNS}],
            "labels": TAGS,
            "multi_label": True,
            "trained_on": "AudioSet: two million sounds of ten seconds from videos, 527 tags",
            "note": "The names of its tags are AudioSet's (Gemmeke et al. 2017, CC BY 4.0).",
        }
        for n in (6, 10, 14)
    },
    "user_guided_colorization_canvas": {
        "summary": "user-guided colorization (Zhang et al. 2017) fine-tuned on oil paintings",
        "arch": {"name": "user_guided_colorization"},
        "origin": "PaddleHub's canvas_rc.pdparams",
        "preprocess": [{"rgb": {}}, {"resize": {"size": 256}}, {"normalize": {}}],
        "trained_on": "oil paintings, as PaddleHub says",
    },
}

LEGENDARY = "legendary_models/"
# Name of PaddleHub's → title, PaddleClas's file, architecture, the scales to have as published first, and distilled.
SMALL: dict[str, tuple[str, str, str, tuple[float, ...], tuple[float, ...]]] = {
    "mobilenet_v1": ("MobileNet V1", LEGENDARY + "MobileNetV1", "clas_mobilenet_v1", (), (1.0,)),
    "mobilenet_v2": ("MobileNet V2", "MobileNetV2", "clas_mobilenet_v2", (), (1.0,)),
    "mobilenet_v3_small": (
        "MobileNet V3 small",
        LEGENDARY + "MobileNetV3_small",
        "clas_mobilenet_v3_small",
        (0.35, 0.5),
        (0.35, 1.0),
    ),
    "mobilenet_v3_large": (
        "MobileNet V3 large",
        LEGENDARY + "MobileNetV3_large",
        "clas_mobilenet_v3_large",
        (0.35, 0.5),
        (1.0,),
    ),
    "pp_lcnet": (
        "PP-LCNet",
        LEGENDARY + "PPLCNet",
        "pp_lcnet",
        (0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5),
        (0.5, 1.0, 2.5),
    ),
}


def _small() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Give the rows of CLASSIFIERS that SMALL stands for, named as PaddleHub named them and "_x0_5" for the scale."""
    found = {}
    for ours, (title, theirs, arch, plain, distilled) in SMALL.items():
        for scale, ssld in [*((s, "") for s in plain), *((s, "_ssld") for s in distilled)]:
            times = f"_x{scale}".replace(".", "_")
            name = ours if scale == 1 else ours + times
            file = theirs if theirs.endswith(("V1", "V2")) and scale == 1 else theirs + times
            found[f"{name}_imagenet{ssld}"] = (
                f"{title}{f' x{scale}' if scale != 1 else ''}{' distilled (SSLD)' if ssld else ''}",
                f"{file}{ssld}_pretrained",
                {"name": arch, "scale": scale},
            )
    return found


# Name of PaddleHub's → title, PaddleClas's file, architecture.
CLASSIFIERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{
        f"resnet{d}_vd_imagenet": (
            f"ResNet-{d}-vd",
            f"legendary_models/ResNet{d}_vd_pretrained",
            {"name": "resnet_vd", "depth": d},
        )
        for d in (18, 34, 50, 101, 152, 200)
    },
    **{
        f"resnet{d}_vd_imagenet_ssld": (
            f"ResNet-{d}-vd distilled (SSLD)",
            f"legendary_models/ResNet{d}_vd_ssld_pretrained",
            {"name": "resnet_vd", "depth": d},
        )
        for d in (34, 50, 101)
    },
    **{
        f"resnext{d}_vd_{g}x4d_imagenet": (
            f"ResNeXt-{d}-vd {g}x4d",
            f"ResNeXt{d}_vd_{g}x4d_pretrained",
            {"name": "resnet_vd", "depth": d, "width": 4, "groups": g},
        )
        for d in (50, 101, 152)
        for g in (32, 64)
    },
    **_small(),
}

# Published for both of SCENES: name here, without the data's → title, PaddleSeg's name, architecture.
SEGMENTERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{
        f"fcn_hrnetw{w}": (f"FCN on HRNet-W{w}", f"fcn_hrnetw{w}", {"name": "fcn_hrnet", "width": w})
        for w in (18, 48)
    },
    **{
        f"ocrnet_hrnetw{w}": (
            f"OCRNet on HRNet-W{w}",
            f"ocrnet_hrnetw{w}",
            {"name": "ocrnet_hrnet", "width": w},
        )
        for w in (18, 48)
    },
    **{
        f"deeplabv3p_resnet{d}": (
            f"DeepLabV3+ on ResNet-{d}-vd",
            f"deeplabv3p_resnet{d}_os8",
            {"name": "deeplabv3p", "depth": d},
        )
        for d in (50, 101)
    },
}
# What they were trained on: file of labels → PaddleSeg's folder, its name for the pictures and the steps, facts.
SCENES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "voc": (
        "pascal_voc12",
        "voc12aug_512x512",
        {
            "trained_on": "PASCAL VOC 2012 and its augmented set: photos with 20 classes of things",
            # Its photos have a long side of 500 pixels, and larger ones are no easier for the network.
            "preprocess": [{"rgb": {}}, {"resize": {"long": 512}}, {"normalize": HALF}],
        },
    ),
    "cityscapes": (
        "cityscapes",
        "cityscapes_1024x512",
        {
            "trained_on": "Cityscapes: streets of 50 cities from a car, 19 classes",
            "preprocess": [{"rgb": {}}, {"resize": {"long": 2048}}, {"normalize": HALF}],
            "note": "Cityscapes' terms allow use that is not commercial; ask its makers what that means for weights.",
        },
    ),
}


def vision() -> Table:
    """Give the entries of paddle.vision.models. Raises SystemExit when its tables have other networks than ours."""
    urls: dict[str, tuple[str, str]] = {}
    for module in pkgutil.iter_modules(models.__path__):
        urls |= getattr(importlib.import_module(f"{models.__name__}.{module.name}"), "model_urls", {})
    if urls.keys() != NETWORKS.keys():
        raise SystemExit(f"paddle {paddle.__version__}: correct NETWORKS for {urls.keys() ^ NETWORKS.keys()}")
    return dict(_vision_entry(key, *urls[key]) for key in NETWORKS)


def _vision_entry(key: str, url: str, md5: str) -> tuple[str, dict[str, Any]]:
    title, arch = NETWORKS[key]
    function = FUNCTIONS.get(key, key)
    with paddle.LazyGuard():
        state = getattr(models, function)().state_dict()
        backbone = archs.build(**arch)
    short, side = SIZES.get(key, USUAL_SIZE)
    has_classifier = getattr(backbone, "head_scale", None) is not None
    facts = {
        "task": "image_classification",
        "summary": f"{title} trained on ImageNet"
        + ("" if has_classifier else ", for fine-tuning: without its classifier, which is not linear"),
        "license": "Apache-2.0",
        "arch": arch,
        "origin": f"paddle.vision.models.{function}",
        "built": True,
        "url": url,
        "md5": md5,
        "size": sum(math.prod(tensor.shape) for tensor in state.values()) * 4,
        "preprocess": _steps(short, side),
        "trained_on": TRAINED_ON,
    }
    return f"{function}_imagenet", facts | ({"labels": LABELS} if has_classifier else {})


def _steps(short: int, side: int) -> list[dict[str, Any]]:
    return [
        {"rgb": {}},
        {"resize": {"short": short}},
        {"center_crop": {"size": side}},
        {"normalize": NORMALIZE},
    ]


def paddlehub() -> tuple[Table, dict[str, list[str]]]:
    """Give the entries of PaddleHub's own, and for each name in another table what PaddleHub calls it."""
    with (HERE / "paddlehub.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    entries: Table = {}
    served: dict[str, list[str]] = {}
    for row in rows:
        if row["same_as"]:
            served.setdefault(row["same_as"], []).append(row["name"])
            continue
        where = "" if row["url"] else "; no public address of its weights is known"
        entries[row["name"]] = {
            "task": row["task"],
            "summary": f"{row['name']} of PaddleHub ({row['network']}){where}",
            "license": "not stated",
            "arch": {"name": row["network"]},
            "origin": f"PaddleHub's {row['name']}",
        } | ({"url": row["url"], "size": int(row["size"] or 0)} if row["url"] else {})
        if row["name"] in OURS:
            entries[row["name"]] |= OURS[row["name"]] | {"built": True}
    return entries, served


def paddleclas() -> Table:
    """Give the entries of PaddleClas's networks, under PaddleHub's names."""
    return {
        name: {
            "task": "image_classification",
            "summary": f"{title} trained on ImageNet",
            "license": "Apache-2.0",
            "arch": arch,
            "origin": f"PaddleClas's {file.rpartition('/')[2].removesuffix('_pretrained')}",
            "built": True,
            "url": f"https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/{file}.pdparams",
            "size": _size(arch, 1000),
            "preprocess": _steps(*USUAL_SIZE),
            "trained_on": TRAINED_ON,
            "labels": LABELS,
        }
        for name, (title, file, arch) in CLASSIFIERS.items()
    }


def _size(arch: Mapping[str, Any], classes: int) -> int:
    """Give the bytes of an architecture and its classifier, which is linear."""
    with paddle.LazyGuard():
        backbone = archs.build(**arch)
    numbers = sum(math.prod(tensor.shape) for tensor in backbone.state_dict().values())
    return 4 * (numbers + (backbone.feature_spec.channels + 1) * classes)


def paddleseg() -> Table:
    """Give the entries of PaddleSeg's segmentation networks, each trained on two sets."""
    found: Table = {}
    for ours, (title, theirs, arch) in SEGMENTERS.items():
        for scenes, (folder, pictures, facts) in SCENES.items():
            steps = "40k" if scenes == "voc" else "160k" if arch["name"] == "ocrnet_hrnet" else "80k"
            published_as = f"{theirs}_{pictures}_{steps}"
            labels_file = f"{scenes}.txt"
            classes = len((catalog.FOLDER / labels_file).read_text(encoding="utf-8").splitlines())
            own = arch | ({"regions": classes} if arch["name"] == "ocrnet_hrnet" else {})
            found[f"{ours}_{scenes}"] = {
                "task": "semantic_segmentation",
                "summary": f"{title} trained on {facts['trained_on'].split(':')[0]}",
                "license": "Apache-2.0",
                "arch": own,
                "origin": f"PaddleSeg's {published_as}",
                "built": True,
                "url": f"https://bj.bcebos.com/paddleseg/dygraph/{folder}/{published_as}/model.pdparams",
                "size": _size(own, classes),
                "labels": labels_file,
                **facts,
            }
    return found


def labels(package: Traversable) -> str:
    """Give ImageNet's classes, one a line, from paddleclas's list "134 crane"; each name once."""
    text = (package / "ppcls" / "utils" / "imagenet1k_label_list.txt").read_text(encoding="utf-8")
    names = [line.split(" ", 1)[1] for line in text.splitlines()]
    names[134], names[517] = "crane, bird", "crane, machine"  # two classes that the list calls "crane"
    return "".join(f"{name}\n" for name in names)


def tables(kept: Mapping[str, Table], package: Traversable | None) -> dict[str, Table]:
    """Give every table; without the paddlenlp package its entries are those that were `kept`."""
    own, served = paddlehub()
    text = paddlenlp(package) if package else _without_foreign_aliases(kept[PADDLENLP], served)
    found = {
        VISION: vision(), PADDLEHUB: own, PADDLENLP: text, PADDLESEG: paddleseg(), PADDLECLAS: paddleclas()
    }  # fmt: skip
    everything = {name: facts for table in found.values() for name, facts in table.items()}
    for name, called in served.items():
        facts = everything[name]
        if aliases := [alias for alias in called if alias != name]:
            facts["aliases"] = facts.get("aliases", []) + aliases
        if name in found[VISION]:
            facts["note"] = "PaddleHub had weights of its own for this network; these are paddle's."
        if name in found[PADDLECLAS]:
            facts["note"] = "PaddleHub had a copy of its own for this name; this is PaddleClas's file."
    names = [
        name for table in found.values() for key, e in table.items() for name in [key, *e.get("aliases", [])]
    ]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SystemExit(f"names of two entries: {twice}")
    return found


def _without_foreign_aliases(table: Table, served: Mapping[str, list[str]]) -> Table:
    """Give the entries as paddlenlp() made them, before PaddleHub's names were added."""
    entries = {}
    for name, facts in table.items():
        own = [alias for alias in facts.get("aliases", []) if alias not in served.get(name, [])]
        rest = {key: value for key, value in facts.items() if key != "aliases"}
        entries[name] = rest | ({"aliases": own} if own else {})
    return entries


def dump(table: Table) -> str:
    """Give a table as JSON with an entry a line, so that two versions can be compared."""
    lines = (f"{json.dumps(name)}: {json.dumps(facts, ensure_ascii=False)}" for name, facts in table.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def entries_of(found: Mapping[str, Table]) -> list[Entry]:
    """Give every entry under each of its names, sorted."""
    return sorted(
        (entry for table in found.values() for entry in catalog.parse(table).values()), key=lambda e: e.name
    )


def search(entries: list[Entry]) -> str:
    """Give the text of search.json."""
    return dump_search(Summary(e.name, catalog.VERSION, e.task, e.line, e.license, e.size) for e in entries)


def page(entries: list[Entry]) -> str:
    """Give the reference page."""
    built = [e for e in entries if e.built]
    rows = "".join(f"| `{e.name}` | {e.line} | {e.license} | {e.size / 1e6:,.0f} MB |\n" for e in built)
    others: dict[tuple[str, str], list[str]] = {}
    for e in entries:
        if not e.built:
            others.setdefault((e.task, e.arch["name"]), []).append(f"`{e.name}`")
    families = "".join(
        f"| {task} | {arch} | {', '.join(names)} |\n" for (task, arch), names in sorted(others.items())
    )
    return f"""<!-- generated by recipes/catalog/generate.py -->

# Catalog

Public checkpoints that hub knows by name. `hub install NAME` takes one from where its publisher put it, checks the
publisher's md5 where there is one, writes down its sha256 and makes a module folder around it. An encoder comes
with its vocabulary. From then on only those files are accepted under this name on this machine; the record is
`catalog/NAME.json` in `HUB_HOME`.

## Ready to install

| name | what it is | licence | parameters |
| --- | --- | --- | --- |
{rows}
## Known, but not installable yet

hub does not have their architecture or their vocabulary's way to cut texts, or no address of their weights is known.
`hub search` and `hub show` find them; `hub install NAME` says at once that it is not available yet.

| task | architecture | names |
| --- | --- | --- |
{families}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--paddlenlp", type=Path, metavar="WHEEL", help=f"of version {PADDLENLP_VERSION}")
    parser.add_argument("--paddleclas", type=Path, metavar="WHEEL")
    arguments = parser.parse_args()
    kept = {}
    if not arguments.paddlenlp:
        kept[PADDLENLP] = json.loads((catalog.FOLDER / PADDLENLP).read_text(encoding="utf-8"))
    found = tables(kept, _opened(arguments.paddlenlp, "paddlenlp"))
    entries = entries_of(found)
    texts = {catalog.FOLDER / name: dump(table) for name, table in found.items()}
    texts |= {catalog.FOLDER / catalog.SEARCH: search(entries), PAGE: page(entries)}
    if package := _opened(arguments.paddleclas, "paddleclas"):
        texts[catalog.FOLDER / LABELS] = labels(package)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
        print(f"{len(text.encode()):>9,} bytes  {path}")


def _opened(path: Path | None, package: str) -> Traversable | None:
    """Give the package in a wheel, or a package folder as it is."""
    return zipfile.Path(path) / package if path and path.suffix == ".whl" else path


if __name__ == "__main__":
    main()
