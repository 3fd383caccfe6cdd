"""What a cell of a sweep costs beside the engine in it, as a ratio of one run.

`make bench`. A cell is `run_cell` in a process that has prepared the case: other values put into the
scenario, the state built, the engine, the measures. The workload is generated, as large as a month of a
real cloud. Times depend on the machine and are never asserted; what counts is the ratio. With the
benchmarks disabled, a small case is run once, to see that it still runs.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml
from pytest_benchmark.fixture import BenchmarkFixture

import sim
from sim.sweep.results import Result
from sim.sweep.sweep import Counted, _cells, run_cell
from sim.sweep.varying import grid

GENERATED = Path(__file__).parents[2] / "scenarios" / "generated.yaml"
MONTH = {"duration": "31d", "creates_per_day": 535}
FEW = {"duration": "1d", "creates_per_day": 40}
COUNTS = list(range(2, 42, 2))  # of entries that caches may have: a cell each
OFTEN = 5  # times each of them: a process runs hundreds, and the first ones take longer
KEY = "backends.*.image_volume_cache_max_count"


@pytest.mark.parametrize("strategy", ["cache-only", "combined"])
def test_cell(strategy: str, benchmark: BenchmarkFixture, figures: dict[str, str], tmp_path: Path) -> None:
    raw = yaml.safe_load(GENERATED.read_text())
    raw["workload"]["generate"] |= FEW if benchmark.disabled else MONTH
    path = tmp_path / "month.yaml"
    path.write_text(yaml.safe_dump(raw))
    cells = _cells(sim.load(path), grid({KEY: COUNTS}, [strategy]), [None], 1, Counted(0.0, (("", 60.0),)))
    run_cell(path, cells[-1])  # compiled, or loaded; prepared
    left = itertools.cycle(cells)
    results: list[Result] = []
    rounds = len(cells) * (1 if benchmark.disabled else OFTEN)
    benchmark.pedantic(lambda: results.append(run_cell(path, next(left))), rounds=rounds, iterations=1)
    assert [result.error for result in results] == [""] * len(results)
    if benchmark.stats is None:
        return
    cell_ms, engine_ms = (
        1e3 * float(np.median([getattr(result, of) for result in results])) for of in ("cell_s", "engine_s")
    )
    benchmark.extra_info["cell/engine"] = cell_ms / engine_ms
    figures[f"cell of a sweep, {strategy}: times its engine"] = f"{cell_ms / engine_ms:.2f}"
    print(f"\n{strategy}, {results[0].requests:,} creates: a cell {cell_ms:.1f} ms,", end=" ")
    print(f"its engine {engine_ms:.1f} ms, cell/engine {cell_ms / engine_ms:.2f}")
