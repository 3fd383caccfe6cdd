"""Findings on nodes with locks of their own, and on entries that lie on another array."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from handmade import findings
from properties.cases import case_of, create, image

import sim
from sim.analysis.node_findings import duplicates
from sim.inputs.scenario import Case

TIMES = {"clone_s": 2.0, "write_mib_s": 400}


def cloud(backends: dict[str, Any], lock_scope: str, events: list[dict[str, Any]]) -> Case:
    scenario = {
        "glance": {"stream_mib_s": 100},
        "cinder": {"lock_scope": lock_scope},
        "backends": {
            name: {"volume_type": "flash", "pools": {"p0": {}}, **TIMES, **spec}
            for name, spec in backends.items()
        },
    }
    return case_of(scenario, [image("debian", 2, "qcow2"), image("ubuntu", 3)], events)


def storm(at: float, count: int, image_id: str, first: int = 0) -> list[dict[str, Any]]:
    return [create(at, f"v{first + number}", image_id) for number in range(count)]


def told(case: Case, word: str) -> list[str]:
    return [line for line in findings(sim.run(case, "cache-only"), case, "cache-only") if word in line]


@pytest.mark.parametrize("cluster", [True, False])
def test_nodes_with_locks_of_their_own(cluster: bool) -> None:
    nodes = {"a": {"nodes": ["c1", "c2", "c3"], "cluster": cluster}}
    events = [*storm(0, 4, "debian"), *storm(90, 2, "ubuntu", 4), *storm(180, 2, "debian", 6)]
    case = cloud(nodes, "node", events)
    found = duplicates(sim.run(case, "cache-only"), case)
    assert found[["host", "image_id", "size_gib"]].to_numpy().tolist() == [
        *[["a#p0", "debian", 2]] * 2,
        ["a#p0", "ubuntu", 3],
    ]
    assert told(case, "backend_url") == [
        "a#p0: 3 creates of debian, ubuntu downloaded on one node while another did (5.0 GiB) and left"
        " 3 duplicate entries (7 GiB) in the cache: with a shared [coordination] backend_url (lock_scope"
        " cloud) they wait for the first and clone its entry"
    ]
    assert told(cloud(nodes, "cloud", events), "backend_url") == []
    assert told(cloud({"a": {"node": "c1"}}, "node", events), "backend_url") == []


def test_a_second_download_that_ends_later_leaves_no_duplicate() -> None:
    case = cloud({"a": {"nodes": ["c1", "c2"]}}, "node", [*storm(0, 1, "debian"), *storm(9, 1, "debian", 1)])
    (line,) = told(case, "backend_url")
    assert line.startswith(
        "a#p0: 1 create of debian downloaded on one node while another did (1.0 GiB): with"
    )


@pytest.mark.parametrize("cluster", [True, False])
def test_an_entry_on_another_array(cluster: bool) -> None:
    across = {"clone_across_pools": True, "cluster": cluster}
    events = storm(0, 1, "debian") + [create(60 + at, f"w{at}", "debian", "b#p0") for at in (0, 40, 80)]
    case = cloud({"a": {}, "b": across}, "cloud", events)
    assert told(case, "another array") == (
        []
        if cluster
        else [
            "b: 3 creates of debian downloaded, because their cache entry is on another array: with"
            " clone_across_pools Cinder finds it there, cannot clone it, and caches nothing in its place; in"
            " a cluster the look-up stays within the pool"
        ]
    )


# Conversion directories


def with_directory(gib: float | None) -> Case:
    """Eight downloads at once on a stream each, and creates of an image that the cache has."""
    events = [create(0, "v0", "debian"), *(create(50, f"e{n}", "ubuntu", encrypted=True) for n in range(8))]
    case = cloud({"a": {"node": "c1"}}, "cloud", [*events, create(51, "v1", "debian")])
    node = {"nodes": {"c1": {"image_conversion_gib": gib}}}
    return replace(
        case, scenario=case.scenario.model_validate(case.scenario.model_dump(by_alias=True) | node)
    )


def test_the_size_of_a_directory_that_a_finding_names_is_the_least() -> None:
    """Eight files of 3 GiB, and the clone of debian is checked beside them, whose file has 1 GiB."""
    (full, clones) = told(with_directory(10), "conversion")
    assert full == (
        "node c1: image_conversion_dir (10 GiB) had no room for 6 creates and uploads;"
        " more than 25 GiB would have been enough"
    )
    assert clones.startswith("a#p0: 1 create of debian failed for lack of space for image conversion")
    for gib, refused in ((25, 1), (25.01, 0), (None, 0)):
        nodes = sim.run(with_directory(gib), "cache-only").nodes
        assert list(nodes["image_conversion_refused"]) == [refused]
        assert nodes["image_conversion_peak_gib"][0] == pytest.approx(24)


@pytest.mark.parametrize("engine", ["cinder", "fast"])
def test_a_directory_over_time_has_the_files_of_the_downloads_under_way(engine: str) -> None:
    """A download without a cache keeps its file from its begin to its end; nobody waits here."""
    asked = [create(at, f"v{number}", "ubuntu") for number, at in enumerate((0, 10, 10, 100, 137, 200))]
    case = cloud({"a": {"node": "c1"}, "b": {"node": "c2"}}, "cloud", asked)
    nodes = {"nodes": {"c1": {"image_conversion_gib": 50}, "c2": {"image_conversion_gib": 50}}}
    scenario = case.scenario.model_validate(case.scenario.model_dump(by_alias=True) | nodes)
    records = sim.run(replace(case, scenario=scenario), "none", engine)
    began, ended = (records.requests[name].to_numpy() for name in ("time", "end"))
    of = records.directories.set_index("node")
    assert not of.loc["c2", "image_conversion_peak_gib"].any()
    before = 0.0
    for row in of.loc["c1"].to_dict("records"):
        now = row["time"]
        assert row["image_conversion_gib"] == 3 * ((began <= now) & (now < ended)).sum()
        moments = [before, *began[(before < began) & (began <= now)]]
        most = max(3 * ((began <= at) & (at < ended)).sum() for at in moments)
        assert row["image_conversion_peak_gib"] == (most if now > 0 else row["image_conversion_gib"])
        before = now
    assert of["image_conversion_peak_gib"].max() == records.nodes["image_conversion_peak_gib"].max() == 9
    assert records.nodes["image_conversion_gib"].tolist() == [50, 50]


def test_a_directory_that_refuses_an_upload_alone() -> None:
    """A blank volume, so that no create looks at the directory; its copy for a qcow2 file has 3 GiB."""
    scenario = {
        "glance": {"stream_mib_s": 100},
        "backends": {"a": {"volume_type": "flash", "node": "c1", "pools": {"p0": {}}, **TIMES}},
        "nodes": {"c1": {"image_conversion_gib": 1}},
    }
    upload = {"time": 100, "event": "upload", "volume_id": "v0", "image_id": "own"}
    case = case_of(scenario, [image("own", 3, "qcow2")], [create(0, "v0", ""), upload])
    records = sim.run(case, "none")
    assert list(records.uploads["status"]) == ["error"]
    (line,) = [line for line in findings(records, case, "none") if "conversion" in line]
    assert line.startswith("node c1: image_conversion_dir (1 GiB) had no room for 1 create or upload;")
