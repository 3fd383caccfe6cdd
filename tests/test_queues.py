"""Queues: threads of the services and turns to clone, worked by hand and against recursions of the theory."""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn import GIB, drawn_case
from scipy import stats

import sim
from sim.inputs.scenario import Case
from sim.model.records import WAITS

ENGINES = pytest.mark.parametrize("engine", ["cinder", "fast"])
DOWNLOAD_S = 10.24  # of 1 GiB at 100 MiB/s
GLANCE = {"streams": None, "stream_mib_s": 100.0}


def array(**keys: Any) -> dict[str, Any]:
    return {"volume_type": "tier", "pools": {"p0": {}}, **keys}


def ends(case: Case, engine: str, strategy: str = "none") -> list[float]:
    """When each create ended, in the order of the trace."""
    times: list[float] = sim.run(case, strategy, engine=engine).requests["end"].tolist()
    return times


@ENGINES
def test_creates_and_deletes_take_threads_of_one_service(engine: str) -> None:
    """One thread: a create to 10.24 s, a delete from 11 to 16 s, and then the create that came at 12 s."""
    case = drawn_case(
        [0.0, 12.0],
        [0, 1],
        [11.0, 1e6],
        glance=GLANCE,
        nodes={"c1": {"executor_thread_pool_size": 1}},
        backends={"array": array(delete_s=5.0)},
    )
    assert ends(case, engine) == pytest.approx([DOWNLOAD_S, 16 + DOWNLOAD_S])


@ENGINES
def test_each_backend_on_a_node_is_a_service_with_threads_of_its_own(engine: str) -> None:
    """Cinder starts a process for each of `enabled_backends`, and each has its executor."""
    case = drawn_case(
        [0.0, 0.0, 0.0],
        [0, 1, 2],
        1e6,
        host=["a#p0", "b#p0", "a#p0"],
        glance=GLANCE,
        nodes={"c1": {"executor_thread_pool_size": 1}},
        backends={"a": array(), "b": array()},
    )
    assert ends(case, engine) == pytest.approx([DOWNLOAD_S, DOWNLOAD_S, 2 * DOWNLOAD_S])


@ENGINES
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_serve_whoever_came_first(engine: str, threads: int) -> None:
    """M/G/c: each create waits as in Kiefer and Wolfowitz's recursion."""
    rng = np.random.default_rng(threads)
    seconds = rng.lognormal(0, 1, 200) * DOWNLOAD_S
    times = rng.exponential(DOWNLOAD_S * 2 / threads, 200).cumsum()
    sizes = np.round(seconds * 100 * 2**20).astype(int)
    images = [
        {"image_id": f"i{number}", "name": "", "disk_format": "raw", "container_format": "bare"}
        | {"size_bytes": size, "virtual_size_bytes": size}
        for number, size in enumerate(sizes.tolist())
    ]
    case = drawn_case(
        times,
        np.arange(200),
        1e6,
        size_gib=1000,
        images=images,
        glance=GLANCE,
        nodes={"c1": {"executor_thread_pool_size": threads}},
        backends={"array": array()},
    )
    free, expected = [0.0] * threads, []
    for time, service in zip(times.tolist(), sizes / 2**20 / 100, strict=True):
        end = max(time, heapq.heappop(free)) + service
        heapq.heappush(free, end)
        expected.append(end)
    np.testing.assert_allclose(ends(case, engine), expected, rtol=0, atol=2e-6)


@ENGINES
def test_a_clone_waits_for_its_source_then_for_a_stream(engine: str) -> None:
    """Three clones of i0 and one of i1 at once, 10 s each. One lock for each volume, two streams.

    The first clone of i0 and that of i1 run from 0 s; the others of i0 follow one after the other.
    """
    image = {"name": "", "disk_format": "raw", "container_format": "bare", "store_hosts": "array#p0"}
    image |= {"size_bytes": GIB, "virtual_size_bytes": GIB}
    locked = array(clone_s=10.0, clone_lock="source", clone_streams=2)
    images = [image | {"image_id": f"i{number}"} for number in range(2)]
    case = drawn_case([0.0] * 4, [0, 0, 0, 1], 1e6, images=images, backends={"array": locked})
    assert ends(case, engine, "store-only") == [10.0, 20.0, 30.0, 10.0]
    one = array(clone_s=10.0, clone_lock="source", clone_streams=1)
    case = drawn_case([0.0] * 4, [0, 0, 0, 1], 1e6, images=images, backends={"array": one})
    # The turn of i0's lock goes to the next clone at 10 s, which queues behind that of i1.
    assert ends(case, engine, "store-only") == [10.0, 30.0, 40.0, 20.0]


@ENGINES
def test_copies_and_writes_of_a_node_share_its_write_streams(engine: str) -> None:
    """One stream. The copy of i0 has it from 1 to 11.24 s, and the write of i1 would begin at 10.24 s.

    With copies by the array, nobody waits.
    """
    image = {"name": "", "disk_format": "raw", "container_format": "bare"}
    image |= {"size_bytes": GIB, "virtual_size_bytes": GIB}
    images = [image | {"image_id": "i0", "store_hosts": "array#p0"}, image | {"image_id": "i1"}]
    keys = {"clone_s": 1.0, "clone_mib_s": 100.0, "write_mib_s": 100.0, "write_streams": 1}
    for by, wait_s in (("node", 1.0), ("array", 0.0)):
        backend = array(**keys, clone_copied_by=by, clone_streams=1)
        case = drawn_case([0.0, 0.0], [0, 1], 1e6, images=images, glance=GLANCE, backends={"array": backend})
        requests = sim.run(case, "store-only", engine=engine).requests
        assert requests["end"].tolist() == pytest.approx([1 + DOWNLOAD_S, 2 * DOWNLOAD_S + wait_s])
        assert requests["write_wait_s"].tolist() == pytest.approx([0.0, wait_s])


@ENGINES
def test_transfers_take_nodes_of_glance_in_turn(engine: str) -> None:
    """Two nodes of one stream each. The third transfer waits, though the second node is free."""
    image = {"name": "", "disk_format": "raw", "container_format": "bare"}
    images = [
        image | {"image_id": f"i{size}", "size_bytes": size * GIB, "virtual_size_bytes": size * GIB}
        for size in (3, 1)
    ]
    case = drawn_case(
        [0.0, 1.0, 2.0, 3.0],
        [3, 1, 1, 1],
        1e6,
        images=images,
        glance=GLANCE | {"streams": 1, "nodes": 2},
        backends={"array": array()},
    )
    expected = [3 * DOWNLOAD_S, 1 + DOWNLOAD_S, 4 * DOWNLOAD_S, 1 + 2 * DOWNLOAD_S]
    assert ends(case, engine) == pytest.approx(expected)


@ENGINES
def test_creates_tell_what_they_waited_for(engine: str) -> None:
    """One thread: the second create waits for it. With a clone stream alone, it waits for that instead."""
    image = {"image_id": "i0", "name": "", "disk_format": "raw", "container_format": "bare"}
    image |= {"size_bytes": GIB, "virtual_size_bytes": GIB, "store_hosts": "array#p0"}
    for keys, nodes, column in (
        ({}, {"c1": {"executor_thread_pool_size": 1}}, "thread_wait_s"),
        ({"clone_streams": 1}, {}, "clone_wait_s"),
    ):
        backend = array(clone_s=10.0, **keys)
        case = drawn_case([0.0, 4.0], 0, 1e6, images=[image], nodes=nodes, backends={"array": backend})
        requests = sim.run(case, "store-only", engine=engine).requests
        assert requests[list(WAITS)].sum().to_dict() == {name: 6.0 * (name == column) for name in WAITS}


@ENGINES
def test_a_lock_by_chance_goes_to_all_who_wait_alike(engine: str) -> None:
    """Five wait for a lock that each holds for one download, because the cache has no room for the image.

    Each of the 120 orders has the same probability, so the create that came first has its turn at each of
    the five places alike (chi-squared, 1 in 10,000), and the first one of all waits for nobody.
    """
    size = {"size_bytes": 2 * GIB, "virtual_size_bytes": 2 * GIB}
    case = drawn_case(
        np.arange(6.0),
        np.zeros(6, int),
        1e6,
        glance=GLANCE,
        cinder={"lock_order": "chance"},
        images=[{"image_id": "i0", "name": "", "disk_format": "raw", "container_format": "bare"} | size],
        backends={"array": array(image_volume_cache_max_size_gb=1)},
    )
    places = np.zeros(5, int)
    for replication in range(100):
        found = np.array(ends(replace(case, replication=replication), engine, "cache-only"))
        turns = np.round(found / (2 * DOWNLOAD_S)).astype(int)
        assert turns[0] == 1
        assert sorted(turns) == [1, 2, 3, 4, 5, 6]
        places[turns[1] - 2] += 1
    assert stats.chisquare(places).pvalue > 1e-4
