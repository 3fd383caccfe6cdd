"""The back-test: a plan for the first part of the time, on the rest of it."""

from __future__ import annotations

from typing import Any

from sim.planner.figures import EVERY, Figures, figures
from sim.planner.grid import chosen_point
from sim.planner.measured import Runs, sample_of
from sim.planner.search import Plan, search
from sim.planner.simulator import Simulator
from sim.sweep.varying import Point


def back_test(made: Plan, rest: Simulator) -> list[dict[str, Any]]:
    """Figures in all, one row each: the plan's promise, and the plan, hindsight's best and today on the rest.

    `made` is the plan for the time before `rest.load.warm_up_s`. On the rest, each row begins with the caches
    that it would have filled by then. Peaks and means of space cover the whole time.
    """
    load, choice = rest.load, made.best.choice
    hindsight = search(load, made.task.targets, rest).best
    mine, now = rest.run(
        [
            chosen_point(choice.strategy, choice.backends, load.common),
            Point(tuple(load.changes.items()), made.todays_strategy),
        ]
    )
    rows = {
        "promised": (choice.strategy, made.best.runs),
        "the plan": (choice.strategy, mine),
        "hindsight's best": (hindsight.choice.strategy, hindsight.runs),
        "today": (made.todays_strategy, now),
    }
    return [
        {"which": which, "strategy": strategy, **_in_all(runs, made)}
        for which, (strategy, runs) in rows.items()
    ]


def _in_all(runs: Runs, made: Plan) -> Figures:
    scenario, confidence = made.task.scenario, made.task.targets.shown_confidence
    return figures(runs, scenario, sample_of(runs, scenario.seed), confidence)["tiers"][EVERY]
