"""What a network is for: head, loss, metrics and what `predict` returns, one file per task, found by name."""

from hub.tasks.base import Meter, Task, create, kind, names, options

__all__ = ["Meter", "Task", "create", "kind", "names", "options"]
