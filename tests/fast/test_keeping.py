"""Compiled code on disk: what makes it outdated, what is removed, and what happens to damaged files."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import pytest

import sim
from sim.fast import engine, keeping, kernel
from sim.model import kept
from sim.model.sources import modules_of

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")

KERNEL = '''"""A module with an entry."""
import numba
from faked.rules import LIMIT, twice
from faked.unrelated import words
from sim.fast.keeping import keep

@numba.njit
def entry(x):
    """What it gives."""
    return min(twice(x), LIMIT)

keep(entry)
'''
RULES = "import numba\nLIMIT = 100\n\n@numba.njit\ndef twice(x):\n    return 2 * x\n"
UNRELATED = "words = 'not of the folder that is followed'\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / kept.NAME


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with an entry, a function that the entry calls, and another module."""
    folder = tmp_path / "faked"
    folder.mkdir()
    for name, text in (("__init__", ""), ("kernel", KERNEL), ("rules", RULES), ("unrelated", UNRELATED)):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files change within one tick of their times
    _forget()  # the place of the cache, if another test has asked for it
    yield folder
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "faked"]:
        del sys.modules[name]
    for cached in (keeping.folder_of, kept.base):
        cached.cache_clear()
    importlib.invalidate_caches()


def run() -> tuple[int, bool]:
    """What a process that starts now gets of entry(7), and whether it compiles."""
    _forget()
    entry: Any = importlib.import_module("faked.kernel").entry
    return entry(7), not entry.stats.cache_hits


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_docstrings_comments_and_lines_compile_nothing(cache: Path, package: Path) -> None:
    assert run() == (14, True)
    assert run() == (14, False)
    edit(package / "kernel.py", '"""What it gives."""', '"""Other words,\n    on two lines."""  # and why')
    edit(package / "rules.py", "    return", '    """A new docstring."""\n    return')
    assert run() == (14, False)
    edit(package / "kernel.py", '    """Other words,\n    on two lines."""  # and why\n', "")
    assert run() == (14, False)


def test_kept_code_leaves_the_compiler_asleep() -> None:
    """All entries that these call, in processes of their own: the first may have to compile some."""
    code = """if True:
        import sim
        from numba.core.runtime import rtsys
        case = sim.load("scenarios/smallest.yaml")
        print(sim.run(case, "combined", "fast").requests.to_csv())
        print(sim.curve(case, engine="fast").curve.to_csv())
        print(f"awake: {rtsys._init}")
    """
    command = [sys.executable, "-c", code]
    told = [subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout for _ in range(2)]
    (results, _), (again, awake) = (each.split("awake: ") for each in told)
    assert (again, awake) == (results, "False\n")


def test_what_is_kept_is_known_before_it_is_loaded(cache: Path, package: Path) -> None:
    entry: Any = importlib.import_module("faked.kernel").entry
    assert not keeping.is_kept(entry)
    entry(7)
    assert keeping.is_kept(entry)


def test_what_is_compiled_before_workers_begin_is_what_a_run_calls() -> None:
    sim.run(sim.load("scenarios/smallest.yaml"), "combined", "fast")
    engine.compiled()
    assert {entry for entry, _ in engine.ENTRIES} == {kernel.advance, kernel.put_all}
    for entry, signature in engine.ENTRIES:
        assert entry.signatures == [signature]


def test_code_and_constants_of_called_modules_compile_again(cache: Path, package: Path) -> None:
    run()
    edit(package / "rules.py", "2 * x", "3 * x")
    assert run() == (21, True)
    edit(package / "rules.py", "LIMIT = 100", "LIMIT = 10")
    assert run() == (10, True)


def test_three_versions_are_kept_and_the_one_used_longest_ago_goes(cache: Path, package: Path) -> None:
    for _ in range(3):
        edit(package / "rules.py", "return", "return 1 *")
        assert run() == (14, True)
        times = sorted(cache.glob("kernel-*"), key=lambda path: path.stat().st_mtime)
        for age, folder in enumerate(reversed(times)):
            os.utime(folder, (1e9 - age, 1e9 - age))
    before = {path.name for path in cache.glob("kernel-*")}
    assert len(before) == 3
    oldest = min(cache.glob("kernel-*"), key=lambda path: path.stat().st_mtime)
    edit(package / "rules.py", "return", "return 1 *")
    assert run() == (14, True)
    left = {path.name for path in cache.glob("kernel-*")}
    assert len(left) == 3
    assert before - left == {oldest.name}


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda raw: b"", id="empty"),
        pytest.param(lambda raw: raw[: len(raw) // 2], id="truncated"),
        pytest.param(lambda raw: bytes(range(256)) * 4, id="garbage"),
        pytest.param(lambda raw: raw[:-40] + bytes(byte ^ 1 for byte in raw[-40:]), id="flipped bits"),
    ],
)
def test_damaged_files_are_made_again(
    suffix: str, damage: Callable[[bytes], bytes], cache: Path, package: Path
) -> None:
    run()
    (file,) = cache.glob(f"*/*.{suffix}")
    file.write_bytes(damage(file.read_bytes()))
    assert run() == (14, True)
    assert run() == (14, False)


def test_a_cache_that_cannot_be_written_is_a_temporary_folder(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run() == (14, True)
    folder = tmp_path / f"{kept.NAME}-{os.getuid()}"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert str(folder) in lines[0]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert run() == (14, False)
    assert not list(package.rglob("*.nb?"))
    folder.chmod(0o777)  # anybody could put code there
    assert run() == (14, True)


def test_only_modules_that_are_compiled_count_for_engine_fast() -> None:
    counted = set(modules_of("sim.fast.kernel", "sim.fast"))
    assert {"sim.fast.kernel", "sim.fast.create", "sim.fast.state", "sim.model.lottery"} <= counted
    assert not counted & {"sim.fast.build", "sim.fast.engine", "sim.fast.errors", "sim.inputs.scenario"}


def test_a_file_is_parsed_once(cache: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr("sim.model.sources._said", None)  # cannot be called
    assert run() == (14, False)


@pytest.mark.parametrize("damage", ["", "[1]", '{"a": 1}', "null"])
def test_what_files_say_is_read_again_if_it_is_damaged(damage: str, cache: Path, package: Path) -> None:
    run()
    kept_files = cache / "sources.json"
    whole = kept_files.read_text()
    kept_files.write_text(damage)
    assert run() == (14, False)
    assert kept_files.read_text() == whole
