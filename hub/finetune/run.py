"""The record of a fine-tuning: what was asked, what happened, and where everything is."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paddle

from hub import tasks
from hub._version import __version__
from hub.errors import InputError
from hub.files import dump_json, run_record, write_text
from hub.finetune.worst import Miss

if TYPE_CHECKING:
    from hub.finetune.report import Mistake


@dataclass
class Run:
    """What a fine-tuning did. `metrics` are those of the best epoch on the validation set, {} without one."""

    folder: Path
    data: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    """Every setting as it was used."""
    history: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    test_metrics: dict[str, Any] | None = None
    best_epoch: int = 0
    steps: int = 0
    """Steps that were trained."""
    interrupted: bool = False
    begun: bool = False
    """Whether anything came of it: the weights of an epoch, or a head in closed form."""
    task: str = ""
    labels: tuple[str, ...] = ()
    misses: list[Miss] = field(default_factory=list)
    """The surest wrong answers on the validation set."""
    samples: Any = None
    """The validation set, in which `misses` are counted."""
    start: str = ""
    """A digest of the backbone's weights that it began with."""
    origin: str = ""
    """The Python that loads the module that it began with."""
    command: str = ""
    """What to write to do it again."""
    environment: dict[str, str] = field(default_factory=dict)
    """Versions, device and machine."""

    @property
    def best(self) -> Path:
        """The module folder of the best epoch."""
        return self.folder / "best"

    def summary(self) -> str:
        """Give a line each: the best epoch with its metric, whether it is worth nothing, and where everything is."""
        from hub.finetune.report_findings import no_better_than_one_answer

        metric = self.config["metric"]
        score = f", {metric} {self.metrics[metric]:.4f} on the validation set" if self.metrics else ""
        if self.test_metrics:
            score += f", {_tested(metric, self.test_metrics)} on the test set"
        useless = no_better_than_one_answer(self.metrics, self.labels)
        return "\n".join(
            [f"best: epoch {self.best_epoch}{score}", *([useless] if useless else []), f"module: {self.best}"]
        )

    def report(self, path: str | Path) -> Path:
        """Write the run as one HTML page that needs nothing else, and give its path."""
        from hub.finetune import report

        return report.write(
            Path(path),
            report.Report(
                title=self.folder.name, task=self.task, data=self.data, config=self.config, history=self.history,
                metrics=self.metrics, test_metrics=self.test_metrics, best_epoch=self.best_epoch,
                labels=self.labels, mistakes=[self._mistake(miss) for miss in self.misses],
                environment=self.environment, command=self.command,
            ),
        )  # fmt: skip

    def _mistake(self, miss: Miss) -> Mistake:
        from hub.finetune.report import Mistake

        sample, kind = self.samples[miss.index], tasks.kind(self.task)
        try:
            shown = kind.show(sample.input) if hasattr(kind, "show") else sample.input
        except (InputError, OSError) as problem:  # moved since: the rest of the page is there to be written
            shown = f"It cannot be shown: {problem}"
        return Mistake(str(sample.origin), miss.expected, miss.found, miss.score, shown)

    def write_config(self) -> None:
        """Write down what is to be done and where it runs, as config.json in the folder."""
        record = {**self.config, "environment": self.environment, "command": self.command}
        write_text(self.folder / "config.json", dump_json(record))

    def recall_config(self) -> bool:
        """Take settings, environment and command as config.json has them; say whether it was there."""
        record = run_record(self.folder)
        if record is None:
            return False
        self.environment, self.command = record.pop("environment"), record.pop("command")
        self.config |= record
        return True

    def write_metrics(self) -> None:
        """Write down what came of it, as metrics.json in the folder: the mark of a finished run."""
        record = {"best_epoch": self.best_epoch, "valid": self.metrics, "test": self.test_metrics}
        write_text(self.folder / "metrics.json", dump_json(record))


def environment(processes: int) -> dict[str, str]:
    """Give where a run takes place: versions, device, machine, and the number of its processes."""
    return {
        "hub": __version__, "paddle": paddle.__version__, "python": platform.python_version(),
        "device": paddle.get_device(), "machine": platform.machine(), "processes": str(processes),
    }  # fmt: skip


def _tested(metric: str, found: dict[str, Any]) -> str:
    """Give the metric that chose the epoch, or all by name where it is of a question that the test set does not ask."""
    if metric in found:
        return f"{found[metric]:.4f}"
    return ", ".join(f"{name} {value:.4f}" for name, value in found.items() if isinstance(value, float))
