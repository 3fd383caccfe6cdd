"""Confidence intervals of a sweep: over replications, or over blocks of one history."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.statistics import Estimate, Floats, Sample
from sim.inputs.scenario import Case, Scenario
from sim.sweep.results import Result, Row, table_of
from sim.sweep.varying import apply

MEASURES = (
    *("clone_hit_rate", "create_s_mean", "create_s_p95"),
    *("errors", "other_errors", "image_provisioned_gib_mean", "price_month"),
)


def intervals(case: Case, results: Sequence[Result]) -> pd.DataFrame:
    """One row for each point and scope, from the results of a sweep. Pools need several replications.

    Columns: strategy, cinder (if the sweep was given any), the varied keys, scope, name, of (`replications` |
    `blocks`), units, then each of MEASURES with `{measure}_low` and `{measure}_high`: its mean over
    replications, or its value in one history, and the ends of its 95 % interval (NaN without one). Failed
    cells are left out.
    """
    rows: list[dict[str, Any]] = []
    for cells in points(results):
        told = _of_blocks(case, cells[0]) if _in_blocks(cells[0]) else _of_replications(cells)
        rows += [cells[0].point | row for row in told]
    return table_of(rows, results)


def points(results: Sequence[Result]) -> list[list[Result]]:
    """The results of each point that `intervals` has a row for, in its order."""
    groups = itertools.groupby(results, lambda one: repr(one.point))
    done = [[result for result in group if result.rows] for _, group in groups]
    return [cells for cells in done if cells]


def _in_blocks(cell: Result) -> list[Row]:
    return [row for row in cell.rows.values() if row.blocks and len(row.blocks["creates"]) > 1]


def _of_replications(cells: Sequence[Result]) -> list[dict[str, Any]]:
    sample = Sample.of_replications(len(cells))
    rows = []
    for same in zip(*(cell.rows.values() for cell in cells), strict=True):
        estimates = {measure: sample.mean([row.figures[measure] for row in same]) for measure in MEASURES}
        rows.append(_row(same[0], sample, estimates))
    return rows


def _of_blocks(case: Case, cell: Result) -> list[dict[str, Any]]:
    scenario = apply(case.scenario, cell.values)
    in_blocks = _in_blocks(cell)
    sample = Sample.of_blocks(len(in_blocks[0].blocks["creates"]), seed=scenario.seed)
    rows = []
    for row in in_blocks:
        estimates = {
            "clone_hit_rate": sample.ratio(row.blocks["clones"], row.blocks["creates"]),
            "errors": sample.total(row.blocks["errors"]),
            "other_errors": sample.total(row.blocks["other_errors"]),
            "image_provisioned_gib_mean": sample.mean(row.blocks["image_provisioned_gib"]),
            "price_month": sample.mean(_prices(scenario, row, in_blocks)),
        }
        rows.append(_row(row, sample, estimates))
    return rows


def _prices(scenario: Scenario, row: Row, rows: Sequence[Row]) -> Floats:
    """The monthly price by block; NaN for a backend that serves several tiers, like its `price_month`."""
    if row.scope == "all":
        of_tiers = [_prices(scenario, one, rows) for one in rows if one.scope == "tier"]
        return np.asarray(np.sum(of_tiers, axis=0))
    tiers = [row.name] if row.scope == "tier" else list(scenario.backends[row.name].volume_types)
    gib = np.array(row.blocks["image_physical_gib"], np.float64)
    if len(tiers) > 1:
        return np.full_like(gib, np.nan)
    tier = scenario.tiers[tiers[0]]
    volumes = np.array(row.blocks["image_volumes"], np.float64)
    return np.asarray(tier.price_gib_month * gib + tier.price_volume_month * volumes)


def _row(row: Row, sample: Sample, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """The interval of each measure. In one history, the run's own value is in the middle: its blocks are not
    all of one length.
    """
    found = {"scope": row.scope, "name": row.name, "of": sample.kind, "units": sample.units}
    for measure in MEASURES:
        estimate = estimates.get(measure)
        replicated = estimate is not None and sample.kind == "replications"
        mean = float(estimate.point) if replicated and estimate is not None else row.figures[measure]
        half = np.nan if estimate is None else float(sample.half_widths(estimate))
        found |= {measure: mean, f"{measure}_low": mean - half, f"{measure}_high": mean + half}
    return found
