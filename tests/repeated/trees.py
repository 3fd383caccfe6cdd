"""What Cinder's functions are in each supported release: hashes of their syntax trees, kept in trees.csv.

`make map` makes the table anew from the text of the releases, which pip downloads, and prints what changed
between them; nothing of Cinder is imported for that. `page` as the argument prints the tables of the page.

A row of the table is a function and the first release from which on its tree is this one ('': it is not
there); releases are in the order of their numbers.
"""

from __future__ import annotations

import ast
import csv
import difflib
import hashlib
import importlib
import importlib.util
import os
import pkgutil
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.version import Version

import sim.cinder
import sim.fast
from sim.cinder.release import places
from sim.inputs.cinders import SUPPORTED
from sim.model.repeats import REPEATS

TABLE = Path(__file__).with_name("trees.csv")
UNDECIDED = Path(__file__).with_name("undecided.csv")
HEAD = ("function", "release", "tree")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

Trees = dict[str, dict[str, str]]  # by function: the tree, by the release from which on it is this one


def repeated() -> dict[str, list[str]]:
    """Our functions by the function of Cinder that they repeat."""
    for package in (sim.fast, sim.cinder):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found = defaultdict(list)
    for ours, theirs in REPEATS.items():
        for function in theirs:
            found[function].append(ours)
    return dict(sorted(found.items()))


def installed() -> Path:
    """The folder in which the installed Cinder is."""
    spec = importlib.util.find_spec("cinder")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parents[1]


def definition(root: Path, function: str) -> ast.AST | None:
    """The definition of a function (or class), `module:name`, in the release below a folder."""
    module, _, name = function.partition(":")
    for place in places(module):
        found: ast.AST | None = _module(root / Path(*place.split(".")))
        for part in name.split("."):
            inside = [] if found is None else list(ast.iter_child_nodes(found))
            named = [each for each in inside if getattr(each, "name", None) == part]
            found = named[-1] if named and isinstance(named[-1], DEFINITIONS) else None
        if found is not None:
            return found
    return None


@cache
def _module(path: Path) -> ast.Module | None:
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            module = ast.parse(file.read_bytes())
            for node in ast.walk(module):
                if isinstance(node, DEFINITIONS) and ast.get_docstring(node, clean=False) is not None:
                    node.body = node.body[1:] or [ast.Pass()]
            return module
    return None


def tree(root: Path, function: str) -> str:
    """The hash of a function's syntax tree, decorators included and docstrings left out; '': not there."""
    node = definition(root, function)
    return "" if node is None else hashlib.sha256(repr(_spelled(node)).encode()).hexdigest()[:12]


def _spelled(node: object) -> object:
    """A tree without places and without what is empty, which not every Python has: `type_params`."""
    if isinstance(node, ast.AST):
        fields = [(name, _spelled(value)) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return type(node).__name__, fields
    return [_spelled(each) for each in node] if isinstance(node, list) else node


# -- the table ---------------------------------------------------------------------------------------


def read() -> Trees:
    """The table as it is kept."""
    found: Trees = defaultdict(dict)
    with TABLE.open(encoding="utf-8", newline="") as opened:
        for row in csv.DictReader(opened):
            found[row["function"]][row["release"]] = row["tree"]
    return dict(found)


def last(of: dict[str, str], release: str) -> tuple[str, str]:
    """The release from which on a function is as it is in `release`, and its tree."""
    before = [each for each in of if Version(each) <= Version(release)]
    newest = max(before or of, key=Version)
    return newest, of[newest]


def made(roots: dict[str, Path]) -> Trees:
    """The table of what is marked, from the folders of the releases."""
    found: Trees = {}
    for function in repeated():
        found[function] = of = {}
        for release, root in roots.items():
            now = tree(root, function)
            if not of or list(of.values())[-1] != now:
                of[release] = now
    return found


def write(trees: Trees) -> None:
    """Keep a table: beside the old one, then in its place."""
    beside = TABLE.with_suffix(".new")
    with beside.open("w", encoding="utf-8", newline="") as opened:
        rows = csv.writer(opened, lineterminator="\n")
        rows.writerow(HEAD)
        rows.writerows((name, release, of) for name, by in trees.items() for release, of in by.items())
    os.replace(beside, TABLE)


# -- what changed ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A function that is not as the table says, the release that it was last read in, what to read again."""

    function: str
    release: str
    ours: list[str]
    there: bool

    def __str__(self) -> str:
        how = "is not as it was in" if self.there else "is gone since"
        return f"{self.function} {how} {self.release}; read again: {', '.join(self.ours)}"


def changes(root: Path, release: str) -> Iterator[Change]:
    """What the Cinder below a folder, said to be a release, has otherwise than the table."""
    trees = read()
    for function, ours in repeated().items():
        now = tree(root, function)
        if now != last(trees[function], release)[1]:
            known = max((each for each in SUPPORTED if Version(each) <= Version(release)), key=Version)
            yield Change(function, known, ours, bool(now))


def difference(function: str, before: Path, after: Path) -> str:
    """What changed in a function between two folders, line by line, without comments and docstrings."""
    texts = []
    for root in (before, after):
        node = definition(root, function)
        texts.append([] if node is None else ast.unparse(node).splitlines())
    return "\n".join(list(difflib.unified_diff(*texts, "before", "now", lineterm=""))[2:])


def told(found: list[Change], root: Path, folder_of: Callable[[str], Path]) -> str:
    """The changes as text; `folder_of` gives the folder of a release, or fails as pip does."""
    parts = []
    for change in found:
        try:
            what = difference(change.function, folder_of(change.release), root)
        except subprocess.CalledProcessError:
            what = f"(pip does not get cinder {change.release}, so that what changed cannot be shown)"
        parts.append(f"{change}\n{what}")
    return "\n\n".join(parts)


def unpacked(release: str, folder: Path) -> Path:
    """A release, downloaded by pip into a folder; where it is there."""
    where = folder / release
    if not where.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        wanted = ["--no-deps", "--only-binary=:all:", f"--dest={folder}", f"cinder=={release}"]
        subprocess.run([*pip, *wanted], check=True)
        with zipfile.ZipFile(next(folder.glob(f"cinder-{release}-*.whl"))) as wheel:
            wheel.extractall(where)
    return where


def main() -> None:
    """Make the table anew, and print what is new in it."""
    old = read() if TABLE.exists() else {}
    with TemporaryDirectory() as temporary:
        roots = {release: unpacked(release, Path(temporary)) for release in SUPPORTED}
        trees = made(roots)
        for function, of in trees.items():
            for before, after in zip(list(of), list(of)[1:], strict=False):
                if function in old and old[function].get(after) != of[after]:
                    shown = SUPPORTED[SUPPORTED.index(after) - 1]
                    print(f"{function} changed between {shown} and {after} (the tree of {before} on)")
                    print(difference(function, roots[shown], roots[after]), end="\n\n")
    write(trees)
    changed = sum(len(of) > 1 for of in trees.values())
    print(f"{TABLE.name}: {len(trees)} functions of Cinder, {changed} of which changed since {SUPPORTED[0]}")


# -- the page ----------------------------------------------------------------------------------------


def page() -> str:
    """What is repeated, by file of Cinder, as Markdown."""
    trees, lines, here = read(), [], ""
    for function, ours in repeated().items():
        module, _, name = function.partition(":")
        if module != here:
            here = module
            lines += ["", f"### `{module}`", "", "| in Cinder | changed in | repeated by |", "|---|---|---|"]
        later = list(trees[function].items())[1:]
        changed = ", ".join(f"{release}{'' if of else ' (gone)'}" for release, of in later) or "never"
        names = "<br>".join(f"`{each.removeprefix('sim.')}`" for each in sorted(ours))
        lines.append(f"| `{name}` | {changed} | {names} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page()) if sys.argv[1:] == ["page"] else main()
