"""The requirements on a choice of limits, and the margins that it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.analysis.statistics import Sample
from sim.inputs.scenario import Scenario
from sim.planner.measured import Runs, Table, tiers_of, volume_limits
from sim.planner.optimum import Bound
from sim.planner.requirements import KINDS, Errors, Requirement, SpareVolumes
from sim.planner.targets import Targets
from sim.sweep.results import ALL


@dataclass(frozen=True)
class Task:
    """`required`: the bounds that a choice must keep. `sample`: the units of the margins' intervals."""

    scenario: Scenario
    targets: Targets
    sample: Sample
    required: Sequence[Requirement]

    def bound(self, requirement: Requirement, table: Table) -> Bound:
        """A requirement on the candidates of a table."""
        return Bound(
            requirement.margins(table, self.sample, self.scenario),
            requirement.room(table, self.sample),
            requirement.factor(self.sample, self.targets.confidence),
            requirement.scale,
        )

    def margins(self, table: Table) -> dict[Requirement, float]:
        """The margin of each requirement in a table that has one candidate for each group."""
        only = dict.fromkeys(table.limits, 0)
        return {each: self.bound(each, table).margin(only) for each in self.required}


def required_of(targets: Targets, scenario: Scenario, today: Runs, without: Runs) -> list[Requirement]:
    """The requirements of the targets, and on errors also where no target is given.

    `today`, `without`: runs with today's settings and without image-volumes. Creates that fail beyond both
    fail because image-volumes take their place: no hit is worth that unless somebody says so.
    """
    found = [kind(tier, bound) for name, kind in KINDS.items() for tier, bound in targets.of(name).items()]
    if targets.spare_volumes:
        found += [
            SpareVolumes(name, targets.spare_volumes)
            for name in scenario.backends
            if volume_limits(scenario, name)
        ]
    if ALL not in targets.errors:
        measured = [tiers_of(scenario, [runs]) for runs in (today, without)]
        found += [
            Errors(tier, max(float(of[tier].failed(tier).max()) for of in measured), given=False)
            for tier in scenario.tiers
            if tier not in targets.errors
        ]
    return found
