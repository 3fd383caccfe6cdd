"""What a plan simulated as a whole, by point: figures of each tier, and the bounds that the point breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim.inputs.limits import Limits
from sim.planner.choice import Choice
from sim.planner.figures import Figures, figures_of_tiers
from sim.planner.grid import Groups
from sim.planner.measured import Runs, volume_limits
from sim.planner.requirements import SpareVolumes
from sim.planner.search import ENOUGH, Plan, Simulated, margins_of


@dataclass(frozen=True)
class Rule:
    """A bound of `where`: a tier, `all`, or (`of_backend`) a backend."""

    text: str
    where: str
    of_backend: bool = False


@dataclass(frozen=True)
class Seen:
    """A point that was simulated as a whole: its figures by tier (and `all`), and the rules it breaks."""

    strategy: str
    limits: Mapping[str, Limits]
    tiers: Mapping[str, Figures]
    broken: Sequence[Rule]


@dataclass(frozen=True)
class Explored:
    """All points that a plan simulated. `groups`: backends with the same limits, by the first one's name.

    `today`: the figures of today's settings.
    """

    groups: Groups
    points: Sequence[Seen]
    today: Mapping[str, Any]


def explored(plan: Plan, today: Mapping[str, Any]) -> Explored:
    """The points of a plan, each once. `today`: the figures of today's settings by tier."""
    points = []
    for strategy, simulated in plan.simulated.items():
        each = list({tuple(one.limits.items()): one for one in simulated}.values())
        figures = figures_of_tiers(
            [one.runs for one in each],
            plan.task.scenario,
            plan.task.sample,
            plan.task.targets.shown_confidence,
        )
        groups = plan.choosers[strategy].table.groups if strategy in plan.choosers else {}
        broken: dict[tuple[int, ...], list[Rule]] = {}  # many points have the rows of one run
        for one, tiers in zip(each, figures, strict=True):
            rows = tuple(id(result.rows) for result in one.runs)
            if rows not in broken:
                broken[rows] = _broken(plan, strategy, groups, one)
            points.append(Seen(strategy, one.limits, tiers, broken[rows]))
    groups = next(iter(plan.choosers.values())).table.groups
    return Explored(groups, points, today)


def _broken(plan: Plan, strategy: str, groups: Groups, point: Simulated) -> list[Rule]:
    limits = dict(point.limits)
    alone = groups or {name: (name,) for name in limits}
    of_groups = {group: limits[group] for group in alone}
    choice = Choice(strategy, alone, of_groups, 0.0, 0.0, 0.0)
    margins = margins_of(plan.task, choice, point.runs)
    broken = [each for each, margin in margins.items() if margin < ENOUGH]
    found = [Rule(each.text, each.where, isinstance(each, SpareVolumes)) for each in broken]
    return found + _full(plan, point.runs)


def _full(plan: Plan, runs: Runs) -> list[Rule]:
    """Backends that reach a limit of volumes."""
    found = []
    for name in plan.task.scenario.backends:
        for of, limit in volume_limits(plan.task.scenario, name):
            if max(result.rows[of].volumes_peak or 0 for result in runs) >= limit:
                found.append(Rule(f"{of[1]} reaches its limit of {limit:,} volumes", name, True))
    return found
