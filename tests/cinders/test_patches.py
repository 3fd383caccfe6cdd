"""The patches for Cinder: each applies to its release, and decides what the simulator's what-if decides."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from properties.cases import asking, case_of, create, image

from cinders.conftest import unpacked
from sim.analysis.verification import difference
from sim.inputs.cinders import SUPPORTED, Cinder, cinders_of
from sim.inputs.scenario import Case, WhatIf
from sim.inputs.yamlfile import value_of
from sim.run import run

pytestmark = pytest.mark.skipif(version("cinder") != SUPPORTED[-1], reason="the patches are for the newest")

PATCHES = Path(__file__).parents[2] / "patches"
SLOW = {"streams": None, "stream_mib_s": 102.4}  # 10 s a GiB


def backend(**more: Any) -> dict[str, Any]:
    return {"volume_type": "flash", "pools": {"p0": {}}, **more}


def storm(count: int, image_id: str = "i0", host: str = "a#p0", **more: Any) -> list[dict[str, Any]]:
    return [create(0, f"{host}-{image_id}-{number}", image_id, host, **more) for number in range(count)]


def one_by_one(places: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [create(100.0 * n, f"v{n}", image_id, host) for n, (image_id, host) in enumerate(places)]


TWO_POOLS = backend(pools={"p0": {}, "p1": {}}, image_volume_cache_max_count=2)
TWO_TIERS = {"a": backend(), "b": backend(volume_type="disk")}
# Of each patch that a what-if has: backends, GiB of the images, and events. The what-if changes each of them.
CASES: dict[str, tuple[dict[str, Any], list[float], list[dict[str, Any]]]] = {
    "lock-per-pool": (TWO_TIERS, [1], [*storm(3), *storm(2, host="b#p0", volume_type="disk")]),
    "refused-without-lock": (
        {"a": backend(extend_s=3, image_volume_cache_max_size_gb=1)},
        [2, 1],
        [*storm(3), *storm(2, "i1")],
    ),
    "retry-clone-limit": (
        {"a": backend(max_clones_per_volume=2)},
        [1],
        one_by_one([("i0", "a#p0")] * 5),
    ),
    "fill-lock": (
        {"a": backend(clone_s=5, image_volume_cache_max_count=1)},
        [1, 1],
        [*storm(1), *storm(1, "i1")],
    ),
    "limits-per-backend": (
        {"a": TWO_POOLS},
        [1, 1],
        one_by_one([("i0", "a#p0"), ("i0", "a#p1"), ("i0", "a#p0"), ("i1", "a#p0"), ("i0", "a#p1")]),
    ),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(tmp_path_factory.mktemp("patched") / "cinder-29")


def git_apply(tree: Path, *options: str, name: str) -> None:
    (patch,) = (PATCHES / name).glob("0001-*.patch")
    done = subprocess.run(["git", "apply", *options, str(patch)], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def patched(tree: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The tree with one patch; its unchanged files keep what Python compiled of them."""
    git_apply(tree, "--check", name=request.param)
    git_apply(tree, name=request.param)
    yield tree
    git_apply(tree, "--reverse", name=request.param)


def decided(case: Case, tree: Path, name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run with the patched tree. Another name has another process, which has not loaded the last patch."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    (cinder,), problems = cinders_of(f"{tree}")
    assert not problems
    return run(case, "cache-only", cinder=replace(cinder, name=name))


@pytest.mark.parametrize(("patched", "name"), [(name, name) for name in CASES], indirect=["patched"])
def test_a_patch_decides_as_the_what_if(
    patched: Path, name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends, sizes, events = CASES[name]
    scenario = {"tiers": {"flash": {}, "disk": {}}, "backends": backends, "glance": SLOW}
    case = case_of(scenario, [image(f"i{number}", gib) for number, gib in enumerate(sizes)], events)
    asked = asking(case, WhatIf.model_validate({name.replace("-", "_"): True}))
    found = decided(case, patched, name, cache, monkeypatch)
    assert difference(found, run(asked, "cache-only")) is None
    assert difference(found, run(case, "cache-only")) is not None


@pytest.mark.parametrize("patched", ["volume-number-weigher"], indirect=True)
def test_the_mended_weigher_decides_as_the_one_here(
    patched: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator mends the weigher of the installed release; a Cinder with a name keeps its own."""
    backends = {"a": backend(pools={"p0": {"capacity_gib": 900}, "p1": {"capacity_gib": 300}})}
    rows = [create(100.0 * number, f"v{number}", "i0", "") for number in range(6)]
    chosen: dict[str, Any] = {}
    for weigher in ("VolumeNumberWeigher", "CapacityWeigher"):
        scenario = {"backends": backends, "cinder": {"scheduler_default_weighers": [weigher]}}
        chosen[weigher] = case_of(scenario, [image("i0")], rows)
    by_number = chosen["VolumeNumberWeigher"]
    found = decided(by_number, patched, "number", cache, monkeypatch)
    assert difference(found, run(by_number, "cache-only")) is None
    assert difference(found, run(chosen["CapacityWeigher"], "cache-only")) is not None
    released = run(by_number, "cache-only", cinder=Cinder(SUPPORTED[-1], SUPPORTED[-1])).requests
    assert (released["status"] == "error").all() and released["error"].str.startswith("IndexError").all()


def test_each_patch_has_a_release_note_and_a_test() -> None:
    for folder in (path for path in PATCHES.iterdir() if path.is_dir()):
        (patch,) = folder.glob("0001-*.patch")
        text = patch.read_text()
        notes = text.partition("+++ b/releasenotes/notes/")[2].partition("\n@@")[2].splitlines()[1:]
        note = value_of("\n".join(line[1:] for line in notes if line.startswith("+")))
        assert set(note) <= {"features", "fixes", "upgrade", "issues", "other"}
        assert "\n+    def test_" in text and "\nSubject: [PATCH] " in text
