"""YAML as scenarios, `--vary` and `--list` use it: no tags, no surprises in values, no alias bombs."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from sim.inputs.problems import Problems, quoted
from sim.inputs.textfile import read_bytes

# A scenario is five levels deep, and ten thousand backends have fewer nodes.
MAX_DEPTH = 30
MAX_NODES = 1_000_000
CHARACTERS = 1000  # of a text that count as a node


def read_yaml(path: Path, problems: Problems) -> dict[Hashable, Any] | None:
    """The mapping in a YAML file; None, with the problem noted, if there is none.

    Values are those of YAML 1.2: `1e3` is a number, `010`, `1:30`, `1_000` and `yes` are text. A key given
    twice is a problem, and the last one counts. Aliases may repeat content, up to a million nodes in all.
    """
    data = read_bytes(path, problems)
    if data is None:
        return None
    try:
        loader = _Loader(data.decode())
        content = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}" if mark else ""
        problems.add(path, where, error.problem or error.context or "is not YAML")
        return None
    except (yaml.YAMLError, ValueError) as error:
        problems.add(path, "", f"is not YAML: {str(error).splitlines()[0]}")
        return None
    for line, key in loader.repeated:
        problems.add(path, f"line {line}", f"key {quoted(key)} is given twice", "key given twice")
    if content is None:
        problems.add(path, "", "is empty")
    elif not isinstance(content, dict):
        problems.add(path, "", "is not a mapping of keys to values")
    return content if isinstance(content, dict) else None


def value_of(text: str) -> Any:
    """The value that a text has in a scenario. Raises ValueError if it has none."""
    try:
        loader = _Loader(text)
        value = loader.get_single_data()
    except yaml.YAMLError as error:
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"is not YAML: {what}") from None
    if loader.repeated:
        raise ValueError(f"key {quoted(loader.repeated[0][1])} is given twice")
    return value


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.repeated: list[tuple[int, object]] = []
        self.depth = 0
        self.nodes = 0
        self.sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Count depth and nodes; an alias counts with the size of its content."""
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise _refused("tags are not allowed", event)
        before = self.nodes
        self.nodes += 1 + len(getattr(event, "value", "")) // CHARACTERS
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _refused("too deeply nested", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self.sizes:
                raise _refused("an alias inside what it repeats", event)
            self.nodes += self.sizes[id(node)]
        else:
            self.sizes[id(node)] = self.nodes - before
        if self.nodes > MAX_NODES:
            raise _refused(f"more than {MAX_NODES} nodes, aliases counted", event)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Note keys that are given twice; those of a merge (`<<`) may be given again."""
        keys = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                value = self.construct_object(key)
                if value in keys:
                    self.repeated.append((key.start_mark.line + 1, value))
                keys.add(value)
        return super().construct_mapping(node, deep)


def _refused(what: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    mark = event.start_mark
    return yaml.MarkedYAMLError(problem=what, problem_mark=mark)  # type: ignore[arg-type]


def _resolvers() -> dict[str | None, list[tuple[str, re.Pattern[str]]]]:
    """PyYAML's rules for nothing (`null`) and merges (`<<`); numbers and booleans as YAML 1.2 has them."""
    tag = "tag:yaml.org,2002:"
    rules = {
        first: [rule for rule in known if rule[0] in (tag + "null", tag + "merge")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    number = re.compile(
        r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"
        r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
    )
    whole = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})$")
    for first in "+-.0123456789":
        rules.setdefault(first, []).extend([(tag + "int", whole), (tag + "float", number)])
    for first in "tTfF":
        rules.setdefault(first, []).append((tag + "bool", re.compile("(true|True|TRUE|false|False|FALSE)$")))
    return rules


_Loader.yaml_implicit_resolvers = _resolvers()
