"""Plans, the same bounds as rules for what has been enumerated, and whether the two agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.planner import answer
from sim.planner.search import search
from sim.planner.simulator import PlanOptions, Simulator, load_of
from sim.planner.targets import Targets
from sim.run import run
from tests.planner.enumerated import Everything, Mask, Rule, cell_of, cheapest, least, most, smallest_of

Document = dict[str, Any]


def planned(of: Everything, growth: float = 1.0, confidence: float = 0, **bounds: Any) -> Document:
    """The document of a plan for what has been enumerated; without confidence it is one on the mean."""
    changes = {} if growth == 1 else {"workload.growth": growth}
    load, targets = load_of(of.case.path, changes, 1, 0.0), Targets(confidence=confidence, **bounds)
    plan = search(load, targets, Simulator(load, targets, PlanOptions(workers=1)))
    case, strategy = answer.planned_case(plan), plan.best.choice.strategy
    today, best = answer.whole(load.case, plan.todays_strategy), answer.whole(case, strategy)
    checked = answer.checked(run(case, strategy, "cinder"), best.records)
    return answer.document(plan, today, best) | {"checked_by_cinder": checked}


def rules(of: Everything, **bounds: Any) -> tuple[list[Rule], list[Rule]]:
    """Goals and budgets. Where errors have no bound, those of today or without image-volumes have to do."""
    goals = [least(f"{tier or 'all'} hit_rate", bound) for tier, bound in bounds.get("hit_rate", {}).items()]
    goals += [most(f"{tier or 'all'} p95_s", bound) for tier, bound in bounds.get("p95_s", {}).items()]
    budgets = [
        most(f"{tier or 'all'} {kind}", bound)
        for kind in ("space_gib", "price_month", "errors")
        for tier, bound in bounds.get(kind, {}).items()
    ]
    if "" not in bounds.get("errors", {}):
        cells = of.cells
        today = of.today(of.case.scenario.backends) & (cells["strategy"] == "cache-only").to_numpy()
        (without,) = np.flatnonzero(cells["strategy"] == "none")
        (now,) = np.flatnonzero(today)
        budgets += [
            most(f"{tier} errors", max(cells[f"{tier} errors"][now], cells[f"{tier} errors"][without]))
            for tier in of.case.scenario.tiers
            if tier not in bounds.get("errors", {})
        ]
    return goals, budgets


def check(of: Everything, document: Document, best: Mask) -> None:
    """The plan is one of the best, of which none has smaller limits, and says what it was simulated to be."""
    assert document["met"] is True and all(each["met"] for each in document["targets"])
    assert document["checked_by_cinder"]["equal"]
    row = cell_of(of, document)
    assert best[row], f"{shown(of, row)}, not one of {[shown(of, each) for each in np.flatnonzero(best)]}"
    assert smallest_of(of, best)[row], f"{shown(of, row)} is not the smallest"
    figures = of.cells.loc[row]
    for tier, its in document["tiers"].items():
        for key, column in (("hit_rate", "hit_rate"), ("errors", "errors"), ("creates", "creates")):
            assert its[key] == pytest.approx(figures[f"{tier} {column}"])
        assert its["price_month"] == pytest.approx(figures[f"{tier} price_month"])
    for target in document["targets"]:
        if target["constraint"] in ("hit_rate", "p95_s"):
            reached = document["tiers"][target["where"]][target["constraint"]]
            short = (
                target["bound"] - reached if target["constraint"] == "hit_rate" else reached - target["bound"]
            )
            assert short <= 1e-9


def shown(of: Everything, row: int) -> str:
    """A cell in words."""
    return str(of.cells.loc[row, ["strategy", *of.case.scenario.backends, "all cost"]].to_dict())


def most_hits(of: Everything, among: Mask) -> Mask:
    """The cheapest of the cells with most hits."""
    hits = of.cells["all hit_rate"].where(among)
    return cheapest(of, among & (hits >= hits.max() - 1e-9).to_numpy())
