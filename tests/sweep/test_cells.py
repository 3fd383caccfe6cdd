"""Runs that hold for other limits: the same run indeed, and the same sweep and plan as without them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.cases import asking, cases, what_ifs

import sim
from sim.analysis.verification import difference
from sim.fast.cache import UNLIMITED
from sim.fast.engine import Prepared, run
from sim.fast.spare import FIXED, GROWING, LEFT, WRITTEN, bytes_of, give_back, longer
from sim.fast.state import FIELDS, State
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES
from sim.model.initial import misfits
from sim.planner.answer import answer_of
from sim.planner.simulator import PlanOptions
from sim.planner.targets import Targets
from sim.sweep import sweep as sweeping
from sim.sweep.cells import Alike, Counted, holds
from sim.sweep.results import Result
from sim.sweep.sweep import WAVE, run_cell, sweep
from sim.sweep.varying import apply, grid

SCENARIOS = Path(__file__).parents[2] / "scenarios"
SMALLEST, TWO_TIERS = SCENARIOS / "smallest.yaml", SCENARIOS / "two_tiers.yaml"
SIZE, COUNT = "image_volume_cache_max_size_gb", "image_volume_cache_max_count"
VARIED = {f"backends.*.{COUNT}": [0, 1, 2, 3, 5, 8], f"backends.*.{SIZE}": [0, 5, 20, 60, 200]}
CACHING = st.sampled_from(["cache-only", "combined"])
LINEAGES = ("lineages", "members", "member_since")
EDGES = np.array([0.0, 7.0, 90.0, 1e6])
NOTED = [f"{field}{stat}" for field in FIELDS.values() for stat in ("", "_area")]  # of accounts at the edges
POLICIES = st.sampled_from(["lru", "lru", "sieve", "gdsf", "belady"])


def limited(case: Case, limits: dict[str, int]) -> Case:
    return replace(case, scenario=apply(case.scenario, limits))


def within(bounds: list[int]) -> st.SearchStrategy[int]:
    """A limit between bounds, at their ends most often; 0 is unlimited."""
    least, below = bounds
    ends = {least, min(least + 1, below - 1), min(below - 1, 1000)}
    values = {0 if each == UNLIMITED else each for each in ends if each and least <= each < below}
    return st.sampled_from(sorted(values | ({0} if below > UNLIMITED else set())))


@settings(max_examples=25)
@given(data=st.data(), case=cases(whole=True), strategy=CACHING, policy=POLICIES)
def test_a_run_holds_between_its_bounds(data: st.DataObject, case: Case, strategy: str, policy: str) -> None:
    """With any limits there, engine `fast` makes the same tables."""
    case = asking(case, data.draw(what_ifs(policy)))
    if misfits(case, [strategy]):
        return
    state, _, _ = Prepared(case).play(case.scenario, strategy)
    bounds = iter(holds(state))
    other = {
        f"backends.{name}.{key}": data.draw(within(next(bounds)))
        for name in case.scenario.backends
        for key in (SIZE, COUNT)
    }
    assert difference(run(case, strategy), run(limited(case, other), strategy)) is None


def written(s: State, creates: int) -> list[list[object]]:
    """What is read of WRITTEN."""
    each = s.rows[:creates], s.queued[:creates], s.edge_accounts[NOTED], s.edge_directories
    return [array.tolist() for array in each]


@settings(max_examples=25)
@given(case=cases(whole=True), strategy=CACHING, policy=POLICIES, data=st.data())
def test_memory_of_earlier_runs_changes_nothing(
    data: st.DataObject, case: Case, strategy: str, policy: str
) -> None:
    """Runs in the memory of one before it, of this case or of another, with other limits in between."""
    case = asking(case, data.draw(what_ifs(policy)))
    if misfits(case, [strategy]):
        return
    begun, _ = Prepared(case)._build(case.scenario, STRATEGIES[strategy], EDGES, {})
    fixed = {name: repr(getattr(begun, name).tolist()) for name in FIXED}
    fresh, _, _ = Prepared(case).play(case.scenario, strategy, edges=EDGES)
    other = limited(case, {f"backends.*.{COUNT}": 1, f"backends.*.{SIZE}": 7})
    prepared = Prepared(case, starts=2)
    for scenario in (case.scenario, other.scenario, case.scenario, other.scenario, case.scenario):
        s, _, _ = prepared.play(scenario, strategy, edges=EDGES)
        if scenario is case.scenario:
            for name in ("accounts", "pools", "backends", "images", "uploads", "quota_used"):
                assert getattr(s, name).tobytes() == getattr(fresh, name).tobytes(), name
            assert all(repr(getattr(s, name).tolist()) == fixed[name] for name in FIXED)
            mine, its = (written(each, len(prepared.asked)) for each in (s, fresh))
            assert mine == its
        give_back(s)
        for name in (*WRITTEN, *LEFT):
            bytes_of(getattr(s, name))[:] = 255
        assert not [name for name in GROWING if name not in LEFT and bytes_of(getattr(s, name)).any()]


PRIVATE = """
name: private
tiers: {t: {}}
backends: {b: {volume_type: t, pools: {p: {}}, image_volume_cache_max_count: 3}}
workload:
  generate:
    duration: 2d
    creates_per_day: 30
    projects: {count: 2}
    popularity: {images: 12, private_share: 0.7, release_every: null}
strategies: [cache-only]
"""


def test_memory_of_another_workload_changes_nothing(tmp_path: Path) -> None:
    """Each has images of its own: who may use them must not go from one to another."""
    (tmp_path / "s.yaml").write_text(PRIVATE)
    cases = [sim.load(tmp_path / "s.yaml", replication=number) for number in range(3)]
    fresh = [Prepared(case).play(case.scenario, "cache-only")[0].rows.tobytes() for case in cases]
    prepared = [Prepared(case, starts=1) for case in cases]
    for number in (0, 1, 2) * 3:
        s, _, _ = prepared[number].play(cases[number].scenario, "cache-only")
        alike = s.rows.tobytes() == fresh[number]  # pytest would look for all differences
        assert alike, number
        give_back(s)


def test_memory_of_fewer_tiers_does_not_serve() -> None:
    """What is asked of the length of one array holds for others: those of lineages are all as long."""
    first, then = sim.load(SMALLEST), sim.load(TWO_TIERS)
    s, _, _ = Prepared(first, starts=1).play(first.scenario, "cache-only")
    give_back(s._replace(**{name: longer(getattr(s, name), 5000) for name in LINEAGES}))
    s, _, _ = Prepared(then, starts=1).play(then.scenario, "cache-only")
    assert len({len(getattr(s, name)) for name in LINEAGES}) == 1


def test_bounds_are_where_the_run_changes() -> None:
    """Where the count binds, no other count has the same run; where nothing binds, all larger ones do."""
    case = sim.load(TWO_TIERS)
    prepared = Prepared(case)
    found = {}
    for count in (2, 3, 100):
        changed = apply(case.scenario, {f"backends.*.{SIZE}": 0, f"backends.*.{COUNT}": count})
        state, _, _ = prepared.play(changed, "cache-only")
        found[count] = np.array(holds(state))[1::2]  # of counts, by backend
    for count in (2, 3):
        assert found[count][0].tolist() == [count, count + 1]
    assert (found[100][:, 0] < 100).all() and (found[100][:, 1] > UNLIMITED).all()


def figures(results: list[Result]) -> list[object]:
    return [(each.values, each.strategy, each.requests, repr(each.rows)) for each in results]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_has_the_results_of_all_its_cells(workers: int) -> None:
    case = sim.load(TWO_TIERS)
    points = grid(VARIED, ["none", "cache-only", "combined"])
    cells = sweeping._cells(case, points, [None], 1, Counted(0.0, ()))
    alone = [run_cell(case.path.resolve(), cell) for cell in cells]
    together = sweep(case, points, workers=workers)
    assert figures(together) == figures(alone)
    assert len({repr(each.rows) for each in alone}) > 20  # no two groups of cells alike are taken for one
    ran = Counter(each.strategy for each in together if each.cell_s > 0)
    assert ran["none"] <= WAVE  # one run tells all cells; those of the first wave begin before its end
    assert max(ran["cache-only"], ran["combined"]) < len(points)


def test_what_runs_is_the_same_with_any_workers_and_after_an_end(tmp_path: Path) -> None:
    case = sim.load(TWO_TIERS)
    points = grid(VARIED, ["combined"])
    one, two = (
        {each.digest for each in sweep(case, points, workers=workers) if each.cell_s} for workers in (1, 2)
    )
    assert one == two
    first = sweep(case, points[:7], folder=tmp_path, workers=1)
    again = sweep(case, points, folder=tmp_path, workers=1)
    assert figures(again[:7]) == figures(first)
    assert figures(again) == figures(sweep(case, points, workers=1))


def test_limits_that_a_pattern_sets_count_as_well() -> None:
    """A value under another key is another cell, whatever the order in which they are written."""
    case = sim.load(TWO_TIERS)
    name = next(iter(case.scenario.backends))
    points = [
        replace(point, values=(*point.values, (f"backends.{name}.{COUNT}", own)))
        for point in grid({f"backends.*.{COUNT}": [1, 50]}, ["cache-only"])
        for own in (1, 50)
    ]
    found = sweep(case, points, workers=1)
    cells = sweeping._cells(case, points, [None], 1, Counted(0.0, ()))
    assert figures(found) == figures([run_cell(case.path.resolve(), cell) for cell in cells])
    assert len({repr(each.rows) for each in found}) == 4


@pytest.mark.parametrize("targets", [Targets(hit_rate={"": 0.5}), Targets(space_gib={"": 5.0})])
def test_a_plan_is_the_same_without_known_runs(targets: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    options = PlanOptions(workers=1)
    short = answer_of(SMALLEST, targets, options)
    held = []
    monkeypatch.setattr(Alike, "held", lambda self, result: held.append(result) or iter(()))
    whole = answer_of(SMALLEST, targets, options)
    assert held
    assert short.document == whole.document
    pd.testing.assert_frame_equal(short.candidates, whole.candidates)
    pd.testing.assert_frame_equal(short.frontier, whole.frontier)
    assert repr(short.explored) == repr(whole.explored)
