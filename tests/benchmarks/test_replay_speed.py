"""How fast the cache alone is played beside libCacheSim, in one run: `make bench`.

The same look-ups, Zipf's with exponent 0.9 over 2,000 images, and the same misses. libCacheSim reads them
from a file of its own fastest format, mapped into memory, and has a table of hashes no larger than it needs.
Times depend on the machine and are never asserted; what counts are the ratios, and by which power of the
look-ups and of the images a time grows. Times are the process's own, so that other work on the machine counts
less. Where a name says "all cores" they are the clock's, and nothing else should run: for libCacheSim, too,
which plays a limit on one core. With the benchmarks disabled, few look-ups are made once, to see that all
still run.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import libcachesim as lcs
import numpy as np
import numpy.typing as npt
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sim.fast.replay import (
    LookUps,
    Replayed,
    curve_by_count,
    curve_by_size,
    look_ups,
    replay,
    replay_in_stretches,
)

IMAGES, LOOK_UPS, FEW = 2_000, 1_000_000, 5_000
HASH_POWER = 14  # 2^14 places in libCacheSim's table: it is fastest with these
ORACLE_GENERAL = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
LIMITS = {
    **{f"{count:,} entries": ("count", count) for count in (20, 200, 1_000)},
    **{f"{gib:,} GiB": ("size", gib) for gib in (30, 400, 4_000, 20_000)},
}
SIZES = np.geomspace(30, 40_000, 16).astype(np.int64)  # the smallest refuses the largest images
ALL_FIT = np.geomspace(40, 50_000, 200).astype(np.int64)
ROUNDS = 20
GROWN = {"look-ups": (250_000, 1_000_000), "images": (100, 10_000, 100_000)}
JOBS: dict[str, Callable[[LookUps], Any]] = {
    "one size": lambda asked: replay(asked, max_size_gb=int(asked.size_gib.sum()) // 10),
    "all counts": curve_by_count,
    "200 sizes": lambda asked: curve_by_size(asked, np.geomspace(40, asked.size_gib.sum(), 200).astype(int)),
}
OWN_TIME = pytest.mark.benchmark(timer=time.process_time)
CORES = pytest.mark.parametrize(
    "cores", [pytest.param("", id="one core", marks=OWN_TIME), pytest.param(", all cores", id="all cores")]
)

Rates = dict[str, float]
Numbers = npt.NDArray[np.int64]


def drawn(images: int, look_ups: int) -> tuple[Numbers, Numbers]:
    """The images looked up, and each one's GiB."""
    rng = np.random.default_rng(7)
    shares = np.arange(1.0, images + 1) ** -0.9
    return rng.choice(images, look_ups, p=shares / shares.sum()), rng.integers(1, 41, images)


@pytest.fixture(scope="module")
def rates(figures: dict[str, str]) -> Iterator[Rates]:
    """Millions of look-ups a second (times limits, where several are looked at at once)."""
    found: Rates = {}
    yield found
    if found:
        print(f"\n\n{'look-ups, millions a second':40} {'libCacheSim':>12} {'ours':>8} {'ratio':>8}")
    for name, rate in found.items():
        if theirs := found.get(f"libCacheSim, {name}"):
            print(f"{name:40} {theirs:12.1f} {rate:8.1f} {rate / theirs:8.1f}")
            figures[f"replay, {name}: times libCacheSim"] = f"{rate / theirs:.1f}"
        elif not name.startswith("libCacheSim"):
            print(f"{name:40} {'-':>12} {rate:8.1f}")
            figures[f"replay, {name}: million look-ups/s"] = f"{rate:.0f}"


@pytest.fixture
def workload(benchmark: BenchmarkFixture) -> tuple[Numbers, Numbers]:
    return drawn(IMAGES, FEW if benchmark.disabled else LOOK_UPS)


@pytest.fixture
def asked(workload: tuple[Numbers, Numbers]) -> LookUps:
    return look_ups(*workload)


@pytest.fixture
def trace(workload: tuple[Numbers, Numbers], tmp_path: Path) -> Path:
    """The same as a file for libCacheSim."""
    image, size = workload
    rows = np.zeros(len(image), ORACLE_GENERAL)
    rows["id"], rows["size"], rows["next"] = image + 1, size[image], -1
    rows.tofile(tmp_path / "trace.bin")
    return tmp_path / "trace.bin"


def opened(trace: Path, by: str, limit: int) -> Callable[[], float]:
    """An empty cache, and the file opened: what is left to do gives the miss ratio."""
    ignoring = lcs.ReaderInitParam(ignore_obj_size=by == "count")
    reader = lcs.TraceReader(str(trace), lcs.TraceType.ORACLE_GENERAL_TRACE, ignoring)
    cache = lcs.LRU(limit, hashpower=HASH_POWER)
    return lambda: cache.process_trace(reader)[0]


def miss_ratio(trace: Path, by: str, limit: int) -> float:
    return opened(trace, by, limit)()


def call(job: Callable[[], float]) -> float:
    return job()


def timed(
    benchmark: BenchmarkFixture, rates: Rates, name: str, count: int, job: Callable[..., Any], **more: Any
) -> Any:
    """Run a job some times and note what the fastest did a second; gives what the last one gave."""
    result = benchmark.pedantic(job, rounds=ROUNDS, iterations=1, **more)
    if benchmark.stats is not None:
        rates[name] = benchmark.extra_info["millions_a_second"] = count / benchmark.stats.stats.min / 1e6
    return result


@CORES
@pytest.mark.parametrize("limit", LIMITS)
def test_libcachesim(limit: str, cores: str, trace: Path, benchmark: BenchmarkFixture, rates: Rates) -> None:
    """On one core, timed both ways."""
    ready = partial(opened, trace, *LIMITS[limit])
    timed(benchmark, rates, f"libCacheSim, {limit}{cores}", LOOK_UPS, call, setup=lambda: ((ready(),), {}))


@CORES
@pytest.mark.parametrize("limit", LIMITS)
def test_replay(
    limit: str, cores: str, asked: LookUps, trace: Path, benchmark: BenchmarkFixture, rates: Rates
) -> None:
    by, most = LIMITS[limit]
    limits = (0, most) if by == "count" else (most, 0)

    def play() -> Replayed:
        return (
            replay(asked, *limits) if cores else replay_in_stretches(asked, *limits, flags=False, stretches=1)
        )

    play()  # compiled
    found = timed(benchmark, rates, f"{limit}{cores}", LOOK_UPS, play)
    assert 1 - found.hits[0] / len(asked.image) == pytest.approx(miss_ratio(trace, by, most), abs=1e-9)


NAME_OF_SIZES = f"{len(SIZES)} sizes at once, all cores"


def test_libcachesim_at_many_sizes(trace: Path, benchmark: BenchmarkFixture, rates: Rates) -> None:
    """In processes, as its threads wait for each other in Python."""
    job = partial(miss_ratio, trace, "size")
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as processes:
        list(processes.map(job, SIZES.tolist()))  # started
        name = f"libCacheSim, {NAME_OF_SIZES}"
        timed(benchmark, rates, name, LOOK_UPS * len(SIZES), lambda: list(processes.map(job, SIZES.tolist())))


def test_curve_by_size(asked: LookUps, trace: Path, benchmark: BenchmarkFixture, rates: Rates) -> None:
    curve_by_size(asked, SIZES)
    count = LOOK_UPS * len(SIZES)
    found = timed(benchmark, rates, NAME_OF_SIZES, count, lambda: curve_by_size(asked, SIZES))
    theirs = [miss_ratio(trace, "size", limit) for limit in SIZES.tolist()]
    assert (1 - found.hits[0] / len(asked.image)).tolist() == pytest.approx(theirs, abs=1e-9)


@OWN_TIME
def test_curve_by_count(asked: LookUps, benchmark: BenchmarkFixture, rates: Rates) -> None:
    curve_by_count(asked)
    found = timed(benchmark, rates, f"all {IMAGES:,} counts at once", LOOK_UPS, lambda: curve_by_count(asked))
    assert found.hits.shape == (1, IMAGES + 1)


@OWN_TIME
def test_sizes_in_one_pass(asked: LookUps, benchmark: BenchmarkFixture, rates: Rates) -> None:
    curve_by_size(asked, ALL_FIT)
    name = f"{len(ALL_FIT)} sizes at once, every image fits"
    found = timed(benchmark, rates, name, LOOK_UPS, lambda: curve_by_size(asked, ALL_FIT))
    assert found.hits[0, -1] == len(asked.image) - len(np.unique(asked.image))


# -- growth --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def powers() -> Iterator[dict[tuple[str, str], float]]:
    """By which power of what grows a job's time does."""
    found: dict[tuple[str, str], float] = {}
    yield found
    if found:
        print(f"\n\n{'the time grows by the power of':40} {'look-ups':>12} {'images':>8}")
    for job in dict.fromkeys(job for job, _ in found):
        of_look_ups, of_images = (found.get((job, grown), np.nan) for grown in GROWN)
        print(f"{job:40} {of_look_ups:12.2f} {of_images:8.2f}")


@OWN_TIME
@pytest.mark.parametrize("grown", GROWN)
@pytest.mark.parametrize("job", JOBS)
def test_growth(
    job: str, grown: str, benchmark: BenchmarkFixture, powers: dict[tuple[str, str], float]
) -> None:
    """Look-ups of 2,000 images; a million look-ups."""

    def every_one() -> None:
        for asked in cases:
            start = time.process_time()
            JOBS[job](asked)
            seconds.append(time.process_time() - start)

    numbers = [50, 100] if benchmark.disabled else GROWN[grown]
    sizes = [(IMAGES, number) if grown == "look-ups" else (number, LOOK_UPS) for number in numbers]
    cases = [look_ups(*drawn(*size)) for size in sizes]
    seconds: list[float] = []
    benchmark.pedantic(every_one, rounds=5, warmup_rounds=1)
    if benchmark.stats is not None:
        least = np.reshape(seconds, (-1, len(cases))).min(axis=0)
        powers[job, grown] = float(np.polyfit(np.log(numbers), np.log(least), 1)[0])
