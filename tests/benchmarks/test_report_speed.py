"""How large the report of a million creates is, and how long it takes beyond the run.

`make bench`. Times depend on the machine and are never asserted; the size is. With the benchmarks disabled,
a small case is run once, to see that it still runs.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml
from pytest_benchmark.fixture import BenchmarkFixture

import sim
from sim.analysis.curves import curve
from sim.analysis.metrics import summary
from sim.analysis.recommend import Advice
from sim.analysis.rows import Row
from sim.report.aggregates import aggregates
from sim.report.comparison import comparison_page, told_of
from sim.report.page import made_of
from sim.report.parts import Ran

GENERATED = Path(__file__).parents[2] / "scenarios" / "generated.yaml"
MILLION = {"duration": "30d", "creates_per_day": 33_500}
FEW = {"duration": "1d", "creates_per_day": 40}
STRATEGIES = ("none", "cache-only", "combined")
MOST_BYTES = 5_000_000


def test_report(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    raw = yaml.safe_load(GENERATED.read_text())
    raw["workload"]["generate"] |= FEW if benchmark.disabled else MILLION
    path = tmp_path / "long.yaml"
    path.write_text(yaml.safe_dump(raw))
    case = sim.load(path)
    records = {name: sim.run(case, name, "fast") for name in STRATEGIES}
    summaries = pd.concat([summary(of, case, name) for name, of in records.items()], ignore_index=True)

    def report() -> str:
        runs = [Ran(name, name, case, aggregates(of, case), []) for name, of in records.items()]
        curves = "cache-only", curve(case, hosts=records["cache-only"].requests["host"])
        chosen = Row("combined", "combined", case)
        told = told_of(chosen, Advice("combined"), summaries, {}, None)
        made = made_of(case, "fast")
        return comparison_page(case, summaries, runs, None, curves, pd.DataFrame(), told, made)

    page = benchmark.pedantic(report, rounds=1, iterations=1)
    assert len(page.encode()) < MOST_BYTES
    if benchmark.stats is not None:
        creates = sum(len(of.requests) for of in records.values())
        seconds = benchmark.stats.stats.min
        print(f"\nreport of {creates:,} creates: {len(page.encode()) / 1e6:.2f} MB in {seconds:.1f} s")
