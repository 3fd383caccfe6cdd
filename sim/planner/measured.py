"""Measures of a plan's cells as arrays: one row per candidate, split into the units of its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sim.analysis.statistics import Sample
from sim.inputs.hosts import host_of
from sim.inputs.limits import Limits
from sim.inputs.scenario import Scenario
from sim.planner.grid import Groups
from sim.sweep.results import ALL, Result, Row, Scope

Floats = npt.NDArray[np.float64]
Runs = Sequence[Result]  # of one point: a result for each replication


class Batch(NamedTuple):
    """Points that were simulated together: limits by group, and the runs of `sim.planner.grid.points`."""

    limits: Mapping[str, Sequence[Limits]]
    runs: Sequence[Runs]


@dataclass(frozen=True, eq=False)
class Measured:
    """Rows of one backend, of a tier or of all, for each candidate and replication.

    - rows: `rows[k][r]` is candidate k in replication r. Units are replications, or blocks of one history.
    - tiers: whose creates these are: those that a backend serves, or the tier itself.
    - free_volumes: (candidates,) places that the fullest limit of a backend has left at its peak.
    """

    rows: Sequence[Sequence[Row]]
    tiers: Sequence[str]
    free_volumes: Floats | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def replicated(self) -> bool:
        """Whether there are several replications."""
        return len(self.rows[0]) > 1

    def units(self, measure: str, tier: str) -> Floats:
        """(candidates, units): a count of the tier's creates, by replication (or by block of one history)."""
        if tier != ALL and tier not in self.tiers:
            count = len(self.rows[0]) if self.replicated else len(self.rows[0][0].blocks[measure])
            return np.zeros((len(self.rows), count))
        return np.array([self._units_of(rows, measure, tier) for rows in self.rows], dtype=float)

    def _units_of(self, rows: Sequence[Row], measure: str, tier: str) -> list[float]:
        blocks = [(row.tiers[tier] if tier != ALL and row.tiers else row.blocks)[measure] for row in rows]
        return [float(sum(of)) for of in blocks] if self.replicated else list(blocks[0])

    def failures(self, tier: str) -> Floats:
        """(candidates, units): the tier's creates that failed, from an image or not."""
        return self.units("errors", tier) + self.units("other_errors", tier)

    def failed(self, tier: str) -> Floats:
        """(candidates, replications): `failures` over all time."""
        units = self.failures(tier)
        found: Floats = units if self.replicated else units.sum(axis=1, keepdims=True)
        return found

    def values(self, figure: str) -> Floats:
        """(candidates, replications): a figure of the rows."""
        return np.array([[row.figures[figure] for row in rows] for rows in self.rows], dtype=float)

    def mean(self, figure: str) -> Floats:
        """(candidates,): a figure's mean over the replications."""
        found: Floats = self.values(figure).mean(axis=1)
        return found

    def peak(self, figure: str) -> Floats:
        """(candidates,): a figure's greatest value in any replication."""
        found: Floats = self.values(figure).max(axis=1)
        return found

    def volumes_peak(self) -> npt.NDArray[np.int64]:
        """(candidates,): the most volumes of any kind at once, in any replication; backends only."""
        return np.array([max(row.volumes_peak or 0 for row in rows) for rows in self.rows])

    def levels(self, measure: str) -> Floats:
        """(candidates, units): time-weighted mean of an `image_…` measure.

        Blocks are shifted to have the mean of the whole run, as their last may be of another length.
        """
        means = self.values(f"{measure}_mean")
        if self.replicated:
            return means
        blocks = np.array([rows[0].blocks[measure] for rows in self.rows], dtype=float)
        shifted: Floats = blocks + (means - blocks.mean(axis=1, keepdims=True))
        return shifted

    def prices(self, scenario: Scenario) -> Floats:
        """(candidates, units): price a month of the image-volumes; of several tiers at the dearest prices."""
        gib = max(scenario.tiers[tier].price_gib_month for tier in self.tiers)
        volume = max(scenario.tiers[tier].price_volume_month for tier in self.tiers)
        price: Floats = gib * self.levels("image_physical_gib") + volume * self.levels("image_volumes")
        return price


@dataclass(frozen=True)
class Table:
    """All measures under one strategy.

    - limits: the candidates of each group of backends.
    - backends: rows by backend, one for each candidate of its group.
    - creates: by tier and ALL, (units,) creates that were asked for; the same in every cell.
    - unplaced: by tier and ALL, then by group, (candidates, replications) failed creates that ended on
      no backend.
    """

    strategy: str
    groups: Groups
    limits: Mapping[str, list[Limits]]
    backends: Mapping[str, Measured]
    creates: Mapping[str, Floats]
    unplaced: Mapping[str, Mapping[str, Floats]]


def table_of(scenario: Scenario, strategy: str, groups: Groups, batches: Sequence[Batch]) -> Table:
    """The table of batches of cells. Where several cells show the same limits, the first one counts."""
    limits = {group: [each for batch in batches for each in batch.limits[group]] for group in groups}
    backends = {
        name: backend_of(
            scenario, name, [runs for batch in batches for runs in batch.runs[: len(batch.limits[group])]]
        )
        for group, members in groups.items()
        for name in members
    }
    asked = tiers_of(scenario, batches[0].runs[:1])
    creates = {tier: of.units("creates", tier)[0] for tier, of in asked.items()}
    return Table(strategy, groups, limits, backends, creates, _unplaced(scenario, groups, batches))


def backend_of(scenario: Scenario, name: str, points: Sequence[Runs]) -> Measured:
    """The rows of a backend at each point."""
    rows = [[result.rows["backend", name] for result in runs] for runs in points]
    limits = volume_limits(scenario, name)
    free = [
        min(
            (limit - max(result.rows[of].volumes_peak or 0 for result in runs) for of, limit in limits),
            default=0,
        )
        for runs in points
    ]
    return Measured(rows, scenario.backends[name].volume_types, np.array(free, dtype=float))


def volume_limits(scenario: Scenario, name: str) -> list[tuple[tuple[Scope, str], int]]:
    """The limits on volumes of a backend's pools and of itself, each with the scope and name of its row."""
    backend = scenario.backends[name]
    limits: list[tuple[tuple[Scope, str], int | None]] = [
        (("pool", host_of(name, pool)), spec.max_volumes) for pool, spec in backend.pools.items()
    ]
    limits.append((("backend", name), backend.max_volumes))
    return [(of, limit) for of, limit in limits if limit is not None]


def tiers_of(scenario: Scenario, points: Sequence[Runs]) -> dict[str, Measured]:
    """The rows of each tier and of ALL at each point."""
    rows = {
        tier: [[result.rows["tier", tier] for result in runs] for runs in points] for tier in scenario.tiers
    }
    found = {tier: Measured(of, [tier]) for tier, of in rows.items()}
    every = [[result.rows["all", ALL] for result in runs] for runs in points]
    return {**found, ALL: Measured(every, list(scenario.tiers))}


def sample_of(runs: Runs, seed: int) -> Sample:
    """The units of intervals: replications if there are several, else blocks of the one history."""
    if len(runs) > 1:
        return Sample.of_replications(len(runs))
    return Sample.of_blocks(len(runs[0].rows["all", ALL].blocks["creates"]), seed=seed)


def _unplaced(scenario: Scenario, groups: Groups, batches: Sequence[Batch]) -> dict[str, dict[str, Floats]]:
    """By tier and ALL, and by group: the tier's failed creates that ended on no backend.

    They count for the group that serves the tier and whose candidates differ. If several groups do, each
    candidate of the first one has the most errors of any cell.
    """
    found: dict[str, dict[str, Floats]] = {tier: {} for tier in (*scenario.tiers, ALL)}
    for tier in scenario.tiers:
        every = [_unplaced_of(scenario, tier, batch.runs) for batch in batches]
        serving = [
            group
            for group, members in groups.items()
            if any(tier in scenario.backends[name].volume_types for name in members)
        ]
        varied = [group for group in serving if sum(len(batch.limits[group]) for batch in batches) > 1]
        for group in groups:
            parts = zip(every, batches, strict=True)
            errors = np.concatenate([of[: len(batch.limits[group])] for of, batch in parts])
            if len(varied) > 1:
                errors = np.broadcast_to(np.concatenate(every).max(axis=0), errors.shape)
            its = group == (varied or serving or list(groups))[0]
            found[tier][group] = errors if its else np.zeros_like(errors)
    for group in groups:
        found[ALL][group] = np.sum([found[tier][group] for tier in scenario.tiers], axis=0)
    return found


def _unplaced_of(scenario: Scenario, tier: str, points: Sequence[Runs]) -> Floats:
    """(points, replications): the tier's failed creates, less those of its backends."""
    errors = tiers_of(scenario, points)[tier].failed(tier)
    for name, backend in scenario.backends.items():
        if tier in backend.volume_types:
            errors = errors - backend_of(scenario, name, points).failed(tier)
    return errors
