"""The model card of a fine-tuned module: what it is, what it was trained on, how well it did, what to watch for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hub.modules.spec import ModuleSpec


def write(
    spec: ModuleSpec,
    *,
    labels: Sequence[str],
    data: str,
    metrics: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> str:
    """Give the card as Markdown. `data` is the dataset's own description; `metrics` those of the best epoch."""
    numbers = "".join(
        f"| {name} | {value:.4f} |\n" for name, value in metrics.items() if isinstance(value, float)
    )
    scores = (
        f"| metric | value |\n| --- | --- |\n{numbers}" if numbers else "Not measured: no validation set.\n"
    )
    used = "".join(f"- {name}: {value}\n" for name, value in settings.items())
    return f"""# {spec.name}

A module for {spec.task.replace("_", " ")} with {len(labels)} labels, fine-tuned from {spec.source["finetuned_from"]}.

    import hub
    hub.Module("./{spec.name}").predict(["picture.png"])

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

It knows these labels and no other: a picture of anything else gets one of them too. The metrics hold for
pictures like those it was trained on. Licence of the base module: {spec.license}.
"""
