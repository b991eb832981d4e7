"""What PaddleHub had under names that are not here, for the error of a script that still asks for them."""

from __future__ import annotations

_SETS = ("ESC50", "Flowers", "ChnSentiCorp", "LCQMC", "MSRA_NER", "OpticDiscSeg", "Canvas", "MiniCOCO")
_OWN_DATA = "hub.datasets.load reads folders, lists and tables"

HUB = {
    "vision": "the steps of hub.transforms are named in module.yaml, and a module does its own",
    "BertTokenizer": "a module reads texts itself",
    "ErnieTinyTokenizer": "a module reads texts itself",
    "CustomTokenizer": "a module reads texts itself",
    "text": "a module reads texts itself",
    "list": "hub.list_modules()",
    "help": "hub show NAME",
    "download": "hub.install(name)",
    "config": "settings are environment variables: hub doctor",
    "env": "settings are environment variables: hub doctor",
    "server_check": "hub doctor",
    "log": "what is said goes to stderr",
    "utils": "nothing",
    "serving": "there is no server: call Module.predict from yours",
}
"""Of paddlehub itself: what there is in its place."""

DATASETS = {
    **{name: f'finetune and evaluate take it by name: "{name}"' for name in _SETS},
    **dict.fromkeys(
        (
            "SegDataset", "DetectionData", "base_nlp_dataset", "base_audio_dataset", "base_seg_dataset",
            "TextClassificationDataset", "SeqLabelingDataset", "TextMatchingDataset", "AudioClassificationDataset",
        ),
        _OWN_DATA,
    ),
}  # fmt: skip
"""Of paddlehub.datasets."""


def missing(module: str, name: str) -> AttributeError:
    """Give the error for a name that a module of ours does not have, with what there is for one of PaddleHub's."""
    return AttributeError(f"module {module!r} has no attribute {name!r}{_instead(module, name)}")


class OldImports:
    """A finder for the end of sys.meta_path: it finds nothing, and says what there is for an import of PaddleHub's.

    `import hub.vision.transforms` asks no `__getattr__`, and `from hub import vision` passes over what one says.
    """

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> None:
        """Raise ImportError for a name of PaddleHub's that nobody has found."""
        module, _, name = fullname.rpartition(".")
        if instead := _instead(module, name):
            # A ModuleNotFoundError would be passed over by `from hub import vision`.
            raise ImportError(f"there is no {fullname}{instead}", name=fullname)


def _instead(module: str, name: str) -> str:
    hint = {"hub": HUB, "hub.datasets": DATASETS}.get(module, {}).get(name)
    return f": it is PaddleHub's; here: {hint} (docs/from_paddlehub.md)" if hint else ""
