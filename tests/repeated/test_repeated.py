"""What is repeated of Cinder is as it was read; a change is told; nothing that decides is left out."""

from __future__ import annotations

import ast
import csv
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import greenlet
import pytest
from packaging.version import Version

import sim.fast
from sim.cinder import engine
from sim.cinder.release import REPEATED
from sim.inputs.cinders import SUPPORTED
from sim.run import not_compiled
from tests.whole.registry import richest
from tests.whole.scenarios import CASES

from . import trees

CACHE = "cinder/image/cache.py"
RELEASE = version("cinder")


def test_installed_cinder_is_as_it_was_read(tmp_path: Path) -> None:
    root = trees.installed()
    found = list(trees.changes(root, RELEASE))
    if found:
        pytest.fail(trees.told(found, root, lambda release: trees.unpacked(release, tmp_path)), pytrace=False)


def test_the_table_is_of_what_is_marked() -> None:
    """`make map` makes it anew; a name that the newest release has not is a mistake."""
    table = trees.read()
    assert list(table) == list(trees.repeated())
    assert [name for name, of in table.items() if not trees.last(of, SUPPORTED[-1])[1]] == []
    assert {release for of in table.values() for release in of} <= set(SUPPORTED)


# -- what is told of a change --------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Another Cinder, of which only the cache's file is there."""
    (tmp_path / CACHE).parent.mkdir(parents=True)
    shutil.copy(trees.installed() / CACHE, tmp_path / CACHE)
    return tmp_path


def edited(root: Path, before: str, after: str) -> list[trees.Change]:
    text = (root / CACHE).read_text()
    assert text.count(before) == 1
    (root / CACHE).write_text(text.replace(before, after))
    return [each for each in trees.changes(root, RELEASE) if each.function.startswith("cinder.image.cache:")]


def test_a_change_is_told_with_what_to_read_again(copy: Path) -> None:
    found = edited(copy, "entry = entries.pop()", "entry = entries.pop(0)")
    text = trees.told(found, copy, lambda release: trees.installed())
    head, *lines = text.splitlines()
    name = "cinder.image.cache:ImageVolumeCache.ensure_space"
    assert head.startswith(f"{name} is not as it was in {RELEASE}; read again: ")
    ours = ["sim.fast.cache.ensure_space", "sim.fast.cache.victim", "sim.fast.stack._tally"]
    assert set(ours) <= set(head.partition("read again: ")[2].split(", "))
    assert [line.split() for line in lines if line[0] in "+-"] == [
        ["-", "entry", "=", "entries.pop()"],
        ["+", "entry", "=", "entries.pop(0)"],
    ]


def test_what_is_gone_is_told(copy: Path) -> None:
    (found,) = edited(copy, "def ensure_space(", "def make_space(")
    assert str(found).startswith(f"cinder.image.cache:ImageVolumeCache.ensure_space is gone since {RELEASE}")


def test_comments_and_docstrings_are_no_change(copy: Path) -> None:
    before = "This assumes that the volume described by volume_ref has already been"
    assert edited(copy, before, "Something else.") == []
    assert edited(copy, "    def ensure_space(", "    # A comment.\n\n    def ensure_space(") == []


# -- nothing is left out ---------------------------------------------------------------------------------


@contextmanager
def entered(codes: set[CodeType]) -> Iterator[None]:
    """Collects the code that runs, in whatever greenlet."""

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    def switched(*_: Any) -> None:
        sys.setprofile(profile)

    before = greenlet.settrace(switched)
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)
        greenlet.settrace(before)


def functions_of_cinder(codes: set[CodeType]) -> set[str]:
    """The functions behind code, `module:name`: what is inside of a function counts as that function."""
    root, found = trees.installed(), set()
    for code in codes:
        path = Path(code.co_filename)
        name = code.co_qualname.partition(".<locals>")[0]
        if code.co_flags & CO_OPTIMIZED and not name.startswith("<") and path.is_relative_to(root / "cinder"):
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            found.add(f"{module.removesuffix('.__init__')}:{name}")
    return found


@pytest.mark.skipif(SUPPORTED[-1] != RELEASE, reason="the table has names of the newest release")
@pytest.mark.filterwarnings("ignore")
def test_whatever_runs_is_repeated_or_decides_nothing(tmp_path: Path) -> None:
    """The named cases that `fast` can run, on engine `cinder`: each function of Cinder that runs is known."""
    codes: set[CodeType] = set()
    for name, make in CASES.items():
        case = make(tmp_path)
        if not_compiled(case.scenario):
            continue
        with entered(codes):
            engine.run(case, richest(name))
    ran, known = functions_of_cinder(codes), set(trees.repeated())
    with trees.UNDECIDED.open(encoding="utf-8", newline="") as opened:
        undecided = {row["function"]: row["why"] for row in csv.DictReader(opened)}
    assert sorted(ran - known - set(undecided)) == [], "mark what repeats it, or say why it decides nothing"
    assert sorted(set(undecided) - ran) == [], "decides nothing, and does not run"
    assert sorted(set(undecided) & known) == [] and all(undecided.values())


def test_functions_that_name_cinders_in_their_docstrings_are_marked() -> None:
    """A docstring of engine `fast` that names a function of Cinder says what the function repeats."""
    repeated = trees.repeated()
    marked = {ours for names in repeated.values() for ours in names}
    names = {name.rpartition(":")[2].rpartition(".")[2] for name in repeated} - {"__init__", "match"}
    unmarked = []
    for path in sorted(Path(sim.fast.__path__[0]).glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and f"sim.fast.{path.stem}.{node.name}" not in marked:
                told = re.findall(r"`[\w.]*?(\w+)`", ast.get_docstring(node) or "")
                unmarked += [f"{path.stem}.{node.name}: {name}" for name in told if name in names]
    assert unmarked == []


def test_whatever_is_repeated_is_there_since_the_oldest_release_that_is() -> None:
    """`caution` warns of the releases before that."""
    lacking = {
        release: [name for name, of in trees.read().items() if not trees.last(of, release)[1]]
        for release in SUPPORTED
    }
    assert [release for release, names in lacking.items() if names] == [
        release for release in SUPPORTED if Version(release).major < REPEATED
    ]
