"""The best limits under one strategy, from what the grid's cells measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sim.analysis.statistics import Estimate
from sim.inputs.limits import Limits
from sim.planner.grid import Groups, of_backends
from sim.planner.measured import Floats, Table
from sim.planner.optimum import Bound, optimum
from sim.planner.pickers import worst_larger
from sim.planner.requirements import HitRate, Requirement
from sim.planner.task import Task
from sim.sweep.results import ALL

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """Limits of every group of backends, with figures of the grid's cells.

    - short: what they lack of the bounds; 0 if they keep all.
    - hits: clones per create.
    - cost: mean provisioned GiB and volumes of image-volumes at the tiers' prices (GiB if nothing has a
      price).
    """

    strategy: str
    groups: Groups
    limits: dict[str, Limits]
    short: float
    hits: float
    cost: float

    @property
    def backends(self) -> dict[str, Limits]:
        """The limits of every backend, in the scenario's order."""
        return of_backends(self.limits, self.groups)

    def rank(self, goals: bool) -> tuple[float, ...]:
        """Smaller is better: what it lacks, then cost alone if there are goals, else hits first."""
        short = round(self.short, 9)
        return (short, self.cost) if goals else (short, -round(self.hits, 9), self.cost)


class Chooser:
    """Chooses limits under one strategy from the table of what its cells measured."""

    def __init__(self, table: Table, task: Task) -> None:
        self.table, self.task = table, task
        self._bounds = {each: task.bound(each, table) for each in task.required}
        self._hits = HitRate(ALL, 0.0).margins(table, task.sample, task.scenario)
        self._cost = {
            group: np.sum([self._costs(name) for name in members], axis=0)
            for group, members in table.groups.items()
        }
        self.allowed = self._allowed()
        self._with_larger = {each: self._worst(each) for each in task.required}

    def requiring(self, required: Sequence[Requirement]) -> Chooser:
        """A chooser for other requirements."""
        return Chooser(self.table, replace(self.task, required=required))

    def choose(self, tighter: Mapping[Requirement, float]) -> Choice:
        """The best limits. `tighter` is the room to take away from requirements."""
        bounds = [
            replace(bound, room=bound.room - tighter.get(each, 0.0))
            for each, bound in self._with_larger.items()
        ]
        order = {
            name: np.argsort(np.argsort(np.array(limits, dtype=object))).astype(float)
            for name, limits in self.table.limits.items()
        }
        hits = {name: -of.point for name, of in self._hits.items()}
        wanted = [self._cost, order] if self.task.targets.goals else [hits, self._cost, order]
        found = optimum(self.allowed, bounds, wanted)
        return self._choice(found.chosen, found.short)

    def chosen(self, limits: Mapping[str, Limits]) -> Choice:
        """These limits as a choice that keeps all bounds."""
        return self._choice(self._numbers(limits), 0.0)

    def margins(self, limits: Mapping[str, Limits]) -> dict[Requirement, float]:
        """The margin of each requirement under these limits, by the grid; for goals, under the worst larger
        limits.
        """
        chosen = self._numbers(limits)
        return {each: bound.margin(chosen) for each, bound in self._with_larger.items()}

    def dip(self, requirement: Requirement, limits: Mapping[str, Limits]) -> float:
        """The margin that a goal loses under the worst larger limits; 0 for other requirements."""
        chosen = self._numbers(limits)
        own, worst = (of[requirement].margin(chosen) for of in (self._bounds, self._with_larger))
        return max(0.0, own - worst)

    def next_to(self, limits: Mapping[str, Limits], larger: bool) -> list[dict[str, Limits]]:
        """The nearest larger or smaller limits in the grid, with one group changed in each."""
        found = []
        for name, of in limits.items():
            beyond = [
                each
                for each in self.table.limits[name]
                if each != of and (each.covers(of) if larger else of.covers(each))
            ]
            nearest = [
                each
                for each in beyond
                if not any(
                    one != each and (each.covers(one) if larger else one.covers(each)) for one in beyond
                )
            ]
            found += [{**limits, name: step} for step in nearest]
        return found

    def _numbers(self, limits: Mapping[str, Limits]) -> dict[str, int]:
        """The position of each group's limits among its candidates."""
        return {name: self.table.limits[name].index(each) for name, each in limits.items()}

    def _choice(self, chosen: Mapping[str, int], short: float) -> Choice:
        limits = {name: self.table.limits[name][number] for name, number in chosen.items()}
        hits = sum(float(self._hits[name].point[number]) for name, number in chosen.items())
        cost = sum(float(self._cost[name][number]) for name, number in chosen.items())
        return Choice(self.table.strategy, self.table.groups, limits, short, hits, cost)

    def _allowed(self) -> dict[str, Mask]:
        """Candidates that do not break a budget or limit by themselves, other backends at their best.

        A bound that no choice can keep forbids nothing.
        """
        allowed = {name: np.ones(len(of), bool) for name, of in self.table.limits.items()}
        for requirement, bound in self._bounds.items():
            if requirement.goal:
                continue
            best = {name: float(of.point.max()) for name, of in bound.margins.items()}
            left = bound.room + sum(best.values())
            if left < 0:
                continue
            for name, of in bound.margins.items():
                allowed[name] &= left - best[name] + of.point >= 0
        return {name: mask if mask.any() else ~mask for name, mask in allowed.items()}

    def _worst(self, requirement: Requirement) -> Bound:
        """A goal: each candidate has the margin of the worst larger limits. Other bounds stay as they are."""
        bound = self._bounds[requirement]
        if not requirement.goal:
            return bound
        margins = {}
        for name, of in bound.margins.items():
            worth = of.point - bound.factor * np.linalg.norm(of.deviations, axis=-1)
            worst = worst_larger(self.table.limits[name], worth, self.allowed[name])
            margins[name] = Estimate(of.point[worst], of.deviations[worst])
        return replace(bound, margins=margins)

    def _costs(self, name: str) -> Floats:
        scenario = self.task.scenario
        measured = self.table.backends[name]
        prices = [scenario.tiers[tier] for tier in scenario.backends[name].volume_types]
        if not any(tier.price_gib_month or tier.price_volume_month for tier in scenario.tiers.values()):
            return measured.mean("image_provisioned_gib_mean")
        gib = max(tier.price_gib_month for tier in prices)
        volume = max(tier.price_volume_month for tier in prices)
        return gib * measured.mean("image_provisioned_gib_mean") + volume * measured.mean(
            "image_volumes_mean"
        )
