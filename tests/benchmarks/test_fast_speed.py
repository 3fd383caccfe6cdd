"""How fast engine `fast` is beside bare SimPy and engine `cinder`, in one run, and how its cost grows.

`make bench`. Rates are creates a second inside the engine (`engine_s`: compiling and the making of tables
left out), of the full timed model, the fastest of some runs. Times depend on the machine and are never
asserted; what counts are the ratios. With the benchmarks disabled, small cases are run once, to see that
they still run.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import drawn_case
from pytest_benchmark.fixture import BenchmarkFixture
from test_speed import BACKEND, CUSTOMERS, UNIT, bare_queue, month

import sim
from sim.inputs.scenario import Case

MILLION, PART, FEW = 1_000_000, 6_000, 60  # creates: of engine fast, of engine cinder, without benchmarks
ROUNDS = 5
PLACING = {"pinned hosts": True, "scheduler chooses": False}
TWO_TIERS = Path(__file__).parents[2] / "scenarios" / "two_tiers.yaml"

# What is held while the factors are varied one by one, from a small value to a large one.
HELD = {"creates": 300_000, "images": 1_000, "pools": 8, "live volumes": 10_000}
FACTORS = {
    "creates": (100_000, 300_000, MILLION),
    "images": (100, 1_000, 10_000),
    "pools": (2, 8, 32),
    "live volumes": (1_000, 10_000, 100_000),
}
LOOK = {"creates": FEW, "images": 10, "pools": 2, "live volumes": 20}

Table = dict[tuple[str, str], float]  # (row, column)


def two_tiers(creates: int) -> Case:
    """The repository's own scenario, its trace over and over; whatever is left of a volume is deleted."""
    case = sim.load(TWO_TIERS)
    events = case.trace.events
    gone = events.loc[events["event"] == "delete", "volume_id"]
    kept = events[(events["event"] == "create") & ~events["volume_id"].isin(gone)]
    ends = kept.assign(time=events["time"].iloc[-1] + 1, event="delete", image_id="", volume_type="", host="")
    one = pd.concat([events, ends], ignore_index=True)
    one["event"] = one["event"].astype(events["event"].dtype)
    asked = np.flatnonzero((one["event"] == "create") & (one["image_id"] != ""))
    times, more = divmod(creates - 1, len(asked))
    span = float(one["time"].iloc[-1]) + 1
    parts = [one.assign(time=one["time"] + number * span) for number in range(times + 1)]
    for number, part in enumerate(parts):
        part["volume_id"] += f"-{number}"
    events = pd.concat(parts, ignore_index=True).iloc[: times * len(one) + asked[more] + 1]
    return replace(case, trace=replace(case.trace, events=events))


CASES: dict[str, Callable[[int], Case]] = {
    "two_tiers.yaml, over and over": two_tiers,
    **{placing: partial(month, pinned=pinned) for placing, pinned in PLACING.items()},
}


def grown(factors: dict[str, int], pinned: bool) -> Case:
    """A create a second, of images all as popular, into caches that hold half of the images."""
    rng = np.random.default_rng(7)
    creates, images, pools = (factors[name] for name in ("creates", "images", "pools"))
    hosts = np.array([f"array-{number}#p0" for number in range(pools)])
    backend: dict[str, Any] = BACKEND | {"volume_type": "tier", "image_volume_cache_max_count": images // 2}
    return drawn_case(
        np.arange(creates, dtype=float),
        rng.integers(0, images, creates),
        rng.exponential(factors["live volumes"], creates),
        host=hosts[rng.integers(0, pools, creates)] if pinned else "",
        glance={"stream_mib_s": 75},
        backends={
            host.partition("#")[0]: backend | {"pools": {"p0": {"capacity_gib": 500_000}}} for host in hosts
        },
    )


@pytest.fixture(scope="module")
def rates(figures: dict[str, str]) -> Iterator[Table]:
    """Creates a second, in the engine and with its tables; shown when all have run."""
    found: Table = {}
    yield found
    if not found:
        return
    customers = found.pop((UNIT, "fast"), np.nan)
    heads = ("fast", "with tables", "cinder", "fast/SimPy", "fast/cinder")
    print(f"\n\n{'creates a second, in thousands':32}", *(f"{head:>12}" for head in heads))
    for row in dict.fromkeys(row for row, _ in found):
        fast, tables, cinder = (found.get((row, head), np.nan) for head in heads[:3])
        print(f"{row:32} {fast / 1e3:12,.0f} {tables / 1e3:12,.0f} {cinder / 1e3:12,.2f}", end=" ")
        print(f"{fast / customers:12,.1f} {fast / cinder:12,.0f}")
        figures[f"engine fast, {row}: times SimPy"] = f"{fast / customers:.1f}"
        figures[f"engine cinder, {row}: creates/s"] = f"{cinder:.0f}"
    print(f"{UNIT:32} {customers / 1e3:12,.0f}")


@pytest.fixture(scope="module")
def growth() -> Iterator[Table]:
    """By which powers of a factor time and memory grow; shown when all have run."""
    found: Table = {}
    yield found
    if found:
        held = ", ".join(f"{value:,} {name}" for name, value in HELD.items())
        print(f"\n\ntime and memory grow by the power of (held: {held})")
        heads = [f"{what}, {placing}" for placing in PLACING for what in ("time", "memory")]
        print(f"{'':14}", *(f"{head:>26}" for head in heads))
        for row in dict.fromkeys(row for row, _ in found):
            print(f"{row:14}", *(f"{found.get((row, head), np.nan):26.2f}" for head in heads))


def engine_s(benchmark: BenchmarkFixture, case: Case, engine: str, rounds: int) -> float:
    """The least seconds that some runs spent inside the engine."""
    sim.run(month(FEW, True), "combined", engine)  # imports; compiled, or loaded
    found: list[float] = []
    benchmark.pedantic(
        lambda: found.append(sim.run(case, "combined", engine).engine_s), rounds=rounds, iterations=1
    )
    return min(found)


def test_simpy(benchmark: BenchmarkFixture, rates: Table) -> None:
    count = FEW if benchmark.disabled else CUSTOMERS
    benchmark.pedantic(bare_queue(count), rounds=ROUNDS, iterations=1)
    if benchmark.stats is not None:
        rates[UNIT, "fast"] = count / benchmark.stats.stats.min


@pytest.mark.parametrize("name", CASES)
def test_fast(name: str, benchmark: BenchmarkFixture, rates: Table) -> None:
    count = FEW if benchmark.disabled else MILLION
    least = engine_s(benchmark, CASES[name](count), "fast", ROUNDS)
    if benchmark.stats is not None:
        rates[name, "fast"] = benchmark.extra_info["a_second"] = count / least
        rates[name, "with tables"] = count / benchmark.stats.stats.min


@pytest.mark.parametrize("name", CASES)
def test_cinder(name: str, benchmark: BenchmarkFixture, rates: Table) -> None:
    count = FEW if benchmark.disabled else PART
    least = engine_s(benchmark, CASES[name](count), "cinder", ROUNDS)
    if benchmark.stats is not None:
        rates[name, "cinder"] = benchmark.extra_info["a_second"] = count / least


@pytest.mark.parametrize("placing", PLACING)
@pytest.mark.parametrize("factor", FACTORS)
def test_growth(factor: str, placing: str, benchmark: BenchmarkFixture, growth: Table) -> None:
    """Seconds in the engine, and the most bytes that Python and NumPy hold for a run."""

    def every_one() -> None:
        seconds.append([sim.run(case, "combined", "fast").engine_s for case in cases])

    held = LOOK if benchmark.disabled else HELD
    values = (LOOK[factor], 2 * LOOK[factor]) if benchmark.disabled else FACTORS[factor]
    cases = [grown(held | {factor: value}, PLACING[placing]) for value in values]
    seconds: list[list[float]] = []
    benchmark.pedantic(every_one, rounds=3, warmup_rounds=1)
    if benchmark.stats is not None:
        told = {"time": np.min(seconds, axis=0), "memory": [peak_bytes(case) for case in cases]}
        for what, of_values in told.items():
            power = np.polyfit(np.log(values), np.log(of_values), 1)[0]
            growth[factor, f"{what}, {placing}"] = float(power)


def peak_bytes(case: Case) -> int:
    tracemalloc.start()
    try:
        sim.run(case, "combined", "fast")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
