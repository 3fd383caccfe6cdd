"""Targets as margins: how much room a candidate leaves to each bound, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.analysis.statistics import Estimate, Sample
from sim.inputs.scenario import Backend, Scenario
from sim.planner.measured import Floats, Measured, Table
from sim.planner.targets import ALL, GOALS, KINDS, Targets


@dataclass(frozen=True)
class Requirement:
    """One bound of one tier (ALL: of all), or of a backend (`spare_volumes`).

    `sure`: it is kept with the worse end of the interval, else by every replication. `given`: it was asked
    for; else a plan keeps to it all the same.
    """

    kind: str
    tier: str
    bound: float
    sure: bool = True
    given: bool = True

    @property
    def least(self) -> bool:
        """Whether the bound is one from below."""
        return self.kind in ("hit_rate", "spare_volumes")

    @property
    def goal(self) -> bool:
        """Whether it is what one spends space for."""
        return self.kind in GOALS

    @property
    def room(self) -> float:
        """The part of a margin that no backend gives: margins of backends and this add up."""
        return -self.bound if self.least else 0.0 if self.kind == "p95_s" else self.bound

    @property
    def scale(self) -> float:
        """What counts as one when bounds cannot all be kept: goals give way before budgets and limits do."""
        return 1.0 if self.goal else max(1.0, self.bound) / 1000

    def margins(self, measured: Measured, creates: Floats, sample: Sample, scenario: Scenario) -> Estimate:
        """(candidates,): what the measured rows add to the margin; the bound is kept where the sum is >= 0.

        A hit rate counts in shares of the tier's `creates` (units,). A 95th percentile is at most T if at
        most 5 % of the creates that succeed take longer, which adds up over backends; its margin is a share
        of the creates too. Space is that of the peak.
        Errors are for `of_table`.
        """
        if self.kind == "hit_rate":
            return sample.ratio(measured.units("clones", self.tier), creates)
        if self.kind == "p95_s":
            slow = measured.units("slow_all" if self.tier == ALL else "slow", self.tier)
            return sample.ratio(0.05 * measured.units("made", self.tier) - slow, creates)
        if self.kind == "spare_volumes":
            return _certain(
                measured.free_volumes if self.tier == measured.backend else None, measured, sample
            )
        if self.tier != ALL and self.tier not in measured.tiers:
            return _certain(None, measured, sample)
        if self.kind == "space_gib":
            return _certain(-measured.peak("image_provisioned_gib_peak"), measured, sample)
        return sample.mean(-measured.prices(scenario))


def _certain(values: Floats | None, measured: Measured, sample: Sample) -> Estimate:
    """(candidates,): figures without a spread (None: zeros)."""
    points = np.zeros(len(measured)) if values is None else values
    return sample.mean(np.repeat(points[:, None], sample.units, axis=1))


def requirements(
    targets: Targets, scenario: Scenario, today: Mapping[str, float], without: Mapping[str, float]
) -> list[Requirement]:
    """Those of the targets, and of errors also where none is given.

    `today`, `without`: errors by tier with today's settings and without image-volumes. Creates that fail
    beyond both fail because image-volumes take their place: no hit is worth that unless somebody says so.
    """
    found = [
        Requirement(kind, tier, bound, sure=kind not in ("space_gib", "errors"))
        for kind in KINDS
        for tier, bound in targets.of(kind).items()
    ]
    if targets.spare_volumes:
        found += [
            Requirement("spare_volumes", name, targets.spare_volumes, sure=False)
            for name, backend in scenario.backends.items()
            if limited(backend)
        ]
    if ALL not in targets.errors:
        found += [
            Requirement("errors", tier, max(today[tier], without[tier]), sure=False, given=False)
            for tier in scenario.tiers
            if tier not in targets.errors
        ]
    return found


def limited(backend: Backend) -> bool:
    """Whether an array or one of its pools takes only so many volumes."""
    return backend.max_volumes is not None or any(
        pool.max_volumes is not None for pool in backend.pools.values()
    )


def factor(requirement: Requirement, sample: Sample, confidence: float) -> float:
    """How many standard errors of its margin have to fit into it."""
    return sample.factor(confidence) if requirement.sure else 0.0


def of_table(
    requirement: Requirement, table: Table, sample: Sample, scenario: Scenario
) -> tuple[dict[str, Estimate], float]:
    """By group the margins of its candidates, and the part that no backend gives.

    Errors are those of a group's worst replication, with those that ended on none of its backends.
    """
    if requirement.kind == "errors":
        errors = {group: _errors(requirement.tier, table, group, sample) for group in table.groups}
        return errors, requirement.room
    creates = table.creates.get(requirement.tier, np.ones(sample.units))
    margins = {}
    for group, members in table.groups.items():
        first, *others = (
            requirement.margins(table.backends[name], creates, sample, scenario) for name in members
        )
        margins[group] = sum(others, start=first)
    room = requirement.room
    if requirement.kind == "p95_s":
        room -= float(np.mean(interpolated(creates, sample)))
    return margins, room


def _errors(tier: str, table: Table, group: str, sample: Sample) -> Estimate:
    first, *others = (table.backends[name] for name in table.groups[group])
    errors = table.unplaced[tier][group] + sum(
        (each.failed(tier) for each in others), start=first.failed(tier)
    )
    return _certain(-errors.max(axis=1), first, sample)


def interpolated(creates: Floats, sample: Sample) -> Floats:
    """What numpy's 95th percentile, which lies between two creates, takes off the margin: 5 % of one of them.

    (units,) of replications, (1,) of one history; so that the percentile of figures keeps its bound, too.
    """
    counts = creates if sample.kind == "replications" else creates.sum(keepdims=True)
    found: Floats = 0.05 / np.maximum(counts, 1)
    return found
