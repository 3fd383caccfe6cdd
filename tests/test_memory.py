"""What a run holds grows with what is alive, not with the length of its trace."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from drawn import drawn_case
from pandas.testing import assert_frame_equal

import sim
from sim.analysis.comparison import in_blocks
from sim.analysis.findings import findings
from sim.analysis.metrics import by_project, pools_table, summary, uploads_of
from sim.analysis.recommend import to_raise
from sim.analysis.statistics import Blocks
from sim.cinder import engine, standins
from sim.inputs.strategies import STRATEGIES
from sim.inputs.texts import column, in_texts, named
from sim.inputs.trace import REQUIRED, read_trace
from sim.inputs.units import MIB
from sim.report.aggregates import aggregates

PERIOD_S, CREATES = 3_600.0, 128  # all that a period creates is gone before the next begins


class Watched(engine.Simulation):
    """A simulation that notes the most volumes it held, and how many objects live after each period."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.peak_volumes = self.peak_array_volumes = 0
        self.after: list[int] = []
        self.at_end_of(1)

    def at_end_of(self, period: int) -> None:
        self.clock.at(period * PERIOD_S - 1, lambda _: self.note(period), engine.REPORT)

    def note(self, period: int) -> None:
        gc.collect()
        self.after.append(len(gc.get_objects()))
        assert not self._live
        assert not [volume for volume in self.db.volumes.values() if volume.project_id == engine.PROJECT]
        if self._happened < len(self._events):
            self.at_end_of(period + 1)

    def _happen(self, *event: Any) -> None:
        super()._happen(*event)
        self.peak_volumes = max(self.peak_volumes, len(self.db.volumes))
        on_arrays = sum(len(array.volumes) for array in self.arrays.values())
        self.peak_array_volumes = max(self.peak_array_volumes, on_arrays)


def watched_run(periods: int, strategy: str) -> Watched:
    """The same creates and deletes over and over: more images than the cache has entries."""
    rng = np.random.default_rng(1)
    time = np.sort(rng.uniform(0, PERIOD_S / 2, CREATES))
    starts = PERIOD_S * np.repeat(np.arange(periods), CREATES)
    case = drawn_case(
        np.tile(time, periods) + starts,
        np.tile(rng.integers(0, 12, CREATES), periods),
        np.tile(rng.uniform(1, PERIOD_S / 4, CREATES), periods),
        host="",
        glance={"streams": 4, "stream_mib_s": 100},
        backends={
            name: {
                "volume_type": "tier",
                "pools": {"p0": {"capacity_gib": 4_000}},
                "create_s": 1,
                "clone_s": 2,
                "delete_s": 3,
                "write_mib_s": 400,
                "max_volumes": 30,
                "image_volume_cache_max_count": 4,
            }
            for name in ("a", "b")
        },
    )

    simulation = Watched(case, STRATEGIES[strategy])
    engine.played(simulation)
    return simulation


@pytest.mark.parametrize("strategy", ["none", "cache-only"])
def test_state_does_not_grow_with_the_trace(strategy: str) -> None:
    short, long = watched_run(4, strategy), watched_run(16, strategy)
    assert long.peak_volumes == short.peak_volumes < 2 * CREATES
    assert long.peak_array_volumes == short.peak_array_volumes
    # What Python's collector knows of: a list, dict or object that each create left would be here.
    assert len(long.after) == 16
    assert max(long.after[1:]) == long.after[1]


def test_runs_leave_no_garbage_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    case = sim.load("scenarios/smallest.yaml")

    def objects_after(runs: int) -> int:
        for _ in range(runs):
            sim.run(case, "cache-only")
        return len(gc.get_objects())

    monkeypatch.setattr(standins, "COLLECTED_AFTER_S", 0.0)
    before = objects_after(3)
    assert objects_after(20) < before + 2_000
    monkeypatch.setattr(standins, "COLLECTED_AFTER_S", 1e9)  # what twenty runs leave, to show that it is more
    assert objects_after(20) > before + 10_000


def test_large_arrays_go_back_as_soon_as_they_are_freed() -> None:
    said = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    before, held, after = map(int, said.stdout.split())
    assert held - before > 90 * MIB
    assert after - before < (held - before) * 0.6


def test_a_command_says_so_before_arrow_is_imported() -> None:
    """Arrow chooses its memory once; its own would keep what is freed."""
    subprocess.run([sys.executable, "-c", COMMAND], check=True, capture_output=True)


def test_columns_that_say_little_take_little_memory(tmp_path: Path) -> None:
    """Blank columns are views of few texts, and the ids of creates are those of the events."""
    rows = 200_000
    creates = [f"{second},create,volume-{second},a,1,t,," for second in range(rows)]
    (tmp_path / "trace.csv").write_text(f"{','.join((*REQUIRED, 'snapshot_id'))}\n" + "\n".join(creates))
    trace = read_trace(tmp_path / "trace.csv")
    assert resident_of(trace.events["snapshot_id"]) < rows
    codes, ids = trace.volumes()
    assert resident_of(column(named(codes, ids)), column(ids)) == ids.get_total_buffer_size()


@pytest.mark.parametrize("name", ["full_arrays", "rbd", "three_nodes", "two_tiers", "what_ifs"])
def test_names_that_stay_numbers_take_little_memory_and_change_nothing(name: str) -> None:
    case = sim.load(f"scenarios/{name}.yaml")
    texts, few = (sim.run(case, "combined", "fast", compact=compact) for compact in (False, True))
    for table in ("requests", "others", "cache_events"):
        assert_frame_equal(in_texts(getattr(few, table)), getattr(texts, table))
    names = ["volume_type", "host", "source", "status"]
    assert few.requests[names].memory_usage(index=False).max() < len(few.requests) + 1_000
    assert texts.requests[names].memory_usage(index=False).min() > 10 * len(texts.requests)
    blocks = Blocks.between(0.0, case.last_create_s)
    for made in (
        lambda records: [summary(records, case, "combined"), pools_table(records, case)],
        lambda records: [uploads_of(records, "combined"), by_project(records, case)],
        lambda records: [in_blocks(records.requests, case.scenario.tiers, "combined", blocks)],
        lambda records: [of for of in vars(aggregates(records, case)).values() if not isinstance(of, dict)],
    ):
        for one, other in zip(made(texts), made(few), strict=True):
            assert_frame_equal(in_texts(other), one)
    assert findings(few, case, "combined") == findings(texts, case, "combined")
    assert to_raise(few, case) == to_raise(texts, case)


def resident_of(*columns: pd.Series[str]) -> int:
    """Bytes of the buffers of columns of texts, those that several share counted once."""
    arrays = [chunk for of in columns for chunk in pa.chunked_array(of.array.__arrow_array__()).chunks]
    buffers = [buffer for array in arrays for buffer in array.buffers() if buffer is not None]
    return sum({buffer.address: buffer.size for buffer in buffers}.values())


COMMAND = """
from sim.cli import app
app(["run", "scenarios/smallest.yaml", "--strategy", "none", "--engine", "fast"], standalone_mode=False)
import pyarrow
assert pyarrow.default_memory_pool().backend_name == "system"
"""
FREED = """
from sim.inputs.memory import freed_at_once
freed_at_once()
import numpy as np

def resident():
    with open("/proc/self/statm") as file:
        print(int(file.read().split()[1]) * 4096)

np.ones(2**18)  # glibc learns from what is freed: arrays that are smaller would lie among others
resident()
arrays = [np.ones(2**18) for _ in range(50)]
resident()
del arrays[::2]
resident()
"""
