"""Hashes the source of a module and its imports: the key of results kept on disk."""

from __future__ import annotations

import ast
import hashlib
import importlib
from collections.abc import Iterator
from pathlib import Path

HAVE_DOCSTRINGS = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def digest_of(module: str, follow: str) -> str:
    """A hash of the syntax trees of a module and of its imports from its package, as hexadecimal digits.

    Modules below the package `follow` count with their own imports, and so on; other modules count without
    their imports. Docstrings, comments and line positions do not count.
    """
    digest = hashlib.sha256()
    for name, tree in sorted(modules_of(module, follow).items()):
        digest.update(f"{name}\n{_said(tree)}\n".encode())
    return digest.hexdigest()


def modules_of(module: str, follow: str) -> dict[str, ast.Module]:
    """The names and the syntax trees of the modules that `digest_of` counts."""
    top = module.partition(".")[0]
    root = Path(next(iter(importlib.import_module(top).__path__))).parent
    found: dict[str, ast.Module] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = None if name in found else _file(root, name)
        if path is not None:
            found[name] = ast.parse(path.read_bytes(), str(path))
            if f"{name}.".startswith(f"{follow}."):
                todo += [each for each in _imported(found[name]) if each.partition(".")[0] == top]
    return found


def _file(root: Path, name: str) -> Path | None:
    place = root.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _imported(tree: ast.Module) -> Iterator[str]:
    """All names that a file may import, at any place; a name imported from a module may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _said(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, HAVE_DOCSTRINGS) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree)
