"""Each known difference of two Cinders is shown by a run, and lies where the repeated function changed."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from sim.analysis.known import known_between, table
from sim.inputs.cinders import SUPPORTED, Cinder, cinders_of, numbers
from sim.run import run
from sim.workload.loading import load
from tests.repeated import trees

RAW = {"image_id": "raw", "disk_format": "raw", "size_bytes": 2**30, "virtual_size_bytes": 2**30}
QCOW2 = {"image_id": "qcow2", "disk_format": "qcow2", "size_bytes": 2**29, "virtual_size_bytes": 2**31}
POOL: dict[str, Any] = {"p": {}}
SLOW = {"clone_s": 2, "write_mib_s": 100, "delete_s": 1}
# Of each condition: backends, creates (image, host), and the Cinders between which it parts.
SHOWN: dict[str, tuple[dict[str, Any], list[tuple[str, str]], str, str]] = {
    "reschedules": (
        {
            "a": {"pools": {"p": {"max_volumes": 1, "capacity_gib": 900}}},
            "b": {"pools": {"p": {"capacity_gib": 100}}},
        },
        [("", "a#p"), ("qcow2", "")],
        "24.0.0,26.3.0",
        "none",
    ),
    "limits_clones": (
        {"a": {"pools": POOL, "max_clones_per_volume": 2}},
        [("qcow2", "a#p")] * 5,
        "26.3.0,27.0.0",
        "cache-only",
    ),
    "stores_in_cluster": (
        {"a": {"pools": POOL, "nodes": ["c1", "c2"], "cluster": True}},
        [("raw", "a#p")] * 3,
        "27.0.0,28.0.0",
        "store-only",
    ),
    "stores_across_pools": (
        {"a": {"pools": {"p": {}, "q": {}}, "clone_across_pools": True}},
        [("raw", "a#q")],
        "27.0.0,28.0.0",
        "store-only",
    ),
    "caches_across_pools": (
        {"a": {"pools": {"p": {}, "q": {}}, "clone_across_pools": True}},
        [("qcow2", "a#p"), ("qcow2", "a#q")],
        "28.0.0,29.0.0",
        "cache-only",
    ),
    "numbers_volumes": ({"a": {"pools": {"p": {}, "q": {}}}}, [("qcow2", "")] * 3, "28.0.0,29.0.0", "none"),
}


# The weigher is the same in all releases; in 29, what it calls is no more a plain function before the
# database.
CHANGED = [known for known in table() if known.when != "numbers_volumes"]


@pytest.mark.parametrize("known", CHANGED, ids=lambda known: known.when)
def test_it_lies_where_the_function_changed(known: Any) -> None:
    module = "cinder." + known.file.removeprefix("cinder/").removesuffix(".py").replace("/", ".")
    module = module.replace("cinder.db.sqlalchemy.api", "cinder.db.api")
    (releases,) = [
        of
        for name, of in trees.read().items()
        if name.startswith(module) and name.rpartition(":")[2].rpartition(".")[2] == known.function
    ]
    edges = {first for first, _ in known.releases} | {
        next((each for each in SUPPORTED if numbers(each) > numbers(last)), "") for _, last in known.releases
    }
    assert edges - {SUPPORTED[0], ""} <= set(releases)


@pytest.mark.skipif(version("cinder") != SUPPORTED[-1], reason="once is enough")
@pytest.mark.parametrize("when", SHOWN)
def test_a_run_shows_it(when: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    backends, creates, asked, strategy = SHOWN[when]
    if os.environ.get("HYPOTHESIS_PROFILE") != "thorough":  # `make prove`; each release costs half a minute
        asked = f"{SUPPORTED[0]},{SUPPORTED[-1]}"
    (before, after), problems = cinders_of(asked)
    assert not problems
    path = tmp_path / "scenario.yaml"
    rows = [f"{100 * at},create,v{at},{image},4,t,{host}" for at, (image, host) in enumerate(creates)]
    (tmp_path / "trace.csv").write_text(
        "\n".join(["time,event,volume_id,image_id,size_gib,volume_type,host", *rows]) + "\n"
    )
    images = [each | {"name": each["image_id"], "container_format": "bare"} for each in (RAW, QCOW2)]
    images[0]["store_hosts"] = "a#p"
    scenario = {
        "name": when,
        "tiers": {"t": {}},
        "backends": {name: {"volume_type": "t", **SLOW, **own} for name, own in backends.items()},
        "images": images if when.startswith("stores") else images[1:],
        "workload": {"trace": "trace.csv"},
        "cinder": {"scheduler_default_weighers": ["VolumeNumberWeigher"]}
        if when == "numbers_volumes"
        else {},
        "strategies": [strategy],
    }
    path.write_text(json.dumps(scenario))
    case = load(path)
    tables = [run(case, strategy, cinder=each) for each in (before, after)]
    one, other = (each.requests.drop(columns="end") for each in tables)
    orphans = [
        each.usage.query("kind == 'orphan' and scope == 'all'")["volumes_end"].item() for each in tables
    ]
    assert not one.equals(other) or orphans[0] > orphans[1]
    told = known_between(case, strategy, before, after)
    what = {known.when: known.what for known in table()}
    assert [line for line in told if what[when] in line]


def test_nothing_is_known_of_two_equal_releases(tmp_path: Path) -> None:
    case = load("scenarios/full_arrays.yaml")
    assert known_between(case, "cache-only", Cinder("28.0.0", "28.0.0"), Cinder("x", "29.0.0")) == []
    assert len(known_between(case, "cache-only", Cinder("24.0.0", "24.0.0"), Cinder("x", "29.0.0"))) == 1
