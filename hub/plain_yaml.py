"""YAML that is plain data: no objects, no aliases, no key twice, no deep nesting, nothing that takes minutes."""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_BYTES = 100_000
"""Of a file: PyYAML needs up to three seconds for as many brackets."""
MAX_DEPTH = 32

# What is written without quotes is a text, unless it is a word such as true or null, or one of these. YAML 1.1 knows
# more: dates (2024-02-30 is none), 1:30 (a number to the base of 60, read in quadratic time), 0x1f, 1_000, numbers
# of any length, which Python does not print. Our writer writes none of them.
_TAG = "tag:yaml.org,2002:"
_READ = {
    f"{_TAG}int": re.compile(r"[-+]?(0|[1-9][0-9]{0,18})\Z"),
    f"{_TAG}float": re.compile(
        r"([-+]?[0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?\Z|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z"
    ),
    f"{_TAG}bool": None,  # as PyYAML has it
    f"{_TAG}null": None,
}


def load(text: str) -> Any:
    """Give what a YAML text holds: mappings, lists, texts, numbers. Raises yaml.YAMLError, with the place."""
    loader = PlainLoader(text)
    try:
        return loader.get_single_data()
    except (ValueError, OverflowError) as problem:  # PyYAML's own: "\UFFFFFFFF", %YAML and 5,000 digits
        raise yaml.MarkedYAMLError(problem=f"{problem}", problem_mark=loader.get_mark()) from None
    finally:
        loader.dispose()


class PlainLoader(yaml.SafeLoader):
    """A SafeLoader that refuses, with the place, what a few lines of text can do much harm with.

    Aliases let a short file expand to gigabytes; of a key that stands twice, one would vanish without a word; a tag
    such as !!int asks for a value that the text may not have.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        if tag := getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(problem=f"tags are not allowed, found {tag:.60}", problem_mark=mark)
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


PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, _READ[tag] or pattern) for tag, pattern in found if tag in _READ]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
