"""YAML that is plain data: no objects, no aliases, no key twice, no deep nesting."""

from __future__ import annotations

from typing import Any

import yaml

MAX_DEPTH = 32


class PlainLoader(yaml.SafeLoader):
    """A SafeLoader that refuses, with the place, what a few lines of text can do much harm with.

    Aliases let a short file expand to gigabytes; of a key that stands twice, one would vanish without a word.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise yaml.MarkedYAMLError(problem="a key stands twice", problem_mark=node.start_mark)
        return mapping
