"""The model card of a fine-tuned module: what it is, what it was trained on, how well it did, what to watch for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hub.modules.spec import ModuleSpec

EXAMPLES = {
    "sounds": ("sounds", '"sound.wav"'),
    "texts": ("texts", '"a text"'),
    "pairs": ("pairs of texts", '("one text", "another")'),
    "tagged": ("texts", '"a text"'),
}
"""What a module is given, in words and as Python; the others are given pictures."""


def write(
    spec: ModuleSpec,
    *,
    inputs: str,
    labels: Sequence[str],
    data: str,
    metrics: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> str:
    """Give the card as Markdown.

    `inputs` is what its task learns from (`Task.inputs`), `data` the dataset's own description, and `metrics` those of
    the best epoch.
    """
    given, example = EXAMPLES.get(inputs.removeprefix("rated "), ("pictures", '"picture.png"'))
    limits = "It knows these labels and no other: what is none of them gets one of them too. " * (
        len(labels) > 1
    )
    numbers = "".join(
        f"| {name} | {value:.4f} |\n" for name, value in metrics.items() if isinstance(value, float)
    )
    scores = (
        f"| metric | value |\n| --- | --- |\n{numbers}" if numbers else "Not measured: no validation set.\n"
    )
    used = "".join(f"- {name}: {value}\n" for name, value in settings.items())
    return f"""# {spec.name}

A module for {spec.summary}.

    import hub
    hub.Module("./{spec.name}").predict([{example}])

## Trained on

```
{data.strip()}
```

## Metrics

On the validation set, at the epoch whose weights these are:

{scores}
## Settings

{used}
## Limits

{limits}The metrics hold for {given} like those it was trained on. Licence of the base module: {spec.license}.
"""
