"""What the cells of a plan measured, as arrays: a row a candidate, and its units to tell how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.analysis.statistics import Sample
from sim.inputs.limits import Limits
from sim.inputs.scenario import Scenario
from sim.planner.grid import Groups
from sim.planner.targets import ALL

Floats = npt.NDArray[np.float64]
Row = Mapping[str, Any]  # of `sim.sweep.measures.Measurer`


class Measured:
    """Rows of one backend, of a tier or of all, for each candidate and replication.

    `rows[k][r]`: candidate k in replication r. Units are replications, or the blocks of the one history.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[Row]],
        tiers: Sequence[str],
        backend: str | None = None,
        free_volumes: Floats | None = None,
    ) -> None:
        self.rows = rows
        self.tiers = tiers  # whose creates these are: of a backend those it serves, of a tier itself
        self.backend = backend
        self.free_volumes = free_volumes  # (candidates,): places that the fullest limit has left at its peak

    def __len__(self) -> int:
        return len(self.rows)

    def units(self, measure: str, tier: str) -> Floats:
        """(candidates, units): a count of the tier's creates, by replication (of one: by block)."""
        if tier != ALL and tier not in self.tiers:
            return np.zeros((len(self.rows), self._units(measure)))
        return np.array([self._units_of(rows, measure, tier) for rows in self.rows], dtype=float)

    def _units_of(self, rows: Sequence[Row], measure: str, tier: str) -> list[float]:
        split = [row["tiers"][tier] if tier != ALL and row.get("tiers") else row["blocks"] for row in rows]
        if len(rows) == 1:
            return list(split[0][measure])
        return [float(sum(blocks[measure])) for blocks in split]

    def _units(self, measure: str) -> int:
        first = self.rows[0]
        return len(first) if len(first) > 1 else len(first[0]["blocks"][measure])

    def failures(self, tier: str) -> Floats:
        """(candidates, units): the tier's creates that failed, from an image or not."""
        return self.units("errors", tier) + self.units("other_errors", tier)

    def failed(self, tier: str) -> Floats:
        """(candidates, replications): `failures` over all time."""
        units = self.failures(tier)
        found: Floats = units if len(self.rows[0]) > 1 else units.sum(axis=1, keepdims=True)
        return found

    def mean(self, column: str) -> Floats:
        """(candidates,): of a column of the rows, over the replications."""
        return np.array([np.mean([row[column] for row in rows]) for rows in self.rows])

    def peak(self, column: str) -> Floats:
        """(candidates,): the greatest of the replications."""
        return np.array([max(row[column] for row in rows) for rows in self.rows])

    def levels(self, measure: str) -> Floats:
        """(candidates, units): time-weighted mean of an `image_…` measure.

        Blocks are shifted to have the mean of the whole run, as their last may be of another length.
        """
        if len(self.rows[0]) > 1:
            return np.array([[row[f"{measure}_mean"] for row in rows] for rows in self.rows])
        blocks = np.array([rows[0]["blocks"][measure] for rows in self.rows], dtype=float)
        shift: Floats = blocks + (self.mean(f"{measure}_mean") - blocks.mean(axis=1))[:, None]
        return shift

    def prices(self, scenario: Scenario) -> Floats:
        """(candidates, units): price a month of the image-volumes; of several tiers at the dearest prices."""
        gib = max(scenario.tiers[tier].price_gib_month for tier in self.tiers)
        volume = max(scenario.tiers[tier].price_volume_month for tier in self.tiers)
        price: Floats = gib * self.levels("image_physical_gib") + volume * self.levels("image_volumes")
        return price


@dataclass(frozen=True)
class Table:
    """All that was measured under one strategy: the candidates of each group of backends, and their rows.

    limits: by group. backends: rows by backend, a candidate of its group each.
    `creates` by tier (and ALL): (units,), the same in every cell. `unplaced` by tier and ALL, and by group:
    (candidates, replications), failed creates that ended on no backend.
    """

    strategy: str
    groups: Groups
    limits: Mapping[str, list[Limits]]
    backends: Mapping[str, Measured]
    creates: Mapping[str, Floats]
    unplaced: Mapping[str, Mapping[str, Floats]]


def table_of(
    scenario: Scenario,
    strategy: str,
    groups: Groups,
    batches: Sequence[tuple[Mapping[str, Sequence[Limits]], Sequence[Sequence[Mapping[str, Any]]]]],
) -> Table:
    """The table of batches of cells: limits by group, and what `sim.planner.grid.points` made of them.

    Cells are documents by replication. Of limits that several cells show the first one counts.
    """
    limits = {group: [each for of, _ in batches for each in of[group]] for group in groups}
    documents = [cell for _, cells in batches for cell in cells]
    backends = {
        name: backend_of(scenario, name, [cell for of, cells in batches for cell in cells[: len(of[group])]])
        for group, members in groups.items()
        for name in members
    }
    return Table(
        strategy,
        groups,
        limits,
        backends,
        {tier: scopes(documents[:1], scenario)[tier].units("creates", tier)[0] for tier in _names(scenario)},
        _unplaced(scenario, groups, batches),
    )


def backend_of(scenario: Scenario, name: str, documents: Sequence[Sequence[Mapping[str, Any]]]) -> Measured:
    """The rows of a backend, for each cell."""
    rows = [[_row(document, "backend", name) for document in cell] for cell in documents]
    free = np.array([_free_volumes(scenario, name, cell) for cell in documents])
    return Measured(rows, scenario.backends[name].volume_types, name, free)


def scopes(documents: Sequence[Sequence[Mapping[str, Any]]], scenario: Scenario) -> dict[str, Measured]:
    """The rows of each tier and of ALL, for each cell."""
    every = list(scenario.tiers)
    return {
        tier: Measured(
            [
                [_row(document, "all" if tier == ALL else "tier", tier) for document in cell]
                for cell in documents
            ],
            every if tier == ALL else [tier],
        )
        for tier in _names(scenario)
    }


def sample_of(documents: Sequence[Mapping[str, Any]], seed: int) -> Sample:
    """What intervals are made of: replications if there are several, else blocks of the one history."""
    if len(documents) > 1:
        return Sample.of_replications(len(documents))
    return Sample.of_blocks(len(_row(documents[0], "all", "")["blocks"]["creates"]), seed=seed)


def _names(scenario: Scenario) -> list[str]:
    return [*scenario.tiers, ALL]


def _row(document: Mapping[str, Any], scope: str, name: str) -> Row:
    for row in document["rows"]:
        if row["scope"] == scope and row["name"] == name:
            found: Row = row
            return found
    raise KeyError(f"{scope} {name}")


def _free_volumes(scenario: Scenario, name: str, cell: Sequence[Mapping[str, Any]]) -> float:
    backend = scenario.backends[name]
    limits = {("backend", name): backend.max_volumes} | {
        ("pool", f"{name}#{pool}"): spec.max_volumes for pool, spec in backend.pools.items()
    }
    left = [
        limit - max(_row(document, *of)["volumes_peak"] for document in cell)
        for of, limit in limits.items()
        if limit is not None
    ]
    return float(min(left, default=0))


def _unplaced(
    scenario: Scenario,
    groups: Groups,
    batches: Sequence[tuple[Mapping[str, Sequence[Limits]], Sequence[Sequence[Mapping[str, Any]]]]],
) -> dict[str, dict[str, Floats]]:
    """By tier and ALL, and by group: the tier's failed creates that ended on no backend.

    They are the doing of the group whose candidates differ, of those that serve the tier. Where that is no
    single one, each candidate of the first of them has the most of any cell.
    """
    found: dict[str, dict[str, Floats]] = {tier: {} for tier in _names(scenario)}
    for tier in scenario.tiers:
        every = [np.array([_unplaced_of(scenario, cell, tier) for cell in cells]) for _, cells in batches]
        serving = [
            group
            for group, members in groups.items()
            if any(tier in scenario.backends[name].volume_types for name in members)
        ]
        varied = [group for group in serving if sum(len(of[group]) for of, _ in batches) > 1]
        for group in groups:
            parts = zip(every, batches, strict=True)
            errors = np.concatenate([of[: len(limits[group])] for of, (limits, _) in parts])
            if len(varied) > 1:
                errors = np.broadcast_to(np.concatenate(every).max(axis=0), errors.shape)
            its = group == (varied or serving or list(groups))[0]
            found[tier][group] = errors if its else np.zeros_like(errors)
    for group in groups:
        found[ALL][group] = np.sum([found[tier][group] for tier in scenario.tiers], axis=0)
    return found


def _unplaced_of(scenario: Scenario, cell: Sequence[Mapping[str, Any]], tier: str) -> list[float]:
    """By replication."""
    errors = list(scopes([cell], scenario)[tier].failed(tier)[0])
    for name, backend in scenario.backends.items():
        if tier in backend.volume_types:
            of = backend_of(scenario, name, [cell]).failed(tier)[0]
            errors = [every - its for every, its in zip(errors, of, strict=True)]
    return errors
