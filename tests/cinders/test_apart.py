"""Releases and checkouts of Cinder that decide in environments of their own: these tests make them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

from cinders.conftest import unpacked
from sim.analysis.results import read
from sim.cinders.environments import identity, kept
from sim.inputs.cinders import SUPPORTED, cinders_of
from sim.model.kept import base
from sim.model.records import MAKES_PLACE

pytestmark = pytest.mark.skipif(version("cinder") != SUPPORTED[-1], reason="once is enough")

OLDEST, NEWEST = SUPPORTED[0], SUPPORTED[-1]
FULL = "scenarios/full_arrays.yaml"
CACHE = "cinder/image/cache.py"
LRU = "entry = entries.pop()"  # of `ensure_space`: the entry that was not used for longest
GENERATED = """
name: drawn
tiers: {t: {}}
backends: {b: {volume_type: t, pools: {p: {max_volumes: 30}}, write_mib_s: 100}}
images:
  - image_id: a
    name: a
    disk_format: qcow2
    container_format: bare
    size_bytes: 1000000000
    virtual_size_bytes: 2000000000
workload: {generate: {duration: 1d, creates_per_day: 100}}
strategies: [cache-only]
"""


def run(cache: Path, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "sim", *map(str, arguments)]
    compiled = str(base().parent)  # a new cache folder has no compiled code
    env = (
        os.environ
        | {"XDG_CACHE_HOME": str(cache), "NUMBA_CACHE_DIR": compiled, "PYTHONPATH": os.getcwd()}
        | more
    )
    return subprocess.run(command, capture_output=True, text=True, env=env)


@pytest.fixture(scope="module")
def compared(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the output of a comparison of three Cinders."""
    out = tmp_path_factory.mktemp("compared")
    asked = f"{OLDEST},{NEWEST},installed"
    done = run(cache, "compare", FULL, "--strategies", "cache-only", "--cinder", asked, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_the_newest_release_decides_as_the_installed_one(compared: tuple[Path, str]) -> None:
    out, text = compared
    apart, here = (read(out / f"cache-only@{name}") for name in (NEWEST, "installed"))
    for name in ("requests", "others", "cache_events", "cache", "pools", "space"):
        pd.testing.assert_frame_equal(apart[0][name], here[0][name], check_exact=True)
    assert apart[1]["cinder"] == {"name": NEWEST, "release": NEWEST, "checkout": None}
    assert f"cache-only, Cinder {NEWEST} -> installed: the same decisions" in " ".join(text.split())


def test_the_oldest_release_refuses_metadata_of_a_second_attempt(compared: tuple[Path, str]) -> None:
    """Launchpad bug 2012600's kin: until 25.0, a rescheduled download ends in GlanceMetadataExists."""
    out, text = compared
    old, new = (read(out / f"cache-only@{name}")[0] for name in (OLDEST, NEWEST))
    raised = [
        table["requests"]["error"].fillna("").str.contains("GlanceMetadataExists") for table in (old, new)
    ]
    assert raised[0].any() and not raised[1].any()
    assert (old["summary"][["strategy", "cinder"]] == ["cache-only", OLDEST]).all(axis=None)
    first = old["requests"].loc[raised[0] & ~raised[1], "volume_id"].iloc[0]
    assert f"first the create of {first}:" in text


def test_replications_run_with_each_cinder(cache: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "drawn.yaml"
    scenario.write_text(GENERATED)
    done = run(cache, "compare", scenario, "--cinder", f"{OLDEST},installed", "--replications", 2, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = [f"cache-only@{name}" for name in (OLDEST, "installed")]
    assert [f"{one['strategy']}@{one['cinder']['name']}" for one in found["runs"]] == rows
    assert {one["strategy"] for one in found["replications"]["measures"]} == set(rows)
    assert [(one["first"], one["second"]) for one in found["cinders"]] == [(OLDEST, "installed")]


def test_verify_compares_engine_fast_with_another_cinder(cache: Path) -> None:
    asked = ("verify", FULL, "--strategies", "cache-only", "--cinder", OLDEST)
    done = run(cache, *asked)
    assert done.returncode == 1
    assert f"Cinder {OLDEST} decides; engine fast repeats" in done.stderr
    assert "cache-only: differs" in done.stdout and "GlanceMetadataExists" in done.stdout


def test_a_sweep_runs_each_cell_with_each_cinder_and_goes_on_where_it_ended(
    cache: Path, compared: tuple[Path, str], checkout: Path, tmp_path: Path
) -> None:
    way = ("sweep", FULL, "--vary", "strategy=cache-only", "--out", tmp_path / "sweep")
    asked = (*way, "--vary", "cinder.scheduler_max_attempts=3", "--workers", 2)  # 3 is the default
    broken = patched(checkout, "entry = entries[bug]")
    done = run(cache, *asked, "--cinder", f"{OLDEST},{broken}")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("cell cache-only cinder=my-cinder, cinder.scheduler_max_attempts=3 failed: ")
    assert "NameError: name 'bug' is not defined" in last
    assert " at cinder/image/cache.py:" in last and "in the create of volume-" in last
    (kept_cell,) = (tmp_path / "sweep" / "cells").iterdir()
    written = kept_cell.stat().st_mtime_ns
    patched(checkout, LRU, "entry = entries[bug]")
    assert run(cache, *asked, "--cinder", f"{OLDEST},{checkout}").returncode == 0
    assert kept_cell.stat().st_mtime_ns == written  # not run a second time
    table = pd.read_csv(tmp_path / "sweep" / "sweep.csv").set_index(["cinder", "scope", "name"])
    for name, of in ((OLDEST, OLDEST), ("my-cinder", NEWEST)):
        expected = read(compared[0] / f"cache-only@{of}")[0]["summary"].set_index("tier")
        for tier in ("flash", "disk"):
            for column in ("creates", "clone_hit_rate", "create_s_p95", "errors"):
                assert table.loc[(name, "tier", tier), column] == expected.loc[tier, column]


def test_the_identity_of_a_checkout_is_its_code(tmp_path: Path) -> None:
    checkout = unpacked(tmp_path / "cinder")

    def identities() -> set[tuple[str, ...]]:
        (found,), _ = cinders_of(f"{checkout}")
        return {tuple(identity(found))}

    before = identities()
    (checkout / "cinder" / "tests" / "more.py").write_text("")
    assert identities() == before
    for name in ("cinder/more.py", "cinder/volume/manager.py", "setup.cfg"):
        with (checkout / name).open("a") as file:
            file.write("\n")
        before |= identities()
    assert len(before) == 4


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in a folder with a space."""
    return unpacked(tmp_path_factory.mktemp("checkout") / "my cinder")


@pytest.fixture
def checkout(tree: Path) -> Iterator[Path]:
    """The checkout, whose cache is as it was again after the test: what is compiled of the rest stays."""
    before = (tree / CACHE).read_text()
    yield tree
    (tree / CACHE).write_text(before)


def patched(checkout: Path, line: str, before: str = LRU) -> Path:
    """The checkout with another line in place of LRU, or of the line `before`."""
    cache_py = checkout / CACHE
    text = cache_py.read_text()
    assert text.count(before) == 1
    cache_py.write_text(text.replace(before, line))
    return checkout


def test_a_checkout_that_evicts_the_most_recently_used_parts_at_an_eviction(
    cache: Path, checkout: Path
) -> None:
    before = sorted(patched(checkout, "entry = entries.pop(0)").rglob("*"))
    asked = f"installed,{checkout}"
    done = run(cache, "run", FULL, "--strategy", "cache-only", "--cinder", asked, "--watch")
    assert done.returncode == 1, done.stderr
    watched, _, told = done.stdout.partition("cache-only, Cinder installed -> my-cinder:")
    assert "cache-only@installed: no invariant breaks." in watched
    broken = " ".join(watched.partition("these invariants break:")[2].split())
    assert broken.startswith("- I3, victims are the least recently used entries")
    creates = re.findall(r"in the create of (\S+):", broken)
    assert creates and set(creates) == set(re.findall(r"first the create of (\S+):", told))
    starred = [line for line in told.splitlines() if line.startswith("* ")]
    assert starred[0].count(" evict") == 2
    assert sorted(checkout.rglob("*")) == before


def test_what_a_patch_raises_is_told_with_its_place_and_create(cache: Path, checkout: Path) -> None:
    where = patched(checkout, "entry = entries[bug]") / "cinder" / "image" / "cache.py"
    number = 1 + where.read_text().splitlines().index("            entry = entries[bug]")
    done = run(cache, "run", FULL, "--strategy", "cache-only", "--cinder", checkout, "-v")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"NameError: name 'bug' is not defined at cinder/image/cache.py:{number} (ensure_space)" in last
    assert ", from cinder/volume/manager.py:" in last and "(_create_image_cache_volume_entry)" in last
    assert "in the create of volume-" in last
    assert f'File "{where}", line {number}, in ensure_space' in done.stderr  # with -v: the patch's traceback


def test_a_checkout_that_cannot_be_imported_is_told(cache: Path, checkout: Path) -> None:
    patched(checkout, "entry = (")
    done = run(cache, "run", FULL, "--strategy", "none", "--cinder", checkout)
    assert done.returncode == 1
    assert "strategy none failed: SyntaxError" in done.stderr and "Traceback" not in done.stderr


def test_without_an_index_the_message_says_what_is_missing(tmp_path: Path) -> None:
    alone = {"UV_OFFLINE": "1", "UV_NO_CACHE": "1", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    done = run(tmp_path, "run", FULL, "--strategy", "none", "--cinder", "26", **alone)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "Cinder 26.3.0 could not be installed. Its first use needs a package index" in last
    assert list(tmp_path.rglob("26.3.0-*")) == []


def test_a_cache_folder_that_cannot_be_made_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(tmp_path / "file", "compare", FULL, "--cinder", "26", "--out", tmp_path / "out")
    assert done.returncode == 1
    (told,) = (line for line in done.stderr.splitlines() if "could not be installed" in line)
    assert told.startswith("strategy none failed: Cinder 26.3.0 could not be installed into")
    assert "Not a directory" in told


def test_kept_environments_are_listed_and_removed(
    cache: Path, compared: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = (cache / "cinder-cache-planner" / "cinders").glob("[0-9]*")
    for folder in (each for each in made if each.name.startswith((OLDEST, NEWEST))):
        (tmp_path / "cinder-cache-planner" / "cinders" / folder.name / "bin").mkdir(parents=True)
    assert [one.release for one in kept()] == [OLDEST, NEWEST]
    gone = run(tmp_path, "cinders", "--remove", f"{OLDEST},27,x")
    assert gone.returncode == 2 and "no environment is kept for 27.0.0" in gone.stderr
    assert run(tmp_path, "cinders", "--remove", OLDEST).returncode == 0
    listed = json.loads(run(tmp_path, "cinders", "--json").stdout)
    assert [one["release"] for one in listed["cinders"]] == [NEWEST]
    assert run(tmp_path, "cinders", "--remove", "all").stdout.startswith("no environment is kept")


def test_what_ifs_run_with_the_oldest_release(cache: Path, tmp_path: Path) -> None:
    """Until 26, the cache's method that deletes an image-volume has another name."""
    scenario = tmp_path / "drawn.yaml"
    scenario.write_text(GENERATED + "what_if: {evict_for_users: true}\n")
    asked = ("run", scenario, "--strategy", "cache-only", "--cinder", OLDEST, "--out", tmp_path / "out")
    assert run(cache, *asked).returncode == 0
    (tables, _) = read(tmp_path / "out" / "cache-only")
    assert (tables["cache_events"]["reason"] == MAKES_PLACE).any()
