"""Inputs that change the recommendation: the plan under other inputs, and the limits that it needs there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sim.inputs.limits import Limits
from sim.inputs.scenario import Scenario
from sim.planner.figures import EVERY, figures
from sim.planner.grid import chosen_point
from sim.planner.measured import Runs, sample_of
from sim.planner.requirements import Requirement
from sim.planner.search import ENOUGH, Plan, margins_of
from sim.planner.simulator import Simulator

# The limits of the plan times each of these run under each change; 1 is the plan.
FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0)
WEEK_S = 7 * 86_400


def changes(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """Other inputs by their names: values by key of the scenario."""
    workload = scenario.workload
    found: dict[str, dict[str, Any]] = {
        "25 % more load": {"workload.growth": 1.25 * workload.growth},
        "images 25 % larger": {"workload.image_size_factor": 1.25 * workload.image_size_factor},
    }
    generated = workload.generate
    if generated is not None and generated.popularity.release_every is not None:
        every = generated.popularity.release_every / 2
        found["twice the releases"] = {"workload.generate.popularity.release_every": every}
    else:
        found["images updated weekly"] = {"workload.update_every": WEEK_S}
    found["clones twice as slow"] = {
        f"backends.{name}.clone_s": 2 * backend.clone_s for name, backend in scenario.backends.items()
    }
    if scenario.glance.streams is not None and scenario.glance.streams > 1:
        found["half the Glance streams"] = {"glance.streams": scenario.glance.streams // 2}
    return found


def sensitivity(plan: Plan, simulator: Simulator) -> list[dict[str, Any]]:
    """One row per change: what the plan brings in all, whether it keeps every bound, and `limits_factor`.

    `limits_factor` is the least of FACTORS such that all limits times it keep every bound, and all larger
    factors reach the goals, if at a higher price. It is None if there is no such factor, no goal, or no
    change.
    """
    scenario, choice = plan.task.scenario, plan.best.choice
    cached = any(limits.enabled for limits in choice.backends.values())
    factors = FACTORS if cached and plan.task.targets.goals else (1.0,)
    found = {"as it is": {}, **changes(scenario)}
    points = [
        chosen_point(choice.strategy, _scaled(choice.backends, factor), {**plan.load.common, **values})
        for values in found.values()
        for factor in factors
    ]
    runs = iter(simulator.run(points))
    rows = []
    for change in found:
        of_factor = {factor: next(runs) for factor in factors}
        broken = {factor: _broken(plan, its) for factor, its in of_factor.items()}
        enough = [
            factor
            for factor in factors
            if not broken[factor]
            and not any(each.goal for other in factors if other > factor for each in broken[other])
        ]
        sample = sample_of(of_factor[1.0], scenario.seed)
        told = figures(of_factor[1.0], scenario, sample, plan.task.targets.shown_confidence)["tiers"][EVERY]
        names = ("hit_rate", "hit_rate_low", "hit_rate_high", "p95_s", "errors")
        rows.append(
            {
                "change": change,
                **{name: told[name] for name in names},
                "met": not broken[1.0],
                "limits_factor": min(enough, default=None)
                if plan.task.targets.goals and found[change]
                else None,
            }
        )
    return rows


def _scaled(limits: Mapping[str, Limits], factor: float) -> dict[str, Limits]:
    return {
        name: Limits(each.enabled, _times(each.max_size_gb, factor), _times(each.max_count, factor))
        for name, each in limits.items()
    }


def _times(limit: int, factor: float) -> int:
    return max(1, round(limit * factor)) if limit else 0


def _broken(plan: Plan, runs: Runs) -> list[Requirement]:
    """The bounds that the user asked for and that a point does not keep."""
    task = replace(plan.task, sample=sample_of(runs, plan.task.scenario.seed))
    margins = margins_of(task, plan.best.choice, runs)
    return [each for each, margin in margins.items() if each.given and margin < ENOUGH]
