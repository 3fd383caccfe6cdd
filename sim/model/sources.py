"""Hashes the source of a module and its imports: the key of results kept on disk."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from sim.inputs.beside import beside
from sim.model.kept import base

HAVE_DOCSTRINGS = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
MOST = 1_000  # files of which is kept what they say
Said = tuple[str, list[str]]  # a hash of a file's syntax tree, and all names that it may import


def digest_of(module: str, follow: str) -> str:
    """A hash of the syntax trees of a module and of its imports from its package, as hexadecimal digits.

    Modules below the package `follow` count with their own imports, and so on; other modules count without
    their imports. Docstrings, comments and line positions do not count.
    """
    digest = hashlib.sha256()
    for name, said in sorted(modules_of(module, follow).items()):
        digest.update(f"{name}\n{said}\n".encode())
    return digest.hexdigest()


def modules_of(module: str, follow: str) -> dict[str, str]:
    """The names of the modules that `digest_of` counts, with a hash of the syntax tree of each.

    To parse them takes longer than all else at a start: what a file says is kept by a hash of its bytes.
    """
    top = module.partition(".")[0]
    root = Path(next(iter(importlib.import_module(top).__path__))).parent
    kept = _kept()
    found, read = dict[str, str](), dict[str, Said]()
    todo, seen = [module], {module}
    while todo:
        name = todo.pop()
        path = _file(root, name)
        if path is None:
            continue
        code = path.read_bytes()
        key = hashlib.sha256(_READER + code).hexdigest()
        found[name], imported = read[key] = kept.get(key) or _said(code, path)
        if f"{name}.".startswith(f"{follow}."):
            new = {each for each in imported if each.partition(".")[0] == top} - seen
            todo += new
            seen |= new
    if not read.keys() <= kept.keys():
        _keep(read | kept)
    return found


def _file(root: Path, name: str) -> Path | None:
    place = root.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _said(code: bytes, path: Path) -> Said:
    tree = ast.parse(code, str(path))
    imported = sorted(set(_imported(tree)))
    for node in ast.walk(tree):
        if isinstance(node, HAVE_DOCSTRINGS) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imported


def _imported(tree: ast.Module) -> Iterator[str]:
    """All names that a file may import, at any place; a name imported from a module may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


# -- what is kept of files, by a hash of their bytes, of Python's version and of this file ---------------

_READER = f"{sys.version_info[:2]}".encode() + hashlib.sha256(Path(__file__).read_bytes()).digest()


def _place() -> Path:
    return base() / "sources.json"


def _kept() -> dict[str, Said]:
    try:
        found = json.loads(_place().read_text(encoding="utf-8"))
        return {key: (said, list(imported)) for key, (said, imported) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # not there, or not as it was written
        return {}


def _keep(files: dict[str, Said]) -> None:
    """Keep what files say, the first of them. What cannot be kept is read again by the next process."""
    with contextlib.suppress(OSError), beside(_place()) as (new,):
        new.write_text(json.dumps(dict(list(files.items())[:MOST])), encoding="utf-8")
