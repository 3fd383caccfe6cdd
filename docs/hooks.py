"""Hooks for mkdocs: they copy parts of the code into the pages, and turn links into the repository into
pages.

A link alone on its line is replaced by its title: `keys CLASS` by the keys of a pydantic model and of the
models below it, `code NAME` by the source of an object, `file PATH` by a file, `table PATH` by a CSV file as
a table, `commands` by the help of all commands, `repeated` by what is repeated of Cinder. Where Markdown is
not built, the link leads to the file. The README is the first page.
"""

from __future__ import annotations

import csv
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from textwrap import dedent, indent
from typing import Any, get_args

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel

ROOT = Path(__file__).parent.parent
MADE = re.compile(r'^( *)\[.*\]\(\S+ "(keys|code|file|table|commands|repeated) ?(\S*)"\)$', re.M)
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)(?=[)#])")
PATH = re.compile(r"`((?:sim|tests|scenarios|notebooks|docs|lab)/[\w./*-]*)`")
EXAMPLE = re.compile(r"^(Example.*:)\n((?: +\S.*\n)+)", re.M)
COPIED = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "invariants.md": "tests/properties/INVARIANTS.md",
}
# From the words of JSON Schema to those of the page.
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
PLAIN = str.maketrans({sign: f"\\{sign}" for sign in "[|*"})  # signs of Markdown in the cells of a table
TYPES = {
    "boolean": "`true` or `false`",
    "date-time": "ISO 8601",
    "duration": "`30d`, `12h` or `90s`",
    "integer": "whole number",
    "null": "null",
    "number": "number",
    "string": "text",
}
UNITS = {
    "_mib_s": "MiB/s",
    "_s": "s",
    "_gib": "GiB",
    "_gb": "GiB",
    "_gigabytes": "GiB",
    "_bytes": "bytes",
    "_month": "a month",
    "_per_day": "a day",
    "_percentage": "%",
    "_interval": "s",
}
PAGES = {source: page for page, source in COPIED.items()}
log = logging.getLogger("mkdocs.hooks")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages whose text is elsewhere in the repository."""
    for page, source in COPIED.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Insert the parts taken from the code, and turn links of the repository into links of the site."""
    here = ROOT / COPIED.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    for path in PATH.findall(markdown):
        if not any(ROOT.glob(path)):
            log.warning("%s names %s, which is not there", here.relative_to(ROOT), path)

    def linked(match: re.Match[str]) -> str:
        target = (here.parent / match[1]).resolve()
        if not target.is_file() or not target.is_relative_to(ROOT):
            log.warning("%s links to %s, which is no file", here.relative_to(ROOT), match[1])
            return match[1]
        path = str(target.relative_to(ROOT))
        if path in PAGES:
            return PAGES[path]
        if path.startswith("docs/"):
            return path.removeprefix("docs/")
        if f"files/{path}" not in files.src_uris:
            files.append(File.generated(config, f"files/{path}", content=target.read_bytes()))
        return f"files/{path}"

    makers = {
        "keys": keys, "code": code, "file": file, "table": table, "commands": commands, "repeated": repeated
    }  # fmt: skip
    markdown = LINK.sub(linked, markdown)
    return MADE.sub(lambda match: indent(makers[match[2]](match[3]), match[1]), markdown)


@cache
def source() -> Any:
    """The package, read by griffe."""
    return griffe.load("sim", search_paths=[str(ROOT)])


def code(name: str) -> str:
    """The source of an object, such as `sim.inputs.strategies.STRATEGIES`."""
    found = source()[name.removeprefix("sim.")]
    return f'```python title="{found.relative_filepath}"\n{dedent(found.source)}\n```'


def file(path: str) -> str:
    """A file of the repository."""
    return f'```{Path(path).suffix[1:]} title="{path}"\n{(ROOT / path).read_text()}```'


def table(path: str) -> str:
    """A CSV file of the repository as a table."""
    with (ROOT / path).open(encoding="utf-8", newline="") as opened:
        head, *rows = ([each.translate(PLAIN) for each in row] for row in csv.reader(opened))
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def commands(_: str) -> str:
    """The help of all commands, as typer writes it."""
    command = [sys.executable, "-m", "typer", "sim.cli.commands", "utils", "docs", "--name", "cinder-cache"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    text = text[text.index("\n## ") :]  # without the list of commands, where typer cuts the texts
    text = text.replace("\b\n", "")  # it keeps click from filling a paragraph
    return EXAMPLE.sub(lambda match: f"{match[1]}\n\n```console\n{dedent(match[2])}```\n", text)


def repeated(_: str) -> str:
    """What is repeated of Cinder, and by which functions."""
    command = [sys.executable, "-m", "tests.repeated.trees", "page"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def keys(name: str) -> str:
    """A table of keys for a model, such as `sim.inputs.scenario.Scenario`, and for each below it."""
    module, _, model = name.rpartition(".")
    return "\n".join(_tables(getattr(import_module(module), model), ""))


def _tables(model: type[BaseModel], path: str) -> Iterator[str]:
    """A model's keys at a path of the file, then those of the models in them."""
    found = source()[f"{model.__module__}.{model.__name__}".removeprefix("sim.")]
    if path:
        yield f"\n### `{path}` {{ #{_anchor(path)} }}\n\n{found.docstring.value}"
    yield "\n| key | value | default | meaning |\n|---|---|---|---|"
    deeper = []
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        key = field.alias or name
        of = schema["properties"][key]
        below = [f"{path}.{key}".strip(".") + (".NAME" if "additionalProperties" in of else "")]
        below *= "$ref" in json.dumps(of) and "oneOf" not in json.dumps(of)
        deeper += [(child, place) for place in below for child in _models(field.annotation)]
        shown = _default(of) if not (below and "default" in of) else ""
        kind = f"[keys](#{_anchor(below[0])})" if below else _kind(of, _unit(key))
        if found[name].docstring is None:
            log.warning("%s.%s has no docstring: what does it mean?", model.__name__, name)
        meaning = " ".join(found[name].docstring.value.split()) if found[name].docstring else ""
        yield f"| `{key}` | {kind} | {shown} | {meaning} |"
    for child, place in deeper:
        yield from _tables(child, place)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in the type of a field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _anchor(path: str) -> str:
    return path.lower().replace(".", "-")


def _unit(key: str) -> str:
    return next((f" ({unit})" for end, unit in UNITS.items() if key.endswith(end)), "")


def _kind(of: dict[str, Any], unit: str = "") -> str:
    """The allowed values, in words."""
    for either in ("anyOf", "oneOf"):
        if either in of:
            return " or ".join(_kind(one, unit) for one in of[either])
    if "enum" in of:
        return ", ".join(f"`{one}`" for one in of["enum"])
    if of.get("type") == "array":
        many = f"{of['minItems']} " if "minItems" in of else ""
        return f"list of {many}{_kind(of['items'])}"
    if of.get("type") == "object":
        return f"{_kind(of['additionalProperties'])} by name"
    text = TYPES.get(of.get("format", ""), TYPES.get(of.get("type", ""), "keys"))
    if text in (TYPES["duration"], TYPES["null"]):
        return text
    text += unit
    limits = (f"{sign}&nbsp;{of[limit]:,.10g}" for limit, sign in LIMITS.items() if limit in of)
    return ", ".join((text, *limits))


def _default(of: dict[str, Any]) -> str:
    if "default" not in of:
        return "*needed*"
    if "duration" in json.dumps(of) and of["default"] is not None:
        return f"`{of['default'] / 86_400:g}d`"
    return f"`{json.dumps(of['default'], ensure_ascii=False)}`"
