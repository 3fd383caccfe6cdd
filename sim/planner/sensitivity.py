"""Inputs that change the recommendation: the plan under other inputs, and the limits that it needs there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    scenario = plan.task.scenario
    found = {"as it is": {}, **changes(scenario)}
    rows = []
    for change, of_factor in _tried(plan, simulator, found).items():
        runs, broken = of_factor[1.0]
        enough = [
            factor
            for factor, (_, of) in of_factor.items()
            if not of and not any(_goals(of_factor[other][1]) for other in of_factor if other > factor)
        ]
        sample = sample_of(runs, scenario.seed)
        told = figures(runs, scenario, sample, plan.task.targets.shown_confidence)["tiers"][EVERY]
        names = ("hit_rate", "hit_rate_low", "hit_rate_high", "p95_s", "errors")
        least = min(enough, default=None) if plan.task.targets.goals and found[change] else None
        about = {"change": change, **{name: told[name] for name in names}}
        rows.append({**about, "met": not broken, "limits_factor": least})
    return rows


def _tried(
    plan: Plan, simulator: Simulator, found: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[float, tuple[Runs, list[Requirement]]]]:
    """By change and factor, the runs and the bounds that they break.

    The plan runs under every change, and with each factor above 1 under those that may need another one.
    Smaller ones run one after the other: below a factor that misses a goal, none is enough.
    """
    choice = plan.best.choice
    tried: dict[str, dict[float, tuple[Runs, list[Requirement]]]] = {change: {} for change in found}

    def run(wanted: Sequence[tuple[str, float]]) -> None:
        points = [
            chosen_point(
                choice.strategy, _scaled(choice.backends, factor), {**plan.load.common, **found[change]}
            )
            for change, factor in wanted
        ]
        for (change, factor), runs in zip(wanted, simulator.run(points), strict=True):
            tried[change][factor] = runs, _broken(plan, runs)

    cached = any(limits.enabled for limits in choice.backends.values())
    scaled = [change for change, values in found.items() if values and cached and plan.task.targets.goals]
    larger = [(change, factor) for change in scaled for factor in FACTORS if factor > 1]
    run([*((change, 1.0) for change in found), *larger])
    for factor in sorted((factor for factor in FACTORS if factor < 1), reverse=True):
        scaled = [change for change in scaled if not any(_goals(of) for _, of in tried[change].values())]
        run([(change, factor) for change in scaled])
    return tried


def _goals(broken: Sequence[Requirement]) -> list[Requirement]:
    return [each for each in broken if each.goal]


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
