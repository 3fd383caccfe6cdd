"""What a plan made on the first part of the time does on the rest."""

from __future__ import annotations

from typing import Any

from sim.planner.figures import EVERY, figures
from sim.planner.grid import chosen_point
from sim.planner.measured import sample_of
from sim.planner.plan import Cell, Plan, Simulator, plan
from sim.sweep.varying import Point


def back_test(made: Plan, rest: Simulator) -> list[dict[str, Any]]:
    """Figures in all, a row each: what the plan promised; on the rest the plan, hindsight's best and today.

    `made` was made on the time before `rest.load.warm_up_s`. On the rest each begins with the caches that it
    would have filled by then; peaks and means of space are of the whole time.
    """
    load, choice = rest.load, made.best.choice
    hindsight = plan(load, made.targets, rest).best
    mine, now = rest.run(
        [
            chosen_point(choice.strategy, choice.backends, load.common),
            Point(tuple(load.changes.items()), made.todays_strategy),
        ]
    )
    rows = {
        "promised": (choice.strategy, made.best.cell),
        "the plan": (choice.strategy, mine),
        "hindsight's best": (hindsight.choice.strategy, hindsight.cell),
        "today": (made.todays_strategy, now),
    }
    return [
        {"which": which, "strategy": strategy, **_in_all(cell, made)}
        for which, (strategy, cell) in rows.items()
    ]


def _in_all(cell: Cell, made: Plan) -> dict[str, Any]:
    scenario = made.load.case.scenario
    confidence = made.targets.confidence or 0.95
    return figures(cell, scenario, sample_of(cell, scenario.seed), confidence)["tiers"][EVERY]
