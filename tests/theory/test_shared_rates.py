"""Shared rates against the theory of processor sharing, and against streams that are scanned one by one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from drawn import GIB, drawn_case
from intervals import interval

import sim
from sim.inputs.scenario import Case

Array = npt.NDArray[np.float64]
TOTAL_MIB_S, MEAN_MIB, LOAD = 100.0, 1024.0, 0.6
MEAN_S = MEAN_MIB / TOTAL_MIB_S  # of a transfer that is alone
GAP_S = MEAN_S / LOAD
REPLICATIONS, COUNTED, WARM_UP = 12, 3_000, 300
ONE_ARRAY = {"array": {"volume_type": "tier", "pools": {"p0": {}}}}

# Laws of the size of an image, all of the mean 1 GiB; the squares of their coefficients of variation differ.
LAWS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "fixed": lambda _, count: np.ones(count),
    "two sizes": lambda rng, count: np.where(rng.random(count) < 0.9, 0.25, 7.75),
    "exponential": lambda rng, count: rng.exponential(1, count),
}


def downloads(
    times: Array, mib: Array, engine: str = "fast", glance: dict[str, float] | None = None
) -> Array:
    """Seconds of each create; all it does is to download an image of its own, of these MiB."""
    case = case_of(times, mib, {"streams": None, "total_mib_s": TOTAL_MIB_S} | (glance or {}))
    requests = sim.run(case, "none", engine=engine).requests
    return (requests["end"] - requests["time"]).to_numpy()


def case_of(times: Array, mib: Array, glance: dict[str, float | None]) -> Case:
    sizes = np.maximum(1, np.round(mib * 2**20)).astype(int)
    images = [
        {"image_id": f"i{number}", "name": "", "disk_format": "raw", "container_format": "bare"}
        | {"size_bytes": size, "virtual_size_bytes": size}
        for number, size in enumerate(sizes.tolist())
    ]
    return drawn_case(
        times, np.arange(len(times)), 1e6, size_gib=100, images=images, glance=glance, backends=ONE_ARRAY
    )


def poisson(rng: np.random.Generator) -> Array:
    return np.asarray(rng.exponential(GAP_S, WARM_UP + COUNTED).cumsum())


def one_by_one(times: Array, mib: Array, own_mib_s: float = math.inf) -> Array:
    """Seconds of each transfer over one link: at each event, what every stream has left is counted afresh."""
    left: dict[int, float] = {}
    found = np.zeros(len(times))
    now, begun = 0.0, 0
    while begun < len(times) or left:
        rate = min(own_mib_s, TOTAL_MIB_S / len(left)) if left else 1.0
        first = min(left, key=lambda each: left[each]) if left else -1
        ends = now + left[first] / rate if left else math.inf
        begins = float(times[begun]) if begun < len(times) else math.inf
        moved = rate * (min(ends, begins) - now)
        left = {each: rest - moved for each, rest in left.items()}
        now = min(ends, begins)
        if ends <= begins:
            del left[first]
            found[first] = now - times[first]
        else:
            left[begun] = float(mib[begun])
            begun += 1
    return found


@pytest.mark.parametrize("engine", ["cinder", "fast"])
@pytest.mark.parametrize("own_mib_s", [None, 40.0])
def test_each_transfer_takes_what_scanning_all_streams_gives(engine: str, own_mib_s: float | None) -> None:
    rng = np.random.default_rng(3)
    times, mib = poisson(rng)[:300], MEAN_MIB * rng.exponential(1, 300)
    took = downloads(times, mib, engine, {"stream_mib_s": own_mib_s} if own_mib_s else None)
    np.testing.assert_allclose(took, one_by_one(times, mib, own_mib_s or math.inf), rtol=0, atol=2e-6)


@pytest.mark.parametrize("law", LAWS)
def test_mean_seconds_are_those_of_m_g_1_ps(law: str) -> None:
    """E[S] / (1 - load), whatever the law of the sizes: insensitivity (Sakata, Noguchi and Oizumi 1971)."""
    means = []
    for replication in range(REPLICATIONS):
        rng = np.random.default_rng([len(law), replication])
        times, mib = poisson(rng), MEAN_MIB * LAWS[law](rng, WARM_UP + COUNTED)
        means.append(float(downloads(times, mib)[WARM_UP:].mean()))
    assert MEAN_S / (1 - LOAD) in interval(means, len(LAWS))


def test_seconds_are_in_proportion_to_the_size() -> None:
    """A transfer of x MiB takes x / total / (1 - load) in the mean (Kleinrock 1967)."""
    small, large = [], []
    for replication in range(REPLICATIONS):
        rng = np.random.default_rng([9, replication])
        times, mib = poisson(rng), MEAN_MIB * LAWS["two sizes"](rng, WARM_UP + COUNTED)
        took = downloads(times, mib)[WARM_UP:]
        is_small = mib[WARM_UP:] < MEAN_MIB
        small.append(float(took[is_small].mean()))
        large.append(float(took[~is_small].mean()))
    assert 0.25 * MEAN_S / (1 - LOAD) in interval(small, 2)
    assert 7.75 * MEAN_S / (1 - LOAD) in interval(large, 2)


def erlang_c(servers: int, offered: float) -> float:
    """The share of customers of M/M/c that wait."""
    terms = [offered**k / math.factorial(k) for k in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(terms) + last)


def test_with_a_rate_of_its_own_a_stream_is_as_in_m_m_c() -> None:
    """total = 4 streams' own: so many at most are as fast as alone, and the number there is M/M/4's."""
    servers, own = 4, TOTAL_MIB_S / 4
    alone_s = MEAN_MIB / own
    wait_s = erlang_c(servers, servers * LOAD) * alone_s / (servers * (1 - LOAD))
    means = []
    for replication in range(REPLICATIONS):
        rng = np.random.default_rng([4, replication])
        times, mib = poisson(rng), MEAN_MIB * LAWS["exponential"](rng, WARM_UP + COUNTED)
        means.append(float(downloads(times, mib, glance={"stream_mib_s": own})[WARM_UP:].mean()))
    assert alone_s + wait_s in interval(means)


@pytest.mark.parametrize("engine", ["cinder", "fast"])
def test_shares_of_three_links_as_worked_by_hand(engine: str) -> None:
    """Glance has 100 MiB/s, c1 30 and c2 60. Two creates on c1, one on c2 and one on c3, of 1 GiB each.

    All shares grow to 15, where c1 is full: 15 for each of its two. The others grow on to 35, (100 - 30) / 2,
    where Glance is full: c2 has room to spare. So they end after 1024 / 35 s, those of c1 after 1024 / 15 s.
    """
    case = drawn_case(
        [0.0] * 4,
        [0, 1, 2, 3],
        1e6,
        host=["a#p0", "a#p0", "b#p0", "c#p0"],
        glance={"streams": None, "total_mib_s": 100.0},
        nodes={"c1": {"total_mib_s": 30.0}, "c2": {"total_mib_s": 60.0}},
        backends={
            name: {"volume_type": "tier", "pools": {"p0": {}}, "node": node}
            for name, node in (("a", "c1"), ("b", "c2"), ("c", "c3"))
        },
    )
    took = sim.run(case, "none", engine=engine).requests["end"].to_numpy()
    np.testing.assert_allclose(took, [1024 / 15, 1024 / 15, 1024 / 35, 1024 / 35], rtol=1e-12)


@pytest.mark.parametrize("engine", ["cinder", "fast"])
def test_writes_and_full_copies_share_an_array(engine: str) -> None:
    """Worked by hand: one raw image of 1 GiB, written once and cloned from the store twice, at 100 MiB/s.

    The clones copy from 2 s on, 50 MiB/s each, until a write begins at 10.24 s (its download takes no time).
    At this time 412 MiB of each copy are done. Each stream may now have 100 / 3, so the other 612 MiB take
    18.36 s more. The write's own rate is 20 MiB/s, all the time.
    """
    image = {"image_id": "i0", "name": "", "disk_format": "raw", "container_format": "bare"}
    image |= {"size_bytes": GIB, "virtual_size_bytes": GIB}
    case = drawn_case(
        [0.0, 0.0, 10.24],
        [0, 0, 1],
        1e6,
        images=[image | {"store_hosts": "array#p0"}, image | {"image_id": "i1"}],
        backends={
            "array": {"volume_type": "tier", "pools": {"p0": {}}, "array_mib_s": 100.0}
            | {"clone_s": 2.0, "clone_mib_s": 70.0, "write_mib_s": 20.0}
        },
    )
    requests = sim.run(case, "store-only", engine=engine).requests
    assert requests["source"].tolist() == ["store", "store", "download"]
    ends = [28.6, 28.6, 10.24 + 1024 / 20]
    np.testing.assert_allclose(requests["end"], ends, rtol=1e-12)
