"""How fast the engine is beside the whole of Cinder and beside bare SimPy, in one run: `make bench`.

Times depend on the machine and are never asserted; what counts are the ratios. With the benchmarks
disabled, small cases are run once, to see that they still run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import simpy
from drawn import drawn_case
from pytest_benchmark.fixture import BenchmarkFixture

import sim
from sim.inputs.scenario import Case

MONTH_S, CREATES = 30 * 86_400, 6_000
CUSTOMERS = 20_000  # of SimPy's queue
SMALL = 60  # creates where a month would take too long: of the whole of Cinder
PLACING = {"pinned hosts": True, "four pools to choose": False}
UNIT = "SimPy's bare M/M/8"
BACKEND = {
    "create_s": 1,
    "clone_s": 2,
    "delete_s": 2,
    "extend_s": 1,
    "write_mib_s": 400,
    "image_volume_cache_max_count": 10,
}
BACKENDS: dict[str, Any] = {
    "flash-a": {"volume_type": "flash", "pools": {"p0": {"capacity_gib": 20_480}}, **BACKEND},
    "flash-b": {"volume_type": "flash", "pools": {"p0": {"capacity_gib": 20_480}}, **BACKEND},
    "disk-a": {
        "volume_type": "disk",
        "pools": {"p0": {"capacity_gib": 51_200}, "p1": {"capacity_gib": 51_200}},
        **BACKEND,
    },
}
HOSTS = {"flash": ["flash-a#p0", "flash-b#p0"], "disk": ["disk-a#p0", "disk-a#p1"]}

Rates = dict[str, float]


def month(creates: int, pinned: bool) -> Case:
    """Creates at a month's pace, each deleted hours later, on two tiers of two pools each."""
    rng = np.random.default_rng(7)
    popular = np.arange(1, 31) ** -0.95
    tiers = rng.choice(list(HOSTS), creates, p=[0.55, 0.45])
    hosts: npt.ArrayLike = ""
    if pinned:
        hosts = [HOSTS[tier][pool] for tier, pool in zip(tiers, rng.integers(0, 2, creates), strict=True)]
    return drawn_case(
        np.sort(rng.uniform(0, MONTH_S * creates / CREATES, creates)),
        rng.choice(30, creates, p=popular / popular.sum()),
        10_800 * rng.lognormal(0, 1, creates),
        host=hosts,
        tier=tiers,
        size_gib=20,
        glance={"streams": 16, "stream_mib_s": 75},
        store={"home": "disk-a#p0"},
        backends=BACKENDS,
    )


@pytest.fixture(scope="module")
def rates() -> Iterator[Rates]:
    """What each benchmark did a second; shown when all have run."""
    found: Rates = {}
    yield found
    if found:
        print(f"\n\n{'customers or creates':40} {'a second':>10} {'of SimPy':>10} {'of whole':>10}")
    for name, rate in found.items():
        ratios = (rate / found.get(other, np.nan) for other in (UNIT, name.replace("engine", "whole")))
        print(f"{name:40} {rate:10,.1f}", *(f"{ratio:10,.5g}" for ratio in ratios))


def timed(
    benchmark: BenchmarkFixture, rates: Rates, name: str, count: int, job: Callable[[], object], rounds: int
) -> None:
    """Run a job some times and note what the fastest did a second."""
    benchmark.pedantic(job, rounds=rounds, iterations=1)
    if benchmark.stats is not None:
        rates[name] = benchmark.extra_info["a_second"] = count / benchmark.stats.stats.min


def bare_queue(count: int) -> Callable[[], None]:
    """A job: SimPy alone with an M/M/8, of so many customers, at 80 %."""
    rng = np.random.default_rng(7)
    gaps, services = rng.exponential(1, count).tolist(), rng.exponential(6.4, count).tolist()

    def customer(
        env: simpy.Environment, servers: simpy.Resource, service: float
    ) -> Generator[Any, Any, None]:
        with servers.request() as turn:
            yield turn
            yield env.timeout(service)

    def arrivals(env: simpy.Environment, servers: simpy.Resource) -> Generator[Any, Any, None]:
        for gap, service in zip(gaps, services, strict=True):
            yield env.timeout(gap)
            env.process(customer(env, servers, service))

    def queue() -> None:
        env = simpy.Environment()
        env.process(arrivals(env, simpy.Resource(env, 8)))
        env.run()

    return queue


def test_simpy(benchmark: BenchmarkFixture, rates: Rates) -> None:
    count = SMALL if benchmark.disabled else CUSTOMERS
    timed(benchmark, rates, UNIT, count, bare_queue(count), 3)


@pytest.mark.filterwarnings("ignore")  # Cinder and its libraries warn of each other
@pytest.mark.parametrize("placing", PLACING)
def test_whole_of_cinder(placing: str, benchmark: BenchmarkFixture, rates: Rates) -> None:
    from whole.reference import run_whole

    run_whole(month(1, PLACING[placing]), "combined")  # imports, the database's schema
    count = 3 if benchmark.disabled else SMALL
    case = month(count, PLACING[placing])
    timed(benchmark, rates, f"whole, {placing}", count, lambda: run_whole(case, "combined"), 1)


@pytest.mark.parametrize("placing", PLACING)
def test_engine(placing: str, benchmark: BenchmarkFixture, rates: Rates) -> None:
    sim.run(month(1, PLACING[placing]), "combined")  # imports
    count = SMALL if benchmark.disabled else CREATES
    case = month(count, PLACING[placing])
    timed(benchmark, rates, f"engine, {placing}", count, lambda: sim.run(case, "combined"), 3)
