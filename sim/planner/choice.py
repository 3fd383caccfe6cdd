"""The best limits under one strategy, from what the grid's cells measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim.analysis.statistics import Estimate, Sample
from sim.inputs.limits import Limits
from sim.inputs.scenario import Scenario
from sim.planner.grid import Groups, of_backends
from sim.planner.measured import Floats, Table
from sim.planner.optimum import Row, optimum
from sim.planner.pickers import worst_larger
from sim.planner.requirements import Requirement, factor, of_table
from sim.planner.targets import ALL, Targets

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """Limits of every group of backends. `short`: what they lack of the bounds, 0 if they keep all.

    hits: clones per create. cost: mean provisioned GiB and volumes of image-volumes at the tiers' prices (GiB
    if nothing has a price). Both as the grid's cells have them.
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
    """Chooses under one strategy. `confidence` is that of the targets."""

    def __init__(
        self,
        table: Table,
        sample: Sample,
        required: Sequence[Requirement],
        targets: Targets,
        scenario: Scenario,
    ) -> None:
        self.table, self.sample, self.required = table, sample, required
        self.targets, self.scenario = targets, scenario
        self._parts = {each: of_table(each, table, sample, scenario) for each in required}
        self._factors = {each: factor(each, sample, targets.confidence) for each in required}
        self._hits = of_table(Requirement("hit_rate", ALL, 0.0), table, sample, scenario)[0]
        self._cost = {
            group: np.sum([self._costs(name) for name in members], axis=0)
            for group, members in table.groups.items()
        }
        self.allowed = self._allowed()
        self._worst = {each: self._worst_of(each) for each in required if each.goal}

    def requiring(self, required: Sequence[Requirement]) -> Chooser:
        """One for other requirements."""
        return Chooser(self.table, self.sample, required, self.targets, self.scenario)

    def choose(self, tighter: Mapping[Requirement, float]) -> Choice:
        """The best limits, with so much less room in some requirements."""
        rows = [self._row(each, tighter.get(each, 0.0), worst=True) for each in self.required]
        order = {
            name: np.argsort(np.argsort(np.array(limits, dtype=object))).astype(float)
            for name, limits in self.table.limits.items()
        }
        hits = {name: -of.point for name, of in self._hits.items()}
        wanted = [self._cost, order] if self.targets.goals else [hits, self._cost, order]
        found = optimum(self.allowed, rows, wanted)
        return self._choice(found.chosen, found.short)

    def chosen(self, limits: Mapping[str, Limits]) -> Choice:
        """The choice of these limits, as if they kept all bounds."""
        return self._choice({name: self.table.limits[name].index(each) for name, each in limits.items()}, 0.0)

    def dip(self, requirement: Requirement, limits: Mapping[str, Limits]) -> float:
        """How much less margin the worst larger limits leave than these; 0 but for goals."""
        if not requirement.goal:
            return 0.0
        chosen = {name: self.table.limits[name].index(each) for name, each in limits.items()}
        own, worst = (self._row(requirement, 0.0, worst).margin(chosen) for worst in (False, True))
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

    def margins(self, limits: Mapping[str, Limits]) -> dict[Requirement, float]:
        """What the grid's cells say that limits leave to each requirement; of goals, what larger ones do."""
        chosen = {name: self.table.limits[name].index(each) for name, each in limits.items()}
        return {each: self._row(each, 0.0, worst=True).margin(chosen) for each in self.required}

    def _choice(self, chosen: Mapping[str, int], short: float) -> Choice:
        limits = {name: self.table.limits[name][number] for name, number in chosen.items()}
        hits = sum(float(self._hits[name].point[number]) for name, number in chosen.items())
        cost = sum(float(self._cost[name][number]) for name, number in chosen.items())
        return Choice(self.table.strategy, self.table.groups, limits, short, hits, cost)

    def _row(self, requirement: Requirement, tighter: float, worst: bool) -> Row:
        margins, room = self._parts[requirement]
        if worst and requirement.goal:
            of = self._worst[requirement]
            margins = {
                name: Estimate(each.point[of[name]], each.deviations[of[name]])
                for name, each in margins.items()
            }
        return Row(margins, room - tighter, self._factors[requirement], requirement.scale)

    def _allowed(self) -> dict[str, Mask]:
        """Candidates that do not break a budget or limit by themselves, all other backends at their best.

        Where a bound cannot be kept by any choice, it forbids none.
        """
        allowed = {name: np.ones(len(of), bool) for name, of in self.table.limits.items()}
        for requirement in self.required:
            if requirement.goal:
                continue
            margins, room = self._parts[requirement]
            best = {name: float(of.point.max()) for name, of in margins.items()}
            left = room + sum(best.values())
            if left < 0:
                continue
            for name, of in margins.items():
                allowed[name] &= left - best[name] + of.point >= 0
        return {name: mask if mask.any() else ~mask for name, mask in allowed.items()}

    def _worst_of(self, requirement: Requirement) -> dict[str, npt.NDArray[np.intp]]:
        found = {}
        for name, of in self._parts[requirement][0].items():
            spread = np.linalg.norm(of.deviations, axis=-1)
            worth = of.point - self._factors[requirement] * spread
            found[name] = worst_larger(self.table.limits[name], worth, self.allowed[name])
        return found

    def _costs(self, name: str) -> Floats:
        scenario = self.scenario
        measured = self.table.backends[name]
        prices = [scenario.tiers[tier] for tier in scenario.backends[name].volume_types]
        if not any(tier.price_gib_month or tier.price_volume_month for tier in scenario.tiers.values()):
            return measured.mean("image_provisioned_gib_mean")
        gib = max(tier.price_gib_month for tier in prices)
        volume = max(tier.price_volume_month for tier in prices)
        return gib * measured.mean("image_provisioned_gib_mean") + volume * measured.mean(
            "image_volumes_mean"
        )
