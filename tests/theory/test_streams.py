"""Queues and losses that textbooks know, in the engine: waiting for Glance, and full arrays."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from drawn import GIB, drawn_case
from intervals import interval
from scipy import stats

import sim

Array = npt.NDArray[np.float64]
SERVICE_S = 10.24  # an image of 1 GiB at 100 MiB/s
STREAMS = [(1, 0.6), (2, 0.7), (4, 0.8)]  # and how busy they are
PLACES, OFFERED = 8, 6.0  # volumes that the array holds, and that would be there if it held all
REPLICATIONS, COUNTED, WARM_UP = 8, 400, 100


def poisson(rng: np.random.Generator, count: int, mean_gap_s: float) -> Array:
    """Times of `count` arrivals."""
    return np.asarray(rng.exponential(mean_gap_s, count).cumsum())


def mean_wait(streams: int, load: float) -> float:
    """Mean wait in M/D/c in seconds, exactly (Crommelin 1932); one stream: Pollaczek-Khinchine."""
    i = np.arange(1, 2_000)
    arrivals = stats.poisson(i * streams * load)  # in i services
    terms = arrivals.sf(i * streams - 1) - arrivals.sf(i * streams) / load
    return float(SERVICE_S * terms.sum())


def waits(times: Array, streams: int) -> Array:
    """Each customer's wait, first come first served (Kiefer and Wolfowitz's recursion)."""
    free = [0.0] * streams
    found = []
    for time in times.tolist():
        start = max(time, heapq.heappop(free))
        heapq.heappush(free, start + SERVICE_S)
        found.append(start - time)
    return np.array(found)


def test_crommelin_of_one_stream_is_pollaczek_khinchine() -> None:
    assert mean_wait(1, 0.6) == pytest.approx(0.6 * SERVICE_S / (2 * (1 - 0.6)), rel=1e-9)


@pytest.mark.parametrize(("streams", "load"), STREAMS)
def test_recursion_gives_the_mean_wait(streams: int, load: float) -> None:
    """So what the engine must agree with, create by create, is the queue of the theory."""
    means = []
    for replication in range(20):
        rng = np.random.default_rng([streams, replication])
        times = poisson(rng, 21_000, SERVICE_S / streams / load)
        means.append(float(waits(times, streams)[1_000:].mean()))
    assert mean_wait(streams, load) in interval(means, len(STREAMS))


@pytest.mark.parametrize(("streams", "load"), STREAMS)
def test_wait_for_glance(streams: int, load: float) -> None:
    means = []
    for replication in range(REPLICATIONS):
        rng = np.random.default_rng([streams, replication, 1])
        times = poisson(rng, WARM_UP + COUNTED, SERVICE_S / streams / load)
        waited = glance_waits(times, streams)
        np.testing.assert_allclose(waited, waits(times, streams), rtol=0, atol=1e-6)
        means.append(float(waited[WARM_UP:].mean()))
    assert mean_wait(streams, load) in interval(means, len(STREAMS))


def glance_waits(times: Array, streams: int) -> Array:
    """Seconds that each create waits for one of Glance's streams."""
    case = drawn_case(
        times,
        0,
        1e5,
        glance={"streams": streams, "stream_mib_s": 1024 / SERVICE_S},
        backends={"array": {"volume_type": "tier", "pools": {"p0": {}}}},
    )
    requests = sim.run(case, "none").requests
    np.testing.assert_allclose(
        requests["end"] - requests["time"], requests["stream_wait_s"] + SERVICE_S, rtol=0, atol=1e-6
    )
    return requests["stream_wait_s"].to_numpy()


BY_NODE = {"write_streams": 4, "clone_copied_by": "node"}


@pytest.mark.parametrize(
    ("key", "streams", "copies", "column"),
    [
        *(({"clone_lock": "source"}, 1, copies, "clone_wait_s") for copies in (False, True)),
        *(({"clone_streams": 1}, 1, copies, "clone_wait_s") for copies in (False, True)),
        *(({"clone_streams": 4}, 4, copies, "clone_wait_s") for copies in (False, True)),
        (BY_NODE, 4, True, "write_wait_s"),
    ],
)
def test_wait_to_clone(key: dict[str, object], streams: int, copies: bool, column: str) -> None:
    """Clones of one volume wait for its lock, or for the array's streams; full copies do, too: M/D/c.

    Copies that a node makes wait for write streams.
    """
    times = poisson(np.random.default_rng([streams, copies]), COUNTED, SERVICE_S / streams / 0.8)
    rate = {"clone_mib_s": 1024 / SERVICE_S} if copies else {"clone_s": SERVICE_S}
    image = {"image_id": "i0", "name": "", "disk_format": "raw", "container_format": "bare"}
    image |= {"size_bytes": GIB, "virtual_size_bytes": GIB, "store_hosts": "array#p0"}
    array = {"volume_type": "tier", "pools": {"p0": {}}, **rate, **key}
    case = drawn_case(times, 0, 1e5, images=[image], backends={"array": array})
    requests = sim.run(case, "store-only").requests
    assert set(requests["source"]) == {"store"}
    waited = (requests["end"] - requests["time"]).to_numpy() - SERVICE_S
    np.testing.assert_allclose(waited, waits(times, streams), rtol=0, atol=1e-6)
    np.testing.assert_allclose(requests[column], waited, rtol=0, atol=1e-6)


def erlang_b(places: int, offered: float) -> float:
    """Share of arrivals that find all places taken; how long one is held does not matter, but its mean."""
    blocked = 1.0
    for place in range(1, places + 1):
        blocked = offered * blocked / (place + offered * blocked)
    return blocked


def refused(times: Array, held_s: Array) -> list[bool]:
    """Which arrivals find all places taken."""
    ends: list[float] = []
    found = []
    for time, held in zip(times.tolist(), held_s.tolist(), strict=True):
        while ends and ends[0] <= time:
            heapq.heappop(ends)
        found.append(len(ends) == PLACES)
        if not found[-1]:
            heapq.heappush(ends, time + held)
    return found


LIFETIMES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "fixed": lambda _, count: np.ones(count),
    "exponential": lambda rng, count: rng.exponential(1, count),
    "lognormal": lambda rng, count: rng.lognormal(-0.5, 1, count),
}


@pytest.mark.parametrize("lifetime", LIFETIMES)
def test_places_are_refused_as_often_as_erlang_says(lifetime: str) -> None:
    shares = []
    for replication in range(20):
        rng = np.random.default_rng([len(lifetime), replication, 1])
        times = poisson(rng, 10_000, 1 / OFFERED)
        shares.append(float(np.mean(refused(times, LIFETIMES[lifetime](rng, len(times)))[1_000:])))
    assert erlang_b(PLACES, OFFERED) in interval(shares, len(LIFETIMES))


@pytest.mark.parametrize("lifetime", LIFETIMES)
def test_a_full_array_refuses_as_many_as_erlang_says(lifetime: str) -> None:
    shares = []
    create_s, life_s, delete_s = 20.0, 600.0, 100.0
    for replication in range(REPLICATIONS):
        rng = np.random.default_rng([len(lifetime), replication])
        times = poisson(rng, WARM_UP + COUNTED, (create_s + life_s + delete_s) / OFFERED)
        lives = create_s + life_s * LIFETIMES[lifetime](rng, len(times))
        backend = {
            "volume_type": "tier",
            "pools": {"p0": {}},
            "max_volumes": PLACES,
            "create_s": create_s,
            "delete_s": delete_s,
        }
        failed = sim.run(drawn_case(times, 0, lives, backends={"array": backend}), "none").requests
        errors = [status == "error" for status in failed["status"]]
        # A place is taken when a create begins and given back when the delete has ended.
        assert errors == refused(times, lives + delete_s)
        shares.append(float(np.mean(errors[WARM_UP:])))
    assert erlang_b(PLACES, OFFERED) in interval(shares, len(LIFETIMES))
